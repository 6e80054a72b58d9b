"""What the benchmarks share: the cells of the grid by name, and a yardstick."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
from scipy.linalg import blas

from .grid import GRID

DTYPES = ["float32", "float64"]
THREADS = [1, 2]

# each with the dtype and loss of its row, by label
CELLS = {cell.label: cell for cell in GRID.values()}
# a few classifiers from small to large, for benchmarks that vary the dtype themselves
NETWORKS = {GRID[key].net: GRID[key] for key in "abcef"}


def relative_error(value, truth) -> float:
    """Largest deviation from the truth, in units of the truth's largest magnitude."""
    truth = np.asarray(truth, np.float64)
    return float(np.max(np.abs(np.asarray(value, np.float64) - truth)) / np.max(np.abs(truth)))


def seconds_of(work: Callable[[], object], at_least: float = 0.02) -> float:
    """Seconds of one call, over as many calls as fill `at_least` seconds."""
    calls = 0
    start = time.perf_counter()
    while True:
        work()
        calls += 1
        elapsed = time.perf_counter() - start
        if elapsed >= at_least:
            return elapsed / calls


def share_of_peak(work: Callable[[], object], flops: int, dtype: str, n_threads: int = 1) -> float:
    """GFLOP/s of `work` over that of SciPy's BLAS at 1024 cubed on one thread, times `n_threads`.

    Work and yardstick run in turn, so that a slow moment of the machine meets both.
    """
    gemm = blas.sgemm if dtype == "float32" else blas.dgemm
    square = np.asfortranarray(np.random.default_rng(0).standard_normal((1024, 1024)).astype(dtype))
    shares = []
    for _ in range(7 if seconds_of(work) < 0.1 else 3):  # the big cells would take minutes
        peak = 2 * 1024**3 / seconds_of(lambda: gemm(1.0, square, square))
        shares.append(flops / seconds_of(work) / peak / n_threads)
    return statistics.median(shares)
