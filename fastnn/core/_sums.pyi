from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

def add_up(out: NDArray[Any], shares: Sequence[float | None], vectors: Sequence[NDArray[Any]],
           first: int = 0) -> None: ...
