"""Networks of PyTorch, with equal predictions."""

from collections import OrderedDict

import numpy as np
import pytest
from later import importorskip_later

import fastnn

torch = importorskip_later("torch")
nn = importorskip_later("torch.nn")

X = np.random.default_rng(0).normal(size=(50, 5)) * 3
ACTIVATIONS = ["ReLU", "Tanh", "Sigmoid", "SiLU", "GELU", "ELU", "LeakyReLU", "Softplus",
               "Identity"]


def check(model, tolerance=1e-6):
    dtype = next(model.parameters()).dtype
    net = fastnn.from_torch(model)
    with torch.no_grad():
        expected = model.eval()(torch.tensor(X, dtype=dtype)).double().numpy()
    np.testing.assert_allclose(net.predict(X), expected, rtol=tolerance, atol=tolerance)
    return net


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation(name):
    activation = getattr(nn, name)()
    model = nn.Sequential(nn.Linear(5, 8), activation, nn.Linear(8, 3), activation)
    check(model)
    tolerance = 1e-12 if not isinstance(activation, nn.Softplus) else 1e-8  # linear above 20
    net = check(model.double(), tolerance)
    assert net.dtype == np.float64


def test_what_a_sequential_may_hold():
    net = check(nn.Sequential(
        nn.Flatten(), nn.Sequential(nn.Linear(5, 8, bias=False), nn.ReLU(), nn.Dropout(0.25)),
        OrderedModule(), nn.Linear(6, 4), nn.Identity(), nn.Softmax(dim=-1)))
    assert net.activations == ("relu", "tanh") and net.output == "softmax"
    assert net.dropout == (0.25, 0.0)
    assert net.sizes == (5, 8, 6, 4)


def OrderedModule():
    return nn.Sequential(OrderedDict(first=nn.Linear(8, 6), second=nn.Tanh()))


def test_a_single_layer():
    assert check(nn.Linear(5, 2)).output == "identity"


def test_half_precision_becomes_float32():
    model = nn.Sequential(nn.Linear(5, 3)).to(torch.bfloat16)
    net = fastnn.from_torch(model)
    assert net.dtype == np.float32
    np.testing.assert_array_equal(net.weights[0], model[0].weight.detach().float().numpy().T)


def test_state_dict():
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 6, bias=False), nn.ReLU(),
                          nn.Linear(6, 2), nn.Sigmoid())
    net = fastnn.from_torch(model.state_dict(), activation=["tanh", "relu"], output="sigmoid")
    with torch.no_grad():
        expected = model(torch.tensor(X, dtype=torch.float32)).numpy()
    np.testing.assert_allclose(net.predict(X), expected, rtol=1e-6, atol=1e-6)


def test_the_network_can_be_trained():
    net = fastnn.from_torch(nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 1)))
    losses = net.fit(X, X[:, :1], epochs=20).loss
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("layers, message", [
    (lambda: [nn.Linear(5, 3), nn.GroupNorm(1, 3)], r"layer 1 \(GroupNorm\) has no counterpart"),
    (lambda: [nn.Linear(5, 3), nn.GELU(approximate="tanh")],
     r"layer 1 \(GELU\) has approximate='tanh'"),
    (lambda: [nn.Linear(5, 3), nn.ELU(alpha=2)], "alpha=2"),
    (lambda: [nn.Linear(5, 3), nn.Softplus(beta=0.0)], "has beta=0.0; it must be"),
    (lambda: [nn.Linear(5, 3), nn.Hardtanh(-1, float("nan"))], "layer 1 has a bound that is NaN"),
    (lambda: [nn.Linear(5, 3), nn.Softplus(threshold=1)], "threshold=1"),
    (lambda: [nn.Linear(5, 3), nn.Softmax(dim=0)], "dim=0"),
    (lambda: [nn.Linear(5, 3), nn.ReLU(), nn.Dropout(1.0), nn.Linear(3, 2)],
     "layer 2 drops everything"),
    (lambda: [nn.Flatten(0), nn.Linear(5, 3)], "start_dim=0"),
    (lambda: [nn.LazyLinear(3)], r"layer 0 \(LazyLinear\) has no counterpart"),
    (lambda: [nn.Linear(5, 3, device="meta")], "device meta"),
    (lambda: [nn.Linear(5, 3), nn.LogSoftmax(dim=1)], "LogSoftmax"),
    (lambda: [nn.Sequential(nn.Linear(5, 3), nn.Conv1d(1, 1, 1))], r"layer 0.1 \(Conv1d\)"),
    (lambda: [nn.Linear(5, 3), nn.Softmax(-1), nn.Linear(3, 2)], "softmax in a hidden layer"),
    (lambda: [nn.Linear(5, 3), nn.Linear(4, 2)],
     "layer 1 takes 4 inputs, the layer before it has 3"),
    (lambda: [nn.ReLU(), nn.Linear(5, 3)], "before the first"),
    (lambda: [nn.Dropout(0.1), nn.Linear(5, 3)], "dropout of inputs"),
    (lambda: [nn.ReLU()], "before the first"),
    (lambda: [], "no fully connected layer"),
])
def test_what_is_refused(layers, message):
    with pytest.raises(ValueError, match=message):
        fastnn.from_torch(nn.Sequential(*layers()))


@pytest.mark.parametrize("state, message", [
    ({"0.weight": np.zeros((3, 5)), "0.running_mean": np.zeros(3)}, "0.running_mean"),
    ({"0.bias": np.zeros(3)}, "no 0.weight"),
    ({}, "the state dict is empty"),
    ({"0.weight": np.float32(1)}, "not those of a fully connected"),
    ({"0.weight": np.zeros((3, 5), "complex64")}, "dtype complex64, must be real"),
    ({"0.weight": np.zeros((3, 5, 1))}, "not those of a fully connected"),
    ({"0.weight": np.zeros((3, 5)), "0.bias": np.zeros(4)}, "not those of a fully connected"),
])
def test_state_dicts_that_are_refused(state, message):
    with pytest.raises(ValueError, match=message):
        fastnn.from_torch(state)


def test_what_is_no_model():
    with pytest.raises(TypeError, match="must be a torch.nn.Sequential"):
        fastnn.from_torch(nn.Transformer(8, 1, 1, 1, 8))
    with pytest.raises(ValueError, match="must have one for each of 1 hidden"):
        fastnn.from_torch({"0.weight": np.zeros((3, 5)), "1.weight": np.zeros((2, 3))},
                          activation=["relu", "relu"])


@pytest.fixture(scope="module", autouse=True)
def classes():
    """What derives from classes of PyTorch, which is imported when the first test runs."""
    global Tanh, Flatten, Linear, Doubled, Block

    class Tanh(nn.Module):
        """Of a known name, and something else."""

        def forward(self, x):
            return 3 * x

    class Flatten(Tanh):
        pass

    class Linear(nn.Linear):
        def forward(self, x):
            return super().forward(x) * 2

    class Doubled(nn.Sequential):
        def forward(self, x):
            return super().forward(x) * 2

    class Block(nn.Sequential):
        """Adds a constructor only, as many do."""

        def __init__(self, n_in, n_out):
            super().__init__(nn.Linear(n_in, n_out), nn.ReLU())


@pytest.mark.parametrize("make", [lambda: Tanh(), lambda: Flatten(), lambda: Linear(5, 5),
                                  lambda: Doubled(nn.Linear(5, 5))])
def test_other_classes_of_known_names(make):
    layer = make()
    path = rf"layer 0 \({__name__}.{type(layer).__qualname__}\) has no counterpart"
    with pytest.raises(ValueError, match=path):
        fastnn.from_torch(nn.Sequential(layer, nn.Linear(5, 3)))


def test_subclasses_of_sequential():
    assert check(nn.Sequential(Block(5, 6), Block(6, 4))).activations == ("relu",)
    check(Block(5, 6))
    with pytest.raises(TypeError, match="model=Doubled must be"):
        fastnn.from_torch(Doubled(nn.Linear(5, 3)))


def test_quantized_layers():
    dynamic = pytest.importorskip("torch.ao.nn.quantized.dynamic")
    with pytest.raises(ValueError, match=r"quantized.*Linear\) has no counterpart"):
        fastnn.from_torch(nn.Sequential(dynamic.Linear(5, 3)))


def test_hooks():
    inner, whole = (nn.Sequential(nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 2)) for _ in range(2))
    inner[0].register_forward_pre_hook(lambda module, x: (x[0] * 2,))
    with pytest.raises(ValueError, match=r"layer 0 \(Linear\) has hooks"):
        fastnn.from_torch(inner)
    whole.register_forward_hook(lambda module, x, y: y * 2)
    with pytest.raises(ValueError, match=r"the model \(Sequential\) has hooks"):
        fastnn.from_torch(whole)


def test_state_dict_of_a_file_that_sorts_names():
    """Square layers: nothing but their numbers tells 10 from 2."""
    model = nn.Sequential(*(layer for _ in range(6) for layer in (nn.Linear(5, 5), nn.ReLU())),
                          nn.Linear(5, 5))
    st = pytest.importorskip("safetensors.torch")
    state = st.load(st.save(model.state_dict()))
    assert list(state) != list(model.state_dict())
    assert fastnn.from_torch(state).parameters.tobytes() == (
        fastnn.from_torch(model).parameters.tobytes())
    order = ["inner", "a", "z", "b"]
    named = {f"{name}.weight": np.eye(2) * i for i, name in enumerate(order)}
    with pytest.raises(ValueError, match="allow several"):
        fastnn.from_torch(named)
    assert [w[0, 0] for w in fastnn.from_torch(named, order=order).weights] == [0, 1, 2, 3]


def test_activations_go_with_a_state_dict_only():
    with pytest.raises(ValueError, match="output='softmax' goes with a state dict"):
        fastnn.from_torch(nn.Sequential(nn.Linear(5, 3)), output="softmax")
