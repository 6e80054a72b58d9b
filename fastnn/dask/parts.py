"""Parts of the data as the user cuts them, to arrays as the trainer reads them.

A part is a tuple (X, y, sample_weight) of arrays or pandas objects, of which the last two may be
None; or one frame of which y is a column.
"""

import numpy as np

from fastnn.core.arrays import NUMERIC, as_array, check_finite, is_sparse, refuse_masked, require
from fastnn.core.codes import Codes, is_codes
from fastnn.core.csr import as_csr, place_of_entry
from fastnn.core.notices import shown
from fastnn.core.rows import check_rows, check_targets, moderate_weights
from fastnn.dask.digests import digest_of
from fastnn.training.bound_losses import check_loss

MAX_LABELS = 10_000


def split(part, wish):
    """Return (X, y, sample_weight) of a part, as the user gave them."""
    if not isinstance(part, tuple):
        part = (part, None, None)
    if len(part) == 2:
        part = (*part, None)
    if len(part) != 3:
        raise ValueError(f"is a tuple of {len(part)}, must be X, (X, y) or (X, y, sample_weight)")
    X, y, weight = part
    refuse_codes(X)
    for name, own in (("X", X), ("y", y), ("sample_weight", weight)):
        refuse_masked(name, own)  # arrays made of it would hold what is hidden
    return taken_out(X, y, weight, wish)


def refuse_codes(X):
    """Raise where X is `Codes`, which have no form that parts are cut and joined in."""
    if is_codes(X):
        raise TypeError("X holds codes, which fastnn.dask does not take: give the encoder's "
                        "to_dense(X), or the table itself to fastnn.dask.TabularClassifier or "
                        "TabularRegressor")


def refuse_frames(X):
    """Raise where X is a frame of others than pandas, which parts are cut and joined as."""
    if type(X).__module__.partition(".")[0] in ("polars", "pyarrow"):
        raise TypeError(f"X is a {type(X).__name__} of {type(X).__module__.partition('.')[0]}, "
                        "must be a data frame of pandas or an array: X.to_pandas() makes one")


def refuse_pairs(X):
    """Raise where a part to predict is one to train on."""
    if isinstance(X, tuple):
        raise TypeError("a part is a tuple, as (X, y) is for fit and score; to predict it must be "
                        "X alone")


def taken_out(X, y, weight, named):
    """Return X without the columns of it that are y and sample_weight, and these: ``named`` has
    their names as ``target`` and ``weight``, a string or several, or None."""
    taken = []
    for key, own in (("target", y), ("weight", weight)):
        names = named.get(key)
        if names is None:
            continue
        said = f"{'y' if key == 'target' else 'sample_weight'}={names!r}"
        if own is not None or not hasattr(X, "columns") or not hasattr(X, "iloc"):
            raise TypeError(f"{said} names columns of X, which must be a data frame of pandas then")
        some = [names] if isinstance(names, str) else list(names)
        for name in some:
            if name not in X.columns:
                raise ValueError(f"X has no column {name!r}, which {said} names")
        taken += some
        found = X[names if isinstance(names, str) else some]
        y, weight = (found, weight) if key == "target" else (y, found)
    return X.drop(columns=taken) if taken else X, y, weight


def survey(part, wish):
    """Return what a part holds, and raise where it cannot be trained on.

    Parameters
    ----------
    part : tuple
    wish : dict
        What is asked for: ``target`` and ``weight``, which columns of X are y and sample_weight,
        if any; ``classes`` (bool), whether to count labels; ``digest``
        (bool); where it is known, ``dtype`` and what `encode` takes.

    Returns
    -------
    dict
        ``rows``, ``columns`` (names or None), ``width``, ``dtypes``, ``y`` (what y is),
        ``weight`` (sum, or None) and ``most_weight``, ``labels`` and ``counts``, ``digest``.
    """
    X, y, weight = split(part, wish)
    X = _rows(X)
    found = {"rows": int(X.shape[0]), "width": int(X.shape[1]), "columns": None,
             "labels": None, "counts": None, "digest": None, "weight": None,
             "most_weight": None}
    if hasattr(X, "columns"):
        found["columns"] = list(X.columns)
        found["dtypes"] = [str(dtype) for dtype in X.dtypes]
    else:
        found["dtypes"] = [str(X.dtype)]
    array = matrix(X)
    if array.shape[0]:
        _check_values(array, found["columns"], wish["dtype"])
    values = targets_of(y, found["rows"])
    found["y"] = values.dtype.kind, values.shape[1:]
    if wish["classes"] and values.ndim == 2:
        check_multilabel(values)
    elif wish["classes"]:
        found["labels"], found["counts"] = labels_of(values)
    elif wish["n_out"] is None and len(values):
        numbers = require("y", values, np.dtype(wish["dtype"]))
        check_finite("y", numbers, numbers.dtype)
    elif len(values):
        values = _target(values, wish)
    if weight is not None:
        weight = np.asarray(column(weight, "sample_weight"))
        check_length("sample_weight", len(weight), found["rows"])
        if len(weight):
            weight = weights_of(weight, wish["dtype"])
        found.update(sum_of(weight))
    if wish["digest"]:
        found["digest"] = digest_of({"X": array, "y": values, "sample_weight": weight})
    return found


def rows_of(part, start, stop, wish):
    """Return some rows of a part: X as an array, y and sample_weight as arrays or None."""
    X, y, weight = split(part, wish)
    if wish.get("table") is not None:
        array = taken(X, slice(start, stop))
    else:
        array = matrix(_rows(X))[start:stop]
    if array.shape[0] != stop - start:
        raise ValueError(f"has {start + array.shape[0]} rows, and had {stop} or more when it was "
                         "looked at: a part must be the same each time it is read")
    return (array, None if y is None else column(y)[start:stop],
            None if weight is None else np.asarray(column(weight))[start:stop])


def encode(pieces, wish):
    """Return the rows of a shard, as `Trainer.set_data` takes them.

    Parameters
    ----------
    pieces : list of tuple
        As `rows_of` gives them.
    wish : dict
        ``dtype``, ``n_in``, ``n_out``, ``loss``, ``output``; ``labels``, the classes in the order
        of the outputs, or None; ``class_weight``, a weight for each of them, or None;
        ``smoothing``, by how much zeros and ones are nearer to each other; ``table``, a
        `table_parts.Reader` where X is a table, and ``most_weight``, the greatest of all weights,
        None without. ``split``:
        where rows are held out, (key, how many, whether these are wanted or the others);
        ``passes``, how often the rows are there.
    """
    dtype = np.dtype(wish["dtype"])
    y, table = _joined([piece[1] for piece in pieces]), wish.get("table")
    if table is None:
        X = _joined([piece[0] for piece in pieces])
        X = check_rows("X", X, wish["n_in"], dtype)
    else:
        X = _joined_codes([table.codes(piece[0]) for piece in pieces])
    labels = wish.get("labels")
    codes = None
    if labels is not None:
        given, y = y, np.searchsorted(labels, y)
        new = np.flatnonzero(labels.take(y, mode="clip") != given)
        if len(new):
            label = given[new[:1]].tolist()[0]
            raise ValueError(f"y has the label {label!r}, which it had not when it was looked at: "
                             "a part must be the same each time it is read")
        codes = y
    y = _target(y if table is None else table.targets(y), wish)
    if wish.get("smoothing"):
        y = (1 - wish["smoothing"]) * y + y.dtype.type(wish["smoothing"] / 2)
    weight = None
    if pieces[0][2] is not None:
        weight = _joined([piece[2] for piece in pieces])
        if table is not None:
            weight = moderate_weights(weights_of(weight, "float64"), wish["most_weight"])
        weight = weights_of(weight, dtype)
    if wish.get("class_weight") is not None:
        own = wish["class_weight"][codes].astype(dtype)
        weight = own if weight is None else weight * own
    if wish.get("split") is not None:
        key, n_held, held = wish["split"]
        order = held_out_first(key, len(y))
        rows = np.sort(order[:n_held] if held else order[n_held:])
        X, y, weight = _taken(rows, X, y, weight)
    if wish.get("passes", 1) > 1:
        X, y, weight = _taken(np.tile(np.arange(len(y)), wish["passes"]), X, y, weight)
    return X, y, weight


def _taken(rows, *arrays):
    return [None if array is None else array[rows] for array in arrays]


def held_out_first(key, n):
    """Return the numbers of the rows of a shard in an order of which the first are held out."""
    return np.argsort(np.random.Philox(key=key).random_raw(n), kind="stable")


def number_held_out(share, n):
    """Return how many of the rows of a shard are held out; 0 where it has too few."""
    return min(max(1, round(share * n)), n - 1)


def _rows(X):
    """Return X with rows and columns."""
    refuse_frames(X)
    if not (hasattr(X, "columns") or is_sparse(X)):
        X = np.asarray(X)
    if len(X.shape) != 2:
        raise ValueError(f"X has shape {tuple(X.shape)}, must be (n_samples, n_features)")
    return X


def taken(X, rows):
    """Return some rows of a table."""
    return X.iloc[rows] if hasattr(X, "iloc") else np.asarray(X)[rows]


def matrix(X):
    """Return X as an array of numbers, or a CSR matrix."""
    if is_sparse(X):
        if X.dtype.kind not in NUMERIC:
            raise TypeError(f"X has dtype {X.dtype}, must be numeric")
        return as_csr("X", X)  # which SciPy slices and joins unchecked
    if isinstance(X, list):  # a part of a bag
        X = as_array("X", X)
    if not hasattr(X, "columns"):
        if X.dtype.kind not in "biuf" and len(X):
            raise TypeError(f"X has dtype {X.dtype}, must be numeric")
        return X if len(X) else np.zeros(X.shape)
    for name, dtype in zip(X.columns, X.dtypes, strict=True):
        if getattr(dtype, "kind", "O") not in "biuf":
            if not len(X):  # an empty frame often holds objects
                return np.zeros(X.shape)
            raise TypeError(f"column {name!r} of X has dtype {dtype}, must be numeric: encode it "
                            "first, or leave it out")
    if all(isinstance(dtype, np.dtype) for dtype in X.dtypes):
        return X.to_numpy()
    return X.to_numpy(dtype=np.float64, na_value=np.nan)


def column(y, name="y"):
    """Return y or sample_weight as an array."""
    if hasattr(y, "to_numpy"):
        y = y.to_numpy()
    y = np.asarray(y)
    if y.ndim == 0:
        raise ValueError(f"{name} is {shown(y.item())}, must have a value for each row of X")
    return y.reshape(-1) if y.ndim == 2 and y.shape[1] == 1 else y


def check_length(name, n, n_rows):
    """Raise unless y or sample_weight have a row for each row of X."""
    if n != n_rows:
        raise ValueError(f"{name} has {n} rows, X has {n_rows}")


def targets_of(y, n_rows):
    """Return y as an array; raise where it is missing, or has not as many rows as X."""
    if y is None:
        raise ValueError("y is missing: give y, parts (X, y), or the name of a column of X")
    values = column(y)
    check_length("y", len(values), n_rows)
    return values


def _check_values(array, columns, dtype):
    """Raise where a value is not finite, with its row and column."""
    values = array.data if is_sparse(array) else array
    if values.dtype.kind != "f":
        return
    with np.errstate(over="ignore"):
        bad = ~np.isfinite(values.astype(dtype, copy=False))
    if not bad.any():
        return
    where = tuple(np.argwhere(bad)[0])
    row, column = where if values is array else place_of_entry(
        where[0], array.indptr, array.indices)
    name = int(column) if columns is None else columns[column]
    raise ValueError(f"X contains {values[where]} (as {np.dtype(dtype).name}) in row {row}, "
                     f"column {name!r}: {int(bad.sum())} such values in this partition")


def labels_of(values):
    """Return the labels of a part and how often each is there."""
    if values.ndim != 1:
        raise ValueError(f"y has shape {values.shape}, must be (n_samples,): one label per row")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError("y contains NaN or infinity")
    if values.dtype.kind == "O" and len(values):
        given = values.tolist()
        missing = [i for i, label in enumerate(given) if _is_missing(label)]
        if missing:
            raise ValueError(f"y has no label in row {missing[0]}: {len(missing)} such rows in "
                             "this partition")
        if any(map(np.ndim, given)):
            raise TypeError("y holds objects that are no labels, but sequences: give strings or "
                            "numbers of one kind")
        if len({isinstance(label, str) for label in given}) > 1:
            raise TypeError("y holds strings and other objects: give labels of one kind")
        values = np.array(given)
        if values.dtype.kind not in "USbiu":
            raise TypeError("y holds objects that are no labels: strings, or numbers, of one kind")
    if not len(values):
        return values, np.zeros(0, np.int64)
    labels, counts = np.unique(values, return_counts=True)
    if len(labels) > MAX_LABELS:
        raise ValueError(f"y has {len(labels)} different labels, at most {MAX_LABELS} are taken: "
                         "are they numbers to regress on?")
    return labels, counts


def check_scored(y, weight, classes):
    """Raise where predictions cannot be compared with y: a score of NaN, or of rows without a
    label, would say nothing.

    Parameters
    ----------
    y : array (n,) or (n, n_targets), n > 0
    weight : array-like (n,) or None
    classes : array or None
        Of the model; None where y holds no labels.
    """
    if weight is not None:
        check_length("sample_weight", len(weight), len(y))
        weights_of(np.asarray(column(weight, "sample_weight")), "float64")
    if classes is None:
        check_finite("y", np.asarray(y, float), np.dtype("float64"))
    elif y.ndim == 1:
        text, known = (all(isinstance(label, str) for label in np.asarray(labels).tolist())
                       for labels in (labels_of(y)[0], classes))
        if text != known:
            raise TypeError(f"y holds {'strings' if text else 'numbers'}, the classes of the model "
                            f"are {'strings' if known else 'numbers'}: none would be right")


def _is_missing(label):
    """Return whether it is None, NaN, NaT, or pandas.NA, which cannot be compared."""
    if label is None:
        return True
    try:
        return bool(label != label)
    except (TypeError, ValueError):
        return not np.ndim(label)


def check_multilabel(values):
    """Raise unless several columns of y are labels that a row may have."""
    if len(values) and (values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all()):
        raise ValueError(f"y has shape {values.shape}, must be (n_samples,), one label per row, or "
                         "hold zeros and ones, one column per label")


def _target(y, wish):
    info = check_loss(wish["loss"], wish["output"], wish["n_out"])
    return check_targets("y", y, len(y), wish["n_out"], np.dtype(wish["dtype"]), info)


def weights_of(weight, dtype):
    """Return weights of the dtype; a part of the rows may have none above 0."""
    weight = require("sample_weight", weight, np.dtype(dtype))
    if weight.ndim != 1:
        raise ValueError(f"sample_weight has shape {weight.shape}, must be (n_samples,)")
    check_finite("sample_weight", weight, weight.dtype)
    if len(weight) and weight.min() < 0:
        raise ValueError(f"sample_weight has the value {weight.min()}, must be >= 0")
    return weight


def sum_of(weight):
    """Return what `survey` says of sample weights."""
    if not len(weight):  # of any type
        return {"weight": 0.0, "most_weight": 0.0}
    with np.errstate(over="ignore"):
        return {"weight": float(weight.sum(dtype=np.float64)),
                "most_weight": float(weight.max())}


def _joined(arrays):
    """Return arrays one below the other."""
    if len(arrays) == 1:
        return arrays[0]
    if is_sparse(arrays[0]):
        import scipy.sparse

        return scipy.sparse.vstack(arrays, format="csr")
    return np.concatenate(arrays)


def _joined_codes(pieces):
    """Return `Codes` one below the other."""
    if len(pieces) == 1:
        return pieces[0]
    sizes = np.cumsum([0, *(len(piece.data) for piece in pieces)])
    indptr = [piece.indptr[1:] + size for piece, size in zip(pieces, sizes, strict=False)]
    return Codes(np.concatenate([piece.data for piece in pieces]),
                 np.concatenate([piece.indices for piece in pieces]),
                 np.concatenate([[0], *indptr]).astype(np.int64), pieces[0].adds)

