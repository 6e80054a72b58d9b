/* Rows of a table, looked up by number and added up, of one dtype (R): see fnn_lookup in fastnn.h.
 * It is a product whose left operand is sparse, and with the entries sorted by column the gradient
 * of its table, too.
 *
 * Every element of the result is one chain of multiply-adds that starts at the bias and takes the
 * entries in their order.  Where these are sorted by column, that is the chain of the dense product
 * (gemm_tpl.h) without its zeros: the same bytes.
 *
 * Vectors of the result have scalar names, made by macros as in gemm_tpl.h: up to 8 of them stay in
 * registers while the entries of a row go by.  The last one ends with the row and may overlap the
 * one before it, whose elements it computes again to the same bytes: AMD's masked stores take as
 * long as ten entries.  It is a small vector (U), where there is one and that holds what is left:
 * it seldom lies in two cache lines (50 floats a row: a tenth less).  Only a row shorter than a
 * vector has a mask.
 *
 * (Lost, 50 floats a row, Zen 4: slices of a table of 4 MB that stay in L2, the sums of 4,000 rows
 * going on from slice to slice, 1.0 to 1.9 times the time; rows of the table on cache lines, 1.2
 * from L2; 48 and more entries ahead, 1.1 to 1.6; vectors of 32 bytes and huge pages: no gain.) */

#ifndef FNN_LOOKUP_ONCE
#define FNN_LOOKUP_ONCE

enum {
    LOOKUP_VECTORS = 8, /* of a result that are in registers */
    LOOKUP_AHEAD = 20,  /* entries whose rows are fetched before they are needed */
    LOOKUP_NEAR = 1 << 17 /* bytes of a table of which L1 holds enough */
};

#define LOOKUP_1(FULL, LAST) LAST(0)
#define LOOKUP_2(FULL, LAST) FULL(0) LAST(1)
#define LOOKUP_3(FULL, LAST) FULL(0) FULL(1) LAST(2)
#define LOOKUP_4(FULL, LAST) FULL(0) FULL(1) FULL(2) LAST(3)
#define LOOKUP_5(FULL, LAST) FULL(0) FULL(1) FULL(2) FULL(3) LAST(4)
#define LOOKUP_6(FULL, LAST) FULL(0) FULL(1) FULL(2) FULL(3) FULL(4) LAST(5)
#define LOOKUP_7(FULL, LAST) FULL(0) FULL(1) FULL(2) FULL(3) FULL(4) FULL(5) LAST(6)
#define LOOKUP_8(FULL, LAST) FULL(0) FULL(1) FULL(2) FULL(3) FULL(4) FULL(5) FULL(6) LAST(7)

#define LOOKUP_END_LAST const ptrdiff_t tail = columns - VLANES;
#define LOOKUP_END_SMALL const ptrdiff_t tail = columns - ULANES;
#define LOOKUP_END_PART const VMASK_T mask = VMASK(columns);

#define LOOKUP_START(v) V sum##v = bias ? VLOAD(bias + v * VLANES) : VSET(0);
#define LOOKUP_START_LAST(v) V sum##v = bias ? VLOAD(bias + tail) : VSET(0);
#define LOOKUP_START_SMALL(v) U sum##v = bias ? ULOAD(bias + tail) : USET(0);
#define LOOKUP_START_PART(v) V sum##v = bias ? VLOAD_PART(bias, mask) : VSET(0);
#define LOOKUP_ADD(v) sum##v = VFMA(x, VLOAD(row + v * VLANES), sum##v);
#define LOOKUP_ADD_LAST(v) sum##v = VFMA(x, VLOAD(row + tail), sum##v);
#define LOOKUP_ADD_SMALL(v) sum##v = UFMA(UFIRST(x), ULOAD(row + tail), sum##v);
#define LOOKUP_ADD_PART(v) sum##v = VFMA(x, VLOAD_PART(row, mask), sum##v);
#define LOOKUP_STORE(v) VSTORE(out + v * VLANES, VFLOOR(low, sum##v));
#define LOOKUP_STORE_LAST(v) VSTORE(out + tail, VFLOOR(low, sum##v));
#define LOOKUP_STORE_SMALL(v) USTORE(out + tail, UFLOOR(UFIRST(low), sum##v));
#define LOOKUP_STORE_PART(v) VSTORE_PART(out, VFLOOR(low, sum##v), mask);

/* Rows first up to stop of the result, its columns from `at` on: each is the bias, unless NULL, and
 * the sum of its entries; `far`: rows of the table are fetched before they are needed.  Returns -1,
 * or the first entry that is not in the table.  The loop over the rows is in here, as a column of a
 * batch has some ten entries: a call for each took a fifth of the gradient. */
#define LOOKUP_ARGUMENTS                                                                           \
    const fnn_lookup *p, ptrdiff_t first, ptrdiff_t stop, int far, const R *bias, ptrdiff_t at,    \
        ptrdiff_t columns
#define LOOKUP(name, width, LAST)                                                                  \
    static int64_t S(lookup_##name)(LOOKUP_ARGUMENTS) {                                            \
        LOOKUP_END_##LAST                                                                          \
        const ptrdiff_t *order = p->order;                                                         \
        const int64_t *start = p->start;                                                           \
        const int32_t *column = p->column;                                                         \
        const R *value = p->value, *table = (const R *)p->table + at;                              \
        const ptrdiff_t ld = p->ld, ldout = p->ldout;                                              \
        const uint32_t n_table = (uint32_t)p->n_table;                                             \
        const V low = VSET(p->relu ? 0 : -C(INFINITY));                                            \
        R *out = (R *)p->out + first * ldout + at;                                                 \
        for (ptrdiff_t r = first; r < stop; r++, out += ldout) {                                   \
            const ptrdiff_t number = order ? order[r] : r;                                         \
            const int64_t last = start[number + 1];                                                \
            /* without an order the entries of the next rows follow */                             \
            const int64_t fetch = (!far ? 0 : order ? last : start[p->rows]) - LOOKUP_AHEAD;       \
            if (far && order && r + 1 < p->rows) {                                                 \
                const int64_t next = start[order[r + 1]];                                          \
                PREFETCH(column + next);                                                           \
                PREFETCH(value + next);                                                            \
            }                                                                                      \
            LOOKUP_##width(LOOKUP_START, LOOKUP_START_##LAST)                                      \
            for (int64_t i = start[number]; i < last; i++) {                                       \
                const uint32_t place = (uint32_t)column[i];                                        \
                if (place >= n_table) return i;                                                    \
                const R *row = table + (ptrdiff_t)place * ld;                                      \
                V x = VSET(value[i]);                                                              \
                if (i < fetch) S(fetch_row)(table, column[i + LOOKUP_AHEAD], ld, width);           \
                LOOKUP_##width(LOOKUP_ADD, LOOKUP_ADD_##LAST)                                      \
            }                                                                                      \
            LOOKUP_##width(LOOKUP_STORE, LOOKUP_STORE_##LAST)                                      \
        }                                                                                          \
        return -1;                                                                                 \
    }

#endif

/* The number may be any: an address that is not there is not fetched.  `vectors` is a constant, so
 * that no loop is left: a loop cost more than half of what fetching from L2 brings. */
ALWAYS_INLINE void S(fetch_row)(const R *table, int32_t number, ptrdiff_t ld, int vectors) {
    const uintptr_t row = (uintptr_t)table + (uintptr_t)number * (uintptr_t)ld * sizeof(R);
    const int bytes = vectors * VLANES * (int)sizeof(R);
    for (int at = 0; at < bytes; at += 64) PREFETCH((const void *)(row + (uintptr_t)at));
}

typedef int64_t (*S(lookup_columns))(LOOKUP_ARGUMENTS);
LOOKUP(part, 1, PART)
LOOKUP(1, 1, LAST)
LOOKUP(2, 2, LAST)
LOOKUP(3, 3, LAST)
LOOKUP(4, 4, LAST)
LOOKUP(5, 5, LAST)
LOOKUP(6, 6, LAST)
LOOKUP(7, 7, LAST)
LOOKUP(8, 8, LAST)
#ifdef U
LOOKUP(2_small, 2, SMALL)
LOOKUP(3_small, 3, SMALL)
LOOKUP(4_small, 4, SMALL)
LOOKUP(5_small, 5, SMALL)
LOOKUP(6_small, 6, SMALL)
LOOKUP(7_small, 7, SMALL)
LOOKUP(8_small, 8, SMALL)
#endif

/* The function for so many columns of a result of n. */
static S(lookup_columns) S(lookup_of)(ptrdiff_t n, ptrdiff_t columns) {
    static const S(lookup_columns) parts[LOOKUP_VECTORS] = {
        S(lookup_1), S(lookup_2), S(lookup_3), S(lookup_4),
        S(lookup_5), S(lookup_6), S(lookup_7), S(lookup_8),
    };
    const ptrdiff_t full = (columns - 1) / VLANES;
    if (n < VLANES) return S(lookup_part);
#ifdef U
    static const S(lookup_columns) small[LOOKUP_VECTORS] = {
        S(lookup_1),       S(lookup_2_small), S(lookup_3_small), S(lookup_4_small),
        S(lookup_5_small), S(lookup_6_small), S(lookup_7_small), S(lookup_8_small),
    };
    if (columns - full * VLANES <= ULANES) return small[full];
#endif
    return parts[full];
}

/* Rows first up to stop of the result, see LOOKUP. */
static int64_t S(lookup_rows)(const fnn_lookup *p, ptrdiff_t first, ptrdiff_t stop, int far,
                              const R *bias) {
    const ptrdiff_t widest = LOOKUP_VECTORS * VLANES;
    /* where a row takes several parts each is done for itself, so that its entries stay near */
    const ptrdiff_t step = p->n > widest ? 1 : stop - first;
    for (ptrdiff_t r = first; r < stop; r += step)
        for (ptrdiff_t j = 0; j < p->n; j += widest) {
            const ptrdiff_t columns = p->n - j < widest ? p->n - j : widest;
            const S(lookup_columns) part = S(lookup_of)(p->n, columns);
            const int64_t wrong = part(p, r, r + step, far, bias ? bias + j : NULL, j, columns);
            if (wrong >= 0) return wrong;
        }
    return -1;
}

/* From the last row on, each beginning with the one after it where that adds to it. */
static int64_t S(lookup_runs)(const fnn_lookup *p, int far) {
    const R *after = NULL;
    for (ptrdiff_t r = p->rows - 1; r >= 0; r--) {
        if (far && r > 2) /* rows of the table that are wanted three rows later */
            for (int64_t i = p->start[r - 3]; i < p->start[r - 2]; i++)
                for (ptrdiff_t j = 0; j < p->n; j += 64 / (ptrdiff_t)sizeof(R))
                    S(fetch_row)((const R *)p->table + j, p->column[i], p->ld, 1);
        const int64_t wrong = S(lookup_rows)(p, r, r + 1, 0, after);
        if (wrong >= 0) return wrong;
        after = p->adds[r] ? (const R *)p->out + r * p->ldout : NULL;
    }
    return -1;
}

static int64_t S(lookup)(const fnn_lookup *p) {
    const int far = p->n_table * p->ld > LOOKUP_NEAR / (int)sizeof(R);
    return p->adds ? S(lookup_runs)(p, far) : S(lookup_rows)(p, 0, p->rows, far, p->bias);
}

static void S(sum_runs)(ptrdiff_t first, ptrdiff_t stop, ptrdiff_t n, const unsigned char *adds,
                        const R *x, R *out) {
    for (ptrdiff_t r = first; r < stop; r++) {
        if (r == 0 || !adds[r]) {
            if (out != x) memcpy(out + r * n, x + r * n, (size_t)n * sizeof(R));
            continue;
        }
        INDEPENDENT
        for (ptrdiff_t j = r * n; j < r * n + n; j++) out[j] = out[j - n] + x[j];
    }
}
