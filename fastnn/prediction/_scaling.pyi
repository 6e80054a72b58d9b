from typing import Any

from numpy.typing import NDArray

def scale_rows(
    x: NDArray[Any],
    mean: NDArray[Any],
    scale: NDArray[Any],
    limits: tuple[float, float] | None,
    to_double: bool,
) -> NDArray[Any]: ...
