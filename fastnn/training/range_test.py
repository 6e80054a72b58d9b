"""The learning rate range test (Smith 2017)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastnn.core import validation
from fastnn.core.imports import imported
from fastnn.core.notices import suggests
from fastnn.core.threads import single_threaded_blas, sole_fit
from fastnn.training.optimizers import Adam, WholeFit, check_optimizer

if TYPE_CHECKING:
    from typing import Any

    from fastnn.core.types import ArrayLike, Rows
    from fastnn.training.losses import Loss
    from fastnn.training.optimizer_base import Optimizer

__all__ = ["LearningRateCurve", "find_learning_rate"]

SMOOTHING = 0.9  # of the average that runs along the losses
TOO_HIGH = 4.0  # times the least loss: the test ends
IGNORED = 0.1  # share of the curve at its beginning that suggests nothing


@dataclass(frozen=True, eq=False)
class LearningRateCurve:
    """What `find_learning_rate` found.

    Attributes
    ----------
    learning_rates : float64 array (n_steps,)
    losses : float64 array (n_steps,)
        Of the batches, before the step with that rate, as a running average.
    suggestion : float
        The rate where the loss falls fastest with the logarithm of the rate.
    """

    learning_rates: np.ndarray
    losses: np.ndarray
    suggestion: float

    def __repr__(self):
        return (f"<LearningRateCurve {self.learning_rates[0]:.3g} to "
                f"{self.learning_rates[-1]:.3g}, suggestion={self.suggestion:.3g}>")

    def _repr_html_(self):
        """Return the suggestion and the curve, for notebooks."""
        drawing, rates = imported("fastnn.drawing"), self.learning_rates
        ends = f"{rates[0]:.3g} to {rates[-1]:.3g}"
        return drawing.page(
            f"Learning rate: {self.suggestion:.3g} is suggested",
            drawing.curves({"loss": self.losses.tolist()},
                           f"step, learning rates {ends} in equal ratios"))

    def plot(self, ax: Any = None) -> Any:
        """Draw the curve; needs matplotlib.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None, default=None
            None: of a new figure.

        Returns
        -------
        matplotlib.axes.Axes
            The axes drawn on.
        """
        drawing = imported("fastnn.drawing")
        ax = drawing.new_axes(ax, "LearningRateCurve.plot")
        ax.plot(self.learning_rates, self.losses)
        ax.axvline(self.suggestion, linestyle=":", label=f"suggestion {self.suggestion:.2g}")
        ax.set(xscale="log", xlabel="learning rate", ylabel="loss")
        ax.legend()
        return ax


@suggests
def find_learning_rate(net: Any, X: Rows, y: ArrayLike, *, loss: str | Loss | None = None,
                       optimizer: str | Optimizer | None = None, batch_size: int = 128,
                       sample_weight: ArrayLike | None = None, alpha: float = 0.0,
                       lowest: float = 1e-7, highest: float = 10.0,
                       n_steps: int = 100) -> LearningRateCurve:
    """Train a copy of a network while the learning rate rises, and see where the loss falls.

    The range test of Smith (2017): one step for each rate, from the lowest to the highest in equal
    ratios, until the loss is four times its least value or not finite. The network stays as it is.

    Parameters
    ----------
    net : MLP
        The network.
    X, y : array-like
        As for `MLP.fit`.
    loss : str, Loss or None, default=None
        As for `MLP.fit`.
    optimizer : Optimizer or str, default=Adam()
        Its learning rate does not matter; those of layers are in proportion to it.
    batch_size : int, default=128
        Rows of a step.
    sample_weight, alpha : see `MLP.fit`
        As for `MLP.fit`.
    lowest, highest : float, default=1e-7, 10.0
        Where the test begins and ends.
    n_steps : int, default=100
        Steps from the lowest rate to the highest.

    Returns
    -------
    LearningRateCurve
        With ``learning_rates``, ``losses``, ``suggestion`` and ``plot()``.

    Raises
    ------
    ValueError, TypeError
        On a wrong argument.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 4))
    >>> net = fastnn.MLP((4, 16, 1), random_state=0)
    >>> curve = fastnn.find_learning_rate(net, X, X[:, 0] * X[:, 1])
    >>> bool(1e-4 < curve.suggestion < 1)
    True
    """
    if not hasattr(net, "_bound"):
        raise TypeError(f"net={type(net).__name__} must be a fastnn.MLP; for an estimator give one "
                        "of its sizes")
    info = net._bound(loss)
    data = net._check_data(X, y, sample_weight, info)
    n_rows = data[0].shape[0]
    optimizer = Adam() if optimizer is None else check_optimizer(optimizer)
    if isinstance(optimizer, WholeFit):
        raise ValueError(f"optimizer={type(optimizer).__name__} has no learning rate to look for")
    batch_size = min(validation.check_count("batch_size", batch_size), n_rows)
    alpha = validation.check_nonnegative("alpha", alpha)
    lowest = validation.check_positive("lowest", lowest)
    highest = validation.check_positive("highest", highest)
    if highest <= lowest:
        raise ValueError(f"highest={highest} must be > lowest={lowest}")
    n_steps = validation.check_size("n_steps", n_steps)
    if n_steps < 10:
        raise ValueError(f"n_steps={n_steps} must be >= 10: fewer make no curve")
    rates = np.geomspace(lowest, highest, n_steps)
    with sole_fit(net):
        trainer = net._trainer(data, info, alpha, net.parameters,
                               optimizer=optimizer, batch_size=batch_size, seed=net._key(2),
                               frozen=net.frozen)
        with single_threaded_blas():
            losses = _rising(trainer, rates, batch_size, n_rows, net._key(3))
    rates = rates[:len(losses)]
    return LearningRateCurve(rates, losses, _steepest(rates, losses))


def _rising(trainer, rates, batch_size, n_rows, key):
    """Return the running average of the losses, as far as they make sense."""
    losses, average, least, start, epoch = [], 0.0, math.inf, n_rows, 0
    for i, rate in enumerate(rates):
        if start + batch_size > n_rows:
            order = trainer.shuffle(key, epoch).copy()
            start, epoch = 0, epoch + 1
        loss = trainer.run_epoch(order[start:start + batch_size], learning_rate=float(rate),
                                 stop_if_diverged=True)
        start += batch_size
        if not math.isfinite(loss):
            break
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        smooth = average / (1 - SMOOTHING ** (i + 1))
        losses.append(smooth)
        # a fall from the first loss counts as well where losses are negative
        if i > len(rates) * IGNORED and smooth > TOO_HIGH * least > 0:
            break
        least = min(least, smooth)
    if len(losses) < 3:
        raise ValueError(f"the loss is not finite at a learning rate of {rates[len(losses)]:g}: "
                         "give a smaller lowest=, or scale X")
    return np.array(losses)


def _steepest(rates, losses):
    """Return the rate where the loss falls fastest, before it is least."""
    slopes = np.gradient(losses, np.log(rates))
    first = min(int(len(losses) * IGNORED), len(losses) - 2)
    last = max(int(np.argmin(losses)) + 1, first + 1)
    return float(rates[first + int(np.argmin(slopes[first:last]))])
