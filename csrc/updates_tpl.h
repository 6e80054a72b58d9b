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

/* One step of element i of a block, whose gradient is `given`. */
#define UPDATE_ONE(n_state, given, ...)                                                            \
    R w = ws[start + i], g = (given)*factor;                                                       \
    R s0 = n_state > 0 ? s0s[start + i] : C(0);                                                    \
    R s1 = n_state > 1 ? s1s[start + i] : C(0);                                                    \
    R s2 = n_state > 2 ? s2s[start + i] : C(0);                                                    \
    __VA_ARGS__                                                                                    \
    ws[start + i] = w;                                                                             \
    (void)s0, (void)s1, (void)s2;                                                                  \
    if (n_state > 0) s0s[start + i] = s0;                                                          \
    if (n_state > 1) s1s[start + i] = s1;                                                          \
    if (n_state > 2) s2s[start + i] = s2;

/* In blocks, so that the sum of the partial gradients is still in the first-level cache when the
 * optimizer reads it.
 *
 * The penalty adds shrink w to the gradient and takes the sum of the w w in the order of S(sum), in
 * the pass that updates: with one of its own before it, an update of SGD took a third longer,
 * wherever W lay.  What is left of a block behind whole lanes goes the other way, which has room
 * for it. */
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
            R sums[BLOCK], rest[LANES];                                                            \
            const R *gs = n_parts > 1 ? sums : parts + start;                                      \
            ptrdiff_t count = n - start < BLOCK ? n - start : BLOCK, done = 0;                     \
            if (n_parts > 1) S(add_parts)(count, n_parts, parts + start, stride, 0, sums);         \
            if (decay != 0) {                                                                      \
                double lane[LANES] = {0}, total = 0;                                               \
                for (; done + LANES <= count; done += LANES) {                                     \
                    INDEPENDENT                                                                    \
                    for (int l = 0; l < LANES; l++) {                                              \
                        const ptrdiff_t i = done + l;                                              \
                        const R square = ws[start + i] * ws[start + i];                            \
                        lane[l] += (double)square;                                                 \
                        UPDATE_ONE(n_state, FMA(shrink, w, gs[i]), __VA_ARGS__)                    \
                    }                                                                              \
                }                                                                                  \
                for (int l = 0; done + l < count; l++) {                                           \
                    const R w = ws[start + done + l], square = w * w;                              \
                    lane[l] += (double)square;                                                     \
                    rest[l] = FMA(shrink, w, gs[done + l]);                                        \
                }                                                                                  \
                for (int l = 0; l < LANES; l++) total += lane[l];                                  \
                squares += total;                                                                  \
                gs = rest;                                                                         \
            }                                                                                      \
            const ptrdiff_t first = done;                                                          \
            INDEPENDENT                                                                            \
            for (ptrdiff_t i = first; i < count; i++) {                                            \
                UPDATE_ONE(n_state, gs[i - first], __VA_ARGS__)                                    \
            }                                                                                      \
        }                                                                                          \
        return squares;                                                                            \
    }
#include "optimizers.def"
#undef FNN_OPTIMIZER
#undef UPDATE_ONE
