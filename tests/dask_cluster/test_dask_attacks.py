"""Data that nobody means well with: right, or an error that says what is wrong."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest
from cluster_data import network, rows

import fastnn

distributed = pytest.importorskip("distributed")
pytest.importorskip("sklearn")
da = pytest.importorskip("dask.array")
import dask  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402

import fastnn.dask  # noqa: E402
from fastnn.dask import cluster  # noqa: E402
from fastnn.dask.trainer import RoundState  # noqa: E402

SHORT = dict(shards=2, epochs=1, local_steps=100)
SMALL = dict(hidden_layer_sizes=(4,), max_iter=2, shards=2, random_state=0)


def test_shards_whose_weights_are_zero_have_no_say(client):
    """In the exact gradient, and where rows are held out."""
    X, y = rows(60)
    weight = np.ones(60)
    weight[:30] = 0
    alone, spread = network(), network()
    settings = dict(optimizer=fastnn.LBFGS(max_iter=3), epochs=3)
    expected = alone.fit(X[30:], y[30:], **settings)
    found = fastnn.dask.fit(spread, X, y, sample_weight=weight, shards=2, **settings)
    np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-6)
    model = fastnn.dask.MLPClassifier(**SMALL, early_stopping=True).fit(X, y, weight)
    assert np.isfinite(model.validation_scores_).all()
    weight[:] = 0
    weight[np.flatnonzero(y)[:1]] = 1
    with pytest.raises(ValueError, match="rows that are held out have no sample_weight above 0"):
        fastnn.dask.MLPClassifier(**SMALL, early_stopping=True).fit(X, y, weight)


@pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit])
def test_parts_that_raise_what_is_no_exception(client, error):
    """Dask itself waits for such a task for ever."""
    def leaves():
        raise error("out")

    with pytest.raises(RuntimeError, match=f"partition 0: what makes it raised {error.__name__}"):
        fastnn.dask.fit(network(), [dask.delayed(leaves)()], **SHORT)


def test_parts_that_are_others_the_second_time(client, tmp_path):
    """Of fewer rows more were taken than there are."""
    X, y = rows(60)

    def read(change, path):
        again = path.exists()
        path.touch()
        return change(X, y) if again else (X, y)

    cases = [(lambda X, y: (X[:40], y[:40]), "partition 0: has 40 rows, and had 60 or more"),
             (lambda X, y: (X[:, :4], y), "shard .: X has 4 columns, must have 5"),
             (lambda X, y: (X, y + 0.5), r"shard .: y has the label [01]\.5, which it had not")]
    for i, (change, message) in enumerate(cases):
        with pytest.raises(ValueError, match=message):
            part = dask.delayed(read)(change, tmp_path / f"{i}")
            fastnn.dask.MLPClassifier(**SMALL).fit([part], None)


def test_one_delayed_part_is_a_list_of_one(client):
    X, y = rows(60)
    one, other = network(), network()
    fastnn.dask.fit(one, X, y, **SHORT)
    fastnn.dask.fit(other, dask.delayed((X, y)), **SHORT)
    assert other.parameters.tobytes() == one.parameters.tobytes()
    fastnn.dask.fit(one, dask.delayed(X), dask.delayed(y), **SHORT)
    model = fastnn.dask.MLPClassifier(**SMALL).fit(dask.delayed(X), dask.delayed(y))
    assert (model.predict(dask.delayed(X)).compute() == model.predict(X)).all()
    assert model.score(dask.delayed(X), dask.delayed(y)) == model.score(X, y)


def test_models_that_are_not_fitted(client):
    with pytest.raises(NotFittedError):
        fastnn.dask.MLPClassifier(**SMALL).predict(da.zeros((4, 5), chunks=(2, 5)))
    pandas = pytest.importorskip("pandas")
    frame = pytest.importorskip("dask.dataframe").from_pandas(
        pandas.DataFrame({"a": [1.0, 2.0]}), npartitions=1)
    with pytest.raises(NotFittedError):
        fastnn.dask.TabularClassifier("fast", shards=2).predict(frame)


def test_tables_are_frames_of_pandas_or_arrays(client):
    X, y = rows(60)
    for part in ({"a": X[:, 0], "b": X[:, 1]}, X.tolist()):
        with pytest.raises(TypeError, match="partition 0: X is of type .* must be a data frame"):
            fastnn.dask.TabularClassifier("fast", shards=2).fit([dask.delayed((part, y))], None)
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"a": X[:, 0], "y": y})
    with pytest.raises(TypeError, match="partition 0: y='y' names columns of X, which must be"):
        fastnn.dask.TabularClassifier("fast", shards=2).fit([dask.delayed(frame)], "y")


def test_tasks_that_no_worker_was_there_for_are_started(monkeypatch):
    """They ask for a worker that is gone: Dask leaves them alone, though others may run them."""
    monkeypatch.setattr(cluster, "POLL", 0.1)
    with distributed.LocalCluster(processes=False, n_workers=0, dashboard_address=None) as empty, \
            distributed.Client(empty, set_as_default=False) as own:
        fit = cluster.Cluster(own)
        future = fit.submit(int, "3", name="test", number=(0,), worker="inproc://gone")
        while not own.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.unrunnable)):
            pass
        empty.scale(1)
        own.wait_for_workers(1)
        found = []
        thread = threading.Thread(target=lambda: found.extend(fit.fetch([future])), daemon=True)
        thread.start()
        thread.join(20)
    assert found == [3]


def test_results_that_are_long_on_their_way(client, monkeypatch):
    """Dask's client is lost where what it gathers is cancelled before it has begun: a driver whose
    loop stood still, or a machine that slept."""
    import asyncio

    before, cancelled = client._gather_remote, []

    async def late(*arguments):
        try:
            await asyncio.sleep(0.3)
        except asyncio.CancelledError:
            cancelled.append(arguments)
            raise
        return await before(*arguments)

    X, y = rows(60)
    expected = network()
    fastnn.dask.fit(expected, X, y, **SHORT)
    monkeypatch.setattr(cluster, "POLL", 0.02)
    monkeypatch.setattr(client, "_gather_remote", late)
    spread = network()
    fastnn.dask.fit(spread, X, y, **SHORT)
    assert spread.parameters.tobytes() == expected.parameters.tobytes() and not cancelled
    monkeypatch.undo()
    assert client.submit(int, 1, pure=False).result() == 1


def test_a_result_whose_gathering_is_cancelled_is_an_error(client, monkeypatch):
    """Not an UnboundLocalError of Dask's."""
    import asyncio

    async def gone(*arguments, **more):
        raise asyncio.CancelledError

    monkeypatch.setattr(client, "gather", gone)
    with pytest.raises(RuntimeError, match="was cancelled: is the scheduler gone"):
        fastnn.dask.fit(network(), *rows(60), **SHORT)
    monkeypatch.undo()
    assert len(fastnn.dask.fit(network(), *rows(60), **SHORT).loss) == 1


def test_a_fit_that_waits_for_nothing_that_runs_says_for_what(client, monkeypatch):
    """Idle workers, and a task that needs what nobody has."""
    monkeypatch.setattr(cluster, "POLL", 0.02)
    monkeypatch.setattr(cluster, "IDLE", 2)
    own = cluster.Cluster(client)
    done = own.submit(int, 1, name="done", number=(0,))
    assert own.fetch([done]) == [1]
    never = distributed.Future("never-made", client=client)
    ends = threading.Timer(1.0, never.release)
    ends.start()
    with pytest.warns(UserWarning, match="waits for 'never-made', and none of 2 Dask workers has"):
        with pytest.raises(RuntimeError, match="was cancelled"):
            own.fetch([never])
    ends.join()
    assert cluster._state_of("never-made", client.cluster.scheduler) in (
        "unknown to it", "released", "forgotten")
    assert client.submit(int, 1, pure=False).result() == 1


def test_parts_whose_errors_dask_cannot_send(client):
    """A traceback of a thousand frames cannot be pickled, and Dask waits for the task for ever."""
    def deep():
        return deep()

    def ends():
        raise StopIteration(3)

    for made, message in ((deep, "RecursionError: maximum recursion"), (ends, "StopIteration: 3")):
        with pytest.raises(RuntimeError, match=f"partition 0: what makes it raised {message}"):
            fastnn.dask.fit(network(), [dask.delayed(made)()], **SHORT)


def test_weights_of_classes_that_are_none(client):
    pandas = pytest.importorskip("pandas")
    X, y = rows(60)
    frame = pandas.DataFrame(X).assign(y=y)
    for weight in (-1.0, float("nan"), "x"):
        model = fastnn.dask.TabularClassifier("fast", shards=2, class_weight={0: weight})
        with pytest.raises((ValueError, TypeError), match=r"class_weight\[0\]=.* must be"):
            model.fit(frame.drop(columns="y"), frame["y"])
    for weight in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="class_weight"):
            fastnn.dask.MLPClassifier(**SMALL, class_weight={0: weight}).fit(X, y)


def test_hidden_values_of_masked_arrays_are_not_used(client):
    """They were, in every partition, where one machine refuses them."""
    X, y = rows(60)
    hidden = np.ma.masked_greater(X, 1)
    assert hidden.mask.any()
    parts = da.from_array(hidden, chunks=(20, -1))
    labels = da.from_array(y, chunks=20)
    weight = np.ma.masked_less(np.arange(60.0), 3)
    for given, name in (((parts, labels), "X"), ((hidden, y), "X"),
                        ((X, np.ma.masked_equal(y, 1)), "y"), ((X, y, weight), "sample_weight")):
        with pytest.raises(ValueError, match=f"{name} is a masked array that hides values"):
            fastnn.dask.fit(network(), *given[:2], **SHORT,
                            sample_weight=given[2] if len(given) > 2 else None)
    numbers = fastnn.dask.TabularRegressor("fast", shards=2)
    for given in ((parts, labels), (hidden, y)):
        with pytest.raises(ValueError, match="X is a masked array that hides values"):
            numbers.fit(*given)
    with pytest.raises(ValueError, match="y is a masked array that hides values"):
        numbers.fit(da.from_array(X, chunks=(20, -1)), da.ma.masked_equal(labels, 1))
    shown = np.ma.masked_array(X)  # which hides none
    found = fastnn.dask.fit(network(), da.from_array(shown, chunks=(20, -1)), labels, **SHORT)
    assert found.loss == fastnn.dask.fit(network(), X, y, **SHORT).loss


def test_arrays_that_dask_holds(client):
    """Dask's optimization drops their futures: after persist() no part was found."""
    X, y = rows(60)
    parts, labels = da.from_array(X, chunks=(20, -1)), da.from_array(y, chunks=20)
    expected = fastnn.dask.fit(network(), parts, labels, **SHORT).loss
    held, held_y = dask.persist(parts, labels)
    assert fastnn.dask.fit(network(), held, held_y, **SHORT).loss == expected
    assert fastnn.dask.fit(network(), held, labels, **SHORT).loss == expected
    cut = held.rechunk((30, 2)), held_y.rechunk(30)
    again = fastnn.dask.fit(network(), *cut, **SHORT).loss
    assert again == fastnn.dask.fit(network(), parts.rechunk((30, -1)), labels.rechunk(30),
                                    **SHORT).loss
    delayed = [list(one.to_delayed().ravel()) for one in (held, held_y)]
    assert fastnn.dask.fit(network(), *delayed, **SHORT).loss == expected
    model = fastnn.dask.MLPClassifier(**SMALL).fit(held, held_y)
    assert model.score(held, held_y) == model.score(parts, labels)


def test_arrays_are_predicted_as_arrays(client):
    """Estimators of tables gave a list; one axis was Python's IndexError."""
    X, y = rows(60)
    parts = da.from_array(X, chunks=(20, 3))
    table = fastnn.dask.TabularClassifier("fast", shards=2, random_state=0)
    table.fit(parts.rechunk((20, -1)), da.from_array(y, chunks=20))
    for model in (table, fastnn.dask.MLPClassifier(**SMALL).fit(X, y)):
        for method in ("predict", "predict_proba"):
            found = getattr(model, method)(parts)
            expected = getattr(model, method)(X)
            assert found.dtype == expected.dtype and found.shape == expected.shape
            np.testing.assert_array_equal(found.compute(), expected)
        empty = da.concatenate([parts[:0], parts])
        assert model.predict(empty).compute().shape == (60,)
        with pytest.raises(ValueError, match=r"X has 1 axes, must have 2: X.reshape\(-1, 1\)"):
            model.predict(parts[:, 0])


def test_bags_are_predicted_by_parts(client):
    """They are trained on; a prediction was Python's AttributeError."""
    import dask.bag

    X, y = rows(60)
    bag = dask.bag.from_sequence(X.tolist(), npartitions=3)
    table = fastnn.dask.TabularClassifier("fast", shards=2, random_state=0).fit(X, y)
    for model in (fastnn.dask.MLPClassifier(**SMALL).fit(X, y), table):
        found = dask.compute(*model.predict(bag))
        np.testing.assert_array_equal(np.concatenate(found), model.predict(X))


def test_scores_of_labels_of_another_kind(client):
    """Text beside numbers was an accuracy of 0, where one machine refuses it."""
    X, y = rows(60)
    parts, labels = da.from_array(X, chunks=(20, -1)), da.from_array(y, chunks=20)
    model = fastnn.dask.MLPClassifier(**SMALL).fit(X, y)
    with pytest.raises(TypeError, match="partition 0: y holds strings, the classes .* numbers"):
        model.score(parts, labels.astype(str))
    text = fastnn.dask.MLPClassifier(**SMALL).fit(X, y.astype(str))
    with pytest.raises(TypeError, match="partition 0: y holds numbers, the classes .* strings"):
        text.score(parts, labels)
    assert text.score(parts, labels.astype(str)) == model.score(parts, labels)
    assert model.score(parts, labels.astype(float)) == model.score(parts, labels)


def test_what_is_wrong_with_targets_and_weights_is_said_of_their_partition(client):
    X, y = rows(60)
    text, ones = np.array(["no", "yes"], object)[y], np.ones(60)
    cases = [
        ("Classifier", [(X, y.astype(object)), (X, text)], "partition 1 has y of strings, part"),
        ("Classifier", [(X, text), (X, y.astype(object))], "partition 1 has y of no strings"),
        ("Classifier", [(X[:, :0], y)], "X has 0 columns beside y"),
        ("Classifier", [(X, y, ones), (X, y, 1.0)], "partition 1: sample_weight is 1.0, must have"),
        ("Classifier", [(X, 1)], "partition 0: y is 1, must have a value for each row"),
        ("Classifier", [(X, y, 1e36 * ones)], "sample_weight adds up to 6e.37, too large"),
        ("Classifier", [(X, y, 1e-44 * ones)], "sample_weight is at most 9.81e-45, too small"),
        ("Regressor", [(X, X[:, 0]), (X, text)], "partition 1: y has dtype object, must be num"),
        ("Regressor", [(X, y.astype("M8[s]"))], "partition 0: y has dtype datetime64.*holds dates"),
    ]
    for kind, given, message in cases:
        model = getattr(fastnn.dask, f"MLP{kind}")(**SMALL, dtype="float32")
        with pytest.raises((ValueError, TypeError), match=message):
            model.fit([dask.delayed(part) for part in given], None)
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"a": X[:, 0]})
    with pytest.raises(TypeError, match=r"partition 0: X is a DataFrame of polars.*to_pandas"):
        fastnn.dask.MLPClassifier(**SMALL).fit([dask.delayed((frame, y))], None)
    model = fastnn.dask.MLPClassifier(**SMALL).fit(X[:, :1], y)
    with pytest.raises(TypeError, match=r"partition 0: X is a DataFrame of polars.*to_pandas"):
        dask.compute(*model.predict([dask.delayed(frame)]))


def test_scores_of_parts_whose_weights_are_zero(client):
    """R2 was 0 where one partition had no weight, and a ZeroDivisionError where none had any."""
    X, y = rows(60)
    weight = np.ones(60)
    weight[:20] = 0
    given = [da.from_array(one, chunks=(20, *one.shape[1:])) for one in (X, y, X[:, 0], weight)]
    classes = fastnn.dask.MLPClassifier(**SMALL).fit(X, y)
    values = fastnn.dask.MLPRegressor(**SMALL).fit(X, X[:, 0])
    for model, target, local in ((classes, given[1], y), (values, given[2], X[:, 0])):
        expected = model.score(X[20:], local[20:])
        assert model.score(given[0], target, given[3]) == pytest.approx(expected, rel=1e-6)
        with pytest.raises(ValueError, match="sample_weight is 0 everywhere"):
            model.score(given[0], target, da.zeros(60, chunks=20))
        with pytest.raises(ValueError, match="sample_weight adds up to inf"):
            model.score(given[0], target, da.full(60, 1e308, chunks=20))


def test_parts_to_predict_are_no_pairs(client):
    X, y = rows(60)
    part = [dask.delayed((X, y))]
    table = fastnn.dask.TabularClassifier("fast", shards=2, random_state=0).fit(X, y)
    for model in (fastnn.dask.MLPClassifier(**SMALL).fit(X, y), table):
        assert model.score(part, None) == model.score(X, y)
        with pytest.raises(TypeError, match="partition 0: a part is a tuple, as .X, y. is for fit"):
            dask.compute(*model.predict(part))


def test_labels_may_be_a_list(client):
    """It was taken for one of parts: y has 60 partitions."""
    X, y = rows(60)
    lazy = da.from_array(X, chunks=(20, -1))
    for labels in (y, np.array(["no", "yes"])[y]):
        one = fastnn.dask.MLPClassifier(**SMALL).fit(lazy, labels)
        other = fastnn.dask.MLPClassifier(**SMALL).fit(lazy, labels.tolist())
        assert (one.predict(X) == other.predict(X)).all() and one.loss_ == other.loss_
        assert one.score(lazy, labels.tolist()) == one.score(X, labels)
        parts = [dask.delayed(X[:20]), dask.delayed(X[20:])]
        for given in (labels.tolist(), list(labels), [labels[:20], labels[20:]]):
            table = fastnn.dask.TabularClassifier("fast", random_state=0).fit(parts, given)
            assert (table.classes_ == np.unique(labels)).all()


def test_parts_of_a_table_in_memory(client):
    """What frames of others than pandas and sparse parts are was said by NumPy and SciPy."""
    polars, pyarrow = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    scipy = pytest.importorskip("scipy.sparse")
    X, y = rows(120)
    text = np.where(X[:, 1] > 0, "u", "v")
    halves = slice(0, 60), slice(60, 120)
    columns = [{"a": X[own, 0], "b": text[own]} for own in halves]
    expected = None
    for frame in (polars.DataFrame, pyarrow.table):
        given = [dask.delayed((frame(own), y[half])) for own, half in zip(columns, halves,
                                                                       strict=True)]
        model = fastnn.dask.TabularClassifier("fast", random_state=0).fit(given, None)
        found = model.predict_proba({"a": X[:, 0], "b": text})
        assert list(model.feature_names_in_) == ["a", "b"]
        expected = found if expected is None else expected
        assert (found == expected).all()
    given = [dask.delayed((scipy.csr_array(X[half]), y[half])) for half in halves]
    with pytest.raises(TypeError, match="Sparse data was passed for X"):
        fastnn.dask.TabularClassifier("fast").fit(given, None)


def test_a_checkpoint_names_what_it_sets():
    """Its state of a round could set any attribute of the trainer."""
    state = RoundState({})
    state.trainer = SimpleNamespace(loss_sum=0.0, rows_done=0.0, local_steps=None)
    good = {"loss_sum": 1.5, "rows_done": 3.0, "local_steps": 4}
    state.set_state(good)
    assert vars(state.trainer) == good
    for wrong in ({**good, "run_epoch": 1}, {"loss_sum": 1.5}, {**good, "local_steps": "4"},
                  {**good, "rows_done": float("nan")}):
        with pytest.raises(fastnn.ModelFormatError, match="a state of a callback"):
            state.set_state(wrong)
    assert vars(state.trainer) == good
