"""Products of the Hessian of the loss with a vector of parameters (Pearlmutter 1994).

R{.} is the derivative along the direction v of the parameters. It goes through the forward pass and
then through the way back, layer by layer, beside what it is taken of: R{dz} of the last operation
is the second derivative of the loss, and R{dW} = R{x}' dz + x' R{dz} is what is asked for. Nothing
is approximated, and the cost is about that of two gradients.

Rows are worked on in blocks, one after the other; BATCH_NORM takes the statistics of a block, which
then is what is a shard in training.
"""

cimport numpy as cnp
from libc.math cimport INFINITY
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memcpy, memset

from fastnn.core._kernels cimport (
    FNN_ACT_identity,
    FNN_N_PARAMETERS,
    FNN_OUTPUT_SOFTMAX,
    activation_backward,
    add_rows,
    bias_activate,
    kernels,
    loss_rows,
    real,
    transpose,
)
from fastnn.core._ops cimport (
    ADD,
    BATCH_NORM,
    DENSE,
    EMBED,
    GLU,
    HEADS,
    LAYER_NORM,
    PRELU,
    REPEAT,
    SCALE,
    op_kind,
)
from fastnn.core._team cimport fnn_after_keeping_subnormals, fnn_keep_subnormals
from fastnn.training._bends cimport (
    BINARY_FOCAL,
    ELU,
    EXP,
    FLAT,
    FOCAL,
    GAMMA,
    GAUSSIAN_NLL,
    GELU,
    HUBER,
    LOG_COSH,
    LOGISTIC,
    MISH,
    POISSON,
    SELU,
    SIGMOID,
    SILU,
    SOFTMAX_BOWL,
    SOFTPLUS,
    SQUARE,
    SQUARED_HINGE,
    STRAIGHT,
    TANH,
    TWEEDIE,
    Bowl,
    bend_of,
)
from fastnn.training._curvature_layers cimport (
    Op,
    Way,
    batch_norm_backward,
    batch_norm_forward,
    dense_backward,
    dense_forward,
    embed_backward,
    embed_forward,
    factor_backward,
    factor_forward,
    glu_backward,
    glu_forward,
    norm_backward,
    norm_forward,
    prelu_backward,
    prelu_forward,
)
from fastnn.training._loss_bends cimport bend_loss

import numpy as np

from fastnn.core import _kernels
from fastnn.core.memory import ALIGNMENT, aligned_zeros
from fastnn.network.lowering import readers

cnp.import_array()

# second derivatives of activations
BENDS = {"identity": STRAIGHT, "relu": STRAIGHT, "leaky_relu": STRAIGHT, "sigmoid": SIGMOID,
         "tanh": TANH, "elu": ELU, "gelu": GELU, "silu": SILU, "softplus": SOFTPLUS, "exp": EXP,
         "selu": SELU, "mish": MISH, "hard_tanh": STRAIGHT, "hard_sigmoid": STRAIGHT,
         "relu6": STRAIGHT, "softmax": STRAIGHT}
# ... and of losses
BOWLS = {"absolute_error": FLAT, "quantile": FLAT, "hinge": FLAT, "perceptron": FLAT,
         "squared_error": SQUARE, "cross_entropy": SOFTMAX_BOWL, "binary_cross_entropy": LOGISTIC,
         "poisson": POISSON, "gamma": GAMMA, "tweedie": TWEEDIE, "huber": HUBER,
         "log_cosh": LOG_COSH, "squared_hinge": SQUARED_HINGE, "focal": FOCAL,
         "binary_focal": BINARY_FOCAL, "gaussian_nll": GAUSSIAN_NLL}

# the buffers of an operation
cdef enum:
    Z
    A
    SLOPE                       # f'(z)
    RZ
    RA
    D                           # dL/da, then dL/dz
    RD
    BUFFERS


cdef class Curvature:
    """The Hessian of a loss of a network, as far as products with it go.

    Parameters
    ----------
    layout : ParameterLayout
    info : BoundLoss
        Of `BOWLS`; the activations are of `BENDS`, the layers of `curvature.KINDS`.
    block : int
        Rows that are worked on together, at most.
    """

    cdef object layout, scratch, parameters_of_loss, labels, firsts
    cdef Op* ops
    cdef object memory
    cdef int n_ops, loss
    cdef Bowl bowl
    cdef bint value_loss, is_double
    cdef double* h
    cdef ptrdiff_t n_in, n_out, members, block_rows, size, spare
    cdef ptrdiff_t targets, weights  # of the rows of a block, for each member

    def __init__(self, layout, info, block):
        cdef Op* op
        cdef Op* first
        cdef ptrdiff_t rows, widest, copies = 0
        self.layout = layout
        self.is_double = layout.dtype == np.float64
        self.n_ops = len(layout.ops)
        self.memory = aligned_zeros(self.n_ops * sizeof(Op), np.uint8)
        self.ops = <Op*>cnp.PyArray_DATA(<cnp.ndarray>self.memory)
        self.n_in, self.n_out = layout.spec.n_in, layout.spec.n_out
        self.members, self.block_rows = layout.spec.members, block
        self.bowl = BOWLS[info.name]
        self.loss = _kernels.loss_index(info.name)
        self.value_loss = info.link == "identity" and layout.spec.output not in (
            "identity", "softmax")
        if info.parameters:
            self.parameters_of_loss = np.zeros((self.n_out, FNN_N_PARAMETERS))
            for j, row in enumerate(info.parameters):
                self.parameters_of_loss[j, :len(row)] = row
            self.h = <double*>cnp.PyArray_DATA(<cnp.ndarray>self.parameters_of_loss)
        reads, widest = readers(layout.ops), self.n_in
        rows = self.block_rows * self.members
        for i, description in enumerate(layout.ops):
            op = &self.ops[i]
            op.kind = op_kind(description.kind)
            op.activation = _kernels.output_index(description.activation)
            op.bend = BENDS.get(description.activation, STRAIGHT)
            op.shared, op.members = description.shared, description.members
            op.gate, op.gate_bend = _kernels.output_index(description.gate), BENDS[description.gate]
            op.row_units = description.row_units
            if op.kind == EMBED:
                self.firsts = np.cumsum((0, *description.counts), dtype=np.int64)
                op.firsts = <const int64_t*>cnp.PyArray_DATA(<cnp.ndarray>self.firsts)
                op.n_columns = len(description.counts)
            op.source, op.other = description.source, description.other
            op.sums = op.next_sum = -1
            op.n_in, op.n_out, op.eps = description.n_in, description.n_out, description.eps
            offsets = layout.offsets(i)
            if offsets:
                op.w, op.b = offsets[0], offsets[1 if len(offsets) > 1 else 0]
            if op.kind == BATCH_NORM:
                op.mean, op.variance = offsets[2:]
            op.buffers = self.take(BUFFERS * self.block_rows * op.members * op.n_out)
            if op.kind == LAYER_NORM:
                op.stats = self.take(2 * self.block_rows * op.members)
            elif op.kind == BATCH_NORM:
                op.stats = self.take(3 * op.n_out)
            widest = max(widest, op.n_out)
            if op.kind in (DENSE, HEADS):
                size = op.n_in * op.n_out * (op.members if op.kind == HEADS else 1)
                op.wt, op.vt = self.take(size), self.take(size)
                copies = max(copies, op.n_in * op.n_out)
            elif op.kind == EMBED:
                copies = max(copies, op.n_in * op.row_units)
        for i in range(self.n_ops):
            op = &self.ops[i]
            if op.kind == ADD and op.other >= 0:
                first = &self.ops[<int>reads[op.other][0]]
                op.next_sum, first.sums = first.sums, i
        self.spare = self.take(max(copies, rows * widest))
        if self.members > 1:
            self.targets, self.weights = self.take(rows * self.n_out), self.take(rows)
            self.labels = np.zeros(rows, np.int32)
        self.scratch = aligned_zeros(self.size, layout.dtype)

    cdef ptrdiff_t take(self, ptrdiff_t count):
        cdef ptrdiff_t start = self.size
        self.size += (count + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
        return start

    def product(self, cnp.ndarray parameters not None, cnp.ndarray v not None,
                cnp.ndarray X not None, cnp.ndarray y not None, weights, blocks):
        """Return the sum over rows of H v, as the loss's kernel weighs them, in a flat vector.

        All arrays are row-major and of the layout's dtype, labels int32. ``blocks``: the first row
        of each block, and the number of rows behind the last one.
        """
        cdef cnp.ndarray out = self.layout.allocate()
        cdef ptrdiff_t start, stop
        for array in (parameters, v):
            if (<object>array).shape != (<object>out).shape or array.dtype != out.dtype:
                raise ValueError("parameters and v must be vectors of the layout")
        if self.is_double:
            self.copy_weights[double](<const double*>cnp.PyArray_DATA(parameters),
                                      <const double*>cnp.PyArray_DATA(v))
        else:
            self.copy_weights[float](<const float*>cnp.PyArray_DATA(parameters),
                                     <const float*>cnp.PyArray_DATA(v))
        for first, behind in zip(blocks, blocks[1:], strict=False):
            start, stop = first, behind
            if self.is_double:
                self.block[double](parameters, v, X, y, weights, start, stop - start, out, NULL)
            else:
                self.block[float](parameters, v, X, y, weights, start, stop - start, out, NULL)
        return out

    cdef void copy_weights(self, const real* w, const real* v) noexcept:
        """W' and V' of each dense operation and each head, row-major."""
        cdef real* scratch = <real*>cnp.PyArray_DATA(<cnp.ndarray>self.scratch)
        cdef Op* op
        cdef ptrdiff_t at, m
        cdef int i
        for i in range(self.n_ops):
            op = &self.ops[i]
            if op.kind not in (DENSE, HEADS):
                continue
            for m in range(op.members if op.kind == HEADS else 1):
                at = m * op.n_in * op.n_out
                transpose(kernels, op.n_in, op.n_out, w + op.w + at, op.n_out,
                          <const ptrdiff_t*>NULL, scratch + op.wt + at, op.n_in)
                transpose(kernels, op.n_in, op.n_out, v + op.w + at, op.n_out,
                          <const ptrdiff_t*>NULL, scratch + op.vt + at, op.n_in)

    cdef int block(self, cnp.ndarray parameters, cnp.ndarray v, cnp.ndarray X, cnp.ndarray y,
                   weights, ptrdiff_t start, ptrdiff_t rows, cnp.ndarray out,
                   real* tag) except -1:
        """Add the products of some rows."""
        cdef const real* x = (<const real*>cnp.PyArray_DATA(X)) + start * self.n_in
        cdef real* scratch = <real*>cnp.PyArray_DATA(<cnp.ndarray>self.scratch)
        cdef const real* targets = NULL
        cdef const int32_t* labels = NULL
        cdef const real* s = NULL
        cdef Way way
        cdef uint64_t float_mode
        if y.ndim == 1:
            labels = (<const int32_t*>cnp.PyArray_DATA(y)) + start
        else:
            targets = (<const real*>cnp.PyArray_DATA(y)) + start * self.n_out
        if weights is not None:
            s = (<const real*>cnp.PyArray_DATA(<cnp.ndarray>weights)) + start
        memset(&way, 0, sizeof(Way))
        way.rows, way.spare = rows, scratch + self.spare
        way.w, way.v = cnp.PyArray_DATA(parameters), cnp.PyArray_DATA(v)
        way.out = cnp.PyArray_DATA(out)
        if self.members > 1:
            if labels != NULL:
                labels = self.repeat_labels(rows, labels)
            targets = self.repeat(rows, self.n_out, targets, scratch + self.targets)
            s = self.repeat(rows, 1, s, scratch + self.weights)
        with nogil:
            float_mode = fnn_keep_subnormals()
            self.forward(&way, x, scratch)
            self.loss_slopes(rows * self.members, targets, labels, s, scratch)
            self.backward(&way, x, scratch)
            fnn_after_keeping_subnormals(float_mode)
        return 0

    # ---- each member has the targets of its row ----

    cdef const real* repeat(self, ptrdiff_t rows, ptrdiff_t n, const real* x,
                            real* out) noexcept nogil:
        """out (rows, members, n) from x (rows, n); NULL stays NULL"""
        cdef ptrdiff_t r, m
        if x == NULL:
            return NULL
        for r in range(rows):
            for m in range(self.members):
                memcpy(out + (r * self.members + m) * n, x + r * n, n * sizeof(real))
        return out

    cdef const int32_t* repeat_labels(self, ptrdiff_t rows, const int32_t* labels) noexcept:
        cdef int32_t* out = <int32_t*>cnp.PyArray_DATA(<cnp.ndarray>self.labels)
        cdef ptrdiff_t r
        for r in range(rows * self.members):
            out[r] = labels[r // self.members]
        return out

    # ---- there ----

    cdef real* buffer(self, int number, int which, real* scratch) noexcept nogil:
        cdef Op* op = &self.ops[number]
        return scratch + op.buffers + which * self.block_rows * op.members * op.n_out

    cdef void lead(self, int number, Way* way, const real* x, real* scratch) noexcept nogil:
        """What an operation reads and writes."""
        cdef int source = self.ops[number].source
        way.z, way.rz = self.buffer(number, Z, scratch), self.buffer(number, RZ, scratch)
        way.d, way.rd = self.buffer(number, D, scratch), self.buffer(number, RD, scratch)
        way.x, way.rx, way.dx, way.rdx = x, NULL, NULL, NULL
        if source >= 0:
            way.x, way.rx = self.buffer(source, A, scratch), self.buffer(source, RA, scratch)
            way.dx, way.rdx = self.buffer(source, D, scratch), self.buffer(source, RD, scratch)

    cdef void forward(self, Way* way, const real* x, real* scratch) noexcept nogil:
        """z, a, f', R{z} and R{a} of every operation."""
        cdef real* z
        cdef real* rz
        cdef real* slope
        cdef real* ra
        cdef Op* op
        cdef ptrdiff_t k, count, rows
        cdef int i
        for i in range(self.n_ops):
            op = &self.ops[i]
            rows = way.rows * op.members
            count = rows * op.n_out
            self.lead(i, way, x, scratch)
            z, rz = <real*>way.z, <real*>way.rz
            if op.kind in (DENSE, HEADS):
                dense_forward(op, way, scratch)
            elif op.kind == LAYER_NORM:
                norm_forward(op, way, scratch)
            elif op.kind == BATCH_NORM:
                batch_norm_forward(op, way, scratch)
            elif op.kind in (SCALE, REPEAT):
                factor_forward(op, way, scratch)
            elif op.kind == PRELU:
                prelu_forward(op, way, scratch)
            elif op.kind == EMBED:
                embed_forward(op, way, scratch)
            elif op.kind == GLU:
                glu_forward(op, way, scratch)
            else:
                memcpy(z, way.x, count * sizeof(real))
                set_or_copy(count, <const real*>way.rx, rz)
            if op.kind == ADD:
                add_rows(kernels, rows, op.n_out, z, op.n_out,
                         x if op.other < 0 else self.buffer(op.other, A, scratch), op.n_out, z,
                         op.n_out)
                if op.other >= 0:
                    add_rows(kernels, rows, op.n_out, rz, op.n_out,
                             self.buffer(op.other, RA, scratch), op.n_out, rz, op.n_out)
            slope, ra = self.buffer(i, SLOPE, scratch), self.buffer(i, RA, scratch)
            memcpy(self.buffer(i, A, scratch), z, count * sizeof(real))
            memcpy(ra, rz, count * sizeof(real))
            for k in range(count):
                slope[k] = 1
            if op.activation in (FNN_ACT_identity, FNN_OUTPUT_SOFTMAX) or (
                    i == self.n_ops - 1 and not self.value_loss):
                continue
            bias_activate(kernels, op.activation, 1, count, z, <const real*>NULL,
                          self.buffer(i, A, scratch))
            activation_backward(kernels, op.activation, count, z, self.buffer(i, A, scratch),
                                slope)
            for k in range(count):
                ra[k] *= slope[k]

    cdef void loss_slopes(self, ptrdiff_t rows, const real* y, const int32_t* labels,
                          const real* s, real* scratch) noexcept nogil:
        """D = dL/da of the outputs, RD = R{dL/da}; a is z where the loss sees that."""
        cdef int last = self.n_ops - 1
        cdef const real* a = self.buffer(last, A, scratch)
        loss_rows(kernels, self.loss, rows, self.n_out, a, y, labels, s, INFINITY, self.h,
                  self.buffer(last, D, scratch))
        bend_loss(self.bowl, rows, self.n_out, a, self.buffer(last, RA, scratch), y, labels, s,
                  self.h, self.buffer(last, RD, scratch))

    # ---- and back ----

    cdef void backward(self, Way* way, const real* x, real* scratch) noexcept nogil:
        """From D and RD of the outputs to those of all operations; R{dW} is added to out."""
        cdef const real* z
        cdef const real* rz
        cdef const real* slope
        cdef real* d
        cdef real* rd
        cdef Op* op
        cdef ptrdiff_t k, count
        cdef int i
        for i in range(self.n_ops - 1, -1, -1):
            op = &self.ops[i]
            count = way.rows * op.members * op.n_out
            d, rd = self.buffer(i, D, scratch), self.buffer(i, RD, scratch)
            if i < self.n_ops - 1 or self.value_loss:
                z, rz = self.buffer(i, Z, scratch), self.buffer(i, RZ, scratch)
                slope = self.buffer(i, SLOPE, scratch)
                for k in range(count):
                    rd[k] *= slope[k]
                    if op.bend != STRAIGHT:
                        rd[k] += <real>(bend_of(op.bend, z[k]) * rz[k] * d[k])
                    d[k] *= slope[k]
            self.lead(i, way, x, scratch)
            if op.kind in (DENSE, HEADS):
                dense_backward(op, way, scratch)
            elif op.kind == LAYER_NORM:
                norm_backward(op, way, scratch)
            elif op.kind == BATCH_NORM:
                batch_norm_backward(op, way, scratch)
            elif op.kind in (SCALE, REPEAT):
                factor_backward(op, way, scratch)
            elif op.kind == PRELU:
                prelu_backward(op, way, scratch)
            elif op.kind == EMBED:
                embed_backward(op, way, scratch)
            elif op.kind == GLU:
                glu_backward(op, way, scratch)
            elif way.dx != NULL:
                memcpy(way.dx, d, count * sizeof(real))
                memcpy(way.rdx, rd, count * sizeof(real))
            self.add_sums(op.sums, way.rows, scratch)

    cdef void add_sums(self, int first, ptrdiff_t rows, real* scratch) noexcept nogil:
        cdef Op* op
        cdef int which
        while first >= 0:
            op = &self.ops[first]
            for which in range(D, RD + 1):
                add_rows(kernels, rows * op.members, op.n_out,
                         self.buffer(op.other, which, scratch), op.n_out,
                         self.buffer(first, which, scratch), op.n_out,
                         self.buffer(op.other, which, scratch), op.n_out)
            first = op.next_sum


cdef void set_or_copy(ptrdiff_t count, const real* x, real* out) noexcept nogil:
    """out = x, or 0 where that is NULL"""
    if x == NULL:
        memset(out, 0, count * sizeof(real))
    else:
        memcpy(out, x, count * sizeof(real))
