"""Metrics of outputs: by what the best epoch is chosen."""

import numpy as np

from fastnn.core.notices import shown
from fastnn.core.validation import check_name
from fastnn.prediction import decision

__all__ = ["Metric", "metric_names", "metric_of"]


class Metric:
    """A number that says how good outputs are.

    Attributes
    ----------
    name : str
    rises : bool
        Whether more is better.
    was_number : bool
        Whether `value` has been a number yet, not NaN alone.
    """

    def __init__(self, name, function, rises, task):
        self.name, self.rises, self._function, self._task = name, rises, function, task
        self.was_number = False

    def value(self, targets, outputs, weight=None):
        """Return the metric.

        Parameters
        ----------
        targets : array
            As `Task.targets` gives them.
        outputs : array (n, n_out)
            Probabilities, positive means, or values.
        weight : array (n,) or None, default=None
        """
        value = float(self._function(self._task, np.asarray(targets), np.asarray(outputs, float),
                                     weight))
        self.was_number |= value == value
        return value

    def loss(self, targets, outputs, weight=None):
        """Return the metric, or its negative, so that less is better."""
        value = self.value(targets, outputs, weight)
        return -value if self.rises else value


def metric_names(task):
    """Return the names of the metrics of a task, sorted."""
    found = {"loss": None, **(_OF_NUMBERS if task.kind == "regression" else _OF_CLASSES)}
    if task.kind not in ("binary", "multilabel"):
        found = {name: row for name, row in found.items() if name not in _OF_TWO}
    return sorted(found)


def metric_of(metric, task):
    """Return the `Metric` of a name or a function; None for the loss of training.

    Parameters
    ----------
    metric : str, callable or None
        A function of (y, prediction), of which more is better: numbers of classes and
        probabilities, or values in the units of y.
    task : Task

    Raises
    ------
    ValueError, TypeError
        When the task has no such metric.
    """
    if metric is None or isinstance(metric, str) and metric == "loss":
        return None
    if callable(metric):
        return Metric(getattr(metric, "__name__", "metric"), _called(metric), True, task)
    if not isinstance(metric, str):
        raise TypeError(f"eval_metric={shown(metric)} must be a name, a function of "
                        "(y, prediction), or None")
    known = tuple(metric_names(task))
    for names, what in _KINDS:
        if metric in names and metric not in known:
            raise ValueError(f"eval_metric={shown(metric)} must be one of: {', '.join(known)}; "
                             f"that one is of {what}")
    name = check_name("eval_metric", metric, known)
    function, rises = (_OF_NUMBERS if task.kind == "regression" else _OF_CLASSES)[name]
    return Metric(name, function, rises, task)


def _called(function):
    def metric(task, y, output, weight):
        if task.kind == "regression":
            y = y.astype(float) * np.array(task.scale) + np.array(task.center)
            output = task.predictions(output)
        elif task.kind == "binary":
            output = decision.class_probabilities(output)
        if y.ndim > 1 and y.shape[1] == 1:
            y = y[:, 0]
        if output.shape[1] == 1:
            output = output[:, 0]
        return function(y, output)
    return metric


def _log_loss(task, y, output, weight):
    return np.average(task.losses(y, output), weights=weight)


def _right(task, y, output):
    if task.kind == "multilabel":
        return (decision.labels(output) == (y > 0.5)).all(axis=1)
    return decision.class_numbers(output, 2) == _numbers(task, y)


def _numbers(task, y):
    """Return the numbers of classes (n,)."""
    return y if task.kind == "multiclass" else (y.reshape(-1) > 0.5).astype(np.intp)


def _accuracy(task, y, output, weight):
    return np.average(_right(task, y, output), weights=weight)


def _balanced_accuracy(task, y, output, weight):
    """Return the mean of the recalls of the classes that weigh something; of labels, the mean of
    theirs."""
    weight = np.ones(len(y)) if weight is None else weight
    if task.kind != "multilabel":
        return _mean_recall(_numbers(task, y), _right(task, y, output), weight)
    truth = y > 0.5
    right = decision.labels(output) == truth
    return np.mean([_mean_recall(truth[:, j], right[:, j], weight) for j in range(y.shape[1])])


def _mean_recall(codes, right, weight):
    return np.mean([np.average(right[codes == code], weights=weight[codes == code])
                    for code in np.unique(codes[weight > 0])])


def _brier(task, y, output, weight):
    if task.kind == "multiclass":
        wanted = np.arange(output.shape[1]) == y[:, np.newaxis]
    else:
        wanted = y
    return np.average(((output - wanted) ** 2).sum(axis=1), weights=weight)


def _columns(function):
    """Return the mean of a function of zeros and ones and scores over the columns."""
    def metric(task, y, output, weight):
        y, weight = y.reshape(output.shape), np.ones(len(y)) if weight is None else weight
        return np.mean([function(y[:, j] > 0.5, output[:, j], weight)
                        for j in range(output.shape[1])])
    return metric


def _area(truth, score, weight):
    """Area under the ROC curve: the share of pairs in the right order, ties half (Hanley & McNeil
    1982); ½ where there is one class."""
    values, at = np.unique(score, return_inverse=True)
    ones = np.bincount(at, weights=weight * truth, minlength=len(values))
    zeros = np.bincount(at, weights=weight * ~truth, minlength=len(values))
    pairs = ones.sum() * zeros.sum()
    return 0.5 if pairs == 0 else (ones * (np.cumsum(zeros) - zeros / 2)).sum() / pairs


def _precision(truth, score, weight):
    """Average precision: the sum over falling scores of precision times the rise of recall."""
    values, at = np.unique(-score, return_inverse=True)
    ones = np.bincount(at, weights=weight * truth, minlength=len(values))
    rows = np.bincount(at, weights=weight, minlength=len(values))
    return 0.0 if ones.sum() == 0 else (
        ones * np.cumsum(ones) / np.cumsum(rows)).sum() / ones.sum()


def _f1(truth, score, weight):
    said = score > decision.THRESHOLD
    both = (weight * (said & truth)).sum()
    return 2 * both / max((weight * said).sum() + (weight * truth).sum(), 1e-300)


def _power(power):
    def metric(task, y, output, weight):
        return np.average((np.abs(output - y) ** power).mean(axis=1), weights=weight)
    return metric


def _rmse(task, y, output, weight):
    return np.sqrt(_power(2)(task, y, output, weight))


def _r2(task, y, output, weight):
    rest = np.average((output - y) ** 2, axis=0, weights=weight)
    mean = np.average(y, axis=0, weights=weight)
    return np.mean(1 - rest / np.maximum(np.average((y - mean) ** 2, axis=0, weights=weight),
                                         1e-300))


_OF_TWO = ("roc_auc", "average_precision", "f1")
_OF_CLASSES = {
    "log_loss": (_log_loss, False),
    "brier": (_brier, False),
    "accuracy": (_accuracy, True),
    "balanced_accuracy": (_balanced_accuracy, True),
    "roc_auc": (_columns(_area), True),
    "average_precision": (_columns(_precision), True),
    "f1": (_columns(_f1), True),
}
_OF_NUMBERS = {
    "rmse": (_rmse, False),
    "mae": (_power(1), False),
    "r2": (_r2, True),
}
_KINDS = ((_OF_TWO, "two classes, or of labels"), (_OF_CLASSES, "classes"),
          (_OF_NUMBERS, "numbers"))
