"""`Optimizer`: the base of all optimizers, and what it checks."""

import math
from collections.abc import Callable
from dataclasses import MISSING, FrozenInstanceError, dataclass, field, fields
from numbers import Integral
from typing import Any, ClassVar

from fastnn.core import _kernels
from fastnn.core.notices import shown, suggests
from fastnn.core.validation import check_flag, check_real
from fastnn.training.schedules import Schedule, checked_rate


def _check(optimizer, name, rule, valid):
    value = check_real(name, getattr(optimizer, name))
    if not (math.isfinite(value) and valid(value)):
        raise ValueError(f"{name}={value} must be finite and {rule}")


def start_rate(optimizer):
    """Return the learning rate that those of layers, and that of Muon's Adam, are in proportion to:
    the number itself, that of a schedule, or what a function says at the start.
    """
    rate = optimizer.learning_rate
    if isinstance(rate, Schedule):
        rate = rate.start()
    elif callable(rate):
        rate = checked_rate(optimizer, 0)
    if not rate > 0:
        raise ValueError(f"the learning rate at the start is {rate}: rates of layers, and that of "
                         "Muon's adam, are in proportion to it; give learning_rate_factor of "
                         "layers, or a function that starts above 0")
    return float(rate)


_RULES = {
    "momentum": ("in [0, 1]", lambda value: 0 <= value <= 1),
    "beta1": ("in [0, 1)", lambda value: 0 <= value < 1),
    "beta2": ("in [0, 1)", lambda value: 0 <= value < 1),
    "rho": ("in [0, 1)", lambda value: 0 <= value < 1),
    "eps": ("> 0", lambda value: value > 0),
    "weight_decay": (">= 0", lambda value: value >= 0),
    "momentum_decay": (">= 0", lambda value: value >= 0),
    "eta_minus": ("in (0, 1)", lambda value: 0 < value < 1),
    "eta_plus": ("> 1", lambda value: value > 1),
    "step_min": ("> 0", lambda value: value > 0),
    "step_max": ("> 0", lambda value: value > 0),
    "decay": ("in [0, 1)", lambda value: 0 <= value < 1),
}
# what ``layers`` may say of a layer
LAYER_KEYS = ("learning_rate", "learning_rate_factor", "weight_decay", "alpha", "l1", "max_norm")


def _check_layers(layers, keys):
    """Return a copy of the settings of layers, or raise."""
    if not isinstance(layers, dict):
        raise TypeError(f"layers={layers!r} must be a dict from numbers of layers to dicts, such "
                        "as {0: dict(learning_rate=1e-4)}")
    found = {}
    for number, settings in layers.items():
        if not isinstance(number, Integral) or isinstance(number, bool) or number < 0:
            raise ValueError(f"layers names layer {number!r}: must be a number >= 0")
        if not isinstance(settings, dict):
            raise TypeError(f"layers[{number}]={settings!r} must be a dict of settings")
        for key, value in settings.items():
            name = f"layers[{number}][{key!r}]"
            if key not in keys:
                raise ValueError(f"{name} is unknown; there are {', '.join(keys)}")
            if key == "muon":
                check_flag(name, value)
            elif value is not None or key != "max_norm":
                value = check_real(name, value)
                if not (math.isfinite(value) and (value > 0 if key == "max_norm" else value >= 0)):
                    rule = "> 0, or None" if key == "max_norm" else ">= 0"
                    raise ValueError(f"{name}={value} must be finite and {rule}")
        if "learning_rate" in settings and "learning_rate_factor" in settings:
            raise ValueError(f"layers[{number}] has learning_rate and learning_rate_factor: "
                             "give one of them")
        found[int(number)] = dict(settings)
    return found


@dataclass(frozen=True)
class Optimizer:
    """Base of all optimizers: checks the values that a subclass declares as fields.

    ``squares`` says which of the optimizer's state vectors are sums of squares: those are never
    negative. ``trained_by`` names the class whose `run_epoch` takes its steps, and the module.

    Parameters
    ----------
    learning_rate : float, callable or schedule, default=1e-3
        Step size; a callable gets the epoch (from 0) and returns it; see `fastnn.schedules`.
    layers : dict or None, default=None
        Settings of layers by their number, as the names of parameters have it (``layers.0.weight``
        is of layer 0): ``{0: dict(learning_rate=1e-4)}``. There are

        learning_rate
            Step size of the layer at the start; where the optimizer's changes, it changes in
            proportion.
        learning_rate_factor
            The same as a factor of the optimizer's.
        weight_decay
            Decay apart from the gradient (Loshchilov & Hutter 2019): w -= learning_rate
            weight_decay w before the update, biases too; in the place of the optimizer's own.
        alpha, l1, max_norm
            In the place of those of `MLP.fit`.
    """

    name: ClassVar[str]
    layer_keys: ClassVar[tuple[str, ...]] = LAYER_KEYS
    trained_by: ClassVar[tuple[str, str]] = ("fastnn.training._trainer", "Trainer")
    learning_rate: float | Callable[[int], float] | Schedule = 1e-3
    layers: dict[int, dict[str, Any]] | None = field(default=None, kw_only=True, hash=False)

    def __post_init__(self):
        if type(self) is Optimizer:
            raise TypeError("Optimizer is the base of SGD, Adam, ...: use one of them")
        if hasattr(self.learning_rate, "__len__"):
            given = "" if isinstance(self.learning_rate, str) else (
                "; parameters are not given to an optimizer, but it to net.fit(optimizer=...)")
            raise TypeError(f"learning_rate={shown(self.learning_rate)} must be a number, a "
                            "schedule such as fastnn.schedules.Cosine(0.01), or a function of the "
                            f"epoch{given}")
        if not (callable(self.learning_rate) or isinstance(self.learning_rate, Schedule)):
            _check(self, "learning_rate", "> 0", lambda value: value > 0)
        for one in fields(self):
            if one.name in _RULES:
                _check(self, one.name, *_RULES[one.name])
            elif one.type is bool:
                check_flag(one.name, getattr(self, one.name))
        if self.layers is not None:
            object.__setattr__(self, "layers", _check_layers(self.layers, self.layer_keys))

    @property
    def row(self) -> str:
        """Name of the row of csrc/optimizers.def that has the update."""
        return self.name

    @property
    def squares(self) -> tuple[int, ...]:
        """Numbers of the state vectors that are sums of squares."""
        return ()

    @property
    def is_lazy(self) -> bool:
        """Whether the update leaves a weight whose gradient is 0 as it is, to the bit, and need
        not be done: of rows of W without an entry in a sparse batch.
        """
        return False

    @property
    def n_states(self) -> int:
        """Number of state vectors."""
        return _kernels.OPTIMIZERS[self.row].n_state

    def learning_rate_at(self, epoch: int) -> float:
        """Return the learning rate of an epoch: the number itself, or what the callable says.

        Parameters
        ----------
        epoch : int
            Its number, from 0.

        Returns
        -------
        float
            Of this epoch.
        """
        rate: Any = self.learning_rate
        if not callable(rate):
            return float(rate)
        rate = check_real(f"learning_rate({epoch})", rate(epoch))
        if not (math.isfinite(rate) and rate >= 0):
            raise ValueError(f"learning_rate({epoch}) = {rate} must be finite and >= 0")
        return rate

    @property
    def hyperparameters(self) -> tuple[float, ...]:
        """The numbers h[] of the optimizer's row."""
        raise NotImplementedError


def declared(cls):
    """Return a class of settings whose errors name what was meant: of a keyword that it does not
    have, and of an attempt to set one in a fit. Its `repr` leaves out what is as by default.
    """
    cls.__setattr__ = _refuse_setting
    cls.__repr__ = _call
    return suggests(cls)


def _call(self):
    """Return the call that makes the object: the learning rate, and what is not as by default."""
    said = []
    for one in fields(self):
        value = getattr(self, one.name)
        if one.init and (one.name == "learning_rate" or one.default is MISSING
                         or value != one.default):
            said.append(f"{one.name}={value!r}")
    return f"{type(self).__name__}({', '.join(said)})"


def _refuse_setting(self, name, value):
    raise FrozenInstanceError(
        f"{name} of {type(self).__name__} cannot be set: give another object, or a function or "
        "schedule as the learning rate (fastnn.schedules); in a callback set "
        "state.learning_rate_scale, of single steps steps.learning_rate")


class WholeFit:
    """Base of what runs a whole fit by itself, over all rows, instead of step by step."""

    n_states: ClassVar[int] = 0  # flat vectors that a checkpoint holds of it
    squares: ClassVar[tuple[int, ...]] = ()
    counted: ClassVar[str] = "max_iter"  # the field that says how many iterations there are

    @property
    def epochs(self) -> int:
        """Most iterations, each of which is an epoch for hooks."""
        return getattr(self, self.counted)

    def describe(self) -> dict[str, Any]:
        """Return what decides the result, for checkpoints."""
        return {"name": type(self).__name__}

    def run(self, state: Any, hooks: Any, evaluations: Any = None) -> None:
        """Run the fit from the trainer's parameters on, and leave the result there.

        Parameters
        ----------
        state : FitState
            Its trainer has no optimizer; its ``reason`` tells afterwards why the fit has ended.
        hooks : sequence of Hook
            Called after each iteration.
        evaluations : Evaluations or None, default=None
            What a checkpoint holds of it. Where the history has iterations already, these are done
            again by them.
        """
        raise NotImplementedError
