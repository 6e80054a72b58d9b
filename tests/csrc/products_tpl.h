/* Products, transposes and sums of one type.  The numbers are small integers, whose sums are exact:
 * nothing but the very result passes. */

typedef struct {
    ptrdiff_t rows, n, k;
    int by_columns, has_list, relu, has_gate, in_panels, has_room;
    int bias; /* 0: none, 1: (n), 2: (rows) */
} S(product_case);

/* a (rows, k), as `product` reads it: by rows or by columns, dense or from a list of places */
static const R *S(element_of_a)(const fnn_product *p, ptrdiff_t i, ptrdiff_t k) {
    ptrdiff_t line = p->a_by_columns ? k : i, at = p->a_by_columns ? i : k;
    if (p->a_list) return (const R *)p->a_list[line] + p->a_offset + at;
    return (const R *)p->a + line * p->a_step + at;
}

static void S(lay_out_a)(fnn_product *p, int has_list) {
    ptrdiff_t lines = p->a_by_columns ? p->k : p->rows, length = p->a_by_columns ? p->rows : p->k;
    p->a_step = length + 3;
    p->a_offset = has_list ? 2 : 0;
    ptrdiff_t count = S(extent)(lines, length + p->a_offset, p->a_step + p->a_offset);
    R *a = S(integers)(count);
    p->a = a;
    if (!has_list) return;
    const void **list = buffer((size_t)lines * sizeof(void *));
    for (ptrdiff_t i = 0; i < lines; i++)
        list[i] = a + (lines - 1 - i) * (p->a_step + p->a_offset); /* the last one first */
    p->a_list = list;
    p->a = NULL;
}

/* element (k, j) of b, in panels */
static const R *S(element_of_b)(const fnn_product *p, ptrdiff_t panel, ptrdiff_t k, ptrdiff_t j) {
    return (const R *)p->b + j / panel * p->b_panel + k * p->ldb + j % panel;
}

static void S(lay_out_b)(fnn_product *p, ptrdiff_t panel, int in_panels) {
    ptrdiff_t last = p->n % panel ? p->n % panel : panel, panels = (p->n + panel - 1) / panel;
    p->ldb = in_panels ? panel : p->n + 2;
    p->b_panel = in_panels ? p->k * panel : panel;
    ptrdiff_t count = in_panels ? (panels - 1) * p->b_panel + S(extent)(p->k, last, panel)
                                : S(extent)(p->k, p->n, p->ldb);
    p->b = S(integers)(count > 0 ? count : 0);
}

static void S(check_product)(const TABLE *table, const S(product_case) *t) {
    fnn_product p = {.rows = t->rows, .n = t->n, .k = t->k, .a_by_columns = t->by_columns,
                     .relu = t->relu, .ldc = t->n + 1, .bias_by_rows = t->bias == 2};
    S(lay_out_a)(&p, t->has_list);
    S(lay_out_b)(&p, table->panel, t->in_panels);
    const ptrdiff_t extent = S(extent)(t->rows, t->n, p.ldc);
    const R *bias = t->bias ? S(integers)(t->bias == 1 ? t->n : t->rows) : NULL;
    const R *gate = t->has_gate ? S(integers)(extent) : NULL;
    R *c = S(blank)(extent);
    p.bias = bias, p.gate = gate, p.c = c;
    if (t->has_room) p.room = buffer(FNN_ROOM);
    table->product(&p);
    for (ptrdiff_t i = 0; i < t->rows; i++)
        for (ptrdiff_t j = 0; j < t->n; j++) {
            double want = bias ? (double)bias[t->bias == 1 ? j : i] : 0;
            for (ptrdiff_t k = 0; k < t->k; k++)
                want += (double)*S(element_of_a)(&p, i, k)
                        * (double)*S(element_of_b)(&p, table->panel, k, j);
            if (gate && gate[i * p.ldc + j] <= 0) want = 0;
            if (t->relu && want < 0) want = 0;
            CHECK((double)c[i * p.ldc + j] == want,
                  "product (%td, %td, %td) at %td, %td: %g, want %g", t->rows, t->n, t->k, i, j,
                  (double)c[i * p.ldc + j], want);
        }
    CHECK(S(gaps_are_blank)(t->rows, t->n, p.ldc, c), "product: gaps");
    release_buffers();
}

/* NaN passes relu and gate */
static void S(check_product_of_nan)(const TABLE *table, ptrdiff_t n) {
    R *a = S(reals)(1, 1, 2), *b = S(reals)(n, 1, 2), *gate = S(reals)(n, 1, 2), *c = S(blank)(n);
    fnn_product p = {.rows = 1, .n = n, .k = 1, .a = a, .a_step = 1, .b = b, .ldb = n,
                     .b_panel = table->panel, .relu = 1, .gate = gate, .c = c, .ldc = n};
    for (ptrdiff_t j = 0; j < n; j += 2) b[j] = (R)NAN, gate[j] = (R)NAN;
    for (ptrdiff_t j = 1; j < n; j += 2) gate[j] = (R)(j % 4 == 1 ? NAN : 0);
    table->product(&p);
    for (ptrdiff_t j = 0; j < n; j++) {
        double want = j % 2 == 0 ? NAN : j % 4 == 1 ? (double)(a[0] * b[j]) : 0;
        CHECK(is_near((double)c[j], want, 0, 2 * EPSILON), "product of NaN at %td", j);
    }
    release_buffers();
}

/* one column of c: where its elements follow each other they are the bytes of those that do not */
static void S(check_one_column)(const TABLE *table, ptrdiff_t rows, ptrdiff_t k, int has_list) {
    fnn_product p = {.rows = rows, .n = 1, .k = k, .a_by_columns = 1, .ldc = 2};
    S(lay_out_a)(&p, has_list);
    S(lay_out_b)(&p, table->panel, k % 2 == 0);
    for (ptrdiff_t at = 0; at < k; at++)
        for (ptrdiff_t i = 0; i < rows; i++) *(R *)(uintptr_t)S(element_of_a)(&p, i, at) /= 3;
    R *apart = S(blank)(2 * rows), *c = S(blank)(rows + 1);
    p.c = apart;
    table->product(&p);
    p.c = c, p.ldc = 1;
    table->product(&p);
    for (ptrdiff_t i = 0; i < rows; i++)
        CHECK(!memcmp(c + i, apart + 2 * i, sizeof(R)), "one column (%td, %td) at %td", rows, k, i);
    CHECK(S(is_blank)(c[rows]), "one column: gaps");
    release_buffers();
}

/* one column of c, a by rows: the bytes of each row alone, whatever the rows beside it */
static void S(check_rows_of_one_column)(const TABLE *table, ptrdiff_t rows, ptrdiff_t k,
                                        int flags) {
    fnn_product p = {.rows = rows, .n = 1, .k = k, .ldc = 1 + (flags & 1), .relu = flags >> 1 & 1};
    S(lay_out_a)(&p, 0);
    S(lay_out_b)(&p, table->panel, 0);
    R *a = (R *)(uintptr_t)p.a, *c = S(blank)(S(extent)(rows, 1, p.ldc)), *alone = S(blank)(1);
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t at = 0; at < k; at++) a[i * p.a_step + at] /= 3;
    p.bias = flags & 4 ? S(reals)(1, -2, 2) : NULL;
    if (rows > 2 && k > 0) a[2 * p.a_step] = (R)NAN;
    p.c = c;
    table->product(&p);
    for (ptrdiff_t i = 0; i < rows; i++) {
        fnn_product one = p;
        one.rows = 1, one.a = a + i * p.a_step, one.c = alone;
        table->product(&one);
        CHECK(i == 2 && k > 0 ? c[i * p.ldc] != c[i * p.ldc]
                              : !memcmp(c + i * p.ldc, alone, sizeof(R)),
              "rows of one column (%td, %td) at %td", rows, k, i);
    }
    CHECK(S(gaps_are_blank)(rows, 1, p.ldc, c), "rows of one column: gaps");
    release_buffers();
}

static S(product_case) S(with_flags)(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t k, int flags) {
    return (S(product_case)){.rows = rows, .n = n, .k = k, .by_columns = flags & 1,
                             .has_list = flags >> 1 & 1, .relu = flags >> 2 & 1,
                             .has_gate = flags >> 3 & 1, .in_panels = flags >> 4 & 1,
                             .bias = flags >> 5};
}

enum { S(N_FLAGS) = 3 << 5 };

static void S(check_products)(const TABLE *table) {
    const ptrdiff_t vector = table->vector, panel = table->panel;
    int turn = 0;
    /* every tile with every flag */
    for (ptrdiff_t rows = 1; rows <= 8; rows++)
        for (ptrdiff_t n = vector; n <= panel; n += vector)
            for (int flags = 0; flags < S(N_FLAGS); flags++) {
                S(product_case) t = S(with_flags)(rows, n - flags % 3 % vector, 3, flags);
                S(check_product)(table, &t);
            }
    /* other sizes */
    for (ptrdiff_t rows = 0; rows <= 19; rows++)
        for (ptrdiff_t n = 0; n <= 2 * panel + 1; n += n % vector <= 1 || n % vector == vector - 1
                                                           ? 1 : vector - 1 - n % vector)
            for (ptrdiff_t k = 0; k <= 9; k += 1 + k % 3 * 2, turn += 7) {
                S(product_case) t = S(with_flags)(rows, n, k, turn % S(N_FLAGS));
                S(check_product)(table, &t);
            }
    /* k in more than one block */
    for (ptrdiff_t k = 383; k <= 769; k += k == 385 ? 382 : 1)
        for (int flags = 0; flags < S(N_FLAGS); flags += 1 + (k > 384))
            for (ptrdiff_t rows = 1; rows <= 9; rows += 8) {
                S(product_case) t = S(with_flags)(rows, panel + 1, k, flags);
                S(check_product)(table, &t);
            }
    /* ... in panels of which a block takes more rows */
    for (ptrdiff_t k = 2047; k <= 2049; k++)
        for (int flags = 16; flags < S(N_FLAGS); flags += flags % 16 == 15 ? 17 : 1) {
            S(product_case) t = S(with_flags)(2, panel + 1, k, flags);
            S(check_product)(table, &t);
        }
    /* ... so long that the next one is fetched, on AVX-512: tiles of all heights there */
    const ptrdiff_t k_of_long = vector * sizeof(R) == 64 ? 1024 : 9;
    for (ptrdiff_t rows = 0; rows <= 7; rows++)
        for (int flags = 16; flags < S(N_FLAGS); flags += flags % 16 == 15 ? 17 : 1) {
            S(product_case) t = S(with_flags)(rows, panel + 1, k_of_long, flags);
            S(check_product)(table, &t);
        }
    /* columns of a that are packed: tiles of all heights; more of k than there is room for; rows
     * for which there is hardly any; and too few panels */
    const ptrdiff_t room = FNN_ROOM / 4;
    const ptrdiff_t packed[][3] = {{1, 16 * panel, 5},    {2, 16 * panel + 1, 1},
                                   {16, 17 * panel, 385}, {17, 16 * panel + vector, 0},
                                   {5, 16 * panel - 1, 7}, {0, 16 * panel, 3},
                                   {30, 16 * panel, room / 30 + 1}, {room / 60, 16 * panel, 2}};
    for (size_t i = 0; i < sizeof packed / sizeof *packed; i++)
        for (int flags = 1; flags < S(N_FLAGS); flags += packed[i][2] < 9 ? 2 : 18) {
            S(product_case) t = S(with_flags)(packed[i][0], packed[i][1], packed[i][2], flags);
            t.has_room = 1;
            S(check_product)(table, &t);
        }
    /* a b by rows of which panels are packed: whole groups of them, a rest, and no whole panel */
    static const ptrdiff_t heights[] = {1, 23, 24, 31}, depths[] = {0, 3, 385};
    FOR_EACH(ptrdiff_t, rows, heights)
        FOR_EACH(ptrdiff_t, k, depths)
            for (ptrdiff_t n = 32 * panel - 1; n <= 33 * panel + 1; n += n % panel ? 1 : panel / 2)
                for (int flags = 0; flags < S(N_FLAGS); flags += *k < 9 ? 6 : 26) {
                    S(product_case) t = S(with_flags)(*rows, n, *k, flags);
                    t.has_room = 1;
                    S(check_product)(table, &t);
                }
    /* a row so wide that b is read along its rows */
    const ptrdiff_t wide = 8 * 64 / (ptrdiff_t)sizeof(R);
    for (ptrdiff_t n = wide; n <= wide + vector + 1; n++)
        for (ptrdiff_t k = 0; k <= 9; k++, turn += 7)
            for (int flags = turn % 5; flags < S(N_FLAGS); flags += 5) {
                S(product_case) t = S(with_flags)(1, n, k, flags);
                S(check_product)(table, &t);
            }
    /* k of 1 and n of 1 that are no thin products: panels with gaps, relu, a gate */
    for (int i = 0; i < 3; i++) {
        const ptrdiff_t n = i == 0 ? panel + 1 : 1;
        fnn_product p = {.rows = 9, .n = n, .k = 3, .a_by_columns = 1, .ldc = n, .relu = i == 1};
        S(lay_out_a)(&p, 0);
        S(lay_out_b)(&p, panel, 1);
        if (i == 0) p.k = 1; /* the other rows of a panel are its gap */
        R *c = S(blank)(p.rows * n);
        const R *gate = i == 2 ? S(integers)(p.rows) : NULL;
        p.c = c, p.gate = gate;
        table->product(&p);
        for (ptrdiff_t at = 0; at < p.rows * n; at++) {
            double want = 0;
            for (ptrdiff_t k = 0; k < p.k; k++)
                want += (double)*S(element_of_a)(&p, at / n, k)
                        * (double)*S(element_of_b)(&p, panel, k, at % n);
            if ((p.relu && want < 0) || (gate && gate[at] <= 0)) want = 0;
            CHECK((double)c[at] == want, "no thin product %d at %td", i, at);
        }
        release_buffers();
    }
    for (ptrdiff_t n = 1; n <= panel + 1; n++) S(check_product_of_nan)(table, n);
    for (ptrdiff_t rows = 0; rows <= 17 * vector; rows += 1 + rows / 20)
        for (int flags = 0; flags < 6; flags++)
            S(check_one_column)(table, rows, flags / 2 * 3, flags % 2);
    for (ptrdiff_t rows = 0; rows <= 2 * vector + 9; rows++)
        for (ptrdiff_t k = 0; k <= 60; k += 1 + k / 10, turn++)
            S(check_rows_of_one_column)(table, rows, k, turn % 8);
    for (int flags = 0; flags < S(N_FLAGS); flags++)
        for (ptrdiff_t k = 4; k <= 52; k += 12) {
            S(product_case) t = S(with_flags)(vector + 9, 1, k, flags);
            S(check_product)(table, &t);
        }
}

static void S(check_transpose)(const TABLE *table, ptrdiff_t rows, ptrdiff_t columns,
                               int has_index) {
    const ptrdiff_t ldx = columns + 1, ld_out = rows + 2, source = has_index ? 2 * rows : rows;
    R *x = S(integers)(S(extent)(source, columns, ldx));
    R *out = S(blank)(S(extent)(columns, rows, ld_out));
    ptrdiff_t *index = has_index ? buffer((size_t)rows * sizeof(ptrdiff_t)) : NULL;
    for (ptrdiff_t i = 0; index && i < rows; i++) index[i] = random_word() % source;
    table->transpose(rows, columns, x, ldx, index, out, ld_out);
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t j = 0; j < columns; j++)
            CHECK(out[j * ld_out + i] == x[(index ? index[i] : i) * ldx + j],
                  "transpose (%td, %td) at %td, %td", rows, columns, i, j);
    CHECK(S(gaps_are_blank)(columns, rows, ld_out, out), "transpose: gaps");
    release_buffers();
}

static void S(check_row_products)(const TABLE *table, ptrdiff_t rows, ptrdiff_t n, ptrdiff_t k) {
    const ptrdiff_t lda = k + 3, ldb = k + 1, ldc = n + 2;
    R *a = S(integers)(S(extent)(rows, k, lda)), *b = S(integers)(S(extent)(n, k, ldb));
    R *c = S(blank)(S(extent)(rows, n, ldc));
    table->row_products(rows, n, k, a, lda, b, ldb, c, ldc);
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t j = 0; j < n; j++) {
            double want = 0;
            for (ptrdiff_t at = 0; at < k; at++)
                want += (double)a[i * lda + at] * (double)b[j * ldb + at];
            CHECK((double)c[i * ldc + j] == want, "row_products (%td, %td, %td) at %td, %td", rows,
                  n, k, i, j);
        }
    CHECK(S(gaps_are_blank)(rows, n, ldc, c), "row_products: gaps");
    release_buffers();
}

static void S(check_column_sums)(const TABLE *table, ptrdiff_t rows, ptrdiff_t n) {
    const ptrdiff_t ldx = n + 3;
    R *x = S(integers)(S(extent)(rows, n, ldx)), *out = S(blank)(n);
    table->column_sums(rows, n, x, ldx, out);
    for (ptrdiff_t j = 0; j < n; j++) {
        double want = 0;
        for (ptrdiff_t i = 0; i < rows; i++) want += (double)x[i * ldx + j];
        CHECK((double)out[j] == want, "column_sums (%td, %td) at %td", rows, n, j);
    }
    release_buffers();
}

static void S(check_add_parts)(const TABLE *table, ptrdiff_t n, int n_parts, int accumulate) {
    const ptrdiff_t stride = n + 5;
    R *parts = S(integers)(S(extent)(n_parts, n, stride)), *out = S(integers)(n);
    R *before = S(copy)(out, n);
    table->add_parts(n, n_parts, parts, stride, accumulate, out);
    for (ptrdiff_t i = 0; i < n; i++) {
        double want = accumulate ? (double)before[i] : 0;
        for (int part = 0; part < n_parts; part++) want += (double)parts[part * stride + i];
        CHECK((double)out[i] == want, "add_parts (%td) of %d at %td", n, n_parts, i);
    }
    release_buffers();
}

static void S(check_sums)(const TABLE *table) {
    static const ptrdiff_t sizes[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 65};
    FOR_EACH(ptrdiff_t, rows, sizes)
        FOR_EACH(ptrdiff_t, n, sizes) {
            S(check_transpose)(table, *rows, *n, 0);
            S(check_transpose)(table, *rows, *n, 1);
            S(check_column_sums)(table, *rows, *n);
            for (ptrdiff_t columns = 0; columns <= 3; columns++)
                S(check_row_products)(table, *rows, columns, *n);
        }
    FOR_EACH(ptrdiff_t, n, sizes)
        for (int n_parts = 1; n_parts <= 4; n_parts++)
            for (int accumulate = 0; accumulate < 2; accumulate++)
                S(check_add_parts)(table, *n, n_parts, accumulate);
}
