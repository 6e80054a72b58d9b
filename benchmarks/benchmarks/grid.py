"""The grid of cells that every comparison walks: stated here and nowhere else.

It is read by the asv benchmarks and by compare.py, whose processes each hold one library. So this
file needs NumPy only.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

OPTIMIZERS = ("sgd", "adam")
LEARNING_RATE = 1e-3
MOMENTUM = 0.9  # of SGD, not Nesterov's
BETAS = (0.9, 0.999)  # of Adam
EPSILON = 1e-8


@dataclass(frozen=True)
class Cell:
    """A network with relu in its hidden layers, and the batches it is trained on.

    Attributes
    ----------
    key : str
        One letter.
    sizes : tuple of int
        (n_in, ..., n_out).
    batch_size : int
    n_steps : int
        Steps of an epoch; few for big cells, so that an epoch takes seconds at most.
    dtype : {"float32", "float64"}
    loss : {"cross_entropy", "squared_error"}
        cross_entropy: softmax and integer labels; squared_error: identity and real targets.
    """

    key: str
    sizes: tuple[int, ...]
    batch_size: int
    n_steps: int
    dtype: str = "float32"
    loss: str = "cross_entropy"

    @property
    def net(self) -> str:
        """Sizes and batch, such as "784-128-10 b64"."""
        return f"{'-'.join(map(str, self.sizes))} b{self.batch_size}"

    @property
    def label(self) -> str:
        """All that tells it from the others."""
        words = [self.key, self.net, self.dtype if self.dtype != "float32" else ""]
        return " ".join(filter(None, words))

    @property
    def classifies(self) -> bool:
        return self.loss == "cross_entropy"

    @property
    def output(self) -> str:
        """Activation of the last layer."""
        return "softmax" if self.classifies else "identity"

    @property
    def n_samples(self) -> int:
        return self.n_steps * self.batch_size

    @property
    def flops_of_prediction(self) -> int:
        """Operations in the matrix products of the forward pass of one row."""
        return 2 * sum(_products(self.sizes))

    @property
    def flops_of_training(self) -> int:
        """Operations that training needs in its matrix products, for one row.

        2 n_in n_out a layer for each of: forward pass, gradient of the weights, gradient of the
        layer's input. The last is not needed in the first layer.
        """
        products = _products(self.sizes)
        return 6 * sum(products) - 2 * products[0]


def _products(sizes) -> list[int]:
    return [n_in * n_out for n_in, n_out in zip(sizes, sizes[1:], strict=False)]


GRID = {
    cell.key: cell
    for cell in [
        Cell("a", (4, 16, 3), 32, 200),
        Cell("b", (20, 64, 64, 2), 64, 200),
        Cell("c", (64, 100, 10), 200, 50),
        Cell("d", (784, 128, 10), 64, 200),
        Cell("e", (784, 256, 128, 10), 128, 100),
        Cell("f", (784, 512, 512, 10), 256, 40),
        Cell("g", (256, 1024, 1024, 1024, 10), 512, 8),
        Cell("h", (8, 64, 64, 1), 128, 100, loss="squared_error"),
        Cell("i", (784, 256, 128, 10), 128, 100, dtype="float64"),
        Cell("j", (100, 2048, 2048, 1), 1024, 4, loss="squared_error"),
    ]
}


@functools.lru_cache(maxsize=4)
def make_data(n_samples, n_in, n_out, dtype, loss="cross_entropy", seed=0):
    """X (n_samples, n_in) and what a noisy linear teacher says to it.

    Labels (n_samples,) of int32 for cross_entropy, else targets (n_samples, n_out) of `dtype`.
    """
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, n_in)).astype(dtype)
    teacher = rng.standard_normal((n_in, n_out)) / np.sqrt(n_in)
    scores = X @ teacher + 0.3 * rng.standard_normal((n_samples, n_out))
    if loss == "cross_entropy":
        return X, scores.argmax(axis=1).astype(np.int32)
    return X, scores.astype(dtype)


def initial_weights(sizes, dtype, seed=0) -> list[np.ndarray]:
    """New arrays [W0, b0, W1, b1, ...], W (n_in, n_out), the same whatever the dtype.

    Glorot and Bengio 2010: uniform within sqrt(6 / (n_in + n_out)), biases 0.
    """
    rng = np.random.default_rng(seed)
    arrays = []
    for n_in, n_out in zip(sizes, sizes[1:], strict=False):
        bound = np.sqrt(6 / (n_in + n_out))
        arrays.append(rng.uniform(-bound, bound, (n_in, n_out)).astype(dtype))
        arrays.append(np.zeros(n_out, dtype))
    return arrays
