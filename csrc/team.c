/* Forming a team of OpenMP threads where a thread may be refused, and releasing it before a fork. */
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

/* Threads of the calling thread's team, as a pointer.  A key and no _Thread_local: of that glibc
 * takes the memory when a thread first looks at it, and aborts where there is none. */
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

/* A thread that has been joined still counts in the limits until the kernel has let go of it: 30 us
 * usually.  At most some milliseconds; the number may have been given to another thread. */
static void wait_until_gone(const trial *t) {
#if defined(__linux__)
    struct timespec nap = {0, 20000};
    for (int i = 0; i < 200 && syscall(SYS_tgkill, getpid(), t->id, 0) == 0; i++)
        nanosleep(&nap, NULL);
#else
    (void)t;
#endif
}

/* Whether so many more threads can live at a time: by starting them. */
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
    /* a region of fewer threads lets the others of the team go */
    if (possible && threads != before) set_formed_threads(threads);
    return possible;
}

static void before_fork(void) {
    /* Of the calling thread only; other threads, and their teams, are not there in the child.  (gcc
     * has the function since 9, while it still says OpenMP 4.5.) */
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
