"""Products with the Hessian, beside differences of gradients and PyTorch."""

import numpy as np
import pytest
import scipy.sparse as sp
from each import each

import fastnn
from fastnn import Activation, Dense, LayerNorm, Residual, losses
from fastnn.training._curvature import BENDS, BOWLS

SMOOTH = [name for name in BENDS if name not in ("relu", "leaky_relu", "elu", "softmax")]
LAYERS = {
    "norm": [Dense(8), LayerNorm(), Activation("tanh"), Dense(7, "silu"), LayerNorm(), Dense(3)],
    "norm of the inputs": [LayerNorm(), Dense(6, "gelu"), Dense(3)],
    "residual": [Dense(6, "tanh"), Residual([Dense(6, "gelu"), LayerNorm(), Dense(6)]), Dense(3)],
    "residual of the inputs": [Residual([Dense(5, "tanh"), Residual([Dense(5, "silu")])]),
                               Dense(3)],
    "norm last": [Dense(5, "tanh"), Dense(3), LayerNorm()],
    "sum last": [Dense(3), Residual([Dense(3, "tanh"), Dense(3)])],
}
TARGETS = {"softmax": "labels", "sigmoid": "shares", "exp": "positive"}
OF_LOSS = {"squared_error": "identity", "huber": "identity", "log_cosh": "identity",
           "absolute_error": "identity", "quantile": "identity", "cross_entropy": "softmax",
           "binary_cross_entropy": "sigmoid", "poisson": "exp", "gamma": "exp", "tweedie": "exp"}


def made(net, output="identity", dtype="float64"):
    if net in LAYERS:
        made = fastnn.MLP.of(LAYERS[net], n_in=5, output=output, dtype=dtype, random_state=0)
    else:
        made = fastnn.MLP((5, 9, 7, 3), net, output, dtype=dtype, random_state=0)
    rng = np.random.default_rng(7)
    made.set_weights([w + 0.1 * rng.normal(size=w.shape) for w in made.get_weights()])
    return made


def problem(output, n=20, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5))
    y = {"labels": rng.integers(0, 3, n), "shares": rng.uniform(size=(n, 3)),
         "positive": rng.uniform(0.5, 3, (n, 3))}.get(TARGETS.get(output), rng.normal(size=(n, 3)))
    return X, y


def direction(net, seed=1):
    v = np.zeros_like(net.parameters)
    rng = np.random.default_rng(seed)
    for view in net._layout.views(v):
        view[:] = rng.normal(size=view.shape)
    return v


def difference(net, X, y, v, step=2e-4, **settings):
    """(g(w + h v) - g(w - h v)) / 2h, with Richardson's step: of fourth order."""
    start = net.parameters.copy()

    def slope(h):
        found = []
        for side in (h, -h):
            net.parameters[:] = start + side * v
            found.append(net.loss_and_grad(X, y, **settings)[1])
        net.parameters[:] = start
        return (found[0] - found[1]) / (2 * h)

    return (4 * slope(step) - slope(2 * step)) / 3


@each("net, output, loss", [
    *((name, "identity", None) for name in SMOOTH), *((name, "softmax", None) for name in LAYERS),
    *(("tanh", output, loss) for loss, output in OF_LOSS.items()),
    *(("tanh", output, "squared_error") for output in ("tanh", "sigmoid", "exp", "softplus")),
    ("relu", "softmax", None), ("leaky_relu", "identity", None), ("elu", "identity", None),
    ("tanh", "softmax", losses.CrossEntropy(label_smoothing=0.2))])
def test_beside_differences_of_gradients(net, output, loss):
    kinked = net in ("relu", "leaky_relu") or loss in ("absolute_error", "quantile", "huber")
    step, limit = (1e-6, 1e-6) if kinked else (2e-4, 2e-8)  # over no kink
    net = made(net, output)
    X, y = problem(output)
    v = direction(net)
    found, expected = net.hvp(X, y, v, loss=loss), difference(net, X, y, v, step, loss=loss)
    assert np.abs(found - expected).max() < limit * (1 + np.abs(expected).max())


def test_weights_penalty_and_blocks_of_rows():
    net = made("tanh", "softmax")
    X, y = problem("softmax", n=250)
    v, weight = direction(net), np.random.default_rng(3).uniform(0.5, 2, 250)
    settings = {"sample_weight": weight, "alpha": 0.3}
    found = net.hvp(X, y, v, **settings)
    expected = difference(net, X, y, v, **settings)
    assert np.abs(found - expected).max() < 2e-8 * (1 + np.abs(expected).max())
    assert (net.hvp(sp.csr_matrix(X), y, v, **settings) == found).all()


def test_it_is_symmetric_and_linear():
    net = made("residual", "softmax")
    X, y = problem("softmax")
    u, v = direction(net, 1), direction(net, 2)
    hu, hv = net.hvp(X, y, u), net.hvp(X, y, v)
    assert np.isclose(u @ hv, v @ hu, rtol=1e-11)
    assert np.allclose(net.hvp(X, y, 2 * u - v), 2 * hu - hv, rtol=1e-10, atol=1e-13)


def test_float32_is_near_float64():
    for name in ("tanh", "norm", "residual"):
        narrow, wide = made(name, "softmax", "float32"), made(name, "softmax")
        wide.set_weights(narrow.get_weights())
        X, y = problem("softmax")
        X = X.astype("float32")
        v = direction(narrow)
        found = narrow.hvp(X, y, v)
        given = np.zeros_like(wide.parameters)
        for mine, other in zip(wide._layout.views(given), narrow._layout.views(v), strict=True):
            mine[:] = other
        expected = wide.hvp(X.astype(float), y, given)
        for a, b in zip(narrow._layout.views(found), wide._layout.views(expected), strict=True):
            assert np.abs(a - b).max() < 1e-4 * (1 + np.abs(b).max())


def test_threads_and_parameters_change_nothing():
    net = made("tanh", "softmax")
    X, y = problem("softmax", 200)
    v, before = direction(net), net.parameters.copy()
    found = []
    for n_threads in (1, 2, 3, 8):
        net.n_threads = n_threads
        found.append(net.hvp(X, y, v).tobytes())
    assert len(set(found)) == 1
    assert (net.parameters == before).all()


@each("settings, message", [
    ({"loss": losses.Focal()}, "focal"), ({"net": "softmax"}, "hinge"),
    ({"v": np.zeros(3)}, "v must be a vector like net.parameters"),
    ({"v": np.full(10, np.nan)}, "v must be"), ({"alpha": -1}, "alpha")])
def test_bad_input(settings, message):
    settings = dict(settings)
    net = made("tanh", "softmax")
    X, y = problem("softmax")
    v = settings.pop("v", direction(net))
    if settings.pop("net", None):
        net = made("tanh", "identity")
        y, settings["loss"] = (y == 1).astype(float)[:, None] * np.ones(3), "hinge"
    with pytest.raises(ValueError, match=message):
        net.hvp(X, y, v, **settings)


def test_functions_of_users_have_no_second_derivative():
    X, y = problem("identity")
    sine = fastnn.CustomActivation(np.sin, np.cos, name="sine")
    net = fastnn.MLP((5, 4, 3), sine, dtype="float64", random_state=0)
    with pytest.raises(ValueError, match="'sine' is not known"):
        net.hvp(X, y, np.zeros_like(net.parameters))
    custom = losses.Custom(lambda y, z: (z - y) ** 2, lambda y, z: 2 * (z - y))
    net = made("tanh")
    with pytest.raises(ValueError, match="second derivative of loss"):
        net.hvp(X, y, np.zeros_like(net.parameters), loss=custom)
    step = fastnn.MLP((5, 4, 3), ["step"], dtype="float64", random_state=0)
    with pytest.raises(ValueError, match="activation 'step'"):
        step.hvp(X, y, np.zeros_like(step.parameters))


def test_the_tables_are_those_of_the_tests():
    assert BOWLS.keys() == OF_LOSS.keys()


@pytest.mark.slow  # PyTorch takes its time to come
def test_beside_torch_func():
    torch = pytest.importorskip("torch")
    net = made("tanh", "softmax")
    X, y = problem("softmax")
    x, labels = torch.tensor(X), torch.tensor(y)

    def loss(*parameters):
        a = x
        for i in range(0, len(parameters), 2):
            a = a @ parameters[i] + parameters[i + 1]
            a = torch.tanh(a) if i < len(parameters) - 2 else a
        return torch.nn.functional.cross_entropy(a, labels)

    v = direction(net)
    weights = tuple(torch.tensor(w) for w in net.get_weights())
    tangents = tuple(torch.tensor(np.array(w)) for w in net._layout.views(v))
    grad = torch.func.grad(loss, argnums=tuple(range(len(weights))))
    expected = torch.func.jvp(grad, weights, tangents)[1]
    for mine, other in zip(net._layout.views(net.hvp(X, y, v)), expected, strict=True):
        assert np.abs(mine - other.numpy()).max() < 1e-12
