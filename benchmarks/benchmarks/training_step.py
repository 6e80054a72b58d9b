"""One training step: forward, backward and update of one minibatch, with no Python in between."""

from __future__ import annotations

import statistics

import numpy as np

from fastnn import SGD, Adam, _training

from .common import (
    DTYPES,
    NETWORKS,
    THREADS,
    make_data,
    relative_error,
    seconds_of,
    share_of_peak,
)

OPTIMIZERS = {"sgd": lambda: SGD(0.01), "adam": lambda: Adam(1e-3)}
STEPS = 20


def make_trainer(network, optimizer, dtype, n_threads, gemm="auto") -> _training.Trainer:
    """A trainer over `STEPS` batches, with the same initial weights whatever the dtype."""
    sizes, batch_size = NETWORKS[network]
    trainer = _training.Trainer(
        sizes,
        ("relu",) * (len(sizes) - 2),
        "softmax",
        "cross_entropy",
        dtype=dtype,
        optimizer=OPTIMIZERS[optimizer](),
        batch_size=batch_size,
        n_threads=n_threads,
        gemm=gemm,
    )
    rng = np.random.default_rng(0)
    for weight in trainer.weights:
        weight[...] = rng.uniform(-1, 1, weight.shape) * np.sqrt(6 / sum(weight.shape))
    X, y = make_data(STEPS * batch_size, sizes[0], sizes[-1], dtype)
    trainer.set_data(X, y)
    return trainer


class Step:
    """An epoch of 20 steps; divide the time by 20."""

    params = [list(NETWORKS), list(OPTIMIZERS), DTYPES, THREADS]
    param_names = ["network", "optimizer", "dtype", "threads"]

    def setup(self, network, optimizer, dtype, n_threads):
        self.trainer = make_trainer(network, optimizer, dtype, n_threads)

    def run(self):
        self.trainer.run_epoch(learning_rate=1e-3)

    def time_20_steps(self, network, optimizer, dtype, n_threads):
        self.run()

    def track_share_of_blas_peak(self, network, optimizer, dtype, n_threads):
        flops = STEPS * NETWORKS[network].flops
        return share_of_peak(self.run, flops, dtype, n_threads)

    track_share_of_blas_peak.unit = "GFLOP/s over BLAS peak"

    def track_error(self, network, optimizer, dtype, n_threads):
        """Weights after 20 steps against the same 20 steps in float64 on one thread."""
        truth = make_trainer(network, optimizer, "float64", 1)
        truth.run_epoch(learning_rate=1e-3)
        self.run()
        # weight by weight: the flat vectors are padded differently
        pairs = zip(self.trainer.weights, truth.weights, strict=True)
        return max(relative_error(weight, true_weight) for weight, true_weight in pairs)

    track_error.unit = "relative error"

    def track_workspace(self, network, optimizer, dtype, n_threads):
        return self.trainer.workspace_nbytes

    track_workspace.unit = "bytes"


class Products:
    """20 steps with the products of each origin; `auto` of `Step` should match the better one."""

    params = [list(NETWORKS), ["blas", "native"], DTYPES, THREADS]
    param_names = ["network", "gemm", "dtype", "threads"]

    def setup(self, network, gemm, dtype, n_threads):
        self.trainer = make_trainer(network, "sgd", dtype, n_threads, gemm)

    def run(self):
        self.trainer.run_epoch(learning_rate=1e-3)

    def time_20_steps(self, network, gemm, dtype, n_threads):
        self.run()

    def track_time_over_auto(self, network, gemm, dtype, n_threads):
        """Time of this origin over that of `auto`, taken in turn; below 1, `auto` chose badly."""
        auto = make_trainer(network, "sgd", dtype, n_threads)
        ratios = []
        for _ in range(7):
            mine = seconds_of(self.run)
            ratios.append(mine / seconds_of(lambda: auto.run_epoch(learning_rate=1e-3)))
        return statistics.median(ratios)

    track_time_over_auto.unit = "ratio"
