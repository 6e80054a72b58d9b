"""Networks that change within a call, and arrays of another network: an error, never memory that is
not theirs."""

import threading

import numpy as np
import pytest

import fastnn

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(8, 3)).astype("f"), np.ones((8, 2), "f")


@pytest.mark.parametrize("change", [
    lambda net: net.grow(n_in=40), lambda net: net.__init__((1, 1)),
    lambda net: net.__init__((3, 5, 2), dtype="float64")])
def test_hvp_of_a_network_that_changes(change):
    net = fastnn.MLP((3, 5, 2), random_state=0)
    v = np.ones_like(net.parameters)

    class Weight:
        def __array__(self, dtype=None, copy=None):
            change(net)
            return np.ones(8, "f")

    with pytest.raises(RuntimeError, match="has been changed within this call"):
        net.hvp(X, Y, v, sample_weight=Weight())


def test_hvp_of_weights_set_meanwhile_is_of_one_moment():
    net = fastnn.MLP((3, 5, 2), random_state=0)
    v, expected = np.ones_like(net.parameters), []

    class Weight:
        def __array__(self, dtype=None, copy=None):
            net.set_weights([2 * w for w in net.get_weights()])
            return np.ones(8, "f")

    expected = net.hvp(X, Y, v, sample_weight=np.ones(8, "f"))
    found = net.hvp(X, Y, v, sample_weight=Weight())
    assert found.tobytes() == expected.tobytes()


def test_steps_run_on_labels_that_the_loss_does_not_read():
    steps = fastnn.MLP((3, 4, 2), random_state=0).steps()
    with pytest.raises(ValueError, match="y is labels, which the kernel of squared_error"):
        steps.run(X[:1], np.zeros(1, np.int32), None, 0.1)
    before = steps.net.parameters.copy()
    for rate in (np.inf, np.nan, -1.0):
        with pytest.raises(ValueError, match="must be finite and >= 0"):
            steps.run(X[:1], Y[:1], None, rate)
    assert (steps.net.parameters == before).all()
    assert np.isfinite(steps(X[:1], Y[:1]))


def test_a_trainer_is_made_once():
    net = fastnn.MLP((3, 4, 2), random_state=0)
    steps = net.steps()
    with pytest.raises(RuntimeError, match="made already"):
        steps.trainer.__init__(net.spec, "squared_error", optimizer=None, batch_size=64)
    assert np.isfinite(steps(X, Y))


def test_a_subclass_that_says_another_dtype():
    class Net(fastnn.MLP):
        dtype = np.dtype("float32")

    with pytest.raises(ValueError, match="X is float32 of shape .* row-major array of float64"):
        Net((3, 50, 20), dtype="float64", random_state=0).predict(np.ones((1000, 3), "f"))


def test_a_state_that_is_set_while_another_thread_predicts():
    states = [fastnn.MLP((3, 50, 20), dtype=dtype, random_state=0).__getstate__()
              for dtype in ("float32", "float64")]
    net = fastnn.MLP((3, 50, 20), random_state=0)
    done = threading.Event()

    def change():
        while not done.is_set():
            for state in states:
                net.__setstate__(state)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(3000):
            try:
                found = net.predict([[1.0, 2.0, 3.0]] * 20)
            except ValueError as error:
                assert "must be a row-major array" in str(error) or "out" in str(error)
            else:
                assert np.isfinite(found).all() and np.abs(found).max() < 100
    finally:
        done.set()
        thread.join()


def test_fewer_weights_than_networks_in_a_model_of_tables():
    pytest.importorskip("sklearn")
    table = {"x": np.arange(60.0), "c": ["a", "b"] * 30}
    model = fastnn.TabularClassifier("fast", random_state=0).fit(table, ["u", "v"] * 30)
    model.model_.ensemble.weights = np.ones(1)
    with pytest.raises(ValueError, match="weights"):
        model.predict({"x": [1.0], "c": ["a"]})
