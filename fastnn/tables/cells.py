"""`Cells`: the values of one column in the form that all doors share.

A column comes as text (CSV files, frames with strings) or with a type (numbers, booleans, dates).
What a typed value would be as text, and what a text would be as a typed value, is said here once,
so that a column means the same whatever it comes in.
"""

import datetime
import math
import numbers as numbers_
import re
from dataclasses import dataclass

import numpy as np

from fastnn.tables.errors import TableError

__all__ = ["DAY_US", "EXACT", "INTEGER", "MISSING_WORDS", "PLAIN_NUMBER", "Cells", "Style", "alike",
           "from_objects", "from_texts", "moments", "number_text", "with_typed", "words_of",
           "written"]

# what pandas and others write for "missing"; in any column of inputs they mean that
MISSING_WORDS = frozenset((
    "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>",
    "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null", "NaT", "\\N"))
EXACT = 1 << 53  # whole numbers below are exact in float64
WHOLE = re.compile(r"(-?(?:0|[1-9]\d*))(?:\.0+)?", re.ASCII)
PLAIN_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?", re.ASCII)
INTEGER = re.compile(r"[-+]?\d+", re.ASCII)
DAY_US = 86_400_000_000
# types that are no numbers, and one text each, which files have in their place
WRITTEN = frozenset((("pandas", "Period"), ("pandas", "Interval"), ("uuid", "UUID"),
                     ("ipaddress", "IPv4Address"), ("ipaddress", "IPv6Address")))


@dataclass(frozen=True)
class Style:
    """How numbers and dates are written in a file.

    Attributes
    ----------
    decimal, thousands : str or None
        Marks that the user has given; None: found out.
    usual : str or None
        The decimal mark that the column, or else the others of the file, show beyond doubt.
    separator : str or None
        What stands between the columns.
    day_first : bool or None
        Whether 1/2/2024 is the first of February; None: found out.
    """

    decimal: str | None = None
    thousands: str | None = None
    usual: str | None = None
    separator: str | None = None
    day_first: bool | None = None


class Cells:
    """The values of one column.

    Attributes
    ----------
    kind : str
        "text", "number", "boolean" or "date": the type that the column came with.
    codes : int32 array (n,), for text
        Which of the ``values``; -1: missing.
    values : list of str, for text
        The different texts, without blanks around them, in order of their first row.
    numbers : float64 array (n_values,) or None, for text
        Of the ``values`` that came as numbers, beside text or of types such as Decimal, these: a
        column's format, such as a decimal comma, is not how they are written. NaN: text.
    array : array (n,), otherwise
        float64, int64, uint64, bool, or datetime64[us] in UTC.
    mask : bool array (n,) or None, otherwise
        True: missing. None where the array itself says it, as NaN or NaT.
    category : bool
        Whether the frame says that these are categories.
    dictionary : bool
        Whether the texts came with a categorical type. They are read as all text is: many use such
        a type to save memory, and the same values in a file have none.
    style : Style or None
        How the file writes numbers and dates.
    na : tuple of str
        Words that mean "missing" in the table that the column is of.
    """

    __slots__ = ("array", "category", "codes", "dictionary", "kind", "mask", "na", "numbers",
                 "style", "values")

    def __init__(self, kind, *, codes=None, values=None, numbers=None, array=None, mask=None,
                 category=False, dictionary=False, style=None, na=()):
        self.kind, self.codes, self.values, self.dictionary = kind, codes, values, dictionary
        self.numbers, self.na = numbers, na
        self.array, self.mask, self.category, self.style = array, mask, category, style

    def __len__(self):
        return len(self.codes if self.kind == "text" else self.array)

    def __repr__(self):
        return f"<Cells of {len(self)} rows, {self.kind}>"

    def take(self, index):
        """Return the cells of some rows."""
        if self.kind == "text":
            return Cells("text", codes=self.codes[index], values=self.values, numbers=self.numbers,
                         category=self.category, dictionary=self.dictionary, style=self.style,
                         na=self.na)
        mask = None if self.mask is None else self.mask[index]
        return Cells(self.kind, array=self.array[index], mask=mask, category=self.category,
                     style=self.style, na=self.na)

    def missing(self):
        """Return where values are missing: nothing between the separators, None, NaN, NaT."""
        if self.kind == "text":
            return self.codes < 0
        if self.mask is not None:
            return self.mask
        if self.array.dtype.kind == "f":
            return np.isnan(self.array)
        if self.array.dtype.kind == "M":
            return np.isnat(self.array)
        return np.zeros(len(self.array), dtype=bool)

    def texts(self):
        """Return codes (n,) int32, -1 where missing, and the different values as text."""
        if self.kind == "text":
            return self.codes, self.values
        missing = self.missing()
        there = ~missing
        if self.kind == "boolean":
            codes = np.where(missing, -1, self.array.astype(np.int32)).astype(np.int32)
            return codes, ["False", "True"]
        values, places = np.unique(self.array[there], return_inverse=True)
        codes = np.full(len(self), -1, dtype=np.int32)
        codes[there] = places
        if self.kind == "date":
            return codes, [date_text(value) for value in values.tolist()]
        return codes, [number_text(value) for value in values.tolist()]

    def typed(self):
        """Return `numbers` of the texts that `used` returns, or None."""
        if self.kind != "text" or self.numbers is None:
            return None
        counts = np.bincount(self.codes[self.codes >= 0], minlength=len(self.values))
        return self.numbers[counts > 0]

    def used(self):
        """Return codes, texts and how often each occurs, without those that occur in no row."""
        codes, values = self.texts()
        counts = np.bincount(codes[codes >= 0], minlength=len(values))
        if (counts > 0).all():
            return codes, values, counts
        kept = np.flatnonzero(counts)
        places = np.full(len(values) + 1, -1, dtype=np.int32)
        places[kept] = np.arange(len(kept))
        return places[codes], [values[i] for i in kept.tolist()], counts[kept]


def written(texts, typed):
    """Return those of some texts that came as text; ``typed`` as from `Cells.typed`."""
    return texts if typed is None else [texts[i] for i in np.flatnonzero(np.isnan(typed))]


def with_typed(parsed, typed):
    """Return the numbers that texts hold: as they came where they came as numbers, else as read."""
    return parsed if typed is None else np.where(np.isnan(typed), parsed, typed)


def from_texts(texts, style=None):
    """Return the cells of a list of text; None and blank texts are missing."""
    places = dict.fromkeys(texts)
    gaps = None in places
    if gaps:
        del places[None]
    words = list(places)
    stripped = list(map(str.strip, words))
    if stripped == words and "" not in places:
        places.update(zip(words, range(len(words)), strict=True))
    else:
        found = {}
        for word, text in zip(words, stripped, strict=True):
            places[word] = found.setdefault(text, len(found)) if text else -1
        words = list(found)
    if gaps:
        places[None] = -1
    codes = np.fromiter(map(places.__getitem__, texts), np.int32, len(texts))
    return Cells("text", codes=codes, values=words, style=style)


def from_objects(name, values):
    """Return the cells of a list of Python's values of any types."""
    types = set(map(type, values))
    if types <= {str, type(None)}:
        return from_texts(values)
    if types <= {float, type(None)} or types == {int, float}:
        try:
            found = np.array(values, dtype=np.float64)
        except OverflowError:
            pass
        else:  # of whole numbers beyond, several may have become one: they are looked at as text
            if int not in types or not any(type(values[i]) is int for i in
                                           np.flatnonzero(np.abs(found) >= EXACT).tolist()):
                return Cells("number", array=found)
    if types == {bool}:
        return Cells("boolean", array=np.array(values, dtype=bool))
    if types == {int}:
        try:
            return Cells("number", array=np.array(values, dtype=np.int64))
        except OverflowError:
            pass
    texts = [object_text(name, value) for value in values]
    named = {kind for kind in types if kind.__module__ != "builtins" or kind in (bool, str, bytes)}
    if not named & {bool, str, bytes} and all(
            issubclass(kind, (np.floating, np.integer)) for kind in named):
        # numbers and gaps
        numbers = [math.nan if text is None else float(text) for text in texts]
        if all(text is None or not INTEGER.fullmatch(text) or abs(int(text)) <= EXACT
               for text in texts):
            return Cells("number", array=np.array(numbers))
    typed = {kind for kind in types if issubclass(kind, numbers_.Number)
             and not issubclass(kind, (bool, complex))}
    if not typed:
        return from_texts(texts)
    return _from_mixed(texts, [type(value) in typed for value in values])


def _from_mixed(texts, typed):
    """Return the cells of texts of which some came as numbers: what is 1.234 as a number may be
    another one as text, so that these are different values."""
    places, codes = {}, np.empty(len(texts), np.int32)
    for i, (text, is_number) in enumerate(zip(texts, typed, strict=True)):
        text = "" if text is None else text.strip()  # noqa: PLW2901
        codes[i] = places.setdefault((text, is_number), len(places)) if text else -1
    return Cells("text", codes=codes, values=[text for text, _ in places],
                 numbers=np.array([float(text) if is_number else math.nan
                                   for text, is_number in places]))


def object_text(name, value):
    """Return a value of Python's or NumPy's as text, None where it is missing."""
    if isinstance(value, str):
        return value
    if value is None:
        return None
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, np.generic):
        if value.dtype.kind == "f" and value.dtype.itemsize < 8:
            return None if np.isnan(value) else number_text(float(str(value)))
        if value.dtype.kind == "M":
            if np.isnat(value):
                return None
            return date_text(moments(name, np.array([value]))[0].item())
        # of long double .item() is one again
        value = float(value) if value.dtype.kind == "f" else value.item()
    if isinstance(value, int):
        try:
            return str(value)
        except ValueError:
            raise TableError(f"column {name!r} holds an integer of {value.bit_length():,} bits: "
                             "too large", name) from None
    if isinstance(value, float):
        return None if value != value else number_text(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise TableError(f"column {name!r} holds bytes that are no text: leave it out",
                             name) from None
    if isinstance(value, datetime.datetime):
        return None if value != value else date_text(value)  # NaT differs from itself
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, datetime.time):
        return value.isoformat()
    return _other_text(name, value)


def _other_text(name, value):
    from decimal import Decimal
    from fractions import Fraction

    if isinstance(value, Decimal):
        return None if value.is_nan() else str(value)
    if isinstance(value, Fraction):
        return number_text(float(value))
    kind = type(value)
    if kind.__name__ in ("NAType", "NaTType"):
        return None
    if (kind.__module__.partition(".")[0], kind.__name__) in WRITTEN:
        return str(value)
    if kind.__module__.startswith("pyarrow") and hasattr(value, "as_py"):
        return object_text(name, value.as_py())
    if isinstance(value, (list, tuple, dict, set, np.ndarray)):
        raise TableError(f"column {name!r} holds lists or other containers, which cannot become "
                         "numbers: leave it out", name)
    raise TableError(f"column {name!r} holds values of type {kind.__name__}, which cannot become "
                     "numbers: turn them into numbers or text, or leave it out", name)


def moments(name, values):
    """Return datetime64 of any unit as datetime64[us]; refuses those that it has no room for."""
    found = values.astype("datetime64[us]")
    if np.datetime_data(values.dtype)[0] not in ("ns", "ps", "fs", "as"):
        lost = (found.astype(values.dtype) != values) & ~np.isnat(values)
        if lost.any():
            raise TableError(f"column {name!r} holds dates that are too far off: the first in row "
                             f"{int(lost.argmax())}, with {values[lost][0]}", name)
    return found


def words_of(name, given) -> tuple[str, ...]:
    """Return the different words of an argument as a tuple of str."""
    if isinstance(given, (str, bytes)) or not hasattr(given, "__iter__"):
        raise TypeError(f"{name}={given!r} must be a list of words, such as ['NA', '-999']")
    return tuple(dict.fromkeys(map(str, given)))


def number_text(value):
    """Return a number as text: whole ones alike, whether the column has gaps or not."""
    if isinstance(value, float):
        if value == math.floor(value) if math.isfinite(value) else False:
            if abs(value) < EXACT:
                return str(int(value))
        return repr(value)
    return str(value)


def date_text(value):
    """Return a moment as ISO text; one with a zone in UTC."""
    if isinstance(value, int):  # datetime64[us] outside of the years 1 to 9999
        return str(np.datetime64(value, "us"))
    if value.tzinfo is not None:
        value = value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
    text = value.isoformat(" ")
    return text[:10] if text.endswith(" 00:00:00") else text


def alike(label):
    """Return what spellings of one value share: TRUE and True, 1.0 and 1; 01 is not 1."""
    lower = label.lower()
    if lower in ("true", "false"):
        return lower
    whole = WHOLE.fullmatch(label)
    if whole:
        return "0" if whole[1] == "-0" else whole[1]
    return label
