"""The slow twin's activations, losses, dropout and changes of the inputs: see reference.py."""

import functools

import numpy as np
from scipy import special

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
    p = np.exp(z - _log_sum_exp(z))
    q = np.stack([np.delete(p, j, axis=1).sum(axis=1) for j in range(p.shape[1])], axis=1)  # 1 - p
    log_p = z - _log_sum_exp(z)
    slope = -q**gamma / p
    np.add(slope, gamma * q ** (gamma - 1) * log_p, out=slope, where=q > 0)
    return -y * q**gamma * log_p, p * (y * slope - (p * y * slope).sum(axis=1, keepdims=True))


def _binary_focal(z, y, gamma=2.0):
    def one(z):
        p, q, log_p = special.expit(z), special.expit(-z), -np.logaddexp(0, -z)
        return -(q**gamma) * log_p, q**gamma * (gamma * p * log_p - q)

    (value, slope), (other, other_slope) = one(z), one(-z)
    return y * value + (1 - y) * other, y * slope - (1 - y) * other_slope


def _log_sum_exp(z):
    """Of each row (n, 1); SciPy's takes longer than all the rest of a step."""
    most = z.max(axis=1, keepdims=True)
    most = np.where(np.isfinite(most), most, 0)
    return most + np.log(np.exp(z - most).sum(axis=1, keepdims=True))


def _cross_entropy(z, y, label_smoothing=0.0):
    y = (1 - label_smoothing) * y + label_smoothing * y.mean(axis=1, keepdims=True)
    log_p = z - _log_sum_exp(z)
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
    from scipy import stats  # half a second, which no other process has to pay

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
