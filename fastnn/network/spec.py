"""`NetworkSpec`: the one description of a network. Parameters, operations, files, exporters,
importers and summaries all read it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastnn.core import validation
from fastnn.core.notices import shown
from fastnn.network.layers import (
    GLU,
    LAYERS,
    MAX_DEPTH,
    N_PARAMETERS,
    WITH_WEIGHTS,
    Activation,
    BatchNorm,
    CustomActivation,
    Dense,
    Dropout,
    Embed,
    Frozen,
    Heads,
    Layer,
    LayerNorm,
    PReLU,
    Repeat,
    Residual,
    Scale,
    check_activation,
    check_layers,
    depth,
    flat,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Literal, TypeAlias

    from fastnn.core.types import DType

    Activations: TypeAlias = "str | CustomActivation | Sequence[str | CustomActivation]"

# layers, too: pickles name them by this module
__all__ = ["GLU", "MAX_DEPTH", "Activation", "Activations", "BatchNorm", "CustomActivation",
           "Dense", "Dropout", "Embed", "Heads", "Layer", "LayerNorm", "NetworkSpec", "PReLU",
           "Repeat", "Residual", "Scale", "depth", "flat"]

NORMS = (None, "layer", "batch")


class NetworkSpec(Frozen):
    """What a network is; frozen.

    Parameters
    ----------
    n_in : int
        Number of inputs.
    layers : sequence of layers
        At least one `Dense`.
    output : str, default="identity"
        What becomes of the last layer's values: softmax, or an elementwise activation.
    dtype : {"float32", "float64"}, default="float32"
        Of parameters and outputs.
    """

    __slots__ = ("n_in", "layers", "output", "dtype")
    n_in: int
    layers: tuple[Layer, ...]
    output: str
    dtype: str

    def __init__(self, n_in: int, layers: Sequence[Layer], output: str = "identity",
                 dtype: DType = "float32") -> None:
        self._set(n_in=validation.check_units("n_in", n_in),
                  layers=check_layers("layers", layers), output=validation.check_output(output),
                  dtype=validation.check_dtype(dtype).name)
        _width_after(self.layers, self.n_in)
        if not any(isinstance(layer, (Dense, Heads)) for layer in flat(self.layers)):
            raise ValueError("layers must hold a Dense layer")
        _check_members(self.layers)
        _check_embed(self.layers, self.n_in)
        validation.check_n_parameters(self.n_parameters, self)

    @classmethod
    def chain(cls, sizes: Sequence[int], activation: Activations = "relu", output: str = "identity",
              *, dtype: DType = "float32", dropout: float | Sequence[float] = 0.0,
              norm: Literal["layer", "batch"] | None = None, residual: bool = False,
              members: int | None = None) -> NetworkSpec:
        """Return the description of hidden layers one after the other.

        Parameters
        ----------
        sizes : sequence of int
            Units of the input, the hidden layers and the output.
        activation : str, CustomActivation or sequence of them, default="relu"
            Of the hidden layers, one for all or one each.
        output : str, default="identity"
            Activation of the output.
        dtype : {"float32", "float64"}, default="float32"
            Of parameters and outputs.
        dropout : float or sequence of float, default=0.0
            Of the hidden layers, one rate for all or one each.
        norm : {None, "layer", "batch"}, default=None
            "layer" and "batch" normalise x W + b of each hidden layer, before its activation.
        residual : bool, default=False
            Whether the input of a hidden layer is added to its output where both are as wide.
        members : int or None, default=None
            Of an ensemble, see `Repeat`; None: a single network.

        Returns
        -------
        NetworkSpec
            The same as one of layers.
        """
        sizes = validation.check_sizes(sizes)
        n_hidden = len(sizes) - 2
        names = validation.per_hidden_layer(
            "activation", activation, n_hidden, check_activation)
        rates = validation.per_hidden_layer("dropout", dropout, n_hidden, validation.check_fraction)
        if norm not in NORMS:
            raise ValueError(f"norm={shown(norm)} must be None, 'layer' or 'batch'")
        residual = validation.check_flag("residual", residual)
        layers: list[Layer] = []
        n_in = sizes[0]
        for units, name, rate in zip(sizes[1:-1], names, rates, strict=True):
            hidden: list[Layer] = [Dense(units, name)]
            if norm is not None:
                between = LayerNorm() if norm == "layer" else BatchNorm()
                hidden = [Dense(units), between, Activation(name)]
            if rate:
                hidden.append(Dropout(rate))
            layers += [Residual(hidden)] if residual and units == n_in else hidden
            n_in = units
        if members is None:
            return cls(sizes[0], (*layers, Dense(sizes[-1])), output, dtype)
        return cls(sizes[0], (Repeat(members), *layers, Heads(sizes[-1], members)), output, dtype)

    # ---- what it says ----

    @property
    def sizes(self) -> tuple[int, ...]:
        """Units of the input and of each `Dense` layer; `Embed` and `Heads`, too. Behind a `GLU`
        there are half as many.
        """
        found = [self.n_in]
        for layer in flat(self.layers):
            if type(layer) is Dense:  # as most are; this is asked for often
                found.append(layer.units)
                continue
            if type(layer) in WITH_WEIGHTS:
                found.append(layer._width(self.n_in))
            elif type(layer) is GLU and len(found) > 1:
                found[-1] = layer._width(found[-1])
        return tuple(found)

    @property
    def members(self) -> int:
        """Members of an ensemble, see `Repeat`; 1 of a single network."""
        last = self.layers[-1]
        return last.members if isinstance(last, Heads) else 1

    @property
    def n_out(self) -> int:
        """Number of outputs."""
        return self.sizes[-1]

    @property
    def activations(self) -> tuple[str | CustomActivation, ...]:
        """Activations of the hidden layers, as a rule names: what each `Dense` layer but the last
        has, or what comes between it and the next one.
        """
        found = []
        for layer in flat(self.layers):
            if isinstance(layer, WITH_WEIGHTS):
                found.append(getattr(layer, "activation", "identity"))
            elif isinstance(layer, Activation) and found:
                found[-1] = layer.name
        return tuple(found[:-1])

    @property
    def dropout(self) -> tuple[float, ...]:
        """Rates of the hidden layers: what comes after each `Dense` layer but the last."""
        found = []
        for layer in flat(self.layers):
            if isinstance(layer, WITH_WEIGHTS):
                found.append(0.0)
            elif isinstance(layer, Dropout) and found:
                found[-1] = layer.rate
        return tuple(found[:-1])

    @property
    def n_parameters(self) -> int:
        """Number of weights, biases, gains and whatever else layers have."""
        total, width = 0, self.n_in
        for layer in flat(self.layers):
            if layer.kind in N_PARAMETERS:
                total += N_PARAMETERS[layer.kind](layer, width)
            width = layer._width(width)
        return total

    @property
    def is_chain(self) -> bool:
        """Whether sizes, activations, dropout and output say all: `Dense` layers, each with an
        activation and at most a `Dropout` after it, and a last one with neither.
        """
        return self == NetworkSpec.chain(self.sizes, self.activations, self.output,
                                         dtype=self.dtype, dropout=self.dropout)

    @property
    def custom_activations(self) -> tuple[CustomActivation, ...]:
        """The `CustomActivation` objects of all layers, a tuple."""
        found = []
        for layer in flat(self.layers):
            activation = getattr(layer, "activation", getattr(layer, "name", None))
            if isinstance(activation, CustomActivation):
                found.append(activation)
        return tuple(found)

    def refuse_functions(self, place: str) -> None:
        """Raise ValueError where the network has Python functions, which a file cannot hold.

        Parameters
        ----------
        place : str
            Such as "a model file".
        """
        for activation in self.custom_activations:
            raise ValueError(f"activation {activation.name!r} is made of Python functions, which "
                             f"{place} cannot hold: pickle the network, or keep its get_weights()")

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of what a reader of files must know beside chains of `Dense` layers."""
        if self.is_chain:
            return ()
        return tuple(sorted({"layers", *(layer.kind for layer in flat(self.layers, inside=False))}
                            - {"dense"}))

    def __str__(self):
        return "-".join(map(str, self.sizes))

    # ---- plain values ----

    def to_plain(self) -> dict[str, Any]:
        """Return strings, numbers and lists from which `from_plain` makes the same; a
        `CustomActivation` as it is.

        Returns
        -------
        dict
            What `from_plain` takes.
        """
        return {"n_in": self.n_in, "layers": [layer.to_plain() for layer in self.layers],
                "output": self.output, "dtype": self.dtype}

    @classmethod
    def from_plain(cls, plain: object) -> NetworkSpec:
        """Return the description that these values say.

        Parameters
        ----------
        plain : dict
            What `to_plain` returned.

        Returns
        -------
        NetworkSpec
            The same as the one described.

        Raises
        ------
        KeyError, TypeError, ValueError
            When they do not describe a network.
        """
        if not isinstance(plain, dict) or plain.keys() != {"n_in", "layers", "output", "dtype"}:
            raise ValueError("a network is described by n_in, layers, output and dtype")
        return cls(plain["n_in"], _layers_from_plain(plain["layers"]), plain["output"],
                   plain["dtype"])


def _width_after(layers, width):
    """Return the number of outputs; raise where a `Residual` changes the width."""
    for layer in layers:
        width = layer._width(width)
        if isinstance(layer, Residual):
            inner = _width_after(layer.layers, width)
            if inner != width:
                raise ValueError(f"a Residual of {width} inputs has {inner} outputs, must have "
                                 f"{width}")
    return width


def _check_members(layers):
    """Raise unless a `Repeat` outside of residual layers comes before a `Heads` of as many members,
    which is the last layer, or there is neither."""
    found = [layer for layer in flat(layers) if isinstance(layer, (Repeat, Heads))]
    if not found:
        return
    first, last = found[0], layers[-1]
    if len(found) != 2 or not (first in layers and isinstance(first, Repeat)
                               and isinstance(last, Heads)):
        raise ValueError("an ensemble has one Repeat, which is in no Residual, Heads as its last "
                         "layer, and no other of them")
    if first.members != last.members:
        raise ValueError(f"members={last.members} of Heads must be {first.members}, as of Repeat")


def _check_embed(layers, n_in):
    """Raise unless an `Embed` is the first layer, of all inputs, or there is none."""
    found = [layer for layer in flat(layers) if isinstance(layer, Embed)]
    if not found:
        return
    if len(found) > 1 or layers[0] != found[0]:
        raise ValueError("an Embed must be the first layer, and there must be no other one")
    if sum(found[0].counts) != n_in:
        raise ValueError(f"counts of Embed add up to {sum(found[0].counts)}, must be n_in={n_in}")


def _layers_from_plain(plain, level=0):
    if not isinstance(plain, list) or level > MAX_DEPTH:
        raise ValueError("layers must be a list, not too deep")
    found = []
    for item in plain:
        if not isinstance(item, dict) or item.get("kind") not in LAYERS:
            raise ValueError("a layer is described by its kind and its settings")
        settings = {key: value for key, value in item.items() if key != "kind"}
        layer = LAYERS[item["kind"]]
        if settings.keys() != set(layer.__slots__):
            raise ValueError(f"a layer of kind {layer.kind!r} has settings "
                             f"{shown(sorted(settings))}")
        if "layers" in settings:
            settings["layers"] = _layers_from_plain(settings["layers"], level + 1)
        found.append(layer(**settings))
    return tuple(found)
