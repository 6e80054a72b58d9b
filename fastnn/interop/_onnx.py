"""An ONNX graph, read as a chain of layers.

The graph is followed from its input to the output that is wanted. What lies between two products
and has one input and one output, node by node, is an activation: it is computed for some numbers
and compared with each of ours, so every way to write one is understood. A value that is added to
what was made of it begins a residual block.
"""

from __future__ import annotations

import functools
import heapq
import math
import os
from typing import TYPE_CHECKING

import numpy as np

from fastnn.core import _kernels
from fastnn.core.notices import shorten, shown, suggests
from fastnn.files.kinds import looks_like
from fastnn.interop.chain import Chain
from fastnn.mlp import MLP

if TYPE_CHECKING:
    from typing import Any

PASSED = {"Identity", "Dropout", "ZipMap"}
SHAPES = {"Flatten", "Reshape", "Squeeze", "Unsqueeze"}  # before the first layer
DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}  # where a known name means what we know
WORK_PER_NODE = 30  # of `_Graph.spend`; a chain of layers takes less than 10
OLDEST_OPSET = 7  # before, broadcasting was another one
FLOATS = {1, 10, 11, 16}  # of TensorProto.DataType: float, float16, double, bfloat16
# where activations are compared: both signs, the kinks, the tails, and what a clip would cut
POINTS = np.array([
    -1e30, -1e6, -1e3, -100.0, -30.0, -9.5, -3.0, -1.5, -1.0, -0.3, -1e-3, 0.0, 1e-3, 0.2, 1.0, 1.7,
    4.0, 9.0, 12.0, 30.0, 100.0, 1e3, 1e6, 1e30])
EXTREME = 50.0
MOST_NODES = 12  # of an activation before other elementwise nodes


def _erf(x):
    return np.vectorize(math.erf)(x)


def _softplus(x):
    return np.logaddexp(0.0, x)


# op type -> value from its inputs and attributes
ELEMENTWISE = {
    "Abs": lambda a: np.abs(a),
    "Add": lambda a, b: a + b,
    "Ceil": lambda a: np.ceil(a),
    "Clip": lambda a, low=None, high=None, min=-math.inf, max=math.inf: np.clip(
        a, min if low is None else low, max if high is None else high),
    "Cast": lambda a, **_: np.asarray(a, np.float64),
    "Div": lambda a, b: a / b,
    "Elu": lambda a, alpha=1.0: np.where(a < 0, alpha * np.expm1(a), a),
    "Equal": lambda a, b: a == b,
    "Erf": _erf,
    "Exp": lambda a: np.exp(a),
    "Gelu": lambda a, approximate="none": a * 0.5 * (
        1 + _erf(a / math.sqrt(2)) if approximate == "none"
        else 1 + np.tanh(math.sqrt(2 / math.pi) * (a + 0.044715 * a**3))),
    "Greater": lambda a, b: a > b,
    "GreaterOrEqual": lambda a, b: a >= b,
    "HardSigmoid": lambda a, alpha=0.2, beta=0.5: np.clip(alpha * a + beta, 0, 1),
    "LeakyRelu": lambda a, alpha=0.01: np.where(a < 0, alpha * a, a),
    "Less": lambda a, b: a < b,
    "LessOrEqual": lambda a, b: a <= b,
    "Log": lambda a: np.log(a),
    "Max": lambda *a: np.maximum.reduce(np.broadcast_arrays(*a)),
    "Min": lambda *a: np.minimum.reduce(np.broadcast_arrays(*a)),
    "Mul": lambda a, b: a * b,
    "Neg": lambda a: -a,
    "Not": lambda a: ~a,
    "Pow": lambda a, b: a**b,
    "Reciprocal": lambda a: 1 / a,
    "Relu": lambda a: np.maximum(a, 0),
    "Selu": lambda a, alpha=1.67326319, gamma=1.05070102: gamma * np.where(
        a < 0, alpha * np.expm1(a), a),
    "Sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "Softplus": _softplus,
    "Softsign": lambda a: a / (1 + np.abs(a)),
    "Sqrt": lambda a: np.sqrt(a),
    "Sub": lambda a, b: a - b,
    "Swish": lambda a, alpha=1.0: a / (1 + np.exp(-alpha * a)),
    "Tanh": lambda a: np.tanh(a),
    "Where": lambda c, a, b: np.where(c, a, b),
}


@suggests
def from_onnx(model: Any, *, output: str | None = None) -> MLP:
    """Return an `MLP` of an ONNX graph that is a multilayer perceptron.

    Parameters
    ----------
    model : str, path or onnx.ModelProto
        Layers as Gemm, or MatMul and Add; LayerNormalization of the last axis, or the nodes that
        PyTorch writes for it before opset 17; activations as one node or as any subgraph that
        computes one of ours (found by its values); residual connections as Add of a value and what
        such layers make of it. Shifts and factors of the inputs become part of the first layer.
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
    if isinstance(model, (str, os.PathLike)):
        model = _from_file(onnx, os.fspath(model))
    if not isinstance(model, onnx.ModelProto):
        raise TypeError(f"model={type(model).__name__} must be a path or an onnx.ModelProto")
    opset = max((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")),
                default=OLDEST_OPSET)
    if opset < OLDEST_OPSET:
        raise ValueError(f"the graph is of opset {opset}, must be {OLDEST_OPSET} or newer")
    graph = _Graph(onnx, model)
    try:
        with np.errstate(all="ignore"):
            graph.prepare(output)
            graph.walk(chain)
    except (ValueError, MemoryError):
        raise
    except Exception as error:  # of what a hostile graph says where nobody expects it
        raise ValueError(f"{graph.place()} cannot be read: {_reason(error)}") from None


def _from_file(onnx, path):
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no ONNX file {path!r}")
    try:
        return onnx.load(path)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # protobuf and onnx have errors of their own
        what = looks_like(path)
        hint = f"it looks like {what}" if what not in (None, "an ONNX file") else _reason(error)
        raise ValueError(f"{path!r} is not an ONNX file: {hint}") from None


def _reason(error):
    return shorten(f"{type(error).__name__}: {error}")


def _place(node):
    return f"node {shown(node.name or '/'.join(node.output))} ({shorten(node.op_type)})"


class _Node:
    """A node of a graph, with lists in place of what protobuf has."""

    __slots__ = ("attributes", "domain", "index", "input", "name", "op_type", "output", "proto")

    def __init__(self, proto, index):
        self.proto, self.index, self.attributes = proto, index, None
        self.name, self.op_type, self.domain = proto.name, proto.op_type, proto.domain
        self.input, self.output = list(proto.input), list(proto.output)


class _Graph:
    """The nodes that lead to one output of a graph.

    Whatever the graph is, reading it takes time in proportion to its size: each search counts what
    it looks at, see `spend`.
    """

    def __init__(self, onnx, model):
        self.onnx, self.model = onnx, model
        self.at = None  # the node that is looked at, for messages
        self.left = 0  # of the work that a graph of this size may take
        self.values = {}  # constants that have been computed
        self.opened = set()  # additions at the end of residual blocks that have begun
        self.is_pair = False

    def place(self):
        return "the graph" if self.at is None else _place(self.at)

    # ---- what the graph holds ----

    def prepare(self, output):
        """Read the graph, and choose the output to follow."""
        graph = self.model.graph
        self.tensors = self.distinct(graph.initializer, "initializers")
        # files of before 2019 list the weights as inputs, too
        inputs = self.distinct([item for item in graph.input if item.name not in self.tensors],
                               "inputs")
        if len(inputs) != 1:
            names = shorten(", ".join(inputs))
            raise ValueError(f"the graph has inputs {names}; there must be one")
        (self.input, item), = inputs.items()
        kind = item.type.tensor_type
        # the shape of a row, with None where the file leaves it open; or None
        self.row = None
        if kind.HasField("shape"):
            self.row = [axis.dim_value or None for axis in kind.shape.dim[1:]]
            if not kind.shape.dim:
                raise ValueError(f"the graph's input {shown(self.input)} is one number; it "
                                 "must have rows")
        self.whole = kind.elem_type not in FLOATS  # numbers, not cast yet
        nodes = [_Node(proto, i) for i, proto in enumerate(graph.node)]
        self.left = WORK_PER_NODE * (len(nodes) + 10)
        self.made_by = self.makers(nodes)
        nodes = self.sorted(nodes)
        self.constants = self.find_constants(nodes)
        self.most = max((math.prod(item.dims) for item in self.tensors.values()), default=0)
        self.output = self.positive_class(self.choose(graph, output))
        self.nodes = self.ancestors(nodes)
        self.readers = {}  # name -> the nodes that read it, in their order
        own = {(function.domain, function.name) for function in self.model.functions}
        for node in self.nodes:
            if node.domain not in DOMAINS or (node.domain, node.op_type) in own:
                raise ValueError(f"{_place(node)} is of the domain {shown(node.domain)}, "
                                 "which fastnn does not know")
            for name in dict.fromkeys(node.input):
                self.readers.setdefault(name, []).append(node)

    @staticmethod
    def distinct(items, what):
        found = {item.name: item for item in items}
        if len(found) != len(items):
            raise ValueError(f"the graph has {what} of the same name")
        return found

    def makers(self, nodes):
        """Return {name: the node that makes it}; each value is made once."""
        made_by = {}
        for node in nodes:
            if not node.output or not node.output[0]:
                raise ValueError(f"{_place(node)} has no output")
            for name in filter(None, node.output):
                if name in made_by or name in self.tensors or name == self.input:
                    raise ValueError(f"{_place(node)} makes {shown(name)}, which is there "
                                     "already; the values of a graph are made once")
                made_by[name] = node
        return made_by

    def sorted(self, nodes):
        """Return the nodes so that each comes after those that make its inputs."""
        sources = [{self.made_by[name].index for name in node.input if name in self.made_by}
                   for node in nodes]
        if all(source < i for i, found in enumerate(sources) for source in found):
            return nodes
        after = [[] for _ in nodes]
        for i, found in enumerate(sources):
            for source in found:
                after[source].append(i)
        missing = [len(found) for found in sources]
        order = [i for i, count in enumerate(missing) if count == 0]
        for i in order:  # it grows
            for reader in after[i]:
                missing[reader] -= 1
                if missing[reader] == 0:
                    order.append(reader)
        if len(order) != len(nodes):
            first = next(node for node, count in zip(nodes, missing, strict=True) if count)
            raise ValueError(f"{_place(first)} is part of a cycle, or computed from one")
        found = [nodes[i] for i in order]
        for i, node in enumerate(found):
            node.index = i
        return found

    def find_constants(self, nodes):
        """Return the names of weights, and of those that are turned, renamed or cast."""
        found = set(self.tensors)
        for node in nodes:
            self.at = node
            if self.is_value(node) or self.folds(node) and node.input[0] in found:
                found.add(node.output[0])
        self.at = None
        return found

    def is_value(self, node):
        return node.op_type == "Constant" and node.domain in DOMAINS and (
            self.attributes(node).get("value") is not None)

    def folds(self, node):
        """Whether a node of a constant is one that `constant` computes."""
        return bool(node.input) and (node.op_type == "Transpose" or self.passes(node))

    def constant(self, name):
        """Return a constant as an array, or None where a name is none."""
        if name not in self.constants:
            return None
        if name in self.values:
            return self.values[name]
        first, later = name, []
        while first not in self.tensors and not self.is_value(self.made_by[first]):
            later.append(self.made_by[first])
            first = later[-1].input[0]
            self.spend(later[-1])
        node = self.made_by.get(first)
        value = self.array(self.tensors[first], f"initializer {shown(first)}") if (
            node is None) else self.attributes(node)["value"]
        for node in reversed(later):
            value = self.folded_constant(node, value)
        self.values[name] = value
        return value

    def folded_constant(self, node, value):
        settings = self.attributes(node)
        if node.op_type == "Transpose":
            perm = settings.get("perm")
            if perm is not None and sorted(perm) != list(range(value.ndim)):
                raise ValueError(f"{_place(node)} has perm={shown(perm)}, which does not go with "
                                 f"the shape {value.shape}")
            return value.transpose(perm)
        if node.op_type != "Cast":
            return value
        double = settings["to"] == self.onnx.TensorProto.DOUBLE
        return value.astype(np.float64 if double else np.float32, copy=False)

    def array(self, tensor, place):
        """Return a tensor of the file as an array of numbers; the short floats as float32."""
        try:
            value = np.asarray(self.onnx.numpy_helper.to_array(tensor))
            if value.dtype == np.float16 or value.dtype.name == "bfloat16":
                value = value.astype(np.float32)
        except MemoryError:
            raise
        except Exception as error:
            raise ValueError(f"{place} cannot be read: {_reason(error)}") from None
        if value.dtype.kind not in "biuf":
            raise ValueError(f"{place} has dtype {value.dtype}, must be numeric")
        return value

    def attributes(self, node):
        if node.attributes is None:
            found = {}
            for item in node.proto.attribute:
                if item.name in found:
                    raise ValueError(f"{_place(node)} has two attributes "
                                     f"{shown(item.name)}")
                try:
                    self.read_attribute(node, item, found)
                except UnicodeDecodeError as error:
                    raise ValueError(f"{_place(node)} has {shorten(item.name)}={error}") from None
            node.attributes = found
        return node.attributes

    def read_attribute(self, node, item, found):
        if item.name in ("value_float", "value_floats"):
            found["value"] = np.array(item.f if item.name == "value_float" else item.floats,
                                      np.float32)
        elif item.name in ("value_int", "value_ints"):
            found["value"] = np.array(item.i if item.name == "value_int" else item.ints, np.int64)
        else:  # the kinds of AttributeProto that the nodes below have
            found[item.name] = {
                1: lambda a: a.f, 2: lambda a: a.i, 3: lambda a: a.s.decode(),
                4: lambda a: self.array(a.t, f"{_place(node)}, {shorten(a.name)}"),
                6: lambda a: list(a.floats), 7: lambda a: list(a.ints)
            }.get(item.type, lambda a: None)(item)

    # ---- which nodes there are ----

    def spend(self, node, work=1):
        """Count work. A chain of layers with its activations and residual blocks is done with long
        before there is none left; what takes more is no such chain."""
        self.left -= work
        if self.left < 0:
            raise ValueError(f"{_place(node)}: the graph branches more often than layers do, which "
                             "must be a chain")

    def choose(self, graph, output):
        names = [item.name for item in graph.output]
        if output is not None:
            if output not in names and output not in self.made_by:
                raise ValueError(f"output={shown(output)} is not in the graph, which has "
                                 f"{shorten(', '.join(names))}")
            return output
        if len(names) == 1:
            return names[0]
        likely = [name for name in names if "probabilit" in name]
        if len(likely) != 1:
            raise ValueError(f"the graph has outputs {shorten(', '.join(names))}; output= must "
                             "name one")
        return likely[0]

    def positive_class(self, name):
        """Past what a classifier makes of its outputs: p of the pair (1 - p, p)."""
        node = self.at = self.made_by.get(name)
        while node is not None and node.input and self.passes(node) and (
                node.op_type != "Dropout" and node.output[0] == name):
            name = node.input[0]
            node = self.at = self.made_by.get(name)
        if node is not None and node.op_type == "Concat" and len(node.input) == 2 and (
                self.attributes(node).get("axis") in (1, -1)):
            other = self.made_by.get(node.input[0])
            if other is not None and other.op_type == "Sub" and (
                    other.input[1:] == node.input[1:]):
                one = self.constant(other.input[0])
                if one is not None and np.all(one == 1):
                    self.is_pair = True
                    return node.input[1]
        return name

    def ancestors(self, nodes):
        wanted, kept = {self.output}, []
        for node in reversed(nodes):
            if any(name in wanted for name in node.output) and (
                    node.output[0] not in self.constants):
                kept.append(node)
                wanted.update(node.input)
        return kept[::-1]

    def passes(self, node):
        """Whether a prediction in floats does not see the node."""
        if node.op_type == "Cast":
            return self.attributes(node).get("to") in FLOATS
        if node.op_type == "Dropout" and len(node.input) > 2 and node.input[2]:
            training = self.constant(node.input[2])
            return training is not None and not training.any()
        return node.op_type in PASSED

    def consumers(self, name):
        """Nodes that read a value, but for the additions that end an open residual block."""
        found = self.readers.get(name, [])
        if found:
            self.spend(found[0], len(found))
        return [node for node in found if node.output[0] not in self.opened]

    def walk(self, chain):
        """From the input to the output."""
        self.walk_to(self.output, chain, self.input)
        if chain.begun:
            self.check_ends(chain)

    def walk_to(self, target, chain, name):
        """From a value to another."""
        while name != target:
            nodes = self.consumers(name)
            if not nodes:
                raise ValueError(f"nothing leads from {shown(name)} to "
                                 f"{shown(target)}")
            node = self.at = nodes[0]
            if self.whole and node.op_type in (*ELEMENTWISE, *LAYERS) and node.op_type != "Cast":
                raise ValueError(f"{_place(node)} computes in integers; they must be cast first")
            self.whole = self.whole and node.op_type != "Cast"
            if len(nodes) == 1 and (self.passes(node) or self.keeps_rows(node, chain)):
                name = node.output[0]
            elif len(nodes) == 1 and node.op_type in LAYERS:
                LAYERS[node.op_type](self, chain, node, name)
                name = node.output[0]
            elif len(nodes) == 1 and not chain.begun and node.op_type == "Scaler":
                settings = self.attributes(node)
                scale, offset = (np.array(settings.get(key)) for key in ("scale", "offset"))
                if {scale.dtype.kind, offset.dtype.kind} != {"f"}:
                    raise ValueError(f"{_place(node)} must have scale and offset")
                chain.affine(1.0, -offset, _place(node))
                chain.affine(scale, 0.0, _place(node))
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
            place = _place(self.made_by[end])
            n = chain.width or (self.row[-1] if self.row else None)
            if n is None or n < 1:
                raise ValueError(f"{place} normalises rows of unknown length")
            if n > self.most:  # no weights for so many, and here they would be made
                raise ValueError(f"{place} normalises rows of {n} values, for which the graph has "
                                 "no weights")
            chain.layer_norm(np.ones(n, dtype), None, eps, place)
            return end
        prelu = self.prelu_at(name)
        if prelu is not None:
            end, slope = prelu
            self.append_slope(chain, slope, _place(self.made_by[end]))
            return end
        addition = self.addition_at(name, target)
        if addition is None:
            return self.activation(chain, name, target)
        try:  # x + tanh(x) and the like are no activations of ours, but z * (1 + erf(z)) is
            return self.activation(chain, name, target)
        except ValueError:
            pass
        place = _place(addition)
        chain.open_residual(place)
        self.opened.add(addition.output[0])
        self.walk_to(*(key for key in addition.input if key != name), chain, name)
        self.opened.remove(addition.output[0])
        chain.close_residual(place)
        return addition.output[0]

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

    def is_row_mean(self, node):
        """Whether a ReduceMean is that of each row."""
        settings = self.attributes(node)
        axes = settings.get("axes")
        if len(node.input) > 1 and node.input[1]:
            axes = self.constant(node.input[1])
            axes = axes if axes is None else axes.reshape(-1).tolist()
        return axes in ([-1], [1]) and settings.get("keepdims", 1) == 1

    def check_ends(self, chain):
        """Check that a row of the graph is a row of the network, at both ends."""
        n_in, n_out = chain.n_in, chain.width
        if self.row is not None and None not in self.row and math.prod(self.row) != n_in:
            raise ValueError(f"the graph's input {shown(self.input)} has rows of shape "
                             f"{tuple(self.row)}, its first layer has {n_in} inputs")
        if self.is_pair and n_out != 1:
            raise ValueError(f"{_place(self.made_by[self.output])} has {n_out} columns, where a "
                             "pair 1 - p, p is made of one")

    def keeps_rows(self, node, chain):
        """Whether a change of shape leaves rows as they are."""
        if node.op_type in SHAPES and not chain.begun:
            if node.op_type == "Reshape":
                shape = self.constant(node.input[-1])
                return shape is not None and shape.ndim == 1 and len(shape) > 1 and (
                    shape[0] in (-1, 0, 1))
            return node.op_type != "Flatten" or self.attributes(node).get("axis", 1) in (1, -1)
        shape = self.constant(node.input[-1])
        return node.op_type == "Reshape" and shape is not None and (
            shape.tolist() == [-1, chain.width])

    def append_dense(self, chain, node, name):
        w, b = self.product(node, name)
        chain.dense(w, b, _place(node))

    def append_norm(self, chain, node, name):
        place, settings = _place(node), self.attributes(node)
        axis = settings.get("axis", -1)
        if axis not in (-1, 1):
            raise ValueError(f"{place} has axis={axis}, must be the last")
        gain, bias = (self.row_of(key) if key else None for key in [*node.input, ""][1:3])
        if node.input[0] != name or gain is None or bias is None and len(node.input) > 2 and (
                node.input[2]):
            raise ValueError(f"{place} does not have constant gain and bias")
        n = chain.width or max(len(gain), 0 if bias is None else len(bias))
        gain, bias = (array if array is None else np.broadcast_to(array, n)
                      if len(array) == 1 else array for array in (gain, bias))
        chain.layer_norm(gain, bias, _decimal(settings.get("epsilon", 1e-5), np.float32), place)

    def append_batch_norm(self, chain, node, name):
        place, settings = _place(node), self.attributes(node)
        if settings.get("training_mode", 0):
            raise ValueError(f"{place} has training_mode=1, must be 0")
        arrays = [self.row_of(key) for key in node.input[1:]]
        if node.input[0] != name or len(arrays) != 4 or any(array is None for array in arrays):
            raise ValueError(f"{place} does not have constant gain, bias, mean and variance")
        share = round(1 - _decimal(settings.get("momentum", 0.9), np.float32), 7)
        chain.batch_norm(arrays, _decimal(settings.get("epsilon", 1e-5), np.float32),
                         share if 0 < share <= 1 else 0.1, place)

    def append_prelu(self, chain, node, name):
        slope = self.row_of(node.input[1]) if len(node.input) == 2 else None
        if node.input[0] != name or slope is None:
            raise ValueError(f"{_place(node)} does not have constant slopes, one for each column")
        self.append_slope(chain, slope, _place(node))

    @staticmethod
    def append_slope(chain, slope, place):
        chain.prelu(slope, len(slope) > 1, place)

    def append_softmax(self, chain, node, name):
        axis = self.attributes(node).get("axis", -1)
        if axis not in (-1, 1):
            raise ValueError(f"{_place(node)} has axis={axis}, must be the last")
        chain.activation("softmax", _place(node))

    def product(self, node, name):
        """Weights and bias."""
        place = _place(node)
        weights = self.constant(node.input[1]) if len(node.input) > 1 else None
        if node.input[0] != name or weights is None:
            raise ValueError(f"{place} does not multiply by constant weights")
        if weights.dtype.kind != "f" or weights.ndim != 2 or not weights.size:
            raise ValueError(f"{place} has weights of dtype {weights.dtype} and shape "
                             f"{weights.shape}, must be a matrix of floats")
        settings = self.attributes(node)
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

    def row_of(self, key):
        """Return a constant that is the same for every row, (n,) or (1,); else None."""
        constant = self.constant(key)
        if constant is None or constant.size != (constant.shape or (1,))[-1]:
            return None
        return constant.reshape(-1)

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
            raise ValueError(f"{_place(node)} has no constant row beside what it is computed from")
        if other.size == 1 and chain.begun:
            try:
                return self.activation(chain, name, target)
            except ValueError:
                self.at = node
        if node.op_type == "Div" and not left:
            raise ValueError(f"{_place(node)} divides by what is computed")
        other, sign = other.astype(np.float64), 1.0
        if node.op_type == "Sub":
            other, sign = (-other, 1.0) if left else (other, -1.0)
        if node.op_type in ("Mul", "Div"):
            chain.affine(other if node.op_type == "Mul" else 1 / other, 0.0, _place(node))
        else:
            chain.affine(sign, other, _place(node))
        return node.output[0]

    def activation(self, chain, start, target):
        """Read the elementwise nodes from ``start`` on, recognised by their values."""
        values, region = self.region(start)
        if not region:
            node = self.consumers(start)[0]
            raise ValueError(f"{_place(node)} has no counterpart in fastnn")
        for count in [len(region), *range(min(len(region) - 1, MOST_NODES), 0, -1)]:
            end = self.end_of(region[:count], start, values, target)
            name = end and _recognised(np.asarray(values[end], np.float64))
            if name:
                chain.activation(name, _place(region[0]))
                return end
        if self.end_of(region, start, values, target) is None:
            raise ValueError(f"{_place(self.consumers(start)[0])} begins a branch; the layers must "
                             "be a chain")
        kinds = shorten(" ".join(node.op_type for node in region))
        raise ValueError(f"{_place(region[0])} and what follows ({kinds}) is none of fastnn's "
                         f"activations: {', '.join(_kernels.ACTIVATIONS)}")

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
            raise ValueError(f"{_place(node)} cannot be read: {_reason(error)}") from None
        if found.shape != POINTS.shape:
            raise ValueError(f"{_place(node)} is not computed for each value by itself")
        return found

    def inside(self, node, values):
        if node.op_type not in ELEMENTWISE or node.op_type == "Cast" and not self.passes(node):
            return False
        if node.output[0] in self.opened:
            return False
        keys = [key for key in node.input if key]
        return any(key in values for key in keys) and all(
            key in values or self.scalar(key) is not None for key in keys)

    def scalar(self, key):
        constant = self.constant(key)
        if constant is None or constant.size != 1 or constant.ndim > 2:
            return None
        return float(constant.reshape(()))


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


@functools.cache
def _own_values():
    """Return the values of each activation at `POINTS`, one row each."""
    found = []
    for name in _kernels.ACTIVATIONS:
        net = MLP((1, 1), output=name, dtype="float64", random_state=0, initializer="zeros")
        net.weights[0][:] = 1
        found.append(net.predict(POINTS[:, None])[:, 0])
    return np.array(found)


def _recognised(values):
    """Return the activation that has these values at `POINTS`, or None."""
    # constants of the graph are float32; log(1 + exp(z)) and the like overflow, ours do not
    overflow = (abs(POINTS) > EXTREME) & ~np.isfinite(values)
    own = _own_values()
    close = (abs(values - own) <= 1e-7 + 2e-6 * abs(own)) | (values == own)
    same = (close | overflow).all(axis=1)
    return next((name for name, found in zip(_kernels.ACTIVATIONS, same, strict=True) if found),
                None)
