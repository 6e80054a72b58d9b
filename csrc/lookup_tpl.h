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
 * long as ten entries.  Only a row shorter than a vector has a mask. */

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
#define LOOKUP_END_PART const VMASK_T mask = VMASK(columns);

#define LOOKUP_START(v) V sum##v = bias ? VLOAD(bias + v * VLANES) : VSET(0);
#define LOOKUP_START_LAST(v) V sum##v = bias ? VLOAD(bias + tail) : VSET(0);
#define LOOKUP_START_PART(v) V sum##v = bias ? VLOAD_PART(bias, mask) : VSET(0);
#define LOOKUP_ADD(v) sum##v = VFMA(x, VLOAD(row + v * VLANES), sum##v);
#define LOOKUP_ADD_LAST(v) sum##v = VFMA(x, VLOAD(row + tail), sum##v);
#define LOOKUP_ADD_PART(v) sum##v = VFMA(x, VLOAD_PART(row, mask), sum##v);
#define LOOKUP_STORE(v) VSTORE(out + v * VLANES, VFLOOR(low, sum##v));
#define LOOKUP_STORE_LAST(v) VSTORE(out + tail, VFLOOR(low, sum##v));
#define LOOKUP_STORE_PART(v) VSTORE_PART(out, VFLOOR(low, sum##v), mask);

/* out (columns) = bias + entries first.. to last of the table, which begins at the column wanted;
 * of entries before `fetch` rows are fetched ahead.  Returns -1, or the first entry that is not in
 * the table. */
#define LOOKUP_ARGUMENTS                                                                           \
    const fnn_lookup *p, int64_t first, int64_t last, int64_t fetch, const R *table,               \
        const R *bias, ptrdiff_t columns, R *out
#define LOOKUP(name, width, LAST)                                                                  \
    static int64_t S(lookup_##name)(LOOKUP_ARGUMENTS) {                                            \
        LOOKUP_END_##LAST                                                                          \
        const int32_t *column = p->column;                                                         \
        const R *value = p->value;                                                                 \
        const ptrdiff_t ld = p->ld;                                                                \
        const uint32_t n_table = (uint32_t)p->n_table;                                             \
        V low = VSET(p->relu ? 0 : -C(INFINITY));                                                  \
        LOOKUP_##width(LOOKUP_START, LOOKUP_START_##LAST)                                          \
        for (int64_t i = first; i < last; i++) {                                                   \
            const uint32_t number = (uint32_t)column[i];                                           \
            if (number >= n_table) return i;                                                       \
            const R *row = table + (ptrdiff_t)number * ld;                                         \
            V x = VSET(value[i]);                                                                  \
            if (i + LOOKUP_AHEAD < fetch)                                                          \
                S(fetch_row)(table, column[i + LOOKUP_AHEAD], ld, width);                          \
            LOOKUP_##width(LOOKUP_ADD, LOOKUP_ADD_##LAST)                                          \
        }                                                                                          \
        LOOKUP_##width(LOOKUP_STORE, LOOKUP_STORE_##LAST)                                          \
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

static int64_t S(lookup)(const fnn_lookup *p) {
    static const S(lookup_columns) parts[LOOKUP_VECTORS] = {
        S(lookup_1), S(lookup_2), S(lookup_3), S(lookup_4),
        S(lookup_5), S(lookup_6), S(lookup_7), S(lookup_8),
    };
    const ptrdiff_t widest = LOOKUP_VECTORS * VLANES;
    const int64_t *start = p->start;
    const R *value = p->value, *table = p->table, *bias = p->bias;
    const int far = p->n_table * p->ld > LOOKUP_NEAR / (int)sizeof(R);
    for (ptrdiff_t r = 0; r < p->rows; r++) {
        const ptrdiff_t at = p->order ? p->order[r] : r;
        const int64_t first = start[at], last = start[at + 1];
        /* without an order the entries of the next rows follow */
        const int64_t fetch = !far ? first : p->order ? last : start[p->rows];
        R *out = (R *)p->out + r * p->ldout;
        if (far && p->order && r + 1 < p->rows) {
            const int64_t next = start[p->order[r + 1]];
            PREFETCH(p->column + next);
            PREFETCH(value + next);
        }
        for (ptrdiff_t j = 0; j < p->n; j += widest) {
            const ptrdiff_t columns = p->n - j < widest ? p->n - j : widest;
            const ptrdiff_t width = (columns + VLANES - 1) / VLANES;
            const S(lookup_columns) part = p->n < VLANES ? S(lookup_part) : parts[width - 1];
            const int64_t wrong = part(p, first, last, fetch, table + j, bias ? bias + j : NULL,
                                       columns, out + j);
            if (wrong >= 0) return wrong;
        }
    }
    return -1;
}

/* out (n) = before (n) + x (n); without `before` x */
ALWAYS_INLINE void S(add_to_run)(ptrdiff_t n, const R *x, const R *before, R *out) {
    if (before) {
        INDEPENDENT
        for (ptrdiff_t j = 0; j < n; j++) out[j] = before[j] + x[j];
    } else if (out != x) {
        memcpy(out, x, (size_t)n * sizeof(R));
    }
}

static void S(sum_runs)(ptrdiff_t first, ptrdiff_t stop, ptrdiff_t n, const unsigned char *adds,
                        int back, const R *x, R *out) {
    if (back) {
        for (ptrdiff_t r = stop - 1; r >= first; r--)
            S(add_to_run)(n, x + r * n, r + 1 < stop && adds[r + 1] ? out + (r + 1) * n : NULL,
                          out + r * n);
    } else {
        for (ptrdiff_t r = first; r < stop; r++)
            S(add_to_run)(n, x + r * n, r > 0 && adds[r] ? out + (r - 1) * n : NULL, out + r * n);
    }
}

/* Rows of zeros count: 0 + -0 is 0, but what -0 is added to stays as it is. */
static void S(sum_packed_runs)(ptrdiff_t count, ptrdiff_t n, const int32_t *row, ptrdiff_t rows,
                               const unsigned char *adds, R *x) {
    for (ptrdiff_t r = count - 1; r >= 0; r--) {
        const ptrdiff_t next = row[r] + 1, far = r + 1 < count ? row[r + 1] - row[r] : 0;
        const R zero = far == 1 ? -C(0) : C(0);
        R *out = x + r * n, *after = out + n;
        if (next == rows || !adds[next]) continue;
        if (far == 0 || memchr(adds + next, 0, (size_t)far)) {
            for (ptrdiff_t j = 0; j < n; j++) out[j] += zero;
            continue;
        }
        INDEPENDENT
        for (ptrdiff_t j = 0; j < n; j++) out[j] = after[j] + zero + out[j];
    }
}

static void S(unpack_rows)(ptrdiff_t first, ptrdiff_t count, ptrdiff_t n, const int32_t *place,
                           const R *x, R *out) {
    ptrdiff_t at = first % n, part;
    place += first / n;
    for (ptrdiff_t done = 0; done < count; done += part, place++, at = 0) {
        const R zero = *place < 0 ? C(0) : -C(0);
        const R *from = x + (ptrdiff_t)(*place < 0 ? ~*place : *place) * n + at;
        part = n - at < count - done ? n - at : count - done;
        INDEPENDENT
        for (ptrdiff_t j = 0; j < part; j++) out[done + j] = from[j] + zero;
    }
}
