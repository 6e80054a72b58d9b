"""Ensembles whose members share a network, row-major."""

from libc.stdint cimport int32_t

from fastnn.core._kernels cimport real
from fastnn.training._job cimport Chunk, Job, Op

cdef void repeat_forward(const Job* job, const Op* op, ptrdiff_t rows, ptrdiff_t row0,
                         const real* x, ptrdiff_t ldx, real* scratch) noexcept nogil
cdef void repeat_gradient(const Job* job, const Op* op, const Chunk* chunk, const real* x,
                          ptrdiff_t ldx, const real* scratch, real* gradient) noexcept nogil
cdef void repeat_backward(const Job* job, const Op* op, const Op* below, ptrdiff_t rows,
                          ptrdiff_t row0, real* scratch) noexcept nogil
cdef void heads_forward(const Job* job, const Op* op, ptrdiff_t rows, ptrdiff_t row0,
                        const real* x, ptrdiff_t ldx, real* scratch) noexcept nogil
cdef void heads_backward(const Job* job, const Op* op, const Op* below, ptrdiff_t rows,
                         ptrdiff_t row0, real* scratch) noexcept nogil
cdef void heads_gradient(const Job* job, const Op* op, const Chunk* chunk, const real* x,
                         ptrdiff_t ldx, const real* scratch, real* gradient) noexcept nogil
cdef void copy_heads(const Job* job, const Op* op, const Chunk* chunk, real* tag) noexcept nogil
cdef const real* repeat_targets(const Job* job, const real* y, ptrdiff_t width, ptrdiff_t rows,
                                real* copy) noexcept nogil
cdef const int32_t* repeat_labels(const Job* job, const int32_t* labels, ptrdiff_t rows,
                                  int32_t* copy) noexcept nogil
