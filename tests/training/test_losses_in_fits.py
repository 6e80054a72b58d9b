"""Losses as objects and by name: beside other libraries, in whole fits, and what is refused."""

import numpy as np
import pytest
import reference
from each import each

import fastnn
from fastnn.losses import (
    AbsoluteError,
    BinaryCrossEntropy,
    CrossEntropy,
    Custom,
    Focal,
    Gamma,
    GaussianNLL,
    Hinge,
    Huber,
    LogCosh,
    Loss,
    Perceptron,
    Poisson,
    Quantile,
    SquaredError,
    SquaredHinge,
    Tweedie,
)

# loss, output, n_out, targets
CASES = {
    "squared_error": (SquaredError(), "identity", 3, "real"),
    "absolute_error": (AbsoluteError(), "identity", 3, "real"),
    "huber": (Huber(0.7), "identity", 3, "real"),
    "huber of sigmoid": (Huber(0.1), "sigmoid", 2, "real"),
    "log_cosh": (LogCosh(), "identity", 1, "real"),
    "quantile": (Quantile(0.9), "identity", 2, "real"),
    "quantiles": (Quantile([0.05, 0.5, 0.95]), "identity", 3, "column"),
    "gaussian_nll": (GaussianNLL(), "identity", 4, "half"),
    "poisson": (Poisson(), "exp", 2, "counts"),
    "tweedie": (Tweedie(1.3), "exp", 2, "counts"),
    "tweedie of power 1": (Tweedie(1), "exp", 2, "counts"),
    "tweedie of power 2": (Tweedie(2), "exp", 2, "positive"),
    "gamma": (Gamma(), "exp", 1, "positive"),
    "cross_entropy": (CrossEntropy(), "softmax", 5, "labels"),
    "label smoothing": (CrossEntropy(0.2), "softmax", 5, "labels"),
    "focal": (Focal(1.5), "softmax", 5, "labels"),
    "focal without gamma": (Focal(0), "softmax", 5, "labels"),
    "focal of sigmoid": (Focal(1.5), "sigmoid", 2, "zeros and ones"),
    "binary_cross_entropy": (BinaryCrossEntropy(), "sigmoid", 2, "zeros and ones"),
    "hinge": (Hinge(), "identity", 4, "labels"),
    "hinge of step": (Hinge(), "step", 1, "zeros and ones"),
    "squared_hinge": (SquaredHinge(), "identity", 1, "zeros and ones"),
    "perceptron": (Perceptron(), "step", 2, "zeros and ones"),
}
LAYOUTS = {"narrow": 12, "wide": 150}


def data(name, rows=203):
    _, _, n_out, kind = CASES[name]
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, 6))
    y = {
        "real": lambda: rng.normal(size=(rows, n_out)), "column": lambda: rng.normal(size=rows),
        "half": lambda: rng.normal(size=(rows, n_out // 2)),
        "counts": lambda: rng.poisson(1, (rows, n_out)).astype(float),
        "positive": lambda: rng.gamma(2, size=(rows, n_out)),
        "labels": lambda: rng.integers(0, n_out, rows),
        "zeros and ones": lambda: rng.integers(0, 2, (rows, n_out)),
    }[kind]()
    return X, y, rng.uniform(0.1, 2, rows)


def make(name, width=12, dtype="float64", n_threads=None):
    _, output, n_out, _ = CASES[name]
    return fastnn.MLP((6, width, n_out), "tanh", output, dtype=dtype, random_state=0,
                      n_threads=n_threads)


def twins_targets(name, y):
    """As the twin takes them: rows of one number for each output."""
    loss, _, n_out, kind = CASES[name]
    if kind == "column":
        return np.tile(y[:, None], n_out)
    return reference.one_hot(y, n_out) if isinstance(loss, Hinge) and y.ndim == 1 else y


@each("name", CASES)
@each("width", LAYOUTS.values())
def test_value_and_gradient(name, width):
    """The twin's, and the gradient is the slope of the value."""
    X, y, weight = data(name)
    net, loss = make(name, width), CASES[name][0]
    value, grad = net.loss_and_grad(X, y, loss=loss, sample_weight=weight, alpha=0.1)
    wanted, _ = reference.Twin.of(net).loss_and_grad(X, twins_targets(name, y), loss, weight, 0.1)
    assert value == pytest.approx(wanted, rel=1e-12)
    assert net.loss(X, y, loss=loss, sample_weight=weight, alpha=0.1) == value
    rng = np.random.default_rng(1)
    at = np.flatnonzero(grad)
    direction = np.zeros_like(grad)
    direction[at] = rng.normal(size=len(at)) * 1e-5
    start, values = net.parameters.copy(), []
    for step in (1, -1, 2, -2):
        net.parameters[:] = start + step * direction
        values.append(net.loss(X, y, loss=loss, sample_weight=weight, alpha=0.1))
    slope = (8 * (values[0] - values[1]) - (values[2] - values[3])) / 12
    assert grad @ direction == pytest.approx(slope, rel=1e-5, abs=1e-13)


@each("name", CASES)
@each("width", LAYOUTS.values())
@each("dtype", ["float32", "float64"])
def test_same_bytes_for_any_number_of_threads(name, width, dtype):
    X, y, weight = data(name, 600)
    found = set()
    for n_threads in (1, 2, 3, 8):
        net = make(name, width, dtype, n_threads)
        history = net.fit(X, y, loss=CASES[name][0], epochs=2, batch_size=300,
                          sample_weight=weight)
        found.add((net.parameters.tobytes(), tuple(history.loss)))
    assert len(found) == 1


@each("name", CASES)
def test_strings_stand_for_the_defaults(name):
    loss, output, *_ = CASES[name]
    plain = type(loss)()
    X, y, _ = data(name)
    if isinstance(y, np.ndarray) and plain.name == "quantile" and y.ndim == 1:
        y = np.tile(y[:, None], 3)
    net = make(name)
    assert net.loss(X, y, loss=plain.name) == net.loss(X, y, loss=plain)
    assert net.deltas(X, y, loss=plain.name)[0].tobytes() == (
        net.deltas(X, y, loss=plain)[0].tobytes())


def test_every_loss_is_here():
    classes = {type(loss) for loss, *_ in CASES.values()} | {Custom}
    assert classes == {kind for kind in Loss.__subclasses__() if not kind.__name__.startswith("_")}


def test_a_default_is_the_plain_kernel():
    """Label smoothing of 0, gamma of 0 and the powers at the ends are other rows' bytes."""
    pairs = [("label smoothing", CrossEntropy(0.0), "cross_entropy"),
             ("focal", Focal(0), "cross_entropy"), ("focal of sigmoid", Focal(0.0),
                                                    "binary_cross_entropy"),
             ("tweedie", Tweedie(1), "poisson"), ("tweedie of power 2", Tweedie(2), "gamma")]
    for name, loss, plain in pairs:
        X, y, weight = data(name)
        net = make(name)
        one = net.loss_and_grad(X, y, loss=loss, sample_weight=weight)
        two = net.loss_and_grad(X, y, loss=plain, sample_weight=weight)
        assert one[0] == two[0]
        np.testing.assert_array_equal(one[1], two[1])


# ---- other libraries ----


def raw_and_slope(name):
    """Raw outputs of a network of one layer with W = 1: the loss is a function of X."""
    loss, output, n_out, _ = CASES[name]
    _, y, _ = data(name)
    z = np.random.default_rng(3).normal(size=(len(y), n_out))
    net = fastnn.MLP((n_out, n_out), output=output, dtype="float64", random_state=0)
    net.set_weights([np.eye(n_out), np.zeros(n_out)])
    return z, y, net.loss(z, y, loss=loss), net.deltas(z, y, loss=loss)[0]


@each("name", ["squared_error", "absolute_error", "huber", "gaussian_nll", "label smoothing",
               "cross_entropy", "binary_cross_entropy", "quantile"])
def test_pytorch(name):
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    z, y, value, slope = raw_and_slope(name)
    z = torch.tensor(z, requires_grad=True)
    y = torch.tensor(y)
    if name == "gaussian_nll":
        mean, log_variance = z[:, :2], z[:, 2:]
        theirs = F.gaussian_nll_loss(mean, y, log_variance.exp())
    elif name == "quantile":  # pinball: PyTorch has none, its own maximum
        theirs = torch.maximum(0.9 * (y - z), -0.1 * (y - z)).mean()
    elif name == "label smoothing":
        theirs = F.cross_entropy(z, y, label_smoothing=0.2)
    elif name == "cross_entropy":
        theirs = F.cross_entropy(z, y)
    elif name == "binary_cross_entropy":  # ours is the sum over the outputs
        theirs = F.binary_cross_entropy_with_logits(z, y.double()) * z.shape[1]
    else:
        theirs = {"squared_error": lambda: 0.5 * F.mse_loss(z, y),
                  "absolute_error": lambda: F.l1_loss(z, y),
                  "huber": lambda: F.huber_loss(z, y, delta=0.7)}[name]()
    theirs.backward()
    assert value == pytest.approx(theirs.item(), rel=1e-12)
    np.testing.assert_allclose(slope, z.grad.numpy(), rtol=0, atol=1e-15)


@each("name", ["absolute_error", "quantile", "poisson", "tweedie", "gamma"])
def test_scikit_learn(name):
    metrics = pytest.importorskip("sklearn.metrics")
    z, y, value, _ = raw_and_slope(name)
    mean = np.exp(z)
    theirs = {
        "absolute_error": lambda: metrics.mean_absolute_error(y, z),
        "quantile": lambda: metrics.mean_pinball_loss(y, z, alpha=0.9),
        "poisson": lambda: z.shape[1] * metrics.mean_poisson_deviance(y.ravel(), mean.ravel()) / 2,
        "tweedie": lambda: z.shape[1] * metrics.mean_tweedie_deviance(
            y.ravel(), mean.ravel(), power=1.3) / 2,
        "gamma": lambda: metrics.mean_gamma_deviance(y, mean) / 2,
    }[name]
    assert value == pytest.approx(theirs(), rel=1e-12)


def test_focal_by_hand():
    """Lin et al. 2017, equation 4: (1 - p)^gamma times the cross-entropy."""
    net = fastnn.MLP((2, 2), output="softmax", dtype="float64", random_state=0)
    net.set_weights([np.eye(2), np.zeros(2)])
    z = np.log([[0.9, 0.1]])
    assert net.loss(z, [0], loss=Focal(2.0)) == pytest.approx(-0.01 * np.log(0.9))
    assert net.loss(z, [1], loss=Focal(0.5)) == pytest.approx(-np.sqrt(0.9) * np.log(0.1))


# ---- what fits learn ----


def test_quantiles_are_those_of_the_data():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (3000, 1))
    y = X[:, 0] + (1 + X[:, 0]) * rng.normal(size=3000)
    levels = (0.1, 0.5, 0.9)
    net = fastnn.MLP((1, 16, 3), "tanh", dtype="float64", random_state=0)
    net.fit(X, y, loss=Quantile(levels), optimizer=fastnn.Adam(1e-2), epochs=20)
    assert np.mean(y[:, None] < net.predict(X), axis=0) == pytest.approx(levels, abs=0.03)


def test_gaussian_nll_finds_mean_and_variance():
    rng = np.random.default_rng(0)
    y = rng.normal(3, 2, size=(4000, 1))
    net = fastnn.MLP((1, 2), dtype="float64", random_state=0)
    net.fit(np.zeros((4000, 1)), y, loss="gaussian_nll", optimizer=fastnn.Adam(0.02), epochs=40)
    mean, log_variance = net.predict([[0.0]])[0]
    assert mean == pytest.approx(y.mean(), abs=0.15)
    assert np.exp(0.5 * log_variance) == pytest.approx(y.std(), rel=0.05)


# ---- Python functions ----


def custom_huber(calls=None):
    def value(y, output):
        if calls is not None:
            calls.append(len(y))
        d = output - y
        return np.where(np.abs(d) > 0.7, 0.7 * (np.abs(d) - 0.35), 0.5 * d * d)

    return Custom(value, lambda y, output: np.clip(output - y, -0.7, 0.7), name="my_huber")


@each("name", ["huber", "huber of sigmoid"])
@each("width", LAYOUTS.values())
@each("dtype", ["float32", "float64"])
def test_custom_is_the_row(name, width, dtype):
    """Gradients agree to rounding: to the bit where the row's batch is one shard as well."""
    X, y, weight = data(name, 300)
    calls = []
    nets = [make(name, width, dtype) for _ in range(2)]
    losses = [net.fit(X, y, loss=loss, epochs=3, batch_size=128, sample_weight=weight).loss
              for net, loss in zip(nets, (Huber(0.7), custom_huber(calls)), strict=True)]
    assert calls == [128, 128, 44] * 3  # once for each batch
    tolerance = 1e-4 if dtype == "float32" else 1e-11
    assert losses[1] == pytest.approx(losses[0], rel=tolerance)
    np.testing.assert_allclose(nets[1].parameters, nets[0].parameters, rtol=0, atol=tolerance)
    for one, two in zip(nets[0].deltas(X, y, loss=Huber(0.7)),
                        nets[0].deltas(X, y, loss=custom_huber()), strict=True):
        np.testing.assert_allclose(two, one, rtol=0, atol=tolerance)


def test_custom_of_rows_and_of_softmax():
    """One number for each row; with softmax the chain rule is ours."""
    X, labels, weight = data("cross_entropy")
    y = reference.one_hot(labels, 5)
    net = make("cross_entropy")
    loss = Custom(lambda y, p: -(y * np.log(p)).sum(axis=1), lambda y, p: -y / p, reduction="sum")
    got = net.loss_and_grad(X, y, loss=loss, sample_weight=weight)
    wanted = net.loss_and_grad(X, y, sample_weight=weight)
    assert got[0] == pytest.approx(wanted[0], rel=1e-13)
    np.testing.assert_allclose(got[1], wanted[1], rtol=0, atol=1e-14)


@each("error", [ZeroDivisionError("mine"), KeyboardInterrupt(), MemoryError("no room")])
@each("width", LAYOUTS.values())
def test_an_error_in_custom_leaves_the_last_whole_epoch(error, width):
    X, y, _ = data("huber", 300)
    calls = []

    def value(y, output):
        calls.append(1)
        if len(calls) == 8:
            raise error
        return (output - y) ** 2

    def loss():
        return Custom(value, lambda y, output: 2 * (output - y))

    net, other = make("huber", width), make("huber", width)
    with pytest.raises(type(error)):
        net.fit(X, y, loss=loss(), epochs=5, batch_size=100)
    assert len(calls) == 8
    whole = other.fit(X, y, loss=loss(), epochs=2, batch_size=100)
    assert len(whole.loss) == 2
    if not isinstance(error, KeyboardInterrupt):  # which leaves the last whole step
        assert net.parameters.tobytes() == other.parameters.tobytes()
    assert net.fit(X, y, loss=loss(), epochs=1).loss  # and it can be used


@each("value, derivative, reduction, message", [
    (lambda y, z: z[:1], lambda y, z: z, "mean", r"value .* shape \(1, 3\), must give \(100, 3\)"),
    (lambda y, z: z[:, 0], lambda y, z: z, "mean", "reduction='sum'"),
    (lambda y, z: z, lambda y, z: z[:, 0], "mean", r"derivative .* shape \(100,\)"),
])
def test_shapes_of_custom(value, derivative, reduction, message):
    X, y, _ = data("huber", 100)
    with pytest.raises(ValueError, match=message):
        make("huber").fit(X, y, loss=Custom(value, derivative, reduction=reduction), epochs=1)


@pytest.mark.parametrize("of", [lambda z: z * 1j, lambda z: z.astype(object)])
def test_custom_gives_real_numbers(of):
    X, y, _ = data("huber", 100)
    for wrong in (Custom(lambda y, z: of(z), lambda y, z: z),
                  Custom(lambda y, z: z, lambda y, z: of(z))):
        with pytest.raises(TypeError, match="must give real numbers"):
            make("huber").fit(X, y, loss=wrong, epochs=1)


def test_custom_hides_no_values():
    X, y, _ = data("huber", 100)
    hidden = lambda z: np.ma.array(z, mask=z > 0)  # noqa: E731
    for name, wrong in (("value", Custom(lambda y, z: hidden(z), lambda y, z: z)),
                        ("derivative", Custom(lambda y, z: z, lambda y, z: hidden(z)))):
        for action in (lambda loss: make("huber").fit(X, y, loss=loss, epochs=1),
                       lambda loss: make("huber").loss(X, y, loss=loss)):
            with pytest.raises(ValueError, match=f"^{name} of loss 'custom' is a masked array"):
                action(wrong)
    whole = Custom(lambda y, z: np.ma.array((z - y) ** 2), lambda y, z: np.ma.array(2 * (z - y)))
    assert np.isfinite(make("huber").fit(X, y, loss=whole, epochs=1).loss).all()


# ---- checkpoints ----


@each("name", ["huber", "quantiles", "gaussian_nll", "label smoothing", "tweedie"])
def test_a_resumed_fit_is_the_same(name, tmp_path):
    X, y, _ = data(name)
    loss, path = CASES[name][0], tmp_path / f"{name}.fnn"
    whole = make(name)
    whole.fit(X, y, loss=loss, epochs=6)
    make(name).fit(X, y, loss=loss, epochs=3, checkpoint=path, checkpoint_seconds=0)
    net = make(name)
    net.fit(X, y, loss=loss, epochs=6, checkpoint=path)
    assert net.parameters.tobytes() == whole.parameters.tobytes()


def test_a_checkpoint_knows_the_parameters(tmp_path):
    X, y, _ = data("huber")
    make("huber").fit(X, y, loss=Huber(0.7), epochs=1, checkpoint=tmp_path / "fit")
    with pytest.raises(fastnn.ModelFormatError, match=r"loss was .*0\.7.*, is .*2\.0"):
        make("huber").fit(X, y, loss=Huber(2.0), epochs=2, checkpoint=tmp_path / "fit")


# ---- bad input ----


@each("call, kind, message", [
    (lambda: Huber(0), ValueError, r"delta=0 of Huber must be finite and > 0"),
    (lambda: Huber(np.inf), ValueError, "delta=inf"),
    (lambda: Huber("1"), TypeError, "delta='1' must be a number"),
    (lambda: Quantile(1.5), ValueError, r"level=1.5 of Quantile must be in \(0, 1\)"),
    (lambda: Quantile(0), ValueError, "level=0"),
    (lambda: Quantile([0.5, 1.0]), ValueError, "level=1.0"),
    (lambda: Quantile([0.9, 0.1]), ValueError, r"must rise: give the levels as \[0.1, 0.9\]"),
    (lambda: Quantile([0.5, 0.5]), ValueError, "must rise"),
    (lambda: Quantile([]), ValueError, "at least one"),
    (lambda: Quantile("0.5"), TypeError, "must be a number"),
    (lambda: Tweedie(3), ValueError, r"power=3 of Tweedie must be in \[1, 2\]"),
    (lambda: Tweedie(0), ValueError, "power=0"),
    (lambda: CrossEntropy(label_smoothing=1), ValueError, r"label_smoothing=1 .*\[0, 1\)"),
    (lambda: CrossEntropy(-0.1), ValueError, "label_smoothing=-0.1"),
    (lambda: Focal(-1), ValueError, "gamma=-1"),
    (lambda: Focal(np.nan), ValueError, "gamma=nan"),
    (lambda: Loss(), TypeError, "base"),
    (lambda: Custom(1, len), TypeError, "value=1 of Custom must be callable"),
    (lambda: Custom(len, None), TypeError, "derivative=None"),
    (lambda: Custom(len, len, name="huber"), ValueError, "not the name of another loss"),
    (lambda: Custom(len, len, reduction="max"), ValueError, "reduction='max'"),
])
def test_bad_parameters(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


@each("loss, output, n_out, y, kind, message", [
    ("hubert", "identity", 1, [[1.0]], ValueError, "loss='hubert' must be one of: .*huber"),
    (Huber, "identity", 1, [[1.0]], TypeError, r"is a class, must be an object: Huber\(\)"),
    (3, "identity", 1, [[1.0]], TypeError, "loss=3"),
    ("focal", "identity", 1, [[1.0]], ValueError, "loss='focal' must go with output='softmax' or"),
    (Huber(), "softmax", 2, [[1.0, 0]], ValueError, "must go with output='identity'"),
    ("hinge", "sigmoid", 1, [[1.0]], ValueError, "output='identity' or 'step'"),
    ("gamma", "identity", 1, [[1.0]], ValueError, "output='exp'"),
    (Quantile([0.1, 0.9]), "identity", 3, [1.0], ValueError, "has 2 entries, must have 3"),
    ("gaussian_nll", "identity", 3, [[1.0]], ValueError, "needs two outputs for each column of y"),
    ("gaussian_nll", "tanh", 2, [[1.0]], ValueError, "output='identity'"),
    ("gaussian_nll", "identity", 4, [1.0], ValueError, r"must be \(1, 2\)"),
    (Quantile(0.5), "identity", 2, [1.0], ValueError, r"must be \(1, 2\)"),
    ("gamma", "exp", 1, [[0.0]], ValueError, "value 0.0, loss='gamma' needs values > 0"),
    ("gamma", "exp", 1, [[-1.0]], ValueError, "value -1.0, loss='gamma'"),
    ("tweedie", "exp", 1, [[-1.0]], ValueError, "value -1.0, loss='tweedie' needs values >= 0"),
    (Tweedie(2), "exp", 1, [[0.0]], ValueError, "needs values > 0"),
    ("focal", "softmax", 2, [2], ValueError, r"labels in 2..2, must be in 0..1"),
    ("hinge", "identity", 3, [3], ValueError, "labels in 3..3, must be in 0..2"),
    ("hinge", "identity", 3, [0.5], ValueError, "loss='hinge' needs 0..2"),
    ("hinge", "identity", 1, [[-1.0]], ValueError, r"needs \[0, 1\]"),
])
def test_bad_losses_and_targets(loss, output, n_out, y, kind, message):
    net = fastnn.MLP((2, n_out), output=output, random_state=0)
    for method in (net.fit, net.loss, net.loss_and_grad, net.deltas):
        with pytest.raises(kind, match=message):
            method([[1.0, 2.0]], y, loss=loss)


def test_losses_are_values():
    """They compare, hash and print as what they are."""
    assert Huber(2.0) == Huber(2.0) != Huber(1.0)
    assert len({Quantile([0.1, 0.9]), Quantile((0.1, 0.9)), Quantile(0.1)}) == 2
    assert repr(Focal(gamma=1.0)) == "Focal(gamma=1.0)"
    with pytest.raises(AttributeError):
        Huber().delta = 2
