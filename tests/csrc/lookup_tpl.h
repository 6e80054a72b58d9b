/* Sums of rows of a table, of one type. */

/* rows with 0, 1, 2, .. entries in turn, at random columns, which may be there twice */
static fnn_lookup S(draw_lookup)(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t n_table, int flags) {
    const int has_bias = flags & 1, relu = flags >> 1 & 1, has_order = flags >> 2 & 1;
    const int exact = flags >> 3 & 1;
    int64_t *start = buffer((size_t)(rows + 1) * sizeof(int64_t));
    ptrdiff_t *order = buffer((size_t)rows * sizeof(ptrdiff_t));
    start[0] = 0;
    for (ptrdiff_t r = 0; r < rows; r++) {
        start[r + 1] = start[r] + (n_table > 0 ? r * r % 37 : 0);
        order[r] = random_word() % rows;
    }
    int32_t *column = buffer((size_t)start[rows] * sizeof(int32_t));
    for (int64_t i = 0; i < start[rows]; i++) column[i] = (int32_t)(random_word() % n_table);
    const ptrdiff_t ld = n + 3, size = S(extent)(n_table, n, ld);
    const ptrdiff_t entries = (ptrdiff_t)start[rows];
    return (fnn_lookup){
        .rows = rows, .n = n, .order = has_order ? order : NULL, .start = start, .column = column,
        .value = exact ? S(integers)(entries) : S(reals)(entries, -2, 2),
        .table = exact ? S(integers)(size) : S(reals)(size, -2, 2), .n_table = n_table, .ld = ld,
        .bias = !has_bias ? NULL : exact ? S(integers)(n) : S(reals)(n, -2, 2), .relu = relu,
        .out = S(blank)(S(extent)(rows, n, n + 2)), .ldout = n + 2,
    };
}

static void S(check_one_lookup)(const TABLE *table, ptrdiff_t rows, ptrdiff_t n, ptrdiff_t n_table,
                                int flags) {
    fnn_lookup p = S(draw_lookup)(rows, n, n_table, flags);
    const R *value = p.value, *w = p.table, *bias = p.bias, *out = p.out;
    R *alone = S(blank)(n);
    CHECK(table->lookup(&p) == -1, "lookup (%td, %td): an entry is wrong", rows, n);
    for (ptrdiff_t r = 0; r < rows; r++) {
        const ptrdiff_t at = p.order ? p.order[r] : r;
        for (ptrdiff_t j = 0; j < n; j++) {
            double want = bias ? (double)bias[j] : 0, size = fabs(want);
            for (int64_t i = p.start[at]; i < p.start[at + 1]; i++) {
                double term = (double)value[i] * (double)w[p.column[i] * p.ld + j];
                want += term, size += fabs(term);
            }
            if (p.relu && want < 0) want = 0;
            CHECK(is_near((double)out[r * p.ldout + j], want, size, 16 * EPSILON),
                  "lookup (%td, %td), flags %d at %td, %td: %.17g, want %.17g", rows, n, flags, r,
                  j, (double)out[r * p.ldout + j], want);
        }
        fnn_lookup one = p;
        one.rows = 1, one.order = NULL, one.start = p.start + at, one.out = alone;
        CHECK(table->lookup(&one) == -1, "lookup: a row alone");
        CHECK(!memcmp(alone, out + r * p.ldout, (size_t)n * sizeof(R)), "lookup: row %td alone", r);
    }
    CHECK(S(gaps_are_blank)(rows, n, p.ldout, out), "lookup: gaps");
    release_buffers();
}

/* the chain of the dense product, where the columns ascend */
static void S(check_dense_chain)(const TABLE *table, ptrdiff_t n, ptrdiff_t n_table) {
    const int64_t start[2] = {0, n_table / 2};
    int32_t *column = buffer((size_t)start[1] * sizeof(int32_t));
    R *value = S(reals)((ptrdiff_t)start[1], -2, 2), *x = S(blank)(n_table);
    R *w = S(reals)(n_table * n, -2, 2), *bias = S(reals)(n, -2, 2);
    R *out = S(blank)(n), *dense = S(blank)(n);
    for (ptrdiff_t k = 0; k < n_table; k++) x[k] = 0;
    for (int64_t i = 0; i < start[1]; i++) {
        column[i] = (int32_t)(2 * i + random_word() % 2);
        x[column[i]] = value[i];
    }
    fnn_lookup p = {.rows = 1, .n = n, .start = start, .column = column, .value = value,
                    .table = w, .n_table = n_table, .ld = n, .bias = bias, .out = out, .ldout = n};
    fnn_product q = {.rows = 1, .n = n, .k = n_table, .a = x, .a_step = n_table, .b = w, .ldb = n,
                     .b_panel = table->panel, .bias = bias, .c = dense, .ldc = n};
    CHECK(table->lookup(&p) == -1, "lookup: an entry is wrong");
    table->product(&q);
    CHECK(!memcmp(out, dense, (size_t)n * sizeof(R)), "lookup and product (%td, %td)", n, n_table);
    release_buffers();
}

/* columns that the table has not, negative ones too, are told and not followed */
static void S(check_wrong_column)(const TABLE *table, ptrdiff_t n, int32_t column,
                                  int with_order) {
    enum { ROWS = 5, WRONG = 9 };
    const unsigned char adds[ROWS] = {0};
    fnn_lookup p = S(draw_lookup)(ROWS, n, 6, with_order ? 4 : 0);
    int64_t start[] = {0, 3, 8, 12, 12, 14};
    const ptrdiff_t order[] = {0, 1, 2, 3, 4};
    int32_t columns[14] = {0};
    R *value = S(reals)(14, -2, 2);
    columns[WRONG] = column;
    p.start = start, p.column = columns, p.value = value;
    if (p.order) p.order = order;
    CHECK(table->lookup(&p) == WRONG, "column %d is not told", (int)column);
    CHECK(S(is_blank)(((R *)p.out)[2 * p.ldout]), "column %d: a row was written", (int)column);
    p.order = NULL, p.adds = adds;
    CHECK(table->lookup(&p) == WRONG, "column %d is not told along runs", (int)column);
    release_buffers();
}

/* NaN and infinity stay in their row; a table so large that rows are fetched ahead */
static void S(check_large_table)(const TABLE *table, ptrdiff_t n, int with_order) {
    const ptrdiff_t n_table = (1 << 19) / n / (ptrdiff_t)sizeof(R) + 100;
    fnn_lookup p = S(draw_lookup)(30, n, n_table, 1 | with_order << 2);
    R *value = (R *)(uintptr_t)p.value;
    value[p.start[20]] = (R)NAN;
    CHECK(table->lookup(&p) == -1, "large table");
    for (ptrdiff_t r = 0; r < p.rows; r++) {
        const ptrdiff_t at = p.order ? p.order[r] : r;
        for (ptrdiff_t j = 0; j < n; j++) {
            double want = (double)((const R *)p.bias)[j], size = fabs(want);
            for (int64_t i = p.start[at]; i < p.start[at + 1]; i++) {
                double term =
                    (double)value[i] * (double)((const R *)p.table)[p.column[i] * p.ld + j];
                want += term, size += fabs(term);
            }
            CHECK(is_near((double)((R *)p.out)[r * p.ldout + j], want, size, 16 * EPSILON),
                  "large table at %td, %td", r, j);
        }
    }
    release_buffers();
}

static void S(check_sum_runs)(const TABLE *table, ptrdiff_t rows, ptrdiff_t n, int in_place) {
    R *x = S(integers)(rows * n), *before = S(copy)(x, rows * n);
    R *out = in_place ? x : S(blank)(rows * n);
    unsigned char *adds = buffer((size_t)rows);
    for (ptrdiff_t r = 0; r < rows; r++) adds[r] = random_word() % 3 > 0;
    table->sum_runs(0, rows / 3, n, adds, x, out);
    table->sum_runs(rows / 3, rows, n, adds, x, out);
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t j = 0; j < n; j++) {
            double want = (double)before[r * n + j];
            for (ptrdiff_t i = r; i > 0 && adds[i]; i--) want += (double)before[(i - 1) * n + j];
            CHECK((double)out[r * n + j] == want, "sum_runs (%td, %td) at %td, %td", rows, n, r, j);
        }
    release_buffers();
}

/* A row goes on from the one after it, the last of a run begins with zeros; a row without entries
 * is a copy, so that it may be left out: the rows that have some are the same without it. */
static void S(check_lookup_runs)(const TABLE *table, ptrdiff_t rows, ptrdiff_t n,
                                 ptrdiff_t n_table) {
    fnn_lookup p = S(draw_lookup)(rows, n, n_table, 0);
    unsigned char *adds = buffer((size_t)rows), *joins = buffer((size_t)rows);
    int64_t *start = buffer((size_t)(rows + 1) * sizeof(int64_t));
    R *packed = S(blank)(S(extent)(rows, n, n + 2));
    ptrdiff_t count = 0;
    int joined = 0;
    for (ptrdiff_t r = 0; r < rows; r++) {
        adds[r] = random_word() % 4 > 0;
        joined = joined && adds[r];
        if (p.start[r] == p.start[r + 1]) continue;
        joins[count] = (unsigned char)joined, start[count++] = p.start[r];
        joined = 1;
    }
    start[count] = p.start[rows];
    p.adds = adds;
    CHECK(table->lookup(&p) == -1, "lookup along runs (%td, %td)", rows, n);
    const R *value = p.value, *w = p.table, *out = p.out;
    fnn_lookup q = p;
    q.rows = count, q.start = start, q.adds = joins, q.out = packed;
    CHECK(table->lookup(&q) == -1, "lookup along packed runs (%td, %td)", rows, n);
    for (ptrdiff_t r = rows - 1, k = count; r >= 0; r--) {
        for (ptrdiff_t j = 0; j < n; j++) {
            double want = 0, size = 0;
            for (ptrdiff_t s = r; s == r || (s < rows && adds[s]); s++)
                for (int64_t i = p.start[s]; i < p.start[s + 1]; i++) {
                    double term = (double)value[i] * (double)w[p.column[i] * p.ld + j];
                    want += term, size += fabs(term);
                }
            CHECK(is_near((double)out[r * p.ldout + j], want, size, 64 * EPSILON),
                  "lookup along runs (%td, %td) at %td, %td", rows, n, r, j);
        }
        if (p.start[r] == p.start[r + 1]) continue;
        k--;
        CHECK(!memcmp(packed + k * p.ldout, out + r * p.ldout, (size_t)n * sizeof(R)),
              "lookup along runs (%td, %td): row %td among others", rows, n, r);
    }
    CHECK(S(gaps_are_blank)(rows, n, p.ldout, out), "lookup along runs: gaps");
    release_buffers();
}

static void S(check_lookup)(const TABLE *table) {
    static const ptrdiff_t widths[] = {0,  1,  2,  3,  5,  8,  9,  12, 14, 16,  17,  20, 23,
                                       27, 31, 32, 37, 44, 50, 64, 65, 96, 100, 128, 150};
    static const int32_t wrong[] = {-1, INT32_MIN, 6, 7, INT32_MAX};
    FOR_EACH(ptrdiff_t, n, widths) {
        for (int flags = 0; flags < 16; flags++) {
            S(check_one_lookup)(table, 0, *n, 5, flags);
            S(check_one_lookup)(table, 9, *n, 1, flags);
            S(check_one_lookup)(table, 12, *n, 40, flags);
        }
        if (*n > 0) S(check_dense_chain)(table, *n, 30);
        for (ptrdiff_t rows = 0; rows < 20; rows += 1 + rows / 4) {
            S(check_lookup_runs)(table, rows, *n, 5);
            S(check_sum_runs)(table, rows, *n, 0);
            S(check_sum_runs)(table, rows, *n, 1);
        }
    }
    /* whole vectors, and a part of one behind them */
    for (ptrdiff_t n = table->vector; n <= 8 * table->vector; n += table->vector)
        for (int flags = 0; flags < 8; flags++) {
            S(check_one_lookup)(table, 12, n, 40, flags);
            S(check_one_lookup)(table, 12, n + 1, 40, flags);
        }
    for (int with_order = 0; with_order < 2; with_order++) {
        FOR_EACH(int32_t, column, wrong) S(check_wrong_column)(table, 70, *column, with_order);
        S(check_large_table)(table, 40, with_order);
        /* half a vector, then as many as are summed at a time */
        for (ptrdiff_t n = table->vector / 2; n <= 8 * table->vector;
             n += n < table->vector ? table->vector / 2 : table->vector) {
            S(check_wrong_column)(table, n, 6, with_order);
            S(check_large_table)(table, n, with_order);
        }
        /* a quarter of a vector, or a part of that, behind whole ones */
        for (ptrdiff_t n = table->vector; n < 8 * table->vector; n += table->vector) {
            S(check_wrong_column)(table, n + 1, 6, with_order);
            S(check_large_table)(table, n + table->vector / 4, with_order);
        }
    }
    S(check_lookup_runs)(table, 30, 40, (1 << 19) / 40 / (ptrdiff_t)sizeof(R) + 100);
}
