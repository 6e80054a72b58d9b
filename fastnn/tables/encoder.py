"""`TableEncoder`: a data frame to the inputs of a network, the same way in training and serving.

=========  ==========================================  ========================================
kind       columns                                     inputs
=========  ==========================================  ========================================
number     numbers, also with a few words for          itself; where missing, the median of
           "missing" such as ``?``                     training
boolean    true and false                              0 or 1; where missing, the commoner one
date       dates, or text such as 2024-12-31           days since 1970; where missing, the median
category   any other text                              one input per category, 1 where it holds;
                                                       missing is one more, if training had it
=========  ==========================================  ========================================

Frames of polars and pyarrow are turned into those of pandas, which is imported with the first
frame, not before.
"""

import datetime
import math
import re
import sys
from collections import Counter
from dataclasses import dataclass
from itertools import chain

import numpy as np

from fastnn.core.notices import shorten
from fastnn.prediction.scaler import Scaler

__all__ = ["TableEncoder", "TableError"]

KINDS = ("number", "boolean", "date", "category")
MAX_CATEGORIES = 100      # inputs of a column, unless another limit is asked for
MAX_WORDS = 10            # different words that stand for "missing" in a column of numbers
NUMERIC_SHARE = 0.9       # of the values, for a column with words in it to be one of numbers
MAX_TEXT = 1000           # characters of a name or a category; longer is prose
MAX_NAMES = 1 << 22       # characters of the names of all inputs: a bound on time and memory
LIMITS = {"columns": 1 << 16, "categories": 1 << 12, "missing_words": MAX_WORDS, "targets": 1 << 12}
CATEGORY_KEYS = {"name", "kind", "categories", "missing_category"}
OTHER_KEYS = {"name", "kind", "fill"}
ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d{1,9})?)?)?")
TRUTH = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0}
WHOLE = re.compile(r"(-?(0|[1-9]\d*))\.0+")
DAY = np.timedelta64(1, "D") / np.timedelta64(1, "us")


class TableError(ValueError):
    """A table that does not fit; ``column`` names the place, as far as there is one."""

    def __init__(self, message, column=None):
        super().__init__(shorten(message, 1000))
        self.column = column


@dataclass(frozen=True)
class Column:
    """What is known of one column of the table."""

    name: str
    kind: str
    fill: float = 0.0                      # replaces a missing value; not used by categories
    categories: tuple[str, ...] = ()
    missing_category: bool = False
    missing_words: tuple[str, ...] = ()    # text in a column of numbers that means "missing"

    @property
    def feature_names(self):
        if self.kind != "category":
            return [self.name]
        missing = [f"{self.name} is missing"] if self.missing_category else []
        return [f"{self.name}={category}" for category in self.categories] + missing

    @property
    def n_inputs(self):
        return len(self.categories) + self.missing_category if self.kind == "category" else 1

    @property
    def n_characters(self):
        """About how many characters `feature_names` have."""
        if self.kind != "category":
            return len(self.name)
        return self.n_inputs * (len(self.name) + 10) + sum(map(len, self.categories))


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

    def __init__(self, max_categories=MAX_CATEGORIES, targets=()):
        if not 1 <= max_categories <= LIMITS["categories"]:
            raise ValueError(f"max_categories={max_categories} must be >= 1 and <= "
                             f"{LIMITS['categories']}")
        self.max_categories = max_categories
        self.targets = tuple(map(str, targets))
        if max(map(len, self.targets), default=0) > MAX_TEXT:
            raise ValueError(f"targets must have names of at most {MAX_TEXT} characters")
        self.columns = []
        self.notes = []
        self.scaler = None

    def __repr__(self):
        return f"<TableEncoder of {len(self.columns)} columns, {self.n_inputs} inputs>"

    @property
    def feature_names(self):
        """Names of the inputs: the column, or "column=category"."""
        return list(chain.from_iterable(column.feature_names for column in self.columns))

    @property
    def n_inputs(self):
        """How many `feature_names` there are, without making them."""
        return sum(column.n_inputs for column in self.columns)

    def count(self):
        """Return number of columns of each kind that occurs."""
        kinds = [column.kind for column in self.columns]
        return {kind: kinds.count(kind) for kind in KINDS if kind in kinds}

    # ---- fitting ----

    def fit(self, frame):
        """Learns kinds, categories, medians and scales from the columns of a frame.

        Left out, with a note: columns with one value only, and text of which most rows have a value
        of their own.

        Raises
        ------
        TableError
            When a column holds what cannot become a number, or no column is left.
        """
        frame = _as_pandas(frame)
        places = _places(frame)
        long = next((name for name in places if len(name) > MAX_TEXT), None)
        if long is not None:
            raise TableError(f"the table has a column with a name of {len(long):,} characters "
                             f"({_shown(long)}), must be at most {MAX_TEXT}")
        if len(frame) == 0:
            raise TableError("the table has no rows")
        columns, notes, mean, scale = [], [], [], []
        for name, place in places.items():
            found = _learn(name, frame[place], self.max_categories, notes)
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
        if not columns:
            raise TableError("no column is left to learn from: " + "; ".join(notes))
        if sum(column.n_characters for column in columns) > MAX_NAMES:
            worst = max(columns, key=lambda column: column.n_characters).name
            raise TableError(f"the names of the inputs are too long: more than {MAX_NAMES:,} "
                             f"characters in all, the most from column {worst!r}", worst)
        self.columns, self.notes, self.scaler = columns, notes, Scaler(mean, scale)
        return self

    # ---- use ----

    def transform(self, frame, dtype=np.float64):
        """Return the inputs of the rows, (n_samples, len(feature_names)), row-major, not scaled.

        Columns are taken by name, others ignored. A category that training did not have gives 0 in
        all inputs of its column.

        Raises
        ------
        TableError
            When a column is missing, or a value does not fit: names column, row and value.
        """
        frame = _as_pandas(frame)
        places = _places(frame)
        missing = [column.name for column in self.columns if column.name not in places]
        if missing:
            raise TableError(f"the table has no column {missing[0]!r}" + (
                f" and lacks {len(missing) - 1} more" if len(missing) > 1 else ""), missing[0])
        out = np.zeros((len(frame), self.n_inputs), dtype)
        start = 0
        for column in self.columns:
            series = frame[places[column.name]]
            if column.kind == "category":
                _mark_categories(column, series, out[:, start:start + column.n_inputs])
            else:
                values = _numbers(column, series)
                values[np.isnan(values)] = column.fill
                out[:, start] = values
            start += column.n_inputs
        return out

    # ---- settings ----

    def settings(self):
        """Everything `transform` needs as plain values; `from_settings` takes it."""
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
            columns.append(plain)
        return {"columns": columns, "targets": list(self.targets)}

    @classmethod
    def from_settings(cls, settings):
        """Return the encoder whose `settings` these are.

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
    _check(wanted == plain.keys() or kind == "number" and plain.keys() - wanted
           == {"missing_words"} and wanted < plain.keys(),
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
    return Column(**values)


# ---- columns of a frame ----

def _as_pandas(frame):
    """Return the frame, or what its ``to_pandas`` gives: that of polars, or a pyarrow Table."""
    if hasattr(frame, "columns") and not hasattr(frame, "iloc") and hasattr(frame, "to_pandas"):
        frame = frame.to_pandas()
    if not (hasattr(frame, "columns") and hasattr(frame, "iloc")):
        raise TypeError("a table must be a pandas data frame, or have to_pandas() like those of "
                        f"polars and pyarrow, not {type(frame).__name__}")
    return frame


def _places(frame):
    """Name of each column as text, and how the frame calls it."""
    places = {str(name): name for name in frame.columns}
    if len(places) != len(frame.columns):
        times = Counter(map(str, frame.columns))
        double = next(name for name, count in times.items() if count > 1)
        raise TableError(f"the table has more than one column {double!r}", double)
    return places


def _learn(name, series, max_categories, notes):
    """(Column, its values or None); None for a column to leave out, with a note why."""
    missing = series.isna().to_numpy()
    n_there = len(series) - int(missing.sum())
    if n_there == 0:
        notes.append(f"column {name!r} is left out: all its values are missing")
        return None
    kind, words = _kind(name, series)
    if words:
        row = series.index[np.flatnonzero(series.isin(words).to_numpy())[0]]
        notes.append(f"column {name!r} is taken as numbers: {_listed(words)} (first in row {row}) "
                     "counts as missing")
    if kind == "category":
        return _learn_categories(name, series, missing, max_categories, notes)
    values = _numbers(Column(name, kind, missing_words=words), series)
    fill = float(np.nanmedian(values))
    if kind == "boolean":
        fill = float(fill > 0.5)
    values[np.isnan(values)] = fill
    if values.min() == values.max():
        notes.append(f"column {name!r} is left out: it has one value only")
        return None
    return Column(name, kind, fill, missing_words=words), values


def _learn_categories(name, series, missing, max_categories, notes):
    codes, labels = _factorize(name, series)
    spellings = {}
    for label, count in zip(labels, np.bincount(codes[codes >= 0], minlength=len(labels)),
                            strict=True):
        times = spellings.setdefault(_alike(label), {})
        times[label] = times.get(label, 0) + int(count)
    # of several spellings the commonest one names the category
    counts = {min(times, key=lambda label: (-times[label], label)): sum(times.values())
              for times in spellings.values()}
    if len(counts) > max(10, (len(series) - int(missing.sum())) // 2):
        notes.append(f"column {name!r} is left out: {len(counts)} different texts in "
                     f"{len(series)} rows cannot be learned from")
        return None
    if max(map(len, counts)) > MAX_TEXT:
        notes.append(f"column {name!r} is left out: texts of more than {MAX_TEXT} characters are "
                     "no categories")
        return None
    if len(counts) == 1 and not missing.any():
        notes.append(f"column {name!r} is left out: it has one value only")
        return None
    categories = sorted(counts)
    if len(counts) > max_categories:
        categories = sorted(sorted(counts, key=lambda label: (-counts[label], label))
                            [:max_categories])
        notes.append(f"column {name!r} has {len(counts)} categories: the {max_categories} most "
                     "frequent ones are told apart, the others are not")
    return Column(name, "category", categories=tuple(categories),
                  missing_category=bool(missing.any())), None


def _kind(name, series):
    """Return the kind of a column, and the words in it that stand for missing numbers."""
    from pandas import CategoricalDtype
    from pandas.api import types

    dtype = series.dtype
    if isinstance(dtype, CategoricalDtype):
        return "category", ()
    if types.is_bool_dtype(dtype):
        return "boolean", ()
    if types.is_datetime64_any_dtype(dtype):
        return "date", ()
    if types.is_complex_dtype(dtype) or not (
            types.is_numeric_dtype(dtype) or types.is_object_dtype(dtype)
            or types.is_string_dtype(dtype)):
        raise TableError(f"column {name!r} has dtype {dtype}, which cannot become numbers: turn "
                         "it into numbers or text, or leave it out", name)
    if types.is_numeric_dtype(dtype):
        return "number", ()
    return _kind_of_objects(name, series)


def _kind_of_objects(name, series):
    from decimal import Decimal
    from numbers import Real

    codes, values = _factorize(name, series, text=False)
    if all(isinstance(value, (bool, np.bool_)) for value in values):
        # one that knows "missing" as well has three values
        return ("category" if (codes < 0).any() else "boolean"), ()
    if all(isinstance(value, (Real, Decimal)) for value in values):
        return "number", ()
    if all(isinstance(value, datetime.date) for value in values):
        return "date", ()
    if all(isinstance(value, str) for value in values):
        if all(ISO_DATE.fullmatch(value) for value in values) and _dates(values) is not None:
            return "date", ()
        words = np.isnan(_parsed(values))
        if 1 <= words.sum() <= MAX_WORDS and max(map(len, values)) <= MAX_TEXT:
            counts = np.bincount(codes[codes >= 0], minlength=len(values))
            if counts[~words].sum() >= NUMERIC_SHARE * counts.sum():
                return "number", tuple(np.array(values, dtype=object)[words])
    elif any(not isinstance(value, (str, bool, np.bool_, Real, Decimal)) for value in values):
        odd = next(value for value in values
                   if not isinstance(value, (str, bool, np.bool_, Real, Decimal)))
        raise TableError(f"column {name!r} holds values of type {type(odd).__name__}, which cannot "
                         "become numbers: turn them into numbers or text, or leave it out", name)
    return "category", ()


def _factorize(name, series, text=True):
    """Codes (n_rows,), -1 where missing, and the values they stand for, by default as text."""
    from pandas import factorize

    try:
        codes, values = factorize(series)
    except TypeError:
        raise TableError(f"column {name!r} holds lists or other containers, which cannot become "
                         "numbers: leave it out", name) from None
    values = list(values)
    if text and series.dtype == object and any(value in (0, 1) for value in values
                                               if not isinstance(value, str)):
        # pandas takes False and 0 for the same, True and 1 too
        there = series.notna()
        codes, values = factorize(series.where(~there, series[there].map(_label)))
        return codes, list(values)
    return codes, list(map(_label, values)) if text else values


def _label(value):
    """Return a category as text: whole numbers alike, whether a column of the file has gaps or
    not."""
    if isinstance(value, (float, np.floating)) and value == np.floor(value) and abs(value) < 2**53:
        return str(int(value))
    return str(value)


def _alike(label):
    """Return what spellings of one value have in common: TRUE and True, 1.0 and 1; not 01 and 1."""
    if label.lower() in ("true", "false"):
        return label.lower()
    whole = WHOLE.fullmatch(label)
    return whole[1] if whole else label


def _category_places(categories):
    """Return the number of each category by its name and by what its other spellings share."""
    places = {}
    for i, category in enumerate(categories):
        places.setdefault(_alike(category), i)
    if places.keys() <= {"true", "false"}:
        places |= {number: places[word] for number, word in (("1", "true"), ("0", "false"))
                   if word in places}
    return places | {category: i for i, category in enumerate(categories)}


def _parsed(texts):
    """Texts as numbers, NaN where they are none."""
    from pandas import to_numeric

    return np.asarray(to_numeric(np.array(texts, dtype=object), errors="coerce"), np.float64)


def _dates(texts):
    """ISO dates as days since 1970; None where one is not in the calendar."""
    try:
        return np.array(texts, dtype="datetime64[us]").astype(np.int64) / DAY
    except ValueError:
        return None


def _moments(name, values):
    with np.errstate(over="ignore", invalid="ignore"):
        mean, scale = float(values.mean()), float(values.std())
    if not (math.isfinite(mean) and math.isfinite(scale)):
        raise TableError(f"column {name!r} has values of up to {np.abs(values).max():g}: too large "
                         "to compute with", name)
    return mean, scale or 1.0


# ---- values of a column ----

def _mark_categories(column, series, out):
    codes, labels = _factorize(column.name, series)
    place = _category_places(column.categories)
    # one more entry at the end, for code -1
    places = np.array([place.get(label, place.get(_alike(label), -1)) for label in labels]
                      + [len(column.categories) if column.missing_category else -1])
    found = places[codes]
    rows = np.flatnonzero(found >= 0)
    out[rows, found[rows]] = 1


def _numbers(column, series):
    """Return the values of a column that is not one of categories, (n_rows,) float64, NaN:
    missing."""
    from pandas import CategoricalDtype
    from pandas.api import types

    dtype = series.dtype
    if types.is_datetime64_any_dtype(dtype):
        values = _days(series)
        if column.kind != "date":
            _refuse(column, series, ~np.isnan(values))
    elif not isinstance(dtype, CategoricalDtype) and (
            types.is_bool_dtype(dtype)
            or types.is_numeric_dtype(dtype) and not types.is_complex_dtype(dtype)):
        values = np.array(series.to_numpy(np.float64, na_value=np.nan))
        if column.kind == "date":
            _refuse(column, series, ~np.isnan(values))
    else:
        codes, uniques = _factorize(column.name, series, text=False)
        known, wrong = _converted(column, uniques)
        _refuse(column, series, np.append(wrong, False)[codes])
        values = np.append(known, np.nan)[codes]
    _refuse(column, series, np.isinf(values))
    if column.kind == "boolean":
        _refuse(column, series, (values != 0) & (values != 1) & ~np.isnan(values))
    return values


def _days(series):
    """Dates as days since 1970."""
    if getattr(series.dtype, "tz", None) is not None:
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    stamps = series.to_numpy("datetime64[us]")
    values = stamps.astype(np.int64) / DAY
    values[np.isnat(stamps)] = np.nan
    return values


def _converted(column, values):
    """Different values of a column as numbers, and which of them are none."""
    known = np.full(len(values), np.nan)
    wrong = np.zeros(len(values), dtype=bool)
    texts = []
    for i, value in enumerate(values):
        if isinstance(value, str):
            if value.strip() and value not in column.missing_words:
                texts.append(i)
        else:
            try:
                if column.kind == "date":
                    known[i] = _day(value)
                else:
                    known[i] = float(value)
            except (TypeError, ValueError, OverflowError):
                wrong[i] = True
    if texts:
        stripped = [values[i].strip() for i in texts]
        if column.kind == "number":
            known[texts] = _parsed(stripped)
        elif column.kind == "boolean":
            known[texts] = [TRUTH.get(text.lower(), np.nan) for text in stripped]
        else:
            known[texts] = [_date(text) for text in stripped]
        wrong[texts] = np.isnan(known[texts])
    return known, wrong


def _day(value):
    """Return a date or time of Python's as days since 1970."""
    if isinstance(value, datetime.datetime):
        zone = datetime.timezone.utc if value.tzinfo else None
        return (value - datetime.datetime(1970, 1, 1, tzinfo=zone)) / datetime.timedelta(days=1)
    if isinstance(value, datetime.date):
        return float(value.toordinal() - datetime.date(1970, 1, 1).toordinal())
    raise TypeError


def _date(text):
    days = _dates([text]) if ISO_DATE.fullmatch(text) else None
    return np.nan if days is None else days[0]


def _refuse(column, series, wrong):
    """Raise when a row is wrong, with its place and value."""
    if not wrong.any():
        return
    first = int(np.argmax(wrong))
    what = {"number": "a finite number", "boolean": "true or false",
            "date": "a date such as 2024-12-31"}[column.kind]
    if column.kind == "number" and isinstance(series.iloc[first], str):
        what = "a number"
    more = int(wrong.sum()) - 1
    raise TableError(
        f"column {column.name!r}, row {series.index[first]}: {_shown(series.iloc[first])} is not "
        f"{what}" + (f" (and {more} more row{'s' * (more > 1)})" if more else ""), column.name)


def _shown(value):
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= 60 else text[:57] + "..."


def _listed(words):
    shown = ", ".join(map(repr, words[:3]))
    return shown + (f" and {len(words) - 3} more" if len(words) > 3 else "")
