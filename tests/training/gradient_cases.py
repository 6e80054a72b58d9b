"""The networks on which gradients are checked; as a script: writes what this process computes.

Every activation, every loss and every output that the squared error takes, each of them with odd
sizes from 1 to 17 units and 1 to 33 rows; and different activations in the layers of one network.
"""

import sys
from functools import cache
from itertools import product

import numpy as np
import reference
from planning import use_rules

import fastnn
from fastnn.core import _kernels

# The ways a training step can take: the widest layer whose products our own kernels compute, and
# the widest that goes feature-major. (Dropout goes row-major all the same.)
PATHS = {
    "feature-major": (10**9, 10**9),
    "row-major": (10**9, 0),
    "blas": (0, 0),
}

SHAPES = [  # rows, sizes
    (1, (1, 1, 1)),
    (2, (3, 2, 1)),
    (5, (2, 5, 3, 2)),
    (7, (4, 3)),
    (9, (1, 9, 1)),
    (16, (16, 8, 4)),
    (17, (5, 17, 3)),
    (33, (3, 4, 2)),
]
KINKS = 0, 1, -1, 3, -3  # of activations, and of hinges
MARGIN = 1e-3  # no weighted input is nearer than this to one of them,
LARGEST = 5.0  # or beyond this, where exp of exp would make the loss too steep for differences


def case(activation, end, shape):
    """(name, case). The end is a loss, or ``"output "`` and an output for the squared error."""
    rows, sizes = shape
    if end == "gaussian_nll":
        sizes = (*sizes[:-1], sizes[-1] + sizes[-1] % 2)
    link = None if end.startswith("output ") else _kernels.LOSSES[end].link
    if link == "softmax":  # a single unit is 1 for every row, and refused
        sizes = (*sizes[:-1], max(2, sizes[-1]))
    name = f"{activation} {end} {rows}x{'-'.join(map(str, sizes))}"
    if end.startswith("output "):
        return name, (activation, end.removeprefix("output "), "squared_error", rows, sizes)
    return name, (activation, link, end, rows, sizes)


def cases():
    """name -> (activation or one each, output, loss, rows, sizes)

    An activation knows neither the loss nor the shape, nor they each other: each end with each
    shape is enough, and each activation with each of those that have a hidden layer. Which
    activation meets which end goes round.
    """
    ends = [*_kernels.LOSSES, *(f"output {name}" for name in _kernels.ACTIVATIONS)]
    deep = [shape for shape in SHAPES if len(shape[1]) > 2]
    activations = list(_kernels.ACTIVATIONS)
    found = [case(activations[(i + 3 * j) % len(activations)], end, shape)
             for i, end in enumerate(ends) for j, shape in enumerate(deep)]
    found += [case("tanh", end, shape) for end in ends for shape in SHAPES if shape not in deep]
    for first in activations:
        found.append((f"{first} gelu tanh softmax", (
            (first, "gelu", "tanh"), "softmax", "cross_entropy", 5, (3, 7, 4, 5, 3))))
    found = {**dict(found), **SOME}
    rows = {(name.split()[0], case[3]) for name, case in found.items()}  # each shape has its own
    assert rows >= set(product(activations, [rows for rows, _ in deep]))
    return found


def covering():
    """Some of the cases, in which each activation, each end and each number of rows is met; where
    there is a choice with many rows."""
    met, found = set(), []
    for name, (activation, output, loss, rows, _) in sorted(
            CASES.items(), key=lambda item: item[1][3], reverse=True):
        new = {("activation", activation), ("end", output, loss), ("rows", rows)} - met
        if new:
            met |= new
            found.append(name)
    return found


# one case of each kind of loss
SOME = dict([
    case("tanh", "squared_error", SHAPES[2]), case("gelu", "cross_entropy", SHAPES[6]),
    case("elu", "binary_cross_entropy", SHAPES[7]), case("sigmoid", "poisson", SHAPES[3]),
    case("relu", "perceptron", SHAPES[4]), case("tanh", "output softplus", SHAPES[6]),
])
CASES = cases()
COVERING = covering()


def take(path, set_attribute=setattr):
    """Forces one of the paths, whatever the plan would choose."""
    native, feature_major = PATHS[path]
    use_rules(set_attribute, native_width=native, widest_feature_major=feature_major)


def targets(loss, rows, n_out, rng):
    """Targets of the kind that the loss takes; integer labels for cross_entropy."""
    info = _kernels.LOSSES[loss]
    kind = info.targets
    if kind == "unit" and info.whole_rows:
        return rng.integers(0, n_out, rows)
    if kind == "positive":
        return rng.gamma(2, size=(rows, n_out))
    if info.reduction == "half":
        n_out //= 2
    if kind == "nonnegative":
        return rng.poisson(2, (rows, n_out)).astype(float)
    return rng.normal(size=(rows, n_out)) if kind == "real" else rng.integers(
        0, 2, (rows, n_out)).astype(float)


@cache
def arrays(name):
    """Weights and biases of a case that keep away from kinks, X, y."""
    activation, output, loss, rows, sizes = CASES[name]
    net = fastnn.MLP(sizes, activation, output, dtype="float64", random_state=0, n_threads=1)
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        weights = [rng.uniform(-0.7, 0.7, array.shape) for array in net.get_weights()]
        X, y = rng.uniform(-1, 1, (rows, sizes[0])), targets(loss, rows, sizes[-1], rng)
        net.set_weights(weights)
        _, zs = reference.Twin.of(net).forward(X)
        if all(np.abs(np.subtract.outer(z, KINKS)).min() > MARGIN and np.abs(z).max() < LARGEST
               for z in zs):
            return weights, X, y
    raise RuntimeError(f"no seed keeps the weighted inputs of {name} within bounds")


def build(name, dtype="float64"):
    """(net, X, y, loss) of a case, away from kinks."""
    activation, output, loss, _, sizes = CASES[name]
    net = fastnn.MLP(sizes, activation, output, dtype=dtype, random_state=0, n_threads=1)
    weights, X, y = arrays(name)
    net.set_weights(weights)
    return net, X, y, loss


@cache
def of_twin(name):
    """(loss, gradients, error terms) of a case by the twin; what tests have in common."""
    net, X, y, loss = build(name)
    return reference.Twin.of(net).loss_and_grad(X, y, loss, with_deltas=True)


def compute(name, dtype="float64"):
    """Loss and gradient of a case by fastnn, the loss in front."""
    net, X, y, loss = build(name, dtype)
    value, grad = net.loss_and_grad(X, y, loss=loss)
    return np.concatenate([[value], grad])


if __name__ == "__main__":
    found = {}
    for path in PATHS:
        take(path)
        found.update({f"{path} {name}": compute(name) for name in COVERING})
    np.savez(sys.argv[1], isa=_kernels.isa(), **found)
