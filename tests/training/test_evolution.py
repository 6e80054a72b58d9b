"""The evolution strategy: its estimate, its bytes, what it learns, and how a fit of it goes on."""

import os
import signal
import threading
import time

import numpy as np
import pytest
from sklearn.datasets import load_iris

import fastnn
from fastnn import EvolutionStrategy, MLPClassifier, MLPRegressor
from fastnn.training import evolution

BITS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], float)
XOR = np.array([[0], [1], [1], [0]], float)


def assert_no_helpers():
    """No thread of a strategy is left. One that was just being started when the signal came ends by
    itself, a moment later."""
    deadline = time.monotonic() + 30
    while any(thread.name == "fastnn evolution" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)



@pytest.fixture
def many_threads(monkeypatch):
    """As many threads as are allowed, however small the work."""
    monkeypatch.setattr(evolution, "MEMBER_FLOPS", 0)
    monkeypatch.setattr(evolution, "THREAD_FLOPS", 1)


def noise_of(seed, generation, pair, size, dtype=float):
    bits = np.random.Philox(key=np.array([seed, generation], np.uint64),
                            counter=np.array([0, 0, 0, pair], np.uint64))
    return np.random.Generator(bits).standard_normal(size, dtype)


# ---- the estimate ----

def test_a_generation_by_hand():
    """One step of a neuron: noise, ranks, estimate and Adam's step in NumPy."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 3)), rng.normal(size=(30, 1))
    net = fastnn.MLP((3, 1), dtype="float64", random_state=0)
    start, key = net.parameters.copy(), net._key(0, 0)
    strategy = EvolutionStrategy(0.1, population=6, sigma=0.2)
    first = net.loss(X, y)
    history = net.fit(X, y, optimizer=strategy, epochs=1)
    assert history.loss == [pytest.approx(first, rel=1e-14)]  # of the rows in another order

    noise = np.zeros((3, start.size))
    for pair in range(3):
        noise[pair] = noise_of(key, 0, pair, start.size)
    noise[:, 4:] = 0  # the gaps of the layout
    losses = []
    for sign in (1, -1):
        for row in noise:
            w = start + sign * 0.2 * row
            losses.append(0.5 * ((X @ w[:3] + w[3] - y[:, 0]) ** 2).mean())
    ranks = (rankdata(losses) - 1) / 5 - 0.5
    gradient = ((ranks[:3] - ranks[3:])[:, None] * noise).sum(axis=0) / (6 * 0.2)
    wanted = start - 0.1 * gradient / (np.abs(gradient) + 1e-8)
    np.testing.assert_allclose(net.parameters, wanted, rtol=1e-12, atol=1e-15)


def rankdata(values):
    """As that of scipy.stats, which takes half a second to import: 1 is the least."""
    values = np.asarray(values)
    below = (values < values[:, None]).sum(axis=1)
    equal = (values == values[:, None]).sum(axis=1)
    return below + (equal + 1) / 2


def test_ranks():
    """Ties share their mean; what is not finite is worst; only the order counts."""
    ranks = evolution.centred_ranks
    np.testing.assert_allclose(ranks(np.array([3.0, 1.0, 2.0])), [0.5, -0.5, 0])
    np.testing.assert_allclose(ranks(np.array([7.0, 7.0, 7.0, 7.0])), [0, 0, 0, 0])
    np.testing.assert_allclose(ranks(np.array([1.0, 5.0, 5.0, 9.0])), [-0.5, 0, 0, 0.5])
    np.testing.assert_allclose(ranks(np.array([np.nan, 5.0, -np.inf])), [0.25, -0.5, 0.25])
    values = np.random.default_rng(0).integers(0, 9, 40).astype(float)
    np.testing.assert_allclose(ranks(values), (rankdata(values) - 1) / 39 - 0.5)
    np.testing.assert_array_equal(ranks(values), ranks(np.exp(3 * values)))


def test_the_estimate_points_along_the_gradient():
    """With small sigma and many members, up to its length."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(50, 4)), rng.normal(size=(50, 1))
    net = fastnn.MLP((4, 5, 1), "tanh", dtype="float64", random_state=0)
    _, grad = net.loss_and_grad(X, y)
    strategy = EvolutionStrategy(population=1000, sigma=1e-3)
    mask = evolution.trainable_mask(net._layout)
    noise, losses = np.empty((500, grad.size)), []
    source, start = evolution.Noise(3, mask), net.parameters.copy()
    for pair, row in enumerate(noise):
        source.fill(row, 0, pair)
    for sign in (1, -1):
        for row in noise:
            net.parameters[:] = start + sign * 1e-3 * row
            losses.append(net.loss(X, y))
    found = strategy.gradient(np.array(losses), noise, np.empty_like(grad))
    cosine = found @ grad / np.linalg.norm(found) / np.linalg.norm(grad)
    assert cosine > 0.95
    assert (found[mask == 0] == 0).all()


def test_noise_is_that_of_its_pair():
    """Whatever was drawn before it."""
    source, row = evolution.Noise(2**64 - 1, np.ones(7)), np.empty(7)
    for generation, pair in ((0, 0), (5, 3), (0, 1), (5, 3)):
        source.fill(row, generation, pair)
        assert row.tobytes() == noise_of(2**64 - 1, generation, pair, 7).tobytes()
    single = np.empty(9, np.float32)
    evolution.Noise(1, np.ones(9, np.float32)).fill(single, 2, 4)
    assert single.tobytes() == noise_of(1, 2, 4, 9, np.float32).tobytes()


# ---- the same bytes ----

@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_same_bytes_for_any_number_of_threads(dtype, many_threads):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(230, 12)), rng.integers(0, 3, 230)
    weight, found = rng.uniform(0.5, 2, 230), set()
    for n_threads in (1, 2, 3, 8):
        net = fastnn.MLP((12, 20, 3), "gelu", "softmax", dtype=dtype, random_state=0,
                         n_threads=n_threads)
        loss = net._bound("cross_entropy")
        trainer = net._trainer(net._check_data(X, y, None, loss), loss, 0.0, net.parameters,
            optimizer=EvolutionStrategy())
        assert len(trainer.members) == n_threads
        history = net.fit(X, y, optimizer=EvolutionStrategy(population=10), epochs=4,
                          batch_size=100, alpha=0.01, sample_weight=weight)
        found.add((net.parameters.tobytes(), tuple(history.loss)))
    assert len(found) == 1


def test_threads_only_where_they_pay():
    def threads(sizes, rows, population=50):
        spec = fastnn.NetworkSpec.chain(sizes)
        return len(evolution.Population(spec, "squared_error", batch_size=rows, n_threads=8,
                                        optimizer=EvolutionStrategy(population=population)).members)

    assert threads((2, 4, 1), 4) == 1
    assert threads((2, 4, 1), 4, 5000) == 1
    assert threads((100, 100, 1), 200) == 8
    assert threads((100, 100, 1), 200, population=2) <= 2


def test_other_seeds_and_settings_are_other_fits():
    found = set()
    for seed, settings in ((0, {}), (1, {}), (0, {"population": 52}), (0, {"sigma": 0.06}),
                           (0, {"learning_rate": 0.03}), (0, {"beta1": 0.5})):
        net = fastnn.MLP((2, 4, 1), "tanh", "sigmoid", random_state=seed, initializer="zeros")
        net.fit(BITS, XOR, optimizer=EvolutionStrategy(**settings), epochs=3)
        found.add(net.parameters.tobytes())
    assert len(found) == 6


def test_fits_go_on_and_are_other_ones():
    """A second fit draws other noise."""
    net = fastnn.MLP((2, 4, 1), "tanh", "sigmoid", random_state=0)
    start = net.get_weights()
    net.fit(BITS, XOR, optimizer=EvolutionStrategy(), epochs=3)
    first = net.parameters.copy()
    net.set_weights(start)
    net.fit(BITS, XOR, optimizer=EvolutionStrategy(), epochs=3)
    assert not np.array_equal(net.parameters, first)


def test_threads_that_fail_end_the_fit(many_threads, monkeypatch):
    calls, enough = [], threading.Event()

    def fill(self, row, generation, pair):
        calls.append(threading.get_ident())
        if threading.current_thread() is not threading.main_thread():
            enough.set()
            raise MemoryError("for a test")
        enough.wait(10)
        row[:] = 0

    monkeypatch.setattr(evolution.Noise, "fill", fill)
    net = fastnn.MLP((2, 4, 1), "tanh", "sigmoid", random_state=0, n_threads=2)
    before = net.parameters.tobytes()
    with pytest.raises(MemoryError, match="for a test"):
        net.fit(BITS, XOR, optimizer=EvolutionStrategy(), epochs=3)
    assert net.parameters.tobytes() == before
    assert_no_helpers()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers")
def test_ctrl_c_keeps_the_last_generation(many_threads):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(2000, 30)), rng.normal(size=(2000, 1))
    for n_threads in (1, 3):
        net = fastnn.MLP((30, 50, 1), "tanh", random_state=0, n_threads=n_threads)
        kept = [net.parameters.tobytes()]

        def callback(epoch, net, history, kept=kept):
            kept.append(net.parameters.tobytes())
            if epoch == 1:
                signal.setitimer(signal.ITIMER_REAL, 0.03)

        handler = signal.signal(signal.SIGALRM, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                net.fit(X, y, optimizer=EvolutionStrategy(), epochs=10**6, batch_size=2000,
                        callback=callback)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, handler)
        assert net.parameters.tobytes() == kept[-1] and len(kept) > 2
        assert_no_helpers()


# ---- what it learns ----

@pytest.mark.parametrize("activation, sigma", [("tanh", 0.1), ("step", 0.3)])
def test_xor(activation, sigma):
    """With threshold units too, through which no gradient comes."""
    net = fastnn.MLP((2, 4, 1), activation, "sigmoid", random_state=1)
    history = net.fit(BITS, XOR, optimizer=EvolutionStrategy(0.1, sigma=sigma), epochs=200)
    assert (net.predict(BITS) > 0.5).tolist() == (XOR > 0.5).tolist()
    assert history.loss[-1] < 0.1 * history.loss[0]


def test_errors_themselves_are_minimised():
    """Step output and squared error: half the share of wrong rows."""
    ages = np.arange(18, 71.0).reshape(-1, 1)
    y = (ages >= 42).astype(float)
    net = fastnn.MLP((1, 1), output="step", dtype="float64", random_state=0)
    history = net.fit((ages - 44) / 15, y, loss="squared_error", epochs=100,
                      optimizer=EvolutionStrategy(0.2, sigma=0.3))
    assert history.loss[0] > 0.2 and history.loss[-1] == 0
    assert (net.predict((ages - 44) / 15) == y).all()


def test_minibatches_and_schedules():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    y = X @ [[1.0], [-2.0], [0.5]] + 0.3
    net = fastnn.MLP((3, 1), dtype="float64", random_state=0)
    rates = []

    def falling(epoch):
        rates.append(0.1 * 0.9**epoch)
        return rates[-1]

    history = net.fit(X, y, optimizer=EvolutionStrategy(falling), epochs=40, batch_size=64,
                      validation_data=(X[:50], y[:50]))
    assert rates == [0.1 * 0.9**epoch for epoch in range(40)]
    assert len(history.val_loss) == 40 and history.val_loss[-1] < 1e-3
    np.testing.assert_allclose(net.weights[0].ravel(), [1, -2, 0.5], atol=0.02)


def test_rates_of_each_generation():
    """An array of rates: no step where it is 0."""
    net = fastnn.MLP((2, 1), random_state=0)
    info = net._bound("squared_error")
    data = net._check_data(BITS, XOR, None, info)
    trainer = net._trainer(data, info, 0.0, net.parameters, optimizer=EvolutionStrategy(),
                           batch_size=2)
    trainer.run_epoch(learning_rate=np.array([0.0, 0.0]))
    assert trainer.parameters.tobytes() == net.parameters.tobytes() and trainer.step == 2
    trainer.run_epoch(learning_rate=np.array([0.0, 0.1]))
    assert trainer.parameters.tobytes() != net.parameters.tobytes()


def test_divergence():
    net = fastnn.MLP((2, 1), dtype="float64", random_state=0)
    before = net.parameters.tobytes()
    with np.errstate(all="ignore"), pytest.warns(fastnn.DivergenceWarning):
        net.fit(BITS, XOR * 1e200, optimizer=EvolutionStrategy(), epochs=3)
    assert net.parameters.tobytes() == before


# ---- checkpoints ----

@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_killed_fits_go_on(kills, tmp_path):
    path, epochs = tmp_path / "x.checkpoint", 60
    rng = np.random.default_rng(kills)
    X, y = rng.normal(size=(200, 5)), rng.integers(0, 3, 200)

    def fit(**settings):
        net = fastnn.MLP((5, 8, 3), "step", "softmax", random_state=0, n_threads=1)
        history = net.fit(X, y, optimizer=EvolutionStrategy(population=20), epochs=epochs,
                          batch_size=50, **settings)
        return net.parameters.tobytes(), history.loss

    wanted = fit()
    for _ in range(kills):
        pid = os.fork()
        if pid == 0:
            try:
                fit(checkpoint=path, checkpoint_seconds=0)
            finally:
                os._exit(0)
        time.sleep(rng.uniform(0, 0.25))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert fit(checkpoint=path, checkpoint_seconds=0) == wanted
    assert path.exists()


def test_checkpoints_name_what_differs(tmp_path):
    path = tmp_path / "x.checkpoint"

    def fit(optimizer):
        fastnn.MLP((2, 3, 1), random_state=0).fit(BITS, XOR, optimizer=optimizer, epochs=2,
                                                  checkpoint=path)

    fit(EvolutionStrategy())
    with pytest.raises(fastnn.ModelFormatError, match=r"optimizer.sigma was 0.05, is 0.1 now"):
        fit(EvolutionStrategy(sigma=0.1))
    with pytest.raises(fastnn.ModelFormatError, match="another fit: optimizer"):
        fit(fastnn.Adam(0.02))


# ---- estimators ----

def test_classifier():
    X, y = load_iris(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    settings = {"solver": "es", "learning_rate_init": 0.05, "random_state": 0, "max_iter": 100}
    model = MLPClassifier((8,), n_threads=1, **settings).fit(X, y)
    assert model.score(X, y) > 0.95
    other = MLPClassifier((8,), n_threads=2, **settings).fit(X, y)
    assert model.coefs_[0].tobytes() == other.coefs_[0].tobytes()
    assert model.loss_curve_ == other.loss_curve_
    stopped = MLPClassifier((8,), early_stopping=True, n_iter_no_change=3, **settings).fit(X, y)
    assert stopped.n_iter_ < 100


def test_regressor_with_threshold_units_and_partial_fit():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (300, 1))
    y = (X[:, 0] > 0.3) * 1.0
    model = MLPRegressor(hidden_layer_sizes=(6,), activation="step", solver="es",
                         learning_rate_init=0.05, random_state=0)
    for _ in range(60):
        model.partial_fit(X, y)
    assert model.score(X, y) > 0.8
    assert model.t_ == 60 * 300


# ---- functions instead of data ----

def test_maximize_a_vector():
    start = np.zeros(2)
    seen = []

    def function(x):
        assert x.dtype == np.float64
        return -((x - [1, -2]) ** 2).sum()

    def callback(generation, found, values):
        seen.append((generation, found.copy(), values.copy()))

    found, values = EvolutionStrategy(0.1).maximize(function, start, generations=150,
                                                    random_state=0, callback=callback)
    np.testing.assert_allclose(found, [1, -2], atol=0.05)
    assert (start == 0).all() and len(values) == 150
    assert [generation for generation, *_ in seen] == list(range(150))
    np.testing.assert_array_equal(seen[-1][1], found)
    assert values[7] == seen[7][2].mean() and seen[7][2].shape == (50,)
    again, _ = EvolutionStrategy(0.1).maximize(function, start, generations=150, random_state=0)
    assert again.tobytes() == found.tobytes()


def test_maximize_steps_as_a_fit_does():
    """The loss of a network, given as a function, in place of data."""
    X, y = np.random.default_rng(0).normal(size=(2, 40, 3))
    nets = [fastnn.MLP((3, 4, 3), "tanh", dtype="float64", random_state=0) for _ in range(2)]
    strategy = EvolutionStrategy(0.05, population=20)
    nets[0].fit(X, y, optimizer=strategy, epochs=8)

    class Keyed(evolution.Noise):
        def __init__(self, seed, mask):
            super().__init__(nets[0]._key(0, 0), mask)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evolution, "Noise", Keyed)
        found, _ = strategy.maximize(lambda net: -net.loss(X, y), nets[1], generations=8)
    assert found is nets[1]
    np.testing.assert_allclose(nets[1].parameters, nets[0].parameters, rtol=1e-9, atol=1e-12)


def test_a_controller():
    """A pole that a network pushes to the middle: no gradient comes from the simulation."""
    def survival(net):
        total = 0
        for start in (-0.6, 0.2, 0.7):
            place, speed = start, 0.0
            for _ in range(40):
                push = 1 if net.predict(np.array([[place, speed]], np.float32))[0, 0] > 0 else -1
                speed += 0.05 * push + 0.02 * place
                place += speed
                total += abs(place) < 0.5
        return total

    net = fastnn.MLP((2, 1), random_state=0, initializer="zeros")
    before = survival(net)
    found, values = EvolutionStrategy(0.2, population=16, sigma=0.5).maximize(
        survival, net, generations=15, random_state=0)
    assert found is net and values[-1] > values[0]
    assert survival(net) > before + 40


def test_maximize_ends_when_told():
    def callback(generation, found, values):
        if generation == 4:
            raise fastnn.StopFit

    _, values = EvolutionStrategy().maximize(lambda x: 0.0, [1.0, 2.0], callback=callback)
    assert values == [0.0] * 5


@pytest.mark.parametrize("arguments, error, message", [
    ((3, [1.0]), TypeError, "function=3 must be callable"),
    ((lambda x: "much", [1.0]), TypeError, "function returned 'much'"),
    ((lambda x: 0, [[1.0]]), ValueError, r"start has shape \(1, 1\)"),
    ((lambda x: 0, []), ValueError, r"start has shape \(0,\)"),
    ((lambda x: 0, [np.nan]), ValueError, "start")])
def test_bad_calls_of_maximize(arguments, error, message):
    with pytest.raises(error, match=message):
        EvolutionStrategy().maximize(*arguments)


@pytest.mark.parametrize("settings, error, message", [
    ({"population": 3}, ValueError, "population=3 must be even"),
    ({"population": 0}, ValueError, "population=0 must be >= 2"),
    ({"population": 4.0}, TypeError, "population=4.0 must be an integer"),
    ({"sigma": 0}, ValueError, "sigma=0"),
    ({"sigma": "x"}, TypeError, "sigma='x'"),
    ({"learning_rate": -1}, ValueError, "learning_rate=-1"),
    ({"beta1": 1}, ValueError, "beta1=1")])
def test_bad_settings(settings, error, message):
    with pytest.raises(error, match=message):
        EvolutionStrategy(**settings)
