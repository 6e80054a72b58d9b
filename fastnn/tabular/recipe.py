"""How the networks of a table are trained: presets, with the reason beside each choice."""

import numpy as np

from fastnn.ensemble import fit_many
from fastnn.mlp import MLP
from fastnn.tabular.encoding import Encoding
from fastnn.tabular.networks import Ensemble, Part
from fastnn.training.optimizers import AdamW
from fastnn.training.schedules import Cosine
from fastnn.training.stopping import EarlyStopping, TimeLimit

__all__ = ["PRESETS", "fit"]

PRESETS = {
    "fast": {"networks": 2, "hidden": (64, 64), "bins": 32, "steps": 1500},
    "default": {"networks": 8, "hidden": (128, 128), "bins": 64, "steps": 4000},
    "best": {"networks": 16, "hidden": (128, 128), "bins": 64, "steps": 8000},
}


def fit(inputs, targets, task, *, preset="default", sizes=(), sample_weight=None, validation=None,
        metric=None, seed=0, n_threads=None, time_limit=None, progress=None):
    """Train the networks of a preset.

    Parameters
    ----------
    inputs : Inputs
    targets : array
        As `Task.targets` gives them.
    task : Task
    preset : {"default", "fast", "best"}, default="default"
    sizes : sequence of int
        Number of categories of each column of ``inputs.codes``.
    sample_weight : float array (n_rows,) or None, default=None
        All > 0.
    validation : tuple (inputs, targets, sample_weight or None) or None, default=None
        Rows to stop by; None: each network is stopped by a fold of its own.
    metric : Metric or None, default=None
        By what the best epoch is chosen; None: the loss.
    seed : int, default=0
    n_threads : int or None, default=None
    time_limit : float or None, default=None
        Seconds, about.
    progress : bool or None, default=None

    Returns
    -------
    Ensemble
    """
    settings = PRESETS[preset]
    n, rng = len(inputs), np.random.default_rng(seed)
    encoding = Encoding.fit(inputs, sizes, bins=settings["bins"])
    codes = encoding.transform(inputs)
    count = settings["networks"]
    nets = [MLP((encoding.n_inputs, *settings["hidden"], task.n_out), activation="silu",
                output=task.output, random_state=int(rng.integers(2**31))) for _ in range(count)]
    batch = int(np.clip(2 ** round(np.log2(max(n, 1) / 50)), 16, 256))
    epochs = int(np.clip(settings["steps"] * batch / n, 10, 200))
    arguments = {"loss": task.loss, "optimizer": AdamW(Cosine(0.002), weight_decay=0.01),
                 "epochs": epochs, "batch_size": batch, "sample_weight": sample_weight,
                 "n_threads": n_threads}
    if validation is None:
        folds = _folds(targets, task, max(count, 4), rng)[:count]
        rows = [np.setdiff1d(np.arange(n), fold) for fold in folds]
        arguments |= {"rows": rows, "validation_rows": folds}
        weights = [None if sample_weight is None else sample_weight[fold] for fold in folds]
    else:
        arguments["validation_data"] = encoding.transform(validation[0]), validation[1]
        folds, weights = None, [validation[2]] * count
    monitor, mode = "val_loss", None
    if metric is not None or any(weight is not None for weight in weights):
        monitor, mode = "val_metric", "min"
        arguments["metrics"] = [{"metric": _loss_of(task, metric, weight)} for weight in weights]
    arguments["callbacks"] = [[EarlyStopping(monitor, max(epochs // 3, 5), mode=mode)]
                              for _ in nets]
    if time_limit is not None:
        for own in arguments["callbacks"]:
            own.append(TimeLimit(time_limit))
    fit_many(nets, codes, targets, **arguments)
    held_out = None
    if validation is None:
        held_out = np.full((n, task.n_out), np.nan)
        for net, fold in zip(nets, folds, strict=True):
            held_out[fold] = net.predict(codes[fold])
    return Ensemble([Part(encoding, nets)], held_out=held_out, folds=folds)


def _loss_of(task, metric, weight):
    """Return a function of (targets, outputs) that the best epoch has least of."""
    if metric is None:
        return lambda y, output: np.average(task.losses(y, output), weights=weight)
    return lambda y, output: metric.loss(y, output, weight)


def _folds(targets, task, count, rng):
    """Return the rows of each of so many folds; classes are spread evenly over them."""
    n = len(targets)
    order = rng.permutation(n)
    if task.kind in ("binary", "multiclass"):
        order = order[np.argsort(targets.reshape(-1)[order], kind="stable")]
    return [np.sort(order[i::count]) for i in range(min(count, n))]
