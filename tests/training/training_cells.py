"""Networks from a few units to several million weights, each with the batch it is trained with."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from trainers import make_trainer

from fastnn.training.optimizers import BY_NAME, SGD, Adam

# one for each row of csrc/optimizers.def
OPTIMIZERS = {made.row: made for made in (*(cls() for name, cls in BY_NAME.items()
                                            if name != "muon"),
                                          Adam(amsgrad=True), SGD(momentum=0))}
GEMMS = ("native", "blas", "auto")


@dataclass(frozen=True)
class Cell:
    sizes: tuple
    batch: int
    activation: str = "relu"
    output: str = "softmax"
    loss: str = "cross_entropy"

    @property
    def n_parameters(self):
        return sum((n_in + 1) * n_out for n_in, n_out in pairwise(self.sizes))

    def data(self, n_rows, dtype):
        """X, y of a seed."""
        rng = np.random.default_rng(0)
        X = rng.normal(size=(n_rows, self.sizes[0])).astype(dtype)
        if self.loss == "cross_entropy":
            return X, rng.integers(0, self.sizes[-1], n_rows).astype(np.int32)
        return X, rng.normal(size=(n_rows, self.sizes[-1])).astype(dtype)

    def trainer(self, dtype, gemm, optimizer, n_threads):
        return make_trainer(
            self.sizes, (self.activation,) * (len(self.sizes) - 2), self.output, self.loss,
            dtype=dtype, optimizer=OPTIMIZERS[optimizer], batch_size=self.batch, alpha=0.1,
            n_threads=n_threads, gemm=gemm)


CELLS = {
    "a": Cell((4, 16, 3), 32, "tanh"),
    "b": Cell((20, 64, 64, 2), 64),
    "c": Cell((64, 100, 10), 200),
    "d": Cell((784, 128, 10), 64),
    "e": Cell((784, 256, 128, 10), 128, "gelu"),
    "f": Cell((784, 512, 512, 10), 256),
    "g": Cell((256, 1024, 1024, 1024, 10), 512),
    "h": Cell((8, 64, 64, 1), 128, "tanh", "identity", "squared_error"),
    "j": Cell((100, 2048, 2048, 1), 1024, "relu", "identity", "squared_error"),
}
LARGE = ("f", "g", "j")
