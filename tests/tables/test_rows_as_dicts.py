"""Rows as JSON has them: dicts, one for each row; and rows that have no names."""

import sqlite3
from collections import UserDict
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pytest
from each import each

from fastnn.core import words
from fastnn.tables import Schema, TableError, as_cells, as_table


def test_rows_that_lack_a_column():
    """The same answer for a row alone and among others; in training it is a missing value."""
    whole, part = {"a": 1.5, "b": "x"}, {"b": "y"}
    schema = Schema.learn([whole, part, {"a": 2.5, "b": "x"}])
    for rows in ([whole, part], [part | {"c": 3}, whole]):
        with pytest.raises(TableError, match="row [01] has no column 'a'; where a value is missing "
                                             "give None"):
            schema.apply(rows)
    with pytest.raises(TableError, match="the table has no column 'a'"):
        schema.apply([part])
    assert np.isnan(schema.apply([whole, part | {"a": None}]).numbers[1, 0])
    assert schema.apply([whole, whole | {"more": 1}]).notes == []


def test_no_rows_and_no_names():
    schema = Schema.learn({"a": [1.5, 2.5], "b": ["x", "y"]})
    assert schema.apply([]).numbers.shape == (0, 1)
    for rows in (np.ones((2, 2)), [[1, 2]]):
        with pytest.raises(TableError, match="has no names of columns.* with 'a', 'b'"):
            schema.apply(rows)


def test_bytes_are_text():
    assert as_cells([b"a", b"b"]).kind == "text"


@each("frame", [[{}], [{}, {}], {"a": [], }, {}])
def test_tables_without_a_column_of_the_model(frame):
    """A row without anything was an IndexError."""
    schema = Schema.learn({"b": [0.5, 1.5, 2.0]})
    if frame == {}:
        assert len(schema.apply(frame).numbers) == 0
        return
    with pytest.raises(TableError, match="the table has no column 'b'"):
        schema.apply(frame)


@each("values", [{0: 5.0, 1: 6.0}, {5.0, 6.0}, frozenset([5.0, 6.0]), {5.0: 1, 6.0: 2}.keys()])
def test_columns_that_are_no_lists(values):
    """``frame.to_dict()`` is a dict of dicts: the numbers of its rows were taken for values."""
    with pytest.raises(TableError, match=r"column 'b' is of type .*, must be a list .*'records'"):
        Schema.learn({"b": [0.5, 1.5, 2.0]}).apply({"b": values})
    assert Schema.learn({"b": [0.5, 2.0]}).apply({"b": {5: 1.5}.values()}).numbers == 1.5


class Row(NamedTuple):
    """A row that knows its names, in another order than the model has them."""

    b: str
    a: float


def sqlite_rows(values):
    base = sqlite3.connect(":memory:")
    base.row_factory = sqlite3.Row
    base.execute("create table t (b text, a real)")
    base.executemany("insert into t values (?, ?)", [(b, a) for a, b in values])
    return base.execute("select * from t").fetchall()


VALUES = [(1.5, "x"), (2.5, "y"), (0.5, "x"), (0.1, "z")]
ROWS = {
    "UserDict": lambda: [UserDict(b=b, a=a) for a, b in VALUES],
    "mappings": lambda: [MappingProxyType({"b": b, "a": a}) for a, b in VALUES],
    "named tuples": lambda: [Row(b, a) for a, b in VALUES],
    "sqlite3": lambda: sqlite_rows(VALUES),
    "a UserDict of columns": lambda: UserDict(b=[b for _, b in VALUES], a=[a for a, _ in VALUES]),
    "a structured array": lambda: np.array([(b, a) for a, b in VALUES], [("b", "U1"), ("a", "f8")]),
    "a column of one": lambda: np.array([[(b, a)] for a, b in VALUES], [("b", "S1"), ("a", ">f8")]),
    "series of pandas": lambda: [row for _, row in pytest.importorskip("pandas").DataFrame(
        {"b": [b for _, b in VALUES], "a": [a for a, _ in VALUES]}).iterrows()],
}


@each("name", ROWS)
def test_rows_that_know_their_names(name):
    """Of a list of `UserDict` the names were taken for values, or its values by their places."""
    rows = [{"a": a, "b": b} for a, b in VALUES]
    schema = Schema.learn(rows * 3)
    right, found = schema.apply(rows), schema.apply(ROWS[name]())
    assert found.numbers.tobytes() == right.numbers.tobytes()
    assert found.codes.tobytes() == right.codes.tobytes() and not found.notes


def test_estimators_take_rows_that_know_their_names():
    estimators = pytest.importorskip("fastnn.estimators.tabular")
    model = estimators.TabularRegressor()
    rows = [{"a": a, "b": b} for a, b in VALUES]
    model._table(rows, reset=True)
    schema = Schema.learn(rows * 3)
    for make in ROWS.values():
        table = model._table(make(), reset=False)
        assert schema.apply(table).numbers[:, 0].tolist() == [a for a, _ in VALUES]
    with pytest.raises(TypeError, match=r"generator, which can be read once: give list\(X\)"):
        model._table(iter(row for row in rows), reset=False)


def test_rows_with_two_values_of_one_name():
    pd = pytest.importorskip("pandas")
    with pytest.raises(TableError, match="row 0 has two values of one name"):
        as_table([pd.Series([1.5, 2.5], ["a", "a"])])
    with pytest.raises(TableError, match="row 1 is of type int, must be a dict"):
        as_table([{"a": 1.5}, 3])
    with pytest.raises(TableError, match=r"shape \(2, 2\), must be \(n_samples,\)"):
        as_table(np.zeros((2, 2), [("a", "f8")]))


class Counted(dict):
    """A row that counts how often a value is taken out of it."""

    taken = 0

    def get(self, key, default=None):
        Counted.taken += 1
        return super().get(key, default)


def test_columns_that_nobody_uses_are_not_made():
    """Rows that each have other names, as a hostile request may, were 45 s and 2.6 GB for 1 MB."""
    schema = Schema.learn({"a": [0.5, 1.5, 2.0], "b": ["x", "y", "x"]})
    rows = [Counted(a=1.0, b="x", **{f"{i} {j}": 0 for j in range(5)}) for i in range(500)]
    Counted.taken = 0
    assert schema.apply(rows).numbers.shape == (500, 1)
    assert Counted.taken == 2 * 500
    rows[7].pop("a")
    with pytest.raises(TableError, match="row 7 has no column 'a'"):
        schema.apply(rows)
    table = as_table(rows)
    assert table.rows(slice(6, 8)).raw("7 0") == [None, 0]
    assert table.select(["b"]).column("b").kind == "text"


def test_a_name_is_compared_with_some_of_many(monkeypatch):
    """70,000 names of a hostile request took 1.7 s."""
    compared = []
    monkeypatch.setattr(words, "did_you_mean", lambda name, known: compared.append(len(known)))
    schema = Schema.learn({name: [0.5, 1.5, 2.0] for name in "abcd"})
    with pytest.raises(TableError, match="the table has no columns 'a', 'b', 'c', 'd'; there are"):
        schema.apply([{f"k{i}": 1 for i in range(20_000)}])
    assert 0 < sum(compared) <= 10_000


def test_a_row_tells_what_may_mean_a_thousand_times_as_much():
    """A single row went the short way, which says nothing."""
    schema = Schema.learn({"a": list(range(1, 60)), "b": [0.5 * i for i in range(59)]})
    for text, told in (("1.299", 1), ("12.5", 0), ("7", 0)):
        row = {"a": text, "b": 1.5}
        alone, several = schema.apply_row(row), schema.apply([row])
        assert len(alone.notes) == told and alone.notes == several.notes
        assert alone.numbers.tobytes() == several.numbers.tobytes()
    assert not schema.apply_row({"a": "2", "b": "1.299"}).notes
