"""A training step and a prediction with layer normalisation and residual connections, beside the
plain network of the same widths."""

import numpy as np

from fastnn import MLP, SGD
from fastnn.core.threads import single_threaded_blas
from fastnn.network.spec import NetworkSpec
from fastnn.training._trainer import Trainer

SIZES = (64, 128, 128, 128, 10)
BATCH = 128
STEPS = 20
KINDS = {
    "plain": {},
    "norm": {"norm": "layer"},
    "residual": {"residual": True},
    "both": {"norm": "layer", "residual": True},
}


class Layers:
    params = [list(KINDS), ["float32", "float64"]]
    param_names = ["layers", "dtype"]

    def setup(self, kind, dtype):
        rng = np.random.default_rng(0)
        X = rng.standard_normal((STEPS * BATCH, SIZES[0])).astype(dtype)
        y = rng.integers(0, SIZES[-1], len(X)).astype(np.int32)
        spec = NetworkSpec.chain(SIZES, "relu", "softmax", dtype=dtype, **KINDS[kind])
        self.trainer = Trainer(spec, "cross_entropy", optimizer=SGD(0.01), batch_size=BATCH,
                               n_threads=1)
        self.net = MLP(SIZES, output="softmax", dtype=dtype, random_state=0, n_threads=1,
                       **KINDS[kind])
        self.trainer.parameters[:] = self.net.parameters
        self.trainer.set_data(X, y)
        self.rows = X[:64]

    def time_epoch(self, kind, dtype):
        with single_threaded_blas():
            self.trainer.run_epoch(learning_rate=0.01)

    def time_predict(self, kind, dtype):
        self.net.predict(self.rows)
