/* team.h and team.c with a team of POSIX threads in the place of OpenMP's. */
#include "check.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define _OPENMP 201811
#include <omp.h> /* fake_omp/ is on the path of headers */

/* A compare-and-exchange that another thread gets ahead of happens too seldom to wait for. */
static int loses_the_race;
#define __atomic_compare_exchange_n(...)                                                           \
    (loses_the_race ? 0 : __atomic_compare_exchange_n(__VA_ARGS__))
/* what the system may refuse */
static int no_thread, no_memory, no_key;
static int create(pthread_t *thread, const pthread_attr_t *how, void *(*run)(void *), void *it) {
    return no_thread && --no_thread == 0 ? EAGAIN : pthread_create(thread, how, run, it);
}
static void *allocate(size_t size) { return no_memory ? NULL : malloc(size); }
static int create_key(pthread_key_t *key, void (*destroy)(void *)) {
    return no_key ? EAGAIN : pthread_key_create(key, destroy);
}
static int at_fork(void (*before)(void), void (*parent)(void), void (*child)(void)) {
    return no_key ? 0 : pthread_atfork(before, parent, child);
}
/* functions, for branches of macros would be counted as those of team.c */
#define pthread_create create
#define malloc allocate
#define pthread_key_create create_key
#define pthread_atfork at_fork
#pragma GCC diagnostic ignored "-Wunknown-pragmas"
#include <team.c> /* of csrc/; in quotes it would be this file */
#undef pthread_create
#undef malloc

enum { THREADS = 4, PHASES = 2000, SLOW_PHASE = 1000 };

static _Thread_local int rank;
static int asked, released;
int omp_get_num_threads(void) { return THREADS; }
int omp_get_thread_num(void) { return rank; }
int omp_get_max_threads(void) { return asked++, THREADS; }
int omp_pause_resource_all(int kind) { return released += kind == omp_pause_hard, 0; }

/* Plain memory, as the epoch loop has it: only the phases order what the threads do with it. */
static struct {
    fnn_phases phases;
    int phase, tasks;
    int64_t done[FNN_MAX_TASKS];
    int64_t total, expected;
} job;

static void open_next(void) {
    if (++job.phase == PHASES) {
        fnn_close(&job.phases);
        return;
    }
    job.tasks = job.phase % 97 == 0 ? FNN_MAX_TASKS : 1 + job.phase * 7 % 9;
    fnn_open_phase(&job.phases, job.tasks);
}

static void end_phase(void) {
    for (int task = 0; task < job.tasks; task++) {
        CHECK(job.done[task] == job.phase, "phase %d: task %d", job.phase, task);
        job.total++;
    }
    job.expected += job.tasks;
    if (job.phase == SLOW_PHASE) { /* so long that the others take a nap */
        struct timespec nap = {0, 5000000};
        nanosleep(&nap, NULL);
    }
    open_next();
}

static void *work(void *my_rank) {
    rank = *(int *)my_rank;
    int64_t open = fnn_await(&job.phases, 0);
    while (open >= 0) {
        int tasks = fnn_tasks(open);
        for (int i = 0; i < tasks; i++) {
            int task = (rank * tasks / fnn_team_size() + i) % tasks;
            if (!fnn_claim(&job.phases, task, open)) continue;
            job.done[task] = job.phase;
            if (fnn_finish(&job.phases, open)) end_phase();
        }
        open = fnn_await(&job.phases, open);
    }
    struct timespec nap = {0, 5000000};
    if (rank > 0) nanosleep(&nap, NULL); /* the first one has to wait */
    fnn_leave(&job.phases);
    if (rank == 0) CHECK(job.phases.left >= THREADS, "left before the others");
    return NULL;
}

static void test_phases(void) {
    pthread_t threads[THREADS];
    int ranks[THREADS];
    memset(&job, 0, sizeof job);
    for (int i = 0; i < THREADS; i++) {
        ranks[i] = i;
        if (pthread_create(&threads[i], NULL, work, &ranks[i])) CHECK(0, "no thread");
    }
    struct timespec nap = {0, 5000000}; /* they wait for the first phase */
    nanosleep(&nap, NULL);
    job.phase = 0;
    open_next();
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    CHECK(job.total == job.expected && job.phase == PHASES, "%lld tasks", (long long)job.total);
}

static void test_claims(void) {
    fnn_phases p;
    memset(&p, 0, sizeof p);
    fnn_open_phase(&p, 2);
    int64_t first = fnn_await(&p, 0);
    CHECK(fnn_phase(first) == 1 && fnn_tasks(first) == 2, "the first phase");
    loses_the_race = 1;
    CHECK(!fnn_claim(&p, 0, first), "claimed, though another thread was ahead");
    loses_the_race = 0;
    CHECK(fnn_claim(&p, 0, first) && !fnn_claim(&p, 0, first), "a task is claimed once");
    CHECK(!fnn_finish(&p, first), "one of two is finished");
    CHECK(fnn_claim(&p, 1, first) && fnn_finish(&p, first), "the last one");
    fnn_open_phase(&p, 1);
    int64_t second = fnn_await(&p, first);
    CHECK(fnn_claim(&p, 0, second), "the second phase");
    CHECK(!fnn_claim(&p, 0, first), "a task of a phase that is over");
    fnn_close(&p);
    CHECK(fnn_await(&p, second) < 0, "closed");
    int64_t value = 4;
    CHECK(!FNN_REPLACE(&value, 5, 6) && value == 4, "replaced another value");
}

static void test_float_mode(void) {
    volatile double tiny = 1e-310, factor = 1, flushed, kept;
    const char *preloaded = getenv("LD_PRELOAD");
    if (preloaded && strstr(preloaded, "vgpreload")) return; /* valgrind knows no such mode */
    uint64_t mode = fnn_flush_subnormals();
    flushed = tiny * factor;
    fnn_restore_float_mode(mode);
    kept = tiny * factor;
    CHECK(flushed == 0, "a subnormal number is not flushed");
    CHECK(kept != 0, "the float mode is not restored");
    mode = fnn_flush_subnormals();
    uint64_t found = fnn_keep_subnormals();
    kept = tiny * factor;
    fnn_after_keeping_subnormals(found);
    flushed = tiny * factor;
    fnn_restore_float_mode(mode);
    CHECK(kept != 0, "a subnormal number is not kept");
    CHECK(flushed == 0, "the caller's mode is not restored");
    found = fnn_keep_subnormals();
    CHECK(found == mode, "a plain mode is another one");
    fnn_after_keeping_subnormals(found);
    CHECK(tiny * factor != 0, "a plain mode is not left alone");
}

static void test_forming(void) {
    no_key = 1; /* then nothing is remembered, and each team is tried */
    fnn_team_prepare();
    CHECK(fnn_team_form(3) && fnn_team_form(3) && formed_threads() == 0, "without a key");
    no_key = 0;
    fnn_team_prepare();
    CHECK(asked == 2, "OpenMP was not asked");
    no_memory = 1;
    CHECK(!fnn_team_form(3) && formed_threads() == 0, "without memory");
    no_memory = 0;
    for (int refused = 1; refused <= 2; refused++) {
        no_thread = refused;
        CHECK(!fnn_team_form(3) && formed_threads() == 0, "thread %d is refused", refused);
    }
    CHECK(fnn_team_form(3) && formed_threads() == 3, "three threads");
    no_thread = 1;
    CHECK(fnn_team_form(3) && fnn_team_form(2) && no_thread == 1, "the others are there already");
    CHECK(formed_threads() == 2 && !fnn_team_form(3) && formed_threads() == 2, "refused later");
    CHECK(fnn_team_form(1) && formed_threads() == 1, "alone");
    CHECK(fnn_team_form(4) && released == 0, "four threads");
    trial gone = {NULL, pthread_self(), syscall(SYS_gettid)};
    wait_until_gone(&gone); /* in vain, for this thread lives: some milliseconds */
    pid_t child = fork();
    if (child == 0) _exit(released == 1 && formed_threads() == 0 && fnn_team_form(3) ? 0 : 1);
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0, "the child has no team of its own");
    CHECK(released == 1 && formed_threads() == 0 && fnn_team_form(2), "released before the fork");
}

void test_team(void) {
    double start = fnn_seconds();
    test_forming();
    test_claims();
    test_phases();
    test_float_mode();
    CHECK(fnn_seconds() >= start, "the clock went back");
}
