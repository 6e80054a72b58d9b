/* Losses of one dtype (R): with a sample in each row, then with a sample in each column, where a
 * matrix is (n, rows; ld).  One pair of kernels for each row of losses.def; those that need all
 * outputs of a sample together stand in row_losses_tpl.h. */

/* ---- a sample in each row ---- */

#define FNN_ROW_LOSS(name, ...)
#define FNN_LOSS_H(name, ...)
#define FNN_LOSS(name, link, reduction, targets, loss, derivative)                                 \
    static double S(loss_##name)(ptrdiff_t rows, ptrdiff_t n, const R *zs, const R *ys,            \
                                 const int32_t *labels, const R *weights, double ceiling,          \
                                 const double *h, R *dz) {                                         \
        const R highest = (R)ceiling;                                                              \
        double total = 0;                                                                          \
        (void)labels, (void)h;                                                                     \
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
#undef FNN_LOSS_H

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

/* Parameters of an output are constants of the inner loop. */
#define NO_PARAMETERS (void)h;
#define PARAMETERS                                                                                 \
    const double *hj = h + j * FNN_N_PARAMETERS;                                                   \
    const R h0 = (R)hj[0], h1 = (R)hj[1], h2 = (R)hj[2], h3 = (R)hj[3];                            \
    (void)h0, (void)h1, (void)h2, (void)h3;
#define LOSS_BY_COLUMNS(name, parameters, loss, derivative)                                        \
    static double S(loss_columns_##name)(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t ld, const R *zs,   \
                                         const R *ys, const int32_t *labels, const R *weights,     \
                                         double ceiling, const double *h, R *dz) {                 \
        const R highest = (R)ceiling;                                                              \
        double total = 0;                                                                          \
        (void)labels;                                                                              \
        for (ptrdiff_t start = 0; start < rows; start += S(LANE_ROWS)) {                           \
            R values[S(LANE_ROWS)] = {0};                                                          \
            ptrdiff_t count = rows - start < S(LANE_ROWS) ? rows - start : S(LANE_ROWS);           \
            const R *s = weights ? weights + start : NULL;                                         \
            for (ptrdiff_t j = 0; j < n; j++) {                                                    \
                parameters                                                                         \
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
#define FNN_LOSS(name, link, reduction, targets, loss, derivative)                                 \
    LOSS_BY_COLUMNS(name, NO_PARAMETERS, loss, derivative)
#define FNN_LOSS_H(name, link, reduction, targets, count_h, loss, derivative)                      \
    LOSS_BY_COLUMNS(name, PARAMETERS, loss, derivative)
#include "losses.def"
#undef FNN_LOSS
#undef FNN_LOSS_H
#undef LOSS_BY_COLUMNS
#undef PARAMETERS
#undef NO_PARAMETERS

/* ---- a sample in each row, by columns ---- */

typedef double S(loss_kernel)(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t ld, const R *z, const R *y,
                              const int32_t *labels, const R *weights, double ceiling,
                              const double *h, R *dz);

/* Blocks of rows are transposed, then there is a sample in each lane; see softmax.  A row too long
 * for that is a matrix of one column as it lies. */
static double S(loss_by_columns)(S(loss_kernel) *kernel, ptrdiff_t rows, ptrdiff_t n, const R *z,
                                 const R *y, const int32_t *labels, const R *weights,
                                 double ceiling, const double *h, R *dz) {
    enum { ROOM = S(FEW) * S(FEW_ROWS) };
    R zs[ROOM], ys[ROOM], ds[ROOM];
    double total = 0;
    ptrdiff_t step = n <= S(FEW) ? S(FEW_ROWS) : n <= ROOM ? ROOM / n : 1;
    for (ptrdiff_t r = 0; r < rows; r += step) {
        ptrdiff_t count = rows - r < step ? rows - r : step;
        const R *zr = z + r * n, *yr = y ? y + r * n : NULL, *s = weights ? weights + r : NULL;
        const int32_t *l = y ? NULL : labels + r;
        if (n > ROOM) {
            total += kernel(1, n, 1, zr, yr, l, s, ceiling, h, dz + r * n);
            continue;
        }
        S(transpose)(count, n, zr, n, NULL, zs, step);
        if (y) S(transpose)(count, n, yr, n, NULL, ys, step);
        total += kernel(count, n, step, zs, y ? ys : NULL, l, s, ceiling, h, ds);
        S(transpose)(n, count, ds, step, NULL, dz + r * n, n);
    }
    return total;
}

#define FNN_LOSS(name, ...)
#define FNN_LOSS_H(name, ...)                                                                      \
    static double S(loss_##name)(ptrdiff_t rows, ptrdiff_t n, const R *z, const R *y,              \
                                 const int32_t *labels, const R *weights, double ceiling,          \
                                 const double *h, R *dz) {                                         \
        return S(loss_by_columns)(S(loss_columns_##name), rows, n, z, y, labels, weights, ceiling, \
                                  h, dz);                                                          \
    }
#include "losses.def"
#undef FNN_LOSS
#undef FNN_LOSS_H
#undef FNN_ROW_LOSS
