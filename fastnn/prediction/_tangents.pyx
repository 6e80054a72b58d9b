"""J v: tangents of the inputs go forward to those of the outputs."""

from libc.string cimport memcpy

from fastnn.core._kernels cimport (
    add_rows,
    fnn_product,
    kernels,
    layer_norm_backward_rows,
    mean_members,
    prelu_backward_rows,
    real,
    repeat_rows,
    row_major_product,
    run_product,
    scale_columns,
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
from fastnn.core._rows cimport glu_back
from fastnn.core._signals cimport Watch
from fastnn.prediction._sweeps cimport (
    Op,
    Task,
    call_function,
    embed_product,
    sweep_of,
    through_activation,
    through_output,
    value_of,
)


cdef const real* tangents(const Task* task, ptrdiff_t rows, const real* x, const real* given,
                          ptrdiff_t one, real* scratch, Watch* watch,
                          void* failures) noexcept nogil:
    """From tangents of the inputs (rows, n_in) to those of the outputs (rows, n_out), which are
    returned. ``one``: the input whose tangents are 1, all others being 0; -1: any tangents."""
    cdef const real* parameters = <const real*>task.parameters
    cdef const real* t
    cdef const real* other
    cdef real* dz
    cdef const Op* op = task.ops
    cdef fnn_product p
    cdef int i
    cdef ptrdiff_t r, count
    cdef bint gated
    for i in range(task.n_ops):
        op = &task.ops[i]
        count = rows * op.members
        t = given if op.source < 0 else sweep_of(task, op.source, scratch)
        dz = sweep_of(task, i, scratch)
        gated = False
        if op.kind == DENSE and op.source < 0 and one >= 0:
            for r in range(count):
                memcpy(dz + r * op.n_out, parameters + op.w + one * op.n_out,
                       op.n_out * sizeof(real))
        elif op.kind == DENSE:
            p = row_major_product(kernels, count, op.n_out, op.n_in, t, op.n_in,
                                  parameters + op.w, op.n_out, dz, op.n_out)
            gated = op.relu and not (task.raw and i == task.n_ops - 1)
            p.gate = scratch + op.a * task.capacity if gated else NULL
            run_product(kernels, &p, dz)
        elif op.kind == LAYER_NORM:
            norm_tangents(task, op, count, value_of(task, op.source, x, scratch), t, dz, scratch)
        elif op.kind == BATCH_NORM:
            scale_columns(kernels, count, op.n_out, t, op.n_out,
                          (<const real*>task.columns) + op.columns + op.n_out, dz, op.n_out)
        elif op.kind == SCALE:
            scale_columns(kernels, count, op.n_out, t, op.n_out, parameters + op.w, dz, op.n_out)
        elif op.kind == PRELU:
            prelu_backward_rows(kernels, count, op.n_out, t, op.n_out,
                                value_of(task, op.source, x, scratch), op.n_out,
                                parameters + op.w, op.shared, dz, op.n_out)
        elif op.kind == ADD:
            other = given if op.other < 0 else sweep_of(task, op.other, scratch)
            add_rows(kernels, count, op.n_out, t, op.n_out, other, op.n_out, dz, op.n_out)
        elif op.kind == PYTHON:
            call_function(op, True, count, value_of(task, op.source, x, scratch), t,
                          op.n_out, dz, op.n_out, watch, failures)
        elif op.kind == REPEAT:
            repeat_rows(kernels, rows, op.members, op.n_out, t, op.n_out, parameters + op.w, dz,
                        op.n_out)
        elif op.kind == HEADS:
            heads_tangents(op, rows, parameters + op.w, t, dz)
        elif op.kind == EMBED:
            embed_product(op, count, t, parameters + op.w, <const real*>NULL, dz)
        elif op.kind == GLU:
            gate_tangents(task, op, count, value_of(task, op.source, x, scratch), t, dz, scratch)
        else:
            memcpy(dz, t, count * op.n_out * sizeof(real))
        if gated:
            continue
        if i == task.n_ops - 1:
            through_output(task, rows, scratch)
        else:
            through_activation(task, op, count, dz, scratch)
    dz = sweep_of(task, task.n_ops - 1, scratch)
    if task.members == 1:
        return dz
    mean_members(kernels, rows, task.members, op.n_out, dz, scratch + task.mean * task.capacity)
    return scratch + task.mean * task.capacity


cdef void norm_tangents(const Task* task, const Op* op, ptrdiff_t rows, const real* x,
                        const real* t, real* dz, real* scratch) noexcept nogil:
    """The derivative of (x - mean) / deviation is symmetric: dz = gain times what an adjoint
    becomes that a gain of 1 leaves as it is."""
    cdef const real* gain = (<const real*>task.parameters) + op.w
    cdef real* ones = scratch + (task.per_row + task.widest) * task.capacity
    cdef ptrdiff_t r, j
    for j in range(op.n_out):
        ones[j] = 1
    layer_norm_backward_rows(kernels, rows, op.n_out, t, op.n_out, x, op.n_out,
                             scratch + op.stats * task.capacity, ones, dz, op.n_out)
    for r in range(rows):
        for j in range(op.n_out):
            dz[r * op.n_out + j] *= gain[j]


cdef void gate_tangents(const Task* task, const Op* op, ptrdiff_t rows, const real* x,
                        const real* t, real* dz, real* scratch) noexcept nogil:
    """dz = f(v) du + u f'(v) dv; the factors are what the adjoint 1 becomes."""
    cdef real* ones = scratch + (task.per_row + task.widest) * task.capacity
    cdef real* factors = ones + task.widest
    cdef ptrdiff_t n = op.n_out, j
    for j in range(n):
        ones[j] = 1
    for _ in range(rows):
        glu_back(kernels, op.gate, 1, n, ones, n, x, op.n_in, factors, op.n_in)
        for j in range(n):
            dz[j] = factors[j] * t[j] + factors[n + j] * t[n + j]
        x, t, dz = x + op.n_in, t + op.n_in, dz + n


cdef void heads_tangents(const Op* op, ptrdiff_t rows, const real* w, const real* t,
                         real* dz) noexcept nogil:
    """dz = t W of each member, whose rows are `members` rows apart."""
    cdef ptrdiff_t m
    cdef fnn_product p
    for m in range(op.members):
        p = row_major_product(kernels, rows, op.n_out, op.n_in, t + m * op.n_in,
                              op.members * op.n_in, w + m * op.n_in * op.n_out, op.n_out,
                              dz + m * op.n_out, op.members * op.n_out)
        run_product(kernels, &p, dz)
