"""Losses: what the user sets. Their formulas are rows of csrc/losses.def.

A parameter's place in ``parameters`` is its place in h0..h3 of that row.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fastnn.core import _kernels
from fastnn.core.notices import shown, suggests
from fastnn.core.validation import check_name, check_real

__all__ = ["AbsoluteError", "BY_NAME", "BinaryCrossEntropy", "CrossEntropy", "Custom", "Focal",
           "Gamma", "GaussianNLL", "Hinge", "Huber", "LogCosh", "Loss", "Perceptron", "Poisson",
           "Quantile", "SquaredError", "SquaredHinge", "Tweedie"]


def _number(loss, name, rule, valid, value=None):
    """Return a field as a float, where it keeps the rule."""
    given = getattr(loss, name) if value is None else value
    number = check_real(name, given)
    if not (math.isfinite(number) and valid(number)):
        raise ValueError(f"{name}={shown(given)} of {type(loss).__name__} must be {rule}")
    return number


@dataclass(frozen=True)
class Loss:
    """Base of all losses.

    A loss is given to `MLP.fit`, `MLP.loss`, `MLP.loss_and_grad`, `MLP.deltas` and to the
    estimators, as an object or by its name, which stands for its defaults.
    """

    name = ""  # without annotation: it is no field, but of `Custom`

    def __post_init__(self):
        if type(self) is Loss:
            raise TypeError("Loss is the base of SquaredError, Huber, ...: use one of them")
        self._check()

    def _check(self):
        """Raise where a field has a value that it must not have."""

    def row(self, output: str) -> str:
        """Return the name of its row in csrc/losses.def, for this activation of the output.

        Parameters
        ----------
        output : str
            Activation of the output.

        Returns
        -------
        str
            A name in csrc/losses.def.
        """
        return self.name

    def parameters(self, n_out: int) -> tuple[float, ...] | list[tuple[float, ...]]:
        """Return the row's parameters: one tuple for all outputs, or a list of one for each.

        Parameters
        ----------
        n_out : int
            Number of outputs.

        Returns
        -------
        tuple of float, or list of tuple
            Empty where the row has none.
        """
        return ()

    def n_targets(self, n_out: int) -> int:
        """Return how many columns of y belong to so many outputs.

        Parameters
        ----------
        n_out : int
            Number of outputs.

        Returns
        -------
        int
            That of the outputs, unless a loss says otherwise.
        """
        return n_out


@suggests
@dataclass(frozen=True)
class SquaredError(Loss):
    """½ (z - y)², the mean over the outputs: half the mean squared error.

    As in scikit-learn's `MLPRegressor`, so that its derivative is z - y. What Keras, PyTorch and
    `sklearn.metrics.mean_squared_error` report is twice as much: ``2 * history.loss[-1]``, where no
    penalty is part of it. The name "mse" is taken too, with a hint that says so.
    """

    name = "squared_error"


@suggests
@dataclass(frozen=True)
class AbsoluteError(Loss):
    """|z - y|, the mean over the outputs; its minimum is the median.

    At z = y, where it has none, the slope is taken as 0.
    """

    name = "absolute_error"


@suggests
@dataclass(frozen=True)
class Huber(Loss):
    """½ d² for |d| <= delta, delta (|d| - ½ delta) beyond, d = z - y (Huber 1964); the mean over
    the outputs.

    Parameters
    ----------
    delta : float, default=1.0
        From where on it is straight, > 0.
    """

    name = "huber"
    delta: float = 1.0

    def _check(self):
        _number(self, "delta", "finite and > 0", lambda value: value > 0)

    def parameters(self, n_out: int) -> tuple[float, ...] | list[tuple[float, ...]]:
        """Return (delta,)."""
        return (float(self.delta),)


@suggests
@dataclass(frozen=True)
class LogCosh(Loss):
    """log cosh(z - y), the mean over the outputs: ½ d² near 0, |d| - log 2 far away."""

    name = "log_cosh"


@suggests
@dataclass(frozen=True)
class Quantile(Loss):
    """level (y - z) for z < y, (1 - level) (z - y) for z >= y (Koenker & Bassett 1978, the pinball
    loss); the mean over the outputs. Its minimum is the quantile of that level.

    At z = y, where it has none, the slope is taken as 0.

    Parameters
    ----------
    level : float or sequence of float, default=0.5
        In (0, 1). One for all outputs, or one for each, in rising order: several of them with a
        single column of y are quantiles of that one value.
    """

    name = "quantile"
    level: float | tuple[float, ...] = 0.5

    def _check(self):
        def check(value):
            return _number(self, "level", "in (0, 1)", lambda level: 0 < level < 1, value)

        if not np.iterable(self.level) or isinstance(self.level, (str, bytes)):
            check(self.level)
            return
        levels = tuple(check(value) for value in self.level)
        if not levels:
            raise ValueError("level=() of Quantile must have at least one entry")
        if any(low >= high for low, high in zip(levels, levels[1:], strict=False)):
            raise ValueError(f"level={shown(list(levels))} of Quantile must rise: give the levels "
                             f"as {shown(sorted(set(levels)))}")
        object.__setattr__(self, "level", levels)  # hashable, as the others are

    @property
    def levels(self) -> tuple[float, ...]:
        """All levels, a tuple."""
        return self.level if isinstance(self.level, tuple) else (float(self.level),)

    def parameters(self, n_out: int) -> tuple[float, ...] | list[tuple[float, ...]]:
        """Return the level of all outputs, or of each."""
        if not isinstance(self.level, tuple):
            return (float(self.level),)
        if len(self.level) != n_out:
            raise ValueError(f"level={shown(list(self.level))} of Quantile has {len(self.level)} "
                             f"entries, must have {n_out}: one for each output of the network")
        return [(level,) for level in self.level]


@suggests
@dataclass(frozen=True)
class Poisson(Loss):
    """Half the Poisson deviance, y log(y / μ) - y + μ with μ = exp(z); the sum over the outputs.

    For output "exp" and y >= 0.
    """

    name = "poisson"


@suggests
@dataclass(frozen=True)
class Gamma(Loss):
    """Half the gamma deviance, log(μ / y) + y / μ - 1 with μ = exp(z); the sum over the outputs.

    For output "exp" and y > 0.
    """

    name = "gamma"


@suggests
@dataclass(frozen=True)
class Tweedie(Loss):
    """Half the Tweedie deviance (Jorgensen 1987), with μ = exp(z) and power p
    y^(2-p) / ((1-p) (2-p)) - y μ^(1-p) / (1-p) + μ^(2-p) / (2-p); the sum over the outputs.

    For output "exp" and y >= 0 (power 2: y > 0).

    Parameters
    ----------
    power : float, default=1.5
        In [1, 2]: of the mean in the variance. 1 is `Poisson`, 2 is `Gamma`; between them the
        distribution has a mass at 0, as sums of claims do.
    """

    name = "tweedie"
    power: float = 1.5

    def _check(self):
        _number(self, "power", "in [1, 2]", lambda value: 1 <= value <= 2)

    def row(self, output: str) -> str:
        """Return the row: at both ends the deviance has a form of its own."""
        return {1.0: "poisson", 2.0: "gamma"}.get(self.power, self.name)

    def parameters(self, n_out: int) -> tuple[float, ...] | list[tuple[float, ...]]:
        """Return (power,)."""
        return (float(self.power),) if 1 < self.power < 2 else ()


@suggests
@dataclass(frozen=True)
class GaussianNLL(Loss):
    """½ (s + (m - y)² e^-s): the negative log-likelihood of a normal distribution with mean m and
    variance e^s, without ½ log(2π) (Nix & Weigend 1994); the mean over the targets.

    For output "identity", with two outputs for each column of y: first all means, then the
    logarithms of all variances.
    """

    name = "gaussian_nll"

    def n_targets(self, n_out: int) -> int:
        """Return half the number of outputs."""
        if n_out % 2:
            raise ValueError(f"loss='gaussian_nll' needs two outputs for each column of y, means "
                             f"and logarithms of variances; the network has {n_out}")
        return n_out // 2


@suggests
@dataclass(frozen=True)
class CrossEntropy(Loss):
    """-Σ y_j log p_j, p = softmax(z).

    Parameters
    ----------
    label_smoothing : float, default=0.0
        Share ε in [0, 1) of a uniform distribution in the targets, (1 - ε) y + ε / n_out (Szegedy
        et al. 2016).
    """

    name = "cross_entropy"
    label_smoothing: float = 0.0

    def _check(self):
        _number(self, "label_smoothing", "in [0, 1): with 1 nothing is left of the labels",
                lambda value: 0 <= value < 1)

    def parameters(self, n_out: int) -> tuple[float, ...] | list[tuple[float, ...]]:
        """Return (label_smoothing,)."""
        return (float(self.label_smoothing),) if self.label_smoothing else ()


@suggests
@dataclass(frozen=True)
class BinaryCrossEntropy(Loss):
    """-y log p - (1 - y) log(1 - p), p = sigmoid(z); the sum over the outputs."""

    name = "binary_cross_entropy"


@suggests
@dataclass(frozen=True)
class Focal(Loss):
    """-Σ y_j (1 - p_j)^gamma log p_j (Lin et al. 2017): the cross-entropy, with less weight on what
    is right already.

    For output "softmax"; for "sigmoid" p is sigmoid(z) where y = 1, 1 - sigmoid(z) where y = 0, and
    it is the sum over the outputs. Weights of the classes (their α) are sample weights.

    Parameters
    ----------
    gamma : float, default=2.0
        >= 0; 0 is the cross-entropy.
    """

    name = "focal"
    gamma: float = 2.0

    def _check(self):
        _number(self, "gamma", "finite and >= 0", lambda value: value >= 0)

    def row(self, output: str) -> str:
        """Return the row of this output."""
        if output == "sigmoid":
            return "binary_focal" if self.gamma else "binary_cross_entropy"
        return "focal" if self.gamma else "cross_entropy"

    def parameters(self, n_out: int) -> tuple[float, ...] | list[tuple[float, ...]]:
        """Return (gamma,)."""
        return (float(self.gamma),) if self.gamma else ()


@suggests
@dataclass(frozen=True)
class Perceptron(Loss):
    """max(0, -(2y - 1) z) for y in {0, 1} (Rosenblatt 1958); the sum over the outputs."""

    name = "perceptron"


@suggests
@dataclass(frozen=True)
class Hinge(Loss):
    """max(0, 1 - (2y - 1) z) for y in {0, 1} (Cortes & Vapnik 1995); the sum over the outputs.

    For output "identity" (scores) or "step" (decisions); z is the raw output in both cases. Labels
    of several outputs are taken one against the rest, which in practice is as accurate as losses of
    all classes together (Rifkin & Klautau 2004).
    """

    name = "hinge"


@suggests
@dataclass(frozen=True)
class SquaredHinge(Loss):
    """max(0, 1 - (2y - 1) z)² for y in {0, 1}; the sum over the outputs. Otherwise as `Hinge`."""

    name = "squared_hinge"


@suggests
@dataclass(frozen=True)
class Custom(Loss):
    """A loss of the user's own, as Python functions of arrays.

    They are called once for each batch, without threads: slower than a row of the table, with the
    same results within rounding.

    Parameters
    ----------
    value : callable
        Called as value(y, output), it gives the losses (n_samples, n_out), or with
        ``reduction="sum"`` also (n_samples,), the sums over the outputs. y and output are arrays
        (n_samples, n_out) of the network's dtype, copies; output is what the network predicts.
    derivative : callable
        Called as derivative(y, output), it gives (n_samples, n_out): of each row's losses, summed
        over its outputs, with respect to the output.
    name : str, default="custom"
        Stands for the functions in a checkpoint, where they are not compared.
    reduction : {"mean", "sum"}, default="mean"
        Over the outputs of a row; over rows it is the mean.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.losses import Custom
    >>> loss = Custom(lambda y, output: (output - y) ** 4,
    ...               lambda y, output: 4 * (output - y) ** 3, name="fourth_power")
    >>> loss.name
    'fourth_power'
    """

    value: Callable
    derivative: Callable
    name: str = "custom"
    reduction: str = "mean"

    def _check(self):
        for field in ("value", "derivative"):
            if not callable(getattr(self, field)):
                raise TypeError(f"{field}={shown(getattr(self, field))} of Custom must be callable "
                                "as f(y, output)")
        if not isinstance(self.name, str) or self.name in BY_NAME or self.name in _kernels.LOSSES:
            raise ValueError(f"name={shown(self.name)} of Custom must be a string, and not the "
                             "name of another loss")
        check_name("reduction", self.reduction, ("mean", "sum"))


BY_NAME: dict[str, type[Loss]] = {kind.name: kind for kind in Loss.__subclasses__()
                                  if kind is not Custom}
