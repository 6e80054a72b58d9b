"""The operations of `_curvature`, and how R{.} goes through each kind of them."""

from libc.stdint cimport int64_t

from fastnn.core._kernels cimport real
from fastnn.core._ops cimport OpKind
from fastnn.training._bends cimport Bend

cdef struct Op:
    OpKind kind
    int activation
    Bend bend
    bint shared                 # PRELU: one slope for all
    int gate                    # GLU: index of the activation,
    Bend gate_bend              # ... and its second derivative
    ptrdiff_t row_units         # elements of a row of W
    ptrdiff_t n_columns         # EMBED: of the data
    const int64_t* firsts       # EMBED (n_columns + 1,): where the inputs of each begin
    int source, other, sums, next_sum
    ptrdiff_t n_in, n_out
    ptrdiff_t members           # rows of its value for each row of X
    ptrdiff_t w, b
    ptrdiff_t mean, variance    # BATCH_NORM: offsets of the running averages
    ptrdiff_t buffers           # the first of its buffers, each (block, members, n_out)
    ptrdiff_t stats             # LAYER_NORM (block, members, 2); BATCH_NORM (3, n_out)
    ptrdiff_t wt, vt            # W' and V' (n_out, n_in), of HEADS one after the other
    double eps

# What R{.} is taken of, and where the results go; rows of the data, x and the others of an op
# (rows, members, n). rx, dx and rdx are NULL at the inputs of the network.
cdef struct Way:
    ptrdiff_t rows
    const void* w               # the parameters,
    const void* v               # and the direction
    const void* x
    const void* rx
    void* z
    void* rz
    const void* d
    const void* rd
    void* dx
    void* rdx
    void* spare                 # a buffer of it
    void* out                   # H v

cdef void dense_forward(const Op* op, const Way* way, real* scratch) noexcept nogil
cdef void dense_backward(const Op* op, const Way* way, real* scratch) noexcept nogil
cdef void embed_forward(const Op* op, const Way* way, real* scratch) noexcept nogil
cdef void embed_backward(const Op* op, const Way* way, real* scratch) noexcept nogil
cdef void glu_forward(const Op* op, const Way* way, real* scratch) noexcept nogil
cdef void glu_backward(const Op* op, const Way* way, real* scratch) noexcept nogil
cdef void norm_forward(const Op* op, const Way* way, real* scratch) noexcept nogil
cdef void norm_backward(const Op* op, const Way* way, real* scratch) noexcept nogil
cdef void batch_norm_forward(const Op* op, const Way* way, real* scratch) noexcept nogil
cdef void batch_norm_backward(const Op* op, const Way* way, real* tag) noexcept nogil
cdef void factor_forward(const Op* op, const Way* way, real* tag) noexcept nogil
cdef void factor_backward(const Op* op, const Way* way, real* scratch) noexcept nogil
cdef void prelu_forward(const Op* op, const Way* way, real* scratch) noexcept nogil
cdef void prelu_backward(const Op* op, const Way* way, real* scratch) noexcept nogil
