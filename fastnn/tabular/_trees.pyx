"""One regression tree of several outputs over columns of codes: its splits, best first."""

cimport numpy as cnp
from libc.stdint cimport int32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

import numpy as np

cnp.import_array()

cdef enum:
    MOST_LEAVES = 64


cdef struct Leaf:
    ptrdiff_t begin, end   # of its rows
    double gain            # of its best split; 0: there is none
    int column, code       # above which rows go to the new leaf


cdef void count(const unsigned char[:, ::1] codes, const int32_t[::1] starts,
                const double[:, ::1] slopes, const int32_t* rows, ptrdiff_t n,
                double* sums) noexcept nogil:
    """Sums of the slopes of rows by column and code, and how many rows there are."""
    cdef ptrdiff_t i, j, k, p = codes.shape[1], width = slopes.shape[1]
    cdef double first, second
    cdef const double* slope
    cdef const unsigned char* code
    cdef double* to
    memset(sums, 0, starts[p] * (width + 1) * sizeof(double))
    if width == 2:  # of one output: two thirds of the time of the loop below
        for i in range(n):
            first, second = slopes[rows[i], 0], slopes[rows[i], 1]
            code = &codes[rows[i], 0]
            for j in range(p):
                to = sums + (starts[j] + code[j]) * 3
                to[0] += first
                to[1] += second
                to[2] += 1
        return
    for i in range(n):
        slope, code = &slopes[rows[i], 0], &codes[rows[i], 0]
        for j in range(p):
            to = sums + (starts[j] + code[j]) * (width + 1)
            for k in range(width):
                to[k] += slope[k]
            to[width] += 1


cdef void look(Leaf* leaf, const double* sums, const int32_t[::1] starts, ptrdiff_t outputs,
               double penalty, double least_rows, double least_gain,
               double* left) noexcept nogil:
    """Find the best split of a leaf."""
    cdef ptrdiff_t j, b, k, p = starts.shape[0] - 1, width = 2 * outputs
    cdef double gain, whole = 0, n = leaf.end - leaf.begin, rest
    cdef const double* own
    memset(left, 0, 2 * (width + 1) * sizeof(double))
    cdef double* total = left + width + 1
    leaf.gain = 0
    if p == 0 or n < 2 * least_rows:
        return
    for b in range(starts[1]):
        for k in range(width):
            total[k] += sums[b * (width + 1) + k]
    for k in range(outputs):
        whole += total[k] * total[k] / (total[outputs + k] + penalty)
    for j in range(p):
        memset(left, 0, (width + 1) * sizeof(double))
        for b in range(starts[j], starts[j + 1] - 1):
            own = sums + b * (width + 1)
            if own[width] == 0:
                continue
            for k in range(width + 1):
                left[k] += own[k]
            if left[width] < least_rows:
                continue
            if n - left[width] < least_rows:
                break
            gain = -whole
            for k in range(outputs):
                rest = total[k] - left[k]
                gain += (left[k] * left[k] / (left[outputs + k] + penalty)
                         + rest * rest / (total[outputs + k] - left[outputs + k] + penalty))
            if gain > leaf.gain and gain > least_gain:
                leaf.gain, leaf.column, leaf.code = gain, <int>j, <int>(b - starts[j])


cdef ptrdiff_t divide(const unsigned char[:, ::1] codes, Leaf* leaf, int32_t* rows,
                      int32_t* room) noexcept nogil:
    """Put the rows of a leaf that go to the new one behind the others; return where they begin."""
    cdef ptrdiff_t i, low = leaf.begin, high = 0
    for i in range(leaf.begin, leaf.end):
        if codes[rows[i], leaf.column] > leaf.code:
            room[high] = rows[i]
            high += 1
        else:
            rows[low] = rows[i]
            low += 1
    for i in range(high):
        rows[low + i] = room[i]
    return low


cdef bint are_beyond(const unsigned char[:, ::1] codes,
                     const int32_t[::1] starts) noexcept nogil:
    """Whether codes are beyond their columns. (NumPy's maxima took an eighth of a tree's time.)"""
    cdef ptrdiff_t i, j, p = codes.shape[1]
    cdef const unsigned char* code
    cdef int wrong = 0
    for i in range(codes.shape[0]):
        code = &codes[i, 0]
        for j in range(p):
            wrong |= code[j] >= starts[j + 1] - starts[j]
        if wrong:
            return True
    return False


cdef ptrdiff_t walked(const unsigned char* codes, const int32_t* splits,
                      ptrdiff_t n) noexcept nogil:
    """The leaf that a row ends at."""
    cdef ptrdiff_t i, at = 0
    for i in range(n):
        if splits[3 * i] == at and codes[splits[3 * i + 1]] > splits[3 * i + 2]:
            at = i + 1
    return at


def grow(const unsigned char[:, ::1] codes, const int32_t[::1] starts,
         const double[:, ::1] slopes, const int32_t[::1] rows, int leaves, double penalty,
         double least_rows, double least_gain):
    """Return splits (n, 3): the leaf that is split, the column, and the code above which its rows
    go to a new leaf, whose number is that of the split plus one; and the leaf of each row, of those
    that do not count, too.

    Parameters
    ----------
    codes : uint8 array (n_rows, n_columns)
    starts : int32 array (n_columns + 1,)
        Where the codes of each column begin among those of all.
    slopes : float64 array (n_rows, 2 * n_outputs)
        Gradients, and behind them curvatures.
    rows : int32 array (n,)
        Those that count.
    leaves : int
        At most, at most 64.
    penalty : float
        Of the squares of the values of leaves.
    least_rows, least_gain : float
        Of a leaf, and of a split.

    Raises
    ------
    ValueError
        When the arrays do not fit together.
    MemoryError
    """
    cdef ptrdiff_t p = codes.shape[1], width = slopes.shape[1], n = rows.shape[0]
    cdef ptrdiff_t size, i, middle
    cdef int at, best, number = 1
    cdef Leaf[MOST_LEAVES] found
    cdef double* sums
    cdef double* left
    cdef double* small
    cdef double* large
    if (starts.shape[0] != p + 1 or slopes.shape[0] != codes.shape[0] or width % 2 or not width
            or not 1 <= leaves <= MOST_LEAVES or starts[0] != 0
            or (np.diff(np.asarray(starts)) < 1).any()):
        raise ValueError("codes, starts and slopes do not fit together")
    if n and (np.min(rows) < 0 or np.max(rows) >= codes.shape[0]):
        raise ValueError("rows are beyond the codes")
    if are_beyond(codes, starts):
        raise ValueError("codes are beyond their columns")
    splits, leaf_of = np.zeros((leaves - 1, 3), np.int32), np.zeros(codes.shape[0], np.intp)
    cdef int32_t[:, ::1] told = splits
    cdef cnp.npy_intp[::1] ends_at = leaf_of
    cdef int32_t[::1] order = np.array(rows, np.int32), room = np.empty(n, np.int32)
    if n == 0 or p == 0 or leaves == 1:
        return splits[:0], leaf_of
    size = starts[p] * (width + 1)
    sums = <double*>malloc(((leaves * size) + 2 * (width + 1)) * sizeof(double))
    if sums == NULL:
        raise MemoryError
    left = sums + leaves * size
    with nogil:
        found[0].begin, found[0].end = 0, n
        count(codes, starts, slopes, &order[0], n, sums)
        look(&found[0], sums, starts, width // 2, penalty, least_rows, least_gain, left)
        while number < leaves:
            best = 0
            for at in range(1, number):
                if found[at].gain > found[best].gain:
                    best = at
            if found[best].gain <= 0:
                break
            told[number - 1, 0] = best
            told[number - 1, 1] = found[best].column
            told[number - 1, 2] = found[best].code
            middle = divide(codes, &found[best], &order[0], &room[0])
            found[number].begin, found[number].end = middle, found[best].end
            found[best].end = middle
            number += 1
            if number == leaves:
                break
            # the sums of the larger part are what those of the smaller one leave
            large, small = sums + best * size, sums + (number - 1) * size
            if found[best].end - found[best].begin < found[number - 1].end - middle:
                count(codes, starts, slopes, &order[found[best].begin],
                      found[best].end - found[best].begin, small)
                for i in range(size):
                    large[i], small[i] = small[i], large[i] - small[i]
            else:
                count(codes, starts, slopes, &order[middle], found[number - 1].end - middle, small)
                for i in range(size):
                    large[i] -= small[i]
            look(&found[best], large, starts, width // 2, penalty, least_rows, least_gain, left)
            look(&found[number - 1], small, starts, width // 2, penalty, least_rows, least_gain,
                 left)
        for i in range(codes.shape[0]):
            ends_at[i] = -1
        for at in range(number):
            for i in range(found[at].begin, found[at].end):
                ends_at[order[i]] = at
        for i in range(codes.shape[0]):
            if ends_at[i] < 0:
                ends_at[i] = walked(&codes[i, 0], &told[0, 0], number - 1)
    free(sums)
    return splits[:number - 1], leaf_of
