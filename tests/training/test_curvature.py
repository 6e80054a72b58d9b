"""Products with the Hessian, beside differences of gradients and PyTorch."""

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
    Embed,
    Heads,
    LayerNorm,
    PReLU,
    Repeat,
    Residual,
    Scale,
    losses,
)
from fastnn.core import _kernels
from fastnn.training._curvature import BENDS, BOWLS

KINKED = ("relu", "leaky_relu", "elu", "selu", "hard_tanh", "hard_sigmoid", "relu6")
SMOOTH = [name for name in BENDS if name not in (*KINKED, "softmax")]
LAYERS = {
    "norm": [Dense(8), LayerNorm(), Activation("tanh"), Dense(7, "silu"), LayerNorm(), Dense(3)],
    "norm of the inputs": [LayerNorm(), Dense(6, "gelu"), Dense(3)],
    "residual": [Dense(6, "tanh"), Residual([Dense(6, "gelu"), LayerNorm(), Dense(6)]), Dense(3)],
    "residual of the inputs": [Residual([Dense(5, "tanh"), Residual([Dense(5, "silu")])]),
                               Dense(3)],
    "norm last": [Dense(5, "tanh"), Dense(3), LayerNorm()],
    "sum last": [Dense(3), Residual([Dense(3, "tanh"), Dense(3)])],
    "prelu": [PReLU(), Dense(6), PReLU(per_unit=False), Dense(6), PReLU(), Dense(3)],
    "scale": [Scale(), Dense(6, "tanh"), Scale(), Dense(3)],
    "batch norm": [Dense(8), BatchNorm(), Activation("tanh"), Dense(3)],
    "batch norm first and last": [BatchNorm(), Residual([Dense(5, "silu"), BatchNorm()]), Dense(3),
                                  BatchNorm()],
    "embed": [Embed(4, (2, 3)), Activation("tanh"), Dense(3)],
    "gates": [Dense(8), GLU("silu"), Dense(6), GLU("sigmoid"), Dense(3)],
    "gates of embeddings": [Embed(3, (1, 4)), GLU("gelu"), Residual([Dense(6), GLU("identity")]),
                            Repeat(2), Dense(6), GLU("tanh"), Heads(3, 2)],
    "members": [Repeat(4), Dense(6, "tanh"), Heads(3, 4)],
    "member": [Repeat(1), Dense(6, "tanh"), Heads(3, 1)],
    "members behind layers": [Dense(6, "tanh"), Repeat(3), Residual([Dense(6, "gelu"), Scale()]),
                              LayerNorm(), BatchNorm(), Heads(3, 3)],
}
TARGETS = {"softmax": "labels", "sigmoid": "shares", "exp": "positive"}
OF_LOSS = {"squared_error": "identity", "huber": "identity", "log_cosh": "identity",
           "absolute_error": "identity", "quantile": "identity", "cross_entropy": "softmax",
           "binary_cross_entropy": "sigmoid", "poisson": "exp", "gamma": "exp", "tweedie": "exp",
           "hinge": "identity", "squared_hinge": "identity", "perceptron": "step",
           "focal": "softmax", "binary_focal": "sigmoid", "gaussian_nll": "identity"}


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
    *(("tanh", output, loss) for loss, output in OF_LOSS.items() if loss != "gaussian_nll"),
    *(("tanh", output, "squared_error") for output in ("tanh", "sigmoid", "exp", "softplus")),
    *(("tanh", "softmax", losses.Focal(gamma)) for gamma in (0.0, 0.5, 1.0, 3.5)),
    ("tanh", "sigmoid", losses.Focal(0.5)), ("tanh", "step", "hinge"),
    *((name, "softmax", None) for name in KINKED),
    ("tanh", "softmax", losses.CrossEntropy(label_smoothing=0.2))])
def test_beside_differences_of_gradients(net, output, loss):
    kinked = net in (*KINKED, "prelu") or loss in (
        "absolute_error", "quantile", "huber", "hinge", "squared_hinge", "perceptron")
    step, limit = (1e-6, 1e-6) if kinked else (2e-4, 2e-8)  # over no kink
    net = made(net, output)
    X, y = problem(output)
    if loss in ("hinge", "squared_hinge", "perceptron"):
        y = (y > 0).astype(float)
    v = direction(net)
    found, expected = net.hvp(X, y, v, loss=loss), difference(net, X, y, v, step, loss=loss)
    assert np.abs(found - expected).max() < limit * (1 + np.abs(expected).max())


def test_gaussian_nll():
    net = fastnn.MLP((5, 9, 4), "tanh", dtype="float64", random_state=0)
    rng = np.random.default_rng(0)
    X, y, v = rng.normal(size=(20, 5)), rng.normal(size=(20, 2)), direction(net)
    found = net.hvp(X, y, v, loss="gaussian_nll")
    expected = difference(net, X, y, v, loss="gaussian_nll")
    assert np.abs(found - expected).max() < 2e-8 * (1 + np.abs(expected).max())


@each("loss", ["cross_entropy", "focal", losses.CrossEntropy(label_smoothing=0.1)])
def test_targets_need_not_sum_to_1(loss):
    net = made("tanh", "softmax")
    X, y = problem("sigmoid")
    v = direction(net)
    found, expected = net.hvp(X, y, v, loss=loss), difference(net, X, y, v, loss=loss)
    assert np.abs(found - expected).max() < 2e-8 * (1 + np.abs(expected).max())


@each("loss", ["hinge", "perceptron"])
def test_losses_of_straight_pieces_leave_the_curvature_of_the_network_alone(loss):
    """Of a linear model there is none."""
    X, y = problem("identity")
    y, output = (y > 0).astype(float), "identity" if loss == "hinge" else "step"
    net = fastnn.MLP((5, 3), output=output, dtype="float64", random_state=0)
    assert (net.hvp(X, y, direction(net), loss=loss) == 0).all()
    assert net.loss_and_grad(X, y, loss=loss)[1].any()


@each("name", ["tanh", "batch norm", "batch norm first and last", "members",
               "members behind layers"])
def test_weights_penalty_and_blocks_of_rows(name):
    net = made(name, "softmax")
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
    for name in ("tanh", "norm", "residual", "batch norm", "prelu", "members behind layers"):
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
    ({"v": np.zeros(3)}, r"v has shape \(3,\), must be a vector like net.parameters: \("),
    ({"v": np.zeros((3, 2))}, r"v has shape \(3, 2\), must be a vector"),
    ({"v": np.ma.masked_less([-1.0, 1.0], 0)}, "^v is a masked array that hides values"),
    ({"v": np.inf}, r"v has shape \(\)"), ({"alpha": -1}, "alpha")])
def test_bad_input(settings, message):
    settings = dict(settings)
    net = made("tanh", "softmax")
    X, y = problem("softmax")
    v = settings.pop("v", direction(net))
    with pytest.raises(ValueError, match=message):
        net.hvp(X, y, v, **settings)


def test_a_value_of_the_direction_that_is_not_finite():
    """It was said of the parameters."""
    net = made("tanh", "softmax")
    X, y = problem("softmax")
    for value in (np.nan, np.inf):
        v = direction(net)
        v[3] = value
        with pytest.raises(ValueError, match="^v contains (NaN|infinity) .*in row 3"):
            net.hvp(X, y, v)


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
    assert BOWLS.keys() == OF_LOSS.keys() == _kernels.LOSSES.keys()
    assert BENDS.keys() == {*_kernels.ACTIVATIONS, "softmax"} - {"step"}


@pytest.mark.slow  # PyTorch takes its time to come
@each("name", ["tanh", "mish", "selu", *LAYERS])
def test_beside_torch_func(name):
    torch = pytest.importorskip("torch")
    net = made(name, "softmax")
    X, y = problem("softmax")
    x, labels = torch.tensor(X), torch.tensor(y)
    twin, weights = twin_of(torch, net, training=True)

    def loss(*parameters):
        z = twin(parameters, x).reshape(-1, 3)
        return torch.nn.functional.cross_entropy(z, labels.repeat_interleave(net.spec.members))

    v = direction(net)
    tangents = tuple(torch.tensor(np.array(w)) for w in net._layout.views(v))
    grad = torch.func.grad(loss, argnums=tuple(range(len(weights))))
    expected = torch.func.jvp(grad, weights, tangents)[1]
    for mine, other in zip(net._layout.views(net.hvp(X, y, v)), expected, strict=True):
        assert np.abs(mine - other.numpy()).max() < 1e-12


@pytest.mark.slow
@each("gamma", [0.0, 0.5, 2.0])
def test_focal_beside_torch_func(gamma):
    torch = pytest.importorskip("torch")
    net = made("tanh", "softmax")
    X, y = problem("softmax")
    twin, weights = twin_of(torch, net, training=True)

    def loss(*parameters):
        p = torch.softmax(twin(parameters, torch.tensor(X)), dim=-1)[range(len(y)), y]
        return (-(1 - p) ** gamma * torch.log(p)).mean()

    v = direction(net)
    tangents = tuple(torch.tensor(np.array(w)) for w in net._layout.views(v))
    grad = torch.func.grad(loss, argnums=tuple(range(len(weights))))
    expected = torch.func.jvp(grad, weights, tangents)[1]
    found = net.hvp(X, y, v, loss=losses.Focal(gamma))
    for mine, other in zip(net._layout.views(found), expected, strict=True):
        assert np.abs(mine - other.numpy()).max() < 1e-12
