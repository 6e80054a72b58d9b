"""A small fit whose steps are done by the trainer and, slowly, in NumPy: the gradient of a batch is
the trainer's own, which other tests judge; all that follows from it is done here once more."""

import numpy as np

from fastnn.network.spec import NetworkSpec
from fastnn.training._trainer import Trainer

SIZES, BATCH = (6, 12, 9, 14, 3), 10


class Problem:
    """Data, the rows of each step, the parameters at the start."""

    def __init__(self, dtype="float64", sizes=SIZES, n_steps=20, batch=BATCH, **chain):
        rng = np.random.default_rng(3)
        self.spec = NetworkSpec.chain(sizes, "tanh", "softmax", dtype=dtype, **chain)
        self.X = rng.normal(size=(40, sizes[0])).astype(dtype)
        self.y = rng.integers(0, sizes[-1], 40).astype(np.int32)
        self.n_steps, self.batch = n_steps, batch
        self.order = rng.integers(0, 40, n_steps * batch)
        self.judge = self.trainer(None)
        self.layout = self.judge.layout
        self.start = self.layout.allocate()
        for block, view in zip(self.layout.blocks, self.layout.views(self.start), strict=True):
            view[:] = rng.normal(scale=0.5, size=view.shape) + (block.kind == "gain")

    def trainer(self, optimizer, **settings):
        made = Trainer(self.spec, "cross_entropy", optimizer=optimizer, batch_size=self.batch,
                       **settings)
        made.set_data(self.X, self.y)
        return made

    def trained(self, optimizer, rate=None, **settings):
        """The trainer after all steps, and the loss of the epoch."""
        made = self.trainer(optimizer, **settings)
        made.parameters[:] = self.start
        rate = optimizer.learning_rate if rate is None else rate
        return made, made.run_epoch(self.order, learning_rate=rate)

    def batches(self):
        return np.split(self.order, self.n_steps)

    def gradient(self, parameters, rows):
        """Of the mean loss of these rows."""
        self.judge.parameters[:] = parameters
        found = self.layout.allocate()
        loss = self.judge.loss_and_grad(found, rows)
        return loss, found

    def slowly(self, update, *, layers=None, alpha=0.0, l1=0.0, clip_norm=None, clip_value=None,
               max_norm=None, frozen=(), decay=0.0, mean_decay=None):
        """Parameters, mean and the loss of the epoch after all steps; ``update(block, w, g,
        factor)`` changes w, the parameters of a block, ``factor`` being that of its rate."""
        w, mean, losses = self.start.copy(), None, []
        views, layers = self.layout.views(w), layers or {}
        for rows in self.batches():
            loss, gradient = self.gradient(w, rows)
            slopes = self.layout.views(gradient)
            for block, p, g in zip(self.layout.blocks, views, slopes, strict=True):
                own = layers.get(block.layer, {})
                if block.kind == "weight":
                    l2, l1_own = own.get("alpha", alpha), own.get("l1", l1)
                    loss += (l2 / 2 * (p**2).sum() + l1_own * np.abs(p).sum()) / len(rows)
                    g += (l2 * p + l1_own * np.sign(p)) / len(rows)
                if block.layer in frozen:
                    g[:] = 0
                elif clip_value is not None:
                    np.clip(g, -clip_value, clip_value, out=g)
            losses.append(loss)
            if clip_norm is not None:
                gradient *= min(1.0, clip_norm / (np.linalg.norm(gradient) + 1e-6))
            for block, p, g in zip(self.layout.blocks, views, slopes, strict=True):
                own = layers.get(block.layer, {})
                if block.layer in frozen:
                    continue
                rate = own.get("learning_rate_factor", 1.0)
                p *= 1 - rate * own.get("weight_decay", decay)
                update(block, p, g, rate)
                limit = own.get("max_norm", max_norm)
                if limit is not None and block.kind == "weight":
                    norms = np.linalg.norm(p, axis=0)
                    p *= np.where(norms > limit, limit / norms, 1.0)
            if mean_decay is not None:
                mean = w.copy() if mean is None else mean_decay * mean + (1 - mean_decay) * w
        return w, mean, np.mean(losses)


def twin_update(make, rate):
    """An update for `Problem.slowly`: each block has an optimizer of tests/reference.py."""
    twins = {}

    def update(block, w, g, factor):
        twins.setdefault(block.name, make()).update([w], [g], rate * factor)

    return update
