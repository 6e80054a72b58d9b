"""R{.}, the derivative along a direction of the parameters, through each kind of operation: that
of its z from that of its x, and that of dL/dx from that of dL/dz.

R{dL/dW}, which is what is asked for, is added up in double precision where it is a sum over the
elements of columns, and by products where it is one.
"""

from libc.math cimport sqrt

from fastnn.core._kernels cimport (
    activation_backward,
    add_parts,
    add_rows,
    batch_norm_rows,
    batch_statistics,
    bias_activate,
    fnn_product,
    kernels,
    layer_norm_rows,
    real,
    row_major_product,
    run_product,
    sum_columns,
)
from fastnn.core._ops cimport HEADS, REPEAT
from fastnn.training._bends cimport STRAIGHT, bend_of


# ---- dense, and the head of each member ----

cdef void dense_forward(const Op* op, const Way* way, real* scratch) noexcept nogil:
    """R{z} = x V + R{x} W + R{b}; of HEADS for each member, whose rows are `members` rows apart."""
    cdef ptrdiff_t step = op.members if op.kind == HEADS else 1, m
    cdef ptrdiff_t rows = way.rows * op.members // step, n_in = op.n_in, n_out = op.n_out
    cdef const real* x = <const real*>way.x
    cdef const real* rx = <const real*>way.rx
    cdef const real* w = (<const real*>way.w) + op.w
    cdef const real* v = (<const real*>way.v) + op.w
    cdef real* rz = <real*>way.rz
    cdef real* room = <real*>way.spare
    cdef fnn_product p
    for m in range(step):
        p = row_major_product(kernels, rows, n_out, n_in, x + m * n_in, step * n_in,
                              w + m * n_in * n_out, n_out, (<real*>way.z) + m * n_out, step * n_out)
        p.bias = (<const real*>way.w) + op.b + m * n_out
        run_product(kernels, &p, rz)
        p.b, p.bias = v + m * n_in * n_out, (<const real*>way.v) + op.b + m * n_out
        p.c = rz + m * n_out
        run_product(kernels, &p, rz)
        if rx != NULL:
            p.a, p.b, p.bias = rx + m * n_in, w + m * n_in * n_out, NULL
            p.c = room + m * n_out
            run_product(kernels, &p, rz)
    if rx != NULL:
        rows *= step
        add_rows(kernels, rows, n_out, rz, n_out, room, n_out, rz, n_out)


cdef void dense_backward(const Op* op, const Way* way, real* scratch) noexcept nogil:
    """R{dW} = x' R{dz} + R{x}' dz, R{dx} = R{dz} W' + dz V'"""
    cdef ptrdiff_t step = op.members if op.kind == HEADS else 1, m
    cdef ptrdiff_t rows = way.rows * op.members // step, n_in = op.n_in, n_out = op.n_out
    cdef const real* x = <const real*>way.x
    cdef const real* rx = <const real*>way.rx
    cdef const real* d = <const real*>way.d
    cdef const real* rd = <const real*>way.rd
    cdef real* dx = <real*>way.dx
    cdef real* rdx = <real*>way.rdx
    cdef real* out = <real*>way.out
    cdef real* room = <real*>way.spare
    cdef ptrdiff_t at
    cdef fnn_product p
    for m in range(step):
        at = m * n_in * n_out
        p = row_major_product(kernels, n_in, n_out, rows, x + m * n_in, step * n_in,
                              rd + m * n_out, step * n_out, room, n_out)
        p.a_by_columns = True
        run_product(kernels, &p, room)
        add_parts(kernels, n_in * n_out, 1, room, 0, True, out + op.w + at)
        if rx != NULL:
            p.a, p.b = rx + m * n_in, d + m * n_out
            run_product(kernels, &p, room)
            add_parts(kernels, n_in * n_out, 1, room, 0, True, out + op.w + at)
        sum_columns(kernels, rows, n_out, rd + m * n_out, step * n_out, room)
        add_parts(kernels, n_out, 1, room, 0, True, out + op.b + m * n_out)
        if dx == NULL:
            continue
        p = row_major_product(kernels, rows, n_in, n_out, d + m * n_out, step * n_out,
                              scratch + op.wt + at, n_in, dx + m * n_in, step * n_in)
        run_product(kernels, &p, room)
        p.a, p.c = rd + m * n_out, rdx + m * n_in
        run_product(kernels, &p, room)
        p = row_major_product(kernels, rows, n_in, n_out, d + m * n_out, step * n_out,
                              scratch + op.vt + at, n_in, room, n_in)
        run_product(kernels, &p, room)
        add_rows(kernels, rows, n_in, rdx + m * n_in, step * n_in, room, n_in, rdx + m * n_in,
                 step * n_in)


# ---- embeddings: the W of each column of the data, whose inputs have no R{.} ----

cdef void embed_forward(const Op* op, const Way* way, real* scratch) noexcept nogil:
    """R{z} = x V + R{b} of each column."""
    cdef const real* w = <const real*>way.w
    cdef const real* v = <const real*>way.v
    cdef real* rz = <real*>way.rz
    cdef ptrdiff_t c, first, units = op.row_units
    cdef fnn_product p
    for c in range(op.n_columns):
        first = op.firsts[c]
        p = row_major_product(kernels, way.rows, units, op.firsts[c + 1] - first,
                              (<const real*>way.x) + first, op.n_in, w + op.w + first * units,
                              units, (<real*>way.z) + c * units, op.n_out)
        p.bias = w + op.b + c * units
        run_product(kernels, &p, rz)
        p.b, p.bias, p.c = v + op.w + first * units, v + op.b + c * units, rz + c * units
        run_product(kernels, &p, rz)


cdef void embed_backward(const Op* op, const Way* way, real* scratch) noexcept nogil:
    """R{dW} = x' R{dz} of each column."""
    cdef const real* rd = <const real*>way.rd
    cdef real* out = <real*>way.out
    cdef real* room = <real*>way.spare
    cdef ptrdiff_t c, first, count, units = op.row_units
    cdef fnn_product p
    for c in range(op.n_columns):
        first, count = op.firsts[c], op.firsts[c + 1] - op.firsts[c]
        p = row_major_product(kernels, count, units, way.rows, (<const real*>way.x) + first,
                              op.n_in, rd + c * units, op.n_out, room, units)
        p.a_by_columns = True
        run_product(kernels, &p, room)
        add_parts(kernels, count * units, 1, room, 0, True, out + op.w + first * units)
    sum_columns(kernels, way.rows, op.n_out, rd, op.n_out, room)
    add_parts(kernels, op.n_out, 1, room, 0, True, out + op.b)


# ---- gates: z = u f(v) ----

cdef void gate_row(const Op* op, const real* v, real* f, real* slope) noexcept nogil:
    """f(v) and f'(v), both (n_out,)"""
    cdef ptrdiff_t j
    bias_activate(kernels, op.gate, 1, op.n_out, <real*>v, <const real*>NULL, f)
    for j in range(op.n_out):
        slope[j] = 1
    activation_backward(kernels, op.gate, op.n_out, v, f, slope)


cdef void glu_forward(const Op* op, const Way* way, real* scratch) noexcept nogil:
    """R{z} = R{u} f(v) + u f'(v) R{v}"""
    cdef const real* u = <const real*>way.x
    cdef const real* ru = <const real*>way.rx
    cdef real* z = <real*>way.z
    cdef real* rz = <real*>way.rz
    cdef real* f = <real*>way.spare
    cdef real* slope = f + op.n_out
    cdef ptrdiff_t n = op.n_out, j
    for _ in range(way.rows * op.members):
        gate_row(op, u + n, f, slope)
        for j in range(n):
            z[j] = u[j] * f[j]
            rz[j] = ru[j] * f[j] + u[j] * slope[j] * ru[n + j] if ru != NULL else 0
        u, z, rz = u + op.n_in, z + n, rz + n
        ru = ru + op.n_in if ru != NULL else NULL


cdef void glu_backward(const Op* op, const Way* way, real* scratch) noexcept nogil:
    """du = dz f(v), dv = dz u f'(v), and their R{.}"""
    cdef const real* u = <const real*>way.x
    cdef const real* ru = <const real*>way.rx
    cdef const real* d = <const real*>way.d
    cdef const real* rd = <const real*>way.rd
    cdef real* dx = <real*>way.dx
    cdef real* rdx = <real*>way.rdx
    cdef real* f = <real*>way.spare
    cdef real* slope = f + op.n_out
    cdef ptrdiff_t n = op.n_out, j
    cdef double bend
    if dx == NULL:
        return
    for _ in range(way.rows * op.members):
        gate_row(op, u + n, f, slope)
        for j in range(n):
            bend = bend_of(op.gate_bend, u[n + j]) if op.gate_bend != STRAIGHT else 0
            dx[j] = d[j] * f[j]
            dx[n + j] = d[j] * u[j] * slope[j]
            rdx[j] = rd[j] * f[j] + d[j] * slope[j] * ru[n + j]
            rdx[n + j] = <real>((rd[j] * u[j] + d[j] * ru[j]) * slope[j]
                                + d[j] * u[j] * bend * ru[n + j])
        u, d, rd = u + op.n_in, d + n, rd + n
        ru, dx, rdx = ru + op.n_in, dx + op.n_in, rdx + op.n_in


# ---- normalised over a row, or a column: x^ = (x - mean) rstd,
# ---- core(u) = rstd (u - mean(u) - x^ mean(x^ u)) ----

# Numbers that are normalised together.
cdef struct Group:
    ptrdiff_t n, step           # so many, so far apart
    ptrdiff_t gain_step         # ... and their gains and biases
    bint constant               # mean and rstd do not depend on them
    double mean, rstd
    double mean_rx, mean_x_rx


cdef Group group_of(ptrdiff_t n, ptrdiff_t step, ptrdiff_t gain_step, const real* x, const real* rx,
                    bint constant, double mean, double rstd) noexcept nogil:
    cdef Group g
    cdef ptrdiff_t i
    g.n, g.step, g.gain_step, g.constant = n, step, gain_step, constant
    g.mean, g.rstd, g.mean_rx, g.mean_x_rx = mean, rstd, 0, 0
    if rx != NULL and not constant:
        for i in range(n):
            g.mean_rx += <double>rx[i * step] / n
            g.mean_x_rx += (x[i * step] - mean) * rstd * rx[i * step] / n
    return g


cdef inline double inner_of(const Group* g, const real* x, ptrdiff_t i) noexcept nogil:
    """x^"""
    return (<double>x[i * g.step] - g.mean) * g.rstd


cdef inline double rinner_of(const Group* g, const real* x, const real* rx,
                             ptrdiff_t i) noexcept nogil:
    """R{x^} = core(R{x})"""
    cdef double t = rx[i * g.step] if rx != NULL else 0
    return g.rstd * (t - g.mean_rx - inner_of(g, x, i) * g.mean_x_rx)


cdef void group_forward(const Group* g, const real* x, const real* rx, const real* gain,
                        const real* rgain, const real* rbias, real* rz) noexcept nogil:
    """R{z} = gain R{x^} + R{gain} x^ + R{bias}"""
    cdef ptrdiff_t i, k
    for i in range(g.n):
        k = i * g.gain_step
        rz[i * g.step] = <real>(gain[k] * rinner_of(g, x, rx, i) + rgain[k] * inner_of(g, x, i)
                                + rbias[k])


cdef void group_backward(const Group* g, const real* x, const real* rx, const real* d,
                         const real* rd, const real* gain, const real* rgain, real* dx, real* rdx,
                         real* out_gain, real* out_bias) noexcept nogil:
    """dx = core(gain dz), and its R{.}"""
    cdef double u, ru, xhat, rxhat, mean_u = 0, mean_ru = 0, mean_x_u = 0, mean_x_ru = 0
    cdef double mean_rx_u = 0, sum_gain = 0, sum_bias = 0, core
    cdef ptrdiff_t i, k
    for i in range(g.n):
        k = i * g.gain_step
        xhat, rxhat = inner_of(g, x, i), rinner_of(g, x, rx, i)
        u = gain[k] * <double>d[i * g.step]
        ru = gain[k] * <double>rd[i * g.step] + rgain[k] * <double>d[i * g.step]
        if not g.constant:
            mean_u += u / g.n
            mean_ru += ru / g.n
            mean_x_u += xhat * u / g.n
            mean_x_ru += xhat * ru / g.n
            mean_rx_u += rxhat * u / g.n
        sum_gain += rd[i * g.step] * xhat + d[i * g.step] * rxhat
        sum_bias += rd[i * g.step]
        if g.gain_step > 0:     # each of them has its own
            out_gain[k] += <real>sum_gain
            out_bias[k] += <real>sum_bias
            sum_gain = sum_bias = 0
    if g.gain_step == 0:
        out_gain[0] += <real>sum_gain
        out_bias[0] += <real>sum_bias
    if dx == NULL:
        return
    for i in range(g.n):
        k = i * g.gain_step
        xhat, rxhat = inner_of(g, x, i), rinner_of(g, x, rx, i)
        u = gain[k] * <double>d[i * g.step]
        ru = gain[k] * <double>rd[i * g.step] + rgain[k] * <double>d[i * g.step]
        core = g.rstd * (u - mean_u - xhat * mean_x_u)
        dx[i * g.step] = <real>core
        rdx[i * g.step] = <real>(-g.rstd * g.mean_x_rx * core + g.rstd * (
            ru - mean_ru - rxhat * mean_x_u - xhat * (mean_rx_u + mean_x_ru)))


cdef void norm_forward(const Op* op, const Way* way, real* scratch) noexcept nogil:
    """LAYER_NORM"""
    cdef const real* x = <const real*>way.x
    cdef const real* rx = <const real*>way.rx
    cdef const real* w = <const real*>way.w
    cdef const real* v = <const real*>way.v
    cdef real* rz = <real*>way.rz
    cdef real* stats = scratch + op.stats
    cdef ptrdiff_t n = op.n_out, rows = way.rows * op.members
    cdef Group g
    layer_norm_rows(kernels, rows, n, x, n, w + op.w, w + op.b, op.eps, <real*>way.z, n, stats)
    for _ in range(rows):
        g = group_of(n, 1, 1, x, rx, False, stats[0], stats[1])
        group_forward(&g, x, rx, w + op.w, v + op.w, v + op.b, rz)
        x, rz, stats = x + n, rz + n, stats + 2
        rx = rx + n if rx != NULL else NULL


cdef void norm_backward(const Op* op, const Way* way, real* scratch) noexcept nogil:
    """LAYER_NORM"""
    cdef const real* x = <const real*>way.x
    cdef const real* rx = <const real*>way.rx
    cdef const real* d = <const real*>way.d
    cdef const real* rd = <const real*>way.rd
    cdef const real* gain = (<const real*>way.w) + op.w
    cdef const real* rgain = (<const real*>way.v) + op.w
    cdef const real* stats = scratch + op.stats
    cdef real* dx = <real*>way.dx
    cdef real* rdx = <real*>way.rdx
    cdef real* out = <real*>way.out
    cdef ptrdiff_t n = op.n_out
    cdef Group g
    for _ in range(way.rows * op.members):
        g = group_of(n, 1, 1, x, rx, False, stats[0], stats[1])
        group_backward(&g, x, rx, d, rd, gain, rgain, dx, rdx, out + op.w, out + op.b)
        x, d, rd, stats = x + n, d + n, rd + n, stats + 2
        rx = rx + n if rx != NULL else NULL
        dx = dx + n if dx != NULL else NULL
        rdx = rdx + n if rdx != NULL else NULL


cdef void batch_norm_forward(const Op* op, const Way* way, real* scratch) noexcept nogil:
    """BATCH_NORM of a shard: by its own statistics; of one row by the running averages, which are
    constants."""
    cdef const real* x = <const real*>way.x
    cdef const real* rx = <const real*>way.rx
    cdef const real* w = <const real*>way.w
    cdef const real* v = <const real*>way.v
    cdef real* rz = <real*>way.rz
    cdef real* mean = scratch + op.stats
    cdef ptrdiff_t n = op.n_out, rows = way.rows * op.members, j
    cdef Group g
    if rows > 1:
        batch_statistics(kernels, rows, n, x, n, op.eps, mean, mean + n, mean + 2 * n)
    else:
        for j in range(n):
            mean[j] = w[op.mean + j]
            mean[2 * n + j] = <real>(1 / sqrt(<double>w[op.variance + j] + op.eps))
    batch_norm_rows(kernels, rows, n, x, n, w + op.w, w + op.b, mean, mean + 2 * n, <real*>way.z, n)
    for j in range(n):
        g = group_of(rows, n, 0, x + j, rx + j if rx != NULL else NULL, rows == 1, mean[j],
                     mean[2 * n + j])
        group_forward(&g, x + j, rx + j if rx != NULL else NULL, w + op.w + j, v + op.w + j,
                      v + op.b + j, rz + j)


cdef void batch_norm_backward(const Op* op, const Way* way, real* scratch) noexcept nogil:
    """BATCH_NORM of a shard."""
    cdef const real* x = <const real*>way.x
    cdef const real* rx = <const real*>way.rx
    cdef const real* d = <const real*>way.d
    cdef const real* rd = <const real*>way.rd
    cdef real* dx = <real*>way.dx
    cdef real* rdx = <real*>way.rdx
    cdef real* out = <real*>way.out
    cdef const real* mean = scratch + op.stats
    cdef ptrdiff_t n = op.n_out, rows = way.rows * op.members, j
    cdef Group g
    for j in range(n):
        g = group_of(rows, n, 0, x + j, rx + j if rx != NULL else NULL, rows == 1, mean[j],
                     mean[2 * n + j])
        group_backward(&g, x + j, rx + j if rx != NULL else NULL, d + j, rd + j,
                       (<const real*>way.w) + op.w + j, (<const real*>way.v) + op.w + j,
                       dx + j if dx != NULL else NULL, rdx + j if rdx != NULL else NULL,
                       out + op.w + j, out + op.b + j)


# ---- a factor for each column, of all rows or of each member ----

cdef void factor_forward(const Op* op, const Way* way, real* scratch) noexcept nogil:
    """SCALE: z = x s; REPEAT: for each row of x one for each member, times its s."""
    cdef ptrdiff_t copies = op.members if op.kind == REPEAT else 1
    cdef ptrdiff_t rows = way.rows * op.members // copies, n = op.n_out, j
    cdef const real* x = <const real*>way.x
    cdef const real* rx = <const real*>way.rx
    cdef const real* s
    cdef const real* rs
    cdef real* z = <real*>way.z
    cdef real* rz = <real*>way.rz
    for _ in range(rows):
        s, rs = (<const real*>way.w) + op.w, (<const real*>way.v) + op.w
        for _ in range(copies):
            for j in range(n):
                z[j] = x[j] * s[j]
                rz[j] = x[j] * rs[j] + (rx[j] * s[j] if rx != NULL else 0)
            z, rz, s, rs = z + n, rz + n, s + n, rs + n
        x += n
        rx = rx + n if rx != NULL else NULL


cdef void factor_backward(const Op* op, const Way* way, real* scratch) noexcept nogil:
    """dx = the sum of dz s over the rows that x became."""
    cdef ptrdiff_t copies = op.members if op.kind == REPEAT else 1
    cdef ptrdiff_t rows = way.rows * op.members // copies, n = op.n_out, m, j
    cdef const real* x = <const real*>way.x
    cdef const real* rx = <const real*>way.rx
    cdef const real* d = <const real*>way.d
    cdef const real* rd = <const real*>way.rd
    cdef const real* s
    cdef const real* rs
    cdef real* out
    cdef real* dx = <real*>way.dx
    cdef real* rdx = <real*>way.rdx
    for _ in range(rows):
        s, rs = (<const real*>way.w) + op.w, (<const real*>way.v) + op.w
        out = (<real*>way.out) + op.w
        for m in range(copies):
            for j in range(n):
                out[j] += rd[j] * x[j] + (d[j] * rx[j] if rx != NULL else 0)
                if dx != NULL:
                    dx[j] = (dx[j] if m > 0 else 0) + d[j] * s[j]
                    rdx[j] = (rdx[j] if m > 0 else 0) + rd[j] * s[j] + d[j] * rs[j]
            d, rd, s, rs, out = d + n, rd + n, s + n, rs + n, out + n
        x += n
        rx = rx + n if rx != NULL else NULL
        dx = dx + n if dx != NULL else NULL
        rdx = rdx + n if rdx != NULL else NULL


# ---- PReLU ----

cdef void prelu_forward(const Op* op, const Way* way, real* scratch) noexcept nogil:
    """z = x where x > 0, else slope x; the kink at 0 is no more than that."""
    cdef const real* x = <const real*>way.x
    cdef const real* rx = <const real*>way.rx
    cdef const real* slope = (<const real*>way.w) + op.w
    cdef const real* rslope = (<const real*>way.v) + op.w
    cdef real* z = <real*>way.z
    cdef real* rz = <real*>way.rz
    cdef ptrdiff_t n = op.n_out, rows = way.rows * op.members, j, k
    cdef real t
    for _ in range(rows):
        for j in range(n):
            k = 0 if op.shared else j
            t = rx[j] if rx != NULL else 0
            z[j] = x[j] if x[j] > 0 else slope[k] * x[j]
            rz[j] = t if x[j] > 0 else slope[k] * t + rslope[k] * x[j]
        x, z, rz = x + n, z + n, rz + n
        rx = rx + n if rx != NULL else NULL


cdef void prelu_backward(const Op* op, const Way* way, real* scratch) noexcept nogil:
    """R{dslope}: the sum of R{x dz} over where x is not above 0."""
    cdef const real* x = <const real*>way.x
    cdef const real* rx = <const real*>way.rx
    cdef const real* d = <const real*>way.d
    cdef const real* rd = <const real*>way.rd
    cdef const real* slope = (<const real*>way.w) + op.w
    cdef const real* rslope = (<const real*>way.v) + op.w
    cdef real* out = (<real*>way.out) + op.w
    cdef real* dx = <real*>way.dx
    cdef real* rdx = <real*>way.rdx
    cdef ptrdiff_t n = op.n_out, rows = way.rows * op.members, j, k
    for _ in range(rows):
        for j in range(n):
            k = 0 if op.shared else j
            if not x[j] > 0:
                out[k] += rd[j] * x[j] + (d[j] * rx[j] if rx != NULL else 0)
            if dx != NULL:
                dx[j] = d[j] if x[j] > 0 else slope[k] * d[j]
                rdx[j] = rd[j] if x[j] > 0 else slope[k] * rd[j] + rslope[k] * d[j]
        x, d, rd = x + n, d + n, rd + n
        rx = rx + n if rx != NULL else NULL
        dx = dx + n if dx != NULL else NULL
        rdx = rdx + n if rdx != NULL else NULL
