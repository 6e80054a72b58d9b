"""The way there, all values kept, and what both kinds of sweeps have in common.

``rows`` are those of X in what goes through the network, and those of its value in what is told of
one operation: inside of an ensemble there are as many for each row of X as it has members.
"""

cimport numpy as cnp
from libc.math cimport sqrt
from libc.string cimport memcpy

from fastnn.core._arrays cimport apply_rows
from fastnn.core._kernels cimport (
    FNN_ACT_identity,
    FNN_OUTPUT_SOFTMAX,
    activation_backward,
    add_rows,
    batch_norm_rows,
    bias_activate,
    fnn_product,
    kernels,
    layer_norm_rows,
    prelu_rows,
    real,
    repeat_rows,
    row_major_product,
    run_product,
    scale_columns,
    softmax_rows,
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
    PYTHON,
    REPEAT,
    SCALE,
)
from fastnn.core._rows cimport glu_rows
from fastnn.core._signals cimport Watch
from fastnn.core._team cimport FNN_STORE

cnp.import_array()


cdef void set_columns(const Task* task, real* columns) noexcept nogil:
    """1 / deviation and gain / deviation of each BATCH_NORM, from its running averages."""
    cdef const real* parameters = <const real*>task.parameters
    cdef const Op* op
    cdef real* inverse
    cdef ptrdiff_t j
    cdef int i
    for i in range(task.n_ops):
        op = &task.ops[i]
        if op.kind != BATCH_NORM:
            continue
        inverse = columns + op.columns
        for j in range(op.n_out):
            inverse[j] = <real>(1 / sqrt(<double>parameters[op.variance + j] + op.eps))
            inverse[op.n_out + j] = parameters[op.w + j] * inverse[j]


cdef void forward(const Task* task, ptrdiff_t rows, const real* x, real* scratch, Watch* watch,
                  void* failures) noexcept nogil:
    """Fill z and a of every operation."""
    cdef const real* parameters = <const real*>task.parameters
    cdef const real* a
    cdef real* z
    cdef const Op* op
    cdef fnn_product p
    cdef ptrdiff_t count
    cdef int i
    for i in range(task.n_ops):
        op = &task.ops[i]
        count = rows * op.members
        a = value_of(task, op.source, x, scratch)
        z = scratch + op.z * task.capacity
        if op.kind == DENSE:
            p = row_major_product(kernels, count, op.n_out, op.n_in, a, op.n_in,
                                  parameters + op.w, op.n_out, z, op.n_out)
            p.bias, p.relu = parameters + op.b, op.relu
            run_product(kernels, &p, z)
        elif op.kind == LAYER_NORM:
            layer_norm_rows(kernels, count, op.n_out, a, op.n_out, parameters + op.w,
                            parameters + op.b, op.eps, z, op.n_out,
                            scratch + op.stats * task.capacity)
        elif op.kind == BATCH_NORM:
            batch_norm_rows(kernels, count, op.n_out, a, op.n_out, parameters + op.w,
                            parameters + op.b, parameters + op.mean,
                            (<const real*>task.columns) + op.columns, z, op.n_out)
        elif op.kind == SCALE:
            scale_columns(kernels, count, op.n_out, a, op.n_out, parameters + op.w, z, op.n_out)
        elif op.kind == PRELU:
            prelu_rows(kernels, count, op.n_out, a, op.n_out, parameters + op.w, op.shared, z,
                       op.n_out)
        elif op.kind == ADD:
            add_rows(kernels, count, op.n_out, a, op.n_out,
                     value_of(task, op.other, x, scratch), op.n_out, z, op.n_out)
        elif op.kind == PYTHON:
            call_function(op, False, count, a, <const real*>NULL, 0, z, op.n_out, watch, failures)
        elif op.kind == REPEAT:
            repeat_rows(kernels, rows, op.members, op.n_out, a, op.n_out, parameters + op.w, z,
                        op.n_out)
        elif op.kind == HEADS:
            heads(op, rows, parameters, a, z)
        elif op.kind == EMBED:
            embed_product(op, count, a, parameters + op.w, parameters + op.b, z)
        elif op.kind == GLU:
            glu_rows(kernels, op.gate, count, op.n_out, a, op.n_in, z, op.n_out)
        else:
            memcpy(z, a, count * op.n_out * sizeof(real))
        if op.activation == FNN_OUTPUT_SOFTMAX:
            softmax_rows(kernels, count, op.n_out, z, z)
        elif not op.relu and op.activation != FNN_ACT_identity:
            bias_activate(kernels, op.activation, 1, count * op.n_out, z, <const real*>NULL,
                          scratch + op.a * task.capacity)


cdef void heads(const Op* op, ptrdiff_t rows, const real* parameters, const real* x,
                real* z) noexcept nogil:
    """z = x W + b of each member, whose rows are `members` rows apart."""
    cdef ptrdiff_t m
    cdef fnn_product p
    for m in range(op.members):
        p = row_major_product(kernels, rows, op.n_out, op.n_in, x + m * op.n_in,
                              op.members * op.n_in, parameters + op.w + m * op.n_in * op.n_out,
                              op.n_out, z + m * op.n_out, op.members * op.n_out)
        p.bias = parameters + op.b + m * op.n_out
        run_product(kernels, &p, z)


cdef void embed_product(const Op* op, ptrdiff_t rows, const real* x, const real* w,
                        const real* b, real* z) noexcept nogil:
    """z (rows, n_out) = x W + b of each column of the data, which are side by side; b may be NULL.
    """
    cdef ptrdiff_t c, first, units = op.row_units
    cdef fnn_product p
    for c in range(op.n_columns):
        first = op.firsts[c]
        p = row_major_product(kernels, rows, units, op.firsts[c + 1] - first, x + first, op.n_in,
                              w + first * units, units, z + c * units, op.n_out)
        p.bias = b + c * units if b != NULL else NULL
        run_product(kernels, &p, z)


cdef void through_output(const Task* task, ptrdiff_t rows, real* scratch) noexcept nogil:
    """From adjoints of the outputs to those of the last op's z, or tangents the other way."""
    cdef int number = task.n_ops - 1
    cdef const Op* last = &task.ops[number]
    cdef real* d = sweep_of(task, number, scratch)
    cdef const real* p = scratch + last.a * task.capacity
    cdef ptrdiff_t j
    cdef real mean
    if task.raw:
        return
    rows *= last.members
    if last.activation != FNN_OUTPUT_SOFTMAX:
        through_activation(task, last, rows, d, scratch)
        return
    for _ in range(rows):  # diag(p) - p p' is symmetric
        mean = 0
        for j in range(last.n_out):
            mean += p[j] * d[j]
        for j in range(last.n_out):
            d[j] = p[j] * (d[j] - mean)
        d += last.n_out
        p += last.n_out


cdef void through_activation(const Task* task, const Op* op, ptrdiff_t rows, real* d,
                             real* scratch) noexcept nogil:
    """d *= f'(z)"""
    if op.activation != FNN_ACT_identity:
        activation_backward(kernels, op.activation, rows * op.n_out,
                            scratch + op.z * task.capacity, scratch + op.a * task.capacity, d)


cdef void copy_rows(ptrdiff_t rows, ptrdiff_t n, const real* x, ptrdiff_t ldx, real* out,
                    ptrdiff_t ldout) noexcept nogil:
    """out (rows, n; ldout) = x (rows, n; ldx)"""
    cdef ptrdiff_t r
    for r in range(rows):
        memcpy(out + r * ldout, x + r * ldx, n * sizeof(real))


cdef void call_function(const Op* op, bint slope, ptrdiff_t rows, const real* x,
                        const real* factor, ptrdiff_t ldf, real* out, ptrdiff_t ldout, Watch* watch,
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
