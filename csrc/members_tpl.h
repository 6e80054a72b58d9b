/* Ensembles whose members share a network (after TabM-mini: Gorishniy et al. 2025), of one dtype
 * (R); fastnn.h says what each function does.  Row r of a batch is rows r * members .. of the
 * values inside: one for each member, in their order. */

static void S(repeat_rows)(ptrdiff_t rows, ptrdiff_t members, ptrdiff_t n, const R *x,
                           ptrdiff_t ldx, const R *scale, R *out, ptrdiff_t ldout) {
    for (ptrdiff_t r = 0; r < rows; r++, x += ldx)
        for (ptrdiff_t m = 0; m < members; m++, out += ldout) {
            const R *own = scale + m * n;
            INDEPENDENT
            for (ptrdiff_t j = 0; j < n; j++) out[j] = x[j] * own[j];
        }
}

/* A member after the other, so that its sums stay in the first-level cache while the rows go by. */
static void S(repeat_scale)(ptrdiff_t rows, ptrdiff_t members, ptrdiff_t n, ptrdiff_t first,
                            ptrdiff_t count, const R *restrict dz, ptrdiff_t lddz,
                            const R *restrict x, ptrdiff_t ldx, R *restrict dscale) {
    while (count > 0) {
        ptrdiff_t m = first / n, j0 = first % n, width = n - j0 < count ? n - j0 : count;
        const R *own = dz + m * lddz + j0, *row = x + j0;
        for (ptrdiff_t j = 0; j < width; j++) dscale[j] = 0;
        for (ptrdiff_t r = 0; r < rows; r++, own += members * lddz, row += ldx)
            for (ptrdiff_t j = 0; j < width; j++) dscale[j] = FMA(own[j], row[j], dscale[j]);
        first += width, count -= width, dscale += width;
    }
}

static void S(repeat_back)(ptrdiff_t rows, ptrdiff_t members, ptrdiff_t n, const R *restrict dz,
                           ptrdiff_t lddz, const R *restrict scale, R *restrict dx,
                           ptrdiff_t lddx) {
    for (ptrdiff_t r = 0; r < rows; r++, dx += lddx) {
        for (ptrdiff_t j = 0; j < n; j++) dx[j] = 0;
        for (ptrdiff_t m = 0; m < members; m++, dz += lddz) {
            const R *own = scale + m * n;
            for (ptrdiff_t j = 0; j < n; j++) dx[j] = FMA(dz[j], own[j], dx[j]);
        }
    }
}

static void S(mean_members)(ptrdiff_t rows, ptrdiff_t members, ptrdiff_t n, const R *restrict x,
                            R *restrict out) {
    const R share = 1 / (R)members;
    for (ptrdiff_t r = 0; r < rows; r++, out += n) {
        for (ptrdiff_t j = 0; j < n; j++) out[j] = 0;
        for (ptrdiff_t m = 0; m < members; m++, x += n)
            for (ptrdiff_t j = 0; j < n; j++) out[j] += x[j];
        for (ptrdiff_t j = 0; j < n; j++) out[j] *= share;
    }
}
