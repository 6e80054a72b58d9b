/* Batch normalisation of one dtype (R); fastnn.h says what each function does.  Some columns at a
 * time, whose sums over the rows stay in registers.  The sums are in double.
 *
 * Variances are those of deviations from a mean that is rounded, corrected by what the rounding
 * lost: nothing cancels where the mean is large against the deviations. */

enum { S(COLUMNS) = 16 };

ALWAYS_INLINE void S(statistics_of)(ptrdiff_t rows, ptrdiff_t width, const R *x, ptrdiff_t ldx,
                                    double eps, R *mean, R *variance, R *inverse) {
    const double share = 1 / (double)rows;
    double sums[S(COLUMNS)] = {0}, squares[S(COLUMNS)] = {0};
    const R *row = x;
    for (ptrdiff_t r = 0; r < rows; r++, row += ldx)
        for (ptrdiff_t j = 0; j < width; j++) sums[j] += (double)row[j];
    for (ptrdiff_t j = 0; j < width; j++) mean[j] = (R)(sums[j] * share), sums[j] = 0;
    row = x;
    for (ptrdiff_t r = 0; r < rows; r++, row += ldx)
        for (ptrdiff_t j = 0; j < width; j++) {
            double d = (double)row[j] - (double)mean[j];
            sums[j] += d;
            squares[j] += d * d;
        }
    for (ptrdiff_t j = 0; j < width; j++) {
        /* rounding may leave it below 0 where all numbers are equal */
        double lost = sums[j] * share, spread = fabs(squares[j] * share - lost * lost);
        mean[j] = (R)((double)mean[j] + lost);
        variance[j] = (R)spread;
        inverse[j] = (R)(1 / sqrt(spread + eps));
    }
}

static void S(batch_statistics)(ptrdiff_t rows, ptrdiff_t n, const R *x, ptrdiff_t ldx, double eps,
                                R *mean, R *variance, R *inverse) {
    ptrdiff_t j = 0;
    for (; j + S(COLUMNS) <= n; j += S(COLUMNS))
        S(statistics_of)(rows, S(COLUMNS), x + j, ldx, eps, mean + j, variance + j, inverse + j);
    S(statistics_of)(rows, n - j, x + j, ldx, eps, mean + j, variance + j, inverse + j);
}

static void S(batch_norm)(ptrdiff_t rows, ptrdiff_t n, const R *x, ptrdiff_t ldx, const R *gain,
                          const R *bias, const R *mean, const R *inverse, R *z, ptrdiff_t ldz) {
    for (ptrdiff_t r = 0; r < rows; r++, x += ldx, z += ldz) {
        INDEPENDENT
        for (ptrdiff_t j = 0; j < n; j++)
            z[j] = FMA(gain[j], (x[j] - mean[j]) * inverse[j], bias[j]);
    }
}

/* With d = x - mean and v = inverse:  dx = gain v (dz - <dz> - d v^2 <dz d>), where <> is the mean
 * over the rows. */
ALWAYS_INLINE void S(gradients_of)(ptrdiff_t rows, ptrdiff_t width, const R *dz, ptrdiff_t lddz,
                                   const R *x, ptrdiff_t ldx, const R *gain, const R *mean,
                                   const R *inverse, R *dx, ptrdiff_t lddx) {
    const double share = 1 / (double)rows;
    double sums[S(COLUMNS)] = {0}, products[S(COLUMNS)] = {0};
    R constant[S(COLUMNS)], slope[S(COLUMNS)], factor[S(COLUMNS)];
    const R *from = dz, *row = x;
    for (ptrdiff_t r = 0; r < rows; r++, from += lddz, row += ldx)
        for (ptrdiff_t j = 0; j < width; j++) {
            sums[j] += (double)from[j];
            products[j] += (double)from[j] * ((double)row[j] - (double)mean[j]);
        }
    for (ptrdiff_t j = 0; j < width; j++) {
        double v = (double)inverse[j];
        constant[j] = (R)(sums[j] * share);
        slope[j] = (R)(products[j] * share * v * v);
        factor[j] = gain[j] * inverse[j];
    }
    for (ptrdiff_t r = 0; r < rows; r++, dz += lddz, x += ldx, dx += lddx) {
        INDEPENDENT
        for (ptrdiff_t j = 0; j < width; j++)
            dx[j] = factor[j] * (dz[j] - FMA(x[j] - mean[j], slope[j], constant[j]));
    }
}

static void S(batch_norm_backward)(ptrdiff_t rows, ptrdiff_t n, const R *dz, ptrdiff_t lddz,
                                   const R *x, ptrdiff_t ldx, const R *gain, const R *mean,
                                   const R *inverse, R *dx, ptrdiff_t lddx) {
    ptrdiff_t j = 0;
    for (; j + S(COLUMNS) <= n; j += S(COLUMNS))
        S(gradients_of)(rows, S(COLUMNS), dz + j, lddz, x + j, ldx, gain + j, mean + j,
                        inverse + j, dx + j, lddx);
    S(gradients_of)(rows, n - j, dz + j, lddz, x + j, ldx, gain + j, mean + j, inverse + j, dx + j,
                    lddx);
}

static void S(batch_norm_gain)(ptrdiff_t rows, ptrdiff_t n, const R *restrict dz, ptrdiff_t lddz,
                               const R *restrict x, ptrdiff_t ldx, const R *restrict mean,
                               const R *restrict inverse, R *restrict dgain) {
    for (ptrdiff_t r = 0; r < rows; r++, dz += lddz, x += ldx)
        for (ptrdiff_t j = 0; j < n; j++)
            dgain[j] = FMA(dz[j], (x[j] - mean[j]) * inverse[j], dgain[j]);
}
