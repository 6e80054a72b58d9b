/* Layer normalisation and the sum of two matrices, of one type. */

/* mean - x[0], and 1 / sqrt(variance + eps), of a row; Kahan's sums, so that they are exact but for
 * the last digit */
static void S(row_stats)(ptrdiff_t n, const R *x, double eps, double stats[2]) {
    double sum = 0, squares = 0, lost = 0;
    for (ptrdiff_t j = 0; j < n; j++) {
        double term = ((double)x[j] - (double)x[0]) - lost, next = sum + term;
        lost = (next - sum) - term, sum = next;
    }
    stats[0] = sum / (double)n;
    lost = 0;
    for (ptrdiff_t j = 0; j < n; j++) {
        double d = ((double)x[j] - (double)x[0]) - stats[0];
        double term = d * d - lost, next = squares + term;
        lost = (next - squares) - term, squares = next;
    }
    stats[1] = 1 / sqrt(squares / (double)n + eps);
}

/* random numbers within 2 of `centre`; the gaps between the rows stay blank */
static R *S(rows_around)(double centre, ptrdiff_t rows, ptrdiff_t n, ptrdiff_t ld) {
    R *x = S(blank)(S(extent)(rows, n, ld));
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t j = 0; j < n; j++) x[r * ld + j] = (R)(centre + random_real(-2, 2));
    return x;
}

static void S(check_layer_norm)(const TABLE *table, ptrdiff_t rows, ptrdiff_t n, double centre,
                                int in_place, int has_stats) {
    const ptrdiff_t ldx = n + 2, ldz = in_place ? ldx : n + 1;
    const double eps = 1e-5;
    R *x = S(rows_around)(centre, rows, n, ldx), *before = S(copy)(x, S(extent)(rows, n, ldx));
    R *gain = S(reals)(n, -2, 2), *bias = S(reals)(n, -2, 2);
    R *z = in_place ? x : S(blank)(S(extent)(rows, n, ldz));
    R *stats = has_stats ? S(blank)(2 * rows) : NULL, *alone = S(blank)(n);
    table->layer_norm(rows, n, x, ldx, gain, bias, eps, z, ldz, stats);
    for (ptrdiff_t r = 0; r < rows && n > 0; r++) {
        const R *row = before + r * ldx;
        double want[2];
        S(row_stats)(n, row, eps, want);
        for (ptrdiff_t j = 0; j < n; j++) {
            double unit = (((double)row[j] - (double)row[0]) - want[0]) * want[1];
            double expected = (double)gain[j] * unit + (double)bias[j];
            CHECK(is_near((double)z[r * ldz + j], expected, fabs(unit), 8 * EPSILON),
                  "layer_norm (%td, %td) around %g at %td, %td: %.17g, want %.17g", rows, n, centre,
                  r, j, (double)z[r * ldz + j], expected);
        }
        if (stats) {
            CHECK(is_near((double)stats[2 * r] - (double)row[0], want[0], fabs(centre),
                          2 * EPSILON + (double)n * DBL_EPSILON / 8),
                  "layer_norm (%td, %td): mean %.17g", rows, n, (double)stats[2 * r]);
            CHECK(is_near((double)stats[2 * r + 1] / want[1], 1, 0, 8 * EPSILON),
                  "layer_norm (%td, %td): %.17g, want %.17g", rows, n, (double)stats[2 * r + 1],
                  want[1]);
        }
        table->layer_norm(1, n, row, n, gain, bias, eps, alone, n, NULL);
        CHECK(!memcmp(alone, z + r * ldz, (size_t)n * sizeof(R)), "layer_norm: row %td alone", r);
    }
    CHECK(S(gaps_are_blank)(rows, n, ldz, z), "layer_norm: gaps");
    release_buffers();
}

static void S(check_layer_norm_backward)(const TABLE *table, ptrdiff_t rows, ptrdiff_t n,
                                         double centre, int in_place) {
    const ptrdiff_t ldx = n + 1, lddz = n + 2, lddx = in_place ? lddz : n + 3;
    R *x = S(rows_around)(centre, rows, n, ldx), *dz = S(reals)(S(extent)(rows, n, lddz), -2, 2);
    R *before = S(copy)(dz, S(extent)(rows, n, lddz)), *gain = S(reals)(n, -2, 2);
    R *dx = in_place ? dz : S(blank)(S(extent)(rows, n, lddx)), *stats = S(blank)(2 * rows);
    R *dgain = S(blank)(n), *alone = S(blank)(n);
    double *want_gain = buffer((size_t)n * sizeof(double)), off = 0;
    for (ptrdiff_t j = 0; j < n; j++) want_gain[j] = 0;
    for (ptrdiff_t r = 0; r < rows && n > 0; r++) {
        double exact[2];
        S(row_stats)(n, x + r * ldx, 1e-5, exact);
        stats[2 * r] = (R)((double)x[r * ldx] + exact[0]), stats[2 * r + 1] = (R)exact[1];
    }
    table->layer_norm_gain(rows, n, dz, lddz, x, ldx, stats, dgain);
    table->layer_norm_backward(rows, n, dz, lddz, x, ldx, stats, gain, dx, lddx);
    for (ptrdiff_t r = 0; r < rows && n > 0; r++) {
        const R *row = x + r * ldx, *d = before + r * lddz;
        double exact[2], sum = 0, product = 0;
        S(row_stats)(n, row, 1e-5, exact);
        for (ptrdiff_t j = 0; j < n; j++) {
            double unit = (((double)row[j] - (double)row[0]) - exact[0]) * exact[1];
            sum += (double)d[j] * (double)gain[j];
            product += (double)d[j] * (double)gain[j] * unit;
            want_gain[j] += (double)d[j] * unit;
        }
        for (ptrdiff_t j = 0; j < n; j++) {
            double unit = (((double)row[j] - (double)row[0]) - exact[0]) * exact[1];
            double g = (double)d[j] * (double)gain[j];
            double want = exact[1] * (g - (sum + unit * product) / (double)n);
            CHECK(is_near((double)dx[r * lddx + j], want, 8 * exact[1], 8 * EPSILON),
                  "layer_norm_backward (%td, %td) around %g at %td, %td: %.17g, want %.17g", rows,
                  n, centre, r, j, (double)dx[r * lddx + j], want);
        }
        table->layer_norm_backward(1, n, d, n, row, n, stats + 2 * r, gain, alone, n);
        CHECK(!memcmp(alone, dx + r * lddx, (size_t)n * sizeof(R)), "backward: row %td alone", r);
        off += fabs((double)stats[2 * r]) * exact[1]; /* the mean is rounded */
    }
    for (ptrdiff_t j = 0; j < n; j++)
        CHECK(is_near((double)dgain[j], want_gain[j], 8 * (double)rows + 2 * off, 4 * EPSILON),
              "layer_norm_gain (%td, %td) around %g at %td: %.17g, want %.17g", rows, n, centre, j,
              (double)dgain[j], want_gain[j]);
    if (!in_place) CHECK(S(gaps_are_blank)(rows, n, lddx, dx), "layer_norm_backward: gaps");
    release_buffers();
}

/* a range of columns gives the bytes of the whole */
static void S(check_range_of_gain)(const TABLE *table, ptrdiff_t rows, ptrdiff_t n) {
    R *x = S(reals)(rows * n, -2, 2), *dz = S(reals)(rows * n, -2, 2);
    R *stats = S(reals)(2 * rows, -1, 1), *whole = S(blank)(n), *ranges = S(blank)(n);
    table->layer_norm_gain(rows, n, dz, n, x, n, stats, whole);
    for (ptrdiff_t start = 0, stop; start < n; start = stop) {
        stop = start + 1 + random_word() % (n - start);
        table->layer_norm_gain(rows, stop - start, dz + start, n, x + start, n, stats,
                               ranges + start);
    }
    CHECK(!memcmp(whole, ranges, (size_t)n * sizeof(R)), "layer_norm_gain (%td, %td)", rows, n);
    release_buffers();
}

/* Rows of equal numbers give the bias, to rounding; NaN and infinity stay in their row. */
static void S(check_special_rows)(const TABLE *table, ptrdiff_t n) {
    enum { ROWS = 5 };
    R *x = S(blank)(ROWS * n), *gain = S(reals)(n, 1, 2), *bias = S(reals)(n, -2, 2);
    R *z = S(blank)(ROWS * n), *dz = S(reals)(ROWS * n, 1, 2), *stats = S(blank)(2 * ROWS);
    R equal = (R)random_real(1, 2);
    for (ptrdiff_t i = 0; i < ROWS * n; i++) x[i] = i < 3 * n ? equal : (R)random_real(-2, 2);
    x[n + n / 2] = (R)NAN;
    if (n > 3) x[4 * n + 3] = (R)INFINITY;
    table->layer_norm(ROWS, n, x, n, gain, bias, 1e-30, z, n, stats);
    table->layer_norm_backward(ROWS, n, dz, n, x, n, stats, gain, dz, n);
    for (ptrdiff_t j = 0; j < n; j++) {
        CHECK(is_near((double)z[j], (double)bias[j], 0, 4 * EPSILON),
              "equal numbers: %.17g, want %.17g", (double)z[j], (double)bias[j]);
        CHECK(isnan(z[n + j]) && isnan(dz[n + j]), "NaN is lost at %td of %td", j, n);
        CHECK(isfinite(z[2 * n + j]) && isfinite(z[3 * n + j]), "another row's NaN");
        CHECK(isfinite(dz[3 * n + j]), "another row's NaN, backward");
        CHECK(n <= 3 || isnan(z[4 * n + j]), "infinity is lost at %td of %td", j, n);
    }
    release_buffers();
}

/* Equal numbers, so large that a variance rounded below 0 would be below -eps;
 * of 53 digits, so that their sums round. */
static void S(check_equal_numbers)(const TABLE *table, ptrdiff_t n) {
    R *x = S(blank)(n), *gain = S(reals)(n, -1, 1), *bias = S(reals)(n, -1, 1), *z = S(blank)(n);
    R equal = (R)(random_real(1, 2) / 1.1 * (sizeof(R) == sizeof(double) ? 0x1p500 : 1)), stats[2];
    for (ptrdiff_t j = 0; j < n; j++) x[j] = equal;
    table->layer_norm(1, n, x, n, gain, bias, 1e-5, z, n, stats);
    for (ptrdiff_t j = 0; j < n; j++) CHECK(isfinite(z[j]), "%td equal numbers", n);
    CHECK(stats[1] > 0, "%td equal numbers: %g", n, (double)stats[1]); /* and not NaN */
    release_buffers();
}

static void S(check_add_rows)(const TABLE *table, ptrdiff_t rows, ptrdiff_t n, int place) {
    const ptrdiff_t ldx = n + 1, ldy = n + 2;
    const ptrdiff_t ldout = place == 0 ? n + 3 : place == 1 ? ldx : ldy;
    R *x = S(integers)(S(extent)(rows, n, ldx)), *y = S(integers)(S(extent)(rows, n, ldy));
    R *x_before = S(copy)(x, S(extent)(rows, n, ldx));
    R *y_before = S(copy)(y, S(extent)(rows, n, ldy));
    R *out = place == 0 ? S(blank)(S(extent)(rows, n, ldout)) : place == 1 ? x : y;
    table->add_rows(rows, n, x, ldx, y, ldy, out, ldout);
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t j = 0; j < n; j++)
            CHECK(out[r * ldout + j] == x_before[r * ldx + j] + y_before[r * ldy + j],
                  "add_rows (%td, %td) at %td, %td", rows, n, r, j);
    if (place == 0) CHECK(S(gaps_are_blank)(rows, n, ldout, out), "add_rows: gaps");
    release_buffers();
}

static void S(check_norm)(const TABLE *table) {
    static const ptrdiff_t widths[] = {0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 300};
    static const double centres[] = {0, 1, -1000, 1e6};
    FOR_EACH(ptrdiff_t, n, widths)
        for (ptrdiff_t rows = 0; rows < 10; rows += 1 + rows / 4) {
            FOR_EACH(double, centre, centres)
                for (int flags = 0; flags < 4; flags++) {
                    S(check_layer_norm)(table, rows, *n, *centre, flags & 1, flags >> 1);
                    S(check_layer_norm_backward)(table, rows, *n, *centre, flags & 1);
                }
            S(check_range_of_gain)(table, rows, *n);
            for (int place = 0; place < 3; place++) S(check_add_rows)(table, rows, *n, place);
            if (*n > 0) S(check_special_rows)(table, *n);
        }
    for (ptrdiff_t n = 181; n <= 260; n++)
        for (int k = 0; k < 10; k++) S(check_equal_numbers)(table, n);
}
