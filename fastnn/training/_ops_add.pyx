"""Values as they are, row-major: the sum that closes a residual layer, and the copy that carries an
activation or dropout of its own.

On the way back the gradient of a sum goes to both of its inputs. The one inside of the residual
layer gets a copy; to the other one it is added, once all that lies between has come back to it.
"""

from libc.string cimport memcpy

from fastnn.core._kernels cimport add_rows, real
from fastnn.training._job cimport Job, Op


cdef void add_forward(const Job* job, const Op* op, ptrdiff_t rows, ptrdiff_t row0,
                      const real* x, ptrdiff_t ldx, const real* y, ptrdiff_t ldy,
                      real* scratch) noexcept nogil:
    """z = x + y"""
    add_rows(job.k, rows, op.n_out, x, ldx, y, ldy, scratch + op.z + row0 * op.ld, op.ld)


cdef void copy_rows(ptrdiff_t rows, ptrdiff_t n, const real* x, ptrdiff_t ldx, real* out,
                    ptrdiff_t ldout) noexcept nogil:
    """out (rows, n; ldout) = x (rows, n; ldx)"""
    cdef ptrdiff_t r
    for r in range(rows):
        memcpy(out + r * ldout, x + r * ldx, n * sizeof(real))


cdef void add_gradients(const Job* job, int first, ptrdiff_t rows, ptrdiff_t row0,
                        real* scratch) noexcept nogil:
    """Add dz of the sums, ``first`` and those after it, to the gradient of what they share."""
    cdef const Op* op
    cdef const Op* shared
    cdef real* dx
    while first >= 0:
        op = &job.ops[first]
        shared = &job.ops[op.other]
        dx = scratch + shared.dz + row0 * shared.ld
        add_rows(job.k, rows, op.n_out, dx, shared.ld, scratch + op.dz + row0 * op.ld, op.ld, dx,
                 shared.ld)
        first = op.next_sum
