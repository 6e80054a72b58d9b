"""The epoch loop in its process: no Python objects, Ctrl-C within 100 ms, forks, threads."""

import os
import signal
import threading
import time

import numpy as np
import pytest
from trainers import make_trainer

import fastnn
from fastnn.core.threads import single_threaded_blas

CASE = """
import numpy as np, fastnn
from trainers import make_trainer
from fastnn.core.threads import single_threaded_blas

def trainer(n_threads, dropout=0.2, batch_size=200):
    rng = np.random.default_rng(0)
    made = make_trainer((64, 100, 10), ("relu",), "softmax", "cross_entropy", dtype="float32",
                        optimizer=fastnn.Adam(), batch_size=batch_size, alpha=0.1, dropout=dropout,
                        n_threads=n_threads)
    for w in made.weights:
        w[:] = rng.normal(scale=0.1, size=w.shape)
    X = rng.normal(size=(4000, 64)).astype("float32")
    made.set_data(X, rng.integers(0, 10, 4000).astype(np.int32), np.ones(4000, "float32"))
    return made
"""


def trainer_of_case(n_threads):
    namespace = {}
    exec(CASE, namespace)
    return namespace["trainer"](n_threads)


def order_of(steps):
    """Rows of so many steps, drawn with replacement."""
    return np.random.default_rng(0).integers(0, 4000, steps * 200)


# ---- no Python object is made inside an epoch ----


GROWTH = CASE + """
import sys, tracemalloc

made = trainer(int(sys.argv[1]))
orders = {steps: np.random.default_rng(0).integers(0, 4000, steps * 200) for steps in (10, 1000)}
left, peak = {10: [], 1000: []}, {10: [], 1000: []}
tracemalloc.start()
with single_threaded_blas():
    for steps in (10, 1000) * 3:
        tracemalloc.reset_peak()
        before, (current, _) = sys.getallocatedblocks(), tracemalloc.get_traced_memory()
        made.run_epoch(orders[steps], learning_rate=1e-3)
        left[steps].append(sys.getallocatedblocks() - before)
        peak[steps].append(tracemalloc.get_traced_memory()[1] - current)
print(min(left[10]), min(left[1000]), min(peak[10]), min(peak[1000]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("n_threads", [1, 2])
def test_memory_does_not_grow_with_the_steps(n_threads, run_python):
    """Neither what an epoch leaves behind nor the most it needs at a time. In a process of its own:
    other threads' memory counts too."""
    done = run_python(GROWTH, n_threads)
    assert done.returncode == 0, done.stderr
    left_10, left_1000, peak_10, peak_1000 = map(int, done.stdout.split())
    assert abs(left_1000 - left_10) <= 2  # the float returned, the counts themselves
    assert peak_1000 == pytest.approx(peak_10, abs=200)


COUNT = CASE + """
import sys, _testcapi

swallowed = []  # errors in code that declares to raise none
sys.unraisablehook = lambda error: swallowed.append(1)

def completes(made, order, first, stop=0):
    # whether an epoch goes through when the allocations first.. (to stop) by Python fail
    swallowed.clear()
    _testcapi.set_nomemory(first, stop)
    try:
        made.run_epoch(order, learning_rate=1e-3)
        done = True
    except Exception:
        done = False
    finally:
        _testcapi.remove_mem_hooks()
    return done and not swallowed

made = trainer(int(sys.argv[1]))
few, many = (np.random.default_rng(0).integers(0, 4000, steps * 200) for steps in (10, 1000))
with single_threaded_blas():
    made.run_epoch(few, learning_rate=1e-3)
    made.run_epoch(many, learning_rate=1e-3)
    needed = next(n for n in range(100_000) if completes(made, few, n))
    # the next one alone fails too: then there is memory left to tell of an error in the loop
    print(needed, made.plan.clock_steps,
          completes(made, many, needed) and completes(made, many, needed, needed + 1))
"""


@pytest.mark.parametrize("n_threads", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_thousand_steps_allocate_no_more_than_ten(n_threads, run_python):
    """Exact: CPython's own hook makes every allocation by Python beyond a number fail."""
    pytest.importorskip("_testcapi", reason="this Python comes without its allocation hooks")
    if np.lib.NumpyVersion(np.__version__) < "1.26.0":
        pytest.skip("array.min() of NumPy 1.23 and 1.24 crashes when memory runs out")
    done = run_python(COUNT, n_threads)
    assert done.returncode == 0, done.stderr
    needed, clock_steps, many = done.stdout.split()
    assert 0 < int(needed) < 200
    assert int(clock_steps) < 1000  # the look at the clock, and for Ctrl-C, is among the steps
    assert many == "True"


# ---- Ctrl-C ----

LATE = 0.5 if "libasan" in os.environ.get("LD_PRELOAD", "") else 0.1  # seconds


def clocks():
    """Seconds: of the clock, and of CPU time, which a busy machine does not stretch."""
    return np.array([time.perf_counter(), time.process_time()])


def interrupt_after(seconds, sent, begun=lambda: True):
    """Sends SIGINT to this process from another thread, when the work has begun, and notes when."""

    def send():
        while not begun():
            time.sleep(0.001)
        sent.append(clocks())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(seconds, send)
    timer.start()
    return timer


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("sizes", [(64, 100, 10), (300, 800, 800, 10), (3, 4, 2)])
def test_ctrl_c_within_one_epoch(n_threads, sizes, ctrl_c):
    """It arrives in the middle of a long epoch, and the trainer stands after a whole step."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, sizes[0])).astype("float32")
    y = rng.integers(0, sizes[-1], 2000).astype(np.int32)
    order = np.resize(np.arange(2000), 40_000_000)

    def made():
        trainer = make_trainer(sizes, ("relu",) * (len(sizes) - 2), "softmax", "cross_entropy",
                               dtype="float32", optimizer=fastnn.SGD(), batch_size=200,
                               n_threads=n_threads)
        for w in trainer.weights:
            w[:] = np.random.default_rng(1).normal(scale=0.03, size=w.shape)
        trainer.set_data(X, y)
        return trainer

    trainer, sent = made(), []
    with single_threaded_blas():
        timer = interrupt_after(0.2, sent, begun=lambda: trainer.step > 0)
        with pytest.raises(KeyboardInterrupt):
            trainer.run_epoch(order, learning_rate=1e-3)
        arrived = clocks()
        timer.join()
        assert min(arrived - sent[0]) < LATE
        assert 0 < trainer.step < 200_000
        again = made()
        again.run_epoch(order[: 200 * trainer.step], learning_rate=1e-3)
    assert again.parameters.tobytes() == trainer.parameters.tobytes()


@pytest.mark.parametrize("n_threads", [1, 2])
def test_ctrl_c_leaves_a_usable_model(n_threads, ctrl_c, monkeypatch):
    trainers, whole = [], fastnn.MLP._trainer
    monkeypatch.setattr(fastnn.MLP, "_trainer", lambda *own, **settings: (
        trainers.append(whole(*own, **settings)) or trainers[-1]))
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(5000, 64)), rng.integers(0, 10, 5000)
    net = fastnn.MLP((64, 100, 10), output="softmax", random_state=0, n_threads=n_threads)
    start, sent = net.parameters.copy(), []
    # a little after there is a trainer: to read its step from here would be a race
    timer = interrupt_after(0, sent, begun=lambda: trainers and not time.sleep(0.2))
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, y, epochs=1_000_000)
    arrived = clocks()
    timer.join()
    assert min(arrived - sent[0]) < LATE
    assert np.isfinite(net.parameters).all()
    assert not (net.parameters == start).all()
    np.testing.assert_allclose(net.predict(X).sum(axis=1), 1, rtol=1e-5)
    loss = net.loss(X, y)
    net.fit(X, y, epochs=3)
    assert net.loss(X, y) < loss


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="POSIX timers")
def test_other_signals_reach_their_handlers():
    """A handler that does not raise runs in the middle of an epoch, and the epoch goes on."""
    trainer, steps = trainer_of_case(1), 1000
    order, seen, epochs = order_of(steps), [], 0
    before = signal.signal(signal.SIGALRM, lambda *_: seen.append(trainer.step % steps))
    signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
    try:
        with single_threaded_blas():
            while not any(seen) and epochs < 100:  # on a busy machine the alarm may be late
                trainer.run_epoch(order, learning_rate=1e-3)
                epochs += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert any(seen)
    assert trainer.step == epochs * steps


# ---- other threads, other processes ----


def small_problem():
    rng = np.random.default_rng(0)
    return rng.normal(size=(1500, 64)).astype("float32"), rng.integers(0, 10, 1500)


def fitted(X, y, n_threads):
    net = fastnn.MLP((64, 100, 10), output="softmax", dropout=0.2, random_state=0,
                     n_threads=n_threads)
    net.fit(X, y, epochs=3, batch_size=200)
    return net.parameters.tobytes()


def test_the_gil_is_released():
    """Python code in another thread runs on while an epoch does."""
    trainer, order = trainer_of_case(1), order_of(2000)
    ticks, stop, most = [], threading.Event(), 0

    def tick():
        while not stop.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    with single_threaded_blas():
        thread.start()
        for _ in range(100):  # a busy machine may leave the other thread out
            begin = time.perf_counter()
            trainer.run_epoch(order, learning_rate=1e-3)
            end = time.perf_counter()
            most = max(most, sum(begin < t < end for t in ticks))
            ticks.clear()
            if most > 9:
                break
    stop.set()
    thread.join()
    assert most > 9


def test_fits_in_many_threads_at_a_time():
    X, y = small_problem()
    wanted, results = fitted(X, y, 1), []
    threads = [threading.Thread(target=lambda n=n: results.append(fitted(X, y, n)))
               for n in (1, 2, 3, 4, 1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [wanted] * 6


def test_predictions_in_many_threads_during_a_fit():
    """Every prediction is that of one epoch's parameters, never of a mixture."""
    X, y = small_problem()
    net = fastnn.MLP((64, 100, 10), output="softmax", random_state=0, n_threads=2)
    allowed, found, stop = {net.predict(X).tobytes()}, [], threading.Event()

    def predict():
        while not stop.is_set():
            found.append(net.predict(X).tobytes())

    threads = [threading.Thread(target=predict) for _ in range(3)]
    for thread in threads:
        thread.start()

    def note(epoch, net, history):
        allowed.add(net.predict(X).tobytes())
        if epoch >= 19 and len(found) > 3:
            raise fastnn.StopFit

    net.fit(X, y, epochs=2000, batch_size=200, callback=note)
    allowed.add(net.predict(X).tobytes())
    stop.set()
    for thread in threads:
        thread.join()
    assert len(found) > 3
    assert set(found) <= allowed


def test_two_fits_of_one_net_at_a_time_are_refused():
    X, y = small_problem()
    net = fastnn.MLP((64, 100, 10), output="softmax", random_state=0)
    errors = []

    def nested(epoch, net, history):
        try:
            net.fit(X, y)
        except RuntimeError as error:
            errors.append(str(error))
        raise fastnn.StopFit

    net.fit(X, y, epochs=3, callback=nested)
    assert len(errors) == 1
    assert "fit" in errors[0]


FORK = """
import os, sys
import numpy as np, fastnn
rng = np.random.default_rng(0)
X, y = rng.normal(size=(1500, 64)).astype("float32"), rng.integers(0, 10, 1500)

def fitted(n_threads):
    net = fastnn.MLP((64, 100, 10), output="softmax", random_state=0, n_threads=n_threads)
    assert net.plan(200).threads == n_threads
    net.fit(X, y, epochs=2, batch_size=200)
    return net.parameters.tobytes() + net.predict(X).tobytes()

wanted = fitted(2)
for _ in range(5):
    child = os.fork()
    if child == 0:
        os._exit(0 if fitted(2) == wanted else 3)
    assert fitted(2) == wanted
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_parent_and_child_go_on_in_parallel_after_a_fork(run_python):
    done = run_python(FORK, timeout=60)
    assert done.stdout.strip() == "done", done.stderr


def test_float_mode_of_the_process_is_restored():
    """Subnormal numbers are flushed inside the loop only."""
    tiny = np.float32(np.finfo(np.float32).smallest_subnormal)
    X, y = small_problem()
    for n_threads in (1, 2):
        fitted(X, y, n_threads)
        assert tiny * np.float32(1) == tiny
        assert (np.full(100, tiny) + np.zeros(100, np.float32) > 0).all()


def test_blas_has_one_thread_during_a_fit_and_its_own_number_after_it():
    from threadpoolctl import threadpool_info, threadpool_limits

    def threads():
        return {info["filepath"]: info["num_threads"] for info in threadpool_info()
                if info["user_api"] == "blas"}

    X, y = small_problem()
    net = fastnn.MLP((64, 100, 10), output="softmax", random_state=0, n_threads=2, gemm="blas")
    during = []
    with threadpool_limits(limits=2, user_api="blas"):
        before = threads()
        net.fit(X, y, epochs=2, batch_size=200, callback=lambda *_: during.append(threads()))
        assert threads() == before
    # of the libraries that are loaded, the one whose products the loop calls
    assert len(during) == 2
    assert all(any(number == 1 for number in counts.values()) for counts in during)


def test_fork_after_prediction_alone(run_python):
    """Door three never imports the epoch loop; its team must be released all the same."""
    done = run_python("""
import os, sys
import numpy as np
import fastnn
net = fastnn.MLP((300, 500, 2), random_state=0, n_threads=2)
X = np.random.default_rng(0).normal(size=(4000, 300)).astype("float32")
wanted = net.predict(X).tobytes()
assert "fastnn.training._loop" not in sys.modules
child = os.fork()
if child == 0:
    os._exit(0 if net.predict(X).tobytes() == wanted else 1)
assert os.waitpid(child, 0)[1] == 0
assert net.predict(X).tobytes() == wanted
""", timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_learning_rate_for_each_step(dtype):
    """The same bytes as steps one by one with these rates; a number is the same for all."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(50, 3)).astype(dtype), rng.normal(size=(50, 1)).astype(dtype)
    rates = np.array([0.3, 0.0, 0.02, 0.1])

    def trained(n_threads, run):
        trainer = make_trainer((3, 8, 1), ("tanh",), "identity", "squared_error", dtype=dtype,
                               optimizer=fastnn.SGD(), batch_size=16, n_threads=n_threads)
        trainer.parameters[:] = np.linspace(-1, 1, trainer.parameters.size)
        trainer.set_data(X, y)
        run(trainer)
        return trainer.parameters.tobytes()

    def one_by_one(trainer):
        for i, rate in enumerate(rates):
            trainer.run_epoch(np.arange(16 * i, min(16 * i + 16, 50)), learning_rate=rate)

    wanted = trained(1, one_by_one)
    for n_threads in (1, 2):
        assert trained(n_threads, lambda trainer: trainer.run_epoch(learning_rate=rates)) == wanted
    assert trained(1, lambda trainer: trainer.run_epoch(learning_rate=np.full(4, 0.1))) == trained(
        1, lambda trainer: trainer.run_epoch(learning_rate=0.1))


def test_learning_rates_of_another_epoch():
    trainer = make_trainer((3, 1), (), "identity", "squared_error", dtype="float64",
                           optimizer=fastnn.SGD(), batch_size=16)
    trainer.set_data(np.ones((50, 3)), np.ones((50, 1)))
    for rates in (np.ones(3), np.ones(5), np.ones((4, 1)), np.ones(4, np.float32)):
        with pytest.raises(ValueError, match=r"learning_rate is .*must be float64 \(4,\)"):
            trainer.run_epoch(learning_rate=rates)
    with pytest.raises(ValueError, match=r"must be float64 \(1,\)"):
        trainer.run_epoch(np.arange(16), learning_rate=np.ones(4))
