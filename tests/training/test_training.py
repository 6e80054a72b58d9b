"""Whole training runs against the twin, and the same bytes from any number of threads."""

import pickle

import numpy as np
import pytest
import reference
from each import each
from planning import rule, use_rules
from trainers import make_trainer
from training_cases import CASES

import fastnn
from fastnn.core.threads import single_threaded_blas

THREADS = (2, 3, 4, 8)


@pytest.fixture
def many_shards(monkeypatch):
    """Every batch is cut into shards, so that there is work for several threads."""
    use_rules(monkeypatch.setattr, shard_rows=0, block_rows=0, max_blocks=rule("max_shards"),
              min_shard_flops=0)


def assert_is_twins(trainer, losses, case):
    twin, wanted = case.run_twin()
    assert losses == pytest.approx(wanted, rel=1e-10, abs=1e-14)
    assert np.isfinite(losses).all()
    pairs = [*zip(trainer.weights, twin.weights, strict=True),
             *zip(trainer.biases, twin.biases, strict=True)]
    for got, expected in pairs:
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-10)
    assert any(np.abs(w - start).max() > 1e-3 for w, start in
               zip(trainer.weights, case.trainer().weights, strict=True))


@each("name", CASES)
def test_run_is_the_twins(name, path):
    case = CASES[name]
    trainer = case.trainer()
    losses = case.run(trainer)
    assert trainer.step >= 50
    assert_is_twins(trainer, losses, case)


@each("name", CASES)
def test_run_in_shards_is_the_twins_for_any_number_of_threads(name, many_shards, path):
    case = CASES[name]
    one = case.trainer()
    losses = case.run(one)
    assert one.plan.shards == rule("max_shards") or one.plan.batch < rule("max_shards")
    assert_is_twins(one, losses, case)
    for n_threads in THREADS:
        trainer = case.trainer(n_threads)
        assert trainer.plan.threads == min(n_threads, trainer.plan.shards)
        assert case.run(trainer) == losses
        assert trainer.team == trainer.plan.threads
        assert trainer.parameters.tobytes() == one.parameters.tobytes()
        for got, wanted in zip(trainer.optimizer_state, one.optimizer_state, strict=True):
            assert got.tobytes() == wanted.tobytes()


@each("name", ["sgd with momentum", "adam", "dropout", "sparse", "poisson"])
def test_float32(name, path):
    """Single precision follows the twin as far as its rounding allows: seldom it decides whether a
    relu passes, and moves some weights more than others. Worst of all cases: 1.4e-5."""
    case = CASES[name]
    trainer = case.trainer(dtype="float32")
    losses = case.run(trainer)
    twin, wanted = case.run_twin()
    assert losses == pytest.approx(wanted, rel=2e-4)
    for got, expected in zip(trainer.weights, twin.weights, strict=True):
        assert got.dtype == np.float32
        assert np.linalg.norm(got - expected) <= 5e-5 * np.linalg.norm(expected)


@each("dropout", [0.0, 0.3])
@each("repetition", range(2))
def test_threads_at_full_size(repetition, dropout, dtype, path):
    """Shards as they are planned, shuffling on: the same bytes, run after run."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(1500, 64)).astype(dtype), rng.integers(0, 10, 1500)
    results = []
    for n_threads in (1, *THREADS):
        net = fastnn.MLP((64, 100, 10), "relu", "softmax", dtype=dtype,
                         dropout=dropout, random_state=repetition, n_threads=n_threads)
        assert net.plan(200).shards > 1
        history = net.fit(X, y, epochs=4, batch_size=200, alpha=0.1)
        value, grad = net.loss_and_grad(X, y, alpha=0.1)
        results.append((net.parameters.tobytes(), history.loss, value, grad.tobytes(),
                        net.predict(X).tobytes(), [d.tobytes() for d in net.deltas(X, y)]))
    for other in results[1:]:
        assert other == results[0]


def test_rows_outside_the_data_are_refused():
    case = CASES["adam"]
    trainer = case.trainer()
    trainer.set_data(*case.data())
    for order in ([0, case.rows], [-1]):
        with pytest.raises(ValueError, match="order.*0..52"):
            trainer.run_epoch(np.array(order), learning_rate=0.1)


# ---- going on ----


@each("name", ["sgd with momentum", "adam", "dropout", "all together"])
def test_resumed_run_is_the_uninterrupted_one(name, path):
    """Parameters, optimizer state and step number are all that a run needs to go on."""
    case = CASES[name]
    whole = case.trainer()
    losses = case.run(whole)
    first = case.trainer()
    begun = case.run(first, slice(0, 4))
    saved = pickle.dumps((first.parameters, first.optimizer_state, first.step))

    parameters, states, step = pickle.loads(saved)
    second = case.trainer()
    second.parameters[:] = parameters
    second.set_state(states, step)
    assert begun + case.run(second, slice(4, None)) == losses
    assert second.parameters.tobytes() == whole.parameters.tobytes()
    assert second.step == whole.step


def test_steps_are_counted():
    case = CASES["sgd with momentum"]
    trainer = case.trainer()
    assert trainer.step == 0
    case.run(trainer, slice(0, 2))
    assert trainer.step == 12


def test_workspace_is_counted_and_kept():
    """All memory is taken when the trainer is made."""
    case = CASES["wide"]
    trainer = case.trainer()
    before = trainer.workspace_nbytes
    rows = trainer.plan.shard_rows
    assert before >= 8 * (rows * (40 + 2 * (65 + 33 + 17)) + trainer.plan.shards
                          * trainer.parameters.size)
    case.run(trainer)
    assert trainer.workspace_nbytes == before


def test_batch_without_weight_is_passed_over(path):
    """Every sample weight of a batch is 0: it has no gradient, and the run goes on."""
    case = CASES["sgd with momentum"]
    X, y, _ = case.data()
    weights = np.ones(len(X))
    weights[10:20] = 0
    trainer = case.trainer()
    trainer.set_data(X, y, weights)
    with single_threaded_blas():
        loss = trainer.run_epoch(learning_rate=0.1)
    assert np.isfinite(loss)
    assert trainer.step == 5
    other = case.trainer()
    other.set_data(X, y)
    with single_threaded_blas():
        other.run_epoch(np.r_[0:10, 20:53], learning_rate=0.1)
    assert trainer.parameters.tobytes() == other.parameters.tobytes()


# ---- MLP.fit ----


def fit_data(dtype="float64"):
    rng = np.random.default_rng(0)
    return rng.normal(size=(53, 7)).astype(dtype), rng.integers(0, 3, 53)


def test_fit_is_the_twins():
    """The rows as they lie, last batch short."""
    X, y = fit_data()
    net = fastnn.MLP((7, 12, 3), "tanh", "softmax", dtype="float64", random_state=0)
    twin = reference.Twin.of(net)
    history = net.fit(X, y, optimizer=fastnn.Adam(0.01), epochs=9, batch_size=10, shuffle=False,
                      alpha=0.1)
    losses = reference.train(twin, X, y, loss_name="cross_entropy", optimizer=reference.Adam(),
                             orders=[np.arange(53)] * 9, batch_size=10,
                             learning_rates=[0.01] * 9, alpha=0.1)
    assert history.loss == pytest.approx(losses, rel=1e-10, abs=0)
    for got, wanted in zip(net.get_weights(), twin.parameters(), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-10)


def test_fit_shuffles_every_epoch_anew():
    """A batch of all rows does not care about their order, smaller batches do."""
    X, y = fit_data()

    def losses(shuffle, batch_size):
        net = fastnn.MLP((7, 12, 3), "tanh", "softmax", dtype="float64", random_state=0)
        return net.fit(X, y, epochs=3, batch_size=batch_size, shuffle=shuffle).loss

    assert losses(True, 10)[0] != losses(False, 10)[0]
    assert losses(True, 53) == pytest.approx(losses(False, 53), rel=1e-12, abs=0)


def test_learning_rate_schedule():
    X, y = fit_data()
    seen = []

    def schedule(epoch):
        seen.append(epoch)
        return 0.1 if epoch < 2 else 0.0

    net = fastnn.MLP((7, 12, 3), "tanh", "softmax", dtype="float64", random_state=0)
    states = []
    net.fit(X, y, optimizer=fastnn.SGD(schedule), epochs=4,
            callback=lambda epoch, net, history: states.append(net.parameters.copy()))
    assert seen == [0, 1, 2, 3]
    assert (states[1] == states[3]).all()
    assert not (states[0] == states[1]).all()


def test_each_fit_starts_with_fresh_optimizer_state():
    X, y = fit_data()

    def net():
        return fastnn.MLP((7, 12, 3), "tanh", "softmax", dtype="float64", random_state=0)

    once, twice = net(), net()
    once.fit(X, y, epochs=2, shuffle=False)
    twice.fit(X, y, epochs=1, shuffle=False)
    moved = twice.parameters.copy()
    twice.fit(X, y, epochs=1, shuffle=False)
    # the first step of a fresh Adam moves every weight with a gradient by the learning rate
    step = np.abs(twice.parameters - moved)
    np.testing.assert_allclose(step[step > 0], 1e-3, rtol=1e-2)
    assert not (once.parameters == twice.parameters).all()


# ---- divergence ----


@pytest.mark.parametrize("n_threads", [1, 2])
def test_divergence_keeps_the_last_finite_weights(n_threads, dtype):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(400, 64)).astype(dtype), rng.normal(size=(400, 10)).astype(dtype)

    def net():
        return fastnn.MLP((64, 100, 10), "relu", dtype=dtype, random_state=0, n_threads=n_threads)

    def rate(epoch):
        return 0.01 if epoch < 3 else 1e36

    diverged, good = net(), net()
    with pytest.warns(fastnn.DivergenceWarning, match="epoch 3.*learning rate") as record:
        history = diverged.fit(X, y, optimizer=fastnn.SGD(rate), epochs=50, batch_size=50)
    assert record[0].filename == __file__
    assert len(history.loss) == 4
    assert np.isfinite(history.loss).tolist() == [True, True, True, False]
    good.fit(X, y, optimizer=fastnn.SGD(0.01), epochs=3, batch_size=50)
    assert diverged.parameters.tobytes() == good.parameters.tobytes()
    assert issubclass(fastnn.DivergenceWarning, RuntimeWarning)
    # and the model is as usable as before, with other orders of rows than those that failed
    for one in (diverged, good):
        one.fit(X, y, optimizer=fastnn.SGD(0.01), epochs=1, batch_size=200)
    assert np.isfinite(diverged.predict(X)).all()
    assert diverged.parameters.tobytes() != good.parameters.tobytes()


def test_divergence_in_the_first_epoch_keeps_the_initial_weights():
    X, y = fit_data()
    net = fastnn.MLP((7, 12, 1), "relu", dtype="float64", random_state=0)
    start = net.parameters.copy()
    with pytest.warns(fastnn.DivergenceWarning, match="epoch 0"):
        net.fit(X, 1e3 * y, optimizer=fastnn.SGD(1e200), epochs=5, batch_size=5)
    assert net.parameters.tobytes() == start.tobytes()


def test_trainer_stops_at_the_first_batch_that_diverges(path):
    case = CASES["squared error"]
    X, y, _ = case.data()
    X[25] = np.nan
    for n_threads in (1, 4):
        trainer, good = case.trainer(n_threads), case.trainer()
        trainer.set_data(X, y)
        good.set_data(X, y)
        with single_threaded_blas():
            assert np.isnan(trainer.run_epoch(learning_rate=0.1, stop_if_diverged=True))
            good.run_epoch(np.arange(20), learning_rate=0.1)
        assert trainer.parameters.tobytes() == good.parameters.tobytes()
        assert trainer.step == 2


def test_trainer_without_optimizer():
    trainer = make_trainer((2, 1), (), "identity", "squared_error", dtype="float64", optimizer=None,
                           batch_size=1)
    trainer.set_data(np.ones((1, 2)), np.ones((1, 1)))
    with pytest.raises(ValueError, match="optimizer"):
        trainer.run_epoch(learning_rate=0.1)


@each("break_it", [
    lambda X: setattr(X, "indptr", X.indptr[:3]),
    lambda X: setattr(X, "indices", X.indices + 7),
    lambda X: setattr(X, "indptr", X.indptr + 1000),
])
def test_broken_sparse_matrix_is_refused(break_it):
    """Indices are followed unchecked in the loop, so none may lead outside."""
    case = CASES["sparse"] if "sparse" in CASES else next(c for c in CASES.values() if c.sparse)
    X, y, _ = case.data()
    X = X.copy()
    break_it(X)
    with pytest.raises(ValueError, match=r"X\.ind"):
        case.trainer().set_data(X, y)


def test_a_shuffled_order_cannot_be_changed():
    """It is followed unchecked."""
    case = CASES["relu"]
    trainer = case.trainer()
    case.run(trainer)
    order = trainer.shuffle(1, 0)
    assert sorted(order) == list(range(len(order)))
    with pytest.raises(ValueError):
        order[:] = 10**12
