"""The job that `_trainer.Trainer` fills in, and that the loop and both layouts' steps read."""

from libc.stdint cimport int32_t, int64_t, uint64_t

cimport numpy as cnp

from fastnn.core._kernels cimport fnn_dropout, fnn_kernels
from fastnn.core._ops cimport OpKind
from fastnn.core._signals cimport Watch
from fastnn.core._team cimport fnn_phases

cdef enum Mode:
    UPDATE      # one optimizer step per batch
    GRADIENT    # add the gradient of all batches up, weights stay
    LOSS        # forward only
    GIVEN       # one optimizer step with the gradient that is given

cdef enum Stage:
    PREPARE     # bring the copies of W up to date
    SHARDS      # forward and backward, each shard of the batch by itself
    APPLY       # chunk by chunk: the gradient of the batch, then update, or sum up
    # the phases of `_phases`, in the place of APPLY; most steps have two of them at most
    COLLECT     # chunk by chunk: the whole gradient of the batch
    MOMENTUM    # Muon, as the four that follow; by rows of W: momentum
    NORMALISE   # by rows of X: X / |X|
    GRAM        # by rows of X' X
    POLYNOMIAL  # by rows of a I + b X' X + c (X' X)^2
    PRODUCT     # by rows of X times that
    STEP        # chunk by chunk: the update
    LIMIT       # by columns of W: no unit's incoming weights longer than max_norm
    FINISH      # chunk by chunk: averages and copies of what LIMIT has changed

cdef enum BlockKind:
    WEIGHT
    BIAS
    GAIN
    SLOPE
    MEMBER_SCALE

# What every step reads comes first: of a small net it fits in two cache lines.
cdef struct Op:
    OpKind kind
    int activation               # index of the elementwise one, or FNN_OUTPUT_SOFTMAX
    bint relu                    # fused into the native product
    bint gated                   # its derivative too, in the product that makes dx
    bint native                  # products by our own kernels, else by BLAS
    bint drops
    int source                   # number of the op that is read, -1: X
    int other                    # ADD: of the other one
    int sums                     # backward: first ADD whose dz is added to dx, -1: none,
    int next_sum                 # ... and ADD: the one after it
    ptrdiff_t n_in
    ptrdiff_t n_out
    ptrdiff_t w                  # offset of W (n_in, n_out), or of the gain, in the flat vector
    ptrdiff_t b                  # offset of b (n_out,)
    # Offsets of buffers in the scratch. Row-major (batch, ld); feature-major, where each thread has
    # its own, (n_out, lanes), the a then followed by a row of ones.
    ptrdiff_t z, a, dz, dropped
    ptrdiff_t ld
    ptrdiff_t members            # rows of its value for each row of the data
    # copies of W in panels for native products, offsets into `copies`; -1: none
    ptrdiff_t packed             # W (n_in, n_out), for X W
    ptrdiff_t transposed         # W' (n_out, n_in), for dZ W'; HEADS: of each member, row-major
    ptrdiff_t panels             # dz (batch, n_out) in panels, for X' dz, in the scratch; -1: none
    ptrdiff_t stats              # LAYER_NORM (batch, 2); BATCH_NORM (n_shards, 3, n_out)
    double eps                   # LAYER_NORM, BATCH_NORM
    double limit                 # of the norms of the columns of W
    fnn_dropout dropout
    void* python                 # PYTHON: a PythonActivation
    ptrdiff_t mean, variance     # BATCH_NORM: offsets of the running averages in the flat vector
    double momentum              # BATCH_NORM
    bint fixed                   # BATCH_NORM: frozen, so normalised by them in training, too
    bint shared                  # PRELU: one slope for all
    ptrdiff_t table              # sums of rows of W that codes look up, in `copies`; -1: none
    ptrdiff_t row_units          # elements of a row of W
    ptrdiff_t n_columns          # EMBED: of the data
    const int64_t* firsts        # EMBED (n_columns + 1,): where the inputs of each begin; or NULL
    const int32_t* inputs        # EMBED (n_in,): 0, 1, 2, ...
    int gate                     # GLU: index of the activation

# Parameters that one thread updates in one go: rows of a W, or a piece of another block.
cdef struct Chunk:
    ptrdiff_t at
    ptrdiff_t size
    ptrdiff_t start              # place of the first one in its block
    BlockKind kind
    bint decay                   # whether L2 acts on it
    int op
    ptrdiff_t row                # the first one of W
    int group
    int matrix                   # of Muon; -1: none

# Parameters with settings of their own: as a rule those of a layer.
cdef struct Group:
    double rate_factor           # of the step's learning rate
    double l2                    # of weights, as alpha
    double l1
    double decay                 # apart from the gradient, where the optimizer's row has none
    bint frozen
    double[8] hyperparameters    # h[] of the optimizer's row

# A weight matrix whose momentum Muon makes orthogonal. X has no fewer rows than columns: it is W as
# it lies, or W' where that is wider than tall.
cdef struct Matrix:
    ptrdiff_t at                 # of W in the flat vector
    ptrdiff_t n_in, n_out
    ptrdiff_t rows, columns      # of X
    ptrdiff_t x, y               # X and the next X; offsets into `muon`, as the following ones
    ptrdiff_t gram, square       # (columns, columns)
    double rate_factor, decay
    double norm                  # of the momentum

# Rows of one matrix, or columns of one W, that one thread works on in one go.
cdef struct Strip:
    int number                   # of the matrix, or of the operation
    ptrdiff_t first, stop

cdef struct Strips:
    int n_tasks                  # task t has strips t, t + n_tasks, ...
    int n
    Strip* strip

# What a step has beside a plain one; see _phases.pyx.
cdef struct Extras:
    bint whole                   # whether the update needs the whole gradient
    Group* groups
    void* summed                 # gradient of the batch, like parameters
    double clip_norm, clip_value  # infinity: none
    double scale                 # of the gradient, as clip_norm wants it
    double* norms                # (n_chunks,) squares
    void* mean                   # of the weights, like parameters; NULL: none
    double mean_rate             # 1 - decay of the mean
    Strips limits                # columns of W
    int n_matrices
    Matrix* matrices
    void* muon
    double momentum
    bint nesterov
    int rounds                   # of Newton and Schulz
    int round                    # the one that is done
    Strips inputs, rows, columns  # strips of W, X and X' X, by rows
    double* squares              # (inputs.n,)

# X where a batch of it has to be made: of numbers of other types, or changed in training.
cdef struct Inputs:
    int number                # type of the numbers of X, FNN_NUMBER_*; -1: the dtype, row by row
    ptrdiff_t row             # bytes from row to row
    ptrdiff_t column          # ... from number to number
    ptrdiff_t itemsize
    bint direct               # one behind the other, aligned, native: converted where they lie
    bint swapped              # of the other byte order
    bint changed              # in this run, by what follows
    bint drops
    bint noisy
    bint mixed                # with another row of the batch, in this run
    fnn_dropout dropout
    fnn_dropout noise         # its scale: the standard deviation
    uint64_t mix_seed, mix_stream    # of the partners
    const double* shares      # (steps of the epoch,): of each row's own in its mixture
    int64_t first_step        # of the epoch
    ptrdiff_t* partners       # (batch,): the row of the batch that each is mixed with
    void* partner             # (batch, n_in): room for these
    void* staged              # feature-major: (batch, n_in) before it is transposed
    void* staged_y            # ... and targets (batch, n_out)

# A sparse X that is read by look-ups alone, and the entries of a batch sorted by column: see
# _ops_lookup.pyx.
cdef struct Lookup:
    bint on                   # in this run: no batch of X is made dense
    bint sorts                # ... with gradients
    bint skips                # ... rows of W that have none stay as they are
    const unsigned char* adds  # (n_in,) of codes: whether a row adds to the one before; or NULL
    int passes                # of the sort,
    int bits                  # by so many bits of the column
    ptrdiff_t capacity        # for entries
    int32_t* columns[2]       # (capacity,) from pass to pass, as the next two; of one pass none
    int32_t* rows[2]          # of the batch
    void* values[2]
    int sorted                # which of the two holds the result
    ptrdiff_t n_touched       # columns that have entries in this batch
    int32_t* touched          # these, ascending
    int64_t* start            # (n_touched + 1,) where the entries of each begin
    # of codes alone
    int64_t* starts           # (n_in + 1,) where the entries of each column begin
    int32_t* places           # (n_in,) where the gradient of a row lies, see place_gradient
    unsigned char* joins      # (n_touched,) whether a row of the gradient goes on in the one before
    ptrdiff_t* first          # (n_chunks,) first one within the rows of W of a chunk
    ptrdiff_t* stop           # ... and the one behind the last

# Everything an epoch needs. `void*` is of the dtype.
cdef struct Job:
    const fnn_kernels* k
    Mode mode
    int n_ops
    Op* ops
    Op* last                  # whose z are the raw outputs
    ptrdiff_t n_in
    ptrdiff_t members         # of an ensemble: rows of the operations for each row of the data
    int loss
    const double* loss_parameters  # (n_out, FNN_N_PARAMETERS) or NULL
    void* python_loss         # a PythonLoss or NULL
    bint value_loss           # the loss sees the output's activation, not the raw output
    double reduction          # the gradient is divided by it beside the sum of weights
    double loss_reduction
    double ceiling            # of the loss of one element, in the reported loss
    double alpha
    # data
    ptrdiff_t n_rows          # of this epoch: of `order`, where there is one
    const cnp.npy_intp* order
    const void* x             # (n_samples, n_in), or CSR:
    const int64_t* csr_start  # (n_samples + 1,)
    const int32_t* csr_column
    const void* y             # (n_samples, n_out)
    const int32_t* labels     # (n_samples,)
    const void* weights       # (n_samples,) or NULL
    bint x_gathered           # a batch of X is made: CSR, or see Inputs
    # plan
    ptrdiff_t batch
    ptrdiff_t shard_rows
    ptrdiff_t spare           # rows that a last shard may lack; 0: it is longer instead
    int n_batch_norms         # that move their running averages
    bint is_double
    bint feature_major        # a sample is a column, features `lanes` apart
    ptrdiff_t lanes
    int n_shards
    bint x_in_place           # X is read where it lies, through pointers to its rows
    int clock_steps           # steps between two looks at the clock
    # parameters, gradients, scratch
    void* parameters
    void* copies              # of W, see Op
    bint renews_copies        # with each update; an epoch begins by it in any case
    void* state0
    void* state1
    void* state2
    void* gradient            # like parameters, in GRADIENT mode
    const void* given         # like parameters, in GIVEN mode
    void* partial             # partial gradients: feature-major (n_shards, partial_stride), each
    ptrdiff_t partial_stride  # shard's; row-major (threads, partial_stride), that of one chunk
    ptrdiff_t room_at         # FNN_ROOM bytes behind that gradient of one chunk, if ops have panels
    void* scratch             # feature-major (threads, scratch_stride), else of the whole batch
    ptrdiff_t scratch_stride
    ptrdiff_t y_at, weights_at, labels_at  # gathered rows, in the scratch
    ptrdiff_t x_at            # ... of X, feature-major
    void* x_copy              # ... row-major (batch, n_in), NULL where X is never made dense
    ptrdiff_t transposed_at   # feature-major: dz of one op as (shard_rows, n_out)
    const void** x_rows       # (batch,) with `x_in_place`
    int n_chunks
    const Chunk* chunks
    int n_groups              # of chunks, each a task
    const int* groups         # (n_groups + 1,): the first chunk of each
    # of the step
    int optimizer
    double learning_rate
    const double* rates       # (steps of the epoch,) one learning rate each; NULL: the same for all
    double* hyperparameters
    int64_t step              # optimizer steps done
    double* shard_loss        # (n_shards,)
    double* shard_weight
    double* chunk_squares     # (n_chunks,); with `extras` the penalty
    Extras* extras            # NULL: none
    # of the epoch; written between two phases by the thread that ended the first one
    fnn_phases phases
    Stage stage
    ptrdiff_t start           # first row of the batch
    ptrdiff_t rows            # of the batch
    int n_partial             # shards of the batch
    double batch_loss
    double batch_weight
    double loss_sum           # sum of batch loss * rows
    double weight_sum
    bint stop_if_diverged
    bint diverged
    Watch watch               # thread 0 looks
    Inputs inputs
    Lookup lookup
