/* The losses of one type, with a sample in each row or in each column. */

typedef struct {
    ptrdiff_t rows, n, ld;
    int by_columns;      /* arrays are (n, rows; ld), else (rows, n) */
    int has_labels;
    int has_weights;
    double ceiling;
    const double *h;     /* (n, FNN_N_PARAMETERS) or NULL */
} S(loss_case);

static ptrdiff_t S(place)(const S(loss_case) *l, ptrdiff_t r, ptrdiff_t j) {
    return l->by_columns ? j * l->ld + r : r * l->n + j;
}

static double S(call_loss)(const TABLE *table, int f, const S(loss_case) *l, const R *z, const R *y,
                           const int32_t *labels, const R *s, R *dz) {
    if (l->by_columns)
        return table->loss_columns[f](l->rows, l->n, l->ld, z, y, labels, s, l->ceiling, l->h, dz);
    return table->loss[f](l->rows, l->n, z, y, labels, s, l->ceiling, l->h, dz);
}

static void S(check_loss)(const TABLE *table, int f, const S(loss_case) *l, int has_nan) {
    const ptrdiff_t rows = l->rows, n = l->n;
    ptrdiff_t count = l->by_columns ? S(extent)(n, rows, l->ld) : rows * n;
    R *z = S(reals)(count, -8, 8), *y = l->has_labels ? NULL : S(reals)(count, 0, 1);
    R *s = l->has_weights ? S(reals)(rows, 0, 3) : NULL, *dz = S(blank)(count);
    int32_t *labels = l->has_labels ? buffer((size_t)rows * sizeof(int32_t)) : NULL;
    double *zs = buffer((size_t)n * sizeof(double)), *ys = buffer((size_t)n * sizeof(double));
    double *want = buffer((size_t)n * sizeof(double)), total = 0, size = 0;
    for (ptrdiff_t i = 0; y && i < count; i++)
        if (random_word() % 4 == 0) y[i] = (R)(random_word() % 2);
    for (ptrdiff_t r = 0; labels && r < rows; r++)
        labels[r] = (int32_t)(random_word() % (uint32_t)n);
    if (has_nan) {
        ptrdiff_t at = S(place)(l, rows / 2, n / 2);
        z[at] = (R)NAN, y[at] = 1; /* where the target is 0 nothing is lost, whatever z */
    }

    double got = S(call_loss)(table, f, l, z, y, labels, s, dz);
    for (ptrdiff_t r = 0; r < rows; r++) {
        double weight = s ? (double)s[r] : 1, terms = 0;
        for (ptrdiff_t j = 0; j < n; j++) {
            zs[j] = (double)z[S(place)(l, r, j)];
            ys[j] = labels ? labels[r] == j : (double)y[S(place)(l, r, j)];
        }
        int spoilt = has_nan && r == rows / 2;
        double row = reference_loss[f](n, zs, ys, l->ceiling, l->h, want, &terms);
        total += spoilt ? NAN : weight * row;
        size += weight * terms;
        for (ptrdiff_t j = 0; j < n; j++) {
            double d = (double)dz[S(place)(l, r, j)];
            if (spoilt) {
                CHECK(j != n / 2 || isnan(d), "%s: NaN is lost from dz", fnn_losses[f].name);
            } else {
                CHECK(is_near(d, weight * want[j], 0, 64 * EPSILON * (double)(1 + n)),
                      "%s%s (%td, %td; %td), dz at %td, %td: %.17g, want %.17g",
                      fnn_losses[f].name, l->by_columns ? " by columns" : "", rows, n, l->ld, r, j,
                      d, weight * want[j]);
            }
        }
    }
    CHECK(is_near(got, total, size, 64 * EPSILON), "%s (%td, %td): %.17g, want %.17g",
          fnn_losses[f].name, rows, n, got, total);
    if (l->by_columns) CHECK(S(gaps_are_blank)(n, rows, l->ld, dz), "%s: gaps", fnn_losses[f].name);
    release_buffers();
}

/* parameters that each loss may have, another one for each output; NULL where it has none, and for
 * cross-entropy without label smoothing */
static const double *S(parameters)(int f, ptrdiff_t n, int smooth) {
    if (fnn_losses[f].n_parameters == 0 || (f == FNN_LOSS_cross_entropy && !smooth)) return NULL;
    double *h = buffer((size_t)(n * FNN_N_PARAMETERS) * sizeof(double));
    for (ptrdiff_t i = 0; i < n * FNN_N_PARAMETERS; i++)
        h[i] = (f == FNN_LOSS_tweedie ? 1.1 : 0.2) + 0.07 * (double)(i / FNN_N_PARAMETERS % 10);
    return h;
}

static void S(check_losses)(const TABLE *table) {
    static const ptrdiff_t heights[] = {0, 1, 2, 3, 63, 64, 65, 127, 128, 129};
    static const ptrdiff_t widths[] = {1, 2, 3, 8, 17, 31, 32, 33, 65, 511, 512, 513};
    int one = 0; /* 3 and 5 have nothing in common with the four flags: all come together */
    FOR_EACH(ptrdiff_t, rows, heights)
        FOR_EACH(ptrdiff_t, n, widths)
            for (int flags = 0; flags < 4; flags++, one++) {
                if (*rows * *n > 5000 && one % 4 != 0) continue;
                S(loss_case) l = {.rows = *rows, .n = *n, .ld = *rows + 3 * (one % 2),
                                  .by_columns = flags & 1, .has_weights = flags >> 1,
                                  .ceiling = one % 3 ? INFINITY : 1.5};
                for (int f = 0; f < FNN_N_LOSSES; f++) {
                    if (f == FNN_LOSS_gaussian_nll && *n % 2) continue; /* pairs of outputs */
                    l.h = S(parameters)(f, *n, one % 5 == 0);
                    S(check_loss)(table, f, &l, 0);
                    if (*rows > 0 && *n < 100) {
                        l.h = S(parameters)(f, *n, one % 5 == 0);
                        S(check_loss)(table, f, &l, 1);
                    }
                }
                l.has_labels = 1;
                for (int smooth = 0; smooth < 2; smooth++) {
                    l.h = S(parameters)(FNN_LOSS_cross_entropy, *n, smooth);
                    S(check_loss)(table, FNN_LOSS_cross_entropy, &l, 0);
                }
                l.h = S(parameters)(FNN_LOSS_focal, *n, 0);
                S(check_loss)(table, FNN_LOSS_focal, &l, 0);
            }
}

/* At the ends of the type: what is right costs nothing and pulls nowhere, what is as wrong as can
 * be costs infinitely, or the ceiling, and has the slope of what is wrong. */
static void S(check_far_losses)(const TABLE *table) {
    static const double gamma[] = {2, 0, 0, 0, 2, 0, 0, 0};
    const double far = sizeof(R) == sizeof(float) ? 3e38 : 1.5e308, deep = far > 1e300 ? 720 : 100;
    for (int turn = 0; turn < 4; turn++) { /* by rows or by columns, right or wrong */
        const int by_columns = turn & 1, wrong = turn >> 1;
        S(loss_case) l = {.rows = 1, .n = 2, .ld = 1, .by_columns = by_columns, .h = gamma,
                          .ceiling = turn ? 1000 : INFINITY};
        R *z = S(blank)(2), *y = S(blank)(2), *dz = S(blank)(2);
        z[0] = (R)far, z[1] = (R)-far, y[0] = (R)!wrong, y[1] = (R)wrong;
        double value = S(call_loss)(table, FNN_LOSS_focal, &l, z, y, NULL, NULL, dz);
        CHECK(value == (wrong ? l.ceiling : 0), "focal far out: %g", value);
        CHECK(dz[0] == wrong && dz[1] == -wrong, "focal far out: dz %g, %g", (double)dz[0],
              (double)dz[1]);
        z[0] = wrong ? (R)1.5 : 1, z[1] = (R)-deep, y[0] = 1, y[1] = (R)NAN;
        l.h = NULL;
        value = S(call_loss)(table, FNN_LOSS_gaussian_nll, &l, z, y, NULL, NULL, dz);
        if (wrong) {
            CHECK(value == l.ceiling && dz[0] > 1e38 && (double)dz[1] < -1e36,
                  "gaussian_nll, wrong and sure: %g, %g, %g", value, (double)dz[0], (double)dz[1]);
        } else {
            CHECK(value == -deep / 2 && dz[0] == 0 && dz[1] == 0.5,
                  "gaussian_nll, right and sure: %g, %g, %g", value, (double)dz[0], (double)dz[1]);
        }
        release_buffers();
    }
}

/* a row that no block holds, and what it takes to be transposed in blocks */
static void S(check_long_rows)(const TABLE *table) {
    static const ptrdiff_t widths[] = {2048, 2050};
    FOR_EACH(ptrdiff_t, n, widths)
        for (int labels = 0; labels < 2; labels++) {
            S(loss_case) l = {.rows = 3, .n = *n, .ceiling = INFINITY, .has_labels = labels,
                              .has_weights = labels};
            l.h = S(parameters)(FNN_LOSS_focal, *n, 0);
            S(check_loss)(table, FNN_LOSS_focal, &l, 0);
            l.h = S(parameters)(FNN_LOSS_cross_entropy, *n, 1);
            S(check_loss)(table, FNN_LOSS_cross_entropy, &l, 0);
            if (labels) continue;
            l.h = S(parameters)(FNN_LOSS_quantile, *n, 0);
            S(check_loss)(table, FNN_LOSS_quantile, &l, 0);
        }
}
