"""How much a model needs each column: permutation importances."""

import numpy as np

from fastnn.core.validation import check_count
from fastnn.tabular.groups import replaced

__all__ = ["REPEATS", "permutation_importances"]

REPEATS = 5


def permutation_importances(model, *, repeats=REPEATS, n_threads=None):
    """Return by how much the loss of a row grows where a column is shuffled, and its error.

    The rows are those of ``model.reference``, each predicted by networks that have not learned from
    it (Breiman 2001; Fisher, Rudin & Dominici 2019). The loss is that of training, in its units:
    log loss, or squared error in variances of the target.

    Parameters
    ----------
    model : TabularModel
    repeats : int, default=5
        Shuffles of each column.
    n_threads : int or None, default=None

    Returns
    -------
    importances, errors : float64 array (n_columns,)
        Means over rows, and their standard errors; 0 for columns that the model leaves out.
    """
    check_count("repeats", repeats)
    reference, task, groups = model.reference, model.task, model.groups
    if model.ensemble.constant is not None:  # whatever a row holds
        return np.zeros(len(groups)), np.zeros(len(groups))
    if reference is None:
        raise ValueError("the model has no rows that it has not learned from: importances cannot "
                         "be measured")
    m = len(reference)
    grown = np.zeros((len(groups), m))
    rng = np.random.default_rng(0)  # the same shuffles whenever it is asked
    targets = reference.targets.astype(np.int32) if task.kind == "multiclass" else reference.targets
    for rows, ensemble in reference.ensembles(model.ensemble):
        inputs, wanted = reference.inputs[rows], targets[rows]
        before = task.losses(wanted, ensemble.outputs(inputs, n_threads))
        orders = np.concatenate([rng.permutation(len(rows)) for _ in range(repeats)])
        again = np.tile(np.arange(len(rows)), repeats)
        many, wanted = inputs[again], wanted[again]
        for j, group in enumerate(groups):
            if group.is_empty:
                continue
            changed = replaced(many, group, inputs[orders])
            losses = task.losses(wanted, ensemble.outputs(changed, n_threads))
            grown[j, rows] = losses.reshape(repeats, -1).mean(axis=0) - before
    weight = np.ones(m) if reference.weight is None else reference.weight
    share = weight / weight.sum()
    means = grown @ share
    errors = np.sqrt(((grown - means[:, np.newaxis]) ** 2) @ (share * share))
    return means, errors
