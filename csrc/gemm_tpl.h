/* Matrix products of one dtype, register-tiled:  C (rows, n; ldc) = bias + A B.
 *
 * A's element (i, k) lies at a[i * a_row + k * a_k], so that one kernel serves X W (a_k = 1) and
 * X' dZ (a_row = 1); B is (k, n; ldb), and dZ W' comes with W' kept as a copy.
 *
 * Every element of C is one chain of multiply-adds over k that starts at the bias, whatever tile,
 * block or lane computes it: neither the split into tiles nor the rows beside it change a bit.
 *
 * A tile of C stays in registers while k runs.  Its accumulators have scalar names, made by macros:
 * as an array gcc 12 keeps them on the stack, at a third of the speed.  Tiles are 1..4 vectors wide,
 * the last one masked, and of every height that the registers hold: rows are dealt out evenly,
 * because a tile of one row takes as long as one of four. */

#undef V
#undef VLANES
#undef VLOAD
#undef VSTORE
#undef VSET
#undef VFMA
#undef VMASK
#undef VMASK_T
#undef VLOAD_PART
#undef VSTORE_PART

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

#elif defined(__GNUC__) /* vectors of 16 bytes, which every 64-bit processor has */

#define VLANES (16 / (int)sizeof(R))
typedef R S(vector) __attribute__((vector_size(16)));
typedef R S(unaligned_vector) __attribute__((vector_size(16), aligned(sizeof(R)), may_alias));
#define V S(vector)
#define VMASK_T int
#define VLOAD(p) ((V)(*(const S(unaligned_vector) *)(p)))
#define VSTORE(p, v) (*(S(unaligned_vector) *)(p) = (v))
#define VSET(x) ((V){0} + (R)(x))
#if HAS_FMA && REAL_IS_FLOAT
#define VFMA(a, b, c) vfmaq_f32(c, a, b)
#elif HAS_FMA
#define VFMA(a, b, c) vfmaq_f64(c, a, b)
#else
#define VFMA(a, b, c) ((a) * (b) + (c))
#endif
#define VMASK(count) (int)(count)
ALWAYS_INLINE V S(load_part)(const R *p, int count) {
    if (count == VLANES) return VLOAD(p);
    V v = {0};
    for (int l = 0; l < count; l++) v[l] = p[l];
    return v;
}
ALWAYS_INLINE void S(store_part)(R *p, V v, int count) {
    for (int l = 0; l < count; l++) p[l] = v[l];
}
#define VLOAD_PART(p, m) S(load_part)(p, m)
#define VSTORE_PART(p, v, m) S(store_part)(p, v, m)

#else /* one lane: right on any compiler */

#define V R
#define VLANES 1
#define VMASK_T int
#define VLOAD(p) (*(p))
#define VSTORE(p, v) (*(p) = (v))
#define VSET(x) ((R)(x))
#define VFMA(a, b, c) FMA(a, b, c)
#define VMASK(count) (int)(count)
#define VLOAD_PART(p, m) (*(p))
#define VSTORE_PART(p, v, m) (*(p) = (v))

#endif

#ifndef FNN_GEMM_ONCE
#define FNN_GEMM_ONCE

enum { K_BLOCK = 384 };

#if defined(__AVX512F__)
#define MAX_VECTORS 4
#else
#define MAX_VECTORS 2
#endif

/* the rows of a tile, for a macro M(row) */
#define ROWS1(M) M(0)
#define ROWS2(M) ROWS1(M) M(1)
#define ROWS3(M) ROWS2(M) M(2)
#define ROWS4(M) ROWS3(M) M(3)
#define ROWS5(M) ROWS4(M) M(4)
#define ROWS6(M) ROWS5(M) M(5)
#define ROWS7(M) ROWS6(M) M(6)
#define ROWS8(M) ROWS7(M) M(7)

/* its vectors, for FULL(row, vector) and, the last one, PART(row, vector) */
#define VECTORS1(FULL, PART, i) PART(i, 0)
#define VECTORS2(FULL, PART, i) FULL(i, 0) PART(i, 1)
#define VECTORS3(FULL, PART, i) FULL(i, 0) FULL(i, 1) PART(i, 2)
#define VECTORS4(FULL, PART, i) FULL(i, 0) FULL(i, 1) FULL(i, 2) PART(i, 3)

#define START(i, v) V c##i##v = first ? VLOAD(first + i * first_row + v * VLANES) : VSET(0);
#define START_PART(i, v)                                                                           \
    V c##i##v = first ? VLOAD_PART(first + i * first_row + v * VLANES, mask) : VSET(0);
#define LOAD(i, v) V b##v = VLOAD(b + v * VLANES);
#define LOAD_PART(i, v) V b##v = VLOAD_PART(b + v * VLANES, mask);
#define STEP(i, v) c##i##v = VFMA(x##i, b##v, c##i##v);
#define STORE(i, v) VSTORE(c + i * ldc + v * VLANES, c##i##v);
#define STORE_PART(i, v) VSTORE_PART(c + i * ldc + v * VLANES, c##i##v, mask);

#define TILE_START(width, i) VECTORS##width(START, START_PART, i)
#define TILE_STEP(width, i)                                                                        \
    {                                                                                              \
        V x##i = VSET(a[i * a_row]);                                                               \
        VECTORS##width(STEP, STEP, i)                                                              \
    }
#define TILE_STORE(width, i) VECTORS##width(STORE, STORE_PART, i)
#define TILE_START_1(i) TILE_START(1, i)
#define TILE_START_2(i) TILE_START(2, i)
#define TILE_START_3(i) TILE_START(3, i)
#define TILE_START_4(i) TILE_START(4, i)
#define TILE_STEP_1(i) TILE_STEP(1, i)
#define TILE_STEP_2(i) TILE_STEP(2, i)
#define TILE_STEP_3(i) TILE_STEP(3, i)
#define TILE_STEP_4(i) TILE_STEP(4, i)
#define TILE_STORE_1(i) TILE_STORE(1, i)
#define TILE_STORE_2(i) TILE_STORE(2, i)
#define TILE_STORE_3(i) TILE_STORE(3, i)
#define TILE_STORE_4(i) TILE_STORE(4, i)

/* c starts at the rows of `first`, first_row apart (0: the bias for all of them), or at 0 */
#define TILE_ARGUMENTS                                                                             \
    ptrdiff_t k_count, VMASK_T mask, const R *a, ptrdiff_t a_row, ptrdiff_t a_k, const R *b,       \
        ptrdiff_t ldb, const R *first, ptrdiff_t first_row, R *c, ptrdiff_t ldc
#define TILE(height, width)                                                                        \
    static void S(tile_##height##x##width)(TILE_ARGUMENTS) {                                       \
        ROWS##height(TILE_START_##width)                                                           \
        for (ptrdiff_t k = 0; k < k_count; k++, a += a_k, b += ldb) {                              \
            VECTORS##width(LOAD, LOAD_PART, 0)                                                     \
            ROWS##height(TILE_STEP_##width)                                                        \
        }                                                                                          \
        ROWS##height(TILE_STORE_##width)                                                           \
    }
#define TILES6(w) TILE(1, w) TILE(2, w) TILE(3, w) TILE(4, w) TILE(5, w) TILE(6, w)
#define TILES8(w) TILES6(w) TILE(7, w) TILE(8, w)
#define NAMES6(w)                                                                                  \
    S(tile_1x##w), S(tile_2x##w), S(tile_3x##w), S(tile_4x##w), S(tile_5x##w), S(tile_6x##w)
#define NAMES8(w) NAMES6(w), S(tile_7x##w), S(tile_8x##w)

#endif

/* The registers hold 24 accumulators of 32 with AVX-512, else 12 of 16. */
typedef void (*S(tile))(TILE_ARGUMENTS);
TILES8(1)
#if MAX_VECTORS == 4
TILES8(2)
TILES8(3)
TILES6(4)
static const int S(tallest)[] = {8, 8, 8, 6};
static const S(tile) S(tiles)[][8] = {{NAMES8(1)}, {NAMES8(2)}, {NAMES8(3)}, {NAMES6(4)}};
#else
TILES6(2)
static const int S(tallest)[] = {8, 6};
static const S(tile) S(tiles)[][8] = {{NAMES8(1)}, {NAMES6(2)}};
#endif

/* The block of B that a column of tiles walks over (K_BLOCK x width) stays in the cache. */
static void S(product)(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t k_all, const R *a, ptrdiff_t a_row,
                       ptrdiff_t a_k, const R *b, ptrdiff_t ldb, const R *bias, R *c,
                       ptrdiff_t ldc) {
    const ptrdiff_t widest = MAX_VECTORS * VLANES;
    ptrdiff_t k = 0;
    do {
        ptrdiff_t k_count = k_all - k < K_BLOCK ? k_all - k : K_BLOCK;
        for (ptrdiff_t j = 0; j < n; j += widest) {
            ptrdiff_t columns = n - j < widest ? n - j : widest;
            ptrdiff_t width = (columns + VLANES - 1) / VLANES;
            VMASK_T mask = VMASK(columns - (width - 1) * VLANES);
            ptrdiff_t tiles = (rows + S(tallest)[width - 1] - 1) / S(tallest)[width - 1], i = 0;
            for (; tiles > 0; tiles--) {
                ptrdiff_t height = (rows - i) / tiles;
                R *tile = c + i * ldc + j;
                const R *first = k ? tile : bias ? bias + j : NULL;
                S(tiles)[width - 1][height - 1](k_count, mask, a + i * a_row + k * a_k, a_row, a_k,
                                                b + k * ldb + j, ldb, first, k ? ldc : 0, tile,
                                                ldc);
                i += height;
            }
        }
        k += k_count;
    } while (k < k_all);
}
