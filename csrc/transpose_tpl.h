/* Transposes of one dtype.
 *
 * A square of one vector by one vector is turned in quads of 16 bytes: a vector takes one quad of
 * each fourth (for double each second) row, which costs loads only, and then the quads are turned
 * within their lanes.  Against exchanges of whole vectors by vpermt2ps: 4 times as fast (Zen 5). */

#undef SQUARE
#undef QUAD
#undef LOAD_QUAD
#undef LOAD_PART_OF_QUAD
#undef UNPACK_LOW
#undef UNPACK_HIGH
#undef UNPACK_LOW_PAIRS
#undef UNPACK_HIGH_PAIRS

#if defined(__AVX512F__) || defined(__AVX2__)

#define SQUARE VLANES
#define QUAD (16 / (int)sizeof(R))

#if defined(__AVX512F__) && REAL_IS_FLOAT
#define UNPACK_LOW(a, b) _mm512_unpacklo_ps(a, b)
#define UNPACK_HIGH(a, b) _mm512_unpackhi_ps(a, b)
#define UNPACK_LOW_PAIRS(a, b)                                                                     \
    _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)))
#define UNPACK_HIGH_PAIRS(a, b)                                                                    \
    _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)))
#elif defined(__AVX512F__)
#define UNPACK_LOW(a, b) _mm512_unpacklo_pd(a, b)
#define UNPACK_HIGH(a, b) _mm512_unpackhi_pd(a, b)
#elif REAL_IS_FLOAT
#define UNPACK_LOW(a, b) _mm256_unpacklo_ps(a, b)
#define UNPACK_HIGH(a, b) _mm256_unpackhi_ps(a, b)
#define UNPACK_LOW_PAIRS(a, b)                                                                     \
    _mm256_castpd_ps(_mm256_unpacklo_pd(_mm256_castps_pd(a), _mm256_castps_pd(b)))
#define UNPACK_HIGH_PAIRS(a, b)                                                                    \
    _mm256_castpd_ps(_mm256_unpackhi_pd(_mm256_castps_pd(a), _mm256_castps_pd(b)))
#else
#define UNPACK_LOW(a, b) _mm256_unpacklo_pd(a, b)
#define UNPACK_HIGH(a, b) _mm256_unpackhi_pd(a, b)
#endif

/* quad l of the vector is the one at row[l * QUAD] + at */
ALWAYS_INLINE V S(quads)(const R *const row[], ptrdiff_t at) {
#define FROM(l) _mm_loadu_ps((const float *)(row[(l) * QUAD] + at))
#if defined(__AVX512F__)
    __m512 v = _mm512_castps128_ps512(FROM(0));
    v = _mm512_mask_broadcast_f32x4(v, 0x00f0, FROM(1));
    v = _mm512_mask_broadcast_f32x4(v, 0x0f00, FROM(2));
    v = _mm512_mask_broadcast_f32x4(v, 0xf000, FROM(3));
#if !REAL_IS_FLOAT
    return _mm512_castps_pd(v);
#endif
#else
    __m256 v = _mm256_insertf128_ps(_mm256_castps128_ps256(FROM(0)), FROM(1), 1);
#if !REAL_IS_FLOAT
    return _mm256_castps_pd(v);
#endif
#endif
#if REAL_IS_FLOAT
    return v;
#endif
#undef FROM
}

/* The QUAD columns from `at` on of SQUARE rows, each a vector. */
ALWAYS_INLINE void S(turn_quads)(const R *const row[], ptrdiff_t at, V turned[]) {
    V a = S(quads)(row, at), b = S(quads)(row + 1, at);
#if REAL_IS_FLOAT
    V c = S(quads)(row + 2, at), d = S(quads)(row + 3, at);
    V ab = UNPACK_LOW(a, b), cd = UNPACK_LOW(c, d);
    turned[0] = UNPACK_LOW_PAIRS(ab, cd);
    turned[1] = UNPACK_HIGH_PAIRS(ab, cd);
    ab = UNPACK_HIGH(a, b), cd = UNPACK_HIGH(c, d);
    turned[2] = UNPACK_LOW_PAIRS(ab, cd);
    turned[3] = UNPACK_HIGH_PAIRS(ab, cd);
#else
    turned[0] = UNPACK_LOW(a, b);
    turned[1] = UNPACK_HIGH(a, b);
#endif
}

/* out (columns, rows <= SQUARE; ld_out) = transpose of the rows at row[0..SQUARE-1], of which those
 * from `rows` on are only read */
static void S(turn)(int rows, ptrdiff_t columns, const R *const row[], R *out, ptrdiff_t ld_out) {
    V turned[QUAD];
    VMASK_T mask = VMASK(rows);
    ptrdiff_t j = 0;
    for (; j + QUAD <= columns; j += QUAD, out += QUAD * ld_out) {
        S(turn_quads)(row, j, turned);
        if (rows == SQUARE) {
            for (int i = 0; i < QUAD; i++) VSTORE(out + i * ld_out, turned[i]);
        } else {
            for (int i = 0; i < QUAD; i++) VSTORE_PART(out + i * ld_out, turned[i], mask);
        }
    }
    for (; j < columns; j++, out += ld_out)
        for (int i = 0; i < rows; i++) out[i] = row[i][j];
}

#else

enum { JOIN(S(SQUARE_SIDE), x) = 64 / sizeof(R) };
#define SQUARE JOIN(S(SQUARE_SIDE), x)

static void S(turn)(int rows, ptrdiff_t columns, const R *const row[], R *out, ptrdiff_t ld_out) {
    for (ptrdiff_t j = 0; j < columns; j++)
        for (int i = 0; i < rows; i++) out[j * ld_out + i] = row[i][j];
}

#endif

/* out (columns, rows; ld_out) = transpose of the rows index[0..] of x, or of rows 0.. when NULL */
static void S(transpose)(ptrdiff_t rows, ptrdiff_t columns, const R *x, ptrdiff_t ldx,
                         const ptrdiff_t *index, R *out, ptrdiff_t ld_out) {
    for (ptrdiff_t i = 0; i < rows; i += SQUARE) {
        int height = (int)(rows - i < SQUARE ? rows - i : SQUARE);
        const R *row[SQUARE];
        for (int r = 0; r < SQUARE; r++) {
            ptrdiff_t at = i + (r < height ? r : 0);
            row[r] = x + (index ? index[at] : at) * ldx;
        }
        /* the processor cannot guess where the next rows lie */
        for (ptrdiff_t r = i + SQUARE; index && r < rows && r < i + 2 * SQUARE; r++)
            for (ptrdiff_t j = 0; j < columns; j += 64 / (int)sizeof(R))
                PREFETCH(x + index[r] * ldx + j);
        S(turn)(height, columns, row, out + i, ld_out);
    }
}

/* c (rows, n; ldc) = a (rows, k; lda) times the transpose of b (n, k; ldb), for few columns n: the
 * lanes run along k, and VLANES sums of lanes are turned to be added up.  Lane l takes the elements
 * k = l modulo VLANES, whatever the rows beside it. */
static void S(row_products)(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t k, const R *a, ptrdiff_t lda,
                            const R *b, ptrdiff_t ldb, R *c, ptrdiff_t ldc) {
#if defined(__AVX512F__) || defined(__AVX2__)
    enum { STRIP = 4 };
    R sums[VLANES][VLANES];
    const R *row[VLANES];
    ptrdiff_t whole = k - k % VLANES;
    VMASK_T mask = VMASK(k - whole);
    for (int l = 0; l < VLANES; l++) row[l] = sums[l];
    for (ptrdiff_t i = 0; i < rows; i += VLANES) {
        int height = (int)(rows - i < VLANES ? rows - i : VLANES);
        for (ptrdiff_t j = 0; j < n; j++) {
            for (int strip = 0; strip < height; strip += STRIP) {
                const R *a0 = a + (i + strip) * lda, *bj = b + j * ldb;
                const R *a1 = a0 + (strip + 1 < height ? lda : 0);
                const R *a2 = a0 + (strip + 2 < height ? 2 * lda : 0);
                const R *a3 = a0 + (strip + 3 < height ? 3 * lda : 0);
                V c0 = VSET(0), c1 = VSET(0), c2 = VSET(0), c3 = VSET(0);
                for (ptrdiff_t at = 0; at < whole; at += VLANES) {
                    V x = VLOAD(bj + at);
                    c0 = VFMA(VLOAD(a0 + at), x, c0);
                    c1 = VFMA(VLOAD(a1 + at), x, c1);
                    c2 = VFMA(VLOAD(a2 + at), x, c2);
                    c3 = VFMA(VLOAD(a3 + at), x, c3);
                }
                if (whole < k) {
                    V x = VLOAD_PART(bj + whole, mask);
                    c0 = VFMA(VLOAD_PART(a0 + whole, mask), x, c0);
                    c1 = VFMA(VLOAD_PART(a1 + whole, mask), x, c1);
                    c2 = VFMA(VLOAD_PART(a2 + whole, mask), x, c2);
                    c3 = VFMA(VLOAD_PART(a3 + whole, mask), x, c3);
                }
                VSTORE(sums[strip], c0);
                VSTORE(sums[strip + 1], c1);
                VSTORE(sums[strip + 2], c2);
                VSTORE(sums[strip + 3], c3);
            }
            V total = VSET(0), turned[QUAD];
            for (int at = 0; at < VLANES; at += QUAD) {
                S(turn_quads)(row, at, turned);
                for (int l = 0; l < QUAD; l++) total = VADD(total, turned[l]);
            }
            R found[VLANES];
            VSTORE(found, total);
            for (int l = 0; l < height; l++) c[(i + l) * ldc + j] = found[l];
        }
    }
#else
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t j = 0; j < n; j++) {
            R sum = 0;
            for (ptrdiff_t at = 0; at < k; at++) sum = FMA(a[i * lda + at], b[j * ldb + at], sum);
            c[i * ldc + j] = sum;
        }
#endif
}
