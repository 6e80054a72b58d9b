"""Teams of threads, phases of tasks, the float mode: the functions of csrc/team.h."""

from libc.stdint cimport int64_t, uint64_t

cdef extern from "team.h" nogil:
    ctypedef struct fnn_phases:
        int64_t open
    enum:
        FNN_MAX_TASKS
        FNN_SPINS
    int FNN_HAS_OPENMP
    int64_t FNN_LOAD(int64_t*)
    void FNN_STORE(int64_t*, int64_t)
    double fnn_seconds()
    int fnn_team_size()
    int fnn_team_rank()
    void fnn_team_prepare()
    bint fnn_team_form(int threads)
    int fnn_tasks(int64_t open)
    void fnn_open_phase(fnn_phases*, int tasks)
    void fnn_close(fnn_phases*)
    bint fnn_claim(fnn_phases*, int task, int64_t open)
    bint fnn_finish(fnn_phases*, int64_t open)
    void fnn_wait_a_little(int spin)
    int64_t fnn_await(fnn_phases*, int64_t seen)
    void fnn_leave(fnn_phases*)
    uint64_t fnn_float_mode()
    void fnn_restore_float_mode(uint64_t)
    uint64_t fnn_flush_subnormals()
    uint64_t fnn_keep_subnormals()
    void fnn_after_keeping_subnormals(uint64_t)
