/* Losses of one dtype (R) that need all outputs of a sample together: see FNN_ROW_LOSS in
 * losses.def.  Each stands here by columns; by rows the blocks of losses_tpl.h are transposed, but
 * for cross-entropy of many outputs, which has a kernel of its own. */

/* ---- cross-entropy, a sample in each row ---- */

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
static double S(cross_entropy_rows)(ptrdiff_t rows, ptrdiff_t n, const R *z, const R *y,
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

/* What softmax and its logarithm are made of, for up to LANE_ROWS samples: e (n, count; ld) =
 * exp(z - top), and of each sample top, 1 / sum of e, log of that sum. */
static void S(softmax_scales)(ptrdiff_t count, ptrdiff_t n, ptrdiff_t ld, const R *z, R *e, R *top,
                              R *inverse, R *logs) {
    for (ptrdiff_t r = 0; r < count; r++) top[r] = z[r], inverse[r] = 0;
    for (ptrdiff_t j = 1; j < n; j++)
        for (ptrdiff_t r = 0; r < count; r++)
            top[r] = z[j * ld + r] > top[r] ? z[j * ld + r] : top[r];
    for (ptrdiff_t j = 0; j < n; j++) {
        INDEPENDENT
        for (ptrdiff_t r = 0; r < count; r++) {
            e[j * ld + r] = EXP(z[j * ld + r] - top[r]);
            inverse[r] += e[j * ld + r];
        }
    }
    INDEPENDENT
    for (ptrdiff_t r = 0; r < count; r++) {
        logs[r] = LOG(inverse[r]);
        inverse[r] = 1 / inverse[r];
    }
}

/* ---- cross-entropy, a sample in each column ---- */

/* Cross-entropy: targets y, or labels where y is NULL. */
static double S(softmax_columns)(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t ld, const R *z, const R *y,
                                 const int32_t *labels, const R *weights, double ceiling, R *dz) {
    const R highest = (R)ceiling;
    double total = 0;
    for (ptrdiff_t start = 0; start < rows; start += S(LANE_ROWS)) {
        R top[S(LANE_ROWS)], inverse[S(LANE_ROWS)], values[S(LANE_ROWS)], mass[S(LANE_ROWS)];
        ptrdiff_t count = rows - start < S(LANE_ROWS) ? rows - start : S(LANE_ROWS);
        const R *zs = z + start, *ys = y ? y + start : NULL, *s = weights ? weights + start : NULL;
        R *ds = dz + start;
        S(softmax_scales)(count, n, ld, zs, ds, top, inverse, values);
        for (ptrdiff_t r = 0; r < count; r++) mass[r] = 1;
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
                R d = mass[r] * (ds[j * ld + r] * inverse[r]);
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

/* out (count) = the targets of output j */
static void S(targets_of)(ptrdiff_t count, ptrdiff_t j, const R *y, const int32_t *labels, R *out) {
    for (ptrdiff_t r = 0; r < count; r++) out[r] = y ? y[r] : labels[r] == j ? C(1) : C(0);
}

/* Label smoothing: (1 - h0) y + h0 (sum y) / n in the place of y. */
static double S(smoothed_columns)(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t ld, const R *z, const R *y,
                                  const int32_t *labels, const R *weights, double ceiling,
                                  const double *h, R *dz) {
    const R highest = (R)ceiling, kept = (R)(1 - h[0]), share = (R)(h[0] / (double)n);
    double total = 0;
    for (ptrdiff_t start = 0; start < rows; start += S(LANE_ROWS)) {
        R top[S(LANE_ROWS)], inverse[S(LANE_ROWS)], logs[S(LANE_ROWS)], target[S(LANE_ROWS)];
        R mass[S(LANE_ROWS)];
        double values[S(LANE_ROWS)]; /* no term is 0 */
        ptrdiff_t count = rows - start < S(LANE_ROWS) ? rows - start : S(LANE_ROWS);
        const R *zs = z + start, *ys = y ? y + start : NULL, *s = weights ? weights + start : NULL;
        R *ds = dz + start;
        S(softmax_scales)(count, n, ld, zs, ds, top, inverse, logs);
        for (ptrdiff_t r = 0; r < count; r++) values[r] = 0, mass[r] = y ? C(0) : C(1);
        for (ptrdiff_t j = 0; ys && j < n; j++)
            for (ptrdiff_t r = 0; r < count; r++) mass[r] += ys[j * ld + r];
        for (ptrdiff_t j = 0; j < n; j++) {
            R *dj = ds + j * ld;
            S(targets_of)(count, j, ys ? ys + j * ld : NULL, y ? NULL : labels + start, target);
            for (ptrdiff_t r = 0; r < count; r++) {
                R t = kept * target[r] + share * mass[r];
                R value = logs[r] - (zs[j * ld + r] - top[r]);
                values[r] += (double)(t * (value > highest ? highest : value));
                R d = mass[r] * (dj[r] * inverse[r]) - t;
                dj[r] = s ? d * s[r] : d;
            }
        }
        for (ptrdiff_t r = 0; r < count; r++) total += (s ? (double)s[r] : 1) * values[r];
    }
    return total;
}

static double S(loss_columns_cross_entropy)(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t ld, const R *z,
                                            const R *y, const int32_t *labels, const R *weights,
                                            double ceiling, const double *h, R *dz) {
    if (h)
        return S(smoothed_columns)(rows, n, ld, z, y, labels, weights, ceiling, h, dz);
    return S(softmax_columns)(rows, n, ld, z, y, y ? NULL : labels, weights, ceiling, dz);
}

/* by its number of outputs */
static double S(loss_cross_entropy)(ptrdiff_t rows, ptrdiff_t n, const R *z, const R *y,
                                    const int32_t *labels, const R *weights, double ceiling,
                                    const double *h, R *dz) {
    if (n <= S(FEW) || h)
        return S(loss_by_columns)(S(loss_columns_cross_entropy), rows, n, z, y, labels, weights,
                                  ceiling, h, dz);
    if (y) return S(cross_entropy_rows)(rows, n, z, y, weights, ceiling, dz);
    return S(cross_entropy_labels_rows)(rows, n, z, labels, weights, ceiling, dz);
}

/* ---- focal ---- */

/* Of f(p) = -(1 - p)^gamma log p the slope p f'(p) = (1 - p)^gamma (gamma p log p / (1 - p) - 1);
 * then dz_j = g_j - p_j sum_k g_k with g_k = y_k p_k f'(p_k). */
static double S(loss_columns_focal)(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t ld, const R *z,
                                    const R *y, const int32_t *labels, const R *weights,
                                    double ceiling, const double *h, R *dz) {
    const R highest = (R)ceiling, gamma = (R)h[0];
    double total = 0;
    for (ptrdiff_t start = 0; start < rows; start += S(LANE_ROWS)) {
        R top[S(LANE_ROWS)], inverse[S(LANE_ROWS)], logs[S(LANE_ROWS)], target[S(LANE_ROWS)];
        R values[S(LANE_ROWS)] = {0}, sum[S(LANE_ROWS)] = {0};
        ptrdiff_t count = rows - start < S(LANE_ROWS) ? rows - start : S(LANE_ROWS);
        const R *zs = z + start, *ys = y ? y + start : NULL, *s = weights ? weights + start : NULL;
        R *ds = dz + start;
        S(softmax_scales)(count, n, ld, zs, ds, top, inverse, logs);
        for (ptrdiff_t j = 0; j < n; j++) {
            R *dj = ds + j * ld;
            S(targets_of)(count, j, ys ? ys + j * ld : NULL, y ? NULL : labels + start, target);
            INDEPENDENT
            for (ptrdiff_t r = 0; r < count; r++) {
                R p = dj[r] * inverse[r], log_p = zs[j * ld + r] - top[r] - logs[r], q = 1 - p;
                R power = q <= 0 ? C(0) : EXP(gamma * LOG(q));
                R value = -power * log_p;
                value = value > highest ? highest : value;
                values[r] += target[r] != 0 ? target[r] * value : C(0);
                R ratio = q <= 0 ? C(-1) : p > 0 ? log_p / q : C(0); /* p log p is 0 at p = 0 */
                dj[r] = target[r] * (power * (gamma * p * ratio - 1));
                sum[r] += dj[r];
            }
        }
        for (ptrdiff_t j = 0; j < n; j++) {
            R *dj = ds + j * ld;
            INDEPENDENT
            for (ptrdiff_t r = 0; r < count; r++) {
                R d = dj[r] - EXP(zs[j * ld + r] - top[r]) * inverse[r] * sum[r];
                dj[r] = s ? d * s[r] : d;
            }
        }
        total += S(weighted)(count, values, s);
    }
    return total;
}

/* ---- the normal distribution's negative log-likelihood ---- */

/* m = n / 2 means, then m logarithms of variances; y beyond the first m is not read.  What is
 * beyond the numbers of R counts as the largest of them: a mean that is right gives 0, and not
 * 0 * inf. */
static double S(loss_columns_gaussian_nll)(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t ld, const R *z,
                                           const R *y, const int32_t *labels, const R *weights,
                                           double ceiling, const double *h, R *dz) {
    const R highest = (R)ceiling;
    const ptrdiff_t m = n / 2;
    double total = 0;
    (void)labels, (void)h;
    for (ptrdiff_t start = 0; start < rows; start += S(LANE_ROWS)) {
        R values[S(LANE_ROWS)] = {0};
        ptrdiff_t count = rows - start < S(LANE_ROWS) ? rows - start : S(LANE_ROWS);
        const R *s = weights ? weights + start : NULL;
        for (ptrdiff_t j = 0; j < m; j++) {
            const R *mean = z + j * ld + start, *log_variance = mean + m * ld;
            const R *target = y + j * ld + start;
            R *d_mean = dz + j * ld + start, *d_log = d_mean + m * ld;
            INDEPENDENT
            for (ptrdiff_t r = 0; r < count; r++) {
                R weight = s ? s[r] : C(1), precision = EXP(-log_variance[r]);
                precision = precision > LARGEST ? LARGEST : precision;
                R away = mean[r] - target[r], square = away * away * precision;
                R value = C(0.5) * (log_variance[r] + square);
                values[r] += value > highest ? highest : value;
                d_mean[r] = weight * (away * precision);
                d_log[r] = weight * (C(0.5) - C(0.5) * square);
            }
        }
        total += S(weighted)(count, values, s);
    }
    return total;
}

#define BY_ROWS(name)                                                                              \
    static double S(loss_##name)(ptrdiff_t rows, ptrdiff_t n, const R *z, const R *y,              \
                                 const int32_t *labels, const R *weights, double ceiling,          \
                                 const double *h, R *dz) {                                         \
        return S(loss_by_columns)(S(loss_columns_##name), rows, n, z, y, labels, weights, ceiling, \
                                  h, dz);                                                          \
    }
BY_ROWS(focal)
BY_ROWS(gaussian_nll)
#undef BY_ROWS
