"""The row-major step: a sample is a row. Any order of operations.

A shard takes its rows forward and backward as far as dz of every operation; buffers hold the whole
batch. Then each chunk of parameters gets its gradient from all rows at once, and its update while
that gradient is in the cache: no thread writes what another one owns, and nothing is added up from
partial gradients.
"""

from libc.stdint cimport int32_t, int64_t

from fastnn.core._kernels cimport (
    activation_backward,
    bias_activate,
    dropout_rows,
    fnn_dropout,
    loss_rows,
    real,
    sum_columns,
)
from fastnn.core._ops cimport (
    BATCH_NORM,
    COPY,
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
from fastnn.training._gather cimport (
    dense_x,
    gather_labels,
    gather_rows,
    gather_x,
    mix_targets,
    mix_weights,
    sum_weights,
)
from fastnn.training._job cimport BIAS, LOSS, UPDATE, WEIGHT, Chunk, Job, Op
from fastnn.training._ops_add cimport add_forward, add_gradients, copy_rows
from fastnn.training._ops_batch_norm cimport (
    batch_norm_backward,
    batch_norm_forward,
    batch_norm_gradient,
)
from fastnn.training._ops_dense cimport (
    copy_weights,
    dense_backward,
    dense_forward,
    dense_gradient,
    pack_gradient,
)
from fastnn.training._ops_embed cimport embed_forward, embed_gradient
from fastnn.training._ops_glu cimport glu_backward, glu_forward
from fastnn.training._ops_members cimport (
    copy_heads,
    heads_backward,
    heads_forward,
    heads_gradient,
    repeat_backward,
    repeat_forward,
    repeat_gradient,
    repeat_labels,
    repeat_targets,
)
from fastnn.training._ops_prelu cimport prelu_backward, prelu_forward, prelu_gradient
from fastnn.training._ops_python cimport python_backward, python_forward
from fastnn.training._ops_scale cimport scale_backward, scale_forward, scale_gradient
from fastnn.training._python_loss cimport python_loss
from fastnn.training._ops_lookup cimport (
    copy_table,
    is_looked_up,
    lookup_forward,
    lookup_gradient,
)
from fastnn.training._ops_norm cimport norm_backward, norm_forward, norm_gradient


cdef const real* value_of(const Job* job, int number, ptrdiff_t start, ptrdiff_t row0,
                          const real* scratch, ptrdiff_t* ld) noexcept nogil:
    """What the readers of an operation read, from row row0 of the batch on, and its row length; of
    number -1 the inputs, whose row start.. of the epoch that is."""
    cdef const Op* op
    if number < 0:
        ld[0] = job.n_in
        return dense_x(job, start, row0, scratch)
    op = &job.ops[number]
    ld[0] = op.ld
    if op.drops and job.mode == UPDATE:
        return scratch + op.dropped + row0 * op.ld
    return scratch + op.a + row0 * op.ld


cdef void drop_units(const Job* job, int64_t step, const Op* op, ptrdiff_t rows, ptrdiff_t row0,
                     const real* x, real* out) noexcept nogil:
    """out (rows, ld) = x masked and scaled"""
    cdef fnn_dropout drop = op.dropout
    drop.step = step
    dropout_rows(job.k, rows, op.ld, row0, &drop, x, out)


cdef void forward(const Job* job, int64_t step, ptrdiff_t start, ptrdiff_t rows, ptrdiff_t row0,
                  real* scratch) noexcept nogil:
    """Fill z, a (and the dropped a) of every operation; of the last one raw outputs z (rows,
    n_out), and a where the loss sees the activated output. Rows are those of the data; of an
    ensemble REPEAT and what comes after it have `members` for each."""
    cdef const real* x
    cdef const real* y
    cdef ptrdiff_t ldx, ldy, at
    cdef const Op* op
    cdef int i
    for i in range(job.n_ops):
        op = &job.ops[i]
        x = value_of(job, op.source, start, row0, scratch, &ldx)
        at = row0 * op.ld
        if op.kind == DENSE and op.source < 0 and job.lookup.on:
            lookup_forward(job, op, start, rows, row0, scratch)
        elif op.kind == DENSE:
            dense_forward(job, op, rows, row0, x, ldx, scratch)
        elif op.kind == LAYER_NORM:
            norm_forward(job, op, rows, row0, x, ldx, scratch)
        elif op.kind == COPY:
            copy_rows(rows, op.n_out, x, ldx, scratch + op.z + at, op.ld)
        elif op.kind == REPEAT:
            repeat_forward(job, op, rows, row0, x, ldx, scratch)
            rows *= job.members
            row0 *= job.members
            at = row0 * op.ld
        elif op.kind == HEADS:
            heads_forward(job, op, rows, row0, x, ldx, scratch)
        elif op.kind == PYTHON:
            python_forward(<Job*>job, op, rows, row0, x, ldx, scratch)
        elif op.kind == BATCH_NORM:
            batch_norm_forward(job, op, rows, row0, x, ldx, scratch)
        elif op.kind == SCALE:
            scale_forward(job, op, rows, row0, x, ldx, scratch)
        elif op.kind == PRELU:
            prelu_forward(job, op, rows, row0, x, ldx, scratch)
        elif op.kind == EMBED:
            embed_forward(job, op, start, rows, row0, x, ldx, scratch)
        elif op.kind == GLU:
            glu_forward(job, op, rows, row0, x, ldx, scratch)
        else:
            y = value_of(job, op.other, start, row0, scratch, &ldy)
            add_forward(job, op, rows, row0, x, ldx, y, ldy, scratch)
        if op == job.last and not job.value_loss:
            return
        if not op.relu:
            bias_activate(job.k, op.activation, rows, op.ld, scratch + op.z + at,
                          <const real*>NULL, scratch + op.a + at)
        if op.drops and job.mode == UPDATE:
            drop_units(job, step, op, rows, row0, scratch + op.a + at, scratch + op.dropped + at)


cdef void backward(const Job* job, int64_t step, ptrdiff_t start, ptrdiff_t rows, ptrdiff_t row0,
                   real* scratch) noexcept nogil:
    """From dz of the last operation, whose rows and row0 are given, to dz of the others."""
    cdef const Op* op
    cdef const Op* below
    cdef const real* x
    cdef real* dz
    cdef ptrdiff_t at, ldx
    cdef int i
    for i in range(job.n_ops - 1, -1, -1):
        op = &job.ops[i]
        at = row0 * op.ld
        dz = scratch + op.dz + at
        if op != job.last:  # until now it is the gradient with respect to the value
            if op.drops and job.mode == UPDATE:
                drop_units(job, step, op, rows, row0, dz, dz)
            if not op.gated:
                activation_backward(job.k, op.activation, rows * op.ld, scratch + op.z + at,
                                    scratch + op.a + at, dz)
        if op.panels >= 0:
            pack_gradient(job, op, rows, row0, scratch)
        if op.source < 0:
            continue
        below = &job.ops[op.source]
        if op.kind == DENSE:
            dense_backward(job, op, below, rows, row0, scratch)
        elif op.kind == LAYER_NORM:
            x = value_of(job, op.source, start, row0, scratch, &ldx)
            norm_backward(job, op, below, rows, row0, x, ldx, scratch)
        elif op.kind == HEADS:
            heads_backward(job, op, below, rows, row0, scratch)
        elif op.kind == PYTHON:
            x = value_of(job, op.source, start, row0, scratch, &ldx)
            python_backward(<Job*>job, op, below, rows, row0, x, ldx, scratch)
        elif op.kind == BATCH_NORM:
            x = value_of(job, op.source, start, row0, scratch, &ldx)
            batch_norm_backward(job, op, below, rows, row0, x, ldx, scratch)
        elif op.kind == SCALE:
            scale_backward(job, op, below, rows, row0, scratch)
        elif op.kind == PRELU:
            x = value_of(job, op.source, start, row0, scratch, &ldx)
            prelu_backward(job, op, below, rows, row0, x, ldx, scratch)
        elif op.kind == GLU:
            x = value_of(job, op.source, start, row0, scratch, &ldx)
            glu_backward(job, op, below, rows, row0, x, ldx, scratch)
        elif op.kind == REPEAT:
            rows //= job.members
            row0 //= job.members
            repeat_backward(job, op, below, rows, row0, scratch)
        else:
            copy_rows(rows, op.n_out, dz, op.ld, scratch + below.dz + row0 * below.ld, below.ld)
        add_gradients(job, op.sums, rows, row0, scratch)


cdef void run_shard_rows(Job* job, int64_t step, int shard, ptrdiff_t start, ptrdiff_t rows,
                         real* scratch) noexcept nogil:
    """Forward, loss and backward of one shard: rows start.. of the epoch's order."""
    cdef const Op* last = job.last
    cdef ptrdiff_t n_out = last.n_out
    cdef ptrdiff_t row0 = shard * job.shard_rows, line0 = row0 * job.members, at = line0 * n_out
    cdef const real* y = gather_rows(job, <const real*>job.y, n_out, start, rows,
                                     scratch + job.y_at + at)
    cdef const real* weights = gather_rows(job, <const real*>job.weights, 1, start, rows,
                                           scratch + job.weights_at + line0)
    cdef const int32_t* labels = gather_labels(job, start, rows,
                                               (<int32_t*>(scratch + job.labels_at)) + line0)
    if job.inputs.mixed:
        mix_targets(job, start, rows, row0, scratch + job.y_at + at)
        weights = mix_weights(job, start, rows, row0, scratch + job.weights_at + line0)
        y, labels = scratch + job.y_at + at, NULL
    gather_x(job, start, rows, row0, scratch)
    job.shard_weight[shard] = sum_weights(weights, rows)
    forward(job, step, start, rows, row0, scratch)
    if job.members > 1:
        y = repeat_targets(job, y, n_out, rows, scratch + job.y_at + at)
        weights = repeat_targets(job, weights, 1, rows, scratch + job.weights_at + line0)
        labels = repeat_labels(job, labels, rows, (<int32_t*>(scratch + job.labels_at)) + line0)
        rows *= job.members
    cdef const real* z = scratch + (last.a if job.value_loss else last.z) + at
    if job.python_loss == NULL:
        job.shard_loss[shard] = loss_rows(
            job.k, job.loss, rows, n_out, z, y, labels, weights, job.ceiling, job.loss_parameters,
            scratch + last.dz + at)
    else:
        job.shard_loss[shard] = python_loss(job, rows, n_out, 1, z, y, weights,
                                            scratch + last.dz + at)
    if job.mode == LOSS:
        return
    if job.value_loss:
        activation_backward(job.k, last.activation, rows * n_out, scratch + last.z + at,
                            scratch + last.a + at, scratch + last.dz + at)
    backward(job, step, start, rows, line0, scratch)


cdef void chunk_gradient(const Job* job, const Chunk* chunk, const real* scratch,
                         real* gradient) noexcept nogil:
    """gradient (chunk.size,) = that of some parameters, from all rows of the batch."""
    cdef const Op* op = &job.ops[chunk.op]
    cdef const real* x
    cdef ptrdiff_t ldx
    if chunk.kind == BIAS and op.kind != HEADS:
        sum_columns(job.k, job.rows * op.members, chunk.size, scratch + op.dz + chunk.start, op.ld,
                    gradient)
        return
    if is_looked_up(job, chunk):
        lookup_gradient(job, chunk, scratch, gradient)
        return
    x = value_of(job, op.source, job.start, 0, scratch, &ldx)
    if op.kind == REPEAT:
        repeat_gradient(job, op, chunk, x, ldx, scratch, gradient)
    elif op.kind == HEADS:
        heads_gradient(job, op, chunk, x, ldx, scratch, gradient)
    elif op.kind == EMBED:
        embed_gradient(job, op, chunk, x, ldx, scratch, gradient)
    elif chunk.kind == WEIGHT:
        dense_gradient(job, op, chunk, x, ldx, scratch, gradient)
    elif op.kind == LAYER_NORM:
        norm_gradient(job, op, chunk, x, ldx, scratch, gradient)
    elif op.kind == BATCH_NORM:
        batch_norm_gradient(job, op, chunk, x, ldx, scratch, gradient)
    elif op.kind == SCALE:
        scale_gradient(job, op, chunk, x, ldx, scratch, gradient)
    else:
        prelu_gradient(job, op, chunk, x, ldx, scratch, gradient)


cdef void copy_chunk(const Job* job, const Chunk* chunk, real* tag) noexcept nogil:
    """Bring the copies of some parameters up to date."""
    cdef const Op* op = &job.ops[chunk.op]
    if chunk.kind == WEIGHT and op.kind == HEADS:
        copy_heads(job, op, chunk, tag)
    elif chunk.kind == WEIGHT:
        copy_weights(job, op, chunk, tag)
        if op.table >= 0:
            copy_table(job, op, chunk, tag)
