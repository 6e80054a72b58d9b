"""Classes that come as objects or as pandas' nullable types are what they are."""

import numpy as np
import pytest

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
