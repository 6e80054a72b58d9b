"""Graphs that lead round in circles, that are very long, or that are none: an answer or a refusal,
in time that is in proportion to their size."""

import numpy as np
import pytest
from timing import check_in_proportion, seconds

import fastnn

onnx = pytest.importorskip("onnx")
helper, numpy_helper = onnx.helper, onnx.numpy_helper
node = helper.make_node


def graph(nodes, output):
    value = lambda name: helper.make_tensor_value_info(name, 1, ["n", 1])  # noqa: E731
    return helper.make_model(helper.make_graph(
        nodes, "g", [value("x")], [value(output)],
        [numpy_helper.from_array(np.ones((1, 1), "f"), "W"),
         numpy_helper.from_array(np.ones(1, "f"), "B")]),
        opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


FIRST = node("MatMul", ["x", "W"], ["v0"])


@pytest.mark.parametrize("nodes, output, message", [
    ([node("Identity", ["x"], ["x", "out"])], "out", "'x', which is there already"),
    ([node("Reshape", ["x", "W"], ["x"])], "x", "there already"),
    ([node("MatMul", ["x", "W"], ["x", "out"])], "out", "there already"),
    ([node("Identity", ["out"], ["out"])], "out", r"node 'out' \(Identity\) is part of a cycle"),
    ([FIRST, node("Add", ["v0", "b"], ["a"]), node("Relu", ["a"], ["b"])], "b", "a cycle"),
    ([FIRST, node("Relu", ["v0"], ["a"]), node("Tanh", ["v0"], ["a"])], "a", "there already"),
    ([FIRST, node("Relu", ["v0"], ["W"])], "W", "'W', which is there already"),
    ([FIRST, node("Relu", ["v0"], [])], "v0", "has no output"),
    ([FIRST, node("Relu", [], ["a"])], "a", "nothing leads from 'x' to 'a'"),
    ([FIRST, node("Relu", ["v0"], ["a"], foo=1)], "a", r"node 'a' \(Relu\) cannot be read: TypeE"),
    ([FIRST, node("Not", ["v0"], ["a"])], "a", r"node 'a' \(Not\) cannot be read"),
    ([node("Scaler", ["x"], ["s"], domain="ai.onnx.ml"), node("MatMul", ["s", "W"], ["a"])], "a",
     r"node 's' \(Scaler\) must have scale and offset"),
    ([FIRST, node("x" * 10**5, ["v0"], ["y" * 10**5])], "y" * 10**5, "has no counterpart"),
])
def test_what_is_no_graph(nodes, output, message, tmp_path):
    model = graph(nodes, output)
    onnx.save(model, tmp_path / "m.onnx")

    def refused():
        for given in (model, tmp_path / "m.onnx"):
            with pytest.raises(ValueError, match=message) as caught:
                fastnn.from_onnx(given)
            assert len(str(caught.value)) < 1000

    assert seconds(refused, enough=1) < 1


def test_a_dtype_that_nobody_has():
    model = graph([FIRST], "v0")
    model.graph.initializer[0].data_type = 99
    with pytest.raises(ValueError, match="initializer 'W' cannot be read: KeyError: 99"):
        fastnn.from_onnx(model)


def test_nodes_in_any_order():
    nodes = [FIRST, node("Relu", ["v0"], ["v1"]), node("MatMul", ["v1", "W"], ["v2"])]
    assert fastnn.from_onnx(graph(nodes[::-1], "v2")).activations == ("relu",)


def chain(kind, inputs, n):
    return graph([FIRST, *(node(kind, [f"v{i}", *inputs], [f"v{i + 1}"]) for i in range(n))],
                 f"v{n}")


def layers(n):
    nodes = [FIRST]
    for i in range(n // 3):
        nodes += [node("MatMul", [f"v{i}", "W"], [f"m{i}"]), node("Relu", [f"m{i}"], [f"r{i}"]),
                  node("Add", [f"v{i}", f"r{i}"], [f"v{i + 1}"])]
    return graph(nodes, f"v{n // 3}")


def additions(n):
    """Each addition begins elementwise nodes that go on to the end."""
    nodes = [FIRST]
    for i in range(n // 2):
        nodes += [node("Tanh", [f"v{i}"], [f"t{i}"]),
                  node("Add", [f"v{i}", f"t{i}"], [f"v{i + 1}"])]
    return graph(nodes, f"v{n // 2}")


def fan(n):
    return graph([FIRST, *(node("Relu", ["v0"], [f"r{i}"]) for i in range(n)),
                  node("Sum", [f"r{i}" for i in range(n)], ["y"])], "y")


def casts(n):
    """Weights, cast again and again."""
    return graph([*(node("Cast", [f"w{i}" if i else "W"], [f"w{i + 1}"], to=(1, 11)[i % 2])
                    for i in range(n)), node("MatMul", ["x", f"w{n}"], ["y"])], "y")


def backwards(n):
    model = chain("Relu", [], n)
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


LONG = {"relu": lambda n: chain("Relu", [], n), "identity": lambda n: chain("Identity", [], n),
        "bias": lambda n: chain("Add", ["B"], n), "layers": layers, "additions": additions,
        "fan": fan, "casts": casts, "backwards": backwards}


@pytest.mark.parametrize("sizes", [(500, 5_000), pytest.param(
    (100, 1_000, 10_000, 100_000), marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", LONG)
def test_time_is_in_proportion(name, sizes):
    models = {n: LONG[name](n) for n in sizes}

    def read(n):
        try:
            fastnn.from_onnx(models[n])
        except ValueError as error:
            assert "chain" in str(error)

    check_in_proportion(read, sizes)
