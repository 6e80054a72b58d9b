"""Prediction: one row (latency), a batch, many rows (throughput)."""

from __future__ import annotations

import warnings

import numpy as np

import fastnn

from .common import CELLS, DTYPES, NETWORKS, THREADS, relative_error, share_of_peak
from .grid import make_data

ROWS = {"one row": 1, "64 rows": 64, "10,000 rows": 10_000}


class Predict:
    """Each cell of the grid: one row is latency, 10,000 rows are throughput."""

    params = [list(CELLS), list(ROWS), THREADS]
    param_names = ["cell", "rows", "threads"]
    repeat = (3, 10, 3.0)  # a big cell takes a second for 10,000 rows

    def setup(self, label, rows, n_threads):
        self.cell = cell = CELLS[label]
        self.X, _ = make_data(ROWS[rows], cell.sizes[0], cell.sizes[-1], cell.dtype)
        self.net = fastnn.MLP(
            cell.sizes, output=cell.output, dtype=cell.dtype, random_state=0, n_threads=n_threads
        )
        self.out = np.empty((ROWS[rows], cell.sizes[-1]), cell.dtype)

    def time_predict(self, label, rows, n_threads):
        self.net.predict(self.X)

    def time_predict_into_buffer(self, label, rows, n_threads):
        self.net.predict(self.X, out=self.out)

    def track_error(self, label, rows, n_threads):
        """Some hundred of the outputs against a float64 forward pass in NumPy."""
        some = slice(None, None, ROWS[rows] // 500 + 1)
        a = self.X[some].astype(np.float64)
        for w, b in zip(self.net.weights, self.net.biases, strict=True):
            z = a @ w.astype(np.float64) + b
            a = np.maximum(z, 0)
        if self.cell.classifies:
            z -= z.max(axis=1, keepdims=True)
            z = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        return relative_error(self.net.predict(self.X)[some], z)

    track_error.unit = "relative error"

    def track_share_of_blas_peak(self, label, rows, n_threads):
        flops = ROWS[rows] * self.cell.flops_of_prediction
        return share_of_peak(
            lambda: self.net.predict(self.X, out=self.out), flops, self.cell.dtype, n_threads
        )

    track_share_of_blas_peak.unit = "GFLOP/s over BLAS peak"


class EstimatorPredict:
    """The drop-in: what scikit-learn's checks of the input add."""

    params = [list(ROWS), DTYPES, THREADS]
    param_names = ["rows", "dtype", "threads"]

    def setup(self, rows, dtype, n_threads):
        sizes = (784, 128, 10)
        X, y = make_data(1000, sizes[0], sizes[-1], dtype)
        self.model = fastnn.MLPClassifier(
            sizes[1:-1], max_iter=5, random_state=0, n_threads=n_threads
        )
        warnings.simplefilter("ignore")  # 5 epochs are not meant to converge
        self.model.fit(X, y)
        self.X, self.y = make_data(ROWS[rows], sizes[0], sizes[-1], dtype)

    def time_predict_proba(self, rows, dtype, n_threads):
        self.model.predict_proba(self.X)

    def track_accuracy(self, rows, dtype, n_threads):
        return self.model.score(self.X, self.y)


class Load:
    """Reading a model file, checks included."""

    params = [list(NETWORKS), DTYPES]
    param_names = ["network", "dtype"]

    def setup(self, network, dtype):
        import tempfile
        from pathlib import Path

        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "model.safetensors"
        self.net = fastnn.MLP(
            NETWORKS[network].sizes, output="softmax", dtype=dtype, random_state=0
        )
        self.net.save(self.path)

    def teardown(self, network, dtype):
        self.folder.cleanup()

    def time_load(self, network, dtype):
        fastnn.load(self.path)

    def time_save(self, network, dtype):
        self.net.save(self.path)

    def track_same_bytes(self, network, dtype):
        """1 when the parameters come back bit for bit."""
        return int(fastnn.load(self.path).parameters.tobytes() == self.net.parameters.tobytes())
