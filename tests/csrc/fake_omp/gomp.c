/* The few functions of libgomp that fastnn calls, by POSIX threads that are made and joined for each
 * region.  Preloaded, it lets ThreadSanitizer see how teams start, share loops and end: libgomp's own
 * barriers, of futexes in code without instrumentation, it takes for races. */
#include <omp.h>

#include <pthread.h>
#include <stdlib.h>

enum { MAX_LOOPS = 16 }; /* of one region */

typedef struct {
    void (*region)(void *);
    void *data;
    int size;
    pthread_barrier_t barrier;
    pthread_mutex_t lock;
    int begun; /* loops that some thread has come to */
    struct { long next, end, step; } loops[MAX_LOOPS];
} team;

typedef struct { team *team; int rank, loop; } member;

static _Thread_local member *self;

int omp_get_num_threads(void) { return self ? self->team->size : 1; }
int omp_get_thread_num(void) { return self ? self->rank : 0; }
int omp_pause_resource_all(int kind) { return (void)kind, 0; }

int omp_get_max_threads(void) {
    const char *wanted = getenv("OMP_NUM_THREADS");
    return wanted && atoi(wanted) > 0 ? atoi(wanted) : 2;
}

static void *take_part(void *argument) {
    member *outside = self;
    self = argument;
    self->team->region(self->team->data);
    self = outside;
    return NULL;
}

void GOMP_parallel(void (*region)(void *), void *data, unsigned size, unsigned flags);
void GOMP_parallel(void (*region)(void *), void *data, unsigned size, unsigned flags) {
    (void)flags;
    int n = size ? (int)size : omp_get_max_threads();
    team t = {.region = region, .data = data, .size = n};
    member *members = calloc((size_t)n, sizeof(member));
    pthread_t *threads = calloc((size_t)n, sizeof(pthread_t));
    pthread_barrier_init(&t.barrier, NULL, (unsigned)n);
    pthread_mutex_init(&t.lock, NULL);
    if (!members || !threads) abort();
    for (int rank = 0; rank < n; rank++) members[rank] = (member){.team = &t, .rank = rank};
    for (int rank = 1; rank < n; rank++)
        if (pthread_create(&threads[rank], NULL, take_part, &members[rank])) abort();
    take_part(&members[0]);
    for (int rank = 1; rank < n; rank++) pthread_join(threads[rank], NULL);
    pthread_mutex_destroy(&t.lock);
    pthread_barrier_destroy(&t.barrier);
    free(threads);
    free(members);
}

void GOMP_barrier(void);
void GOMP_barrier(void) {
    if (self) pthread_barrier_wait(&self->team->barrier);
}

_Bool GOMP_loop_nonmonotonic_dynamic_next(long *from, long *to);
_Bool GOMP_loop_nonmonotonic_dynamic_next(long *from, long *to) {
    team *t = self->team;
    pthread_mutex_lock(&t->lock);
    long at = t->loops[self->loop].next, end = t->loops[self->loop].end;
    long step = t->loops[self->loop].step;
    _Bool left = step > 0 ? at < end : at > end;
    if (left) {
        *from = at;
        *to = (step > 0 ? at + step < end : at + step > end) ? at + step : end;
        t->loops[self->loop].next = *to;
    }
    pthread_mutex_unlock(&t->lock);
    return left;
}

_Bool GOMP_loop_nonmonotonic_dynamic_start(long start, long end, long step, long chunk, long *from,
                                           long *to);
_Bool GOMP_loop_nonmonotonic_dynamic_start(long start, long end, long step, long chunk, long *from,
                                           long *to) {
    team *t = self->team;
    pthread_mutex_lock(&t->lock);
    if (self->loop == MAX_LOOPS) abort();
    if (self->loop == t->begun) {
        t->loops[t->begun].next = start;
        t->loops[t->begun].end = end;
        t->loops[t->begun].step = step * chunk;
        t->begun++;
    }
    pthread_mutex_unlock(&t->lock);
    return GOMP_loop_nonmonotonic_dynamic_next(from, to);
}

void GOMP_loop_end_nowait(void);
void GOMP_loop_end_nowait(void) { self->loop++; }
