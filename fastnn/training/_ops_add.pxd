"""Sums and copies, for the row-major step."""

from fastnn.core._kernels cimport real
from fastnn.training._job cimport Job, Op

cdef void add_forward(const Job* job, const Op* op, ptrdiff_t rows, ptrdiff_t row0,
                      const real* x, ptrdiff_t ldx, const real* y, ptrdiff_t ldy,
                      real* scratch) noexcept nogil
cdef void copy_rows(ptrdiff_t rows, ptrdiff_t n, const real* x, ptrdiff_t ldx, real* out,
                    ptrdiff_t ldout) noexcept nogil
cdef void add_gradients(const Job* job, int first, ptrdiff_t rows, ptrdiff_t row0,
                        real* scratch) noexcept nogil
