"""`TableEncoder`: a data frame to the inputs of a network, the same way in training and serving.

=========  ==========================================  ========================================
kind       columns                                     inputs
=========  ==========================================  ========================================
number     numbers, also with some words for           itself; where missing, the median of
           "missing" such as ``?``                     training
boolean    true and false                              0 or 1; where missing, the commoner one
date       dates, or text such as 2024-12-31           days since 1970; where missing, the median
category   any other text                              one input per category, 1 where it holds;
                                                       missing is one more, if training had it
=========  ==========================================  ========================================

What the values of a column mean is learned and read as `Schema` does it, so that files and frames
of any library give the same.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.notices import suggests, warn
from fastnn.prediction.scaler import Scaler
from fastnn.tables import columns as columns_
from fastnn.tables.columns import KINDS, count_kinds
from fastnn.tables.errors import TableError, TableWarning, check_names
from fastnn.tables.frames import as_table
from fastnn.tables.learning import MAX_TEXT, Notes, Options, learn_column
from fastnn.tables.numerals import NumberFormat
from fastnn.tables.schema import ROW, check_learnable, check_rows, summed

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from fastnn.core.types import Array, DType

__all__ = ["Column", "TableEncoder", "TableError"]

MAX_CATEGORIES = 100      # inputs of a column, unless another limit is asked for
MAX_NAMES = 1 << 22       # characters of the names of all inputs: a bound on time and memory
LIMITS = {"columns": 1 << 16, "categories": 1 << 12, "missing_words": 1 << 10, "targets": 1 << 12}
CATEGORY_KEYS = {"name", "kind", "categories", "missing_category"}
OTHER_KEYS = {"name", "kind", "fill"}
FORMATS = {"number": {"decimal", "thousands", "unit", "missing_words"},
           "boolean": {"missing_words"}, "date": {"day_first", "knows_order", "missing_words"},
           "category": {"missing_words"}}


@dataclass(frozen=True)
class Column(columns_.Column):
    """What is known of one column of the table."""

    fill: float = 0.0                      # replaces a missing value; not used by categories
    missing_category: bool = False

    @property
    def feature_names(self):
        """Names of the inputs."""
        if self.kind != "category":
            return [self.name]
        missing = [f"{self.name} is missing"] if self.missing_category else []
        return [f"{self.name}={category}" for category in self.categories] + missing

    @property
    def n_inputs(self):
        """How many there are."""
        return len(self.categories) + self.missing_category if self.kind == "category" else 1

    @property
    def n_characters(self):
        """About how many characters `feature_names` have."""
        if self.kind != "category":
            return len(self.name)
        return self.n_inputs * (len(self.name) + 10) + sum(map(len, self.categories))


@suggests
class TableEncoder:
    """Turns the columns of a data frame into the inputs of a network.

    Parameters
    ----------
    max_categories : int, default=100
        Of a column with more, the most frequent ones get an input.
    targets : sequence of str, default=()
        Names of what the network predicts, for those who write predictions.

    Attributes
    ----------
    columns : list of Column
        Those that are used.
    notes : list of str
        What `fit` left out or took for something else, and why; a sentence each.
    scaler : Scaler or None
        From `fit`: standardises numbers and dates, leaves the other inputs as they are.

    Examples
    --------
    >>> import pandas as pd
    >>> from fastnn import TableEncoder
    >>> table = TableEncoder().fit(pd.DataFrame({"size": [1.5, None, 3], "colour": list("rgr")}))
    >>> table.feature_names
    ['size', 'colour=g', 'colour=r']
    >>> table.transform(pd.DataFrame({"colour": ["r", "blue"], "size": [7, None]}))
    array([[7.  , 0.  , 1.  ],
           [2.25, 0.  , 0.  ]])
    """

    def __init__(self, max_categories: int = MAX_CATEGORIES, targets: Iterable[str] = ()) -> None:
        if not 1 <= max_categories <= LIMITS["categories"]:
            raise ValueError(f"max_categories={max_categories} must be >= 1 and <= "
                             f"{LIMITS['categories']}")
        self.max_categories = max_categories
        self.targets = tuple(map(str, targets))
        if max(map(len, self.targets), default=0) > MAX_TEXT:
            raise ValueError(f"targets must have names of at most {MAX_TEXT} characters")
        self.columns: list[Any] = []
        self.notes: list[str] = []
        self.scaler: Scaler | None = None

    def __repr__(self):
        return f"<TableEncoder of {len(self.columns)} columns, {self.n_inputs} inputs>"

    @property
    def feature_names(self) -> list[str]:
        """Names of the inputs: the column, or "column=category"."""
        return list(chain.from_iterable(column.feature_names for column in self.columns))

    @property
    def n_inputs(self) -> int:
        """How many `feature_names` there are, without making them."""
        return sum(column.n_inputs for column in self.columns)

    def count(self) -> dict[str, int]:
        """Return number of columns of each kind that occurs.

        Returns
        -------
        dict of str to int
            None for kinds that do not occur.
        """
        return count_kinds(self.columns)

    # ---- fitting ----

    def fit(self, frame: Any) -> TableEncoder:
        """Learn kinds, categories, medians and scales from the columns of a frame.

        Left out, with a note: columns with one value only, and text of which most rows have a value
        of their own.

        Parameters
        ----------
        frame : pandas.DataFrame, or what has ``to_pandas()``
            Of training.

        Returns
        -------
        TableEncoder
            Itself.

        Raises
        ------
        TableError
            When a column holds what cannot become a number, or no column is left.
        """
        table = as_table(frame)
        check_learnable(table)
        options = Options(na=table.na, max_categories=self.max_categories)
        columns: list[Any] = []
        notes, mean, scale = Notes(), [], []
        for name in table.names:
            found = _learn(table, name, options, notes)
            if found is None:
                continue
            column, values = found
            columns.append(column)
            if column.kind in ("number", "date"):
                center, spread = _moments(name, values)
                mean.append(center)
                scale.append(spread)
            else:
                mean += [0.0] * column.n_inputs
                scale += [1.0] * column.n_inputs
        notes = notes.lines()
        if not columns:
            raise TableError("no column is left to learn from: " + "; ".join(notes))
        if sum(column.n_characters for column in columns) > MAX_NAMES:
            worst = max(columns, key=lambda column: column.n_characters).name
            raise TableError(f"the names of the inputs are too long: more than {MAX_NAMES:,} "
                             f"characters in all, the most from column {worst!r}", worst)
        self.columns, self.notes, self.scaler = columns, notes, Scaler(mean, scale)
        return self

    # ---- use ----

    def transform(self, frame: Any, dtype: DType = np.float64) -> Array:
        """Return the inputs of the rows, (n_samples, len(feature_names)), row-major, not scaled.

        Columns are taken by name, others ignored. A category that training did not have gives 0 in
        all inputs of its column.

        Parameters
        ----------
        frame : pandas.DataFrame, or what has ``to_pandas()``
            With the columns of the fit, in any order.
        dtype : dtype, default=float64
            Of the result.

        Returns
        -------
        array (n_samples, len(feature_names))
            One row for each row of the data.

        Raises
        ------
        TableError
            When a column is missing, or a value does not fit: names column, row and value.
        ValueError
            Before `fit`.
        """
        return self.encode(frame, dtype)

    def inputs(self, frame: Any, dtype: DType = np.float64) -> Array:
        """Return the inputs of the rows as predictions take them, not scaled.

        As `transform` does, but that what is not understood counts as missing. A `TableWarning`
        says how many values that are, and how many are of categories that training did not have.

        Parameters
        ----------
        frame : pandas.DataFrame, or what has ``to_pandas()``
            With the columns of the fit, in any order.
        dtype : dtype, default=float64
            Of the result.

        Returns
        -------
        array (n_samples, len(feature_names))
            One row for each row of the data.

        Raises
        ------
        TableError
            When a column is missing, a value is infinite, or none of a column of ten values or more
            is understood.
        ValueError
            Before `fit`.
        """
        notes: list[str] = []
        found = self.encode(frame, dtype, notes=notes)
        for note in notes:
            warn(note, TableWarning)
        return found

    def encode(self, frame: Any, dtype: DType = np.float64, *, scaled: bool | Scaler = False,
               notes: list[str] | None = None) -> Array:
        """Return the inputs of the rows as `transform` does; scaled, and with notes, if asked for.

        Parameters
        ----------
        frame : Table or frame
            With the columns of the fit, in any order.
        dtype : dtype, default=float64
            Of the result.
        scaled : bool or Scaler, default=False
            A scaler that comes behind; True: that of `fit`. Values are rounded once, after that.
        notes : list of str or None, default=None
            Takes what was not understood, which counts as missing then, and how many categories
            are unknown; a column of ten values or more of which none is understood is an error.
            None: whatever is not understood is one.

        Returns
        -------
        array (n_samples, n_inputs)
            Row-major.
        """
        if not self.columns:
            raise ValueError("the encoder is not fitted: call fit(frame) first")
        table = as_table(frame)
        names = [column.name for column in self.columns]
        check_names(names, table)
        check_rows(table, names)
        scaler = self.scaler if scaled is True else scaled
        out = np.zeros((len(table), self.n_inputs), dtype)
        start, problems = 0, []
        for column in self.columns:
            cells = table.column(column.name)
            if column.kind == "category":
                found = _mark_categories(column, cells, table.na,
                                         out[:, start:start + column.n_inputs])
                if notes is None:
                    found = []
            else:
                values, found = column.numbers(cells, table.na)
                if notes is None or columns_.none_understood(values, found):
                    _refuse_problem(column, found, table)
                _refuse_infinite(column, values, table)
                values[np.isnan(values)] = column.fill
                if scaler:
                    one = Scaler(scaler.mean[start:start + 1], scaler.scale[start:start + 1],
                                 scaler.limits)
                    out[:, start] = one.apply(values.reshape(-1, 1), out.dtype.name)[:, 0]
                else:
                    out[:, start] = values
            problems += found
            start += column.n_inputs
        if notes is not None:
            notes += summed(problems, [ROW.sub(
                lambda match: str(table.row_label(int(match[1]))), problem.text)
                for problem in problems])
        return out

    # ---- settings ----

    def settings(self) -> dict[str, Any]:
        """Return everything `transform` needs as plain values; `from_settings` takes it.

        Returns
        -------
        dict
            Strings, numbers, lists and dicts alone.
        """
        columns = []
        for column in self.columns:
            plain = {"name": column.name, "kind": column.kind}
            if column.kind == "category":
                plain["categories"] = list(column.categories)
                plain["missing_category"] = column.missing_category
            else:
                plain["fill"] = column.fill
            if column.missing_words:
                plain["missing_words"] = list(column.missing_words)
            form = column.form
            plain |= {key: value for key, value, usual in (
                ("decimal", form.decimal, "."), ("thousands", form.thousands, ""),
                ("unit", form.unit, ""), ("day_first", column.day_first, True),
                ("knows_order", column.knows_order, True))
                if value != usual}
            columns.append(plain)
        return {"columns": columns, "targets": list(self.targets)}

    @classmethod
    def from_settings(cls, settings: Any) -> TableEncoder:
        """Return the encoder whose `settings` these are.

        Parameters
        ----------
        settings : dict
            What `settings` returned.

        Returns
        -------
        TableEncoder
            It needs no `fit`.

        Raises
        ------
        ValueError
            When they are no such settings.
        """
        _check(isinstance(settings, dict) and settings.keys() == {"columns", "targets"},
               "must hold columns and targets")
        table = cls(targets=_strings(settings, "targets"))
        columns = settings["columns"]
        _check(isinstance(columns, list) and 1 <= len(columns) <= LIMITS["columns"],
               f"columns must be a list of 1 to {LIMITS['columns']}")
        room = MAX_NAMES
        for plain in columns:
            column = _column_from(plain)
            room -= column.n_characters
            _check(room >= 0, "must have names of inputs of at most {} characters in all",
                   MAX_NAMES)
            table.columns.append(column)
        names = [column.name for column in table.columns]
        _check(len(set(names)) == len(names), "columns must have different names")
        return table


# ---- settings ----

def _check(valid, rule, *values):
    if not valid:
        raise ValueError(f"settings of a table {rule.format(*values)}")


def _strings(plain, key):
    values = plain[key]
    _check(isinstance(values, list) and len(values) <= LIMITS[key]
           and all(isinstance(value, str) for value in values),
           ": {} must be a list of at most {} strings", key, LIMITS[key])
    _check(max(map(len, values), default=0) <= MAX_TEXT,
           ": {} must have at most {} characters each", key, MAX_TEXT)
    _check(len(set(values)) == len(values), ": {} must differ", key)
    return tuple(values)


def _column_from(plain):
    _check(isinstance(plain, dict) and isinstance(plain.get("name"), str)
           and plain.get("kind") in KINDS, ": each column must have a name and a known kind")
    _check(len(plain["name"]) <= MAX_TEXT, ": names must have at most {} characters", MAX_TEXT)
    kind, values = plain["kind"], {"name": plain["name"], "kind": plain["kind"]}
    wanted = CATEGORY_KEYS if kind == "category" else OTHER_KEYS
    _check(wanted <= plain.keys() <= wanted | FORMATS[kind],
           ": a column must have the settings of its kind, no others")
    if kind == "category":
        values["categories"] = _strings(plain, "categories")
        values["missing_category"] = plain["missing_category"]
        _check(isinstance(values["missing_category"], bool), ": missing_category must be a boolean")
        _check(values["categories"] or values["missing_category"], ": a column has no categories")
    else:
        fill = plain["fill"]
        _check(isinstance(fill, (int, float)) and not isinstance(fill, bool)
               and abs(fill) <= sys.float_info.max, ": fill must be a finite number")
        values["fill"] = float(fill)
    if "missing_words" in plain:
        values["missing_words"] = _strings(plain, "missing_words")
    for key in ("day_first", "knows_order"):
        if key in plain:
            values[key] = plain[key]
            _check(values[key] is False, ": {} must be false where it is given", key)
    marks = {key: plain[key] for key in ("decimal", "thousands", "unit") if key in plain}
    _check(all(isinstance(mark, str) for mark in marks.values()), ": marks must be strings")
    if marks:
        values["form"] = NumberFormat(**marks)
        _check("" not in marks.values() and marks.get("decimal") != ".",
               ": marks are given where they are not the usual ones")
    return Column(**values)


# ---- columns of a table ----

def _learn(table, name, options, notes):
    """(Column, its values or None); None for a column to leave out, with a note why."""
    cells, found = table.column(name), learn_column(table, name, options, notes)
    if found is None:
        return None
    values = {key: getattr(found, key) for key in ("name", "kind", "form", "day_first",
                                                   "knows_order", "categories")}
    column = Column(**values, missing_words=tuple(dict.fromkeys((*found.missing_words,
                                                                 *options.na))))
    if found.kind == "category":
        codes, _ = column.codes(cells)
        return replace(column, missing_category=bool(
            (codes == len(column.categories) + 1).any())), None
    numbers, _ = column.numbers(cells)
    missing = np.isnan(numbers)
    if found.kind == "boolean" and missing.any():  # true, false and missing: three values
        there = np.unique(numbers[~missing])
        return replace(column, kind="category", missing_category=True, categories=tuple(
            "True" if value else "False" for value in there)), None
    fill = float(np.nanmedian(numbers))
    if found.kind == "boolean":
        fill = float(fill > 0.5)
    numbers[missing] = fill
    if numbers.min() == numbers.max():
        notes.add(name, "it has one value only")
        return None
    return replace(column, fill=fill), numbers


def _moments(name, values):
    with np.errstate(over="ignore", invalid="ignore"):
        mean, scale = float(values.mean()), float(values.std())
    if not (math.isfinite(mean) and math.isfinite(scale)):
        raise TableError(f"column {name!r} has values of up to {np.abs(values).max():g}: too large "
                         "to compute with", name)
    return mean, scale or 1.0


# ---- values of a column ----

def _mark_categories(column, cells, na, out):
    codes, problems = column.codes(cells, na)
    # one that is unknown has no input; neither has a missing one, if training had none
    k = len(column.categories)
    places = np.append(np.arange(k), [-1, k if column.missing_category else -1])[codes]
    rows = np.flatnonzero(places >= 0)
    out[rows, places[rows]] = 1
    return problems


def _refuse_problem(column, problems, table):
    """Raise when a value was not understood, with its place and value."""
    problem = next((problem for problem in problems if problem.count), None)
    if problem is None:
        return
    what = {"number": "a number", "boolean": "true or false",
            "date": "a date such as 2024-12-31"}[column.kind]
    more = problem.count - 1
    raise TableError(
        f"column {column.name!r}, row {table.row_label(problem.row)}: {problem.example} is not "
        f"{what}" + (f" (and {more} more row{'s' * (more > 1)})" if more else ""), column.name)


def _refuse_infinite(column, values, table):
    infinite = np.isinf(values)
    if infinite.any():
        row, more = int(infinite.argmax()), int(infinite.sum()) - 1
        raise TableError(
            f"column {column.name!r}, row {table.row_label(row)}: {values[row]} is not a finite "
            "number" + (f" (and {more} more row{'s' * (more > 1)})" if more else ""), column.name)
