"""Many networks at once: `fastnn.fit_many` beside fits in turn, and JAX's vmap over the networks.

    python benchmarks/compare.py --many                 # half a minute
    python benchmarks/compare.py --many --threads 1,2 --rounds 9

Eight networks of cell b, each with its own order of rows. As in compare.py each library with each
number of threads has a process of its own, and rounds are interleaved.
"""

from __future__ import annotations

import statistics

import measure
from benchmarks.grid import GRID, LEARNING_RATE, initial_weights
from peers import Fastnn, Jax

N_NETWORKS = 8
CELL = "b"
TRIAL = 0.3  # seconds of a slice, about


class InTurn(Fastnn):
    """A fit after the other."""

    def build(self):
        import fastnn

        super().build()
        cell = self.cell
        self.networks = [
            fastnn.MLP(cell.sizes, output=cell.output, dtype=cell.dtype, random_state=i,
                       n_threads=self.n_threads) for i in range(N_NETWORKS)]

    def reset(self):
        pass

    @property
    def settings(self):
        return {"loss": self.cell.loss, "optimizer": self.rule,
                "batch_size": self.cell.batch_size}

    def fit(self, n_epochs):
        for net in self.networks:
            net.fit(self.X, self.y, epochs=n_epochs, **self.settings)
        return self.networks[0].history.loss[-1]


class Together(InTurn):
    """`fit_many`."""

    def fit(self, n_epochs):
        import fastnn

        histories = fastnn.fit_many(self.networks, self.X, self.y, epochs=n_epochs,
                                    n_threads=self.n_threads, **self.settings)
        return histories[0].loss[-1]


class Vmap(Jax):
    """One scan over the batches, in which vmap takes a step of every network."""

    def reset(self):
        numpy, tree = self.jax.numpy, self.jax.tree
        each = [[numpy.asarray(array) for array in initial_weights(
            self.cell.sizes, self.cell.dtype, seed)] for seed in range(N_NETWORKS)]
        weights = [numpy.stack(arrays) for arrays in zip(*each, strict=True)]
        zeros = [tree.map(numpy.zeros_like, weights) for _ in range(2)]
        self.state = weights, *zeros, numpy.zeros(N_NETWORKS, self.cell.dtype)

    def scan_batches(self, state, order, X, y):
        step = self.jax.vmap(lambda state, batch: self.step(state, X[batch], y[batch]))
        state, losses = self.jax.lax.scan(step, state, order)
        return state, losses.mean()

    def fit(self, n_epochs):
        cell = self.cell
        for _ in range(n_epochs):
            orders = self.jax.numpy.stack([
                self.rng.permutation(len(self.X)).reshape(cell.n_steps, cell.batch_size)
                for _ in range(N_NETWORKS)], axis=1)
            self.state, loss = self.epoch(self.state, orders, self.X, self.y)
        self.jax.block_until_ready(self.state)
        return float(loss)


WAYS = {"in turn": InTurn, "fit_many": Together, "jax vmap": Vmap}


def load(way, n_threads):
    """Put a way of training into this process."""
    measure.loaded = None
    measure.loaded = WAYS[way](GRID[CELL], "adam", n_threads)


def compare(worker_of, settings, note):
    """Return the lines of the table.

    Parameters
    ----------
    worker_of : callable
        Makes a process with so many threads.
    settings : argparse.Namespace
        Of compare.py: threads, rounds.
    note : callable
        Says what is left out.
    """
    wanted = [("in turn", 1)]
    for n_threads in settings.threads:
        wanted += [("fit_many", n_threads), ("jax vmap", n_threads)]
    workers, epochs, speeds = {}, {}, {}
    for way, n_threads in wanted:
        worker = worker_of(n_threads)
        try:
            worker(load, way, n_threads)
        except ImportError as error:
            note(f"{way} is left out: {error}")
            worker.close()
            continue
        workers[way, n_threads] = worker
        epochs[way, n_threads], _ = worker(measure.warm_up, TRIAL)
    try:
        for _ in range(settings.rounds):
            for key, worker in workers.items():
                found = worker.calm(measure.train, epochs[key])
                speeds.setdefault(key, []).append(N_NETWORKS * found["samples_per_s"])
    finally:
        for worker in workers.values():
            worker.close()
    return table(speeds)


def table(speeds):
    """Return lines: rows of networks per second, and the ratio to fits in turn on one thread,
    medians over the rounds."""
    cell = GRID[CELL]
    lines = [f"{N_NETWORKS} networks {cell.net}, Adam {LEARNING_RATE:g}; rows of all networks/s, "
             "over fits in turn on one thread (of each round)"]
    base = speeds["in turn", 1]
    for (way, n_threads), found in speeds.items():
        ratios = [mine / other for mine, other in zip(found, base, strict=True)]
        lines.append(f"{way:9} {n_threads} thread{'s' * (n_threads > 1):1} "
                     f"{statistics.median(found):12,.0f} {statistics.median(ratios):6.2f} "
                     f"({min(ratios):.2f} to {max(ratios):.2f})")
    return lines
