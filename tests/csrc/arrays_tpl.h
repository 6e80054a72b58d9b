/* Arrays of one type, each exactly as long as said. */

static inline R *S(blank)(ptrdiff_t count) { return buffer((size_t)count * sizeof(R)); }

static inline R *S(copy)(const R *x, ptrdiff_t count) {
    R *out = S(blank)(count);
    memcpy(out, x, (size_t)count * sizeof(R));
    return out;
}

static inline R *S(reals)(ptrdiff_t count, double low, double high) {
    R *out = S(blank)(count);
    for (ptrdiff_t i = 0; i < count; i++) out[i] = (R)random_real(low, high);
    return out;
}

/* small enough that sums of products are exact, in whatever order */
static inline R *S(integers)(ptrdiff_t count) {
    R *out = S(blank)(count);
    for (ptrdiff_t i = 0; i < count; i++) out[i] = (R)((int)(random_word() % 9) - 4);
    return out;
}

/* reals, every third the next of those values at which functions turn */
static inline R *S(specials)(ptrdiff_t count) {
    static const double values[] = {0,    -0.0, INFINITY, -INFINITY, NAN,    30,      -30,
                                    1000, -1000, 1,       -1,        1e-310, -1e-42,  1e-42,
                                    0.5,  -0.5,  15,      -15,       50,     -50};
    R *out = S(reals)(count, -6, 6);
    for (ptrdiff_t i = 0; i < count; i += 3) out[i] = (R)values[i / 3 % LENGTH(values)];
    return out;
}

/* elements of a matrix (rows, n; ld), of whose last row nothing follows */
static inline ptrdiff_t S(extent)(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t ld) {
    return rows > 0 && n > 0 ? (rows - 1) * ld + n : 0;
}

/* whether x still holds what `buffer` has put there */
static inline int S(is_blank)(R x) {
    unsigned char bytes[sizeof(R)];
    memcpy(bytes, &x, sizeof(R));
    for (size_t i = 0; i < sizeof(R); i++)
        if (bytes[i] != 0xff) return 0;
    return 1;
}

/* between the rows of a matrix (rows, n; ld) nothing was written */
static inline int S(gaps_are_blank)(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t ld, const R *x) {
    for (ptrdiff_t i = 0; n > 0 && i + 1 < rows; i++)
        for (ptrdiff_t j = n; j < ld; j++)
            if (!S(is_blank)(x[i * ld + j])) return 0;
    return 1;
}
