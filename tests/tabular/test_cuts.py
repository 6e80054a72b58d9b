"""Edges where the target jumps: found, none in noise, far enough apart for float32."""

import numpy as np
import pytest

from fastnn.tables.schema import Inputs
from fastnn.tabular import cuts as module
from fastnn.tabular.cuts import LEAST_ROWS, MOST_ROWS, target_cuts
from fastnn.tabular.encoding import Encoding

RNG = np.random.default_rng(0)
N = 2000
X = RNG.uniform(size=(N, 3))
STEPS = 2.0 * (X[:, 0] > 0.37) - 1.5 * (X[:, 0] > 0.8) + RNG.normal(size=N)


def cuts(y, numbers=X, weight=None, most=8, **settings):
    return target_cuts(numbers, y if y.ndim > 1 or settings else y[:, np.newaxis], weight,
                       most=most, **settings)


def around(x, threshold):
    return x[x <= threshold].max(), x[x > threshold].min()


@pytest.mark.parametrize("threshold", [0.37, 0.8])
def test_edges_stand_on_both_sides_of_a_threshold(threshold):
    y = (X[:, 0] > threshold).astype(float)
    edges, *noise = cuts(y)
    low, high = around(X[:, 0], threshold)
    assert len(edges) == 2 and edges[0] <= low < threshold < high <= edges[1]
    assert edges[1] - edges[0] < 2e-3
    assert not any(map(len, noise))


def test_thresholds_under_noise_and_in_turn():
    edges, *noise = cuts(STEPS)
    assert not any(map(len, noise))
    assert np.abs(edges[:, np.newaxis] - [0.37, 0.8]).min(axis=0).max() < 0.02
    assert len(edges) <= 8
    assert len(cuts(STEPS, most=1)[0]) == 2
    assert len(cuts(STEPS, most=0)[0]) == 0


@pytest.mark.parametrize("of", [lambda x: x, lambda x: 4 * x ** 2, lambda x: np.sin(6 * x),
                                lambda x: np.abs(x - 0.4) * 3, lambda x: np.exp(2 * x)])
@pytest.mark.parametrize("noise", [0.1, 1.0])
def test_what_rises_smoothly_does_not_jump(of, noise):
    y = of(X[:, 0]) + noise * np.random.default_rng(3).normal(size=N)
    assert not any(map(len, cuts(y)))


@pytest.mark.parametrize("k", [2, 5, 12])
def test_classes(k):
    y = np.where(X[:, 1] > 0.6, RNG.integers(k, size=N), 0)
    none, edges, last = cuts(y, multiclass=k)
    assert np.abs(edges - 0.6).min() < 0.01 and not len(none) and not len(last)


def test_a_row_far_out_is_no_threshold():
    y = RNG.normal(size=N)
    y[7] = 1e6
    assert not any(map(len, cuts(y)))
    assert not any(map(len, cuts(RNG.standard_cauchy(N))))


def test_weights_count_as_rows_do():
    weight = RNG.integers(1, 4, N)
    of_weights = cuts(STEPS, weight=weight.astype(float))
    of_rows = cuts(np.repeat(STEPS, weight), np.repeat(X, weight, axis=0))
    np.testing.assert_allclose(of_weights[0][:2], of_rows[0][:2], atol=0.02)


def test_sums_of_weights_are_those_of_rows(monkeypatch):
    """As the tree has them, which looks for the places."""
    seen, best_first = [], module._best_first
    monkeypatch.setattr(module, "_best_first",
                        lambda *own: seen.append(own[:4]) or best_first(*own))
    weight = np.random.default_rng(6).integers(1, 4, N)
    y = 2.0 * STEPS + 1
    cuts(y, X[:, :1], weight=weight.astype(float))
    cuts(np.repeat(y, weight), np.repeat(X[:, :1], weight, axis=0))
    (sums, sizes, places, need), (all_sums, all_sizes, all_places, all_need) = seen
    assert len(places) == len(all_places) == N - 1
    np.testing.assert_allclose(3 * sums[places], all_sums[all_places], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(3 * sizes[places], all_sizes[all_places])
    assert 3 * need / weight.mean() == pytest.approx(all_need)


def test_targets_far_out_hide_no_threshold():
    rng = np.random.default_rng(4)
    y = 2.0 * (X[:, 0] > 0.37) + rng.normal(size=N)
    far = rng.choice(N, 4, replace=False)
    y[far] += 600 * rng.choice([-1, 1], 4)
    assert np.abs(cuts(y)[0] - 0.37).min() < 0.02
    y[far], weight = 0, np.ones(N)  # how far is what the rows that count say
    near = np.argsort(np.abs(X[:, 0] - 0.37))[[0, 1, 4, 6, 9, 12]]
    y[near], weight[near] = 600 * rng.choice([-1, 1], 6), 1e-3
    assert np.abs(cuts(y, weight=weight)[0] - 0.37).min() < 0.02


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_weights_of_any_size(scale):
    assert np.array_equal(cuts(STEPS, weight=np.full(N, scale))[0], cuts(STEPS)[0])


@pytest.mark.parametrize("y", [np.ones(N), np.full(N, 1e308), np.zeros(N)])
def test_nothing_to_learn_from(y):
    with np.errstate(over="ignore", invalid="ignore"):
        assert not any(map(len, cuts(y)))


@pytest.mark.parametrize("n", [1, 2, 2 * LEAST_ROWS - 1, 2 * LEAST_ROWS])
def test_few_rows_and_missing_ones(n):
    y = (X[:, 0] > 0.37).astype(float)
    holes = np.where(np.arange(N)[:, np.newaxis] < n, X, np.nan)
    assert not any(map(len, cuts(y, holes)))
    assert not any(map(len, cuts(y[:n], X[:n])))
    assert [len(one) for one in cuts(y, np.full((N, 2), np.nan))] == [0, 0]


def test_missing_values_are_left_out():
    holes = X.copy()
    holes[::3, 0] = np.nan
    edges = cuts(STEPS, holes)[0]
    assert np.abs(edges - 0.37).min() < 0.02 and np.isfinite(edges).all()


@pytest.mark.parametrize("scale", [1e-300, 1, 1e10, 1e300])
def test_edges_of_numbers_of_any_size_differ_in_float32(scale):
    x = np.sort(RNG.uniform(size=N))
    x[N // 2:] += 1e-12  # neighbours as close as float64 allows
    x[N // 2] = np.nextafter(x[N // 2 - 1], 1)
    y = (np.arange(N) >= N // 2).astype(float)
    edges = cuts(y, (scale * (x + 3))[:, np.newaxis])[0] / scale
    assert len(edges) == 2 and (np.diff(edges.astype(np.float32)) > 0).all()


def test_many_rows_are_looked_at_in_part():
    n = 3 * MOST_ROWS + 17
    x = np.random.default_rng(1).uniform(size=(n, 1))
    assert np.abs(cuts((x[:, 0] > 0.5).astype(float), x)[0] - 0.5).max() < 1e-3


def test_an_encoding_with_cuts_jumps_there():
    """A function of the bins that is 0 on one side and 1 on the other."""
    y = (X[:, 0] > 0.37).astype(float)
    inputs = Inputs(X, np.zeros((N, 0), np.int32))
    encoding = Encoding.fit(inputs, [], bins=8, cuts=cuts(y))
    plain = Encoding.fit(inputs, [], bins=8)
    assert [len(one) for one in plain.edges] == [9, 9, 9]
    assert [len(one) for one in encoding.edges] == [11, 9, 9]

    def worst(of):
        kept = of.kinds[:of.firsts[1]] == Encoding.BIN
        dense = of.transform(inputs).toarray()[:, :of.firsts[1]][:, kept]
        return np.abs(dense @ np.linalg.lstsq(dense, y, rcond=None)[0] - y).max()

    assert worst(encoding) < 0.1 < 0.4 < worst(plain)


def test_columns_of_few_values_need_no_cuts():
    few = np.round(4 * X)
    encoding = Encoding.fit(Inputs(few, np.zeros((N, 0), np.int32)), [], bins=8,
                            cuts=[np.array([1.4, 1.6])] * 3)
    assert [len(one) for one in encoding.edges] == [5, 5, 5]


def test_weights_that_vanish_beside_others_divide_nothing_by_zero():
    weight = np.where(X[:, 0] < 0.5, 1e12, 1e-12)
    with np.errstate(divide="raise", invalid="raise"):
        cuts(STEPS, weight=weight)
