from collections.abc import Sequence

from typing_extensions import disjoint_base

from fastnn.core.types import Array

@disjoint_base
class Scorer:
    n_numbers: int
    n_folds: int
    n_out: int
    n_trees: int
    def __new__(cls, n_numbers: int, sizes: Sequence[int], categories: Array, ranks: Array,
                ends: Array, counts: Array, leaves: Array, columns: Array, thresholds: Array,
                values: Array, base: Array) -> Scorer: ...
    def score(self, numbers: Array, codes: Array, out: Array, threads: int = 1) -> None: ...

def distinct_columns(array: Array) -> tuple[Array, Array]: ...
def check(n_numbers: int, sizes: Sequence[int], categories: Array, ranks: Array, ends: Array,
          counts: Array, leaves: Array, columns: Array, thresholds: Array, values: Array,
          base: Array) -> None: ...
def check_room(gaps: int, n_trees: int) -> None: ...
