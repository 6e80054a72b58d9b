"""Checks of arrays that compiled loops read, and functions of arrays that they call."""

cimport numpy as cnp
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memcpy, memset

from fastnn.core._kernels cimport real
from fastnn.core._team cimport (
    fnn_after_keeping_subnormals,
    fnn_keep_subnormals,
    fnn_restore_float_mode,
)

import numpy as np

from fastnn.core.arrays import refuse_masked

cnp.import_array()

cdef enum:
    WATCHED_SIZE = 1 << 20     # so many elements are checked between two looks for Ctrl-C
    FREE_SIZE = 1 << 14        # from so many elements on the GIL is let go while they are checked
    SUMS = 16


def is_ready(x, ptrdiff_t columns):
    """Return whether compiled loops can read x as it is: a row-major, aligned array (rows, columns)
    of float32 or float64."""
    if type(x) is not np.ndarray:
        return False
    cdef cnp.ndarray array = x
    return (array.ndim == 2 and array.shape[1] == columns
            and array.descr.type_num in (cnp.NPY_FLOAT, cnp.NPY_DOUBLE)
            and cnp.PyArray_ISCARRAY_RO(array))


def all_finite(cnp.ndarray x not None):
    """Return whether a row-major, aligned array of float32 or float64 holds neither NaN nor
    infinity."""
    cdef ptrdiff_t size = x.size, start, count
    for start in range(0, size, WATCHED_SIZE):
        count = min(WATCHED_SIZE, size - start)
        if start > 0:
            PyErr_CheckSignals()
        if not _slice_is_finite(x.descr.type_num == cnp.NPY_DOUBLE, cnp.PyArray_DATA(x), start,
                                count):
            return False
    return True


def is_finite_vector(x, cnp.dtype dtype not None):
    """Return whether compiled loops can read x as it is, a vector of the dtype, float32 or float64,
    and it holds neither NaN nor infinity."""
    return is_ready_vector(x, dtype.type_num) and all_finite(x)


def ready_starts(starts, column, value, ptrdiff_t rows, cnp.dtype dtype not None):
    """Return where the rows of a CSR matrix begin, a new int64 array (rows + 1,), where compiled
    loops can read its arrays as they are; None where not, also where the rows are not sound. Here,
    as NumPy's functions for it took a tenth of a prediction, whose code was not in the cache."""
    cdef cnp.npy_intp size = rows + 1
    cdef cnp.ndarray found
    cdef int64_t* to
    cdef const void* given
    cdef ptrdiff_t i
    cdef bint falls = False
    if not (is_ready_vector(column, cnp.NPY_INT32) and is_ready_vector(value, dtype.type_num)):
        return None
    cdef bint narrow = is_ready_vector(starts, cnp.NPY_INT32)
    if not (narrow or is_ready_vector(starts, cnp.NPY_INT64)) or starts.size != size or rows < 0:
        return None
    found = cnp.PyArray_EMPTY(1, &size, cnp.NPY_INT64, 0)
    to, given = <int64_t*>cnp.PyArray_DATA(found), cnp.PyArray_DATA(<cnp.ndarray>starts)
    if narrow:
        for i in range(size):
            to[i] = (<const int32_t*>given)[i]
    else:
        memcpy(to, given, size * sizeof(int64_t))
    for i in range(rows):  # of the copy: what was given may change meanwhile
        falls |= to[i + 1] < to[i]
    if falls or to[0] != 0 or to[rows] > min(column.size, value.size):
        return None
    return found


cdef bint is_ready_vector(x, int type_num):
    """Whether compiled loops can read x as it is: a contiguous, aligned vector of native numbers of
    this type."""
    return (type(x) is np.ndarray and cnp.PyArray_NDIM(<cnp.ndarray>x) == 1
            and cnp.PyArray_TYPE(<cnp.ndarray>x) == type_num
            and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>x))


cdef bint _slice_is_finite(bint is_double, const void* x, ptrdiff_t start, ptrdiff_t count):
    cdef bint finite
    if count < FREE_SIZE:
        if is_double:
            return are_finite[double](<const double*>x + start, count)
        return are_finite[float](<const float*>x + start, count)
    with nogil:
        if is_double:
            finite = are_finite[double](<const double*>x + start, count)
        else:
            finite = are_finite[float](<const float*>x + start, count)
    return finite


cdef bint are_finite(const real* x, ptrdiff_t count) noexcept nogil:
    # 0 x is 0, or NaN for NaN and infinity; sixteen sums, which compilers put into vectors, so that
    # additions do not wait for each other. A zero of the type: with 0 Cython computes in double.
    cdef real[SUMS] sums
    cdef real zero = 0, total = 0
    cdef ptrdiff_t i, j
    cdef uint64_t float_mode = fnn_keep_subnormals()
    for j in range(SUMS):
        sums[j] = 0
    for i in range(count // SUMS):
        for j in range(SUMS):
            sums[j] += zero * x[SUMS * i + j]
    for i in range(count // SUMS * SUMS, count):
        sums[0] += zero * x[i]
    for j in range(SUMS):
        total += sums[j]
    fnn_after_keeping_subnormals(float_mode)
    return total == 0


cdef int apply_rows(object function, str what, ptrdiff_t rows, ptrdiff_t n, const real* x,
                    ptrdiff_t ldx, const real* factor, ptrdiff_t ldf, real* out,
                    ptrdiff_t ldout) except -1:
    """out (rows, n; ldout) = function(x (rows, n; ldx)), times factor (rows, n; ldf) unless that is
    NULL. ``what`` names the function in messages. Where it raises, out holds zeros."""
    cdef uint64_t mode = fnn_keep_subnormals()
    cdef cnp.ndarray given, found
    cdef const real* y
    cdef ptrdiff_t r, j
    for r in range(rows):
        memset(out + r * ldout, 0, n * sizeof(real))
    try:
        dtype = np.float32 if real is float else np.float64
        given = np.empty((rows, n), dtype)
        for r in range(rows):
            memcpy((<real*>cnp.PyArray_DATA(given)) + r * n, x + r * ldx, n * sizeof(real))
        result = function(given)
        if type(result) is not np.ndarray:
            refuse_masked(what, result)
            result = np.asarray(result)
        if result.shape != (rows, n):
            raise ValueError(f"{what} gives shape {result.shape}, must give {(rows, n)}")
        if result.dtype.kind not in "biuf":
            raise TypeError(f"{what} gives {result.dtype}, must give real numbers")
        found = np.ascontiguousarray(result, dtype)
        y = <const real*>cnp.PyArray_DATA(found)
        for r in range(rows):
            if factor == NULL:
                memcpy(out + r * ldout, y + r * n, n * sizeof(real))
            else:
                for j in range(n):
                    out[r * ldout + j] = y[r * n + j] * factor[r * ldf + j]
    finally:
        fnn_restore_float_mode(mode)
    return 0
