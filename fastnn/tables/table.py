"""`Table`: named columns, whatever they came in.

Columns become canonical `Cells` when they are asked for, so that a column that nobody uses is never
looked at.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from fastnn.tables.errors import TableError, shown_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

__all__ = ["Table", "named"]

INDEX = re.compile(r"__index_level_\d+__")  # of pandas, among the columns of Arrow
KEPT_CELLS = 4_000_000  # of all columns together, up to which those of a column are kept


class Part:
    """Some rows of a column."""

    def __init__(self, column, index):
        self.column, self.index = column, index

    def cells(self):
        """Return the canonical cells."""
        return self.column.cells().take(self.index)

    def raw(self):
        """Return the values as they are."""
        values = self.column.raw()
        return [values[i] for i in self.index.tolist()]


class Table:
    """Columns with names; `read` and `as_table` make them.

    Parameters
    ----------
    columns : dict of str to column
        By their names.
    n_rows : int
        How many rows there are.
    labels : sequence or None, default=None
        What messages call the rows; None: their numbers.
    notes : sequence of str, default=()
        What reading the file has met.
    na : sequence of str, default=()
        Words that the user says mean "missing".

    Attributes
    ----------
    names : tuple of str
    n_rows : int
    notes : list of str
    na : tuple of str
    """

    def __init__(self, columns: dict[str, Any], n_rows: int, *, labels: Any = None,
                 notes: Sequence[str] = (), na: Sequence[str] = ()) -> None:
        self._columns = columns
        self.names = tuple(columns)
        self.n_rows = n_rows
        self.notes = list(notes)
        self.na = tuple(na)
        self.first_line: int | None = None  # of a file of text: the one with the names
        self._labels = labels
        self._cells: dict[str, Any] = {}
        self.uneven = False  # of rows as dicts: whether some have no word of some column

    def __len__(self):
        return self.n_rows

    def __contains__(self, name):
        return name in self._columns

    def __repr__(self):
        return f"<Table of {self.n_rows:,} rows, {len(self.names)} columns>"

    def column(self, name: str) -> Any:
        """Return the `Cells` of a column.

        Parameters
        ----------
        name : str
            Of the column.

        Returns
        -------
        Cells
            Canonical.

        Raises
        ------
        TableError
            When there is no such column, or it holds what is neither text, a number, true or false,
            nor a date.
        """
        found = self._cells.get(name)
        if found is None:
            self._check(name)
            found = self._columns[name].cells()
            if self.n_rows * len(self.names) <= KEPT_CELLS:
                self._cells[name] = found
        found.na = self.na  # of now: who reads a file sets it afterwards
        return found

    def raw(self, name: str) -> Sequence[Any]:
        """Return the values of a column as they came: the text of a file unchanged.

        Parameters
        ----------
        name : str
            Of the column.

        Returns
        -------
        sequence
            One value for each row.
        """
        self._check(name)
        return self._columns[name].raw()

    def lacking(self, name: str) -> int | None:
        """Return the first row, given as a dict, that has no word of a column.

        Parameters
        ----------
        name : str
            Of the column.

        Returns
        -------
        int or None
            None where there is none.
        """
        return self._columns[name].lacking() if self.uneven else None

    def arrow(self, name: str) -> Any:
        """Return a column as pyarrow has it, None where it did not come from there.

        Parameters
        ----------
        name : str
            Of the column.

        Returns
        -------
        pyarrow.ChunkedArray or None
            As it is.
        """
        self._check(name)
        as_it_is = getattr(self._columns[name], "arrow", None)
        return None if as_it_is is None else as_it_is()

    def _check(self, name):
        if name not in self._columns:
            raise TableError(f"the table has no column {shown_value(name)}", name)

    def rows(self, index: Any) -> Table:
        """Return the table of some rows: numbers of rows, a slice or a mask.

        Parameters
        ----------
        index : int array, bool array or slice
            Which rows.

        Returns
        -------
        Table
            Of the same columns.
        """
        index = np.arange(self.n_rows)[index]
        labels = index if self._labels is None else [self.row_label(i) for i in index.tolist()]
        if self.n_rows * len(self.names) <= KEPT_CELLS:  # what is there already is not read again
            columns = {name: Part(_Kept(self, name), index) for name in self.names}
        else:
            columns = {name: Part(column, index) for name, column in self._columns.items()}
        return Table(columns, len(index), labels=labels, notes=self.notes, na=self.na)

    def select(self, names: Sequence[str]) -> Table:
        """Return the table of some columns, in the order given.

        Parameters
        ----------
        names : sequence of str
            Of the columns.

        Returns
        -------
        Table
            Of the same rows.
        """
        for name in names:
            self._check(name)
        found = Table({name: self._columns[name] for name in names}, self.n_rows,
                      labels=self._labels, notes=self.notes, na=self.na)
        found._cells = {name: self._cells[name] for name in names if name in self._cells}
        return found

    def holding(self, columns: dict[str, Any]) -> Table:
        """Return a table of other columns of the same rows.

        Parameters
        ----------
        columns : dict of str to column
            By their names.

        Returns
        -------
        Table
            Whose messages call the rows as those of this one do.
        """
        return Table(columns, self.n_rows, labels=self._labels, na=self.na)

    def drop(self, names: Iterable[str]) -> Table:
        """Return the table without some columns.

        Parameters
        ----------
        names : sequence of str
            Of the columns.

        Returns
        -------
        Table
            Of the same rows.
        """
        out = set(names)
        for name in out:
            self._check(name)
        return self.select([name for name in self.names if name not in out])

    def row_label(self, i: int) -> Any:
        """Return what messages call row ``i``.

        Parameters
        ----------
        i : int
            Number of the row.

        Returns
        -------
        object
            The number itself where rows have no labels.
        """
        if self._labels is None:
            return i
        label = self._labels[i]
        return label.item() if isinstance(label, np.generic) else label


class _Kept:
    """A column whose cells its table keeps."""

    def __init__(self, table, name):
        self.table, self.name = table, name

    def cells(self):
        """Return the canonical cells."""
        return self.table.column(self.name)

    def raw(self):
        """Return the values as they are."""
        return self.table.raw(self.name)


def named(pairs, n_rows, **settings):
    """Return a table of (name, column) pairs; refuses two columns of one name.

    A column without a name is called as in a file; so is the index of a frame of pandas, which the
    files and tables that are made of it hold, left out.
    """
    pairs = [(str(name), column) for name, column in pairs]
    pairs = [(name if name.strip() else f"Unnamed: {i}", column)
             for i, (name, column) in enumerate(pairs) if not INDEX.fullmatch(name)]
    stripped = [name.strip() for name, _ in pairs]
    if len(set(stripped)) == len(stripped):
        pairs = [(name, column) for name, (_, column) in zip(stripped, pairs, strict=True)]
    columns = dict(pairs)
    if len(columns) != len(pairs):
        double = next(name for name, count in Counter(name for name, _ in pairs).items()
                      if count > 1)
        raise TableError(f"the table has more than one column {shown_value(double)}", double)
    for name, column in pairs:
        column.name = name
    return Table(columns, n_rows, **settings)
