"""`MLP.predict`: the twin's values, into any memory, each row by itself."""

import numpy as np
import pytest
import reference
import scipy.sparse
from each import each
from small_nets import data, make

import fastnn


@each("sizes", [(7, 3), (7, 12, 5, 3), (7, 130, 3), (7, 1, 3)])
@each("output", ["identity", "sigmoid", "softmax", "exp", "tanh"])
def test_predict_is_the_twins(sizes, output, dtype):
    net = make(sizes, output=output, dtype=dtype)
    for rows in (1, 2, 95, 96, 97, 500):
        X = np.random.default_rng(rows).normal(size=(rows, 7)).astype(dtype)
        got = net.predict(X)
        assert got.shape == (rows, 3)
        assert got.dtype == dtype
        rtol = 1e-12 if dtype == "float64" else 2e-5
        np.testing.assert_allclose(got, reference.Twin.of(net).predict(X), rtol=rtol, atol=rtol)


def test_predict_by_a_loop_by_hand():
    """A(A(x W_h + b_h) W_o + b_o), one row after the other."""
    net = make((4, 6, 2), "sigmoid", "identity")
    w0, b0, w1, b1 = net.get_weights()
    X = np.random.default_rng(0).normal(size=(5, 4))
    for x, got in zip(X, net.predict(X), strict=True):
        hidden = [1 / (1 + np.exp(-(sum(x[i] * w0[i, j] for i in range(4)) + b0[j])))
                  for j in range(6)]
        for k in range(2):
            assert got[k] == pytest.approx(sum(hidden[j] * w1[j, k] for j in range(6)) + b1[k],
                                           rel=1e-13)


def test_predict_into_out(dtype):
    net = make(dtype=dtype)
    X = data()[0].astype(dtype)
    out = np.full((53, 3), 7, dtype)
    assert net.predict(X, out=out) is out
    np.testing.assert_array_equal(out, net.predict(X))
    # a slice of a larger buffer
    buffer = np.zeros((100, 3), dtype)
    net.predict(X, buffer[20:73])
    np.testing.assert_array_equal(buffer[20:73], out)
    assert not buffer[:20].any()
    assert not buffer[73:].any()


@each("sizes", [(3, 3), (3, 8, 3)])
@each("shift", [-50, -1, 0, 1, 50])
def test_predict_into_memory_of_its_input(sizes, shift):
    net = make(sizes, output="identity")
    buffer = np.random.default_rng(0).normal(size=(400, 3))
    X, out = buffer[50:350], buffer[50 + shift : 350 + shift]
    wanted = net.predict(X.copy())
    np.testing.assert_array_equal(net.predict(X, out=out), wanted)


def test_predict_takes_anything_like_an_array():
    net = make((2, 3, 1), output="identity")
    wanted = net.predict(np.array([[1.0, 2.0], [3.0, 4.0]]))
    for X in ([[1, 2], [3, 4]], np.array([[1, 2], [3, 4]], np.int8),
              np.array([[1, 2], [3, 4]], np.float32), ((1.0, 2.0), (3.0, 4.0)),
              np.array([[1, 2], [3, 4]], ">f8"), np.asfortranarray([[1.0, 2.0], [3.0, 4.0]])):
        np.testing.assert_array_equal(net.predict(X), wanted)


@each("form", [scipy.sparse.csr_array, scipy.sparse.csc_array, scipy.sparse.coo_matrix,
               scipy.sparse.csr_matrix])
def test_predict_sparse(form):
    net = make()
    X = np.random.default_rng(0).normal(size=(2500, 7))
    X[np.abs(X) < 1] = 0
    np.testing.assert_array_equal(net.predict(form(X)), net.predict(X))
    out = np.empty((2500, 3))
    assert net.predict(form(X), out=out) is out
    np.testing.assert_array_equal(out, net.predict(X))


def test_predict_no_rows():
    assert make().predict(np.empty((0, 7))).shape == (0, 3)


# one unit, widths beside those of vectors and tiles, no hidden layer, many inputs, wide layers
ROW_NETS = [((1, 1, 1), "tanh", "identity"), ((7, 3), "relu", "softmax"),
            ((7, 33, 19, 3), "gelu", "softmax"), ((5, 16, 17, 15, 1), "softplus", "sigmoid"),
            ((300, 64, 10), "relu", "softmax"), ((20, 257, 130, 5), "silu", "exp"),
            ((3, 1030, 2), "elu", "identity")]


@each("n_threads", [1, 2, 5])
@each("sizes, activation, output", ROW_NETS)
def test_row_does_not_depend_on_its_neighbours(sizes, activation, output, n_threads, dtype):
    """Every number of rows up to two blocks and some, at any place; the bytes of a row alone."""
    net = make(sizes, activation, output, dtype=dtype, n_threads=n_threads)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, sizes[0])).astype(dtype)
    alone = np.concatenate([net.predict(row[np.newaxis]) for row in X])
    for n_rows in (*range(1, 201), 287, 288, 289, 383, 384, 385, 499, 500):
        first = 7 * n_rows % (501 - n_rows)
        rows = slice(first, first + n_rows)
        assert net.predict(X[rows]).tobytes() == alone[rows].tobytes(), n_rows
    order = rng.permutation(500)
    assert net.predict(X[order]).tobytes() == alone[order].tobytes()


@each("sizes, activation, output", ROW_NETS)
def test_row_among_nan_and_infinity(sizes, activation, output, dtype):
    """No arithmetic of another row touches it, on either side of a block's border."""
    net = make(sizes, activation, output, dtype=dtype)
    x = np.random.default_rng(0).normal(size=(1, sizes[0])).astype(dtype)
    alone = net.predict(x)
    for place in (0, 1, 5, 47, 94, 95, 96, 97, 191, 192, 199):
        for other in (np.nan, np.inf, np.finfo(dtype).max):
            X = np.full((200, sizes[0]), other, dtype)
            X[place] = x
            assert net.predict(X)[place].tobytes() == alone.tobytes(), (place, other)


@each("output", ["identity", "softmax", "sigmoid"])
def test_nan_and_infinity_stay_in_their_row(output):
    """Prediction does not look for them, and does not hide them."""
    net = make(output=output)
    X, _ = data()
    wanted = net.predict(X)
    X[5, 2] = np.nan
    got = net.predict(X)
    assert np.isnan(got[5]).all()
    others = np.arange(53) != 5
    np.testing.assert_array_equal(got[others], wanted[others])


def test_activations_of_every_layer():
    net = make(activation=("relu", "gelu"))
    X, _ = data()
    found = net.activations_of(X)
    inputs, _ = reference.Twin.of(net).forward(X)
    assert len(found) == 3
    for got, wanted in zip(found, inputs[1:], strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(found[-1], net.predict(X))


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_activations_of_an_ensemble(rows):
    """Of no rows they were no shape at all."""
    net = fastnn.MLP((3, 4, 5, 2), members=2, random_state=0)
    found = net.activations_of(np.zeros((rows, 3)))
    assert [layer.shape for layer in found] == [(rows, 2, 4), (rows, 2, 5), (rows, 2)]


def test_many_threads_asked_for_few_rows():
    net = fastnn.MLP((300, 500, 2), random_state=0, n_threads=256)
    X = np.random.default_rng(0).normal(size=(2000, 300)).astype("float32")
    one = fastnn.MLP((300, 500, 2), random_state=0, n_threads=1)
    assert net.predict(X).tobytes() == one.predict(X).tobytes()
