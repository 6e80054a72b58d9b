"""Forks of a process that trains and predicts in parallel: parent and child go on, in parallel.

Each program runs in a fresh interpreter under a watchdog: a child that hangs is a failure, found
after some seconds.
"""

import os

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")

# What all programs share: nets whose fits and predictions take teams, and the right bytes.
COMMON = """
import os, signal, socket, sys, threading, time
import numpy as np
import fastnn
from beside import during, in_child, wait_for
from fastnn.core import threads
from planning import use_rules

use_rules(epoch_flops=0)  # short epochs get their threads too
rng = np.random.default_rng(0)
X = rng.normal(size=(2000, 64)).astype("f")
y = rng.integers(0, 10, 2000).astype(np.int32)


def fitted(n_threads=2, gemm="auto"):
    net = fastnn.MLP((64, 100, 10), output="softmax", random_state=0, n_threads=n_threads,
                     gemm=gemm)
    net.fit(X[:400], y[:400], epochs=1, batch_size=200)
    return net


net = fitted()
assert net.plan(200).threads == 2
parameters, outputs = net.parameters.tobytes(), net.predict(X).tobytes()


def is_right():
    # predictions and a fit by a team: a child, which is one thread, has two then
    good = net.predict(X).tobytes() == outputs
    alone = os.path.isdir("/proc/self/task") and len(os.listdir("/proc/self/task")) == 1
    return good and not alone and fitted().parameters.tobytes() == parameters
"""


@pytest.fixture
def forks(run_python):
    """Run a program after `COMMON`; it ends with "done" in time."""

    def run(program, *arguments, timeout=60):
        done = run_python(COMMON + program + "\nprint('done')", *arguments, timeout=timeout)
        assert done.stdout.strip().endswith("done"), done.stdout + done.stderr

    return run


def test_from_the_main_thread(forks):
    forks("""
for _ in range(5):
    child = in_child(is_right)
    assert is_right()
    wait_for(child)
""")


def test_from_another_thread(forks):
    """From one that led a team, and from one that never did, while the main thread's team waits."""
    forks("""
failures = []

def fork(leads):
    try:
        if leads:
            assert is_right()
        wait_for(in_child(is_right))
        assert is_right()
    except BaseException as error:
        failures.append(error)

for leads in (True, False):
    thread = threading.Thread(target=fork, args=(leads,))
    thread.start()
    thread.join()
assert not failures, failures
assert is_right()
""")


def test_grandchildren(forks):
    forks("""
def parent_of(generations):
    if not is_right():
        return False
    if generations:
        wait_for(in_child(lambda: parent_of(generations - 1)))
    return is_right()

wait_for(in_child(lambda: parent_of(3)))
assert is_right()
""")


@pytest.mark.parametrize("busy", [
    pytest.param("predict", marks=pytest.mark.slow), pytest.param("fit", marks=pytest.mark.slow),
    "fit blas"])
def test_while_six_threads_work(forks, busy):
    """Whatever team, lock or library they are in at that moment."""
    forks("""
busy = {"predict": lambda: net.predict(X).tobytes() == outputs,
        "fit": lambda: fitted().parameters.tobytes() == parameters,
        "fit blas": lambda: np.isfinite(fitted(gemm="blas").parameters).all()}[sys.argv[1]]

def storm():
    for i in range(8):
        child = in_child(is_right)
        if i % 2:
            assert is_right()
        wait_for(child)

during(busy, 6, storm)
assert is_right()
""", busy)


STORM = """
def storm():
    for i in range(int(sys.argv[1])):
        # every tenth child does all there is to do, the others one parallel prediction
        work = is_right if i % 10 == 0 else lambda: net.predict(X).tobytes() == outputs
        child = in_child(work)
        assert net.predict(X).tobytes() == outputs
        wait_for(child)

during(lambda: net.predict(X).tobytes() == outputs, 6, storm)
"""


@pytest.mark.parametrize("count", [6, pytest.param(1000, marks=pytest.mark.slow)])
def test_storm(forks, count):
    """While six threads predict."""
    forks(STORM, count, timeout=60 + count)


@pytest.mark.slow
def test_storm_beside_small_products_of_blas(forks):
    """Each product takes a lock of OpenBLAS for a moment; in a child of such a moment it would stay
    locked: 1 fork in 300 without csrc/blas_gate.c, which has a test of its own in C."""
    forks("""
def small():
    own = fastnn.MLP((8, 8, 3), output="softmax", random_state=0, n_threads=1, gemm="blas")
    own.fit(X[:, :8], y % 3, epochs=1, batch_size=4)
    return own.parameters.tobytes()

wanted = small()

def storm():
    for i in range(1000):
        wait_for(in_child(lambda: small() == wanted))

during(lambda: small() == wanted, 6, storm)
""", timeout=600)


def test_fork_by_c_without_pythons_hooks_before(forks):
    """As embedding servers do: they fork in C, and tell Python only in the child."""
    forks("""
import ctypes
libc = ctypes.PyDLL(None)
for _ in range(3):
    child = libc.fork()
    if child == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        os._exit(0 if is_right() else 2)
    assert is_right()
    wait_for(child)
""")


def test_child_of_a_fit_can_fit(forks):
    """A net that another thread fits when the fork comes: the child has the net of before, can fit
    it, and BLAS has its threads back."""
    forks("""
from threadpoolctl import threadpool_limits

blas = lambda: {info["num_threads"] for info in threads._scipy_blas().info()}
with threadpool_limits(limits=2, user_api="blas"):
    before = blas()
    own = fastnn.MLP((64, 100, 10), output="softmax", random_state=0, n_threads=2)
    start = own.parameters.tobytes()
    stop = threading.Event()
    running = threading.Event()

    def callback(epoch, net, history):
        running.set()
        if stop.is_set():
            raise fastnn.StopFit

    fit = threading.Thread(target=lambda: own.fit(X, y, epochs=10**6, callback=callback))
    fit.start()
    running.wait()
    assert blas() != before
    try:
        own.fit(X, y)
        sys.exit("two fits at a time")
    except RuntimeError as error:
        assert "fit" in str(error)

    def child():
        if blas() != before:
            return False
        twin = fastnn.MLP((64, 100, 10), output="softmax", random_state=0)
        twin.__setstate__(own.__getstate__())
        own.fit(X, y, epochs=2)
        twin.fit(X, y, epochs=2)
        return own.parameters.tobytes() == twin.parameters.tobytes() and blas() == before

    try:
        for _ in range(5):
            wait_for(in_child(child))
    finally:
        stop.set()
        fit.join()
    assert blas() == before
""")


def test_fork_from_a_callback(forks):
    """The child goes on with the fit it was forked in, to the same bytes."""
    forks("""
whole = fastnn.MLP((64, 100, 10), output="softmax", random_state=0, n_threads=2)
whole.fit(X, y, epochs=3)
own = fastnn.MLP((64, 100, 10), output="softmax", random_state=0, n_threads=2)
children = []

def callback(epoch, net, history):
    if epoch == 1:
        children.append(os.fork())

own.fit(X, y, epochs=3, callback=callback)
good = own.parameters.tobytes() == whole.parameters.tobytes() and not threads._users
good = good and is_right()
if children == [0]:
    os._exit(0 if good else 2)
assert good
wait_for(children[0])
""")


POOLS = """
import os, sys, time
import numpy as np
import fastnn
from planning import use_rules

def work(seed):
    use_rules(epoch_flops=0)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 64)).astype("f")
    net = fastnn.MLP((64, 100, 10), output="softmax", random_state=seed, n_threads=2)
    net.fit(X[:400], np.arange(400) % 10, epochs=1, batch_size=200)
    return net.parameters.tobytes() + net.predict(X).tobytes()
"""


@pytest.mark.parametrize("method", [
    "fork", "forkserver", pytest.param("spawn", marks=pytest.mark.slow)])
def test_multiprocessing(run_python, tmp_path, method):
    (tmp_path / "pool_work.py").write_text(POOLS)
    done = run_python(f"""
import sys; sys.path.insert(0, {str(tmp_path)!r})
import multiprocessing
from pool_work import work
if __name__ == "__main__":
    wanted = [work(seed) for seed in range(4)]
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        found = pool.map_async(work, range(4), chunksize=1).get(timeout=50)
        assert found == wanted and work(0) == wanted[0]
        assert pool.map_async(work, range(4), chunksize=1).get(timeout=50) == wanted
    print("done")
""", method, timeout=110)
    assert done.stdout.strip() == "done", done.stderr


@pytest.mark.slow
def test_joblib_loky(run_python, tmp_path):
    pytest.importorskip("joblib")
    (tmp_path / "pool_work.py").write_text(POOLS)
    done = run_python(f"""
import os, sys; sys.path.insert(0, {str(tmp_path)!r})
os.environ["PYTHONPATH"] = {str(tmp_path)!r} + os.pathsep + os.environ["PYTHONPATH"]
from joblib import Parallel, delayed
from pool_work import work
wanted = [work(seed) for seed in range(4)]
found = Parallel(n_jobs=2, backend="loky", timeout=50)(delayed(work)(s) for s in range(4))
assert found == wanted and work(0) == wanted[0]
found = Parallel(n_jobs=2, backend="threading", timeout=50)(delayed(work)(s) for s in range(4))
assert found == wanted
print("done")
""", timeout=110)
    assert done.stdout.strip() == "done", done.stderr


SERVER = """
# A master that trains and predicts in parallel before it forks its workers; each worker accepts
# connections on the same socket, predicts with two threads, and refits when told to.
listener = socket.create_server(("127.0.0.1", 0))
address = listener.getsockname()


def exactly(connection, size):
    found = b""
    while len(found) < size:
        piece = connection.recv(size - len(found))
        if not piece:
            raise EOFError
        found += piece
    return found


def serve():
    model = net
    while True:
        connection, _ = listener.accept()
        with connection:
            command = exactly(connection, 1)
            if command == b"p":
                connection.sendall(model.predict(X).tobytes())
            elif command == b"r":
                model = fitted()
                connection.sendall(model.parameters.tobytes())
            else:
                return True


def ask(command, size):
    with socket.create_connection(address, timeout=CHILD_SECONDS) as connection:
        connection.sendall(command)
        return exactly(connection, size)


workers = [in_child(serve) for _ in range(3)]
wrong = []


def answer(command, size):
    for _ in range(2):
        try:
            return ask(command, size)
        except (EOFError, ConnectionError):
            pass  # the worker that is killed below had it in hand


def client():
    for i in range(10):
        if answer(b"p", len(outputs)) != outputs:
            wrong.append("predict")
        if i % 3 == 0 and answer(b"r", len(parameters)) != parameters:
            wrong.append("refit")


try:
    clients = [threading.Thread(target=client) for _ in range(4)]
    for each in clients:
        each.start()
    os.kill(workers[0], signal.SIGKILL)  # a worker dies; the master, in use by then, forks another
    os.waitpid(workers[0], 0)
    assert is_right()
    workers[0] = in_child(serve)
    for each in clients:
        each.join()
    assert is_right()
    for _ in workers:
        with socket.create_connection(address) as connection:
            connection.sendall(b"q")
    for worker in workers:
        wait_for(worker)
    assert not wrong
finally:
    for worker in workers:
        try:
            os.kill(worker, signal.SIGKILL)
        except ProcessLookupError:
            pass
"""


def test_preforking_server(forks):
    forks(SERVER)


def test_while_another_thread_imports(forks):
    """A child would wait for a module that is half done, for ever."""
    forks("""
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "fastnn.ensemble":
            begun.set()
            time.sleep(0.3)

begun = threading.Event()
sys.meta_path.insert(0, Slow())
thread = threading.Thread(target=lambda: fastnn.fit_many)
thread.start()
begun.wait(10)
wait_for(in_child(lambda: fastnn.fit_many is not None))
thread.join()
assert is_right()
""")


def test_while_many_networks_are_trained(forks):
    """From the main thread beside `fit_many`, and from a callback in one of its threads."""
    forks("""
def many(callbacks=None):
    nets = [fastnn.MLP((64, 100, 10), output="softmax", random_state=0) for _ in range(3)]
    fastnn.fit_many(nets, X[:400], y[:400], epochs=1, batch_size=200, n_threads=2,
                    callbacks=callbacks)
    return {net.parameters.tobytes() for net in nets} == {parameters}

class Fork(fastnn.Callback):
    def on_epoch_end(self, state):
        wait_for(in_child(lambda: many() and is_right()))

def body():
    for _ in range(3):
        wait_for(in_child(many))

during(many, 1, body)
assert many([None, [Fork()], None])
assert is_right()
""")


@pytest.mark.slow
@pytest.mark.parametrize("network", [
    "fastnn.MLP.of([Embed(4, (40, 24)), BatchNorm(), Dense(96), GLU('silu'), PReLU(), Dense(10)], "
    "n_in=64, output='softmax', random_state=0, n_threads=2)",
    "fastnn.MLP((64, 50, 10), output='softmax', random_state=0, n_threads=2, members=4)"])
def test_newer_layers(forks, network):
    forks(f"""
from fastnn import GLU, BatchNorm, Dense, Embed, PReLU

def fitted():
    net = {network}
    net.fit(X[:400], y[:400], epochs=1, batch_size=200)
    return net

net = fitted()
assert net.plan(200).threads == 2
parameters, outputs = net.parameters.tobytes(), net.predict(X).tobytes()
for _ in range(3):
    child = in_child(is_right)
    assert is_right()
    wait_for(child)
during(is_right, 2, lambda: wait_for(in_child(is_right)))
""")
