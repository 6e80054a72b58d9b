"""`CustomActivation`: Python functions of arrays in the place of a row of the table."""

import pickle

import numpy as np
import pytest
from each import each

import fastnn
from fastnn import Activation, CustomActivation, Dense, Dropout, LayerNorm, Residual

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 5))
Y = RNG.integers(0, 3, 90)


def slope(z):
    return 1 - np.tanh(z) ** 2


TANH = CustomActivation(np.tanh, slope, name="my_tanh")
NETS = {
    "chain": lambda f, **s: fastnn.MLP((5, 8, 6, 3), f, "softmax", **s),
    "one of two": lambda f, **s: fastnn.MLP((5, 8, 6, 3), ["relu", f], "softmax", **s),
    "dropout": lambda f, **s: fastnn.MLP((5, 8, 8, 3), f, "softmax", dropout=0.3, **s),
    "norm": lambda f, **s: fastnn.MLP((5, 8, 8, 3), f, "softmax", norm="layer", residual=True, **s),
    "first": lambda f, **s: fastnn.MLP.of(
        [Activation(f), Dense(8, f), Activation("relu"), Dense(3)], n_in=5, output="softmax", **s),
    "last": lambda f, **s: fastnn.MLP.of(
        [Dense(8), Dropout(0.2), Activation(f), Dense(3, f)], n_in=5, output="softmax", **s),
    "residual": lambda f, **s: fastnn.MLP.of(
        [Dense(8, f), Residual([Activation(f), Dense(8, f), Dropout(0.1)]), LayerNorm(), Dense(3)],
        n_in=5, output="softmax", **s),
}


@each("name", NETS)
@each("dtype, tolerance", [("float64", 1e-12), ("float32", 2e-5)])
def test_same_results_as_the_row(name, dtype, tolerance):
    # dropout's masks are those of operations by their number, of which a function is one more
    drops = "ropout" in str(NETS[name]("tanh").spec.layers)
    row, found = (NETS[name](f, dtype=dtype, random_state=0) for f in ("tanh", TANH))
    np.testing.assert_array_equal(found.parameters, row.parameters)
    (loss, grad), (own_loss, own_grad) = row.loss_and_grad(X, Y), found.loss_and_grad(X, Y)
    assert own_loss == pytest.approx(loss, rel=tolerance)
    np.testing.assert_allclose(own_grad, grad, rtol=0, atol=tolerance)
    np.testing.assert_allclose(found.predict(X), row.predict(X), rtol=0, atol=tolerance)
    for a, b in zip(found.activations_of(X), row.activations_of(X), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)
    for a, b in zip(found.deltas(X, Y), row.deltas(X, Y), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)
    if not drops:
        histories = [net.fit(X, Y, epochs=3, batch_size=20, optimizer=fastnn.SGD(0.1)).loss
                     for net in (row, found)]
        np.testing.assert_allclose(*histories, rtol=tolerance)
        np.testing.assert_allclose(found.parameters, row.parameters, rtol=0, atol=10 * tolerance)


@each("name", NETS)
def test_gradients_by_finite_differences(name):
    """Of a function that has no row."""
    wave = CustomActivation(lambda z: np.sin(2 * z) + 0.1 * z,
                            lambda z: 2 * np.cos(2 * z) + 0.1, name="wave")
    net = NETS[name](wave, dtype="float64", random_state=1)
    _, grad = net.loss_and_grad(X, Y)
    flat, step = net.parameters, 1e-6
    for i in np.flatnonzero(grad)[::7]:
        kept, losses = flat[i], []
        for flat[i] in (kept + step, kept - step):
            losses.append(net.loss(X, Y))
        flat[i] = kept
        assert grad[i] == pytest.approx((losses[0] - losses[1]) / (2 * step), abs=1e-7)


def test_called_once_for_each_batch_and_layer():
    calls = []

    def value(z):
        calls.append(("value", z.shape, z.dtype.name))
        return np.tanh(z)

    def derivative(z):
        calls.append(("derivative", z.shape, z.dtype.name))
        return slope(z)

    net = fastnn.MLP((5, 300, 200, 3), CustomActivation(value, derivative), "softmax",
                     random_state=0, n_threads=2)
    net.fit(np.tile(X, (8, 1)), np.tile(Y, 8), epochs=1, batch_size=600)
    batch = [("value", (n, w), "float32") for n in (600, 120) for w in (300, 200)]
    back = [("derivative", (n, w), "float32") for n in (600, 120) for w in (200, 300)]
    assert calls == batch[:2] + back[:2] + batch[2:] + back[2:]


@each("name", NETS)
def test_same_bytes_for_any_number_of_threads(name):
    rows = RNG.normal(size=(3000, 5))
    found = set()
    for n_threads in (1, 2, 3, 8):
        net = NETS[name](TANH, random_state=0, n_threads=n_threads)
        net.fit(X, Y, epochs=2, batch_size=40)
        found.add((net.parameters.tobytes(), net.predict(rows).tobytes()))
    assert len(found) == 1


@each("optimizer", [fastnn.LBFGS(max_iter=5), fastnn.EvolutionStrategy(population=6),
                    fastnn.Muon(0.01), fastnn.EMA("adam", decay=0.9)])
def test_other_optimizers(optimizer):
    row, found = (NETS["one of two"](f, dtype="float64", random_state=0) for f in ("tanh", TANH))
    for net in (row, found):
        net.fit(X, Y, optimizer=optimizer, epochs=2)
    np.testing.assert_allclose(found.parameters, row.parameters, rtol=0, atol=1e-7)


# ---- errors ----

def raises(z):
    raise OSError("the table is gone")


class Later:
    """Fails at the call of this number."""

    def __init__(self, number):
        self.left = number

    def __call__(self, z):
        self.left -= 1
        if self.left < 0:
            raise OSError("the table is gone")
        return np.tanh(z)


@each("functions", [lambda: (Later(8), slope), lambda: (np.tanh, Later(8))])
@each("n_threads", [1, 2])
def test_an_error_leaves_the_last_whole_epoch(functions, n_threads):
    """An epoch is five steps."""
    net = fastnn.MLP((5, 8, 3), CustomActivation(*functions()), "softmax", random_state=0,
                     n_threads=n_threads)
    other = fastnn.MLP((5, 8, 3), CustomActivation(np.tanh, functions()[1]), "softmax",
                       random_state=0)
    with pytest.raises(OSError, match="the table is gone"):
        net.fit(X, Y, epochs=5, batch_size=18)
    other.fit(X, Y, epochs=1, batch_size=18)
    assert net.parameters.tobytes() == other.parameters.tobytes()
    assert net.history.stopped == "failed" and len(net.history.loss) == 1


def test_errors_of_predictions():
    """Each caller gets its own, and the next call is a fresh one."""
    net = fastnn.MLP((5, 8, 3), CustomActivation(Later(2), slope), "softmax")
    net.predict(X)
    with pytest.raises(OSError, match="the table is gone"):
        net.predict(RNG.normal(size=(5000, 5)))
    for call in (net.predict, net.activations_of, lambda rows: net.loss(rows, Y)):
        with pytest.raises(OSError, match="the table is gone"):
            call(X)
    with pytest.raises(KeyboardInterrupt):
        fastnn.MLP((5, 8, 3), CustomActivation(interrupted, slope)).predict(X)


def interrupted(z):
    raise KeyboardInterrupt


@each("value, derivative, message", [
    (lambda z: z[:, :1], slope, r"value of activation 'mine' gives shape \(90, 1\), must give"),
    (lambda z: 1.0, slope, "value of activation 'mine' gives shape"),
    (np.tanh, lambda z: None, "derivative of activation 'mine' gives shape"),
    (np.tanh, lambda z: z.astype(complex), "derivative of activation 'mine' gives complex"),
    (lambda z: np.full(z.shape, "a"), slope, "value of activation 'mine' gives <U1"),
])
def test_wrong_results_are_named(value, derivative, message):
    net = fastnn.MLP((5, 8, 3), CustomActivation(value, derivative, name="mine"), "softmax")
    with pytest.raises((TypeError, ValueError), match=message):
        net.fit(X, Y, epochs=1, batch_size=90)


def test_hidden_values_are_refused():
    """What lies behind the mask was used."""
    hidden = lambda z: np.ma.array(z, mask=z > 0)  # noqa: E731
    rows = lambda z: list(hidden(z))  # noqa: E731
    for value in (hidden, rows):
        net = fastnn.MLP((5, 8, 3), CustomActivation(value, slope), "softmax")
        for action in (lambda n: n.predict(X), lambda n: n.fit(X, Y, epochs=1)):
            with pytest.raises(ValueError, match="^value of activation 'custom' is a masked array"):
                action(net)
    net = fastnn.MLP((5, 8, 3), CustomActivation(np.tanh, hidden), "softmax")
    for action in (lambda n: n.jacobian(X), lambda n: n.fit(X, Y, epochs=1)):
        with pytest.raises(ValueError, match="^derivative of activation 'custom' is a masked"):
            action(net)
    whole = CustomActivation(lambda z: np.ma.array(np.tanh(z)), slope)
    nets = [fastnn.MLP((5, 8, 3), f, "softmax", random_state=0) for f in (whole, TANH)]
    assert nets[0].predict(X).tobytes() == nets[1].predict(X).tobytes()


@each("make, kind, message", [
    (lambda: CustomActivation(3, slope), TypeError, "value=3 of CustomActivation"),
    (lambda: CustomActivation(np.tanh, None), TypeError, "derivative=None of CustomActivation"),
    (lambda: CustomActivation(np.tanh, slope, name="relu"), ValueError, "name='relu'"),
    (lambda: CustomActivation(np.tanh, slope, name=""), ValueError, "name=''"),
    (lambda: Dense(3, CustomActivation), TypeError, "activation=CustomActivation is a class"),
    (lambda: fastnn.MLP((3, 3, 1), np.tanh), TypeError, "give fastnn.CustomActivation"),
    (lambda: fastnn.MLP((3, 3, 1), output=TANH), TypeError, "output="),
])
def test_wrong_arguments_are_named(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


# ---- files ----

@each("name", NETS)
def test_pickles(name):
    net = NETS[name](TANH, random_state=0)
    copy = pickle.loads(pickle.dumps(net))
    assert copy.spec == net.spec and copy.predict(X).tobytes() == net.predict(X).tobytes()
    for one in (net, copy):
        one.fit(X, Y, epochs=1)
    assert copy.parameters.tobytes() == net.parameters.tobytes()
    with pytest.raises((AttributeError, pickle.PicklingError)):
        pickle.dumps(NETS[name](CustomActivation(np.tanh, lambda z: slope(z))))


@each("name", NETS)
def test_what_cannot_hold_functions_says_so(name, tmp_path):
    net = NETS[name](TANH)
    path = tmp_path / "model"
    writers = [("a model file", net.save),
               ("a C header", lambda path: fastnn.export.c_header(net, path))]
    for place, write in writers:
        with pytest.raises(ValueError, match=f"'my_tanh' is made of Python functions, which {place}"
                                             " cannot hold"):
            write(path)
    assert not path.exists()


def test_onnx_and_estimators_say_so(tmp_path):
    net = NETS["chain"](TANH)
    pytest.importorskip("sklearn")
    with pytest.raises(ValueError, match="an estimator of scikit-learn cannot hold"):
        fastnn.to_sklearn(net)
    pytest.importorskip("onnx")
    with pytest.raises(ValueError, match="an ONNX file cannot hold"):
        fastnn.export.onnx(net, tmp_path / "model.onnx")


@each("name", NETS)
def test_resumed_fits(name, tmp_path):
    """The functions are not compared, their name is."""
    path = tmp_path / name
    whole, first, second = (NETS[name](TANH, random_state=0) for _ in range(3))
    whole.fit(X, Y, epochs=4)
    first.fit(X, Y, epochs=2, checkpoint=path, checkpoint_seconds=0)
    second.fit(X, Y, epochs=4, checkpoint=path)
    assert second.parameters.tobytes() == whole.parameters.tobytes()
    other = NETS[name](CustomActivation(np.tanh, slope, name="other"), random_state=0)
    with pytest.raises(fastnn.ModelFormatError, match="is the checkpoint of another fit"):
        other.fit(X, Y, epochs=4, checkpoint=path)


def test_texts():
    assert repr(NETS["chain"](TANH)).count("CustomActivation('my_tanh')") == 1
    assert NETS["chain"](TANH).activations == (TANH, TANH)
    assert "CustomActivation('my_tanh')" in repr(NETS["residual"](TANH))
    assert "row-major" in str(NETS["chain"](TANH).plan())
