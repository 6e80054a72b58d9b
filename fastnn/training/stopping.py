"""Callbacks that end a fit or lower its learning rate."""

from __future__ import annotations

import functools
import math
import time
from typing import TYPE_CHECKING

import numpy as np

from fastnn.core import validation
from fastnn.core.imports import imported
from fastnn.core.notices import shown, suggests
from fastnn.training.epochs import Callback, check_state, is_count, is_number
from fastnn.training.metrics import falls

if TYPE_CHECKING:
    from typing import Any, Literal

    from fastnn.training.epochs import FitState

__all__ = ["EarlyStopping", "Monitor", "ReduceOnPlateau", "TimeLimit", "check_mode",
           "check_monitor", "check_name_of_curve", "setting"]


class _Setting:
    """An attribute that is checked when it is set; the object itself holds it, for pickles."""

    def __init__(self, check):
        self.check, self.name = check, ""

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, obj, kind=None):
        if obj is None:
            return self
        try:
            return vars(obj)[self.name]
        except KeyError:
            raise AttributeError(f"{type(obj).__name__!r} object has no attribute "
                                 f"{self.name!r}") from None

    def __set__(self, obj, value):
        vars(obj)[self.name] = self.check(self.name, value)


def setting(check: Any, **limits: Any) -> Any:
    """Return an attribute of a class whose values are checked when they are set.

    Parameters
    ----------
    check : callable
        From name and value to the value, or an error.
    **limits
        Further arguments of ``check``.
    """
    return _Setting(functools.partial(check, **limits) if limits else check)


def check_name_of_curve(name, value):
    """Return the name of a curve."""
    if not isinstance(value, str):
        raise TypeError(f"{name}={shown(value)} must be the name of a curve, such as 'val_loss'")
    return value


def check_mode(name, value):
    """Return "min", "max" or None."""
    return value if value is None else validation.check_name(name, value, ("min", "max"))


def _check_factor(name, value):
    factor = validation.check_real(name, value)
    if not 0 < factor < 1:
        raise ValueError(f"{name}={value} must be > 0 and < 1: the rate is multiplied by it")
    return factor


def check_monitor(history, name):
    """Raise where the history will have no such curve."""
    if name not in history.names:
        hint = ""
        if name.startswith("val_"):
            hint = "; give validation_data" if history.val_loss is None else "; see metrics="
        hint += imported("fastnn.core.words").did_you_mean(name, history.names)
        raise ValueError(f"monitor={shown(name)} is not in the history, which has "
                         f"{', '.join(map(repr, history.names))}{hint}")


class Monitor:
    """Tells whether the last entry of a curve is the best one.

    Parameters
    ----------
    name : str
        Of the curve.
    mode : {"min", "max"} or None, default=None
        Which direction is better. None: losses and errors fall, scores rise.
    min_delta : float, default=0.0
        By how much an entry must be better.

    Attributes
    ----------
    best : float or None
    best_epoch : int or None
    """

    def __init__(self, name, mode=None, min_delta=0.0):
        self.name, self.mode, self.min_delta = name, mode, min_delta
        self.falls, self.best, self.best_epoch = True, None, None

    def begin(self, history):
        """Forget what was; raise where there is no such curve."""
        check_monitor(history, self.name)
        self.falls = self.mode == "min" if self.mode else falls(self.name, history.scores)
        self.best = self.best_epoch = None

    def improves(self, state):
        """Return whether the epoch is the best so far, and keep its value then; NaN is never."""
        value = state.history[self.name][-1]
        if math.isnan(value):
            return False
        if self.best is not None:
            gain = self.best - value if self.falls else value - self.best
            # infinity - infinity is NaN, and no gain
            if not (gain > self.min_delta):
                return False
        self.best, self.best_epoch = float(value), state.epoch
        return True

    def get_state(self):
        """Return what a checkpoint must hold of it."""
        return {"best": self.best, "best_epoch": self.best_epoch}

    def set_state(self, state, **more):
        """Go on from there; ``more``: see `check_state`."""
        none = state.get("best") is None  # then there is no epoch either
        check_state(state, best=lambda value: none or is_number(value),
                    best_epoch=lambda value: value is None if none else is_count(value), **more)
        self.best, self.best_epoch = state["best"], state["best_epoch"]


@suggests
class EarlyStopping(Callback):
    """Ends a fit where a curve has not become better for some epochs (Prechelt 1998).

    Parameters
    ----------
    monitor : str, default="val_loss"
        Name of a curve of the history.
    patience : int, default=10
        The fit ends after so many epochs without a better value.
    min_delta : float, default=0.0
        By how much a value must be better than the best one.
    restore_best : bool, default=True
        Whether the network ends with the parameters of the best epoch, whatever ends the fit;
        after Ctrl-C and errors it keeps the last ones.
    start_from : int, default=0
        Number of the first epoch that counts.
    mode : {"min", "max"} or None, default=None
        Whether less or more is better. None: losses and errors fall; scikit-learn's scorers and
        all other functions rise.

    Attributes
    ----------
    best : float or None
        Best value.
    best_epoch : int or None
        Its epoch.

    Raises
    ------
    ValueError, TypeError
        On a wrong argument; when the fit begins, on a monitor that is not in the history.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(80, 3)), rng.normal(size=80)
    >>> net = fastnn.MLP((3, 16, 1), random_state=0)
    >>> history = net.fit(X[:60], y[:60], validation_data=(X[60:], y[60:]), epochs=1000,
    ...                   callbacks=[fastnn.EarlyStopping(patience=5)])
    >>> len(history.loss) < 1000
    True
    """

    monitor, mode = setting(check_name_of_curve), setting(check_mode)
    min_delta = setting(validation.check_nonnegative)
    patience = setting(validation.check_count)
    restore_best = setting(validation.check_flag)
    start_from = setting(validation.check_count, minimum=0)

    def __init__(self, monitor: str = "val_loss", patience: int = 10, min_delta: float = 0.0,
                 restore_best: bool = True, start_from: int = 0, *,
                 mode: Literal["min", "max"] | None = None) -> None:
        self.monitor, self.mode, self.min_delta = monitor, mode, min_delta
        self._monitor = Monitor(self.monitor, self.mode, self.min_delta)
        self.patience, self.restore_best, self.start_from = patience, restore_best, start_from
        self._waited = self._n = 0
        self._parameters: Any = None

    @property
    def best(self) -> float | None:
        """Best value so far."""
        return self._monitor.best

    @property
    def best_epoch(self) -> int | None:
        """Epoch of the best value."""
        return self._monitor.best_epoch

    def on_fit_begin(self, state: FitState) -> None:
        """Begin anew, with the settings of now."""
        self._monitor = Monitor(self.monitor, self.mode, self.min_delta)
        self._monitor.begin(state.history)
        self._waited, self._parameters, self._n = 0, None, state.parameters.size

    def on_epoch_end(self, state: FitState) -> None:
        """Keep the parameters of the best epoch, or end the fit."""
        if state.epoch < self.start_from:
            return
        if self._monitor.improves(state):
            self._waited = 0
            if self.restore_best:
                self._parameters = state.parameters.copy()
            return
        self._waited += 1
        if self._waited >= self.patience:
            best = "" if self.best is None else (
                f"; the best was {self.best:.6g} in epoch {self.best_epoch}")
            state.stop(f"{self.monitor} has not improved for {self._waited} epochs{best}")

    def on_fit_end(self, state: FitState) -> None:
        """Give the best parameters to the network."""
        if self._parameters is not None and state.reason not in ("interrupted", "failed"):
            state.restore(self._parameters)

    def describe(self) -> dict[str, Any]:
        """Return what decides the result: a checkpoint of other settings is refused."""
        return {"monitor": self.monitor, "patience": self.patience, "min_delta": self.min_delta,
                "restore_best": self.restore_best, "start_from": self.start_from,
                "mode": self.mode}

    def get_state(self) -> dict[str, Any]:
        """Return the best value, its epoch and parameters, and the epochs since then."""
        return {**self._monitor.get_state(), "waited": self._waited,
                "parameters": self._parameters}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._monitor.set_state(state, waited=is_count, parameters=self._are_parameters)
        self._waited, self._parameters = state["waited"], state["parameters"]

    def _are_parameters(self, value):
        return value is None or (isinstance(value, np.ndarray) and value.shape == (self._n,)
                                 and bool(np.isfinite(value).all()))


@suggests
class ReduceOnPlateau(Callback):
    """Lowers the learning rate where a curve has stopped becoming better.

    The rule is that of PyTorch's ``ReduceLROnPlateau`` with ``threshold_mode="abs"``. The rates of
    a schedule are lowered by the same factor.

    Parameters
    ----------
    monitor : str, default="val_loss"
        Name of a curve of the history.
    factor : float in (0, 1), default=0.1
        The learning rate is multiplied by it.
    patience : int, default=10
        Epochs without a better value that are let pass; the next one lowers the rate.
    min_delta : float, default=0.0
        By how much a value must be better than the best one.
    cooldown : int, default=0
        Epochs after a change that do not count.
    min_lr : float, default=0.0
        Learning rate that is not gone below.
    mode : {"min", "max"} or None, default=None
        As in `EarlyStopping`.
    """

    EPS = 1e-8  # PyTorch's: a smaller change of the rate is none
    monitor, mode = setting(check_name_of_curve), setting(check_mode)
    factor = setting(_check_factor)
    patience = setting(validation.check_count, minimum=0)
    cooldown = setting(validation.check_count, minimum=0)
    min_delta = setting(validation.check_nonnegative)
    min_lr = setting(validation.check_nonnegative)

    def __init__(self, monitor: str = "val_loss", factor: float = 0.1, patience: int = 10,
                 min_delta: float = 0.0, cooldown: int = 0, min_lr: float = 0.0, *,
                 mode: Literal["min", "max"] | None = None) -> None:
        self.monitor, self.mode, self.min_delta = monitor, mode, min_delta
        self._monitor = Monitor(self.monitor, self.mode, self.min_delta)
        self.factor, self.patience = factor, patience
        self.cooldown, self.min_lr = cooldown, min_lr
        self._waited = self._cooling = 0

    def on_fit_begin(self, state: FitState) -> None:
        """Begin anew, with the settings of now."""
        self._monitor = Monitor(self.monitor, self.mode, self.min_delta)
        self._monitor.begin(state.history)
        self._waited = self._cooling = 0

    def on_epoch_end(self, state: FitState) -> None:
        """Lower the rate where it is time."""
        rate = state.learning_rate
        if rate is None:
            raise ValueError("ReduceOnPlateau in callbacks has no learning rate to lower: L-BFGS "
                             "has none; take it away")
        self._waited = 0 if self._monitor.improves(state) else self._waited + 1
        if self._cooling > 0:
            self._cooling -= 1
            self._waited = 0
        if self._waited > self.patience:
            self._waited, self._cooling = 0, self.cooldown
            lower = max(rate * self.factor, self.min_lr)
            if rate - lower > self.EPS:
                state.learning_rate_scale *= lower / rate

    def describe(self) -> dict[str, Any]:
        """Return what decides the result."""
        return {"monitor": self.monitor, "factor": self.factor, "patience": self.patience,
                "min_delta": self.min_delta, "cooldown": self.cooldown, "min_lr": self.min_lr,
                "mode": self.mode}

    def get_state(self) -> dict[str, Any]:
        """Return the best value, and the epochs since then."""
        return {**self._monitor.get_state(), "waited": self._waited, "cooling": self._cooling}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._monitor.set_state(state, waited=is_count, cooling=is_count)
        self._waited, self._cooling = state["waited"], state["cooling"]


@suggests
class TimeLimit(Callback):
    """Ends a fit after the epoch in which the time is up; one epoch is done at least.

    With a checkpoint the fit has not ended: the next call goes on, with as much time again.

    Parameters
    ----------
    seconds : float
        From the beginning of the first epoch.
    name : str, default="seconds"
        What messages call them.
    """

    seconds = setting(validation.check_positive)

    def __init__(self, seconds: float, *, name: str = "seconds") -> None:
        self.seconds = validation.check_positive(name, seconds)
        self._end = math.inf

    def on_fit_begin(self, state: FitState) -> None:
        """Take the time."""
        self._end = time.monotonic() + self.seconds

    def on_epoch_end(self, state: FitState) -> None:
        """End the fit where the time is up."""
        if time.monotonic() >= self._end:
            state.stop("time", ended=False)
