"""The rules of scikit-learn's MLP, as hooks: history, early stopping, patience, learning rates.

They keep the fitted attributes up to date (`loss_curve_`, `t_`, `best_loss_`, ...).
"""

import math

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from fastnn.core.cures import unscaled
from fastnn.core.notices import warn
from fastnn.training.epochs import FitState, Hook, run_epochs
from fastnn.training.history import DivergenceWarning, History
from fastnn.training.lbfgs import minimise

__all__ = ["fit_lbfgs", "fit_stochastic"]

SCORE = "val_score"  # name of the score of early stopping in the history that callbacks see
_SMALLEST_RATE = 1e-6  # where learning_rate="adaptive" gives up


# ---- hooks ----

class Record(Hook):
    """Keeps losses and counts; prints them where the estimator is verbose.

    Parameters
    ----------
    n_rows : int
        Rows of an epoch.
    """

    def __init__(self, n_rows):
        self.n_rows = n_rows

    def on_epoch_end(self, state):
        """Record the epoch."""
        est = state.model
        est.loss_ = state.loss
        est.n_iter_ += 1
        if est.solver != "lbfgs":
            est.t_ += self.n_rows
            est.loss_curve_.append(est.loss_)
        if est.verbose:
            _report(est, f"Iteration {est.n_iter_}, loss = {est.loss_:.8f}")


class WatchLoss(Hook):
    """Fills `validation_loss_curve_`.

    Parameters
    ----------
    held_out : HeldOut
    """

    def __init__(self, held_out):
        self.held_out = held_out

    def on_epoch_end(self, state):
        """Add the loss of the held-out rows."""
        loss = self.held_out.loss(state.trainer.published)
        state.model.validation_loss_curve_.append(loss)
        state.history.val_loss.append(loss)


class Improvement(Hook):
    """Counts the epochs without improvement; keeps the best parameters of early stopping.

    Parameters
    ----------
    parameters : flat array
        Those before the first epoch.
    held_out : HeldOut or None
    """

    def __init__(self, parameters, held_out):
        self.held_out = held_out
        self.best = parameters.copy()

    def on_epoch_end(self, state):
        """Compare the epoch with the best one."""
        est = state.model
        if est.early_stopping:
            score = self.held_out.score(state.trainer.published)
            est.validation_scores_.append(score)
            state.history.metrics[SCORE].append(score)
            _report(est, f"Validation score: {score:f}")
            stalled = score < est.best_validation_score_ + est.tol
            if est.scoring is not None and math.isnan(score):  # scikit-learn's own goes on for ever
                stalled = True
            if score > est.best_validation_score_:
                est.best_validation_score_ = score
                self.best = state.trainer.published.copy()
        else:
            stalled = est.loss_ > est.best_loss_ - est.tol
            est.best_loss_ = min(est.best_loss_, est.loss_)
        est._no_improvement_count = est._no_improvement_count + 1 if stalled else 0


class NonFinite(Hook):
    """Ends a fit from which nothing can be learned any more."""

    def on_epoch_end(self, state):
        """Look at loss and parameters."""
        if not math.isfinite(state.loss) and not np.isfinite(state.trainer.parameters).all():
            state.stop("diverged")


class Patience(Hook):
    """Ends a fit without improvement, or lowers its learning rate; has the learning rate.

    Parameters
    ----------
    est : estimator
    rate : float
        Of the first epoch.
    rates : StepRates or None, default=None
        In its place: those of a schedule.
    """

    def __init__(self, est, rate, rates=None):
        self.schedule = est.learning_rate if est.solver == "sgd" else "constant"
        self.rate, self.rates = rate, rates

    def rate_of(self, epoch):
        """Return the learning rate of the epoch that comes, or those of its steps."""
        return self.rate if self.rates is None else self.rates.of(epoch)

    def on_epoch_end(self, state):
        """Choose the next learning rate, or end the fit."""
        est = state.model
        if self.schedule == "invscaling":
            self.rate = est.learning_rate_init / (est.t_ + 1) ** est.power_t
        if est._no_improvement_count <= est.n_iter_no_change:
            return
        if self.schedule != "adaptive" or self.rate <= _SMALLEST_RATE:
            self.report(est, "Stopping.")
            state.stop("patience")
            return
        self.rate /= 5.0
        est._no_improvement_count = 0
        self.report(est, f"Setting learning rate to {self.rate:f}")

    def report(self, est, consequence):
        """Print that nothing has improved, and what follows."""
        if est.verbose:
            watched = "Validation score" if est.early_stopping else "Training loss"
            _report(est, f"{watched} did not improve more than tol={est.tol:f} "
                         f"for {est.n_iter_no_change} consecutive epochs. {consequence}")


class Publish(Hook):
    """Makes the estimator the model of this epoch, for the callbacks that come next.

    Parameters
    ----------
    publish : callable
        From parameters.
    """

    def __init__(self, publish):
        self.publish = publish

    def on_epoch_end(self, state):
        """Publish."""
        self.publish(state.trainer.published)
        state.publish = self.publish

    def on_fit_end(self, state):
        """From here on the trainer's parameters are those that the model ends with."""
        state.publish = None


class Together(Hook):
    """Hooks that all see an epoch, where one of them ends the fit too.

    Parameters
    ----------
    hooks : sequence of Hook
    """

    def __init__(self, hooks):
        self.hooks = hooks

    def on_fit_begin(self, state):
        """Begin."""
        for hook in self.hooks:
            hook.on_fit_begin(state)

    def on_epoch_end(self, state):
        """Call them."""
        for hook in self.hooks:
            hook.on_epoch_end(state)

    def on_fit_end(self, state):
        """End."""
        for hook in self.hooks:
            hook.on_fit_end(state)


# ---- fits ----

def _scale_of(est, data):
    """Return the end of a warning: that inputs, or targets, are far from a scale of 1."""
    if data is None:
        return ""
    said = unscaled(data[0], data[1] if est.out_activation_ == "identity" else None)
    return "" if said is None else f" {said}."


def fit_stochastic(est, trainer, rows, n_rows, rng, held_out=None, *, fresh, one_epoch, rate,
                   rates=None, hooks=(), callbacks=(), checkpoint=None, data=None):
    """Run epochs of minibatches until a stopping rule holds.

    Parameters
    ----------
    est : estimator
        Gives the settings, receives the history.
    trainer : Trainer
        Holds initial parameters and data; holds the trained parameters afterwards.
    rows : ndarray of intp, shape (n_rows,), or None
        The rows to train on; None for all, in their order.
    n_rows : int
    rng : RandomState
        One shuffle is drawn per epoch, composed with the one before.
    held_out : HeldOut or None, default=None
    fresh : bool
        Whether the history starts anew (False for warm starts).
    one_epoch : bool
        ``partial_fit``: one epoch, with the optimizer as the last call left it.
    rate : float
        The learning rate.
    rates : StepRates or None, default=None
        Those of a schedule, in its place.
    hooks : sequence of Hook, default=()
        Called after each epoch, too, before scikit-learn's rules may end the fit.
    callbacks : sequence of Hook, default=()
        Called after those, and when they end the fit, too; not where it has diverged.
    checkpoint : Checkpoint or None, default=None
        From where the fit goes on, and what writes the file.
    data : tuple of X and target, or None, default=None
        That a warning looks at.

    Returns
    -------
    flat array
        The parameters of the model.
    """
    _start_history(est, fresh)
    patience = Patience(est, _resume(est, trainer, rate) if one_epoch else rate, rates)
    improvement = Improvement(trainer.published, held_out)
    est.n_iter_ = 0
    own = [Record(n_rows), *([] if held_out is None else [WatchLoss(held_out)]), improvement,
           *hooks, NonFinite(), Together([patience, *callbacks]) if callbacks else patience]
    order = _Order(est, rows, n_rows, rng)
    state, first, ended = FitState(trainer, est, _history(est, held_out)), 0, False
    if checkpoint is not None:
        first, ended = checkpoint.restore(est, trainer, patience, improvement, order)
        _fill_history(est, state.history, first)
        own.append(checkpoint)  # last: it writes what the others have decided
    try:
        run_epochs(state, 1 if one_epoch else first if ended else est.max_iter, first=first,
                   order=order.next, learning_rate=patience.rate_of, hooks=own)
        if state.reason == "epochs" and not (one_epoch or ended):
            warn(f"Stochastic Optimizer: Maximum iterations ({est.max_iter}) reached and the "
                 f"optimization hasn't converged yet.{_scale_of(est, data)}", ConvergenceWarning)
    except KeyboardInterrupt:
        warn("Training interrupted by user.")

    est._optimizer_state = {
        "solver": est.solver,
        "learning_rate": patience.rate,
        "step": trainer.step,
        "moments": list(trainer.optimizer_state),
    }
    if trainer.published is not trainer.parameters:  # the model is the mean, training goes on here
        est._optimizer_state["weights"] = trainer.parameters.copy()
    if est.early_stopping:
        if not np.isfinite(trainer.published).all():
            warn(f"Training diverged in epoch {est.n_iter_}; the weights of the best epoch are "
                 "kept. Scale the data or lower learning_rate_init.", DivergenceWarning)
        return improvement.best
    return trainer.published


class _Order:
    """The order of the rows, shuffled once an epoch as scikit-learn does."""

    def __init__(self, est, rows, n_rows, rng):
        self.shuffle, self.rows, self.n_rows, self.rng = est.shuffle, rows, n_rows, rng

    def next(self, epoch):
        """Return the rows of an epoch."""
        if self.shuffle:
            permutation = np.arange(self.n_rows)
            self.rng.shuffle(permutation)
            self.rows = permutation if self.rows is None else self.rows[permutation]
        return self.rows


def _start_history(est, fresh):
    """Set the history of ``est`` to its beginning, or go on with the one it has."""
    past = {} if fresh else vars(est)
    est.loss_curve_ = past.get("loss_curve_", [])
    est.t_ = past.get("t_", 0)
    est._no_improvement_count = past.get("_no_improvement_count", 0)
    best_loss, best_score = past.get("best_loss_"), past.get("best_validation_score_")
    if est.early_stopping:
        est.best_loss_ = None
        est.best_validation_score_ = -math.inf if best_score is None else best_score
        est.validation_scores_ = past.get("validation_scores_") or []
    else:
        est.best_loss_ = math.inf if best_loss is None else best_loss
        est.best_validation_score_ = est.validation_scores_ = None


def _history(est, held_out):
    """Return the history that callbacks see."""
    scored = est.early_stopping and est.solver != "lbfgs"
    names = [SCORE] if scored and held_out is not None else []
    return History(held_out is not None, names, names)


def _fill_history(est, history, epochs):
    """Give a history the epochs of this fit that were before it went on from a checkpoint."""
    for name, curve in (("loss_curve_", history.loss), ("validation_loss_curve_", history.val_loss),
                        ("validation_scores_", history.metrics.get(SCORE))):
        known = getattr(est, name)
        if epochs and known and curve is not None:
            curve[:] = known[-epochs:]


def _resume(est, trainer, rate):
    """Give the optimizer of the last call to ``trainer``; return its learning rate, or the one that
    is given where there was none."""
    state = vars(est).get("_optimizer_state")
    if state is None or state["solver"] != est.solver:
        return rate
    moments = state["moments"]
    if len(moments) != len(trainer.optimizer_state) or any(
            moment.dtype != trainer.dtype or moment.shape != trainer.parameters.shape
            for moment in moments):
        return rate  # of another dtype: its flat layout is another
    start = trainer.parameters.copy()
    trainer.set_state(moments, state["step"])
    if "weights" in state:
        if np.array_equal(trainer.published, start):
            trainer.parameters[:] = state["weights"]
        else:  # weights were set meanwhile: the mean begins with them
            trainer.published[:] = start
    return state["learning_rate"]


def fit_lbfgs(est, trainer, held_out=None, *, fresh, hooks=(), callbacks=(), checkpoint=None):
    """Minimise the loss over all data with L-BFGS, in float64 over the flat parameter vector.

    An interrupt keeps the last iterate. Parameters and result are those of `fit_stochastic`.
    """
    est.n_iter_ = 0
    if fresh:
        est.t_ = 0
    own = [Record(0), *([] if held_out is None else [WatchLoss(held_out)]), *hooks,
           *([Together(callbacks)] if callbacks else ())]
    state, evaluations = FitState(trainer, est, _history(est, held_out)), None
    if checkpoint is not None:
        checkpoint.restore_lbfgs(est, state)
        evaluations = checkpoint.evaluations
        own.append(checkpoint)
    try:
        result = minimise(state, max_iter=est.max_iter, max_fun=est.max_fun, gtol=est.tol,
                          hooks=own, evaluations=evaluations)
    except KeyboardInterrupt:
        warn("Training interrupted by user.")
        est.loss_ = state.loss
        return trainer.parameters
    if result is None:  # a hook has ended it, and `Record` has counted
        return trainer.parameters
    est.loss_ = float(result.fun)
    est.n_iter_ = min(result.nit, est.max_iter)
    if result.status != 0:
        warn(f"lbfgs failed to converge after {est.n_iter_} iteration(s) "
             f"(status={result.status}): {result.message}. Increase max_iter={est.max_iter} or "
             f"max_fun={est.max_fun}, or scale the data.", ConvergenceWarning)
    return trainer.parameters


def _report(est, message):
    if est.verbose:
        print(message)
