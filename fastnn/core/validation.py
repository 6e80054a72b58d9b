"""Checks of what users hand to `MLP`: every message names the argument, its value and the rule.

What comes out is what the compiled loops read: row-major, aligned, native byte order, of the
network's dtype. Arrays that already are come back as they are; others are copied, never written to.
"""

import os
import sys
from itertools import pairwise
from numbers import Integral, Real

import numpy as np

from fastnn.core import _kernels
from fastnn.core._arrays import ready_starts
from fastnn.core.codes import Codes, is_codes
from fastnn.core.imports import imported
from fastnn.core.notices import shorten, shown

NUMERIC = "biuf"
SLICE = 2**20  # elements, some 2 ms of a pass over them
COPIED_BYTES = 2**26  # rows to train on are copied to the network's dtype up to this size
UNSOUND = (AttributeError, IndexError, OverflowError, TypeError)  # SciPy's, of odd matrices
CONVERTED = ("b1 i1 u1 i2 u2 i4 u4 i8 u8 f2 f4 f8").split()  # that the loops convert row by row


def is_sparse(X):
    """Whether X is a SciPy sparse matrix or array; does not import SciPy."""
    sparse = sys.modules.get("scipy.sparse")
    return hasattr(sparse, "issparse") and sparse.issparse(X)  # it may be half imported


def dense_rows(X):
    """Return X as an array where it is sparse or codes, else as it is."""
    return X.toarray() if is_sparse(X) or is_codes(X) else X


def check_count(name, value, minimum=1):
    """Return a whole number of at least ``minimum``."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name}={shown(value)} must be an integer")
    number = int(value)  # first: what a class of the user's compares may be another number
    if number < minimum:
        raise ValueError(f"{name}={shown(value)} must be >= {minimum}")
    return number


def check_size(name, value):
    """Return a whole number of at least 1 of which a machine can count the elements."""
    value = check_count(name, value)
    if value > 2**56:
        raise ValueError(f"{name}={shown(value)} is more than any memory holds")
    return value


def check_path(name, value, cure=None):
    """Return the name of a file or a folder as a string; ``cure`` is the end of the message on what
    is none."""
    if not isinstance(value, (str, bytes, os.PathLike)):
        raise TypeError(f"{name}={shown(value)} must be a path"
                        + (f", such as {name}='folder/name'" if cure is None else cure))
    return os.fsdecode(value)


def check_flag(name, value):
    """Return True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}={shown(value)} must be True or False")
    return bool(value)


def check_real(name, value):
    """Return a number that float64 can hold."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name}={shown(value)} must be a number")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} is beyond the range of float64") from None


def check_fraction(name, value, above=False):
    """Return a number in [0, 1), or in (0, 1) where it must be above 0."""
    value = check_real(name, value)
    if not 0 <= value < 1 or above and value == 0:
        percent = f": a share, {value / 100:g} for {value:g} %" if 1 < value < 100 else ""
        raise ValueError(f"{name}={shown(value)} must be in {'(' if above else '['}0, 1){percent}")
    return float(value)


def check_nonnegative(name, value):
    """Return a finite number of at least 0."""
    value = check_real(name, value)
    if not (value >= 0 and np.isfinite(value)):
        raise ValueError(f"{name}={shown(value)} must be finite and >= 0")
    return float(value)


def check_positive(name, value):
    """Return a finite number above 0."""
    value = check_real(name, value)
    if not (value > 0 and np.isfinite(value)):
        raise ValueError(f"{name}={shown(value)} must be finite and > 0")
    return float(value)


def check_dtype(dtype):
    """Return float32 or float64 in native byte order."""
    try:
        found = None if dtype is None else np.dtype(dtype)
    except Exception:  # of text that is none, or of what the object does
        found = None
    if found not in (np.float32, np.float64):
        raise ValueError(f"dtype={shown(dtype)} must be float32 or float64")
    return np.dtype(found.name)


def check_seed(random_state):
    """Return a seed of 64 bits."""
    if isinstance(random_state, Integral):
        return check_count("random_state", random_state, minimum=0)
    imported("numpy.random")
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**63))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31))
    return check_count("random_state", random_state, minimum=0)


def check_name(name, value, known, kind=None):
    """Return one of some names.

    Parameters
    ----------
    name : str
        Of the argument.
    value : object
        What the user gave.
    known : sequence of str
        The names there are.
    kind : str or None, default=None
        Key of `fastnn.core.words.ALIASES`: other names for the same, and other capitals, are taken.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name}={shown(value)} must be a string, one of: {', '.join(known)}")
    value = plain_text(value)
    if value in known:
        return value
    words = imported("fastnn.core.words")
    found = None if kind is None else words.meant(value, known, kind)
    if found is None:
        raise ValueError(f"{name}={shown(value)} must be one of: {', '.join(known)}"
                         f"{words.of_name(value, known, kind)}")
    return found


def plain_text(text):
    """Return a string as a `str`: a subclass may be equal to whatever it is compared with."""
    return text if type(text) is str else str.__str__(text)


def is_activation(name):
    """Whether a string names an elementwise activation, or softmax."""
    return name == "softmax" or name in _kernels.ACTIVATIONS or name in _kernels.ALIASES


def check_activation(name, value):
    """Name of an elementwise activation, an alias replaced by what it stands for."""
    value = check_name(name, value, (*_kernels.ACTIVATIONS, *_kernels.ALIASES), "activation")
    return _kernels.ALIASES.get(value, value)


def check_output(value):
    """Name of an output activation: elementwise, or softmax."""
    if isinstance(value, str) and plain_text(value) == "softmax":
        return "softmax"
    value = check_name("output", value, ("softmax", *_kernels.ACTIVATIONS, *_kernels.ALIASES),
                       "activation")
    return _kernels.ALIASES.get(value, value)


def check_sizes(sizes):
    """Units of the input, the hidden layers and the output, as a tuple."""
    if isinstance(sizes, (str, bytes)) or not hasattr(sizes, "__iter__"):
        raise TypeError(f"sizes={shown(sizes)} must be a sequence of integers: (n_in, ..., n_out), "
                        "such as MLP((784, 128, 10))")
    sizes = tuple(sizes)
    if len(sizes) < 2:
        raise ValueError(f"sizes={shown(sizes)} must have at least two entries: (n_in, n_out)")
    sizes = tuple(check_units(f"sizes[{i}]", size) for i, size in enumerate(sizes))
    check_n_parameters(sum((n_in + 1) * n_out for n_in, n_out in pairwise(sizes)),
                       f"sizes={shown(sizes)}")
    return sizes


def check_units(name, value):
    """Return a number of units, which BLAS can count."""
    value = check_count(name, value)
    if value > 2**31 - 1:
        raise ValueError(f"{name}={shown(value)} is beyond the 32-bit dimensions of BLAS")
    return value


def check_n_parameters(number, what):
    """Raise where a network has more parameters than any memory holds."""
    if number > 2**56:
        raise ValueError(f"{shorten(str(what))} makes {number} parameters, more than any memory "
                         "holds")


def per_hidden_layer(name, value, n_hidden, check):
    """One value for all hidden layers, or a sequence of one each, as a tuple."""
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return (check(name, value),) * n_hidden
    values = tuple(value)
    if len(values) != n_hidden:
        raise ValueError(
            f"{name}={shown(value)} has {len(values)} entries, must have {n_hidden}: "
            "one per hidden layer")
    return tuple(check(f"{name}[{i}]", entry) for i, entry in enumerate(values))


def as_utf8(what, text):
    """Return text as bytes; refuse what no file of text can hold."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"{what} {text!r} holds half of a character (a lone surrogate), which is "
                         "no text: rename it") from None


def as_array(name, data):
    """Return data as an array, where its rows have one length; tensors of other libraries by
    DLPack."""
    refuse_masked(name, data)
    try:
        return np.asarray(by_dlpack(data))
    except (ValueError, RuntimeError, BufferError) as error:
        raise ValueError(f"{name} must be an array: {shorten(str(error))}") from None
    except TypeError as error:  # a dtype or a device that NumPy does not have
        short = "bfloat16" in str(getattr(data, "dtype", ""))
        hint = f"; {name}.float() has float32" if short else ""
        raise TypeError(f"{name} must be an array: {shorten(str(error))}{hint}") from None


def from_tensor(name, data):
    """Return a tensor of another library as an array; other data, such as data frames, as they
    are."""
    refuse_masked(name, data)
    if is_sparse(data):
        refuse_masked(f"{name}.data", getattr(data, "data", None))
    if hasattr(data, "__dlpack__") and not isinstance(data, np.ndarray):
        return as_array(name, data)
    return data


def refuse_masked(name, data):
    """Raise where a masked array hides a value: NumPy would use what lies behind the mask."""
    ma = sys.modules.get("numpy.ma")
    if not (hasattr(ma, "MaskedArray") and hasattr(ma, "is_masked")):  # or half imported
        return
    for part in data if type(data) in (list, tuple) else (data,):
        if isinstance(part, ma.MaskedArray) and (
                ma.is_masked(part) if part.dtype.names is None
                else any(ma.is_masked(part[field]) for field in part.dtype.names)):
            raise ValueError(f"{name} is a masked array that hides values, which fastnn does not "
                             f"know as missing; fill them: {name}.filled(value), or leave out "
                             "their rows")


def by_dlpack(data):
    """Return a tensor that only DLPack can read as an array, without a copy; other data as they
    are."""
    if hasattr(data, "__dlpack__") and not hasattr(data, "__array__"):
        return np.from_dlpack(data)
    return data


def require(name, array, dtype):
    """Row-major, aligned, native; refuses what is not numbers."""
    given, array = array, as_array(name, array)
    if array.dtype.kind not in NUMERIC:
        raise not_numeric(name, given, array)
    with np.errstate(all="ignore"):  # a value beyond the dtype is found as infinity below
        ready = array.dtype == dtype and array.flags.c_contiguous and array.flags.aligned
        if array.size <= SLICE or ready:
            return np.require(array, dtype, ("C", "A"))
        found = np.empty(array.shape, dtype)
        for start, rows in slices(array):
            found[start:start + len(rows)] = rows
        return found


def not_numeric(name, given, array):
    """Return the `TypeError` of what is no numbers, which names the first such column and value."""
    return TypeError(imported("fastnn.core.cures").not_numeric(name, given, array))


def slices(array):
    """(first row, rows) of all rows, some `SLICE` elements at a time: NumPy looks for Ctrl-C only
    between two calls."""
    if array.ndim == 0:
        array = array.reshape(1)
    step = max(1, SLICE * len(array) // max(array.size, 1))
    for start in range(0, len(array), step):
        yield start, array[start:start + step]


def check_finite(name, array, dtype):
    """Raise when there is NaN or infinity, naming the place."""
    for start, rows in slices(array):  # noqa: B007, used after the loop
        # A sum is finite only where all elements are: a pass without temporaries in the usual case.
        with np.errstate(all="ignore"):
            rows = rows.astype(dtype, copy=False)  # noqa: PLW2901, it may hold less
            if np.isfinite(rows.sum()):
                continue
        bad = ~np.isfinite(rows)
        if bad.any():
            break
    else:
        return
    where = np.argwhere(bad)[0]
    where[0] += start
    _refuse_value(name, array[tuple(where)], dtype, *where)


def _check_entries(name, starts, column, value, dtype):
    """Raise as `check_finite` does, of the entries of a CSR matrix, naming the place in that."""
    try:
        check_finite(name, value, dtype)
    except ValueError:
        i = np.flatnonzero(~np.isfinite(value))[0]
        _refuse_value(name, value[i], dtype, *place_of_entry(i, starts, column))


def place_of_entry(i, starts, column):
    """Return the row and the column of an entry of a CSR matrix."""
    return np.searchsorted(starts, i, "right") - 1, column[i]


def _refuse_value(name, value, dtype, row, column=None):
    kind = "NaN" if np.isnan(value) else f"infinity (as {np.dtype(dtype).name})"
    place = f"row {row}" if column is None else f"column {column} (first in row {row})"
    raise ValueError(f"{name} contains {kind} in {place}; every value must be finite") from None


def as_csr(name, X, dtype=None):
    """Return a sparse matrix as a sound CSR matrix of the dtype; None: of its own.

    SciPy's compiled code and ours follow ``indices`` and ``indptr`` unchecked, so these are checked
    here, in copies that nobody else can change: SciPy has looked at them once, if at all. Entries
    of ``data`` and ``indices`` behind the last one are left out; duplicates add up.
    """
    from scipy import sparse

    if dtype is not None:
        _check_sparse_dtype(name, X)
    try:
        if X.format not in ("csr", "csc", "coo"):
            X = _plain_sparse(name, X)
        n_rows, n_columns = X.shape
        if X.format == "coo":
            parts = (_sparse_values(name, X.data, dtype),
                     (_sparse_places(f"{name}.row", X.row, n_rows),
                      _sparse_places(f"{name}.col", X.col, n_columns)))
            if not len(parts[0]) == len(parts[1][0]) == len(parts[1][1]):
                raise ValueError(f"{name}.data, row and col must be of one length")
            X = sparse.coo_matrix(parts, X.shape).tocsr()
        else:
            major, minor = (n_rows, n_columns) if X.format == "csr" else (n_columns, n_rows)
            starts = _sparse_starts(f"{name}.indptr", X.indptr, major,
                                    min(len(X.indices), len(X.data)))
            parts = (_sparse_values(name, X.data[:starts[-1]], dtype),
                     _sparse_places(f"{name}.indices", X.indices[:starts[-1]], minor), starts)
            kind = sparse.csr_matrix if X.format == "csr" else sparse.csc_matrix
            X = kind(parts, X.shape).tocsr()
    except UNSOUND as error:
        raise ValueError(f"{name} is not a sound sparse matrix: {error}") from None
    return X


def _plain_sparse(name, X):
    """Return a sparse matrix of another format as CSR or COO, which `as_csr` looks into."""
    try:
        X = _sound_dia(X) if X.format == "dia" else X
        # but for dia these two are made by NumPy
        return X.tocsr() if X.format == "lil" else X.tocoo()
    except (ValueError, *UNSOUND) as error:
        raise ValueError(f"{name} is not a sound sparse matrix: {error}") from None


def _check_sparse_dtype(name, X):
    try:
        dtype = X.dtype
    except AttributeError as error:  # X.data is no array
        raise ValueError(f"{name} is not a sound sparse matrix: {error}") from None
    if dtype.kind not in NUMERIC:
        raise TypeError(f"{name} has dtype {dtype}, must be numeric (bool, int or float)")


def _sound_dia(X):
    """Return a DIA matrix whose diagonals are as many as it says and lie within it."""
    from scipy import sparse

    offsets, (n_rows, n_columns) = _sparse_integers("offsets", X.offsets), X.shape
    if not isinstance(X.data, np.ndarray) or X.data.shape[:1] != offsets.shape:
        raise ValueError(f"data has shape {np.shape(X.data)}, offsets {offsets.shape}")
    inside = (offsets > -n_rows) & (offsets < n_columns)
    return sparse.dia_matrix((X.data[inside], offsets[inside]), X.shape)


def csr_arrays(name, X, n_in, dtype):
    """Return the rows of a sparse matrix as `Snapshot.predict_sparse` takes them: where each begins
    (int64), columns (int32), values of the dtype.

    Nothing is copied of a CSR matrix of the dtype with indices of 32 bits but where its rows begin:
    whoever reads the columns checks them.
    """
    if X.ndim != 2 or X.shape[1] != n_in:
        raise ValueError(f"{name} has shape {X.shape}, must be (n_samples, {n_in})")
    _check_sparse_dtype(name, X)
    if X.format != "csr":
        X = as_csr(name, X, dtype)
    column, value = X.indices, X.data
    starts = ready_starts(X.indptr, column, value, X.shape[0], dtype)
    if starts is not None:
        return starts, column, value
    if type(column) is not np.ndarray or column.ndim != 1 or column.dtype != np.int32 or not (
            column.flags.c_contiguous and column.flags.aligned):
        column = _sparse_places(f"{name}.indices", column, n_in)
    value = _sparse_values(name, value, dtype)
    starts = _sparse_starts(f"{name}.indptr", X.indptr, X.shape[0], min(len(column), len(value)))
    return starts, column, value


def check_order(name, start, column, counts):
    """Raise where the entries of a row of a CSR matrix do not come in the order of columns of so
    many inputs each; of no columns never."""
    if not counts:
        return
    place = np.searchsorted(np.cumsum(counts), column, "right")
    falls = np.flatnonzero(place[1:] < place[:-1]) + 1
    if len(falls) and not np.isin(falls, start).all():
        raise ValueError(f"{name}.indices of a row must come in the order of the columns of Embed: "
                         f"{name}.sort_indices() brings them into it")


def check_adds(name, adds, n_in):
    """Return a copy of what says where the sums of `Codes` begin."""
    if type(adds) is not np.ndarray or adds.dtype != np.uint8 or adds.shape != (n_in,) or (
            adds[0] or adds.max() > 1):
        raise ValueError(f"{name}.adds must be zeros and ones ({n_in},) of uint8, 0 at first")
    return np.array(adds)


def _sparse_values(name, data, dtype):
    if not isinstance(data, np.ndarray) or data.ndim != 1:
        raise ValueError(f"{name}.data has shape {np.shape(data)}, must be one-dimensional")
    return data if dtype is None else require(f"{name}.data", data, dtype)


def _sparse_places(name, places, stop):
    """Return a copy of row or column numbers, of 32 bits where these hold them."""
    places = _sparse_integers(name, places)
    if places.size and not (places.min() >= 0 and places.max() < stop):
        raise ValueError(f"{name} must hold values in 0..{stop - 1}, has {places.min()} to "
                         f"{places.max()}")
    return places.astype(np.int32 if stop <= 2**31 else np.int64, copy=False)


def _sparse_starts(name, starts, n_major, n_entries):
    """Return a copy of where each row (of CSC: column) begins."""
    starts = _sparse_integers(name, starts)
    if starts.shape != (n_major + 1,):
        raise ValueError(f"{name} has shape {starts.shape}, must be ({n_major + 1},)")
    starts = starts.astype(np.int64, copy=False)
    if starts[0] != 0 or starts[-1] > n_entries or (starts[1:] < starts[:-1]).any():
        raise ValueError(f"{name} must begin with 0, never fall, and end within the {n_entries} "
                         "entries")
    return starts


def _sparse_integers(name, array):
    if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(f"{name} must be a one-dimensional array of integers")
    return np.array(array)


def check_rows(name, X, n_in, dtype, finite=True):
    """X as (n_samples, n_in): an array, a CSR matrix where X is sparse, or codes."""
    if is_codes(X):
        start, column, value = csr_arrays(name, X, n_in, dtype)
        column = _sparse_places(f"{name}.indices", column, n_in)
        if finite:
            _check_entries(name, start, column, value, dtype)
        return Codes(value, column, start, check_adds(name, X.adds, n_in))
    if is_sparse(X):
        if X.ndim != 2 or X.shape[1] != n_in:
            raise ValueError(f"{name} has shape {X.shape}, must be (n_samples, {n_in})")
        X = as_csr(name, X, dtype)
        if finite:
            _check_entries(name, X.indptr, X.indices, X.data, dtype)
        return X
    X = _check_shape(name, require(name, X, dtype), n_in)
    if finite:
        check_finite(name, X, dtype)
    return X


def _check_shape(name, X, n_in):
    if X.ndim != 2:
        hint = imported("fastnn.core.cures").shape_hint(name, X.shape, n_in)
        raise ValueError(f"{name} has shape {X.shape}, must be (n_samples, {n_in}){hint}")
    if X.shape[1] != n_in:
        hint = imported("fastnn.core.cures").columns_hint(name, X.shape, n_in)
        raise ValueError(f"{name} has {X.shape[1]} columns, must have {n_in}{hint}")
    return X


def check_training_rows(name, X, n_in, dtype, in_place=True):
    """Return the same, of at least one row; large arrays of other numbers as they are.

    What is not row-major of the dtype is copied to it where that takes at most `COPIED_BYTES` and X
    is not mapped from a file: an epoch over a copy is a little faster. Otherwise, unless
    ``in_place`` is False, it comes back as it is, and the loops convert its rows batch by batch
    (see `Trainer.set_data`); its values are checked as the dtype has them, some at a time.
    """
    array = None if is_sparse(X) or is_codes(X) or not in_place else as_array(name, X)
    if array is not None and array.dtype.kind not in NUMERIC:
        raise not_numeric(name, X, array)
    if array is not None and is_converted(array, dtype):
        X = _check_shape(name, array, n_in)
        if array.dtype.kind == "f":
            check_finite(name, array, dtype)
    else:
        X = check_rows(name, X if array is None else array, n_in, dtype)
    if X.shape[0] == 0:
        raise ValueError(f"{name} has 0 rows, must have at least 1")
    return X


def check_prediction_rows(name, X, n_in, dtype):
    """Return X of any number of rows, values unchecked; an array of another dtype that is mapped or
    large as it is, see `check_training_rows`."""
    if isinstance(X, np.ndarray) and X.dtype != dtype and is_converted(X, dtype):
        refuse_masked(name, X)
        return _check_shape(name, np.asarray(X), n_in)
    return check_rows(name, X, n_in, dtype, finite=False)


def is_converted(array, dtype):
    """Whether rows of an array are made batch by batch: it is not as the loops read it, and too
    large to be copied, or mapped from a file."""
    if array.dtype.str[1:] not in CONVERTED or array.ndim != 2:
        return False
    if array.dtype == dtype and array.flags.c_contiguous and array.flags.aligned:
        return False
    return array.size * np.dtype(dtype).itemsize > COPIED_BYTES or is_mapped(array)


def is_mapped(array):
    """Whether the memory of an array is a mapped file, as far as its bases tell."""
    mmap = sys.modules.get("mmap")
    while mmap is not None and array is not None:
        if isinstance(array, mmap.mmap):
            return True
        array = array.obj if isinstance(array, memoryview) else getattr(array, "base", None)
    return False


def check_targets(name, y, n_samples, n_out, dtype, loss):
    """Return y as int32 labels (n_samples,) where the loss takes them, else (n_samples, n_out) of
    the dtype; ``loss``: a `BoundLoss`."""
    given, y = y, as_array(name, y)
    if y.dtype.kind not in NUMERIC:
        raise not_numeric(name, given, y)
    if y.ndim == 0 or y.shape[0] != n_samples:
        hint = f": {name}.T?" if y.ndim == 2 and y.shape[1] == n_samples else ""
        raise ValueError(f"{name} has shape {y.shape}, must have one row for each of {n_samples} "
                         f"rows of X{hint}")
    column = y.ndim == 1 or y.shape[1:] == (1,)
    if loss.labels == "rows" and (y.ndim == 1 or column and n_out > 1):
        if n_out == 1:
            raise ValueError("output='softmax' with 1 unit is 1 for every row: two classes need "
                             "sizes (..., 2), or output='sigmoid'")
        return _check_labels(name, y.reshape(-1), n_out, loss.name)
    if loss.labels == "one_hot" and column and n_out > 1:
        labels = _check_labels(name, y.reshape(-1), n_out, loss.name)
        return (labels[:, np.newaxis] == np.arange(n_out)).astype(dtype)
    width = 1 if loss.repeats and column else loss.n_targets
    if y.ndim == 1 and width == 1:
        y = y.reshape(-1, 1)
    if y.shape != (n_samples, width):
        labels = ", or (n_samples,) labels" if loss.labels else ""
        counts = y.dtype.kind in "biu" or bool((y == np.floor(y)).all())
        hint = imported("fastnn.core.cures").target_hint(
            y.shape, n_samples, width, counts and loss.link == "identity" and not loss.labels)
        raise ValueError(f"{name} has shape {y.shape}, must be ({n_samples}, {width}){labels}"
                         f"{hint}")
    y = require(name, y, dtype)
    check_finite(name, y, dtype)
    low, high = y.min(), y.max()
    if loss.targets == "unit" and not (low >= 0 and high <= 1):
        hint = {(-1, 1): ": (y > 0).astype(int)", (1, 2): ": subtract 1"}.get((low, high), "")
        raise ValueError(f"{name} has values in [{low}, {high}], loss={loss.name!r} needs [0, 1]"
                         f"{hint}")
    if loss.targets == "nonnegative" and not low >= 0:
        raise ValueError(f"{name} has the value {low}, loss={loss.name!r} needs values >= 0")
    if loss.targets == "positive" and not low > 0:
        raise ValueError(f"{name} has the value {low}, loss={loss.name!r} needs values > 0")
    return spread_targets(y, n_out)


def spread_targets(y, n_out):
    """Return y (n_samples, n) with a column for each of n_out outputs: a single one is repeated,
    several are followed by zeros, which no loss reads."""
    if y.shape[1] == n_out:
        return y
    wide = np.zeros((len(y), n_out), y.dtype)
    wide[:, :n_out if y.shape[1] == 1 else y.shape[1]] = y
    return wide


def _check_labels(name, y, n_out, loss):
    """Return labels as int32, in a copy: the loop follows them unchecked, so a callback or another
    thread must not be able to change them."""
    y = np.array(y)
    check_finite(name, y, y.dtype)
    if y.dtype.kind == "f" and not (y == np.floor(y)).all():
        raise ValueError(f"{name} has labels that are not whole numbers; "
                         f"loss={loss!r} needs 0..{n_out - 1}")
    low, high = y.min(), y.max()
    if low < 0 or high >= n_out:
        hint = imported("fastnn.core.cures").label_hint(int(low), int(high), n_out)
        raise ValueError(f"{name} has labels in {low}..{high}, must be in 0..{n_out - 1}{hint}")
    return np.require(y, np.int32, ("C", "A"))


def check_weights(sample_weight, n_samples, dtype, name="sample_weight"):
    """Sample weights (n_samples,) of the dtype, none negative, not all 0; None stays None."""
    if sample_weight is None:
        return None
    weights = require(name, sample_weight, dtype)
    if weights.shape != (n_samples,):
        raise ValueError(f"{name} has shape {weights.shape}, must be ({n_samples},)")
    check_finite(name, weights, dtype)
    if weights.min() < 0:
        raise ValueError(f"{name} has the value {weights.min()}, must be >= 0")
    if not weights.any():
        raise ValueError(f"{name} is 0 everywhere, must be > 0 for at least one row")
    check_total_weight(name, weights)
    return weights


def moderate_weights(weights):
    """Return weights of float64 that float32 can hold, where their greatest may be beyond that:
    all of them times one power of two, which changes no other digit of what is made of them."""
    most = np.abs(weights).max(initial=0)
    if most == 0 or 1e-12 < most < 1e12 or not np.isfinite(most):
        return weights
    return np.ldexp(weights, -np.frexp(most)[1])


def check_total_weight(name, weights):
    """Raise where weights come to nothing: they add up to 0, or are so small that their products
    with gradients vanish in the working precision."""
    number = np.finfo(weights.dtype)
    least, most = number.tiny / number.eps, np.abs(weights).max(initial=0)
    if 0 < most < least:
        raise ValueError(f"{name} is at most {most:.3g}, too small for {weights.dtype}: must reach "
                         f"{least:.3g}. Multiply all by one number")
    total, absolute = weights.sum(dtype=np.float64), np.abs(weights).sum(dtype=np.float64)
    if not abs(total) > absolute * np.finfo(np.float64).eps:
        raise ValueError(f"{name} adds up to {total:.3g}, must not add up to 0: the mean loss is "
                         "divided by that")


def check_out(out, shape, dtype):
    """Raise unless it is a writable, row-major, aligned array of this shape and dtype."""
    if not (type(out) is np.ndarray and out.shape == shape and out.dtype == dtype
            and out.dtype.isnative and out.flags.carray):
        found = f"{out.dtype} {out.shape}" if isinstance(out, np.ndarray) else repr(type(out))
        raise ValueError(f"out is {found}, must be a writable row-major array, {dtype} {shape}")
