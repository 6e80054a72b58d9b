/* A factor for each column, of one dtype (R); fastnn.h says what each function does. */

static void S(scale_columns)(ptrdiff_t rows, ptrdiff_t n, const R *x, ptrdiff_t ldx, const R *s,
                             R *z, ptrdiff_t ldz) {
    for (ptrdiff_t r = 0; r < rows; r++, x += ldx, z += ldz) {
        INDEPENDENT
        for (ptrdiff_t j = 0; j < n; j++) z[j] = x[j] * s[j];
    }
}

static void S(column_products)(ptrdiff_t rows, ptrdiff_t n, const R *restrict x, ptrdiff_t ldx,
                               const R *restrict y, ptrdiff_t ldy, R *restrict out) {
    for (ptrdiff_t j = 0; j < n; j++) out[j] = 0;
    for (ptrdiff_t r = 0; r < rows; r++, x += ldx, y += ldy)
        for (ptrdiff_t j = 0; j < n; j++) out[j] = FMA(x[j], y[j], out[j]);
}
