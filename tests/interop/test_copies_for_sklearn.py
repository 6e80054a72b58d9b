"""scikit-learn's estimators and ours, made of each other, share nothing that training changes."""

import copy
import warnings

import numpy as np
import pytest
import scipy.sparse
from sklearn import neural_network

import fastnn

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 4))
TARGETS = {"one": X[:, 0], "binary": X[:, 0] > 0, "classes": np.resize(["a", "b", "c"], 60),
           "multilabel": (X[:, :3] > 0).astype(int)}


def fitted(module, y, **settings):
    kind = "MLPRegressor" if np.asarray(y).dtype.kind == "f" else "MLPClassifier"
    settings = {"hidden_layer_sizes": (6,), "max_iter": 3, "random_state": 0, **settings}
    with warnings.catch_warnings(action="ignore"):
        return getattr(module, kind)(**settings).fit(X, y)


def state(model):
    """Weights and history, as copies."""
    names = [name for name in vars(model) if name.endswith("_") and not name.startswith("_")]
    return {name: copy.deepcopy(vars(model)[name]) for name in names}


def pairs(y, **settings):
    """(model that is trained, model that has to stay as it is), made of each other."""
    for module, convert in ((fastnn, fastnn.to_sklearn), (neural_network, fastnn.from_sklearn)):
        first, second = fitted(module, y, **settings), fitted(module, y, **settings)
        yield first, convert(first)
        yield convert(second), second


def test_training_the_one_leaves_the_other_as_it_was():
    """Both ways, all that a fit leaves: weights, classes, curves of losses and of scores."""
    for name, y in TARGETS.items():
        for settings in ({}, {"early_stopping": True}):
            if settings and name == "classes":
                continue  # scikit-learn before 1.9 asks whether the strings it predicts are NaN
            for trained, kept in pairs(y, **settings):
                before, predicted = state(kept), kept.predict(X)
                with warnings.catch_warnings(action="ignore"):
                    if not settings:
                        trained.partial_fit(X, y)
                    trained.set_params(warm_start=True).fit(X, y)
                for array in trained.coefs_ + trained.intercepts_:
                    array += 1
                assert len(trained.loss_curve_) > len(kept.loss_curve_)
                np.testing.assert_equal(state(kept), before)
                np.testing.assert_array_equal(kept.predict(X), predicted)


def test_an_mlp_shares_no_weights_with_what_is_made_of_it():
    net = fastnn.MLP((4, 5, 3), "tanh", "softmax", dtype="float64", random_state=0)
    before = net.parameters.tobytes()
    theirs = fastnn.to_sklearn(net)
    for array in theirs.coefs_ + theirs.intercepts_:
        assert not np.shares_memory(array, net.parameters)
        array[:] = 0
    assert net.parameters.tobytes() == before


def test_labels_come_back_as_sparse_as_they_were_given():
    """Of several labels for each row: sparse where the model was fitted with a sparse y."""
    dense = TARGETS["multilabel"]
    for y in (dense, scipy.sparse.csr_matrix(dense)):
        for module in (fastnn, neural_network):
            model = fitted(module, y)
            if module is fastnn:
                others = [fastnn.to_sklearn(model)]
                others.append(fastnn.from_sklearn(others[0]))
            else:
                others = [fastnn.from_sklearn(model)]
                others.append(fastnn.to_sklearn(others[0]))
            expected = model.predict(X)
            assert scipy.sparse.issparse(expected) == scipy.sparse.issparse(y)
            for other in others:
                found = other.predict(X)
                assert scipy.sparse.issparse(found) == scipy.sparse.issparse(y)
                if scipy.sparse.issparse(y):
                    found, wanted = found.toarray(), expected.toarray()
                else:
                    wanted = expected
                np.testing.assert_array_equal(found, wanted)
                assert other.score(X, dense) == pytest.approx(model.score(X, dense))


def test_solvers_that_scikit_learn_has_not_become_adam():
    for y in (TARGETS["one"], TARGETS["classes"]):
        model = fitted(fastnn, y, solver="es")
        other = fastnn.to_sklearn(model)
        assert other.solver == "adam" and model.solver == "es"
        np.testing.assert_array_equal(other.coefs_[0], model.coefs_[0])
        with warnings.catch_warnings(action="ignore"):
            other.fit(X, y)
