"""The epoch loop: shards of a batch, then updates, for a team of threads.

A batch is cut into shards by its shape alone (plan.py). A step has two phases: in the first each
shard's rows run forward and backward into the shard's own gradient; in the second the shards'
gradients are added, in order, and the parameters updated, group by group. The threads claim shards
and groups as they come (csrc/team.h), and who does what changes no bit. Nothing is allocated and
no Python object is touched inside an epoch.
"""

from cpython.exc cimport PyErr_CheckSignals
from cython.parallel cimport parallel
from libc.math cimport isfinite
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from fastnn._columns cimport run_shard_columns
from fastnn._job cimport (
    APPLY,
    GRADIENT,
    LOSS,
    PREPARE,
    SHARDS,
    UPDATE,
    Chunk,
    Job,
    TrainingLayer,
)
from fastnn._kernels cimport add_parts, real, step_coefficients, transpose, update_weights
from fastnn._rows cimport run_shard_rows
from fastnn._types cimport (
    FNN_HAS_OPENMP,
    FNN_MAX_TASKS,
    fnn_await,
    fnn_claim,
    fnn_close,
    fnn_finish,
    fnn_flush_subnormals,
    fnn_open_phase,
    fnn_phases,
    fnn_restore_float_mode,
    fnn_seconds,
    fnn_tasks,
    fnn_team_rank,
    fnn_team_size,
)

HAS_OPENMP = bool(FNN_HAS_OPENMP)

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


cdef void update_chunks(Job* job, int first, int stop, real* dtype) noexcept nogil:
    """Adds the shards' gradients over some chunks and updates their parameters."""
    cdef double[8] c
    cdef const Chunk* chunk
    cdef real* w = <real*>job.parameters
    cdef real* s0 = <real*>job.state0
    cdef real* s1 = <real*>job.state1
    cdef const real* parts = <const real*>job.parts
    cdef int i
    step_coefficients(job.optimizer, <double>(job.step + 1), job.learning_rate,
                      job.hyperparameters, c)
    for i in range(first, stop):
        chunk = &job.chunks[i]
        job.chunk_squares[i] = update_weights(
            job.k, job.optimizer, chunk.size, job.n_parts, parts + chunk.at, job.part_stride,
            job.alpha * job.reduction if chunk.decays else 0.0,
            1.0 / (job.reduction * job.batch_weight),
            w + chunk.at, s0 + chunk.at, s1 + chunk.at if s1 != NULL else NULL, c)


cdef void add_chunks(Job* job, int first, int stop, real* dtype) noexcept nogil:
    """Adds the shards' gradients over some chunks to the gradient of the batches before."""
    cdef const Chunk* chunk
    cdef int i
    for i in range(first, stop):
        chunk = &job.chunks[i]
        add_parts(job.k, chunk.size, job.n_parts, (<const real*>job.parts) + chunk.at,
                  job.part_stride, job.start > 0, (<real*>job.gradient) + chunk.at)


# ---- phases ----

cdef void run_task(Job* job, int task, real* scratch) noexcept nogil:
    """One task of the open phase: a shard, or a group of chunks."""
    cdef ptrdiff_t at
    cdef int first, stop
    if job.stage == SHARDS:
        at = task * job.shard_rows
        run_shard(job, job.step, task, job.start + at, min(job.shard_rows, job.rows - at), scratch,
                  (<real*>job.parts) + task * job.part_stride)
        return
    first = task * job.n_chunks // job.n_groups
    stop = (task + 1) * job.n_chunks // job.n_groups
    if job.stage == APPLY and job.mode == GRADIENT:
        add_chunks(job, first, stop, <real*>NULL)
        return
    if job.stage == APPLY:
        update_chunks(job, first, stop, <real*>NULL)
    transpose_chunks(job, first, stop, <real*>NULL)


cdef void open_batch(Job* job) noexcept nogil:
    """Opens the next batch, or closes the epoch after the last one."""
    if job.start >= job.n_rows or job.interrupted:
        fnn_close(&job.phases)
        return
    job.rows = min(job.batch, job.n_rows - job.start)
    job.n_parts = <int>((job.rows + job.shard_rows - 1) // job.shard_rows)
    job.stage = SHARDS
    fnn_open_phase(&job.phases, job.n_parts)


cdef void end_shards(Job* job) noexcept nogil:
    """Adds up the batch's loss, in order; opens the update."""
    cdef int shard
    job.batch_loss = job.batch_weight = 0
    for shard in range(job.n_parts):
        job.batch_loss += job.shard_loss[shard]
        job.batch_weight += job.shard_weight[shard]
    if job.stop_if_diverged and not isfinite(job.batch_loss):
        job.diverged = True
        job.loss_sum = job.batch_loss
        fnn_close(&job.phases)
    elif job.mode == LOSS or job.mode == UPDATE and job.batch_weight == 0:
        end_batch(job)  # nothing to apply: a batch without weight has no gradient
    else:
        job.stage = APPLY
        fnn_open_phase(&job.phases, job.n_groups)


cdef void end_batch(Job* job) noexcept nogil:
    """Keeps the books of the batch and goes on to the next one."""
    cdef double squares = 0
    cdef int i
    if job.mode != UPDATE:
        job.loss_sum += job.batch_loss
        job.weight_sum += job.batch_weight
    elif job.batch_weight != 0:
        if job.alpha != 0:
            for i in range(job.n_chunks):
                squares += job.chunk_squares[i]
        job.loss_sum += job.rows * (
            job.batch_loss / job.loss_reduction + 0.5 * job.alpha * squares) / job.batch_weight
        job.step += 1
    job.start += job.rows
    open_batch(job)


cdef void end_phase(Job* job) noexcept nogil:
    """What one thread does while the others wait."""
    if job.stage == PREPARE:
        open_batch(job)
    elif job.stage == SHARDS:
        end_shards(job)
    else:
        end_batch(job)


cdef void work(Job* job, real* dtype) noexcept nogil:
    """An epoch, as each thread of the team goes through it: claim tasks while there are any."""
    cdef int rank = fnn_team_rank(), team = fnn_team_size()
    cdef real* scratch = (<real*>job.scratch) + rank * job.scratch_stride
    cdef uint64_t float_mode = fnn_flush_subnormals()
    cdef int64_t open = fnn_await(&job.phases, 0), passes = 0
    cdef int i, task, tasks
    cdef double now, looked = fnn_seconds()
    while open >= 0:
        tasks = fnn_tasks(open)
        for i in range(tasks):
            # begin with the tasks that were ours in the last step: their memory is in our cache
            task = (rank * tasks // team + i) % tasks
            if fnn_claim(&job.phases, task, open):
                run_task(job, task, scratch)
                if fnn_finish(&job.phases, open):
                    end_phase(job)
        passes += 1
        if rank == 0 and job.handles_signals and passes % (2 * job.clock_steps) == 0:
            now = fnn_seconds()
            if not 0 <= now - looked < SIGNAL_SECONDS:
                looked = now
                if signalled():
                    job.interrupted = True
        open = fnn_await(&job.phases, open)
    fnn_restore_float_mode(float_mode)


cdef int run_job(Job* job, bint is_double, int threads) noexcept:
    """One epoch by a team of threads, without the GIL."""
    job.stage = PREPARE
    job.start = 0
    job.n_groups = 1 if threads == 1 else min(job.n_chunks, 4 * threads, <int>FNN_MAX_TASKS)
    memset(&job.phases, 0, sizeof(fnn_phases))
    fnn_open_phase(&job.phases, job.n_groups)
    with nogil, parallel(num_threads=threads):
        if is_double:
            work[double](job, NULL)
        else:
            work[float](job, NULL)
    return 0
