"""The feature-major step of a shard of one row: the same chains of multiply-adds, to the same
bytes, with the lanes along the units instead of the samples, of which there is one.

A column of features that are next to each other is a row: with a 1 behind it, [a 1] [W; b] is a
product of rows, and so is [a 1]' dz, of which each element is one product.
"""

from libc.stdint cimport int32_t
from libc.string cimport memcpy

from fastnn.core._kernels cimport (
    activation_backward,
    bias_activate,
    fnn_product,
    loss_columns,
    real,
    row_major_product,
    run_product,
)
from fastnn.training._gather cimport make_x, mix_targets, mix_weights, sum_weights
from fastnn.training._job cimport LOSS, Job, Op
from fastnn.training._python_loss cimport python_loss


cdef const real* forward(const Job* job, const real* x, real* scratch) noexcept nogil:
    """z and a (n_out,) of every operation; returns what the loss sees."""
    cdef const real* parameters = <const real*>job.parameters
    cdef const real* a_in = x
    cdef const Op* op
    cdef real* a
    cdef fnn_product p
    cdef int i
    for i in range(job.n_ops):
        op = &job.ops[i]
        a = scratch + op.a
        p = row_major_product(job.k, 1, op.n_out, op.n_in + 1, a_in, op.n_in + 1,
                              parameters + op.w, op.n_out, scratch + op.z, op.n_out)
        p.relu = op.relu
        run_product(job.k, &p, scratch)
        if op == job.last and not job.value_loss:
            return scratch + op.z
        if not op.relu:
            bias_activate(job.k, op.activation, 1, op.n_out, scratch + op.z, <const real*>NULL, a)
        a[op.n_out] = 1
        a_in = a
    return a_in


cdef void backward(const Job* job, const real* x, real* scratch, real* gradient) noexcept nogil:
    """[dW; db] = [a 1]' dz and dx = W dz, from the last operation on."""
    cdef const real* parameters = <const real*>job.parameters
    cdef const Op* op
    cdef const Op* below
    cdef fnn_product p
    cdef int i
    for i in range(job.n_ops - 1, -1, -1):
        op = &job.ops[i]
        below = &job.ops[i - 1] if i > 0 else NULL
        if gradient != NULL:
            p = row_major_product(job.k, op.n_in + 1, op.n_out, 1,
                                  x if below == NULL else scratch + below.a, 1, scratch + op.dz,
                                  op.n_out, gradient + op.w, op.n_out)
            run_product(job.k, &p, scratch)
        if below == NULL:
            return
        p = row_major_product(job.k, op.n_in, 1, op.n_out, parameters + op.w, op.n_out,
                              scratch + op.dz, 1, scratch + below.dz, 1)
        p.gate = scratch + below.a if below.relu else NULL
        run_product(job.k, &p, scratch)
        if not below.relu:
            activation_backward(job.k, below.activation, op.n_in, scratch + below.z,
                                scratch + below.a, scratch + below.dz)


cdef void run_one_row(Job* job, int shard, ptrdiff_t start, ptrdiff_t row0, const real* weights,
                      const int32_t* labels, real* scratch, real* gradient) noexcept nogil:
    """Forward, loss and backward of row ``start`` of the epoch's order."""
    cdef const Op* last = job.last
    cdef ptrdiff_t n_in = job.n_in, n_out = last.n_out
    cdef ptrdiff_t row = start if job.order == NULL else job.order[start]
    cdef real* x = scratch + job.x_at
    cdef real* dz = scratch + last.dz
    cdef const real* y = NULL
    if job.x_gathered:
        make_x(job, start, 1, row0, x)
    else:
        memcpy(x, (<const real*>job.x) + row * n_in, n_in * sizeof(real))
    x[n_in] = 1
    if job.inputs.mixed:
        mix_targets(job, start, 1, row0, scratch + job.y_at)
        y = scratch + job.y_at
        weights, labels = mix_weights(job, start, 1, row0, scratch + job.weights_at), NULL
    elif job.y != NULL:
        y = (<const real*>job.y) + row * n_out
    job.shard_weight[shard] = sum_weights(weights, 1)
    cdef const real* z = forward(job, x, scratch)
    if job.python_loss == NULL:
        job.shard_loss[shard] = loss_columns(job.k, job.loss, 1, n_out, 1, z, y, labels, weights,
                                             job.ceiling, job.loss_parameters, dz)
    else:
        job.shard_loss[shard] = python_loss(job, 1, 1, 1, z, y, weights, dz)
    if job.mode == LOSS:
        return
    if job.value_loss:
        activation_backward(job.k, last.activation, n_out, scratch + last.z, scratch + last.a, dz)
    backward(job, x, scratch, gradient)
