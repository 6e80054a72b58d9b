"""Elementary functions to more than the precision under test, and errors counted in ulp.

For float32 the truth is computed in float64, for float64 in `numpy.longdouble` where that is wider
(the 80-bit type of x86: 11 bits more); `exact` is mpmath's, some 50 us for each element.
"""

import mpmath
import numpy as np

HAS_WIDE = np.finfo(np.longdouble).nmant > np.finfo(np.float64).nmant


def wider(dtype):
    """The dtype in which the truth for `dtype` is computed."""
    return np.float64 if dtype == np.float32 else np.longdouble


def gauss(u):
    """exp(-u²/2) without the rounding error of u² (u holds at most 53 bits)."""
    scale = u.dtype.type(2.0**27 + 1)
    if u.dtype == np.float64:  # u was float32: its square is exact
        return np.exp(-u * u / 2)
    double = u.astype(np.float64)
    high = double * np.float64(scale)
    high = (high - (high - double)).astype(u.dtype)
    low = u - high
    return np.exp(-high * high / 2) * np.exp(-(2 * high * low + low * low) / 2)


def normpdf(x):
    """The normal distribution's density."""
    return gauss(np.abs(x)) / np.sqrt(x.dtype.type(8) * np.arctan(x.dtype.type(1)))


def normcdf(x):
    """Phi(x): the power series near 0, Laplace's continued fraction in the tails."""
    real = x.dtype.type
    u = np.abs(x)
    density = normpdf(x)
    near = np.minimum(u, real(2))
    term, total = near, near
    for k in range(1, 60):
        term = term * near * near / real(2 * k + 1)
        total = total + term
    far = np.maximum(u, real(2))
    fraction = far
    for k in range(400, 0, -1):
        fraction = far + real(k) / fraction
    lower = np.where(u < 2, real(0.5) - density * total, density / fraction)
    return np.where(x > 0, 1 - lower, lower)


FUNCTIONS = {
    "exp": np.exp,
    "log": np.log,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh_softplus": lambda x: np.exp(x) * (np.exp(x) + 2) / (np.exp(x) * (np.exp(x) + 2) + 2),
    "normcdf": normcdf,
}


EXACT = {
    "exp": mpmath.exp,
    "log": mpmath.log,
    "log1p": mpmath.log1p,
    "tanh": mpmath.tanh,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "tanh_softplus": lambda x: mpmath.tanh(mpmath.log1p(mpmath.exp(x))),
    "normcdf": lambda x: mpmath.erfc(-x / mpmath.sqrt(2)) / 2,
}


def exact(name, x):
    """mpmath's value to 40 digits, rounded to the dtype `wider`."""
    real = wider(x.dtype)
    with mpmath.workdps(40):
        pairs = [mpmath.frexp(EXACT[name](mpmath.mpf(float(number)))) for number in x]
        heads = [float(mantissa) for mantissa, _ in pairs]
        rests = [float(mantissa - head)
                 for (mantissa, _), head in zip(pairs, heads, strict=True)]
    return np.ldexp(np.array(heads, real) + np.array(rests, real), [e for _, e in pairs])


def ulp_error(value, truth):
    """|value - truth| in units of the last place of `value`'s dtype.

    Below the smallest normal number the unit is that number's, as for kernels that may flush
    subnormal results to 0.
    """
    info = np.finfo(value.dtype)
    size = np.maximum(np.abs(truth), info.tiny)
    _, exponent = np.frexp(size)
    unit = np.ldexp(truth.dtype.type(1), exponent - info.nmant - 1)
    return np.abs(value.astype(truth.dtype) - truth) / unit
