"""The epoch loop: gather, forward, loss, backward, update, for a team of threads.

A batch is cut into shards by its shape alone (plan.py). In the first half of a step each shard's
rows run forward and backward into the shard's own gradient; in the second half each thread adds the
shards' gradients, in order, over its own range of parameters and updates them. One barrier stands
after each half. Nothing is allocated and no Python object is touched inside an epoch.
"""

import os

from cpython.exc cimport PyErr_CheckSignals
from cython.parallel cimport parallel
from libc.math cimport isfinite
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memcpy, memset

from fastnn._blas cimport product, product_dw, product_dx
from fastnn._kernels cimport (
    FNN_ACT_identity,
    activation_backward,
    add_parts,
    bias_activate,
    dropout_rows,
    fnn_dropout,
    loss_rows,
    real,
    step_coefficients,
    sum_columns,
    update_weights,
)
from fastnn._types cimport (
    FNN_HAS_OPENMP,
    fnn_barrier_wait,
    fnn_flush_subnormals,
    fnn_restore_float_mode,
    fnn_team_rank,
    fnn_team_release,
    fnn_team_size,
)

HAS_OPENMP = bool(FNN_HAS_OPENMP)

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=lambda: fnn_team_release())

pending = []  # the exception that a signal handler raised during an epoch


cdef bint signalled() noexcept nogil:
    """Looks for Ctrl-C; what its handler raises is kept for the end of the epoch."""
    with gil:
        try:
            PyErr_CheckSignals()
        except BaseException as error:
            pending.append(error)
            return True
    return False


# ---- one shard ----

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


cdef void forward(const Job* job, int64_t step, ptrdiff_t rows, ptrdiff_t row0, const real* x,
                  real* scratch) noexcept nogil:
    """Fills z, a (and the dropped a) of every layer; of the last one raw outputs z (rows, n_out),
    and a where the loss sees the activated output."""
    cdef const real* parameters = <const real*>job.parameters
    cdef const real* a_in = x
    cdef TrainingLayer* layer
    cdef fnn_dropout drop
    cdef int i
    for i in range(job.n_layers):
        layer = &job.layers[i]
        product(<int>rows, <int>layer.net.n_in, <int>layer.net.n_out, a_in, <int>layer.net.n_in,
                parameters + layer.net.w, scratch + layer.z)
        if i == job.n_layers - 1 and not job.value_loss:
            bias_activate(job.k, FNN_ACT_identity, rows, layer.net.n_out, scratch + layer.z,
                          parameters + layer.net.b, scratch + layer.z)
            return
        bias_activate(job.k, layer.net.activation, rows, layer.net.n_out, scratch + layer.z,
                      parameters + layer.net.b, scratch + layer.a)
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
            product_dw(<int>rows, <int>n_in, <int>n_out, a_in, <int>n_in, scratch + layer.dz,
                       gradient + layer.net.w)
            sum_columns(job.k, rows, n_out, scratch + layer.dz, gradient + layer.net.b)
        if below != NULL:
            product_dx(<int>rows, <int>n_in, <int>n_out, scratch + layer.dz,
                       parameters + layer.net.w, scratch + below.dz)
            if drops:
                drop = below.dropout
                drop.step = step
                dropout_rows(job.k, rows, n_in, row0, &drop, scratch + below.dz,
                             scratch + below.dz)
            activation_backward(job.k, below.net.activation, rows * n_in, scratch + below.z,
                                scratch + below.a, scratch + below.dz)


cdef void run_shard(Job* job, int64_t step, int shard, ptrdiff_t start, ptrdiff_t rows,
                    real* scratch, real* gradient) noexcept nogil:
    """Forward, loss and backward of one shard: rows start.. of the epoch's order."""
    cdef TrainingLayer* last = &job.layers[job.n_layers - 1]
    cdef ptrdiff_t n_out = last.net.n_out, r
    cdef ptrdiff_t row0 = shard * job.shard_rows
    cdef const real* x = gather_x(job, start, rows, scratch)
    cdef const real* y = gather_rows(job, <const real*>job.y, n_out, start, rows,
                                     scratch + job.y_at)
    cdef const real* weights = gather_rows(job, <const real*>job.weights, 1, start, rows,
                                           scratch + job.weights_at)
    cdef const int32_t* labels = gather_labels(job, start, rows,
                                               <int32_t*>(scratch + job.labels_at))
    cdef double weight = 0
    if weights == NULL:
        weight = <double>rows
    else:
        for r in range(rows):
            weight += weights[r]
    job.shard_weight[shard] = weight
    forward(job, step, rows, row0, x, scratch)
    job.shard_loss[shard] = loss_rows(
        job.k, job.loss, rows, n_out, scratch + (last.a if job.value_loss else last.z), y, labels,
        weights, scratch + last.dz)
    if job.mode == LOSS:
        return
    if job.value_loss:
        activation_backward(job.k, last.net.activation, rows * n_out, scratch + last.z,
                            scratch + last.a, scratch + last.dz)
    backward(job, step, rows, row0, x, scratch, gradient)


# ---- one epoch ----

cdef void update_chunks(Job* job, int64_t step, int first, int stop, int n_parts, double weight,
                        real* dtype) noexcept nogil:
    """The second half of a step for some chunks: add the shards' gradients, then update."""
    cdef double[8] c
    cdef const Chunk* chunk
    cdef real* w = <real*>job.parameters
    cdef real* s0 = <real*>job.state0
    cdef real* s1 = <real*>job.state1
    cdef const real* parts = <const real*>job.parts
    cdef int i
    step_coefficients(job.optimizer, <double>(step + 1), job.learning_rate,
                      job.hyperparameters, c)
    for i in range(first, stop):
        chunk = &job.chunks[i]
        job.chunk_squares[i] = update_weights(
            job.k, job.optimizer, chunk.size, n_parts, parts + chunk.at, job.part_stride,
            job.alpha * job.reduction if chunk.decays else 0.0, 1.0 / (job.reduction * weight),
            w + chunk.at, s0 + chunk.at, s1 + chunk.at if s1 != NULL else NULL, c)


cdef void add_chunks(Job* job, int first, int stop, int n_parts, bint accumulate,
                     real* dtype) noexcept nogil:
    cdef const Chunk* chunk
    cdef int i
    for i in range(first, stop):
        chunk = &job.chunks[i]
        add_parts(job.k, chunk.size, n_parts, (<const real*>job.parts) + chunk.at, job.part_stride,
                  accumulate, (<real*>job.gradient) + chunk.at)


cdef void work(Job* job, real* dtype) noexcept nogil:
    """An epoch, as each thread of the team goes through it. What decides the way, every thread
    works out for itself from the same numbers; thread 0 alone keeps the books."""
    cdef int rank = fnn_team_rank(), team = fnn_team_size()
    cdef int first = rank * job.n_chunks // team, stop = (rank + 1) * job.n_chunks // team
    cdef real* scratch = (<real*>job.scratch) + rank * job.scratch_stride
    cdef uint64_t float_mode = fnn_flush_subnormals()
    cdef ptrdiff_t start = 0, rows, at
    cdef int64_t step = job.step, steps = 0  # each thread counts for itself
    cdef int shard, n_parts, i
    cdef double loss, weight, squares
    while start < job.n_rows:
        rows = min(job.batch, job.n_rows - start)
        n_parts = <int>((rows + job.shard_rows - 1) // job.shard_rows)
        shard = rank
        while shard < n_parts:
            at = shard * job.shard_rows
            run_shard(job, step, shard, start + at, min(job.shard_rows, rows - at), scratch,
                      (<real*>job.parts) + shard * job.part_stride)
            shard += team
        fnn_barrier_wait(&job.barrier, team)

        loss = 0
        weight = 0
        for shard in range(n_parts):
            loss += job.shard_loss[shard]
            weight += job.shard_weight[shard]
        if job.stop_if_diverged and not isfinite(loss):
            if rank == 0:
                job.diverged = True
                job.loss_sum = loss
            break
        # a batch without weight has no gradient: it is passed over
        if job.mode == GRADIENT:
            add_chunks(job, first, stop, n_parts, start > 0, dtype)
        elif job.mode == UPDATE and weight != 0:
            update_chunks(job, step, first, stop, n_parts, weight, dtype)
        if rank == 0:
            steps += 1
            if job.handles_signals and steps % job.signal_steps == 0:
                job.interrupted = signalled()
        fnn_barrier_wait(&job.barrier, team)

        if rank == 0:
            if job.mode != UPDATE:
                job.loss_sum += loss
                job.weight_sum += weight
            elif weight != 0:
                squares = 0
                if job.alpha != 0:
                    for i in range(job.n_chunks):
                        squares += job.chunk_squares[i]
                job.loss_sum += rows * (
                    loss / job.loss_reduction + 0.5 * job.alpha * squares) / weight
        if job.mode == UPDATE and weight != 0:
            step += 1
        if job.interrupted:
            break
        start += rows
    if rank == 0:
        job.last_step = step
    fnn_restore_float_mode(float_mode)


cdef int run_job(Job* job, bint is_double, int threads) noexcept:
    """One epoch by a team of threads, without the GIL."""
    with nogil, parallel(num_threads=threads):
        if is_double:
            work[double](job, NULL)
        else:
            work[float](job, NULL)
    return 0
