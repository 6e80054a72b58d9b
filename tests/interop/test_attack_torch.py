"""What PyTorch computes besides a module's layers: hooks of all modules, a `__call__` of its own.
And modules that lie in themselves."""


import numpy as np
import pytest
from later import importorskip_later
from timing import check_in_proportion, seconds

import fastnn

torch = importorskip_later("torch")
nn = importorskip_later("torch.nn")


@pytest.fixture(scope="module", autouse=True)
def classes():
    """What derives from classes of PyTorch, which is imported when the first test runs."""
    global Times9, Own, Calls

    class Times9(nn.Sequential):
        def __call__(self, x):
            return super().__call__(x) * 9

    class Own(nn.Module):
        """A class that is followed; ``part`` is what it holds."""

        def __init__(self, part):
            super().__init__()
            self.part = part

        def forward(self, x):
            return self.part(x)

    class Calls(Own):
        def _call_impl(self, *args):
            return super()._call_impl(*args) * 9


@pytest.mark.parametrize("make", [
    lambda: Times9(nn.Linear(2, 1)), lambda: nn.Sequential(Times9(nn.Linear(2, 1))),
    lambda: Own(Times9(nn.Linear(2, 1))), lambda: Calls(nn.Linear(2, 1)),
    lambda: nn.Sequential(Calls(nn.Linear(2, 1))), lambda: Own(Calls(nn.Linear(2, 1)))])
def test_calls_of_their_own(make):
    with pytest.raises(ValueError, match="has a (__call__|_call_impl) of its own, in (Tim|Cal)"):
        fastnn.from_torch(make())


@pytest.mark.parametrize("name", ["forward", "__call__", "_call_impl"])
@pytest.mark.parametrize("wrap", [lambda m: m, lambda m: nn.Sequential(m), lambda m: Own(m)])
def test_functions_of_an_instance(name, wrap):
    linear = nn.Linear(2, 1)
    model = wrap(linear)
    setattr(linear, name, lambda x: x)
    with pytest.raises(ValueError, match="has hooks"):
        fastnn.from_torch(model)


@pytest.mark.parametrize("name", ["register_module_forward_hook",
                                  "register_module_forward_pre_hook"])
def test_hooks_of_all_modules(name):
    handle = getattr(nn.modules.module, name)(lambda *args: None)
    try:
        for model in (nn.Linear(2, 1), nn.Sequential(nn.Linear(2, 1)), Own(nn.Linear(2, 1))):
            with pytest.raises(ValueError, match="there are global hooks, by torch.nn"):
                fastnn.from_torch(model)
    finally:
        handle.remove()
    assert fastnn.from_torch(Own(nn.Linear(2, 1))).sizes == (2, 1)


def test_modules_of_torch_fx():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    net = fastnn.from_torch(torch.fx.symbolic_trace(model))
    np.testing.assert_allclose(net.predict(np.ones((1, 2))), model(torch.ones(1, 2)).detach(),
                               rtol=1e-5)


def in_itself(wrap=lambda m: m):
    model = nn.Sequential(nn.Linear(2, 2))
    model.append(wrap(model))
    return model


def nested(n):
    model = nn.Linear(2, 2)
    for _ in range(n):
        model = nn.Sequential(model)
    return model


def doubled(inner):
    for _ in range(60):
        inner = nn.Sequential(inner, inner)
    return inner


@pytest.mark.parametrize("make", [
    in_itself, lambda: in_itself(Own), lambda: Own(in_itself()), lambda: nested(1000),
    lambda: Own(nested(1000)), lambda: doubled(nn.Sequential()),
    pytest.param(lambda: doubled(nn.Linear(2, 2)), marks=pytest.mark.slow)])
def test_models_without_end(make):
    model = make()

    def refused():
        with pytest.raises((ValueError, TypeError), match="deeper|more than 100000 layers|follow it"
                           ) as caught:
            fastnn.from_torch(model)
        assert len(str(caught.value)) < 1000

    assert seconds(refused, enough=10) < 10


def test_time_is_in_proportion():
    models = {n: nn.Sequential(*(nn.Linear(1, 1) for _ in range(n))) for n in (300, 3000)}
    check_in_proportion(lambda n: fastnn.from_torch(models[n]), tuple(models))
    assert len(fastnn.from_torch(models[300]).sizes) == 301


def test_a_forward_is_read_as_it_predicts():
    """A model that comes from a training loop is in training mode; arguments with a default are
    not given when it predicts, and the one that is None is asked for."""
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.drop = nn.Linear(2, 3), nn.Linear(3, 1), nn.Dropout(0.5)

        def forward(self, x, mask=None, *, twice=False):
            h = self.a(x)
            if mask is None:
                h = torch.relu(h)
            if self.training or twice:
                h = h + torch.tanh(h)
            return self.b(self.drop(h))

    model = Own(Model())
    model.part.drop.eval()
    modes = [child.training for child in model.modules()]
    net = fastnn.from_torch(model)
    assert [child.training for child in model.modules()] == modes
    X = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    with torch.no_grad():
        np.testing.assert_allclose(net.predict(X), model.eval()(torch.tensor(X)).numpy(), atol=1e-6)


def test_a_forward_that_fails_keeps_the_mode():
    class Model(nn.Module):
        def forward(self, x, y):
            return x + y

    model = Model()
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'y'"):
        fastnn.from_torch(model)
    assert model.training


@pytest.mark.parametrize("store", [
    lambda w: w.to_sparse(), lambda w: w.to_sparse_csr(),
    lambda w: torch.complex(torch.zeros_like(w), -w).conj().imag])
def test_weights_that_are_stored_otherwise(store):
    linear = nn.Linear(2, 3)
    expected = linear.weight.detach().numpy().T.copy()
    net = fastnn.from_torch({"weight": store(linear.weight.detach()), "bias": linear.bias})
    np.testing.assert_array_equal(net.weights[0], expected)


def test_what_wraps_a_model_is_told():
    model = nn.Sequential(nn.Linear(2, 1))
    with pytest.raises(TypeError, match="what it wraps is its .module$"):
        fastnn.from_torch(nn.DataParallel(model))
    state = {"epoch": 3, "state_dict": model.state_dict()}
    with pytest.raises(ValueError, match="epoch"):
        fastnn.from_torch(state)
    del state["epoch"]
    with pytest.raises(ValueError, match=r"give model\['state_dict'\]"):
        fastnn.from_torch(state)


@pytest.mark.parametrize("name", ["weight_norm", "spectral_norm"])
def test_weights_that_are_computed(name):
    computed = getattr(torch.nn.utils.parametrizations, name)(nn.Linear(2, 3))
    with pytest.raises(ValueError, match="remove_parametrizations"):
        fastnn.from_torch(computed.state_dict())


@pytest.mark.parametrize("asks", [
    lambda x: isinstance(x, torch.Tensor), lambda x: type(x) is torch.Tensor,
    lambda x: not torch.is_grad_enabled()])
def test_a_forward_that_asks_what_it_is_given(asks):
    """It is told another thing of the stand-in, and took the other branch with no word."""
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(2, 3), nn.Linear(3, 1)
            for linear in (self.a, self.b):
                nn.init.constant_(linear.weight, 3.0)

        def forward(self, x):
            h = self.a(x)
            return self.b(torch.tanh(h) if asks(x) else torch.relu(h))

    torch.manual_seed(0)
    for model in (Model(), nn.Sequential(nn.Linear(2, 2), Model()), Model().bfloat16()):
        with pytest.raises(ValueError, match="predicts other values than the layers that its for"):
            fastnn.from_torch(model)
    assert fastnn.from_torch(Own(nn.Linear(2, 3)).bfloat16()).sizes == (2, 3)
