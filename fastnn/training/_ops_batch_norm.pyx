"""Batch normalisation, row-major. A shard has statistics of its own, so no thread waits for another
one; mean, variance and 1 / deviation of each column are kept for the way back.

Running averages move once a step, when all shards are done, by one thread and in the order of the
shards: the number of threads changes no bit.
"""

from libc.math cimport sqrt
from libc.string cimport memcpy, memset

from fastnn.core._kernels cimport (
    batch_norm_backward_rows,
    batch_norm_gain,
    batch_norm_rows,
    batch_statistics,
    real,
    scale_columns,
)
from fastnn.core._ops cimport BATCH_NORM
from fastnn.training._job cimport LOSS, Chunk, Job, Op


cdef bint takes_averages(const Job* job, const Op* op, ptrdiff_t rows) noexcept nogil:
    """Whether a shard is normalised by the running averages: one row has no variance."""
    return job.mode == LOSS or op.fixed or rows == 1


cdef inline ptrdiff_t height_of(const Job* job, const Op* op) noexcept nogil:
    """Rows of a shard, as the operations see them: each member of an ensemble has one."""
    return job.shard_rows * op.members


cdef real* statistics_of(const Job* job, const Op* op, ptrdiff_t row0,
                         real* scratch) noexcept nogil:
    """Mean, variance and 1 / deviation (3, n_out) of the shard that begins with a row."""
    return scratch + op.stats + row0 // height_of(job, op) * 3 * op.n_out


cdef void batch_norm_forward(const Job* job, const Op* op, ptrdiff_t rows, ptrdiff_t row0,
                             const real* x, ptrdiff_t ldx, real* scratch) noexcept nogil:
    """z = gain (x - mean) / sqrt(variance + eps) + bias"""
    cdef const real* parameters = <const real*>job.parameters
    cdef ptrdiff_t n = op.n_out, j
    cdef real* mean = statistics_of(job, op, row0, scratch)
    cdef real* variance = mean + n
    cdef real* inverse = variance + n
    if takes_averages(job, op, rows):
        memcpy(mean, parameters + op.mean, n * sizeof(real))
        for j in range(n):
            inverse[j] = <real>(1 / sqrt(<double>parameters[op.variance + j] + op.eps))
            variance[j] = parameters[op.w + j] * inverse[j]  # what dz is multiplied by
    else:
        batch_statistics(job.k, rows, n, x, ldx, op.eps, mean, variance, inverse)
    batch_norm_rows(job.k, rows, n, x, ldx, parameters + op.w, parameters + op.b, mean, inverse,
                    scratch + op.z + row0 * op.ld, op.ld)


cdef void batch_norm_backward(const Job* job, const Op* op, const Op* below, ptrdiff_t rows,
                              ptrdiff_t row0, const real* x, ptrdiff_t ldx,
                              real* scratch) noexcept nogil:
    """dx, the gradient with respect to the value x of ``below``, through the statistics, too."""
    cdef ptrdiff_t n = op.n_out
    cdef const real* mean = statistics_of(job, op, row0, scratch)
    cdef const real* dz = scratch + op.dz + row0 * op.ld
    cdef real* dx = scratch + below.dz + row0 * below.ld
    if takes_averages(job, op, rows):
        scale_columns(job.k, rows, n, dz, op.ld, mean + n, dx, below.ld)
    else:
        batch_norm_backward_rows(job.k, rows, n, dz, op.ld, x, ldx,
                                 (<const real*>job.parameters) + op.w, mean, mean + 2 * n, dx,
                                 below.ld)


cdef ptrdiff_t rows_of(const Job* job, const Op* op, int shard) noexcept nogil:
    """Rows of a shard of the batch; of the last one all that are left."""
    if shard < job.n_partial - 1:
        return height_of(job, op)
    return job.rows * op.members - shard * height_of(job, op)


cdef void batch_norm_gradient(const Job* job, const Op* op, const Chunk* chunk, const real* x,
                              ptrdiff_t ldx, const real* scratch, real* gradient) noexcept nogil:
    """gradient (chunk.size,) = this piece of the gain's, of the whole batch: shard by shard."""
    cdef const real* mean
    cdef ptrdiff_t row0
    cdef int shard
    memset(gradient, 0, chunk.size * sizeof(real))
    for shard in range(job.n_partial):
        row0 = shard * height_of(job, op)
        mean = statistics_of(job, op, row0, <real*>scratch) + chunk.start
        batch_norm_gain(job.k, rows_of(job, op, shard), chunk.size,
                        scratch + op.dz + row0 * op.ld + chunk.start, op.ld,
                        x + row0 * ldx + chunk.start, ldx, mean, mean + 2 * op.n_out, gradient)


cdef void move(const Job* job, const Op* op, const real* scratch) noexcept nogil:
    """The running averages of an operation, by momentum towards the means over the shards."""
    cdef real* parameters = <real*>job.parameters
    cdef const real* statistics
    cdef ptrdiff_t n = op.n_out, total = 0, rows, j
    cdef double mean, variance
    cdef int shard
    for shard in range(job.n_partial):
        rows = rows_of(job, op, shard)
        total += rows if rows > 1 else 0
    if total == 0:
        return
    for j in range(n):
        mean = variance = 0
        for shard in range(job.n_partial):
            rows = rows_of(job, op, shard)
            if rows > 1:
                statistics = statistics_of(job, op, shard * height_of(job, op), <real*>scratch)
                mean += <double>statistics[j] * rows
                variance += <double>statistics[n + j] * rows * rows / (rows - 1)
        mean, variance = mean / total, variance / total
        parameters[op.mean + j] += <real>(op.momentum * (mean - parameters[op.mean + j]))
        parameters[op.variance + j] += <real>(
            op.momentum * (variance - parameters[op.variance + j]))
    if job.extras != NULL and job.extras.mean != NULL:  # averaged weights have the same statistics
        memcpy((<real*>job.extras.mean) + op.mean, parameters + op.mean, n * sizeof(real))
        memcpy((<real*>job.extras.mean) + op.variance, parameters + op.variance, n * sizeof(real))


cdef void move_averages(Job* job) noexcept nogil:
    """The running averages of all operations that have some, after a step."""
    cdef const Op* op
    cdef int i
    for i in range(job.n_ops):
        op = &job.ops[i]
        if op.kind == BATCH_NORM and not op.fixed:
            if job.is_double:
                move(job, op, <const double*>job.scratch)
            else:
                move(job, op, <const float*>job.scratch)
