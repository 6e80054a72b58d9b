"""Embeddings of the columns of a table, row-major: each column of the data has a W of its own, of
`row_units` columns, and its part of z. They lie one below the other, as one W (n_in, row_units).

Of a sparse X, and of codes, a row looks up its entries as _ops_lookup.pyx does it, column by
column; a dense row is one that has all of them. The gradient of sparse rows is there, too.
"""

from fastnn.core._kernels cimport (
    FNN_ACT_identity,
    bias_activate,
    fnn_lookup,
    fnn_product,
    real,
    row_major_product,
    run_product,
)
from fastnn.core._rows cimport embed_row
from fastnn.training._gather cimport row_of
from fastnn.training._job cimport Chunk, Job, Op


cdef void embed_forward(const Job* job, const Op* op, ptrdiff_t start, ptrdiff_t rows,
                        ptrdiff_t row0, const real* x, ptrdiff_t ldx,
                        real* scratch) noexcept nogil:
    """z = x W + b of rows start.. of the epoch, which are row0.. of the batch."""
    cdef const real* parameters = <const real*>job.parameters
    cdef real* z = scratch + op.z + row0 * op.ld
    cdef ptrdiff_t r, row
    cdef fnn_lookup p
    p.n, p.n_table, p.ld = op.row_units, op.n_in, op.row_units
    p.table = parameters + op.w
    if job.lookup.on and op.table >= 0:
        p.table = (<const real*>job.copies) + op.table
    for r in range(rows):
        if job.lookup.on:
            row = row_of(job, start + r)
            p.column, p.value = job.csr_column, job.x
            embed_row(job.k, &p, job.csr_start[row], job.csr_start[row + 1], op.n_columns,
                      op.firsts, z)
        else:
            p.column, p.value = op.inputs, x + r * ldx
            embed_row(job.k, &p, 0, op.n_in, op.n_columns, op.firsts, z)
        bias_activate(job.k, FNN_ACT_identity, 1, op.n_out, z, parameters + op.b, z)
        z += op.ld


cdef void embed_gradient(const Job* job, const Op* op, const Chunk* chunk, const real* x,
                         ptrdiff_t ldx, const real* scratch, real* gradient) noexcept nogil:
    """gradient (chunk.size,) = these rows of X' dZ of their column, of the whole batch; X dense."""
    cdef ptrdiff_t units = op.row_units, row = chunk.row, stop = chunk.row + chunk.size // units
    cdef ptrdiff_t column = 0, end
    cdef fnn_product p
    while row < stop:
        while op.firsts[column + 1] <= row:
            column += 1
        end = min(stop, <ptrdiff_t>op.firsts[column + 1])
        p = row_major_product(job.k, end - row, units, job.rows, x + row, ldx,
                              scratch + op.dz + column * units, op.ld,
                              gradient + (row - chunk.row) * units, units)
        p.a_by_columns = True
        run_product(job.k, &p, gradient)
        row = end
