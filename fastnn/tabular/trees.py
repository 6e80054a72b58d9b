"""Boosted trees as a part of the networks of a table: thresholds along the axes ask for it.

What the trees come to is a number of a row (`fastnn.tabular.forest.Forest`), which two more units
of each hidden layer hand on to the outputs.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event

import numpy as np

from fastnn.core.threads import resolve_threads, single_threaded_blas
from fastnn.tabular.blending import (
    SHARES,
    blended,
    columns_of,
    held_out_outputs,
    joined_network,
    kind_of,
    losses_of,
    outputs_of,
    rows_to_compare,
    saved_by_mean,
    weights_of_rows,
)
from fastnn.tabular.boosting import LEAVES, as_many_of_each, boosted, columns_to_split
from fastnn.tabular.forest import Forest

__all__ = ["with_trees"]

MOST_WORK = 4e9  # additions, of all folds and trees
WORK_OF_SECOND = 1e8  # of a thread, about
MOST_SUMS = 1e7  # that are there at a time, of a fold
PROBES = 2  # folds whose trees have to help single networks, before others have trees
LEAST_TREES = 16  # of a fold: fewer say little
LEAST_SAVED = 0.002  # of the loss: less is not worth the trees


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
    columns = columns_to_split(encoding, numbers, codes)
    unique = {fold.tobytes(): fold for fold in folds}
    trees = min(trees, _affordable(columns, y, len(unique), seconds, n_threads))
    if trees < LEAST_TREES:
        return nets, encoding, None
    weight = weights_of_rows(weight, n)
    z, seen = held_out_outputs(nets, own_codes, folds, kind, y.shape)
    alone = list(unique.values())
    found = _grown(columns, encoding, y, weight, kind, alone, z, trees, n_threads)
    if found is None:
        return nets, encoding, None
    forest = _forest_of(found, encoding, columns)
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


def _affordable(columns, y, n_folds, seconds, n_threads):
    """Return how many trees of each fold there is time and memory for."""
    n, k = y.shape
    sums = sum(column.size for column in columns) * 2 * k * LEAVES
    if not columns or sums > MOST_SUMS:
        return 0
    most = MOST_WORK
    if seconds is not None:
        most = min(most, seconds * WORK_OF_SECOND * min(resolve_threads(n_threads), n_folds))
    return int(most / (n * len(columns) * 2 * k * n_folds))


def _grown(columns, encoding, y, weight, kind, folds, z, trees, n_threads):
    """Return the trees of all folds; None where a fold has none, or those of the first folds do not
    help the networks that have not learned from their rows, whose outputs are z."""
    ended = Event()
    of_fold = partial(boosted, columns, encoding, y, weight, kind, trees=trees,
                      is_ended=ended.is_set)
    threads = min(resolve_threads(n_threads), len(folds))
    with single_threaded_blas(), ThreadPoolExecutor(threads) as pool:
        try:
            # several threads go on while the first folds are judged: some take longer than others
            begun = folds if threads > 1 else folds[:PROBES]
            found = [pool.submit(of_fold, fold) for fold in begun]
            first = [one.result() for one in found[:PROBES]]
            rows = np.concatenate(folds[:PROBES])
            if not all(one.trees for one in first) or not _share(
                    z[rows], np.concatenate([one.outputs for one in first]), y[rows], weight[rows],
                    kind, 0 * SHARES, 0):
                return None
            found += [pool.submit(of_fold, fold) for fold in folds[len(found):]]
            found = [one.result() for one in found]
        finally:  # by an error, too
            ended.set()
    return found if all(one.trees for one in found) else None


def _forest_of(found, encoding, columns):
    """Return the forest of the trees of all folds, of columns of an encoding."""
    known = [column.number - len(encoding.edges) for column in columns
             if column.thresholds is None]
    return Forest.of(as_many_of_each(found), len(encoding.edges),
                     [len(one) for one in encoding.maps], known)


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
