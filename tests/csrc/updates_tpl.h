/* A step of each optimizer, of one type. */

/* Every fifth gradient is 0, and the states with it; every tenth weight, so that the penalty, too,
 * leaves it a 0. */
static void S(check_update)(const TABLE *table, int f, ptrdiff_t n, int n_parts, double decay,
                            int t) {
    static const double hyperparameters[] = {0.9, 0.75, 0.01, 0.5};
    const ptrdiff_t stride = n + 3;
    const double scale = 0.25;
    double c[FNN_N_COEFFICIENTS], rounded[FNN_N_COEFFICIENTS], squares = 0;
    R *parts = S(reals)(S(extent)(n_parts, n, stride), -1, 1), *w = S(reals)(n, -1, 1);
    const int has_sign = f == FNN_OPT_rprop || f == FNN_OPT_lion; /* s0 is made of gradients */
    R *s0 = fnn_optimizers[f].n_state > 0 ? S(reals)(n, has_sign ? -1 : 0, 1) : NULL;
    R *s1 = fnn_optimizers[f].n_state > 1 ? S(reals)(n, 0, 1) : NULL;
    R *s2 = fnn_optimizers[f].n_state > 2 ? S(reals)(n, 0, 1) : NULL;
    for (ptrdiff_t i = 0; i < n; i += 5) {
        for (int part = 0; part < n_parts; part++) parts[part * stride + i] = 0;
        if (i % 10 == 0) w[i] = 0;
        if (s0) s0[i] = 0;
        if (s1) s1[i] = 0;
        if (s2) s2[i] = 0;
    }
    if (f == FNN_OPT_rprop) /* sizes below and above its limits, and such as have not begun */
        for (ptrdiff_t i = 1; i < n; i += 5) s1[i] = (R)(i % 2 ? 1e-3 : 0);
    R *w_before = S(copy)(w, n), *s0_before = s0 ? S(copy)(s0, n) : NULL;
    R *s1_before = s1 ? S(copy)(s1, n) : NULL;
    R *s2_before = s2 ? S(copy)(s2, n) : NULL;
    fnn_step_coefficients(f, t, 0.1, hyperparameters, c);
    for (int i = 0; i < FNN_N_COEFFICIENTS; i++) rounded[i] = (double)(R)c[i];
    double got = table->update[f](n, n_parts, parts, stride, decay, scale, w, s0, s1, s2, c);
    for (ptrdiff_t i = 0; i < n; i++) {
        double g = decay * (double)w_before[i], want_w = (double)w_before[i];
        double want_s0 = s0 ? (double)s0_before[i] : 0, want_s1 = s1 ? (double)s1_before[i] : 0;
        double want_s2 = s2 ? (double)s2_before[i] : 0;
        for (int part = 0; part < n_parts; part++) g += (double)parts[part * stride + i];
        if (decay != 0) squares += (double)w_before[i] * (double)w_before[i];
        reference_update[f](g * scale, rounded, &want_w, &want_s0, &want_s1, &want_s2);
        CHECK(is_near((double)w[i], want_w, 0, 64 * EPSILON),
              "%s (%td), %d parts, decay %g: w %.17g, want %.17g", fnn_optimizers[f].name, n,
              n_parts, decay, (double)w[i], want_w);
        if (s0)
            CHECK(is_near((double)s0[i], want_s0, 0, 64 * EPSILON), "%s: s0",
                  fnn_optimizers[f].name);
        if (s1)
            CHECK(is_near((double)s1[i], want_s1, 0, 64 * EPSILON), "%s: s1",
                  fnn_optimizers[f].name);
        if (s2)
            CHECK(is_near((double)s2[i], want_s2, 0, 64 * EPSILON), "%s: s2",
                  fnn_optimizers[f].name);
    }
    CHECK(is_near(got, squares, squares, 64 * EPSILON), "%s: squares %.17g, want %.17g",
          fnn_optimizers[f].name, got, squares);
    release_buffers();
}

/* Gradients whose sign a penalty leaves as it is: NaN, numbers, and zeros whose weight is 0. */
static R *S(certain_gradients)(ptrdiff_t n, R *w) {
    R *g = S(reals)(n, -1, 1);
    for (ptrdiff_t i = 0; i < n; i++)
        if (i % 3 == 0) g[i] = w[i] = 0;
        else g[i] += (R)(g[i] < 0 ? -1 : 1);
    g[1] = (R)NAN;
    return g;
}

/* an eps that the type has not: 0 / 0 where there was no gradient yet, and NaN where it is one */
static void S(check_adamax_without_eps)(const TABLE *table, double decay) {
    static const double h[] = {0.5, 0.5, 1e-320, 0};
    double c[FNN_N_COEFFICIENTS];
    R *w = S(reals)(33, -1, 1), *g = S(certain_gradients)(33, w);
    R *s0 = S(blank)(33), *s1 = S(blank)(33), *before = S(copy)(w, 33);
    for (ptrdiff_t i = 0; i < 33; i++) s0[i] = s1[i] = 0;
    fnn_step_coefficients(FNN_OPT_adamax, 1, 0.25, h, c);
    c[3] = 0;
    table->update[FNN_OPT_adamax](33, 1, g, 33, decay, 1, w, s0, s1, NULL, c);
    for (ptrdiff_t i = 0; i < 33; i++) {
        double want = (double)before[i] - (g[i] > 0 ? 0.25 : g[i] < 0 ? -0.25 : (double)g[i]);
        CHECK(is_near((double)w[i], want, 0, 4 * EPSILON), "adamax without eps at %td: %g, want %g",
              i, (double)w[i], want);
    }
    release_buffers();
}

/* No step while the rate is 0; then as if the first rate were the first step's. */
static void S(check_first_rates_of_rprop)(const TABLE *table, double decay) {
    static const double h[] = {0.5, 1.2, 1e-6, 50}, rates[] = {0, 0, 0.25, 0.125};
    double c[FNN_N_COEFFICIENTS];
    R *w = S(reals)(33, -1, 1), *g = S(certain_gradients)(33, w);
    R *s0 = S(blank)(33), *s1 = S(blank)(33), *before = S(copy)(w, 33);
    for (ptrdiff_t i = 0; i < 33; i++) s0[i] = s1[i] = 0;
    for (int t = 0; t < LENGTH(rates); t++) {
        fnn_step_coefficients(FNN_OPT_rprop, t + 1, rates[t], h, c);
        table->update[FNN_OPT_rprop](33, 1, g, 33, decay, 1, w, s0, s1, NULL, c);
        double way = t < 2 ? 0 : t == 2 ? 0.25 : 0.25 + 0.3; /* as it keeps its sign */
        for (ptrdiff_t i = 0; i < 33; i++) {
            double want = (double)before[i] - (g[i] > 0 ? way : g[i] < 0 ? -way : (double)g[i]);
            CHECK(is_near((double)w[i], want, 0, 8 * EPSILON),
                  "rprop, step %d at %td: %.17g, want %.17g", t + 1, i, (double)w[i], want);
        }
    }
    release_buffers();
}

static void S(check_updates)(const TABLE *table) {
    static const ptrdiff_t sizes[] = {0, 1, 3, 8, 15, 17, 31, 64, 511, 512, 513, 1025};
    for (int f = 0; f < FNN_N_OPTIMIZERS; f++)
        FOR_EACH(ptrdiff_t, n, sizes)
            for (int n_parts = 1; n_parts <= 3; n_parts++) {
                S(check_update)(table, f, *n, n_parts, 0, 3);
                S(check_update)(table, f, *n, n_parts, 0.125, 1);
            }
    for (double decay = 0; decay < 0.25; decay += 0.125) {
        S(check_adamax_without_eps)(table, decay);
        S(check_first_rates_of_rprop)(table, decay);
    }
}
