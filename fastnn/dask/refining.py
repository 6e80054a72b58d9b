"""What rows of the driver say of an encoding and of a network that rounds on workers train.

A member of `fastnn.tabular.recipe.fit` is refined by all rows of its table; here by those of the
sample, of which the network has not learned from the ones that its shards held out.
"""

from functools import partial

import numpy as np

from fastnn.tabular.calibration import calibrated
from fastnn.tabular.encoding import Encoding
from fastnn.tabular.linear import with_linear_part, with_straight_values
from fastnn.tabular.recipe import MOST_LINEAR

__all__ = ["Sampled"]

FOLDS = 5  # of the rows that say whether values of a column are bent
LEAST_HELD_OUT = 50  # rows, below which they say nothing: the least loss of a hundred is by chance


class Sampled:
    """Rows of the sample that have a weight.

    Parameters
    ----------
    inputs : Inputs
        Further rows at its end are left out.
    targets : array
    task : Task
    weight : float array (n_rows,) or None
    recipe : Recipe
    """

    def __init__(self, inputs, targets, task, weight, recipe):
        self.inputs, self.targets, self.task, self.recipe = inputs, targets, task, recipe
        self.weight = None if weight is None else np.asarray(weight, float)
        self.rows = np.arange(len(targets))
        if weight is not None:
            self.rows = np.flatnonzero(self.weight > 0)

    def _of(self, rows):
        """Return inputs, targets and weights of some rows."""
        return (self.inputs[rows], self.targets[rows],
                None if self.weight is None else self.weight[rows])

    def _some(self, rows):
        """Return some of the rows where they are many: a linear model needs no more."""
        if len(rows) <= MOST_LINEAR:
            return rows
        return rows[np.arange(MOST_LINEAR) * len(rows) // MOST_LINEAR]

    def straightened(self, encoding):
        """Return the encoding, or one whose values are not bent in some columns; see
        `with_straight_values`."""
        if not self.recipe.linear:
            return encoding
        inputs, targets, weight = self._of(self._some(self.rows))
        order = np.random.default_rng(0).permutation(len(targets))
        folds = [np.sort(order[i::FOLDS]) for i in range(min(FOLDS, len(targets)))]
        if len(folds) < 2:
            return encoding
        return with_straight_values(
            encoding, encoding.transform(inputs), partial(Encoding.transform, inputs=inputs),
            targets, self.task, weight, folds)

    def refined(self, net, encoding, held):
        """Return the network, and the encoding that it reads: with a linear part and a
        temperature, where rows that it has not learned from say that these help.

        Parameters
        ----------
        net : MLP
            It may be changed.
        encoding : Encoding
        held : int array
            The numbers of these rows in the sample.
        """
        held = np.intersect1d(held, self.rows)
        if len(held) < LEAST_HELD_OUT:
            return net, encoding
        if self.recipe.linear:
            rows = self._some(self.rows)
            fold = np.flatnonzero(np.isin(rows, held))
            inputs, targets, weight = self._of(rows)
            (net,), encoding = with_linear_part(
                [net], encoding, encoding.transform(inputs), targets, self.task, weight, [fold],
                inputs.numbers)
        if self.recipe.calibration:
            inputs, targets, weight = self._of(held)
            net, = calibrated([net], encoding.transform(inputs), targets, self.task, weight,
                              [np.arange(len(held))])
        return net, encoding
