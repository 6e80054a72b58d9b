"""The recipe: what it learns, and that it learns the same for any number of threads."""

import dataclasses
import json

import numpy as np
import pytest

from fastnn.mlp import MLP
from fastnn.tables.schema import Inputs
from fastnn.tabular import recipe
from fastnn.tabular.encoding import Encoding
from fastnn.tabular.statistics import PRIOR, Statistics
from fastnn.tabular.task import Task

pytestmark = pytest.mark.real_recipe
N = 900
SMALL = dataclasses.replace(recipe.PRESETS["default"][0], networks=3, folds=3, hidden=(32, 32),
                            steps=600)


def inputs_of(numbers, codes=None):
    numbers = np.asarray(numbers, float)
    codes = np.zeros((len(numbers), 0)) if codes is None else codes
    return Inputs(numbers, np.asarray(codes, np.int32))


def drawn(n=N, seed=0):
    """Rows of three numbers, one of them with gaps, and a category; a mean with a step in it."""
    rng = np.random.default_rng(seed)
    numbers, codes = rng.normal(size=(n, 3)), rng.integers(4, size=(n, 1))
    mean = np.sin(2 * numbers[:, 0]) + 2 * (numbers[:, 1] > 0.3) + 0.7 * codes[:, 0]
    numbers[rng.random(n) < 0.1, 2] = np.nan
    return inputs_of(numbers, codes), mean, rng


def regression(y, loss="squared_error"):
    task = Task.of_numbers(y[:, np.newaxis], loss)
    return task, task.targets(y[:, np.newaxis])


def share(y, found):
    """Of the squares around the mean, what is left."""
    return float(((y - found) ** 2).mean() / y.var())


def test_better_than_a_line_and_a_constant():
    inputs, mean, rng = drawn()
    y = mean + 0.1 * rng.normal(size=N)
    task, targets = regression(y[:600])
    ensemble = recipe.fit(inputs[:600], targets, task, preset=SMALL, sizes=[4])
    found = task.predictions(ensemble.outputs(inputs[600:]))[:, 0]
    X = np.column_stack([np.nan_to_num(inputs.numbers), np.eye(4)[inputs.codes[:, 0]]])
    line = X[600:] @ np.linalg.lstsq(X[:600], y[:600], rcond=None)[0]
    assert share(y[600:], line) > 0.2
    assert share(y[600:], found) < 0.06
    held = task.predictions(ensemble.held_out)[:, 0]
    assert share(y[:600], held) < 0.1  # of rows by networks that have not learned from them


def test_sums_of_amounts():
    """Few rows far out, whose values are a line: bent values learn them slowly."""
    rng = np.random.default_rng(1)
    numbers = np.column_stack([np.exp(1.2 * rng.normal(size=(2000, 3))), rng.normal(size=2000)])
    y = numbers[:, :3] @ [1, 0.5, -1] + 2 * np.sin(2 * numbers[:, 3]) + 0.3 * rng.normal(size=2000)
    task, targets = regression(y[:600])
    inputs, left = inputs_of(numbers), []
    inside = ((numbers <= numbers[:600].max(axis=0)).all(axis=1))[600:]
    for linear in (True, False):
        own = dataclasses.replace(SMALL, linear=linear, trees=0)
        ensemble = recipe.fit(inputs[:600], targets, task, preset=own)
        found = task.predictions(ensemble.outputs(inputs[600:]))[:, 0]
        left.append(share(y[600:][inside], found[inside]))
    assert left[0] < 0.05 and left[0] < 0.3 * left[1]


def test_most_of_many_columns_say_nothing():
    """Dense rows, a lasso and trees: networks alone learn noise by heart."""
    rng = np.random.default_rng(4)
    X = rng.normal(size=(800, 600))
    y = X[:, 3] - X[:, 40] + (X[:, 100] > 0.5) + 0.5 * rng.normal(size=800)
    task, targets = regression(y[:400])
    left = {}
    for linear, trees in ((False, 0), (True, 0), (False, 24)):
        few = dataclasses.replace(SMALL, linear=linear, trees=trees)
        ensemble = recipe.fit(inputs_of(X[:400]), targets, task, preset=few)
        found = task.predictions(ensemble.outputs(inputs_of(X[400:])))[:, 0]
        left[linear, trees] = share(y[400:], found)
    assert left[True, 0] < 0.4 and left[False, 24] < 0.55 and left[False, 0] > 0.65, left


def test_networks_that_learn_for_long_wait_longer():
    """Two epochs, but of 24 a fifth; the checkpoint has what it was made with."""
    curve = iter([*range(20, 0, -1), *[1] * 20])
    stop = recipe._Stop("val_own", 2, "min")
    net = MLP((2, 1), random_state=0)
    history = net.fit(np.zeros((4, 2)), np.zeros(4), epochs=40, callbacks=[stop],
                      validation_data=(np.zeros((4, 2)), np.zeros(4)),
                      metrics={"own": lambda y, output: next(curve)})
    assert len(history.loss) == 24 and stop.describe()["patience"] == 2


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel", "poisson", "quantile"])
def test_tasks(kind):
    inputs, mean, rng = drawn()
    if kind == "binary":
        task, y = Task.of_classes(2), (mean > 2).astype(int)
    elif kind == "multiclass":
        task, y = Task.of_classes(3), np.digitize(mean, [1, 2.5])
    elif kind == "multilabel":
        task, y = Task.of_labels(2), np.stack([mean > 2, inputs.numbers[:, 0] > 0], axis=1)
    else:
        y = rng.poisson(np.exp(mean / 2)).astype(float)[:, np.newaxis]
        task = Task.of_numbers(y, kind)
    targets = task.targets(y)
    ensemble = recipe.fit(inputs[:600], targets[:600], task, preset=SMALL, sizes=[4])
    found = task.losses(targets[600:], ensemble.outputs(inputs[600:])).mean()
    constant = np.tile(task.constant(targets[:600]), (N - 600, 1))
    worst = task.losses(targets[600:], constant).mean()
    assert found < (0.85 if kind in ("poisson", "quantile") else 0.4) * worst


def test_same_bytes_for_any_threads():
    inputs, mean, _ = drawn(300)
    task, targets = regression(mean)
    few = dataclasses.replace(SMALL, steps=120)
    found = [recipe.fit(inputs, targets, task, preset=few, sizes=[4], n_threads=k, seed=3)
             .outputs(inputs).tobytes() for k in (1, 2, 3)]
    assert len(set(found)) == 1
    other = recipe.fit(inputs, targets, task, preset=few, sizes=[4], seed=4).outputs(inputs)
    assert other.tobytes() != found[0]


def test_validation_rows_take_the_place_of_folds():
    inputs, mean, _ = drawn()
    task, targets = regression(mean)
    held = inputs[600:], targets[600:], None
    ensemble = recipe.fit(inputs[:600], targets[:600], task, preset=SMALL, sizes=[4],
                          validation=held)
    assert ensemble.folds is None and ensemble.held_out is None
    assert share(mean[600:], task.predictions(ensemble.outputs(inputs[600:]))[:, 0]) < 0.1


@pytest.mark.parametrize("held, weights", [(50, (None, None)), (49, (None, None)),
                                          (60, (True, None)), (60, (None, True))])
def test_validation_rows_choose_what_networks_get(held, weights, monkeypatch):
    """Trees, a line and a temperature are of the rows of training, and judged by the others."""
    inputs, mean, rng = drawn(200 + held)
    labels = (mean + rng.normal(size=len(mean)) > 1).astype(int)
    task, seen = Task.of_classes(2), {}
    targets = task.targets(labels)
    few = dataclasses.replace(SMALL, steps=60, trees=16)

    def spied(function):
        def spy(*own, **more):
            seen[function.__name__] = own
            return function(*own, **more)
        monkeypatch.setattr(recipe, function.__name__, spy)

    for function in (recipe.with_linear_part, recipe.with_trees, recipe.calibrated):
        spied(function)
    weight = [None if own is None else np.full(n, 2.0) for own, n in zip(weights, (200, held),
                                                                         strict=True)]
    ensemble = recipe.fit(inputs[:200], targets[:200], task, preset=few, sizes=[4],
                          sample_weight=weight[0],
                          validation=(inputs[200:], targets[200:], weight[1]))
    assert len(seen) == (0 if held < recipe.LEAST_JUDGES else 3) and ensemble.held_out is None
    for name, own in seen.items():
        at = 5 if name == "with_linear_part" else len(own) - 2  # weight, folds
        given, folds = own[at:at + 2]
        assert all((fold == np.arange(200, 200 + held)).all() for fold in folds)
        assert (given is None) == (weights == (None, None))
        if given is not None:
            sides = (2, 1) if weights[0] else (1, 2)
            assert (given == np.repeat(sides, (200, held))).all()


def test_validation_rows_have_statistics_of_training(monkeypatch):
    inputs, _, rng = drawn(300)
    own = inputs_of(inputs.numbers, rng.integers(40, size=(300, 1)))
    task, targets = regression(own.codes[:, 0] % 7 + rng.normal(size=300))
    with_linear_part, seen = recipe.with_linear_part, []
    monkeypatch.setattr(recipe, "with_linear_part", lambda *given, **more: seen.append(
        given) or with_linear_part(*given, **more))
    few = dataclasses.replace(SMALL, steps=60, trees=0)
    recipe.fit(own[:200], targets[:200], task, preset=few, sizes=[40],
               validation=(own[200:], targets[200:], None))
    (_, encoding, codes, given, *_, numbers), = seen
    wanted = encoding.statistics.transform(own.codes[200:])
    assert wanted.shape[1] and numbers[200:, 3:].tobytes() == wanted.tobytes()
    assert (codes[np.arange(200, 300)].toarray() == encoding.transform(own[200:]).toarray()).all()
    assert (given == targets).all()


def test_validation_rows_choose_trees():
    rng = np.random.default_rng(5)
    inputs = inputs_of(rng.uniform(size=(1500, 4)))
    x = inputs.numbers
    y = np.where(x[:, 0] < 0.37, 2.0 * (x[:, 1] > 0.3), 3.0 * (x[:, 2] > 0.6))
    task, targets = regression(y)
    left = []
    for count in (0, 32):
        few = dataclasses.replace(SMALL, steps=300, hidden=(16, 16), linear=False, trees=count)
        found = [recipe.fit(inputs[:600], targets[:600], task, preset=few, n_threads=threads,
                            validation=(inputs[600:900], targets[600:900], None))
                 .outputs(inputs[900:]) for threads in (1, 2)]
        assert found[0].tobytes() == found[1].tobytes()
        left.append(((found[0] - targets[900:]) ** 2).mean())
    assert left[1] < 0.5 * left[0]


@pytest.mark.parametrize("n", [2, 3, 9])
def test_hardly_any_rows(n):
    inputs, mean, _ = drawn(n)
    task, targets = regression(mean)
    for preset in recipe.PRESETS:
        settings = dataclasses.replace(recipe.PRESETS[preset][0], steps=60, hidden=(8, 8))
        ensemble = recipe.fit(inputs, targets, task, preset=settings, sizes=[4])
        assert np.isfinite(ensemble.outputs(inputs)).all()


def test_weights_count():
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(400, 1))
    y = np.tile([0.0, 1.0], 200)
    task = Task.of_classes(2)
    weight = np.where(y == 1, 9.0, 1.0)
    ensemble = recipe.fit(inputs_of(numbers), task.targets(y), task, preset=SMALL,
                          sample_weight=weight)
    assert 0.8 < ensemble.outputs(inputs_of(numbers)).mean() < 0.96


def pairs(n, seed):
    """Forty categories in each of two columns, whose pairs decide."""
    rng = np.random.default_rng(seed)
    effect = np.random.default_rng(9).normal(size=(40, 40))
    codes = rng.integers(40, size=(n, 2))
    p = 1 / (1 + np.exp(-2 * effect[codes[:, 0], codes[:, 1]]))
    return inputs_of(np.zeros((n, 0)), codes), (rng.random(n) < p).astype(float)


def test_pairs_of_categories_are_learned_without_knowing_their_own_target():
    (inputs, y), (new, y_new) = pairs(8000, 0), pairs(2000, 1)
    task, few = Task.of_classes(2), dataclasses.replace(SMALL, steps=400)

    def loss(settings):
        ensemble = recipe.fit(inputs, task.targets(y), task, preset=settings, sizes=[40, 40])
        new_loss = task.losses(task.targets(y_new), ensemble.outputs(new)).mean()
        return new_loss, task.losses(task.targets(y), ensemble.held_out).mean()

    found, held_out = loss(few)
    assert found < 0.58 < loss(dataclasses.replace(few, statistics=False))[0]
    assert abs(found - held_out) < 0.05  # what the folds promise is what new rows get


def test_statistics_of_other_folds_only():
    codes, y = np.array([[0], [0], [0], [1]]), np.array([[1.0], [0], [0], [1]])
    folds = np.array([0, 1, 1, 0])
    made, own = Statistics.fit(codes, [2], y, None, folds, keys=[(0,)], link="identity")
    expected = [PRIOR * 0.5 / (PRIOR + 2), (PRIOR * 0.5 + 1) / (PRIOR + 1),
                (PRIOR * 0.5 + 1) / (PRIOR + 1), 0.5]
    np.testing.assert_allclose(own[:, 0], expected)
    new = made.transform(np.array([[0], [1], [2]]))
    np.testing.assert_allclose(new[:, 0], [(PRIOR * 0.5 + 1) / (PRIOR + 3),
                                           (PRIOR * 0.5 + 1) / (PRIOR + 1), 0.5])


def test_encoding_of_a_row():
    numbers = np.array([[0.0], [1], [2], [3], [4], [np.nan]])
    inputs = inputs_of(numbers, [[0], [1], [0], [2], [0], [4]])
    encoding = Encoding.fit(inputs, [3], bins=4, rarest=2)
    dense = encoding.transform(inputs, "float64").toarray()
    # value, four bins, missing; category 0, the rare ones together, missing
    assert dense.shape == (6, 9)
    np.testing.assert_allclose(dense[:, 1:5], [
        [0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0]])
    np.testing.assert_allclose(dense[:, 5], [0, 0, 0, 0, 0, 1])
    np.testing.assert_allclose(dense[:, 6:], [[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0],
                                              [1, 0, 0], [0, 0, 1]])
    assert np.isclose(dense[:5, 0].mean(), 0) and np.isclose(dense[:5, 0].std(), 1)
    new = encoding.transform(inputs_of([[9.0], [1.5]], [[3], [0]]), "float64").toarray()
    np.testing.assert_allclose(new[0, :6], dense[4, :6])  # beyond the end as at it
    np.testing.assert_allclose(new[0, 6:], [0, 1, 0])  # what the fit has not seen is rare
    np.testing.assert_allclose(new[1, 1:5], [1, 0.5, 0, 0])


def test_a_gap_where_the_fit_had_none_says_nothing():
    encoding = Encoding.fit(inputs_of(np.arange(6.0)[:, np.newaxis], [[0]] * 6), [1], bins=3)
    assert not encoding.transform(inputs_of([[np.nan]], [[2]])).toarray()[0].any()


@pytest.mark.parametrize("column", [
    [1e308, -1e308, 0, 5], [0.0, 0, 0, 1e-300], [0.0, 0, 0, 0, 0, 0, 1e30], [7.0, 7, 7, 7],
    [np.nan, np.nan, np.nan, np.nan], [0.0, 0, 1, 1]])
def test_odd_columns_stay_finite(column):
    inputs = inputs_of(np.array(column)[:, np.newaxis])
    encoding = Encoding.fit(inputs, [])
    new = inputs_of([[np.inf], [-np.inf], [np.nan], [0.0]])
    assert np.isfinite(encoding.transform(inputs).data).all()
    assert np.isfinite(encoding.transform(new).data).all()


def test_encoding_from_its_parts():
    inputs, y = pairs(500, 0)
    inputs = inputs_of(np.random.default_rng(0).normal(size=(500, 2)), inputs.codes)
    encoding = Encoding.fit(inputs, [40, 40], rarest=3, statistics=Statistics.fit(
        inputs.codes, [40, 40], y[:, np.newaxis], None, np.arange(500) % 4,
        keys=[(0,), (0, 1)], link="logit"))
    settings = json.loads(json.dumps(encoding.settings()))
    arrays = encoding.arrays()
    assert {name: array.shape for name, array in arrays.items()} == Encoding.shapes(settings)
    twin = Encoding.from_parts(settings, arrays)
    for one, other in zip(*(part.transform(inputs).toarray() for part in (encoding, twin)),
                          strict=True):
        assert one.tobytes() == other.tobytes()
    for name in ("edges", "maps"):
        broken = {**arrays, name: -arrays[name] * 99}
        with pytest.raises(ValueError):
            Encoding.from_parts(settings, broken)


@pytest.mark.parametrize("least, most, bins", [
    (10**6, 10**6, 16), (1, 10**6, 8), (1, 40, 4), (1, 5, 0), (90, 100, 9)])
def test_many_columns_have_few_bins(least, most, bins, monkeypatch):
    """Together as many as rows, between two limits."""
    monkeypatch.setattr(recipe, "MOST_BINS", (least, most))
    inputs = Inputs(np.random.default_rng(0).normal(size=(80, 10)), np.zeros((80, 0), np.int32))
    y = inputs.numbers[:, :1]
    task = Task.of_numbers(y)
    few = recipe.Recipe(networks=2, folds=2, hidden=(2,), steps=1, muon=False, linear=False,
                        cuts=0, trees=0)
    net = recipe.fit(inputs, task.targets(y), task, preset=few).networks[0]
    assert net.sizes[0] == 10 * (1 + bins)


@pytest.mark.parametrize("entries, inputs, dense", [(12, 1.7, True), (13, 9, False),
                                                    (12, 1.6, False)])
@pytest.mark.parametrize("watched", [False, True])
def test_many_columns_are_learned_from_as_dense_rows(watched, entries, inputs, dense, monkeypatch):
    """Where nearly every input of a row has an entry; what is learned is the same."""
    rng, found, given = np.random.default_rng(0), [], []
    own = Inputs(rng.normal(size=(80, 4)), np.zeros((80, 0), np.int32))
    y = own.numbers[:, :1] + 0.1 * rng.normal(size=(80, 1))
    task = Task.of_numbers(y)
    held = (own[60:], task.targets(y[60:]), None) if watched else None
    few = recipe.Recipe(networks=2, folds=2, hidden=(8,), steps=200, bins=4, cuts=0, trees=0,
                        linear=False, muon=False)
    fit_many = recipe.fit_many
    monkeypatch.setattr(recipe, "fit_many", lambda nets, X, *others, **more: given.append(
        (X, more)) or fit_many(nets, X, *others, **more))
    for limits in ((500, 3), (entries, inputs)):
        monkeypatch.setattr(recipe, "DENSE_ENTRIES", limits[0])
        monkeypatch.setattr(recipe, "DENSE_INPUTS", limits[1])
        found.append(recipe.fit(own[:60], task.targets(y[:60]), task, preset=few, validation=held)
                     .outputs(own))
    X, more = given[1]
    assert isinstance(X, np.ndarray) == dense and not isinstance(given[0][0], np.ndarray)
    if watched:
        assert isinstance(more["validation_data"][0], np.ndarray) == dense
    np.testing.assert_allclose(found[1], found[0], rtol=1e-3, atol=1e-3)


def test_thresholds_are_learned_by_edges_where_the_target_jumps():
    rng = np.random.default_rng(5)
    X = rng.uniform(size=(1400, 3))
    y = np.where(X[:, 0] < 0.37, 0.0, 2.0) - 3.0 * (X[:, 1] > 0.81)
    inputs = inputs_of(X)
    task, targets = regression(y[:700])
    left = {}
    for cuts in (0, 8):
        few = dataclasses.replace(SMALL, networks=2, folds=2, cuts=cuts, linear=False, trees=0)
        ensemble = recipe.fit(inputs[:700], targets, task, preset=few)
        left[cuts] = share(y[700:], task.predictions(ensemble.outputs(inputs[700:]))[:, 0])
    assert left[8] < 0.5 * left[0]
