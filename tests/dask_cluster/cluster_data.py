"""Small data, and networks for them."""

import numpy as np

import fastnn


def rows(n=400, dtype="float32"):
    """X (n, 5) and labels of two classes."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 5)).astype(dtype)
    return X, (X[:, 0] * X[:, 1] > 0).astype(int)


def network(**settings):
    """A network for them, always the same."""
    return fastnn.MLP((5, 12, 2), output="softmax", random_state=0, **settings)
