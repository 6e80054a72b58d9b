"""From shapes to decisions: where parameters lie, into how many shards a batch is cut, how many
threads work. Nothing else decides any of this, and nothing here depends on the data.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

ALIGNMENT = 64  # bytes: a cache line, and an AVX-512 vector
BLAS_LIMIT = 2**31 - 1
CHUNK = 4096  # parameters that are updated in one go by one thread: their vectors fit in L1
MAX_SHARDS = 4
SHARD_ROWS = 16  # a batch is cut into s shards from 16 s² rows on: products of few rows are slow
MIN_SHARD_FLOPS = 1e6  # below some 10 us of work a second thread costs more than it brings
SIGNAL_FLOPS = 1e9  # work between two looks for Ctrl-C, some 10-20 ms, where a step counts for
STEP_FLOPS = 2e5  # ... as much for its barriers and calls, and
ELEMENT_FLOPS = 50  # ... each unit of each row for its activation and its gathering


def aligned_zeros(size, dtype):
    """A zeroed vector whose first element lies on a cache line."""
    dtype = np.dtype(dtype)
    raw = np.zeros(size * dtype.itemsize + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start:start + size * dtype.itemsize].view(dtype)


class ParameterLayout:
    """Where W0, b0, W1, b1, ... lie in one flat vector.

    W is (n_in, n_out), row-major; its bias follows it; each layer starts on a cache line. The gaps
    hold zeros and stay zero.

    Parameters
    ----------
    sizes : sequence of int
        Units of the input, the hidden layers and the output.
    dtype : dtype
        float32 or float64; decides the gaps.
    """

    def __init__(self, sizes, dtype):
        self.sizes = tuple(int(size) for size in sizes)
        self.dtype = np.dtype(dtype)
        per_line = ALIGNMENT // self.dtype.itemsize
        self.weight_offsets, self.bias_offsets = [], []
        end = 0
        for n_in, n_out in pairwise(self.sizes):
            start = -(-end // per_line) * per_line
            self.weight_offsets.append(start)
            self.bias_offsets.append(start + n_in * n_out)
            end = start + n_in * n_out + n_out
        self.size = end

    def allocate(self):
        """A zeroed flat vector of ``size`` elements."""
        return aligned_zeros(self.size, self.dtype)

    def views(self, flat):
        """Lists of views of a flat vector: weights (n_in, n_out), biases (n_out,)."""
        weights, biases = [], []
        for (n_in, n_out), w, b in zip(
            pairwise(self.sizes), self.weight_offsets, self.bias_offsets, strict=True
        ):
            weights.append(flat[w:b].reshape(n_in, n_out))
            biases.append(flat[b:b + n_out])
        return weights, biases

    @property
    def n_parameters(self):
        """Weights and biases, without the gaps."""
        return sum((n_in + 1) * n_out for n_in, n_out in pairwise(self.sizes))

    @property
    def training_flops(self):
        """Floating-point operations of one row's training step: the gradient with respect to the
        input of the network is not needed."""
        products = [n_in * n_out for n_in, n_out in pairwise(self.sizes)]
        return 4 * products[0] + 6 * sum(products[1:])

    def chunks(self):
        """Pieces (offset, size, is_weight) of at most CHUNK elements that cover all parameters."""
        pieces = []
        for w, b, n_out in zip(
            self.weight_offsets, self.bias_offsets, self.sizes[1:], strict=True
        ):
            for start, stop, is_weight in ((w, b, True), (b, b + n_out, False)):
                pieces += [(at, min(CHUNK, stop - at), is_weight)
                           for at in range(start, stop, CHUNK)]
        return pieces


@dataclass(frozen=True)
class TrainingPlan:
    """How a batch is worked on; ``str()`` explains it.

    The shards are fixed by the shape of the network and the batch alone. Each has a gradient of its
    own, and they are added in order, whoever computed them: the number of threads changes no bit.
    """

    sizes: tuple
    dtype: str
    batch: int
    shards: int
    shard_rows: int
    threads: int
    threads_wanted: int
    signal_steps: int

    def __str__(self):
        net = "-".join(map(str, self.sizes))
        why = "" if self.threads == self.threads_wanted else (
            f" (of {self.threads_wanted}: never more than shards)")
        return (
            f"{net} {self.dtype}, batch {self.batch}: row-major, products by BLAS; "
            f"{self.shards} shard{'s' * (self.shards > 1)} of {self.shard_rows} rows "
            f"(s shards from {SHARD_ROWS} s² rows and {MIN_SHARD_FLOPS:.0e} FLOP each on, "
            f"at most {MAX_SHARDS}); "
            f"{self.threads} thread{'s' * (self.threads > 1)}{why}"
        )


def plan_training(layout, batch, n_threads):
    """The plan of training a network of this layout with this batch size."""
    for size in (*layout.sizes, batch):
        if size > BLAS_LIMIT:
            raise ValueError(f"size {size} is beyond the 32-bit dimensions of BLAS ({BLAS_LIMIT})")
    shards = 1
    while (
        2 * shards <= MAX_SHARDS
        and batch >= SHARD_ROWS * (2 * shards) ** 2
        and batch * layout.training_flops >= 2 * shards * MIN_SHARD_FLOPS
    ):
        shards *= 2
    per_row = layout.training_flops + ELEMENT_FLOPS * sum(layout.sizes)
    return TrainingPlan(
        sizes=layout.sizes,
        dtype=layout.dtype.name,
        batch=batch,
        shards=shards,
        shard_rows=-(-batch // shards),
        threads=min(n_threads, shards),
        threads_wanted=n_threads,
        signal_steps=max(1, int(SIGNAL_FLOPS / (batch * per_row + STEP_FLOPS))),
    )
