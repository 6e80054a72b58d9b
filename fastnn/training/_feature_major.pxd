"""The feature-major step, for the epoch loop."""

from fastnn.core._kernels cimport real
from fastnn.training._job cimport Job

cdef void run_shard_feature_major(Job* job, int shard, ptrdiff_t start, ptrdiff_t rows,
                                  real* scratch, real* gradient) noexcept nogil
