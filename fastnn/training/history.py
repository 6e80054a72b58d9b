"""What a fit leaves behind: its losses, and the warning of a fit that left the finite numbers; how
a callback ends it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fastnn.core.imports import imported

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any



class DivergenceWarning(RuntimeWarning):
    """Training left the finite numbers; the last finite weights were kept."""


class StopFit(Exception):
    """Raised by a callback of `MLP.fit`: the fit ends after this epoch and returns its history.

    Its text, where there is one, becomes ``history.stopped``.

    Examples
    --------
    >>> import fastnn
    >>> def callback(epoch, net, history):
    ...     if history.loss[-1] < 0.01:
    ...         raise fastnn.StopFit
    """


class History:
    """What a fit saw, epoch by epoch.

    ``history["val_accuracy"]`` and ``history.val_accuracy`` are a curve; ``history.to_frame()`` is
    a table of all.

    Parameters
    ----------
    validates : bool, default=False
        Whether there is validation data.
    metrics : sequence of str, default=()
        Names of the metrics: "val_accuracy".
    scores : sequence of str, default=()
        Those of them that scikit-learn's scorers fill: more is better.

    Attributes
    ----------
    loss : list of float
        Mean training loss of each epoch, the L2 term included.
    val_loss : list of float or None
        Loss on the validation data after each epoch, without the L2 term; NaN after an epoch that
        diverged.
    metrics : dict of str to list of float
        Metrics on the validation data after each epoch; NaN as above.
    stopped : str or None
        Why the fit ended, see `FitState`; None while it runs.
    """

    def __init__(self, validates: bool = False, metrics: Sequence[str] = (),
                 scores: Sequence[str] = ()) -> None:
        self.loss: list[float] = []
        self.val_loss: list[float] | None = [] if validates else None
        self.metrics: dict[str, list[float]] = {}
        for name in metrics:
            self.metrics[name] = []
        self.scores = tuple(scores)
        self.stopped: str | None = None

    def __repr__(self):
        last = f", loss={self.loss[-1]:.6g}" if self.loss else ""
        return f"<History of {len(self.loss)} epochs{last}>"

    @property
    def names(self) -> list[str]:
        """Names of the curves: "loss", "val_loss", ..."""
        names = ["loss"]
        if self.val_loss is not None:
            names.append("val_loss")
        names.extend(self.metrics)
        return names

    def __getitem__(self, name: str) -> list[float]:
        if name in ("loss", "val_loss"):
            found = getattr(self, name)
        else:
            found = self.metrics.get(name)
        if found is None:
            hint = imported("fastnn.core.words").did_you_mean(str(name), self.names)
            if name == "val_loss":
                hint = ": it is there where the fit has validation_data"
            raise KeyError(f"{name!r} is not in the history, which has {', '.join(self.names)}"
                           f"{hint}")
        return found

    def __getattr__(self, name: str) -> Any:
        # only what is no attribute gets here; a copy that is being made has no metrics yet
        metrics = self.__dict__.get("metrics")
        if isinstance(metrics, dict) and name in metrics:
            return metrics[name]
        if name in ("metrics", "scores", "stopped"):  # of a pickle from before there were any
            return {"metrics": {}, "scores": (), "stopped": None}[name]
        hint = ""
        if isinstance(metrics, dict) and not name.startswith("_"):
            hint = imported("fastnn.core.words").did_you_mean(name, self.names)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}")

    def to_frame(self) -> Any:
        """Return a table: a row for each epoch (its index, from 0), a column for each curve.

        Returns
        -------
        pandas.DataFrame
            NaN where a curve is shorter, as after an error.

        Raises
        ------
        ImportError
            Without pandas.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError("History.to_frame needs pandas: pip install pandas") from error
        columns, n_epochs = {}, len(self.loss)
        for name in self.names:
            curve = self[name][:n_epochs]
            columns[name] = [*curve, *[math.nan] * (n_epochs - len(curve))]
        return pandas.DataFrame(columns, index=pandas.RangeIndex(n_epochs, name="epoch"))

    def plot(self, ax: Any = None, *, names: Sequence[str] | None = None,
             log: bool | None = None) -> Any:
        """Draw the curves; needs matplotlib.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None, default=None
            None: of a new figure.
        names : sequence of str or None, default=None
            Which curves; None: the losses, or all where all are wanted: ``history.names``.
        log : bool or None, default=None
            Whether the axis of values is logarithmic; None: where all values are above 0 and the
            largest is more than twenty times the least.

        Returns
        -------
        matplotlib.axes.Axes
            Its x axis counts epochs from 1.

        Raises
        ------
        ImportError
            Without matplotlib.
        KeyError
            When there is no such curve.
        """
        drawing = imported("fastnn.drawing")
        if isinstance(names, str):
            names = [names]
        names = self._losses() if names is None else list(names)
        chosen = {name: self[name] for name in names}
        ax = drawing.new_axes(ax, "History.plot")
        finite = [value for curve in chosen.values() for value in curve if math.isfinite(value)]
        for name, curve in chosen.items():
            ax.plot(range(1, len(curve) + 1), curve, label=name)
        if log is None:
            log = bool(finite) and min(finite) > 0 and (
                max(finite) > drawing.WIDE * min(finite))
        ax.set(xlabel="epoch", ylabel=names[0] if len(names) == 1 else "loss"
               if set(names) <= {"loss", "val_loss"} else None,
               yscale="log" if log else "linear")
        if len(names) > 1:
            ax.legend()
        return ax

    def _losses(self):
        return ["loss"] if self.val_loss is None else ["loss", "val_loss"]

    def _repr_html_(self):
        """Return the curves as a drawing and their values as a table, for notebooks."""
        drawing = imported("fastnn.drawing")
        rows = []
        for name in self.names:
            curve, better = self[name], max if name in self.scores else min
            finite = [value for value in curve if math.isfinite(value)]
            if not finite:
                continue
            best = better(finite)
            known = name in self.scores or name in ("loss", "val_loss")
            rows.append([name, f"{curve[-1]:.5g}",
                         *((f"{best:.5g}", curve.index(best) + 1) if known else ("", ""))])
        parts = [drawing.curves({name: self[name] for name in self._losses()})]
        if self.metrics:
            parts.append(drawing.curves(self.metrics))
        if rows:
            parts.append(drawing.table(("curve", "last", "best", "epoch of it"), rows))
        ended = "" if self.stopped in (None, "epochs") else f", ended: {self.stopped}"
        return drawing.page(f"History of {len(self.loss):,} epochs{ended}", *parts)
