"""The operations of a network as a prediction goes through them; see network/lowering.py."""

cimport cython
from libc.stdint cimport int32_t, int64_t

from fastnn.core._ops cimport OpKind

cdef enum:
    LANE_ROWS = 64             # rows of a block in the lanes: whole tiles
    SHARED_COLUMNS = 256       # at least, of a product that a team shares for each task

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
    ptrdiff_t ld               # elements from row to row of its value
    ptrdiff_t ld_in            # and of the value that it reads
    void* function             # PYTHON: a CustomActivation
    ptrdiff_t mean, variance   # BATCH_NORM: offsets of the running averages
    bint shared                # PRELU: one slope for all
    ptrdiff_t row_units        # elements of a row of W
    ptrdiff_t n_columns        # EMBED: of the data
    const int64_t* firsts      # EMBED (n_columns + 1,): where the inputs of each begin
    const int32_t* inputs      # EMBED (n_in,): 0, 1, 2, ...
    int gate                   # GLU: index of the activation


# what every prediction reads: snapshots have copies, as a pointer more is a few per cent of a row
cdef struct ProgramData:
    int type_num
    bint is_double
    int n_ops
    Op* ops
    ptrdiff_t size           # elements of the flat vector
    ptrdiff_t n_in
    ptrdiff_t n_out
    ptrdiff_t widest
    int n_slots
    ptrdiff_t widest_norm    # of BATCH_NORM
    bint is_python           # has functions in Python
    bint narrow              # feature-major where there are rows enough
    ptrdiff_t members        # of an ensemble: rows inside for each row of X
    bint averages            # the members' outputs
    ptrdiff_t block_rows
    ptrdiff_t packed_from    # W of so many columns are packed for many rows,
    ptrdiff_t packed_size    # into so many elements,
    ptrdiff_t packed_inputs  # so many of them for W that X is multiplied with
    ptrdiff_t table_size     # elements of these W
    bint looks_up            # nothing but dense operations reads X
    bint shares              # a team may work on few rows together: a product is wide enough
    double flops_per_row


@cython.final
cdef class Program:
    cdef ProgramData data
    cdef list kept           # arrays that the operations point into

    cdef set_op(self, Op* op, description, offsets)


cdef Program program_of(layout, n_ops)
