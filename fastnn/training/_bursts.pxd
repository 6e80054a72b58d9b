"""Several epochs in one call, for `_trainer.Trainer`."""

from libc.stdint cimport uint64_t

cimport numpy as cnp

from fastnn.training._job cimport Job

cdef struct Burst:
    int n_epochs
    double* losses            # (n_epochs,)
    const double* rates       # (n_epochs, per_epoch) learning rates, or (n_epochs,)
    ptrdiff_t per_epoch       # steps of an epoch; 0: one rate for all of them
    cnp.npy_intp* order       # (n_rows,): room for the rows of an epoch; NULL: always as before
    const cnp.npy_intp* rows  # (n_rows,): the rows of the data to work on; NULL: all of them
    uint64_t key, stream      # of the shuffles; stream of the first epoch
    void* kept                # like parameters: those after the last epoch that is not looked at
    const void* mean          # published after a step in the place of the parameters; or NULL
    ptrdiff_t size            # of the flat vectors

cdef void compose(const cnp.npy_intp* rows, ptrdiff_t n, cnp.npy_intp* order) noexcept nogil
cdef int run_burst(Job* job, const Burst* burst, bint is_double, int threads) noexcept nogil
