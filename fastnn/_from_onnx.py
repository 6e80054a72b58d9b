"""An ONNX graph, read as a chain of layers.

The graph is followed from its input to the output that is wanted. What lies between two products
and has one input and one output, node by node, is an activation: it is computed for some numbers
and compared with each of ours, so every way to write one is understood.
"""

import math
import os

import numpy as np

from fastnn import _kernels
from fastnn.mlp import MLP

PASSED = {"Identity", "Cast", "Dropout", "ZipMap"}  # nothing that a prediction in floats would see
SHAPES = {"Flatten", "Reshape", "Squeeze", "Unsqueeze"}  # before the first layer
# where activations are compared: both signs, the kinks, the tails
POINTS = np.array([-30.0, -9.5, -3.0, -1.5, -1.0, -0.3, -1e-3, 0.0, 1e-3, 0.2, 1.0, 1.7, 4.0, 9.0])


def _erf(x):
    return np.vectorize(math.erf)(x)


def _softplus(x):
    return np.logaddexp(0.0, x)


# op type -> value from its inputs and attributes
ELEMENTWISE = {
    "Abs": lambda a: np.abs(a),
    "Add": lambda a, b: a + b,
    "Ceil": lambda a: np.ceil(a),
    "Clip": lambda a, low=-math.inf, high=math.inf: np.clip(a, low, high),
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


def read(chain, model, output):
    """Fills ``chain`` with the layers of a graph, see `fastnn.from_onnx`."""
    try:
        import onnx
    except ImportError:
        raise ImportError('from_onnx needs onnx: pip install "fastnn[onnx]"') from None
    if isinstance(model, (str, os.PathLike)):
        if not os.path.isfile(model):
            raise FileNotFoundError(f"no ONNX file {os.fspath(model)!r}")
        try:
            model = onnx.load(os.fspath(model))
        except Exception as error:  # protobuf has errors of its own
            raise ValueError(f"{os.fspath(model)!r} is not an ONNX file: {error}") from None
    _Graph(model.graph, onnx.numpy_helper.to_array, output).walk(chain)


def _place(node):
    return f"node {node.name or '/'.join(node.output)!r} ({node.op_type})"


class _Graph:
    """The nodes that lead to one output of a graph."""

    def __init__(self, graph, to_array, output):
        self.to_array = to_array
        self.constants = {item.name: to_array(item) for item in graph.initializer}
        self.made_by = {}
        for node in graph.node:
            if node.op_type == "Constant":
                self.constants[node.output[0]] = self.attributes(node)["value"]
            for name in node.output:
                self.made_by[name] = node
        inputs = [item.name for item in graph.input if item.name not in self.constants]
        if len(inputs) != 1:
            raise ValueError(f"the graph has inputs {', '.join(inputs)}; there must be one")
        self.input = inputs[0]
        self.output = self.positive_class(self.choose(graph, output))
        self.nodes = self.ancestors(graph)

    def attributes(self, node):
        found = {}
        for item in node.attribute:
            if item.name in ("value_float", "value_int"):
                found["value"] = np.array(item.f if item.name == "value_float" else item.i)
            elif item.name in ("value_floats", "value_ints"):
                found["value"] = np.array(item.floats or item.ints)
            else:  # the kinds of AttributeProto that the nodes below have
                found[item.name] = {1: lambda a: a.f, 2: lambda a: a.i,
                                    3: lambda a: a.s.decode(), 4: lambda a: self.to_array(a.t),
                                    6: lambda a: list(a.floats), 7: lambda a: list(a.ints)
                                    }.get(item.type, lambda a: None)(item)
        return found

    def choose(self, graph, output):
        names = [item.name for item in graph.output]
        if output is not None:
            if output not in names and output not in self.made_by:
                raise ValueError(f"output={output!r} is not in the graph, which has "
                                 f"{', '.join(names)}")
            return output
        if len(names) == 1:
            return names[0]
        likely = [name for name in names if "probabilit" in name]
        if len(likely) != 1:
            raise ValueError(f"the graph has outputs {', '.join(names)}; output= must name one")
        return likely[0]

    def positive_class(self, name):
        """Past what a classifier makes of its outputs: p of the pair (1 - p, p)."""
        node = self.made_by.get(name)
        while node is not None and node.op_type in ("ZipMap", "Identity", "Cast"):
            name = node.input[0]
            node = self.made_by.get(name)
        if node is not None and node.op_type == "Concat" and len(node.input) == 2:
            other = self.made_by.get(node.input[0])
            if other is not None and other.op_type == "Sub" and other.input[1] == node.input[1]:
                one = self.constants.get(other.input[0])
                if one is not None and np.all(one == 1):
                    return node.input[1]
        return name

    def ancestors(self, graph):
        wanted, kept = {self.output}, []
        for node in reversed(graph.node):
            if wanted & set(node.output) and node.op_type != "Constant":
                kept.append(node)
                wanted |= set(node.input)
        return kept[::-1]

    def consumers(self, name):
        return [node for node in self.nodes if name in node.input]

    def walk(self, chain):
        """From the input to the output."""
        name, shift, factor = self.input, 0.0, 1.0  # the first layer takes factor x + shift
        while name != self.output:
            nodes = self.consumers(name)
            if not nodes:
                raise ValueError(f"nothing leads from {name!r} to {self.output!r}")
            node = nodes[0]
            if len(nodes) == 1 and (node.op_type in PASSED or self.keeps_rows(node, chain)):
                name = node.output[0]
            elif len(nodes) == 1 and node.op_type in ("Gemm", "MatMul"):
                w, b, place, name = self.product(node, name)
                if not chain.weights:
                    w, b = self.folded(w, b, shift, factor)
                chain.dense(w, b, place)
            elif len(nodes) == 1 and node.op_type == "Softmax":
                axis = self.attributes(node).get("axis", -1)
                if axis not in (-1, 1):
                    raise ValueError(f"{_place(node)} has axis={axis}, must be the last")
                chain.activation("softmax", _place(node))
                name = node.output[0]
            elif len(nodes) == 1 and not chain.weights and node.op_type == "Scaler":
                settings = self.attributes(node)
                scale, offset = (np.array(settings[key]) for key in ("scale", "offset"))
                name, shift, factor = node.output[0], (shift - offset) * scale, factor * scale
            elif len(nodes) == 1 and not chain.weights and self.is_affine(node):
                name, shift, factor = self.affine(node, name, shift, factor)
            else:
                name = self.activation(chain, name)

    def keeps_rows(self, node, chain):
        """Whether a change of shape leaves rows as they are."""
        if node.op_type in SHAPES and not chain.weights:
            return True
        shape = self.constants.get(node.input[-1])
        return node.op_type == "Reshape" and shape is not None and (
            shape.tolist() == [-1, len(chain.biases[-1])])

    def product(self, node, name):
        """Weights, bias, place and the name of what comes out."""
        place, weights = _place(node), self.constants.get(node.input[1])
        if node.input[0] != name or weights is None:
            raise ValueError(f"{place} does not multiply by constant weights")
        settings = self.attributes(node)
        if settings.get("transA", 0):
            raise ValueError(f"{place} has transA=1, must be 0")
        w = weights.T if settings.get("transB", 0) else weights
        w = w * w.dtype.type(settings.get("alpha", 1.0))
        bias, name = None, node.output[0]
        if len(node.input) > 2 and node.input[2]:
            bias = self.constants.get(node.input[2])
            if bias is None:
                raise ValueError(f"{place} has a bias that is not constant")
            bias = bias * bias.dtype.type(settings.get("beta", 1.0))
        after = self.consumers(name)
        if node.op_type == "MatMul" and len(after) == 1 and after[0].op_type == "Add":
            found = [self.constants.get(key) for key in after[0].input if key != name]
            if found and found[0] is not None and found[0].size in (1, w.shape[-1]):
                bias, name = found[0], after[0].output[0]
        if bias is not None:
            bias = np.broadcast_to(np.reshape(bias, -1), w.shape[-1:])
        return w, bias, place, name

    def is_affine(self, node):
        return node.op_type in ("Add", "Sub", "Mul", "Div") and any(
            key in self.constants for key in node.input)

    def affine(self, node, name, shift, factor):
        """factor x + shift after one more node."""
        left = node.input[0] == name
        other = self.constants[node.input[1 if left else 0]].astype(np.float64)
        other = other.reshape(-1) if other.size > 1 else float(other.reshape(()))
        if node.op_type == "Mul":
            return node.output[0], shift * other, factor * other
        if node.op_type == "Div" and left:
            return node.output[0], shift / other, factor / other
        if node.op_type == "Add":
            return node.output[0], shift + other, factor
        if node.op_type == "Sub":
            sign = 1 if left else -1
            return node.output[0], sign * (shift - other), sign * factor
        raise ValueError(f"{_place(node)} divides by the inputs")

    @staticmethod
    def folded(w, b, shift, factor):
        """The layer of factor x + shift as one of x."""
        wide = w.astype(np.float64)
        shift = np.broadcast_to(shift, w.shape[:1])
        factor = np.broadcast_to(factor, w.shape[:1])
        if not shift.any() and (factor == 1).all():
            return w, b
        bias = shift @ wide + (0 if b is None else b)
        return (factor[:, None] * wide).astype(w.dtype), bias.astype(w.dtype)

    def activation(self, chain, start):
        """The elementwise nodes from ``start`` on, recognised by their values."""
        values, region = {start: POINTS}, []
        with np.errstate(all="ignore"):
            for node in self.nodes:
                if self.inside(node, values):
                    inputs = [values[key] if key in values else self.scalar(key)
                              for key in node.input if key]
                    values[node.output[0]] = ELEMENTWISE[node.op_type](
                        *inputs, **self.attributes(node))
                    region.append(node)
        if not region:
            node = self.consumers(start)[0]
            raise ValueError(f"{_place(node)} has no counterpart in fastnn")
        inner = {id(node) for node in region}
        ends = [key for key in values if key == self.output
                or any(id(node) not in inner for node in self.consumers(key))]
        if len(ends) != 1 or ends[0] == start:
            raise ValueError(f"{_place(self.consumers(start)[0])} begins a branch; the layers must "
                             "be a chain")
        kinds = " ".join(node.op_type for node in region)
        name = _recognised(np.asarray(values[ends[0]], np.float64))
        if name is None:
            raise ValueError(f"{_place(region[0])} and what follows ({kinds}) is none of fastnn's "
                             f"activations: {', '.join(_kernels.ACTIVATIONS)}")
        chain.activation(name, _place(region[0]))
        return ends[0]

    def inside(self, node, values):
        if node.op_type not in ELEMENTWISE:
            return False
        keys = [key for key in node.input if key]
        return any(key in values for key in keys) and all(
            key in values or self.scalar(key) is not None for key in keys)

    def scalar(self, key):
        constant = self.constants.get(key)
        return float(constant.reshape(())) if constant is not None and constant.size == 1 else None


def _recognised(values):
    """The activation that has these values at `POINTS`, or None."""
    for name in _kernels.ACTIVATIONS:
        net = MLP((1, 1), output=name, dtype="float64", random_state=0, initializer="zeros")
        net.weights[0][:] = 1
        # constants of the graph are float32
        if np.allclose(values, net.predict(POINTS[:, None])[:, 0], rtol=2e-6, atol=1e-7):
            return name
    return None
