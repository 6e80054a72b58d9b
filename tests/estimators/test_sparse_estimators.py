"""Estimators on sparse X, and sparse X that is broken."""

import numpy as np
import pytest
import scipy.sparse
from each import each
from sparse_data import labels, sparse_rows, with_wide_indices

pytest.importorskip("sklearn")

from fastnn import (  # noqa: E402
    MLPClassifier,
    MLPRegressor,
    TabularClassifier,
    TabularRegressor,
)


def fitted(X, **settings):
    return MLPClassifier((20,), max_iter=3, batch_size=30, random_state=0, **settings).fit(
        X, labels())


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@each("solver", ["adam", "sgd", "lbfgs"])
def test_same_as_dense(solver):
    X = sparse_rows()
    dense = fitted(X.toarray(), solver=solver)
    for given in (X, X.tocsc(), scipy.sparse.csr_array(X), with_wide_indices(X)):
        own = fitted(given, solver=solver)
        for a, b in zip(own.coefs_, dense.coefs_, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
        assert (own.predict(given) == dense.predict(X.toarray())).all()
        assert own.predict_proba(given).tobytes() == own.predict_proba(X.toarray()).tobytes()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_early_stopping_and_regression():
    X = sparse_rows()
    y = np.asarray(X.sum(axis=1)).ravel()
    own, dense = (MLPRegressor(hidden_layer_sizes=(20,), max_iter=5, early_stopping=True,
                               random_state=0).fit(Z, y)
                  for Z in (X, X.toarray()))
    np.testing.assert_allclose(own.predict(X), dense.predict(X.toarray()), rtol=1e-9, atol=1e-12)
    assert own.validation_scores_ == pytest.approx(dense.validation_scores_)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_what_scikit_learn_refuses_is_refused_in_predictions():
    model, X = fitted(sparse_rows()), sparse_rows()
    for change, message in (
        (lambda X: X.indices.__setitem__(3, -1), "indices"),
        (lambda X: X.indices.__setitem__(3, 300), "indices"),
        (lambda X: X.indptr.__setitem__(3, 10**6), "indptr"),
        (lambda X: X.data.__setitem__(3, np.nan), "NaN"),
        (lambda X: X.data.__setitem__(3, np.inf), "infinity"),
    ):
        broken = X.copy()
        change(broken)
        for action in (model.predict, model.predict_proba, lambda X: fitted(X)):
            with pytest.raises(ValueError, match=message):
                action(broken)
    with pytest.raises(ValueError, match="299 features, but MLPClassifier is expecting 300"):
        model.predict(X[:, :299])
    with pytest.raises(ValueError, match="minimum of 1 is required"):
        model.predict(X[:0])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@each("call", ["fit", "partial_fit", "predict", "predict_proba"])
def test_hidden_values_of_sparse_rows_are_refused(call):
    """As a network refuses them, and as those of dense rows."""
    rng = np.random.default_rng(0)
    X, y = scipy.sparse.random(40, 5, 0.5, "csr", random_state=0), rng.integers(0, 2, 40)
    est = MLPClassifier((3,), max_iter=2, random_state=0)
    if call != "fit":
        est.fit(X, y)
    arguments = (y,) if "fit" in call else ()
    X.data = np.ma.array(X.data, mask=np.arange(X.nnz) == 3)
    with pytest.raises(ValueError, match="X.data is a masked array that hides values"):
        getattr(est, call)(X, *arguments)
    X.data.mask = False
    getattr(est.fit(X, y), call)(X, *arguments)


# ---- sparse y ----

def spoiled(format, place):
    y = scipy.sparse.csr_matrix(np.eye(2)[np.arange(60) % 2]).asformat(format)
    (y.row if format == "coo" else y.indices)[0] = place
    return y


def numbers():
    return np.random.default_rng(0).normal(size=(60, 3))


def quick(kind=MLPClassifier):
    if kind in (TabularClassifier, TabularRegressor):
        return kind(preset="fast", random_state=0)
    return kind(hidden_layer_sizes=(3,), max_iter=2, random_state=0)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@each("place", [10**7, -5_000_000])
@each("format", ["csr", "csc", "coo"])
def test_places_of_targets_that_are_not_there(format, place):
    """What makes y dense, and scikit-learn's scores, follow them unchecked."""
    X, y, good = numbers(), spoiled(format, place), np.eye(2)[np.arange(60) % 2]
    models = [quick(kind).fit(X, good) for kind in (MLPClassifier, TabularClassifier)]
    held = quick(MLPRegressor).set_params(calibration_fraction=0.3)
    for action in (lambda: quick(TabularClassifier).fit(X, y), models[0].score, models[1].score,
                   lambda: quick(TabularClassifier).fit(X, good, X_val=X, y_val=y),
                   lambda: held.fit(X, y), lambda: held.fit(spoiled(format, place), y)):
        with pytest.raises(ValueError, match=r"[Xy](_val)?\.(row|indices) must hold values in 0"):
            action() if action.__name__ == "<lambda>" else action(X, y)
    with pytest.raises(ValueError, match=r"y_val\.(row|indices) must hold values in 0"):
        quick(TabularClassifier).fit(X, good, X_val=X, y_val=y)
    for model in models:
        assert model.score(X, scipy.sparse.csc_matrix(good)) == model.score(X, good)


def has_vectors(kind):
    try:
        return kind(np.ones(3)).ndim == 1
    except ValueError:  # older SciPy
        return False


VECTORS = {name: getattr(scipy.sparse, name) for name in ("coo_array", "csr_array")
           if has_vectors(getattr(scipy.sparse, name))}
FITS = {
    "fit": lambda est, X, y: est.fit(X, y),
    "validation": lambda est, X, y: est.fit(X, np.arange(60.) % 2, X_val=X, y_val=y),
    "batches": lambda est, X, y: est.fit_batches([(X, y)]),
    "calibration": lambda est, X, y: est.set_params(calibration_fraction=0.3).fit(X, y),
    "score": lambda est, X, y: est.fit(X, np.arange(60.) % 2).score(X, y),
}
DOORS = [(kind, name) for kind in (MLPClassifier, MLPRegressor, TabularClassifier, TabularRegressor)
         for name in FITS if (name != "batches" or kind in (MLPClassifier, MLPRegressor))
         and (name != "calibration" or kind is MLPRegressor)]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.skipif(not VECTORS, reason="SciPy has no sparse arrays of one dimension")
@each("format", VECTORS)
@each("kind, door", DOORS)
def test_targets_of_one_dimension(kind, door, format):
    """As `toarray` has them; their places are looked at."""
    X, dense, found = numbers(), np.arange(60.) % 2, []
    for y in (VECTORS[format](dense), dense):
        found.append(FITS[door](quick(kind), X, y))
    if door == "score":
        assert found[0] == found[1]
    else:
        np.testing.assert_array_equal(found[0].predict(X), found[1].predict(X))
    y = VECTORS[format](dense)
    (y.coords[0] if format == "coo_array" else y.indices)[0] = 10**9
    with pytest.raises(ValueError, match=r"y(_val)?\.(col|indices) must hold values in 0..59"):
        FITS[door](quick(kind), X, y)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.skipif(not VECTORS, reason="SciPy has no sparse arrays of three dimensions")
@each("kind, door", DOORS)
def test_targets_of_three_dimensions(kind, door):
    try:
        y = scipy.sparse.coo_array(np.ones((60, 2, 2)))
        y.coords[0][0] = 10**9
    except (TypeError, ValueError):
        pytest.skip("SciPy has no sparse arrays of three dimensions")
    with pytest.raises(ValueError, match=r"y(_val)? has shape \(60, 2, 2\)"):
        FITS[door](quick(kind), numbers(), y)
