"""Predictions where a faster path is taken: many rows, many elements, odd numbers of them.

What is looked at or worked on in slices has more than one here, and ends amid of one.
"""

import numpy as np
import pytest
import reference
import scipy.sparse

import fastnn

MILLION = 2**20  # elements that are checked, scaled or made dense at a time


def twins(net, X, rtol, rows=slice(None)):
    """Predictions of some of the rows are the twin's."""
    wanted = reference.Twin.of(net).predict(X[rows])
    np.testing.assert_allclose(net.predict(X)[rows], wanted, rtol=0,
                               atol=rtol * np.abs(wanted).max())


def test_many_rows_through_several_wide_layers(dtype):
    """From some hundred rows on wide weights are packed, each layer's its own."""
    wide = {"float32": 1024, "float64": 512}[dtype]
    rtol = {"float32": 2e-5, "float64": 1e-11}[dtype]
    for sizes in [(6, wide, wide, 2), (6, 20, wide, wide), (wide, 30, wide, wide + 5, wide),
                  (wide, wide + 3)]:
        net = fastnn.MLP(sizes, "tanh", dtype=dtype, random_state=0, n_threads=2)
        X = np.random.default_rng(0).normal(size=(600, sizes[0])).astype(dtype)
        some = np.r_[:3, 95:98, 190:194, 597:600]
        twins(net, X, rtol, some)
        whole = net.predict(X)
        for n_rows in (1, 479, 480, 481):
            np.testing.assert_array_equal(net.predict(X[:n_rows]), whole[:n_rows])


def test_wide_values_that_products_read_and_other_layers(dtype):
    """Rows of the former are a line longer, of the latter not; also of a prefix, to its last value.
    """
    wide = {"float32": 1024, "float64": 512}[dtype]
    layers = [fastnn.Dense(wide, "tanh"), fastnn.LayerNorm(), fastnn.Dense(wide),
              fastnn.PReLU(), fastnn.Dense(wide, "relu"), fastnn.Dense(wide),
              fastnn.Residual([fastnn.Dense(wide, "tanh"), fastnn.Dense(wide)]),
              fastnn.Dense(2 * wide), fastnn.GLU("silu"), fastnn.Dense(wide)]
    X = np.random.default_rng(0).normal(size=(70, 9)).astype(dtype)
    rtol = {"float32": 2e-5, "float64": 1e-11}[dtype]
    net = fastnn.MLP.of(layers, n_in=9, dtype=dtype, random_state=0)
    twins(net, X, rtol)
    np.testing.assert_array_equal(net.activations_of(X)[-1], net.predict(X))
    members = fastnn.MLP((9, wide, wide, wide), "tanh", members=3, dtype=dtype, random_state=0)
    twins(members, X, rtol)


def refuses(predict, X):
    try:
        predict(X)
    except ValueError:
        return True
    return False


def test_what_is_not_finite_is_found_wherever_it_stands(dtype):
    """In each place of arrays of 1 to 13 elements, and beside the ends of large slices."""
    for shape in [(1, n) for n in range(1, 12)] + [(3, 3), (13, 1), (1, 13)]:
        model = fastnn.Predictor(fastnn.MLP((shape[1], 1), dtype=dtype, random_state=0))
        X = np.ones(shape, dtype)
        model.predict(X)
        for place in range(X.size):
            for value in (np.nan, np.inf, -np.inf):
                X.flat[place] = value
                assert refuses(model.predict, X), (shape, place, value)
                X.flat[place] = 1

    n = MILLION // 4  # a row is a quarter of a slice, and one element more
    model = fastnn.Predictor(fastnn.MLP((n + 1, 1), dtype=dtype, random_state=0))
    X = np.ones((5, n + 1), dtype)
    model.predict(X)
    size = X.size
    for place in (0, 1, 2**14, MILLION - 1, MILLION, MILLION + 1, *range(size - 5, size)):
        X.flat[place] = np.nan
        assert refuses(model.predict, X), place
        X.flat[place] = 1


@pytest.mark.parametrize("given", ["float32", "float64"])
def test_a_scaler_scales_each_row_by_itself(given, dtype):
    """The network hands its inputs on, so that each scaled element can be seen."""
    limits = (-1.5, 2.5)
    for shape in [(3, 1), (7, 5), (MILLION // 3 + 2, 5), (5, MILLION // 2 - 1)]:
        rng = np.random.default_rng(0)
        X = rng.normal(3, 2, shape).astype(given)
        scaler = fastnn.Scaler(rng.normal(3, 1, shape[1]), rng.uniform(1, 2, shape[1]), limits)
        wanted = np.clip((X.astype(float) - scaler.mean) / scaler.scale, *limits)
        if shape[1] > 5:  # too many inputs to hand on
            np.testing.assert_array_equal(scaler.apply(X, dtype), wanted.astype(dtype))
            continue
        net = fastnn.MLP((shape[1], shape[1]), dtype=dtype, n_threads=1)
        net.set_weights([np.eye(shape[1]), np.zeros(shape[1])])
        model = fastnn.Predictor(net, "regression", scaler=scaler)
        np.testing.assert_array_equal(model.predict(X).reshape(shape), wanted.astype(dtype))


def test_sparse_rows_are_predicted_as_dense_ones():
    """More of them than are made dense at a time."""
    X = scipy.sparse.random_array((1100, 2000), density=0.005, rng=np.random.default_rng(0),
                                  format="csr", dtype="float32")
    net = fastnn.MLP((2000, 7, 2), random_state=0, n_threads=1)
    np.testing.assert_array_equal(net.predict(X), net.predict(X.toarray()))
    assert np.ptp(net.predict(X), axis=0).min() > 0
