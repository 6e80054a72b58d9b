"""From shapes to decisions: the layout, who computes the products, into how many shards a batch is
cut, how many threads work. Nothing else decides any of this, and nothing here depends on the data.
"""

from dataclasses import dataclass
from typing import NamedTuple

from fastnn.core import _kernels
from fastnn.core.imports import imported
from fastnn.core.memory import ALIGNMENT
from fastnn.network.lowering import (
    INPUT,
    PACKED_BYTES,
    PANEL_BYTES,
    WIDEST_FEATURE_MAJOR,
    WITH_WEIGHTS,
    is_dense_chain,
    off_the_page,
)
from fastnn.network.parameters import ParameterLayout

BLAS_LIMIT = 2**31 - 1


@dataclass(frozen=True)
class Rules:
    """The planner's constants, as measured.

    Parameters
    ----------
    native_width : pairs (instruction set, width)
        Our own kernels compute the products of operations up to this width, else BLAS, by
        instruction set. Whole steps, time with BLAS / time with our own, one thread, Zen 5, BLAS
        with the kernels that such a processor gets (benchmarks/products.py --steps; single products
        without)::

                    20-64-64-2  64-100-10  784-128-10  784-256-128-10  784-512-512-10  1024³  2048²
            avx512     1.22        1.24       1.54          1.54            1.18       1.14   1.17
            avx2       1.44        1.65       1.40          1.37            1.20       1.01   1.09
            baseline   0.43        0.48       0.43          0.42            0.34       0.31   0.28

        float64, 784-256-128-10: 1.32, 1.08, 0.24. The baseline is x86-64 without FMA; ARM has it,
        but was not measured: there, too, the platform's BLAS knows its processor.
    widest_feature_major : int
        Feature-major where every operation is at most this wide: then the lanes that narrow ones
        leave empty cost more than transposing X and dZ. Measured on Zen 5; 784 inputs gain nothing
        (Zen 4).
    chunk : int
        Feature-major: parameters that are updated in one go by one thread, so that their vectors
        fit in L1.
    max_shards, shard_rows, min_shard_flops : int, int, float
        Feature-major: shards, whose partial gradients are added up: s of them from
        ``shard_rows`` s² rows on, because products of few rows are slow, and none below
        ``min_shard_flops`` (3 us of work), where a second thread costs more than it brings.
    chunk_size, chunk_rows : int
        Row-major: a chunk's gradient lies in L1 or L2 until its update; 48 rows are whole tiles of
        6 or 8 rows and whole cache lines of W'.
    max_blocks, block_rows, wide_block_rows
        Row-major: shards are blocks of rows, cheap to have: from ``block_rows`` rows on, or more
        where a block would read weights that no L2 holds for few rows: triples (weights of an
        operation, least batch, rows). W and W' of 2048x2048 are as large as the L3 of Zen 4, and
        pass by for each block: 256 rows in place of 128 save 2 to 7 % of a step. (Lost: panels of
        columns of the first layer, each owned by one thread in the forward pass and in the update.
        784-128-10 on two threads took 85 us a step against 78, as each thread then reads all of X.)
    head_rows : int
        Of an ensemble such a block has at least so many rows of the data: the products of its heads
        have no more.
    norm_rows : int
        Row-major, with batch normalisation: least rows of a shard, which has statistics of its own
        ("ghost batch", Hoffer et al. 2017). A choice, not a measurement: fewer rows make noisier
        statistics, more leave less for other threads to do.
    gathered_rows : int
        Row-major, native: above so many rows a batch is gathered; below, the products read X's rows
        where they lie, which saves the copy (784-128-10, batch 64: 10 % of the step; batch 256:
        2 %).
    packed_bytes : int
        Rows of so many bytes or more make B of a product walk from page to page: such a W is kept
        in panels beside (1024³, batch 512: 219 -> 240 GFLOP/s), and a dZ gets rows that are a line
        longer.
    panel_bytes, gradient_bytes, panel_rows
        From a batch of ``panel_rows`` on, W of rows of so many bytes is kept in panels, too, and dZ
        if X has so many columns: pairs (instruction set, bytes). AVX2: rows a large power of two
        apart fall into few sets of an L1 of 8 ways (512x512, batch 256, Zen 3: X W 77 -> 93
        GFLOP/s, X' dZ 68 -> 85), but 8 rows of 784-256-10 lose 8 %. AVX-512, Zen 4: X' dZ 62 -> 95
        of 2048x2048, batch 1024; 100 -> 107 of 1024x1024, batch 512; 512x512 gains nothing.
        (Lost, W of 512 units in panels: 784-512-512-10 the same on a quiet machine, 3 to 5 % less
        time where neighbours use L3; 784-256-128-10 in float64 1 % more.)
    epoch_flops : float
        Below some 0.2 ms an epoch is done before a second thread is awake.
    clock_flops, step_flops, element_flops : float
        Work between two looks at the clock, some 0.5 ms, where a step counts for ``step_flops`` for
        its phases and calls, and each unit of each row for ``element_flops`` for its activation and
        its gathering.
    """

    native_width: tuple = (("avx512", 2**31), ("avx2", 2**31), ("baseline", 0))
    widest_feature_major: int = WIDEST_FEATURE_MAJOR
    chunk: int = 4096
    max_shards: int = 4
    shard_rows: int = 16
    min_shard_flops: float = 5e5
    chunk_size: int = 8192
    chunk_rows: int = 48
    max_blocks: int = 16
    block_rows: int = 32
    wide_block_rows: tuple = ((2**22, 1024, 256), (2**19, 0, 128), (2**18, 0, 64))
    head_rows: int = 8
    norm_rows: int = 64
    gathered_rows: int = 512
    packed_bytes: int = PACKED_BYTES
    panel_bytes: tuple = tuple(PANEL_BYTES.items())
    gradient_bytes: tuple = (("avx512", PACKED_BYTES), ("avx2", 1024), ("baseline", 2**62))
    panel_rows: int = 96
    epoch_flops: float = 2e7
    clock_flops: float = 5e7
    step_flops: float = 2e5
    element_flops: float = 50


rules = Rules()  # those in use; tests put others in their place


def choose_products(layout, gemm, isa):
    """Return "native" or "blas" for each dense operation, None for the others."""
    width = dict(rules.native_width)[isa]
    chosen = []
    for op in layout.ops:
        if op.kind != "dense":
            chosen.append(None)
        elif gemm != "auto":
            chosen.append(gemm)
        else:
            chosen.append("native" if max(op.n_in, op.n_out) <= width else "blas")
    return tuple(chosen)


def choose_layout(layout, products, drops, codes=False):
    """Return "feature-major" or "row-major". Only dense operations without dropout, whose masks are
    drawn for rows, have the former; not with look-up codes."""
    narrow = max(layout.sizes) <= rules.widest_feature_major
    masks = drops and any(op.dropout for op in layout.ops)
    simple = is_dense_chain(layout.ops) and not masks and not codes
    return "feature-major" if narrow and simple and set(products) == {"native"} else "row-major"


def choose_shards(layout, batch):
    """Return the number of shards, feature-major: each adds a gradient to store and to add up."""
    shards = 1
    while (
        2 * shards <= rules.max_shards
        and batch >= rules.shard_rows * (2 * shards) ** 2
        and batch * layout.training_flops >= 2 * shards * rules.min_shard_flops
    ):
        shards *= 2
    return shards


def has_batch_norm(layout):
    """Return whether shards have statistics of their own."""
    return any(op.kind == "batch_norm" for op in layout.ops)


def choose_blocks(layout, batch, sparse):
    """Return the number of shards, row-major: as many blocks as have enough rows. Look-ups read no
    more of W than they need, whatever a block is."""
    widest = 0
    for op in layout.ops:
        if op.kind in WITH_WEIGHTS and not (sparse and op.source == INPUT):
            widest = max(widest, op.weights_size)
    rows = max(1, rules.block_rows)
    for size, least, many in rules.wide_block_rows:
        if widest >= size and batch >= least:
            rows = many
            break
    if has_batch_norm(layout):
        rows = max(rows, rules.norm_rows)
    worthwhile = batch * layout.training_flops // max(rules.min_shard_flops, 1)
    blocks, members = batch // rows, layout.spec.members
    if members > 1:
        blocks = min(batch * members // rows, batch // max(1, rules.head_rows))
    return max(1, int(min(rules.max_blocks, blocks, worthwhile)))


class TrainingPlan(NamedTuple):
    """How a batch is worked on; ``str()`` explains it.

    The shards are fixed by the shape of the network and the batch alone. Feature-major, each has a
    partial gradient, and they are added in order; row-major, each chunk of parameters gets its
    gradient from all rows at once. The number of threads changes no bit.
    """

    parameters: ParameterLayout
    batch: int
    products: tuple
    layout: str
    x_in_place: bool
    shards: int
    shard_rows: int
    lanes: int
    threads: int
    threads_wanted: int
    clock_steps: int
    row_flops: float
    rules: Rules
    joins_last: bool = False  # rows that are left over go to the last shard
    sparse: bool = False

    @property
    def feature_major(self):
        """Whether a sample is a column."""
        return self.layout == "feature-major"

    def row_length(self, op):
        """Return the elements from row to row of an operation's values, row-major."""
        n_out, itemsize = self.parameters.ops[op].n_out, self.parameters.dtype.itemsize
        longer = off_the_page(n_out, itemsize, self.rules.packed_bytes)
        inner = self.parameters.ops[op].kind != "heads" and op < len(self.products) - 1
        line = ALIGNMENT // itemsize
        if not inner or not set(self.products) <= {"native", None}:
            return n_out
        if longer > n_out:
            return longer
        if self.sparse and self.parameters.ops[op].source == INPUT:
            return -(-n_out // line) * line  # rows of dZ are looked up
        return n_out

    def packs(self, op):
        """Return whether the operation's W is kept in panels, too."""
        least = self.rules.packed_bytes
        if self.has_many_rows:
            least = min(least, dict(self.rules.panel_bytes)[_kernels.isa()])
        return self.has_rows_of(op, least)

    def packs_gradient(self, op):
        """Return whether the operation's dZ is kept in panels, too."""
        return (not self.feature_major and self.products[op] == "native" and self.has_many_rows
                and self.parameters.ops[op].n_in >= self.rules.panel_rows
                and self.has_rows_of(op, dict(self.rules.gradient_bytes)[_kernels.isa()]))

    @property
    def has_many_rows(self):
        """Whether the batch has rows enough to pay for panels."""
        return self.batch * self.parameters.spec.members >= self.rules.panel_rows

    def has_rows_of(self, op, least):
        """Return whether rows of the operation's W have so many bytes, and a product reads them."""
        itemsize, op = self.parameters.dtype.itemsize, self.parameters.ops[op]
        return op.n_out * itemsize >= least and not (self.sparse and op.source == INPUT)

    def groups(self, chunks):
        """Return the first chunks of the groups, each of which is a task, and the number of chunks.
        """
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
        """Return the threads of an epoch over so many rows: one where it would be over too soon."""
        return self.threads if n_rows * self.row_flops >= self.rules.epoch_flops else 1

    def __str__(self):
        rules, widths = self.rules, self.parameters.sizes
        widest = "every layer is at most" if self.feature_major else "a layer is more than"
        widest += f" {rules.widest_feature_major} wide"
        if not self.feature_major and max(widths) <= rules.widest_feature_major:
            widest = "dropout, or products by BLAS"
            if not is_dense_chain(self.parameters.ops):
                widest = "layers that are not dense"
        dense = [i for i, product in enumerate(self.products) if product]
        packed = [number for number, i in enumerate(dense, 1) if not self.feature_major
                  and self.packs(i) and self.products[i] == "native"]
        some = "s" * (self.shards > 1)
        lines = [
            f"{self.parameters.spec} {self.parameters.dtype.name}, batch {self.batch}",
            f"layout    {self.layout}: {widest}",
            f"products  {'/'.join(sorted({p for p in self.products if p}))} ({_kernels.isa()})"
            + (f"; W of layer {', '.join(map(str, packed))} kept in panels, too" if packed else "")
            + (f"; X read where it lies (batch at most {rules.gathered_rows})"
               if self.x_in_place else ""),
            f"shards    {self.shards} shard{some} of {self.shard_rows} rows"
            + (f": s of them from {rules.shard_rows} s² rows and {rules.min_shard_flops:.0e} FLOP "
               f"each on, at most {rules.max_shards}" if self.feature_major else
               f", at most {rules.max_blocks}, and the gradient by rows of W"),
            f"threads   {self.threads}"
            + (f" of {self.threads_wanted}: never more than shards"
               if self.threads < self.threads_wanted else "")
            + (f"; 1 in epochs of less than {rules.epoch_flops:.0e} FLOP"
               if self.threads > 1 else ""),
        ]
        return "\n".join(lines)

    def _repr_html_(self):
        """Return a drawing of the layers and the explanation as a table, for notebooks."""
        drawing = imported("fastnn.drawing")
        summary = imported("fastnn.network.summary").Summary(self.parameters)
        title, *lines = str(self).splitlines()
        return drawing.page(f"Plan of {title}", summary.drawing(),
                            drawing.table((), [line.split(maxsplit=1) for line in lines]))


def plan_training(layout, batch, n_threads, gemm="auto", drops=True, whole=False, sparse=False,
                  codes=False):
    """Return the plan of training a network of this layout with this batch size; ``drops``: with
    its dropout; ``whole``: in one shard; ``sparse``: for a sparse X; ``codes``: for `Codes`."""
    for size in (*layout.sizes, batch * layout.spec.members):
        if size > BLAS_LIMIT:
            raise ValueError(f"size {size} is beyond the 32-bit dimensions of BLAS ({BLAS_LIMIT})")
    products = choose_products(layout, gemm, _kernels.isa())
    order = choose_layout(layout, products, drops, codes)
    feature_major = order == "feature-major"
    shards = choose_shards(layout, batch) if feature_major else choose_blocks(layout, batch, sparse)
    shards = 1 if whole else shards
    shard_rows = lanes = -(-batch // shards)
    joins_last = has_batch_norm(layout)
    if joins_last:  # a shard of few rows has no statistics worth the name
        shard_rows = batch // shards
        shards = batch // shard_rows
    if feature_major:
        # whole cache lines between the features, and whole vectors in all shards but the last
        line = ALIGNMENT // layout.dtype.itemsize
        lanes = -(-shard_rows // line) * line
        shard_rows = lanes if shards > 1 else batch
    readers = [i for i, op in enumerate(layout.ops)
               if op.source == INPUT or op.kind == "add" and op.other == INPUT]
    per_row = layout.training_flops + rules.element_flops * layout.spec.members * sum(
        (layout.spec.n_in, *(op.n_out for op in layout.ops)))
    return TrainingPlan(
        parameters=layout,
        batch=batch,
        products=products,
        layout=order,
        # nothing but a native product can read through pointers
        x_in_place=(not feature_major and batch <= rules.gathered_rows
                    and readers == [0] and products[0] == "native"),
        shards=shards,
        shard_rows=shard_rows,
        lanes=lanes,
        threads=min(n_threads, shards),
        threads_wanted=n_threads,
        row_flops=layout.training_flops,
        clock_steps=max(1, int(rules.clock_flops / (batch * per_row + rules.step_flops))),
        rules=rules,
        joins_last=joins_last,
        sparse=sparse,
    )
