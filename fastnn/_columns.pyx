"""The feature-major step of one shard: a sample is a column, so that the lanes of the vectors hold
samples and narrow layers waste none.

A layer's W (n_in, n_out) and b (n_out,) lie one behind the other in the flat vector: together they
are a matrix [W; b] of n_in + 1 rows, and with a row of ones under its input a layer is one product:
Z = [W; b]' [A; 1]. In the same way [dW; db] = [A; 1] dZ'. Only dZ is turned for it; X is turned
while it is gathered.
"""

from libc.stdint cimport int32_t
from libc.string cimport memset

from fastnn._job cimport LOSS, Job, TrainingLayer
from fastnn._kernels cimport (
    activation_backward,
    bias_activate,
    loss_columns,
    matrix_product,
    real,
    transpose,
)
from fastnn._rows cimport gather_labels, gather_rows, sum_weights


cdef void turn(const Job* job, const real* source, ptrdiff_t width, ptrdiff_t start, ptrdiff_t rows,
               real* out) noexcept nogil:
    """out (width, lanes) = rows start.. of the epoch's order of source (n_samples, width)."""
    if job.order == NULL:
        transpose(job.k, rows, width, source + start * width, width, <const ptrdiff_t*>NULL, out,
                  job.lanes)
    else:
        transpose(job.k, rows, width, source, width, <const ptrdiff_t*>job.order + start, out,
                  job.lanes)


cdef void gather_x(const Job* job, ptrdiff_t start, ptrdiff_t rows, real* x) noexcept nogil:
    """x (n_in, lanes) = the samples as columns; the row of ones below it stays."""
    cdef ptrdiff_t r, row, i, n_in = job.layers[0].net.n_in
    cdef const real* values = <const real*>job.x
    if job.csr_start == NULL:
        turn(job, values, n_in, start, rows, x)
        return
    memset(x, 0, n_in * job.lanes * sizeof(real))
    for r in range(rows):
        row = job.order[start + r] if job.order != NULL else start + r
        for i in range(job.csr_start[row], job.csr_start[row + 1]):
            x[job.csr_column[i] * job.lanes + r] += values[i]  # duplicates add up


cdef void forward(const Job* job, ptrdiff_t rows, real* scratch) noexcept nogil:
    cdef const real* parameters = <const real*>job.parameters
    cdef const real* a_in = scratch + job.x_at
    cdef TrainingLayer* layer
    cdef int i
    for i in range(job.n_layers):
        layer = &job.layers[i]
        matrix_product(job.k, layer.net.n_out, rows, layer.net.n_in + 1, parameters + layer.net.w,
                       1, layer.net.n_out, a_in, job.lanes, <const real*>NULL, scratch + layer.z,
                       job.lanes)
        if i < job.n_layers - 1 or job.value_loss:
            bias_activate(job.k, layer.net.activation, 1, layer.net.n_out * job.lanes,
                          scratch + layer.z, <const real*>NULL, scratch + layer.a)
        a_in = scratch + layer.a


cdef void backward(const Job* job, ptrdiff_t rows, real* scratch, real* gradient) noexcept nogil:
    cdef const real* parameters = <const real*>job.parameters
    cdef real* turned = scratch + job.turned_at
    cdef const real* a_in
    cdef TrainingLayer* layer
    cdef TrainingLayer* below
    cdef ptrdiff_t n_in, n_out
    cdef int i
    for i in range(job.n_layers - 1, -1, -1):
        layer = &job.layers[i]
        n_in, n_out = layer.net.n_in, layer.net.n_out
        below = &job.layers[i - 1] if i > 0 else NULL
        a_in = scratch + (job.x_at if below == NULL else below.a)
        if gradient != NULL:
            transpose(job.k, n_out, rows, scratch + layer.dz, job.lanes, <const ptrdiff_t*>NULL,
                      turned, n_out)
            matrix_product(job.k, n_in + 1, n_out, rows, a_in, job.lanes, 1, turned, n_out,
                           <const real*>NULL, gradient + layer.net.w, n_out)
        if below != NULL:
            matrix_product(job.k, n_in, rows, n_out, parameters + layer.net.w, n_out, 1,
                           scratch + layer.dz, job.lanes, <const real*>NULL, scratch + below.dz,
                           job.lanes)
            activation_backward(job.k, below.net.activation, n_in * job.lanes, scratch + below.z,
                                scratch + below.a, scratch + below.dz)


cdef void run_shard_columns(Job* job, int shard, ptrdiff_t start, ptrdiff_t rows, real* scratch,
                            real* gradient) noexcept nogil:
    """Forward, loss and backward of one shard: rows start.. of the epoch's order."""
    cdef TrainingLayer* last = &job.layers[job.n_layers - 1]
    cdef ptrdiff_t n_out = last.net.n_out
    cdef const real* weights = gather_rows(job, <const real*>job.weights, 1, start, rows,
                                           scratch + job.weights_at)
    cdef const int32_t* labels = gather_labels(job, start, rows,
                                               <int32_t*>(scratch + job.labels_at))
    gather_x(job, start, rows, scratch + job.x_at)
    if job.y != NULL:
        turn(job, <const real*>job.y, n_out, start, rows, scratch + job.y_at)
    job.shard_weight[shard] = sum_weights(weights, rows)
    forward(job, rows, scratch)
    job.shard_loss[shard] = loss_columns(
        job.k, job.loss, rows, n_out, job.lanes, scratch + (last.a if job.value_loss else last.z),
        scratch + job.y_at, labels, weights, job.ceiling, scratch + last.dz)
    if job.mode == LOSS:
        return
    if job.value_loss:
        activation_backward(job.k, last.net.activation, n_out * job.lanes, scratch + last.z,
                            scratch + last.a, scratch + last.dz)
    backward(job, rows, scratch, gradient)
