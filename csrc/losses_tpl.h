/* Losses of one dtype (R): with a sample in each row, then with a sample in each column, where a
 * matrix is (n, rows; ld).  One pair of kernels for each row of losses.def, and cross-entropy,
 * which needs all outputs of a sample together. */

/* ---- a sample in each row ---- */

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

/* dz = softmax(z); then -log softmax(z)_j = log_sum - (z_j - top), which loses no digits where top
 * is large */
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

/* y need not sum to 1: dz_j = (sum y) softmax(z)_j - y_j */
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

/* ---- a sample in each column ---- */

/* LANE_ROWS samples at a time, one in each lane: their sums stay in the first-level cache.  One
 * vector of samples at a time, with the sums in registers, took 3 times as long: gcc unrolls such
 * loops before it vectorises them. */
enum { S(LANE_ROWS) = 128 };

/* the sum of weights times values, in double; all weights are 1 when NULL */
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
        for (ptrdiff_t start = 0; start < rows; start += S(LANE_ROWS)) {                           \
            R values[S(LANE_ROWS)] = {0};                                                          \
            ptrdiff_t count = rows - start < S(LANE_ROWS) ? rows - start : S(LANE_ROWS);           \
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

/* Cross-entropy: targets y, or labels where y is NULL. */
static double S(softmax_columns)(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t ld, const R *z, const R *y,
                                 const int32_t *labels, const R *weights, double ceiling, R *dz) {
    const R highest = (R)ceiling;
    double total = 0;
    for (ptrdiff_t start = 0; start < rows; start += S(LANE_ROWS)) {
        R top[S(LANE_ROWS)], sum[S(LANE_ROWS)], values[S(LANE_ROWS)], mass[S(LANE_ROWS)];
        ptrdiff_t count = rows - start < S(LANE_ROWS) ? rows - start : S(LANE_ROWS);
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
            R logs[S(LANE_ROWS)];
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

/* ---- cross-entropy: by its number of outputs ---- */

/* Few outputs: blocks of rows are transposed, then there is a sample in each lane; see softmax. */
static double S(cross_entropy_transposed)(ptrdiff_t rows, ptrdiff_t n, const R *z, const R *y,
                                      const int32_t *labels, const R *weights, double ceiling,
                                      R *dz) {
    R zs[S(FEW) * S(FEW_ROWS)], ys[S(FEW) * S(FEW_ROWS)], ds[S(FEW) * S(FEW_ROWS)];
    double total = 0;
    for (ptrdiff_t r = 0; r < rows; r += S(FEW_ROWS)) {
        ptrdiff_t count = rows - r < S(FEW_ROWS) ? rows - r : S(FEW_ROWS);
        S(transpose)(count, n, z + r * n, n, NULL, zs, S(FEW_ROWS));
        if (y) S(transpose)(count, n, y + r * n, n, NULL, ys, S(FEW_ROWS));
        total += S(softmax_columns)(count, n, S(FEW_ROWS), zs, y ? ys : NULL, y ? NULL : labels + r,
                                    weights ? weights + r : NULL, ceiling, ds);
        S(transpose)(n, count, ds, S(FEW_ROWS), NULL, dz + r * n, n);
    }
    return total;
}

static double S(loss_cross_entropy)(ptrdiff_t rows, ptrdiff_t n, const R *z, const R *y,
                                    const R *weights, double ceiling, R *dz) {
    if (n <= S(FEW))
        return S(cross_entropy_transposed)(rows, n, z, y, NULL, weights, ceiling, dz);
    return S(loss_rows_cross_entropy)(rows, n, z, y, weights, ceiling, dz);
}

static double S(cross_entropy_labels)(ptrdiff_t rows, ptrdiff_t n, const R *z,
                                      const int32_t *labels, const R *weights, double ceiling,
                                      R *dz) {
    if (n <= S(FEW))
        return S(cross_entropy_transposed)(rows, n, z, NULL, labels, weights, ceiling, dz);
    return S(cross_entropy_labels_rows)(rows, n, z, labels, weights, ceiling, dz);
}
#undef FNN_ROW_LOSS
