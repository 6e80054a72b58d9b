"""What importers share: layers as they come, checked for being those of a network of ours."""

import numpy as np

from fastnn.mlp import MLP


class Chain:
    """Layers as they come, checked for being those of a multilayer perceptron."""

    def __init__(self):
        self.weights, self.biases, self.activations, self.dropout = [], [], [], []

    def dense(self, w, b, place):
        """x W + b with w (n_in, n_out) and b (n_out,) or None."""
        w = np.asarray(w)
        b = np.zeros(w.shape[-1:], w.dtype) if b is None else np.asarray(b).reshape(-1)
        if w.ndim != 2 or b.shape != w.shape[1:]:
            raise ValueError(f"{place}: weights of shape {w.shape} and {b.shape} are not those of "
                             "a fully connected layer")
        if self.weights and self.weights[-1].shape[1] != w.shape[0]:
            raise ValueError(f"{place} takes {w.shape[0]} inputs, the layer before it has "
                             f"{self.weights[-1].shape[1]} outputs")
        self.weights.append(w)
        self.biases.append(b)
        self.activations.append(None)
        self.dropout.append(0.0)

    def activation(self, name, place):
        """Of the layer before; one of ours, by name."""
        if name == "identity":
            return
        if not self.weights:
            raise ValueError(f"{place} comes before the first fully connected layer, where fastnn "
                             "has nothing")
        if self.activations[-1] is not None:
            raise ValueError(f"{place} follows another activation ({self.activations[-1]}); a "
                             "layer of fastnn has one")
        self.activations[-1] = name

    def drop(self, rate, place):
        """Dropout after the layer before."""
        if not self.weights and rate > 0:
            raise ValueError(f"{place}: dropout of inputs has no counterpart in fastnn")
        if rate >= 1:
            raise ValueError(f"{place} drops everything, rate={rate}; it must be in [0, 1)")
        if self.weights:
            self.dropout[-1] = float(rate)

    def network(self, source):
        """The `MLP`, of float64 where the weights are, else of float32."""
        if not self.weights:
            raise ValueError(f"{source} has no fully connected layer")
        if "softmax" in self.activations[:-1]:
            raise ValueError(f"{source}: softmax in a hidden layer has no counterpart in fastnn")
        names = [name or "identity" for name in self.activations]
        sizes = [self.weights[0].shape[0], *(len(b) for b in self.biases)]
        double = any(w.dtype == np.float64 for w in self.weights)
        net = MLP(sizes, names[:-1], names[-1], dtype="float64" if double else "float32",
                  dropout=self.dropout[:-1], random_state=0, initializer="zeros")
        net.initializer = "glorot_uniform"
        net.set_weights([a for pair in zip(self.weights, self.biases, strict=True) for a in pair])
        return net


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
        raise ValueError(f"{place} has {name}={value!r}; fastnn has {name}={expected!r} only")


def as_real(array):
    """Return an array of float64 where it is one, else of float32."""
    array = np.asarray(array)
    return array if array.dtype == np.float64 else array.astype(np.float32)
