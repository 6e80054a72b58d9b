"""Classes that come as objects or as pandas' nullable types are what they are."""

import enum

import numpy as np
import pytest

import fastnn
from fastnn.estimators.tabular_words import plain_labels


def objects(*values):
    return np.array(values, object)


@pytest.mark.parametrize("values, kind", [
    ((True, False), "b"), ((np.bool_(True), False), "b"), ((1.0, 2.0), "f"), ((1, 2), "i"),
    ((1, 2.5), "f"), ((np.int8(3), 4), "i")])
def test_objects_become_what_they_are(values, kind):
    found = plain_labels(objects(*values))
    assert found.dtype.kind == kind and found.tolist() == list(values)


@pytest.mark.parametrize("values", [("a", "b"), (None, "a"), (10**25, 1), (2**53 + 1, 0.5), (),
                                    ("1", 1), ((1,), (2, 3))])
def test_others_stay(values):
    y = np.empty(len(values), object)
    y[:] = values
    assert plain_labels(y) is y


@pytest.mark.parametrize("other, said", [
    (np.nan, "Input y contains NaN"), (None, "Input y contains NaN"),
    (np.inf, "y holds text and other values, 'a' and inf"),
    (1, "y holds text and other values, 'a' and 1"),
    (True, "y holds text and other values, 'a' and True")])
@pytest.mark.parametrize("kind", [list, tuple])
def test_other_values_in_a_list_of_texts_make_no_class(kind, other, said):
    X = {"x": [i % 2 + i / 100 for i in range(40)]}
    mixed = kind([other, *["a", "b"] * 20][:40])
    model = fastnn.TabularClassifier(preset="fast", random_state=0, n_threads=1)
    with pytest.raises((ValueError, TypeError), match=said):
        model.fit(X, mixed)
    model.fit(X, ["a", "b"] * 20)
    with pytest.raises((ValueError, TypeError), match=said):
        model.score(X, mixed)
    with pytest.raises((ValueError, TypeError), match=said.replace("y ", "y_val ")):
        model.fit(X, ["a", "b"] * 20, X_val=X, y_val=mixed)
    with pytest.raises(TypeError, match="y holds truth values and numbers, True and 2"):
        model.fit(X, kind([True, 2] * 20))


def test_truths_beside_0_and_1_in_a_list_are_numbers():
    X, y = {"x": [i % 2 + i / 100 for i in range(40)]}, [True, 0] * 20
    model = fastnn.TabularClassifier(preset="fast", random_state=0, n_threads=1).fit(X, y)
    assert model.classes_.tolist() == [0, 1] and model.score(X, y) == 1


def test_truth_beside_numbers_is_refused():
    with pytest.raises(TypeError, match="y holds truth values and numbers, True and 2"):
        plain_labels(objects(2, True))


def test_nullable_types():
    pd = pytest.importorskip("pandas")
    for values, dtype, kind in (([3, 4], "Int64", "i"), ([True, False], "boolean", "b"),
                                ([1.5, 2.0], "Float64", "f"), ([3, 4], "UInt8", "u")):
        for y in (pd.array(values, dtype=dtype), pd.Series(values, dtype=dtype)):
            found = plain_labels(y)
            assert found.dtype.kind == kind and found.tolist() == values
    y = pd.Series(["a", "b"], dtype="string")
    assert plain_labels(y) is y


class Colour(str, enum.Enum):
    """Whose texts are not those that NumPy makes of it."""

    RED = "red"
    BLUE = "blue"


class Name(str):
    """Text of a type of its own."""

    __slots__ = ()


def labels_of(kind):
    """Rows of two classes, as they are written: (labels, their texts)."""
    first, second = {"enum": (Colour.RED, Colour.BLUE), "own": (Name("red"), Name("blue")),
                     "NUL": ("a", "a\0"), "NULs": ("\0", "\0\0")}.get(kind, ("red", "blue"))
    return [first if i % 2 else second for i in range(40)], {str.__str__(first),
                                                            str.__str__(second)}


@pytest.mark.parametrize("kind", ["enum", "own", "NUL", "NULs", "text"])
@pytest.mark.parametrize("how", ["list", "tuple", "objects", "series", "StringDType"])
def test_texts_stay_different(kind, how, tmp_path):
    """By fit, validation rows, score and a file: of an Enum NumPy took the first letter of its
    name, for all; of NUL at the end nothing."""
    y, texts = labels_of(kind)
    if how == "StringDType":
        if not hasattr(np.dtypes, "StringDType"):
            pytest.skip("NumPy is older")
        y = np.array(list(map(str.__str__, y)), np.dtypes.StringDType())
    elif how != "list":
        y = {"tuple": tuple, "objects": lambda values: np.array(values, object),
             "series": pytest.importorskip("pandas").Series}[how](y)
    X = {"x": [i % 2 + i / 100 for i in range(40)]}
    model = fastnn.TabularClassifier(preset="fast", random_state=0, n_threads=1)
    model.fit(X, y, X_val=X, y_val=y)
    assert set(model.classes_.tolist()) == texts
    assert all(type(label) is str for label in model.classes_.tolist())
    assert model.score(X, y) == 1
    model.save(tmp_path / "m.safetensors")
    loaded = fastnn.load(tmp_path / "m.safetensors")
    assert loaded.predict(X).tolist() == model.predict(X).tolist() == [
        str.__str__(label) for label in y]


def test_numbers_of_several_types_have_a_score():
    X, y = {"x": [i % 2 + i / 100 for i in range(40)]}, [1 if i % 2 else 2.0 for i in range(40)]
    model = fastnn.TabularClassifier(preset="fast", random_state=0, n_threads=1)
    for labels in (objects(*y), y):
        assert model.fit(X, labels).score(X, labels) == 1


def test_structured_targets_are_refused():
    y = np.array([(i % 2,) for i in range(40)], [("y", "i4")])
    for kind in (fastnn.TabularClassifier, fastnn.TabularRegressor):
        with pytest.raises(TypeError, match=r"y is a structured array, .* y\['y'\]"):
            kind().fit({"x": list(range(40))}, y)
