/* Activations, softmax, dropout and the elementary functions of one type. */

static void S(check_activation)(const TABLE *table, int f, ptrdiff_t rows, ptrdiff_t n,
                                int has_bias, int in_place) {
    const ptrdiff_t count = rows * n;
    R *z = S(specials)(count), *before = S(copy)(z, count);
    R *b = has_bias ? S(reals)(n, -2, 2) : NULL, *a = in_place ? z : S(blank)(count);
    table->bias_activate[f](rows, n, z, b, a);
    for (ptrdiff_t i = 0; i < count; i++) {
        R sum = b ? before[i] + b[i % n] : before[i];
        double want = (double)(R)reference_activation[f]((double)sum);
        CHECK(is_near((double)a[i], want, 0, 8 * EPSILON), "%s(%g) = %.17g, want %.17g",
              fnn_activations[f].name, (double)sum, (double)a[i], want);
        if (!in_place && fnn_activations[f].needs_z)
            CHECK(is_near((double)z[i], (double)sum, 0, 0), "%s keeps z", fnn_activations[f].name);
    }
    release_buffers();
}

static void S(check_derivative)(const TABLE *table, int f, ptrdiff_t count) {
    R *z = S(specials)(count), *a = S(specials)(count), *d = S(reals)(count, -2, 2);
    R *before = S(copy)(d, count);
    for (ptrdiff_t i = 1; i < count; i += 2) a[i] = (R)reference_activation[f]((double)z[i]);
    table->activation_backward[f](count, z, a, d);
    for (ptrdiff_t i = 0; i < count; i++) {
        double slope = (double)(R)reference_derivative[f]((double)z[i], (double)a[i]);
        double want = (double)(R)((double)before[i] * slope);
        CHECK(is_near((double)d[i], want, 0, 16 * EPSILON), "%s'(%g, %g) %g = %.17g, want %.17g",
              fnn_activations[f].name, (double)z[i], (double)a[i], (double)before[i],
              (double)d[i], want);
    }
    release_buffers();
}

static void S(check_softmax)(const TABLE *table, ptrdiff_t rows, ptrdiff_t n, int in_place) {
    R *z = S(reals)(rows * n, -20, 20);
    for (ptrdiff_t i = 1; i < rows * n; i += 5) z[i] = (R)-INFINITY;
    for (ptrdiff_t r = 0; r < rows; r++) z[r * n] = (R)random_real(-1, 1);
    R *before = S(copy)(z, rows * n), *p = in_place ? z : S(blank)(rows * n);
    table->softmax(rows, n, z, p);
    for (ptrdiff_t r = 0; r < rows; r++) {
        const R *x = before + r * n;
        double top = (double)x[0], sum = 0;
        for (ptrdiff_t j = 1; j < n; j++) top = fmax(top, (double)x[j]);
        for (ptrdiff_t j = 0; j < n; j++) sum += exp((double)x[j] - top);
        for (ptrdiff_t j = 0; j < n; j++) {
            double want = exp((double)x[j] - top) / sum;
            CHECK(is_near((double)p[r * n + j], want, 0, 64 * EPSILON),
                  "softmax (%td, %td) at %td, %td: %.17g, want %.17g", rows, n, r, j,
                  (double)p[r * n + j], want);
        }
    }
    release_buffers();
}

static void S(check_dropout)(const TABLE *table, ptrdiff_t rows, ptrdiff_t n) {
    fnn_dropout d = {0x123456789abcdefu, ((uint64_t)3 << 32) + 17, 2, 0x60000000u, 1.6};
    const ptrdiff_t row0 = 1000;
    R *x = S(reals)(rows * n, 1, 2), *out = S(blank)(rows * n);
    table->dropout(rows, n, row0, &d, x, out);
    for (ptrdiff_t i = 0; i < rows * n; i++) {
        ptrdiff_t r = i / n, j = i % n;
        uint32_t counter[4] = {(uint32_t)(j / 64 * 16 + j % 16), (uint32_t)(row0 + r),
                               (uint32_t)d.step, d.layer ^ (uint32_t)(d.step >> 32) << 16};
        uint32_t word = reference_philox(d.seed, counter, (int)(j % 64 / 16));
        R want = word >= d.threshold ? (R)d.scale * x[i] : 0;
        CHECK(out[i] == want, "dropout at %td, %td of (%td, %td)", r, j, rows, n);
    }
    release_buffers();
}

/* the inverse of the normal distribution by bisection of erfc: slow, and all its digits */
static double S(upper_quantile)(double share) {
    double low = 0, high = 10;
    for (int i = 0; i < 80; i++) {
        double z = (low + high) / 2;
        *(0.5 * erfc(z / sqrt(2)) > share ? &low : &high) = z;
    }
    return low;
}

static void S(check_noise)(const TABLE *table, ptrdiff_t rows, ptrdiff_t n) {
    fnn_dropout d = {0x123456789abcdefu, ((uint64_t)3 << 32) + 17, 2, 0, 1.5};
    const ptrdiff_t row0 = 1000;
    R *x = S(reals)(rows * n, 1, 2), *before = S(copy)(x, rows * n);
    table->add_noise(rows, n, row0, &d, x);
    for (ptrdiff_t i = 0; i < rows * n; i++) {
        ptrdiff_t r = i / n, j = i % n;
        uint32_t counter[4] = {(uint32_t)(j / 64 * 16 + j % 16), (uint32_t)(row0 + r),
                               (uint32_t)d.step, d.layer ^ (uint32_t)(d.step >> 32) << 16};
        uint32_t word = reference_philox(d.seed, counter, (int)(j % 64 / 16));
        double z = S(upper_quantile)(((word & 0x7fffffff) + 0.5) / 4294967296.0);
        double want = (double)before[i] + d.scale * (word >> 31 ? -z : z);
        CHECK(is_near((double)x[i], want, 6, 8 * EPSILON),
              "noise at %td, %td of (%td, %td): %g, %g", r, j, rows, n, (double)x[i], want);
    }
    release_buffers();
}

#define CHECK_CONVERT(number, T, value)                                                            \
    {                                                                                              \
        T *x = buffer((size_t)count * sizeof(T));                                                  \
        for (ptrdiff_t i = 0; i < count; i++) x[i] = value;                                        \
        R *out = S(blank)(count);                                                                  \
        table->convert(FNN_NUMBER_##number, count, x, out);                                        \
        for (ptrdiff_t i = 0; i < count; i++)                                                      \
            CHECK(out[i] == (R)x[i], #number " %g: %g", (double)x[i], (double)out[i]);             \
        release_buffers();                                                                         \
    }

static void S(check_convert)(const TABLE *table, ptrdiff_t count) {
    CHECK_CONVERT(bool, uint8_t, random_word() & 1)
    CHECK_CONVERT(int8, int8_t, (int8_t)random_word())
    CHECK_CONVERT(uint8, uint8_t, (uint8_t)random_word())
    CHECK_CONVERT(int16, int16_t, (int16_t)random_word())
    CHECK_CONVERT(uint16, uint16_t, (uint16_t)random_word())
    CHECK_CONVERT(int32, int32_t, (int32_t)random_word())
    CHECK_CONVERT(uint32, uint32_t, random_word())
    CHECK_CONVERT(int64, int64_t, (int64_t)((uint64_t)random_word() << 32 | random_word()))
    CHECK_CONVERT(uint64, uint64_t, (uint64_t)random_word() << 32 | random_word())
    CHECK_CONVERT(float32, float, (float)random_real(-6, 6))
    CHECK_CONVERT(float64, double, random_real(-6, 6))
    uint16_t *x = buffer((size_t)count * sizeof(uint16_t));
    for (ptrdiff_t i = 0; i < count; i++) x[i] = (uint16_t)random_word();
    R *out = S(blank)(count);
    table->convert(FNN_NUMBER_float16, count, x, out);
    for (ptrdiff_t i = 0; i < count; i++) { /* sign, exponent, fraction: IEEE 754-2008 */
        int exponent = x[i] >> 10 & 31, fraction = x[i] & 1023;
        double size = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
        double want = exponent < 31 ? size : fraction ? (double)NAN : (double)INFINITY;
        want = x[i] >> 15 ? -want : want;
        CHECK(is_near((double)out[i], want, 0, 0), "half %x: %g", x[i], (double)out[i]);
    }
    release_buffers();
}

static void S(check_vecmath)(const TABLE *table, int f, ptrdiff_t count) {
    R *x = S(specials)(count), *out = S(blank)(count);
    for (ptrdiff_t i = 0; f == FNN_LOG1P && i < count; i++) x[i] = (R)random_real(0, 1);
    table->vecmath[f](count, x, out);
    for (ptrdiff_t i = 0; i < count; i++) {
        double want = (double)(R)reference_vecmath[f]((double)x[i]);
        CHECK(is_near((double)out[i], want, 0, 8 * EPSILON), "vecmath %d (%g) = %.17g, want %.17g",
              f, (double)x[i], (double)out[i], want);
    }
    release_buffers();
}

static void S(check_elementwise)(const TABLE *table) {
    static const ptrdiff_t widths[] = {0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 129};
    static const ptrdiff_t heights[] = {0, 1, 3, 4, 5, 63, 64, 65, 67, 130};
    static const ptrdiff_t classes[] = {1, 2, 3, 9, 31, 32, 33, 65};
    FOR_EACH(ptrdiff_t, n, widths) {
        for (int f = 0; f < FNN_N_ACTIVATIONS; f++) {
            for (int flags = 0; flags < 4; flags++)
                for (ptrdiff_t rows = 0; rows < 4; rows++)
                    S(check_activation)(table, f, rows, *n, flags & 1, flags >> 1);
            S(check_derivative)(table, f, *n);
        }
        for (int f = 0; f < FNN_N_VECMATH; f++) S(check_vecmath)(table, f, *n);
        for (ptrdiff_t rows = 0; rows < 4; rows++) S(check_dropout)(table, rows, *n);
        for (ptrdiff_t rows = 0; rows < 4; rows++) S(check_noise)(table, rows, *n);
        S(check_convert)(table, *n);
    }
    FOR_EACH(ptrdiff_t, rows, heights)
        FOR_EACH(ptrdiff_t, n, classes)
            for (int in_place = 0; in_place < 2; in_place++)
                S(check_softmax)(table, *rows, *n, in_place);
}
