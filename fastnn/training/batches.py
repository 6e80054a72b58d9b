"""Training on batches that come one after the other: `MLP.fit_batches`."""

import inspect
import queue
import threading
from typing import NamedTuple

import numpy as np

from fastnn.core import validation
from fastnn.core._signals import Guarded
from fastnn.core.notices import shown
from fastnn.core.threads import single_threaded_blas, sole_fit
from fastnn.training.bound_losses import describe
from fastnn.training.callbacks import fit_hooks
from fastnn.training.checkpoint import Checkpoint, Progress, describe_fit
from fastnn.training.epochs import FitState, Hook, run_epochs
from fastnn.training.fitting import Settings, stand_of
from fastnn.training.optimizers import EMA
from fastnn.training.schedules import Schedule, StepRates

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

    def check_again(self, checkpoint):
        """Raise where a fit with a checkpoint could not begin a later epoch in another process."""
        if self.once:
            raise ValueError(
                f"checkpoint={shown(checkpoint)} needs a source that can be begun anew, and "
                f"source={type(self.given).__name__} can be gone through once: give a function "
                "that returns one for each epoch, or a list")

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
        self.ready = queue.SimpleQueue()
        self.room = queue.SimpleQueue()
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
        except StopIteration as error:  # it would end the loop that it is raised in
            named = RuntimeError("a batch of the source raised StopIteration when it was looked at")
            named.__cause__ = error
            self.ready.put(("error", named))
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


class SourceRates:
    """The learning rates of a fit whose steps a source decides, epoch by epoch.

    Parameters
    ----------
    optimizer : Optimizer
    epochs : int
    per_epoch, max_steps : int or None
        Most steps of an epoch, and of the fit.

    Attributes
    ----------
    total : int or None
        Steps of the fit, as far as a schedule knows.
    """

    def __init__(self, optimizer, epochs, per_epoch, max_steps):
        self.per_epoch, self.total = per_epoch, None
        schedule = optimizer.learning_rate
        self.counts = None
        if isinstance(schedule, Schedule) and per_epoch is None:
            self.counts = schedule.counts
            if self.counts is None:
                raise ValueError(
                    f"learning_rate={schedule.describe()} needs the number of steps of an epoch: "
                    "give steps_per_epoch, or a schedule by epoch such as "
                    "fastnn.schedules.Step")
            self.per_epoch = 1  # what is not looked at
        elif per_epoch is not None:
            self.total = epochs * per_epoch
            if max_steps is not None:
                self.total = min(self.total, max_steps)
        self.by_step = isinstance(schedule, Schedule) and self.counts != "epochs"
        self.rates = StepRates(optimizer, _Steps(self.per_epoch, self.total))

    def of(self, epoch):
        """Return the rate of an epoch, or its `EpochRates`."""
        if self.by_step:
            first = None if self.counts else epoch * self.per_epoch
            return EpochRates(self.rates, first)
        rates = self.rates.of(epoch)
        return float(rates[0]) if isinstance(rates, np.ndarray) else rates


class _Steps(NamedTuple):
    """What `StepRates` asks a `StepLimit` for."""

    per_epoch: int | None
    total: int | None

    def of(self, epoch):
        """Return the number of steps of an epoch."""
        return self.per_epoch


class EpochRates:
    """The learning rates of an epoch, for each batch when it comes.

    Parameters
    ----------
    rates : StepRates
    first : int or None
        Number of the first step for the schedule; None: as many as there have been.
    """

    def __init__(self, rates, first):
        self.rates, self.first, self.scale, self.last = rates, first, 1.0, None

    def __mul__(self, scale):
        self.scale *= scale
        return self

    def __float__(self):
        return self.last

    def take(self, done_in_epoch, done, n_steps):
        """Return the rates of the next steps."""
        first = done if self.first is None else self.first + done_in_epoch
        rates = self.rates.between(first, n_steps) * self.scale
        self.last = float(rates[-1])
        return rates


class BatchTrainer:
    """As `Trainer`, for `run_epochs`: an epoch goes through a source once.

    Parameters
    ----------
    net : MLP
        Whose checks, parameters and trainers are taken.
    source : Source
    info : BoundLoss
    settings : dict
        Of the trainers, `alpha` included.
    batch_size : int or None, default=None
        None: each batch of the source is one step.
    shuffle_key : int or None, default=None
        Decides the order of the rows in each batch of the source; None: as they lie.
    per_epoch, max_steps : int or None, default=None
        Most steps of an epoch, and of the fit.
    stand : Progress or None, default=None
        From where on; None: from the network as it is.
    """

    def __init__(self, net, source, info, settings, *, batch_size=None, shuffle_key=None,
                 per_epoch=None, max_steps=None, stand=None):
        stand = stand or Progress(net._seed, net._epochs_done, net.parameters)
        self.net, self.source, self.info, self.settings = net, source, info, settings
        self.batch_size, self.shuffle_key = batch_size, shuffle_key
        self.per_epoch, self.max_steps = per_epoch, max_steps
        self.epochs_before, self.epoch = stand.epochs_before, stand.epochs
        # a copy: callbacks may give others before the first step, and the network's own has readers
        self.trainer, self.first = None, net._layout.copy(stand.parameters)
        net._layout.clear_gaps(self.first)
        self.is_cut = False
        self.states, self.steps = stand.states, stand.step  # until there is a trainer

    @property
    def layout(self):
        """Of the parameters."""
        return self.net._layout

    @property
    def parameters(self):
        """As they are now."""
        return self.first if self.trainer is None else self.trainer.parameters

    @property
    def published(self):
        """What to predict with, see `Trainer`."""
        if self.trainer is not None:
            return self.trainer.published
        # of a fit that goes on the mean is the last state
        means = self.states and isinstance(self.settings["optimizer"], EMA)
        return self.states[-1] if means else self.first

    @property
    def optimizer_state(self):
        """Flat vectors."""
        return self.states if self.trainer is None else self.trainer.optimizer_state

    @property
    def step(self):
        """Optimizer steps done so far."""
        return self.steps if self.trainer is None else self.trainer.step

    def check(self, X, y, sample_weight):
        """Return what a trainer takes of a batch."""
        return self.net._check_data(X, y, sample_weight, self.info, in_place=False)

    def take(self, data):
        """Make the rows those to train on; a larger batch than any before needs a new trainer,
        which goes on from the old one's state."""
        rows = data[0].shape[0]
        needed = rows if self.batch_size is None else min(rows, self.batch_size)
        if self.trainer is not None and needed <= self.trainer.plan.batch:
            self.trainer.set_data(*data)
            return
        states, step = self.optimizer_state, self.step
        self.trainer = self.net._trainer(data, self.info, parameters=self.parameters,
                                         batch_size=needed, **self.settings)
        self.first, self.states = None, ()
        if step:
            self.trainer.set_state(states, step)

    def room(self, done):
        """Return how many steps may follow after those of this epoch; None for any number."""
        found = None if self.per_epoch is None else self.per_epoch - done
        if self.max_steps is not None:
            left = self.max_steps - self.step
            found = left if found is None else min(found, left)
        return found

    def run_epoch(self, order=None, *, learning_rate, stop_if_diverged=False):
        """Do one pass over the source; arguments and result are those of `Trainer.run_epoch`,
        ``order`` is not used, and ``learning_rate`` may be an `EpochRates`."""
        total, rows, number, done = 0.0, 0, 0, 0
        ready = Prefetch(self.source.batches(self.epoch), self.prepare)
        with Guarded(ready.begin, ready.end):
            for data in ready:
                room = self.room(done)
                if room == 0:
                    self.is_cut = True
                    break
                self.take(data)
                n_rows, batch = data[0].shape[0], self.trainer.plan.batch
                taken, n_steps = self.order(number), -(-n_rows // batch)
                if room is not None and room < n_steps:
                    n_steps, n_rows, self.is_cut = room, room * batch, True
                    taken = np.arange(n_rows) if taken is None else taken[:n_rows]
                rates = learning_rate
                if isinstance(rates, EpochRates):
                    rates = rates.take(done, self.step, n_steps)
                loss = self.trainer.run_epoch(taken, learning_rate=rates,
                                              stop_if_diverged=stop_if_diverged)
                total += loss * n_rows
                rows, number, done = rows + n_rows, number + 1, done + n_steps
                if stop_if_diverged and not abs(loss) < float("inf"):
                    return loss
                if done == self.per_epoch:  # without waiting for another batch
                    break
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


class WholeEpochs:
    """What `WriteCheckpoint` asks a `StepLimit` for: an epoch that ``max_steps`` may have cut short
    is not written.

    Parameters
    ----------
    trainer : BatchTrainer
    epochs : int
    """

    is_cut = False  # before it has happened nobody knows

    def __init__(self, trainer, epochs):
        self.trainer, self.epochs = trainer, epochs

    @property
    def whole_epochs(self):
        """How many epochs may be written."""
        most = self.trainer.max_steps
        cut = self.trainer.is_cut and most is not None and self.trainer.step >= most
        return self.trainer.epoch - 1 if cut else self.epochs


class EndAfterSteps(Hook):
    """Ends a fit of so many steps.

    Parameters
    ----------
    max_steps : int
    """

    def __init__(self, max_steps):
        self.max_steps = max_steps

    def on_epoch_end(self, state):
        """End it, where there would have been more."""
        more = state.epoch + 1 < state.epochs or state.trainer.is_cut
        if more and state.step >= self.max_steps:
            state.stop("steps", ended=False)


def fit_batches(net, source, *, loss, batch_size, shuffle, steps_per_epoch, max_steps, checkpoint,
                checkpoint_seconds, **settings):
    """Train a network on the batches of a source; see `MLP.fit_batches`."""
    info = net._bound(loss)
    fit = Settings(net, info, **settings)
    if fit.whole is not None:
        raise ValueError(f"optimizer={type(fit.whole).__name__} runs a whole fit over all rows: "
                         "batches need one that steps along a gradient, such as fastnn.Adam")
    source = Source(source, fit.epochs)
    if checkpoint is not None:
        source.check_again(checkpoint)
    if batch_size is not None:
        batch_size = validation.check_count("batch_size", batch_size)
    shuffle = validation.check_flag("shuffle", shuffle)
    if steps_per_epoch is not None:
        steps_per_epoch = validation.check_count("steps_per_epoch", steps_per_epoch)
    if max_steps is not None:
        max_steps = validation.check_count("max_steps", max_steps)
        fit.others.insert(0, EndAfterSteps(max_steps))
    seconds = validation.check_nonnegative("checkpoint_seconds", checkpoint_seconds)
    rates = SourceRates(fit.optimizer, fit.epochs, steps_per_epoch, max_steps)
    with sole_fit(net), single_threaded_blas():
        if checkpoint is not None:
            description = describe_fit(
                net, describe(info), fit.optimizer, None, fit.held_out, total_steps=rates.total,
                metrics=tuple(fit.metrics), callbacks=fit.callbacks, alpha=fit.alpha,
                batch_size=batch_size, shuffle=shuffle, steps_per_epoch=steps_per_epoch,
                **fit.penalties, **fit.inputs.plain())
            optimizer = fit.optimizer
            checkpoint = Checkpoint(
                checkpoint, seconds, description, net._layout, optimizer.n_states, fit.epochs,
                optimizer.squares, fit.callbacks, net._origins)
        stand = stand_of(net, fit.history, checkpoint)
        trainer = BatchTrainer(
            net, source, info,
            {"optimizer": fit.optimizer, "alpha": fit.alpha, "inputs": fit.inputs,
             "seed": net._key(0, stand.epochs_before), **fit.penalties},
            batch_size=batch_size, shuffle_key=net._key(1) if shuffle else None,
            per_epoch=steps_per_epoch, max_steps=max_steps, stand=stand)
        stand.parameters, stand.states = None, ()  # the trainer has them
        state = FitState(trainer, net, fit.history)
        last = fit.epochs
        if stand.ended:
            last, state.all_done = stand.epochs, stand.stopped or "stopped"
        elif max_steps is not None and stand.step >= max_steps and stand.epochs < last:
            last, state.all_done = stand.epochs, "steps"
        state.learning_rate_scale = stand.scale
        net._history = fit.history
        hooks = fit_hooks(state, net._publish_copy, fit.evaluate, fit.callbacks, checkpoint, stand,
                          metrics=fit.metrics, held_out=fit.held_out,
                          steps=WholeEpochs(trainer, fit.epochs), others=fit.others)
        try:
            run_epochs(state, last, order=_no_order, learning_rate=rates.of, first=stand.epochs,
                       hooks=hooks, stop_if_diverged=True)
        finally:
            if checkpoint is not None:
                net._left = net._snapshot
    return fit.history


def _no_order(epoch):
    """Rows come as the source gives them."""
