"""The dense operation on a sparse X, for the row-major step."""

from fastnn.core._kernels cimport real
from fastnn.training._job cimport Chunk, Job, Op

cdef bint is_looked_up(const Job* job, const Chunk* chunk) noexcept nogil
cdef bint is_untouched(const Job* job, const Chunk* chunk) noexcept nogil
cdef void lookup_forward(const Job* job, const Op* op, ptrdiff_t start, ptrdiff_t rows,
                         ptrdiff_t row0, real* scratch) noexcept nogil
cdef void sort_entries(Job* job, const real* tag) noexcept nogil
cdef void lookup_gradient(const Job* job, const Chunk* chunk, const real* scratch,
                          real* gradient) noexcept nogil
cdef void lookup_update(Job* job, const Chunk* chunk, const double* c, double scale,
                        const real* scratch, real* own) noexcept nogil
cdef bint has_table(const Job* job, const Chunk* chunk) noexcept nogil
cdef double dense_update(Job* job, const Chunk* chunk, const double* c, double decay, double scale,
                         const real* scratch, real* own) noexcept nogil
cdef double table_update(Job* job, const Chunk* chunk, const double* c, double decay, double scale,
                         const real* scratch, real* own) noexcept nogil
cdef void copy_table(const Job* job, const Op* op, const Chunk* chunk, real* tag) noexcept nogil
cdef Py_ssize_t make_room(Job* job, list kept, dict data, rows, bint shuffles, dtype) except? -1
