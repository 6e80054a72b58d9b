"""Elementwise functions of arrays in Python, called by compiled loops."""

from fastnn.core._kernels cimport real

cdef bint are_finite(const real* x, ptrdiff_t count) noexcept nogil
cdef int apply_rows(object function, str what, ptrdiff_t rows, ptrdiff_t n, const real* x,
                    ptrdiff_t ldx, const real* factor, ptrdiff_t ldf, real* out,
                    ptrdiff_t ldout) except -1
