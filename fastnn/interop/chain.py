"""What importers share: layers as they come, checked for being those of a network of ours."""

import numpy as np

from fastnn.core.notices import shorten, shown
from fastnn.mlp import MLP
from fastnn.network.spec import MAX_DEPTH, Activation, Dense, Dropout, LayerNorm, Residual

NESTED = f"residual blocks lie deeper in each other than {MAX_DEPTH}"

MAX_LAYERS = 100_000  # and groups of layers


class Part:
    """A layer with its arrays, and the activation and dropout that follow it.

    ``kind`` is "dense", "layer_norm", "residual", or "start": nothing but what follows the
    beginning of a residual block.
    """

    def __init__(self, kind, arrays=(), *, eps=None, inner=None):
        self.kind, self.arrays = kind, list(arrays)
        self.eps, self.inner = eps, inner
        self.activation, self.dropout = None, 0.0

    @property
    def all_arrays(self):
        """Arrays of this layer or, of a residual block, of those in it."""
        if self.kind == "residual":
            return [array for part in self.inner for array in part.all_arrays]
        return self.arrays

    def layers(self):
        """Return it as layers of a `NetworkSpec`."""
        tail = [Activation(self.activation)] if self.activation is not None else []
        if self.dropout:
            tail.append(Dropout(self.dropout))
        return LAYERS[self.kind](self, tail)


# kind -> layers of a `NetworkSpec`, from a part and from what follows it
LAYERS = {
    "dense": lambda part, tail: [
        Dense(len(part.arrays[1]), part.activation or "identity"),
        *(layer for layer in tail if not isinstance(layer, Activation))],
    "layer_norm": lambda part, tail: [LayerNorm(part.eps), *tail],
    "residual": lambda part, tail: [Residual(_layers_of(part.inner)), *tail],
    "start": lambda part, tail: tail,
}


def _layers_of(parts):
    return [layer for part in parts for layer in part.layers()]


class Chain:
    """Layers as they come, checked for being those of a network of ours.

    Attributes
    ----------
    n_in : int or None
        Inputs of the network; None until a layer says so.
    width : int or None
        Outputs of the layer before.
    """

    def __init__(self):
        self.n_in = self.width = None
        self._parts = []   # where the next layer goes
        self._outer = []   # of the residual blocks that are open: parts and width before them
        self._count = 0

    @property
    def begun(self):
        """Whether there is a layer already, or a residual block has been opened."""
        return bool(self._parts or self._outer)

    @property
    def last(self):
        """The part before, or None."""
        return self._parts[-1] if self._parts else None

    def count(self, place):
        """Count a layer or group of layers. Sixty groups, each of the one before it twice, are
        more than any program comes to the end of."""
        self._count += 1
        if self._count > MAX_LAYERS:
            raise ValueError(f"{shorten(place)}: the model has more than {MAX_LAYERS} layers")

    # ---- one method for each kind of layer ----

    def dense(self, w, b, place):
        """Append x W + b with w (n_in, n_out) and b (n_out,) or None."""
        w = np.asarray(w)
        b = np.zeros(w.shape[-1:], w.dtype) if b is None else np.asarray(b).reshape(-1)
        if w.ndim != 2 or b.shape != w.shape[1:]:
            raise ValueError(f"{place}: weights of shape {w.shape} and {b.shape} are not those of "
                             "a fully connected layer")
        self._take(w.shape[0], place)
        self._parts.append(Part("dense", [w, b]))
        self.width = w.shape[1]

    def layer_norm(self, gain, bias, eps, place):
        """Append the normalisation of rows with gain (n,) and bias (n,) or None."""
        gain = np.asarray(gain)
        bias = np.zeros(gain.shape, gain.dtype) if bias is None else np.asarray(bias)
        if gain.ndim != 1 or gain.shape != bias.shape:
            raise ValueError(f"{place}: gain and bias of shape {gain.shape} and {bias.shape} are "
                             "not those of a layer normalisation of rows")
        if not 0 < eps < np.inf:
            raise ValueError(f"{place} has eps={eps}; it must be finite and > 0")
        self._take(len(gain), place)
        self._parts.append(Part("layer_norm", [gain, bias], eps=float(eps)))

    def open_residual(self, place):
        """Begin a block whose inputs are added to its outputs."""
        if len(self._outer) >= MAX_DEPTH:
            raise ValueError(f"{place}: {NESTED}")
        self._outer.append((self._parts, self.width))
        self._parts = []

    def close_residual(self, place):
        """End the block, and add."""
        inner, (self._parts, width) = self._parts, self._outer.pop()
        first = self.n_in if width is None else width
        if not inner:
            raise ValueError(f"{place} adds a value to itself, which has no counterpart in fastnn")
        if first != self.width:
            raise ValueError(f"{place} adds {first} values to {self.width}; a residual block has "
                             "as many outputs as inputs")
        self._parts.append(Part("residual", inner=inner))

    def activation(self, name, place):
        """Append one of our activations, by name, to the layer before."""
        if name == "identity":
            return
        part = self._part_before(f"{place} comes before the first fully connected layer, where "
                                 "fastnn has nothing")
        if part.activation is not None:
            raise ValueError(f"{place} follows another activation ({part.activation}); a layer of "
                             "fastnn has one")
        part.activation = name

    def drop(self, rate, place):
        """Append dropout to the layer before."""
        if not rate and not self._parts:
            return
        part = self._part_before(f"{place}: dropout of inputs has no counterpart in fastnn")
        if rate >= 1:
            raise ValueError(f"{place} drops everything, rate={rate}; it must be in [0, 1)")
        part.dropout = float(rate)

    def _part_before(self, message):
        """Return what an activation or dropout goes with."""
        if not self._parts:
            if not self._outer:
                raise ValueError(message)
            self._parts.append(Part("start"))
        return self._parts[-1]

    def _take(self, n_in, place):
        """Check the number of inputs of a layer."""
        if self.width is not None and self.width != n_in:
            raise ValueError(f"{place} takes {n_in} inputs, the layer before it has {self.width} "
                             "outputs")
        if self.width is None:
            self.n_in = self.width = n_in

    # ---- the network ----

    def network(self, source):
        """Return the `MLP`, of float64 where the weights are, else of float32."""
        parts = self._parts
        arrays = [array for part in parts for array in part.all_arrays]
        if not any(array.ndim == 2 for array in arrays):
            raise ValueError(f"{source} has no fully connected layer")
        self._check_softmax(parts, source)
        double = any(w.dtype == np.float64 for w in arrays[::2])
        settings = {"dtype": "float64" if double else "float32", "random_state": 0,
                    "initializer": "zeros"}
        names = [part.activation or "identity" for part in parts]
        parts[-1].activation, parts[-1].dropout = None, 0.0  # it becomes the output
        if all(part.kind == "dense" for part in parts):
            sizes = [self.n_in, *(len(part.arrays[1]) for part in parts)]
            net = MLP(sizes, names[:-1], names[-1], dropout=[part.dropout for part in parts[:-1]],
                      **settings)
        else:
            net = MLP.of(_layers_of(parts), n_in=self.n_in, output=names[-1], **settings)
        net.initializer = "glorot_uniform"
        net.set_weights(arrays)
        return net

    def _check_softmax(self, parts, source, inside=False):
        for part in parts if inside else parts[:-1]:
            if part.activation == "softmax":
                raise ValueError(f"{source}: softmax in a hidden layer has no counterpart in "
                                 "fastnn")
        for part in parts:
            self._check_softmax(part.inner or (), source, inside=True)


def steps(target, start, sources, order, place, level=0):
    """Return what leads from a value of a graph to another.

    Parameters
    ----------
    target, start : values
    sources : callable
        The values that a value is computed from: one, or the two that are added.
    order : callable
        A number of a value, larger than those of its sources.
    place : callable
        A name of a value, for errors.

    Returns
    -------
    list of (value, block), or None
        In the order of the data. ``block`` is None, or the list of the steps whose result is added
        to the value before. None where the target is not computed from ``start`` alone.
    """
    if level > MAX_DEPTH:
        raise ValueError(f"{place(target)}: {NESTED}")
    found = []
    while target is not start:
        if order(target) < order(start):
            return None
        before, block = sources(target), None
        if len(before) == 2:
            before = sorted(before, key=order)
            block = steps(before[1], before[0], sources, order, place, level + 1)
            if not block:
                raise ValueError(f"{place(target)} has 2 inputs; the layers must be a chain, or "
                                 "one of the two must be the input of a residual block and the "
                                 "other its output")
        found.append((target, block))
        target = before[0]
    return found[::-1]


def append_steps(chain, found, append, place):
    """Append steps as `steps` returns them: values by ``append``, residual blocks as such."""
    for value, block in found:
        if block is None:
            append(value)
        else:
            chain.open_residual(place(value))
            append_steps(chain, block, append, place)
            chain.close_residual(place(value))


def kind_of(layer, package):
    """Return the name of a layer's class in a library; of classes from elsewhere the whole path,
    which no table has, for they may compute something else under a known name."""
    cls = type(layer)
    if cls.__module__.startswith(f"{package}."):
        return cls.__name__
    return f"{cls.__module__}.{cls.__qualname__}"


def row_of(table, name, place):
    """Return the row of a layer in a table {class name: row}; raise where it has none."""
    if name not in table:
        raise ValueError(f"{place} ({name}) has no counterpart in fastnn; there are: "
                         f"{', '.join(table)}")
    return table[name]


def check_setting(value, expected, place, name):
    """Raise where a setting of a layer is not the one that we have."""
    if value != expected:
        raise ValueError(f"{place} has {name}={shown(value)}; fastnn has {name}={expected!r} only")


def as_real(array):
    """Return an array of float64 where it is one, else of float32."""
    array = np.asarray(array)
    return array if array.dtype == np.float64 else array.astype(np.float32)
