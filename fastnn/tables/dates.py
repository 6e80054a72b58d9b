"""Dates as people write them, to days since 1970 in UTC."""

import datetime
import re

import numpy as np

from fastnn.tables.cells import DAY_US

__all__ = ["date_order", "looks_like_date", "parse_dates"]

TIME = (r"(?:(?:[ T]+|, ?)(\d{1,2}):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?\s*([AaPp]\.?[Mm]\.?)?"
        r"\s*(Z|z|UTC|GMT|[-+]\d\d(?::?\d\d)?(?::\d\d)?)?)?")
MONTHS = {name: i for i, name in enumerate(
    ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1)}
MONTH = r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
ISO = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})" + TIME, re.ASCII)
PLAIN_ISO = re.compile(r"(?!0000)\d{4}-\d\d-\d\d", re.ASCII)  # NumPy has a year 0
NUMERIC = re.compile(r"(\d{1,2})([-/.]) ?(\d{1,2})\2 ?(\d{4}|\d\d)" + TIME, re.ASCII)
NAMED = re.compile(rf"(\d{{1,2}})(?:st|nd|rd|th)?[-/. ]+{MONTH}[-/., ]+(\d{{4}}|\d\d)" + TIME,
                   re.ASCII | re.IGNORECASE)
AMERICAN = re.compile(rf"{MONTH} +(\d{{1,2}})(?:st|nd|rd|th)?,? +(\d{{4}})" + TIME,
                      re.ASCII | re.IGNORECASE)
EPOCH = datetime.datetime(1970, 1, 1)
MICROSECOND = datetime.timedelta(microseconds=1)


def looks_like_date(text):
    """Whether a text has the form of a date, in the calendar or not."""
    return any(form.fullmatch(text) for form in (ISO, NUMERIC, NAMED, AMERICAN))


def date_order(texts, style=None):
    """Return whether 1/2/2024 is a day in February, and a remark where that is in doubt.

    Parameters
    ----------
    texts : list of str
    style : Style or None
    """
    if style is not None and style.day_first is not None:
        return style.day_first, ""
    first = second = points = 0
    example, ends = None, set()
    for text in texts:
        found = NUMERIC.fullmatch(text)
        if found is None:
            continue
        first += int(found[1]) > 12
        second += int(found[3]) > 12
        points += found[2] == "."
        ends.add((found[1], found[3], found[4]))
        if example is None and found[1] != found[3]:
            example = found[1], found[3], text
    if first != second:
        return first > second, _year_first(ends) if first > second else ""
    if example is None or points:
        return True, _year_first(ends)
    day_first = style is not None and style.usual == ","
    day, month, text = example if day_first else (example[1], example[0], example[2])
    return day_first, (f"{text!r} is read as day {int(day)} of month {int(month)}; if it is the "
                       f"other way round: --{'no-' if day_first else ''}day-first "
                       f"(day_first={not day_first})")


def _year_first(parts):
    """Return a remark where 24/03/05 may be a day in March 2024: where the last of three parts of
    two digits is a day of the month everywhere, and has more different values than the first."""
    days, months, years = map(set, zip(*parts, strict=True)) if parts else [set()] * 3
    if len(years) <= len(days) or any(len(year) > 2 or not 1 <= int(year) <= 31 for year in years) \
            or any(len(day) < 2 for day in days) or max(map(int, months)) > 12:
        return ""
    day, month, year = min(parts)
    return (f"{day}, {month} and {year} are read as day, month and year; if the year comes first, "
            "write it with four digits")


def parse_dates(texts, day_first=True):
    """Return texts as days since 1970, (n,) float64, NaN where they are no dates."""
    if texts and all(map(PLAIN_ISO.fullmatch, texts)):
        try:
            return np.array(texts, dtype="datetime64[us]").astype(np.int64) / DAY_US
        except ValueError:
            pass
    return np.fromiter((parse_date(text, day_first) for text in texts), np.float64, len(texts))


def parse_date(text, day_first=True):
    """Return a text as days since 1970, NaN where it is no date."""
    if found := ISO.fullmatch(text):
        year, _, month, day, *time = found.groups()
    elif found := NUMERIC.fullmatch(text):
        day, _, month, year, *time = found.groups()
        if not day_first:
            day, month = month, day
    elif found := NAMED.fullmatch(text):
        day, month, year, *time = found.groups()
        month = MONTHS[month.lower()]
    elif found := AMERICAN.fullmatch(text):
        month, day, year, *time = found.groups()
        month = MONTHS[month.lower()]
    else:
        return np.nan
    try:
        return _days(int(year), len(year) == 2, int(month), int(day), *time)
    except (ValueError, OverflowError):
        return np.nan


def _days(year, short, month, day, hour, minute, second, fraction, half, zone):
    if short:  # as POSIX has it
        year += 1900 if year >= 69 else 2000
    hour, minute = int(hour or 0), int(minute or 0)
    if half:
        if not 1 <= hour <= 12:
            raise ValueError
        hour = hour % 12 + 12 * (half[0] in "pP")
    micro = int((fraction or "").ljust(6, "0")[:6])
    moment = datetime.datetime(year, month, day, hour, minute, int(second or 0), micro) - EPOCH
    whole = moment // MICROSECOND
    if zone and zone[0] in "+-":
        digits = zone[1:].replace(":", "").ljust(4, "0")
        if int(digits[:2]) > 23 or int(digits[2:4]) > 59:
            raise ValueError
        offset = (int(digits[:2]) * 60 + int(digits[2:4])) * 60_000_000
        whole -= offset if zone[0] == "+" else -offset
    return whole / DAY_US
