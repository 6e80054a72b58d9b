/* Batch normalisation, PReLU and factors of columns, of one type. */

static R *S(matrix)(double low, double high, ptrdiff_t rows, ptrdiff_t n, ptrdiff_t ld) {
    R *x = S(blank)(S(extent)(rows, n, ld));
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t j = 0; j < n; j++) x[r * ld + j] = (R)random_real(low, high);
    return x;
}

static void S(check_scale)(const TABLE *table, ptrdiff_t rows, ptrdiff_t n, int in_place) {
    const ptrdiff_t ldx = n + 1, ldy = n + 3, ldz = in_place ? ldx : n + 2;
    R *x = S(integers)(S(extent)(rows, n, ldx)), *y = S(integers)(S(extent)(rows, n, ldy));
    R *s = S(integers)(n), *out = S(blank)(n), *before = S(copy)(x, S(extent)(rows, n, ldx));
    R *z = in_place ? x : S(blank)(S(extent)(rows, n, ldz));
    table->column_products(rows, n, x, ldx, y, ldy, out);
    table->scale_columns(rows, n, x, ldx, s, z, ldz);
    for (ptrdiff_t j = 0; j < n; j++) {
        R want = 0;
        for (ptrdiff_t r = 0; r < rows; r++) {
            want += before[r * ldx + j] * y[r * ldy + j];
            CHECK(z[r * ldz + j] == before[r * ldx + j] * s[j], "scale_columns (%td, %td)", rows, n);
        }
        CHECK(out[j] == want, "column_products (%td, %td) at %td", rows, n, j);
    }
    if (!in_place) CHECK(S(gaps_are_blank)(rows, n, ldz, z), "scale_columns: gaps");
    release_buffers();
}

static void S(check_prelu)(const TABLE *table, ptrdiff_t rows, ptrdiff_t n, int shared,
                           int in_place) {
    const ptrdiff_t ldx = n + 1, lddz = n + 2, ldz = in_place ? ldx : n + 3;
    const ptrdiff_t n_slopes = shared ? 1 : n;
    R *x = S(matrix)(-2, 2, rows, n, ldx), *dz = S(matrix)(-2, 2, rows, n, lddz);
    R *slope = S(reals)(n_slopes, -1, 1), *dslope = S(blank)(n_slopes);
    double *want = buffer((size_t)n_slopes * sizeof(double));
    if (rows > 1 && n > 0) x[0] = 0;
    if (rows > 2 && n > 0) x[2 * ldx] = (R)INFINITY, x[ldx + n - 1] = (R)-0.0;
    R *before = S(copy)(x, S(extent)(rows, n, ldx)), *dz_before = S(copy)(dz, S(extent)(rows, n,
                                                                                          lddz));
    for (ptrdiff_t j = 0; j < n_slopes; j++) want[j] = 0;
    table->prelu_slope(rows, n, dz, lddz, x, ldx, shared, dslope);
    R *z = in_place ? x : S(blank)(S(extent)(rows, n, ldz));
    R *dx = in_place ? dz : S(blank)(S(extent)(rows, n, lddz));
    table->prelu_backward(rows, n, dz, lddz, before, ldx, slope, shared, dx, lddz);
    table->prelu(rows, n, x, ldx, slope, shared, z, ldz);
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t j = 0; j < n; j++) {
            R a = slope[shared ? 0 : j], was = before[r * ldx + j], d = dz_before[r * lddz + j];
            CHECK(z[r * ldz + j] == (was > 0 ? was : a * was), "prelu at %td, %td", r, j);
            CHECK(dx[r * lddz + j] == (was > 0 ? d : a * d), "prelu_backward at %td, %td", r, j);
            want[shared ? 0 : j] += was > 0 ? 0 : (double)was * (double)d;
        }
    for (ptrdiff_t j = 0; j < n_slopes; j++)
        CHECK(is_near((double)dslope[j], want[j], 4.0 * (double)(shared ? rows * n : rows),
                      4 * EPSILON),
              "prelu_slope (%td, %td) at %td: %.17g, want %.17g", rows, n, j, (double)dslope[j],
              want[j]);
    if (!in_place) CHECK(S(gaps_are_blank)(rows, n, ldz, z), "prelu: gaps");
    release_buffers();
}

/* NaN stays NaN */
static void S(check_prelu_of_nan)(const TABLE *table) {
    R x[] = {(R)NAN, 1}, slope[] = {(R)0.5, (R)0.5}, z[2];
    for (int shared = 0; shared < 2; shared++) {
        table->prelu(1, 2, x, 2, slope, shared, z, 2);
        CHECK(isnan(z[0]) && z[1] == 1, "prelu of NaN");
    }
}

/* mean, less `centre`, and variance of a column: the numbers are exact in double */
static void S(column_stats)(ptrdiff_t rows, const R *x, ptrdiff_t ldx, double centre, double *mean,
                            double *variance) {
    *mean = *variance = 0;
    for (ptrdiff_t r = 0; r < rows; r++) *mean += ((double)x[r * ldx] - centre) / (double)rows;
    for (ptrdiff_t r = 0; r < rows; r++) {
        double d = ((double)x[r * ldx] - centre) - *mean;
        *variance += d * d / (double)rows;
    }
}

static void S(check_batch_norm)(const TABLE *table, ptrdiff_t rows, ptrdiff_t n, double centre,
                                int in_place) {
    const ptrdiff_t ldx = n + 2, lddz = n + 1, ldz = in_place ? ldx : n + 3;
    const double eps = 1e-5;
    R *x = S(matrix)(centre - 2, centre + 2, rows, n, ldx), *mean = S(blank)(n);
    R *before = S(copy)(x, S(extent)(rows, n, ldx)), *variance = S(blank)(n);
    R *inverse = S(blank)(n), *gain = S(reals)(n, -2, 2), *bias = S(reals)(n, -2, 2);
    R *dz = S(matrix)(-2, 2, rows, n, lddz), *dz_before = S(copy)(dz, S(extent)(rows, n, lddz));
    R *z = in_place ? x : S(blank)(S(extent)(rows, n, ldz)), *dgain = S(reals)(n, -1, 1);
    R *dx = in_place ? dz : S(blank)(S(extent)(rows, n, lddz)), *start = S(copy)(dgain, n);
    table->batch_statistics(rows, n, x, ldx, eps, mean, variance, inverse);
    table->batch_norm_gain(rows, n, dz, lddz, x, ldx, mean, inverse, dgain);
    table->batch_norm_backward(rows, n, dz, lddz, x, ldx, gain, mean, inverse, dx, lddz);
    table->batch_norm(rows, n, x, ldx, gain, bias, mean, inverse, z, ldz);
    for (ptrdiff_t j = 0; j < n; j++) {
        double exact, spread, sum = 0, product = 0, units = 0;
        S(column_stats)(rows, before + j, ldx, centre, &exact, &spread);
        double v = 1 / sqrt(spread + eps), off = (fabs(centre) + 2) * EPSILON; /* the mean is rounded */
        CHECK(is_near((double)mean[j] - centre, exact, fabs(centre), 4 * EPSILON), "mean at %td", j);
        CHECK(is_near((double)variance[j], spread, 0, 8 * EPSILON), "variance at %td: %.17g, %.17g",
              j, (double)variance[j], spread);
        /* of this variance: two rows about a large centre may leave few of its bits */
        CHECK(is_near((double)inverse[j] * sqrt((double)variance[j] + eps), 1, 0, 8 * EPSILON),
              "inverse at %td", j);
        for (ptrdiff_t r = 0; r < rows; r++) {
            double unit = ((double)before[r * ldx + j] - centre - exact) * v;
            double d = (double)dz_before[r * lddz + j];
            double want = (double)gain[j] * unit + (double)bias[j];
            CHECK(is_near((double)z[r * ldz + j], want, fabs(unit) + off * v / EPSILON,
                          8 * EPSILON), "batch_norm (%td, %td) at %td, %td: %.17g, want %.17g",
                  rows, n, r, j, (double)z[r * ldz + j], want);
            sum += d, product += d * unit, units += fabs(d) * (fabs(unit) + 1 + off * v / EPSILON);
        }
        CHECK(is_near((double)dgain[j], (double)start[j] + product, units, 8 * EPSILON),
              "batch_norm_gain (%td, %td) at %td", rows, n, j);
        for (ptrdiff_t r = 0; r < rows; r++) {
            double unit = ((double)before[r * ldx + j] - centre - exact) * v;
            double want = (double)gain[j] * v * ((double)dz_before[r * lddz + j]
                                                 - (sum + unit * product) / (double)rows);
            CHECK(is_near((double)dx[r * lddz + j], want, v * (8 + units) * (1 + off * v / EPSILON),
                          8 * EPSILON), "batch_norm_backward (%td, %td) at %td, %td: %.17g, %.17g",
                  rows, n, r, j, (double)dx[r * lddz + j], want);
        }
    }
    if (!in_place) {
        CHECK(S(gaps_are_blank)(rows, n, ldz, z), "batch_norm: gaps");
        CHECK(S(gaps_are_blank)(rows, n, lddz, dx), "batch_norm_backward: gaps");
    }
    release_buffers();
}

/* a range of columns gives the bytes of the whole; NaN stays in its column */
static void S(check_columns)(const TABLE *table, ptrdiff_t rows, ptrdiff_t n) {
    R *x = S(reals)(rows * n, -2, 2), *whole = S(blank)(3 * n), *alone = S(blank)(3);
    R *clean = S(blank)(3 * n);
    const ptrdiff_t bad = n / 2;
    table->batch_statistics(rows, n, x, n, 1e-5, clean, clean + n, clean + 2 * n);
    x[bad] = (R)NAN;
    table->batch_statistics(rows, n, x, n, 1e-5, whole, whole + n, whole + 2 * n);
    for (ptrdiff_t j = 0; j < n; j++)
        for (ptrdiff_t k = 0; k < 3; k++) {
            R found = whole[k * n + j];
            CHECK(j == bad ? isnan(found) : found == clean[k * n + j], "statistics at %td", j);
        }
    for (ptrdiff_t j = 0; j < n; j++) {
        table->batch_statistics(rows, 1, x + j, n, 1e-5, alone, alone + 1, alone + 2);
        CHECK(j == bad || (alone[0] == whole[j] && alone[1] == whole[n + j]
                           && alone[2] == whole[2 * n + j]), "a column alone, %td", j);
    }
    release_buffers();
}

/* columns of equal numbers have no variance */
static void S(check_equal_columns)(const TABLE *table, ptrdiff_t rows) {
    R *x = S(blank)(rows), mean, variance, inverse;
    R equal = (R)random_real(1, 2) / (R)1.1;
    for (ptrdiff_t r = 0; r < rows; r++) x[r] = equal;
    table->batch_statistics(rows, 1, x, 1, 1e-5, &mean, &variance, &inverse);
    CHECK(mean == equal && variance >= 0 && (double)variance < 1e-25, "%td equal numbers", rows);
    CHECK(is_near((double)inverse * sqrt(1e-5), 1, 0, 4 * EPSILON), "%td equal numbers", rows);
    release_buffers();
}

static void S(check_layers)(const TABLE *table) {
    static const ptrdiff_t widths[] = {0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 65};
    static const double centres[] = {0, -3, 1024};
    FOR_EACH(ptrdiff_t, n, widths)
        for (ptrdiff_t rows = 0; rows < 40; rows += 1 + rows / 3)
            for (int flags = 0; flags < 4; flags++) {
                S(check_prelu)(table, rows, *n, flags & 1, flags >> 1);
                if (flags < 2) S(check_scale)(table, rows, *n, flags);
                if (flags < 2 && rows > 0)
                    FOR_EACH(double, centre, centres)
                        S(check_batch_norm)(table, rows, *n, *centre, flags);
                if (flags == 0 && rows > 0 && *n > 0) S(check_columns)(table, rows, *n);
            }
    for (ptrdiff_t rows = 1; rows < 100; rows++) S(check_equal_columns)(table, rows);
    S(check_prelu_of_nan)(table);
}
