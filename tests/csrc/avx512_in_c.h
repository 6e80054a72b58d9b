/* The AVX-512 intrinsics that csrc uses, as loops over the lanes or over two halves: included
 * first, it lets the code for AVX-512 run on a processor that has AVX2 alone.  What a mask leaves
 * out is not touched, and what an intrinsic leaves undefined is NaN. */
#ifndef AVX512_IN_C_H
#define AVX512_IN_C_H

#include <immintrin.h>
#include <math.h>
#include <string.h>

#define __AVX512F__ 1

#define IN_C static inline __attribute__((always_inline, unused))
#define EACH_LANE(value) for (int l = 0; l < (int)(sizeof(v) / sizeof(v[0])); l++) v[l] = (value)

#define OF_TYPE(V, HALF, R, MASK, type)                                                            \
    IN_C V c_##type##_loadu(const R *p) {                                                          \
        V v = {0};                                                                                 \
        memcpy(&v, p, sizeof(v));                                                                  \
        return v;                                                                                  \
    }                                                                                              \
    IN_C void c_##type##_storeu(R *p, V v) { memcpy(p, &v, sizeof(v)); }                           \
    IN_C V c_##type##_set1(R x) { return x - (V){0}; }                                             \
    IN_C V c_##type##_fmadd(V a, V b, V c) {                                                       \
        HALF x[2], y[2], z[2];                                                                     \
        memcpy(x, &a, sizeof(a));                                                                  \
        memcpy(y, &b, sizeof(b));                                                                  \
        memcpy(z, &c, sizeof(c));                                                                  \
        for (int h = 0; h < 2; h++) z[h] = _mm256_fmadd_##type(x[h], y[h], z[h]);                  \
        memcpy(&c, z, sizeof(c));                                                                  \
        return c;                                                                                  \
    }                                                                                              \
    IN_C V c_##type##_max(V a, V b) {                                                              \
        HALF x[2], y[2];                                                                           \
        memcpy(x, &a, sizeof(a));                                                                  \
        memcpy(y, &b, sizeof(b));                                                                  \
        for (int h = 0; h < 2; h++) y[h] = _mm256_max_##type(x[h], y[h]);                          \
        memcpy(&b, y, sizeof(b));                                                                  \
        return b;                                                                                  \
    }                                                                                              \
    IN_C MASK c_##type##_not_at_most(V a, V b) {                                                   \
        MASK mask = 0;                                                                             \
        for (int l = 0; l < (int)(sizeof(a) / sizeof(a[0])); l++)                                  \
            mask = (MASK)(mask | (a[l] <= b[l] ? 0 : 1 << l));                                     \
        return mask;                                                                               \
    }                                                                                              \
    IN_C V c_##type##_maskz_mov(MASK mask, V a) {                                                  \
        V v = {0};                                                                                 \
        EACH_LANE(mask >> l & 1 ? a[l] : 0);                                                       \
        return v;                                                                                  \
    }                                                                                              \
    IN_C V c_##type##_maskz_loadu(MASK mask, const R *p) {                                         \
        V v = {0};                                                                                 \
        EACH_LANE(mask >> l & 1 ? p[l] : 0);                                                       \
        return v;                                                                                  \
    }                                                                                              \
    IN_C void c_##type##_mask_storeu(R *p, MASK mask, V v) {                                       \
        for (int l = 0; l < (int)(sizeof(v) / sizeof(v[0])); l++)                                  \
            if (mask >> l & 1) p[l] = v[l];                                                        \
    }                                                                                              \
    /* quads of 16 bytes: the lanes from `from` on of a quad of a and b, by turns */               \
    IN_C V c_##type##_unpack(V a, V b, int from) {                                                 \
        enum { QUAD_LANES = 16 / sizeof(R) };                                                      \
        V v = {0};                                                                                 \
        EACH_LANE((l & 1 ? b : a)[l / QUAD_LANES * QUAD_LANES + from + l % QUAD_LANES / 2]);       \
        return v;                                                                                  \
    }

OF_TYPE(__m512, __m256, float, __mmask16, ps)
OF_TYPE(__m512d, __m256d, double, __mmask8, pd)

IN_C __m512 c_mask_broadcast_f32x4(__m512 from, __mmask16 mask, __m128 a) {
    __m512 v = {0};
    EACH_LANE(mask >> l & 1 ? a[l % 4] : from[l]);
    return v;
}

IN_C __m512 c_castps128_ps512(__m128 a) {
    __m512 v = {0};
    EACH_LANE(l < 4 ? a[l] : NAN);
    return v;
}

IN_C __m128 c_castps512_ps128(__m512 a) {
    __m128 v = {0};
    EACH_LANE(a[l]);
    return v;
}

IN_C __m128d c_castpd512_pd128(__m512d a) {
    __m128d v = {0};
    EACH_LANE(a[l]);
    return v;
}

IN_C __m256 c_extractf32x8_ps(__m512 a, int half) {
    __m256 v = {0};
    EACH_LANE(a[8 * half + l]);
    return v;
}

IN_C __m512d c_cvtps_pd(__m256 a) {
    __m512d v = {0};
    EACH_LANE((double)a[l]);
    return v;
}

IN_C double c_reduce_add_pd(__m512d a) {
    return ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]));
}

#define _mm512_loadu_ps(p) c_ps_loadu(p)
#define _mm512_loadu_pd(p) c_pd_loadu(p)
#define _mm512_storeu_ps(p, v) c_ps_storeu(p, v)
#define _mm512_storeu_pd(p, v) c_pd_storeu(p, v)
#define _mm512_set1_ps(x) c_ps_set1(x)
#define _mm512_set1_pd(x) c_pd_set1(x)
#define _mm512_fmadd_ps(a, b, c) c_ps_fmadd(a, b, c)
#define _mm512_fmadd_pd(a, b, c) c_pd_fmadd(a, b, c)
#define _mm512_add_ps(a, b) ((a) + (b))
#define _mm512_add_pd(a, b) ((a) + (b))
#define _mm512_max_ps(a, b) c_ps_max(a, b)
#define _mm512_max_pd(a, b) c_pd_max(a, b)
#undef _mm512_cmp_ps_mask
#undef _mm512_cmp_pd_mask
#define _mm512_cmp_ps_mask(a, b, _CMP_NLE_UQ) c_ps_not_at_most(a, b)
#define _mm512_cmp_pd_mask(a, b, _CMP_NLE_UQ) c_pd_not_at_most(a, b)
#define _mm512_maskz_mov_ps(mask, a) c_ps_maskz_mov(mask, a)
#define _mm512_maskz_mov_pd(mask, a) c_pd_maskz_mov(mask, a)
#define _mm512_maskz_loadu_ps(mask, p) c_ps_maskz_loadu(mask, p)
#define _mm512_maskz_loadu_pd(mask, p) c_pd_maskz_loadu(mask, p)
#define _mm512_mask_storeu_ps(p, mask, v) c_ps_mask_storeu(p, mask, v)
#define _mm512_mask_storeu_pd(p, mask, v) c_pd_mask_storeu(p, mask, v)
#define _mm512_unpacklo_ps(a, b) c_ps_unpack(a, b, 0)
#define _mm512_unpackhi_ps(a, b) c_ps_unpack(a, b, 2)
#define _mm512_unpacklo_pd(a, b) c_pd_unpack(a, b, 0)
#define _mm512_unpackhi_pd(a, b) c_pd_unpack(a, b, 1)
#define _mm512_mask_broadcast_f32x4(from, mask, a) c_mask_broadcast_f32x4(from, mask, a)
#define _mm512_castps128_ps512(a) c_castps128_ps512(a)
#define _mm512_castps512_ps128(a) c_castps512_ps128(a)
#define _mm512_castpd512_pd128(a) c_castpd512_pd128(a)
#define _mm512_castps512_ps256(a) c_extractf32x8_ps(a, 0)
#define _mm512_castps_pd(a) ((__m512d)(a))
#define _mm512_castpd_ps(a) ((__m512)(a))
#undef _mm512_extractf32x8_ps
#define _mm512_extractf32x8_ps(a, half) c_extractf32x8_ps(a, half)
#define _mm512_cvtps_pd(a) c_cvtps_pd(a)
#define _mm512_reduce_add_pd(a) c_reduce_add_pd(a)

#endif
