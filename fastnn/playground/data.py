"""Points of the playground: drawn at random, or two columns of a CSV file; and their features.

The functions that draw are shown to users as they stand here (`code.py`): plain NumPy, no helpers.
"""

import csv
import io
import math
import re
from typing import NamedTuple

import numpy as np

from fastnn.playground.settings import CLASSES, SettingsError

__all__ = ["DRAW", "FORMULAS", "MISSING", "RANGE", "Points", "Table", "features", "make_points"]

RANGE = 2.4  # of the plane that is drawn, in both directions
MAX_ROWS, MAX_COLUMNS, MAX_CELL = 20_000, 200, 200
MISSING = ("", "na", "nan", "null", "none", "?", "-")
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")

# name -> how it is computed from the points x (n, 2)
FORMULAS = {
    "x1": "x[:, 0]",
    "x2": "x[:, 1]",
    "x1^2": "x[:, 0] ** 2",
    "x2^2": "x[:, 1] ** 2",
    "x1*x2": "x[:, 0] * x[:, 1]",
    "sin1": "np.sin(np.pi * x[:, 0])",
    "sin2": "np.sin(np.pi * x[:, 1])",
}


def features(x, names):
    """Return the inputs of the network, float32 (n, n_in), of points x (n, 2)."""
    found = {
        "x1": lambda: x[:, 0], "x2": lambda: x[:, 1], "x1^2": lambda: x[:, 0] ** 2,
        "x2^2": lambda: x[:, 1] ** 2, "x1*x2": lambda: x[:, 0] * x[:, 1],
        "sin1": lambda: np.sin(np.pi * x[:, 0]), "sin2": lambda: np.sin(np.pi * x[:, 1]),
    }
    return np.stack([found[name]() for name in names], axis=1).astype("float32")


# ---- drawn at random ----

def circles(rng, n, noise):
    y = np.arange(n) % 2
    radius = np.where(y == 1, rng.uniform(0, 1, n), rng.uniform(1.4, 2, n))
    angle = rng.uniform(0, 2 * np.pi, n)
    x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return x + rng.normal(size=(n, 2)) * noise * 0.6, y


def xor(rng, n, noise):
    x = rng.uniform(-2, 2, size=(n, 2))
    x += 0.12 * np.sign(x)
    y = (x[:, 0] * x[:, 1] > 0).astype(int)
    return x + rng.normal(size=(n, 2)) * noise * 0.6, y


def spirals(rng, n, noise):
    y = np.arange(n) % 2
    t = np.arange(n) // 2 / ((n + 1) // 2)
    angle = 3.5 * np.pi * t + np.pi * y
    x = np.stack([2 * t * np.sin(angle), 2 * t * np.cos(angle)], axis=1)
    return x + rng.normal(size=(n, 2)) * noise * 0.3, y


def gaussians(rng, n, noise):
    y = np.arange(n) % 2
    center = np.where(y == 1, 0.9, -0.9)[:, None]
    return center + rng.normal(size=(n, 2)) * (0.3 + noise), y


def plane(rng, n, noise):
    x = rng.uniform(-2, 2, size=(n, 2))
    return x, (x[:, 0] + x[:, 1]) / 4 + rng.normal(size=n) * noise * 0.5


def hills(rng, n, noise):
    x = rng.uniform(-2, 2, size=(n, 2))
    y = np.zeros(n)
    for i, (a, b) in enumerate([(-1.3, 0.8), (0, 1), (1.3, 0.8), (-1.3, -0.8), (0, -1),
                                (1.3, -0.8)]):
        y += (-1) ** i * np.exp(-((x[:, 0] - a) ** 2 + (x[:, 1] - b) ** 2) / 0.3)
    return x, y + rng.normal(size=n) * noise * 0.5


DRAW = {"circles": circles, "xor": xor, "spirals": spirals, "gaussians": gaussians, "plane": plane,
        "hills": hills}


class Points(NamedTuple):
    """What a network learns.

    Attributes
    ----------
    x : float array (n, 2)
        About from -2 to 2; those for training first.
    y : array (n,)
        0 or 1 of classes, else values about from -1 to 1.
    n_train : int
    classifies : bool
    names : tuple of str
        Of the axes.
    classes : tuple of str or None
        Names of the two.
    left_out : int
        Rows of a table without a value.
    ranges : tuple
        ((least, largest) of each axis in its own units, and of the target).
    """

    x: np.ndarray
    y: np.ndarray
    n_train: int
    classifies: bool
    names: tuple = ("x₁", "x₂")
    classes: tuple | None = None
    left_out: int = 0
    ranges: tuple = ((-2.0, 2.0), (-2.0, 2.0), (-1.0, 1.0))


def make_points(settings, table=None):
    """Return the points of settings; of ``data=csv`` those of a `Table`."""
    rng = np.random.default_rng(settings.draw)
    if settings.data == "csv":
        if table is None:
            raise SettingsError("data=csv: no CSV file is loaded")
        points = table.points(settings)
    else:
        x, y = DRAW[settings.data](rng, settings.points, settings.noise)
        points = Points(x, y, 0, settings.data in CLASSES)
    n = len(points.x)
    n_test = min(max(round(settings.test * n), 1), n - 1)
    order = rng.permutation(n)
    order = np.concatenate([order[n_test:], order[:n_test]])  # those for the test last
    return points._replace(x=points.x[order], y=points.y[order], n_train=n - n_test)


# ---- a CSV file ----

class Table:
    """A CSV file whose columns can be chosen.

    Parameters
    ----------
    body : bytes
        UTF-8, the first line with the names; separated by commas, semicolons or tabs.

    Raises
    ------
    SettingsError
        When it is no such file, or nothing in it can be learned; the message is for the user.
    """

    def __init__(self, body):
        try:
            text = body.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise SettingsError(f"the file is not text in UTF-8 (byte {error.start}): save it as "
                                "CSV, UTF-8") from None
        if "\0" in text:
            raise SettingsError("the file holds zero bytes: it is no CSV file")
        lines = text.splitlines()
        first = next((line for line in lines if line.strip()), "")
        if not first:
            raise SettingsError("the file is empty")
        separator = max(",;\t", key=first.count)
        try:
            # newline="": a line may end as on an old Mac
            rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator,
                                              strict=True) if any(cell.strip() for cell in row)]
        except csv.Error as error:
            raise SettingsError(f"the file is no CSV file: {error}") from None
        if not rows:
            raise SettingsError("the file is empty")
        header, rows = [name.strip() for name in rows[0]], rows[1:]
        _check_shape(header, rows)
        self.separator = separator
        self.n_rows = len(rows)
        self.columns = {name: [row[i].strip() for row in rows] for i, name in enumerate(header)}
        self.numbers, self.distinct = {}, {}
        for name, cells in self.columns.items():
            self.numbers[name] = _numbers(cells)
            self.distinct[name] = sorted({cell for cell in cells if not _is_missing(cell)})
        self.inputs = [name for name, values in self.numbers.items() if values is not None
                       and len(np.unique(values[np.isfinite(values)])) > 1]
        if len(self.inputs) < 2:
            commas = "" if not any(DECIMAL_COMMA.fullmatch(cells[0]) for cells in
                                   self.columns.values()) else (
                "; numbers with decimal commas are not read: save the file with points")
            raise SettingsError(f"the file has {len(self.inputs)} columns of numbers that vary; "
                                f"two are needed, for the two axes{commas}")
        self.targets = [name for name in self.columns
                        if len(self.distinct[name]) == 2 or name in self.inputs]
        if not set(self.targets) - set(self.inputs[:2]) and len(self.inputs) < 3:
            raise SettingsError("no column is left to be learned: beside two columns of numbers "
                                "one of two classes or of numbers is needed")

    def describe(self):
        """Return what can be chosen, as JSON has it."""
        return {"inputs": self.inputs, "targets": self.targets, "rows": self.n_rows}

    def chosen(self, settings):
        """Return the names of the columns: those of the settings, or the first that will do."""
        target = settings.target
        if not target:
            target = next((name for name in reversed(self.targets)
                           if len(self.distinct[name]) == 2), self.targets[-1])
        x = settings.x or next(name for name in self.inputs if name != target)
        y = settings.y or next((name for name in self.inputs if name not in (target, x)), x)
        for role, name, names in (("x", x, self.inputs), ("y", y, self.inputs),
                                  ("target", target, self.targets)):
            if name in names:
                continue
            if name not in self.columns:
                raise SettingsError(f"{role}={name!r}: the file has no such column; there are "
                                    f"{', '.join(self.columns)}"[:300])
            if role == "target":
                raise SettingsError(f"column {name!r} has {len(self.distinct[name])} different "
                                    "texts: the network tells two apart, or learns numbers")
            raise SettingsError(f"column {name!r} does not hold numbers that vary")
        return x, y, target

    def points(self, settings):
        """Return the points of the chosen columns, scaled to the plane."""
        x, y, target = self.chosen(settings)
        classes = self.distinct[target] if len(self.distinct[target]) == 2 else None
        axes = np.stack([self.numbers[x], self.numbers[y]], axis=1)
        if classes is None:
            values = self.numbers[target]
        else:
            codes = {cell: float(code) for code, cell in enumerate(classes)}
            values = np.array([codes.get(cell, math.nan) for cell in self.columns[target]])
        whole = np.isfinite(axes).all(axis=1) & np.isfinite(values)
        if whole.sum() < 4:
            raise SettingsError(f"only {whole.sum()} rows have values in all of {x}, {y} and "
                                f"{target}: at least 4 are needed")
        axes, values = axes[whole], values[whole]
        low, high = axes.min(axis=0), axes.max(axis=0)
        with np.errstate(over="ignore"):
            spans = *(high - low), values.max() - values.min()
        if not np.isfinite(spans).all():
            raise SettingsError("a column holds values too far from each other: their difference "
                                "is beyond the numbers that a computer has")
        if not (high > low).all() or values.min() == values.max():
            raise SettingsError("in the rows that are complete a column has one value only")
        scaled = (axes - low) / (high - low) * 4 - 2
        bounds = float(values.min()), float(values.max())
        if classes is None:
            values = (values - bounds[0]) / (bounds[1] - bounds[0]) * 2 - 1
        else:
            values = values.astype(int)
        ranges = (*((float(a), float(b)) for a, b in zip(low, high, strict=True)), bounds)
        return Points(scaled, values, 0, classes is not None, (x, y),
                      None if classes is None else tuple(classes), int((~whole).sum()), ranges)


def _check_shape(header, rows):
    if len(header) < 2:
        raise SettingsError("the file has one column only: are its values separated by commas, "
                            "semicolons or tabs?")
    if len(header) > MAX_COLUMNS or len(rows) > MAX_ROWS:
        raise SettingsError(f"the file has {len(rows)} rows of {len(header)} columns; the "
                            f"playground takes {MAX_ROWS} of {MAX_COLUMNS}")
    if len(rows) < 4:
        raise SettingsError(f"the file has {len(rows)} rows below its first line; at least 4 are "
                            "needed")
    if not all(header) or len(set(header)) < len(header):
        raise SettingsError("the first line of the file must name each column, each name once: "
                            f"{', '.join(header)}"[:300])
    for number, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise SettingsError(f"row {number} of the file has {len(row)} values, the first one "
                                f"has {len(header)} names")
        if max(map(len, row)) > MAX_CELL:
            raise SettingsError(f"row {number} of the file has a value of more than {MAX_CELL} "
                                "characters")


def _is_missing(cell):
    return cell.lower() in MISSING


def _numbers(cells):
    """Return a float array, NaN where a value is missing; None where there is text."""
    found = np.empty(len(cells))
    for i, cell in enumerate(cells):
        try:
            found[i] = math.nan if _is_missing(cell) else float(cell)
        except ValueError:
            return None
    found[~np.isfinite(found)] = math.nan
    return found if np.isfinite(found).any() else None
