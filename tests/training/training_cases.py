"""Training runs of some 50 steps that fastnn and the twin both go through.

One case varies one thing: the optimizer, the batch, the network, the loss, the data.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import reference
import scipy.sparse
from trainers import make_trainer

import fastnn
from fastnn.core.threads import single_threaded_blas


@dataclass
class Case:
    sizes: tuple = (7, 12, 5, 3)
    activations: tuple = ("tanh", "gelu")
    output: str = "softmax"
    loss: str = "cross_entropy"
    rows: int = 53
    batch: int = 10  # 6 steps an epoch, the last of 3 rows
    epochs: int = 9
    ours: object = field(default_factory=lambda: fastnn.SGD(0.2))
    twin: object = field(default_factory=reference.SGD)
    learning_rate: object = lambda epoch: 0.2  # noqa: E731
    alpha: float = 0.0
    dropout: tuple | float = 0.0
    weighted: bool = False
    sparse: bool = False
    order: str = "shuffled"
    reduction: str | None = None
    twins: dict = field(default_factory=dict)

    def data(self):
        """X, y, sample_weight of a seed."""
        rng = np.random.default_rng(1)
        X = rng.normal(size=(self.rows, self.sizes[0]))
        shape = (self.rows, self.sizes[-1])
        if self.loss == "cross_entropy":
            y = rng.integers(0, shape[1], self.rows).astype(np.int32)
        elif self.loss == "squared_error":
            y = rng.normal(size=shape)
        else:
            y = rng.integers(0, 2, shape).astype(float)
        weights = rng.uniform(0, 2, self.rows) if self.weighted else None
        if self.weighted:
            weights[::7] = 0
        if self.sparse:
            X = scipy.sparse.csr_array(np.where(np.abs(X) > 0.7, X, 0))
        return X, y, weights

    def orders(self):
        """Rows of each epoch."""
        rng = np.random.default_rng(2)
        counts = {"shuffled": self.rows, "repeated": 2 * self.rows, "part": self.rows // 2}
        if self.order == "as they lie":
            return [np.arange(self.rows)] * self.epochs
        if self.order == "repeated":
            return [rng.integers(0, self.rows, counts[self.order]) for _ in range(self.epochs)]
        return [rng.permutation(self.rows)[: counts[self.order]] for _ in range(self.epochs)]

    def trainer(self, n_threads=1, dtype="float64", seed=2**40 + 3):
        trainer = make_trainer(
            self.sizes, self.activations, self.output, self.loss, dtype=dtype, optimizer=self.ours,
            batch_size=self.batch, alpha=self.alpha, dropout=self.dropout, seed=seed,
            n_threads=n_threads, reduction=self.reduction)
        rng = np.random.default_rng(3)
        for w, b in zip(trainer.weights, trainer.biases, strict=True):
            w[:] = rng.normal(scale=0.5, size=w.shape)
            b[:] = rng.normal(scale=0.1, size=b.shape)
        return trainer

    def run(self, trainer, epochs=slice(None)):
        """Losses of the epochs; the result stays in the trainer."""
        X, y, weights = self.data()
        X = X.astype(trainer.dtype)
        y = y if y.ndim == 1 else y.astype(trainer.dtype)
        weights = None if weights is None else weights.astype(trainer.dtype)
        trainer.set_data(X, y, weights)
        with single_threaded_blas():
            return [
                trainer.run_epoch(None if self.order == "as they lie" else order,
                                  learning_rate=self.learning_rate(epoch))
                for epoch, order in list(enumerate(self.orders()))[epochs]]

    def run_twin(self, seed=2**40 + 3):
        """(twin, losses); run once, as every path is compared with it."""
        if seed not in self.twins:
            self.twins[seed] = self._run_twin(seed)
        return self.twins[seed]

    def _run_twin(self, seed):
        twin = reference.Twin.of(self.trainer())
        X, y, weights = self.data()
        losses = reference.train(
            twin, X, y, loss_name=self.loss, optimizer=replace(self.twin, state=[]),
            orders=self.orders(), batch_size=self.batch,
            learning_rates=[self.learning_rate(epoch) for epoch in range(self.epochs)],
            sample_weight=weights, alpha=self.alpha, seed=seed, reduction=self.reduction)
        return twin, losses


def _decay(epoch):
    return 0.1 / (1 + epoch)


def _optimizer(ours, twin, rate=0.02, **more):
    return Case(ours=ours, twin=twin, learning_rate=lambda epoch: rate / (1 + 0.1 * epoch), **more)


CASES = {
    "sgd with momentum": Case(),
    "sgd without momentum": _optimizer(fastnn.SGD(1, momentum=0), reference.SGD(momentum=0), 0.3),
    "nesterov": _optimizer(fastnn.SGD(1, nesterov=True), reference.SGD(nesterov=True), 0.2),
    "step velocity": _optimizer(fastnn.SGD(1, velocity="step"), reference.StepSGD(), 0.2),
    "step velocity, nesterov": _optimizer(
        fastnn.SGD(1, 0.8, True, velocity="step"),
        reference.StepSGD(momentum=0.8, nesterov=True), 0.2),
    "adam": _optimizer(fastnn.Adam(), reference.Adam()),
    "adam, eps hat": _optimizer(fastnn.Adam(eps=1e-6, eps_hat=True),
                                reference.Adam(eps=1e-6, eps_hat=True)),
    "adamw": _optimizer(fastnn.AdamW(weight_decay=0.1), reference.AdamW(weight_decay=0.1)),
    "rmsprop": _optimizer(fastnn.RMSprop(), reference.RMSprop()),
    "adagrad": _optimizer(fastnn.Adagrad(), reference.Adagrad(), 0.1),
    "batch of all rows": Case(batch=53, epochs=50),
    "batch larger than the data": Case(batch=1000, epochs=50),
    "batch of one row": Case(batch=1, rows=17, epochs=3, learning_rate=lambda epoch: 0.02),
    "one row": Case(rows=1, batch=1, epochs=50, learning_rate=lambda epoch: 0.02),
    "rows as they lie": Case(order="as they lie"),
    "rows drawn with replacement": Case(order="repeated", epochs=5),
    "part of the rows": Case(order="part", epochs=17),
    "no hidden layer": Case(sizes=(7, 3), activations=()),
    "one unit everywhere": Case(sizes=(1, 1, 1), activations=("tanh",), output="identity",
                                loss="squared_error"),
    "activation per layer": Case(
        sizes=(7, 9, 8, 6, 5, 11, 3),
        activations=("sigmoid", "silu", "elu", "softplus", "leaky_relu")),
    "relu": Case(activations=("relu", "relu")),
    "wide": Case(sizes=(40, 65, 33, 17), rows=130, batch=64, epochs=17,
                 learning_rate=lambda epoch: 0.02),
    "l2": Case(alpha=0.5),
    "sample weights": Case(weighted=True),
    "sample weights and l2": Case(weighted=True, alpha=0.5),
    "squared error": Case(output="identity", loss="squared_error", alpha=0.1),
    "squared error, sum over outputs": Case(output="identity", loss="squared_error", alpha=0.1,
                                            reduction="sum", learning_rate=_decay),
    "squared error of tanh": Case(output="tanh", loss="squared_error", weighted=True),
    "binary cross-entropy": Case(output="sigmoid", loss="binary_cross_entropy", alpha=0.1),
    "poisson": Case(output="exp", loss="poisson", weighted=True, learning_rate=_decay),
    "perceptron": Case(output="step", loss="perceptron"),
    "dropout": Case(dropout=0.5),
    "dropout per layer": Case(dropout=(0.0, 0.3), activations=("relu", "silu")),
    "sparse": Case(sparse=True),
    "sparse rows as they lie": Case(sparse=True, order="as they lie"),
    "all together": _optimizer(
        fastnn.Adam(), reference.Adam(), sizes=(40, 33, 17, 5), rows=130, batch=64, epochs=17,
        dropout=(0.2, 0.4), weighted=True, sparse=True, alpha=0.1),
}
