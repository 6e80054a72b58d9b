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
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from fastnn.core._kernels cimport (
    FNN_ACT_relu,
    FNN_OUTPUT_SOFTMAX,
    activation_needs_z,
    kernels,
    real,
)
from fastnn.core._ops cimport (
    ADD,
    BATCH_NORM,
    DENSE,
    EMBED,
    HEADS,
    LAYER_NORM,
    PYTHON,
    op_kind,
)
from fastnn.core._signals cimport Watch, is_stopped, look, raise_if_stopped, start_watch
from fastnn.core._team cimport (
    fnn_after_keeping_subnormals,
    fnn_keep_subnormals,
    fnn_team_rank,
)
from fastnn.prediction._adjoints cimport adjoints, seed_given, seed_output, transpose_weights
from fastnn.prediction._sweeps cimport (
    ADJOINTS,
    COLUMNS,
    INSIDE,
    ROWS,
    TANGENTS,
    Op,
    Sweep,
    Task,
    copy_rows,
    forward,
    set_columns,
    value_of,
)
from fastnn.prediction._tangents cimport tangents

import numpy as np

from fastnn.core import _kernels
from fastnn.core.arrays import dense_rows
from fastnn.core.rows import check_rows
from fastnn.core.threads import team_size
from fastnn.network.lowering import readers

cnp.import_array()

cdef enum:
    BLOCK_ROWS = 96             # a multiple of the tile heights
    FEW = 8                     # up to so many adjoints copies of W' do not pay
    LINE = 16                   # numbers of a cache line, at most
    FLOPS_PER_THREAD = 4000000  # as in `_forward`
    WATCHED_FLOPS = 10000000


@cython.final
cdef class Derivatives:
    """How the derivatives of a network are computed.

    Parameters
    ----------
    layout : ParameterLayout
        Of layers that have derivatives, see `derivatives.refuse`.
    """

    cdef object layout
    cdef object firsts          # of EMBED
    cdef Task task              # what all calls have in common
    cdef Op* ops
    cdef int type_num
    cdef bint is_double, is_python
    cdef ptrdiff_t n_in, n_out
    cdef ptrdiff_t block_rows
    cdef ptrdiff_t columns      # numbers of all `Op.columns`,
    cdef ptrdiff_t copies       # ... and of all W'
    cdef double flops

    def __cinit__(self, layout):
        cdef Op* op
        cdef ptrdiff_t panel
        self.task.n_ops = len(layout.ops)
        self.ops = <Op*>malloc(self.task.n_ops * sizeof(Op))
        if self.ops == NULL:
            raise MemoryError
        memset(self.ops, 0, self.task.n_ops * sizeof(Op))
        self.task.ops = self.ops
        self.layout = layout
        self.type_num = (<cnp.dtype>layout.dtype).type_num
        self.is_double = layout.dtype == np.float64
        self.n_in, self.n_out = layout.spec.n_in, layout.spec.n_out
        self.task.members = layout.spec.members
        self.task.widest = self.n_in
        self.flops = 2.0 * layout.n_parameters
        if self.task.members > 1:
            self.flops = layout.training_flops / 3.0
        panel = kernels.f64.panel if self.is_double else kernels.f32.panel
        for i in range(self.task.n_ops):
            description = layout.ops[i]
            op = &self.ops[i]
            op.kind = op_kind(description.kind)
            op.n_in, op.n_out = description.n_in, description.n_out
            op.members = description.members
            offsets = layout.offsets(i)
            if offsets:
                op.w, op.b = offsets[0], offsets[1 if len(offsets) > 1 else 0]
            if op.kind == BATCH_NORM:
                op.mean, op.variance = offsets[2:]
                op.columns = self.columns
                self.columns += 2 * op.n_out
            op.activation = _kernels.output_index(description.activation)
            op.relu = op.kind == DENSE and op.activation == FNN_ACT_relu
            op.shared, op.row_units = description.shared, description.row_units
            op.gate = _kernels.output_index(description.gate)
            if op.kind == EMBED:
                self.firsts = np.cumsum((0, *description.counts), dtype=np.int64)
                op.firsts = <const int64_t*>cnp.PyArray_DATA(<cnp.ndarray>self.firsts)
                op.n_columns = len(description.counts)
            op.source, op.other = description.source, description.other
            op.sums = op.next_sum = -1
            op.eps = description.eps
            op.function = <void*>description.function  # the layout keeps it
            self.is_python = self.is_python or op.kind == PYTHON
            self.task.widest = max(self.task.widest, op.n_out)
            op.z = op.a = self.take(op.members * op.n_out)
            if op.activation != FNN_OUTPUT_SOFTMAX and activation_needs_z(op.activation):
                op.a = self.take(op.members * op.n_out)
            op.d = self.take(op.members * op.n_out)
            op.stats = self.take(2 * op.members) if op.kind == LAYER_NORM else 0
            op.transposed = self.copies
            if op.kind in (DENSE, HEADS):
                self.copies += ((op.n_in + panel - 1) // panel * panel * op.n_out
                                * (op.members if op.kind == HEADS else 1))
        self.task.mean = self.take(self.n_out) if self.task.members > 1 else 0
        self.block_rows = max(1, BLOCK_ROWS // self.task.members)
        self.set_sums()

    cdef ptrdiff_t take(self, ptrdiff_t width):
        cdef ptrdiff_t start = self.task.per_row
        self.task.per_row += width
        return start

    cdef set_sums(self):
        """What adjoints have to add up, and which derivatives go with a product."""
        cdef Op* op
        cdef Op* first
        cdef int i
        reads = readers(self.layout.ops)
        for i in range(self.task.n_ops):
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
            X = dense_rows(
                check_rows(name, X, columns, self.layout.dtype, finite=False))
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

    def vjp_inside(self, cnp.ndarray parameters not None, X, D, int threads):
        """Return the same for D (n_samples, members * n_out), which the raw outputs of all members
        are weighed with."""
        cdef cnp.ndarray x = self.checked("X", X, self.n_in)
        cdef cnp.ndarray d = self.checked("D", D, self.task.members * self.n_out)
        return self.product(INSIDE, parameters, x, d, self.n_in, "D", True, threads)

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
        cdef Task task = self.task
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
        task.capacity = min(task.rows, self.block_rows)
        task.few = task.rows * task.members * sweeps <= FEW
        task.parameters = cnp.PyArray_DATA(parameters)
        task.copies = task.columns = NULL
        task.x, task.out = cnp.PyArray_DATA(x), cnp.PyArray_DATA(out)
        task.given = NULL if given is None else cnp.PyArray_DATA(given)
        blocks = (task.rows + self.block_rows - 1) // self.block_rows
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
        cdef ptrdiff_t per_thread = ((task.per_row + task.widest) * task.capacity
                                     + 2 * task.widest + LINE)
        cdef ptrdiff_t blocks = (task.rows + self.block_rows - 1) // self.block_rows, block
        cdef bint copies = not task.few and task.sweep not in (TANGENTS, COLUMNS)
        cdef real* scratch
        cdef real* shared
        if task.rows == 0:
            return False
        scratch = <real*>malloc((team * per_thread + self.columns + copies * self.copies)
                                * sizeof(real))
        if scratch == NULL:
            return True
        shared = scratch + team * per_thread
        with nogil:
            if self.columns > 0:
                task.columns = shared + copies * self.copies
                set_columns(task, <real*>task.columns)
            if copies:
                transpose_weights(task, shared)
                task.copies = shared
            if team == 1:
                for block in range(blocks):
                    self.run_block(task, block, scratch, watch, failures)
            else:
                for block in prange(blocks, num_threads=team, schedule="dynamic"):
                    self.run_block(task, block, scratch + fnn_team_rank() * per_thread, watch,
                                   failures)
        free(scratch)
        return False

    cdef void run_block(self, const Task* task, ptrdiff_t block, real* scratch, Watch* watch,
                        void* failures) noexcept nogil:
        """The rows of one block, all that is asked of them."""
        if is_stopped(watch):
            return
        cdef uint64_t float_mode = fnn_keep_subnormals()
        cdef ptrdiff_t first = block * self.block_rows, j, one
        cdef ptrdiff_t rows = min(self.block_rows, task.rows - first)
        cdef ptrdiff_t n_in = self.n_in, n_out = self.n_out
        cdef const real* x = (<const real*>task.x) + first * n_in
        cdef const real* given = <const real*>task.given
        cdef const real* found
        cdef real* out = <real*>task.out
        cdef real* seeds = scratch + task.per_row * task.capacity
        forward(task, rows, x, scratch, watch, failures)
        if task.sweep == TANGENTS:
            found = tangents(task, rows, x, given + first * n_in, -1, scratch, watch, failures)
            copy_rows(rows, n_out, found, n_out, out + first * n_out, n_out)
        elif task.sweep in (ADJOINTS, INSIDE):
            given += first * n_out * (task.members if task.sweep == INSIDE else 1)
            seed_given(task, rows, given, scratch)
            adjoints(task, rows, x, -1, out + first * n_in, n_in, scratch, watch, failures)
        elif task.sweep == COLUMNS:
            out += first * n_out * n_in
            memset(seeds, 0, rows * n_in * sizeof(real))
            for j in range(n_in):
                set_column(rows, n_in, j, <real>1, seeds)
                found = tangents(task, rows, x, seeds, j, scratch, watch, failures)
                set_column(rows, n_in, j, <real>0, seeds)
                scatter_column(rows, n_out, found, n_in, out + j)
        else:
            out += first * n_out * n_in
            for j in range(n_out):
                one = seed_output(task, rows, j, scratch)
                adjoints(task, rows, x, one, out + j * n_in, n_out * n_in, scratch, watch, failures)
            if (self.ops[task.n_ops - 1].activation == FNN_OUTPUT_SOFTMAX and task.members == 1
                    and not task.raw):
                through_softmax(rows, n_out, n_in, value_of(task, task.n_ops - 1, x, scratch),
                                seeds, out)
        fnn_after_keeping_subnormals(float_mode)
        if watch.on and fnn_team_rank() == 0:
            look(watch)


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
