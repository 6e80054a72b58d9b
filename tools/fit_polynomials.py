"""Prints the polynomial coefficients of csrc/vecmath.h (needs mpmath).

Each function is interpolated at Chebyshev nodes in 60 digits, which is within a few per cent of
the minimax polynomial, and written out in powers of the variable.
"""

import mpmath as mp

mp.mp.dps = 60


def fit(function, low, high, degree):
    """Coefficients, lowest power first, and the largest relative error seen on a grid."""
    low, high = mp.mpf(low), mp.mpf(high)
    n = degree + 1
    nodes = [(low + high) / 2 + (high - low) / 2 * mp.cos(mp.pi * (2 * k + 1) / (2 * n))
             for k in range(n)]
    matrix = mp.matrix(n, n)
    for i, node in enumerate(nodes):
        for j in range(n):
            matrix[i, j] = node**j
    solution = mp.lu_solve(matrix, mp.matrix([function(node) for node in nodes]))
    coefficients = [solution[j] for j in range(n)]
    grid = [low + (high - low) * mp.mpf(k) / 400 for k in range(401)]
    error = max(abs(mp.polyval(coefficients[::-1], x) / function(x) - 1)
                for x in grid if function(x) != 0)
    return coefficients, error


def exp_tail(r):
    """(e^r - 1 - r) / r^2"""
    return mp.mpf(1) / 2 + r / 6 if abs(r) < 1e-30 else (mp.expm1(r) - r) / r**2


def atanh_tail(z):
    """2 (atanh(s) / s - 1) / z for z = s^2: log(1 + f) = f - s (f - z tail(z)), s = f / (2 + f)"""
    if z == 0:
        return mp.mpf(2) / 3
    s = mp.sqrt(z)
    return 2 * (mp.atanh(s) / s - 1) / z


SHIFT = 4


def tail_variable(u):
    """t = 1 - 8 r, r = 1 / (u + SHIFT): from r it is exact in floating point for all but large u"""
    return 1 - 8 / (u + SHIFT)


def normal_tail(digits):
    """P(t) of e^(u^2/2) Phi(-u) = r (c + r P(t)), and c.

    c is the limit 1 / sqrt(2 pi) for large u, where powers of t alone would cancel; a multiple of
    2^-digits, so that c minus the sum is exact.
    A SHIFT of 5.5 would need two terms less in double, but they alternate and their rounding shows.
    """
    c = mp.nint(mp.ldexp(1 / mp.sqrt(2 * mp.pi), digits)) / mp.mpf(2) ** digits

    def function(t):
        r = (1 - t) / 8
        u = 1 / r - SHIFT
        return (mp.exp(u * u / 2) * mp.erfc(u / mp.sqrt(2)) / 2 / r - c) / r

    return function, c


def parts(name, coefficients):
    """What stands in one macro. TAIL: c, the first coefficient, the others in turn."""
    if not name.startswith("TAIL"):
        return {name: coefficients}
    c = TAIL_F32[1] if name.endswith("F32") else TAIL_F64[1]
    return {f"{name}_LIMIT": [c], f"{name}_FIRST": coefficients[:1],
            f"{name}_EVEN": coefficients[1::2], f"{name}_ODD": coefficients[2::2]}


HALF_LN2 = mp.log(2) / 2 * mp.mpf("1.0001")
TAIL_F32, TAIL_F64 = normal_tail(23), normal_tail(52)
TAIL_ENDS = tail_variable(0), tail_variable(mp.mpf("14.5")), tail_variable(mp.mpf("38.6"))
TABLE = [  # name, function, from, to, degree
    ("EXP_F32", exp_tail, -HALF_LN2, HALF_LN2, 4),
    ("EXP_F64", exp_tail, -HALF_LN2, HALF_LN2, 10),
    ("LOG_F32", atanh_tail, 0, mp.mpf(1) / 9, 4),
    ("LOG_F64", atanh_tail, 0, mp.mpf(1) / 9, 10),
    ("TAIL_F32", TAIL_F32[0], TAIL_ENDS[0], TAIL_ENDS[1], 9),
    ("TAIL_F64", TAIL_F64[0], TAIL_ENDS[0], TAIL_ENDS[2], 22),
]

if __name__ == "__main__":
    for name, function, low, high, degree in TABLE:
        coefficients, error = fit(function, low, high, degree)
        print(f"/* {name}: relative error {mp.nstr(error, 2)} */")
        digits = 10 if name.endswith("F32") else 18
        for part, values in parts(name, coefficients).items():
            numbers = (mp.nstr(c, digits, min_fixed=0, max_fixed=0) for c in values)
            print(f"{part}:", ", ".join(f"C({number})" for number in numbers))
