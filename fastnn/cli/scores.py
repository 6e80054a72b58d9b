"""Scores of predictions, beside those of a model that always gives the same answer."""

import numpy as np

from fastnn.cli.common import escaped, note
from fastnn.tables.errors import shown_value

__all__ = ["confusion", "constant_of", "judge", "log_loss", "print_scores"]

MOST_CLASSES = 12  # with a line of their own
MANY = 100  # rows, of which all are rarely right
SHORT = 12  # letters of a class's name, where they tell it from the others
RARE = 0.1  # share of a class below which accuracy says little


def print_scores(names, classes, truth, found, constant, say, weight=None, who="model"):
    """Print the scores of predictions.

    Parameters
    ----------
    names : sequence of str
        Of the targets.
    classes : array or None
        None: a regression.
    truth : array
        Numbers of classes (n,), or values (n, n_targets).
    found : array
        Probabilities (n, n_classes), or values (n, n_targets).
    constant : array
        What a model that always gives the same answer gives: (n_classes,) or (n_targets,).
    say : callable
        Takes a line.
    weight : array (n,) or None, default=None
    who : str, default="model"
        What the line of the predictions is called.
    """
    if weight is not None and not weight.any():
        say("  all of these rows weigh 0: scores without weights")
    weight = _usable(weight)
    weight = np.ones(len(truth)) if weight is None else weight
    if classes is None:
        say(f"  {'':18} {'R2':>9} {'MAE':>12} {'RMSE':>12}")
        for i, name in enumerate(names):
            label = who if len(names) == 1 else escaped(name)[:18]
            say(_regression_line(label, truth[:, i], found[:, i], weight))
            same = np.full(len(truth), constant[i])
            say(_regression_line("always the mean", truth[:, i], same, weight))
        return
    label = f"always {str(classes[np.argmax(constant)])[:24]!r}"
    width = max(18, len(label))
    two = len(classes) == 2
    say(f"  {'':{width}} {'accuracy':>9} {'balanced':>9} {'log loss':>9}"
        + (f" {'AUC':>9}" if two else ""))
    same = np.broadcast_to(constant, found.shape)
    say(_class_line(who, width, truth, found, weight))
    say(_class_line(label, width, truth, same, weight))
    shares = np.bincount(truth, minlength=len(classes)) / len(truth)
    if len(classes) <= MOST_CLASSES and (len(classes) > 2 or shares.min() < RARE):
        _print_confusion(classes, truth, found, say)


def _print_confusion(classes, truth, found, say):
    """Print recall by class, and what the rows of each class were taken for."""
    table = confusion(truth, found, len(classes))
    shown = _short([escaped(str(name)) for name in classes])
    width = max(8, *map(len, shown)) + 1
    say(f"\n  {'class':{width}} {'rows':>7} {'recall':>7}   taken for "
        + "".join(f"{name:>{width}}" for name in shown))
    for i, (name, row) in enumerate(zip(shown, table, strict=True)):
        recall = f"{row[i] / row.sum():7.3f}" if row.sum() else f"{'-':>7}"
        say(f"  {name:{width}} {row.sum():7,} {recall}   {'':10}"
            + "".join(f"{n:>{width},}" for n in row))


def _short(names):
    """Return the beginnings of names, as long as they must be to differ."""
    longest = max(map(len, names))
    width = next((width for width in range(SHORT, longest)
                  if len({name[:width] for name in names}) == len(set(names))), longest)
    return [name[:width] for name in names]


def confusion(truth, found, n_classes):
    """Return how many rows of each class (first axis) were taken for which (second axis)."""
    table = np.zeros((n_classes, n_classes), int)
    np.add.at(table, (truth, found.argmax(axis=1)), 1)
    return table


def constant_of(classes, truth, weight=None):
    """Return the answer that is best where it is the same for every row: shares of the classes, or
    means."""
    weight = _usable(weight)
    if classes is None:
        return np.average(truth, axis=0, weights=weight)
    counts = np.bincount(truth, weights=weight, minlength=len(classes))
    return counts / counts.sum()


def _usable(weight):
    """Return weights, None where all are 0: held-out rows may be so few."""
    return weight if weight is not None and weight.any() else None


def judge(names, classes, rows, found, constant, say, quiet, who="model"):
    """Print the scores of predictions of some `Rows`, and a note where they say nothing.

    Parameters
    ----------
    names, classes, found, constant, say, who
        See `print_scores`.
    rows : Rows
    quiet : bool
        No note.
    """
    print_scores(names, classes, rows.truth, found, constant, say, rows.weight, who)
    if classes is not None and len(seen := np.unique(rows.truth)) == 1:
        note(f"these rows are all of class {shown_value(classes[seen[0]].item())}: they do not say "
             "how well it is told from others; --cv 5 scores on all rows", quiet)
    elif not _is_better(classes, rows.truth, found, constant):
        note("no better than the same answer for every row: the columns may say nothing about the "
             "target, or there are too few rows", quiet)
    elif classes is not None and len(rows.truth) >= MANY and (
            found.argmax(axis=1) == rows.truth).all():
        note("every one of these rows is right. Where that is too good to be true, a column holds "
             "the target in other words: --drop it", quiet)


def _is_better(classes, truth, found, constant):
    """Return whether predictions are better than the constant in any respect."""
    if classes is None:
        unit = _unit(truth, found)
        return bool((((found / unit - truth / unit) ** 2).sum(axis=0)
                     < ((constant / unit - truth / unit) ** 2).sum(axis=0)).any())
    guess = found.argmax(axis=1)
    ones = np.ones(len(truth))
    return bool(np.mean(guess == truth) > np.mean(truth == constant.argmax())
                or _balanced(guess, truth, ones) > 1 / len(np.unique(truth))
                or log_loss(truth, found) < log_loss(truth, np.broadcast_to(constant, found.shape)))


def log_loss(truth, probabilities, weight=None):
    """Return the log loss of probabilities (n, n_classes)."""
    chance = probabilities[np.arange(len(truth)), truth].astype(np.float64)
    return np.average(-np.log(np.clip(chance, np.finfo(np.float32).eps, 1)), weights=weight)


def _balanced(guess, truth, weight):
    """Share of right answers within each class, mean over the classes."""
    return np.mean([np.average(guess[truth == code] == code, weights=weight[truth == code])
                    for code in np.unique(truth) if weight[truth == code].sum() > 0])


def _regression_line(label, truth, found, weight):
    unit = _unit(truth, found)
    truth, found = truth / unit, found / unit
    error = found - truth
    spread = np.average((truth - np.average(truth, weights=weight)) ** 2, weights=weight)
    square = np.average(error ** 2, weights=weight)
    r2 = f"{1 - square / spread:9.4f}" if spread > 0 else f"{'-':>9}"
    return (f"  {label:18} {r2} {np.average(np.abs(error), weights=weight) * unit:12.6g} "
            f"{np.sqrt(square) * unit:12.6g}")


def _unit(truth, found):
    """Return a power of two to measure in: 1, but where float64 cannot hold the squares."""
    most = max(np.abs(truth).max(initial=0), np.abs(found).max(initial=0))
    return 1.0 if most == 0 or 1e-140 < most < 1e140 else 2.0 ** min(np.frexp(most)[1], 1023)


def _class_line(label, width, truth, probabilities, weight):
    guess = probabilities.argmax(axis=1)
    line = (f"  {label:{width}} {np.average(guess == truth, weights=weight):9.4f} "
            f"{_balanced(guess, truth, weight):9.4f} {log_loss(truth, probabilities, weight):9.4f}")
    if probabilities.shape[1] == 2:
        from fastnn.tabular.metrics import metric_of
        from fastnn.tabular.task import Task

        if len(np.unique(truth[weight > 0])) < 2:  # nothing is above or below anything
            return f"{line} {'-':>9}"
        area = metric_of("roc_auc", Task.of_classes(2))
        line += f" {area.value(truth, probabilities[:, 1:], weight):9.4f}"
    return line
