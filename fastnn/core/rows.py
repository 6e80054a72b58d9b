"""Checks of X, y and `sample_weight`: their shapes, their values and what a loss asks of them.

Every message names the argument, what it has and the rule.
"""

import numpy as np

from fastnn.core.arrays import (
    NUMERIC,
    as_array,
    check_finite,
    is_mapped,
    is_sparse,
    not_numeric,
    refuse_masked,
    require,
)
from fastnn.core.codes import Codes, is_codes
from fastnn.core.csr import as_csr, check_entries, codes_arrays
from fastnn.core.imports import imported

COPIED_BYTES = 2**26  # rows to train on are copied to the network's dtype up to this size
CONVERTED = ("b1 i1 u1 i2 u2 i4 u4 i8 u8 f2 f4 f8").split()  # that the loops convert row by row


def check_rows(name, X, n_in, dtype, finite=True, given=None):
    """X as (n_samples, n_in): an array, a CSR matrix where X is sparse, or codes; ``given``: what
    the user gave, where X is made of it already."""
    if is_codes(X):
        start, column, value, adds = codes_arrays(name, X, n_in, dtype)
        if finite:
            check_entries(name, start, column, value, dtype)
        return Codes(value, column, start, adds)
    if is_sparse(X):
        if X.ndim != 2 or X.shape[1] != n_in:
            raise ValueError(f"{name} has shape {X.shape}, must be (n_samples, {n_in})")
        X = as_csr(name, X, dtype)
        if finite:
            check_entries(name, X.indptr, X.indices, X.data, dtype)
        return X
    X = _check_shape(name, require(name, X, dtype), n_in, X if given is None else given)
    if finite:
        check_finite(name, X, dtype)
    return X


def _check_shape(name, X, n_in, given):
    if X.ndim != 2:
        hint = imported("fastnn.core.cures").shape_hint(name, X.shape, n_in, given)
        raise ValueError(f"{name} has shape {X.shape}, must be (n_samples, {n_in}){hint}")
    if X.shape[1] != n_in:
        hint = imported("fastnn.core.cures").columns_hint(name, X.shape, n_in, given)
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
        X = _check_shape(name, array, n_in, X)
        if array.dtype.kind == "f":
            check_finite(name, array, dtype)
    else:
        X = check_rows(name, X if array is None else array, n_in, dtype, given=X)
    if X.shape[0] == 0:
        raise ValueError(f"{name} has 0 rows, must have at least 1")
    return X


def check_prediction_rows(name, X, n_in, dtype):
    """Return X of any number of rows, values unchecked; an array of another dtype that is mapped or
    large as it is, see `check_training_rows`."""
    if isinstance(X, np.ndarray) and X.dtype != dtype and is_converted(X, dtype):
        refuse_masked(name, X)
        return _check_shape(name, np.asarray(X), n_in, X)
    return check_rows(name, X, n_in, dtype, finite=False)


def is_converted(array, dtype):
    """Whether rows of an array are made batch by batch: it is not as the loops read it, and too
    large to be copied, or mapped from a file."""
    if array.dtype.str[1:] not in CONVERTED or array.ndim != 2:
        return False
    if array.dtype == dtype and array.flags.c_contiguous and array.flags.aligned:
        return False
    return array.size * np.dtype(dtype).itemsize > COPIED_BYTES or is_mapped(array)


def check_targets(name, y, n_samples, n_out, dtype, loss):
    """Return y as int32 labels (n_samples,) where the loss takes them, else (n_samples, n_out) of
    the dtype; ``loss``: a `BoundLoss`."""
    given, y = y, as_array(name, y)
    if y.dtype.kind not in NUMERIC:
        raise not_numeric(name, given, y)
    if y.ndim == 0 or y.shape[0] != n_samples:
        hint = ""
        if y.ndim == 2 and y.shape[1] == n_samples:
            hint = ": " + imported("fastnn.core.cures").array_of(name, given, "T") + ".T?"
        raise ValueError(f"{name} has shape {y.shape}, must have one row for each of {n_samples} "
                         f"rows of X{hint}")
    column = y.ndim == 1 or y.shape[1:] == (1,)
    if loss.labels == "rows" and (y.ndim == 1 or column and n_out > 1):
        if n_out == 1:
            raise ValueError("output='softmax' with 1 unit is 1 for every row: two classes need "
                             "sizes (..., 2), or output='sigmoid'")
        return _check_labels(name, y.reshape(-1), n_out, loss.name, given)
    if loss.labels == "one_hot" and column and n_out > 1:
        labels = _check_labels(name, y.reshape(-1), n_out, loss.name, given)
        return (labels[:, np.newaxis] == np.arange(n_out)).astype(dtype)
    width = 1 if loss.repeats and column else loss.n_targets
    if y.ndim == 1 and width == 1:
        y = y.reshape(-1, 1)
    if y.shape != (n_samples, width):
        labels = ", or (n_samples,) labels" if loss.labels else ""
        counts = y.dtype.kind in "biu" or bool((y == np.floor(y)).all())
        hint = imported("fastnn.core.cures").target_hint(
            y.shape, n_samples, width, counts and loss.link == "identity" and not loss.labels,
            given)
        raise ValueError(f"{name} has shape {y.shape}, must be ({n_samples}, {width}){labels}"
                         f"{hint}")
    y = require(name, y, dtype)
    check_finite(name, y, dtype)
    low, high = y.min(), y.max()
    if loss.targets == "unit" and not (low >= 0 and high <= 1):
        hint = ": subtract 1" if (low, high) == (1, 2) else ""
        if (low, high) == (-1, 1):
            hint = ": " + imported("fastnn.core.cures").signs_hint(given)
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


def _check_labels(name, y, n_out, loss, given):
    """Return labels as int32, in a copy: the loop follows them unchecked, so a callback or another
    thread must not be able to change them."""
    y = np.array(y)
    check_finite(name, y, y.dtype)
    if y.dtype.kind == "f" and not (y == np.floor(y)).all():
        raise ValueError(f"{name} has labels that are not whole numbers; "
                         f"loss={loss!r} needs 0..{n_out - 1}")
    low, high = y.min(), y.max()
    if low < 0 or high >= n_out:
        hint = imported("fastnn.core.cures").label_hint(int(low), int(high), n_out, given)
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


def moderate_weights(weights, most=None):
    """Return weights of float64 that float32 can hold, where their greatest may be beyond that:
    all of them times one power of two, which changes no other digit of what is made of them.
    ``most``: the greatest of all, where these are some of them."""
    most = np.abs(weights).max(initial=0) if most is None else most
    if most == 0 or 1e-12 < most < 1e12 or not np.isfinite(most):
        return weights
    return np.ldexp(weights, -np.frexp(most)[1])


def check_total_weight(name, weights):
    """Raise where weights come to nothing: they add up to 0, or are so small that their products
    with gradients vanish in the working precision, or so large that these are infinite."""
    total, absolute = weights.sum(dtype=np.float64), np.abs(weights).sum(dtype=np.float64)
    check_weight_range(name, np.abs(weights).max(initial=0), absolute, weights.dtype)
    if not abs(total) > absolute * np.finfo(np.float64).eps:
        raise ValueError(f"{name} adds up to {total:.3g}, must not add up to 0: the mean loss is "
                         "divided by that")


def check_weight_range(name, most, total, dtype):
    """Raise where weights, of which the greatest and the sum are given, are too small or too large
    for the dtype that they are used in."""
    number = np.finfo(dtype)
    least = float(number.tiny / number.eps)
    if 0 < most < least:
        raise ValueError(f"{name} is at most {most:.3g}, too small for {dtype}: must reach "
                         f"{least:.3g}. Multiply all by one number")
    limit = float(number.max) / 1024  # values and gradients beyond 1 need some room, too
    if total > limit:
        raise ValueError(f"{name} adds up to {total:.3g}, too large for {dtype}: must stay below "
                         f"{limit:.3g}. Multiply all by one number")
