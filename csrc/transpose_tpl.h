/* Transposes of one dtype.  With AVX-512 a square of one vector by one vector is turned in registers:
 * stage s exchanges lane l of row i with lane l ^ s of row i ^ s where both lie on the far side. */

#undef SQUARE

#if defined(__AVX512F__)

#define SQUARE VLANES
#if REAL_IS_FLOAT
#define EXCHANGE(a, picks, b) _mm512_permutex2var_ps(a, picks, b)
#else
#define EXCHANGE(a, picks, b) _mm512_permutex2var_pd(a, picks, b)
#endif

/* out (columns <= VLANES, rows <= VLANES; ld_out) = transpose of the rows at x[0..rows-1] */
static void S(turn)(int rows, int columns, const R *const x[], R *out, ptrdiff_t ld_out) {
    V t[SQUARE];
    VMASK_T mask = VMASK(columns);
    for (int i = 0; i < SQUARE; i++) t[i] = i < rows ? VLOAD_PART(x[i], mask) : VSET(0);
    for (int s = 1; s < SQUARE; s *= 2) {
#if REAL_IS_FLOAT
        const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        const __m512i far = _mm512_and_si512(lane, _mm512_set1_epi32(s));
        const __mmask16 is_far = _mm512_test_epi32_mask(far, far);
        const __m512i second = _mm512_set1_epi32(SQUARE), step = _mm512_set1_epi32(s);
        const __m512i near_picks = _mm512_mask_add_epi32(lane, is_far, second, _mm512_sub_epi32(lane, step));
        const __m512i far_picks = _mm512_mask_add_epi32(_mm512_add_epi32(lane, step), is_far, lane, second);
#else
        const __m512i lane = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7);
        const __m512i far = _mm512_and_si512(lane, _mm512_set1_epi64(s));
        const __mmask8 is_far = _mm512_test_epi64_mask(far, far);
        const __m512i second = _mm512_set1_epi64(SQUARE), step = _mm512_set1_epi64(s);
        const __m512i near_picks = _mm512_mask_add_epi64(lane, is_far, second, _mm512_sub_epi64(lane, step));
        const __m512i far_picks = _mm512_mask_add_epi64(_mm512_add_epi64(lane, step), is_far, lane, second);
#endif
        for (int i = 0; i < SQUARE; i++) {
            if (i & s) continue;
            V near = t[i], other = t[i + s];
            t[i] = EXCHANGE(near, near_picks, other);
            t[i + s] = EXCHANGE(near, far_picks, other);
        }
    }
    mask = VMASK(rows);
    for (int j = 0; j < columns; j++) VSTORE_PART(out + j * ld_out, t[j], mask);
}
#undef EXCHANGE

#else

enum { JOIN(S(SQUARE_SIDE), x) = 64 / sizeof(R) };
#define SQUARE JOIN(S(SQUARE_SIDE), x)

static void S(turn)(int rows, int columns, const R *const x[], R *out, ptrdiff_t ld_out) {
    for (int j = 0; j < columns; j++)
        for (int i = 0; i < rows; i++) out[j * ld_out + i] = x[i][j];
}

#endif

/* out (columns, rows; ld_out) = transpose of the rows index[0..] of x, or of rows 0.. when NULL */
static void S(transpose)(ptrdiff_t rows, ptrdiff_t columns, const R *x, ptrdiff_t ldx,
                         const ptrdiff_t *index, R *out, ptrdiff_t ld_out) {
    for (ptrdiff_t i = 0; i < rows; i += SQUARE) {
        int height = (int)(rows - i < SQUARE ? rows - i : SQUARE);
        const R *row[SQUARE];
        for (int r = 0; r < height; r++) row[r] = x + (index ? index[i + r] : i + r) * ldx;
        for (ptrdiff_t j = 0; j < columns; j += SQUARE) {
            int width = (int)(columns - j < SQUARE ? columns - j : SQUARE);
            S(turn)(height, width, row, out + j * ld_out + i, ld_out);
            for (int r = 0; r < height; r++) row[r] += SQUARE;
        }
    }
}
