"""PReLU, row-major: slopes below 0 that are learned, of each unit or one of all."""

from fastnn.core._kernels cimport prelu_backward_rows, prelu_rows, prelu_slope, real
from fastnn.training._job cimport Chunk, Job, Op


cdef void prelu_forward(const Job* job, const Op* op, ptrdiff_t rows, ptrdiff_t row0,
                        const real* x, ptrdiff_t ldx, real* scratch) noexcept nogil:
    """z = x where x > 0, else slope x"""
    prelu_rows(job.k, rows, op.n_out, x, ldx, (<const real*>job.parameters) + op.w, op.shared,
               scratch + op.z + row0 * op.ld, op.ld)


cdef void prelu_backward(const Job* job, const Op* op, const Op* below, ptrdiff_t rows,
                         ptrdiff_t row0, const real* x, ptrdiff_t ldx,
                         real* scratch) noexcept nogil:
    """dx, the gradient with respect to the value x of ``below``."""
    prelu_backward_rows(
        job.k, rows, op.n_out, scratch + op.dz + row0 * op.ld, op.ld, x, ldx,
        (<const real*>job.parameters) + op.w, op.shared, scratch + below.dz + row0 * below.ld,
        below.ld)


cdef void prelu_gradient(const Job* job, const Op* op, const Chunk* chunk, const real* x,
                         ptrdiff_t ldx, const real* scratch, real* gradient) noexcept nogil:
    """gradient (chunk.size,) = this piece of that of the slopes, or the one, of the whole batch."""
    cdef ptrdiff_t columns = op.n_out if op.shared else chunk.size
    prelu_slope(job.k, job.rows * op.members, columns, scratch + op.dz + chunk.start, op.ld,
                x + chunk.start, ldx, op.shared, gradient)
