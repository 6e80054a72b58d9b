"""Many Python threads at a time: the bytes of one, or a clear error; few threads of the system."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastnn
from fastnn.core import threads

SLOW = pytest.mark.slow
COUNTS = (8, *(pytest.param(count, marks=SLOW) for count in (1, 64, 300)))
TEAM = 3  # threads that each fit and prediction asks for

COMMON = """
import copy, os, pickle, sys, threading
import numpy as np
import fastnn
from fastnn.core import threads
from planning import use_rules

use_rules(epoch_flops=0)
rng = np.random.default_rng(0)
X = rng.normal(size=(1000, 64)).astype("f")
y = rng.integers(0, 10, 1000).astype(np.int32)


def fitted(gemm="auto"):
    net = fastnn.MLP((64, 100, 10), output="softmax", random_state=0, n_threads=TEAM, gemm=gemm)
    net.fit(X[:400], y[:400], epochs=1, batch_size=200)
    return net


def others(model):
    return model.parameters.tobytes() + model.predict(X).tobytes()


def together(count, call):
    # what `count` threads get that call at the same moment and live until all are through
    results, most = [], []
    gate, done = threading.Barrier(count + 1), threading.Barrier(count + 1)

    def run():
        gate.wait()
        try:
            result = call()
        except Exception as error:
            result = error
        results.append(result)
        done.wait()
        done.wait()

    running = [threading.Thread(target=run) for _ in range(count)]
    for thread in running:
        thread.start()
    gate.wait()
    done.wait()
    if os.path.isdir("/proc/self/task"):
        most.append(len(os.listdir("/proc/self/task")))
    done.wait()
    for thread in running:
        thread.join()
    return results, max(most, default=0)
""".replace("TEAM", str(TEAM))

CALLS = """
net = fitted()
wanted = {"predict": net.predict(X).tobytes()}
wanted["fit own"] = wanted["clone"] = wanted["pickle"] = others(net)
blas = fitted("blas")
wanted["fit blas"] = others(blas)
calls = {
    "predict": lambda: net.predict(X).tobytes(),
    "fit own": lambda: others(fitted()),
    "fit blas": lambda: others(fitted("blas")),
    "clone": lambda: others(copy.deepcopy(net)),
    "pickle": lambda: others(pickle.loads(pickle.dumps(net))),
}
count = int(sys.argv[1])
for what in sys.argv[2].split(","):
    results, most = together(count, calls[what])
    print(len(results), sum(result != wanted[what] for result in results), most)
"""
WAYS = ("predict", "fit own", "fit blas", "clone", "pickle")


@pytest.mark.parametrize("count, ways", [
    (8, WAYS), *(pytest.param(count, (way,), marks=SLOW) for count in (1, 64, 300)
                 for way in WAYS)])
def test_the_bytes_of_one_thread(run_python, count, ways):
    """One way after the other in one process, or each in its own."""
    done = run_python(COMMON + CALLS, count, ",".join(ways))
    assert done.returncode == 0, done.stderr
    assert "OpenBLAS" not in done.stderr
    lines = done.stdout.splitlines()
    for way, line in zip(ways, lines, strict=True):
        results, wrong, most = map(int, line.split())
        assert (results, wrong) == (count, 0), way
        # the main thread; BLAS's, which start when NumPy is imported; at most so many teams
        blas = os.cpu_count() or 1
        assert most <= 1 + count + 2 * blas + threads.MAX_LEADERS * (TEAM - 1), way


CALLERS = """
from trainers import make_trainer

count = int(sys.argv[1])
X = rng.normal(size=(40_000, 64)).astype("f")
y = rng.integers(0, 10, len(X)).astype(np.int32)


def made():
    trainer = make_trainer((64, 64, 10), ("relu",), "softmax", "cross_entropy", dtype="f",
                           optimizer=fastnn.SGD(0.1), batch_size=400, n_threads=1, gemm="blas")
    for w in trainer.weights:
        w[:] = np.random.default_rng(0).normal(size=w.shape) / 8
    trainer.set_data(X, y)
    return trainer


def epoch(trainer):
    trainer.run_epoch(learning_rate=0.1)
    return trainer.parameters.tobytes()


wanted = epoch(made())
trainers = [made() for _ in range(count)]
results, _ = together(count, lambda: epoch(trainers.pop()))
print(len(results), sum(result != wanted for result in results))
"""


@pytest.mark.slow
def test_long_epochs_of_many_blas_callers(run_python):
    """More of them at a time than OpenBLAS has room for: without a limit it warns, or memory is
    overwritten."""
    done = run_python(COMMON + CALLERS, 300, OPENBLAS_NUM_THREADS=1)
    assert done.returncode == 0, done.stderr
    assert "OpenBLAS" not in done.stderr
    assert done.stdout.split() == ["300", "0"]


ONE_NET = """
count = int(sys.argv[1])
net = fitted()
start = pickle.dumps(net)


def after(fits):
    # the state after so many fits, one after another
    model = pickle.loads(start)
    for _ in range(fits):
        model.fit(X, y, epochs=1)
    return others(model)


results, _ = together(count, lambda: net.fit(X, y, epochs=1) and None)
errors = [error for error in results if error is not None]
assert all(type(error) is RuntimeError and "being fitted" in str(error) for error in errors), errors
good = count - len(errors)
assert good >= 1
assert others(net) == after(good)
print("done")
"""


@pytest.mark.parametrize("count", COUNTS)
def test_fits_of_one_net(run_python, count):
    """Each is done alone or refused; the net is as after those that were done."""
    done = run_python(COMMON + ONE_NET, count)
    assert done.stdout.strip() == "done", done.stderr


ESTIMATOR = """
from sklearn.base import clone

count, method = int(sys.argv[1]), sys.argv[2]


def made():
    return fastnn.MLPClassifier(hidden_layer_sizes=(32,), max_iter=2, random_state=0, n_threads=2)


def train(model):
    return getattr(model, method)(X, y)


def state(model):
    return b"".join(w.tobytes() for w in model.coefs_) + model.predict_proba(X).tobytes()


import warnings
warnings.simplefilter("ignore")
model = made().fit(X, y)
start, before = pickle.dumps(model), state(model)
assert {type(r) is bytes and r == before
        for r in together(count, lambda: state(clone(model).fit(X, y)))[0]} == {True}
results, _ = together(count, lambda: train(model) and None)
errors = [error for error in results if error is not None]
assert all(type(error) is RuntimeError and "being fitted" in str(error) for error in errors), errors
serial = pickle.loads(start)
for _ in range(count - len(errors)):
    train(serial)
assert state(model) == state(serial)
print("done")
"""


@pytest.mark.parametrize("method, count", [
    ("fit", 4), *(pytest.param(*case, marks=SLOW)
                  for case in (("partial_fit", 4), ("fit", 64), ("partial_fit", 64)))])
def test_fits_of_one_estimator(run_python, count, method):
    pytest.importorskip("sklearn")
    done = run_python(COMMON + ESTIMATOR, count, method)
    assert done.stdout.strip() == "done", done.stderr


REFIT = """
import itertools
from beside import during

count = int(sys.argv[1])
twin, net = fitted(), fitted()
allowed = {others(twin)}
states = {twin.parameters.tobytes(): twin._epochs_done}
for _ in range(10):
    twin.fit(X, y, epochs=1)
    allowed.add(others(twin))
    states[twin.parameters.tobytes()] = twin._epochs_done
outputs = {state[net.parameters.nbytes:] for state in allowed}
turns = itertools.count()


def use():
    if next(turns) % 2:
        return net.predict(X).tobytes() in outputs
    copied = pickle.loads(pickle.dumps(net))
    return states.get(copied.parameters.tobytes()) == copied._epochs_done


def refit():
    for _ in range(10):
        net.fit(X, y, epochs=1)


during(use, count, refit)
assert others(net) == others(twin)
print("done")
"""


@pytest.mark.parametrize("count", [pytest.param(1, marks=SLOW), 8, pytest.param(64, marks=SLOW),
                                   pytest.param(300, marks=SLOW)])
def test_refit_while_others_predict_and_pickle(run_python, count):
    """They see the net before or after a fit, with the number of epochs that belongs to it."""
    done = run_python(COMMON + REFIT, count)
    assert done.stdout.strip() == "done", done.stderr


# ---- how many threads a container allows ----


def groups_of_version_1():
    """The folder of the cpu controller, where this process may make groups in it; or None."""
    base = Path("/sys/fs/cgroup/cpu")
    if not (base / "cpu.cfs_quota_us").is_file() or not os.access(base, os.W_OK):
        return None
    return base


def groups_of_version_2():
    base = Path("/sys/fs/cgroup")
    if not (base / "cgroup.controllers").is_file() or not os.access(base, os.W_OK):
        return None
    return base if "cpu" in (base / "cgroup.subtree_control").read_text().split() else None


@pytest.fixture
def live_group():
    """Make a control group with a quota of so many CPUs: ``live_group(cpus)``; a real one."""
    made = []

    def make(cpus):
        version_1, version_2 = groups_of_version_1(), groups_of_version_2()
        base = version_1 or version_2
        if base is None:
            pytest.skip("no control groups that this process may make")
        group = base / f"fastnn-test-{os.getpid()}-{len(made)}"
        try:
            group.mkdir()
            made.append(group)
            if version_1:
                (group / "cpu.cfs_period_us").write_text("100000")
                (group / "cpu.cfs_quota_us").write_text(str(int(cpus * 100000)))
            else:
                (group / "cpu.max").write_text(f"{int(cpus * 100000)} 100000")
        except OSError as error:
            pytest.skip(f"control groups: {error}")
        return group

    yield make
    for group in made:
        group.rmdir()


@pytest.mark.parametrize("cpus, most", [(0.5, 1), (1.5, 1), (2, 2), (3.7, 3)])
def test_live_quota(live_group, cpus, most):
    """A process that enters the group sees its quota, and so does its child after a fork."""
    group = live_group(cpus)
    program = """
import os, sys
from fastnn.core.threads import default_threads
free = default_threads()
open(sys.argv[1], "w").write(str(os.getpid()))
sys.stdout.write(f"{free} "); sys.stdout.flush()
child = os.fork()
if child == 0:
    sys.stdout.write(f"{default_threads()}"); sys.stdout.flush()
    os._exit(0)
os.waitpid(child, 0)
open(sys.argv[2], "w").write(str(os.getpid()))
"""
    outside = group.parent / "cgroup.procs"
    run = subprocess.run(
        [sys.executable, "-c", program, str(group / "cgroup.procs"), str(outside)], text=True,
        capture_output=True, timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(fastnn.__file__).parents[1])})
    if "PermissionError" in run.stderr:
        pytest.skip("may not move processes between control groups")
    assert run.returncode == 0, run.stderr
    free, inside = map(int, run.stdout.split())
    assert inside == min(free, most)


# ---- beside other libraries with threads of their own ----


NEIGHBOUR = """
import sys
USE = {
    "torch": "import torch; torch.ones(500, 500) @ torch.ones(500, 500)",
    "sklearn": "from sklearn.ensemble import HistGradientBoostingClassifier as H; "
               "import numpy; r = numpy.random.default_rng(0).normal(size=(5000, 5)); "
               "H(max_iter=3).fit(r, r[:, 0] > 0)",
    "xgboost": "import xgboost, numpy; r = numpy.random.default_rng(0).normal(size=(5000, 5)); "
               "xgboost.XGBClassifier(n_estimators=3, n_jobs=2).fit(r, r[:, 0] > 0)",
    "nothing": "",
}
before, after = sys.argv[1:]
exec(USE[before])
"""
FASTNN = COMMON + """
import hashlib
net = fitted()
first = others(net)
exec(USE[after])
exec(USE[before])
assert others(fitted()) == first == others(net)
print(hashlib.sha256(first).hexdigest())
"""
LIBRARIES = ("torch", "sklearn", "xgboost")


@pytest.fixture(scope="module")
def alone():
    """Run the program with no other library, once."""
    path = os.pathsep.join(map(str, (Path(fastnn.__file__).parents[1], Path(__file__).parents[1])))
    return subprocess.run(
        [sys.executable, "-c", NEIGHBOUR + FASTNN, "nothing", "nothing"], text=True,
        capture_output=True, timeout=120, check=True, env={**os.environ, "PYTHONPATH": path}).stdout


@pytest.mark.parametrize("before, after", [
    *(pytest.param(*pair, marks=SLOW)
      for pair in (("torch", "nothing"), ("nothing", "torch"), ("sklearn", "nothing"),
                   ("xgboost", "nothing"), ("nothing", "xgboost"))),
    ("nothing", "sklearn"),
    *(pytest.param(*pair, marks=SLOW) for pair in itertools.permutations(LIBRARIES, 2))])
def test_beside_another_library(run_python, alone, before, after):
    """Imported and used before fastnn, after it, or both: the same bytes, and no abort."""
    for library in {before, after} - {"nothing"}:
        pytest.importorskip(library)
    done = run_python(NEIGHBOUR + FASTNN, before, after)
    assert done.returncode == 0, done.stderr
    assert done.stdout == alone
