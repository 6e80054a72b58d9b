"""Wrong arguments are named, with value and rule; awkward arrays are taken as they are meant."""

import re

import numpy as np
import pandas as pd
import pytest
from each import each
from estimator_data import load, make
from numpy.testing import assert_array_equal
from scipy.sparse import csr_matrix

import fastnn

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:overflow encountered in cast"),
]

QUICK = {"hidden_layer_sizes": (5,), "max_iter": 2, "random_state": 0}

PARAMETERS = [
    ("hidden_layer_sizes", -1, "'hidden_layer_sizes' parameter"),
    ("hidden_layer_sizes", 0, "'hidden_layer_sizes' parameter"),
    ("hidden_layer_sizes", 2.5, "'hidden_layer_sizes' parameter"),
    ("hidden_layer_sizes", (10, 0), r"hidden_layer_sizes=\(10, 0\) must be > 0"),
    ("hidden_layer_sizes", (10, -3), r"hidden_layer_sizes=\(10, -3\) must be > 0"),
    ("hidden_layer_sizes", (10, 2.5), r"hidden_layer_sizes=\(10, 2.5\) must be > 0"),
    ("hidden_layer_sizes", True, "hidden_layer_sizes=True must be > 0: an integer"),
    ("hidden_layer_sizes", (5, True), r"hidden_layer_sizes=\(5, True\) must be > 0"),
    ("hidden_layer_sizes", ["ten"], r"hidden_layer_sizes=\['ten'\] must be > 0"),
    ("hidden_layer_sizes", (2**31,), "2147483648"),
    ("activation", "reluu", "'activation' parameter .*must be a str among.*'relu'.*Got 'reluu'"),
    ("activation", ["reluu"], r"activation\[0\]='reluu' must be one of: .*relu"),
    ("activation", ["relu", "relu"], "activation=.* has 2 entries, must have 1: one per hidden"),
    ("activation", 3, "'activation' parameter"),
    ("solver", "newton", "'solver' parameter .*Got 'newton'"),
    ("alpha", -1e-3, "'alpha' parameter .*Got -0.001"),
    ("alpha", "big", "'alpha' parameter"),
    ("batch_size", 0, "'batch_size' parameter .*Got 0"),
    ("batch_size", "all", "'batch_size' parameter"),
    ("learning_rate", "fast", "'learning_rate' parameter"),
    ("learning_rate_init", 0.0, "'learning_rate_init' parameter"),
    ("learning_rate_init", np.nan, "'learning_rate_init' parameter"),
    ("power_t", -1.0, "'power_t' parameter"),
    ("max_iter", 0, "'max_iter' parameter"),
    ("shuffle", "yes", "'shuffle' parameter"),
    ("random_state", "seed", "'random_state' parameter"),
    ("tol", -1.0, "'tol' parameter"),
    *((name, 10**400, f"{name} is beyond the range of float64") for name in (
        "alpha", "tol", "learning_rate_init", "epsilon")),
    ("momentum", 1.1, "'momentum' parameter"),
    ("validation_fraction", 1.0, "'validation_fraction' parameter"),
    ("beta_1", 1.0, "'beta_1' parameter"),
    ("beta_2", -0.1, "'beta_2' parameter"),
    ("epsilon", 0.0, "'epsilon' parameter"),
    ("n_iter_no_change", 0, "'n_iter_no_change' parameter"),
    ("max_fun", 0, "'max_fun' parameter"),
    ("n_threads", 0, "'n_threads' parameter .*Got 0"),
    ("n_threads", 1.5, "'n_threads' parameter"),
    ("dtype", "float16", "'dtype' parameter .*Got 'float16'"),
    ("dtype", int, "'dtype' parameter"),
    ("dropout", 1.0, "'dropout' parameter .*Got 1.0"),
    ("dropout", -0.1, "'dropout' parameter"),
    ("dropout", [0.1, 0.2], "dropout=.* has 2 entries, must have 1: one per hidden layer"),
    ("dropout", [2.0], r"dropout\[0\]=2.0 must be in \[0, 1\)"),
]


@each("parameter, value, message", PARAMETERS)
@pytest.mark.parametrize("name", ["iris", "diabetes"])
def test_parameters(name, parameter, value, message):
    with pytest.raises(ValueError, match=message):
        make(name, **{**QUICK, parameter: value}).fit(*load(name))


@each("class_weight", ["even", 3, [1, 2]])
def test_class_weight(class_weight):
    with pytest.raises(ValueError, match="'class_weight' parameter"):
        make("iris", class_weight=class_weight).fit(*load("iris"))


def test_loss():
    with pytest.raises(ValueError, match="'loss' parameter .*Got 'hubert'"):
        fastnn.MLPRegressor(loss="hubert").fit(*load("diabetes"))


@each("method", ["fit", "predict"])
@each("value", [np.nan, np.inf, -np.inf])
def test_non_finite_values_are_located(value, method):
    X, y = load("diabetes")
    bad = X.copy()
    bad[7, 3] = bad[9, 2] = value
    word = "NaN" if np.isnan(value) else "infinity"
    frame = pd.DataFrame(bad, columns=[f"feature {i}" for i in range(10)])
    for container, column in ((bad, "3"), (bad.tolist(), "3"), (frame, "'feature 3'"),
                              (csr_matrix(bad), "3"), (bad.astype(np.float32), "3")):
        model = make("diabetes", **QUICK)
        if method == "predict":
            model.fit(X if column == "3" else frame.fillna(0).clip(-9, 9), y)
        arguments = (container, y) if method == "fit" else (container,)
        where = rf"(?s)Input X contains {word}.*in column {column}, row 7\."
        with pytest.raises(ValueError, match=where):
            getattr(model, method)(*arguments)


def test_values_beyond_float32_are_located():
    X, y = load("diabetes")
    X[5, 1] = 1e300
    with pytest.raises(ValueError, match="(?s)Input X contains infinity.*column 1, row 5"):
        make("diabetes", dtype="float32", **QUICK).fit(X, y)


def test_non_finite_targets_are_located():
    X, y = load("multioutput")
    y[4, 2] = np.nan
    with pytest.raises(ValueError, match="(?s)Input y contains NaN.*column 2, row 4"):
        make("multioutput", **QUICK).fit(X, y)
    with pytest.raises(ValueError, match="(?s)Input y contains NaN.*in row 4"):
        make("multioutput", **QUICK).fit(X, y[:, 2])
    labels = pd.Series(["a", "b", None] * 147 + ["a"])
    with pytest.raises((ValueError, TypeError), match="NaN|None"):  # TypeError: pandas 1, 2
        make("iris", **QUICK).fit(X, labels)


SHAPES = [
    (np.ones(5), np.ones(5), "Expected 2D array, got 1D array"),
    (np.ones((5, 2, 2)), np.ones(5), "Found array with dim 3"),
    (np.ones((0, 3)), np.ones(0), "0 sample"),
    (np.ones((5, 0)), np.ones(5), "0 feature"),
    (np.ones((5, 3)), np.ones(4), "inconsistent numbers of samples"),
    (np.ones((5, 3)), None, "requires y to be passed"),
    (np.array([["a", "b"]] * 5), np.ones(5), "could not convert string to float"),
    (np.ones((5, 3)) * 1j, np.ones(5), "Complex data not supported"),
    (np.array([[1, "b"]] * 5, dtype=object), np.ones(5), "could not convert string to float"),
]


@each("X, y, message", SHAPES)
@pytest.mark.parametrize("name", ["iris", "diabetes"])
def test_shapes_and_kinds(name, X, y, message):
    with pytest.raises(ValueError, match=message):
        make(name, **QUICK).fit(X, y)


@each("weight", [np.ones(3), np.ones((150, 2)), [np.nan] * 150, ["a"] * 150])
def test_sample_weight(weight):
    X, y = load("iris")
    with pytest.raises(ValueError, match="(?i)sample.weight|could not convert string"):
        make("iris", **QUICK).fit(X, y, weight)


def test_labels():
    X, y = load("iris")
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        make("iris", **QUICK).fit(X, y + 0.5)
    with pytest.raises(ValueError, match="Unknown label type|multioutput"):
        make("iris", **QUICK).fit(X, np.column_stack([y, y]))
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        make("iris", **QUICK).partial_fit(X, y)
    with pytest.raises(ValueError, match="classes not in"):
        make("iris", **QUICK).partial_fit(X, y, classes=[0, 1])
    model = make("iris", **QUICK).partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="not the same as on last call"):
        model.partial_fit(X, y, classes=[0, 1])
    bits = y[:, None] == np.arange(3)
    with pytest.raises(ValueError, match="one label per row, 3 classes"):
        model.partial_fit(X, bits)
    model = make("iris", **QUICK).partial_fit(X, bits, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="multilabel, 3 classes"):
        model.partial_fit(X, y)


def test_outputs_of_a_warm_start():
    X, y = load("diabetes")
    model = make("diabetes", warm_start=True, **QUICK).fit(X, y)
    with pytest.raises(ValueError, match="2 output.*fitted with 1"):
        model.fit(X, np.column_stack([y, y]))
    with pytest.raises(ValueError, match="9 features"):
        model.fit(X[:, 1:], y)


def test_dimension_beyond_blas():
    X = csr_matrix((np.ones(4), (np.arange(4), np.arange(4))), shape=(4, 2**31))
    with pytest.raises(ValueError, match="32-bit"):
        make("diabetes", **QUICK).fit(X, np.arange(4.0))


def test_unfitted():
    with pytest.raises(ValueError, match="not fitted yet"):
        make("iris").predict(load("iris")[0])


def misaligned(a):
    buffer = np.empty(a.nbytes + 1, np.uint8)
    moved = buffer[1:].view(a.dtype).reshape(a.shape)
    moved[...] = a
    assert not moved.flags.aligned
    return moved


def strided(a):
    wide = np.zeros([2 * n for n in a.shape], a.dtype)
    view = wide[tuple(slice(None, None, 2) for _ in a.shape)]
    view[...] = a
    return view


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


FORMS = {
    "read-only": read_only,
    "strided": strided,
    "reversed": lambda a: a[::-1].copy()[::-1],
    "Fortran": np.asfortranarray,
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "misaligned": misaligned,
    "object": lambda a: a.astype(object),
    "list": lambda a: a.tolist(),
    "longdouble": lambda a: a.astype(np.longdouble),
    "subclass": lambda a: a.view(type("Other", (np.ndarray,), {})),
}


@each("form", FORMS)
@pytest.mark.parametrize("name", ["iris", "cancer", "multilabel", "diabetes", "multioutput"])
def test_awkward_arrays(name, form):
    X, y = load(name)
    weight = np.linspace(0.5, 1, len(X))
    plain = make(name, early_stopping=True, **QUICK).fit(X, y, weight)
    awkward = FORMS[form]
    given = awkward(X), awkward(y) if form != "object" else y, awkward(weight)
    if form not in ("list", "read-only"):
        given[0].flags.writeable = given[2].flags.writeable = False  # never written to
    model = make(name, early_stopping=True, **QUICK).fit(*given)
    for mine, truth in zip(model.coefs_, plain.coefs_, strict=True):
        assert mine.tobytes() == truth.tobytes()
    assert_array_equal(model.predict(given[0]), plain.predict(X))
    assert_array_equal(np.asarray(given[0], dtype=float), X)


def test_small_and_integer_types():
    X, y = load("digits")
    X = (X * 16).astype(int)
    plain = make("digits", **QUICK).fit(X.astype(float), y)
    for kind in (np.int8, np.uint8, np.int32, np.float16, bool):
        model = make("digits", **QUICK).fit(X.astype(kind), y)
        assert model.coefs_[0].dtype == np.float64
        if kind is not bool:
            assert model.coefs_[0].tobytes() == plain.coefs_[0].tobytes()


def test_without_scikit_learn(run_python):
    code = """
import sys
class Blocker:
    def find_spec(self, name, *_):
        if name.split(".")[0] == "sklearn":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocker())
import fastnn
net = fastnn.MLP((2, 3, 1))
print(net.predict([[1, 2]]).shape)
for statement in ("fastnn.MLPClassifier", "from fastnn import MLPRegressor"):
    try:
        exec(statement)
    except ImportError as error:
        print(error)
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    assert "(1, 1)" in done.stdout
    assert len(re.findall(r'pip install "fastnn-mlp\[sklearn\]"', done.stdout)) == 2


@each("of_class, weight, dtype, words", [
    (np.nan, None, "f8", r"class_weight\[1\]=nan must be finite"),
    (np.inf, None, "f8", r"class_weight\[1\]=inf must be finite"),
    ("a", None, "f8", r"class_weight\[1\]='a' must be a number"),
    (1e300, None, "f4", r"class_weight contains infinity \(as float32\)"),
    (1e200, 1e200, "f8", "sample_weight times class_weight contains infinity")])
def test_weights_of_classes_that_are_none(of_class, weight, dtype, words):
    X, y = load("iris")
    if weight is not None:
        weight = np.full(len(y), weight)
    with pytest.raises((TypeError, ValueError), match="^" + words):
        make("iris", class_weight={1: of_class}).fit(X.astype(dtype), y, weight)


@each("solver", ["lbfgs", "sgd", "adam"])
@each("dtype, weight", [("f4", 1e38), ("f4", 8e36), ("f8", 1e307)])
def test_weights_whose_products_would_be_infinite(solver, dtype, weight):
    """They were said to be a matter of the scale of X, or nothing was said."""
    X, y = load("iris")
    model = fastnn.MLPRegressor(hidden_layer_sizes=3, solver=solver, max_iter=3)
    words = f"^sample_weight adds up to .*, too large for {np.dtype(dtype)}: must stay below"
    with pytest.raises(ValueError, match=words):
        model.fit(X.astype(dtype), y, np.full(len(y), weight))
    net, optimizer = fastnn.MLP((4, 1), dtype=np.dtype(dtype).name), fastnn.Adam()
    with pytest.raises(ValueError, match=words):
        net.fit(X.astype(dtype), y, sample_weight=np.full(len(y), weight),
                optimizer=fastnn.LBFGS() if solver == "lbfgs" else optimizer)
