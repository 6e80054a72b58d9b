"""`scoring=`: what early stopping looks at; and the warning where accuracy cannot tell."""

import warnings

import numpy as np
import pandas as pd
import pytest
from each import each
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.metrics import get_scorer, log_loss, make_scorer, max_error, roc_auc_score
from sklearn.preprocessing import scale

import fastnn

QUICK = {"hidden_layer_sizes": (8,), "max_iter": 25, "random_state": 0, "learning_rate_init": 0.01,
         "early_stopping": True, "n_iter_no_change": 100}
pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")


def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return scale(X), np.array(["bad", "good"])[y]


def classifier(**more):
    return fastnn.MLPClassifier(**{**QUICK, **more})


def rare(n, seed):
    """Two columns; one row of a hundred is of the second class."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    return X, (X[:, 0] + 0.8 * rng.normal(size=n) > 2.9).astype(int)


@each("scoring", ["neg_log_loss", "roc_auc", get_scorer("balanced_accuracy"), "accuracy",
                  lambda est, X, y: est.score(X, y) - 1])
def test_best_epoch_is_that_of_the_scorer(scoring):
    X, y = cancer()
    model = classifier(scoring=scoring).fit(X[100:], y[100:], X_val=X[:100], y_val=y[:100])
    scorer = scoring if callable(scoring) else get_scorer(scoring)
    assert len(model.validation_scores_) == 25
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert scorer(model, X[:100], y[:100]) == pytest.approx(model.best_validation_score_)


def test_accuracy_is_the_default():
    X, y = cancer()
    one, two = classifier().fit(X, y), classifier(scoring="accuracy").fit(X, y)
    assert one.validation_scores_ == two.validation_scores_
    np.testing.assert_array_equal(one.coefs_[0], two.coefs_[0])
    X, y = load_diabetes(return_X_y=True)
    one, two = (fastnn.MLPRegressor(**QUICK, scoring=scoring).fit(scale(X), y / 100)
                for scoring in (None, "r2"))
    np.testing.assert_allclose(one.validation_scores_, two.validation_scores_)
    np.testing.assert_array_equal(one.coefs_[0], two.coefs_[0])


def test_the_loss():
    X, y = cancer()
    model = classifier(scoring="loss").fit(X, y)
    assert [-loss for loss in model.validation_loss_curve_] == model.validation_scores_


def test_ends_when_the_scorer_stalls():
    X, y = cancer()
    model = classifier(scoring=lambda est, X, y: 0.5, n_iter_no_change=3).fit(X, y)
    # the first is better than none, two more than the patience are not
    assert model.n_iter_ == 5
    model = classifier(scoring=lambda est, X, y: np.nan, n_iter_no_change=3).fit(X, y)
    assert model.n_iter_ == 4


def test_weights_get_to_the_scorer():
    X, y = cancer()
    weight = np.linspace(0.1, 1, len(X))
    model = classifier(scoring="neg_log_loss").fit(
        X, y, X_val=X, y_val=y, sample_weight_val=weight)
    expected = log_loss(y, model.predict_proba(X), sample_weight=weight)
    assert -model.best_validation_score_ == pytest.approx(expected)


def test_names_of_columns_are_no_matter():
    X, y = cancer()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "Stochastic Optimizer")
        classifier(scoring="roc_auc").fit(pd.DataFrame(X).rename(columns=str), y)


def _fails(est, X, y):
    raise RuntimeError("no luck")


@each("scoring, error, message", [
    ("roc", ValueError, "'roc' is not a valid scoring value"),
    (3, ValueError, "'scoring' parameter"),
    (_fails, ValueError, "scoring=.*_fails.* failed in epoch 0: RuntimeError: no luck"),
    (lambda est, X, y: {"a": 1.0}, TypeError, "returned .* in epoch 0, must be a number"),
])
def test_is_refused(scoring, error, message):
    X, y = cancer()
    model = classifier(scoring=scoring)
    with pytest.raises(error, match=message):
        model.fit(X, y)
    assert not hasattr(model, "coefs_")


def test_a_scorer_without_weights():
    X, y = load_diabetes(return_X_y=True)
    model = fastnn.MLPRegressor(**QUICK, scoring=make_scorer(max_error, greater_is_better=False))
    with pytest.raises(ValueError, match="failed in epoch 0: TypeError.*must take the sample"):
        model.fit(X, y, np.ones(len(X)))
    model.fit(X, y)


# ---- rare classes ----


def test_accuracy_warns_where_a_class_is_rare():
    X, y = rare(1500, 0)
    with pytest.warns(UserWarning, match="gives every held-out row the class 0: in none of .* epoc"
                                         "hs was the accuracy above .*scoring='loss'"):
        stopped = fastnn.MLPClassifier(random_state=0, early_stopping=True, max_iter=60).fit(X, y)
    X_new, y_new = rare(20000, 9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "Stochastic Optimizer")
        learned = fastnn.MLPClassifier(random_state=0, early_stopping=True, max_iter=60,
                                       scoring="loss").fit(X, y)
    areas = [roc_auc_score(y_new, model.predict_proba(X_new)[:, 1]) for model in (stopped, learned)]
    assert areas[1] > 0.85
    assert areas[1] > areas[0] + 0.2


def test_accuracy_does_not_warn_where_it_tells():
    X, y = cancer()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "Stochastic Optimizer")
        classifier().fit(X, y)
        classifier(class_weight="balanced").fit(X, y)
