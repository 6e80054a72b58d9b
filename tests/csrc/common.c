/* Random numbers, the registry of names, and the choice of the instruction set. */
#include "check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "simd.h"
#include "random.h"

/* ---- random.h ---- */

/* the known answers of the authors' library, Random123 */
static void test_philox(void) {
    static const struct { uint32_t counter[4]; uint64_t key; uint32_t word[4]; } known[] = {
        {{0, 0, 0, 0}, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{~0u, ~0u, ~0u, ~0u}, ~(uint64_t)0, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0x299f31d0a4093822u,
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    uint32_t word[4][RANDOM_LANES];
    for (int i = 0; i < LENGTH(known); i++) {
        const uint32_t *c = known[i].counter;
        philox(known[i].key, c[0], c[1], c[2], c[3], word);
        for (int w = 0; w < 4; w++) {
            CHECK(reference_philox(known[i].key, c, w) == known[i].word[w], "the slow Philox");
            for (uint32_t l = 0; l < RANDOM_LANES; l++) {
                uint32_t counter[4] = {c[0] + l, c[1], c[2], c[3]};
                CHECK(word[w][l] == reference_philox(known[i].key, counter, w), "philox");
            }
        }
    }
}

static void check_shuffle(const fnn_kernels *kernels, ptrdiff_t n) {
    ptrdiff_t *order = buffer((size_t)n * sizeof(ptrdiff_t));
    ptrdiff_t *other = buffer((size_t)n * sizeof(ptrdiff_t));
    unsigned char *seen = buffer((size_t)n);
    memset(seen, 0, (size_t)n);
    kernels->shuffle(n, 1, 2, order);
    for (ptrdiff_t i = 0; i < n; i++) {
        CHECK(order[i] >= 0 && order[i] < n, "shuffle (%td): %td", n, order[i]);
        if (order[i] >= 0 && order[i] < n) seen[order[i]]++;
    }
    for (ptrdiff_t i = 0; i < n; i++) CHECK(seen[i] == 1, "shuffle (%td): %td", n, i);
    shuffle(n, 1, 2, other);
    CHECK(!memcmp(order, other, (size_t)n * sizeof(*order)), "shuffle (%td): not the plain one", n);
    for (uint64_t changed = 0; n > 30 && changed < 2; changed++) {
        kernels->shuffle(n, 1 + changed, 3 - changed, other);
        CHECK(memcmp(order, other, (size_t)n * sizeof(*order)), "shuffle (%td): no other one", n);
    }
    release_buffers();
}

void test_random(const fnn_kernels *kernels) {
    static const ptrdiff_t sizes[] = {0, 1, 2, 3, 31, 32, 33, 63, 64, 65, 127, 129, 1000};
    enum { DRAWS = 6000 };
    int found[6] = {0};
    test_philox();
    FOR_EACH(ptrdiff_t, n, sizes) check_shuffle(kernels, *n);
    check_shuffle(kernels, 400000); /* so large that some numbers are drawn again: no bias */
    for (uint64_t stream = 0; stream < DRAWS; stream++) {
        ptrdiff_t order[3];
        kernels->shuffle(3, 5, stream, order);
        found[2 * order[0] + (order[1] > order[2])]++;
    }
    for (int i = 0; i < 6; i++) /* within 5 standard deviations */
        CHECK(abs(found[i] - DRAWS / 6) < 145, "shuffle: %d of %d", found[i], DRAWS);
}

/* ---- registry.c ---- */

/* all factors of Dozat's product, however small it is by then */
static void test_nadam(int t) {
    static const double h[4] = {0.9, 0.99, 1e-3, 0.5};
    double c[FNN_N_COEFFICIENTS], product = 1, mu = 0, next = h[0] * (1 - 0.5 * pow(0.96, h[3]));
    for (int i = 1; i <= t; i++) {
        mu = next;
        product *= mu;
        next = h[0] * (1 - 0.5 * pow(0.96, (i + 1) * h[3]));
    }
    double root = sqrt(1 - pow(h[1], t));
    double want[] = {h[0], 1 - h[0], h[1], 1 - h[1], 0.1 * root * (1 - mu) / (1 - product),
                     0.1 * root * next / (1 - product * next), h[2] * root};
    fnn_step_coefficients(FNN_OPT_nadam, t, 0.1, h, c);
    for (int i = 0; i < LENGTH(want); i++)
        CHECK(is_near(c[i], want[i], 0, 1e-14), "nadam, step %d: c[%d] is %.17g, want %.17g", t, i,
              c[i], want[i]);
}

void test_registry(void) {
    static const double h[4] = {0.5, 0.5, 0.5, 0.5};
    double c[FNN_N_COEFFICIENTS];
    for (int i = 0; i < FNN_N_ACTIVATIONS; i++)
        CHECK(fnn_activations[i].needs_z == 0 || fnn_activations[i].needs_z == 1, "activations");
    for (const fnn_alias_info *a = fnn_aliases; a->alias; a++) {
        int known = 0;
        for (int i = 0; i < FNN_N_ACTIVATIONS; i++)
            known |= !strcmp(a->name, fnn_activations[i].name);
        CHECK(known, "%s is another name of nothing", a->alias);
    }
    for (int i = 0; i < FNN_N_LOSSES; i++) {
        const char *reduction = fnn_losses[i].reduction;
        CHECK(!strcmp(reduction, "sum") || !strcmp(reduction, "mean") || !strcmp(reduction, "half"),
              "%s", fnn_losses[i].name);
    }
    for (int f = 0; f < FNN_N_OPTIMIZERS; f++) {
        int n_set = 0;
        fnn_step_coefficients(f, 1, 0.1, h, c);
        for (int i = 0; i < FNN_N_COEFFICIENTS; i++) n_set += c[i] != 0 && isfinite(c[i]);
        CHECK(n_set > 0, "%s: no coefficients", fnn_optimizers[f].name);
        CHECK(fnn_optimizers[f].n_state >= 0 && fnn_optimizers[f].n_state <= 3, "states");
    }
    fnn_step_coefficients(FNN_N_OPTIMIZERS, 1, 0.1, h, c);
    for (int i = 0; i < FNN_N_COEFFICIENTS; i++) CHECK(c[i] == 0, "an unknown optimizer");
    /* the switches inside the rows of sgd and adam: each changes something */
    static const struct { int optimizer; double h[2][4]; } switches[] = {
        {FNN_OPT_sgd, {{0.9, 0, 0}, {0.9, 1, 0}}},
        {FNN_OPT_sgd, {{0.9, 0, 0}, {0.9, 0, 1}}},
        {FNN_OPT_sgd, {{0.9, 0, 1}, {0.9, 1, 1}}},
        {FNN_OPT_adam, {{0.9, 0.99, 1e-3, 0}, {0.9, 0.99, 1e-3, 1}}},
        {FNN_OPT_amsgrad, {{0.9, 0.99, 1e-3, 0}, {0.9, 0.99, 1e-3, 1}}},
    };
    for (int i = 0; i < LENGTH(switches); i++) {
        double other[FNN_N_COEFFICIENTS];
        fnn_step_coefficients(switches[i].optimizer, 1, 0.1, switches[i].h[0], c);
        fnn_step_coefficients(switches[i].optimizer, 1, 0.1, switches[i].h[1], other);
        CHECK(memcmp(c, other, sizeof c), "switch %d changes nothing", i);
    }
    for (int t = 1; t < 2000; t += t) test_nadam(t);
}
