"""The short way of `partial_fit` comes to the same as the long one, and is left where it must."""

import copy
import pickle
import warnings

import numpy as np
import pytest
from each import each

from fastnn import MLPClassifier, MLPRegressor
from fastnn.losses import Quantile

N = 8
BOOKS = ("loss_curve_", "t_", "n_iter_", "best_loss_", "_no_improvement_count", "loss_")
SOLVERS = {
    "adam": {},
    "sgd": {"solver": "sgd"},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling"},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "n_iter_no_change": 2, "tol": 1.0},
    "rmsprop": {"solver": "rmsprop", "alpha": 0.1, "clip_norm": 0.5},
    "norm": {"norm": "layer", "residual": True, "hidden_layer_sizes": (9, 9)},
}
MODELS = {
    "two classes": (MLPClassifier, lambda X: (X[:, 0] > 0).astype(int), {}),
    "classes": (MLPClassifier, lambda X: np.argmax(X[:, :3], axis=1), {}),
    "names": (MLPClassifier, lambda X: np.array(["a", "b"])[(X[:, 0] > 0).astype(int)], {}),
    "focal": (MLPClassifier, lambda X: (X[:, 0] > 0).astype(int), {"loss": "focal"}),
    "hinge": (MLPClassifier, lambda X: np.argmax(X[:, :3], axis=1), {"loss": "hinge"}),
    "value": (MLPRegressor, lambda X: X[:, 0].copy(), {}),
    "values": (MLPRegressor, lambda X: X[:, :2].copy(), {}),
    "counts": (MLPRegressor, lambda X: np.abs(X[:, 0]), {"loss": "poisson"}),
    "quantiles": (MLPRegressor, lambda X: X[:, 0].copy(), {"loss": Quantile([0.1, 0.9])}),
}


def rows_of(model, dtype="float64"):
    X = np.random.default_rng(0).normal(size=(N, 5)).astype(dtype)
    return X, MODELS[model][1](X)


def fitted(model, short, batch=1, dtype="float64", **settings):
    """A model after `partial_fit` of all rows, and how often the short way was there."""
    X, y = rows_of(model, dtype)
    cls, _, more = MODELS[model]
    est = cls(**{"hidden_layer_sizes": (9,), "random_state": 0, **more, **settings})
    known = {"classes": np.unique(y)} if cls is MLPClassifier else {}
    n_short = 0
    for i in range(0, N, batch):
        if not short:
            est._stepping = None
        n_short += vars(est).get("_stepping") is not None
        est.partial_fit(X[i:i + batch], y[i:i + batch], **known)
    return est, n_short


def assert_same(one, other):
    assert vars(one).keys() == vars(other).keys()
    for name in BOOKS:
        assert getattr(one, name) == getattr(other, name), name
    mine, others = one._optimizer_state, other._optimizer_state
    assert mine.keys() == others.keys()
    assert (mine["step"], mine["learning_rate"]) == (others["step"], others["learning_rate"])
    for name in ("coefs_", "intercepts_", "norm_parameters_"):
        for a, b in zip(getattr(one, name) or [], getattr(other, name) or [], strict=True):
            assert a.tobytes() == b.tobytes(), name
    for a, b in zip(mine["moments"], others["moments"], strict=True):
        assert a.tobytes() == b.tobytes()


@each("model, solver, batch, dtype", [
    *((model, "adam", 1, "float64") for model in MODELS),
    *(("classes", solver, 2, "float32") for solver in SOLVERS)])
def test_both_ways_come_to_the_same(model, solver, batch, dtype):
    one, n_short = fitted(model, True, batch, dtype, **SOLVERS[solver])
    other, never = fitted(model, False, batch, dtype, **SOLVERS[solver])
    assert (n_short, never) == (N // batch - 1, 0)
    assert_same(one, other)
    X, _ = rows_of(model, dtype)
    assert (one.predict(X) == other.predict(X)).all()


@each("settings", [{"dropout": 0.2}, {"input_noise": 0.1}, {"verbose": True}, {"batch_size": 7},
                   {"max_time": 100.0}, {"class_weight": {0: 2.0, 1: 1.0}}])
def test_settings_that_take_the_long_way(settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, n_short = fitted("two classes", True, batch=4, **settings)
    assert n_short == 0


CHANGES = {
    "another rate": lambda est: est.set_params(learning_rate_init=0.05),
    "another penalty": lambda est: est.set_params(alpha=0.7),
    "other weights": lambda est: est.coefs_.__setitem__(0, est.coefs_[0] * 2),
    "weights in place": lambda est: est.coefs_[0].__imul__(2),
    "other biases": lambda est: setattr(est, "intercepts_", [b + 1 for b in est.intercepts_]),
    "a whole fit": lambda est: est.set_params(max_iter=2).fit(*rows_of("classes")),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@each("change", list(CHANGES))
def test_what_is_changed_between_two_calls_counts(change):
    X, y = rows_of("classes")
    both = []
    for short in (True, False):
        est, _ = fitted("classes", short)
        CHANGES[change](est)
        if not short:
            est._stepping = None
        both.append(est.partial_fit(X[:1], y[:1]))
    assert_same(*both)


@each("X, y, message", [
    (np.full((1, 5), np.nan), [0], "NaN"), (np.zeros((1, 4)), [0], "4 features"),
    (np.zeros((1, 5)), [7], "classes not in"), (np.zeros((1, 5)), [0, 1], "inconsistent"),
    (np.zeros(5), [0], "2D array")])
def test_errors_are_those_of_the_long_way(X, y, message):
    est, _ = fitted("classes", True)
    before = [w.copy() for w in est.coefs_]
    assert est._stepping is not None
    with pytest.raises(ValueError, match=message):
        est.partial_fit(X, np.array(y))
    assert all((a == b).all() for a, b in zip(before, est.coefs_, strict=True))
    X, y = rows_of("classes")
    est.partial_fit(X[:1], y[:1])


def test_classes_that_differ_are_refused():
    X, y = rows_of("classes")
    est, _ = fitted("classes", True)
    with pytest.raises(ValueError, match="is not the same"):
        est.partial_fit(X[:1], y[:1], classes=[0, 1])
    with pytest.raises(TypeError):
        fitted("value", True)[0].partial_fit(X[:1], X[:1, 0], classes=[0, 1])


def test_a_model_that_diverges_stays_as_it_was():
    X, y = rows_of("value")
    est, _ = fitted("value", True, solver="sgd")
    before, moments = [w.copy() for w in est.coefs_], est._optimizer_state["moments"][0].copy()
    with pytest.raises(ValueError, match="non-finite"):
        for _ in range(5):
            before = [w.copy() for w in est.coefs_]
            moments = est._optimizer_state["moments"][0].copy()
            est.partial_fit(X[:1] * 1e150, y[:1] * 1e200)
    assert all((a == b).all() for a, b in zip(before, est.coefs_, strict=True))
    assert (est._optimizer_state["moments"][0] == moments).all()


def test_copies_go_their_own_way():
    """Neither the arrays of before nor copies of the model change."""
    X, y = rows_of("classes")
    est, _ = fitted("classes", True)
    coefs, state = est.coefs_, est._optimizer_state
    kept = [w.copy() for w in coefs], [m.copy() for m in state["moments"]]
    twins = copy.copy(est), copy.deepcopy(est), pickle.loads(pickle.dumps(est))
    est.partial_fit(X[:1], y[:1])
    assert all((a == b).all() for a, b in zip(kept[0], coefs, strict=True))
    assert all((a == b).all() for a, b in zip(kept[1], state["moments"], strict=True))
    for twin in twins:
        assert "_stepping" not in vars(twin)
        twin.partial_fit(X[:1], y[:1])
        for name in ("coefs_", "intercepts_"):
            for a, b in zip(getattr(est, name), getattr(twin, name), strict=True):
                assert a.tobytes() == b.tobytes()


def test_random_numbers_are_drawn_as_ever():
    X, y = rows_of("classes")
    found = []
    for short in (True, False):
        rng = np.random.RandomState(3)
        est = MLPClassifier(hidden_layer_sizes=(9,), random_state=rng)
        for _ in range(4):
            if not short:
                est._stepping = None
            est.partial_fit(X, y, classes=np.arange(3))
        found.append((est, rng.randint(2**31)))
    assert_same(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]
