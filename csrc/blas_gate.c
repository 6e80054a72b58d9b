/* Who is inside of BLAS, and forks that wait for them. */
#include "blas_gate.h"

#if !defined(_WIN32)

#include <pthread.h>
#include <time.h>

/* A product takes milliseconds, seconds where many threads share a core.  Who forks in a signal
 * handler in the midst of its own product would wait for itself: it goes on after that long.  Its
 * child, as that of any fork in a C handler, is good for an exec alone. */
#ifndef FNN_FORK_PATIENCE
#define FNN_FORK_PATIENCE 10 /* seconds */
#endif

static long inside;  /* threads */
static long forking; /* threads that wait, or fork */

#define READ(counter) __atomic_load_n(&(counter), __ATOMIC_SEQ_CST)
#define ADD(counter, n) ((void)__atomic_add_fetch(&(counter), (n), __ATOMIC_SEQ_CST))

static void nap(void) {
    struct timespec some = {0, 20000};
    nanosleep(&some, NULL);
}

static time_t seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

void fnn_enter_blas(void) {
    /* in this order, as the other side: at least one of the two sees the other */
    ADD(inside, 1);
    while (READ(forking) > 0) {
        ADD(inside, -1);
        while (READ(forking) > 0) nap();
        ADD(inside, 1);
    }
}

void fnn_leave_blas(void) { ADD(inside, -1); }

static void before_fork(void) {
    ADD(forking, 1);
    for (time_t start = seconds(); READ(inside) > 0 && seconds() - start < FNN_FORK_PATIENCE;)
        nap();
}

static void after_in_parent(void) { ADD(forking, -1); }

static void after_in_child(void) { inside = forking = 0; /* one thread is left */ }

void fnn_blas_gate_prepare(void) {
    (void)pthread_atfork(before_fork, after_in_parent, after_in_child);
}

#endif
