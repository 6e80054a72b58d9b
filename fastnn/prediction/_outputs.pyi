from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray
from typing_extensions import disjoint_base

from fastnn.prediction._forward import Snapshot

def add_outputs(
    snapshots: tuple[Snapshot, ...],
    weights: NDArray[Any],
    codes: Any,
    found: NDArray[Any],
    threads: int,
) -> None: ...

def blocks_of(W: NDArray[Any]) -> list[tuple[int, int, int, int]]: ...
@disjoint_base
class RowOutputs:
    @staticmethod
    def takes(networks: Sequence[Any]) -> bool: ...
    def __new__(
        cls, networks: Sequence[Any], weights: NDArray[Any], adds: NDArray[Any]
    ) -> RowOutputs: ...
    def add(self, column: NDArray[Any], value: NDArray[Any], found: NDArray[Any]) -> None: ...
