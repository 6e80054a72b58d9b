"""A temperature of probabilities: which one it is, and when there is none."""

import numpy as np
import pytest
from scipy.special import expit, softmax

from fastnn.core.codes import Codes
from fastnn.mlp import MLP
from fastnn.network.spec import Dense
from fastnn.tabular.calibration import calibrated
from fastnn.tabular.task import Task

N = 2000


def networks(task, factor):
    """Networks whose outputs before their activation are their inputs, times a factor."""
    nets = [MLP.of([Dense(task.n_out)], n_in=task.n_out, output=task.output, random_state=i)
            for i in range(2)]
    for net in nets:
        net.set_weights([factor * np.eye(task.n_out), np.zeros(task.n_out)])
    return nets


def rows(x):
    """Return codes of dense inputs."""
    n, k = x.shape
    return Codes(x.reshape(-1).astype(np.float32), np.tile(np.arange(k, dtype=np.int32), n),
                 np.arange(0, n * k + 1, k), np.zeros(k, np.uint8))


@pytest.mark.parametrize("factor, least, most", [(0.5, 0.9, 1.11), (0.8, 0.9, 1.11),
                                                 (1.8, 1.8, 1.8)])
@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_outputs_that_are_not_sure_enough(kind, factor, least, most):
    rng = np.random.default_rng(0)
    x = 2 * rng.normal(size=(N, {"binary": 1, "multiclass": 3, "multilabel": 2}[kind]))
    if kind == "multiclass":
        task = Task.of_classes(3)
        y = (softmax(x, axis=1).cumsum(axis=1) < rng.random((N, 1))).sum(axis=1)
    else:
        task = Task.of_classes(2) if kind == "binary" else Task.of_labels(2)
        y = rng.random(x.shape) < expit(x)
    targets = task.targets(y[:, 0] * 1 if kind == "binary" else y)
    folds = np.array_split(rng.permutation(N), 2)
    nets = calibrated(networks(task, factor), rows(x), targets, task, None, folds)
    found = nets[0].get_weights()[0][0, 0]
    assert least <= found <= most
    assert nets[1].get_weights()[0][0, 0] == found


def test_few_rows_change_little():
    task, x = Task.of_classes(2), np.array([[1.0], [-1.0]] * 4)
    targets = task.targets((x[:, 0] > 0) * 1)  # separable: the larger the better
    folds = [np.arange(4), np.arange(4, 8)]
    found = calibrated(networks(task, 1.0), rows(x), targets, task, None, folds)
    factor = found[0].get_weights()[0][0, 0]
    assert 1.2 < factor < 1.9
    alike = calibrated(networks(task, 1.0), rows(x), targets, task, np.full(8, 7.0), folds)
    assert alike[0].get_weights()[0][0, 0] == factor


def test_weights_of_rows_count():
    task, x = Task.of_classes(2), np.ones((N, 1))
    targets, weight = task.targets(np.arange(N) % 2), np.where(np.arange(N) % 2, 3.0, 1.0)
    folds = np.array_split(np.random.default_rng(0).permutation(N), 2)
    nets = networks(task, 0.5)
    for net in nets:
        net.set_weights([net.get_weights()[0], np.array([0.1])])
    nets = calibrated(nets, rows(x), targets, task, weight, folds)
    W, b = nets[0].get_weights()
    assert expit(W[0, 0] + b[0]) == pytest.approx(0.75, abs=0.01)
    assert b[0] == pytest.approx(0.2 * W[0, 0], rel=1e-5)


def test_rows_that_two_networks_have_not_learned_from_count_once():
    task, x = Task.of_classes(2), np.array([[1.0], [-1.0]] * 4)
    targets, folds = task.targets((x[:, 0] > 0) * 1), [np.arange(4), np.arange(4, 8)]
    factors = []
    for times in (1, 3):
        nets = [net for _ in range(times) for net in networks(task, 1.0)]
        nets = calibrated(nets, rows(x), targets, task, None, folds * times)
        factors.append(nets[0].get_weights()[0][0, 0])
    assert factors[0] == factors[1]


def test_regressions_have_none():
    task = Task.of_numbers(np.arange(4.0)[:, np.newaxis], "squared_error")
    nets = networks(task, 3.0)
    assert calibrated(nets, None, None, task, None, None) is nets
    assert nets[0].get_weights()[0][0, 0] == 3
