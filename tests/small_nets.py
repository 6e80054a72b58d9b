"""Small networks and data for tests of what `fastnn.MLP` promises."""

import numpy as np

import fastnn


def make(sizes=(7, 12, 5, 3), activation="tanh", output="softmax", dtype="float64", **more):
    return fastnn.MLP(sizes, activation, output, dtype=dtype, **{"random_state": 0, **more})


def data(rows=53, n_in=7, n_classes=3):
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, n_in)), rng.integers(0, n_classes, rows)
