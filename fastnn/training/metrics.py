"""Metrics of `MLP.fit` on its validation data: names of scikit-learn's scorers, or functions."""

import math
from numbers import Real

import numpy as np

from fastnn.core.imports import imported
from fastnn.core.notices import shown
from fastnn.training.epochs import Hook
from fastnn.training.history import History

__all__ = ["Metrics", "add_missing", "check_metrics", "falls", "new_history"]

# words in names of what should fall; a scorer of scikit-learn always rises
FALLING = ("loss", "error", "mse", "rmse", "mae", "mape", "deviance", "nll", "perplexity", "risk")


def falls(name, scores=()):
    """Return whether less is better of a curve, as its name says: losses and errors fall, scores
    rise.

    Parameters
    ----------
    name : str
        "val_loss", "val_accuracy", ...
    scores : collection of str, default=()
        Names of curves that scikit-learn's scorers fill: those rise.
    """
    bare = name.removeprefix("val_").lower()
    if name in scores or bare.startswith("neg_"):
        return False
    return any(word in FALLING for word in bare.split("_")) or bare.endswith(("loss", "error"))


def check_metrics(metrics):
    """Return the metrics of a fit as a dict from name to a scorer's name or a function.

    Parameters
    ----------
    metrics : None, str, callable, sequence of these, or dict
    """
    if metrics is None:
        return {}
    if isinstance(metrics, dict):
        pairs = list(metrics.items())
    else:
        if isinstance(metrics, str) or callable(metrics):
            metrics = [metrics]
        if not isinstance(metrics, (list, tuple)):
            raise TypeError(f"metrics={shown(metrics)} must be a list of names of scikit-learn's "
                            "scorers and of functions of (y, output), or a dict with names for "
                            "them")
        pairs = [(_name_of(metric), metric) for metric in metrics]
    found = {}
    for name, metric in pairs:
        if not isinstance(name, str) or not name:
            raise TypeError(f"metrics has the name {shown(name)}, must be a string")
        if not isinstance(metric, str) and not callable(metric):
            raise TypeError(f"metrics[{name!r}]={shown(metric)} must be the name of a scorer of "
                            "scikit-learn, or a function of (y, output)")
        if name in found or name == "loss":
            raise ValueError(f"metrics has {name!r} twice: the loss is always there, and each "
                             "other name needs to be another one; give a dict with names")
        found[name] = metric
    for name, metric in found.items():
        if isinstance(metric, str):
            imported("fastnn.training.scorers").scorer_of(name, metric)  # an unknown name: now
    return found


def _name_of(metric):
    if isinstance(metric, str):
        return metric
    name = getattr(metric, "__name__", None)
    if callable(metric) and (name is None or name == "<lambda>"):
        raise ValueError(f"the metric {shown(metric)} has no name: give "
                         "metrics={'name': function}")
    return name if callable(metric) else shown(metric)


def new_history(validates, metrics):
    """Return the empty `History` of a fit with these metrics."""
    names, scores = [], []
    for name, metric in metrics.items():
        names.append(f"val_{name}")
        if isinstance(metric, str):
            scores.append(f"val_{name}")
    return History(validates, names, scores)


class Metrics(Hook):
    """Fills ``history.metrics``; the network has been published before.

    Parameters
    ----------
    metrics : dict
        As `check_metrics` gives it.
    data : tuple (X, y, sample_weight)
        Validation data, checked.
    net : MLP
    info : BoundLoss
        Of the fit: targets may be fewer than outputs, outputs may be margins.
    """

    def __init__(self, metrics, data, net, info):
        self.metrics = metrics
        self.X, self.y, _ = data
        if self.y.ndim > 1 and not info.repeats:
            self.y = self.y[:, :info.n_targets]  # the rest are zeros that no loss reads
        self.scorers, self.answers = {}, None
        for name, metric in metrics.items():
            if isinstance(metric, str):
                self.scorers[name] = imported("fastnn.training.scorers").scorer_of(name, metric)
        if self.scorers:
            self.answers = imported("fastnn.training.scorers").answers_of(
                net.output, net.sizes[-1], self.y, margins=info.labels == "one_hot")

    def on_epoch_end(self, state):
        """Add the metrics of this epoch."""
        output = state.net.predict(self.X)
        for name, metric in self.metrics.items():
            try:
                if name in self.scorers:
                    model, y = self.answers
                    value = self.scorers[name](model, output, y)
                else:
                    # copies: what a function does to them is its own affair
                    value = metric(self.y.copy(), output.copy())
            except MemoryError:
                raise
            except Exception as error:
                raise ValueError(f"metric {name!r} failed in epoch {state.epoch}: "
                                 f"{type(error).__name__}: {error}") from error
            state.history.metrics[f"val_{name}"].append(_number(name, value, state.epoch))


def _number(name, value, epoch):
    """Return the value of a metric as a float."""
    if isinstance(value, np.ndarray) and value.shape == ():
        value = value[()]
    if not isinstance(value, (Real, np.bool_)):
        raise TypeError(f"metric {name!r} returned {shown(value)} in epoch {epoch}, must be a "
                        "number")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"metric {name!r} returned {shown(value)} in epoch {epoch}, must be "
                         "within the range of float64") from None


def add_missing(history):
    """Add NaN to the curves of validation after an epoch that diverged."""
    if history.val_loss is not None:
        history.val_loss.append(math.nan)
    for curve in history.metrics.values():
        curve.append(math.nan)
