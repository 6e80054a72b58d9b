"""Rows of a batch, for the steps of both layouts."""

from libc.stdint cimport int32_t

from fastnn.core._kernels cimport real
from fastnn.training._job cimport Job

cdef ptrdiff_t row_of(const Job* job, ptrdiff_t at) noexcept nogil
cdef void gather_x(const Job* job, ptrdiff_t start, ptrdiff_t rows, ptrdiff_t row0,
                   real* tag) noexcept nogil
cdef void make_x(const Job* job, ptrdiff_t start, ptrdiff_t rows, ptrdiff_t row0,
                 real* x) noexcept nogil
cdef bint reads_in_place(const Job* job) noexcept nogil
cdef const real* dense_x(const Job* job, ptrdiff_t start, ptrdiff_t row0,
                         const real* tag) noexcept nogil
cdef const real* gather_rows(const Job* job, const real* source, ptrdiff_t width, ptrdiff_t start,
                             ptrdiff_t rows, real* copy) noexcept nogil
cdef const int32_t* gather_labels(const Job* job, ptrdiff_t start, ptrdiff_t rows,
                                  int32_t* copy) noexcept nogil
cdef void mix_targets(const Job* job, ptrdiff_t start, ptrdiff_t rows, ptrdiff_t row0,
                      real* y) noexcept nogil
cdef const real* mix_weights(const Job* job, ptrdiff_t start, ptrdiff_t rows, ptrdiff_t row0,
                             real* weights) noexcept nogil
cdef double sum_weights(const real* weights, ptrdiff_t rows) noexcept nogil
