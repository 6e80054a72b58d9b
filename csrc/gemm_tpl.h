/* Matrix products of one dtype, register-tiled:  C = bias + A B.  fnn_product in fastnn.h describes
 * the operands.  One kernel computes X W, X' dZ and dZ W' (with a copy of W'), and the same
 * products of feature-major matrices.
 *
 * Every element of C is one chain of multiply-adds over k that starts at the bias, whatever tile,
 * block or lane computes it: neither the split into tiles nor the rows beside it change a bit.
 *
 * A tile of C stays in registers while k runs.  Its accumulators have scalar names, made by macros:
 * gcc 12 keeps an array of them on the stack, which is a third as fast.  Tiles are 1..4 vectors
 * wide, the last vector masked.  Their height is whatever the registers hold or less: the rows are
 * dealt out evenly, because a tile of one row takes as long as one of four. */

#ifndef FNN_GEMM_ONCE
#define FNN_GEMM_ONCE

/* Rows of B that a column of tiles walks through before the next column begins: each such block
 * costs a pass over C, but rows that lie far apart do not stay in the cache.  And cache lines of a
 * row of B from which on a single row of C is computed along it. */
enum { K_BLOCK = 384, K_BLOCK_PACKED = 2048, SINGLE_ROW_LINES = 8 };

#if defined(__AVX512F__)
#define MAX_VECTORS 4
#else
#define MAX_VECTORS 2
#endif

/* AVX2: a k takes a tile about 6 cycles and a panel one cache line, so the lines of the next panel
 * are fetched while this one is worked on, each tile its share, and C and a gate while their tile
 * is, with the lines beside them: they lie a row apart, beyond L2.  A k has 20 instructions, and a
 * loop 3 or 4, which count where another thread has the other half of the core: so loops go AT_ONCE
 * of k.  Columns of A that many panels read are packed first: one by one they lie a row of A apart;
 * and a B by rows GROUP panels at a time, for so many rows of C that it pays: its rows often lie a
 * large power of two apart, so that they fall into few sets of L1.  2048x2048, batch 1024, Zen 3,
 * GFLOP/s (OpenBLAS 90): X W 88 -> 93, dZ W' 87 -> 93, X' dZ 63 -> 90, of which dZ in panels brings a
 * half; 64 rows of 1024x1024: 69 -> 81.  Since then, where OpenBLAS has 84, and in minutes in which
 * it has 68: four of k at once 0 to 9 and 11 to 20 % (64x64x64: 2 and 5 to 9); C fetched, and lines
 * beside, 2 to 15 and 5 to 20 % (256 rows of 512x512: 7 to 27).
 *
 * Lost: blocks of 256 or 512 k, so that B stays in L1: 5 to 15 % of passes over C, with C fetched,
 * too, and with 4 or 8 panels at a time; of 1,024 k with 48 to 192 rows, so that A stays in L2: 2 to
 * 5 %; lines of this panel fetched 32 of k ahead: 2 to 6 % in such minutes; those of the next one by
 * the last 4, 8 or 16 tiles alone, before which A would not push them out of L2, or into L2 alone:
 * -1 to 1 %; tiles of 4x24 (19 instructions): 0; 8 of k at once; groups of 1 or 8 panels: 2 %; groups
 * of a B of 16 panels, 64 rows of 784x256: 4 %.
 *
 * AVX-512: a k takes a tile 12 to 24 cycles, and a panel is 4 lines wide, so long ones alone have
 * the next one fetched, and nothing is packed. (No gain on Zen 4 from packed columns of A, lines of
 * this panel fetched 4 to 16 of k ahead, groups of a B by rows, blocks of 512 or 1,024 k, not where
 * another program empties L3 either, shorter panels fetched, into L2 alone.) */
#if defined(__AVX512F__)
#define FETCHES 1
#define PACKS 0
enum { LONG_PANEL = 1024 };
#define EACH_AT_ONCE(K) K
#elif defined(__AVX2__)
#define FETCHES 1
#define PACKS 1
#define EACH_AT_ONCE(K) K K K K
enum { PACKING_PANELS = 16, PACKED_AT_ONCE = 16, LEAST_BLOCK = 64, REACH = 8 };
enum { GROUPED_PANELS = 32, PACKING_ROWS = 24, GROUP = 4, LONG_PANEL = 0 };
#else
#define FETCHES 0
#define PACKS 0
#define EACH_AT_ONCE(K) K
#endif
enum { AT_ONCE = 0 EACH_AT_ONCE(+1) };
#define FETCH_ARGUMENTS , const R *next, ptrdiff_t next_step
#define NOTHING

/* the rows of a tile, for a macro M(row) */
#define ROWS1(M) M(0)
#define ROWS2(M) ROWS1(M) M(1)
#define ROWS3(M) ROWS2(M) M(2)
#define ROWS4(M) ROWS3(M) M(3)
#define ROWS5(M) ROWS4(M) M(4)
#define ROWS6(M) ROWS5(M) M(5)
#define ROWS7(M) ROWS6(M) M(6)
#define ROWS8(M) ROWS7(M) M(7)

/* the vectors of a row of the tile: FULL(row, vector), and PART(row, vector) for the last one */
#define VECTORS1(FULL, PART, i) PART(i, 0)
#define VECTORS2(FULL, PART, i) FULL(i, 0) PART(i, 1)
#define VECTORS3(FULL, PART, i) FULL(i, 0) FULL(i, 1) PART(i, 2)
#define VECTORS4(FULL, PART, i) FULL(i, 0) FULL(i, 1) FULL(i, 2) PART(i, 3)

#define START_OF_ROW(i) VSET(row_bias ? row_bias[i] : 0)
#define START(i, v)                                                                                \
    V c##i##v = first ? VLOAD(first + i * first_row + v * VLANES) : START_OF_ROW(i);
#define START_PART(i, v)                                                                           \
    V c##i##v = first ? VLOAD_PART(first + i * first_row + v * VLANES, mask) : START_OF_ROW(i);
#define LOAD(i, v) V b##v = VLOAD(b + v * VLANES);
#define LOAD_PART(i, v) V b##v = VLOAD_PART(b + v * VLANES, mask);
#define STEP(i, v) VADD_PRODUCT(c##i##v, x##i, b##v);
#define GATE(i, v) c##i##v = VGATE(VLOAD(gate + i * ldc + v * VLANES), c##i##v);
#define GATE_PART(i, v) c##i##v = VGATE(VLOAD_PART(gate + i * ldc + v * VLANES, mask), c##i##v);
#define STORE(i, v) VSTORE(c + i * ldc + v * VLANES, VFLOOR(low, c##i##v));
#define STORE_PART(i, v) VSTORE_PART(c + i * ldc + v * VLANES, VFLOOR(low, c##i##v), mask);

/* A by rows: row i runs along k.  A by columns: column k holds the rows of the tile. */
#define ROW_OF_A(i) const R *a##i = list ? list[i] + offset : a + i * a_step;
#define STEP_ROWS(width, i)                                                                        \
    {                                                                                              \
        V x##i = VSET(a##i[k]);                                                                    \
        VECTORS##width(STEP, STEP, i)                                                              \
    }
#define STEP_COLUMNS(width, i)                                                                     \
    {                                                                                              \
        V x##i = VSET(column[i]);                                                                  \
        VECTORS##width(STEP, STEP, i)                                                              \
    }

#define START_1(i) VECTORS1(START, START_PART, i)
#define START_2(i) VECTORS2(START, START_PART, i)
#define START_3(i) VECTORS3(START, START_PART, i)
#define START_4(i) VECTORS4(START, START_PART, i)
#define STEP_ROWS_1(i) STEP_ROWS(1, i)
#define STEP_ROWS_2(i) STEP_ROWS(2, i)
#define STEP_ROWS_3(i) STEP_ROWS(3, i)
#define STEP_ROWS_4(i) STEP_ROWS(4, i)
#define STEP_COLUMNS_1(i) STEP_COLUMNS(1, i)
#define STEP_COLUMNS_2(i) STEP_COLUMNS(2, i)
#define STEP_COLUMNS_3(i) STEP_COLUMNS(3, i)
#define STEP_COLUMNS_4(i) STEP_COLUMNS(4, i)
#define GATE_1(i) VECTORS1(GATE, GATE_PART, i)
#define GATE_2(i) VECTORS2(GATE, GATE_PART, i)
#define GATE_3(i) VECTORS3(GATE, GATE_PART, i)
#define GATE_4(i) VECTORS4(GATE, GATE_PART, i)
#define STORE_1(i) VECTORS1(STORE, STORE_PART, i)
#define STORE_2(i) VECTORS2(STORE, STORE_PART, i)
#define STORE_3(i) VECTORS3(STORE, STORE_PART, i)
#define STORE_4(i) VECTORS4(STORE, STORE_PART, i)

/* The rows (or columns) of A begin at a, a_step apart, or at list[..] + offset if there is a list.
 * Row i of c begins with the values at first + i * first_row (first_row is 0 where all rows begin
 * with one bias), or, without `first`, with row_bias[i], or with 0.  Values below `lowest` are
 * stored as `lowest`; where there is a gate that is <= 0, a 0 is stored. */
#define TILE_ARGUMENTS                                                                             \
    ptrdiff_t k_count, VMASK_T mask, const R *a, ptrdiff_t a_step, const R *const *list,           \
        ptrdiff_t offset, const R *b, ptrdiff_t ldb, const R *first, ptrdiff_t first_row,          \
        const R *row_bias, R lowest, const R *gate, R *c, ptrdiff_t ldc
#define TILE_END(height, width)                                                                    \
    V low = VSET(lowest);                                                                          \
    if (gate) {                                                                                    \
        ROWS##height(GATE_##width)                                                                 \
    }                                                                                              \
    ROWS##height(STORE_##width)
#define K_OF_ROWS(height, width)                                                                   \
    {                                                                                              \
        VECTORS##width(LOAD, LOAD_PART, 0)                                                         \
        ROWS##height(STEP_ROWS_##width)                                                            \
        b += ldb, k++;                                                                             \
    }
#define K_OF_COLUMNS(height, width)                                                                \
    {                                                                                              \
        VECTORS##width(LOAD, LOAD_PART, 0)                                                         \
        ROWS##height(STEP_COLUMNS_##width)                                                         \
        b += ldb, column += a_step;                                                                \
    }
#define K_OF_LIST(height, width)                                                                   \
    {                                                                                              \
        column = list[k++] + offset;                                                               \
        PREFETCH(column + 64 / (int)sizeof(R));                                                    \
        K_OF_COLUMNS(height, width)                                                                \
    }
#define TILE_AS(name, MORE_ARGUMENTS, FETCH, height, width)                                        \
    static void S(name##_rows_##height##x##width)(TILE_ARGUMENTS MORE_ARGUMENTS) {                 \
        ROWS##height(ROW_OF_A)                                                                     \
        ROWS##height(START_##width)                                                                \
        ptrdiff_t k = 0;                                                                           \
        while (k + AT_ONCE <= k_count) {                                                           \
            FETCH                                                                                  \
            EACH_AT_ONCE(K_OF_ROWS(height, width))                                                 \
        }                                                                                          \
        while (AT_ONCE > 1 && k < k_count) K_OF_ROWS(height, width)                                \
        TILE_END(height, width)                                                                    \
    }                                                                                              \
    static void S(name##_columns_##height##x##width)(TILE_ARGUMENTS MORE_ARGUMENTS) {              \
        const R *column = a;                                                                       \
        ROWS##height(START_##width)                                                                \
        ptrdiff_t k = 0;                                                                           \
        while (list && k < k_count) K_OF_LIST(height, width)                                       \
        for (; k + AT_ONCE <= k_count; k += AT_ONCE) {                                             \
            FETCH                                                                                  \
            EACH_AT_ONCE(K_OF_COLUMNS(height, width))                                              \
        }                                                                                          \
        for (; AT_ONCE > 1 && k < k_count; k++) K_OF_COLUMNS(height, width)                        \
        TILE_END(height, width)                                                                    \
    }
#define TILE(height, width) TILE_AS(tile, NOTHING, NOTHING, height, width)
#define FETCHING_TILE(height, width)                                                               \
    TILE_AS(fetching_tile, FETCH_ARGUMENTS, PREFETCH(next); next += next_step;, height, width)
#define FETCHING_TILES(w)                                                                          \
    FETCHING_TILE(1, w) FETCHING_TILE(2, w) FETCHING_TILE(3, w) FETCHING_TILE(4, w)                \
    FETCHING_TILE(5, w) FETCHING_TILE(6, w)
#define TILES6(w) TILE(1, w) TILE(2, w) TILE(3, w) TILE(4, w) TILE(5, w) TILE(6, w)
#define TILES8(w) TILES6(w) TILE(7, w) TILE(8, w)
#define NAMES6(name, w)                                                                            \
    S(name##_1x##w), S(name##_2x##w), S(name##_3x##w), S(name##_4x##w), S(name##_5x##w),           \
        S(name##_6x##w)
#define NAMES8(name, w) NAMES6(name, w), S(name##_7x##w), S(name##_8x##w)

/* of a single row */
#define SET_ROW(i) const V x##i = VSET(a[i]);
#define LOAD_SUM(v) V z##v = VLOAD(c + j + v * VLANES);
#define STORE_SUM(v) VSTORE(c + j + v * VLANES, z##v);
#define ADD_ROW_AT(i, v) z##v = VFMA(x##i, VLOAD(b + i * ldb + j + v * VLANES), z##v);
#if defined(__AVX512F__)
enum { SINGLE_ROWS = 4, SINGLE_VECTORS = 1 };
#define EACH_SINGLE_ROW(M) ROWS4(M)
#define LINE(M) M(0)
#define ADD_ROW(i) ADD_ROW_AT(i, 0)
#else
enum { SINGLE_ROWS = 8, SINGLE_VECTORS = 2 };
#define EACH_SINGLE_ROW(M) ROWS8(M)
#define LINE(M) M(0) M(1)
#define ADD_ROW(i) ADD_ROW_AT(i, 0) ADD_ROW_AT(i, 1)
#endif

#endif

/* AVX-512 has 32 registers, 24 of them for accumulators; the others have 16, 12 of them. */
typedef void (*S(tile))(TILE_ARGUMENTS);
TILES8(1)
#if MAX_VECTORS == 4
TILES8(2)
TILES8(3)
TILES6(4)
static const int S(tallest)[] = {8, 8, 8, 6};
#define FAMILY(name) {{NAMES8(name, 1)}, {NAMES8(name, 2)}, {NAMES8(name, 3)}, {NAMES6(name, 4)}}
#else
TILES6(2)
static const int S(tallest)[] = {8, 6};
#define FAMILY(name) {{NAMES8(name, 1)}, {NAMES6(name, 2)}}
#endif
static const S(tile) S(tiles)[2][MAX_VECTORS][8] = {FAMILY(tile_rows), FAMILY(tile_columns)};
#undef FAMILY
#if FETCHES
#if MAX_VECTORS == 4
FETCHING_TILES(4)
#define FETCHING_FAMILY {{NAMES6(fetching_tile_rows, 4)}, {NAMES6(fetching_tile_columns, 4)}}
#else
FETCHING_TILES(2)
#define FETCHING_FAMILY {{NAMES6(fetching_tile_rows, 2)}, {NAMES6(fetching_tile_columns, 2)}}
#endif
typedef void (*S(fetching_tile))(TILE_ARGUMENTS FETCH_ARGUMENTS);
static const S(fetching_tile) S(fetching_tiles)[2][6] = FETCHING_FAMILY;
#undef FETCHING_FAMILY
#endif

/* Fetch the rows of the next tile, at most `rows` of the `left` ones: the rows of a list lie
 * anywhere, so the processor does not fetch them by itself. */
static void S(prefetch_rows)(ptrdiff_t left, ptrdiff_t rows, ptrdiff_t k_count,
                             const R *const *list, ptrdiff_t offset) {
    for (ptrdiff_t i = 0; i < rows && i < left; i++)
        for (ptrdiff_t k = 0; k < k_count; k += 64 / (ptrdiff_t)sizeof(R))
            PREFETCH(list[i] + offset + k);
}

enum { S(VECTOR) = VLANES, S(PANEL) = MAX_VECTORS * VLANES };

#if FETCHES
/* Fetch what a tile reads or writes at its end, and what the one beside it will. */
ALWAYS_INLINE void S(fetch_lines)(const R *from, ptrdiff_t rows, ptrdiff_t ld) {
    for (ptrdiff_t i = 0; i < rows; i++) {
        PREFETCH(from + i * ld);
        if (PACKS) PREFETCH(from + i * ld + S(PANEL));
    }
}
#endif

/* One row of C, wide: B is read once and as it lies, SINGLE_ROWS rows at a time, a line of each,
 * while C stays in L1.  The chains are those of the tiles.  (So many streams bring a B from beyond
 * L2; GFLOP/s of 2048x2048 on Zen 3, where it lies in L3, and does not: 4 rows 8.7, 6.2; 8 rows
 * 11.4, 7.4; 12 rows 9.4, 6.2; 16 rows 6.0, 4.2; OpenBLAS 11.4, 7.4.  Lost: a vector of each row; 4
 * rows with the next ones fetched: 12.0, 5.9.  AVX-512, Zen 4: 8 rows lose where rows lie a multiple
 * of 4,096 bytes apart, as L1 cannot hold as many lines.) */
static void S(single_row)(const fnn_product *p) {
    const R *a = p->a_list ? (const R *)p->a_list[0] + p->a_offset : p->a, *b = p->b;
    const R *bias = p->bias;
    const ptrdiff_t ldb = p->ldb;
    R *c = p->c;
    for (ptrdiff_t j = 0; j < p->n; j++) c[j] = !bias ? 0 : p->bias_by_rows ? bias[0] : bias[j];
    for (ptrdiff_t k = 0, count; k < p->k; k += count, a += count, b += count * ldb) {
        ptrdiff_t j = 0;
        count = p->k - k < SINGLE_ROWS ? p->k - k : SINGLE_ROWS;
        if (count == SINGLE_ROWS) {
            EACH_SINGLE_ROW(SET_ROW)
            for (; j + SINGLE_VECTORS * VLANES <= p->n; j += SINGLE_VECTORS * VLANES) {
                LINE(LOAD_SUM)
                EACH_SINGLE_ROW(ADD_ROW)
                LINE(STORE_SUM)
            }
        }
        for (; j < p->n; j += VLANES) {
            VMASK_T mask = VMASK(p->n - j < VLANES ? p->n - j : VLANES);
            V z = VLOAD_PART(c + j, mask);
            for (ptrdiff_t i = 0; i < count; i++)
                z = VFMA(VSET(a[i]), VLOAD_PART(b + i * ldb + j, mask), z);
            VSTORE_PART(c + j, z, mask);
        }
    }
    if (p->relu)
        for (ptrdiff_t j = 0; j < p->n; j += VLANES) {
            VMASK_T mask = VMASK(p->n - j < VLANES ? p->n - j : VLANES);
            VSTORE_PART(c + j, VFLOOR(VSET(0), VLOAD_PART(c + j, mask)), mask);
        }
}

#if PACKS

/* Whether the columns of A are packed first; then `block` becomes one that there is room for. */
static int S(packs_columns)(const fnn_product *p, ptrdiff_t *block) {
    const ptrdiff_t tallest = S(tallest)[MAX_VECTORS - 1];
    const ptrdiff_t gaps = (p->rows + tallest - 1) / tallest * REACH - p->rows;
    const ptrdiff_t room = (FNN_ROOM / (ptrdiff_t)sizeof(R) - gaps) / (p->rows + !p->rows);
    if (p->n < PACKING_PANELS * S(PANEL) || room < LEAST_BLOCK) return 0;
    if (*block > room) *block = room;
    if (p->k > *block) { /* blocks of about the same size */
        ptrdiff_t blocks = (p->k + *block - 1) / *block;
        *block = (p->k + blocks - 1) / blocks;
    }
    return 1;
}

/* Columns k.. of A into the room, tile after tile: of each column after column without gaps, then
 * what a store, which has REACH elements, may write behind the last one.  PACKED_AT_ONCE columns of
 * all tiles stay in L1, and the next ones are fetched meanwhile: they lie a row of A apart. */
static void S(pack_columns)(const fnn_product *p, ptrdiff_t k, ptrdiff_t k_count) {
    const ptrdiff_t tallest = S(tallest)[MAX_VECTORS - 1];
    const ptrdiff_t all = (p->rows + tallest - 1) / tallest, low = all ? p->rows / all : 0;
    const R *const *list = p->a_list ? (const R *const *)p->a_list + k : NULL;
    for (ptrdiff_t start = 0; start < k_count; start += PACKED_AT_ONCE) {
        const ptrdiff_t stop = k_count - start < PACKED_AT_ONCE ? k_count : start + PACKED_AT_ONCE;
        R *tile = p->room;
        ptrdiff_t i = 0;
        for (ptrdiff_t at = stop; at < k_count && at < stop + PACKED_AT_ONCE; at++) {
            const R *column = list ? list[at] + p->a_offset
                                   : (const R *)p->a + (k + at) * p->a_step;
            for (ptrdiff_t r = 0; r < p->rows; r += 64 / (ptrdiff_t)sizeof(R)) PREFETCH(column + r);
            PREFETCH(column + p->rows - 1);
        }
        for (ptrdiff_t tiles = all; tiles > 0; tiles--) {
            const ptrdiff_t height = tiles > p->rows - low * all ? low : low + 1;
            const R *a = list ? NULL : (const R *)p->a + k * p->a_step + i;
            R *out = tile + start * height;
#if REAL_IS_FLOAT
            const VMASK_T mask = VMASK(height);
#else
            const VMASK_T mask = VMASK(height < VLANES ? height : VLANES);
            const VMASK_T more = VMASK(height > VLANES ? height - VLANES : 0);
#endif
            for (ptrdiff_t at = start; at < stop; at++, out += height) {
                const R *column = list ? list[at] + p->a_offset + i : a + at * p->a_step;
                VSTORE(out, VLOAD_PART(column, mask));
#if !REAL_IS_FLOAT
                VSTORE(out + VLANES, VLOAD_PART(column + VLANES, more));
#endif
            }
            tile += height * (k_count - 1) + REACH;
            i += height;
        }
    }
}

/* Rows k.. of B, and columns j.. of so many panels, into the room as panels. */
static void S(pack_panels)(const fnn_product *p, ptrdiff_t k, ptrdiff_t k_count, ptrdiff_t j,
                           ptrdiff_t panels) {
    const R *b = (const R *)p->b + k * p->ldb + j;
    R *out = p->room;
    for (ptrdiff_t at = 0; at < k_count; at++, b += p->ldb, out += S(PANEL))
        for (ptrdiff_t i = 0; i < panels; i++) {
            const R *from = b + i * S(PANEL);
            R *to = out + i * k_count * S(PANEL);
            PREFETCH(from + 16 * p->ldb);
            VSTORE(to, VLOAD(from));
            VSTORE(to + VLANES, VLOAD(from + VLANES));
        }
}

#endif

/* One column of tiles after the other: the rows of B that it needs stay in the cache. */
ALWAYS_INLINE void S(run_tiles)(const fnn_product *p, const int fetches) {
    const ptrdiff_t widest = S(PANEL), ldc = p->ldc;
    const R *a = p->a, *gate = p->gate;
    const R *bias = p->bias_by_rows ? NULL : p->bias, *row_bias = p->bias_by_rows ? p->bias : NULL;
    const R *const *list = (const R *const *)p->a_list;
    R *c = p->c;
    const int in_panels = p->ldb == widest;
    (void)fetches;
    ptrdiff_t block = in_panels ? K_BLOCK_PACKED : K_BLOCK;
#if PACKS
    const int packs = fetches && p->a_by_columns && p->room && S(packs_columns)(p, &block);
    const int packs_b = fetches && !p->a_by_columns && !in_panels && p->rows >= PACKING_ROWS
                        && p->n >= GROUPED_PANELS * widest;
#endif
    for (ptrdiff_t k = 0; k == 0 || k < p->k; k += block) {
        int last = p->k - k <= block;
        ptrdiff_t k_count = last ? p->k - k : block;
        R lowest = p->relu && last ? 0 : -C(INFINITY);
#if PACKS
        if (packs) S(pack_columns)(p, k, k_count);
#endif
        for (ptrdiff_t j = 0; j < p->n; j += widest) {
            ptrdiff_t columns = p->n - j < widest ? p->n - j : widest;
            ptrdiff_t width = (columns + VLANES - 1) / VLANES, tallest = S(tallest)[width - 1];
            VMASK_T mask = VMASK(columns - (width - 1) * VLANES);
            const R *b = (const R *)p->b + j / widest * p->b_panel + k * p->ldb;
            const S(tile) *tile = S(tiles)[p->a_by_columns][width - 1];
            ptrdiff_t tiles = (p->rows + tallest - 1) / tallest, i = 0, ldb = p->ldb;
#if FETCHES
            const R *next = b + p->b_panel;
            ptrdiff_t share = 0;
#endif
#if PACKS
            const R *packed = p->room;
            if (packs_b && columns == widest) {
                ptrdiff_t in_group = j / widest % GROUP, whole = (p->n - j) / widest;
                if (in_group == 0)
                    S(pack_panels)(p, k, k_count, j, whole < GROUP ? whole : GROUP);
                b = (const R *)p->room + in_group * k_count * widest;
                next = b + k_count * widest;
                ldb = widest;
            }
#endif
#if FETCHES
            if (fetches && (!PACKS || ldb == widest) && width == MAX_VECTORS && tiles > 0)
                share = tiles > AT_ONCE ? (AT_ONCE * widest + tiles - 1) / tiles : widest;
#endif
            for (; tiles > 0; tiles--) {
                ptrdiff_t height = (p->rows - i) / tiles, at = i * ldc + j, a_step = p->a_step;
                ptrdiff_t a_at = p->a_by_columns ? i + k * a_step : i * a_step + k;
                const R *const *a_list = list ? list + (p->a_by_columns ? k : i) : NULL;
                const R *from = list ? NULL : a + a_at;
                if (list && j == 0 && !p->a_by_columns)
                    S(prefetch_rows)(p->rows - i - height, height, k_count, a_list + height,
                                     p->a_offset + k);
#if PACKS
                if (packs && width == MAX_VECTORS) {
                    from = packed, a_step = height, a_list = NULL;
                    packed += height * (k_count - 1) + REACH;
                }
#endif
#define VALUES                                                                                     \
    k_count, mask, from, a_step, a_list, p->a_by_columns ? p->a_offset + i : p->a_offset + k, b,   \
        ldb, k ? c + at : bias ? bias + j : NULL, k ? ldc : 0, row_bias ? row_bias + i : NULL,     \
        lowest, gate && last ? gate + at : NULL, c + at, ldc
#if FETCHES
                if (share > 0) {
                    if (gate && last) S(fetch_lines)(gate + at, height, ldc);
                    if (PACKS) S(fetch_lines)(c + at, height, ldc);
                    S(fetching_tiles)[p->a_by_columns][height - 1](VALUES, next, share);
                    next += share * (k_count / AT_ONCE);
                    i += height;
                    continue;
                }
#endif
                tile[height - 1](VALUES);
#undef VALUES
                i += height;
            }
        }
    }
}

#if FETCHES
/* apart, so that small products do not set up what only it needs */
NOT_INLINE void S(fetching_product)(const fnn_product *p) { S(run_tiles)(p, 1); }
#endif

static void S(product)(const fnn_product *p) {
    const ptrdiff_t widest = S(PANEL);
    if (S(thin_product)(p, widest)) return;
    if (p->rows == 1 && p->n > SINGLE_ROW_LINES * 64 / (ptrdiff_t)sizeof(R) && p->b_panel == widest
        && p->ldb > widest && !p->a_by_columns && !p->gate) {
        S(single_row)(p);
        return;
    }
#if FETCHES
    const int in_panels = p->ldb == widest && p->n > widest && (!LONG_PANEL || p->k >= LONG_PANEL);
    if (in_panels || (PACKS && p->room)) { /* others, often small, do without */
        S(fetching_product)(p);
        return;
    }
#endif
    S(run_tiles)(p, 0);
}
