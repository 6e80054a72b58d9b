"""Layer normalisation and residual connections of other libraries, with equal predictions."""

import io
import os
import warnings
from importlib.util import find_spec

import numpy as np
import pytest
from later import Later
from layer_cases import error_of, predictors, rows_for

import fastnn
from fastnn import MLP, Activation, Dense, Dropout, LayerNorm, Residual, export

X = np.random.default_rng(0).normal(size=(50, 5))


# ---- our own ONNX files ----


def test_our_own_onnx_files_come_back(tmp_path):
    pytest.importorskip("onnx")
    for i, (name, model) in enumerate(predictors(limits=None)):
        export.onnx(model, tmp_path / "m.onnx", (13, 17, 18)[i % 3])
        back = fastnn.from_onnx(tmp_path / "m.onnx")
        rows = rows_for(model, 200)
        expected = model.predict(rows).reshape(200, -1)
        if "scale" in model.net.spec.needs:  # a factor has become a part of the layer beside it
            assert error_of(back.predict(rows).astype(expected.dtype), expected) <= (
                1e-4 if model.scaler is not None else 1e-6), name
        elif model.scaler is None:
            assert back.n_parameters == model.net.n_parameters and back.dtype == model.net.dtype
            assert error_of(back.predict(rows), expected) <= 1e-6, name
            for mine, read in zip(model.net.get_weights(), back.get_weights(), strict=True):
                assert np.array_equal(mine, read), name
        else:
            np.testing.assert_allclose(back.predict(rows), expected, rtol=1e-4, atol=1e-4,
                                       err_msg=name)


def test_a_network_without_dropout_comes_back_as_it_was(tmp_path):
    pytest.importorskip("onnx")
    for dtype in ("float32", "float64"):
        for settings in ({"norm": "layer"}, {"residual": True},
                         {"norm": "layer", "residual": True}):
            net = MLP((5, 5, 6, 6, 3), "gelu", "softmax", dtype=dtype, random_state=0, **settings)
            for opset in (13, 17, 18):
                export.onnx(net, tmp_path / "m.onnx", opset)
                back = fastnn.from_onnx(tmp_path / "m.onnx")
                assert back.spec == net.spec
                assert back.parameters.tobytes() == net.parameters.tobytes()


# ---- PyTorch ----

torch = Later("torch") if find_spec("torch") else None
nn = Later("torch.nn") if torch else None


@pytest.fixture(scope="module", autouse=True)
def classes():
    """What derives from classes of PyTorch, which is imported when the first test runs."""
    global Block, Net
    if torch is None:
        return

    class Block(nn.Module):
        """x + f(norm(x)), as transformers have it."""

        def __init__(self, n, function=None):
            super().__init__()
            self.norm, self.first, self.second = nn.LayerNorm(n), nn.Linear(n, 7), nn.Linear(7, n)
            self.function = function or nn.functional.gelu

        def forward(self, x):
            return x + self.second(self.function(self.first(self.norm(x))))

    class Net(nn.Module):
        """Additions and activations in all forms."""

        def __init__(self):
            super().__init__()
            self.start = nn.Sequential(nn.Flatten(), nn.Linear(5, 6), nn.LayerNorm(6, bias=False))
            self.blocks = nn.ModuleList([Block(6), Block(6, torch.tanh)])
            self.a, self.b, self.c = nn.Linear(6, 6), nn.Linear(6, 6, bias=False), nn.Linear(6, 6)
            self.plain = nn.LayerNorm((6,), 1e-2, elementwise_affine=False)
            self.last, self.drop = nn.Linear(6, 3), nn.Dropout(0.25)
            self.rectify = nn.ReLU(inplace=True)

        def forward(self, x):
            x = nn.functional.relu(self.start(x))
            for block in self.blocks:
                x = block(x)
            out = self.rectify(self.a(x))
            out += x
            out = torch.add(self.drop(self.b(out).sigmoid()), out)
            y = out.add(nn.functional.leaky_relu(self.c(out + self.a(out)), 0.01))
            y = self.plain(y + y.tanh())
            return torch.softmax(self.last(nn.functional.silu(y)), dim=-1)


def residual_nets():
    class Skip(nn.Sequential):
        def forward(self, x):
            return x + super().forward(x)

    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(5, 5), nn.LayerNorm(5)

        def forward(self, x):
            for _ in range(2):
                x = self.two(self.one(x).relu_()) + x
            return self.one(x)

    yield Net()
    yield Shared()
    yield Skip(nn.Linear(5, 5), nn.Tanh())
    yield nn.Sequential(nn.LayerNorm(5), nn.Linear(5, 6), nn.LayerNorm(6), nn.ReLU(),
                        nn.Dropout(0.1), nn.Linear(6, 6), nn.LayerNorm(6, 1e-3, False))
    yield nn.Sequential(nn.Linear(5, 6), Block(6), Skip(nn.ReLU(), nn.Linear(6, 6)),
                        nn.Sequential(nn.Linear(6, 4), Block(4, nn.functional.elu)), nn.Sigmoid())
    yield torch.fx.symbolic_trace(Block(5))


def output_of(model, dtype):
    with torch.no_grad():
        return model.eval()(torch.tensor(X, dtype=dtype)).numpy()


@pytest.mark.skipif(torch is None, reason="needs PyTorch")
def test_networks_of_pytorch():
    torch.manual_seed(0)
    for model in residual_nets():
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.5)
        for dtype, tolerance in ((torch.float32, 2e-6), (torch.float64, 1e-12)):
            model = model.to(dtype)
            net = fastnn.from_torch(model)
            expected = output_of(model, dtype)
            assert net.dtype == expected.dtype and not net.spec.is_chain
            assert error_of(net.predict(X), expected) <= tolerance, model


@pytest.mark.skipif(torch is None, reason="needs PyTorch")
def test_what_layers_of_pytorch_become():
    block = Block(5)
    block.norm.eps = 0.5
    net = fastnn.from_torch(nn.Sequential(block, nn.Dropout(0.5), nn.Linear(5, 2), nn.LayerNorm(2),
                                          nn.Tanh()))
    assert net.spec.layers == (
        Residual([LayerNorm(0.5), Dense(7, "gelu"), Dense(5)]), Dropout(0.5), Dense(2), LayerNorm())
    assert net.output == "tanh"

    class Chain(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2))

        def forward(self, x):
            return self.layers(torch.flatten(x, 1))

    model = Chain()
    net = fastnn.from_torch(model)
    assert net.spec.is_chain and repr(net) == repr(fastnn.from_torch(model.layers))
    assert net.parameters.tobytes() == fastnn.from_torch(model.layers).parameters.tobytes()


def torch_refusals():
    """Bodies of forward(self, x), with what the error says."""
    f = nn.functional if torch else None
    return [
        (lambda m, x: 2 * m.a(x), TypeError, "calls mul"),
        (lambda m, x: m.a(x) + 1, TypeError, "must add two values"),
        (lambda m, x: torch.add(x, m.a(x), alpha=2), TypeError, "must add two values"),
        (lambda m, x: m.a(x) - x, TypeError, "calls sub"),
        (lambda m, x: f.gelu(m.a(x), approximate="tanh"), ValueError, "approximate='tanh'"),
        (lambda m, x: f.leaky_relu(m.a(x)) + f.leaky_relu(m.a(x), 0.2), ValueError, "2 inputs"),
        (lambda m, x: m.a(x).clamp(0, float("nan")), ValueError, "bound that is NaN"),
        (lambda m, x: (lambda y: y.clamp(y))(m.a(x)), TypeError, "bounds that are no numbers"),
        (lambda m, x: f.softmax(m.a(x), 0), ValueError, "dim=0"),
        (lambda m, x: f.softmax(m.a(x), -1, dtype=torch.float64), TypeError, "softmax with"),
        (lambda m, x: f.dropout(m.a(x), 0.5), TypeError, "calls dropout"),
        (lambda m, x: m.a(x) + m.b(x), ValueError, "2 inputs; the layers must be a chain"),
        (lambda m, x: m.b(m.a(x)) + m.b(x), ValueError, "2 inputs"),
        (lambda m, x: x + x, ValueError, "2 inputs"),
        (lambda m, x: x + m.c(x), ValueError, "adds 5 values to 1"),
        (lambda m, x: x + m.c(x) + x, ValueError, "adds 5 values to 1"),
        (lambda m, x: (m.a(x), x), TypeError, "one output"),
        (lambda m, x: m.a(x) if x.sum() > 0 else x, TypeError, "torch.fx cannot follow"),
        (lambda m, x: m.a(x).relu_() + m.a(x.relu_()), ValueError, "2 inputs"),
        (lambda m, x: x + m.a(x.relu_()), TypeError, "writes over a value that is read later"),
        (lambda m, x: x + m.a(m.over(x)), TypeError, "writes over a value that is read later"),
        (lambda m, x: x + m.a(f.relu(m.same(x), inplace=True)), TypeError, "writes over"),
        (lambda m, x: written(m.a(x)), TypeError, "relu_, which leads not to the output"),
        (lambda m, x: m.norm2(m.a(x)), ValueError, "normalized_shape"),
        (lambda m, x: m.norm0(m.a(x)), ValueError, "eps=0"),
        (lambda m, x: m.batch(m.a(x)), ValueError, "layer batch .GroupNorm. has no counterpart"),
        (lambda m, x: m.norm(m.c(x)), ValueError, "takes 5 inputs, the layer before it has 1"),
        (lambda m, x: m.a.weight + x, TypeError, "reads"),
    ]


def written(x):
    x.relu_()
    return x


@pytest.mark.skipif(torch is None, reason="needs PyTorch")
def test_what_is_refused_of_pytorch():
    class Model(nn.Module):
        def __init__(self, body):
            super().__init__()
            self.body = body
            self.a, self.b, self.c = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 1)
            self.norm, self.norm0 = nn.LayerNorm(5), nn.LayerNorm(5, eps=0)
            self.norm2, self.batch = nn.LayerNorm((5, 5)), nn.GroupNorm(1, 5)
            self.over, self.same = nn.ReLU(inplace=True), nn.Identity()

        def forward(self, x):
            return self.body(self, x)

    for body, error, message in torch_refusals():
        with pytest.raises(error, match=message):
            fastnn.from_torch(Model(body))
        with pytest.raises(ValueError):
            fastnn.from_torch(nn.Sequential(Model(body), nn.Linear(5, 2)))
    for place, change in (
            ("the model", lambda m: m.register_forward_hook(lambda m, x, y: y * 2)),
            ("layer a", lambda m: m.a.register_forward_pre_hook(lambda m, x: x)),
            ("layer a", lambda m: setattr(m.a, "forward", lambda x: x))):
        model = Model(lambda m, x: x + m.a(x))
        change(model)
        with pytest.raises(ValueError, match=rf"{place} \(.*\) has hooks"):
            fastnn.from_torch(model)
    with pytest.raises(TypeError, match="must be a torch.nn.Sequential"):
        fastnn.from_torch(nn.LayerNorm(5))


@pytest.mark.skipif(torch is None, reason="needs PyTorch")
def test_onnx_files_of_pytorch():
    onnx = pytest.importorskip("onnx")
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(5, 6), nn.LayerNorm(6), nn.GELU(), Block(6), Block(6, torch.tanh),
        nn.LayerNorm(6, elementwise_affine=False), nn.Linear(6, 3)).eval()
    for norm in model.modules():
        if isinstance(norm, nn.LayerNorm) and norm.weight is not None:
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)
    for opset in (14, 17):
        file, rows = io.BytesIO(), torch.tensor(X, dtype=torch.float32)
        with warnings.catch_warnings(action="ignore"):
            torch.onnx.export(model, rows, file, dynamo=False, opset_version=opset)
        net = fastnn.from_onnx(onnx.load_from_string(file.getvalue()))
        assert error_of(net.predict(X), output_of(model, torch.float32)) <= 2e-6, opset
        assert net.spec == fastnn.from_torch(model).spec


# ---- ONNX by hand ----


def test_what_is_refused_of_onnx():
    onnx = pytest.importorskip("onnx")
    node = onnx.helper.make_node
    rng = np.random.default_rng(0)
    constants = {"W": rng.normal(size=(5, 5)), "V": rng.normal(size=(5, 1)), "g": np.ones(5),
                 "g4": np.ones(4), "two": np.array(2.0), "eps": np.array(1e-5),
                 "zero": np.array(0.0)}

    def read(nodes):
        values = [onnx.helper.make_tensor_value_info(name, 1, shape)
                  for name, shape in (("x", ["n", 5]), ("y", None))]
        tensors = [onnx.numpy_helper.from_array(array.astype("f"), name)
                   for name, array in constants.items()]
        graph = onnx.helper.make_graph(nodes, "g", values[:1], values[1:], tensors)
        return fastnn.from_onnx(onnx.helper.make_model(
            graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=10))

    dense = [node("MatMul", ["x", "W"], ["z"])]
    norm = [node("ReduceMean", ["z"], ["m"], axes=[-1]), node("Sub", ["z", "m"], ["d"]),
            node("Pow", ["d", "two"], ["s"]), node("ReduceMean", ["s"], ["v"], axes=[-1]),
            node("Add", ["v", "eps"], ["e"]), node("Sqrt", ["e"], ["r"]),
            node("Div", ["d", "r"], ["y"])]
    assert read(dense + norm).spec.layers == (Dense(5), LayerNorm(1e-5))
    twice = [node("Add", ["z", "y1"], ["y"])]
    branch = [node("MatMul", ["z", "W"], ["y1"])]
    assert read(dense + branch + twice).spec.layers == (Dense(5), Residual([Dense(5)]))
    changed = lambda i, *args, **kwargs: [  # noqa: E731
        *norm[:i], node(*args, **kwargs), *norm[i + 1:]]
    for nodes, message in (
            (changed(0, "ReduceMean", ["z"], ["m"], axes=[0]), "has no counterpart"),
            (changed(0, "ReduceMean", ["x"], ["m"], axes=[-1]), "has no counterpart|begins"),
            (changed(1, "Sub", ["m", "z"], ["d"]), "has no counterpart"),
            (changed(2, "Pow", ["d", "eps"], ["s"]), "has no counterpart"),
            (changed(4, "Add", ["v", "g"], ["e"]), "has no counterpart"),
            (changed(4, "Add", ["v", "zero"], ["e"]), "eps=0.0"),
            (changed(5, "Sqrt", ["v"], ["r"]), "has no counterpart"),
            (changed(6, "Div", ["r", "d"], ["y"]), "has no counterpart"),
            (changed(6, "Div", ["z", "r"], ["y"]), "has no counterpart"),
            ([node("LayerNormalization", ["z", "g"], ["y"], axis=0)], "axis=0"),
            ([node("LayerNormalization", ["z", "g4"], ["y"])], "takes 4 inputs"),
            ([node("LayerNormalization", ["z", "z"], ["y"])], "constant gain and bias"),
            ([node("MatMul", ["z", "V"], ["p"]), node("Add", ["z", "p"], ["y"])],
             "adds 5 values to 1"),
            ([*branch, node("Add", ["y1", "x"], ["y"])], None),
            ([*branch, node("Relu", ["z"], ["q"]), node("Add", ["y1", "q"], ["y"])],
             "begins a branch|has no counterpart"),
            ([*branch, node("Sub", ["z", "y1"], ["y"])], "begins a branch|has no counterpart"),
            ([node("MatMul", ["z", "W"], ["y1"]), node("Add", ["x", "y1"], ["y2"]),
              node("MatMul", ["y2", "W"], ["y3"]), node("Add", ["z", "y3"], ["y"])],
             "nothing leads"),
            ([node("Add", ["z", "z"], ["y"])], "is none of fastnn's activations")):
        if message is None:
            assert read(dense + nodes).spec.layers == (Residual([Dense(5), Dense(5)]),)
            continue
        with pytest.raises(ValueError, match=message):
            read(dense + nodes)


# ---- Keras, scikit-learn ----


def test_networks_of_keras():
    os.environ.setdefault("KERAS_BACKEND", "torch" if torch else "numpy")
    keras = pytest.importorskip("keras")
    layers = keras.layers
    keras.utils.set_random_seed(0)

    def block(x, n):
        y = layers.LayerNormalization(scale=n % 2 == 0, epsilon=0.01)(x)
        y = layers.Dense(n, "gelu", kernel_initializer="random_normal")(y)
        return layers.Add()([layers.Dropout(0.5)(layers.Dense(n)(y)), x])

    def model_of(function):
        inputs = keras.Input((5,))
        return keras.Model(inputs, function(inputs))

    inner = model_of(lambda x: block(layers.LayerNormalization(center=False)(x), 5))
    models = [
        keras.Sequential([layers.Input((5,)), layers.LayerNormalization(), layers.Dense(6, "relu"),
                          layers.LayerNormalization(center=False, scale=False),
                          layers.Activation("tanh"), layers.Dense(2, "softmax")]),
        model_of(lambda x: layers.Dense(3)(block(block(layers.Dense(6)(x), 6), 6))),
        model_of(lambda x: x + layers.Activation("tanh")(inner(inner(x)))),
        keras.Sequential([layers.Input((5,)), layers.Dense(5), inner, layers.Dense(4)])]
    for model in models:
        rng = np.random.default_rng(0)
        model.set_weights([rng.normal(size=w.shape, scale=0.5) for w in model.get_weights()])
        net = fastnn.from_keras(model)
        expected = keras.ops.convert_to_numpy(model(X.astype("f")))
        assert error_of(net.predict(X), expected) <= 3e-6
    assert net.spec.layers[:2] == (Dense(5), LayerNorm(1e-3))
    assert net.spec.layers[2].layers == (LayerNorm(0.01), Dense(5, "gelu"), Dense(5), Dropout(0.5))

    dense = layers.Dense(5)
    for function, message in (
            (lambda x: layers.LayerNormalization(rms_scaling=True)(dense(x)), "rms_scaling=True"),
            (lambda x: layers.RMSNormalization()(dense(x)), "RMSNormalization"),
            (lambda x: layers.Add(name="sum")([dense(x), layers.Dense(5)(x)]),
             "'sum' has 2 inputs"),
            (lambda x: layers.Add(name="sum")([x, dense(x), x]), "'sum' has 3 inputs"),
            (lambda x: layers.Add(name="sum")([x, x]), "'sum' has 2 inputs"),
            (lambda x: layers.Subtract(name="minus")([x, dense(x)]), "'minus' has 2 inputs"),
            (lambda x: x + layers.Dense(1)(x), "adds 5 values to 1")):
        with pytest.raises(ValueError, match=message):
            fastnn.from_keras(model_of(function))
    inputs = keras.Input((4, 5))
    for axis, message in (([1, 2], "3 axes"), (-1, "3 axes")):
        with pytest.raises(ValueError, match=message):
            fastnn.from_keras(keras.Model(inputs, layers.LayerNormalization(axis=axis)(inputs)))


def test_networks_that_scikit_learn_has_not():
    for net in (MLP((3, 4, 2), norm="layer"), MLP((3, 3, 2), residual=True),
                MLP.of([Dense(3), Activation("relu"), Dense(2)], n_in=3)):
        with pytest.raises(ValueError, match=r"MLP.of\(\[.*is no chain of Dense layers"):
            fastnn.to_sklearn(net)
