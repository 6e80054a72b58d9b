"""Numbers that are odd but legal: the result is that of the slow twin, or an error that says what
is wrong; never a crash, never a model that is not finite.
"""

import warnings

import numpy as np
import pytest
import reference
from each import each

import fastnn

rng = np.random.default_rng(0)
N, N_IN = 67, 9
PLAIN = rng.normal(size=(N, N_IN))
TINY = {"float32": 1e-40, "float64": 1e-310}
HUGE = {"float32": 1e35, "float64": 1e300}


def rows(kind, dtype):
    """X of some oddity."""
    X = PLAIN.copy()
    if kind == "subnormal":
        X *= TINY[dtype]
    elif kind == "some subnormal":
        X[::3] *= TINY[dtype]
        X[:, 2] *= TINY[dtype]
    elif kind == "constant column":
        X[:, 4] = 7.25
    elif kind == "constant":
        X[:] = -0.5
    elif kind == "zero rows":
        X[::2] = 0
    elif kind == "zeros":
        X[:] = 0
    elif kind == "minus zero":
        X[:] = -0.0
    elif kind == "huge column":
        X[:, 0] *= HUGE[dtype]
    elif kind == "huge":
        X *= HUGE[dtype]
    elif kind == "one row":
        X = X[:1]
    elif kind == "same row":
        X[:] = X[0]
    return X.astype(dtype)


KINDS = ["plain", "subnormal", "some subnormal", "constant column", "constant", "zero rows",
         "zeros", "minus zero", "one row", "same row"]
OUTPUTS = [("softmax", 3), ("sigmoid", 2), ("identity", 2), ("exp", 1)]


def targets(output, n, n_out):
    drawn = np.random.default_rng(1)
    if output == "softmax":
        return drawn.integers(0, n_out, n)
    if output == "sigmoid":
        return drawn.integers(0, 2, (n, n_out)).astype(float)
    return drawn.uniform(0, 2, (n, n_out))


def made(output, n_out, dtype, activation="tanh", **more):
    return fastnn.MLP((N_IN, 16, 8, n_out), activation, output, dtype=dtype,
                      **{"random_state": 0, "n_threads": 1, **more})


# ---- against the slow twin ----


@each("kind", KINDS)
@each("output, n_out", OUTPUTS)
def test_training_is_the_twins(kind, output, n_out, dtype):
    X, y = rows(kind, dtype), targets(output, N, n_out)
    y = y[:len(X)]
    net = made(output, n_out, dtype)
    twin = reference.Twin.of(net)
    loss = {"softmax": "cross_entropy", "sigmoid": "binary_cross_entropy",
            "identity": "squared_error", "exp": "poisson"}[output]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = net.fit(X, y, optimizer=fastnn.SGD(0.05), epochs=3, batch_size=20, shuffle=False,
                          loss=loss, alpha=0.01)
    wanted = reference.train(
        twin, X, y, loss_name=loss, optimizer=reference.SGD(), orders=[np.arange(len(X))] * 3,
        batch_size=20, learning_rates=[0.05] * 3, alpha=0.01)
    rtol = 1e-10 if dtype == "float64" else 2e-4
    np.testing.assert_allclose(history.loss, wanted, rtol=rtol)
    for mine, its in zip(net.get_weights(), twin.parameters(), strict=True):
        np.testing.assert_allclose(mine, its, rtol=rtol, atol=rtol / 10)
    np.testing.assert_allclose(net.predict(X), twin.predict(X), rtol=rtol, atol=rtol / 10)


@each("kind", KINDS)
@each("activation", ["relu", "tanh", "identity", "gelu"])
def test_prediction_is_the_twins(kind, activation, dtype):
    X = rows(kind, dtype)
    net = made("identity", 2, dtype, activation)
    rtol = 1e-11 if dtype == "float64" else 2e-5
    wanted = reference.Twin.of(net).predict(X)
    # where large terms cancel, rounding is that of the terms
    np.testing.assert_allclose(net.predict(X), wanted, rtol=rtol,
                               atol=rtol / 100 * max(1, 10 * abs(wanted).max()))


def test_predictions_keep_subnormals(dtype):
    """A product of a subnormal X alone: flushed it would be 0."""
    net = fastnn.MLP((N_IN, 2), dtype=dtype, random_state=0)
    X = rows("subnormal", dtype)
    out = net.predict(X)
    assert (out != 0).any()
    np.testing.assert_allclose(out, X.astype(float) @ net.weights[0].astype(float), rtol=0,
                               atol=20 * np.finfo(dtype).smallest_subnormal)


@each("kind", ["huge", "huge column"])
@each("activation", ["tanh", "sigmoid", "relu", "gelu", "silu", "softplus"])
@each("output", ["softmax", "sigmoid", "identity"])
def test_huge_values_give_no_nan(kind, activation, output, dtype):
    """The twin's values wherever they are far from overflow; what saturates is at its bound."""
    X = rows(kind, dtype)
    bounded = activation in ("tanh", "sigmoid")
    out = made(output, 2, dtype, activation).predict(X)
    if bounded or output == "sigmoid":
        assert np.isfinite(out).all()
    with np.errstate(all="ignore"):
        wanted = reference.Twin.of(made(output, 2, dtype, activation)).predict(X)
    same = np.isfinite(wanted) & (abs(wanted) < np.finfo(dtype).max / 100)
    np.testing.assert_allclose(out[same], wanted[same], rtol=1e-4, atol=1e-4)
    if bounded:
        assert same.all()


LIMITS = {"identity": (np.inf, -np.inf), "sigmoid": (1, 0), "tanh": (1, -1), "relu": (np.inf, 0),
          "leaky_relu": (np.inf, -np.inf), "elu": (np.inf, -1), "gelu": (np.inf, 0),
          "silu": (np.inf, 0), "softplus": (np.inf, 0), "exp": (np.inf, 0), "step": (1, 0)}


@each("rows", [1, 70])
@each("activation", LIMITS)
def test_activations_of_infinity_and_nan(activation, rows, dtype):
    """Their limits, and NaN; as the output and below it."""
    X = np.array([[np.inf], [-np.inf], [np.nan]] * rows, dtype)
    wanted = np.array([*LIMITS[activation], np.nan] * rows)[:, None]
    for n_hidden, hidden, output in [(0, "relu", activation), (1, activation, "identity")]:
        net = fastnn.MLP((1,) * (2 + n_hidden), hidden, output, dtype=dtype, initializer="zeros")
        net.set_weights([np.full_like(a, a.ndim == 2) for a in net.get_weights()])
        np.testing.assert_allclose(net.predict(X), wanted, atol=1e-30)


@each("output, n_out", [("softmax", 3), ("sigmoid", 2)])
def test_loss_of_huge_logits(output, n_out, dtype):
    """Where a probability is 0 its logarithm is not."""
    net = fastnn.MLP((N_IN, n_out), output=output, dtype=dtype, random_state=0, n_threads=1)
    X, y = rows("plain", dtype) * 3000, targets(output, N, n_out)
    loss = "cross_entropy" if output == "softmax" else "binary_cross_entropy"
    wanted = reference.Twin.of(net).loss_and_grad(X, y, loss)[0]
    assert wanted > 100
    np.testing.assert_allclose(net.loss(X, y), wanted, rtol=1e-5)


@each("value", [np.nan, np.inf, -np.inf])
@each("n_threads", [1, 2])
@each("place", [(0, 0), (66, 8), (33, 4)])
def test_a_bad_value_stays_in_its_row(value, n_threads, place, dtype):
    """`MLP.predict` checks no values: the other rows are what they are without it, to the bit."""
    X = rows("plain", dtype)
    net = made("softmax", 3, dtype, "relu", n_threads=n_threads)
    wanted = net.predict(X)
    X[place] = value
    out = net.predict(X)
    others = np.arange(N) != place[0]
    assert out[others].tobytes() == wanted[others].tobytes()
    if np.isnan(value):
        assert np.isnan(out[place[0]]).all()
    predictor = fastnn.Predictor(net)
    for call in (lambda: predictor.predict(X), lambda: net.fit(X, np.zeros(N, int)),
                 lambda: net.loss(X, np.zeros(N, int))):
        with pytest.raises(ValueError, match=f"column {place[1]} .*row {place[0]}"):
            call()


def test_a_bad_value_far_down_is_found(dtype):
    """Checks go slice by slice; the place is that of the whole array."""
    from fastnn.core import arrays

    X = np.zeros((3 * arrays.SLICE // 8 + 5, 8), dtype)
    X[-3, 5] = np.nan
    with pytest.raises(ValueError, match=f"column 5 .*row {len(X) - 3}"):
        arrays.check_finite("X", X, dtype)
    with pytest.raises(ValueError, match=f"row {len(X) - 3}"):
        arrays.check_finite("y", X[:, 5], dtype)
    assert not fastnn.core._arrays.all_finite(X)
    X[-3, 5] = 0
    arrays.check_finite("X", X, dtype)
    assert fastnn.core._arrays.all_finite(X)
    # converted slice by slice, too
    X[:, 0] = np.arange(len(X)) % 1000
    other = "float32" if dtype == "float64" else "float64"
    for given in (X[::-1], np.asfortranarray(X)):
        found = arrays.require("X", given, other)
        assert found.dtype == other and found.flags.c_contiguous
        np.testing.assert_array_equal(found, given)


# ---- settings ----


@each("rate", [1e30, 1e300, np.finfo(float).max, 1e38])
@each("optimizer", [fastnn.SGD, fastnn.Adam, fastnn.AdamW, fastnn.RMSprop, fastnn.Adagrad])
@each("output", ["softmax", "identity"])
def test_absurd_learning_rates(rate, optimizer, output, dtype):
    """The last finite weights are kept, with a warning; or it did converge to something finite."""
    X = rows("plain", dtype)
    y = targets(output, N, 3)
    net = made(output, 3, dtype, "relu")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history = net.fit(X, y, optimizer=optimizer(rate), epochs=4, batch_size=16)
    assert {warning.category for warning in caught} <= {fastnn.DivergenceWarning}
    assert np.isfinite(net.parameters).all()
    assert caught or np.isfinite(history.loss).all()
    if rate >= 1e300 and dtype == "float32":
        assert caught
    net.fit(X, y, epochs=1, optimizer=optimizer(1e-3))


@each("rate", [5e-324, 1e-310, 1e-45, 1e-30])
def test_vanishing_learning_rates(rate, dtype):
    X, y = rows("plain", dtype), targets("softmax", N, 3)
    net = made("softmax", 3, dtype)
    before = net.parameters.copy()
    net.fit(X, y, optimizer=fastnn.SGD(rate), epochs=2)
    np.testing.assert_allclose(net.parameters, before, atol=1e-25)


@each("alpha", [1e30, 1e300, 1e-310])
def test_absurd_penalties(alpha, dtype):
    X, y = rows("plain", dtype), targets("softmax", N, 3)
    net = made("softmax", 3, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fastnn.DivergenceWarning)
        net.fit(X, y, alpha=alpha, epochs=2, optimizer=fastnn.SGD(0.1))
    assert np.isfinite(net.parameters).all()


def test_subnormal_sample_weights_are_refused():
    """Training reads them as 0."""
    X, y = rows("plain", "float64"), targets("softmax", N, 3)
    with pytest.raises(ValueError, match="sample_weight"):
        made("softmax", 3, "float64").fit(X, y, sample_weight=np.full(N, 1e-310))


@each("weight", [1e-30, 1e30])
def test_absurd_sample_weights(weight):
    """A common factor of all weights changes nothing but the L2 term."""
    X, y = rows("plain", "float64"), targets("softmax", N, 3)
    losses = []
    for factor in (1.0, weight):
        net = made("softmax", 3, "float64")
        losses.append(net.fit(X, y, sample_weight=np.full(N, factor), epochs=2,
                              optimizer=fastnn.SGD(0.1)).loss)
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-9)
    assert np.isfinite(net.parameters).all()


# ---- estimators ----


@each("solver", ["adam", "sgd", "lbfgs"])
@each("kind", KINDS)
def test_estimators(kind, solver, dtype):
    X = rows(kind, dtype)
    for model, y in (
        (fastnn.MLPClassifier, np.arange(len(X)) % 2),
        (fastnn.MLPClassifier, np.zeros(len(X), int)),  # one class
        (fastnn.MLPRegressor, np.linspace(0, 1, len(X))),
        (fastnn.MLPRegressor, np.zeros(len(X))),
    ):
        fitted = model(hidden_layer_sizes=(6,), solver=solver, max_iter=4, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fitted.fit(X, y)
        assert all(np.isfinite(w).all() for w in fitted.coefs_ + fitted.intercepts_)
        assert np.isfinite(np.asarray(fitted.predict(X), float)).all()
        again = model(hidden_layer_sizes=(6,), solver=solver, max_iter=4, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            again.fit(X, y)
        np.testing.assert_array_equal(again.predict(X), fitted.predict(X))


@each("settings", [
    {"solver": "sgd", "learning_rate_init": 1e30}, {"solver": "adam", "learning_rate_init": 1e300},
    {"solver": "sgd", "learning_rate_init": 1e30, "early_stopping": True}])
def test_estimators_that_diverge(settings, dtype):
    """ValueError and the model as it was; or finite weights."""
    X, y = rows("plain", dtype), np.linspace(0, 1, N)
    model = fastnn.MLPRegressor(hidden_layer_sizes=(6,), random_state=0, max_iter=5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = model.fit(X, y).predict(X)
        model.set_params(**settings)
        try:
            model.fit(X, y)
        except ValueError as error:
            assert "non-finite" in str(error)
            np.testing.assert_array_equal(model.predict(X), before)
    assert all(np.isfinite(w).all() for w in model.coefs_ + model.intercepts_)
    assert np.isfinite(model.predict(X)).all()


@each("value", [np.nan, np.inf, -np.inf])
def test_estimators_refuse_bad_values(value, dtype):
    X, y = rows("plain", dtype), np.arange(N) % 3
    model = fastnn.MLPClassifier(hidden_layer_sizes=(6,), random_state=0, max_iter=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
    before = model.predict_proba(X)
    bad = X.copy()
    bad[5, 3] = value
    for call in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match="NaN|infinity"):
            call(bad, y)
    with pytest.raises(ValueError, match="NaN|infinity"):
        model.predict(bad)
    np.testing.assert_array_equal(model.predict_proba(X), before)
