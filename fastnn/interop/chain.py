"""What importers share: layers as they come, checked for being those of a network of ours."""

import numpy as np

from fastnn.core.arrays import refuse_masked
from fastnn.core.notices import shorten, shown
from fastnn.mlp import MLP
from fastnn.network.spec import (
    GLU,
    MAX_DEPTH,
    Activation,
    BatchNorm,
    Dense,
    Dropout,
    Embed,
    LayerNorm,
    PReLU,
    Residual,
    Scale,
)

NESTED = f"residual blocks lie deeper in each other than {MAX_DEPTH}"

# activations that cut off, by what they leave
CUTS = {(-np.inf, np.inf): "identity", (0, np.inf): "relu", (0, 6): "relu6", (-1, 1): "hard_tanh"}
BOUNDLESS = 1e30   # bounds from here on cut nothing: float32 ends soon after
NARROWEST = 1e-30  # between two bounds
# Between bounds of both signs, whose distances `clip` takes, values beside 0 lose digits: 1e-6 of
# them at the first size of the nearer bound in float32, 1e-7 at the second one in float64.
SHIFT, WIDEST_SHIFT = 16.0, 1e9
LEAK = 0.01  # the slope of leaky_relu

MAX_LAYERS = 100_000  # and groups of layers
MAX_DIAGONAL = 4096  # values that a diagonal matrix shifts


class Part:
    """A layer with its arrays, and the activation and dropout that follow it.

    ``kind`` is "dense", "embed", "layer_norm", "batch_norm", "scale", "prelu", "glu", "residual",
    or "alone": an activation or dropout behind another one, or that begins a residual block.
    """

    def __init__(self, kind, arrays=(), *, eps=None, momentum=None, per_unit=None, inner=None,
                 gate=None, counts=None):
        self.kind, self.arrays, self.gate, self.counts = kind, list(arrays), gate, counts
        self.eps, self.inner = eps, inner
        self.momentum, self.per_unit = momentum, per_unit
        self.made = False  # of a factor and shift, in float64 whatever the network is of
        self.activation, self.dropout = None, 0.0

    @property
    def all_arrays(self):
        """Arrays of this layer or, of a residual block, of those in it."""
        if self.kind == "residual":
            return [array for part in self.inner for array in part.all_arrays]
        return self.arrays

    @property
    def decides(self):
        """The array of each layer whose dtype says that of the network."""
        if self.kind == "residual":
            return [array for part in self.inner for array in part.decides]
        return [] if self.made else self.arrays[:1]

    def take_affine(self, factor, shift, wide):
        """Make what follows, y factor + shift, a part of it, in float64 where ``wide``; return
        whether that can be."""
        if self.activation is not None or self.dropout or self.kind not in AFFINE or (
                self.kind == "scale" and np.any(shift != 0)):
            return False
        first = self.arrays[0]
        if (factor != 1).any():
            dtype = np.float64 if wide else first.dtype
            self.arrays[0] = (first * factor).astype(dtype, copy=False)
        if self.kind != "scale":
            bias = self.arrays[1]
            dtype = np.float64 if wide else bias.dtype
            self.arrays[1] = (bias * factor + shift).astype(dtype, copy=False)
        return True

    def layers(self):
        """Return it as layers of a `NetworkSpec`."""
        tail = [Activation(self.activation)] if self.activation is not None else []
        if self.dropout:
            tail.append(Dropout(self.dropout))
        return LAYERS[self.kind](self, tail)


AFFINE = ("dense", "layer_norm", "batch_norm", "scale")  # whose gain and bias may take others

# kind -> layers of a `NetworkSpec`, from a part and from what follows it
LAYERS = {
    "dense": lambda part, tail: [
        Dense(len(part.arrays[1]), part.activation or "identity"),
        *(layer for layer in tail if not isinstance(layer, Activation))],
    "embed": lambda part, tail: [
        Embed(len(part.arrays[1]) // len(part.counts), part.counts), *tail],
    "layer_norm": lambda part, tail: [LayerNorm(part.eps), *tail],
    "batch_norm": lambda part, tail: [BatchNorm(part.eps, part.momentum), *tail],
    "scale": lambda part, tail: [Scale(), *tail],
    "prelu": lambda part, tail: [PReLU(part.per_unit), *tail],
    "glu": lambda part, tail: [GLU(part.gate), *tail],
    "residual": lambda part, tail: [Residual(_layers_of(part.inner)), *tail],
    "alone": lambda part, tail: tail,
}


def _layers_of(parts):
    return [layer for part in parts for layer in part.layers()]


class Chain:
    """Layers as they come, checked for being those of a network of ours.

    Parameters
    ----------
    most : callable or None, default=None
        Returns how many values the layers may have: of a file, whose weights may be used again and
        again. None: any number.

    Attributes
    ----------
    n_in : int or None
        Inputs of the network; None until a layer says so.
    width : int or None
        Outputs of the layer before.
    """

    def __init__(self, most=None):
        self.most, self._n_values = most, 0
        self.n_in = self.width = None
        self._double = False  # whether float32 would lose too much
        self._parts = []   # where the next layer goes
        self._waiting = None  # (factor, shift, place) of what the next layer takes
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
        if self._waiting is not None:
            w, b = folded(w, b, *self._waiting[:2], wide=self._double or not self.begun)
            self._waiting = None
        self._append(Part("dense", [w, b]), place)
        self.width = w.shape[1]

    def embed(self, weights, b, place):
        """Append x W + b of each column, side by side, with W (count, units) of each."""
        counts = [len(w) for w in weights]
        if self.begun:
            raise ValueError(f"{place} multiplies columns apart behind another layer, which has no "
                             "counterpart in fastnn")
        self._take(sum(counts), place)
        parts = list(zip(weights, np.split(b, len(counts)), strict=True))
        if self._waiting is not None:
            (factor, shift, _), self._waiting = self._waiting, None
            places = np.cumsum(counts)[:-1]
            wide = [np.split(np.broadcast_to(value, sum(counts)), places)
                    for value in (factor, shift)]
            parts = [folded(*part, *values, wide=True)
                     for part, values in zip(parts, zip(*wide, strict=True), strict=True)]
        arrays = [np.concatenate(array) for array in zip(*parts, strict=True)]
        self._append(Part("embed", arrays, counts=tuple(counts)), place)
        self.width = len(b)

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
        self._add(Part("layer_norm", [gain, bias], eps=float(eps)), place)

    def batch_norm(self, arrays, eps, momentum, place):
        """Append gain (x - mean) / sqrt(variance + eps) + bias with arrays (n,): gain and bias,
        which may be None, mean, variance; momentum as ours."""
        mean, variance = np.asarray(arrays[2]), np.asarray(arrays[3])
        gain = np.ones_like(mean) if arrays[0] is None else np.asarray(arrays[0])
        bias = np.zeros_like(mean) if arrays[1] is None else np.asarray(arrays[1])
        if mean.ndim != 1 or {mean.shape} != {gain.shape, bias.shape, variance.shape}:
            raise ValueError(f"{place}: arrays of shape {gain.shape}, {bias.shape}, {mean.shape} "
                             f"and {variance.shape} are not those of a batch normalisation of "
                             "columns")
        if not (0 < eps < np.inf and 0 < momentum <= 1):
            raise ValueError(f"{place} has eps={eps}, momentum={momentum}; fastnn's are > 0, and "
                             "the share of a step in the running averages is at most 1")
        if not (variance >= 0).all():
            raise ValueError(f"{place} has a variance below 0, or NaN")
        self._take(len(mean), place)
        self._add(Part("batch_norm", [gain, bias, mean, variance], eps=float(eps),
                       momentum=float(momentum)), place)

    def prelu(self, slope, per_unit, place):
        """Append PReLU with slopes (n,), or (1,) where all units share one."""
        slope = np.asarray(slope)
        if slope.ndim != 1 or len(slope) != 1 and not per_unit:
            raise ValueError(f"{place}: slopes of shape {slope.shape} are not those of a PReLU of "
                             "rows")
        if per_unit:
            self._take(len(slope), place)
        elif self.width is None:
            raise ValueError(f"{place} comes before the first layer that says how many inputs "
                             "there are")
        self._add(Part("prelu", [slope], per_unit=per_unit), place)

    def glu(self, gate, place):
        """Append u f(v) of the halves u and v of what comes in; the gate is the name of f."""
        if self.width is None:
            raise ValueError(f"{place} comes before the first layer that says how many inputs "
                             "there are")
        if self.width % 2:
            raise ValueError(f"{place} halves {self.width} values, must be an even number")
        self._add(Part("glu", gate=gate), place)
        self.width //= 2

    def affine(self, factor, shift, place):
        """Append x factor + shift, numbers or arrays (n,): a part of the layer before or, where
        that has an activation, of the next one."""
        factor, shift = (np.asarray(value, np.float64) for value in (factor, shift))
        sizes = {value.size for value in (factor, shift)} - {1}
        if len(sizes) > 1 or any(value.ndim > 1 for value in (factor, shift)):
            raise ValueError(f"{place}: factors of shape {factor.shape} and shifts of shape "
                             f"{shift.shape} are not those of columns")
        if not (np.isfinite(factor).all() and np.isfinite(shift).all()):
            raise ValueError(f"{place} holds a number that is not finite")
        for size in sizes:
            self._take(size, place)
        if self._waiting is not None:
            before = self._waiting
            self._waiting = before[0] * factor, before[1] * factor + shift, place
        elif not (self._parts and self._parts[-1].take_affine(factor, shift, self._double)):
            self._waiting = factor, shift, place

    def _settle(self):
        """Make a layer of a factor and shift that no layer beside takes."""
        if self._waiting is None:
            return
        (factor, shift, place), self._waiting = self._waiting, None
        if (factor == 1).all() and (shift == 0).all():
            return
        if self.width is None:
            raise ValueError(f"{place} takes inputs that were shifted or scaled, of which nothing "
                             "says how many there are")
        factor, shift = (np.broadcast_to(value, self.width) for value in (factor, shift))
        if not self.begun and (shift != 0).any():  # of inputs, see `folded`
            self._double = True
        if (shift == 0).all():
            self._append(Part("scale", [factor]), place)
        elif self.width <= MAX_DIAGONAL:
            self._append(Part("dense", [np.diag(factor), shift]), place)
        else:
            raise ValueError(f"{place} shifts {self.width} values where no fully connected layer "
                             "is beside it, which has no counterpart in fastnn")
        self._parts[-1].made = True

    def _add(self, part, place):
        """Append a part that takes nothing of what is waiting."""
        self._settle()
        self._append(part, place)

    def _append(self, part, place):
        for array in part.arrays:
            if array.dtype.kind in "OSUMmc":
                raise TypeError(f"{place} holds {array.dtype}, must hold real numbers")
        if not all(np.isfinite(array).all() for array in part.arrays):
            raise ValueError(f"{place} holds a number that is not finite")
        self._parts.append(part)
        self._n_values += sum(array.size for array in part.arrays)
        if self.most is not None and self._n_values > self.most():
            raise ValueError(f"the layers have {self._n_values:,} values and more, many times what "
                             "the graph holds, as it uses weights again and again")

    def open_residual(self, place):
        """Begin a block whose inputs are added to its outputs."""
        if len(self._outer) >= MAX_DEPTH:
            raise ValueError(f"{place}: {NESTED}")
        self._settle()
        self._outer.append((self._parts, self.width))
        self._parts = []

    def close_residual(self, place):
        """End the block, and add."""
        self._settle()
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
            part = self._alone()
        part.activation = name

    def clip(self, low, high, place):
        """Append min(max(x, low), high); -inf and inf where there is no bound. Where it is none of
        our activations, it is one of them between a factor and shift and the inverse of these."""
        if np.isnan([low, high]).any():
            raise ValueError(f"{place} has a bound that is NaN")
        if low >= high:  # whatever comes in
            self.affine(0.0, high, place)
            return
        low = -np.inf if low <= -BOUNDLESS else float(low)
        high = np.inf if high >= BOUNDLESS else float(high)
        near, far = sorted((low, high), key=abs)
        if (low, high) in CUTS:
            name, factor, shift = CUTS[low, high], 1.0, 0.0
        elif far in (-np.inf, np.inf):
            name, factor, shift = "relu", np.sign(far), near
        elif low == -high:
            name, factor, shift = "hard_tanh", high, 0.0
        else:  # as a distance from the bound beside 0, where values are exact
            name, factor, shift = "relu6", (far - near) / 6, near
        if abs(factor) < NARROWEST:
            raise ValueError(f"{place} has the bounds {low:g} and {high:g}, which are too near "
                             "each other for a network")
        if low < 0 < high and abs(shift) > SHIFT:
            if abs(shift) > WIDEST_SHIFT:
                raise ValueError(f"{place} has the bounds {low:g} and {high:g}, beside which a "
                                 "network would lose small values: leave them out, or make both "
                                 "of one size")
            self._double = True
        self.affine(1 / factor, -shift / factor, place)
        self.activation(name, place)
        self.affine(factor, shift, place)

    def leak(self, slope, place):
        """Append max(x, 0) + slope min(x, 0): leaky_relu or, of another slope, a PReLU that all
        units share."""
        if slope in (LEAK, 0, 1):
            self.activation({LEAK: "leaky_relu", 0: "relu", 1: "identity"}[slope], place)
        else:
            self.prelu(np.array([slope]), False, place)
            self._parts[-1].made = True

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
        self._settle()
        if not self._parts:
            if not self._outer:
                raise ValueError(message)
            return self._alone()
        return self._parts[-1]

    def _alone(self):
        """Return a part of which there is nothing but what follows."""
        self._parts.append(Part("alone"))
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
        self._settle()
        parts = self._parts
        arrays = [array for part in parts for array in part.all_arrays]
        if not any(array.ndim == 2 for part in parts if part.kind != "embed"
                   for array in part.all_arrays):
            raise ValueError(f"{source} has no fully connected layer")
        self._check_softmax(parts, source)
        double = self._double or any(w.dtype == np.float64 for part in parts
                                     for w in part.decides)
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


def folded(w, b, factor, shift, wide):
    """Return the layer of x factor + shift as one of x. ``wide``: in float64 where there is a
    shift, as of inputs, beside whose large means what is small would be lost."""
    double = w.astype(np.float64)
    factor, shift = (np.broadcast_to(value, w.shape[:1]) for value in (factor, shift))
    if not shift.any() and (factor == 1).all():
        return w, b
    dtype = np.float64 if wide and shift.any() else w.dtype
    return (factor[:, None] * double).astype(dtype), (shift @ double + b).astype(dtype)


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


def as_real(array, name="weights"):
    """Return an array of float64 where it is one, else of float32."""
    refuse_masked(name, array)
    try:
        array = np.asarray(array)
    except ValueError as error:  # lists of several lengths
        raise ValueError(f"{name} cannot be read: {shorten(str(error))}") from None
    if array.dtype.kind in "cmMOSU":
        raise ValueError(f"{name} have dtype {array.dtype}, must be real")
    if array.dtype.kind == "f" and array.dtype.itemsize >= 8:
        return array.astype(np.float64, copy=False)
    return array.astype(np.float32)
