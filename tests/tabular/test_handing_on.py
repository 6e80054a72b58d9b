"""What the recipe hands on: rows, folds, weights, and where networks begin."""

import dataclasses
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import expit, softmax

from fastnn.tables.schema import Inputs
from fastnn.tabular import blending, recipe
from fastnn.tabular.encoding import Encoding
from fastnn.tabular.metrics import metric_of
from fastnn.tabular.statistics import PRIOR, Statistics
from fastnn.tabular.task import Task
from fastnn.training.stopping import TimeLimit

pytestmark = pytest.mark.real_recipe
N = 120
RNG = np.random.default_rng(0)
INPUTS = Inputs(RNG.normal(size=(N, 3)), np.zeros((N, 0), np.int32))
TASK, Y = Task.of_classes(2), (RNG.random(N) < 0.3).astype(int)
WEIGHT = RNG.uniform(0.5, 2, N)
SMALL = recipe.Recipe(networks=3, folds=3, hidden=(4, 4), steps=120)


class Stop(Exception):
    """Enough has been seen."""


def asked_for(monkeypatch, **settings):
    """Return what `fit_many` is asked for."""
    seen = {}

    def fit_many(nets, X, y, **arguments):
        seen.update(arguments, nets=nets, X=X, y=y)
        raise Stop
    monkeypatch.setattr(recipe, "fit_many", fit_many)
    with pytest.raises(Stop):
        recipe.fit(INPUTS, TASK.targets(Y), TASK, preset=SMALL, **settings)
    return seen


def test_no_network_learns_from_the_rows_that_it_is_stopped_by(monkeypatch):
    seen = asked_for(monkeypatch)
    for rows, fold in zip(seen["rows"], seen["validation_rows"], strict=True):
        np.testing.assert_array_equal(np.union1d(rows, fold), np.arange(N))
        assert not np.isin(fold, rows).any()
    np.testing.assert_array_equal(np.sort(np.concatenate(seen["validation_rows"])), np.arange(N))


def test_steps_of_few_rows(monkeypatch):
    """Small batches, and an epoch goes round several times."""
    seen = asked_for(monkeypatch)
    assert seen["batch_size"] == 16
    steps = -(-len(seen["rows"][0]) // 16)
    assert recipe.EPOCH <= steps < 2 * recipe.EPOCH and seen["epochs"] == max(120 // steps, 3)


def test_weights_of_rows_and_of_those_that_networks_are_stopped_by(monkeypatch):
    seen = asked_for(monkeypatch, sample_weight=WEIGHT)
    assert seen["sample_weight"] is WEIGHT
    p = np.random.default_rng(1).uniform(0.1, 0.9, (N, 1))
    for own, fold in zip(seen["metrics"], seen["validation_rows"], strict=True):
        losses = TASK.losses(TASK.targets(Y)[fold], p[fold])
        assert own["metric"](TASK.targets(Y)[fold], p[fold]) == pytest.approx(
            np.average(losses, weights=WEIGHT[fold]))
    held = INPUTS[:40], TASK.targets(Y)[:40], WEIGHT[:40]
    seen = asked_for(monkeypatch, validation=held)
    for own, rows in zip(seen["metrics"], seen["rows"], strict=True):
        assert own["metric"](held[1], p[:40]) == pytest.approx(
            np.average(TASK.losses(held[1], p[:40]), weights=WEIGHT[:40]))
        np.testing.assert_array_equal(np.unique(rows), np.arange(N))


def test_parts_and_temperature_get_the_folds_of_the_networks(monkeypatch):
    folds = {}

    def spied(name, place):
        given = getattr(recipe, name)

        def spy(*arguments, **more):
            folds[name] = arguments[place]
            return given(*arguments, **more)
        monkeypatch.setattr(recipe, name, spy)
    for name, place in (("with_linear_part", 6), ("with_trees", 8), ("calibrated", 5)):
        spied(name, place)
    ensemble = recipe.fit(INPUTS, TASK.targets(Y), TASK, preset=SMALL)
    assert len(folds) == 3
    (encoding, nets), = ensemble.parts
    codes = encoding.transform(INPUTS)
    for i, fold in enumerate(ensemble.folds):
        for own in folds.values():
            np.testing.assert_array_equal(own[i], fold)
        np.testing.assert_array_equal(ensemble.held_out[fold], nets[i].predict(codes[fold]))


@pytest.mark.parametrize("most, few, least", [
    (N, 0, 0.1), (N + 1, 0, 0), (N, Y.sum(), 0.1), (N, Y.sum() + 1, 0)])
def test_of_many_rows_a_linear_part_has_to_save_a_tenth(most, few, least, monkeypatch):
    """And few are those of 20,000 rows, too, of which 20 are of the other class."""
    asked = []
    monkeypatch.setattr(recipe, "MOST_LINEAR", most)
    monkeypatch.setattr(recipe, "FEW_EVENTS", few)
    monkeypatch.setattr(recipe, "with_linear_part", lambda nets, encoding, *own, **more: (
        asked.append(more) or (nets, encoding)))
    recipe.fit(INPUTS, TASK.targets(Y), TASK, preset=SMALL, n_threads=2)
    assert asked == [{"to_save": least, "seconds": None, "n_threads": 2}]


@pytest.mark.parametrize("task, y, events", [
    (Task.of_classes(2), np.repeat([0, 1], [7, 3]), 3), (Task.of_classes(2), np.ones(10, int), 0),
    (Task.of_classes(3), np.repeat([2, 0, 1], [6, 3, 1]), 4),
    (Task.of_labels(2), np.stack([np.arange(10) < 2, np.arange(10) < 6], axis=1), 4),
    *((Task.of_numbers(y, loss), y, events) for y, loss, events in [
        (np.eye(10)[:, :1], "poisson", 1), (np.eye(10)[:, :1], "squared_error", 10)])])
def test_rows_that_say_what_there_is_to_learn(task, y, events):
    assert recipe._events(task.targets(y), task) == events


@pytest.mark.parametrize("threads, share", [(1, 1 / 3), (2, 2 / 3), (8, 1)])
def test_a_limit_of_time_is_shared_by_the_networks(threads, share, monkeypatch):
    monkeypatch.setattr(recipe, "resolve_threads", lambda n: n)
    for passed, left in [(0, 12), (5, 7), (11, 3)]:
        clock = SimpleNamespace(monotonic=lambda now=100.0 + passed: now)
        monkeypatch.setattr(recipe, "time", clock)
        asked = asked_for(monkeypatch, time_limit=12.0, start=100.0, n_threads=threads)
        for own in asked["callbacks"]:
            limit, = (one for one in own if isinstance(one, TimeLimit))
            assert limit.seconds == pytest.approx(left * share)


@pytest.mark.parametrize("limit, passed, left", [(None, 3, None), (8.0, 3, 5.0), (8.0, 20, 2.0),
                                                 (1e-9, 3, 1.0)])
def test_lines_and_trees_have_what_is_left_of_a_limit_of_time(limit, passed, left, monkeypatch):
    clock, asked = iter([100.0, 100.0, 100.0 + passed, 100.0 + passed]), []
    monkeypatch.setattr(recipe, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(recipe, "fit_many", lambda *own, **settings: None)
    monkeypatch.setattr(recipe, "with_linear_part", lambda nets, encoding, *own, seconds, **more: (
        asked.append(seconds) or (nets, encoding)))
    monkeypatch.setattr(recipe, "with_trees", lambda nets, encoding, *own, seconds, **settings: (
        asked.append(seconds) or (nets, encoding, None)))
    recipe.fit(INPUTS, TASK.targets(Y), TASK, preset=SMALL, time_limit=limit)
    assert asked == [left, left]


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_classes_and_numbers_are_spread_over_folds(kind):
    y = np.repeat([0, 1], [90, 30]) if kind == "classes" else np.arange(120.0)[:, np.newaxis]
    task = Task.of_classes(2) if kind == "classes" else Task.of_numbers(y)
    folds = recipe._folds(task.targets(y), task, 5, np.random.default_rng(0))
    means = [y[fold].mean() for fold in folds]
    assert [len(fold) for fold in folds] == [24] * 5
    assert np.ptp(means) <= (0.05 if kind == "classes" else 5)


def test_a_row_that_is_alone_in_its_class_stops_no_network(monkeypatch):
    y = np.append(Y[:-1], 2)
    folds = recipe._folds(y, Task.of_classes(3), 3, np.random.default_rng(0))
    np.testing.assert_array_equal(np.sort(np.concatenate(folds)), np.arange(N - 1))
    monkeypatch.setattr(sys.modules[__name__], "TASK", Task.of_classes(3))
    monkeypatch.setattr(sys.modules[__name__], "Y", y)
    for rows in asked_for(monkeypatch)["rows"]:
        assert N - 1 in rows
    for alone in (np.arange(N), np.array([0, 1, 2])):  # or there would be no folds
        folds = recipe._folds(alone, Task.of_classes(len(alone)), 3, np.random.default_rng(0))
        assert sum(map(len, folds)) == len(alone)


def test_statistics_of_a_row_of_no_fold_are_of_all_others(monkeypatch):
    seen, fit = [], Statistics.fit
    monkeypatch.setattr(Statistics, "fit", lambda *own, **more: seen.append(own[4]) or fit(
        *own, **more))
    inputs = Inputs(np.zeros((N, 0)), RNG.integers(40, size=(N, 1)).astype(np.int32))
    y, folds = np.append(Y[:-1], 2), [np.arange(0, N - 1, 2), np.arange(1, N - 1, 2)]
    recipe._encoding(inputs, y, Task.of_classes(3), [40], None, folds, SMALL)
    np.testing.assert_array_equal(seen[0], [*(np.arange(N - 1) % 2), 2])


def test_networks_begin_at_the_constant():
    for task, before in ((Task.of_classes(2), expit), (Task.of_classes(3), softmax),
                         (Task.of_numbers(np.ones((4, 1)), "poisson"), np.exp)):
        constant = np.array([0.5, 0.3, 0.2])[:task.n_out] / (1 if task.n_out > 1 else 2)
        np.testing.assert_allclose(before(recipe._bias(task, constant)), constant, rtol=1e-6)


def test_decay_falls_with_rows_and_the_mean_is_of_many_steps():
    few, many = (recipe.optimizer_of(SMALL, n, 64) for n in (1000, 10_000))
    assert few.optimizer.weight_decay == pytest.approx(10 * many.optimizer.weight_decay)
    assert few.decay == pytest.approx(1 - 1 / 51)
    plain = recipe.optimizer_of(dataclasses.replace(SMALL, average=0), 1000, 64)
    assert not hasattr(plain, "decay")


def test_means_of_classes_are_in_their_order():
    means, link = recipe._means_of(np.array([2, 0, 1, 2]), Task.of_classes(3))
    assert means.argmax(axis=1).tolist() == [2, 0, 1, 2] and link == "logit"


def test_statistics_by_weights_and_pairs():
    codes, y = np.array([[0, 4], [0, 4], [1, 0]]), np.array([[1.0], [0], [0]])
    weight = np.array([3.0, 2, 1])
    made, _ = Statistics.fit(codes, [2, 5], y, weight, np.arange(3), keys=[(0,), (0, 1)],
                             link="identity")
    # weights add up to the rows: 1.5, 1 and 0.5
    expected = [(1.5 + PRIOR * 0.5) / (2.5 + PRIOR), PRIOR * 0.5 / (0.5 + PRIOR)]
    found = made.transform(np.array([[0, 4], [1, 0]]))
    np.testing.assert_allclose(found, np.array([expected, expected]).T)


def test_a_category_of_as_many_rows_as_are_asked_for_is_not_rare():
    codes = np.repeat([0, 1, 2], [5, 2, 1]).astype(np.int32)[:, np.newaxis]
    encoding = Encoding.fit(Inputs(np.zeros((8, 0)), codes), [3], rarest=2)
    assert encoding.maps[0][:3].tolist() == [0, 1, 2] and encoding.maps[0][3] == 2


def test_functions_as_metrics_get_the_probability_of_the_second_class_last():
    task = Task.of_classes(2)
    metric = metric_of(lambda y, p: p[y == 1, 1].mean(), task)
    assert metric.value(task.targets(np.array([1, 0])), np.array([[0.9], [0.2]])) == 0.9


def test_what_the_mean_of_networks_saves():
    """By hand: three networks, of which each row has been learned by two."""
    z = np.array([[1.0, 5, 2], [3, 2, 2], [7, 4, 8]])[:, :, np.newaxis]
    folds = [np.array([10]), np.array([11]), np.array([12])]
    variances = np.array([np.var([3, 7], ddof=1), np.var([5, 4], ddof=1), 0.0])
    weight = np.ones(20)
    weight[11] = 4
    rows = np.array([10, 11, 12])
    expected = np.average(variances / 2 * 2 / 3, weights=[1, 4, 1])
    assert blending.saved_by_mean(z, rows, folds, "identity", weight) == pytest.approx(expected)
    means = np.exp([5, 4.5, 2])  # the curvature of counts is their mean
    expected = np.average(means * variances / 3, weights=[1, 4, 1])
    assert blending.saved_by_mean(z, rows, folds, "log", weight) == pytest.approx(expected)
    # rows that no network has learned from, as those of validation are
    expected = np.average(z[:, :, 0].var(axis=0, ddof=1) / 3, weights=[1, 4, 1])
    assert blending.saved_by_mean(z, rows, [rows] * 3, "identity", weight) == pytest.approx(
        expected)
