"""Errors of csrc/vecmath.h in ulp, its limits, and that it does not depend on the place in memory.

The bounds are those the header states; `python tests/kernels/test_vecmath.py` prints what is
measured.
"""

import numpy as np
import pytest
from accurate import FUNCTIONS, HAS_WIDE, ulp_error, wider

from fastnn import _kernels

# name: bound in ulp, and where the result is a normal number: {dtype: (low, high)}
CASES = {
    "exp": (1.1, {"float32": (-87.3, 88.7), "float64": (-708, 709.7)}),
    "log": (1.0, {"float32": (0, 3e38), "float64": (0, 1e308)}),
    "log1p": (2.0, {"float32": (0, 1), "float64": (0, 1)}),
    "tanh": (2.5, {"float32": (-12, 12), "float64": (-22, 22)}),
    "sigmoid": (2.5, {"float32": (-87.3, 90), "float64": (-708, 100)}),
    "normcdf": (5.0, {"float32": (-12.9, 9), "float64": (-37.4, 9)}),
}


def arguments(name, dtype):
    """Points over the whole range, dense around 0 and 1, and on every power of ten."""
    rng = np.random.default_rng(0)
    low, high = CASES[name][1][dtype]
    info = np.finfo(dtype)
    points = [rng.uniform(low, high, 40_000), 10.0 ** rng.uniform(-6, 0, 20_000),
              rng.uniform(0, 1, 20_000)]
    if low < 0:
        points += [-points[1], -points[2]]
    if name == "log":
        exponents = rng.uniform(np.log10(info.tiny), np.log10(info.max), 40_000)
        points += [10.0**exponents, rng.uniform(0.5, 2, 40_000)]
    x = np.concatenate(points).astype(dtype)
    return x[(x >= np.asarray(low, dtype)) & (x <= np.asarray(high, dtype)) & (x != 0)]


def error(name, dtype, isa):
    """Largest error in ulp and the argument where it is found."""
    x = arguments(name, dtype)
    truth = FUNCTIONS[name](x.astype(wider(x.dtype)))
    errors = ulp_error(_kernels.vecmath(name, x, isa), truth)
    worst = np.argmax(np.where(np.isnan(errors), np.inf, errors))
    return float(errors[worst]), x[worst]


@pytest.mark.parametrize("name", CASES)
def test_error_in_ulp(name, dtype, isa):
    if dtype == "float64" and not HAS_WIDE:
        pytest.skip("numpy.longdouble is no wider than float64 here")
    worst, at = error(name, dtype, isa)
    assert worst <= CASES[name][0], f"{name}({at!r}) is off by {worst:.2f} ulp"


def test_every_function_is_measured():
    assert set(CASES) == set(_kernels.VECMATH)


INF = np.inf
LIMITS = {
    "exp": [(-INF, 0), (INF, INF), (0, 1), (-0.0, 1), (1e4, INF), (-1e4, 0)],
    "log": [(0, -INF), (-0.0, -INF), (INF, INF), (1, 0), (-1, np.nan), (-INF, np.nan)],
    "log1p": [(0, 0)],
    "tanh": [(-INF, -1), (INF, 1), (0, 0), (-0.0, -0.0), (1e4, 1), (-1e4, -1)],
    "sigmoid": [(-INF, 0), (INF, 1), (0, 0.5), (1e4, 1), (-1e4, 0)],
    "normcdf": [(-INF, 0), (INF, 1), (0, 0.5), (1e4, 1), (-1e4, 0)],
}


@pytest.mark.parametrize("name", CASES)
def test_limits_and_nan(name, dtype, isa):
    x, expected = np.array([*LIMITS[name], (np.nan, np.nan)], dtype).T
    for shift in range(20):  # every lane of a vector, and the rest of the loop
        got = _kernels.vecmath(name, np.roll(np.resize(x, 37), shift), isa)
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
    got = _kernels.vecmath("exp", x, isa).astype(np.longdouble)
    error = np.abs(got - np.exp(x.astype(np.longdouble)))
    assert (error <= 1.01 * info.smallest_subnormal).all()


def test_log_of_subnormal_arguments(dtype, isa):
    info = np.finfo(dtype)
    x = (np.arange(1, 2000) * float(info.tiny) / 2000).astype(dtype)
    np.testing.assert_allclose(_kernels.vecmath("log", x, isa), np.log(x), rtol=2 * info.eps)


@pytest.mark.parametrize("name", CASES)
def test_result_does_not_depend_on_the_place(name, dtype, isa):
    """The same argument gives the same bits in the vector loop and in what is left over."""
    x = arguments(name, dtype)[:256]
    whole = _kernels.vecmath(name, x, isa)
    for size in (1, 2, 3, 7, 8, 15, 16, 17, 31, 33):
        pieces = [_kernels.vecmath(name, x[i : i + size], isa) for i in range(0, 256, size)]
        assert np.concatenate(pieces).tobytes() == whole.tobytes()


if __name__ == "__main__":
    for name in CASES:
        for dtype in ("float32", "float64"):
            for isa in _kernels.available_isas():
                worst, at = error(name, dtype, isa)
                print(f"{name:8} {dtype} {isa:9} {worst:.2f} ulp at {at:.9g}")
