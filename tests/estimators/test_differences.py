"""Where the estimators differ from scikit-learn's on purpose: the table of `fastnn.estimators`."""

import numpy as np
import pytest
import sklearn.neural_network
from estimator_data import load, make
from numpy.testing import assert_allclose

import fastnn

pytestmark = pytest.mark.filterwarnings("ignore")


def test_lbfgs_follows_the_gradient_of_several_outputs():
    X, y = load("multioutput")
    parameters = {"solver": "lbfgs", "hidden_layer_sizes": (), "alpha": 0, "max_iter": 1000}
    parameters |= {"tol": 1e-7, "random_state": 0}
    ours = make("multioutput", **parameters).fit(X, y)
    ones = np.column_stack([X, np.ones(len(X))])
    residual = y - ones @ np.linalg.lstsq(ones, y, rcond=None)[0]
    assert_allclose(ours.loss_, (residual**2).mean() / 2, rtol=1e-6)
    assert ours.n_iter_ < 1000


def test_lbfgs_keeps_float32():
    X, y = load("digits")
    ours = make("digits", solver="lbfgs", random_state=0).fit(X.astype(np.float32), y)
    assert {a.dtype for a in ours.coefs_ + ours.intercepts_} == {np.dtype(np.float32)}
    assert ours.score(X, y) == 1


@pytest.mark.parametrize("module", [fastnn, sklearn.neural_network])
def test_warm_start_does_not_lose_the_best_weights(module):
    X, y = load("diabetes")
    model = make("diabetes", module, warm_start=True, early_stopping=True, random_state=0)
    model.fit(X, y)
    best, score = [w.copy() for w in model.coefs_], model.best_validation_score_
    model.set_params(max_iter=5).fit(X, -y)
    assert model.best_validation_score_ == score  # nothing better was found
    kept = all(map(np.array_equal, best, model.coefs_))
    assert kept == (module is fastnn)


def test_float32_model_predicts_in_float32():
    X, y = load("diabetes")
    model = make("diabetes", max_iter=3).fit(X.astype(np.float32), y)
    assert model.predict(X).dtype == np.float32


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_divergence_stops_and_keeps_the_weights(solver):
    X, y = load("diabetes")
    model = make("diabetes", solver=solver, warm_start=True, max_iter=5, random_state=0).fit(X, y)
    before = [w.copy() for w in model.coefs_]
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        model.set_params(max_iter=100_000_000).fit(X * 1e200, y)
    assert all(map(np.array_equal, before, model.coefs_))
    assert np.isfinite(model.predict(X)).all()


def test_divergence_with_early_stopping_keeps_the_best_epoch():
    X, y = load("diabetes")
    model = make("diabetes", solver="sgd", learning_rate_init=50.0, early_stopping=True)
    with pytest.warns(fastnn.DivergenceWarning, match="diverged in epoch"):
        model.set_params(random_state=0, max_iter=10_000).fit(X, y)
    assert np.isnan(model.validation_scores_[-1])
    assert model.n_iter_ < 10_000
    assert np.isfinite(model.predict(X)).all()


def test_no_partial_fit_with_lbfgs():
    for name in ("iris", "diabetes"):
        assert not hasattr(make(name, solver="lbfgs"), "partial_fit")
        with pytest.raises(AttributeError):
            make(name, solver="lbfgs").partial_fit(*load(name))


def test_partial_fit_with_warm_start_takes_some_of_the_classes():
    X, y = load("iris")
    model = make("iris", warm_start=True).partial_fit(X, y, classes=[0, 1, 2])
    model.partial_fit(X[:20], y[:20])
    with pytest.raises(ValueError, match="classes not in"):
        model.partial_fit(X, y + 1)


def test_poisson_targets_are_not_negative():
    X, y = load("poisson")
    with pytest.raises(ValueError, match="y must be >= 0 with loss='poisson'"):
        make("poisson").fit(X, y - 1)
