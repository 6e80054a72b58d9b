"""A recipe of three small networks, in the place of `fastnn.tabular.recipe.fit`: tests of what is
around a recipe need no good model."""

import numpy as np

import fastnn
from fastnn.tabular import recipe
from fastnn.tabular.encoding import Encoding
from fastnn.tabular.networks import Ensemble


def fit(inputs, targets, task, *, sizes=(), sample_weight=None, validation=None, metric=None,
        seed=0, n_threads=None, epochs=30, **others):
    n = len(inputs)
    encoding = Encoding.fit(inputs, sizes)
    codes = encoding.transform(inputs)
    nets = [fastnn.MLP((encoding.n_inputs, 16, task.n_out), activation="silu", output=task.output,
                       random_state=seed + i) for i in range(3)]
    order = np.random.default_rng(seed).permutation(n)
    folds = [np.sort(order[i::3]) for i in range(min(3, n))]
    nets = nets[:len(folds)]
    rows = [np.setdiff1d(np.arange(n), fold) for fold in folds] if validation is None else None
    fastnn.fit_many(nets, codes, targets, loss=task.loss, optimizer=fastnn.AdamW(0.02),
                    epochs=epochs, batch_size=32 if sample_weight is None else n, rows=rows,
                    sample_weight=sample_weight, n_threads=n_threads)
    if validation is not None:
        return Ensemble([(encoding, nets)])
    held_out = np.full((n, task.n_out), np.nan)
    for net, fold in zip(nets, folds, strict=True):
        held_out[fold] = net.predict(codes[fold])
    return Ensemble([(encoding, nets)], held_out=held_out, folds=folds)


def use(monkeypatch):
    """Let estimators fit by it."""
    monkeypatch.setattr(recipe, "fit", fit)
