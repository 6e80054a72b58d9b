"""Models as ONNX graphs.

What is written into the graph stands here once; the file of `export` and the pipelines of skl2onnx
differ in the `Graph` that takes the nodes.
"""

import json
from itertools import accumulate

import numpy as np

try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ImportError as error:
    raise ImportError(
        'fastnn.export.onnx needs the package onnx: pip install "fastnn-mlp[onnx]"') from error

from fastnn.core import validation
from fastnn.core.version import __version__
from fastnn.files.container import check_place, write_atomically
from fastnn.network.lowering import INPUT
from fastnn.prediction.predictor import as_predictor, check_exported

MIN_OPSET = 13  # Softmax along one axis
MAX_BYTES = 2**31 - 1  # of a protobuf message
MARGIN = 2**16  # what is not weights
ONNX_TYPE = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.float64): TensorProto.DOUBLE}


class Graph:
    """Takes nodes and constants, and gives each value a name of its own."""

    def __init__(self, dtype, taken=(), opset=17):
        self.dtype, self.opset = np.dtype(dtype), opset
        self.nodes, self.initializers = [], []
        self._taken, self._numbers = set(taken), {}

    @property
    def is_double(self):
        return self.dtype == np.float64

    def unique(self, name):
        """Return the name, or the name with the first number that is free."""
        free, i = name, self._numbers.get(name, 0)
        while free in self._taken:
            i += 1
            free = f"{name}_{i}"
        self._taken.add(free)
        self._numbers[name] = i  # none below becomes free: a deep network asks thousands of times
        return free

    def op(self, kind, *inputs, outputs=None, domain="", **attributes):
        """Add a node; return the name of its value, which ``outputs`` may prescribe."""
        outputs = outputs or [self.unique(kind.lower())]
        self.nodes.append(helper.make_node(kind, list(inputs), outputs, domain=domain,
                                           name=self.unique(f"{kind}_node"), **attributes))
        return outputs[0]

    def constant(self, array, name="constant"):
        """Add an array of numbers, or an object array of strings."""
        name = self.unique(name)
        self.initializers.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def real(self, value):
        """Add a scalar of the network's dtype."""
        return self.constant(np.array(value, self.dtype))

    def cast(self, x, to):
        return self.op("Cast", x, to=to)


# ---- one row per activation and output: the nodes that compute it from z ----
# ONNX Runtime has no LeakyRelu, Elu, Selu, HardSigmoid, Softplus and Erf for double.

def _leaky_relu(g, z):
    if not g.is_double:
        return g.op("LeakyRelu", z, alpha=0.01)
    return g.op("Max", z, g.op("Mul", z, g.real(0.01)))


def _elu(g, z):
    if not g.is_double:
        return g.op("Elu", z, alpha=1.0)
    zero, one = g.real(0), g.real(1)
    return g.op("Where", g.op("Less", z, zero), g.op("Sub", g.op("Exp", z), one), z)


def _gelu(g, z):
    """z (1 + erf(z / sqrt 2)) / 2; Runtime knows it by this order of nodes, and fuses them."""
    inner = g.op("Div", z, g.real(np.sqrt(2)))
    if g.is_double:  # costs 6e-8 |z|
        erf = g.cast(g.op("Erf", g.cast(inner, TensorProto.FLOAT)), TensorProto.DOUBLE)
    else:
        erf = g.op("Erf", inner)
    return g.op("Mul", g.op("Mul", z, g.op("Add", erf, g.real(1))), g.real(0.5))


def _softplus(g, z):
    if not g.is_double:
        return g.op("Softplus", z)
    small = g.op("Exp", g.op("Neg", g.op("Abs", z)))
    return g.op("Add", g.op("Max", z, g.real(0)), g.op("Log", g.op("Add", g.real(1), small)))


def _step(g, z):
    """NaN stays NaN."""
    zero, one = g.real(0), g.real(1)
    below = g.op("Where", g.op("Less", z, zero), zero, z)
    return g.op("Where", g.op("GreaterOrEqual", z, zero), one, below)


SELU = 1.0507009873554804934, 1.6732632423543772848  # lambda, alpha


def _selu(g, z):
    scale, alpha = SELU
    if not g.is_double:
        return g.op("Selu", z, alpha=alpha, gamma=scale)
    below = g.op("Mul", g.op("Sub", g.op("Exp", z), g.real(1)), g.real(scale * alpha))
    return g.op("Where", g.op("Less", z, g.real(0)), below, g.op("Mul", z, g.real(scale)))


def _hard_sigmoid(g, z):
    if not g.is_double:
        return g.op("HardSigmoid", z, alpha=1 / 6, beta=0.5)
    return g.op("Div", _clip(g, g.op("Add", z, g.real(3)), 0, 6), g.real(6))


def _clip(g, z, low, high):
    if g.is_double:  # ONNX Runtime loads no file with a Clip of doubles behind a Relu
        return g.op("Min", g.op("Max", z, g.real(low)), g.real(high))
    return g.op("Clip", z, g.real(low), g.real(high))


ACTIVATIONS = {
    "identity": lambda g, z: z,
    "sigmoid": lambda g, z: g.op("Sigmoid", z),
    "tanh": lambda g, z: g.op("Tanh", z),
    "relu": lambda g, z: g.op("Relu", z),
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "gelu": _gelu,
    "silu": lambda g, z: g.op("Mul", z, g.op("Sigmoid", z)),
    "softplus": _softplus,
    "exp": lambda g, z: g.op("Exp", z),
    "step": _step,
    "selu": _selu,
    "mish": lambda g, z: g.op("Mul", z, g.op("Tanh", _softplus(g, z))),
    "hard_tanh": lambda g, z: _clip(g, z, -1, 1),
    "hard_sigmoid": _hard_sigmoid,
    "relu6": lambda g, z: _clip(g, z, 0, 6),
    "softmax": lambda g, z: g.op("Softmax", z, axis=1),
}


# ---- one row per kind of operation: the nodes that compute z ----

def _layer_norm(g, op, x, gain, bias):
    """ONNX has an operator for it, which takes mean and variance in float32 by its standard."""
    if g.opset >= 17 and not g.is_double:
        return g.op("LayerNormalization", x, gain, bias, axis=-1, epsilon=op.eps)
    d = g.op("Sub", x, _row_mean(g, x))
    variance = _row_mean(g, g.op("Mul", d, d))
    z = g.op("Div", d, g.op("Sqrt", g.op("Add", variance, g.real(op.eps))))
    return g.op("Add", g.op("Mul", z, gain), bias)


def _row_mean(g, x):
    if g.opset < 18:
        return g.op("ReduceMean", x, axes=[-1], keepdims=1)
    return g.op("ReduceMean", x, g.constant(np.array([-1]), "axes"), keepdims=1)


def _repeat(g, op, x, scale):
    """Give each row one row for each member, times the member's scale."""
    rows = g.op("Mul", g.op("Unsqueeze", x, g.constant(np.array([1]), "axes")), scale)
    return g.op("Reshape", rows, _shape(g, -1, op.n_out))


def _heads(g, op, x, w, b):
    """Multiply for each member, whose rows come together for it."""
    w = g.op("Reshape", w, _shape(g, op.members, op.n_in, op.n_out))
    b = g.op("Unsqueeze", b, g.constant(np.array([1]), "axes"))
    x = g.op("Reshape", x, _shape(g, -1, op.members, op.n_in))
    z = g.op("Add", g.op("MatMul", g.op("Transpose", x, perm=[1, 0, 2]), w), b)
    return g.op("Reshape", g.op("Transpose", z, perm=[1, 0, 2]), _shape(g, -1, op.n_out))


def _mean_members(g, x, members, n_out):
    x = g.op("Reshape", x, _shape(g, -1, members, n_out))
    if g.opset < 18:
        return g.op("ReduceMean", x, axes=[1], keepdims=0)
    return g.op("ReduceMean", x, g.constant(np.array([1]), "axes"), keepdims=0)


def _shape(g, *shape):
    return g.constant(np.array(shape, np.int64), "shape")
def _batch_norm(g, op, x, gain, bias, mean, variance):
    """ONNX Runtime computes it by row and column; its own fusing may put it into a Gemm."""
    return g.op("BatchNormalization", x, gain, bias, mean, variance, epsilon=op.eps,
                momentum=1 - op.momentum)


def _prelu(g, op, x, slope):
    """PRelu is not for double in ONNX Runtime."""
    if not g.is_double:
        return g.op("PRelu", x, slope)
    return g.op("Where", g.op("Greater", x, g.real(0)), x, g.op("Mul", x, slope))


def _embed(g, op, x, *arrays):
    """Multiply for each column, side by side."""
    parts, axes = [], _shape(g, 1)
    for w, count, end in zip(arrays[:-1], op.counts, accumulate(op.counts), strict=True):
        inputs = g.op("Slice", x, _shape(g, end - count), _shape(g, end), axes)
        parts.append(g.op("MatMul", inputs, w))
    return g.op("Add", g.op("Concat", *parts, axis=1), arrays[-1])


def _glu(g, op, x):
    """As PyTorch writes it."""
    halves = [g.unique("half"), g.unique("half")]
    u = g.op("Split", x, _shape(g, op.n_out, op.n_out), axis=1, outputs=halves)
    return g.op("Mul", u, ACTIVATIONS[op.gate](g, halves[1]))


# kind -> the name of z, from an `Op`, the value that it reads, and its parameters or other value
OPS = {
    "dense": lambda g, op, x, w, b: g.op("Gemm", x, w, b),
    "layer_norm": _layer_norm,
    "batch_norm": _batch_norm,
    "scale": lambda g, op, x, gain: g.op("Mul", x, gain),
    "prelu": _prelu,
    "embed": _embed,
    "glu": _glu,
    "copy": lambda g, op, x: x,
    "add": lambda g, op, x, y: g.op("Add", x, y),
    "repeat": _repeat,
    "heads": _heads,
}
# of parameters, before a layer's number
NAMES = {"weight": "W", "bias": "b", "gain": "gain", "slope": "slope", "mean": "mean",
         "variance": "variance", "scale": "scale"}


# ---- the graph of a model ----

def check_size(net):
    """ValueError where the weights do not fit into an ONNX file."""
    size = net.n_parameters * net.dtype.itemsize
    if size + MARGIN > MAX_BYTES:
        raise ValueError(f"the weights take {size / 2**30:.1f} GiB, an ONNX file holds less than "
                         "2 GiB: use fewer units, float32, or model.save")


def add_scaler(g, x, scaler):
    """(x - mean) / scale, cut off; in double, as fastnn computes it."""
    if not g.is_double:
        x = g.cast(x, TensorProto.DOUBLE)
    x = g.op("Sub", x, g.constant(scaler.mean, "mean"))
    x = g.op("Div", x, g.constant(scaler.scale, "scale"))
    if scaler.limits is not None:
        x = g.op("Clip", x, *(g.constant(np.float64(limit), "limit") for limit in scaler.limits))
    return x if g.is_double else g.cast(x, TensorProto.FLOAT)


def add_network(g, x, net):
    """Add the operations of a network, from inputs (n_rows, n_in) to outputs (n_rows, n_out)."""
    layout = net._layout
    net.spec.refuse_functions("an ONNX file")
    layout.check(net.parameters)
    blocks = {}
    for block, view in zip(layout.blocks, layout.views(net.parameters), strict=True):
        blocks.setdefault(block.op, []).append((block, view))
    values = {INPUT: x}
    for i, op in enumerate(layout.ops):
        for table, name in ((OPS, op.kind), (ACTIVATIONS, op.activation), (ACTIVATIONS, op.gate)):
            if name not in table:
                what = "activation" if table is ACTIVATIONS else "operation"
                raise ValueError(f"{what} {name!r} cannot be exported: it has no row in "
                                 "fastnn/export/_onnx.py")
        inputs = [values[op.source]]
        for block, view in blocks.get(i, ()):
            _, number, kind = block.name.split(".")
            parts = [view]
            if op.kind == "embed" and kind == "weight":  # one of each column
                parts = np.split(view, [*accumulate(op.counts)][:-1])
            inputs += [g.constant(part, NAMES[kind] + number) for part in parts]
        if op.kind == "add":
            inputs.append(values[op.other])
        values[i] = ACTIVATIONS[op.activation](g, OPS[op.kind](g, op, *inputs))
    output, members = values[len(layout.ops) - 1], net.spec.members
    return output if members == 1 else _mean_members(g, output, members, net.spec.n_out)


def add_classes(g, predictor, output, labels):
    """Names of label and probabilities, from the outputs of the network."""
    if predictor.task == "multilabel":
        return g.cast(g.op("Greater", output, g.real(0.5)), TensorProto.INT64), output
    probabilities = output
    if predictor.net.sizes[-1] == 1:
        probabilities = g.op("Concat", g.op("Sub", g.real(1), output), output, axis=1)
    # a single class has one output and, as in scikit-learn, two columns of probabilities
    among = probabilities if len(labels) > 1 else output
    label = g.op("ArgMax", among, axis=1, keepdims=0)
    if not np.array_equal(labels, np.arange(len(labels))):
        label = g.op("Gather", g.constant(labels, "classes"), label)
    return label, probabilities


def class_labels(classes, nocl=False):
    """Return the classes as ONNX knows labels: array of int64, or object array of str."""
    if nocl:
        return np.arange(len(classes))
    if classes.dtype.kind in "biuf":
        with np.errstate(invalid="ignore"):
            labels = classes.astype(np.int64)
        if not np.array_equal(labels, classes):
            raise ValueError(f"classes {classes} must be strings or whole numbers in ONNX: use "
                             "nocl=True, which numbers them from 0")
        return labels
    labels = classes.astype(object)
    if not all(isinstance(label, str) for label in labels):
        raise ValueError(f"classes {classes} must be strings or whole numbers in ONNX: use "
                         "nocl=True, which numbers them from 0")
    for label in labels:
        validation.as_utf8("the class", label)
    return np.array([str(label) for label in labels], dtype=object)


# ---- the file ----

def export(model, path, opset=17, input_name="X", zipmap=False, nocl=False):
    """See `fastnn.export.onnx`."""
    path = check_place(path)
    proto = build(check_exported(as_predictor(model), "an ONNX file"), opset, input_name, zipmap,
                  nocl)
    write_atomically(path, proto.SerializeToString())


def build(predictor, opset=17, input_name="X", zipmap=False, nocl=False):
    """Return the ONNX model of a Predictor."""
    opset = check_opset(opset)
    if not isinstance(input_name, str) or not input_name:
        raise ValueError(f"input_name={input_name!r} must be a name")
    validation.as_utf8("the input_name", input_name)
    if zipmap not in (True, False, "columns"):
        raise ValueError(f"zipmap={zipmap!r} must be True, False or 'columns'")
    nocl = validation.check_flag("nocl", nocl)
    if predictor.classes_ is None and (zipmap or nocl):
        raise ValueError(f"zipmap={zipmap!r} and nocl={nocl} must be False: the model is not a "
                         "classifier")
    net = predictor.net
    check_size(net)

    labels = None if predictor.classes_ is None else class_labels(predictor.classes_, nocl)
    outputs = _outputs(predictor, labels, zipmap)
    if input_name in [value.name for value in outputs]:
        raise ValueError(f"input_name={input_name!r} must not be that of an output")

    g = Graph(net.dtype, [input_name, *(value.name for value in outputs)], opset)
    x = input_name if predictor.scaler is None else add_scaler(g, input_name, predictor.scaler)
    values = [add_network(g, x, net)]
    if labels is not None:
        values = _zipped(g, *add_classes(g, predictor, values[0], labels), labels, zipmap, outputs)
    for value, declared in zip(values, outputs, strict=True):
        if value != declared.name:
            g.op("Identity", value, outputs=[declared.name])

    n_in = net.sizes[0]
    inputs = [helper.make_tensor_value_info(input_name, ONNX_TYPE[net.dtype], ["n_rows", n_in])]
    graph = helper.make_graph(g.nodes, "fastnn", inputs, outputs, g.initializers)
    opsets = [helper.make_opsetid("", opset)]
    if zipmap is True:
        opsets.append(helper.make_opsetid("ai.onnx.ml", 1))
    model = helper.make_model(
        graph, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets),
        producer_name="fastnn", producer_version=__version__, doc_string=repr(predictor))
    properties = {"task": predictor.task}
    if predictor.feature_names_in_ is not None:
        properties["feature_names"] = json.dumps([str(n) for n in predictor.feature_names_in_])
    helper.set_model_props(model, properties)
    return model


def check_opset(opset):
    """Return an opset that we write and the installed onnx knows."""
    opset = validation.check_count("opset", opset)
    newest = onnx.defs.onnx_opset_version()
    if not MIN_OPSET <= opset <= newest:
        raise ValueError(f"opset={opset} must be from {MIN_OPSET} to {newest}, the newest of onnx "
                         f"{onnx.__version__}")
    return opset


def _outputs(predictor, labels, zipmap):
    """Return declarations of the outputs, (n_rows, ...)."""
    real, n_out = ONNX_TYPE[predictor.net.dtype], predictor.net.sizes[-1]
    if labels is None:
        return [helper.make_tensor_value_info("output", real, ["n_rows", n_out])]
    multilabel = predictor.task == "multilabel"
    words = labels.dtype == object and not multilabel
    n_columns = max(n_out, 2) if not multilabel else n_out
    label = helper.make_tensor_value_info(
        "output_label" if zipmap else "label", TensorProto.STRING if words else TensorProto.INT64,
        ["n_rows", n_out] if multilabel else ["n_rows"])
    if zipmap and n_columns != len(labels):
        raise ValueError(f"zipmap={zipmap!r} must be False for a model that knows one class")
    if zipmap == "columns":
        return [label, *(helper.make_tensor_value_info(
            f"{'s' if isinstance(c, str) else 'i'}{c}", real, ["n_rows"]) for c in labels)]
    if zipmap:
        key = TensorProto.STRING if labels.dtype == object else TensorProto.INT64
        dictionary = helper.make_map_type_proto(
            key, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
        return [label, helper.make_value_info("output_probability",
                                              helper.make_sequence_type_proto(dictionary))]
    return [label, helper.make_tensor_value_info("probabilities", real, ["n_rows", n_columns])]


def _zipped(g, label, probabilities, labels, zipmap, outputs):
    """Return the values of the outputs of a classifier."""
    if zipmap == "columns":
        # columns by number: Split wants other arguments from opset 18 on
        return [label, *(g.op("Gather", probabilities, g.constant(np.array(i)), axis=1)
                         for i in range(len(labels)))]
    if zipmap:
        if g.is_double:
            probabilities = g.cast(probabilities, TensorProto.FLOAT)
        key = "classlabels_strings" if labels.dtype == object else "classlabels_int64s"
        probabilities = g.op("ZipMap", probabilities, outputs=[outputs[1].name],
                             domain="ai.onnx.ml", **{key: list(labels)})
    return [label, probabilities]
