"""Numbers and categories as look-up codes: what a first layer reads of a dense encoding, without
making it.

A number becomes a piecewise-linear encoding (Gorishniy, Rubachev & Babenko 2022): 1 for each bin
below its own, the fraction of its own bin, 0 above. A category is one-hot. Either has an input of
its own for missing values, categories also one for those that the fit has not seen. A training step
or a prediction looks up two rows of a table for a number, and one for a category, however many bins
or categories there are; the result is that of the dense encoding.

    encoder = fastnn.encoders.Encoder([Numbers(64), Categories()]).fit(X)
    net = fastnn.MLP((encoder.n_inputs, 128, 1))
    net.fit(encoder.transform(X), y)
    net.predict(encoder.transform(new))
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastnn.core import validation
from fastnn.core.codes import Codes, is_codes
from fastnn.core.columns import (
    as_categories,
    as_numbers,
    checked_columns,
    is_missing,
    is_name,
    is_numeric,
)
from fastnn.core.notices import shown, suggests
from fastnn.files.plain import from_plain, to_plain

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from fastnn.core.types import Array, ArrayLike, DType

__all__ = ["Categories", "Codes", "Encoder", "Numbers", "greedy_edges"]

MOST_COLUMNS = 1 << 16  # of a file
# categories that a file can hold; NumPy's own are equal to Python's, which are read from it
LABELS = str, bool, int, float, np.bool_, np.integer, np.floating


@dataclass(frozen=True)
class Numbers:
    """A column of numbers, NaN where one is missing.

    Parameters
    ----------
    bins : int, default=64
        At most so many, see `greedy_edges`.
    """

    bins: int = 64

    def __post_init__(self):
        validation.check_count("bins", self.bins)


@dataclass(frozen=True)
class Categories:
    """A column of categories: strings, whole numbers or booleans; None and NaN are missing.

    Parameters
    ----------
    most : int or None, default=None
        So many of the most frequent categories have an input of their own; the others share that
        of unknown ones. None: all of the fit have.
    """

    most: int | None = None

    def __post_init__(self):
        if self.most is not None:
            validation.check_count("most", self.most)


def greedy_edges(x: ArrayLike, bins: int) -> Array:
    """Return edges of bins of about equal counts, ascending: float64 array of at most bins + 1.

    A value that alone has more rows than a bin gets a bin to itself, and the bins of the others are
    cut anew from what is left (as LightGBM does; Ke et al. 2017). Quantiles would put most of their
    edges onto that value: a column that is mostly 0 would have a few bins only. Where there are no
    more values than edges, each value is an edge.

    Parameters
    ----------
    x : float array (n,)
        Finite, at least two values.
    bins : int
        How many, at most.

    Returns
    -------
    array (n_edges,)
        In rising order.
    """
    validation.check_count("bins", bins)
    values, counts = np.unique(x, return_counts=True)
    if not len(values):
        raise ValueError("x is empty, must hold numbers")
    if values.dtype.kind not in "biuf" or not np.isfinite(values[-1:]).all() or (
            not np.isfinite(values[:1]).all()):  # NaN comes last
        raise ValueError("x must hold finite numbers; leave the others out: x[np.isfinite(x)]")
    if len(values) <= bins + 1:
        return values.astype(float)
    alone = np.zeros(len(values), bool)
    while True:
        left, n_left = counts[~alone].sum(), bins - alone.sum()
        heavy = ~alone & (counts * n_left > left)
        if not heavy.any():
            break
        alone |= heavy
    firsts: list[int] = []  # of each bin its first value
    weights: list[float] = []  # and its rows
    size = 0.0
    for i, count in enumerate(counts):
        if i == 0 or alone[i] or alone[i - 1] or weights[-1] + count / 2 > size:
            size = left / max(n_left, 1)  # what is left, evenly
            firsts.append(i)
            weights.append(0)
            n_left -= not alone[i]
        weights[-1] += count
        left -= 0 if alone[i] else count
    while len(firsts) > bins:  # values alone have cut the others' bins short
        pair = int(np.argmin(np.add(weights[:-1], weights[1:])))
        weights[pair] += weights.pop(pair + 1)
        firsts.pop(pair + 1)
    at = np.array(firsts[1:], np.intp)
    # halves first: a sum could overflow
    between = values[at - 1] / 2 + values[at] / 2
    return np.unique(np.concatenate([values[:1], between, values[-1:]]).astype(float))


class _Bins(NamedTuple):
    """A fitted column of numbers; its last input is that of missing ones."""

    edges: np.ndarray
    kind: Numbers = Numbers()

    @property
    def n_inputs(self):
        return len(self.edges)

    def adds(self):
        found = np.ones(self.n_inputs, np.uint8)
        found[[0, -1]] = 0
        return found

    def entries(self, name, column):
        """Table rows (n, 2), values (n, 2), and which there are (n, 2)."""
        x = as_numbers(name, column)
        edges, last = self.edges, len(self.edges) - 2
        missing = np.isnan(x)
        known = np.clip(np.where(missing, edges[0], x), edges[0], edges[-1])
        k = np.clip(np.searchsorted(edges, known, "right") - 1, 0, last)
        # numbers that float64 has may be farther apart than it can tell
        share = 1.0 if edges[-1] / 2 - edges[0] / 2 < 0.5 * np.finfo(float).max else 0.5
        low = share * edges[k]
        fraction = (share * known - low) / (share * edges[k + 1] - low)
        rows = np.stack([k - 1, np.where(missing, self.n_inputs - 1, k)], axis=1)
        values = np.stack([1 - fraction, np.where(missing, 1, fraction)], axis=1)
        there = np.stack([(k > 0) & ~missing, np.ones(len(x), bool)], axis=1)
        return rows, values, there

    def settings(self):
        return {"bins": self.kind.bins, "edges": self.edges.tolist()}

    @classmethod
    def from_settings(cls, bins, edges):
        if not isinstance(edges, list) or len(edges) < 2:
            raise ValueError("edges must be a list of two or more")
        try:
            edges = np.array(edges, float)
        except OverflowError as error:
            raise ValueError(f"edges: {error}") from None
        if edges.ndim != 1 or not np.isfinite(edges).all() or (np.diff(edges) <= 0).any():
            raise ValueError("edges must be finite numbers in rising order")
        return cls(edges, Numbers(bins))


class _Table(NamedTuple):
    """A fitted column of categories; its last two inputs are those of unknown and missing ones."""

    numbers: dict
    kind: Categories = Categories()

    @property
    def n_inputs(self):
        return len(self.numbers) + 2

    def adds(self):
        return np.zeros(self.n_inputs, np.uint8)

    def entries(self, name, column):
        """Table rows (n, 1), values (n, 1), and which there are (n, 1)."""
        unknown = len(self.numbers)
        rows = np.array([unknown + 1 if is_missing(value) else self.numbers.get(value, unknown)
                         for value in as_categories(name, column)], np.int64).reshape(-1, 1)
        return rows, np.ones(rows.shape), np.ones(rows.shape, bool)

    def settings(self):
        odd = [value for value in self.numbers if not isinstance(value, LABELS)]
        if odd:
            raise TypeError(f"category {shown(odd[0])} is {type(odd[0]).__name__}, a file can hold "
                            "strings, numbers and booleans")
        return {"most": self.kind.most, "categories": to_plain(list(self.numbers))}

    @classmethod
    def from_settings(cls, most, categories):
        if not isinstance(categories, list):
            raise ValueError("categories must be a list")
        values = from_plain(categories, list)
        if not all(isinstance(value, LABELS) and value == value for value in values):
            raise ValueError("categories must be strings, numbers and booleans")
        found = cls({value: i for i, value in enumerate(values)}, Categories(most))
        if len(found.numbers) != len(values):
            raise ValueError("categories must differ")
        return found


class _Learned(NamedTuple):
    """What an encoder has learned, all at once: a fit that fails leaves it as it was."""

    names: list
    columns: list  # of _Bins and _Table
    counts: tuple
    n_inputs: int
    adds: Array

    @classmethod
    def of(cls, names, columns):
        counts = tuple(one.n_inputs for one in columns)
        adds = np.concatenate([one.adds() for one in columns])
        adds.flags.writeable = False
        return cls(names, columns, counts, sum(counts), adds)


@suggests
class Encoder:
    """From columns of numbers and categories to `Codes`.

    Parameters
    ----------
    columns : sequence of Numbers and Categories, one of them, or None, default=None
        One for each column, or one for all. None: `Numbers` for those of numbers, `Categories` for
        the others.

    Attributes
    ----------
    n_inputs : int
        Inputs of the dense encoding: what the network has to have. Of numbers one for each bin and
        one for missing values, of categories one each, one for unknown and one for missing ones.
    counts : tuple of int
        So many of them are of each column, for `Embed`.
    names : list of str
        Of the columns; their numbers where the data have none.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> encoder = fastnn.encoders.Encoder(fastnn.encoders.Numbers(bins=16)).fit(X)
    >>> encoder.n_inputs
    34
    >>> codes = encoder.transform(X)
    >>> net = fastnn.MLP((encoder.n_inputs, 32, 1), random_state=0)
    >>> history = net.fit(codes, np.abs(X).sum(axis=1), epochs=20)
    >>> net.predict(codes[:3]).shape
    (3, 1)

    Saved with the network, it is in front of it in what `fastnn.load` returns:

    >>> net.save("model.safetensors", encoder=encoder)
    >>> fastnn.load("model.safetensors").predict(X[:3]).shape
    (3, 1)
    """

    makes_codes = True  # of raw rows, for a `Predictor`

    def __init__(self, columns: Numbers | Categories | Sequence[Numbers | Categories | None] | None
                 = None) -> None:
        given = columns if isinstance(columns, (list, tuple)) else [columns]
        for column in given:
            if not isinstance(column, (Numbers, Categories, type(None))):
                raise TypeError(f"columns={shown(columns)} must hold Numbers() and Categories()")
        self._columns, self._learned = columns, None

    def __setstate__(self, state):
        if "columns" in state:  # of pickles of before all that is learned was one
            learned = _Learned.of(state["names"], state["_fitted"]) if "_fitted" in state else None
            state = {"_columns": state["columns"], "_learned": learned}
        vars(self).update(state)

    @property
    def columns(self) -> Any:
        """As they were given."""
        return self._columns

    @property
    def names(self) -> list[Any]:
        """Names of the columns; their numbers where the data had none."""
        return list(self._found("names"))

    @property
    def counts(self) -> tuple[int, ...]:
        """Inputs of each column."""
        return self._found("counts")

    @property
    def n_inputs(self) -> int:
        """Inputs of the dense encoding."""
        return self._found("n_inputs")

    def _found(self, name):
        if self._learned is None:
            raise AttributeError(f"the encoder has no {name} yet: call fit(X) first")
        return getattr(self._learned, name)

    def fit(self, X: Any) -> Encoder:
        """Learn the bins and the categories; returns the encoder.

        Parameters
        ----------
        X : array, data frame, dict of columns, list of dicts, or sequence of columns
            What to learn from.

        Returns
        -------
        Encoder
            Itself.

        Raises
        ------
        ValueError
            When a column of numbers holds fewer than two values.
        """
        names, columns = checked_columns(X)
        kinds = self.columns if isinstance(self.columns, (list, tuple)) else (
            [self.columns] * len(columns))
        if len(kinds) != len(columns):
            raise ValueError(f"X has {len(columns)} columns, columns has {len(kinds)} entries")
        if not columns or not len(columns[0]):
            raise ValueError("X must have at least one column and one row")
        learned = []
        for name, kind, column in zip(names, kinds, columns, strict=True):
            if kind is None:
                kind = Numbers() if is_numeric(column) else Categories()
            fitted = _fit_numbers if isinstance(kind, Numbers) else _fit_categories
            learned.append(fitted(name, kind, column))
        self._learned = _Learned.of(names, learned)
        return self

    def transform(self, X: Any, dtype: DType = "float32") -> Codes:
        """Return the `Codes` of rows.

        Parameters
        ----------
        X : array, data frame, dict of columns, list of dicts, or sequence of columns
            With the columns of the fit; data frames by name.
        dtype : {"float32", "float64"}, default="float32"
            Of fractions; best the network's own.

        Returns
        -------
        Codes
            One row for each row of the data.
        """
        learned = self._check_fitted()
        names, columns = checked_columns(X, learned.names)
        if len(columns) != len(learned.columns):
            raise ValueError(f"X has {len(columns)} columns, must have {len(learned.columns)}")
        parts, first = [], 0
        for name, one, column in zip(names, learned.columns, columns, strict=True):
            rows, values, there = one.entries(name, column)
            parts.append((rows + first, values, there))
            first += one.n_inputs
        rows, values, there = (np.concatenate(part, axis=1) for part in zip(*parts, strict=True))
        start = np.concatenate([[0], np.cumsum(there.sum(axis=1))]).astype(np.int64)
        return Codes(values[there].astype(validation.check_dtype(dtype)),
                     rows[there].astype(np.int32), start, learned.adds)

    def fit_transform(self, X: Any, dtype: DType = "float32") -> Codes:
        """Return the codes of the rows that the encoder learns from.

        Parameters
        ----------
        X : array, data frame, dict of columns, list of dicts, or sequence of columns
            With the columns of the fit.
        dtype : {"float32", "float64"}, default="float32"
            Of the result.

        Returns
        -------
        Codes
            One row for each row of X.
        """
        if not isinstance(dtype, (str, type, np.dtype)):  # y, from a pipeline of scikit-learn
            raise TypeError(f"dtype={type(dtype).__name__} must be a dtype: an Encoder learns "
                            "without y and is no step of a pipeline, as MLP alone reads codes; "
                            "TabularClassifier and TabularRegressor take tables as they are")
        return self.fit(X).transform(X, dtype)

    def to_dense(self, X: Any, dtype: DType = "float64") -> Array:
        """Return the dense encoding, an array (n_rows, n_inputs).

        Parameters
        ----------
        X : array, data frame, dict of columns, list of dicts, or sequence of columns
            With the columns of the fit; or codes of them, as `transform` gives them.
        dtype : {"float32", "float64"}, default="float64"
            Of the result.

        Returns
        -------
        array (n_rows, n_inputs)
            One row for each row of X.
        """
        n_inputs = self._check_fitted().n_inputs
        if is_codes(X):
            if X.shape[1] != n_inputs:
                raise ValueError(f"X holds codes of {X.shape[1]} inputs, those of this encoder "
                                 f"have {n_inputs}")
            return X.toarray().astype(validation.check_dtype(dtype), copy=False)
        return self.transform(X, dtype).toarray()

    def edges(self, column: int) -> Array:
        """Return the edges of the bins of a column of numbers, by its number.

        Parameters
        ----------
        column : int
            Its number, from 0.

        Returns
        -------
        array (n_edges,)
            In rising order.
        """
        columns = self._check_fitted().columns
        last = len(columns) - 1
        if validation.check_count("column", column, minimum=0) > last:
            raise ValueError(f"column={column} must be 0 to {last}, the number of a column")
        fitted = columns[column]
        if not isinstance(fitted, _Bins):
            raise ValueError(f"column {column} holds categories")
        return fitted.edges.copy()

    def settings(self) -> dict[str, Any]:
        """Return everything `transform` needs as plain values; `from_settings` takes it.

        Returns
        -------
        dict
            Strings, numbers, lists and dicts alone.

        Raises
        ------
        TypeError
            When a column's name or a category is none that a file can hold.
        """
        learned = self._check_fitted()
        odd = [name for name in learned.names if not is_name(name)]
        if odd:
            raise TypeError(f"column {shown(odd[0])} is {type(odd[0]).__name__}, a file can hold "
                            "names that are strings or whole numbers")
        return {"columns": [{"name": name, **one.settings()}
                            for name, one in zip(learned.names, learned.columns, strict=True)]}

    @classmethod
    def from_settings(cls, settings: Any) -> Encoder:
        """Return the encoder whose `settings` these are.

        Parameters
        ----------
        settings : dict
            What `settings` returned.

        Returns
        -------
        Encoder
            It needs no `fit`.

        Raises
        ------
        ValueError, TypeError
            When they are no such settings.
        """
        columns = settings.get("columns") if isinstance(settings, dict) else None
        if not isinstance(columns, list) or len(settings) > 1 or not (
                1 <= len(columns) <= MOST_COLUMNS):
            raise ValueError(f"an encoder must hold a list of 1 to {MOST_COLUMNS} columns")
        names: list[Any] = []
        fitted: list[Any] = []
        for plain in columns:
            more = dict(plain)
            names.append(more.pop("name", None))
            if not is_name(names[-1]):
                raise ValueError("names of columns must be strings or whole numbers")
            fitted.append((_Bins if "edges" in more else _Table).from_settings(**more))
        if len(set(names)) != len(names):
            raise ValueError("columns must have different names")
        encoder = cls([one.kind for one in fitted])
        encoder._learned = _Learned.of(names, fitted)
        return encoder

    def _check_fitted(self):
        """Return what the fit has learned."""
        if self._learned is None:
            raise ValueError("the encoder is not fitted: call fit(X) first")
        return self._learned


def _fit_numbers(name, kind, column):
    x = as_numbers(name, column)
    x = x[np.isfinite(x)]
    edges = greedy_edges(x, kind.bins) if len(x) else x
    if len(edges) < 2:
        only = f"one value, {edges[0]:g}" if len(edges) else "no finite value"
        raise ValueError(f"column {name!r} holds {only}: there is nothing to cut into bins; leave "
                         "it out, or take Categories() for it")
    return _Bins(edges, kind)


def _fit_categories(name, kind, column):
    counts = Counter(value for value in as_categories(name, column) if not is_missing(value))
    kept = sorted(counts, key=lambda value: (-counts[value], str(value)))[:kind.most]
    try:
        kept.sort(key=lambda value: (str(type(value)), value))
    except TypeError:  # members of an enumeration, tuples of this and that
        kept.sort(key=lambda value: (str(type(value)), str(value)))
    return _Table({value: i for i, value in enumerate(kept)}, kind)
