"""Boosted trees as a part of the networks of a table: thresholds along the axes ask for it.

A leaf is a hidden unit (Sethi 1990): whether a value is above a threshold is a piecewise-linear
function of its bins, whether d such conditions hold is their sum - (d - 1), and of whole numbers up
to 1 silu(b u) / b is max(u, 0) where b is large.
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
    places_of,
    rows_to_compare,
    saved_by_mean,
    weights_of_rows,
)
from fastnn.tabular.cuts import edges_around
from fastnn.tabular.encoding import Encoding

__all__ = ["with_trees"]

# Leaves of a tree, and how many times as many trees: larger ones are tried where the smaller ones
# help (a tree of 40 leaves .690 -> .440, LightGBM .505; effects of whole numbers .456 -> .367; a
# table where small ones do not help never has them).
SIZES = ((8, 1), (16, 2), (32, 2))
RATE = 4.0  # of what a leaf would change, over the number of trees
PENALTY = 1.0  # of the squares of the values of leaves
LEAST_ROWS = 5  # of a leaf
MOST_CODES = 128  # of a column of numbers, about; 255 of any
MOST_WORK = 5e8  # additions, of all folds and trees
MOST_SUMS = 1e7  # that are there at a time, of a fold
MOST_INPUTS = 20_000  # of a network with trees
LEAST_SAVED = 0.01  # of the loss: less is not worth the units
# Of the rows, between the edges around a threshold (hundredths of them, in columns of a few wrong
# values far out, do no harm: .399 with such thresholds, .472 without).
SMEARED = 0.2
SHARP = 30.0  # b: silu(30) / 30 is 1 - 1e-13


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
    lows, highs : float64 array (size - 2,)
        Code c + 2 begins at a threshold between these.
    """

    number: int
    codes: np.ndarray
    size: int
    lows: np.ndarray | None = None
    highs: np.ndarray | None = None


class _Boosted(NamedTuple):
    """Boosted trees: for each leaf its conditions (column, code, whether above), and its values."""

    leaves: list
    values: np.ndarray
    base: np.ndarray
    orders: dict  # of columns of categories: their inputs by code


def with_trees(nets, encoding, numbers, codes, own_codes, targets, task, weight, folds, *, trees,
               n_threads=None):
    """Return the networks with a part of boosted trees in each, and their encoding; the same where
    rows that they have not learned from do not say that it helps.

    The outputs before their activation become (1 - s) z + s t, where t are the sums of the leaves
    of trees of the same rows. The share s is that of the least held-out loss of the mean of all
    networks, as for a linear part (see `fastnn.tabular.linear.with_linear_part`); it is 0 where
    what this saves is not above its standard error (Breiman et al. 1984) and a hundredth. Where
    trees help, larger ones that save as much again take their place.

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
        Of a network.
    n_threads : int or None, default=None
    """
    kind = kind_of(task)
    if kind is None or not trees:
        return nets, encoding
    y, n = columns_of(targets, task), len(numbers)
    columns = _columns(encoding, numbers, codes)
    unique = {fold.tobytes(): fold for fold in folds}
    weight = weights_of_rows(weight, n)

    def is_too_much(leaves, count):
        return (not columns or n * len(columns) * 2 * y.shape[1] * count * len(unique) > MOST_WORK
                or sum(column.size for column in columns) * 2 * y.shape[1] * leaves > MOST_SUMS)

    if is_too_much(SIZES[0][0], trees):
        return nets, encoding
    z, seen = held_out_outputs(nets, own_codes, folds, kind, y.shape)
    rows = rows_to_compare(n)
    of_nets, before, share = outputs_of(nets, own_codes, rows, kind), None, 0.0
    for leaves, times in SIZES:
        if is_too_much(leaves, times * trees):
            break
        boosted = partial(_boosted, columns, y, weight, kind, trees=times * trees, leaves=leaves,
                          rate=RATE / max(trees, 8))
        with single_threaded_blas(), ThreadPoolExecutor(
                min(resolve_threads(n_threads), len(unique))) as pool:
            found = dict(zip(unique, pool.map(boosted, unique.values()), strict=True))
        t = np.full(y.shape, np.nan)
        for key, fold in unique.items():
            t[fold] = found[key][1][fold]
        of_trees = np.stack([found[fold.tobytes()][1][rows] for fold in folds])
        saved = [saved_by_mean(blended(of_nets, of_trees, s), rows, folds, kind, weight)
                 for s in SHARES]
        new, before = _share(z[seen], t[seen], y[seen], weight[seen], kind, saved, before)
        if not new:
            break
        wider = _with_thresholds(encoding, columns, [found[key][0] for key in unique])
        if wider.n_inputs > MOST_INPUTS:
            break
        share, chosen, finer = new, found, wider
    if not share:
        return nets, encoding
    used = [chosen[fold.tobytes()][0] for fold in folds]
    at, parts = places_of(encoding, finer)
    units = {id(one): _units(one, columns, finer) for one in used}
    return [joined_network(net, net.get_weights()[0][at] * parts[:, np.newaxis],
                           *units[id(one)], share)
            for net, one in zip(nets, used, strict=True)], finer


def _share(z, t, y, weight, kind, saved, before=None):
    """Return the share of the trees, 0 where they do not help, and what they come to.

    ``saved`` is what the mean of networks saves by each of `SHARES`, ``before`` what smaller trees
    have come to: the losses of the rows (n,), and that of the mean of networks. None: there were
    none.
    """
    losses = [losses_of(blended(z, t, s), y, kind)[0] * weight for s in SHARES]
    means = [own.mean() - less for own, less in zip(losses, saved, strict=True)]
    best = int(np.argmin(means))
    rows, mean = before or (losses[0], means[0])
    error = (rows - losses[best]).std() / len(y) ** 0.5
    if mean - means[best] > max(error, LEAST_SAVED * mean):
        return float(SHARES[best]), (losses[best], means[best])
    return 0.0, before


# ---- columns ----


def _columns(encoding, numbers, codes):
    """Return the columns that have anything to split."""
    found = []
    for j, (edges, x) in enumerate(zip(encoding.edges, numbers.T, strict=True)):
        there = np.isfinite(x)
        values = np.unique(x[there])
        if len(values) < 2 or (len(edges) == 2 and len(values) > 2):
            continue
        if len(edges) == 2:
            lows, highs = values[:1], values[1:]
        else:
            lows, highs = _thresholds(np.sort(x[there]), values, edges)
            lows, highs = _told_apart(lows, highs, np.sort(x[there]))
            if not len(lows):
                continue
        own = np.searchsorted(lows / 2 + highs / 2, x) + 1  # NaN behind all
        found.append(_Column(j, np.where(np.isnan(x), 0, own).astype(np.uint8), len(lows) + 2, lows,
                             highs))
    for q, (places, own) in enumerate(zip(encoding.maps, codes.T, strict=True)):
        size = int(places.max(initial=-1)) + 2
        if 2 < size <= 255:
            found.append(_Column(len(encoding.edges) + q, (places[own] + 1).astype(np.uint8), size))
    return found


def _thresholds(x, values, edges):
    """Return the values of training below and above each threshold."""
    if len(values) <= MOST_CODES:
        return values[:-1], values[1:]
    more = max(MOST_CODES - len(edges), MOST_CODES // 2)
    spread = x[np.linspace(0, len(x) - 1, more).astype(int)]
    inner = np.union1d(edges, spread)
    at = np.unique(np.searchsorted(values, inner, "right").clip(1, len(values) - 1))[:253]
    return values[at - 1], values[at]


def _told_apart(lows, highs, x):
    """Return those thresholds whose edges, which float32 has to hold, have few rows between them:
    columns that lie far from 0, beside what they spread over, have others (six columns around a
    million: .278 without trees, .368 with thresholds that reach over two deviations)."""
    low, high = edges_around(lows, highs, x[0], x[-1])
    wider = (high - low) > (highs - lows) * (1 + 1e-6)
    inside = np.searchsorted(x, high, "left") - np.searchsorted(x, low, "right")
    kept = ~wider | (inside <= SMEARED * len(x))
    return lows[kept], highs[kept]


def _with_thresholds(encoding, columns, all_trees):
    """Return the encoding with edges around all thresholds of trees."""
    edges = list(encoding.edges)
    used = {(number, code) for trees in all_trees for leaf in trees.leaves
            for number, code, _ in leaf}
    by_number = {column.number: column for column in columns}
    for number in sorted({number for number, _ in used}):
        if number < len(edges) and len(edges[number]) > 2:
            column, own = by_number[number], encoding.edges[number]
            at = [code - 1 for other, code in used if other == number and code]
            more = np.concatenate(edges_around(column.lows[at], column.highs[at], own[0], own[-1]))
            edges[number] = np.union1d(own, more[(more > own[0]) & (more < own[-1])])
    return Encoding(edges, encoding.scales, encoding.seen, encoding.maps, encoding.statistics)


# ---- boosting ----


def _boosted(columns, y, weight, kind, fold, trees, leaves, rate):
    """Return `_Boosted` of all rows but those of a fold, and its outputs of all rows."""
    n, k = y.shape
    learned = np.ones(n, bool)
    learned[fold] = False
    rows = np.flatnonzero(learned).astype(np.int32)
    base = linked(np.average(y[rows], axis=0, weights=weight[rows]), kind)
    orders, codes = {}, np.empty((n, len(columns)), np.uint8)
    for j, column in enumerate(columns):
        codes[:, j] = column.codes
        if column.lows is None:
            order = orders[column.number] = _order(column, y[rows], weight[rows], rows)
            codes[:, j] = np.argsort(order)[column.codes]
    starts = np.cumsum([0, *(column.size for column in columns)]).astype(np.int32)
    z, values, found = np.tile(base, (n, 1)), [], []
    for _ in range(trees):
        means = losses_of(z[rows], y[rows], kind)[1]
        slopes = np.zeros((n, 2 * k))
        slopes[rows, :k] = (means - y[rows]) * weight[rows, np.newaxis]
        slopes[rows, k:] = curvature_of(means, kind) * weight[rows, np.newaxis]
        splits = grow(codes, starts, slopes, rows, leaves, PENALTY, LEAST_ROWS, 1e-9)
        if not len(splits):
            break
        at, conditions = np.zeros(n, np.intp), [[]]
        for new, (leaf, j, code) in enumerate(splits.tolist(), 1):
            at[(at == leaf) & (codes[:, j] > code)] = new
            number = columns[j].number
            conditions.append([*conditions[leaf], (number, code, True)])
            conditions[leaf].append((number, code, False))
        sums = np.stack([np.bincount(at, own, len(conditions)) for own in slopes.T], axis=1)
        own = -rate * sums[:, :k] / (sums[:, k:] + PENALTY)
        z += own[at]
        values.append(own)
        found += conditions
    values = np.concatenate([np.zeros((0, k)), *values])
    return _Boosted(found, values, base, orders), z


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


# ---- networks ----


def _units(boosted, columns, encoding):
    """Return weights (n_inputs, n_leaves) and biases of the units of leaves, their values, and the
    base."""
    W, b = np.zeros((encoding.n_inputs, len(boosted.leaves))), np.ones(len(boosted.leaves))
    by_number, known = {column.number: column for column in columns}, {}
    for i, conditions in enumerate(boosted.leaves):
        for number, code, above in conditions:
            if (number, code) not in known:
                known[number, code] = _above(by_number[number], code, encoding, boosted.orders)
            at, weights, bias = known[number, code]
            sign = 1 if above else -1
            W[at, i] += sign * weights
            b[i] += sign * bias - above
    return SHARP * W, SHARP * b, boosted.values / SHARP, boosted.base


def _above(column, code, encoding, orders):
    """Return inputs, weights and a bias that are 1 where a code is above this one, and 0 where not:
    the whole units of a leaf's conditions."""
    first = encoding.firsts[column.number]
    if column.lows is None:
        at = first + orders[column.number][code + 1:] - 1
        return at, np.ones(len(at)), 0.0
    edges = encoding.edges[column.number]
    missing = first + 1 + (len(edges) - 1) * (len(edges) > 2)
    if code == 0:
        return np.array([missing]), np.array([-1.0]), 1.0
    if len(edges) == 2:
        low, high = encoding.value(column.number, edges)
        slope = 1 / (high - low)
        return (np.array([first, missing][:1 + bool(encoding.seen[column.number])]),
                np.array([slope, low * slope][:1 + bool(encoding.seen[column.number])]),
                -low * slope)
    low, high = (side[0] for side in edges_around(
        column.lows[code - 1:code], column.highs[code - 1:code], edges[0], edges[-1]))
    low, high = max(low, edges[0]), min(high, edges[-1])
    inside = np.flatnonzero((edges[:-1] >= low) & (edges[1:] <= high))
    return first + 1 + inside, np.diff(edges)[inside] / (high - low), 0.0
