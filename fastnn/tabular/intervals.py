"""Intervals that hold a value with a given probability, by rows that were not trained on."""

import numpy as np

from fastnn.core.validation import check_fraction
from fastnn.prediction import decision

__all__ = ["predict_interval"]


def predict_interval(model, outputs, coverage):
    """Return the lower and upper end for each row, float64 (n, 2) or (n, n_targets, 2).

    Conformal prediction by the rows of ``model.reference``, each predicted by networks that have
    not learned from it (cross-validation+ without its correction of folds; Barber, Candes, Ramdas &
    Tibshirani 2021). For quantiles the two levels next to (1 - coverage) / 2 and (1 + coverage) / 2
    are moved (Romano, Patterson & Candes 2019); means of counts and amounts get intervals as wide
    as the root of the variance that their loss assumes; others one width.

    Parameters
    ----------
    model : TabularModel
    outputs : float64 array (n, n_out)
    coverage : float
        In (0, 1).
    """
    coverage = check_fraction("coverage", coverage, above=True)
    task = model.task
    if model.ensemble.constant is not None:  # all targets were this one
        ends = task.predictions(outputs)[:, [0, -1] if task.levels else slice(None)]
        if task.levels:
            return ends
        found = np.stack([ends, ends], axis=-1)
        return found[:, 0] if found.shape[1] == 1 else found
    if model.reference is None:
        raise ValueError("the model has no rows that it has not learned from: fit it with folds, "
                         "or with X_val and y_val")
    held = model.reference.residuals
    past, values = task.predictions(held[:, :task.n_out]), held[:, task.n_out:]
    values = values * np.array(task.scale) + np.array(task.center)
    new = task.predictions(outputs)
    if len(task.levels) > 1:
        levels = np.array(task.levels)
        low = int(np.abs(levels - (1 - coverage) / 2).argmin())
        high = int(np.abs(levels - (1 + coverage) / 2).argmin())
        if low == high:
            raise ValueError(f"coverage={coverage} needs two levels, the fit has {task.levels}")
        away = np.maximum(past[:, [low]] - values, values - past[:, [high]])
        ends, width = [new[:, [low]], new[:, [high]]], 1.0
    else:
        width = _spread(task, past)
        away = np.abs(values - past) / width
        ends, width = [new, new], _spread(task, new)
    margin = decision.conformal_margin(away, coverage, "rows that were not trained on") * width
    found = np.stack([ends[0] - margin, ends[1] + margin], axis=-1)
    if task.is_positive:
        found = np.maximum(found, 0)
    found = np.sort(found, axis=-1)
    return found[:, 0] if found.shape[1] == 1 else found


def _spread(task, means):
    """Return what the width of an interval is proportional to: (n, n_targets), or 1."""
    if not task.is_positive:
        return 1.0
    power = {"poisson": 1.0, "gamma": 2.0}.get(task.loss.name, getattr(task.loss, "power", 1.0))
    return np.maximum(means, 1e-12 * np.array(task.scale)) ** (power / 2)
