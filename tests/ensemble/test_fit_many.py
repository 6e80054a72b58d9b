"""`fit_many`: each network ends with the bytes of a fit of its own."""

import contextlib
import copy
import os
import signal
import sys
import threading
import time
import warnings

import numpy as np
import pytest
from each import each

import fastnn
from fastnn import ensemble, losses, schedules
from fastnn.core import threads
from fastnn.training import bursts

RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 6)).astype("float32")
Y = (X[:, 0] * X[:, 1] > 0).astype(int) + (X[:, 2] > 1)
TARGETS = np.stack([np.sin(X[:, 0]), X[:, 1] * X[:, 2]], axis=1)
WEIGHTS = RNG.uniform(0.5, 2.0, 150)
FOLDS = [np.setdiff1d(np.arange(150), np.arange(i, 150, 3)) for i in range(3)]


def net(seed=0, sizes=(6, 8, 3), output="softmax", **settings):
    return fastnn.MLP(sizes, output=output, random_state=seed, **settings)


def bytes_of(network):
    """All that a fit leaves."""
    history = network.history
    val = None if history.val_loss is None else tuple(history.val_loss)
    return (network.parameters.tobytes(), tuple(history.loss), val, dict(history.metrics),
            history.stopped, network._epochs_done)


def taken(value, rows):
    return value if rows is None or value is None else value[rows]


def solo(network, X, y, *, rows=None, sample_weight=None, validation_rows=None, **settings):
    """The fit that `fit_many` stands for."""
    if validation_rows is not None:
        settings["validation_data"] = X[validation_rows], y[validation_rows]
    network.fit(taken(X, rows), taken(y, rows), sample_weight=taken(sample_weight, rows),
                **settings)
    return bytes_of(network)


def check(networks, X, y, each_own=(), threads=(1, 2, 3), **settings):
    """Compare `fit_many` with a fit for each network. ``each_own``: names of arguments that are
    lists with a value for each."""
    expected = []
    for i, network in enumerate(copy.deepcopy(networks)):
        own = {name: copy.deepcopy(value[i] if name in each_own else value)
               for name, value in settings.items()}
        expected.append(solo(network, X, y, **own))
    for n_threads in threads:
        mine = copy.deepcopy(networks)
        given = copy.deepcopy(settings)
        histories = fastnn.fit_many(mine, X, y, n_threads=n_threads, **given)
        assert [history is network.history for history, network in
                zip(histories, mine, strict=True)] == [True] * len(mine)
        assert [bytes_of(network) for network in mine] == expected, n_threads


OPTIMIZERS = [fastnn.SGD(0.05), fastnn.Adam(0.01), fastnn.RMSprop(1e-3), fastnn.Muon(0.01),
              fastnn.EMA(fastnn.Adam(0.01), 0.9), fastnn.Rprop(1e-3),
              fastnn.Adam(schedules.Cosine(0.01)), fastnn.SGD(lambda epoch: 0.1 / (1 + epoch)),
              fastnn.Adam(0.01, layers={0: dict(learning_rate_factor=0.1, alpha=0.5)}),
              fastnn.LBFGS(max_iter=8), fastnn.EvolutionStrategy(population=4)]


def test_every_optimizer_with_its_own_rows():
    rows = [None, *FOLDS, np.array([5, 5, 3, 149, 3]), None, *FOLDS, None, FOLDS[0]]
    check([net(i, (6, 8, 8, 3)) for i in range(len(OPTIMIZERS))], X, Y, ("optimizer", "rows"),
          optimizer=OPTIMIZERS, rows=rows, epochs=5, batch_size=32)


@each("dtype", ["float32", "float64"])
@each("shuffle", [True, False])
def test_every_architecture_with_its_own_settings(dtype, shuffle):
    networks = [net(0, dtype=dtype), net(1, (6, 3), dtype=dtype),
                net(2, (6, 40, 30, 3), dropout=0.3, dtype=dtype),
                net(3, (6, 9, 9, 3), norm="layer", residual=True, dtype=dtype),
                net(4, (6, 300, 3), activation="gelu", dtype=dtype, gemm="native"),
                net(5, (6, 300, 3), dtype=dtype, gemm="blas")]
    check(networks, X, Y, ("epochs", "batch_size", "alpha", "clip_norm", "rows", "max_steps"),
          rows=[None, FOLDS[0], FOLDS[1], None, FOLDS[2], FOLDS[0]], shuffle=shuffle,
          epochs=[7, 3, 4, 5, 2, 2], batch_size=[16, 150, 1000, 64, 32, 50],
          alpha=[0.0, 1.0, 0.0, 0.1, 0.0, 0.0], clip_norm=[None, 0.5, None, None, 1.0, None],
          max_steps=[None, None, 3, 7, None, None])


@each("settings", [
    dict(sample_weight=WEIGHTS), dict(l1=0.1, max_norm=1.0), dict(clip_value=0.01),
    dict(input_dropout=0.2), dict(input_noise=0.1), dict(mixup=0.4), dict(loss=losses.Focal(1.5)),
    dict(validation_rows=np.arange(0, 150, 5), metrics=["accuracy"])])
def test_what_a_fit_may_have(settings):
    check([net(0), net(1, (6, 20, 20, 3), dropout=0.2)], X, Y, ("rows",), threads=(2,),
          rows=[None, FOLDS[1]], epochs=4, batch_size=32, **settings)


def test_losses_and_targets():
    networks = [net(0, (6, 8, 2), "identity"), net(1, (6, 8, 2), "identity", dtype="float64"),
                net(2, (6, 2), "identity"), net(3, (6, 5, 2), "identity")]
    check(networks, X, TARGETS, ("loss", "rows"), rows=[None, FOLDS[0], FOLDS[1], None], epochs=3,
          loss=[None, losses.Huber(0.5), losses.Quantile([0.1, 0.9]), "log_cosh"])
    check([net(0, (6, 8, 1), "sigmoid"), net(1, (6, 8, 2))], X, Y > 0, epochs=3)


@each("kind", ["float64", "columns", "sparse", "int"])
def test_rows_of_other_kinds_of_inputs(kind, monkeypatch):
    data = {"float64": X.astype("float64"), "columns": np.asfortranarray(X),
            "int": (X * 10).astype("int16")}.get(kind)
    if kind == "sparse":
        data = pytest.importorskip("scipy.sparse").csr_matrix(np.where(X > 0.5, X, 0))
    for limit in (1 << 26, 0):  # copied, and converted batch by batch
        monkeypatch.setattr("fastnn.core.rows.COPIED_BYTES", limit)
        check([net(0), net(1, (6, 90, 3), dtype="float64")], data, Y, ("rows",), threads=(2,),
              rows=[FOLDS[0], FOLDS[1]], epochs=3, batch_size=32)


def test_early_stopping_of_each_network():
    stops = [[fastnn.EarlyStopping(patience=2, min_delta=0.05)], None,
             [fastnn.EarlyStopping(patience=1, min_delta=0.2), fastnn.TimeLimit(100.0)]]
    check([net(i) for i in range(3)], X, Y, ("rows", "validation_rows", "callbacks"), rows=FOLDS,
          validation_rows=[np.arange(i, 150, 3) for i in range(3)], callbacks=stops, epochs=30,
          optimizer=fastnn.Adam(0.05))
    data = X[:40], Y[:40]
    check([net(0), net(1)], X, Y, ("validation_data",), validation_data=[data, None], epochs=2)
    check([net(0), net(1)], X, Y, validation_data=data, epochs=2)


def test_masks_and_one_set_of_rows_for_all():
    mask = X[:, 0] > 0
    check([net(0), net(1)], X, Y, rows=mask, epochs=2)
    check([net(0), net(1)], X, Y, rows=np.flatnonzero(mask), epochs=2)


def test_a_second_fit_goes_on():
    networks, alone = [net(0), net(1)], [net(0), net(1)]
    for epochs in (3, 40):
        fastnn.fit_many(networks, X, Y, epochs=epochs)
        for network in alone:
            network.fit(X, Y, epochs=epochs)
    assert [bytes_of(one) for one in networks] == [bytes_of(one) for one in alone]


def test_frozen_layers_stay():
    networks = [net(0), net(1)]
    networks[0].freeze(0)
    check(networks, X, Y, epochs=3)
    assert networks[0].frozen == (0,)


# ---- several epochs in a call ----

@each("optimizer", [fastnn.Adam(0.01), fastnn.EMA(fastnn.SGD(0.1), 0.9),
                    fastnn.Adam(schedules.OneCycle(0.02)),
                    fastnn.SGD(schedules.Exponential(0.1, gamma=0.9))])
@each("shuffle", [True, False])
def test_bursts_change_nothing(optimizer, shuffle, monkeypatch):
    lengths, run = [], bursts.Bursts.run

    def counted(self, state, epochs):
        before = state.epoch
        found = run(self, state, epochs)
        lengths.append(state.epoch - before)
        return found

    monkeypatch.setattr(bursts.Bursts, "run", counted)
    found = []
    for callback in (None, lambda *_: None):  # a callback wants each epoch
        network = net(3, dropout=0.1)
        network.fit(X, Y, optimizer=optimizer, epochs=53, batch_size=40, shuffle=shuffle,
                    max_steps=4 * 50 + 1, callback=callback)
        found.append(bytes_of(network))
        network.fit(X, Y, optimizer=optimizer, epochs=2, callback=callback)
        found.append(bytes_of(network))
    assert found[:2] == found[2:]
    assert max(lengths) > 10


def test_a_burst_ends_where_the_fit_diverges():
    found = []
    for callback in (None, lambda *_: None):
        network = net(0, (6, 8, 2), "identity")
        with pytest.warns(fastnn.DivergenceWarning):
            network.fit(X, 1e3 * TARGETS, optimizer=fastnn.SGD(0.01), epochs=100, callback=callback)
        assert network.history.stopped == "diverged"
        found.append((repr(bytes_of(network)), len(network.history.loss)))
    assert found[0] == found[1]
    assert 1 < found[0][1] < 100


def test_no_burst_where_python_is_asked_in_each_epoch():
    seen = []
    network = net(0)

    def rate(epoch):
        seen.append((epoch, len(network.history.loss)))
        return 0.01

    network.fit(X, Y, optimizer=fastnn.Adam(rate), epochs=5)
    assert seen[-5:] == [(i, i) for i in range(5)]


# ---- what goes wrong ----

BAD = [
    (dict(networks=net()), TypeError, "networks=MLP"),
    (dict(networks=[]), ValueError, "networks is empty"),
    (dict(networks=[net(), 3]), TypeError, r"networks\[1\]=3 must be a fastnn.MLP"),
    (dict(epochs=[1]), ValueError, "epochs has 1 entries for 2 networks"),
    (dict(epochs=[1, 0]), ValueError, r"networks\[1\]: epochs=0 must be >= 1"),
    (dict(batch_size=[2, 0.5]), TypeError, r"networks\[1\]: batch_size=0.5"),
    (dict(optimizer=["adam", "none"]), ValueError, r"networks\[1\]: optimizer="),
    (dict(rows=[None, [150]]), ValueError, r"networks\[1\]: rows has row numbers in 150..150"),
    (dict(rows=[None, [-1, 3]]), ValueError, r"networks\[1\]: rows has row numbers in -1..3"),
    (dict(rows=[[], None]), ValueError, r"networks\[0\]: rows is empty"),
    (dict(rows=[np.ones(3, bool), None]), ValueError, r"networks\[0\]: rows is a mask"),
    (dict(rows=[[0.5], None]), TypeError, r"networks\[0\]: rows is float64"),
    (dict(rows=3), TypeError, r"networks\[0\]: rows is int"),
    (dict(callbacks=fastnn.EarlyStopping()), TypeError, "callbacks="),
    (dict(callbacks=[fastnn.EarlyStopping(), None]), TypeError, r"networks\[0\]: callbacks="),
    (dict(metrics="accuracy"), ValueError, r"networks\[0\]: metrics="),
    (dict(sample_weight=np.eye(150)[0], rows=[[0], [1]]), ValueError,
     r"networks\[1\]: sample_weight is 0 everywhere"),
    (dict(validation_rows=[0, 1], validation_data=(X, Y)), ValueError, "both given"),
    (dict(n_threads=0), ValueError, "n_threads=0"),
    (dict(checkpoint_seconds=-1), ValueError, "checkpoint_seconds=-1.0 must be finite and >= 0"),
    (dict(X=X[:, :5]), ValueError, r"networks\[0\]: X has 5 columns, must have 6"),
    (dict(y=Y + 5), ValueError, r"networks\[0\]: y has labels"),
]


@each("case", BAD)
def test_bad_arguments_are_named(case):
    arguments, kind, message = case
    arguments = {"networks": [net(0), net(1)], "X": X, "y": Y, **arguments}
    before = [copy.deepcopy(one) for one in arguments["networks"]] if isinstance(
        arguments["networks"], list) else []
    with pytest.raises(kind, match=message):
        fastnn.fit_many(**arguments)
    for one, same in zip(arguments["networks"] if before else [], before, strict=True):
        if isinstance(one, fastnn.MLP):
            assert one.parameters.tobytes() == same.parameters.tobytes()


def test_the_same_network_twice():
    one = net()
    with pytest.raises(ValueError, match=r"networks\[2\] is networks\[0\]: .*deepcopy"):
        fastnn.fit_many([one, net(), one], X, Y)


class Fails(fastnn.Callback):
    def __init__(self, at):
        self.at = at

    def on_epoch_end(self, state):
        if state.epoch == self.at:
            raise ValueError("not this one")


class Waits(fastnn.Callback):
    """Says that its fit has begun; holds it up for a while."""

    def __init__(self):
        self.begun = threading.Event()

    def on_epoch_end(self, state):
        self.begun.set()
        time.sleep(0.01)


def test_an_error_ends_all_at_their_last_whole_epoch():
    networks = [net(i) for i in range(4)]
    with pytest.raises(ValueError, match=r"^networks\[1\]: not this one"):
        fastnn.fit_many(networks, X, Y, n_threads=2, epochs=[10**6, 10**5, 10, 10],
                        callbacks=[None, [Fails(2)], None, None])
    assert networks[1].history.stopped == "failed"
    assert networks[1]._epochs_done == 3
    assert networks[0].history.stopped == "interrupted"
    check_whole(networks[0])
    assert networks[3].history is None
    assert networks[3]._epochs_done == 0


def check_whole(network):
    """A network stands where so many whole epochs lead."""
    assert len(network.history.loss) == network._epochs_done < 10**6
    same = net(0)
    if network._epochs_done:
        same.fit(X, Y, epochs=network._epochs_done)
    assert same.parameters.tobytes() == network.parameters.tobytes()


def test_a_diverged_network_is_named_and_the_others_go_on():
    networks = [net(i, (6, 8, 2), "identity") for i in range(3)]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        fastnn.fit_many(networks, X, TARGETS, epochs=30, optimizer=[
            fastnn.SGD(1e-3), fastnn.SGD(1e6), fastnn.SGD(1e-3)])
    assert [network.history.stopped for network in networks] == ["epochs", "diverged", "epochs"]
    [warning] = told
    assert str(warning.message).startswith("networks[1]: training diverged in epoch")
    assert warning.category is fastnn.DivergenceWarning
    assert warning.filename == __file__


def test_a_network_that_is_being_fitted_elsewhere():
    one, other = net(0), net(1)
    holds = Waits()
    thread = threading.Thread(
        target=lambda: one.fit(X, Y, epochs=10**6, callbacks=[holds, fastnn.TimeLimit(0.5)]))
    thread.start()
    try:
        assert holds.begun.wait(30)
        with pytest.raises(RuntimeError, match=r"networks\[1\]: this MLP is being fitted"):
            fastnn.fit_many([other, one], X, Y, epochs=[10, 10])
    finally:
        thread.join()


@each("wide", [False, True])
def test_ctrl_c_leaves_all_at_their_last_whole_epoch(wide, monkeypatch):
    """As a handler would, in the thread that waits."""

    def interrupted(pool):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and not all(
                fit.net.history is not None and len(fit.net.history.loss) > 1
                for fit in pool.running.values()):
            time.sleep(0.001)
        raise KeyboardInterrupt

    monkeypatch.setattr(ensemble._Pool, "wait", interrupted)
    networks = [net(0), net(1, (6, 300, 300, 3) if wide else (6, 8, 3)), net(2)]
    with pytest.raises(KeyboardInterrupt):
        fastnn.fit_many(networks, X, Y, n_threads=2, epochs=[10**6, 2 * 10**6, 10])
    check_whole(networks[0])
    assert networks[1].history.stopped == "interrupted"
    assert len(networks[1].history.loss) == networks[1]._epochs_done > 0
    assert networks[2].history is None
    assert not [one for one in threading.enumerate() if one.name.startswith("fastnn")]


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_a_signal_comes_through(ctrl_c):
    networks = [net(0), net(1)]
    began = Waits()

    def send():
        assert began.begun.wait(30)
        os.kill(os.getpid(), signal.SIGINT)

    sender = threading.Thread(target=send)
    sender.start()
    with pytest.raises(KeyboardInterrupt):
        fastnn.fit_many(networks, X, Y, n_threads=2, epochs=10**6, callbacks=[None, [began]])
    sender.join()
    check_whole(networks[0])
    assert networks[0].history.stopped == networks[1].history.stopped == "interrupted"


def test_x_is_shared():
    pointers = set()
    data = ensemble._Data(X, Y)
    for one in (net(0), net(1, (6, 4, 3)), net(2)):
        given, y, _ = data.of(one, one._bound(None))
        pointers.add((given.ctypes.data, y.ctypes.data))
    assert len(pointers) == 1
    assert pointers.pop()[0] == X.ctypes.data


@each("callbacks", [None, [[fastnn.Callback()], [fastnn.Callback()]]])
def test_rows_of_codes(callbacks):
    """With callbacks epoch by epoch, without them many in a call."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(80, 3)), rng.normal(size=80)
    encoder = fastnn.encoders.Encoder(fastnn.encoders.Numbers(8)).fit(X)
    codes = encoder.transform(X)
    rows = [np.arange(10, 50), np.arange(80) % 3 > 0]
    nets = [fastnn.MLP((encoder.n_inputs, 8, 1), random_state=i) for i in range(2)]
    alone = copy.deepcopy(nets)
    fastnn.fit_many(nets, codes, y, rows=rows, epochs=6, batch_size=8, callbacks=callbacks)
    for net, other, own in zip(nets, alone, rows, strict=True):
        other.fit(codes[own], y[own], epochs=6, batch_size=8)
        assert net.parameters.tobytes() == other.parameters.tobytes()


class Teams(fastnn.Callback):
    """Notes the threads of each epoch; waits at the end of the first for ``other`` to be done."""

    def __init__(self, other):
        self.other, self.found = other, []

    def on_epoch_end(self, state):
        self.found.append(state.trainer.team)
        until = time.monotonic() + 30
        while len(self.found) == 1 and (self.other.history is None
                                        or id(self.other) in threads._fitting):
            assert time.monotonic() < until
            time.sleep(0.001)


@pytest.mark.parametrize("around", [contextlib.nullcontext,
                                    lambda: threads.sole_fit(fastnn.TabularClassifier())])
@pytest.mark.parametrize("n_threads, allowed", [(2, 1), (2, 4), (None, 2)])
def test_the_last_network_has_the_threads_of_those_that_are_done(n_threads, allowed, around,
                                                                 monkeypatch):
    """Those of the call, be they less or more than those of the process; also in a fit that waits
    for the networks, and has no use for any meanwhile."""
    monkeypatch.setattr(threads, "default_threads", lambda: allowed)
    X, nets = np.ones((1024, 64), "float32"), [net(i, (64, 128, 1), "identity") for i in range(2)]
    teams = Teams(nets[1])
    with around():
        fastnn.fit_many(nets, X, X[:, 0], epochs=[3, 1], batch_size=256, n_threads=n_threads,
                        callbacks=[[teams], None])
    assert teams.found[1:] == [2, 2]
    assert not threads._lending


def test_networks_at_the_same_time_divide_the_threads(monkeypatch):
    monkeypatch.setattr(threads, "default_threads", lambda: 8)
    monkeypatch.setattr(threads, "_fitting", {1: [-1], 2: [-2]})  # two other fits
    seen = []
    thread = threading.Thread(target=lambda: (
        threads.limited_threads(6), seen.append([threads.resolve_threads(None),
                                                 threads.shared_threads(6)])))
    thread.start()
    thread.join()
    assert seen == [[6, 3]]
    assert [threads.resolve_threads(None), threads.shared_threads(6)] == [8, 4]
    for lender, share in ((-3, 4), (-1, 6)):  # who waits for a pool is no fit, or one of them
        monkeypatch.setattr(threads, "_lending", {"a pool": lender})
        assert threads.shared_threads(6) == share
    monkeypatch.setattr(threads, "_fitting", {number: [-number] for number in range(10, 30)})
    assert threads.shared_threads(6) == 1


def test_networks_do_not_share_a_callback_with_a_state():
    class Own(fastnn.Callback):
        calls = 0

        def on_epoch_end(self, state):
            self.calls += 1

    X = np.random.default_rng(0).normal(size=(40, 2))
    nets = [fastnn.MLP((2, 3, 1), random_state=i) for i in range(3)]
    stop, own = fastnn.EarlyStopping("loss"), Own()
    with pytest.raises(ValueError, match=r"callbacks\[2\] holds the EarlyStopping of callbacks\[0"):
        fastnn.fit_many(nets, X, X[:, 0], epochs=2, callbacks=[[stop], None, [stop]])
    fastnn.fit_many(nets, X, X[:, 0], epochs=2, n_threads=1, callbacks=[[own], [own], None])
    assert own.calls == 4
