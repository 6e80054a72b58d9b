"""A loss that Python functions compute: the loop calls it for each shard, which then is a batch."""

cimport numpy as cnp
from libc.math cimport NAN
from libc.stdint cimport uint64_t

from fastnn.core._kernels cimport real
from fastnn.core._team cimport FNN_STORE, fnn_keep_subnormals, fnn_restore_float_mode
from fastnn.training._job cimport Job

import numpy as np

cnp.import_array()


class PythonLoss:
    """The functions of a `Custom` loss, and what went wrong in them.

    Parameters
    ----------
    loss : Custom
    n_out : int
    softmax : bool
        Whether the output is softmax, which the loop leaves out in training.
    """

    def __init__(self, loss, n_out, softmax):
        self.loss, self.n_out, self.softmax, self.error = loss, n_out, softmax, None

    def evaluate(self, y, z):
        """Return the loss of each row, float64 (n,), and its derivative (n, n_out) with respect to
        z, both summed over the outputs.

        Parameters
        ----------
        y, z : array (n, n_out)
            Targets, and what the loop has: values, or raw outputs of softmax.
        """
        output = z
        if self.softmax:
            output = np.exp(z - z.max(axis=1, keepdims=True))
            output /= output.sum(axis=1, keepdims=True)
        # copies: what one function does to them is not what the other one gets
        values = np.array(self.loss.value(y.copy(), output.copy()))
        slopes = np.asarray(self.loss.derivative(y.copy(), output.copy()))
        for what, found in (("value", values), ("derivative", slopes)):
            if found.dtype.kind not in "fiub":
                raise TypeError(f"{what} of loss {self.loss.name!r} gives {found.dtype}, must give "
                                "real numbers")
        if values.shape == z.shape:
            values = values.sum(axis=1, dtype=np.float64)
        elif values.shape != (len(z),) or (self.loss.reduction == "mean" and self.n_out > 1):
            either = "" if self.loss.reduction == "mean" else f" or {(len(z),)}"
            raise ValueError(f"value of loss {self.loss.name!r} gives shape {values.shape}, must "
                             f"give {z.shape}{either}; one number for each row: reduction='sum'")
        if slopes.shape != z.shape:
            raise ValueError(f"derivative of loss {self.loss.name!r} gives shape {slopes.shape}, "
                             f"must give {z.shape}")
        if self.softmax:  # dz = p (d - sum of p d)
            slopes = output * (slopes - (output * slopes).sum(axis=1, keepdims=True))
        return values.astype(np.float64), slopes.astype(z.dtype)


cdef double python_loss(Job* job, ptrdiff_t rows, ptrdiff_t row_step, ptrdiff_t column_step,
                        const real* z, const real* y, const real* weights,
                        real* dz) noexcept nogil:
    """The loss of a shard, and dz; element (r, j) of an array is at r row_step + j column_step."""
    with gil:
        return evaluate(job, rows, row_step, column_step, z, y, weights, dz)


cdef double evaluate(Job* job, ptrdiff_t rows, ptrdiff_t row_step, ptrdiff_t column_step,
                     const real* z, const real* y, const real* weights, real* dz) noexcept:
    """What is raised is kept in the loss's ``error``; the epoch then ends before its update."""
    cdef object loss = <object>job.python_loss
    cdef ptrdiff_t n_out = job.last.n_out, r, j
    cdef double total = 0
    cdef uint64_t mode = fnn_keep_subnormals()
    cdef real weight
    cdef cnp.ndarray outputs, targets, slopes, values
    for r in range(rows):
        for j in range(n_out):
            dz[r * row_step + j * column_step] = 0
    try:
        if loss.error is not None:
            return NAN
        dtype = np.float32 if real is float else np.float64
        outputs, targets = np.empty((rows, n_out), dtype), np.empty((rows, n_out), dtype)
        for r in range(rows):
            for j in range(n_out):
                (<real*>cnp.PyArray_DATA(outputs))[r * n_out + j] = (
                    z[r * row_step + j * column_step])
                (<real*>cnp.PyArray_DATA(targets))[r * n_out + j] = (
                    y[r * row_step + j * column_step])
        found = loss.evaluate(targets, outputs)
        values, slopes = np.ascontiguousarray(found[0]), np.ascontiguousarray(found[1])
        for r in range(rows):
            weight = weights[r] if weights != NULL else <real>1
            total += weight * (<double*>cnp.PyArray_DATA(values))[r]
            for j in range(n_out):
                dz[r * row_step + j * column_step] = (
                    weight * (<real*>cnp.PyArray_DATA(slopes))[r * n_out + j])
        return total
    except BaseException as error:
        loss.error = error
        FNN_STORE(&job.watch.stopped, 1)
        return NAN
    finally:
        fnn_restore_float_mode(mode)
