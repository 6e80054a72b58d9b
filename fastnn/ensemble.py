"""Many networks in one pass: `fit_many`."""

from __future__ import annotations

import contextvars
import functools
import queue
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fastnn.core import notices, validation
from fastnn.core._signals import Guarded
from fastnn.core.arrays import as_array
from fastnn.core.imports import imported
from fastnn.core.notices import name_place, shown, suggests
from fastnn.core.rows import check_targets, check_training_rows, check_weights
from fastnn.core.threads import (
    lending_threads,
    limited_threads,
    resolve_threads,
    single_threaded_blas,
)
from fastnn.learning import TRAINING
from fastnn.mlp import MLP

if TYPE_CHECKING:
    from typing import Any

    from fastnn.core.types import ArrayLike, File, Metrics, Rows
    from fastnn.training.epochs import Callback
    from fastnn.training.history import History
    from fastnn.training.losses import Loss
    from fastnn.training.optimizer_base import Optimizer, WholeFit

__all__ = ["fit_many"]

# who trains in the place of this process, in the context of a call: `fastnn.dask.on_workers`
elsewhere: contextvars.ContextVar = contextvars.ContextVar("fastnn.ensemble", default=None)


@suggests
def fit_many(networks: Sequence[MLP], X: Rows, y: ArrayLike, *,
             loss: str | Loss | None | list[Any] = None,
             optimizer: str | Optimizer | WholeFit | None | list[Any] = None,
             epochs: int | list[Any] = 10, batch_size: int | list[Any] = 128,
             shuffle: bool | list[Any] = True, rows: ArrayLike | list[Any] | None = None,
             sample_weight: ArrayLike | None | list[Any] = None, alpha: float | list[Any] = 0.0,
             l1: float | list[Any] = 0.0, max_norm: float | None | list[Any] = None,
             clip_norm: float | None | list[Any] = None,
             clip_value: float | None | list[Any] = None, input_dropout: float | list[Any] = 0.0,
             input_noise: float | list[Any] = 0.0, mixup: float | list[Any] = 0.0,
             validation_data: tuple[Rows, ArrayLike] | list[Any] | None = None,
             validation_rows: ArrayLike | list[Any] | None = None,
             metrics: Metrics | list[Any] | None = None,
             callbacks: Sequence[Sequence[Callback] | None] | None = None,
             max_steps: int | None | list[Any] = None,
             n_threads: int | None = None, checkpoint: File | None = None,
             checkpoint_seconds: float = 10.0) -> list[History]:
    """Train many networks on the same data, several at a time; each ends with the bytes of a fit of
    its own, ``net.fit(X[rows], y[rows], ...)``.

    Folds, seeds, settings and architectures may differ; X and y are there once. As many networks as
    there are threads are trained side by side, each by one thread, those with the most work first:
    whole fits of their own scale better than the threads of one step do. Where fewer are left than
    threads, those share the threads.

    Parameters
    ----------
    networks : sequence of MLP
        Each an object of its own. Their ``n_threads`` are not looked at.
    X : array-like or sparse matrix (n_samples, n_in)
        Inputs.
    y : array-like (n_samples, n_out), or (n_samples,)
        Both as `MLP.fit` takes them; they must suit all networks. Networks of one dtype read the
        same memory.
    loss, optimizer, epochs, batch_size, shuffle : see `MLP.fit`
        As for `MLP.fit`: one value for all networks, or a list with one for each.
    rows : int or bool array, or list, default=None
        The rows to train on: row numbers (n,), each as often as it is named, or a mask
        (n_samples,). A list holds one of them, or None for all rows, for each network; an array
        holds for all networks.
    sample_weight : array (n_samples,), or list, default=None
        An array for all networks, or a list of an array or None for each.
    alpha, l1, max_norm, clip_norm, clip_value, input_dropout, input_noise, mixup : see `MLP.fit`
        As for `MLP.fit`: one value for all networks, or a list with one for each.
    validation_data : (X, y), or list, default=None
        Fills ``history.val_loss``: a pair for all networks, or a list of a pair or None for each.
    validation_rows : int or bool array, or list, default=None
        In its place: rows of X and y, given as ``rows`` are.
    metrics : default=None
        As for `MLP.fit`, for all networks; or a list with a list, a dict or None for each.
    callbacks : list, default=None
        For each network None or a list of `fastnn.Callback` objects, which are that network's
        alone: `fastnn.EarlyStopping`, ... They are called in the threads that train.
    max_steps : int, list or None, default=None
        As for `MLP.fit`: one value for all networks, or a list with one for each.
    n_threads : int or None, default=None
        None: as many as allowed. The results do not depend on it, to the bit.
    checkpoint : str, path or None, default=None
        One file that keeps where all of them stand, at whole epochs of each. Where it is there
        already, each network goes on from it, to the same bytes as if nothing had been, and those
        that have come to their end are not trained again; see `MLP.fit`. Of at most 500 networks.
    checkpoint_seconds : float, default=10.0
        Time between two writes of the file at least.

    Returns
    -------
    list of History
        One for each network, also its ``history``.

    Raises
    ------
    ValueError, TypeError
        On a wrong argument, with the number of the network: ``networks[3]: ...``. All are checked
        before any network is trained.
    ModelFormatError
        When the checkpoint is damaged, or one of a fit with other settings, data or networks.
    OSError
        When the checkpoint cannot be written.
    RuntimeError
        While one of them is being fitted elsewhere.
    KeyboardInterrupt
        On Ctrl-C. Each network then is as it was after its last whole epoch, as where one of them
        raises an error.

    Warns
    -----
    DivergenceWarning
        As for `MLP.fit`, with the number of the network. The others go on.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 4)).astype("float32")
    >>> y = (X[:, 0] * X[:, 1] > 0).astype(int)
    >>> nets = [fastnn.MLP((4, width, 2), output="softmax", random_state=0) for width in (8, 16)]
    >>> histories = fastnn.fit_many(
    ...     nets, X, y, optimizer=[fastnn.Adam(0.02), fastnn.Adam(0.01)], epochs=30)
    >>> [len(history.loss) for history in histories]
    [30, 30]
    """
    one_each = {
        "loss": loss, "optimizer": optimizer, "epochs": epochs, "batch_size": batch_size,
        "shuffle": shuffle, "rows": rows, "sample_weight": sample_weight, "alpha": alpha, "l1": l1,
        "max_norm": max_norm, "clip_norm": clip_norm, "clip_value": clip_value,
        "input_dropout": input_dropout, "input_noise": input_noise, "mixup": mixup,
        "validation_data": validation_data, "validation_rows": validation_rows,
        "metrics": metrics, "callbacks": callbacks, "max_steps": max_steps}
    train = elsewhere.get()
    if train is not None:
        refuse_checkpoint(checkpoint)
        return train(networks, X, y, **one_each)
    networks = check_networks(networks)
    for module in TRAINING:
        imported(module)
    columns = {}
    for name, value in one_each.items():
        columns[name] = spread(name, value, len(networks))
    _check_callbacks(columns["callbacks"])
    checkpoint_seconds = validation.check_nonnegative("checkpoint_seconds", checkpoint_seconds)
    threads = resolve_threads(n_threads)
    workers = min(threads, len(networks))
    data, fits = _Data(X, y), []
    for i, net in enumerate(networks):
        own = {name: column[i] for name, column in columns.items()}
        try:
            fits.append(_check_fit(net, data, **own))
        except Exception as error:
            name_place(error, f"networks[{i}]")
            raise
    if checkpoint is None:
        return _Pool(fits, workers, threads).run()
    file = imported("fastnn.training.fits_file").opened(checkpoint, checkpoint_seconds, fits)
    return _Pool(fits, workers, threads, file).run()


def refuse_checkpoint(checkpoint):
    """Raise where a fit on workers is given a checkpoint."""
    if checkpoint is not None:
        raise ValueError(f"checkpoint={shown(checkpoint)} must be None on workers: networks come "
                         "back from them when they have come to their end")


def check_networks(networks):
    if isinstance(networks, MLP) or not isinstance(networks, Sequence):
        raise TypeError(f"networks={shown(networks)} must be a list of fastnn.MLP objects")
    if not networks:
        raise ValueError("networks is empty, must hold at least one fastnn.MLP")
    first = {}
    for i, net in enumerate(networks):
        if not isinstance(net, MLP):
            raise TypeError(f"networks[{i}]={shown(net)} must be a fastnn.MLP")
        if id(net) in first:
            raise ValueError(f"networks[{i}] is networks[{first[id(net)]}]: each must be an object "
                             "of its own; copy.deepcopy makes one")
        first[id(net)] = i
    return list(networks)


def spread(name, value, n):
    """Return the values of an argument, one for each network."""
    if not isinstance(value, list):
        if name == "callbacks" and value is not None:
            raise TypeError(f"callbacks={shown(value)} must be a list with a list of "
                            "fastnn.Callback objects, or None, for each network")
        return [value] * n
    if name == "metrics" and all(isinstance(one, str) or callable(one) for one in value):
        return [value] * n
    if len(value) != n:
        raise ValueError(f"{name} has {len(value)} entries for {n} networks: a list must have one "
                         "for each")
    return value


def _check_callbacks(lists):
    """Refuse an object with a state in the lists of two networks, whose threads would share it."""
    epochs, first = imported("fastnn.training.epochs"), {}
    for i, own in enumerate(lists):
        for callback in own if isinstance(own, (list, tuple)) else ():
            kept = isinstance(callback, epochs.Callback) and epochs.is_of_one_fit(callback)
            if kept and first.setdefault(id(callback), i) != i:
                raise ValueError(
                    f"callbacks[{i}] holds the {type(callback).__name__} of "
                    f"callbacks[{first[id(callback)]}]: it has a state, so each network needs an "
                    "object of its own: callbacks=[[fastnn.EarlyStopping()] for _ in networks]")
    imported("fastnn.training.callbacks").check_files([
        callback for own in lists if isinstance(own, (list, tuple)) for callback in own])


class _Data:
    """X, y and what else the networks share, checked once for each dtype, number of inputs, and
    kind of targets."""

    def __init__(self, X, y):
        self.X, self.y, self.checked, self.weights = X, y, {}, {}

    def of(self, net, info, sample_weight=None):
        """Return (X, y, sample_weight) as ``net._check_data`` does."""
        key = net.dtype, net.sizes[0]
        if key not in self.checked:
            self.checked[key] = check_training_rows("X", self.X, net.sizes[0], net.dtype)
        X = self.checked[key]
        key = net.dtype, net.sizes[-1], info.name, info.labels, info.targets, info.n_targets
        if key not in self.checked:
            self.checked[key] = check_targets(
                "y", self.y, X.shape[0], net.sizes[-1], net.dtype, info)
        y, key = self.checked[key], (net.dtype, id(sample_weight))
        if key not in self.weights:  # with the object itself, so that no other one gets its id
            self.weights[key] = sample_weight, check_weights(
                sample_weight, X.shape[0], net.dtype)
        return X, y, self.weights[key][1]


def _check_fit(net, data, *, loss, rows, sample_weight, l1, max_norm, clip_norm,
               clip_value, input_dropout, input_noise, mixup, validation_data, validation_rows,
               **settings):
    """Return the `Fit` of one network; arguments are those of `fit_many` for it."""
    fitting = imported("fastnn.training.fitting")
    # of the pool, not of the network: the last ones have the threads of those that are done
    threads = {"n_threads": None}
    info = net._bound(loss)
    own = data.of(net, info, sample_weight)
    n_samples = own[0].shape[0]
    rows = _check_rows("rows", rows, n_samples)
    if rows is not None and own[2] is not None:
        check_weights(own[2][rows], len(rows), net.dtype)
    if validation_rows is not None:
        if validation_data is not None:
            raise ValueError("validation_data and validation_rows are both given: give one of them")
        validation_data = fitting.HeldOut(
            data.of(net, info), _check_rows("validation_rows", validation_rows, n_samples), threads)
    elif validation_data is not None:
        validation_data = fitting.HeldOut(
            fitting.check_validation_data(net, validation_data, info), None, threads)
    return fitting.Fit(
        net, own, info, rows=rows, threads=threads, penalties=(l1, clip_norm, clip_value, max_norm),
        inputs=(input_dropout, input_noise, mixup), validation_data=validation_data, callback=None,
        max_time=None, progress=False, **settings)


def _check_rows(name, rows, n_samples):
    """Return row numbers as an array of its own, or None for all."""
    if rows is None:
        return None
    rows = as_array(name, rows)
    if rows.dtype == bool:
        if rows.shape != (n_samples,):
            raise ValueError(f"{name} is a mask of shape {rows.shape}, must be ({n_samples},)")
        rows = np.flatnonzero(rows)
    if rows.ndim != 1 or rows.dtype.kind not in "iu" and rows.size:
        raise TypeError(f"{name} is {rows.dtype} {rows.shape}, must be row numbers (n,) or a mask "
                        f"({n_samples},)")
    if rows.size == 0:
        raise ValueError(f"{name} is empty, must name at least one row")
    low, high = rows.min(), rows.max()
    if low < 0 or high >= n_samples:
        raise ValueError(f"{name} has row numbers in {low}..{high}, must be in 0..{n_samples - 1}")
    return np.array(rows, np.intp)


class _Pool:
    """Threads that take one fit after the other, those with the most work first.

    Who calls waits meanwhile, so that Ctrl-C finds it at once.

    Parameters
    ----------
    fits : list of Fit
    workers : int
    allowed : int
        Threads of all of them together.
    file : FitsFile or None, default=None
        Their checkpoint.
    """

    def __init__(self, fits, workers, allowed, file=None):
        self.fits, self.workers, self.allowed, self.file = fits, workers, allowed, file
        self.tasks = iter(sorted(range(len(fits)), key=lambda i: -fits[i].cost))
        self.histories, self.warnings = [None] * len(fits), []
        self.threads, self.running, self.error, self.ends = [], {}, None, False
        self.words = queue.SimpleQueue()  # one of each thread that has come to its end

    def run(self):
        """Run all fits; return their histories."""
        with single_threaded_blas(), lending_threads(), Guarded(self.start, self.join):
            self.wait()
        if self.file is not None and self.error is None:
            self.file.finish()
        for number, message, category in sorted(self.warnings, key=lambda told: told[0]):
            notices.warn(f"networks[{number}]: {message}", category)
        if self.error is not None:
            try:
                raise self.error
            finally:
                self.error = None  # no circle through the traceback
        return self.histories

    def start(self):
        """Start the threads."""
        for _ in range(self.workers):
            run = functools.partial(contextvars.copy_context().run, self.work)
            thread = threading.Thread(target=run, name="fastnn.fit_many", daemon=True)
            self.threads.append(thread)
            thread.start()

    def wait(self):
        """Wait until each thread has come to its end."""
        for _ in range(self.workers):
            self.words.get()

    def join(self):
        """Wait for the threads; where the caller has not waited for all, they end early."""
        self.ends = True
        while self.threads:
            thread = self.threads[-1]
            while thread.ident is not None and thread.is_alive():
                self.cancel()
                thread.join(0.05)
            self.threads.pop()

    def cancel(self):
        """Let all fits that are running end soon."""
        for fit in tuple(self.running.values()):
            fit.cancel()

    def work(self):
        """Run fits until none is left, in a thread of its own."""
        limited_threads(self.allowed)
        try:
            for i in self.tasks:
                if self.ends:
                    return
                self.run_one(i)
        except BaseException as error:
            if self.error is None:
                self.error = error
            self.ends = True
            self.cancel()
        finally:
            self.words.put(None)

    def run_one(self, i):
        """Run a fit."""
        self.running[i], self.fits[i] = self.fits[i], None
        told = []
        try:
            with notices.kept(told):
                self.histories[i] = self.running[i].run()
        except imported("fastnn.training._runs").Cancelled:
            self.running[i].net.history.stopped = "interrupted"
            raise
        except BaseException as error:
            name_place(error, f"networks[{i}]")
            raise
        finally:
            del self.running[i]
            for message, category in told:
                self.warnings.append((i, message, category))
