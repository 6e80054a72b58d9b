"""Columns of what users hand to an encoder: of frames, dicts, rows and arrays, as numbers or as
categories."""

from collections import Counter
from decimal import Decimal
from numbers import Real

import numpy as np

from fastnn.core.arrays import as_array, is_sparse, refuse_masked
from fastnn.core.imports import imported
from fastnn.core.notices import shown


def checked_columns(X, names=None):
    """Names and columns of `_columns`, each with one value for each row."""
    names, columns = _columns(X, names)
    # one column as a matrix is that column, as scikit-learn has it
    columns = [column[:, 0] if column.ndim == 2 and column.shape[1] == 1 else column
               for column in columns]
    for name, column in zip(names, columns, strict=False):
        if column.ndim == 0:
            raise ValueError(f"column {name!r} is {shown(column.item())}, must be a list of "
                             "values; for a single row give a list of one dict")
        if column.ndim > 1:
            raise ValueError(f"column {name!r} has shape {column.shape}, must have one dimension")
    if len(set(map(len, columns))) > 1:
        raise ValueError("the columns of X must be of one length")
    return names, columns


def _columns(X, names=None):
    """Names and columns of a data frame, a dict, a list of dicts, an array, or a sequence of
    columns."""
    if hasattr(X, "collect_schema") and not hasattr(X, "height"):  # a lazy frame of polars
        X = X.collect()
    if is_sparse(X) or type(X).__module__.startswith("pyarrow.") or isinstance(
            X, (str, bytes)) or not hasattr(X, "__len__"):
        raise TypeError(f"X is a {type(X).__name__}, must be an array, a data frame of pandas or "
                        "polars, a dict of columns, a list of dicts or a sequence of columns")
    if isinstance(X, list) and X and isinstance(X[0], dict):
        X = _of_rows(X, names)
    if hasattr(X, "columns") or isinstance(X, dict):
        have = list(X if isinstance(X, dict) else X.columns)
        if names is not None:
            missing = [name for name in names if name not in have]
            if missing:
                hint = imported("fastnn.core.words").of_column(missing[0], have, names)
                raise ValueError(f"X has no column {missing[0]!r}{hint}")
        names = have if names is None else names
        if len(set(have)) < len(have):
            times = Counter(have)
            double = [name for name in names if times[name] > 1]
            if double:
                raise ValueError(f"X has more than one column {double[0]!r}")
        return names, [_unmasked(X[name]) for name in names]
    refuse_masked("X", X)
    if hasattr(X, "__array__") or hasattr(X, "__dlpack__"):  # a tensor's rows are no columns
        X = as_array("X", X)
        if X.ndim != 2:
            raise ValueError(f"X has shape {X.shape}, must be (n_rows, n_columns)")
        columns = list(X.T)
    else:
        columns = [np.asarray(column) for column in X]
    return list(range(len(columns))) if names is None else names, columns


def _of_rows(rows, names):
    """Return a dict of columns, of a list of dicts."""
    odd = next((i for i, row in enumerate(rows) if not isinstance(row, dict)), None)
    if odd is not None:
        raise TypeError(f"row {odd} of X is of type {type(rows[odd]).__name__}, must be a dict")
    there = dict.fromkeys(name for row in rows for name in row)
    columns = {}
    for name in there if names is None else [name for name in names if name in there]:
        columns[name] = np.empty(len(rows), object)
        for i, row in enumerate(rows):  # one by one: an array in it would become several columns
            columns[name][i] = row.get(name)
    return columns


def _unmasked(column):
    refuse_masked("X", column)
    return np.asarray(column)


def is_name(name):
    return isinstance(name, (str, int)) and not isinstance(name, bool)


def is_numeric(column):
    """Whether it holds numbers; where kinds are mixed in X, its columns are of objects."""
    if column.dtype.kind != "O":
        return column.dtype.kind in "iuf"
    values = [value for value in column.tolist() if not is_missing(value)]
    return bool(values) and all(isinstance(value, (Real, Decimal)) and not isinstance(value, bool)
                                for value in values)


def as_numbers(name, column):
    if column.dtype.kind in "cmM":
        raise TypeError(f"column {name!r} holds {column.dtype}, must be real numbers: dates as "
                        "days, say")
    if column.dtype.kind == "O":
        column = np.array([np.nan if is_missing(value) else value for value in column.tolist()],
                          object)
    found = None
    try:
        found = np.asarray(column, float)
    except OverflowError:
        raise ValueError(f"column {name!r} holds a whole number beyond those of float64: leave it "
                         "out, or take Categories() for it") from None
    except (TypeError, ValueError):
        pass
    if found is None or found.ndim != 1:  # of lists as long as each other there are two
        odd = next((value for value in column.tolist() if not _is_number(value)), None)
        raise TypeError(f"column {name!r} holds {column.dtype}, such as {shown(odd)}, must be "
                        "numbers; Categories() takes others")
    return found


def _is_number(value):
    try:
        return np.ndim(value) == 0 and float(value) is not None
    except (TypeError, ValueError):
        return False


def as_categories(name, column):
    if column.dtype.kind not in "OUSbiuf":
        raise TypeError(f"column {name!r} is {column.dtype} {column.shape}, must be a column of "
                        "strings, whole numbers or booleans")
    values = column.tolist()
    value = None
    try:
        for value in values:
            hash(value)
    except TypeError:
        raise TypeError(f"column {name!r} holds {shown(value)} of type {type(value).__name__}, "
                        "must be a column of strings, whole numbers or booleans") from None
    return values


def is_missing(value):
    # pandas has a value of its own for missing, which is not even different from itself
    if value is None or type(value).__name__ == "NAType":
        return True
    if isinstance(value, Decimal):
        return value.is_nan()  # of a signalling one every comparison raises
    differs = value != value  # noqa: PLR0124  NaN does
    return differs is True or (isinstance(differs, np.bool_) and bool(differs))
