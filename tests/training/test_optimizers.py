"""The first twenty steps of every optimizer, against the slow twin and against PyTorch; names, and
what is refused."""

from pathlib import Path

import numpy as np
import pytest
import reference
from each import each
from step_problem import Problem, twin_update

import fastnn
from fastnn import optimizers
from fastnn.training.optimizers import BY_NAME, check_optimizer

CASES = {
    "adadelta": (fastnn.Adadelta(0.5), reference.Adadelta),
    "adamax": (fastnn.AdaMax(0.02), reference.AdaMax),
    "nadam": (fastnn.Nadam(0.02), reference.Nadam),
    "nadam with a fast schedule": (fastnn.Nadam(0.02, beta1=0.99, momentum_decay=2.0),
                                   lambda: reference.Nadam(beta1=0.99, momentum_decay=2.0)),
    "rprop": (fastnn.Rprop(0.02), reference.Rprop),
    "rprop with bounds": (fastnn.Rprop(0.02, 0.3, 1.5, 0.01, 0.03),
                          lambda: reference.Rprop(0, [], 0.3, 1.5, 0.01, 0.03)),
    "lion": (fastnn.Lion(0.01), reference.Lion),
    "lion with decay": (fastnn.Lion(0.01, weight_decay=0.5),
                        lambda: reference.Lion(weight_decay=0.5)),
    "amsgrad": (fastnn.Adam(0.02, beta2=0.9, amsgrad=True),
                lambda: reference.AMSGrad(beta2=0.9)),
    "sgd": (fastnn.SGD(0.1), reference.SGD),
    "nesterov": (fastnn.SGD(0.1, nesterov=True), lambda: reference.SGD(nesterov=True)),
    "adam": (fastnn.Adam(0.02), reference.Adam),
    "adamw": (fastnn.AdamW(0.02), reference.AdamW),
    "rmsprop": (fastnn.RMSprop(0.02), reference.RMSprop),
    "adagrad": (fastnn.Adagrad(0.1), reference.Adagrad),
}


@each("name", CASES)
def test_first_steps_are_the_twins(name, path):
    problem, (optimizer, make) = Problem(), CASES[name]
    trainer, loss = problem.trained(optimizer)
    wanted, _, wanted_loss = problem.slowly(twin_update(make, optimizer.learning_rate))
    assert np.abs(wanted - problem.start).max() > 0.01
    np.testing.assert_allclose(trainer.parameters, wanted, rtol=1e-9, atol=1e-11)
    assert loss == pytest.approx(wanted_loss, rel=1e-9)


@each("name, make", [
    ("adadelta", lambda torch, p: torch.optim.Adadelta(p, lr=0.5)),
    ("adamax", lambda torch, p: torch.optim.Adamax(p, lr=0.02)),
    ("nadam", lambda torch, p: torch.optim.NAdam(p, lr=0.02)),
    ("rprop", lambda torch, p: torch.optim.Rprop(p, lr=0.02)),
    ("rprop with bounds", lambda torch, p: torch.optim.Rprop(
        p, lr=0.02, etas=(0.3, 1.5), step_sizes=(0.01, 0.03))),
    ("amsgrad", lambda torch, p: torch.optim.Adam(p, lr=0.02, betas=(0.9, 0.9), amsgrad=True)),
])
def test_first_steps_are_those_of_pytorch(name, make):
    torch = pytest.importorskip("torch")
    problem, (optimizer, _) = Problem(), CASES[name]
    w = torch.tensor(problem.start, requires_grad=True)
    theirs = make(torch, [w])
    for rows in problem.batches():
        w.grad = torch.tensor(problem.gradient(w.detach().numpy(), rows)[1])
        theirs.step()
    trainer, _ = problem.trained(optimizer)
    digits = 1e-6 if name == "nadam" else 1e-9  # PyTorch has the product of momenta in float32
    np.testing.assert_allclose(trainer.parameters, w.detach().numpy(), rtol=digits,
                               atol=1e-2 * digits)


def test_defaults_are_those_of_pytorch():
    torch = pytest.importorskip("torch")
    w = [torch.zeros(1, requires_grad=True)]
    for ours, theirs, names in (
            (fastnn.Adadelta(), torch.optim.Adadelta(w), {"rho": "rho", "eps": "eps"}),
            (fastnn.AdaMax(), torch.optim.Adamax(w), {"eps": "eps"}),
            (fastnn.Nadam(), torch.optim.NAdam(w), {"eps": "eps",
                                                     "momentum_decay": "momentum_decay"})):
        defaults = theirs.defaults
        assert ours.learning_rate == defaults["lr"]
        for mine, name in names.items():
            assert getattr(ours, mine) == defaults[name]
        if "betas" in defaults:
            assert (ours.beta1, ours.beta2) == tuple(defaults["betas"])
    defaults = torch.optim.Rprop(w).defaults
    ours = fastnn.Rprop()
    assert ours.learning_rate == defaults["lr"]
    assert (ours.eta_minus, ours.eta_plus) == tuple(defaults["etas"])
    assert (ours.step_min, ours.step_max) == tuple(defaults["step_sizes"])


def test_nadam_far_along():
    """Where the product of all momenta is below rounding, and no factor is taken any more."""
    from fastnn.core import _probes

    twin = reference.Nadam(beta1=0.99, momentum_decay=1.0)
    for step in (1, 2, 50, 400, 5000):
        found = _probes.coefficients("nadam", step, 0.1, (0.99, 0.999, 1e-8, 1.0))
        product = np.prod([twin.mu(i) for i in range(1, step + 1)])
        corrected = 0.1 * np.sqrt(1 - 0.999**step)
        ahead = twin.mu(step + 1)
        assert found[4] == pytest.approx(corrected * (1 - twin.mu(step)) / (1 - product), rel=1e-12)
        assert found[5] == pytest.approx(corrected * ahead / (1 - product * ahead), rel=1e-12)


# ---- names ----

def test_optimizers_by_name():
    X, y = np.random.default_rng(0).normal(size=(2, 60, 3)).astype("float32")
    public = {name: getattr(optimizers, name) for name in optimizers.__all__}
    assert set(BY_NAME.values()) == {*public.values()} - {fastnn.EMA, optimizers.Optimizer}
    page = (Path(__file__).parents[2] / "docs" / "optimizers.md").read_text(encoding="utf-8")
    for name, cls in BY_NAME.items():
        assert getattr(fastnn, cls.__name__) is public[cls.__name__] is cls
        assert f"| `{name}`" in page, "the table of optimizers"
        assert check_optimizer(name) == cls()
        by_name, by_class = (fastnn.MLP((3, 5, 5, 3), random_state=0) for _ in range(2))
        losses = by_name.fit(X, y, optimizer=name, epochs=2, batch_size=20).loss
        by_class.fit(X, y, optimizer=cls(), epochs=2, batch_size=20)
        assert by_name.parameters.tobytes() == by_class.parameters.tobytes(), name
        assert losses[1] != losses[0]


@each("make, error, words", [
    (lambda: check_optimizer("adamm"), ValueError, ["optimizer='adamm'", "adam", "muon"]),
    (lambda: check_optimizer(3), TypeError, ["optimizer=3", "name"]),
    (lambda: fastnn.EMA(fastnn.Adam(), decay=1), ValueError, ["decay=1", r"[0, 1)"]),
    (lambda: fastnn.EMA(fastnn.Adam(), decay=-0.1), ValueError, ["decay=-0.1"]),
    (lambda: fastnn.EMA("adamm"), ValueError, ["adamm"]),
    (lambda: fastnn.EMA(fastnn.EMA("adam")), ValueError, ["EMA"]),
    (lambda: fastnn.Muon(adam=fastnn.SGD()), TypeError, ["adam=SGD"]),
    (lambda: fastnn.Muon(steps=0), ValueError, ["steps=0"]),
    (lambda: fastnn.Muon(momentum=1), ValueError, ["momentum=1"]),
    (lambda: fastnn.Muon(adam=fastnn.Adam(layers={0: {}})), ValueError, ["adam.layers"]),
    (lambda: fastnn.Rprop(eta_plus=1), ValueError, ["eta_plus=1", "> 1"]),
    (lambda: fastnn.Rprop(step_min=3, step_max=2), ValueError, ["step_min=3", "step_max=2"]),
    (lambda: fastnn.Adam(amsgrad=1), TypeError, ["amsgrad=1"]),
    (lambda: fastnn.Adam(layers=[1]), TypeError, ["layers=[1]", "dict"]),
    (lambda: fastnn.Adam(layers={0: 0.1}), TypeError, ["layers[0]=0.1", "dict"]),
    (lambda: fastnn.Adam(layers={-1: {}}), ValueError, ["layer -1"]),
    (lambda: fastnn.Adam(layers={"a": {}}), ValueError, ["layer 'a'"]),
    (lambda: fastnn.Adam(layers={0: dict(lr=1)}), ValueError, ["layers[0]['lr']", "learning_rate"]),
    (lambda: fastnn.Adam(layers={0: dict(muon=True)}), ValueError, ["layers[0]['muon']"]),
    (lambda: fastnn.Adam(layers={0: dict(learning_rate=-1)}), ValueError, ["rate", ">= 0"]),
    (lambda: fastnn.Adam(layers={0: dict(max_norm=0)}), ValueError, ["max_norm", "> 0"]),
    (lambda: fastnn.Adam(layers={0: dict(learning_rate=1, learning_rate_factor=1)}), ValueError,
     ["one of them"]),
])
def test_what_is_refused(make, error, words):
    with pytest.raises(error) as caught:
        make()
    for word in words:
        assert word in str(caught.value), str(caught.value)


def test_layers_are_copied_and_compared():
    layers = {0: dict(learning_rate=0.1)}
    optimizer = fastnn.Adam(layers=layers)
    layers[0]["learning_rate"] = 5
    assert optimizer == fastnn.Adam(layers={0: dict(learning_rate=0.1)})
    assert optimizer != fastnn.Adam()
    assert hash(optimizer) == hash(fastnn.Adam())
    assert fastnn.EMA("adam") == fastnn.EMA(fastnn.Adam())
    assert repr(fastnn.EMA("adam")).startswith("EMA(optimizer=Adam(learning_rate=0.001")
