/* Softmax of the rows of one dtype (R). */

/* Rows of up to FEW columns: blocks of FEW_ROWS rows are transposed, then there is a row in each
 * lane.  Their terms are added up one after the other, also where a row is worked on by itself, so
 * that both ways give the same bits. */
enum { S(FEW) = 32, S(FEW_ROWS) = 64 };

static void S(softmax_transposed)(ptrdiff_t rows, ptrdiff_t n, const R *z, R *p) {
    R zs[S(FEW) * S(FEW_ROWS)], top[S(FEW_ROWS)], sum[S(FEW_ROWS)];
    S(transpose)(rows, n, z, n, NULL, zs, S(FEW_ROWS));
    for (ptrdiff_t r = 0; r < rows; r++) top[r] = zs[r], sum[r] = 0;
    for (ptrdiff_t j = 1; j < n; j++)
        for (ptrdiff_t r = 0; r < rows; r++) {
            R x = zs[j * S(FEW_ROWS) + r];
            top[r] = x > top[r] ? x : top[r];
        }
    for (ptrdiff_t j = 0; j < n; j++) {
        INDEPENDENT
        for (ptrdiff_t r = 0; r < rows; r++) {
            R e = EXP(zs[j * S(FEW_ROWS) + r] - top[r]);
            zs[j * S(FEW_ROWS) + r] = e;
            sum[r] += e;
        }
    }
    for (ptrdiff_t r = 0; r < rows; r++) sum[r] = 1 / sum[r];
    for (ptrdiff_t j = 0; j < n; j++)
        for (ptrdiff_t r = 0; r < rows; r++) zs[j * S(FEW_ROWS) + r] *= sum[r];
    S(transpose)(n, rows, zs, S(FEW_ROWS), NULL, p, n);
}

static void S(softmax)(ptrdiff_t rows, ptrdiff_t n, const R *z, R *p) {
    while (n <= S(FEW) && rows >= 4) {
        ptrdiff_t count = rows < S(FEW_ROWS) ? rows : S(FEW_ROWS);
        S(softmax_transposed)(count, n, z, p);
        z += count * n, p += count * n, rows -= count;
    }
    for (ptrdiff_t r = 0; r < rows; r++, z += n, p += n) {
        R top = z[0], sum = 0;
        for (ptrdiff_t j = 1; j < n; j++) top = z[j] > top ? z[j] : top;
        INDEPENDENT
        for (ptrdiff_t j = 0; j < n; j++) p[j] = EXP(z[j] - top);
        if (n <= S(FEW)) {
            for (ptrdiff_t j = 0; j < n; j++) sum += p[j];
        } else {
            sum = (R)S(sum)(n, p);
        }
        R inverse = 1 / sum;
        INDEPENDENT
        for (ptrdiff_t j = 0; j < n; j++) p[j] *= inverse;
    }
}
