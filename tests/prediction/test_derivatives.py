"""Derivatives with respect to the inputs, beside finite differences and PyTorch."""

import threading

import numpy as np
import pytest
import scipy.sparse as sp
from each import each
from torch_twin import twin_of

import fastnn
from fastnn import (
    GLU,
    Activation,
    BatchNorm,
    Dense,
    Dropout,
    Embed,
    Heads,
    LayerNorm,
    PReLU,
    Repeat,
    Residual,
    Scale,
)
from fastnn.core import _kernels
from fastnn.prediction import derivatives

BLOCK = 96  # rows of a block
ACTIVATIONS = [name for name in _kernels.ACTIVATIONS if name != "step"]
OUTPUTS = ["identity", "softmax", "sigmoid", "exp", "tanh", "gelu"]
SIZES = [(5, 7, 9, 3), (3, 8, 7), (4, 3), (4, 200, 5), (2, 6, 9), (1, 4, 1)]
LAYERS = {
    "norm": [LayerNorm(), Dense(8, "tanh"), Residual([Dense(8, "relu"), LayerNorm(), Dense(8)]),
             Dense(3)],
    "residual of the inputs": [Residual([Dense(5, "tanh"), Residual([Dense(5, "silu")])]), Dense(9),
                               LayerNorm(), Activation("gelu")],
    "activation first": [Residual([Activation("tanh")]), Dense(9), Activation("softplus")],
    "dropout": [Dense(6, "relu"), Dropout(0.5), Dense(4)],
    "sum last": [Dense(5), Residual([Dense(5, "relu"), Dense(5)])],
    "python": [Dense(6, fastnn.CustomActivation(np.sin, np.cos)), Dense(2)],
    "batch norm": [Dense(8), BatchNorm(), Activation("tanh"), Dense(6, "relu"), BatchNorm(),
                   Dense(3)],
    "batch norm first": [BatchNorm(), Residual([BatchNorm(), Dense(5, "silu")]), Dense(4)],
    "scale": [Scale(), Dense(7, "gelu"), Scale(), Dense(3)],
    "prelu": [PReLU(), Dense(8), PReLU(per_unit=False), Dense(7), PReLU(), Dense(3), Scale()],
    "embed": [Embed(4, (2, 3)), Activation("tanh"), Dense(3)],
    "gates": [Dense(8), GLU("silu"), Dense(6), GLU("sigmoid"), Dense(3)],
    "gates of embeddings": [Embed(3, (1, 4)), GLU("gelu"), Residual([Dense(6), GLU("identity")]),
                            Repeat(2), Dense(6), GLU("relu"), Heads(3, 2)],
    "members": [Repeat(4), Dense(8, "relu"), Dense(7, "tanh"), Heads(3, 4)],
    "member": [Repeat(1), Dense(8, "relu"), Dense(7, "relu"), Heads(3, 1)],
    "members wide": [Repeat(3), Dense(8, "tanh"), Heads(9, 3)],
    "heads alone": [Repeat(5), Heads(3, 5)],
    "members behind layers": [
        Dense(6, "relu"), Dense(7, "relu"), Repeat(3), Residual([Dense(7, "tanh"), BatchNorm()]),
        PReLU(), LayerNorm(), Scale(), Residual([Activation("gelu")]), Heads(3, 3)],
    "members and python": [Repeat(2), Dense(6, fastnn.CustomActivation(np.sin, np.cos)),
                           Heads(3, 2)],
}


def chain(sizes, activation="tanh", output="identity", dtype="float64"):
    net = fastnn.MLP(sizes, activation, output, dtype=dtype, random_state=1)
    rng = np.random.default_rng(5)
    for bias in net.biases:
        bias[:] = rng.normal(size=len(bias)) * 0.1
    return net


def of_layers(name, output="softmax", dtype="float64"):
    net = fastnn.MLP.of(LAYERS[name], n_in=5, output=output, dtype=dtype, random_state=0)
    rng = np.random.default_rng(6)
    net.set_weights([w + 0.2 * rng.uniform(size=w.shape) for w in net.get_weights()])
    return net


def rows(net, n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, net.sizes[0])).astype(net.dtype)


def differences(net, X, step=1e-6):
    """Central differences of the outputs, (n_samples, n_out, n_in)."""
    columns = []
    for i in range(X.shape[1]):
        to = np.zeros_like(X)
        to[:, i] = step
        columns.append((net.predict(X + to) - net.predict(X - to)) / (2 * step))
    return np.stack(columns, axis=-1)


def assert_products(net, X):
    """`jvp` and `vjp` are those of `jacobian`."""
    J = net.jacobian(X)
    rng = np.random.default_rng(3)
    V = rng.normal(size=X.shape).astype(net.dtype)
    U = rng.normal(size=(len(X), J.shape[1])).astype(net.dtype)
    limit = 50 * np.finfo(net.dtype).eps * (1 + np.abs(J).max()) * J.shape[1] * J.shape[2]
    assert np.abs(net.jvp(X, V) - np.einsum("rji,ri->rj", J, V)).max() < limit
    assert np.abs(net.vjp(X, U) - np.einsum("rji,rj->ri", J, U)).max() < limit
    return J


@each("activation, output, sizes", [
    *((activation, "identity", sizes) for activation in ACTIVATIONS for sizes in SIZES[:2]),
    *(("tanh", output, sizes) for output in OUTPUTS for sizes in SIZES)])
def test_chains_beside_finite_differences(activation, output, sizes):
    net = chain(sizes, activation, output)
    for n in (1, 3):
        X = rows(net, n)
        found = differences(net, X)
        assert np.abs(assert_products(net, X) - found).max() < 1e-7 * (1 + np.abs(found).max())


@each("name, output", [(name, output) for name in LAYERS for output in ("softmax", "tanh")])
def test_layers_beside_finite_differences(name, output):
    net = of_layers(name, output)
    for n in (1, BLOCK + 3):
        X = rows(net, n)
        found = differences(net, X)
        assert np.abs(assert_products(net, X) - found).max() < 1e-7 * (1 + np.abs(found).max())


@each("name", ["members", "members wide", "members behind layers", "batch norm"])
def test_logits_of_layers(name):
    """Those of an ensemble are the mean of the members' ones."""
    net, raw = of_layers(name, "softmax"), of_layers(name, "identity")
    for n in (1, 150):
        X = rows(net, n)
        assert (net.jacobian(X, logits=True) == raw.jacobian(X)).all()
        U, V = rows(net, n, 1)[:, :1] * np.ones(raw.sizes[-1]), rows(net, n, 2)
        assert (net.vjp(X, U, logits=True) == raw.vjp(X, U)).all()
        assert (net.jvp(X, V, logits=True) == raw.jvp(X, V)).all()


@each("sizes, output", [(sizes, output) for sizes in SIZES[:2] for output in ("softmax", "exp")])
def test_logits(sizes, output):
    net, raw = chain(sizes, "tanh", output), chain(sizes, "tanh", "identity")
    X = rows(net, 4)
    assert (net.jacobian(X, logits=True) == raw.jacobian(X)).all()
    U, V = np.ones((4, sizes[-1])), np.ones((4, sizes[0]))
    assert (net.vjp(X, U, logits=True) == raw.vjp(X, U)).all()
    assert (net.jvp(X, V, logits=True) == raw.jvp(X, V)).all()


@each("name", ["chain", *LAYERS])
def test_float32_is_near_float64(name):
    if "python" in name:
        return
    nets = [chain((5, 70, 9), dtype=dtype) if name == "chain" else of_layers(name, dtype=dtype)
            for dtype in ("float32", "float64")]
    nets[1].set_weights(nets[0].get_weights())
    for n in (1, 200):
        X = rows(nets[0], n)
        wide = nets[1].jacobian(X.astype(float))
        assert np.abs(nets[0].jacobian(X) - wide).max() < 2e-5 * (1 + np.abs(wide).max())
        assert_products(nets[0], X)


@each("name", ["chain", "back", *LAYERS])
def test_bytes_do_not_depend_on_threads(name):
    net = {"chain": lambda: chain((5, 64, 70, 3), "relu", dtype="float32"),
           "back": lambda: chain((3, 64, 70, 5), "gelu", dtype="float32")}.get(
               name, lambda: of_layers(name, dtype="float32"))()
    X = rows(net, 9 * BLOCK + 5)
    V, U = rows(net, len(X), 1), np.ones((len(X), net.sizes[-1]), net.dtype)
    found = []
    for n_threads in (1, 2, 3, 8):
        net.n_threads = n_threads
        found.append([net.jacobian(X).tobytes(), net.jvp(X, V).tobytes(), net.vjp(X, U).tobytes()])
    assert all(one == found[0] for one in found)


def test_a_row_by_itself_is_near_that_of_a_batch():
    for net in (chain((20, 64, 64, 2), "relu"), of_layers("norm")):
        X = rows(net, 300)
        J = net.jacobian(X)
        for r in (0, 95, 96, 299):
            assert np.allclose(net.jacobian(X[r:r + 1])[0], J[r], rtol=1e-12, atol=1e-13)


@each("form", [np.asfortranarray, np.ndarray.tolist, sp.csr_matrix,
               lambda X: X.astype(">f8"), lambda X: np.repeat(X, 2, axis=1)[:, ::2]])
def test_forms_of_the_rows(form):
    net = chain((5, 7, 3))
    X = rows(net, 4)
    assert (net.jacobian(form(X)) == net.jacobian(X)).all()


def test_no_rows():
    net = chain((5, 7, 3))
    X = np.zeros((0, 5))
    assert net.jacobian(X).shape == (0, 3, 5)
    assert net.jvp(X, X).shape == (0, 3)
    assert net.vjp(X, np.zeros((0, 3))).shape == (0, 5)


def test_nan_stays_in_its_row():
    net = chain((5, 7, 3))
    X = rows(net, 120)
    clean = net.jacobian(X)
    X[7, 2] = np.nan
    J = net.jacobian(X)
    assert np.isnan(J[7]).all()
    assert (np.delete(J, 7, axis=0) == np.delete(clean, 7, axis=0)).all()


@each("call, message", [
    (lambda net, X: net.jacobian(X[:, :4]), "X has 4 columns, must have 5"),
    (lambda net, X: net.jacobian(X[0]), r"X.reshape\(1, -1\)"),
    (lambda net, X: net.jvp(X, X[:2]), "V has 2 rows, must have one for each of the 4 of X"),
    (lambda net, X: net.vjp(X, X), "U has 5 columns, must have 3"),
])
def test_arrays_that_do_not_fit(call, message):
    net = chain((5, 7, 3))
    with pytest.raises(ValueError, match=message):
        call(net, rows(net, 4))


@pytest.mark.parametrize("logits", ["no", 1, None, 0.0])
def test_logits_are_a_flag(logits):
    """A text such as "no" was taken for True."""
    net, X = chain((5, 7, 3), output="softmax"), np.zeros((1, 5))
    for call in (net.jacobian, fastnn.Predictor(net).predict_jacobian,
                 lambda X, **flag: net.jvp(X, X, **flag),
                 lambda X, **flag: net.vjp(X, np.zeros((1, 3)), **flag)):
        with pytest.raises(TypeError, match=f"logits={logits!r} must be True or False"):
            call(X, logits=logits)


def test_a_layer_that_is_not_known_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(derivatives, "KINDS", ("dense", "copy", "add"))
    with pytest.raises(ValueError, match="derivatives of a layer of kind 'layer_norm'"):
        of_layers("norm").jacobian(np.zeros((1, 5)))


def test_steps_have_no_jacobian():
    X = np.zeros((2, 5))
    hidden = fastnn.MLP((5, 7, 3), ["step"], dtype="float64", random_state=0)
    output = fastnn.MLP((5, 7, 3), output="step", dtype="float64", random_state=0)
    calls = [lambda net: net.jacobian(X), lambda net: net.jvp(X, X),
             lambda net: net.vjp(X, np.zeros((2, 3)))]
    for net in (hidden, output):
        for call in calls:
            with pytest.raises(ValueError, match="'step' has no derivative.*'sigmoid'"):
                call(net)
    with pytest.raises(ValueError, match="'step' has no derivative"):
        hidden.jacobian(X, logits=True)
    other = fastnn.MLP((5, 7, 3), dtype="float64")
    other.set_weights(output.get_weights())
    assert (output.jacobian(X, logits=True) == other.jacobian(X)).all()


def test_what_a_function_in_python_raises_comes_out():
    def broken(z):
        raise KeyError("derivative")

    net = fastnn.MLP((5, 7, 3), fastnn.CustomActivation(np.sin, broken), random_state=0)
    for call in (net.jacobian, lambda X: net.jvp(X, X)):
        with pytest.raises(KeyError, match="derivative"):
            call(rows(net, 200))


def test_parameters_of_the_moment():
    """What was set is seen, in place too; any number of threads may ask at a time."""
    net = chain((5, 7, 3))
    X = rows(net, 3)
    before = net.jacobian(X)
    net.parameters[:] *= 2
    after = net.jacobian(X)
    assert (before != after).any()
    net.set_weights([w / 2 for w in net.get_weights()])
    assert (net.jacobian(X) == before).all()
    wrong = []

    def work():
        wrong.extend(True for _ in range(50) if (net.jacobian(X) != before).any())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# ---- the gradient of the loss ----

@each("output, loss, name", [
    (output, loss, name) for name in ("chain", "norm", "sum last", "residual of the inputs",
                                      "batch norm", "prelu", "members", "members behind layers")
    for output, loss in [("softmax", None), ("sigmoid", None), ("identity", "huber"),
                         ("tanh", "squared_error")]])
def test_gradient_of_the_loss(output, loss, name):
    net = chain((5, 7, 3), "tanh", output) if name == "chain" else of_layers(name, output)
    rng = np.random.default_rng(0)
    for n in (1, 40):
        X = rows(net, n)
        n_out = net.predict(X).shape[1]
        y = rng.integers(0, n_out, n) if output == "softmax" else rng.uniform(size=(n, n_out))
        weight = rng.uniform(0.5, 2, n)
        G = net.input_gradient(X, y, loss=loss, sample_weight=weight)
        assert G.shape == X.shape
        direction, step = rng.normal(size=X.shape), 1e-6
        slope = (net.loss(X + step * direction, y, loss=loss, sample_weight=weight)
                 - net.loss(X - step * direction, y, loss=loss, sample_weight=weight)) / (2 * step)
        assert abs((G * direction).sum() - slope) < 1e-7 * (1 + abs(slope))


# ---- through a scaler ----

def test_jacobian_of_a_predictor():
    net = chain((5, 7, 3), "tanh", "softmax")
    rng = np.random.default_rng(0)
    scaler = fastnn.Scaler(rng.normal(size=5), rng.uniform(0.5, 2, 5), limits=(-1, 1.5))
    model = fastnn.Predictor(net, "classification", classes=["a", "b", "c"], scaler=scaler)
    X = rng.normal(size=(50, 5)) * 2

    class Outputs:
        predict = staticmethod(model.predict_proba)

    J = model.predict_jacobian(X)
    assert np.abs(J - differences(Outputs, X)).max() < 1e-7
    assert (J == 0).any() and (J != 0).any()
    plain = fastnn.Predictor(net)
    assert (plain.predict_jacobian(X) == net.jacobian(X)).all()
    with pytest.raises(ValueError, match="NaN"):
        model.predict_jacobian(X * np.nan)


def test_a_predictor_of_data_frames_has_none():
    frame = {"a": [1.0, 2.0, 3.0], "b": ["x", "y", "x"]}
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(frame)
    table = fastnn.TableEncoder().fit(frame)
    net = fastnn.MLP((table.n_inputs, 4, 1), random_state=0)
    model = fastnn.Predictor(net, table=table)
    with pytest.raises(ValueError, match="model.net.jacobian"):
        model.predict_jacobian(frame)


def test_prediction_needs_numpy_alone(run_python):
    code = """
import sys
import numpy as np, fastnn
net = fastnn.MLP((3, 4, 2), random_state=0)
net.jacobian(np.zeros((2, 3), "float32"))
fastnn.Predictor(net).predict_jacobian(np.zeros((2, 3), "float32"))
print([name for name in sys.modules if name.startswith(("scipy", "fastnn.training"))])
"""
    assert run_python(code).stdout.strip() == "[]"


# ---- beside PyTorch ----

@pytest.mark.slow  # PyTorch takes its time to come
@each("name", [*(("chain", activation) for activation in ACTIVATIONS), "norm", "sum last",
               *(name for name in LAYERS if name not in ("norm", "sum last")
                 and "python" not in name)])
def test_beside_torch_func(name):
    torch = pytest.importorskip("torch")
    net = chain((5, 9, 7, 3), name[1], "softmax") if isinstance(name, tuple) else of_layers(name)
    twin, parameters = twin_of(torch, net)

    def function(x):
        return twin(parameters, x)

    X = rows(net, 20)
    x = torch.tensor(X)
    expected = torch.func.vmap(torch.func.jacrev(function))(x).numpy()
    assert np.abs(net.jacobian(X) - expected).max() < 1e-12
    assert np.abs(net.jacobian(X[:1]) - expected[:1]).max() < 1e-12
    V = torch.tensor(rows(net, 20, 1))
    expected = torch.func.jvp(function, (x,), (V,))[1].numpy()
    assert np.abs(net.jvp(X, V.numpy()) - expected).max() < 1e-12
