"""Activations that Python functions compute, row-major: each is called once for each shard, which
then is a batch. What they raise is kept until the loop has ended."""

from fastnn.core._arrays cimport apply_rows
from fastnn.core._kernels cimport real
from fastnn.core._team cimport FNN_STORE
from fastnn.training._job cimport Job, Op


class PythonActivation:
    """The functions of a `CustomActivation`, and what went wrong in them.

    Parameters
    ----------
    activation : CustomActivation
    """

    def __init__(self, activation):
        self.value, self.derivative = activation.value, activation.derivative
        self.name, self.error = activation.name, None


cdef void python_forward(Job* job, const Op* op, ptrdiff_t rows, ptrdiff_t row0, const real* x,
                         ptrdiff_t ldx, real* scratch) noexcept nogil:
    """z = f(x)"""
    with gil:
        call(job, op, False, rows, x, ldx, <const real*>NULL, 0, scratch + op.z + row0 * op.ld,
             op.ld)


cdef void python_backward(Job* job, const Op* op, const Op* below, ptrdiff_t rows, ptrdiff_t row0,
                          const real* x, ptrdiff_t ldx, real* scratch) noexcept nogil:
    """dx = dz f'(x), the gradient with respect to the value x of ``below``."""
    with gil:
        call(job, op, True, rows, x, ldx, scratch + op.dz + row0 * op.ld, op.ld,
             scratch + below.dz + row0 * below.ld, below.ld)


cdef void call(Job* job, const Op* op, bint slope, ptrdiff_t rows, const real* x, ptrdiff_t ldx,
               const real* factor, ptrdiff_t ldf, real* out, ptrdiff_t ldout) noexcept:
    """The function, or its derivative; the epoch ends before its update where it raises."""
    cdef object own = <object>op.python
    try:
        function = own.derivative if slope else own.value
        what = "derivative" if slope else "value"
        apply_rows(function, f"{what} of activation {own.name!r}", rows, op.n_out, x, ldx, factor,
                   ldf, out, ldout)
    except BaseException as error:
        own.error = own.error or error
        FNN_STORE(&job.watch.stopped, 1)
