"""`Schema`: what the columns of a table mean, learned once; `Inputs`: what it makes of a table."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.imports import imported
from fastnn.core.notices import shorten
from fastnn.tables.cells import words_of
from fastnn.tables.columns import KINDS, PARTS, Column, count_kinds, none_understood
from fastnn.tables.errors import TableError, check_names, listed, shown_value
from fastnn.tables.frames import as_table
from fastnn.tables.learning import MAX_TEXT, Notes, Options, learn_column
from fastnn.tables.numerals import NumberFormat

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from fastnn.core.types import Array

__all__ = ["ROW", "Inputs", "Schema", "categorical_names", "check_learnable", "check_rows",
           "summed"]

INFINITIES = ("refuse", "missing", "keep")
LIMITS = {"columns": 1 << 16, "categories": 1 << 20, "missing_words": 1 << 12, "na": 1 << 10}
ROW = re.compile(r"\{row:(\d+)\}")


class Inputs:
    """Rows as a model takes them.

    Parameters
    ----------
    numbers : float64 array (n, p)
        Numbers, booleans as 0 and 1, dates as days since 1970 and their parts; NaN: missing.
    codes : int32 array (n, q)
        Categories: 0 to k - 1 those of training, k one that training did not have, k + 1 missing.
    notes : sequence of str, default=()
        What was not understood, a sentence each.
    """

    __slots__ = ("codes", "notes", "numbers")

    def __init__(self, numbers: Array, codes: Array, notes: Sequence[str] = ()) -> None:
        self.numbers, self.codes, self.notes = numbers, codes, list(notes)

    def __len__(self):
        return len(self.numbers)

    def __getitem__(self, rows):
        return Inputs(self.numbers[rows], self.codes[rows], self.notes)

    def __repr__(self):
        return (f"<Inputs of {len(self):,} rows, {self.numbers.shape[1]} numbers, "
                f"{self.codes.shape[1]} categories>")


class Schema:
    """What the columns of a table mean.

    Made by `learn` from the table for training, or by `from_settings`; `apply` takes any table with
    the same columns, by name.

    Parameters
    ----------
    columns : sequence of Column
        Those that are used.
    na : sequence of str, default=()
        Words that mean "missing" in all columns, besides the usual ones.
    infinities : {"refuse", "missing", "keep"}, default="refuse"
        What becomes of infinite numbers.
    notes : sequence of str, default=()
        What `learn` left out or took for something else, and why; a sentence each.
    """

    def __init__(self, columns: Iterable[Column], *, na: Sequence[str] = (),
                 infinities: str = "refuse", notes: Sequence[str] = ()) -> None:
        self.columns = tuple(columns)
        self.na = tuple(na)
        self.infinities = infinities
        self.notes = list(notes)
        self._row: Any = None

    def __repr__(self):
        return (f"<Schema of {len(self.columns)} columns: {len(self.number_names)} numbers, "
                f"{len(self.category_names)} categories>")

    def __getstate__(self):
        return {**self.__dict__, "_row": None}

    @property
    def number_names(self) -> tuple[str, ...]:
        """Names of the columns of `Inputs.numbers`."""
        return tuple(name for column in self.columns for name in column.number_names)

    @property
    def category_names(self) -> tuple[str, ...]:
        """Names of the columns of `Inputs.codes`."""
        return tuple(column.name for column in self.columns if column.kind == "category")

    @property
    def category_sizes(self) -> tuple[int, ...]:
        """How many categories training had, k of each column of `Inputs.codes`."""
        return tuple(len(column.categories) for column in self.columns
                     if column.kind == "category")

    def count(self) -> dict[str, int]:
        """Return the number of columns of each kind that occurs.

        Returns
        -------
        dict of str to int
            None for kinds that do not occur.
        """
        return count_kinds(self.columns)

    # ---- learning ----

    @classmethod
    def learn(cls, table: Any, *, categorical_features: Any = "auto",
              na: Sequence[str] | None = None, infinities: str = "refuse",
              max_categories: int = 1 << 16) -> Schema:
        """Learn what the columns of a table are.

        Left out, with a note: columns without a value or with one only, text of which most rows
        have one of their own, and an index without a name.

        Parameters
        ----------
        table : Table or frame
            See `as_table`.
        categorical_features : "auto" or sequence of str or int, default="auto"
            Names or places of columns whose values are categories, whatever they look like. "auto":
            text that is neither numbers, dates, nor true and false, and what a frame calls so.
        na : sequence of str or None, default=None
            Words that mean "missing", besides the usual ones. None: those of the table.
        infinities : "refuse", "missing" or "keep", default="refuse"
            What to do with infinite values, here and in `apply`.
        max_categories : int, default=65536
            Of a column with more, the most frequent ones are told apart.

        Raises
        ------
        TableError
            When the table has no rows, a column holds what cannot become numbers, or no column is
            left.
        """
        table = as_table(table)
        if infinities not in INFINITIES:
            raise ValueError(f"infinities={infinities!r} must be one of {', '.join(INFINITIES)}")
        if not 1 <= max_categories <= LIMITS["categories"]:
            raise ValueError(f"max_categories={max_categories} must be >= 1 and <= "
                             f"{LIMITS['categories']}")
        check_learnable(table)
        table.uneven = False  # what a row of training does not have is missing
        na = words_of("na", table.na if na is None else na)
        if len(na) > LIMITS["na"] or max(map(len, na), default=0) > MAX_TEXT:
            raise TableError(f"na has {len(na):,} words of up to {max(map(len, na)):,} characters: "
                             f"a model file has room for {LIMITS['na']:,} of {MAX_TEXT:,}")
        options = Options(categorical_names(categorical_features, table), na, infinities,
                          max_categories)
        notes, columns = Notes(), []
        for name in table.names:
            found = learn_column(table, name, options, notes)
            if found is not None:
                columns.append(found)
        if len(columns) > LIMITS["columns"]:
            raise TableError(f"the table has {len(columns):,} columns to learn from, at most "
                             f"{LIMITS['columns']:,} can be saved in a file: leave some out")
        if not columns:
            raise TableError("no column is left to learn from: "
                             + shorten("; ".join(notes.lines()), 800))
        return cls(columns, na=na, infinities=infinities, notes=notes.lines())

    # ---- use ----

    def apply(self, table: Any, strict: bool = False) -> Inputs:
        """Return the `Inputs` of a table.

        Columns are taken by name, others ignored.

        Parameters
        ----------
        table : Table or frame
            See `as_table`.
        strict : bool, default=False
            Whether to refuse values that are not understood and categories that training did not
            have, which otherwise count as missing and as unknown, with a note.

        Returns
        -------
        Inputs
            One row for each row of the table.

        Raises
        ------
        TableError
            When a column is missing, a value is infinite and must not be, no value of a column with
            some is understood, or, where strict, a value is not: names column, row and value.
        """
        table = as_table(table)
        if not table.names and not len(table):
            table = as_table({column.name: () for column in self.columns})
        self._check_names(table)
        n, na = len(table), tuple(dict.fromkeys((*self.na, *table.na)))
        numbers = np.empty((n, len(self.number_names)))
        codes = np.empty((n, len(self.category_names)), dtype=np.int32)
        place = code = 0
        problems, refused = [], set()
        for column in self.columns:
            cells = table.column(column.name)
            if column.kind == "category":
                codes[:, code], found = column.codes(cells, na)
                code += 1
            else:
                values, found = column.numbers(cells, na)
                self._check_infinite(column, values, table)
                if none_understood(values, found):
                    refused.add(column.name)
                for one in column.with_parts(values):
                    numbers[:, place] = one
                    place += 1
            problems += found
        texts = [ROW.sub(lambda match: str(table.row_label(int(match[1]))), problem.text)
                 for problem in problems]
        for problem, text in zip(problems, texts, strict=True):
            if problem.count and (strict or problem.column in refused):
                raise TableError(text.replace(", counted as missing", ""), problem.column)
        return Inputs(numbers, codes, summed(problems, texts))

    def _check_names(self, table):
        names = [column.name for column in self.columns]
        if table.names[:1] == ("x0",) and not any(name in table for name in names):
            raise TableError("an array, or a list of lists, has no names of columns: give a frame, "
                             f"a dict of columns or a list of dicts, with {listed(names, 10)}",
                             names[0])
        check_names(names, table)
        check_rows(table, names)

    def _check_infinite(self, column, values, table):
        if self.infinities == "keep" or column.kind != "number":
            return
        infinite = np.isinf(values)
        if not infinite.any():
            return
        if self.infinities == "missing":
            values[infinite] = np.nan
            return
        row = int(infinite.argmax())
        more = int(infinite.sum()) - 1
        raise TableError(f"column {column.name!r}, row {table.row_label(row)}: {values[row]} is "
                         "not a finite number"
                         + (f" (and {more} more row{'s' * (more > 1)})" if more else ""),
                         column.name)

    def apply_row(self, row: Mapping[str, Any], strict: bool = False) -> Inputs:
        """Return the `Inputs` of a single row, fast.

        Parameters
        ----------
        row : dict
            Values by the names of the columns; others are ignored.
        strict : bool, default=False
            As of `apply`.

        Returns
        -------
        Inputs
            Of one row.

        Raises
        ------
        TableError
            As `apply` does.
        """
        if self._row is None:
            from fastnn.tables.rows import RowReader

            self._row = RowReader(self)
        found = self._row(row)
        if found is None:  # something that is seldom: as a table, which says what it is
            return self.apply([row], strict)
        return Inputs(*found)

    # ---- settings ----

    def settings(self) -> dict[str, Any]:
        """Return everything `apply` needs as plain values; `from_settings` takes it.

        Returns
        -------
        dict
            Plain values.
        """
        return {"columns": [_plain(column) for column in self.columns], "na": list(self.na),
                "infinities": self.infinities}

    @classmethod
    def from_settings(cls, settings: Any) -> Schema:
        """Return the schema whose `settings` these are.

        Parameters
        ----------
        settings : dict
            What `settings` returned.

        Raises
        ------
        ValueError
            When they are no such settings.
        """
        _check(isinstance(settings, dict)
               and settings.keys() == {"columns", "na", "infinities"},
               "must hold columns, na and infinities")
        columns = settings["columns"]
        _check(isinstance(columns, list) and 1 <= len(columns) <= LIMITS["columns"],
               f"columns must be a list of 1 to {LIMITS['columns']}")
        _check(settings["infinities"] in INFINITIES, "infinities must be one of "
               + ", ".join(INFINITIES))
        found = cls([_column_from(plain) for plain in columns], na=_strings(settings, "na"),
                    infinities=settings["infinities"])
        names = [column.name for column in found.columns]
        _check(len(set(names)) == len(names), "columns must have different names")
        return found


def check_learnable(table):
    """Raise where there is nothing to learn from, or a name that no file could hold."""
    if len(table) == 0:
        raise TableError("the table has no rows")
    if not table.names:
        raise TableError("the table has no columns")
    long = next((name for name in table.names if len(name) > MAX_TEXT), None)
    if long is not None:
        raise TableError(f"the table has a column with a name of {len(long):,} characters "
                         f"({shown_value(long)}), must be at most {MAX_TEXT}")


def categorical_names(given, table):
    """Return the names of the columns that ``categorical_features`` means, see `Schema.learn`."""
    if isinstance(given, str):
        if given == "auto":
            return frozenset()
        raise ValueError(f"categorical_features={given!r} must be 'auto' or a list of columns")
    if given is None:
        return frozenset()
    given = list(given)
    if given and all(isinstance(one, (bool, np.bool_)) for one in given):
        if len(given) != len(table.names):
            raise ValueError(f"categorical_features has {len(given)} entries, the table "
                             f"{len(table.names)} columns")
        return frozenset(name for name, one in zip(table.names, given, strict=True) if one)
    found = set()
    for one in given:
        if isinstance(one, (int, np.integer)):
            if not -len(table.names) <= one < len(table.names):
                raise ValueError(f"categorical_features names column {one}, the table has "
                                 f"{len(table.names)}")
            found.add(table.names[one])
        else:
            if str(one) not in table:
                near = imported("fastnn.core.words").near(str(one), table.names)
                raise ValueError(f"categorical_features names {one!r}, which the table does not "
                                 f"have{near}")
            found.add(str(one))
    return frozenset(found)


def check_rows(table, names):
    """Refuse a row, given as a dict, that lacks one of the columns."""
    for name in names if table.uneven else ():
        row = table.lacking(name)
        if row is not None:
            raise TableError(f"row {row} has no column {name!r}; where a value is missing give "
                             "None", name)


def summed(problems, texts):
    """Return the remarks; many columns with unknown categories become one."""
    unknown = [problem for problem in problems if problem.unknown]
    if len(unknown) <= 3:
        return texts
    rest = [text for problem, text in zip(problems, texts, strict=True) if not problem.unknown]
    first = next(text for problem, text in zip(problems, texts, strict=True) if problem.unknown)
    n = sum(problem.count for problem in unknown)
    return [*rest, f"{n:,} values of categories that training did not have, in {len(unknown)} "
            f"columns; the first: {first}"]


# ---- settings ----

OPTIONAL = {"number": {"decimal", "thousands", "unit", "whole", "missing_words"}, "boolean": set(),
            "date": {"day_first", "knows_order", "parts", "missing_words"},
            "category": {"categories"}}


def _plain(column):
    plain = {"name": column.name, "kind": column.kind}
    if column.kind == "number":
        form = column.form
        plain |= {key: value for key, value, usual in (
            ("decimal", form.decimal, "."), ("thousands", form.thousands, ""),
            ("unit", form.unit, ""), ("whole", column.whole, False)) if value != usual}
    elif column.kind == "date":
        plain["day_first"] = column.day_first
        if not column.knows_order:
            plain["knows_order"] = False
        plain["parts"] = list(column.parts)
    elif column.kind == "category":
        plain["categories"] = list(column.categories)
    if column.missing_words:
        plain["missing_words"] = list(column.missing_words)
    return plain


def _check(valid, rule, *values):
    if not valid:
        raise ValueError(f"settings of a schema {rule.format(*values)}")


def _strings(plain, key):
    values = plain.get(key, [])
    _check(isinstance(values, list) and len(values) <= LIMITS.get(key, 16)
           and all(isinstance(value, str) and len(value) <= MAX_TEXT for value in values),
           ": {} must be a list of at most {} strings", key, LIMITS.get(key, 16))
    _check(len(set(values)) == len(values), ": {} must differ", key)
    return tuple(values)


def _column_from(plain):
    _check(isinstance(plain, dict) and isinstance(plain.get("name"), str)
           and plain.get("kind") in KINDS and 0 < len(plain["name"]) <= MAX_TEXT,
           ": each column must have a name and a known kind")
    kind = plain["kind"]
    _check(plain.keys() - {"name", "kind"} <= OPTIONAL[kind],
           ": a column must have the settings of its kind, no others")
    values = {"name": plain["name"], "kind": kind}
    if kind == "number":
        marks = [plain.get(key, usual) for key, usual in (("decimal", "."), ("thousands", ""),
                                                          ("unit", ""))]
        _check(all(isinstance(mark, str) for mark in marks), ": marks of numbers must be strings")
        values["form"] = NumberFormat(*marks)
        values["whole"] = plain.get("whole", False)
        _check(isinstance(values["whole"], bool), ": whole must be a boolean")
    elif kind == "date":
        values["day_first"] = plain.get("day_first", True)
        values["knows_order"] = plain.get("knows_order", True)
        _check(isinstance(values["day_first"], bool) and isinstance(values["knows_order"], bool),
               ": day_first and knows_order must be booleans")
        values["parts"] = _strings(plain, "parts")
        _check(set(values["parts"]) <= set(PARTS), ": parts must be some of {}", PARTS)
    elif kind == "category":
        values["categories"] = _strings(plain, "categories")
        _check(len(values["categories"]) >= 1, ": a column has no categories")
    if "missing_words" in plain:
        values["missing_words"] = _strings(plain, "missing_words")
    return Column(**values)


