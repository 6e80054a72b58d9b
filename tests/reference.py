"""The slow twin: everything that fastnn computes, once more in plain NumPy and float64.

It is the judge in the tests, so it is written from the formulas and shares no code with fastnn. An
activation or loss that fastnn has and this file has not (a new row in a ``.def`` file) is taken
from fastnn's own elementwise kernel: all else about it is then still judged here, and the kernel
itself by finite differences.
"""

import functools
from dataclasses import dataclass, field

import numpy as np
from scipy import special

from fastnn.core import _kernels, _probes

# ---- activations: name -> (f(z), f'(z)) ----


def _normpdf(z):
    return np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)


def _bounded(z):
    """z with infinity replaced by a number beyond which nothing changes: no inf * 0."""
    return np.clip(z, -1e4, 1e4)


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


def _cross_entropy(z, y):
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
}


def _kernel_loss(name, z, y):
    """fastnn's: the value of an element is the sum over an array of that element alone."""
    values = [_probes.loss(name, np.array([[a]]), np.array([[b]]))[0] for a, b in
              zip(z.ravel(), y.ravel(), strict=True)]
    return np.reshape(values, z.shape), _probes.loss(name, z, y)[1]


def loss(name, z, y, output=None, reduction=None):
    """Loss of each row (n,) and its derivative dz (n, n_out).

    ``output``, where it is not the one that the loss is linked to, is applied to z first;
    ``reduction`` of the derivative over outputs: "mean", "sum", or None for the loss's own.
    """
    if name in _LOSSES:
        link, own_reduction, function = _LOSSES[name]
    else:
        _, link, own_reduction, *_ = _kernels.LOSSES[name]
        function = functools.partial(_kernel_loss, name)
    z = np.asarray(z, float)
    if np.ndim(y) == 1:
        y = one_hot(y, z.shape[1])
    y = np.asarray(y, float)
    predicted = z if output in (None, link) else activation(output)[0](z)
    values, dz = function(predicted, y)
    if predicted is not z:
        dz = dz * activation(output)[1](z)
    n_out = z.shape[1]
    rows = values.sum(axis=1) / (n_out if own_reduction == "mean" else 1)
    return rows, dz / (n_out if (reduction or own_reduction) == "mean" else 1)


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


# ---- the network ----


@dataclass
class Twin:
    """Weights (n_in, n_out) and biases (n_out,) per layer, names of the activations."""

    weights: list
    biases: list
    hidden: tuple
    output: str

    @classmethod
    def of(cls, net, hidden=None, output=None):
        """Copy of anything with ``weights`` and ``biases``: an MLP, a Trainer, another twin."""
        return cls(
            [np.array(w, float) for w in net.weights],
            [np.array(b, float) for b in net.biases],
            tuple(net.activations if hidden is None else hidden),
            net.output if output is None else output,
        )

    def parameters(self):
        """[W0, b0, W1, b1, ...]"""
        return [p for pair in zip(self.weights, self.biases, strict=True) for p in pair]

    def forward(self, X, masks=None):
        """Inputs of every layer (X first, the prediction last) and weighted inputs z."""
        a, inputs, zs = _dense_array(X), [], []
        for layer, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            inputs.append(a)
            z = a @ w + b
            zs.append(z)
            if layer < len(self.hidden):
                a = activation(self.hidden[layer])[0](z)
                if masks is not None and masks[layer] is not None:
                    a = a * masks[layer]
        return [*inputs, output_value(self.output, zs[-1])], zs

    def predict(self, X):
        """Predicted values or probabilities (n, n_out)."""
        return self.forward(X)[0][-1]

    def loss_and_grad(self, X, y, loss_name, sample_weight=None, alpha=0.0, masks=None,
                      reduction=None, with_deltas=False):
        """Mean loss with its L2 term, and gradients [dW0, db0, ...]."""
        inputs, zs = self.forward(X, masks)
        n = len(zs[-1])
        s = np.ones(n) if sample_weight is None else np.asarray(sample_weight, float)
        rows, dz = loss(loss_name, zs[-1], y, self.output, reduction)
        penalty = 0.5 * alpha * sum((w * w).sum() for w in self.weights)
        value = ((s * rows).sum() + penalty) / s.sum()
        delta, gradients, deltas = s[:, None] * dz, [], []
        for layer in reversed(range(len(self.weights))):
            deltas.insert(0, delta / s.sum())
            w = self.weights[layer]
            gradients[:0] = [(inputs[layer].T @ delta + alpha * w) / s.sum(),
                             delta.sum(axis=0) / s.sum()]
            if layer:
                delta = delta @ w.T
                if masks is not None and masks[layer - 1] is not None:
                    delta = delta * masks[layer - 1]
                delta = delta * activation(self.hidden[layer - 1])[1](zs[layer - 1])
        return (value, gradients, deltas) if with_deltas else (value, gradients)


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


# ---- training ----


def train(twin, X, y, *, loss_name, optimizer, orders, batch_size, learning_rates,
          sample_weight=None, alpha=0.0, dropout=None, seed=0, reduction=None):
    """Train ``twin`` in place, one epoch per order of rows; returns the loss of each epoch.

    ``dropout``: one rate per hidden layer; the masks are those of (seed, step, layer).
    """
    X, y = _dense_array(X), np.asarray(y)
    losses = []
    for order, lr in zip(orders, learning_rates, strict=True):
        total = 0.0
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            masks = None
            if dropout is not None:
                masks = [
                    dropout_mask(len(rows), w.shape[1], rate, seed, optimizer.step, layer)
                    if rate else None
                    for layer, (w, rate) in enumerate(zip(twin.weights, dropout, strict=False))
                ]
            value, gradients = twin.loss_and_grad(
                X[rows], y[rows], loss_name,
                None if sample_weight is None else np.asarray(sample_weight)[rows],
                alpha, masks, reduction)
            total += value * len(rows)
            optimizer.update(twin.parameters(), gradients, lr)
        losses.append(total / len(order))
    return losses
