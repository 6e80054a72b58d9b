"""Looking for Ctrl-C in long loops of training and prediction."""

from libc.stdint cimport int64_t, uint64_t

from fastnn.core._team cimport FNN_LOAD

# Who looks, when, and what came of it; one for each run of a loop, looked after by one thread.
cdef struct Watch:
    bint on                   # the looking thread is the one that runs signal handlers
    int64_t stopped           # a handler has raised: by the looking thread, while others read it
    double looked             # when
    uint64_t float_mode       # the caller's, which a handler is to find

cdef void start_watch(Watch* watch, bint worthwhile)
cdef void look(Watch* watch) noexcept nogil
cdef int raise_if_stopped(Watch* watch) except -1


cdef inline bint is_stopped(Watch* watch) noexcept nogil:
    return FNN_LOAD(&watch.stopped) != 0
