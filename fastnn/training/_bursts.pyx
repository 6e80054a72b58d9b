"""Several epochs in one call, where nothing is to happen between two of them.

An epoch of a small network takes less time than what Python does around it, and of several networks
side by side only one at a time can be in Python.
"""

from libc.math cimport isfinite
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

cimport numpy as cnp

from fastnn.core._arrays cimport are_finite
from fastnn.core._signals cimport is_stopped, look
from fastnn.training._job cimport Job
from fastnn.training._loop cimport run_team


cdef void compose(const cnp.npy_intp* rows, ptrdiff_t n, cnp.npy_intp* order) noexcept nogil:
    """order (n,) = what its numbers of rows mean: rows[order]."""
    cdef ptrdiff_t i
    for i in range(n):
        order[i] = rows[order[i]]


cdef bint keep(const Job* job, const Burst* burst, bint is_double) noexcept nogil:
    """Whether what an epoch has published is finite; then it is kept."""
    cdef const void* published = job.parameters
    if burst.mean != NULL and job.step > 0:
        published = burst.mean
    if is_double:
        if not are_finite[double](<const double*>published, burst.size):
            return False
        memcpy(burst.kept, published, burst.size * sizeof(double))
    else:
        if not are_finite[float](<const float*>published, burst.size):
            return False
        memcpy(burst.kept, published, burst.size * sizeof(float))
    return True


cdef void open_epoch(Job* job, const Burst* burst, int epoch) noexcept nogil:
    """The rows and the rates of an epoch."""
    if burst.order != NULL:
        job.k.shuffle(job.n_rows, burst.key, burst.stream + <uint64_t>epoch,
                      <ptrdiff_t*>burst.order)
        if burst.rows != NULL:
            compose(burst.rows, job.n_rows, burst.order)
    job.rates = NULL
    if burst.per_epoch > 0:
        job.rates = burst.rates + epoch * burst.per_epoch
    else:
        job.learning_rate = burst.rates[epoch]
    job.loss_sum = job.weight_sum = 0
    job.diverged = False


cdef int run_burst(Job* job, const Burst* burst, bint is_double, int threads) noexcept nogil:
    """The epochs, until one is not finite, or is given up for a signal; how many have come to their
    end. ``kept`` gets the parameters after each but the last of them."""
    cdef int epoch
    for epoch in range(burst.n_epochs):
        if epoch > 0:
            if not isfinite(burst.losses[epoch - 1]) or not keep(job, burst, is_double):
                return epoch
            if job.watch.on:
                look(&job.watch)
        if is_stopped(&job.watch):
            return epoch
        open_epoch(job, burst, epoch)
        run_team(job, is_double, threads)
        if is_stopped(&job.watch):
            return epoch
        burst.losses[epoch] = job.loss_sum
        if not job.diverged:
            burst.losses[epoch] /= job.n_rows
    return burst.n_epochs
