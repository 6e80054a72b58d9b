"""From shapes to decisions: where parameters lie, into how many shards a batch is cut, how many
threads work. Nothing else decides any of this, and nothing here depends on the data.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from fastnn import _kernels

ALIGNMENT = 64  # bytes: a cache line, and an AVX-512 vector
BLAS_LIMIT = 2**31 - 1

# Feature-major: parameters that are updated in one go by one thread, so that their vectors fit in
# L1; and the shards, whose gradients are added up: s of them from 16 s² rows on, because products
# of few rows are slow, and none below some 3 us of work, where a second thread costs more than it
# brings.
CHUNK = 4096
MAX_SHARDS = 4
SHARD_ROWS = 16
MIN_SHARD_FLOPS = 5e5

# Row-major: a chunk's gradient lies in L1 or L2 until its update; 48 rows are whole tiles of 6 or 8
# rows and whole cache lines of W'. Shards are blocks of rows, cheap to have: from BLOCK_ROWS rows
# on, or more where a block would read weights that no L2 holds for few rows. (Lost: panels of
# columns of the first layer, each owned by one thread in the forward pass and in the update.
# 784-128-10 on two threads took 85 us a step against 78, as each thread then reads all of X.)
PANEL = 8192
PANEL_ROWS = 48
MAX_BLOCKS = 16
BLOCK_ROWS = 32
WIDE_BLOCK_ROWS = ((2**19, 128), (2**18, 64))  # from so many weights in a layer on

# Row-major, native: above so many rows a batch is gathered; below, the products read X's rows
# where they lie, which saves the copy (784-128-10, batch 64: 10 % of the step; batch 256: 2 %).
LISTED_ROWS = 512

# Rows of so many bytes or more make B of a product walk from page to page: such a W is kept in
# panels beside (1024³, batch 512: 219 -> 240 GFLOP/s), and a dZ gets rows that are a line longer.
PACKED_BYTES = 4096

EPOCH_FLOPS = 2e7  # below some 0.2 ms an epoch is done before a second thread is awake
CLOCK_FLOPS = 5e7  # work between two looks at the clock, some 0.5 ms, where a step counts for
STEP_FLOPS = 2e5  # ... as much for its phases and calls, and
ELEMENT_FLOPS = 50  # ... each unit of each row for its activation and its gathering


def aligned_empty(size, dtype):
    """A vector whose first element lies on a cache line.

    NumPy asks the system for huge pages here, and not in `numpy.zeros`: with that the first epoch
    of a network of 4 million weights spent 0.1 s on page faults.
    """
    dtype = np.dtype(dtype)
    raw = np.empty(size * dtype.itemsize + ALIGNMENT, np.uint8)
    # raw.ctypes tells a lack of memory by a SystemError, __array_interface__ by a crash
    start = -_kernels.address(raw) % ALIGNMENT
    return raw[start:start + size * dtype.itemsize].view(dtype)


def aligned_zeros(size, dtype):
    """The same, zeroed."""
    vector = aligned_empty(size, dtype)
    vector[:] = 0
    return vector


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

    def chunks(self, size, rows):
        """Pieces of about ``size`` elements that cover all parameters: whole rows of a W, a
        multiple of ``rows`` of them, or part of a b.
        """
        pieces = []
        for layer, (n_in, n_out) in enumerate(pairwise(self.sizes)):
            w, b = self.weight_offsets[layer], self.bias_offsets[layer]
            step = max(1, size // (n_out * rows)) * rows
            pieces += [Chunk(w + row * n_out, min(step, n_in - row) * n_out, True, layer, row)
                       for row in range(0, n_in, step)]
            pieces += [Chunk(b + at, min(size, n_out - at), False, layer, 0)
                       for at in range(0, n_out, size)]
        return pieces


class Chunk(NamedTuple):
    """Parameters that one thread updates in one go."""

    at: int
    size: int
    is_weight: bool
    layer: int
    row: int


# Who computes the products of a training step: our own kernels up to this width of a layer,
# else BLAS. Whole steps, time with BLAS / time with our own, one thread, Zen 5, BLAS with the
# kernels that such a processor gets (benchmarks/products.py --steps; single products without):
#             20-64-64-2  64-100-10  784-128-10  784-256-128-10  784-512-512-10  1024³  2048² b1024
#   avx512       1.22        1.24       1.54          1.54            1.18        1.14      1.17
#   avx2         1.44        1.65       1.40          1.37            1.20        1.01      1.09
#   baseline     0.43        0.48       0.43          0.42            0.34        0.31      0.28
# float64, 784-256-128-10: 1.32, 1.08, 0.24. The baseline is x86-64 without FMA;
# ARM has it, but was not measured: there, too, the platform's BLAS knows its processor.
NATIVE_WIDTH = {"avx512": 2**31, "avx2": 2**31, "baseline": 0}

# Feature-major where every layer is at most this wide: then the lanes that narrow layers leave
# empty cost more than turning X and dZ. Measured on Zen 5; 784 inputs gain nothing (Zen 4).
WIDEST_COLUMNS = 128


def choose_layout(layout, products, drops):
    """"columns" (feature-major) or "rows". Masks of dropout are drawn for rows."""
    narrow = max(layout.sizes) <= WIDEST_COLUMNS
    return "columns" if narrow and not drops and set(products) == {"native"} else "rows"


def choose_products(layout, gemm, isa):
    """"native" or "blas" for each layer."""
    if gemm != "auto":
        return (gemm,) * (len(layout.sizes) - 1)
    return tuple("native" if max(shape) <= NATIVE_WIDTH[isa] else "blas"
                 for shape in pairwise(layout.sizes))


def choose_shards(layout, batch):
    """Feature-major: each shard adds a gradient to store and to add up."""
    shards = 1
    while (
        2 * shards <= MAX_SHARDS
        and batch >= SHARD_ROWS * (2 * shards) ** 2
        and batch * layout.training_flops >= 2 * shards * MIN_SHARD_FLOPS
    ):
        shards *= 2
    return shards


def choose_blocks(layout, batch):
    """Row-major: as many blocks as have enough rows."""
    widest = max(n_in * n_out for n_in, n_out in pairwise(layout.sizes))
    rows = next((rows for size, rows in WIDE_BLOCK_ROWS if widest >= size), max(1, BLOCK_ROWS))
    worthwhile = batch * layout.training_flops // max(MIN_SHARD_FLOPS, 1)
    return max(1, int(min(MAX_BLOCKS, batch // rows, worthwhile)))


class TrainingPlan(NamedTuple):
    """How a batch is worked on; ``str()`` explains it.

    The shards are fixed by the shape of the network and the batch alone. Feature-major, each has a
    gradient of its own, and they are added in order; row-major, each chunk of parameters gets its
    gradient from all rows at once. The number of threads changes no bit.
    """

    sizes: tuple
    dtype: str
    batch: int
    products: tuple
    layout: str
    lists: bool
    shards: int
    shard_rows: int
    lanes: int
    threads: int
    threads_wanted: int
    clock_steps: int
    row_flops: float

    def row_length(self, layer):
        """Elements from row to row of a layer's activations, row-major."""
        n_out, itemsize = self.sizes[layer + 1], np.dtype(self.dtype).itemsize
        strided = n_out * itemsize >= PACKED_BYTES and n_out * itemsize % PACKED_BYTES == 0
        hidden = layer < len(self.products) - 1
        if strided and hidden and set(self.products) == {"native"}:
            return n_out + ALIGNMENT // itemsize
        return n_out

    def packs(self, layer):
        """Whether the layer's W is kept in panels, too."""
        return self.sizes[layer + 1] * np.dtype(self.dtype).itemsize >= PACKED_BYTES

    def groups(self, chunks):
        """First chunks of the groups, each of which is a task, and the number of chunks."""
        if self.threads == 1:
            return [0, len(chunks)]
        smallest = max(chunk.size for chunk in chunks)
        if len(chunks) > _kernels.MAX_TASKS // 2:
            smallest = max(smallest, sum(chunk.size for chunk in chunks) * 3 // _kernels.MAX_TASKS)
        starts, size = [0], 0
        for i, chunk in enumerate(chunks):
            if size and size + chunk.size > smallest:
                starts.append(i)
                size = 0
            size += chunk.size
        return [*starts, len(chunks)]

    def threads_for(self, n_rows):
        """Threads of an epoch over so many rows: one where it would be over too soon."""
        return self.threads if n_rows * self.row_flops >= EPOCH_FLOPS else 1

    def __str__(self):
        columns = self.layout == "columns"
        widest = "every layer is at most" if columns else "a layer is more than"
        widest += f" {WIDEST_COLUMNS} wide"
        if not columns and max(self.sizes) <= WIDEST_COLUMNS:
            widest = "dropout, or products by BLAS"
        packed = [i + 1 for i in range(len(self.products)) if not columns and self.packs(i)
                  and self.products[i] == "native"]
        some = "s" * (self.shards > 1)
        lines = [
            f"{'-'.join(map(str, self.sizes))} {self.dtype}, batch {self.batch}",
            f"layout    {'feature-major' if columns else 'row-major'}: {widest}",
            f"products  {'/'.join(sorted(set(self.products)))} ({_kernels.isa()})"
            + (f"; W of layer {', '.join(map(str, packed))} kept in panels, too" if packed else "")
            + (f"; X read where it lies (batch at most {LISTED_ROWS})" if self.lists else ""),
            f"shards    {self.shards} shard{some} of {self.shard_rows} rows"
            + (f": s of them from {SHARD_ROWS} s² rows and {MIN_SHARD_FLOPS:.0e} FLOP each on, at "
               f"most {MAX_SHARDS}" if columns else f", at most {MAX_BLOCKS}, and the gradient "
               "by rows of W"),
            f"threads   {self.threads}"
            + (f" of {self.threads_wanted}: never more than shards"
               if self.threads < self.threads_wanted else "")
            + (f"; 1 in epochs of less than {EPOCH_FLOPS:.0e} FLOP" if self.threads > 1 else ""),
        ]
        return "\n".join(lines)


def plan_training(layout, batch, n_threads, gemm="auto", drops=False):
    """The plan of training a network of this layout with this batch size."""
    for size in (*layout.sizes, batch):
        if size > BLAS_LIMIT:
            raise ValueError(f"size {size} is beyond the 32-bit dimensions of BLAS ({BLAS_LIMIT})")
    products = choose_products(layout, gemm, _kernels.isa())
    order = choose_layout(layout, products, drops)
    shards = (choose_shards if order == "columns" else choose_blocks)(layout, batch)
    shard_rows = lanes = -(-batch // shards)
    if order == "columns":
        # whole cache lines between the features, and whole vectors in all shards but the last
        line = ALIGNMENT // layout.dtype.itemsize
        lanes = -(-shard_rows // line) * line
        shard_rows = lanes if shards > 1 else batch
    per_row = layout.training_flops + ELEMENT_FLOPS * sum(layout.sizes)
    return TrainingPlan(
        sizes=layout.sizes,
        dtype=layout.dtype.name,
        batch=batch,
        products=products,
        layout=order,
        lists=order == "rows" and products[0] == "native" and batch <= LISTED_ROWS,
        shards=shards,
        shard_rows=shard_rows,
        lanes=lanes,
        threads=min(n_threads, shards),
        threads_wanted=n_threads,
        row_flops=layout.training_flops,
        clock_steps=max(1, int(CLOCK_FLOPS / (batch * per_row + STEP_FLOPS))),
    )
