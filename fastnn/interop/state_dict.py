"""State dicts of PyTorch: weights and biases by name, and nothing about the order of layers."""

import re

from fastnn.core.notices import shorten, shown
from fastnn.interop.chain import as_real

# parts of a weight that is computed of others when a layer is called
COMPUTED = ("weight_g", "weight_v", "weight_orig", "weight_mask")
RUNNING = ("running_mean", "running_var", "num_batches_tracked")
OF_MODULE = (": it does not say what other layers compute; give the module, with "
             "load_state_dict(...) done, in its place")
MOST_WORK = 3_000_000  # of the search for orders: layers that are looked at


def from_tensor(tensor, name="weights"):
    """Return a tensor of any device and dtype as an array of float32 or float64."""
    if not hasattr(tensor, "detach"):
        return as_real(tensor, name)
    if "complex" in str(tensor.dtype):
        raise ValueError(f"{name} have dtype {tensor.dtype}, must be real")
    if tensor.is_meta:
        raise ValueError(f"{name} are on the device meta, which holds no values")
    if tensor.is_quantized:
        raise ValueError(f"{name} are quantized, {tensor.dtype}: give them as .dequantize()")
    try:
        tensor = tensor.detach().cpu().to_dense().resolve_neg()
        tensor = tensor if str(tensor.dtype) == "torch.float64" else tensor.float()
        return tensor.numpy()
    except RuntimeError as error:  # there is no such layout as dense numbers, or no memory
        raise ValueError(f"{name} of shape {tuple(tensor.shape)} cannot be read: "
                         f"{shorten(str(error))}") from None


def read(chain, state, activation, output, order):
    """Return the `MLP` of a state dict; see `fastnn.from_torch`."""
    layers = {}
    for key, tensor in state.items():
        if not isinstance(key, str):
            raise TypeError(f"state dict has the key {shown(key)}; keys must be names, *.weight "
                            "and *.bias")
        layer, _, kind = key.rpartition(".")
        if hasattr(tensor, "items"):
            raise ValueError(f"state dict has {key!r}, which is a dict itself: a checkpoint holds "
                             f"the state dict beside other things; give model[{key!r}] or another "
                             "of its entries")
        if kind not in ("weight", "bias"):
            hint = ""
            if "parametrizations." in key or kind in COMPUTED:
                hint = ("; weights that are computed, as by weight_norm, spectral_norm or pruning, "
                        "become plain ones by torch.nn.utils.parametrize.remove_parametrizations, "
                        "remove_weight_norm, remove_spectral_norm or prune.remove")
            elif kind in RUNNING:
                hint = OF_MODULE
            raise ValueError(f"state dict has {key!r}; there must be *.weight and *.bias of fully "
                             f"connected layers only{hint}")
        array = from_tensor(tensor, f"weights {shown(key)} of the state dict")
        if kind == "weight" and array.ndim == 1:
            raise ValueError(f"state dict has {shown(key)} of shape {array.shape}; there must be "
                             f"weights (n_out, n_in) of fully connected layers only{OF_MODULE}")
        layers.setdefault(layer, {})[kind] = array
    if not layers:
        raise ValueError("the state dict is empty")
    for layer, arrays in layers.items():
        if "weight" not in arrays:
            raise ValueError(f"state dict has {layer}.bias, but no {layer}.weight")
    layers = in_order(layers, order)
    n_hidden = len(layers) - 1
    if not hasattr(activation, "__iter__"):
        raise TypeError(f"activation={shown(activation)} must be a name, or one for each of "
                        f"{n_hidden} hidden layers")
    names = [activation] * n_hidden if isinstance(activation, str) else list(activation)
    for setting, name in (*((f"activation[{i}]", name) for i, name in enumerate(names)),
                          ("output", output)):
        if name in (None, ""):
            raise ValueError(f"{setting}={name!r} must be a name; \"identity\" does nothing")
    if len(names) != n_hidden:
        raise ValueError(f"activation={activation!r} has {len(names)} entries, must have one for "
                         f"each of {n_hidden} hidden layers")
    for (layer, arrays), name in zip(layers.items(), [*names, output], strict=True):
        place = f"layer {shorten(layer)}" if layer else "the layer"
        chain.dense(arrays["weight"].T, arrays.get("bias"), place)
        chain.activation(name, place)
    return chain.network("the state dict")


def in_order(layers, order=None):
    """Return the layers {name: arrays}, the first one first.

    Parameters
    ----------
    layers : dict
    order : sequence of str or None, default=None
        Their names; None where names or shapes say it.

    Raises
    ------
    ValueError
        When ``order`` has other names; when it is None and several orders fit.
    """
    if order is not None:
        if not hasattr(order, "__iter__") or isinstance(order, (set, frozenset)):
            raise TypeError(f"order={shown(order)} must be a list of names, the first one first")
        names = [order] if isinstance(order, str) else list(map(str, order))
        if sorted(names) != sorted(layers):
            raise ValueError(f"order={shown(order)} must name each layer of the state dict once: "
                             f"{shorten(', '.join(layers))}")
        return {name: layers[name] for name in names}
    groups = _groups(layers)
    shapes = {name: arrays["weight"].shape for name, arrays in layers.items()}
    if len(groups) == 1 or any(len(shape) != 2 for shape in shapes.values()):
        return {name: layers[name] for group in groups for name in group}
    found = _orders(groups, shapes)
    if found is None or len(found) > 1:
        raise ValueError(
            f"the state dict does not say in which order its layers are called: names and shapes "
            f"of {shorten(', '.join(layers))} allow several; give order=[...], their names, the "
            "first one first")
    # where none fits, what does not fit is named later
    names = found[0] if found else [name for group in groups for name in group]
    return {name: layers[name] for name in names}


def _groups(layers):
    """Return lists of names that differ in numbers only, in the order of these: safetensors lists
    10 before 2."""
    groups = {}
    for name in layers:
        groups.setdefault(re.sub(r"[0-9]+", "#", name), []).append(name)
    return [sorted(group, key=_numbers) for group in groups.values()]


def _numbers(name):
    """Return what sorts a name by its numbers, of any length."""
    found = [number.lstrip("0") for number in re.findall("[0-9]+", name)]
    return [(len(number), number) for number in found]


def _orders(groups, shapes):
    """Return the orders that fit: at most two of them; None where they are too many to look at.

    Parameters
    ----------
    groups : list of lists of names
        Each comes in its own order, whatever of the others lies between.
    shapes : dict
        (n_out, n_in) of each name.
    """
    found, work = [], 0
    waiting = [((0,) * len(groups), None, [])]
    total = sum(map(len, groups))
    while waiting and len(found) < 2:
        place, width, names = waiting.pop()
        work += total * len(groups)
        if work > MOST_WORK:
            return None
        if len(names) == total:
            found.append(names)
            continue
        for i, group in enumerate(groups):
            if place[i] == len(group):
                continue
            name = group[place[i]]
            n_out, n_in = shapes[name]
            after = (*place[:i], place[i] + 1, *place[i + 1:])
            if width in (None, n_in) and _can_end(after, n_out, groups, shapes):
                waiting.append((after, n_out, [*names, name]))
    return found


def _can_end(place, width, groups, shapes):
    """Whether widths may fit from here on: each one is taken as often as it is made, but for the
    first and the last."""
    balance = {width: 1}
    for start, group in zip(place, groups, strict=True):
        for name in group[start:]:
            n_out, n_in = shapes[name]
            balance[n_in] = balance.get(n_in, 0) - 1
            balance[n_out] = balance.get(n_out, 0) + 1
    left = sorted(value for value in balance.values() if value)
    return left == [1]
