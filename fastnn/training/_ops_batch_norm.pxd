"""Batch normalisation, for the row-major step."""

from fastnn.core._kernels cimport real
from fastnn.training._job cimport Chunk, Job, Op

cdef void batch_norm_forward(const Job* job, const Op* op, ptrdiff_t rows, ptrdiff_t row0,
                             const real* x, ptrdiff_t ldx, real* scratch) noexcept nogil
cdef void batch_norm_backward(const Job* job, const Op* op, const Op* below, ptrdiff_t rows,
                              ptrdiff_t row0, const real* x, ptrdiff_t ldx,
                              real* scratch) noexcept nogil
cdef void batch_norm_gradient(const Job* job, const Op* op, const Chunk* chunk, const real* x,
                              ptrdiff_t ldx, const real* scratch, real* gradient) noexcept nogil
cdef void move_averages(Job* job) noexcept nogil
