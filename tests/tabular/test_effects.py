"""Effects of categories beside each other, by slow twins: dense equations, SciPy's minimum."""

import dataclasses

import numpy as np
import pytest
from scipy.optimize import minimize

from fastnn.tables.schema import Inputs
from fastnn.tabular import effects, recipe
from fastnn.tabular.effects import Additive, with_effects
from fastnn.tabular.statistics import Statistics
from fastnn.tabular.task import Task

pytestmark = pytest.mark.real_recipe


def drawn(n=1200, seed=0, levels=(200, 40), noise=0.5):
    """Rows of two columns of categories and one of numbers, and the sum of their effects."""
    rng = np.random.default_rng(seed)
    codes = np.column_stack([rng.integers(size, size=n) for size in levels]).astype(np.int32)
    x = rng.normal(size=(n, 1))
    true = [rng.normal(size=size) for size in levels]
    mean = sum(own[at] for own, at in zip(true, codes.T, strict=True)) + np.sin(2 * x[:, 0])
    return Inputs(x, codes), mean, mean + noise * rng.normal(size=n), rng


def columns_of(inputs, sizes=(200, 40)):
    return [(codes.astype(np.intp), size + 2)
            for codes, size in zip(inputs.codes.T, sizes, strict=True)]


def statistics_of(inputs, y, sizes=(200, 40), weight=None, link="identity", n_folds=4):
    """Return the arguments of `with_effects`."""
    y = np.asarray(y, float).reshape(len(inputs), -1)
    folds = np.arange(len(inputs)) % n_folds
    made, found = Statistics.fit(inputs.codes, sizes, y, weight, folds, link=link,
                                 keys=[(0,), (1,), (0, 1)])
    return made, found, inputs, y, weight, folds


@pytest.fixture
def patient(monkeypatch):
    """As many steps as it takes."""
    monkeypatch.setattr(effects, "STEPS", 60)
    monkeypatch.setattr(effects, "ENOUGH", 0.0)


def test_effects_solve_the_equations(patient):
    inputs, _, y, rng = drawn()
    weight, columns, penalties = rng.uniform(0.2, 2, len(y)), columns_of(inputs), [0.7, 3.0]
    model = Additive(columns, y, weight, "identity").fit(penalties)
    X = np.hstack([np.ones((len(y), 1)), *(np.eye(size)[codes] for codes, size in columns)])
    penalty = np.repeat([1e-9, *penalties], [1, *(size for _, size in columns)])
    exact = X @ np.linalg.solve((X.T * weight) @ X + np.diag(penalty), X.T @ (weight * y))
    np.testing.assert_allclose(model.z, exact, atol=1e-6)


@pytest.mark.parametrize("kind", ["logit", "log"])
def test_effects_are_where_the_objective_is_least(kind, patient):
    inputs, mean, _, rng = drawn(500, levels=(60, 8))
    y = rng.poisson(np.exp(mean / 2)) if kind == "log" else rng.random(500) < 1 / (
        1 + np.exp(4 - 2 * mean))  # few of the second class
    y, columns, penalties = y.astype(float), columns_of(inputs, (60, 8)), [1.0, 0.5]
    model = Additive(columns, y, np.ones(500), kind).fit(penalties)
    sizes = [size for _, size in columns]

    def objective(flat):
        parts = np.split(flat[1:], np.cumsum(sizes)[:-1])
        z = flat[0] + sum(own[at] for own, (at, _) in zip(parts, columns, strict=True))
        loss, slope = (np.exp(z) - y * z, np.exp(z) - y) if kind == "log" else (
            np.logaddexp(0, z) - y * z, 1 / (1 + np.exp(-z)) - y)
        gradient = [np.bincount(at, slope, size) + p * own for own, (at, size), p in zip(
            parts, columns, penalties, strict=True)]
        return loss.sum() + sum(p / 2 * own @ own for p, own in zip(
            penalties, parts, strict=True)), np.concatenate([[slope.sum()], *gradient])

    least = minimize(objective, np.zeros(1 + sum(sizes)), jac=True, method="L-BFGS-B",
                     options={"maxiter": 3000, "gtol": 1e-8})
    parts = np.split(least.x[1:], np.cumsum(sizes)[:-1])
    z = least.x[0] + sum(own[at] for own, (at, _) in zip(parts, columns, strict=True))
    np.testing.assert_allclose(model.z, z, atol=3e-3)


def test_penalties_are_the_noise_over_the_spread():
    for kind, levels in (("identity", 1000), ("log", 300), ("logit", 300)):
        inputs, mean, _, rng = drawn(6000, levels=(levels, 40))
        mean = mean - np.sin(2 * inputs.numbers[:, 0])
        y = {"identity": mean + rng.normal(size=6000), "log": rng.poisson(np.exp(mean - 1)),
             "logit": rng.random(6000) < 1 / (1 + np.exp(1 - mean))}[kind].astype(float)
        model = Additive(columns_of(inputs, (levels, 40)), y, np.ones(6000), kind).fit()
        assert 0.75 < model.penalties[0] < 1.6
    mean += 0.1 * rng.normal(size=6000)  # hardly any noise
    model = Additive(columns_of(inputs, (300, 40)), mean, np.ones(6000), "identity").fit()
    assert 0.005 < model.penalties[0] < 0.02


def test_columns_without_effects_have_none():
    inputs, _, _, rng = drawn()
    for y, kind in ((rng.normal(size=1200), "identity"), (rng.poisson(2.0, 1200), "log"),
                    (rng.random(1200) < 0.2, "logit")):
        arguments = statistics_of(inputs, y, link=kind)
        assert with_effects(*arguments)[0] is arguments[0]
        model = Additive(columns_of(inputs), y.astype(float), np.ones(1200), kind).fit()
        assert model.penalties == [np.inf, np.inf] and not any(map(np.any, model.effects))


def test_effects_know_more_than_means_of_targets():
    """Of new rows, and of those of training by other folds: what both tell is as near."""
    inputs, mean, y, _ = drawn(2400)
    made, found, *_ = arguments = statistics_of(inputs[:1200], y[:1200])
    new, own = with_effects(*arguments)

    def left(numbers, target):
        X = np.column_stack([np.ones(1200), numbers[:, :2], np.sin(2 * inputs.numbers[:1200])])
        return (target - X @ np.linalg.lstsq(X, target, rcond=None)[0]).var()

    assert left(own, y[:1200]) < 0.8 * left(found, y[:1200])
    codes = inputs.codes[1200:]
    error = (mean - np.sin(2 * inputs.numbers[:, 0]))[1200:]
    assert (error - new.transform(codes)[:, :2].sum(axis=1)).var() < 0.5 * (
        error - made.transform(codes)[:, :2].sum(axis=1)).var()
    np.testing.assert_array_equal(new.transform(codes)[:, 2], made.transform(codes)[:, 2])
    np.testing.assert_array_equal(own[:, 2], found[:, 2])  # pairs have means
    unseen = new.transform(np.array([[200, 40], [201, 41]], np.int32))
    np.testing.assert_allclose(unseen, y[:1200].mean())


def test_rows_do_not_know_their_fold(monkeypatch):
    monkeypatch.setattr(effects, "_likeliest_penalty", lambda *own: 1.0)
    inputs, _, y, rng = drawn()
    arguments = statistics_of(inputs, y)
    changed = np.where(arguments[-1] == 2, rng.permutation(y), y)
    same = arguments[-1] == 2
    one, other = (with_effects(*statistics_of(inputs, target))[1][:, :2] for target in (y, changed))
    assert np.isin(one, arguments[1][:, :2]).mean() < 0.1  # effects have been taken
    # but for the mean of all targets, which `Statistics` begins with
    one, other = one - y.mean(), other - changed.mean()
    np.testing.assert_allclose(one[same], other[same], atol=1e-12)
    assert np.abs(one[~same] - other[~same]).max() > 0.1


def test_means_stay_where_effects_do_not_help(monkeypatch):
    inputs, _, y, rng = drawn()
    for name, value in (("MOST_ROWS", 1), ("MOST_WORK", 10)):
        with monkeypatch.context() as patch:
            patch.setattr(effects, name, value)
            arguments = statistics_of(inputs, y)
            assert with_effects(*arguments)[:2] == arguments[:2]
    one_fold = (*statistics_of(inputs, y, n_folds=1)[:5], np.zeros(1200, int))
    assert with_effects(*one_fold)[0] is one_fold[0]
    monkeypatch.setattr(effects, "_likeliest_penalty", lambda *own: 0.01)  # noise, learned by heart
    arguments = statistics_of(inputs, rng.normal(size=1200))
    assert with_effects(*arguments)[0] is arguments[0]


def test_columns_of_many_rows_keep_their_means():
    inputs, _, y, _ = drawn(1200, levels=(200, 20))
    arguments = statistics_of(inputs, y, (200, 20))
    new, own = with_effects(*arguments)
    assert new is not arguments[0]
    np.testing.assert_array_equal(own[:, 1], arguments[1][:, 1])
    np.testing.assert_array_equal(new.means[1], arguments[0].means[1])


def test_several_outputs_weights_and_missing_numbers():
    inputs, _, y, rng = drawn(3000)
    inputs.numbers[::7] = np.nan
    classes = (np.digitize(y, [-1, 1])[:, np.newaxis] == np.arange(3)).astype(float)
    weight = rng.uniform(0.5, 2, 3000)
    arguments = statistics_of(inputs, classes, weight=weight, link="logit")
    new, own = with_effects(*arguments)
    assert new is not arguments[0] and own.shape == (3000, 9) and np.isfinite(own).all()
    more = with_effects(*arguments[:4], 1e3 * weight, arguments[5])[1]
    np.testing.assert_allclose(more, own, atol=1e-9)  # the scale of weights is nothing


def test_a_category_of_one_class_stays_near():
    """Of 3 % ones: ids whose rows are all ones, and many that have none."""
    rng = np.random.default_rng(0)
    codes = np.minimum(rng.zipf(1.3, 4000), 800).astype(np.intp) - 1
    y = (rng.random(4000) < 0.02) | (codes == 30)
    model = Additive([(codes, 802)], y.astype(float), np.ones(4000), "logit").fit()
    assert np.abs(model.z).max() < 12
    model.weight = model.weight.copy()  # as good as further steps can make it
    before = model.objective()
    model.enough = 0.0
    for _ in range(5):
        model.descend()
    assert before - model.objective() < 0.002 * before


def test_the_recipe_learns_ids():
    inputs, mean, y, _ = drawn(2400, levels=(400, 100))
    task = Task.of_numbers(y[:1200, np.newaxis], "squared_error")
    targets = task.targets(y[:1200, np.newaxis])
    small = dataclasses.replace(recipe.PRESETS["default"][0], networks=2, folds=4, trees=0,
                                hidden=(8, 8), steps=200)
    left, bytes_of = [], []
    without = dataclasses.replace(small, effects=False)
    for settings, threads in ((small, 1), (small, 2), (without, 1)):
        found = recipe.fit(inputs[:1200], targets, task, preset=settings, sizes=[400, 100],
                           n_threads=threads)
        got = task.predictions(found.outputs(inputs[1200:]))[:, 0]
        left.append(((got - mean[1200:]) ** 2).mean() / mean.var())
        bytes_of.append(got.tobytes())
    assert left[0] < 0.75 * left[2] and bytes_of[0] == bytes_of[1]


def test_more_rows_have_finer_bins():
    for n, bins in ((400, 16), (2048, 32), (9000, 64)):
        inputs, *_ = drawn(n)
        assert [size for _, size in effects._columns(inputs, [202, 42], 1)] == [202, 42, bins + 2]
