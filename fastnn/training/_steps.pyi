from typing import Any, final

from typing_extensions import disjoint_base

from fastnn.training._trainer import Trainer
from fastnn.training.bound_losses import BoundLoss
from fastnn.training.optimizers import Optimizer
from fastnn.training.schedules import StepRates

TARGETS: dict[str, int]

@disjoint_base
class Stepper:
    @property
    def trainer(self) -> Trainer: ...
    def __init__(self, trainer: Trainer, stop_if_diverged: bool = True) -> None: ...
    def run(self, X: object, y: object, weight: object, rate: float) -> float: ...

@final
class Steps(Stepper):
    learning_rate: float
    @property
    def net(self) -> Any: ...
    @property
    def optimizer(self) -> Optimizer: ...
    @property
    def step(self) -> int: ...
    @property
    def loss(self) -> str: ...
    @property
    def batch_size(self) -> int: ...
    def __init__(
        self,
        net: Any,
        info: BoundLoss,
        optimizer: Optimizer,
        settings: dict[str, Any],
        batch_size: int,
        schedule: StepRates | None,
    ) -> None: ...
    def __call__(
        self, X: object, y: object, sample_weight: object = None
    ) -> float: ...
