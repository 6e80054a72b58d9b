"""Training on batches that come one after the other: `MLP.fit_batches`."""

import inspect
import queue
import threading

import numpy as np

from fastnn.core._signals import Guarded
from fastnn.core.notices import shown
from fastnn.core.threads import single_threaded_blas, sole_fit
from fastnn.training.callbacks import fit_hooks
from fastnn.training.checkpoint import Progress
from fastnn.training.epochs import FitState, run_epochs
from fastnn.training.history import History

AHEAD = 2  # batches that are prepared while one trains
PATIENCE = 5.0  # seconds that the end of a fit waits for a source that does not answer

_END = object()


class Source:
    """What gives the batches of each epoch.

    Parameters
    ----------
    given : iterable or callable
        An iterable that can be gone through again (a list, or an object with ``__iter__``) gives
        its batches in each epoch; an iterator or a generator can be gone through once. A callable
        returns the iterable of an epoch; it gets the number of the epoch, from 0, where it takes
        an argument.
    epochs : int
        How often it is gone through.
    """

    def __init__(self, given, epochs):
        self.given = given
        self.calls = callable(given)
        if not self.calls and not hasattr(given, "__iter__"):
            raise TypeError(f"source={type(given).__name__} must be an iterable of batches (X, y) "
                            "or (X, y, sample_weight), or a function that returns one for each "
                            "epoch")
        self.once = not self.calls and iter(given) is given
        if self.once and epochs > 1:
            raise ValueError(f"source={type(given).__name__} can be gone through once, epochs="
                             f"{epochs} need a function that returns a new one for each epoch")
        self.takes_epoch = self.calls and _takes_argument(given)

    def batches(self, epoch):
        """Return an iterator over the batches of an epoch."""
        found = self.given
        if self.calls:
            found = found(epoch) if self.takes_epoch else found()
        if not hasattr(found, "__iter__"):
            raise TypeError(f"source returned {shown(found)} for epoch {epoch}, must return an "
                            "iterable of batches (X, y) or (X, y, sample_weight)")
        return iter(found)


def _takes_argument(function):
    """Whether a function can be called with one argument."""
    try:
        inspect.signature(function).bind(0)
    except (TypeError, ValueError):
        return False
    return True


class Prefetch:
    """Iterates over prepared batches, the next ones of which another thread makes meanwhile.

    To be used as ``with Guarded(ready.begin, ready.end): for batch in ready: ...``. What the source
    or ``prepare`` raises comes out of the loop. At the end, whatever the reason, the thread closes
    the source and ends. One whose source does not answer is given up after `PATIENCE` seconds; it
    ends with its next answer, or with the process.

    Parameters
    ----------
    batches : iterator
    prepare : callable
        From number and batch to what is wanted of it.
    """

    def __init__(self, batches, prepare):
        # queues in C: where Ctrl-C comes in between, no lock stays taken (see core/threads.py)
        self.ready: queue.SimpleQueue = queue.SimpleQueue()
        self.room: queue.SimpleQueue = queue.SimpleQueue()
        self.over = False
        self.batches, self.prepare = batches, prepare
        self.thread = threading.Thread(target=self._work, name="fastnn batches", daemon=True)

    def begin(self):
        """Start the thread."""
        for _ in range(AHEAD):
            self.room.put(None)
        self.thread.start()

    def end(self):
        """End the thread."""
        self.over = True
        self.room.put(None)
        if self.thread.ident is not None:
            self.thread.join(PATIENCE)

    def __iter__(self):
        while True:
            kind, value = self.ready.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            self.room.put(None)
            yield value

    def _work(self):
        try:
            self._prepare_all()
        except BaseException as error:
            self.ready.put(("error", error))
        else:
            self.ready.put(("end", None))

    def _prepare_all(self):
        number = 0
        try:
            while True:
                self.room.get()
                if self.over:
                    return
                batch = next(self.batches, _END)
                if batch is _END:
                    return
                self.ready.put(("batch", self.prepare(number, batch)))
                number += 1
                batch = None  # it may be large
        finally:
            close = getattr(self.batches, "close", None)
            if callable(close):
                close()


def check_batch(number, batch, check):
    """Return (X, y, sample_weight) of a batch after the checks of `fit`; its number is in the
    message of what it raises."""
    try:
        if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
            what = type(batch).__name__
            if isinstance(batch, (tuple, list)):
                what += f" of {len(batch)}"
            raise TypeError(f"is {what}, must be (X, y) or (X, y, sample_weight)")
        X, y, *weight = batch
        weight = weight[0] if weight else None
        return tuple(map(_own, (X, y, weight), check(X, y, weight)))
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"batch {number} of the source: {error}") from error


def _own(given, checked):
    """Return what nobody else writes to: a source may fill the same arrays again, as the next batch
    is asked for while this one trains."""
    if checked is given and not isinstance(given, np.ndarray):
        return given.copy() if hasattr(given, "copy") else given
    if isinstance(checked, np.ndarray):
        fresh = isinstance(given, (list, tuple)) or (
            isinstance(given, np.ndarray) and not np.may_share_memory(given, checked))
        return checked if fresh else checked.copy()
    return None if checked is None else checked.copy()


class BatchTrainer:
    """As `Trainer`, for `run_epochs`: an epoch goes through a source once.

    Parameters
    ----------
    make : callable
        From data (X, y, sample_weight) and a batch size to a `Trainer`.
    source : Source
    check : callable
        From X, y, sample_weight to what a trainer takes.
    parameters : flat array
        To begin with.
    batch_size : int or None
        None: each batch of the source is one step.
    shuffle_key : int or None
        Decides the order of the rows in each batch of the source; None: as they lie.
    epochs_before : int
        That the network had been trained before.
    """

    def __init__(self, make, source, check, parameters, batch_size, shuffle_key, epochs_before):
        self.make, self.source, self.check = make, source, check
        self.batch_size, self.shuffle_key = batch_size, shuffle_key
        self.epochs_before, self.epoch = epochs_before, 0
        self.trainer, self.first = None, parameters

    @property
    def parameters(self):
        """As they are now."""
        return self.first if self.trainer is None else self.trainer.parameters

    @property
    def optimizer_state(self):
        """Flat vectors."""
        return () if self.trainer is None else self.trainer.optimizer_state

    @property
    def step(self):
        """Optimizer steps done so far."""
        return 0 if self.trainer is None else self.trainer.step

    def take(self, data):
        """Make the rows those to train on; a larger batch than any before needs a new trainer,
        which goes on from the old one's state."""
        rows = data[0].shape[0]
        needed = rows if self.batch_size is None else min(rows, self.batch_size)
        if self.trainer is not None and needed <= self.trainer.plan.batch:
            self.trainer.set_data(*data)
            return
        old, self.trainer = self.trainer, self.make(data, needed, self.parameters)
        self.first = None
        if old is not None:
            self.trainer.set_state(old.optimizer_state, old.step)

    def run_epoch(self, order=None, *, stop_if_diverged=False, **settings):
        """Do one pass over the source; arguments and result are those of `Trainer.run_epoch`,
        ``order`` is not used."""
        total, rows, number = 0.0, 0, 0
        ready = Prefetch(self.source.batches(self.epoch), self.prepare)
        with Guarded(ready.begin, ready.end):
            for data in ready:
                self.take(data)
                n_rows = data[0].shape[0]
                loss = self.trainer.run_epoch(self.order(number),
                                              stop_if_diverged=stop_if_diverged, **settings)
                total += loss * n_rows
                rows, number = rows + n_rows, number + 1
                if stop_if_diverged and not abs(loss) < float("inf"):
                    return loss
        if number == 0:
            raise ValueError(f"source gave no batch in epoch {self.epoch}, must give one at least")
        self.epoch += 1
        return total / rows

    def prepare(self, number, batch):
        """Check a batch, in the other thread."""
        return check_batch(number, batch, self.check)

    def order(self, number):
        """Return the order of the rows of a batch."""
        if self.shuffle_key is None:
            return None
        epoch = self.epochs_before + self.epoch
        return self.trainer.shuffle(self.shuffle_key, (epoch << 32) + number)


def fit_batches(net, source, check, make, *, epochs, batch_size, shuffle_key, learning_rate,
                evaluate, callback):
    """Train a network on the batches of a source; arguments are checked.

    Parameters
    ----------
    net : MLP
    source : Source
    check, make
        See `BatchTrainer`.
    epochs : int
    batch_size, shuffle_key
        See `BatchTrainer`.
    learning_rate : callable
        From the number of an epoch to its learning rate.
    evaluate, callback : callable or None
        See `fit_hooks`.

    Returns
    -------
    History
    """
    history = History(validates=evaluate is not None)
    with sole_fit(net), single_threaded_blas():
        progress = Progress(net._seed, net._epochs_done, None)
        trainer = BatchTrainer(make, source, check, net.parameters, batch_size, shuffle_key,
                               progress.epochs_before)
        run_epochs(FitState(trainer, net, history), epochs, order=_no_order,
                   learning_rate=learning_rate,
                   hooks=fit_hooks(trainer, net._publish_copy, evaluate, callback, None, progress),
                   stop_if_diverged=True)
    return history


def _no_order(epoch):
    """Rows come as the source gives them."""
