"""Nodes of ONNX graphs whose two operands may not change places: read right, or refused."""

import numpy as np
import pytest

import fastnn

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
helper = onnx.helper

rng = np.random.default_rng(0)
X = rng.normal(size=(20, 4)).astype("f")
CONSTANTS = {"W": rng.normal(size=(4, 5)), "B": rng.normal(size=5), "V": rng.normal(size=(5, 5)),
             "c": rng.uniform(1, 2, 5), "s": np.array(1.5), "c_in": rng.uniform(1, 2, 4)}
OPERATORS = ("Add", "Sub", "Mul", "Div")


def model_of(nodes):
    """A model from nodes (type, inputs), each of which makes what the next one calls "last"."""
    made, last = [], "x"
    for i, (kind, inputs) in enumerate(nodes):
        inputs = [last if name == "last" else name for name in inputs]
        last = f"made{i}" if i < len(nodes) - 1 else "y"
        made.append(helper.make_node(kind, inputs, [last]))
    tensors = [onnx.numpy_helper.from_array(array.astype("f"), name)
               for name, array in CONSTANTS.items()]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(made, "g", [value("x", 1, [None, 4])], [value("y", 1, [None, 5])],
                              tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def graphs():
    """An operator with a constant on either side, in each place of a small network."""
    dense, second = ("Gemm", ["last", "W", "B"]), ("MatMul", ["last", "V"])
    for kind in OPERATORS:
        for constant in ("c", "s"):
            for inputs in (["last", constant], [constant, "last"]):
                node = kind, inputs
                name = f"{kind}({', '.join(inputs)})"
                yield f"{name} last of all", [dense, node]
                yield f"{name} before an activation", [dense, node, ("Tanh", ["last"]), second]
                yield f"{name} behind a product", [
                    dense, ("Relu", ["last"]), second, node, ("Sigmoid", ["last"])]
                yield f"{name} between products", [dense, node, second]
                yield f"{name} behind an activation", [dense, ("Tanh", ["last"]), node, second]
                at_first = kind, ["c_in" if key == "c" else key for key in inputs]
                yield f"{name} first of all", [at_first, dense]
                yield f"{name} twice", [at_first, at_first, dense, node]


def test_operands_keep_their_places():
    read = []
    for name, nodes in graphs():
        model = model_of(nodes)
        session = runtime.InferenceSession(model.SerializeToString(),
                                           providers=["CPUExecutionProvider"])
        expected, = session.run(None, {"x": X})
        try:
            net = fastnn.from_onnx(model)
        except ValueError:
            continue
        read.append(name)
        np.testing.assert_allclose(net.predict(X), expected, rtol=2e-6, atol=2e-6, err_msg=name)
    for kind, place in [("Add(last, c)", "last of all"), ("Add(c, last)", "last of all"),
                        ("Sub(last, c)", "last of all"), ("Sub(last, c)", "before an activation"),
                        ("Sub(last, c)", "first of all"), ("Sub(c, last)", "first of all"),
                        ("Mul(c, last)", "first of all"), ("Div(last, c)", "first of all")]:
        assert f"{kind} {place}" in read
