"""The operations of a network as a prediction goes through them; see network/lowering.py."""

cimport cython
from libc.stdint cimport int32_t, int64_t

from fastnn.core._ops cimport OpKind

cdef enum:
    LANE_ROWS = 64             # rows of a block in the lanes: whole tiles

cdef struct Op:
    OpKind kind
    ptrdiff_t n_in
    ptrdiff_t n_out
    ptrdiff_t w                # offset of W (n_in, n_out), or of the gain, in the flat vector
    ptrdiff_t b                # offset of b (n_out,)
    int activation             # index of the elementwise one, or FNN_OUTPUT_SOFTMAX
    double eps                 # LAYER_NORM
    int source                 # number of the op that is read, -1: X
    int other                  # ADD: of the other one
    int slot                   # buffer of its value
    void* function             # PYTHON: a CustomActivation
    ptrdiff_t mean, variance   # BATCH_NORM: offsets of the running averages
    bint shared                # PRELU: one slope for all
    ptrdiff_t row_units        # elements of a row of W
    ptrdiff_t n_columns        # EMBED: of the data
    const int64_t* firsts      # EMBED (n_columns + 1,): where the inputs of each begin
    const int32_t* inputs      # EMBED (n_in,): 0, 1, 2, ...
    int gate                   # GLU: index of the activation


@cython.final
cdef class Program:
    cdef int type_num
    cdef bint is_double
    cdef int n_ops
    cdef Op* ops
    cdef list kept               # arrays that the operations point into
    cdef ptrdiff_t size          # elements of the flat vector
    cdef ptrdiff_t n_in
    cdef ptrdiff_t n_out
    cdef ptrdiff_t widest
    cdef int n_slots
    cdef ptrdiff_t widest_norm   # of BATCH_NORM
    cdef bint is_python          # has functions in Python
    cdef bint narrow             # feature-major where there are rows enough
    cdef ptrdiff_t members       # of an ensemble: rows inside for each row of X
    cdef bint averages           # the members' outputs
    cdef ptrdiff_t block_rows
    cdef ptrdiff_t packed_from   # W of so many columns are packed for many rows,
    cdef ptrdiff_t packed_size   # into so many elements,
    cdef ptrdiff_t packed_inputs  # so many of them for W that X is multiplied with
    cdef ptrdiff_t table_size    # elements of these W
    cdef bint looks_up           # nothing but dense operations reads X
    cdef double flops_per_row

    cdef set_op(self, Op* op, description, offsets)


cdef Program program_of(layout, n_ops)
