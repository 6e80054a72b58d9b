/* Layer normalisation of one dtype (R), and the sum that residual connections need; fastnn.h says
 * what each function does.  A row's result depends on that row alone.
 *
 * The mean is rounded to R, and `low` is what the rounding lost.  Where the mean is large against
 * the deviations x - mean is exact, so the result is as good as the numbers of the row.
 *
 * The sums over a row are made of vectors, in double.  Plain loops with an array of partial sums
 * took 1.3 to 1.7 times as long (AVX2, n = 256 and 64): gcc 12 keeps a part of it in memory. */

/* a vector of R as doubles, and sums of such */
#ifdef DHIGH
typedef struct { D low, high; } S(doubles);
ALWAYS_INLINE S(doubles) S(widen)(V v) { return (S(doubles)){DLOW(v), DHIGH(v)}; }
ALWAYS_INLINE S(doubles) S(add)(S(doubles) a, S(doubles) b) {
    return (S(doubles)){DADD(a.low, b.low), DADD(a.high, b.high)};
}
ALWAYS_INLINE S(doubles) S(add_product)(S(doubles) a, S(doubles) b, S(doubles) c) {
    return (S(doubles)){DFMA(a.low, b.low, c.low), DFMA(a.high, b.high, c.high)};
}
ALWAYS_INLINE double S(total)(S(doubles) a) { return DSUM(DADD(a.low, a.high)); }
#else
typedef struct { D all; } S(doubles);
ALWAYS_INLINE S(doubles) S(widen)(V v) { return (S(doubles)){DLOW(v)}; }
ALWAYS_INLINE S(doubles) S(add)(S(doubles) a, S(doubles) b) {
    return (S(doubles)){DADD(a.all, b.all)};
}
ALWAYS_INLINE S(doubles) S(add_product)(S(doubles) a, S(doubles) b, S(doubles) c) {
    return (S(doubles)){DFMA(a.all, b.all, c.all)};
}
ALWAYS_INLINE double S(total)(S(doubles) a) { return DSUM(a.all); }
#endif

/* Walks along a row: TERM(sum, i, READ, KEEP) adds the vector at element i to the sums with number
 * `sum`, 0 or 1 in turn, because two sums side by side do not wait for each other.  READ(p) reads a
 * vector at p; KEEP(v) is v with 0 in the lanes that lie behind the row. */
#define READ_ALL(p) VLOAD(p)
#define KEEP_ALL(v) (v)
#define READ_ROW(p) VLOAD_PART(p, mask)
#define KEEP_ROW(v) VPART(v, mask)
#define ALONG_A_ROW(n, TERM)                                                                       \
    do {                                                                                           \
        ptrdiff_t i = 0;                                                                           \
        for (; i + 2 * VLANES <= n; i += 2 * VLANES) {                                             \
            TERM(0, i, READ_ALL, KEEP_ALL)                                                         \
            TERM(1, i + VLANES, READ_ALL, KEEP_ALL)                                                \
        }                                                                                          \
        for (; i < n; i += VLANES) {                                                               \
            VMASK_T mask = VMASK(n - i < VLANES ? n - i : VLANES);                                 \
            TERM(0, i, READ_ROW, KEEP_ROW)                                                         \
        }                                                                                          \
    } while (0)

ALWAYS_INLINE double S(row_sum)(ptrdiff_t n, const R *x) {
    S(doubles) total0 = S(widen)(VSET(0)), total1 = total0;
#define TERM(sum, i, READ, KEEP) total##sum = S(add)(total##sum, S(widen)(READ(x + (i))));
    ALONG_A_ROW(n, TERM);
#undef TERM
    return S(total)(S(add)(total0, total1));
}

/* sums over a row of: d = x - mean, d^2 */
typedef struct { double d, square; } S(deviations);

ALWAYS_INLINE S(deviations) S(sum_deviations)(ptrdiff_t n, const R *x, R mean) {
    const V minus_mean = VSET(-mean);
    S(doubles) d0 = S(widen)(VSET(0)), d1 = d0, square0 = d0, square1 = d0;
#define TERM(sum, i, READ, KEEP)                                                                   \
    {                                                                                              \
        S(doubles) d = S(widen)(KEEP(VADD(READ(x + (i)), minus_mean)));                            \
        d##sum = S(add)(d##sum, d);                                                                \
        square##sum = S(add_product)(d, d, square##sum);                                           \
    }
    ALONG_A_ROW(n, TERM);
#undef TERM
    return (S(deviations)){S(total)(S(add)(d0, d1)), S(total)(S(add)(square0, square1))};
}

static void S(layer_norm)(ptrdiff_t rows, ptrdiff_t n, const R *x, ptrdiff_t ldx, const R *gain,
                          const R *bias, double eps, R *z, ptrdiff_t ldz, R *stats) {
    const double share = 1 / (double)n;
    for (ptrdiff_t r = 0; r < rows; r++, x += ldx, z += ldz) {
        R mean = (R)(S(row_sum)(n, x) * share);
        S(deviations) sums = S(sum_deviations)(n, x, mean);
        double lost = sums.d * share, variance = sums.square * share - lost * lost;
        variance = fabs(variance); /* rounding may leave it below 0 where all numbers are equal */
        R low = (R)lost, inverse = (R)(1 / sqrt(variance + eps));
        INDEPENDENT
        for (ptrdiff_t j = 0; j < n; j++)
            z[j] = FMA(gain[j], ((x[j] - mean) - low) * inverse, bias[j]);
        if (stats) stats[2 * r] = mean, stats[2 * r + 1] = inverse;
    }
}

/* sums over a row of: d = x - mean, g = dz gain, g d */
typedef struct { double d, g, product; } S(gradient_sums);

ALWAYS_INLINE S(gradient_sums) S(sum_gradients)(ptrdiff_t n, const R *dz, const R *gain, const R *x,
                                                R mean) {
    const V minus_mean = VSET(-mean), zero = VSET(0);
    S(doubles) d0 = S(widen)(zero), d1 = d0, g0 = d0, g1 = d0, product0 = d0, product1 = d0;
#define TERM(sum, i, READ, KEEP)                                                                   \
    {                                                                                              \
        S(doubles) d = S(widen)(KEEP(VADD(READ(x + (i)), minus_mean)));                            \
        S(doubles) g = S(widen)(VFMA(READ(dz + (i)), READ(gain + (i)), zero));                     \
        d##sum = S(add)(d##sum, d);                                                                \
        g##sum = S(add)(g##sum, g);                                                                \
        product##sum = S(add_product)(g, d, product##sum);                                         \
    }
    ALONG_A_ROW(n, TERM);
#undef TERM
    return (S(gradient_sums)){S(total)(S(add)(d0, d1)), S(total)(S(add)(g0, g1)),
                              S(total)(S(add)(product0, product1))};
}

/* With d = x - mean, g = dz gain and v = 1 / deviation:  dx = v (g - <g> - d v^2 <g d>), where <>
 * is the mean over the row. */
static void S(layer_norm_backward)(ptrdiff_t rows, ptrdiff_t n, const R *dz, ptrdiff_t lddz,
                                   const R *x, ptrdiff_t ldx, const R *stats, const R *gain, R *dx,
                                   ptrdiff_t lddx) {
    const double share = 1 / (double)n;
    for (ptrdiff_t r = 0; r < rows; r++, dz += lddz, x += ldx, dx += lddx) {
        R mean = stats[2 * r], inverse = stats[2 * r + 1];
        S(gradient_sums) sums = S(sum_gradients)(n, dz, gain, x, mean);
        double lost = sums.d * share, mean_g = sums.g * share;
        double slope = (double)inverse * (double)inverse * (sums.product * share - lost * mean_g);
        R factor = (R)slope, constant = (R)(mean_g - lost * slope);
        INDEPENDENT
        for (ptrdiff_t j = 0; j < n; j++)
            dx[j] = inverse * (dz[j] * gain[j] - FMA(x[j] - mean, factor, constant));
    }
}

static void S(layer_norm_gain)(ptrdiff_t rows, ptrdiff_t n, const R *restrict dz, ptrdiff_t lddz,
                               const R *restrict x, ptrdiff_t ldx, const R *restrict stats,
                               R *restrict dgain) {
    for (ptrdiff_t j = 0; j < n; j++) dgain[j] = 0;
    for (ptrdiff_t r = 0; r < rows; r++, dz += lddz, x += ldx) {
        R mean = stats[2 * r], inverse = stats[2 * r + 1];
        for (ptrdiff_t j = 0; j < n; j++)
            dgain[j] = FMA(dz[j], (x[j] - mean) * inverse, dgain[j]);
    }
}

static void S(add_rows)(ptrdiff_t rows, ptrdiff_t n, const R *x, ptrdiff_t ldx, const R *y,
                        ptrdiff_t ldy, R *out, ptrdiff_t ldout) {
    for (ptrdiff_t r = 0; r < rows; r++, x += ldx, y += ldy, out += ldout) {
        INDEPENDENT
        for (ptrdiff_t j = 0; j < n; j++) out[j] = x[j] + y[j];
    }
}

#undef READ_ALL
#undef KEEP_ALL
#undef READ_ROW
#undef KEEP_ROW
#undef ALONG_A_ROW
