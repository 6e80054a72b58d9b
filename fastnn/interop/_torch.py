"""Networks of PyTorch as ours.

A `Sequential` is read layer by layer. Any other module is followed by `torch.fx`, which calls it
once with a stand-in for the inputs and notes what it does.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.notices import shorten, suggests
from fastnn.interop import state_dict
from fastnn.interop.chain import (
    Chain,
    append_steps,
    check_setting,
    kind_of,
    row_of,
    steps,
)
from fastnn.interop.state_dict import from_tensor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from fastnn.mlp import MLP

# class of torch.nn -> our name, and the settings it must have
TORCH = {
    "ReLU": ("relu", {}),
    "Tanh": ("tanh", {}),
    "Sigmoid": ("sigmoid", {}),
    "SiLU": ("silu", {}),
    "GELU": ("gelu", {"approximate": "none"}),
    "ELU": ("elu", {"alpha": 1.0}),
    "SELU": ("selu", {}),
    "Mish": ("mish", {}),
    "Hardsigmoid": ("hard_sigmoid", {}),
    "ReLU6": ("relu6", {}),
    "Softmax": ("softmax", {}),
    "Identity": ("identity", {}),
}
MAX_NESTED = 100  # modules in each other
TOO_DEEP = f"modules lie deeper in each other than {MAX_NESTED}, or one lies in itself"
EXACT = 20.0  # from here on softplus is the identity to 1e-10; the threshold torch has by default

# function of torch or torch.nn.functional, or method of a tensor -> the row that does the same,
# and its arguments after the first one, with their defaults
FUNCTIONS = {
    "relu": ("ReLU", {"inplace": False}),
    "relu_": ("ReLU", {}),
    "tanh": ("Tanh", {}),
    "tanh_": ("Tanh", {}),
    "sigmoid": ("Sigmoid", {}),
    "sigmoid_": ("Sigmoid", {}),
    "silu": ("SiLU", {"inplace": False}),
    "gelu": ("GELU", {"approximate": "none"}),
    "elu": ("ELU", {"alpha": 1.0, "inplace": False}),
    "leaky_relu": ("LeakyReLU", {"negative_slope": 0.01, "inplace": False}),
    "softplus": ("Softplus", {"beta": 1.0, "threshold": EXACT}),
    "selu": ("SELU", {"inplace": False}),
    "selu_": ("SELU", {}),
    "mish": ("Mish", {"inplace": False}),
    "hardtanh": ("Hardtanh", {"min_val": -1.0, "max_val": 1.0, "inplace": False}),
    "hardtanh_": ("Hardtanh", {"min_val": -1.0, "max_val": 1.0}),
    **dict.fromkeys(("clamp", "clamp_", "clip", "clip_"), ("clamp", {"min": None, "max": None})),
    "hardsigmoid": ("Hardsigmoid", {"inplace": False}),
    "relu6": ("ReLU6", {"inplace": False}),
    "softmax": ("Softmax", {"dim": None}),
    "glu": ("GLU", {"dim": -1}),
    "dropout": ("Dropout", {"p": 0.5, "training": True, "inplace": False}),
    "flatten": ("Flatten", {"start_dim": 0, "end_dim": -1}),
}
NEAR, SHORT = 1e-3, 0.1  # predictions that are the same, but for rounding; in 16 bits
WRAPPED = ("module", "_orig_mod")  # of DataParallel, AveragedModel; of torch.compile
ADDITIONS = ("add", "iadd", "add_")  # of the module operator, of torch, of a tensor


@suggests
def from_torch(model: Any, *, activation: str | None = None, output: str | None = None,
               order: Sequence[str] | None = None) -> MLP:
    """Return an `MLP` with the weights of a PyTorch model.

    Parameters
    ----------
    model : torch.nn.Module or state dict
        A `Sequential` of `Linear`, `LayerNorm`, `BatchNorm1d`, `PReLU`, `GLU`, activations,
        `Dropout`, `Flatten` before the first layer, `Identity`, and `Sequential` of these; or a
        module of a class of your own, as a whole or in a `Sequential`, whose `forward` applies such
        layers, functions such as `torch.nn.functional.relu`, and additions of a value and what
        layers make of it (residual connections). A state dict holds ``*.weight`` (n_out, n_in) and
        ``*.bias``. It does not say in which order the layers are called, and files list them by
        name: those whose names differ in a number only are taken in the order of the numbers, and
        the rest has to follow from the shapes.
    activation : str or sequence of str or None, default=None
        Of the hidden layers; for a state dict only, which does not say. None means relu.
    output : str or None, default=None
        For a state dict only. None means identity.
    order : sequence of str or None, default=None
        For a state dict only: names of the layers, the first one first, such as
        ``["input", "hidden", "output"]``.

    Returns
    -------
    MLP
        Of float64 where the weights are; float16 and bfloat16 become float32.

    Raises
    ------
    TypeError
        When it is neither, or its `forward` does something else.
    ValueError
        When a layer or one of its settings has no counterpart; the message names it. When several
        orders of the layers of a state dict fit, and ``order`` names none. When a module with a
        `forward` of its own predicts other values for a few rows than what was read of it.

    Notes
    -----
    A network that ends in raw outputs (logits), as one trained with `CrossEntropyLoss` does, has
    output "identity" here as well. Append a `Softmax` for probabilities.
    """
    chain = Chain()
    _check_no_global_hooks()
    if hasattr(model, "items") and not _is_module(model):
        return state_dict.read(chain, model, "relu" if activation is None else activation,
                               "identity" if output is None else output, order)
    kind = _torch_kind(model)
    if kind not in ("Sequential", "Linear") and not _is_followed(model):
        hint = ""
        if isinstance(model, (str, os.PathLike)):
            hint = f"; from a file: torch.load({os.fspath(model)!r}, weights_only=True)"
            if os.fspath(model).endswith(".safetensors"):
                hint = f"; from a file: safetensors.torch.load_file({os.fspath(model)!r})"
        for name in WRAPPED:
            if _is_module(model) and name in model._modules and _is_module(model._modules[name]):
                hint = f"; what it wraps is its .{name}"
        if kind.startswith("torch.jit."):
            hint = "; a compiled one does not say what its layers are: give what it was made of"
        raise TypeError(f"model={type(model).__name__} {MODELS}{hint}")
    for name, value in (("activation", activation), ("output", output), ("order", order)):
        if value is not None:
            raise ValueError(f"{name}={value!r} goes with a state dict; a Sequential says its own, "
                             "append a layer to it")
    try:
        _append(chain, model, ())
    except _NotOurs as error:
        raise TypeError(f"model={type(model).__name__} {MODELS}: {shorten(str(error))}") from None
    except RecursionError:
        raise ValueError(f"model={type(model).__name__}: {TOO_DEEP}") from None
    net = chain.network("the model")
    if any(map(_is_followed, model.modules())):
        _check_same(model, net)
    return net


MODELS = ("must be a torch.nn.Sequential, a module whose forward is layers, activations and "
          "additions, or a state dict with activation= and output=")


class _NotOurs(Exception):
    """What the forward of a module of another class does besides layers and additions."""


def _append(chain, module, path):
    """Append a layer, or the layers of a module."""
    kind, place = _torch_kind(module), f"layer {'.'.join(path)}" if path else "the model"
    followed = _is_followed(module)
    if kind.startswith("torch.nn.utils.parametrize."):
        raise ValueError(f"{place} ({kind.rpartition('.')[2]}) computes its weights, as by "
                         "weight_norm or spectral_norm: make them plain ones by torch.nn.utils."
                         "parametrize.remove_parametrizations(layer, \"weight\")")
    if kind.startswith("Lazy"):
        raise ValueError(f"{place} ({kind}) has no counterpart in fastnn before its first call, "
                         "which makes its weights; call the model once")
    if kind != "Sequential" and not followed:
        row_of({**LAYERS, **TORCH}, kind, place)
    _check_plain(module, f"{place} ({kind})")
    if len(path) > MAX_NESTED:
        raise ValueError(f"{shorten(place)}: {TOO_DEEP}")
    chain.count(place)
    if kind == "Sequential":
        for key, child in module._modules.items():  # named_children() lists one object once
            _append(chain, child, (*path, key))
    elif followed:
        try:
            _Traced(chain, module, path).append()
        except _NotOurs as error:
            if not path:
                raise
            raise ValueError(f"{place} ({kind}) has no counterpart in fastnn: {error}") from None
    else:
        _append_layer(chain, kind, module, f"{place} ({kind})" if kind in TORCH else place)


def _check_plain(module, place):
    """Raise where calling a module does more than its class's forward."""
    if module._forward_hooks or module._forward_pre_hooks or {
            "forward", "__call__", "_call_impl"} & vars(module).keys():
        raise ValueError(f"{shorten(place)} has hooks, which may change what it computes; remove "
                         "them first")
    for cls in type(module).__mro__:
        if cls.__module__ == "torch.nn.modules.module" and cls.__name__ == "Module":
            break
        for name in ("__call__", "_call_impl", "_wrapped_call_impl"):
            # those that torch.fx makes have one that only shows where an error came up
            if name in vars(cls) and not cls.__module__.startswith("torch.fx."):
                raise ValueError(f"{shorten(place)} has a {name} of its own, in {cls.__name__}, "
                                 "which may change what it computes")


def _check_no_global_hooks():
    """Raise where hooks of all modules may change what a model computes."""
    module = sys.modules.get("torch.nn.modules.module")
    if getattr(module, "_global_forward_hooks", None) or (
            getattr(module, "_global_forward_pre_hooks", None)):
        raise ValueError("there are global hooks, by torch.nn.modules.module.register_module_"
                         "forward_hook or ..._pre_hook, which may change what the model computes; "
                         "remove them first")


def _append_layer(chain, kind, settings, place):
    """Append a layer of a known kind; ``settings`` is its module, or has the same attributes."""
    if kind in LAYERS and (kind != "Flatten" or not chain.begun):
        LAYERS[kind](chain, settings, place)
        return
    known = {name: row for name, row in {**LAYERS, **TORCH}.items() if name != "Flatten"}
    activation, required = row_of(known, kind, place)
    for key, expected in required.items():
        check_setting(getattr(settings, key), expected, place, key)
    if kind == "Softmax" and settings.dim not in (-1, 1):
        check_setting(settings.dim, -1, place, "dim")
    chain.activation(activation, place)


def _append_dense(chain, module, place):
    bias = None if module.bias is None else from_tensor(module.bias)
    chain.dense(from_tensor(module.weight).T, bias, place)


def _append_norm(chain, module, place):
    if len(module.normalized_shape) != 1:
        raise ValueError(f"{place} has normalized_shape={tuple(module.normalized_shape)}; fastnn "
                         "normalises rows of one axis")
    if module.weight is None:
        gain, bias = np.ones(module.normalized_shape, np.float32), None
    else:
        gain = from_tensor(module.weight)
        bias = None if module.bias is None else from_tensor(module.bias)
    chain.layer_norm(gain, bias, module.eps, place)


def _append_batch_norm(chain, module, place):
    if module.running_mean is None:
        raise ValueError(f"{place} has track_running_stats=False; fastnn predicts with running "
                         "averages")
    arrays = [None if tensor is None else from_tensor(tensor) for tensor in (
        module.weight, module.bias, module.running_mean, module.running_var)]
    # None: the mean of all steps so far, which fastnn has not; predictions are the same
    chain.batch_norm(arrays, module.eps, module.momentum or 0.1, place)


def _append_flatten(chain, module, place):
    place = f"{place} (Flatten)"
    check_setting(module.start_dim, 1, place, "start_dim")
    check_setting(module.end_dim, -1, place, "end_dim")


def _append_dropout(chain, module, place):
    if isinstance(module, SimpleNamespace) and module.training is not False:
        raise _NotOurs("it calls dropout with training=True, which drops values of predictions, "
                       "too; that of the module is training=self.training")
    chain.drop(module.p, place)


def _append_glu(chain, module, place):
    if module.dim not in (-1, 1):
        check_setting(module.dim, -1, f"{place} (GLU)", "dim")
    chain.glu("sigmoid", place)


def _append_clip(chain, low, high, place):
    """None, as functions have it, is no bound."""
    if any(not isinstance(bound, (int, float, type(None))) for bound in (low, high)):
        raise _NotOurs(f"{place} has bounds that are no numbers")
    chain.clip(-np.inf if low is None else low, np.inf if high is None else high, place)


def _append_softplus(chain, module, place):
    """log(1 + exp(beta x)) / beta."""
    if not 0 < module.beta < np.inf:
        raise ValueError(f"{place} has beta={module.beta}; it must be finite and > 0")
    if not module.threshold >= EXACT:
        check_setting(module.threshold, EXACT, place, "threshold")
    chain.affine(module.beta, 0.0, place)
    chain.activation("softplus", place)
    chain.affine(1 / module.beta, 0.0, place)


# class of torch.nn that is not one of our activations -> what appends it
LAYERS = {
    "Linear": _append_dense,
    "LayerNorm": _append_norm,
    "BatchNorm1d": _append_batch_norm,
    "PReLU": lambda chain, module, place: chain.prelu(
        from_tensor(module.weight), module.num_parameters > 1, place),
    "GLU": _append_glu,
    "Hardtanh": lambda chain, module, place: _append_clip(
        chain, module.min_val, module.max_val, place),
    "clamp": lambda chain, call, place: _append_clip(chain, call.min, call.max, place),
    "LeakyReLU": lambda chain, module, place: chain.leak(module.negative_slope, place),
    "Softplus": _append_softplus,
    "Dropout": _append_dropout,
    "Flatten": _append_flatten,
}


class _Traced:
    """The layers that the forward of a module applies."""

    def __init__(self, chain, module, path):
        self.chain, self.path = chain, path
        for name, child in module.named_modules():
            _check_plain(child, f"{self.layer(name)} ({_torch_kind(child)})")
        try:
            self.nodes = list(_trace(module).nodes)
        except Exception as error:  # of the module's own code
            raise _NotOurs(f"torch.fx cannot follow it ({type(error).__name__}: {error})") from None
        self.modules = dict(module.named_modules(remove_duplicate=False))
        self.order = {node: i for i, node in enumerate(self.nodes)}

    def append(self):
        """Append them to the chain."""
        inputs = [node for node in self.nodes if node.op == "placeholder"]
        output, = self.nodes[-1].args
        if not inputs or output not in self.order:
            raise _NotOurs("it must have one input and one output")
        found = steps(output, inputs[0], self.sources, self.order.get, self.place)
        if found is None:
            raise _NotOurs("it has another output than what it makes of its inputs")
        self.check_every_node(found, inputs)
        self.check_in_place()
        append_steps(self.chain, found, self.append_node, self.place)

    def layer(self, name):
        path = ".".join((*self.path, *filter(None, [name])))
        return f"layer {path}" if path else "the model"

    def place(self, node):
        if node.op == "call_module":
            return self.layer(node.target)
        return f"{self.layer('')}, {self.name(node)} of {node.name!r}"

    @staticmethod
    def name(node):
        return node.target if isinstance(node.target, str) else getattr(
            node.target, "__name__", str(node.target))

    def sources(self, node):
        """Return the values that a node is computed from."""
        if self.is_addition(node):
            return list(node.args)
        if node.op in ("call_function", "call_method"):
            self.settings(node)
        if node.op in ("placeholder", "get_attr") or not node.args or (
                node.args[0] not in self.order):
            raise _NotOurs(f"it reads {self.name(node)}")
        if node.op == "call_module" and len(node.args) + len(node.kwargs) != 1:
            raise _NotOurs(f"{self.place(node)} has {len(node.args) + len(node.kwargs)} inputs")
        return [node.args[0]]

    def is_addition(self, node):
        """Whether a node is the sum of two values."""
        if node.op not in ("call_function", "call_method") or self.name(node) not in ADDITIONS or (
                not self.is_known(node)):
            return False
        if len(node.args) != 2 or not all(arg in self.order for arg in node.args) or (
                node.kwargs not in ({}, {"alpha": 1})):
            raise _NotOurs(f"{self.name(node)} of {node.name!r} must add two values, alpha=1")
        return True

    def is_known(self, node):
        """Whether a function of a known name is that of PyTorch."""
        import operator

        import torch

        name = self.name(node)
        return node.op == "call_method" or any(
            node.target is getattr(module, name, None)
            for module in (torch, torch.nn.functional, operator))

    def settings(self, node):
        """Return the class of torch.nn that does the same as a function, and its settings."""
        name = self.name(node)
        if name not in FUNCTIONS or not self.is_known(node):
            raise _NotOurs(f"it calls {name}")
        kind, defaults = FUNCTIONS[name]
        given = {**dict(zip(defaults, node.args[1:], strict=False)), **node.kwargs}
        other = {key: value for key, value in given.items() if key not in defaults
                 and (key, value) not in (("dtype", None), ("_stacklevel", 3), ("_stacklevel", 5))}
        if other or len(node.args) - 1 > len(defaults):
            raise _NotOurs(f"it calls {name} with {other or node.args[1:]}")
        return kind, SimpleNamespace(**{**defaults, **given})

    def append_node(self, node):
        if node.op == "call_module":
            _append(self.chain, self.modules[node.target], (*self.path, *node.target.split(".")))
        else:
            kind, settings = self.settings(node)
            _append_layer(self.chain, kind, settings, self.place(node))

    # ---- what a chain of values does not show ----

    def check_every_node(self, found, inputs):
        """Raise where a node is no step to the output: it may change a value in place."""
        known, waiting = {*inputs, self.nodes[-1]}, list(found)
        while waiting:
            node, block = waiting.pop()
            known.add(node)
            waiting += block or ()
        for node in self.nodes:
            if node not in known:
                raise _NotOurs(f"it calls {self.name(node)}, which leads not to the output")

    def check_in_place(self):
        """Raise where a value is read after something has been written over it."""
        stored = {}  # node -> the first one with the same memory
        for i, node in enumerate(self.nodes):
            same = self.keeps_memory(node)
            stored[node] = stored[node.args[0]] if same else node
            if not self.is_in_place(node):
                continue
            for other in self.nodes[:i]:
                if stored[other] is stored[node] and any(
                        self.order[user] > i for user in other.users):
                    raise _NotOurs(f"{self.place(node)} writes over a value that is read later")

    def is_in_place(self, node):
        if node.op == "call_module":
            return bool(getattr(self.modules[node.target], "inplace", False))
        if node.op not in ("call_function", "call_method"):
            return False
        name = self.name(node)
        if name in FUNCTIONS and getattr(self.settings(node)[1], "inplace", False):
            return True
        return name == "iadd" or name.endswith("_")

    def keeps_memory(self, node):
        """Whether the result may be the memory of the first argument."""
        if node.op == "call_module":
            kind = _torch_kind(self.modules[node.target])
            return kind in ("Identity", "Dropout", "Flatten") or self.is_in_place(node)
        return self.is_in_place(node) or (node.op in ("call_function", "call_method")
                                          and self.name(node) in ("dropout", "flatten"))


def _trace(module):
    """Return the graph of what a module's forward makes of one value when it predicts. An x += y is
    an operation of its own in it, which writes over x; torch.fx alone notes x + y."""
    import operator

    from torch import fx

    class Proxy(fx.Proxy):
        def __iadd__(self, other):
            return self.tracer.create_proxy("call_function", operator.iadd, (self, other), {})

    class Tracer(fx.Tracer):
        def proxy(self, node):
            return Proxy(node, self)

        def create_args_for_root(self, root_fn, is_module, concrete_args=None):
            # further arguments keep their defaults: torch.fx would pass a value for each, and
            # where one is None a forward asks for that
            return root_fn, [self.root, self.create_proxy("placeholder", "inputs", (), {})]

    with _evaluating(module):
        return Tracer().trace(module)


@contextmanager
def _evaluating(module):
    """Have the modules in evaluation mode; no method of the user's is called."""
    modes = [(child, child.training) for child in module.modules()]
    try:
        for child, _ in modes:
            child.training = False
        yield
    finally:
        for child, training in modes:
            child.training = training


def _check_same(model, net):
    """Raise where a model predicts other values for some rows than the network. Its code may ask
    what it is given, and the stand-in of torch.fx is no tensor; or what was before."""
    import torch

    weights = next(model.parameters())
    rows = torch.as_tensor(np.random.default_rng(0).normal(size=(4, net.sizes[0])))
    with _evaluating(model), torch.no_grad():
        try:
            rows = rows.to(device=weights.device, dtype=weights.dtype)
            expected = from_tensor(model(rows))
        except Exception:  # rows of another shape, or a dtype that PyTorch cannot compute in
            return
    found = net.predict(from_tensor(rows))
    near = SHORT if weights.element_size() < 4 else NEAR
    if found.shape != expected.shape or not np.allclose(found, expected, near, near * (
            1 + abs(expected).max()), equal_nan=True):
        raise ValueError(f"model={type(model).__name__} predicts other values than the layers that "
                         "its forward was seen to apply: it asks for what it is given, such as "
                         "isinstance(x, torch.Tensor), or for what was before; leave that out")


def _is_module(model):
    return any(cls.__module__ == "torch.nn.modules.module" and cls.__name__ == "Module"
               for cls in type(model).__mro__)


def _is_followed(module):
    """Whether a module is of a class of the user's, or of torch.fx: no layer of PyTorch."""
    where = type(module).__module__
    return _is_module(module) and _torch_kind(module) != "Sequential" and (
        where.startswith("torch.fx.") or not where.startswith("torch."))


def _torch_kind(module):
    """Return what `kind_of` does; a subclass of `Sequential` which adds a constructor only is one.
    """
    for cls in type(module).__mro__[1:]:
        if _is_sequential(cls) and type(module).forward is cls.forward:
            return "Sequential"
    return kind_of(module, "torch.nn.modules")


def _is_sequential(cls):
    return cls.__module__.startswith("torch.nn.modules.") and cls.__name__ == "Sequential"
