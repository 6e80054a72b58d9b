"""`Preparation`: fitted transformers of scikit-learn as plain values; NumPy alone."""

import math

import numpy as np

from fastnn.core.notices import shown
from fastnn.tables.errors import TableError, check_names
from fastnn.tables.frames import as_table
from fastnn.tables.schema import check_rows

__all__ = ["Preparation"]

MOST_COLUMNS = 1 << 16
MISSING = {"missing": True}  # the category of missing values, in settings
UNKNOWN = "error", "ignore"


class Preparation:
    """Columns of a table to an array of numbers.

    Parameters
    ----------
    names : sequence of str
        Of the columns, in the order in which ``stages`` number them.
    stages : list of list of dict
        One after the other. Each block of a stage takes ``columns`` (their numbers) through its
        ``steps``; what the blocks give stands side by side.
    n_inputs : int
        Columns of the array.
    """

    takes_arrays = True  # whose columns are those of ``names``, in this order

    def __init__(self, names, stages, n_inputs):
        self.names, self.stages, self.n_inputs = tuple(names), stages, n_inputs
        for stage in stages:
            for block in stage:
                for step in block["steps"]:
                    if step["op"] not in _STEPS:
                        raise ValueError(f"unknown step {step['op']!r} of a preparation")

    @property
    def columns(self):
        """Names of the columns, a tuple."""
        return self.names

    def transform(self, frame):
        """Return the array of a table, float64 (n_rows, n_inputs).

        Raises
        ------
        TableError
            When a column is missing, or a value is none that a step takes.
        """
        table = as_table(frame)
        if isinstance(frame, np.ndarray) or (
                isinstance(frame, (list, tuple)) and frame and not isinstance(frame[0], dict)):
            if len(table.names) != len(self.names):
                raise TableError(f"X has {len(table.names)} columns, must have {len(self.names)}")
            table = as_table({name: table.raw(own) for name, own in
                              zip(self.names, table.names, strict=True)})
        check_names(self.names, table)
        check_rows(table, self.names)
        columns = [_Column(name, table.raw(name)) for name in self.names]
        for stage in self.stages:
            found = []
            for block in stage:
                some = [columns[i] for i in block["columns"]]
                for step in block["steps"]:
                    some = _STEPS[step["op"]](some, step)
                found += some
            columns = found
        if not columns:
            return np.empty((len(table), 0))
        return np.stack([column.numbers() for column in columns], axis=1)

    def settings(self):
        """Return plain values for a file."""
        return {"names": list(self.names), "stages": self.stages, "n_inputs": self.n_inputs,
                "kind": "preparation"}

    @classmethod
    def from_settings(cls, plain):
        """Return the preparation of `settings`.

        Raises
        ------
        ValueError, TypeError, KeyError
            When they are none.
        """
        if plain.keys() != {"names", "stages", "n_inputs", "kind"}:
            raise ValueError("a preparation must hold names, stages and n_inputs")
        names = plain["names"]
        if len(names) > MOST_COLUMNS or not all(isinstance(name, str) for name in names):
            raise ValueError("names must be strings")
        found = cls(names, plain["stages"], plain["n_inputs"])
        # one row of missing values shows whether columns, steps and outputs fit
        try:
            width = found.transform([dict.fromkeys(names)] if names else {}).shape[1]
        except TableError:  # a category that must not be missing
            width = found.n_inputs
        except IndexError:
            raise ValueError("a step names a column that there is not") from None
        if width != found.n_inputs:
            raise ValueError(f"a preparation makes {width} inputs, says {found.n_inputs}")
        return found


class _Column:
    """A column on its way: values as they came, None where missing, or float64, NaN there."""

    def __init__(self, name, values):
        self.name, self.values = name, values

    def __len__(self):
        return len(self.values)

    def numbers(self):
        if isinstance(self.values, np.ndarray):
            return self.values
        found = np.empty(len(self.values))
        for i, value in enumerate(self.values):
            if value is None or isinstance(value, str) and not value.strip():
                found[i] = math.nan
                continue
            try:
                found[i] = float(value)
            except (TypeError, ValueError):
                raise TableError(f"column {self.name!r}, row {i}: {shown(value)} is no number",
                                 self.name) from None
        return found

    def missing(self):
        if isinstance(self.values, np.ndarray):
            return np.isnan(self.values)
        return np.array([value is None or value != value for value in self.values], bool)

    def list(self):
        return self.values.tolist() if isinstance(self.values, np.ndarray) else list(self.values)


def _shift(columns, step):
    """x - mean, / scale."""
    return [_Column(c.name, (c.numbers() - mean) / scale)
            for c, mean, scale in zip(columns, step["mean"], step["scale"], strict=True)]


def _stretch(columns, step):
    """x scale + add, within limits."""
    found = []
    for c, scale, add in zip(columns, step["scale"], step["add"], strict=True):
        x = c.numbers() * scale + add
        found.append(_Column(c.name, x if step["limits"] is None else np.clip(x, *step["limits"])))
    return found


def _impute(columns, step):
    """Values in the place of missing ones; behind them whether they were missing, of some."""
    found = []
    for c, value in zip(columns, step["values"], strict=True):
        if isinstance(value, str):
            found.append(_Column(c.name, [value if gone else one for one, gone in
                                          zip(c.list(), c.missing().tolist(), strict=True)]))
        else:
            x = c.numbers()
            found.append(_Column(c.name, np.where(np.isnan(x), value, x)))
    marks = [columns[i].missing() if isinstance(columns[i].values, list)
             else np.isnan(columns[i].numbers()) for i in step["marks"]]
    return found + [_Column(columns[i].name, mark.astype(float))
                    for i, mark in zip(step["marks"], marks, strict=True)]


def _places(column, known):
    """Return the number of the category of each value, -1 where it is none of them."""
    numbers = all(not isinstance(value, (str, dict)) for value in known) and bool(known)
    places = {}
    for i, value in enumerate(known):
        places[None if value == MISSING else value] = i
    gone, found = column.missing(), []
    for value, missing in zip(column.list(), gone.tolist(), strict=True):
        if missing:
            found.append(places.get(None, -1))
            continue
        place = places.get(value)
        if place is None and numbers and isinstance(value, str):
            try:
                place = places.get(float(value))
            except ValueError:
                place = None
        found.append(-1 if place is None else place)
    return np.array(found, np.intp)


def _refuse_unknown(column, places, step):
    if step["unknown"] == "error" and (places < 0).any():
        row = int((places < 0).argmax())
        raise TableError(f"column {column.name!r}, row {row}: {shown(column.list()[row])} is a "
                         "category that training did not have", column.name)


def _one_hot(columns, step):
    """Return zeros and ones for each category, but for one that is dropped."""
    found = []
    for column, known, drop in zip(columns, step["categories"], step["drop"], strict=True):
        places = _places(column, known)
        _refuse_unknown(column, places, step)
        found += [_Column(column.name, (places == i).astype(float))
                  for i in range(len(known)) if i != drop]
    return found


def _ordinal(columns, step):
    """Return the number of the category, or what stands for unknown and missing ones."""
    found = []
    for column, known in zip(columns, step["categories"], strict=True):
        places = _places(column, known)
        _refuse_unknown(column, places, step)
        x = np.where(places < 0, _number(step["unknown_value"]), places.astype(float))
        if MISSING in known:
            x[places == known.index(MISSING)] = _number(step["missing_value"])
        found.append(_Column(column.name, x))
    return found


def _number(value):
    return math.nan if value is None else float(value)


_STEPS = {"shift": _shift, "stretch": _stretch, "impute": _impute, "one_hot": _one_hot,
          "ordinal": _ordinal}
