"""The slow twin: everything that fastnn computes, once more in plain NumPy and float64.

It is the judge in the tests, so it is written from the formulas and shares no code with fastnn. An
activation or loss that fastnn has and the twin has not (a new row in a ``.def`` file) is taken from
fastnn's own elementwise kernel: all else about it is then still judged here, and the kernel itself
by finite differences.

Activations and losses are in reference_formulas.py, optimizers in reference_optimizers.py; layers,
networks and their training are here.
"""

import numpy as np
from reference_formulas import (  # noqa: F401
    activation,
    changed_inputs,
    dropout_mask,
    knows,
    loss,
    one_hot,
    output_value,
    philox4x32,
    softmax,
)
from reference_optimizers import (  # noqa: F401
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    AdaMax,
    AdamW,
    AMSGrad,
    Lion,
    Nadam,
    RMSprop,
    Rprop,
    StepSGD,
    orthogonal,
)

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


def _embed_layer(layer, x, run):
    """A W for each column of the data, side by side; of all rows of W one below the other."""
    run.begin_operation()
    run.activated = False
    (w, b), place = run.take(2)
    parts = [x[:, stop - count:stop] for count, stop in
             zip(layer.counts, np.cumsum(layer.counts), strict=True)]
    tables = np.split(w, np.cumsum(layer.counts)[:-1])
    run.inputs.append(x)

    def back(dz):
        each = np.split(dz, len(parts), axis=1)
        run.gradients[place] = np.concatenate([part.T @ d for part, d in
                                               zip(parts, each, strict=True)])
        run.gradients[place + 1] = dz.sum(axis=0)
        return np.concatenate([d @ table.T for table, d in zip(tables, each, strict=True)], axis=1)

    run.tape.append(back)
    return np.concatenate([part @ table for part, table in
                           zip(parts, tables, strict=True)], axis=1) + b


def _glu_layer(layer, x, run):
    """Dauphin et al. 2017, Shazeer 2020: u f(v)"""
    run.begin_operation()
    f, slope = activation(layer.activation)
    u, v = np.split(x, 2, axis=1)
    run.arguments.append(v)
    run.tape.append(lambda dz: np.concatenate([dz * f(v), dz * u * slope(v)], axis=1))
    return u * f(v)


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


LAYERS = {"dense": _dense_layer, "embed": _embed_layer, "glu": _glu_layer,
          "activation": _activation_layer, "layer_norm": _layer_norm_layer,
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
            if layer.kind in ("dense", "embed", "heads"):
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
ARRAYS = {"dense": 2, "embed": 2, "layer_norm": 2, "batch_norm": 4, "scale": 1, "prelu": 1,
          "repeat": 1, "heads": 2}


def _flat(layers):
    for layer in layers:
        yield layer
        yield from _flat(getattr(layer, "layers", ()))


def _dense_array(X):
    return np.asarray(X.toarray() if hasattr(X, "toarray") else X, float)


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
