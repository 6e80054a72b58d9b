"""Signals: looked for in long loops, and kept from leaving things half done.

CPython runs the handler of a signal in the main thread, between two bytecodes or where compiled
code asks it to. So Ctrl-C waits for the end of a compiled loop that does not look for it; and in
Python it comes between any two calls, at the beginning of a `finally` and in an `__exit__` too.
"""

import os
import threading

cimport cython
from cpython.exc cimport PyErr_CheckSignals

from fastnn.core._team cimport (
    FNN_STORE,
    fnn_float_mode,
    fnn_restore_float_mode,
    fnn_seconds,
)

cdef double SECONDS = 0.015  # taking the GIL can cost 5 ms where Python threads are busy
cdef enum:
    ATTEMPTS = 5

pending = []  # what handlers raised in loops that have not come to their end yet


cdef void start_watch(Watch* watch, bint worthwhile):
    """``worthwhile``: whether the loop may take longer than some milliseconds."""
    watch.on = worthwhile and threading.get_ident() == threading.main_thread().ident
    watch.stopped = 0
    if watch.on:
        watch.looked = fnn_seconds()
        watch.float_mode = fnn_float_mode()


cdef void look(Watch* watch) noexcept nogil:
    """Looks for signals, not more often than every 15 ms. What a handler raises is kept until the
    loop has ended, by `raise_if_stopped`."""
    cdef double now = fnn_seconds()
    cdef uint64_t float_mode
    if is_stopped(watch) or 0 <= now - watch.looked < SECONDS:
        return
    watch.looked = now
    float_mode = fnn_float_mode()
    fnn_restore_float_mode(watch.float_mode)
    with gil:
        try:
            PyErr_CheckSignals()
        except BaseException as error:
            pending.append(error)
            FNN_STORE(&watch.stopped, 1)
    fnn_restore_float_mode(float_mode)


cdef int raise_if_stopped(Watch* watch) except -1:
    if is_stopped(watch):
        raise pending.pop()
    return 0


@cython.final
cdef class Guarded:
    """``with Guarded(enter, leave): ...``: calls them before and after, whatever signals come when.

    Parameters
    ----------
    enter, leave : callable
        A handler that raises may end either half way. `leave` is then called, or called again, so
        it must undo what part `enter` has done and whatever it has not undone itself before.
    """

    cdef object enter, leave

    def __init__(self, enter, leave):
        self.enter, self.leave = enter, leave

    def __enter__(self):
        try:
            self.enter()
        except BaseException:
            finish(self.leave)
            raise

    def __exit__(self, *_):
        finish(self.leave)


cdef finish(action):
    """Calls it until it has come to its end; what was raised meanwhile is raised then."""
    raised = None
    for _ in range(ATTEMPTS):  # not for ever: the error may be its own
        try:
            action()
            break
        except BaseException as error:
            raised = error
    if raised is not None:
        raise raised


def sync_folder(path):
    """Flush a folder to the disk. In Python a handler could come between opening it and `try`."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
