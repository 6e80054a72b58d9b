"""How the estimators train: epochs of minibatches (sgd, adam) or L-BFGS, both over `Trainer`.

Epochs, stopping rules, learning rates and the order of random draws are scikit-learn's, and so are
the fitted attributes that the loops keep up to date (`loss_curve_`, `t_`, `best_loss_`, ...).
"""

import math
import warnings

import numpy as np
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning

from fastnn.mlp import DivergenceWarning
from fastnn.optimizers import SGD, Adam

__all__ = ["TO_CALLER", "HeldOut", "fit_lbfgs", "fit_stochastic", "make_optimizer"]

TO_CALLER = 6  # stack levels of a warning: solver, _fit (2), fit, scikit-learn's wrapper, user
_SMALLEST_RATE = 1e-6  # where learning_rate="adaptive" gives up


class HeldOut:
    """The rows that are not trained on, watched between epochs.

    Parameters
    ----------
    trainer : Trainer
        Without optimizer, holding the rows as its data.
    score : callable
        Maps flat network parameters to the score of the rows.
    """

    def __init__(self, trainer, score):
        self._trainer = trainer
        self.score = score

    def loss(self, parameters):
        """Mean loss of the rows, without the L2 term."""
        self._trainer.parameters[:] = parameters
        return self._trainer.loss_and_grad()


def make_optimizer(est):
    """Return the optimizer of ``est.solver`` in scikit-learn's form; None for L-BFGS."""
    if est.solver == "sgd":
        nesterov = est.nesterovs_momentum and est.momentum > 0
        return SGD(est.learning_rate_init, est.momentum, nesterov, velocity="step")
    if est.solver == "adam":
        return Adam(est.learning_rate_init, est.beta_1, est.beta_2, est.epsilon, eps_hat=True)
    return None


def fit_stochastic(est, trainer, rows, n_rows, rng, held_out=None, *, fresh, one_epoch):
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
    held_out : HeldOut or None
    fresh : bool
        Whether the history starts anew (False for warm starts).
    one_epoch : bool
        ``partial_fit``: one epoch, with the optimizer as the last call left it.
    """
    _start_history(est, fresh)
    schedule = est.learning_rate if est.solver == "sgd" else "constant"
    rate = _resume(est, trainer) if one_epoch else float(est.learning_rate_init)
    best = trainer.parameters.copy() if est.early_stopping else None
    est.n_iter_ = 0
    try:
        for _ in range(1 if one_epoch else est.max_iter):
            if est.shuffle:
                permutation = np.arange(n_rows)
                rng.shuffle(permutation)
                rows = permutation if rows is None else rows[permutation]
            est.loss_ = trainer.run_epoch(rows, learning_rate=rate)
            est.n_iter_ += 1
            est.t_ += n_rows
            est.loss_curve_.append(est.loss_)
            _report(est, f"Iteration {est.n_iter_}, loss = {est.loss_:.8f}")
            if held_out is not None:
                est.validation_loss_curve_.append(held_out.loss(trainer.parameters))

            if _improved(est, trainer.parameters, held_out):
                best = trainer.parameters.copy()
            if "_after_epoch" in vars(est):  # the command line's progress
                est._after_epoch(est)
            if not math.isfinite(est.loss_) and not np.isfinite(trainer.parameters).all():
                break  # nothing can be learned from here
            if schedule == "invscaling":
                rate = est.learning_rate_init / (est.t_ + 1) ** est.power_t
            if est._no_improvement_count > est.n_iter_no_change:
                watched = "Validation score" if est.early_stopping else "Training loss"
                message = (
                    f"{watched} did not improve more than tol={est.tol:f} "
                    f"for {est.n_iter_no_change} consecutive epochs."
                )
                if schedule != "adaptive" or rate <= _SMALLEST_RATE:
                    _report(est, f"{message} Stopping.")
                    break
                rate /= 5.0
                est._no_improvement_count = 0
                _report(est, f"{message} Setting learning rate to {rate:f}")
        else:
            if not one_epoch:
                warnings.warn(
                    f"Stochastic Optimizer: Maximum iterations ({est.max_iter}) reached and the "
                    "optimization hasn't converged yet.",
                    ConvergenceWarning,
                    stacklevel=TO_CALLER,
                )
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=TO_CALLER)

    est._optimizer_state = {
        "solver": est.solver,
        "learning_rate": rate,
        "step": trainer.step,
        "moments": list(trainer.optimizer_state),
    }
    if est.early_stopping:
        if not np.isfinite(trainer.parameters).all():
            warnings.warn(
                f"Training diverged in epoch {est.n_iter_}; the weights of the best epoch are "
                "kept. Scale the data or lower learning_rate_init.",
                DivergenceWarning,
                stacklevel=TO_CALLER,
            )
        trainer.parameters[:] = best


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


def _resume(est, trainer):
    """Give the optimizer of the last call to ``trainer``; return its learning rate."""
    state = vars(est).get("_optimizer_state")
    if state is None or state["solver"] != est.solver:
        return float(est.learning_rate_init)
    if any(moment.dtype != trainer.dtype or moment.shape != trainer.parameters.shape
           for moment in state["moments"]):
        return float(est.learning_rate_init)  # of another dtype: its flat layout is another
    trainer.set_state(state["moments"], state["step"])
    return state["learning_rate"]


def _improved(est, parameters, held_out):
    """Update the patience counter; tell whether these are the best parameters so far."""
    if est.early_stopping:
        score = held_out.score(parameters)
        est.validation_scores_.append(score)
        _report(est, f"Validation score: {score:f}")
        stalled = score < est.best_validation_score_ + est.tol
        improved = score > est.best_validation_score_
        if improved:
            est.best_validation_score_ = score
    else:
        stalled = est.loss_ > est.best_loss_ - est.tol
        improved = False  # the last parameters are kept, not the best
        est.best_loss_ = min(est.best_loss_, est.loss_)
    est._no_improvement_count = est._no_improvement_count + 1 if stalled else 0
    return improved


def fit_lbfgs(est, trainer, held_out=None, *, fresh):
    """Minimise the loss over all data with L-BFGS, in float64 over the flat parameter vector.

    An interrupt keeps the last iterate. Parameters are those of `fit_stochastic`.
    """
    gradient = np.empty_like(trainer.parameters)
    iterate = trainer.parameters.copy()
    est.n_iter_ = 0
    if fresh:
        est.t_ = 0

    def loss_and_gradient(parameters):
        trainer.parameters[:] = parameters
        est.loss_ = trainer.loss_and_grad(gradient)
        return est.loss_, gradient.astype(np.float64)

    def iteration_ends(parameters):
        iterate[:] = parameters
        est.n_iter_ += 1
        _report(est, f"Iteration {est.n_iter_}, loss = {est.loss_:.8f}")
        if held_out is not None:
            est.validation_loss_curve_.append(held_out.loss(iterate))

    try:
        result = minimize(
            loss_and_gradient,
            trainer.parameters.astype(np.float64),
            method="L-BFGS-B",
            jac=True,
            callback=iteration_ends,
            options={"maxfun": est.max_fun, "maxiter": est.max_iter, "gtol": est.tol},
        )
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=TO_CALLER)
        trainer.parameters[:] = iterate
        return
    trainer.parameters[:] = result.x
    est.loss_ = float(result.fun)
    est.n_iter_ = min(result.nit, est.max_iter)
    if result.status != 0:
        warnings.warn(
            f"lbfgs failed to converge after {est.n_iter_} iteration(s) "
            f"(status={result.status}): {result.message}. Increase max_iter={est.max_iter} or "
            f"max_fun={est.max_fun}, or scale the data.",
            ConvergenceWarning,
            stacklevel=TO_CALLER,
        )


def _report(est, message):
    if est.verbose:
        print(message)
