"""Checks of arrays that compiled loops read."""

cimport numpy as cnp
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport uint64_t

from fastnn.core._kernels cimport real
from fastnn.core._team cimport fnn_after_keeping_subnormals, fnn_keep_subnormals

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
            return _all_finite[double](<const double*>x + start, count)
        return _all_finite[float](<const float*>x + start, count)
    with nogil:
        if is_double:
            finite = _all_finite[double](<const double*>x + start, count)
        else:
            finite = _all_finite[float](<const float*>x + start, count)
    return finite


cdef bint _all_finite(const real* x, ptrdiff_t count) noexcept nogil:
    # 0 x is 0, or NaN for NaN and infinity; four sums, so that additions do not wait for each other
    cdef real s0 = 0, s1 = 0, s2 = 0, s3 = 0
    cdef ptrdiff_t i
    cdef uint64_t float_mode = fnn_keep_subnormals()
    for i in range(count // 4):
        s0 += 0 * x[4 * i]
        s1 += 0 * x[4 * i + 1]
        s2 += 0 * x[4 * i + 2]
        s3 += 0 * x[4 * i + 3]
    for i in range(count // 4 * 4, count):
        s0 += 0 * x[i]
    fnn_after_keeping_subnormals(float_mode)
    return s0 + s1 + s2 + s3 == 0
