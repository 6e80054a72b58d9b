"""`fit_batches`: batches that come one after the other, read in another thread."""

import threading
import time

import numpy as np
import pytest
import scipy.sparse as sp
from each import each

import fastnn
from fastnn.training import batches

RNG = np.random.default_rng(0)
X = RNG.normal(size=(96, 5)).astype("float32")
Y = RNG.integers(0, 3, 96)
WEIGHT = RNG.uniform(0.5, 2, 96).astype("float32")
PAIRS = [(X[i:i + 32], Y[i:i + 32]) for i in range(0, 96, 32)]


def net(**settings):
    return fastnn.MLP((5, 8, 3), "tanh", "softmax", **{"random_state": 0, **settings})


def generator():
    yield from PAIRS


def endless_threads():
    return [t for t in threading.enumerate() if t.name == "fastnn batches"]


def expected(epochs=2, batch_size=32, **settings):
    other = net()
    history = other.fit(X, Y, epochs=epochs, batch_size=batch_size, shuffle=False, **settings)
    return other.parameters.tobytes(), history.loss


class Again:
    """Can be iterated over as often as wanted."""

    def __iter__(self):
        return generator()


@each("source", [PAIRS, tuple(PAIRS), Again(), generator, lambda epoch: PAIRS,
                 lambda epoch=0: generator()])
def test_same_bytes_as_a_fit(source):
    found = net()
    history = found.fit_batches(source, epochs=2)
    assert (found.parameters.tobytes(), history.loss) == expected()
    assert not endless_threads()


def test_a_generator_is_one_epoch():
    found = net()
    history = found.fit_batches(generator())
    assert (found.parameters.tobytes(), history.loss) == expected(1)
    with pytest.raises(ValueError, match="source=generator can be gone through once, epochs=2"):
        net().fit_batches(generator(), epochs=2)


def test_a_function_gets_the_number_of_the_epoch():
    seen = []

    def source(epoch):
        seen.append(epoch)
        return PAIRS

    net().fit_batches(source, epochs=3)
    assert seen == [0, 1, 2]


@each("rows", [[96], [96, 96], [7, 96], [64, 32], [40, 40, 16]])
def test_batches_are_cut(rows):
    """Each by itself, the last piece may be shorter."""
    found, other, at, cut = net(), net(), 0, []
    parts = []
    for n in rows:
        part = np.arange(at, at + n) % 96
        parts.append((X[part], Y[part]))
        cut += [(X[part[i:i + 16]], Y[part[i:i + 16]]) for i in range(0, n, 16)]
        at += n
    found.fit_batches(parts, batch_size=16, epochs=2)
    other.fit_batches(cut, epochs=2)
    np.testing.assert_array_equal(found.parameters, other.parameters)


def test_batches_that_grow():
    """A larger batch than any before goes on from the same state of the optimizer."""
    sizes = np.array([3, 10, 10, 4, 69])
    parts = [(X[rows], Y[rows]) for rows in np.split(np.arange(96), np.cumsum(sizes)[:-1])]
    found = net(dtype="float64")
    found.fit_batches(parts)
    # by hand: one trainer that is large enough from the start
    large = net(dtype="float64")
    trainer = large._trainer((X.astype(float), Y.astype(np.int32), None),
                             large._bound(None), 0.0,
                             large.parameters, optimizer=fastnn.Adam(), batch_size=96)
    for part in parts:
        trainer.set_data(part[0].astype(float), part[1].astype(np.int32))
        trainer.run_epoch(learning_rate=0.001)
    np.testing.assert_allclose(found.parameters, trainer.parameters, rtol=1e-12, atol=1e-14)


def test_weights_validation_callback_and_options():
    parts = [(x, y, WEIGHT[i * 32:i * 32 + 32]) for i, (x, y) in enumerate(PAIRS)]
    seen, other_seen = [], []
    found, other = net(), net()
    settings = {"epochs": 3, "alpha": 0.1, "validation_data": (X[:20], Y[:20]),
                "optimizer": fastnn.SGD(lambda epoch: 0.1 / (1 + epoch)), "input_noise": 0.1}
    history = found.fit_batches(parts, callback=lambda e, n, h: seen.append((e, h.loss[-1])),
                                **settings)
    expected = other.fit(X, Y, sample_weight=WEIGHT, shuffle=False, batch_size=32,
                         callback=lambda e, n, h: other_seen.append((e, h.loss[-1])), **settings)
    assert found.parameters.tobytes() == other.parameters.tobytes()
    assert (history.loss, history.val_loss) == (expected.loss, expected.val_loss)
    assert seen == other_seen


def test_callback_ends_the_fit():
    def stop(epoch, net, history):
        raise fastnn.StopFit

    assert len(net().fit_batches(PAIRS, epochs=5, callback=stop).loss) == 1


def test_shuffle():
    """Each time another order within each batch; the same for the same seed."""
    found = [net(), net(), net()]
    for one in found[:2]:
        one.fit_batches([(X, Y)], batch_size=16, epochs=2, shuffle=True)
    found[2].fit_batches([(X, Y)], batch_size=16, epochs=2)
    a, b, c = (one.parameters.tobytes() for one in found)
    assert a == b != c


def test_each_batch_of_each_epoch_has_an_order_of_its_own():
    one = net()
    info = one._bound(None)
    trainer = batches.BatchTrainer(one, None, info, {"alpha": 0.0}, shuffle_key=3)
    trainer.take(one._check_data(X, Y, None, info))
    orders = []
    for epoch in range(3):
        trainer.epoch = epoch
        orders += [trainer.order(number).tolist() for number in range(3)]
    assert all(sorted(order) == list(range(len(X))) for order in orders)
    assert len(set(map(tuple, orders))) == 9


def test_other_kinds_of_rows(tmp_path):
    map_ = np.memmap(tmp_path / "X", "int8", "w+", shape=X.shape)
    map_[:] = np.rint(X * 3)
    plain, found, sparse = net(), net(), net()
    plain.fit(np.array(map_, "float32"), Y, batch_size=32, shuffle=False, epochs=1)
    found.fit_batches((map_[i:i + 32], Y[i:i + 32]) for i in range(0, 96, 32))
    sparse.fit_batches((sp.csr_matrix(np.array(map_[i:i + 32], "float32")), Y[i:i + 32].tolist())
                       for i in range(0, 96, 32))
    assert plain.parameters.tobytes() == found.parameters.tobytes() == sparse.parameters.tobytes()


def test_a_source_may_fill_the_same_arrays_again():
    def reuses():
        x, y, weight = np.empty((32, 5), "float32"), np.empty((32, 1), "float32"), np.ones(32, "f4")
        for i in range(0, 96, 32):
            x[:], y[:, 0], weight[:] = X[i:i + 32], X[i:i + 32, 0], WEIGHT[i:i + 32]
            yield x, y, weight

    found, other = (fastnn.MLP((5, 1), random_state=0) for _ in range(2))
    found.fit_batches(reuses)
    other.fit_batches([(X[i:i + 32], X[i:i + 32, :1], WEIGHT[i:i + 32]) for i in range(0, 96, 32)])
    assert found.parameters.tobytes() == other.parameters.tobytes()


def test_the_next_batch_is_read_while_one_trains():
    """Two are asked for before the first is done with, never more than that."""
    asked, trained, ahead = [], [], []

    def source():
        for i in range(8):
            asked.append(i)
            yield X[:32], Y[:32]

    class Trainer(batches.BatchTrainer):
        def take(self, data):
            deadline = time.monotonic() + 20
            wanted = min(8, len(trained) + 1 + batches.AHEAD)
            while len(asked) < wanted and time.monotonic() < deadline:
                time.sleep(0.001)
            ahead.append(len(asked) - len(trained) - 1)
            trained.append(len(asked))
            super().take(data)

    original, batches.BatchTrainer = batches.BatchTrainer, Trainer
    try:
        net().fit_batches(source)
    finally:
        batches.BatchTrainer = original
    assert max(ahead) == ahead[0] == batches.AHEAD


# ---- what `fit` has, too ----

SAME = [
    {"l1": 0.01}, {"clip_norm": 0.05}, {"clip_value": 0.001}, {"max_norm": 0.3}, {"mixup": 0.4},
    {"optimizer": fastnn.EMA(fastnn.Adam(0.01), decay=0.9)}, {"optimizer": "lion"},
    {"optimizer": fastnn.Adam(layers={0: {"learning_rate": 1e-4}})},
    {"optimizer": fastnn.EvolutionStrategy(population=6)},
    {"optimizer": fastnn.Adam(fastnn.schedules.Constant(0.01))},
    {"optimizer": fastnn.Adam(fastnn.schedules.Step(0.01, step_size=1))},
    {"optimizer": fastnn.Adam(fastnn.schedules.InverseScaling(0.1))},
    {"optimizer": fastnn.Adam(fastnn.schedules.ByStep(lambda step: 0.1 / (1 + step)))},
    {"optimizer": fastnn.Adam(fastnn.schedules.ByEpoch(lambda epoch: 0.1 / (1 + epoch)))},
    {"metrics": ["accuracy"]}, {"max_steps": 7}, {"max_steps": 9}, {"max_steps": 1},
    {"max_steps": 12}, {"progress": False}, {"max_time": 1000.0},
]


@each("settings", SAME)
def test_settings_of_a_fit(settings):
    pytest.importorskip("sklearn")
    settings = {"epochs": 4, "validation_data": (X[:20], Y[:20]), **settings}
    plain, found = net(), net()
    expected = plain.fit(X, Y, batch_size=32, shuffle=False, **settings)
    history = found.fit_batches(PAIRS, **settings)
    assert found.parameters.tobytes() == plain.parameters.tobytes()
    assert vars(history) == vars(expected)
    assert found.history is history


@each("schedule", [fastnn.schedules.Cosine(0.1, warmup=0.2), fastnn.schedules.OneCycle(0.1),
                   fastnn.schedules.Exponential(0.1, gamma=0.5), fastnn.schedules.CosLog4(0.1)])
@each("batch, max_steps", [(32, None), (16, None), (16, 20), (16, 100)])
def test_schedules_by_step(schedule, batch, max_steps):
    """With the number of steps of an epoch they are as in `fit`; without it they are refused."""
    settings = {"epochs": 4, "batch_size": batch, "optimizer": fastnn.SGD(schedule),
                "max_steps": max_steps}
    with pytest.raises(ValueError, match=f"{type(schedule).__name__}.*give steps_per_epoch"):
        net().fit_batches(PAIRS, **settings)
    plain, found = net(), net()
    expected = plain.fit(X, Y, shuffle=False, **settings)
    history = found.fit_batches(PAIRS, steps_per_epoch=96 // batch, **settings)
    assert found.parameters.tobytes() == plain.parameters.tobytes()
    assert (history.loss, history.stopped) == (expected.loss, expected.stopped)


def test_callbacks_of_a_fit():
    """The same epochs, steps, rates and scores; the best weights come back."""
    def seen(fit):
        found = []

        class Note(fastnn.Callback):
            def on_epoch_end(self, state):
                found.append((state.epoch, state.step, state.learning_rate, state.loss,
                              state.net.parameters.tobytes()))

        one = net()
        stopping = fastnn.EarlyStopping(patience=2)
        history = fit(one, optimizer=fastnn.SGD(fastnn.schedules.InverseScaling(20.0)), epochs=30,
                      validation_data=(X[:20], Y[:20]), callbacks=[
                          fastnn.ReduceOnPlateau(patience=1), stopping, Note()])
        return found, one.parameters.tobytes(), history.val_loss, history.stopped

    found = seen(lambda one, **settings: one.fit_batches(PAIRS, **settings))
    expected = seen(lambda one, **settings: one.fit(X, Y, batch_size=32, shuffle=False, **settings))
    assert found == expected
    assert found[3].startswith("val_loss has not improved") and len(found[0]) < 30


def test_frozen_layers_stay():
    one = net()
    one.freeze(0)
    before = [w.copy() for w in one.weights]
    one.fit_batches(PAIRS, epochs=2)
    assert (one.weights[0] == before[0]).all() and (one.weights[1] != before[1]).any()


def test_an_epoch_ends_after_so_many_steps():
    """An endless source is closed then; each epoch takes the first ones of its own."""
    closed = []

    def source():
        try:
            while True:
                yield from PAIRS
        finally:
            closed.append(True)

    found, other = net(), net()
    history = found.fit_batches(source, epochs=2, steps_per_epoch=4)
    assert closed == [True, True] and not endless_threads()
    expected = other.fit_batches([*PAIRS, PAIRS[0]], epochs=2)
    assert found.parameters.tobytes() == other.parameters.tobytes()
    assert history.loss == expected.loss and history.stopped == "epochs"
    # a batch of the source that is cut in between
    found, other = net(), net()
    found.fit_batches([(X, Y)], batch_size=16, steps_per_epoch=4, epochs=3)
    other.fit_batches([(X[:64], Y[:64])], batch_size=16, epochs=3)
    assert found.parameters.tobytes() == other.parameters.tobytes()


def test_history_lives_through_errors():
    def source(epoch):
        yield from PAIRS
        if epoch == 2:
            raise OSError("the disk is gone")

    one = net()
    with pytest.raises(OSError, match="the disk is gone"):
        one.fit_batches(source, epochs=5)
    assert len(one.history.loss) == 2 and one.history.stopped == "failed"


@each("name, value", [("max_steps", 0), ("steps_per_epoch", 0), ("steps_per_epoch", 1.5),
                      ("max_time", 0), ("clip_norm", 0), ("l1", -1), ("metrics", ["accuracy"]),
                      ("callbacks", [3]), ("progress", 2), ("optimizer", "none")])
def test_wrong_settings_are_named(name, value):
    pytest.importorskip("sklearn")
    with pytest.raises((TypeError, ValueError), match=name):
        net().fit_batches(PAIRS, **{name: value})
    with pytest.raises(ValueError, match="optimizer=LBFGS runs a whole fit"):
        net().fit_batches(PAIRS, optimizer=fastnn.LBFGS())


# ---- errors ----

def after(good, bad):
    def source():
        yield from PAIRS[:good]
        yield bad

    return source


@each("bad, kind, message", [
    ((X[:8, :4], Y[:8]), ValueError, "batch 2 of the source: X has 4 columns, must have 5"),
    ((X[:8], Y[:7]), ValueError, "batch 2 of the source: y has shape"),
    ((X[:8], Y[:8] + 5), ValueError, "batch 2 of the source: y has labels"),
    ((X[:8].astype("U"), Y[:8]), TypeError, "batch 2 of the source: X has dtype"),
    ((X[:8] * np.nan, Y[:8]), ValueError, "batch 2 of the source: X contains NaN"),
    ((X[:0], Y[:0]), ValueError, "batch 2 of the source: X has 0 rows"),
    ((X[:8], Y[:8], -WEIGHT[:8]), ValueError, "batch 2 of the source: sample_weight"),
    ((X[:8],), TypeError, "batch 2 of the source: is tuple of 1, must be"),
    (X[:2], TypeError, "batch 2 of the source: is ndarray, must be"),
    (None, TypeError, "batch 2 of the source: is NoneType"),
])
def test_wrong_batches_are_named(bad, kind, message):
    one = net()
    start = one.parameters.tobytes()
    with pytest.raises(kind, match=message):
        one.fit_batches(after(2, bad))
    assert one.parameters.tobytes() == start
    assert not endless_threads()


@each("source, kind, message", [
    ([], ValueError, "no batch in epoch 0"), (lambda: (), ValueError, "no batch in epoch 0"),
    (lambda epoch: PAIRS if epoch < 1 else [], ValueError, "no batch in epoch 1"),
    (5, TypeError, "source=int must be an iterable"), (lambda: 5, TypeError, "source returned 5"),
])
def test_wrong_sources_are_named(source, kind, message):
    with pytest.raises(kind, match=message):
        net().fit_batches(source, epochs=2)


@each("name, value", [("epochs", 0), ("epochs", 1.5), ("batch_size", 0), ("shuffle", 1),
                      ("alpha", -1), ("callback", 3), ("loss", "none"), ("input_noise", -1)])
def test_wrong_arguments_are_named(name, value):
    with pytest.raises((TypeError, ValueError), match=name):
        net().fit_batches(PAIRS, **{name: value})


def test_what_the_source_raises_comes_out():
    """And what it holds is closed; the network stays at the last whole epoch."""
    closed = []

    def source(epoch):
        try:
            yield from PAIRS[:2]
            if epoch == 1:
                raise OSError("the disk is gone")
        finally:
            closed.append(epoch)

    one = net()
    with pytest.raises(OSError, match="the disk is gone"):
        one.fit_batches(source, epochs=2)
    assert closed == [0, 1] and not endless_threads()
    other = net()
    other.fit_batches(PAIRS[:2])
    assert one.parameters.tobytes() == other.parameters.tobytes()


def test_a_source_is_closed_where_training_ends_early():
    closed = []

    def source():
        try:
            while True:
                yield X[:8], X[:8, :1] * 1e30
        finally:
            closed.append(True)

    one = fastnn.MLP((5, 1), random_state=0)
    with pytest.warns(fastnn.DivergenceWarning):
        one.fit_batches(source, optimizer=fastnn.SGD(1e30))
    assert closed and not endless_threads()


def test_ctrl_c(ctrl_c):
    """The parameters are those of the last whole step, the thread and the source have ended."""
    import _thread

    closed = []

    def source():
        try:
            for i in range(10_000):
                if i == 50:
                    _thread.interrupt_main()
                yield PAIRS[i % 3]
        finally:
            closed.append(True)

    one = net()
    start = one.parameters.tobytes()
    with pytest.raises(KeyboardInterrupt):
        one.fit_batches(source)
    assert closed and not endless_threads()
    assert one.parameters.tobytes() != start and np.isfinite(one.parameters).all()
    one.fit_batches(PAIRS)  # nothing is locked


# ---- estimators ----

def test_classifier_finds_the_classes():
    pytest.importorskip("sklearn")
    names = np.array(["a", "b", "c"])
    parts = [(x, names[y]) for x, y in PAIRS]
    found = fastnn.MLPClassifier((8,), random_state=0).fit_batches(parts, epochs=3)
    assert found.classes_.tolist() == ["a", "b", "c"]
    other = fastnn.MLPClassifier((8,), random_state=0)
    for _ in range(3):
        for x, y in parts:
            other.partial_fit(x, y, classes=names)
    assert all((a == b).all() for a, b in zip(found.coefs_, other.coefs_, strict=True))
    given = fastnn.MLPClassifier((8,), random_state=0).fit_batches(iter(parts), classes=names)
    assert given.t_ == 96
    with pytest.raises(ValueError, match="classes="):
        fastnn.MLPClassifier().fit_batches(iter(parts))


def test_estimators_start_anew_or_go_on():
    pytest.importorskip("sklearn")
    parts = [(x, x[:, 0]) for x, _ in PAIRS]
    once = fastnn.MLPRegressor(hidden_layer_sizes=(8,), random_state=0).fit_batches(parts)
    before = [w.copy() for w in once.coefs_]
    once.fit_batches(parts)
    assert all((a == b).all() for a, b in zip(once.coefs_, before, strict=True))
    once.set_params(warm_start=True).fit_batches(parts)
    twice = fastnn.MLPRegressor(hidden_layer_sizes=(8,), random_state=0).fit_batches(
        parts, epochs=2)
    assert all((a == b).all() for a, b in zip(once.coefs_, twice.coefs_, strict=True))


def test_errors_leave_an_estimator_as_it_was():
    pytest.importorskip("sklearn")
    est = fastnn.MLPRegressor(hidden_layer_sizes=(8,), random_state=0)
    with pytest.raises(ValueError, match="batch 1 of the source: X has 4 features"):
        est.fit_batches([(X[:8], X[:8, 0]), (X[:8, :4], X[:8, 0])])
    assert not hasattr(est, "coefs_")
    with pytest.raises(ValueError, match="no batch in epoch 0"):
        est.fit_batches([])
    with pytest.raises(AttributeError):
        fastnn.MLPRegressor(solver="lbfgs").fit_batches([])


# ---- files ----

def test_folder_of_pairs(tmp_path):
    for i, (x, y) in enumerate(PAIRS):
        np.save(tmp_path / f"X_{i}.npy", x)
        np.save(tmp_path / f"y_{i}.npy", y)
    source = fastnn.sources.from_folder(tmp_path, "X_*.npy", "y_*.npy")
    assert len(source) == 3
    found = net()
    history = found.fit_batches(source, epochs=2)
    assert (found.parameters.tobytes(), history.loss) == expected()
    (tmp_path / "y_1.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"has 'X_1.npy', but no 'y_1.npy'"):
        fastnn.sources.from_folder(tmp_path, "X_*.npy", "y_*.npy")
    with pytest.raises(FileNotFoundError, match="no files"):
        fastnn.sources.from_folder(tmp_path, "Z*.npy", "z*.npy")
    with pytest.raises(ValueError, match=r"one \*"):
        fastnn.sources.from_folder(tmp_path, "X.npy")


def parquet(path, rows, **more):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet as pq

    table = pa.table({f"x{i}": X[:, i] for i in range(5)} | {"label": Y, "w": WEIGHT} | more)
    pq.write_table(table, path, row_group_size=rows)


def test_parquet_row_groups(tmp_path):
    parquet(tmp_path / "a.parquet", 32)
    columns = [f"x{i}" for i in range(5)]
    source = fastnn.sources.from_parquet(tmp_path / "a.parquet", columns, target="label")
    assert [len(y) for _, y in source] == [32, 32, 32]
    found = net()
    history = found.fit_batches(source, epochs=2)
    assert (found.parameters.tobytes(), history.loss) == expected()
    source = fastnn.sources.from_parquet([str(tmp_path / "a.parquet")] * 2, target="label",
                                         sample_weight="w", rows=20)
    sizes = [(x.shape, y.shape, w.shape) for x, y, w in source]
    assert sum(shape[0][0] for shape in sizes) == 192
    assert max(sizes) == ((20, 5), (20,), (20,))


def test_parquet_that_cannot_be_read(tmp_path):
    parquet(tmp_path / "a.parquet", 32, hole=[None, *range(95)], name=["a"] * 96)
    place = tmp_path / "a.parquet"
    with pytest.raises(ValueError, match="no column 'z', it has 'x0', 'x1'"):
        fastnn.sources.from_parquet(place, ["x0", "z"], target="label")
    with pytest.raises(ValueError, match="column 'hole' of .* has missing values"):
        list(fastnn.sources.from_parquet(place, ["hole"], target="label"))
    with pytest.raises(ValueError, match="column 'name' of .* holds string"):
        list(fastnn.sources.from_parquet(place, ["name"], target="label"))
    with pytest.raises(ValueError, match="rows=0"):
        fastnn.sources.from_parquet(place, target="label", rows=0)
