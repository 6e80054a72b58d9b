"""The epoch, for `_trainer.Trainer`."""

from libc.stdint cimport int64_t

from fastnn.core._kernels cimport real
from fastnn.training._job cimport Job

cdef void run_team(Job* job, bint is_double, int threads) noexcept nogil
cdef int run_job(Job* job, bint is_double, int threads) noexcept
cdef void run_alone(Job* job, bint is_double) noexcept nogil
cdef void run_shard(Job* job, int64_t step, int shard, ptrdiff_t start, ptrdiff_t rows,
                    real* scratch, real* gradient) noexcept nogil
