/* Products that are no more than a vector thick, of one dtype (R): a layer with one output and its
 * gradients, whose tiles in gemm_tpl.h would be a lane wide, or begin and end with each k.
 *
 * Chains are those of the tiles: the same bytes. */

#ifndef FNN_THIN_ONCE
#define FNN_THIN_ONCE
/* From so many rows of one column on a row in each lane pays; with four lanes up to so many k. */
enum { THIN_ROWS = 8, THIN_LONGEST = 50 };
#define THIN_8(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7)
#define THIN_START(v) V sum##v = VSET(0);
#define THIN_ADD(v) sum##v = VFMA(VLOAD(column + v * VLANES), x, sum##v);
#define THIN_STORE(v) VSTORE(c + v * VLANES, sum##v);
#endif

/* k = 1: row i of c (rows, n) is a number of a times the row b (n) */
NOT_INLINE void S(outer_product)(const fnn_product *p) {
    const ptrdiff_t n = p->n, whole = n - n % VLANES, step = p->a_by_columns ? 1 : p->a_step;
    const VMASK_T mask = VMASK(n > whole ? n - whole : VLANES);
    const V low = VSET(p->relu ? 0 : -C(INFINITY)), zero = VSET(0);
    const R *a = p->a, *b = p->b, *gate = p->gate;
    R *c = p->c;
    for (ptrdiff_t i = 0; i < p->rows; i++, a += step, c += p->ldc) {
        const V x = VSET(*a);
        ptrdiff_t j = 0;
        if (gate) {
            for (; j < whole; j += VLANES) {
                V z = VGATE(VLOAD(gate + j), VFMA(x, VLOAD(b + j), zero));
                VSTORE(c + j, VFLOOR(low, z));
            }
            if (j < n) {
                V z = VGATE(VLOAD_PART(gate + j, mask), VFMA(x, VLOAD_PART(b + j, mask), zero));
                VSTORE_PART(c + j, VFLOOR(low, z), mask);
            }
            gate += p->ldc;
            continue;
        }
        for (; j < whole; j += VLANES)
            VSTORE(c + j, VFLOOR(low, VFMA(x, VLOAD(b + j), zero)));
        if (j < n)
            VSTORE_PART(c + j, VFLOOR(low, VFMA(x, VLOAD_PART(b + j, mask), zero)), mask);
    }
}

/* n = 1, a by columns: c (rows) = the sum over k of b's numbers times the columns of a */
NOT_INLINE void S(thin_columns)(const fnn_product *p) {
    const R *const *list = (const R *const *)p->a_list, *b = p->b;
    ptrdiff_t i = 0;
#define COLUMN(k) ((list ? list[k] + p->a_offset : (const R *)p->a + (k) * p->a_step) + i)
    for (; i + 8 * VLANES <= p->rows; i += 8 * VLANES) {
        R *c = (R *)p->c + i;
        THIN_8(THIN_START)
        for (ptrdiff_t k = 0; k < p->k; k++) {
            const R *column = COLUMN(k);
            const V x = VSET(b[k * p->ldb]);
            THIN_8(THIN_ADD)
        }
        THIN_8(THIN_STORE)
    }
    for (; i < p->rows; i += VLANES) {
        const VMASK_T mask = VMASK(p->rows - i < VLANES ? p->rows - i : VLANES);
        V sum = VSET(0);
        for (ptrdiff_t k = 0; k < p->k; k++)
            sum = VFMA(VLOAD_PART(COLUMN(k), mask), VSET(b[k * p->ldb]), sum);
        VSTORE_PART((R *)p->c + i, sum, mask);
    }
#undef COLUMN
}

#if defined(__AVX512F__) || defined(__AVX2__)

/* n = 1, a by rows: each lane takes a row, whose numbers are transposed a quad at a time.  The last
 * quad ends with the row.  Lanes without a row repeat the last one.  (50 numbers a row, of tiles 8
 * rows high: a third of the time by 16 lanes, half of it by 8, the same by 4.) */
NOT_INLINE void S(thin_rows)(const fnn_product *p) {
    const R *b = p->b;
    const V low = VSET(p->relu ? 0 : -C(INFINITY)), bias = VSET(p->bias ? *(const R *)p->bias : 0);
    for (ptrdiff_t i = 0; i < p->rows; i += VLANES) {
        const ptrdiff_t height = p->rows - i < VLANES ? p->rows - i : VLANES;
        const R *row[VLANES];
        R found[VLANES], *c = (R *)p->c + i * p->ldc;
        V sum = bias, columns[QUAD];
        for (ptrdiff_t l = 0; l < VLANES; l++)
            row[l] = (const R *)p->a + (l < height ? i + l : p->rows - 1) * p->a_step;
        ptrdiff_t k = 0;
        for (; k + QUAD <= p->k; k += QUAD) {
            S(transpose_quads)(row, k, columns);
            for (int q = 0; q < QUAD; q++)
                sum = VFMA(columns[q], VSET(b[(k + q) * p->ldb]), sum);
        }
        if (k < p->k) {
            S(transpose_quads)(row, p->k - QUAD, columns);
            for (; k < p->k; k++)
                sum = VFMA(columns[k + QUAD - p->k], VSET(b[k * p->ldb]), sum);
        }
        VSTORE(found, VFLOOR(low, sum));
        for (ptrdiff_t l = 0; l < height; l++) c[l * p->ldc] = found[l];
    }
}

#endif

/* Whether it was a thin product, and is done. `panel`: the columns of a panel of b. */
ALWAYS_INLINE int S(thin_product)(const fnn_product *p, ptrdiff_t panel) {
#if defined(__AVX512F__) || defined(__AVX2__)
    if (p->n == 1 && !p->a_by_columns && p->rows >= THIN_ROWS && p->k >= QUAD
        && (VLANES > 4 || p->k <= THIN_LONGEST) && !p->a_list && !p->gate && !p->bias_by_rows) {
        S(thin_rows)(p);
        return 1;
    }
#endif
    if (p->bias) return 0;
    if (p->k == 1 && p->b_panel == panel && !p->a_list) {
        S(outer_product)(p);
        return 1;
    }
    if (p->n == 1 && p->a_by_columns && p->ldc == 1 && !p->relu && !p->gate) {
        S(thin_columns)(p);
        return 1;
    }
    return 0;
}
