"""Gradient boosting on the rows of all folds but one: the trees of this fold."""

from typing import NamedTuple

import numpy as np

from fastnn.tabular._trees import grow
from fastnn.tabular.blending import curvature_of, linked, losses_of

__all__ = ["LEAVES", "Boosted", "Column", "Tree", "as_many_of_each", "boosted", "columns_to_split"]

# Of a tree. Few rows want small ones: where most columns are noise 31 for all give 47.5 % of what a
# constant gets, these 37.1 (eight trees of 8 leaves 41.6), of xor 40.3 and 35.3 (36.9).
LEAVES, LEAST_LEAVES, ROWS_OF_LEAF = 31, 4, 40
RATE = 10.0  # of what a leaf would change, over the number of trees
PENALTY = 1.0  # of the squares of the values of leaves
LEAST_ROWS = 5  # of a leaf
# Of a column of numbers, about; 255 of any. With 128 narrow bumps are .321 and .436 of what a
# constant gets, with 250 .258 and .340; a tree of 40 leaves .532 and .495, other tables a tie.
MOST_CODES, LEAST_CODES = 250, 16
MOST_OF_ALL = 40_000  # codes of all columns, about: sums by code and leaf stay in the caches
PATIENCE = 0.125  # of the trees: so many more than the best number are grown
BELOW_ALL = -np.finfo(float).max  # a threshold that all but missing numbers are above


class Column(NamedTuple):
    """What trees see of a column of the encoding.

    Attributes
    ----------
    number : int
        Of the column; those of categories follow those of numbers.
    codes : uint8 array (n_rows,)
        0: missing, or none of the inputs. Of categories their inputs + 1, which are put in the
        order of their targets for each fold.
    size : int
        Codes are below it.
    thresholds : float64 array (size - 2,) or None
        Code c + 2 is of the numbers above this one. None: of categories.
    """

    number: int
    codes: np.ndarray
    size: int
    thresholds: np.ndarray | None = None


class Tree(NamedTuple):
    """A tree: its splits (leaf, column of the forest, threshold), and the values of its leaves."""

    splits: list
    values: np.ndarray


class Boosted(NamedTuple):
    """The trees of a fold.

    Attributes
    ----------
    trees : list of Tree
    base : float64 array (n_out,)
    ranks : list of array
        Of the categories that trees know: of each code, unknown and missing included.
    losses : list of float
        Of the rows of the fold, with one tree, with two, ...
    outputs : float64 array (n_rows, n_out)
        Of these rows, with as many trees as have the least loss.
    """

    trees: list
    base: np.ndarray
    ranks: list
    losses: list
    outputs: np.ndarray | None = None


def columns_to_split(encoding, numbers, codes):
    """Return the columns that have anything to split."""
    found = []
    most = int(np.clip(MOST_OF_ALL // max(numbers.shape[1], 1), LEAST_CODES, MOST_CODES))
    for j, (edges, x) in enumerate(zip(encoding.edges, numbers.T, strict=True)):
        values = np.unique(x[np.isfinite(x)])
        if len(values) < 2:
            continue
        thresholds = _thresholds(np.sort(x[np.isfinite(x)]), values, edges, most)
        own = np.searchsorted(thresholds, x) + 1  # NaN behind all
        found.append(Column(j, np.where(np.isnan(x), 0, own).astype(np.uint8),
                            len(thresholds) + 2, thresholds))
    for q, (places, own) in enumerate(zip(encoding.maps, codes.T, strict=True)):
        size = int(places.max(initial=-1)) + 2
        if 2 < size <= 255:
            found.append(Column(len(encoding.edges) + q, (places[own] + 1).astype(np.uint8), size))
    return found


def _thresholds(x, values, edges, most):
    """Return thresholds between values of training, about as many as ``most``."""
    at = np.arange(1, len(values))
    if len(values) > most:
        more = max(most - len(edges), most // 2)
        inner = np.union1d(edges, x[np.linspace(0, len(x) - 1, more).astype(int)])
        at = np.unique(np.searchsorted(values, inner, "right").clip(1, len(values) - 1))[:253]
    return values[at - 1] / 2 + values[at] / 2


def boosted(columns, encoding, y, weight, kind, fold, trees, is_ended=lambda: False):
    """Return `Boosted` of all rows but those of a fold; of fewer trees, which nobody wants any
    more, where ``is_ended()``."""
    n, k = y.shape
    learned = np.ones(n, bool)
    learned[fold] = False
    rows = np.flatnonzero(learned).astype(np.int32)
    base = linked(np.average(y[rows], axis=0, weights=weight[rows]), kind)
    codes, ranks, places = np.empty((n, len(columns)), np.uint8), [], []
    for j, column in enumerate(columns):
        codes[:, j] = column.codes
        places.append(column.number)
        if column.thresholds is None:
            rank = np.argsort(_order(column, y[rows], weight[rows], rows))
            codes[:, j] = rank[column.codes]
            places[j] = len(encoding.edges) + len(ranks)
            ranks.append(rank[encoding.maps[column.number - len(encoding.edges)] + 1])
    starts = np.cumsum([0, *(column.size for column in columns)]).astype(np.int32)
    z, found, losses, best = np.tile(base, (n, 1)), [], [], None
    leaves = int(np.clip(len(rows) // ROWS_OF_LEAF, LEAST_LEAVES, LEAVES))
    slopes, own = np.empty((n, 2 * k)), weight[:, np.newaxis]
    while True:
        of_rows, means = losses_of(z, y, kind)
        if found:
            losses.append(np.average(of_rows[fold], weights=weight[fold]))
            if losses[-1] == min(losses):
                best = z[fold]
        if (len(found) == trees or is_ended()
                or len(found) > int(np.argmin([*losses, np.inf])) + PATIENCE * trees):
            break
        np.multiply(means - y, own, out=slopes[:, :k])
        np.multiply(curvature_of(means, kind), own, out=slopes[:, k:])
        slopes[fold] = 0
        splits, at = grow(codes, starts, slopes, rows, leaves, PENALTY, LEAST_ROWS, 1e-9)
        if not len(splits):
            break
        own_splits = [(leaf, places[j], _threshold(columns[j], code))
                      for leaf, j, code in splits.tolist()]
        sums = np.stack([np.bincount(at, one, len(splits) + 1) for one in slopes.T], axis=1)
        values = -RATE / trees * sums[:, :k] / (sums[:, k:] + PENALTY)
        z += values[at]
        found.append(Tree(own_splits, values))
    return Boosted(found, base, ranks, losses, best)


def _threshold(column, code):
    """Return the threshold that a value of this code is not above, and one of the next code is."""
    if column.thresholds is None:
        return code + 0.5
    return column.thresholds[code - 1] if code else BELOW_ALL


def _order(column, y, weight, rows):
    """Return the codes of categories in the order of their targets, along the direction in which
    these differ most; 0, which stands for none, first."""
    own, size = column.codes[rows], column.size
    counts = np.bincount(own, weight, size)[:, np.newaxis]
    sums = np.stack([np.bincount(own, weight * target, size) for target in y.T], axis=1)
    means = (sums - counts * np.average(y, axis=0, weights=weight)) / (counts + PENALTY)
    along = means[:, 0]
    if y.shape[1] > 1:
        spread = np.einsum("ij,ik,i->jk", means, means, counts[:, 0])
        along = (means * np.linalg.eigh(spread)[1][:, -1]).sum(axis=1)
    return np.concatenate([[0], 1 + np.argsort(along[1:], kind="stable")])


def as_many_of_each(found):
    """Return the trees of folds, of each as many as have the least held-out loss of all: a number
    of its own would be learned from the rows that judge it."""
    most = max(len(one.losses) for one in found)
    paths = [one.losses + one.losses[-1:] * (most - len(one.losses)) for one in found]
    count = int(np.argmin(np.sum(paths, axis=0))) + 1
    return [one._replace(trees=one.trees[:count]) for one in found]
