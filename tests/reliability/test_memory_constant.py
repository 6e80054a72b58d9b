"""A process that predicts and fits for ever: memory and threads stay as they are."""

import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

PROGRAM = """
import gc, os, sys
import numpy as np
import fastnn

what, count, warm = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
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


CALLS = {
    "rows": lambda: net.predict(row),
    "teams": lambda: wide.predict(X[:300]),
    "refit": lambda: small.fit(X[:32], y[:32], epochs=1),
    "blas": lambda: blas.fit(X[:32], y[:32], epochs=1),
    "fresh": fresh,
    "errors": refused,
}
call = CALLS[what]


def resident():
    gc.collect()
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


for _ in range(warm):
    call()
before, threads = resident(), len(os.listdir("/proc/self/task"))
for _ in range(count):
    call()
print(resident() - before, len(os.listdir("/proc/self/task")) - threads)
"""


@pytest.mark.parametrize("what, count, warm", [
    ("rows", 10**6, 10**4), ("teams", 300, 50), ("refit", 10**4, 500), ("errors", 10**4, 500),
    ("fresh", 3000, 500), ("blas", 3000, 500),
    pytest.param("rows", 10**7, 10**4, marks=pytest.mark.slow),
    pytest.param("teams", 10**4, 100, marks=pytest.mark.slow),
    pytest.param("fresh", 10**4, 500, marks=pytest.mark.slow),
    pytest.param("blas", 10**4, 500, marks=pytest.mark.slow)])
def test_resident_memory(run_python, what, count, warm):
    """Within 1 MiB after a warm-up."""
    done = run_python(PROGRAM, what, count, warm, timeout=600)
    assert done.returncode == 0, done.stderr
    grown, threads = map(int, done.stdout.split())
    print(f"{count} x {what}: {grown / 1024:.0f} KiB more")
    assert grown <= 2**20
    assert threads == 0
