"""The dense operation, for the row-major step."""

from fastnn.core._kernels cimport real
from fastnn.training._job cimport Chunk, Job, Op

cdef void dense_forward(const Job* job, const Op* op, ptrdiff_t rows, ptrdiff_t row0,
                        const real* x, ptrdiff_t ldx, real* scratch) noexcept nogil
cdef void pack_gradient(const Job* job, const Op* op, ptrdiff_t rows, ptrdiff_t row0,
                        real* scratch) noexcept nogil
cdef void dense_backward(const Job* job, const Op* op, const Op* below, ptrdiff_t rows,
                         ptrdiff_t row0, real* scratch) noexcept nogil
cdef void dense_gradient(const Job* job, const Op* op, const Chunk* chunk, const real* x,
                         ptrdiff_t ldx, const real* scratch, real* gradient) noexcept nogil
cdef void copy_weights(const Job* job, const Op* op, const Chunk* chunk, real* tag) noexcept nogil
