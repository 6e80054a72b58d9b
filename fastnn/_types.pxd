"""The layer as the compiled loops see it, and the team functions of csrc/team.h."""

from libc.stdint cimport uint64_t

cdef struct Layer:
    ptrdiff_t n_in
    ptrdiff_t n_out
    ptrdiff_t w          # offset of W (n_in, n_out) in the flat vector, in elements
    ptrdiff_t b          # offset of b (n_out,)
    int activation       # index of the elementwise activation, or FNN_OUTPUT_SOFTMAX
    bint needs_z         # its derivative needs z beside a

cdef extern from "team.h" nogil:
    ctypedef struct fnn_barrier:
        int arrived
        int phase
    int FNN_HAS_OPENMP
    double fnn_seconds()
    int fnn_team_size()
    int fnn_team_rank()
    void fnn_team_release()
    void fnn_barrier_wait(fnn_barrier*, int team)
    uint64_t fnn_flush_subnormals()
    void fnn_restore_float_mode(uint64_t)
