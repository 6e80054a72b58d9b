"""Graphs whose values have more axes than two, where axis 1 is not the one along which a row lies:
what ONNX Runtime computes, or a refusal. Each was taken once as if a row lay there."""

import numpy as np
import pytest

import fastnn
import fastnn.export

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
ort.set_default_logger_severity(4)
helper, numpy_helper = onnx.helper, onnx.numpy_helper
node = helper.make_node

RNG = np.random.default_rng(7)
CONSTANTS = {
    **{name: RNG.normal(size=shape).astype("f") for name, shape in {
        "W": (4, 4), "V": (4, 1), "E": (2, 2), "gain": (4,), "bias": (4,), "mean": (4,),
        "deep": (1, 1, 4)}.items()},
    "variance": np.array([1, 2, 3, 4], "f"), "eps": np.float32(1e-5), "one": np.float32(1),
    **{name: np.array(value, np.int64) for name, value in {
        "i0": [0], "i2": [2], "i4": [4], "first": [0], "second": [1], "third": [2], "last": [-1],
        "as 3": [-1, 1, 4], "as 1, 3": [1, -1, 4]}.items()}}
PRODUCT = node("MatMul", ["x", "W"], ["h"])


def embedding(axis):
    return [node("Slice", ["x", "i0", "i2", axis], ["p"]), node("MatMul", ["p", "E"], ["u"]),
            node("Slice", ["x", "i2", "i4", axis], ["q"]), node("MatMul", ["q", "E"], ["v"]),
            node("Concat", ["u", "v"], ["c"], axis=-1 if axis == "last" else 1),
            node("Add", ["c", "bias"], ["a"]), node("MatMul", ["a", "W"], ["y"])]


def normalised(axis):
    return [PRODUCT, node("ReduceMean", ["h"], ["m"], axes=[axis]), node("Sub", ["h", "m"], ["d"]),
            node("Mul", ["d", "d"], ["s"]), node("ReduceMean", ["s"], ["v"], axes=[axis]),
            node("Add", ["v", "eps"], ["w"]), node("Sqrt", ["w"], ["r"]),
            node("Div", ["d", "r"], ["n"]), node("MatMul", ["n", "W"], ["y"])]


def gate(axis):
    return [PRODUCT, node("Split", ["h"], ["u", "v"], axis=axis), node("Sigmoid", ["v"], ["s"]),
            node("Mul", ["u", "s"], ["y"])]


def pair(axis):
    return [node("MatMul", ["x", "V"], ["z"]), node("Sigmoid", ["z"], ["p"]),
            node("Sub", ["one", "p"], ["q"]), node("Concat", ["q", "p"], ["y"], axis=axis)]


def softmax(*before, **axis):
    return [*before, node("Softmax", ["h"], ["y"], **axis)]


def shaped(kind, how):
    return [node(kind, ["x", how], ["s"]), node("MatMul", ["s", "W"], ["h"]),
            node("Softmax", ["h"], ["y"], axis=1)]


AT_1 = {
    "softmax": softmax(PRODUCT, axis=1),
    "layer norm": [PRODUCT, node("LayerNormalization", ["h", "gain", "bias"], ["y"], axis=1)],
    "batch norm": [PRODUCT, node("BatchNormalization",
                                 ["h", "gain", "bias", "mean", "variance"], ["y"])],
    "its nodes": normalised(1), "gate": gate(1), "embedding": embedding("second"), "pair": pair(1)}
AT_LAST = {
    "softmax": softmax(PRODUCT, axis=-1), "its nodes": normalised(-1), "gate": gate(-1),
    "layer norm": [PRODUCT, node("LayerNormalization", ["h", "gain", "bias"], ["y"], axis=-1)],
    "embedding": embedding("last"), "pair": pair(-1)}
MORE = {"unsqueezed": shaped("Unsqueeze", "first"), "in between": shaped("Unsqueeze", "second"),
        "reshaped": shaped("Reshape", "as 3"), "reshaped to one": shaped("Reshape", "as 1, 3"),
        "a constant": [PRODUCT, node("Add", ["h", "deep"], ["a"]),
                       node("Softmax", ["a"], ["y"], axis=1)],
        "one behind relu": [PRODUCT, node("Relu", ["h"], ["r"]), node("Add", ["r", "deep"], ["a"]),
                            node("Softmax", ["a"], ["y"], axis=1)]}


def graph(nodes, shape, opset=17):
    used = {name for item in nodes for name in item.input}
    return helper.make_model(helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, shape)],
        [helper.make_tensor_value_info("y", 1, None)],
        [numpy_helper.from_array(value, name) for name, value in CONSTANTS.items()
         if name in used]), opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def check(model, shape):
    X = np.random.default_rng(0).normal(size=shape).astype("f")
    right = ort.InferenceSession(model.SerializeToString(),
                                 providers=["CPUExecutionProvider"]).run(None, {"x": X})[0]
    found = fastnn.from_onnx(model).predict(X.reshape(-1, 4))
    if found.size != right.size:
        right = right.reshape(-1, 2)[:, 1:]
    np.testing.assert_allclose(found, right.reshape(found.shape), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("shape", [["n", "k", 4], [None, None, 4], [1, "n", 4]])
@pytest.mark.parametrize("kind", AT_1)
def test_axis_1_of_three(kind, shape):
    with pytest.raises(ValueError, match=r"axis=1 of 3, must be the last|begins a branch|has no "
                                         "counterpart"):
        fastnn.from_onnx(graph(AT_1[kind], shape))
    check(graph(AT_1[kind], ["n", 4]), (5, 4))


@pytest.mark.parametrize("kind", AT_LAST)
def test_the_last_axis(kind):
    for shape in ((5, 4), (2, 3, 4)):
        check(graph(AT_LAST[kind], [*"nkl"[:len(shape) - 1], 4]), shape)


@pytest.mark.parametrize("kind", MORE)
def test_axes_that_are_added(kind):
    with pytest.raises(ValueError, match="axis=1 of 3, must be the last|has no counterpart|is none"
                       ):
        fastnn.from_onnx(graph(MORE[kind], ["n", 4]))


def test_an_axis_behind_the_last():
    """(n, 4, 1) and (1, 1, 4) make (n, 4, 4)."""
    for how in ("last", "third"):
        nodes = [node("Unsqueeze", ["x", how], ["u"]), node("Add", ["u", "deep"], ["y"])]
        with pytest.raises(ValueError, match=r"\(Unsqueeze\) has no counterpart"):
            fastnn.from_onnx(graph(nodes, ["n", 4]))


def test_axes_that_are_taken_off():
    nodes = [node("Squeeze", ["x", "second"], ["s"]), node("Gemm", ["s", "W"], ["h"]),
             node("Softmax", ["h"], ["y"], axis=1)]
    check(graph(nodes, ["n", 1, 4]), (5, 1, 4))
    del nodes[0].input[1]
    check(graph(nodes, ["n", 1, 4]), (5, 1, 4))
    with pytest.raises(ValueError, match=r"\(Gemm\) multiplies values of 3 axes, must be 2"):
        fastnn.from_onnx(graph(nodes, ["n", "k", 4]))


def test_a_pair_of_several_ones():
    """1 - p of a row of ones has as many columns."""
    model = graph(pair(1), ["n", 4])
    tensor, = (item for item in model.graph.initializer if item.name == "one")
    tensor.CopyFrom(numpy_helper.from_array(np.ones((1, 5), "f"), "one"))
    with pytest.raises(ValueError, match=r"\(Sub\) has no counterpart"):
        fastnn.from_onnx(model)


def test_columns_and_no_layer_behind():
    model = graph(embedding("last")[:-1], ["n", 4])
    model.graph.output[0].name = "a"
    with pytest.raises(ValueError, match="the graph has no fully connected layer"):
        fastnn.from_onnx(model)


@pytest.mark.parametrize("opset", [11, 13])
def test_a_softmax_that_says_no_axis(opset):
    """Before opset 13 it is of all values from axis 1 on."""
    model = graph(softmax(PRODUCT), ["n", "k", 4], opset)
    if opset == 11:
        with pytest.raises(ValueError, match="axis=1 of 3, must be the last"):
            fastnn.from_onnx(model)
    else:
        check(model, (2, 3, 4))
    check(graph(softmax(PRODUCT), ["n", 4], opset), (5, 4))


def test_a_graph_that_says_no_shape_is_one_of_rows(tmp_path):
    """Beside it: what `eps` of batch normalisation is in the format, and after it."""
    net = fastnn.MLP((4, 6, 2), norm="batch", dtype="float64", random_state=0)
    net.fit(np.random.default_rng(0).normal(size=(50, 4)), np.zeros((50, 2)), epochs=1)
    fastnn.export.onnx(net, tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    for value in model.graph.input:
        value.type.tensor_type.ClearField("shape")
    X = np.random.default_rng(1).normal(size=(20, 4))
    expected = net.predict(X)
    found = fastnn.from_onnx(model)
    assert found.predict(X).tobytes() == expected.tobytes()
    assert found.spec == net.spec
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"X": X})[0], expected, rtol=1e-8, atol=1e-12)
