"""The row-major step: a sample is a row, products by our own kernels or by BLAS.

A shard takes its rows forward and backward as far as dZ of every layer; buffers hold the whole
batch. Then each chunk of parameters gets its gradient from all rows at once, and its update while
that gradient is in the cache: no thread writes what another one owns, and nothing is added up from
parts.
"""

from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy, memset

from fastnn._blas cimport fnn_blas_gate_prepare, product, product_dw, product_dx
from fastnn._job cimport LOSS, UPDATE, Chunk, Job, TrainingLayer
from fastnn._kernels cimport (
    FNN_ACT_identity,
    FNN_ACT_relu,
    activation_backward,
    bias_activate,
    dropout_rows,
    fnn_dropout,
    fnn_product,
    loss_rows,
    pack_rows,
    panel_columns,
    real,
    row_major_product,
    run_product,
    sum_columns,
    transpose,
)

fnn_blas_gate_prepare()


cdef void gather_csr(const Job* job, ptrdiff_t start, ptrdiff_t rows, real* x) noexcept nogil:
    cdef ptrdiff_t r, row, i, n_in = job.layers[0].net.n_in
    cdef const real* values = <const real*>job.x
    memset(x, 0, rows * n_in * sizeof(real))
    for r in range(rows):
        row = job.order[start + r] if job.order != NULL else start + r
        for i in range(job.csr_start[row], job.csr_start[row + 1]):
            x[r * n_in + job.csr_column[i]] += values[i]  # duplicates add up


cdef void gather_x(const Job* job, ptrdiff_t start, ptrdiff_t rows, ptrdiff_t row0,
                   real* scratch) noexcept nogil:
    """Brings X's rows into the scratch, or lists them."""
    cdef ptrdiff_t r, n_in = job.layers[0].net.n_in
    cdef real* copy = scratch + job.x_at + row0 * n_in
    cdef const real* x = <const real*>job.x
    if job.csr_start != NULL:
        gather_csr(job, start, rows, copy)
    elif job.order == NULL:
        return
    elif job.lists:
        for r in range(rows):
            job.x_rows[row0 + r] = x + job.order[start + r] * n_in
    else:
        for r in range(rows):
            memcpy(copy + r * n_in, x + job.order[start + r] * n_in, n_in * sizeof(real))


cdef bint reads_lists(const Job* job) noexcept nogil:
    return job.lists and job.order != NULL and job.csr_start == NULL


cdef const real* dense_x(const Job* job, ptrdiff_t start, ptrdiff_t row0,
                         const real* scratch) noexcept nogil:
    """X (rows, n_in) from row start of the epoch, row0 of the batch; not for lists."""
    if job.csr_start == NULL and job.order == NULL:
        return (<const real*>job.x) + start * job.layers[0].net.n_in
    return scratch + job.x_at + row0 * job.layers[0].net.n_in


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


cdef void layer_forward(const Job* job, const TrainingLayer* layer, ptrdiff_t rows, ptrdiff_t row0,
                        const real* a_in, ptrdiff_t lda, real* scratch) noexcept nogil:
    """z = a_in W + b; relu with it, where it is fused."""
    cdef const real* parameters = <const real*>job.parameters
    cdef real* z = scratch + layer.z + row0 * layer.ld
    cdef ptrdiff_t n_in = layer.net.n_in
    cdef fnn_product p
    if not layer.native:
        product(<int>rows, <int>n_in, <int>layer.net.n_out, a_in, <int>lda,
                parameters + layer.net.w, z)
        bias_activate(job.k, FNN_ACT_relu if layer.relu else FNN_ACT_identity, rows,
                      layer.net.n_out, z, parameters + layer.net.b, z)
        return
    p = row_major_product(job.k, rows, layer.net.n_out, n_in, a_in, lda, parameters + layer.net.w,
                          layer.net.n_out, z, layer.ld)
    if layer.packed >= 0:
        p.b = (<const real*>job.copies) + layer.packed
        p.ldb = p.b_panel
        p.b_panel *= n_in
    if layer == &job.layers[0] and reads_lists(job):
        p.a_list = job.x_rows + row0
    p.bias = parameters + layer.net.b
    p.relu = layer.relu
    run_product(job.k, &p, z)


cdef void forward(const Job* job, int64_t step, ptrdiff_t start, ptrdiff_t rows, ptrdiff_t row0,
                  real* scratch) noexcept nogil:
    """Fills z, a (and the dropped a) of every layer; of the last one raw outputs z (rows, n_out),
    and a where the loss sees the activated output."""
    cdef const real* a_in = dense_x(job, start, row0, scratch)
    cdef ptrdiff_t lda = job.layers[0].net.n_in
    cdef TrainingLayer* layer
    cdef fnn_dropout drop
    cdef int i
    for i in range(job.n_layers):
        layer = &job.layers[i]
        layer_forward(job, layer, rows, row0, a_in, lda, scratch)
        if i == job.n_layers - 1 and not job.value_loss:
            return
        lda = layer.ld
        a_in = scratch + layer.a + row0 * lda
        if not layer.relu:
            bias_activate(job.k, layer.net.activation, rows, lda, scratch + layer.z + row0 * lda,
                          <const real*>NULL, <real*>a_in)
        if layer.drops and job.mode == UPDATE:
            drop = layer.dropout
            drop.step = step
            dropout_rows(job.k, rows, lda, row0, &drop, a_in,
                         scratch + layer.dropped + row0 * lda)
            a_in = scratch + layer.dropped + row0 * lda


cdef void backward(const Job* job, int64_t step, ptrdiff_t rows, ptrdiff_t row0,
                   real* scratch) noexcept nogil:
    """From dz of the last layer to dz of the others."""
    cdef const real* dz
    cdef real* dx
    cdef ptrdiff_t at, n_in, n_out
    cdef TrainingLayer* layer
    cdef TrainingLayer* below
    cdef fnn_dropout drop
    cdef fnn_product p
    cdef int i
    for i in range(job.n_layers - 1, 0, -1):
        layer, below = &job.layers[i], &job.layers[i - 1]
        n_in, n_out = layer.net.n_in, layer.net.n_out
        at = row0 * below.ld
        dz = scratch + layer.dz + row0 * layer.ld
        dx = scratch + below.dz + at
        if layer.native:
            p = row_major_product(job.k, rows, n_in, n_out, dz, layer.ld,
                                  (<const real*>job.copies) + layer.transposed, 0, dx, below.ld)
            p.ldb = p.b_panel
            p.b_panel *= n_out
            p.gate = scratch + below.a + at if below.relu else NULL
            run_product(job.k, &p, dx)
        else:
            product_dx(<int>rows, <int>n_in, <int>n_out, dz,
                       (<const real*>job.parameters) + layer.net.w, dx)
        if below.drops and job.mode == UPDATE:
            drop = below.dropout
            drop.step = step
            dropout_rows(job.k, rows, below.ld, row0, &drop, dx, dx)
        if not (layer.native and below.relu):
            activation_backward(job.k, below.net.activation, rows * below.ld,
                                scratch + below.z + at, scratch + below.a + at, dx)


cdef void run_shard_rows(Job* job, int64_t step, int shard, ptrdiff_t start, ptrdiff_t rows,
                         real* scratch) noexcept nogil:
    """Forward, loss and backward of one shard: rows start.. of the epoch's order."""
    cdef TrainingLayer* last = &job.layers[job.n_layers - 1]
    cdef ptrdiff_t n_out = last.net.n_out
    cdef ptrdiff_t row0 = shard * job.shard_rows, at = row0 * n_out
    cdef const real* y = gather_rows(job, <const real*>job.y, n_out, start, rows,
                                     scratch + job.y_at + at)
    cdef const real* weights = gather_rows(job, <const real*>job.weights, 1, start, rows,
                                           scratch + job.weights_at + row0)
    cdef const int32_t* labels = gather_labels(job, start, rows,
                                               (<int32_t*>(scratch + job.labels_at)) + row0)
    gather_x(job, start, rows, row0, scratch)
    job.shard_weight[shard] = sum_weights(weights, rows)
    forward(job, step, start, rows, row0, scratch)
    job.shard_loss[shard] = loss_rows(
        job.k, job.loss, rows, n_out, scratch + (last.a if job.value_loss else last.z) + at, y,
        labels, weights, job.ceiling, scratch + last.dz + at)
    if job.mode == LOSS:
        return
    if job.value_loss:
        activation_backward(job.k, last.net.activation, rows * n_out, scratch + last.z + at,
                            scratch + last.a + at, scratch + last.dz + at)
    backward(job, step, rows, row0, scratch)


cdef void chunk_gradient(const Job* job, const Chunk* chunk, const real* scratch,
                         real* gradient) noexcept nogil:
    """gradient (chunk.size,) = these rows of X' dZ, or this piece of the sum of dZ's rows."""
    cdef const TrainingLayer* layer = &job.layers[chunk.layer]
    cdef const TrainingLayer* below = &job.layers[chunk.layer - 1] if chunk.layer > 0 else NULL
    cdef const real* dz = scratch + layer.dz
    cdef const real* a_in
    cdef ptrdiff_t lda, n_out = layer.net.n_out, n_rows = chunk.size // n_out
    cdef fnn_product p
    if not chunk.is_weight:
        sum_columns(job.k, job.rows, chunk.size, dz + chunk.at - layer.net.b, layer.ld, gradient)
        return
    if below == NULL:
        a_in, lda = dense_x(job, job.start, 0, scratch), layer.net.n_in
    elif below.drops and job.mode == UPDATE:
        a_in, lda = scratch + below.dropped, below.ld
    else:
        a_in, lda = scratch + below.a, below.ld
    if not layer.native:
        product_dw(<int>job.rows, <int>n_rows, <int>n_out, a_in + chunk.row, <int>lda, dz,
                   gradient)
        return
    p = row_major_product(job.k, n_rows, n_out, job.rows, a_in + chunk.row, lda, dz, layer.ld,
                          gradient, n_out)
    p.a_by_columns = True
    if below == NULL and reads_lists(job):
        p.a_list = job.x_rows
        p.a_offset = chunk.row
    run_product(job.k, &p, gradient)


cdef void copy_chunk(const Job* job, const Chunk* chunk, real* dtype) noexcept nogil:
    """Brings the copies of W up to date with rows of it, which are whole cache lines of W'."""
    cdef const TrainingLayer* layer = &job.layers[chunk.layer]
    cdef const real* w = (<const real*>job.parameters) + chunk.at
    cdef real* copies = <real*>job.copies
    cdef ptrdiff_t width = panel_columns(job.k, w)
    cdef ptrdiff_t n_in = layer.net.n_in, n_out = layer.net.n_out
    cdef ptrdiff_t row = chunk.row, stop = chunk.row + chunk.size // n_out, rows
    if not chunk.is_weight:
        return
    if layer.packed >= 0:
        pack_rows(job.k, stop - row, n_out, w, n_out, copies + layer.packed + row * width,
                  n_in * width)
    if layer.transposed >= 0:
        while row < stop:
            rows = min(stop, (row // width + 1) * width) - row
            transpose(job.k, rows, n_out, w, n_out, <const ptrdiff_t*>NULL,
                      copies + layer.transposed + row // width * n_out * width + row % width,
                      width)
            w += rows * n_out
            row += rows
