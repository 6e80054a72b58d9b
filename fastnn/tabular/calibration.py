"""A temperature of the probabilities of networks, by rows that they have not learned from."""

import numpy as np

from fastnn.tabular.blending import (
    columns_of,
    linked,
    losses_of,
    outputs_of,
    rows_to_compare,
    saved_by_mean,
)

__all__ = ["calibrated"]

FACTORS = np.exp(np.linspace(-0.8, 0.8, 33))  # of the outputs before their activation
DOUBT = 3.0  # times the squared logarithm of a factor, beside the sum of losses of rows


def centered(z, kind):
    """Return outputs of classes before their activation: logarithms of probabilities have lost a
    constant of each row, which a factor would count as variance."""
    return z - z.mean(axis=-1, keepdims=True) if kind == "softmax" else z


def calibrated(nets, codes, targets, task, weight, folds):
    """Return networks of classes or labels whose outputs before their activation are times a
    common factor, the one of the least held-out loss (Guo et al. 2017, temperature scaling).

    Few rows say little: a factor far from 1 has to save more, as a normal prior of its logarithm
    with a deviation of 0.4 says. A row is held out from one network alone, whose output varies more
    than the mean's does: there is a factor for either, where what that costs is taken off (see
    `saved_by_mean`), and it is the one between these two that is next to 1. The networks themselves
    are changed.

    Parameters
    ----------
    nets : list of MLP
        The last layer dense.
    codes : Codes
        The rows of training.
    targets, task, weight
        As `fastnn.tabular.recipe.fit` has them.
    folds : list of int array
        Of each network the rows that it has not learned from.
    """
    kind = {"softmax": "softmax", "sigmoid": "logit"}.get(task.output)
    if kind is None:
        return nets
    y = columns_of(targets, task)
    rows, some = np.concatenate(folds), rows_to_compare(len(y))
    z = centered(np.concatenate([linked(net.predict(codes[fold]), kind)
                                 for net, fold in zip(nets, folds, strict=True)]), kind)
    weight = np.ones(len(y)) if weight is None else np.asarray(weight, float)
    share = weight[rows] * (min(len(rows), len(y)) / weight[rows].sum())
    of_nets = centered(outputs_of(nets, codes, some, kind), kind)
    single, mean = [], []
    for factor in FACTORS:
        own = (share * losses_of(factor * z, y[rows], kind)[0]).sum()
        single.append(own + DOUBT * np.log(factor) ** 2)
        saved = saved_by_mean(factor * of_nets, some, folds, kind, weight)
        mean.append(single[-1] - saved * share.sum())
    low, high = sorted(float(FACTORS[int(np.argmin(losses))]) for losses in (single, mean))
    factor = min(max(1.0, low), high)
    if factor != 1:
        for net in nets:
            *others, W, b = net.get_weights()
            net.set_weights([*others, factor * W, factor * b])
    return nets
