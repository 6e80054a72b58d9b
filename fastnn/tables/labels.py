"""`Labels`: the classes of a target; `learn_target`: the numbers of one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from fastnn.tables.cells import (
    INTEGER,
    MISSING_WORDS,
    PLAIN_NUMBER,
    alike,
    number_text,
    with_typed,
    written,
)
from fastnn.tables.errors import TableError, listed, shown_value
from fastnn.tables.frames import as_cells
from fastnn.tables.learning import MARKS
from fastnn.tables.numerals import (
    NumberFormat,
    explained,
    find_format,
    parse_numbers,
    signs_behind,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from fastnn.core.types import Array, ArrayLike

__all__ = ["Labels", "learn_target"]

# words that programs write for "missing"; people do not name a class so, as they do with None
WRITTEN_MISSING = MISSING_WORDS - {"NA", "N/A", "n/a", "NULL", "null", "None"} | {"?"}
EXACT = 1 << 53
ZERO_FIRST = re.compile(r"[-+]?0\d+")  # 01 is another class than 1
TRUTH = {1.0: "true", 0.0: "false"}


class Labels:
    """The classes of a target and their codes; see `learn`.

    Parameters
    ----------
    classes : array-like (n_classes,)
        In order.
    na : sequence of str, default=()
        Words that mean "missing".
    keep_na : bool, default=False
        Whether all other text is a class.
    notes : sequence of str, default=()
        What `learn` has to say.

    Attributes
    ----------
    classes : array (n_classes,)
        bool, int64, float64 or str; in order.
    notes : list of str
    """

    def __init__(self, classes: ArrayLike, *, na: Sequence[str] = (), keep_na: bool = False,
                 notes: Sequence[str] = ()) -> None:
        self.classes = np.asarray(classes)
        self.na, self.keep_na = tuple(na), keep_na
        self.notes = list(notes)
        self._places = {_key(value): i for i, value in enumerate(self.classes.tolist())}
        kind, values = self.classes.dtype.kind, self.classes.tolist()
        self._values = kind in "biuf" or _are_values(values)
        self._numbers = kind in "iuf" or kind != "b" and _are_numbers(values)

    def __repr__(self):
        return f"<Labels of {len(self.classes)} classes>"

    @classmethod
    def learn(cls, column: Any, keep_na: bool = False, *, na: Sequence[str] = (),
              numbers: bool = True) -> Labels:
        """Learn the classes of a column.

        Nothing between the separators, None and NaN are missing, and so is text that programs write
        for it: nan, <NA>, #N/A, ?. A class called None, NA, N/A or null is one, with a note.

        Parameters
        ----------
        column : Cells, array-like or series
            The target of all rows.
        keep_na : bool, default=False
            Whether all text is a class.
        na : sequence of str, default=()
            Words that mean "missing" whatever ``keep_na`` says.
        numbers : bool, default=True
            Whether text that is whole numbers, or true and false, becomes such classes, as in a
            file, where all is text.
        """
        cells = as_cells(column)
        na = (*na, *cells.na)
        codes, texts, counts = cells.used()
        if cells.kind == "date":
            raise TableError("the target holds dates; turn it into numbers or classes first")
        kept = [(text, int(count)) for text, count in zip(texts, counts, strict=True)
                if not _is_missing(text, keep_na, na)]
        notes = []
        if cells.kind == "text" and not keep_na:
            others = [(text, count) for text, count in kept if text not in MISSING_WORDS]
            plain = [(text, count) for text, count in others if text not in MARKS]
            if plain and _are_numbers([text for text, _ in plain]):
                others = plain
            if others and _are_values([text for text, _ in others]):
                # beside numbers, or true and false, such a word is no class
                words = [text for text, _ in kept if text in MISSING_WORDS or text in MARKS]
                if words:
                    notes.append(f"{listed(words)} in the target counts as missing; if it is a "
                                 "class: --keep-na-classes (keep_na=True)")
                kept = others
            left = [text for text in texts if text in WRITTEN_MISSING and text not in na]
            if left:
                notes.append(f"{listed(left)} in the target counts as missing; if it is a class: "
                             "--keep-na-classes (keep_na=True)")
            words = [text for text, _ in kept if text in MISSING_WORDS]
            if words:
                notes.append(f"{listed(words)} in the target is taken as a class; if it means that "
                             f"the class is not known: --na {words[0]} (na=[{words[0]!r}])")
        if not kept:
            raise TableError("the target is missing in all rows")
        labels = [text for text, _ in kept]
        if cells.kind != "text":
            return cls(_typed(cells, labels), na=na, keep_na=keep_na, notes=notes)
        return cls(_classes(labels, kept, numbers), na=na, keep_na=keep_na, notes=notes)

    def apply(self, column: Any) -> Array:
        """Return the code of the class of each row, (n,) int64; -1 where it is missing.

        Parameters
        ----------
        column : Cells, array-like or series
            Labels of rows; words that mean "missing" in the table they are of do so here.

        Returns
        -------
        array (n_rows,)
            Their numbers in ``classes``.

        Raises
        ------
        TableError
            When a class is none of these.
        """
        cells = as_cells(column)
        codes, texts, counts = cells.used()
        found = np.full(len(texts) + 1, -1, dtype=np.int64)
        na = {*self.na, *cells.na}
        places = self._places_of(texts, na, cells.style)
        unknown = [i for i, text in enumerate(texts) if text not in places
                   and not self._missing(text, na)]
        if unknown:
            n = int(counts[unknown].sum())
            raise TableError(f"the target has {n:,} value{'s' * (n != 1)} of classes that "
                             f"training did not have: {listed([texts[i] for i in unknown])}; the "
                             f"classes are {listed(map(str, self.classes.tolist()), 6)}")
        for i, text in enumerate(texts):
            found[i] = places.get(text, -1)
        return found[codes]

    def _places_of(self, texts, na, style):
        """Return the code of each text that is a class: also of numbers, and of true and false, in
        whatever way they are written."""
        found, texts = {}, [text for text in texts if text not in na]
        for text in texts:
            place = self._places.get(text, self._places.get(alike(text)))
            if place is not None:
                found[text] = place
        kind = self.classes.dtype.kind
        odd = [text for text in texts if text not in found and not self._missing(text, na)
               and not ZERO_FIRST.fullmatch(text)]
        if odd and kind in "biuf":
            form, _ = find_format([text for text in texts if not self._missing(text, na)], style)
            for text, value in zip(odd, parse_numbers(odd, form).tolist(), strict=True):
                key = TRUTH.get(value) if kind == "b" else number_text(value)
                if value == value and key in self._places:
                    found[text] = self._places[key]
        return found

    def _missing(self, text, na):
        return _is_missing(text, self.keep_na, na) or not self.keep_na and (
            self._values and text in MISSING_WORDS or self._numbers and text in MARKS)


def _are_numbers(texts):
    return all(map(PLAIN_NUMBER.fullmatch, texts))


def _are_values(texts):
    """Whether all are numbers, or all true or false."""
    return _are_numbers(texts) or {text.lower() for text in texts} <= {"true", "false"}


def _is_missing(text, keep_na, na):
    return text in na or (not keep_na and text in WRITTEN_MISSING)


def _key(value):
    """Return the text that cells have for a class."""
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value)).lower()
    return number_text(value) if isinstance(value, (int, float)) else alike(str(value))


def _typed(cells, labels):
    if cells.kind == "boolean":
        return np.array(sorted(label == "True" for label in labels))
    if cells.array.dtype.kind in "iu":
        return np.array(sorted(map(int, labels)), dtype=cells.array.dtype)
    values = np.array(sorted(map(float, labels)))
    if (values == np.floor(values)).all() and np.abs(values).max() < EXACT:
        return values.astype(np.int64)  # whole numbers with gaps
    return values


def _classes(labels, kept, numbers):
    spellings = {}
    for label, count in kept:
        times = spellings.setdefault(alike(label), {})
        times[label] = times.get(label, 0) + count
    keys = sorted(spellings)
    if numbers and set(keys) <= {"true", "false"}:
        return np.array([key == "true" for key in keys])
    if numbers and all(INTEGER.fullmatch(key) and str(int(key)) == key and
                       abs(int(key)) < 1 << 63 for key in keys if len(key) < 25) and all(
                           len(key) < 25 for key in keys):
        return np.array(sorted(map(int, keys)), dtype=np.int64)
    names = {key: min(times, key=lambda label: (-times[label], label))
             for key, times in spellings.items()}
    if numbers and all(PLAIN_NUMBER.fullmatch(key) and number_text(float(key)) == key
                       for key in keys):
        return np.array(sorted(map(float, keys)))
    return np.array([names[key] for key in sorted(keys, key=lambda key: names[key])])


def learn_target(column: Any, *, name: str = "y",
                 na: Sequence[str] = ()) -> tuple[Array, list[str]]:
    """Return the numbers of a column, (n,) float64, NaN where missing, and notes on it.

    Parameters
    ----------
    column : Cells, array-like or series
        The target of all rows.
    name : str, default="y"
        For messages.
    na : sequence of str, default=()
        Words that mean "missing".

    Returns
    -------
    values : float64 array (n,)
        NaN where missing.
    notes : list of str
        A sentence each.

    Raises
    ------
    TableError
        When a value is no number.
    """
    cells = as_cells(column, name)
    na = (*na, *cells.na)
    if cells.kind in ("number", "boolean"):
        values = cells.array.astype(np.float64)
        values[cells.missing()] = np.nan
        return _finite(_without(values, na), name), []
    codes, texts, counts = cells.used()
    there = [i for i, text in enumerate(texts)
             if text not in MISSING_WORDS and text not in na and text not in MARKS]
    words, typed = [texts[i] for i in there], cells.typed()
    typed = None if typed is None else typed[there]
    as_text = written(words, typed)
    form, doubt = (NumberFormat(), "") if cells.kind == "date" else find_format(as_text,
                                                                                cells.style)
    values = np.full(len(texts) + 1, np.nan)
    values[there] = with_typed(parse_numbers(words, form), typed)
    wrong = [i for i in there if np.isnan(values[i])]
    if wrong:
        row = int(np.flatnonzero(np.isin(codes, wrong))[0])
        n = int(counts[wrong].sum())
        raise TableError(f"column {name!r}: {n:,} value{'s' * (n != 1)} cannot be read as a "
                         f"number: {explained(form, [texts[i] for i in wrong])} (first in row "
                         f"{row + 1})", name)
    told = [doubt, signs_behind(as_text, form), "12% is read as 12" if form.unit == "%" else ""]
    notes = [f"column {shown_value(name)} holds numbers with marks: {text}" for text in told
             if text]
    marked = [text for text in texts if text in MARKS]
    if marked:
        notes.append(f"{listed(marked)} in column {shown_value(name)} counts as missing")
    return _finite(_without(values[codes], na), name), notes


def _without(values, na):
    """Return values without those that the words of ``na`` stand for, however they are written."""
    for word in na:
        if PLAIN_NUMBER.fullmatch(word):
            values[values == float(word)] = np.nan
    return values


def _finite(values, name):
    infinite = np.isinf(values)
    if infinite.any():
        raise TableError(f"column {name!r}, row {int(infinite.argmax()) + 1}: "
                         f"{values[infinite.argmax()]} is not a finite number", name)
    return values
