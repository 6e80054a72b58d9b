"""The update in phases, for what a plain one cannot do: settings by layer, clipping, limits of
norms, averaged weights, Muon.

    COLLECT -> (Muon: MOMENTUM -> NORMALISE -> rounds of GRAM -> POLYNOMIAL -> PRODUCT) -> STEP
            -> (LIMIT -> FINISH)

Those that a fit does not need are left out: as a rule STEP alone is there, and does in the same
order what the plain update does, to the same bytes. Sums over all parameters are made of sums of
chunks, added by one thread in their order: the number of threads changes no bit.
"""

from libc.math cimport INFINITY, sqrt
from libc.string cimport memcpy

from fastnn.core._kernels cimport (
    average,
    collect,
    fnn_product,
    limit_columns,
    multiply,
    muon_momentum,
    muon_polynomial,
    muon_step,
    real,
    row_major_product,
    run_product,
    step_coefficients,
    transpose,
    update_weights,
)
from fastnn.core._ops cimport HEADS
from fastnn.training._job cimport (
    COLLECT,
    FINISH,
    GIVEN,
    GRAM,
    LIMIT,
    MOMENTUM,
    NORMALISE,
    POLYNOMIAL,
    PRODUCT,
    STEP,
    UPDATE,
    Chunk,
    Group,
    Job,
    Matrix,
    Op,
    Strip,
    Strips,
)
from fastnn.training._row_major cimport chunk_gradient, copy_chunk

# Jordan 2024: the polynomial a x + b x^3 + c x^5, whose slope at 0 is as large as can be
cdef double[3] NEWTON_SCHULZ = [3.4445, -4.7750, 2.0315]
cdef double LEAST_NORM = 1e-7    # of a momentum that is divided by its norm, as in PyTorch
cdef double CLIP_EPS = 1e-6      # beside the norm of a gradient, as in PyTorch


# ---- chunks ----

cdef const real* gradient_of(const Job* job, const Chunk* chunk, const real* scratch, real* own,
                             int* n_partial) noexcept nogil:
    """The gradient of a chunk, which is the sum of n_partial ones."""
    n_partial[0] = 1
    if job.mode == GIVEN:
        return (<const real*>job.given) + chunk.at
    if job.feature_major:
        n_partial[0] = job.n_partial
        return (<const real*>job.partial) + chunk.at
    chunk_gradient(job, chunk, scratch, own)
    return own


cdef void collect_chunk(Job* job, int i, const real* scratch, real* own) noexcept nogil:
    """The gradient of a chunk with its penalties, clipped by value, into `summed`."""
    cdef const Chunk* chunk = &job.chunks[i]
    cdef const Group* group = &job.extras.groups[chunk.group]
    cdef const real* w = (<const real*>job.parameters) + chunk.at
    cdef real* g = (<real*>job.extras.summed) + chunk.at
    cdef const real* partial
    cdef double[3] sums
    cdef double l2 = 0, l1 = 0, scale = 1
    cdef int n_partial
    if job.mode == UPDATE:
        scale = 1.0 / (job.reduction * job.batch_weight)
        if chunk.decay:
            l2, l1 = group.l2, group.l1
    if group.frozen:  # its penalty stays a part of the loss
        if l2 != 0 or l1 != 0:
            collect(job.k, chunk.size, 1, w, 0, l2, l1, 1.0, INFINITY, w, g, sums)
            job.chunk_squares[i] = 0.5 * l2 * sums[0] + l1 * sums[1]
        job.extras.norms[i] = 0
        return
    partial = gradient_of(job, chunk, scratch, own, &n_partial)
    collect(job.k, chunk.size, n_partial, partial, job.partial_stride, l2 * job.reduction,
            l1 * job.reduction, scale, job.extras.clip_value, w, g, sums)
    job.chunk_squares[i] = 0.5 * l2 * sums[0] + l1 * sums[1]
    job.extras.norms[i] = sums[2]


cdef void muon_chunk(Job* job, const Chunk* chunk, real* w) noexcept nogil:
    """w = (1 - rate decay) w - rate X, X being the orthogonal matrix."""
    cdef const Matrix* matrix = &job.extras.matrices[chunk.matrix]
    cdef const real* x = (<const real*>job.extras.muon) + matrix.x
    cdef real* u = (<real*>job.extras.summed) + chunk.at
    cdef double rate = job.learning_rate * job.extras.groups[chunk.group].rate_factor
    cdef ptrdiff_t rows = chunk.size // matrix.n_out
    if matrix.rows == matrix.n_in:
        memcpy(u, x + chunk.row * matrix.columns, chunk.size * sizeof(real))
    else:
        transpose(job.k, matrix.n_out, rows, x + chunk.row, matrix.columns, <const ptrdiff_t*>NULL,
                  u, matrix.n_out)
    muon_step(job.k, chunk.size, 1 - rate * matrix.decay, rate * matrix.rate_factor, u, w)


cdef void step_chunk(Job* job, int i, const real* scratch, real* own) noexcept nogil:
    """The update of a chunk."""
    cdef const Chunk* chunk = &job.chunks[i]
    cdef Group* group = &job.extras.groups[chunk.group]
    cdef real* w = (<real*>job.parameters) + chunk.at
    cdef real* s0 = (<real*>job.state0) + chunk.at if job.state0 != NULL else NULL
    cdef real* s1 = (<real*>job.state1) + chunk.at if job.state1 != NULL else NULL
    cdef real* s2 = (<real*>job.state2) + chunk.at if job.state2 != NULL else NULL
    cdef const real* partial = (<const real*>job.extras.summed) + chunk.at
    cdef double[8] c
    cdef double rate = job.learning_rate * group.rate_factor
    cdef double l2 = group.l2 if chunk.decay and job.mode == UPDATE else 0.0
    cdef double l1 = group.l1 if chunk.decay and job.mode == UPDATE else 0.0
    cdef double scale = job.extras.scale, squares
    cdef int n_partial = 1
    cdef bint collected = job.extras.whole
    if not collected and (group.frozen or l1 != 0 or job.extras.clip_value < INFINITY
                          or l2 != 0 and group.decay != 0):
        collect_chunk(job, i, scratch, own)
        collected = True
        scale = 1
    if group.frozen:
        return
    if chunk.matrix >= 0:
        muon_chunk(job, chunk, w)
        return
    if not collected:
        partial = gradient_of(job, chunk, scratch, own, &n_partial)
        scale = 1.0 / (job.reduction * job.batch_weight) if job.mode == UPDATE else 1.0
    if group.decay != 0:
        multiply(job.k, chunk.size, 1 - rate * group.decay, w)
    step_coefficients(job.optimizer, <double>(job.step + 1), rate, group.hyperparameters, c)
    squares = update_weights(
        job.k, job.optimizer, chunk.size, n_partial, partial, job.partial_stride,
        0.0 if collected else l2 * job.reduction, scale, w, s0, s1, s2, c)
    if not collected:
        job.chunk_squares[i] = 0.5 * l2 * squares


cdef void finish_chunk(Job* job, int i, real* tag) noexcept nogil:
    """What follows from new parameters: their average, their copies."""
    cdef const Chunk* chunk = &job.chunks[i]
    cdef const real* w = (<const real*>job.parameters) + chunk.at
    cdef real* mean = (<real*>job.extras.mean) + chunk.at
    if job.extras.mean != NULL:
        if job.step == 0:
            memcpy(mean, w, chunk.size * sizeof(real))
        else:
            average(job.k, chunk.size, job.extras.mean_rate, w, mean)
    if job.renews_copies:
        copy_chunk(job, chunk, tag)


# ---- Muon ----

cdef void start_rows(Job* job, int number, const Strip* strip, real* tag) noexcept nogil:
    """X = the momentum of some rows of W, and the sum of its squares."""
    cdef const Matrix* matrix = &job.extras.matrices[strip.number]
    cdef ptrdiff_t n_out = matrix.n_out, at = matrix.at + strip.first * n_out
    cdef ptrdiff_t rows = strip.stop - strip.first
    cdef real* u = (<real*>job.extras.summed) + at
    cdef real* x = (<real*>job.extras.muon) + matrix.x
    job.extras.squares[number] = muon_momentum(
        job.k, rows * n_out, job.extras.momentum, job.extras.nesterov, job.extras.scale, u,
        (<real*>job.state0) + at)
    if matrix.rows == matrix.n_in:
        memcpy(x + strip.first * n_out, u, rows * n_out * sizeof(real))
    else:
        transpose(job.k, rows, n_out, u, n_out, <const ptrdiff_t*>NULL, x + strip.first,
                  matrix.columns)


cdef void muon_rows(Job* job, const Strip* strip, real* tag) noexcept nogil:
    """Some rows of what the stage makes of one matrix."""
    cdef const Matrix* matrix = &job.extras.matrices[strip.number]
    cdef real* memory = <real*>job.extras.muon
    cdef real* x = memory + matrix.x
    cdef real* gram = memory + matrix.gram
    cdef real* square = memory + matrix.square
    cdef ptrdiff_t n = matrix.columns, first = strip.first, rows = strip.stop - strip.first
    cdef fnn_product p
    if job.stage == NORMALISE:
        multiply(job.k, rows * n, 1 / max(matrix.norm, LEAST_NORM), x + first * n)
        return
    if job.stage == GRAM:
        p = row_major_product(job.k, rows, n, matrix.rows, x + first, n, x, n, gram + first * n, n)
        p.a_by_columns = True
    elif job.stage == POLYNOMIAL:
        p = row_major_product(job.k, rows, n, n, gram + first * n, n, gram, n, square + first * n,
                              n)
    else:
        p = row_major_product(job.k, rows, n, n, x + first * n, n, square, n,
                              memory + matrix.y + first * n, n)
    run_product(job.k, &p, x)
    if job.stage == POLYNOMIAL:
        muon_polynomial(job.k, rows, n, first, NEWTON_SCHULZ, gram + first * n, square + first * n)


cdef void end_momentum(Job* job) noexcept nogil:
    """The norm of each matrix, from its strips in their order."""
    cdef const Strips* strips = &job.extras.inputs
    cdef int i
    for i in range(job.extras.n_matrices):
        job.extras.matrices[i].norm = 0
    for i in range(strips.n):
        job.extras.matrices[strips.strip[i].number].norm += job.extras.squares[i]
    for i in range(job.extras.n_matrices):
        job.extras.matrices[i].norm = sqrt(job.extras.matrices[i].norm)


cdef void end_product(Job* job) noexcept nogil:
    """The new X takes the place of the old one."""
    cdef Matrix* matrix
    cdef int i
    for i in range(job.extras.n_matrices):
        matrix = &job.extras.matrices[i]
        matrix.x, matrix.y = matrix.y, matrix.x
    job.extras.round += 1


# ---- phases ----

cdef const Strips* strips_of(Job* job) noexcept nogil:
    """What the tasks of the stage are made of; NULL: of groups of chunks."""
    if job.stage == MOMENTUM:
        return &job.extras.inputs
    if job.stage == NORMALISE or job.stage == PRODUCT:
        return &job.extras.rows
    if job.stage == GRAM or job.stage == POLYNOMIAL:
        return &job.extras.columns
    if job.stage == LIMIT:
        return &job.extras.limits
    return NULL


cdef void run_phase(Job* job, int task, real* scratch, real* own) noexcept nogil:
    """One task of the open phase. ``own``: room for the gradient of one chunk."""
    cdef const Strips* strips = strips_of(job)
    cdef const Strip* strip
    cdef const Op* op
    cdef ptrdiff_t m
    cdef int i
    if strips == NULL:
        for i in range(job.groups[task], job.groups[task + 1]):
            if job.stage == COLLECT:
                collect_chunk(job, i, scratch, own)
                continue
            if job.stage == STEP:
                step_chunk(job, i, scratch, own)
            if job.stage == FINISH or job.extras.limits.n == 0:
                finish_chunk(job, i, scratch)
        return
    i = task
    while i < strips.n:
        strip = &strips.strip[i]
        if job.stage == MOMENTUM:
            start_rows(job, i, strip, scratch)
        elif job.stage == LIMIT:
            op = &job.ops[strip.number]
            for m in range(job.members if op.kind == HEADS else 1):
                limit_columns(job.k, op.n_in, strip.stop - strip.first,
                              (<real*>job.parameters) + op.w + m * op.n_in * op.n_out + strip.first,
                              op.n_out, op.limit)
        else:
            muon_rows(job, strip, scratch)
        i += strips.n_tasks


cdef void end_collect(Job* job) noexcept nogil:
    """The scale that clips the gradient by its norm."""
    cdef double squares = 0
    cdef int i
    job.extras.scale = 1
    if job.extras.clip_norm == INFINITY:
        return
    for i in range(job.n_chunks):
        squares += job.extras.norms[i]
    squares = job.extras.clip_norm / (sqrt(squares) + CLIP_EPS)
    if not squares > 1:  # NaN stays NaN
        job.extras.scale = squares


cdef int next_phase(Job* job) noexcept nogil:
    """Set the stage that follows; returns the number of its tasks, 0 after the last one."""
    cdef const Strips* strips
    cdef bint muon = job.extras.n_matrices > 0
    if job.stage == COLLECT:
        end_collect(job)
        job.stage = MOMENTUM if muon else STEP
    elif job.stage == MOMENTUM:
        end_momentum(job)
        job.extras.round = 0
        job.stage = NORMALISE
    elif job.stage == NORMALISE:
        job.stage = GRAM
    elif job.stage == GRAM:
        job.stage = POLYNOMIAL
    elif job.stage == POLYNOMIAL:
        job.stage = PRODUCT
    elif job.stage == PRODUCT:
        end_product(job)
        job.stage = GRAM if job.extras.round < job.extras.rounds else STEP
    elif job.stage == STEP:
        if job.extras.limits.n == 0:
            return 0
        job.stage = LIMIT
    elif job.stage == LIMIT:
        job.stage = FINISH
    elif job.stage == FINISH:
        return 0
    else:
        job.stage = COLLECT if job.extras.whole else STEP
    strips = strips_of(job)
    return job.n_groups if strips == NULL else strips.n_tasks
