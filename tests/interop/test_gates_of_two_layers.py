"""Gates that ONNX graphs write as two linear layers: SwiGLU as Shazeer (2020) writes it."""

import io

import numpy as np
import pytest
from each import each

import fastnn
from fastnn import GLU

onnx = pytest.importorskip("onnx")
helper, numpy_helper = onnx.helper, onnx.numpy_helper
rng = np.random.default_rng(0)
ARRAYS = {name: rng.normal(size=shape).astype("float32")
          for name, shape in {"w1": (5, 7), "w2": (5, 7), "w3": (7, 5), "w4": (5, 4), "b1": (7,),
                              "b2": (7,), "b3": (5,)}.items()}
X = rng.normal(size=(20, 5)).astype("float32")


def graph_of(text, n_out=5):
    """Nodes "Kind a b > c", one a line, from x to y, with `ARRAYS` as weights."""
    nodes = []
    for line in text.strip().splitlines():
        (kind, *inputs), output = line.split(">")[0].split(), line.split(">")[1].split()
        nodes.append(helper.make_node(kind, inputs, output))
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, [None, 5])],
        [helper.make_tensor_value_info("y", 1, [None, n_out])],
        [numpy_helper.from_array(array, name) for name, array in ARRAYS.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def silu(z):
    return z / (1 + np.exp(-z))


SWIGLU = """
Gemm x w1 b1 > v
Sigmoid v > s
Mul v s > gate
{second} > u
Mul {order} > h
Gemm h w3 b3 > {end}"""


@each("order", ["gate u", "u gate"])
@each("second", ["Gemm x w2 b2", "MatMul x w2", "MatMul x w2 > m\nAdd b2 m"])
def test_swiglu(order, second):
    model = graph_of(SWIGLU.format(order=order, second=second, end="y"))
    net = fastnn.from_onnx(model)
    assert net.spec.layers[1] == GLU("silu")
    a = {name: array.astype(float) for name, array in ARRAYS.items()}
    u = X @ a["w2"] + (a["b2"] if "b2" in second else 0)
    wanted = (u * silu(X @ a["w1"] + a["b1"])) @ a["w3"] + a["b3"]
    np.testing.assert_allclose(net.predict(X), wanted, rtol=1e-5, atol=1e-5)
    runtime = pytest.importorskip("onnxruntime")
    found = runtime.InferenceSession(model.SerializeToString()).run(None, {"x": X})[0]
    np.testing.assert_allclose(net.predict(X), found, rtol=1e-6, atol=1e-6 * abs(found).max())


def test_in_a_residual_block_and_out_again(tmp_path):
    text = SWIGLU.format(order="gate u", second="Gemm x w2 b2", end="r") + "\nAdd x r > y"
    net = fastnn.from_onnx(graph_of(text))
    a = {name: array.astype(float) for name, array in ARRAYS.items()}
    wanted = X + (X @ a["w2"] + a["b2"]) * silu(X @ a["w1"] + a["b1"]) @ a["w3"] + a["b3"]
    np.testing.assert_allclose(net.predict(X), wanted, rtol=1e-5, atol=1e-5)
    fastnn.export.onnx(net, tmp_path / "model.onnx")
    assert fastnn.from_onnx(tmp_path / "model.onnx").spec == net.spec


@each("gate", ["Sigmoid v > gate", "Tanh v > gate", "Relu v > gate", "Identity v > gate"])
def test_other_gates(gate):
    model = graph_of(f"Gemm x w1 b1 > v\n{gate}\nGemm x w2 b2 > u\nMul u gate > y", 7)
    name = gate.split()[0].lower()
    net = fastnn.from_onnx(model)
    assert net.spec.layers[1] == GLU(name)
    function = {"sigmoid": lambda z: 1 / (1 + np.exp(-z)), "tanh": np.tanh,
                "relu": lambda z: np.maximum(z, 0), "identity": lambda z: z}[name]
    wanted = (X @ ARRAYS["w2"] + ARRAYS["b2"]) * function(X @ ARRAYS["w1"] + ARRAYS["b1"])
    np.testing.assert_allclose(net.predict(X), wanted, rtol=1e-5, atol=1e-5)


@each("text", [
    "Gemm x w1 b1 > v\nGemm x w2 b2 > u\nAdd u v > y",
    "Gemm x w1 b1 > v\nGemm x w4 > u\nSigmoid v > s\nMul s u > y",
    "Gemm x w1 b1 > v\nGemm x w2 b2 > u\nTanh u > t\nSigmoid v > s\nMul s t > y",
    "Gemm x w1 b1 > v\nGemm x w2 b2 > u\nSigmoid v > s\nMul u s > m\nMul m u > y",
    "Gemm x w1 b1 > v\nGemm x w2 b2 > u\nCos v > s\nMul u s > y",
])
def test_what_is_no_gate_is_named(text):
    with pytest.raises(ValueError, match="begins a branch beside .*no gate of"):
        fastnn.from_onnx(graph_of(text, 7))


def test_a_module_of_pytorch():
    torch = pytest.importorskip("torch")

    class SwiGLU(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.w1, self.w2 = torch.nn.Linear(5, 8), torch.nn.Linear(5, 8, bias=False)
            self.w3 = torch.nn.Linear(8, 3)

        def forward(self, x):
            return self.w3(torch.nn.functional.silu(self.w1(x)) * self.w2(x))

    torch.manual_seed(0)
    model, rows, file = SwiGLU().eval(), torch.from_numpy(X), io.BytesIO()
    torch.onnx.export(model, (rows,), file, dynamo=False)
    net = fastnn.from_onnx(onnx.load_from_string(file.getvalue()))
    np.testing.assert_allclose(net.predict(X), model(rows).detach().numpy(), atol=1e-6)
