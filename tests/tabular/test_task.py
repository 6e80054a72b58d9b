"""Tasks: units, losses against those of the networks, and what is refused."""

import numpy as np
import pytest

import fastnn
from fastnn import losses
from fastnn.tabular.metrics import metric_names, metric_of
from fastnn.tabular.task import Task

RNG = np.random.default_rng(0)
N = 50
Y = np.abs(RNG.normal(3, 1, (N, 1))) + 0.1
NUMBERS = [losses.SquaredError(), losses.AbsoluteError(), losses.Huber(0.7), losses.LogCosh(),
           losses.Quantile(0.3), losses.Quantile((0.1, 0.5, 0.9)), losses.Poisson(),
           losses.Gamma(), losses.Tweedie(1.3), losses.Tweedie(1), losses.Tweedie(2)]
TASKS = [*((Task.of_numbers(Y, loss), Y) for loss in NUMBERS),
         (Task.of_classes(2), RNG.integers(2, size=N)),
         (Task.of_classes(4), RNG.integers(4, size=N)),
         (Task.of_labels(3), RNG.integers(2, size=(N, 3)))]


@pytest.mark.parametrize(("task", "y"), TASKS, ids=lambda one: getattr(one, "kind", ""))
def test_losses_are_those_of_the_networks(task, y):
    X = RNG.normal(size=(N, 2))
    net = fastnn.MLP((2, 4, task.n_out), output=task.output, dtype="float64", random_state=0)
    targets = task.targets(y)
    assert len(targets) == N
    expected = net.loss(X, targets, loss=task.loss)
    assert task.losses(targets, net.predict(X)).mean() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("task", "y"), TASKS, ids=lambda one: getattr(one, "kind", ""))
def test_constant_has_the_least_loss(task, y):
    weight = RNG.uniform(0.5, 2, N)
    targets = task.targets(y)
    best = task.constant(targets, weight)
    assert best.shape == (task.n_out,)

    def loss(outputs):
        return np.average(task.losses(targets, np.tile(outputs, (N, 1))), weights=weight)

    for factor in (0.97, 1.03):
        other = best * factor
        if task.kind == "multiclass":
            other = best.copy()
            other[0] *= factor
            other /= other.sum()
        # an average of log cosh is not its minimum, only near it
        slack = 0.1 if task.loss.name in ("log_cosh", "huber") else 1e-9
        assert loss(best) <= loss(other) + slack


@pytest.mark.parametrize("factor", [1e307, 1e200, 1e-200, 1e-305])
@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_targets_of_any_size(factor, loss, recwarn):
    y = RNG.uniform(0.5, 2, size=(N, 1))
    plain, task = Task.of_numbers(y, loss), Task.of_numbers(y * factor, loss)
    np.testing.assert_allclose(task.targets(y * factor), plain.targets(y), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.array(task.scale) / factor, plain.scale, rtol=1e-9)
    assert not recwarn.list


@pytest.mark.parametrize("loss", ["absolute_error", losses.Quantile(0.9)])
def test_a_few_targets_far_out_do_not_make_the_units(loss):
    """One in a hundred of 1e6: in deviations of all of them the others were one number."""
    y = np.concatenate([RNG.normal(5, 2, (500, 2)), np.full((5, 2), 1e6)])
    task = Task.of_numbers(y, loss)
    np.testing.assert_allclose(task.center, 5, atol=0.5)
    np.testing.assert_allclose(task.scale, 2, atol=0.5)
    weight = np.repeat([1.0, 1e-9], [500, 5])  # those of no weight are none
    light = Task.of_numbers(y, loss, weight)
    np.testing.assert_allclose(light.center, y[:500].mean(axis=0), atol=0.1)
    for others in (y[:500], np.exp(y[:500]), y // 1e5):  # 99 % of the last are 0
        task = Task.of_numbers(others, loss)
        np.testing.assert_allclose(task.scale, others.std(axis=0))
    assert Task.of_numbers(y, losses.Huber()).scale == tuple(y.std(axis=0))  # it is in deviations


@pytest.mark.parametrize(("task", "y"), TASKS[:len(NUMBERS)])
def test_units_come_back(task, y):
    targets = task.targets(y).astype(float)
    back = task.predictions(np.tile(targets, (1, task.n_out // targets.shape[1])))
    np.testing.assert_allclose(back, np.tile(y, (1, task.n_out)), rtol=1e-5)
    assert Task.from_settings(task.settings()) == task


def test_several_targets_have_units_of_their_own():
    y = np.stack([np.arange(10.0), 1000 * np.arange(10.0)[::-1]], axis=1)
    targets = Task.of_numbers(y).targets(y)
    np.testing.assert_allclose(targets.std(axis=0), 1, rtol=1e-6)


def test_quantiles_of_a_row_rise():
    task = Task.of_numbers(Y, losses.Quantile((0.1, 0.9)))
    found = task.predictions(np.array([[1.0, -1.0]]))
    assert found[0, 0] < found[0, 1]


@pytest.mark.parametrize(("y", "loss", "message"), [
    (-Y, "poisson", ">= 0"),
    (Y - Y.min(), "gamma", "> 0"),
    (np.tile(Y, 2), losses.Quantile((0.1, 0.9)), "give one of both"),
    (Y, "hinge", "must be one of"),
    (Y, "gaussian_nll", "must be one of"),
])
def test_what_a_loss_does_not_take(y, loss, message):
    with pytest.raises(ValueError, match=message):
        Task.of_numbers(y, loss)


BINARY, THREE, LABELS, VALUES = (Task.of_classes(2), Task.of_classes(3), Task.of_labels(2),
                                 Task.of_numbers(Y))
SCORES = RNG.uniform(0.05, 0.95, (N, 1))
ZEROS = RNG.integers(2, size=(N, 1))
WEIGHT = RNG.uniform(0.5, 2, N)


@pytest.mark.parametrize(("name", "function"), [
    ("roc_auc", "roc_auc_score"), ("average_precision", "average_precision_score"),
    ("log_loss", "log_loss"), ("accuracy", "accuracy_score"), ("f1", "f1_score"),
    ("balanced_accuracy", "balanced_accuracy_score")])
@pytest.mark.parametrize("ties", [False, True])
def test_metrics_of_two_classes_are_scikit_learns(name, function, ties):
    metrics = pytest.importorskip("sklearn.metrics")
    scores = SCORES.round(1) if ties else SCORES
    decides = name in ("accuracy", "f1", "balanced_accuracy")
    given = (scores > 0.5).astype(int) if decides else scores
    expected = getattr(metrics, function)(ZEROS[:, 0], given[:, 0], sample_weight=WEIGHT)
    metric = metric_of(name, BINARY)
    assert metric.value(ZEROS, scores, WEIGHT) == pytest.approx(expected)
    assert metric.loss(ZEROS, scores, WEIGHT) == pytest.approx(
        expected * (-1 if metric.rises else 1))


def test_balanced_accuracy_of_labels_and_of_classes_that_weigh_nothing():
    metrics = pytest.importorskip("sklearn.metrics")
    truth, scores = RNG.integers(2, size=(N, 2)), RNG.uniform(size=(N, 2))
    metric = metric_of("balanced_accuracy", LABELS)
    assert metric.value(truth, scores, WEIGHT) == pytest.approx(np.mean([
        metrics.balanced_accuracy_score(truth[:, j], scores[:, j] > 0.5, sample_weight=WEIGHT)
        for j in range(2)]))
    only = WEIGHT * ZEROS[:, 0]
    assert metric_of("balanced_accuracy", BINARY).value(ZEROS, SCORES, only) == pytest.approx(
        np.average(SCORES[:, 0] > 0.5, weights=only))


def test_metrics_of_several_classes_and_of_values_are_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics")
    y, p = RNG.integers(3, size=N), RNG.dirichlet(np.ones(3), N)
    assert metric_of("log_loss", THREE).value(y, p) == pytest.approx(metrics.log_loss(y, p))
    assert metric_of("accuracy", THREE).value(y, p) == (p.argmax(1) == y).mean()
    assert metric_of("balanced_accuracy", THREE).value(y, p) == pytest.approx(
        metrics.balanced_accuracy_score(y, p.argmax(1)))
    assert metric_of("roc_auc", LABELS).value(np.tile(ZEROS, 2), np.tile(SCORES, 2)) == (
        pytest.approx(metrics.roc_auc_score(ZEROS[:, 0], SCORES[:, 0])))
    z = Y + RNG.normal(size=Y.shape)
    for name, function in (("rmse", "root_mean_squared_error"), ("mae", "mean_absolute_error"),
                           ("r2", "r2_score")):
        assert metric_of(name, VALUES).value(Y, z, WEIGHT) == pytest.approx(
            getattr(metrics, function)(Y, z, sample_weight=WEIGHT))
    assert metric_of("brier", THREE).value(y, np.eye(3)[y]) == 0


def test_a_metric_of_the_users_sees_labels_and_values():
    seen = []

    def metric(y, prediction):
        seen.append((y, prediction))
        return 3.0

    assert metric_of(metric, BINARY).loss(ZEROS, SCORES) == -3
    assert seen[-1][0].shape == (N,) and seen[-1][1].shape == (N, 2)
    metric_of(metric, VALUES).loss(VALUES.targets(Y), VALUES.targets(Y))
    np.testing.assert_allclose(seen[-1][0], Y[:, 0], rtol=1e-6)
    np.testing.assert_allclose(seen[-1][1], Y[:, 0], rtol=1e-6)


def test_metrics_that_there_are_not():
    assert metric_of(None, BINARY) is None and metric_of("loss", THREE) is None
    assert "roc_auc" not in metric_names(THREE) and "roc_auc" in metric_names(BINARY)
    with pytest.raises(ValueError, match="eval_metric='roc_auc' must be one .* of two classes"):
        metric_of("roc_auc", THREE)
    with pytest.raises(ValueError, match="eval_metric='accuracy' must be .*: loss, mae.* of cl"):
        metric_of("accuracy", VALUES)
    with pytest.raises(TypeError, match="eval_metric=3"):
        metric_of(3, BINARY)
