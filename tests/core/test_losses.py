"""Every loss of the registry, in both dtypes and all instruction sets, against the twin."""

import numpy as np
import pytest
import reference
from each import each
from scipy import special

from fastnn import losses
from fastnn.core import _kernels, _probes

NAMES = list(_kernels.LOSSES)
SHAPES = [(1, 1), (1, 2), (2, 1), (3, 5), (7, 17), (33, 3), (31, 31), (5, 513), (1000, 1)]


def fitting(name, shape):
    """A shape that the loss takes: an even number of outputs where it needs them."""
    even = _kernels.LOSSES[name].reduction == "half"
    return (shape[0], shape[1] + shape[1] % 2) if even else shape


def case(name, shape, dtype, seed=0, scale=3.0):
    """Raw outputs away from kinks and targets that the loss is made for."""
    rng = np.random.default_rng(seed)
    shape = fitting(name, shape)
    z = rng.normal(scale=scale, size=shape)
    z += np.copysign(0.01, z)
    info = _kernels.LOSSES[name]
    if info.whole_rows and info.targets == "unit":
        y = rng.random(shape)
        y /= y.sum(axis=1, keepdims=True)
    elif info.targets == "nonnegative":
        y = rng.poisson(2, shape)
    elif info.targets == "positive":
        y = rng.gamma(2, size=shape)
    elif info.targets == "real":
        y = rng.normal(scale=scale, size=shape)
        y = np.where(np.abs(np.abs(z - y) - KINK) < 0.01, z + 2 * KINK, y)  # of huber
        y = np.where(np.abs(z - y) < 0.01, z + 0.3, y)
    else:
        y = rng.integers(0, 2, shape)
        z = np.where(np.abs(np.abs(z) - 1) < 0.01, 1.1 * z, z)  # of the hinges
    return z.astype(dtype), y.astype(dtype)


KINK = 0.7  # delta of huber
PARAMETERS = {"huber": KINK, "quantile": 0.3, "tweedie": 1.3, "focal": 1.7, "binary_focal": 0.6}
OBJECTS = {"huber": losses.Huber(KINK), "quantile": losses.Quantile(0.3),
           "tweedie": losses.Tweedie(1.3), "focal": losses.Focal(1.7),
           "binary_focal": losses.Focal(0.6)}


def compute(name, z, y, *more, **settings):
    """The kernel, with the parameters from above."""
    if name in PARAMETERS:
        settings["parameters"] = [PARAMETERS[name]]
    return _probes.loss(name, z, y, *more, **settings)


def total(name, z, y, weights=None):
    """The twin's sum over rows, without the mean over outputs that the kernel leaves out too."""
    info = _kernels.LOSSES[name]
    rows, dz = reference.loss(OBJECTS.get(name, name), z.astype(float),
                              y if y.ndim == 1 else y.astype(float), info.link, reduction="sum")
    rows = rows * {"mean": z.shape[1], "half": z.shape[1] // 2, "sum": 1}[info.reduction]
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
    got = compute(name, z, y, weights, isa)
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
    _, dz = compute(name, z, y, isa=isa)
    for r, j in np.ndindex(*z.shape):
        def f(step, r=r, j=j):
            moved = z[[r]].copy()
            moved[0, j] += step
            return compute(name, moved, y[[r]], isa=isa)[0]

        slope = (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)
        assert dz[r, j] == pytest.approx(slope, rel=1e-8, abs=1e-10)


@each("name", NAMES)
def test_instruction_sets_and_dtypes_agree(name):
    z, y = case(name, (33, 17), "float32")
    wanted = compute(name, z.astype(float), y.astype(float))
    for isa in _kernels.available_isas():
        assert_sums_agree(compute(name, z.astype(float), y.astype(float), isa=isa), wanted,
                          "float64")
        assert_sums_agree(compute(name, z, y, isa=isa), wanted, "float32")


@each("name", NAMES)
def test_weight_of_zero_removes_a_row(name, dtype, isa):
    z, y = case(name, (9, 3), dtype)
    weights = np.array([0, 1, 2, 0, 1, 1, 0.5, 3, 0], dtype)
    kept = weights > 0
    value, dz = compute(name, z, y, weights, isa)
    only = compute(name, z[kept], y[kept], weights[kept], isa)
    assert value == pytest.approx(only[0], rel=4 * float(np.finfo(dtype).eps), abs=0)
    np.testing.assert_array_equal(dz[kept], only[1])
    assert not dz[~kept].any()


@each("name", NAMES)
def test_nan_reaches_the_loss(name, dtype, isa):
    for place in range(17):
        z, y = case(name, (1, 17), dtype)
        z[0, place] = np.nan
        value, dz = compute(name, z, y, isa=isa)
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
    assert dz[0, 0] == pytest.approx(special.expit(z) - y, abs=float(np.finfo(dtype).eps))


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
        assert info.reduction in ("sum", "mean", "half")
        assert info.targets in ("real", "unit", "nonnegative", "positive")
        assert 0 <= info.n_parameters <= 4


@each("shape", [(1, 1), (3, 5), (33, 3), (5, 33), (3, 513), (2, 3000)])
@each("weighted", [False, True])
def test_label_smoothing(shape, weighted, dtype, isa):
    """Labels and rows of targets, in blocks that are transposed and in rows too long for that."""
    z, y = case("cross_entropy", shape, dtype)
    labels = np.random.default_rng(1).integers(0, shape[1], shape[0]).astype(np.int32)
    weights = np.linspace(0, 2, shape[0] + 1)[1:].astype(dtype) if weighted else None
    s = np.ones(shape[0]) if weights is None else weights.astype(float)
    eps = float(np.finfo(dtype).eps)
    for given in (labels, reference.one_hot(labels, shape[1]).astype(dtype), y):
        value, dz = _probes.loss("cross_entropy", z, given, weights, isa, parameters=[0.2])
        rows, wanted = reference.loss(losses.CrossEntropy(0.2), z.astype(float),
                                      given if given.ndim == 1 else given.astype(float), "softmax")
        assert value == pytest.approx((s * rows).sum(), rel=50 * eps, abs=0)
        np.testing.assert_allclose(dz, s[:, None] * wanted, rtol=0, atol=50 * eps)


@each("shape", [(1, 1), (33, 3), (5, 33), (2, 3000)])
def test_focal_takes_labels(shape, dtype, isa):
    z, _ = case("focal", shape, dtype)
    labels = np.random.default_rng(1).integers(0, shape[1], shape[0]).astype(np.int32)
    by_label = compute("focal", z, labels, isa=isa)
    by_row = compute("focal", z, reference.one_hot(labels, shape[1]).astype(dtype), isa=isa)
    assert by_label[0] == by_row[0]
    np.testing.assert_array_equal(by_label[1], by_row[1])


def test_parameters_of_each_output(dtype, isa):
    z, y = case("quantile", (9, 3), dtype)
    levels = [0.05, 0.5, 0.95]
    got = _probes.loss("quantile", z, y, isa=isa, parameters=[[level] for level in levels])
    rows, dz = reference.loss(losses.Quantile(levels), z.astype(float), y.astype(float))
    assert_sums_agree(got, (3 * rows.sum(), 3 * dz), dtype)
    for j, level in enumerate(levels):
        alone = _probes.loss("quantile", z[:, [j]], y[:, [j]], isa=isa, parameters=[level])
        np.testing.assert_array_equal(alone[1][:, 0], got[1][:, j])


@each("z, y", [(90, 1), (-90, 1), (30, 50), (-30, 0), (5, 1e-3)])
@each("power", [1.01, 1.5, 1.99])
def test_deviances_far_out(z, y, power, isa):
    """No difference of infinities, and right where the power comes near its ends."""
    got, dz = _probes.loss("tweedie", np.array([[float(z)]]), np.array([[float(y)]]), isa=isa,
                           parameters=[power])
    rows, slope = reference.loss(losses.Tweedie(power), np.array([[z]]), np.array([[y]]), "exp")
    assert got == pytest.approx(rows[0], rel=1e-9)
    assert dz[0, 0] == pytest.approx(slope[0, 0], rel=1e-12)


@each("d", [0.0, 1e-30, 1e-6, 1e-3, 0.4999, 0.5001, 3.0, 1000.0])
def test_log_cosh_keeps_its_digits(d, dtype, isa):
    got, dz = _probes.loss("log_cosh", np.array([[d]], dtype), np.array([[0]], dtype), isa=isa)
    d = float(np.array(d, dtype))
    wanted = np.log1p(2 * np.sinh(d / 2) ** 2) if d < 100 else d - np.log(2)
    tiny = float(np.finfo(dtype).tiny)
    assert got == pytest.approx(wanted, rel=10 * float(np.finfo(dtype).eps), abs=tiny)
    assert dz[0, 0] == pytest.approx(np.tanh(d), rel=4 * float(np.finfo(dtype).eps))


@each("label", [0, 1])
@each("weighted", [False, True])
def test_focal_at_the_ends_of_the_dtype(label, weighted, dtype, isa):
    """Right costs nothing; wrong has the slope of cross-entropy, as p log p is 0 at p = 0."""
    far = np.finfo(dtype).max
    z, weights = np.array([[far, -far]], dtype), np.array([0.5], dtype) if weighted else None
    value, dz = compute("focal", z, np.array([label], np.int32), weights, isa)
    assert value == (0 if label == 0 else np.inf)
    half = 0.5 if weighted else 1
    np.testing.assert_array_equal(dz, [[half * label, -half * label]])
    value, dz = compute("binary_focal", z, np.array([[1 - label, label]], dtype), weights, isa)
    assert (value == 0) if label == 0 else value > far * half
    np.testing.assert_allclose(dz, [[half * label, -half * label]])


def test_gaussian_nll_of_a_variance_below_the_dtype(dtype, isa):
    """A mean that is right is no 0 * inf: the value is s / 2, and s is to fall further."""
    low = -100.0 if dtype == "float32" else -720.0
    for away, weight in ((0.0, 1.0), (-0.0, 2.0)):
        value, dz = _probes.loss("gaussian_nll", np.array([[away, low]], dtype),
                                 np.zeros((1, 2), dtype), np.array([weight], dtype), isa)
        assert value == weight * low / 2
        np.testing.assert_array_equal(dz, [[0, weight / 2]])
    value, dz = _probes.loss("gaussian_nll", np.array([[1.0, low]], dtype), np.zeros((1, 2), dtype),
                             isa=isa)
    largest = float(np.finfo(dtype).max)
    assert value == pytest.approx(largest / 2, rel=1e-6)
    np.testing.assert_allclose(dz, [[largest, -largest / 2]], rtol=1e-6)
