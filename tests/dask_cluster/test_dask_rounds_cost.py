"""What keeps rounds cheap: sums without the GIL, graphs that Dask need not look into."""

import gc
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cluster_data import network, rows

from fastnn.core._sums import add_up

distributed = pytest.importorskip("distributed")
import fastnn.dask  # noqa: E402
from fastnn.dask import cluster, shards, tasks, trainer  # noqa: E402


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("end", ["float32", "float64"])
def test_sums_are_those_of_numpy_in_their_order(dtype, end):
    rng, shares = np.random.default_rng(0), [0.1, 0.3, None, 0.2]
    vectors = [rng.normal(size=2500).astype(dtype) for _ in shares]
    expected = np.zeros(2493)
    for share, vector in zip(shares, vectors, strict=True):
        given = vector[7:].astype("float64")
        expected += given if share is None else share * given
    sent = [np.frombuffer(b"\0" + vector.tobytes(), np.uint8)[1:].view(dtype)
            for vector in vectors]
    assert not sent[0].flags.aligned
    for given in (vectors, sent):
        out = np.empty(2493, end)
        add_up(out, shares, given, 7)
        assert out.tobytes() == expected.astype(end).tobytes()


def test_vectors_that_cannot_be_added_up():
    one = np.ones(4, "f4")
    for out, shares, vectors, message in (
            (np.ones((2, 2), "f4"), [1.0], [one], "out must be"),
            (np.ones(4, "i4"), [1.0], [one], "out must be"),
            (np.ones(4), [1.0, 2.0], [one], "1 vectors, but 2 shares"),
            (np.ones(5), [1.0], [one], r"vectors\[0\] must be .* with 5 elements"),
            (np.ones(2), [1.0], [one[::2]], r"vectors\[0\]"),
            (np.ones(4), [1.0] * 2, [one, one.astype("f8")], r"vectors\[1\]"),
            (np.ones(4), [1.0], [one.astype("i4")], r"vectors\[0\]")):
        with pytest.raises(ValueError, match=message):
            add_up(out, shares, vectors)
    with pytest.raises(ValueError, match="out must be"):
        add_up(np.array(1.0), [1.0], [one])
    with pytest.raises(TypeError, match=r"vectors\[0\] must be an array"):
        add_up(np.ones(4), [1.0], [None])
    for first in (-1, 1, 2**63 - 1):
        with pytest.raises(ValueError, match=rf"vectors\[0\] .* 4 elements from {first} on"):
            add_up(np.ones(4), [1.0], [one], first)
    out = np.ones(3)
    add_up(out, [], [])
    assert (out == 0).all()


def test_vectors_that_nobody_else_holds():
    """Those of a sequence that makes them, and of a list that is emptied meanwhile."""
    class Made(list):
        def __iter__(self):
            return (np.full(4, 1.0 + k) for k in range(3))

        def __len__(self):
            return 3

        def __getitem__(self, k):
            return np.full(4, 1.0 + k)

    class Share:
        def __float__(self):
            given.clear()
            return 1.0

    out, given = np.empty(4), [np.full(4, 1.0 + k) for k in range(3)]
    add_up(out, [1.0] * 3, Made())
    assert (out == 6).all()
    add_up(out, [Share(), 1.0, 1.0], given)
    assert not given and (out == 6).all()


def test_what_tasks_hold_is_not_hashed():
    class Hashed:
        def __dask_tokenize__(self):
            raise AssertionError("hashed")

    graph = cluster.Graph()
    key = graph.add(("fastnn-start-0a", 3), tasks.keep, Hashed())
    assert graph.tasks[key].__dask_tokenize__() == str(key)


def test_a_state_that_is_handed_on_changes_nothing(monkeypatch):
    """Nine workers, of which two hand the state on to the others."""
    X, y = rows()
    found, names = [], set()
    original = cluster.Graph.add

    def add(self, key, *arguments, **more):
        names.add(key[0].rpartition("-")[0])
        return original(self, key, *arguments, **more)

    monkeypatch.setattr(cluster.Graph, "add", add)
    with distributed.Client(processes=False, n_workers=9, threads_per_worker=1,
                            dashboard_address=None) as client:
        for least in (0, 1 << 40):
            names.clear()
            monkeypatch.setattr(shards, "HANDED_ON", least)
            net = network()
            fastnn.dask.fit(net, X, y, client=client, shards=9, epochs=1, local_steps=1)
            assert ("fastnn-local-steps-state" in names) == (least == 0)
            found.append(net.parameters.tobytes())
    assert found[0] == found[1]


def test_what_a_round_has_used_is_dropped_in_the_next_one(client, monkeypatch):
    X, y = rows()
    found, most = [], []

    def count(self):
        most[-1] = max(most[-1], len(self.used))
        before(self)

    before = trainer.RoundTrainer.drop
    monkeypatch.setattr(trainer.RoundTrainer, "drop", count)
    for seconds in (0.0, 1e9):
        monkeypatch.setattr(trainer, "SECONDS_HELD", seconds)
        most.append(0)
        net = network()
        fastnn.dask.fit(net, X, y, client=client, shards=9, epochs=2, local_steps=1)
        found.append(net.parameters.tobytes())
    assert found[0] == found[1]
    assert most == [12, 1], "of nine shards and two sums, and the state before; the state alone"
    deadline = time.monotonic() + 20
    while any("local-steps" in str(key) for key in client.cluster.scheduler.tasks):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_simulation_of_many_workers_runs(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "benchmarks"))
    simulation = pytest.importorskip("dask_simulation", exc_type=ImportError)
    real = tasks.local_steps
    taken, used = simulation.simulate(3, 0.05, 1, sizes=(4, 3, 2), latency=1e-4, bandwidth=1e9)
    # a stamp may come late, where another program has the core: then one round seems shorter
    assert len(taken) == len(used) == 6 and taken.sum() > 5 * 0.05
    assert tasks.local_steps is real and gc.isenabled()
    assert "3 workers, steps of 0.05 s" in capsys.readouterr().out
    sys.modules.pop("dask_simulation")
