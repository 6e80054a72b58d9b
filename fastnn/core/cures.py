"""What is wrong with the arrays of a user, and the cure. Imported where something is wrong."""

import math
from collections.abc import Mapping, Set
from numbers import Real

import numpy as np

from fastnn.core.notices import shown

__all__ = ["DAY", "ENCODE", "array_of", "columns_hint", "dates_in", "is_date", "label_hint",
           "missing_at", "missing_row", "no_array", "not_numeric", "other_scale", "ragged",
           "shape_hint", "signs_hint", "target_hint", "text_hint", "unscaled"]

LARGE = 30.0  # root of the mean square of a column, from where on it counts as not scaled
ENCODE = ("encode it (fastnn.TableEncoder, sklearn's OneHotEncoder), or leave it out; "
          "python -m fastnn train reads such tables")
DAY = "numpy.timedelta64(1, 'D')"
CLASS_NAMES = ("for class names: classes, y = np.unique(y, return_inverse=True), or "
               "fastnn.MLPClassifier")


def array_of(name, data, method="astype"):
    """Return how data are written as an array that has a method: of lists, and frames of other
    kinds, by NumPy."""
    return name if hasattr(type(data), method) else f"numpy.asarray({name})"


def shape_hint(name, shape, n_in, given):
    """Return the end of a message on X of a wrong number of dimensions."""
    array = array_of(name, given, "reshape")
    if len(shape) == 1 and n_in == 1 and shape[0] != 1:
        return f"; for one column: {array}.reshape(-1, 1)"
    if len(shape) == 1:
        return f"; for one row: {array}.reshape(1, -1)"
    if len(shape) > 2 and math.prod(shape[1:]) == n_in:
        return f": {array}.reshape(len({name}), -1)"
    if len(shape) > 2 and name != "U":  # whose columns are the network's outputs
        return (f": {array}.reshape(len({name}), -1) has {math.prod(shape[1:])} columns, for "
                f"MLP(({math.prod(shape[1:])}, ...))")
    return ""


def columns_hint(name, shape, n_in, given):
    """Return the end of a message on X of a wrong number of columns."""
    n_rows, n_columns = shape
    if n_rows == n_in:
        return (f"; it has {n_rows} rows and {n_columns} columns: "
                f"{array_of(name, given, 'T')}.T?")
    if name == "U":
        return ": one for each output of the network"
    return f": the first of the network's sizes is {n_in}"


def missing_at(values):
    """Return the number of the first value that is missing (None, NaN, pandas.NA), or None."""
    for i, value in enumerate(values):
        if value is None or type(value).__name__ in ("NAType", "NaTType") or (
                isinstance(value, Real) and value != value):
            return i
    return None


def missing_row(values):
    """Return the row of the first missing value of an array, or None."""
    place = missing_at(values.ravel().tolist())
    return None if place is None else place // max(1, values.size // max(1, len(values)))


def text_hint(name, data, array):
    """Return what column of X is no number, with its first value and the cure; None where all
    are.

    Parameters
    ----------
    name : str
    data : object
        As the user gave it: a data frame has names of columns.
    array : array
        The same.
    """
    names = getattr(data, "columns", None)
    columns = array.T if array.ndim == 2 else [array]
    numbers = None  # as text: where one value of a list is text NumPy makes all so; that one counts
    for i, column in enumerate(columns):
        if column.dtype.kind in "biuf":
            continue
        for row, value in enumerate(column.tolist() if column.dtype.kind != "M" else column):
            if isinstance(value, Real):
                if value == value:
                    continue
                value = None  # noqa: PLW2901, NaN among objects: missing
            label = f"column {i if names is None or array.ndim != 2 else names[i]!r}"
            place = f"{label}, row {row}" if array.ndim == 2 else f"row {row}"
            if value is None or missing_at([value]) == 0:
                return f"{name} has a missing value in {place}: fill it, or leave the row out"
            what = label if array.ndim == 2 else name
            if hasattr(value, "year") or isinstance(value, np.datetime64):
                return (f"{what} holds dates ({value} in row {row}): make numbers of them, such as "
                        "days since one of them")
            if isinstance(value, (str, bytes)) and _is_number(value):
                numbers = numbers or (
                    f"{what} holds numbers as text ({shown(value)} in row {row}): "
                    f"{array_of(name, data)}.astype('float64')")
                break
            if isinstance(value, dict):
                return (f"{name} holds dicts: fastnn.TabularClassifier, TabularRegressor and their "
                        "files take such rows; a fastnn.TableEncoder takes a data frame of them")
            if isinstance(value, (str, bytes)):
                return f"{what} holds text ({shown(value)} in row {row}): {ENCODE}"
            return f"{what} holds {type(value).__name__} ({shown(value)} in row {row})"
    return numbers


def _is_number(text):
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def no_array(name, data):
    """Return what data are that are no array, and the cure; None where nothing tells."""
    if hasattr(data, "__next__"):
        return f"it can be read once only: list({name}) makes a list of rows of it"
    if isinstance(data, Mapping):
        return (f"a dict of columns is a table for fastnn.TabularClassifier and TabularRegressor; "
                f"numpy.column_stack(list({name}.values())) makes an array of it")
    if isinstance(data, Set):
        return "a set has no order: give a list"
    dtype = getattr(data, "dtype", None)
    if isinstance(dtype, np.dtype) and dtype.names:
        return (f"its columns have names: numpy.lib.recfunctions.structured_to_unstructured({name})"
                " makes an array of numbers")
    if hasattr(data, "collect_schema") and not hasattr(data, "height"):
        return f"it is a lazy frame: {name}.collect()"
    if hasattr(data, "__array__") or hasattr(data, "__len__"):
        return None
    if hasattr(data, "__arrow_c_stream__"):
        return f"pyarrow.table({name}).to_pandas() makes a frame of it"
    if hasattr(data, "__dataframe__"):
        return f"pandas.api.interchange.from_dataframe({name}) makes a frame of it"
    return None


def ragged(name, data, several):
    """Return what is said of a list of sequences of several lengths, with the first row that has
    another one; None where there is none.

    Parameters
    ----------
    name : str
    data : object
    several : bool
        Whether these may be labels, several in a row.
    """
    if not isinstance(data, (list, tuple)):
        return None
    sizes = [len(row) if isinstance(row, (list, tuple, set, np.ndarray)) else None for row in data]
    row = next((i for i, size in enumerate(sizes) if size != sizes[0]), None)
    if row is None:
        return None
    what = (": several labels in a row are columns of zeros and ones: "
            f"sklearn.preprocessing.MultiLabelBinarizer().fit_transform({name})" if several else "")
    size, first = ("one value" if n is None else f"length {n}" for n in (sizes[row], sizes[0]))
    return f"{name} has rows of several lengths: row {row} is of {size}, row 0 of {first}{what}"


def not_numeric(name, data, array):
    """Return the message on an array whose dtype is not one of numbers."""
    if data is None or isinstance(data, (str, bytes)):
        cure = "; of the path of a file fastnn.tables.read(path) makes a table" if data else ""
        return f"{name}={shown(data)} must be an array of numbers{cure}"
    if name.startswith("sample_weight") and isinstance(data, dict):
        return (f"{name}={shown(data)} must be an array, a number for each row; of weights of "
                "classes: numpy.array([0.5, 2.0])[y]")
    start = f"{name} has dtype {array.dtype}, must be numeric (bool, int or float)"
    if array.ndim == 0 and hasattr(data, "toarray"):
        return f"{start}: it is sparse, {name}.toarray() makes an array"
    if array.dtype.kind == "c":
        return (f"{start}: give {array_of(name, data, 'real')}.real, or real and imaginary parts "
                "as columns")
    other = no_array(name, data)
    if other is not None:
        return f"{start}: {other}"
    if array.dtype.kind == "m":
        return (f"{start}: it holds durations: make numbers of them, such as days, "
                f"{array_of(name, data)} / {DAY}")
    if array.dtype.kind not in "OUSM" or array.size == 0 or array.ndim not in (1, 2):
        return start
    found = text_hint(name, data, array)
    if found is None:
        return f"{start}; it holds numbers as objects: {array_of(name, data)}.astype('float64')"
    if name == "y" and "holds text" in found:
        return f"{start}; {CLASS_NAMES}"
    return f"{start}: {found}"


def signs_hint(given):
    """Return what makes labels 0 and 1 of -1 and 1."""
    return f"({array_of('y', given)} > 0).astype(int)"


def label_hint(low, high, n_out, given):
    """Return the end of a message on labels out of range."""
    if low == -1 and high == 1 and n_out == 2:
        return ": labels count from 0: " + signs_hint(given)
    if low < 0:
        return ": labels count from 0; rows without a label must be left out"
    if low >= 1 and high - low < n_out:
        return f": labels count from 0, subtract {low}"
    return f": labels count from 0, so {high} needs {high + 1} outputs, sizes (..., {high + 1})"


def target_hint(shape, n_samples, width, looks_like_labels, given):
    """Return the end of a message on y of a wrong shape."""
    if len(shape) == 2 and shape == (width, n_samples):
        return f": {array_of('y', given, 'T')}.T?"
    if len(shape) == 1 and width > 1 and looks_like_labels:
        return "; for class labels: MLP(..., output='softmax')"
    if len(shape) == 1 and width > 1:
        return (f"; one value a row needs a network of one output, sizes (..., 1), not {width}")
    if len(shape) == 2 and width == 1 and shape[1] > 1:
        return f": the network has 1 output, sizes (..., {shape[1]}) make {shape[1]}"
    return ""


def unscaled(X, y=None):
    """Return the text of a hint where inputs or targets are far from a deviation of 1, or None.

    It looks at some 64 rows and 64 columns, evenly apart: no pass over the data.

    Parameters
    ----------
    X : array
    y : array or None, default=None
        None where it need not be scaled.
    """
    said = _unscaled("X", X)
    return said if said is not None or y is None else _unscaled("y", y)


def _unscaled(name, array):
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iuf" or not array.size:
        return None
    array = array.reshape(-1, 1) if array.ndim == 1 else array
    every = max(1, array.shape[1] // 64)
    some = array[::max(1, len(array) // 64), ::every].astype(np.float64)
    with np.errstate(all="ignore"):
        size = np.sqrt(np.square(some).mean(axis=0))
    at = int(size.argmax())
    if not size[at] > LARGE:
        return None
    value = some[np.abs(some[:, at]).argmax(), at]
    place = "" if name == "y" else f" in column {at * every}"
    scale = {"X": "scaled = (X - X.mean(axis=0)) / X.std(axis=0), with the same numbers for "
                  "rows to predict (fastnn.Scaler, sklearn's StandardScaler)",
             "y": "fit on (y - y.mean()) / y.std(), and undo it in predictions"}[name]
    return (f"{name} is not scaled: it has values such as {value:.4g}{place}. Networks learn "
            f"slowly, or nothing, where values are far from mean 0 and deviation 1: {scale}")


def other_scale(X, X_val):
    """Return the text of a hint where validation rows have not the scale of the training's, or
    None. It looks at some 64 rows of each, and 64 columns.

    Parameters
    ----------
    X, X_val : arrays
    """
    if unscaled(X) is not None or unscaled(X_val) is None:
        return None
    every = max(1, X.shape[1] // 64)
    sizes = [np.abs(some[::max(1, len(some) // 64), ::every].astype(np.float64)).max(axis=0)
             for some in (X, X_val)]
    at = int((sizes[1] / np.maximum(sizes[0], 1.0)).argmax())
    if not sizes[1][at] > LARGE * max(sizes[0][at], 1.0):
        return None
    return (f"the validation rows are on another scale than X: up to {sizes[1][at]:.4g} in column "
            f"{at * every}, where X has up to {sizes[0][at]:.4g}. A pipeline transforms X alone: "
            "give it transform_input=['X_val'], and X_val= and y_val= in the place of "
            "validation_data")


def dates_in(data):
    """Return the number of the first column of dates or durations of a data frame of pandas or
    polars, or None; its name may be None."""
    dtypes, names = getattr(data, "dtypes", None), getattr(data, "columns", None)
    if dtypes is None or names is None:
        return None
    return next((i for i, (_, dtype) in enumerate(zip(names, dtypes, strict=False))
                 if is_date(dtype)), None)


def is_date(dtype):
    """Return whether a dtype of NumPy, pandas or polars is one of dates or durations."""
    kind = getattr(dtype, "kind", None)
    if kind is None and hasattr(dtype, "is_temporal"):
        return bool(dtype.is_temporal())
    return kind in ("M", "m")
