"""The row-major step, for the epoch loop."""

from libc.stdint cimport int64_t

from fastnn.core._kernels cimport real
from fastnn.training._job cimport Chunk, Job

cdef void run_shard_rows(Job* job, int64_t step, int shard, ptrdiff_t start, ptrdiff_t rows,
                         real* scratch) noexcept nogil
cdef void chunk_gradient(const Job* job, const Chunk* chunk, const real* scratch,
                         real* gradient) noexcept nogil
cdef void copy_chunk(const Job* job, const Chunk* chunk, real* tag) noexcept nogil
