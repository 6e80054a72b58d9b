"""A single row, for the feature-major step."""

from libc.stdint cimport int32_t

from fastnn.core._kernels cimport real
from fastnn.training._job cimport Job

cdef void run_one_row(Job* job, int shard, ptrdiff_t start, ptrdiff_t row0, const real* weights,
                      const int32_t* labels, real* scratch, real* gradient) noexcept nogil
