#include "check.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MAX_BUFFERS = 64, SLOT = 1 << 24, MOST_SHOWN = 20 };

static enum { MALLOC, AFTER, BEFORE } place = MALLOC;
static void *allocated[MAX_BUFFERS];
static char *slots[MAX_BUFFERS];
static int in_use;
static int failures;
static uint64_t state = 1;

void check_failed(const char *file, int line, const char *format, ...) {
    va_list arguments;
    if (++failures > MOST_SHOWN) exit(1);
    printf("%s:%d: ", strrchr(file, '/') ? strrchr(file, '/') + 1 : file, line);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
}

int choose_buffers(const char *where) {
    static const char *const names[] = {"malloc", "after", "before"};
    for (int i = 0; i < 3; i++)
        if (!strcmp(where, names[i])) {
            place = i;
            return 1;
        }
    return 0;
}

/* a slot stays mapped for the next case: a page without access, SLOT bytes, another such page */
static void *slot(size_t bytes) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (bytes > SLOT) abort();
    if (!slots[in_use]) {
        char *map = mmap(NULL, SLOT + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (map == MAP_FAILED || mprotect(map + page, SLOT, PROT_READ | PROT_WRITE)) abort();
        slots[in_use] = map + page;
    }
    return place == AFTER ? slots[in_use] + SLOT - bytes : slots[in_use];
}

void *buffer(size_t bytes) {
    if (in_use == MAX_BUFFERS) abort();
    void *p = place == MALLOC ? malloc(bytes) : slot(bytes);
    if (!p && bytes) abort();
    memset(p, 0xff, bytes);
    if (place == MALLOC) allocated[in_use] = p;
    in_use++;
    return p;
}

void release_buffers(void) {
    while (in_use > 0) {
        in_use--;
        free(allocated[in_use]);
        allocated[in_use] = NULL;
    }
}

uint32_t random_word(void) { /* xorshift64* (Vigna 2016) */
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)(state * 2685821657736338717u >> 32);
}

double random_real(double low, double high) { return low + (high - low) * random_word() * 0x1p-32; }

int is_near(double got, double want, double size, double tolerance) {
    if (isnan(want)) return isnan(got);
    if (isinf(want)) return got == want;
    return fabs(got - want) <= tolerance * fmax(fmax(1, fabs(want)), size);
}

static void test_kernels(const fnn_kernels *kernels) {
    test_elementwise(kernels);
    test_losses(kernels);
    test_products(kernels);
    test_updates(kernels);
    test_norm(kernels);
    test_steps(kernels);
    test_members(kernels);
    test_layers(kernels);
    test_lookup(kernels);
    test_random(kernels);
}

static int usage(void) {
    printf("usage: check list | check common | check ISA malloc|after|before\n");
    return 2;
}

/* list: the instruction sets that run here, best first; common: what is the same for all of them */
int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc == 2 && !strcmp(what, "list")) {
        for (const fnn_kernels *const *k = fnn_built(); *k; k++)
            if (fnn_runs(*k)) printf("%s\n", (*k)->name);
        return 0;
    }
    if (argc == 2 && !strcmp(what, "common")) {
        test_registry();
        test_dispatch();
        test_serial_team();
        test_team();
        test_blas_gate();
        return failures > 0;
    }
    if (argc != 3 || !choose_buffers(argv[2])) return usage();
    for (const fnn_kernels *const *k = fnn_built(); *k; k++)
        if (!strcmp(what, (*k)->name) && fnn_runs(*k)) {
            test_kernels(*k);
            return failures > 0;
        }
    return usage();
}
