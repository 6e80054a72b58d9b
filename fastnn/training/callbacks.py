"""Hooks of `MLP.fit`: what it does between two epochs, and how it calls users' callbacks."""

import inspect
import math
import os
import weakref

import numpy as np

from fastnn.core import notices, validation
from fastnn.core._arrays import all_finite
from fastnn.core.imports import imported
from fastnn.core.notices import shown, warn
from fastnn.core.threads import CallingBack
from fastnn.training.epochs import Callback, Hook, has_state, is_of_one_fit
from fastnn.training.history import DivergenceWarning, StopFit
from fastnn.training.metrics import Metrics, add_missing


class KeepFinite(Hook):
    """Ends a fit that leaves the finite numbers; publishes the last finite parameters at the end.

    Parameters
    ----------
    trainer : Trainer
    publish : callable
        Takes parameters, which it must copy, and the number of epochs that the network has seen.
    epochs_done : int
        That number before the first epoch.
    """

    quiet = True  # `Bursts` does what it does

    def __init__(self, trainer, publish, epochs_done):
        self.parameters = trainer.published.copy()
        self.publish, self.epochs_done = publish, epochs_done

    def on_epoch_end(self, state):
        """Keep the parameters, or end the fit."""
        done = self.epochs_done + 1
        published = state.trainer.published
        if math.isfinite(state.loss) and all_finite(published):
            self.parameters[:] = published
            self.epochs_done = done  # last: an error before leaves both of the epoch before
            return
        self.epochs_done = done  # to go on with other random numbers
        add_missing(state.history)
        state.stop("diverged", ended=False)
        warn(f"training diverged in epoch {state.epoch} (loss {state.loss:g}); the weights are "
             "those from before it. A smaller learning rate or scaled inputs help.",
             DivergenceWarning)

    def on_fit_end(self, state):
        """Publish: after Ctrl-C the parameters of the last whole step, where they are finite."""
        published = state.trainer.published
        if state.reason == "interrupted" and all_finite(published):
            self.parameters[:] = published
        self.publish(self.parameters, self.epochs_done)


class ValidationLoss(Hook):
    """Fills ``history.val_loss``.

    Parameters
    ----------
    evaluate : callable
        From parameters to a loss.
    """

    def __init__(self, evaluate):
        self.evaluate = evaluate

    def on_epoch_end(self, state):
        """Add the loss of this epoch."""
        state.history.val_loss.append(self.evaluate(state.trainer.published))


class Publish(Hook):
    """Lets those who come next find the network as it is after the epoch.

    Parameters
    ----------
    keep : KeepFinite
        Has what to publish.
    """

    def __init__(self, keep):
        self.keep = keep

    def on_epoch_end(self, state):
        """Publish."""
        self.keep.publish(self.keep.parameters, self.keep.epochs_done)


class PlainFunction(Callback):
    """The user's function of (epoch, net, history).

    Parameters
    ----------
    function : callable
        The fit ends when it raises `StopFit`. What it returns means nothing: other libraries'
        functions return True for reasons of their own.
    """

    def __init__(self, function):
        self.function, self.warned = function, False

    def on_epoch_end(self, state):
        """Call it."""
        returned = self.function(state.epoch, state.model, state.history)
        if isinstance(returned, (bool, np.bool_)) and returned and not self.warned:
            self.warned = True
            warn("the callback returned True, which does not end the fit (it once did): raise "
                 "fastnn.StopFit to end it, return None to go on without this warning")


SMALL = 1 << 12  # parameters whose bytes are copied sooner than a mask of them is made


def given_to_network(state):
    """Return the parameters that a callback has given the `MLP`, checked; None where it has not."""
    found, own = state.model._snapshot.parameters, state.keeper.parameters
    if (found.shape, found.dtype) == (own.shape, own.dtype) and (
            found.tobytes() == own.tobytes() if found.size < SMALL else (found == own).all()):
        return None
    return state.model._layout.adopted(found)


class CallCallbacks(Hook):
    """Calls the user's callbacks: each of them, where one has ended the fit too.

    Weights that one of them gives the model go to the trainer, before the next one is called.

    Parameters
    ----------
    callbacks : list of Callback
    states : list or None, default=None
        Those of them that have one, in their order, where the fit goes on from a checkpoint.
    given : callable, default=given_to_network
        From the state to parameters that the model has been given since it was published, or None.
    """

    def __init__(self, callbacks, states=None, given=given_to_network):
        self.callbacks, self.states, self.begun, self.given = callbacks, states, 0, given
        self.names = ()

    def on_fit_begin(self, state):
        """Begin; go on from their states."""
        states, self.names = list(self.states or ()), state.history.names
        begins = state.keeper is not None and state.epoch < 0
        if begins:  # in memory of its own, which a callback may write to
            state.keeper.publish(state.keeper.parameters, state.keeper.epochs_done)
        for i, callback in enumerate(self.callbacks):
            _begin_use(callback, state)
            self.begun = i + 1
            _call(callback.on_fit_begin, state)
            _check_curves(state.history, self.names, callback)
            # where the fit goes on from a file, the callback has done so before its first epoch
            given = self.given(state) if begins else None
            if given is not None:
                state.go_on_from(given)
            if states and has_state(callback):
                callback.set_state(states.pop(0))

    def on_epoch_end(self, state):
        """Call them."""
        moved = None
        for callback in self.callbacks:
            _call(callback.on_epoch_end, state)
            _check_curves(state.history, self.names, callback)
            given = self.given(state)
            if given is not None:
                state.go_on_from(given)
                moved = callback
        if moved is not None and state.own_way and state.reason is None:
            raise ValueError(f"a callback ({type(moved).__name__}) has set weights: "
                             f"{state.own_way}; end the fit with them, by fastnn.StopFit, or leave "
                             "them alone")

    def on_fit_end(self, state):
        """Call those that have begun, all of them; the first error counts."""
        failed = None
        for callback in self.callbacks[:self.begun]:
            try:
                _call(callback.on_fit_end, state)
            except BaseException as error:
                failed = failed or error
            _in_use.pop(id(callback), None)
        if failed is not None:
            try:
                raise failed
            finally:
                failed = None  # no circle through the traceback


_in_use: dict = {}  # by the id of a callback: the process and the state of the fit that has it


def _begin_use(callback, state):
    """Raise RuntimeError where another fit has a callback that keeps something of a fit."""
    if not is_of_one_fit(callback):
        return
    mine = os.getpid(), weakref.ref(state)
    process, other = _in_use.setdefault(id(callback), mine)
    fit = other()
    # a fit may have ended without a word: for lack of memory, or in the process before a fork
    if fit is not state and fit is not None and process == mine[0] and fit.history.stopped is None:
        raise RuntimeError(f"this {type(callback).__name__} is a callback of another fit, which "
                           "has not ended: each needs an object of its own")
    _in_use[id(callback)] = mine


def _call(method, state):
    """Call a method of a callback, which may end the fit by `StopFit`."""
    own = vars(state)  # which it does not look through, as it would for an attribute
    try:
        own["_locked"] = True
        with CallingBack(state.model):
            method(state)
    except StopFit as stop:
        state.stop(str(stop) or "stopped")
    finally:
        own["_locked"] = False


def _check_curves(history, names, callback):
    """Raise where a callback has put something else in the place of a curve, or taken it away."""
    own = vars(history)
    metrics = own.get("metrics")
    for name in names:
        curves = own if name in ("loss", "val_loss") else metrics
        curve = curves.get(name) if isinstance(curves, dict) else None
        if not isinstance(curve, list):
            raise TypeError(f"a callback ({type(callback).__name__}) has set history.{name} to "
                            f"{shown(curve)}: a curve is a list with an entry for each epoch")


METHODS = "on_fit_begin", "on_epoch_end", "on_fit_end"


def _see_misspelt(kind):
    """Give a hint where a class of callbacks has a method that nothing calls."""
    for name in dir(kind):
        if name.startswith("on_") and name not in METHODS:
            said = imported("fastnn.core.words").did_you_mean(name, METHODS)
            text = f"{kind.__name__} has a method {name!r}, which nothing calls{said}"
            notices.hint("callback", text if said else None)


def check_callbacks(callbacks, callback):
    """Return the callbacks of a fit as a list, the plain function as the last one.

    Parameters
    ----------
    callbacks : sequence of Callback, or None
    callback : callable or None
    """
    if callbacks is None:
        callbacks = ()
    if not isinstance(callbacks, (list, tuple)):
        hint = ""
        if hasattr(callbacks, "on_epoch_end"):
            hint = ", with one object too: callbacks=[...]"
        raise TypeError(f"callbacks={shown(callbacks)} must be a list of fastnn.Callback objects"
                        f"{hint}")
    found = []
    for i, given in enumerate(callbacks):
        name = f"callbacks[{i}]={shown(given)}"
        if isinstance(given, type):
            raise TypeError(f"{name} is a class, must be an object: {given.__name__}(...)")
        if not isinstance(given, Callback):
            hint = ("; a function of (epoch, net, history) goes into callback="
                    if callable(given) else "")
            raise TypeError(f"{name} must be a fastnn.Callback{hint}")
        for method in METHODS:
            _check_method(name, given, method)
        _see_misspelt(type(given))
        for j, other in enumerate(found):
            if other is given:
                raise ValueError(f"{name} is callbacks[{j}]: it would see each epoch twice")
        found.append(given)
    check_files(found)
    kind = callback if isinstance(callback, type) else type(callback)
    if issubclass(kind, Callback):
        raise TypeError(f"callback={shown(callback)} must be a function of (epoch, net, history); "
                        "a fastnn.Callback goes into callbacks=[...]")
    if callback is not None and not callable(callback):
        raise TypeError(f"callback={callback!r} must be callable")
    if callback is not None:
        found.append(PlainFunction(callback))
    return found


def check_files(callbacks, checkpoint=None):
    """Raise ValueError where two write the same file.

    Parameters
    ----------
    callbacks : sequence of Callback
    checkpoint : path or None, default=None
    """
    users = {} if checkpoint is None else {os.path.realpath(checkpoint): "the checkpoint"}
    for callback in callbacks:
        for path in getattr(callback, "_written_files", ()):
            other = users.setdefault(os.path.realpath(path), callback)
            if other is not callback:
                other = other if isinstance(other, str) else f"another {type(other).__name__}"
                raise ValueError(f"callbacks holds a {type(callback).__name__} of {path!r}, which "
                                 f"is the file of {other}, too: each needs one of its own")


def _check_method(name, callback, method):
    """Raise unless a method can be called with the state alone."""
    try:
        inspect.signature(getattr(callback, method)).bind(None)
    except ValueError:  # of what has no signature
        return
    except TypeError as error:
        raise TypeError(f"{name}: {method} must take one argument, the state: {error}") from None


class WriteCheckpoint(Hook):
    """Writes the checkpoint where it is due, and at the end.

    Parameters
    ----------
    checkpoint : Checkpoint
    progress : Progress
    steps : StepLimit
        An epoch that it cuts short is not written: a call with more steps has to do it whole.
    """

    def __init__(self, checkpoint, progress, steps):
        self.checkpoint, self.progress, self.steps = checkpoint, progress, steps

    def on_epoch_end(self, state):
        """Write, unless the last time was not long ago."""
        whole = state.epoch + 1 - self.steps.whole_epochs
        if whole == 0 and self.steps.is_cut or whole <= 0 and self.checkpoint.is_due:
            self.write(state)

    def on_fit_end(self, state):
        """Write what the epochs since then have done, where the fit has come to its end."""
        done = state.ended or state.reason in ("epochs", "steps", "time")
        if state.epoch >= self.steps.whole_epochs and not state.ended:
            return
        if done and self.progress.epochs <= state.epoch:
            self.progress.ended = state.ended
            self.progress.stopped = state.reason if state.ended else None
            self.write(state)

    def write(self, state):
        """Replace the file."""
        self.progress.epochs = state.epoch + 1
        self.checkpoint.write(self.progress, state.trainer, state.history,
                              state.learning_rate_scale)


class StepLimit:
    """How many epochs there are, and where the last one is cut short.

    Parameters
    ----------
    max_steps : int or None
        Most steps (batches) of the fit.
    epochs, n_rows, batch_size : int

    Attributes
    ----------
    per_epoch, total : int
        Steps of an epoch, and of the fit.
    epochs : int
        Of the fit, one that is cut short included.
    whole_epochs : int
    reason : str
        Why the fit ends where nothing else ends it: "epochs" or "steps".
    """

    def __init__(self, max_steps, epochs, n_rows, batch_size):
        self.n_rows, self.batch_size = n_rows, batch_size
        self.per_epoch = -(-n_rows // batch_size)
        self.total, self.reason = epochs * self.per_epoch, "epochs"
        if max_steps is not None:
            max_steps = validation.check_count("max_steps", max_steps)
            if max_steps < self.total:
                self.total, self.reason = max_steps, "steps"
        self.whole_epochs = self.total // self.per_epoch
        self.epochs = -(-self.total // self.per_epoch)

    @property
    def is_cut(self):
        """Whether the last epoch is cut short."""
        return self.whole_epochs < self.epochs

    def of(self, epoch):
        """Return the number of steps of an epoch."""
        return min(self.per_epoch, self.total - epoch * self.per_epoch)


class RowOrder:
    """The order of the rows in each epoch. (No closure of `MLP.fit`: CPython 3.11 loses the
    arguments of a call when it finds no memory for one.)

    Parameters
    ----------
    trainer : Trainer
    shuffle : bool
        Whether there is a new order each epoch.
    key : int
        Decides the orders.
    epochs_before : int
        That the network had been trained before this fit.
    steps : StepLimit or None, default=None
        Where the last epoch is cut short.
    """

    def __init__(self, trainer, shuffle, key, epochs_before, steps=None):
        self.trainer, self.shuffle = trainer, shuffle
        self.key, self.epochs_before, self.steps = key, epochs_before, steps

    def key_of(self, epoch):
        """Return what shuffles the rows of an epoch, for `Trainer.run_epochs`; None: nothing."""
        return (self.key, self.epochs_before + epoch) if self.shuffle else None

    def of(self, epoch):
        """Return the rows of an epoch; None for all as they lie."""
        order = None
        if self.shuffle:
            order = self.trainer.shuffle(self.key, self.epochs_before + epoch)
        if self.steps is not None and epoch == self.steps.whole_epochs:  # cut short
            if order is None:
                order = np.arange(self.steps.n_rows)
            order = order[:self.steps.of(epoch) * self.steps.batch_size]
        return order


def fit_hooks(state, publish, evaluate, callbacks, checkpoint, progress, *, steps, metrics=None,
              held_out=None, others=()):
    """Return the hooks of a fit, in their order.

    Parameters
    ----------
    state : FitState
        With trainer, network and history.
    publish : callable
        See `KeepFinite`.
    evaluate : callable or None
        See `ValidationLoss`.
    callbacks : list of Callback
        As `check_callbacks` gives them.
    checkpoint : Checkpoint or None
    progress : Progress
    steps : StepLimit or None
        None: without a checkpoint.
    metrics : dict or None, default=None
        As `check_metrics` gives it.
    held_out : tuple or None, default=None
        Validation data for the metrics.
    others : sequence of Hook, default=()
        Those that do not look at the network.
    """
    keep = KeepFinite(state.trainer, publish, progress.epochs_before + progress.epochs)
    state.keeper = keep
    hooks = [keep]
    if evaluate is not None:
        hooks.append(ValidationLoss(evaluate))
    if metrics or callbacks:
        hooks.append(Publish(keep))
    if metrics:
        hooks.append(Metrics(metrics, held_out, state.net, state.trainer.info))
    if callbacks:
        hooks.append(CallCallbacks(callbacks, progress.callback_states))
    hooks.extend(others)
    if checkpoint is not None:
        hooks.append(WriteCheckpoint(checkpoint, progress, steps))
    return hooks
