"""Graphs that lead round in circles, that are very long, or that are none: an answer or a refusal,
in time that is in proportion to their size."""

import tracemalloc

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
    ([node("Tanh", ["x"], ["a"]), node("Add", ["x", "a"], ["b"])], "b",
     "the graph has no fully connected layer"),
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


def again_and_again(kind):
    """A graph of some kilobytes that makes much of its weights."""
    n = 2000
    if kind == "a product":
        nodes = [node("MatMul", [f"v{i}", "W"], [f"v{i + 1}"]) for i in range(n)]
        arrays = {"W": np.zeros((256, 256), "f")}
    elif kind == "a normalisation":
        nodes = [node("Gemm", ["v0", "W"], ["v1"])] + [
            node("LayerNormalization", [f"v{i}", "g"], [f"v{i + 1}"]) for i in range(1, n)]
        arrays = {"W": np.zeros((4, 20_000), "f"), "g": np.ones(20_000, "f")}
    else:  # what shifts behind an activation is a diagonal matrix
        nodes = [node("Gemm", ["v0", "W"], ["v1"])]
        for i in range(1, n // 2):
            nodes += [node("Relu", [f"v{i}"], [f"r{i}"]),
                      node("Add", [f"r{i}", "c"], [f"v{i + 1}"])]
        arrays = {"W": np.zeros((4, 4000), "f"), "c": np.arange(4000, dtype="f")}
    last = nodes[-1].output[0]
    model = onnx.helper.make_graph(
        nodes, "g", [onnx.helper.make_tensor_value_info("v0", 1, ["n", len(arrays["W"])])],
        [onnx.helper.make_tensor_value_info(last, 1, None)],
        [onnx.numpy_helper.from_array(value, name) for name, value in arrays.items()])
    return onnx.helper.make_model(model, opset_imports=[onnx.helper.make_opsetid("", 17)])


@pytest.mark.parametrize("kind", ["a product", "a normalisation", "a shift"])
def test_weights_that_are_used_again_and_again(kind):
    """1 MB was a network of 1 GB, 50 kB of shifts had 12 GB in 50 s and more."""
    tracemalloc.start()
    with pytest.raises(ValueError, match="many times what the graph holds"):
        fastnn.from_onnx(again_and_again(kind))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6e8


def test_rows_that_nothing_has_weights_for():
    """A tensor of no data gave the length of a normalisation of ones: 16 GB."""
    nodes = [node("ReduceMean", ["x"], ["m"], axes=[-1]), node("Sub", ["x", "m"], ["d"]),
             node("Mul", ["d", "d"], ["s"]), node("ReduceMean", ["s"], ["v"], axes=[-1]),
             node("Add", ["v", "eps"], ["w"]), node("Sqrt", ["w"], ["r"]),
             node("Div", ["d", "r"], ["n"]), node("Gemm", ["n", "W"], ["y"])]
    model = graph(nodes, "y")
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(1e-5), "eps"))
    model.graph.initializer.add(name="u", data_type=1, dims=[2**31])
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 2**31
    with pytest.raises(ValueError, match="normalises rows of 2147483648 values, for which"):
        fastnn.from_onnx(model)


def test_files_beside_a_graph(tmp_path, monkeypatch):
    """As much is read as a tensor has, of files that a file of a graph names: onnx reads what the
    graph says, 3 GB of a matrix of 64 bytes, and of a graph of no file from the current folder."""
    model = graph([node("MatMul", ["x", "W"], ["y"])], "y")
    tensor = model.graph.initializer[0]
    n_bytes = len(tensor.raw_data)
    (tmp_path / "beside").write_bytes(tensor.raw_data)
    right = fastnn.from_onnx(model).parameters
    tensor.ClearField("raw_data")
    tensor.data_location = tensor.EXTERNAL
    monkeypatch.chdir(tmp_path)

    def load(**entries):
        del tensor.external_data[:]
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=str(value))
        (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
        return fastnn.from_onnx("m.onnx").parameters

    for more in ({}, {"length": n_bytes}, {"offset": 0}):
        assert load(location="beside", **more).tobytes() == right.tobytes()
    with pytest.raises(ValueError, match="'W' lies in a file beside the graph: give from_onnx the"):
        fastnn.from_onnx(model)
    (tmp_path / "beside").write_bytes(bytes(4096))
    for more in ({"length": 4096}, {"length": "9" * 5000}, {"length": -1}, {"offset": -4},
                 {"offset": 10**30}, {"offset": "x"}, {"offset": 4095}):
        with pytest.raises(ValueError, match="'m.onnx' lie in files beside it, which") as caught:
            load(location="beside", **more)
        assert len(str(caught.value)) < 1000
    for place in ("none", "../beside", "/etc/passwd", "", ".", "\0"):
        with pytest.raises(ValueError, match="lie in files beside it, which cannot be read"):
            load(location=place)
    with pytest.raises(ValueError, match="lie in files beside it, which cannot be read"):
        load()
    tensor.dims[0] = 2**60  # more than there is
    with pytest.raises(ValueError, match="and others have .* bytes of 4096 there"):
        load(location="beside")
