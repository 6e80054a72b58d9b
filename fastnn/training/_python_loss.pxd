"""A loss that Python functions compute, see `fastnn.losses.Custom`."""

from fastnn.core._kernels cimport real
from fastnn.training._job cimport Job

cdef double python_loss(Job* job, ptrdiff_t rows, ptrdiff_t row_step, ptrdiff_t column_step,
                        const real* z, const real* y, const real* weights,
                        real* dz) noexcept nogil
