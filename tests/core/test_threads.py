"""How many threads, and BLAS kept to one of them while ours work."""

import os
import subprocess
import sys
import threading

import pytest

from fastnn.core import threads


def control_groups(root, lines, files):
    """A fake /proc and /sys/fs/cgroup below ``root``."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text("\n".join(lines) + "\n")
    for name, text in files.items():
        file = root / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    return root


@pytest.mark.parametrize(
    "files, expected",
    [
        ({"a/b/cpu.max": "150000 100000"}, 1),
        ({"a/b/cpu.max": "400000 100000"}, 4),
        ({"a/b/cpu.max": "max 100000"}, None),
        ({"a/b/cpu.max": "max 100000", "a/cpu.max": "200000 100000"}, 2),  # the parent's limit
        ({"a/b/cpu.max": "800000 100000", "cpu.max": "300000 100000"}, 3),  # the root's
        ({"a/b/cpu.max": "50000 100000"}, 1),  # half a CPU is still one thread
        ({}, None),
    ],
)
def test_quota_of_cgroup_v2(tmp_path, files, expected):
    root = control_groups(tmp_path, ["0::/a/b"], files)
    assert threads._quota(root) == expected


@pytest.mark.parametrize(
    "quota, expected", [("250000", 2), ("-1", None), ("100000", 1)]
)
def test_quota_of_cgroup_v1(tmp_path, quota, expected):
    root = control_groups(tmp_path, ["5:memory:/x", "4:cpu,cpuacct:/a"], {
        "cpu,cpuacct/a/cpu.cfs_quota_us": quota,
        "cpu,cpuacct/a/cpu.cfs_period_us": "100000",
    })
    assert threads._quota(root) == expected


def test_no_control_groups(tmp_path):
    assert threads._quota(tmp_path) is None


def in_new_process(program, **environment):
    run = subprocess.run([sys.executable, "-c", program], env={**os.environ, **environment},
                         capture_output=True, text=True, check=True)
    return run.stdout.strip()


def test_environment_and_affinity_bound_the_default():
    program = "from fastnn.core.threads import default_threads; print(default_threads())"
    assert in_new_process(program, OMP_NUM_THREADS="1") == "1"
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert int(in_new_process(program, OMP_NUM_THREADS="1000")) <= allowed
    if hasattr(os, "sched_setaffinity"):
        one = min(os.sched_getaffinity(0))
        pinned = f"import os; os.sched_setaffinity(0, [{one}]); " + program
        assert in_new_process(pinned, OMP_NUM_THREADS="8") == "1"


@pytest.mark.parametrize("value, error", [(0, ValueError), (-1, ValueError), (1.5, TypeError),
                                          ("2", TypeError), (True, TypeError)])
def test_wrong_number_of_threads(value, error):
    with pytest.raises(error, match=f"n_threads={value!r}"):
        threads.resolve_threads(value)


def blas_threads():
    return {info["num_threads"] for info in threads._scipy_blas().info()}


def test_blas_is_single_threaded_inside_and_restored_by_the_last_user():
    before = blas_threads()
    inner_done, outer_done = threading.Event(), threading.Event()

    def other_user():
        with threads.single_threaded_blas():
            inner_done.set()
            outer_done.wait(10)

    with threads.single_threaded_blas():
        assert blas_threads() <= {1}
        other = threading.Thread(target=other_user)
        other.start()
        inner_done.wait(10)
    assert blas_threads() <= {1}  # the other one still works
    outer_done.set()
    other.join()
    assert blas_threads() == before


def test_blas_is_restored_after_an_error():
    before = blas_threads()
    with pytest.raises(ZeroDivisionError), threads.single_threaded_blas():
        1 / 0  # noqa: B018
    assert blas_threads() == before


def test_blas_is_limited_in_a_thread_while_another_thread_limits_it_too():
    from threadpoolctl import threadpool_limits

    seen = []

    def user():
        with threads.single_threaded_blas():
            seen.append(blas_threads())

    before = blas_threads()
    with threadpool_limits(limits=2, user_api="blas"):
        other = threading.Thread(target=user)
        other.start()
        other.join()
    assert seen[0] <= {1}
    assert blas_threads() == before


def test_openmp_is_loaded_to_sleep_and_the_environment_stays():
    program = """
import os, sys
before = dict(os.environ)
import fastnn
assert dict(os.environ) == before
from fastnn.core.threads import passive_openmp
with passive_openmp():
    print(os.environ.get("OMP_WAIT_POLICY"))
assert dict(os.environ) == before
"""
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_", "KMP_"))}
    for given, seen in (({}, "passive"), ({"OMP_WAIT_POLICY": "active"}, "active"),
                        ({"GOMP_SPINCOUNT": "5"}, "None")):
        run = subprocess.run([sys.executable, "-c", program], env={**variables, **given},
                             capture_output=True, text=True, timeout=60)
        assert run.returncode == 0, run.stderr
        assert run.stdout.strip() == seen


STEPS = """
import os, statistics, time
import numpy as np
import fastnn


def share_of(cpu):
    # of the time of a processor
    os.sched_setaffinity(0, [cpu])
    start, used = time.perf_counter(), time.process_time()
    while time.perf_counter() < start + 0.3:
        pass
    return (time.process_time() - used) / (time.perf_counter() - start)


def alone_but_for_the_neighbour():
    found = share_of({cpus}[0]) > 0.9 and share_of({cpus}[1]) > 0.4
    os.sched_setaffinity(0, {cpus})
    return found


alone = alone_but_for_the_neighbour()
from trainers import make_trainer
X = np.random.default_rng(0).normal(size=(6400, 8)).astype("f")
trainers = []
for n_threads in (1, 2):
    trainer = make_trainer((8, 64, 64, 1), ("relu",) * 2, "identity", "squared_error", dtype="f",
                           optimizer=fastnn.SGD(1e-3), batch_size=128, n_threads=n_threads)
    for w in trainer.weights:
        w[:] = np.random.default_rng(1).normal(size=w.shape) / 8
    trainer.set_data(X, X[:, :1].copy())
    trainers.append(trainer)
times = [[], []]
for _ in range(200):
    for trainer, found in zip(trainers, times):
        start = time.perf_counter()
        trainer.run_epoch(learning_rate=1e-3)
        found.append(time.perf_counter() - start)
assert trainers[1].team == 2
print(alone and alone_but_for_the_neighbour(),
      statistics.mean(times[1]) / statistics.mean(times[0]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2,
                    reason="needs two cores to pin programs to")
def test_a_busy_neighbour_does_not_hold_a_team_up_for_time_slices(run_python):
    """Means, not medians: an epoch that waits for a time slice is to count."""
    cpus = sorted(os.sched_getaffinity(0))[:2]
    busy = subprocess.Popen([sys.executable, "-c",
                             f"import os; os.sched_setaffinity(0, [{cpus[1]}])\nwhile True: pass"])
    try:
        for _ in range(3):
            run = run_python(STEPS.format(cpus=cpus))
            assert run.returncode == 0, run.stderr
            alone, ratio = run.stdout.split()
            if float(ratio) <= 2.5:
                return
            if alone == "True":
                break
    finally:
        busy.kill()
        busy.wait()
    if alone != "True":
        pytest.skip("there are other neighbours than that of the test")
    assert float(ratio) <= 2.5


# ---- teams ----


CALLERS = """
import os, sys, threading
import numpy as np
import fastnn
from fastnn.core import threads

net = fastnn.MLP((64, 256, 10), output="softmax", random_state=0, n_threads=3)
X = np.random.default_rng(0).normal(size=(4000, 64)).astype("f")
y = np.arange(4000) % 10
expected = net.predict(X).tobytes()
OS_THREADS = lambda: len(os.listdir("/proc/self/task"))
gate, done, wrong = threading.Barrier(301), threading.Barrier(301), []


def call():
    gate.wait()
    if net.predict(X).tobytes() != expected:
        wrong.append(1)
    done.wait()
    done.wait()


callers = [threading.Thread(target=call) for _ in range(300)]
for caller in callers:
    caller.start()
before = OS_THREADS()
gate.wait()
done.wait()                 # all have predicted, and all still live
during = OS_THREADS()
done.wait()
for caller in callers:
    caller.join()
print(before, during, len(wrong), len(threads._leaders))
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts threads in /proc")
def test_300_callers_have_few_teams(run_python):
    done = run_python(CALLERS)
    before, during, wrong, leaders = map(int, done.stdout.split())
    assert wrong == 0
    assert before >= 301 and during <= before + 2 * threads.MAX_LEADERS
    assert leaders <= 1  # the main thread


def test_leaders_are_counted_while_they_live():
    def lead(sizes):
        sizes.append(threads.team_size(3))
        sizes.append(threads.team_size(3))
        ready.wait()
        end.wait()

    for _ in range(2):
        n = threads.MAX_LEADERS + 2
        ready, end = threading.Barrier(n + 1), threading.Barrier(n + 1)
        sizes = [[] for _ in range(n)]
        callers = [threading.Thread(target=lead, args=(s,)) for s in sizes]
        for caller in callers:
            caller.start()
        ready.wait()
        mine = len(threads._leaders) - sum(s == [3, 3] for s in sizes)
        assert mine in (0, 1)
        assert sum(s == [3, 3] for s in sizes) + mine == threads.MAX_LEADERS
        assert sum(s == [1, 1] for s in sizes) == n - (threads.MAX_LEADERS - mine)
        assert threads.team_size(1) == 1
        end.wait()
        for caller in callers:
            caller.join()
