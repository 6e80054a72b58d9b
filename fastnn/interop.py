"""Networks of other libraries as ours, and ours as scikit-learn's.

Each function reads what the other library's objects hold and imports none of them, except `onnx`
and, for `to_sklearn`, scikit-learn. A layer that has no counterpart is refused by name: what comes
back predicts the same.
"""

import re
from copy import copy

import numpy as np

from fastnn.mlp import MLP
from fastnn.model_file import from_plain, to_plain
from fastnn.predictor import Predictor

__all__ = ["SKOPS_TRUSTED", "from_keras", "from_onnx", "from_sklearn", "from_torch",
           "to_sklearn"]
# What skops has to trust to load a model of fastnn; the fitted state holds plain values only.
SKOPS_TRUSTED = [
    "fastnn.estimators.MLPClassifier", "fastnn.estimators.MLPRegressor", "fastnn.mlp.MLP"]


class Chain:
    """Layers as they come, checked for being those of a multilayer perceptron."""

    def __init__(self):
        self.weights, self.biases, self.activations, self.dropout = [], [], [], []

    def dense(self, w, b, place):
        """x W + b with w (n_in, n_out) and b (n_out,) or None."""
        w = np.asarray(w)
        b = np.zeros(w.shape[-1:], w.dtype) if b is None else np.asarray(b).reshape(-1)
        if w.ndim != 2 or b.shape != w.shape[1:]:
            raise ValueError(f"{place}: weights of shape {w.shape} and {b.shape} are not those of "
                             "a fully connected layer")
        if self.weights and self.weights[-1].shape[1] != w.shape[0]:
            raise ValueError(f"{place} takes {w.shape[0]} inputs, the layer before it has "
                             f"{self.weights[-1].shape[1]} outputs")
        self.weights.append(w)
        self.biases.append(b)
        self.activations.append(None)
        self.dropout.append(0.0)

    def activation(self, name, place):
        """Of the layer before; one of ours, by name."""
        if name == "identity":
            return
        if not self.weights:
            raise ValueError(f"{place} comes before the first fully connected layer, where fastnn "
                             "has nothing")
        if self.activations[-1] is not None:
            raise ValueError(f"{place} follows another activation ({self.activations[-1]}); a "
                             "layer of fastnn has one")
        self.activations[-1] = name

    def drop(self, rate, place):
        """Dropout after the layer before."""
        if not self.weights and rate > 0:
            raise ValueError(f"{place}: dropout of inputs has no counterpart in fastnn")
        if rate >= 1:
            raise ValueError(f"{place} drops everything, rate={rate}; it must be in [0, 1)")
        if self.weights:
            self.dropout[-1] = float(rate)

    def network(self, source):
        """The `MLP`, of float64 where the weights are, else of float32."""
        if not self.weights:
            raise ValueError(f"{source} has no fully connected layer")
        if "softmax" in self.activations[:-1]:
            raise ValueError(f"{source}: softmax in a hidden layer has no counterpart in fastnn")
        names = [name or "identity" for name in self.activations]
        sizes = [self.weights[0].shape[0], *(len(b) for b in self.biases)]
        double = any(w.dtype == np.float64 for w in self.weights)
        net = MLP(sizes, names[:-1], names[-1], dtype="float64" if double else "float32",
                  dropout=self.dropout[:-1], random_state=0, initializer="zeros")
        net.initializer = "glorot_uniform"
        net.set_weights([a for pair in zip(self.weights, self.biases, strict=True) for a in pair])
        return net


def _kind(layer, package):
    """Name of a layer's class in a library; of classes from elsewhere the whole path, which no
    table has, for they may compute something else under a known name."""
    cls = type(layer)
    if cls.__module__.startswith(f"{package}."):
        return cls.__name__
    return f"{cls.__module__}.{cls.__qualname__}"


def _row(table, name, place):
    """The row of a layer in a table {class name: row}; an error that names it where it has none."""
    if name not in table:
        raise ValueError(f"{place} ({name}) has no counterpart in fastnn; there are: "
                         f"{', '.join(table)}")
    return table[name]


def _setting(value, expected, place, name):
    if value != expected:
        raise ValueError(f"{place} has {name}={value!r}; fastnn has {name}={expected!r} only")


# ---- PyTorch ----

# class of torch.nn -> our name, and the settings it must have
TORCH = {
    "ReLU": ("relu", {}),
    "Tanh": ("tanh", {}),
    "Sigmoid": ("sigmoid", {}),
    "SiLU": ("silu", {}),
    "GELU": ("gelu", {"approximate": "none"}),
    "ELU": ("elu", {"alpha": 1.0}),
    "LeakyReLU": ("leaky_relu", {"negative_slope": 0.01}),
    "Softplus": ("softplus", {"beta": 1.0}),
    "Softmax": ("softmax", {}),
    "Identity": ("identity", {}),
}
EXACT = 20.0  # from here on softplus is the identity to 1e-10; the threshold torch has by default


def from_torch(model, *, activation=None, output=None):
    """An `MLP` with the weights of a PyTorch model.

    Parameters
    ----------
    model : torch.nn.Sequential or state dict
        Of `Linear`, activations, `Dropout`, `Flatten` before the first layer, `Identity`, and
        `Sequential` of these. A state dict holds ``*.weight`` (n_out, n_in) and ``*.bias`` in the
        order of the layers; names that differ in a number only are put in the order of the numbers,
        which files do not always keep.
    activation : str or sequence of str or None, default=None
        Of the hidden layers; for a state dict only, which does not say. None means relu.
    output : str or None, default=None
        For a state dict only. None means identity.

    Returns
    -------
    MLP
        Of float64 where the weights are; float16 and bfloat16 become float32.

    Raises
    ------
    TypeError
        When it is neither.
    ValueError
        When a layer or one of its settings has no counterpart; the message names it.

    Notes
    -----
    A network that ends in raw outputs (logits), as one trained with `CrossEntropyLoss` does, has
    output "identity" here as well. Append a `Softmax` for probabilities.
    """
    chain = Chain()
    if hasattr(model, "items"):
        return _from_state_dict(chain, model, activation or "relu", output or "identity")
    if _torch_kind(model) not in ("Sequential", "Linear"):
        raise TypeError(f"model={type(model).__name__} must be a torch.nn.Sequential, or a state "
                        "dict with activation= and output=")
    for name, value in (("activation", activation), ("output", output)):
        if value is not None:
            raise ValueError(f"{name}={value!r} goes with a state dict; a Sequential says its own, "
                             "append a layer to it")
    _torch_layers(chain, model, ())
    return chain.network("the model")


def _torch_layers(chain, module, path):
    name = _torch_kind(module)
    place = f"layer {'.'.join(path)}" if path else "the model"
    known = {"Linear": None, **TORCH, "Dropout": None}
    if name not in ("Sequential", "Flatten"):
        _row(known, name, place)
    if module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module):
        raise ValueError(f"{place} ({name}) has hooks, which may change what it computes; remove "
                         "them first")
    if name == "Sequential":
        for key, child in module._modules.items():  # named_children() lists one object once
            _torch_layers(chain, child, (*path, key))
    elif name == "Linear":
        chain.dense(_from_tensor(module.weight).T,
                    None if module.bias is None else _from_tensor(module.bias), place)
    elif name == "Dropout":
        chain.drop(module.p, place)
    elif name == "Flatten" and not chain.weights:
        _setting(module.start_dim, 1, f"{place} ({name})", "start_dim")
        _setting(module.end_dim, -1, f"{place} ({name})", "end_dim")
    else:
        activation, settings = _row(TORCH, name, place)
        for key, expected in settings.items():
            _setting(getattr(module, key), expected, f"{place} ({name})", key)
        if name == "Softmax" and module.dim not in (-1, 1):
            _setting(module.dim, -1, f"{place} ({name})", "dim")
        if name == "Softplus" and not module.threshold >= EXACT:
            _setting(module.threshold, EXACT, f"{place} ({name})", "threshold")
        chain.activation(activation, f"{place} ({name})")


def _torch_kind(module):
    """The same as `_kind`; a subclass of `Sequential` which adds a constructor only is one."""
    for cls in type(module).__mro__[1:]:
        if _is_sequential(cls) and type(module).forward is cls.forward:
            return "Sequential"
    return _kind(module, "torch.nn.modules")


def _is_sequential(cls):
    return cls.__module__.startswith("torch.nn.modules.") and cls.__name__ == "Sequential"


def _from_tensor(tensor):
    """A tensor of any device and dtype as an array of float32 or float64."""
    if "complex" in str(getattr(tensor, "dtype", "")):
        raise ValueError(f"weights have dtype {tensor.dtype}, must be real")
    if getattr(tensor, "is_meta", False):
        raise ValueError("weights are on the device meta, which holds no values")
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu()
        tensor = tensor if str(tensor.dtype) == "torch.float64" else tensor.float()
        return tensor.numpy()
    return _real(tensor)


def _real(array):
    array = np.asarray(array)
    return array if array.dtype == np.float64 else array.astype(np.float32)


def _from_state_dict(chain, state, activation, output):
    layers = {}
    for key, tensor in state.items():
        layer, _, kind = key.rpartition(".")
        if kind not in ("weight", "bias"):
            raise ValueError(f"state dict has {key!r}; there must be *.weight and *.bias of fully "
                             "connected layers only")
        layers.setdefault(layer, {})[kind] = _from_tensor(tensor)
    if not layers:
        raise ValueError("the state dict is empty")
    layers = _in_order(layers)
    for layer, arrays in layers.items():
        if "weight" not in arrays:
            raise ValueError(f"state dict has {layer}.bias, but no {layer}.weight")
        chain.dense(arrays["weight"].T, arrays.get("bias"), f"layer {layer}")
    n_hidden = len(layers) - 1
    names = [activation] * n_hidden if isinstance(activation, str) else list(activation)
    if len(names) != n_hidden:
        raise ValueError(f"activation={activation!r} has {len(names)} entries, must have one for "
                         f"each of {n_hidden} hidden layers")
    chain.activations = [*names, output]
    return chain.network("the state dict")


def _in_order(layers):
    """Layers whose names differ in numbers only by these: safetensors lists 10 before 2."""
    kind = {name: re.sub(r"[0-9]+", "#", name) for name in layers}
    first = list(dict.fromkeys(kind.values()))

    def place(name):
        return first.index(kind[name]), [int(number) for number in re.findall("[0-9]+", name)]

    return {name: layers[name] for name in sorted(layers, key=place)}


# ---- Keras ----

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
    if _kind(model, "keras") not in ("Sequential", "Functional"):
        raise TypeError(f"model={type(model).__name__} must be a keras.Sequential, or a "
                        "keras.Model of inputs and outputs")
    if not model.built:
        raise ValueError(f"model {model.name!r} has no weights yet; begin it with keras.Input, or "
                         "call it once")
    chain, layers = Chain(), _keras_layers(model)
    n_axes = len(model.inputs[0].shape)
    for layer in layers:
        kind, place = _kind(layer, "keras"), f"layer {layer.name!r}"
        if kind == "Flatten" and not chain.weights:
            if n_axes > 2:
                _setting(layer.data_format, "channels_last", place, "data_format")
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
        nested = _kind(layer, "keras") in ("Sequential", "Functional")
        found += _keras_layers(layer) if nested else [layer]
    return found


def _keras_layer(chain, layer, kind, place):
    if kind == "Dense":
        _setting(layer.quantization_mode, None, place, "quantization_mode")
        _setting(layer.lora_enabled, False, place, "lora_enabled")
        kernel, *bias = map(_real, layer.get_weights())
        chain.dense(kernel, bias[0] if bias else None, place)
        _keras_activation(chain, layer.activation, place)
    elif kind == "Activation":
        _keras_activation(chain, layer.activation, place)
    elif kind == "Dropout":
        chain.drop(layer.rate, place)
    elif kind not in ("InputLayer", "Identity"):
        known = {"Dense": None, "Activation": None, "Dropout": None, **KERAS_LAYERS}
        activation, settings = _row(known, kind, place)
        for key, expected in settings.items():
            _setting(getattr(layer, key), expected, f"{place} ({kind})", key)
        chain.activation(activation, place)


def _keras_activation(chain, function, place):
    """Of a function of `keras.activations`, or of a layer in its place."""
    name = getattr(function, "__name__", None)
    if name is None:
        return _keras_layer(chain, function, _kind(function, "keras"), place)
    if name not in KERAS or not function.__module__.startswith("keras."):
        raise ValueError(f"{place} has activation={name!r} of {function.__module__}, which has no "
                         f"counterpart in fastnn; there are, of keras: {', '.join(KERAS)}")
    chain.activation(KERAS[name], place)


# ---- ONNX ----


def from_onnx(model, *, output=None):
    """An `MLP` of an ONNX graph that is a multilayer perceptron.

    Parameters
    ----------
    model : str, path or onnx.ModelProto
        Layers as Gemm, or MatMul and Add; activations as one node or as any subgraph that computes
        one of ours (found by its values); shifts and factors of the inputs become part of the first
        layer.
    output : str or None, default=None
        Which output of the graph; None for the only one, or the probabilities of a classifier. Of
        a binary classifier the network has the one column of the positive class.

    Returns
    -------
    MLP

    Raises
    ------
    ImportError
        When the package onnx is not installed.
    ValueError
        When the graph is something else; the message names the node.
    """
    from fastnn import _from_onnx

    chain = Chain()
    _from_onnx.read(chain, model, output)
    return chain.network("the graph")


# ---- scikit-learn ----

HISTORY = ("n_iter_", "t_", "loss_", "best_loss_", "loss_curve_", "validation_scores_",
           "best_validation_score_", "_no_improvement_count")


def from_sklearn(model):
    """Our estimator with parameters, weights and history of scikit-learn's.

    Parameters
    ----------
    model : sklearn.neural_network.MLPClassifier or MLPRegressor
        Fitted.

    Returns
    -------
    MLPClassifier or MLPRegressor
        Of fastnn. Training goes on with a fresh optimizer.

    Raises
    ------
    TypeError
        When it is something else.
    sklearn.exceptions.NotFittedError
    """
    from fastnn import estimators

    name = type(model).__name__
    if name not in estimators.__all__ or not type(model).__module__.startswith("sklearn."):
        raise TypeError(f"model={name} must be an MLPClassifier or MLPRegressor of scikit-learn")
    _check_fitted(model)
    chain = Chain()
    for i, (w, b) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
        chain.dense(w, b, f"layer {i}")
    output = "sigmoid" if model.out_activation_ == "logistic" else model.out_activation_
    chain.activations = [model.activation] * (len(model.coefs_) - 1) + [output]
    classes = getattr(model, "classes_", None)
    task = "regression" if classes is None else "classification"
    fitted = {name: from_plain(to_plain(vars(model)[name]), list)  # of NumPy numbers, too
              for name in HISTORY if name in vars(model)}
    if classes is not None:
        fitted["_sparse_labels"] = bool(getattr(model._label_binarizer, "sparse_input_", False))
        if output == "sigmoid" and model.n_outputs_ > 1:
            task = "multilabel"
    predictor = Predictor(chain.network("the model"), task, classes=classes,
                          feature_names=getattr(model, "feature_names_in_", None))
    return getattr(estimators, name)._from_file(predictor, model.get_params(), fitted)


def to_sklearn(model):
    """scikit-learn's estimator with parameters, weights and history of ours.

    Parameters
    ----------
    model : MLPClassifier, MLPRegressor or MLP
        Fitted. An `MLP` becomes a classifier of 0, 1, ... where its output is softmax or sigmoid.

    Returns
    -------
    sklearn.neural_network.MLPClassifier or MLPRegressor
        What only fastnn has (`n_threads`, `dtype`, `dropout`, `class_weight`) is left out: it says
        how to train. Training goes on with a fresh optimizer.

    Raises
    ------
    TypeError
        When it is something else.
    ValueError
        When scikit-learn does not have the activation or output.
    """
    from fastnn.estimators import MLPClassifier, MLPRegressor  # says what to install, if need be

    from sklearn import neural_network  # isort: skip
    from sklearn.preprocessing import LabelBinarizer  # isort: skip

    if isinstance(model, MLP):
        model = _estimator_of(model)
    if not isinstance(model, (MLPClassifier, MLPRegressor)):
        raise TypeError(f"model={type(model).__name__} must be an estimator or an MLP of fastnn")
    _check_fitted(model)
    names = [model.activation] if isinstance(model.activation, str) else model.activation
    known = ("identity", "logistic", "tanh", "relu")
    names = {"logistic" if name == "sigmoid" else name for name in names} or {"identity"}
    if len(names) > 1 or not names <= set(known):
        raise ValueError(f"activation={model.activation!r}; scikit-learn has one of "
                         f"{', '.join(known)} for all layers")
    other = getattr(neural_network, type(model).__name__)()
    params = model.get_params()
    params["activation"], = names
    unset = object()
    for name in other.get_params():
        if params.get(name, unset) is not unset:
            setattr(other, name, params[name])
        elif name in params:
            setattr(other, name, None)
    for name in (*HISTORY, "n_features_in_", "feature_names_in_", "n_layers_", "n_outputs_",
                 "out_activation_", "classes_"):
        if name in vars(model):
            setattr(other, name, copy(vars(model)[name]))  # scikit-learn appends to the lists
    other.coefs_ = [np.array(w) for w in model.coefs_]
    other.intercepts_ = [np.array(b) for b in model.intercepts_]
    if model.early_stopping:  # what a warm start goes back to where it gets no better
        other._best_coefs = [w.copy() for w in other.coefs_]
        other._best_intercepts = [b.copy() for b in other.intercepts_]
    if isinstance(model, MLPClassifier):
        labels = model.classes_
        if model._is_multilabel():
            labels = np.eye(len(labels), dtype=int)
        other._label_binarizer = LabelBinarizer().fit(labels)
        other._label_binarizer.sparse_input_ = bool(vars(model).get("_sparse_labels"))
    return other


def _estimator_of(net):
    """An estimator with the weights of an `MLP`."""
    from fastnn.estimators import MLPClassifier, MLPRegressor

    n_out = net.sizes[-1]
    params = {"hidden_layer_sizes": net.sizes[1:-1], "activation": list(net.activations)}
    if net.output in ("softmax", "sigmoid"):
        labels = net.output == "sigmoid" and n_out > 1
        classes = np.arange(2 if n_out == 1 else n_out)
        predictor = Predictor(net, "multilabel" if labels else "classification", classes=classes)
        return MLPClassifier._from_file(predictor, params, {"_sparse_labels": False})
    if net.output not in ("identity", "exp"):
        raise ValueError(f"output={net.output!r}; scikit-learn has identity, exp, sigmoid and "
                         "softmax")
    if net.output == "exp":
        params["loss"] = "poisson"
    return MLPRegressor._from_file(Predictor(net, "regression"), params, {})


def _check_fitted(model):
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(model, "coefs_")
