"""The feature-major step of one shard: a sample is a column, so that the lanes of the vectors hold
samples and narrow layers waste none.

W (n_in, n_out) and b (n_out,) of an operation lie one behind the other in the flat vector: together
they are a matrix [W; b] of n_in + 1 rows, and with a row of ones under its input it is one product:
Z = [W; b]' [A; 1]. In the same way [dW; db] = [A; 1] dZ'. Only dZ is transposed for it; X is
transposed while it is gathered. Each shard has a partial gradient; they are added up in the update.
"""

from libc.stdint cimport int32_t
from libc.string cimport memset

from fastnn.core._kernels cimport (
    activation_backward,
    bias_activate,
    fnn_product,
    loss_columns,
    real,
    row_major_product,
    row_products,
    run_product,
    transpose,
    vector_lanes,
)
from fastnn.training._gather cimport (
    gather_labels,
    gather_rows,
    make_x,
    mix_targets,
    mix_weights,
    sum_weights,
)
from fastnn.training._job cimport LOSS, Job, Op
from fastnn.training._one_row cimport run_one_row
from fastnn.training._python_loss cimport python_loss

# Up to so many columns of dW that no whole vector takes are sums along the samples instead: most
# lanes of their vector would be idle (64 inputs, 1 output, 128 samples, Zen 5: 0.2 against 1.4 us).
cdef enum:
    NARROW = 4


cdef void transpose_rows(const Job* job, const real* source, ptrdiff_t width, ptrdiff_t start,
                         ptrdiff_t rows, real* out) noexcept nogil:
    """out (width, lanes) = rows start.. of the epoch's order of source (n_samples, width)."""
    if job.order == NULL:
        transpose(job.k, rows, width, source + start * width, width, <const ptrdiff_t*>NULL, out,
                  job.lanes)
    else:
        transpose(job.k, rows, width, source, width, <const ptrdiff_t*>job.order + start, out,
                  job.lanes)


cdef void gather_x(const Job* job, ptrdiff_t start, ptrdiff_t rows, ptrdiff_t row0,
                   real* x) noexcept nogil:
    """x (n_in, lanes) = the samples as columns; the row of ones below it stays."""
    cdef ptrdiff_t r, row, i, n_in = job.n_in
    cdef const real* values = <const real*>job.x
    cdef real* staged
    if not job.x_gathered:
        transpose_rows(job, values, n_in, start, rows, x)
        return
    if job.inputs.staged != NULL and (job.inputs.changed or job.csr_start == NULL):
        staged = (<real*>job.inputs.staged) + row0 * n_in
        make_x(job, start, rows, row0, staged)
        transpose(job.k, rows, n_in, staged, n_in, <const ptrdiff_t*>NULL, x, job.lanes)
        return
    memset(x, 0, n_in * job.lanes * sizeof(real))
    for r in range(rows):
        row = job.order[start + r] if job.order != NULL else start + r
        for i in range(job.csr_start[row], job.csr_start[row + 1]):
            x[job.csr_column[i] * job.lanes + r] += values[i]  # duplicates add up


cdef void forward(const Job* job, ptrdiff_t rows, real* scratch) noexcept nogil:
    cdef const real* parameters = <const real*>job.parameters
    cdef const real* a_in = scratch + job.x_at
    cdef Op* op
    cdef fnn_product p
    cdef int i
    for i in range(job.n_ops):
        op = &job.ops[i]
        p = row_major_product(job.k, op.n_out, rows, op.n_in + 1, parameters + op.w, op.n_out, a_in,
                              job.lanes, scratch + op.z, job.lanes)
        p.a_by_columns = True
        p.relu = op.relu
        run_product(job.k, &p, scratch)
        if not op.relu and (i < job.n_ops - 1 or job.value_loss):
            bias_activate(job.k, op.activation, 1, op.n_out * job.lanes, scratch + op.z,
                          <const real*>NULL, scratch + op.a)
        a_in = scratch + op.a


cdef void op_gradient(const Job* job, const Op* op, ptrdiff_t rows, const real* a_in, real* scratch,
                      real* gradient) noexcept nogil:
    """[dW; db] = [A; 1] dZ'"""
    cdef const real* dz = scratch + op.dz
    cdef real* transposed = scratch + job.transposed_at
    cdef ptrdiff_t n_in = op.n_in, n_out = op.n_out
    cdef ptrdiff_t rest = n_out % vector_lanes(job.k, dz)
    cdef fnn_product p
    gradient += op.w
    if rest > NARROW:
        rest = 0
    if n_out > rest:
        transpose(job.k, n_out - rest, rows, dz, job.lanes, <const ptrdiff_t*>NULL, transposed,
                  n_out)
        p = row_major_product(job.k, n_in + 1, n_out - rest, rows, a_in, job.lanes, transposed,
                              n_out, gradient, n_out)
        run_product(job.k, &p, scratch)
    if rest > 0:
        row_products(job.k, n_in + 1, rest, rows, a_in, job.lanes, dz + (n_out - rest) * job.lanes,
                     job.lanes, gradient + n_out - rest, n_out)


cdef void backward(const Job* job, ptrdiff_t rows, real* scratch, real* gradient) noexcept nogil:
    cdef const real* parameters = <const real*>job.parameters
    cdef Op* op
    cdef Op* below
    cdef ptrdiff_t n_in, n_out
    cdef fnn_product p
    cdef int i
    for i in range(job.n_ops - 1, -1, -1):
        op = &job.ops[i]
        below = &job.ops[i - 1] if i > 0 else NULL
        if gradient != NULL:
            op_gradient(job, op, rows, scratch + (job.x_at if below == NULL else below.a), scratch,
                        gradient)
        if below == NULL:
            return
        n_in, n_out = op.n_in, op.n_out
        p = row_major_product(job.k, n_in, rows, n_out, parameters + op.w, n_out, scratch + op.dz,
                              job.lanes, scratch + below.dz, job.lanes)
        p.gate = scratch + below.a if below.relu else NULL
        run_product(job.k, &p, scratch)
        if not below.relu:
            activation_backward(job.k, below.activation, n_in * job.lanes, scratch + below.z,
                                scratch + below.a, scratch + below.dz)


cdef void run_shard_feature_major(Job* job, int shard, ptrdiff_t start, ptrdiff_t rows,
                                  real* scratch, real* gradient) noexcept nogil:
    """Forward, loss and backward of one shard: rows start.. of the epoch's order."""
    cdef Op* last = job.last
    cdef ptrdiff_t n_out = last.n_out, row0 = shard * job.shard_rows
    cdef const real* weights = gather_rows(job, <const real*>job.weights, 1, start, rows,
                                           scratch + job.weights_at)
    cdef const int32_t* labels = gather_labels(job, start, rows,
                                               <int32_t*>(scratch + job.labels_at))
    cdef real* y = NULL
    if rows == 1:
        run_one_row(job, shard, start, row0, weights, labels, scratch, gradient)
        return
    gather_x(job, start, rows, row0, scratch + job.x_at)
    if job.inputs.mixed:
        y = (<real*>job.inputs.staged_y) + row0 * n_out
        mix_targets(job, start, rows, row0, y)
        transpose(job.k, rows, n_out, y, n_out, <const ptrdiff_t*>NULL, scratch + job.y_at,
                  job.lanes)
        y = scratch + job.y_at
        weights, labels = mix_weights(job, start, rows, row0, scratch + job.weights_at), NULL
    elif job.y != NULL:
        y = scratch + job.y_at
        transpose_rows(job, <const real*>job.y, n_out, start, rows, scratch + job.y_at)
    job.shard_weight[shard] = sum_weights(weights, rows)
    forward(job, rows, scratch)
    cdef const real* z = scratch + (last.a if job.value_loss else last.z)
    if job.python_loss == NULL:
        job.shard_loss[shard] = loss_columns(
            job.k, job.loss, rows, n_out, job.lanes, z, y, labels, weights, job.ceiling,
            job.loss_parameters, scratch + last.dz)
    else:
        job.shard_loss[shard] = python_loss(job, rows, 1, job.lanes, z, y, weights,
                                            scratch + last.dz)
    if job.mode == LOSS:
        return
    if job.value_loss:
        activation_backward(job.k, last.activation, n_out * job.lanes, scratch + last.z,
                            scratch + last.a, scratch + last.dz)
    backward(job, rows, scratch, gradient)
