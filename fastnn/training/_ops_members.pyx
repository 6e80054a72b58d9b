"""Ensembles whose members share a network (after TabM-mini: Gorishniy et al. 2025), row-major.

REPEAT makes a row for each member of each row that it reads, times the member's own scale; all
operations between go through rows times members; HEADS is a dense operation of each member's own.
Row r of member m is row r * members + m, so the rows of one member are `members` rows apart.
"""

from libc.stdint cimport int32_t

from fastnn.core._kernels cimport (
    fnn_product,
    real,
    repeat_back,
    repeat_rows,
    repeat_scale,
    row_major_product,
    run_product,
    sum_columns,
    transpose,
)
from fastnn.training._job cimport BIAS, Chunk, Job, Op


cdef void repeat_forward(const Job* job, const Op* op, ptrdiff_t rows, ptrdiff_t row0,
                         const real* x, ptrdiff_t ldx, real* scratch) noexcept nogil:
    """z (rows * members, n) from x (rows, n); rows and row0 are those of the data."""
    repeat_rows(job.k, rows, job.members, op.n_out, x, ldx, (<const real*>job.parameters) + op.w,
                scratch + op.z + row0 * job.members * op.ld, op.ld)


cdef void repeat_gradient(const Job* job, const Op* op, const Chunk* chunk, const real* x,
                          ptrdiff_t ldx, const real* scratch, real* gradient) noexcept nogil:
    """gradient (chunk.size,) = this piece of the scales', of the whole batch."""
    repeat_scale(job.k, job.rows, job.members, op.n_out, chunk.start, chunk.size,
                 scratch + op.dz, op.ld, x, ldx, gradient)


cdef void repeat_backward(const Job* job, const Op* op, const Op* below, ptrdiff_t rows,
                          ptrdiff_t row0, real* scratch) noexcept nogil:
    """dx, the gradient with respect to the value of ``below``; rows and row0 are those of x."""
    repeat_back(job.k, rows, job.members, op.n_out, scratch + op.dz + row0 * job.members * op.ld,
                op.ld, (<const real*>job.parameters) + op.w, scratch + below.dz + row0 * below.ld,
                below.ld)


cdef void heads_forward(const Job* job, const Op* op, ptrdiff_t rows, ptrdiff_t row0,
                        const real* x, ptrdiff_t ldx, real* scratch) noexcept nogil:
    """z = x W + b of each member; rows and row0 are those of the operations."""
    cdef const real* parameters = <const real*>job.parameters
    cdef ptrdiff_t m, members = job.members
    cdef fnn_product p
    for m in range(members):
        p = row_major_product(job.k, rows // members, op.n_out, op.n_in, x + m * ldx,
                              members * ldx, parameters + op.w + m * op.n_in * op.n_out, op.n_out,
                              scratch + op.z + (row0 + m) * op.ld, members * op.ld)
        p.bias = parameters + op.b + m * op.n_out
        run_product(job.k, &p, scratch)


cdef void heads_backward(const Job* job, const Op* op, const Op* below, ptrdiff_t rows,
                         ptrdiff_t row0, real* scratch) noexcept nogil:
    """dx = dz W' of each member, the gradient with respect to the value of ``below``."""
    cdef ptrdiff_t m, members = job.members
    cdef fnn_product p
    for m in range(members):
        p = row_major_product(job.k, rows // members, op.n_in, op.n_out,
                              scratch + op.dz + (row0 + m) * op.ld, members * op.ld,
                              (<const real*>job.copies) + op.transposed + m * op.n_out * op.n_in,
                              op.n_in, scratch + below.dz + (row0 + m) * below.ld,
                              members * below.ld)
        run_product(job.k, &p, scratch)


cdef void heads_gradient(const Job* job, const Op* op, const Chunk* chunk, const real* x,
                         ptrdiff_t ldx, const real* scratch, real* gradient) noexcept nogil:
    """gradient (chunk.size,) = these rows of X' dZ, the W of the members one below the other; or
    this piece of the biases', of all members one behind the other. Of the whole batch."""
    cdef ptrdiff_t n_in = op.n_in, n_out = op.n_out, members = job.members
    cdef ptrdiff_t row = chunk.row, left = chunk.size // n_out, m, first, n_rows
    cdef fnn_product p
    if chunk.kind == BIAS:
        sum_columns(job.k, job.rows, chunk.size, scratch + op.dz + chunk.start,
                    members * n_out, gradient)
        return
    while left > 0:
        m, first = row // n_in, row % n_in
        n_rows = min(n_in - first, left)
        p = row_major_product(job.k, n_rows, n_out, job.rows, x + m * ldx + first,
                              members * ldx, scratch + op.dz + m * op.ld, members * op.ld,
                              gradient, n_out)
        p.a_by_columns = True
        run_product(job.k, &p, gradient)
        gradient += n_rows * n_out
        row += n_rows
        left -= n_rows


cdef void copy_heads(const Job* job, const Op* op, const Chunk* chunk, real* tag) noexcept nogil:
    """Bring W' (n_out, n_in) of the members up to date with rows of their W."""
    cdef const real* w = (<const real*>job.parameters) + chunk.at
    cdef real* transposed = (<real*>job.copies) + op.transposed
    cdef ptrdiff_t n_in = op.n_in, n_out = op.n_out
    cdef ptrdiff_t row = chunk.row, left = chunk.size // n_out, m, first, n_rows
    while left > 0:
        m, first = row // n_in, row % n_in
        n_rows = min(n_in - first, left)
        transpose(job.k, n_rows, n_out, w, n_out, <const ptrdiff_t*>NULL,
                  transposed + m * n_in * n_out + first, n_in)
        w += n_rows * n_out
        row += n_rows
        left -= n_rows


cdef const real* repeat_targets(const Job* job, const real* y, ptrdiff_t width, ptrdiff_t rows,
                                real* copy) noexcept nogil:
    """y (rows, width), each row once for each member, in ``copy``, which may begin with y itself;
    NULL stays NULL."""
    cdef ptrdiff_t r, m, j, members = job.members
    if y == NULL:
        return NULL
    for r in range(rows - 1, -1, -1):  # from the end, as it may be in place
        for m in range(members - 1, -1, -1):
            for j in range(width):
                copy[(r * members + m) * width + j] = y[r * width + j]
    return copy


cdef const int32_t* repeat_labels(const Job* job, const int32_t* labels, ptrdiff_t rows,
                                  int32_t* copy) noexcept nogil:
    """The same of labels (rows,)."""
    cdef ptrdiff_t r, m, members = job.members
    if labels == NULL:
        return NULL
    for r in range(rows - 1, -1, -1):
        for m in range(members - 1, -1, -1):
            copy[r * members + m] = labels[r]
    return copy
