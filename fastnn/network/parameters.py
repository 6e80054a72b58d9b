"""Where the parameters of a network lie in one flat vector, as named blocks."""

import math
from typing import NamedTuple

import numpy as np

from fastnn.core import validation
from fastnn.core.arrays import check_finite, is_sparse, require
from fastnn.core.memory import ALIGNMENT, aligned_empty, aligned_zeros
from fastnn.network.lowering import INPUT, PARAMETERS, UNTRAINED, WITH_WEIGHTS, lower


class Block(NamedTuple):
    """Parameters of one kind and one operation."""

    name: str              # such as "layers.0.weight"
    op: int                # number of the operation
    kind: str              # weight, bias, gain, slope, mean, variance or scale
    shape: tuple
    at: int                # place of the first one
    decay: bool            # whether L2 acts on it
    layer: int             # number of its layer among those with parameters, as in the name

    @property
    def trainable(self):
        """Whether steps of an optimizer move it; running averages have other ways."""
        return self.kind not in UNTRAINED

    @property
    def size(self):
        """Number of parameters."""
        return math.prod(self.shape)  # NumPy's loses itself where there is no memory


class Views(tuple):
    """Arrays that can be written to, in a tuple that cannot."""

    __slots__ = ()

    def __setitem__(self, i, value):
        raise TypeError(f"net.weights and net.biases cannot be assigned to: net.weights[{i!r}][:] "
                        f"= W writes into one of them (net.biases[{i!r}][:] = b), "
                        "net.set_weights([W0, b0, ...]) replaces all")


class ParameterLayout:
    """Where the blocks of all operations lie in one flat vector.

    The blocks of an operation follow each other, W (n_in, n_out) row by row before its bias; each
    operation starts on a cache line. The gaps hold zeros and stay zero.

    Parameters
    ----------
    spec : NetworkSpec

    Attributes
    ----------
    spec : NetworkSpec
    ops : tuple of Op
    blocks : tuple of Block
    sizes : tuple of int
        Units of the input and of each dense operation.
    size : int
        Elements of a flat vector.
    dtype : numpy.dtype
    """

    def __init__(self, spec):
        self.spec, self.ops = spec, lower(spec)
        self.sizes = spec.sizes
        self.dtype = np.dtype(spec.dtype)
        per_line = ALIGNMENT // self.dtype.itemsize
        blocks, end, number = [], 0, 0
        self._places = []  # (start, stop, shape) of each block
        self._offsets = []  # of the blocks of each operation
        for i, op in enumerate(self.ops):
            rows = PARAMETERS[op.kind](op)
            end = -(-end // per_line) * per_line if rows else end
            self._offsets.append([])
            for kind, shape, decay in rows:
                blocks.append(Block(f"layers.{number}.{kind}", i, kind, shape, end, decay,
                                    number))
                self._offsets[i].append(end)
                self._places.append((end, end + blocks[-1].size, shape))
                end += blocks[-1].size
            number += bool(rows)
        self.made = {}  # what others make of the layout once, by names of theirs
        self.blocks = tuple(blocks)
        self.size = end

    def __reduce__(self):
        return ParameterLayout, (self.spec,)

    def allocate(self):
        """Return a zeroed flat vector of ``size`` elements."""
        return aligned_zeros(self.size, self.dtype)

    def copy(self, flat):
        """Return an aligned copy of a flat vector."""
        fresh = aligned_empty(self.size, self.dtype)
        fresh[:] = flat
        return fresh

    def clear_gaps(self, flat):
        """Set the gaps of a flat vector to zeros: a user's arithmetic may have left others there,
        such as 0 / 0."""
        end = 0
        for start, stop, _ in self._places:
            if start > end:
                flat[end:start] = 0
            end = stop

    def views(self, flat):
        """Return a view of each block in a flat vector, in their order."""
        found = []
        for start, stop, shape in self._places:
            found.append(flat[start:stop].reshape(shape))
        return found

    def adopted(self, flat):
        """Return a copy of a flat vector of somebody else's; its gaps hold zeros.

        Raises
        ------
        ValueError
            When it has another size or dtype, or a value is not finite.
        """
        if not (isinstance(flat, np.ndarray) and flat.dtype.newbyteorder("=") == self.dtype
                and flat.shape == (self.size,)):
            found = f"{flat.dtype} {flat.shape}" if isinstance(flat, np.ndarray) else type(flat)
            raise ValueError(f"parameters are {found}, must be {self.dtype} ({self.size},)")
        parameters = self.copy(require("parameters", flat, self.dtype))
        self.clear_gaps(parameters)
        check_finite("parameters", parameters, self.dtype)
        for block, own in zip(self.blocks, self.views(parameters), strict=True):
            _check_variance(block.name, block, own)
        return parameters

    def filled(self, arrays):
        """Return a flat vector of copies of arrays, one for each block, in their order.

        Raises
        ------
        ValueError
            When the number or a shape does not fit, or a value is not finite.
        """
        if is_sparse(arrays):  # its rows are made by code that trusts what it says
            raise TypeError("arrays is a sparse matrix, must be a list: [W0, b0, W1, b1, ...]")
        parameters = self.allocate()
        own = self.views(parameters)
        arrays = list(arrays)
        if len(arrays) != len(own):
            raise ValueError(f"arrays has {len(arrays)} entries, must have {len(own)}: "
                             "[W0, b0, W1, b1, ...]")
        for i, (mine, given) in enumerate(zip(own, arrays, strict=True)):
            name = f"arrays[{i}]"
            given = require(name, given, self.dtype)
            if given.shape != mine.shape:
                raise ValueError(f"{name} has shape {given.shape}, must be {mine.shape}")
            check_finite(name, given, self.dtype)
            _check_variance(name, self.blocks[i], given)
            mine[:] = given
        return parameters

    def check(self, parameters):
        """Raise ValueError where parameters hold what `filled` would not take."""
        for block, values in zip(self.blocks, self.views(parameters), strict=True):
            check_finite(block.name, values, self.dtype)
            _check_variance(block.name, block, values)

    def check_layers(self, numbers):
        """Return numbers of layers that there are, sorted, once each."""
        found = set()
        for number in numbers:
            number = validation.check_count("layer", number, minimum=0)
            if number >= self.n_layers:
                raise ValueError(f"layer={number}: there are layers 0...{self.n_layers - 1}")
            found.add(number)
        return tuple(sorted(found))

    def weights_and_biases(self, flat):
        """Return two tuples of views: weights (n_in, n_out) and biases (n_out,) of the dense
        operations; of heads (members n_in, n_out) and (members, n_out), of embeddings (n_in,
        units) and (columns units,)."""
        weights, biases = [], []
        for block, view in zip(self.blocks, self.views(flat), strict=True):
            if self.ops[block.op].kind in WITH_WEIGHTS:
                (weights if block.kind == "weight" else biases).append(view)
        return tuple(weights), tuple(biases)

    def offsets(self, op):
        """Return where the blocks of an operation begin, in their order."""
        return self._offsets[op]

    @property
    def n_layers(self):
        """Number of layers that have parameters."""
        return self.blocks[-1].layer + 1

    @property
    def n_parameters(self):
        """Number of parameters, without the gaps."""
        if "n_parameters" not in self.made:
            self.made["n_parameters"] = self.spec.n_parameters
        return self.made["n_parameters"]

    @property
    def training_flops(self):
        """Floating-point operations of one row's training step: the gradient with respect to the
        input of the network is not needed."""
        products = [op.members * op.weights_size for op in self.ops if op.kind in WITH_WEIGHTS]
        if self.ops[0].kind == "repeat":  # whose scales need that gradient
            return 6 * sum(products)
        return 4 * products[0] + 6 * sum(products[1:])

    def chunks(self, size, rows, adds=None):
        """Return pieces of about ``size`` elements that cover all parameters that are trained:
        whole rows of a W, a multiple of ``rows`` of them, or part of another block. ``adds``: of
        look-up codes, whose runs of rows stay in one piece of each W that they are looked up in."""
        pieces = []
        for block in self.blocks:
            if not block.trainable:
                continue
            if block.kind == "weight":
                n_in, n_out = block.shape
                if adds is not None and self.ops[block.op].source == INPUT:
                    pieces += _whole_runs(block, adds, max(1, size // n_out))
                    continue
                step = max(1, size // (n_out * rows)) * rows
                for row in range(0, n_in, step):
                    pieces.append(Chunk(block.at + row * n_out, min(step, n_in - row) * n_out,
                                        block, row))
            else:
                for at in range(0, block.size, size):
                    pieces.append(Chunk(block.at + at, min(size, block.size - at), block, 0))
        return pieces


def _check_variance(name, block, values):
    """Raise where a running variance is below 0, of which there is no deviation."""
    if block.kind == "variance" and values.min() < 0:
        raise ValueError(f"{name} is a variance and holds {values.min()}, must be >= 0")


def _whole_runs(block, adds, step):
    """Return pieces of a W of at least ``step`` rows each, of whole runs."""
    pieces, first, n_out = [], 0, block.shape[1]
    for stop in (*np.flatnonzero(adds == 0)[1:].tolist(), len(adds)):
        if stop - first >= step or stop == len(adds):
            pieces.append(Chunk(block.at + first * n_out, (stop - first) * n_out, block, first))
            first = stop
    return pieces


class Chunk:
    """Parameters that one thread updates in one go.

    Attributes
    ----------
    at, size : int
        Place of the first one, and how many.
    block : Block
        Whose they are.
    row : int
        The first one of W.
    """

    __slots__ = ("at", "block", "row", "size")

    def __init__(self, at, size, block, row):
        self.at, self.size, self.block, self.row = at, size, block, row
