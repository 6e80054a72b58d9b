"""Rows as JSON has them: dicts, one for each row; and rows that have no names."""

import numpy as np
import pytest
from each import each

from fastnn.tables import Schema, TableError, as_cells


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
