"""A thread that the system refuses: the work is done by fewer, to the same bytes.

OpenMP alone would end the process.
"""

import os
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")

COMMON = """
import ctypes, os, sys, threading, time
import numpy as np
import fastnn
from fastnn.core import _kernels
from planning import use_rules

use_rules(epoch_flops=0)
rng = np.random.default_rng(0)
X = rng.normal(size=(2000, 64)).astype("f")
y = rng.integers(0, 10, 2000).astype(np.int32)


def fitted(n_threads):
    net = fastnn.MLP((64, 100, 10), output="softmax", random_state=0, n_threads=n_threads)
    net.fit(X[:400], y[:400], epochs=1, batch_size=200)
    return net.parameters.tobytes() + net.predict(X).tobytes()


def os_threads():
    return len(os.listdir("/proc/self/task"))


def can_lead(n_threads, expected):
    # threads of a team that has shrunk still count until they have ended
    end = time.monotonic() + (5 if expected else 0)
    while not (found := _kernels.form_team(n_threads)) and time.monotonic() < end:
        time.sleep(0.001)
    return found == expected


wanted = fitted(1)
alone = os_threads()
"""


def test_refused_threads(run_python, faults):
    """pthread_create fails above so many threads; teams shrink and grow below and above."""
    done = run_python(COMMON + """
limit = ctypes.CDLL(None).faults_threads
for most in range(alone, alone + 6):
    limit(most)
    for n_threads in (2, 4, 7, 3, 5):
        assert fitted(n_threads) == wanted
        assert os_threads() <= most
        assert most > alone or os_threads() == alone
limit(-1)
assert fitted(2) == wanted
assert can_lead(4, True) and os_threads() == alone + 3  # as soon as there are threads again
print("done")
""", **faults)
    assert done.stdout.strip() == "done", (done.returncode, done.stderr)


def test_refused_in_four_leaders_at_a_time(run_python, faults):
    """Room for some of the teams only, and all begin at the same moment."""
    done = run_python(COMMON + """
limit = ctypes.CDLL(None).faults_threads
for spare in (0, 1, 2, 3, 5):
    gate, wrong = threading.Barrier(6), []

    def run():
        gate.wait()
        if fitted(3) != wanted:
            wrong.append(1)

    callers = [threading.Thread(target=run) for _ in range(6)]
    limit(-1)
    for caller in callers[:5]:
        caller.start()
    limit(os_threads() + 1 + spare)
    callers[5].start()
    for caller in callers:
        caller.join()
    assert not wrong
print("done")
""", **faults)
    assert done.stdout.strip() == "done", (done.returncode, done.stderr)


def test_resource_limit(run_python):
    """RLIMIT_NPROC, as it is: the kernel counts threads that have just ended for a moment."""
    if os.getuid() != 0:
        pytest.skip("needs root, to become a user who has no other process")
    done = run_python(COMMON + """
import resource

os.setgroups([])
os.setresgid(2**31 - 7, 2**31 - 7, 2**31 - 7)
os.setresuid(2**31 - 7, 2**31 - 7, 2**31 - 7)
for spare in (0, 1, 2, 3):
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    resource.setrlimit(resource.RLIMIT_NPROC, (alone + spare, hard))
    for _ in range(15):  # a team that grows by as many threads as there is room for
        assert can_lead(2, spare >= 1)
        assert fitted(2) == wanted
        assert can_lead(3, spare >= 2)
        assert fitted(3) == wanted
        assert fitted(5) == wanted
print("done")
""")
    assert done.stdout.strip() == "done", (done.returncode, done.stderr)


@pytest.mark.slow
def test_control_group(run_python):
    """The same by the pids controller of a container."""
    base = "/sys/fs/cgroup/pids"
    if not os.path.exists(f"{base}/cgroup.procs") or not os.access(base, os.W_OK):
        pytest.skip("no control group of processes that can be made here")
    group = f"{base}/fastnn-test-{os.getpid()}"
    try:
        os.mkdir(group)
    except OSError as error:
        pytest.skip(f"control groups: {error}")
    try:
        done = run_python(COMMON + """
group, outside = sys.argv[1:]
open(f"{group}/cgroup.procs", "w").write(str(os.getpid()))
try:
    for spare in (0, 1, 2, 3):
        open(f"{group}/pids.max", "w").write(str(alone + spare))
        for _ in range(20):
            assert can_lead(2, spare >= 1)
            assert fitted(2) == wanted
            assert can_lead(3, spare >= 2)
            assert fitted(5) == wanted
finally:
    open(f"{group}/pids.max", "w").write("max")
    open(f"{outside}/cgroup.procs", "w").write(str(os.getpid()))
print("done")
""", group, base)
    finally:
        os.rmdir(group)
    assert done.stdout.strip() == "done", (done.returncode, done.stderr)
