/* Dropout of one dtype (R): Srivastava et al. 2014, inverted.
 *
 * The random word of an element is Philox of its row in the batch, its column, the step and the
 * layer, so it does not depend on who computes it, or in what pieces.  Column j of a block of 64 is
 * word j / 16 of lane j % 16. */

static void S(dropout)(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t row0, const fnn_dropout *d,
                       const R *x, R *out) {
    const R scale = (R)d->scale;
    for (ptrdiff_t r = 0; r < rows; r++, x += n, out += n) {
        for (ptrdiff_t start = 0; start < n; start += 4 * LANES) {
            uint32_t word[4][LANES];
            philox(d->seed, (uint32_t)(start / 4), (uint32_t)(row0 + r), (uint32_t)d->step,
                   d->layer ^ (uint32_t)(d->step >> 32) << 16, word);
            const uint32_t *random = &word[0][0];
            ptrdiff_t count = n - start < 4 * LANES ? n - start : 4 * LANES;
            INDEPENDENT
            for (ptrdiff_t j = 0; j < count; j++)
                out[start + j] = random[j] >= d->threshold ? scale * x[start + j] : C(0);
        }
    }
}
