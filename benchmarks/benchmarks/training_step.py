"""One training step: forward, backward and update of one minibatch, with no Python in between."""

from __future__ import annotations

import statistics

from fastnn import SGD, Adam
from fastnn.network.spec import NetworkSpec
from fastnn.training._trainer import Trainer

from .common import CELLS, DTYPES, NETWORKS, THREADS, relative_error, seconds_of, share_of_peak
from .grid import BETAS, EPSILON, LEARNING_RATE, MOMENTUM, Cell, initial_weights, make_data

OPTIMIZERS = {
    "sgd": SGD(LEARNING_RATE, momentum=MOMENTUM),
    "adam": Adam(LEARNING_RATE, *BETAS, EPSILON),
}


def steps_of(cell: Cell) -> int:
    """Steps that are timed together: 20, or the few that an epoch of a big cell has."""
    return min(20, cell.n_steps)


def make_trainer(cell, optimizer, dtype, n_threads, gemm="auto") -> Trainer:
    """A trainer over `steps_of(cell)` batches, with the same initial weights whatever the dtype."""
    trainer = Trainer(
        NetworkSpec.chain(cell.sizes, "relu", cell.output, dtype=dtype),
        cell.loss,
        optimizer=OPTIMIZERS[optimizer],
        batch_size=cell.batch_size,
        n_threads=n_threads,
        gemm=gemm,
    )
    arrays = initial_weights(cell.sizes, dtype)
    for weight, initial in zip(trainer.weights, arrays[::2], strict=True):
        weight[...] = initial
    n_samples = steps_of(cell) * cell.batch_size
    trainer.set_data(*make_data(n_samples, cell.sizes[0], cell.sizes[-1], dtype, cell.loss))
    return trainer


def run(trainer) -> None:
    trainer.run_epoch(learning_rate=LEARNING_RATE)


class Step:
    """20 steps of each cell of the grid (g: 8, j: 4) in one call."""

    params = [list(CELLS), list(OPTIMIZERS), THREADS]
    param_names = ["cell", "optimizer", "threads"]
    # a call takes up to a second: three are enough for a median, and seconds for all
    repeat = (3, 10, 3.0)

    def setup(self, label, optimizer, n_threads):
        self.cell = CELLS[label]
        self.trainer = make_trainer(self.cell, optimizer, self.cell.dtype, n_threads)

    def time_steps(self, label, optimizer, n_threads):
        run(self.trainer)

    def track_share_of_blas_peak(self, label, optimizer, n_threads):
        cell = self.cell
        flops = steps_of(cell) * cell.batch_size * cell.flops_of_training
        return share_of_peak(lambda: run(self.trainer), flops, cell.dtype, n_threads)

    track_share_of_blas_peak.unit = "GFLOP/s over BLAS peak"

    def track_error(self, label, optimizer, n_threads):
        """Weights after these steps against the same steps in float64 on one thread."""
        truth = make_trainer(self.cell, optimizer, "float64", 1)
        run(truth)
        run(self.trainer)
        # weight by weight: the flat vectors are padded differently
        pairs = zip(self.trainer.weights, truth.weights, strict=True)
        return max(relative_error(weight, true_weight) for weight, true_weight in pairs)

    track_error.unit = "relative error"

    def track_workspace(self, label, optimizer, n_threads):
        return self.trainer.workspace_nbytes

    track_workspace.unit = "bytes"


class Products:
    """20 steps with the products of each origin; `auto` of `Step` should match the better one."""

    params = [list(NETWORKS), ["blas", "native"], DTYPES, THREADS]
    param_names = ["network", "gemm", "dtype", "threads"]

    def setup(self, network, gemm, dtype, n_threads):
        self.trainer = make_trainer(NETWORKS[network], "sgd", dtype, n_threads, gemm)

    def time_steps(self, network, gemm, dtype, n_threads):
        run(self.trainer)

    def track_time_over_auto(self, network, gemm, dtype, n_threads):
        """Time of this origin over that of `auto`, taken in turn; below 1, `auto` chose badly."""
        auto = make_trainer(NETWORKS[network], "sgd", dtype, n_threads)
        ratios = []
        for _ in range(7):
            mine = seconds_of(lambda: run(self.trainer))
            ratios.append(mine / seconds_of(lambda: run(auto)))
        return statistics.median(ratios)

    track_time_over_auto.unit = "ratio"
