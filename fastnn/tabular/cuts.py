"""Where the target jumps: further edges of the bins of a column.

A piecewise-linear encoding over bins of equal counts smears a threshold over a bin. A small tree of
the column alone finds thresholds (Gorishniy, Rubachev & Babenko 2022 make all bins so); where lines
through the rows on either side do not meet (a regression discontinuity, Thistlethwaite & Campbell
1960), two edges close to each other let the function jump. Without that test smooth columns get
edges, too, and learn noise by them (phoneme .2201 -> .2258).
"""

import heapq

import numpy as np

__all__ = ["edges_around", "target_cuts"]

MOST_ROWS = 8192  # that are looked at
MOST_TARGETS = 8  # beyond, so many random sums of them stand for all
LEAST_SHARE = 100  # leaves have at least a hundredth of the rows
LEAST_ROWS = 5
# In variances of the target; the largest of n cuts of noise saves 10 or so. What noise gives would
# flatter the rows that networks are stopped by.
LEAST_GAIN = 15.0
LOOKED_AT = 2  # times as many cuts as are taken
WINDOW = 10  # a tenth of the rows on either side are looked at
LEAST_WINDOW = 10
LEAST_JUMP = 12.0  # its square over its variance; the tree has chosen the largest of many
LEAST_SIZE = 0.02  # its square over the variance of the target
FAR = 4.0  # standard deviations that a target counts at most: one row far out is no threshold
NARROW = 1e-4  # of the column's range is the gap between two edges at least: float32 has to hold it
NARROW_SIZE = 2e-6  # and of the largest value


def target_cuts(numbers, targets, weight, *, most, multiclass=None):
    """Return for each column edges on both sides of where the target jumps: list of float64 arrays.

    Parameters
    ----------
    numbers : float64 array (n_rows, n_columns)
        NaN: missing.
    targets : float array (n_rows, k), or int array (n_rows,) of classes
    weight : float64 array (n_rows,) or None
    most : int
        Cuts of a column at most.
    multiclass : int or None, default=None
        How many classes there are, where targets are their numbers.
    """
    step = -(-len(numbers) // MOST_ROWS)
    numbers, targets = numbers[::step], targets[::step]
    weight = np.ones(len(targets)) if weight is None else np.asarray(weight, float)[::step]
    weight = weight / weight.max()
    targets = _prepared(targets, weight, multiclass)
    total = np.average((targets ** 2).sum(axis=1), weights=weight)
    if not (np.isfinite(total) and total > 0) or not most:
        return [np.zeros(0)] * numbers.shape[1]
    return [_edges(x, targets / total ** 0.5, weight, most) for x in numbers.T]


def _prepared(targets, weight, multiclass):
    """Return centered targets (n_rows, at most `MOST_TARGETS`)."""
    if multiclass is not None:
        targets = (targets[:, np.newaxis] == np.arange(multiclass)).astype(float)
    targets = np.asarray(targets, float)
    targets = targets - np.average(targets, axis=0, weights=weight)
    if multiclass is None:
        far = FAR * np.sqrt(np.average(targets ** 2, axis=0, weights=weight))
        targets = np.clip(targets, -far, far)
        targets = targets - np.average(targets, axis=0, weights=weight)
    k = targets.shape[1]
    if k > MOST_TARGETS:  # distances stay about the same (Johnson & Lindenstrauss 1984)
        signs = np.random.default_rng(0).choice([-1.0, 1.0], (k, MOST_TARGETS))
        targets = np.stack([(targets * own).sum(axis=1) for own in signs.T], axis=1)
    return targets


def _edges(x, targets, weight, most):
    there = np.isfinite(x)
    order = np.flatnonzero(there)[np.argsort(x[there], kind="stable")]
    x, weight = x[order], weight[order]
    if len(x) < 2 * LEAST_ROWS:
        return np.zeros(0)
    targets = targets[order]
    sums = np.zeros((len(x) + 1, targets.shape[1]))
    np.cumsum(targets * weight[:, np.newaxis], axis=0, out=sums[1:])
    sizes = np.concatenate([[0.0], np.cumsum(weight)])
    places = np.flatnonzero(x[1:] > x[:-1]) + 1
    need = LEAST_GAIN * sizes[-1] / len(x)
    found = [x[place - 1:place + 1]
             for place, low, high in _best_first(sums, sizes, places, need, LOOKED_AT * most)
             if _jumps(targets, place, low, high)][:most]
    if not found:
        return np.zeros(0)
    edges = np.concatenate(edges_around(*np.transpose(found), x[0], x[-1]))
    return np.unique(edges[(edges > x[0]) & (edges < x[-1])])


def edges_around(lows, highs, first, last):
    """Return edges on both sides of thresholds between two values each: two float64 arrays.

    Parameters
    ----------
    lows, highs : float64 array (n,)
        The values below and above.
    first, last : float
        The least and the largest value of the column.
    """
    center = lows / 2 + highs / 2
    least = max(NARROW * (last / 2 - first / 2), NARROW_SIZE * max(-first, last))
    half = np.maximum(highs / 2 - lows / 2, least)
    return center - half, center + half


def _best_first(sums, sizes, places, need, most):
    """Return the cuts of a regression tree, the best ones first: their places, and where the rows
    begin and end that each divides."""
    least = max(LEAST_ROWS, (len(sizes) - 1) // LEAST_SHARE)
    waiting, found = [], []

    def look(low, high):
        some = places[np.searchsorted(places, low + least):
                      np.searchsorted(places, high - least, "right")]
        # weights of a side may vanish in the sum of far larger ones
        some = some[(sizes[some] > sizes[low]) & (sizes[high] > sizes[some])]
        if not len(some):
            return
        left, right = sums[some] - sums[low], sums[high] - sums[some]
        of_left, of_right = sizes[some] - sizes[low], sizes[high] - sizes[some]
        both = sums[high] - sums[low]
        gain = ((left ** 2).sum(axis=1) / of_left + (right ** 2).sum(axis=1) / of_right
                - (both ** 2).sum() / (sizes[high] - sizes[low]))
        best = int(np.argmax(gain))
        if gain[best] > need:
            heapq.heappush(waiting, (-gain[best], int(some[best]), low, high))

    look(0, len(sizes) - 1)
    while waiting and len(found) < most:
        _, place, low, high = heapq.heappop(waiting)
        found.append((place, low, high))
        look(low, place)
        look(place, high)
    return found


def _jumps(targets, place, low, high):
    """Whether lines through the rows before and after a place do not meet there."""
    window = (len(targets)) // WINDOW
    low, high = max(low, place - window), min(high, place + window)
    if min(place - low, high - place) < LEAST_WINDOW:
        return False
    (left, left_error), (right, right_error) = (
        _end_of_line(targets[low:place][::-1]), _end_of_line(targets[place:high]))
    jump = ((right - left) ** 2).sum()
    return jump > LEAST_SIZE and jump > LEAST_JUMP * (left_error + right_error)


def _end_of_line(targets):
    """Return the values of a line through rows at the first one, and the sum of their variances."""
    n = len(targets)
    u = np.arange(n) + 0.5
    mean, center = targets.mean(axis=0), n / 2
    squares = ((u - center) ** 2).sum()
    slope = ((u - center)[:, np.newaxis] * (targets - mean)).sum(axis=0) / squares
    rest = targets - mean - (u - center)[:, np.newaxis] * slope
    variance = (rest ** 2).sum() / (n - 2)
    return mean - slope * center, variance * (1 / n + center ** 2 / squares)
