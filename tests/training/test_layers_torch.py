"""Layer normalisation and residual layers against PyTorch in float64."""

import numpy as np
import pytest
from layer_networks import data, start

import fastnn
from fastnn import Activation, Dense, Dropout, LayerNorm, NetworkSpec, Residual
from fastnn.core.threads import single_threaded_blas
from fastnn.training._trainer import Trainer

torch = pytest.importorskip("torch")

ROWS, STEPS = 32, 30
LIMIT = 1e-10
ACTIVATIONS = {
    "identity": torch.nn.Identity, "tanh": torch.nn.Tanh, "sigmoid": torch.nn.Sigmoid,
    "relu": torch.nn.ReLU, "gelu": torch.nn.GELU, "silu": torch.nn.SiLU,
    "softplus": torch.nn.Softplus, "elu": torch.nn.ELU, "leaky_relu": torch.nn.LeakyReLU}
ENDS = [("softmax", "cross_entropy"), ("identity", "squared_error"),
        ("sigmoid", "binary_cross_entropy"), ("exp", "poisson")]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Small products; its threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Added(torch.nn.Module):
    """x + f(x)"""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return x + self.inner(x)


def random_layers(rng, width, depth=0):
    """Some layers of as many outputs as inputs, `width` of them."""
    layers = []
    for _ in range(rng.integers(1, 4)):
        kind = rng.choice(["norm", "dense", "residual", "activation"])
        if kind == "norm":
            layers.append(LayerNorm(float(rng.choice([1e-5, 1e-3, 0.1]))))
        elif kind == "activation":
            layers.append(Activation(str(rng.choice(list(ACTIVATIONS)))))
        elif kind == "residual" and depth < 3:
            layers.append(Residual(random_layers(rng, width, depth + 1)))
        else:
            inner = int(rng.integers(3, 20))
            layers += [Dense(inner), LayerNorm(), Activation(str(rng.choice(list(ACTIVATIONS)))),
                       Dropout(0.0), Dense(width)]
    return layers


def random_network(seed):
    """At least one layer norm and one residual layer between the first and the last dense one."""
    rng = np.random.default_rng(seed)
    n_in, width, n_out = (int(size) for size in rng.integers(3, 20, 3))
    output, loss = ENDS[seed % len(ENDS)]
    layers = [*random_layers(rng, n_in), Dense(width, str(rng.choice(list(ACTIVATIONS)))),
              Residual([LayerNorm(), *random_layers(rng, width, 1)]),
              *random_layers(rng, width), Dense(n_out)]
    return NetworkSpec(n_in, layers, output, "float64"), loss


def modules(layers, width):
    """(modules of PyTorch, their outputs)"""
    found = []
    for layer in layers:
        if layer.kind == "dense":
            found += [torch.nn.Linear(width, layer.units), ACTIVATIONS[layer.activation]()]
            width = layer.units
        elif layer.kind == "layer_norm":
            found.append(torch.nn.LayerNorm(width, layer.eps))
        elif layer.kind == "activation":
            found.append(ACTIVATIONS[layer.name]())
        elif layer.kind == "residual":
            found.append(Added(modules(layer.layers, width)))
    return torch.nn.Sequential(*found)


def as_ours(tensors):
    """Arrays of PyTorch's parameters as we have them: W' turned."""
    return [tensor.detach().numpy().T for tensor in tensors]


def torch_loss(name, z, y):
    """Mean over the rows, as ours."""
    if name == "cross_entropy":
        return torch.nn.functional.cross_entropy(z, y)
    if name == "squared_error":
        return ((z - y) ** 2).mean() / 2
    if name == "binary_cross_entropy":
        return torch.nn.functional.binary_cross_entropy_with_logits(
            z, y, reduction="sum") / len(z)
    return (torch.exp(z) - y * z + torch.xlogy(y, y) - y).sum() / len(z)


def differences(seed, gemm="native"):
    """Loss, gradient, and parameters after some steps of each optimizer: largest differences."""
    spec, loss = random_network(seed)
    rate = 0.001 if loss == "poisson" else 0.01  # exp makes steps long
    X, y = data(spec, loss, loss == "cross_entropy", ROWS, seed)
    given = torch.tensor(X), torch.tensor(y if y.ndim == 2 else y.astype(np.int64))
    found = {}
    for name, ours, theirs in [
            ("SGD", fastnn.SGD(rate, momentum=0.9),
             lambda parameters: torch.optim.SGD(parameters, rate, momentum=0.9)),
            ("Adam", fastnn.Adam(rate), lambda parameters: torch.optim.Adam(parameters, rate))]:
        trainer = Trainer(spec, loss, optimizer=ours, batch_size=ROWS, n_threads=1, gemm=gemm)
        start(trainer, seed)
        trainer.set_data(X, y)
        views = trainer.layout.views
        net = modules(spec.layers, spec.n_in).double()
        parameters = list(net.parameters())
        with torch.no_grad():
            for tensor, view in zip(parameters, views(trainer.parameters), strict=True):
                tensor.copy_(torch.tensor(view.T))
        optimizer = theirs(parameters)
        with single_threaded_blas():
            grad = trainer.layout.allocate()
            value = trainer.loss_and_grad(grad)
            wanted = torch_loss(loss, net(given[0]), given[1])
            wanted.backward()
            found["loss"] = abs(value - wanted.item())
            found["gradient"] = max(np.abs(mine - its).max() for mine, its in zip(
                views(grad), as_ours(tensor.grad for tensor in parameters), strict=True))
            assert max(np.abs(its).max() for its in views(grad)) > 1e-4
            for _ in range(STEPS):
                optimizer.zero_grad()
                torch_loss(loss, net(given[0]), given[1]).backward()
                optimizer.step()
                trainer.run_epoch(learning_rate=rate)
        found[name] = max(np.abs(mine - its).max() for mine, its in zip(
            views(trainer.parameters), as_ours(parameters), strict=True))
    return found


@pytest.mark.parametrize("count", [10, pytest.param(40, marks=pytest.mark.slow)])
def test_loss_gradient_and_thirty_steps_are_pytorchs(count):
    worst = {}
    for seed in range(count):
        for what, found in differences(seed).items():
            assert found < LIMIT, (seed, what, random_network(seed))
            worst[what] = max(found, worst.get(what, 0))
    print(*(f"{what}: {found:.1e}" for what, found in worst.items()))


def test_products_by_blas():
    for seed in range(3):
        assert max(differences(seed, "blas").values()) < LIMIT
