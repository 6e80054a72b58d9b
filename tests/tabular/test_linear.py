"""The linear part of networks: what they give with it, and when they get one."""

import time

import numpy as np
import pytest
from scipy.special import expit, softmax

from fastnn.mlp import MLP
from fastnn.network.spec import Dense
from fastnn.tables.schema import Inputs
from fastnn.tabular import blending, linear
from fastnn.tabular.encoding import Encoding
from fastnn.tabular.task import Task

RNG = np.random.default_rng(0)
N = 400
NUMBERS = RNG.normal(size=(N, 5))
NUMBERS[::9, 2] = np.nan
CODES = RNG.integers(4, size=(N, 2)).astype(np.int32)
INPUTS = Inputs(NUMBERS, CODES)
LINE = 2 * NUMBERS[:, 0] - NUMBERS[:, 1] + np.isnan(NUMBERS[:, 2]) + 1.5 * (CODES[:, 0] == 1)
ENCODING = Encoding.fit(INPUTS, [4, 4], bins=8)
X = ENCODING.transform(INPUTS)
FOLDS = np.array_split(np.random.default_rng(1).permutation(N), 4)


def networks(task, count=4, scale=1.0):
    """Networks that have learned nothing."""
    nets = []
    for i in range(count):
        net = MLP.of([Dense(6, "silu"), Dense(5, "silu"), Dense(task.n_out)],
                     n_in=ENCODING.n_inputs, output=task.output, random_state=i)
        net.set_weights([scale * W for W in net.get_weights()])
        nets.append(net)
    return nets


def task_of(kind):
    """A task, and targets that a linear model learns."""
    noisy = LINE + 0.5 * np.random.default_rng(2).normal(size=N)
    if kind == "binary":
        return Task.of_classes(2), (noisy > 0).astype(int)
    if kind == "multiclass":
        return Task.of_classes(3), np.digitize(noisy, [-1, 1])
    if kind == "multilabel":
        return Task.of_labels(2), np.stack([noisy > 0, noisy > 1], axis=1)
    y = noisy[:, np.newaxis] if kind != "poisson" else np.floor(np.exp(noisy / 3))[:, np.newaxis]
    return Task.of_numbers(y, kind), y


@pytest.mark.parametrize("kind, before", [
    ("squared_error", lambda z: z), ("binary", expit), ("multiclass", lambda z: softmax(z, axis=1)),
    ("poisson", np.exp)])
def test_outputs_with_a_linear_part(kind, before):
    task, _ = task_of(kind)
    net = networks(task, 1)[0]
    rng = np.random.default_rng(3)
    kept = ENCODING.kinds != Encoding.BIN
    part = rng.normal(size=(int(kept.sum()) + 1, task.n_out))
    joined = linear._joined(net, ENCODING, part, 0.3)
    assert joined.sizes == (ENCODING.n_inputs, *(units + 2 * task.n_out for units in (6, 5)),
                            task.n_out)
    dense = X.toarray().astype(float)[:, kept]
    straight = dense @ part[:-1] + part[-1]
    z = blending.linked(net.predict(X), blending.kind_of(task))
    np.testing.assert_allclose(joined.predict(X), before(0.7 * z + 0.3 * straight), rtol=2e-5,
                               atol=2e-6)
    matrix = linear._matrix(ENCODING, X)
    np.testing.assert_array_equal(matrix.toarray(), dense)


@pytest.mark.parametrize("kind", ["squared_error", "binary", "multiclass", "multilabel", "poisson"])
def test_a_linear_truth_gets_a_linear_part(kind):
    task, y = task_of(kind)
    targets = task.targets(y)
    nets = networks(task, scale=0.1)
    found = linear.with_linear_part(nets, ENCODING, X, targets, task, None, FOLDS)[0]
    assert found is not nets and found[0].sizes[1] == 6 + 2 * task.n_out
    constant = task.losses(targets, np.tile(task.constant(targets), (N, 1))).mean()
    least = task.losses(targets, np.tile(targets, (1, 1))).mean() if kind == "poisson" else 0
    for net, fold in zip(found, FOLDS, strict=True):
        loss = task.losses(targets[fold], net.predict(X[fold])).mean()
        assert loss - least < 0.6 * (constant - least)


def test_what_a_linear_part_has_to_save():
    task, y = task_of("squared_error")
    targets, nets = task.targets(y), networks(task, scale=0.1)
    for least, taken in ((0.0, True), (0.4, True), (0.99, False)):  # noise is .06 of it
        found, _ = linear.with_linear_part(nets, ENCODING, X, targets, task, None, FOLDS,
                                           to_save=least)
        assert (found is not nets) == taken


def test_normal_equations_take_no_time_worth_the_name():
    task, y = task_of("squared_error")
    nets = networks(task, scale=0.1)
    found, _ = linear.with_linear_part(nets, ENCODING, X, task.targets(y), task, None, FOLDS,
                                       seconds=1e-9)
    assert found is not nets


def test_no_further_penalty_when_time_is_up(monkeypatch):
    """By many columns and few rows these are nine, of two kinds of models."""
    task, y = task_of("squared_error")
    tried, nets = [], networks(task, scale=0.1)
    monkeypatch.setattr(linear, "FEW_ROWS", N)
    monkeypatch.setattr(linear, "MOST_DENSE", 0)
    for make in (linear._Iterated, linear._Lasso):
        monkeypatch.setattr(make, "part", lambda fit, key, penalty, part=make.part: (
            tried.append(penalty) or part(fit, key, penalty)))
    matrix = linear._matrix(ENCODING, X)
    one = linear.ITERATIONS * linear._work(matrix, y, FOLDS) / linear.WORK_OF_SECOND / 2
    for seconds, least, most in ((None, 4, 9), (3.9 * one, 2, 3), (1.9 * one, 1, 1),
                                 (0.9 * one, 0, 0)):
        tried.clear()
        found, _ = linear.with_linear_part(nets, ENCODING, X, task.targets(y), task, None, FOLDS,
                                           seconds=seconds, n_threads=2)
        assert least <= len({*tried}) <= most and (found is nets) == (most == 0)


def test_by_one_fold_alone_a_line_has_to_save_two_standard_errors():
    """It is no mean of several, and few rows judge it."""
    task, y = task_of("squared_error")
    rng, taken = np.random.default_rng(7), {}
    one = [FOLDS[0]] * 4
    for noise in (0.5, 60.0):
        targets = task.targets(y + noise * rng.normal(size=y.shape))
        nets = networks(task, scale=0.01)
        for folds in (one, FOLDS):
            taken[noise, folds is one] = linear.with_linear_part(
                nets, ENCODING, X, targets, task, None, folds)[0] is not nets
        judge = linear._Judge(nets, X, targets.astype(float), np.ones(N), one, "identity", 0.0,
                              None, 2)
        line = judge.z + rng.normal(size=judge.z.shape)
        best = linear._Line(0.0, 0.5, line, linear._Exact, ())
        saves = judge.losses(0, judge.z) - judge.losses(0.5, line)
        assert judge.doubt(best) == pytest.approx(2 * saves.std() * len(saves) ** 0.5)
    assert taken[0.5, True] and not taken[60.0, True]


@pytest.mark.parametrize("variance, flatters", [(0, 0), (1.2, 0), (0, 0.6), (1.2, 0.6), (0.4, 0.2)])
def test_the_share_of_a_line(variance, flatters, monkeypatch):
    """Of the least loss of the mean of networks: what they save by it counts half, and what they
    have been flattered by is taken off."""
    task, y = task_of("squared_error")
    targets, weight = task.targets(y), np.random.default_rng(9).uniform(0.1, 3, N)
    rng, own = np.random.default_rng(10), weight / weight.sum()
    right = targets[:, :1].astype(float)
    z = right + rng.normal(size=(N, 1)) * np.where(weight > 1.5, 1.5, 0.5)[:, np.newaxis]
    line = rng.normal(size=ENCODING.n_inputs)[np.flatnonzero(ENCODING.kinds != Encoding.BIN)] * 0.05

    class Line:
        def __init__(self, *_):
            pass

        def part(self, *_):
            return np.append(line, 0.0)[:, np.newaxis]
    seen = []
    monkeypatch.setattr(linear, "_Exact", Line)
    monkeypatch.setattr(linear, "held_out_outputs", lambda *_: (z, np.ones(N, bool)))
    monkeypatch.setattr(linear, "saved_by_mean", lambda *_: variance)
    monkeypatch.setattr(linear, "flattery", lambda _: flatters)
    monkeypatch.setattr(linear, "_joined", lambda *own: seen.append(own[3]))
    linear.with_linear_part(networks(task), ENCODING, X, targets, task, weight, FOLDS)
    straight = (linear._matrix(ENCODING, X) @ line)[:, np.newaxis]

    def loss(s):
        saved = variance / 2 - flatters * (own @ (z - right) ** 2).item() / 2
        left = (own @ ((1 - s) * z + s * straight - right) ** 2).item() / 2
        return left - (1 - s) ** 2 * saved
    best = min(np.linspace(0, 1, 21).tolist(), key=loss)
    assert 0.1 < best < 0.9 and seen == [pytest.approx(best)] * 4


def test_no_line_beyond_a_limit(monkeypatch):
    monkeypatch.setattr(linear, "MOST_WORK", (10, 1e9))
    task, y = task_of("squared_error")
    nets = networks(task, scale=0.1)
    assert linear.with_linear_part(nets, ENCODING, X, task.targets(y), task, None, FOLDS)[0] is nets
    inputs, straight, _ = skewed(400)
    encoding = Encoding.fit(inputs, [], bins=8)
    of_numbers = Task.of_numbers(straight[:, np.newaxis])
    assert linear.with_straight_values(
        encoding, encoding.transform(inputs), lambda new: new.transform(inputs),
        of_numbers.targets(straight[:, np.newaxis]), of_numbers, None, FOLDS) is encoding


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_other_folds_have_no_line_where_the_first_ones_gain_nothing(kind, monkeypatch):
    task, y = task_of(kind)
    targets = task.targets(y)
    noise = np.random.default_rng(5).integers(max(task.n_out, 2), size=targets.shape)
    noise, seen = noise.astype(targets.dtype), []
    part = linear._Iterated.part

    def counted(self, key, penalty):
        seen.append((key, penalty))
        return part(self, key, penalty)
    monkeypatch.setattr(linear._Iterated, "part", counted)
    monkeypatch.setattr(linear, "saved_by_mean", lambda *_: 0.1)  # the mean is better
    nets = networks(task, scale=1e-3)
    for rows, folds in ((100, linear.PROBES), (201, 4)):
        monkeypatch.setattr(linear, "ROWS_OF_PROBES", rows)
        seen.clear()
        assert linear.with_linear_part(nets, ENCODING, X, noise, task, None, FOLDS)[0] is nets
        assert {key for key, _ in seen} == {fold.tobytes() for fold in FOLDS[:folds]}
        assert len(set(seen)) == len(seen)
    monkeypatch.setattr(linear, "ROWS_OF_PROBES", 100)
    seen.clear()
    assert linear.with_linear_part(nets, ENCODING, X, targets, task, None, FOLDS)[0] is not nets
    assert len({key for key, _ in seen}) == 4 and len(set(seen)) == len(seen)


def test_linear_models_in_other_threads_end_with_the_first_error():
    """Ctrl-C waited for those that ran."""
    calls = []

    class Long(linear._Iterated):
        def part(self, key, penalty):
            if key == FOLDS[0].tobytes():
                raise KeyboardInterrupt
            for _ in range(1000):
                self.sum_of_losses(key, self.start(key))
                calls.append(key)
                time.sleep(0.01)

    task, y = task_of("binary")
    targets = blending.columns_of(y, task)
    judge = linear._Judge(networks(task), X, targets, np.ones(N), FOLDS, "logit", 0.0,
                          None, 2)
    with pytest.raises(KeyboardInterrupt):
        judge.better(judge.none(Long), Long, linear._matrix(ENCODING, X), (1.0,), None)
    assert len(calls) < 500


def test_the_exact_and_the_iterated_fit_agree():
    y, weight = LINE[:, np.newaxis], np.random.default_rng(4).uniform(0.5, 2, N)
    folds = {b"one": FOLDS[0]}
    parts = [make(linear._matrix(ENCODING, X), y, weight, "identity", folds)
             for make in (linear._Exact, linear._Iterated)]
    others = np.setdiff1d(np.arange(N), FOLDS[0])
    dense = linear._matrix(ENCODING, X).toarray()[others]
    one = np.hstack([dense, np.ones((len(others), 1))])
    ridge = np.diag([10.0] * dense.shape[1] + [0])
    right = np.linalg.solve(one.T * weight[others] @ one + ridge,
                            one.T * weight[others] @ y[others])
    np.testing.assert_allclose(parts[0].part(b"one", 10.0), right, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(parts[1].part(b"one", 10.0), right, rtol=0.02, atol=0.01)


@pytest.mark.parametrize("kind", ["identity", "softmax"])
def test_many_columns_are_a_dense_matrix(kind):
    """If most of it is filled; other work is too much there, too."""
    y = np.eye(3)[np.digitize(LINE, [-1, 1])] if kind == "softmax" else LINE[:, np.newaxis]
    columns, parts = linear._matrix(ENCODING, X), []
    limits = dict.fromkeys(("MOST_DENSE", "LEAST_FILLED"), 0)
    for patched in ({}, limits, limits | {"LEAST_FILLED": 1}):
        with pytest.MonkeyPatch.context() as patch:
            for name, value in patched.items():
                patch.setattr(linear, name, value)
            fits = [make(columns, y, np.ones(N), kind, {b"one": FOLDS[0]})
                    for make in (linear._Iterated, linear._Lasso)]
            parts.append([fit.part(b"one", 0.3) for fit in fits])
            is_dense = getattr(fits[0].rows_of(b"one")[0], "func", None) is linear._times
            assert is_dense == (patched == limits)
            patch.setattr(linear, "MOST_WORK", (10, 1e9))
            assert linear._is_too_much(columns, y, FOLDS) != is_dense
    for own, other in zip(parts[0], parts[1], strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["absolute_error", "quantile", "gamma", "squared_error"])
def test_networks_that_stay_as_they_are(kind):
    task, y = task_of("squared_error" if kind != "gamma" else "poisson")
    task = Task.of_numbers(np.abs(y) + 1, kind)
    targets = task.targets(np.abs(y) + 1)
    if kind == "squared_error":  # noise: nothing to learn for a line
        targets = np.random.default_rng(5).normal(size=(N, 1)).astype(np.float32)
    nets = networks(task, scale=1e-3)
    assert linear.with_linear_part(nets, ENCODING, X, targets, task, None, FOLDS)[0] is nets


def test_the_lasso_is_scikit_learns():
    """(1 / 2 n) squares + a |w| there: n a is the penalty."""
    sklearn = pytest.importorskip("sklearn.linear_model")
    y, weight = LINE[:, np.newaxis] / 3, np.random.default_rng(4).uniform(0.5, 2, N)
    X_ = linear._matrix(ENCODING, X)
    fit = linear._Lasso(X_, y, weight, "identity", {b"one": FOLDS[0]})
    others = np.setdiff1d(np.arange(N), FOLDS[0])
    for share in (0.5, 0.1):
        part = fit.part(b"one", share)
        right = sklearn.Lasso(share * fit.largest[b"one"] / weight[others].sum(), tol=1e-8).fit(
            X_.toarray()[others], y[others, 0], weight[others])
        np.testing.assert_allclose(part[:-1, 0], right.coef_, rtol=0.05, atol=0.02)
        np.testing.assert_allclose(part[-1, 0], right.intercept_, atol=0.02)
        assert ((part[:-1, 0] == 0) >= (right.coef_ == 0)).all()


@pytest.mark.parametrize("kind", ["squared_error", "binary", "multiclass"])
def test_many_columns_of_few_rows_get_few_weights(kind):
    rng = np.random.default_rng(6)
    numbers = rng.normal(size=(160, 80))
    inputs = Inputs(numbers, np.zeros((160, 0), np.int32))
    line = 2 * numbers[:, 3] - 2 * numbers[:, 40] + rng.normal(size=160)
    task, y = {"squared_error": lambda: (Task.of_numbers(line[:, np.newaxis]), line[:, np.newaxis]),
               "binary": lambda: (Task.of_classes(2), (line > 0).astype(int)),
               "multiclass": lambda: (Task.of_classes(3), np.digitize(line, [-1, 1]))}[kind]()
    encoding, targets = Encoding.fit(inputs, [], bins=1), task.targets(y)
    codes, folds = encoding.transform(inputs), np.array_split(rng.permutation(160), 4)
    nets = [MLP.of([Dense(4, "silu"), Dense(task.n_out)], n_in=encoding.n_inputs,
                   output=task.output, random_state=i) for i in range(4)]
    for net in nets:
        net.set_weights([0.01 * W for W in net.get_weights()])
    losses = {}
    for few in (0, linear.FEW_ROWS):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(linear, "FEW_ROWS", few)
            found = linear.with_linear_part(nets, encoding, codes, targets, task, None, folds)[0]
        losses[few] = np.mean([task.losses(targets[fold], net.predict(codes[fold])).mean()
                               for net, fold in zip(found, folds, strict=True)])
    assert losses[linear.FEW_ROWS] < 0.9 * losses[0]
    first = found[0].get_weights()[0][:, 4:4 + task.n_out]
    assert (first[[3, 40]] != 0).any(axis=1).all() and (first == 0).mean() > 0.6


def test_a_line_of_the_numbers_themselves():
    """Values are bent, their bins add up to the numbers; beyond those of training it goes on."""
    rng = np.random.default_rng(6)
    numbers = rng.standard_t(3, size=(N, 3)).clip(-4.5, 4.5) * [1, 100, 1e-3] + [0, 5, 1]
    numbers[::9, 2] = np.nan
    line = np.nan_to_num(numbers - [0, 5, 1]) @ [2, 0.01, 300]
    inputs = Inputs(numbers, np.zeros((N, 0), np.int32))
    encoding = Encoding.fit(inputs, [], bins=8)
    codes = encoding.transform(inputs)
    task = Task.of_numbers(line[:, np.newaxis], "squared_error")
    targets = task.targets(line[:, np.newaxis])
    nets = [MLP.of([Dense(6, "silu"), Dense(1)], n_in=encoding.n_inputs, output=task.output,
                   random_state=i) for i in range(4)]
    bent, same = linear.with_linear_part(nets, encoding, codes, targets, task, None, FOLDS)
    found, wider = linear.with_linear_part(nets, encoding, codes, targets, task, None, FOLDS,
                                           numbers)
    assert same is encoding and wider is not encoding
    losses = [np.mean([task.losses(targets[fold], net.predict(own.transform(inputs)[fold])).mean()
                       for net, fold in zip(some, FOLDS, strict=True)])
              for some, own in ((bent, encoding), (found, wider))]
    assert losses[1] < 0.2 * losses[0]

    def outputs(*row):
        one = wider.transform(Inputs(np.array([row], float), np.zeros((1, 0), np.int32)))
        return blending.linked(found[0].predict(one), blending.kind_of(task))[0, 0]

    top = numbers[:, 0].max()
    width = top - numbers[:, 0].min()
    before, at, beyond, far, end = (outputs(top + x * width, 5, 1)
                                     for x in (-0.1, 0, .1, linear.BEYOND, 9))
    assert beyond - at == pytest.approx(at - before, rel=0.2) and far > beyond
    assert end == pytest.approx(far, rel=0.1)
    # missing where training had all: as the mean
    assert outputs(np.nan, 5, 1) == pytest.approx(outputs(numbers[:, 0].mean(), 5, 1), abs=0.3)


def test_few_different_values_and_huge_numbers():
    numbers = np.stack([np.arange(N) % 2, np.linspace(-1e200, 1e200, N), np.arange(N) % 5], 1)
    inputs = Inputs(numbers.astype(float), np.zeros((N, 0), np.int32))
    encoding = Encoding.fit(inputs, [], bins=8)
    with np.errstate(all="raise"):
        straight = linear._Straight(encoding, inputs.numbers)
        values = straight.values(inputs.numbers)
    assert straight.columns == [1, 2] and np.isnan(values[:, 0]).all()
    assert np.isfinite(values[:, 1:]).all()


def test_columns_with_values_far_out_stay_bent():
    numbers = np.random.default_rng(7).normal(size=(N, 2))
    numbers[3, 0] = 9
    encoding = Encoding.fit(Inputs(numbers, np.zeros((N, 0), np.int32)), [], bins=8)
    assert linear._Straight(encoding, numbers).columns == [1]
    assert linear._Straight(encoding, numbers, np.inf).columns == [0, 1]


def with_a_line_of_skewed_numbers(y_of):
    """Return whether columns far out are straight, in how many of six draws."""
    straight = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        numbers = np.exp(1.2 * rng.normal(size=(N, 2)))
        inputs = Inputs(numbers, np.zeros((N, 0), np.int32))
        encoding = Encoding.fit(inputs, [], bins=8)
        y = y_of(numbers, encoding, rng)[:, np.newaxis]
        task = Task.of_numbers(y)
        nets = [MLP.of([Dense(4, "silu"), Dense(1)], n_in=encoding.n_inputs, random_state=i)
                for i in range(4)]
        for net in nets:
            net.set_weights([0.01 * W for W in net.get_weights()])
        codes = encoding.transform(inputs)
        _, wider = linear.with_linear_part(nets, encoding, codes, task.targets(y), task, None,
                                           FOLDS, numbers)
        straight.append(wider is not encoding)
    return sum(straight)


def test_columns_with_values_far_out_are_straight_where_the_target_is():
    def line(numbers, encoding, rng):
        return numbers @ [1, -2] + 0.3 * rng.normal(size=N)

    def bent(numbers, encoding, rng):  # but for the two largest
        y = encoding.value(0, numbers[:, 0]) + 0.3 * rng.normal(size=N)
        last = np.argsort(numbers[:, 0])[-2:]
        y[last] = 0.3 * numbers[last, 0]
        return y
    assert with_a_line_of_skewed_numbers(line) == 6
    assert with_a_line_of_skewed_numbers(bent) <= 1


def test_a_row_alone_does_not_decide_for_a_line_of_the_numbers():
    """All rows follow what is bent but one, which follows the line: it saves more than a hundredth
    of the loss, and its standard error is as large."""
    straight = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        x = rng.permutation(np.append(1.85, np.linspace(-1, 1, 99)))[:, np.newaxis]
        inputs = Inputs(x, np.zeros((100, 0), np.int32))
        encoding = Encoding.fit(inputs, [], bins=8)
        y = encoding.value(0, x) + 0.1 * rng.normal(size=x.shape)
        y[x > 1] = ((x - x.mean()) / x.std())[x > 1]
        task = Task.of_numbers(y)
        nets = [MLP.of([Dense(4, "silu"), Dense(1)], n_in=encoding.n_inputs, random_state=i)
                for i in range(4)]
        for net in nets:
            net.set_weights([0.01 * W for W in net.get_weights()])
        found = linear.with_linear_part(
            nets, encoding, encoding.transform(inputs), task.targets(y), task, None,
            np.array_split(rng.permutation(100), 4), x)
        assert found[0] is not nets  # a line of what is bent in any case
        straight += found[1] is not encoding
    assert straight <= 2


@pytest.mark.parametrize("kind", ["squared_error", "binary"])
def test_weights_of_rows_by_any_scale(kind):
    """Penalties are beside sums over rows; weights that differ by 30 orders of magnitude leave a
    matrix that float64 cannot invert without them."""
    task, y = task_of(kind)
    targets, weight = task.targets(y), np.random.default_rng(8).uniform(0.5, 2, N)

    def first(weight):
        nets = networks(task, scale=0.1)
        found = linear.with_linear_part(nets, ENCODING, X, targets, task, weight, FOLDS)[0]
        return found[0].get_weights()[0]
    for scale in (1e-20, 2.0**40):
        np.testing.assert_allclose(first(scale * weight), first(weight), rtol=1e-3, atol=1e-6)
    assert np.isfinite(first(np.where(np.arange(N) == 7, 1e30, 1.0))).all()


def skewed(n, seed=0):
    """Rows of two log-normal columns and one that is not; sums of the numbers, and of bent ones."""
    rng = np.random.default_rng(seed)
    numbers = np.column_stack([np.exp(1.2 * rng.normal(size=(n, 2))), rng.normal(size=n)])
    rest = np.sin(2 * numbers[:, 2]) + 0.3 * rng.normal(size=n)
    bent = np.log(numbers[:, :2]) @ [1, -1] + rest
    return Inputs(numbers, np.zeros((n, 0), np.int32)), numbers[:, :2] @ [1, -1] + rest, bent


@pytest.mark.parametrize("which, straight", [(1, True), (2, False)])
def test_values_are_not_bent_where_the_target_is_a_line_of_them(which, straight):
    inputs, y = skewed(N)[0], skewed(N)[which][:, np.newaxis]
    encoding, task = Encoding.fit(inputs, [], bins=8), Task.of_numbers(y)
    codes, targets = encoding.transform(inputs), task.targets(y)

    def found(weight=None, task=task):
        return linear.with_straight_values(encoding, codes, lambda own: own.transform(inputs),
                                           targets, task, weight, FOLDS)
    own = found()
    assert (own is not encoding) == straight
    assert (found(np.full(N, 1e-9)) is not encoding) == straight
    if straight:
        changed = own.scales[:, 1] != encoding.scales[:, 1]
        assert changed.tolist() == [True, True, False]
    assert found(task=Task.of_numbers(np.abs(y), "absolute_error")) is encoding


def test_values_that_are_not_bent():
    inputs = skewed(N)[0]
    encoding = Encoding.fit(inputs, [], bins=8)
    own = encoding.straightened([0])
    x = np.sort(inputs.numbers[:, 0])
    slopes = np.diff(own.value(0, x)) / np.diff(x)
    center = encoding.scales[0, 0]
    np.testing.assert_allclose(slopes, slopes[0], rtol=1e-3)
    np.testing.assert_allclose(own.value(0, center), encoding.value(0, center))
    for j in (1, 2):
        np.testing.assert_array_equal(own.value(j, x), encoding.value(j, x))
    assert own.n_inputs == encoding.n_inputs
    # its line goes on beyond the values of training, whatever other columns do
    assert linear._Straight(own, inputs.numbers, 2 / linear.LINEAR).columns == [0]
    assert linear._Straight(encoding, inputs.numbers, 2 / linear.LINEAR).columns == []


def test_columns_with_values_far_out_have_to_save_two_standard_errors():
    before = np.full(100, 5.0)
    for mean, near, far in ((0.05, False, False), (0.15, True, False), (0.25, True, True)):
        now = before - mean - np.resize([1.0, -1.0], 100)  # standard error of the sum: 10
        assert [linear._is_worth(before, now, 500.0, 500.0 - 100 * mean, one)
                for one in (False, True)] == [near, far]
