"""Sparse matrices that users hand over, as sound ones in CSR form: what follows their indices does
so unchecked."""

from itertools import chain

import numpy as np

from fastnn.core._arrays import ready_starts
from fastnn.core.arrays import NUMERIC, check_finite, refuse_masked, refuse_value, require

UNSOUND = (AttributeError, IndexError, KeyError, OverflowError, TypeError,
           ZeroDivisionError)  # SciPy's, of odd matrices


def as_csr(name, X, dtype=None):
    """Return a sparse matrix as a sound CSR matrix of the dtype; None: of its own.

    SciPy's compiled code and ours follow ``indices`` and ``indptr`` unchecked, so these are checked
    here, in copies that nobody else can change: SciPy has looked at them once, if at all. Entries
    of ``data`` and ``indices`` behind the last one are left out; duplicates add up.
    """
    if X.ndim != 2:
        raise ValueError(f"{name} has shape {X.shape}, must have two dimensions")
    return _as_csr(name, X, X.shape, dtype)


def as_rows_or_vector(name, X):
    """Return a sparse matrix as `as_csr` does, and a sparse array of one dimension as a dense one:
    SciPy makes these by the same code."""
    if X.ndim != 1:
        return as_csr(name, X)
    return _as_csr(name, X, (1, *X.shape), None).toarray().ravel()


def _as_csr(name, X, shape, dtype):
    """Return `as_csr` of a sparse matrix; one row, where that is the shape of one dimension."""
    from scipy import sparse

    check_kind(name, X, NUMERIC + "c" * (dtype is None))  # of complex ones scikit-learn speaks
    n_rows, n_columns = shape
    try:
        if X.format not in ("csr", "csc", "coo"):
            X = _plain(name, X)
        if X.format == "coo":
            parts = (_values(name, X.data, dtype),
                     (check_places(f"{name}.row", X.row, n_rows),
                      check_places(f"{name}.col", X.col, n_columns)))
            if not len(parts[0]) == len(parts[1][0]) == len(parts[1][1]):
                raise ValueError(f"{name}.data, row and col must be of one length")
            X = sparse.coo_matrix(parts, shape).tocsr()
        else:
            major, minor = (n_rows, n_columns) if X.format == "csr" else (n_columns, n_rows)
            starts = _starts(f"{name}.indptr", X.indptr, major,
                             min(len(X.indices), len(X.data)))
            parts = (_values(name, X.data[:starts[-1]], dtype),
                     check_places(f"{name}.indices", X.indices[:starts[-1]], minor), starts)
            kind = sparse.csr_matrix if X.format == "csr" else sparse.csc_matrix
            X = kind(parts, shape).tocsr()
    except UNSOUND as error:
        raise ValueError(f"{name} is not a sound sparse matrix: {error}") from None
    return X


def _plain(name, X):
    """Return a sparse matrix of another format as CSR or COO, which `as_csr` looks into."""
    try:
        refuse_masked(f"{name}.data", getattr(X, "data", None))
        sound = {"bsr": _sound_bsr, "dia": _sound_dia, "lil": _csr_of_lil}.get(X.format)
        X = X if sound is None else sound(X)
        return X if X.format == "csr" else X.tocoo()
    except (ValueError, *UNSOUND) as error:
        raise ValueError(f"{name} is not a sound sparse matrix: {error}") from None


def check_kind(name, X, kinds=NUMERIC):
    """Raise where a sparse matrix, or codes, hold other values than numbers."""
    try:
        dtype = X.dtype
        known = dtype.kind in kinds
    except AttributeError as error:  # X.data is no array
        raise ValueError(f"{name} is not a sound sparse matrix: {error}") from None
    if not known:
        raise TypeError(f"{name} has dtype {dtype}, must be numeric (bool, int or float)")


def _sound_dia(X):
    """Return a DIA matrix whose diagonals are as many as it says and lie within it."""
    from scipy import sparse

    offsets, (n_rows, n_columns) = _integers("offsets", X.offsets), X.shape
    if not isinstance(X.data, np.ndarray) or X.data.shape[:1] != offsets.shape:
        raise ValueError(f"data has shape {np.shape(X.data)}, offsets {offsets.shape}")
    inside = (offsets > -n_rows) & (offsets < n_columns)
    return sparse.dia_matrix((X.data[inside], offsets[inside]), X.shape)


def _sound_bsr(X):
    """Return a BSR matrix whose blocks are as many as it says and lie within it: SciPy multiplies
    their places by their size, beyond what 32 bits hold too."""
    from scipy import sparse

    n_rows, n_columns = X.shape
    if X.data.ndim != 3 or 0 in X.data.shape[1:] or n_rows % X.data.shape[1] or (
            n_columns % X.data.shape[2]):
        raise ValueError(f"data has shape {X.data.shape}, must hold blocks of which {X.shape} is "
                         "made")
    _, height, width = X.data.shape
    starts = _starts("indptr", X.indptr, n_rows // height, min(len(X.indices), len(X.data)))
    places = check_places("indices", X.indices[:starts[-1]], n_columns // width)
    return sparse.bsr_matrix((X.data[:starts[-1]], places, starts), X.shape)


def _csr_of_lil(X):
    """Return a LIL matrix as CSR: SciPy's compiled code counts the places of each row, and writes
    as many values as there are."""
    from scipy import sparse

    n_rows, n_columns = X.shape
    counts = []
    for name in ("rows", "data"):
        lists = getattr(X, name)
        if not isinstance(lists, np.ndarray) or lists.shape != (n_rows,):
            raise ValueError(f"{name} must be an array of {n_rows} lists")
        counts.append(np.fromiter(map(len, lists), np.int64, n_rows))
    odd = np.flatnonzero(counts[0] != counts[1])
    if odd.size:
        row = odd[0]
        raise ValueError(f"row {row} has {counts[0][row]} places and {counts[1][row]} values")
    starts = np.concatenate([[0], np.cumsum(counts[0])])
    places = np.array(list(chain.from_iterable(X.rows)))
    places = check_places("rows", places if places.size else places.astype(np.int64), n_columns)
    values = np.fromiter(chain.from_iterable(X.data), X.dtype)
    if not len(places) == len(values) == starts[-1]:
        raise ValueError(f"rows hold {len(places)} places and {len(values)} values")
    return sparse.csr_matrix((values, places, starts), X.shape)


def csr_arrays(name, X, n_in, dtype):
    """Return the rows of a sparse matrix as `Snapshot.predict_sparse` takes them: where each begins
    (int64), columns (int32), values of the dtype.

    Nothing is copied of a CSR matrix of the dtype with indices of 32 bits but where its rows begin:
    whoever reads the columns checks them.
    """
    if X.ndim != 2 or X.shape[1] != n_in:
        raise ValueError(f"{name} has shape {X.shape}, must be (n_samples, {n_in})")
    check_kind(name, X)
    if X.format != "csr":
        X = as_csr(name, X, dtype)
    column, value = X.indices, X.data
    starts = ready_starts(X.indptr, column, value, X.shape[0], dtype)
    if starts is not None:
        return starts, column, value
    if type(column) is not np.ndarray or column.ndim != 1 or column.dtype != np.int32 or not (
            column.flags.c_contiguous and column.flags.aligned):
        column = check_places(f"{name}.indices", column, n_in)
    value = _values(name, value, dtype)
    starts = _starts(f"{name}.indptr", X.indptr, X.shape[0], min(len(column), len(value)))
    return starts, column, value


def _values(name, data, dtype):
    if not isinstance(data, np.ndarray) or data.ndim != 1:
        raise ValueError(f"{name}.data has shape {np.shape(data)}, must be one-dimensional")
    refuse_masked(f"{name}.data", data)
    return data if dtype is None else require(f"{name}.data", data, dtype)


def check_places(name, places, stop):
    """Return a copy of row or column numbers, of 32 bits where these hold them."""
    places = _integers(name, places)
    if places.size and not (places.min() >= 0 and places.max() < stop):
        raise ValueError(f"{name} must hold values in 0..{stop - 1}, has {places.min()} to "
                         f"{places.max()}")
    return places.astype(np.int32 if stop <= 2**31 else np.int64, copy=False)


def _starts(name, starts, n_major, n_entries):
    """Return a copy of where each row (of CSC: column) begins."""
    starts = _integers(name, starts)
    if starts.shape != (n_major + 1,):
        raise ValueError(f"{name} has shape {starts.shape}, must be ({n_major + 1},)")
    starts = starts.astype(np.int64, copy=False)
    if starts[0] != 0 or starts[-1] > n_entries or (starts[1:] < starts[:-1]).any():
        raise ValueError(f"{name} must begin with 0, never fall, and end within the {n_entries} "
                         "entries")
    return starts


def _integers(name, array):
    if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(f"{name} must be a one-dimensional array of integers")
    refuse_masked(name, array)
    return np.array(array)


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
            not n_in or adds[0] or adds.max() > 1):
        raise ValueError(f"{name}.adds must be zeros and ones ({n_in},) of uint8, 0 at first")
    return np.array(adds)


def codes_arrays(name, X, n_in, dtype):
    """Return what `csr_arrays` does of `Codes`, with columns that nobody else can change, and their
    ``adds``."""
    start, column, value = csr_arrays(name, X, n_in, dtype)
    return (start, check_places(f"{name}.indices", column, n_in), value,
            check_adds(name, X.adds, n_in))


def check_entries(name, starts, column, value, dtype):
    """Raise as `check_finite` does, of the entries of a CSR matrix, naming the place in that."""
    try:
        check_finite(name, value, dtype)
    except ValueError:
        i = np.flatnonzero(~np.isfinite(value))[0]
        refuse_value(name, value[i], dtype, *place_of_entry(i, starts, column))


def place_of_entry(i, starts, column):
    """Return the row and the column of an entry of a CSR matrix."""
    return np.searchsorted(starts, i, "right") - 1, column[i]
