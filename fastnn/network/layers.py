"""The layers of a `NetworkSpec`, each a frozen class with its settings and its ``kind``, the name
that files have for it. `LAYERS` lists them.
"""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING

from fastnn.core import validation
from fastnn.core.notices import shown, suggests

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

__all__ = ["GLU", "LAYERS", "MAX_DEPTH", "N_PARAMETERS", "WITH_WEIGHTS", "Activation", "BatchNorm",
           "CustomActivation", "Dense", "Dropout", "Embed", "Frozen", "Heads", "Layer", "LayerNorm",
           "PReLU", "Repeat", "Residual", "Scale", "check_activation", "check_layers", "depth",
           "flat"]

MAX_DEPTH = 16  # residual layers inside of each other


class Frozen:
    """Base of values that cannot be changed: compared, hashed and printed by their fields, which
    are the ``__slots__``.

    By hand: six frozen dataclasses took a tenth of the time that NumPy takes to be imported.
    """

    __slots__ = ()

    def __init_subclass__(cls):
        super().__init_subclass__()
        if "__init__" in vars(cls):
            suggests(cls)

    def _set(self, **values):
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _values(self):
        return tuple(getattr(self, name) for name in self.__slots__)

    def __setattr__(self, name, value):
        raise AttributeError(f"{type(self).__name__}.{name} cannot be set: make another one")

    def __delattr__(self, name):
        raise AttributeError(f"{type(self).__name__}.{name} cannot be deleted")

    def __eq__(self, other):
        return type(self) is type(other) and self._values() == other._values()

    def __hash__(self):
        return hash((type(self).__name__, self._values()))

    def __repr__(self):
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__name__}({values})"

    def __reduce__(self):
        return type(self), self._values()


class CustomActivation(Frozen):
    """An activation of the user's own, as Python functions of arrays.

    It goes where names of activations of hidden layers go: `MLP`, `Dense`, `Activation`. In
    training both functions are called once for each batch and layer, without threads: slower than
    a row of the table, with the same results within rounding. Predictions call ``value`` for some
    hundred rows at a time.

    Parameters
    ----------
    value : callable
        Called as value(z), it gives f(z), of the same shape as z (n_samples, n_units), which is an
        array of the network's dtype, a copy. Elementwise: what one row gives must not depend on
        the others.
    derivative : callable
        Called as derivative(z), it gives f'(z), in the same shape.
    name : str, default="custom"
        Stands for the functions in messages, and in a checkpoint, where they are not compared.

    Notes
    -----
    A network with such an activation is pickled where its functions are. Model files and exports
    cannot hold it.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> sine = fastnn.CustomActivation(np.sin, np.cos, name="sine")
    >>> net = fastnn.MLP((1, 20, 1), activation=sine, random_state=0)
    >>> net.predict(np.zeros((3, 1), "float32")).shape
    (3, 1)
    """

    __slots__ = ("value", "derivative", "name")
    value: Callable[[Any], Any]
    derivative: Callable[[Any], Any]
    name: str

    def __init__(self, value: Callable[[Any], Any], derivative: Callable[[Any], Any],
                 name: str = "custom") -> None:
        for field, function in (("value", value), ("derivative", derivative)):
            if not callable(function):
                raise TypeError(f"{field}={shown(function)} of CustomActivation must be callable "
                                "as f(z)")
        if not isinstance(name, str) or not name or validation.is_activation(name):
            raise ValueError(f"name={shown(name)} of CustomActivation must be a string, and not "
                             "the name of another activation")
        self._set(value=value, derivative=derivative, name=name)

    def __repr__(self):
        return f"CustomActivation({self.name!r})"


def check_activation(name, value):
    """Return an activation of a hidden layer: its name, no alias, or a `CustomActivation`."""
    if isinstance(value, CustomActivation):
        return value
    if isinstance(value, type) and issubclass(value, CustomActivation):
        raise TypeError(f"{name}={value.__name__} is a class, must be an object: "
                        "CustomActivation(value, derivative)")
    if callable(value):
        raise TypeError(f"{name}={shown(value)} is a function, whose derivative is not known: give "
                        "fastnn.CustomActivation(value, derivative)")
    return validation.check_activation(name, value)


class Layer(Frozen):
    """Base of all layers."""

    __slots__ = ()
    kind: str

    def _width(self, n_in):
        """Return the number of outputs for so many inputs."""
        return n_in

    def to_plain(self) -> dict[str, Any]:
        """Return the layer as strings, numbers and lists.

        Returns
        -------
        dict
            What `from_plain` takes.
        """
        plain: dict[str, Any] = {"kind": self.kind}
        names: tuple[str, ...] = self.__slots__
        for name, value in zip(names, self._values(), strict=True):
            plain[name] = [layer.to_plain() for layer in value] if name == "layers" else value
        return plain


class Dense(Layer):
    """A fully connected layer: f(x W + b), W of shape (n_in, units).

    Parameters
    ----------
    units : int
        Number of outputs.
    activation : str or CustomActivation, default="identity"
        Elementwise f, such as "relu".
    """

    __slots__ = ("units", "activation")
    units: int
    activation: str | CustomActivation
    kind = "dense"

    def __init__(self, units: int, activation: str | CustomActivation = "identity") -> None:
        if isinstance(activation, Integral):
            raise TypeError(f"activation={shown(activation)} must be a string, such as 'relu': a "
                            "layer is told its units alone, Dense(8, 'relu'); its inputs are what "
                            "comes before it")
        self._set(units=validation.check_units("units", units),
                  activation=check_activation("activation", activation))

    def _width(self, n_in):
        """Return the number of outputs."""
        return self.units


class Embed(Layer):
    """Embeddings of the columns of a table, side by side: each column has a W of its own.

    Of a column with inputs x (count,), as an `encoders.Encoder` encodes it, the embedding is
    x W + b, with W (count, units) and b (units,); those of all columns are the outputs. It is
    the first layer, reads `Codes`, a sparse X or a dense one, and does what a `Dense` layer does
    whose W is block-diagonal. Of codes a number costs two rows of a table and a category one,
    however many bins or categories there are (piecewise-linear embeddings: Gorishniy, Rubachev &
    Babenko 2022). Initial weights are drawn for each column as for a `Dense` layer of its inputs.

    Parameters
    ----------
    units : int
        Outputs of each column.
    counts : sequence of int
        Inputs of each column, `Encoder.counts`; their sum is n_in.
    """

    __slots__ = ("units", "counts")
    units: int
    counts: tuple[int, ...]
    kind = "embed"

    def __init__(self, units: int, counts: Sequence[int]) -> None:
        if not isinstance(counts, (list, tuple)) or not counts:
            raise TypeError(f"counts={shown(counts)} of Embed must be a sequence of int, such as "
                            "encoder.counts")
        self._set(units=validation.check_units("units", units),
                  counts=tuple(validation.check_units("counts", count) for count in counts))

    def _width(self, n_in):
        """Return the number of outputs."""
        return len(self.counts) * self.units

    def to_plain(self) -> dict[str, Any]:
        """Return the layer as strings, numbers and lists."""
        return {**super().to_plain(), "counts": list(self.counts)}


class Activation(Layer):
    """An elementwise function of its own, for places where no `Dense` layer has it.

    Parameters
    ----------
    name : str or CustomActivation
        Such as "relu".
    """

    __slots__ = ("name",)
    name: str | CustomActivation
    kind = "activation"

    def __init__(self, name: str | CustomActivation) -> None:
        self._set(name=check_activation("name", name))


class LayerNorm(Layer):
    """Layer normalisation (Ba, Kiros & Hinton 2016) of each row of its inputs.

    gain (x - mean) / sqrt(variance + eps) + bias, mean and variance (over n) being those of the
    row; gain and bias of shape (n,) are learned and start at 1 and 0.

    Parameters
    ----------
    eps : float, default=1e-5
        Added to the variance.
    """

    __slots__ = ("eps",)
    eps: float
    kind = "layer_norm"

    def __init__(self, eps: float = 1e-5) -> None:
        self._set(eps=validation.check_positive("eps", eps))


class BatchNorm(Layer):
    """Batch normalisation (Ioffe & Szegedy 2015) of each column of its inputs.

    gain (x - mean) / sqrt(variance + eps) + bias; gain and bias of shape (n,) are learned and start
    at 1 and 0. In training, and in `MLP.loss_and_grad`, mean and variance (divided by the rows) are
    those of a shard of the batch: "ghost batches" (Hoffer, Hubara & Soudry 2017), of about 64 rows
    and fixed by the shape of the batch alone, see `MLP.plan`; sample weights do not count.
    Predictions and `MLP.loss` take running averages, which are parameters that are not trained,
    ``mean`` and ``variance`` (n,): after each step they move by ``momentum`` towards the mean over
    the shards of means and of variances (those divided by the rows less one).

    A shard of one row, as the last batch of an epoch may be, has no variance: it is normalised by
    the running averages, and leaves them as they are. Of a layer that is frozen, so are all.

    Parameters
    ----------
    eps : float, default=1e-5
        Added to the variance.
    momentum : float in (0, 1], default=0.1
        Share of a step in the running averages, as in PyTorch; Keras has 1 - momentum.
    """

    __slots__ = ("eps", "momentum")
    eps: float
    momentum: float
    kind = "batch_norm"

    def __init__(self, eps: float = 1e-5, momentum: float = 0.1) -> None:
        momentum = validation.check_positive("momentum", momentum)
        if momentum > 1:
            raise ValueError(f"momentum={momentum} of BatchNorm must be in (0, 1]: the share of a "
                             "step in the running averages")
        self._set(eps=validation.check_positive("eps", eps), momentum=momentum)


class Scale(Layer):
    """A learned factor for each column: x s, with s of shape (n,), which starts at 1.

    It has no settings. No L2 or L1 penalty acts on s.
    """

    __slots__ = ()
    kind = "scale"


class PReLU(Layer):
    """An activation whose slope below 0 is learned (He et al. 2015): x where x > 0, else a x.

    The a start at 0.25. No L2 or L1 penalty acts on them.

    Parameters
    ----------
    per_unit : bool, default=True
        Whether each unit has an a of its own, (n,), or all share one, (1,).
    """

    __slots__ = ("per_unit",)
    per_unit: bool
    kind = "prelu"

    def __init__(self, per_unit: bool = True) -> None:
        self._set(per_unit=validation.check_flag("per_unit", per_unit))


class GLU(Layer):
    """A gated linear unit (Dauphin et al. 2017): the first half of the inputs, each times f of one
    of the second half.

    x = (u, v) of 2 m inputs gives u f(v) of m outputs. ``Dense(2 * m), GLU("silu")`` is SwiGLU,
    with "gelu" GEGLU, "relu" ReGLU, "identity" the bilinear one (Shazeer 2020).

    Parameters
    ----------
    activation : str, default="sigmoid"
        Elementwise f.
    """

    __slots__ = ("activation",)
    activation: str
    kind = "glu"

    def __init__(self, activation: str = "sigmoid") -> None:
        activation = check_activation("activation", activation)
        if isinstance(activation, CustomActivation):
            raise TypeError(f"activation={shown(activation)} of GLU must be the name of one")
        self._set(activation=activation)

    def _width(self, n_in):
        """Return the number of outputs."""
        if n_in % 2:
            raise ValueError(f"GLU halves its inputs, and there are {n_in}: an even number, such "
                             f"as of Dense({n_in + 1}), must come before it")
        return n_in // 2


class Dropout(Layer):
    """Dropout (Srivastava et al. 2014): in training some units are set to 0 at random.

    Parameters
    ----------
    rate : float in [0, 1)
        Share of the units that are dropped; the rest is scaled by 1 / (1 - rate).
    """

    __slots__ = ("rate",)
    rate: float
    kind = "dropout"

    def __init__(self, rate: float) -> None:
        self._set(rate=validation.check_fraction("rate", rate))


class Residual(Layer):
    """Layers whose inputs are added to their outputs: x + f(x) (He et al. 2016).

    Parameters
    ----------
    layers : sequence of layers
        The f, of as many outputs as inputs.
    """

    __slots__ = ("layers",)
    layers: tuple[Layer, ...]
    kind = "residual"

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._set(layers=check_layers("layers of Residual", layers))
        if depth(self.layers) >= MAX_DEPTH:
            raise ValueError(f"Residual layers lie deeper in each other than {MAX_DEPTH}")


class Repeat(Layer):
    """Where an ensemble begins whose members share all layers but this one and `Heads`: each member
    gets what comes in times a scale of its own (TabM-mini; Gorishniy et al. 2025).

    x_m = r_m x, with r (members, n_in) learned; it starts at 1 and -1 at random. As a rule it is
    the first layer. Layers before it are computed once for each row, and not once for each member;
    behind a first `Dense` the network takes `Codes` and sparse X without making them dense.

    Parameters
    ----------
    members : int
        At least 1; the last layer is a `Heads` of as many.
    """

    __slots__ = ("members",)
    members: int
    kind = "repeat"

    def __init__(self, members: int) -> None:
        self._set(members=validation.check_units("members", members))


class Heads(Layer):
    """The last layer of such an ensemble: each member has a dense layer of its own.

    z_m = x_m W_m + b_m. W (members n_in, units) holds those of the members one below the other, b
    is (members, units). Behind the output's activation the members are averaged.

    Parameters
    ----------
    units : int
        Number of outputs.
    members : int
        As many as `Repeat` makes.
    """

    __slots__ = ("units", "members")
    units: int
    members: int
    kind = "heads"

    def __init__(self, units: int, members: int) -> None:
        self._set(units=validation.check_units("units", units),
                  members=validation.check_units("members", members))

    def _width(self, n_in):
        """Return the number of outputs."""
        return self.units


LAYERS = {layer.kind: layer for layer in (Dense, Activation, LayerNorm, BatchNorm, Scale, PReLU,
                                          Dropout, Residual, Repeat, Heads, Embed, GLU)}
WITH_WEIGHTS = Dense, Embed, Heads  # layers with a W and a bias
# numbers that a layer has, from the number of its inputs
N_PARAMETERS = {
    "dense": lambda layer, width: (width + 1) * layer.units,
    "embed": lambda layer, width: (width + len(layer.counts)) * layer.units,
    "heads": lambda layer, width: (width + 1) * layer.units * layer.members,
    "layer_norm": lambda layer, width: 2 * width,
    "batch_norm": lambda layer, width: 4 * width,
    "scale": lambda layer, width: width,
    "prelu": lambda layer, width: width if layer.per_unit else 1,
    "repeat": lambda layer, width: layer.members * width,
}


def flat(layers, inside=True):
    """Yield the layers in their order, those in a `Residual` after it; it itself is left out where
    ``inside``.
    """
    for layer in layers:
        if isinstance(layer, Residual):
            if not inside:
                yield layer
            yield from flat(layer.layers, inside)
        else:
            yield layer


def depth(layers):
    """Return how many `Residual` layers lie in each other at most."""
    return max((1 + depth(layer.layers) for layer in layers if isinstance(layer, Residual)),
               default=0)


def check_layers(name, layers):
    """Return layers as a tuple; raise where they are none."""
    if isinstance(layers, Layer) or not hasattr(layers, "__iter__"):
        raise TypeError(f"{name} must be a sequence of layers, such as [fastnn.Dense(10)]")
    layers = tuple(layers)
    for i, layer in enumerate(layers):
        if type(layer) not in LAYERS.values():
            raise TypeError(f"{name}[{i}] is of type {type(layer).__name__}, must be one of: "
                            f"{', '.join(known.__name__ for known in LAYERS.values())}")
    if not layers:
        raise ValueError(f"{name} must hold at least one layer")
    return layers
