"""`Trainer`: owns the memory that the epoch loop (_loop.pyx) works in, and tells it what to do."""

cimport numpy as cnp
from cpython.exc cimport PyErr_CheckSignals
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memset

from fastnn.core._kernels cimport (
    FNN_ACT_relu,
    FNN_N_COEFFICIENTS,
    FNN_N_PARAMETERS,
    FNN_N_NUMBERS,
    FNN_OUTPUT_SOFTMAX,
    activation_needs_z,
    kernels,
)
from fastnn.core._ops cimport ADD, BATCH_NORM, DENSE, EMBED, HEADS, LAYER_NORM, PYTHON, op_kind
from fastnn.core._signals cimport raise_if_stopped, start_watch
from fastnn.core._team cimport FNN_STORE
from fastnn.training._bursts cimport Burst, compose, run_burst
from fastnn.training._extras cimport set_extras
from fastnn.training._job cimport (
    BIAS,
    GAIN,
    GIVEN,
    GRADIENT,
    LOSS,
    MEMBER_SCALE,
    SLOPE,
    UPDATE,
    WEIGHT,
    Chunk,
    Inputs,
    Job,
    Mode,
    Op,
)
from fastnn.training._loop cimport run_job, run_shard
from fastnn.training._ops_lookup cimport make_room

import numpy as np

from fastnn.core import _kernels, validation
from fastnn.core.codes import refuse_codes
from fastnn.core.memory import ALIGNMENT, aligned_zeros
from fastnn.core.threads import blas_callers, resolve_threads, shared_threads, team_size
from fastnn.network.lowering import INPUT
from fastnn.network.lowering import readers
from fastnn.network.parameters import ParameterLayout
from fastnn.training._ops_python import PythonActivation
from fastnn.training._python_loss import PythonLoss
from fastnn.training.groups import Wishes
from fastnn.training.inputs import DROPOUT, NOISE, PARTNERS, InputChanges, mixing_shares
from fastnn.training.losses import BoundLoss, check_loss
from fastnn.training.optimizers import check_optimizer
from fastnn.training.plan import plan_training

cnp.import_array()

UNCHANGED = InputChanges()
# what X may hold, by the number of each in the kernels' table
NUMBERS = dict(zip(
    ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16",
     "float32", "float64"), range(FNN_N_NUMBERS), strict=True))
BLOCK_KINDS = {"weight": WEIGHT, "bias": BIAS, "gain": GAIN, "slope": SLOPE,
               "scale": MEMBER_SCALE}


class Cancelled(Exception):
    """A fit is given up because another one, or who waits for it, has raised."""


cdef class Trainer:
    """A network in training: parameters, optimizer state, workspace, and the epoch loop.

    It checks nothing that `MLP` and the estimators have checked before.

    Parameters
    ----------
    spec : NetworkSpec
    loss : str, Loss or BoundLoss
    optimizer : Optimizer or None
        None: only losses and gradients.
    batch_size : int
    alpha : float
        L2 penalty alpha / 2 · |W|², divided by the sum of the batch's sample weights.
    drops : bool
        Whether there will be epochs with dropout, where the network has it.
    seed : int
        Key of the dropout masks.
    n_threads : int or None
        None: as many as allowed, less while other threads of this process fit.
    reduction : {None, "mean", "sum"}
        Over the outputs, for the gradient; None is the loss's own.
    gemm : {"auto", "blas", "native"}
        Who computes the products.
    ceiling : float
        No element counts for more in the reported loss; the gradient does not know of it.
    inputs : InputChanges
        What the steps of the optimizer do to the inputs.
    l1 : float
        L1 penalty l1 · |W|₁, divided as that of alpha.
    clip_norm, clip_value, max_norm : float or None
        See `MLP.fit`.
    frozen : sequence of int
        Numbers of the layers whose parameters stay as they are.
    sparse : bool
        Whether to plan for a sparse X; any X may come.
    adds : uint8 array (n_in,) or None
        Of the `Codes` that X will be.
    """

    cdef Job job
    cdef list kept               # arrays whose memory the job points to
    cdef object scratch          # (threads, scratch_stride)
    cdef dict data
    cdef list python             # PythonLoss and PythonActivation, what there is of them
    cdef readonly object spec, layout, plan, parameters, dtype, loss, inputs, frozen
    cdef readonly object info    # the BoundLoss
    cdef readonly tuple weights, biases, optimizer_state
    cdef readonly Py_ssize_t workspace_nbytes
    cdef readonly int team       # threads of the last run
    cdef readonly int epochs_run  # epochs of the last `run_epochs` that came to their end
    cdef bint cancelled
    cdef bint is_double
    cdef bint shares             # the threads with other fits of this process
    cdef bint looks_up           # a sparse X: nothing but dense operations reads it
    cdef bint lazy               # parameters without gradient stay as they are
    cdef list entries            # arrays of job.lookup
    cdef object adds             # of codes, or None
    cdef object mean             # of the weights, flat; None where there is none
    cdef object wishes

    def __init__(self, spec, loss, *, optimizer, batch_size, alpha=0.0, drops=True, seed=0,
                 n_threads=None, reduction=None, gemm="auto", ceiling=np.inf, inputs=UNCHANGED,
                 l1=0.0, clip_norm=None, clip_value=None, max_norm=None, frozen=(),
                 sparse=False, adds=None):
        self.kept, self.data, self.python = [], {}, []
        self.entries = []
        bound = loss if isinstance(loss, BoundLoss) else check_loss(loss, spec.output, spec.n_out)
        self.shares, self.frozen = n_threads is None, tuple(frozen)
        self.spec, self.loss, self.inputs = spec, bound.name, inputs
        self.adds = adds
        self.info = bound
        self.layout = ParameterLayout(spec)
        self.dtype = self.layout.dtype
        self.is_double = self.dtype == np.float64
        self.plan = plan_training(self.layout, batch_size, resolve_threads(n_threads), gemm, drops,
                                  whole=bound.is_custom or bool(spec.custom_activations),
                                  sparse=sparse and (gemm != "blas" or adds is not None),
                                  codes=adds is not None)
        self.parameters = self.layout.allocate()
        self.weights, self.biases = self.layout.weights_and_biases(self.parameters)
        self.workspace_nbytes = 0

        cdef Job* job = &self.job
        memset(job, 0, sizeof(Job))
        job.k = kernels
        job.alpha = alpha
        job.ceiling = ceiling
        job.parameters = self.address(self.parameters)
        job.batch = self.plan.batch
        job.shard_rows = self.plan.shard_rows
        job.is_double = self.is_double
        job.spare = 0 if self.plan.joins_last else job.shard_rows - 1
        job.feature_major = self.plan.feature_major
        job.lanes = self.plan.lanes
        job.x_in_place = self.plan.x_in_place
        job.n_shards = self.plan.shards
        job.clock_steps = self.plan.clock_steps
        job.n_in, job.members = spec.n_in, spec.members
        self.set_loss(bound, reduction)
        # BLAS, where it is asked for, has no sparse products: then a batch is made dense
        self.looks_up = not job.feature_major and (gemm != "blas" or adds is not None)
        self.set_ops(drops, seed)
        if batch_size == 1 and optimizer is not None and job.n_batch_norms > 0:
            raise ValueError("batch_size=1 leaves BatchNorm (norm='batch') no variance: it needs "
                             "batches of at least 2 rows; or use LayerNorm (norm='layer'), or "
                             "freeze the layer")
        if adds is not None:
            self.set_codes()
        self.set_buffers()
        self.set_sums()
        if optimizer is not None:
            check_optimizer(optimizer)
        self.wishes = Wishes(self.layout, optimizer, alpha=alpha, l1=l1, clip_norm=clip_norm,
                             clip_value=clip_value, max_norm=max_norm, frozen=frozen)
        self.set_workspace()
        if not (sparse and self.looks_up) or inputs.any:
            self.make_copy()
        self.set_inputs(seed)
        self.set_optimizer(optimizer)
        if not self.wishes.plain:
            arrays = set_extras(job, self.layout, self.chunks(), self.wishes, self.mean)
            self.kept += arrays
            self.workspace_nbytes += sum(array.nbytes for array in arrays)

    cdef void* address(self, cnp.ndarray array):
        self.kept.append(array)
        return cnp.PyArray_DATA(array)

    cdef void* allocate(self, Py_ssize_t size, dtype):
        array = aligned_zeros(size, dtype)
        self.workspace_nbytes += array.nbytes
        return self.address(array)

    cdef set_loss(self, loss, reduction):
        cdef double* parameters
        n_out, output = self.spec.n_out, self.spec.output
        terms = {"mean": n_out, "half": n_out // 2, "sum": 1}
        self.job.value_loss = loss.link == "identity" and output not in ("identity", "softmax")
        self.job.loss_reduction = terms[loss.reduction]
        # "mean" of whoever asks for it is the loss's own
        self.job.reduction = 1 if reduction == "sum" else max(
            terms[loss.reduction], n_out if reduction == "mean" else 1)
        # the mean over the members of an ensemble
        self.job.loss_reduction *= self.spec.members
        self.job.reduction *= self.spec.members
        if loss.is_custom:
            python = PythonLoss(loss.loss, n_out, output == "softmax")
            self.python.append(python)
            self.job.python_loss = <void*>python
            return
        self.job.loss = _kernels.loss_index(loss.name)
        if loss.parameters:
            parameters = <double*>self.allocate(n_out * FNN_N_PARAMETERS, np.float64)
            for j, row in enumerate(loss.parameters):
                for i, value in enumerate(row):
                    parameters[<int>j * FNN_N_PARAMETERS + <int>i] = value
            self.job.loss_parameters = parameters

    cdef set_ops(self, drops, seed):
        """The operations, but for where their buffers lie."""
        cdef Job* job = &self.job
        cdef Op* op
        job.n_ops = len(self.layout.ops)
        job.ops = <Op*>self.allocate(job.n_ops * sizeof(Op), np.uint8)
        job.last = &job.ops[job.n_ops - 1]
        for i, description in enumerate(self.layout.ops):
            op = &job.ops[i]
            if INPUT in description.sources and description.kind not in ("dense", "embed"):
                self.looks_up = False
            op.kind = op_kind(description.kind)
            op.n_in, op.n_out = description.n_in, description.n_out
            op.members = description.members
            op.source, op.other = description.source, description.other
            op.sums = op.next_sum = -1
            op.eps = description.eps
            if op.kind == PYTHON:
                python = PythonActivation(description.function)
                self.python.append(python)
                op.python = <void*>python
            offsets = self.layout.offsets(i)
            if offsets:
                op.w, op.b = offsets[0], offsets[1 if len(offsets) > 1 else 0]
            op.shared, op.row_units = description.shared, description.row_units
            op.gate = _kernels.output_index(description.gate)
            if op.kind == EMBED:
                op.n_columns = len(description.counts)
                op.firsts = <const int64_t*>self.address(
                    np.cumsum((0, *description.counts), dtype=np.int64))
                op.inputs = <const int32_t*>self.address(np.arange(op.n_in, dtype=np.int32))
            if op.kind == BATCH_NORM:
                self.set_batch_norm(i, description.momentum)
            op.activation = _kernels.output_index(description.activation)
            op.native = self.plan.products[i] == "native"
            op.relu = (op.kind == DENSE and op.activation == FNN_ACT_relu and i < job.n_ops - 1)
            op.ld = self.plan.row_length(i)
            op.drops = drops and description.dropout > 0
            op.dropout.seed = seed
            op.dropout.layer = i
            op.dropout.threshold = <uint32_t>(<double>description.dropout * 4294967296.0)
            op.dropout.scale = 1.0 / (1.0 - description.dropout)

    cdef set_batch_norm(self, number, momentum):
        """Where an operation finds its running averages, and whether it moves them."""
        cdef Op* op = &self.job.ops[<int>number]
        op.mean, op.variance = self.layout.offsets(number)[2:]
        op.momentum = momentum
        for block in self.layout.blocks:
            if block.op == number and block.layer in self.frozen:
                op.fixed = True
        self.job.n_batch_norms += not op.fixed

    cdef set_codes(self):
        """Refuse what cannot read codes."""
        if not self.looks_up:
            refuse_codes()
        changes = self.inputs.plain()
        if changes:
            name = next(iter(changes))
            raise ValueError(f"{name}={changes[name]} cannot be had with codes, which are no "
                             "numbers: leave it out, or give the encoder's to_dense(X)")
        self.job.lookup.adds = <const unsigned char*>self.address(np.ascontiguousarray(
            self.adds, np.uint8))

    cdef set_buffers(self):
        """Where the buffers of X, y and the operations lie, each on a cache line."""
        cdef Job* job = &self.job
        cdef ptrdiff_t line = ALIGNMENT // self.dtype.itemsize
        cdef ptrdiff_t end = 0, rows = job.lanes if job.feature_major else job.batch * job.members
        cdef Op* op

        def take(width):
            nonlocal end
            start = end
            end += -(-rows * width // line) * line
            return start

        ones = 1 if job.feature_major else 0  # a row of them below the inputs of each operation
        if job.feature_major:
            job.x_at = take(job.n_in + ones)
        job.y_at = take(job.last.n_out)
        job.weights_at = take(1)
        job.labels_at = take(1)
        if job.feature_major:
            job.transposed_at = take(max(op.n_out for op in self.layout.ops))
        for i in range(job.n_ops):
            op = &job.ops[i]
            if not job.feature_major:
                rows = job.batch * op.members
            op.z = take(op.ld + ones)
            needs_z = op.activation != FNN_OUTPUT_SOFTMAX and activation_needs_z(op.activation)
            op.a = take(op.ld + ones) if needs_z else op.z
            op.dz = take(op.ld)
            if op.drops:
                op.dropped = take(op.ld)
            if op.kind == LAYER_NORM:
                op.stats = take(2)
            elif op.kind == BATCH_NORM:
                op.stats = take((3 * op.n_out * job.n_shards + rows - 1) // rows)
        job.scratch_stride = end

    cdef set_sums(self):
        """What the way back has to add up, and which derivatives go with a product."""
        cdef Job* job = &self.job
        cdef Op* op
        cdef int i
        reads = readers(self.layout.ops)
        for i in range(job.n_ops):
            op = &job.ops[i]
            if op.kind == ADD and op.other >= 0:
                # the first reader is the last one on the way back: then the rest is added
                first = &job.ops[<int>reads[op.other][0]]
                op.next_sum, first.sums = first.sums, i
            mine = reads.get(i, ())
            op.gated = op.relu and len(mine) == 1 and job.ops[<int>mine[0]].native

    cdef chunks(self):
        """The pieces of the parameters that one thread updates in one go."""
        rules = self.plan.rules
        if self.job.feature_major:
            return self.layout.chunks(rules.chunk, ALIGNMENT // self.dtype.itemsize)
        return self.layout.chunks(rules.chunk_size, rules.chunk_rows, self.adds)

    cdef set_workspace(self):
        cdef Job* job = &self.job
        line = ALIGNMENT // self.dtype.itemsize
        threads = self.plan.threads
        pieces = self.chunks()
        # feature-major each thread has a scratch of its own
        copies = threads if job.feature_major else 1
        job.scratch = self.allocate(copies * job.scratch_stride, self.dtype)
        self.scratch = self.kept[-1].reshape(copies, -1)
        if job.feature_major:
            self.set_ones()
            size, number = self.layout.size, job.n_shards
        else:
            size, number = max(piece.size for piece in pieces), threads
        job.partial_stride = -(-size // line) * line
        job.partial = self.allocate(number * job.partial_stride, self.dtype)
        if job.x_in_place:
            job.x_rows = <const void**>self.allocate(job.batch, np.uintp)
        self.set_chunks(pieces)
        self.set_copies()
        job.shard_loss = <double*>self.allocate(job.n_shards, np.float64)
        job.shard_weight = <double*>self.allocate(job.n_shards, np.float64)
        job.chunk_squares = <double*>self.allocate(job.n_chunks, np.float64)

    cdef set_inputs(self, seed):
        """What the steps do to the inputs, and the room that it takes."""
        cdef Inputs* inputs = &self.job.inputs
        inputs.number = -1
        inputs.drops, inputs.noisy = self.inputs.dropout > 0, self.inputs.noise > 0
        inputs.dropout.seed = inputs.noise.seed = inputs.mix_seed = seed
        inputs.dropout.layer, inputs.noise.layer = DROPOUT, NOISE
        inputs.dropout.threshold = <uint32_t>(<double>self.inputs.dropout * 4294967296.0)
        inputs.dropout.scale = 1.0 / (1.0 - self.inputs.dropout)
        inputs.noise.scale = self.inputs.noise
        inputs.mix_stream = (<uint64_t>PARTNERS) << 32
        if self.inputs.any:
            self.stage_rows()
        if self.inputs.mixup > 0:
            batch = self.job.batch
            inputs.partners = <ptrdiff_t*>self.allocate(batch, np.intp)
            inputs.partner = self.allocate(batch * self.job.n_in, self.dtype)
            if self.job.feature_major:
                inputs.staged_y = self.allocate(batch * self.job.last.n_out, self.dtype)

    cdef change_inputs(self, rows, bint shuffles):
        """What this run does to its inputs, and the shares of its mixtures."""
        cdef Job* job = &self.job
        job.inputs.changed = job.mode == UPDATE and self.inputs.any
        job.inputs.mixed = job.inputs.changed and self.inputs.mixup > 0
        job.x_gathered = (job.csr_start != NULL or job.inputs.number >= 0
                          or job.inputs.changed)
        # noise, mixup and dropout are drawn for every element: there a batch is made dense
        job.lookup.on = (self.looks_up and job.csr_start != NULL and job.mode != GIVEN
                         and not job.inputs.changed)
        job.lookup.sorts = job.lookup.on and job.mode != LOSS
        job.lookup.skips = job.lookup.sorts and self.lazy
        if job.lookup.sorts:
            self.workspace_nbytes += make_room(
                job, self.entries, self.data, rows, shuffles, self.dtype)
        elif not job.lookup.on and job.mode != GIVEN:
            self.make_copy()
        if job.inputs.mixed:
            job.inputs.first_step = job.step
            shares = mixing_shares(self.inputs.mixup, job.inputs.mix_seed, job.step,
                                   (job.n_rows + job.batch - 1) // job.batch)
            job.inputs.shares = <const double*>self.borrow("shares", shares)

    cdef make_copy(self):
        """Room for the rows of a batch, row-major."""
        cdef Job* job = &self.job
        if not job.feature_major and job.x_copy == NULL:
            job.x_copy = self.allocate(job.batch * job.n_in, self.dtype)

    cdef set_chunks(self, pieces):
        """The chunks, in groups of about the same size."""
        cdef Job* job = &self.job
        cdef Chunk* chunks
        cdef int* groups
        job.n_chunks = len(pieces)
        chunks = <Chunk*>self.allocate(job.n_chunks * sizeof(Chunk), np.uint8)
        for i, piece in enumerate(pieces):
            chunks[i].at, chunks[i].size = piece.at, piece.size
            chunks[i].start = piece.at - piece.block.at
            chunks[i].kind = BLOCK_KINDS[piece.block.kind]
            chunks[i].decay, chunks[i].op = piece.block.decay, piece.block.op
            chunks[i].row = piece.row
        job.chunks = chunks
        starts = self.plan.groups(pieces)
        job.n_groups = len(starts) - 1
        groups = <int*>self.allocate(len(starts), np.intc)
        for i, start in enumerate(starts):
            groups[i] = start
        job.groups = groups

    cdef set_copies(self):
        """Copies of W in panels, for native products of the row-major layout."""
        cdef Job* job = &self.job
        cdef ptrdiff_t width = kernels.f64.panel if self.is_double else kernels.f32.panel
        cdef ptrdiff_t end = 0
        cdef Op* op
        for i in range(job.n_ops):
            op = &job.ops[i]
            op.packed = op.transposed = op.table = -1
            if op.kind == HEADS:
                op.transposed = end
                end += job.members * op.n_out * op.n_in
            if self.adds is not None and op.kind in (DENSE, EMBED) and op.source < 0:
                op.table = end
                end += op.n_in * op.row_units
            if job.feature_major or not op.native:
                continue
            if self.plan.packs(i):
                op.packed = end
                end += (op.n_out + width - 1) // width * width * op.n_in
            if op.source >= 0:
                op.transposed = end
                end += (op.n_in + width - 1) // width * width * op.n_out
        job.copies = self.allocate(end, self.dtype)
        job.renews_copies = not job.feature_major

    cdef set_ones(self):
        """The row of ones below the inputs of each operation."""
        cdef Job* job = &self.job
        cdef int i
        self.set_one(job.x_at + job.n_in * job.lanes)
        for i in range(job.n_ops - 1):
            self.set_one(job.ops[i].a + job.ops[i].n_out * job.lanes)

    cdef set_one(self, ptrdiff_t start):
        self.scratch[:, start:start + self.job.lanes] = 1

    cdef set_optimizer(self, optimizer):
        self.optimizer_state = ()
        if optimizer is None:
            return
        values = tuple(self.wishes.hyperparameters)
        cdef Py_ssize_t i, count = len(values)
        if count > FNN_N_COEFFICIENTS:
            raise ValueError(f"{type(optimizer).__name__}.hyperparameters has {count} entries, "
                             f"must have at most {FNN_N_COEFFICIENTS}")
        self.job.optimizer = _kernels.optimizer_index(optimizer.row)
        hyperparameters = <double*>self.allocate(FNN_N_COEFFICIENTS, np.float64)
        for i in range(count):
            hyperparameters[i] = float(values[i])
        self.job.hyperparameters = hyperparameters
        n_state = _kernels.OPTIMIZERS[optimizer.row].n_state
        states = []
        for _ in range(optimizer.n_states):
            states.append(self.layout.allocate())
        self.optimizer_state = tuple(states)
        if n_state > 0:
            self.job.state0 = self.address(states[0])
        if n_state > 1:
            self.job.state1 = self.address(states[1])
        if n_state > 2:
            self.job.state2 = self.address(states[2])
        self.mean = states[-1] if self.wishes.mean_decay is not None else None
        self.lazy = (optimizer.is_lazy and self.wishes.plain and self.job.alpha == 0
                     and self.adds is None)

    def job_pointer(self):
        """Return a capsule of the address of the job, for `_steps`; it is there as long as the
        trainer."""
        return PyCapsule_New(&self.job, "fastnn.Job", NULL)

    @property
    def published(self):
        """What to predict with: the parameters, or their average where the optimizer takes one."""
        return self.parameters if self.mean is None or self.job.step == 0 else self.mean

    @property
    def step(self):
        """Optimizer steps done so far."""
        return self.job.step

    def set_state(self, states, step):
        """Go on from saved state: flat vectors like ``optimizer_state``, and ``step``."""
        for own, saved in zip(self.optimizer_state, states, strict=True):
            own[:] = saved
        self.job.step = step

    def set_data(self, X, y, sample_weight=None, converts=False):
        """Take the rows to work on; no copy is made.

        Values may change meanwhile, and change the result. Labels and what says where the values
        of a CSR matrix belong must not: they are followed unchecked. `validation.check_rows` and
        `check_targets` give copies of them that nobody else has.

        Parameters
        ----------
        X : C-contiguous array (n_samples, n_in) of the dtype, or a SciPy CSR matrix of the dtype
        y : int32 labels (n_samples,) for cross_entropy, else C-contiguous (n_samples, n_out)
        sample_weight : array (n_samples,) of the dtype, or None
        converts : bool
            Whether X may be an array of any type in `NUMBERS`, with any strides: its rows are
            converted batch by batch.
        """
        cdef Job* job = &self.job
        adds = getattr(X, "adds", None)
        if not (adds is self.adds or np.array_equal(adds, self.adds)):
            raise ValueError("X must be codes of one encoder in all batches, or in none")
        self.data = {}
        n_samples = X.shape[0]
        job.csr_start = NULL
        job.csr_column = NULL
        job.inputs.number = -1
        if converts and isinstance(X, np.ndarray) and not self.is_plain(X):
            self.read_converted(X)
        elif isinstance(X, np.ndarray):
            self.expect(X, "X", (n_samples, job.n_in), self.dtype)
            job.x = self.borrow("X", X)
        else:
            self.expect(X, "X", (n_samples, job.n_in), self.dtype)
            job.x = self.borrow("X", np.ascontiguousarray(X.data))
            start, column = X.indptr, X.indices
            self.expect(start, "X.indptr", (n_samples + 1,), start.dtype)
            # as they are: a cast of 64 bits to 32 would wrap
            self.expect_range(column, "X.indices", job.n_in)
            self.expect_range(start, "X.indptr", min(len(column), len(X.data)) + 1)
            validation.check_order("X", start, column, self.layout.ops[0].counts)
            job.csr_start = <const int64_t*>self.borrow(
                "start", np.ascontiguousarray(start, np.int64))
            job.csr_column = <const int32_t*>self.borrow(
                "column", np.ascontiguousarray(column, np.int32))
        if job.csr_start == NULL:
            self.make_copy()
        job.y = NULL
        job.labels = NULL
        if y.ndim == 1:
            self.expect(y, "y", (n_samples,), np.dtype(np.int32))
            self.expect_range(y, "y", job.last.n_out)
            job.labels = <const int32_t*>self.borrow("y", y)
        else:
            self.expect(y, "y", (n_samples, job.last.n_out), self.dtype)
            job.y = self.borrow("y", y)
        job.weights = NULL
        if sample_weight is not None:
            self.expect(sample_weight, "sample_weight", (n_samples,), self.dtype)
            job.weights = self.borrow("sample_weight", sample_weight)
        self.data["n_samples"] = n_samples

    def set_rows(self, rows):
        """Work on some rows of the data, in this order, as if they were all that there are. To be
        called after `set_data`, which ends it.

        Parameters
        ----------
        rows : array-like of int (n,)
            May name a row several times.
        """
        rows = np.array(rows, np.intp)
        self.expect_range(rows, "rows", self.data["n_samples"])
        self.data["rows"], self.data["n_samples"] = rows, rows.size
        self.data.pop("shuffled", None)

    cdef bint is_plain(self, cnp.ndarray X):
        return X.dtype == self.dtype and X.flags.c_contiguous and X.flags.aligned

    cdef read_converted(self, cnp.ndarray X):
        """X of other numbers, or that lie otherwise: rows of it are made batch by batch."""
        cdef Job* job = &self.job
        if X.dtype.name not in NUMBERS or X.ndim != 2 or X.shape[1] != job.n_in:
            raise ValueError(f"X is {X.dtype} {np.shape(X)}, must be of {job.n_in} columns and one "
                             f"of {', '.join(NUMBERS)}")
        job.inputs.number = NUMBERS[X.dtype.name]
        job.inputs.itemsize = X.dtype.itemsize
        job.inputs.row, job.inputs.column = X.strides[0], X.strides[1]
        job.inputs.swapped = not X.dtype.isnative
        job.inputs.direct = (job.inputs.column == job.inputs.itemsize and not job.inputs.swapped
                             and X.flags.aligned)
        job.x = self.borrow("X", X)
        self.stage_rows()

    cdef stage_rows(self):
        """Room for rows of a batch that feature-major steps cannot transpose from where they are.
        """
        cdef Job* job = &self.job
        if job.feature_major and job.inputs.staged == NULL:
            job.inputs.staged = self.allocate(job.batch * job.n_in, self.dtype)

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
        cdef cnp.ndarray rows
        if order is self.data.get("shuffled"):
            rows = order
        else:
            rows = np.ascontiguousarray(order, np.intp)
            self.expect_range(rows, "order", self.data["n_samples"])
        if "rows" in self.data:
            return <const cnp.npy_intp*>self.borrow("order", self.composed(rows))
        return <const cnp.npy_intp*>self.borrow("order", rows)

    cdef cnp.ndarray composed(self, order):
        """What the numbers of an order mean where the data are some rows of X."""
        cdef cnp.ndarray found = order.copy(), rows = self.data["rows"]
        cdef const cnp.npy_intp* numbers = <const cnp.npy_intp*>cnp.PyArray_DATA(rows)
        cdef cnp.npy_intp* out = <cnp.npy_intp*>cnp.PyArray_DATA(found)
        cdef ptrdiff_t n = found.size
        with nogil:
            compose(numbers, n, out)
        return found

    cdef cnp.ndarray room_for_order(self):
        """An array for an order of all rows."""
        n_samples = self.data["n_samples"]
        if n_samples >= 2**32:
            raise ValueError(f"{n_samples} rows: at most {2**32 - 1} can be shuffled")
        if "shuffled" not in self.data:
            self.data["shuffled"] = np.empty(n_samples, np.intp)
            self.data["shuffled"].flags.writeable = False  # it is used unchecked
        return self.data["shuffled"]

    def shuffle(self, seed, stream):
        """Return a random order of all rows, for `run_epoch`; another one for each stream (epoch).

        Read-only; the next call writes into the same array. Fewer than 2**32 rows.
        """
        cdef cnp.ndarray order = self.room_for_order()
        cdef ptrdiff_t n_samples = order.size
        cdef uint64_t key = seed, number = stream
        cdef ptrdiff_t* rows = <ptrdiff_t*>cnp.PyArray_DATA(order)
        with nogil:
            self.job.k.shuffle(n_samples, key, number, rows)
        return order

    cdef open_run(self, Mode mode, order, bint shuffles):
        """All but the loop itself: rows, threads, signals."""
        cdef Job* job = &self.job
        job.order = NULL
        job.n_rows = 1 if mode == GIVEN else self.data["n_samples"]
        rows = None
        if order is not None:
            job.order = self.borrow_order(order)
            rows = self.data["order"]
            job.n_rows = rows.size
        elif "rows" in self.data and mode != GIVEN:
            rows = self.data["rows"]
            job.order = <const cnp.npy_intp*>cnp.PyArray_DATA(<cnp.ndarray>rows)
        if job.n_rows == 0:
            raise ValueError("no rows to work on")
        job.mode = mode
        self.change_inputs(rows, shuffles)
        job.loss_sum = job.weight_sum = 0
        job.diverged = False
        threads = self.plan.threads_for(job.n_rows)
        self.team = team_size(shared_threads(threads) if self.shares else threads)
        start_watch(&job.watch, True)
        if self.cancelled:
            FNN_STORE(&job.watch.stopped, 1)

    cdef close_run(self):
        """Raise what has ended the loop early."""
        self.raise_from_python()
        if self.cancelled:
            raise Cancelled("the fit was given up")
        raise_if_stopped(&self.job.watch)

    cdef double run(self, Mode mode, order) except? -1:
        cdef Job* job = &self.job
        self.open_run(mode, order, False)
        if "blas" in self.plan.products:
            with blas_callers(self.team):
                run_job(job, self.is_double, self.team)
        else:
            run_job(job, self.is_double, self.team)
        self.close_run()
        return job.loss_sum

    def cancel(self):
        """Give up what this trainer is doing in another thread, soon, and all that it is asked for
        later: `Cancelled` is raised there."""
        self.cancelled = True
        FNN_STORE(&self.job.watch.stopped, 1)

    cdef raise_from_python(self):
        """What functions of the user have raised, once: the first of it."""
        first = None
        for python in self.python:
            if python.error is not None:
                first, python.error = first or python.error, None
        if first is not None:
            raise first

    cdef set_rates(self, learning_rate, n_rows):
        """One learning rate for all steps of an epoch, or one for each."""
        self.job.rates = NULL
        if not isinstance(learning_rate, np.ndarray):
            self.job.learning_rate = learning_rate
            return
        self.expect(learning_rate, "learning_rate", (-(-n_rows // self.job.batch),),
                    np.dtype(np.float64))
        self.job.rates = <const double*>self.borrow("rates", learning_rate)

    def run_epoch(self, order=None, *, learning_rate, stop_if_diverged=False):
        """Do one optimizer step for each minibatch.

        Parameters
        ----------
        order : intp array or None
            The rows, in this order; None: all rows as they lie.
        learning_rate : float or float64 array (steps of the epoch,)
            One for all steps, or one for each batch, the short one at the end included.
        stop_if_diverged : bool
            End at the first batch whose loss is not finite, before its update, and return it.

        Returns
        -------
        float
            Mean over the rows of the loss of their batch, the L2 term included.

        Raises
        ------
        KeyboardInterrupt
            Between two steps, within some 20 ms or the update of one; parameters are those of
            the last whole step.
        """
        if self.job.hyperparameters == NULL:
            raise ValueError("no optimizer was given")
        self.set_rates(learning_rate, self.data["n_samples"] if order is None else len(order))
        self.job.stop_if_diverged = stop_if_diverged
        total = self.run(UPDATE, order)
        return total if self.job.diverged else total / self.job.n_rows

    @property
    def runs_ahead(self):
        """Whether `run_epochs` can do its epochs: nothing of them needs Python."""
        return not self.python and self.inputs.mixup == 0

    def run_epochs(self, cnp.ndarray losses, cnp.ndarray rates, cnp.ndarray kept, shuffle=None):
        """Do several epochs in one call, as `run_epoch` with ``stop_if_diverged`` does each.

        They end early behind one whose loss is not finite, or after which what is published is
        not. ``epochs_run`` is their number, also where Ctrl-C or `cancel` has ended them.

        Parameters
        ----------
        losses : float64 array (n_epochs,)
            Takes what `run_epoch` returns.
        rates : float64 array (n_epochs,) or (n_epochs, steps of an epoch)
            Learning rates.
        kept : flat array like ``parameters``
            Takes what is published after each epoch but the last one.
        shuffle : (int, int) or None
            Seed, and stream of the first epoch, as `shuffle` takes them; None: the rows as they
            lie.
        """
        cdef Burst burst
        cdef cnp.ndarray order
        cdef bint is_double = self.is_double
        memset(&burst, 0, sizeof(Burst))
        self.epochs_run = 0
        n_epochs = len(losses)
        per_epoch = -(-self.data["n_samples"] // self.job.batch)
        self.expect(losses, "losses", (n_epochs,), np.dtype(np.float64))
        self.expect(rates, "rates", (n_epochs, per_epoch) if rates.ndim == 2 else (n_epochs,),
                    np.dtype(np.float64))
        self.expect(kept, "kept", self.parameters.shape, self.dtype)
        if self.job.hyperparameters == NULL:
            raise ValueError("no optimizer was given")
        self.job.stop_if_diverged = True
        self.open_run(UPDATE, None, shuffle is not None)
        burst.n_epochs, burst.size = n_epochs, self.layout.size
        burst.losses = <double*>cnp.PyArray_DATA(losses)
        burst.rates = <const double*>cnp.PyArray_DATA(rates)
        burst.per_epoch = per_epoch if rates.ndim == 2 else 0
        burst.kept = cnp.PyArray_DATA(kept)
        if self.mean is not None:
            burst.mean = cnp.PyArray_DATA(<cnp.ndarray>self.mean)
        if shuffle is not None:
            order = self.room_for_order()
            burst.key, burst.stream = shuffle
            burst.order = <cnp.npy_intp*>cnp.PyArray_DATA(order)
            burst.rows, self.job.order = self.job.order, burst.order
        if "blas" in self.plan.products:
            with blas_callers(self.team):
                with nogil:
                    self.epochs_run = run_burst(&self.job, &burst, is_double, self.team)
        else:
            with nogil:
                self.epochs_run = run_burst(&self.job, &burst, is_double, self.team)
        self.job.rates = NULL
        self.close_run()

    def loss_and_grad(self, grad=None, rows=None):
        """Return the loss at the current parameters, L2 included, without dropout.

        Parameters
        ----------
        grad : flat array like ``parameters``, or None
            Takes the gradient.
        rows : intp array or None
            The rows to take; None for all.

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
        total = self.run(LOSS if grad is None else GRADIENT, rows)
        weight = job.weight_sum
        if grad is not None:
            grad /= self.dtype.type(job.reduction * weight)
        return (total / job.loss_reduction + self.penalty(grad, weight)) / weight

    cdef penalty(self, grad, weight):
        """The penalties of all weights; their gradient is added to ``grad``, unless None."""
        total = 0.0
        slopes = (None,) * len(self.weights)
        if grad is not None:
            slopes, _ = self.layout.weights_and_biases(grad)
        for (l2, l1), w, slope in zip(self.wishes.penalties, self.weights, slopes, strict=True):
            if l2:
                # no np.dot: that is a BLAS with threads of its own, see csrc/blas_gate.h
                total += 0.5 * l2 * float(np.square(w, dtype=np.float64).sum())
                if slope is not None:
                    slope += self.dtype.type(l2 / weight) * w
            if l1:
                total += l1 * float(np.abs(w).sum(dtype=np.float64))
                if slope is not None:
                    slope += self.dtype.type(l1 / weight) * np.sign(w)
        return total

    def apply(self, gradient, *, learning_rate):
        """Do one step of the optimizer with a gradient, such as `loss_and_grad` gives it.

        Parameters
        ----------
        gradient : flat array like ``parameters``
        learning_rate : float
        """
        self.expect(gradient, "gradient", self.parameters.shape, self.dtype)
        if self.job.hyperparameters == NULL:
            raise ValueError("no optimizer was given")
        self.set_rates(float(learning_rate), 1)
        self.job.given = cnp.PyArray_DATA(gradient)
        self.run(GIVEN, None)

    def deltas(self, ops=None):
        """Return the gradient of the mean loss with respect to z of some operations: list of
        (n_samples, n_out). None: of each dense one."""
        cdef int i
        if self.job.members > 1:
            raise ValueError(f"deltas are those of a single network; this one has members="
                             f"{self.job.members}")
        if ops is None:
            ops = []
            for i in range(self.job.n_ops):
                if self.job.ops[i].kind == DENSE:
                    ops.append(i)
        return self.deltas_of(ops)

    def output_deltas(self):
        """Return that of the raw outputs of all members, (n_samples, members * n_out), where
        BatchNorm takes its running averages, as in predictions."""
        cdef int i
        fixed = []
        for i in range(self.job.n_ops):
            fixed.append(self.job.ops[i].fixed)
            self.job.ops[i].fixed = True
        try:
            return self.deltas_of([self.job.n_ops - 1])[0]
        finally:
            for i in range(self.job.n_ops):
                self.job.ops[i].fixed = fixed[i]

    cdef deltas_of(self, ops):
        cdef Job* job = &self.job
        cdef ptrdiff_t start, rows, n_rows = self.data["n_samples"]
        cdef double weight = 0
        cdef Op* op
        self.run(LOSS, None)  # brings W' up to date
        job.mode = GRADIENT
        scratch = self.scratch[0]
        found = []
        for i in ops:
            op = &job.ops[<int>i]
            found.append(np.empty((n_rows, op.members * op.n_out), self.dtype))
        for start in range(0, n_rows, job.shard_rows):
            rows = min(job.shard_rows, n_rows - start)
            if self.is_double:
                run_shard[double](job, 0, 0, start, rows, <double*>job.scratch, NULL)
            else:
                run_shard[float](job, 0, 0, start, rows, <float*>job.scratch, NULL)
            self.raise_from_python()
            weight += job.shard_weight[0]
            for i, out in zip(ops, found, strict=True):
                op = &job.ops[<int>i]
                dz = scratch[op.dz:]
                if job.feature_major:
                    lanes = 1 if rows == 1 else job.lanes  # see _one_row
                    dz = dz[:op.n_out * lanes].reshape(op.n_out, lanes)[:, :rows].T
                else:
                    count = rows * op.members
                    dz = dz[:count * op.ld].reshape(count, -1)[:, :op.n_out].reshape(rows, -1)
                out[start:start + rows] = dz
            PyErr_CheckSignals()
        for out in found:
            out /= self.dtype.type(job.reduction * weight)
        return found
