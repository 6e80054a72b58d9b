"""What an ONNX graph holds: the nodes that lead to one output, their attributes, constants."""

import math
import os

import numpy as np

from fastnn.core.notices import shorten, shown

PASSED = {"Identity", "Dropout", "ZipMap"}
DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}  # where a known name means what we know
WORK_PER_NODE = 30  # of `Nodes.spend`; a chain of layers takes less than 10
# A graph of shared weights may have as many values, and uses of each that was read
MOST_VALUES, MOST_USES = 1 << 25, 16
FLOATS = {1, 10, 11, 16}  # of TensorProto.DataType: float, float16, double, bfloat16


def reason(error):
    """Return what an error says, in a few words."""
    return shorten(f"{type(error).__name__}: {error}")


def place_of(node):
    """Return which node it is, for a message."""
    return f"node {shown(node.name or '/'.join(node.output))} ({shorten(node.op_type)})"


class Node:
    """A node of a graph, with lists in place of what protobuf has."""

    __slots__ = ("attributes", "domain", "index", "input", "name", "op_type", "output", "proto")

    def __init__(self, proto, index):
        self.proto, self.index, self.attributes = proto, index, None
        self.name, self.op_type, self.domain = proto.name, proto.op_type, proto.domain
        self.input, self.output = list(proto.input), list(proto.output)


class Nodes:
    """The nodes that lead to one output of a graph.

    Whatever the graph is, reading it takes time in proportion to its size: each search counts what
    it looks at, see `spend`.
    """

    def __init__(self, onnx, model, path=None, opset=math.inf):
        self.onnx, self.model, self.path, self.opset = onnx, model, path, opset
        self.n_values = 0  # of the tensors that have been read
        self.taken = {}  # file beside the graph -> bytes of it that tensors have asked for
        self.at = None  # the node that is looked at, for messages
        self.left = 0  # of the work that a graph of this size may take
        self.values = {}  # constants that have been computed
        self.opened = set()  # additions at the end of residual blocks that have begun
        self.pair = None  # the node that joins 1 - p and p

    def place(self):
        return "the graph" if self.at is None else place_of(self.at)

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
        if item.type.WhichOneof("value") not in ("tensor_type", None):
            raise ValueError(f"the graph's input {shown(self.input)} is a "
                             f"{item.type.WhichOneof('value').removesuffix('_type')}, must be a "
                             "tensor of rows")
        kind = item.type.tensor_type
        # the shape of a row, with None where the file leaves it open; or None
        self.row, self.n_axes = None, 2  # axes of the value that is looked at
        if kind.HasField("shape"):
            self.n_axes = len(kind.shape.dim)
            self.row = [axis.dim_value or None for axis in kind.shape.dim[1:]]
            if not kind.shape.dim:
                raise ValueError(f"the graph's input {shown(self.input)} is one number; it "
                                 "must have rows")
        self.uncast = None  # what the input holds instead of floats, as long as no node casts it
        if kind.elem_type not in FLOATS:
            names = {number: name for name, number in self.onnx.TensorProto.DataType.items()}
            self.uncast = names.get(kind.elem_type, f"type {kind.elem_type}").lower()
        nodes = [Node(proto, i) for i, proto in enumerate(graph.node)]
        self.left = WORK_PER_NODE * (len(nodes) + 10)
        self.made_by = self.makers(nodes)
        nodes = self.sorted(nodes)
        self.constants = self.find_constants(nodes)
        self.output = self.positive_class(self.choose(graph, output))
        self.nodes = self.ancestors(nodes)
        self.readers = {}  # name -> the nodes that read it, in their order
        own = {(function.domain, function.name) for function in self.model.functions}
        for node in self.nodes:
            if node.domain not in DOMAINS or (node.domain, node.op_type) in own:
                raise ValueError(f"{place_of(node)} is of the domain {shown(node.domain)}, "
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
                raise ValueError(f"{place_of(node)} has no output")
            for name in filter(None, node.output):
                if name in made_by or name in self.tensors or name == self.input:
                    raise ValueError(f"{place_of(node)} makes {shown(name)}, which is there "
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
            raise ValueError(f"{place_of(first)} is part of a cycle, or computed from one")
        found = [nodes[i] for i in order]
        for i, node in enumerate(found):
            node.index = i
        return found

    def find_constants(self, nodes):
        """Return the names of weights, and of those that are turned, renamed or cast."""
        found = self.constants = set(self.tensors)  # `passes` looks at those before a node
        for node in nodes:
            self.at = node
            if self.is_value(node) or (
                    node.input and node.input[0] in found and self.folds(node)):
                found.add(node.output[0])
        self.at = None
        return found

    def is_value(self, node):
        return node.op_type == "Constant" and node.domain in DOMAINS and (
            self.attributes(node).get("value") is not None)

    def folds(self, node):
        """Whether a node of a constant is one that `constant` computes."""
        return node.op_type == "Transpose" or self.passes(node)

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
                raise ValueError(f"{place_of(node)} has perm={shown(perm)}, which does not go with "
                                 f"the shape {value.shape}")
            return value.transpose(perm)
        if node.op_type != "Cast":
            return value
        double = settings["to"] == self.onnx.TensorProto.DOUBLE
        return value.astype(np.float64 if double else np.float32, copy=False)

    def most(self):
        """Return how many values the layers may have: a graph of 1 MB may use its weights a million
        times."""
        return MOST_VALUES + MOST_USES * self.n_values

    def array(self, tensor, place):
        """Return a tensor of the file as an array of numbers; the short floats as float32."""
        if tensor.data_location == tensor.EXTERNAL:
            self.beside(tensor, place)
        try:
            value = np.asarray(self.onnx.numpy_helper.to_array(tensor))
            if value.dtype == np.float16 or value.dtype.name == "bfloat16":
                value = value.astype(np.float32)
        except MemoryError:
            raise
        except Exception as error:
            raise ValueError(f"{place} cannot be read: {reason(error)}") from None
        if value.dtype.kind not in "biuf":
            raise ValueError(f"{place} has dtype {value.dtype}, must be numeric")
        self.n_values += value.size
        return value

    def beside(self, tensor, place):
        """Read the data of a tensor that lie in a file beside the graph.

        onnx would read as much as the graph says, whatever the tensor's shape, and of a graph that
        was not read from a file whatever lies in the current folder.
        """
        if self.path is None:
            raise ValueError(f"{place} lies in a file beside the graph: give from_onnx the path of "
                             "the graph, in the place of a ModelProto")
        said = {item.key: item.value for item in tensor.external_data}
        folder = os.path.dirname(self.path)
        try:
            dtype = self.onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
            n_bytes = math.prod(tensor.dims) * dtype.itemsize
            if int(said.get("length", n_bytes)) != n_bytes:
                raise ValueError(f"{place} has {shorten(said['length'])} bytes there, its shape "
                                 f"and dtype make {n_bytes}")
            size = os.path.getsize(os.path.join(folder, said.get("location", "")))
            taken = self.taken[said["location"]] = self.taken.get(said["location"], 0) + n_bytes
            if taken > MOST_USES * size:
                raise ValueError(f"{place} and others have {taken} bytes of {size} there")
            if "length" not in said:
                item = tensor.external_data.add()
                item.key, item.value = "length", str(n_bytes)
            self.onnx.external_data_helper.load_external_data_for_tensor(tensor, folder)
            tensor.data_location = tensor.DEFAULT
        except MemoryError:
            raise
        except Exception as error:
            raise ValueError(f"the weights of {shown(self.path)} lie in files beside it, which "
                             f"cannot be read: {reason(error)}") from None

    def attributes(self, node):
        if node.attributes is None:
            found = {}
            for item in node.proto.attribute:
                if item.name in found:
                    raise ValueError(f"{place_of(node)} has two attributes "
                                     f"{shown(item.name)}")
                try:
                    self.read_attribute(node, item, found)
                except UnicodeDecodeError as error:
                    raise ValueError(f"{place_of(node)} has {shorten(item.name)}={error}") from None
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
                4: lambda a: self.array(a.t, f"{place_of(node)}, {shorten(a.name)}"),
                6: lambda a: list(a.floats), 7: lambda a: list(a.ints)
            }.get(item.type, lambda a: None)(item)

    # ---- which nodes there are ----

    def spend(self, node, work=1):
        """Count work. A chain of layers with its activations and residual blocks is done with long
        before there is none left; what takes more is no such chain."""
        self.left -= work
        if self.left < 0:
            raise ValueError(f"{place_of(node)}: up to here the graph branches more often, or "
                             "takes more steps between two layers, than a chain of layers with "
                             "their activations does, which it must be")

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
                if self.scalar(other.input[0]) == 1:
                    self.pair = node
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

    # ---- what a constant is ----

    def row_of(self, key):
        """Return a constant that is the same for every row, (n,) or (1,); else None."""
        constant = self.constant(key)
        if constant is None or constant.size != (constant.shape or (1,))[-1] or (
                constant.ndim > max(2, self.n_axes)):  # what it is added to has more axes then
            return None
        return constant.reshape(-1)

    def scalar(self, key):
        constant = self.constant(key)
        if constant is None or constant.size != 1 or constant.ndim > 2:
            return None
        return float(constant.reshape(()))

    def is_row_mean(self, node):
        """Whether a ReduceMean is that of each row."""
        settings = self.attributes(node)
        axes = settings.get("axes")
        if len(node.input) > 1 and node.input[1]:
            axes = self.constant(node.input[1])
            axes = axes if axes is None else axes.reshape(-1).tolist()
        return axes is not None and len(axes) == 1 and self.is_last(axes[0]) and (
            settings.get("keepdims", 1) == 1)

    def is_last(self, axis):
        """Whether an axis is the last one, along which rows lie; 1 is that of two."""
        return axis in (-1, self.n_axes - 1)

    def check_last(self, axis, place):
        if not self.is_last(axis):
            raise ValueError(f"{place} has axis={shown(axis)} of {self.n_axes}, must be the last "
                             "one, along which a row of the network lies")
