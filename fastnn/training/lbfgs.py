"""L-BFGS over all data, by SciPy; its iterations have the hooks that epochs have."""

import numpy as np
from scipy.optimize import minimize

from fastnn.training.epochs import Ending, begin_fit, end_epoch

__all__ = ["minimise"]


class _Objective:
    """The loss and its gradient as SciPy wants them, in float64; and the last iterate."""

    def __init__(self, state, hooks):
        self.state, self.hooks = state, hooks
        self.trainer = state.trainer
        self.gradient = np.empty_like(self.trainer.parameters)
        self.evaluated = self.iterate = self.trainer.parameters.copy()
        self.loss = None

    def loss_and_gradient(self, parameters):
        """Evaluate at some parameters."""
        self.trainer.parameters[:] = parameters
        self.evaluated = self.trainer.parameters.copy()
        self.loss = self.trainer.loss_and_grad(self.gradient)
        if self.state.loss is None:
            self.state.loss = self.loss  # of the start
        return self.loss, self.gradient.astype(np.float64)

    def end_iteration(self, parameters):
        """Keep the iterate with its own loss: the last evaluation may have been another point of
        the line search."""
        iterate = parameters.astype(self.trainer.dtype)
        self.trainer.parameters[:] = iterate
        loss = self.loss
        if not np.array_equal(iterate, self.evaluated):
            loss = self.trainer.loss_and_grad()
        self.iterate, self.state.loss = iterate, loss
        self.state.epoch += 1
        self.state.history.loss.append(loss)
        end_epoch(self.state, self.hooks)


def minimise(state, *, max_iter, max_fun, gtol, hooks=()):
    """Run L-BFGS-B (Byrd, Lu, Nocedal & Zhu 1995) from the trainer's parameters on.

    Parameters
    ----------
    state : FitState
        After Ctrl-C its loss and the trainer's parameters are those of the last iterate.
    max_iter, max_fun : int
        Most iterations, and most evaluations of the loss.
    gtol : float
        End where no element of the gradient is larger.
    hooks : sequence of Hook
        Called after each iteration.

    Returns
    -------
    scipy.optimize.OptimizeResult
        The trainer holds its parameters.
    """
    trainer, objective = state.trainer, _Objective(state, hooks)
    with Ending(state, hooks):
        state.epochs = max_iter
        begin_fit(state, hooks)
        try:
            result = minimize(
                objective.loss_and_gradient, trainer.parameters.astype(np.float64),
                method="L-BFGS-B", jac=True, callback=objective.end_iteration,
                options={"maxfun": max_fun, "maxiter": max_iter, "gtol": gtol})
        except BaseException:
            trainer.parameters[:] = objective.iterate
            raise
        trainer.parameters[:] = result.x
        state.reason = "converged" if result.status == 0 else "epochs"
    return result
