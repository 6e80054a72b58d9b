/* The sum of a vector of one dtype (R), and sizes, for the files that isa_tpl.h includes after it.
 *
 * The kernels in these files are plain loops, which the compiler vectorises.  Intrinsics were not
 * faster, but in the products (gemm_tpl.h, thin_tpl.h), the transposes, the normalisation
 * (norm_tpl.h) and the look-ups. */

#ifndef FNN_SUMS_ONCE
#define FNN_SUMS_ONCE
enum {
    BLOCK = FNN_BLOCK, /* of an intermediate result: it stays in the first-level cache */
    LANES = 16,  /* partial sums, or random words at a time */
};
#endif

/* LANES partial sums in double, added at the end: a fixed order that vectorises */
static double S(sum)(ptrdiff_t n, const R *x) {
    double lane[LANES] = {0}, total = 0;
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++) lane[l] += (double)x[i + l];
    for (int l = 0; i + l < n; l++) lane[l] += (double)x[i + l];
    for (int l = 0; l < LANES; l++) total += lane[l];
    return total;
}
