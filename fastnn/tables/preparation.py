"""`Preparation`: fitted transformers of scikit-learn as plain values; NumPy alone."""

import math

import numpy as np

from fastnn.core.notices import shown
from fastnn.tables import columns as columns_
from fastnn.tables.arrays import Array, Made, Objects
from fastnn.tables.cells import INTEGER, MISSING_WORDS
from fastnn.tables.errors import TableError, check_names
from fastnn.tables.frames import as_table
from fastnn.tables.numerals import parse_numbers
from fastnn.tables.schema import check_rows

__all__ = ["MISSING", "Preparation"]

MOST_COLUMNS = 1 << 16
MOST_DIGITS = 1000  # of a whole number; for many more int() takes long
CONTAINERS = frozenset((list, tuple, dict, set, frozenset, np.ndarray))
MISSING = {"missing": True}  # the category of missing values, in settings


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

    def transform(self, frame, strict=False):
        """Return the array of a table, float64 (n_rows, n_inputs).

        Parameters
        ----------
        frame : table, data frame, dict of columns, list of dicts or array
        strict : bool, default=False
            Whether a category that training did not have is an error, whatever its encoder does.

        Raises
        ------
        TableError
            When a column is missing, or a value is none that a step takes.
        """
        columns, table = self._columns(frame, strict)
        if not columns:
            return np.empty((len(table), 0))
        return np.stack([column.numbers() for column in columns], axis=1)

    def table(self, frame, names, used, read, strict=False):
        """Return the `Table` that a model of tables takes, which knows more than numbers.

        Parameters
        ----------
        frame, strict : see `transform`
        names : sequence of str
            What the model calls the inputs.
        used : set of str
            Those of ``names`` that count; values of others may be anything.
        read : set of str
            Those that the model reads by itself, as text and dates, where no step has made numbers
            of them.
        """
        columns, table = self._columns(frame, strict)
        found = {}
        for name, column in zip(names, columns, strict=True):
            if name not in used:
                found[name] = Array(name, np.full(len(table), math.nan))
            elif name in read and not isinstance(column.values, np.ndarray):
                found[name] = (Made(name, table.column(column.name)) if column.is_given else
                               Objects(name, column.values))
            else:
                found[name] = Array(name, column.numbers())
        return table.holding(found)

    def _columns(self, frame, strict):
        """Return what the steps make of a frame, a list of `_Column`, and its `Table`."""
        table = as_table(frame)
        if isinstance(frame, np.ndarray) or (
                isinstance(frame, (list, tuple)) and frame and not isinstance(frame[0], dict)):
            if len(table.names) != len(self.names):
                raise TableError(f"X has {len(table.names)} columns, must have {len(self.names)}")
            table = as_table({name: table.raw(own) for name, own in
                              zip(self.names, table.names, strict=True)})
        check_names(self.names, table)
        check_rows(table, self.names)
        columns = [_Column(name, _single(name, table.raw(name)), table, True)
                   for name in self.names]
        for stage in self.stages:
            found = []
            for block in stage:
                steps, some = block["steps"], [columns[i] for i in block["columns"]]
                for i, step in enumerate(steps):
                    if step["op"] == "impute":
                        some = _impute(some, step, _known_after(steps, i))
                    else:
                        some = _STEPS[step["op"]](
                            some, {**step, "unknown": "strict"} if strict and step.get(
                                "unknown") == "ignore" else step)
                found += some
            columns = found
        return columns, table

    def origins(self):
        """Return the number of the column that each input is made of, a list."""
        found = list(range(len(self.names)))
        for stage in self.stages:
            made = []
            for block in stage:
                own = [found[i] for i in block["columns"]]
                for step in block["steps"]:
                    if step["op"] == "impute":
                        own += [own[i] for i in step["marks"]]
                    elif step["op"] == "one_hot":
                        widths = [len(known) - (drop is not None) for known, drop in
                                  zip(step["categories"], step["drop"], strict=True)]
                        own = [one for one, width in zip(own, widths, strict=True)
                               for _ in range(width)]
                made += own
            found = made
        return found

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
            width = len(found.origins())
            found.transform([dict.fromkeys(names)] if names else {})
        except TableError:  # a category that must not be missing
            pass
        except IndexError:
            raise ValueError("a step names a column that there is not") from None
        if width != found.n_inputs:
            raise ValueError(f"a preparation makes {width} inputs, says {found.n_inputs}")
        return found


def _single(name, values):
    """Return the values of a column; refuses lists and the like, which no step takes."""
    if CONTAINERS & set(map(type, values)):
        row = next(i for i, value in enumerate(values) if type(value) in CONTAINERS)
        raise TableError(f"column {name!r}, row {row}: {shown(values[row])} is of type "
                         f"{type(values[row]).__name__}, must be a single value", name)
    return values


class _Column:
    """A column on its way: values as they came, None where missing, or float64, NaN there.

    Text may stand for a value of another type, as that of a file does: nothing, or a word for it,
    where a value is missing, digits for a number, True and False.
    """

    def __init__(self, name, values, table=None, is_given=False):
        self.name, self.values, self.table, self.is_given = name, values, table, is_given

    def __len__(self):
        return len(self.values)

    def _is_missing(self, value):
        kind = type(value)
        if kind is float or kind is int:  # most are
            return value != value
        if isinstance(value, str):
            text = value.strip()
            return not text or text in MISSING_WORDS or text in self.table.na
        return value is None or type(value).__name__ in ("NAType", "NaTType") or value != value

    def numbers(self):
        if isinstance(self.values, np.ndarray):
            return self.values
        found, texts = np.full(len(self.values), math.nan), {}
        for i, value in enumerate(self.values):
            if self._is_missing(value):
                continue
            if isinstance(value, str):
                texts[i] = value.strip()
                continue
            try:
                found[i] = float(value)
            except (TypeError, ValueError, OverflowError):
                self._refuse(i)
        if texts:
            for i, number in zip(texts, self.read(list(texts.values())), strict=True):
                found[i] = number
                if number != number:
                    self._refuse(i)
        return found

    def read(self, texts):
        """Return texts as numbers, written as the file of the column writes them; NaN: none."""
        style = self.table.column(self.name).style
        return parse_numbers(texts, columns_.Column(self.name, "number").form_for(style))

    def _refuse(self, i):
        raise TableError(f"column {self.name!r}, row {i}: {shown(self.values[i])} is no number",
                         self.name) from None

    def missing(self, known=()):
        """Return where values are missing; a text that is one of ``known`` is not."""
        if isinstance(self.values, np.ndarray):
            return np.isnan(self.values)
        return np.array([self._is_missing(value)
                         and not (isinstance(value, str) and value in known)
                         for value in self.values], bool)

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


def _known_after(steps, i):
    """Return the categories of each column that the first encoder behind step i knows, or none."""
    for step in steps[i + 1:]:
        if "categories" in step:
            return step["categories"]
    return []


def _impute(columns, step, known):
    """Values in the place of missing ones; behind them whether they were missing, of some."""
    found, gaps = [], []
    for i, (c, value) in enumerate(zip(columns, step["values"], strict=True)):
        gone = c.missing(known[i] if i < len(known) else ())
        gaps.append(gone)
        if isinstance(c.values, np.ndarray):
            filled = np.where(gone, value, c.values)
        else:  # what is there stays as it came: whole numbers have more digits than float64
            filled = [value if gap else one
                      for one, gap in zip(c.values, gone.tolist(), strict=True)]
        found.append(_Column(c.name, filled, c.table))
    return found + [_Column(columns[i].name, gaps[i].astype(float)) for i in step["marks"]]


def _places(column, known):
    """Return the number of the category of each value, -1 where it is none of them."""
    places = {None if value == MISSING else value: i for i, value in enumerate(known)}
    values = [None if missing else value
              for value, missing in zip(column.list(), column.missing(known).tolist(), strict=True)]
    texts = {value for value in values if isinstance(value, str)}
    if texts and not any(isinstance(value, str) for value in places):  # they stand for numbers
        places |= _written(column, places, texts)
    return np.array([places.get(value, -1) for value in values], np.intp)


def _written(column, places, texts):
    """Return the places of numbers by how a file writes them; of a whole number each digit counts,
    though float64 has not as many."""
    found, texts = {}, list(texts)
    for text, number in zip(texts, column.read([text.strip() for text in texts]), strict=True):
        whole = INTEGER.fullmatch(text.strip()) and len(text) < MOST_DIGITS
        place = places.get(int(text) if whole else float(number))
        if place is not None:
            found[text] = place
    return found


def _refuse_unknown(column, known, places, step):
    """Raise where a category is unknown and must not be; "strict": a missing value may be."""
    wrong = places < 0
    if step["unknown"] == "strict":
        wrong &= ~column.missing(known)
    if step["unknown"] != "ignore" and wrong.any():
        row = int(wrong.argmax())
        raise TableError(f"column {column.name!r}, row {row}: {shown(column.list()[row])} is a "
                         "category that training did not have", column.name)


def _one_hot(columns, step):
    """Return zeros and ones for each category, but for one that is dropped."""
    found = []
    for column, known, drop in zip(columns, step["categories"], step["drop"], strict=True):
        places = _places(column, known)
        _refuse_unknown(column, known, places, step)
        found += [_Column(column.name, (places == i).astype(float))
                  for i in range(len(known)) if i != drop]
    return found


def _ordinal(columns, step):
    """Return the number of the category, or what stands for unknown and missing ones."""
    found, values = [], step["missing_value"]  # one for all columns, or one for each
    if not isinstance(values, list):
        values = [values] * len(columns)
    for column, known, value in zip(columns, step["categories"], values, strict=True):
        places = _places(column, known)
        _refuse_unknown(column, known, places, step)
        x = np.where(places < 0, _number(step["unknown_value"]), places.astype(float))
        if MISSING in known:
            x[places == known.index(MISSING)] = _number(value)
        found.append(_Column(column.name, x))
    return found


def _number(value):
    return math.nan if value is None else float(value)


_STEPS = {"shift": _shift, "stretch": _stretch, "impute": _impute, "one_hot": _one_hot,
          "ordinal": _ordinal}
