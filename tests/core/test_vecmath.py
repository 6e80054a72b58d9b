"""Errors of csrc/vecmath.h in ulp, its limits, and that it does not depend on the place in memory.

No function may be off by more than 3 ulp, with or without FMA; the bounds here are those the header
states. `python tests/core/test_vecmath.py` prints what is measured.
"""

from functools import cache

import numpy as np
import pytest
from accurate import FUNCTIONS, HAS_WIDE, exact, normcdf, normpdf, ulp_error, wider
from each import each

from fastnn.core import _kernels, _probes

# name: bound in ulp, and where the result is a normal number: {dtype: (low, high)}
CASES = {
    "exp": (1.1, {"float32": (-87.336, 88.7), "float64": (-708.39, 709.7)}),
    "log": (1.0, {"float32": (0, 3e38), "float64": (0, 1e308)}),
    "log1p": (2.0, {"float32": (0, 1), "float64": (0, 1)}),
    "tanh": (3.0, {"float32": (-12, 12), "float64": (-22, 22)}),
    "sigmoid": (2.5, {"float32": (-87.336, 90), "float64": (-708.39, 100)}),
    "tanh_softplus": (3.5, {"float32": (-87.336, 12), "float64": (-708.39, 22)}),
    "normcdf": (3.0, {"float32": (-12.98, 9), "float64": (-37.519, 9)}),
}
EXACT_POINTS = 1000


def test_no_bound_is_above_3_5_ulp():
    assert max(bound for bound, _ in CASES.values()) <= 3.5  # tanh_softplus: 3.11 found


@cache
def arguments(name, dtype):
    """Points over the whole range, dense around 0 and 1 and where |x| is some units, on every power
    of ten, and at the ends, where the result is near the subnormal numbers."""
    rng = np.random.default_rng(0)
    low, high = CASES[name][1][dtype]
    info = np.finfo(dtype)
    n = 80_000 if dtype == "float32" else 25_000
    points = [rng.uniform(low, high, n), 10.0 ** rng.uniform(-6, 0, n), rng.uniform(0, 1, n),
              rng.uniform(1, 5, n)]
    if low < 0:
        points += [-x for x in points[1:]]
        points += [low * rng.uniform(0.97, 1, n)]
    if name == "log":
        exponents = rng.uniform(np.log10(info.tiny), np.log10(info.max), n)
        points += [10.0**exponents, rng.uniform(0.5, 2, n)]
    x = np.concatenate(points).astype(dtype)
    return x[(x >= np.asarray(low, dtype)) & (x <= np.asarray(high, dtype)) & (x != 0)]


@cache
def truth(name, dtype):
    """Arguments, and values of more than the dtype's precision."""
    x = arguments(name, dtype)
    if dtype == "float64" and not HAS_WIDE:
        x = x[:: len(x) // EXACT_POINTS]
        return x, exact(name, x)
    return x, FUNCTIONS[name](x.astype(wider(x.dtype)))


def worst(errors, x):
    """Largest error in ulp and the argument where it is found."""
    at = np.argmax(np.where(np.isnan(errors), np.inf, errors))
    return float(errors[at]), x[at]


def error(name, dtype, isa):
    x, wanted = truth(name, dtype)
    return worst(ulp_error(_probes.vecmath(name, x, isa), wanted), x)


@each("name", CASES)
def test_error_in_ulp(name, dtype, isa):
    found, at = error(name, dtype, isa)
    rounding = 0.5 if dtype == "float64" and not HAS_WIDE else 0  # of the truth itself
    assert found <= CASES[name][0] + rounding, f"{name}({at!r}) is off by {found:.2f} ulp"


@each("name", CASES)
def test_truth_is_exact(name, dtype):
    """What the functions are measured against is mpmath's value to 1/20 of an ulp."""
    x, wanted = truth(name, dtype)
    step = max(1, len(x) // EXACT_POINTS)
    x, wanted = x[::step], wanted[::step]
    unit = np.spacing(np.abs(wanted).astype(dtype)).astype(wanted.dtype)
    found, at = worst(np.abs(wanted - exact(name, x)) / unit, x)
    assert found <= 0.05, f"{name}({at!r}) is off by {found:.3f} ulp"


def test_every_function_is_measured():
    assert set(CASES) == set(_kernels.VECMATH)


GELU_ULP = 4  # Phi's error and one product's


def test_error_of_gelu(dtype, isa):
    """Of the value as long as Phi is a normal number; its derivative is a sum that passes through
    0, so the unit is that of the larger summand."""
    if dtype == "float64" and not HAS_WIDE:
        pytest.skip("numpy.longdouble is no wider than float64 here")
    x, phi = truth("normcdf", dtype)
    wide = x.astype(phi.dtype)
    found, at = worst(ulp_error(_probes.activate("gelu", x, isa), wide * phi), x)
    assert found <= GELU_ULP, f"gelu({at!r}) is off by {found:.2f} ulp"
    slope = wide * normpdf(wide)
    unit = np.spacing(np.maximum(np.abs(slope), phi).astype(dtype))
    errors = np.abs(_probes.activation_derivative("gelu", x, isa) - (slope + phi)) / unit
    found, at = worst(errors, x)
    assert found <= GELU_ULP, f"gelu'({at!r}) is off by {found:.2f} ulp"


INF = np.inf
LIMITS = {
    "exp": [(-INF, 0), (INF, INF), (0, 1), (-0.0, 1), (1e4, INF), (-1e4, 0)],
    "log": [(0, -INF), (-0.0, -INF), (INF, INF), (1, 0), (-1, np.nan), (-INF, np.nan)],
    "log1p": [(0, 0)],
    "tanh": [(-INF, -1), (INF, 1), (0, 0), (-0.0, -0.0), (1e4, 1), (-1e4, -1)],
    "sigmoid": [(-INF, 0), (INF, 1), (0, 0.5), (1e4, 1), (-1e4, 0)],
    "normcdf": [(-INF, 0), (INF, 1), (0, 0.5), (1e4, 1), (-1e4, 0)],
    "tanh_softplus": [(-INF, 0), (INF, 1), (0, 0.6), (1e4, 1), (-1e4, 0)],
}


@each("name", CASES)
def test_limits_and_nan(name, dtype, isa):
    x, expected = np.array([*LIMITS[name], (np.nan, np.nan)], dtype).T
    for shift in range(20):  # every lane of a vector, and the rest of the loop
        got = _probes.vecmath(name, np.roll(np.resize(x, 37), shift), isa)
        wanted = np.roll(np.resize(expected, 37), shift)
        exact = name not in ("normcdf",)
        np.testing.assert_allclose(got, wanted, rtol=0 if exact else 2 * np.finfo(dtype).eps)
        np.testing.assert_array_equal(np.signbit(got[wanted == 0]),
                                      np.signbit(wanted[wanted == 0]))


def test_exp_of_subnormal_results(dtype, isa):
    """The result is right to one subnormal step, or flushed to 0."""
    info = np.finfo(dtype)
    x = np.linspace(np.log(float(info.smallest_subnormal)), np.log(float(info.tiny)), 999)
    x = x.astype(dtype)
    got = _probes.vecmath("exp", x, isa).astype(np.longdouble)
    error = np.abs(got - np.exp(x.astype(np.longdouble)))
    assert (error <= 1.01 * info.smallest_subnormal).all()


def test_normcdf_of_subnormal_results(dtype, isa):
    """3 ulp of the smallest normal number are 3 subnormal steps; or flushed to 0."""
    info = np.finfo(dtype)
    x = np.linspace(CASES["normcdf"][1][dtype][0], {"float32": -14.6, "float64": -39}[dtype], 999)
    x = x.astype(dtype)
    error = _probes.vecmath("normcdf", x, isa) - normcdf(x.astype(wider(x.dtype)))
    assert (np.abs(error) <= 3 * info.smallest_subnormal.astype(wider(x.dtype))).all()


@each("name", sorted(CASES.keys() - {"log"}))  # which has a test of its own
def test_subnormal_arguments(name, dtype, isa):
    """f(x) = f(0) + x f'(0) to the last digit."""
    info = np.finfo(dtype)
    x = np.array([1, 2, 3, 2**20]) * info.smallest_subnormal
    x = np.concatenate([x, [info.tiny]]).astype(dtype)
    wanted = {"exp": 1 + 0 * x, "sigmoid": 0.5 + 0 * x, "normcdf": 0.5 + 0 * x,
              "tanh_softplus": 0.6 + 0 * x}.get(name, x)
    got = _probes.vecmath(name, x, isa)
    np.testing.assert_allclose(got, wanted, rtol=info.eps, atol=0)


def test_log_of_subnormal_arguments(dtype, isa):
    info = np.finfo(dtype)
    x = (np.arange(1, 2000) * float(info.tiny) / 2000).astype(dtype)
    np.testing.assert_allclose(_probes.vecmath("log", x, isa), np.log(x), rtol=2 * info.eps)


@each("name", CASES)
def test_result_does_not_depend_on_the_place(name, dtype, isa):
    """The same argument gives the same bits in the vector loop and in what is left over."""
    x = arguments(name, dtype)[:256]
    whole = _probes.vecmath(name, x, isa)
    for size in (1, 2, 3, 7, 8, 15, 16, 17, 31, 33):
        pieces = [_probes.vecmath(name, x[i : i + size], isa) for i in range(0, 256, size)]
        assert np.concatenate(pieces).tobytes() == whole.tobytes()


if __name__ == "__main__":
    for name in CASES:
        for dtype in ("float32", "float64"):
            for isa in _kernels.available_isas():
                found, at = error(name, dtype, isa)
                print(f"{name:8} {dtype} {isa:9} {found:.2f} ulp at {at:.9g}")
