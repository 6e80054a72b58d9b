"""Elementwise functions of arrays in Python, for compiled code: those of a `CustomActivation`."""

cimport numpy as cnp
from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memset

from fastnn.core._kernels cimport real
from fastnn.core._team cimport fnn_keep_subnormals, fnn_restore_float_mode

import numpy as np

cnp.import_array()


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
