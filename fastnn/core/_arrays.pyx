"""Checks of arrays that compiled loops read, and functions of arrays that they call."""

cimport numpy as cnp
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memset

from fastnn.core._kernels cimport real
from fastnn.core._team cimport (
    fnn_after_keeping_subnormals,
    fnn_keep_subnormals,
    fnn_restore_float_mode,
)

import numpy as np

cnp.import_array()

cdef enum:
    WATCHED_SIZE = 1 << 20     # so many elements are checked between two looks for Ctrl-C
    FREE_SIZE = 1 << 14        # from so many elements on the GIL is let go while they are checked


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
    # 0 x is 0, or NaN for NaN and infinity; eight sums, which compilers put into vectors, so that
    # additions do not wait for each other. A zero of the type: with 0 Cython computes in double.
    cdef real s0 = 0, s1 = 0, s2 = 0, s3 = 0, s4 = 0, s5 = 0, s6 = 0, s7 = 0, zero = 0
    cdef ptrdiff_t i
    cdef uint64_t float_mode = fnn_keep_subnormals()
    for i in range(count // 8):
        s0 += zero * x[8 * i]
        s1 += zero * x[8 * i + 1]
        s2 += zero * x[8 * i + 2]
        s3 += zero * x[8 * i + 3]
        s4 += zero * x[8 * i + 4]
        s5 += zero * x[8 * i + 5]
        s6 += zero * x[8 * i + 6]
        s7 += zero * x[8 * i + 7]
    for i in range(count // 8 * 8, count):
        s0 += zero * x[i]
    fnn_after_keeping_subnormals(float_mode)
    return s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7 == 0


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
        result = np.asarray(function(given))
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
