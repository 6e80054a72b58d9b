"""What runs on workers: pure functions of plain arrays, dicts and numbers.

A task's result depends on its arguments alone, so it may run on any worker, twice, or again after
a worker is lost. Nothing here imports Dask, but `read`, which computes the graph of a part.
"""

import pickle
from contextlib import contextmanager, nullcontext

import numpy as np

from fastnn.core import _kernels, _sums
from fastnn.core.arrays import is_sparse
from fastnn.core.codes import Codes, is_codes
from fastnn.core.notices import name_place
from fastnn.core.threads import single_threaded_blas
from fastnn.core.version import __version__
from fastnn.dask import parts, table_parts
from fastnn.mlp import MLP
from fastnn.network.spec import NetworkSpec
from fastnn.training.bound_losses import check_loss
from fastnn.training.optimizers import trainer_of

FULL_BATCH_ROWS = 1024  # that a loss or a gradient over all rows sees at a time
BLOCK = 1 << 15  # elements that an outer step does at a time


class Recipe:
    """How a part is made: its graph, pickled, so that Dask does not look into it.

    Parameters
    ----------
    graph : bytes
    key : bytes
        Both pickled.
    files : bool, default=False
        Whether it is of a Parquet file, from which Dask wants the columns of the first one.
    """

    def __init__(self, graph, key, files=False):
        self.graph, self.key, self.files = graph, key, files

    def read(self):
        """Compute the part, in this thread."""
        import dask

        try:
            return dask.get(pickle.loads(self.graph), pickle.loads(self.key))
        except KeyError as error:
            if not self.files:
                raise
            raise ValueError("the Parquet file has not the columns of the first one: "
                             f"{error.args[0]}") from error


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
    except UnicodeError as error:  # Dask loses what it says
        raise ValueError(f"{where}: {error}") from error
    except RecursionError as error:  # Dask cannot send its traceback, and would wait for ever
        error.__traceback__ = None
        raise RuntimeError(f"{where}: what makes it raised RecursionError: {error}") from None
    except StopIteration as error:  # of which Python makes another error on its way
        raise RuntimeError(f"{where}: what makes it raised StopIteration: {error}") from None
    except Exception as error:
        name_place(error, where)
        raise
    except SystemExit as error:  # it would end the worker, and the next one that has the task
        raise RuntimeError(f"{where}: what makes it called sys.exit({error.code!r})") from error
    except BaseException as error:  # Dask would wait for the task for ever
        raise RuntimeError(f"{where}: what makes it raised {type(error).__name__}: {error}"
                           ) from error


# ---- parts and shards ----

def named_in(data):
    """Put what validation rows are called before the message of an error; "": nothing."""
    return named(f"in {data}") if data else nullcontext()


@contextmanager
def _of(wish, what, number):
    """Raise where driver and worker differ, and put the place before the message of an error.

    Parameters
    ----------
    wish : dict
        Has ``version``, that of the driver, and ``data``, see `named_in`.
    what : "partition" or "shard"
    number : int
    """
    check_version(wish["version"])
    with named_in(wish["data"]), named(f"{what} {number}"):
        yield


def survey(part, number, wish):
    """Return what a part holds, as a dict: see `parts.survey`."""
    with _of(wish, "partition", number):
        return parts.survey(_read(part), wish)


def look(part, number, wish):
    """Return what a part of a table holds, as a dict: see `table_parts.look`."""
    with _of(wish, "partition", number):
        return table_parts.look(_read(part), wish)


def sample(part, number, wish, rows):
    """Return some rows of a part of a table: see `table_parts.rows_of_sample`."""
    with _of(wish, "partition", number):
        return table_parts.rows_of_sample(_read(part), wish, rows)


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
    with _of(wish, "shard", number):
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
    if is_codes(array):
        return Codes(*map(_sound, (array.data, array.indices, array.indptr, array.adds)))
    if is_sparse(array):
        return type(array)(tuple(map(_sound, (array.data, array.indices, array.indptr))),
                           shape=array.shape)
    return None if array is None else np.require(array, requirements="CA")


def uncut(sources, number, wish):
    """Return what `cut` takes, of a shard that is read anew in each round."""
    return sources, number, wish


# ---- rounds ----

def hand_on(state):
    """Return what the tasks of shards take of a state: the velocity is for the outer step alone."""
    return {name: value for name, value in state.items() if name != "velocity"}


def local_steps(state, shard, own):
    """Return what some steps of the optimizer on a shard come to.

    Parameters
    ----------
    state : dict
        Where the round begins: ``parameters``, and ``states`` of the optimizer; ``fit``, what all
        rounds have in common, pickled.
    shard : tuple
        Its rows.
    own : dict
        Of the shard in this round: ``number``, ``rows`` and ``share``, keys of its order and its
        masks; ``epoch``, ``steps`` (which of the epoch), ``step`` (how many were done before),
        ``rates``.

    Returns
    -------
    dict
        A leaf of the tree, see `add`.
    """
    fit = _fit(state)
    with named(f"shard {own['number']}"), single_threaded_blas():
        if not np.isfinite(state["loss"]):  # the round before diverged: nobody wants this one
            return {"share": 0.0, "vectors": (), "loss": state["loss"], "isas": ()}
        n_rows = own["rows"]
        trainer = _trainer(fit, state, _rows(shard), fit["optimizer"], fit["batch_size"],
                           own["mask_key"])
        batch = min(fit["batch_size"], n_rows)
        first, last = own["steps"]
        begin, end = first * batch, min(last * batch, n_rows)
        order = np.arange(n_rows)
        if fit["shuffle"]:
            order = trainer.shuffle(own["order_key"], own["epoch"])
        trainer.set_state(state["states"], own["step"])
        rates = own["rates"]
        if isinstance(rates, np.ndarray):
            rates = rates[:-(-(end - begin) // batch)].copy()
        loss = trainer.run_epoch(order[begin:end].copy(), learning_rate=rates,
                                 stop_if_diverged=True)
        moved = trainer.parameters.copy()
        if not fit["alone"]:
            moved -= state["parameters"]
        return {"share": own["share"], "loss": loss * (end - begin),
                "vectors": (moved, *trainer.optimizer_state), "isas": (_kernels.isa(),)}


def outer_step(state, last, *children):
    """Return the state after a round: the outer step along what the shards come to.

    With w the parameters at the start of a round, w_s those of shard s after its steps, p_s the
    part of the round's rows that are of shard s, and d = sum_s p_s (w_s - w):
    v = outer_momentum v + d, w += outer_learning_rate (d + outer_momentum v). States of the
    optimizer become their means. Averages that `BatchNorm` keeps become the mean alone.

    Parameters
    ----------
    state : dict
        See `local_steps`.
    last : dict
        ``rows`` of the round.
    children : leaves or nodes of the tree
    """
    fit = pickle.loads(state["fit"])
    found, shares, vectors = _told(children)
    total = {"fit": state["fit"], "loss": found["loss"] / last["rows"], "loss_sum": found["loss"],
             "isas": found["isas"]}
    if not np.isfinite(total["loss"]):
        return {**state, **total}
    old, (rate, momentum), moves = state["parameters"], fit["outer"], fit["moved"]
    new, velocity = np.empty_like(old), np.empty_like(old)
    whole = np.empty(min(BLOCK, len(old)))  # stays in the cache, and there are no new pages
    for start in range(0, len(old), BLOCK):
        at = slice(start, min(start + BLOCK, len(old)))
        change = whole[:at.stop - start]
        _sums.add_up(change, shares, vectors[0], start)
        if fit["alone"] and (rate, momentum) == (1.0, 0.0):
            new[at], velocity[at] = change, state["velocity"][at]
            continue
        if fit["alone"]:
            change -= old[at]
        speed = momentum * state["velocity"][at].astype(np.float64) + change
        to = old[at] + rate * (change + momentum * speed)
        if moves is not None:
            to = np.where(moves[at], to, old[at] + change)
            speed[~moves[at]] = 0
        new[at], velocity[at] = to, speed
    means = []
    for given, own in zip(vectors[1:], state["states"], strict=True):
        means.append(np.empty_like(own))
        _sums.add_up(means[-1], shares, given)
    for start, stop in fit["fixed"]:
        new[start:stop] = old[start:stop]
        if fit["mean"] is not None:
            means[fit["mean"]][start:stop] = old[start:stop]
    return {"parameters": new, "velocity": velocity, "states": tuple(means), **total}


def gradient(state, shard, own):
    """Return the gradient of the loss over the rows of a shard, without penalties; see
    `local_steps`. Without ``own["slope"]`` the loss alone."""
    fit = _fit(state)
    with named(f"shard {own['number']}"), single_threaded_blas():
        rows = _rows(shard)
        weight = float(rows[0].shape[0] if rows[2] is None else rows[2].sum(dtype=np.float64))
        if not weight > 0:  # of rows without weight there is no mean
            return {"share": 0.0, "loss": 0.0, "weight": 0.0, "vectors": (), "isas": ()}
        trainer = _trainer(fit, state, rows, None, FULL_BATCH_ROWS, 0)
        slope = np.zeros_like(trainer.parameters) if own["slope"] else None
        loss = trainer.loss_and_grad(slope)
        return {"share": weight, "loss": loss * weight, "weight": weight,
                "vectors": () if slope is None else (slope,), "isas": (_kernels.isa(),)}


def whole_gradient(state, last, *children):
    """Return the sum of what `gradient` gives."""
    return add(*children)


def outputs(state, shard, own):
    """Return the outputs of the network for the rows of a shard, by ``own["targets"]`` with their
    targets and weights."""
    fit = _fit(state)
    with named(f"shard {own['number']}"), single_threaded_blas():
        X, y, weight = _rows(shard)
        spec = NetworkSpec.from_plain(fit["spec"])
        net = MLP.of(spec.layers, n_in=spec.n_in, output=spec.output, dtype=spec.dtype,
                     n_threads=fit["n_threads"])
        net._publish_copy(state["parameters"], 0)
        found = {"outputs": net.predict(X)}
        return {**found, "targets": y, "weight": weight} if own["targets"] else found


def _fit(state):
    """Return what all rounds have in common, of the same version."""
    fit = pickle.loads(state["fit"])
    check_version(fit["version"])
    return fit


def _trainer(fit, state, rows, optimizer, batch_size, seed):
    spec = NetworkSpec.from_plain(fit["spec"])
    X, y, weight = rows
    settings = fit["settings"] if optimizer is not None else {"alpha": 0.0}
    trainer = trainer_of(optimizer)(
        spec, check_loss(fit["loss"], spec.output, spec.n_out), optimizer=optimizer,
        batch_size=min(batch_size, X.shape[0]), drops=optimizer is not None, seed=seed,
        gemm=fit["gemm"], n_threads=fit["n_threads"],
        sparse=is_sparse(X) or is_codes(X), adds=X.adds if is_codes(X) else None,
        **settings)
    trainer.parameters[:] = state["parameters"]
    trainer.set_data(X, y, weight)
    return trainer


def add(*children):
    """Add up leaves or nodes of the tree, in their order, in float64.

    A leaf has vectors and the share that they count for; a node their sum, and the share None.
    """
    return _sum(children, np.float64)


def _sum(children, dtype):
    """Return a node; its vectors are of a dtype, that of the children's where it is None."""
    total, shares, vectors = _told(children)
    total["vectors"] = tuple(np.empty(len(given[0]), dtype or given[0].dtype)
                             for given in vectors)
    for whole, given in zip(total["vectors"], vectors, strict=True):
        _sums.add_up(whole, shares, given)
    return total


def add_moved(*children):
    """Add up what `local_steps` come to, as `add` does, rounded to their own dtype: what one task
    takes from all others is half of what it would be. A sum of gradients is not rounded."""
    return _sum(children, None)


def _told(children):
    """Return a node without vectors; the shares of the children that have some, and these, all of
    one kind together."""
    total = {"share": None, "vectors": (), "loss": 0.0, "weight": 0.0, "isas": ()}
    for child in children:
        total["loss"] += child["loss"]
        total["weight"] += child.get("weight", 0.0)
        total["isas"] = tuple(sorted({*total["isas"], *child["isas"]}))
    having = [child for child in children if child["vectors"]]
    return (total, [child["share"] for child in having],
            list(zip(*(child["vectors"] for child in having), strict=True)))


# ---- predictions ----

def predict(X, model, method, names=None, frame=False, version=__version__, number=None,
            block_id=None, partition_info=None):
    """Return the predictions for a part.

    Parameters
    ----------
    X : array or frame
    model : estimator
    method : str
        What to call.
    names : sequence of str or None, default=None
        Of the columns that the model was fitted with.
    frame : bool, default=False
        Whether to return a pandas object with the index of X.
    version : str, default=__version__
        Of the driver.
    number, block_id, partition_info : int, tuple, dict or None, default=None
        Which part it is: of lists, and as Dask says it of arrays and of frames.
    """
    check_version(version)
    with _of_part(number, block_id, partition_info):
        parts.refuse_pairs(X)
        parts.refuse_frames(X)
        index = getattr(X, "index", None)
        rows = _columns(X, names)
        if rows.shape[0] == 0:
            found = getattr(model, method)(np.zeros((1, model.n_features_in_)))[:0]
        else:
            found = getattr(model, method)(rows)
        return framed(found, index) if frame else found


def predict_table(X, model, method, sample=None, version=__version__, number=None, block_id=None,
                  partition_info=None):
    """Return the predictions of an estimator of tables for a part, with the index of X where that
    has one; a sample says what a part without rows is like. Else as `predict`."""
    check_version(version)
    with _of_part(number, block_id, partition_info):
        parts.refuse_pairs(X)
        rows = X if len(X) or sample is None else sample
        found = getattr(model, method)(rows)[:len(X)]
        return framed(found, X.index) if hasattr(sample, "index") else found


def _of_part(number, block_id, partition_info):
    """Return a context that puts the number of a part before errors, where that is known."""
    if block_id is not None:
        number = block_id[0]
    elif partition_info is not None:
        number = partition_info["number"]
    return nullcontext() if number is None else named(f"partition {number}")


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


def score(part, model, number, wish, names, table=False):
    """Return sums for a score: (weight, right) of a classifier; (weight, mean, squares around it,
    squared errors) of a regressor; None for a part without rows."""
    check_version(wish["version"])
    with named(f"partition {number}"):
        X, y, weight = parts.split(_read(part), wish)
        X = X if table else _columns(X, names)
        y = parts.targets_of(y, X.shape[0])
        if len(y) == 0:
            return None
        parts.check_scored(y, weight, getattr(model, "classes_", None))
        weight = np.ones(len(y)) if weight is None else np.asarray(parts.column(weight), float)
        found = model.predict(X)
        with np.errstate(over="ignore"):
            total = float(weight.sum())
        if total == np.inf:  # the sum of all parts is an error
            weight = np.zeros(len(y))
        if hasattr(model, "classes_"):
            right = found == y
            return total, float(weight[right if right.ndim == 1 else right.all(axis=1)].sum())
        y, found = (np.asarray(a, float).reshape(len(y), -1) for a in (y, found))
        # a part whose weights are all 0 has no say
        mean = weight @ y / total if total else np.zeros(y.shape[1])
        return total, mean, weight @ (y - mean) ** 2, weight @ (y - found) ** 2
