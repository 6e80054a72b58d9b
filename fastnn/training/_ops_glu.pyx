"""Gates, row-major: z = u f(v), where u and v are the halves of what comes in. They have no
parameters."""

from fastnn.core._kernels cimport real
from fastnn.core._rows cimport glu_back, glu_rows
from fastnn.training._job cimport Job, Op


cdef void glu_forward(const Job* job, const Op* op, ptrdiff_t rows, ptrdiff_t row0, const real* x,
                      ptrdiff_t ldx, real* scratch) noexcept nogil:
    """z = u f(v)"""
    glu_rows(job.k, op.gate, rows, op.n_out, x, ldx, scratch + op.z + row0 * op.ld, op.ld)


cdef void glu_backward(const Job* job, const Op* op, const Op* below, ptrdiff_t rows,
                       ptrdiff_t row0, const real* x, ptrdiff_t ldx,
                       real* scratch) noexcept nogil:
    """dx, the gradient with respect to the value x of ``below``."""
    glu_back(job.k, op.gate, rows, op.n_out, scratch + op.dz + row0 * op.ld, op.ld, x, ldx,
             scratch + below.dz + row0 * below.ld, below.ld)
