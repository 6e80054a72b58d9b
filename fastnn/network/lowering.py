"""From layers to operations: what the compiled loops go through, one after the other.

An operation reads the value of an earlier one (its ``source``), computes z, and applies an
activation and dropout to it: layers that only do that are fused into the operation before them, so
dense + bias + relu stays one. A kind of operation has one row in `PARAMETERS`, one case in each
compiled loop, and one writer in each exporter.
"""

from typing import NamedTuple

from fastnn.core import _kernels
from fastnn.core.memory import ALIGNMENT
from fastnn.network.spec import (
    GLU,
    Activation,
    BatchNorm,
    CustomActivation,
    Dense,
    Dropout,
    Embed,
    Heads,
    LayerNorm,
    PReLU,
    Repeat,
    Residual,
    Scale,
)

WITH_WEIGHTS = "dense", "embed", "heads"  # kinds that have a W and a bias
INPUT = -1  # as a source: the inputs of the network

# What training and prediction decide alike: rows of so many bytes make a product walk from page to
# page; W of rows of so many bytes is kept in panels, by instruction set; and up to this width all
# values fit feature-major (see training/plan.py).
PACKED_BYTES = 4096
PANEL_BYTES = {"avx512": PACKED_BYTES, "avx2": 1024, "baseline": PACKED_BYTES}
WIDEST_FEATURE_MAJOR = 128

# kind -> (name, shape, decay) of each of its blocks of parameters; decay: whether L2 acts on it
PARAMETERS = {
    "dense": lambda op: (("weight", (op.n_in, op.n_out), True), ("bias", (op.n_out,), False)),
    "embed": lambda op: (("weight", (op.n_in, op.row_units), True), ("bias", (op.n_out,), False)),
    "glu": lambda op: (),
    "layer_norm": lambda op: (("gain", (op.n_out,), False), ("bias", (op.n_out,), False)),
    "batch_norm": lambda op: (("gain", (op.n_out,), False), ("bias", (op.n_out,), False),
                              ("mean", (op.n_out,), False), ("variance", (op.n_out,), False)),
    "scale": lambda op: (("gain", (op.n_out,), False),),
    "prelu": lambda op: (("slope", (1 if op.shared else op.n_out,), False),),
    "copy": lambda op: (),
    "add": lambda op: (),
    "python": lambda op: (),
    "repeat": lambda op: (("scale", (op.members, op.n_out), False),),
    "heads": lambda op: (("weight", (op.members * op.n_in, op.n_out), True),
                         ("bias", (op.members, op.n_out), False)),
}
UNTRAINED = ("mean", "variance")  # kinds of blocks that no gradient moves: running averages


class Op(NamedTuple):
    """One operation: z from the value of ``source``, then activation, then dropout.

    ==========  ===========================================
    kind        z
    ==========  ===========================================
    dense       x W + b
    embed       the same for each column, side by side: W is block-diagonal, and kept without zeros
    glu         u f(v), with u and v the halves of x
    layer_norm  gain (x - mean) / sqrt(variance + eps) + bias, those of the row
    batch_norm  the same, of the column
    scale       x gain
    prelu       x where x > 0, else slope x
    copy        x: activation or dropout on its own
    add         x + the value of ``other``
    python      f(x), see `CustomActivation`
    repeat      for each row of x one row for each member, times the member's scale
    heads       x W + b, with W and b of the row's member
    ==========  ===========================================
    """

    kind: str
    n_in: int
    n_out: int
    source: int             # number of the operation that is read, or INPUT
    other: int = INPUT      # of an add
    activation: str = "identity"
    dropout: float = 0.0
    eps: float = 0.0
    function: CustomActivation | None = None  # of a python
    momentum: float = 0.0   # of a batch_norm
    shared: bool = False    # of a prelu: one slope
    members: int = 1        # of an ensemble: rows of its value for each row of X
    counts: tuple = ()      # of an embed: inputs of each column
    gate: str = "identity"  # of a glu: f

    @property
    def sources(self):
        """Numbers of all operations that it reads."""
        return (self.source, self.other) if self.kind == "add" else (self.source,)

    @property
    def row_units(self):
        """Elements of a row of W."""
        return self.n_out // len(self.counts) if self.kind == "embed" else self.n_out

    @property
    def weights_size(self):
        """Elements of a W, of one member."""
        return self.n_in * self.row_units


def lower(spec):
    """Return the operations of a network, a tuple of `Op`. The last one has the output's
    activation, and no dropout."""
    ops = []
    _lower_layers(ops, spec.layers, INPUT, spec.n_in, joint=True)
    # the loops call the function of a number, and a frozen layer can be changed by force
    for op in ops:
        for name in (op.activation, op.gate):
            if name not in _kernels.ACTIVATIONS:
                raise ValueError(f"activation={name!r} of a layer is none that a layer can have")
    last = ops[-1]
    if last.activation != "identity" or last.dropout:
        ops.append(Op("copy", last.n_out, last.n_out, len(ops) - 1, activation=spec.output))
    else:
        ops[-1] = last._replace(activation=spec.output)
    return _with_members(ops) if spec.members > 1 else tuple(ops)


def _with_members(ops):
    """Return them, all from a repeat on with as many members as it has."""
    found, members = [], 1
    for op in ops:
        members = max(members, op.members)
        found.append(op._replace(members=members))
    return tuple(found)


def _lower_layers(ops, layers, source, width, joint):
    """Append the operations of some layers; return the last one's number and its width.

    ``joint``: whether the value of ``source`` may be changed, as nobody else reads it.
    """
    for layer in layers:
        if isinstance(layer, Dense):
            custom = isinstance(layer.activation, CustomActivation)
            ops.append(Op("dense", width, layer.units, source,
                          activation="identity" if custom else layer.activation))
            width = layer.units
            if custom:
                ops.append(Op("python", width, width, len(ops) - 1, function=layer.activation))
        elif isinstance(layer, Embed):
            ops.append(Op("embed", width, layer._width(width), source, counts=layer.counts))
            width = layer._width(width)
        elif isinstance(layer, GLU):
            ops.append(Op("glu", width, layer._width(width), source, gate=layer.activation))
            width = layer._width(width)
        elif isinstance(layer, Repeat):
            ops.append(Op("repeat", width, width, source, members=layer.members))
        elif isinstance(layer, Heads):
            ops.append(Op("heads", width, layer.units, source, members=layer.members))
            width = layer.units
        elif isinstance(layer, LayerNorm):
            ops.append(Op("layer_norm", width, width, source, eps=layer.eps))
        elif isinstance(layer, BatchNorm):
            ops.append(Op("batch_norm", width, width, source, eps=layer.eps,
                          momentum=layer.momentum))
        elif isinstance(layer, Scale):
            ops.append(Op("scale", width, width, source))
        elif isinstance(layer, PReLU):
            ops.append(Op("prelu", width, width, source, shared=not layer.per_unit))
        elif isinstance(layer, Residual):
            inner, _ = _lower_layers(ops, layer.layers, source, width, joint=False)
            ops.append(Op("add", width, width, inner, other=source))
        else:
            _append_tail(ops, layer, source, width, joint)
        source, joint = len(ops) - 1, True
    return source, width


def _append_tail(ops, layer, source, width, joint):
    """Fuse an activation or dropout into the operation before it, where that has room for it."""
    fits = joint and source != INPUT
    if isinstance(layer, Activation) and isinstance(layer.name, CustomActivation):
        ops.append(Op("python", width, width, source, function=layer.name))
    elif isinstance(layer, Activation):
        if layer.name == "identity" and fits:
            return
        if fits and ops[-1].activation == "identity" and not ops[-1].dropout:
            ops[-1] = ops[-1]._replace(activation=layer.name)
        else:
            ops.append(Op("copy", width, width, source, activation=layer.name))
    elif isinstance(layer, Dropout):
        if not layer.rate and fits:
            return
        if fits and not ops[-1].dropout:
            ops[-1] = ops[-1]._replace(dropout=layer.rate)
        else:
            ops.append(Op("copy", width, width, source, dropout=layer.rate))


def is_dense_chain(ops):
    """Whether each operation is dense and reads the one before it."""
    return all(op.kind == "dense" and op.source == i - 1 for i, op in enumerate(ops))


def readers(ops):
    """Return the numbers of the operations that read each value, in their order, by its number."""
    found = {}
    for i, op in enumerate(ops):
        for source in op.sources:
            found.setdefault(source, []).append(i)
    return found


def slots(ops):
    """Return for each operation the buffer that takes its value in a prediction: a number that no
    value which is still to be read has."""
    reads = readers(ops)
    in_use, found = {}, []  # slot: the last operation that reads what it holds
    for i, _ in enumerate(ops):
        slot = 0
        while in_use.get(slot, -1) >= i:
            slot += 1
        in_use[slot] = reads[i][-1] if i in reads else -1
        found.append(slot)
    return found


def off_the_page(n, itemsize, page=PACKED_BYTES):
    """Return the elements from row to row of n each: a cache line more where rows would be whole
    pages apart."""
    return n if n * itemsize % page else n + ALIGNMENT // itemsize


def row_lengths(ops, itemsize):
    """Return for each operation the elements from row to row of its value in a prediction: a cache
    line more than there are where rows would be whole pages apart, and products alone read them.

    Rows a large power of two apart fall into few sets of L1 (Zen 3, before / now: 96 rows of
    100-2048-2048-1 1.09, of 256-1024-1024-1024-10 1.06; 2,000 rows 1.07, 1.10; a row the same).
    """
    reads, found = readers(ops), []
    for i, op in enumerate(ops):
        kinds = {op.kind, *(ops[reader].kind for reader in reads.get(i, ()))}
        products = i in reads and kinds == {"dense"}
        found.append(off_the_page(op.n_out, itemsize) if products else op.n_out)
    return found
