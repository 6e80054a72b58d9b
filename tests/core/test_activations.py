"""Every activation of the registry, in both dtypes and all instruction sets, against the twin."""

import numpy as np
import reference
from each import each

from fastnn.core import _kernels, _probes

NAMES = list(_kernels.ACTIVATIONS)
SIZES = [*range(1, 34), 2**16 - 1, 2**16, 2**16 + 1]

# Error of the kernels relative to max(|value|, 1), in units of eps: a sum or product of the
# functions of vecmath.h and the cancellation in 1 - a^2, a (1 - a), 1 + z sigmoid(-z).
# A row that the twin does not know yet may lose some more before anyone has looked.
VALUE_EPS = {name: 4 if reference.knows(name) else 16 for name in NAMES}
DERIVATIVE_EPS = {name: 8 if reference.knows(name) else 32 for name in NAMES}


def points(dtype, low=-30, high=30):
    """Every scale on both sides of 0, and 0 itself."""
    rng = np.random.default_rng(1)
    small = 10.0 ** rng.uniform(-12, 0, 2000)
    z = np.concatenate([rng.uniform(low, high, 4000), rng.normal(size=2000), small, -small, [0.0]])
    return z.astype(dtype)


def assert_close(got, wanted, eps_count, dtype):
    wanted = np.asarray(wanted, float)
    size = np.maximum(np.abs(wanted), 1)
    error = np.abs(got.astype(float) - wanted) / size / np.finfo(dtype).eps
    assert error.max() <= eps_count, f"{error.max():.1f} eps"


@each("name", NAMES)
def test_value_is_the_twins(name, dtype, isa):
    z = points(dtype)
    f, _ = reference.activation(name)
    got = _probes.activate(name, z, isa)
    assert got.dtype == dtype
    assert_close(got, f(z.astype(float)), VALUE_EPS[name], dtype)


@each("name", NAMES)
def test_derivative_is_the_twins(name, dtype, isa):
    z = points(dtype)
    _, df = reference.activation(name)
    assert_close(_probes.activation_derivative(name, z, isa), df(z.astype(float)),
                 DERIVATIVE_EPS[name], dtype)


def slope(f, z, h):
    """4th-order central difference."""
    return (8 * (f(z + h) - f(z - h)) - (f(z + 2 * h) - f(z - 2 * h))) / (12 * h)


@each("name", NAMES)
def test_derivative_by_finite_differences(name, isa):
    """The kernel's own value, not the twin's: a new row of the table is judged here."""
    def f(z):
        return _probes.activate(name, z, isa)

    z = points("float64", -20, 20)
    z = z[np.abs(z) > 4e-3]
    wanted = slope(f, z, 1e-3)
    size = np.maximum(1, np.abs(wanted))
    smooth = np.abs(wanted - slope(f, z, 5e-4)) <= 1e-9 * size  # no kink within the difference
    assert smooth.mean() > 0.99
    error = np.abs(_probes.activation_derivative(name, z, isa) - wanted) / size
    assert error[smooth].max() <= 1e-9


@each("name", NAMES)
def test_float32_is_float64_rounded(name, isa):
    """Value and derivative both, within what single precision allows."""
    z = points("float32")
    for kernel, count in ((_probes.activate, VALUE_EPS[name]),
                          (_probes.activation_derivative, DERIVATIVE_EPS[name])):
        assert_close(kernel(name, z, isa), kernel(name, z.astype(float), isa), count, "float32")


@each("name", NAMES)
def test_instruction_sets_agree(name, dtype):
    z = points(dtype)
    for kernel, count in ((_probes.activate, VALUE_EPS[name]),
                          (_probes.activation_derivative, DERIVATIVE_EPS[name])):
        results = [kernel(name, z, isa) for isa in _kernels.available_isas()]
        for other in results[1:]:
            assert_close(other, results[0], count, dtype)


@each("name", NAMES)
def test_every_size_gives_the_same_bits(name, dtype, isa):
    z = points(dtype)
    z = np.resize(z, SIZES[-1])
    for kernel in (_probes.activate, _probes.activation_derivative):
        whole = kernel(name, z, isa)
        for size in SIZES:
            assert kernel(name, z[:size], isa).tobytes() == whole[:size].tobytes(), size


@each("name", NAMES)
def test_nan_stays_nan(name, dtype, isa):
    for size in (1, 5, 16, 33):
        for place in range(size):
            z = np.linspace(-3, 3, size).astype(dtype)
            z[place] = np.nan
            got = _probes.activate(name, z, isa)
            assert np.isnan(got[place])
            assert np.isnan(got).sum() == 1


INF = np.inf
LIMITS = {  # f(-inf), f(inf), f'(-inf), f'(inf)
    "identity": (-INF, INF, 1, 1),
    "sigmoid": (0, 1, 0, 0),
    "tanh": (-1, 1, 0, 0),
    "relu": (0, INF, 0, 1),
    "leaky_relu": (-INF, INF, 0.01, 1),
    "elu": (-1, INF, 0, 1),
    "gelu": (0, INF, 0, 1),
    "silu": (0, INF, 0, 1),
    "softplus": (0, INF, 0, 1),
    "exp": (0, INF, 0, INF),
    "step": (0, 1, 0, 0),
    "selu": (-1.7580993408473768, INF, 0, 1.0507009873554805),
    "mish": (0, INF, 0, 1),
    "hard_tanh": (-1, 1, 0, 0),
    "hard_sigmoid": (0, 1, 0, 0),
    "relu6": (0, 6, 0, 0),
}


@each("name", LIMITS)
@each("size", [1, 17])
def test_limits_at_infinity(name, size, dtype, isa):
    low, high, slope_low, slope_high = np.array(LIMITS[name], dtype)
    for z, value, slope in ((-INF, low, slope_low), (INF, high, slope_high)):
        z = np.full(size, z, dtype)
        np.testing.assert_array_equal(_probes.activate(name, z, isa), value)
        np.testing.assert_array_equal(_probes.activation_derivative(name, z, isa), slope)


@each("name", NAMES)
def test_large_finite_arguments(name, dtype, isa):
    """Where exp() inside has over- or underflowed the result is still that of the formula.

    The derivative may come from f(z), and then is off by the rounding error of an f(z) near 1.
    """
    z = np.array([-1e30, -1e4, -800, -89, 89, 800, 1e4, 1e30], dtype)
    info = np.finfo(dtype)
    with np.errstate(over="ignore"):
        value, slope = (f(z.astype(float)).astype(dtype) for f in reference.activation(name))
    np.testing.assert_allclose(_probes.activate(name, z, isa), value, rtol=100 * info.eps,
                               atol=100 * info.tiny)
    np.testing.assert_allclose(_probes.activation_derivative(name, z, isa), slope,
                               rtol=100 * info.eps, atol=info.eps)


@each("name", NAMES)
def test_subnormal_arguments(name, dtype, isa):
    """f of next to nothing is f(0) plus next to nothing."""
    tiny = np.finfo(dtype).smallest_subnormal
    z = np.array([tiny, -tiny] * 9, dtype)
    if name == "step":
        wanted = z > 0
    else:
        wanted = np.broadcast_to(_probes.activate(name, np.zeros(1, dtype), isa), z.shape)
    np.testing.assert_allclose(_probes.activate(name, z, isa), wanted, rtol=0,
                               atol=np.finfo(dtype).tiny)


@each("name, value, slope", [
    ("relu", 0, 0), ("leaky_relu", 0, 1), ("elu", 0, 1), ("step", 1, 0),
    ("selu", 0, 1.7580993408473768), ("relu6", 0, 0)])
def test_at_the_kink(name, value, slope, dtype, isa):
    zero = np.zeros(3, dtype)
    np.testing.assert_array_equal(_probes.activate(name, zero, isa), value)
    np.testing.assert_array_equal(_probes.activation_derivative(name, zero, isa),
                                  np.asarray(slope, dtype))


def test_aliases_name_the_same_activation():
    z = points("float64")
    assert _kernels.ALIASES["logistic"] == "sigmoid"
    for alias, name in _kernels.ALIASES.items():
        assert name in _kernels.ACTIVATIONS
        assert alias not in _kernels.ACTIVATIONS
        assert (_probes.activate(alias, z) == _probes.activate(name, z)).all()


# ---- softmax ----


@each("n", [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 100, 1000])
def test_softmax(n, dtype, isa):
    rng = np.random.default_rng(n)
    z = rng.normal(scale=5, size=(13, n)).astype(dtype)
    got = _probes.softmax(z, isa)
    np.testing.assert_allclose(got, reference.softmax(z.astype(float)),
                               rtol=60 * np.finfo(dtype).eps)
    np.testing.assert_allclose(got.sum(axis=1), 1, rtol=4 * np.finfo(dtype).eps)


def test_softmax_of_large_numbers(dtype, isa):
    """Nothing overflows, and adding a constant to a row changes nothing."""
    big = np.finfo(dtype).max / 4
    z = np.array([[big, big, -big], [1e4, 1e4 - 1, 0], [-1e4, -1e4 - 1, -2e4]], dtype)
    p = _probes.softmax(z, isa)
    np.testing.assert_array_equal(p[0], [0.5, 0.5, 0])
    np.testing.assert_array_equal(p[1], p[2])
    np.testing.assert_allclose(p[1, :2], [1 / (1 + np.exp(-1)), 1 / (1 + np.e)],
                               rtol=8 * np.finfo(dtype).eps)


def test_softmax_keeps_nan_in_its_row(dtype, isa):
    z = np.zeros((3, 5), dtype)
    for place in range(5):
        z[1] = 0
        z[1, place] = np.nan
        p = _probes.softmax(z, isa)
        assert np.isnan(p[1]).all()
        assert (p[[0, 2]] == np.asarray(0.2, dtype)).all()


def test_softmax_of_minus_infinity(dtype, isa):
    p = _probes.softmax(np.array([[-INF, 0, -INF, 0]], dtype), isa)
    np.testing.assert_array_equal(p, [[0, 0.5, 0, 0.5]])
