"""The same table by every door gives the same bytes: CSV, Parquet, pandas, polars, dicts, rows.

Random tables of typed columns are written as files in random ways, trained by one door and applied
by all of them.
"""

import datetime
import io
import unicodedata

import numpy as np
import pytest
from each import each
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastnn
from fastnn.tables import Schema, TableError, as_table, read
from fastnn.tables import cells as cells_
from fastnn.tables.arrays import doubles

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")
pytest.importorskip("pyarrow.parquet")
pa_csv = pytest.importorskip("pyarrow.csv")

WORDS = st.sampled_from(["a", "b", "Rome", "Oslo", "x y", "été", "'q'", 'say "hi"', "A,B", "u;v",
                         "1st", "yes", "no", "2 rooms", "-", "C", "#1", "naïve"])
NUMBERS = st.one_of(
    st.integers(-10**6, 10**6), st.floats(-1e6, 1e6, allow_nan=False).map(lambda v: round(v, 3)),
    st.floats(allow_nan=False, allow_infinity=False, width=32).map(float),
    st.floats(-1e15, 1e15, allow_nan=False))
MOMENTS = st.datetimes(datetime.datetime(1950, 1, 1), datetime.datetime(2060, 1, 1)).map(
    lambda moment: moment.replace(microsecond=0))
MISSING = ["", "NA", "NaN", "nan", "null", "None", "N/A", "<NA>"]


def written(value, decimal):
    """One cell of a file."""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, (int, float)):
        return repr(value).replace(".", decimal)
    return str(value)


@st.composite
def tables(draw):
    """Columns of values of one type each, some None; and how to write them."""
    n = draw(st.integers(2, 25))
    columns = {}
    for j in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(["whole", "number", "boolean", "date", "moment", "word",
                                     "class"]))
        cell = {"whole": st.integers(-10**9, 10**9), "number": NUMBERS.map(float),
                "boolean": st.booleans(), "date": MOMENTS.map(lambda moment: moment.date()),
                "moment": MOMENTS, "word": WORDS,
                "class": st.sampled_from(["p", "q", "r"])}[kind]
        gaps = draw(st.booleans())
        columns[f"{kind} {j}"] = draw(st.lists(st.none() | cell if gaps else cell, min_size=n,
                                               max_size=n))
    separator = draw(st.sampled_from([",", ";", "\t", "|"]))
    decimal = draw(st.sampled_from([".", ","])) if separator == ";" else "."
    return columns, separator, decimal, draw(st.sampled_from(MISSING)), draw(
        st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"])), draw(st.booleans())


def as_file(table, path):
    columns, separator, decimal, missing, encoding, packed = table
    file = io.StringIO()
    import csv
    writer = csv.writer(file, delimiter=separator, lineterminator="\r\n")
    writer.writerow(columns)
    for row in zip(*columns.values(), strict=True):
        writer.writerow([missing if value is None else written(value, decimal) for value in row])
    content = file.getvalue().encode(encoding)
    if packed:
        import gzip
        path, content = path.with_suffix(".csv.gz"), gzip.compress(content)
    path.write_bytes(content)
    return read(path, separator=separator, encoding=encoding, decimal=decimal)


def typed(columns):
    """A frame of pandas whose columns have types, with the least that it loses."""
    found = {}
    for name, values in columns.items():
        kind = name.split()[0]
        dtype = {"whole": "Int64", "boolean": "boolean", "number": "float64"}.get(kind)
        if kind in ("date", "moment"):
            found[name] = pd.to_datetime(pd.Series(values, dtype=object))
        else:
            found[name] = pd.Series(values, dtype=dtype or object)
    return pd.DataFrame(found)


def doors(table, folder):
    """Each door's name and what goes in."""
    columns = table[0]
    frame = typed(columns)
    yield "csv", as_file(table, folder / "t.csv")
    frame.to_parquet(folder / "t.parquet")
    yield "parquet", read(folder / "t.parquet")
    yield "pandas", frame
    yield "pandas of objects", frame.astype(object)
    yield "pandas, nullable", frame.convert_dtypes()
    yield "pandas, pyarrow", frame.convert_dtypes(dtype_backend="pyarrow")
    yield "pandas, text", pd.read_csv(io.StringIO(frame.to_csv(index=False)), dtype=str,
                                      keep_default_na=False)
    yield "polars", pl.DataFrame({name: values for name, values in columns.items()}, strict=False)
    yield "pyarrow", pa.table(columns)
    yield "pyarrow, dictionaries", pa.table({
        name: pa.array(values).dictionary_encode() if name.startswith(("word", "class"))
        else values for name, values in columns.items()})
    yield "dict", columns
    yield "list of dicts", [dict(zip(columns, row, strict=True))
                            for row in zip(*columns.values(), strict=True)]


def learned(data):
    try:
        return Schema.learn(data)
    except TableError as error:
        return str(error)


def same(a, b):
    return a.numbers.tobytes() == b.numbers.tobytes() and a.codes.tobytes() == b.codes.tobytes()


def check(table, folder):
    columns = table[0]
    entries = dict(doors(table, folder))
    schema = learned(entries["list of dicts"])
    for name, data in entries.items():
        other = learned(data)
        if isinstance(schema, str):
            assert other == schema, name
            continue
        assert not isinstance(other, str), (name, other)
        plain, before = other.settings(), schema.settings()
        for column in (*plain["columns"], *before["columns"]):  # what only text shows
            for key in ("decimal", "thousands", "day_first", "whole"):
                column.pop(key, None)
        assert plain == before, name
    if isinstance(schema, str):
        return
    trained = learned(entries["csv"])  # it has marks of its own
    expected = schema.apply(entries["dict"])
    for model in (schema, trained, Schema.from_settings(trained.settings())):
        for name, data in entries.items():
            if name == "pandas, text" and table[2] == "," and model is not schema:
                continue  # text with points, where the model has learned commas
            found = model.apply(data)
            assert same(found, expected), name
            assert not found.notes, (name, found.notes)
    for i, row in enumerate(entries["list of dicts"]):
        assert same(schema.apply_row(row), expected[i:i + 1]), row
    assert len(as_table(columns)) == len(expected)


FEW = settings(max_examples=15, deadline=None, derandomize=True,
               suppress_health_check=list(HealthCheck))
MANY = settings(max_examples=200, deadline=None, derandomize=True,
                suppress_health_check=list(HealthCheck))


@FEW
@given(tables())
def test_every_door_gives_the_same_bytes(tmp_path_factory, table):
    check(table, tmp_path_factory.mktemp("t"))


@pytest.mark.slow
@MANY
@given(tables())
def test_every_door_gives_the_same_bytes_many_tables(tmp_path_factory, table):
    check(table, tmp_path_factory.mktemp("t"))


@pytest.mark.parametrize("value", [0.1, 1e-7, 3.4e38, 16777217.0, 123456.789, -0.0, 1 / 3])
def test_numbers_of_float32_are_those_of_their_text(value):
    """A file that is written of a float32 column holds its shortest text."""
    values = np.array([value, 2, np.nan], np.float32)
    schema = Schema.learn({"a": [0.5, 1.5, None]})
    expected = schema.apply({"a": [str(values[0]), "2", None]}).numbers
    for data in ({"a": values}, pd.DataFrame({"a": values}), pl.DataFrame({"a": values}),
                 pa.table({"a": values}), pd.DataFrame({"a": pd.array(values, "Float32")}),
                 [{"a": one} for one in values]):
        assert schema.apply(data).numbers.tobytes() == expected.tobytes()


def test_float32_of_every_kind_are_their_shortest_decimals():
    rng = np.random.default_rng(0)
    near = np.concatenate([10.0 ** np.arange(-14, 17), 2.0 ** np.arange(-42, 52)]).astype("f")
    near = np.concatenate([near, np.nextafter(near, np.float32(0)),
                           np.nextafter(near, np.float32(np.inf)), -near])
    bits = rng.integers(0, 2**32, 30_000, dtype=np.uint64).astype(np.uint32).view(np.float32)
    decimals = rng.integers(-10**7, 10**7, 30_000) / 10.0 ** rng.integers(0, 9, 30_000)
    values = np.concatenate([near, bits[~np.isnan(bits)], decimals.astype("f"),
                             rng.normal(size=30_000).astype("f"), [-0.0, np.inf, np.nan]],
                            dtype="f")
    expected = values.astype(str).astype(np.float64)
    np.testing.assert_array_equal(doubles("a", values).view(np.int64), expected.view(np.int64))


SMALL = [i * 10 for i in range(100)]


@pytest.mark.parametrize("values, kind", [
    ([-2**63 if i % 10 == 0 else v for i, v in enumerate(SMALL)], "number"),
    ([-2**63 if i % 10 else v for i, v in enumerate(SMALL)], "number"),
    ([*SMALL, 2**63 - 1], "number"), ([*SMALL, 2**64 - 1, 2**53 + 1], "number"),
    ([*SMALL, 10**20], "number"), ([*SMALL, 10**30, -10**25], "number"),
    ([2**60 + i % 30 for i in range(90)], "category"),
    ([10**19 + 10**9 * (i % 30) for i in range(90)], "category"),
    ([2**62 + i % 30 if i % 3 else i % 4 for i in range(90)], "category"),
    ([-2**60 - i % 30 for i in range(90)] + [-2**63], "category")])
def test_ids_are_those_of_which_many_have_more_digits_than_numbers_keep(values, kind, tmp_path):
    """One number that is far out, or int64's mark of missing, made ids of the others in a file, and
    not in a frame."""
    frame = pd.DataFrame({"a": values, "b": np.arange(len(values)) % 7})
    frame.to_csv(tmp_path / "t.csv", index=False)
    texts = list(map(str, values))
    doors = [frame, {"a": values, "b": list(frame["b"])}, read(tmp_path / "t.csv"),
             [{"a": value, "b": i % 7} for i, value in enumerate(values)],
             pl.DataFrame({"a": texts, "b": frame["b"].to_numpy()})]
    if max(values) < 2**63 and min(values) >= -2**63:
        doors.append(pl.DataFrame({"a": values, "b": frame["b"].to_numpy()}))
        doors.append(pa.table({"a": values, "b": frame["b"].to_numpy()}))
    found = [Schema.learn(door) for door in doors]
    assert found[0].columns[0].kind == kind
    for schema in found:
        assert schema.settings() == found[0].settings()
        assert same(schema.apply(doors[2]), found[0].apply(frame))


@pytest.mark.parametrize("first", ["n.a.", ".", "1.0", "1234567890123456789.5", None])
def test_ids_behind_a_value_with_a_point(first, tmp_path):
    """The point in the first value was that of all: thirty ids became one number."""
    ids = [str(1234567890123456789 + i % 30) for i in range(90)]
    for values in (ids if first is None else [first, *ids], ids + [first] * (first is not None)):
        column = Schema.learn({"a": values}).columns[0]
        assert column.kind == "category"
        assert set(ids) <= set(column.categories)


@each("gap", [float("nan"), 1.0, np.float64("nan"), None])
def test_ids_beside_floats_of_python_keep_their_digits(gap):
    """All whole numbers became floats where one value was: thirty ids were one number."""
    ids = [1234567890123456789 + i % 30 if i % 10 else gap for i in range(90)]
    for door in ({"a": ids}, pd.DataFrame({"a": pd.Series(ids, dtype=object)}),
                 {"a": np.array(ids, dtype=object)}, [{"a": value} for value in ids]):
        schema = Schema.learn(door)
        assert schema.columns[0].kind == "category"
        assert len(set(schema.apply(door).codes[np.arange(90) % 10 > 0, 0])) == 27
    far = [2**60, *(i / 2 for i in range(90)), *range(90)]  # one that is far out makes no ids
    schema = Schema.learn({"a": far})
    assert schema.columns[0].kind == "number"
    np.testing.assert_array_equal(schema.apply({"a": far}).numbers[:, 0], np.array(far, float))


def test_whole_numbers_beside_floats_that_are_far_out(monkeypatch):
    """One infinite value, and all were written as text, one by one, to be looked at."""
    monkeypatch.setattr(cells_, "object_text", None)
    for far in (float("inf"), -float("inf"), 1e300, 2.0**53):
        values = [1, 2.5, far, 2**52]
        cells = cells_.from_objects("a", values)
        assert cells.kind == "number"
        np.testing.assert_array_equal(cells.array, np.array(values, float))


FRAMES = {"pandas": pd.read_csv, "polars": pl.read_csv, "pyarrow": pa_csv.read_csv,
          "dict": lambda path: dict(zip(("", "a"), pd.read_csv(path).to_numpy().T, strict=True))}


@each("door", list(FRAMES))
@each("name", ["", " "])
def test_an_index_without_a_name_is_none_by_any_door(door, name, tmp_path):
    """Libraries call it "", "Unnamed: 0" or nothing at all: of sorted rows it gives the target
    away."""
    path = tmp_path / "t.csv"
    rows = np.random.default_rng(0).permutation(60)
    path.write_text(f"{name},a\n" + "".join(f"{i},{i % 7 / 2}\n" for i in rows))
    schema = Schema.learn(FRAMES[door](path))
    assert [column.name for column in schema.columns] == ["a"]
    assert schema.notes == Schema.learn(read(path)).notes
    # one that is no index is a column, of the same name everywhere
    path.write_text(f"{name},a\n" + "".join(f"u{i % 3},{i % 7 / 2}\n" for i in rows))
    schema = Schema.learn(read(path))
    assert schema.category_names == ("Unnamed: 0",)
    assert schema.apply({"": ["u1"], "a": [1]}).codes.tolist() == [[1]]


def test_the_index_of_pandas_among_the_columns_of_arrow(tmp_path):
    values = np.arange(60) % 7
    frame = pd.DataFrame({"a": values / 2}, index=np.random.default_rng(0).permutation(60))
    frame.to_parquet(tmp_path / "t.parquet")
    frames = [pa.Table.from_pandas(frame), pl.read_parquet(tmp_path / "t.parquet")]
    for found in [read(tmp_path / "t.parquet"), *map(as_table, frames)]:
        assert found.names == ("a",)
    est = fastnn.TabularRegressor(preset="fast", random_state=0, n_threads=1)
    est.fit(frames[0], values)
    assert est.feature_names_in_.tolist() == ["a"]
    assert est.predict(frames[1]).tobytes() == est.predict(frame).tobytes()


def test_accents_that_are_letters_of_their_own():
    """A file of another system has e and an accent where training had one letter: the note told a
    category that looks like one of training's."""
    names = ["Orléans", "Zürich", "Rom"] * 10
    apart = [unicodedata.normalize("NFD", name) for name in names]
    for known, other in ((names, apart), (apart, names)):
        schema = Schema.learn({"city": known})
        found = schema.apply({"city": other})
        assert not found.notes
        assert found.codes.tobytes() == schema.apply({"city": known}).codes.tobytes()
        assert schema.apply_row({"city": other[0]}).codes.tolist() == [found.codes[0].tolist()]
    both = Schema.learn({"city": names + apart})  # told apart where training does
    assert both.category_sizes == (5,)
    assert both.apply({"city": names}).codes.tolist() != both.apply({"city": apart}).codes.tolist()


def test_a_reader_of_arrow_is_told_what_makes_a_table_of_it():
    """Of a list of its batches there is no table."""
    table = pa.table({"a": [0.5, 1.5, 2.5]})
    with pytest.raises(TypeError, match=r"RecordBatchReader, .* once: give X.read_all\(\)"):
        as_table(table.to_reader())
    assert len(as_table(table.to_reader().read_all())) == 3
    with pytest.raises(TypeError, match=r"once: give list\(X\), which stays"):
        as_table(iter([{"a": 0.5}]))
