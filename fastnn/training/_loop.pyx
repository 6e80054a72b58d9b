"""The epoch loop: shards of a batch, then updates, for a team of threads.

A batch is cut into shards by its shape alone (plan.py). A step has two phases: in the first the
rows of each shard run forward and backward; in the second the parameters are updated, chunk by
chunk. Threads claim shards and groups of chunks as they come (csrc/team.h), and who does what
changes no bit. Nothing is allocated and no Python object is touched inside an epoch. What few fits
need, such as clipping, has phases of its own in the place of the second one (_phases.pyx).

The two halves of a step also run by themselves: GRADIENT stops before the update, GIVEN begins
with it.
"""

from cython.parallel cimport parallel
from libc.math cimport isfinite
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from fastnn.core._kernels cimport add_parts, real, step_coefficients, update_weights
from fastnn.core._signals cimport is_stopped, look
from fastnn.core._team cimport (
    FNN_HAS_OPENMP,
    FNN_LOAD,
    FNN_SPINS,
    fnn_await,
    fnn_claim,
    fnn_close,
    fnn_finish,
    fnn_flush_subnormals,
    fnn_leave,
    fnn_open_phase,
    fnn_phases,
    fnn_restore_float_mode,
    fnn_tasks,
    fnn_team_rank,
    fnn_team_size,
    fnn_wait_a_little,
)
from fastnn.training._feature_major cimport run_shard_feature_major
from fastnn.training._job cimport (
    APPLY,
    GIVEN,
    GRADIENT,
    LOSS,
    PREPARE,
    SHARDS,
    UPDATE,
    Chunk,
    Job,
)
from fastnn.training._ops_batch_norm cimport move_averages
from fastnn.training._ops_lookup cimport (
    dense_update,
    has_table,
    is_looked_up,
    is_untouched,
    lookup_update,
    sort_entries,
    table_update,
)
from fastnn.training._phases cimport next_phase, run_phase
from fastnn.training._row_major cimport chunk_gradient, copy_chunk, run_shard_rows

HAS_OPENMP = bool(FNN_HAS_OPENMP)


cdef void run_shard(Job* job, int64_t step, int shard, ptrdiff_t start, ptrdiff_t rows,
                    real* scratch, real* gradient) noexcept nogil:
    """Forward, loss and backward of one shard, in the layout of the plan; feature-major its
    gradient, too, unless NULL."""
    if job.feature_major:
        run_shard_feature_major(job, shard, start, rows, scratch, gradient)
    else:
        run_shard_rows(job, step, shard, start, rows, scratch)


cdef bint may_skip(const Job* job, const Chunk* chunk) noexcept nogil:
    """Whether rows of W without a gradient need no work: they stay as they are, or 0 is added to
    their gradient."""
    if job.mode == UPDATE:
        return (job.lookup.skips and is_looked_up(job, chunk)
                and job.ops[chunk.op].packed < 0)  # else all of it has to be packed again
    return job.start > 0 and is_untouched(job, chunk)


cdef void apply_chunks(Job* job, int first, int stop, real* scratch, real* own) noexcept nogil:
    """The batch's gradient over some chunks: update their parameters, or add it up. ``own``: room
    for the gradient of one chunk."""
    cdef double[8] c
    cdef const Chunk* chunk
    cdef real* w = <real*>job.parameters
    cdef real* s0
    cdef real* s1
    cdef real* s2
    cdef const real* partial = own
    cdef int i, n_partial = job.n_partial if job.feature_major and job.mode != GIVEN else 1
    cdef double decay = job.alpha * job.reduction, scale = 1
    if job.mode == UPDATE:
        scale = 1.0 / (job.reduction * job.batch_weight)
    else:
        decay = 0
    if job.mode != GRADIENT:
        step_coefficients(job.optimizer, <double>(job.step + 1), job.learning_rate,
                          job.hyperparameters, c)
    for i in range(first, stop):
        chunk = &job.chunks[i]
        if job.lookup.sorts and may_skip(job, chunk):
            if job.mode == UPDATE:
                lookup_update(job, chunk, c, scale, scratch, own)
            continue
        if job.mode == UPDATE and has_table(job, chunk):
            job.chunk_squares[i] = table_update(
                job, chunk, c, decay if chunk.decay else 0.0, scale, scratch, own)
            continue
        if job.mode == UPDATE and is_looked_up(job, chunk):
            job.chunk_squares[i] = dense_update(
                job, chunk, c, decay if chunk.decay else 0.0, scale, scratch, own)
            if job.renews_copies:
                copy_chunk(job, chunk, own)
            continue
        if job.mode == GIVEN:
            partial = (<const real*>job.given) + chunk.at
        elif job.feature_major:
            partial = (<const real*>job.partial) + chunk.at
        else:
            chunk_gradient(job, chunk, scratch, own)
        if job.mode == GRADIENT:
            add_parts(job.k, chunk.size, n_partial, partial, job.partial_stride, job.start > 0,
                      (<real*>job.gradient) + chunk.at)
            continue
        # an optimizer without state has none
        s0 = (<real*>job.state0) + chunk.at if job.state0 != NULL else NULL
        s1 = (<real*>job.state1) + chunk.at if job.state1 != NULL else NULL
        s2 = (<real*>job.state2) + chunk.at if job.state2 != NULL else NULL
        job.chunk_squares[i] = update_weights(
            job.k, job.optimizer, chunk.size, n_partial, partial, job.partial_stride,
            decay if chunk.decay else 0.0, scale, w + chunk.at, s0, s1, s2, c)
        if job.renews_copies:
            copy_chunk(job, chunk, own)


# ---- phases ----

cdef void run_task(Job* job, int task, int rank, real* tag) noexcept nogil:
    """One task of the open phase: a shard, or a group of chunks."""
    cdef real* scratch = <real*>job.scratch
    cdef real* partial = <real*>job.partial
    cdef ptrdiff_t at
    cdef int i
    if is_stopped(&job.watch) and (
            job.stage == SHARDS or job.mode == GRADIENT or job.mode == LOSS):
        return  # nothing has been changed yet: this step is given up
    if job.feature_major:
        scratch += rank * job.scratch_stride
    if job.stage == SHARDS and task == job.n_partial:
        sort_entries(job, tag)
    elif job.stage == SHARDS:
        at = task * job.shard_rows
        run_shard(job, job.step, task, job.start + at,
                  job.shard_rows if task < job.n_partial - 1 else job.rows - at, scratch,
                  partial + task * job.partial_stride)
    elif job.stage == APPLY:
        apply_chunks(job, job.groups[task], job.groups[task + 1], scratch,
                     partial + rank * job.partial_stride)
    elif job.stage != PREPARE:
        run_phase(job, task, scratch, partial + rank * job.partial_stride)
    elif not job.feature_major:
        for i in range(job.groups[task], job.groups[task + 1]):
            copy_chunk(job, &job.chunks[i], tag)


cdef void open_update(Job* job) noexcept nogil:
    """Opens the update, or the first of the phases that it is made of."""
    if job.extras != NULL and job.mode != GRADIENT:
        fnn_open_phase(&job.phases, next_phase(job))
        return
    job.stage = APPLY
    fnn_open_phase(&job.phases, job.n_groups)


cdef void open_batch(Job* job) noexcept nogil:
    """Opens the next batch, or closes the epoch after the last one."""
    if job.start >= job.n_rows or is_stopped(&job.watch):
        fnn_close(&job.phases)
        return
    job.rows = min(job.batch, job.n_rows - job.start)
    if job.rates != NULL:
        job.learning_rate = job.rates[job.start // job.batch]
    if job.mode == GIVEN:
        open_update(job)
        return
    if job.inputs.mixed:
        job.k.shuffle(job.rows, job.inputs.mix_seed,
                      job.inputs.mix_stream + <uint64_t>job.step, job.inputs.partners)
    job.n_partial = max(1, <int>((job.rows + job.spare) // job.shard_rows))
    job.stage = SHARDS
    fnn_open_phase(&job.phases, job.n_partial + job.lookup.sorts)


cdef void end_shards(Job* job) noexcept nogil:
    """Adds up the batch's loss, in order; opens the update."""
    cdef int shard
    if is_stopped(&job.watch):
        fnn_close(&job.phases)
        return
    job.batch_loss = job.batch_weight = 0
    for shard in range(job.n_partial):
        job.batch_loss += job.shard_loss[shard]
        job.batch_weight += job.shard_weight[shard]
    if job.stop_if_diverged and not isfinite(job.batch_loss):
        job.diverged = True
        job.loss_sum = job.batch_loss
        fnn_close(&job.phases)
    elif job.mode == LOSS or job.mode == UPDATE and job.batch_weight == 0:
        end_batch(job)  # nothing to apply: a batch without weight has no gradient
    else:
        open_update(job)


cdef void end_batch(Job* job) noexcept nogil:
    """Keeps the books of the batch and goes on to the next one."""
    cdef double squares = 0, penalty
    cdef int i
    if job.mode == GIVEN:
        job.step += 1
    elif job.mode != UPDATE:
        job.loss_sum += job.batch_loss
        job.weight_sum += job.batch_weight
    elif job.batch_weight != 0:
        if job.alpha != 0 or job.extras != NULL:
            for i in range(job.n_chunks):
                squares += job.chunk_squares[i]
        penalty = squares if job.extras != NULL else 0.5 * job.alpha * squares
        job.loss_sum += job.rows * (
            job.batch_loss / job.loss_reduction + penalty) / job.batch_weight
        if job.n_batch_norms > 0:
            move_averages(job)
        job.step += 1
    job.start += job.rows
    open_batch(job)


cdef void end_phase(Job* job) noexcept nogil:
    """What one thread does while the others wait."""
    cdef int tasks
    if job.stage == PREPARE:
        open_batch(job)
    elif job.stage == SHARDS:
        end_shards(job)
    elif job.stage == APPLY:
        end_batch(job)
    else:
        tasks = next_phase(job)
        if tasks > 0:
            fnn_open_phase(&job.phases, tasks)
        else:
            end_batch(job)


cdef int64_t wait_and_look(Job* job, int64_t seen) noexcept nogil:
    """Waits as `fnn_await` does, and looks for signals once the wait is a long one: another thread
    may have a task in hand for as long as its matrix product takes."""
    cdef int spin = 0
    cdef int64_t open = FNN_LOAD(&job.phases.open)
    while open == seen:
        fnn_wait_a_little(spin)
        if spin < FNN_SPINS:
            spin += 1
        else:
            look(&job.watch)
        open = FNN_LOAD(&job.phases.open)
    return open


cdef void work(Job* job, real* tag) noexcept nogil:
    """An epoch, as each thread of the team goes through it: claim tasks while there are any."""
    cdef int rank = fnn_team_rank(), team = fnn_team_size()
    cdef uint64_t float_mode = fnn_flush_subnormals()
    cdef int64_t open = fnn_await(&job.phases, 0), passes = 0
    cdef int i, task, tasks
    cdef bint looks = rank == 0 and job.watch.on
    while open >= 0:
        tasks = fnn_tasks(open)
        for i in range(tasks):
            # begin with the tasks that were ours in the last step: their memory is in our cache
            task = (rank * tasks // team + i) % tasks
            if team == 1:
                run_task(job, task, rank, tag)
                if task == tasks - 1:
                    end_phase(job)
            elif fnn_claim(&job.phases, task, open):
                run_task(job, task, rank, tag)
                if fnn_finish(&job.phases, open):
                    end_phase(job)
            if looks and job.clock_steps == 1:  # a step may take longer than Ctrl-C should
                look(&job.watch)
        passes += 1
        if looks and passes % (2 * job.clock_steps) == 0:
            look(&job.watch)
        open = wait_and_look(job, open) if looks else fnn_await(&job.phases, open)
    fnn_leave(&job.phases)
    fnn_restore_float_mode(float_mode)


cdef void run_alone(Job* job, bint is_double) noexcept nogil:
    """One epoch by this thread, without OpenMP."""
    begin(job)
    if is_double:
        work[double](job, NULL)
    else:
        work[float](job, NULL)


cdef void run_team(Job* job, bint is_double, int threads) noexcept nogil:
    """One epoch by a team of threads."""
    if threads == 1:  # OpenMP ends the process where it gets no memory
        run_alone(job, is_double)
        return
    begin(job)
    with parallel(num_threads=threads):
        if is_double:
            work[double](job, NULL)
        else:
            work[float](job, NULL)


cdef void begin(Job* job) noexcept nogil:
    job.stage = PREPARE
    job.start = 0
    memset(&job.phases, 0, sizeof(fnn_phases))
    fnn_open_phase(&job.phases, job.n_groups)


cdef int run_job(Job* job, bint is_double, int threads) noexcept:
    """The same for who holds the GIL."""
    with nogil:
        run_team(job, is_double, threads)
    return 0
