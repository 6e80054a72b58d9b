"""Boosted trees of rows: what `fastnn.tabular.forest.Forest` describes, made ready once.

Whatever a row has in a column rules out leaves of trees: those below each threshold that it is
above. For each column, and each gap between its thresholds, the leaves that are left of every tree
stand as bits; what a row ends at is the first leaf that no column rules out (Lucchese et al. 2015,
QuickScorer, with all thresholds of a column taken together).
"""

cimport numpy as cnp
from cython.parallel cimport prange
from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.stdlib cimport free, malloc

from fastnn.core._team cimport fnn_team_rank

import numpy as np

from fastnn.core.threads import team_size

cnp.import_array()

cdef extern from *:
    """
    #if defined(_MSC_VER) && !defined(__clang__)
    #include <intrin.h>
    static __inline int fnn_first_bit(unsigned int bits) {
        unsigned long at;
        _BitScanForward(&at, bits);
        return (int)at;
    }
    #else
    static inline int fnn_first_bit(unsigned int bits) { return __builtin_ctz(bits); }
    #endif
    """
    int fnn_first_bit(unsigned int bits) noexcept nogil

cdef enum:
    MOST_LEAVES = 32
    # of a file, before anything is made of them: a recipe has 768 trees at most
    MOST_TREES = 1 << 12
    MOST_BITS = 1 << 26  # words of bits, 256 MB
    LINE = 16  # words of bits of a cache line
    BLOCK = 256  # rows that a thread takes at a time: some 0.5 ms
cdef uint32_t ALL = 0xffffffff


cdef class Scorer:
    """Trees whose arrays have been checked.

    Parameters
    ----------
    n_numbers : int
    sizes : sequence of int
        Codes of each column of categories, unknown and missing included.
    categories : int32 array (n,)
        The columns of categories that trees know.
    ranks : float64 array (n_folds, sum of their sizes)
        What stands for each code in the trees of a fold.
    ends : int32 array (n_folds,)
        Trees of all folds so far.
    counts : int32 array (n_trees,)
        Splits of each tree, 1 to 31.
    leaves, columns, thresholds : int32, int32, float64 array (n_splits,)
        The i-th split of a tree, from 0, divides one of its leaves: rows whose value is above the
        threshold go to a new leaf i + 1. A column is one of numbers, or n_numbers + the place of a
        category among ``categories``.
    values : float64 array (n_leaves, n_out)
    base : float64 array (n_folds, n_out)
        What the trees of a fold add to.

    Raises
    ------
    ValueError
        When they do not fit together.
    """

    cdef readonly ptrdiff_t n_numbers, n_folds, n_out, n_trees
    cdef list sizes
    cdef const int32_t[::1] ends
    cdef const double[:, ::1] base
    cdef double[:, ::1] values     # of the leaves in the order of their bits
    cdef int32_t[::1] first_leaf   # of each tree
    cdef uint32_t[:, ::1] left     # (n_gaps, n_trees): which leaves a gap leaves
    cdef int32_t[::1] used         # columns of numbers
    cdef int64_t[::1] starts       # of the thresholds of each of them
    cdef double[::1] cuts          # their thresholds
    cdef int32_t[::1] known        # columns of categories
    cdef int64_t[::1] first_code   # of each of them in gaps
    cdef int32_t[::1] gaps         # of each code: a row of left

    # no __init__: called once more, it would free what another thread reads
    def __cinit__(self, n_numbers, sizes, categories, ranks, ends, counts, leaves, columns,
                  thresholds, values, base):
        self.n_numbers, self.sizes = n_numbers, list(sizes)
        self.ends, self.base = np.array(ends), np.array(base)  # nobody else writes into these
        self.n_folds, self.n_out = base.shape
        self.n_trees = len(counts)
        check(n_numbers, self.sizes, categories, ranks, ends, counts, leaves, columns, thresholds,
              values, base)
        kept, places = masks_of(counts, leaves)
        self.first_leaf = (np.cumsum(counts + 1) - counts - 1).astype(np.int32)
        self.values = np.ascontiguousarray(values[places])
        tree = np.repeat(np.arange(self.n_trees, dtype=np.int32), counts)
        fold = np.searchsorted(ends, tree, "right")
        order = np.lexsort((thresholds, columns))
        self.used = np.unique(columns[columns < n_numbers])
        left, starts, cuts, at = [], [0], [np.zeros(0)], 0
        for column in self.used:
            own = order[columns[order] == column]
            found, gap = np.unique(thresholds[own], return_inverse=True)
            check_room(at + len(found) + 1, self.n_trees)
            left.append(np.full((len(found) + 1, self.n_trees), ALL, np.uint32))
            np.bitwise_and.at(left[-1], (gap + 1, tree[own]), kept[own])
            np.bitwise_and.accumulate(left[-1], axis=0, out=left[-1])
            cuts.append(found)
            starts.append(starts[-1] + len(found))
            at += len(found) + 1
        self.starts, self.cuts = np.array(starts, np.int64), np.concatenate(cuts)
        self.known, gaps = np.array(categories, np.int32), [np.zeros(0, np.int32)]
        first = np.cumsum([0] + list(map(self.sizes.__getitem__, categories.tolist())))
        for i in range(len(categories)):
            own = np.flatnonzero(columns == n_numbers + i)
            found, gap = distinct_columns(ranks[:, first[i]:first[i + 1]])
            check_room(at + found.shape[1], self.n_trees)
            left.append(np.full((found.shape[1], self.n_trees), ALL, np.uint32))
            for code in range(found.shape[1]):
                above = own[found[fold[own], code] > thresholds[own]]
                np.bitwise_and.at(left[-1], (code, tree[above]), kept[above])
            gaps.append((gap + at).astype(np.int32))
            at += found.shape[1]
        self.first_code, self.gaps = first.astype(np.int64), np.concatenate(gaps)
        self.left = np.concatenate(left) if left else np.full((1, self.n_trees), ALL, np.uint32)

    def score(self, const double[:, :] numbers, const int32_t[:, :] codes, double[:, ::1] out,
              int threads=1):
        """Write what the trees of each fold come to.

        Parameters
        ----------
        numbers : float64 array (n, n_numbers)
            NaN: missing, above no threshold.
        codes : int32 array (n, n_categories)
        out : float64 array (n, n_folds * n_out)
        threads : int, default=1

        Raises
        ------
        ValueError
            When they do not fit the trees, or a code is beyond what was learned.
        """
        cdef ptrdiff_t i, j, block, n = out.shape[0], q = self.known.shape[0]
        cdef ptrdiff_t n_blocks = (n + BLOCK - 1) // BLOCK
        cdef ptrdiff_t stride = (self.n_trees + LINE - 1) // LINE * LINE
        cdef int team = team_size(min(threads, n_blocks)) if n_blocks > 1 else 1
        cdef uint32_t* bits
        if (numbers.shape[0] != n or codes.shape[0] != n or numbers.shape[1] != self.n_numbers
                or codes.shape[1] != len(self.sizes)
                or out.shape[1] != self.n_folds * self.n_out):
            raise ValueError("numbers and codes do not fit the trees")
        for j in range(q):
            for i in range(n):
                if not 0 <= codes[i, self.known[j]] < self.first_code[j + 1] - self.first_code[j]:
                    raise ValueError(f"code {codes[i, self.known[j]]} of a category is beyond what "
                                     "was learned")
        bits = <uint32_t*>malloc(team * stride * sizeof(uint32_t))
        if bits == NULL:
            raise MemoryError
        with nogil:
            if team == 1:  # OpenMP ends the process where it gets no memory
                self.score_rows(numbers, codes, 0, n, bits, out)
            else:
                for block in prange(n_blocks, num_threads=team, schedule="dynamic"):
                    self.score_rows(numbers, codes, block * BLOCK, min(n, (block + 1) * BLOCK),
                                    bits + fnn_team_rank() * stride, out)
        free(bits)

    cdef void score_rows(self, const double[:, :] numbers, const int32_t[:, :] codes,
                         ptrdiff_t start, ptrdiff_t stop, uint32_t* bits,
                         double[:, ::1] out) noexcept nogil:
        cdef ptrdiff_t i
        for i in range(start, stop):
            self.rule_out(numbers, codes, i, bits)
            self.add_up(bits, &out[i, 0])

    cdef void rule_out(self, const double[:, :] numbers, const int32_t[:, :] codes, ptrdiff_t i,
                       uint32_t* bits) noexcept nogil:
        """The leaves that no column of a row rules out."""
        cdef ptrdiff_t j, t, gap, low, high, middle, n = self.n_trees
        cdef double x
        cdef const uint32_t* own
        for t in range(n):
            bits[t] = ALL
        for j in range(self.used.shape[0]):
            x, low, high = numbers[i, self.used[j]], self.starts[j], self.starts[j + 1]
            while low < high:
                middle = (low + high) // 2
                if x > self.cuts[middle]:
                    low = middle + 1
                else:
                    high = middle
            gap = low + j  # a column has one more gap than thresholds
            own = &self.left[gap, 0]
            for t in range(n):
                bits[t] &= own[t]
        for j in range(self.known.shape[0]):
            own = &self.left[self.gaps[self.first_code[j] + codes[i, self.known[j]]], 0]
            for t in range(n):
                bits[t] &= own[t]

    cdef void add_up(self, const uint32_t* bits, double* out) noexcept nogil:
        cdef ptrdiff_t f, t, j, first = 0, k = self.n_out
        cdef const double* value
        for f in range(self.n_folds):
            for j in range(k):
                out[f * k + j] = self.base[f, j]
            for t in range(first, self.ends[f]):
                value = &self.values[self.first_leaf[t] + fnn_first_bit(bits[t]), 0]
                for j in range(k):
                    out[f * k + j] += value[j]
            first = self.ends[f]


def distinct_columns(array):
    """Return the columns (n, k) of an array (n, m) without their repetitions, in order, and which
    of them each is, (m,). NumPy's ``unique(axis=1)`` goes on with a wrong order where it gets no
    memory for a comparison."""
    order = np.lexsort(array[::-1])
    found = array[:, order]
    new = np.ones(len(order), bool)
    new[1:] = (found[:, 1:] != found[:, :-1]).any(axis=0)
    which = np.empty(len(order), np.intp)
    which[order] = np.cumsum(new) - 1
    return found[:, new], which


def check(n_numbers, sizes, categories, ranks, ends, counts, leaves, columns, thresholds, values,
          base):
    """Raise ValueError where the arrays of a `Scorer` do not fit together."""
    n = len(leaves)
    fit = ranks.ndim == values.ndim == base.ndim == 2
    for array in (categories, ends, counts, leaves, columns, thresholds):
        fit = fit and array.ndim == 1
    if not fit:  # before a column of one is spread over the row of another
        raise ValueError("the arrays of trees do not fit together")
    if len(counts) > MOST_TREES:
        raise ValueError(f"{len(counts)} trees are too many")
    if not (len(ends) == len(base) == len(ranks) > 0 and base.shape[1] > 0 and len(counts) > 0
            and values.shape[1:] == base.shape[1:] and ends[-1] == len(counts)
            and (np.diff(ends, prepend=0) > 0).all()
            and ((counts > 0) & (counts < MOST_LEAVES)).all() and counts.sum() == n
            and len(columns) == len(thresholds) == n and len(values) == n + len(counts)):
        raise ValueError("the arrays of trees do not fit together")
    if min(sizes, default=0) < 0 or (
            (categories < 0) | (categories >= len(sizes))).any() or ranks.shape[1] != sum(
            map(sizes.__getitem__, categories.tolist())):
        raise ValueError("trees name a category that there is not")
    if ((columns < 0) | (columns >= n_numbers + len(categories))).any():
        raise ValueError("trees name a column that there is not")
    if (leaves < 0).any() or (leaves > np.arange(n) - np.repeat(np.cumsum(counts) - counts,
                                                                counts)).any():
        raise ValueError("a tree splits a leaf that it does not have")


def check_room(gaps, n_trees):
    """Raise ValueError where bits of so many trees in so many gaps ask for very much memory."""
    if gaps * n_trees > MOST_BITS:
        raise ValueError(f"{n_trees} trees with {gaps} gaps between thresholds are too many")


cdef tuple masks_of(const int32_t[::1] counts, const int32_t[::1] leaves):
    """Return of each split the leaves that are left where a row is above its threshold, as bits,
    and of each bit of each tree the number of its leaf among those of all trees."""
    cdef ptrdiff_t t, i, j, at, first = 0, first_leaf = 0, n = counts.shape[0]
    cdef uint32_t below[MOST_LEAVES]
    cdef int32_t bit[MOST_LEAVES]
    found, order = np.empty(leaves.shape[0], np.uint32), np.empty(leaves.shape[0] + n, np.intp)
    cdef uint32_t[::1] kept = found
    cdef cnp.npy_intp[::1] places = order
    for t in range(n):
        # a new leaf stands right behind the one that it was divided from
        bit[0] = 0
        for i in range(counts[t]):
            at = bit[leaves[first + i]]
            for j in range(i + 1):
                bit[j] += bit[j] > at
            bit[i + 1] = <int32_t>at + 1
        for j in range(counts[t] + 1):
            below[j] = (<uint32_t>1) << bit[j]
            places[first_leaf + bit[j]] = first_leaf + j
        for i in range(counts[t] - 1, -1, -1):
            kept[first + i] = ~below[leaves[first + i]]
            below[leaves[first + i]] |= below[i + 1]
        first += counts[t]
        first_leaf += counts[t] + 1
    return found, order
