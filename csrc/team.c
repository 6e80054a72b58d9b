/* Forms a team of OpenMP threads, where the system may refuse one; releases it before a fork. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* syscall */
#endif
#include "team.h"

#if defined(_OPENMP) && !defined(_MSC_VER)

#include <pthread.h>
#include <stdlib.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* The number of threads in the calling thread's team, stored as a pointer.  A key and not a
 * _Thread_local variable: glibc allocates those when a thread first reads them, and aborts where
 * there is no memory. */
static pthread_key_t formed;
static int has_key;
static pthread_mutex_t forming = PTHREAD_MUTEX_INITIALIZER;

static int formed_threads(void) { return has_key ? (int)(intptr_t)pthread_getspecific(formed) : 0; }

static void set_formed_threads(int threads) {
    if (has_key) (void)pthread_setspecific(formed, (void *)(intptr_t)threads);
}

typedef struct {
    pthread_mutex_t *gate;
    pthread_t thread;
    long id;
} trial;

static void *pass_the_gate(void *argument) {
    trial *t = argument;
#if defined(__linux__)
    t->id = syscall(SYS_gettid);
#endif
    pthread_mutex_lock(t->gate);
    pthread_mutex_unlock(t->gate);
    return NULL;
}

/* A thread that has been joined still counts in the limits until the kernel has let go of it,
 * usually 30 us later.  Wait for that, but some milliseconds at most: another thread may have the
 * id by now. */
static void wait_until_gone(const trial *t) {
#if defined(__linux__)
    struct timespec nap = {0, 20000};
    for (int i = 0; i < 200 && syscall(SYS_tgkill, getpid(), t->id, 0) == 0; i++)
        nanosleep(&nap, NULL);
#else
    (void)t;
#endif
}

/* Whether `count` more threads can live at a time: start them and see. */
static int can_start(int count) {
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    trial *trials = malloc((size_t)count * sizeof *trials);
    int started = 0;
    if (trials == NULL) return 0;
    pthread_mutex_lock(&gate);
    for (; started < count; started++) {
        trials[started].gate = &gate;
        if (pthread_create(&trials[started].thread, NULL, pass_the_gate, &trials[started])) break;
    }
    pthread_mutex_unlock(&gate);
    for (int i = 0; i < started; i++) pthread_join(trials[i].thread, NULL);
    for (int i = 0; i < started; i++) wait_until_gone(&trials[i]);
    free(trials);
    return started == count;
}

int fnn_team_form(int threads) {
    int before = formed_threads(), possible = 1, size = 0;
    if (before < 1) before = 1;
    if (threads > before) {
        pthread_mutex_lock(&forming);
        possible = can_start(threads - before);
        if (possible) {
#pragma omp parallel num_threads(threads) reduction(+ : size)
            size += 1;
        }
        pthread_mutex_unlock(&forming);
        (void)size;
    }
    /* after a region of fewer threads OpenMP lets the others go */
    if (possible && threads != before) set_formed_threads(threads);
    return possible;
}

static void before_fork(void) {
    /* This releases the team of the calling thread only.  The teams of other threads need nothing:
     * these threads do not exist in the child.  (gcc has the function since version 9, which still
     * says OpenMP 4.5.) */
#if _OPENMP >= 201811 || (defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 9)
    omp_pause_resource_all(omp_pause_hard);
#endif
    set_formed_threads(0);
    pthread_mutex_lock(&forming);
}

static void after_fork(void) { pthread_mutex_unlock(&forming); }

void fnn_team_prepare(void) {
    has_key = pthread_key_create(&formed, NULL) == 0;
    (void)omp_get_max_threads(); /* LLVM's OpenMP reads its environment at the first call */
    (void)pthread_atfork(before_fork, after_fork, after_fork);
}

#else

void fnn_team_prepare(void) {
#ifdef _OPENMP
    (void)omp_get_max_threads();
#endif
}

int fnn_team_form(int threads) {
    (void)threads;
    return 1;
}

#endif
