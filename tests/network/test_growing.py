"""Networks that get more inputs and outputs."""

import numpy as np
import pytest
from each import each

import fastnn
from fastnn import (
    GLU,
    Activation,
    BatchNorm,
    Dense,
    Dropout,
    Embed,
    LayerNorm,
    PReLU,
    Residual,
    Scale,
)

NETS = {
    "chain": lambda **k: fastnn.MLP((4, 9, 3), "tanh", output="softmax", random_state=0, **k),
    "no hidden layer": lambda **k: fastnn.MLP((4, 3), random_state=0, **k),
    "wide": lambda **k: fastnn.MLP((4, 150, 140, 3), output="sigmoid", random_state=0, **k),
    "layers": lambda **k: fastnn.MLP.of(
        [Activation("tanh"), Dense(8), LayerNorm(), Residual([Dense(8, "relu"), LayerNorm()]),
         Dense(3), Dropout(0.0)], n_in=4, random_state=0, **k),
    "members": lambda **k: fastnn.MLP((4, 9, 3), "tanh", output="softmax", members=5,
                                      random_state=0, **k),
    "per unit": lambda **k: fastnn.MLP.of(
        [Scale(), PReLU(), Dense(8, "tanh"), PReLU(False), Dense(3), Scale(), PReLU(),
         BatchNorm()], n_in=4, random_state=0, **k),
    "norm of the inputs": lambda **k: fastnn.MLP.of(
        [BatchNorm(), Dense(8, "tanh"), Dense(3)], n_in=4, random_state=0, **k),
}
OPTIMIZERS = ("sgd", "adam", "rmsprop", fastnn.EMA("adam", decay=0.5), fastnn.EMA("sgd"))


def rows(n_in, n=7, dtype="float32"):
    return np.random.default_rng(0).normal(size=(n, n_in)).astype(dtype)


@each("name, dtype", [(name, dtype) for name in NETS for dtype in ("float32", "float64")])
def test_more_inputs_change_nothing_at_first(name, dtype):
    net = NETS[name](dtype=dtype)
    X = rows(6, dtype=dtype)
    before = net.predict(np.ascontiguousarray(X[:, :4]))
    net.grow(n_in=6)
    assert net.sizes[0] == 6
    assert (net.predict(X) == before).all()
    assert (net.weights[0][4:] == 0).all()
    kinds = [name.split(".")[-1] for name in net.named_parameters()]
    for kind, given in zip(kinds, net.get_weights(), strict=True):
        if kind in ("gain", "scale", "variance") and given.shape[-1] == 6:
            assert (given[..., 4:] == 1).all()


@each("name", list(NETS))
def test_more_outputs_leave_the_others(name):
    net = NETS[name]()
    net.parameters[:] += net.parameters
    logits = net.jacobian(rows(4), logits=True)
    before = net.predict(rows(4))
    net.grow(n_out=5)
    after = net.predict(rows(4))
    assert after.shape == (7, 5)
    found = net.jacobian(rows(4), logits=True)[:, :3]
    assert np.allclose(found, logits, rtol=1e-4, atol=1e-5)
    if name == "members":  # it is so of each of them, not of their mean
        assert (after > 0).all()
    elif net.output == "softmax":
        assert np.allclose(after[:, :3] / after[:, :3].sum(axis=1, keepdims=True), before,
                           rtol=1e-5)
    else:
        assert (after[:, :3] == before).all()
    assert (net.weights[-1][:, 3:] == 0).all()
    assert (net.biases[-1][..., 3:] == 0).all()


@each("name, optimizer", [(name, optimizer) for name in NETS
                          for optimizer in OPTIMIZERS])
def test_steps_go_on(name, optimizer):
    """As if the inputs had been there from the start, and always 0."""
    if name == "norm of the inputs" and "EMA" in str(optimizer):
        return  # its running averages of what is always 0 are others
    X = rows(6, 24)
    y = np.random.default_rng(1).uniform(size=(24, 3)).astype("float32")
    y /= y.sum(axis=1, keepdims=True)
    wide, narrow = NETS[name](), NETS[name]()
    wide.grow(n_in=6)
    blank = X.copy()
    blank[:, 4:] = 0
    mine, others = (net.steps(optimizer, batch_size=2) for net in (narrow, wide))
    for i in range(0, 12, 2):
        mine(np.ascontiguousarray(X[i:i + 2, :4]), y[i:i + 2])
        others(blank[i:i + 2], y[i:i + 2])
    narrow.grow(n_in=6)
    for i in range(12, 24, 2):
        assert mine(X[i:i + 2], y[i:i + 2]) == others(X[i:i + 2], y[i:i + 2])
    assert mine.step == 12
    for own, given in zip(narrow.get_weights(), wide.get_weights(), strict=True):
        if name != "norm of the inputs" or own.shape != (6,):
            assert own.tobytes() == given.tobytes()
    assert (narrow.weights[0][4:] != 0).any()


def test_weights_that_were_set_before_it_grew_replace_both_of_an_average():
    net, other = NETS["chain"](), NETS["chain"]()
    steps = net.steps(fastnn.EMA("sgd", decay=0.9))
    for _ in range(3):
        steps(rows(4), np.eye(3, dtype="float32")[[0, 1, 2, 0, 1, 2, 0]])
    net.set_weights(other.get_weights())
    net.grow(n_in=6)
    other.grow(n_in=6)
    loss = steps(rows(6), np.zeros(7, np.int32))
    assert loss == pytest.approx(other.loss(rows(6), np.zeros(7, np.int32)), rel=1e-5)


def test_a_class_that_appears_later_is_learned():
    net = fastnn.MLP((2, 16, 2), output="softmax", random_state=0)
    steps = net.steps(fastnn.Adam(0.02), batch_size=8)
    rng = np.random.default_rng(0)

    def batch(n_classes):
        labels = rng.integers(0, n_classes, 8)
        angle = labels * 2.1
        X = np.stack([np.cos(angle), np.sin(angle)], axis=1) + rng.normal(size=(8, 2)) * 0.1
        return X.astype("float32"), labels

    for _ in range(50):
        steps(*batch(2))
    with pytest.raises(ValueError, match=r"labels in \d..2, must be in 0..1"):
        steps(batch(2)[0], np.full(8, 2))
    net.grow(n_out=3)
    for _ in range(200):
        steps(*batch(3))
    X, labels = batch(3)
    assert (net.predict(X).argmax(axis=1) == labels).all()


def test_both_at_once_and_again():
    net = fastnn.MLP((4, 3), random_state=0)
    steps = net.steps(fastnn.EMA("adam"))
    for n_in, n_out in ((4, 3), (5, 4), (9, 4)):
        net.grow(n_in=n_in, n_out=n_out)
        for _ in range(2):
            assert np.isfinite(steps(rows(n_in), np.ones((7, n_out), "float32")))
    assert net.sizes == (9, 4)
    history = net.fit(rows(9), np.ones((7, 4), "float32"), epochs=1)
    assert np.isfinite(history.loss[0])
    net.grow()
    assert net.sizes == (9, 4)


@each("net, settings, message", [
    (NETS["chain"], {"n_in": 3}, "n_in=3 must be at least 4"),
    (NETS["chain"], {"n_out": 2}, "n_out=2 must be at least 3"),
    (NETS["chain"], {"n_in": 0}, "n_in=0"),
    (NETS["chain"], {"n_in": 2**31}, "n_in=2147483648 is beyond"),
    (NETS["chain"], {"n_out": 2**31}, "n_out=2147483648 is beyond"),
    (lambda: fastnn.MLP.of([LayerNorm(), Dense(3)], n_in=4), {"n_in": 5}, "LayerNorm"),
    (lambda: fastnn.MLP.of([Residual([Dense(4)]), Dense(3)], n_in=4), {"n_in": 5}, "Residual"),
    (lambda: fastnn.MLP.of([Dense(3), LayerNorm()], n_in=4), {"n_out": 5}, "LayerNorm"),
    (lambda: fastnn.MLP.of([Dense(6), GLU()], n_in=4), {"n_out": 5}, "GLU"),
    (lambda: fastnn.MLP.of([Embed(2, (2, 2)), Dense(3)], n_in=4), {"n_in": 5}, "Embed"),
])
def test_what_cannot_grow(net, settings, message):
    net = net()
    before = net.parameters
    with pytest.raises(ValueError, match=message):
        net.grow(**settings)
    assert net.parameters is before


def test_not_within_a_fit():
    net = fastnn.MLP((4, 3), random_state=0)

    def callback(epoch, net, history):
        with pytest.raises(RuntimeError, match="being fitted"):
            net.grow(n_in=5)

    net.fit(rows(4), rows(3), epochs=1, callback=callback)
    assert net.sizes == (4, 3)


@each("sizes, settings", [((4, 2, 3), {}), ((4, 5, 5, 3), {}), ((2, 5, 3), {}), ((4, 3), {}),
                          ((4, 5, 3), {"norm": "layer"})])
def test_steps_of_a_network_that_was_made_anew(sizes, settings):
    """It is not a grown one: what NumPy said of the shapes told nobody what to do."""
    net = fastnn.MLP((4, 5, 3), random_state=0)
    steps = net.steps()
    steps(rows(4), rows(3))
    net.__init__(sizes, random_state=0, **settings)
    with pytest.raises(ValueError, match=r"made anew .*: take new steps of it, net.steps"):
        steps(rows(sizes[0]), rows(3))
    net.steps()(rows(sizes[0]), rows(3))
