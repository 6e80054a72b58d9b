"""Types of values that are no numbers and have one text each, which files have in their place."""

import ipaddress
import uuid
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from each import each

from fastnn.tables import Schema, TableError, as_table, learn_target, read

pd = pytest.importorskip("pandas")
pa = pytest.importorskip("pyarrow")

N = 24
VALUES = np.random.default_rng(0).normal(size=N).round(2)
CUT = pd.cut(VALUES, 3)
DAYS = pd.period_range("2024-01-01", periods=N, freq="D")
COLUMNS = {
    "cut": CUT, "intervals": pd.arrays.IntervalArray(CUT), "objects": pd.Series(list(CUT)),
    "gaps": pd.cut(np.where(np.arange(N) % 5, VALUES, np.nan), 3),
    "months": pd.period_range("2024-01", periods=3, freq="M").repeat(N // 3), "days": DAYS,
    "quarters": pd.Series(pd.period_range("2024Q1", periods=3, freq="Q").repeat(N // 3)
                          ).astype("category"),
    "days and NaT": pd.Series([pd.NaT if i == 3 else day for i, day in enumerate(DAYS)]),
    "uuid": pd.Series([uuid.UUID(int=i % 3) for i in range(N)]),
    "address": pd.Series([ipaddress.ip_address(i % 3) for i in range(N)]),
}


@each("name", list(COLUMNS))
def test_intervals_periods_and_the_like(name, tmp_path):
    """Learned from as a file with them is, and read alike by every door."""
    frame = pd.DataFrame({"v": COLUMNS[name]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    table = read(tmp_path / "t.csv")
    schema, own = Schema.learn(table), Schema.learn(frame)
    assert [column.kind for column in own.columns] == [column.kind for column in schema.columns] \
        == ["date" if "days" in name else "category"]
    expected = schema.apply(table)
    doors = [frame, frame.astype(object), frame.to_dict("records"), {"v": frame["v"]}]
    if name in ("intervals", "months", "days", "uuid"):  # Arrow has no other ones
        doors += [pa.Table.from_pandas(frame), pa.concat_tables(
            [pa.Table.from_pandas(frame[:7]), pa.Table.from_pandas(frame[7:])])]
        frame.to_parquet(tmp_path / "t.parquet")
        doors.append(read(tmp_path / "t.parquet"))
    for door in doors:
        for learned in (schema, own):
            found = learned.apply(door)
            assert found.codes.tobytes() == expected.codes.tobytes()
            assert found.numbers.tobytes() == expected.numbers.tobytes()


def test_extension_types_of_arrow_are_what_they_are_stored_as():
    column = pa.ExtensionArray.from_storage(pa.json_(), pa.array(["1", "2", None])) if (
        hasattr(pa, "json_")) else pa.array(["1", "2", None])
    expected = as_table({"a": ["1", "2", None]}).column("a")
    for given in (column, pa.chunked_array([column[:1], column[1:]])):
        found = as_table({"a": given}).column("a")
        assert (found.codes.tolist(), found.values) == (expected.codes.tolist(), expected.values)


def test_dictionaries_that_cannot_be_put_together_are_refused():
    parts = [pa.Table.from_pandas(pd.DataFrame({"a": pd.cut(VALUES[rows], 2)}))
             for rows in (slice(0, 5), slice(5, None))]
    with pytest.raises(TableError, match="column 'a' has dtype dictionary"):
        as_table(pa.concat_tables(parts)).column("a")


@each("kind", [np.float16, np.float32, np.float64, np.longdouble])
def test_objects_of_numpy_are_those_of_their_array(kind):
    values = np.array([0.1, 2.5, np.nan, 1e4], kind)
    schema = Schema.learn({"a": values})
    for door in ({"a": list(values)}, [{"a": value} for value in values],
                 pd.DataFrame({"a": pd.Series(list(values), dtype=object)})):
        assert schema.apply(door).numbers.tobytes() == schema.apply({"a": values}).numbers.tobytes()


GERMAN = ["1,5", "2,25", "3,75", "1.234,5"] * 5
FORMATS = {"point": ["1.5", "2.25", "3.75"] * 6, "comma": GERMAN, "percent": ["5%", "7.5%"] * 9,
           "dollar": ["$1,234.50", "$5.25", "$7"] * 6, "thousands": ["1.299", "987", "2.150"] * 6}
TYPED = [1.234, 2.0, 7, 1e-7, 2**53 + 2, Decimal("1.234"), Decimal("12"), Fraction(1, 8),
         np.float32(0.125), np.float64(1.234), np.int8(3), np.int64(1234), np.longdouble(2.5)]


@each("form", list(FORMATS))
def test_a_number_is_what_it_is_whatever_stands_beside_it(form):
    """Text is read as the column writes its numbers; what comes as a number is one already. With
    text in another row 1.234 was read as 1234 where the column has decimal commas."""
    schema = Schema.learn({"a": FORMATS[form]})
    text = FORMATS[form][0]
    (wanted,), = schema.apply({"a": [text]}).numbers
    for value in TYPED:
        for door in ([{"a": value}, {"a": text}], [{"a": text}, {"a": None}, {"a": value}],
                     {"a": [value, text]}, {"a": [value]}, [{"a": value}],
                     pd.DataFrame({"a": pd.Series([text, value], dtype=object)}),
                     {"a": [value, str(text), Decimal(1)]}):
            found = schema.apply(door).numbers.ravel().tolist()
            assert float(value) in found, (value, door)
            assert set(found) - {float(value)} <= {wanted, 1.0} | {one for one in found
                                                                  if one != one}


@each("typed", [[Decimal("1.299"), Decimal("2.500"), Decimal("7")], [1.299, 2.5, np.int16(7)]])
@each("texts", [[], ["1,5", "2,25", "3,75"], ["$1.50", "$3.25", "$4.75"]])
def test_numbers_beside_text_say_nothing_of_how_text_is_written(typed, texts):
    """And text nothing of them: Decimals of three digits were taken for thousands."""
    values = typed * 5 + texts * 5
    expected = [1.299, 2.5, 7.0] * 5 + [float(text.strip("$").replace(",", ".")) for text in texts
                                        ] * 5
    schema = Schema.learn({"a": values})
    assert schema.columns[0].kind == "number" and not schema.notes
    assert schema.apply({"a": values}).numbers.ravel().tolist() == expected
    target, notes = learn_target(values)
    assert target.tolist() == expected and not notes
    some = as_table({"a": values}).rows(np.arange(1, len(values)))
    assert schema.apply(some).numbers.ravel().tolist() == expected[1:]
    assert Schema.learn(some).columns == schema.columns


def test_frames_of_decimals():
    values = [Decimal("1.299"), Decimal("2.500"), Decimal("7.000"), None] * 5
    schema = Schema.learn({"a": GERMAN})
    expected = schema.apply({"a": [None if value is None else float(value) for value in values]})
    pl = pytest.importorskip("polars")
    for door in (pa.table({"a": pa.array(values, pa.decimal128(10, 3))}),
                 pl.DataFrame({"a": pl.Series(values, dtype=pl.Decimal(10, 3))}),
                 pd.DataFrame({"a": values}), pd.DataFrame({"a": pd.Series(values, dtype=object)}),
                 pd.DataFrame({"a": pd.Series(values).astype("category")})):
        assert schema.apply(door).numbers.tobytes() == expected.numbers.tobytes()


def test_categories_are_the_same_as_numbers_and_as_text():
    schema = Schema.learn({"a": ["1", "2", "x", "1.5"] * 9})
    assert schema.columns[0].kind == "category"
    expected = schema.apply({"a": ["1", "2", "x", "1.5"]}).codes.tolist()
    for door in ([1, 2, "x", 1.5], [1.0, "2", "x", Decimal("1.5")], ["1", np.int8(2), "x", "1.5"]):
        assert schema.apply({"a": door}).codes.tolist() == expected
    mixed = Schema.learn({"a": [1, "1", "x", 2.0, "2", Decimal(2)] * 9})
    assert mixed.columns[0].categories == ("1", "2", "x")


@each("kind", ["StringDType", "missing", "array"])
def test_texts_of_any_length_of_numpy(kind):
    if not hasattr(np.dtypes, "StringDType"):
        pytest.skip("NumPy is older")
    texts = ["u", "v", None if kind == "missing" else "w"] * 4
    dtype = np.dtypes.StringDType(**({"na_object": None} if kind == "missing" else {}))
    schema = Schema.learn({"a": texts, "b": ["1.5", "2.5", "3"] * 4})
    new = {"a": np.array(texts, dtype), "b": np.array(["1.5", "2.5", "3"] * 4, dtype)}
    if kind == "array":
        schema = Schema.learn(np.array([texts, ["1.5", "2.5", "3"] * 4], object).T)
        new = np.array([texts, ["1.5", "2.5", "3"] * 4], dtype).T
    found = schema.apply(new)
    assert found.codes.ravel().tolist() == [0, 1, 3 if kind == "missing" else 2] * 4
    assert found.numbers.ravel().tolist() == [1.5, 2.5, 3] * 4


@each("kind", ["fixed", "view", "large", "run ends", "run ends in chunks"])
def test_bytes_and_runs_of_arrow(kind):
    pa = pytest.importorskip("pyarrow")
    texts = ["u", "u", "v", "w"] * 3
    if kind.startswith("run"):
        column = pa.RunEndEncodedArray.from_arrays(
            pa.array([2, 3, 4, 6, 7, 8, 10, 11, 12], pa.int32()), pa.array(["u", "v", "w"] * 3))
        if kind == "run ends in chunks":
            column = pa.chunked_array([column.slice(0, 5), column.slice(5)])
    else:
        make = {"fixed": lambda: pa.binary(1), "view": pa.binary_view, "large": pa.large_binary}
        column = pa.array([text.encode() for text in texts], make[kind]())
    schema = Schema.learn({"a": texts})
    assert schema.apply(pa.table({"a": column})).codes.ravel().tolist() == [0, 0, 1, 2] * 3
    assert Schema.learn(pa.table({"a": column})).settings() == schema.settings()


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_matrices_of_numpy():
    """A column of one is a matrix again."""
    array = np.c_[VALUES, VALUES * 2]
    schema = Schema.learn(array)
    found = schema.apply(np.asmatrix(array))
    assert found.numbers.tobytes() == schema.apply(array).numbers.tobytes()


DAYS_OF = pd.date_range("2024-01-01", periods=N, freq="7h", tz="Europe/Berlin")
ARRAYS = {
    "numbers that are categories": pd.Categorical([1, 2, 3] * (N // 3)),
    "an index of them": pd.CategoricalIndex([1, 2, 3] * (N // 3)),
    "texts": pd.Categorical(["a", "b", None] * (N // 3), categories=["z", "b", "a"]),
    "moments": DAYS_OF, "an array of moments": DAYS_OF.array,
    "whole numbers": pd.array([1, 2, None] * (N // 3), dtype="Int64"),
    "sparse": pd.arrays.SparseArray([0, 0, 1] * (N // 3)),
    "Arrow": pd.array([True, False, None] * (N // 3), dtype="bool[pyarrow]"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_of_pandas_in_a_dict_are_what_they_are_in_a_frame(name):
    """Of a Categorical of numbers, which has no accessor, a dict of columns made numbers."""
    given = {"c": ARRAYS[name], "x": VALUES}
    alone, framed = Schema.learn(given), Schema.learn(pd.DataFrame(given))
    assert alone.columns == framed.columns
    one, other = alone.apply(given), framed.apply(pd.DataFrame(given))
    assert one.numbers.tobytes() == other.numbers.tobytes()
    assert one.codes.tobytes() == other.codes.tobytes()


def test_sparse_columns():
    """One whose place is not there was gone through value by value up to there."""
    sparse = pytest.importorskip("scipy.sparse")
    dense = np.arange(6.) % 2
    columns = {"matrix": sparse.csr_matrix(dense.reshape(-1, 1))}
    try:
        columns |= {"csr": sparse.csr_array(dense), "coo": sparse.coo_array(dense)}
    except ValueError:  # older SciPy
        pass
    for name in columns:
        assert as_table(columns).column(name).array.tolist() == dense.tolist()
    with pytest.raises(TableError, match=r"column 'a' has shape \(6, 2\)"):
        as_table({"a": sparse.csr_matrix(np.ones((6, 2)))})
    for name, y in columns.items():
        (y.coords[0] if name == "coo" else y.indices)[0] = 10**9
        with pytest.raises(TableError, match="column 'a'.*must hold values in 0"):
            as_table({"a": y})


def test_an_index_of_several_levels_is_named():
    index = pd.MultiIndex.from_product([[1, 2], range(N // 2)])
    with pytest.raises(TableError, match="column 'c' holds lists or other containers"):
        Schema.learn({"c": index, "x": VALUES})
