/* Sums of gradients, and the steps of the optimizers, of one dtype (R).
 *
 * Each task of a training step sums the gradient over rows of its own.  These partial gradients
 * (`parts`, n_parts of them) are added up here, always in the same order. */

static void S(column_sums)(ptrdiff_t rows, ptrdiff_t n, const R *restrict x, ptrdiff_t ldx,
                           R *restrict out) {
    for (ptrdiff_t j = 0; j < n; j++) out[j] = 0;
    for (ptrdiff_t r = 0; r < rows; r++, x += ldx)
        for (ptrdiff_t j = 0; j < n; j++) out[j] += x[j];
}

static void S(add_parts)(ptrdiff_t n, int n_parts, const R *parts, ptrdiff_t stride, int accumulate,
                         R *out) {
    int next = 0;
    if (!accumulate && n_parts > 1) {
        INDEPENDENT
        for (ptrdiff_t i = 0; i < n; i++) out[i] = parts[i] + parts[stride + i];
        next = 2;
    } else if (!accumulate) {
        memcpy(out, parts, (size_t)n * sizeof(R));
        next = 1;
    }
    for (; next < n_parts; next++) {
        const R *part = parts + next * stride;
        INDEPENDENT
        for (ptrdiff_t i = 0; i < n; i++) out[i] += part[i];
    }
}

/* out = g + shrink w; returns the sum of the w w, in the order of S(sum).  One pass: with three, the
 * penalty took twice as long as the update. */
static double S(add_decay)(ptrdiff_t n, R shrink, const R *restrict ws, const R *restrict gs,
                           R *restrict out) {
    double lane[LANES] = {0}, total = 0;
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++) {
            const R w = ws[i + l], square = w * w;
            lane[l] += (double)square;
            out[i + l] = FMA(shrink, w, gs[i + l]);
        }
    for (int l = 0; i + l < n; l++) {
        const R w = ws[i + l], square = w * w;
        lane[l] += (double)square;
        out[i + l] = FMA(shrink, w, gs[i + l]);
    }
    for (int l = 0; l < LANES; l++) total += lane[l];
    return total;
}

/* In blocks, so that the sum of the partial gradients is still in the first-level cache when the
 * optimizer reads it. */
#define FNN_OPTIMIZER(name, n_state, coefficients, ...)                                            \
    static double S(update_##name)(ptrdiff_t n, int n_parts, const R *parts, ptrdiff_t stride,     \
                                   double decay, double scale, R *ws, R *s0s, R *s1s,              \
                                   R *s2s, const double *c) {                                      \
        const R c0 = (R)c[0], c1 = (R)c[1], c2 = (R)c[2], c3 = (R)c[3], c4 = (R)c[4],              \
                c5 = (R)c[5], c6 = (R)c[6], c7 = (R)c[7];                                          \
        const R shrink = (R)decay, factor = (R)scale;                                              \
        double squares = 0;                                                                        \
        (void)c0, (void)c1, (void)c2, (void)c3, (void)c4, (void)c5, (void)c6, (void)c7;            \
        (void)s0s, (void)s1s, (void)s2s;                                                           \
        for (ptrdiff_t start = 0; start < n; start += BLOCK) {                                     \
            R sums[BLOCK], decayed[BLOCK];                                                         \
            const R *gs = n_parts > 1 ? sums : parts + start;                                      \
            ptrdiff_t count = n - start < BLOCK ? n - start : BLOCK;                               \
            if (n_parts > 1) S(add_parts)(count, n_parts, parts + start, stride, 0, sums);         \
            if (decay != 0) {                                                                      \
                squares += S(add_decay)(count, shrink, ws + start, gs, decayed);                   \
                gs = decayed;                                                                      \
            }                                                                                      \
            INDEPENDENT                                                                            \
            for (ptrdiff_t i = 0; i < count; i++) {                                                \
                R w = ws[start + i], g = gs[i] * factor;                                           \
                R s0 = n_state > 0 ? s0s[start + i] : C(0);                                        \
                R s1 = n_state > 1 ? s1s[start + i] : C(0);                                        \
                R s2 = n_state > 2 ? s2s[start + i] : C(0);                                        \
                __VA_ARGS__                                                                        \
                ws[start + i] = w;                                                                 \
                (void)s0, (void)s1, (void)s2;                                                      \
                if (n_state > 0) s0s[start + i] = s0;                                              \
                if (n_state > 1) s1s[start + i] = s1;                                              \
                if (n_state > 2) s2s[start + i] = s2;                                              \
            }                                                                                      \
        }                                                                                          \
        return squares;                                                                            \
    }
#include "optimizers.def"
#undef FNN_OPTIMIZER
