"""Hostile graphs: whatever is in them, `from_onnx` gives what ONNX Runtime computes, or one of the
errors that it documents, soon.

`make fuzz` runs the slow part.
"""

import os
import random
import time
from functools import partial

import numpy as np
import pytest
from timing import seconds

import fastnn

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
ort.set_default_logger_severity(4)
helper, numpy_helper = onnx.helper, onnx.numpy_helper
node = helper.make_node

LIMIT = 10.0 if "libasan" in os.environ.get("LD_PRELOAD", "") else 1.0  # seconds of CPU time
ROWS = np.random.default_rng(0).normal(size=(5, 4)).astype("f")


def graph(nodes, constants, row=(4,), outputs=("y",), opset=17):
    rng = np.random.default_rng(7)
    tensors = [numpy_helper.from_array(
        np.asarray(value if not isinstance(value, tuple) else rng.normal(size=value), "f")
        if not isinstance(value, np.ndarray) else value, name)
        for name, value in constants.items()]
    return helper.make_model(helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, ["n", *row])],
        [helper.make_tensor_value_info(name, 1, None) for name in outputs], tensors),
        opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


SEEDS = [
    graph([node("Gemm", ["x", "W", "B"], ["z"]), node("Relu", ["z"], ["a"]),
           node("Gemm", ["a", "V", "C"], ["p"], alpha=0.5, beta=2.0),
           node("Softmax", ["p"], ["y"], axis=-1)],
          {"W": (4, 5), "B": (5,), "V": (5, 3), "C": (3,)}),
    graph([node("Sub", ["x", "mean"], ["c"]), node("Div", ["c", "scale"], ["d"]),
           node("MatMul", ["d", "W"], ["m"]), node("Add", ["m", "B"], ["z"]),
           node("Div", ["z", "root"], ["q"]), node("Erf", ["q"], ["e"]),
           node("Add", ["e", "one"], ["o"]), node("Mul", ["z", "o"], ["g"]),
           node("Mul", ["g", "half"], ["a"]), node("Transpose", ["V_T"], ["V"], perm=[1, 0]),
           node("MatMul", ["a", "V"], ["y"])],
          {"mean": (4,), "scale": np.array([1, 2, 0.5, 3], "f"), "W": (4, 5), "B": (5,),
           "V_T": (3, 5), "root": np.sqrt(np.float32(2)), "one": 1.0, "half": 0.5}),
    graph([node("Gemm", ["x", "W", "B"], ["h"]),
           node("LayerNormalization", ["h", "gain", "bias"], ["n"], axis=-1, epsilon=1e-5),
           node("MatMul", ["n", "U"], ["u"]), node("Tanh", ["u"], ["t"]),
           node("Add", ["h", "t"], ["r"]), node("Sigmoid", ["r"], ["s"]),
           node("Mul", ["r", "s"], ["a"]), node("Gemm", ["a", "V", "C"], ["y"], transB=1)],
          {"W": (4, 5), "B": (5,), "gain": (5,), "bias": (5,), "U": (5, 5), "V": (2, 5),
           "C": (2,)}),
    graph([node("Constant", [], ["shape"], value=numpy_helper.from_array(np.array([-1, 4]))),
           node("Reshape", ["x", "shape"], ["f"]), node("Gemm", ["f", "W", "B"], ["z"]),
           node("Clip", ["z", "zero"], ["a"]), node("Gemm", ["a", "V"], ["q"]),
           node("Sigmoid", ["q"], ["p"]), node("Sub", ["one", "p"], ["m"]),
           node("Concat", ["m", "p"], ["y"], axis=1)],
          {"W": (4, 5), "B": (5,), "V": (5, 1), "one": 1.0, "zero": 0.0}, row=(2, 2)),
    graph([node("Gemm", ["x", "W", "B"], ["h"]), node("ReduceMean", ["h"], ["m"], axes=[-1]),
           node("Sub", ["h", "m"], ["d"]), node("Mul", ["d", "d"], ["s"]),
           node("ReduceMean", ["s"], ["v"], axes=[-1]), node("Add", ["v", "eps"], ["w"]),
           node("Sqrt", ["w"], ["r"]), node("Div", ["d", "r"], ["n"]),
           node("Mul", ["n", "gain"], ["g"]), node("Add", ["g", "bias"], ["b"]),
           node("LeakyRelu", ["b"], ["a"], alpha=0.01), node("Dropout", ["a"], ["k"]),
           node("Gemm", ["k", "V", "C"], ["y"])],
          {"W": (4, 5), "B": (5,), "eps": np.float32(1e-5), "gain": (5,), "bias": (5,),
           "V": (5, 3), "C": (3,)}),
]
OPS = ["Gemm", "MatMul", "Add", "Sub", "Mul", "Div", "Relu", "Tanh", "Identity", "Cast", "Reshape",
       "Flatten", "Transpose", "Concat", "Softmax", "Clip", "Max", "Pow", "Where", "Dropout",
       "LayerNormalization", "ReduceMean", "Elu", "Exp", "Constant", "Not", "Greater", "Squeeze",
       "Unsqueeze", "Neg", "Sqrt", "Conv", "If", "", "\0", "Gelu", "Scaler", "ZipMap"]
KEYS = ["axis", "alpha", "beta", "transA", "transB", "perm", "to", "value", "epsilon", "axes",
        "keepdims", "foo", "min", "max", "value_float", "value_ints", "approximate", "scale"]
VALUES = [0, 1, -1, 2, 7, 2**62, 0.5, -0.0, float("nan"), float("inf"), 1e38, [], [0], [1, 0],
          [-1, 4], [0.1, 0.2], "tanh", "", b"\xff", numpy_helper.from_array(np.ones((2, 2), "f")),
          numpy_helper.from_array(np.array("text"))]


def names_of(g):
    return [name for item in g.node for name in (*item.input, *item.output)] + [
        item.name for item in g.initializer] + ["x", "y", "", "nowhere"]


def change_names(g, rng):
    item = rng.choice(g.node)
    names = rng.choice([item.input, item.output])
    kind, name = rng.randrange(4), rng.choice(names_of(g))
    if kind == 0 or not names:
        names.append(name)
    elif kind == 1:
        del names[rng.randrange(len(names))]
    else:
        names[rng.randrange(len(names))] = name


def change_nodes(g, rng):
    kind, i = rng.randrange(5), rng.randrange(len(g.node))
    if kind == 0:
        g.node[i].op_type = rng.choice(OPS)
    elif kind == 1 and len(g.node) > 1:
        del g.node[i]
    elif kind == 2:
        g.node.add().CopyFrom(g.node[i])
    elif kind == 3:  # a new one between two others
        g.node.add().CopyFrom(node(rng.choice(OPS[:-5]), list(g.node[i].output[:1]), ["new"]))
        target = rng.choice(g.node)
        for j, name in enumerate(target.input):
            if g.node[i].output and name == g.node[i].output[0]:
                target.input[j] = "new"
        nodes = [*g.node[:i + 1], g.node[-1], *g.node[i + 1:-1]]
        del g.node[:]
        g.node.extend(nodes)
    else:
        g.node[i].domain = rng.choice(["", "ai.onnx", "ai.onnx.ml", "com.microsoft", "my"])


def change_attributes(g, rng):
    item = rng.choice(g.node)
    if item.attribute and rng.random() < 0.3:
        del item.attribute[rng.randrange(len(item.attribute))]
        return
    value = rng.choice(VALUES)
    kind = onnx.AttributeProto.INTS if value == [] else None
    item.attribute.append(helper.make_attribute(rng.choice(KEYS), value, attr_type=kind))
    if rng.random() < 0.2:
        item.attribute[-1].type = rng.randrange(15)


def change_tensors(g, rng):
    if not g.initializer:
        return
    item = rng.choice(g.initializer)
    kind = rng.randrange(6)
    if kind == 0:
        item.data_type = rng.choice([0, 1, 6, 7, 8, 9, 10, 11, 14, 16, 17, 22, 99])
    elif kind == 1:
        item.dims[:] = rng.choice([[], [1], [0], [-1], [4, 5], [5, 4], [1, 5], [5, 1], [2**40],
                                   [2**32, 2**32], [20], [1, 1, 5]])
    elif kind == 2:
        item.raw_data = item.raw_data[:rng.randrange(len(item.raw_data) + 1)]
    elif kind == 3:
        value = rng.choice([0, 1, 2, 0.5, 1e-5, 1e30, float("nan"), float("inf")])
        shape = rng.choice([tuple(item.dims), (), (1,), (5,), (4, 5), (5, 5)])
        if all(0 <= size < 100 for size in shape):
            dtype = rng.choice(["f", "f", "d", "e", "i", "?"])
            with np.errstate(all="ignore"):
                array = np.full(shape, value).astype(dtype)
            item.CopyFrom(numpy_helper.from_array(array, item.name))
    elif kind == 4:
        item.name = rng.choice(names_of(g))
    else:
        item.data_location = 1
        entry = item.external_data.add()
        entry.key, entry.value = "location", rng.choice(["/etc/passwd", "../x", "none", ""])


def change_ends(g, rng):
    kind = rng.randrange(5)
    tensor = g.input[0].type.tensor_type
    if kind == 0:
        g.output[0].name = rng.choice(names_of(g))
    elif kind == 1:
        g.input[0].name = rng.choice(names_of(g))
    elif kind == 2:
        tensor.elem_type = rng.choice([0, 1, 6, 7, 9, 10, 11])
    elif kind == 3:
        del tensor.shape.dim[:]
        for size in rng.choice([[], [4], [5, 4], [5, 8], [5, 0], [5, -3], [5, 2**60], [5, 1, 4],
                                [5, 2, 2]]):
            tensor.shape.dim.add().dim_value = size
    else:
        rng.choice([g.input, g.output]).add().CopyFrom(rng.choice([*g.input, *g.output]))


CHANGES = [change_names, change_names, change_nodes, change_nodes, change_attributes,
           change_tensors, change_tensors, change_ends]


def mutated(rng):
    """A graph after one to four of the accidents and tricks above."""
    model = onnx.ModelProto()
    model.CopyFrom(rng.choice(SEEDS))
    for _ in range(rng.choice([1, 1, 2, 4])):
        rng.choice(CHANGES)(model.graph, rng)
    return model


def runtime_answer(model):
    """What ONNX Runtime computes, or None where it refuses the graph."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = ort.InferenceSession(model.SerializeToString(), options,
                                       providers=["CPUExecutionProvider"])
        given = session.get_inputs()[0]
        shape = [size if isinstance(size, int) else 5 for size in given.shape] or [5, 4]
        dtype = {"tensor(float)": "f", "tensor(double)": "d"}.get(given.type)
        if dtype is None or np.prod(shape, dtype=float) != ROWS.size:
            return None
        return session.run(None, {given.name: ROWS.reshape(shape).astype(dtype)})[0]
    except Exception:  # of ONNX Runtime, which has many
        return None


def outcome(model):
    """The network; None where the graph is refused, as it is documented."""
    try:
        return fastnn.from_onnx(model)
    except ValueError as error:
        assert len(str(error)) < 2000
        return None


@pytest.mark.parametrize("count", [1_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_random_graphs(count):
    rng = random.Random(count)
    taken, compared, slowest = 0, 0, 0.0
    for _ in range(count):
        model = mutated(rng)
        start = time.process_time()
        net = outcome(model)
        needed = time.process_time() - start
        if needed > LIMIT:
            needed = seconds(partial(outcome, model), enough=LIMIT)
        slowest = max(slowest, needed)
        assert needed < LIMIT, model
        if net is None:
            continue
        taken += 1
        expected = runtime_answer(model)
        if expected is None or net.sizes[0] != 4:
            continue
        found = net.predict(ROWS)
        if expected.size == 2 * found.size:  # 1 - p, p
            expected = expected.reshape(5, 2)[:, 1:]
        compared += 1
        assert expected.size == found.size, model
        np.testing.assert_allclose(found, expected.reshape(found.shape), rtol=1e-3, atol=1e-4,
                                   err_msg=str(model))
    print(f"{taken} of {count} taken, {compared} compared, the slowest {slowest * 1e3:.0f} ms")
    assert compared > count / 40


def test_files(tmp_path):
    """Bytes that are no graph: ValueError; the folder of a file: FileNotFoundError."""
    rng, path = random.Random(1), tmp_path / "m.onnx"
    data = SEEDS[2].SerializeToString()
    for _ in range(300):
        mutant = bytearray(data)
        for _ in range(rng.choice([1, 3, 10])):
            mutant[rng.randrange(len(mutant))] ^= 1 << rng.randrange(8)
        path.write_bytes(mutant[:rng.choice([len(mutant), rng.randrange(len(mutant))])])
        try:
            fastnn.from_onnx(path)
        except ValueError:
            pass
    with pytest.raises(FileNotFoundError):
        fastnn.from_onnx(tmp_path)
