"""A small table, and models fitted to it."""

import warnings

import numpy as np

import fastnn

X = np.random.default_rng(0).normal(size=(60, 4))
Y = np.resize(["a", "b", "c"], 60)
VALUES = X[:, 0] * 2 + 1


def classifier(**settings):
    settings = {"hidden_layer_sizes": (5,), "max_iter": 4, "random_state": 0, **settings}
    with warnings.catch_warnings(action="ignore"):
        return fastnn.MLPClassifier(**settings).fit(X, Y)


def regressor(**settings):
    settings = {"hidden_layer_sizes": (5,), "max_iter": 4, "random_state": 0, **settings}
    with warnings.catch_warnings(action="ignore"):
        return fastnn.MLPRegressor(**settings).fit(X, VALUES)


def network(dtype="float64"):
    return fastnn.MLP((4, 5, 3), output="softmax", dtype=dtype, random_state=0)


def said(model):
    """Bytes of what a model predicts."""
    return getattr(model, "predict_proba", model.predict)(X).tobytes()
