/* Branch-free elementary functions of one element, written so that a loop over them vectorises for
 * any instruction set: no libm, no table, no integer conversion that AVX2 lacks.  Included once for
 * float and once for double (R).  Beside each function stands its largest error in ulp, with FMA or
 * without; the tests measure it and allow 3.  NaN and infinity give what C's functions give.
 *
 * Coefficients: tools/fit_polynomials.py.  Range reductions: Cody & Waite 1980.  The form of log is
 * Tang's (1990), that of the normal distribution's tail Shepherd & Laframboise's (1981). */

#ifndef FNN_VECMATH_ONCE
#define FNN_VECMATH_ONCE

#define C(x) ((R)(x))

/* Horner's scheme, lowest coefficient first */
#define P1(x, a) (a)
#define P2(x, a, ...) FMA(P1(x, __VA_ARGS__), x, a)
#define P3(x, a, ...) FMA(P2(x, __VA_ARGS__), x, a)
#define P4(x, a, ...) FMA(P3(x, __VA_ARGS__), x, a)
#define P5(x, a, ...) FMA(P4(x, __VA_ARGS__), x, a)
#define P6(x, a, ...) FMA(P5(x, __VA_ARGS__), x, a)
#define P7(x, a, ...) FMA(P6(x, __VA_ARGS__), x, a)
#define P8(x, a, ...) FMA(P7(x, __VA_ARGS__), x, a)
#define P9(x, a, ...) FMA(P8(x, __VA_ARGS__), x, a)
#define P10(x, a, ...) FMA(P9(x, __VA_ARGS__), x, a)
#define P11(x, a, ...) FMA(P10(x, __VA_ARGS__), x, a)
#define POLYNOMIAL(P, x, ...) P(x, __VA_ARGS__)

#define EXP_F32                                                                                    \
    C(5.0e-1), C(1.666657699e-1), C(4.166655462e-2), C(8.363179053e-3), C(1.392618359e-3)
#define EXP_F64                                                                                    \
    C(5.0e-1), C(1.6666666666666671e-1), C(4.16666666666666698e-2), C(8.33333333332613513e-3),     \
    C(1.38888888888837483e-3), C(1.98412698748206253e-4), C(2.48015873255477412e-5),               \
    C(2.75572554002064244e-6), C(2.75572736431102953e-7), C(2.51052170047207452e-8),               \
    C(2.09146869680868772e-9)
#define LOG_F32                                                                                    \
    C(6.666666732e-1), C(3.999970633e-1), C(2.859235799e-1), C(2.17065758e-1), C(2.322432922e-1)
#define LOG_F64                                                                                    \
    C(6.66666666666666669e-1), C(3.99999999999995225e-1), C(2.85714285716000993e-1),               \
    C(2.22222221982367706e-1), C(1.81818198979627144e-1), C(1.53845439648605493e-1),               \
    C(1.33351786314492558e-1), C(1.17342790613031975e-1), C(1.08451783948800148e-1),               \
    C(7.4921437955507673e-2), C(1.56305778009228504e-1)
#define TAIL_F32_LIMIT C(3.989422321e-1)
#define TAIL_F32_FIRST C(2.850743215)
#define TAIL_F32_EVEN                                                                              \
    C(-2.012429807), C(-4.075110466e-1), C(1.540970575e-2), C(2.62362872e-4), C(2.243675923e-4)
#define TAIL_F32_ODD C(1.084666775), C(7.569936552e-2), C(-1.261603151e-2), C(1.693351967e-3)
#define TAIL_F64_LIMIT C(3.98942280401432647e-1)
#define TAIL_F64_FIRST C(2.85074280011455074)
#define TAIL_F64_EVEN                                                                              \
    C(-2.01243033566058542), C(-4.07505993400191356e-1), C(1.53450939952397964e-2),                \
    C(5.54102696191400918e-4), C(-2.27902169456580495e-4), C(3.79889952466463168e-5),              \
    C(-3.63956269681480063e-6), C(-5.00106805638898459e-7), C(4.22118139697557869e-7),             \
    C(-1.37352283735343479e-7), C(2.20899976189510561e-8)
#define TAIL_F64_ODD                                                                               \
    C(1.08466887027713879), C(7.56666057268763072e-2), C(-1.24924449347754005e-2),                 \
    C(1.6208570927499129e-3), C(-2.43167551974845473e-4), C(4.3719435949246376e-5),                \
    C(-8.66922329685408927e-6), C(1.66029690089743159e-6), C(-2.45596064881021368e-7),             \
    C(9.81631300316661431e-9), C(4.58269810154369557e-9)
#define INV_SQRT_2PI C(0.39894228040143267794)

/* the names the .def files use */
#define EXP(x) S(v_exp)(x)
#define EXPM1(x) S(v_expm1)(x)
/* of any x: beyond 4 taking the 1 off loses no digits */
#define EXPM1_WIDE(x) ((x) > 4 ? EXP(x) - 1 : EXPM1(x))
#define LOG(x) S(v_log)(x)
#define LOG1P(x) S(v_log1p)(x)
#define TANH(x) S(v_tanh)(x)
#define SIGMOID(x) S(v_sigmoid)(x)
#define NORMCDF(x) S(v_normcdf)(x)
#define NORMPDF(x) S(v_normpdf)(x)
#define TANH_SOFTPLUS(x) S(v_tanh_softplus)(x)
#define SECH_SOFTPLUS(x) S(v_sech_softplus)(x)
#define BOUND(x) S(v_bound)(x)
#define FMA(a, b, c) S(v_fma)(a, b, c)
#define SQRT(x) S(v_sqrt)(x)
#define FABS(x) S(v_fabs)(x)

#endif /* FNN_VECMATH_ONCE */

#undef INT
#undef UINT
#undef MANTISSA
#undef BIAS
#undef ROUNDER
#undef LN2_HIGH
#undef LN2_LOW
#undef SQRT_HALF_BITS
#undef TINY
#undef LARGEST
#undef EXP_HIGH
#undef EXP_LOW
#undef EXP_POLY
#undef LOG_POLY
#undef TAIL_LIMIT
#undef TAIL_FIRST
#undef TAIL_EVEN
#undef TAIL_ODD
#undef TANH_ONE
#undef CDF_END

#if REAL_IS_FLOAT
#define INT int32_t
#define UINT uint32_t
#define MANTISSA 23
#define BIAS 127
#define ROUNDER 12582912.0f /* 1.5 * 2^23: adding it rounds to an integer, kept in the low bits */
#define LN2_HIGH 0.693359375f
#define LN2_LOW (-2.12194440e-4f)
#define SQRT_HALF_BITS 0x3f3504f3u
#define TINY 1.17549435e-38f
#define LARGEST 3.40282347e+38f
#define EXP_HIGH 89.0f /* e^89 overflows, e^-104 is 0 */
#define EXP_LOW (-104.0f)
#define EXP_POLY(x) POLYNOMIAL(P5, x, EXP_F32)
#define LOG_POLY(x) POLYNOMIAL(P5, x, LOG_F32)
#define TAIL_LIMIT TAIL_F32_LIMIT
#define TAIL_FIRST TAIL_F32_FIRST
#define TAIL_EVEN(s) POLYNOMIAL(P5, s, TAIL_F32_EVEN)
#define TAIL_ODD(s) POLYNOMIAL(P4, s, TAIL_F32_ODD)
#define TANH_ONE 10.0f
#define CDF_END 14.5f /* from there on the normal distribution is 0 */
#else
#define INT int64_t
#define UINT uint64_t
#define MANTISSA 52
#define BIAS 1023
#define ROUNDER 6755399441055744.0 /* 1.5 * 2^52 */
#define LN2_HIGH 6.93147180369123816490e-01
#define LN2_LOW 1.90821492927058770002e-10
#define SQRT_HALF_BITS 0x3fe6a09e667f3bcdull
#define TINY 2.2250738585072014e-308
#define LARGEST 1.7976931348623157e+308
#define EXP_HIGH 710.0
#define EXP_LOW (-746.0)
#define EXP_POLY(x) POLYNOMIAL(P11, x, EXP_F64)
#define LOG_POLY(x) POLYNOMIAL(P11, x, LOG_F64)
#define TAIL_LIMIT TAIL_F64_LIMIT
#define TAIL_FIRST TAIL_F64_FIRST
#define TAIL_EVEN(s) POLYNOMIAL(P11, s, TAIL_F64_EVEN)
#define TAIL_ODD(s) POLYNOMIAL(P11, s, TAIL_F64_ODD)
#define TANH_ONE 20.0
#define CDF_END 38.6
#endif

ALWAYS_INLINE UINT S(bits)(R x) {
    union { R real; UINT bits; } u;
    u.real = x;
    return u.bits;
}

ALWAYS_INLINE R S(real)(UINT bits) {
    union { R real; UINT bits; } u;
    u.bits = bits;
    return u.real;
}

ALWAYS_INLINE R S(v_fma)(R a, R b, R c) {
#if !HAS_FMA
    return a * b + c;
#elif REAL_IS_FLOAT
    return fmaf(a, b, c);
#else
    return fma(a, b, c);
#endif
}

#if REAL_IS_FLOAT
ALWAYS_INLINE R S(v_sqrt)(R x) { return sqrtf(x); }
ALWAYS_INLINE R S(v_fabs)(R x) { return fabsf(x); }
#else
ALWAYS_INLINE R S(v_sqrt)(R x) { return sqrt(x); }
ALWAYS_INLINE R S(v_fabs)(R x) { return fabs(x); }
#endif

/* z where exp(+-z) is still finite and not 0, else the end of that range; NaN stays */
ALWAYS_INLINE R S(v_bound)(R z) {
    z = z > EXP_HIGH ? EXP_HIGH : z;
    return z < -EXP_HIGH ? -EXP_HIGH : z;
}

/* 2^k for k an integer held in the low bits of ROUNDER + k, in the range of normal numbers */
ALWAYS_INLINE R S(power_of_two)(R rounded) {
    return S(real)((S(bits)(rounded) + BIAS) << MANTISSA);
}

/* e^r - 1 for |r| <= ln(2)/2 */
ALWAYS_INLINE R S(expm1_reduced)(R r) { return FMA(r * r, EXP_POLY(r), r); }

/* x - n ln 2 */
ALWAYS_INLINE R S(reduce_ln2)(R x, R n) { return FMA(n, -LN2_LOW, FMA(n, -LN2_HIGH, x)); }

/* 1.1 ulp.  2^n in two factors, so that overflow and subnormal results come out right. */
ALWAYS_INLINE R S(v_exp)(R x) {
    x = x > EXP_HIGH ? EXP_HIGH : x;
    x = x < EXP_LOW ? EXP_LOW : x;
    R rounded = FMA(x, C(1.44269504088896340736), ROUNDER);
    R n = rounded - ROUNDER;
    R half = FMA(n, C(0.5), ROUNDER);
    R rest = (n - (half - ROUNDER)) + ROUNDER;
    R y = S(expm1_reduced)(S(reduce_ln2)(x, n)) + 1;
    return y * S(power_of_two)(half) * S(power_of_two)(rest);
}

/* e^x - 1 for x in [-EXP_HIGH, 2 TANH_ONE], 2 ulp; below -40 it is -1 */
ALWAYS_INLINE R S(v_expm1)(R x) {
    x = x < C(-40) ? C(-40) : x;
    x = x > 2 * TANH_ONE ? 2 * TANH_ONE : x;
    R rounded = FMA(x, C(1.44269504088896340736), ROUNDER);
    R scale = S(power_of_two)(rounded);
    return FMA(scale, S(expm1_reduced)(S(reduce_ln2)(x, rounded - ROUNDER)), scale - 1);
}

/* 1 ulp.  x = 2^e m with m in [sqrt(1/2), sqrt(2)); f = m - 1, s = f / (2 + f);
 * log(1 + f) = f - s (f - s^2 P(s^2)), with f - f^2/2 taken apart because it carries the size. */
ALWAYS_INLINE R S(v_log)(R x) {
    R normal = x < TINY ? x * C(18014398509481984.0) : x; /* 2^54 */
    UINT offset = S(bits)(normal) - SQRT_HALF_BITS + ((UINT)BIAS << MANTISSA);
    R e = S(real)((offset >> MANTISSA) + S(bits)(ROUNDER)) - ROUNDER - BIAS;
    R f = S(real)((offset & (((UINT)1 << MANTISSA) - 1)) + SQRT_HALF_BITS) - 1;
    e = x < TINY ? e - 54 : e;
    R s = f / (2 + f), z = s * s, half = C(0.5) * f * f;
    R y = FMA(e, LN2_HIGH, -((half - FMA(s, half + z * LOG_POLY(z), e * LN2_LOW)) - f));
    y = x == 0 ? -C(INFINITY) : y;
    y = x < 0 ? C(NAN) : y;
    return x > 0 && x < C(INFINITY) ? y : x == 0 || x < 0 ? y : x;
}

/* log(1 + u) for u in [0, 1], 2 ulp */
ALWAYS_INLINE R S(v_log1p)(R u) {
    R s = u / (2 + u), z = s * s;
    return FMA(-s, u - z * LOG_POLY(z), u);
}

/* 3 ulp: t / (t + 2), t = e^(2|x|) - 1 */
ALWAYS_INLINE R S(v_tanh)(R x) {
    R size = S(v_fabs)(x);
    size = size > TANH_ONE ? TANH_ONE : size;
    R t = EXPM1(2 * size);
    R y = t / (t + 2);
    return x < 0 ? -y : x > 0 ? y : x;
}

/* 2.5 ulp */
ALWAYS_INLINE R S(v_sigmoid)(R x) { return 1 / (1 + EXP(-x)); }

/* tanh and 1 / cosh of log(1 + e^x), with e = e^x and t = e (e + 2): t / (t + 2), 3.5 ulp, and
 * 2 (1 + e) / (t + 2), which is below e^-30 where x is cut off. */
ALWAYS_INLINE R S(v_tanh_softplus)(R x) {
    R e = EXP(x > 30 ? C(30) : x), t = FMA(e, e, 2 * e);
    return t / (t + 2);
}

ALWAYS_INLINE R S(v_sech_softplus)(R x) {
    R e = EXP(x > 30 ? C(30) : x);
    return (2 * e + 2) / (FMA(e, e, 2 * e) + 2);
}

#if !HAS_FMA
/* x without the lower half of its digits: the product of two such is exact */
ALWAYS_INLINE R S(upper_half)(R x) {
    return S(real)(S(bits)(x) & ~(((UINT)1 << (MANTISSA + 2) / 2) - 1));
}
#endif

/* e^(-u^2/2) = 2^n (1 + e) for u in [0, CDF_END].  The rounding error of u^2, which would cost
 * u^2/2 ulp, goes into e. */
ALWAYS_INLINE R S(gauss_rounded)(R u) { return FMA(u * u, C(-0.72134752044448170368), ROUNDER); }

ALWAYS_INLINE R S(gauss_e)(R u) {
#if HAS_FMA
    R square = u * u, lost = FMA(u, u, -square);
#else
    R high = S(upper_half)(u), square = high * high, lost = (u + high) * (u - high);
#endif
    R n = S(gauss_rounded)(u) - ROUNDER;
    return S(expm1_reduced)(FMA(C(-0.5), lost, S(reduce_ln2)(C(-0.5) * square, n)));
}

/* y 2^n: a subnormal result is rounded once, by the last factor 2^-64 */
ALWAYS_INLINE R S(gauss_scaled)(R u, R y) {
    R scale = S(real)((S(bits)(S(gauss_rounded)(u)) + BIAS + 64) << MANTISSA);
    return y * scale * C(5.42101086242752217e-20);
}

/* 2 ulp */
ALWAYS_INLINE R S(v_normpdf)(R x) {
    R u = S(v_fabs)(x);
    u = u > CDF_END ? CDF_END : u;
    return S(gauss_scaled)(u, FMA(S(gauss_e)(u), INV_SQRT_2PI, INV_SQRT_2PI));
}

/* The even and the odd powers apart, because these two sums do not wait for each other: 10 % faster
 * in double than one by Horner's scheme. */
ALWAYS_INLINE R S(tail_poly)(R t, R first) {
    R s = t * t;
    return FMA(FMA(TAIL_ODD(s), t, TAIL_EVEN(s)), t, first);
}

/* The normal distribution's Phi(x) = (1 + erf(x / sqrt 2)) / 2, 3 ulp, in the lower tail too:
 * Phi(-u) = e^(-u^2/2) M(u), M(u) = r (c + r P(1 - 8 r)), r = 1 / (u + 4), c = 1 / sqrt(2 pi).
 * A rounded r is that of another u'; M(u) - M(u') = (u - u') M'(u), and M' = u M - c.  M, and
 * then M (1 + e), is kept in two parts to the last sum. */
ALWAYS_INLINE R S(v_normcdf)(R x) {
    const R c = TAIL_LIMIT;
    R u = S(v_fabs)(x);
    u = u > CDF_END ? CDF_END : u;
    R big = u + 4, r = 1 / big, t = FMA(C(-8), r, C(1));
#if HAS_FMA
    R sum = FMA(r, S(tail_poly)(t, TAIL_FIRST), c), high = r * sum;
    R miss = FMA(-r, u - (big - 4), FMA(-r, big, C(1))); /* 1 - r (u + 4) */
    R low = FMA(miss * big, FMA(-u, high, c), FMA(r, sum, -high)), e = S(gauss_e)(u);
    low = FMA(e, high + low, low);
#else /* 4 is taken out of P, because 4 r is exact and the rest is small */
    R start = 4 * r, rest = r * S(tail_poly)(t, TAIL_FIRST - 4), sum = c + start + rest;
    R sum_high = S(upper_half)(sum), sum_low = ((c - sum_high) + start) + rest;
    R r_high = S(upper_half)(r), r_low = r - r_high, high = r_high * sum_high;
    R big_high = S(upper_half)(big), big_low = u - (big_high - 4);
    R miss = ((1 - r_high * big_high) - r_high * big_low) - r_low * big;
    R low = r_low * sum + r_high * sum_low + miss * (big * c - big * u * high), e = S(gauss_e)(u);
    low = e * high + low * (1 + e);
#endif
    R tail = S(gauss_scaled)(u, high + low);
    return x > 0 ? 1 - tail : tail;
}
