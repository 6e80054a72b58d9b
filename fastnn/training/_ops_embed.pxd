"""Embeddings of the columns of a table, for the row-major step."""

from fastnn.core._kernels cimport real
from fastnn.training._job cimport Chunk, Job, Op

cdef void embed_forward(const Job* job, const Op* op, ptrdiff_t start, ptrdiff_t rows,
                        ptrdiff_t row0, const real* x, ptrdiff_t ldx,
                        real* scratch) noexcept nogil
cdef void embed_gradient(const Job* job, const Op* op, const Chunk* chunk, const real* x,
                         ptrdiff_t ldx, const real* scratch, real* gradient) noexcept nogil
