"""The operations of a network, one after the other, for the rows of one block: by one thread, or by
a team that shares wide products. Products are the native ones, so the answer for a row does not
depend on the rows beside it or on the number of threads.
"""

from libc.math cimport sqrt
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memcpy, memset

from fastnn.core._arrays cimport apply_rows
from fastnn.core._kernels cimport (
    FNN_ACT_identity,
    FNN_ACT_relu,
    FNN_OUTPUT_SOFTMAX,
    add_rows,
    batch_norm_rows,
    bias_activate,
    fnn_lookup,
    fnn_product,
    kernels,
    layer_norm_rows,
    lookup_of,
    mean_members,
    panel_columns,
    prelu_rows,
    real,
    repeat_rows,
    row_major_product,
    run_lookup,
    run_product,
    scale_columns,
    softmax_rows,
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
    PYTHON,
    REPEAT,
    SCALE,
)
from fastnn.core._rows cimport embed_row, glu_rows
from fastnn.core._signals cimport Watch, is_stopped, look
from fastnn.core._team cimport (
    FNN_MAX_TASKS,
    FNN_STORE,
    fnn_after_keeping_subnormals,
    fnn_await,
    fnn_claim,
    fnn_close,
    fnn_finish,
    fnn_keep_subnormals,
    fnn_leave,
    fnn_open_phase,
    fnn_phases,
    fnn_tasks,
    fnn_team_rank,
)
from fastnn.prediction._program cimport LANE_ROWS, SHARED_COLUMNS, Op, ProgramData

cdef enum:
    FEWEST_LANES = 16          # below, transposing costs more than idle lanes
    SHARED_TASKS = 2           # at most, for each thread: one that comes late does fewer


# a network as a pass reads it
cdef struct Network:
    const void* parameters
    const ProgramData* data


# where the values of a sparse X belong
cdef struct Entries:
    const int64_t* start       # (rows + 1,)
    const int32_t* column
    int64_t wrong              # one whose column X has not; -1: none
    const unsigned char* adds  # of codes: whether a row of the table adds to the one before; NULL
    void* table                # ... sums of rows of each W that X is multiplied with


# a pass that a team goes through together, as there are too few rows for a block each: the product
# whose columns are claimed as tasks, and where the pass goes on afterwards
cdef struct Shared:
    fnn_phases phases
    int team
    int next_op
    const Op* op
    fnn_product product
    ptrdiff_t columns          # of a task
    const void* packed         # panels of the operations from next_op on


cdef inline const real* table_of(const Network* net, const Op* op, const Entries* entries,
                                 const real* tag) noexcept nogil:
    """What the entries name rows of."""
    cdef const real* table = <const real*>entries.table
    cdef const Op* other = net.data.ops
    if table == NULL:
        return (<const real*>net.parameters) + op.w
    while other != op:
        table += other.n_in * other.row_units if other.source < 0 else 0
        other += 1
    return table


cdef inline bint is_packed(const ProgramData* data, const Op* op, bint sparse) noexcept nogil:
    """Whether its W is kept in panels: rows of it are pages apart, and a product reads it."""
    return (op.kind == DENSE and op.n_out >= data.packed_from
            and not (sparse and op.source < 0))


cdef inline ptrdiff_t slot_size(const Network* net, ptrdiff_t capacity) noexcept nogil:
    """Elements of a buffer for so many rows of X."""
    return capacity * net.data.members * net.data.widest


cdef inline const real* value_of(const Network* net, int number, ptrdiff_t capacity, const real* x,
                                 const real* scratch) noexcept nogil:
    """Value (rows, n) of an operation; of number -1 the inputs."""
    if number < 0:
        return x
    return scratch + net.data.ops[number].slot * slot_size(net, capacity)


cdef inline void call_function(const Op* op, ptrdiff_t rows, const real* x, real* out, Watch* watch,
                               void* failures) noexcept with gil:
    """out = f(x), both (rows, n_out)"""
    activation = <object>op.function
    try:
        apply_rows(activation.value, f"value of activation {activation.name!r}", rows, op.n_out, x,
                   op.n_out, <const real*>NULL, 0, out, op.n_out)
    except BaseException as error:
        (<list>failures).append(error)
        FNN_STORE(&watch.stopped, 1)


cdef inline void activate(const Op* op, ptrdiff_t rows, ptrdiff_t n, real* z,
                          ptrdiff_t ld) noexcept nogil:
    """An elementwise activation of n elements of each row of z, but for relu, which comes with the
    product."""
    cdef ptrdiff_t r
    if op.activation in (FNN_ACT_relu, FNN_ACT_identity, FNN_OUTPUT_SOFTMAX):
        return
    if n == ld:
        n, rows = n * rows, 1
    for r in range(rows):
        bias_activate(kernels, op.activation, 1, n, z + r * ld, <const real*>NULL, z + r * ld)


cdef inline void multiply(const Op* op, fnn_product* p, ptrdiff_t n, real* z) noexcept nogil:
    """The product, which is stored at z, and an elementwise activation of n elements of each row.
    """
    p.relu = op.activation == FNN_ACT_relu
    run_product(kernels, p, z)
    activate(op, p.rows, n, z, p.ldc)


cdef inline void heads(const Network* net, const Op* op, ptrdiff_t rows, const real* x,
                       real* z) noexcept nogil:
    """z (rows, n_out) = x W + b of each row's member, whose rows are `members` rows apart."""
    cdef const real* parameters = <const real*>net.parameters
    cdef ptrdiff_t m, members = net.data.members
    cdef fnn_product p
    for m in range(members):
        p = row_major_product(kernels, rows // members, op.n_out, op.n_in, x + m * op.n_in,
                              members * op.n_in, parameters + op.w + m * op.n_in * op.n_out,
                              op.n_out, z + m * op.n_out, members * op.n_out)
        p.bias = parameters + op.b + m * op.n_out
        run_product(kernels, &p, z)


cdef inline void embed(const Network* net, const Op* op, ptrdiff_t rows, const real* x,
                       Entries* entries, ptrdiff_t first, real* z) noexcept nogil:
    """z (rows, n_out) = x W + b of each column of the data; a sparse X from row ``first`` on.
    """
    cdef const real* parameters = <const real*>net.parameters
    cdef ptrdiff_t r
    cdef fnn_lookup p
    cdef int64_t wrong
    p.n, p.n_table, p.ld, p.table = op.row_units, op.n_in, op.row_units, parameters + op.w
    if entries != NULL:
        p.table = table_of(net, op, entries, z)
    for r in range(rows):
        if entries != NULL:
            p.column, p.value = entries.column, x
            wrong = embed_row(kernels, &p, entries.start[first + r],
                              entries.start[first + r + 1], op.n_columns, op.firsts,
                              z + r * op.n_out)
        else:
            p.column, p.value = op.inputs, x + r * op.n_in
            wrong = embed_row(kernels, &p, 0, op.n_in, op.n_columns, op.firsts,
                              z + r * op.n_out)
        if wrong >= 0:
            memset(z, 0, rows * op.n_out * sizeof(real))
            entries.wrong = wrong
            return
    bias_activate(kernels, FNN_ACT_identity, rows, op.n_out, z, parameters + op.b, z)


cdef inline void look_up(const Network* net, const Op* op, ptrdiff_t rows, const real* value,
                         Entries* entries, ptrdiff_t first, real* z) noexcept nogil:
    """z (rows, n_out) = activation(x W + b) of a sparse X, from row ``first`` on."""
    cdef const real* parameters = <const real*>net.parameters
    cdef fnn_lookup p
    cdef int64_t wrong
    p = lookup_of(rows, op.n_out, entries.start + first, entries.column, value,
                  table_of(net, op, entries, z), op.n_in, op.n_out, z, op.ld)
    p.bias, p.relu = parameters + op.b, op.activation == FNN_ACT_relu
    wrong = run_lookup(kernels, &p, z)
    if wrong >= 0:
        memset(z, 0, rows * op.ld * sizeof(real))
        entries.wrong = wrong
    activate(op, rows, op.n_out, z, op.ld)


cdef inline bint row_major(const Network* net, ptrdiff_t rows, ptrdiff_t capacity, const real* x,
                           Entries* entries, ptrdiff_t first, real* out, const real* packed,
                           real* room, real* scratch, Watch* watch, void* failures,
                           Shared* shared) noexcept nogil:
    """Row-major, the values in a few buffers by turns; a sparse X from row ``first`` on. Return
    whether a product comes that a team shares, and the pass goes on after it."""
    cdef const real* parameters = <const real*>net.parameters
    cdef ptrdiff_t width, parts, j
    cdef const real* a = x
    cdef real* z = NULL
    cdef real* inverse
    cdef Op* op = &net.data.ops[0]
    cdef fnn_product p
    cdef int i, begin = 0
    if shared != NULL:
        begin, packed = shared.next_op, <const real*>shared.packed
        a = value_of(net, begin - 1, capacity, x, scratch)
    for i in range(begin, net.data.n_ops):
        op = &net.data.ops[i]
        if op.source != i - 1:
            a = value_of(net, op.source, capacity, x, scratch)
        z = scratch + op.slot * slot_size(net, capacity)
        if i == net.data.n_ops - 1 and not net.data.averages:
            z = out
        if op.kind == DENSE and op.source < 0 and entries != NULL:
            look_up(net, op, rows, x, entries, first, z)
        elif op.kind == DENSE:
            p = row_major_product(kernels, rows, op.n_out, op.n_in, a, op.ld_in,
                                  parameters + op.w, op.n_out, z, op.ld)
            if packed != NULL and is_packed(net.data, op, entries != NULL):
                width = p.b_panel
                p.b, p.ldb, p.b_panel = packed, width, op.n_in * width
                packed += (op.n_out + width - 1) // width * width * op.n_in
            p.bias = parameters + op.b
            if shared != NULL and op.n_out >= 2 * SHARED_COLUMNS:
                width = panel_columns(kernels, z)
                shared.op, shared.product, shared.next_op = op, p, i + 1
                shared.packed = packed
                parts = min(SHARED_TASKS * shared.team, FNN_MAX_TASKS)
                shared.columns = max(SHARED_COLUMNS, (op.n_out + parts - 1) // parts)
                shared.columns = (shared.columns + width - 1) // width * width
                return True
            p.room = room
            multiply(op, &p, op.n_out, z)
        if op.kind == DENSE:
            a = z
            continue
        if op.kind == LAYER_NORM:
            layer_norm_rows(kernels, rows, op.n_out, a, op.n_out, parameters + op.w,
                            parameters + op.b, op.eps, z, op.n_out, <real*>NULL)
        elif op.kind == BATCH_NORM:
            inverse = scratch + net.data.n_slots * slot_size(net, capacity)
            for j in range(op.n_out):
                inverse[j] = <real>(1 / sqrt(<double>parameters[op.variance + j] + op.eps))
            batch_norm_rows(kernels, rows, op.n_out, a, op.n_out, parameters + op.w,
                            parameters + op.b, parameters + op.mean, inverse, z, op.n_out)
        elif op.kind == SCALE:
            scale_columns(kernels, rows, op.n_out, a, op.n_out, parameters + op.w, z,
                          op.n_out)
        elif op.kind == PRELU:
            prelu_rows(kernels, rows, op.n_out, a, op.n_out, parameters + op.w, op.shared, z,
                       op.n_out)
        elif op.kind == ADD:
            add_rows(kernels, rows, op.n_out, a, op.n_out,
                     value_of(net, op.other, capacity, x, scratch), op.n_out, z, op.n_out)
        elif op.kind == PYTHON:
            call_function(op, rows, a, z, watch, failures)
        elif op.kind == REPEAT:
            repeat_rows(kernels, rows, net.data.members, op.n_out, a, op.n_in,
                        parameters + op.w, z, op.n_out)
            rows *= net.data.members
        elif op.kind == HEADS:
            heads(net, op, rows, a, z)
        elif op.kind == EMBED:
            embed(net, op, rows, a, entries, first, z)
        elif op.kind == GLU:
            glu_rows(kernels, op.gate, rows, op.n_out, a, op.n_in, z, op.n_out)
        else:
            memcpy(z, a, rows * op.n_out * sizeof(real))
        if op.activation not in (FNN_ACT_identity, FNN_OUTPUT_SOFTMAX):
            bias_activate(kernels, op.activation, 1, rows * op.n_out, z, <const real*>NULL, z)
        a = z
    if net.data.averages:
        if op.activation == FNN_OUTPUT_SOFTMAX:
            softmax_rows(kernels, rows, op.n_out, z, z)
        mean_members(kernels, rows // net.data.members, net.data.members, op.n_out, z,
                     out)
    return False


cdef inline void feature_major(const Network* net, ptrdiff_t rows, const real* x, real* out,
                               real* scratch) noexcept nogil:
    """Feature-major, for narrow dense layers: the same chains, with a row in each lane."""
    cdef const real* parameters = <const real*>net.parameters
    cdef real* a = scratch + net.data.n_slots * LANE_ROWS * net.data.widest
    cdef real* z = a
    cdef ptrdiff_t lanes = (rows + FEWEST_LANES - 1) // FEWEST_LANES * FEWEST_LANES
    cdef Op* op = &net.data.ops[0]
    cdef fnn_product p
    cdef int i
    transpose(kernels, rows, net.data.n_in, x, net.data.n_in, <const ptrdiff_t*>NULL, a,
              lanes)
    for i in range(net.data.n_ops):
        op = &net.data.ops[i]
        z = scratch + op.slot * LANE_ROWS * net.data.widest
        p = row_major_product(kernels, op.n_out, rows, op.n_in, parameters + op.w, op.n_out, a,
                              lanes, z, lanes)
        p.a_by_columns = p.bias_by_rows = True
        p.bias = parameters + op.b
        multiply(op, &p, lanes, z)
        a = z
    transpose(kernels, op.n_out, rows, z, lanes, <const ptrdiff_t*>NULL, out, op.n_out)


cdef inline void forward_block(const Network* net, ptrdiff_t block, ptrdiff_t block_rows,
                               ptrdiff_t all_rows, const real* x, Entries* entries, real* out,
                               const real* packed, ptrdiff_t room, real* scratch, Watch* watch,
                               void* failures, Shared* shared) noexcept nogil:
    """The rows of one block through all operations; what functions in Python raise comes into
    the list ``failures``. The first ``room`` elements of the scratch are for products.

    With ``shared`` up to the next product that a team shares, or the end."""
    if is_stopped(watch):
        return
    cdef uint64_t float_mode = fnn_keep_subnormals()
    cdef ptrdiff_t first = block * block_rows
    cdef ptrdiff_t rows = min(block_rows, all_rows - first)
    cdef const Op* last
    if entries == NULL:
        x += first * net.data.n_in
    out += first * net.data.n_out
    if net.data.narrow and rows >= FEWEST_LANES and entries == NULL:
        feature_major(net, rows, x, out, scratch)
    elif row_major(net, rows, block_rows, x, entries, first, out, packed,
                   scratch if room else NULL, scratch + room, watch, failures, shared):
        fnn_after_keeping_subnormals(float_mode)
        fnn_open_phase(&shared.phases, <int>((shared.product.n + shared.columns - 1)
                                             // shared.columns))
        return
    last = &net.data.ops[net.data.n_ops - 1]
    if last.activation == FNN_OUTPUT_SOFTMAX and not net.data.averages:
        softmax_rows(kernels, rows, net.data.n_out, out, out)
    fnn_after_keeping_subnormals(float_mode)
    if shared != NULL:
        fnn_close(&shared.phases)
    elif watch.on and fnn_team_rank() == 0:
        look(watch)


cdef inline void multiply_part(const Shared* shared, int task, real* room) noexcept nogil:
    """Columns of the product that a team shares, and of its activation."""
    cdef const Op* op = shared.op
    cdef fnn_product p = shared.product
    cdef ptrdiff_t first = task * shared.columns
    cdef real* z = <real*>p.c + first
    p.n = min(shared.columns, p.n - first)
    # of panels these are whole ones
    p.b = <const real*>p.b + (first if p.ldb == op.n_out else first * op.n_in)
    p.bias, p.c, p.room = <const real*>p.bias + first, z, room
    multiply(op, &p, p.n, z)


cdef inline void share(const Network* net, Shared* shared, ptrdiff_t rows, const real* x, real* out,
                       ptrdiff_t room, real* scratch, ptrdiff_t per_thread,
                       Watch* watch) noexcept nogil:
    """All rows, as each thread of a team goes through them: who finishes the last task of a
    product goes on to the next one. None waits for a thread that has no task in hand."""
    cdef uint64_t float_mode = fnn_keep_subnormals()
    cdef int rank = fnn_team_rank(), i, task, tasks
    cdef int64_t open
    if rank == 0:
        forward_block(net, 0, rows, rows, x, NULL, out, <const real*>NULL, room, scratch,
                      watch, NULL, shared)
    open = fnn_await(&shared.phases, 0)
    while open >= 0:
        tasks = fnn_tasks(open)
        for i in range(tasks):
            task = (rank * tasks // shared.team + i) % tasks
            if fnn_claim(&shared.phases, task, open):
                multiply_part(shared, task, scratch + rank * per_thread if room else NULL)
                if fnn_finish(&shared.phases, open):
                    forward_block(net, 0, rows, rows, x, NULL, out, <const real*>NULL, room,
                                  scratch, watch, NULL, shared)
        open = fnn_await(&shared.phases, open)
    fnn_leave(&shared.phases)
    fnn_after_keeping_subnormals(float_mode)
