/* What a step does beside the row of its optimizer, of one dtype (R): penalties and clipping
 * between the sum of the gradients and the update, norms and averages after it, and the elementwise
 * parts of Muon.  Plain fits use none of it.  fastnn.h says what each function does. */

/* LANES partial sums in double, as S(sum); of squares that R might not hold */
static double S(sum_squares)(ptrdiff_t n, const R *x) {
    double lane[LANES] = {0}, total = 0;
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++) lane[l] += (double)x[i + l] * (double)x[i + l];
    for (int l = 0; i + l < n; l++) lane[l] += (double)x[i + l] * (double)x[i + l];
    for (int l = 0; l < LANES; l++) total += lane[l];
    return total;
}

static void S(collect)(ptrdiff_t n, int n_parts, const R *parts, ptrdiff_t stride, double l2,
                       double l1, double scale, double limit, const R *w, R *g, double *sums) {
    const R shrink = (R)l2, pull = (R)l1, factor = (R)scale, high = (R)limit, low = -high;
    sums[0] = sums[1] = sums[2] = 0;
    for (ptrdiff_t start = 0; start < n; start += BLOCK) {
        ptrdiff_t count = n - start < BLOCK ? n - start : BLOCK;
        const R *ws = w + start;
        R *gs = g + start, term[BLOCK];
        S(add_parts)(count, n_parts, parts + start, stride, 0, gs);
        if (l2 != 0) {
            INDEPENDENT
            for (ptrdiff_t i = 0; i < count; i++) {
                term[i] = ws[i] * ws[i];
                gs[i] = FMA(shrink, ws[i], gs[i]);
            }
            sums[0] += S(sum)(count, term);
        }
        if (l1 != 0) {
            INDEPENDENT
            for (ptrdiff_t i = 0; i < count; i++) {
                term[i] = FABS(ws[i]);
                gs[i] += ws[i] > 0 ? pull : ws[i] < 0 ? -pull : C(0);
            }
            sums[1] += S(sum)(count, term);
        }
        INDEPENDENT
        for (ptrdiff_t i = 0; i < count; i++) {
            R x = gs[i] * factor;
            gs[i] = x > high ? high : x < low ? low : x;
        }
        sums[2] += S(sum_squares)(count, gs);
    }
}

static void S(average)(ptrdiff_t n, double rate, const R *w, R *mean) {
    const R part = (R)rate;
    INDEPENDENT
    for (ptrdiff_t i = 0; i < n; i++) mean[i] = FMA(part, w[i] - mean[i], mean[i]);
}

static void S(multiply)(ptrdiff_t n, double factor, R *x) {
    const R by = (R)factor;
    INDEPENDENT
    for (ptrdiff_t i = 0; i < n; i++) x[i] *= by;
}

static void S(limit_columns)(ptrdiff_t rows, ptrdiff_t n, R *w, ptrdiff_t ld, double limit) {
    for (ptrdiff_t start = 0; start < n; start += BLOCK) {
        ptrdiff_t count = n - start < BLOCK ? n - start : BLOCK;
        double squares[BLOCK] = {0};
        R factor[BLOCK];
        int any = 0;
        for (ptrdiff_t r = 0; r < rows; r++) {
            const R *row = w + r * ld + start;
            INDEPENDENT
            for (ptrdiff_t j = 0; j < count; j++) squares[j] += (double)row[j] * (double)row[j];
        }
        for (ptrdiff_t j = 0; j < count; j++) {
            int beyond = squares[j] > limit * limit;
            factor[j] = beyond ? (R)(limit / sqrt(squares[j])) : C(1);
            any |= beyond;
        }
        for (ptrdiff_t r = 0; any && r < rows; r++) {
            R *row = w + r * ld + start;
            INDEPENDENT
            for (ptrdiff_t j = 0; j < count; j++) row[j] *= factor[j];
        }
    }
}

static double S(muon_momentum)(ptrdiff_t n, double momentum, int nesterov, double scale, R *g,
                               R *s) {
    const R keep = (R)momentum, add = (R)(1 - momentum), factor = (R)scale;
    const R direct = nesterov ? add : C(0), through = nesterov ? keep : C(1);
    INDEPENDENT
    for (ptrdiff_t i = 0; i < n; i++) {
        R x = g[i] * factor;
        s[i] = FMA(keep, s[i], add * x);
        g[i] = FMA(through, s[i], direct * x);
    }
    return S(sum_squares)(n, g);
}

static void S(muon_polynomial)(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t row0, const double *c,
                               const R *gram, R *square) {
    const R c0 = (R)c[0], c1 = (R)c[1], c2 = (R)c[2];
    for (ptrdiff_t r = 0; r < rows; r++, gram += n, square += n) {
        INDEPENDENT
        for (ptrdiff_t j = 0; j < n; j++) square[j] = FMA(c2, square[j], c1 * gram[j]);
        square[row0 + r] += c0;
    }
}

static void S(muon_step)(ptrdiff_t n, double keep, double rate, const R *u, R *w) {
    const R stay = (R)keep, by = (R)rate;
    INDEPENDENT
    for (ptrdiff_t i = 0; i < n; i++) w[i] = stay * w[i] - by * u[i];
}
