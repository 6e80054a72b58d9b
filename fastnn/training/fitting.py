"""The body of `MLP.fit`: checks, then epochs with hooks. Its arguments are described there.

`Settings` are the checks that `MLP.fit_batches` shares.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from fastnn.core import validation
from fastnn.core.imports import imported
from fastnn.core.notices import hint, shown, warn
from fastnn.core.threads import single_threaded_blas, sole_fit
from fastnn.files import container
from fastnn.training.bound_losses import describe
from fastnn.training.bursts import bursts_of
from fastnn.training.callbacks import RowOrder, StepLimit, check_callbacks, fit_hooks
from fastnn.training.checkpoint import ROWS, Checkpoint, Progress, describe_fit
from fastnn.training.epochs import FitState, run_epochs
from fastnn.training.fit_file import rows_digest
from fastnn.training.inputs import check_inputs
from fastnn.training.metrics import check_metrics, new_history
from fastnn.training.optimizers import Adam, WholeFit, check_optimizer, check_steps
from fastnn.training.progress import progress_hook
from fastnn.training.schedules import StepRates
from fastnn.training.stopping import TimeLimit

__all__ = ["Fit", "HeldOut", "Settings", "check_penalties", "check_validation_data", "fit",
           "limit_and_progress", "stand_of"]

MAX_ORIGINS = 100  # fits with a checkpoint that a network remembers to come from


class Settings:
    """What `MLP.fit` and `MLP.fit_batches` have in common, checked. Arguments are theirs.

    Attributes
    ----------
    info : BoundLoss
    optimizer : Optimizer or WholeFit
    whole : WholeFit or None
        The optimizer, where it is one.
    epochs : int
    alpha : float
    penalties : dict
        What steps do beside the optimizer's update, by name; empty for a plain fit.
    inputs : InputChanges
    callbacks : list of Callback
    others : list of Hook
        Those that do not look at the network.
    metrics : dict
    held_out : tuple (X, y, sample_weight) or None
        Validation data.
    evaluate : callable or None
        From parameters to the loss on them.
    history : History
        Empty.
    """

    __slots__ = ("alpha", "callbacks", "epochs", "evaluate", "held_out", "history", "info",
                 "inputs", "metrics", "optimizer", "others", "penalties", "whole")

    def __init__(self, net, info, *, optimizer, epochs, alpha, penalties, inputs, validation_data,
                 metrics, callback, callbacks, max_time, progress):
        self.info = info
        self.optimizer = Adam() if optimizer is None else check_optimizer(optimizer)
        self.whole = self.optimizer if isinstance(self.optimizer, WholeFit) else None
        self.epochs = validation.check_count("epochs", epochs)
        self.alpha = validation.check_nonnegative("alpha", alpha)
        self.penalties, self.inputs = check_penalties(*penalties), check_inputs(*inputs)
        check_steps(self.optimizer, "optimizer", type(self.optimizer).__name__,
                    {**self.penalties, **self.inputs.plain()})
        if net.frozen:
            self.penalties["frozen"] = net.frozen
        self.callbacks = check_callbacks(callbacks, callback)
        self.others = limit_and_progress(max_time, progress)
        held = validation_data
        names = [metrics] if isinstance(metrics, str) else metrics
        # before scikit-learn is asked for its scorers: its import takes seconds
        scorers = isinstance(names, (list, tuple)) and all(isinstance(n, str) for n in names)
        self.metrics = names if scorers and names and held is None else check_metrics(metrics)
        if held is None and self.metrics:
            raise ValueError(f"metrics={list(self.metrics)} are taken on validation data: give "
                             "validation_data=(X, y), too")
        if held is not None and not isinstance(held, HeldOut):
            held = HeldOut(check_validation_data(net, held, info))
        self.evaluate = self.held_out = None
        if held is not None:
            self.evaluate = _Evaluate(net, info, held)
            self.held_out = held.taken() if self.metrics or held.rows is None else held.data
        self.history = new_history(self.evaluate is not None, self.metrics)


class HeldOut(NamedTuple):
    """Validation data that have been checked.

    Attributes
    ----------
    data : tuple (X, y, sample_weight)
    rows : intp array (n,) or None
        Those of their rows that count; None: all.
    threads : dict
        See `Fit`.
    """

    data: tuple[Any, Any, None]
    rows: Any = None
    threads: Mapping[str, int | None] = MappingProxyType({})

    def taken(self):
        """Return the data of these rows alone."""
        if self.rows is None:
            return self.data
        X, y, _ = self.data
        return X[self.rows], y[self.rows], None


class _Evaluate:
    """From parameters to the loss on validation data."""

    def __init__(self, net, info, held):
        self.net, self.info, self.held, self.trainer = net, info, held, None

    def __call__(self, parameters):
        if self.trainer is None:
            self.trainer = self.net._trainer(self.held.data, self.info, 0.0, parameters,
                                             rows=self.held.rows, **self.held.threads)
        self.trainer.parameters[:] = parameters
        return self.trainer.loss_and_grad()


def check_validation_data(net, data, info):
    """Return validation data as `Trainer` takes them."""
    try:
        X, y = data
    except (TypeError, ValueError):
        raise ValueError(f"validation_data={shown(data)} must be a pair (X, y): rows that the fit "
                         "does not have, split off before") from None
    try:
        return net._check_data(X, y, None, info)
    except TypeError as error:
        raise TypeError(f"in validation_data: {error}") from None
    except ValueError as error:
        raise ValueError(f"in validation_data: {error}") from None


def fit(net, X, y, *, loss, sample_weight, **arguments):
    """Train a network; see `MLP.fit`."""
    info = net._bound(loss)
    data = net._check_data(X, y, sample_weight, info)
    if net._epochs_done == 0:
        values = info.link == "identity" and info.targets == "real" and not info.labels
        hint("scale", imported("fastnn.core.cures").unscaled(data[0], data[1] if values else None))
    return Fit(net, data, info, **arguments).run()


class Fit:
    """A fit whose arguments have been checked.

    Parameters
    ----------
    net : MLP
    data : tuple (X, y, sample_weight)
        As ``net._check_data`` gives them.
    info : BoundLoss
    batch_size, shuffle, max_steps, checkpoint, checkpoint_seconds
        As for `MLP.fit`.
    rows : intp array (n,) or None, default=None
        The rows of the data to train on; None: all.
    threads : dict
        May hold ``n_threads``, in the place of the network's own.
    **settings
        Of `Settings`.

    Attributes
    ----------
    cost : float
        Of its epochs, about, in floating-point operations.
    """

    # No closure and no comprehension over arguments: where it fails for lack of memory, CPython
    # 3.11 never lets go of them.
    def __init__(self, net, data, info, *, batch_size, shuffle, max_steps, checkpoint=None,
                 checkpoint_seconds=10.0, rows=None, threads=MappingProxyType({}), **settings):
        self.net, self.data, self.info = net, data, info
        self.rows, self.threads = rows, threads
        self.settings = fit = Settings(net, info, **settings)
        n_rows = data[0].shape[0] if rows is None else len(rows)
        self.batch_size = min(validation.check_count("batch_size", batch_size), n_rows)
        if fit.whole is not None:
            _check_whole_fit(fit.whole, max_steps)
        self.shuffle = validation.check_flag("shuffle", shuffle)
        self.checkpoint = checkpoint
        self.seconds = validation.check_nonnegative("checkpoint_seconds", checkpoint_seconds)
        self.steps = StepLimit(max_steps, fit.epochs, n_rows, self.batch_size)
        if fit.whole is not None:  # whose iterations are steps over all rows
            self.steps = StepLimit(None, fit.whole.epochs, n_rows, n_rows)
        self.rates = None if fit.whole is not None else StepRates(fit.optimizer, self.steps)
        self.cost = float(self.steps.total * self.batch_size * net._layout.training_flops)
        self.trainer, self.cancelled = None, False

    def cancel(self):
        """End it soon, from another thread: `Cancelled` is raised where it runs."""
        self.cancelled = True
        if self.trainer is not None:
            self.trainer.cancel()

    def run(self):
        """Train; return the history."""
        net, fit, steps = self.net, self.settings, self.steps
        whole, history, checkpoint = fit.whole, fit.history, self.checkpoint
        with sole_fit(net):
            if not (checkpoint is None or isinstance(checkpoint, Checkpoint)):
                checkpoint = Checkpoint(checkpoint, self.seconds, self.description(),
                                        **self.checkpoint_settings())
            stand = stand_of(net, history, checkpoint)
            self.trainer = trainer = net._trainer(
                self.data, self.info, fit.alpha, stand.parameters,
                optimizer=None if whole is not None else fit.optimizer,
                batch_size=None if whole is not None else self.batch_size,
                seed=net._key(0, stand.epochs_before), rows=self.rows, inputs=fit.inputs,
                **self.threads, **fit.penalties)
            if self.cancelled:
                trainer.cancel()
            fit.penalties = None  # the trainer has them
            if stand.epochs and whole is None:
                trainer.set_state(stand.states, stand.step)
            stand.parameters, stand.states = None, ()  # the trainer has them
            order = RowOrder(trainer, self.shuffle, net._key(1), stand.epochs_before, steps)
            state = FitState(trainer, net, history)
            state.all_done = (stand.stopped or "stopped") if stand.ended else steps.reason
            state.learning_rate_scale = stand.scale
            net._history = history
            hooks = fit_hooks(state, net._publish_copy, fit.evaluate, fit.callbacks, checkpoint,
                              stand, metrics=fit.metrics, held_out=fit.held_out, steps=steps,
                              others=fit.others)
            try:
                with single_threaded_blas():
                    if whole is not None:
                        whole.run(state, hooks, checkpoint and checkpoint.evaluations)
                    else:
                        run_epochs(state, stand.epochs if stand.ended else steps.epochs,
                                   order=order.of, learning_rate=self.rates.of,
                                   first=stand.epochs, hooks=hooks, stop_if_diverged=True,
                                   bursts=bursts_of(trainer, order, self.rates, state.keeper,
                                                    hooks))
            finally:
                self.trainer = None
                if checkpoint is not None:
                    net._left = net._snapshot
        return history

    def description(self, digest=rows_digest):
        """Return what decides the result, as `describe_fit` does.

        Parameters
        ----------
        digest : callable
            As `rows_digest`.
        """
        net, fit = self.net, self.settings
        found = describe_fit(
            net, describe(self.info), fit.optimizer, self.data, fit.held_out,
            total_steps=self.steps.total, metrics=tuple(fit.metrics), callbacks=fit.callbacks,
            digest=digest, alpha=fit.alpha, **fit.penalties, **fit.inputs.plain(),
            **({} if fit.whole else {"batch_size": self.batch_size, "shuffle": self.shuffle}))
        held = None if fit.evaluate is None else fit.evaluate.held.rows
        for name, rows in zip(ROWS, (self.rows, held), strict=True):
            if rows is not None:
                found[name] = container.digest([], {"rows": rows})
        return found

    def checkpoint_settings(self):
        """Return further arguments of the `Checkpoint` of this fit."""
        fit, layout, more = self.settings, self.net._layout, {}
        if fit.whole is not None:
            evaluations = imported("fastnn.training.evaluations").Evaluations(layout)
            more = {"counted": fit.whole.counted, "evaluations": evaluations}
        return {"layout": layout, "n_states": fit.optimizer.n_states, "epochs": self.steps.epochs,
                "squares": fit.optimizer.squares, "callbacks": fit.callbacks,
                "origins": self.net._origins, **more}


def stand_of(net, history, checkpoint):
    """Return the `Progress` of a fit: that of its checkpoint, or that of a fresh one."""
    stand = Progress(net._seed, net._epochs_done, net.parameters)
    if checkpoint is None:
        return stand
    stand = checkpoint.read(history) or stand
    if checkpoint.goes_back and net._snapshot is not net._left:
        warn("the network has been trained since the fit of this checkpoint: the fit goes on from "
             "the file, and what was learned since is dropped")
    net._seed = stand.seed
    net._origins = (*net._origins[-MAX_ORIGINS:], checkpoint.start)
    return stand


def _check_whole_fit(optimizer, max_steps):
    """Refuse what belongs to steps with an optimizer that has none."""
    name = type(optimizer).__name__
    if max_steps is not None:
        raise ValueError(f"max_steps={max_steps} must be None with optimizer={name}, which has "
                         "iterations instead: see its max_iter")


def limit_and_progress(max_time, progress):
    """Return the hooks of these arguments of `MLP.fit`: those that do not look at the network."""
    hooks = []
    if max_time is not None:
        hooks.append(TimeLimit(max_time, name="max_time"))
    line = progress_hook(progress)
    if line is not None:
        hooks.append(line)
    return hooks


def check_penalties(l1, clip_norm, clip_value=None, max_norm=None):
    """Return what steps do beside the optimizer's update, by name; nothing for a plain fit."""
    found = {}
    if validation.check_nonnegative("l1", l1):
        found["l1"] = float(l1)
    for name, value in (("clip_norm", clip_norm), ("clip_value", clip_value),
                        ("max_norm", max_norm)):
        if value is not None:
            found[name] = validation.check_positive(name, value)
    return found
