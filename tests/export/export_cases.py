"""Models of every kind of task, activation and dtype, for all exports."""

from itertools import cycle, product

import numpy as np

from fastnn import MLP, Predictor, Scaler
from fastnn.core._kernels import ACTIVATIONS

N_IN = 5
WORDS = np.array(["no", "maybe", 'yes "/*\\é*/??/'])
# outputs, output, task, classes
TASKS = {
    "outputs": (3, "softmax", "outputs", None),
    "one target": (1, "identity", "regression", None),
    "targets": (4, "exp", "regression", None),
    "binary": (1, "sigmoid", "classification", [False, True]),
    "multiclass": (3, "softmax", "classification", WORDS),
    "integers": (4, "softmax", "classification", [7, -2, 0, 100]),
    "one class": (1, "sigmoid", "classification", ["only"]),
    "multilabel": (3, "sigmoid", "multilabel", [0, 1, 2]),
}
DTYPES = ("float32", "float64")


def dtype_for(task, activation):
    """float32 and float64 in turn, so that each task and each activation has both."""
    return DTYPES[([*TASKS].index(task) + [*ACTIVATIONS].index(activation)) % 2]


EVERY = [(task, name, dtype_for(task, name)) for task, name in product(TASKS, ACTIVATIONS)]


def pairs():
    """Each activation with each dtype, and the tasks in turn: every task in both dtypes."""
    some = [(task, name, dtype) for dtype in DTYPES
            for task, name in zip(cycle(TASKS), ACTIVATIONS, strict=False)]
    assert len({(task, dtype) for task, _, dtype in some}) == len(TASKS) * len(DTYPES)
    return some


def make(task, activation, dtype, *, scaled=False, hidden=(9, 6), seed=0):
    """A Predictor with random parameters.

    A step turns the last bit of a sum into 1 or 0, so its parameters have few digits; exponentials
    of exponentials make many bits of the last one, so theirs are small.
    """
    n_out, output, kind, classes = TASKS[task]
    net = MLP((N_IN, *hidden, n_out), activation, output, dtype=dtype, random_state=seed)
    rng = np.random.default_rng(seed)
    size = 0.2 if activation == "exp" else 0.5
    arrays = [rng.normal(size=a.shape, scale=size / np.sqrt(len(a))) for a in net.get_weights()]
    if activation == "step":
        arrays = [np.round(a * 64) / 64 for a in arrays]
    net.set_weights(arrays)
    scaler = None
    if scaled:
        scaler = Scaler(np.arange(N_IN) * 100, 2.0 ** np.arange(N_IN), (-2.5, np.inf))
    return Predictor(net, kind, classes=classes, scaler=scaler)


def rows_for(predictor, n_rows, seed=1):
    """Inputs of the network's dtype, with few digits."""
    rows = np.random.default_rng(seed).normal(size=(n_rows, predictor.n_features_in_))
    if predictor.scaler is not None:
        rows = predictor.scaler.mean + rows * predictor.scaler.scale
    return (np.round(rows * 256) / 256).astype(predictor.net.dtype)


def outputs_of(predictor, rows):
    """What the network answers, before anything is made of it."""
    return predictor._outputs(rows)


def assert_close(found, expected):
    """Within 1e-6 of the larger of 1 and the expected value."""
    assert found.shape == expected.shape
    error = np.abs(found - expected) / np.maximum(1, np.abs(expected))
    assert error.max(initial=0) <= 1e-6, error.max()
