"""What the targets were like where categories were the same: numbers made of categories."""

import numpy as np

__all__ = ["Statistics"]

PRIOR = 10.0  # rows of the overall mean that each category is given beside its own
TINY = 1e-6


class Statistics:
    """Smoothed means of the targets over the rows that share a category, or a pair of categories
    of two columns (Micci-Barreca 2001), behind the link of the output.

    A row of training gets means of rows of other folds only (`fit`), so that none of them knows
    its own target; new rows get means of all (`transform`).

    Attributes
    ----------
    keys : list of tuple of int
        Columns of codes: one, or two.
    sizes : list of int
        Codes of each column of ``Inputs.codes``, unknown and missing included.
    link : str
        "identity", "log" or "logit", see `_linked`.
    prior : float64 array (n_means,)
        What a row gets whose categories the fit has not seen.
    """

    def __init__(self, keys, sizes, link, prior, known, means):
        self.keys, self.sizes, self.link = [tuple(key) for key in keys], list(sizes), link
        self.prior = np.asarray(prior, float)
        self.known, self.means = known, means  # of each key: sorted numbers, and their means

    @property
    def n_numbers(self):
        """Columns of numbers that it gives."""
        return len(self.keys) * len(self.prior)

    @classmethod
    def fit(cls, codes, sizes, means_of, weight, folds, *, keys, link):
        """Return the statistics, and what the rows of training get: float64 (n_rows, n_numbers).

        Parameters
        ----------
        codes : int32 array (n_rows, n_columns)
        sizes : sequence of int
            Number of categories of each column: those beyond are unknown and missing.
        means_of : float64 array (n_rows, n_means)
            Of these columns means are taken.
        weight : float64 array (n_rows,) or None
        folds : int array (n_rows,)
            Number of the fold of each row.
        keys : sequence of tuple of int
        link : {"identity", "log", "logit"}
        """
        weight = np.ones(len(codes)) if weight is None else np.asarray(weight, float)
        weight = weight * (len(weight) / weight.sum())
        overall = np.average(means_of, axis=0, weights=weight)
        sizes = [size + 2 for size in sizes]
        n_folds, known, means, found = int(folds.max()) + 1, [], [], []
        for key in keys:
            values, at = np.unique(_numbers(codes, sizes, key), return_inverse=True)
            known.append(values)
            k = len(values)
            each = at + k * folds
            rows = np.bincount(each, weight, n_folds * k).reshape(n_folds, k)
            others = rows.sum(axis=0) - rows
            own = np.empty((len(codes), len(overall)))
            table = np.empty((k, len(overall)))
            for j, mean in enumerate(overall):
                sums = np.bincount(each, weight * means_of[:, j], n_folds * k).reshape(n_folds, k)
                all_rows, all_sums = rows.sum(axis=0), sums.sum(axis=0)
                table[:, j] = (all_sums + PRIOR * mean) / (all_rows + PRIOR)
                left = (all_sums - sums + PRIOR * mean) / (others + PRIOR)
                own[:, j] = left[folds, at]
            means.append(_linked(table, link))
            found.append(_linked(own, link))
        made = cls(keys, sizes, link, _linked(overall, link), known, means)
        return made, np.concatenate(found, axis=1)

    def transform(self, codes):
        """Return the numbers of new rows, float64 (n_rows, n_numbers)."""
        found = np.empty((len(codes), len(self.keys), len(self.prior)))
        for i, key in enumerate(self.keys):
            wanted, known = _numbers(codes, self.sizes, key), self.known[i]
            at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
            there = known[at] == wanted
            found[:, i] = np.where(there[:, np.newaxis], self.means[i][at], self.prior)
        return found.reshape(len(codes), found.shape[1] * found.shape[2])

    def settings(self):
        """Return plain values for a file."""
        return {"keys": [list(key) for key in self.keys], "sizes": self.sizes, "link": self.link,
                "known": [len(one) for one in self.known], "means": len(self.prior)}

    def arrays(self):
        """Return float64 arrays for a file, by name; `settings` says their shapes."""
        return {"prior": self.prior, "known": np.concatenate(self.known).astype(float),
                "means": np.concatenate(self.means).reshape(-1)}

    @staticmethod
    def shapes(settings):
        """Return the shapes of the arrays that belong to settings, by name."""
        n, k = sum(settings["known"]), settings["means"]
        return {"prior": (k,), "known": (n,), "means": (n * k,)}

    @classmethod
    def from_parts(cls, settings, arrays):
        """Return the statistics of `settings` and `arrays`.

        Raises
        ------
        ValueError
            When they do not fit together.
        """
        keys, sizes, counts = settings["keys"], settings["sizes"], settings["known"]
        right = len(keys) == len(counts) and all(
            key and len(key) <= 2 and all(isinstance(j, int) and 0 <= j < len(sizes) for j in key)
            for key in keys) and all(isinstance(count, int) and count > 0 for count in counts)
        if not right or settings["link"] not in ("identity", "log", "logit"):
            raise ValueError("statistics must name columns of categories")
        ends = np.cumsum(counts)[:-1]
        known = [one.astype(np.int64) for one in np.split(arrays["known"], ends)]
        means = np.split(arrays["means"].reshape(-1, settings["means"]), ends)
        return cls(keys, sizes, settings["link"], arrays["prior"], known, means)


def _numbers(codes, sizes, key):
    """Return of each row the number of its category, or of its pair: int64, exact as float64."""
    first = codes[:, key[0]].astype(np.int64)
    return first if len(key) == 1 else first * sizes[key[1]] + codes[:, key[1]]


def _linked(means, link):
    if link == "identity":
        return means
    if link == "log":
        return np.log(np.maximum(means, TINY))
    means = np.clip(means, TINY, 1 - TINY)
    return np.log(means) - np.log1p(-means)
