"""The row-major step, for the epoch loop; and what it shares with the feature-major one."""

from libc.stdint cimport int32_t, int64_t

from fastnn._job cimport Chunk, Job
from fastnn._kernels cimport real

cdef void run_shard_rows(Job* job, int64_t step, int shard, ptrdiff_t start, ptrdiff_t rows,
                         real* scratch) noexcept nogil
cdef void chunk_gradient(const Job* job, const Chunk* chunk, const real* scratch,
                         real* gradient) noexcept nogil
cdef void copy_chunk(const Job* job, const Chunk* chunk, real* dtype) noexcept nogil
cdef const real* gather_rows(const Job* job, const real* source, ptrdiff_t width, ptrdiff_t start,
                             ptrdiff_t rows, real* copy) noexcept nogil
cdef const int32_t* gather_labels(const Job* job, ptrdiff_t start, ptrdiff_t rows,
                                  int32_t* copy) noexcept nogil
cdef double sum_weights(const real* weights, ptrdiff_t rows) noexcept nogil
