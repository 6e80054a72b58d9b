"""The job that `_training.Trainer` fills in and the team of `_loop` works off."""

from libc.stdint cimport int32_t, int64_t

cimport numpy as cnp

from fastnn._kernels cimport fnn_dropout, fnn_kernels, real
from fastnn._types cimport Layer, fnn_barrier

cdef enum Mode:
    UPDATE      # one optimizer step per batch
    GRADIENT    # add the gradient of all batches up, weights stay
    LOSS        # forward only

cdef struct TrainingLayer:
    Layer net
    bint drops
    fnn_dropout dropout
    ptrdiff_t z, a, dropped, dz  # offsets of (shard_rows, n_out) buffers in a thread's scratch
    ptrdiff_t state_at           # of dW, db in a shard's gradient: as in the flat vector

cdef struct Chunk:
    ptrdiff_t at
    ptrdiff_t size
    bint decays

# Everything an epoch needs. `void*` is of the dtype.
cdef struct Job:
    const fnn_kernels* k
    Mode mode
    int n_layers
    TrainingLayer* layers
    int loss
    bint value_loss           # the loss sees the output's activation, not the raw output
    double reduction          # the gradient is divided by it beside the sum of weights
    double loss_reduction
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
    # plan
    ptrdiff_t batch
    ptrdiff_t shard_rows
    int n_shards
    int signal_steps
    bint handles_signals
    # parameters, gradients, scratch
    ptrdiff_t n_parameters
    void* parameters
    void* state0
    void* state1
    void* gradient            # (n_parameters,) in GRADIENT mode
    void* parts               # (n_shards, part_stride)
    ptrdiff_t part_stride
    void* scratch             # (threads, scratch_stride)
    ptrdiff_t scratch_stride
    ptrdiff_t x_at, y_at, weights_at, labels_at  # gathered rows, in a thread's scratch
    int n_chunks
    const Chunk* chunks
    # of the step
    int optimizer
    double learning_rate
    double* hyperparameters
    int64_t step              # optimizer steps before this epoch, and after it
    int64_t last_step
    double* shard_loss        # (n_shards,)
    double* shard_weight
    double* chunk_squares     # (n_chunks,)
    # of the epoch
    double loss_sum           # sum of batch loss * rows
    double weight_sum
    bint stop_if_diverged
    bint diverged
    bint interrupted
    fnn_barrier barrier


cdef int run_job(Job* job, bint is_double, int threads) noexcept
cdef void run_shard(Job* job, int64_t step, int shard, ptrdiff_t start, ptrdiff_t rows,
                    real* scratch, real* gradient) noexcept nogil
