"""Every loss of the registry, in both dtypes and all instruction sets, against the twin."""

import numpy as np
import pytest
import reference
from each import each

from fastnn.core import _kernels, _probes

NAMES = list(_kernels.LOSSES)
SHAPES = [(1, 1), (1, 2), (2, 1), (3, 5), (7, 17), (33, 3), (31, 31), (5, 513), (1000, 1)]


def case(name, shape, dtype, seed=0, scale=3.0):
    """Raw outputs away from kinks and targets that the loss is made for."""
    rng = np.random.default_rng(seed)
    z = rng.normal(scale=scale, size=shape)
    z += np.copysign(0.01, z)
    if name == "cross_entropy":
        y = rng.random(shape)
        y /= y.sum(axis=1, keepdims=True)
    elif name == "poisson":
        y = rng.poisson(2, shape)
    elif name == "squared_error":
        y = rng.normal(scale=scale, size=shape)
    else:
        y = rng.integers(0, 2, shape)
    return z.astype(dtype), y.astype(dtype)


def total(name, z, y, weights=None):
    """The twin's sum over rows, without the mean over outputs that the kernel leaves out too."""
    rows, dz = reference.loss(name, z.astype(float), y if y.ndim == 1 else y.astype(float),
                              reduction="sum")
    if _kernels.LOSSES[name].reduction == "mean":
        rows = rows * z.shape[1]
    s = np.ones(len(z)) if weights is None else weights.astype(float)
    return (s * rows).sum(), s[:, None] * dz


def assert_sums_agree(got, wanted, dtype, count=20):
    (value, dz), (wanted_value, wanted_dz) = got, wanted
    eps = float(np.finfo(dtype).eps)
    assert value == pytest.approx(wanted_value, rel=count * eps, abs=0)
    scale = np.maximum(1, np.abs(wanted_dz))
    assert (np.abs(dz - wanted_dz) / scale).max() <= count * eps


@each("name", NAMES)
@each("shape", SHAPES)
@each("weighted", [False, True])
def test_value_and_derivative_are_the_twins(name, shape, weighted, dtype, isa):
    z, y = case(name, shape, dtype)
    weights = np.linspace(0, 2, shape[0] + 1)[1:].astype(dtype) if weighted else None
    got = _probes.loss(name, z, y, weights, isa)
    assert got[1].dtype == dtype
    assert_sums_agree(got, total(name, z, y, weights), dtype)


@each("shape", SHAPES)
@each("weighted", [False, True])
def test_labels_equal_one_hot(shape, weighted, dtype, isa):
    z, _ = case("cross_entropy", shape, dtype)
    labels = np.random.default_rng(1).integers(0, shape[1], shape[0]).astype(np.int32)
    weights = np.linspace(0, 2, shape[0] + 1)[1:].astype(dtype) if weighted else None
    got = _probes.loss("cross_entropy", z, labels, weights, isa)
    rows = reference.one_hot(labels, shape[1]).astype(dtype)
    one_hot = _probes.loss("cross_entropy", z, rows, weights, isa)
    wanted = total("cross_entropy", z, labels, weights)
    for value, dz in (got, one_hot):
        assert value == pytest.approx(wanted[0], rel=20 * float(np.finfo(dtype).eps), abs=0)
        np.testing.assert_allclose(dz, wanted[1], rtol=0, atol=20 * float(np.finfo(dtype).eps))


@each("name", NAMES)
@each("shape", [(1, 1), (3, 5), (7, 17)])
def test_derivative_by_finite_differences(name, shape, isa):
    """The kernel's own value, not the twin's: a new row of the table is judged here."""
    z, y = case(name, shape, "float64", seed=2, scale=1.5)
    h = 1e-3
    _, dz = _probes.loss(name, z, y, isa=isa)
    for r, j in np.ndindex(*shape):
        def f(step, r=r, j=j):
            moved = z[[r]].copy()
            moved[0, j] += step
            return _probes.loss(name, moved, y[[r]], isa=isa)[0]

        slope = (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)
        assert dz[r, j] == pytest.approx(slope, rel=1e-8, abs=1e-10)


@each("name", NAMES)
def test_instruction_sets_and_dtypes_agree(name):
    z, y = case(name, (33, 17), "float32")
    wanted = _probes.loss(name, z.astype(float), y.astype(float))
    for isa in _kernels.available_isas():
        assert_sums_agree(_probes.loss(name, z.astype(float), y.astype(float), isa=isa), wanted,
                          "float64")
        assert_sums_agree(_probes.loss(name, z, y, isa=isa), wanted, "float32")


@each("name", NAMES)
def test_weight_of_zero_removes_a_row(name, dtype, isa):
    z, y = case(name, (9, 3), dtype)
    weights = np.array([0, 1, 2, 0, 1, 1, 0.5, 3, 0], dtype)
    kept = weights > 0
    value, dz = _probes.loss(name, z, y, weights, isa)
    only = _probes.loss(name, z[kept], y[kept], weights[kept], isa)
    assert value == pytest.approx(only[0], rel=4 * float(np.finfo(dtype).eps), abs=0)
    np.testing.assert_array_equal(dz[kept], only[1])
    assert not dz[~kept].any()


@each("name", NAMES)
def test_nan_reaches_the_loss(name, dtype, isa):
    for place in range(17):
        z, y = case(name, (1, 17), dtype)
        z[0, place] = np.nan
        value, dz = _probes.loss(name, z, y, isa=isa)
        assert np.isnan(value)
        assert np.isnan(dz[0, place])


@each("as_labels", [True, False])
@each("z, label, value", [
    ([1000, 0], 0, 0), ([1000, 0], 1, 1000), ([-1000, 0], 0, 1000), ([1e30, 1e30], 0, np.log(2)),
    ([1000, 999], 0, np.log1p(np.exp(-1))), ([-999, -1000], 1, np.log1p(np.e))])
def test_cross_entropy_is_stable(z, label, value, as_labels, dtype, isa):
    """Nothing overflows, and a constant added to a row costs no digits."""
    z, eps = np.array([z], dtype), float(np.finfo(dtype).eps)
    y = np.array([label], np.int32) if as_labels else reference.one_hot([label], 2).astype(dtype)
    got, dz = _probes.loss("cross_entropy", z, y, isa=isa)
    assert got == pytest.approx(value, rel=4 * eps, abs=0)
    wanted = reference.softmax(z.astype(float)) - reference.one_hot([label], 2)
    np.testing.assert_allclose(dz, wanted, rtol=0, atol=4 * eps)


@each("z, y, value", [
    (1000, 1, 0), (1000, 0, 1000), (-1000, 0, 0), (-1000, 1, 1000), (0, 1, np.log(2))])
def test_binary_cross_entropy_is_stable(z, y, value, dtype, isa):
    got, dz = _probes.loss("binary_cross_entropy", np.array([[z]], dtype),
                            np.array([[y]], dtype), isa=isa)
    assert got == pytest.approx(value, rel=4 * float(np.finfo(dtype).eps), abs=0)
    assert dz[0, 0] == pytest.approx(reference.special.expit(z) - y, abs=float(np.finfo(dtype).eps))


def test_poisson_is_zero_at_the_target(dtype, isa):
    """Half the deviance: 0 where e^z = y, and e^z where y = 0."""
    y = np.array([[1, 2, 50, 0]], dtype)
    z = np.log(np.array([[1, 2, 50, 3]])).astype(dtype)
    value, dz = _probes.loss("poisson", z, y, isa=isa)
    assert value == pytest.approx(3, abs=300 * float(np.finfo(dtype).eps))
    np.testing.assert_allclose(dz, [[0, 0, 0, 3]], atol=300 * float(np.finfo(dtype).eps))


def test_registry_of_losses():
    for name, info in _kernels.LOSSES.items():
        assert info.name == name
        assert info.link == "softmax" or info.link in _kernels.ACTIVATIONS
        assert info.reduction in ("sum", "mean")
