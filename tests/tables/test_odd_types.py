"""Types of values that are no numbers and have one text each, which files have in their place."""

import ipaddress
import uuid

import numpy as np
import pytest
from each import each

from fastnn.tables import Schema, TableError, as_table, read

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
