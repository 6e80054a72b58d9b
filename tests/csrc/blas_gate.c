/* blas_gate.c: a fork beside a thread in BLAS, and from within BLAS. */
#include "check.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static int patience;
#define FNN_FORK_PATIENCE patience
#include <blas_gate.c> /* of csrc/; in quotes it would be this file */

enum { FORKS = 50, SECONDS = 20 };

static long unguarded; /* threads between enter and leave, as they count themselves */
static long products;
static int stop;

static void *multiply(void *nothing) {
    while (!READ(stop)) {
        fnn_enter_blas();
        ADD(unguarded, 1);
        ADD(products, 1);
        ADD(unguarded, -1);
        fnn_leave_blas();
    }
    return nothing;
}

static int child_is_well(void) {
    pid_t child = fork();
    if (child == 0) {
        int free = unguarded == 0;
        alarm(SECONDS);
        fnn_enter_blas(); /* waits for nobody */
        fnn_leave_blas();
        /* not by _exit, where ThreadSanitizer complains of the threads that are not there */
        kill(getpid(), free && inside == 0 && forking == 0 ? SIGKILL : SIGTERM);
        _exit(1);
    }
    int status = 0;
    return waitpid(child, &status, 0) == child && WIFSIGNALED(status) &&
           WTERMSIG(status) == SIGKILL;
}

static void *enter_late(void *nothing) {
    fnn_enter_blas();
    ADD(unguarded, 1);
    return nothing;
}

static void test_who_comes_waits(void) {
    pthread_t late;
    before_fork();
    pthread_create(&late, NULL, enter_late, NULL);
    for (int i = 0; i < 500; i++) nap();
    CHECK(READ(unguarded) == 0, "went in beside a fork");
    after_in_parent();
    pthread_join(late, NULL);
    CHECK(unguarded == 1 && inside == 1, "did not go in after the fork");
    unguarded = 0;
    fnn_leave_blas();
}

void test_blas_gate(void) {
    pthread_t threads[3];
    fnn_blas_gate_prepare();
    patience = SECONDS;
    for (int t = 0; t < 3; t++) pthread_create(&threads[t], NULL, multiply, NULL);
    for (int i = 0; i < FORKS; i++) {
        for (long before = READ(products); READ(products) < before + 100;) nap();
        CHECK(child_is_well(), "fork %d beside products", i);
    }
    ADD(stop, 1);
    for (int t = 0; t < 3; t++) pthread_join(threads[t], NULL);
    CHECK(inside == 0 && forking == 0 && unguarded == 0, "all are out");
    test_who_comes_waits();
    patience = 0;
    fnn_enter_blas();
    CHECK(child_is_well(), "a fork from within");
    after_in_child(); /* once where gcov sees it: a child that ends at once tells nothing */
    CHECK(inside == 0 && forking == 0, "as in a child");
}
