"""`Forest`: boosted trees as numbers of a row, as `Statistics` of categories are."""

import numpy as np

from fastnn.core.threads import resolve_threads
from fastnn.tabular._forest import Scorer

__all__ = ["Forest"]

WHOLE = ("categories", "ends", "counts", "leaves", "columns")  # of its arrays


class Forest:
    """What the trees of each fold come to: a number for each fold and output.

    The trees of a fold have not learned from its rows. They read numbers, statistics of categories
    included, and the ranks of categories in the order of their targets.

    Parameters
    ----------
    n_numbers, sizes, categories, ranks, ends, counts, leaves, columns, thresholds, values, base
        See `fastnn.tabular._forest.Scorer`.
    """

    def __init__(self, n_numbers, sizes, **arrays):
        self.n_in, self.sizes = int(n_numbers), [int(size) for size in sizes]
        self.tables = {name: np.ascontiguousarray(
            array, np.int32 if name in WHOLE else float) for name, array in arrays.items()}
        self.scorer = Scorer(self.n_in, self.sizes, **self.tables)

    def __getstate__(self):
        return {"n_in": self.n_in, "sizes": self.sizes, "tables": self.tables}

    def __setstate__(self, state):
        self.__init__(state["n_in"], state["sizes"], **state["tables"])

    @classmethod
    def of(cls, folds, n_numbers, sizes, categories):
        """Return the trees of all folds.

        Parameters
        ----------
        folds : list of fastnn.tabular.boosting.Boosted
            Of each fold its trees.
        n_numbers : int
        sizes : list of int
            Codes of each column of categories.
        categories : list of int
            Those that trees know.
        """
        trees = [tree for fold in folds for tree in fold.trees]
        leaves, columns, thresholds = (list(column) for column in zip(
            *(split for tree in trees for split in tree.splits), strict=True))
        return cls(n_numbers, sizes, categories=categories,
                   ranks=np.stack([np.concatenate([np.zeros(0), *fold.ranks]) for fold in folds]),
                   ends=np.cumsum([len(fold.trees) for fold in folds]),
                   counts=[len(tree.splits) for tree in trees],
                   leaves=leaves, columns=columns, thresholds=thresholds,
                   values=np.concatenate([tree.values for tree in trees]),
                   base=np.stack([fold.base for fold in folds]))

    @property
    def n_out(self):
        """Numbers of a fold."""
        return self.scorer.n_out

    @property
    def n_numbers(self):
        """Numbers that it gives: those of the first fold, of the second one, ..."""
        return self.scorer.n_folds * self.n_out

    @property
    def first_ranks(self):
        """Where the ranks of each category that trees know begin, and where all of them end."""
        return np.cumsum([0, *(self.sizes[q] for q in self.tables["categories"])])

    def transform(self, numbers, codes, n_threads=1):
        """Return the numbers of rows, float64 (n_rows, n_numbers).

        Parameters
        ----------
        numbers : float64 array (n_rows, n)
            Statistics of categories included.
        codes : int32 array (n_rows, n_columns)
        n_threads : int or None, default=1
        """
        out = np.empty((len(numbers), self.n_numbers))
        threads = resolve_threads(n_threads) if len(out) > 1 else 1
        self.scorer.score(numbers, codes, out, threads)
        return out

    def bounds(self):
        """Return of each number the largest absolute value that it can have."""
        tables, bounds = self.tables, np.abs(self.tables["base"])
        first = np.cumsum(tables["counts"] + 1) - tables["counts"] - 1
        largest = np.maximum.reduceat(np.abs(tables["values"]), first)
        for own, some in zip(bounds, np.split(largest, tables["ends"][:-1]), strict=True):
            own += some.sum(axis=0)
        return bounds.ravel()

    # ---- files ----

    def settings(self):
        """Return plain values for a file."""
        return {"numbers": self.n_in, "sizes": self.sizes,
                **{name: list(array.shape) for name, array in self.tables.items()}}

    def arrays(self):
        """Return float64 arrays for a file, by name; `settings` says their shapes."""
        return {name: array.astype(float).ravel() for name, array in self.tables.items()}

    @staticmethod
    def shapes(settings):
        """Return the shapes of the arrays that belong to settings, by name."""
        return {name: (int(np.prod(shape)),) for name, shape in settings.items()
                if name not in ("numbers", "sizes")}

    @classmethod
    def from_parts(cls, settings, arrays):
        """Return the forest of `settings` and `arrays`.

        Raises
        ------
        ValueError, TypeError, KeyError
            When they do not fit together.
        """
        names = settings.keys() - {"numbers", "sizes"}
        for name in names & set(WHOLE):
            if (arrays[name] != np.rint(arrays[name])).any() or (abs(arrays[name]) >= 2**31).any():
                raise ValueError(f"array {name!r} of trees must hold whole numbers")
        return cls(settings["numbers"], settings["sizes"],
                   **{name: arrays[name].reshape(settings[name]) for name in names})

