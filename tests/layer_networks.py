"""Networks with layers that are not dense, of all kinds of orders; and data for them."""

import numpy as np

from fastnn.core import _kernels
from fastnn.network.spec import (
    GLU,
    Activation,
    Dense,
    Dropout,
    Heads,
    LayerNorm,
    NetworkSpec,
    PReLU,
    Repeat,
    Residual,
    Scale,
)

SMOOTH = ("tanh", "gelu", "silu", "sigmoid", "softplus", "identity")
ENDS = [  # output, loss, whether labels
    ("softmax", "cross_entropy", True), ("identity", "squared_error", False),
    ("sigmoid", "binary_cross_entropy", False), ("softmax", "cross_entropy", False),
    ("exp", "poisson", False), ("tanh", "squared_error", False),
    ("softplus", "squared_error", False),
]


def chain(rng, names, **settings):
    """Hidden layers one after the other, some as wide as the one before."""
    width = int(rng.integers(3, 20))
    sizes = [int(rng.integers(2, 9)), width, width, int(rng.integers(3, 12)), width,
             int(rng.integers(2, 6))]
    return sizes[0], NetworkSpec.chain(
        sizes, [names() for _ in sizes[1:-1]], **settings).layers


def orders(rng, names, rate, smooth=False):
    """(n_in, layers) of each kind of order; ``smooth``: without kinks beside those of names."""
    n, m, out = (int(size) for size in rng.integers(3, 18, 3))
    own, shared = (Activation("tanh"),) * 2 if smooth else (PReLU(), PReLU(per_unit=False))
    block = [Dense(m, names()), Dropout(rate), LayerNorm(), Dense(n)]
    return {
        "norm": chain(rng, names, norm="layer"),
        "residual": chain(rng, names, residual=True),
        "residual after dense": (m, [Dense(n, names()), Residual([Dense(m, names()), Dense(n)]),
                                     Dense(n, names()), Residual([Dense(n, names())]),
                                     Dense(out)]),
        "norm, residual, dropout": chain(rng, names, norm="layer", residual=True, dropout=rate),
        "norm first": (m, [LayerNorm(), Dense(n, names()), own, Dense(out)]),
        "activations alone": (m, [Activation(names()), Activation("identity"), Scale(), Dense(n),
                                  Activation(names()), Activation(names()), LayerNorm(0.1),
                                  Activation(names()), Dropout(rate), Activation(names()),
                                  Dense(out)]),
        "dropout first": (m, [Dropout(0), Dropout(rate), Dropout(0), Dense(n, names()),
                              Dropout(rate), Dropout(rate), Activation(names()), Dense(out)]),
        "nested": (m, [Dense(n), Residual([Residual([*block, Residual([Activation(names())])]),
                                           Dense(n, names()), shared, Residual(block)]),
                       Dense(out)]),
        "norm inside": (m, [Scale(), Dense(n, names()), Residual([LayerNorm(), *block]),
                            Residual([LayerNorm(), Dropout(rate)]), Dense(out)]),
        "over the inputs": (n, [Residual([Residual(block), shared, Scale(), Dropout(rate)]),
                                Residual([Residual([Dropout(rate)]), Activation("identity")]),
                                LayerNorm(0.1), Dense(out)]),
        "norm last": (m, [Dense(n, names()), own, Dense(out, names()), LayerNorm(), Scale()]),
        "after the residual": (m, [Dense(n), Residual(block), Activation(names()), Dropout(rate),
                                   Residual([Dense(n, names())]), LayerNorm(),
                                   Residual([Dense(out, names()), Dense(n)]),
                                   Activation(names())]),
        "residual last": (n, [Residual([Dense(m, names()), LayerNorm(), Dropout(rate), Dense(n)])]),
        "members": chain(rng, names, members=int(rng.integers(1, 6)), dropout=rate),
        "members of blocks": (m, [Repeat(3), Activation(names()), Dropout(rate), LayerNorm(),
                                  Dense(n), Residual(block), Heads(out, 3)]),
        "members alone": (m, [Repeat(2), Heads(out, 2)]),
        "gates": (2 * m, [GLU(names()), Dense(2 * n), GLU(names()), Dropout(rate),
                          Residual([LayerNorm(), Dense(2 * n, names()), GLU(names())]),
                          Dense(2 * out), GLU(names())]),
        "dropout last": (m, [Dense(n, names()), LayerNorm(), Dense(out, names()), Dropout(rate)]),
    }


def networks(count, *, dtype="float64", dropout=0.0, activations=None):
    """Yield (name, spec, loss, labels) of so many networks, in all kinds of orders, outputs and
    activations."""
    activations = activations or (
        *(name for name in _kernels.ACTIVATIONS if name not in ("step", "exp")),
        *["relu"] * 6)  # which products compute along with them
    for i in range(count):
        rng = np.random.default_rng(i)
        found = orders(rng, lambda rng=rng: str(rng.choice(activations)), dropout,
                       activations is SMOOTH)
        name = list(found)[i % len(found)]
        n_in, layers = found[name]
        output, loss, labels = ENDS[(i + i // len(found)) % len(ENDS)]
        yield f"{i} {name}", NetworkSpec(n_in, layers, output, dtype), loss, labels


def data(spec, loss, labels, rows, seed=0):
    """X and y of the network's dtype."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, (rows, spec.n_in)).astype(spec.dtype)
    shape = rows, spec.n_out
    if labels:
        return X, rng.integers(0, spec.n_out, rows).astype(np.int32)
    if loss == "cross_entropy":
        y = rng.dirichlet(np.ones(spec.n_out), rows)
    elif loss == "squared_error":
        y = rng.uniform(-1, 1, shape)
    else:
        y = rng.integers(0, 2, shape)
    return X, y.astype(spec.dtype)


def start(holder, seed=0):
    """Fill the parameters of an MLP or a Trainer: no gain is 1, no bias 0, no variance below 0."""
    rng = np.random.default_rng(seed)
    layout = getattr(holder, "layout", None) or holder._layout
    for block, view in zip(layout.blocks, layout.views(holder.parameters), strict=True):
        size = 0.8 / np.sqrt(block.shape[0]) if block.kind == "weight" else 0.3
        view[:] = rng.normal(scale=size, size=block.shape) + (block.kind == "gain")
        if block.kind == "variance":
            view[:] = 1 + abs(view)
