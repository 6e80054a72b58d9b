from typing import Any

from numpy.typing import NDArray

from fastnn.prediction._forward import Snapshot

def add_outputs(
    snapshots: tuple[Snapshot, ...],
    weights: NDArray[Any],
    codes: Any,
    found: NDArray[Any],
    threads: int,
) -> None: ...
