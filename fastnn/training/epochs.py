"""The one driver of epochs. Whatever happens between two epochs is a hook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastnn.core import validation
from fastnn.core.notices import shown
from fastnn.files.container import ModelFormatError
from fastnn.training.history import History

if TYPE_CHECKING:
    from typing import Any

    from fastnn.core.types import Array
    from fastnn.training._trainer import Trainer

__all__ = ["Callback", "Ending", "FitState", "Hook", "begin_fit", "check_state", "end_epoch",
           "has_state", "is_count", "is_number", "is_of_one_fit", "run_epochs"]


_OF_THE_FIT = frozenset((
    "all_done", "ended", "epoch", "epochs", "history", "keeper", "loss", "model", "own_way",
    "publish", "rates", "reason", "trainer"))


class FitState:
    """Where a fit stands, as callbacks see it.

    Parameters
    ----------
    trainer : Trainer
        The compiled loop.
    model : MLP or estimator
        What is being fitted.
    history : History or None, default=None
        Of the fit; None: a new one.

    Attributes
    ----------
    net : MLP or estimator
        What is being fitted; of an `MLP` the parameters are those after this epoch.
    epoch : int
        Number of the epoch, from 0; before the first one -1. For L-BFGS of the iteration.
    epochs : int or None
        How many there are at most.
    step : int
        Steps of the optimizer so far.
    history : History
    loss : float or None
        Of that epoch.
    parameters : flat array
        Those that the network has after this epoch; not a copy, and not to be written to: see
        `restore`.
    learning_rate : float or None
        That of the last step.
    learning_rate_scale : float
        Factor of all learning rates from the next epoch on; 1 at the start. A checkpoint holds it.
    reason : str or None
        Why the fit ends: "epochs" (all are done), "steps" (``max_steps`` are done), "stopped" (by a
        callback), "time", "diverged", "patience", "converged", "interrupted" (Ctrl-C), "failed"
        (another exception), or what `stop` was given; None before.
    ended : bool
        Whether a checkpoint takes the fit as ended for good.
    trainer : Trainer
        The compiled loop; internal.
    """

    _locked = False  # while a user's callback has it

    def __init__(self, trainer: Trainer, model: Any, history: History | None = None) -> None:
        self.trainer, self.model = trainer, model
        self.history = History() if history is None else history
        self.epoch = -1
        self.epochs: int | None = None
        self.loss: float | None = None
        self.reason: str | None = None
        self._scale, self.ended = 1.0, False
        self.rates: Any = None  # of the last epoch: a number, or an array with one for each step
        self.all_done = "epochs"  # the reason where no hook ends the fit
        self.keeper: Any = None  # the `KeepFinite` of `MLP.fit`
        self.publish: Any = None  # of estimators, between two epochs: gives the model parameters
        self.own_way = ""  # why a fit cannot go on from parameters that it is given

    def __setattr__(self, name, value):
        if self._locked and name in _OF_THE_FIT:
            raise AttributeError(f"state.{name} cannot be set, the fit counts on it: state.stop() "
                                 "ends the fit, state.learning_rate_scale changes its rate, "
                                 "state.restore() its parameters")
        super().__setattr__(name, value)

    @property
    def net(self) -> Any:
        """What is being fitted."""
        return self.model

    @property
    def step(self) -> int:
        """Steps of the optimizer so far."""
        return self.trainer.step

    @property
    def learning_rate(self) -> float | None:
        """Learning rate of the last step."""
        rates = self.rates
        return None if rates is None else float(rates[-1] if hasattr(rates, "shape") else rates)

    @property
    def learning_rate_scale(self) -> float:
        """Factor of all learning rates from the next epoch on."""
        return self._scale

    @learning_rate_scale.setter
    def learning_rate_scale(self, scale):
        self._scale = validation.check_nonnegative("learning_rate_scale", scale)

    @property
    def parameters(self) -> Array:
        """The flat parameters that the network has after this epoch."""
        found = self.trainer.published if self.keeper is None else self.keeper.parameters
        found = found.view()
        found.flags.writeable = False
        return found

    def stop(self, reason: str = "stopped", *, ended: bool = True) -> None:
        """End the fit after this epoch.

        Parameters
        ----------
        reason : str, default="stopped"
            Becomes ``history.stopped``; that of the first call counts.
        ended : bool, default=True
            Whether the fit has come to its end; False where only the time is up: with a checkpoint
            the next call goes on.
        """
        if not isinstance(reason, str):
            raise TypeError(f"reason={reason!r} must be a string: why the fit ends")
        if self.reason is None:
            vars(self).update(reason=reason, ended=ended)

    def restore(self, parameters: Array) -> None:
        """Give the network these parameters: at the end of the fit (`Callback.on_fit_end`) to keep,
        before that to go on from, as ``net.set_weights`` does.

        Parameters
        ----------
        parameters : flat array like ``parameters``
            What the network is to have.
        """
        parameters = self.trainer.layout.adopted(parameters)
        if self.keeper is not None:
            self.keeper.publish(parameters, self.keeper.epochs_done)
        elif self.publish is not None:
            self.publish(parameters)
        else:
            self.trainer.published[:] = parameters

    def go_on_from(self, parameters: Array) -> None:
        """Let the next epoch begin with these parameters, and the model be theirs; internal.

        Parameters
        ----------
        parameters : flat array like ``parameters``
            That have been checked.
        """
        trainer = self.trainer
        trainer.parameters[:] = parameters
        if trainer.published is not trainer.parameters:  # a mean, which begins anew
            trainer.published[:] = parameters
        if self.keeper is not None:
            self.keeper.parameters[:] = parameters


class Callback:
    """Base of what happens between epochs; each method gets the `FitState`.

    Derive from it, override what is needed, and give objects to ``MLP.fit(callbacks=[...])``. They
    are called in their order; where one ends the fit, the others still see that epoch. After an
    epoch that diverged only `on_fit_end` is called.

    An exception ends the fit and leaves the network at the last whole epoch; `fastnn.StopFit` ends
    it as `FitState.stop` does. Weights that a callback gives the network are those that training
    goes on from, and that it ends with where this was the last epoch; an optimizer that goes its
    own way (`fastnn.LBFGS`) refuses them unless the fit ends.

    Examples
    --------
    >>> import fastnn
    >>> class Below(fastnn.Callback):
    ...     def __init__(self, loss):
    ...         self.loss = loss
    ...     def on_epoch_end(self, state):
    ...         if state.loss < self.loss:
    ...             state.stop(f"loss below {self.loss}")
    """

    def on_fit_begin(self, state: FitState) -> None:
        """Do something before the first epoch.

        Parameters
        ----------
        state : FitState
            Where the fit stands.
        """

    def on_epoch_end(self, state: FitState) -> None:
        """Do something after an epoch.

        Parameters
        ----------
        state : FitState
            Where the fit stands.
        """

    def on_fit_end(self, state: FitState) -> None:
        """Do something at the end, also after Ctrl-C or an error.

        Parameters
        ----------
        state : FitState
            Where the fit stands.
        """

    def describe(self) -> dict[str, Any]:
        """Return what decides the result, a dict of plain values: a checkpoint that says otherwise
        is refused, and names what differs. Only that of a callback with a state is asked for.

        Returns
        -------
        dict
            Of numbers, strings, None and lists.
        """
        return {}

    def get_state(self) -> dict[str, Any] | None:
        """Return what a checkpoint must hold to go on as if nothing had been: a dict of plain
        values (numbers, strings, None, lists) and float arrays; None for nothing, which comes back
        as an empty dict. An array without axes comes back as a number.
        """
        return None

    def set_state(self, state: dict[str, Any]) -> None:
        """Take what `get_state` gave; called after `on_fit_begin`, where a fit goes on.

        Parameters
        ----------
        state : dict
            What `get_state` returned.
        """


def check_state(state, **kinds):
    """Raise `ModelFormatError` where a checkpoint holds for a callback what that has not written.

    Parameters
    ----------
    state : dict
        What `Callback.set_state` was given.
    kinds : callable
        By name: returns whether a value is one of the callback's.
    """
    for name in sorted(state.keys() | kinds.keys(), key=str):
        if name not in state or name not in kinds or not kinds[name](state[name]):
            value = f"={shown(state[name])}" if name in state else " is missing"
            raise ModelFormatError("the checkpoint holds a state of a callback that nothing can go "
                                   f"on from: {shown(name)}{value}")


def is_number(value):
    """Whether a value of a state is a number, and not NaN."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value


def is_count(value):
    """Whether a value of a state is a number of epochs."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def has_state(callback):
    """Return whether a callback says what a checkpoint must hold of it."""
    return type(callback).get_state is not Callback.get_state


def is_of_one_fit(callback):
    """Return whether a callback keeps something of a fit, so that no two at a time may have it."""
    return has_state(callback) or type(callback).__module__.startswith("fastnn.")


Hook = Callback  # what the fits themselves do between two epochs


def begin_fit(state, hooks):
    """Call the hooks before the first epoch."""
    for hook in hooks:
        hook.on_fit_begin(state)


def end_epoch(state, hooks):
    """Call the hooks of an epoch, until one of them ends the fit."""
    for hook in hooks:
        hook.on_epoch_end(state)
        if state.reason is not None:
            return


class Ending:
    """``with Ending(state, hooks)``: says why a fit ends, and calls the hooks at its end."""

    def __init__(self, state, hooks):
        self.state, self.hooks = state, hooks

    def __enter__(self):
        return self.state

    def __exit__(self, kind, error, _):
        if kind is not None:
            interrupted = issubclass(kind, KeyboardInterrupt)
            self.state.reason = "interrupted" if interrupted else "failed"
            self.state.ended = False
        self.state.history.stopped = self.state.reason
        for hook in self.hooks:
            hook.on_fit_end(self.state)


def run_epoch(state, order, learning_rate, stop_if_diverged):
    """Run the next epoch; its loss becomes that of the state."""
    epoch = state.epoch + 1
    rates = learning_rate(epoch)
    if state.learning_rate_scale != 1.0:
        rates = rates * state.learning_rate_scale
    rows = order(epoch)
    state.epoch, state.rates = epoch, rates
    state.loss = state.trainer.run_epoch(
        rows, learning_rate=rates, stop_if_diverged=stop_if_diverged)


def run_epochs(state, epochs, *, order, learning_rate, hooks, first=0, stop_if_diverged=False,
               bursts=None):
    """Run epochs until all are done or a hook ends the fit.

    Parameters
    ----------
    state : FitState
    epochs : int
        How many, those before ``first`` included.
    order : callable
        From the number of an epoch to its rows, an intp array; None for all as they lie.
    learning_rate : callable
        From the number of an epoch to its learning rate, or to an array of those of its steps.
    hooks : sequence of Hook
        Called in this order.
    first : int, default=0
        Number of the first epoch.
    stop_if_diverged : bool, default=False
        Whether an epoch ends at the first batch whose loss is not finite.
    bursts : Bursts or None, default=None
        Runs several epochs in one call, where it can.

    Returns
    -------
    FitState
        The same; its ``reason`` tells why the fit ended.
    """
    with Ending(state, hooks):
        state.epoch, state.epochs = first - 1, epochs
        begin_fit(state, hooks)
        while state.reason is None and state.epoch + 1 < epochs:
            if bursts is None or not bursts.run(state, epochs):
                run_epoch(state, order, learning_rate, stop_if_diverged)
            state.history.loss.append(state.loss)
            end_epoch(state, hooks)
        if state.reason is None:
            state.reason = state.all_done
    return state
