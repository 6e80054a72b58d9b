/* What the compiler is told and what differs between instruction sets. */
#ifndef FNN_SIMD_H
#define FNN_SIMD_H

/* The iterations of the next loop do not depend on each other; it may work in place. */
#if defined(__clang__)
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define NOT_INLINE static __attribute__((noinline))
#elif defined(__GNUC__)
#define INDEPENDENT _Pragma("GCC ivdep")
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define NOT_INLINE static __attribute__((noinline))
#elif defined(_MSC_VER)
#define INDEPENDENT __pragma(loop(ivdep))
#define ALWAYS_INLINE static __forceinline
#define NOT_INLINE static __declspec(noinline)
#define restrict __restrict
#else
#define INDEPENDENT
#define ALWAYS_INLINE static inline
#define NOT_INLINE static
#endif

/* Whether the instruction set has a fused multiply-add.  Elsewhere libm's fma() would be a slow
 * call, so there a product and a sum take its place. */
#if defined(__FMA__) || defined(__AVX512F__) || defined(__aarch64__) ||                            \
    (defined(_MSC_VER) && defined(__AVX2__))
#define HAS_FMA 1
#else
#define HAS_FMA 0
#endif

#if defined(__GNUC__)
#define PREFETCH(p) __builtin_prefetch(p)
#else
#define PREFETCH(p) ((void)(p))
#endif

#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#elif defined(__aarch64__) && defined(__GNUC__)
#include <arm_neon.h>
#endif

#endif
