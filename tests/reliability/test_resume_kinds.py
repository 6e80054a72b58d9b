"""Fits of many networks, of tables, by L-BFGS, by batches, by the command line, that are killed at
random moments go on to the same bytes."""

import os
import warnings

import numpy as np
import pytest
from killing import kill_again_and_again

import fastnn
from fastnn.cli import main
from fastnn.tabular import recipe

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")]
KILLS = 10
RNG = np.random.default_rng(0)
X = RNG.normal(size=(600, 10)).astype("float32")
LABELS = RNG.integers(0, 3, 600)
VALUES = (X[:, 0] * X[:, 1] + 0.1 * RNG.normal(size=600)).astype("float32")
FOLDS = [np.arange(i, 600, 4) for i in range(4)]
TABLE = {"a": X[:, 0], "b": np.where(X[:, 1] > 0.5, np.nan, X[:, 1]),
         "c": np.array(["p", "q", "r"], object)[RNG.integers(0, 3, 600)]}
SMALL = recipe.Recipe(networks=4, folds=4, hidden=(16, 12), bins=8, steps=900, patience=40,
                      average=10)


def made(**settings):
    return fastnn.MLP(**{"sizes": (10, 20, 12, 3), "output": "softmax", "random_state": 0,
                         **settings})


def left(net):
    history = net.history
    return (net.parameters.tobytes(), net._epochs_done, history.loss, history.val_loss,
            history.metrics, history.stopped)


def many(n_threads, **more):
    nets = [made(random_state=i) for i in range(4)]
    fastnn.fit_many(
        nets, X, LABELS, rows=[np.setdiff1d(np.arange(600), fold) for fold in FOLDS],
        validation_rows=FOLDS, epochs=15, batch_size=50, n_threads=n_threads,
        optimizer=[fastnn.Adam(), fastnn.EMA(fastnn.Muon(0.01), 0.9), fastnn.LBFGS(15),
                   fastnn.EvolutionStrategy(population=10)],
        callbacks=[[fastnn.EarlyStopping(patience=12)] for _ in FOLDS], **more)
    return list(map(left, nets))


def table(kind, y, **settings):
    def fit(n_threads, **more):
        model = kind(random_state=0, n_threads=n_threads, **settings).fit(TABLE, y, **more)
        nets = model.model_.ensemble.networks
        return [net.parameters.tobytes() for net in nets], model.predict(TABLE).tolist()
    return fit


def lbfgs(dtype):
    def fit(n_threads, **more):
        net = fastnn.MLP((10, 20, 1), "tanh", dtype=dtype, random_state=0, n_threads=n_threads)
        net.fit(X, VALUES, optimizer=fastnn.LBFGS(max_iter=60),
                validation_data=(X[:50], VALUES[:50]),
                callbacks=[fastnn.EarlyStopping(patience=55)], **more)
        return left(net)
    return fit


def evolution(n_threads, **more):
    net = made(n_threads=n_threads)
    net.fit(X, LABELS, optimizer=fastnn.EvolutionStrategy(population=10), epochs=40,
            batch_size=600, **more)
    return left(net)


def source(epoch):
    order = np.random.default_rng(epoch).permutation(600)
    for at in range(0, 600, 100):
        yield X[order[at:at + 100]], LABELS[order[at:at + 100]]


def batches(optimizer):
    def fit(n_threads, **more):
        net = made(n_threads=n_threads, dropout=0.1)
        net.fit_batches(source, epochs=40, batch_size=32, shuffle=True, optimizer=optimizer, **more)
        return left(net)
    return fit


def estimator(fitted):
    def fit(n_threads, **more):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = fitted(n_threads, more)
        return [array.tobytes() for array in (*model.coefs_, *model.intercepts_)], model.n_iter_
    return fit


CASES = {
    "many networks": (many, 60),
    "classes of a table": (table(fastnn.TabularClassifier, LABELS), 60),
    "values of a table": (table(fastnn.TabularRegressor, VALUES, eval_metric="mae"), 60),
    "lbfgs": (lbfgs("float64"), 60),
    "lbfgs in float32": (lbfgs("float32"), 30),
    "lbfgs of an estimator": (estimator(lambda n_threads, more: fastnn.MLPClassifier(
        (20,), solver="lbfgs", max_iter=60, random_state=0, n_threads=n_threads).fit(
            X, LABELS, **more)), 60),
    "evolution": (evolution, 40),
    "batches": (batches(fastnn.Adam(0.01)), 40),
    "batches and their mean": (batches(fastnn.EMA(fastnn.Muon(0.01), 0.9)), 40),
    "batches of an estimator": (estimator(lambda n_threads, more: fastnn.MLPClassifier(
        (20,), random_state=0, n_threads=n_threads).fit_batches(source, epochs=40, **more)), 40),
}


@pytest.mark.parametrize("name", CASES)
def test_killed_fits_go_on(name, tmp_path, monkeypatch):
    monkeypatch.setattr(recipe, "PRESETS", {"default": (SMALL, SMALL)})
    fit, epochs = CASES[name]
    path, wanted = tmp_path / "fit.checkpoint", fit(1)

    def child(n_threads):
        fit(n_threads, checkpoint=path, checkpoint_seconds=0)

    assert kill_again_and_again(child, path, KILLS, epochs) > KILLS // 2
    assert fit(2, checkpoint=path) == wanted
    assert fit(1, checkpoint=path) == wanted


def test_a_killed_command_goes_on(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(recipe, "PRESETS", {"default": (SMALL, SMALL)})
    monkeypatch.setattr("fastnn.cli.preset.CHECKPOINT_SECONDS", 0)
    data, path = tmp_path / "data.csv", tmp_path / "fit.checkpoint"
    rows = zip(*TABLE.values(), VALUES, strict=True)
    data.write_text("a,b,c,y\n" + "".join(f"{a},{b},{c},{y}\n" for a, b, c, y in rows))

    def train(model, n_threads, *more):
        assert main(["train", str(data), "-t", "y", "-o", str(tmp_path / model), "--force",
                     "--threads", str(n_threads), *more]) == 0
        return (tmp_path / model).read_bytes()

    wanted = train("straight", 1)

    def child(n_threads):
        train("resumed", n_threads, "--checkpoint", str(path))

    assert kill_again_and_again(child, path, KILLS, 60) > KILLS // 2
    assert train("resumed", 2, "--checkpoint", str(path)) == wanted
    assert "goes on from" in capfd.readouterr().out
