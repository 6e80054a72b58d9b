"""Dates as people write them, to days since 1970 in UTC."""

import datetime
import re

import numpy as np

from fastnn.tables.cells import DAY_US
from fastnn.tables.numerals import LONGEST, in_ascii

__all__ = ["date_order", "in_doubt", "looks_like_date", "parse_date", "parse_dates"]

# offsets in hours of zones by their names: those of RFC 5322, and Europe's and Japan's
ZONES = {"UT": 0, "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8,
         "PDT": -7, "WET": 0, "WEST": 1, "CET": 1, "CEST": 2, "MEZ": 1, "MESZ": 2, "EET": 2,
         "EEST": 3, "MSK": 3, "JST": 9}
ZONE = (r"(Z|z|[-+]\d\d(?::?\d\d)?(?::\d\d)?|(?:UTC|GMT)(?: ?[-+]\d{1,2}(?::?\d\d)?)?|"
        + "|".join(ZONES) + r")")
TIME = (r"(?:(?:[ T]+|, ?|:(?=\d\d:))(\d{1,2})"
        r"(?:[:h](\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?|(?<=T\d\d)|(?=\s*[AaPp]\.?[Mm]))"
        rf"\s*([AaPp]\.?[Mm]\.?)?(?:\s*(?:Uhr|h))?\s*{ZONE}?(?:\[[\w/+-]+\])?)?")
MONTHS = {name: i for i, name in enumerate(
    ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1)}
MONTH = r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
WEEKDAY = r"(?:(?i:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?\.?,? +)?"
ISO = re.compile(WEEKDAY + r"(\d{4})([-/.]) ?(\d{1,2})\2 ?(\d{1,2})\.?" + TIME, re.ASCII)
USUAL = re.compile(r"(\d{4})(-)(\d\d)-(\d\d)[ T](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?()(Z)?",
                   re.ASCII)  # most files' way, which ISO has too, in half the time
PLAIN_ISO = re.compile(r"(?!0000)\d{4}-\d\d-\d\d", re.ASCII)  # NumPy has a year 0
NUMERIC = re.compile(WEEKDAY + r"(\d{1,2})([-/.]) ?(\d{1,2})\2 ?(\d{4}|\d\d)" + TIME, re.ASCII)
NAMED = re.compile(
    rf"{WEEKDAY}(\d{{1,2}})(?:st|nd|rd|th)?[-/. ]+{MONTH}[-/., ]+(\d{{4}}|\d\d)" + TIME,
    re.ASCII | re.IGNORECASE)
AMERICAN = re.compile(
    rf"{WEEKDAY}{MONTH}[-/. ]+(\d{{1,2}})(?:st|nd|rd|th)?[-/., ]+(\d{{4}})" + TIME,
    re.ASCII | re.IGNORECASE)
YEAR_FIRST = re.compile(rf"(\d{{4}})[-/. ]+{MONTH}[-/. ]+(\d{{1,2}})" + TIME,
                        re.ASCII | re.IGNORECASE)
# of C's ctime, and of programs that put a zone into it: Mon Nov 28 10:37:00 UTC 2022
CTIME = re.compile(rf"{WEEKDAY}{MONTH} +(\d{{1,2}}) +(\d{{1,2}}):(\d\d):(\d\d)(?:\.(\d{{1,9}}))?"
                   rf"(?: +([AP]M))?(?: +{ZONE})? +(\d{{4}})", re.ASCII | re.IGNORECASE)
# 20221128T103700Z, 20221128 10:37, 2022-11-28T103700Z; 2022-11-28 2023 is none
COMPACT = re.compile(r"(\d{4})(-?)(\d\d)\2(\d\d)(?:T|(?<!-\d\d) )"
                     rf"(\d\d):?(\d\d)(?::?(\d\d)(?:[.,](\d{{1,9}}))?)?()\s*{ZONE}?",
                     re.ASCII)
WEEK = re.compile(r"(\d{4})-?W(\d\d)(?:-?([1-7]))?", re.ASCII)  # its Monday without a day
FORMS = USUAL, ISO, NUMERIC, NAMED, AMERICAN, YEAR_FIRST, CTIME, COMPACT, WEEK
# hyphens and blanks of typography, and what East Asia writes behind year, month and day
WRITTEN = str.maketrans("\u2010\u2011\u2013\u2212\uff0d\uff0f\uff0e\uff1a\u00a0\u202f\u2009\u3000"
                        "\u5e74\u6708\u65e5\ub144\uc6d4\uc77c", "-----/.:    --.--.")
EPOCH = datetime.datetime(1970, 1, 1)
MICROSECOND = datetime.timedelta(microseconds=1)


def looks_like_date(text):
    """Whether a text has the form of a date, in the calendar or not."""
    if len(text) > LONGEST or not text.isascii():
        text = _plain(text)
    return any(form.fullmatch(text) for form in FORMS)


def _plain(text):
    if len(text) > LONGEST:
        return ""
    return text if text.isascii() else in_ascii(text.translate(WRITTEN))


def in_doubt(text):
    """Return the day and the month of a text whose order only others can tell, or None."""
    found = NUMERIC.fullmatch(_plain(text))
    if found is None or found[1] == found[3] or max(int(found[1]), int(found[3])) > 12 or (
            found[2] == "."):  # whoever writes points has the day first
        return None
    return int(found[1]), int(found[3])


def date_order(texts, style=None):
    """Return whether 1/2/2024 is a day in February, a remark where that is in doubt, and whether
    the texts have such dates, or the user has said it.

    Parameters
    ----------
    texts : list of str
        Dates.
    style : Style or None, default=None
    """
    if style is not None and style.day_first is not None:
        return style.day_first, "", True
    first = second = points = 0
    example, ends = None, set()
    for text in texts:
        found = NUMERIC.fullmatch(text if text.isascii() else _plain(text))
        if found is None:
            continue
        points += found[2] == "."
        low, high = sorted((int(found[1]), int(found[3])))
        if not (1 <= low <= 12 and high <= 31):  # no date in either order: it speaks for none
            continue
        first += int(found[1]) > 12
        second += int(found[3]) > 12
        ends.add((found[1], found[3], found[4]))
        if example is None and found[1] != found[3]:
            example = found[1], found[3], text
    if first and second:
        what = "day" if first >= second else "month"
        return first >= second, (
            f"{first:,} can have the day first only, {second:,} the month; all are read with the "
            f"{what} first"), True
    if first != second:
        return first > second, _year_first(ends) if first > second else "", True
    if example is None or points:
        return True, _year_first(ends), example is not None
    day_first = style is not None and style.usual == ","
    day, month, text = example if day_first else (example[1], example[0], example[2])
    return day_first, (f"{text!r} is read as day {int(day)} of month {int(month)}; if it is the "
                       f"other way round: --{'no-' if day_first else ''}day-first "
                       f"(day_first={not day_first})"), True


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
    if len(text) > LONGEST or not text.isascii():
        text = _plain(text)
    if found := USUAL.fullmatch(text) or ISO.fullmatch(text):
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
    elif found := YEAR_FIRST.fullmatch(text):
        year, month, day, *time = found.groups()
        month = MONTHS[month.lower()]
    elif found := CTIME.fullmatch(text):
        month, day, *time, year = found.groups()
        month = MONTHS[month.lower()]
    elif found := COMPACT.fullmatch(text):
        year, _, month, day, *time = found.groups()
    elif found := WEEK.fullmatch(text):
        try:
            day = datetime.date.fromisocalendar(*(int(part or 1) for part in found.groups()))
        except ValueError:
            return np.nan
        return float(day.toordinal() - EPOCH.toordinal())
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
    micro = int(fraction.ljust(6, "0")[:6]) if fraction else 0
    second, more = int(second or 0), 0
    if hour == 24 and not (minute or second or micro):  # the end of a day
        hour, more = 0, DAY_US
    if second == 60:  # a leap second
        second, more = 59, 1_000_000
    moment = datetime.datetime(year, month, day, hour, minute, second, micro) - EPOCH
    return (moment // MICROSECOND + more - (_offset(zone) if zone else 0)) / DAY_US


def _offset(zone):
    """Return by how many microseconds a zone is before UTC."""
    sign = max(zone.find("+"), zone.find("-"))
    if sign < 0:
        return ZONES.get(zone.upper(), 0) * 3_600_000_000
    digits = zone[sign + 1:].replace(":", "")
    digits = digits.zfill(2).ljust(4, "0") if len(digits) < 3 else digits.zfill(4)
    hours, minutes = int(digits[:2]), int(digits[2:4])
    if hours > 23 or minutes > 59:
        raise ValueError
    return (hours * 60 + minutes) * (60_000_000 if zone[sign] == "+" else -60_000_000)
