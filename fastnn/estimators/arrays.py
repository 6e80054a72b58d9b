"""Arrays of users as the compiled loops want them, and what is wrong with them."""

import numpy as np
import scipy.sparse as sp

from fastnn.core._arrays import is_finite_vector
from fastnn.core.arrays import NUMERIC, as_array, from_tensor
from fastnn.core.csr import as_rows_or_vector

__all__ = ["aligned", "first_non_finite", "is_ready_csr", "numbers", "sound"]


def aligned(a):
    """Return ``a`` as the compiled loops want it: C order, aligned (sparse matrices unchanged)."""
    return a if sp.issparse(a) else np.require(a, requirements="CA")


def sound(name, data):
    """Return tensors of other libraries and sparse arrays of one dimension as arrays, and sparse
    matrices such as SciPy's compiled code can follow."""
    data = from_tensor(name, data)
    return as_rows_or_vector(name, data) if sp.issparse(data) else data


def is_ready_csr(X, network):
    """Return whether a sparse matrix is one that a network can read as it is, of finite numbers;
    scikit-learn's checks take longer than the look-ups."""
    shape = X.shape
    return (X.format == "csr" and len(shape) == 2 and shape[0] > 0
            and shape[1] == network.sizes[0] and is_finite_vector(X.data, network.dtype))


def numbers(name, arrays, ndim, last=None):
    """Return what a user may have assigned as arrays of numbers, the last one perhaps of another
    number of dimensions."""
    if not isinstance(arrays, (list, tuple)) or len(arrays) == 0:
        raise TypeError(f"{name}={type(arrays).__name__} must be a list of arrays, one for each "
                        "layer")
    found = []
    for i, array in enumerate(arrays):
        array = as_array(f"{name}[{i}]", array)
        wanted = last if last is not None and i == len(arrays) - 1 else ndim
        if array.dtype.kind not in NUMERIC or array.ndim != wanted:
            raise ValueError(f"{name}[{i}] is {array.dtype} of shape {array.shape}, must be "
                             f"numbers of {wanted} dimension(s)")
        found.append(array)
    return found


def first_non_finite(data, dtype):
    """Say where the first NaN or infinity of ``data`` is; None where that cannot be told."""
    names = getattr(data, "columns", None)
    dtype = np.float64 if isinstance(dtype, tuple) else dtype
    try:
        with np.errstate(over="ignore"):
            if sp.issparse(data):
                data = data.tocoo()
                first = np.flatnonzero(~np.isfinite(data.data.astype(dtype)))[0]
                row, *column = data.row[first], data.col[first]
            else:
                row, *column = np.argwhere(~np.isfinite(np.asarray(data, dtype=dtype)))[0]
    except (TypeError, ValueError, IndexError):
        return None
    if not column:
        return f"row {row}"
    return f"column {int(column[0]) if names is None else names[column[0]]!r}, row {row}"
