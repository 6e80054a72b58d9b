"""Dropout of the inputs, noise on them, mixup: against the slow twin, and their statistics."""

import numpy as np
import pytest
import reference
import scipy.sparse as sp
from each import each
from planning import use_rules

import fastnn
from fastnn.network.spec import NetworkSpec
from fastnn.training._trainer import Trainer
from fastnn.training.inputs import InputChanges, check_inputs, mixing_shares

SETTINGS = {
    "dropout": {"dropout": 0.3}, "noise": {"noise": 0.4}, "mixup": {"mixup": 0.5},
    "all": {"dropout": 0.2, "noise": 0.1, "mixup": 2.0},
}
SIZES = {"feature-major": (7, 9, 3), "row-major": (150, 9, 3)}
ROWS, BATCH = 50, 16
SEED = 0x9E3779B97F4A7C15  # more than 63 bits


def data(layout, dtype="float64", target="labels"):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(ROWS, SIZES[layout][0])).astype(dtype)
    if target == "labels":
        y = rng.integers(0, 3, ROWS).astype(np.int32)
    else:
        y = rng.normal(size=(ROWS, 3)).astype(dtype)
    return X, y, rng.uniform(0.5, 2, ROWS).astype(dtype)


def trainer(layout, dtype, changes, target="labels", n_threads=1):
    output, loss = ("softmax", "cross_entropy") if target == "labels" else (
        "identity", "squared_error")
    spec = NetworkSpec.chain(SIZES[layout], "tanh", output, dtype=dtype)
    made = Trainer(spec, loss, optimizer=fastnn.SGD(0.1), batch_size=BATCH, seed=SEED,
                   n_threads=n_threads, inputs=InputChanges(**changes))
    assert made.plan.layout == layout
    net = fastnn.MLP(SIZES[layout], "tanh", output, dtype=dtype, random_state=1)
    made.parameters[:] = net.parameters
    return made


@each("name", SETTINGS)
@each("layout", SIZES)
@each("target", ["labels", "values"])
@each("weighted", [False, True])
def test_steps_are_those_of_the_twin(name, layout, target, weighted, dtype):
    X, y, weight = data(layout, dtype, target)
    weight = weight if weighted else None
    made = trainer(layout, dtype, SETTINGS[name], target)
    twin = reference.Twin.of(made)
    made.set_data(X, y, weight)
    orders = [np.random.default_rng(i).permutation(ROWS) for i in range(3)]
    losses = [made.run_epoch(order, learning_rate=0.1) for order in orders]
    expected = reference.train(
        twin, X, reference.one_hot(y, 3) if target == "labels" else y, loss_name=made.loss,
        optimizer=reference.SGD(), orders=orders, batch_size=BATCH, learning_rates=[0.1] * 3,
        sample_weight=weight, seed=SEED, inputs=SETTINGS[name])
    tolerance = 1e-10 if dtype == "float64" else 2e-4
    np.testing.assert_allclose(losses, expected, rtol=tolerance)
    for mine, theirs in zip(made.layout.views(made.parameters), twin.parameters(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance)


@each("name", SETTINGS)
@each("layout", SIZES)
def test_threads_change_nothing(name, layout, monkeypatch):
    use_rules(monkeypatch.setattr, epoch_flops=0, min_shard_flops=0, shard_rows=1, block_rows=2)
    X, y, weight = data(layout, "float32")
    found = set()
    for n_threads in (1, 2, 3, 8):
        made = trainer(layout, "float32", SETTINGS[name], n_threads=n_threads)
        made.set_data(X, y, weight)
        for epoch in range(2):
            made.run_epoch(made.shuffle(5, epoch), learning_rate=0.1)
        found.add(made.parameters.tobytes())
        assert made.plan.shards > 1
    assert len(found) == 1


@each("name", SETTINGS)
@each("layout", SIZES)
def test_ways_to_give_the_rows(name, layout, tmp_path):
    """In order or through an order of rows, as a CSR matrix, as numbers of another type."""
    X, y, _ = data(layout)
    X = np.rint(X * 3).astype("float32")  # some are 0
    small = np.memmap(tmp_path / "X", np.int8, "w+", shape=X.shape)
    small[:] = X
    found = {}
    for way, rows in (("as they lie", X), ("order", X), ("sparse", sp.csr_matrix(X)),
                      ("map", small)):
        made = trainer(layout, "float32", SETTINGS[name])
        made.set_data(rows, y, converts=True)
        made.run_epoch(np.arange(ROWS) if way == "order" else None, learning_rate=0.1)
        found[way] = made.parameters.tobytes()
    assert len(set(found.values())) == 1


@each("name", SETTINGS)
def test_losses_and_gradients_do_not_know_them(name):
    X, y, weight = data("row-major")
    found = []
    for changes in ({}, SETTINGS[name]):
        made = trainer("row-major", "float64", changes)
        made.set_data(X, y, weight)
        grad = made.layout.allocate()
        found.append((made.loss_and_grad(grad), grad.tobytes(),
                      b"".join(delta.tobytes() for delta in made.deltas())))
    assert found[0] == found[1]


def changed_in_one_step(changes, rows=400, n_in=200, step=0):
    """Inputs as a step sees them: a linear net's gradient for one output per row is that row."""
    X = np.ones((rows, n_in))
    spec = NetworkSpec.chain((n_in, rows), dtype="float64")
    made = Trainer(spec, "squared_error", optimizer=fastnn.SGD(1.0, momentum=0.0), batch_size=rows,
                   seed=SEED, inputs=InputChanges(**changes))
    made.set_data(X, np.eye(rows))
    for _ in range(step):
        made.run_epoch(learning_rate=0.0)
    # W = 0: dW = -X' / (rows * rows)
    made.run_epoch(learning_rate=float(rows * rows))
    return made.weights[0].T.copy()


def test_statistics_of_dropout():
    seen = changed_in_one_step({"dropout": 0.25})
    np.testing.assert_allclose(np.unique(seen.round(9)), [0, 4 / 3], atol=1e-8)
    n = seen.size
    assert abs((seen == 0).mean() - 0.25) < 5 * np.sqrt(0.25 * 0.75 / n)
    assert abs(seen.mean() - 1) < 5 * np.sqrt(1 / 3 / n)  # the expectation stays
    other = changed_in_one_step({"dropout": 0.25}, step=1)
    assert abs((seen == other).mean() - 0.625) < 0.01  # another mask in each step


def test_statistics_of_noise():
    from scipy import stats

    seen = (changed_in_one_step({"noise": 0.5}) - 1) / 0.5
    n = seen.size
    assert abs(seen.mean()) < 5 / np.sqrt(n)
    assert abs(seen.var() - 1) < 5 * np.sqrt(2 / n)
    assert abs((seen**4).mean() - 3) < 5 * np.sqrt(96 / n)
    assert stats.kstest(seen.ravel(), "norm").pvalue > 1e-4
    for shifted in (seen[1:] * seen[:-1], seen[:, 1:] * seen[:, :-1], seen[:, 64:] * seen[:, :-64]):
        assert abs(shifted.mean()) < 5 / np.sqrt(shifted.size)
    other = (changed_in_one_step({"noise": 0.5}, step=1) - 1) / 0.5
    assert abs((seen * other).mean()) < 5 / np.sqrt(n)


@each("alpha", [0.2, 0.5, 1.0, 5.0])  # below, many of them round to 1
def test_shares_of_mixup(alpha):
    from scipy import stats

    shares = mixing_shares(alpha, SEED, 0, 4000)
    assert ((shares >= 0) & (shares <= 1)).all()
    assert stats.kstest(shares, stats.beta(alpha, alpha).cdf).pvalue > 1e-4
    parts = np.concatenate([mixing_shares(alpha, SEED, 0, 7), mixing_shares(alpha, SEED, 7, 93)])
    assert (parts == shares[:100]).all()  # by step, however epochs are cut
    assert (mixing_shares(alpha, SEED + 1, 0, 100) != shares[:100]).any()


# ---- MLP.fit ----

OPTIONS = {"dropout": {"input_dropout": 0.3}, "noise": {"input_noise": 0.4},
           "mixup": {"mixup": 0.5},
           "all": {"input_dropout": 0.2, "input_noise": 0.1, "mixup": 2.0}}


def net(layout="row-major"):
    return fastnn.MLP(SIZES[layout], "tanh", "softmax", random_state=0)


@each("name", OPTIONS)
@each("layout", SIZES)
def test_resumed_fit(name, layout, tmp_path):
    X, y, _ = data(layout, "float32")
    path = tmp_path / f"{name}{layout}"
    whole, halves = net(layout), net(layout)
    settings = {"batch_size": BATCH, **OPTIONS[name]}
    whole.fit(X, y, epochs=4, **settings)
    halves.fit(X, y, epochs=2, checkpoint=path, **settings)
    halves = net(layout)
    halves.fit(X, y, epochs=4, checkpoint=path, **settings)
    assert whole.parameters.tobytes() == halves.parameters.tobytes()
    changed = next(iter(OPTIONS[name]))
    with pytest.raises(fastnn.ModelFormatError, match=changed):
        net(layout).fit(X, y, epochs=4, checkpoint=path, **{**settings, changed: 0.0})


def test_unused_they_change_nothing():
    X, y, _ = data("row-major", "float32")
    plain, unused = net(), net()
    plain.fit(X, y, epochs=2)
    unused.fit(X, y, epochs=2, input_dropout=0, input_noise=0.0, mixup=0)
    assert plain.parameters.tobytes() == unused.parameters.tobytes()


@each("name, value, rule", [
    ("input_dropout", 1.0, r"in \[0, 1\)"), ("input_dropout", -0.1, r"in \[0, 1\)"),
    ("input_noise", -1, ">= 0"), ("input_noise", np.inf, "finite"), ("mixup", -0.2, ">= 0"),
    ("mixup", np.nan, "finite")])
def test_wrong_values_are_named(name, value, rule):
    X, y, _ = data("row-major")
    with pytest.raises(ValueError, match=f"{name}=.*{rule}"):
        net().fit(X, y, **{name: value})


def test_wrong_types_are_named():
    with pytest.raises(TypeError, match="mixup='beta' must be a number"):
        check_inputs(0.0, 0.0, "beta")
