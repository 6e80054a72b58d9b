"""One row by a dict, in microseconds: what services ask for."""

import math

import numpy as np

from fastnn.tables.cells import MISSING_WORDS, PLAIN_NUMBER
from fastnn.tables.columns import TRUTH

__all__ = ["RowReader"]


class RowReader:
    """Reads rows for a schema; whatever is not plain goes the way of tables."""

    def __init__(self, schema):
        self.na = frozenset(schema.na)
        self.n_numbers = len(schema.number_names)
        self.odd_numbers = any(PLAIN_NUMBER.fullmatch(word) for word in schema.na)
        place = code = 0
        self.simple, self.rest, self.categories = [], [], []
        for column in schema.columns:
            if column.kind == "category":
                known = {text: i for text, i in column.places.items()
                         if not column.is_missing(text, self.na)}
                self.categories.append((column.name, known, len(column.categories) + 1))
                code += 1
                continue
            plain = column.kind == "number" and not any(
                PLAIN_NUMBER.fullmatch(word) for word in column.missing_words)
            if plain and not self.odd_numbers:
                self.simple.append((column.name, place, column))
            else:
                self.rest.append((column, place))
            place += len(column.number_names)
        self.empty = [math.nan] * self.n_numbers

    def __call__(self, row):
        """Return numbers (1, p) and codes (1, q), or None where the row needs a closer look."""
        numbers = self.empty.copy()
        try:
            for name, place, column in self.simple:
                value = row[name]
                kind = type(value)
                if kind is float or kind is int:
                    numbers[place] = value
                elif value is not None:
                    found = self._number(value, kind, column)
                    if found is None:
                        return None
                    numbers[place] = found
            for column, place in self.rest:
                if not self._other(row[column.name], column, place, numbers):
                    return None
            codes = []
            for name, known, missing in self.categories:
                value = row[name]
                kind = type(value)
                if kind is str:
                    found = known.get(value)
                    if found is None:
                        return None
                    codes.append(found)
                elif value is None:
                    codes.append(missing)
                elif kind is int or kind is bool:
                    found = known.get(str(value))
                    if found is None:
                        return None
                    codes.append(found)
                else:
                    return None
            found = np.array([numbers], np.float64)
        except (KeyError, TypeError, OverflowError):
            return None
        total = math.fsum(numbers) if self.n_numbers else 0.0
        if math.isinf(total) or (total != total and np.isinf(found).any()):
            return None
        return found, np.array([codes], np.int32).reshape(1, len(codes))

    def _number(self, value, kind, column):
        if kind is not str or column.form.is_plain is False:
            return None
        value = value.strip()
        if not value or value in MISSING_WORDS or value in column.missing_words or (
                value in self.na):
            return math.nan
        return float(value) if PLAIN_NUMBER.fullmatch(value) else None

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
            days = column.parse([text])
            if days[0] != days[0]:
                return False
            for i, one in enumerate(column.with_parts(days)):
                numbers[place + i] = one[0]
            return True
        return False
