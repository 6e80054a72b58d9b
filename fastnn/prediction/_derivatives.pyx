"""Derivatives of the outputs with respect to the inputs; as `_forward`, for any number of callers
at once, with NumPy alone.

Rows are worked on in blocks. A block goes forward once, all values kept; then tangents go forward
with it (products with the Jacobian from the right), or adjoints back (from the left), one sweep
for each direction: a Jacobian takes as many as there are inputs or outputs, whichever are fewer. A
sweep is made of the kernels that training goes back with, down to the inputs.

The adjoints of a few rows are products with W as it lies, those of more with copies of W' that are
made for the call: a row by itself and in a batch agree within rounding. No bit depends on the
number of threads.
"""

cimport cython
cimport numpy as cnp
from cython.parallel cimport prange
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from fastnn.core._arrays cimport apply_rows
from fastnn.core._kernels cimport (
    FNN_ACT_identity,
    FNN_ACT_relu,
    FNN_OUTPUT_SOFTMAX,
    activation_backward,
    activation_needs_z,
    add_rows,
    bias_activate,
    fnn_product,
    kernels,
    layer_norm_backward_rows,
    layer_norm_rows,
    panel_columns,
    real,
    row_major_product,
    row_products,
    run_product,
    softmax_rows,
    transpose,
)
from fastnn.core._ops cimport ADD, DENSE, LAYER_NORM, PYTHON, OpKind, op_kind
from fastnn.core._signals cimport Watch, is_stopped, look, raise_if_stopped, start_watch
from fastnn.core._team cimport (
    FNN_STORE,
    fnn_after_keeping_subnormals,
    fnn_keep_subnormals,
    fnn_team_rank,
)

import numpy as np

from fastnn.core import _kernels, validation
from fastnn.core.threads import team_size
from fastnn.network.lowering import readers

cnp.import_array()

cdef enum:
    BLOCK_ROWS = 96             # a multiple of the tile heights
    FEW = 8                     # up to so many adjoints copies of W' do not pay
    LINE = 16                   # numbers of a cache line, at most
    FLOPS_PER_THREAD = 4000000  # as in `_forward`
    WATCHED_FLOPS = 10000000

cdef enum Sweep:
    TANGENTS                    # J v of each row
    ADJOINTS                    # J' u
    COLUMNS                     # all of J, a column after the other
    ROWS                        # ... a row

# see network/lowering.py
cdef struct Op:
    OpKind kind
    int activation
    bint relu                   # fused into the product
    bint gated                  # and its derivative in the product that makes its adjoint
    int source                  # number of the op that is read, -1: X
    int other                   # ADD: of the other one
    int sums                    # adjoints: first ADD whose adjoint is added to what this op reads,
    int next_sum                # -1: none; and the one after it
    ptrdiff_t n_in
    ptrdiff_t n_out
    ptrdiff_t w, b              # offsets in the flat vector
    ptrdiff_t z, a, d           # buffers (rows, n_out), in numbers for a row: d is of the sweep
    ptrdiff_t stats             # LAYER_NORM (rows, 2)
    ptrdiff_t transposed        # W' in panels
    double eps
    void* function              # PYTHON: a CustomActivation

# what a call works on
cdef struct Task:
    Sweep sweep
    bint raw                    # derivatives of the last op's z
    bint few
    ptrdiff_t rows
    ptrdiff_t capacity          # rows of a block
    const void* parameters
    const void* copies
    const void* x               # (rows, n_in)
    const void* given           # TANGENTS (rows, n_in), ADJOINTS (rows, n_out)
    void* out


@cython.final
cdef class Derivatives:
    """How the derivatives of a network are computed.

    Parameters
    ----------
    layout : ParameterLayout
        Of layers that have derivatives, see `derivatives.refuse`.
    """

    cdef object layout
    cdef int n_ops
    cdef Op* ops
    cdef int type_num
    cdef bint is_double, is_python
    cdef ptrdiff_t n_in, n_out
    cdef ptrdiff_t per_row      # numbers of all buffers, for a row
    cdef ptrdiff_t widest
    cdef ptrdiff_t copies       # numbers of all W'
    cdef double flops

    def __cinit__(self, layout):
        cdef Op* op
        cdef ptrdiff_t panel
        self.n_ops = len(layout.ops)
        self.ops = <Op*>malloc(self.n_ops * sizeof(Op))
        if self.ops == NULL:
            raise MemoryError
        self.layout = layout
        self.type_num = (<cnp.dtype>layout.dtype).type_num
        self.is_double = layout.dtype == np.float64
        self.n_in = layout.spec.n_in
        self.widest = self.n_in
        self.flops = 2.0 * layout.n_parameters
        panel = kernels.f64.panel if self.is_double else kernels.f32.panel
        for i in range(self.n_ops):
            description = layout.ops[i]
            op = &self.ops[i]
            op.kind = op_kind(description.kind)
            op.n_in, op.n_out = description.n_in, description.n_out
            op.w = op.b = 0
            offsets = layout.offsets(i)
            if offsets:
                op.w, op.b = offsets
            op.activation = _kernels.output_index(description.activation)
            op.relu = op.kind == DENSE and op.activation == FNN_ACT_relu
            op.source, op.other = description.source, description.other
            op.sums = op.next_sum = -1
            op.eps = description.eps
            op.function = <void*>description.function  # the layout keeps it
            self.is_python = self.is_python or op.kind == PYTHON
            self.widest = max(self.widest, op.n_out)
            op.z = op.a = self.take(op.n_out)
            if op.activation != FNN_OUTPUT_SOFTMAX and activation_needs_z(op.activation):
                op.a = self.take(op.n_out)
            op.d = self.take(op.n_out)
            op.stats = self.take(2) if op.kind == LAYER_NORM else 0
            op.transposed = self.copies
            if op.kind == DENSE:
                self.copies += (op.n_in + panel - 1) // panel * panel * op.n_out
        self.n_out = self.ops[self.n_ops - 1].n_out
        self.set_sums()

    cdef ptrdiff_t take(self, ptrdiff_t width):
        cdef ptrdiff_t start = self.per_row
        self.per_row += width
        return start

    cdef set_sums(self):
        """What adjoints have to add up, and which derivatives go with a product."""
        cdef Op* op
        cdef Op* first
        cdef int i
        reads = readers(self.layout.ops)
        for i in range(self.n_ops):
            op = &self.ops[i]
            if op.kind == ADD:
                # the first reader is the last one on the way back: then the rest is added
                first = &self.ops[<int>reads[op.other][0]]
                op.next_sum, first.sums = first.sums, i
            mine = reads.get(i, ())
            op.gated = op.relu and len(mine) == 1 and self.ops[<int>mine[0]].kind == DENSE

    def __dealloc__(self):
        free(self.ops)

    cdef bint accepts(self, X, ptrdiff_t columns):
        if type(X) is not np.ndarray:
            return False
        cdef cnp.ndarray x = X
        return (x.ndim == 2 and x.descr.type_num == self.type_num and x.shape[1] == columns
                and cnp.PyArray_ISCARRAY_RO(x))

    cdef cnp.ndarray checked(self, name, X, ptrdiff_t columns):
        if not self.accepts(X, columns):
            X = validation.dense_rows(
                validation.check_rows(name, X, columns, self.layout.dtype, finite=False))
        return X

    def jacobian(self, cnp.ndarray parameters not None, X, bint raw, int threads):
        """Return the Jacobian of each row, (n_samples, n_out, n_in)."""
        cdef cnp.ndarray x = self.checked("X", X, self.n_in)
        cdef cnp.npy_intp[3] shape
        shape[0], shape[1], shape[2] = x.shape[0], self.n_out, self.n_in
        cdef cnp.ndarray out = cnp.PyArray_EMPTY(3, shape, self.type_num, 0)
        self.run(COLUMNS if self.n_in < self.n_out else ROWS, parameters, x, None, out, raw,
                 threads)
        return out

    def jvp(self, cnp.ndarray parameters not None, X, V, bint raw, int threads):
        """Return J v of each row, (n_samples, n_out), for V (n_samples, n_in)."""
        cdef cnp.ndarray x = self.checked("X", X, self.n_in)
        cdef cnp.ndarray v = self.checked("V", V, self.n_in)
        return self.product(TANGENTS, parameters, x, v, self.n_out, "V", raw, threads)

    def vjp(self, cnp.ndarray parameters not None, X, U, bint raw, int threads):
        """Return J' u of each row, (n_samples, n_in), for U (n_samples, n_out)."""
        cdef cnp.ndarray x = self.checked("X", X, self.n_in)
        cdef cnp.ndarray u = self.checked("U", U, self.n_out)
        return self.product(ADJOINTS, parameters, x, u, self.n_in, "U", raw, threads)

    cdef product(self, Sweep sweep, cnp.ndarray parameters, cnp.ndarray x, cnp.ndarray given,
                 ptrdiff_t width, name, bint raw, int threads):
        cdef cnp.npy_intp[2] shape
        if given.shape[0] != x.shape[0]:
            raise ValueError(f"{name} has {given.shape[0]} rows, must have one for each of the "
                             f"{x.shape[0]} of X")
        shape[0], shape[1] = x.shape[0], width
        cdef cnp.ndarray out = cnp.PyArray_EMPTY(2, shape, self.type_num, 0)
        self.run(sweep, parameters, x, given, out, raw, threads)
        return out

    cdef run(self, Sweep sweep, cnp.ndarray parameters, cnp.ndarray x, cnp.ndarray given,
             cnp.ndarray out, bint raw, int threads):
        cdef Task task
        cdef Watch watch
        cdef double work
        cdef ptrdiff_t sweeps = 1, blocks
        cdef int team
        cdef bint failed
        if parameters.size != self.layout.size or parameters.descr.type_num != self.type_num:
            raise ValueError("the parameters are those of another network")
        if sweep == ROWS:
            sweeps = self.n_out
        elif sweep == COLUMNS:
            sweeps = self.n_in
        task.sweep, task.raw, task.rows = sweep, raw, x.shape[0]
        task.capacity = min(task.rows, <ptrdiff_t>BLOCK_ROWS)
        task.few = task.rows * sweeps <= FEW
        task.parameters = cnp.PyArray_DATA(parameters)
        task.copies = NULL
        task.x, task.out = cnp.PyArray_DATA(x), cnp.PyArray_DATA(out)
        task.given = NULL if given is None else cnp.PyArray_DATA(given)
        blocks = (task.rows + BLOCK_ROWS - 1) // BLOCK_ROWS
        work = 1 + task.rows * self.flops * (1 + sweeps) / FLOPS_PER_THREAD
        team = <int>min(work, <double>min(<ptrdiff_t>threads, blocks))
        failures = [] if self.is_python else None
        if self.is_python:
            team = 1
        if team > 1:
            team = team_size(team)
        start_watch(&watch, blocks > 1 and work > WATCHED_FLOPS // FLOPS_PER_THREAD)
        if self.is_double:
            failed = self.run_blocks[double](&task, team, &watch, <void*>failures, NULL)
        else:
            failed = self.run_blocks[float](&task, team, &watch, <void*>failures, NULL)
        if failed:
            raise MemoryError
        if failures:
            raise failures[0]
        raise_if_stopped(&watch)

    cdef bint run_blocks(self, Task* task, int team, Watch* watch, void* failures,
                         real* tag) noexcept:
        # beside the buffers of the operations: seeds (rows, widest) and a column of W
        cdef ptrdiff_t per_thread = ((self.per_row + self.widest) * task.capacity + 2 * self.widest
                                     + LINE)
        cdef ptrdiff_t blocks = (task.rows + BLOCK_ROWS - 1) // BLOCK_ROWS, block
        cdef bint copies = not task.few and task.sweep in (ADJOINTS, ROWS)
        cdef real* scratch
        if task.rows == 0:
            return False
        scratch = <real*>malloc((team * per_thread + copies * self.copies) * sizeof(real))
        if scratch == NULL:
            return True
        with nogil:
            if copies:
                self.transpose_weights(task, scratch + team * per_thread)
                task.copies = scratch + team * per_thread
            if team == 1:
                for block in range(blocks):
                    self.run_block(task, block, scratch, watch, failures)
            else:
                for block in prange(blocks, num_threads=team, schedule="dynamic"):
                    self.run_block(task, block, scratch + fnn_team_rank() * per_thread, watch,
                                   failures)
        free(scratch)
        return False

    cdef void transpose_weights(self, const Task* task, real* copies) noexcept nogil:
        """W' (n_out, n_in) of each dense operation, in panels."""
        cdef const real* w
        cdef ptrdiff_t width = panel_columns(kernels, copies), row
        cdef const Op* op
        cdef int i
        for i in range(self.n_ops):
            op = &self.ops[i]
            if op.kind != DENSE:
                continue
            w = (<const real*>task.parameters) + op.w
            row = 0
            while row < op.n_in:
                transpose(kernels, min(width, op.n_in - row), op.n_out, w + row * op.n_out,
                          op.n_out, <const ptrdiff_t*>NULL,
                          copies + op.transposed + row * op.n_out, width)
                row += width

    cdef void run_block(self, const Task* task, ptrdiff_t block, real* scratch, Watch* watch,
                        void* failures) noexcept nogil:
        """The rows of one block, all that is asked of them."""
        if is_stopped(watch):
            return
        cdef uint64_t float_mode = fnn_keep_subnormals()
        cdef ptrdiff_t first = block * BLOCK_ROWS, j
        cdef ptrdiff_t rows = min(<ptrdiff_t>BLOCK_ROWS, task.rows - first)
        cdef ptrdiff_t n_in = self.n_in, n_out = self.n_out
        cdef const real* x = (<const real*>task.x) + first * n_in
        cdef const real* given = <const real*>task.given
        cdef real* out = <real*>task.out
        cdef real* seeds = scratch + self.per_row * task.capacity
        self.forward(task, rows, x, scratch, watch, failures)
        if task.sweep == TANGENTS:
            self.tangents(task, rows, x, given + first * n_in, -1, scratch, watch, failures)
            copy_rows(rows, n_out, self.sweep_of(task, self.n_ops - 1, scratch), n_out,
                      out + first * n_out, n_out)
        elif task.sweep == ADJOINTS:
            copy_rows(rows, n_out, given + first * n_out, n_out,
                      self.sweep_of(task, self.n_ops - 1, scratch), n_out)
            self.through_output(task, rows, scratch)
            self.adjoints(task, rows, x, -1, out + first * n_in, n_in, scratch, watch, failures)
        elif task.sweep == COLUMNS:
            out += first * n_out * n_in
            memset(seeds, 0, rows * n_in * sizeof(real))
            for j in range(n_in):
                set_column(rows, n_in, j, <real>1, seeds)
                self.tangents(task, rows, x, seeds, j, scratch, watch, failures)
                set_column(rows, n_in, j, <real>0, seeds)
                scatter_column(rows, n_out, self.sweep_of(task, self.n_ops - 1, scratch),
                               n_in, out + j)
        else:
            out += first * n_out * n_in
            for j in range(n_out):
                self.seed_output(task, rows, j, scratch)
                self.adjoints(task, rows, x, j, out + j * n_in, n_out * n_in, scratch, watch,
                              failures)
            if self.ops[self.n_ops - 1].activation == FNN_OUTPUT_SOFTMAX and not task.raw:
                through_softmax(rows, n_out, n_in, self.value_of(task, self.n_ops - 1, x, scratch),
                                seeds, out)
        fnn_after_keeping_subnormals(float_mode)
        if watch.on and fnn_team_rank() == 0:
            look(watch)

    # ---- buffers ----

    cdef const real* value_of(self, const Task* task, int number, const real* x,
                              const real* scratch) noexcept nogil:
        """Value (rows, n_out) of an operation; of number -1 the inputs."""
        return x if number < 0 else scratch + self.ops[number].a * task.capacity

    cdef real* sweep_of(self, const Task* task, int number, real* scratch) noexcept nogil:
        """Tangents or adjoints (rows, n_out) of an operation's value."""
        return scratch + self.ops[number].d * task.capacity

    # ---- the way there ----

    cdef void forward(self, const Task* task, ptrdiff_t rows, const real* x, real* scratch,
                      Watch* watch, void* failures) noexcept nogil:
        """Fill z and a of every operation."""
        cdef const real* parameters = <const real*>task.parameters
        cdef const real* a
        cdef real* z
        cdef const Op* op
        cdef fnn_product p
        cdef int i
        for i in range(self.n_ops):
            op = &self.ops[i]
            a = self.value_of(task, op.source, x, scratch)
            z = scratch + op.z * task.capacity
            if op.kind == DENSE:
                p = row_major_product(kernels, rows, op.n_out, op.n_in, a, op.n_in,
                                      parameters + op.w, op.n_out, z, op.n_out)
                p.bias, p.relu = parameters + op.b, op.relu
                run_product(kernels, &p, z)
            elif op.kind == LAYER_NORM:
                layer_norm_rows(kernels, rows, op.n_out, a, op.n_out, parameters + op.w,
                                parameters + op.b, op.eps, z, op.n_out,
                                scratch + op.stats * task.capacity)
            elif op.kind == ADD:
                add_rows(kernels, rows, op.n_out, a, op.n_out,
                         self.value_of(task, op.other, x, scratch), op.n_out, z, op.n_out)
            elif op.kind == PYTHON:
                call_function(op, False, rows, a, <const real*>NULL, 0, z, op.n_out, watch,
                              failures)
            else:
                memcpy(z, a, rows * op.n_out * sizeof(real))
            if op.activation == FNN_OUTPUT_SOFTMAX:
                softmax_rows(kernels, rows, op.n_out, z, z)
            elif not op.relu and op.activation != FNN_ACT_identity:
                bias_activate(kernels, op.activation, 1, rows * op.n_out, z, <const real*>NULL,
                              scratch + op.a * task.capacity)

    # ---- J v ----

    cdef void tangents(self, const Task* task, ptrdiff_t rows, const real* x, const real* given,
                       ptrdiff_t one, real* scratch, Watch* watch, void* failures) noexcept nogil:
        """From tangents of the inputs (rows, n_in) to those of the outputs. ``one``: the input
        whose tangents are 1, all others being 0; -1: any tangents."""
        cdef const real* parameters = <const real*>task.parameters
        cdef const real* t
        cdef const real* other
        cdef real* dz
        cdef const Op* op
        cdef fnn_product p
        cdef int i
        cdef ptrdiff_t r
        cdef bint gated
        for i in range(self.n_ops):
            op = &self.ops[i]
            t = given if op.source < 0 else self.sweep_of(task, op.source, scratch)
            dz = self.sweep_of(task, i, scratch)
            gated = False
            if op.kind == DENSE and op.source < 0 and one >= 0:
                for r in range(rows):
                    memcpy(dz + r * op.n_out, parameters + op.w + one * op.n_out,
                           op.n_out * sizeof(real))
            elif op.kind == DENSE:
                p = row_major_product(kernels, rows, op.n_out, op.n_in, t, op.n_in,
                                      parameters + op.w, op.n_out, dz, op.n_out)
                gated = op.relu and not (task.raw and i == self.n_ops - 1)
                p.gate = scratch + op.a * task.capacity if gated else NULL
                run_product(kernels, &p, dz)
            elif op.kind == LAYER_NORM:
                self.norm_tangents(task, op, rows, self.value_of(task, op.source, x, scratch), t,
                                   dz, scratch)
            elif op.kind == ADD:
                other = given if op.other < 0 else self.sweep_of(task, op.other, scratch)
                add_rows(kernels, rows, op.n_out, t, op.n_out, other, op.n_out, dz, op.n_out)
            elif op.kind == PYTHON:
                call_function(op, True, rows, self.value_of(task, op.source, x, scratch), t,
                              op.n_out, dz, op.n_out, watch, failures)
            else:
                memcpy(dz, t, rows * op.n_out * sizeof(real))
            if i == self.n_ops - 1:
                if not gated:
                    self.through_output(task, rows, scratch)
            elif not gated:
                self.through_activation(task, op, rows, dz, scratch)

    cdef void norm_tangents(self, const Task* task, const Op* op, ptrdiff_t rows, const real* x,
                            const real* t, real* dz, real* scratch) noexcept nogil:
        """The derivative of (x - mean) / deviation is symmetric: dz = gain times what an adjoint
        becomes that a gain of 1 leaves as it is."""
        cdef const real* gain = (<const real*>task.parameters) + op.w
        cdef real* ones = scratch + (self.per_row + self.widest) * task.capacity
        cdef ptrdiff_t r, j
        for j in range(op.n_out):
            ones[j] = 1
        layer_norm_backward_rows(kernels, rows, op.n_out, t, op.n_out, x, op.n_out,
                                 scratch + op.stats * task.capacity, ones, dz, op.n_out)
        for r in range(rows):
            for j in range(op.n_out):
                dz[r * op.n_out + j] *= gain[j]

    # ---- J' u ----

    cdef void seed_output(self, const Task* task, ptrdiff_t rows, ptrdiff_t j,
                          real* scratch) noexcept nogil:
        """Adjoints of the last op's z where that of output j is 1, and all others are 0; softmax
        comes later, see `through_softmax`."""
        cdef const Op* last = &self.ops[self.n_ops - 1]
        cdef real* d = self.sweep_of(task, self.n_ops - 1, scratch)
        memset(d, 0, rows * last.n_out * sizeof(real))
        set_column(rows, last.n_out, j, <real>1, d)
        if last.activation != FNN_OUTPUT_SOFTMAX:
            self.through_output(task, rows, scratch)

    cdef void through_output(self, const Task* task, ptrdiff_t rows, real* scratch) noexcept nogil:
        """From adjoints of the outputs to those of the last op's z, or tangents the other way."""
        cdef const Op* last = &self.ops[self.n_ops - 1]
        cdef real* d = self.sweep_of(task, self.n_ops - 1, scratch)
        cdef const real* p = scratch + last.a * task.capacity
        cdef ptrdiff_t j
        cdef real mean
        if task.raw:
            return
        if last.activation != FNN_OUTPUT_SOFTMAX:
            self.through_activation(task, last, rows, d, scratch)
            return
        for _ in range(rows):  # diag(p) - p p' is symmetric
            mean = 0
            for j in range(last.n_out):
                mean += p[j] * d[j]
            for j in range(last.n_out):
                d[j] = p[j] * (d[j] - mean)
            d += last.n_out
            p += last.n_out

    cdef void through_activation(self, const Task* task, const Op* op, ptrdiff_t rows, real* d,
                                 real* scratch) noexcept nogil:
        """d *= f'(z)"""
        if op.activation != FNN_ACT_identity:
            activation_backward(kernels, op.activation, rows * op.n_out,
                                scratch + op.z * task.capacity, scratch + op.a * task.capacity, d)

    cdef void adjoints(self, const Task* task, ptrdiff_t rows, const real* x, ptrdiff_t one,
                       real* out, ptrdiff_t ldout, real* scratch, Watch* watch,
                       void* failures) noexcept nogil:
        """From adjoints of the last op's z to those of the inputs, out (rows, n_in; ldout).
        ``one``: the only output whose adjoints are not 0; -1: any may be."""
        cdef const Op* op
        cdef real* d
        cdef real* dx
        cdef ptrdiff_t ld
        cdef int i
        for i in range(self.n_ops - 1, -1, -1):
            op = &self.ops[i]
            d = self.sweep_of(task, i, scratch)
            if i < self.n_ops - 1 and (task.few or not op.gated):
                self.through_activation(task, op, rows, d, scratch)
            if op.source < 0:
                dx, ld = out, ldout
            else:
                dx, ld = self.sweep_of(task, op.source, scratch), op.n_in
            if op.kind == DENSE:
                self.dense_adjoints(task, op, rows, d, one if i == self.n_ops - 1 else -1, dx, ld,
                                    scratch)
            elif op.kind == LAYER_NORM:
                layer_norm_backward_rows(
                    kernels, rows, op.n_out, d, op.n_out,
                    self.value_of(task, op.source, x, scratch), op.n_out,
                    scratch + op.stats * task.capacity, (<const real*>task.parameters) + op.w, dx,
                    ld)
            elif op.kind == PYTHON:
                call_function(op, True, rows, self.value_of(task, op.source, x, scratch), d,
                              op.n_out, dx, ld, watch, failures)
            else:
                copy_rows(rows, op.n_out, d, op.n_out, dx, ld)
            self.add_sums(task, op.sums, rows, out, ldout, scratch)

    cdef void dense_adjoints(self, const Task* task, const Op* op, ptrdiff_t rows, const real* d,
                             ptrdiff_t one, real* dx, ptrdiff_t ld, real* scratch) noexcept nogil:
        """dx (rows, n_in; ld) = d W'"""
        cdef const real* w = (<const real*>task.parameters) + op.w
        cdef real* column = scratch + (self.per_row + self.widest) * task.capacity
        cdef const Op* below = &self.ops[op.source] if op.source >= 0 else NULL
        cdef fnn_product p
        cdef ptrdiff_t r, j
        if one >= 0:  # the rest of d is 0: one column of W
            for j in range(op.n_in):
                column[j] = w[j * op.n_out + one]
            p = row_major_product(kernels, rows, op.n_in, 1, d + one, op.n_out, column, op.n_in, dx,
                                  ld)
        elif task.few:
            for r in range(rows):
                row_products(kernels, op.n_in, 1, op.n_out, w, op.n_out, d + r * op.n_out, op.n_out,
                             dx + r * ld, 1)
            return
        else:
            p = row_major_product(kernels, rows, op.n_in, op.n_out, d, op.n_out,
                                  (<const real*>task.copies) + op.transposed, 0, dx, ld)
            p.ldb = p.b_panel
            p.b_panel *= op.n_out
        if below != NULL and below.gated and not task.few:
            p.gate = scratch + below.a * task.capacity
        run_product(kernels, &p, dx)

    cdef void add_sums(self, const Task* task, int first, ptrdiff_t rows, real* out,
                       ptrdiff_t ldout, real* scratch) noexcept nogil:
        """Add the adjoints of the sums, ``first`` and those after it, to those of what they share.
        """
        cdef const Op* op
        cdef real* dx
        cdef ptrdiff_t ld
        while first >= 0:
            op = &self.ops[first]
            if op.other < 0:
                dx, ld = out, ldout
            else:
                dx, ld = self.sweep_of(task, op.other, scratch), op.n_out
            add_rows(kernels, rows, op.n_out, dx, ld, self.sweep_of(task, first, scratch), op.n_out,
                     dx, ld)
            first = op.next_sum


cdef void copy_rows(ptrdiff_t rows, ptrdiff_t n, const real* x, ptrdiff_t ldx, real* out,
                    ptrdiff_t ldout) noexcept nogil:
    """out (rows, n; ldout) = x (rows, n; ldx)"""
    cdef ptrdiff_t r
    for r in range(rows):
        memcpy(out + r * ldout, x + r * ldx, n * sizeof(real))


cdef void set_column(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t j, real value, real* x) noexcept nogil:
    """Column j of x (rows, n) = value"""
    cdef ptrdiff_t r
    for r in range(rows):
        x[r * n + j] = value


cdef void scatter_column(ptrdiff_t rows, ptrdiff_t n, const real* x, ptrdiff_t step,
                         real* out) noexcept nogil:
    """x (rows, n), its numbers ``step`` apart."""
    cdef ptrdiff_t i
    for i in range(rows * n):
        out[i * step] = x[i]


cdef void through_softmax(ptrdiff_t rows, ptrdiff_t n_out, ptrdiff_t n_in, const real* p,
                          real* mean, real* out) noexcept nogil:
    """out (rows, n_out, n_in), of the raw outputs, becomes (diag(p) - p p') out. ``mean``: room for
    n_in numbers."""
    cdef ptrdiff_t i, j
    for _ in range(rows):
        for i in range(n_in):
            mean[i] = 0
        for j in range(n_out):
            for i in range(n_in):
                mean[i] += p[j] * out[j * n_in + i]
        for j in range(n_out):
            for i in range(n_in):
                out[j * n_in + i] = p[j] * (out[j * n_in + i] - mean[i])
        p += n_out
        out += n_out * n_in


cdef void call_function(const Op* op, bint slope, ptrdiff_t rows, const real* x, const real* factor,
                        ptrdiff_t ldf, real* out, ptrdiff_t ldout, Watch* watch,
                        void* failures) noexcept with gil:
    """out (rows, n_out; ldout) = f(x), or f'(x) times factor"""
    activation = <object>op.function
    try:
        function = activation.derivative if slope else activation.value
        what = "derivative" if slope else "value"
        apply_rows(function, f"{what} of activation {activation.name!r}", rows, op.n_out, x,
                   op.n_out, factor, ldf, out, ldout)
    except BaseException as error:
        (<list>failures).append(error)
        FNN_STORE(&watch.stopped, 1)
