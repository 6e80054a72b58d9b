from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray
from typing_extensions import disjoint_base

from fastnn.network.parameters import ParameterLayout
from fastnn.training.bound_losses import BoundLoss

BENDS: dict[str, int]
BOWLS: dict[str, int]

@disjoint_base
class Curvature:
    def __init__(self, layout: ParameterLayout, info: BoundLoss, block: int) -> None: ...
    def product(
        self,
        parameters: NDArray[Any],
        v: NDArray[Any],
        X: NDArray[Any],
        y: NDArray[Any],
        weights: NDArray[Any] | None,
        blocks: Sequence[int],
    ) -> NDArray[Any]: ...
