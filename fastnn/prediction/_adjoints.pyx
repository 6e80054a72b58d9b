"""J' u: adjoints of the outputs go back to those of the inputs, by the kernels that training goes
back with."""

from libc.string cimport memset

from fastnn.core._kernels cimport (
    FNN_OUTPUT_SOFTMAX,
    add_rows,
    fnn_product,
    kernels,
    layer_norm_backward_rows,
    panel_columns,
    prelu_backward_rows,
    real,
    repeat_back,
    row_major_product,
    row_products,
    run_product,
    scale_columns,
    transpose,
)
from fastnn.core._ops cimport (
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
    INSIDE,
    Op,
    Task,
    call_function,
    copy_rows,
    sweep_of,
    through_activation,
    through_output,
    value_of,
)


cdef ptrdiff_t copy_size(const Op* op, const real* tag) noexcept nogil:
    """Numbers of one W' in panels."""
    cdef ptrdiff_t width = panel_columns(kernels, tag)
    return (op.n_in + width - 1) // width * width * op.n_out


cdef void transpose_weights(const Task* task, real* copies) noexcept nogil:
    """W' (n_out, n_in) of each dense operation and each head, in panels."""
    cdef const real* w
    cdef real* copy
    cdef ptrdiff_t width = panel_columns(kernels, copies), row
    cdef const Op* op
    cdef int i
    for i in range(task.n_ops):
        op = &task.ops[i]
        if op.kind not in (DENSE, HEADS):
            continue
        w, copy = (<const real*>task.parameters) + op.w, copies + op.transposed
        for _ in range(op.members if op.kind == HEADS else 1):
            row = 0
            while row < op.n_in:
                transpose(kernels, min(width, op.n_in - row), op.n_out, w + row * op.n_out,
                          op.n_out, <const ptrdiff_t*>NULL, copy + row * op.n_out, width)
                row += width
            w += op.n_in * op.n_out
            copy += copy_size(op, copies)


# ---- where it begins ----

cdef void seed_given(const Task* task, ptrdiff_t rows, const real* given,
                     real* scratch) noexcept nogil:
    """Adjoints of the last op's z from those of the outputs (rows, n_out), of which each member has
    its share; or those that are given of each member."""
    cdef const Op* last = &task.ops[task.n_ops - 1]
    cdef real* d = sweep_of(task, task.n_ops - 1, scratch)
    cdef ptrdiff_t n = last.n_out, r, m, j
    cdef real share = 1 / <real>last.members
    if task.sweep == INSIDE:
        copy_rows(rows, last.members * n, given, last.members * n, d, last.members * n)
        return
    for r in range(rows):
        for m in range(last.members):
            for j in range(n):
                d[(r * last.members + m) * n + j] = given[r * n + j] * share
    through_output(task, rows, scratch)


cdef ptrdiff_t seed_output(const Task* task, ptrdiff_t rows, ptrdiff_t j,
                           real* scratch) noexcept nogil:
    """Adjoints of the last op's z where that of output j is 1, and all others are 0. Return the
    only column that is not 0, -1 where others are: that of a single network's softmax is left for
    `through_softmax`."""
    cdef const Op* last = &task.ops[task.n_ops - 1]
    cdef real* d = sweep_of(task, task.n_ops - 1, scratch)
    cdef ptrdiff_t r
    cdef real share = 1 / <real>last.members
    memset(d, 0, rows * last.members * last.n_out * sizeof(real))
    for r in range(rows * last.members):
        d[r * last.n_out + j] = share
    if last.activation != FNN_OUTPUT_SOFTMAX:
        through_output(task, rows, scratch)
    elif task.members > 1 and not task.raw:
        through_output(task, rows, scratch)
        return -1
    return j


# ---- back ----

cdef void adjoints(const Task* task, ptrdiff_t rows, const real* x, ptrdiff_t one, real* out,
                   ptrdiff_t ldout, real* scratch, Watch* watch, void* failures) noexcept nogil:
    """From adjoints of the last op's z to those of the inputs, out (rows, n_in; ldout).
    ``one``: the only output whose adjoints are not 0; -1: any may be."""
    cdef const real* parameters = <const real*>task.parameters
    cdef const Op* op
    cdef real* d
    cdef real* dx
    cdef ptrdiff_t ld, count
    cdef int i
    for i in range(task.n_ops - 1, -1, -1):
        op = &task.ops[i]
        count = rows * op.members
        d = sweep_of(task, i, scratch)
        if i < task.n_ops - 1 and (task.few or not op.gated):
            through_activation(task, op, count, d, scratch)
        if op.source < 0:
            dx, ld = out, ldout
        else:
            dx, ld = sweep_of(task, op.source, scratch), op.n_in
        if op.kind == DENSE:
            product_back(task, op, 0, count, d, op.n_out, one if i == task.n_ops - 1 else -1, dx,
                         ld, scratch)
        elif op.kind == HEADS:
            heads_back(task, op, rows, d, one, dx, scratch)
        elif op.kind == EMBED:
            embed_back(op, count, d, parameters + op.w, dx, ld)
        elif op.kind == GLU:
            glu_back(kernels, op.gate, count, op.n_out, d, op.n_out,
                     value_of(task, op.source, x, scratch), op.n_in, dx, ld)
        elif op.kind == LAYER_NORM:
            layer_norm_backward_rows(
                kernels, count, op.n_out, d, op.n_out, value_of(task, op.source, x, scratch),
                op.n_out, scratch + op.stats * task.capacity, parameters + op.w, dx, ld)
        elif op.kind == BATCH_NORM:
            scale_columns(kernels, count, op.n_out, d, op.n_out,
                          (<const real*>task.columns) + op.columns + op.n_out, dx, ld)
        elif op.kind == SCALE:
            scale_columns(kernels, count, op.n_out, d, op.n_out, parameters + op.w, dx, ld)
        elif op.kind == PRELU:
            prelu_backward_rows(kernels, count, op.n_out, d, op.n_out,
                                value_of(task, op.source, x, scratch), op.n_out,
                                parameters + op.w, op.shared, dx, ld)
        elif op.kind == REPEAT:
            repeat_back(kernels, rows, op.members, op.n_out, d, op.n_out, parameters + op.w, dx, ld)
        elif op.kind == PYTHON:
            call_function(op, True, count, value_of(task, op.source, x, scratch), d, op.n_out, dx,
                          ld, watch, failures)
        else:
            copy_rows(count, op.n_out, d, op.n_out, dx, ld)
        add_sums(task, op.sums, rows, out, ldout, scratch)


cdef void heads_back(const Task* task, const Op* op, ptrdiff_t rows, const real* d, ptrdiff_t one,
                     real* dx, real* scratch) noexcept nogil:
    """dx = d W' of each member, whose rows are `members` rows apart."""
    cdef ptrdiff_t m
    for m in range(op.members):
        product_back(task, op, m, rows, d + m * op.n_out, op.members * op.n_out, one,
                     dx + m * op.n_in, op.members * op.n_in, scratch)


cdef void embed_back(const Op* op, ptrdiff_t rows, const real* d, const real* w, real* dx,
                     ptrdiff_t ld) noexcept nogil:
    """dx (rows, n_in; ld) = d W' of each column of the data."""
    cdef ptrdiff_t c, first, units = op.row_units
    for _ in range(rows):
        for c in range(op.n_columns):
            first = op.firsts[c]
            row_products(kernels, op.firsts[c + 1] - first, 1, units, w + first * units, units,
                         d + c * units, units, dx + first, 1)
        d += op.n_out
        dx += ld


cdef void product_back(const Task* task, const Op* op, ptrdiff_t number, ptrdiff_t rows,
                       const real* d, ptrdiff_t ldd, ptrdiff_t one, real* dx, ptrdiff_t ld,
                       real* scratch) noexcept nogil:
    """dx (rows, n_in; ld) = d (rows, n_out; ldd) W', with the W of that number of the op's."""
    cdef const real* w = (<const real*>task.parameters) + op.w + number * op.n_in * op.n_out
    cdef real* column = scratch + (task.per_row + task.widest) * task.capacity
    cdef const Op* below = &task.ops[op.source] if op.source >= 0 else NULL
    cdef fnn_product p
    cdef ptrdiff_t r, j
    if one >= 0:  # the rest of d is 0: one column of W
        for j in range(op.n_in):
            column[j] = w[j * op.n_out + one]
        p = row_major_product(kernels, rows, op.n_in, 1, d + one, ldd, column, op.n_in, dx, ld)
    elif task.few:
        for r in range(rows):
            row_products(kernels, op.n_in, 1, op.n_out, w, op.n_out, d + r * ldd, op.n_out,
                         dx + r * ld, 1)
        return
    else:
        p = row_major_product(
            kernels, rows, op.n_in, op.n_out, d, ldd,
            (<const real*>task.copies) + op.transposed + number * copy_size(op, d), 0, dx, ld)
        p.ldb = p.b_panel
        p.b_panel *= op.n_out
    if below != NULL and below.gated and not task.few:
        p.gate = scratch + below.a * task.capacity
    run_product(kernels, &p, dx)


cdef void add_sums(const Task* task, int first, ptrdiff_t rows, real* out, ptrdiff_t ldout,
                   real* scratch) noexcept nogil:
    """Add the adjoints of the sums, ``first`` and those after it, to those of what they share."""
    cdef const Op* op
    cdef real* dx
    cdef ptrdiff_t ld
    while first >= 0:
        op = &task.ops[first]
        if op.other < 0:
            dx, ld = out, ldout
        else:
            dx, ld = sweep_of(task, op.other, scratch), op.n_out
        add_rows(kernels, rows * op.members, op.n_out, dx, ld, sweep_of(task, first, scratch),
                 op.n_out, dx, ld)
        first = op.next_sum
