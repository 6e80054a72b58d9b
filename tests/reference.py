"""The slow twin: everything that fastnn computes, once more in plain NumPy and float64.

It is the judge in the tests, so it is written from the formulas and shares no code with fastnn. An
activation or loss that fastnn has and this file has not (a new row in a ``.def`` file) is taken
from fastnn's own elementwise kernel: all else about it is then still judged here, and the kernel
itself by finite differences.
"""

import functools
from dataclasses import dataclass, field

import numpy as np
from scipy import special, stats

from fastnn.core import _kernels, _probes

# ---- activations: name -> (f(z), f'(z)) ----


def _normpdf(z):
    return np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)


def _bounded(z):
    """z with infinity replaced by a number beyond which nothing changes: no inf * 0."""
    return np.clip(z, -1e4, 1e4)


SELU = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717  # lambda, alpha

_ACTIVATIONS = {
    "identity": (lambda z: z, np.ones_like),
    "sigmoid": (special.expit, lambda z: special.expit(z) * special.expit(-z)),
    "tanh": (np.tanh, lambda z: 1 / np.cosh(np.clip(z, -300, 300)) ** 2),
    "relu": (lambda z: np.where(z < 0, 0, z), lambda z: np.where(z > 0, 1.0, 0.0)),
    "leaky_relu": (
        lambda z: np.where(z < 0, 0.01 * z, z),
        lambda z: np.where(z < 0, 0.01, 1.0),
    ),
    "elu": (
        lambda z: np.where(z < 0, np.expm1(np.minimum(z, 0)), z),
        lambda z: np.exp(np.minimum(z, 0)),
    ),
    "gelu": (
        lambda z: np.where(z < 0, _bounded(z), z) * special.ndtr(z),
        lambda z: special.ndtr(z) + _bounded(z) * _normpdf(_bounded(z)),
    ),
    "silu": (
        lambda z: np.where(z < 0, _bounded(z), z) * special.expit(z),
        lambda z: special.expit(z) * (1 + _bounded(z) * special.expit(-z)),
    ),
    "softplus": (lambda z: np.logaddexp(0, z), special.expit),
    "exp": (np.exp, np.exp),
    "step": (lambda z: np.where(z >= 0, 1.0, np.where(z < 0, 0.0, z)), np.zeros_like),
    "selu": (
        lambda z: SELU[0] * np.where(z < 0, SELU[1] * np.expm1(np.minimum(z, 0)), z),
        lambda z: SELU[0] * np.where(z <= 0, SELU[1] * np.exp(np.minimum(z, 0)), 1.0),
    ),
    "mish": (
        lambda z: np.where(z < 0, _bounded(z), z) * np.tanh(np.logaddexp(0, z)),
        lambda z: np.tanh(np.logaddexp(0, z)) + _bounded(z) * special.expit(z) / np.cosh(
            np.minimum(np.logaddexp(0, z), 300)) ** 2,
    ),
    "hard_tanh": (lambda z: np.clip(z, -1, 1), lambda z: np.where(np.abs(z) < 1, 1.0, 0.0)),
    "hard_sigmoid": (lambda z: np.clip(z + 3, 0, 6) / 6,
                     lambda z: np.where(np.abs(z) < 3, 1 / 6, 0.0)),
    "relu6": (lambda z: np.clip(z, 0, 6), lambda z: np.where((z > 0) & (z < 6), 1.0, 0.0)),
}


def knows(activation_name):
    """Whether the formula stands here."""
    return activation_name in _ACTIVATIONS


def activation(name):
    """(f, f') of an elementwise activation."""
    name = _kernels.ALIASES.get(name, name)
    if name in _ACTIVATIONS:
        return _ACTIVATIONS[name]
    return (
        lambda z: _probes.activate(name, np.asarray(z, float)),
        lambda z: _probes.activation_derivative(name, np.asarray(z, float)),
    )


def softmax(z):
    """Softmax of each row."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def output_value(name, z):
    """What the network predicts from its raw output z."""
    return softmax(z) if name == "softmax" else activation(name)[0](z)


# ---- losses, from the raw output ----


def one_hot(labels, n_classes):
    """0/1 rows for integer labels."""
    return (np.asarray(labels)[:, None] == np.arange(n_classes)).astype(float)


def _huber(z, y, delta=1.0):
    d = z - y
    inside = np.abs(d) <= delta
    return (np.where(inside, 0.5 * d**2, delta * (np.abs(d) - 0.5 * delta)),
            np.clip(d, -delta, delta))


def _quantile(z, y, level=0.5):
    level = np.asarray(level) + np.zeros(z.shape[1])  # one for each output
    return np.maximum(level * (y - z), (level - 1) * (y - z)), np.where(
        z < y, -level, np.where(z > y, 1 - level, 0.0))


def _tweedie(z, y, power=1.5):
    a, b = 1 - power, 2 - power
    return (y**b / (a * b) - y * np.exp(a * z) / a + np.exp(b * z) / b,
            np.exp(b * z) - y * np.exp(a * z))


def _gaussian_nll(z, y):
    """The values of the second half, which has no targets, are 0."""
    mean, log_variance = np.split(z, 2, axis=1)
    away = mean - y[:, :mean.shape[1]]
    square = away**2 / np.exp(log_variance)
    return (np.hstack([0.5 * (log_variance + square), np.zeros_like(mean)]),
            np.hstack([away / np.exp(log_variance), 0.5 - 0.5 * square]))


def _focal(z, y, gamma=2.0):
    """By the chain rule: df/dp, then the Jacobian of softmax."""
    p = np.exp(z - special.logsumexp(z, axis=1, keepdims=True))
    q = np.stack([np.delete(p, j, axis=1).sum(axis=1) for j in range(p.shape[1])], axis=1)  # 1 - p
    log_p = z - special.logsumexp(z, axis=1, keepdims=True)
    slope = -q**gamma / p
    np.add(slope, gamma * q ** (gamma - 1) * log_p, out=slope, where=q > 0)
    return -y * q**gamma * log_p, p * (y * slope - (p * y * slope).sum(axis=1, keepdims=True))


def _binary_focal(z, y, gamma=2.0):
    def one(z):
        p, q, log_p = special.expit(z), special.expit(-z), -np.logaddexp(0, -z)
        return -(q**gamma) * log_p, q**gamma * (gamma * p * log_p - q)

    (value, slope), (other, other_slope) = one(z), one(-z)
    return y * value + (1 - y) * other, y * slope - (1 - y) * other_slope


def _cross_entropy(z, y, label_smoothing=0.0):
    y = (1 - label_smoothing) * y + label_smoothing * y.mean(axis=1, keepdims=True)
    log_p = z - special.logsumexp(z, axis=1, keepdims=True)
    return -np.where(y != 0, y * log_p, 0), y.sum(axis=1, keepdims=True) * np.exp(log_p) - y


# name -> (output it goes with, reduction over outputs, value and derivative of each element)
_LOSSES = {
    "squared_error": ("identity", "mean", lambda z, y: (0.5 * (z - y) ** 2, z - y)),
    "cross_entropy": ("softmax", "sum", _cross_entropy),
    "binary_cross_entropy": (
        "sigmoid", "sum", lambda z, y: (np.logaddexp(0, z) - y * z, special.expit(z) - y)),
    "poisson": (
        "exp", "sum", lambda z, y: (np.exp(z) - y * z + special.xlogy(y, y) - y, np.exp(z) - y)),
    "perceptron": (
        "step", "sum",
        lambda z, y: (np.maximum(0, -(2 * y - 1) * z), np.where(z >= 0, 1.0, 0.0) - y)),
    "absolute_error": ("identity", "mean", lambda z, y: (np.abs(z - y), np.sign(z - y))),
    "log_cosh": ("identity", "mean", lambda z, y: (
        np.log1p(2 * np.sinh((z - y) / 2) ** 2), np.tanh(z - y))),
    "gamma": ("exp", "sum", lambda z, y: (
        z - np.log(y) + np.expm1(np.log(y) - z), 1 - y * np.exp(-z))),
    "hinge": ("step", "sum", lambda z, y: (
        np.maximum(0, 1 - (2 * y - 1) * z), np.where((2 * y - 1) * z < 1, 1 - 2 * y, 0.0))),
    "squared_hinge": ("step", "sum", lambda z, y: (
        np.maximum(0, 1 - (2 * y - 1) * z) ** 2,
        2 * (1 - 2 * y) * np.maximum(0, 1 - (2 * y - 1) * z))),
    "huber": ("identity", "mean", _huber),
    "quantile": ("identity", "mean", _quantile),
    "tweedie": ("exp", "sum", _tweedie),
    "gaussian_nll": ("identity", "half", _gaussian_nll),
    "focal": ("softmax", "sum", _focal),
    "binary_focal": ("sigmoid", "sum", _binary_focal),
}
# of the losses that have parameters, by their order in the kernels: name, default
PARAMETERS = {
    "cross_entropy": ("label_smoothing", 0.0), "huber": ("delta", 1.0), "quantile": ("level", 0.5),
    "tweedie": ("power", 1.5), "focal": ("gamma", 2.0), "binary_focal": ("gamma", 2.0),
}


def _kernel_loss(name, z, y):
    """fastnn's: the value of an element is the sum over an array of that element alone."""
    values = [_probes.loss(name, np.array([[a]]), np.array([[b]]))[0] for a, b in
              zip(z.ravel(), y.ravel(), strict=True)]
    return np.reshape(values, z.shape), _probes.loss(name, z, y)[1]


def loss(name, z, y, output=None, reduction=None):
    """Loss of each row (n,) and its derivative dz (n, n_out).

    ``name`` may also be an object of `fastnn.losses`, whose parameters are taken. ``output``, where
    it is not the one that the loss is linked to, is applied to z first; ``reduction`` of the
    derivative over outputs: "mean", "sum", or None for the loss's own.
    """
    settings = {}
    if not isinstance(name, str):
        given, name = name, name.row(output)
        if name in PARAMETERS:
            key, default = PARAMETERS[name]
            settings[key] = np.asarray(getattr(given, key, default), float)
    if name in _LOSSES:
        link, own_reduction, function = _LOSSES[name]
        function = functools.partial(function, **settings)
    else:
        _, link, own_reduction, *_ = _kernels.LOSSES[name]
        function = functools.partial(_kernel_loss, name)
    z = np.asarray(z, float)
    if np.ndim(y) == 1:
        y = one_hot(y, z.shape[1])
    y = np.asarray(y, float)
    if name == "gaussian_nll" and y.shape[1] != z.shape[1]:
        y = np.hstack([y, np.zeros_like(y)])
    raw = output in (None, link) or name in ("hinge", "squared_hinge")
    predicted = z if raw else activation(output)[0](z)
    values, dz = function(predicted, y)
    if predicted is not z:
        dz = dz * activation(output)[1](z)
    n_out = z.shape[1]
    terms = {"mean": n_out, "half": n_out // 2, "sum": 1}
    return (values.sum(axis=1) / terms[own_reduction],
            dz / terms[reduction or own_reduction])


# ---- dropout ----


def philox4x32(counter, key):
    """Philox4x32-10 (Salmon et al. 2011): counter (4, ...) and key (2,) of 32-bit words."""
    low32 = np.uint64(0xFFFFFFFF)
    words = [np.asarray(word, np.uint64) for word in counter]
    k0, k1 = (int(word) for word in key)
    for _ in range(10):
        p = np.uint64(0xD2511F53) * words[0]
        q = np.uint64(0xCD9E8D57) * words[2]
        shift = np.uint64(32)
        words = [
            (q >> shift) ^ words[1] ^ np.uint64(k0),
            q & low32,
            (p >> shift) ^ words[3] ^ np.uint64(k1),
            p & low32,
        ]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return words


def dropout_mask(rows, n, rate, seed, step, layer, row0=0):
    """Factors (rows, n): 0 for a dropped unit, 1 / (1 - rate) for a kept one."""
    r, j = np.meshgrid(np.arange(row0, row0 + rows), np.arange(n), indexing="ij")
    block, within = j // 64, j % 64
    words = philox4x32(
        (16 * block + within % 16, r, np.full_like(r, step & 0xFFFFFFFF),
         np.full_like(r, layer ^ ((step >> 32) << 16))),
        (seed & 0xFFFFFFFF, seed >> 32),
    )
    random = np.choose(within // 16, [w.astype(np.int64) for w in words])
    return np.where(random >= int(rate * 2**32), 1 / (1 - rate), 0.0)


# ---- changes of the inputs ----


def input_words(rows, n, seed, step, layer):
    """The random words of a batch's inputs (rows, n), found as those of a dropout mask."""
    r, j = np.meshgrid(np.arange(rows), np.arange(n), indexing="ij")
    words = philox4x32((16 * (j // 64) + j % 16, r, np.full_like(r, step), np.full_like(r, layer)),
                       (seed & 0xFFFFFFFF, seed >> 32))
    return np.choose(j % 64 // 16, [w.astype(np.int64) for w in words])


def input_noise(rows, n, seed, step):
    """Standard normal numbers (rows, n): the highest bit is the sign, the rest a share of a side.
    """
    words = input_words(rows, n, seed, step, 0xFFFE)
    tail = special.ndtri(((words & 0x7FFFFFFF) + 0.5) / 2**32)
    return np.where(words >> 31 == 1, tail, -tail)


def mix(rows, seed, step, alpha):
    """The share of a step (Zhang et al. 2018), and the row that each is mixed with."""
    word = np.random.Philox(key=np.array([seed, 0xFFFD], np.uint64), counter=step).random_raw()
    share = stats.beta.ppf(((word >> 11) + 0.5) / 2**53, alpha, alpha)
    return share, _probes.permutation(rows, seed, (0xFFFC << 32) + step)


def changed_inputs(X, y, weight, seed, step, dropout=0.0, noise=0.0, mixup=0.0):
    """X, y and sample weights as a step of training sees them."""
    rows, n = X.shape
    if mixup:
        share, partner = mix(rows, seed, step, mixup)
        if np.ndim(y) == 1:
            raise ValueError("labels must be one-hot")
        X, y = (share * a + (1 - share) * a[partner] for a in (X, y))
        weight = None if weight is None else share * weight + (1 - share) * weight[partner]
    if noise:
        X = X + noise * input_noise(rows, n, seed, step)
    if dropout:
        X = X * dropout_mask(rows, n, dropout, seed, step, 0xFFFF)
    return X, y, weight


# ---- layers ----


class _Pass:
    """A forward pass: what it is given, and what it finds on its way.

    ``tape`` holds a function for each part of the pass; called in reverse order they take the
    gradient of a value back to that of the value before. An operation is what has a buffer of its
    own in fastnn; its number decides the mask of the dropout that is applied in it.
    """

    def __init__(self, arrays, drop=None, shards=None):
        self.arrays, self.drop = iter(arrays), drop
        self.shards = shards  # of training: the rows that are normalised together
        self.moments = []  # of each batch norm: place of its arrays, momentum, mean, variance
        self.tape, self.gradients, self.deltas = [], [], []
        self.inputs, self.zs, self.arguments = [], [], []  # of dense layers, of activations
        self.operation, self.open, self.activated, self.dropped = -1, False, False, False

    def begin_operation(self):
        self.operation += 1
        self.open, self.activated, self.dropped = True, False, False

    def take(self, count):
        """The next arrays, and where their gradients go."""
        place = len(self.gradients)
        self.gradients += [None] * count
        return [next(self.arrays) for _ in range(count)], place

    def walk(self, layers, value):
        for layer in layers:
            value = LAYERS[layer.kind](layer, value, self)
        return value

    def back(self, gradient):
        for step in reversed(self.tape):
            gradient = step(gradient)


def _activate(name, z, run):
    f, slope = activation(name)
    if name != "identity":
        run.arguments.append(z)
    run.tape.append(lambda gradient: gradient * slope(z))
    return f(z)


def _dense_layer(layer, x, run):
    run.begin_operation()
    run.activated = layer.activation != "identity"
    (w, b), place = run.take(2)
    z, number = x @ w + b, len(run.zs)
    run.inputs.append(x)
    run.zs.append(z)
    run.deltas.append(None)

    def back(dz):
        run.deltas[number] = dz
        run.gradients[place:place + 2] = x.T @ dz, dz.sum(axis=0)
        return dz @ w.T

    run.tape.append(back)
    return _activate(layer.activation, z, run)


def _activation_layer(layer, x, run):
    if not run.open or (layer.name != "identity" and (run.activated or run.dropped)):
        run.begin_operation()
    run.activated = run.activated or layer.name != "identity"
    return _activate(layer.name, x, run)


def _layer_norm_layer(layer, x, run):
    """Ba, Kiros & Hinton 2016; the gradient by the chain rule over mean and variance."""
    run.begin_operation()
    (gain, bias), place = run.take(2)
    n = x.shape[1]
    centered = x - x.mean(axis=1, keepdims=True)
    deviation = np.sqrt((centered**2).mean(axis=1, keepdims=True) + layer.eps)

    def back(dz):
        run.gradients[place:place + 2] = (dz * centered / deviation).sum(axis=0), dz.sum(axis=0)
        d_normed = dz * gain
        d_deviation = -(d_normed * centered).sum(axis=1, keepdims=True) / deviation**2
        d_centered = d_normed / deviation + d_deviation * centered / (n * deviation)
        return d_centered - d_centered.mean(axis=1, keepdims=True)

    run.tape.append(back)
    return gain * centered / deviation + bias


def _batch_norm_layer(layer, x, run):
    """Ioffe & Szegedy 2015, shard by shard; the gradient by the chain rule over mean and variance.
    """
    run.begin_operation()
    (gain, bias, running_mean, running_variance), place = run.take(4)
    z, parts, moments = np.empty_like(x), [], []
    for rows in run.shards or [slice(0, len(x))]:
        part = x[rows]
        constant = run.shards is None or len(part) == 1
        mean, variance = running_mean, running_variance
        if not constant:
            mean, variance = part.mean(axis=0), part.var(axis=0)
            moments.append((len(part), mean, part.var(axis=0, ddof=1)))
        deviation = np.sqrt(variance + layer.eps)
        parts.append((rows, constant, part - mean, deviation))
        z[rows] = gain * (part - mean) / deviation + bias
    if moments:
        counts, means, variances = zip(*moments, strict=True)
        run.moments.append((place + 2, layer.momentum, np.average(means, axis=0, weights=counts),
                            np.average(variances, axis=0, weights=counts)))

    def back(dz):
        dx, d_gain = np.empty_like(dz), np.zeros_like(gain)
        for rows, constant, centered, deviation in parts:
            d_gain += (dz[rows] * centered / deviation).sum(axis=0)
            d_normed = dz[rows] * gain
            dx[rows] = d_normed / deviation
            if not constant:
                d_deviation = -(d_normed * centered).sum(axis=0) / deviation**2
                dx[rows] += d_deviation * centered / (len(centered) * deviation)
                dx[rows] -= dx[rows].mean(axis=0)
        run.gradients[place:place + 4] = (d_gain, dz.sum(axis=0), np.zeros_like(gain),
                                          np.zeros_like(gain))
        return dx

    run.tape.append(back)
    return z


def _scale_layer(layer, x, run):
    run.begin_operation()
    (gain,), place = run.take(1)

    def back(dz):
        run.gradients[place] = (dz * x).sum(axis=0)
        return dz * gain

    run.tape.append(back)
    return x * gain


def _prelu_layer(layer, x, run):
    """He et al. 2015"""
    run.begin_operation()
    (slope,), place = run.take(1)

    def back(dz):
        each = np.where(x > 0, 0, dz * x)
        run.gradients[place] = each.sum(axis=0) if layer.per_unit else each.sum().reshape(1)
        return np.where(x > 0, dz, slope * dz)

    run.tape.append(back)
    return np.where(x > 0, x, slope * x)


def _dropout_layer(layer, x, run):
    if not run.open or (layer.rate and run.dropped):
        run.begin_operation()
    run.dropped = run.dropped or layer.rate > 0
    if run.drop is None or not layer.rate:
        return x
    mask = run.drop(run.operation, x.shape, layer.rate)
    run.tape.append(lambda gradient: gradient * mask)
    return x * mask


def _residual_layer(layer, x, run):
    run.open = False  # what comes first inside has to leave x as it is
    start = len(run.tape)
    value = run.walk(layer.layers, x)
    inner, run.tape[start:] = run.tape[start:], []
    run.begin_operation()

    def back(gradient):
        through = gradient
        for step in reversed(inner):
            through = step(through)
        return through + gradient

    run.tape.append(back)
    return x + value


def _repeat_layer(layer, x, run):
    """Gorishniy et al. 2025: a row for each member of each row, times the member's scale."""
    run.begin_operation()
    (scale,), place = run.take(1)

    def back(dz):
        dz = dz.reshape(len(x), layer.members, -1)
        run.gradients[place] = np.einsum("rj,rmj->mj", x, dz)
        return np.einsum("rmj,mj->rj", dz, scale)

    run.tape.append(back)
    return np.einsum("rj,mj->rmj", x, scale).reshape(-1, x.shape[1])


def _heads_layer(layer, x, run):
    """A dense layer of each member."""
    run.begin_operation()
    (w, b), place = run.take(2)
    run.inputs.append(x)
    w, x = w.reshape(layer.members, -1, layer.units), x.reshape(-1, layer.members, x.shape[1])

    def back(dz):
        dz = dz.reshape(-1, layer.members, layer.units)
        run.gradients[place] = np.einsum("rmi,rmo->mio", x, dz).reshape(-1, layer.units)
        run.gradients[place + 1] = dz.sum(axis=0)
        return np.einsum("rmo,mio->rmi", dz, w).reshape(-1, x.shape[2])

    run.tape.append(back)
    return (np.einsum("rmi,mio->rmo", x, w) + b).reshape(-1, layer.units)


LAYERS = {"dense": _dense_layer, "activation": _activation_layer, "layer_norm": _layer_norm_layer,
          "batch_norm": _batch_norm_layer, "scale": _scale_layer, "prelu": _prelu_layer,
          "repeat": _repeat_layer, "heads": _heads_layer,
          "dropout": _dropout_layer, "residual": _residual_layer}


# ---- the network ----


class Twin:
    """A network of any layers: its description, and its arrays in the order of the layers.

    ``shard_rows``: rows that a batch normalisation has statistics of, None: all of a batch.
    """

    shard_rows = None

    def __init__(self, spec, arrays):
        self.spec, self.arrays = spec, [np.array(array, float) for array in arrays]
        self.weights, self.biases, self.averages, self.moments = [], [], [], []
        at = 0
        for layer in _flat(spec.layers):
            if layer.kind in ("dense", "heads"):
                self.weights.append(self.arrays[at])
                self.biases.append(self.arrays[at + 1])
            elif layer.kind == "batch_norm":
                self.averages += [at + 2, at + 3]
            at += ARRAYS.get(layer.kind, 0)

    @classmethod
    def of(cls, net):
        """Copy of an MLP, a Trainer or another twin."""
        if isinstance(net, Twin):
            return cls(net.spec, net.arrays)
        if hasattr(net, "get_weights"):
            return cls(net.spec, net.get_weights())
        return cls(net.spec, net.layout.views(net.parameters))

    def parameters(self):
        """[W0, b0, W1, b1, ...]; a layer norm has gain and bias."""
        return list(self.arrays)

    def run(self, X, drop=None, training=False):
        """The pass, and the raw output."""
        X = _dense_array(X)
        run = _Pass(self.arrays, drop, self.shards(len(X)) if training else None)
        return run, run.walk(self.spec.layers, X)

    def shards(self, rows):
        """Slices of a batch; what is left over goes with the last one."""
        size = self.shard_rows or rows
        count = max(1, rows // size)
        return [slice(i * size, (i + 1) * size if i < count - 1 else rows) for i in range(count)]

    def trained(self, arrays):
        """Those of a list like ``arrays`` that steps of an optimizer move."""
        return [array for at, array in enumerate(arrays) if at not in self.averages]

    def move_averages(self):
        """What batch normalisation does after a step, with what the last pass has found."""
        for at, momentum, mean, variance in self.moments:
            self.arrays[at] += momentum * (mean - self.arrays[at])
            self.arrays[at + 1] += momentum * (variance - self.arrays[at + 1])

    def forward(self, X):
        """Inputs of every dense layer, the prediction last; and weighted inputs z of each."""
        run, raw = self.run(X)
        inputs = run.inputs
        if self.spec.members > 1:  # (n, members, n_units)
            inputs = [x.reshape(-1, self.spec.members, x.shape[1]) for x in inputs]
        return [*inputs, self.mean(output_value(self.spec.output, raw))], run.zs

    def predict(self, X):
        """Predicted values or probabilities (n, n_out)."""
        return self.mean(output_value(self.spec.output, self.run(X)[1]))

    def mean(self, value):
        """The mean over the members of an ensemble."""
        members = self.spec.members
        return value.reshape(-1, members, value.shape[1]).mean(axis=1) if members > 1 else value

    def loss_and_grad(self, X, y, loss_name, sample_weight=None, alpha=0.0, drop=None,
                      reduction=None, with_deltas=False):
        """Mean loss with its L2 term, and gradients in the order of ``parameters()``.

        ``drop``: a function of operation, shape and rate to a mask of dropout.
        """
        run, raw = self.run(X, drop, training=True)
        self.moments = run.moments
        members = self.spec.members
        s = (np.ones(len(raw) // members) if sample_weight is None
             else np.asarray(sample_weight, float))
        if members > 1:  # the mean over the members
            y, s = np.repeat(y, members, axis=0), np.repeat(s, members) / members
        rows, dz = loss(loss_name, raw, y, self.spec.output, reduction)
        penalty = 0.5 * alpha * sum((w * w).sum() for w in self.weights)
        value = ((s * rows).sum() + penalty) / s.sum()
        run.back(s[:, None] * dz)
        for at, array in enumerate(self.arrays):
            if any(array is w for w in self.weights):
                run.gradients[at] = run.gradients[at] + alpha * array
        gradients = [gradient / s.sum() for gradient in run.gradients]
        deltas = [delta / s.sum() for delta in run.deltas]
        return (value, gradients, deltas) if with_deltas else (value, gradients)


# of each kind of layer
ARRAYS = {"dense": 2, "layer_norm": 2, "batch_norm": 4, "scale": 1, "prelu": 1, "repeat": 1,
          "heads": 2}


def _flat(layers):
    for layer in layers:
        yield layer
        yield from _flat(getattr(layer, "layers", ()))


def _dense_array(X):
    return np.asarray(X.toarray() if hasattr(X, "toarray") else X, float)


# ---- optimizers ----


@dataclass
class _Optimizer:
    step: int = 0
    state: list = field(default_factory=list)

    def update(self, parameters, gradients, lr):
        """One step in place; ``state`` holds one list of arrays per state vector."""
        self.step += 1
        if not self.state:
            self.state = [[np.zeros_like(p) for p in parameters] for _ in range(self.n_state)]
        for p, g, *s in zip(parameters, gradients, *self.state, strict=True):
            p[...] = self.element(p, g, lr, *s)


@dataclass
class SGD(_Optimizer):
    """v = mu v + g, w -= lr v (Polyak 1964); Nesterov: w -= lr (g + mu v)."""

    momentum: float = 0.9
    nesterov: bool = False
    n_state = 1

    def element(self, w, g, lr, v):
        """New w; v is updated in place."""
        v[...] = self.momentum * v + g
        return w - lr * (g + self.momentum * v if self.nesterov else v)


@dataclass
class StepSGD(SGD):
    """v = mu v - lr g, w += v (Sutskever et al. 2013); Nesterov: w += mu v - lr g."""

    def element(self, w, g, lr, v):
        """New w; v is updated in place."""
        v[...] = self.momentum * v - lr * g
        return w + (self.momentum * v - lr * g if self.nesterov else v)


@dataclass
class Adam(_Optimizer):
    """Kingma & Ba 2015, algorithm 1; with ``eps_hat`` the form of their section 2."""

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    eps_hat: bool = False
    n_state = 2

    def element(self, w, g, lr, m, v):
        """New w; m and v are updated in place."""
        m[...] = self.beta1 * m + (1 - self.beta1) * g
        v[...] = self.beta2 * v + (1 - self.beta2) * g**2
        c1, c2 = 1 - self.beta1**self.step, 1 - self.beta2**self.step
        if self.eps_hat:
            return w - lr * np.sqrt(c2) / c1 * m / (np.sqrt(v) + self.eps)
        return w - lr * (m / c1) / (np.sqrt(v / c2) + self.eps)


@dataclass
class AdamW(Adam):
    """Loshchilov & Hutter 2019: the decay acts on the weights as they were before the step."""

    weight_decay: float = 0.01

    def element(self, w, g, lr, m, v):
        """New w; m and v are updated in place."""
        return super().element(w, g, lr, m, v) - lr * self.weight_decay * w


@dataclass
class RMSprop(_Optimizer):
    """Tieleman & Hinton 2012."""

    rho: float = 0.9
    eps: float = 1e-8
    n_state = 1

    def element(self, w, g, lr, v):
        """New w; v is updated in place."""
        v[...] = self.rho * v + (1 - self.rho) * g**2
        return w - lr * g / (np.sqrt(v) + self.eps)


@dataclass
class Adagrad(_Optimizer):
    """Duchi, Hazan & Singer 2011."""

    eps: float = 1e-10
    n_state = 1

    def element(self, w, g, lr, total):
        """New w; the total is updated in place."""
        total += g**2
        return w - lr * g / (np.sqrt(total) + self.eps)


@dataclass
class AMSGrad(Adam):
    """Reddi, Kale & Kumar 2018, with the bias corrections of Adam, as PyTorch has them."""

    n_state = 3

    def element(self, w, g, lr, m, v, largest):
        """New w; m, v and the largest v are updated in place."""
        m[...] = self.beta1 * m + (1 - self.beta1) * g
        v[...] = self.beta2 * v + (1 - self.beta2) * g**2
        largest[...] = np.maximum(largest, v)
        c1, c2 = 1 - self.beta1**self.step, 1 - self.beta2**self.step
        if self.eps_hat:
            return w - lr * np.sqrt(c2) / c1 * m / (np.sqrt(largest) + self.eps)
        return w - lr * (m / c1) / (np.sqrt(largest / c2) + self.eps)


@dataclass
class Adadelta(_Optimizer):
    """Zeiler 2012, algorithm 1; its step is lr times as long."""

    rho: float = 0.9
    eps: float = 1e-6
    n_state = 2

    def element(self, w, g, lr, squares, steps):
        """New w; both averages are updated in place."""
        squares[...] = self.rho * squares + (1 - self.rho) * g**2
        step = -np.sqrt(steps + self.eps) / np.sqrt(squares + self.eps) * g
        steps[...] = self.rho * steps + (1 - self.rho) * step**2
        return w + lr * step


@dataclass
class AdaMax(_Optimizer):
    """Kingma & Ba 2015, algorithm 2, with PyTorch's eps."""

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    n_state = 2

    def element(self, w, g, lr, m, u):
        """New w; m and u are updated in place."""
        m[...] = self.beta1 * m + (1 - self.beta1) * g
        u[...] = np.maximum(self.beta2 * u, np.abs(g) + self.eps)
        return w - lr / (1 - self.beta1**self.step) * m / u


@dataclass
class Nadam(_Optimizer):
    """Dozat 2016, with PyTorch's schedule of mu."""

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    momentum_decay: float = 4e-3
    n_state = 2

    def mu(self, step):
        """The momentum of a step."""
        return self.beta1 * (1 - 0.5 * 0.96 ** (step * self.momentum_decay))

    def element(self, w, g, lr, m, v):
        """New w; m and v are updated in place."""
        m[...] = self.beta1 * m + (1 - self.beta1) * g
        v[...] = self.beta2 * v + (1 - self.beta2) * g**2
        product = np.prod([self.mu(i) for i in range(1, self.step + 1)])
        ahead = self.mu(self.step + 1)
        m_bar = (1 - self.mu(self.step)) / (1 - product) * g + ahead / (1 - product * ahead) * m
        return w - lr * m_bar / (np.sqrt(v / (1 - self.beta2**self.step)) + self.eps)


@dataclass
class Rprop(_Optimizer):
    """Riedmiller & Braun 1993, without the step back, as PyTorch has it."""

    eta_minus: float = 0.5
    eta_plus: float = 1.2
    step_min: float = 1e-6
    step_max: float = 50.0
    n_state = 2

    def element(self, w, g, lr, before, size):
        """New w; the gradient before and the sizes are updated in place."""
        if not size.any():  # no step yet
            if lr == 0:
                return w
            size[...] = lr
        turn = np.sign(g) * np.sign(before)
        size *= np.choose(turn.astype(int) + 1, [self.eta_minus, 1.0, self.eta_plus])
        size[...] = np.clip(size, self.step_min, self.step_max)
        before[...] = np.where(turn < 0, 0, g)
        return w - np.sign(before) * size


@dataclass
class Lion(_Optimizer):
    """Chen et al. 2023, algorithm 2."""

    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.0
    n_state = 1

    def element(self, w, g, lr, m):
        """New w; m is updated in place."""
        step = np.sign(self.beta1 * m + (1 - self.beta1) * g) + self.weight_decay * w
        m[...] = self.beta2 * m + (1 - self.beta2) * g
        return w - lr * step


def orthogonal(matrix, steps=5):
    """Jordan 2024: steps of Newton and Schulz, from U S V' to about U V'."""
    x = matrix / max(np.linalg.norm(matrix), 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x


# ---- training ----


def train(twin, X, y, *, loss_name, optimizer, orders, batch_size, learning_rates,
          sample_weight=None, alpha=0.0, seed=0, reduction=None, inputs=None):
    """Train ``twin`` in place, one epoch per order of rows; returns the loss of each epoch.

    The masks of its dropout are those of (seed, step, operation). ``inputs``: settings of
    `changed_inputs`.
    """
    X, y = _dense_array(X), np.asarray(y)
    losses = []

    def drop(operation, shape, rate):
        return dropout_mask(*shape, rate, seed, optimizer.step, operation)

    for order, lr in zip(orders, learning_rates, strict=True):
        total = 0.0
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            weight = None if sample_weight is None else np.asarray(sample_weight)[rows]
            fed = changed_inputs(X[rows], y[rows], weight, seed, optimizer.step, **inputs or {})
            value, gradients = twin.loss_and_grad(
                *fed[:2], loss_name, fed[2], alpha, drop, reduction)
            total += value * len(rows)
            optimizer.update(twin.trained(twin.parameters()), twin.trained(gradients), lr)
            twin.move_averages()
        losses.append(total / len(order))
    return losses
