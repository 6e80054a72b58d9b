/* The elementwise and rowwise kernels of one dtype (R); see fastnn.h for what each does.  Plain loops
 * that the compiler vectorises: measured as fast as intrinsics for all but the products. */

#ifndef FNN_KERNELS_ONCE
#define FNN_KERNELS_ONCE
enum { BLOCK = 512, LANES = 16 };
#endif

/* Sum with a fixed order that vectorises: 16 partial sums in double, added at the end. */
static double S(sum)(ptrdiff_t n, const R *x) {
    double lane[LANES] = {0}, total = 0;
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++) lane[l] += (double)x[i + l];
    for (int l = 0; i + l < n; l++) lane[l] += (double)x[i + l];
    for (int l = 0; l < LANES; l++) total += lane[l];
    return total;
}

/* ---- activations ---- */

#define FNN_ACTIVATION_ALIAS(alias, name)
#define FNN_ACTIVATION(name, needs_z, value, derivative)                                           \
    static void S(bias_activate_##name)(ptrdiff_t rows, ptrdiff_t n, R *zs, const R *b, R *as) {   \
        if (!b) {                                                                                  \
            n *= rows;                                                                             \
            rows = 1;                                                                              \
        }                                                                                          \
        for (ptrdiff_t r = 0; r < rows; r++, zs += n, as += n) {                                   \
            if (b) {                                                                               \
                INDEPENDENT                                                                        \
                for (ptrdiff_t j = 0; j < n; j++) {                                                \
                    R z = zs[j] + b[j];                                                            \
                    if (needs_z) zs[j] = z;                                                        \
                    as[j] = (value);                                                               \
                }                                                                                  \
            } else {                                                                               \
                INDEPENDENT                                                                        \
                for (ptrdiff_t j = 0; j < n; j++) {                                                \
                    R z = zs[j];                                                                   \
                    as[j] = (value);                                                               \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    static void S(activation_backward_##name)(ptrdiff_t count, const R *zs, const R *as, R *d) {   \
        INDEPENDENT                                                                                \
        for (ptrdiff_t i = 0; i < count; i++) {                                                    \
            R z = zs[i], a = as[i];                                                                \
            (void)z, (void)a;                                                                      \
            d[i] *= (derivative);                                                                  \
        }                                                                                          \
    }
#include "activations.def"
#undef FNN_ACTIVATION

/* Up to FEW columns a row is added up in order, so that blocks of rows can be turned and worked on
 * with a row in each lane, and still give the bits of one row by itself. */
enum { S(FEW) = 32, S(TURNED) = 64 };

static void S(softmax_turned)(ptrdiff_t rows, ptrdiff_t n, const R *z, R *p) {
    R zs[S(FEW) * S(TURNED)], top[S(TURNED)], sum[S(TURNED)];
    S(transpose)(rows, n, z, n, NULL, zs, S(TURNED));
    for (ptrdiff_t r = 0; r < rows; r++) top[r] = zs[r], sum[r] = 0;
    for (ptrdiff_t j = 1; j < n; j++)
        for (ptrdiff_t r = 0; r < rows; r++) {
            R x = zs[j * S(TURNED) + r];
            top[r] = x > top[r] ? x : top[r];
        }
    for (ptrdiff_t j = 0; j < n; j++) {
        INDEPENDENT
        for (ptrdiff_t r = 0; r < rows; r++) {
            R e = EXP(zs[j * S(TURNED) + r] - top[r]);
            zs[j * S(TURNED) + r] = e;
            sum[r] += e;
        }
    }
    for (ptrdiff_t r = 0; r < rows; r++) sum[r] = 1 / sum[r];
    for (ptrdiff_t j = 0; j < n; j++)
        for (ptrdiff_t r = 0; r < rows; r++) zs[j * S(TURNED) + r] *= sum[r];
    S(transpose)(n, rows, zs, S(TURNED), NULL, p, n);
}

static void S(softmax)(ptrdiff_t rows, ptrdiff_t n, const R *z, R *p) {
    while (n <= S(FEW) && rows >= 4) {
        ptrdiff_t count = rows < S(TURNED) ? rows : S(TURNED);
        S(softmax_turned)(count, n, z, p);
        z += count * n, p += count * n, rows -= count;
    }
    for (ptrdiff_t r = 0; r < rows; r++, z += n, p += n) {
        R top = z[0], sum = 0;
        for (ptrdiff_t j = 1; j < n; j++) top = z[j] > top ? z[j] : top;
        INDEPENDENT
        for (ptrdiff_t j = 0; j < n; j++) p[j] = EXP(z[j] - top);
        if (n <= S(FEW)) {
            for (ptrdiff_t j = 0; j < n; j++) sum += p[j];
        } else {
            sum = (R)S(sum)(n, p);
        }
        R inverse = 1 / sum;
        INDEPENDENT
        for (ptrdiff_t j = 0; j < n; j++) p[j] *= inverse;
    }
}

/* ---- losses ---- */

#define FNN_ROW_LOSS(name, ...)
#define FNN_LOSS(name, link, reduction, targets, loss, derivative)                                 \
    static double S(loss_##name)(ptrdiff_t rows, ptrdiff_t n, const R *zs, const R *ys,            \
                                 const R *weights, double ceiling, R *dz) {                        \
        const R highest = (R)ceiling;                                                              \
        double total = 0;                                                                          \
        if (!weights) {                                                                            \
            n *= rows;                                                                             \
            rows = 1;                                                                              \
        }                                                                                          \
        for (ptrdiff_t r = 0; r < rows; r++) {                                                     \
            R weight = weights ? weights[r] : C(1);                                                \
            double row = 0;                                                                        \
            for (ptrdiff_t start = 0; start < n; start += BLOCK) {                                 \
                R values[BLOCK];                                                                   \
                ptrdiff_t count = n - start < BLOCK ? n - start : BLOCK;                           \
                INDEPENDENT                                                                        \
                for (ptrdiff_t j = 0; j < count; j++) {                                            \
                    R z = zs[j], y = ys[j];                                                        \
                    R value = (loss);                                                              \
                    values[j] = value > highest ? highest : value;                                 \
                    dz[j] = weight * (derivative);                                                 \
                }                                                                                  \
                row += S(sum)(count, values);                                                      \
                zs += count, ys += count, dz += count;                                             \
            }                                                                                      \
            total += (double)weight * row;                                                         \
        }                                                                                          \
        return total;                                                                              \
    }
#include "losses.def"
#undef FNN_LOSS

/* dz = softmax(z); -log softmax(z)_j = log_sum - (z_j - top), which loses no digits to a large top */
typedef struct { R top, log_sum; } S(row_scale);

static S(row_scale) S(softmax_row)(ptrdiff_t n, const R *z, R *dz) {
    R top = z[0];
    for (ptrdiff_t j = 1; j < n; j++) top = z[j] > top ? z[j] : top;
    INDEPENDENT
    for (ptrdiff_t j = 0; j < n; j++) dz[j] = EXP(z[j] - top);
    R sum = (R)S(sum)(n, dz), inverse = 1 / sum;
    INDEPENDENT
    for (ptrdiff_t j = 0; j < n; j++) dz[j] *= inverse;
    return (S(row_scale)){top, LOG(sum)};
}

/* targets may be any distribution, or any weights: dz_j = (sum y) softmax(z)_j - y_j */
static double S(loss_rows_cross_entropy)(ptrdiff_t rows, ptrdiff_t n, const R *z, const R *y,
                                    const R *weights, double ceiling, R *dz) {
    const R highest = (R)ceiling;
    double total = 0;
    for (ptrdiff_t r = 0; r < rows; r++, z += n, y += n, dz += n) {
        R weight = weights ? weights[r] : C(1);
        S(row_scale) scale = S(softmax_row)(n, z, dz);
        R mass = (R)S(sum)(n, y);
        double row = 0;
        for (ptrdiff_t j = 0; j < n; j++) {
            R value = scale.log_sum - (z[j] - scale.top);
            value = value > highest ? highest : value;
            row += (double)(y[j] != 0 ? y[j] * value : C(0));
            dz[j] = weight * (mass * dz[j] - y[j]);
        }
        total += (double)weight * row;
    }
    return total;
}

static double S(cross_entropy_labels_rows)(ptrdiff_t rows, ptrdiff_t n, const R *z,
                                           const int32_t *labels, const R *weights,
                                           double ceiling, R *dz) {
    double total = 0;
    for (ptrdiff_t r = 0; r < rows; r++, z += n, dz += n) {
        S(row_scale) scale = S(softmax_row)(n, z, dz);
        double row = (double)(scale.log_sum - (z[labels[r]] - scale.top));
        row = row > ceiling ? ceiling : row;
        dz[labels[r]] -= 1;
        if (weights) {
            for (ptrdiff_t j = 0; j < n; j++) dz[j] *= weights[r];
            row *= (double)weights[r];
        }
        total += row;
    }
    return total;
}

/* ---- losses with a sample in each column ---- */

/* Samples at a time: their sums stay in L1.  (A vector of samples at a time, all in registers, was
 * thrice as slow: gcc unrolls such loops before it comes to vectorise them.) */
enum { S(COLUMNS) = 128 };

/* weighted sum of the samples' values, each a double */
static double S(weighted)(ptrdiff_t count, const R *values, const R *weights) {
    double total = 0;
    if (!weights) return S(sum)(count, values);
    for (ptrdiff_t r = 0; r < count; r++) total += (double)weights[r] * (double)values[r];
    return total;
}

#define FNN_LOSS(name, link, reduction, targets, loss, derivative)                                 \
    static double S(loss_columns_##name)(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t ld, const R *zs,   \
                                         const R *ys, const R *weights, double ceiling, R *dz) {   \
        const R highest = (R)ceiling;                                                              \
        double total = 0;                                                                          \
        for (ptrdiff_t start = 0; start < rows; start += S(COLUMNS)) {                             \
            R values[S(COLUMNS)] = {0};                                                            \
            ptrdiff_t count = rows - start < S(COLUMNS) ? rows - start : S(COLUMNS);               \
            const R *s = weights ? weights + start : NULL;                                         \
            for (ptrdiff_t j = 0; j < n; j++) {                                                    \
                const R *zj = zs + j * ld + start, *yj = ys + j * ld + start;                      \
                R *dj = dz + j * ld + start;                                                       \
                INDEPENDENT                                                                        \
                for (ptrdiff_t r = 0; r < count; r++) {                                            \
                    R z = zj[r], y = yj[r];                                                        \
                    R value = (loss);                                                              \
                    values[r] += value > highest ? highest : value;                                \
                    dj[r] = (derivative);                                                          \
                }                                                                                  \
                if (s) {                                                                           \
                    INDEPENDENT                                                                    \
                    for (ptrdiff_t r = 0; r < count; r++) dj[r] *= s[r];                           \
                }                                                                                  \
            }                                                                                      \
            total += S(weighted)(count, values, s);                                                \
        }                                                                                          \
        return total;                                                                              \
    }
#include "losses.def"
#undef FNN_LOSS

/* y is NULL when there are labels */
static double S(softmax_columns)(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t ld, const R *z, const R *y,
                                 const int32_t *labels, const R *weights, double ceiling, R *dz) {
    const R highest = (R)ceiling;
    double total = 0;
    for (ptrdiff_t start = 0; start < rows; start += S(COLUMNS)) {
        R top[S(COLUMNS)], sum[S(COLUMNS)], values[S(COLUMNS)], mass[S(COLUMNS)];
        ptrdiff_t count = rows - start < S(COLUMNS) ? rows - start : S(COLUMNS);
        const R *zs = z + start, *ys = y ? y + start : NULL, *s = weights ? weights + start : NULL;
        R *ds = dz + start;
        for (ptrdiff_t r = 0; r < count; r++) top[r] = zs[r], sum[r] = 0;
        for (ptrdiff_t j = 1; j < n; j++)
            for (ptrdiff_t r = 0; r < count; r++)
                top[r] = zs[j * ld + r] > top[r] ? zs[j * ld + r] : top[r];
        for (ptrdiff_t j = 0; j < n; j++) {
            INDEPENDENT
            for (ptrdiff_t r = 0; r < count; r++) {
                R e = EXP(zs[j * ld + r] - top[r]);
                ds[j * ld + r] = e;
                sum[r] += e;
            }
        }
        INDEPENDENT
        for (ptrdiff_t r = 0; r < count; r++) {
            values[r] = LOG(sum[r]);
            sum[r] = 1 / sum[r];
            mass[r] = 1;
        }
        if (y) {
            R logs[S(COLUMNS)];
            for (ptrdiff_t r = 0; r < count; r++) logs[r] = values[r], values[r] = mass[r] = 0;
            for (ptrdiff_t j = 0; j < n; j++)
                for (ptrdiff_t r = 0; r < count; r++) {
                    R target = ys[j * ld + r], behind = logs[r] - (zs[j * ld + r] - top[r]);
                    behind = behind > highest ? highest : behind;
                    mass[r] += target;
                    values[r] += target != 0 ? target * behind : C(0);
                }
        } else {
            for (ptrdiff_t r = 0; r < count; r++) {
                R value = values[r] - (zs[labels[start + r] * ld + r] - top[r]);
                values[r] = value > highest ? highest : value;
            }
        }
        for (ptrdiff_t j = 0; j < n; j++) {
            INDEPENDENT
            for (ptrdiff_t r = 0; r < count; r++) {
                R d = mass[r] * (ds[j * ld + r] * sum[r]);
                ds[j * ld + r] = y ? d - ys[j * ld + r] : d;
            }
        }
        if (!y)
            for (ptrdiff_t r = 0; r < count; r++) ds[labels[start + r] * ld + r] -= 1;
        if (s)
            for (ptrdiff_t j = 0; j < n; j++)
                for (ptrdiff_t r = 0; r < count; r++) ds[j * ld + r] *= s[r];
        total += S(weighted)(count, values, s);
    }
    return total;
}

static double S(loss_columns_cross_entropy)(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t ld, const R *z,
                                            const R *y, const R *weights, double ceiling, R *dz) {
    return S(softmax_columns)(rows, n, ld, z, y, NULL, weights, ceiling, dz);
}

static double S(cross_entropy_labels_columns)(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t ld, const R *z,
                                              const int32_t *labels, const R *weights,
                                              double ceiling, R *dz) {
    return S(softmax_columns)(rows, n, ld, z, NULL, labels, weights, ceiling, dz);
}

/* few outputs: a sample in each lane, see softmax */
static double S(cross_entropy_turned)(ptrdiff_t rows, ptrdiff_t n, const R *z, const R *y,
                                      const int32_t *labels, const R *weights, double ceiling,
                                      R *dz) {
    R zs[S(FEW) * S(TURNED)], ys[S(FEW) * S(TURNED)], ds[S(FEW) * S(TURNED)];
    double total = 0;
    for (ptrdiff_t r = 0; r < rows; r += S(TURNED)) {
        ptrdiff_t count = rows - r < S(TURNED) ? rows - r : S(TURNED);
        S(transpose)(count, n, z + r * n, n, NULL, zs, S(TURNED));
        if (y) S(transpose)(count, n, y + r * n, n, NULL, ys, S(TURNED));
        total += S(softmax_columns)(count, n, S(TURNED), zs, y ? ys : NULL, y ? NULL : labels + r,
                                    weights ? weights + r : NULL, ceiling, ds);
        S(transpose)(n, count, ds, S(TURNED), NULL, dz + r * n, n);
    }
    return total;
}

static double S(loss_cross_entropy)(ptrdiff_t rows, ptrdiff_t n, const R *z, const R *y,
                                    const R *weights, double ceiling, R *dz) {
    if (n <= S(FEW)) return S(cross_entropy_turned)(rows, n, z, y, NULL, weights, ceiling, dz);
    return S(loss_rows_cross_entropy)(rows, n, z, y, weights, ceiling, dz);
}

static double S(cross_entropy_labels)(ptrdiff_t rows, ptrdiff_t n, const R *z, const int32_t *labels,
                                      const R *weights, double ceiling, R *dz) {
    if (n <= S(FEW)) return S(cross_entropy_turned)(rows, n, z, NULL, labels, weights, ceiling, dz);
    return S(cross_entropy_labels_rows)(rows, n, z, labels, weights, ceiling, dz);
}

/* ---- gradients and updates ---- */

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

/* Blocks that stay in the first-level cache: the gradient is added up, then used at once. */
#define FNN_OPTIMIZER(name, n_state, coefficients, ...)                                            \
    static double S(update_##name)(ptrdiff_t n, int n_parts, const R *parts, ptrdiff_t stride,     \
                                   double decay, double scale, R *ws, R *s0s, R *s1s,              \
                                   const double *c) {                                              \
        const R c0 = (R)c[0], c1 = (R)c[1], c2 = (R)c[2], c3 = (R)c[3], c4 = (R)c[4],              \
                c5 = (R)c[5], c6 = (R)c[6], c7 = (R)c[7];                                          \
        const R shrink = (R)decay, factor = (R)scale;                                              \
        double squares = 0;                                                                        \
        (void)c0, (void)c1, (void)c2, (void)c3, (void)c4, (void)c5, (void)c6, (void)c7;            \
        (void)s1s;                                                                                 \
        for (ptrdiff_t start = 0; start < n; start += BLOCK) {                                     \
            R sums[BLOCK];                                                                         \
            const R *gs = n_parts > 1 || decay != 0 ? sums : parts + start;                        \
            ptrdiff_t count = n - start < BLOCK ? n - start : BLOCK;                               \
            if (gs == sums) S(add_parts)(count, n_parts, parts + start, stride, 0, sums);          \
            if (decay != 0) {                                                                      \
                R square[BLOCK];                                                                   \
                INDEPENDENT                                                                        \
                for (ptrdiff_t i = 0; i < count; i++) {                                            \
                    R w = ws[start + i];                                                           \
                    square[i] = w * w;                                                             \
                    sums[i] = FMA(shrink, w, sums[i]);                                                \
                }                                                                                  \
                squares += S(sum)(count, square);                                                  \
            }                                                                                      \
            INDEPENDENT                                                                            \
            for (ptrdiff_t i = 0; i < count; i++) {                                                \
                R w = ws[start + i], g = gs[i] * factor, s0 = s0s[start + i];                      \
                R s1 = n_state > 1 ? s1s[start + i] : C(0);                                        \
                __VA_ARGS__                                                                        \
                ws[start + i] = w;                                                                 \
                s0s[start + i] = s0;                                                               \
                if (n_state > 1) s1s[start + i] = s1;                                              \
            }                                                                                      \
        }                                                                                          \
        return squares;                                                                            \
    }
#include "optimizers.def"
#undef FNN_OPTIMIZER

/* ---- dropout ---- */

/* Srivastava et al. 2014, inverted.  The random word of an element is Philox of its row in the batch, its column, the step and the layer: whoever computes it, in
 * whatever pieces, gets the same.  Column j of a block of 64 is word j / 16 of lane j % 16. */
static void S(dropout)(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t row0, const fnn_dropout *d, const R *x,
                       R *out) {
    const R scale = (R)d->scale;
    for (ptrdiff_t r = 0; r < rows; r++, x += n, out += n) {
        for (ptrdiff_t start = 0; start < n; start += 4 * LANES) {
            uint32_t word[4][LANES];
            philox(d->seed, (uint32_t)(start / 4), (uint32_t)(row0 + r), (uint32_t)d->step,
                   d->layer ^ (uint32_t)(d->step >> 32) << 16, word);
            const uint32_t *random = &word[0][0];
            ptrdiff_t count = n - start < 4 * LANES ? n - start : 4 * LANES;
            INDEPENDENT
            for (ptrdiff_t j = 0; j < count; j++)
                out[start + j] = random[j] >= d->threshold ? scale * x[start + j] : C(0);
        }
    }
}

/* ---- for the tests of vecmath.h ---- */

#define VECMATH(name, NAME)                                                                        \
    static void S(vec_##name)(ptrdiff_t n, const R *x, R *out) {                                   \
        INDEPENDENT                                                                                \
        for (ptrdiff_t i = 0; i < n; i++) out[i] = NAME(x[i]);                                     \
    }
VECMATH(exp, EXP)
VECMATH(log, LOG)
VECMATH(log1p, LOG1P)
VECMATH(tanh, TANH)
VECMATH(sigmoid, SIGMOID)
VECMATH(normcdf, NORMCDF)
#undef VECMATH
#undef FNN_ROW_LOSS
#undef FNN_ACTIVATION_ALIAS
