"""Prediction: one row (latency), a batch, many rows (throughput)."""

from __future__ import annotations

import warnings

import numpy as np

import fastnn

from .common import DTYPES, NETWORKS, THREADS, make_data, relative_error, share_of_peak

ROWS = {"one row": 1, "64 rows": 64, "10,000 rows": 10_000}


class Predict:
    params = [list(NETWORKS), list(ROWS), DTYPES, THREADS]
    param_names = ["network", "rows", "dtype", "threads"]

    def setup(self, network, rows, dtype, n_threads):
        sizes = NETWORKS[network].sizes
        self.X, _ = make_data(ROWS[rows], sizes[0], sizes[-1], dtype)
        self.net = fastnn.MLP(
            sizes, output="softmax", dtype=dtype, random_state=0, n_threads=n_threads
        )
        self.out = np.empty((ROWS[rows], sizes[-1]), dtype)

    def time_predict(self, network, rows, dtype, n_threads):
        self.net.predict(self.X)

    def time_predict_into_buffer(self, network, rows, dtype, n_threads):
        self.net.predict(self.X, out=self.out)

    def track_error(self, network, rows, dtype, n_threads):
        """Probabilities against a float64 forward pass in NumPy."""
        a = self.X.astype(np.float64)
        for w, b in zip(self.net.weights, self.net.biases, strict=True):
            z = a @ w.astype(np.float64) + b
            a = np.maximum(z, 0)
        z -= z.max(axis=1, keepdims=True)
        truth = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        return relative_error(self.net.predict(self.X), truth)

    track_error.unit = "relative error"

    def track_share_of_blas_peak(self, network, rows, dtype, n_threads):
        sizes = NETWORKS[network].sizes
        flops = 2 * ROWS[rows] * sum(a * b for a, b in zip(sizes, sizes[1:], strict=False))
        return share_of_peak(
            lambda: self.net.predict(self.X, out=self.out), flops, dtype, n_threads
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
