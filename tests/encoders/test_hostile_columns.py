"""Columns that `Encoder` cannot take as they are: right, or refused with their name."""

from decimal import Decimal
from enum import Enum

import numpy as np
import pytest
from each import each
from scipy import sparse

from fastnn.encoders import Categories, Encoder, Numbers, greedy_edges

X = np.random.default_rng(0).normal(size=(50, 2))


def test_hidden_values_of_masked_arrays_are_not_used():
    masked = np.ma.array(X, mask=X > 1)
    for given in (masked, [masked[:, 0], masked[:, 1]], {"a": masked[:, 0]}):
        with pytest.raises(ValueError, match="X is a masked array that hides values"):
            Encoder().fit(given)
    with pytest.raises(ValueError, match="X is a masked array that hides values"):
        Encoder().fit(X).transform(masked)
    Encoder().fit(np.ma.array(X))


@pytest.mark.parametrize("column", [
    np.array(["2020-01-01", "2021-01-01", "NaT"], "datetime64[D]"),
    np.array([1, 2, 3], "timedelta64[s]"), np.array([1j, 2, 3])])
def test_numbers_are_real(column):
    with pytest.raises(TypeError, match="column 0 holds .*, must be real numbers"):
        Encoder(Numbers()).fit([column])


def test_missing_of_pandas():
    pd = pytest.importorskip("pandas")
    text = pd.DataFrame({"a": pd.Series(["x", None, "y"], dtype="string")})
    assert Encoder().fit(text).transform(text).toarray().argmax(axis=1).tolist() == [0, 3, 1]
    for values, kind in (([None, 1, 3], Numbers()), ([None, 1, 3], Categories())):
        column = pd.DataFrame({"a": pd.Series(values, dtype="Int64").astype(object)})
        row = Encoder(kind).fit(column).transform(column).toarray()[0]
        assert row.argmax() == len(row) - 1


def test_two_columns_of_one_name():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame([[1, 2, 3], [3, 4, 5]], columns=["a", "a", "b"])
    with pytest.raises(ValueError, match="X has more than one column 'a'"):
        Encoder().fit(frame)
    frame.columns = pd.Index([None, None, "b"], dtype=object)
    with pytest.raises(ValueError, match="X has more than one column None"):
        Encoder().fit(frame)
    encoder = Encoder().fit(frame[["b"]])
    assert encoder.transform(frame).shape == (2, encoder.n_inputs)


def test_what_is_no_sequence_of_columns():
    tables = [sparse.csr_matrix(X)]
    pa = pytest.importorskip("pyarrow")
    tables.append(pa.table({"a": [1, 2]}))
    for given in tables:
        with pytest.raises(TypeError, match="must be an array, a data frame of pandas"):
            Encoder().fit(given)


def objects(*values):
    column = np.empty(len(values), object)
    for i, value in enumerate(values):
        column[i] = value
    return column


@each("values", [(1.5, None, 2, 3), (1, 2, 3), (Decimal("1.5"), Decimal(2)), (np.float32(1.5), 2)])
def test_numbers_among_objects_are_numbers(values):
    """A list of dicts, a dict and a mixed array give the encoding that the bare column gives."""
    numbers = np.array([np.nan if value is None else float(value) for value in values])
    wanted = Encoder().fit([numbers]).to_dense([numbers])
    column = objects(*values)
    for given in ([{0: value} for value in values], {0: column}, column.reshape(-1, 1)):
        encoder = Encoder().fit(given)
        assert encoder.to_dense(given).tobytes() == wanted.tobytes()
        assert encoder.to_dense([numbers]).tobytes() == wanted.tobytes()
    assert Encoder().fit([objects(True, False, True)]).counts == (4,)
    assert Encoder().fit([objects(None, None)]).counts == (2,)


def test_rows_may_have_different_keys():
    """A column that the first row has not was left out without a word."""
    encoder = Encoder().fit([{"a": 1.0}, {"b": "x", "a": 2.0}])
    assert encoder.names == ["a", "b"]
    found = encoder.to_dense([{"a": 1.0}, {"b": "x"}])
    assert found.tolist() == [[0, 0, 0, 0, 1], [0, 1, 1, 0, 0]]


class Colour(Enum):
    RED = 1
    BLUE = 2


@each("value", [[1], {}, {1}, ([1],), np.ones(2)])
def test_what_cannot_be_a_category(value):
    for column in (objects("a", value), objects(value, value)):
        with pytest.raises(TypeError, match="column 'c' holds .* of type .*, must be a column of"):
            Encoder(Categories()).fit({"c": column})
        with pytest.raises(TypeError, match="column 'c' holds object, such as .*, must be numbers"):
            Encoder(Numbers()).fit({"c": column})
    encoder = Encoder(Categories()).fit({"c": ["a", "b"]})
    with pytest.raises(TypeError, match="column 'c' holds .* of type"):
        encoder.transform({"c": objects(value)})


def test_categories_without_an_order():
    column = objects(Colour.RED, Colour.BLUE, Colour.RED, (1, "a"), ("a", 1))
    # by type and text
    assert Encoder().fit([column]).to_dense([column]).argmax(axis=1).tolist() == [3, 2, 3, 1, 0]


@each("X, error, message", [
    (None, TypeError, "X is a NoneType, must be an array"),
    (5, TypeError, "X is a int"), ("ab", TypeError, "X is a str"),
    ([1.0, 2.0], ValueError, "column 0 is 1.0, must be a list of values"),
    ({"a": 1.0}, ValueError, "column 'a' is 1.0, .* for a single row give a list of one dict"),
    ({"a": np.ones((3, 2))}, ValueError, r"column 'a' has shape \(3, 2\), must have one"),
    ([{"a": 1}, 5], TypeError, "row 1 of X is of type int, must be a dict"),
    ([[1, 2], [1, 2, 3]], ValueError, "of one length"),
    ({"a": objects(10**400, 1, 2)}, ValueError, "column 'a' holds a whole number beyond")])
def test_what_is_no_table(X, error, message):
    with pytest.raises(error, match=message):
        Encoder(Numbers()).fit(X)


def test_one_column_as_a_matrix():
    x = np.arange(5.0)
    for kind in (Numbers(), Categories()):
        wanted = Encoder(kind).fit_transform([x]).toarray()
        assert (Encoder(kind).fit_transform([x[:, np.newaxis]]).toarray() == wanted).all()


@each("call, error, message", [
    (lambda encoder: encoder.edges(2), ValueError, "column=2 must be 0 to 1, the number of a"),
    (lambda encoder: encoder.edges("a"), TypeError, "column='a' must be an integer"),
    (lambda _: Encoder().edges(0), ValueError, "not fitted"),
    (lambda _: greedy_edges([1, np.nan, 2], 3), ValueError, "x must hold finite numbers"),
    (lambda _: greedy_edges([-np.inf, 2], 3), ValueError, "x must hold finite numbers"),
    (lambda _: greedy_edges(["a"], 3), ValueError, "x must hold finite numbers"),
    (lambda _: greedy_edges([1, 2], 0), ValueError, "bins=0 must be >= 1"),
    (lambda _: greedy_edges([], 3), ValueError, "x is empty, must hold numbers"),
    (lambda encoder: encoder.fit_transform(X, X[:, 0]), TypeError, "is no step of a pipeline"),
    (lambda _: Encoder.from_settings({}), ValueError, "must hold a list of 1 to"),
    (lambda _: Encoder.from_settings(None), ValueError, "must hold a list of 1 to"),
    (lambda _: Encoder.from_settings({"columns": [{}]}), ValueError, "names of columns must be"),
    (lambda _: Encoder.from_settings({"columns": [
        {"name": "a", "bins": 1, "edges": [1, 10**400]}]}), ValueError, "edges: int too large")])
def test_wrong_calls(call, error, message):
    with pytest.raises(error, match=message):
        call(Encoder().fit(X))


@each("bins", [1, 2, 8])
def test_numbers_farther_apart_than_float64_can_tell(bins):
    """One bin from -1e308 to 1e308 was NaN, "in X.data"."""
    x = np.array([-1.5e308, 1.5e308, 0.0, 1.0, -np.inf, np.inf])
    encoder = Encoder(Numbers(bins)).fit(x[:3, np.newaxis])
    found = encoder.to_dense(x[:, np.newaxis])
    assert np.isfinite(found).all()
    codes = encoder.transform(x[:, np.newaxis])
    np.testing.assert_allclose(found, codes.toarray(), rtol=1e-6, atol=1e-30)
    np.testing.assert_array_equal(found[[0, 4]], 0)
    assert (found[[1, 5], :-1] == 1).all()
    if bins == 1:
        np.testing.assert_array_equal(found[2:4, 0], 0.5)


def test_tensors_are_read_by_rows():
    """Their rows were taken for columns, as those of a sequence of columns are."""
    class ByDlpack:
        """All that a tensor of another library need have."""

        def __len__(self):
            return len(X)

        def __iter__(self):
            return iter(X)

        def __dlpack__(self, **settings):
            return X.__dlpack__(**settings)

        def __dlpack_device__(self):
            return X.__dlpack_device__()

    class ByArray:
        def __len__(self):
            return len(X)

        def __iter__(self):
            return iter(X)

        def __array__(self, dtype=None, copy=None):
            return X

    expected = Encoder().fit(X)
    for given in (ByDlpack(), ByArray(), np.asmatrix(X)):
        found = Encoder().fit(given)
        assert found.n_inputs == expected.n_inputs
        np.testing.assert_array_equal(found.to_dense(given), expected.to_dense(X))
    with pytest.raises(ValueError, match=r"X has shape \(100,\), must be"):
        Encoder().fit(np.asmatrix(X).A1)


def test_signalling_nan_is_missing():
    """Every comparison of one raises decimal.InvalidOperation."""
    column = np.array([Decimal(1), Decimal("sNaN"), Decimal(3)])
    found = Encoder(Numbers(1)).fit([column]).to_dense([column])
    np.testing.assert_array_equal(found, [[0, 0], [0, 1], [1, 0]])


def test_a_column_that_is_missing_is_named_beside_what_there_is():
    x = np.arange(5.0)
    encoder = Encoder().fit({"age": x, "wage": x})
    for given, message in [
            ({"Age": x, "wage": x}, "X has no column 'age'; did you mean 'Age'?"),
            ({"wage": x, "left": x}, "X has no column 'age'; there are: 'left'"),
            ([{"wage": 1.0}], "X has no column 'age'; there are no others than are asked for")]:
        with pytest.raises(ValueError) as error:
            encoder.transform(given)
        assert str(error.value) == message
    with pytest.raises(ValueError, match="X has no column 0; the fit was on columns without names: "
                                         "give them in its order"):
        Encoder().fit([x, x]).transform({"age": x, "wage": x})
