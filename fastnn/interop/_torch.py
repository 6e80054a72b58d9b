"""Networks of PyTorch as ours."""

import re

from fastnn.interop.chain import Chain, as_real, check_setting, kind_of, row_of

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
        row_of(known, name, place)
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
        check_setting(module.start_dim, 1, f"{place} ({name})", "start_dim")
        check_setting(module.end_dim, -1, f"{place} ({name})", "end_dim")
    else:
        activation, settings = row_of(TORCH, name, place)
        for key, expected in settings.items():
            check_setting(getattr(module, key), expected, f"{place} ({name})", key)
        if name == "Softmax" and module.dim not in (-1, 1):
            check_setting(module.dim, -1, f"{place} ({name})", "dim")
        if name == "Softplus" and not module.threshold >= EXACT:
            check_setting(module.threshold, EXACT, f"{place} ({name})", "threshold")
        chain.activation(activation, f"{place} ({name})")


def _torch_kind(module):
    """The same as `_kind`; a subclass of `Sequential` which adds a constructor only is one."""
    for cls in type(module).__mro__[1:]:
        if _is_sequential(cls) and type(module).forward is cls.forward:
            return "Sequential"
    return kind_of(module, "torch.nn.modules")


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
    return as_real(tensor)


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
