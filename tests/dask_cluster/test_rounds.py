"""`fastnn.dask.fit`: what it learns, and that nothing but data, settings and seed decides it."""

import pickle

import numpy as np
import pytest
from cluster_data import network, rows

import fastnn

da = pytest.importorskip("dask.array")
pytest.importorskip("distributed")
import dask  # noqa: E402
from dask.highlevelgraph import HighLevelGraph  # noqa: E402

import fastnn.dask  # noqa: E402
from fastnn.dask import cluster, shards, sources, tasks  # noqa: E402

ADAM = fastnn.Adam(0.01)


def in_parts(X, y, n):
    return da.from_array(X, chunks=(n, X.shape[1])), da.from_array(y, chunks=n)


def test_one_shard_is_a_fit_of_one_machine_to_the_byte(client):
    for dtype in ("float32", "float64"):
        X, y = rows(dtype=dtype)
        alone, spread = (network(dropout=0.2, dtype=dtype) for _ in range(2))
        settings = dict(optimizer=fastnn.Adam(fastnn.schedules.Cosine(0.02)), epochs=2, alpha=0.1,
                        batch_size=32)
        history = alone.fit(X, y, **settings)
        found = fastnn.dask.fit(spread, *in_parts(X, y, 150), shards=1, local_steps=5,
                                outer_momentum=0, **settings)
        assert spread.parameters.tobytes() == alone.parameters.tobytes(), dtype
        np.testing.assert_allclose(found.loss, history.loss, rtol=1e-12)
        assert found.local_steps == 5 and spread.history is found


def test_parts_and_where_rows_are_held_change_nothing(client):
    X, y = rows()
    delayed = [dask.delayed(lambda part: part)((X[a:a + 160], y[a:a + 160]))
               for a in range(0, 400, 160)]
    found = set()
    for data, keep in ((in_parts(X, y, 400), True), (in_parts(X, y, 33), False), ((X, y), None),
                       ((delayed, None), False), (in_parts(X, y, 150), None)):
        net = network()
        fastnn.dask.fit(net, *data, shards=3, keep=keep, optimizer=ADAM, epochs=2, local_steps=3)
        found.add(net.parameters.tobytes())
    assert len(found) == 1
    other = network()
    fastnn.dask.fit(other, X, y, shards=4, optimizer=ADAM, epochs=2, local_steps=3)
    assert other.parameters.tobytes() not in found, "shards decide"


def test_weights_by_the_name_of_their_column_and_arrays_beside_lazy_ones(client, tmp_path):
    pandas, dd = pytest.importorskip("pandas"), pytest.importorskip("dask.dataframe")
    pytest.importorskip("pyarrow")
    X, y = rows()
    w = np.random.default_rng(1).uniform(0.5, 2, 400)
    frame = pandas.DataFrame(X, columns=list("abcde")).assign(label=y, weight=w)
    frame.to_parquet(tmp_path / "rows.parquet")
    lazy, found = da.from_array(X, chunks=(150, 5)), set()
    for data in ((X, y, w), (dd.from_pandas(frame, npartitions=3), "label", "weight"),
                 (tmp_path / "rows.parquet", "label", "weight"), (lazy, y, w),
                 (lazy, frame["label"], da.from_array(w, chunks=90))):
        net = network()
        fastnn.dask.fit(net, *data[:2], sample_weight=data[2], shards=3, optimizer=ADAM, epochs=1)
        found.add(net.parameters.tobytes())
    assert len(found) == 1
    for data, message in (
            ((lazy, y[:9], None), "y has 9 rows, X has 400"),
            ((lazy[lazy[:, 0] > 0], y, None), "not known: .*compute_chunk_sizes"),
            ((lazy, y, "weight"), "partition 0: sample_weight='weight' names columns of X"),
            ((dd.from_pandas(frame, npartitions=3), "label", "w"), "no column 'w'")):
        with pytest.raises((ValueError, TypeError), match=message):
            fastnn.dask.fit(network(), *data[:2], sample_weight=data[2])


def test_rounds_are_what_the_formula_says(client):
    """Two rounds on two shards beside fits of NumPy's hand."""
    X, y = rows(64, "float64")
    net = network(dtype="float64")
    fastnn.dask.fit(net, X, y, shards=2, optimizer=fastnn.SGD(0.1, momentum=0.5), epochs=2,
                    batch_size=32, shuffle=False, outer_learning_rate=0.7, outer_momentum=0.9)
    own = network(dtype="float64")
    w, v, s = own.parameters.copy(), 0.0, 0.0
    for _ in range(2):  # one step of 32 rows on each shard is a pass
        ends, states = [], []
        for half in (slice(0, 32), slice(32, 64)):
            own._publish_copy(w, 0)
            _, g = own.loss_and_grad(X[half], y[half])
            states.append(0.5 * s + g)
            ends.append(w - 0.1 * states[-1])
        d, s = np.mean(ends, axis=0) - w, np.mean(states, axis=0)
        v = 0.9 * v + d
        w = w + 0.7 * (d + 0.9 * v)
    np.testing.assert_allclose(net.parameters, w, rtol=1e-12, atol=1e-14)


def test_lbfgs_has_the_iterates_of_one_machine(client):
    X, y = rows(300, "float64")
    weight = np.random.default_rng(1).uniform(0.5, 2, 300)
    nets = [fastnn.MLP((5, 8, 2), "tanh", "softmax", dtype="float64", random_state=0)
            for _ in range(2)]
    settings = dict(optimizer=fastnn.LBFGS(max_iter=8), alpha=0.5, sample_weight=weight)
    history = nets[0].fit(X, y, validation_data=(X[:90], y[:90]), **settings)
    found = fastnn.dask.fit(nets[1], X, y, shards=3, **settings,
                            validation_data=in_parts(X[:90], y[:90], 45))
    np.testing.assert_allclose(found.val_loss, history.val_loss, rtol=1e-8)
    np.testing.assert_allclose(found.loss, history.loss, rtol=1e-8)
    np.testing.assert_allclose(nets[1].parameters, nets[0].parameters, rtol=1e-8, atol=1e-10)


class Ends(fastnn.Callback):
    """As if the driver had been killed after an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_end(self, state):
        if state.epoch == self.epoch:
            raise ZeroDivisionError


def test_lbfgs_goes_on_from_its_checkpoint(client, tmp_path):
    X, y = rows(dtype="float64")
    lazy, path = in_parts(X, y, 130), tmp_path / "fit.safetensors"
    settings = dict(shards=3, alpha=0.01, validation_data=(X[:50], y[:50]))

    def fitted(max_iter=12, ends=None, **changed):
        net = network(dtype="float64")
        history = fastnn.dask.fit(
            net, *lazy, optimizer=fastnn.LBFGS(max_iter=max_iter), checkpoint_seconds=0,
            callbacks=None if ends is None else [Ends(ends)], **{**settings, **changed})
        return net.parameters.tobytes(), history.loss, history.val_loss, history.stopped

    expected = fitted()
    for ends in (0, 4, 4, 9):
        with pytest.raises(ZeroDivisionError):
            fitted(ends=ends, checkpoint=path)
    assert fitted(checkpoint=path) == expected
    assert fitted(checkpoint=path) == expected, "a fit that has ended is not run again"
    longer = fitted(max_iter=15, checkpoint=path)
    assert longer == fitted(max_iter=15) and len(longer[1]) == 15
    for changed in (dict(shards=4), dict(alpha=0.1), dict(validation_data=(X[:40], y[:40]))):
        with pytest.raises(fastnn.ModelFormatError, match="checkpoint"):
            fitted(checkpoint=path, **changed)
    X[7, 2] += 1
    lazy = in_parts(X, y, 130)
    with pytest.raises(fastnn.ModelFormatError, match="data|X"):
        fitted(checkpoint=path)


def test_what_one_fit_has_is_there(client):
    """Validation on the workers and here, early stopping, schedules, frozen layers, batch norm."""
    X, y = rows()
    net = fastnn.MLP((5, 8, 8, 2), output="softmax", norm="batch", random_state=0)
    net.freeze(0)
    before = net.named_parameters()["layers.0.weight"].copy()
    history = fastnn.dask.fit(
        net, X[:300], y[:300], shards=2, optimizer=fastnn.Adam(0.1), epochs=50,
        local_steps=100, validation_data=in_parts(X[300:], y[300:], 60),
        callbacks=[fastnn.EarlyStopping(patience=1)])
    assert history.stopped.startswith("val_loss") and len(history.val_loss) < 50
    assert history.val_loss[-2] == pytest.approx(net.loss(X[300:], y[300:]), rel=1e-6)
    assert (net.named_parameters()["layers.0.weight"] == before).all()
    assert (net.named_parameters()["layers.1.variance"] > 0).all()
    here = network()
    history = fastnn.dask.fit(here, X[:300], y[:300], shards=2, epochs=1, local_steps=100,
                              validation_data=(X[300:], y[300:]), metrics=["accuracy"])
    assert len(history.val_accuracy) == 1


def test_a_driver_that_is_stopped_goes_on_from_its_checkpoint(client, tmp_path):
    X, y = rows()
    settings = dict(shards=2, optimizer=ADAM, local_steps=3, epochs=3)
    whole = network()
    expected = fastnn.dask.fit(whole, X, y, **settings)

    class Stop(Exception):
        pass

    path, original = tmp_path / "fit.safetensors", cluster.Cluster.fetch
    for stop in (2, 3, 4):  # in the first pass, and in the second
        calls = []

        def fetch(self, futures, calls=calls, stop=stop):
            calls.append("end" in futures[0].key[0])  # of a round
            if sum(calls) == stop:
                raise Stop
            return original(self, futures)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cluster.Cluster, "fetch", fetch)
            with pytest.raises(Stop):
                fastnn.dask.fit(network(), X, y, checkpoint=path, checkpoint_seconds=0, **settings)
    again = network()
    history = fastnn.dask.fit(again, X, y, checkpoint=path, **settings)
    assert again.parameters.tobytes() == whole.parameters.tobytes()
    assert history.loss == expected.loss
    for change in (dict(shards=3), dict(outer_momentum=0.1), dict(local_steps=4)):
        with pytest.raises(fastnn.ModelFormatError, match="another fit"):
            fastnn.dask.fit(network(), X, y, checkpoint=path, **{**settings, **change})
    with pytest.raises(fastnn.ModelFormatError, match="X, y or sample_weight was another"):
        fastnn.dask.fit(network(), X[::-1].copy(), y, checkpoint=path, **settings)


def test_steps_of_a_round_by_its_measured_time(client):
    X, y = rows()
    history = fastnn.dask.fit(network(), X, y, shards=2, epochs=1, local_steps="measured",
                              batch_size=8, max_steps=18, round_seconds=1e-6)
    assert history.local_steps == 1


def test_fit_many_gives_the_bytes_of_its_own_fits(client):
    X, y = rows(200)
    nets = [[network() if i else network(dtype="float64") for i in range(3)] for _ in range(2)]
    settings = dict(epochs=[2, 3, 2], optimizer=ADAM, rows=[None, np.arange(90), None])
    expected = fastnn.fit_many(nets[0], X, y, **settings)
    found = fastnn.dask.fit_many(nets[1], X, y, **settings)
    for one, other in zip(*nets, strict=True):
        assert one.parameters.tobytes() == other.parameters.tobytes()
        assert other.history in found
    assert [history.loss for history in found] == [history.loss for history in expected]
    with pytest.raises(ValueError, match=r"networks\[1\]: rows"):
        fastnn.dask.fit_many(nets[1], X, y, rows=[None, [999], None])
    with pytest.raises(ValueError, match="checkpoint='fits' must be None on workers"):
        fastnn.dask.fit_many(nets[1], X, y, checkpoint="fits", checkpoint_seconds=1.0)


def test_the_tree_is_decided_by_the_leaves_alone():
    assert shards.Tree(1).levels == [[(0, 1)]]
    assert shards.Tree(8).levels == [[(0, 8)]]
    assert shards.Tree(9).levels == [[(0, 8), (8, 9)], [(0, 2)]]
    assert [len(level) for level in shards.Tree(1000).levels] == [125, 16, 2, 1]
    leaves = [{"share": 0.5, "vectors": (np.full(2, i, "f4"),), "loss": i, "isas": ("x",)}
              for i in range(3)]
    node = tasks.add(tasks.add(*leaves[:2]), tasks.add(leaves[2]))
    assert node["vectors"][0].tolist() == [1.5, 1.5] and node["loss"] == 3
    assert node["vectors"][0].dtype == "f8", "of a gradient"
    node = tasks.add_moved(tasks.add_moved(*leaves[:2]), tasks.add_moved(leaves[2]))
    assert node["vectors"][0].tolist() == [1.5, 1.5] and node["vectors"][0].dtype == "f4"
    assert node["share"] is None and node["loss"] == 3 and tasks.add_moved({
        **leaves[0], "vectors": ()})["vectors"] == ()


def test_rounds_of_many_shards_hand_on_sums_of_their_own_dtype(client, monkeypatch):
    """Half the bytes; those of gradients stay float64, for L-BFGS."""
    X, y = rows(90)
    seen, before = [], shards.Shards.add_round
    monkeypatch.setattr(shards.Shards, "add_round", lambda self, graph, places, function, *more: (
        seen.append((function, more[-1])), before(self, graph, places, function, *more))[1])
    fastnn.dask.fit(network(), X, y, client=client, shards=9, epochs=1, local_steps=100)
    assert seen == [(tasks.local_steps, tasks.add_moved)]
    seen.clear()
    fastnn.dask.fit(network(), X, y, client=client, shards=9, epochs=1,
                    optimizer=fastnn.LBFGS(max_iter=1))
    assert {one[0] for one in seen} == {tasks.gradient}
    assert tasks.add_moved not in {one[1] for one in seen}


def test_rows_of_another_worker_may_lie_at_any_address():
    X, y = rows(4)
    sent = np.frombuffer(b"\0" + X.tobytes(), np.uint8)[1:].view("f4").reshape(X.shape)
    assert not sent.flags.aligned
    found, _, weight = tasks._rows((sent, y, None))
    assert found.flags.aligned and (found == X).all() and weight is None


def test_graphs_of_parts_are_looked_at_once():
    """Each part of an array has the tasks of all of them."""
    made = [list(part) for part in zip(
        *(one.to_delayed().reshape(-1) for one in in_parts(*rows(60), 3)), strict=True)]
    layers = sources._layers([value for row in made for value in row])
    assert sum(len(value.dask) for row in made for value in row) >= 40 * 20
    assert sum(map(len, layers.values())) < 20 * 8
    graphs, keys, size = sources._graphs(made, layers)
    assert len(graphs) == 20 and size < 20 * 8 and all(
        key in graph and len(graph) < 8 for key, graph in zip(keys, graphs, strict=True))
    X, y, _ = tasks.Recipe(pickle.dumps(graphs[7]), pickle.dumps(keys[7])).read()
    assert (X == rows(60)[0][21:24]).all() and (y == rows(60)[1][21:24]).all()


def test_graphs_that_are_made_anew_each_time_are_all_looked_at(monkeypatch):
    """Where one was, the next may lie: an id says who it is as long as it lives alone."""
    class Fresh:
        asked = 0

        def __init__(self, number):
            self.number = number

        @property
        def dask(self):
            self.asked += 1
            gone = HighLevelGraph({}, {}) if self.asked == 2 else None  # lies where the last was
            graph = HighLevelGraph({self.number: {self.number: 1}}, {self.number: set()})
            del gone
            return graph

    monkeypatch.setattr(sources, "Delayed", Fresh)
    assert set(sources._layers([Fresh(i) for i in range(20)])) == set(range(20))


def test_many_parts_go_to_the_scheduler_together(client, monkeypatch):
    sent, original = [], cluster.Cluster.send
    monkeypatch.setattr(cluster.Cluster, "send", lambda self, graph, ends: sent.append(
        len(ends)) or original(self, graph, ends))
    X, y = rows(80)
    found = []
    for small in (sources.SMALL, 0):  # how a part is made goes with each task, or is one itself
        monkeypatch.setattr(sources, "SMALL", small)
        found.append(network())
        fastnn.dask.fit(found[-1], *in_parts(X, y, 4), shards=2, epochs=1, local_steps=100)
    assert sent == [20, 1, 20, 20, 1]  # what parts hold, a round; the parts before
    assert found[0].parameters.tobytes() == found[1].parameters.tobytes()


def test_number_of_shards_is_decided_by_the_data():
    number = shards.number_of_shards
    assert [number(None, n, 0) for n in (1, 100, 600, 10**6, 10**7, 10**9)] == [1, 1, 8, 8, 39, 64]
    assert number(None, 10**7, 2**36) == 1024
    assert number(5, 10, 0) == 5
    with pytest.raises(ValueError, match="shards=11 must be at most"):
        number(11, 10, 0)


def test_shards_stay_where_they_are_while_that_is_fair():
    pins = cluster.Pins(6)
    first = list(pins.of({"a": 1, "b": 2}))
    assert first.count("a") == 2 and first.count("b") == 4
    moved = list(pins.of({"a": 1, "b": 2, "c": 3}))
    assert sum(own != other for own, other in zip(first, moved, strict=True)) == 3
    assert set(pins.of({"c": 3})) == {"c"}
    assert pins.of({}) == [None] * 6


def test_nothing_of_dask_is_imported_unasked(run_python):
    code = ("import sys, fastnn; fastnn.MLP((2, 3, 1)).fit([[1, 2], [2, 3]], [1, 2], epochs=1);"
            "print({'dask', 'distributed', 'fastnn.dask'} & sys.modules.keys())")
    assert run_python(code).stdout.strip() == "set()"


def test_fit_many_elsewhere(client):
    X, y = rows(100)
    nets = [[network() for _ in range(2)] for _ in range(2)]
    fastnn.fit_many(nets[0], X, y, epochs=[1, 2])
    with fastnn.dask.on_workers():
        fastnn.fit_many(nets[1], X, y, epochs=[1, 2])
    assert [net.parameters.tobytes() for net in nets[1]] == [
        net.parameters.tobytes() for net in nets[0]]
    with pytest.raises(ValueError, match="networks is empty"), fastnn.dask.on_workers():
        fastnn.fit_many([], X, y)


def test_a_shard_whose_rows_have_no_weight(client):
    """It has no mean of its own, and is left out of that of all."""
    X, y = rows(200, "float64")
    weight = np.repeat([1.0, 0.0], 100)
    alone, spread = network(dtype="float64"), network(dtype="float64")
    alone.fit(X, y, sample_weight=weight, optimizer=fastnn.LBFGS(max_iter=5))
    fastnn.dask.fit(spread, X, y, sample_weight=weight, shards=2,
                    optimizer=fastnn.LBFGS(max_iter=5))
    np.testing.assert_allclose(spread.parameters, alone.parameters, rtol=1e-8, atol=1e-10)


def test_schedules_where_a_shard_has_a_step_less(client):
    """33 and 32 rows in batches of 32; the rates of all steps are the same, and told one by one."""
    X, y = rows(65)
    nets = [network() for _ in range(2)]
    for net, rate in zip(nets, (0.02, fastnn.schedules.Polynomial(0.02, final=1.0)), strict=True):
        fastnn.dask.fit(net, X, y, shards=2, optimizer=fastnn.Adam(rate), epochs=2, batch_size=32,
                        local_steps=2)
    assert nets[0].parameters.tobytes() == nets[1].parameters.tobytes()


class Gives(fastnn.Callback):
    """Gives the network other weights, and may end the fit with them."""

    def __init__(self, ends):
        self.ends = ends

    def on_epoch_end(self, state):
        state.net.set_weights([0.5 * array for array in network().get_weights()])
        if self.ends:
            state.stop("given")


def test_weights_that_a_callback_gives_are_kept_or_refused(client):
    net = network()
    settings = dict(shards=2, optimizer=ADAM, epochs=3, local_steps=3)
    fastnn.dask.fit(net, *rows(), callbacks=[Gives(True)], **settings)
    for mine, wanted in zip(net.get_weights(), network().get_weights(), strict=True):
        np.testing.assert_array_equal(mine, 0.5 * wanted)
    with pytest.raises(ValueError, match="rounds go on from what the workers have; end the fit"):
        fastnn.dask.fit(net, *rows(), callbacks=[Gives(False)], **settings)
