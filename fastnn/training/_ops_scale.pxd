"""A learned factor for each column, for the row-major step."""

from fastnn.core._kernels cimport real
from fastnn.training._job cimport Chunk, Job, Op

cdef void scale_forward(const Job* job, const Op* op, ptrdiff_t rows, ptrdiff_t row0,
                        const real* x, ptrdiff_t ldx, real* scratch) noexcept nogil
cdef void scale_backward(const Job* job, const Op* op, const Op* below, ptrdiff_t rows,
                         ptrdiff_t row0, real* scratch) noexcept nogil
cdef void scale_gradient(const Job* job, const Op* op, const Chunk* chunk, const real* x,
                         ptrdiff_t ldx, const real* scratch, real* gradient) noexcept nogil
