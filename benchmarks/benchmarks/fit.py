"""Whole fits, from the arrays a user has to a trained model."""

from __future__ import annotations

import statistics
import time
import warnings

import numpy as np

import fastnn

from .common import DTYPES, NETWORKS, THREADS, relative_error
from .grid import make_data

ROWS = 10_000
EPOCHS = 3


class Network:
    """`fastnn.MLP.fit`: 3 epochs over 10,000 rows, Adam."""

    params = [list(NETWORKS), DTYPES, THREADS]
    param_names = ["network", "dtype", "threads"]

    def setup(self, network, dtype, n_threads):
        sizes = NETWORKS[network].sizes
        self.X, self.y = make_data(ROWS, sizes[0], sizes[-1], dtype)

    def fit(self, network, dtype, n_threads):
        cell = NETWORKS[network]
        net = fastnn.MLP(
            cell.sizes, output="softmax", dtype=dtype, random_state=0, n_threads=n_threads
        )
        return net.fit(self.X, self.y, epochs=EPOCHS, batch_size=cell.batch_size)

    def time_fit(self, network, dtype, n_threads):
        self.fit(network, dtype, n_threads)

    def track_final_loss(self, network, dtype, n_threads):
        """Mean training loss of the last epoch."""
        return self.fit(network, dtype, n_threads).loss[-1]

    track_final_loss.unit = "cross-entropy"


class Estimator:
    """The drop-in on scikit-learn's bundled digits and diabetes, by solver."""

    params = [["digits", "diabetes"], ["adam", "sgd", "lbfgs"], DTYPES, THREADS]
    param_names = ["data", "solver", "dtype", "threads"]

    def setup(self, data, solver, dtype, n_threads):
        from sklearn import datasets
        from sklearn.model_selection import train_test_split
        from sklearn.preprocessing import scale

        X, y = getattr(datasets, f"load_{data}")(return_X_y=True)
        if data == "diabetes":
            y = scale(y)
        self.parts = train_test_split(scale(X).astype(dtype), y, random_state=0)
        self.parameters = {"solver": solver, "max_iter": 50, "random_state": 0}
        self.name = "MLPClassifier" if data == "digits" else "MLPRegressor"
        self.model = getattr(fastnn, self.name)(**self.parameters, n_threads=n_threads)
        # 50 iterations are a workload here, not a wish to converge
        warnings.simplefilter("ignore")

    def time_fit(self, data, solver, dtype, n_threads):
        self.model.fit(self.parts[0], self.parts[2])

    def track_score(self, data, solver, dtype, n_threads):
        """Test accuracy (digits) or R2 (diabetes)."""
        X_train, X_test, y_train, y_test = self.parts
        return self.model.fit(X_train, y_train).score(X_test, y_test)

    def track_speed_over_sklearn(self, data, solver, dtype, n_threads):
        """scikit-learn's time over ours, fits taken in turn; its BLAS has one thread."""
        from sklearn import neural_network

        peer = getattr(neural_network, self.name)(**self.parameters)
        ratios = []
        for _ in range(3):
            seconds = []
            for model in (peer, self.model):
                start = time.perf_counter()
                model.fit(self.parts[0], self.parts[2])
                seconds.append(time.perf_counter() - start)
            ratios.append(seconds[0] / seconds[1])
        return statistics.median(ratios)

    track_speed_over_sklearn.unit = "ratio"


class LossAndGradient:
    """`MLP.loss_and_grad` over 1,000 rows: what L-BFGS and any outside optimizer call."""

    params = [list(NETWORKS), DTYPES, THREADS]
    param_names = ["network", "dtype", "threads"]

    def setup(self, network, dtype, n_threads):
        sizes = NETWORKS[network].sizes
        self.X, self.y = make_data(1000, sizes[0], sizes[-1], dtype)
        self.net = self.make(sizes, dtype, n_threads)

    @staticmethod
    def make(sizes, dtype, n_threads):
        return fastnn.MLP(sizes, output="softmax", dtype=dtype, random_state=0, n_threads=n_threads)

    def time_loss_and_grad(self, network, dtype, n_threads):
        self.net.loss_and_grad(self.X, self.y)

    def track_error(self, network, dtype, n_threads):
        """Gradient against float64 at the same parameters."""
        truth = self.make(self.net.sizes, "float64", 1)
        truth.set_weights([w.astype(np.float64) for w in self.net.get_weights()])
        X, y = self.X.astype(np.float64), self.y
        # layer by layer: the flat vectors are padded differently
        pairs = zip(
            self.layers(self.net, self.net.loss_and_grad(self.X, y)[1]),
            self.layers(truth, truth.loss_and_grad(X, y)[1]),
            strict=True,
        )
        return max(relative_error(value, true_value) for value, true_value in pairs)

    @staticmethod
    def layers(net, gradient) -> list[np.ndarray]:
        weights, biases = net._layout.weights_and_biases(gradient)
        return [*weights, *biases]

    track_error.unit = "relative error"
