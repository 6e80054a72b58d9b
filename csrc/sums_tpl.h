/* The sum of a vector of one dtype (R), for the kernels that follow.
 *
 * From here on to norm_tpl.h the kernels are plain loops that the compiler vectorises: measured as
 * fast as intrinsics for all but the products and the normalisation. */

#ifndef FNN_SUMS_ONCE
#define FNN_SUMS_ONCE
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
