"""Faults of the first house, each with the test that found it."""

import json
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np
import pytest

import fastnn
from fastnn.files import container
from fastnn.training import checkpoint as checkpoints
from fastnn.training import lbfgs

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 3))
Y = X @ rng.normal(size=(3, 1)) + 0.1 * rng.normal(size=(60, 1))


def test_divergence_leaves_two_histories_of_one_length():
    net = fastnn.MLP((3, 5, 1), dtype="float64", random_state=0)
    with pytest.warns(fastnn.DivergenceWarning):
        history = net.fit(1e3 * X, Y, optimizer=fastnn.SGD(1e3), epochs=9, validation_data=(X, Y))
    assert len(history.loss) == len(history.val_loss) < 9
    assert np.isnan(history.val_loss[-1])
    assert not np.isnan(history.val_loss[:-1]).any()
    assert np.isfinite(net.parameters).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_interrupted_lbfgs_has_the_loss_of_the_weights_it_keeps(dtype, monkeypatch):
    """At whichever evaluation Ctrl-C comes, a trial of the line search or the first one."""
    minimize, stopped = lbfgs.minimize, 0

    def interrupted(fun, x0, *, last, **more):
        count = 0

        def evaluate(x):
            nonlocal count
            count += 1
            if count == last:
                raise KeyboardInterrupt
            return fun(x)

        return minimize(evaluate, x0, **more)

    for last in range(2, 14):
        with monkeypatch.context() as patch:
            patch.setattr(lbfgs, "minimize", partial(interrupted, last=last))
            est = fastnn.MLPRegressor(
                hidden_layer_sizes=(6,), solver="lbfgs", alpha=0.1, tol=1e-12, random_state=0,
                dtype=dtype, max_iter=50)
            with pytest.warns(UserWarning, match="interrupted"):
                est.fit(X, 10 * Y[:, 0] ** 3)
        loss = est._current_network().loss(X, 10 * Y ** 3, alpha=0.1)
        assert est.loss_ == pytest.approx(loss, rel=1e-6 if dtype == "float32" else 1e-12)
        stopped += 1
    assert stopped == 12


@dataclass(frozen=True)
class Odd(fastnn.SGD):
    """An optimizer whose fields have the names of settings of the fit."""

    name: ClassVar[str] = "sgd"
    alpha: float = 3.0
    batch_size: float = 7.0
    loss: str = "mine"


def test_a_field_of_an_optimizer_hides_no_setting_of_the_fit(tmp_path):
    path = tmp_path / "fit.checkpoint"
    settings = {"optimizer": Odd(), "checkpoint": path, "alpha": 0.1, "batch_size": 20}

    def fit(**more):
        net = fastnn.MLP((3, 4, 1), random_state=0)
        return net.fit(X, Y, **{**settings, "epochs": 2, **more})

    fit()
    fit(epochs=3)  # the same fit goes on
    for name, other in (("alpha", 0.2), ("batch_size", 30), ("loss", "squared_error")):
        if name == "loss":
            continue  # the only loss of this output
        with pytest.raises(fastnn.ModelFormatError, match=f"another fit: {name} was"):
            fit(**{name: other})
    with pytest.raises(fastnn.ModelFormatError, match=r"another fit: optimizer\.alpha was 3\.0"):
        fit(optimizer=replace(Odd(), alpha=4.0))


def test_checkpoints_of_the_first_house_are_compared_as_the_new_ones():
    """They hold the optimizer's settings among the others."""
    net = fastnn.MLP((3, 4, 1), random_state=0)
    data = (X.astype("f"), Y.astype("f"), None)
    new = json.loads(container.canonical(checkpoints.describe_fit(
        net, "squared_error", fastnn.Adam(0.1), data, None, batch_size=5, shuffle=True, alpha=0.0)))
    old = {**new, **new["optimizer"], "optimizer": "adam"}
    del old["name"]
    assert old != new
    assert checkpoints._named_settings(old) == checkpoints._named_settings(new)
