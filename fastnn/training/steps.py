"""Checks of `MLP.steps`; the steps themselves are in _steps.pyx."""

from numbers import Real
from typing import NamedTuple

from fastnn.core import validation
from fastnn.training._steps import Steps
from fastnn.training.fitting import check_penalties
from fastnn.training.inputs import check_inputs
from fastnn.training.optimizers import Adam, check_optimizer, takes_steps
from fastnn.training.schedules import Schedule, StepRates

__all__ = ["make_steps", "schedule_of"]


class _AnyNumber(NamedTuple):
    """What `StepRates` asks for of the steps of a fit, where nobody knows how many come."""

    per_epoch: int = 1
    total: int | None = None

    def of(self, epoch):
        """Return the number of steps of an epoch."""
        return self.per_epoch


def schedule_of(optimizer):
    """Return the `StepRates` of an optimizer's schedule, None where its rate is a number."""
    rate = optimizer.learning_rate
    if isinstance(rate, Real):
        return None
    if isinstance(rate, Schedule) and rate.counts == "steps":
        return StepRates(optimizer, _AnyNumber())
    what = rate.describe() if isinstance(rate, Schedule) else rate
    raise ValueError(f"learning_rate={what} asks for epochs or the number of all steps, which "
                     "single steps do not know: give a number or fastnn.schedules.ByStep, or set "
                     "steps.learning_rate between two steps")


def make_steps(net, *, optimizer, loss, alpha, penalties, inputs, batch_size):
    """Return the `Steps` of a network; see `MLP.steps`."""
    info = net._bound(loss)
    optimizer = Adam() if optimizer is None else check_optimizer(optimizer)
    if not takes_steps(optimizer):
        raise ValueError(f"optimizer={type(optimizer).__name__} takes no steps along the gradient "
                         "of a batch: use fastnn.SGD, fastnn.Adam or another that does")
    settings = {"alpha": validation.check_nonnegative("alpha", alpha),
                "inputs": check_inputs(*inputs), "seed": net._key(0, net._epochs_done),
                **check_penalties(*penalties)}
    if net.frozen:
        settings["frozen"] = net.frozen
    batch_size = validation.check_size("batch_size", batch_size)
    return Steps(net, info, optimizer, settings, batch_size, schedule_of(optimizer))
