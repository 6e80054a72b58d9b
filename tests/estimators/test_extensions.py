"""What the estimators offer beyond scikit-learn's, and how they behave as Python objects."""

import copy
import io
import pickle
import threading
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
from each import each
from estimator_data import DATA, load, make
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csc_matrix, csr_array, csr_matrix
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, mean_poisson_deviance, mean_squared_error
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

import fastnn
from fastnn.core._kernels import ACTIVATIONS, ALIASES

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SMALL = {"hidden_layer_sizes": (20, 10), "batch_size": 40, "max_iter": 8, "random_state": 0}


def parameters_of(model):
    return [a.tobytes() for a in model.coefs_ + model.intercepts_]


def same_model(one, two):
    return parameters_of(one) == parameters_of(two) and one.n_iter_ == two.n_iter_


# -- class_weight ----------------------------------------------------------------------------------


@each("class_weight", ["balanced", {0: 0.5, 1: 4.0}])
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@each("early_stopping", [False, True])
def test_class_weight_acts_as_sample_weight(early_stopping, solver, class_weight):
    X, y = load("cancer")
    own = np.random.RandomState(0).uniform(0.5, 2, len(y))
    settings = {**SMALL, "solver": solver, "early_stopping": early_stopping}
    weighted = make("cancer", class_weight=class_weight, **settings)
    by_hand = compute_sample_weight(class_weight, y)
    assert same_model(weighted.fit(X, y), make("cancer", **settings).fit(X, y, by_hand))
    both = make("cancer", **settings).fit(X, y, own * by_hand)
    assert same_model(weighted.fit(X, y, own), both)


def test_class_weight_trades_misses_for_false_alarms():
    X, y = load("cancer")
    rates = []
    for weight in (0.01, 1, 100):
        model = make("cancer", class_weight={1: weight}, **SMALL).fit(X[:, :2], y)
        rates.append(model.predict(X[:, :2])[y == 1].mean())
    assert rates[0] < rates[1] < rates[2]


def test_class_weight_in_partial_fit():
    X, y = load("cancer")
    weights = {0: 2.0, 1: 0.5}
    one = make("cancer", class_weight=weights, **SMALL).partial_fit(X, y, classes=[0, 1])
    two = make("cancer", **SMALL)
    two.partial_fit(X, y, compute_sample_weight(weights, y), classes=[0, 1])
    assert same_model(one, two)
    with pytest.raises(ValueError, match="class_weight='balanced' must be a dict in partial_fit"):
        make("cancer", class_weight="balanced").partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="class_weight='balanced' must be None for multilabel"):
        make("multilabel", class_weight="balanced").fit(*load("multilabel"))


# -- dropout, dtype, activations, threads ----------------------------------------------------------


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_dropout(solver):
    X, y = load("digits")
    settings = {**SMALL, "hidden_layer_sizes": (60, 30), "max_iter": 60, "solver": solver}
    settings["learning_rate_init"] = 0.02 if solver == "sgd" else 0.005
    plain = make("digits", **settings).fit(X, y)
    dropped = make("digits", dropout=0.4, **settings).fit(X, y)
    assert same_model(plain, make("digits", dropout=0.0, **settings).fit(X, y))
    assert same_model(dropped, make("digits", dropout=(0.4, 0.4), **settings).fit(X, y))
    assert same_model(dropped, make("digits", dropout=0.4, n_threads=2, **settings).fit(X, y))
    assert not same_model(dropped, make("digits", dropout=[0.4, 0], **settings).fit(X, y))
    assert dropped.loss_ > plain.loss_
    assert dropped.score(X, y) > 0.97
    assert_array_equal(dropped.predict_proba(X), dropped.predict_proba(X))


def test_dropout_goes_on_in_partial_fit():
    X, y = load("digits")
    settings = {**SMALL, "shuffle": False, "learning_rate_init": 1e-12, "dropout": 0.5}
    model = make("digits", **settings)
    for _ in range(3):
        model.partial_fit(X, y, classes=np.arange(10))
    assert len(np.unique(np.round(model.loss_curve_, 6))) == 3  # other masks each time


@pytest.mark.parametrize("name", DATA)
def test_dtype(name):
    X, y = load(name)
    X = X.astype(np.float32)
    wide = X.astype(np.float64)
    single = make(name, dtype="float32", **SMALL).fit(wide, y)
    assert {a.dtype for a in single.coefs_ + single.intercepts_} == {np.dtype(np.float32)}
    assert same_model(single, make(name, **SMALL).fit(X, y))
    assert same_model(single, make(name, dtype=np.float32, **SMALL).fit(X, y))
    assert_array_equal(single.predict(wide), single.predict(X))
    double = make(name, dtype="float64", **SMALL).fit(X, y)
    assert same_model(double, make(name, **SMALL).fit(wide, y))
    single.partial_fit(wide, y)
    assert single.coefs_[0].dtype == np.float32
    if hasattr(single, "classes_"):
        assert single.predict_proba(wide).dtype == np.float32


@each("activation", [name for name in ACTIVATIONS if name != "step"])
def test_further_activations(activation):
    X, y = load("digits")
    settings = {**SMALL, "hidden_layer_sizes": (30,), "max_iter": 40}
    model = make("digits", activation=activation, **settings)
    model.set_params(learning_rate_init=0.002 if activation == "exp" else 0.02).fit(X, y)
    assert model.score(X, y) > 0.95
    named = make("digits", activation=[activation], **settings)
    named.set_params(learning_rate_init=model.learning_rate_init)
    assert same_model(model, named.fit(X, y))


def test_activation_per_layer_and_aliases():
    X, y = load("digits")
    mixed = make("digits", activation=("tanh", "logistic"), **SMALL).fit(X, y)
    hidden = np.tanh(X @ mixed.coefs_[0] + mixed.intercepts_[0])
    hidden = 1 / (1 + np.exp(-hidden @ mixed.coefs_[1] - mixed.intercepts_[1]))
    z = hidden @ mixed.coefs_[2] + mixed.intercepts_[2]
    assert_array_equal(mixed.predict(X), z.argmax(axis=1))
    for alias, name in ALIASES.items():
        model = make("digits", activation=alias, **SMALL).fit(X, y)
        assert same_model(model, make("digits", activation=name, **SMALL).fit(X, y))


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@each("settings", [{}, {"early_stopping": True}, {"dropout": 0.3}])
@each("container", [np.asarray, csr_matrix])
def test_same_bytes_for_any_number_of_threads(container, settings, solver):
    X, y = load("digits")
    settings = {"max_iter": 10, "random_state": 0, "solver": solver, **settings}
    assert fastnn.MLP((64, 100, 10), n_threads=4).plan(200).threads > 1
    models = [make("digits", n_threads=n, **settings).fit(container(X), y) for n in (1, 2, 3)]
    assert same_model(models[0], models[1])
    assert same_model(models[0], models[2])
    assert_array_equal(*(model.predict_proba(container(X)) for model in models[:2]))


def test_no_hidden_layer_is_logistic_regression():
    X, y = load("cancer")
    model = make("cancer", hidden_layer_sizes=(), solver="lbfgs", alpha=1.0, tol=1e-8)
    linear = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(X, y)
    assert_allclose(model.set_params(max_iter=2000).fit(X, y).coefs_[0], linear.coef_.T, atol=2e-3)
    assert_allclose(model.predict_proba(X), linear.predict_proba(X), atol=1e-3)


# -- validation_data -------------------------------------------------------------------------------


def loss_of(name, model, X, y, weight=None):
    if name in ("iris", "digits", "cancer"):
        return log_loss(y, model.predict_proba(X), sample_weight=weight)
    predicted = model.predict_proba(X) if name == "multilabel" else model.predict(X)
    if name == "multilabel":
        terms = y * np.log(predicted) + (1 - y) * np.log1p(-predicted)
        return -np.average(terms.sum(axis=1), weights=weight)
    metric = mean_poisson_deviance if name == "poisson" else mean_squared_error
    return 0.5 * metric(y, predicted, sample_weight=weight)


@each("weighted", [False, True])
@each("solver", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("name", DATA)
def test_validation_loss_curve(name, solver, weighted):
    X, y = load(name)
    train, held = slice(0, None, 2), slice(1, None, 2)
    weight = np.random.RandomState(0).uniform(0.5, 2, len(X))[held] if weighted else None
    model = make(name, solver=solver, warm_start=True, **SMALL)
    validation_data = (X[held], y[held], weight) if weighted else (X[held], y[held])
    for epoch in range(1, 4):
        model.set_params(max_iter=1, random_state=epoch)
        model.fit(X[train], y[train], validation_data=validation_data)
        assert len(model.validation_loss_curve_) == epoch
        expected = loss_of(name, model, X[held], y[held], weight)
        assert_allclose(model.validation_loss_curve_[-1], expected, rtol=1e-9)
    assert same_model(
        make(name, solver=solver, **SMALL).fit(X[train], y[train]),
        make(name, solver=solver, **SMALL).fit(X[train], y[train], validation_data=(X, y)),
    )


@pytest.mark.parametrize("name", DATA)
def test_validation_data_takes_the_place_of_the_split(name):
    X, y = load(name)
    model = make(name, early_stopping=True, **SMALL)
    model.fit(X, y, validation_data=(X[::2], y[::2]))
    assert model.t_ == len(X) * model.n_iter_
    assert len(model.validation_scores_) == len(model.validation_loss_curve_) == model.n_iter_
    assert_allclose(model.score(X[::2], y[::2]), model.best_validation_score_)


def test_validation_loss_curve_without_validation_data():
    X, y = load("diabetes")
    assert make("diabetes", **SMALL).fit(X, y).validation_loss_curve_ is None
    stopped = make("diabetes", early_stopping=True, **SMALL).fit(X, y)
    assert len(stopped.validation_loss_curve_) == stopped.n_iter_
    assert stopped.fit(X, y).n_iter_ == len(stopped.validation_loss_curve_)


@each("container", [csr_array, pd.DataFrame])
def test_validation_data_in_other_containers(container):
    X, y = load("digits")
    data = [X, container(X)]
    curves = [
        make("digits", **SMALL).fit(each, y, validation_data=(each, y)).validation_loss_curve_
        for each in data
    ]
    assert_allclose(*curves, rtol=1e-9)


@pytest.mark.parametrize(
    ("validation_data", "message"),
    [
        (5, "validation_data=int must be a tuple"),
        ((1, 2, 3, 4), "validation_data=tuple must be a tuple"),
        ((np.ones((3, 7)), [0, 1, 0]), "X has 7 features"),
        ((np.ones((3, 30)), [0, 1]), "inconsistent numbers of samples"),
        ((np.ones((3, 30)), [0, 1, 5]), "classes not in"),
        ((np.full((3, 30), np.nan), [0, 1, 0]), "column 0, row 0"),
    ],
)
def test_wrong_validation_data(validation_data, message):
    with pytest.raises(ValueError, match=message):
        make("cancer").fit(*load("cancer"), validation_data=validation_data)


# -- a scikit-learn object -------------------------------------------------------------------------


def plain(value):
    """Whether a fitted value holds nothing but arrays, numbers, strings and containers of them."""
    if isinstance(value, dict):
        return all(map(plain, value)) and all(map(plain, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(plain, value))
    return type(value) in (np.ndarray, np.float64, bool, int, float, str, type(None))


def copies(model, folder):
    joblib.dump(model, folder / "model.joblib")
    buffer = io.BytesIO(pickle.dumps(model))
    yield pickle.load(buffer)
    yield joblib.load(folder / "model.joblib")
    yield joblib.load(folder / "model.joblib", mmap_mode="r")
    yield copy.copy(model)
    yield copy.deepcopy(model)


@each("solver", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("name", DATA)
def test_copies_and_pickles(name, solver, tmp_path):
    X, y = load(name)
    model = make(name, solver=solver, early_stopping=True, **SMALL).fit(X, y)
    assert plain(model.__getstate__()), model.__getstate__()
    before = model.predict(X)
    for twin in copies(model, tmp_path):
        assert same_model(model, twin)
        assert_array_equal(twin.predict(X), before)
        assert not np.shares_memory(twin.coefs_[0], model.coefs_[0])
        twin.coefs_[0][:] = 0
        assert_array_equal(model.predict(X), before)
        if solver != "lbfgs":
            twin.set_params(early_stopping=False).partial_fit(X, y)
            assert_array_equal(model.predict(X), before)
    assert not hasattr(clone(model), "coefs_")


def test_pickle_holds_each_parameter_once(tmp_path):
    X, y = load("digits")
    model = make("digits", hidden_layer_sizes=(300,), solver="lbfgs", max_iter=2).fit(X, y)
    assert len(pickle.dumps(model)) < 1.1 * sum(a.nbytes for a in model.coefs_) + 10_000


def test_training_goes_on_after_unpickling():
    X, y = load("iris")
    settings = {**SMALL, "shuffle": False}
    here = make("iris", **settings).partial_fit(X, y, classes=[0, 1, 2])
    there = pickle.loads(pickle.dumps(here))
    assert same_model(here.partial_fit(X, y), there.partial_fit(X, y))


def test_coefs_are_the_truth():
    X, y = load("diabetes")
    model = make("diabetes", **SMALL).fit(X, y)
    model.coefs_[-1][:] = 0  # in place
    assert_allclose(model.predict(X), model.intercepts_[-1][0])
    model.intercepts_[-1] = np.array([7.0])  # an entry
    assert_array_equal(model.predict(X), np.full(len(X), 7.0))
    model.intercepts_[-1][0] = 8  # in place, in an array that is not ours
    assert_array_equal(model.predict(X), np.full(len(X), 8.0))
    model.coefs_ = [w.astype(np.float32) for w in model.coefs_]  # the list
    assert model.predict(X).dtype == np.float32
    model.coefs_ = [np.zeros((10, 3)), np.ones((3, 1))]  # another architecture
    model.intercepts_ = [np.ones(3), np.zeros(1)]
    assert_array_equal(model.predict(X), np.full(len(X), 3.0))
    twin = pickle.loads(pickle.dumps(model))
    assert_array_equal(twin.predict(X), model.predict(X))


def test_parameters_set_after_the_fit_count():
    X, y = load("digits")
    model = make("digits", **SMALL).fit(X, y)
    before = model.predict_proba(X)
    assert_array_equal(model.set_params(n_threads=2).predict_proba(X), before)
    assert not np.array_equal(model.set_params(activation="tanh").predict_proba(X), before)


def test_sparse_input_of_every_format():
    X, y = load("multilabel")
    dense = make("multilabel", **SMALL).fit(X, y)
    for container in (csr_matrix, csr_array, csc_matrix):
        model = make("multilabel", **SMALL).fit(container(X), y)
        assert_allclose(model.coefs_[0], dense.coefs_[0], rtol=1e-9)
        assert_allclose(model.predict_proba(container(X)), dense.predict_proba(X), rtol=1e-9)
    large = csr_matrix(X)
    large.indices, large.indptr = large.indices.astype(np.int64), large.indptr.astype(np.int64)
    assert same_model(model, make("multilabel", **SMALL).fit(large, y))
    labels = make("multilabel", **SMALL).fit(X, csr_matrix(y)).predict(X)
    assert_array_equal(labels.toarray(), dense.predict(X))
    X, y = load("multioutput")
    model = make("multioutput", **SMALL).fit(csr_matrix(X), csr_matrix(y))
    assert_allclose(model.predict(X), make("multioutput", **SMALL).fit(X, y).predict(X))


def test_feature_names():
    X, y = load("diabetes")
    frame = pd.DataFrame(X, columns=[f"x{i}" for i in range(10)])
    model = make("diabetes", **SMALL).fit(frame, y)
    assert list(model.feature_names_in_) == list(frame.columns)
    assert_array_equal(model.predict(frame), make("diabetes", **SMALL).fit(X, y).predict(X))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(X)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[frame.columns[::-1]])
    with pytest.raises(ValueError, match="X has 9 features"):
        make("diabetes", **SMALL).fit(X, y).predict(X[:, 1:])


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
@pytest.mark.filterwarnings("always")
def test_warnings_point_at_the_caller(solver):
    X, y = load("diabetes")
    model = make("diabetes", batch_size=10_000, solver=solver, max_iter=2)
    with pytest.warns(Warning) as caught:
        model.fit(X, y)
        if solver == "sgd":
            model.partial_fit(X, y)
    assert len(caught) == (3 if solver == "sgd" else 1)
    assert {warning.filename for warning in caught} == {__file__}


def test_progress_is_printed(capsys):
    X, y = load("diabetes")
    for solver in ("adam", "lbfgs"):
        make("diabetes", solver=solver, verbose=True, max_iter=3).fit(X, y)
        assert capsys.readouterr().out.count("Iteration") == 3


def test_inside_scikit_learn():
    X, y = load("cancer")
    model = make_pipeline(StandardScaler(), make("cancer", **SMALL))
    assert cross_val_score(model, X, y, cv=3, n_jobs=2).mean() > 0.9
    grid = {"mlpclassifier__alpha": [0.1, 1.0], "mlpclassifier__hidden_layer_sizes": [(5,), ()]}
    search = GridSearchCV(model, grid, cv=3, n_jobs=2).fit(X, y)
    assert search.best_score_ > 0.9


def test_predicting_while_another_thread_fits():
    X, y = load("digits")
    model = make("digits", **SMALL)
    states = [model.set_params(random_state=seed).fit(X, y).predict_proba(X) for seed in (0, 1)]
    seen, done = [], threading.Event()

    def predict():
        while not done.is_set():
            seen.append(model.predict_proba(X))

    thread = threading.Thread(target=predict)
    thread.start()
    for seed in range(40):
        model.set_params(random_state=seed % 2).fit(X, y)
    done.set()
    thread.join()
    assert all(any(np.array_equal(each, state) for state in states) for each in seen)
    assert len(seen) > 3


# ---- errors leave the model as it was ----


def test_failed_refit_leaves_the_model_as_it_was():
    X, y = load("digits")
    model = make("digits", **SMALL).fit(X, y)
    before, names = model.predict_proba(X), set(vars(model))
    with pytest.raises(ValueError, match="non-finite"):
        model.set_params(solver="sgd", learning_rate_init=1e300, max_iter=3).fit(X[:, :7], y > 4)
    assert set(vars(model)) == names
    assert model.n_features_in_ == X.shape[1]
    assert_array_equal(model.predict_proba(X), before)
    with pytest.raises(ValueError, match="hidden_layer_sizes"):
        model.set_params(hidden_layer_sizes=(-1,)).fit(X, y > 4)
    assert_array_equal(model.predict_proba(X), before)


def test_pickle_with_settings_of_the_next_fit():
    """A pickle loads whatever the parameters were set to since the fit."""
    X, y = load("digits")
    model = make("digits", **SMALL).fit(X, y)
    before = model.predict(X)
    model.set_params(activation=("relu", "tanh"), hidden_layer_sizes=(5, 5))
    twin = pickle.loads(pickle.dumps(model))
    twin.set_params(activation="relu")
    assert_array_equal(twin.predict(X), before)


def test_partial_fit_goes_on_in_another_dtype():
    X, y = load("digits")
    model = make("digits", **SMALL).set_params(early_stopping=False)
    model.partial_fit(X, y, classes=np.unique(y))
    model.set_params(dtype="float32").partial_fit(X, y)
    assert {a.dtype for a in model.coefs_} == {np.dtype("float32")}
    assert np.isfinite(model.predict_proba(X)).all()


def test_predictions_while_fits_succeed_and_fail_elsewhere():
    """The old model or the new one, also when the classes change; never a mixture."""
    import threading

    X, y = load("digits")
    labels = np.array([f"class {k}" for k in range(10)])[y]
    model = make("digits", **SMALL).fit(X, y)
    numbers = set(model.predict(X))
    names = set(make("digits", **SMALL).fit(X, labels).predict(X))
    stop, errors = threading.Event(), []

    def predict():
        while not stop.is_set():
            found = set(model.predict(X))
            if not (found <= numbers or found <= names):
                errors.append(found)

    readers = [threading.Thread(target=predict) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(5):
            model.fit(X, labels)
            with pytest.raises(ValueError):
                model.fit(X[:, :3], np.where(np.arange(len(y)) == 0, np.nan, y))
            model.fit(X, y)
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert not errors


def test_warm_start_with_lbfgs_keeps_the_count_of_rows():
    X, y = load("digits")
    model = make("digits", **SMALL).set_params(warm_start=True, early_stopping=False).fit(X, y)
    seen = model.t_
    assert model.set_params(solver="lbfgs").fit(X, y).t_ == seen > 0


def test_no_warning_on_large_finite_input():
    X, y = load("digits")
    model = make("digits", **SMALL).fit(X.astype(np.float32), y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(np.full((100, X.shape[1]), 3e37, np.float32))


class Does(fastnn.Callback):
    """Does something after the third epoch."""

    def __init__(self, do):
        self.do = do

    def on_epoch_end(self, state):
        if state.epoch == 2:
            self.do(state.net)


@each("name", ["fit", "partial_fit", "fit_batches"])
def test_a_callback_cannot_fit_the_model_that_is_being_fitted(name):
    X, y = load("digits")
    arguments = ([(X, y)],) if name == "fit_batches" else (X, y)
    model = make("digits", **SMALL).fit(X, y)
    before = parameters_of(model)
    model.set_params(callbacks=[Does(lambda net: getattr(net, name)(*arguments))])
    with pytest.raises(RuntimeError, match="this MLPClassifier is being fitted already"):
        model.fit(X, y)
    assert parameters_of(model) == before
    model.set_params(callbacks=[Does(lambda net: clone(net).set_params(callbacks=None).fit(X, y))])
    model.fit(X, y)


@each("whose", ["est", "net"])
def test_parameters_set_during_a_fit_stay(whose):
    X, y = load("digits")
    model = make("digits", **SMALL)

    def change(net):
        changed = model if whose == "est" else net
        changed.set_params(alpha=0.5, batch_size=77)
        changed.note = "mine"

    wanted = make("digits", **SMALL).fit(X, y)
    model.set_params(callbacks=[Does(change)]).fit(X, y)
    assert (model.alpha, model.batch_size, model.note) == (0.5, 77, "mine")
    assert same_model(model, wanted)

    def batches():
        model.set_params(alpha=0.25)
        yield X, y

    model.set_params(callbacks=None, warm_start=True).fit_batches(batches, epochs=2,
                                                                  classes=np.unique(y))
    assert model.alpha == 0.25
