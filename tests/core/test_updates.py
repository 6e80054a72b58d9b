"""One step of every optimizer against the twin, element by element."""

import numpy as np
import pytest
import reference
from each import each

import fastnn
from fastnn.core import _kernels, _probes

OPTIMIZERS = {
    "sgd": (fastnn.SGD(0.1), reference.SGD()),
    "sgd without momentum": (fastnn.SGD(0.1, momentum=0), reference.SGD(momentum=0)),
    "nesterov": (fastnn.SGD(0.1, nesterov=True), reference.SGD(nesterov=True)),
    "step sgd": (fastnn.SGD(0.1, velocity="step"), reference.StepSGD()),
    "step nesterov": (fastnn.SGD(0.1, 0.8, True, velocity="step"),
                      reference.StepSGD(momentum=0.8, nesterov=True)),
    "adam": (fastnn.Adam(0.1), reference.Adam()),
    "adam eps hat": (fastnn.Adam(0.1, 0.8, 0.99, 1e-4, eps_hat=True),
                     reference.Adam(beta1=0.8, beta2=0.99, eps=1e-4, eps_hat=True)),
    "adamw": (fastnn.AdamW(0.1, weight_decay=0.1), reference.AdamW(weight_decay=0.1)),
    "rmsprop": (fastnn.RMSprop(0.1), reference.RMSprop()),
    "adagrad": (fastnn.Adagrad(0.1), reference.Adagrad()),
    "amsgrad": (fastnn.Adam(0.1, beta2=0.8, amsgrad=True), reference.AMSGrad(beta2=0.8)),
    "amsgrad eps hat": (fastnn.Adam(0.1, 0.8, 0.9, 1e-4, eps_hat=True, amsgrad=True),
                        reference.AMSGrad(beta1=0.8, beta2=0.9, eps=1e-4, eps_hat=True)),
    "adadelta": (fastnn.Adadelta(0.1, rho=0.8, eps=1e-4), reference.Adadelta(rho=0.8, eps=1e-4)),
    "adamax": (fastnn.AdaMax(0.1, eps=1e-3), reference.AdaMax(eps=1e-3)),
    "nadam": (fastnn.Nadam(0.1, eps=1e-3, momentum_decay=0.5),
              reference.Nadam(eps=1e-3, momentum_decay=0.5)),
    "rprop": (fastnn.Rprop(0.1, step_max=0.13), reference.Rprop(step_max=0.13)),
    "lion": (fastnn.Lion(0.1, weight_decay=0.1), reference.Lion(weight_decay=0.1)),
}


def n_states(optimizer):
    """How many vectors of state the row of an optimizer reads and writes."""
    return _kernels.OPTIMIZERS[optimizer.row].n_state


def run(optimizer, size, dtype, isa, n_steps=5, **more):
    """The same few steps by the kernel and by the twin; returns both weights and states."""
    ours, twin = optimizer
    twin = type(twin)(**{k: v for k, v in vars(twin).items() if k not in ("step", "state")})
    rng = np.random.default_rng(size)
    w = rng.normal(size=size).astype(dtype)
    states = [np.zeros_like(w) for _ in range(n_states(ours))]
    wanted = w.astype(float)
    for step in range(1, n_steps + 1):
        lr = 0.1 / step
        g = rng.normal(size=size).astype(dtype)
        c = _probes.coefficients(ours.row, step, lr, ours.hyperparameters)
        _probes.update(ours.row, w, g, states, c, isa, **more)
        twin.update([wanted], [g.astype(float)], lr)
    return w, states, wanted, [vectors[0] for vectors in twin.state]


@each("name", OPTIMIZERS)
def test_update_is_the_twins(name, dtype, isa):
    rtol = 40 * np.finfo(dtype).eps
    for size in (*range(1, 34), 511, 512, 513, 1025):
        w, states, wanted, twins = run(OPTIMIZERS[name], size, dtype, isa)
        np.testing.assert_allclose(w, wanted, rtol=rtol, atol=rtol)
        # the kernel keeps the step's velocity with the sign of g, and without momentum none
        if name not in ("step sgd", "step nesterov", "sgd without momentum"):
            for got, state in zip(states, twins, strict=True):
                np.testing.assert_allclose(got, state, rtol=rtol, atol=rtol)


@each("decay", [0.0, 0.3])
@each("name", OPTIMIZERS)
def test_update_does_not_depend_on_the_place(name, decay, dtype, isa):
    """An element gets the same bits in the vector loop, in the rest, alone."""
    optimizer, _ = OPTIMIZERS[name]
    rng = np.random.default_rng(0)
    w, g = rng.normal(size=(2, 600)).astype(dtype)
    n_state = n_states(optimizer)
    c = _probes.coefficients(optimizer.row, 3, 0.1, optimizer.hyperparameters)
    whole = w.copy()
    _probes.update(optimizer.row, whole, g, [np.ones_like(w) for _ in range(n_state)], c, isa,
                   decay=decay)
    for size in (1, 5, 31, 64, 513):
        found = []
        for start in range(0, 600, size):
            part = w[start : start + size].copy()
            states = list(np.ones((n_state, len(part)), dtype))
            _probes.update(optimizer.row, part, g[start : start + size], states, c, isa,
                           decay=decay)
            found.append(part)
        assert np.concatenate(found).tobytes() == whole.tobytes(), size


@each("name", OPTIMIZERS)
def test_instruction_sets_agree(name, dtype):
    rtol = 40 * np.finfo(dtype).eps
    results = [run(OPTIMIZERS[name], 600, dtype, isa)[0] for isa in _kernels.available_isas()]
    for other in results[1:]:
        np.testing.assert_allclose(other, results[0], rtol=rtol, atol=rtol)


def test_parts_decay_and_scale(dtype, isa):
    """g = (sum of parts + decay w) scale; returned is |w|² before the step."""
    rng = np.random.default_rng(0)
    w = rng.normal(size=700).astype(dtype)
    before = w.astype(float)
    parts = rng.normal(size=(4, 700)).astype(dtype)
    c = _probes.coefficients("sgd", 1, 0.1, fastnn.SGD(momentum=0).hyperparameters)
    squares = _probes.update("sgd", w, parts, [np.zeros_like(w)], c, isa, decay=0.3, scale=0.25)
    wanted = before - 0.1 * 0.25 * (parts.astype(float).sum(axis=0) + 0.3 * before)
    eps = float(np.finfo(dtype).eps)
    np.testing.assert_allclose(w, wanted, rtol=4 * eps, atol=4 * eps)
    assert squares == pytest.approx((before**2).sum(), rel=4 * eps, abs=0)


def test_nan_in_the_gradient_reaches_only_its_weight(dtype, isa):
    for name, (optimizer, _) in OPTIMIZERS.items():
        w, g = np.ones(33, dtype), np.ones(33, dtype)
        g[5] = np.nan
        states = [np.zeros_like(w) for _ in range(n_states(optimizer))]
        c = _probes.coefficients(optimizer.row, 1, 0.1, optimizer.hyperparameters)
        _probes.update(optimizer.row, w, g, states, c, isa)
        assert np.flatnonzero(np.isnan(w)).tolist() == [5], name


def test_adamax_with_an_eps_that_the_dtype_has_not(dtype, isa):
    """It is 0 there: where no gradient was, no step is taken; a NaN is kept."""
    eps = 1e-60 if dtype == "float32" else 1e-323
    w, g = np.ones(33, dtype), np.zeros(33, dtype)
    g[3], g[4] = 2, np.nan
    states = [np.zeros_like(w), np.zeros_like(w)]
    for step in (1, 2):
        c = _probes.coefficients("adamax", step, 0.25, fastnn.AdaMax(eps=eps).hyperparameters)
        if dtype == "float64":
            c[3] = 0  # as it is where subnormal numbers are flushed
        _probes.update("adamax", w, g, states, c, isa)
    np.testing.assert_allclose(w[[3, 4]], [0.5, np.nan])
    np.testing.assert_array_equal(np.delete(w, [3, 4]), 1)


def test_rprop_starts_with_the_first_rate_above_zero(dtype, isa):
    """Before it nothing moves, and no gradient is remembered; later rates have no influence."""
    rng = np.random.default_rng(0)
    g = rng.normal(size=(5, 33)).astype(dtype)
    found = []
    for rates in ((0, 0, 0.25, 0.1, 0.3), (0.25, 7, 8)):
        w, states = np.ones(33, dtype), [np.zeros(33, dtype), np.zeros(33, dtype)]
        for step, rate in enumerate(rates):
            c = _probes.coefficients("rprop", step + 1, rate, fastnn.Rprop().hyperparameters)
            _probes.update("rprop", w, g[step - len(rates)], states, c, isa)
            if rate == 0:
                assert (w == 1).all()
        found.append([array.tobytes() for array in (w, *states)])
    assert found[0] == found[1]
    assert np.abs(w - 1).min() > 0.1
    w, states = np.ones(33, dtype), [np.zeros(33, dtype), np.zeros(33, dtype)]
    c = _probes.coefficients("rprop", 1, 0.0, fastnn.Rprop().hyperparameters)
    _probes.update("rprop", w, np.where(np.arange(33) == 5, np.nan, g[0]).astype(dtype), states, c,
                   isa)
    assert np.flatnonzero(np.isnan(w)).tolist() == [5]


def test_first_step_of_adam_by_hand():
    """With both corrections the first step is lr sign(g), whatever the size of g."""
    w, g = np.zeros(3), np.array([1e-3, -5.0, 40.0])
    c = _probes.coefficients("adam", 1, 0.01, fastnn.Adam(eps=1e-12).hyperparameters)
    _probes.update("adam", w, g, [np.zeros(3), np.zeros(3)], c)
    np.testing.assert_allclose(w, [-0.01, 0.01, -0.01], rtol=2e-9)


def test_every_optimizer_of_the_table_is_tested():
    assert {optimizer.row for optimizer, _ in OPTIMIZERS.values()} == set(_kernels.OPTIMIZERS)
