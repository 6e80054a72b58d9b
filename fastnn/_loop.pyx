"""The epoch loop: shards of a batch, then updates, for a team of threads.

A batch is cut into shards by its shape alone (plan.py). In the first half of a step each shard's
rows run forward and backward into the shard's own gradient; in the second half each thread adds the
shards' gradients, in order, over its own range of parameters and updates them. One barrier stands
after each half. Nothing is allocated and no Python object is touched inside an epoch.
"""

import os

from cpython.exc cimport PyErr_CheckSignals
from cython.parallel cimport parallel
from libc.math cimport isfinite
from libc.stdint cimport int64_t, uint64_t

from fastnn._columns cimport run_shard_columns
from fastnn._job cimport GRADIENT, UPDATE, Chunk, Job, TrainingLayer
from fastnn._kernels cimport add_parts, real, step_coefficients, transpose, update_weights
from fastnn._rows cimport run_shard_rows
from fastnn._types cimport (
    FNN_HAS_OPENMP,
    fnn_barrier_wait,
    fnn_flush_subnormals,
    fnn_restore_float_mode,
    fnn_seconds,
    fnn_team_rank,
    fnn_team_release,
    fnn_team_size,
)

HAS_OPENMP = bool(FNN_HAS_OPENMP)

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=lambda: fnn_team_release())

cdef double SIGNAL_SECONDS = 0.015  # taking the GIL can cost 5 ms where Python threads are busy

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


cdef void run_shard(Job* job, int64_t step, int shard, ptrdiff_t start, ptrdiff_t rows,
                    real* scratch, real* gradient) noexcept nogil:
    """Forward, loss and backward of one shard, in the layout of the plan."""
    if job.columns:
        run_shard_columns(job, shard, start, rows, scratch, gradient)
    else:
        run_shard_rows(job, step, shard, start, rows, scratch, gradient)


cdef void transpose_chunks(Job* job, int first, int stop, real* dtype) noexcept nogil:
    """Brings W' up to date with some chunks of W, which are whole cache lines of W'."""
    cdef const Chunk* chunk
    cdef const TrainingLayer* layer
    cdef int i
    for i in range(first, stop):
        chunk = &job.chunks[i]
        layer = &job.layers[chunk.layer]
        if chunk.decays and layer.ld_transposed:
            transpose(job.k, chunk.size // layer.net.n_out, layer.net.n_out,
                      (<const real*>job.parameters) + chunk.at, layer.net.n_out,
                      <const ptrdiff_t*>NULL,
                      (<real*>job.transposed) + layer.transposed + chunk.row, layer.ld_transposed)


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
    cdef double loss, weight, squares, now, looked = fnn_seconds()
    transpose_chunks(job, first, stop, dtype)
    fnn_barrier_wait(&job.barrier, team)
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
            transpose_chunks(job, first, stop, dtype)
        if rank == 0:
            steps += 1
            if job.handles_signals and steps % job.clock_steps == 0:
                now = fnn_seconds()
                if not 0 <= now - looked < SIGNAL_SECONDS:
                    looked = now
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
