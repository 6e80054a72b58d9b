"""Callbacks that tell others how a fit goes: a table, TensorBoard, MLflow, Optuna."""

from __future__ import annotations

import csv
import os
from typing import TYPE_CHECKING

from fastnn.core import validation
from fastnn.core.notices import shown, suggests
from fastnn.files import container
from fastnn.training.epochs import Callback
from fastnn.training.stopping import check_monitor

if TYPE_CHECKING:
    from typing import Any

    from fastnn.core.types import File
    from fastnn.training.epochs import FitState

__all__ = ["CSVLogger", "MLflowLogger", "OptunaPruning", "TensorBoard"]


def last_values(history):
    """Return the last entry of each curve, by name."""
    return {name: history[name][-1] for name in history.names}


@suggests
class CSVLogger(Callback):
    """Writes the history to a CSV file, a line for each epoch as soon as it ends.

    A file that is there is replaced. A fit that goes on from a checkpoint writes the epochs of
    before first.

    Parameters
    ----------
    path : str or path
        Of the file to write.
    separator : str, default=","
        One character.
    """

    def __init__(self, path: File, separator: str = ",") -> None:
        if not isinstance(separator, str) or len(separator) != 1:
            raise ValueError(f"separator={shown(separator)} must be one character")
        self.path = os.path.abspath(validation.check_path("path", path))
        self.separator = separator
        self._file: Any = None
        self._writer: Any = None

    @property
    def _written_files(self):
        return [self.path]

    def on_fit_begin(self, state: FitState) -> None:
        """Open the file; write its head."""
        history = state.history
        self._close()
        container.check_place(self.path)
        self._file = open(os.fsdecode(self.path), "w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file, delimiter=self.separator, lineterminator="\n")
        self._writer.writerow(["epoch", *history.names])
        for epoch in range(state.epoch + 1):
            self._writer.writerow([epoch, *(repr(history[name][epoch]) for name in history.names)])
        self._file.flush()

    def on_epoch_end(self, state: FitState) -> None:
        """Write a line."""
        self._writer.writerow([state.epoch, *map(repr, last_values(state.history).values())])
        self._file.flush()

    def on_fit_end(self, state: FitState) -> None:
        """Close the file."""
        self._close()

    def _close(self):
        file, self._file, self._writer = self._file, None, None
        if file is not None:
            file.close()


@suggests
class TensorBoard(Callback):
    """Writes the curves and the learning rate for TensorBoard.

    Parameters
    ----------
    folder : str or path
        Of this run.

    Raises
    ------
    ImportError
        Without the package tensorboard, and torch or tensorboardX, which write its files.
    """

    def __init__(self, folder: File) -> None:
        self.folder = validation.check_path("folder", folder)
        self._open = _summary_writer()
        self._writer: Any = None

    def on_fit_begin(self, state: FitState) -> None:
        """Open the files."""
        self._writer = self._open(self.folder)

    def on_epoch_end(self, state: FitState) -> None:
        """Write the values."""
        for name, value in last_values(state.history).items():
            self._writer.add_scalar(name, value, state.epoch)
        if state.learning_rate is not None:
            self._writer.add_scalar("learning_rate", state.learning_rate, state.epoch)
        self._writer.flush()

    def on_fit_end(self, state: FitState) -> None:
        """Close the files."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()


def _summary_writer():
    """Return a class that writes TensorBoard's files."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise ImportError("TensorBoard needs the package tensorboard and torch, or "
                              "tensorboardX: pip install tensorboardX") from None
    return SummaryWriter


@suggests
class MLflowLogger(Callback):
    """Logs the curves and the learning rate to the active run of MLflow; without one to a new run.

    Parameters
    ----------
    prefix : str, default=""
        Comes before the names of the metrics.

    Raises
    ------
    ImportError
        Without MLflow.
    """

    def __init__(self, prefix: str = "") -> None:
        try:
            import mlflow
        except ImportError:
            raise ImportError("MLflowLogger needs MLflow: pip install mlflow") from None
        self.prefix, self._mlflow = prefix, mlflow
        self._own = False

    def on_fit_begin(self, state: FitState) -> None:
        """Begin a run where none is active."""
        self._own = self._mlflow.active_run() is None
        if self._own:
            self._mlflow.start_run()

    def on_epoch_end(self, state: FitState) -> None:
        """Log the values; MLflow numbers them by epoch."""
        values = last_values(state.history)
        if state.learning_rate is not None:
            values["learning_rate"] = state.learning_rate
        self._mlflow.log_metrics({self.prefix + name: value for name, value in values.items()},
                                 step=state.epoch)

    def on_fit_end(self, state: FitState) -> None:
        """End the run that was begun here."""
        if self._own:
            self._own = False
            failed = state.reason in ("failed", "interrupted")
            self._mlflow.end_run("KILLED" if failed else "FINISHED")


@suggests
class OptunaPruning(Callback):
    """Reports a curve to a trial of Optuna, and gives the trial up where Optuna says so.

    The fit then raises ``optuna.TrialPruned``; the network stays at the last whole epoch. The
    curve must go the way that the study's direction says: losses down.

    Parameters
    ----------
    trial : optuna.trial.Trial
        The trial that this fit belongs to.
    monitor : str, default="val_loss"
        Name of a curve of the history.
    every : int, default=1
        Epochs from one report to the next.
    """

    def __init__(self, trial: Any, monitor: str = "val_loss", every: int = 1) -> None:
        for method in ("report", "should_prune"):
            if not callable(getattr(trial, method, None)):
                raise TypeError(f"trial={shown(trial)} must be a trial of Optuna")
        if not isinstance(monitor, str):
            raise TypeError(f"monitor={shown(monitor)} must be the name of a curve")
        self.trial, self.monitor = trial, monitor
        self.every = validation.check_count("every", every)

    def on_fit_begin(self, state: FitState) -> None:
        """Look for the curve."""
        validation.check_count("every", self.every)  # it may have been set since
        check_monitor(state.history, self.monitor)

    def on_epoch_end(self, state: FitState) -> None:
        """Report, and ask."""
        if (state.epoch + 1) % self.every:
            return
        self.trial.report(state.history[self.monitor][-1], state.epoch)
        if self.trial.should_prune():
            import optuna  # is there: the trial is its own

            raise optuna.TrialPruned(
                f"{self.monitor}={state.history[self.monitor][-1]:.6g} after epoch {state.epoch}")
