from typing import Any

import numpy as np
from numpy.typing import NDArray

class PythonLoss:
    error: BaseException | None
    def __init__(self, loss: Any, n_out: int, softmax: bool) -> None: ...
    def evaluate(
        self, y: NDArray[np.floating], z: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.floating]]: ...
