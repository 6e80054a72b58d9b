/* What becomes of X on its way into a batch, of one dtype (R): numbers of other types, and Gaussian
 * noise. */

#define CONVERT(number, T, value)                                                                  \
    case FNN_NUMBER_##number: {                                                                    \
        const T *from = (const T *)x;                                                              \
        INDEPENDENT                                                                                \
        for (ptrdiff_t i = 0; i < n; i++) {                                                        \
            T v = from[i];                                                                         \
            out[i] = value;                                                                        \
        }                                                                                          \
        return;                                                                                    \
    }

/* A half (IEEE 754-2008), from its bits.  Its subnormal numbers are multiples of 2^-24, and normal
 * in float: integers carry them, so that none is flushed to zero on the way. */
ALWAYS_INLINE float S(half)(uint16_t h) {
    union { uint32_t bits; float real; } u;
    uint32_t rest = h & 0x7fffu, sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t normal = (rest << 13) + (rest >= 0x7c00u ? (255u - 31u) << 23 : (127u - 15u) << 23);
    u.real = (float)(int32_t)rest * 5.9604644775390625e-8f;
    u.bits = (rest < 0x400u ? u.bits : normal) | sign;
    return u.real;
}

static void S(convert)(int number, ptrdiff_t n, const void *x, R *out) {
    switch (number) {
    CONVERT(bool, uint8_t, v ? C(1) : C(0))
    CONVERT(int8, int8_t, (R)v)
    CONVERT(uint8, uint8_t, (R)v)
    CONVERT(int16, int16_t, (R)v)
    CONVERT(uint16, uint16_t, (R)v)
    CONVERT(int32, int32_t, (R)v)
    CONVERT(uint32, uint32_t, (R)v)
    CONVERT(int64, int64_t, (R)v)
    CONVERT(uint64, uint64_t, (R)v)
    CONVERT(float16, uint16_t, (R)S(half)(v))
    CONVERT(float32, float, (R)v)
    default:
        CONVERT(float64, double, (R)v)
    }
}
#undef CONVERT

/* The number that a share t in (0, 1/2) of the normal distribution lies above: Wichura 1988, his
 * PPND7 (1e-7) for float and PPND16 (1e-16) for double, without the branch for t < e^-25. */
#if REAL_IS_FLOAT
#define CENTRE_OVER(r) P4(r, C(3.3871327179), C(50.434271938), C(159.29113202), C(59.109374720))
#define CENTRE_UNDER(r) P4(r, C(1), C(17.895169469), C(78.757757664), C(67.187563600))
#define TAIL_OVER(r) P4(r, C(1.4234372777), C(2.7568153900), C(1.3067284816), C(0.17023821103))
#define TAIL_UNDER(r) P3(r, C(1), C(0.73700164250), C(0.12021132975))
#else
#define CENTRE_OVER(r)                                                                             \
    P8(r, C(3.3871328727963666080), C(133.14166789178437745), C(1971.5909503065514427),            \
       C(13731.693765509461125), C(45921.953931549871457), C(67265.770927008700853),               \
       C(33430.575583588128105), C(2509.0809287301226727))
#define CENTRE_UNDER(r)                                                                            \
    P8(r, C(1), C(42.313330701600911252), C(687.18700749205790830), C(5394.1960214247511077),      \
       C(21213.794301586595867), C(39307.895800092710610), C(28729.085735721942674),               \
       C(5226.4952788528545610))
#define TAIL_OVER(r)                                                                               \
    P8(r, C(1.42343711074968357734), C(4.63033784615654529590), C(5.76949722146069140550),         \
       C(3.64784832476320460504), C(1.27045825245236838258), C(0.241780725177450611770),           \
       C(0.0227238449892691845833), C(7.74545014278341407640e-4))
#define TAIL_UNDER(r)                                                                              \
    P8(r, C(1), C(2.05319162663775882187), C(1.67638483018380384940), C(0.689767334985100004550),  \
       C(0.148103976427480074590), C(0.0151986665636164571966), C(5.47593808499534494600e-4),      \
       C(1.05075007164441684324e-9))
#endif

ALWAYS_INLINE R S(normal_above)(R t) {
    R q = C(0.5) - t, near = C(0.180625) - q * q, far = SQRT(-LOG(t)) - C(1.6);
    R centre = q * CENTRE_OVER(near) / CENTRE_UNDER(near);
    R tail = TAIL_OVER(far) / TAIL_UNDER(far);
    return q <= C(0.425) ? centre : tail;
}
#undef CENTRE_OVER
#undef CENTRE_UNDER
#undef TAIL_OVER
#undef TAIL_UNDER

/* The random word of an element is found as in dropout_tpl.h.  Its highest bit is the sign; the
 * others are a share of one side, so that the tails have all their bits, to 6.3 deviations. */
static void S(add_noise)(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t row0, const fnn_dropout *d, R *x) {
    const R scale = (R)d->scale;
    for (ptrdiff_t r = 0; r < rows; r++, x += n) {
        for (ptrdiff_t start = 0; start < n; start += 4 * LANES) {
            uint32_t word[4][LANES];
            philox(d->seed, (uint32_t)(start / 4), (uint32_t)(row0 + r), (uint32_t)d->step,
                   d->layer ^ (uint32_t)(d->step >> 32) << 16, word);
            const uint32_t *random = &word[0][0];
            ptrdiff_t count = n - start < 4 * LANES ? n - start : 4 * LANES;
            INDEPENDENT
            for (ptrdiff_t j = 0; j < count; j++) {
                R half = (R)(int32_t)(random[j] & 0x7fffffffu) + C(0.5);
                R share = half * C(2.3283064365386963e-10); /* 2^-32 */
                R z = S(normal_above)(share);
                x[start + j] = FMA(random[j] >> 31 ? -scale : scale, z, x[start + j]);
            }
        }
    }
}
