/* Counts the threads inside of BLAS, and makes forks wait for them. */
#include "blas_gate.h"

#if !defined(_WIN32)

#include <pthread.h>
#include <time.h>

/* How long a fork waits.  A product takes milliseconds, or seconds where many threads share a core.
 * A signal handler that forks in the middle of its own thread's product would wait for itself, so
 * it goes on after this time.  Its child can only call exec, as after any fork in a C signal
 * handler. */
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
    /* first write, then read, as the forking thread does: so at least one of them sees the other */
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

static void after_in_child(void) { inside = forking = 0; /* the child has one thread */ }

void fnn_blas_gate_prepare(void) {
    (void)pthread_atfork(before_fork, after_in_parent, after_in_child);
}

#endif
