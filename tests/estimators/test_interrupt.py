"""Ctrl-C: a warning, and the model is kept."""

import os
import pickle
import signal
import threading
import time

import numpy as np
import pytest
from estimator_data import load, make

from fastnn.estimators import rules as solvers

ENDLESS = {"max_iter": 10**9, "tol": 0.0, "n_iter_no_change": np.inf, "random_state": 0}


@pytest.fixture
def interrupt(monkeypatch, ctrl_c):
    """``interrupt(seconds, how)``: Ctrl-C so long after the training of the next fit has begun,
    as an alarm or from another thread. Earlier it would end the tests."""
    timers, planned = [], []

    def start():
        for seconds, how in planned:
            if how == "alarm":
                signal.setitimer(signal.ITIMER_REAL, seconds)
            else:
                timers.append(threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT)))
                timers[-1].start()
        planned.clear()

    def starting(train):
        def run(*arguments, **settings):
            start()
            return train(*arguments, **settings)

        return run

    for name in ("fit_stochastic", "fit_lbfgs"):
        monkeypatch.setattr(solvers, name, starting(getattr(solvers, name)))
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    yield lambda seconds, how="alarm": planned.append((seconds, how))
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, previous)
    for timer in timers:
        timer.join()


@pytest.mark.parametrize("settings, name, n_threads, how", [
    ({}, "digits", 1, "alarm"), ({}, "diabetes", 2, "thread"),
    ({"early_stopping": True}, "digits", 2, "thread"),
    ({"early_stopping": True}, "diabetes", 1, "alarm"),
    ({"solver": "sgd"}, "digits", 2, "alarm"), ({"solver": "sgd"}, "diabetes", 1, "thread")])
def test_interrupt(name, settings, n_threads, how, interrupt):
    X, y = load(name)
    model = make(name, n_threads=n_threads, **ENDLESS, **settings)
    start = time.perf_counter()
    interrupt(0.3, how)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model.fit(X, y)
    assert time.perf_counter() - start < 5
    assert abs(model.n_iter_ - len(model.loss_curve_)) <= 1
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    same = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(same.predict(X), model.predict(X))
    if not model.early_stopping:
        model.partial_fit(X, y)


def test_interrupt_within_an_epoch(interrupt):
    rng = np.random.RandomState(0)
    X, y = rng.normal(size=(60_000, 200)), rng.normal(size=60_000)
    model = make("diabetes", hidden_layer_sizes=(500, 500), dtype="float32", max_iter=1)
    interrupt(0.2)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model.fit(X, y)
    assert model.n_iter_ == 0
    assert np.isfinite(model.predict(X[:10])).all()


def test_interrupt_of_lbfgs(interrupt):
    X, y = load("digits")
    settings = {"tol": 0.0, "max_iter": 10**9, "max_fun": 10**9, "random_state": 0}
    model = make("digits", solver="lbfgs", alpha=1.0, hidden_layer_sizes=(300, 300), **settings)
    interrupt(1.0)  # SciPy 1.9 takes a fifth of a second before its first iteration
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model.fit(X, y)
    assert model.n_iter_ > 0
    assert model.score(X, y) > 0.3
