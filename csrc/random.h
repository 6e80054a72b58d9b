/* Random numbers as a function of a key and a counter, without a state: Philox4x32-10 (Salmon et
 * al. 2011).  Every thread can compute every number. */
#ifndef FNN_RANDOM_H
#define FNN_RANDOM_H

#include <stdint.h>

enum { RANDOM_LANES = 16 };

/* word[w][l]: word w of the counter (first + l, c1, c2, c3) under a key */
ALWAYS_INLINE void philox(uint64_t key, uint32_t first, uint32_t c1, uint32_t c2, uint32_t c3,
                          uint32_t word[4][RANDOM_LANES]) {
    for (uint32_t l = 0; l < RANDOM_LANES; l++) {
        uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
        uint32_t w0 = first + l, w1 = c1, w2 = c2, w3 = c3;
        for (int round = 0; round < 10; round++) {
            uint64_t p = (uint64_t)0xD2511F53u * w0, q = (uint64_t)0xCD9E8D57u * w2;
            w0 = (uint32_t)(q >> 32) ^ w1 ^ k0;
            w2 = (uint32_t)(p >> 32) ^ w3 ^ k1;
            w1 = (uint32_t)q;
            w3 = (uint32_t)p;
            k0 += 0x9E3779B9u;
            k1 += 0xBB67AE85u;
        }
        word[0][l] = w0, word[1][l] = w1, word[2][l] = w2, word[3][l] = w3;
    }
}

/* order (n) = a random permutation of 0..n-1, n < 2^32; another one for each seed and stream.
 * Shuffle: Durstenfeld 1964; random numbers below a bound, without bias: Lemire 2019. */
static void shuffle(ptrdiff_t n, uint64_t seed, uint64_t stream, ptrdiff_t *order) {
    uint32_t word[4][RANDOM_LANES], block = 0;
    const uint32_t *random = &word[0][0];
    int left = 0;
    for (ptrdiff_t i = 0; i < n; i++) order[i] = i;
    for (ptrdiff_t i = n - 1; i > 0; i--) {
        uint32_t bound = (uint32_t)i + 1, low;
        uint64_t product;
        do {
            if (left == 0) {
                philox(seed, block, 0, (uint32_t)stream, (uint32_t)(stream >> 32), word);
                block += RANDOM_LANES;
                left = 4 * RANDOM_LANES;
            }
            product = (uint64_t)random[--left] * bound;
            low = (uint32_t)product;
        } while (low < bound && low < (0u - bound) % bound);
        ptrdiff_t j = (ptrdiff_t)(product >> 32), swapped = order[i];
        order[i] = order[j];
        order[j] = swapped;
    }
}

#endif
