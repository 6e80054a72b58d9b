"""L-BFGS over all data, by SciPy; its iterations have the hooks that epochs have."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize

from fastnn.core import validation
from fastnn.core.notices import suggests, warn
from fastnn.training.epochs import Ending, begin_fit, end_epoch
from fastnn.training.history import DivergenceWarning
from fastnn.training.optimizers import WholeFit

if TYPE_CHECKING:
    from typing import Any

__all__ = ["LBFGS", "minimise"]


@suggests
@dataclass(frozen=True)
class LBFGS(WholeFit):
    """L-BFGS-B of SciPy (Byrd, Lu, Nocedal & Zhu 1995; Zhu et al. 1997), for `MLP.fit`.

    Each iteration sees all rows: w += t d, where d is the gradient times an estimate of the inverse
    Hessian from the last ``memory`` steps, and t comes from a line search. So ``batch_size``,
    ``shuffle`` and ``epochs`` of the fit mean nothing to it, and dropout is not applied. Vectors
    are float64, losses and gradients are computed in the network's dtype. ``history.loss`` has the
    loss after each iteration.

    A checkpoint holds the losses and gradients that SciPy has asked for, up to 256 MiB of them: a
    fit that goes on tells it again, and computes what lies beyond anew. It takes the same SciPy on
    the same kind of processor, or is refused. ``max_iter`` and ``max_fun`` may be larger then.

    Parameters
    ----------
    max_iter : int, default=200
        Most iterations.
    tol : float, default=1e-5
        The fit ends where no element of the gradient is larger.
    ftol : float, default=2.2e-9
        It ends, too, where an iteration lowers the loss by less than ftol · max(loss before, loss
        after, 1), sizes taken.
    max_fun : int, default=15000
        Most evaluations of loss and gradient.
    memory : int, default=10
        Steps from which the Hessian is estimated; each keeps two vectors of the parameters' size.

    Raises
    ------
    TypeError, ValueError
        On a wrong argument.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> X = np.linspace(-2, 2, 50).reshape(-1, 1)
    >>> net = fastnn.MLP((1, 8, 1), "tanh", dtype="float64", random_state=0)
    >>> history = net.fit(X, np.sin(2 * X), optimizer=fastnn.LBFGS(max_iter=300))
    >>> bool(history.loss[-1] < 1e-3)
    True
    """

    max_iter: int = 200
    tol: float = 1e-5
    ftol: float = 2.2e-9
    max_fun: int = 15000
    memory: int = 10

    def __post_init__(self):
        for name in ("max_iter", "max_fun", "memory"):
            validation.check_count(name, getattr(self, name))
        for name in ("tol", "ftol"):
            validation.check_nonnegative(name, getattr(self, name))

    def describe(self) -> dict[str, Any]:
        """Return what decides the result, for checkpoints."""
        return {"name": "lbfgs", "tol": float(self.tol), "ftol": float(self.ftol),
                "memory": int(self.memory)}

    def run(self, state: Any, hooks: Any, evaluations: Any = None) -> None:
        """Run the fit; see `WholeFit`."""
        result = minimise(state, max_iter=self.max_iter, max_fun=self.max_fun, gtol=self.tol,
                          ftol=self.ftol, memory=self.memory, hooks=hooks,
                          evaluations=evaluations)
        if result is not None and not math.isfinite(result.fun):
            warn(f"L-BFGS ended after {result.nit} iterations at a loss of {result.fun:g}; the "
                 "weights are those from before. Scaled inputs help.", DivergenceWarning)


class _Stop(Exception):
    """A hook ends the fit. (SciPy knows StopIteration since 1.11.)"""


class _Objective:
    """The loss and its gradient as SciPy wants them, in float64; and the last iterate.

    Parameters
    ----------
    state : FitState
    hooks : sequence of Hook
    evaluations : Evaluations or None
        What is told again, and what is to be kept.
    """

    def __init__(self, state, hooks, evaluations):
        self.state, self.hooks, self.evaluations = state, hooks, evaluations
        self.trainer = state.trainer
        self.gradient = np.empty_like(self.trainer.parameters)
        self.evaluated = self.iterate = self.trainer.parameters.copy()
        self.loss = None
        self.iteration, self.done = 0, len(state.history.loss)  # those that are done again
        self.frozen = []  # parts of the vector that stay
        for block in self.trainer.layout.blocks:
            if block.layer in self.trainer.frozen:
                self.frozen.append(slice(block.at, block.at + block.size))

    def start(self):
        """Return where SciPy begins."""
        start = self.trainer.parameters
        if self.evaluations is not None:
            if self.evaluations.start is None:
                self.evaluations.start = start.copy()
            start = self.evaluations.start
        return start.astype(np.float64)

    def loss_and_gradient(self, parameters):
        """Evaluate at some parameters, or say again what that was."""
        kept = self.evaluations
        known = None if kept is None else kept.next(parameters)
        if known is not None:
            self.evaluated, (self.loss, gradient) = parameters.astype(self.trainer.dtype), known
            return self.loss, gradient.astype(np.float64)
        self.trainer.parameters[:] = parameters
        self.evaluated = self.trainer.parameters.copy()
        self.loss = self.trainer.loss_and_grad(self.gradient)
        for part in self.frozen:
            self.gradient[part] = 0
        if self.state.loss is None:
            self.state.loss = self.loss  # of the start
        if kept is not None:
            kept.add(parameters, self.loss, self.gradient)
        return self.loss, self.gradient.astype(np.float64)

    def end_iteration(self, parameters):
        """Keep the iterate with its own loss: the last evaluation may have been another point of
        the line search."""
        iterate = parameters.astype(self.trainer.dtype)
        self.iteration += 1
        if self.iteration <= self.done:
            if self.iteration == self.done:
                if not np.array_equal(iterate, self.iterate):
                    self.evaluations.refuse()
                self.trainer.parameters[:] = iterate
            return
        self.trainer.parameters[:] = iterate
        loss = self.loss
        if not np.array_equal(iterate, self.evaluated):
            loss = self.trainer.loss_and_grad()
        self.iterate, self.state.loss = iterate, loss
        self.state.epoch += 1
        self.state.history.loss.append(loss)
        end_epoch(self.state, self.hooks)
        if self.state.reason is not None:
            raise _Stop


def minimise(state, *, max_iter, max_fun, gtol, ftol=2.220446049250313e-09, memory=10, hooks=(),
             evaluations=None):
    """Run L-BFGS-B (Byrd, Lu, Nocedal & Zhu 1995) from the trainer's parameters on.

    Parameters
    ----------
    state : FitState
        After Ctrl-C its loss and the trainer's parameters are those of the last iterate.
    max_iter, max_fun : int
        Most iterations, and most evaluations of the loss.
    gtol : float
        End where no element of the gradient is larger.
    ftol : float, default=2.220446049250313e-09
        End where an iteration lowers the loss by less, as a part of it; by default SciPy's own.
    memory : int, default=10
        Steps from which the Hessian is estimated.
    hooks : sequence of Hook, default=()
        Called after each iteration; one of them may end the fit.
    evaluations : Evaluations or None, default=None
        What a checkpoint holds. The iterations of ``state.history`` are done again by them, without
        hooks; the trainer has the parameters after the last one. Where ``state.all_done`` says that
        the fit has ended, there is no iteration more.

    Returns
    -------
    scipy.optimize.OptimizeResult or None
        The trainer holds its parameters; None where a hook has ended the fit, or it had ended.
    """
    trainer, objective = state.trainer, _Objective(state, hooks, evaluations)
    for block in trainer.layout.blocks:
        if not block.trainable and block.layer not in trainer.frozen:
            raise ValueError(
                "L-BFGS (optimizer=LBFGS, solver='lbfgs') takes no steps that would move the "
                "running averages which BatchNorm (norm='batch') predicts with: use Adam or "
                "another optimizer, or LayerNorm (norm='layer')")
    state.own_way = "L-BFGS goes on from iterates of its own"
    with Ending(state, hooks):
        state.epochs, state.epoch = max_iter, objective.done - 1
        if objective.done:
            state.loss = state.history.loss[-1]
        begin_fit(state, hooks)
        if state.reason is not None:
            return None
        if state.all_done != "epochs":
            state.reason = state.all_done
            return None
        try:
            result = minimize(
                objective.loss_and_gradient, objective.start(),
                method="L-BFGS-B", jac=True, callback=objective.end_iteration,
                options={"maxfun": max_fun, "maxiter": max_iter, "gtol": gtol, "ftol": ftol,
                         "maxcor": memory})
            if objective.iteration < objective.done:
                raise ValueError(
                    f"the checkpoint is that of {objective.done} iterations, max_fun={max_fun} "
                    f"evaluations are enough for {objective.iteration}: give more, or delete the "
                    "file to start anew")
        except _Stop:
            return None  # after an iteration: the trainer holds it, unless a hook has changed it
        except BaseException:
            trainer.parameters[:] = objective.iterate
            raise
        trainer.parameters[:] = result.x
        state.reason = _reason(result)
        state.ended = state.reason not in ("epochs", "diverged")
    return result


def _reason(result):
    """Return why SciPy has ended, in the words of `FitState`."""
    if not math.isfinite(result.fun):
        return "diverged"
    if result.status == 0:
        return "converged"
    return "epochs" if result.status == 1 else "the line search found no lower loss"
