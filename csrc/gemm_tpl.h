/* The forward product of one dtype: Z = X W + b, all row-major.
 *
 * Every element of Z is one chain of multiply-adds over k that starts at the bias, whatever tile,
 * block or lane computes it: the answer for a row does not depend on the rows beside it.
 *
 * A tile of Z stays in registers while k runs.  Its accumulators have scalar names, made by macros:
 * as an array gcc 12 keeps them on the stack, at a third of the speed. */

#ifndef FNN_GEMM_ONCE
#define FNN_GEMM_ONCE
enum { TILE_VECTORS = 4, K_BLOCK = 384 };
#ifdef __AVX512F__
enum { TILE_ROWS = 6 };
#define EACH_ROW(M) M(0) M(1) M(2) M(3) M(4) M(5)
#else /* 16 registers */
enum { TILE_ROWS = 3 };
#define EACH_ROW(M) M(0) M(1) M(2)
#endif
#endif

#undef V
#undef VLANES
#undef VLOAD
#undef VSTORE
#undef VSET
#undef VFMA
#undef VLOAD_PART
#undef VSTORE_PART
#undef VMASK
#undef VMASK_T

#if defined(__AVX512F__)

#if REAL_IS_FLOAT
#define V __m512
#define VLANES 16
#define VLOAD(p) _mm512_loadu_ps(p)
#define VSTORE(p, v) _mm512_storeu_ps(p, v)
#define VSET(x) _mm512_set1_ps(x)
#define VFMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define VMASK_T __mmask16
#define VLOAD_PART(p, m) _mm512_maskz_loadu_ps(m, p)
#define VSTORE_PART(p, v, m) _mm512_mask_storeu_ps(p, m, v)
#else
#define V __m512d
#define VLANES 8
#define VLOAD(p) _mm512_loadu_pd(p)
#define VSTORE(p, v) _mm512_storeu_pd(p, v)
#define VSET(x) _mm512_set1_pd(x)
#define VFMA(a, b, c) _mm512_fmadd_pd(a, b, c)
#define VMASK_T __mmask8
#define VLOAD_PART(p, m) _mm512_maskz_loadu_pd(m, p)
#define VSTORE_PART(p, v, m) _mm512_mask_storeu_pd(p, m, v)
#endif
#define VMASK(count) ((VMASK_T)((1u << (count)) - 1))

#elif defined(__AVX2__)

#define VMASK_T __m256i
#if REAL_IS_FLOAT
#define V __m256
#define VLANES 8
#define VLOAD(p) _mm256_loadu_ps(p)
#define VSTORE(p, v) _mm256_storeu_ps(p, v)
#define VSET(x) _mm256_set1_ps(x)
#define VFMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define VLOAD_PART(p, m) _mm256_maskload_ps(p, m)
#define VSTORE_PART(p, v, m) _mm256_maskstore_ps(p, m, v)
#define VMASK(count)                                                                               \
    _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(count)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
#else
#define V __m256d
#define VLANES 4
#define VLOAD(p) _mm256_loadu_pd(p)
#define VSTORE(p, v) _mm256_storeu_pd(p, v)
#define VSET(x) _mm256_set1_pd(x)
#define VFMA(a, b, c) _mm256_fmadd_pd(a, b, c)
#define VLOAD_PART(p, m) _mm256_maskload_pd(p, m)
#define VSTORE_PART(p, v, m) _mm256_maskstore_pd(p, m, v)
#define VMASK(count)                                                                               \
    _mm256_cmpgt_epi64(_mm256_set1_epi64x((long long)(count)), _mm256_setr_epi64x(0, 1, 2, 3))
#endif

#endif

#ifdef V

/* TILE_ROWS rows of x times 4 vectors of columns; c starts at b, or resumes from z when b is NULL */
static void S(tile_wide)(ptrdiff_t k_count, ptrdiff_t n_out, const R *x, ptrdiff_t ldx, const R *w,
                         const R *b, R *z) {
#define START(i)                                                                                   \
    V c##i##0 = VLOAD(b ? b : z + i * n_out), c##i##1 = VLOAD((b ? b : z + i * n_out) + VLANES);   \
    V c##i##2 = VLOAD((b ? b : z + i * n_out) + 2 * VLANES);                                       \
    V c##i##3 = VLOAD((b ? b : z + i * n_out) + 3 * VLANES);
#define STEP(i)                                                                                    \
    {                                                                                              \
        V a = VSET(x[i * ldx + k]);                                                                \
        c##i##0 = VFMA(a, w0, c##i##0);                                                            \
        c##i##1 = VFMA(a, w1, c##i##1);                                                            \
        c##i##2 = VFMA(a, w2, c##i##2);                                                            \
        c##i##3 = VFMA(a, w3, c##i##3);                                                            \
    }
#define STORE(i)                                                                                   \
    VSTORE(z + i * n_out, c##i##0);                                                                \
    VSTORE(z + i * n_out + VLANES, c##i##1);                                                       \
    VSTORE(z + i * n_out + 2 * VLANES, c##i##2);                                                   \
    VSTORE(z + i * n_out + 3 * VLANES, c##i##3);
    EACH_ROW(START)
    for (ptrdiff_t k = 0; k < k_count; k++, w += n_out) {
        V w0 = VLOAD(w), w1 = VLOAD(w + VLANES), w2 = VLOAD(w + 2 * VLANES);
        V w3 = VLOAD(w + 3 * VLANES);
        EACH_ROW(STEP)
    }
    EACH_ROW(STORE)
}

/* the same for one row */
static void S(row_wide)(ptrdiff_t k_count, ptrdiff_t n_out, const R *x, ptrdiff_t ldx, const R *w,
                        const R *b, R *z) {
    (void)ldx;
    START(0)
    for (ptrdiff_t k = 0; k < k_count; k++, w += n_out) {
        V w0 = VLOAD(w), w1 = VLOAD(w + VLANES), w2 = VLOAD(w + 2 * VLANES);
        V w3 = VLOAD(w + 3 * VLANES);
        STEP(0)
    }
    STORE(0)
}
#undef START
#undef STEP
#undef STORE

/* up to one vector of columns, the lanes beyond them masked */
static void S(tile_narrow)(ptrdiff_t k_count, ptrdiff_t n_out, VMASK_T mask, const R *x,
                           ptrdiff_t ldx, const R *w, const R *b, R *z) {
#define START(i) V c##i = VLOAD_PART(b ? b : z + i * n_out, mask);
#define STEP(i) c##i = VFMA(VSET(x[i * ldx + k]), w0, c##i);
#define STORE(i) VSTORE_PART(z + i * n_out, c##i, mask);
    EACH_ROW(START)
    for (ptrdiff_t k = 0; k < k_count; k++, w += n_out) {
        V w0 = VLOAD_PART(w, mask);
        EACH_ROW(STEP)
    }
    EACH_ROW(STORE)
}

static void S(row_narrow)(ptrdiff_t k_count, ptrdiff_t n_out, VMASK_T mask, const R *x, ptrdiff_t ldx,
                          const R *w, const R *b, R *z) {
    (void)ldx;
    START(0)
    for (ptrdiff_t k = 0; k < k_count; k++, w += n_out) {
        V w0 = VLOAD_PART(w, mask);
        STEP(0)
    }
    STORE(0)
#undef START
#undef STEP
#undef STORE
}

/* The block of W that a column of tiles walks over (K_BLOCK x 4 vectors) stays in the cache. */
static void S(dense)(ptrdiff_t rows, ptrdiff_t n_in, ptrdiff_t n_out, const R *x, ptrdiff_t ldx,
                     const R *w, const R *b, R *z) {
    const ptrdiff_t wide = TILE_VECTORS * VLANES;
    if (n_in == 0)
        for (ptrdiff_t r = 0; r < rows; r++) memcpy(z + r * n_out, b, (size_t)n_out * sizeof(R));
    for (ptrdiff_t k = 0; k < n_in; k += K_BLOCK) {
        ptrdiff_t k_count = n_in - k < K_BLOCK ? n_in - k : K_BLOCK;
        for (ptrdiff_t j = 0; j < n_out;) {
            ptrdiff_t left = n_out - j;
            const R *start = k ? NULL : b + j, *wk = w + k * n_out + j;
            if (left >= wide) {
                ptrdiff_t r = 0;
                for (; r + TILE_ROWS <= rows; r += TILE_ROWS)
                    S(tile_wide)(k_count, n_out, x + r * ldx + k, ldx, wk, start, z + r * n_out + j);
                for (; r < rows; r++)
                    S(row_wide)(k_count, n_out, x + r * ldx + k, ldx, wk, start, z + r * n_out + j);
                j += wide;
            } else {
                VMASK_T mask = VMASK(left < VLANES ? left : VLANES);
                ptrdiff_t r = 0;
                for (; r + TILE_ROWS <= rows; r += TILE_ROWS)
                    S(tile_narrow)(k_count, n_out, mask, x + r * ldx + k, ldx, wk, start,
                                   z + r * n_out + j);
                for (; r < rows; r++)
                    S(row_narrow)(k_count, n_out, mask, x + r * ldx + k, ldx, wk, start,
                                  z + r * n_out + j);
                j += VLANES;
            }
        }
    }
}

#else /* any processor: the compiler's own vectors, one row of Z at a time */

static void S(dense)(ptrdiff_t rows, ptrdiff_t n_in, ptrdiff_t n_out, const R *x, ptrdiff_t ldx,
                     const R *w, const R *b, R *restrict z) {
    for (ptrdiff_t r = 0; r < rows; r++, x += ldx, z += n_out) {
        memcpy(z, b, (size_t)n_out * sizeof(R));
        for (ptrdiff_t k = 0; k < n_in; k++) {
            R a = x[k];
            const R *wk = w + k * n_out;
            INDEPENDENT
            for (ptrdiff_t j = 0; j < n_out; j++) z[j] = FMA(a, wk[j], z[j]);
        }
    }
}

#endif
