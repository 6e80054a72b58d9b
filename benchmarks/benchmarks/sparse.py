"""Sparse X: 4,000 rows with 40 to 100 values each, 50 hidden units (see also ../sparse.py)."""

import numpy as np
import scipy.sparse

import fastnn

from .common import DTYPES

ROWS, UNITS = 4000, 50
OPTIMIZERS = {  # and alpha
    "adam": (fastnn.Adam(), 0.0),
    "sgd": (fastnn.SGD(0.01, momentum=0.0), 0.0),
    "adagrad": (fastnn.Adagrad(), 0.0),
    "sgd, penalty": (fastnn.SGD(0.01, momentum=0.0), 1e-4),
    "nesterov, penalty": (fastnn.SGD(0.01, momentum=0.9, nesterov=True), 1e-4),
}


def make_rows(n_columns, dtype):
    rng = np.random.default_rng(0)
    counts = rng.integers(40, 101, ROWS)
    start = np.r_[0, counts.cumsum()].astype(np.int32)
    columns = rng.integers(0, n_columns, start[-1]).astype(np.int32)
    values = rng.standard_normal(start[-1]).astype(dtype)
    X = scipy.sparse.csr_matrix((values, columns, start), (ROWS, n_columns))
    return X, rng.integers(0, 2, ROWS)


class SparsePredict:
    params = [[2_000, 20_000, 100_000], DTYPES]
    param_names = ["columns", "dtype"]

    def setup(self, n_columns, dtype):
        self.X, _ = make_rows(n_columns, dtype)
        self.net = fastnn.MLP(
            (n_columns, UNITS, 2), output="softmax", dtype=dtype, random_state=0, n_threads=1
        )

    def time_predict(self, n_columns, dtype):
        self.net.predict(self.X)


class SparseFit:
    params = [[2_000, 20_000, 100_000], list(OPTIMIZERS)]
    param_names = ["columns", "optimizer"]
    timeout = 300

    def setup(self, n_columns, optimizer):
        self.X, self.y = make_rows(n_columns, "float32")
        self.net = fastnn.MLP((n_columns, UNITS, 2), output="softmax", random_state=0, n_threads=1)

    def time_epoch(self, n_columns, optimizer):
        chosen, alpha = OPTIMIZERS[optimizer]
        self.net.fit(self.X, self.y, optimizer=chosen, alpha=alpha, batch_size=200, epochs=1)
