"""Networks of Keras 3, with equal predictions; on PyTorch, or on NumPy (for which it needs JAX)."""

import os
from importlib.util import find_spec

import numpy as np
import pytest
from later import importorskip_later

import fastnn

os.environ["KERAS_BACKEND"] = "torch" if find_spec("torch") else "numpy"
keras = importorskip_later("keras")
layers = importorskip_later("keras.layers")

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


def test_bounds_slopes_and_activations_behind_each_other():
    net = check(keras.Sequential([
        layers.Input((5,)), layers.Dense(8, activation="leaky_relu"), layers.Dense(6),
        layers.LeakyReLU(), layers.Dense(5), layers.ReLU(max_value=0.5),
        layers.Dense(4, activation=layers.ReLU(negative_slope=0.25)), layers.Activation("tanh")]))
    assert [layer.kind for layer in net.spec.layers].count("prelu") == 3


def test_functional_chain():
    inputs = keras.Input((5,))
    hidden = layers.Dense(8, "tanh")(inputs)
    assert check(keras.Model(inputs, layers.Dense(2, "sigmoid")(hidden))).output == "sigmoid"


@pytest.mark.parametrize("more, message", [
    (lambda: [layers.GroupNormalization(1)],
     r"'group_normalization.*' \(GroupNormalization\) has no"),
    (lambda: [layers.ELU(alpha=2.0)], "alpha=2.0"),
    (lambda: [layers.ReLU(max_value=5, threshold=1)], "threshold=1"),
    (lambda: [layers.ReLU(max_value=5, negative_slope=0.5)], "negative_slope=0.5"),
    (lambda: [layers.Dense(2, activation=lambda x: x)], "activation='<lambda>' of "),
])
def test_what_is_refused(more, message):
    model = keras.Sequential([layers.Input((5,)), layers.Dense(3), *more()])
    with pytest.raises(ValueError, match=message):
        fastnn.from_keras(model)


def test_what_is_no_chain():
    inputs = keras.Input((5,))
    a, b = layers.Dense(5, name="a")(inputs), layers.Dense(5, name="b")(inputs)
    with pytest.raises(ValueError, match="'sum' has 2 inputs; the layers must be a chain"):
        fastnn.from_keras(keras.Model(inputs, layers.Add(name="sum")([a, b])))
    with pytest.raises(ValueError, match="1 inputs and 2 outputs"):
        fastnn.from_keras(keras.Model(inputs, [a, b]))
    with pytest.raises(ValueError, match="'both' has 2 inputs; the layers must be a chain"):
        fastnn.from_keras(keras.Model(inputs, layers.Multiply(name="both")([inputs, a])))
    with pytest.raises(TypeError, match="model=int must be a keras.Sequential"):
        fastnn.from_keras(3)
    with pytest.raises(TypeError, match="model=Own must be a keras.Sequential"):
        fastnn.from_keras(own())
    with pytest.raises(ValueError, match="has no weights yet"):
        fastnn.from_keras(keras.Sequential([layers.Dense(3)]))


def test_layers_and_models_that_are_called_several_times():
    inputs, other = keras.Input((5,)), keras.Input((5,))
    dense, second = layers.Dense(5, "tanh"), layers.Dense(4, "relu")
    hidden = dense(dense(inputs))
    model = keras.Model(inputs, second(hidden))
    keras.Model(other, second(layers.Dense(5)(other)))  # second has a parent elsewhere, too
    assert check(model).sizes == (5, 5, 5, 4)
    assert check(keras.Model(inputs, hidden)).sizes == (5, 5, 5)
    twice = keras.Model(other, layers.Dense(5, "relu")(other))
    assert check(keras.Model(inputs, twice(twice(inputs)))).sizes == (5, 5, 5)


def test_layers_as_activations():
    net = check(keras.Sequential([
        layers.Input((5,)), layers.Dense(4, activation=layers.ReLU()), layers.Identity(),
        layers.Dense(3, activation=layers.LeakyReLU(negative_slope=0.01))]))
    assert net.activations == ("relu",) and net.output == "leaky_relu"


def test_inputs_of_several_axes():
    image = np.random.default_rng(1).normal(size=(7, 4, 5)).astype("f")
    model = keras.Sequential([layers.Input((4, 5)), layers.Flatten(), layers.Dense(3)])
    np.testing.assert_allclose(fastnn.from_keras(model).predict(image.reshape(7, 20)),
                               keras.ops.convert_to_numpy(model(image)), rtol=1e-6, atol=2e-6)
    with pytest.raises(ValueError, match="has inputs of 3 axes.*Flatten before"):
        fastnn.from_keras(keras.Sequential([layers.Input((4, 5)), layers.Dense(3)]))


def own():
    class Own(keras.Model):
        pass

    return Own()


def dense(units):
    class Dense(layers.Dense):
        """Of a known name, and something else."""

        def call(self, inputs):
            return super().call(inputs) * 2

    return Dense(units)


def relu(x):
    return x * 2


def ops_model():
    inputs = keras.Input((5,))
    return keras.Model(inputs, keras.ops.relu(layers.Dense(3)(inputs)))


def low_rank():
    model = keras.Sequential([layers.Input((5,)), layers.Dense(3)])
    model.layers[0].enable_lora(2)
    return model


@pytest.mark.parametrize("build, message", [
    (lambda: keras.Sequential([layers.Input((5,)), dense(3)]), r"\(.*\.Dense\) has no"),
    (lambda: keras.Sequential([layers.Input((5,)), layers.Dense(3, activation=relu)]),
     "activation='relu' of "),
    (ops_model, r"'relu.*' \(Relu\) has no counterpart"),
    (low_rank, "lora_enabled=True"),
])
def test_what_would_predict_something_else(build, message):
    with pytest.raises(ValueError, match=message):
        fastnn.from_keras(build())


def test_what_is_called_for_training():
    inputs = keras.Input((5,))
    dropped = layers.Dropout(0.5)(layers.Dense(4)(inputs), training=True)
    with pytest.raises(ValueError, match="training=True"):
        fastnn.from_keras(keras.Model(inputs, layers.Dense(3)(dropped)))


def test_what_is_called_in_place_of_a_layer():
    """It was read past, as a layer of that class computes."""
    model = keras.Sequential([layers.Input((5,)), layers.Dense(4), layers.Dense(2)])
    model.layers[0].call = lambda x: 0 * x[:, :4]
    with pytest.raises(ValueError, match="layer 'dense.*' has a call or hooks of its own"):
        fastnn.from_keras(model)
    del model.layers[0].call
    check(model)
    if keras.backend.backend() == "torch":
        hook = model.layers[1].register_forward_hook(lambda layer, given, found: 2 * found)
        with pytest.raises(ValueError, match="has a call or hooks of its own"):
            fastnn.from_keras(model)
        hook.remove()
        check(model)


def test_an_activation_without_weights():
    model = keras.Sequential([layers.Input((5,)), layers.Dense(4, layers.PReLU()), layers.Dense(2)])
    if not model.layers[0].activation.built:
        with pytest.raises(ValueError, match="has a PReLU without weights yet; call the model"):
            fastnn.from_keras(model)
    model(X)
    check(model)
