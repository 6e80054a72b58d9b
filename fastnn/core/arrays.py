"""Arrays that users hand over: whatever holds numbers becomes one, and what does not is named.

What comes out is what the compiled loops read: row-major, aligned, native byte order, of the
network's dtype. Arrays that already are come back as they are; others are copied, never written to.
"""

import sys

import numpy as np

from fastnn.core.imports import imported
from fastnn.core.notices import shorten

NUMERIC = "biuf"
SLICE = 2**20  # elements, some 2 ms of a pass over them


def is_sparse(X):
    """Whether X is a SciPy sparse matrix or array; does not import SciPy."""
    sparse = sys.modules.get("scipy.sparse")
    return hasattr(sparse, "issparse") and sparse.issparse(X)  # it may be half imported


def dense_rows(X):
    """Return X as an array where it is sparse or codes (which ask this module), else as it is."""
    return X.toarray() if hasattr(X, "toarray") else X


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


def is_mapped(array):
    """Whether the memory of an array is a mapped file, as far as its bases tell."""
    mmap = sys.modules.get("mmap")
    while mmap is not None and array is not None:
        if isinstance(array, mmap.mmap):
            return True
        array = array.obj if isinstance(array, memoryview) else getattr(array, "base", None)
    return False


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
    refuse_value(name, array[tuple(where)], dtype, *where)


def refuse_value(name, value, dtype, row, column=None):
    kind = "NaN" if np.isnan(value) else f"infinity (as {np.dtype(dtype).name})"
    place = f"row {row}" if column is None else f"column {column} (first in row {row})"
    raise ValueError(f"{name} contains {kind} in {place}; every value must be finite") from None


def check_out(out, shape, dtype):
    """Raise unless it is a writable, row-major, aligned array of this shape and dtype."""
    if not (type(out) is np.ndarray and out.shape == shape and out.dtype == dtype
            and out.dtype.isnative and out.flags.carray):
        found = f"{out.dtype} {out.shape}" if isinstance(out, np.ndarray) else repr(type(out))
        raise ValueError(f"out is {found}, must be a writable row-major array, {dtype} {shape}")
