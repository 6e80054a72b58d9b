/* What a team of OpenMP threads needs beside OpenMP itself: who am I, a barrier that spins briefly
 * and then sleeps, and the floating-point mode of the region.  Without OpenMP: a team of one. */
#ifndef FNN_TEAM_H
#define FNN_TEAM_H

#include <stdint.h>
#include <time.h>

/* C11's clock: what there is everywhere, some 25 ns a call */
static inline double fnn_seconds(void) {
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

#ifdef _OPENMP
#include <omp.h>
static inline int fnn_team_size(void) { return omp_get_num_threads(); }
static inline int fnn_team_rank(void) { return omp_get_thread_num(); }
/* Before a fork: a team that lives in the parent would be waited for in the child, for ever.  (gcc
 * has the function since 9, while it still says OpenMP 4.5.) */
static inline void fnn_team_release(void) {
#if _OPENMP >= 201811 || (defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 9)
    omp_pause_resource_all(omp_pause_hard);
#endif
}
#define FNN_HAS_OPENMP 1
#else
static inline int fnn_team_size(void) { return 1; }
static inline int fnn_team_rank(void) { return 0; }
static inline void fnn_team_release(void) {}
#define FNN_HAS_OPENMP 0
#endif

#if defined(_MSC_VER)
#include <intrin.h>
#include <windows.h>
#define FNN_ADD(p) ((int)_InterlockedIncrement((volatile long *)(p)))
#define FNN_LOAD(p) ((int)_InterlockedOr((volatile long *)(p), 0))
#define FNN_STORE(p, v) ((void)_InterlockedExchange((volatile long *)(p), (v)))
#else
#define FNN_ADD(p) __atomic_add_fetch(p, 1, __ATOMIC_ACQ_REL)
#define FNN_LOAD(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define FNN_STORE(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#endif

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#define FNN_PAUSE() _mm_pause()
#elif defined(__aarch64__) && defined(__GNUC__)
#define FNN_PAUSE() __asm__ volatile("yield")
#else
#define FNN_PAUSE()
#endif

typedef struct {
    int arrived;
    char apart[60]; /* the waiting threads read `phase` while others still write `arrived` */
    int phase;
} fnn_barrier;

/* Some 50 us of spinning: longer than a step of a small net, shorter than a time slice.  Who waits
 * longer waits for a thread that has lost its core: then it must sleep, because only an idle core
 * pulls that thread over.  (sched_yield() does not: with a busy loop beside, two threads then took
 * 20 times as long as one.) */
enum { FNN_SPINS = 4000, FNN_NAP_NANOSECONDS = 20000 };

static inline void fnn_nap(void) {
#if defined(_MSC_VER)
    Sleep(0);
#else
    struct timespec nap = {0, FNN_NAP_NANOSECONDS};
    nanosleep(&nap, NULL);
#endif
}

static inline void fnn_barrier_wait(fnn_barrier *b, int team) {
    if (team == 1) return;
    int phase = FNN_LOAD(&b->phase);
    if (FNN_ADD(&b->arrived) == team) {
        FNN_STORE(&b->arrived, 0);
        FNN_STORE(&b->phase, phase + 1);
        return;
    }
    for (int spin = 0; FNN_LOAD(&b->phase) == phase; spin++) {
        if (spin < FNN_SPINS) {
            FNN_PAUSE();
        } else {
            fnn_nap();
        }
    }
}

/* Flush subnormals to zero and read them as zero: decaying optimizer state and saturated units make
 * them, and they cost tens to hundreds of cycles each.  Returns the mode to restore. */
static inline uint64_t fnn_flush_subnormals(void) {
#if defined(__x86_64__) || defined(_M_X64)
    unsigned mode = _mm_getcsr();
    _mm_setcsr(mode | 0x8040u);
    return mode;
#elif defined(__aarch64__) && defined(__GNUC__)
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    __asm__ volatile("msr fpcr, %0" : : "r"(mode | (1ull << 24)));
    return mode;
#else
    return 0;
#endif
}

static inline void fnn_restore_float_mode(uint64_t mode) {
#if defined(__x86_64__) || defined(_M_X64)
    _mm_setcsr((unsigned)mode);
#elif defined(__aarch64__) && defined(__GNUC__)
    __asm__ volatile("msr fpcr, %0" : : "r"(mode));
#else
    (void)mode;
#endif
}

#endif
