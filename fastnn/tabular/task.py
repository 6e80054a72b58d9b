"""What a model of a table predicts: the loss, the output of its networks, and its units."""

from dataclasses import dataclass

import numpy as np

from fastnn.core.notices import shown
from fastnn.core.validation import check_count, check_real
from fastnn.training.bound_losses import as_loss, describe, from_description
from fastnn.training.losses import BinaryCrossEntropy, CrossEntropy, Loss, Quantile

__all__ = ["KINDS", "REGRESSION", "Task", "check_values"]

KINDS = ("binary", "multiclass", "multilabel", "regression")
POSITIVE = ("poisson", "gamma", "tweedie")  # losses of means, by the logarithm
REGRESSION = ("squared_error", "absolute_error", "huber", "log_cosh", "quantile", *POSITIVE)
SCALELESS = ("absolute_error", "quantile")  # losses that are the same in any units
ROBUST = 100.0  # deviations over robust ones from which a few values are what the former are of
TINY = 1e-7  # of probabilities, in logarithms


@dataclass(frozen=True)
class Task:
    """What is predicted.

    Attributes
    ----------
    kind : {"binary", "multiclass", "multilabel", "regression"}
    n_out : int
        Outputs of a network: classes, labels, targets, or levels of quantiles.
    loss : Loss
        What training minimises.
    center, scale : tuple of float
        Of each target of a regression: networks learn (y - center) / scale. Losses of positive
        means have center 0.
    low, high : float
        What a prediction of a regression may be at most and at least.
    """

    kind: str
    n_out: int
    loss: Loss
    center: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()

    @classmethod
    def of_classes(cls, n_classes):
        """Return the task of one label per row, of so many."""
        if n_classes > 2:
            return cls("multiclass", n_classes, CrossEntropy())
        return cls("binary", 1, BinaryCrossEntropy())

    @classmethod
    def of_labels(cls, n_labels):
        """Return the task of zeros and ones, one column for each label."""
        return cls("multilabel", n_labels, BinaryCrossEntropy())

    @classmethod
    def of_numbers(cls, y, loss="squared_error", weight=None):
        """Return the task of numbers, with the scale of these.

        Parameters
        ----------
        y : float64 array (n_rows, n_targets)
        loss : str or Loss, default="squared_error"
            squared_error, absolute_error, huber, log_cosh, quantile, poisson, gamma, tweedie.
        weight : array (n_rows,) or None, default=None

        Raises
        ------
        ValueError
            When the loss is another one, or y holds values that it does not take.
        """
        loss = as_loss(loss)
        if loss.name not in REGRESSION:
            raise ValueError(f"loss={loss.name!r} must be one of {', '.join(REGRESSION)}")
        n_out = y.shape[1]
        if loss.name == "quantile" and isinstance(loss.level, tuple):
            if n_out > 1:
                raise ValueError(f"loss={shown(loss)} has {len(loss.level)} levels, and y "
                                 f"{n_out} columns: give one of both")
            n_out = len(loss.level)
        mean = _mean(y, weight)
        check_values(y, loss)
        if loss.name in POSITIVE:
            center, scale = np.zeros_like(mean), np.where(mean > 0, mean, 1)
        else:
            center, scale = mean, _deviation(y, mean, weight)
            if not (np.isfinite(scale) & ((scale > 0) | (y == y[:1]).all(axis=0))).all():
                # squares that float64 has no room for, though it has for the values
                most = _largest(y)
                scale = most * _deviation(y / most, mean / most, weight)
            if loss.name in SCALELESS:
                center, scale = _without_outliers(y, center, scale, weight)
            scale = np.where(scale > 1e-12 * np.abs(center), scale, 1.0)
        return cls("regression", n_out, loss, tuple(center.tolist()), tuple(scale.tolist()))

    @property
    def output(self):
        """Activation of the output of a network."""
        if self.kind == "multiclass":
            return "softmax"
        if self.kind != "regression":
            return "sigmoid"
        return "exp" if self.loss.name in POSITIVE else "identity"

    @property
    def is_positive(self):
        """Whether predictions are means above 0, whose logarithm is learned."""
        return self.output == "exp"

    @property
    def levels(self):
        """Levels of quantiles, a tuple; () for another loss."""
        return self.loss.levels if isinstance(self.loss, Quantile) else ()

    def targets(self, y):
        """Return y as networks take it: int32 (n,) for classes, else float32 (n, n_targets).

        Parameters
        ----------
        y : array
            Numbers of classes (n,), zeros and ones (n, n_labels), or float64 (n, n_targets).
        """
        if self.kind == "multiclass":
            return np.ascontiguousarray(y, np.int32)
        if self.kind == "binary":
            return np.ascontiguousarray(y, np.float32).reshape(-1, 1)
        if self.kind == "multilabel":
            return np.ascontiguousarray(y, np.float32)
        return ((y - np.array(self.center)) / np.array(self.scale)).astype(np.float32)

    def predictions(self, outputs):
        """Return outputs of a regression in the units of y, as the loss allows them: float64
        (n, n_out). Quantiles of a row never cross."""
        found = outputs * np.array(self.scale) + np.array(self.center)
        return np.sort(found, axis=1) if len(self.levels) > 1 else found

    def losses(self, targets, outputs):
        """Return the loss of each row, float64 (n,), in the units in which it is learned.

        Parameters
        ----------
        targets : array
            As `targets` gives them.
        outputs : array (n, n_out)
            Of networks: probabilities, positive means, or values.
        """
        z, y = np.asarray(outputs, float), np.asarray(targets)
        if self.kind == "multiclass":
            return -np.log(np.clip(z[np.arange(len(y)), y], TINY, 1))
        if self.kind != "regression":
            z = np.clip(z, TINY, 1 - TINY)
            return -(y * np.log(z) + (1 - y) * np.log1p(-z)).sum(axis=1)
        return _REGRESSION[self.loss.row(self.output)](y.astype(float), z, self.loss)

    def constant(self, targets, weight=None):
        """Return the outputs (n_out,) that are the same for every row and fit targets best."""
        if self.kind == "multiclass":
            counts = np.bincount(targets, weights=weight, minlength=self.n_out)
            return counts / counts.sum()
        levels = (0.5,) if self.loss.name == "absolute_error" else self.levels
        if levels:
            found = [quantile(targets[:, min(j, targets.shape[1] - 1)],
                              levels[min(j, len(levels) - 1)], weight)
                     for j in range(self.n_out)]
            return np.array(found, float)
        return np.average(targets.astype(float), axis=0, weights=weight)

    def settings(self):
        """Return plain values for a file."""
        loss = describe(self.loss)
        return {"kind": self.kind, "n_out": self.n_out,
                "loss": loss if isinstance(loss, dict) else {"name": loss},
                "center": list(self.center), "scale": list(self.scale)}

    @classmethod
    def from_settings(cls, plain):
        """Return the task that `settings` was taken of."""
        if plain["kind"] not in KINDS:
            raise ValueError(f"kind={plain['kind']!r} must be one of {', '.join(KINDS)}")
        found = cls(plain["kind"], check_count("n_out", plain["n_out"]),
                    from_description(plain["loss"]),
                    tuple(check_real("center", value) for value in plain["center"]),
                    tuple(check_real("scale", value) for value in plain["scale"]))
        found._check()
        return found

    def _check(self):
        """Raise ValueError where the parts do not belong together."""
        if self.kind == "regression":
            right = self.loss.name in REGRESSION and len(self.scale) == self.n_targets and (
                self.n_out in (self.n_targets, len(self.levels)))
        else:
            loss = CrossEntropy if self.kind == "multiclass" else BinaryCrossEntropy
            right = isinstance(self.loss, loss) and not (self.center or self.scale)
        if not right or (self.kind == "binary" and self.n_out != 1):
            raise ValueError(f"loss, outputs and scale do not fit a task of kind {self.kind!r}")

    @property
    def n_targets(self):
        """Columns of what `targets` returns."""
        if self.kind == "regression":
            return len(self.center)
        return self.n_out if self.kind == "multilabel" else 1


def quantile(values, level, weight=None):
    """Return the least of the values that a share of ``level`` of the weight is at or below of."""
    order = np.argsort(values, axis=0)
    weight = np.ones(len(values)) if weight is None else weight
    share = np.cumsum(weight[order]) / weight.sum()
    return values[order[np.searchsorted(share, level).clip(0, len(values) - 1)]]


def _without_outliers(y, center, scale, weight):
    """Return medians, and ranges of the middle half as deviations, of targets whose deviation is
    that of some values far out.

    One in a hundred of 1e6 makes the others, of a deviation of 1.4, one number in units of 1e5:
    absolute error 17.2 -> .28 (LightGBM .39), .9 quantile 24 -> .07. A heavy tail that can be told
    from the columns is learned better in its own deviation (log-normal, .9 quantile 2.2 and 2.6).
    """
    low, middle, high = (np.array([quantile(column, level, weight) for column in y.T])
                         for level in (0.25, 0.5, 0.75))
    robust = high / 1.349 - low / 1.349  # of a normal distribution its deviation
    far = (robust > 0) & (scale > ROBUST * robust)
    return np.where(far, middle, center), np.where(far, robust, scale)


def _largest(y):
    most = np.abs(y).max(axis=0)
    return np.where(most > 0, most, 1)


def _mean(y, weight):
    with np.errstate(over="ignore", invalid="ignore"):
        found = np.average(y, axis=0, weights=weight)
    if np.isfinite(found).all():
        return found
    return np.average(y / _largest(y), axis=0, weights=weight) * _largest(y)


def _deviation(y, mean, weight):
    with np.errstate(over="ignore", invalid="ignore"):
        return np.sqrt(np.average((y - mean) ** 2, axis=0, weights=weight))


def _squared(y, z, loss):
    return ((z - y) ** 2).mean(axis=1) / 2


def _absolute(y, z, loss):
    return np.abs(z - y).mean(axis=1)


def _huber(y, z, loss):
    d = np.abs(z - y)
    return np.where(d <= loss.delta, d * d / 2, loss.delta * (d - loss.delta / 2)).mean(axis=1)


def _log_cosh(y, z, loss):
    d = np.abs(z - y)
    return (d + np.log1p(np.exp(-2 * d)) - np.log(2)).mean(axis=1)


def _pinball(y, z, loss):
    levels = np.array(loss.levels)
    return np.where(z < y, levels * (y - z), (1 - levels) * (z - y)).mean(axis=1)


def _poisson(y, z, loss):
    z = np.maximum(z, TINY)
    return (y * np.log(np.where(y > 0, y, 1) / z) - y + z).sum(axis=1)


def _gamma(y, z, loss):
    z = np.maximum(z, TINY)
    return (np.log(z / y) + y / z - 1).sum(axis=1)


def _tweedie(y, z, loss):
    p, z = loss.power, np.maximum(z, TINY)
    return (y ** (2 - p) / ((1 - p) * (2 - p)) - y * z ** (1 - p) / (1 - p)
            + z ** (2 - p) / (2 - p)).sum(axis=1)


_REGRESSION = {"squared_error": _squared, "absolute_error": _absolute, "huber": _huber,
               "log_cosh": _log_cosh, "quantile": _pinball, "poisson": _poisson, "gamma": _gamma,
               "tweedie": _tweedie}


def check_values(y, loss, name="y"):
    """Refuse values that a loss of means above 0 does not take.

    Parameters
    ----------
    y : float64 array (n_rows, n_targets)
    loss : Loss
    name : str, default="y"
        For the message.
    """
    if loss.name not in POSITIVE:
        return
    least, rule = (0, ">= 0") if loss.row("exp") != "gamma" else (np.nextafter(0, 1), "> 0")
    if y.min() < least:
        raise ValueError(f"{name} holds {y.min():g}, must be {rule} for loss={loss.name!r}")
