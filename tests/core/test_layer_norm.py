"""Kernels of layer normalisation against the formula in extended precision."""

import numpy as np
from each import each

from fastnn.core import _kernels, _probes

SHAPES = [(1, 1), (3, 2), (5, 7), (4, 16), (9, 17), (33, 64), (2, 100), (7, 129), (3, 1000)]


def exact(x, gain, bias, eps):
    """z, and what it is made of, in NumPy's long double."""
    x, gain, bias = (np.asarray(a, np.longdouble) for a in (x, gain, bias))
    away = x - x.mean(axis=1, keepdims=True)
    inverse = 1 / np.sqrt((away**2).mean(axis=1, keepdims=True) + np.longdouble(eps))
    return gain * away * inverse + bias, away * inverse, inverse


def draw(shape, dtype, centre=0.0):
    rng = np.random.default_rng(shape[1])
    x = (centre + rng.normal(size=shape)).astype(dtype)
    return x, rng.normal(size=shape[1]).astype(dtype), rng.normal(size=shape[1]).astype(dtype)


@each("centre", [0.0, -3.0, 1e3, 1e6])
@each("shape", SHAPES)
@each("isa", _kernels.available_isas())
def test_values(isa, shape, centre, dtype):
    """Also where the mean is large beside the deviation: two passes, so nothing cancels."""
    x, gain, bias = draw(shape, dtype, centre)
    z, stats = _probes.layer_norm(x, gain, bias, 1e-5, isa)
    wanted, _, inverse = exact(x, gain, bias, 1e-5)
    # sums are in double, which float64 has to share with its own rounding
    few = 16 if dtype == "float32" else 128
    tolerance = few * np.finfo(dtype).eps * np.abs(wanted).max()
    np.testing.assert_allclose(z.astype(float), wanted.astype(float), rtol=0, atol=tolerance)
    np.testing.assert_allclose(stats[:, 1], inverse[:, 0].astype(float),
                               rtol=few * np.finfo(dtype).eps)


@each("shape", SHAPES)
@each("isa", _kernels.available_isas())
def test_gradients(isa, shape, dtype):
    x, gain, bias = draw(shape, dtype)
    dz = np.random.default_rng(1).normal(size=shape).astype(dtype)
    _, stats = _probes.layer_norm(x, gain, bias, 1e-3, isa)
    dx, dgain = _probes.layer_norm_gradients(dz, x, gain, stats, isa)
    _, hat, inverse = exact(x, gain, bias, 1e-3)
    g = dz * np.asarray(gain, np.longdouble)
    wanted = inverse * (g - g.mean(axis=1, keepdims=True)
                        - hat * (g * hat).mean(axis=1, keepdims=True))
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(dx, wanted.astype(float), rtol=0,
                               atol=32 * eps * max(1, float(np.abs(inverse * g).max())))
    np.testing.assert_allclose(dgain, (dz * hat).sum(axis=0).astype(float), rtol=0,
                               atol=8 * eps * shape[0] * max(1, float(np.abs(dz * hat).max())))


@each("isa", _kernels.available_isas())
def test_a_row_is_the_same_alone_and_in_a_batch(isa, dtype):
    for shape in SHAPES:
        x, gain, bias = draw(shape, dtype)
        z, stats = _probes.layer_norm(x, gain, bias, 1e-5, isa)
        dx, _ = _probes.layer_norm_gradients(x, x, gain, stats, isa)
        for r in range(len(x)):
            alone, own = _probes.layer_norm(x[r:r + 1], gain, bias, 1e-5, isa)
            assert alone.tobytes() == z[r].tobytes()
            back, _ = _probes.layer_norm_gradients(x[r:r + 1], x[r:r + 1], gain, own, isa)
            assert back.tobytes() == dx[r].tobytes()


@each("isa", _kernels.available_isas())
def test_nan_and_infinity_stay_in_their_row(isa, dtype):
    x, gain, bias = draw((6, 20), dtype)
    clean, _ = _probes.layer_norm(x, gain, bias, 1e-5, isa)
    x[1, 3], x[4, 19] = np.nan, np.inf
    z, _ = _probes.layer_norm(x, gain, bias, 1e-5, isa)
    assert np.isnan(z[1]).all() and np.isnan(z[4]).all()
    for r in (0, 2, 3, 5):
        assert z[r].tobytes() == clean[r].tobytes()
