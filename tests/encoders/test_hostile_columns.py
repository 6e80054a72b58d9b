"""Columns that `Encoder` cannot take as they are: right, or refused with their name."""

import numpy as np
import pytest
from scipy import sparse

from fastnn.encoders import Categories, Encoder, Numbers

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
    encoder = Encoder().fit(frame[["b"]])
    assert encoder.transform(frame).shape == (2, encoder.n_inputs)


def test_what_is_no_sequence_of_columns():
    tables = [sparse.csr_matrix(X)]
    pa = pytest.importorskip("pyarrow")
    tables.append(pa.table({"a": [1, 2]}))
    for given in tables:
        with pytest.raises(TypeError, match="must be an array, a data frame of pandas"):
            Encoder().fit(given)
