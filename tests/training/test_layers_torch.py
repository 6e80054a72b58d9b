"""Layer normalisation and residual layers against PyTorch in float64."""

import numpy as np
import pytest
from later import importorskip_later
from layer_networks import data, start

import fastnn
from fastnn import (
    Activation,
    BatchNorm,
    Dense,
    Dropout,
    LayerNorm,
    NetworkSpec,
    PReLU,
    Residual,
    Scale,
)
from fastnn.core.threads import single_threaded_blas
from fastnn.training._trainer import Trainer

torch = importorskip_later("torch")

ROWS, STEPS = 32, 30
LIMIT = 1e-10


ACTIVATIONS = {
    "identity": "Identity", "tanh": "Tanh", "sigmoid": "Sigmoid", "relu": "ReLU", "gelu": "GELU",
    "silu": "SiLU", "softplus": "Softplus", "elu": "ELU", "leaky_relu": "LeakyReLU",
    "selu": "SELU", "mish": "Mish", "hard_tanh": "Hardtanh", "hard_sigmoid": None,
    "relu6": "ReLU6"}
ENDS = [("softmax", "cross_entropy"), ("identity", "squared_error"),
        ("sigmoid", "binary_cross_entropy"), ("exp", "poisson")]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Small products; its threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", autouse=True)
def classes():
    """What derives from classes of PyTorch, which is imported when the first test runs."""
    global HardSigmoid, Added, Scaled

    class HardSigmoid(torch.nn.Module):
        """relu6(x + 3) / 6: PyTorch's own takes 1 / 6 in float32 for its derivative."""

        def forward(self, x):
            return torch.nn.functional.relu6(x + 3) / 6

    class Added(torch.nn.Module):
        """x + f(x)"""

        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return x + self.inner(x)

    class Scaled(torch.nn.Module):
        """x s"""

        def __init__(self, width):
            super().__init__()
            self.factor = torch.nn.Parameter(torch.ones(width))

        def forward(self, x):
            return x * self.factor


def activation(name):
    return getattr(torch.nn, ACTIVATIONS[name])() if ACTIVATIONS[name] else HardSigmoid()


def random_layers(rng, width, depth=0):
    """Some layers of as many outputs as inputs, `width` of them."""
    layers = []
    for _ in range(rng.integers(1, 4)):
        kind = rng.choice(["norm", "dense", "residual", "activation", "batch", "prelu", "scale"])
        if kind == "norm":
            layers.append(LayerNorm(float(rng.choice([1e-5, 1e-3, 0.1]))))
        elif kind == "batch":
            layers.append(BatchNorm(float(rng.choice([1e-3, 0.1])), float(rng.choice([0.1, 1.0]))))
        elif kind == "prelu":
            layers.append(PReLU(per_unit=bool(rng.integers(2))))
        elif kind == "scale":
            layers.append(Scale())
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
    """At least one layer norm and one residual layer between the first and the last dense one; of
    the batch normalisation the batch is one shard."""
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
            found += [torch.nn.Linear(width, layer.units), activation(layer.activation)]
            width = layer.units
        elif layer.kind == "layer_norm":
            found.append(torch.nn.LayerNorm(width, layer.eps))
        elif layer.kind == "batch_norm":
            found.append(torch.nn.BatchNorm1d(width, layer.eps, layer.momentum))
        elif layer.kind == "prelu":
            found.append(torch.nn.PReLU(width if layer.per_unit else 1))
        elif layer.kind == "scale":
            found.append(Scaled(width))
        elif layer.kind == "activation":
            found.append(activation(layer.name))
        elif layer.kind == "residual":
            found.append(Added(modules(layer.layers, width)))
    return torch.nn.Sequential(*found)


def as_ours(tensors):
    """Arrays of PyTorch's parameters as we have them: W' turned."""
    return [tensor.detach().numpy().T for tensor in tensors]


def tensors_of(net):
    """Parameters and running averages of modules, in the order of our blocks."""
    return [tensor for module in net.modules() for name, tensor in [
        *module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        if name != "num_batches_tracked"]


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
            # its eps: rounding in a gradient that is 0, of a bias before a norm, moves nothing
            ("Adam", fastnn.Adam(rate, eps=1e-3),
             lambda parameters: torch.optim.Adam(parameters, rate, eps=1e-3))]:
        trainer = Trainer(spec, loss, optimizer=ours, batch_size=ROWS, n_threads=1, gemm=gemm)
        start(trainer, seed)
        trainer.set_data(X, y)
        views = trainer.layout.views
        net = modules(spec.layers, spec.n_in).double()
        parameters = list(net.parameters())
        with torch.no_grad():
            for tensor, view in zip(tensors_of(net), views(trainer.parameters), strict=True):
                tensor.copy_(torch.tensor(view.T))
        optimizer = theirs(parameters)
        with single_threaded_blas():
            grad = trainer.layout.allocate()
            value = trainer.loss_and_grad(grad)
            wanted = torch_loss(loss, net(given[0]), given[1])
            wanted.backward()
            found["loss"] = abs(value - wanted.item())
            found["gradient"] = max(np.abs(mine - its).max() for mine, its in zip(
                views(grad), as_ours(torch.zeros_like(tensor) if tensor.grad is None
                                     else tensor.grad for tensor in tensors_of(net)), strict=True))
            # one more forward pass than we have steps, which the running averages have seen
            with torch.no_grad():
                for tensor, view in zip(tensors_of(net), views(trainer.parameters), strict=True):
                    tensor.copy_(torch.tensor(view.T))
            assert max(np.abs(its).max() for its in views(grad)) > 1e-4
            for _ in range(STEPS):
                optimizer.zero_grad()
                torch_loss(loss, net(given[0]), given[1]).backward()
                optimizer.step()
                trainer.run_epoch(learning_rate=rate)
        found[name] = max(np.abs(mine - its).max() for mine, its in zip(
            views(trainer.parameters), as_ours(tensors_of(net)), strict=True))
    return found


@pytest.mark.parametrize("count", [5, pytest.param(60, marks=pytest.mark.slow)])
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
