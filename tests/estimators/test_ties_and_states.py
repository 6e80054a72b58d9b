"""Estimators at exact ties, from state to state, and what Ctrl-C and a changed solver leave."""

import functools
import warnings

import numpy as np
import pytest
from sklearn import neural_network

import fastnn

# The only internal here: the module that calls SciPy's `minimize`.
from fastnn.training import lbfgs as solvers

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

rng = np.random.default_rng(0)
X = rng.normal(size=(80, 4))
AMOUNT = X[:, 0] + X[:, 1] * X[:, 2]
LABELS = (X[:, :3] > 0).astype(int)
SMALL = {"hidden_layer_sizes": (6,), "batch_size": 20, "random_state": 0}


def bytes_of(model):
    return [a.tobytes() for a in model.coefs_ + model.intercepts_]


def quietly(fit, *arguments):
    """Call it without a word."""
    with warnings.catch_warnings(action="ignore"):
        return fit(*arguments)


# -- ties ----------------------------------------------------------------------------------------


def test_a_probability_of_exactly_one_half_is_the_first_class_as_in_scikit_learn():
    """Two classes, several labels, several equal classes; of a Predictor, too."""
    for y in (np.where(X[:, 0] > 0, "yes", "no"), LABELS, np.resize([5, 7, 9], 80)):
        ours = quietly(fastnn.MLPClassifier(max_iter=1, **SMALL).fit, X, y)
        theirs = quietly(neural_network.MLPClassifier(max_iter=1, **SMALL).fit, X, y)
        for model in (ours, theirs):  # all weighted inputs of the output are 0
            model.coefs_[-1] = np.zeros_like(model.coefs_[-1])
            model.intercepts_[-1] = np.zeros_like(model.intercepts_[-1])
        expected = theirs.predict(X)
        probability = ours.predict_proba(X)
        assert (probability == probability[0, 0]).all()
        assert (expected == expected[0]).all()
        np.testing.assert_array_equal(ours.predict(X), expected)
        assert ours.score(X, y) == theirs.score(X, y)
        net = fastnn.MLP((4, ours.n_outputs_), output="softmax" if y.dtype == int and y.ndim == 1
                         else "sigmoid", dtype="float64", initializer="zeros")
        model = fastnn.Predictor(net, "multilabel" if y.ndim == 2 else "classification",
                                 classes=ours.classes_)
        np.testing.assert_array_equal(model.predict(X), expected)
        # two steps of a double above and below
        for logit, answer in ((1e-15, 1), (-1e-15, 0)):
            if ours.n_outputs_ == 1 or y.ndim == 2:
                ours.intercepts_[-1] = np.full_like(ours.intercepts_[-1], logit)
                labels = ours.predict(X[:2])
                assert (labels == (answer if y.ndim == 2 else ours.classes_[answer])).all()


def test_early_stopping_counts_an_equal_score_as_scikit_learn_does():
    """With tol=0 a score that stays the same does not stop the training; one that falls does."""
    y = (X[:, 0] > 0).astype(int)
    for tol, settings in ((0.0, {}), (1e-9, {}), (0.0, {"learning_rate_init": 0.5})):
        fitted = [quietly(kind(early_stopping=True, tol=tol, n_iter_no_change=2, max_iter=25,
                               **SMALL, **settings).fit, X, y)
                  for kind in (fastnn.MLPClassifier, neural_network.MLPClassifier)]
        ours, theirs = fitted
        assert ours.validation_scores_ == pytest.approx(theirs.validation_scores_)
        assert ours.n_iter_ == theirs.n_iter_
        if tol == 0:
            assert (np.diff(ours.validation_scores_) == 0).any()


# -- state ---------------------------------------------------------------------------------------


def test_another_solver_starts_without_the_moments_of_the_one_before(tmp_path):
    """partial_fit after a change of solver is that of a model that was loaded from a file, which
    holds no moments."""
    for first, second in (("adam", "sgd"), ("sgd", "adam"), ("adam", "adam")):
        model = fastnn.MLPRegressor(solver=first, **SMALL)
        for _ in range(3):
            model.partial_fit(X, AMOUNT)
        model.save(tmp_path / "m.safetensors")
        loaded = fastnn.load(tmp_path / "m.safetensors")
        for _ in range(2):
            for each in (model, loaded):
                each.set_params(solver=second).partial_fit(X, AMOUNT)
            assert (bytes_of(model) == bytes_of(loaded)) == (first != second)


def test_every_fit_refuses_targets_that_its_loss_does_not_know():
    """The first one, a later partial_fit, a warm start, and rows to watch."""
    counts = np.arange(80.0) % 5
    wrong = counts - 1
    message = r"y must be >= 0 with loss='poisson', its least value is -1"
    model = fastnn.MLPRegressor(loss="poisson", max_iter=1, warm_start=True, **SMALL)
    with pytest.raises(ValueError, match=message):
        model.fit(X, wrong)
    for fit in (model.partial_fit, model.fit):
        quietly(fit, X, counts)
        before = bytes_of(model)
        for again in (model.partial_fit, model.fit,
                      lambda X, y: model.fit(X, counts, validation_data=(X, y))):
            with pytest.raises(ValueError, match=message):
                again(X, wrong)
        assert bytes_of(model) == before


# -- L-BFGS --------------------------------------------------------------------------------------


def test_lbfgs_trains_without_dropout_in_all_layouts():
    """Its line search needs a loss and a gradient that belong together."""
    for sizes in ((6,), (150, 5)):
        settings = {"solver": "lbfgs", "activation": "tanh", "hidden_layer_sizes": sizes,
                    "random_state": 0, "tol": 1e-12}
        for max_iter in (1, 6):
            plain, dropping = (
                quietly(fastnn.MLPRegressor(dropout=rate, max_iter=max_iter, **settings).fit,
                        X, AMOUNT) for rate in (0.0, 0.5))
            for got, wanted in zip(dropping.coefs_ + dropping.intercepts_,
                                   plain.coefs_ + plain.intercepts_, strict=True):
                np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-8)
            assert dropping.loss_ == pytest.approx(plain.loss_, rel=1e-9)


def test_an_interrupted_lbfgs_keeps_its_last_iterate(monkeypatch):
    """Not the point of the line search at which Ctrl-C came."""
    settings = {"solver": "lbfgs", "tol": 1e-12, "alpha": 0.1, "max_iter": 50, **SMALL}
    minimize, ended = solvers.minimize, []
    trials = 0

    def interrupted_minimize(fun, x0, *, callback, last, **more):
        evaluations = 0
        ended[:] = [np.array(x0)]

        def evaluate(x):
            nonlocal evaluations, trials
            found = fun(x)
            evaluations += 1
            if evaluations == last:
                trials += not np.array_equal(x, ended[-1])
                raise KeyboardInterrupt
            return found

        def iteration_ends(x):
            ended.append(np.array(x))
            return callback(x)

        return minimize(evaluate, x0, callback=iteration_ends, **more)

    kept = 0
    for last in range(1, 13):
        with monkeypatch.context() as patch:
            patch.setattr(solvers, "minimize", functools.partial(interrupted_minimize, last=last))
            model = fastnn.MLPRegressor(**settings)
            with pytest.warns(UserWarning, match="Training interrupted by user"):
                model.fit(X, 10 * AMOUNT)
        assert model.n_iter_ == len(ended) - 1
        if model.n_iter_:  # the same as after so many iterations that nothing interrupts
            whole = quietly(fastnn.MLPRegressor(**{**settings, "max_iter": model.n_iter_}).fit,
                            X, 10 * AMOUNT)
            assert bytes_of(model) == bytes_of(whole)
            kept += 1
    assert kept > 3 and trials > 3
