"""Scores on held-out rows, beside those of a model that always gives the same answer."""

import numpy as np

from fastnn.cli.common import escaped

__all__ = ["print_scores"]


def print_scores(goal, predictor, X, train_rows, test_rows, say):
    """Print them for scaled inputs, which the predictor takes; return whether the network is
    better."""
    if goal.classes is None:
        found = predictor.predict(X)
        found = found.reshape(len(X), -1).astype(np.float64)
        say(f"  {'':18} {'R2':>9} {'MAE':>12} {'RMSE':>12}")
        better = False
        for i, name in enumerate(goal.names):
            truth = goal.values[test_rows, i]
            label = "network" if len(goal.names) == 1 else escaped(name)[:18]
            say(_regression_line(label, truth, found[:, i]))
            constant = np.full(len(truth), goal.mean[i])
            say(_regression_line("always the mean", truth, constant))
            better |= bool(np.sum((found[:, i] - truth) ** 2) < np.sum((constant - truth) ** 2))
        return better
    found = predictor.predict_proba(X)
    share = np.bincount(goal.codes[train_rows], minlength=len(goal.classes)) / len(train_rows)
    truth = goal.codes[test_rows]
    commonest = str(goal.classes[share.argmax()])
    label = f"always {commonest[:24]!r}"
    width = max(18, len(label))
    say(f"  {'':{width}} {'accuracy':>9} {'balanced':>9} {'log loss':>9}")
    constant = np.broadcast_to(share, found.shape)
    say(_class_line("network", width, truth, found))
    say(_class_line(label, width, truth, constant))
    guess = found.argmax(axis=1)
    return bool(np.mean(guess == truth) > np.mean(truth == share.argmax())
                or _balanced(guess, truth) > 1 / len(np.unique(truth))
                or _log_loss(found, truth) < _log_loss(constant, truth))


def _balanced(guess, truth):
    """Share of right answers within each class, mean over the classes."""
    return np.mean([np.mean(guess[truth == code] == code) for code in np.unique(truth)])


def _regression_line(label, truth, found):
    error = found - truth
    spread = np.sum((truth - truth.mean()) ** 2)
    r2 = f"{1 - np.sum(error ** 2) / spread:9.4f}" if spread > 0 else f"{'-':>9}"
    return (f"  {label:18} {r2} {np.abs(error).mean():12.6g} "
            f"{np.sqrt(np.mean(error ** 2)):12.6g}")


def _log_loss(probabilities, truth):
    chance = probabilities[np.arange(len(truth)), truth].astype(np.float64)
    return -np.log(np.clip(chance, np.finfo(probabilities.dtype).eps, 1)).mean()


def _class_line(label, width, truth, probabilities):
    guess = probabilities.argmax(axis=1)
    return (f"  {label:{width}} {np.mean(guess == truth):9.4f} {_balanced(guess, truth):9.4f} "
            f"{_log_loss(probabilities, truth):9.4f}")
