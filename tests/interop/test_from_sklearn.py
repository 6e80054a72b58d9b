"""scikit-learn's estimators as ours and back, with equal predictions."""

import copy
import warnings

import numpy as np
import pytest
import sklearn
from sklearn import neural_network
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastnn
from fastnn.interop.chain import Chain

SKLEARN = tuple(int(part) for part in sklearn.__version__.split(".")[:2])
rng = np.random.default_rng(0)
X = rng.normal(size=(60, 4))
TARGETS = {
    "binary": np.resize([3, 5], 60),
    "strings": np.resize(["a", "b", "c"], 60),
    "multilabel": rng.integers(0, 2, (60, 3)),
    "one": X[:, 0],
    "two": X[:, :2],
}


def fitted(module, target, **settings):
    kind = "MLPRegressor" if target in ("one", "two") else "MLPClassifier"
    settings = {"hidden_layer_sizes": (6, 5), "max_iter": 5, "random_state": 0, **settings}
    with warnings.catch_warnings(action="ignore"):
        return getattr(module, kind)(**settings).fit(X, TARGETS[target])


def check(one, other, target):
    np.testing.assert_array_equal(one.predict(X), other.predict(X)) if target not in (
        "one", "two") else np.testing.assert_allclose(one.predict(X), other.predict(X), rtol=1e-12)
    if hasattr(one, "predict_proba"):
        np.testing.assert_allclose(one.predict_proba(X), other.predict_proba(X), rtol=1e-12)
        assert one.classes_.tolist() == other.classes_.tolist()
    assert one.score(X, TARGETS[target]) == pytest.approx(other.score(X, TARGETS[target]))


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("target", TARGETS)
def test_both_ways(target, activation):
    theirs = fitted(neural_network, target, activation=activation)
    ours = fastnn.from_sklearn(theirs)
    assert type(ours).__module__.startswith("fastnn") and type(ours).__name__ in repr(theirs)
    check(theirs, ours, target)
    assert ours.loss_curve_ == theirs.loss_curve_ and ours.n_iter_ == theirs.n_iter_
    assert {k: v for k, v in ours.get_params().items() if k in theirs.get_params()} == (
        theirs.get_params())
    back = fastnn.to_sklearn(ours)
    check(back, ours, target)
    assert back.get_params() == theirs.get_params()
    for est in (ours, back):
        est.partial_fit(X, TARGETS[target])
        assert len(est.loss_curve_) == 6


@pytest.mark.parametrize("target", TARGETS)
def test_ours_to_theirs(target):
    ours = fitted(fastnn, target, dropout=0.1, activation="sigmoid", n_threads=1)
    check(ours, fastnn.to_sklearn(ours), target)


@pytest.mark.parametrize("settings", [
    {"solver": "lbfgs"}, {"early_stopping": True}, {"solver": "sgd", "learning_rate": "adaptive"}])
def test_other_solvers(settings):
    if "early_stopping" in settings and SKLEARN < (1, 9):
        pytest.skip("scikit-learn before 1.9 asks whether the strings it predicts are NaN")
    theirs = fitted(neural_network, "strings", **settings)
    check(theirs, fastnn.from_sklearn(theirs), "strings")
    check(fastnn.to_sklearn(fastnn.from_sklearn(theirs)), theirs, "strings")


@pytest.mark.parametrize("output, kind", [("softmax", "MLPClassifier"), ("identity",
                                          "MLPRegressor"), ("sigmoid", "MLPClassifier")])
def test_bare_network(output, kind):
    net = fastnn.MLP((4, 5, 3), "tanh", output, dtype="float64", random_state=0)
    theirs = fastnn.to_sklearn(net)
    assert type(theirs).__name__ == kind
    said = theirs.predict(X) if output == "identity" else theirs.predict_proba(X)
    np.testing.assert_allclose(said, net.predict(X), rtol=1e-12)


def test_float32_and_feature_names():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X.astype("f"), columns=list("abcd"))
    with warnings.catch_warnings(action="ignore"):
        theirs = neural_network.MLPClassifier((5,), max_iter=3).fit(frame, TARGETS["binary"])
    ours = fastnn.from_sklearn(theirs)
    assert ours.coefs_[0].dtype == theirs.coefs_[0].dtype
    assert list(ours.feature_names_in_) == list("abcd")
    np.testing.assert_allclose(ours.predict_proba(frame), theirs.predict_proba(frame), atol=1e-6)


@pytest.mark.parametrize("convert, model, error, message", [
    (fastnn.from_sklearn, neural_network.MLPClassifier(), NotFittedError, "not fitted"),
    (fastnn.from_sklearn, fastnn.MLPClassifier(), TypeError, "of scikit-learn"),
    (fastnn.from_sklearn, 3, TypeError, "model=int"),
    (fastnn.to_sklearn, fastnn.MLPRegressor(), NotFittedError, "not fitted"),
    (fastnn.to_sklearn, 3, TypeError, "model=int"),
    (fastnn.to_sklearn, make_pipeline(StandardScaler(), fastnn.MLPRegressor()), TypeError,
     r"of a pipeline give its last step, pipe\[-1\]"),
    (fastnn.to_sklearn, fastnn.MLP((4, 3, 1), "gelu"), ValueError, "scikit-learn has one of"),
    (fastnn.to_sklearn, fastnn.MLP((4, 3, 3, 1), ["relu", "tanh"]), ValueError, "for all layers"),
    (fastnn.to_sklearn, fastnn.MLP((4, 3, 1), output="tanh"), ValueError, "output='tanh'"),
])
def test_what_is_refused(convert, model, error, message):
    with pytest.raises(error, match=message):
        convert(model)


WEIGHTS = [None, 5, "text", [], {"a": 1}, [None, None], ["a", "b"]]


@pytest.mark.parametrize("name", ["coefs_", "intercepts_"])
def test_weights_that_are_none(name):
    """Each was an error of what came upon it, such as of `zip`."""
    model = fitted(neural_network, "binary")
    one, *others = getattr(model, name)
    for value in (*WEIGHTS, [one], [one.astype(object), *others], [one * 1j, *others],
                  [np.ma.array(one, mask=True), *others]):
        odd = copy.copy(model)
        setattr(odd, name, value)
        with pytest.raises((TypeError, ValueError), match=rf"^{name}(\[0\])?( |=)|^coefs_ has "):
            fastnn.from_sklearn(odd)
    for missing in (name, "out_activation_", "n_outputs_"):
        odd = copy.copy(model)
        delattr(odd, missing)
        with pytest.raises(NotFittedError):
            fastnn.from_sklearn(odd)


def test_layers_hold_real_numbers():
    for dtype in (object, "U3", complex, "M8[s]"):
        with pytest.raises(TypeError, match="layer 0 holds .*, must hold real numbers"):
            Chain().dense(np.zeros((2, 3), dtype), np.zeros(3), "layer 0")
