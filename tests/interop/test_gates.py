"""Gates from PyTorch and ONNX, and out again."""

import io

import numpy as np
import pytest
from each import each
from later import importorskip_later

import fastnn
from fastnn import GLU, Activation, Dense, Embed, LayerNorm, Residual

torch = importorskip_later("torch")
nn = importorskip_later("torch.nn")
X = np.random.default_rng(0).normal(size=(20, 5)).astype("float32")


@pytest.fixture(scope="module", autouse=True)
def classes():
    """What derives from classes of PyTorch, which is imported when the first test runs."""
    global Block

    class Block(nn.Module):
        """A function for a gate, and a residual block around one."""

        def __init__(self):
            super().__init__()
            self.first, self.second, self.out = nn.Linear(5, 12), nn.Linear(6, 12), nn.Linear(6, 2)

        def forward(self, x):
            x = nn.functional.glu(self.first(x))
            return self.out(x + nn.functional.glu(self.second(x), dim=1))


MODELS = {
    "Sequential": lambda: nn.Sequential(nn.Linear(5, 8), nn.GLU(), nn.Tanh(), nn.Linear(4, 6),
                                        nn.GLU(dim=1)),
    "Module": lambda: Block(),
}


@each("name", MODELS)
def test_from_torch_by_itself_and_by_onnx(name):
    pytest.importorskip("onnx")
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    wanted = model(torch.from_numpy(X)).detach().numpy()
    file = io.BytesIO()
    torch.onnx.export(model, (torch.from_numpy(X),), file, dynamo=False)
    onnx = pytest.importorskip("onnx")
    graph = onnx.load_from_string(file.getvalue())
    for net in (fastnn.from_torch(model), fastnn.from_onnx(graph)):
        np.testing.assert_allclose(net.predict(X), wanted, atol=2e-6)
        assert sum(op.kind == "glu" for op in net._layout.ops) == 2


@each("gate", ["sigmoid", "silu", "gelu", "relu", "identity", "tanh", "mish", "softplus"])
@each("dtype", ["float32", "float64"])
def test_round_trips_through_onnx(gate, dtype, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    net = fastnn.MLP.of([Dense(12), GLU(gate), Residual([LayerNorm(), Dense(12), GLU(gate)]),
                         Activation("tanh"), Dense(2)], n_in=5, dtype=dtype, random_state=0)
    path = tmp_path / "model.onnx"
    fastnn.export.onnx(net, path)
    rows = X.astype(dtype)
    session = runtime.InferenceSession(str(path))
    found = session.run(None, {session.get_inputs()[0].name: rows})[0]
    np.testing.assert_allclose(found, net.predict(rows), atol=2e-6)
    back = fastnn.from_onnx(path)
    assert back.spec == net.spec
    np.testing.assert_allclose(back.predict(rows), net.predict(rows), atol=2e-6)


def test_what_is_no_gate_is_named():
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    w = numpy_helper.from_array(np.ones((5, 8), "float32"), "w")

    def graph(nodes, **split):
        made = [helper.make_node("MatMul", ["x", "w"], ["z"]),
                helper.make_node("Split", ["z"], ["u", "v"], **{"axis": 1, **split}), *nodes]
        found = helper.make_graph(
            made, "g", [helper.make_tensor_value_info("x", 1, [None, 5])],
            [helper.make_tensor_value_info("y", 1, [None, 4])], [w])
        return helper.make_model(found, opset_imports=[helper.make_opsetid("", 11)])

    product = helper.make_node("Mul", ["u", "v"], ["y"])
    assert fastnn.from_onnx(graph([product])).spec.layers[1] == GLU("identity")
    for model, message in [
            (graph([product], split=[3, 5]), "two halves"),
            (graph([product], axis=0), "two halves"),
            (graph([helper.make_node("Add", ["u", "v"], ["y"])]), "Add. has no counterpart"),
            (graph([helper.make_node("Tanh", ["u"], ["t"]),
                    helper.make_node("Mul", ["t", "v"], ["y"])]), "no counterpart"),
            (graph([helper.make_node("Tanh", ["v"], ["y"])]), "gate|leads|no counterpart"),
            (graph([helper.make_node("Tanh", ["v"], ["t"]),
                    helper.make_node("Mul", ["t", "t"], ["y"])]), "gate|none of|no counterpart")]:
        with pytest.raises(ValueError, match=message):
            fastnn.from_onnx(model)


@each("change, message", [
    (lambda g: setattr(g.node[1], "op_type", "Gemm"), "but as a column of an embedding"),
    (lambda g: g.node[0].input.__setitem__(1, g.node[2].input[1]), "but as a column"),
    (lambda g: g.node[4].input.reverse(), "not put side by side"),
    (lambda g: setattr(g.node[5], "op_type", "Sub"), "not followed by an Add"),
])
def test_columns_that_are_no_embedding(change, message, tmp_path):
    """Slice, MatMul, Slice, MatMul, Concat, Add; one of them is changed."""
    onnx = pytest.importorskip("onnx")
    net = fastnn.MLP.of([Embed(2, (3, 2)), Dense(1)], n_in=5, random_state=0)
    fastnn.export.onnx(net, tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    assert [node.op_type for node in model.graph.node[:6]] == [
        "Slice", "MatMul", "Slice", "MatMul", "Concat", "Add"]
    assert fastnn.from_onnx(model).spec == net.spec
    change(model.graph)
    with pytest.raises(ValueError, match=message):
        fastnn.from_onnx(model)


def test_settings_that_have_no_counterpart():
    with pytest.raises(ValueError, match="dim=0"):
        fastnn.from_torch(nn.Sequential(nn.Linear(5, 8), nn.GLU(dim=0)))
    with pytest.raises(ValueError, match="halves 7 values"):
        fastnn.from_torch(nn.Sequential(nn.Linear(5, 7), nn.GLU()))
    with pytest.raises(ValueError, match="how many inputs"):
        fastnn.from_torch(nn.Sequential(nn.GLU(), nn.Linear(5, 7)))
