"""Hooks of `MLP.fit`: what it does between two epochs."""

import math

import numpy as np

from fastnn.core._arrays import all_finite
from fastnn.core.notices import warn
from fastnn.training.epochs import Hook
from fastnn.training.history import DivergenceWarning, StopFit


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

    def __init__(self, trainer, publish, epochs_done):
        self.parameters = trainer.parameters.copy()
        self.publish, self.epochs_done = publish, epochs_done

    def on_epoch_end(self, state):
        """Keep the parameters, or end the fit."""
        done = self.epochs_done + 1
        if math.isfinite(state.loss) and all_finite(state.trainer.parameters):
            self.parameters[:] = state.trainer.parameters
            self.epochs_done = done  # last: an error before leaves both of the epoch before
            return
        self.epochs_done = done  # to go on with other random numbers
        if state.history.val_loss is not None:
            state.history.val_loss.append(math.nan)
        state.stop("diverged")
        warn(f"training diverged in epoch {state.epoch} (loss {state.loss:g}); the weights are "
             "those from before it. A smaller learning rate or scaled inputs help.",
             DivergenceWarning)

    def on_fit_end(self, state):
        """Publish: after Ctrl-C the parameters of the last whole step, where they are finite."""
        if state.reason == "interrupted" and all_finite(state.trainer.parameters):
            self.parameters[:] = state.trainer.parameters
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
        state.history.val_loss.append(self.evaluate(state.trainer.parameters))


class CallUser(Hook):
    """Calls the user's function, who finds the network as it is after the epoch.

    Parameters
    ----------
    callback : callable
        Called as callback(epoch, model, history); the fit ends when it raises `StopFit`. What it
        returns means nothing: other libraries' functions return True for reasons of their own.
    keep : KeepFinite
        Has what to publish before.
    """

    def __init__(self, callback, keep):
        self.callback, self.keep, self.warned = callback, keep, False

    def on_epoch_end(self, state):
        """Publish, call, end the fit where it says so."""
        self.keep.publish(self.keep.parameters, self.keep.epochs_done)
        try:
            returned = self.callback(state.epoch, state.model, state.history)
        except StopFit:
            state.stop("stopped")
            return
        if isinstance(returned, (bool, np.bool_)) and returned and not self.warned:
            self.warned = True
            warn("the callback returned True, which does not end the fit (it once did): raise "
                 "fastnn.StopFit to end it, return None to go on without this warning")


class WriteCheckpoint(Hook):
    """Writes the checkpoint where it is due, and at the end.

    Parameters
    ----------
    checkpoint : Checkpoint
    progress : Progress
    """

    def __init__(self, checkpoint, progress):
        self.checkpoint, self.progress = checkpoint, progress

    def on_epoch_end(self, state):
        """Write, unless the last time was not long ago."""
        if self.checkpoint.is_due:
            self.write(state)

    def on_fit_end(self, state):
        """Write what the epochs since then have done, where the fit has come to its end."""
        ended = state.reason == "stopped"
        if (ended or state.reason == "epochs") and self.progress.epochs <= state.epoch:
            self.progress.ended = ended
            self.write(state)

    def write(self, state):
        """Replace the file."""
        self.progress.epochs = state.epoch + 1
        self.checkpoint.write(self.progress, state.trainer, state.history)


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
    """

    def __init__(self, trainer, shuffle, key, epochs_before):
        self.trainer, self.shuffle = trainer, shuffle
        self.key, self.epochs_before = key, epochs_before

    def of(self, epoch):
        """Return the rows of an epoch; None for all as they lie."""
        if not self.shuffle:
            return None
        return self.trainer.shuffle(self.key, self.epochs_before + epoch)


def fit_hooks(trainer, publish, evaluate, callback, checkpoint, progress):
    """Return the hooks of a fit, in their order.

    Parameters
    ----------
    trainer : Trainer
    publish : callable
        See `KeepFinite`.
    evaluate, callback : callable or None
        See `ValidationLoss` and `CallUser`.
    checkpoint : Checkpoint or None
    progress : Progress
    """
    hooks = [KeepFinite(trainer, publish, progress.epochs_before + progress.epochs)]
    if evaluate is not None:
        hooks.append(ValidationLoss(evaluate))
    if callback is not None:
        hooks.append(CallUser(callback, hooks[0]))
    if checkpoint is not None:
        hooks.append(WriteCheckpoint(checkpoint, progress))
    return hooks
