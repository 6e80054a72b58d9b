"""One row by a dict, in microseconds: what services ask for."""

import datetime
import math
from operator import itemgetter

import numpy as np

from fastnn.tables.cells import MISSING_WORDS, PLAIN_NUMBER
from fastnn.tables.columns import TRUTH
from fastnn.tables.dates import in_doubt, parse_date

__all__ = ["RowReader"]

INFINITE = math.inf
PLAIN = frozenset({float, int, type(None)})  # what an array of numbers is made of as it is
EPOCH = datetime.date(1970, 1, 1).toordinal()


class RowReader:
    """Reads rows for a schema; whatever is not plain goes the way of tables."""

    def __init__(self, schema):
        self.na = frozenset(schema.na)
        self.n_numbers = len(schema.number_names)
        # words that mean missing by their value: -999, 1900-01-01
        self.odd = any(column.missing_values(schema.na) for column in schema.columns)
        place = code = 0
        self.simple, self.rest, self.categories = [], [], []
        for column in schema.columns:
            if column.kind == "category":
                known = {text: place for text, place in column.places.items()
                         if text not in self.na}
                self.categories.append((column.name, known, len(column.categories) + 1))
                code += 1
                continue
            if column.kind == "number":
                self.simple.append((column.name, place, column))
            else:
                self.rest.append((column, place))
            place += len(column.number_names)
        self.empty = [math.nan] * self.n_numbers
        # the shortest way, of schemas of nothing but plain numbers and categories
        self.numbers_of = self.codes_of = None
        if not self.rest and len(self.simple) > 1:
            self.numbers_of = itemgetter(*(name for name, _, _ in self.simple))
        if len(self.categories) > 1:
            self.codes_of = itemgetter(*(name for name, _, _ in self.categories))
            self.known = [{**known, None: missing} for _, known, missing in self.categories]

    def __call__(self, row):
        """Return numbers (1, p) and codes (1, q), or None where the row needs a closer look."""
        if type(row) is not dict or self.odd:
            return None
        try:
            numbers = self._numbers(row)
            if numbers is None:
                return None
            if self.codes_of is not None:
                try:
                    codes = [known[value] for known, value in zip(self.known, self.codes_of(row),
                                                                  strict=True)]
                except KeyError:
                    codes = self._codes(row)
            else:
                codes = self._codes(row)
            if codes is None:
                return None
            numbers = np.array([numbers], np.float64)
        except (KeyError, TypeError, OverflowError, ValueError):  # the last: of a year 0 or 10000
            return None
        return numbers + 0.0, np.array([codes], np.int32)

    def _numbers(self, row):
        if self.numbers_of is not None:
            values = self.numbers_of(row)
            if PLAIN.issuperset(map(type, values)):
                return None if INFINITE in values or -INFINITE in values else values
        numbers = self.empty.copy()
        for name, place, column in self.simple:
            value = row[name]
            kind = type(value)
            if kind is float:
                if value == INFINITE or value == -INFINITE:
                    return None
                numbers[place] = value
            elif kind is int:
                numbers[place] = value
            elif value is not None:
                found = self._number(value, kind, column)
                if found is None:
                    return None
                numbers[place] = found
        for column, place in self.rest:
            if not self._other(row[column.name], column, place, numbers):
                return None
        return numbers

    def _codes(self, row):
        codes = []
        for name, known, missing in self.categories:
            value = row[name]
            kind = type(value)
            if kind is str:
                found = known.get(value)
            elif value is None:
                found = missing
            elif kind is int or kind is bool:
                found = known.get(str(value))
            else:
                return None
            if found is None:
                return None
            codes.append(found)
        return codes

    def _number(self, value, kind, column):
        if kind is not str or column.form.is_plain is False:
            return None
        value = value.strip()
        if not value or value in MISSING_WORDS or value in column.missing_words or (
                value in self.na):
            return math.nan
        if column.whole and "." in value:  # 1.299 may be 1299, which is told
            return None
        found = float(value) if PLAIN_NUMBER.fullmatch(value) else INFINITE
        return None if found in (INFINITE, -INFINITE) else found

    def _other(self, value, column, place, numbers):
        if value is None:
            return True
        kind = type(value)
        if column.kind == "boolean":
            if kind is bool:
                numbers[place] = float(value)
                return True
            if kind is str:
                found = TRUTH.get(value.lower())
                if found is not None and not column.is_missing(value, self.na):
                    numbers[place] = found
                    return True
            return False
        if column.kind == "date" and kind is str:
            text = value.strip()
            if not text or column.is_missing(text, self.na):
                return True
            days = parse_date(text, column.day_first)
            if days != days or not column.knows_order and in_doubt(text):
                return False
            numbers[place] = days
            for i, part in enumerate(column.parts, 1):
                numbers[place + i] = _date_part(days, part)
            return True
        return False


def _date_part(days, part):
    """As `date_part`, of a single number."""
    whole = math.floor(days)
    if part == "weekday":
        return float((whole + 3) % 7)
    if part == "hour":
        return float(np.round((days - whole) * 24, 9))
    return float(datetime.date.fromordinal(whole + EPOCH).month)
