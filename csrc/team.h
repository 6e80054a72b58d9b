/* What a team of OpenMP threads needs beside OpenMP itself: its size and rank, phases of tasks to
 * share, and the floating-point mode of the region.  Without OpenMP it is a team of one. */
#ifndef FNN_TEAM_H
#define FNN_TEAM_H

#include <stdint.h>
#include <time.h>

/* by the clock of C11, which every system has; a call takes some 25 ns */
static inline double fnn_seconds(void) {
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

#ifdef _OPENMP
#include <omp.h>
static inline int fnn_team_size(void) { return omp_get_num_threads(); }
static inline int fnn_team_rank(void) { return omp_get_thread_num(); }
#define FNN_HAS_OPENMP 1
#else
static inline int fnn_team_size(void) { return 1; }
static inline int fnn_team_rank(void) { return 0; }
#define FNN_HAS_OPENMP 0
#endif

/* Call this once, when the library is loaded.  From then on every fork releases the team of the
 * forking thread first: the team stays in the parent, and the child would wait for it forever. */
void fnn_team_prepare(void);

/* Call this before each parallel region of several threads: whether the caller can have such a
 * team.  OpenMP ends the process when the system refuses it a thread, so the threads that the team
 * lacks are started on trial first.  That takes some 50 us a thread, and no time while the team
 * keeps its size. */
int fnn_team_form(int threads);

#if defined(_MSC_VER)
#include <intrin.h>
#include <windows.h>
#define FNN_LOAD(p) _InterlockedOr64((volatile int64_t *)(p), 0)
#define FNN_STORE(p, v) ((void)_InterlockedExchange64((volatile int64_t *)(p), (v)))
#define FNN_INCREMENT(p) _InterlockedIncrement64((volatile int64_t *)(p))
#define FNN_REPLACE(p, old, v)                                                                     \
    (_InterlockedCompareExchange64((volatile int64_t *)(p), (v), (old)) == (old))
#else
#define FNN_LOAD(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define FNN_STORE(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define FNN_INCREMENT(p) __atomic_add_fetch(p, 1, __ATOMIC_ACQ_REL)
static inline int fnn_replace(int64_t *p, int64_t old, int64_t v) {
    return __atomic_compare_exchange_n(p, &old, v, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}
#define FNN_REPLACE(p, old, v) fnn_replace(p, old, v)
#endif

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#define FNN_PAUSE() _mm_pause()
#elif defined(__aarch64__) && defined(__GNUC__)
#define FNN_PAUSE() __asm__ volatile("yield")
#else
#define FNN_PAUSE()
#endif

/* Work in phases of a few tasks each.  A thread claims a task that no other has claimed in this
 * phase; the thread that finishes the last task opens the next phase.  No thread waits for one that
 * has no task in hand, so a thread that loses its core, or never had one, holds up nobody.
 * Barriers for the whole team were tried: two threads beside a busy program took 20 times as long
 * as one. */
enum { FNN_MAX_TASKS = 256, FNN_TASK_BITS = 10 };

typedef struct {
    int64_t open;   /* phase << FNN_TASK_BITS | number of its tasks; negative: no more */
    char apart[56]; /* waiting threads read `open` while others write what follows */
    int64_t done;
    int64_t left; /* threads that have left the last phase */
    int64_t claimed[FNN_MAX_TASKS]; /* the phase in which each task was claimed last */
} fnn_phases;

static inline int64_t fnn_phase(int64_t open) { return open >> FNN_TASK_BITS; }
static inline int fnn_tasks(int64_t open) { return (int)(open & ((1 << FNN_TASK_BITS) - 1)); }

/* Opens the next phase.  Only the thread that finished the last task of this one may do it. */
static inline void fnn_open_phase(fnn_phases *p, int tasks) {
    p->done = 0;
    FNN_STORE(&p->open, (fnn_phase(p->open) + 1) << FNN_TASK_BITS | tasks);
}

static inline void fnn_close(fnn_phases *p) { FNN_STORE(&p->open, (int64_t)-1); }

static inline int fnn_claim(fnn_phases *p, int task, int64_t open) {
    int64_t last = FNN_LOAD(&p->claimed[task]);
    return last < fnn_phase(open) && FNN_REPLACE(&p->claimed[task], last, fnn_phase(open));
}

/* returns whether it was the last task of its phase */
static inline int fnn_finish(fnn_phases *p, int64_t open) {
    return FNN_INCREMENT(&p->done) == fnn_tasks(open);
}

/* FNN_SPINS take some 50 us: longer than a step of a small net, shorter than a time slice.  A
 * thread that waits longer waits for one that has lost its core in the middle of a task.  Then
 * sleeping helps: the system moves that thread to an idle core, but not to one that merely
 * yields. */
enum { FNN_SPINS = 4000, FNN_NAP_NANOSECONDS = 20000 };

static inline void fnn_wait_a_little(int spin) {
    if (spin < FNN_SPINS) {
        FNN_PAUSE();
    } else {
#if defined(_MSC_VER)
        Sleep(0);
#else
        struct timespec nap = {0, FNN_NAP_NANOSECONDS};
        nanosleep(&nap, NULL);
#endif
    }
}

/* waits until `open` is no longer `seen`; returns its new value */
static inline int64_t fnn_await(fnn_phases *p, int64_t seen) {
    int64_t open;
    for (int spin = 0; (open = FNN_LOAD(&p->open)) == seen; spin++) fnn_wait_a_little(spin);
    return open;
}

/* Call this at the end of the parallel region.  There OpenMP would spin until the last thread
 * comes, and beside a busy program that thread waits for the very core that spins. */
static inline void fnn_leave(fnn_phases *p) {
    FNN_INCREMENT(&p->left);
    if (fnn_team_rank() == 0)
        for (int spin = 0; FNN_LOAD(&p->left) < fnn_team_size(); spin++) fnn_wait_a_little(spin);
}

/* The floating-point mode of this thread: control bits, and on x86 the flags beside them. */
static inline uint64_t fnn_float_mode(void) {
#if defined(__x86_64__) || defined(_M_X64)
    return _mm_getcsr();
#elif defined(__aarch64__) && defined(__GNUC__)
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
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

/* The two modes that our loops work in: rounding to nearest, no traps.  The caller's mode may be
 * another: some library may have changed it in this thread, and the threads of a team keep the mode
 * they were started with.  Both functions return the mode to restore.
 *
 * To train, subnormals are flushed to zero and read as zero: decaying optimizer state and saturated
 * units make them, and they cost tens to hundreds of cycles each. */
static inline uint64_t fnn_flush_subnormals(void) {
    uint64_t mode = fnn_float_mode();
#if defined(__x86_64__) || defined(_M_X64)
    fnn_restore_float_mode(0x1F80u | 0x8040u);
#elif defined(__aarch64__)
    fnn_restore_float_mode(1ull << 24);
#endif
    return mode;
}

/* To predict, subnormals stay.  Setting the mode costs more than reading it, so it is only set
 * where it differs.  The last six bits of x86 are flags, which any arithmetic may raise: they do
 * not count. */
static inline uint64_t fnn_keep_subnormals(void) {
    uint64_t mode = fnn_float_mode();
#if defined(__x86_64__) || defined(_M_X64)
    if ((mode & ~0x3Full) != 0x1F80u) fnn_restore_float_mode(0x1F80u);
#elif defined(__aarch64__)
    if (mode != 0) fnn_restore_float_mode(0);
#endif
    return mode;
}

static inline void fnn_after_keeping_subnormals(uint64_t mode) {
#if defined(__x86_64__) || defined(_M_X64)
    if ((mode & ~0x3Full) != 0x1F80u) fnn_restore_float_mode(mode);
#elif defined(__aarch64__)
    if (mode != 0) fnn_restore_float_mode(mode);
#else
    (void)mode;
#endif
}

#endif
