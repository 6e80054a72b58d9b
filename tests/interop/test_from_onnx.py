"""ONNX graphs however they were written, with equal predictions."""

import io
import os
import warnings

import numpy as np
import pytest
from each import each

import fastnn
from fastnn import Dense, LayerNorm, PReLU, Residual
from fastnn.core import _kernels

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
_onnx = pytest.importorskip("fastnn.export._onnx")
helper, numpy_helper = onnx.helper, onnx.numpy_helper

rng = np.random.default_rng(0)
X = rng.normal(size=(50, 4)).astype("f")
NAMES = [name for name in _kernels.ACTIVATIONS if name not in ("exp", "step")]


def run(model, output=None, X=X):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output] if output else None
    return session.run(names, {session.get_inputs()[0].name: X})


def check(model, expected, output=None):
    # values reach 30, in float32
    net = fastnn.from_onnx(model, output=output)
    np.testing.assert_allclose(net.predict(X), expected, rtol=1e-6, atol=1e-5)
    return net


def graph(nodes, constants, inputs=("x",), outputs=("y",)):
    value = lambda name: helper.make_tensor_value_info(name, 1, None)  # noqa: E731
    return helper.make_model(
        helper.make_graph(nodes, "g", list(map(value, inputs)), list(map(value, outputs)),
                          [numpy_helper.from_array(np.asarray(array, "f"), name)
                           for name, array in constants.items()]),
        opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


W, B, V, C = (rng.normal(size=shape).astype("f") for shape in ((4, 6), (6,), (6, 3), (3,)))
WEIGHTS = {"W": W, "B": B, "V": V, "C": C}
node = helper.make_node


# ---- as other libraries write them ----


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each("name", [*NAMES, "step"])
def test_our_own_files(name, dtype, tmp_path):
    import fastnn.export

    net = fastnn.MLP((4, 6, 5, 3), name, "softmax", dtype=dtype, random_state=0)
    path = tmp_path / "m.onnx"
    fastnn.export.onnx(net, path)
    back = fastnn.from_onnx(path)
    assert back.activations == net.activations and back.output == "softmax"
    assert back.dtype == net.dtype
    assert back.parameters.tobytes() == net.parameters.tobytes()


@pytest.mark.parametrize("classes", [[0, 1], ["a", "b", "c"]])
def test_our_own_classifiers_with_a_scaler(classes, tmp_path):
    import fastnn.export

    net = fastnn.MLP((4, 6, 1 if len(classes) == 2 else 3), "tanh",
                     "sigmoid" if len(classes) == 2 else "softmax", random_state=0)
    model = fastnn.Predictor(net, "classification", classes=classes,
                             scaler=fastnn.Scaler([1, 2, 3, 4], [0.5, 2, 1, 3]))
    fastnn.export.onnx(model, tmp_path / "m.onnx")
    back = fastnn.from_onnx(tmp_path / "m.onnx")
    expected = model.predict_proba(X)
    np.testing.assert_allclose(back.predict(X), expected if len(classes) == 3 else expected[:, 1:],
                               rtol=1e-5, atol=1e-6)


TORCH = {"ReLU": "relu", "Tanh": "tanh", "Sigmoid": "sigmoid", "SiLU": "silu", "GELU": "gelu",
         "ELU": "elu", "LeakyReLU": "leaky_relu", "Softplus": "softplus"}


@pytest.mark.parametrize("dynamo", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_files_of_pytorch(dynamo):
    torch = pytest.importorskip("torch")
    if dynamo:
        pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    nn = torch.nn
    layers = [nn.Flatten(), nn.Linear(4, 6)]
    names = ("ReLU", "SiLU", "GELU") if dynamo else tuple(TORCH)  # it takes its time for each
    for name in names:
        layers += [getattr(nn, name)(), nn.Dropout(0.1), nn.Linear(6, 6, bias=name != "Tanh")]
    model = nn.Sequential(*layers, nn.Linear(6, 3), nn.Softmax(dim=1)).eval()
    file = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):
        if dynamo:
            torch.onnx.export(model, (torch.tensor(X),), dynamo=True,
                              verbose=False).save(file)
        else:
            torch.onnx.export(model, torch.tensor(X), file, dynamo=False)
    with torch.no_grad():
        net = check(onnx.load_from_string(file.getvalue()), model(torch.tensor(X)).numpy())
    assert net.activations == (*(TORCH[name] for name in names), "identity")
    assert net.output == "softmax"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_files_of_keras(activation, tmp_path):
    pytest.importorskip("torch")
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "torch":
        pytest.skip("Keras runs on another backend")
    keras.utils.set_random_seed(0)
    model = keras.Sequential([
        keras.Input((4,)), keras.layers.Dense(6, activation), keras.layers.Dense(3, "softmax")])
    expected = model.predict(X, verbose=0)
    model.export(tmp_path / "m.onnx", format="onnx", verbose=False)
    net = check(onnx.load(tmp_path / "m.onnx"), expected)
    assert net.activations == (activation,) and net.output == "softmax"


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("scaled", [False, True])
def test_files_of_skl2onnx(classes, scaled):
    skl2onnx = pytest.importorskip("skl2onnx")
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    with warnings.catch_warnings(action="ignore"):
        est = MLPClassifier((6,), max_iter=5, random_state=0)
        est = make_pipeline(StandardScaler(), est) if scaled else est
        est.fit(X, np.arange(50) % classes)
        model = skl2onnx.to_onnx(est, X[:1], target_opset=17)
    expected = est.predict_proba(X)
    check(model, expected if classes > 2 else expected[:, 1:])


def test_files_of_skl2onnx_for_regression():
    skl2onnx = pytest.importorskip("skl2onnx")
    from sklearn.neural_network import MLPRegressor

    with warnings.catch_warnings(action="ignore"):
        est = MLPRegressor(hidden_layer_sizes=(6,), max_iter=5, random_state=0).fit(X, X[:, 0])
        check(skl2onnx.to_onnx(est, X[:1], target_opset=17), est.predict(X)[:, None])


# ---- by hand ----

PRODUCTS = {
    "gemm": [node("Gemm", ["x", "W", "B"], ["z"])],
    "gemm without bias": [node("Gemm", ["x", "W"], ["z"])],
    "gemm with factors": [node("Gemm", ["x", "W", "B"], ["z"], alpha=0.5, beta=2.0)],
    "matmul": [node("MatMul", ["x", "W"], ["z"])],
    "matmul and bias": [node("MatMul", ["x", "W"], ["p"]), node("Add", ["p", "B"], ["z"])],
    "bias first": [node("MatMul", ["x", "W"], ["p"]), node("Add", ["B", "p"], ["z"])],
    "bias taken off": [node("MatMul", ["x", "W"], ["p"]), node("Sub", ["p", "B"], ["z"])],
    "two biases": [node("Gemm", ["x", "W", "B"], ["p"]), node("Cast", ["p"], ["c"], to=1),
                   node("Add", ["c", "B"], ["z"])],
    "turned weights": [node("Transpose", ["W_T"], ["t"], perm=[1, 0]),
                       node("Identity", ["t"], ["w"]), node("Cast", ["B"], ["b"], to=1),
                       node("Gemm", ["x", "w", "b"], ["z"])],
    "shifted inputs": [node("Sub", ["x", "four"], ["x1"]), node("Div", ["x1", "scale"], ["x2"]),
                       node("Mul", ["x2", "two"], ["x3"]), node("Gemm", ["x3", "W", "B"], ["z"])],
    "turned inputs": [node("Sub", ["four", "x"], ["x1"]), node("Gemm", ["x1", "W", "B"], ["z"])],
    "identities": [node("Identity", ["x"], ["i"]), node("Flatten", ["i"], ["f"]),
                   node("Cast", ["f"], ["c"], to=1), node("Gemm", ["c", "W", "B"], ["z"])],
}
CONSTANTS = {"four": np.arange(4.0), "scale": [1, 2, 0.5, 4], "two": 2.0, "half": 0.5, "one": 1.0,
             "root": np.sqrt(2.0), "zero": 0.0, "slope": 0.01, "odd": 0.3, "hundred": 100.0,
             "W_T": W.T, "by row": rng.normal(size=(6, 1)), "by row of x": rng.normal(size=(4, 1))}
ACTIVATIONS = {
    "relu": [node("Max", ["z", "zero"], ["a"])],
    "leaky_relu": [node("Mul", ["z", "slope"], ["m"]), node("Max", ["z", "m"], ["a"])],
    "silu": [node("Sigmoid", ["z"], ["s"]), node("Mul", ["s", "z"], ["a"])],
    "gelu": [node("Div", ["z", "root"], ["d"]), node("Erf", ["d"], ["e"]),
             node("Add", ["e", "one"], ["o"]), node("Mul", ["z", "o"], ["m"]),
             node("Mul", ["m", "half"], ["a"])],
    "softplus": [node("Exp", ["z"], ["e"]), node("Add", ["one", "e"], ["o"]),
                 node("Log", ["o"], ["a"])],
    "sigmoid": [node("Neg", ["z"], ["n"]), node("Exp", ["n"], ["e"]),
                node("Add", ["e", "one"], ["o"]), node("Reciprocal", ["o"], ["a"])],
    "tanh": [node("Tanh", ["z"], ["a"])],
    "identity": [node("Mul", ["z", "one"], ["a"])],
}


@each("activation", ACTIVATIONS)
@each("product", PRODUCTS)
def test_by_hand(product, activation):
    model = graph([*PRODUCTS[product], *ACTIVATIONS[activation],
                   node("Gemm", ["a", "V", "C"], ["y"])], {**WEIGHTS, **CONSTANTS})
    net = check(model, run(model)[0])
    assert net.activations == (activation,) and net.output == "identity"


def test_constants_as_nodes_and_one_output():
    make = lambda name, a: node("Constant", [], [name],  # noqa: E731
                                value=numpy_helper.from_array(np.asarray(a, "f")))
    model = graph([make("W", W[:, :1]), make("B", [0.25]), node("MatMul", ["x", "W"], ["p"]),
                   node("Add", ["p", "B"], ["z"]), node("Sigmoid", ["z"], ["y"])], {})
    assert check(model, run(model)[0]).sizes == (4, 1)


def test_an_output_by_name():
    model = graph([node("Gemm", ["x", "W", "B"], ["z"]), node("Relu", ["z"], ["a"]),
                   node("Gemm", ["a", "V", "C"], ["y"])], WEIGHTS, outputs=("y", "a"))
    assert check(model, run(model)[0], "y").sizes == (4, 6, 3)
    assert check(model, run(model)[1], "a").sizes == (4, 6)
    with pytest.raises(ValueError, match="outputs y, a; output= must name one"):
        fastnn.from_onnx(model)
    with pytest.raises(ValueError, match="output='q' is not in the graph"):
        fastnn.from_onnx(model, output="q")


FIRST = node("Gemm", ["x", "W", "B"], ["z"])
FIRST_OF_R = node("Gemm", ["r", "W", "B"], ["y"])
LAST = node("Gemm", ["a", "V", "C"], ["y"])


@pytest.mark.parametrize("nodes, message", [
    ([FIRST, node("Conv", ["z", "W"], ["a"], name="conv1"), LAST], r"'conv1' \(Conv\) has no"),
    ([FIRST, node("Selu", ["z"], ["a"], alpha=1.0), LAST],
     r"\(Selu\).* is none of fastnn's activations"),
    ([FIRST, node("Elu", ["z"], ["a"], alpha=0.5), LAST], r"\(Elu\).* is none of"),
    ([FIRST, node("Celu", ["z"], ["a"], alpha=0.5), LAST], r"\(Celu\).* is none of"),
    ([FIRST, node("Pow", ["z", "odd"], ["a"]), LAST], r"\(Pow\).* is none of"),
    ([FIRST, node("Cast", ["z"], ["i"], to=6), node("Cast", ["i"], ["a"], to=1), LAST],
     r"node 'i' \(Cast\) has no"),
    ([FIRST, node("Relu", ["z"], ["a"], domain="my"), LAST], "domain 'my'"),
    ([FIRST, node("Add", ["z", "by row"], ["a"]), LAST], r"'a' \(Add\) has no"),
    ([node("Add", ["x", "by row of x"], ["p"]), node("Gemm", ["p", "W"], ["y"])],
     r"'p' \(Add\) has no"),
    ([node("Gemm", ["x", "W", "by row"], ["y"])], "not a constant row"),
    ([node("Flatten", ["x"], ["f"], axis=0), node("Gemm", ["f", "W"], ["y"])],
     r"'f' \(Flatten\) has no"),
    ([FIRST, node("Sigmoid", ["z"], ["s"]), node("Sub", ["one", "s"], ["n"]),
      node("Concat", ["n", "s"], ["y"], axis=1)], "has 6 columns, where a pair"),
    ([FIRST, node("Softmax", ["z"], ["a"]), LAST], "softmax in a hidden layer"),
    ([FIRST, node("Softmax", ["z"], ["y"], axis=0)], "axis=0"),
    ([node("Gemm", ["x", "W"], ["y"], transA=1)], "transA=1"),
    ([node("MatMul", ["W", "x"], ["y"])], "does not multiply by constant weights"),
    ([node("Tanh", ["x"], ["t"]), node("Gemm", ["t", "W", "B"], ["y"])], "before the first"),
    ([FIRST, node("Gemm", ["z", "V"], ["p"]), node("Gemm", ["z", "V"], ["q"]),
      node("Add", ["p", "q"], ["y"])], "begins a branch|has no counterpart"),
    ([node("Identity", ["x"], ["y"])], "no fully connected layer"),
])
def test_what_is_refused(nodes, message):
    with pytest.raises(ValueError, match=message):
        fastnn.from_onnx(graph(nodes, {**WEIGHTS, **CONSTANTS}))


def test_clips():
    """One bound may be left out, and then stands as an empty name."""
    for bounds, name in ((["zero"], "relu"), (["zero", ""], "relu")):
        model = graph([node("Gemm", ["x", "W", "B"], ["z"]), node("Clip", ["z", *bounds], ["y"])],
                      {**WEIGHTS, **CONSTANTS})
        assert check(model, run(model)[0]).output == name


def test_bounds_that_nothing_is_between():
    """They were taken for none."""
    for kind, bound, message in [
            ("Max", np.nan, "bound that is NaN"), ("Max", np.inf, "not finite"),
            ("Min", -np.inf, "not finite"), ("Max", 1e31, "")]:
        model = graph([node("Gemm", ["x", "W", "B"], ["z"]), node(kind, ["z", "bound"], ["y"])],
                      {**WEIGHTS, "bound": np.float32(bound)})
        if message:
            with pytest.raises(ValueError, match=message):
                fastnn.from_onnx(model)
        else:
            check(model, run(model)[0])


def test_dropout_that_is_told_to_do_nothing():
    """Which is what training_mode says as an input, beside weights as well: an AttributeError."""
    model = graph([node("Dropout", ["W", "half", "no"], ["w"]), node("Gemm", ["x", "w"], ["z"]),
                   node("Identity", ["no"], ["off"]), node("Dropout", ["z", "half", "off"], ["d"]),
                   node("Relu", ["d"], ["y"])], {**WEIGHTS, **CONSTANTS})
    model.graph.initializer.append(numpy_helper.from_array(np.array(False), "no"))
    assert check(model, run(model)[0]).output == "relu"


@pytest.mark.parametrize("op, opset, name", [("Mish", 18, "mish"), ("Celu", 13, "elu")])
def test_operators_of_newer_opsets(op, opset, name):
    model = graph([FIRST, node(op, ["z"], ["a"]), LAST], WEIGHTS)
    model.opset_import[0].version = opset
    assert check(model, run(model)[0]).activations == (name,)


@pytest.mark.parametrize("nodes, message", [
    ([node("Dropout", ["x", "half", "true"], ["d"]), node("Gemm", ["d", "W"], ["y"])],
     r"\(Dropout\) has no counterpart"),
    ([node("Gemm", ["x", "W", "B"], ["z"]), node("Max", ["z", "deep"], ["y"])], "Max"),
    ([node("Gemm", ["x", "w1"], ["z"]), node("Sigmoid", ["z"], ["p"]),
      node("Sub", ["one", "p"], ["q"]), node("Concat", ["q", "p"], ["y"], axis=0)],
     "begins a branch"),
])
def test_what_only_looks_like_a_network(nodes, message):
    model = graph(nodes, {**WEIGHTS, **CONSTANTS, "deep": np.zeros((1, 1, 1)), "w1": W[:, :1]})
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "true"))
    with pytest.raises(ValueError, match=message):
        fastnn.from_onnx(model)


def test_integers_and_old_operators():
    nodes = [node("Div", ["x", "two"], ["h"]), node("Cast", ["h"], ["c"], to=1),
             node("Gemm", ["c", "W"], ["y"])]
    model = graph(nodes, {"W": W})
    model.graph.initializer.append(numpy_helper.from_array(np.array(2), "two"))
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    with pytest.raises(ValueError, match="takes the graph's input as int64"):
        fastnn.from_onnx(model)
    old = graph([node("Gemm", ["x", "W"], ["y"])], {"W": W})
    old.opset_import[0].version = 6
    with pytest.raises(ValueError, match="opset 6, must be 7"):
        fastnn.from_onnx(old)
    with pytest.raises(TypeError, match="model=bytes must be a path"):
        fastnn.from_onnx(b"")


def test_inputs_that_are_no_rows_of_numbers():
    model = graph([node("Gemm", ["x", "W"], ["y"])], {"W": W})
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.STRING
    with pytest.raises(ValueError, match="takes the graph's input as string"):
        fastnn.from_onnx(model)
    model.graph.input[0].type.sequence_type.elem_type.tensor_type.elem_type = 1
    with pytest.raises(ValueError, match="input 'x' is a sequence, must be a tensor of rows"):
        fastnn.from_onnx(model)


def test_a_long_chain_of_factors_is_called_that():
    """It was said to branch."""
    values = ["z", *(f"h{i}" for i in range(49)), "y"]
    factors = [node("Mul", [a, "half"], [b]) for a, b in zip(values, values[1:], strict=False)]
    with pytest.raises(ValueError, match="or takes more steps between two layers"):
        fastnn.from_onnx(graph([FIRST, *factors], {**WEIGHTS, **CONSTANTS}))


def test_a_large_shift_of_the_inputs():
    """In float32 the first layer would take the difference of large numbers."""
    model = graph([node("Sub", ["x", "mean"], ["c"]), node("Div", ["c", "five"], ["s"]),
                   node("Gemm", ["s", "W", "B"], ["y"])],
                  {**WEIGHTS, "mean": [2000.0, 1e6, 0.0, 3.0], "five": 5.0})
    rows = (X * 5 + [2000.0, 1e6, 0.0, 3.0]).astype("f")
    net = fastnn.from_onnx(model)
    assert net.dtype == np.float64
    np.testing.assert_allclose(net.predict(rows), run(model, X=rows)[0], rtol=1e-5, atol=1e-5)


def test_a_large_shift_before_a_layer_that_takes_none():
    """Limits and norms of scaled inputs: the matrix that shifts them was one of float32."""
    mean, scale = np.array([1400.0, -160.0, 0.1, 1e5]), np.array([1e-3, 2e-3, 1.0, -1e-2])
    rows = (mean + scale * X).astype("f")
    for layers in ([Dense(3)], [LayerNorm(), Dense(3)], [PReLU(), Dense(3)],
                   [Residual([Dense(4, "tanh")]), Dense(3)]):
        for limits in (None, (-1, 1.5)):
            model = fastnn.Predictor(fastnn.MLP.of(layers, n_in=4, random_state=0),
                                     scaler=fastnn.Scaler(mean, scale, limits))
            net = fastnn.from_onnx(_onnx.build(model))
            assert net.dtype == np.float64
            np.testing.assert_allclose(net.predict(rows), model.predict(rows), rtol=1e-4,
                                       atol=1e-4, err_msg=f"{layers} {limits}")


def test_two_inputs_and_files(tmp_path):
    with pytest.raises(ValueError, match="inputs x, w; there must be one"):
        fastnn.from_onnx(graph([node("MatMul", ["x", "w"], ["y"])], {}, inputs=("x", "w")))
    with pytest.raises(FileNotFoundError, match="no ONNX file"):
        fastnn.from_onnx(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"not a graph")
    with pytest.raises(ValueError, match="bad.onnx' is not an ONNX file"):
        fastnn.from_onnx(tmp_path / "bad.onnx")


def test_rows_that_a_reshape_cuts():
    model = graph([node("Reshape", ["x", "shape"], ["r"]), FIRST_OF_R], WEIGHTS)
    model.graph.initializer.append(numpy_helper.from_array(np.array([-1, 4]), "shape"))
    dims = model.graph.input[0].type.tensor_type.shape.dim
    dims.add().dim_param, dims.add().dim_value = "n", 8
    with pytest.raises(ValueError, match=r"rows of shape \(8,\), its first layer has 4 inputs"):
        fastnn.from_onnx(model)
    dims[1].dim_value = 2
    dims.add().dim_value = 2
    assert fastnn.from_onnx(model).sizes == (4, 6)


def test_weights_in_a_file_beside(tmp_path):
    """Where that is gone, the graph is an ONNX file still."""
    import fastnn.export

    net = fastnn.MLP((4, 3), dtype="float32", random_state=0)
    fastnn.export.onnx(net, tmp_path / "model.onnx")
    onnx.save(onnx.load(tmp_path / "model.onnx"), tmp_path / "apart.onnx", location="weights.bin",
              save_as_external_data=True, size_threshold=0)
    found = fastnn.from_onnx(tmp_path / "apart.onnx")
    np.testing.assert_array_equal(found.parameters, net.parameters)
    (tmp_path / "weights.bin").write_bytes(b"12")
    with pytest.raises(ValueError, match="the weights of .*apart.onnx' lie in files beside it"):
        fastnn.from_onnx(tmp_path / "apart.onnx")
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ValueError, match="the weights of .*apart.onnx' lie in files beside it"):
        fastnn.from_onnx(tmp_path / "apart.onnx")
