"""The epoch loop: gather, forward, loss, backward, update, for a team of threads.

A batch is cut into shards by its shape alone (plan.py). In the first half of a step each shard's
rows run forward and backward into the shard's own gradient; in the second half each thread adds the
shards' gradients, in order, over its own range of parameters and updates them. One barrier stands
after each half. Nothing is allocated and no Python object is touched inside an epoch.
"""

import os
import threading

cimport numpy as cnp
from cpython.exc cimport PyErr_CheckSignals
from cython.parallel cimport parallel
from libc.math cimport isfinite
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fastnn._blas cimport product, product_dw, product_dx
from fastnn._kernels cimport (
    FNN_N_COEFFICIENTS,
    FNN_OUTPUT_SOFTMAX,
    activation_backward,
    activation_needs_z,
    add_parts,
    bias_activate,
    dropout_rows,
    fnn_dropout,
    fnn_kernels,
    kernels,
    loss_rows,
    real,
    step_coefficients,
    sum_columns,
    update_weights,
)
from fastnn._types cimport (
    FNN_HAS_OPENMP,
    Layer,
    fnn_barrier,
    fnn_barrier_wait,
    fnn_flush_subnormals,
    fnn_restore_float_mode,
    fnn_team_rank,
    fnn_team_release,
    fnn_team_size,
)

import numpy as np

from fastnn import _kernels
from fastnn.plan import ALIGNMENT, ParameterLayout, aligned_zeros, plan_training
from fastnn.threads import resolve_threads

cnp.import_array()

HAS_OPENMP = bool(FNN_HAS_OPENMP)

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=lambda: fnn_team_release())

cdef enum Mode:
    UPDATE      # one optimizer step per batch
    GRADIENT    # add the gradient of all batches up, weights stay
    LOSS        # forward only

cdef struct TrainingLayer:
    Layer net
    bint drops
    fnn_dropout dropout
    ptrdiff_t z, a, dropped, dz  # offsets of (shard_rows, n_out) buffers in a thread's scratch
    ptrdiff_t state_at           # of dW, db in a shard's gradient: as in the flat vector

cdef struct Chunk:
    ptrdiff_t at
    ptrdiff_t size
    bint decays

# Everything an epoch needs. `void*` is of the dtype.
cdef struct Job:
    const fnn_kernels* k
    Mode mode
    int n_layers
    TrainingLayer* layers
    int loss
    bint value_loss           # the loss sees the output's activation, not the raw output
    double reduction          # the gradient is divided by it beside the sum of weights
    double loss_reduction
    double alpha
    # data
    ptrdiff_t n_rows          # of this epoch: of `order`, where there is one
    const cnp.npy_intp* order
    const void* x             # (n_samples, n_in), or CSR:
    const int64_t* csr_start  # (n_samples + 1,)
    const int32_t* csr_column
    const void* y             # (n_samples, n_out)
    const int32_t* labels     # (n_samples,)
    const void* weights       # (n_samples,) or NULL
    # plan
    ptrdiff_t batch
    ptrdiff_t shard_rows
    int n_shards
    int signal_steps
    bint handles_signals
    # parameters, gradients, scratch
    ptrdiff_t n_parameters
    void* parameters
    void* state0
    void* state1
    void* gradient            # (n_parameters,) in GRADIENT mode
    void* parts               # (n_shards, part_stride)
    ptrdiff_t part_stride
    void* scratch             # (threads, scratch_stride)
    ptrdiff_t scratch_stride
    ptrdiff_t x_at, y_at, weights_at, labels_at  # gathered rows, in a thread's scratch
    int n_chunks
    const Chunk* chunks
    # of the step
    int optimizer
    double learning_rate
    double* hyperparameters
    int64_t step              # optimizer steps before this epoch, and after it
    int64_t last_step
    double* shard_loss        # (n_shards,)
    double* shard_weight
    double* chunk_squares     # (n_chunks,)
    # of the epoch
    double loss_sum           # sum of batch loss * rows
    double weight_sum
    bint stop_if_diverged
    bint diverged
    bint interrupted
    fnn_barrier barrier


cdef bint signalled() noexcept nogil:
    """Looks for Ctrl-C; the exception stays set, for the end of the epoch."""
    with gil:
        try:
            PyErr_CheckSignals()
        except BaseException as error:
            pending.append(error)
            return True
    return False


pending = []


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
    cdef int i, identity = 0
    for i in range(job.n_layers):
        layer = &job.layers[i]
        product(<int>rows, <int>layer.net.n_in, <int>layer.net.n_out, a_in, <int>layer.net.n_in,
                parameters + layer.net.w, scratch + layer.z)
        if i == job.n_layers - 1 and not job.value_loss:
            bias_activate(job.k, identity, rows, layer.net.n_out, scratch + layer.z,
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


cdef int run(Job* job, bint is_double, int threads) noexcept:
    with nogil, parallel(num_threads=threads):
        if is_double:
            work[double](job, NULL)
        else:
            work[float](job, NULL)
    return 0


# ---- the object that owns the memory ----

cdef class Trainer:
    """A network in training: parameters, optimizer state, workspace, and the epoch loop.

    It checks nothing that `MLP` and the estimators have checked before.

    Parameters
    ----------
    sizes : tuple of int
    activations : tuple of str
        One per hidden layer.
    output, loss : str
    dtype : dtype
        float32 or float64.
    optimizer : Optimizer or None
        None: only losses and gradients.
    batch_size : int
    alpha : float
        L2 penalty alpha / 2 · |W|², divided by the sum of the batch's sample weights.
    dropout : float or sequence of float
        Rate of each hidden layer.
    seed : int
        Key of the dropout masks.
    n_threads : int or None
    reduction : {None, "mean", "sum"}
        Over the outputs, for the gradient; None is the loss's own.
    """

    cdef Job job
    cdef list kept               # arrays whose memory the job points to
    cdef dict data
    cdef readonly object layout, plan, parameters, weights, biases, dtype, loss
    cdef readonly tuple sizes, optimizer_state
    cdef readonly Py_ssize_t workspace_nbytes
    cdef bint is_double

    def __init__(self, sizes, activations, output, loss, *, dtype, optimizer, batch_size,
                 alpha=0.0, dropout=0.0, seed=0, n_threads=None, reduction=None):
        self.kept, self.data = [], {}
        self.sizes = tuple(sizes)
        self.dtype = np.dtype(dtype)
        self.is_double = self.dtype == np.float64
        self.loss = loss
        self.layout = ParameterLayout(sizes, dtype)
        self.plan = plan_training(self.layout, batch_size, resolve_threads(n_threads))
        self.parameters = self.layout.allocate()
        self.weights, self.biases = self.layout.views(self.parameters)
        self.workspace_nbytes = 0
        hidden = len(self.sizes) - 2
        rates = [dropout] * hidden if np.isscalar(dropout) else list(dropout)

        cdef Job* job = &self.job
        memset(job, 0, sizeof(Job))
        job.k = kernels
        job.alpha = alpha
        job.n_parameters = self.layout.size
        job.parameters = self.address(self.parameters)
        job.batch = self.plan.batch
        job.shard_rows = self.plan.shard_rows
        job.n_shards = self.plan.shards
        job.signal_steps = self.plan.signal_steps
        self.set_loss(loss, output, reduction)
        self.set_layers((*activations, output), rates, seed)
        self.set_workspace()
        self.set_optimizer(optimizer)

    cdef void* address(self, cnp.ndarray array):
        self.kept.append(array)
        return cnp.PyArray_DATA(array)

    cdef void* allocate(self, Py_ssize_t size, dtype):
        array = aligned_zeros(size, dtype)
        self.workspace_nbytes += array.nbytes
        return self.address(array)

    cdef set_loss(self, loss, output, reduction):
        info = _kernels.LOSSES[loss]
        n_out = self.sizes[-1]
        self.job.loss = _kernels.loss_index(loss)
        self.job.value_loss = info.link == "identity" and output != "identity"
        self.job.loss_reduction = n_out if info.reduction == "mean" else 1
        self.job.reduction = n_out if (reduction or info.reduction) == "mean" else 1

    cdef set_layers(self, activations, rates, seed):
        """Layers and the offsets of their buffers, each of which starts on a cache line."""
        cdef Job* job = &self.job
        cdef ptrdiff_t line = ALIGNMENT // self.dtype.itemsize
        cdef ptrdiff_t end = 0, rows = self.plan.shard_rows, i
        cdef TrainingLayer* layer
        job.n_layers = len(self.sizes) - 1
        job.layers = <TrainingLayer*>self.allocate(job.n_layers * sizeof(TrainingLayer), np.uint8)

        def take(width):
            nonlocal end
            start = end
            end += -(-rows * width // line) * line
            return start

        job.x_at = take(self.sizes[0])
        job.y_at = take(self.sizes[-1])
        job.weights_at = take(1)
        job.labels_at = take(1)
        for i in range(job.n_layers):
            layer = &job.layers[i]
            layer.net.n_in, layer.net.n_out = self.sizes[i], self.sizes[i + 1]
            layer.net.w = self.layout.weight_offsets[i]
            layer.net.b = self.layout.bias_offsets[i]
            layer.net.activation = _kernels.output_index(activations[i])
            layer.net.needs_z = (layer.net.activation != FNN_OUTPUT_SOFTMAX
                                 and activation_needs_z(layer.net.activation))
            layer.z = take(layer.net.n_out)
            layer.a = take(layer.net.n_out) if layer.net.needs_z else layer.z
            layer.dz = take(layer.net.n_out)
            if i < job.n_layers - 1 and rates[i] > 0:
                layer.drops = True
                layer.dropped = take(layer.net.n_out)
                layer.dropout.seed = seed
                layer.dropout.layer = i
                layer.dropout.threshold = <uint32_t>(rates[i] * 4294967296.0)
                layer.dropout.scale = 1.0 / (1.0 - rates[i])
        job.scratch_stride = end

    cdef set_workspace(self):
        cdef Job* job = &self.job
        cdef Chunk* chunks
        line = ALIGNMENT // self.dtype.itemsize
        job.part_stride = -(-self.layout.size // line) * line
        job.parts = self.allocate(job.n_shards * job.part_stride, self.dtype)
        job.scratch = self.allocate(self.plan.threads * job.scratch_stride, self.dtype)
        pieces = self.layout.chunks()
        job.n_chunks = len(pieces)
        chunks = <Chunk*>self.allocate(job.n_chunks * sizeof(Chunk), np.uint8)
        for i, (at, size, is_weight) in enumerate(pieces):
            chunks[i].at, chunks[i].size, chunks[i].decays = at, size, is_weight
        job.chunks = chunks
        job.shard_loss = <double*>self.allocate(job.n_shards, np.float64)
        job.shard_weight = <double*>self.allocate(job.n_shards, np.float64)
        job.chunk_squares = <double*>self.allocate(job.n_chunks, np.float64)

    cdef set_optimizer(self, optimizer):
        self.optimizer_state = ()
        if optimizer is None:
            return
        self.job.optimizer = _kernels.optimizer_index(optimizer.name)
        self.job.hyperparameters = <double*>self.allocate(FNN_N_COEFFICIENTS, np.float64)
        for i, value in enumerate(optimizer.hyperparameters):
            self.job.hyperparameters[i] = value
        n_state = _kernels.OPTIMIZERS[optimizer.name].n_state
        self.optimizer_state = tuple(self.layout.allocate() for _ in range(n_state))
        self.job.state0 = self.address(self.optimizer_state[0])
        if n_state > 1:
            self.job.state1 = self.address(self.optimizer_state[1])

    @property
    def step(self):
        """Optimizer steps done so far."""
        return self.job.step

    def set_state(self, states, step):
        """Goes on from saved optimizer state: flat vectors like ``optimizer_state``, and ``step``."""
        for own, saved in zip(self.optimizer_state, states, strict=True):
            own[:] = saved
        self.job.step = step

    def set_data(self, X, y, sample_weight=None):
        """The rows to work on; no copy is made, so they must stay unchanged meanwhile.

        Parameters
        ----------
        X : C-contiguous array (n_samples, n_in) of the dtype, or a SciPy CSR matrix of the dtype
        y : int32 labels (n_samples,) for cross_entropy, else C-contiguous (n_samples, n_out)
        sample_weight : array (n_samples,) of the dtype, or None
        """
        cdef Job* job = &self.job
        self.data = {}
        n_samples = X.shape[0]
        self.expect(X, "X", (n_samples, self.sizes[0]), self.dtype)
        job.csr_start = NULL
        job.csr_column = NULL
        if isinstance(X, np.ndarray):
            job.x = self.borrow("X", X)
        else:
            job.x = self.borrow("X", np.ascontiguousarray(X.data))
            start = np.ascontiguousarray(X.indptr, np.int64)
            column = np.ascontiguousarray(X.indices, np.int32)
            self.expect_range(column, "X.indices", self.sizes[0])
            self.expect_range(start, "X.indptr", min(len(column), len(X.data)) + 1)
            job.csr_start = <const int64_t*>self.borrow("start", start)
            job.csr_column = <const int32_t*>self.borrow("column", column)
        job.y = NULL
        job.labels = NULL
        if y.ndim == 1:
            self.expect(y, "y", (n_samples,), np.dtype(np.int32))
            self.expect_range(y, "y", self.sizes[-1])
            job.labels = <const int32_t*>self.borrow("y", y)
        else:
            self.expect(y, "y", (n_samples, self.sizes[-1]), self.dtype)
            job.y = self.borrow("y", y)
        job.weights = NULL
        if sample_weight is not None:
            self.expect(sample_weight, "sample_weight", (n_samples,), self.dtype)
            job.weights = self.borrow("sample_weight", sample_weight)
        self.data["n_samples"] = n_samples

    cdef expect(self, array, name, shape, dtype):
        if array.shape != shape or array.dtype != dtype:
            raise ValueError(f"{name} is {array.dtype} {array.shape}, must be {dtype} {shape}")
        if isinstance(array, np.ndarray) and not (
                array.flags.c_contiguous and array.flags.aligned):
            raise ValueError(f"{name} must be C-contiguous and aligned")

    cdef expect_range(self, array, name, stop):
        """Indices are followed unchecked in the loop: a wrong one would read foreign memory."""
        if array.size and not (0 <= array.min() and array.max() < stop):
            raise ValueError(f"{name} must hold values in 0..{stop - 1}")

    cdef const void* borrow(self, name, cnp.ndarray array):
        self.data[name] = array
        return cnp.PyArray_DATA(array)

    cdef const cnp.npy_intp* borrow_order(self, order) except? NULL:
        """Row numbers of an epoch; they are used unchecked afterwards, so they are checked here."""
        cdef cnp.ndarray rows = np.ascontiguousarray(order, np.intp)
        self.expect_range(rows, "order", self.data["n_samples"])
        return <const cnp.npy_intp*>self.borrow("order", rows)

    cdef double run(self, Mode mode, order) except? -1:
        cdef Job* job = &self.job
        job.order = NULL
        job.n_rows = self.data["n_samples"]
        if order is not None:
            job.order = self.borrow_order(order)
            job.n_rows = self.data["order"].size
        if job.n_rows == 0:
            raise ValueError("no rows to work on")
        job.mode = mode
        job.loss_sum = job.weight_sum = 0
        job.diverged = job.interrupted = False
        job.handles_signals = threading.current_thread() is threading.main_thread()
        memset(&job.barrier, 0, sizeof(fnn_barrier))
        run(job, self.is_double, self.plan.threads)
        job.step = job.last_step
        if job.interrupted:
            raise pending.pop()
        return job.loss_sum

    def run_epoch(self, order=None, *, learning_rate, stop_if_diverged=False):
        """One optimizer step for each minibatch.

        Parameters
        ----------
        order : intp array or None
            The rows, in this order; None: all rows as they lie.
        learning_rate : float
        stop_if_diverged : bool
            End at the first batch whose loss is not finite, before its update, and return it.

        Returns
        -------
        float
            Mean over the rows of the loss of their batch, the L2 term included.

        Raises
        ------
        KeyboardInterrupt
            Between two steps, within some 20 ms; parameters are those of the last step.
        """
        if self.job.hyperparameters == NULL:
            raise ValueError("no optimizer was given")
        self.job.learning_rate = learning_rate
        self.job.stop_if_diverged = stop_if_diverged
        total = self.run(UPDATE, order)
        return total if self.job.diverged else total / self.job.n_rows

    def loss_and_grad(self, grad=None):
        """Loss over all rows at the current parameters, L2 included, without dropout.

        Parameters
        ----------
        grad : flat array like ``parameters``, or None
            Takes the gradient.

        Returns
        -------
        float
        """
        cdef Job* job = &self.job
        job.stop_if_diverged = False
        if grad is not None:
            self.expect(grad, "grad", self.parameters.shape, self.dtype)
            grad[:] = 0
            job.gradient = cnp.PyArray_DATA(grad)
        total = self.run(LOSS if grad is None else GRADIENT, None)
        weight = job.weight_sum
        penalty = 0.0
        for w in self.weights:
            w = w.ravel()
            penalty += float(np.dot(w, w)) if job.alpha else 0.0
        if grad is not None:
            grad /= self.dtype.type(job.reduction * weight)
            if job.alpha:
                for slope, w in zip(self.layout.views(grad)[0], self.weights, strict=True):
                    slope += self.dtype.type(job.alpha / weight) * w
        return (total / job.loss_reduction + 0.5 * job.alpha * penalty) / weight

    def deltas(self):
        """Gradient of the mean loss with respect to z of each layer: list of (n_samples, n_out)."""
        cdef Job* job = &self.job
        cdef ptrdiff_t start, rows, n_rows = self.data["n_samples"]
        cdef double weight = 0
        cdef char* scratch = <char*>job.scratch
        cdef ptrdiff_t item = self.dtype.itemsize
        cdef cnp.ndarray out
        cdef int i
        found = [np.empty((n_rows, size), self.dtype) for size in self.sizes[1:]]
        job.mode = GRADIENT
        job.order = NULL
        for start in range(0, n_rows, job.shard_rows):
            rows = min(job.shard_rows, n_rows - start)
            if self.is_double:
                run_shard[double](job, 0, 0, start, rows, <double*>scratch, NULL)
            else:
                run_shard[float](job, 0, 0, start, rows, <float*>scratch, NULL)
            weight += job.shard_weight[0]
            for i in range(job.n_layers):
                out = found[i]
                memcpy(cnp.PyArray_BYTES(out) + start * job.layers[i].net.n_out * item,
                       scratch + job.layers[i].dz * item,
                       rows * job.layers[i].net.n_out * item)
        for out in found:
            out /= self.dtype.type(job.reduction * weight)
        return found
