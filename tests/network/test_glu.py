"""`GLU`: what it is made of, and PyTorch beside it."""

import numpy as np
import pytest
import reference
from each import each

import fastnn
from fastnn import GLU, Dense, Dropout, Embed, Heads, Repeat, Residual
from fastnn.core import _kernels

GATES = [name for name in _kernels.ACTIVATIONS if name not in ("exp", "step")]
X = np.random.default_rng(0).normal(size=(40, 4))
Y = np.random.default_rng(1).normal(size=(40, 2))


def network(gate="silu", dtype="float64", layers=None):
    layers = layers or [Dense(10), GLU(gate), Residual([Dense(10), GLU(gate)]), Dense(2)]
    net = fastnn.MLP.of(layers, n_in=4, dtype=dtype, random_state=0)
    rng = np.random.default_rng(2)
    net.set_weights([rng.normal(size=array.shape) * 0.6 for array in net.get_weights()])
    return net


@each("gate", GATES)
def test_values_and_gradients_are_the_twins(gate, dtype):
    net, tolerance = network(gate, dtype), {"float64": 1e-12, "float32": 2e-5}[dtype]
    twin = reference.Twin.of(net)
    loss, grad = net.loss_and_grad(X, Y)
    value, gradients = twin.loss_and_grad(X, Y, "squared_error")
    np.testing.assert_allclose(loss, value, rtol=tolerance)
    for got, wanted in zip(net._layout.views(grad), gradients, strict=True):
        np.testing.assert_allclose(got, wanted, atol=tolerance * max(1, abs(wanted).max()))
    np.testing.assert_allclose(net.predict(X.astype(dtype)), twin.predict(X), atol=20 * tolerance)


def test_gradient_by_finite_differences():
    net = network("gelu")
    _, grad = net.loss_and_grad(X, Y)
    direction = np.random.default_rng(3).normal(size=net.parameters.shape) * (grad != 0)
    h, losses = 1e-6, []
    start = net.parameters.copy()
    for sign in (1, -1):
        net.parameters[:] = start + sign * h * direction
        losses.append(net.loss(X, Y))
    np.testing.assert_allclose((losses[0] - losses[1]) / (2 * h), grad @ direction, rtol=1e-7)


@each("optimizer", ["SGD", "Adam"])
def test_thirty_steps_are_those_of_pytorch(optimizer):
    torch = pytest.importorskip("torch")
    net = fastnn.MLP.of([Dense(10), GLU(), Dense(12, "tanh"), GLU(), Dense(2)], n_in=4,
                        dtype="float64", random_state=0)
    model = torch.nn.Sequential(
        torch.nn.Linear(4, 10), torch.nn.GLU(), torch.nn.Linear(5, 12), torch.nn.Tanh(),
        torch.nn.GLU(), torch.nn.Linear(6, 2)).double()
    with torch.no_grad():
        for own, array in zip(model.parameters(), net.get_weights(), strict=True):
            own.copy_(torch.from_numpy(array.T if array.ndim == 2 else array))
    theirs = getattr(torch.optim, optimizer)(model.parameters(), lr=0.05)
    ours = fastnn.SGD(0.05, momentum=0.0) if optimizer == "SGD" else fastnn.Adam(0.05)
    for _ in range(30):
        theirs.zero_grad()
        loss = 0.5 * ((model(torch.from_numpy(X)) - torch.from_numpy(Y)) ** 2).mean()
        loss.backward()
        theirs.step()
    net.fit(X, Y, epochs=30, batch_size=40, optimizer=ours, shuffle=False)
    for own, array in zip(model.parameters(), net.get_weights(), strict=True):
        found = own.detach().numpy()
        np.testing.assert_allclose(array, found.T if array.ndim == 2 else found, atol=1e-10)


@each("layers", [
    [Dense(6), GLU("tanh"), Dropout(0.2), Dense(4), GLU("silu")],
    [Dense(2), Residual([Dense(4), GLU("silu")])],
    [GLU("gelu"), Dense(2)],
    [Dense(6), GLU(), Repeat(3), Dense(8), GLU("silu"), Dropout(0.1), Heads(2, 3)],
    [Embed(3, (1, 1, 2)), Dense(8), GLU("relu"), Dense(2)],
])
def test_same_bytes_for_any_number_of_threads_and_alone(layers):
    found = set()
    for threads in (1, 2, 3):
        net = network(layers=layers)
        net.n_threads = threads
        net.fit(np.tile(X, (20, 1)), np.tile(Y, (20, 1)), epochs=2, batch_size=400)
        found.add(net.parameters.tobytes() + net.predict(X).tobytes())
    assert len(found) == 1
    assert net.predict(X[3:4]).tobytes() == net.predict(X)[3:4].tobytes()


def test_a_gate_at_the_end():
    for layers, n_out in (([Dense(8), GLU()], 4), ([Dense(2), Residual([Dense(4), GLU()])], 2)):
        net = network(layers=layers)
        assert net.spec.n_out == net.sizes[-1] == net.predict(X).shape[1] == n_out
        twin = reference.Twin.of(net)
        np.testing.assert_allclose(net.predict(X), twin.predict(X), atol=1e-13)


def test_widths_and_summary():
    net = network()
    assert net.sizes == (4, 5, 5, 2) and net.n_parameters == 50 + 60 + 12
    text = str(net.summary())
    assert "GLU('silu')" in text
    assert net.spec.needs == ("glu", "layers", "residual")
    rows = [(what.strip(), outputs) for _, what, outputs, _ in net.summary().rows]
    assert ("GLU('silu')", 5) in rows


def test_bad_input():
    for arguments, error, message in (
            (dict(layers=[Dense(7), GLU(), Dense(2)]), ValueError, "GLU halves its inputs.* 7"),
            (dict(layers=[GLU()]), ValueError, "must hold a Dense layer"),
            (dict(layers=[Dense(4), Residual([GLU()]), Dense(2)]), ValueError, "4 inputs has 2")):
        with pytest.raises(error, match=message):
            fastnn.MLP.of(n_in=4, **arguments)
    with pytest.raises(ValueError, match="activation='gelus'.*gelu"):
        GLU("gelus")
    with pytest.raises(TypeError, match="must be the name of one"):
        GLU(fastnn.CustomActivation(np.sin, np.cos))
