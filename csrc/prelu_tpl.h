/* PReLU of one dtype (R): a slope below 0 that is learned; fastnn.h says what each function does.
 * As in PyTorch 0 lies on the side of the slope, and NaN falls to it too, and stays. */

static void S(prelu)(ptrdiff_t rows, ptrdiff_t n, const R *x, ptrdiff_t ldx, const R *slope,
                     int shared, R *z, ptrdiff_t ldz) {
    for (ptrdiff_t r = 0; r < rows; r++, x += ldx, z += ldz) {
        if (shared) {
            const R one = slope[0];
            INDEPENDENT
            for (ptrdiff_t j = 0; j < n; j++) z[j] = x[j] > 0 ? x[j] : one * x[j];
        } else {
            INDEPENDENT
            for (ptrdiff_t j = 0; j < n; j++) z[j] = x[j] > 0 ? x[j] : slope[j] * x[j];
        }
    }
}

static void S(prelu_backward)(ptrdiff_t rows, ptrdiff_t n, const R *dz, ptrdiff_t lddz, const R *x,
                              ptrdiff_t ldx, const R *slope, int shared, R *dx, ptrdiff_t lddx) {
    for (ptrdiff_t r = 0; r < rows; r++, dz += lddz, x += ldx, dx += lddx) {
        if (shared) {
            const R one = slope[0];
            INDEPENDENT
            for (ptrdiff_t j = 0; j < n; j++) dx[j] = x[j] > 0 ? dz[j] : one * dz[j];
        } else {
            INDEPENDENT
            for (ptrdiff_t j = 0; j < n; j++) dx[j] = x[j] > 0 ? dz[j] : slope[j] * dz[j];
        }
    }
}

/* The sum over all elements, in double: in as many partial sums as a vector may have lanes, because
 * one sum would wait for itself.  x is chosen before it is widened: with a choice between 0 and the
 * product gcc 12 adds up a part of the lanes only (-O3 -mavx2). */
static R S(prelu_shared_slope)(ptrdiff_t rows, ptrdiff_t n, const R *dz, ptrdiff_t lddz,
                               const R *x, ptrdiff_t ldx) {
    enum { LANES = 16 };
    double sums[LANES] = {0}, total = 0;
    for (ptrdiff_t r = 0; r < rows; r++, dz += lddz, x += ldx) {
        ptrdiff_t j = 0;
        for (; j + LANES <= n; j += LANES)
            for (int i = 0; i < LANES; i++) {
                R below = x[j + i] > 0 ? C(0) : x[j + i];
                sums[i] += (double)below * (double)dz[j + i];
            }
        for (int i = 0; j < n; i++, j++) {
            R below = x[j] > 0 ? C(0) : x[j];
            sums[i] += (double)below * (double)dz[j];
        }
    }
    for (int i = 0; i < LANES; i++) total += sums[i];
    return (R)total;
}

static void S(prelu_slope)(ptrdiff_t rows, ptrdiff_t n, const R *restrict dz, ptrdiff_t lddz,
                           const R *restrict x, ptrdiff_t ldx, int shared, R *restrict dslope) {
    if (shared) {
        dslope[0] = S(prelu_shared_slope)(rows, n, dz, lddz, x, ldx);
        return;
    }
    for (ptrdiff_t j = 0; j < n; j++) dslope[j] = 0;
    for (ptrdiff_t r = 0; r < rows; r++, dz += lddz, x += ldx)
        for (ptrdiff_t j = 0; j < n; j++)
            dslope[j] = FMA(x[j] > 0 ? C(0) : x[j], dz[j], dslope[j]);
}
