"""What people who know PyTorch give first: functions of dropout, compiled modules, state dicts with
other things in them; and a message that says what to do where that is no network of ours."""

import sys

import numpy as np
import pytest
from later import importorskip_later

import fastnn

torch = importorskip_later("torch")
nn = importorskip_later("torch.nn")


def stack():
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))


def module(forward, *layers):
    """A module whose forward is a function of its layers and of x."""
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(layers)

        def forward(self, x):
            return forward(self, *self.layers, x)

    return Model()


def test_dropout_as_a_function():
    drop = torch.nn.functional.dropout
    model = module(lambda m, a, b, x: b(drop(torch.relu(a(x)), 0.3, training=m.training)),
                   nn.Linear(4, 3), nn.Linear(3, 2))
    net = fastnn.from_torch(model)
    assert net.dropout == (0.3,)
    X = np.random.default_rng(0).normal(size=(9, 4)).astype("f")
    with torch.no_grad():
        right = model.eval()(torch.tensor(X)).numpy()
    np.testing.assert_allclose(net.predict(X), right, rtol=1e-5, atol=1e-6)
    always = module(lambda m, a, x: drop(a(x), 0.3), nn.Linear(4, 3))
    with pytest.raises(TypeError, match="calls dropout with training=True, .*=self.training$"):
        fastnn.from_torch(always)
    # it returns its input, which is then written over
    over = module(lambda m, a, x: (lambda h: h + torch.relu_(drop(h, 0.3, m.training)))(a(x)),
                  nn.Linear(4, 4))
    with pytest.raises(TypeError, match="writes over a value that is read later"):
        fastnn.from_torch(over)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_modules():
    for model in (torch.jit.script(stack()), torch.jit.trace(stack(), torch.zeros(1, 4))):
        with pytest.raises(TypeError, match="give what it was made of$"):
            fastnn.from_torch(model)


def test_layers_that_have_no_weights_of_their_own_yet():
    with pytest.raises(ValueError, match=r"\(LazyLinear\) has no counterpart.*call the model once"):
        fastnn.from_torch(nn.Sequential(nn.LazyLinear(3)))
    model = nn.Sequential(torch.nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)))
    with pytest.raises(ValueError, match="layer 0 .*plain ones by torch.nn.utils.parametrize.remo"):
        fastnn.from_torch(model)


def test_weights_that_are_not_finite():
    for value in (np.nan, np.inf):
        model = stack()
        nn.init.constant_(model[2].bias, value)
        with pytest.raises(ValueError, match="^layer 2 holds a number that is not finite"):
            fastnn.from_torch(model)


W = np.arange(12, dtype="f").reshape(3, 4)


@pytest.mark.parametrize("state, error, message", [
    ({0: W}, TypeError, "has the key 0; keys must be names"),
    ({("a", "weight"): W}, TypeError, r"has the key \('a', 'weight'\)"),
    ({"a.weight": "text"}, ValueError, "'a.weight' of the state dict have dtype <U4, must be real"),
    ({"a.weight": object()}, ValueError, "have dtype object, must be real"),
    ({"a.weight": W.astype("M8[s]")}, ValueError, "have dtype datetime64.*, must be real"),
    ({"a.weight": [[1.0, 2.0], [3.0]]}, ValueError, "'a.weight' of the state dict cannot be read"),
    ({"a.weight": np.ma.masked_greater(W, 3)}, ValueError, "is a masked array that hides values"),
    ({"a.weight": lambda: torch.quantize_per_tensor(torch.ones(3, 4), 0.1, 0, torch.qint8)},
     ValueError, r"are quantized, torch.qint8: give them as .dequantize\(\)"),
    ({"a.weight": lambda: torch.sparse_coo_tensor(
        torch.zeros(2, 0, dtype=torch.int64), torch.zeros(0), (10**9, 10**9))},
     ValueError, r"of shape \(1000000000, 1000000000\) cannot be read"),
    ({"a.weight": W, "n.weight": W[0]}, ValueError,
     r"'n.weight' of shape \(4,\).* only: it does not say what other layers compute; give the mod"),
    ({"a.weight": W, "n.running_mean": W[0]}, ValueError, "running_mean'.*give the module"),
    ({"a.weight": W * np.nan}, ValueError, "^layer a holds a number that is not finite"),
    ({"weight": W, "bias": W}, ValueError, r"^the layer: weights of shape \(4, 3\) and \(12,\)"),
])
def test_state_dicts_with_other_things(state, error, message):
    state = {key: value() if callable(value) else value for key, value in state.items()}
    with pytest.raises(error, match=message):
        fastnn.from_torch(state)


@pytest.mark.parametrize("given, error, message", [
    ({"activation": 3}, TypeError, "activation=3 must be a name, or one for each of 1 hidden"),
    ({"activation": []}, ValueError, r"activation=\[\] has 0 entries"),
    ({"activation": ""}, ValueError, "activation"),
    ({"activation": [None]}, ValueError, r"activation\[0\]=None must be a name"),
    ({"output": ""}, ValueError, "output"),
    ({"order": 3}, TypeError, "order=3 must be a list of names"),
    ({"order": {"0", "2"}}, TypeError, "must be a list of names, the first one first"),
])
def test_what_goes_with_a_state_dict(given, error, message):
    with pytest.raises(error, match=message):
        fastnn.from_torch(stack().state_dict(), **given)


def test_names_of_layers():
    state = stack().state_dict()
    right = fastnn.from_torch(state).parameters
    np.testing.assert_array_equal(fastnn.from_torch(state, order=[0, 2]).parameters, right)
    long = "9" * (sys.int_info.default_max_str_digits + 1)
    state = {f"{'0' * 9}1.weight": np.ones((3, 4)), f"{long}.weight": np.ones((2, 3))}
    assert fastnn.from_torch(dict(reversed(state.items()))).sizes == (4, 3, 2)


def test_numbers_of_more_bits_than_float64():
    net = fastnn.from_torch({"weight": np.full((3, 4), 1 / 3, np.longdouble)})
    assert net.dtype == np.float64 and (net.weights[0] == 1 / 3).all()


def test_the_path_of_a_file():
    with pytest.raises(TypeError, match=r"safetensors.torch.load_file\('m.safetensors'\)"):
        fastnn.from_torch("m.safetensors")
