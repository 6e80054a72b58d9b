"""The epoch, for `_training.Trainer`."""

from libc.stdint cimport int64_t

from fastnn._job cimport Job
from fastnn._kernels cimport real

cdef int run_job(Job* job, bint is_double, int threads) noexcept
cdef void run_shard(Job* job, int64_t step, int shard, ptrdiff_t start, ptrdiff_t rows,
                    real* scratch, real* gradient) noexcept nogil
