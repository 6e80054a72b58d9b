"""Another model of the same rows as a part of networks: in which share, and as which units."""

from functools import reduce

import numpy as np
from scipy.special import expit, xlogy

from fastnn.mlp import MLP
from fastnn.network.spec import Dense

__all__ = ["SHARES", "blended", "columns_of", "curvature_of", "flattery", "held_out_outputs",
           "joined_network", "kind_of", "linked", "losses_of", "outputs_of", "places_of",
           "rows_to_compare", "saved_by_mean", "weights_of_rows"]

SHARES = np.linspace(0, 1, 21)  # that are tried
MOST_OUTPUTS = 8
MOST_ROWS = 2000  # on which the networks are compared with each other
TINY = 1e-7


def kind_of(task):
    """Return which of the linear models it is, None where there is none."""
    if task.n_out > MOST_OUTPUTS:
        return None
    if task.output == "exp":
        return "log" if task.loss.name == "poisson" else None
    if task.output == "identity":
        return "identity" if task.loss.name == "squared_error" else None
    return {"softmax": "softmax", "sigmoid": "logit"}[task.output]


def blended(z, other, share):
    """Return outputs before their activation, of which other ones have a share."""
    return (1 - share) * z + share * other


def columns_of(targets, task):
    """Return targets as float64 (n_rows, n_out), those of classes one-hot."""
    if task.kind == "multiclass":
        return (targets[:, np.newaxis] == np.arange(task.n_out)).astype(float)
    return np.asarray(targets, float).reshape(len(targets), -1)


def linked(outputs, kind):
    """Return outputs as they were before their activation."""
    z = np.asarray(outputs, float)
    if kind == "identity":
        return z
    if kind == "logit":
        z = np.clip(z, TINY, 1 - TINY)
        return np.log(z) - np.log1p(-z)
    return np.log(np.maximum(z, TINY))


def losses_of(z, y, kind):
    """Return the loss of each row (n,), and the means that z stands for."""
    if kind == "identity":
        return ((z - y) ** 2).sum(axis=1) / 2, z
    # Sums along a short last axis are slow in NumPy: seven classes take 2.3 ms by these, 1.4 so.
    if kind == "logit":
        losses = np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z))) - y * z
        return np.einsum("ij->i", losses), expit(z)
    if kind == "log":
        means = np.exp(np.minimum(z, 50))
        return (means - y * z + y - xlogy(y, y)).sum(axis=1), means
    top = reduce(np.maximum, z.T)
    means = np.exp(z - top[:, np.newaxis])
    total = np.einsum("ij->i", means)
    return top + np.log(total) - np.einsum("ij,ij->i", y, z), means / total[:, np.newaxis]


def rows_to_compare(n):
    """Return the rows by which networks are compared with each other."""
    return np.arange(0, n, max(n // MOST_ROWS, 1))


def weights_of_rows(weight, n):
    """Return weights float64 (n,) whose mean is 1, of a weight for each row or None: penalties are
    beside sums over rows, whatever the scale of weights."""
    weight = np.ones(n) if weight is None else np.asarray(weight, float)
    return weight / weight.mean()


def outputs_of(nets, codes, rows, kind):
    """Return outputs before their activation: float64 (n_networks, n_rows, n_out)."""
    some = codes[rows]
    return np.stack([linked(net.predict(some), kind) for net in nets])


def held_out_outputs(nets, codes, folds, kind, shape):
    """Return the outputs before their activation, float64 (n_rows, n_out), of the rows of folds, by
    the first network that has not learned from them, NaN elsewhere; and which rows these are."""
    z, seen = np.full(shape, np.nan), np.zeros(shape[0], bool)
    for net, fold in zip(nets, folds, strict=True):
        fold = fold[~seen[fold]]
        z[fold], seen[fold] = linked(net.predict(codes[fold]), kind), True
    return z, seen


def saved_by_mean(z, rows, folds, kind, weight):
    """Return by how much the loss of the mean of networks is below theirs: half the variance of
    their outputs times the curvature of the loss (Krogh & Vedelsby 1995).

    Parameters
    ----------
    z : float64 array (n_networks, n_rows, n_out)
        Their outputs before the activation.
    rows : int array (n_rows,)
        Which rows of training these are.
    folds : list of int array
        Of each network the rows that it has not learned from.
    kind : str
        As `kind_of` gives it.
    weight : float64 array
        Of all rows of training.
    """
    # of all that have learned from a row alike, or of all where none has
    learned = np.stack([~np.isin(rows, fold) for fold in folds])[:, :, np.newaxis]
    learned |= ~learned.any(axis=0)
    count = learned.sum(axis=0)
    mean = (z * learned).sum(axis=0) / np.maximum(count, 1)
    variance = (learned * (z - mean) ** 2).sum(axis=0) / np.maximum(count - 1, 1)
    means = losses_of(mean, np.zeros_like(mean), kind)[1]
    each = (curvature_of(means, kind) * variance).sum(axis=1) / 2 * (1 - 1 / len(z))
    return float(np.average(each, weights=weight[rows]))


def flattery(nets):
    """Return by which share of itself the held-out loss of networks would be larger if each had
    stopped at the epoch that the others stopped at: the rows that a network is stopped by are not
    new to it. 0 where they have not been stopped so, and where there are no others.
    """
    if len(nets) < 2 or any(
            net.history is None or net.history.val_loss is None for net in nets):
        return 0.0
    curves = [np.array(net.history.val_loss) for net in nets]
    best = np.array([int(np.argmin(curve)) for curve in curves])
    others = [int(np.median(np.delete(best, i))) for i in range(len(nets))]
    honest = sum(curve[min(epoch, len(curve) - 1)]
                 for curve, epoch in zip(curves, others, strict=True))
    least = sum(curve.min() for curve in curves)
    return float(honest / least - 1) if least > 0 and np.isfinite(honest) else 0.0


def curvature_of(means, kind):
    """Return the second derivatives of the loss by outputs before their activation."""
    return {"identity": np.ones_like(means), "log": means}.get(kind, means * (1 - means))


def places_of(old, new):
    """Return of each input of an encoding its input of another one, and its share of it.

    Parameters
    ----------
    old, new : Encoding
        The same but for further edges of columns that have bins, which may lie outside, and for
        further inputs of missing values.

    Returns
    -------
    tuple of array
        Places, intp (n_inputs,), and shares, float64 (n_inputs,): 0 where
        there was none.
    """
    at, shares = [], []
    for j, (a, b) in enumerate(zip(old.edges, new.edges, strict=True)):
        first = old.firsts[j]
        if len(a) > 1:
            at.append([first])
            shares.append([1.0])
        if len(a) > 2:
            inside = (np.searchsorted(a, b[1:], "left") - 1).clip(0, len(a) - 2)
            at.append(first + 1 + inside)
            there = (b[1:] > a[0]) & (b[:-1] < a[-1])
            shares.append(np.where(there, np.diff(b) / np.diff(a)[inside], 0.0))
        if new.seen[j]:
            missing = first + (len(a) > 1) + max(len(a) - 1, 0) * (len(a) > 2)
            at.append([missing if old.seen[j] else first])
            shares.append([1.0 if old.seen[j] else 0.0])
    rest = old.n_inputs - sum(int(one.max(initial=-1)) + 1 for one in old.maps)
    at.append(np.arange(rest, old.n_inputs))
    shares.append(np.ones(old.n_inputs - rest))
    return np.concatenate(at).astype(np.intp), np.concatenate(shares)


def joined_network(net, first, W, b, share):
    """Return a network of the outputs (1 - share) z + share l before their activation.

    z are those of the network, l = X W + b. silu(l) - silu(-l) = l: two more units of each hidden
    layer hand an output on to the next one.

    Parameters
    ----------
    net : MLP
        All layers dense, the hidden ones of silu.
    first : float64 array (n_in, n_units)
        The weights of its first layer, for the inputs that W is of.
    W, b : float64 array (n_in, n_out), (n_out,)
    share : float
    """
    old, k = net.get_weights(), len(b)
    joined = MLP.of([*(Dense(units + 2 * k, "silu") for units in net.sizes[1:-1]), Dense(k)],
                    n_in=len(first), output=net.output, random_state=0)
    weights = [np.hstack([first, W, -W]), np.concatenate([old[1], b, -b])]
    on = np.kron([[1, -1], [-1, 1]], np.eye(k))
    for V, c in zip(old[2:-2:2], old[3:-2:2], strict=True):
        weights += [np.block([[V, np.zeros((len(V), 2 * k))],
                              [np.zeros((2 * k, V.shape[1])), on]]), np.append(c, np.zeros(2 * k))]
    weights += [np.vstack([(1 - share) * old[-2], share * np.eye(k), -share * np.eye(k)]),
                (1 - share) * old[-1]]
    joined.set_weights(weights)
    joined._history = net._history
    return joined
