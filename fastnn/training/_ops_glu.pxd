"""Gates, for the row-major step."""

from fastnn.core._kernels cimport real
from fastnn.training._job cimport Job, Op

cdef void glu_forward(const Job* job, const Op* op, ptrdiff_t rows, ptrdiff_t row0, const real* x,
                      ptrdiff_t ldx, real* scratch) noexcept nogil
cdef void glu_backward(const Job* job, const Op* op, const Op* below, ptrdiff_t rows,
                       ptrdiff_t row0, const real* x, ptrdiff_t ldx,
                       real* scratch) noexcept nogil
