"""The one driver of epochs. Whatever happens between two epochs is a hook."""

from fastnn.training.history import History

__all__ = ["FitState", "Hook", "run_epochs"]


class FitState:
    """Where a fit stands, as hooks see it.

    Attributes
    ----------
    trainer : Trainer
        Holds parameters and the state of the optimizer.
    model : MLP or estimator
        What is being fitted.
    history : History
    epoch : int
        Number of the epoch, from 0; for L-BFGS of the iteration.
    loss : float or None
        Of that epoch.
    reason : str or None
        Why the fit ends: "epochs" (all are done), "stopped" (by a callback), "diverged",
        "patience", "converged", "interrupted" (Ctrl-C), "failed" (another exception); None before.
    """

    def __init__(self, trainer, model, history=None):
        self.trainer, self.model = trainer, model
        self.history = History() if history is None else history
        self.epoch, self.loss, self.reason = -1, None, None

    def stop(self, reason):
        """End the fit after this epoch; hooks that come later do not see the epoch any more."""
        self.reason = reason


class Hook:
    """Base of what happens between epochs; each method gets the `FitState`."""

    def on_epoch_end(self, state):
        """Do something after an epoch."""

    def on_fit_end(self, state):
        """Do something at the end, also after Ctrl-C or an error."""


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
        for hook in self.hooks:
            hook.on_fit_end(self.state)


def run_epochs(state, epochs, *, order, learning_rate, hooks, first=0, stop_if_diverged=False):
    """Run epochs until all are done or a hook ends the fit.

    Parameters
    ----------
    state : FitState
    epochs : int
        How many, those before ``first`` included.
    order : callable
        From the number of an epoch to its rows, an intp array; None for all as they lie.
    learning_rate : callable
        From the number of an epoch to its learning rate.
    hooks : sequence of Hook
        Called in this order.
    first : int, default=0
        Number of the first epoch.
    stop_if_diverged : bool, default=False
        Whether an epoch ends at the first batch whose loss is not finite.

    Returns
    -------
    FitState
        The same; its ``reason`` tells why the fit ended.
    """
    with Ending(state, hooks):
        for epoch in range(first, epochs):
            state.epoch = epoch
            state.loss = state.trainer.run_epoch(
                order(epoch), learning_rate=learning_rate(epoch),
                stop_if_diverged=stop_if_diverged)
            state.history.loss.append(state.loss)
            end_epoch(state, hooks)
            if state.reason is not None:
                break
        else:
            state.reason = "epochs"
    return state
