/* A step of each optimizer, of one type. */

static void S(check_update)(const TABLE *table, int f, ptrdiff_t n, int n_parts, double decay) {
    static const double hyperparameters[] = {0.9, 0.75, 0.01, 0.5};
    const ptrdiff_t stride = n + 3;
    const double scale = 0.25;
    double c[FNN_N_COEFFICIENTS], rounded[FNN_N_COEFFICIENTS], squares = 0;
    R *parts = S(reals)(S(extent)(n_parts, n, stride), -1, 1), *w = S(reals)(n, -1, 1);
    R *s0 = fnn_optimizers[f].n_state > 0 ? S(reals)(n, 0, 1) : NULL;
    R *s1 = fnn_optimizers[f].n_state > 1 ? S(reals)(n, 0, 1) : NULL;
    R *s2 = fnn_optimizers[f].n_state > 2 ? S(reals)(n, 0, 1) : NULL;
    R *w_before = S(copy)(w, n), *s0_before = s0 ? S(copy)(s0, n) : NULL;
    R *s1_before = s1 ? S(copy)(s1, n) : NULL;
    R *s2_before = s2 ? S(copy)(s2, n) : NULL;
    fnn_step_coefficients(f, 3, 0.1, hyperparameters, c);
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

static void S(check_updates)(const TABLE *table) {
    static const ptrdiff_t sizes[] = {0, 1, 3, 8, 15, 17, 31, 64, 511, 512, 513, 1025};
    for (int f = 0; f < FNN_N_OPTIMIZERS; f++)
        FOR_EACH(ptrdiff_t, n, sizes)
            for (int n_parts = 1; n_parts <= 3; n_parts++) {
                S(check_update)(table, f, *n, n_parts, 0);
                S(check_update)(table, f, *n, n_parts, 0.125);
            }
}
