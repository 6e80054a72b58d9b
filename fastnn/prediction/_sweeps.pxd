"""What the sweeps that derivatives are made of go through, and what a call of them works on."""

from libc.stdint cimport int64_t

from fastnn.core._kernels cimport real
from fastnn.core._ops cimport OpKind
from fastnn.core._signals cimport Watch

cdef enum Sweep:
    TANGENTS                    # J v of each row
    ADJOINTS                    # J' u
    COLUMNS                     # all of J, a column after the other
    ROWS                        # ... a row
    INSIDE                      # J' u, of the raw outputs of all members of an ensemble

# see network/lowering.py
cdef struct Op:
    OpKind kind
    int activation
    bint relu                   # fused into the product
    bint gated                  # and its derivative in the product that makes its adjoint
    bint shared                 # PRELU: one slope for all
    int source                  # number of the op that is read, -1: X
    int other                   # ADD: of the other one
    int sums                    # adjoints: first ADD whose adjoint is added to what this op reads,
    int next_sum                # -1: none; and the one after it
    ptrdiff_t n_in
    ptrdiff_t n_out
    ptrdiff_t members           # rows of its value for each row of X
    ptrdiff_t row_units         # elements of a row of W
    ptrdiff_t n_columns         # EMBED: of the data
    const int64_t* firsts       # EMBED (n_columns + 1,): where the inputs of each begin
    int gate                    # GLU: index of the activation
    ptrdiff_t w, b              # offsets in the flat vector
    ptrdiff_t mean, variance    # BATCH_NORM: ... of the running averages
    ptrdiff_t z, a, d           # buffers (rows, n_out), by numbers for a row of X: d of the sweep
    ptrdiff_t stats             # LAYER_NORM (rows, 2)
    ptrdiff_t columns           # BATCH_NORM (2, n_out): 1 / deviation, and gain times that
    ptrdiff_t transposed        # W' in panels; of HEADS one W' after the other
    double eps
    void* function              # PYTHON: a CustomActivation

# what a call works on
cdef struct Task:
    const Op* ops
    int n_ops
    ptrdiff_t members           # of an ensemble
    ptrdiff_t per_row           # numbers of all buffers, for a row
    ptrdiff_t widest
    ptrdiff_t mean              # buffer of the outputs' tangents (rows, n_out), the members' mean
    Sweep sweep
    bint raw                    # derivatives of the last op's z
    bint few
    ptrdiff_t rows
    ptrdiff_t capacity          # rows of a block
    const void* parameters
    const void* columns         # what `Op.columns` says
    const void* copies          # W'
    const void* x               # (rows, n_in)
    const void* given           # TANGENTS (rows, n_in), ADJOINTS (rows, n_out)
    void* out


cdef inline const real* value_of(const Task* task, int number, const real* x,
                                 const real* scratch) noexcept nogil:
    """Value (rows, n_out) of an operation; of number -1 the inputs."""
    return x if number < 0 else scratch + task.ops[number].a * task.capacity


cdef inline real* sweep_of(const Task* task, int number, real* scratch) noexcept nogil:
    """Tangents or adjoints (rows, n_out) of an operation's value."""
    return scratch + task.ops[number].d * task.capacity


cdef void embed_product(const Op* op, ptrdiff_t rows, const real* x, const real* w,
                        const real* b, real* z) noexcept nogil
cdef void set_columns(const Task* task, real* columns) noexcept nogil
cdef void forward(const Task* task, ptrdiff_t rows, const real* x, real* scratch, Watch* watch,
                  void* failures) noexcept nogil
cdef void through_activation(const Task* task, const Op* op, ptrdiff_t rows, real* d,
                             real* scratch) noexcept nogil
cdef void through_output(const Task* task, ptrdiff_t rows, real* scratch) noexcept nogil
cdef void call_function(const Op* op, bint slope, ptrdiff_t rows, const real* x,
                        const real* factor, ptrdiff_t ldf, real* out, ptrdiff_t ldout, Watch* watch,
                        void* failures) noexcept with gil
cdef void copy_rows(ptrdiff_t rows, ptrdiff_t n, const real* x, ptrdiff_t ldx, real* out,
                    ptrdiff_t ldout) noexcept nogil
