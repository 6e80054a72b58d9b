"""Muon against Jordan's formula in float64 and against PyTorch's, the latter with its products in
the dtype of the weights (PyTorch makes them in bfloat16)."""

import numpy as np
import pytest
import reference
from each import each
from step_problem import Problem

import fastnn
from fastnn.network.spec import NetworkSpec
from fastnn.training._trainer import Trainer


def slow_update(optimizer, matrices, rate):
    """An update for `Problem.slowly`."""
    velocities, twins = {}, {}
    adam = optimizer.adam

    def update(block, w, g, factor):
        if block.name not in matrices:
            twin = twins.setdefault(block.name, reference.Adam(beta1=adam.beta1, beta2=adam.beta2,
                                                               eps=adam.eps))
            twin.update([w], [g], factor * adam.learning_rate)
            return
        v = velocities.setdefault(block.name, np.zeros_like(w))
        v[...] = optimizer.momentum * v + (1 - optimizer.momentum) * g
        u = v
        if optimizer.nesterov:
            u = optimizer.momentum * v + (1 - optimizer.momentum) * g
        x = reference.orthogonal(u.T, optimizer.steps).T
        n_in, n_out = w.shape
        w *= 1 - rate * factor * optimizer.weight_decay
        w -= rate * factor * np.sqrt(max(1, n_out / n_in)) * x

    return update


HIDDEN = {"layers.1.weight", "layers.2.weight"}


@each("optimizer, matrices", [
    (fastnn.Muon(), HIDDEN),
    (fastnn.Muon(0.05, 0.8, False, 3, 0.3, fastnn.Adam(0.01, eps=1e-5)), HIDDEN),
    (fastnn.Muon(layers={1: dict(muon=False)}), {"layers.2.weight"}),
    (fastnn.Muon(layers={0: dict(muon=True), 3: dict(muon=True)}),
     HIDDEN | {"layers.0.weight", "layers.3.weight"}),
])
def test_first_steps_are_the_twins(optimizer, matrices, path):
    problem, rate = Problem(), optimizer.learning_rate
    trainer, loss = problem.trained(optimizer)
    wanted, _, wanted_loss = problem.slowly(slow_update(optimizer, matrices, rate))
    np.testing.assert_allclose(trainer.parameters, wanted, rtol=1e-8, atol=1e-10)
    assert loss == pytest.approx(wanted_loss, rel=1e-9)


def test_with_clipping_penalties_and_rates_of_layers(path):
    problem = Problem()
    layers = {1: dict(learning_rate=0.01), 2: dict(alpha=1.0)}
    optimizer = fastnn.Muon(layers=layers)
    trainer, _ = problem.trained(optimizer, clip_norm=0.3, alpha=0.2, l1=0.1)
    wanted, _, _ = problem.slowly(slow_update(optimizer, HIDDEN, 0.02), alpha=0.2, l1=0.1,
                                  clip_norm=0.3,
                                  layers={1: dict(learning_rate_factor=0.5), 2: dict(alpha=1.0)})
    np.testing.assert_allclose(trainer.parameters, wanted, rtol=1e-8, atol=1e-10)


def test_weight_decay_of_a_layer():
    problem = Problem()
    layers = {number: dict(weight_decay=0.3) for number in range(4)}
    found, _ = problem.trained(fastnn.Muon(layers=layers))
    wanted, _ = problem.trained(fastnn.Muon(weight_decay=0.3, adam=fastnn.AdamW(weight_decay=0.3)))
    np.testing.assert_allclose(found.parameters, wanted.parameters, rtol=1e-9, atol=1e-11)


@each("ours, theirs", [
    (fastnn.Muon(), dict(lr=0.02, weight_decay=0.0)),
    (fastnn.Muon(0.05, 0.8, False, 4, 0.2), dict(lr=0.05, weight_decay=0.2, momentum=0.8,
                                                 nesterov=False, ns_steps=4)),
])
def test_first_steps_are_those_of_pytorch(ours, theirs, monkeypatch):
    torch = pytest.importorskip("torch")
    muon = pytest.importorskip("torch.optim._muon")
    monkeypatch.setattr(muon, "_zeropower_via_newtonschulz", lambda grad, coefficients, steps, eps:
                        torch.tensor(reference.orthogonal(grad.numpy(), steps)))
    problem = Problem()
    blocks = problem.layout.blocks
    # PyTorch's weights are (n_out, n_in)
    tensors = [torch.tensor(view.T.copy(), requires_grad=True)
               for view in problem.layout.views(problem.start)]
    matrices = [t for block, t in zip(blocks, tensors, strict=True) if block.name in HIDDEN]
    others = [t for block, t in zip(blocks, tensors, strict=True) if block.name not in HIDDEN]
    steps = [torch.optim.Muon(matrices, **theirs), torch.optim.Adam(others, lr=1e-3)]
    for rows in problem.batches():
        flat = problem.layout.allocate()
        for view, tensor in zip(problem.layout.views(flat), tensors, strict=True):
            view[:] = tensor.detach().numpy().T
        gradient = problem.gradient(flat, rows)[1]
        for g, tensor in zip(problem.layout.views(gradient), tensors, strict=True):
            tensor.grad = torch.tensor(g.T.copy())
        for one in steps:
            one.step()
    trainer, _ = problem.trained(ours)
    for mine, tensor in zip(problem.layout.views(trainer.parameters), tensors, strict=True):
        np.testing.assert_allclose(mine, tensor.detach().numpy().T, rtol=1e-8, atol=1e-10)


def test_steps_are_about_orthogonal(dtype):
    """The singular values of what moves a matrix lie around 1, whatever those of its gradient."""
    spec = NetworkSpec.chain((10, 40, 150, 30, 2), "tanh", dtype=dtype)
    trainer = Trainer(spec, "squared_error", optimizer=fastnn.Muon(1.0), batch_size=60)
    rng = np.random.default_rng(0)
    for view in trainer.layout.views(trainer.parameters):
        view[:] = rng.normal(scale=0.2, size=view.shape)
    before = [w.copy() for w in trainer.weights]
    trainer.set_data(*(rng.normal(size=(60, n)).astype(dtype) for n in (10, 2)))
    trainer.run_epoch(learning_rate=1.0)
    for i in (1, 2):
        n_in, n_out = before[i].shape
        step = (before[i] - trainer.weights[i]).astype(float) / np.sqrt(max(1, n_out / n_in))
        values = np.linalg.svd(step, compute_uv=False)
        assert values.max() < 1.3
        assert np.median(values) > 0.3


def test_muon_learns_faster_than_it_started():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 6)).astype("float32")
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    net = fastnn.MLP((6, 32, 32, 2), output="softmax", random_state=0)
    history = net.fit(X, y, optimizer="muon", epochs=30, batch_size=50)
    assert history.loss[-1] < 0.5 * history.loss[0]


@each("net, optimizer", [
    (fastnn.MLP((3, 2)), fastnn.Muon()), (fastnn.MLP((3, 5, 2)), fastnn.Muon()),
    (fastnn.MLP((3, 5, 5, 2)), fastnn.Muon(layers={1: dict(muon=False)})),
    (fastnn.MLP((3, 5, 2)), fastnn.EMA(fastnn.Muon())),
])
def test_where_no_hidden_matrix_is(net, optimizer):
    with pytest.raises(ValueError, match="no hidden matrix"):
        net.fit(np.ones((4, 3)), np.ones((4, 2)), optimizer=optimizer)
    net = fastnn.MLP((3, 5, 2), random_state=0)
    net.fit(np.ones((4, 3)), np.ones((4, 2)),
            optimizer=fastnn.Muon(layers={1: dict(muon=True)}), epochs=1)
