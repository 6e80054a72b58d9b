"""Losses, schedules, optimizers and sources of the user's that say something impossible: that is
named, with the class and the method."""

from dataclasses import dataclass

import numpy as np
import pytest
from each import each
from small_nets import data, make

import fastnn
from fastnn import losses, schedules

X, Y = data(40)
VALUES = X[:, :3]


def fit(loss=None, optimizer=None, y=VALUES, **more):
    return make(output="identity").fit(X, y, loss=loss, optimizer=optimizer, epochs=2,
                                       batch_size=10, **more)


def loss_of(**methods):
    return type("Own", (losses.Huber,), {
        name: lambda self, n, found=found: found for name, found in methods.items()})()


@each("methods, error, words", [
    ({"row": "nonsense"}, ValueError, r"Own.row\('identity'\)='nonsense' must be one of: "),
    ({"row": None}, TypeError, r"Own.row\('identity'\)=None must be "),
    ({"n_targets": 5}, ValueError, r"Own.n_targets\(3\)=5 must be <= 3"),
    ({"n_targets": 0}, ValueError, r"Own.n_targets\(3\)=0 must be >= 1"),
    ({"n_targets": None}, TypeError, r"Own.n_targets\(3\)=None must be an integer"),
    ({"parameters": ("a",)}, ValueError, r"Own.parameters\(3\) gives"),
    ({"parameters": (None,)}, ValueError, r"Own.parameters\(3\) gives")])
def test_losses(methods, error, words):
    with pytest.raises(error, match=words):
        fit(loss_of(**methods))


def schedule_of(found):
    @dataclass(frozen=True)
    class Own(schedules.Schedule):
        def factors(self, step, total, per_epoch):
            return found

    return Own(0.01)


@each("found, error, words", [
    (None, TypeError, r"Own\(learning_rate=0.01\): factors gives None, must give a number for"),
    ("text", TypeError, "factors gives 'text', must give a number for each step"),
    (["1", "2", "3", "4"], TypeError, "factors gives .*, must give a number for each step"),
    ([[1], [2, 3]], TypeError, "factors gives .*, must give a number for each step"),
    (np.ones(3), ValueError, r"gives rates of shape \(3,\), must be \(4,\)")])
def test_schedules(found, error, words):
    with pytest.raises(error, match=words):
        fit(optimizer=fastnn.SGD(schedule_of(found)))


def test_rates_of_a_schedule():
    @dataclass(frozen=True)
    class Own(schedules.Schedule):
        def rates(self, first_step, n_steps, total_steps, steps_per_epoch):
            return None

    with pytest.raises(TypeError, match=r"Own\(.*\): rates gives None"):
        fit(optimizer=fastnn.SGD(Own(0.01)))


class Hostile:
    """Its values cannot be had."""

    def __array__(self, dtype=None, copy=None):
        raise StopIteration


def test_a_batch_that_raises_what_ends_loops():
    with pytest.raises(RuntimeError, match="a batch of the source raised StopIteration") as caught:
        make(output="identity").fit_batches([(X, VALUES), (Hostile(), VALUES)])
    assert isinstance(caught.value.__cause__, StopIteration)


def optimizer_of(base, **methods):
    found = {name: property(lambda self, value=value: value) if name == "hyperparameters"
             else lambda self, epoch, value=value: value for name, value in methods.items()}
    return type("Own", (base,), found)()


@each("base, values, error, words", [
    (fastnn.Adam, (0.9,), ValueError, "Own.hyperparameters has 1 entries, must have 4: those of the"
                                      " row 'adam'"),
    (fastnn.RMSprop, (), ValueError, "has 0 entries, must have 2: those of the row 'rmsprop'"),
    (fastnn.SGD, (0.9, False), ValueError, "has 2 entries, must have 3"),
    (fastnn.Adam, (0.9, "a", 1e-8, False), TypeError,
     r"Own.hyperparameters\[1\]='a' must be a number")])
def test_hyperparameters(base, values, error, words):
    with pytest.raises(error, match=words):
        fit(optimizer=optimizer_of(base, hyperparameters=values))
    fit(optimizer=optimizer_of(base, hyperparameters=base().hyperparameters))


@each("value, error, words", [
    (-1, ValueError, r"Own.learning_rate_at\(0\) = -1.0 must be finite and >= 0"),
    (np.nan, ValueError, r"Own.learning_rate_at\(0\) = nan must be finite and >= 0"),
    ("a", TypeError, r"Own.learning_rate_at\(0\)='a' must be a number"),
    (None, TypeError, r"Own.learning_rate_at\(0\)=None must be a number")])
def test_rates_of_an_optimizer(value, error, words):
    own = optimizer_of(fastnn.SGD, learning_rate_at=value)
    for optimizer in (own, fastnn.EMA(own)):
        with pytest.raises(error, match=words.replace("Own", "(Own|EMA)")):
            fit(optimizer=optimizer)
        with pytest.raises(error, match=words.replace("Own", "(Own|EMA)")):
            make(output="identity").fit_batches([(X, VALUES)], optimizer=optimizer)
    fit(optimizer=optimizer_of(fastnn.SGD, learning_rate_at=0.01))
