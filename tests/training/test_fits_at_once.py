"""Several fits at a time: the cores are used once, the bytes are those of a fit alone."""

import threading

import numpy as np
import pytest
from planning import use_rules

import fastnn
from fastnn.core import threads
from fastnn.training import _runs

CORES = 4
RNG = np.random.default_rng(0)
X = RNG.normal(size=(256, 300)).astype("float32")
Y = RNG.integers(0, 3, 256)


@pytest.fixture
def sizes(monkeypatch):
    """For each thread the teams of its epochs, on a machine of some cores."""
    found = {}
    team_size = threads.team_size

    def record(n_threads):
        found.setdefault(threading.get_ident(), []).append(n_threads)
        return team_size(n_threads)

    use_rules(monkeypatch.setattr, epoch_flops=0, min_shard_flops=0, block_rows=8)
    monkeypatch.setattr(threads, "default_threads", lambda: CORES)
    monkeypatch.setattr(_runs, "team_size", record)
    return found


def fit(callback=None, n_threads=None):
    net = fastnn.MLP((300, 32, 3), output="softmax", random_state=0, n_threads=n_threads)
    net.fit(X, Y, epochs=4, batch_size=128, callback=callback)
    return net.parameters.tobytes()


def together(n_fits, **settings):
    """The bytes of so many fits, whose epochs begin only when all are there."""
    barrier, found = threading.Barrier(n_fits, timeout=60), []

    def run():
        try:
            found.append(fit(lambda *_: barrier.wait() and None, **settings))
        except BaseException:
            barrier.abort()
            raise

    running = [threading.Thread(target=run) for _ in range(n_fits)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert len(found) == n_fits
    return set(found)


@pytest.mark.parametrize("n_fits", [2, 3, 4, 6])
def test_threads_of_one_process_share_the_cores(n_fits, sizes):
    alone = fit()
    assert set(sizes.pop(threading.get_ident())) == {CORES}
    assert together(n_fits) == {alone}
    assert len(sizes) == n_fits
    for teams in sizes.values():  # in its first epoch a fit may be alone
        assert set(teams[1:]) == {max(1, CORES // n_fits)}
    fit()
    assert set(sizes[threading.get_ident()]) == {CORES}  # they have gone


def test_a_number_of_threads_that_is_given_stays(sizes):
    together(2, n_threads=3)
    assert {size for teams in sizes.values() for size in teams} == {3}


def test_estimators_in_the_threading_backend(sizes, monkeypatch):
    joblib = pytest.importorskip("joblib")
    model_selection = pytest.importorskip("sklearn.model_selection")
    barrier = threading.Barrier(2, timeout=60)

    class Waiting(fastnn.MLPClassifier):
        def _trainer(self, network, **settings):  # both are there before the first epoch
            barrier.wait()
            return super()._trainer(network, **settings)

    def score(kind, n_jobs):
        est = kind((32,), max_iter=2, random_state=0, batch_size=128, dtype="float32", tol=0)
        with joblib.parallel_backend("threading"), pytest.warns(UserWarning):
            return model_selection.cross_val_score(est, X, Y, cv=2, n_jobs=n_jobs).tolist()

    def record(n_threads):  # none has come to its end before the other's first epoch
        team = recorded(n_threads)
        if len(sizes[threading.get_ident()]) == 1:
            barrier.wait()
        return team

    expected = score(fastnn.MLPClassifier, 1)
    sizes.clear()
    recorded = _runs.team_size
    monkeypatch.setattr(_runs, "team_size", record)
    assert score(Waiting, 2) == expected
    assert len(sizes) == 2 and all(teams[0] == CORES // 2 for teams in sizes.values())


WORKERS = """
import os
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.pop(name, None)
import joblib
from fastnn.core.threads import default_threads


def threads(_):
    from fastnn.core.threads import default_threads
    return default_threads()


for n_jobs in (2, 4):
    found = joblib.Parallel(n_jobs=n_jobs, backend="loky")(
        joblib.delayed(threads)(i) for i in range(2 * n_jobs))
    wanted = max(1, joblib.cpu_count() // n_jobs)
    assert set(found) == {min(wanted, default_threads())}, (n_jobs, found, wanted)
"""


@pytest.mark.slow
def test_workers_of_joblib_share_the_cores(run_python):
    pytest.importorskip("joblib")
    done = run_python(WORKERS)
    assert done.returncode == 0, done.stderr
