"""What runs on workers: pure functions of plain arrays, dicts and numbers.

A task's result depends on its arguments alone, so it may run on any worker, twice, or again after
a worker is lost. Nothing here imports Dask, but `read`, which computes the graph of a part.
"""

import pickle
from contextlib import contextmanager

import numpy as np

from fastnn.core import _kernels, validation
from fastnn.core.threads import single_threaded_blas
from fastnn.core.version import __version__
from fastnn.dask import parts
from fastnn.network.spec import NetworkSpec
from fastnn.training.losses import check_loss
from fastnn.training.optimizers import trainer_of

FULL_BATCH_ROWS = 1024  # that a loss or a gradient over all rows sees at a time


class Recipe:
    """How a part is made: its graph, pickled, so that Dask does not look into it.

    Parameters
    ----------
    graph : bytes
    key : bytes
        Both pickled.
    """

    def __init__(self, graph, key):
        self.graph, self.key = graph, key

    def read(self):
        """Compute the part, in this thread."""
        import dask

        return dask.get(pickle.loads(self.graph), pickle.loads(self.key))


def keep(value):
    """Return a value that the scheduler holds: what a worker loses is made again from it."""
    return value


def together(X, y=None, sample_weight=None):
    """Return the values of a part as one; X alone may hold all of them."""
    return X if y is None and sample_weight is None else (X, y, sample_weight)


def check_version(version):
    """Raise unless driver and worker have the same fastnn."""
    if version != __version__:
        raise RuntimeError(f"the driver has fastnn {version}, this worker has {__version__}: "
                           "install the same version everywhere")


@contextmanager
def named(where):
    """Put the place before the message of an error."""
    try:
        yield
    except Exception as error:
        if error.args and isinstance(error.args[0], str):
            error.args = (f"{where}: {error.args[0]}", *error.args[1:])
        elif hasattr(error, "add_note"):  # Python 3.11
            error.add_note(f"This is of {where}.")
        raise


# ---- parts and shards ----

def survey(part, number, wish):
    """Return what a part holds, as a dict: see `parts.survey`."""
    check_version(wish["version"])
    with named(f"partition {number}"):
        return parts.survey(_read(part), wish)


def cut(sources, number, wish):
    """Return the rows of a shard: (X, y, sample_weight) as `Trainer.set_data` takes them.

    Parameters
    ----------
    sources : list of (part, partition, start, stop)
        Which rows of which parts, in their order.
    number : int
        Of the shard.
    wish : dict
        See `parts.encode`.
    """
    check_version(wish["version"])
    with named(f"shard {number}"):
        pieces = []
        for part, partition, start, stop in sources:
            with named(f"partition {partition}"):
                pieces.append(parts.rows_of(_read(part), start, stop, wish))
        return parts.encode(pieces, wish)


def _read(part):
    return part.read() if isinstance(part, Recipe) else part


def _rows(shard):
    """Return the rows of a shard that is kept, or read those of one that is not."""
    if isinstance(shard[2], dict):
        return cut(*shard)
    return tuple(map(_sound, shard))


def _sound(array):
    """Return an array as the loops read it: what another worker has sent may lie at any address."""
    if validation.is_sparse(array):
        return type(array)(tuple(map(_sound, (array.data, array.indices, array.indptr))),
                           shape=array.shape)
    return None if array is None else np.require(array, requirements="CA")


def uncut(sources, number, wish):
    """Return what `cut` takes, of a shard that is read anew in each round."""
    return sources, number, wish


# ---- rounds ----

def local_steps(start, shard, number):
    """Return what some steps of the optimizer on a shard come to.

    Parameters
    ----------
    start : dict
        Settings of the fit, parameters, states of the optimizer, and which steps to do.
    shard : tuple
        Its rows.
    number : int
        Of the shard.

    Returns
    -------
    dict
        A leaf of the tree, see `add`; without vectors where the shard has no rows left.
    """
    check_version(start["version"])
    with named(f"shard {number}"), single_threaded_blas():
        trainer = _trainer(start, _rows(shard), start["optimizer"],
                           start["batch_size"], int(start["mask_keys"][number]))
        n_rows, batch = start["shard_rows"][number], min(
            start["batch_size"], start["shard_rows"][number])
        first, last = start["steps"]
        begin, end = min(first * batch, n_rows), min(last * batch, n_rows)
        if begin == end:
            return {"share": 0.0, "vectors": (), "loss": 0.0, "isas": (_kernels.isa(),)}
        order = np.arange(n_rows)
        if start["shuffle"]:
            order = trainer.shuffle(int(start["order_keys"][number]), start["epoch"])
        trainer.set_state(start["states"], start["step"])
        rates = start["rates"]
        if isinstance(rates, np.ndarray):
            rates = rates[:-(-(end - begin) // batch)].copy()
        loss = trainer.run_epoch(order[begin:end].copy(), learning_rate=rates,
                                 stop_if_diverged=True)
        vectors = (trainer.parameters - start["parameters"], *trainer.optimizer_state)
        if start["alone"]:
            vectors = (trainer.parameters, *trainer.optimizer_state)
        return {"share": float(start["shares"][number]), "loss": loss * (end - begin),
                "vectors": vectors, "isas": (_kernels.isa(),)}


def gradient(start, shard, number):
    """Return the gradient of the loss over the rows of a shard, without penalties; see
    `local_steps`. Without ``start["slope"]`` the loss alone."""
    check_version(start["version"])
    with named(f"shard {number}"), single_threaded_blas():
        rows = _rows(shard)
        trainer = _trainer(start, rows, None, FULL_BATCH_ROWS, 0)
        slope = np.zeros_like(trainer.parameters) if start["slope"] else None
        loss = trainer.loss_and_grad(slope)
        weight = float(rows[0].shape[0] if rows[2] is None else rows[2].sum(dtype=np.float64))
        return {"share": weight, "loss": loss * weight, "weight": weight,
                "vectors": () if slope is None else (slope,), "isas": (_kernels.isa(),)}


def _trainer(start, rows, optimizer, batch_size, seed):
    spec = NetworkSpec.from_plain(start["spec"])
    X, y, weight = rows
    settings = start["settings"] if optimizer is not None else {"alpha": 0.0}
    trainer = trainer_of(optimizer)(
        spec, check_loss(start["loss"], spec.output, spec.n_out), optimizer=optimizer,
        batch_size=min(batch_size, X.shape[0]), drops=optimizer is not None, seed=seed,
        gemm=start["gemm"], n_threads=start["n_threads"], sparse=validation.is_sparse(X),
        **settings)
    trainer.parameters[:] = start["parameters"]
    trainer.set_data(X, y, weight)
    return trainer


def add(*children):
    """Add up leaves or nodes of the tree, in their order, in float64.

    A leaf has vectors and the share that they count for; a node their sum, and the share None.
    """
    total = {"share": None, "vectors": (), "loss": 0.0, "weight": 0.0, "isas": ()}
    for child in children:
        total["loss"] += child["loss"]
        total["weight"] += child.get("weight", 0.0)
        total["isas"] = tuple(sorted({*total["isas"], *child["isas"]}))
        if not child["vectors"]:
            continue
        if not total["vectors"]:
            total["vectors"] = tuple(np.zeros(len(v)) for v in child["vectors"])
        for own, given in zip(total["vectors"], child["vectors"], strict=True):
            if child["share"] is None:
                own += given
            else:
                own += child["share"] * given.astype(np.float64)
    return total


# ---- predictions ----

def predict(X, model, method, names=None, frame=False):
    """Return the predictions for a part.

    Parameters
    ----------
    X : array or frame
    model : estimator
    method : str
        What to call.
    names : sequence of str or None
        Of the columns that the model was fitted with.
    frame : bool
        Whether to return a pandas object with the index of X.
    """
    index = getattr(X, "index", None)
    rows = _columns(X, names)
    if rows.shape[0] == 0:
        found = getattr(model, method)(np.zeros((1, model.n_features_in_)))[:0]
    else:
        found = getattr(model, method)(rows)
    return framed(found, index) if frame else found


def predict_table(X, model, method, sample=None):
    """Return the predictions of an estimator of tables for a part, with the index of X where a
    sample says what a part without rows is like."""
    rows = X if len(X) or sample is None else sample
    found = getattr(model, method)(rows)[:len(X)]
    return found if sample is None else framed(found, X.index)


def framed(values, index):
    """Return predictions as a Series, or a DataFrame where there are several columns."""
    import pandas

    return (pandas.Series if values.ndim == 1 else pandas.DataFrame)(values, index=index)


def _columns(X, names):
    """Return the columns that a model wants, as an array."""
    if hasattr(X, "columns") and names is not None:
        missing = [name for name in names if name not in X.columns]
        if missing:
            raise ValueError(f"X has no column {missing[0]!r}, which the model was fitted with")
        X = X[list(names)]
    return parts.matrix(X)


def score(part, model, number, wish, names):
    """Return sums for a score: (weight, right) of a classifier; (weight, mean, squares around it,
    squared errors) of a regressor; None for a part without rows."""
    with named(f"partition {number}"):
        X, y, weight = parts.split(_read(part), wish)
        X, y = _columns(X, names), parts.column(y)
        if X.shape[0] == 0:
            return None
        weight = np.ones(len(y)) if weight is None else np.asarray(parts.column(weight), float)
        found, total = model.predict(X), float(weight.sum())
        if hasattr(model, "classes_"):
            return total, float(weight[found == y].sum())
        y, found = (np.asarray(a, float).reshape(len(y), -1) for a in (y, found))
        mean = weight @ y / total
        return total, mean, weight @ (y - mean) ** 2, weight @ (y - found) ** 2
