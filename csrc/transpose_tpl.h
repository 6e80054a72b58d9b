/* Transposes of one dtype.
 *
 * A square (one vector wide, as many rows as a vector has lanes) is transposed in quads of 16
 * bytes.  First each vector takes a quad of every fourth row (every second one for double), which
 * costs loads only.  Then the quads are transposed where they are.  The other way that was tried,
 * to exchange lanes between whole vectors by vpermt2ps, took 4 times as long (Zen 5). */

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

/* a vector whose quad l is the one at row[l * QUAD] + at */
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

/* transposed[0..QUAD-1] = columns at, at + 1, .. of SQUARE rows, each of them a vector */
ALWAYS_INLINE void S(transpose_quads)(const R *const row[], ptrdiff_t at, V transposed[]) {
    V a = S(quads)(row, at), b = S(quads)(row + 1, at);
#if REAL_IS_FLOAT
    V c = S(quads)(row + 2, at), d = S(quads)(row + 3, at);
    V ab = UNPACK_LOW(a, b), cd = UNPACK_LOW(c, d);
    transposed[0] = UNPACK_LOW_PAIRS(ab, cd);
    transposed[1] = UNPACK_HIGH_PAIRS(ab, cd);
    ab = UNPACK_HIGH(a, b), cd = UNPACK_HIGH(c, d);
    transposed[2] = UNPACK_LOW_PAIRS(ab, cd);
    transposed[3] = UNPACK_HIGH_PAIRS(ab, cd);
#else
    transposed[0] = UNPACK_LOW(a, b);
    transposed[1] = UNPACK_HIGH(a, b);
#endif
}

/* out (columns, rows; ld_out) = transpose of the rows at row[0..rows-1], rows <= SQUARE; row[] must
 * have SQUARE entries, because the others are read too */
static void S(transpose_square)(int rows, ptrdiff_t columns, const R *const row[], R *out,
                                ptrdiff_t ld_out) {
    V transposed[QUAD];
    VMASK_T mask = VMASK(rows);
    ptrdiff_t j = 0;
    for (; j + QUAD <= columns; j += QUAD, out += QUAD * ld_out) {
        S(transpose_quads)(row, j, transposed);
        if (rows == SQUARE) {
            for (int i = 0; i < QUAD; i++) VSTORE(out + i * ld_out, transposed[i]);
        } else {
            for (int i = 0; i < QUAD; i++) VSTORE_PART(out + i * ld_out, transposed[i], mask);
        }
    }
    for (; j < columns; j++, out += ld_out)
        for (int i = 0; i < rows; i++) out[i] = row[i][j];
}

#else

enum { JOIN(S(SQUARE_SIDE), x) = 64 / sizeof(R) };
#define SQUARE JOIN(S(SQUARE_SIDE), x)

static void S(transpose_square)(int rows, ptrdiff_t columns, const R *const row[], R *out,
                                ptrdiff_t ld_out) {
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
        /* the rows of an index lie anywhere, so the processor does not fetch them by itself */
        for (ptrdiff_t r = i + SQUARE; index && r < rows && r < i + 2 * SQUARE; r++)
            for (ptrdiff_t j = 0; j < columns; j += 64 / (int)sizeof(R))
                PREFETCH(x + index[r] * ldx + j);
        S(transpose_square)(height, columns, row, out + i, ld_out);
    }
}

#if defined(__AVX512F__) || defined(__AVX2__)

/* Products of QUAD rows of a with b, where only `rows` rows of a exist.  Each quad of the result
 * holds one partial sum of each row: element i belongs to row i, and the sum of the quads is the
 * result. */
ALWAYS_INLINE V S(quad_of_sums)(ptrdiff_t rows, ptrdiff_t k, const R *a, ptrdiff_t lda,
                                const R *b) {
    ptrdiff_t whole = k - k % VLANES;
    const R *a0 = a, *a1 = a + (rows > 1 ? lda : 0);
    V c0 = VSET(0), c1 = VSET(0);
#if REAL_IS_FLOAT
    const R *a2 = a + (rows > 2 ? 2 * lda : 0), *a3 = a + (rows > 3 ? 3 * lda : 0);
    V c2 = VSET(0), c3 = VSET(0);
#define ADD(LOAD)                                                                                  \
    {                                                                                              \
        V x = LOAD(b);                                                                             \
        c0 = VFMA(LOAD(a0), x, c0), c1 = VFMA(LOAD(a1), x, c1);                                    \
        c2 = VFMA(LOAD(a2), x, c2), c3 = VFMA(LOAD(a3), x, c3);                                    \
    }
#else
#define ADD(LOAD)                                                                                  \
    {                                                                                              \
        V x = LOAD(b);                                                                             \
        c0 = VFMA(LOAD(a0), x, c0), c1 = VFMA(LOAD(a1), x, c1);                                    \
    }
#endif
#define WHOLE(p) VLOAD(p + at)
#define REST(p) VLOAD_PART(p + whole, mask)
    for (ptrdiff_t at = 0; at < whole; at += VLANES) ADD(WHOLE)
    if (whole < k) {
        VMASK_T mask = VMASK(k - whole);
        ADD(REST)
    }
#undef WHOLE
#undef REST
#undef ADD
    V sum = VADD(UNPACK_LOW(c0, c1), UNPACK_HIGH(c0, c1));
#if REAL_IS_FLOAT
    V other = VADD(UNPACK_LOW(c2, c3), UNPACK_HIGH(c2, c3));
    sum = VADD(UNPACK_LOW_PAIRS(sum, other), UNPACK_HIGH_PAIRS(sum, other));
#endif
    return sum;
}

#endif

/* c (rows, n; ldc) = a (rows, k; lda) times the transpose of b (n, k; ldb), for few columns n.  The
 * lanes run along k: lane l adds up the elements k = l modulo VLANES.  Then the lanes of VLANES
 * rows are transposed and added.  The rows beside a row do not change its result. */
static void S(row_products)(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t k, const R *a, ptrdiff_t lda,
                            const R *b, ptrdiff_t ldb, R *c, ptrdiff_t ldc) {
#if defined(__AVX512F__) || defined(__AVX2__)
    enum { QUADS = VLANES / QUAD };
    R sums[QUADS][VLANES], found[VLANES];
    const R *row[VLANES];
    for (int q = 0; q < QUADS; q++) row[q * QUAD] = sums[q];
    for (ptrdiff_t i = 0; i < rows; i += VLANES) {
        int height = (int)(rows - i < VLANES ? rows - i : VLANES);
        for (ptrdiff_t j = 0; j < n; j++) {
            for (int q = 0; q * QUAD < height; q++)
                VSTORE(sums[q], S(quad_of_sums)(height - q * QUAD, k, a + (i + q * QUAD) * lda, lda,
                                                b + j * ldb));
            V total = S(quads)(row, 0);
            for (int q = 1; q < QUADS; q++) total = VADD(total, S(quads)(row, q * QUAD));
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
