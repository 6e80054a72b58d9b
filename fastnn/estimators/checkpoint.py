"""Checkpoints of the estimators: files from which `fit` goes on in another process.

A file (files/container.py) holds the parameters, those of the best epoch, the state of the
optimizer and the curves as arrays, and in its settings

========  =====================================================================================
progress  epochs of this fit, counts and scores of scikit-learn's rules, why it has ended
fit       what decides the result, and digests of the data: a fit that differs is refused
========  =====================================================================================

Orders of rows are not kept: they are drawn again, from the state of the random numbers before the
fit, which is `random_state` where that is a number, else part of the file.
"""

import os
from dataclasses import is_dataclass

import numpy as np

from fastnn.core import validation
from fastnn.estimators.settings import LATER, is_at_default
from fastnn.files import container
from fastnn.files.plain import from_plain, to_plain
from fastnn.training.epochs import Hook
from fastnn.training.evaluations import Evaluations
from fastnn.training.fit_file import (
    DATA,
    HELD_OUT,
    MAX_COUNT,
    FitFile,
    plain_setting,
    rows_digest,
)
from fastnn.training.optimizer_base import Optimizer
from fastnn.training.schedules import Schedule

__all__ = ["DRAWN", "START", "STATE_WORDS", "Checkpoint", "described", "goes_on_afresh", "opened",
           "random_of", "random_to_plain", "start_of"]

START = "the model at the start"
DRAWN = "drawn"  # a start at random weights
# which decide nothing, or are looked at by themselves
FREE = {"n_threads", "verbose", "max_iter", "max_fun", "warm_start", "random_state", "max_time",
        "progress", "callbacks"}
LOSSES = "loss_curve_"
CURVES = LOSSES, "validation_scores_", "validation_loss_curve_"
COUNTS = "epochs", "step", "t_", "_no_improvement_count"
NUMBERS = "loss_", "best_loss_", "best_validation_score_", "rate"
ENDS = None, "patience", "stopped"
STATE_WORDS = 624  # of the Mersenne Twister


class Checkpoint(FitFile, Hook):
    """The file of one fit of an estimator; as a hook it writes.

    Parameters
    ----------
    path, seconds, fit, layout
        See `FitFile`.
    est : estimator
    optimizer : Optimizer or None
        None: L-BFGS, whose evaluations are in the file.
    rng : RandomState
        Before the fit has drawn from it.
    """

    digests = (*FitFile.digests, START)

    def __init__(self, path, seconds, fit, est, layout, optimizer, rng):
        if optimizer is None:
            super().__init__(path, seconds, fit, layout, 0, (), Evaluations(layout))
        else:
            super().__init__(path, seconds, fit, layout, optimizer.n_states, optimizer.squares)
        self.max_iter = est.max_iter
        self.early_stopping = est.early_stopping and optimizer is not None
        self.random, self.patience, self.improvement = None, None, None
        self.epochs = 0
        self.saved = self._read() if self.path.exists() else None
        if self.fit["random_state"] is None:
            self.random = self.saved[2] if self.saved else state_of(rng)

    # ---- reading ----

    def random_numbers(self, rng, given):
        """Return the random numbers of the fit as they were before it.

        Parameters
        ----------
        rng : RandomState
        given : int, RandomState or None
            The estimator's `random_state`. None: those of NumPy, shared by all, stay as they are.
        """
        if self.saved is None or self.random is None:
            return rng
        if given is None:
            rng = np.random.RandomState()
        rng.set_state(self.random)
        return rng

    def restore(self, est, trainer, patience, improvement, order):
        """Bring a fit to where the file says that it stands.

        Returns
        -------
        epochs : int
            That are done.
        ended : bool
            Whether there are no more.
        """
        self.patience, self.improvement = patience, improvement
        found = self._restore(est, trainer)
        if found is None:
            return 0, False
        arrays, progress = found
        trainer.set_state([arrays[f"optimizer.{i}"] for i in range(self.n_states)],
                          progress["step"])
        if "best" in arrays:
            improvement.best = np.array(arrays["best"])
        patience.rate = progress["rate"]
        for epoch in range(self.epochs):
            order.next(epoch)
        return self.epochs, progress["ended"] is not None

    def restore_lbfgs(self, est, state):
        """Bring a fit by L-BFGS to where the file says that it stands; what a fit has is done again
        by the `Evaluations`."""
        found = self._restore(est, state.trainer)
        if found is not None:
            arrays, progress = found
            state.history.loss[:] = arrays["loss_curve_"].tolist()
            if state.history.val_loss is not None:
                state.history.val_loss[:] = est.validation_loss_curve_[-self.epochs:]
            if progress["ended"] is not None:
                state.all_done = progress["ended"]

    def _restore(self, est, trainer):
        """Give an estimator what the file has of it; return arrays and progress, or None."""
        if self.saved is None:
            return None
        arrays, progress, _ = self.saved
        self.saved = None
        trainer.parameters[:] = arrays["parameters"]
        for name in CURVES:
            if name in arrays and (name != LOSSES or self.evaluations is None):
                setattr(est, name, arrays[name].tolist())
        for name in (*COUNTS[2:], *NUMBERS[:3]):
            if name in vars(est):
                setattr(est, name, progress[name])
        est.loss_ = progress["loss_"]
        self.epochs = est.n_iter_ = progress["epochs"]
        return arrays, progress

    def _read(self):
        """Return arrays, progress, and the state of the random numbers (None: not of the file)."""
        arrays, settings = self.load(("parameters", "best"))
        progress = from_plain(settings["progress"], list)
        random = None
        try:
            if "random" in arrays:
                random = random_of(arrays["random"], progress["random"])
        except (TypeError, ValueError) as error:
            self.refuse(error)
        return arrays, progress, random

    def _expected(self, settings):
        """Return the arrays of a checkpoint with these settings."""
        if "progress" not in settings:
            raise container.ModelFormatError("is a model, not a checkpoint")
        progress = from_plain(settings["progress"], list)
        fit = self.checked_fit(settings, progress)
        for key, was, now in self.differences(fit, self.fit):
            self.refuse_other(key, was, now)
        if progress.keys() != {*COUNTS, *NUMBERS, *CURVES, "ended", "random"}:
            raise ValueError(f"progress holds {sorted(map(str, progress))}")
        for name in COUNTS:
            if self.evaluations is not None and progress[name] is None:
                continue
            if validation.check_count(name, progress[name], minimum=0) > MAX_COUNT:
                raise ValueError(f"{name}={progress[name]} must be <= {MAX_COUNT}")
        for name in NUMBERS:
            if progress[name] is not None:
                validation.check_real(name, progress[name])
        if progress["ended"] not in ENDS:
            raise ValueError(f"ended={progress['ended']!r}")
        if progress["epochs"] > self.max_iter:
            raise container.ModelFormatError(
                f"is the checkpoint of {progress['epochs']} epochs, this fit has "
                f"max_iter={self.max_iter}: give at least as many, or delete the file to start "
                "anew")
        found = self.flat_arrays(settings)
        if self.early_stopping:
            found["best"] = found["parameters"]
        for name in CURVES:
            if progress[name] is not None:
                found[name] = "float64", (validation.check_count(name, progress[name], minimum=0),)
        if progress["random"] is not None:
            found["random"] = "float64", (STATE_WORDS,)
        if self.evaluations is not None and found.get(LOSSES) != (
                "float64", (progress["epochs"],)):
            raise ValueError(f"{LOSSES} must have a loss for each epoch")
        if (progress["random"] is None) != (fit["random_state"] is not None):
            raise ValueError("random must be there where random_state is no number")
        return found

    # ---- writing ----

    def on_epoch_end(self, state):
        """Write, unless the last time was not long ago."""
        if self.is_due:
            self._write(state, None)

    def on_fit_end(self, state):
        """Write what the epochs since then have done, where the fit has come to its end; after
        Ctrl-C note where it began: it can go on from the file, though the weights are others."""
        ended = state.ended and state.reason != "diverged"
        if (ended or state.reason in ("epochs", "time")) and self.epochs <= state.epoch:
            # whatever words a callback has for it
            self._write(state, (state.reason if state.reason in ENDS else "stopped") if ended
                        else None)
        if state.reason == "interrupted":
            state.model._interrupted_from = self.fit[START]

    def _write(self, state, ended):
        est, trainer = state.model, state.trainer
        self.epochs = state.epoch + 1
        arrays = self.arrays_of(trainer)
        if self.early_stopping:
            arrays["best"] = self.improvement.best
        progress = {"epochs": self.epochs, "step": trainer.step, "ended": ended, "random": None,
                    "rate": None if self.patience is None else self.patience.rate}
        for name in (*COUNTS[2:], *NUMBERS[:3]):
            progress[name] = vars(est).get(name)
        for name in CURVES:
            curve = vars(est).get(name)
            if name == LOSSES and self.evaluations is not None:
                curve = state.history.loss
            progress[name] = None if curve is None else len(curve)
            if curve is not None:
                arrays[name] = np.array(curve, float)
        if self.random is not None:
            arrays["random"], progress["random"] = _random_to_plain(self.random)
        self.replace(arrays, {**self.settings_of(), "progress": to_plain(progress)})


def opened(est, path, seconds, network, optimizer, rng, data, held_out, start, **settings):
    """Return the `Checkpoint` of a fit.

    Parameters
    ----------
    est : estimator
    path : str or path
    seconds : float
        After its check.
    network : MLP
        Of the fit; its weights are not looked at.
    optimizer : Optimizer or None
    rng : RandomState
    data, held_out : tuple (X, target, weight), or None
        After their checks.
    start : str
        `DRAWN`, or the digest of the parameters of a warm start.
    settings : plain values
        What else decides the result.
    """
    fit = described(est)
    schedule = getattr(optimizer, "learning_rate", None)
    if isinstance(schedule, Schedule) and schedule.looks_ahead:
        fit["max_iter of the schedule"] = est.max_iter
    fit |= {
        **settings, "sizes": list(network.sizes), "dtype": network.dtype.name, START: start,
        DATA: rows_digest(*data), HELD_OUT: None if held_out is None else rows_digest(*held_out)}
    return Checkpoint(path, seconds, fit, est, network._layout, optimizer, rng)


def described(est):
    """Return what decides the result of a fit among the parameters of an estimator."""
    number = est.random_state
    fit = {name: _plain(value) for name, value in est.get_params(deep=False).items()
           if name not in FREE and not (name in LATER and is_at_default(name, value))}
    return {**fit, "estimator": type(est).__name__,
            "random_state": int(number) if isinstance(number, (int, np.integer)) else None}


def state_of(rng):
    """Return the state of a `RandomState`, which must be one of MT19937."""
    state = rng.get_state(legacy=False)
    if state["bit_generator"] != "MT19937":
        raise ValueError(f"random_state={state['bit_generator']} must be a number, None or a "
                         "RandomState of MT19937 with a checkpoint")
    return state


def random_to_plain(rng):
    """Return the state of a `RandomState` as an array of 624 numbers, and plain values."""
    return _random_to_plain(state_of(rng))


def _random_to_plain(state):
    words = state["state"]
    return words["key"].astype(float), [words["pos"], state["has_gauss"], state["gauss"]]


def random_of(key, plain):
    """Return the state of a `RandomState` from what `random_to_plain` gave."""
    if not ((key >= 0) & (key < 2**32) & (key == np.floor(key))).all():
        raise ValueError("random holds no words of 32 bits")
    pos, has_gauss, gauss = plain
    state = {"bit_generator": "MT19937", "has_gauss": int(has_gauss), "gauss": float(gauss),
             "state": {"key": key.astype(np.uint32),
                       "pos": validation.check_count("pos", pos, minimum=0)}}
    np.random.RandomState(0).set_state(state)
    return state


def start_of(est, fresh):
    """Return where a fit begins, for `opened`."""
    if fresh:
        return DRAWN
    return vars(est).get("_interrupted_from") or container.digest(
        [], {f"{name}{i}": np.asarray(array) for name in ("coefs_", "intercepts_")
             for i, array in enumerate(getattr(est, name))})


def goes_on_afresh(est, path):
    """Return whether a warm start is the same fit again, interrupted before, that began afresh."""
    return (path is not None and vars(est).get("_interrupted_from") == DRAWN
            and os.path.exists(path))


def _plain(value):
    if isinstance(value, (Optimizer, Schedule)):  # a function has another address each time
        return plain_setting(value)
    try:
        return to_plain(value)
    except TypeError:
        return repr(value) if is_dataclass(value) else f"of type {type(value).__name__}"
