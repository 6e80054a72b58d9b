"""Optimizers: what the user sets. Their updates are rows of csrc/optimizers.def.

A hyperparameter's place in ``hyperparameters`` is its place in ``h[]`` of that row.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import ClassVar

from fastnn.core import _kernels
from fastnn.core.imports import imported
from fastnn.core.validation import check_flag, check_name, check_real
from fastnn.training.schedules import Schedule


def _check(optimizer, name, rule, valid):
    value = check_real(name, getattr(optimizer, name))
    if not (math.isfinite(value) and valid(value)):
        raise ValueError(f"{name}={value} must be finite and {rule}")


def check_optimizer(optimizer):
    """Return an optimizer whose update there is; what it says in ``hyperparameters`` is checked
    where it is read."""
    if isinstance(optimizer, WholeFit):
        return optimizer
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer={optimizer!r} must be an Optimizer, such as fastnn.Adam()")
    check_name(f"{type(optimizer).__name__}.name", getattr(optimizer, "name", None),
               tuple(_kernels.OPTIMIZERS))
    return optimizer


def trainer_of(optimizer):
    """Return the class that trains with an optimizer; None: that of losses and gradients."""
    module, name = (Optimizer if optimizer is None else optimizer).trained_by
    return getattr(imported(module), name)


_RULES = {
    "momentum": ("in [0, 1]", lambda value: 0 <= value <= 1),
    "beta1": ("in [0, 1)", lambda value: 0 <= value < 1),
    "beta2": ("in [0, 1)", lambda value: 0 <= value < 1),
    "rho": ("in [0, 1)", lambda value: 0 <= value < 1),
    "eps": ("> 0", lambda value: value > 0),
    "weight_decay": (">= 0", lambda value: value >= 0),
}


@dataclass(frozen=True)
class Optimizer:
    """Base of all optimizers: checks the values that a subclass declares as fields.

    ``squares`` says which of the optimizer's state vectors are sums of squares: those are never
    negative. ``trained_by`` names the class whose `run_epoch` takes its steps, and the module.
    """

    name: ClassVar[str]
    squares: ClassVar[tuple[int, ...]] = ()
    trained_by: ClassVar[tuple[str, str]] = ("fastnn.training._trainer", "Trainer")
    learning_rate: float | Callable[[int], float] | Schedule = 1e-3

    def __post_init__(self):
        if type(self) is Optimizer:
            raise TypeError("Optimizer is the base of SGD, Adam, ...: use one of them")
        if not (callable(self.learning_rate) or isinstance(self.learning_rate, Schedule)):
            _check(self, "learning_rate", "> 0", lambda value: value > 0)
        for field in fields(self):
            if field.name in _RULES:
                _check(self, field.name, *_RULES[field.name])
            elif field.type is bool:
                check_flag(field.name, getattr(self, field.name))

    def learning_rate_at(self, epoch):
        """Learning rate of an epoch (from 0): the number itself, or what the callable says."""
        if not callable(self.learning_rate):
            return float(self.learning_rate)
        rate = check_real(f"learning_rate({epoch})", self.learning_rate(epoch))
        if not (math.isfinite(rate) and rate >= 0):
            raise ValueError(f"learning_rate({epoch}) = {rate} must be finite and >= 0")
        return rate

    @property
    def n_states(self):
        """Flat vectors that it keeps."""
        return _kernels.OPTIMIZERS[self.name].n_state

    @property
    def hyperparameters(self):
        """The numbers h[] of the optimizer's row."""
        raise NotImplementedError


class WholeFit:
    """Base of what runs a whole fit by itself, over all rows, instead of step by step."""

    def run(self, state, hooks):
        """Run the fit from the trainer's parameters on, and leave the result there.

        Parameters
        ----------
        state : FitState
            Its trainer has no optimizer; its ``reason`` tells afterwards why the fit has ended.
        hooks : sequence of Hook
            Called after each iteration.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent with momentum.

    v = momentum v + g, w -= learning_rate v (Polyak 1964); with ``nesterov``
    w -= learning_rate (g + momentum v) (Nesterov 1983).

    Parameters
    ----------
    learning_rate : float, callable or schedule, default=0.01
        Step size; a callable gets the epoch (from 0) and returns it; see `fastnn.schedules`.
    momentum : float in [0, 1], default=0.9
    nesterov : bool, default=False
    velocity : {"gradient", "step"}, default="gradient"
        "step" keeps the learning rate inside the velocity, v = momentum v - learning_rate g,
        w += v (Sutskever et al. 2013; scikit-learn). The same while the learning rate is constant.
    """

    name: ClassVar[str] = "sgd"
    learning_rate: float | Callable[[int], float] | Schedule = 0.01
    momentum: float = 0.9
    nesterov: bool = False
    velocity: str = "gradient"

    def __post_init__(self):
        super().__post_init__()
        if self.velocity not in ("gradient", "step"):
            raise ValueError(f"velocity={self.velocity!r} must be 'gradient' or 'step'")

    @property
    def hyperparameters(self):
        return self.momentum, self.nesterov, self.velocity == "step"


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam (Kingma & Ba 2015).

    m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g², and with the bias corrections
    m̂ = m / (1 - beta1^t), v̂ = v / (1 - beta2^t): w -= learning_rate m̂ / (√v̂ + eps).

    Parameters
    ----------
    learning_rate : float, callable or schedule, default=1e-3
        Step size; a callable gets the epoch (from 0) and returns it; see `fastnn.schedules`.
    beta1, beta2 : float in [0, 1), default=0.9, 0.999
    eps : float, default=1e-8
    eps_hat : bool, default=False
        Add eps before the bias correction, as in the paper's section 2 and in scikit-learn:
        w -= learning_rate √(1 - beta2^t) / (1 - beta1^t) m / (√v + eps).
    """

    name: ClassVar[str] = "adam"
    squares: ClassVar[tuple[int, ...]] = (1,)
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    eps_hat: bool = False

    @property
    def hyperparameters(self):
        return self.beta1, self.beta2, self.eps, self.eps_hat


@dataclass(frozen=True)
class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019).

    w -= learning_rate weight_decay w, then Adam's step; biases decay too.

    Parameters
    ----------
    learning_rate : float, callable or schedule, default=1e-3
        Step size; a callable gets the epoch (from 0) and returns it; see `fastnn.schedules`.
    beta1, beta2 : float in [0, 1), default=0.9, 0.999
    eps : float, default=1e-8
    weight_decay : float, default=0.01
    """

    name: ClassVar[str] = "adamw"
    squares: ClassVar[tuple[int, ...]] = (1,)
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.01

    @property
    def hyperparameters(self):
        return self.beta1, self.beta2, self.eps, self.weight_decay


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """RMSprop (Tieleman & Hinton 2012).

    v = rho v + (1 - rho) g², w -= learning_rate g / (√v + eps).

    Parameters
    ----------
    learning_rate : float, callable or schedule, default=1e-3
        Step size; a callable gets the epoch (from 0) and returns it; see `fastnn.schedules`.
    rho : float in [0, 1), default=0.9
    eps : float, default=1e-8
    """

    name: ClassVar[str] = "rmsprop"
    squares: ClassVar[tuple[int, ...]] = (0,)
    rho: float = 0.9
    eps: float = 1e-8

    @property
    def hyperparameters(self):
        return self.rho, self.eps


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """Adagrad (Duchi, Hazan & Singer 2011): s += g², w -= learning_rate g / (√s + eps).

    Parameters
    ----------
    learning_rate : float, callable or schedule, default=0.01
        Step size; a callable gets the epoch (from 0) and returns it; see `fastnn.schedules`.
    eps : float, default=1e-10
    """

    name: ClassVar[str] = "adagrad"
    squares: ClassVar[tuple[int, ...]] = (0,)
    learning_rate: float | Callable[[int], float] | Schedule = 0.01
    eps: float = 1e-10

    @property
    def hyperparameters(self):
        return (self.eps,)
