"""Networks of Keras as ours."""

from fastnn.interop.chain import Chain, as_real, check_setting, kind_of, row_of

# name of a function of keras.activations -> our name
KERAS = {
    "linear": "identity", "relu": "relu", "sigmoid": "sigmoid", "tanh": "tanh", "gelu": "gelu",
    "silu": "silu", "elu": "elu", "softplus": "softplus", "exponential": "exp",
    "softmax": "softmax",
}
# layer -> our name, and the settings it must have
KERAS_LAYERS = {
    "ReLU": ("relu", {"negative_slope": 0.0, "threshold": 0.0, "max_value": None}),
    "LeakyReLU": ("leaky_relu", {"negative_slope": 0.01}),
    "ELU": ("elu", {"alpha": 1.0}),
    "Softmax": ("softmax", {"axis": -1}),
}


def from_keras(model):
    """An `MLP` with the weights of a Keras 3 model.

    Parameters
    ----------
    model : keras.Sequential, or a keras.Model that is a chain of layers
        Of `Dense`, `Activation`, `Dropout`, `Flatten` before the first layer, `Identity`, the
        layers `ReLU`, `LeakyReLU`, `ELU`, `Softmax`, and models of these.

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
    if kind_of(model, "keras") not in ("Sequential", "Functional"):
        raise TypeError(f"model={type(model).__name__} must be a keras.Sequential, or a "
                        "keras.Model of inputs and outputs")
    if not model.built:
        raise ValueError(f"model {model.name!r} has no weights yet; begin it with keras.Input, or "
                         "call it once")
    chain, layers = Chain(), _keras_layers(model)
    n_axes = len(model.inputs[0].shape)
    for layer in layers:
        kind, place = kind_of(layer, "keras"), f"layer {layer.name!r}"
        if kind == "Flatten" and not chain.weights:
            if n_axes > 2:
                check_setting(layer.data_format, "channels_last", place, "data_format")
            n_axes = 2
        elif kind == "Dense" and n_axes != 2:
            raise ValueError(f"{place} has inputs of {n_axes} axes; fastnn has rows, so there must "
                             "be a Flatten before")
        else:
            _keras_layer(chain, layer, kind, place)
    return chain.network("the model")


def _keras_layers(model):
    """The layers in the order of the data; those of models in models, too."""
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(f"model {model.name!r} has {len(model.inputs)} inputs and "
                         f"{len(model.outputs)} outputs, must have one of each")
    layers = list(model.layers)
    if type(model).__name__ == "Functional":
        # from the output back: a layer may have been called several times, in other models too
        layers, tensor = [], model.outputs[0]
        while tensor is not model.inputs[0]:
            layer, index, _ = tensor._keras_history
            node = layer._inbound_nodes[index]
            if node.arguments.kwargs.get("training"):
                raise ValueError(f"layer {layer.name!r} is called with training=True")
            before = node.input_tensors
            if len(before) != 1:
                raise ValueError(f"layer {layer.name!r} has {len(before)} inputs; the layers must "
                                 "be a chain")
            layers.insert(0, layer)
            tensor, = before
    found = []
    for layer in layers:
        nested = kind_of(layer, "keras") in ("Sequential", "Functional")
        found += _keras_layers(layer) if nested else [layer]
    return found


def _keras_layer(chain, layer, kind, place):
    if kind == "Dense":
        check_setting(layer.quantization_mode, None, place, "quantization_mode")
        check_setting(layer.lora_enabled, False, place, "lora_enabled")
        kernel, *bias = map(as_real, layer.get_weights())
        chain.dense(kernel, bias[0] if bias else None, place)
        _keras_activation(chain, layer.activation, place)
    elif kind == "Activation":
        _keras_activation(chain, layer.activation, place)
    elif kind == "Dropout":
        chain.drop(layer.rate, place)
    elif kind not in ("InputLayer", "Identity"):
        known = {"Dense": None, "Activation": None, "Dropout": None, **KERAS_LAYERS}
        activation, settings = row_of(known, kind, place)
        for key, expected in settings.items():
            check_setting(getattr(layer, key), expected, f"{place} ({kind})", key)
        chain.activation(activation, place)


def _keras_activation(chain, function, place):
    """Of a function of `keras.activations`, or of a layer in its place."""
    name = getattr(function, "__name__", None)
    if name is None:
        return _keras_layer(chain, function, kind_of(function, "keras"), place)
    if name not in KERAS or not function.__module__.startswith("keras."):
        raise ValueError(f"{place} has activation={name!r} of {function.__module__}, which has no "
                         f"counterpart in fastnn; there are, of keras: {', '.join(KERAS)}")
    chain.activation(KERAS[name], place)
