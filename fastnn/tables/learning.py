"""What the columns of a table are: found out from their values in training."""

import re
from dataclasses import dataclass, field

import numpy as np

from fastnn.tables import dates
from fastnn.tables.cells import (
    DAY_US,
    EXACT,
    INTEGER,
    MISSING_WORDS,
    PLAIN_NUMBER,
    Style,
    alike,
    with_typed,
    written,
)
from fastnn.tables.columns import PARTS, TRUTH, Column, date_part
from fastnn.tables.errors import TableError, infinite_value, listed, shown_value
from fastnn.tables.numerals import (
    SPACES,
    NumberFormat,
    count_different,
    find_format,
    parse_numbers,
    signs_behind,
)

__all__ = ["MARKS", "MAX_TEXT", "MAX_WORDS", "UNNAMED", "Notes", "Options", "counts_rows",
           "cure_of", "differ_all", "example_of", "holds_numbers", "learn_column"]

# what stands for "missing" among numbers and dates, however often
MARKS = frozenset((
    "?", "??", ".", "..", "...", "-", "--", "---", "*", "**", "n.a.", "N.A.",
    "n.d.", "nd", "ND", "na", "Na", "NAN", "Nan", "none", "NONE", "Null", "nil", "missing",
    "Missing", "MISSING", "unknown", "Unknown", "UNKNOWN", "unk", "not available", "Not Available",
    "#VALUE!", "#REF!", "#DIV/0!", "#NUM!", "#NAME?", "#NULL!", "0000-00-00",
    "0000-00-00 00:00:00", "(null)", "(blank)", "\u2013", "\u2014"))
MAX_WORDS = 10        # other different words among numbers or dates that count as missing
NUMERIC_SHARE = 0.9   # of the values must be numbers, where there are other words
VARIED_SHARE = 0.5    # the same, where the numbers are too many to be codes
VARIED = 20           # different numbers
MOST_WORDS = 1000     # of dates that are not in the calendar, which a model remembers
MAX_TEXT = 1000       # characters of a name or a category; longer is prose
EXACT_INTEGER = 1 << 63
NO_INTEGER = -1 << 63  # what int64 has for "missing"
LONGEST_INTEGER = 300  # digits that float64 has room for
# a number with a currency or a unit, or with colons: 5 kg, USD 120.50, 12.5 km/h, 12:30
AMOUNT = re.compile(r"(?:[^\W\d_]{1,3}(?:[^\w\s\[{/#:-]\s?|\s))?[^\w\s\[{]{0,3}\s?\d"
                    rf"[\d.,:'\u2019{SPACES}]*"
                    r"\s?[^\W\d_]{0,8}(?:/[^\W\d_]{1,8})?[^\w\s\]}]?")
UNITS_CURE = "amounts, durations and shares have to be plain numbers, without units"
# a number with marks and nothing beside it
MARKED = re.compile(rf"[-+]?\d[\d'\u2019{SPACES}]*(?:[.,][\d'\u2019{SPACES}]*)*[.,]\d+")
# text with a year, and a month or a number: 28. Dezember 2022, 2022-11-28 10:37 Europe/Berlin
DATED = re.compile(r"(?=.*(?<!\d)(?:1[89]|20)\d\d(?!\d))(?=.*(?:(?<!\d)\d\d?(?!\d)|"
                   r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\b)).{6,40}",
                   re.IGNORECASE)
# as pandas calls a column without a name, and as R's readr does
UNNAMED = re.compile(r"Unnamed: \d+(\.\d+)?(_level_\d+)?|\.\.\.\d+")


@dataclass
class Options:
    """How to learn, see `Schema.learn`."""

    categorical: frozenset = frozenset()
    na: tuple = ()
    infinities: str = "refuse"
    max_categories: int = 1 << 16
    style: Style | None = None


@dataclass
class Notes:
    """Remarks on columns; those of one kind become one line."""

    entries: list = field(default_factory=list)

    def add(self, name, reason, verb="is left out: ", example=None):
        """Add a remark on a column: "column 'a' is left out: it has one value only"; an example
        is shown behind it."""
        self.entries.append((name, verb, reason, example))

    def lines(self):
        """Return the remarks, a sentence each."""
        together = {}
        for name, verb, reason, example in self.entries:
            such = "" if example is None else f" (such as {shown_value(example)})"
            together.setdefault((verb, reason), []).append((name, such))
        found = []
        for (verb, reason), columns in together.items():
            if len(columns) > 3:
                names = [name for name, _ in columns]
                verb, reason = verb.replace("is ", "are ", 1), reason.replace("it has", "they have")
                reason = reason.replace("its values", "their values")
                found.append(f"{len(names):,} columns {verb}{reason} ({listed(names)})")
            else:
                found += [f"column {shown_value(name)} {verb}{reason}{such}"
                          for name, such in columns]
        return found


def learn_column(table, name, options, notes):
    """Return a `Column` of a table, None for one to leave out, with a note why."""
    cells = table.column(name)
    try:
        return _learned(name, cells, options, notes)
    except TableError as error:
        if "{row}" not in str(error):
            raise
        row = np.flatnonzero(np.isinf(Column(name, "number").numbers(cells)[0]))[:1]
        label = table.row_label(int(row[0])) if len(row) else "?"
        raise TableError(str(error).replace("{row}", str(label)), name) from None


def _learned(name, cells, options, notes):
    missing = cells.missing()
    if len(cells) == 0 or missing.all():
        notes.add(name, "all its values are missing")
        return None
    forced = name in options.categorical or cells.category
    if cells.kind != "text" and not forced:
        return _learn_typed(name, cells, missing, options, notes)
    codes, texts, counts = cells.used()
    typed = cells.typed()
    values, special = texts, MISSING_WORDS.union(options.na).intersection(texts)
    if special:
        there = [i for i, text in enumerate(texts) if text not in special]
        if not there:
            notes.add(name, "all its values are missing")
            return None
        values, counts = [texts[i] for i in there], counts[there]
        typed = None if typed is None else typed[there]
    gaps = int(counts.sum()) < len(cells)
    if not forced:
        found = _as_booleans(name, values, gaps, notes)
        if found is None:
            found = _as_numbers(name, cells, values, typed, counts, gaps, options, notes)
        if found is None:
            found = _as_dates(name, cells, values, counts, gaps, options, notes)
        if found is not None:
            if found and cells.dictionary:
                notes.add(name, f"its texts are {TAKEN[found.kind]}, as they would be in a file; "
                          "for one of categories: --categorical-features "
                          "(categorical_features=[...])",
                          "has a categorical type and is no column of categories: ")
            return found or None
    return _as_categories(name, values, counts, gaps, forced, options, notes)


TAKEN = {"number": "numbers", "date": "dates", "boolean": "true and false"}
LEFT_OUT = False  # of these functions: the column is understood, and says nothing


def _constant(name, notes):
    notes.add(name, "it has one value only")
    return LEFT_OUT


# ---- columns with a type ----

def _learn_typed(name, cells, missing, options, notes):
    there = cells.array[~missing]
    there = there[_known_rows(name, cells.kind, there.astype(np.int64) / DAY_US
                              if cells.kind == "date" else there, options)]
    if not len(there):
        notes.add(name, "all its values are missing")
        return None
    gaps = len(there) < len(cells)
    if cells.kind == "boolean":
        if there.all() == there.any() and not gaps:
            return _constant(name, notes) or None
        return Column(name, "boolean")
    if cells.kind == "date":
        return _date_column(name, there.astype(np.int64) / DAY_US, True, (), gaps, notes) or None
    if there.dtype.kind in "iu" and _typed_ids(there):
        codes, values, counts = cells.used()
        return _as_categories(name, values, counts, gaps, False, options, notes)
    return _number_column(name, there.astype(np.float64), NumberFormat(), (), gaps, options, notes,
                          there.dtype.kind in "iu") or None


def _known_rows(name, kind, values, options, **settings):
    """Return which values are none that the user's words for "missing" stand for."""
    missing = Column(name, kind, **settings).missing_values(options.na)
    return slice(None) if not missing else ~np.isin(values.astype(np.float64), missing)


def _known(name, kind, values, options, **settings):
    return values[_known_rows(name, kind, values, options, **settings)]


def _are_ids(times):
    """Whether whole numbers are ids: float64 would make many different ones the same, or they have
    twenty digits. A few that are far out, or stand for "missing", make no ids of the others.

    Parameters
    ----------
    times : dict of int to int
        How often each occurs.
    """
    large = [value for value in times if abs(value) > EXACT and value != NO_INTEGER]
    share = sum(map(times.get, large)) / sum(times.values())
    if len(set(map(float, large))) < len(large):
        return len(large) > MAX_WORDS or share > 1 - NUMERIC_SHARE
    return share >= 0.5 and max(map(abs, large)) >= EXACT_INTEGER


def _typed_ids(integers):
    """Whether whole numbers of a type are ids."""
    if not len(integers) or max(abs(int(integers.min())), abs(int(integers.max()))) <= EXACT:
        return False
    different, counts = np.unique(integers, return_counts=True)
    return _are_ids(dict(zip(different.tolist(), counts.tolist(), strict=True)))


def _number_column(name, values, form, words, gaps, options, notes, whole,
                   n_rows=None, texts=()):
    infinite = np.isinf(values)
    if infinite.any() and options.infinities == "refuse":
        raise infinite_value(name, "{row}", values[infinite][0])
    if options.infinities == "missing" and infinite.any():
        values, gaps = values[~infinite], True
        if not len(values):
            notes.add(name, "all its values are missing")
            return LEFT_OUT
    if values.min() == values.max() and not gaps:
        if (n := count_different(texts, form)) > 1:
            notes.add(name, f"float64 makes one value of its {n:,} different numbers, as it keeps "
                      "16 digits; if they are ids, make it a column of categories: "
                      "--categorical-features (categorical_features=[...])")
            return LEFT_OUT
        return _constant(name, notes)
    if UNNAMED.fullmatch(name) and _is_index(values, gaps, n_rows or len(values)):
        notes.add(name, "it has no name and holds whole numbers, as an index that was written "
                  "with the table does; to learn from it give it a name")
        return LEFT_OUT
    return Column(name, "number", form=form, missing_words=words,
                  whole=bool(whole or (values == np.floor(values)).all()))


def _is_index(values, gaps, n_rows):
    """Whole numbers that are (nearly) all different."""
    return bool(not gaps and (values == np.floor(values)).all()
                and len(np.unique(values)) >= 0.5 * n_rows)


def counts_rows(cells):
    """Whether a column holds whole numbers that go up by 1 from row to row."""
    values = _whole_numbers(cells)
    return values is not None and bool((np.diff(values) == 1).all())


def differ_all(cells):
    """Whether a column holds whole numbers, a different one in each row."""
    values = _whole_numbers(cells)
    return values is not None and bool((values == np.floor(values)).all()) and (
        len(np.unique(values)) == len(values))


def _whole_numbers(cells):
    """Return the values of a column that may be whole numbers without gaps, or None."""
    if len(cells) < 10 or cells.missing().any():
        return None
    if cells.kind == "text":
        if not all(map(INTEGER.fullmatch, cells.values[:20])):
            return None
        try:
            return parse_numbers(cells.values)[cells.codes]
        except ValueError:
            return None
    return cells.array.astype(np.float64) if cells.kind == "number" else None


def holds_numbers(cells):
    """Whether a column holds numbers and nothing else, of which not all are the same."""
    if cells.kind == "text":
        values = [text for text in cells.used()[1] if text not in MISSING_WORDS]
        if not all(map(PLAIN_NUMBER.fullmatch, values)):
            return False
        return len({float(value) for value in values}) > 1
    return cells.kind == "number" and len(np.unique(cells.array[~cells.missing()])) > 1


# ---- columns of text ----

def _as_booleans(name, values, gaps, notes):
    if len(values) > 50:  # more than true, True, TRUE, 1, 1.0, ...
        return None
    lower = {value.lower() for value in values}
    if not (lower <= TRUTH.keys() and lower & {"true", "false"}):
        return None
    if len({TRUTH[value] for value in lower}) == 1 and not gaps:
        return _constant(name, notes)
    return Column(name, "boolean")


def _enough(ok, words, counts, marked, varied):
    """Whether a column is one of numbers (or dates) with some words in it."""
    if not ok.any():
        return False
    n_ok = counts[ok].sum()
    n_other = counts[~ok & ~marked].sum()
    if len(words) > MAX_WORDS or max(map(len, words), default=0) > MAX_TEXT:
        return False
    share = VARIED_SHARE if varied else NUMERIC_SHARE
    return bool(n_ok >= share * (n_ok + n_other))


def _many_words(values, understood):
    """Whether the first texts are enough to see that too many are words."""
    return sum(not understood(text) for text in values[:2 * MAX_WORDS]) > MAX_WORDS


def _as_numbers(name, cells, values, typed, counts, gaps, options, notes):
    marks = MARKS.intersection(values)
    as_text = written(values, typed)
    form, doubt = find_format([value for value in as_text if value not in marks] if marks
                              else as_text, cells.style)
    if _many_words(as_text, lambda text: not np.isnan(parse_numbers([text], form)[0]) or
                   text in marks):
        return None
    parsed = with_typed(parse_numbers(values, form), typed)
    ok = ~np.isnan(parsed)
    if not ok.any():
        return None
    if not ok.all():
        ok &= [value.lower() not in ("true", "false") for value in values]
    marked = np.array([value in marks for value in values]) if marks else np.zeros_like(ok)
    words = [values[i] for i in np.flatnonzero(~ok & ~marked)]
    n_different = len(np.unique(parsed[ok]))
    if not _enough(ok, words, counts, marked, n_different > VARIED):
        return None
    if _written_ids(values, ok, counts):
        return None
    said = tuple(values[i] for i in np.flatnonzero(~ok))
    if said:
        n = int(counts[~ok].sum())
        other = NumberFormat(",", ".") if form.decimal == "." else NumberFormat(".", ",")
        why = ("numbers of a column have to be written alike" if any(
            value == value for value in parse_numbers(words, other)) else
            "if it is a value of its own, make the column one of categories: "
            "--categorical-features (categorical_features=[...])")
        notes.add(name, f"{listed(said)} ({n:,} value{'s' * (n != 1)}) counts as missing; {why}",
                  "is taken as numbers: ")
    values = _known(name, "number", parsed[ok], options)
    if not len(values):
        notes.add(name, "all its values are missing")
        return LEFT_OUT
    found = _number_column(name, values, form, said, gaps or bool(said) or len(values) < ok.sum(),
                           options, notes, False, len(cells), as_text)
    if found and doubt:
        notes.add(name, doubt, "holds numbers with marks: ")
    if found and (told := signs_behind([text for text in as_text if text not in said], form)):
        notes.add(name, told, "holds numbers with marks: ")
    if found and form.unit == "%":
        notes.add(name, "12% is read as 12", "holds percentages: ")
    return found


def _written_ids(values, ok, counts):
    """Whether numbers that are written are whole ones, nearly all, and ids."""
    if max(map(len, values)) < 16:
        return False
    whole = [(value, count) for value, fine, count in zip(values, ok.tolist(), counts.tolist(),
                                                          strict=True)
             if fine and "." not in value and INTEGER.fullmatch(value)]
    longest = max((len(value) for value, _ in whole), default=0)
    if longest < 16 or len(whole) < 0.9 * ok.sum():
        return False
    if longest > LONGEST_INTEGER:
        return True
    times = {}
    for value, count in whole:
        times[int(value)] = times.get(int(value), 0) + count
    return _are_ids(times)


def _as_dates(name, cells, values, counts, gaps, options, notes):
    if _many_words(values, lambda text: text in MARKS or dates.looks_like_date(text)):
        return None
    shaped = np.array([dates.looks_like_date(value) for value in values])
    if not shaped.any():
        return None
    alike_ = [value for value, fine in zip(values, shaped.tolist(), strict=True) if fine]
    day_first, doubt, knows = dates.date_order(alike_, cells.style)
    parsed = np.full(len(values), np.nan)
    parsed[shaped] = dates.parse_dates(alike_, day_first)
    ok = ~np.isnan(parsed)
    marked = np.array([value in MARKS for value in values]) | (shaped & ~ok)
    words = [values[i] for i in np.flatnonzero(~ok & ~marked)]
    if not _enough(ok, words, counts, marked, ok.sum() > VARIED):
        return None
    if counts[ok].sum() < VARIED_SHARE * counts[shaped].sum():
        return None
    said = tuple(values[i] for i in np.flatnonzero(~ok))
    if said:
        n = int(counts[~ok].sum())
        notes.add(name, f"{listed(said)} ({n:,} value{'s' * (n != 1)}) is no date and counts as "
                  "missing", "is taken as dates: ")
    words = said[:MOST_WORDS]
    days = _known(name, "date", parsed[ok], options, day_first=day_first)
    if not len(days):
        notes.add(name, "all its values are missing")
        return LEFT_OUT
    found = _date_column(name, days, day_first, words, gaps or bool(said) or len(days) < ok.sum(),
                         notes, knows)
    if found and doubt:
        notes.add(name, doubt, "holds dates in doubt: ")
    return found


def _date_column(name, days, day_first, words, gaps, notes, knows_order=False):
    if days.min() == days.max() and not gaps:
        return _constant(name, notes)
    parts = tuple(part for part in PARTS
                  if len(np.unique(date_part(days, part))) > 1)
    return Column(name, "date", day_first=day_first, knows_order=knows_order, parts=parts,
                  missing_words=words)


def _as_categories(name, values, counts, gaps, forced, options, notes):
    spellings = {}
    n_long = n_there = 0
    for label, count in zip(values, counts.tolist(), strict=True):
        n_there += count
        if len(label) > MAX_TEXT:
            n_long += count
            continue
        times = spellings.setdefault(alike(label), {})
        times[label] = times.get(label, 0) + count
    if n_long > (1 - NUMERIC_SHARE) * n_there:
        notes.add(name, f"texts of more than {MAX_TEXT} characters are no categories")
        return None
    # of several spellings the commonest one names the category
    found = {key: (sum(times.values()), min(times, key=lambda label: (-times[label], label)))
             for key, times in spellings.items()}
    if not forced and len(found) > max(10, n_there // 2):
        reason = f"{len(found):,} different texts in {n_there:,} rows cannot be learned from"
        if cure := cure_of(values):
            reason += f"; {cure}"
        notes.add(name, reason, example=example_of(values, cure))
        return None
    if len(found) == 1 and not gaps and not n_long:
        _constant(name, notes)
        return None
    if not forced and len(found) > VARIED and (cure := cure_of(values)):
        notes.add(name, f"{len(found):,} different texts; {cure}", "is taken as categories: ",
                  example_of(values, cure))
    keys = sorted(found)
    if len(keys) > options.max_categories:
        keys = sorted(sorted(keys, key=lambda key: (-found[key][0], key))[:options.max_categories])
        notes.add(name, f"{len(found):,} categories: the {options.max_categories:,} most frequent "
                  "ones are told apart, the others are not", "has ")
    if n_long:
        notes.add(name, f"{n_long:,} text{'s' * (n_long != 1)} of more than {MAX_TEXT} characters, "
                  "which count as unknown", "has ")
    return Column(name, "category", categories=tuple(found[key][1] for key in keys))


def cure_of(values):
    """Return what to do where most texts look like dates, or like numbers with something beside
    them; an empty string where they do not."""
    if sum(map(bool, map(DATED.fullmatch, values))) > len(values) / 2:
        return "dates have to be written as 2024-12-31 or 2024-12-31 10:00+02:00"
    amounts = [value for value in values if AMOUNT.fullmatch(value)]
    if len(amounts) > len(values) / 2 and not all(map(str.isdecimal, amounts)):
        by_mark = {}
        for value in filter(MARKED.fullmatch, amounts):
            by_mark.setdefault(value[max(value.rfind("."), value.rfind(","))], value)
        if len(by_mark) == 2:
            one, other = (shown_value(by_mark[mark]) for mark in ".,")
            return (f"{one} and {other} have different decimal marks: numbers of a column have to "
                    "be written alike")
        return UNITS_CURE
    return ""


def example_of(values, cure):
    """Return the text that shows best what a cure is for."""
    if cure != UNITS_CURE:
        return values[0]
    return next((value for value in values if AMOUNT.fullmatch(value)
                 and not PLAIN_NUMBER.fullmatch(value)), values[0])
