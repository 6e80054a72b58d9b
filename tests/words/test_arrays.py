"""Arrays that do not fit: the message shows the cure."""

import re
import warnings
from decimal import Decimal

import numpy as np
import pytest
from scipy import sparse

import fastnn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 2))
LABELS = RNG.integers(0, 2, 300)
TEXT = ("holds text ('5258-FHJAB' in row 0): encode it (fastnn.TableEncoder, sklearn's "
        "OneHotEncoder), or leave it out")


def classes(*sizes):
    return fastnn.MLP(sizes or (2, 4, 2), output="softmax", random_state=0)


@pytest.mark.parametrize("call, text", [
    (lambda: classes(784, 3).predict(np.zeros((5, 28, 28))), "X.reshape(len(X), -1)"),
    (lambda: classes(784, 3).predict(np.zeros((5, 20, 28))), "has 560 columns, for MLP((560,"),
    (lambda: classes(784, 3).predict(np.zeros(784)), "for one row: X.reshape(1, -1)"),
    (lambda: fastnn.MLP((1, 2)).predict(np.zeros(9)), "for one column: X.reshape(-1, 1)"),
    (lambda: classes().fit(X.T, LABELS), "it has 2 rows and 300 columns: X.T?"),
    (lambda: fastnn.MLP((2, 4, 2)).fit(X, LABELS), "for class labels: MLP(..., output='softmax')"),
    (lambda: fastnn.MLP((2, 4, 2)).fit(X, X[:, 0]), "a network of one output, sizes (..., 1)"),
    (lambda: fastnn.MLP((2, 4, 1)).fit(X, X), "sizes (..., 2) make 2"),
    (lambda: fastnn.MLP((2, 4, 2)).fit(X, X.T), "must have one row for each of 300 rows of X: y.T"),
    (lambda: classes(2, 4, 1).fit(X, LABELS), "two classes need sizes (..., 2), or "
     "output='sigmoid'"),
    (lambda: classes().fit(X, LABELS + 1), "must be in 0..1: labels count from 0, subtract 1"),
    (lambda: classes().fit(X, 2 * LABELS - 1), "(y > 0).astype(int)"),
    (lambda: classes().fit(X, 5 * LABELS), "5 needs 6 outputs, sizes (..., 6)"),
    (lambda: fastnn.MLP((2, 1), output="sigmoid").fit(X, LABELS + 1), "needs [0, 1]: subtract 1"),
])
def test_shapes_and_labels(call, text):
    with pytest.raises(ValueError) as caught:
        call()
    assert text in str(caught.value), str(caught.value)


@pytest.mark.parametrize("y, text", [
    (np.array(["no", "yes"])[LABELS], "classes, y = np.unique(y, return_inverse=True), or "
     "fastnn.MLPClassifier"),
    ([1, 0, None] * 100, "y has a missing value in row 2"),
    (["1", "0"] * 150, "y holds numbers as text ('1' in row 0): "
     "numpy.asarray(y).astype('float64')"),
    (np.array(["1", "0"] * 150), "y holds numbers as text ('1' in row 0): y.astype('float64')"),
])
def test_targets_that_are_no_numbers(y, text):
    with pytest.raises(TypeError) as caught:
        classes().fit(X, y)
    assert text in str(caught.value), str(caught.value)


@pytest.mark.parametrize("call, arrays, lists", [
    (lambda of: classes().predict(of(X.T)), "300 columns: X.T?", "300 columns: numpy.asarray(X).T"),
    (lambda of: classes().predict(of(X[0])), ": X.reshape(1, -1)", "asarray(X).reshape(1, -1)"),
    (lambda of: classes(4, 2).fit(of(X.reshape(-1, 2, 2)), LABELS[:150]), "(n_samples, 4): X.resh",
     "(n_samples, 4): numpy.asarray(X).reshape(len(X), -1)"),
    (lambda of: fastnn.MLP((2, 2)).fit(X, of(X.T)), " X: y.T?", " X: numpy.asarray(y).T?"),
    (lambda of: classes().fit(X, of(2 * LABELS - 1)), ": (y > 0).astype", "(numpy.asarray(y) > 0)"),
    (lambda of: fastnn.MLP((2, 1), output="sigmoid").fit(X, of(2 * LABELS - 1)), ": (y > 0).astype",
     "(numpy.asarray(y) > 0).astype(int)"),
    (lambda of: classes().predict(of(X * 1j)), "give X.real", "give numpy.asarray(X).real"),
    (lambda of: fastnn.MLPClassifier().fit(of(X.reshape(-1, 2, 2)), LABELS[:150]), "X.reshape(len",
     "numpy.asarray(X).reshape(len("),
    (lambda of: classes().fit(of(X.astype(str)), LABELS), ": X.ast", ": numpy.asarray(X).astype"),
])
def test_cures_of_lists_are_such_that_lists_have(call, arrays, lists):
    """They named methods of arrays."""
    for of, text in ((np.asarray, arrays), (np.ndarray.tolist, lists)):
        with pytest.raises((TypeError, ValueError)) as caught:
            call(of)
        assert text in str(caught.value), str(caught.value)
        assert ("numpy.asarray" in str(caught.value)) == (of is not np.asarray)


def test_text_beside_numbers_is_what_is_told():
    """Of a list NumPy makes text of all values, whose first column holds numbers."""
    net, y = classes(), [0, 1]
    for rows in ([[1.5, "red"], [2, "blue"]], np.array([["1.5", "red"], ["2", "blue"]])):
        with pytest.raises(TypeError, match=r"column 1 holds text \('red' in row 0\): encode it"):
            net.fit(rows, y)
    with pytest.raises(TypeError, match=r"column 0 holds numbers as text \('1.5' in row 0\)"):
        net.fit([["1.5", "3"], ["2", "4"]], y)


def test_cures_of_pandas_are_such_that_it_has():
    """A Series has neither."""
    pandas = pytest.importorskip("pandas")
    for call, text in (
            (lambda: classes().predict(pandas.Series(X[0])), "numpy.asarray(X).reshape(1, -1)"),
            (lambda: classes(1, 2).predict(pandas.Series(X[:, 0])), "numpy.asarray(X).reshape(-1"),
            (lambda: classes().predict(pandas.DataFrame(X * 1j)), "give numpy.asarray(X).real"),
            (lambda: classes().predict(pandas.DataFrame(X.T)), "300 columns: X.T?"),
            (lambda: classes().fit(X, pandas.Series(2 * LABELS - 1)), ": (y > 0).astype(int)")):
        with pytest.raises((TypeError, ValueError)) as caught:
            call()
        assert text in str(caught.value), str(caught.value)


def test_labels_of_other_types():
    for y in ([Decimal(1), Decimal(2)] * 150, np.array([Decimal(1), Decimal(2)] * 150)):
        with pytest.raises(ValueError, match=r"row 0: numpy.asarray\(y\).astype\(str\) makes text"):
            fastnn.MLPClassifier().fit(X, y)


def test_columns_that_are_no_numbers():
    pandas = pytest.importorskip("pandas")
    net, y = classes(), [0, 1]
    texts = pandas.DataFrame({"a": [1.0, 2], "customerID": ["5258-FHJAB", "x"]})
    dates = pandas.DataFrame({"a": [1.0, 2], "when": pandas.to_datetime(["2020-01-01"] * 2)})
    gaps = pandas.DataFrame({"a": [1.0, 2], "b": pandas.array([1, None], "Int64")})
    objects = pandas.DataFrame({"a": [1.0, 2], "b": pandas.array([1, 2], "Int64")})
    for frame, text in ((texts, f"column 'customerID' {TEXT}"),
                        (dates, "column 'when' holds dates"),
                        (gaps, "missing value in column 'b', row 1"),
                        (objects, "X.astype('float64')"),
                        (texts.to_numpy(), f"column 1 {TEXT}"),
                        (np.array([["1", "2"]]), "column 0 holds numbers as text"),
                        (np.array([[1j, 2]]), "X.real"),
                        ([{"a": 1, "b": 2}], "fastnn.TableEncoder")):
        for call in (lambda frame: net.fit(frame, y[:len(frame)]), net.predict):
            with pytest.raises(TypeError, match="must be numeric") as caught:
                call(frame)
            assert text in str(caught.value), str(caught.value)


def test_sizes():
    with pytest.raises(TypeError, match=re.escape("such as MLP((784, 128, 10))")):
        fastnn.MLP(784, 128, 10)


def hints_of(call):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        call()
    return [str(one.message) for one in told if issubclass(one.category, fastnn.HintWarning)]


def test_a_hint_where_inputs_are_not_scaled_once_at_a_place():
    def fit():
        return fastnn.MLP((2, 3, 1), random_state=0).fit(X * [1, 1000], X[:, 0], epochs=1)

    text, = hints_of(lambda: [fit() for _ in range(3)])
    assert text.startswith("X is not scaled: it has values such as ") and "in column 1" in text
    assert hints_of(fit) == []


def test_a_hint_where_targets_are_not_scaled():
    y = 1e5 * X[:, 0] + 2e5
    text, = hints_of(lambda: fastnn.MLP((2, 1), random_state=0).fit(X, y, epochs=1))
    assert text.startswith("y is not scaled") and "(y - y.mean()) / y.std()" in text


def test_no_hint_where_there_is_nothing_to_say():
    net = fastnn.MLP((2, 3, 1), random_state=0)
    assert hints_of(lambda: net.fit(X, X[:, 0], epochs=1)) == []
    assert hints_of(lambda: net.fit(X * 1000, X[:, 0], epochs=1)) == [], "a fit that goes on"
    counts = fastnn.MLP((2, 3, 1), output="exp", random_state=0)
    assert hints_of(lambda: counts.fit(X, np.full(300, 1e3), epochs=1)) == [], "no squared error"


def test_the_look_takes_no_pass_over_the_data():
    from fastnn.core.cures import unscaled

    class Watched(np.ndarray):
        def __getitem__(self, place):
            found = np.asarray(self).__getitem__(place)
            assert found.size <= 2 * 64 * 128
            return found

    assert unscaled(np.zeros((20_000, 300)).view(Watched)) is None
    assert unscaled(np.zeros((0, 3))) is None and unscaled([[1e9]]) is None
    assert "column 296" in unscaled(np.full((5, 300), [0] * 296 + [99] * 4))


def test_half_of_the_squared_error_is_told_where_mse_is_asked_for():
    net = fastnn.MLP((2, 3, 1), random_state=0)
    text, = hints_of(lambda: net.loss(X, X[:, 0], loss="mse"))
    assert "half of the mean squared error" in text
    mean_squared = np.mean((net.predict(X)[:, 0] - X[:, 0]) ** 2)
    assert net.loss(X, X[:, 0], loss="mse") == pytest.approx(mean_squared / 2, rel=1e-5)
    assert "half the mean squared error" in " ".join(fastnn.losses.SquaredError.__doc__.split())
    assert "(n_samples, 1)" in fastnn.MLP.predict.__doc__


@pytest.mark.parametrize("call, text", [
    (lambda: fastnn.MLP((2, 1)).predict("rows.csv"), "X='rows.csv' must be an array of numbers; of "
     "the path of a file fastnn.tables.read(path) makes a table"),
    (lambda: fastnn.MLP((2, 1)).predict(None), "X=None must be an array of numbers"),
    (lambda: classes().fit(X, LABELS, sample_weight={0: 1.0, 1: 2.0}), "of weights of classes: "
     "numpy.array([0.5, 2.0])[y]"),
    (lambda: fastnn.MLP((2, 1)).fit(X, sparse.csr_matrix(X[:, :1])), "it is sparse, y.toarray()"),
])
def test_what_is_no_array(call, text):
    with pytest.raises(TypeError) as caught:
        call()
    assert text in str(caught.value), str(caught.value)


def test_a_direction_of_the_outputs_has_their_number():
    with pytest.raises(ValueError, match="U has 3 columns, must have 1: one for each output"):
        fastnn.MLP((2, 4, 1)).vjp(X, np.ones((300, 3)))
