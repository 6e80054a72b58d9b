"""L-BFGS for `MLP`: SciPy's, on the flat vector of parameters, with the hooks of epochs."""

import numpy as np
import pytest
from scipy.optimize import minimize

import fastnn
from fastnn import MLPRegressor
from fastnn.training.epochs import Hook

rng = np.random.default_rng(0)
X = rng.normal(size=(300, 4))
y = np.column_stack([np.sin(2 * X[:, 0]), X[:, 1] * X[:, 2]])


def made(dtype="float64", **settings):
    return fastnn.MLP((4, 12, 2), "tanh", dtype=dtype, random_state=0, **settings)


def fitted(net=None, optimizer=None, **settings):
    net = made() if net is None else net
    history = net.fit(X, y, optimizer=optimizer or fastnn.LBFGS(max_iter=40), **settings)
    return net, history


def test_equals_scipy_on_the_flat_objective():
    """The same iterates, to the bit: what runs is SciPy's L-BFGS-B on `loss_and_grad`."""
    weight = rng.uniform(0.5, 2, 300)
    net, history = fitted(alpha=0.1, sample_weight=weight)
    twin, losses = made(), []

    def objective(parameters):
        twin.parameters[:] = parameters
        return twin.loss_and_grad(X, y, alpha=0.1, sample_weight=weight)

    result = minimize(objective, twin.parameters.copy(), method="L-BFGS-B", jac=True,
                      callback=lambda x: losses.append(objective(x)[0]),
                      options={"maxiter": 40, "gtol": 1e-5, "ftol": 2.2e-9, "maxfun": 15000})
    assert net.parameters.tobytes() == result.x.tobytes()
    assert history.loss == losses and len(losses) == 40 == net._epochs_done
    assert history.loss == sorted(history.loss, reverse=True)
    assert net.loss(X, y, alpha=0.1, sample_weight=weight) == history.loss[-1]


def test_ends_at_the_tolerance():
    """A linear network: least squares."""
    net = fastnn.MLP((4, 2), dtype="float64", random_state=0)
    history = net.fit(X, y, optimizer=fastnn.LBFGS(tol=1e-8, ftol=0, max_iter=500))
    _, grad = net.loss_and_grad(X, y)
    assert np.abs(grad).max() <= 1e-8
    assert len(history.loss) < 100
    rows = np.column_stack([X, np.ones(300)])
    best = np.linalg.lstsq(rows, y, rcond=None)[0]
    np.testing.assert_allclose(np.vstack([net.weights[0], net.biases[0]]), best, atol=1e-6)


def test_settings_of_minibatches_mean_nothing():
    wanted = fitted()[0].parameters.tobytes()
    for settings in ({"batch_size": 7}, {"epochs": 3}, {"shuffle": False}):
        assert fitted(**settings)[0].parameters.tobytes() == wanted
    assert fitted(made(dropout=0.4))[0].parameters.tobytes() == wanted


def test_any_number_of_threads():
    found = {fitted(made(n_threads=n, dtype=dtype))[0].parameters.tobytes()
             for n in (1, 2, 3, 8) for dtype in ("float32", "float64")}
    assert len(found) == 2


def test_more_memory_is_another_way():
    few, many = (fitted(optimizer=fastnn.LBFGS(max_iter=40, memory=memory))[0].parameters
                 for memory in (2, 30))
    assert not np.array_equal(few, many)


def test_callback_and_validation_data():
    seen = []

    def callback(epoch, net, history):
        seen.append((epoch, net.loss(X, y), net.loss(X[:50], y[:50])))
        if epoch == 6:
            raise fastnn.StopFit

    net, history = fitted(callback=callback, validation_data=(X[:50], y[:50]))
    assert [epoch for epoch, *_ in seen] == list(range(7))
    assert [loss for _, loss, _ in seen] == history.loss
    assert [loss for *_, loss in seen] == history.val_loss
    assert net.loss(X, y) == history.loss[-1] and net._epochs_done == 7


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_an_interrupt_keeps_the_last_iterate(error):
    kept = []

    def callback(epoch, net, history):
        kept.append(net.parameters.tobytes())
        if epoch == 5:
            raise error

    net = made()
    with pytest.raises(error):
        fitted(net, callback=callback)
    assert len(kept) == 6 and net.parameters.tobytes() == kept[-1]


def test_a_start_without_finite_loss():
    net = made()
    before = net.parameters.copy()
    with np.errstate(all="ignore"), pytest.warns(fastnn.DivergenceWarning, match="L-BFGS ended"):
        net.fit(X, np.full((300, 2), 1e200), optimizer=fastnn.LBFGS())
    assert net.parameters.tobytes() == before.tobytes()


def test_hooks_end_the_fit_of_an_estimator():
    class Third(Hook):
        def on_epoch_end(self, state):
            if state.epoch == 2:
                state.stop("stopped")

    model = MLPRegressor(hidden_layer_sizes=(5,), solver="lbfgs", random_state=0)
    model._fit_with_hooks(X, y, [Third()])
    assert model.n_iter_ == 3
    short = MLPRegressor(hidden_layer_sizes=(5,), solver="lbfgs", random_state=0, max_iter=3)
    with pytest.warns(match="failed to converge"):
        short.fit(X, y)
    np.testing.assert_array_equal(model.coefs_[0], short.coefs_[0])
    assert model.loss_ == short.loss_


def test_frozen_blocks_stay():
    """Here, and in evolution, which draws no noise for them."""
    for optimizer in (fastnn.LBFGS(max_iter=20), fastnn.EvolutionStrategy(0.1)):
        net = made()
        start = net.get_weights()
        net.freeze(0)
        net.fit(X, y, optimizer=optimizer, epochs=10)
        trained = net.get_weights()
        for i in (0, 1):
            np.testing.assert_array_equal(trained[i], start[i])
        assert all((a != b).any() for a, b in zip(trained[2:], start[2:], strict=True))


@pytest.mark.parametrize("settings, error, message", [
    ({"max_iter": 0}, ValueError, "max_iter=0 must be >= 1"),
    ({"memory": 1.5}, TypeError, "memory=1.5 must be an integer"),
    ({"tol": -1}, ValueError, "tol=-1"),
    ({"max_fun": True}, TypeError, "max_fun=True"),
    ({"ftol": "x"}, TypeError, "ftol='x'")])
def test_bad_settings(settings, error, message):
    with pytest.raises(error, match=message):
        fastnn.LBFGS(**settings)
