"""Checkpoints of `MLP.fit`: files from which a fit goes on in another process, to the same bytes.

A file (files/container.py) holds the parameters, the state of the optimizer and the losses so far
as arrays, and in its settings

========  =====================================================================================
progress  epochs, step, ended; seed and epochs_before, from which all random numbers follow
fit       what decides the result, and digests of the data: a fit that differs is refused
control   where there are callbacks with a state: their plain values, the shapes of their arrays,
          the factor of the learning rate; why the fit ended
========  =====================================================================================
"""

from dataclasses import dataclass, fields

import numpy as np

from fastnn.core import validation
from fastnn.core.arrays import refuse_masked
from fastnn.core.notices import shown
from fastnn.files import container, plain
from fastnn.network.spec import CustomActivation
from fastnn.training.callbacks import check_files
from fastnn.training.epochs import has_state
from fastnn.training.fit_file import (
    DATA,
    HELD_OUT,
    MAX_COUNT,
    FitFile,
    plain_setting,
    rows_digest,
)
from fastnn.training.optimizers import Optimizer
from fastnn.training.schedules import Schedule

COUNTS = ("epochs", "step", "epochs_before", "seed")
OPTIMIZER = "optimizer"
START = "the network at the start"
ROWS = "rows", "validation_rows"  # of `fit_many`: which of the data
OF_SEVERAL = ("is the checkpoint of several networks, of fit_many or a tabular estimator: choose "
              "another file")


@dataclass
class Progress:
    """Where a fit stands.

    Parameters
    ----------
    seed : int
        Of the network.
    epochs_before : int
        That the network had been trained before this fit.
    parameters : flat array
        Like the states, until the trainer has them.
    epochs, step : int
        Epochs and steps of the optimizer that this fit has done.
    ended : bool
        Whether the callback has ended it.
    states : sequence of flat arrays
        Of the optimizer; none: fresh ones.
    scale : float
        Factor of the learning rate.
    stopped : str or None
        Why it has ended.
    callback_states : list or None
        What each callback's ``get_state`` gave; None for a fresh fit.
    """

    seed: int
    epochs_before: int
    parameters: np.ndarray | None
    epochs: int = 0
    step: int = 0
    ended: bool = False
    states: tuple = ()
    scale: float = 1.0
    stopped: str | None = None
    callback_states: list | None = None

    def plain(self):
        """Return what of it the settings of a file hold."""
        return {name: getattr(self, name) for name in (*COUNTS, "ended")}


class Checkpoint(FitFile):
    """The file of one fit of an `MLP`.

    Parameters
    ----------
    path, seconds, layout, n_states, squares
        See `FitFile`.
    fit : dict
        What decides the result, as `describe_fit` says it.
    epochs : int
        Of the fit: a file of more is another one's, and is not read.
    counted : str, default="epochs"
        What messages call them.
    callbacks : sequence of Callback, default=()
        The states of those that have one are in the file, too.
    origins : sequence of str, default=()
        Digests of the network at the start of the fits with a checkpoint that it comes from: a
        file of one of them is gone on with, though the network has been trained since.
    evaluations : Evaluations or None, default=None
        What L-BFGS is told again.
    """

    digests = (*FitFile.digests, START)

    def __init__(self, path, seconds, fit, layout, n_states, epochs, squares, callbacks=(),
                 origins=(), *, counted="epochs", evaluations=None):
        super().__init__(path, seconds, fit, layout, n_states, squares, evaluations)
        self.epochs, self.counted = epochs, counted
        self.losses = ["loss"] if fit["validation_data"] is None else ["loss", "val_loss"]
        self.losses += ["val_" + name for name in fit.get("metrics", ())]
        check_files(callbacks, self.path)
        self.callbacks, self.origins = callbacks, origins
        self.start, self.goes_back = self.fit[START], False

    def read(self, history):
        """Return the `Progress` of the file, its losses in ``history``; None where there is no
        file.

        Raises
        ------
        ModelFormatError
            When it is no checkpoint, is damaged, or belongs to another fit.
        """
        if not self.is_there:
            return None
        arrays, settings = self.load()
        for name in self.losses:
            if name in history.metrics:
                history.metrics[name] = arrays[name].tolist()
            else:
                setattr(history, name, arrays[name].tolist())
        self.start = self.fit[START] = settings["fit"][START]
        # copies: a mapped file cannot be replaced everywhere
        return Progress(**settings["progress"], parameters=np.array(arrays["parameters"]),
                        states=tuple(np.array(arrays[f"optimizer.{i}"])
                                     for i in range(self.n_states)),
                        **self._control(settings, arrays))

    def _control(self, settings, arrays):
        """Return what `Progress` holds of the callbacks."""
        control = settings.get("control")
        if control is None:
            return {}
        states = []
        for i, saved in enumerate(control["callbacks"]):
            states.append({**plain.from_plain(saved["values"], list),
                           **{key: np.array(arrays[f"callbacks.{i}.{key}"])
                              for key in saved["arrays"]}})
        return {"scale": float(control["learning_rate_scale"]), "stopped": control["stopped"],
                "callback_states": states}

    def _expected(self, settings):
        """Return the arrays of a checkpoint with these settings."""
        if "progress" not in settings:
            raise container.ModelFormatError(OF_SEVERAL if "fits" in settings
                                             else "is a model, not a checkpoint")
        progress = settings["progress"]
        fit = self.checked_fit(settings, progress)
        for key, was, now in self.differences(_named_settings(fit), _named_settings(self.fit)):
            if key == START and was in self.origins:
                self.goes_back = True
                continue
            self.refuse_other(key, was, now, "Make it as for the first fit, or delete"
                              if key == START else "Delete")
        if progress.keys() != {*COUNTS, "ended"}:
            raise ValueError(f"progress holds {sorted(progress)}")
        for name in COUNTS:
            validation.check_count(name, progress[name], minimum=0)
            if progress[name] > MAX_COUNT and name != "seed":
                raise ValueError(f"{name}={progress[name]} must be <= {MAX_COUNT}")
        validation.check_flag("ended", progress["ended"])
        if progress["epochs"] > self.epochs:
            raise container.ModelFormatError(
                f"is the checkpoint of {progress['epochs']} epochs, this fit has "
                f"{self.counted}={self.epochs}: epochs count from the start, not from the "
                "checkpoint, so give at least as many, or delete the file to start anew")
        control = self._check_control(settings.get("control"), progress["epochs"])
        return {**self.flat_arrays(settings),
                **{name: ("float64", (progress["epochs"],)) for name in self.losses},
                **control}

    def _check_control(self, control, epochs):  # noqa: ARG002, others look at the epochs
        """Return the arrays of the callbacks that a checkpoint of so many epochs holds."""
        if control is None:
            if any(map(has_state, self.callbacks)):
                raise ValueError("control is missing")
            return {}
        if not isinstance(control, dict) or control.keys() != {
                "learning_rate_scale", "stopped", "callbacks"}:
            raise ValueError("control must hold learning_rate_scale, stopped and callbacks")
        validation.check_nonnegative("learning_rate_scale", control["learning_rate_scale"])
        if not (control["stopped"] is None or isinstance(control["stopped"], str)):
            raise ValueError("stopped must be a string")
        saved_states = control["callbacks"]
        if not isinstance(saved_states, list) or len(saved_states) != sum(
                map(has_state, self.callbacks)):
            raise ValueError("control must hold the state of each callback that has one")
        found = {}
        for i, saved in enumerate(saved_states):
            if not (isinstance(saved, dict) and isinstance(saved["arrays"], dict)
                    and isinstance(plain.from_plain(saved["values"], list), dict)):
                raise ValueError("the state of a callback must hold values and arrays")
            for key, (dtype, shape) in saved["arrays"].items():
                for n in shape:
                    validation.check_count("shape", n, minimum=0)
                if dtype not in container.FLOATS:  # the length of the file bounds the shape
                    raise ValueError(f"array {key!r} of a callback is {dtype} {shape}")
                found[f"callbacks.{i}.{key}"] = dtype, tuple(shape)
        return found

    def write(self, progress, trainer, history, scale=1.0):
        """Replace the file by one of this progress and of what the trainer holds."""
        progress.step = trainer.step
        arrays = self.arrays_of(trainer)
        for name in self.losses:
            losses = history[name]
            if len(losses) != progress.epochs:
                raise ValueError(
                    f"history.{name} has {len(losses)} entries after {progress.epochs} epochs; "
                    "with a checkpoint the callback must leave them alone")
            arrays[name] = np.array(losses, float)
        settings = {**self.settings_of(), "progress": progress.plain()}
        states = _states(self.callbacks, arrays)
        if states or scale != 1 or progress.stopped not in (None, "stopped"):
            settings["control"] = {"learning_rate_scale": scale, "stopped": progress.stopped,
                                   "callbacks": states}
        self.replace(arrays, settings)


def _states(callbacks, arrays):
    """Return the plain part of the states of the callbacks that have one; their arrays get into
    ``arrays``."""
    states = []
    for callback in callbacks:
        if not has_state(callback):
            continue
        name = type(callback).__name__
        state = callback.get_state()
        if state is None:
            state = {}
        if not isinstance(state, dict):
            raise TypeError(f"{name}.get_state() returned {shown(state)}, must be a dict or None")
        values, shapes = {}, {}
        for key, value in state.items():
            at = f"{name}.get_state()[{shown(key)}]"
            if isinstance(value, np.ndarray) and value.ndim == 0:
                value = value[()]  # files hold no arrays without axes
            if isinstance(value, np.ndarray):
                if value.dtype.name not in container.FLOATS:
                    raise TypeError(f"{at} is an array of {value.dtype}, "
                                    "must be float32 or float64")
                if not isinstance(key, str):
                    raise TypeError(f"{at} is an array, its key must be a string")
                refuse_masked(at, value)
                arrays[f"callbacks.{len(states)}.{key}"] = value
                shapes[key] = [value.dtype.name, list(value.shape)]
            else:
                values[key] = value
        try:
            states.append({"values": plain.to_plain(values), "arrays": shapes})
        except (TypeError, ValueError) as error:
            raise type(error)(f"{name}.get_state(): {error}") from None
    return states


def _describe_callbacks(callbacks):
    """Return what decides the result, of those with a state."""
    found = []
    for callback in callbacks:
        if has_state(callback):
            found.append({"name": type(callback).__name__, **_described(callback)})
    return found


def _described(callback):
    """Return what a callback says of itself; raise where a file would not say the same."""
    said, found = f"{type(callback).__name__}.describe()", callback.describe()
    if not isinstance(found, dict):
        raise TypeError(f"{said} returned {shown(found)}, must be a dict")
    if not isinstance(found.get("name", ""), str):
        raise TypeError(f"{said}['name'] is {shown(found['name'])}, must be a string: it takes the "
                        "place of the name of the class")
    try:
        container.canonical(found)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"{said} must be a dict of numbers, strings, None and lists: "
                        f"{error}") from None
    return found


def describe_fit(net, loss, optimizer, data, validation_data, *, total_steps=None, metrics=(),
                 callbacks=(), digest=rows_digest, **settings):
    """Return what decides the result of a fit: plain values, and digests of arrays.

    Threads and who computes the products are left out, the number of epochs too. A network without
    a ``random_state`` starts elsewhere each time: then the file decides, unless the network holds
    weights that it was given, or has been trained for another number of epochs.

    Parameters
    ----------
    net : MLP
    loss : str or dict
        As `bound_losses.describe` says it.
    optimizer : Optimizer
        A learning rate that is a function is not compared.
    data, validation_data : tuple (X, y, sample_weight), or None
        As the fit has them after its checks.
    total_steps : int or None, default=None
        Of the whole fit; it decides where a schedule looks ahead.
    metrics : sequence of str, default=()
    callbacks : sequence of Callback, default=()
        Those without a state decide nothing.
    digest : callable
        As `rows_digest`.
    settings : plain values
    """
    found = {
        **settings, "sizes": net.sizes,
        "activation": _without_functions(net.activations), "output": net.output,
        "dtype": net.dtype.name, "dropout": net.dropout, "loss": loss,
        "random_state": net._seed if net._seeded else None,
        # by itself: a field of an optimizer may have the name of another setting
        OPTIMIZER: plain_setting(optimizer),
        START: _start(net),
    }
    if not net.spec.is_chain:
        found["network"] = _without_functions(net.spec.to_plain())
    # what is not used is not there, as in files of before
    schedule = getattr(optimizer, "learning_rate", None)
    if isinstance(schedule, Schedule) and schedule.looks_ahead:
        found["steps of the schedule"] = total_steps
    if metrics:
        found["metrics"] = list(metrics)
    described = _describe_callbacks(callbacks)
    if described:
        found["callbacks"] = described
    for name, rows in ((DATA, data), (HELD_OUT, validation_data)):
        found[name] = None if rows is None else digest(*rows)
    return found


def _without_functions(value):
    """Return plain values with names in the place of Python functions."""
    if isinstance(value, CustomActivation):
        return {"custom": value.name}
    if isinstance(value, dict):
        return {key: _without_functions(own) for key, own in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_functions(own) for own in value]
    return value


def _named_settings(fit):
    """Return the settings of a description one by one, those of the optimizer as its own.

    Files of version 0.1.0 hold them among the others, and its name as a string.
    """
    optimizer = fit.get(OPTIMIZER)
    if not isinstance(optimizer, dict):
        own = {field.name for kind in Optimizer.__subclasses__() if kind.name == optimizer
               for field in fields(kind)}
        fit = {**fit, OPTIMIZER: {"name": optimizer, **{
            name: value for name, value in fit.items() if name in own}}}
        fit = {name: value for name, value in fit.items() if name not in own}
    found = {name: value for name, value in fit.items() if name not in (OPTIMIZER, "callbacks")}
    for name, value in fit[OPTIMIZER].items():
        found[OPTIMIZER if name == "name" else f"{OPTIMIZER}.{name}"] = value
    callbacks = fit.get("callbacks", [])
    if not (isinstance(callbacks, list) and all(
            isinstance(callback, dict) and isinstance(callback.get("name"), str)
            for callback in callbacks)):
        raise ValueError("callbacks must be a list of settings")
    for callback in callbacks:
        name = kind = callback["name"]
        count = 1
        while name in found:  # a second one of its kind
            count += 1
            name = f"{kind} {count}"
        found[name] = "there"
        for key, value in callback.items():
            if key != "name":
                found[f"{name}.{key}"] = value
    return found


def _start(net):
    arrays = {"parameters": net.parameters}
    if not net._seeded and (net._epochs_done or np.array_equal(net.parameters, net._drawn())):
        arrays = {}  # drawn at random, or trained from there
    return container.digest([net._epochs_done], arrays)
