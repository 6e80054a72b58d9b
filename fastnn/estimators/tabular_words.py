"""What the estimators of tables say of what they are given, before the work begins."""

import math
import os
from collections.abc import Mapping, Set
from warnings import warn

import numpy as np
import scipy.sparse as sp
from sklearn.exceptions import DataConversionWarning

from fastnn.core.cures import missing_row, ragged
from fastnn.core.notices import shown
from fastnn.estimators.arrays import sound
from fastnn.tables.cells import Cells
from fastnn.tables.errors import TableWarning, check_names
from fastnn.tables.labels import Labels, learn_target
from fastnn.tables.numerals import NumberFormat, parse_number
from fastnn.tables.table import Table

__all__ = ["check_columns", "check_given", "plain_labels", "targets_as_given"]

COMMA = NumberFormat(",", ".")
NUMBERS = (bool, int, float, np.bool_, np.integer, np.floating)


def targets_as_given(y, is_classes, known=None, name="y"):
    """Return targets in a form that NumPy does not change: of members of an Enum of strings it
    would take the first letters of their names, NULs at the end of texts away, and of values of
    several types in a list it would make text, or numbers.

    Parameters
    ----------
    y : as the user gave them
        A column of `fastnn.tables.read`, or a table of such columns, is read as the command line
        does.
    is_classes : bool
    known : array or None, default=None
        Labels of the fit, where this was before.
    name : str, default="y"
        For messages.

    Returns
    -------
    array, or y
        A sparse one as SciPy's compiled code can follow it.
    """
    if sp.issparse(y):
        return sound(name, y)
    if isinstance(y, Table):
        columns = [_of_column(y.column(name), name, is_classes and len(y.names) == 1, known)
                   for name in y.names]
        return columns[0] if len(columns) == 1 else np.column_stack(columns)
    if isinstance(y, Cells):
        return _of_column(y, "y", is_classes, known)
    dtype = getattr(y, "dtype", None)
    if isinstance(dtype, np.dtype):
        if dtype.kind == "T":  # NumPy's text of any length
            return y.astype(object)
        if dtype.kind == "V":
            raise TypeError(f"y is a structured array, of dtype {dtype}: give one of its fields"
                            + (f", y[{dtype.names[0]!r}]" if dtype.names else ""))
    if not isinstance(y, (list, tuple)):
        return y
    texts = [value for value in y if isinstance(value, str)]
    if len(texts) == len(y):
        odd = any(type(text) not in (str, np.str_) or text.endswith("\0") for text in texts)
        return np.array(list(map(str.__str__, y)), object) if odd else y
    truths = any(isinstance(value, (bool, np.bool_)) for value in y)
    others = truths and not all(isinstance(value, NUMBERS) and value in (0, 1) for value in y)
    if texts or is_classes and others:  # NumPy would make text, or numbers, of all
        found = np.empty(len(y), object)
        found[:] = y
        return found
    return y


def _of_column(cells, name, is_classes, known):
    """Return the labels, or the numbers, of a column that was read from a file."""
    if not is_classes:
        found, notes = learn_target(cells, name=name)
    else:
        labels = Labels.learn(cells) if known is None else Labels(known)
        codes, notes = labels.apply(cells), labels.notes
        if (codes < 0).any():
            raise ValueError(f"Input y contains NaN\n{name} has a missing value in row "
                             f"{int((codes < 0).argmax())}: leave the row out")
        found = labels.classes[codes]
    for note in notes:
        warn(note, TableWarning, stacklevel=6)
    return found


def check_given(X, y, classes, held=""):
    """Refuse what is no table or no target, with what to give instead.

    Parameters
    ----------
    X, y : as the user gave them
    classes : bool
        Whether y may hold text.
    held : {"", "_val"}, default=""
        Behind X and y in messages.
    """
    table, target = f"X{held}", f"y{held}"
    if isinstance(X, (str, os.PathLike)):
        raise TypeError(f"{table}={shown(os.fspath(X))} must be a table; of the path of a file "
                        "fastnn.tables.read(path) makes one")
    if hasattr(X, "__dask_graph__"):
        raise TypeError(f"{table} is a collection of Dask ({type(X).__name__}): X.compute() brings "
                        "it into this process, the estimators of fastnn.dask take it as it is")
    if hasattr(X, "__next__") and hasattr(X, "read_all"):  # of Arrow, by batches
        raise TypeError(f"{table} is of type {type(X).__name__}, and can be read once only: "
                        "X.read_all() makes a table of it")
    if hasattr(X, "__next__"):
        raise TypeError(f"{table}={shown(X)} must be a table, and can be read once only: list(X) "
                        "makes a list of rows of it")
    if isinstance(y, str):
        raise TypeError(f"{target}={shown(y)} must be the values themselves: of a frame "
                        f"X.drop(columns={shown(y)}) and X[{shown(y)}]")
    if sp.issparse(y):
        return
    if isinstance(y, (Mapping, Set)) or hasattr(y, "__next__"):
        raise TypeError(f"{target} is of type {type(y).__name__}, must be a list or an array of "
                        "values")
    values = y if hasattr(y, "dtype") and hasattr(y, "ndim") else _as_array(y, classes, target)
    if values.ndim == 2 and values.shape[1] == 1 and not classes and not held:
        warn("A column-vector y was passed when a 1d array was expected. Please change the shape "
             "of y to (n_samples,), for example using ravel().", DataConversionWarning,
             stacklevel=5)
    kind = getattr(values.dtype, "kind", "O")
    if hasattr(y, "isna") and kind in "biuf" and len(y):  # nullable ones
        missing = np.asarray(y.isna()).reshape(len(y), -1).any(axis=1)
        values = values if not missing.any() else np.where(missing, np.nan, 0.0)
        kind = "f" if missing.any() else kind
    if kind == "f":
        _refuse_nan(np.asarray(values, float), target, table)
    elif kind == "M":
        raise TypeError(f"{target} holds dates: make numbers of them, such as days, "
                        "(y - y.min()) / np.timedelta64(1, 'D')")
    elif kind == "m":
        raise TypeError(f"{target} holds durations: make numbers of them, such as days, "
                        "y / np.timedelta64(1, 'D')")
    elif kind in "OUST" and not classes:
        _refuse_missing(np.asarray(values, dtype=object), target)
        _refuse_text(np.asarray(values, dtype=object), target)
    elif kind == "O":
        _refuse_missing(np.asarray(values, dtype=object), target)
        _refuse_mixed(np.asarray(values, dtype=object), target)


def _as_array(y, classes, name):
    try:
        return np.asarray(y)
    except ValueError as error:  # sequences of several lengths
        raise ValueError(ragged(name, y, classes) or str(error)) from None


def _refuse_missing(values, name):
    row = missing_row(values)
    if row is not None:
        raise ValueError(f"Input {name} contains NaN\n{name} has a missing value in row {row}: "
                         "leave the row out")


def _refuse_nan(values, name, table):
    if not len(values):
        return  # said of X
    for what, test, kept in (("NaN", np.isnan, f"~np.isnan({name})"),
                             ("infinity", np.isinf, f"np.isfinite({name})")):
        rows = test(values).reshape(len(values), values[:1].size).any(axis=1)
        n = int(rows.sum())
        if n:
            raise ValueError(f"Input {name} contains {what} in {n:,} row{'s' * (n != 1)}, the "
                             f"first is row {int(rows.argmax())}: leave them out, {table}[{kept}] "
                             f"and {name}[{kept}]")


def _refuse_text(values, name):
    width = max(1, values.size // max(1, len(values)))
    for place, value in enumerate(values.ravel().tolist()):
        if isinstance(value, (str, bytes)) and not _is_number(value):
            cure = "class names are for TabularClassifier"
            if isinstance(value, str) and not math.isnan(parse_number(value.strip(), COMMA)):
                cure = ("numbers with a decimal comma: y.str.replace(',', '.').astype(float), "
                        "without points between thousands")
            raise ValueError(f"could not convert string to float: {value!r}\n{name} holds text "
                             f"({shown(value)} in row {place // width}): {cure}")
        if not isinstance(value, (str, bytes)) and not hasattr(value, "__float__"):
            raise TypeError(f"{name} holds values of type {type(value).__name__} ({shown(value)} "
                            f"in row {place // width}), which are no numbers")


def _refuse_mixed(values, name):
    each = values.ravel().tolist()
    if len({isinstance(value, str) for value in each}) > 1:
        text = next(value for value in each if isinstance(value, str))
        other = next(value for value in each if not isinstance(value, str))
        raise TypeError(f"{name} holds text and other values, {shown(text)} and {shown(other)}: "
                        "y.astype(str) makes text of all")


def _is_number(text):
    try:
        return not math.isnan(float(text))
    except ValueError:
        return False


def plain_labels(y):
    """Return labels as an array of booleans, of whole numbers or of others where all are such: of
    objects, as lists and frames hold them, and of pandas' nullable types without missing ones.

    Parameters
    ----------
    y : array or Series

    Raises
    ------
    TypeError
        When there are True and False beside numbers: True is 1.
    """
    own = getattr(y.dtype, "numpy_dtype", None)
    if own is not None and own.kind in "biuf" and own != y.dtype:
        return y.to_numpy(own)
    # pandas' text, without pyarrow, is of the objects that it was made of
    if (y.dtype != object and str(y.dtype) not in ("str", "string")) or np.ndim(y) != 1:
        return y
    each = np.asarray(y, object).tolist()
    kinds = {type(value) for value in each}
    if kinds - {str} and all(issubclass(kind, str) for kind in kinds):
        return np.array(list(map(str.__str__, each)), object)  # members of an Enum of strings
    if not kinds or not all(issubclass(kind, NUMBERS) for kind in kinds):
        return y
    if {bool, np.bool_} & kinds and not kinds <= {bool, np.bool_}:
        truth = next(value for value in each if isinstance(value, (bool, np.bool_)))
        other = next(value for value in each if not isinstance(value, (bool, np.bool_)))
        raise TypeError(f"y holds truth values and numbers, {shown(truth)} and {shown(other)}: "
                        "y.astype(str) makes text of all, y.astype(float) numbers")
    found = np.array(each)
    exact = found.dtype.kind in "biuf" and found.tolist() == each
    return found if exact else y


def check_columns(name, table, known):
    """Refuse a table that lacks columns of another one.

    Parameters
    ----------
    name : str
        Of the argument.
    table, known : Table
    """
    check_names(known.names, table, name)
