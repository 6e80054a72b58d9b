"""Rows of a batch: X, targets and weights, gathered in the order of the epoch or read in place."""

from libc.stdint cimport int32_t
from libc.string cimport memcpy, memset

from fastnn.core._kernels cimport real
from fastnn.training._job cimport Job


cdef void gather_csr(const Job* job, ptrdiff_t start, ptrdiff_t rows, real* x) noexcept nogil:
    """x (rows, n_in) = rows start.. of the epoch's order of a CSR matrix."""
    cdef ptrdiff_t r, row, i, n_in = job.n_in
    cdef const real* values = <const real*>job.x
    memset(x, 0, rows * n_in * sizeof(real))
    for r in range(rows):
        row = job.order[start + r] if job.order != NULL else start + r
        for i in range(job.csr_start[row], job.csr_start[row + 1]):
            x[r * n_in + job.csr_column[i]] += values[i]  # duplicates add up


cdef void gather_x(const Job* job, ptrdiff_t start, ptrdiff_t rows, ptrdiff_t row0,
                   real* scratch) noexcept nogil:
    """Copy X's rows into the scratch, or note where each begins."""
    cdef ptrdiff_t r, n_in = job.n_in
    cdef real* copy = scratch + job.x_at + row0 * n_in
    cdef const real* x = <const real*>job.x
    if job.csr_start != NULL:
        gather_csr(job, start, rows, copy)
    elif job.order == NULL:
        return
    elif job.x_in_place:
        for r in range(rows):
            job.x_rows[row0 + r] = x + job.order[start + r] * n_in
    else:
        for r in range(rows):
            memcpy(copy + r * n_in, x + job.order[start + r] * n_in, n_in * sizeof(real))


cdef bint reads_in_place(const Job* job) noexcept nogil:
    """Whether the rows of X are read through `x_rows`."""
    return job.x_in_place and job.order != NULL and job.csr_start == NULL


cdef const real* dense_x(const Job* job, ptrdiff_t start, ptrdiff_t row0,
                         const real* scratch) noexcept nogil:
    """X (rows, n_in) from row start of the epoch, row0 of the batch; not where it is read in
    place."""
    if job.csr_start == NULL and job.order == NULL:
        return (<const real*>job.x) + start * job.n_in
    return scratch + job.x_at + row0 * job.n_in


cdef const real* gather_rows(const Job* job, const real* source, ptrdiff_t width, ptrdiff_t start,
                             ptrdiff_t rows, real* copy) noexcept nogil:
    """Rows of a (n_samples, width) array, in place where they already follow each other."""
    cdef ptrdiff_t r, j
    if source == NULL:
        return NULL
    if job.order == NULL:
        return source + start * width
    for r in range(rows):
        for j in range(width):
            copy[r * width + j] = source[job.order[start + r] * width + j]
    return copy


cdef const int32_t* gather_labels(const Job* job, ptrdiff_t start, ptrdiff_t rows,
                                  int32_t* copy) noexcept nogil:
    cdef ptrdiff_t r
    if job.labels == NULL or job.order == NULL:
        return job.labels + start if job.labels != NULL else NULL
    for r in range(rows):
        copy[r] = job.labels[job.order[start + r]]
    return copy


cdef double sum_weights(const real* weights, ptrdiff_t rows) noexcept nogil:
    cdef double total = 0
    cdef ptrdiff_t r
    if weights == NULL:
        return <double>rows
    for r in range(rows):
        total += weights[r]
    return total
