/* Loaded before the C library: lets memory and threads run out when a test says so.
 *
 * Allocations are those that libraries make whose file names contain one of the parts in FAULTS_IN,
 * colon separated.  They are told by the return address, so the calls of others, libc's own, the
 * linker's and OpenMP's (which ends the process without memory), pass. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory ---- */

enum { MAX_RANGES = 512, LIVE = 1 << 16 };
static struct { uintptr_t from, to; } ranges[MAX_RANGES];
static int n_ranges;
static long seen, fail_at = -1, fail_until = -1; /* the allocations from..until fail, from 0 */
static int counts;
static void *live[LIVE]; /* what was allocated while `counts`, and is not free yet */
static pthread_mutex_t live_lock = PTHREAD_MUTEX_INITIALIZER;

/* where the allocations go that do not fail: AddressSanitizer has names of its own */
#ifdef FAULTS_SANITIZED
#define NEXT(name) __interceptor_##name
#else
#define NEXT(name) __libc_##name
#endif
extern void *NEXT(malloc)(size_t);
extern void *NEXT(calloc)(size_t, size_t);
extern void *NEXT(realloc)(void *, size_t);
extern void *NEXT(memalign)(size_t, size_t);
extern void NEXT(free)(void *);

static int add_ranges(struct dl_phdr_info *info, size_t size, void *parts) {
    char copy[1024];
    char *rest;
    int wanted = 0;
    (void)size;
    snprintf(copy, sizeof copy, "%s", (const char *)parts);
    for (char *part = strtok_r(copy, ":", &rest); part; part = strtok_r(NULL, ":", &rest))
        wanted |= strcmp(part, "main") ? strstr(info->dlpi_name, part) != NULL
                                       : info->dlpi_name[0] == 0; /* the program itself */
    for (int i = 0; wanted && i < info->dlpi_phnum && n_ranges < MAX_RANGES; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD && info->dlpi_phdr[i].p_flags & PF_X) {
            ranges[n_ranges].from = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            ranges[n_ranges].to = ranges[n_ranges].from + info->dlpi_phdr[i].p_memsz;
            n_ranges++;
        }
    return 0;
}

/* after the libraries are loaded: number of code ranges found */
int faults_in(const char *parts) {
    n_ranges = 0;
    dl_iterate_phdr(add_ranges, (void *)parts);
    return n_ranges;
}

void faults_start(long from, long until) {
    __atomic_store_n(&seen, 0, __ATOMIC_SEQ_CST);
    fail_at = from;
    fail_until = until;
    __atomic_store_n(&counts, 1, __ATOMIC_SEQ_CST);
}

/* number of allocations since faults_start */
long faults_stop(void) {
    __atomic_store_n(&counts, 0, __ATOMIC_SEQ_CST);
    return __atomic_load_n(&seen, __ATOMIC_SEQ_CST);
}

/* blocks that were taken between start and stop and are not free */
long faults_live(void) {
    long found = 0;
    pthread_mutex_lock(&live_lock);
    for (int i = 0; i < LIVE; i++) found += live[i] != NULL;
    pthread_mutex_unlock(&live_lock);
    return found;
}

static int is_ours(void *caller) {
    for (int i = 0; i < n_ranges; i++)
        if ((uintptr_t)caller >= ranges[i].from && (uintptr_t)caller < ranges[i].to) return 1;
    return 0;
}

/* 0: not counted, 1: counted, 2: to fail */
static int verdict(void *caller) {
    if (!__atomic_load_n(&counts, __ATOMIC_RELAXED) || !is_ours(caller)) return 0;
    long number = __atomic_fetch_add(&seen, 1, __ATOMIC_SEQ_CST);
    return number >= fail_at && number < fail_until ? 2 : 1;
}

static void *keep(int counted, void *block) {
    if (!counted || !block) return block;
    pthread_mutex_lock(&live_lock);
    for (size_t i = 0, at = (uintptr_t)block >> 4; i < LIVE; i++, at++)
        if (live[at % LIVE] == NULL) {
            live[at % LIVE] = block;
            break;
        }
    pthread_mutex_unlock(&live_lock);
    return block;
}

static int any_kept;

static void forget(void *block) {
    if (!block || !__atomic_load_n(&any_kept, __ATOMIC_RELAXED)) return;
    pthread_mutex_lock(&live_lock);
    /* no early end at an empty place: places are emptied in any order; near, usually */
    for (size_t i = 0, at = (uintptr_t)block >> 4; i < 64; i++, at++)
        if (live[at % LIVE] == block) {
            live[at % LIVE] = NULL;
            break;
        }
    pthread_mutex_unlock(&live_lock);
}

/* whether blocks are followed until they are free; slower */
void faults_follow(int on) { __atomic_store_n(&any_kept, on, __ATOMIC_SEQ_CST); }

#define DECIDE                                                                                     \
    int counted = verdict(__builtin_return_address(0));                                            \
    if (counted == 2) {                                                                            \
        errno = ENOMEM;                                                                            \
        return NULL;                                                                               \
    }                                                                                              \
    counted = counted && __atomic_load_n(&any_kept, __ATOMIC_RELAXED)

void *malloc(size_t size) {
    DECIDE;
    return keep(counted, NEXT(malloc)(size));
}

void *calloc(size_t count, size_t size) {
    DECIDE;
    return keep(counted, NEXT(calloc)(count, size));
}

void *realloc(void *block, size_t size) {
    DECIDE;
    void *moved = NEXT(realloc)(block, size);
    if (moved) forget(block);
    return keep(counted, moved);
}

void *aligned_alloc(size_t alignment, size_t size) {
    DECIDE;
    return keep(counted, NEXT(memalign)(alignment, size));
}

int posix_memalign(void **block, size_t alignment, size_t size) {
    int counted = verdict(__builtin_return_address(0));
    if (counted == 2) return ENOMEM;
    counted = counted && __atomic_load_n(&any_kept, __ATOMIC_RELAXED);
    void *found = NEXT(memalign)(alignment, size);
    if (!found) return ENOMEM;
    *block = keep(counted, found);
    return 0;
}

void free(void *block) {
    forget(block);
    NEXT(free)(block);
}

/* ---- threads ---- */

static long most_threads = -1;

/* pthread_create fails while the process has so many threads; negative: never */
void faults_threads(long most) { __atomic_store_n(&most_threads, most, __ATOMIC_SEQ_CST); }

static long threads_now(void) {
    char line[256];
    long found = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "Threads: %ld", &found) == 1) break;
    if (file) fclose(file);
    return found;
}

typedef int create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *),
                   void *argument) {
    static create *original;
    long most = __atomic_load_n(&most_threads, __ATOMIC_SEQ_CST);
    if (original == NULL) original = (create *)dlsym(RTLD_NEXT, "pthread_create");
    if (most >= 0 && threads_now() >= most) return EAGAIN;
    return original(thread, attributes, start, argument);
}
