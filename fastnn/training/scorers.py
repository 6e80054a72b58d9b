"""scikit-learn's scorers for outputs of a network; only this module of training imports it."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import get_scorer, get_scorer_names

from fastnn.core.imports import imported

__all__ = ["answers_of", "scorer_of"]


def scorer_of(name, scoring):
    """Return scikit-learn's scorer of a name."""
    try:
        return get_scorer(scoring)
    except ValueError:
        as_name = "" if name == scoring else f" of {name!r}"
        names = get_scorer_names()
        hint = imported("fastnn.core.words").of_name(scoring, names, "metrics")
        raise ValueError(f"metric {scoring!r}{as_name} is no scorer of scikit-learn{hint or '.'} "
                         f"It must be one of {', '.join(names)}, or a function of (y, output)"
                         ) from None


class _Answers(ClassifierMixin, BaseEstimator):
    """Base of classifiers whose X are the outputs of a network."""

    threshold = 0.5  # above which a single output, or that of a label, says yes

    def __init__(self, n_classes=2):
        self.n_classes = n_classes
        self.classes_ = np.arange(n_classes)

    def predict(self, X):
        """Return the class of the largest output; of one output whether it says yes."""
        return X.argmax(axis=1) if X.shape[1] > 1 else (X[:, 0] > self.threshold).astype(np.intp)


class _AnswersOfLabels(_Answers):
    """Base of those for several labels."""

    def predict(self, X):
        """Return which labels are there."""
        return (X > self.threshold).astype(np.intp)


class _Classes(_Answers):
    """A classifier whose X are probabilities."""

    def predict_proba(self, X):
        """Return the probabilities; of one output those of both classes."""
        return X if X.shape[1] > 1 else np.column_stack([1 - X[:, 0], X[:, 0]])


class _Labels(_AnswersOfLabels):
    """A classifier of several labels, whose X are their probabilities."""

    def predict_proba(self, X):
        """Return the probabilities."""
        return X


class _Margins(_Answers):
    """A classifier whose X are margins, of each class or of the second one."""

    threshold = 0

    def decision_function(self, X):
        """Return the margins; those of one output as a vector."""
        return X if X.shape[1] > 1 else X[:, 0]


class _MarginsOfLabels(_AnswersOfLabels):
    """A classifier of several labels, whose X are their margins."""

    threshold = 0

    def decision_function(self, X):
        """Return the margins."""
        return X


class _Values(RegressorMixin, BaseEstimator):
    """A regressor whose X are the outputs of a network; those beyond the targets are left out."""

    def __init__(self, n_targets=1):
        self.n_targets = n_targets

    def predict(self, X):
        """Return the values; those of one target as a vector."""
        return X[:, 0] if self.n_targets == 1 else X[:, :self.n_targets]


def answers_of(output, n_out, y, margins=False):
    """Return an estimator that takes outputs for X, and the targets as scorers want them.

    Softmax and one sigmoid output make a classifier of 0, 1, ...; several sigmoid outputs one of
    several labels; all else a regressor. So do margins: several with a single one in each row of y
    are classes.

    Parameters
    ----------
    output : str
        Name of the network's output.
    n_out : int
    y : array (n_samples,) of labels, or (n_samples, n_targets)
    margins : bool, default=False
        Whether the loss is one of margins.
    """
    if margins:
        if n_out == 1:
            return _Margins(2), (y[:, 0] > 0.5).astype(np.intp)
        if ((y > 0.5).sum(axis=1) == 1).all():
            return _Margins(n_out), y.argmax(axis=1)
        return _MarginsOfLabels(n_out), (y > 0.5).astype(np.intp)
    if output == "softmax":
        return _Classes(n_out), y if y.ndim == 1 else y.argmax(axis=1)
    if output == "sigmoid" and n_out == 1:
        return _Classes(2), (y[:, 0] > 0.5).astype(np.intp)
    if output == "sigmoid":
        return _Labels(n_out), (y > 0.5).astype(np.intp)
    return _Values(y.shape[1]), y[:, 0] if y.shape[1] == 1 else y
