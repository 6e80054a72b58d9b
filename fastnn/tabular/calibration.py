"""A temperature of the probabilities of networks, by rows that they have not learned from."""

import numpy as np

from fastnn.tabular.blending import columns_of, linked, losses_of

__all__ = ["calibrated"]

FACTORS = np.exp(np.linspace(0, 0.8, 17))  # of the outputs before their activation
DOUBT = 3.0  # times the squared logarithm of a factor, beside the sum of losses of rows


def calibrated(nets, codes, targets, task, weight, folds):
    """Return networks of classes or labels whose outputs before their activation are times a
    common factor, the one of the least held-out loss (Guo et al. 2017, temperature scaling).

    Few rows say little: a factor far from 1 has to save more, as a normal prior of its logarithm
    with a deviation of 0.4 says. A row is held out from one network alone, and these are surer than
    their mean where they differ: that they are too sure says nothing of the mean, so that no factor
    is below 1. The networks themselves are changed.

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
    rows = np.concatenate(folds)
    z = np.concatenate([linked(net.predict(codes[fold]), kind)
                        for net, fold in zip(nets, folds, strict=True)])
    if kind == "softmax":  # logarithms of probabilities: outputs but for a constant of the row
        z -= z.mean(axis=1, keepdims=True)
    share = np.ones(len(rows)) if weight is None else np.asarray(weight, float)[rows]
    share = share * (len(np.unique(rows)) / share.sum())
    losses = [(share * losses_of(factor * z, y[rows], kind)[0]).sum()
              + DOUBT * np.log(factor) ** 2 for factor in FACTORS]
    factor = float(FACTORS[int(np.argmin(losses))])
    if factor != 1:
        for net in nets:
            *others, W, b = net.get_weights()
            net.set_weights([*others, factor * W, factor * b])
    return nets
