"""What the user gives as data, to parts: futures of what a task can read."""

import os

import cloudpickle
import dask
import numpy as np
from dask._task_spec import Task, TaskRef, convert_legacy_graph
from dask.delayed import Delayed
from dask.utils import natural_sort_key
from distributed import Future, futures_of

from fastnn.core.arrays import as_array, is_sparse
from fastnn.core.csr import as_csr
from fastnn.core.notices import shown
from fastnn.dask import tasks
from fastnn.dask.parts import check_length, refuse_codes, taken_out

__all__ = ["are_paths", "in_memory", "parts_of", "read_anew", "read_files", "whole_rows"]

RECIPE = "recipe"  # the last word of the name of a task that holds one
SMALL = 1 << 16  # bytes of a recipe, up to which each task that needs it has its own
PART_BYTES = 1 << 23  # of an array of the driver: Dask warns of more than 10 MB in a task


def parts_of(cluster, X, y=None, sample_weight=None, name="part"):
    """Return the parts, in their order, and as ``target`` and ``weight`` the columns that y and
    sample_weight name, or None.

    A part that is read from its source is a `tasks.Recipe`, or the future of one that is large:
    whoever needs it reads it, and drops it. All others are futures. What Dask holds already, or
    what parts have in common, is computed by Dask.

    Parameters
    ----------
    cluster : Cluster
    X, y, sample_weight
        As for `fastnn.dask.fit`.
    name : str, default="part"
        Of the tasks.

    Raises
    ------
    TypeError, ValueError
        When the data are of a kind that is not known, or X, y and weights are cut differently.
    """
    named, files = {"target": None, "weight": None}, False
    X, y, sample_weight = ([one] if isinstance(one, (Delayed, Future)) else one
                           for one in (X, y, sample_weight))
    if are_paths(X):
        X, files = read_files(X), True
    if isinstance(y, str) or _names(y):
        named["target"], y = y, None
    if isinstance(sample_weight, str):
        named["weight"], sample_weight = sample_weight, None
    given = {"X": X, "y": y, "sample_weight": sample_weight}
    if not (dask.is_dask_collection(X) or isinstance(X, (list, tuple))):
        return _of_arrays(cluster, name, **given), named
    columns = {}
    for key, value in given.items():
        if value is not None:
            columns[key] = _blocks(key, value, X)
    n = len(columns["X"])
    if n == 0:
        raise ValueError("X has no partitions")
    for key, blocks in columns.items():
        if len(blocks) != n:
            raise ValueError(f"{key} has {len(blocks)} partitions, X has {n}: they must be cut at "
                             "the same rows")
    return _futures(cluster, name, columns, n, files), named


def read_files(where):
    """Return a frame of Parquet files, or its parts where they are not in the order of their
    names: Dask reads them in that order, and y and weights are cut in the order of the list."""
    from dask.dataframe import read_parquet

    listed = isinstance(where, (list, tuple))
    where = [os.fspath(path) for path in where] if listed else os.fspath(where)
    frames = [where]
    if listed and where != sorted(where, key=natural_sort_key):
        frames = where
    for i, one in enumerate(frames):
        name = one if isinstance(one, str) else one[0] if one else ""
        if name.lower().endswith((".csv", ".tsv", ".txt", ".csv.gz")):
            raise ValueError(f"X={shown(one)}: paths are those of Parquet files; "
                             "dask.dataframe.read_csv makes a frame of this one")
        frames[i] = read_parquet(one)
        if not len(frames[i].columns):  # what Dask makes of a pattern that nothing has
            raise FileNotFoundError(f"X={shown(one)} has no Parquet files with columns")
    return frames[0] if len(frames) == 1 else [
        part for frame in frames for part in frame.to_delayed()]


def read_anew(part):
    """Return whether a part is read by whoever needs it, not held by Dask."""
    return not isinstance(part, Future) or part.key[0].split("-")[-2] == RECIPE


def are_paths(X):
    """Return whether X is a path of Parquet files, or a list of some."""
    return isinstance(X, (str, os.PathLike)) or (
        isinstance(X, (list, tuple)) and len(X) > 0
        and all(isinstance(one, (str, os.PathLike)) for one in X))


def _names(y):
    """Whether y names columns: different ones, which labels of rows are not."""
    return isinstance(y, (list, tuple)) and len(y) > 0 and all(
        isinstance(one, str) for one in y) and len(set(y)) == len(y)


def _of_arrays(cluster, name, X, y, sample_weight):
    """Return parts of arrays or frames that the driver has; the scheduler holds copies."""
    refuse_codes(X)
    if is_sparse(X):
        X = as_csr("X", X)  # a sound one, of which there are slices
    elif not hasattr(X, "iloc"):
        X = as_array("X", X)
    if X.ndim != 2 if hasattr(X, "ndim") else True:
        raise ValueError(f"X={shown(X)} must be a dask.array, a dask.dataframe, a list of delayed "
                         "parts, paths of Parquet files, or an array (n_samples, n_features)")
    n_rows = X.shape[0]
    for key, value in (("y", y), ("sample_weight", sample_weight)):
        if dask.is_dask_collection(value):
            raise TypeError(f"{key} is a Dask collection, X is not: both must be")
        if is_sparse(value):
            raise TypeError(f"{key} is sparse, must be an array: {key}.toarray() makes one")
        if value is not None:
            check_length(key, len(value), n_rows)
    nbytes = X.memory_usage(deep=False).sum() if hasattr(X, "iloc") else getattr(
        X, "nbytes", 8 * getattr(X, "nnz", n_rows))
    n_parts = max(1, min(n_rows, -(-int(nbytes) // PART_BYTES)))
    found = []
    for i in range(n_parts):
        start, stop = i * n_rows // n_parts, (i + 1) * n_rows // n_parts
        part = tuple(_sliced(value, start, stop) for value in (X, y, sample_weight))
        found.append(cluster.submit(tasks.keep, part, name=name, number=(i,)))
    return found


def _sliced(value, start, stop):
    if value is None:
        return None
    if hasattr(value, "iloc"):
        return value.iloc[start:stop]
    if not (is_sparse(value) or isinstance(value, np.ma.MaskedArray)):
        value = np.asarray(value)
    rows = value[start:stop]
    return rows.copy() if isinstance(rows, np.ndarray) else rows


def _blocks(key, value, X):
    """Return the partitions of a collection, delayed."""
    if key != "X" and isinstance(value, (list, tuple)) and value and np.isscalar(value[0]):
        value = np.asarray(value)  # of rows, not of parts
    if isinstance(value, (list, tuple)):
        return list(value)
    if key != "X" and not dask.is_dask_collection(value) and hasattr(value, "ndim"):
        value = _cut_alike(key, value, X)
    if not dask.is_dask_collection(value) or not hasattr(value, "to_delayed"):
        raise TypeError(f"{key}={shown(value)} must be cut as X is: a dask.array, a dask.dataframe "
                        "or a list of parts")
    if hasattr(value, "chunks") and hasattr(value, "rechunk"):
        if key == "X" or value.ndim == 2:
            value = whole_rows(value)
        rows = getattr(X, "chunks", None)
        if key != "X" and rows is not None and value.chunks[0] != rows[0] and not np.isnan(
                [*value.chunks[0], *rows[0]]).any():
            check_length(key, sum(value.chunks[0]), sum(rows[0]))
            value = value.rechunk({0: rows[0]})
        # Dask's optimization drops the futures of what it holds, after persist()
        return list(value.to_delayed(optimize_graph=not futures_of(value)).reshape(-1))
    return list(value.to_delayed())


def _cut_alike(key, value, X):
    """Return an array of this process as a dask.array whose rows are cut as those of X are."""
    rows = getattr(X, "chunks", None)
    if rows is None or np.isnan(rows[0]).any():
        ways = "" if rows is None else ": X.compute_chunk_sizes() finds the lengths of X"
        raise TypeError(f"{key} is an array of this process, the parts of X have lengths that are "
                        f"not known: cut it as X is, a dask.array or a list of parts{ways}")
    from dask.array import from_array

    value = np.asarray(value)
    check_length(key, len(value), sum(rows[0]))
    return from_array(value, chunks=(rows[0], *value.shape[1:]))


def in_memory(cluster, X, y, sample_weight):
    """Return X, y and sample_weight, given as for `fastnn.dask.fit`, in this process."""
    if are_paths(X):
        X = read_files(X)
    if isinstance(X, (Delayed, Future)):
        X = [X]
    lazy = isinstance(X, (list, tuple)) and any(
        _is_lazy(one) or isinstance(one, Future) for one in X)
    X, y, sample_weight = cluster.client.gather(dask.compute(X, y, sample_weight))
    if lazy:  # a list of parts
        split = [one if isinstance(one, tuple) else (one,) for one in X]
        if len({len(one) for one in split}) > 1:
            raise ValueError("all parts of X must be X, or all (X, y), or (X, y, sample_weight)")
        X, *others = (_joined(list(pieces)) for pieces in zip(*split, strict=True))
        if others and y is not None:
            raise TypeError(f"y={shown(y)} is given, and the parts of X hold y: leave out one")
        y, sample_weight = (_joined(list(one)) if isinstance(one, (list, tuple))
                            and one and getattr(one[0], "ndim", 0) else one
                            for one in (*others, y, sample_weight)[:2])
    named = {key: one if _are_names(one) else None
             for key, one in (("target", y), ("weight", sample_weight))}
    return taken_out(X, *(None if _are_names(one) else one for one in (y, sample_weight)), named)


def _are_names(y):
    return isinstance(y, str) or _names(y)


def _joined(pieces):
    """Return parts below each other."""
    numbers = [i for i, one in enumerate(pieces)
               if (one.shape[0] if is_sparse(one) else len(one))] or [0]
    pieces = [pieces[i] for i in numbers]
    module = type(pieces[0]).__module__.partition(".")[0]
    if module in ("polars", "pyarrow") and all(
            isinstance(one, type(pieces[0])) for one in pieces) and hasattr(pieces[0], "to_pandas"):
        return _below(module, pieces)
    for number, one in zip(numbers, pieces, strict=True):
        _check_alike(number, one, numbers[0], pieces[0])
    if hasattr(pieces[0], "iloc"):
        import pandas

        return pandas.concat(pieces, ignore_index=True)
    if is_sparse(pieces[0]):
        import scipy.sparse

        return scipy.sparse.vstack(pieces, format="csr")
    return np.concatenate(pieces)


def _below(module, pieces):
    """Return frames of polars or pyarrow below each other."""
    if module == "polars":
        import polars

        return polars.concat(pieces)
    import pyarrow

    return pyarrow.concat_tables(pieces)


def _check_alike(number, one, first, base):
    """Refuse a part whose columns are others than those of the first: below each other they would
    be taken for missing values."""
    if getattr(one, "ndim", 1) < 2 and getattr(base, "ndim", 1) < 2:
        return
    if hasattr(one, "columns") and hasattr(base, "columns"):
        own, other = list(one.columns), list(base.columns)
        if sorted(map(str, own)) != sorted(map(str, other)):
            raise ValueError(f"partition {number} has the columns {shown(own)}, partition {first} "
                             f"{shown(other)}: all must have the same")
    elif one.shape[1:] != base.shape[1:] or hasattr(one, "columns") != hasattr(base, "columns"):
        raise ValueError(f"partition {number} has shape {one.shape}, partition {first} "
                         f"{base.shape}: all must be frames, or arrays, of the same columns")


def whole_rows(X):
    """Return X, a dask.array, with each row in one block."""
    if X.ndim != 2:
        one = ": X.reshape(-1, 1) makes one column" if X.ndim == 1 else ""
        raise ValueError(f"X has {X.ndim} axes, must have 2{one}")
    return X.rechunk({1: -1}) if X.numblocks[1] > 1 else X


def _futures(cluster, name, columns, n, files):
    """Return the futures of parts whose X, y and weights are delayed, futures, or values; or how
    they are read, from Parquet files or otherwise."""
    rows = []
    for i in range(n):
        row = [columns[key][i] if key in columns else None for key in ("X", "y", "sample_weight")]
        if row[1] is None and row[2] is None:
            row = row[:1]  # which may be a tuple of all
            if isinstance(row[0], tuple) and len(row[0]) in (2, 3):
                row = list(row[0])
        rows.append(row)
    if not any(_is_lazy(value) for row in rows for value in row):
        return cluster.submit_all(tasks.together, rows, name)
    layers = _layers([value for row in rows for value in row])
    held = any(futures_of(list(layer.values())) for layer in layers.values()) or any(
        isinstance(value, Future) for row in rows for value in row)
    # a collection in a list, or a tuple of some
    nested = any(_is_lazy(value) and not isinstance(value, Delayed) for row in rows
                 for value in row)
    if not (held or nested or _lacks(rows, layers)):
        graphs, keys, size = _graphs(rows, layers)
        if sum(map(len, graphs)) <= 2 * size + n:
            recipes = [tasks.Recipe(cloudpickle.dumps(graph), cloudpickle.dumps(key), files)
                       for graph, key in zip(graphs, keys, strict=True)]
            if all(len(recipe.graph) <= SMALL for recipe in recipes):
                return recipes
            return cluster.submit_all(tasks.keep, [[recipe] for recipe in recipes],
                                      f"{name}-{RECIPE}")
    together = dask.delayed(tasks.together, pure=False)
    return cluster.client.compute([
        together(*row, dask_key_name=(f"fastnn-{name}-{cluster.token}", i))
        for i, row in enumerate(rows)])


def _is_lazy(value):
    if isinstance(value, Future):
        return False
    if isinstance(value, tuple):
        return any(map(_is_lazy, value))
    return isinstance(value, Delayed) or dask.is_dask_collection(value)


def _lacks(rows, layers):
    """Whether a delayed value is not in its own graph: Dask's optimization drops what Dask holds,
    which it finds by the key."""
    known = set()
    for layer in layers.values():
        known.update(layer)
    return any(isinstance(value, Delayed) and value.key not in known
               for row in rows for value in row)


def _graphs(rows, layers):
    """Return the graph of each part, its key, and the number of tasks of all together.

    Parameters
    ----------
    rows : list of list
        What each part is put together of: delayed, or values.
    layers : dict
        Of all graphs.
    """
    whole, graphs, keys = {}, [], []
    for layer in layers.values():
        whole.update(layer)
    whole = convert_legacy_graph(whole)
    for i, row in enumerate(rows):
        key = "fastnn-together", i
        task = Task(key, tasks.together, *(
            TaskRef(value.key) if isinstance(value, Delayed) else value for value in row))
        own, wanted = {key: task}, list(task.dependencies)
        while wanted:
            one = wanted.pop()
            if one not in own:
                own[one] = whole[one]
                wanted.extend(whole[one].dependencies)
        graphs.append(own)
        keys.append(key)
    return graphs, keys, len(whole) + len(rows)


def _layers(values):
    """Return the layers of the graphs of delayed values, which parts have in common: each has all
    of them, so that what looks at each one's takes the square of their number."""
    found, graphs = {}, {}
    for value in values:
        if isinstance(value, Delayed):
            graph = value.dask  # of some a new one each time, whose id lives as long as it does
            graphs[id(graph)] = graph
    for graph in graphs.values():
        found.update(graph.layers if hasattr(graph, "layers") else {id(graph): graph})
    return found
