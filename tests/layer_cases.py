"""Networks that are no chains of dense layers, with random parameters: for exports and imports.

Norms and residual connections meet each activation in one dtype each; orders by hand have both.
"""

from itertools import cycle

import numpy as np

from fastnn import (
    GLU,
    MLP,
    Activation,
    BatchNorm,
    Dense,
    Dropout,
    Embed,
    LayerNorm,
    Predictor,
    PReLU,
    Residual,
    Scale,
    Scaler,
)
from fastnn.core._kernels import ACTIVATIONS

N_IN = 5
HIDDEN = [name for name in ACTIVATIONS if name not in ("exp", "step")]  # they magnify roundings


def networks():
    """Pairs of a name and a network."""
    for name, dtype in zip(HIDDEN, cycle(["float32", "float64"]), strict=False):
        yield f"normed {name} {dtype}", MLP((N_IN, 7, 7, 3), name, "softmax", norm="layer",
                                            residual=True, dropout=0.25, dtype=dtype)
        dtype = {"float32": "float64", "float64": "float32"}[dtype]
        yield f"residual {name} {dtype}", MLP((N_IN, N_IN, N_IN, 2), name, residual=True,
                                              dtype=dtype)
    for dtype in ("float32", "float64"):
        for name, (layers, output) in by_hand().items():
            yield f"{name} {dtype}", MLP.of(layers, n_in=N_IN, output=output, dtype=dtype)


def by_hand():
    return {
        "pre-activation": ([
            Dense(6), Residual([LayerNorm(1e-3), Activation("gelu"), Dense(6), Dropout(0.5)]),
            Residual([Activation("tanh"), Dense(6)]), LayerNorm(), Activation("silu"), Dense(3)],
            "softmax"),
        "the inputs": ([LayerNorm(), Residual([Dense(4, "relu"), Dense(N_IN)]), Dense(2)],
                       "sigmoid"),
        "inputs that are added": ([Residual([Dense(N_IN, "tanh")]), Dense(9), LayerNorm()], "tanh"),
        "blocks in blocks": ([
            Dense(6, "relu"),
            Residual([Residual([Dense(6, "tanh")]), Dense(6), Residual([Dense(3), Dense(6)]),
                      Activation("softplus")]),
            Dense(4)], "identity"),
        "the same value twice": ([
            Dense(6), Residual([Residual([Dense(6, "tanh"), Dense(6)]), LayerNorm()])], "elu"),
        "a block at the end": ([Dense(6, "silu"), Residual([Dense(8, "gelu"), Dense(6)])],
                               "softmax"),
        "batch norms, slopes and factors": ([
            Scale(), Dense(6), BatchNorm(0.1), PReLU(), Residual([Scale(), Dense(6, "mish"),
                                                                  PReLU(per_unit=False)]),
            BatchNorm(1e-3, 0.5), Activation("hard_tanh"), Dense(3)], "softmax"),
        "gates": ([
            Dense(12), GLU("silu"), Residual([LayerNorm(), Dense(12, "tanh"), GLU("gelu")]),
            Dense(8), GLU(), Activation("softplus"), Dense(6), GLU("identity")], "softmax"),
        "embeddings": ([Embed(3, (1, 2, 2)), Activation("relu"), Dense(4), LayerNorm(), Dense(2)],
                       "sigmoid"),
        "dropout and norms": ([
            Dense(6, "relu"), Dropout(0.5), LayerNorm(), LayerNorm(0.5), Dense(6), Dropout(0.1),
            Residual([Dropout(0.2), Dense(6), LayerNorm(), Dropout(0.3)]), Dense(2)], "exp"),
    }


def predictors(limits=(-2.5, np.inf)):
    """Pairs of a name and a Predictor of each of the networks, some behind a scaler."""
    rng = np.random.default_rng(0)
    for i, (name, net) in enumerate(networks()):
        kinds = [name.split(".")[-1] for name in net.named_parameters()]
        net.set_weights([rng.normal(size=a.shape, scale=0.8 / np.sqrt(len(a)) if a.ndim == 2
                                    else 0.5) ** (2 if kind == "variance" else 1)
                         for a, kind in zip(net.get_weights(), kinds, strict=True)])
        scaler = Scaler(np.arange(N_IN) * 10, 2.0 ** np.arange(N_IN), limits)
        yield name, Predictor(net, scaler=scaler if i % 3 == 1 else None)


def rows_for(predictor, n_rows):
    """Inputs in the network's dtype, with few digits."""
    rows = np.random.default_rng(1).normal(size=(n_rows, N_IN))
    if predictor.scaler is not None:
        rows = predictor.scaler.mean + rows * predictor.scaler.scale
    return (np.round(rows * 256) / 256).astype(predictor.net.dtype)


def error_of(found, expected):
    """The largest error, relative to the larger of 1 and the expected value."""
    assert found.shape == expected.shape and found.dtype == expected.dtype
    return (np.abs(found - expected) / np.maximum(1, np.abs(expected))).max()
