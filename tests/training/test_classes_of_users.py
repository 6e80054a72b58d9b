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
