"""The part of boosted trees of networks: what they give with it, and when they get one."""

import dataclasses
import time

import numpy as np
import pytest
from scipy.special import expit, softmax

from fastnn.mlp import MLP
from fastnn.network.spec import Dense
from fastnn.tables.schema import Inputs
from fastnn.tabular import _trees, blending, boosting, recipe, trees
from fastnn.tabular.encoding import Encoding
from fastnn.tabular.forest import Forest
from fastnn.tabular.task import Task

RNG = np.random.default_rng(0)
N = 600
NUMBERS = RNG.normal(size=(N, 4))
NUMBERS[:, 1] = NUMBERS[:, 1] > 0  # two values: no bins
NUMBERS[:, 3] = np.round(2 * NUMBERS[:, 3])
NUMBERS[::9, 2] = NUMBERS[1::9, 1] = np.nan
CODES = RNG.integers(5, size=(N, 2)).astype(np.int32)
INPUTS = Inputs(NUMBERS, CODES)
ENCODING = Encoding.fit(INPUTS, [5, 5], bins=6)
X = ENCODING.transform(INPUTS)
FOLDS = np.array_split(np.random.default_rng(1).permutation(N), 3)
MEAN = (2.0 * (NUMBERS[:, 0] > 0.4) * (NUMBERS[:, 2] < 0.7) - np.isnan(NUMBERS[:, 2])
        + 1.5 * np.isin(CODES[:, 0], [1, 3]) - (NUMBERS[:, 1] == 1) + (NUMBERS[:, 3] > 1))


def networks(task, hidden=(6, 5)):
    """Networks that have learned nothing."""
    return [MLP.of([*(Dense(units, "silu") for units in hidden), Dense(task.n_out)],
                   n_in=ENCODING.n_inputs, output=task.output, random_state=i) for i in range(3)]


def task_of(kind):
    """A task, and targets that trees learn."""
    noisy = MEAN + 0.2 * np.random.default_rng(2).normal(size=N)
    if kind == "binary":
        return Task.of_classes(2), (noisy > 1).astype(int)
    if kind == "multiclass":
        return Task.of_classes(3), np.digitize(noisy, [0.4, 1.6])
    if kind == "multilabel":
        return Task.of_labels(2), np.stack([noisy > 0, noisy > 1], axis=1)
    y = noisy[:, np.newaxis] if kind != "poisson" else np.floor(np.exp(noisy))[:, np.newaxis]
    return Task.of_numbers(y, kind), y


def with_trees(kind, hidden=(6, 5), **settings):
    task, y = task_of(kind)
    nets, targets = networks(task, hidden), task.targets(y)
    found, encoding, sums = trees.with_trees(nets, ENCODING, NUMBERS, CODES, X, targets, task,
                                             None, FOLDS, trees=24, **settings)
    if sums is not None:
        assert sums.tobytes() == encoding.forest.transform(NUMBERS, CODES).tobytes()
    return task, targets, nets, found, encoding


@pytest.mark.parametrize("kind, hidden, before", [
    ("squared_error", (6, 5), lambda z: z), ("binary", (6, 5), expit),
    ("multiclass", (6, 5, 4), lambda z: softmax(z, axis=1)), ("multilabel", (6,), expit),
    ("poisson", (6,), np.exp)])
def test_outputs_with_trees(kind, hidden, before, monkeypatch):
    """Those of the network and of the trees in their shares, on rows of training and new ones."""
    seen = []
    monkeypatch.setattr(trees, "_share", lambda z, t, *_: seen.append((z, t)) or 0.7)
    task, _, nets, found, encoding = with_trees(kind, hidden)
    codes = encoding.transform(INPUTS)
    net_z, t = np.empty_like(seen[-1][0]), encoding.forest.transform(NUMBERS, CODES)
    for i, (net, fold) in enumerate(zip(nets, FOLDS, strict=True)):
        net_z[fold] = blending.linked(net.predict(X[fold]), blending.kind_of(task))
        own = t[fold].reshape(len(fold), 3, task.n_out)[:, i]
        np.testing.assert_array_equal(own, seen[-1][1][fold])  # what training took them to be
    np.testing.assert_allclose(seen[-1][0], net_z)
    expected = before(0.3 * net_z + 0.7 * seen[-1][1])
    outputs = np.empty_like(expected)
    for net, fold in zip(found, FOLDS, strict=True):
        outputs[fold] = net.predict(codes[fold])
    np.testing.assert_allclose(outputs, expected, rtol=2e-4, atol=2e-5)


def test_outputs_of_the_network_stay_in_a_wider_encoding(monkeypatch):
    monkeypatch.setattr(trees, "_share", lambda *_: 1e-9)
    _, _, nets, found, encoding = with_trees("squared_error")
    assert encoding.n_inputs == ENCODING.n_inputs + 3
    new = Inputs(3 * np.random.default_rng(5).normal(size=(50, 4)),
                 np.resize(np.arange(7), (50, 2)).astype(np.int32))
    for old, net in zip(nets, found, strict=True):
        np.testing.assert_allclose(net.predict(encoding.transform(new)),
                                   old.predict(ENCODING.transform(new)), atol=1e-5)


@pytest.mark.parametrize("kind", ["squared_error", "binary", "multiclass", "multilabel", "poisson"])
def test_trees_where_they_help(kind):
    task, targets, nets, found, encoding = with_trees(kind)
    codes = encoding.transform(INPUTS)

    def loss(nets, codes):
        return np.mean([task.losses(targets[fold], net.predict(codes[fold])).mean()
                        for net, fold in zip(nets, FOLDS, strict=True)])
    assert loss(found, codes) < 0.6 * loss(nets, X)


def test_no_trees_where_they_do_not_help(monkeypatch):
    """Those of two folds say so."""
    grown, boosted = [], boosting.boosted
    monkeypatch.setattr(trees, "boosted",
                        lambda *own, **more: grown.append(own[5]) or boosted(*own, **more))
    task = Task.of_numbers(MEAN[:, np.newaxis])
    noise = np.random.default_rng(3).normal(size=(N, 1))
    nets = networks(task)
    for net in nets:
        net.set_weights([0 * W for W in net.get_weights()])
    found, encoding, sums = trees.with_trees(nets, ENCODING, NUMBERS, CODES, X, noise, task, None,
                                             FOLDS, trees=24, n_threads=1)
    assert found is nets and encoding is ENCODING and sums is None and len(grown) == 2


def test_folds_that_began_meanwhile_end_with_the_first_ones(monkeypatch):
    ended, boosted = [], boosting.boosted

    def slow(*own, is_ended, **more):
        if own[5] is FOLDS[2]:
            ended.append(until(is_ended))
        return boosted(*own, is_ended=is_ended, **more)

    monkeypatch.setattr(trees, "boosted", slow)
    noise = np.random.default_rng(3).normal(size=(N, 1))
    z = np.zeros((N, 1))
    assert trees._grown(boosting.columns_to_split(ENCODING, NUMBERS, CODES), ENCODING, noise,
                        np.ones(N), "identity", FOLDS, z, 24, 3) is None
    assert ended == [True]


def until(is_so, seconds=20):
    """Wait until something is so; whether that came to be."""
    end = time.monotonic() + seconds
    while not is_so() and time.monotonic() < end:
        time.sleep(0.001)
    return is_so()


@pytest.mark.parametrize("limit", ["MOST_WORK", "MOST_SUMS"])
def test_no_trees_beyond_a_limit(limit, monkeypatch):
    monkeypatch.setattr(trees, limit, 10)
    _, _, nets, found, encoding = with_trees("squared_error")
    assert found is nets and encoding is ENCODING


@pytest.mark.parametrize("seconds, n_threads, expected", [
    (None, 1, 17), (9, 1, 9), (9, 2, 17), (4, 2, 8), (1, 1, None)])
def test_fewer_trees_where_there_is_much_work(seconds, n_threads, expected, monkeypatch):
    asked, boosted = [], boosting.boosted
    monkeypatch.setattr(trees, "boosted",
                        lambda *own, trees, **more: asked.append(trees)
                        or boosted(*own, trees, **more))
    columns = len(boosting.columns_to_split(ENCODING, NUMBERS, CODES))
    work = N * columns * 2 * len(FOLDS)
    monkeypatch.setattr(trees, "MOST_WORK", 17.5 * work)
    monkeypatch.setattr(trees, "WORK_OF_SECOND", 1.05 * work)
    monkeypatch.setattr(trees, "LEAST_TREES", 8)
    monkeypatch.setattr(trees, "resolve_threads", lambda n: n)
    with_trees("squared_error", seconds=seconds, n_threads=n_threads)
    assert asked == [expected] * len(FOLDS) * (expected is not None)


def test_many_columns_have_few_codes(monkeypatch):
    monkeypatch.setattr(boosting, "MOST_OF_ALL", 30 * NUMBERS.shape[1])
    sizes = [column.size for column in boosting.columns_to_split(ENCODING, NUMBERS, CODES)
             if column.thresholds is not None]
    edges = [len(one) for one in ENCODING.edges]
    assert max(sizes) < 2 + 30 + max(edges) and len(sizes) == len(edges)
    for limits in ({"MOST_OF_ALL": 1}, {"MOST_CODES": 16}):
        with pytest.MonkeyPatch.context() as patch:
            for name, value in limits.items():
                patch.setattr(boosting, name, value)
            few = boosting.columns_to_split(ENCODING, NUMBERS, CODES)
            assert max(column.size for column in few) < 2 + 16 + max(edges)


def test_no_more_trees_than_held_out_rows_ask_for():
    """Noise is learned by heart: the trees of all folds end where their rows are told best."""
    task, y = task_of("squared_error")
    y = y + 3 * np.random.default_rng(6).normal(size=y.shape)
    columns, weight = boosting.columns_to_split(ENCODING, NUMBERS, CODES), np.ones(N)
    found = [boosting.boosted(columns, ENCODING, y, weight, "identity", fold, 96) for fold in FOLDS]
    kept = boosting.as_many_of_each(found)
    count, longest = len(kept[0].trees), max(len(one.trees) for one in found)
    assert 1 <= count < longest < 96 and all(len(one.trees) == count for one in kept)
    losses = []
    for some in range(1, count + 12):
        forest = Forest.of([one._replace(trees=one.trees[:some]) for one in found], 4,
                           [len(one) for one in ENCODING.maps], [0, 1])
        own = forest.transform(NUMBERS, CODES)
        losses.append([((own[fold, i] - y[fold, 0]) ** 2).mean() / 2
                       for i, fold in enumerate(FOLDS)])
    assert np.argmin(np.mean(losses, axis=1)) == count - 1
    first = found[0]
    np.testing.assert_allclose(first.losses[:count], [own[0] for own in losses[:count]])
    best = np.argmin(first.losses) + 1
    alone = Forest.of([first._replace(trees=first.trees[:best])], 4,
                      [len(one) for one in ENCODING.maps], [0, 1])
    np.testing.assert_array_equal(first.outputs, alone.transform(NUMBERS, CODES)[FOLDS[0]])


@pytest.mark.parametrize("n, most", [(60, 4), (600, 10), (6000, 31)])
def test_small_trees_of_few_rows(n, most):
    rng = np.random.default_rng(7)
    numbers = rng.normal(size=(n, 3))
    inputs = Inputs(numbers, np.zeros((n, 0), np.int32))
    encoding = Encoding.fit(inputs, [], bins=6)
    columns = boosting.columns_to_split(encoding, numbers, inputs.codes)
    fold = np.arange(0, n, 3)
    found = boosting.boosted(columns, encoding, np.sin(3 * numbers[:, :1]), np.ones(n), "identity",
                           fold, 16)
    assert max(len(tree.values) for tree in found.trees) == most


def test_weights_count_as_rows_that_are_there_as_often(monkeypatch):
    monkeypatch.setattr(boosting, "LEAST_ROWS", 1)
    monkeypatch.setattr(boosting, "ROWS_OF_LEAF", 10**6)  # four leaves, however many rows
    _, y = task_of("binary")
    y, times = y[:, np.newaxis].astype(float), np.random.default_rng(8).integers(1, 4, N)
    columns = boosting.columns_to_split(ENCODING, NUMBERS, CODES)
    again = np.repeat(np.arange(N), times)
    weighed = boosting.boosted(columns, ENCODING, y, times.astype(float), "logit", FOLDS[0], 16)
    repeated = boosting.boosted(
        [column._replace(codes=column.codes[again]) for column in columns], ENCODING, y[again],
        np.ones(len(again)), "logit", np.flatnonzero(np.isin(again, FOLDS[0])), 16)
    np.testing.assert_allclose(weighed.losses, repeated.losses, rtol=1e-9)
    for mine, theirs in zip(weighed.trees, repeated.trees, strict=True):
        assert mine.splits == theirs.splits
        np.testing.assert_allclose(mine.values, theirs.values, rtol=1e-9)


def test_trees_have_to_save_more_than_chance():
    """By a standard error; two folds that are tried first, anything."""
    z, t, y = np.zeros((100, 1)), np.ones((100, 1)), np.zeros((100, 1))
    y[:55], y[55:] = 1, -0.9  # trees are right a little more often
    for errors, taken in ((0, True), (1, False)):
        share = trees._share(z, t, y, np.ones(100), "identity", 0 * trees.SHARES, errors)
        assert (share > 0) is taken
    assert trees._share(z, t, y, np.ones(100), "identity", 0 * trees.SHARES) == 0


def test_what_the_mean_saves_is_of_weighed_rows(monkeypatch):
    asked, saved = [], trees.saved_by_mean
    monkeypatch.setattr(trees, "saved_by_mean",
                        lambda *own: asked.append(own[-1]) or saved(*own))
    task, y = task_of("squared_error")
    weight = np.random.default_rng(9).uniform(1, 5, N)
    trees.with_trees(networks(task), ENCODING, NUMBERS, CODES, X, task.targets(y), task, weight,
                     FOLDS, trees=24)
    assert len(asked) == len(trees.SHARES)
    np.testing.assert_allclose(asked[0], weight / weight.mean())


def test_same_bytes_for_any_threads():
    first, *others = (with_trees("multiclass", n_threads=k)[3] for k in (1, 2, 3))
    for other in others:
        assert [net.parameters.tobytes() for net in first] == [
            net.parameters.tobytes() for net in other]


def plain_tree(codes, slopes, rows, leaves, penalty, least_rows):
    """Splits as `grow` finds them, slowly."""
    k = slopes.shape[1] // 2

    def score(rows):
        sums = slopes[rows].sum(axis=0)
        return (sums[:k] ** 2 / (sums[k:] + penalty)).sum()

    parts, splits = [rows], []
    while len(parts) < leaves:
        best = (0.0,)
        for i, part in enumerate(parts):
            for j in range(codes.shape[1]):
                for code in range(int(codes[:, j].max())):
                    above = codes[part, j] > code
                    if least_rows <= above.sum() <= len(part) - least_rows:
                        gain = score(part[above]) + score(part[~above]) - score(part)
                        if gain > best[0] + 1e-9:
                            best = gain, i, j, code
        if len(best) == 1:
            break
        _, i, j, code = best
        splits.append((i, j, code))
        above = codes[parts[i], j] > code
        parts.append(parts[i][above])
        parts[i] = parts[i][~above]
    return splits


@pytest.mark.parametrize("outputs", [1, 3])
def test_grown_as_by_hand(outputs):
    rng = np.random.default_rng(outputs)
    codes = rng.integers([4, 2, 7], size=(90, 3)).astype(np.uint8)
    slopes = np.hstack([rng.normal(size=(90, outputs)) + codes[:, :1],
                        rng.uniform(0.1, 1, (90, outputs))])
    rows = rng.permutation(90)[:70].astype(np.int32)
    starts = np.array([0, 4, 6, 13], np.int32)
    found, at = _trees.grow(codes, starts, slopes, rows, 6, 1.0, 4, 1e-9)
    leaf_of = np.zeros(90, int)
    for new, (leaf, j, code) in enumerate(found.tolist(), 1):
        leaf_of[(leaf_of == leaf) & (codes[:, j] > code)] = new
    np.testing.assert_array_equal(at, leaf_of)
    assert [tuple(split) for split in found.tolist()] == plain_tree(codes, slopes, rows, 6, 1.0, 4)
    assert len(found) == 5


def test_nothing_to_grow():
    codes, slopes = np.zeros((4, 1), np.uint8), np.ones((4, 2))
    rows = np.arange(4, dtype=np.int32)
    for own, leaves in ((rows, 4), (rows[:0], 4), (rows, 1)):
        found, at = _trees.grow(codes, np.array([0, 1], np.int32), slopes, own, leaves, 1., 1, 0.)
        assert len(found) == 0 and (at == 0).all()


@pytest.mark.parametrize("wrong", [
    {"starts": np.array([0, 1], np.int32)}, {"rows": np.array([9], np.int32)},
    {"slopes": np.ones((4, 3))}, {"leaves": 65}, {"slopes": np.ones((3, 2))}])
def test_arrays_that_do_not_fit(wrong):
    right = {"codes": np.ones((4, 1), np.uint8), "starts": np.array([0, 2], np.int32),
             "slopes": np.ones((4, 2)), "rows": np.arange(4, dtype=np.int32), "leaves": 4}
    with pytest.raises(ValueError):
        _trees.grow(*(right | wrong).values(), 1.0, 1.0, 0.0)


@pytest.mark.real_recipe
def test_recipe_learns_thresholds_by_trees():
    rng = np.random.default_rng(5)
    inputs = Inputs(rng.uniform(size=(1200, 4)), rng.integers(3, size=(1200, 1)).astype(np.int32))
    x = inputs.numbers
    y = np.where(x[:, 0] < 0.37, 2.0 * (x[:, 1] > 0.3), 3.0 * (inputs.codes[:, 0] == 1))
    task = Task.of_numbers(y[:600, np.newaxis])
    left = {}
    for count in (0, 32):
        few = dataclasses.replace(recipe.PRESETS["default"][0], networks=2, folds=2, steps=300,
                                  hidden=(16, 16), linear=False, trees=count)
        ensemble = recipe.fit(inputs[:600], task.targets(y[:600, np.newaxis]), task, preset=few,
                              sizes=[3])
        found = task.predictions(ensemble.outputs(inputs[600:]))[:, 0]
        left[count] = ((found - y[600:]) ** 2).mean()
        held = task.predictions(ensemble.held_out)[:, 0]
        assert ((held - y[:600]) ** 2).mean() < 4 * left[count] + 0.01
    assert left[32] < 0.3 * left[0]
