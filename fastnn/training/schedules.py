"""Schedules of the learning rate, by step: ``fastnn.Adam(fastnn.schedules.Cosine(1e-3))``.

The rates of an epoch are an array that is made before it. Throughout, s is the number of the step
(batch) from 0, N the number of all steps of the fit, t = s / N, and e = s / steps of an epoch.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from numbers import Real
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fastnn.core.notices import shown, suggests
from fastnn.core.validation import check_count, check_real

if TYPE_CHECKING:
    from fastnn.core.types import Array

__all__ = ["BY_NAME", "ByEpoch", "ByStep", "Constant", "CosLog4", "Cosine", "Exponential",
           "FlatThenCosine", "InverseScaling", "OneCycle", "Polynomial", "Schedule", "Step",
           "StepRates", "checked_rate"]

_RULES = {
    "learning_rate": ("finite and > 0", lambda value: value > 0),
    "gamma": ("finite and > 0", lambda value: value > 0),
    "power": ("finite and >= 0", lambda value: value >= 0),
    "warmup": ("in [0, 1)", lambda value: 0 <= value < 1),
    "flat": ("in [0, 1)", lambda value: 0 <= value < 1),
    "initial": ("in [0, 1]", lambda value: 0 <= value <= 1),
    "final": ("in [0, 1]", lambda value: 0 <= value <= 1),
    "growth": ("finite and > 0", lambda value: value > 0),
}


@dataclass(frozen=True)
class Schedule:
    """Base of all schedules: a factor of the learning rate for each step.

    A subclass has `factors`, and is a frozen dataclass: its fields are its settings. ``counts``
    says what alone decides the rate of a step: "epochs", "steps", or None for more than that.

    Parameters
    ----------
    learning_rate : float or None, default=None
        Rate that the factors refer to. None: the ``learning_rate_init`` of an estimator; an `MLP`
        needs a number.
    """

    counts: ClassVar[str | None] = None

    learning_rate: float | None = None

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name not in _RULES or value is None and field.name == "learning_rate":
                continue
            rule, valid = _RULES[field.name]
            value = check_real(field.name, value)
            if not (math.isfinite(value) and valid(value)):
                raise ValueError(f"{field.name}={value} must be {rule}")

    @property
    def looks_ahead(self) -> bool:
        """Whether the rates depend on the number of all steps: then a checkpoint compares it."""
        return True

    def start(self) -> float:
        """Return the rate that those of layers are in proportion to.

        Returns
        -------
        float
            That of the first step.
        """
        return self._checked_rate()

    def with_rate(self, learning_rate: float) -> "Schedule":
        """Return this schedule with a learning rate, where it has none of its own.

        Parameters
        ----------
        learning_rate : float
            The rate that factors refer to.

        Returns
        -------
        Schedule
            This one, where it has a rate of its own.
        """
        return self if self.learning_rate is not None else replace(
            self, learning_rate=learning_rate)

    def factors(self, step: "Array", total: int, per_epoch: int) -> "Array":
        """Return the factors of some steps.

        Parameters
        ----------
        step : float64 array (n_steps,)
            Their numbers, from 0.
        total : int
            Number of all steps.
        per_epoch : int
            Steps of an epoch.

        Returns
        -------
        float64 array (n_steps,)
            1 is the learning rate itself.
        """
        raise NotImplementedError

    def rates(self, first_step: int, n_steps: int, total_steps: int,
              steps_per_epoch: int) -> "Array":
        """Return the learning rates of some steps.

        Parameters
        ----------
        first_step, n_steps : int
            Number of the first one, from 0; how many.
        total_steps : int
            Steps of the whole fit.
        steps_per_epoch : int
            Steps of an epoch.

        Returns
        -------
        float64 array (n_steps,)
            One for each step.
        """
        rate = self._checked_rate()
        step = np.arange(first_step, first_step + n_steps, dtype=float)
        factors = self.factors(step, total_steps, steps_per_epoch)
        return rate * _numbers(f"{self.describe()}: factors", factors)

    def _checked_rate(self):
        if self.learning_rate is None:
            raise ValueError(f"{type(self).__name__} has no learning_rate: give one, such as "
                             f"fastnn.schedules.{type(self).__name__}(1e-3)")
        return self.learning_rate

    def describe(self) -> str:
        """Return what a checkpoint compares, as text.

        Returns
        -------
        str
            Such as ``Cosine(learning_rate=0.1)``.
        """
        settings = ", ".join(
            f"{field.name}={_text(getattr(self, field.name))}" for field in fields(self))
        return f"{type(self).__name__}({settings})"


def _numbers(name, found):
    """Return numbers that a schedule gives, as float64."""
    try:
        numbers = np.asarray(found)
    except ValueError:  # of rows of several lengths
        numbers = np.array(None)
    if numbers.dtype.kind not in "biuf" and not (numbers.dtype == object and all(
            isinstance(value, Real) for value in numbers.flat)):
        raise TypeError(f"{name} gives {shown(found)}, must give a number for each step")
    return numbers.astype(np.float64, copy=False)


def _text(value):
    return "a function" if callable(value) else repr(value)


def _falling_cosine(t):
    """Return ½ (1 + cos π t): from 1 to 0."""
    return 0.5 * (1 + np.cos(np.pi * t))


@suggests
@dataclass(frozen=True)
class Constant(Schedule):
    """The same rate for all steps.

    Parameters
    ----------
    learning_rate : float or None, default=None
        Rate that the factors refer to.
    """

    counts = "epochs"

    @property
    def looks_ahead(self) -> bool:
        """Whether the rates depend on the number of all steps: they do not."""
        return False

    def factors(self, step: "Array", total: int, per_epoch: int) -> "Array":
        """Return ones."""
        return np.ones_like(step)


@suggests
@dataclass(frozen=True)
class Step(Schedule):
    """learning_rate gamma^⌊e / step_size⌋: lower after each so many epochs (PyTorch's StepLR).

    Parameters
    ----------
    learning_rate : float or None, default=None
        Rate that the factors refer to.
    step_size : int, default=10
        Epochs of the same rate.
    gamma : float > 0, default=0.1
        Factor each time.
    """

    counts = "epochs"

    step_size: int = 10
    gamma: float = 0.1

    def __post_init__(self):
        super().__post_init__()
        check_count("step_size", self.step_size)

    @property
    def looks_ahead(self) -> bool:
        """Whether the rates depend on the number of all steps: they do not."""
        return False

    def factors(self, step: "Array", total: int, per_epoch: int) -> "Array":
        """Return gamma to the number of falls."""
        return float(self.gamma) ** (step // per_epoch // self.step_size)


@suggests
@dataclass(frozen=True)
class Exponential(Schedule):
    """learning_rate gamma^e, smoothly by step (at whole epochs PyTorch's ExponentialLR).

    Parameters
    ----------
    learning_rate : float or None, default=None
        Rate that the factors refer to.
    gamma : float > 0, default=0.95
        What an epoch multiplies the rate by.
    """

    gamma: float = 0.95

    @property
    def looks_ahead(self) -> bool:
        """Whether the rates depend on the number of all steps: they do not."""
        return False

    def factors(self, step: "Array", total: int, per_epoch: int) -> "Array":
        """Return gamma to the epoch."""
        return float(self.gamma) ** (step / per_epoch)


@suggests
@dataclass(frozen=True)
class InverseScaling(Schedule):
    """learning_rate / (1 + s)^power (Robbins & Monro 1951).

    scikit-learn's "invscaling" counts rows instead of steps, and changes after each epoch.

    Parameters
    ----------
    learning_rate : float or None, default=None
        Rate that the factors refer to.
    power : float >= 0, default=0.5
        Exponent.
    """

    counts = "steps"

    power: float = 0.5

    @property
    def looks_ahead(self) -> bool:
        """Whether the rates depend on the number of all steps: they do not."""
        return False

    def factors(self, step: "Array", total: int, per_epoch: int) -> "Array":
        """Return the inverse power of the step."""
        return (1 + step) ** -float(self.power)


@suggests
@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine from learning_rate down to final · learning_rate (Loshchilov & Hutter 2017).

    learning_rate (final + (1 - final) ½ (1 + cos π u)), u from 0 to 1 in each cycle; before, a
    linear warm-up of W = ⌊warmup N⌋ steps: learning_rate (s + 1) / W (Goyal et al. 2017).

    Parameters
    ----------
    learning_rate : float or None, default=None
        Rate that the factors refer to.
    warmup : float in [0, 1), default=0.0
        Share of the steps in which the rate rises.
    restarts : int, default=0
        How often the cosine starts again.
    growth : float > 0, default=1.0
        How many times as long as the one before a cycle is.
    final : float in [0, 1], default=0.0
        Share of the learning rate at the end.
    """

    warmup: float = 0.0
    restarts: int = 0
    growth: float = 1.0
    final: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        check_count("restarts", self.restarts, minimum=0)

    def factors(self, step: "Array", total: int, per_epoch: int) -> "Array":
        """Return the warm-up, then the cycles."""
        rising = math.floor(self.warmup * total)
        lengths = float(self.growth) ** np.arange(self.restarts + 1)
        begins = np.concatenate([[0.0], np.cumsum(lengths / lengths.sum())])
        # to 1e-12 of a step: cycles of whole steps begin where they should
        begins = np.round(begins * (total - rising), 9)
        at = np.clip(step - rising, 0, max(total - rising, 0))
        cycle = np.clip(np.searchsorted(begins, at, side="right") - 1, 0, self.restarts)
        u = (at - begins[cycle]) / np.maximum(begins[cycle + 1] - begins[cycle], 1e-300)
        falling = self.final + (1 - self.final) * _falling_cosine(np.minimum(u, 1))
        return np.where(step < rising, (step + 1) / max(rising, 1), falling)


@suggests
@dataclass(frozen=True)
class CosLog4(Schedule):
    """learning_rate ½ (1 - cos 2π log₂(1 + 15 t)): four cycles, each longer than the one before
    (Holzmüller, Grinsztajn & Steinwart 2024).

    Parameters
    ----------
    learning_rate : float or None, default=None
        Rate that the factors refer to.
    """

    def factors(self, step: "Array", total: int, per_epoch: int) -> "Array":
        """Return the cycles."""
        return 0.5 * (1 - np.cos(2 * np.pi * np.log2(1 + 15 * np.minimum(step / total, 1))))


@suggests
@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up and down in one cycle of two half cosines (Smith & Topin 2018; PyTorch's OneCycleLR).

    From initial · learning_rate up to learning_rate at step warmup N - 1, then down to
    final · learning_rate at step N - 1. The momentum stays.

    Parameters
    ----------
    learning_rate : float or None, default=None
        The highest rate.
    warmup : float in [0, 1), default=0.3
        Share of the steps in which the rate rises.
    initial : float in [0, 1], default=0.04
        Share of the learning rate at the beginning.
    final : float in [0, 1], default=4e-6
        Share of the learning rate at the end.
    """

    warmup: float = 0.3
    initial: float = 0.04
    final: float = 4e-6

    def factors(self, step: "Array", total: int, per_epoch: int) -> "Array":
        """Return the cycle."""
        top, end = max(self.warmup * total - 1, 0), total - 1
        up = step / top if top > 0 else np.ones_like(step)
        down = np.clip((step - top) / max(end - top, 1e-300), 0, 1)
        rising = 1 + (self.initial - 1) * _falling_cosine(np.minimum(up, 1))
        falling = self.final + (1 - self.final) * _falling_cosine(down)
        return np.where(step < top, rising, falling)


@suggests
@dataclass(frozen=True)
class Polynomial(Schedule):
    """learning_rate (final + (1 - final) (1 - t)^power) (PyTorch's PolynomialLR; power 1: linear).

    Parameters
    ----------
    learning_rate : float or None, default=None
        Rate that the factors refer to.
    power : float >= 0, default=1.0
        Exponent.
    final : float in [0, 1], default=0.0
        Share of the learning rate at the end.
    """

    power: float = 1.0
    final: float = 0.0

    def factors(self, step: "Array", total: int, per_epoch: int) -> "Array":
        """Return the power of what is left."""
        left = np.maximum(1 - step / total, 0)
        return self.final + (1 - self.final) * left ** float(self.power)


@suggests
@dataclass(frozen=True)
class FlatThenCosine(Schedule):
    """learning_rate up to step flat · N, then half a cosine down to final · learning_rate.

    Parameters
    ----------
    learning_rate : float or None, default=None
        Rate that the factors refer to.
    flat : float in [0, 1), default=0.5
        Share of the steps with the full rate.
    final : float in [0, 1], default=0.0
        Share of the learning rate at the end.
    """

    flat: float = 0.5
    final: float = 0.0

    def factors(self, step: "Array", total: int, per_epoch: int) -> "Array":
        """Return ones, then the cosine."""
        start = self.flat * total
        u = np.clip((step - start) / (total - start), 0, 1)
        return self.final + (1 - self.final) * _falling_cosine(u)


@suggests
@dataclass(frozen=True)
class ByStep(Schedule):
    """Whatever a function of the step says.

    Parameters
    ----------
    function : callable
        From the number of the step, from 0, to its rate; called for all steps of an epoch before
        it.
    """

    counts = "steps"

    function: Callable[[int], float] | None = None

    def __init__(self, function: "Callable[[int], float]") -> None:
        if not callable(function):
            raise TypeError(f"function={shown(function)} must be a function of the step")
        object.__setattr__(self, "learning_rate", None)
        object.__setattr__(self, "function", function)

    @property
    def looks_ahead(self) -> bool:
        """Whether the rates depend on the number of all steps: they do not."""
        return False

    def start(self) -> float:
        """Return what the function says first."""
        return float(self.rates(0, 1, 1, 1)[0])

    def with_rate(self, learning_rate: float) -> "Schedule":
        """Return itself: the function says the rates."""
        return self

    def rates(self, first_step: int, n_steps: int, total_steps: int,
              steps_per_epoch: int) -> "Array":
        """Return what the function says for each step."""
        return _called(self.function, range(first_step, first_step + n_steps))


@dataclass(frozen=True)
class ByEpoch(ByStep):
    """Whatever a function of the epoch says; a plain function in its place does the same.

    Parameters
    ----------
    function : callable
        From the number of the epoch, from 0, to its rate.
    """

    counts = "epochs"

    def __init__(self, function: "Callable[[int], float]") -> None:
        super().__init__(function)

    def rates(self, first_step: int, n_steps: int, total_steps: int,
              steps_per_epoch: int) -> "Array":
        """Return what the function says for the epoch of each step."""
        epoch = np.arange(first_step, first_step + n_steps) // steps_per_epoch
        numbers, where = np.unique(epoch, return_inverse=True)
        return _called(self.function, numbers.tolist())[where]


def _called(function, numbers):
    found = np.empty(len(numbers))
    for i, number in enumerate(numbers):
        found[i] = check_real(f"learning rate {number} of the schedule", function(number))
    return found


# for those who have a learning rate of their own: estimators
BY_NAME = {
    "constant": Constant, "step": Step, "exponential": Exponential,
    "inverse_scaling": InverseScaling, "cosine": Cosine, "coslog4": CosLog4,
    "one_cycle": OneCycle, "polynomial": Polynomial, "flat_then_cosine": FlatThenCosine,
}


def checked_rate(optimizer, epoch):
    """Return the learning rate of an epoch, whatever a class of the user's says."""
    rate = optimizer.learning_rate_at(epoch)
    if type(rate) is float and 0 <= rate < math.inf:
        return rate
    name = f"{type(optimizer).__name__}.learning_rate_at({epoch})"
    rate = check_real(name, rate)
    if not (math.isfinite(rate) and rate >= 0):
        raise ValueError(f"{name} = {rate} must be finite and >= 0")
    return rate


class StepRates:
    """The learning rates of a fit, epoch by epoch.

    Parameters
    ----------
    optimizer : Optimizer
    steps : StepLimit
        Has ``per_epoch``, ``total``, and ``of(epoch)``: the steps of an epoch, of all, of one.
    """

    def __init__(self, optimizer, steps):
        self.optimizer, self.steps = optimizer, steps
        self.schedule = optimizer.learning_rate
        if isinstance(self.schedule, type) and issubclass(self.schedule, Schedule):
            raise TypeError(f"learning_rate={self.schedule.__name__} is a class, must be an "
                            f"object: fastnn.schedules.{self.schedule.__name__}(1e-3)")
        if isinstance(self.schedule, Schedule):
            self.of(0)  # what it cannot do: now

    def of(self, epoch):
        """Return the rate of an epoch, or an array with that of each step."""
        if not isinstance(self.schedule, Schedule):
            return checked_rate(self.optimizer, epoch)
        return self.between(epoch * self.steps.per_epoch, self.steps.of(epoch))

    def between(self, first_step, n_steps):
        """Return the rates that a schedule gives for some steps."""
        rates = self.schedule.rates(first_step, n_steps, self.steps.total, self.steps.per_epoch)
        rates = np.ascontiguousarray(_numbers(f"{self.schedule.describe()}: rates", rates))
        if rates.shape != (n_steps,):
            raise ValueError(f"{self.schedule.describe()} gives rates of shape {rates.shape}, "
                             f"must be ({n_steps},)")
        valid = np.isfinite(rates) & (rates >= 0)
        if not valid.all():
            at = int(np.flatnonzero(~valid)[0])
            raise ValueError(f"{self.schedule.describe()}: the learning rate of step "
                             f"{first_step + at} is {rates[at]}, must be finite and >= 0")
        return rates
