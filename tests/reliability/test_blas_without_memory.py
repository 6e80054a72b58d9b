"""A fit with BLAS that finds no memory ends, in MemoryError where it must, and hears Ctrl-C.

OpenBLAS alone would ask for memory for ever, see `threads._reserve_buffers`.
"""

import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS")

LIMITED = """
import os, resource, signal, sys, threading, time
import numpy as np
import fastnn
import fastnn.core._arrays, fastnn.training.callbacks, fastnn.training.checkpoint
import fastnn.training._trainer
from fastnn.core import threads
threads._buffers_of_blas()  # imports, which may fail in other ways

rng = np.random.default_rng(0)
X, y = rng.normal(size=(512, 64)).astype("f"), rng.normal(size=(512, 64)).astype("f")
net = fastnn.MLP((64, 64, 64), n_threads=4, gemm="blas", random_state=0)

def one(room, seconds):
    used = int(open("/proc/self/statm").read().split()[0]) * 4096
    resource.setrlimit(resource.RLIMIT_AS, (used + room, resource.RLIM_INFINITY))
    start = time.monotonic()
    if seconds:
        signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        net.fit(X, y, epochs=10**9 if seconds else 20, batch_size=256)
        return "fitted"
    except MemoryError as error:
        return "MemoryError"
    except InterruptedError:
        late = time.monotonic() - start - seconds
        return "interrupted" if late < 1 else f"interrupted {late} s late"

def interrupt(*_):
    raise InterruptedError

signal.signal(signal.SIGALRM, interrupt)
for i in range(int(sys.argv[1]), int(sys.argv[2])):
    pid = os.fork()
    if pid == 0:
        found = "?"
        try:
            found = one(i * int(sys.argv[3]) * 1024, 0.3 if i % 4 == 3 else 0)
            print(i, found, flush=True)
        finally:
            os._exit(0)
    deadline = time.monotonic() + 30
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            print(i, "hangs", flush=True)
            break
        time.sleep(0.01)
"""


@pytest.mark.parametrize("limits, step", [(20, 10_240), pytest.param(
    200, 1024, marks=pytest.mark.slow)])
def test_every_limit(limits, step, run_python):
    """From none to 200 MiB of address space beyond what is used; 4 threads take 128."""
    ran = run_python(LIMITED, 0, limits, step, timeout=30 * limits)
    assert ran.returncode == 0, ran.stderr
    found = dict(line.split(maxsplit=1) for line in ran.stdout.splitlines())
    assert len(found) == limits, ran.stderr
    assert set(found.values()) <= {"fitted", "MemoryError", "interrupted"}, found
    assert {"fitted", "MemoryError", "interrupted"} <= set(found.values()), found


def test_message(monkeypatch):
    import numpy as np

    import fastnn
    from fastnn.core import threads

    if threads._buffers_of_blas()[0] is None:
        pytest.skip("not OpenBLAS")

    def none(*args, **settings):
        raise OSError(12, "Cannot allocate memory")

    net = fastnn.MLP((3, 2), gemm="blas", n_threads=1, random_state=0)
    monkeypatch.setattr(threads, "_reserved", 0)
    with monkeypatch.context() as patch:
        patch.setattr(threads, "_map_nothing", none)
        with pytest.raises(MemoryError, match="no memory for BLAS.* fewer n_threads, or gemm"):
            net.fit(np.ones((4, 3)), np.ones((4, 2)), epochs=1)
    assert not threads._calling  # nobody stays registered
    net.fit(np.ones((4, 3)), np.ones((4, 2)), epochs=1)
