"""Boosted trees as a part of the networks of a table: thresholds along the axes ask for it.

What the trees come to is a number of a row (`fastnn.tabular.forest.Forest`), which two more units
of each hidden layer hand on to the outputs.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np

from fastnn.core.threads import resolve_threads, single_threaded_blas
from fastnn.tabular._trees import grow
from fastnn.tabular.blending import (
    SHARES,
    blended,
    columns_of,
    curvature_of,
    held_out_outputs,
    joined_network,
    kind_of,
    linked,
    losses_of,
    outputs_of,
    rows_to_compare,
    saved_by_mean,
    weights_of_rows,
)
from fastnn.tabular.forest import Forest

__all__ = ["with_trees"]

# Of a tree. Few rows want small ones: where most columns are noise 31 for all give 47.5 % of what a
# constant gets, these 37.1 (eight trees of 8 leaves 41.6), of xor 40.3 and 35.3 (36.9).
LEAVES, LEAST_LEAVES, ROWS_OF_LEAF = 31, 4, 40
RATE = 10.0  # of what a leaf would change, over the number of trees
PENALTY = 1.0  # of the squares of the values of leaves
LEAST_ROWS = 5  # of a leaf
# Of a column of numbers, about; 255 of any. With 128 narrow bumps are .321 and .436 of what a
# constant gets, with 250 .258 and .340; a tree of 40 leaves .532 and .495, other tables a tie.
MOST_CODES = 250
MOST_WORK = 1.5e9  # additions, of all folds and trees
WORK_OF_SECOND = 1e8  # of a thread, about
MOST_SUMS = 1e7  # that are there at a time, of a fold
PROBES = 2  # folds whose trees have to help single networks, before others have trees
LEAST_TREES = 16  # of a fold: fewer say little
PATIENCE = 0.125  # of the trees: so many more than the best number are grown
LEAST_SAVED = 0.002  # of the loss: less is not worth the trees
BELOW_ALL = -np.finfo(float).max  # a threshold that all but missing numbers are above


class _Column(NamedTuple):
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


class _Tree(NamedTuple):
    """A tree: its splits (leaf, column of the forest, threshold), and the values of its leaves."""

    splits: list
    values: np.ndarray


class _Boosted(NamedTuple):
    """The trees of a fold.

    Attributes
    ----------
    trees : list of _Tree
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


def with_trees(nets, encoding, numbers, codes, own_codes, targets, task, weight, folds, *, trees,
               seconds=None, n_threads=None):
    """Return the networks with a part of boosted trees in each, their encoding, and what its forest
    gives for the rows; the same, and None, where rows that they have not learned from do not say
    that it helps.

    The outputs before their activation become (1 - s) z + s t, where t are the sums of the leaves
    of trees of the same rows. The share s is that of the least held-out loss of the mean of all
    networks, as for a linear part (see `fastnn.tabular.linear.with_linear_part`); it is 0 where
    what this saves is not above its standard error (Breiman et al. 1984) and a five-hundredth.

    Parameters
    ----------
    nets : list of MLP
        All layers dense, the hidden ones of silu.
    encoding : Encoding
    numbers : float64 array (n_rows, n_numbers)
        Columns of the encoding, statistics included.
    codes : int32 array (n_rows, n_categories)
        Of the table.
    own_codes : Codes
        The rows of training, encoded.
    targets, task, weight
        As `fastnn.tabular.recipe.fit` has them.
    folds : list of int array
        Of each network the rows that it has not learned from.
    trees : int
        Of a fold.
    seconds : float or None, default=None
        That trees may take, about.
    n_threads : int or None, default=None
    """
    kind = kind_of(task)
    if kind is None or not trees:
        return nets, encoding, None
    y, n = columns_of(targets, task), len(numbers)
    columns = _columns(encoding, numbers, codes)
    unique = {fold.tobytes(): fold for fold in folds}
    sums = sum(column.size for column in columns) * 2 * y.shape[1] * LEAVES
    work = n * len(columns) * 2 * y.shape[1] * len(unique)
    most = MOST_WORK
    if seconds is not None:
        most = min(most, seconds * WORK_OF_SECOND * min(resolve_threads(n_threads), len(unique)))
    trees = min(trees, int(most / max(work, 1)))
    if not columns or trees < LEAST_TREES or sums > MOST_SUMS:
        return nets, encoding, None
    weight = weights_of_rows(weight, n)
    z, seen = held_out_outputs(nets, own_codes, folds, kind, y.shape)
    boosted = partial(_boosted, columns, encoding, y, weight, kind, trees=trees)
    alone = list(unique.values())
    with single_threaded_blas(), ThreadPoolExecutor(
            min(resolve_threads(n_threads), len(alone))) as pool:
        found = list(pool.map(boosted, alone[:PROBES]))
        if not all(one.trees for one in found):
            return nets, encoding, None
        rows, t = np.concatenate(alone[:PROBES]), np.concatenate([one.outputs for one in found])
        if not _share(z[rows], t, y[rows], weight[rows], kind, 0 * SHARES, 0):
            return nets, encoding, None
        found += pool.map(boosted, alone[PROBES:])
    if not all(one.trees for one in found):
        return nets, encoding, None
    known = [column.number - len(encoding.edges) for column in columns
             if column.thresholds is None]
    forest = Forest.of(_as_many_of_each(found), len(encoding.edges),
                       [len(one) for one in encoding.maps], known)
    sums = forest.transform(numbers, codes, n_threads)
    t = sums.reshape(n, len(alone), -1)
    held_out = np.full(y.shape, np.nan)
    for i, fold in enumerate(alone):
        held_out[fold] = t[fold, i]
    of_net = [list(unique).index(fold.tobytes()) for fold in folds]
    rows = rows_to_compare(n)
    of_nets, of_trees = outputs_of(nets, own_codes, rows, kind), t[rows].swapaxes(0, 1)[of_net]
    saved = [saved_by_mean(blended(of_nets, of_trees, s), rows, folds, kind, weight)
             for s in SHARES]
    share = _share(z[seen], held_out[seen], y[seen], weight[seen], kind, saved)
    if not share:
        return nets, encoding, None
    wider = encoding.with_forest(forest)
    return [_joined(net, wider, encoding, i, share)
            for net, i in zip(nets, of_net, strict=True)], wider, sums


def _as_many_of_each(found):
    """Return the trees of folds, of each as many as have the least held-out loss of all: a number
    of its own would be learned from the rows that judge it."""
    most = max(len(one.losses) for one in found)
    paths = [one.losses + one.losses[-1:] * (most - len(one.losses)) for one in found]
    count = int(np.argmin(np.sum(paths, axis=0))) + 1
    return [one._replace(trees=one.trees[:count]) for one in found]


def _share(z, t, y, weight, kind, saved, errors=1):
    """Return the share of the trees, 0 where they do not help by so many standard errors; ``saved``
    is what the mean of networks saves by each of `SHARES`."""
    losses = [losses_of(blended(z, t, s), y, kind)[0] * weight for s in SHARES]
    means = [own.mean() - less for own, less in zip(losses, saved, strict=True)]
    best = int(np.argmin(means))
    error = (losses[0] - losses[best]).std() / len(y) ** 0.5
    return float(SHARES[best]) if means[0] - means[best] > max(
        errors * error, LEAST_SAVED * means[0]) else 0.0


def _joined(net, wider, encoding, fold, share):
    """Return a network of the wider encoding, to whose outputs the trees of a fold add."""
    k, at = net.sizes[-1], wider.firsts[len(encoding.edges)]  # the first input of the trees
    more = wider.n_inputs - encoding.n_inputs
    W = np.zeros((wider.n_inputs, k))
    W[at + fold * k + np.arange(k)] = np.eye(k)
    first = np.insert(net.get_weights()[0], [at] * more, 0, axis=0)
    return joined_network(net, first, W, np.zeros(k), share)


# ---- columns ----


def _columns(encoding, numbers, codes):
    """Return the columns that have anything to split."""
    found = []
    for j, (edges, x) in enumerate(zip(encoding.edges, numbers.T, strict=True)):
        values = np.unique(x[np.isfinite(x)])
        if len(values) < 2:
            continue
        thresholds = _thresholds(np.sort(x[np.isfinite(x)]), values, edges)
        own = np.searchsorted(thresholds, x) + 1  # NaN behind all
        found.append(_Column(j, np.where(np.isnan(x), 0, own).astype(np.uint8),
                             len(thresholds) + 2, thresholds))
    for q, (places, own) in enumerate(zip(encoding.maps, codes.T, strict=True)):
        size = int(places.max(initial=-1)) + 2
        if 2 < size <= 255:
            found.append(_Column(len(encoding.edges) + q, (places[own] + 1).astype(np.uint8), size))
    return found


def _thresholds(x, values, edges):
    """Return thresholds between values of training."""
    at = np.arange(1, len(values))
    if len(values) > MOST_CODES:
        more = max(MOST_CODES - len(edges), MOST_CODES // 2)
        inner = np.union1d(edges, x[np.linspace(0, len(x) - 1, more).astype(int)])
        at = np.unique(np.searchsorted(values, inner, "right").clip(1, len(values) - 1))[:253]
    return values[at - 1] / 2 + values[at] / 2


# ---- boosting ----


def _boosted(columns, encoding, y, weight, kind, fold, trees):
    """Return `_Boosted` of all rows but those of a fold."""
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
    while len(found) < trees and len(found) <= int(np.argmin([*losses, np.inf])) + PATIENCE * trees:
        means = losses_of(z[rows], y[rows], kind)[1]
        slopes = np.zeros((n, 2 * k))
        slopes[rows, :k] = (means - y[rows]) * weight[rows, np.newaxis]
        slopes[rows, k:] = curvature_of(means, kind) * weight[rows, np.newaxis]
        splits, at = grow(codes, starts, slopes, rows, leaves, PENALTY, LEAST_ROWS, 1e-9)
        if not len(splits):
            break
        own_splits = [(leaf, places[j], _threshold(columns[j], code))
                      for leaf, j, code in splits.tolist()]
        sums = np.stack([np.bincount(at, own, len(splits) + 1) for own in slopes.T], axis=1)
        values = -RATE / trees * sums[:, :k] / (sums[:, k:] + PENALTY)
        z += values[at]
        found.append(_Tree(own_splits, values))
        losses.append(np.average(losses_of(z[fold], y[fold], kind)[0], weights=weight[fold]))
        if losses[-1] == min(losses):
            best = z[fold]
    return _Boosted(found, base, ranks, losses, best)


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
