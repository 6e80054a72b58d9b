/* Ensembles whose members share a network, of one type. */

/* row r of x times the scale of each member */
static void S(check_repeat_rows)(const TABLE *table, ptrdiff_t rows, ptrdiff_t members,
                                 ptrdiff_t n) {
    const ptrdiff_t ldx = n + 1, ldout = n + 2;
    R *x = S(reals)(S(extent)(rows, n, ldx), -2, 2), *scale = S(reals)(members * n, -2, 2);
    R *out = S(blank)(S(extent)(rows * members, n, ldout));
    table->repeat_rows(rows, members, n, x, ldx, scale, out, ldout);
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t m = 0; m < members; m++)
            for (ptrdiff_t j = 0; j < n; j++)
                CHECK(out[(r * members + m) * ldout + j] == x[r * ldx + j] * scale[m * n + j],
                      "repeat_rows (%td, %td, %td) at %td, %td, %td", rows, members, n, r, m, j);
    CHECK(S(gaps_are_blank)(rows * members, n, ldout, out), "repeat_rows: gaps");
    release_buffers();
}

/* the gradient of the scales, whole and in pieces that begin anywhere */
static void S(check_repeat_scale)(const TABLE *table, ptrdiff_t rows, ptrdiff_t members,
                                  ptrdiff_t n) {
    const ptrdiff_t ldx = n + 1, lddz = n + 2, count = members * n;
    R *x = S(integers)(S(extent)(rows, n, ldx));
    R *dz = S(integers)(S(extent)(rows * members, n, lddz));
    R *whole = S(blank)(count), *pieces = S(blank)(count);
    table->repeat_scale(rows, members, n, 0, count, dz, lddz, x, ldx, whole);
    for (ptrdiff_t m = 0; m < members; m++)
        for (ptrdiff_t j = 0; j < n; j++) {
            double want = 0;
            for (ptrdiff_t r = 0; r < rows; r++)
                want += (double)dz[(r * members + m) * lddz + j] * (double)x[r * ldx + j];
            CHECK((double)whole[m * n + j] == want, "repeat_scale (%td, %td, %td): %g, want %g",
                  rows, members, n, (double)whole[m * n + j], want);
        }
    for (ptrdiff_t at = 0, piece; at < count; at += piece) {
        piece = 1 + (ptrdiff_t)(random_word() % (unsigned)(2 * n));
        if (piece > count - at) piece = count - at;
        table->repeat_scale(rows, members, n, at, piece, dz, lddz, x, ldx, pieces + at);
    }
    CHECK(!memcmp(whole, pieces, (size_t)count * sizeof(R)), "repeat_scale: pieces");
    release_buffers();
}

/* the way back through repeat_rows */
static void S(check_repeat_back)(const TABLE *table, ptrdiff_t rows, ptrdiff_t members,
                                 ptrdiff_t n) {
    const ptrdiff_t lddz = n + 2, lddx = n + 1;
    R *dz = S(integers)(S(extent)(rows * members, n, lddz)), *scale = S(integers)(members * n);
    R *dx = S(blank)(S(extent)(rows, n, lddx));
    table->repeat_back(rows, members, n, dz, lddz, scale, dx, lddx);
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t j = 0; j < n; j++) {
            double want = 0;
            for (ptrdiff_t m = 0; m < members; m++)
                want += (double)dz[(r * members + m) * lddz + j] * (double)scale[m * n + j];
            CHECK((double)dx[r * lddx + j] == want, "repeat_back (%td, %td, %td): %g, want %g",
                  rows, members, n, (double)dx[r * lddx + j], want);
        }
    CHECK(S(gaps_are_blank)(rows, n, lddx, dx), "repeat_back: gaps");
    release_buffers();
}

static void S(check_mean_members)(const TABLE *table, ptrdiff_t rows, ptrdiff_t members,
                                  ptrdiff_t n) {
    R *x = S(reals)(rows * members * n, -2, 2), *out = S(blank)(rows * n);
    table->mean_members(rows, members, n, x, out);
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t j = 0; j < n; j++) {
            double want = 0;
            for (ptrdiff_t m = 0; m < members; m++)
                want += (double)x[(r * members + m) * n + j] / (double)members;
            CHECK(is_near((double)out[r * n + j], want, 0, (double)(members + 2) * EPSILON),
                  "mean_members (%td, %td, %td): %.17g, want %.17g", rows, members, n,
                  (double)out[r * n + j], want);
        }
    release_buffers();
}

static void S(check_members)(const TABLE *table) {
    static const ptrdiff_t widths[] = {1, 2, 3, 8, 15, 16, 17, 33, 64, 100};
    FOR_EACH(ptrdiff_t, n, widths)
        for (ptrdiff_t rows = 0; rows < 8; rows += 1 + rows / 3)
            for (ptrdiff_t members = 1; members < 20; members += members) {
                S(check_repeat_rows)(table, rows, members, *n);
                S(check_repeat_scale)(table, rows, members, *n);
                S(check_repeat_back)(table, rows, members, *n);
                S(check_mean_members)(table, rows, members, *n);
            }
}
