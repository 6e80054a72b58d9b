"""Inputs less their means, divided by their deviations: the work of `Scaler`."""

cimport numpy as cnp
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport uint64_t

from fastnn.core._kernels cimport real
from fastnn.core._team cimport fnn_after_keeping_subnormals, fnn_keep_subnormals

import numpy as np

cnp.import_array()

cdef enum:
    WATCHED_SIZE = 1 << 20     # so many elements are scaled between two looks for Ctrl-C


cdef bint is_double_vector(cnp.ndarray array):
    return (array.ndim == 1 and array.descr.type_num == cnp.NPY_DOUBLE
            and cnp.PyArray_ISCARRAY_RO(array))


def scale_rows(cnp.ndarray x not None, cnp.ndarray mean not None, cnp.ndarray scale not None,
               limits, bint to_double):
    """Return (x - mean) / scale in double precision, cut off at the limits (low, high) where they
    are not None, as a new row-major array.

    Parameters
    ----------
    x : row-major, aligned array (rows, n), float32 or float64
    mean, scale : float64 arrays (n,)
    """
    cdef ptrdiff_t rows, n
    cdef cnp.npy_intp[2] shape
    cdef const double* m = <const double*>cnp.PyArray_DATA(mean)
    cdef const double* s = <const double*>cnp.PyArray_DATA(scale)
    cdef double low = -np.inf, high = np.inf
    if x.ndim != 2 or not cnp.PyArray_ISCARRAY_RO(x) or x.descr.type_num not in (
            cnp.NPY_FLOAT, cnp.NPY_DOUBLE):
        raise ValueError("x must be a row-major array (rows, n) of float32 or float64")
    if not (is_double_vector(mean) and is_double_vector(scale)):
        raise ValueError("mean and scale must be contiguous vectors of float64")
    rows, n = x.shape[0], x.shape[1]
    if mean.size != n or scale.size != n:
        raise ValueError(f"x has {n} columns, mean {mean.size}, scale {scale.size}")
    if limits is not None:
        low, high = limits
    shape[0], shape[1] = rows, n
    cdef cnp.ndarray out = cnp.PyArray_EMPTY(2, shape,
                                             cnp.NPY_DOUBLE if to_double else cnp.NPY_FLOAT, 0)
    if x.descr.type_num == cnp.NPY_DOUBLE:
        _scale_to[double](rows, n, <const double*>cnp.PyArray_DATA(x), m, s, low, high, out)
    else:
        _scale_to[float](rows, n, <const float*>cnp.PyArray_DATA(x), m, s, low, high, out)
    return out


cdef int _scale_to(ptrdiff_t rows, ptrdiff_t n, const real* x, const double* mean,
                   const double* scale, double low, double high, cnp.ndarray out) except -1:
    cdef void* to = cnp.PyArray_DATA(out)
    cdef bint to_double = out.descr.type_num == cnp.NPY_DOUBLE
    cdef ptrdiff_t most = max(1, WATCHED_SIZE // max(n, 1)), start, count
    for start in range(0, rows, most):
        count = min(most, rows - start)
        if start > 0:
            PyErr_CheckSignals()
        with nogil:
            if to_double:
                _scale(count, n, x + start * n, mean, scale, low, high, (<double*>to) + start * n)
            else:
                _scale(count, n, x + start * n, mean, scale, low, high, (<float*>to) + start * n)
    return 0


ctypedef fused target:
    float
    double


cdef void _scale(ptrdiff_t rows, ptrdiff_t n, const real* x, const double* mean,
                 const double* scale, double low, double high, target* out) noexcept nogil:
    cdef ptrdiff_t i, j
    cdef double z
    cdef uint64_t float_mode = fnn_keep_subnormals()
    for i in range(rows):
        for j in range(n):
            z = (x[i * n + j] - mean[j]) / scale[j]
            z = low if z < low else high if z > high else z
            out[i * n + j] = <target>z
    fnn_after_keeping_subnormals(float_mode)
