"""The feature-major step, for the epoch loop."""

from fastnn._job cimport Job
from fastnn._kernels cimport real

cdef void run_shard_columns(Job* job, int shard, ptrdiff_t start, ptrdiff_t rows, real* scratch,
                            real* gradient) noexcept nogil
