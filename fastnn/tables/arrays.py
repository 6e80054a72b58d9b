"""Columns that are lists of Python's values, or arrays of NumPy, as `Cells`."""

import numpy as np

from fastnn.tables import cells as cells_
from fastnn.tables.cells import Cells, moments
from fastnn.tables.errors import TableError

__all__ = ["Array", "Keyed", "Made", "Objects", "array_cells", "doubles"]


class Objects:
    """A column that is a list of Python's values."""

    def __init__(self, name, values):
        self.name, self.values = name, values

    def __len__(self):
        return len(self.values)

    def cells(self):
        """Return the canonical cells."""
        return cells_.from_objects(self.name, self.values)

    def raw(self):
        """Return the values as they are."""
        return self.values


class Keyed(Objects):
    """A column of rows that are dicts: its values are taken out of them when they are asked for, as
    the rows of a request may have any number of columns that nobody uses."""

    def __init__(self, name, rows, key):
        self.name, self.rows, self.key = name, rows, key

    @property
    def values(self):
        """The values, None where a row has no such key."""
        key = self.key
        return [row.get(key) for row in self.rows]

    def __len__(self):
        return len(self.rows)

    def lacking(self):
        """Return the number of the first row that has no such key, None where all have it."""
        return next((i for i, row in enumerate(self.rows) if self.key not in row), None)


class Array:
    """A column that is a NumPy array."""

    def __init__(self, name, values):
        self.name, self.values = name, values

    def __len__(self):
        return len(self.values)

    def cells(self):
        """Return the canonical cells."""
        return array_cells(self.name, self.values)

    def raw(self):
        """Return the values as they are."""
        return self.values.tolist()


def array_cells(name, values):
    """Return the cells of a one-dimensional NumPy array."""
    mask = None
    if isinstance(values, np.ma.MaskedArray):
        mask, values = np.ma.getmaskarray(values), values.data
        if values.dtype.kind == "M":
            values = np.where(mask, np.datetime64("NaT"), values)
        elif values.dtype.kind not in "iubf":
            return cells_.from_objects(name, [None if gone else value for gone, value in
                                              zip(mask.tolist(), values.tolist(), strict=True)])
    kind = values.dtype.kind
    if kind == "b":
        return Cells("boolean", array=values, mask=mask)
    if kind in "iu":
        return Cells("number", array=values.astype(np.uint64 if kind == "u" and
                                                   values.dtype.itemsize == 8 else np.int64),
                     mask=mask)
    if kind == "f":
        values = doubles(name, values)
        if mask is not None:
            values = np.where(mask, np.nan, values)
        return Cells("number", array=values)
    if kind == "M":
        return Cells("date", array=moments(name, values))
    if kind == "U":
        return cells_.from_texts(values.tolist())
    if kind in "OST":  # T: NumPy's text of any length, which may be missing
        return cells_.from_objects(name, values.tolist())
    if kind == "m":
        raise TableError(f"column {name!r} holds durations: make numbers of them, such as days: "
                         f"frame[{name!r}] / np.timedelta64(1, 'D')", name)
    raise TableError(f"column {name!r} has dtype {values.dtype}, which cannot become numbers: turn "
                     "it into numbers or text, or leave it out", name)


def doubles(name, values):
    """Return numbers of any precision as float64: float32 ones as the text of them would be.

    0.1 of float32 is 0.10000000149 in float64, but a file that is written of it says 0.1.
    """
    if values.dtype.itemsize == 8:
        return values.astype(np.float64, copy=False)
    if values.dtype.itemsize > 8:
        return values.astype(np.float64)
    with np.errstate(invalid="ignore"):  # NaN that signals
        exact = values.astype(np.float64)
        known = values.dtype.itemsize == 4
        found = _shortest(values, exact) if known else np.full_like(exact, np.nan)
    left = np.flatnonzero(np.isnan(found))
    if len(left):
        unique, places = np.unique(values[left], return_inverse=True)
        found[left] = unique.astype(str).astype(np.float64)[places.reshape(-1)]
        found[np.isnan(found)] = np.nan  # of one sign and payload
    return found


# Of powers of ten these are exact in float64, so that a whole number below 2**53 times or over one
# of them is rounded once, as a text is when it is read.
POWERS = 10.0 ** np.arange(23)
LEAST, MOST = 1e-12, 1e15  # numbers whose digits these powers move before the point
STEPS = np.concatenate([1 / POWERS[12:0:-1], POWERS[:16]])  # from the LEAST to the MOST


def _shortest(values, exact):
    """Return, of float32 numbers, the decimals of fewest digits that round to them, as float64; NaN
    where that is not known here. Those of six digits are told apart, and nine tell all apart.

    An eighth of the time of the texts themselves.
    """
    size, found = np.abs(exact), np.full_like(exact, np.nan)
    whole = (exact == np.floor(exact)) & (size < 1 << 24)
    found[whole] = exact[whole]
    # below a power of two numbers lie closer than above it: the nearest decimal is not the one then
    even = np.frexp(values)[0] == 0.5
    left = np.flatnonzero(~whole & ~even & (size >= LEAST) & (size < MOST))
    places = np.searchsorted(STEPS, size[left], "right") - 13  # 10**places is the digit in front
    for digits in range(6, 10):
        moved = digits - 1 - places
        up, down = POWERS[np.maximum(moved, 0)], POWERS[np.maximum(-moved, 0)]
        number = exact[left] * up / down
        near = np.rint(number)
        decimal = near * down / up
        # halfway between two decimals, the text has the one that its rule says
        fits = (decimal.astype(np.float32) == values[left]) & (np.abs(number - near) < 0.4999)
        found[left[fits]] = decimal[fits]
        stays = ~fits & (np.abs(number - near) < 0.4999)
        left, places = left[stays], places[stays]
    return found


class Made:
    """A column of cells that are there."""

    def __init__(self, name, cells):
        self.name, self._cells = name, cells

    def __len__(self):
        return len(self._cells)

    def cells(self):
        """Return the canonical cells."""
        return self._cells

    def raw(self):
        """Return the values as text."""
        codes, values = self._cells.texts()
        return [values[code] if code >= 0 else None for code in codes.tolist()]
