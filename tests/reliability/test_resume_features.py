"""Fits of ten kinds that are killed at random moments go on to the same bytes."""

import os

import numpy as np
import pytest
from killing import kill_again_and_again

import fastnn
from fastnn import losses, schedules

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
KILLS = [2, pytest.param(10, marks=pytest.mark.slow)]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(1000, 20)).astype("float32")
LABELS = RNG.integers(0, 4, 1000)
VALUES = (X[:, 0] * X[:, 1] + RNG.normal(size=1000)).astype("float32")
TRAIN, HELD_OUT = slice(200, None), slice(200)
EPOCHS = 40

CASES = {
    "schedule": lambda: {"optimizer": fastnn.SGD(schedules.Cosine(0.1, warmup=0.1, restarts=2))},
    "ema": lambda: {"optimizer": fastnn.EMA(fastnn.AdamW(2e-3), decay=0.99)},
    "muon": lambda: {"optimizer": fastnn.Muon(0.01)},
    "early stopping": lambda: {"callbacks": [fastnn.EarlyStopping(patience=35)]},
    "metrics": lambda: {"metrics": {
        "hits": lambda y, output: (output.argmax(1) == y).mean(),
        "sharpness": lambda y, output: output.max(1).mean()}},
    "plateau": lambda: {"callbacks": [fastnn.ReduceOnPlateau(patience=1, factor=0.7)]},
    "mixup": lambda: {"mixup": 0.3, "input_noise": 0.1, "input_dropout": 0.1},
    "quantile": lambda: {"loss": losses.Quantile([0.1, 0.5, 0.9])},
    "clip": lambda: {"clip_norm": 0.3, "clip_value": 0.05, "max_norm": 1.0, "l1": 1e-3},
    "frozen": lambda: {"optimizer": fastnn.Adam(layers={1: {"learning_rate": 1e-4}})},
}


def fit(name, n_threads=1, **more):
    """What a fit leaves behind, from the network to what its callbacks remember."""
    settings = {"epochs": EPOCHS, "batch_size": 50, **CASES[name](), **more}
    values = name == "quantile"
    y = VALUES if values else LABELS
    net = fastnn.MLP((20, 30, 20, 3 if values else 4), output="identity" if values else "softmax",
                     random_state=0, n_threads=n_threads)
    if name == "frozen":
        net.freeze(0, 2)
    history = net.fit(X[TRAIN], y[TRAIN], validation_data=(X[HELD_OUT], y[HELD_OUT]), **settings)
    states = [callback.get_state() for callback in settings.get("callbacks", ())]
    return (net.parameters.tobytes(), net._epochs_done, history.loss, history.val_loss,
            history.metrics, history.stopped, repr(states))


@pytest.mark.parametrize("kills", KILLS)
@pytest.mark.parametrize("name", CASES)
def test_killed_fits_go_on(name, kills, tmp_path):
    path = tmp_path / "fit.checkpoint"
    wanted = fit(name)

    def child(n_threads):
        fit(name, n_threads, checkpoint=path, checkpoint_seconds=0)

    assert kill_again_and_again(child, path, kills, EPOCHS) > min(kills // 2, 2)
    assert fit(name, checkpoint=path) == wanted
