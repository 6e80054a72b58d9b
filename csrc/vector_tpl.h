/* One vector of R, for loops that the compiler does not vectorise well: AVX-512, AVX2, GCC's own
 * vectors, or one lane.
 *
 * VMASK(count), 1 <= count <= VLANES, is a mask of the first lanes.  VLOAD_PART and VSTORE_PART
 * touch these alone, and VPART(v, mask) has 0 in the others.  VFLOOR(low, x) is x, or low where x <
 * low; VGATE(a, x) is x, or 0 where a <= 0; NaN passes both.
 *
 * VADD_PRODUCT(c, a, b) adds a product to c, in the register where c is.
 *
 * U, where it is defined, is a vector of a quarter of the lanes, UFIRST(v) those of v that come
 * first.
 *
 * D is a vector of doubles in a register of the same size: a vector of floats makes two of them,
 * DLOW(v) and DHIGH(v), a vector of doubles one, DLOW(v).  DSUM(d) adds its lanes. */

#undef U
#undef ULANES
#undef ULOAD
#undef USTORE
#undef USET
#undef UFMA
#undef UFLOOR
#undef UFIRST
#undef V
#undef VLANES
#undef VLOAD
#undef VSTORE
#undef VSET
#undef VFMA
#undef VADD_PRODUCT
#undef VADD
#undef VFLOOR
#undef VGATE
#undef VMASK
#undef VMASK_T
#undef VLOAD_PART
#undef VSTORE_PART
#undef VPART
#undef D
#undef DLOW
#undef DHIGH
#undef DADD
#undef DFMA
#undef DSUM

#if defined(__AVX512F__)

#if REAL_IS_FLOAT
#define V __m512
#define VLANES 16
#define VLOAD(p) _mm512_loadu_ps(p)
#define VSTORE(p, v) _mm512_storeu_ps(p, v)
#define VSET(x) _mm512_set1_ps(x)
#define VFMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define VADD(a, b) _mm512_add_ps(a, b)
#define VFLOOR(low, x) _mm512_max_ps(low, x)
#define VGATE(a, x) _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, VSET(0), _CMP_NLE_UQ), x)
#define U __m128
#define ULANES 4
#define ULOAD(p) _mm_loadu_ps(p)
#define USTORE(p, v) _mm_storeu_ps(p, v)
#define USET(x) _mm_set1_ps(x)
#define UFMA(a, b, c) _mm_fmadd_ps(a, b, c)
#define UFLOOR(low, x) _mm_max_ps(low, x)
#define UFIRST(v) _mm512_castps512_ps128(v)
#define VMASK_T __mmask16
#define VLOAD_PART(p, m) _mm512_maskz_loadu_ps(m, p)
#define VSTORE_PART(p, v, m) _mm512_mask_storeu_ps(p, m, v)
#define VPART(v, m) _mm512_maskz_mov_ps(m, v)
#define DLOW(v) _mm512_cvtps_pd(_mm512_castps512_ps256(v))
#define DHIGH(v) _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1))
#else
#define V __m512d
#define VLANES 8
#define VLOAD(p) _mm512_loadu_pd(p)
#define VSTORE(p, v) _mm512_storeu_pd(p, v)
#define VSET(x) _mm512_set1_pd(x)
#define VFMA(a, b, c) _mm512_fmadd_pd(a, b, c)
#define VADD(a, b) _mm512_add_pd(a, b)
#define VFLOOR(low, x) _mm512_max_pd(low, x)
#define VGATE(a, x) _mm512_maskz_mov_pd(_mm512_cmp_pd_mask(a, VSET(0), _CMP_NLE_UQ), x)
#define U __m128d
#define ULANES 2
#define ULOAD(p) _mm_loadu_pd(p)
#define USTORE(p, v) _mm_storeu_pd(p, v)
#define USET(x) _mm_set1_pd(x)
#define UFMA(a, b, c) _mm_fmadd_pd(a, b, c)
#define UFLOOR(low, x) _mm_max_pd(low, x)
#define UFIRST(v) _mm512_castpd512_pd128(v)
#define VMASK_T __mmask8
#define VLOAD_PART(p, m) _mm512_maskz_loadu_pd(m, p)
#define VSTORE_PART(p, v, m) _mm512_mask_storeu_pd(p, m, v)
#define VPART(v, m) _mm512_maskz_mov_pd(m, v)
#define DLOW(v) (v)
#endif
#define D __m512d
#define DADD(a, b) _mm512_add_pd(a, b)
#define DFMA(a, b, c) _mm512_fmadd_pd(a, b, c)
#define DSUM(d) _mm512_reduce_add_pd(d)
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
#define VADD(a, b) _mm256_add_ps(a, b)
#define VFLOOR(low, x) _mm256_max_ps(low, x)
#define VGATE(a, x) _mm256_and_ps(_mm256_cmp_ps(a, VSET(0), _CMP_NLE_UQ), x)
#define VLOAD_PART(p, m) _mm256_maskload_ps(p, m)
#define VSTORE_PART(p, v, m) _mm256_maskstore_ps(p, m, v)
#define VPART(v, m) _mm256_and_ps(_mm256_castsi256_ps(m), v)
#define DLOW(v) _mm256_cvtps_pd(_mm256_castps256_ps128(v))
#define DHIGH(v) _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1))
#define VMASK(count)                                                                               \
    _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(count)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
#else
#define V __m256d
#define VLANES 4
#define VLOAD(p) _mm256_loadu_pd(p)
#define VSTORE(p, v) _mm256_storeu_pd(p, v)
#define VSET(x) _mm256_set1_pd(x)
#define VFMA(a, b, c) _mm256_fmadd_pd(a, b, c)
#define VADD(a, b) _mm256_add_pd(a, b)
#define VFLOOR(low, x) _mm256_max_pd(low, x)
#define VGATE(a, x) _mm256_and_pd(_mm256_cmp_pd(a, VSET(0), _CMP_NLE_UQ), x)
#define VLOAD_PART(p, m) _mm256_maskload_pd(p, m)
#define VSTORE_PART(p, v, m) _mm256_maskstore_pd(p, m, v)
#define VPART(v, m) _mm256_and_pd(_mm256_castsi256_pd(m), v)
#define DLOW(v) (v)
#define VMASK(count)                                                                               \
    _mm256_cmpgt_epi64(_mm256_set1_epi64x((long long)(count)), _mm256_setr_epi64x(0, 1, 2, 3))
#endif
#define D __m256d
#define DADD(a, b) _mm256_add_pd(a, b)
#define DFMA(a, b, c) _mm256_fmadd_pd(a, b, c)
#define DSUM(d) S(add_lanes)(d)
ALWAYS_INLINE double S(add_lanes)(D d) {
    __m128d two = _mm_add_pd(_mm256_castpd256_pd128(d), _mm256_extractf128_pd(d, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

#elif defined(__GNUC__) /* vectors of 16 bytes, which every 64-bit processor has */

#define VLANES (16 / (int)sizeof(R))
typedef R S(vector) __attribute__((vector_size(16)));
typedef R S(unaligned_vector) __attribute__((vector_size(16), aligned(sizeof(R)), may_alias));
#define V S(vector)
#define VMASK_T int
#define VLOAD(p) ((V)(*(const S(unaligned_vector) *)(p)))
#define VSTORE(p, v) (*(S(unaligned_vector) *)(p) = (v))
#define VSET(x) ((R)(x) - (V){0}) /* not +, which makes 0 of -0 and takes an addition */
#if HAS_FMA && REAL_IS_FLOAT
#define VFMA(a, b, c) vfmaq_f32(c, a, b)
#elif HAS_FMA
#define VFMA(a, b, c) vfmaq_f64(c, a, b)
#else
#define VFMA(a, b, c) ((a) * (b) + (c))
#endif
#define VADD(a, b) ((a) + (b))
#define VFLOOR(low, x) S(select)((x) < (low), low, x)
#define VGATE(a, x) S(select)((a) <= VSET(0), VSET(0), x)
#define VMASK(count) (int)(count)
typedef INT S(mask_vector) __attribute__((vector_size(16)));
ALWAYS_INLINE V S(select)(S(mask_vector) mask, V yes, V no) {
    return (V)((mask & (S(mask_vector))yes) | (~mask & (S(mask_vector))no));
}
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
ALWAYS_INLINE V S(part)(V v, int count) {
    for (int l = count; l < VLANES; l++) v[l] = 0;
    return v;
}
#define VPART(v, m) S(part)(v, m)
typedef double S(double_vector) __attribute__((vector_size(16)));
#define D S(double_vector)
#if REAL_IS_FLOAT
#define DLOW(v) ((D){(double)(v)[0], (double)(v)[1]})
#define DHIGH(v) ((D){(double)(v)[2], (double)(v)[3]})
#else
#define DLOW(v) (v)
#endif
#define DADD(a, b) ((a) + (b))
#if HAS_FMA
#define DFMA(a, b, c) vfmaq_f64(c, a, b)
#else
#define DFMA(a, b, c) ((a) * (b) + (c))
#endif
#define DSUM(d) ((d)[0] + (d)[1])

#else /* one lane: right on any compiler */

#define V R
#define VLANES 1
#define VMASK_T int
#define VLOAD(p) (*(p))
#define VSTORE(p, v) (*(p) = (v))
#define VSET(x) ((R)(x))
#define VFMA(a, b, c) FMA(a, b, c)
#define VADD(a, b) ((a) + (b))
#define VFLOOR(low, x) ((x) < (low) ? (low) : (x))
#define VGATE(a, x) ((a) <= 0 ? 0 : (x))
#define VMASK(count) (int)(count)
#define VLOAD_PART(p, m) (*(p))
#define VSTORE_PART(p, v, m) (*(p) = (v))
#define VPART(v, m) (v)
#define D double
#define DLOW(v) ((double)(v))
#define DADD(a, b) ((a) + (b))
#define DFMA(a, b, c) ((a) * (b) + (c))
#define DSUM(d) (d)

#endif

/* With AVX2 by name: where sums fill the 16 registers, gcc 12 moves them about, some to the stack. */
#if defined(__GNUC__) && defined(__AVX2__) && !defined(__AVX512F__)
#if REAL_IS_FLOAT
#define VADD_PRODUCT(c, a, b) __asm__("vfmadd231ps %2, %1, %0" : "+x"(c) : "x"(a), "x"(b))
#else
#define VADD_PRODUCT(c, a, b) __asm__("vfmadd231pd %2, %1, %0" : "+x"(c) : "x"(a), "x"(b))
#endif
#else
#define VADD_PRODUCT(c, a, b) c = VFMA(a, b, c)
#endif
