"""Predictions of networks with layers that are not dense: the twin's, and each row by itself."""

import math
from fractions import Fraction

import numpy as np
import reference
import scipy.sparse
from layer_networks import data, networks, start

import fastnn
from fastnn import Activation, Dense, LayerNorm, Residual

COUNT = 40
TOLERANCE = {"float64": 1e-13, "float32": 1e-5}
ROWS = (1, 2, 15, 16, 95, 96, 97, 200)  # around the lanes and the rows of a block


def made(spec, n_threads=1):
    net = fastnn.MLP.of(spec.layers, n_in=spec.n_in, output=spec.output, dtype=spec.dtype,
                        n_threads=n_threads, random_state=0)
    start(net)
    return net


def close(got, wanted, dtype, name):
    assert got.dtype == dtype
    np.testing.assert_allclose(got, wanted, rtol=0, err_msg=name,
                               atol=TOLERANCE[dtype] * max(1, np.abs(wanted).max()))


def test_predictions_are_the_twins(dtype):
    """Dense and sparse rows, into an array of the caller's, too."""
    for name, spec, loss, labels in networks(COUNT, dtype=dtype, dropout=0.3):
        net = made(spec)
        twin = reference.Twin.of(net)
        for rows in ROWS:
            X, _ = data(spec, loss, labels, rows)
            got = net.predict(X)
            close(got, twin.predict(X), dtype, name)
            out = np.full_like(got, np.nan)
            assert net.predict(scipy.sparse.csr_array(X), out=out) is out
            np.testing.assert_array_equal(out, got)


def test_activations_of_every_layer_are_the_twins(dtype):
    """One array for each dense layer: what the next one reads."""
    for name, spec, loss, labels in networks(COUNT, dtype=dtype):
        net = made(spec)
        X, _ = data(spec, loss, labels, 20)
        found = net.activations_of(X)
        (_, *wanted), _ = reference.Twin.of(net).forward(X)
        assert len(found) == len(wanted) == len(net.weights), name
        for pair in zip(found, wanted, strict=True):
            close(*pair, dtype, name)
        np.testing.assert_array_equal(found[-1], net.predict(X))


def test_a_row_has_the_same_bytes_alone_and_in_any_batch(dtype):
    for name, spec, loss, labels in networks(COUNT, dtype=dtype):
        net = made(spec)
        X, _ = data(spec, loss, labels, 130)
        wanted = net.predict(X)
        for rows in (slice(1), slice(7, 8), slice(129, 130), slice(3, 20), slice(30, 127)):
            assert net.predict(X[rows]).tobytes() == wanted[rows].tobytes(), name
        assert net.predict(X[::-1].copy()).tobytes() == wanted[::-1].tobytes(), name
        X[5] = np.nan
        rest = np.arange(130) != 5
        np.testing.assert_array_equal(net.predict(X)[rest], wanted[rest])
        assert np.isnan(net.predict(X)[5]).any(), name


def test_same_bytes_for_any_number_of_threads(dtype):
    """Blocks enough for all of them, W in panels; wide layers, each with a buffer of its own."""
    layers = [LayerNorm(), Dense(600, "relu"),
              Residual([Dense(600), LayerNorm(), Residual([Activation("tanh"), Dense(600)])]),
              Activation("gelu"), Dense(5)]
    nets = [fastnn.MLP.of(layers, n_in=40, dtype=dtype, random_state=0, n_threads=n_threads)
            for n_threads in (1, 2, 3, 8)]
    X = np.random.default_rng(0).normal(size=(1000, 40)).astype(dtype)
    wanted = nets[0].predict(X)
    close(wanted[:10], reference.Twin.of(nets[0]).predict(X[:10]), dtype, "wide")
    for net in nets:
        assert net.predict(X).tobytes() == wanted.tobytes()
        assert net.predict(X[:77]).tobytes() == wanted[:77].tobytes()


def exactly_normed(row, eps):
    """(x - mean) / sqrt(variance + eps), mean and variance being those of the numbers as they are.
    """
    row = [Fraction(float(x)) for x in row]
    mean = sum(row) / len(row)
    variance = sum((x - mean) ** 2 for x in row) / len(row)
    return [float(x - mean) / math.sqrt(float(variance) + eps) for x in row]


def test_fresh_networks_start_with_gains_of_1_and_biases_of_0(dtype):
    """So that z of a norm has mean 0 and variance 1 in each row."""
    for initializer in ("glorot_uniform", "zeros"):
        net = fastnn.MLP.of([LayerNorm(), Dense(7), LayerNorm(1e-12), Dense(2)], n_in=5,
                            dtype=dtype, initializer=initializer, random_state=0)
        for name, array in net.named_parameters().items():
            if name.endswith(("gain", "bias")):
                assert (array == name.endswith("gain")).all(), name
            else:
                assert array.any() == (initializer != "zeros"), name
    net = fastnn.MLP.of([Dense(50), LayerNorm(1e-12)], n_in=5, dtype=dtype, random_state=0)
    z = net.predict(np.random.default_rng(0).normal(size=(20, 5)))
    np.testing.assert_allclose(z.mean(axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(z.var(axis=1), 1, rtol=1e-5)


def test_norm_of_hard_rows(dtype):
    """Equal numbers, a mean that is large against the deviations, one unit, zeros."""
    for n in (1, 2, 7, 16, 33, 200):
        net = fastnn.MLP.of([Dense(n), LayerNorm(1e-5)], n_in=n, dtype=dtype)
        gain, bias, rng = np.linspace(1, 2, n), np.linspace(-1, 1, n), np.random.default_rng(n)
        net.set_weights([np.eye(n), np.zeros(n), gain, bias])
        X = np.concatenate([np.full((1, n), 3.1), np.zeros((1, n)), np.full((1, n), -1e4),
                            1000 + rng.normal(size=(3, n)), 1e-6 * rng.normal(size=(3, n)),
                            1e6 * rng.normal(size=(3, n))]).astype(dtype)
        wanted = gain * np.array([exactly_normed(row, 1e-5) for row in X]) + bias
        np.testing.assert_allclose(net.predict(X), wanted, rtol=0, err_msg=f"{n} units",
                                   atol=8 * np.finfo(dtype).eps * np.abs(wanted).max())
