"""A learned factor for each column, row-major."""

from fastnn.core._kernels cimport column_products, real, scale_columns
from fastnn.training._job cimport Chunk, Job, Op


cdef void scale_forward(const Job* job, const Op* op, ptrdiff_t rows, ptrdiff_t row0,
                        const real* x, ptrdiff_t ldx, real* scratch) noexcept nogil:
    """z = x s"""
    scale_columns(job.k, rows, op.n_out, x, ldx, (<const real*>job.parameters) + op.w,
                  scratch + op.z + row0 * op.ld, op.ld)


cdef void scale_backward(const Job* job, const Op* op, const Op* below, ptrdiff_t rows,
                         ptrdiff_t row0, real* scratch) noexcept nogil:
    """dx = dz s, the gradient with respect to the value of ``below``."""
    scale_columns(job.k, rows, op.n_out, scratch + op.dz + row0 * op.ld, op.ld,
                  (<const real*>job.parameters) + op.w, scratch + below.dz + row0 * below.ld,
                  below.ld)


cdef void scale_gradient(const Job* job, const Op* op, const Chunk* chunk, const real* x,
                         ptrdiff_t ldx, const real* scratch, real* gradient) noexcept nogil:
    """gradient (chunk.size,) = this piece of that of s, of the whole batch."""
    column_products(job.k, job.rows * op.members, chunk.size, scratch + op.dz + chunk.start, op.ld,
                    x + chunk.start, ldx, gradient)
