"""Products of the Hessian of the loss with a vector of parameters (Pearlmutter 1994).

R{.} is the derivative along the direction v of the parameters. It goes through the forward pass and
then through the way back, layer by layer, beside what it is taken of: R{dz} of the last operation
is the second derivative of the loss, and R{dW} = R{x}' dz + x' R{dz} is what is asked for. Nothing
is approximated, and the cost is about that of two gradients.
"""

cimport numpy as cnp
from libc.math cimport INFINITY, cosh, exp, fabs, tanh
from libc.stdint cimport int32_t, uint64_t
from libc.string cimport memcpy, memset

from fastnn.core._kernels cimport (
    FNN_ACT_identity,
    FNN_N_PARAMETERS,
    FNN_OUTPUT_SOFTMAX,
    activation_backward,
    add_parts,
    add_rows,
    bias_activate,
    fnn_product,
    kernels,
    layer_norm_rows,
    loss_rows,
    real,
    row_major_product,
    run_product,
    softmax_rows,
    sum_columns,
    transpose,
)
from fastnn.core._ops cimport ADD, DENSE, LAYER_NORM, OpKind, op_kind
from fastnn.core._team cimport fnn_after_keeping_subnormals, fnn_keep_subnormals

import numpy as np

from fastnn.core import _kernels
from fastnn.core.memory import ALIGNMENT, aligned_zeros
from fastnn.network.lowering import readers

cnp.import_array()

cdef enum:
    BLOCK_ROWS = 96
    BUFFERS = 8

# second derivatives of activations
cdef enum Bend:
    STRAIGHT                    # 0 wherever there is one
    SIGMOID
    TANH
    ELU
    GELU
    SILU
    SOFTPLUS
    EXP

BENDS = {"identity": STRAIGHT, "relu": STRAIGHT, "leaky_relu": STRAIGHT, "sigmoid": SIGMOID,
         "tanh": TANH, "elu": ELU, "gelu": GELU, "silu": SILU, "softplus": SOFTPLUS, "exp": EXP,
         "softmax": STRAIGHT}

# second derivatives of losses
cdef enum Bowl:
    FLAT                        # straight pieces
    SQUARE
    SOFTMAX_BOWL
    LOGISTIC
    POISSON
    GAMMA
    TWEEDIE
    HUBER
    LOG_COSH

BOWLS = {"absolute_error": FLAT, "quantile": FLAT, "squared_error": SQUARE,
         "cross_entropy": SOFTMAX_BOWL, "binary_cross_entropy": LOGISTIC, "poisson": POISSON,
         "gamma": GAMMA, "tweedie": TWEEDIE, "huber": HUBER, "log_cosh": LOG_COSH}

cdef struct Op:
    OpKind kind
    int activation
    Bend bend
    int source, other, sums, next_sum
    ptrdiff_t n_in, n_out, w, b
    ptrdiff_t buffers           # the first of `BUFFERS` buffers, each (BLOCK_ROWS, n_out)
    ptrdiff_t stats             # (BLOCK_ROWS, 2)
    ptrdiff_t wt, vt            # W' and V' (n_out, n_in)
    double eps

# the buffers of an operation
cdef enum:
    Z
    A
    SLOPE                       # f'(z)
    RZ
    RA
    D                           # dL/da, then dL/dz
    RD
    SPARE


cdef inline double bend_of(Bend bend, double z) noexcept nogil:
    """f''(z)"""
    cdef double p, density
    if bend == TANH:
        p = tanh(z)
        return -2 * p * (1 - p * p)
    if bend == ELU:
        return exp(z) if z < 0 else 0
    if bend == GELU:
        density = exp(-0.5 * z * z) * 0.39894228040143267794
        return density * (2 - z * z) if density > 0 else 0
    if bend == EXP:
        return exp(z)
    if bend == STRAIGHT:
        return 0
    p = 1 / (1 + exp(-fabs(z)))  # 1 - p is exact
    p = p if z >= 0 else 1 - p
    if bend == SIGMOID:
        return p * (1 - p) * (1 - 2 * p)
    if bend == SOFTPLUS:
        return p * (1 - p)
    return p * (1 - p) * (2 + z * (1 - 2 * p)) if fabs(z) < 700 else 0


cdef inline double bowl_of(Bowl bowl, double z, double y, const double* h) noexcept nogil:
    """The second derivative of an elementwise loss."""
    cdef double p
    if bowl == SQUARE:
        return 1
    if bowl == LOGISTIC:
        p = exp(-fabs(z))
        return p / ((1 + p) * (1 + p))
    if bowl == POISSON:
        return exp(z)
    if bowl == GAMMA:
        return y * exp(-z)
    if bowl == TWEEDIE:
        return (2 - h[0]) * exp((2 - h[0]) * z) - (1 - h[0]) * y * exp((1 - h[0]) * z)
    if bowl == HUBER:
        return 1 if fabs(z - y) <= h[0] else 0
    if bowl == LOG_COSH:
        p = cosh(z - y) if fabs(z - y) < 300 else INFINITY
        return 1 / (p * p)
    return 0


cdef class Curvature:
    """The Hessian of a loss of a network, as far as products with it go.

    Parameters
    ----------
    layout : ParameterLayout
    info : BoundLoss
        Of `BOWLS`; the activations are of `BENDS`, the layers of `curvature.KINDS`.
    """

    cdef object layout, scratch, parameters_of_loss
    cdef Op* ops
    cdef object memory
    cdef int n_ops, loss
    cdef Bowl bowl
    cdef bint value_loss, is_double
    cdef double* h
    cdef ptrdiff_t n_in, n_out, size, spare, copies

    def __init__(self, layout, info):
        cdef Op* op
        cdef Op* first
        self.layout = layout
        self.is_double = layout.dtype == np.float64
        self.n_ops = len(layout.ops)
        self.memory = aligned_zeros(self.n_ops * sizeof(Op), np.uint8)
        self.ops = <Op*>cnp.PyArray_DATA(<cnp.ndarray>self.memory)
        self.n_in, self.n_out = layout.spec.n_in, layout.spec.n_out
        self.bowl = BOWLS[info.name]
        self.loss = _kernels.loss_index(info.name)
        self.value_loss = info.link == "identity" and layout.spec.output not in (
            "identity", "softmax")
        if info.parameters:
            self.parameters_of_loss = np.zeros((self.n_out, FNN_N_PARAMETERS))
            for j, row in enumerate(info.parameters):
                self.parameters_of_loss[j, :len(row)] = row
            self.h = <double*>cnp.PyArray_DATA(<cnp.ndarray>self.parameters_of_loss)
        reads, widest, copies = readers(layout.ops), self.n_in, 0
        for i, description in enumerate(layout.ops):
            op = &self.ops[i]
            op.kind = op_kind(description.kind)
            op.activation = _kernels.output_index(description.activation)
            op.bend = BENDS[description.activation]
            op.source, op.other = description.source, description.other
            op.sums = op.next_sum = -1
            op.n_in, op.n_out, op.eps = description.n_in, description.n_out, description.eps
            offsets = layout.offsets(i)
            if offsets:
                op.w, op.b = offsets
            op.buffers = self.take(BUFFERS * BLOCK_ROWS * op.n_out)
            op.stats = self.take(2 * BLOCK_ROWS)
            widest = max(widest, op.n_out)
            if op.kind == DENSE:
                op.wt = self.take(op.n_in * op.n_out)
                op.vt = self.take(op.n_in * op.n_out)
                copies = max(copies, op.n_in * op.n_out)
        for i in range(self.n_ops):
            op = &self.ops[i]
            if op.kind == ADD and op.other >= 0:
                first = &self.ops[<int>reads[op.other][0]]
                op.next_sum, first.sums = first.sums, i
        self.spare = self.take(max(copies, 2 * BLOCK_ROWS * widest))
        self.scratch = aligned_zeros(self.size, layout.dtype)

    cdef ptrdiff_t take(self, ptrdiff_t count):
        cdef ptrdiff_t start = self.size
        self.size += (count + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
        return start

    def product(self, cnp.ndarray parameters not None, cnp.ndarray v not None,
                cnp.ndarray X not None, cnp.ndarray y not None, weights):
        """Return the sum over rows of H v, as the loss's kernel weighs them, in a flat vector.

        All arrays are row-major and of the layout's dtype, labels int32.
        """
        cdef cnp.ndarray out = self.layout.allocate()
        cdef ptrdiff_t start, rows, n_rows = X.shape[0]
        if self.is_double:
            self.copy_weights[double](<const double*>cnp.PyArray_DATA(parameters),
                                      <const double*>cnp.PyArray_DATA(v))
        else:
            self.copy_weights[float](<const float*>cnp.PyArray_DATA(parameters),
                                     <const float*>cnp.PyArray_DATA(v))
        for start in range(0, n_rows, BLOCK_ROWS):
            rows = min(<ptrdiff_t>BLOCK_ROWS, n_rows - start)
            if self.is_double:
                self.block[double](parameters, v, X, y, weights, start, rows, out, NULL)
            else:
                self.block[float](parameters, v, X, y, weights, start, rows, out, NULL)
        return out

    cdef void copy_weights(self, const real* w, const real* v) noexcept:
        """W' and V' of each dense operation, row-major."""
        cdef real* scratch = <real*>cnp.PyArray_DATA(<cnp.ndarray>self.scratch)
        cdef Op* op
        cdef int i
        for i in range(self.n_ops):
            op = &self.ops[i]
            if op.kind == DENSE:
                transpose(kernels, op.n_in, op.n_out, w + op.w, op.n_out, <const ptrdiff_t*>NULL,
                          scratch + op.wt, op.n_in)
                transpose(kernels, op.n_in, op.n_out, v + op.w, op.n_out, <const ptrdiff_t*>NULL,
                          scratch + op.vt, op.n_in)

    cdef int block(self, cnp.ndarray parameters, cnp.ndarray v, cnp.ndarray X, cnp.ndarray y,
                   weights, ptrdiff_t start, ptrdiff_t rows, cnp.ndarray out,
                   real* tag) except -1:
        """Add the products of some rows."""
        cdef const real* w = <const real*>cnp.PyArray_DATA(parameters)
        cdef const real* direction = <const real*>cnp.PyArray_DATA(v)
        cdef const real* x = (<const real*>cnp.PyArray_DATA(X)) + start * self.n_in
        cdef real* scratch = <real*>cnp.PyArray_DATA(<cnp.ndarray>self.scratch)
        cdef real* found = <real*>cnp.PyArray_DATA(out)
        cdef const real* targets = NULL
        cdef const int32_t* labels = NULL
        cdef const real* s = NULL
        cdef uint64_t float_mode
        if y.ndim == 1:
            labels = (<const int32_t*>cnp.PyArray_DATA(y)) + start
        else:
            targets = (<const real*>cnp.PyArray_DATA(y)) + start * self.n_out
        if weights is not None:
            s = (<const real*>cnp.PyArray_DATA(<cnp.ndarray>weights)) + start
        with nogil:
            float_mode = fnn_keep_subnormals()
            self.forward(rows, x, w, direction, scratch)
            self.bend_loss(rows, targets, labels, s, scratch)
            self.backward(rows, x, w, direction, scratch, found)
            fnn_after_keeping_subnormals(float_mode)
        return 0

    cdef real* buffer(self, int number, int which, real* scratch) noexcept nogil:
        cdef Op* op = &self.ops[number]
        return scratch + op.buffers + which * BLOCK_ROWS * op.n_out

    cdef void forward(self, ptrdiff_t rows, const real* x, const real* w, const real* v,
                      real* scratch) noexcept nogil:
        """z, a, f', R{z} and R{a} of every operation."""
        cdef const real* a
        cdef const real* ra
        cdef real* z
        cdef real* rz
        cdef real* slope
        cdef Op* op
        cdef fnn_product p
        cdef ptrdiff_t k, count
        cdef int i
        for i in range(self.n_ops):
            op = &self.ops[i]
            count = rows * op.n_out
            a = x if op.source < 0 else self.buffer(op.source, A, scratch)
            ra = NULL if op.source < 0 else self.buffer(op.source, RA, scratch)
            z, rz = self.buffer(i, Z, scratch), self.buffer(i, RZ, scratch)
            slope = self.buffer(i, SLOPE, scratch)
            if op.kind == DENSE:
                p = row_major_product(kernels, rows, op.n_out, op.n_in, a, op.n_in, w + op.w,
                                      op.n_out, z, op.n_out)
                p.bias = w + op.b
                run_product(kernels, &p, z)
                p.b, p.bias, p.c = v + op.w, v + op.b, rz
                run_product(kernels, &p, z)
                if ra != NULL:
                    p.a, p.b, p.bias, p.c = ra, w + op.w, NULL, slope
                    run_product(kernels, &p, z)
                    add_rows(kernels, rows, op.n_out, rz, op.n_out, slope, op.n_out, rz, op.n_out)
            elif op.kind == LAYER_NORM:
                self.norm_forward(op, rows, a, ra, w, v, z, rz, scratch)
            elif op.kind == ADD:
                add_rows(kernels, rows, op.n_out, a, op.n_out,
                         x if op.other < 0 else self.buffer(op.other, A, scratch), op.n_out, z,
                         op.n_out)
                set_or_copy(count, ra, rz)
                if op.other >= 0:
                    add_rows(kernels, rows, op.n_out, rz, op.n_out,
                             self.buffer(op.other, RA, scratch), op.n_out, rz, op.n_out)
            else:
                memcpy(z, a, count * sizeof(real))
                set_or_copy(count, ra, rz)
            memcpy(self.buffer(i, A, scratch), z, count * sizeof(real))
            memcpy(self.buffer(i, RA, scratch), rz, count * sizeof(real))
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
                self.buffer(i, RA, scratch)[k] *= slope[k]

    cdef void bend_loss(self, ptrdiff_t rows, const real* y, const int32_t* labels, const real* s,
                        real* scratch) noexcept nogil:
        """D = dL/da of the outputs, RD = R{dL/da}; a is z where the loss sees that."""
        cdef int last = self.n_ops - 1
        cdef const real* a = self.buffer(last, A, scratch)
        cdef const real* ra = self.buffer(last, RA, scratch)
        cdef real* rd = self.buffer(last, RD, scratch)
        cdef ptrdiff_t n = self.n_out, r, j
        cdef double mean, weight
        loss_rows(kernels, self.loss, rows, n, a, y, labels, s, INFINITY, self.h,
                  self.buffer(last, D, scratch))
        if self.bowl == SOFTMAX_BOWL:
            softmax_rows(kernels, rows, n, a, rd)
        for r in range(rows):
            weight = s[r] if s != NULL else 1
            if self.bowl == SOFTMAX_BOWL:  # diag(p) - p p'
                mean = 0
                for j in range(n):
                    mean += rd[j] * ra[j]
                for j in range(n):
                    rd[j] = <real>(weight * rd[j] * (ra[j] - mean))
            else:
                for j in range(n):
                    rd[j] = <real>(weight * ra[j] * bowl_of(
                        self.bowl, a[j], y[j] if y != NULL else 0,
                        self.h + j * FNN_N_PARAMETERS if self.h != NULL else NULL))
            a, ra, rd = a + n, ra + n, rd + n
            if y != NULL:
                y += n

    cdef void backward(self, ptrdiff_t rows, const real* x, const real* w, const real* v,
                       real* scratch, real* out) noexcept nogil:
        """From D and RD of the outputs to those of all operations; R{dW} is added to out."""
        cdef const real* a
        cdef const real* ra
        cdef const real* z
        cdef const real* rz
        cdef const real* slope
        cdef real* d
        cdef real* rd
        cdef real* dx
        cdef real* rdx
        cdef Op* op
        cdef ptrdiff_t k, count
        cdef int i
        for i in range(self.n_ops - 1, -1, -1):
            op = &self.ops[i]
            count = rows * op.n_out
            d, rd = self.buffer(i, D, scratch), self.buffer(i, RD, scratch)
            if i < self.n_ops - 1 or self.value_loss:
                z, rz = self.buffer(i, Z, scratch), self.buffer(i, RZ, scratch)
                slope = self.buffer(i, SLOPE, scratch)
                for k in range(count):
                    rd[k] *= slope[k]
                    if op.bend != STRAIGHT:
                        rd[k] += <real>(bend_of(op.bend, z[k]) * rz[k] * d[k])
                    d[k] *= slope[k]
            a = x if op.source < 0 else self.buffer(op.source, A, scratch)
            ra = NULL if op.source < 0 else self.buffer(op.source, RA, scratch)
            dx = NULL if op.source < 0 else self.buffer(op.source, D, scratch)
            rdx = NULL if op.source < 0 else self.buffer(op.source, RD, scratch)
            if op.kind == DENSE:
                self.dense_backward(op, rows, a, ra, d, rd, dx, rdx, scratch, out)
            elif op.kind == LAYER_NORM:
                self.norm_backward(op, rows, a, ra, d, rd, w, v, dx, rdx, scratch, out)
            elif dx != NULL:
                memcpy(dx, d, count * sizeof(real))
                memcpy(rdx, rd, count * sizeof(real))
            self.add_sums(op.sums, rows, scratch)

    cdef void add_sums(self, int first, ptrdiff_t rows, real* scratch) noexcept nogil:
        cdef Op* op
        cdef int which
        while first >= 0:
            op = &self.ops[first]
            for which in range(D, RD + 1):
                add_rows(kernels, rows, op.n_out, self.buffer(op.other, which, scratch), op.n_out,
                         self.buffer(first, which, scratch), op.n_out,
                         self.buffer(op.other, which, scratch), op.n_out)
            first = op.next_sum

    # ---- dense ----

    cdef void dense_backward(self, Op* op, ptrdiff_t rows, const real* a, const real* ra, real* d,
                             real* rd, real* dx, real* rdx, real* scratch,
                             real* out) noexcept nogil:
        cdef ptrdiff_t n_in = op.n_in, n_out = op.n_out
        cdef real* room = scratch + self.spare
        cdef fnn_product p = row_major_product(kernels, n_in, n_out, rows, a, n_in, rd, n_out, room,
                                               n_out)
        p.a_by_columns = True
        run_product(kernels, &p, room)  # x' R{dz}
        add_parts(kernels, n_in * n_out, 1, room, 0, True, out + op.w)
        if ra != NULL:
            p.a, p.b = ra, d
            run_product(kernels, &p, room)  # R{x}' dz
            add_parts(kernels, n_in * n_out, 1, room, 0, True, out + op.w)
        sum_columns(kernels, rows, n_out, rd, n_out, room)
        add_parts(kernels, n_out, 1, room, 0, True, out + op.b)
        if dx == NULL:
            return
        p = row_major_product(kernels, rows, n_in, n_out, d, n_out, scratch + op.wt, n_in, dx, n_in)
        run_product(kernels, &p, room)
        p.a, p.c = rd, rdx
        run_product(kernels, &p, room)
        p.a, p.b, p.c = d, scratch + op.vt, room
        run_product(kernels, &p, room)
        add_rows(kernels, rows, n_in, rdx, n_in, room, n_in, rdx, n_in)

    # ---- layer norm: x^ = (x - mean) rstd, core(u) = rstd (u - mean(u) - x^ mean(x^ u)) ----

    cdef void norm_forward(self, Op* op, ptrdiff_t rows, const real* x, const real* rx,
                           const real* w, const real* v, real* z, real* rz,
                           real* scratch) noexcept nogil:
        """R{z} = gain core(R{x}) + R{gain} x^ + R{bias}"""
        cdef const real* gain = w + op.w
        cdef ptrdiff_t n = op.n_out, j
        cdef real* stats = scratch + op.stats
        cdef double inner
        layer_norm_rows(kernels, rows, n, x, n, gain, w + op.b, op.eps, z, n, stats)
        for _ in range(rows):
            for j in range(n):
                inner = (<double>x[j] - stats[0]) * stats[1]
                rz[j] = <real>(v[op.w + j] * inner + v[op.b + j])
            if rx != NULL:
                core_row(n, x, stats, rx, gain, rz)
                rx += n
            x, rz, stats = x + n, rz + n, stats + 2

    cdef void norm_backward(self, Op* op, ptrdiff_t rows, const real* x, const real* rx,
                            const real* d, const real* rd, const real* w, const real* v, real* dx,
                            real* rdx, real* scratch, real* out) noexcept nogil:
        """dx = core(gain dz), and its R{.}"""
        cdef const real* gain = w + op.w
        cdef const real* rgain = v + op.w
        cdef const real* stats = scratch + op.stats
        cdef ptrdiff_t n = op.n_out, j
        cdef double rstd, m, t, u, ru, xhat, rxhat
        cdef double mean_rx, mean_x_rx, mean_u, mean_ru, mean_x_u, mean_x_ru, mean_rx_u
        for _ in range(rows):
            m, rstd = stats[0], stats[1]
            mean_rx = mean_x_rx = mean_u = mean_ru = mean_x_u = mean_x_ru = mean_rx_u = 0
            for j in range(n):
                xhat, t = (x[j] - m) * rstd, rx[j] if rx != NULL else 0
                u, ru = gain[j] * <double>d[j], gain[j] * <double>rd[j] + rgain[j] * <double>d[j]
                mean_rx += t / n
                mean_x_rx += xhat * t / n
                mean_u += u / n
                mean_ru += ru / n
                mean_x_u += xhat * u / n
                mean_x_ru += xhat * ru / n
            for j in range(n):
                xhat, t = (x[j] - m) * rstd, rx[j] if rx != NULL else 0
                rxhat = rstd * (t - mean_rx - xhat * mean_x_rx)
                mean_rx_u += rxhat * gain[j] * d[j] / n
                out[op.w + j] += <real>(rd[j] * xhat + d[j] * rxhat)
                out[op.b + j] += rd[j]
            if dx != NULL:
                for j in range(n):
                    xhat, t = (x[j] - m) * rstd, rx[j] if rx != NULL else 0
                    rxhat = rstd * (t - mean_rx - xhat * mean_x_rx)
                    u = gain[j] * <double>d[j]
                    ru = gain[j] * <double>rd[j] + rgain[j] * <double>d[j]
                    dx[j] = <real>(rstd * (u - mean_u - xhat * mean_x_u))
                    rdx[j] = <real>(
                        -rstd * mean_x_rx * rstd * (u - mean_u - xhat * mean_x_u)
                        + rstd * (ru - mean_ru - rxhat * mean_x_u
                                  - xhat * (mean_rx_u + mean_x_ru)))
                dx, rdx = dx + n, rdx + n
            x, d, rd, stats = x + n, d + n, rd + n, stats + 2
            if rx != NULL:
                rx += n


cdef void core_row(ptrdiff_t n, const real* x, const real* stats, const real* u, const real* gain,
                   real* out) noexcept nogil:
    """out (n,) += gain core(u)"""
    cdef double m = stats[0], rstd = stats[1], mean = 0, inner = 0
    cdef ptrdiff_t j
    for j in range(n):
        mean += u[j]
        inner += u[j] * ((x[j] - m) * rstd)
    for j in range(n):
        out[j] += <real>(gain[j] * rstd * (u[j] - mean / n - (x[j] - m) * rstd * inner / n))


cdef void set_or_copy(ptrdiff_t count, const real* x, real* out) noexcept nogil:
    """out = x, or 0 where that is NULL"""
    if x == NULL:
        memset(out, 0, count * sizeof(real))
    else:
        memcpy(out, x, count * sizeof(real))
