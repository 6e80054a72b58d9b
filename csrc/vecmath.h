/* Branch-free elementary functions of one element, written so that a loop over them vectorises for
 * any instruction set: no libm, no table, no integer conversion that AVX2 lacks.  Included once for
 * float and once for double (R).  Errors in ulp stand at each function (with FMA, no subnormals;
 * measured in tests/kernels); NaN and infinity as in C's functions.
 *
 * Coefficients: tools/fit_polynomials.py.  Range reductions: Cody & Waite 1980; the form of log from
 * Tang 1990, of the normal distribution's tail from Shepherd & Laframboise 1981. */

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
#define P12(x, a, ...) FMA(P11(x, __VA_ARGS__), x, a)
#define P13(x, a, ...) FMA(P12(x, __VA_ARGS__), x, a)
#define P14(x, a, ...) FMA(P13(x, __VA_ARGS__), x, a)
#define P15(x, a, ...) FMA(P14(x, __VA_ARGS__), x, a)
#define P16(x, a, ...) FMA(P15(x, __VA_ARGS__), x, a)
#define P17(x, a, ...) FMA(P16(x, __VA_ARGS__), x, a)
#define P18(x, a, ...) FMA(P17(x, __VA_ARGS__), x, a)
#define P19(x, a, ...) FMA(P18(x, __VA_ARGS__), x, a)
#define P20(x, a, ...) FMA(P19(x, __VA_ARGS__), x, a)
#define P21(x, a, ...) FMA(P20(x, __VA_ARGS__), x, a)
#define P22(x, a, ...) FMA(P21(x, __VA_ARGS__), x, a)
#define P23(x, a, ...) FMA(P22(x, __VA_ARGS__), x, a)
#define P24(x, a, ...) FMA(P23(x, __VA_ARGS__), x, a)
#define POLYNOMIAL(P, x, ...) P(x, __VA_ARGS__)

#define EXP_F32 \
    C(5.0e-1), C(1.666657699e-1), C(4.166655462e-2), C(8.363179053e-3), C(1.392618359e-3)
#define EXP_F64 \
    C(5.0e-1), C(1.6666666666666671e-1), C(4.16666666666666698e-2), C(8.33333333332613513e-3), \
    C(1.38888888888837483e-3), C(1.98412698748206253e-4), C(2.48015873255477412e-5), \
    C(2.75572554002064244e-6), C(2.75572736431102953e-7), C(2.51052170047207452e-8), \
    C(2.09146869680868772e-9)
#define LOG_F32 \
    C(6.666666732e-1), C(3.999970633e-1), C(2.859235799e-1), C(2.17065758e-1), C(2.322432922e-1)
#define LOG_F64 \
    C(6.66666666666666669e-1), C(3.99999999999995225e-1), C(2.85714285716000993e-1), \
    C(2.22222221982367706e-1), C(1.81818198979627144e-1), C(1.53845439648605493e-1), \
    C(1.33351786314492558e-1), C(1.17342790613031975e-1), C(1.08451783948800148e-1), \
    C(7.4921437955507673e-2), C(1.56305778009228504e-1)
#define PHI_F32 \
    C(7.552851374e-1), C(-6.07896598e-1), C(3.87136894e-1), C(-1.865230489e-1), \
    C(6.040243455e-2), C(-7.530591597e-3), C(-3.503328791e-3), C(1.597633783e-3), \
    C(1.721874535e-4), C(-1.780748807e-4), C(-2.399838125e-5)
#define PHI_F64 \
    C(7.55285130415751493e-1), C(-6.07896641971892106e-1), C(3.87137400742214517e-1), \
    C(-1.86521857959657457e-1), C(6.03965748909376923e-2), C(-7.54018896671938139e-3), \
    C(-3.47969236741291395e-3), C(1.63081845746974651e-3), C(1.33344312559213887e-4), \
    C(-2.31094934130640638e-4), C(-1.90825897279095748e-6), C(3.51446806707556193e-5), \
    C(7.16666139231045816e-7), C(-5.92015616147450802e-6), C(-6.29689683809299745e-7), \
    C(1.02152050129090711e-6), C(2.71780994834500022e-7), C(-1.54927132388732691e-7), \
    C(-8.53699135334260777e-8), C(1.32610923300199004e-8), C(1.95877274444461667e-8), \
    C(1.91769526535015218e-9), C(-2.51137292869416609e-9), C(-7.22767492035044944e-10)

/* the names the .def files use */
#define EXP(x) S(v_exp)(x)
#define EXPM1(x) S(v_expm1)(x)
#define LOG(x) S(v_log)(x)
#define LOG1P(x) S(v_log1p)(x)
#define TANH(x) S(v_tanh)(x)
#define SIGMOID(x) S(v_sigmoid)(x)
#define NORMCDF(x) S(v_normcdf)(x)
#define NORMPDF(x) S(v_normpdf)(x)
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
#undef EXP_HIGH
#undef EXP_LOW
#undef EXP_POLY
#undef LOG_POLY
#undef PHI_POLY
#undef TANH_ONE
#undef CDF_END
#undef SPLITTER

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
#define EXP_HIGH 89.0f /* e^89 overflows, e^-104 is 0 */
#define EXP_LOW (-104.0f)
#define EXP_POLY(x) POLYNOMIAL(P5, x, EXP_F32)
#define LOG_POLY(x) POLYNOMIAL(P5, x, LOG_F32)
#define PHI_POLY(x) POLYNOMIAL(P11, x, PHI_F32)
#define TANH_ONE 10.0f
#define CDF_END 14.5f
#define SPLITTER 4097.0f
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
#define EXP_HIGH 710.0
#define EXP_LOW (-746.0)
#define EXP_POLY(x) POLYNOMIAL(P11, x, EXP_F64)
#define LOG_POLY(x) POLYNOMIAL(P11, x, LOG_F64)
#define PHI_POLY(x) POLYNOMIAL(P24, x, PHI_F64)
#define TANH_ONE 20.0
#define CDF_END 39.0
#define SPLITTER 134217729.0
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

/* 1 ulp.  2^n in two factors, so that overflow and subnormal results come out right. */
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

/* 2 ulp.  x = 2^e m with m in [sqrt(1/2), sqrt(2)); f = m - 1, s = f / (2 + f);
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

/* 2.5 ulp: t / (t + 2), t = e^(2|x|) - 1 */
ALWAYS_INLINE R S(v_tanh)(R x) {
    R size = S(v_fabs)(x);
    size = size > TANH_ONE ? TANH_ONE : size;
    R t = EXPM1(2 * size);
    R y = t / (t + 2);
    return x < 0 ? -y : x > 0 ? y : x;
}

/* 2.5 ulp */
ALWAYS_INLINE R S(v_sigmoid)(R x) { return 1 / (1 + EXP(-x)); }

/* e^(-u^2/2): the rounding error of u^2 is put back, it would cost u^2/2 ulp */
ALWAYS_INLINE R S(gauss)(R u) {
    R square = u * u;
#if HAS_FMA
    R lost = FMA(u, u, -square);
#else /* Dekker 1971 */
    R big = SPLITTER * u, high = big - (big - u), low = u - high;
    R lost = ((high * high - square) + 2 * high * low) + low * low;
#endif
    R y = EXP(C(-0.5) * square);
    return FMA(C(-0.5) * lost, y, y);
}

ALWAYS_INLINE R S(v_normpdf)(R x) {
    R u = S(v_fabs)(x);
    u = u > CDF_END ? CDF_END : u;
    return C(0.39894228040143267794) * S(gauss)(u);
}

/* The normal distribution's Phi(x) = (1 + erf(x / sqrt 2)) / 2, 5 ulp, in the lower tail too:
 * Phi(-u) = e^(-u^2/2) P(t) / (u + 4), t = (u - 4) / (u + 4) */
ALWAYS_INLINE R S(v_normcdf)(R x) {
    R u = S(v_fabs)(x);
    u = u > CDF_END ? CDF_END : u;
    R big = u + 4, t = (u - 4) / big;
    R tail = S(gauss)(u) * PHI_POLY(t) / big;
    return x > 0 ? 1 - tail : tail;
}
