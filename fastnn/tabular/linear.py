"""A linear part of the networks of a table: few rows and nearly linear targets ask for it."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.linalg import blas, solve
from scipy.optimize import minimize

from fastnn.core.threads import resolve_threads, single_threaded_blas
from fastnn.tabular.blending import (
    SHARES,
    blended,
    columns_of,
    flattery,
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
from fastnn.tabular.encoding import LINEAR, Encoding

__all__ = ["with_linear_part", "with_straight_values"]

PENALTIES = (100.0, 10.0, 1.0)  # of the squares of the weights, beside the sum of losses
# Of the absolute weights, of the least penalty that leaves none: where a column has few rows, most
# columns may say nothing (Tibshirani 1996).
LASSO = (0.6, 0.4, 0.27, 0.18, 0.12, 0.08)
FEW_ROWS = 20  # for each column, below which that is tried
TRUST = 0.5  # in what the mean saves: linear models gain by it, too
STRAIGHT = 0.3  # share of a linear part that is not solved for at once, from which they are tried
LEAST_SAVED = 0.01  # of the loss, and a standard error, by these
FAR_OUT = 5.0  # robust deviations: columns with values beyond them stay bent at first
FAR_ERRORS = 2.0  # standard errors that these have to save
SINGLE_ERRORS = 2.0  # that a line has to save by the rows of one fold alone
LEAST_BY_LINES = 0.2  # of the loss of a line of bent values, from which on none are bent
FAR_SAVES = 10.0  # median losses that a row saves by these at most
LEAST = 1e-280  # range of a column: what is divided by a smaller one may be beyond all numbers
BEYOND = 1.0  # of the range of training on either side: how far these go on
ITERATIONS = 25  # for each penalty, from the last one's weights on
PROBES = 2  # folds whose linear models have to help single networks, before others have one
ROWS_OF_PROBES = 500  # from which on these tell
MOST_DENSE = 512  # columns up to which the normal equations are solved
MOST_WORK = 2e7, 1e8  # of an iteration, see `_work`; of dense ones
WORK_OF_SECOND = 1e8  # of a thread: .6 to 8e8 from 300 rows of 20 columns to 50 of 10,000
LEAST_FILLED = 0.3  # of a matrix of more columns, from which on it is a dense one


def with_linear_part(nets, encoding, codes, targets, task, weight, folds, numbers=None, *,
                     to_save=0.0, seconds=None, n_threads=None):
    """Return the networks with a linear part in each, and their encoding, where rows they have not
    learned from say that it helps; the same ones where it does not.

    The outputs before their activation become (1 - s) z + s l, where z are those of the network,
    and l those of a linear model (ridge, logistic or Poisson regression) of the same rows. The
    share s and the penalty of l are those of the least held-out loss of the mean of all networks,
    see `saved_by_mean` and `flattery` (blending.py): each row is held out from one network alone,
    whose variance is larger than the mean's, and which is stopped by this row.

    Parameters
    ----------
    nets : list of MLP
        All layers dense, the hidden ones of silu.
    encoding : Encoding
    codes : Codes
        The rows of training.
    targets, task, weight
        As `fastnn.tabular.recipe.fit` has them.
    folds : list of int array
        Of each network the rows that it has not learned from.
    numbers : float64 array (n_rows, n_numbers) or None, default=None
        Columns of the encoding, statistics included: with them a linear part may be one of the
        numbers themselves, which their bins add up to, in the place of values that are bent.
    to_save : float, default=0.0
        The share of the loss that it has to save.
    seconds : float or None, default=None
        That it may take, about.
    n_threads : int or None, default=None
        That fit linear models of several folds side by side.
    """
    kind = kind_of(task)
    if kind is None:
        return nets, encoding
    X, n = _matrix(encoding, codes), codes.shape[0]
    y = columns_of(targets, task)
    unique = {fold.tobytes(): fold for fold in folds}
    if _is_too_much(X, y, unique):
        return nets, encoding
    judge = _Judge(nets, codes, y, weights_of_rows(weight, n), folds, kind, to_save, seconds,
                   min(resolve_threads(n_threads), len(unique)))
    exact = kind == "identity" and X.shape[1] <= MOST_DENSE
    columns, first = [], None
    if numbers is not None:  # values that are not bent go on beyond those of training at once
        straight = _Straight(encoding, numbers, 2 / LINEAR)
        columns = straight.columns
        if columns:
            first, X = straight, _matrix(encoding, codes, straight.values(numbers))
    with single_threaded_blas():
        none = judge.none(_Exact if exact else _Iterated)
        best = judge.better(none, none.make, X, PENALTIES, first)
        if n < FEW_ROWS * X.shape[1] and not to_save:
            best = judge.better(best, _Lasso, X, LASSO, first)
        if numbers is not None and (exact or best.share >= STRAIGHT):
            for far in (False, True):
                straight = _Straight(encoding, numbers, np.inf if far else FAR_OUT)
                if straight.columns == columns:
                    continue
                columns = straight.columns
                new = judge.better(best, best.make,
                                   _matrix(encoding, codes, straight.values(numbers)),
                                   best.penalties, straight)
                if _is_worth(judge.losses(best.share, best.line),
                             judge.losses(new.share, new.line), best.loss, new.loss, far):
                    best = new
    least = max(to_save * abs(none.loss), judge.doubt(best))
    if best.share == 0 or none.loss - best.loss < least:
        return nets, encoding
    wider = encoding if best.straight is None else best.straight.encoding
    return [_joined(net, encoding, best.parts[fold.tobytes()], best.share, best.straight)
            for net, fold in zip(nets, folds, strict=True)], wider


class _Line(NamedTuple):
    """A linear part.

    Attributes
    ----------
    loss : float
        Of the mean of networks with it.
    share : float
    line : float64 array (n_rows, n_out)
        What it gives for rows that it has not learned from; NaN elsewhere.
    make : class
        Of the linear models.
    penalties : tuple of float
        Its own, and those that were not tried yet.
    parts : dict or None
        By fold its weights, and below them the biases: float64 (p + 1, n_out).
    straight : _Straight or None
        Numbers that are not bent in it.
    """

    loss: float
    share: float
    line: np.ndarray
    make: type
    penalties: tuple
    parts: dict | None = None
    straight: object = None


class _Judge:
    """Linear parts, by the losses of rows that were held out.

    Parameters
    ----------
    nets : list of MLP
    codes : Codes
    y : float64 array (n_rows, n_out)
    weight : float64 array (n_rows,)
    folds : list of int array
        Of each network the rows that it has not learned from.
    kind : str
    to_save : float
        The share of the loss that a linear part has to save.
    seconds : float or None
        That all linear models may take, by their work: the clock would give other models each time.
    n_threads : int
    """

    def __init__(self, nets, codes, y, weight, folds, kind, to_save, seconds, n_threads):
        self.y, self.weight, self.kind, self.to_save = y, weight, kind, to_save
        self.work = np.inf if seconds is None else seconds * WORK_OF_SECOND * n_threads
        self.n_threads = n_threads
        self.folds = {fold.tobytes(): fold for fold in folds}
        self.z, self.seen = held_out_outputs(nets, codes, folds, kind, y.shape)
        self.shares = weight[self.seen] / weight[self.seen].sum()
        some = rows_to_compare(len(y))
        # what the mean of networks has below one of them
        self.saved = TRUST * saved_by_mean(outputs_of(nets, codes, some, kind), some, folds, kind,
                                           weight)
        self.saved -= flattery(nets) * self.losses(0, self.z).sum()

    def none(self, make):
        """Return no linear part."""
        return _Line(self.loss(0, self.z), 0.0, self.z, make, PENALTIES)

    def losses(self, s, line):
        """Return the losses of single networks for all rows, (n,), where a line has a share."""
        z, line, y = self.z[self.seen], line[self.seen], self.y[self.seen]
        return self.shares * losses_of(blended(z, line, s), y, self.kind)[0]

    def loss(self, s, line):
        """Return the loss of the mean of networks."""
        return self.losses(s, line).sum() - (1 - s) ** 2 * self.saved

    def doubt(self, best):
        """Return what a linear part has to save beside others: where one fold is all there is, its
        line is no mean of several, and judged by few rows."""
        if len(self.folds) > 1:
            return 0.0
        saves = self.losses(0, self.z) - self.losses(best.share, best.line)
        return SINGLE_ERRORS * saves.std() * len(saves) ** 0.5

    def helps(self, line, rows):
        """Return whether a line has a share, by some rows, and saves half of what all folds have to
        show: these may be the worse ones."""
        own = self.weight[rows] / self.weight[rows].sum()
        z, line, y = self.z[rows], line[rows], self.y[rows]
        found = [own @ losses_of(blended(z, line, s), y, self.kind)[0] - (1 - s) ** 2 * self.saved
                 for s in SHARES.tolist()]
        saved = found[0] - min(found)
        return saved > 0 and saved >= self.to_save / 2 * abs(found[0])

    def better(self, best, make, X, penalties, straight):
        """Return the best of the linear parts of some penalties, or the one that was best before:
        penalties fall until the loss rises, or time is up."""
        work = 0 if make is _Exact else ITERATIONS * _work(X, self.y, self.folds)
        if work > self.work:
            return best
        fit, last, found = make(X, self.y, self.weight, self.kind, self.folds), np.inf, {}

        def line_of(penalty, keys):
            line = np.full(self.y.shape, np.nan)
            new = [key for key in keys if (key, penalty) not in found]
            with ThreadPoolExecutor(self.n_threads) as pool:
                try:
                    for key, part in zip(new, pool.map(fit.part, new, [penalty] * len(new)),
                                         strict=True):
                        found[key, penalty] = part
                except BaseException:  # Ctrl-C, too: the pool waits for those that run
                    fit.is_given_up = True
                    raise
            for key in keys:
                part, fold = found[key, penalty], self.folds[key]
                line[fold] = X[fold] @ part[:-1] + part[-1]
            return line

        probes, some = list(self.folds)[:PROBES], penalties
        if self.to_save:  # which is seen at once: amazon's 26,000 rows 4.9 s by all of them
            probes, some = probes[:1], penalties[:1]
        rows = np.concatenate([self.folds[key] for key in probes])
        if len(rows) >= ROWS_OF_PROBES and len(probes) < len(self.folds) and not any(
                self.helps(line_of(penalty, probes), rows) for penalty in some):
            return best
        for i, penalty in enumerate(penalties):
            if work > self.work:
                break
            self.work -= work
            line = line_of(penalty, self.folds)
            least, s = min((self.loss(s, line), s) for s in SHARES.tolist())
            if least < best.loss:
                parts = {key: found[key, penalty] for key in self.folds}
                best = _Line(least, s, line, make, penalties[i:], parts, straight)
            if least > last:
                break
            last = least
        return best


def with_straight_values(encoding, codes, encode, targets, task, weight, folds):
    """Return the encoding whose values are not bent in columns with values far out, where ridge
    regression says so by rows that it has not learned from; the same one where it does not.

    Networks learn a line in what is bent by their bins alone, slowly where few rows are far out.
    That a line of the numbers saves a fifth of what one of bent values costs says that the target
    follows them there (log-normal columns .04 to .27 is left, ames 1.22, bike 1.00, pol .95).

    Parameters
    ----------
    encoding : Encoding
    codes : Codes
        The rows of training.
    encode : callable
        From another encoding to the codes of the same rows.
    targets, task, weight
        As `fastnn.tabular.recipe.fit` has them.
    folds : list of int array
    """
    columns = [j for j, edges in enumerate(encoding.edges)
               if len(edges) > 2 and _spread(edges, encoding.scales[j]) > FAR_OUT]
    if kind_of(task) != "identity" or not columns:
        return encoding
    X, y, n = _matrix(encoding, codes), columns_of(targets, task), codes.shape[0]
    if _is_too_much(X, y, folds) or X.shape[1] > MOST_DENSE:
        return encoding
    weight = weights_of_rows(weight, n)
    straight = encoding.straightened(columns)
    with single_threaded_blas():
        bent, new = (_least(own, y, weight, folds) for own in (
            X, _matrix(straight, encode(straight))))
    right = new.sum() < (1 - LEAST_BY_LINES) * bent.sum() and (
        _is_worth(bent, new, bent.sum(), new.sum(), True))
    return straight if right else encoding


def _least(X, y, weight, folds):
    """Return the losses of held-out rows (n,) by ridge regression of the best penalty."""
    fit, least = _Exact(X, y, weight, "identity", dict(enumerate(folds))), None
    for penalty in PENALTIES:
        line = np.empty(y.shape)
        for key, fold in enumerate(folds):
            part = fit.part(key, penalty)
            line[fold] = X[fold] @ part[:-1] + part[-1]
        losses = weight / weight.sum() * losses_of(line, y, "identity")[0]
        if least is None or losses.sum() < least.sum():
            least = losses
    return least


def _work(X, y, folds):
    """Return the entries and parameters, which cost more, of an iteration, of all folds."""
    return (X.nnz + 20 * X.shape[1]) * y.shape[1] * len(folds)


def _is_too_much(X, y, folds):
    return _work(X, y, folds) > MOST_WORK[_is_filled(X)]


def _is_filled(X):
    """Return whether the zeros of a matrix of many columns cost less than to tell where it has
    others."""
    return X.shape[1] > MOST_DENSE and X.nnz > LEAST_FILLED * X.shape[0] * X.shape[1]


def _is_worth(before, now, old, new, far):
    """Return whether numbers that are not bent save enough of the loss.

    Values that are bent are safe from those far out: less than a hundredth, or than the standard
    error, is not worth them. Where columns have values far out, most rows have to save: a few, far
    out themselves, do not decide, whatever they save.

    Parameters
    ----------
    before, now : float64 array (n,)
        The losses of held-out rows.
    old, new : float
        The loss of the mean of networks.
    far : bool
    """
    saves, saved, errors = before - now, old - new, 1.0
    if far:
        most = FAR_SAVES * np.median(before)
        saves, errors = saves.clip(-most, most), FAR_ERRORS
        saved = min(saved, saves.sum())
    return saved >= errors * saves.std() * len(saves) ** 0.5 and old - new >= LEAST_SAVED * old


def _spread(edges, scale):
    """Return how many robust deviations the values of a column are from their median at most."""
    center, deviation = scale[:2]
    return max(edges[-1] / deviation - center / deviation,
               center / deviation - edges[0] / deviation)


class _Straight:
    """Numbers, standardised, of columns with bins and without values far out.

    They are linear functions of the bins of an encoding that goes on beyond the values of training.
    A missing one counts as the mean, in columns, too, that had none.

    Attributes
    ----------
    encoding : Encoding
    places : tuple of array
        Of its inputs among those of the narrower one, see `places_of`.
    columns : list of int
    centers, scales : float64 array (n_numbers,)
    """

    def __init__(self, encoding, numbers, far=FAR_OUT):
        self.columns = [j for j, edges in enumerate(encoding.edges)
                        if len(edges) > 2 and _spread(edges, encoding.scales[j]) <= far
                        and edges[-1] - edges[0] > LEAST]
        self.centers, self.scales = np.zeros(len(encoding.edges)), np.ones(len(encoding.edges))
        edges = list(encoding.edges)
        for j in self.columns:
            own = edges[j]
            with np.errstate(over="ignore", invalid="ignore"):
                more = BEYOND * (own[-1] - own[0])
                wider = np.concatenate([[own[0] - more], own, [own[-1] + more]])
            edges[j] = np.unique(wider[np.isfinite(wider)])
            size = np.abs(own).max()  # whose square may be beyond all numbers
            x = np.clip(numbers[:, j], own[0], own[-1]) / size
            x = x[~np.isnan(x)]
            self.centers[j], self.scales[j] = size * x.mean(), size * x.std() or 1.0
        seen = encoding.seen.copy()
        seen[self.columns] = True
        self.encoding = Encoding(edges, encoding.scales, seen, encoding.maps, encoding.statistics)
        self.places = places_of(encoding, self.encoding)

    def values(self, numbers):
        """Return them for rows: float64 (n_rows, n_numbers), NaN for all others."""
        found = np.full(numbers.shape, np.nan)
        for j in self.columns:
            edges = self.encoding.edges[j]
            x = np.clip(numbers[:, j], edges[0], edges[-1])
            found[:, j] = (x - self.centers[j]) / self.scales[j]
        return found

    def as_bins(self, first):
        """Bring the weights (n_in, n_out) of the values of these columns to their bins; return
        what is left for the bias: float64 (n_out,)."""
        bias = np.zeros(first.shape[1])
        for j in self.columns:
            at, edges = self.encoding.firsts[j], self.encoding.edges[j]
            slope = first[at] / self.scales[j]
            first[at] = 0
            first[at + 1:at + len(edges)] = np.diff(edges)[:, np.newaxis] * slope
            low = (edges[0] - self.centers[j]) * slope
            bias += low
            first[at + len(edges)] -= low
        return bias


def _matrix(encoding, codes, straight=None):
    """Return what is linear of the codes: values, missing ones and categories, no bins; numbers of
    ``straight`` (n_rows, n_numbers) that are not NaN in the place of values."""
    n = codes.shape[0]
    kept = encoding.kinds != Encoding.BIN
    places = np.cumsum(kept) - 1
    at = encoding.linear_entries
    values = codes.data.reshape(n, -1)[:, at].astype(float)
    columns = codes.indices.reshape(n, -1)[:, at]
    values[~kept[columns]] = 0
    if straight is not None:
        own = values[:, :straight.shape[1]]
        own[:] = np.where(np.isnan(straight), own, straight)
    found = sp.csr_matrix((values.reshape(-1), places[columns].reshape(-1).clip(0),
                           np.arange(0, n * len(at) + 1, len(at))), (n, int(kept.sum())))
    found.sum_duplicates()
    return found


class _Exact:
    """Ridge regression of all rows but those of a fold, by the normal equations.

    No @ of dense matrices: the sums of SciPy's BLAS do not depend on the number of threads here.
    """

    def __init__(self, X, y, weight, kind, folds):
        both = np.hstack([X.toarray(), np.ones((len(y), 1)), y]) * np.sqrt(weight)[:, np.newaxis]
        self.n_out = y.shape[1]
        whole = blas.dgemm(1, both, both, trans_a=True)
        self.grams = {key: whole - blas.dgemm(1, both[fold], both[fold], trans_a=True)
                      for key, fold in folds.items()}

    def part(self, key, penalty):
        """Return the weights, and below them the biases: float64 (p + 1, n_out)."""
        gram, k = self.grams[key], self.n_out
        left = gram[:-k, :-k].copy()
        left[np.diag_indices_from(left)] += penalty
        left[-1, -1] += 1e-9 - penalty
        return solve(left, gram[:-k, -k:], assume_a="pos")


def _times(dense, other, trans=0):
    """Return the product of a matrix, column by column, or of its transpose, and some columns."""
    return np.stack([blas.dgemv(1, dense, column, trans=trans) for column in other.T], axis=1)


class _Iterated:
    """The linear model of all rows but those of a fold, by L-BFGS."""

    is_given_up = False  # what goes on in other threads has to end

    def __init__(self, X, y, weight, kind, folds):
        self.kind, self.found, self.rows, self.largest = kind, {}, {}, {}
        self.all_rows, self.folds = (X, y, weight), folds

    def rows_of(self, key):
        """Return X and its transpose as functions that multiply with them, y and weights of all
        rows but those of a fold."""
        if key not in self.rows:
            X, y, weight = self.all_rows
            others = np.setdiff1d(np.arange(len(y)), self.folds[key])
            some = X[others]
            if _is_filled(X):
                dense = some.toarray(order="F")  # .4 of the time; see `_Exact` for why not @
                products = partial(_times, dense), partial(_times, dense, trans=1)
            else:
                products = some.__matmul__, some.T.tocsr().__matmul__
            self.rows[key] = *products, y[others], weight[others]
        return self.rows[key]

    def part(self, key, penalty):
        """Return the weights, and below them the biases: float64 (p + 1, n_out)."""
        start = self.start(key)

        def objective(flat):
            part = flat.reshape(start.shape)
            value, gradient = self.sum_of_losses(key, part)
            gradient[:-1] += penalty * part[:-1]
            return value + penalty / 2 * (part[:-1] ** 2).sum(), gradient.reshape(-1)

        n = len(self.rows_of(key)[-1])
        self.found[key] = self.least(objective, start.reshape(-1), n).reshape(start.shape)
        return self.found[key]

    def start(self, key):
        """Return the weights of the last penalty; those of a constant where there was none."""
        if key not in self.found:
            *_, y, weight = self.rows_of(key)
            self.found[key] = np.zeros((self.all_rows[0].shape[1] + 1, y.shape[1]))
            self.found[key][-1] = linked(np.average(y, axis=0, weights=weight), self.kind)
        return self.found[key]

    def sum_of_losses(self, key, part):
        """Return the sum of the losses of the rows, and its gradient, of the shape of ``part``."""
        if self.is_given_up:
            raise RuntimeError("an error in another thread has ended this one")
        times, back, y, weight = self.rows_of(key)
        losses, means = losses_of(times(part[:-1]) + part[-1], y, self.kind)
        error = (means - y) * weight[:, np.newaxis]
        return (weight * losses).sum(), np.vstack([back(error), error.sum(axis=0)])

    @staticmethod
    def least(objective, start, n, bounds=None):
        """Return where an objective of n rows is least."""
        return minimize(objective, start, method="L-BFGS-B", jac=True, bounds=bounds, options={
            "maxiter": ITERATIONS, "gtol": 1e-4 * n ** 0.5, "maxcor": 20}).x


class _Lasso(_Iterated):
    """The linear model of a penalty of the absolute weights: each is the difference of two that
    are not negative."""

    def part(self, key, penalty):
        """Return the weights, and below them the biases: float64 (p + 1, n_out)."""
        old = self.start(key)
        if key not in self.largest:
            self.largest[key] = np.abs(self.sum_of_losses(key, old)[1][:-1]).max(initial=0)
        penalty *= self.largest[key]
        size, shape = old[:-1].size, old[:-1].shape

        def joined(flat):
            both = flat[:2 * size].reshape(2, *shape)
            return np.vstack([both[0] - both[1], flat[2 * size:]])

        def objective(flat):
            value, gradient = self.sum_of_losses(key, joined(flat))
            slope = gradient[:-1].reshape(-1)
            return (value + penalty * flat[:2 * size].sum(),
                    np.concatenate([slope + penalty, penalty - slope, gradient[-1]]))

        start = np.concatenate([old[:-1].clip(0).reshape(-1), (-old[:-1]).clip(0).reshape(-1),
                                old[-1]])
        bounds = [(0, None)] * (2 * size) + [(None, None)] * len(old[-1])
        self.found[key] = joined(self.least(objective, start, len(self.rows_of(key)[-1]), bounds))
        return self.found[key]


def _joined(net, encoding, part, share, straight=None):
    """Return a network of the outputs (1 - share) z + share l before their activation, where l are
    those of a linear part. It reads the encoding of ``straight``."""
    own, bias = net.get_weights()[0], part[-1]
    first = np.zeros((encoding.n_inputs, part.shape[1]))
    first[encoding.kinds != Encoding.BIN] = part[:-1]
    if straight is not None:
        at, shares = straight.places
        own, first = own[at] * shares[:, np.newaxis], first[at] * shares[:, np.newaxis]
        bias = bias + straight.as_bins(first)
    return joined_network(net, own, first, bias, share)
