from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from typing_extensions import disjoint_base

from fastnn.network.parameters import ParameterLayout
from fastnn.network.spec import NetworkSpec
from fastnn.training.inputs import InputChanges
from fastnn.training.losses import BoundLoss, Loss
from fastnn.training.optimizers import Optimizer
from fastnn.training.plan import TrainingPlan

UNCHANGED: InputChanges
BLOCK_KINDS: dict[str, int]
NUMBERS: dict[str, int]

class Cancelled(Exception): ...

@disjoint_base
class Trainer:
    @property
    def spec(self) -> NetworkSpec: ...
    @property
    def layout(self) -> ParameterLayout: ...
    @property
    def plan(self) -> TrainingPlan: ...
    @property
    def parameters(self) -> NDArray[Any]: ...
    @property
    def weights(self) -> tuple[NDArray[Any], ...]: ...
    @property
    def biases(self) -> tuple[NDArray[Any], ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def inputs(self) -> InputChanges: ...
    @property
    def loss(self) -> str: ...
    @property
    def optimizer_state(self) -> tuple[NDArray[Any], ...]: ...
    @property
    def workspace_nbytes(self) -> int: ...
    @property
    def team(self) -> int: ...
    @property
    def step(self) -> int: ...
    def job_pointer(self) -> object: ...
    @property
    def epochs_run(self) -> int: ...
    @property
    def runs_ahead(self) -> bool: ...
    @property
    def published(self) -> NDArray[Any]: ...
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
    def set_state(self, states: Sequence[NDArray[Any]], step: int) -> None: ...
    # X: array, or a SciPy CSR matrix
    def set_data(
        self,
        X: Any,
        y: NDArray[Any],
        sample_weight: NDArray[Any] | None = None,
        converts: bool = False,
    ) -> None: ...
    def set_rows(self, rows: ArrayLike) -> None: ...
    def cancel(self) -> None: ...
    def shuffle(self, seed: int, stream: int) -> NDArray[np.intp]: ...
    def run_epoch(
        self,
        order: NDArray[np.intp] | None = None,
        *,
        learning_rate: float | NDArray[np.float64],
        stop_if_diverged: bool = False,
    ) -> float: ...
    def run_epochs(
        self,
        losses: NDArray[np.float64],
        rates: NDArray[np.float64],
        kept: NDArray[Any],
        shuffle: tuple[int, int] | None = None,
    ) -> None: ...
    def loss_and_grad(
        self, grad: NDArray[Any] | None = None, rows: NDArray[np.intp] | None = None
    ) -> float: ...
    def apply(self, gradient: NDArray[Any], *, learning_rate: float) -> None: ...
    def deltas(self, ops: Sequence[int] | None = None) -> list[NDArray[Any]]: ...
    def output_deltas(self) -> NDArray[Any]: ...
