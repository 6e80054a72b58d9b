"""`Column`: what the values of one column mean, as training has learned it."""

import unicodedata
from dataclasses import dataclass, field

import numpy as np

from fastnn.tables.cells import (
    DAY_US,
    INTEGER,
    MISSING_WORDS,
    PLAIN_NUMBER,
    alike,
    number_text,
    with_typed,
    written,
)
from fastnn.tables.dates import in_doubt, parse_date, parse_dates
from fastnn.tables.errors import shown_value
from fastnn.tables.numerals import (
    NumberFormat,
    explained,
    given_format,
    parse_grouped,
    parse_number,
    parse_numbers,
    perhaps_grouped,
    two_marks,
)

__all__ = ["KINDS", "PARTS", "TRUTH", "Column", "Problem", "category_places", "count_kinds",
           "date_part", "none_understood"]

KINDS = ("number", "boolean", "date", "category")
PARTS = ("month", "weekday", "hour")
ALL_WRONG = 10  # values of a column; if none is understood, it is another column
TRUTH = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0}


def count_kinds(columns):
    """Return the number of columns of each kind that occurs, a dict."""
    kinds = [column.kind for column in columns]
    return {kind: kinds.count(kind) for kind in KINDS if kind in kinds}


def none_understood(values, problems):
    """Whether a column of some values has none that is understood: so it is another column.

    Parameters
    ----------
    values : float64 array (n,)
        NaN where missing, or not understood.
    problems : list of Problem
    """
    return sum(problem.count for problem in problems) >= ALL_WRONG and bool(np.isnan(values).all())


@dataclass
class Problem:
    """Values of a column that were not understood, or a remark on how they were read."""

    column: str
    text: str
    count: int = 0
    unknown: bool = False  # categories that training did not have
    row: int = 0
    example: str = ""


@dataclass(frozen=True)
class Column:
    """What is known of a column.

    Attributes
    ----------
    name : str
    kind : "number", "boolean", "date" or "category"
    form : NumberFormat
        How text is a number.
    whole : bool
        Whether training had whole numbers only.
    day_first : bool
        Whether 1/2/2024 is the first of February.
    knows_order : bool
        Whether training had such dates, or was told.
    parts : tuple of str
        "month", "weekday", "hour": those of a date that vary.
    categories : tuple of str
        In the order of their codes.
    missing_words : tuple of str
        Text that means "missing" here, beside `MISSING_WORDS`.
    """

    name: str
    kind: str
    form: NumberFormat = NumberFormat()
    whole: bool = False
    day_first: bool = True
    knows_order: bool = True
    parts: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    missing_words: tuple[str, ...] = ()
    _places: dict = field(default_factory=dict, repr=False, compare=False)

    @property
    def number_names(self):
        """Names of the numbers that the column gives."""
        if self.kind == "category":
            return []
        return [self.name, *(f"{self.name} ({part})" for part in self.parts)]

    def is_missing(self, text, na=()):
        """Whether a text means "missing" in this column."""
        return text in MISSING_WORDS or text in self.missing_words or text in na

    # ---- numbers ----

    def numbers(self, cells, na=()):
        """Return the values (n,) float64, NaN where missing, and a list of `Problem`."""
        values, problems = self._numbers(cells, na)
        values += 0.0  # which makes -0.0 the 0.0 that whole numbers have
        for missing in self.missing_values(na):
            values[values == missing] = np.nan
        return values, problems

    def missing_values(self, na=()):
        """Return what the words of ``na`` are as values of this column: however a file writes them,
        and whether it is text or not, they mean "missing"."""
        if self.kind == "number":
            return [float(word) for word in na if PLAIN_NUMBER.fullmatch(word)]
        if self.kind == "boolean":
            return [float(word.lower() == "true") for word in na
                    if word.lower() in ("true", "false")]
        if self.kind == "date":
            return [days for days in (parse_date(word, self.day_first) for word in na)
                    if days == days]
        return []

    def _numbers(self, cells, na):
        if cells.kind == "number" and self.kind in ("number", "boolean"):
            values = np.array(cells.array, dtype=np.float64)
            if cells.mask is not None:
                values[cells.mask] = np.nan
            if self.kind == "number":
                return values, []
            for word in na:
                if PLAIN_NUMBER.fullmatch(word):
                    values[values == float(word)] = np.nan
            wrong = (values != 0) & (values != 1) & ~np.isnan(values)
            if not wrong.any():
                return values, []
        elif cells.kind == "boolean" and self.kind in ("number", "boolean"):
            values = cells.array.astype(np.float64)
            if cells.mask is not None:
                values[cells.mask] = np.nan
            return values, []
        elif cells.kind == "date" and self.kind == "date":
            stamps = cells.array
            values = stamps.astype(np.int64) / DAY_US
            values[np.isnat(stamps)] = np.nan
            return values, []
        return self._numbers_of_texts(cells, na)

    def _numbers_of_texts(self, cells, na):
        codes, texts = cells.texts()
        values = np.full(len(texts) + 1, np.nan)  # one more, for code -1
        words, there = texts, slice(0, len(texts))
        special = self.missing_texts(na).intersection(texts)
        if special:
            there = [i for i, text in enumerate(texts) if text not in special]
            words = [texts[i] for i in there]
        values[there] = self.parse(words, cells.style)
        if self.kind == "number" and cells.kind == "text" and cells.numbers is not None:
            typed = cells.numbers[there]
            values[there] = with_typed(values[there], typed)
            words = written(words, typed)
        problems = []
        wrong = np.isnan(values)
        wrong[-1] = False
        if special or wrong.any():
            wrong[[i for i, text in enumerate(texts) if text in special]] = False
            rows = np.flatnonzero(wrong[codes])
            if len(rows):
                odd = [texts[code] for code in dict.fromkeys(codes[rows[:100_000]].tolist())]
                problems.append(Problem(
                    self.name, self._not_understood(odd, len(rows), int(rows[0]), cells.style),
                    len(rows),
                    row=int(rows[0]),
                    example=shown_value(odd[0]) if cells.kind == "text" else odd[0]))
        if self.kind == "number" and words:
            if wrong.any():  # which were told
                bad = {texts[i] for i in np.flatnonzero(wrong)}
                words = [word for word in words if word not in bad]
            problems += self._remarks(words, cells.style)
        if self.kind == "date" and not self.knows_order and cells.kind == "text":
            problems += self._order_in_doubt(words, cells.style)
        return values[codes], problems

    def missing_texts(self, na=()):
        """Return the texts that mean "missing" in this column."""
        if not (self.missing_words or na):
            return MISSING_WORDS
        return MISSING_WORDS.union(self.missing_words, na)

    def parse(self, texts, style=None):
        """Return texts that are not missing as numbers, NaN where they are not understood."""
        if self.kind == "number":
            form = self.form_for(style)
            values = parse_numbers(texts, form)
            if style is None or style.decimal is style.thousands is None:
                odd = np.flatnonzero(np.isnan(values))
                values[odd] = [self._parse_odd(texts[i], form) for i in odd]
            return values
        if self.kind == "boolean":
            return np.array([TRUTH.get(text.lower(), np.nan) for text in texts])
        return parse_dates(texts, self.day_first_for(style))

    def _parse_odd(self, text, form):
        """Return a number that the format of its file cannot read: one in the column's own format,
        where its file shows another, or with groups of thousands beyond doubt."""
        value = parse_number(text, self.form) if form.decimal != self.form.decimal else np.nan
        return parse_grouped(text, form) if np.isnan(value) else value

    def day_first_for(self, style):
        """Return whether the day is first: as the user says, or else as training has learned."""
        return self.day_first if style is None or style.day_first is None else style.day_first

    def form_for(self, style):
        """Return the format of a file: what the user or the file itself says beyond doubt goes
        before what was learned."""
        if style is None:
            return self.form
        if style.decimal is not None or style.thousands is not None:
            return given_format(style, self.form.unit)
        if style.usual in (None, self.form.decimal):
            return self.form
        other = "." if style.usual == "," else ","
        return NumberFormat(style.usual, other if other == "." or self.form.thousands else "",
                            self.form.unit)

    def _not_understood(self, words, n, row, style):
        what = {"number": explained(self.form, words),
                "boolean": f"{shown_value(words[0])} is neither true nor false",
                "date": f"{shown_value(words[0])} is no date"}[self.kind]
        if self.kind == "date":
            first = self.day_first_for(style)
            other = next((word for word in words if not np.isnan(parse_date(word, not first))),
                         None)
            if other is not None:
                what = (f"{shown_value(other)} is no date with the {_part(first)} first; if the "
                        f"{_part(not first)} is, in the other values too: {_order(not first)}")
        return (f"column {shown_value(self.name)}: {n:,} value{'s' * (n != 1)} not understood, "
                f"counted as missing: {what} (first in row {{row:{row}}})")

    def _order_in_doubt(self, words, style):
        """Return a remark on a date that may be another one, where training had none such."""
        text = next(filter(in_doubt, words), None)
        if text is None or (style is not None and style.day_first is not None):
            return []
        day, month = in_doubt(text) if self.day_first else in_doubt(text)[::-1]
        return [Problem(self.name, (
            f"column {shown_value(self.name)}: {shown_value(text)} is read as day {day} of month "
            f"{month}, training had no such dates; if it is the other way round: "
            f"{_order(not self.day_first)}"))]

    def _remarks(self, words, style):
        """Return what is read in one way, but may mean a thousand times as much."""
        form = self.form_for(style)
        if form != self.form and style.decimal is None and style.thousands is None:
            # the decimal mark of this file is another one
            found, before = parse_numbers(words, form), parse_numbers(words, self.form)
            odd = np.flatnonzero((found != before) & ~np.isnan(found) & ~np.isnan(before))
            if len(odd):
                first, mark = odd[0], self.form.decimal
                return [Problem(self.name, (
                    f"column {shown_value(self.name)}: {shown_value(words[first])} is read as "
                    f"{found[first]:.15g}, as the decimal mark of this file seems to be "
                    f"{form.decimal!r}; if it means {before[first]:.15g}: --decimal {mark} "
                    f"(decimal={mark!r})"))]
        said = style is not None and (style.decimal is not None or style.thousands is not None)
        if said:
            return []
        if self.whole and (first := perhaps_grouped(words, form)) is not None:
            mark = form.decimal
            return [Problem(self.name, (
                f"column {shown_value(self.name)}: {shown_value(first)} is read as "
                f"{parse_number(first, form):.15g}, where training had whole numbers only; if it "
                f"means {first.replace(mark, '')}: --thousands {mark} (thousands={mark!r})"))]
        both = NumberFormat(form.decimal, "," if form.decimal == "." else ".", form.unit)
        if told := two_marks(words, both):
            return [Problem(self.name, f"column {shown_value(self.name)}: {told}")]
        return []

    def with_parts(self, values):
        """Return the numbers of all `number_names`, one array for each."""
        if not self.parts:
            return [values]
        there = ~np.isnan(values)
        found = [values]
        for part in self.parts:
            numbers = np.full(len(values), np.nan)
            numbers[there] = date_part(values[there], part)
            found.append(numbers)
        return found

    # ---- categories ----

    @property
    def places(self):
        """Return the code of each category by its spellings."""
        if not self._places and self.categories:
            self._places.update(category_places(self.categories))
        return self._places

    @property
    def texts(self):
        """Return the code of each text that is known letter by letter: what files for programs
        hold that do not read text as `code` does."""
        found = {text: i for i, text in enumerate(self.categories)}
        return found | {text: i for text, i in self.places.items() if not self.is_missing(text)}

    def code(self, text, na=()):
        """Return the code of a text; what ``na`` names is missing, in training or not."""
        if text in na:
            return len(self.categories) + 1
        places = self.places
        place = places.get(text)
        if place is None:
            if self.is_missing(text):
                return len(self.categories) + 1
            place = places.get(alike(text))
        if place is None:  # perhaps of a system that writes accents as letters of their own
            place = len(self.categories) if text.isascii() else places.get(
                unicodedata.normalize("NFC", text), len(self.categories))
        return place

    def codes(self, cells, na=()):
        """Return the codes (n,) int32, and a list of `Problem`."""
        codes, texts = cells.texts()
        k = len(self.categories)
        found = np.fromiter(chain_codes(self, texts, na), np.int32, len(texts) + 1)
        values = found[codes]
        unknown = values == k
        n = int(unknown.sum())
        if not n:
            return values, []
        words = [texts[code] for code in dict.fromkeys(codes[unknown][:1000].tolist())]
        row = int(unknown.argmax())
        text = (f"column {shown_value(self.name)}: {n:,} value{'s' * (n != 1)} of categories that "
                f"training did not have, such as {shown_value(words[0])} (row {{row:{row}}})")
        return values, [Problem(self.name, text, n, True, row, words[0])]


def chain_codes(column, texts, na):
    """Yield the code of each text, and last that of "missing"."""
    for text in texts:
        yield column.code(text, na)
    yield len(column.categories) + 1


def category_places(categories):
    """Return the number of each category by its name and by what its other spellings share."""
    places = {}
    for i, category in enumerate(categories):
        places.setdefault(alike(category), i)
    if places.keys() <= {"true", "false"}:
        places |= {number: places[word] for number, word in (("1", "true"), ("0", "false"))
                   if word in places}
    places |= {category: i for i, category in enumerate(categories)}
    for i, category in enumerate(categories):
        if not category.isascii():
            places.setdefault(unicodedata.normalize("NFC", category), i)
    # a frame holds 007 as the number 7, and 1.50 as 1.5
    numbers = {}
    for i, category in enumerate(categories):
        text = _as_number(category)
        if text is not None:
            numbers.setdefault(text, []).append(i)
    for text, holders in numbers.items():
        if len(holders) == 1:
            places.setdefault(text, holders[0])
    return places


def _as_number(text):
    if INTEGER.fullmatch(text):
        return str(int(text)) if len(text) < 4000 else None
    return number_text(float(text)) if PLAIN_NUMBER.fullmatch(text) else None


def _part(day_first):
    return "day" if day_first else "month"


def _order(day_first):
    """Return how to say which of day and month is first."""
    return f"--{'' if day_first else 'no-'}day-first (day_first={day_first})"


def date_part(days, part):
    """Return the month (1 to 12), the weekday (Monday: 0) or the hour of days since 1970."""
    if part == "weekday":
        return (np.floor(days) + 3) % 7  # the first day of 1970 was a Thursday
    if part == "hour":
        return np.round((days - np.floor(days)) * 24, 9)
    whole = np.floor(days).astype(np.int64).astype("datetime64[D]")
    return (whole.astype("datetime64[M]").astype(np.int64) % 12 + 1).astype(np.float64)
