"""What the checkpoints of `MLP.fit` and of the estimators share: the file of one fit."""

import json
import os
import time
from dataclasses import fields
from numbers import Real
from typing import ClassVar

import numpy as np

from fastnn.core import validation
from fastnn.core.arrays import check_finite
from fastnn.core.codes import is_codes
from fastnn.core.notices import shorten
from fastnn.files import container
from fastnn.training.optimizer_base import Optimizer, WholeFit
from fastnn.training.schedules import Schedule

__all__ = ["DATA", "FILE_BYTES", "HELD_OUT", "MAX_COUNT", "Compared", "FitFile", "checked_path",
           "plain_setting", "rows_digest"]

DATA, HELD_OUT = "X, y or sample_weight", "validation_data"
MAX_COUNT = 1 << 48  # beyond any fit
FILE_BYTES = 1 << 62  # as many as the network needs: each array is checked against it
# fields of optimizers that version 0.1.0 did not know: not written at these defaults
ADDED = {"layers": None, "amsgrad": False}


class Compared:
    """Compares what a file says of its fit with the fit that is to go on."""

    # settings of the fit that say no more than whether they are the same
    digests: ClassVar[tuple[str, ...]] = (DATA, HELD_OUT)

    def differences(self, then, now):
        """Return (key, what it was, what it is) of settings that differ, digests last. The kind of
        optimizer comes first: other settings may be there for its sake alone."""
        found = []
        for key in sorted(then.keys() | now.keys(),
                          key=lambda key: (key in self.digests, key != "optimizer", key)):
            if then.get(key) != now.get(key):
                found.append((key, then.get(key), now.get(key)))
        return found

    def refuse_other(self, key, was, now, remedy="Delete", of=""):
        """Raise: the file is that of another fit.

        Parameters
        ----------
        key : str
            The setting that differs.
        was, now : plain values
        remedy : str, default="Delete"
            What to do, before "the file".
        of : str, default=""
            What the setting belongs to, before its name.
        """
        other = f"{shorten(repr(was))}, is {shorten(repr(now))} now"
        if key in self.digests:
            other = "another one" if was and now else "given" if was else "not given"
        raise container.ModelFormatError(f"is the checkpoint of another fit: {of}{key} was {other}."
                                         f" {remedy} the file to start anew")


class FitFile(Compared):
    """The file of one fit.

    Parameters
    ----------
    path : str or path
        Where it is now: a callback may change the folder, or where a link leads.
    seconds : float
        Time between two writes at least.
    fit : dict
        What decides the result: plain values, and digests of arrays.
    layout : ParameterLayout
    n_states : int
        Flat vectors of the optimizer.
    squares : sequence of int
        Which of them are sums of squares.
    evaluations : Evaluations or None, default=None
        Of a fit that a minimiser runs.
    """

    def __init__(self, path, seconds, fit, layout, n_states, squares, evaluations=None):
        self.path = self._checked(path)
        self.seconds, self.layout = seconds, layout
        self.fit = json.loads(container.canonical(fit))
        self.n_states, self.squares, self.evaluations = n_states, squares, evaluations
        self.written = time.monotonic()

    def _checked(self, path):
        """Return the path of the file, or raise."""
        return checked_path(path)

    @property
    def is_due(self):
        """Whether the last write was long enough ago."""
        return time.monotonic() - self.written >= self.seconds

    @property
    def is_there(self):
        """Whether there is something to go on from."""
        return self.path.exists()

    # ---- reading ----

    def load(self, flat=("parameters",)):
        """Return arrays and settings of the file. Raise where numbers cannot be those of a fit; a
        sum of squares may be infinite.

        Parameters
        ----------
        flat : sequence of str, default=("parameters",)
            Names of the arrays that hold parameters; others than the first may be missing.
        """
        arrays, settings = self._read_file()
        try:
            for name in flat:
                if name in arrays:
                    check_finite(name, arrays[name], self.layout.dtype)
            for i in range(self.n_states):
                name = f"optimizer.{i}"
                if name not in arrays:
                    continue  # of a fit that has not begun
                if np.isnan(arrays[name]).any():
                    raise ValueError(f"{name} contains NaN")
                if i in self.squares and (arrays[name] < 0).any():
                    raise ValueError(f"{name} holds sums of squares, the least is "
                                     f"{arrays[name].min():g}")
        except ValueError as error:
            self.refuse(error)
        if self.evaluations is not None:
            self.evaluations.take(arrays)
        return arrays, settings

    def _read_file(self):
        """Return arrays and settings as they are in the file."""
        return container.read(self.path, self._expected, FILE_BYTES, "checkpoint")[:2]

    def refuse(self, error):
        """Raise: this file is no fit's."""
        raise container.ModelFormatError(
            f"{os.fspath(self.path)!r} cannot be gone on with: {error}") from None

    def _expected(self, settings):
        """Return the arrays of a checkpoint with these settings, by name; see `container.read`."""
        raise NotImplementedError

    def checked_fit(self, settings, progress):
        """Return what a file says of its fit; raise unless that and its progress are dicts."""
        fit = settings["fit"]
        if not isinstance(fit, dict) or not isinstance(progress, dict):
            raise ValueError("fit and progress must be dictionaries")
        return fit

    def flat_arrays(self, settings):
        """Return the arrays of every checkpoint of these settings, by name, with dtype and
        shape."""
        flat = self.layout.dtype.name, (self.layout.size,)
        found = {"parameters": flat, **{f"optimizer.{i}": flat for i in range(self.n_states)}}
        if self.evaluations is not None:
            found |= self.evaluations.expected(settings["evaluations"])
        return found

    # ---- writing ----

    def arrays_of(self, trainer):
        """Return the arrays of every checkpoint, by name, as the trainer has them."""
        # No closure, which a comprehension is too: where it fails for lack of memory, CPython 3.11
        # never lets go of the arguments.
        arrays = {"parameters": trainer.parameters}
        for i, state in enumerate(trainer.optimizer_state):
            arrays[f"optimizer.{i}"] = state
        if self.evaluations is not None:
            arrays |= self.evaluations.arrays()
        return arrays

    def settings_of(self):
        """Return the settings that go with those arrays."""
        if self.evaluations is None:
            return {"fit": self.fit}
        return {"fit": self.fit, "evaluations": len(self.evaluations.losses)}

    def replace(self, arrays, settings):
        """Write the file anew."""
        container.write(self.path, arrays, settings, needs=self.layout.spec.needs,
                        max_bytes=FILE_BYTES)
        self.written = time.monotonic()


def checked_path(path):
    """Return where a checkpoint is to be; raise where no file can be written."""
    path = validation.check_path("checkpoint", path, ", such as 'fit.checkpoint': the file that "
                                                     "keeps where the fit stands")
    path = container.check_place(os.path.realpath(path))
    _try_folder(path)
    return path


def _try_folder(path):
    """Raise now what a write would raise after an epoch: that it is not allowed, or read-only."""
    temporary = container.temporary_beside(path)
    try:
        try:
            # not by tempfile: Ctrl-C between its opening and its file object loses a descriptor
            open(temporary, "xb").close()
            temporary.unlink()
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None


def plain_setting(value):
    """Return an optimizer, a schedule or another setting as plain values; functions by that they
    are functions."""
    if isinstance(value, Optimizer):
        found = {"name": value.name}
        for field in fields(value):
            own = getattr(value, field.name)
            if field.init and (field.name not in ADDED or own != ADDED[field.name]):
                found[field.name] = plain_setting(own)
        return found
    if isinstance(value, WholeFit):
        return value.describe()
    if isinstance(value, dict):
        return {str(key): plain_setting(own) for key, own in value.items()}
    if value is None or isinstance(value, (str, bool, np.bool_)):
        return bool(value) if isinstance(value, np.bool_) else value
    if isinstance(value, Real):
        value = float(value)
        return value if np.isfinite(value) else str(value)
    if isinstance(value, Schedule):
        return value.describe()
    return "a function" if callable(value) else f"of type {type(value).__name__}"


def rows_digest(X, y, sample_weight):
    """Return a digest of rows, as the checks of a fit give them."""
    arrays = {"y": y}
    if isinstance(X, np.ndarray):
        arrays["X"] = X
    else:
        arrays |= {"X.data": X.data, "X.indices": X.indices, "X.indptr": X.indptr}
        if is_codes(X):
            arrays["X.adds"] = X.adds
    if sample_weight is not None:
        arrays["sample_weight"] = sample_weight
    return container.digest([], arrays)
