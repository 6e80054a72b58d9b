"""`Ensemble`: the networks that a recipe has trained."""

from typing import Any, NamedTuple

import numpy as np

from fastnn.core.threads import resolve_threads
from fastnn.prediction._forward import Snapshot
from fastnn.prediction._outputs import RowOutputs, add_outputs

__all__ = ["Ensemble", "Part"]

CHUNK = 1 << 14  # rows whose codes are there at a time in a prediction
FEW = 64  # rows up to which the sums of rows of W that codes look up are kept, not made anew


class Part(NamedTuple):
    """Networks that read the same encoding.

    Attributes
    ----------
    encoding : Encoding
    networks : list of MLP
    """

    encoding: Any
    networks: list


class Ensemble:
    """Networks whose outputs are averaged.

    Parameters
    ----------
    parts : list of Part
    weights : sequence of float or None, default=None
        Of all networks, in the order of the parts; None: all count alike.
    constant : array (n_out,) or None, default=None
        The outputs of every row, where there is nothing to learn and no network.
    held_out : float64 array (n_rows, n_out) or None, default=None
        Outputs of the rows of training by networks that have not learned from them; rows of NaN
        where there is none. It is no part of what is saved.
    folds : list of int array or None, default=None
        Of each network the rows of training that it has not learned from.
    notes : list of str, default=()
        What the user should know.
    """

    def __init__(self, parts, weights=None, *, constant=None, held_out=None, folds=None, notes=()):
        self.parts = [Part(*part) for part in parts]
        n = sum(len(part.networks) for part in self.parts)
        weights = np.ones(n) if weights is None else np.asarray(weights, float)
        self.weights = weights / weights.sum() if n else weights
        self.constant = None if constant is None else np.asarray(constant, float)
        self.held_out, self.folds, self.notes = held_out, folds, list(notes)
        self.n_out = self.networks[0].sizes[-1] if self.parts else len(self.constant)
        self._serving = self._row = None

    def __getstate__(self):  # compiled; made again when they are needed
        return {**vars(self), "_serving": None, "_row": None}

    @property
    def networks(self):
        """All networks, in order."""
        return [net for part in self.parts for net in part.networks]

    def _served(self):
        """Return for each part its encoding, its networks as they stay, and their weights."""
        if self._serving is None:
            found, at = [], 0
            for part in self.parts:
                snapshots = []
                for net in part.networks:
                    one = Snapshot(net._layout, net._layout.copy(net.parameters))
                    one.keep_table(part.encoding.adds)
                    snapshots.append(one)
                own = self.weights[at:at + len(snapshots)].copy()
                at += len(snapshots)
                found.append((part.encoding, tuple(snapshots), own))
            self._serving = found
        return self._serving

    def _of_row(self):
        """Return for each part its encoding and its `RowOutputs`; an empty list where there are
        layers that these do not have."""
        if self._row is None:
            found, at = [], 0
            for encoding, nets in self.parts:
                own = self.weights[at:at + len(nets)]
                at += len(nets)
                if not RowOutputs.takes(nets):
                    found = []
                    break
                found.append((encoding, RowOutputs(nets, own, encoding.adds)))
            self._row = found
        return self._row

    def outputs(self, inputs, n_threads=None):
        """Return the mean outputs of rows, float64 (n_rows, n_out).

        Parameters
        ----------
        inputs : Inputs
        n_threads : int or None, default=None
            Not more threads than this. The result does not depend on it.
        """
        n = len(inputs)
        if not self.parts:
            return np.tile(self.constant, (n, 1))
        found = np.zeros((n, self.n_out))
        if n == 1 and self._of_row():
            for encoding, row in self._row:
                row.add(*encoding.entries(inputs), found)
            return found
        if n <= FEW:
            threads = 1 if n == 1 else resolve_threads(n_threads)
            for encoding, snapshots, weights in self._served():
                add_outputs(snapshots, weights, encoding.transform(inputs), found, threads)
            return found
        for start in range(0, n, CHUNK):
            some = inputs if n <= CHUNK else inputs[start:start + CHUNK]
            at = 0
            for part in self.parts:
                codes = part.encoding.transform(some, n_threads=n_threads)
                for net in part.networks:
                    net.n_threads = n_threads
                    found[start:start + CHUNK] += self.weights[at] * net.predict(codes)
                    at += 1
        return found
