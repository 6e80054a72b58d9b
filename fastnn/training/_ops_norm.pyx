"""Layer normalisation, row-major. Mean and deviation of each row are kept for the way back."""

from fastnn.core._kernels cimport layer_norm_backward_rows, layer_norm_gain, layer_norm_rows, real
from fastnn.training._job cimport Chunk, Job, Op


cdef void norm_forward(const Job* job, const Op* op, ptrdiff_t rows, ptrdiff_t row0,
                       const real* x, ptrdiff_t ldx, real* scratch) noexcept nogil:
    """z = gain (x - mean) / sqrt(variance + eps) + bias"""
    cdef const real* parameters = <const real*>job.parameters
    layer_norm_rows(job.k, rows, op.n_out, x, ldx, parameters + op.w, parameters + op.b, op.eps,
                    scratch + op.z + row0 * op.ld, op.ld, scratch + op.stats + 2 * row0)


cdef void norm_backward(const Job* job, const Op* op, const Op* below, ptrdiff_t rows,
                        ptrdiff_t row0, const real* x, ptrdiff_t ldx, real* scratch) noexcept nogil:
    """dx, the gradient with respect to the value x of ``below``."""
    layer_norm_backward_rows(
        job.k, rows, op.n_out, scratch + op.dz + row0 * op.ld, op.ld, x, ldx,
        scratch + op.stats + 2 * row0, (<const real*>job.parameters) + op.w,
        scratch + below.dz + row0 * below.ld, below.ld)


cdef void norm_gradient(const Job* job, const Op* op, const Chunk* chunk, const real* x,
                        ptrdiff_t ldx, const real* scratch, real* gradient) noexcept nogil:
    """gradient (chunk.size,) = this piece of the gain's, of the whole batch."""
    layer_norm_gain(job.k, job.rows * op.members, chunk.size, scratch + op.dz + chunk.start, op.ld,
                    x + chunk.start, ldx, scratch + op.stats, gradient)
