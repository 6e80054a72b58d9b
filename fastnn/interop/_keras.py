"""Networks of Keras as ours."""

from __future__ import annotations

import inspect
import os
from typing import TYPE_CHECKING

import numpy as np

from fastnn.interop.chain import (
    Chain,
    append_steps,
    as_real,
    check_setting,
    kind_of,
    row_of,
    steps,
)

if TYPE_CHECKING:
    from typing import Any

    from fastnn.mlp import MLP

# name of a function of keras.activations -> our name
KERAS = {
    "linear": "identity", "relu": "relu", "sigmoid": "sigmoid", "tanh": "tanh", "gelu": "gelu",
    "silu": "silu", "elu": "elu", "softplus": "softplus", "exponential": "exp",
    "selu": "selu", "mish": "mish", "hard_tanh": "hard_tanh", "hard_sigmoid": "hard_sigmoid",
    "relu6": "relu6", "softmax": "softmax",
}
# layer -> our name, and the settings it must have
KERAS_LAYERS = {
    "ELU": ("elu", {"alpha": 1.0}),
    "Softmax": ("softmax", {"axis": -1}),
}


NESTED = ("Sequential", "Functional")  # models, which may be layers of others
OF_ROWS = ("Dense", "LayerNormalization", "BatchNormalization", "PReLU", "Normalization")


def from_keras(model: Any) -> MLP:
    """Return an `MLP` with the weights of a Keras 3 model.

    Parameters
    ----------
    model : keras.Sequential, or a keras.Model of inputs and outputs
        A chain of `Dense`, `LayerNormalization` of the last axis, `Activation`, `Dropout`,
        `Flatten` before the first layer, `Identity`, the layers `ReLU`, `LeakyReLU`, `ELU`,
        `Softmax`, and models of these; and `Add` (or +) of a value and what such a chain makes of
        it, a residual connection.

    Returns
    -------
    MLP
        Of float64 where the weights are, else of float32.

    Raises
    ------
    TypeError
        When it is something else, such as a subclass of `keras.Model`.
    ValueError
        When a layer or one of its settings has no counterpart; the message names it.
    """
    if kind_of(model, "keras") not in NESTED:
        hint = ""
        if isinstance(model, (str, os.PathLike)):
            hint = f"; from a file: keras.models.load_model({os.fspath(model)!r})"
        raise TypeError(f"model={type(model).__name__} must be a keras.Sequential, or a "
                        f"keras.Model of inputs and outputs{hint}")
    if not model.built:
        raise ValueError(f"model {model.name!r} has no weights yet; begin it with keras.Input, or "
                         "call it once")
    reader = _Reader(len(model.inputs[0].shape))
    reader.model(model)
    return reader.chain.network("the model")


class _Reader:
    """Appends the layers of a model to a `Chain`, in the order of the data; those of models in it,
    too."""

    def __init__(self, n_axes):
        self.chain, self.n_axes = Chain(), n_axes

    def model(self, model):
        _check_plain(model, f"model {model.name!r}")
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise ValueError(f"model {model.name!r} has {len(model.inputs)} inputs and "
                             f"{len(model.outputs)} outputs, must have one of each")
        if type(model).__name__ == "Sequential":
            for layer in model.layers:
                self.layer(layer)
            return
        # from the output back: a layer may have been called several times, in other models too
        start, target = model.inputs[0], model.outputs[0]
        order = _order(target, start)
        found = steps(target, start, _sources, lambda tensor: order[id(tensor)], _place_of)
        append_steps(self.chain, found, lambda tensor: self.layer(tensor._keras_history[0]),
                     _place_of)

    def layer(self, layer):
        kind, place, chain = kind_of(layer, "keras"), f"layer {layer.name!r}", self.chain
        _check_plain(layer, place)
        if kind in NESTED:
            self.model(layer)
        elif kind == "Flatten" and not chain.begun:
            if self.n_axes > 2:
                check_setting(layer.data_format, "channels_last", place, "data_format")
            self.n_axes = 2
        elif kind in OF_ROWS and self.n_axes != 2:
            raise ValueError(f"{place} has inputs of {self.n_axes} axes; fastnn has rows, so there "
                             "must be a Flatten before")
        elif kind not in ("InputLayer", "Identity"):
            _append(chain, layer, kind, place)


def _check_plain(layer, place):
    """Raise where calling a layer does more than its class's call."""
    own = vars(layer)
    # hooks: those of PyTorch, of which Keras's layers are modules where it is the backend
    if "call" in own or own.get("_forward_hooks") or own.get("_forward_pre_hooks"):
        raise ValueError(f"{place} has a call or hooks of its own, which may change what it "
                         "computes; remove them first")


def _place_of(tensor):
    return f"layer {tensor._keras_history[0].name!r}"


def _inputs_of(tensor):
    """Return the values that one is computed from, and the call that does it."""
    layer, index, _ = tensor._keras_history
    node = layer._inbound_nodes[index]
    return list(node.input_tensors), node


def _sources(tensor):
    layer = tensor._keras_history[0]
    before, node = _inputs_of(tensor)
    if node.arguments.kwargs.get("training"):
        raise ValueError(f"layer {layer.name!r} is called with training=True")
    if len(before) != 1 and (len(before) != 2 or kind_of(layer, "keras") != "Add"):
        raise ValueError(f"layer {layer.name!r} has {len(before)} inputs; the layers must be a "
                         "chain")
    return before


def _order(target, start):
    """Return a number of each value between two, larger than those of its sources."""
    order, waiting, seen = {id(start): 0}, [target], set()
    while waiting:
        tensor = waiting[-1]
        before = [] if tensor is start else _inputs_of(tensor)[0]
        missing = [source for source in before if id(source) not in order]
        if id(tensor) in order or not missing or id(tensor) in seen:
            order.setdefault(id(tensor), len(order))
            waiting.pop()
        else:
            seen.add(id(tensor))
            waiting += missing
    return order


def _append_dense(chain, layer, place):
    check_setting(layer.quantization_mode, None, place, "quantization_mode")
    check_setting(layer.lora_enabled, False, place, "lora_enabled")
    kernel, *bias = map(as_real, layer.get_weights())
    chain.dense(kernel, bias[0] if bias else None, place)
    _append_activation(chain, layer.activation, place)


def _append_norm(chain, layer, place):
    axis = layer.axis if isinstance(layer.axis, int) else [*layer.axis]
    if axis not in (1, [1]):  # of rows that is the last one
        check_setting(axis, -1 if isinstance(axis, int) else [-1], place, "axis")
    check_setting(getattr(layer, "rms_scaling", False), False, place, "rms_scaling")
    arrays = [*map(as_real, layer.get_weights())]
    gain, bias = (arrays.pop(0) if there else None for there in (layer.scale, layer.center))
    if gain is None:
        n = chain.width if bias is None else len(bias)
        if n is None:
            raise ValueError(f"{place} has neither gain nor bias; before the first Dense its width "
                             "is not known")
        gain = np.ones(n, np.float32 if bias is None else bias.dtype)
    chain.layer_norm(gain, bias, layer.epsilon, place)


def _append_batch_norm(chain, layer, place):
    axis = layer.axis if isinstance(layer.axis, int) else [*layer.axis]
    if axis not in (1, [1]):  # of rows that is the last one
        check_setting(axis, -1 if isinstance(axis, int) else [-1], place, "axis")
    arrays = [*map(as_real, layer.get_weights())]
    gain, bias = (arrays.pop(0) if there else None for there in (layer.scale, layer.center))
    share = round(1 - layer.momentum, 12)
    chain.batch_norm([gain, bias, *arrays], layer.epsilon, share if share > 0 else 0.1, place)


def _append_prelu(chain, layer, place):
    if not layer.built:  # an activation of another layer is built by a call alone
        raise ValueError(f"{place} has a PReLU without weights yet; call the model once")
    slope, = map(as_real, layer.get_weights())
    chain.prelu(slope, layer.shared_axes is None, place)


def _append_normalization(chain, layer, place):
    """(x - mean) / sqrt(variance), or the inverse of it."""
    from keras import config, ops

    mean, variance = (np.asarray(ops.convert_to_numpy(value), np.float64).reshape(-1)
                      for value in (layer.mean, layer.variance))
    deviation = np.maximum(np.sqrt(variance), config.epsilon())
    if layer.invert:
        chain.affine(deviation, mean, place)
    else:
        chain.affine(1.0, -mean, place)
        chain.affine(1 / deviation, 0.0, place)


def _append_rescaling(chain, layer, place):
    chain.affine(np.asarray(layer.scale, np.float64), np.asarray(layer.offset, np.float64), place)


def _append_relu(chain, layer, place):
    check_setting(layer.threshold, 0.0, place, "threshold")
    if layer.max_value is None:
        chain.leak(layer.negative_slope, place)
    else:
        check_setting(layer.negative_slope, 0.0, place, "negative_slope")
        chain.clip(0.0, layer.max_value, place)


# layers that are not one of our activations
LAYERS = {
    "BatchNormalization": _append_batch_norm,
    "PReLU": _append_prelu,
    "ReLU": _append_relu,
    "LeakyReLU": lambda chain, layer, place: chain.leak(layer.negative_slope, place),
    "Normalization": _append_normalization,
    "Rescaling": _append_rescaling,
    "Dense": _append_dense,
    "LayerNormalization": _append_norm,
    "Activation": lambda chain, layer, place: _append_activation(chain, layer.activation, place),
    "Dropout": lambda chain, layer, place: chain.drop(layer.rate, place),
}


def _append(chain, layer, kind, place):
    if kind in LAYERS:
        LAYERS[kind](chain, layer, place)
        return
    activation, settings = row_of({**LAYERS, **KERAS_LAYERS}, kind, place)
    for key, expected in settings.items():
        check_setting(getattr(layer, key), expected, f"{place} ({kind})", key)
    chain.activation(activation, place)


def _append_activation(chain, function, place):
    """Append a function of `keras.activations`, or a layer in its place."""
    name = getattr(function, "__name__", None)
    if name is None:
        kind = kind_of(function, "keras")
        if kind not in ("InputLayer", "Identity"):
            _append(chain, function, kind, place)
        return
    if name == "leaky_relu" and function.__module__.startswith("keras."):
        slope = inspect.signature(function).parameters["negative_slope"].default
        chain.leak(slope, place)
        return
    if name not in KERAS or not function.__module__.startswith("keras."):
        raise ValueError(f"{place} has activation={name!r} of {function.__module__}, which has no "
                         f"counterpart in fastnn; there are, of keras: {', '.join(KERAS)}")
    chain.activation(KERAS[name], place)
