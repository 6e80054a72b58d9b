"""The dense operation, row-major: z = x W + b, its two gradients, and the copies of W that the
native products read."""

from fastnn.core._blas cimport fnn_blas_gate_prepare, product, product_dw, product_dx
from fastnn.core._kernels cimport (
    FNN_ACT_identity,
    FNN_ACT_relu,
    bias_activate,
    fnn_product,
    pack_rows,
    panel_columns,
    real,
    row_major_product,
    run_product,
    transpose,
)
from fastnn.training._gather cimport reads_in_place
from fastnn.training._job cimport Chunk, Job, Op

fnn_blas_gate_prepare()


cdef void dense_forward(const Job* job, const Op* op, ptrdiff_t rows, ptrdiff_t row0,
                        const real* x, ptrdiff_t ldx, real* scratch) noexcept nogil:
    """z = x W + b; relu with it, where it is fused."""
    cdef const real* parameters = <const real*>job.parameters
    cdef real* z = scratch + op.z + row0 * op.ld
    cdef ptrdiff_t n_in = op.n_in
    cdef fnn_product p
    if not op.native:
        product(<int>rows, <int>n_in, <int>op.n_out, x, <int>ldx, parameters + op.w, z)
        bias_activate(job.k, FNN_ACT_relu if op.relu else FNN_ACT_identity, rows, op.n_out, z,
                      parameters + op.b, z)
        return
    p = row_major_product(job.k, rows, op.n_out, n_in, x, ldx, parameters + op.w, op.n_out, z,
                          op.ld)
    if op.packed >= 0:
        p.b = (<const real*>job.copies) + op.packed
        p.ldb = p.b_panel
        p.b_panel *= n_in
    if op.source < 0 and reads_in_place(job):
        p.a_list = job.x_rows + row0
    p.bias = parameters + op.b
    p.relu = op.relu
    run_product(job.k, &p, z)


cdef void pack_gradient(const Job* job, const Op* op, ptrdiff_t rows, ptrdiff_t row0,
                        real* scratch) noexcept nogil:
    """Put rows of dz into panels, too, which X' dz reads."""
    cdef ptrdiff_t width = panel_columns(job.k, scratch)
    pack_rows(job.k, rows, op.n_out, scratch + op.dz + row0 * op.ld, op.ld,
              scratch + op.panels + row0 * width, job.batch * op.members * width)


cdef void dense_backward(const Job* job, const Op* op, const Op* below, ptrdiff_t rows,
                         ptrdiff_t row0, real* scratch) noexcept nogil:
    """dx = dz W', the gradient with respect to the value of ``below``."""
    cdef const real* dz = scratch + op.dz + row0 * op.ld
    cdef real* dx = scratch + below.dz + row0 * below.ld
    cdef ptrdiff_t n_in = op.n_in, n_out = op.n_out
    cdef fnn_product p
    if not op.native:
        product_dx(<int>rows, <int>n_in, <int>n_out, dz, (<const real*>job.parameters) + op.w, dx)
        return
    p = row_major_product(job.k, rows, n_in, n_out, dz, op.ld,
                          (<const real*>job.copies) + op.transposed, 0, dx, below.ld)
    p.ldb = p.b_panel
    p.b_panel *= n_out
    p.gate = scratch + below.a + row0 * below.ld if below.gated else NULL
    run_product(job.k, &p, dx)


cdef void dense_gradient(const Job* job, const Op* op, const Chunk* chunk, const real* x,
                         ptrdiff_t ldx, const real* scratch, real* gradient) noexcept nogil:
    """gradient (chunk.size,) = these rows of X' dZ, of the whole batch."""
    cdef const real* dz = scratch + op.dz
    cdef ptrdiff_t n_out = op.n_out, n_rows = chunk.size // n_out, rows = job.rows * op.members
    cdef fnn_product p
    if not op.native:
        product_dw(<int>rows, <int>n_rows, <int>n_out, x + chunk.row, <int>ldx, dz, gradient)
        return
    p = row_major_product(job.k, n_rows, n_out, rows, x + chunk.row, ldx, dz, op.ld, gradient,
                          n_out)
    p.a_by_columns = True
    if op.panels >= 0:
        p.b = scratch + op.panels
        p.ldb = p.b_panel
        p.b_panel *= job.batch * op.members
        p.room = gradient + job.room_at
    if op.source < 0 and reads_in_place(job):
        p.a_list = job.x_rows
        p.a_offset = chunk.row
    run_product(job.k, &p, gradient)


cdef void copy_weights(const Job* job, const Op* op, const Chunk* chunk, real* tag) noexcept nogil:
    """Bring the copies of W up to date with rows of it, which are whole cache lines of W'."""
    cdef const real* w = (<const real*>job.parameters) + chunk.at
    cdef real* copies = <real*>job.copies
    cdef ptrdiff_t width = panel_columns(job.k, w)
    cdef ptrdiff_t n_in = op.n_in, n_out = op.n_out
    cdef ptrdiff_t row = chunk.row, stop = chunk.row + chunk.size // n_out, rows
    if op.packed >= 0:
        pack_rows(job.k, stop - row, n_out, w, n_out, copies + op.packed + row * width,
                  n_in * width)
    if op.transposed >= 0:
        while row < stop:
            rows = min(stop, (row // width + 1) * width) - row
            transpose(job.k, rows, n_out, w, n_out, <const ptrdiff_t*>NULL,
                      copies + op.transposed + row // width * n_out * width + row % width, width)
            w += rows * n_out
            row += rows
