"""An ONNX graph, read as a chain of layers.

The graph is followed from its input to the output that is wanted. What lies between two products
and has one input and one output, node by node, is an activation: it is computed for some numbers
and compared with each of ours, so every way to write one is understood. A value that is added to
what was made of it begins a residual block.
"""

from __future__ import annotations

import heapq
import math
import os
from typing import TYPE_CHECKING

import numpy as np

from fastnn.core import _kernels
from fastnn.core.notices import shorten, shown, suggests
from fastnn.files.kinds import looks_like
from fastnn.interop._onnx_activations import ELEMENTWISE, POINTS, recognised
from fastnn.interop._onnx_nodes import Nodes, place_of, reason
from fastnn.interop.chain import Chain
from fastnn.mlp import MLP

if TYPE_CHECKING:
    from typing import Any

SHAPES = {"Flatten", "Reshape", "Squeeze", "Unsqueeze"}  # before the first layer
OLDEST_OPSET = 7  # before, broadcasting was another one
PRODUCTS = {"Gemm", "MatMul"}
CUTS = {"Clip", "Max", "Min", "Relu", "Cast"}  # of a value and constants; so are several
MOST_NODES = 12  # of an activation before other elementwise nodes


@suggests
def from_onnx(model: Any, *, output: str | None = None) -> MLP:
    """Return an `MLP` of an ONNX graph that is a multilayer perceptron.

    Parameters
    ----------
    model : str, path or onnx.ModelProto
        Layers as Gemm, or MatMul and Add; LayerNormalization of the last axis, or the nodes that
        PyTorch writes for it before opset 17; activations as one node or as any subgraph that
        computes one of ours (found by its values); residual connections as Add of a value and what
        such layers make of it; gates as one half of a row, or one linear layer, times a function
        of the other: SwiGLU. Constant shifts and factors become parts of the layers beside them;
        Clip is made of these and an activation, in float64 where its bounds lie far apart.
    output : str or None, default=None
        Which output of the graph; None for the only one, or the probabilities of a classifier. Of
        a binary classifier the network has the one column of the positive class.

    Returns
    -------
    MLP
        With the weights of the graph.

    Raises
    ------
    ImportError
        When the package onnx is not installed.
    TypeError
        When ``model`` is neither a path nor a model.
    FileNotFoundError, OSError
        When there is no such file, or it cannot be read.
    ValueError
        When it is not a graph, or one of something else; the message names the node.
    """
    chain = Chain()
    read(chain, model, output)
    return chain.network("the graph")


def read(chain, model, output):
    """Fill ``chain`` with the layers of a graph, see `fastnn.from_onnx`."""
    try:
        import onnx
    except ImportError:
        raise ImportError('from_onnx needs onnx: pip install "fastnn-mlp[onnx]"') from None
    path = None
    if isinstance(model, (str, os.PathLike)):
        path = os.fspath(model)
        model = _from_file(onnx, path)
    if not isinstance(model, onnx.ModelProto):
        raise TypeError(f"model={type(model).__name__} must be a path or an onnx.ModelProto")
    opset = max((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")),
                default=OLDEST_OPSET)
    if opset < OLDEST_OPSET:
        raise ValueError(f"the graph is of opset {opset}, must be {OLDEST_OPSET} or newer")
    graph = _Graph(onnx, model, path, opset)
    chain.most = graph.most
    try:
        with np.errstate(all="ignore"):
            graph.prepare(output)
            graph.walk(chain)
    except (ValueError, MemoryError):
        raise
    except Exception as error:  # of what a hostile graph says where nobody expects it
        raise ValueError(f"{graph.place()} cannot be read: {reason(error)}") from None


def _from_file(onnx, path):
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no ONNX file {path!r}")
    try:
        return onnx.load(path, load_external_data=False)  # see `Nodes.beside`
    except (OSError, MemoryError):
        raise
    except Exception as error:  # protobuf and onnx have errors of their own
        what = looks_like(path)
        hint = f"it looks like {what}" if what not in (None, "an ONNX file") else reason(error)
        raise ValueError(f"{path!r} is not an ONNX file: {hint}") from None


class _Gate:
    """Takes the activation of a gate, as a chain takes that of a layer."""

    name = "identity"

    def activation(self, name, place):
        """Keep the name."""
        self.name = name


class _Graph(Nodes):
    """A graph that is followed from its input to its output, layer by layer."""

    def walk(self, chain):
        """From the input to the output."""
        self.walk_to(self.output, chain, self.input)
        if chain.begun and chain.n_in is not None:
            self.check_ends(chain)

    def walk_to(self, target, chain, name):
        """From a value to another."""
        while name != target:
            nodes = self.consumers(name)
            if not nodes:
                raise ValueError(f"nothing leads from {shown(name)} to "
                                 f"{shown(target)}")
            node = self.at = nodes[0]
            if node.op_type == "Cast":
                self.uncast = None
            elif self.uncast is not None and node.op_type in (*ELEMENTWISE, *LAYERS):
                raise ValueError(f"{place_of(node)} takes the graph's input as {self.uncast}; it "
                                 "must be cast to a float type first")
            if len(nodes) == 1 and (self.passes(node) or self.keeps_rows(node, chain)):
                name = node.output[0]
            elif len(nodes) == 1 and node.op_type in LAYERS:
                LAYERS[node.op_type](self, chain, node, name)
                name = node.output[0]
            elif len(nodes) == 1 and not chain.begun and node.op_type == "Scaler":
                settings = self.attributes(node)
                scale, offset = (np.array(settings.get(key)) for key in ("scale", "offset"))
                if {scale.dtype.kind, offset.dtype.kind} != {"f"}:
                    raise ValueError(f"{place_of(node)} must have scale and offset")
                chain.affine(1.0, -offset, place_of(node))
                chain.affine(scale, 0.0, place_of(node))
                name = node.output[0]
            elif len(nodes) == 1 and self.is_affine(node, chain):
                name = self.affine(chain, node, name, target)
            else:
                name = self.several_nodes(target, chain, name)

    def several_nodes(self, target, chain, name):
        """Read what begins at a value and is more than one node: a layer normalisation, a PReLU, an
        activation, or a residual block. Return the value at its end."""
        norm = self.norm_at(name)
        if norm is not None:
            end, eps, dtype = norm
            place = place_of(self.made_by[end])
            n = chain.width or (self.row[-1] if self.row else None)
            if n is None or n < 1:
                raise ValueError(f"{place} normalises rows of unknown length")
            if n > self.most():  # no weights for so many, and here they would be made
                raise ValueError(f"{place} normalises rows of {n} values, for which the graph has "
                                 "no weights")
            chain.layer_norm(np.ones(n, dtype), None, eps, place)
            return end
        first = self.consumers(name)[0].op_type
        if first in ("Split", "Slice"):
            return (self.gate if first == "Split" else self.embeddings)(chain, name, target)
        if [node.op_type in PRODUCTS for node in self.consumers(name)] == [True, True]:
            return self.gate_of_products(chain, name, target)
        prelu = self.prelu_at(name)
        if prelu is not None:
            end, slope = prelu
            self.append_slope(chain, slope, place_of(self.made_by[end]))
            return end
        addition = self.addition_at(name, target)
        if addition is None:
            return self.activation(chain, name, target)
        try:  # x + tanh(x) and the like are no activations of ours, but z * (1 + erf(z)) is
            return self.activation(chain, name, target)
        except ValueError:
            pass
        place = place_of(addition)
        chain.open_residual(place)
        self.opened.add(addition.output[0])
        self.walk_to(*(key for key in addition.input if key != name), chain, name)
        self.opened.remove(addition.output[0])
        chain.close_residual(place)
        return addition.output[0]

    def gate(self, chain, name, target):
        """Read u f(v) of the halves u and v of a value; return the value at its end."""
        split, *others = self.consumers(name)
        place, settings = place_of(split), self.attributes(split)
        sizes = settings.get("split")
        if sizes is None and len(split.input) > 1 and split.input[1]:
            sizes = self.constant(split.input[1])
        if others or len(split.output) != 2 or not self.is_last(settings.get("axis", 0)) or (
                sizes is not None and (len(sizes) != 2 or sizes[0] != sizes[1])):
            raise ValueError(f"{place} has no counterpart in fastnn but as a gate: two halves of "
                             "a row, of which one is multiplied by a function of the other")
        (u, v), held = split.output, _Gate()
        end = v
        if all(node.op_type != "Mul" or u not in node.input for node in self.consumers(v)):
            end = self.activation(held, v, target)
        product = self.consumers(end)
        if len(product) != 1 or product != self.consumers(u) or (
                product[0].op_type != "Mul" or sorted(product[0].input) != sorted([u, end])):
            raise ValueError(f"{place} begins no gate of fastnn's: the first half of a row times a "
                             "function of the second")
        chain.glu(held.name, place)
        return product[0].output[0]

    def gate_of_products(self, chain, name, target):
        """Read u f(v) of two products u and v of a value, such as SwiGLU in two linear layers;
        return the value at its end."""
        nodes = self.consumers(name)
        parts = [self.product_and_row(node, name) for node in nodes]
        for (u, w_u, b_u), (v, w_v, b_v) in (parts, parts[::-1]):
            mul, held = self.consumers(u), _Gate()
            if len(mul) != 1 or mul[0].op_type != "Mul" or w_u.shape != w_v.shape:
                continue
            try:
                end = v if v in mul[0].input else self.activation(held, v, target)
            except ValueError:
                continue
            if self.consumers(end) == mul and sorted(mul[0].input) == sorted([u, end]):
                rows = [np.zeros(w_u.shape[1], w_u.dtype) if b is None else b for b in (b_u, b_v)]
                place = place_of(nodes[0])
                chain.dense(np.concatenate([w_u, w_v], axis=1), np.concatenate(rows), place)
                chain.glu(held.name, place)
                return mul[0].output[0]
        raise ValueError(f"{place_of(nodes[0])} begins a branch beside {place_of(nodes[1])} that "
                         "is no gate of fastnn's: one of as many outputs as the other, times a "
                         "function of that")

    def product_and_row(self, node, name):
        """Return the value at the end of a product and what is added to it, weights and bias."""
        w, b = self.product(node, name)
        end = node.output[0]
        while len(after := self.consumers(end)) == 1:
            rows = [self.row_of(key) for key in after[0].input if key != end]
            if b is None and after[0].op_type == "Add" and len(rows) == 1 and (
                    rows[0] is not None and len(rows[0]) in (1, w.shape[1])):
                b = np.broadcast_to(rows[0], w.shape[1:])
            elif not self.passes(after[0]):
                break
            end = after[0].output[0]
        return end, w, b

    def embeddings(self, chain, name, target):
        """Read Slice and MatMul of each column, Concat and Add; return the value at its end."""
        slices = self.consumers(name)
        ends, weights, joined, stop = [], [], [], 0
        for node in slices:
            place = [self.constant(key) for key in node.input[1:]]
            product = self.consumers(node.output[0])
            if node.op_type != "Slice" or len(place) != 3 or any(
                    one is None or one.size != 1 for one in place) or (
                    not self.is_last(int(place[2].reshape(())))
                    or int(place[0].reshape(())) != stop) or len(product) != 1 or (
                    product[0].op_type != "MatMul"):
                raise ValueError(f"{place_of(node)} has no counterpart in fastnn but as a column "
                                 "of an embedding: Slice, MatMul, then Concat and Add of all")
            stop = int(place[1].reshape(()))
            w, _ = self.product(product[0], node.output[0])
            if len(w) != stop - int(place[0].reshape(())):
                raise ValueError(f"{place_of(product[0])} has weights of shape {w.shape}")
            weights.append(w)
            ends.append(product[0].output[0])
            joined += self.consumers(ends[-1])
        concat, place = joined[0] if joined else None, place_of(slices[0])
        units = {w.shape[1] for w in weights}
        if any(node is not concat for node in joined) or len(joined) != len(slices) or (
                concat.op_type != "Concat" or concat.input != ends or len(units) != 1
                or not self.is_last(self.attributes(concat).get("axis"))):
            raise ValueError(f"{place} begins columns that are not put side by side in their "
                             "order, as many outputs of each")
        addition = self.consumers(concat.output[0])
        rows = [self.row_of(key) for node in addition for key in node.input
                if key != concat.output[0]]
        if len(addition) != 1 or addition[0].op_type != "Add" or len(rows) != 1 or (
                rows[0] is None or len(rows[0]) != len(weights) * units.pop()):
            raise ValueError(f"{place_of(concat)} is not followed by an Add of a constant row")
        chain.embed(weights, rows[0], place)
        return addition[0].output[0]

    def prelu_at(self, name):
        """Return the end and the slope of the nodes Where(x > 0, x, slope x), or None."""
        nodes = {node.op_type: node for node in self.consumers(name)}
        if len(self.consumers(name)) != 3 or nodes.keys() != {"Greater", "Where", "Mul"}:
            return None
        above, times, end = nodes["Greater"], nodes["Mul"], nodes["Where"]
        slope = [self.row_of(key) for key in times.input if key != name]
        if above.input[:1] != [name] or len(above.input) != 2 or self.scalar(above.input[1]) != 0:
            return None
        if end.input != [above.output[0], name, times.output[0]] or any(
                len(self.consumers(node.output[0])) != 1 for node in (above, times)):
            return None
        return (end.output[0], slope[0]) if len(slope) == 1 and slope[0] is not None else None

    def addition_at(self, name, target):
        """Return the last Add of a value and another one that is computed, or None."""
        for node in reversed(self.consumers(name)):
            others = [key for key in node.input if key != name]
            if node.op_type == "Add" and len(others) == 1 and others[0] in self.made_by and (
                    others[0] not in self.constants and others[0] != target):
                return node
        return None

    def norm_at(self, name):
        """Return end, eps and dtype of the nodes that normalise a value, or None: Sub of the mean,
        Div by the root of mean square plus eps."""
        def only(kinds, *values):
            """Return the node of some kind that alone reads some values, in their order."""
            nodes = [node for node in self.consumers(values[-1]) if node.op_type in kinds]
            nodes = [node for node in nodes if [*node.input[:len(values)]] == [*values]]
            return nodes[0] if len(nodes) == 1 else None

        mean = only(["ReduceMean"], name)
        center = mean and self.is_row_mean(mean) and only(["Sub"], name, mean.output[0])
        if not center or len(self.consumers(name)) != 2:
            return None
        d = center.output[0]
        square = only(["Pow"], d) or only(["Mul"], d, d)
        if not square or square.op_type == "Pow" and (
                len(square.input) != 2 or self.scalar(square.input[1]) != 2):
            return None
        variance = only(["ReduceMean"], square.output[0])
        shifted = variance and self.is_row_mean(variance) and only(["Add"], variance.output[0])
        eps = self.scalar(shifted.input[1]) if shifted and len(shifted.input) == 2 else None
        root = eps is not None and only(["Sqrt"], shifted.output[0])
        end = root and only(["Div"], d, root.output[0])
        inner = (mean, center, square, variance, shifted, root)
        if not end or any(len(self.consumers(node.output[0])) != 1 for node in inner
                          if node is not center) or len(self.consumers(d)) != 2:
            return None
        constant = self.constant(shifted.input[1])
        return end.output[0], _decimal(eps, constant.dtype), constant.dtype

    def check_ends(self, chain):
        """Check that a row of the graph is a row of the network, at both ends."""
        n_in, n_out = chain.n_in, chain.width
        if self.row is not None and None not in self.row and math.prod(self.row) != n_in:
            raise ValueError(f"the graph's input {shown(self.input)} has rows of shape "
                             f"{tuple(self.row)}, its first layer has {n_in} inputs")
        if self.pair is not None:
            if n_out != 1:
                raise ValueError(f"{place_of(self.made_by[self.output])} has {n_out} columns, "
                                 "where a pair 1 - p, p is made of one")
            self.check_last(self.attributes(self.pair).get("axis"), place_of(self.pair))

    def keeps_rows(self, node, chain):
        """Whether a change of shape leaves rows as they are."""
        n_axes = self.axes_after(node, chain)
        if n_axes is not None:
            self.n_axes = n_axes
        return n_axes is not None

    def axes_after(self, node, chain):
        """Return how many axes there are behind a change of shape; None where it changes rows."""
        if node.op_type == "Reshape":
            shape = self.constant(node.input[-1])
            if shape is None or shape.ndim != 1:
                return None
            keeps = shape.tolist() == [-1, chain.width] if chain.begun else (
                len(shape) > 1 and shape[0] in (-1, 0, 1))
            return len(shape) if keeps else None
        if node.op_type not in SHAPES or chain.begun:
            return None
        if node.op_type == "Flatten":
            return 2 if self.attributes(node).get("axis", 1) in (1, -1) else None
        axes = self.attributes(node).get("axes")
        if len(node.input) > 1 and node.input[1]:
            axes = self.constant(node.input[1])
        if axes is None:  # all of one value
            return 1 + sum(size != 1 for size in self.row or [None])
        n_axes = self.n_axes + (len(axes) if node.op_type == "Unsqueeze" else -len(axes))
        # one behind the last is that of rows of one value then
        last = node.op_type == "Unsqueeze" and (-1 in axes or n_axes - 1 in axes)
        return None if last else n_axes

    def append_dense(self, chain, node, name):
        w, b = self.product(node, name)
        chain.dense(w, b, place_of(node))

    def append_norm(self, chain, node, name):
        place, settings = place_of(node), self.attributes(node)
        self.check_last(settings.get("axis", -1), place)
        gain, bias = (self.row_of(key) if key else None for key in [*node.input, ""][1:3])
        if node.input[0] != name or gain is None or bias is None and len(node.input) > 2 and (
                node.input[2]):
            raise ValueError(f"{place} does not have constant gain and bias")
        n = chain.width or max(len(gain), 0 if bias is None else len(bias))
        gain, bias = (array if array is None else np.broadcast_to(array, n)
                      if len(array) == 1 else array for array in (gain, bias))
        chain.layer_norm(gain, bias, _decimal(settings.get("epsilon", 1e-5), np.float32), place)

    def append_batch_norm(self, chain, node, name):
        place, settings = place_of(node), self.attributes(node)
        if settings.get("training_mode", 0):
            raise ValueError(f"{place} has training_mode=1, must be 0")
        self.check_last(1, place)
        arrays = [self.row_of(key) for key in node.input[1:]]
        if node.input[0] != name or len(arrays) != 4 or any(array is None for array in arrays):
            raise ValueError(f"{place} does not have constant gain, bias, mean and variance")
        share = round(1 - _decimal(settings.get("momentum", 0.9), np.float32), 7)
        chain.batch_norm(arrays, _decimal(settings.get("epsilon", 1e-5), np.float32),
                         share if 0 < share <= 1 else 0.1, place)

    def append_prelu(self, chain, node, name):
        slope = self.row_of(node.input[1]) if len(node.input) == 2 else None
        if node.input[0] != name or slope is None:
            raise ValueError(f"{place_of(node)} does not have constant slopes, one for each column")
        self.append_slope(chain, slope, place_of(node))

    @staticmethod
    def append_slope(chain, slope, place):
        chain.prelu(slope, len(slope) > 1, place)

    def append_softmax(self, chain, node, name):
        self.check_last(self.attributes(node).get("axis", 1 if self.opset < 13 else -1),
                        place_of(node))
        chain.activation("softmax", place_of(node))

    def product(self, node, name):
        """Weights and bias."""
        place = place_of(node)
        weights = self.constant(node.input[1]) if len(node.input) > 1 else None
        if node.input[0] != name or weights is None:
            raise ValueError(f"{place} does not multiply by constant weights")
        if weights.dtype.kind != "f" or weights.ndim != 2 or not weights.size:
            raise ValueError(f"{place} has weights of dtype {weights.dtype} and shape "
                             f"{weights.shape}, must be a matrix of floats")
        settings = self.attributes(node)
        if node.op_type == "Gemm" and self.n_axes != 2:
            raise ValueError(f"{place} multiplies values of {self.n_axes} axes, must be 2")
        if settings.get("transA", 0):
            raise ValueError(f"{place} has transA=1, must be 0")
        w = weights.T if settings.get("transB", 0) else weights
        w = w * w.dtype.type(settings.get("alpha", 1.0))
        if len(node.input) < 3 or not node.input[2]:
            return w, None
        bias = self.row_of(node.input[2])
        if bias is None:
            raise ValueError(f"{place} has a bias that is not a constant row")
        if len(bias) not in (1, w.shape[1]):
            raise ValueError(f"{place} has a bias of {len(bias)} values, must be {w.shape[1]}")
        bias = bias * w.dtype.type(settings.get("beta", 1.0))
        return w, np.broadcast_to(bias, w.shape[-1:])

    def is_affine(self, node, chain):
        """Whether a node adds a constant row, or multiplies by one."""
        if node.op_type not in ("Add", "Sub", "Mul", "Div") or len(node.input) != 2:
            return False
        rows = [self.row_of(key) for key in node.input]
        return any(row is not None and (chain.width is None or row.size in (1, chain.width))
                   for row in rows)

    def affine(self, chain, node, name, target):
        """Read a node that is affine, or an activation that begins with one, such as
        relu6(z + 3) / 6; return the value at its end."""
        left = node.input[0] == name
        other = self.row_of(node.input[1 if left else 0])
        if other is None:
            raise ValueError(f"{place_of(node)} has no constant row beside what it is computed "
                             "from")
        if other.size == 1 and chain.begun:
            try:
                return self.activation(chain, name, target)
            except ValueError:
                self.at = node
        if node.op_type == "Div" and not left:
            raise ValueError(f"{place_of(node)} divides by what is computed")
        other, sign = other.astype(np.float64), 1.0
        if node.op_type == "Sub":
            other, sign = (-other, 1.0) if left else (other, -1.0)
        if node.op_type in ("Mul", "Div"):
            chain.affine(other if node.op_type == "Mul" else 1 / other, 0.0, place_of(node))
        else:
            chain.affine(sign, other, place_of(node))
        return node.output[0]

    def activation(self, chain, start, target):
        """Read the elementwise nodes from ``start`` on, recognised by their values."""
        values, region = self.region(start)
        if not region:
            node = self.consumers(start)[0]
            raise ValueError(f"{place_of(node)} has no counterpart in fastnn")
        for count in [len(region), *range(min(len(region) - 1, MOST_NODES), 0, -1)]:
            end = self.end_of(region[:count], start, values, target)
            if end and self.as_activation(chain, region[:count], np.asarray(values[end], float)):
                return end
        if self.end_of(region, start, values, target) is None:
            raise ValueError(f"{place_of(self.consumers(start)[0])} begins a branch; the layers "
                             "must be a chain")
        kinds = shorten(" ".join(node.op_type for node in region))
        raise ValueError(f"{place_of(region[0])} and what follows ({kinds}) is none of fastnn's "
                         f"activations: {', '.join(_kernels.ACTIVATIONS)}")

    def as_activation(self, chain, nodes, found):
        """Append what has these values at `POINTS`; return whether there is such a thing."""
        first, place = nodes[0], place_of(nodes[0])
        name = recognised(found)
        if name:
            chain.activation(name, place)
        elif isinstance(chain, _Gate):
            return False
        elif all(node.op_type in CUTS for node in nodes):
            chain.clip(*(point * np.inf if value == point else value
                         for value, point in ((found[0], POINTS[0]), (found[-1], POINTS[-1]))),
                       place)
        elif first.op_type == "LeakyRelu" and len(nodes) == 1:
            chain.leak(self.attributes(first)["alpha"], place)
        elif first.op_type == "HardSigmoid" and len(nodes) == 1:
            settings = self.attributes(first)
            chain.affine(settings.get("alpha", 0.2), settings.get("beta", 0.5), place)
            chain.clip(0, 1, place)
        else:
            return False
        return True

    def end_of(self, region, start, values, target):
        """Return the one value of a region that is read behind it, or None."""
        inner, made = {node.index for node in region}, [start, *(node.output[0] for node in region)]
        ends = [key for key in made if key == target
                or any(node.index not in inner for node in self.consumers(key))]
        return ends[0] if len(ends) == 1 and ends[0] != start else None

    def region(self, start):
        """Return the values that are computed elementwise from one, and the nodes that do."""
        values, region = {start: POINTS}, []
        waiting = [(node.index, node) for node in self.consumers(start)]
        heapq.heapify(waiting)
        seen = {index for index, _ in waiting}
        while waiting:
            _, node = heapq.heappop(waiting)  # after all that make its inputs
            self.spend(node, len(node.input))
            if not self.inside(node, values):
                continue
            values[node.output[0]] = self.computed(node, values)
            region.append(node)
            for reader in self.consumers(node.output[0]):
                if reader.index not in seen:
                    seen.add(reader.index)
                    heapq.heappush(waiting, (reader.index, reader))
        return values, region

    def computed(self, node, values):
        """Return what an elementwise node makes of the values; an input that is left out is None.
        """
        inputs = [values[key] if key in values else self.scalar(key) for key in node.input]
        try:
            found = np.asarray(ELEMENTWISE[node.op_type](*inputs, **self.attributes(node)))
        except Exception as error:  # other attributes, other numbers of inputs
            raise ValueError(f"{place_of(node)} cannot be read: {reason(error)}") from None
        if found.shape != POINTS.shape:
            raise ValueError(f"{place_of(node)} is not computed for each value by itself")
        return found

    def inside(self, node, values):
        if node.op_type not in ELEMENTWISE or node.op_type == "Cast" and not self.passes(node):
            return False
        if node.output[0] in self.opened:
            return False
        keys = [key for key in node.input if key]
        return any(key in values for key in keys) and all(
            key in values or self.scalar(key) is not None for key in keys)

# op type -> what appends the layer that one node is
LAYERS = {
    "Gemm": _Graph.append_dense,
    "MatMul": _Graph.append_dense,
    "LayerNormalization": _Graph.append_norm,
    "BatchNormalization": _Graph.append_batch_norm,
    "PRelu": _Graph.append_prelu,
    "Softmax": _Graph.append_softmax,
}


def _decimal(value, dtype):
    """Return a number of float32 as the decimal number that was meant: 1e-5."""
    return float(str(np.float32(value))) if dtype == np.float32 else float(value)
