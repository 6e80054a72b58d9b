"""`Trainer`: owns the memory that the epoch loop (_loop.pyx) works in, and tells it what to do."""

cimport numpy as cnp
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memset

from fastnn.core._kernels cimport (
    FNN_ACT_relu,
    FNN_N_COEFFICIENTS,
    FNN_N_PARAMETERS,
    FNN_OUTPUT_SOFTMAX,
    FNN_ROOM,
    activation_needs_z,
    kernels,
)
from fastnn.core._ops cimport ADD, BATCH_NORM, DENSE, EMBED, HEADS, LAYER_NORM, PYTHON, op_kind
from fastnn.training._extras cimport set_extras
from fastnn.training._job cimport BIAS, GAIN, MEMBER_SCALE, SLOPE, WEIGHT, Chunk, Inputs, Job, Op
from fastnn.training._runs cimport Runs

import numpy as np

from fastnn.core import _kernels
from fastnn.core.codes import refuse_codes
from fastnn.core.memory import ALIGNMENT
from fastnn.core.notices import shown
from fastnn.core.threads import resolve_threads
from fastnn.network.lowering import INPUT, readers
from fastnn.network.parameters import ParameterLayout
from fastnn.training._ops_python import PythonActivation
from fastnn.training._python_loss import PythonLoss
from fastnn.training.groups import Wishes
from fastnn.training.inputs import DROPOUT, NOISE, PARTNERS, InputChanges
from fastnn.training.bound_losses import BoundLoss, check_loss
from fastnn.training.optimizers import check_optimizer
from fastnn.training.plan import plan_training

cnp.import_array()

UNCHANGED = InputChanges()
MAX_STATES = 8  # vectors of an optimizer, each as long as the parameters
BLOCK_KINDS = {"weight": WEIGHT, "bias": BIAS, "gain": GAIN, "slope": SLOPE,
               "scale": MEMBER_SCALE}


cdef class Trainer(Runs):
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

    cdef readonly object spec, loss, frozen
    cdef readonly object info    # the BoundLoss
    cdef readonly tuple biases

    def __init__(self, spec, loss, *, optimizer, batch_size, alpha=0.0, drops=True, seed=0,
                 n_threads=None, reduction=None, gemm="auto", ceiling=np.inf, inputs=UNCHANGED,
                 l1=0.0, clip_norm=None, clip_value=None, max_norm=None, frozen=(),
                 sparse=False, adds=None):
        if self.plan is not None:  # steps may have the address of what it holds
            raise RuntimeError("this trainer is made already")
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
            raise ValueError("batches of one row (batch_size=1, or X has one) leave BatchNorm "
                             "(norm='batch') no variance: it needs at least 2 rows; or use "
                             "LayerNorm (norm='layer'), or freeze the layer")
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
        cdef ptrdiff_t width = kernels.f64.panel if self.is_double else kernels.f32.panel
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
            op.panels = -1
            if self.plan.packs_gradient(i):
                op.panels = take((op.n_out + width - 1) // width * width)
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
        if any(self.plan.packs_gradient(i) for i in range(job.n_ops)):
            job.room_at = job.partial_stride
            job.partial_stride += FNN_ROOM // self.dtype.itemsize
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
        values = self.wishes.hyperparameters
        cdef Py_ssize_t i, count = len(values)
        row, n_states = optimizer.row, optimizer.n_states  # a class of the user's may say anything
        self.job.optimizer = _kernels.optimizer_index(row)
        hyperparameters = <double*>self.allocate(FNN_N_COEFFICIENTS, np.float64)
        for i in range(count):
            hyperparameters[i] = float(values[i])
        self.job.hyperparameters = hyperparameters
        cdef int n_state = max(_kernels.OPTIMIZERS[row].n_state, self.wishes.muon is not None)
        averages = self.wishes.mean_decay is not None
        if type(n_states) is not int or not n_state + averages <= n_states <= MAX_STATES:
            raise ValueError(f"{type(optimizer).__name__}.n_states={shown(n_states)} must be in "
                             f"{n_state + averages}...{MAX_STATES}: the update {row!r} has "
                             f"{n_state}")
        states = []
        for _ in range(n_states):
            states.append(self.layout.allocate())
        self.optimizer_state = tuple(states)
        if n_state > 0:
            self.job.state0 = self.address(states[0])
        if n_state > 1:
            self.job.state1 = self.address(states[1])
        if n_state > 2:
            self.job.state2 = self.address(states[2])
        self.mean = states[-1] if averages else None
        self.lazy = (optimizer.is_lazy and self.wishes.plain and self.job.alpha == 0
                     and self.adds is None)

    def job_pointer(self):
        """Return a capsule of the address of the job, for `_steps`; it is there as long as the
        trainer."""
        return PyCapsule_New(&self.job, "fastnn.Job", NULL)
