"""Real data, small and scaled, for each kind of target, and the estimators that go with it."""

from functools import cache

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris
from sklearn.preprocessing import scale

import fastnn


def _multiclass():
    X, y = load_digits(return_X_y=True)
    return X[:300] / 16, y[:300]


def _iris():
    X, y = load_iris(return_X_y=True)
    return scale(X), y


def _binary():
    X, y = load_breast_cancer(return_X_y=True)
    return scale(X), y


def _multilabel():
    X, y = _multiclass()
    return X, y[:, None] >> np.arange(4) & 1  # the four bits of the digit


def _regression():
    X, y = load_diabetes(return_X_y=True)
    return scale(X), scale(y)


def _multioutput():
    X, y = _regression()
    return X[:, :8], np.column_stack([y, X[:, 8:]])


def _poisson():
    X, y = load_diabetes(return_X_y=True)
    return scale(X) / 3, y / 100  # wider input diverges behind the exponential output


DATA = {
    "digits": _multiclass,
    "iris": _iris,
    "cancer": _binary,
    "multilabel": _multilabel,
    "diabetes": _regression,
    "multioutput": _multioutput,
    "poisson": _poisson,
}
CLASSIFIED = ("digits", "iris", "cancer", "multilabel")


@cache
def _loaded(name):
    return DATA[name]()


def load(name):
    """Return the arrays X, y of that name, the caller's own."""
    return tuple(array.copy(order="K") for array in _loaded(name))


def make(name, module=fastnn, **parameters):
    """Return an estimator for the data of that name, ours or that of another module."""
    if name in CLASSIFIED:
        return module.MLPClassifier(**parameters)
    if name == "poisson":
        parameters["loss"] = "poisson"
    return module.MLPRegressor(**parameters)
