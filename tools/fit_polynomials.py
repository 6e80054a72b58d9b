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


K = 4


def normal_tail(t):
    """(u + K) e^(u^2/2) Phi(-u) for u = K (1 + t) / (1 - t)"""
    u = K * (1 + t) / (1 - t)
    return (u + K) * mp.exp(u * u / 2) * mp.erfc(u / mp.sqrt(2)) / 2


HALF_LN2 = mp.log(2) / 2 * mp.mpf("1.0001")
TABLE = [
    ("EXP", exp_tail, -HALF_LN2, HALF_LN2, 4, 10),
    ("LOG", atanh_tail, 0, mp.mpf(1) / 9, 4, 10),
    ("PHI", normal_tail, -1, mp.mpf(40 - K) / (40 + K), 10, 23),
]

if __name__ == "__main__":
    for name, function, low, high, single, double in TABLE:
        for suffix, degree, digits in (("F32", single, 10), ("F64", double, 18)):
            coefficients, error = fit(function, low, high, degree)
            print(f"/* {name}_{suffix}: relative error {mp.nstr(error, 2)} */")
            print(", ".join(mp.nstr(c, digits, min_fixed=0, max_fixed=0) for c in coefficients))
