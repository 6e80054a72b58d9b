/* What a step does beside the row of its optimizer, of one type. */

/* numbers with both zeros and NaN among them; none of the latter where `spoilt` is 0 */
static R *S(with_zeros)(ptrdiff_t n, int spoilt) {
    R *x = S(reals)(n, -1, 1);
    for (ptrdiff_t i = 0; i < n; i += 5) x[i] = i % 2 ? (R)-0.0 : 0;
    for (ptrdiff_t i = 7; spoilt && i < n; i += 11) x[i] = (R)NAN;
    return x;
}

typedef struct { double l2, l1, scale, limit; } S(collect_case);

static void S(check_collect)(const TABLE *table, ptrdiff_t n, int n_parts,
                             const S(collect_case) *t) {
    const ptrdiff_t stride = n + 3;
    const double l2 = (double)(R)t->l2, l1 = (double)(R)t->l1, limit = (double)(R)t->limit;
    R *parts = S(reals)(S(extent)(n_parts, n, stride), -1, 1), *w = S(with_zeros)(n, 0);
    R *before = S(copy)(w, n), *g = S(blank)(n);
    double sums[3] = {-1, -1, -1}, want[3] = {0, 0, 0};
    table->collect(n, n_parts, parts, stride, t->l2, t->l1, t->scale, t->limit, w, g, sums);
    for (ptrdiff_t i = 0; i < n; i++) {
        double x = (double)w[i], sum = l2 * x + (x > 0 ? l1 : x < 0 ? -l1 : 0);
        for (int part = 0; part < n_parts; part++) sum += (double)parts[part * stride + i];
        sum = fmax(-limit, fmin(limit, sum * (double)(R)t->scale));
        CHECK(is_near((double)g[i], sum, 0, 16 * EPSILON),
              "collect (%td), %d parts, %g, %g, %g, %g at %td: %.17g, want %.17g", n, n_parts,
              t->l2, t->l1, t->scale, t->limit, i, (double)g[i], sum);
        CHECK(fabs((double)g[i]) <= limit, "collect: %.17g is beyond the limit", (double)g[i]);
        want[0] += t->l2 != 0 ? x * x : 0;
        want[1] += t->l1 != 0 ? fabs(x) : 0;
        want[2] += (double)g[i] * (double)g[i];
    }
    for (int k = 0; k < 3; k++)
        CHECK(is_near(sums[k], want[k], 0, k < 2 ? 16 * EPSILON : 1e-13),
              "collect (%td): sum %d is %.17g, want %.17g", n, k, sums[k], want[k]);
    CHECK(!memcmp(w, before, (size_t)n * sizeof(R)), "collect: w has changed");
    release_buffers();
}

/* NaN is not clipped to a number, and infinity is */
static void S(check_collect_of_odd_numbers)(const TABLE *table) {
    static const double odd[] = {NAN, INFINITY, -INFINITY};
    R *parts = S(reals)(40, -1, 1), *w = S(reals)(40, -1, 1), *g = S(blank)(40);
    double sums[3];
    for (ptrdiff_t i = 0; i < 40; i++) parts[i] = (R)odd[i % 3];
    table->collect(40, 1, parts, 40, 0.5, 0.25, 2, 3, w, g, sums);
    for (ptrdiff_t i = 0; i < 40; i++) {
        double want = i % 3 == 0 ? (double)NAN : i % 3 == 1 ? 3 : -3;
        CHECK(is_near((double)g[i], want, 0, 0), "collect of %g: %g", (double)parts[i],
              (double)g[i]);
    }
    CHECK(isnan(sums[2]), "collect: NaN is lost from the sum of the squares");
    release_buffers();
}

static void S(check_average)(const TABLE *table, ptrdiff_t n, double rate) {
    R *w = S(with_zeros)(n, 1), *mean = S(reals)(n, -1, 1), *before = S(copy)(mean, n);
    table->average(n, rate, w, mean);
    for (ptrdiff_t i = 0; i < n; i++) {
        double m = (double)before[i], want = m + (double)(R)rate * ((double)w[i] - m);
        CHECK(is_near((double)mean[i], want, 0, 4 * EPSILON),
              "average (%td), rate %g, at %td: %.17g, want %.17g", n, rate, i, (double)mean[i],
              want);
    }
    release_buffers();
}

static void S(check_multiply)(const TABLE *table, ptrdiff_t n, double factor) {
    R *x = S(with_zeros)(n, 1), *before = S(copy)(x, n);
    table->multiply(n, factor, x);
    for (ptrdiff_t i = 0; i < n; i++) {
        double want = (double)(R)((double)before[i] * (double)(R)factor);
        CHECK(is_near((double)x[i], want, 0, 0), "multiply (%td) by %g at %td: %.17g", n, factor,
              i, (double)x[i]);
    }
    release_buffers();
}

/* Every third column is some ten times as long as the others; one that is not too long keeps its
 * bits. */
static void S(check_limit_columns)(const TABLE *table, ptrdiff_t rows, ptrdiff_t n, double limit) {
    const ptrdiff_t ld = n + 2, extent = S(extent)(rows, n, ld);
    R *w = S(blank)(extent);
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t j = 0; j < n; j++)
            w[r * ld + j] = (R)(random_real(-1, 1) * (j % 3 ? 0.1 : 1));
    if (rows > 0 && n > 4) w[4] = (R)NAN;
    R *before = S(copy)(w, extent);
    table->limit_columns(rows, n, w, ld, limit);
    for (ptrdiff_t j = 0; j < n; j++) {
        double squares = 0;
        for (ptrdiff_t r = 0; r < rows; r++)
            squares += (double)before[r * ld + j] * (double)before[r * ld + j];
        double norm = sqrt(squares);
        for (ptrdiff_t r = 0; r < rows; r++) {
            double old = (double)before[r * ld + j], want = norm > limit ? old * limit / norm : old;
            CHECK(is_near((double)w[r * ld + j], want, 0, norm > limit ? 2 * EPSILON : 0),
                  "limit_columns (%td, %td) to %g at %td, %td: %.17g, want %.17g", rows, n, limit,
                  r, j, (double)w[r * ld + j], want);
        }
    }
    CHECK(S(gaps_are_blank)(rows, n, ld, w), "limit_columns: gaps");
    release_buffers();
}

static void S(check_muon_momentum)(const TABLE *table, ptrdiff_t n, int nesterov, double scale) {
    const double momentum = 0.9, keep = (double)(R)momentum, add = (double)(R)(1 - momentum);
    R *g = S(reals)(n, -1, 1), *s = S(reals)(n, -1, 1);
    R *g_before = S(copy)(g, n), *s_before = S(copy)(s, n);
    double squares = 0, got = table->muon_momentum(n, momentum, nesterov, scale, g, s);
    for (ptrdiff_t i = 0; i < n; i++) {
        double x = (double)g_before[i] * (double)(R)scale;
        double velocity = keep * (double)s_before[i] + add * x;
        double want = nesterov ? keep * velocity + add * x : velocity;
        CHECK(is_near((double)s[i], velocity, fabs(x), 4 * EPSILON),
              "muon_momentum (%td) at %td: s %.17g, want %.17g", n, i, (double)s[i], velocity);
        CHECK(is_near((double)g[i], want, fabs(x), 4 * EPSILON),
              "muon_momentum (%td), nesterov %d, at %td: %.17g, want %.17g", n, nesterov, i,
              (double)g[i], want);
        squares += (double)g[i] * (double)g[i];
    }
    CHECK(is_near(got / fmax(squares, 1e-300), n > 0, 0, 1e-13),
          "muon_momentum (%td): squares %.17g, want %.17g", n, got, squares);
    release_buffers();
}

static void S(check_muon_polynomial)(const TABLE *table, ptrdiff_t n, ptrdiff_t row0,
                                     ptrdiff_t rows) {
    static const double c[] = {3.4445, -4.7750, 2.0315};
    R *gram = S(reals)(rows * n, -1, 1), *square = S(reals)(rows * n, -1, 1);
    R *before = S(copy)(square, rows * n);
    table->muon_polynomial(rows, n, row0, c, gram, square);
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t j = 0; j < n; j++) {
            double want = (row0 + r == j ? c[0] : 0) + c[1] * (double)gram[r * n + j]
                          + c[2] * (double)before[r * n + j];
            CHECK(is_near((double)square[r * n + j], want, 10, 2 * EPSILON),
                  "muon_polynomial (%td from %td, %td) at %td, %td: %.17g, want %.17g", rows, row0,
                  n, r, j, (double)square[r * n + j], want);
        }
    release_buffers();
}

static void S(check_muon_step)(const TABLE *table, ptrdiff_t n, double keep, double rate) {
    R *u = S(reals)(n, -1, 1), *w = S(with_zeros)(n, 1), *before = S(copy)(w, n);
    table->muon_step(n, keep, rate, u, w);
    for (ptrdiff_t i = 0; i < n; i++) {
        double want = (double)(R)keep * (double)before[i] - (double)(R)rate * (double)u[i];
        CHECK(is_near((double)w[i], want, 0, 4 * EPSILON),
              "muon_step (%td), %g, %g, at %td: %.17g, want %.17g", n, keep, rate, i,
              (double)w[i], want);
    }
    release_buffers();
}

static void S(check_steps)(const TABLE *table) {
    static const ptrdiff_t sizes[] = {0, 1, 3, 8, 15, 16, 17, 31, 64, 511, 512, 513, 1025};
    static const ptrdiff_t heights[] = {0, 1, 2, 3, 7, 8, 33};
    static const S(collect_case) cases[] = {
        {0, 0, 1, INFINITY},   {0.125, 0, 0.25, INFINITY}, {0, 0.3, 1, INFINITY},
        {0.1, 0.01, 1.5, 0.4}, {0, 0, 0.75, 0.25},
    };
    FOR_EACH(ptrdiff_t, n, sizes) {
        for (int n_parts = 1; n_parts <= 3; n_parts++)
            FOR_EACH(S(collect_case), t, cases) S(check_collect)(table, *n, n_parts, t);
        S(check_average)(table, *n, 1);
        S(check_average)(table, *n, 0.01);
        S(check_multiply)(table, *n, -0.3);
        FOR_EACH(ptrdiff_t, rows, heights) {
            S(check_limit_columns)(table, *rows, *n, 0.5);
            S(check_limit_columns)(table, *rows, *n, 10);
        }
        for (int nesterov = 0; nesterov < 2; nesterov++) {
            S(check_muon_momentum)(table, *n, nesterov, 0.25);
            S(check_muon_momentum)(table, *n, nesterov, 1e30); /* squares that float has not */
        }
        S(check_muon_step)(table, *n, 0.75, 0.02);
    }
    for (ptrdiff_t n = 1; n <= 35; n += 1 + n / 4) {
        S(check_muon_polynomial)(table, n, 0, n);
        S(check_muon_polynomial)(table, n, n / 3, n - n / 3);
        S(check_muon_polynomial)(table, n, n / 2, n / 4);
    }
    S(check_collect_of_odd_numbers)(table);
}
