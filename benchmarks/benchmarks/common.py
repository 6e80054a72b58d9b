"""Networks, data and a yardstick that the benchmarks share."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.linalg import blas

DTYPES = ["float32", "float64"]
THREADS = [1, 2]


class Network(NamedTuple):
    """Layer sizes and a batch size that go together in practice."""

    sizes: tuple[int, ...]
    batch_size: int

    @property
    def flops(self) -> int:
        """Operations that one training step needs in its matrix products.

        Forward, gradient of the weights, gradient of the inputs: 2 n_in n_out a row and layer each,
        except that nobody asks for the gradient of the first layer's input.
        """
        products = [a * b for a, b in zip(self.sizes, self.sizes[1:], strict=False)]
        return 2 * self.batch_size * (3 * sum(products) - products[0])


NETWORKS = {
    "4-16-3 b32": Network((4, 16, 3), 32),
    "20-64-64-2 b64": Network((20, 64, 64, 2), 64),
    "64-100-10 b200": Network((64, 100, 10), 200),
    "784-256-128-10 b128": Network((784, 256, 128, 10), 128),
    "784-512-512-10 b256": Network((784, 512, 512, 10), 256),
}


@functools.lru_cache(maxsize=2)
def make_data(n_samples: int, n_in: int, n_classes: int, dtype: str, seed: int = 0):
    """X (n_samples, n_in) and labels (n_samples,) that a linear teacher gives, with some noise."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, n_in)).astype(dtype)
    teacher = rng.standard_normal((n_in, n_classes)) / np.sqrt(n_in)
    scores = X @ teacher + 0.3 * rng.standard_normal((n_samples, n_classes))
    return X, scores.argmax(axis=1).astype(np.int32)


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
    for _ in range(7):
        peak = 2 * 1024**3 / seconds_of(lambda: gemm(1.0, square, square))
        shares.append(flops / seconds_of(work) / peak / n_threads)
    return statistics.median(shares)
