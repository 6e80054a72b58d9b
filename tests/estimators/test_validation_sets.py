"""`X_val`, `y_val`, `sample_weight_val` of `fit`: alone, in pipelines, and what is refused."""

import numpy as np
import pytest
import sklearn
from each import each
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

import fastnn

QUICK = {"hidden_layer_sizes": (8,), "max_iter": 15, "random_state": 0, "learning_rate_init": 0.01}
pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")


def data():
    X = np.random.default_rng(0).normal(50, 10, size=(200, 2))
    return X, {"one": X[:, 0] * 2, "two": np.c_[X[:, 0] * 2, X[:, 1] * 3],
               "label": np.array(["a", "b"])[(X[:, 0] > 50).astype(int)]}


def model(name, **more):
    kind = fastnn.MLPClassifier if name == "label" else fastnn.MLPRegressor
    return kind(**{**QUICK, **more})


@each("name", ["one", "two", "label"])
@each("early_stopping", [False, True])
def test_is_what_validation_data_is(name, early_stopping):
    X, targets = data()
    y, weight = targets[name], np.linspace(0.1, 1, 50)
    one = model(name, early_stopping=early_stopping).fit(
        X[50:], y[50:], X_val=X[:50], y_val=y[:50], sample_weight_val=weight)
    two = model(name, early_stopping=early_stopping).fit(
        X[50:], y[50:], validation_data=(X[:50], y[:50], weight))
    assert one.validation_loss_curve_ == two.validation_loss_curve_
    assert one.validation_scores_ == two.validation_scores_
    unweighted = model(name).fit(X[50:], y[50:], X_val=X[:50], y_val=y[:50])
    assert unweighted.validation_loss_curve_ != one.validation_loss_curve_


@each("name", ["one", "two", "label"])
def test_a_pipeline_transforms_rows_and_not_targets(name):
    X, targets = data()
    y = targets[name]
    with sklearn.config_context(enable_metadata_routing=True):
        est = model(name).set_fit_request(X_val=True, y_val=True, sample_weight_val=True)
        pipe = Pipeline([("scale", StandardScaler()), ("mlp", est)], transform_input=["X_val"])
        pipe.fit(X, y, X_val=X[:50], y_val=y[:50], sample_weight_val=np.ones(50))
    Z = StandardScaler().fit_transform(X)
    by_hand = model(name).fit(Z, y, X_val=Z[:50], y_val=y[:50])
    np.testing.assert_allclose(pipe[-1].validation_loss_curve_, by_hand.validation_loss_curve_)


def test_goes_through_a_search():
    X, targets = data()
    with sklearn.config_context(enable_metadata_routing=True):
        est = model("one").set_fit_request(X_val=True, y_val=True)
        pipe = Pipeline([("scale", StandardScaler()), ("mlp", est)], transform_input=["X_val"])
        search = GridSearchCV(pipe, {"mlp__alpha": [0.1, 1.0]}, cv=2)
        search.fit(X, targets["one"], X_val=X[:50], y_val=targets["one"][:50])
    assert len(search.best_estimator_[-1].validation_loss_curve_) == QUICK["max_iter"]


@each("arguments, message", [
    ({"X_val": np.ones((5, 2))}, "X_val is provided, but y_val was not"),
    ({"y_val": np.ones(5)}, "y_val is provided, but X_val was not"),
    ({"sample_weight_val": np.ones(5)}, "sample_weight_val is provided, but X_val was not"),
    ({"X_val": np.ones((5, 2)), "y_val": np.ones(5), "validation_data": ()}, "are both given"),
    ({"X_val": np.ones((5, 3)), "y_val": np.ones(5)}, "in the validation rows: X has 3 features"),
    ({"X_val": np.ones((5, 2)), "y_val": np.ones(4)}, "in the validation rows: .*inconsistent"),
    ({"X_val": np.ones((5, 2)), "y_val": np.ones(5), "sample_weight_val": np.ones(3)},
     "in the validation rows: .*sample_weight"),
])
def test_is_refused(arguments, message):
    X, targets = data()
    with pytest.raises(ValueError, match=message):
        model("one").fit(X, targets["one"], **arguments)
