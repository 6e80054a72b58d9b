"""The row-major step of one shard: a sample is a row, products by our own kernels or by BLAS."""

from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy, memset

from fastnn._blas cimport product, product_dw, product_dx
from fastnn._job cimport LOSS, UPDATE, Job, TrainingLayer
from fastnn._kernels cimport (
    FNN_ACT_identity,
    activation_backward,
    bias_activate,
    dropout_rows,
    fnn_dropout,
    loss_rows,
    matrix_product,
    real,
    sum_columns,
)


cdef void gather_dense(const Job* job, ptrdiff_t start, ptrdiff_t rows, real* x) noexcept nogil:
    cdef ptrdiff_t r, n_in = job.layers[0].net.n_in
    for r in range(rows):
        memcpy(x + r * n_in, (<const real*>job.x) + job.order[start + r] * n_in,
               n_in * sizeof(real))


cdef void gather_csr(const Job* job, ptrdiff_t start, ptrdiff_t rows, real* x) noexcept nogil:
    cdef ptrdiff_t r, row, i, n_in = job.layers[0].net.n_in
    cdef const real* values = <const real*>job.x
    memset(x, 0, rows * n_in * sizeof(real))
    for r in range(rows):
        row = job.order[start + r] if job.order != NULL else start + r
        for i in range(job.csr_start[row], job.csr_start[row + 1]):
            x[r * n_in + job.csr_column[i]] += values[i]  # duplicates add up


cdef const real* gather_x(const Job* job, ptrdiff_t start, ptrdiff_t rows,
                          real* scratch) noexcept nogil:
    if job.csr_start != NULL:
        gather_csr(job, start, rows, scratch + job.x_at)
    elif job.order != NULL:
        gather_dense(job, start, rows, scratch + job.x_at)
    else:
        return (<const real*>job.x) + start * job.layers[0].net.n_in
    return scratch + job.x_at


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


cdef void forward(const Job* job, int64_t step, ptrdiff_t rows, ptrdiff_t row0, const real* x,
                  real* scratch) noexcept nogil:
    """Fills z, a (and the dropped a) of every layer; of the last one raw outputs z (rows, n_out),
    and a where the loss sees the activated output."""
    cdef const real* parameters = <const real*>job.parameters
    cdef const real* bias
    cdef const real* a_in = x
    cdef TrainingLayer* layer
    cdef fnn_dropout drop
    cdef int i
    for i in range(job.n_layers):
        layer = &job.layers[i]
        bias = parameters + layer.net.b
        if layer.native:
            matrix_product(job.k, rows, layer.net.n_out, layer.net.n_in, a_in, layer.net.n_in, 1,
                           parameters + layer.net.w, layer.net.n_out, bias, scratch + layer.z,
                           layer.net.n_out)
            bias = NULL
        else:
            product(<int>rows, <int>layer.net.n_in, <int>layer.net.n_out, a_in,
                    <int>layer.net.n_in, parameters + layer.net.w, scratch + layer.z)
        if i == job.n_layers - 1 and not job.value_loss:
            if bias != NULL:
                bias_activate(job.k, FNN_ACT_identity, rows, layer.net.n_out, scratch + layer.z,
                              bias, scratch + layer.z)
            return
        bias_activate(job.k, layer.net.activation, rows, layer.net.n_out, scratch + layer.z, bias,
                      scratch + layer.a)
        a_in = scratch + layer.a
        if layer.drops and job.mode == UPDATE:
            drop = layer.dropout
            drop.step = step
            dropout_rows(job.k, rows, layer.net.n_out, row0, &drop, a_in, scratch + layer.dropped)
            a_in = scratch + layer.dropped


cdef void backward(const Job* job, int64_t step, ptrdiff_t rows, ptrdiff_t row0, const real* x,
                   real* scratch, real* gradient) noexcept nogil:
    """From dz of the last layer to dz of the others, and to dW, db of all."""
    cdef const real* parameters = <const real*>job.parameters
    cdef const real* a_in
    cdef TrainingLayer* layer
    cdef TrainingLayer* below
    cdef fnn_dropout drop
    cdef ptrdiff_t n_in, n_out
    cdef bint drops
    cdef int i
    for i in range(job.n_layers - 1, -1, -1):
        layer = &job.layers[i]
        n_in, n_out = layer.net.n_in, layer.net.n_out
        below = &job.layers[i - 1] if i > 0 else NULL
        drops = below != NULL and below.drops and job.mode == UPDATE
        if below == NULL:
            a_in = x
        else:
            a_in = scratch + (below.dropped if drops else below.a)
        if gradient != NULL:
            if layer.native:
                matrix_product(job.k, n_in, n_out, rows, a_in, 1, n_in, scratch + layer.dz, n_out,
                               <const real*>NULL, gradient + layer.net.w, n_out)
            else:
                product_dw(<int>rows, <int>n_in, <int>n_out, a_in, <int>n_in, scratch + layer.dz,
                           gradient + layer.net.w)
            sum_columns(job.k, rows, n_out, scratch + layer.dz, gradient + layer.net.b)
        if below != NULL:
            if layer.native:
                matrix_product(job.k, rows, n_in, n_out, scratch + layer.dz, n_out, 1,
                               (<const real*>job.transposed) + layer.transposed,
                               layer.ld_transposed, <const real*>NULL, scratch + below.dz, n_in)
            else:
                product_dx(<int>rows, <int>n_in, <int>n_out, scratch + layer.dz,
                           parameters + layer.net.w, scratch + below.dz)
            if drops:
                drop = below.dropout
                drop.step = step
                dropout_rows(job.k, rows, n_in, row0, &drop, scratch + below.dz,
                             scratch + below.dz)
            activation_backward(job.k, below.net.activation, rows * n_in, scratch + below.z,
                                scratch + below.a, scratch + below.dz)


cdef void run_shard_rows(Job* job, int64_t step, int shard, ptrdiff_t start, ptrdiff_t rows,
                         real* scratch, real* gradient) noexcept nogil:
    """Forward, loss and backward of one shard: rows start.. of the epoch's order."""
    cdef TrainingLayer* last = &job.layers[job.n_layers - 1]
    cdef ptrdiff_t n_out = last.net.n_out
    cdef ptrdiff_t row0 = shard * job.shard_rows
    cdef const real* x = gather_x(job, start, rows, scratch)
    cdef const real* y = gather_rows(job, <const real*>job.y, n_out, start, rows,
                                     scratch + job.y_at)
    cdef const real* weights = gather_rows(job, <const real*>job.weights, 1, start, rows,
                                           scratch + job.weights_at)
    cdef const int32_t* labels = gather_labels(job, start, rows,
                                               <int32_t*>(scratch + job.labels_at))
    job.shard_weight[shard] = sum_weights(weights, rows)
    forward(job, step, rows, row0, x, scratch)
    job.shard_loss[shard] = loss_rows(
        job.k, job.loss, rows, n_out, scratch + (last.a if job.value_loss else last.z), y, labels,
        weights, job.ceiling, scratch + last.dz)
    if job.mode == LOSS:
        return
    if job.value_loss:
        activation_backward(job.k, last.net.activation, rows * n_out, scratch + last.z,
                            scratch + last.a, scratch + last.dz)
    backward(job, step, rows, row0, x, scratch, gradient)
