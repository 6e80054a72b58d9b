/* Layer normalisation of one dtype (R), and the sum that residual connections need; fastnn.h says
 * what each function does.  A row's result depends on that row alone.
 *
 * The mean is rounded to R, and `low` is what the rounding lost.  Where the mean is large against
 * the deviations x - mean is exact, so the result is as good as the numbers of the row. */

/* sums over a row of: d = x - mean, d^2 */
typedef struct { double d, square; } S(deviations);

static S(deviations) S(deviations_of)(ptrdiff_t n, const R *x, R mean) {
    double d_lane[LANES] = {0}, square_lane[LANES] = {0};
    S(deviations) total = {0, 0};
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        ptrdiff_t count = n - i < LANES ? n - i : LANES;
        for (ptrdiff_t l = 0; l < count; l++) {
            double d = (double)(x[i + l] - mean);
            d_lane[l] += d;
            square_lane[l] += d * d;
        }
    }
    for (int l = 0; l < LANES; l++) total.d += d_lane[l], total.square += square_lane[l];
    return total;
}

static void S(layer_norm)(ptrdiff_t rows, ptrdiff_t n, const R *x, ptrdiff_t ldx, const R *gain,
                          const R *bias, double eps, R *z, ptrdiff_t ldz, R *stats) {
    for (ptrdiff_t r = 0; r < rows; r++, x += ldx, z += ldz) {
        R mean = (R)(S(sum)(n, x) / (double)n);
        S(deviations) sums = S(deviations_of)(n, x, mean);
        double lost = sums.d / (double)n, variance = sums.square / (double)n - lost * lost;
        variance = variance < 0 ? 0 : variance; /* by rounding, in a row of equal numbers */
        R low = (R)lost, inverse = (R)(1 / sqrt(variance + eps));
        INDEPENDENT
        for (ptrdiff_t j = 0; j < n; j++)
            z[j] = FMA(gain[j], ((x[j] - mean) - low) * inverse, bias[j]);
        if (stats) stats[2 * r] = mean, stats[2 * r + 1] = inverse;
    }
}

/* sums over a row of: d = x - mean, g = dz gain, g d */
typedef struct { double d, g, product; } S(gradient_sums);

static S(gradient_sums) S(gradient_sums_of)(ptrdiff_t n, const R *dz, const R *gain, const R *x,
                                            R mean) {
    double d_lane[LANES] = {0}, g_lane[LANES] = {0}, product_lane[LANES] = {0};
    S(gradient_sums) total = {0, 0, 0};
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        ptrdiff_t count = n - i < LANES ? n - i : LANES;
        for (ptrdiff_t l = 0; l < count; l++) {
            double d = (double)(x[i + l] - mean), g = (double)(dz[i + l] * gain[i + l]);
            d_lane[l] += d;
            g_lane[l] += g;
            product_lane[l] += g * d;
        }
    }
    for (int l = 0; l < LANES; l++)
        total.d += d_lane[l], total.g += g_lane[l], total.product += product_lane[l];
    return total;
}

/* With d = x - mean, g = dz gain and v = 1 / deviation:  dx = v (g - <g> - d v^2 <g d>), where <>
 * is the mean over the row. */
static void S(layer_norm_backward)(ptrdiff_t rows, ptrdiff_t n, const R *dz, ptrdiff_t lddz,
                                   const R *x, ptrdiff_t ldx, const R *stats, const R *gain, R *dx,
                                   ptrdiff_t lddx) {
    for (ptrdiff_t r = 0; r < rows; r++, dz += lddz, x += ldx, dx += lddx) {
        R mean = stats[2 * r], inverse = stats[2 * r + 1];
        S(gradient_sums) sums = S(gradient_sums_of)(n, dz, gain, x, mean);
        double lost = sums.d / (double)n, mean_g = sums.g / (double)n;
        double product = sums.product / (double)n - lost * mean_g;
        double slope = (double)inverse * (double)inverse * product;
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
