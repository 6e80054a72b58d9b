"""Callbacks that keep parameters: in files, or as the path that training takes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from fastnn.core import validation
from fastnn.core.notices import suggests
from fastnn.training.epochs import Callback, check_state
from fastnn.training.stopping import Monitor, check_mode, check_name_of_curve, setting

if TYPE_CHECKING:
    from typing import Any, Literal

    from fastnn.core.types import Array, File
    from fastnn.training.epochs import FitState

__all__ = ["RecordPath", "Snapshots"]


def _check_monitor_or_none(name, value):
    return value if value is None else check_name_of_curve(name, value)


@suggests
class Snapshots(Callback):
    """Writes the network to files: the best one and the last one.

    ``best.safetensors`` after each epoch that is the best so far, ``last.safetensors`` after each
    epoch, both whole at any moment; `fastnn.load` reads them. To go on with a fit see
    ``checkpoint`` of `MLP.fit`.

    Parameters
    ----------
    folder : str or path
        Is made where it is not there.
    monitor : str or None, default="val_loss"
        Name of a curve of the history; None: the last one alone.
    min_delta : float, default=0.0
        By how much a value must be better than the best one.
    mode : {"min", "max"} or None, default=None
        As in `EarlyStopping`.

    Attributes
    ----------
    best_path, last_path : str
    """

    monitor, mode = setting(_check_monitor_or_none), setting(check_mode)
    min_delta = setting(validation.check_nonnegative)

    def __init__(self, folder: File, monitor: str | None = "val_loss", min_delta: float = 0.0, *,
                 mode: Literal["min", "max"] | None = None) -> None:
        # a callback may change the folder of the process
        self.folder = os.path.abspath(validation.check_path("folder", folder))
        self.monitor, self.mode, self.min_delta = monitor, mode, min_delta
        self._monitor = self._new_monitor()
        self.best_path = os.path.join(self.folder, "best.safetensors")
        self.last_path = os.path.join(self.folder, "last.safetensors")

    def _new_monitor(self):
        if self.monitor is None:
            return None
        return Monitor(self.monitor, self.mode, self.min_delta)

    @property
    def _written_files(self):
        return [self.last_path, *[self.best_path] * (self.monitor is not None)]

    def on_fit_begin(self, state: FitState) -> None:
        """Make the folder."""
        self._monitor = self._new_monitor()
        if self._monitor is not None:
            self._monitor.begin(state.history)
        os.makedirs(self.folder, exist_ok=True)

    def on_epoch_end(self, state: FitState) -> None:
        """Write."""
        state.net.save(self.last_path)
        if self._monitor is not None and self._monitor.improves(state):
            state.net.save(self.best_path)

    def get_state(self) -> dict[str, Any]:
        """Return the best value and its epoch."""
        return {} if self._monitor is None else self._monitor.get_state()

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        if self._monitor is None:
            check_state(state)
        else:
            self._monitor.set_state(state)


@suggests
class RecordPath(Callback):
    """Keeps the parameters at the start and after each epoch: the path over the loss surface.

    Parameters
    ----------
    every : int, default=1
        Epochs from one to the next.

    Attributes
    ----------
    path : array (n_kept, n_parameters + gaps)
        Flat vectors in the layout of ``net.parameters``.
    epochs : list of int
        The epoch before each of them; -1 for the start.
    """

    every = setting(validation.check_count)

    def __init__(self, every: int = 1) -> None:
        self.every = every
        self.epochs: list[int] = []
        self._kept: list[Array] = []

    @property
    def path(self) -> Array:
        """The parameters, a row each."""
        return np.array(self._kept)

    def on_fit_begin(self, state: FitState) -> None:
        """Keep the start."""
        self.epochs, self._kept = [state.epoch], [state.parameters.copy()]

    def on_epoch_end(self, state: FitState) -> None:
        """Keep the parameters."""
        if (state.epoch + 1) % self.every == 0:
            self.epochs.append(state.epoch)
            self._kept.append(state.parameters.copy())

    def describe(self) -> dict[str, Any]:
        """Return what decides which are kept."""
        return {"every": self.every}

    def get_state(self) -> dict[str, Any]:
        """Return the path."""
        # an array: the settings of a file have room for some values only
        return {"epochs": np.array(self.epochs, float), "path": self.path}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        epochs, shape = state.get("epochs", ()), self.path.shape
        if isinstance(epochs, np.ndarray) and epochs.ndim == 1:  # files of before have a list
            epochs = [int(epoch) if epoch == epoch // 1 else epoch for epoch in epochs.tolist()]
        check_state({**state, "epochs": epochs},
                    epochs=lambda value: isinstance(value, list) and all(
                        isinstance(epoch, int) and epoch >= -1 for epoch in value),
                    path=lambda value: isinstance(value, np.ndarray)
                    and isinstance(epochs, list) and value.shape == (len(epochs), shape[1]))
        self.epochs, self._kept = epochs, list(state["path"])
