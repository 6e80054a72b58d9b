"""A process that predicts and fits for ever: memory and threads stay as they are."""

import ctypes
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

PROGRAM = """
import os, pickle, signal, sys, tempfile, warnings
import numpy as np
import fastnn

warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
X = rng.normal(size=(3000, 20)).astype("f")
y = (X[:, 0] > 0).astype(np.int32)
row, few = X[:1], X[:200]
net = fastnn.MLP((20, 64, 2), output="softmax", random_state=0, n_threads=2)
small = fastnn.MLP((20, 8, 2), output="softmax", random_state=0, n_threads=2)
blas = fastnn.MLP((20, 8, 2), output="softmax", random_state=0, gemm="blas")
wide = fastnn.MLP((20, 600, 600, 2), output="softmax", random_state=0, n_threads=2)


def fresh():
    made = fastnn.MLP((20, 8, 2), output="softmax", random_state=0)
    made.fit(X[:32], y[:32], epochs=1)


def refused():
    try:
        net.predict(X[:, :3])
    except ValueError:
        return
    sys.exit("a wrong X was taken")


def refused_values():
    try:
        scaled.predict(bad)
    except ValueError:
        return
    sys.exit("NaN was taken")


def estimator():
    fastnn.MLPClassifier((8,), max_iter=2, random_state=0).fit(X[:32], y[:32])


def files():
    net.save(path)
    fastnn.load(path).predict(row)


def stop(*_):
    raise KeyboardInterrupt


def interrupted():
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.005)
        wide.fit(X, y, epochs=10**6)
    except KeyboardInterrupt:
        return


signal.signal(signal.SIGALRM, stop)
path = os.path.join(tempfile.gettempdir(), f"fastnn-test-{os.getpid()}")
scaled = fastnn.Predictor(net, scaler=fastnn.Scaler(np.ones(20), np.full(20, 3.0)))
bad = np.full((1, 20), np.nan)
packed = fastnn.MLP((20, 1100, 2), output="softmax", random_state=0, n_threads=1)
CALLS = {
    "rows": lambda: net.predict(row),
    "teams": lambda: wide.predict(X[:300]),
    "refit": lambda: small.fit(X[:32], y[:32], epochs=1),
    "blas": lambda: blas.fit(X[:32], y[:32], epochs=1),
    "fresh": fresh,
    "errors": refused,
    "values": refused_values,
    "scaled": lambda: scaled.predict(few),
    "float64": lambda: net.predict(few.astype(float)),
    "packed": lambda: packed.predict(X[:500]),
    "loss": lambda: net.loss_and_grad(few, y[:200]),
    "pickle": lambda: pickle.loads(pickle.dumps(net)),
    "estimator": estimator,
    "files": files,
    "interrupts": interrupted,
}
wide.fit(X, y, epochs=1)  # imports


try:
    for run in sys.argv[1:]:  # what:count:warm
        what, count, warm = run.split(":")
        call = CALLS[what]
        for _ in range(int(warm)):
            call()
        before = state()
        for _ in range(int(count)):
            call()
        print(*(after - at for at, after in zip(before, state())))
finally:
    if os.path.exists(path):
        os.remove(path)
"""

RESIDENT = """
import gc, os


def state():
    gc.collect()
    return (int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
            len(os.listdir("/proc/self/task")))
"""

# bytes that malloc and mmap have given out, and Python's own blocks
TAKEN = """
import ctypes, gc, sys


class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
        "fordblks", "keepcost")]


mallinfo = ctypes.CDLL(None).mallinfo2
mallinfo.restype = Info


def state():
    gc.collect()
    sys._clear_type_cache()  # names of attributes that are made at run time: some hundred
    info = mallinfo()
    return info.uordblks + info.hblkhd, sys.getallocatedblocks()
"""


@pytest.mark.parametrize("what, count, warm", [
    ("rows", 2 * 10**5, 10**4),
    pytest.param("refit", 600, 300, marks=pytest.mark.slow),
    pytest.param("errors", 10**5, 500, marks=pytest.mark.slow),
    pytest.param("refit", 10**4, 500, marks=pytest.mark.slow),
    pytest.param("rows", 10**7, 10**4, marks=pytest.mark.slow),
    pytest.param("teams", 10**4, 100, marks=pytest.mark.slow),
    pytest.param("fresh", 10**4, 500, marks=pytest.mark.slow),
    pytest.param("blas", 10**4, 500, marks=pytest.mark.slow)])
def test_resident_memory(run_python, what, count, warm):
    """Within 1 MiB after a warm-up."""
    done = run_python(RESIDENT + PROGRAM, f"{what}:{count}:{warm}", timeout=600)
    assert done.returncode == 0, done.stderr
    grown, threads = map(int, done.stdout.split())
    print(f"{count} x {what}: {grown / 1024:.0f} KiB more")
    assert grown <= 2**20
    assert threads == 0


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="counts glibc's memory")
@pytest.mark.parametrize("runs", [  # each in a process of its own, one after another
    {"rows": 5000, "errors": 1000, "values": 1000, "scaled": 1000, "float64": 1000, "packed": 300,
     "loss": 300, "pickle": 300},
    pytest.param({"teams": 50, "refit": 300, "blas": 300, "fresh": 150, "files": 100,
                  "interrupts": 40}, marks=pytest.mark.slow),
    pytest.param({"packed": 2000, "loss": 5000, "pickle": 5000, "refit": 5000, "blas": 5000},
                 marks=pytest.mark.slow),
    pytest.param({"teams": 1000, "fresh": 5000, "estimator": 2000, "files": 2000,
                  "interrupts": 500}, marks=pytest.mark.slow)], ids=" ".join)
def test_nothing_is_kept(run_python, runs):
    """Less than half of malloc's smallest block for each call, and of Python's not one in two."""
    done = run_python(TAKEN + PROGRAM, *(f"{what}:{count}:{max(50, count // 10)}"
                                         for what, count in runs.items()), timeout=600)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for (what, count), line in zip(runs.items(), lines, strict=True):
        kept, blocks = map(int, line.split())
        print(f"{count} x {what}: {kept} bytes, {blocks} blocks more")
        assert kept < 8 * count, what
        assert blocks < 300 + count / 2, what
