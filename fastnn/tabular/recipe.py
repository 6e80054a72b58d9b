"""How the networks of a table are trained: every choice, with the reason beside it.

Gains are of the loss (log loss, or RMSE in standard deviations of the target), on sets of
docs/tabular.md by splits that its report does not use; ``benchmarks/ablation.py`` repeats them.
"""

import time
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from fastnn.core.threads import resolve_threads
from fastnn.ensemble import fit_many
from fastnn.mlp import MLP
from fastnn.network.spec import Dense
from fastnn.tables.schema import Inputs
from fastnn.tabular.calibration import calibrated
from fastnn.tabular.cuts import target_cuts
from fastnn.tabular.effects import with_effects
from fastnn.tabular.encoding import Encoding
from fastnn.tabular.linear import with_linear_part, with_straight_values
from fastnn.tabular.networks import Ensemble, Part
from fastnn.tabular.progress import progress_callbacks
from fastnn.tabular.statistics import Statistics
from fastnn.tabular.trees import with_trees
from fastnn.training.optimizers import EMA, AdamW, Muon
from fastnn.training.schedules import FlatThenCosine
from fastnn.training.stopping import EarlyStopping, TimeLimit

__all__ = ["MOST_LINEAR", "PRESETS", "Recipe", "fit", "network_of", "optimizer_of"]


@dataclass(frozen=True)
class Recipe:
    """The settings of a preset.

    Attributes
    ----------
    networks : int
        Each learns from all folds but one, stops by that one, and their outputs are averaged.
    folds : int
    hidden : tuple of int
        Widths of the hidden layers.
    bins : int
        Of a column of numbers at most.
    steps : int
        Of a network at most.
    patience : int
        Epochs without a better loss of its fold after which a network stops; a fifth of all epochs
        where that is more.
    average : int
        Steps whose mean a network is, about; 0: none.
    learning_rate, adam_rate : float
        Of Muon, and of AdamW for what is no hidden matrix.
    decay : float
        Of the weights, times rows / batch size.
    cuts : int
        Of a column of numbers at most, where the target jumps.
    trees : int
        Of each network, where they help; 0: none.
    muon, values, statistics, effects, linear, calibration : bool
        Whether to have Muon, raw values beside the bins, statistics of categories, those of single
        columns as effects beside each other, a linear part where it helps, and a temperature of
        probabilities by held-out rows.
    """

    networks: int = 8
    folds: int = 8
    hidden: tuple[int, ...] = (64, 64)
    bins: int = 48
    steps: int = 3000
    patience: int = 3
    average: int = 50
    learning_rate: float = 0.02
    adam_rate: float = 3e-3
    decay: float = 5.0
    cuts: int = 8
    trees: int = 48
    muon: bool = True
    values: bool = True
    statistics: bool = True
    effects: bool = True
    linear: bool = True
    calibration: bool = True


# Of few rows the mean of many networks matters, and that each has most of the rows (phoneme: eight
# .2194, four .2287). Of many rows it matters that each is wide (protein, one network: 64-64 .6009,
# 128-64 .5953, 256-64 .5836) and deep (one more hidden layer: protein .5855, pol .0610 -> .0570,
# bank .1926 -> .1913, pendigits .0096 -> .0086), and four do (bike: eight .1947, four .1954). Even
# numbers of networks keep two threads busy. Twice as many trees are a tie on few rows (118 splits
# of small and made tables), and what a service waits for are those of all folds.
WIDE = Recipe(networks=4, folds=5, hidden=(128, 64, 64), steps=5000, average=100, trees=96)
PRESETS = {
    "fast": (Recipe(networks=4, steps=1500, patience=2),
             Recipe(networks=2, steps=2000, patience=2, average=100, trees=48)),
    "default": (Recipe(), WIDE),
    "best": (Recipe(networks=16, hidden=(128, 64)),
             replace(WIDE, networks=8, folds=8, hidden=(256, 64, 64), steps=8000, patience=4)),
}
LARGE = 8000  # rows from which the second of the two is taken
EPOCH = 60  # steps between two looks at the fold
# Of a limit of time that networks, a linear part and trees have where what came before has taken
# all of it, and seconds that the latter two have: small tables have all of theirs, so that a fit
# that goes on with a limit ends as one without.
LEAST_SHARE, LEAST_SECONDS = 0.25, 1.0
MOST_LINEAR = 20_000  # rows up to which a linear part is taken wherever it helps
FEW_EVENTS = 1000  # the same of rows that are not of the most frequent class
LEAST_OF_MANY = 0.1  # of the loss, that it has to save where there are more
LEAST_JUDGES = 50  # rows of validation: fewer stop networks, and choose no more than that
MOST_BINS = 2500, 10_000  # of all columns together: as many as rows, between these
# Entries of a row, and inputs for each, from and up to which a dense product takes less time than
# to sort entries by input and look up: 3,500 rows of 1,000 numbers 43 -> 8 s.
DENSE_ENTRIES, DENSE_INPUTS = 500, 3
MANY = 30  # categories from which a column has statistics
MOST_COLUMNS = 10  # whose pairs have statistics
MOST_MEANS = 8  # outputs that have statistics


def fit(inputs, targets, task, *, preset="default", sizes=(), sample_weight=None, validation=None,
        metric=None, seed=0, n_threads=None, time_limit=None, start=None, progress=None,
        checkpoint=None):
    """Train the networks of a preset.

    Parameters
    ----------
    inputs : Inputs
    targets : array
        As `Task.targets` gives them.
    task : Task
    preset : {"default", "fast", "best"} or Recipe, default="default"
    sizes : sequence of int, default=()
        Number of categories of each column of ``inputs.codes``.
    sample_weight : float array (n_rows,) or None, default=None
        All > 0.
    validation : tuple (inputs, targets, sample_weight or None) or None, default=None
        Rows to stop by, and from 50 rows on to choose a linear part, trees and a temperature by;
        None: each network has a fold of its own for that.
    metric : Metric or None, default=None
        By what the best epoch is chosen; None: the loss.
    seed : int, default=0
    n_threads : int or None, default=None
    time_limit : float or None, default=None
        Seconds, about.
    start : float or None, default=None
        From where they are counted, by `time.monotonic`; None: from now.
    progress : bool or None, default=None
    checkpoint : FitsFile or None, default=None
        What the networks go on from.

    Returns
    -------
    Ensemble
    """
    n, rng = len(inputs), np.random.default_rng(seed)
    start = time.monotonic() if start is None else start
    recipe = preset if isinstance(preset, Recipe) else PRESETS[preset][n >= LARGE]
    folds = _folds(targets, task, recipe.folds, rng)
    encoding, found = _encoding(inputs, targets, task, sizes, sample_weight, folds, recipe)
    codes = encoding.transform(inputs, statistics=found)
    # Sums of amounts and others: 1,500 rows of six log-normal columns and three others .379 -> .192
    # of what a constant gets (scikit-learn's MLP .198).
    if recipe.linear and 1 < len(folds):
        straight = with_straight_values(
            encoding, codes, partial(Encoding.transform, inputs=inputs, statistics=found), targets,
            task, sample_weight, folds)
        if straight is not encoding:
            encoding, codes = straight, straight.transform(inputs, statistics=found)
    count = recipe.networks if n > 1 else 1
    nets = [network_of(encoding, task, targets, sample_weight, recipe, rng) for _ in range(count)]
    own_folds = [folds[i % len(folds)] for i in range(count)]
    watched = None if validation is None else (encoding.transform(validation[0]), *validation[1:])
    _train(nets, codes, targets, task, recipe, own_folds, sample_weight, watched, metric,
           n_threads=n_threads, time_limit=_left(time_limit, start), progress=progress,
           checkpoint=checkpoint)
    judged = 1 < count and (validation is None or len(validation[0]) >= LEAST_JUDGES)
    if judged and validation is not None:
        # No network has learned from its rows: they are the fold of all. A fifth of the rows given
        # so: wall_robot .0347 -> .0049, phoneme .2368 -> .2314, hr_jobs .4358 -> .4338, bank .1915
        # -> .1908, drybean .1770 -> .1760; ames by four choices of these a tie.
        inputs, found, targets, sample_weight = _with_validation(
            encoding, inputs, found, targets, sample_weight, validation)
        own_folds = [np.arange(n, len(inputs))] * count
        codes = encoding.transform(inputs, statistics=found)
    numbers = inputs.numbers if found is None else np.hstack([inputs.numbers, found])
    # Few rows, nearly linear: 300 rows of 20 columns .720 -> .691 (ridge .687), 4,000 of 30 columns
    # .548 -> .528, 2,000 of 243 categories .541 -> .528 (ridge .519). Lines of the numbers
    # themselves: 200 rows of 12 columns without noise .10 -> .01. Where one class is rare, its rows
    # are the few: 20 of 20,000 rows, three seeds .51 of what a constant gets -> .31 (logistic .29),
    # three classes of which two are rare .466 -> .450 (logistic .450). Of many rows trees and
    # networks do better without, unless nearly all is linear (with it electricity .2468 -> .2491,
    # protein .5649 -> .5659; 24,000 rows of a line in 30 columns .033 of a constant's -> .016).
    if recipe.linear and judged:
        few = n < MOST_LINEAR or _events(targets, task) < FEW_EVENTS
        nets, wider = with_linear_part(nets, encoding, codes, targets, task, sample_weight,
                                       own_folds, numbers, to_save=0.0 if few else LEAST_OF_MANY,
                                       seconds=_seconds(time_limit, start), n_threads=n_threads)
        if wider is not encoding:
            encoding, codes = wider, wider.transform(inputs, statistics=found)
    # Thresholds along the axes, and what is flat but for steps: wall_robot .0274 -> .0067, adult
    # .2866 -> .2789, electricity .2550 -> .2469, a tree of 40 leaves .69 -> .43 of what a constant
    # gets. On smooth tables mostly none.
    if recipe.trees and judged:
        nets, finer, sums = with_trees(
            nets, encoding, numbers, inputs.codes, codes, targets, task, sample_weight, own_folds,
            trees=recipe.trees, seconds=_seconds(time_limit, start), n_threads=n_threads)
        if finer is not encoding:
            encoding, codes = finer, finer.transform(inputs, statistics=found, sums=sums)
    # Held-out rows know how sure to be: 33 tables of classes, 26 of them of 100 to 1,500 rows, .974
    # of the loss, better on 47 of 86 splits, worse on 15; wall_robot of 2,500 rows .92.
    if recipe.calibration and judged:
        nets = calibrated(nets, codes, targets, task, sample_weight, own_folds)
    if validation is not None:
        return Ensemble([Part(encoding, nets)])
    return Ensemble([Part(encoding, nets)], held_out=_held_out(nets, codes, own_folds, task),
                    folds=own_folds)


def _with_validation(encoding, inputs, found, targets, weight, validation):
    """Return inputs, statistics, targets and weights of the rows of training, and behind them of
    validation."""
    own, more = inputs, validation[0]
    inputs = Inputs(np.vstack([own.numbers, more.numbers]), np.vstack([own.codes, more.codes]))
    if found is not None:
        found = np.vstack([found, encoding.statistics.transform(more.codes)])
    if weight is not None or validation[2] is not None:
        weight = np.concatenate([
            np.ones(len(rows)) if given is None else given
            for rows, given in ((own, weight), (more, validation[2]))])
    return inputs, found, np.concatenate([targets, validation[1]]), weight


def _left(limit, start):
    """Return the seconds that are left of a limit: a share at least, or nothing would be learned
    where the table has taken all of it."""
    return limit and max(limit - (time.monotonic() - start), LEAST_SHARE * limit)


def _seconds(limit, start):
    """Return those that a linear part, or trees, may take: None without a limit."""
    return None if limit is None else max(_left(limit, start), LEAST_SECONDS)


def _train(nets, codes, targets, task, recipe, folds, sample_weight, validation, metric, *,
           n_threads, time_limit, progress, checkpoint):
    """Train networks; see `fit`. ``folds`` are those that they are stopped by, one for each;
    ``validation`` is (codes, targets, sample_weight or None), or None."""
    n, count = codes.shape[0], len(nets)
    wide = codes.indices.size >= n * max(DENSE_ENTRIES, codes.shape[1] / DENSE_INPUTS)
    X = codes.toarray() if wide else codes
    if validation is None:
        rows = [np.setdiff1d(np.arange(n), fold) for fold in folds]
    else:
        rows = [np.arange(n)] * count
    # Small sets need small batches, or an epoch is a step.
    batch = int(np.clip(2 ** round(np.log2(n / 16)), 16, 256))
    # An epoch has the same number of steps for all sizes: a small set goes round several times.
    passes = max(1, -(-EPOCH * batch // len(rows[0])))
    rows = [np.tile(own, passes) for own in rows]
    epochs = max(recipe.steps // -(-len(rows[0]) // batch), 3)
    arguments = {"loss": task.loss, "optimizer": optimizer_of(recipe, n, batch), "epochs": epochs,
                 "rows": rows, "batch_size": batch, "sample_weight": sample_weight,
                 "n_threads": n_threads, "checkpoint": checkpoint}
    if validation is None:
        arguments["validation_rows"] = folds
        weights = [None if sample_weight is None else sample_weight[fold] for fold in folds]
    else:
        watched = validation[0].toarray() if wide else validation[0]
        arguments["validation_data"] = watched, validation[1]
        weights = [validation[2]] * count
    monitor, mode = "val_loss", None
    if metric is not None or any(weight is not None for weight in weights):
        monitor, mode = "val_metric", "min"
        arguments["metrics"] = [{"metric": _loss_of(task, metric, weight)} for weight in weights]
    arguments["callbacks"] = [[_Stop(monitor, recipe.patience, mode)] for _ in nets]
    for own, line in zip(arguments["callbacks"], progress_callbacks(progress, count),
                         strict=False):
        own.append(line)
    if time_limit is not None:
        for own in arguments["callbacks"]:
            at_once = min(resolve_threads(n_threads), count)
            own.append(TimeLimit(time_limit * at_once / count))
    fit_many(nets, X, targets, **arguments)


class _Stop(EarlyStopping):
    """Waits longer where learning goes on for long: a loss that falls slowly is noise from one
    epoch to the next (electricity .2609 -> .2595, protein a tie)."""

    def __init__(self, monitor, patience, mode):
        super().__init__(monitor, patience, mode=mode)
        self.least = self.patience

    def on_epoch_end(self, state):
        """Keep the parameters of the best epoch, or end the fit."""
        self.patience = max(self.least, state.epoch // 5)
        super().on_epoch_end(state)

    def describe(self):
        """Return what decides the result."""
        return {**super().describe(), "patience": self.least}


def _encoding(inputs, targets, task, sizes, weight, folds, recipe):
    """Return the `Encoding`, and the statistics of the rows of training, None where it has none."""
    # Bins of fewer rows are learned by heart (600 rows of ames: 48 bins .2629, 16 bins .2531).
    bins = int(np.clip(len(inputs) // 64, min(16, recipe.bins), recipe.bins))
    # Thousands of columns with bins are a million weights and more, which say nothing that values
    # do not (200 rows of 200 columns: .611 with 16 bins, 4 and none; 2,000 rows of 300 columns .361
    # and .207 with 16, .360 and .206 with 8, in .6 of the time).
    most = int(np.clip(len(inputs), *MOST_BINS)) // max(inputs.numbers.shape[1], 1)
    bins = max(min(bins, most), 1)
    # Thresholds: wall_robot .0336 -> .0227, a tree of thresholds .350 -> .276, four networks; on
    # smooth tables a tie (phoneme .2201 -> .2223). Twice the rates help thresholds, too, and lose
    # elsewhere (phoneme .2546 -> .2575).
    cuts = target_cuts(inputs.numbers, targets, weight, most=recipe.cuts,
                       multiclass=task.n_out if task.kind == "multiclass" else None)
    keys = _keys(sizes) if recipe.statistics else []
    means, link = _means_of(targets, task)
    if not keys or means is None:
        return Encoding.fit(inputs, sizes, bins=bins, values=recipe.values, cuts=cuts), None
    numbers = np.full(len(inputs), len(folds))  # rows of no fold are another one
    for i, fold in enumerate(folds):
        numbers[fold] = i
    statistics, found = Statistics.fit(inputs.codes, sizes, means, weight, numbers, keys=keys,
                                       link=link)
    # Ids of few rows: 20,000 rows of 5,000 ids .557 -> .520 of what a constant gets (one-hot ridge
    # .519), of 1,500 users and 500 items .561 -> .499 (.493), 1,500 ids beside three numbers .417
    # -> .363; a prior of ten rows is too much there. Of many rows means say more, as other
    # columns are in them (46 cities of 6,400 rows .202 -> .215, 260 storms of 16,000 .132 -> .135).
    if recipe.effects:
        statistics, found = with_effects(statistics, found, inputs, means, weight, numbers)
    # A category of few rows is told by its statistics: an input of its own learns its rows by
    # heart (amazon: .1280 with all of them, .1273 with those of ten rows); of five rows it says
    # more than that (a sum of effects of 200 categories, 2,000 rows: .559 with ten, .541 with five
    # and fewer).
    return Encoding.fit(inputs, sizes, bins=bins, values=recipe.values, rarest=5,
                        statistics=(statistics, found), cuts=cuts), found


def _events(targets, task):
    """Return the number of rows that are not of the usual class, or not zero: they say what there
    is to learn of all others."""
    if task.kind == "regression":
        return np.count_nonzero(targets, axis=0).max() if task.is_positive else len(targets)
    if task.kind == "multiclass":
        return len(targets) - np.bincount(targets).max()
    ones = np.count_nonzero(targets, axis=0)
    return np.minimum(ones, len(targets) - ones).max()


def _keys(sizes):
    """Return the columns, and pairs of columns, that have statistics.

    Of many categories most have few rows, and pairs matter: amazon, one network, .1513 without,
    .1465 with those of single columns, .1280 with pairs (CatBoost .1258, LightGBM .1541).
    """
    many = [j for j in np.argsort(-np.asarray(sizes, int), kind="stable") if sizes[j] >= MANY]
    many = sorted(int(j) for j in many[:MOST_COLUMNS])
    return [(j,) for j in many] + [(i, j) for i in many for j in many if i < j]


def _means_of(targets, task):
    """Return the columns that statistics are means of, or None, and their link."""
    if task.kind == "multiclass":
        if task.n_out > MOST_MEANS:
            return None, None
        return (targets[:, np.newaxis] == np.arange(task.n_out)).astype(float), "logit"
    if targets.shape[1] > MOST_MEANS:
        return None, None
    link = "log" if task.output == "exp" else (
        "identity" if task.kind == "regression" else "logit")
    return np.asarray(targets, float), link


def network_of(encoding, task, targets, weight, recipe, rng):
    """Return a network before training."""
    layers = [Dense(units, "silu") for units in recipe.hidden]
    seed = int(rng.integers(2**31))
    net = MLP.of([*layers, Dense(task.n_out)], n_in=encoding.n_inputs, output=task.output,
                 random_state=seed)
    weights, draws = net.get_weights(), np.random.default_rng(seed)
    # All columns begin with the same share in a unit, however many bins or categories they have.
    # Bins begin at 0: the network is one of smooth functions until the data ask for steps.
    size = np.where(encoding.kinds == Encoding.BIN, 0, encoding.n_columns ** -0.5)
    weights[0][:] = draws.normal(size=weights[0].shape) * size[:, np.newaxis]
    weights[1][:] = draws.uniform(-1, 1, weights[1].shape)
    weights[-2] *= 0.3
    weights[-1][:] = _bias(task, task.constant(targets, weight))
    net.set_weights(weights)
    return net


def _bias(task, constant):
    """Return the bias of the output with which a network begins at these constant outputs."""
    if task.output == "identity":
        return constant
    constant = np.clip(constant, 1e-6, None)
    if task.output == "sigmoid":
        constant = np.minimum(constant, 1 - 1e-6)
        return np.log(constant) - np.log1p(-constant)
    return np.log(constant)


def optimizer_of(recipe, n, batch):
    # The decay forgets over a number of epochs, not of steps (Wang & Aitchison 2024): noisy small
    # sets need ten times that of large ones (phoneme .2356 at .1, .2267 at .3; protein .636 at .3,
    # .601 at .03).
    decay = float(np.clip(recipe.decay * batch / n, 0.005, 0.5))
    # Muon: phoneme .2452 with AdamW alone, .2267 with Muon on the body.
    adam = AdamW(recipe.adam_rate, beta2=0.99, weight_decay=decay)
    rate = FlatThenCosine(recipe.learning_rate, flat=0.5)
    if recipe.muon:
        # A fifth step of Newton and Schulz is a tie (103 splits of 52 tables: 1.0001 of the loss
        # in the median, mean 1.002 ± .005), and a fourteenth of the time.
        optimizer = Muon(rate, steps=4, weight_decay=decay, adam=adam)
    else:
        optimizer = AdamW(FlatThenCosine(recipe.adam_rate, flat=0.5), beta2=0.99,
                          weight_decay=decay)
    # The mean of the last steps is as good as an annealed rate, at any time: the fit may stop
    # wherever its fold says (phoneme .2493 -> .2365, with a cosine and without the mean before).
    return EMA(optimizer, 1 - 1 / (1 + recipe.average)) if recipe.average else optimizer


def _held_out(nets, codes, folds, task):
    """Return the outputs of rows by the networks that have not learned from them."""
    found, counts = np.zeros((codes.shape[0], task.n_out)), np.zeros((codes.shape[0], 1))
    for net, fold in zip(nets, folds, strict=True):
        found[fold] += net.predict(codes[fold])
        counts[fold] += 1
    with np.errstate(invalid="ignore"):
        return np.where(counts > 0, found / counts, np.nan)


def _loss_of(task, metric, weight):
    """Return a function of (targets, outputs) that the best epoch has least of."""
    if metric is None:
        return lambda y, output: np.average(task.losses(y, output), weights=weight)
    return lambda y, output: metric.loss(y, output, weight)


def _folds(targets, task, count, rng):
    """Return the rows of each of so many folds; classes, and low and high numbers, are spread
    evenly over them. A row that is alone in its class is in none: a network that has not seen the
    class would be stopped by it, and all be less sure of the other classes (one of 300 rows told to
    be of a third class: log loss .0298 -> .0326, .2338 -> .2461; so .0298, .2313)."""
    n = len(targets)
    order = rng.permutation(n)
    first = targets if targets.ndim == 1 else targets[:, 0]
    order = order[np.argsort(first[order], kind="stable")]
    folds = np.empty(n, np.intp)
    for start in range(0, n, count):
        some = order[start:start + count]
        folds[some] = rng.permutation(count)[:len(some)]
    if task.kind == "multiclass":
        alone = np.bincount(targets)[targets] == 1
        if 2 * alone.sum() < n:
            folds[alone] = -1
    found = [np.flatnonzero(folds == i) for i in range(count)]
    return [fold for fold in found if len(fold)]
