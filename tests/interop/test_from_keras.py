"""Networks of Keras 3, with equal predictions; on PyTorch, or on NumPy (for which it needs JAX)."""

import os
from importlib.util import find_spec

import numpy as np
import pytest

import fastnn

os.environ["KERAS_BACKEND"] = "torch" if find_spec("torch") else "numpy"
keras = pytest.importorskip("keras")
layers = keras.layers

X = np.random.default_rng(0).normal(size=(50, 5)).astype("f") * 3


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(0)


def check(model, X=X):
    net = fastnn.from_keras(model)
    expected = keras.ops.convert_to_numpy(model(X))
    np.testing.assert_allclose(net.predict(X), expected, rtol=1e-6, atol=2e-6)
    return net


@pytest.mark.parametrize("name", [
    "linear", "relu", "sigmoid", "tanh", "gelu", "silu", "elu", "softplus", "exponential"])
def test_every_activation(name):
    model = keras.Sequential([
        layers.Input((5,)), layers.Dense(8, activation=name),
        layers.Dense(3, activation=name)])
    check(model, X / 20 if name == "exponential" else X)


def test_what_a_sequential_may_hold():
    net = check(keras.Sequential([
        layers.Input((5,)), layers.Flatten(), layers.Dense(8, use_bias=False), layers.ReLU(),
        layers.Dropout(0.25), layers.Dense(7), layers.LeakyReLU(negative_slope=0.01),
        keras.Sequential([layers.Input((7,)), layers.Dense(6), layers.ELU()]),
        layers.Dense(4), layers.Activation("softmax")]))
    assert net.activations == ("relu", "leaky_relu", "elu") and net.output == "softmax"
    assert net.dropout == (0.25, 0.0, 0.0)


def test_functional_chain():
    inputs = keras.Input((5,))
    hidden = layers.Dense(8, "tanh")(inputs)
    assert check(keras.Model(inputs, layers.Dense(2, "sigmoid")(hidden))).output == "sigmoid"


@pytest.mark.parametrize("more, message", [
    ([layers.BatchNormalization()], r"'batch_normalization.*' \(BatchNormalization\) has no"),
    ([layers.LeakyReLU()], "negative_slope=0.3"),
    ([layers.ELU(alpha=2.0)], "alpha=2.0"),
    ([layers.ReLU(max_value=6)], "max_value=6"),
    ([layers.Dense(2, activation="leaky_relu")], "activation='leaky_relu'"),
    ([layers.Dense(2, activation=lambda x: x)], "activation='<lambda>'"),
    ([layers.Activation("relu"), layers.Activation("tanh")], "follows another activation"),
])
def test_what_is_refused(more, message):
    model = keras.Sequential([layers.Input((5,)), layers.Dense(3), *more])
    with pytest.raises(ValueError, match=message):
        fastnn.from_keras(model)


def test_what_is_no_chain():
    inputs = keras.Input((5,))
    a, b = layers.Dense(5, name="a")(inputs), layers.Dense(5, name="b")(inputs)
    with pytest.raises(ValueError, match="does not follow|no counterpart"):
        fastnn.from_keras(keras.Model(inputs, layers.Add()([a, b])))
    with pytest.raises(ValueError, match="1 inputs and 2 outputs"):
        fastnn.from_keras(keras.Model(inputs, [a, b]))
    with pytest.raises(TypeError, match="must be a keras model"):
        fastnn.from_keras(3)
