"""Numbers and categories of a schema as look-up `Codes`."""

import numpy as np

from fastnn.core.codes import Codes
from fastnn.encoders import greedy_edges

__all__ = ["Encoding"]


class Encoding:
    """From `Inputs` of a schema to `Codes`.

    A number becomes a piecewise-linear encoding over greedy bins (see `fastnn.encoders`), with an
    input of its own for missing ones; a category is one-hot, with inputs of their own for unknown
    and missing ones.

    Attributes
    ----------
    edges : list of float64 array
        Of the bins of each column of numbers; fewer than two where there is nothing to cut.
    sizes : list of int
        Of each column of categories, how many there are.
    n_inputs : int
        Inputs of the dense encoding: what a network has.
    """

    def __init__(self, edges, sizes):
        self.edges = [np.asarray(one, float) for one in edges]
        self.sizes = [int(size) for size in sizes]
        widths = [max(len(one), 1) for one in self.edges] + [size + 2 for size in self.sizes]
        self.firsts = np.concatenate([[0], np.cumsum(widths)]).astype(np.int64)
        self.n_inputs = int(self.firsts[-1])
        self.adds = np.zeros(self.n_inputs, np.uint8)
        for one, first in zip(self.edges, self.firsts, strict=False):
            self.adds[first + 1:first + max(len(one), 1) - 1] = 1
        self.adds.flags.writeable = False

    @classmethod
    def fit(cls, inputs, sizes, *, bins=64):
        """Return the encoding that the rows of ``inputs`` suggest.

        Parameters
        ----------
        inputs : Inputs
        sizes : sequence of int
            Number of categories of each column of codes: those beyond are unknown and missing.
        bins : int, default=64
        """
        edges = []
        for column in inputs.numbers.T:
            x = column[np.isfinite(column)]
            found = greedy_edges(x, bins) if len(x) else x
            edges.append(found if len(found) > 1 else found[:0])
        return cls(edges, sizes)

    def transform(self, inputs, dtype="float32"):
        """Return the `Codes` of rows: two entries for a number, one for a category."""
        p, q = len(self.edges), len(self.sizes)
        n = len(inputs.numbers)
        rows = np.empty((n, 2 * p + q), np.int32)
        values = np.ones((n, 2 * p + q), dtype)
        for j, edges in enumerate(self.edges):
            x, first = inputs.numbers[:, j], self.firsts[j]
            missing = np.isnan(x)
            if len(edges) < 2:
                rows[:, 2 * j] = rows[:, 2 * j + 1] = first
                values[:, 2 * j], values[:, 2 * j + 1] = 0, missing
                continue
            known = np.where(missing, edges[0], x)
            k = np.clip(np.searchsorted(edges, known, "right") - 1, 0, len(edges) - 2)
            with np.errstate(over="ignore"):
                fraction = np.clip((known - edges[k]) / (edges[k + 1] - edges[k]), 0, 1)
            rows[:, 2 * j] = first + np.maximum(k - 1, 0)
            rows[:, 2 * j + 1] = first + np.where(missing, len(edges) - 1, k)
            values[:, 2 * j] = np.where((k > 0) & ~missing, 1 - fraction, 0)
            values[:, 2 * j + 1] = np.where(missing, 1, fraction)
        rows[:, 2 * p:] = inputs.codes + self.firsts[p:p + q]
        indptr = np.arange(0, (n + 1) * (2 * p + q), 2 * p + q, dtype=np.int64) if p + q else (
            np.zeros(n + 1, np.int64))
        return Codes(values.reshape(-1), rows.reshape(-1), indptr, self.adds)

    def settings(self):
        """Return plain values for a file."""
        return {"sizes": self.sizes, "edges": [len(one) for one in self.edges]}

    def arrays(self):
        """Return float64 arrays for a file, by name; `settings` says their shapes."""
        return {"edges": np.concatenate([np.zeros(0), *self.edges])}

    @staticmethod
    def shapes(settings):
        """Return the shapes of the arrays that belong to settings, by name."""
        return {"edges": (sum(settings["edges"]),)}

    @classmethod
    def from_parts(cls, settings, arrays):
        """Return the encoding of `settings` and `arrays`."""
        ends = np.cumsum(settings["edges"])[:-1]
        return cls(np.split(arrays["edges"], ends) if settings["edges"] else [], settings["sizes"])
