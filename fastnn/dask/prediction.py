"""Predictions by partitions, the model being sent once; scores by partitions."""

import uuid
import warnings

import dask
import numpy as np
from dask.delayed import Delayed
from distributed import Future
from sklearn.utils.validation import check_is_fitted

from fastnn.core.version import __version__
from fastnn.dask import tasks
from fastnn.dask.sources import are_paths, parts_of, read_files, whole_rows

__all__ = ["is_lazy", "lazy", "lazy_tables", "score"]


def is_lazy(X):
    """Return whether X is for the workers: a collection, a list of parts, or paths of files."""
    return are_paths(X) or dask.is_dask_collection(X) or (
        isinstance(X, (list, tuple)) and len(X) > 0 and all(
            dask.is_dask_collection(part) or isinstance(part, Future) for part in X))


def lazy(model, method, X):
    """Return the predictions of a fitted estimator, lazily.

    Parameters
    ----------
    model : estimator
    method : str
    X : dask.array, dask.dataframe, delayed part, or list of these

    Returns
    -------
    dask.array, dask Series or DataFrame, delayed array, or list of these
    """
    check_is_fitted(model)
    sample = np.zeros((1, model.n_features_in_))
    names = vars(model).get("feature_names_in_")
    if names is not None:
        model = _unnamed(model)
    one = getattr(model, method)(sample)
    sent = dask.delayed(model, pure=False, name=f"fastnn-model-{uuid.uuid4().hex}")
    X = _opened(X)
    if isinstance(X, (list, tuple, Delayed)):
        task = dask.delayed(tasks.predict, pure=False)
        if isinstance(X, Delayed):
            return task(X, sent, method, names, version=__version__)
        return [task(part, sent, method, names, version=__version__, number=i)
                for i, part in enumerate(X)]
    if hasattr(X, "chunks") and hasattr(X, "map_blocks"):
        return _blocks(X, one, tasks.predict, sent, method, names)
    return X.map_partitions(tasks.predict, sent, method, names, True, version=__version__,
                            meta=tasks.framed(one[:0], X._meta.index[:0]))


def lazy_tables(model, method, X):
    """Return the predictions of a fitted estimator of tables, which takes each part as it is; see
    `lazy`."""
    sent = dask.delayed(model, pure=False, name=f"fastnn-model-{uuid.uuid4().hex}")
    task = dask.delayed(tasks.predict_table, pure=False)
    X = _opened(X)
    if isinstance(X, Delayed):
        return task(X, sent, method, version=__version__)
    if hasattr(X, "map_partitions") and hasattr(X, "columns"):
        sample = X._meta_nonempty
        one = _answer(model, method, sample)
        return X.map_partitions(tasks.predict_table, sent, method, sample[:1],
                                version=__version__, meta=tasks.framed(one[:0], X._meta.index[:0]))
    if not isinstance(X, (list, tuple)):
        X = whole_rows(X)
        sample = np.full((1, X.shape[1]), None if X.dtype.kind == "O" else 0).astype(X.dtype)
        return _blocks(X, _answer(model, method, sample), tasks.predict_table, sent, method, sample)
    return [task(part, sent, method, version=__version__, number=i) for i, part in enumerate(X)]


def _answer(model, method, sample):
    """Return what a model says of invented rows, without warnings of their values."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(model, method)(sample)


def _opened(X):
    """Return the frame of files, or the parts of a dask.bag, which are lists of rows; other data as
    they are."""
    if are_paths(X):
        return read_files(X)
    is_bag = hasattr(X, "to_delayed") and not (hasattr(X, "chunks") or hasattr(X, "columns"))
    return X.to_delayed() if is_bag else X


def _blocks(X, one, function, *args):
    """Return a dask.array of what a function makes of each block of X; ``one``: of a row."""
    X = whole_rows(X)
    settings = {"drop_axis": 1} if one.ndim == 1 else {"chunks": (X.chunks[0], one.shape[1])}
    return X.map_blocks(function, *args, dtype=one.dtype, name=None, meta=one[:0],
                        version=__version__, **settings)


def _unnamed(model):
    """Return the model without names of features, which `tasks.predict` looks at itself."""
    twin = model._twin()
    del twin.feature_names_in_
    return twin


def score(cluster, model, X, y, sample_weight, table=False):
    """Return the accuracy, or R², of a fitted estimator on parts.

    Sums of the parts are added up in their order: the score is the same for any workers.
    """
    parts, named = parts_of(cluster, X, y, sample_weight, "scored-part")
    names = vars(model).get("feature_names_in_")
    if names is not None and not table:
        model = _unnamed(model)
    sent = cluster.submit(tasks.keep, model, name="model", number=(0,))
    wish = {**named, "version": __version__}
    found = cluster.submit_all(tasks.score, [
        [part, sent, i, wish, names, table] for i, part in enumerate(parts)], "score")
    sums = [one for one in cluster.fetch(found) if one is not None]
    if not sums:
        raise ValueError("X has 0 rows, must have at least 1")
    weight = sum(one[0] for one in sums)
    if not 0 < weight < np.inf:
        wrong = "is 0 everywhere, must be > 0 for at least one row" if weight == 0 else (
            f"adds up to {weight}: multiply all by one number")
        raise ValueError(f"sample_weight {wrong}")
    if len(sums[0]) == 2:
        return float(sum(one[1] for one in sums) / weight)
    mean = sum(one[0] * one[1] for one in sums) / weight
    total = sum(one[2] + one[0] * (one[1] - mean) ** 2 for one in sums)
    left = sum(one[3] for one in sums)
    with np.errstate(divide="ignore", invalid="ignore"):
        explained = np.where(total > 0, 1 - left / total, np.where(left == 0, 1.0, 0.0))
    return float(explained.mean())
