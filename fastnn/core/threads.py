"""How many threads: the least of CPU affinity, container quota and OMP_NUM_THREADS; who may have a
team of them; and BLAS kept to one thread while ours work.
"""

import functools
import os
import queue
import threading
import weakref
from contextlib import contextmanager
from numbers import Integral

from fastnn.core._signals import Guarded
from fastnn.core.imports import imported
from fastnn.core.notices import shown

MAX_THREADS = max(256, os.cpu_count() or 1)  # refused a thread, OpenMP ends the process


@contextmanager
def passive_openmp():
    """While OpenMP is loaded: its threads are to sleep between two parallel regions.

    By default they spin for some milliseconds. That gains 20 us a region on an idle machine; beside
    a busy program it holds up the very thread that is waited for, by a time slice of the scheduler
    for each epoch (one busy loop on one of two cores: 5 times one thread's time, now 1.1 to 1.6).

    Where another package has loaded the same OpenMP library before, its policy holds; where it
    loads it later, ours holds for it too. Wheels bring a library each.

    Who has set a policy keeps it; the environment is as before afterwards.
    """
    if {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & set(os.environ):
        yield
        return
    os.environ["OMP_WAIT_POLICY"] = "passive"
    try:
        yield
    finally:
        os.environ.pop("OMP_WAIT_POLICY", None)


def resolve_threads(n_threads):
    """Return the number of threads that ``n_threads`` asks for.

    Parameters
    ----------
    n_threads : int or None
        None means as many as this process may use, see `default_threads`; in a thread under
        `limited_threads` as many as that says.

    Raises
    ------
    TypeError, ValueError
        When it is not a whole number, below 1, or beyond 256 and the number of CPUs.
    """
    if n_threads is None:
        return getattr(_limits, "threads", None) or default_threads()
    if isinstance(n_threads, bool) or not isinstance(n_threads, Integral):
        raise TypeError(f"n_threads={shown(n_threads)} must be an integer or None")
    number = int(n_threads)
    if not 1 <= number <= MAX_THREADS:
        raise ValueError(f"n_threads={shown(n_threads)} must be >= 1 and <= {MAX_THREADS} "
                         "(None: as many as allowed)")
    return number


_limits = threading.local()


def limited_threads(threads):
    """Let the calling thread, until it ends, have so many threads where no number is given.

    It is for the threads of a pool: what they run has, all together, the threads of the pool, be
    these less or more than those of the process; see `shared_threads`.
    """
    _limits.threads = threads


@functools.cache
def default_threads():
    """Threads this process may use: affinity, cgroup quota, OMP_NUM_THREADS; the least of them.

    Read once per process, and again after a fork.
    """
    limits = [_affinity(), _quota()]
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if wanted.isascii() and wanted.isdigit():
        limits.append(int(wanted.lstrip("0")[:9] or 0) or None)  # of 5,000 digits there is no int
    return max(1, min(limit for limit in limits if limit is not None))


def _affinity():
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# Paths are strings here: pathlib, with what it imports, is an eighth of what fastnn adds to the
# start of NumPy.

def _quota(root="/", process="self"):
    """Return the whole CPUs that the control groups of this process and their parents allow, or
    None."""
    try:
        lines = _text(root, "proc", process, "cgroup").splitlines()
    except OSError:
        return None
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base = os.path.join(root, "sys/fs/cgroup")
        elif "cpu" in controllers.split(","):
            base = os.path.join(root, "sys/fs/cgroup", controllers)
            if not os.path.exists(base):
                base = os.path.join(root, "sys/fs/cgroup/cpu")
        else:
            continue
        parts = [part for part in path.split("/") if part not in ("", ".", "..")]
        for depth in range(len(parts), -1, -1):
            found.append(_group_quota(os.path.join(base, *parts[:depth])))
    found = [quota for quota in found if quota is not None]
    return max(1, int(min(found))) if found else None


def _group_quota(group):
    """Return the CPUs that one control group allows, v2 or v1; None where it sets no limit."""
    try:
        quota, period = _text(group, "cpu.max").split()
    except (OSError, ValueError):
        try:
            quota = _text(group, "cpu.cfs_quota_us")
            period = _text(group, "cpu.cfs_period_us")
        except OSError:
            return None
    try:
        quota, period = int(quota), int(period)
    except ValueError:  # "max"
        return None
    return quota / period if quota > 0 and period > 0 else None


def _text(*place):
    with open(os.path.join(*place)) as file:
        return file.read()


MAX_LEADERS = 4


class _Leader:
    """Lives as long as its thread."""


_lead_lock = threading.RLock()
_leading = threading.local()
_leaders: weakref.WeakSet[_Leader] = weakref.WeakSet()


def team_size(threads):
    """Return the threads that the calling thread may have for a parallel region: so many, or itself
    alone.

    To be called right before each region of several threads. OpenMP keeps a team for each thread
    that ever led one, until that thread ends: 32 callers with teams of 8 were 257 threads. So at
    most `MAX_LEADERS` threads at a time lead one; the others work alone, to the same result. So
    does who is refused a thread by the system.
    """
    if threads == 1:
        return 1
    if not hasattr(_leading, "leader"):
        with _lead_lock:
            if len(_leaders) >= MAX_LEADERS:
                return 1
            leader = _Leader()
            _leaders.add(leader)
            _leading.leader = leader
    from fastnn.core._kernels import form_team  # it loads OpenMP, and passive_openmp comes before

    return threads if form_team(threads) else 1


_fitting: dict[int, list[int]] = {}  # id of a model: the thread that fits it


def sole_fit(model):
    """Return a context for a fit of this model: RuntimeError while there is another one.

    No lock of the model's own: that one would stay locked in a child that is forked meanwhile.
    """
    call = [threading.get_ident()]
    return Guarded(functools.partial(_begin_fit, model, call),
                   functools.partial(_end_fit, model, call))


def refuse_in_fit(model):
    """Raise RuntimeError while there is a fit of this model."""
    if _fitting and id(model) in _fitting:
        raise _is_fitted(model)


class CallingBack:
    """``with CallingBack(model)``: the fit around takes the weights that this thread gives its
    model meanwhile.

    Parameters
    ----------
    model : MLP or estimator
    """

    def __init__(self, model):
        self.call = _fitting.get(id(model), [0])

    def __enter__(self):
        self.call[1:] = [True]

    def __exit__(self, *_):
        del self.call[1:]


def is_called_back(model):
    """Return whether this is a callback of a fit of this model, which takes the weights that it is
    given; RuntimeError within a fit that would not see them."""
    call = _fitting.get(id(model))
    if call is not None and call != [threading.get_ident(), True]:
        raise _is_fitted(model, "set weights in a callback, between two epochs, or wait")
    return call is not None


def _is_fitted(model, cure="fit a copy, or wait"):
    return RuntimeError(f"this {type(model).__name__} is being fitted already, by another "
                        f"thread or around this call; {cure}")


def _begin_fit(model, call):
    if _fitting.setdefault(id(model), call) is not call:
        raise _is_fitted(model)


def _end_fit(model, call):
    if _fitting.get(id(model)) is call:
        del _fitting[id(model)]


def shared_threads(threads):
    """Return how many of so many threads a fit may use that was given no number of its own.

    The cores are used once: while several threads of this process fit (joblib's threading backend,
    a server), each has its part. It is asked before each epoch, as fits come and go. What other
    processes do is told by OMP_NUM_THREADS, which joblib sets for its workers.

    In a thread under `limited_threads` it is the limit that is shared.
    """
    callers = {call[0] for call in tuple(_fitting.values())}
    fits = len(callers.difference(tuple(_lending.values())))
    return threads if fits < 2 else min(threads, max(1, resolve_threads(None) // fits))


_lending: dict[object, int] = {}  # for each pool the thread that waits for it


def lending_threads():
    """Return a context in which the calling thread only waits for threads of a pool: a fit around
    it, of which they are a part, has no share of its own."""
    pool = object()
    return Guarded(functools.partial(_begin_lending, pool), functools.partial(_end_lending, pool))


def _begin_lending(pool):
    _lending[pool] = threading.get_ident()


def _end_lending(pool):
    _lending.pop(pool, None)


MAX_BLAS_CALLERS = 32

# Locks are those that C makes: in Condition and Event, which are Python, Ctrl-C can come between
# taking the lock and saying so, and nobody would ever give it back.  They can be taken twice, by a
# handler too.
_calling_lock = threading.RLock()
_calling: dict[object, tuple[int, int]] = {}  # for each caller its thread and how many it has
_waiting: set[object] = set()
_room: queue.SimpleQueue[None] = queue.SimpleQueue()  # a word to each who waits


_reserved = 0  # callers at a time for which BLAS has its buffers


def blas_callers(threads):
    """Return a context that waits until so many more threads may call BLAS, which then has memory
    for them.

    OpenBLAS gives each caller at a time a buffer, and has room for a number of them that is fixed
    when it is built: 300 callers took 430 MiB and a warning; it ends the process beyond some more.
    """
    caller = object()
    return Guarded(functools.partial(_begin_call, caller, min(threads, MAX_BLAS_CALLERS)),
                   functools.partial(_end_call, caller))


def _begin_call(caller, threads):
    me = threading.get_ident()
    while True:
        with _calling_lock:
            held = sum(count for _, count in _calling.values())
            # a handler must not wait for the very call that it has come in between
            if held + threads <= MAX_BLAS_CALLERS or me in dict(_calling.values()):
                _calling[caller] = me, threads
                _waiting.discard(caller)
                if held + threads > _reserved:
                    _reserve_buffers(held + threads)
                return
            _waiting.add(caller)
        try:
            _room.get(timeout=1)
        except queue.Empty:
            pass


def _reserve_buffers(callers):
    """Let OpenBLAS take its buffers now, for so many callers; it keeps them.

    In a product that finds no memory it asks for ever, deaf to signals, while the team waits for
    its thread. So each buffer is tried for here, where MemoryError can be raised.
    """
    global _reserved
    take, give, size = _buffers_of_blas()
    taken = []
    try:
        for _ in range(callers if take is not None else 0):
            _try_to_map(size, callers)
            taken.append(take(0))
    finally:
        for buffer in taken:
            give(buffer)
    _reserved = max(_reserved, callers)


def _map_nothing(size):
    mmap = imported("mmap")
    mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()


def _try_to_map(size, callers):
    try:
        _map_nothing(size)
    except OSError:
        raise MemoryError(
            f"no memory for BLAS, which takes {size >> 20} MiB of address space for each of "
            f"{callers} threads; fewer n_threads, or gemm='native', need less") from None


@functools.cache
def _buffers_of_blas():
    """Return OpenBLAS's functions that take and give back a buffer, and how many bytes of the
    address space one needs (with a little more); Nones where there are no such functions: another
    BLAS, or Windows."""
    ctypes, mmap, platform = imported("ctypes"), imported("mmap"), imported("platform")
    paths = [blas.filepath for blas in _scipy_blas().lib_controllers
             if blas.internal_api == "openblas"]
    if not hasattr(mmap, "MAP_ANONYMOUS") or not paths:
        return None, None, None
    library = ctypes.PyDLL(paths[0])  # it keeps the GIL: nobody forks while BLAS has its lock
    try:
        take, give = library.blas_memory_alloc, library.blas_memory_free
    except AttributeError:
        return None, None, None
    take.argtypes, take.restype = [ctypes.c_int], ctypes.c_void_p
    give.argtypes, give.restype = [ctypes.c_void_p], None
    on_x86 = platform.machine().lower() in ("x86_64", "amd64")
    return take, give, (33 if on_x86 else 129) << 20


def _end_call(caller):
    with _calling_lock:
        _waiting.discard(caller)
        _, count = _calling.pop(caller, (0, 0))
        for _ in range(min(count, len(_waiting))):
            _room.put(None)


_lock = threading.RLock()
_users: dict[object, int] = {}  # for each user its thread
_found = None  # BLAS libraries, each with the threads that it had before the first user


@functools.cache
def _scipy_blas():
    """Return the controller of the BLAS that SciPy uses; finding it takes about a millisecond."""
    from pathlib import Path

    imported("scipy.linalg.cython_blas")  # before, NumPy's would be all that there is
    blas = imported("threadpoolctl").ThreadpoolController().select(user_api="blas")
    paths = [info["filepath"] for info in blas.info()]
    own = [path for path in paths if {"scipy.libs", "scipy"} & set(Path(path).parts)]
    return blas.select(filepath=own) if own else blas


def _start_anew_after_fork():
    """Forget all other threads: whoever held a lock, led a team, called BLAS or fitted is not there
    any more."""
    global _users, _lead_lock, _leading, _leaders, _fitting, _lending
    global _calling_lock, _calling, _waiting, _room
    try:
        _lock.release()
    except RuntimeError:  # Ctrl-C while this thread waited for it
        _lock._at_fork_reinit()
    _lead_lock, _calling_lock = threading.RLock(), threading.RLock()
    default_threads.cache_clear()
    me = threading.get_ident()
    _leading, _leaders = threading.local(), weakref.WeakSet()
    _calling = {caller: it for caller, it in _calling.items() if it[0] == me}
    _waiting, _room = set(), queue.SimpleQueue()
    _fitting = {model: call for model, call in _fitting.items() if call[0] == me}
    _lending = {pool: it for pool, it in _lending.items() if it == me}
    _users = {user: it for user, it in _users.items() if it == me}
    if _found is not None and not _users:
        _restore_blas()


if hasattr(os, "register_at_fork"):
    # With the lock no other thread is inside of threadpoolctl, which has a lock too.  No functions
    # in Python, which Ctrl-C could keep from releasing it.
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release,
                        after_in_child=Guarded(int, _start_anew_after_fork).__exit__)


def _take_control():
    """threadpoolctl 3.8 lets only one Python thread set OpenBLAS's threads and ignores
    the others silently. Ours takes turns under `_lock`, so whoever held control gives it up."""
    import threadpoolctl

    controller = getattr(threadpoolctl, "OpenBLASController", None)
    if hasattr(controller, "clear_controlling_thread"):
        controller.clear_controlling_thread(force=True)


def single_threaded_blas():
    """SciPy's BLAS on one thread: with threads of its own under ours it is slower than serial, and
    its bits would depend on their number.

    The setting is global to the process. The first user of several at a time makes it, the last one
    restores what was there, also where Ctrl-C comes in the midst of either.
    """
    user = object()
    return Guarded(functools.partial(_begin, user), functools.partial(_end, user))


def _begin(user):
    # A handler of this thread may begin and end a use of its own between any two lines: this one
    # is known from the start, so that it restores nothing, and sets what the other may not have.
    global _found
    with _lock:
        _users[user] = threading.get_ident()
        found = _found
        if found is None:
            found = [(blas, blas.num_threads) for blas in _scipy_blas().lib_controllers]
        if _found is None:
            _found = found
        _take_control()
        for blas, _ in found:
            blas.set_num_threads(1)


def _end(user):
    with _lock:
        _users.pop(user, None)
        if not _users and _found is not None:
            _restore_blas()


def _restore_blas():
    global _found
    found = _found
    if found is None:  # a handler has restored it meanwhile
        return
    _take_control()
    for blas, n_threads in found:
        if n_threads is not None:
            blas.set_num_threads(n_threads)
    _take_control()
    _found = None
