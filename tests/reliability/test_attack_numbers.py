"""Numbers that come to nothing: weights that vanish or cancel, checkpoints no fit has written, and
optimizers of users that hold more than an update reads."""

import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from each import each

import fastnn
from fastnn import losses
from fastnn.files import container
from fastnn.training.optimizers import Optimizer

X = np.random.default_rng(0).normal(size=(30, 3))
LABELS = np.arange(30) % 2


# ---- weights ----

@each("dtype, weight", [("float32", 1e-40), ("float32", 1e-45), ("float32", 1e-36),
                        ("float32", 1e-60), ("float64", 1e-320), ("float64", 1e-300)])
def test_weights_that_vanish(dtype, weight):
    net = fastnn.MLP((3, 2), output="softmax", dtype=dtype, random_state=0)
    before, weights = net.parameters.copy(), np.full(30, weight)
    for call in (net.fit, net.loss, net.loss_and_grad):
        with pytest.raises(ValueError, match="(?i)sample.weight"):
            call(X, LABELS, sample_weight=weights)
    assert net.parameters.tobytes() == before.tobytes()
    for kind in (fastnn.MLPClassifier, fastnn.MLPRegressor):
        for solver in ("adam", "lbfgs"):
            with pytest.raises(ValueError, match="(?i)sample.weight"):
                kind(hidden_layer_sizes=(3,), solver=solver, dtype=dtype).fit(X, LABELS, weights)


def test_small_weights_beside_larger_ones_are_legal():
    """Such as those of an exponential decay; and all may be small, within reason."""
    decay = np.exp(-4.0 * np.arange(30))
    for weights in (decay, decay * 1e-20, np.full(30, 1e-20)):
        net = fastnn.MLP((3, 2), output="softmax", random_state=0)
        one = fastnn.MLP((3, 2), output="softmax", random_state=0)
        assert net.fit(X, LABELS, sample_weight=weights, epochs=2, shuffle=False).loss[0] > 0
        one.fit(X, LABELS, sample_weight=weights / weights.max(), epochs=2, shuffle=False)
        np.testing.assert_allclose(net.parameters, one.parameters, rtol=1e-4, atol=1e-6)


@each("solver", ["lbfgs", "adam", "sgd"])
@each("weights", [np.tile([1.0, -1.0], 15), np.zeros(30), np.tile([0.1, 0.2, -0.3], 10)])
def test_weights_that_add_up_to_nothing(solver, weights):
    for kind in (fastnn.MLPClassifier, fastnn.MLPRegressor):
        model = kind(hidden_layer_sizes=(3,), solver=solver, max_iter=2, random_state=0)
        with pytest.raises(ValueError, match="(?i)sample.weight"):
            model.fit(X, LABELS, weights)
        with pytest.raises(ValueError, match="(?i)sample.weight"):
            model.fit(X, LABELS, validation_data=(X, LABELS, weights))
    with pytest.raises(ValueError, match="(?i)sample.weight"):
        fastnn.MLPClassifier((3,)).partial_fit(X, LABELS, weights, classes=[0, 1])


def test_held_out_rows_without_weight():
    weights = np.zeros(30)
    weights[4] = 1
    for kind in (fastnn.MLPClassifier, fastnn.MLPRegressor):
        for seed in range(5):
            model = kind(early_stopping=True, random_state=seed, max_iter=2)
            with pytest.raises(ValueError, match="sample_weight of the (held-out|rows to train)"):
                model.fit(X, LABELS, weights)


# ---- checkpoints ----

def rewritten(path, change):
    """Change arrays of a checkpoint; its checksum is right."""
    names = {}

    def expected(settings):
        names.update(settings)
        layout = fastnn.MLP((3, 2), output="softmax")._layout
        flat = "float32", (layout.size,)
        return {"parameters": flat, "loss": ("float64", (3,)),
                **{f"optimizer.{i}": flat for i in range(names["n"])}}

    for names["n"] in range(3):
        try:
            arrays, settings, _ = container.read(path, expected)
            break
        except container.ModelFormatError:
            continue
    arrays = {name: np.array(array) for name, array in arrays.items()}
    change(arrays)
    container.write(path, arrays, settings)


def spoil(name, value):
    def change(arrays):
        arrays[name][1] = value
    return change


@each("optimizer, name, value", [
    (fastnn.Adam(), "parameters", np.nan), (fastnn.Adam(), "parameters", np.inf),
    (fastnn.Adam(), "optimizer.0", np.nan), (fastnn.Adam(), "optimizer.1", np.nan),
    (fastnn.Adam(), "optimizer.1", -1e-3), (fastnn.AdamW(), "optimizer.1", -1e-3),
    (fastnn.RMSprop(), "optimizer.0", -1e-3), (fastnn.Adagrad(), "optimizer.0", -1e-3),
    (fastnn.SGD(), "optimizer.0", np.nan)])
@each("epochs", [3, 5])
def test_checkpoints_that_no_fit_has_written(optimizer, name, value, epochs, tmp_path):
    path = tmp_path / f"{optimizer.name}{name}{value}{epochs}"

    def fit(epochs):
        net = fastnn.MLP((3, 2), output="softmax", random_state=0)
        net.fit(X, LABELS, epochs=epochs, checkpoint=path, optimizer=optimizer)
        return net

    fit(3)
    good = path.read_bytes()
    rewritten(path, spoil(name, value))
    with pytest.raises(fastnn.ModelFormatError, match=name.replace("optimizer", "")):
        fit(epochs)
    path.write_bytes(good)
    rewritten(path, lambda arrays: None)
    fit(epochs)


def test_momentum_may_be_negative_and_sums_of_squares_infinite(tmp_path):
    for i, (name, value) in enumerate([("optimizer.0", -1e-3), ("optimizer.1", np.inf)]):
        for epochs in (3, 4):
            fastnn.MLP((3, 2), output="softmax", random_state=0).fit(
                X, LABELS, epochs=epochs, checkpoint=tmp_path / str(i))
            rewritten(tmp_path / str(i), spoil(name, value)) if epochs == 3 else None


# ---- optimizers ----

def optimizer(row, values):
    @dataclass(frozen=True)
    class Mine(Optimizer):
        name: ClassVar[str] = row

        @property
        def hyperparameters(self):
            return values

    return Mine()


@each("row, values, error", [
    ("adam", [0.5] * 9, ValueError), ("adam", [0.5] * 100_000, ValueError),
    ("sgd", [0.5] * 9, ValueError), ("nonsense", [0.5], ValueError), ("", [], ValueError),
    (None, [0.5], TypeError), (3, [0.5], TypeError), ("adam", ["a"], (TypeError, ValueError)),
    ("adam", None, TypeError), ("adam", 3, TypeError), ("adam", [None] * 4, TypeError)])
def test_optimizers_that_do_not_fit(row, values, error, tmp_path):
    net = fastnn.MLP((4, 3), random_state=0)
    for checkpoint in (None, tmp_path / "checkpoint"):
        with pytest.raises(error):
            net.fit(np.ones((8, 4)), np.ones((8, 3)), optimizer=optimizer(row, values),
                    checkpoint=checkpoint)


@each("base, attribute, value", [
    (fastnn.Adam, "n_states", 0), (fastnn.Adam, "n_states", 1), (fastnn.Adam, "n_states", -1),
    (fastnn.Adam, "n_states", 10**9), (fastnn.Adam, "n_states", None), (fastnn.SGD, "n_states", 0),
    (fastnn.Lion, "n_states", 0), (fastnn.SGD, "row", "adam"), (fastnn.Muon, "n_states", 0)])
def test_state_vectors_that_do_not_fit_the_update(base, attribute, value):
    """The update reads as many as its row has, however many the class says there are."""
    mine = type("Mine", (base,), {attribute: property(lambda self: value)})()
    for one in (mine, fastnn.EMA(mine)) if value != 10**9 else (mine,):
        net = fastnn.MLP((4, 5, 6, 3), random_state=0)
        with pytest.raises((TypeError, ValueError)):
            net.fit(np.ones((8, 4)), np.ones((8, 3)), optimizer=one)
        with pytest.raises((TypeError, ValueError)):
            net.steps(one)


def test_hyperparameters_without_end():
    with pytest.raises(TypeError, match="Mine.hyperparameters"):
        fastnn.MLP((4, 3)).fit(np.ones((8, 4)), np.ones((8, 3)),
                               optimizer=optimizer("adam", iter(int, 1)))


@each("base, given", [
    (losses.Huber, ()), (losses.Huber, []), (losses.Huber, None), (losses.Huber, (1.0, 2.0)),
    (losses.Huber, [(1.0,)]), (losses.Huber, [(1.0,)] * 4), (losses.Huber, [(1.0,) * 9] * 3),
    (losses.Huber, [1.0] * 3), (losses.SquaredError, (1.0,)), (losses.SquaredError, [(1.0,)] * 3)])
def test_parameters_of_a_loss_that_do_not_fit_its_row(base, given):
    mine = type("Mine", (base,), {"parameters": lambda self, n_out: given})()
    net = fastnn.MLP((4, 3), random_state=0)
    for learn in (lambda: net.fit(np.ones((8, 4)), np.ones((8, 3)), loss=mine),
                  lambda: net.steps(loss=mine),
                  lambda: net.loss(np.ones((8, 4)), np.ones((8, 3)), loss=mine)):
        with pytest.raises(ValueError, match=r"Mine.parameters\(3\) gives .*, must give"):
            learn()


def test_optimizer_of_a_user():
    nets = [fastnn.MLP((4, 3), random_state=0) for _ in range(2)]
    for net, mine in zip(nets, (optimizer("adam", (0.9, 0.999, 1e-8, False, 1, 2, 3, 4)),
                                fastnn.Adam()), strict=True):
        net.fit(np.ones((8, 4)), np.ones((8, 3)), optimizer=mine)
    assert nets[0].parameters.tobytes() == nets[1].parameters.tobytes()


def test_no_warning_of_numpy_comes_along():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="sample_weight"):
            fastnn.MLP((3, 2), output="softmax").fit(X, LABELS, sample_weight=np.full(30, 1e-40))
