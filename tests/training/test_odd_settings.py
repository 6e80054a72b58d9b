"""Training with rare input and settings, and what is left after it has failed or been stopped."""

import dataclasses
import warnings

import numpy as np
import pytest
import reference
import scipy.sparse

import fastnn

# The only internal here: the order in which a fit takes the rows of an epoch.
from fastnn.core._probes import permutation

LAYOUTS = [  # (sizes, settings): feature-major, row-major, row-major by BLAS
    ((5, 4, 2), {}),
    ((150, 4, 2), {"gemm": "native"}),
    ((150, 4, 2), {"gemm": "blas"}),
    ((5, 150, 2), {"gemm": "native"}),
]


# ---- sparse rows ----


def test_duplicate_entries_of_sparse_rows_add_up(dtype):
    """Two of one place, and three, one of which is negative; in all layouts, with and without an
    order of rows."""
    for sizes, settings in LAYOUTS:
        dense = np.zeros((4, sizes[0]))
        dense[0, [0, 3]] = 1, 3
        dense[1, 4] = -2
        dense[3, [1, 4]] = 5, 1
        X = scipy.sparse.csr_array(
            (np.array([1.0, 2, 1, 3, -2, -3, 4, 1, 1.0]).astype(dtype),
             np.array([0, 3, 3, 4, 4, 4, 1, 4, 1]), np.array([0, 3, 6, 6, 9])), dense.shape)
        assert (X.toarray() == dense).all() and not X.has_canonical_format
        y = np.random.default_rng(0).normal(size=(4, 2))
        found = []
        for rows in (X.copy(), dense):
            net = fastnn.MLP(sizes, "tanh", dtype=dtype, random_state=0, **settings)
            value, grad = net.loss_and_grad(rows, y)
            net.fit(rows, y, epochs=3, batch_size=3)
            found.append((value, grad, net.parameters))
        for got, wanted in zip(*found, strict=True):  # sums of parts are rounded otherwise
            np.testing.assert_allclose(got, wanted, rtol=0, atol=30 * np.finfo(dtype).eps)


# ---- random numbers ----


def test_an_order_of_rows_is_made_of_independent_numbers():
    """The numbers that an order was made of are taken from it again. None tells of a later one; no
    two orders begin alike."""
    n, seen = 3000, set()
    for seed, stream in [(0, 0), (0, 1), (1, 0), (2**63 + 1, 2**40)]:
        order = permutation(n, seed, stream)
        now, place = np.arange(n), np.arange(n)  # what stands where; where each row stands
        drawn = np.empty(n)
        for i in range(n - 1, 0, -1):
            j = place[order[i]]
            drawn[n - 1 - i] = (j + 0.5) / (i + 1)
            now[i], now[j] = now[j], now[i]
            place[now[i]], place[now[j]] = i, j
        drawn = drawn[:n - 100]  # the last ones are of few values
        assert abs(drawn.mean() - 0.5) < 4.5 * np.sqrt(1 / 12 / len(drawn))
        centred = drawn - drawn.mean()
        for lag in range(1, 300):
            pairs = len(drawn) - lag
            correlation = (centred[lag:] * centred[:pairs]).mean() * 12
            assert abs(correlation) < 5 / np.sqrt(pairs), lag
        seen.add(tuple(order[-5:]))
    assert len(seen) == 4


# ---- failures ----


def data(n_rows=60):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, 3))
    return X, np.column_stack([X[:, 0] * X[:, 1], X[:, 2]])


def make():
    return fastnn.MLP((3, 8, 2), "tanh", dtype="float64", dropout=0.3, random_state=0)


def test_after_divergence_a_fit_draws_other_random_numbers():
    """An epoch that has failed counts as one: the next fit goes on as after a whole one."""
    X, y = data()
    settings = {"optimizer": fastnn.SGD(0.01), "batch_size": 10, "epochs": 1}
    start = make().get_weights()
    nets = {name: make() for name in ("failed", "whole", "new")}
    with pytest.warns(fastnn.DivergenceWarning, match="epoch 0"):
        nets["failed"].fit(X, y, optimizer=fastnn.SGD(1e200), batch_size=10, epochs=5)
    nets["whole"].fit(X, y, **settings)
    for net in nets.values():
        net.set_weights(start)
        net.fit(X, y, **settings)
    found = {name: net.parameters.tobytes() for name, net in nets.items()}
    assert found["failed"] == found["whole"] != found["new"]


def test_an_interrupt_beside_divergence_leaves_finite_parameters():
    """Ctrl-C while the warning is shown, when the parameters in training are infinite: what is left
    is the last epoch before."""
    X, y = data()
    y *= 100  # so steep that one step of the largest rate goes beyond all numbers

    def interrupt(*_):
        raise KeyboardInterrupt

    for good_epochs in (0, 2):
        net, same = make(), make()
        rates = [0.001] * good_epochs + [1e308]
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = interrupt
            with pytest.raises(KeyboardInterrupt):
                net.fit(X, y, optimizer=fastnn.SGD(rates.__getitem__), batch_size=10,
                        epochs=5)
        if good_epochs:
            same.fit(X, y, optimizer=fastnn.SGD(0.001), batch_size=10, epochs=good_epochs)
        assert np.isfinite(net.parameters).all()
        assert net.parameters.tobytes() == same.parameters.tobytes()


# ---- optimizers ----

DEFAULTS = {  # as the documentation states them
    "SGD": {"learning_rate": 0.01, "momentum": 0.9, "nesterov": False, "velocity": "gradient"},
    "Adam": {"learning_rate": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "eps_hat": False},
    "AdamW": {"learning_rate": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8,
              "weight_decay": 0.01},
    "RMSprop": {"learning_rate": 1e-3, "rho": 0.9, "eps": 1e-8},
    "Adagrad": {"learning_rate": 0.01, "eps": 1e-10},
    "Adadelta": {"learning_rate": 1.0, "rho": 0.9, "eps": 1e-6},
    "AdaMax": {"learning_rate": 2e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
    "Nadam": {"learning_rate": 2e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8,
              "momentum_decay": 4e-3},
    "Rprop": {"learning_rate": 0.01, "eta_minus": 0.5, "eta_plus": 1.2, "step_min": 1e-6,
              "step_max": 50.0},
    "Lion": {"learning_rate": 1e-4, "beta1": 0.9, "beta2": 0.99, "weight_decay": 0.0},
}


def test_optimizers_have_their_stated_defaults_and_take_the_steps_of_them():
    X, y = data()
    for name, stated in DEFAULTS.items():
        optimizer = getattr(fastnn, name)()
        extra = {"amsgrad": False} if name == "Adam" else {}
        assert dataclasses.asdict(optimizer) == {**stated, **extra, "layers": None}, name
        net = fastnn.MLP((3, 4, 2), "tanh", dtype="float64", random_state=0)
        twin = reference.Twin.of(net)
        settings = {field: value for field, value in stated.items()
                    if field not in ("learning_rate", "velocity")}
        reference.train(
            twin, X, y, loss_name="squared_error", optimizer=getattr(reference, name)(**settings),
            batch_size=20, orders=[np.arange(60)] * 3, learning_rates=[stated["learning_rate"]] * 3)
        net.fit(X, y, optimizer=optimizer, batch_size=20, epochs=3, shuffle=False)
        for got, wanted in zip(net.get_weights(), twin.parameters(), strict=True):
            np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12, err_msg=name)
