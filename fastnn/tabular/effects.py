"""Effects of categories beside each other: what each adds where the other columns are the same.

A smoothed mean of the targets of a category knows nothing of other columns, and gives all columns
the same prior. An additive model of all columns tells effects apart (of a user and of an item, of
an id and of numbers), and each column says itself how much its categories differ.
"""

import numpy as np

from fastnn.encoders import greedy_edges
from fastnn.tabular.blending import curvature_of, linked, losses_of, weights_of_rows
from fastnn.tabular.statistics import Statistics

__all__ = ["with_effects"]

# Of a column of numbers, whose effects are taken off: one for 64 rows, between two limits (20,000
# rows of 5,000 ids and a line .380 with 16, .376 with 32, .374 with 64; 400 rows of 80 ids and a
# line, mean of three seeds, .810, .810, .824).
LEAST_BINS, MOST_BINS, ROWS_OF_BIN = 16, 64, 64
PENALTIES = 10 ** np.linspace(-3, 4, 43)  # that are tried, beside none at all
NO_EFFECT = np.inf  # the penalty of a column whose categories are all the same
LIKELIER = 2.0  # logarithm of how much more likely than that any other has to be
LEAST_LEFT = 10  # rows beyond one for each category: fewer say nothing of the noise
UPDATES, STEPS, PASSES = 4, 6, 3  # of penalties; of Newton at most, after each; of these, by column
ENOUGH = 1e-5  # of the objective of a constant: steps that save less are the last
HALVES = 6  # of a step that does not help
# Of that of the constant: where all rows of a category are of one class, its step would be far.
LEAST_CURVATURE = 0.25
MOST_ROWS = 40  # of a category on average: a plain mean of more rows is as good
PENALTY = 1.0  # of models of numbers alone, which tell whether effects are better ones
LEAST_SAVED = 0.003  # of their loss, and a standard error
MOST_WORK = 2e7  # rows times columns of all models: some seconds


def with_effects(statistics, found, inputs, means_of, weight, folds):
    """Return statistics whose means of single columns are effects of an additive model, and what
    the rows of training get, where they say more of the targets beside all other numbers than these
    means do; else those that are there.

    The model adds an effect of each category, and of bins of each number, behind the link. Effects
    of a column are drawn from a normal distribution (Robinson 1991) of the likeliest variance, of
    which a column without effects has none: its means stay as they are. A row of training gets
    effects of a model that has not seen its fold.

    Parameters
    ----------
    statistics : Statistics
    found : float64 array (n_rows, n_numbers)
        As `Statistics.fit` gives them.
    inputs : Inputs
        The rows of training.
    means_of, weight, folds
        As `Statistics.fit` has them.
    """
    n, k, kind = len(folds), len(statistics.prior), statistics.link
    single = {i: key[0] for i, key in enumerate(statistics.keys)
              if len(key) == 1 and n < MOST_ROWS * len(statistics.known[i])}
    columns = _columns(inputs, statistics.sizes, n * k * (int(folds.max()) + 2))
    if not single or not columns or len(np.unique(folds)) < 2:
        return statistics, found
    weight, y = weights_of_rows(weight, n), np.asarray(means_of, float)
    models = [Additive(columns, own, weight, kind).fit() for own in y.T]
    single = {i: j for i, j in single.items()
              if any(model.penalties[j] < NO_EFFECT for model in models)}
    if not single:
        return statistics, found
    own, prior = found.copy(), statistics.prior
    for fold in np.unique(folds):
        rows = np.flatnonzero(folds == fold)
        others = np.where(folds == fold, 0, weight)
        for m, whole in enumerate(models):
            model = Additive(columns, y[:, m], others, kind).fit(whole.penalties)
            for i, j in single.items():
                own[rows, i * k + m] = prior[m] + model.effects[j][columns[j][0][rows]]

    def losses(numbers):
        both = [_binned(x, LEAST_BINS) for x in numbers.T] + columns[len(statistics.sizes):]
        z = [Additive(both, target, weight, kind).fit([PENALTY] * len(both)).z for target in y.T]
        return weight * losses_of(np.stack(z, axis=1), y, kind)[0]

    before = losses(found)
    saves = before - losses(own)
    if saves.sum() < max(saves.std() * n ** 0.5, LEAST_SAVED * before.sum()):
        return statistics, found
    means = list(statistics.means)
    for i, j in single.items():
        effects = np.stack([model.effects[j] for model in models], axis=1)
        means[i] = prior + effects[statistics.known[i]]
    return Statistics(statistics.keys, statistics.sizes, kind, prior, statistics.known, means), own


def _columns(inputs, sizes, work):
    """Return codes, intp (n_rows,), and their number, of each column of categories, and of those of
    numbers where these are not too much work; none where the others are."""
    if work * len(sizes) > MOST_WORK:
        return []
    columns = [(codes.astype(np.intp), size)
               for codes, size in zip(inputs.codes.T, sizes, strict=True)]
    if work * (len(sizes) + inputs.numbers.shape[1]) <= MOST_WORK:
        bins = int(np.clip(len(inputs) // ROWS_OF_BIN, LEAST_BINS, MOST_BINS))
        columns += [_binned(x, bins) for x in inputs.numbers.T]
    return columns


def _binned(x, bins):
    """Return the codes of numbers, intp (n_rows,), over a few bins, and how many there are."""
    there = np.isfinite(x)
    edges = greedy_edges(x[there], bins) if there.any() else x[:0]
    return np.where(there, np.searchsorted(edges[1:-1], x, "right"), len(edges)), len(edges) + 1


def _likeliest_penalty(sums, counts, noise):
    """Return the likeliest penalty of the squares of effects.

    Parameters
    ----------
    sums : float64 array (n_categories,)
        Of what is left by the other columns, times weights.
    counts : float64 array (n_categories,)
        Of weights.
    noise : float
        Variance of what is left, times its weight.
    """
    there = counts > 0
    counts, means, best, found = counts[there], sums[there] / counts[there], None, NO_EFFECT
    for penalty in (NO_EFFECT, *PENALTIES[::-1]):
        precision = 1 / (1 / penalty + 1 / counts)
        off = means - (precision * means).sum() / precision.sum()
        value = (np.log(precision).sum() - (precision * off**2).sum() / noise) / 2
        if best is None:
            best = value + LIKELIER
        elif value > best:
            best, found = value, penalty
    return found


class Additive:
    """A sum of effects of columns, by Newton's method, whose equations are solved column by column
    (backfitting; Hastie & Tibshirani 1990).

    Sums are NumPy's, not of BLAS: the same for any number of threads.

    Attributes
    ----------
    effects : list of float64 array (size,)
        Of each column.
    penalties : list of float
        Of their squares, beside the sum of losses.
    z : float64 array (n_rows,)
        What they add up to, before the activation.
    """

    def __init__(self, columns, y, weight, kind):
        self.columns, self.y, self.weight, self.kind = columns, y[:, np.newaxis], weight, kind
        constant = np.array([[(weight * y).sum() / weight.sum()]])
        self.z = np.full(len(y), linked(constant, kind)[0, 0])
        self.effects = [np.zeros(size) for _, size in columns]
        self.penalties = [1.0] * len(columns)
        self.least = LEAST_CURVATURE * curvature_of(constant, kind)[0, 0]

    def fit(self, penalties=None):
        """Find the effects, and penalties where none are given."""
        self.enough = ENOUGH * self.objective()
        if penalties is not None:
            self.penalties = penalties
        self.descend()
        for _ in range(UPDATES if penalties is None else 0):
            self.update_penalties()
            self.descend()
        return self

    def objective(self):
        """Return the sum of losses and penalties."""
        losses = losses_of(self.z[:, np.newaxis], self.y, self.kind)[0]
        return (self.weight * losses).sum() + sum(
            penalty / 2 * (own**2).sum()
            for penalty, own in zip(self.penalties, self.effects, strict=True) if own.any())

    def linearised(self):
        """Return of each row weight and error, in units of z, of the equations of a step."""
        means = losses_of(self.z[:, np.newaxis], self.y, self.kind)[1]
        curvature = np.maximum(curvature_of(means, self.kind), self.least)
        return self.weight * curvature[:, 0], ((self.y - means) / curvature)[:, 0]

    def update_penalties(self):
        """Take the likeliest penalties, each for what the effects of the others leave."""
        weight, error = self.linearised()
        n, noise = np.count_nonzero(self.weight), 1.0
        for j, (codes, size) in enumerate(self.columns):
            left = error + self.effects[j][codes]
            counts, sums = (np.bincount(codes, own, size) for own in (weight, weight * left))
            there, self.penalties[j] = counts > 0, NO_EFFECT
            freedom = n - np.count_nonzero(there)
            squares = (weight * left**2).sum()
            if self.kind != "logit":
                within = squares - (sums[there] ** 2 / counts[there]).sum()
                noise = max(within / max(freedom, 1), 1e-12 * squares / n)
            if freedom >= LEAST_LEFT and noise > 0:
                self.penalties[j] = _likeliest_penalty(sums, counts, noise)
            if self.penalties[j] == NO_EFFECT:
                self.z = self.z - self.effects[j][codes]
                self.effects[j] = np.zeros(size)
                error = left

    def descend(self):
        """Make steps until they save little."""
        last = self.objective()
        for _ in range(STEPS):
            z, effects = self.z, self.effects
            self.step()
            for _ in range(HALVES):
                now = self.objective()
                if now <= last:
                    break
                self.z = (self.z + z) / 2
                self.effects = [(a + b) / 2 for a, b in zip(self.effects, effects, strict=True)]
            else:
                self.z, self.effects = z, effects
                return
            if last - now <= self.enough:
                return
            last = now

    def step(self):
        """Solve the equations of a step, about."""
        weight, error = self.linearised()
        start, self.effects = error, list(self.effects)
        counts = [np.bincount(codes, weight, size) for codes, size in self.columns]
        total = weight.sum()
        for _ in range(PASSES):
            for j, (codes, size) in enumerate(self.columns):
                old = self.effects[j]
                if self.penalties[j] == NO_EFFECT:
                    continue
                sums = np.bincount(codes, weight * error, size) + counts[j] * old
                self.effects[j] = sums / (counts[j] + self.penalties[j])
                error = error - (self.effects[j] - old)[codes]
            error = error - (weight * error).sum() / total
        self.z = self.z + start - error
