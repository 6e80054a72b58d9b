from collections.abc import Sequence
from typing import Any, Literal

from numpy.typing import NDArray
from typing_extensions import disjoint_base

from fastnn.network.spec import NetworkSpec
from fastnn.training._runs import Runs
from fastnn.training.bound_losses import BoundLoss
from fastnn.training.inputs import InputChanges
from fastnn.training.losses import Loss
from fastnn.training.optimizers import Optimizer

UNCHANGED: InputChanges
BLOCK_KINDS: dict[str, int]

@disjoint_base
class Trainer(Runs):
    @property
    def spec(self) -> NetworkSpec: ...
    @property
    def biases(self) -> tuple[NDArray[Any], ...]: ...
    @property
    def loss(self) -> str: ...
    def job_pointer(self) -> object: ...
    def __init__(
        self,
        spec: NetworkSpec,
        loss: str | Loss | BoundLoss,
        *,
        optimizer: Optimizer | None,
        batch_size: int,
        alpha: float = 0.0,
        drops: bool = True,
        seed: int = 0,
        n_threads: int | None = None,
        reduction: Literal["mean", "sum"] | None = None,
        gemm: Literal["auto", "blas", "native"] = "auto",
        ceiling: float = ...,
        inputs: InputChanges = ...,
        l1: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        max_norm: float | None = None,
        frozen: Sequence[int] = (),
    ) -> None: ...
