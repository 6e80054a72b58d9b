from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from typing_extensions import disjoint_base

from fastnn.network.parameters import ParameterLayout

NUMBERS: dict[str, int]

@disjoint_base
class Data:
    @property
    def layout(self) -> ParameterLayout: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def workspace_nbytes(self) -> int: ...
    # X: array, or a SciPy CSR matrix
    def set_data(
        self,
        X: Any,
        y: NDArray[Any],
        sample_weight: NDArray[Any] | None = None,
        converts: bool = False,
    ) -> None: ...
    def set_rows(self, rows: ArrayLike) -> None: ...
    def shuffle(self, seed: int, stream: int) -> NDArray[np.intp]: ...
