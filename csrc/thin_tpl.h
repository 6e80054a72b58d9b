/* Products that are no more than a vector thick, of one dtype (R):  the gradients of a layer with
 * one output, whose tiles in gemm_tpl.h would be a lane wide, or begin and end with each k.
 *
 * Chains are those of the tiles: the same bytes. */

#ifndef FNN_THIN_ONCE
#define FNN_THIN_ONCE
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

/* Whether it was a thin product, and is done. `panel`: the columns of a panel of b. */
ALWAYS_INLINE int S(thin_product)(const fnn_product *p, ptrdiff_t panel) {
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
