"""Metrics of rows that are held out on workers."""

import numpy as np

from fastnn.dask import tasks
from fastnn.dask.trainer import GradientTrainer

__all__ = ["METRIC", "Judge"]

METRIC = "metric"  # its curve is "val_metric"


class Judge(GradientTrainer):
    """From parameters to a number that says how good outputs are; a task for each shard of rows.

    Parameters
    ----------
    net, info, shards
        See `GradientTrainer`.
    metric : callable
        From (targets, outputs, weights or None) of all rows, in their order, to a number of which
        less is better.
    """

    def __init__(self, net, info, shards, metric):
        super().__init__(net, info, shards)
        self.metric, self.targets = metric, None

    def __call__(self, parameters):
        """Return the number."""
        self.parameters[:] = parameters
        graph, key = self.begin()
        cluster, places = self.shards.cluster, self.shards.places()
        own = {"targets": self.targets is None}  # they stay here: each time outputs alone come
        number = next(cluster.rounds)
        ends = [graph.add(cluster.key("outputs", (number, i)), tasks.outputs, graph.ref(key),
                          graph.ref(shard.key), {**own, "number": i}, worker=places[i])
                for i, shard in enumerate(self.shards.futures)]
        found = cluster.fetch(cluster.send(graph, ends))
        if self.targets is None:
            y = np.concatenate([one["targets"] for one in found])
            if y.ndim > 1 and not self.info.repeats:
                y = y[:, :self.info.n_targets]  # the rest are zeros that no loss reads
            weights = [one["weight"] for one in found]
            self.targets = y, None if weights[0] is None else np.concatenate(weights)
        y, weight = self.targets
        return float(self.metric(y, np.concatenate([one["outputs"] for one in found]), weight))
