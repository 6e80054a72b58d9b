"""What is refused, by name and with the number of the partition; the cluster goes on."""

import pickle
import threading
import time

import numpy as np
import pytest
import scipy.sparse as sp
from cluster_data import network, rows

import fastnn

distributed = pytest.importorskip("distributed")
da = pytest.importorskip("dask.array")
import dask  # noqa: E402

import fastnn.dask  # noqa: E402
from fastnn.dask import cluster, fitting, shards, tasks  # noqa: E402
from fastnn.dask import parts as survey_parts  # noqa: E402

SHORT = dict(shards=2, epochs=1, local_steps=100)


def parts(*given):
    return [dask.delayed(part) for part in given]


def fits(X, y=None, **settings):
    return fastnn.dask.fit(network(), X, y, **{**SHORT, **settings})


def test_parts_that_cannot_be_trained_on(client):
    X, y = rows(60)
    bad = X.copy()
    bad[7, 3] = np.nan
    cases = [
        (parts((X, y), (bad, y)), r"partition 1: X contains nan .* row 7, column 3: 1 such"),
        (parts((X, y), (X[:, :4], y)), "partition 1 has the number of columns 4, partition 0 5"),
        (parts((X, y), (X.astype("f8"), y)), "partition 1 has dtype float64, partition 0 float32"),
        (parts((X, y), (X, y[:5])), "partition 1: y has 5 rows, X has 60"),
        (parts((X, y), (X, y + 1)), r"partition 1: y has labels in 1\.\.2"),
        (parts((X[:0], y[:0])), "X has 0 rows in 1 partitions"),
        (parts((X, y), (X, y, y)), "partition 0 has no sample_weight, others have"),
        (parts((X, y, 0 * y), (X, y, 0 * y)), "sample_weight is 0 everywhere"),
        (parts(X), "partition 0: y is missing"),
        (parts((X[:, :4], y)), "X has 4 columns, must have 5"),
        (parts((X.astype(str), y)), "partition 0: X has dtype .* must be numeric"),
    ]
    for given, message in cases:
        with pytest.raises((ValueError, TypeError), match=message):
            fits(given)
    with pytest.raises(ValueError, match="y has 1 partitions, X has 2"):
        fits(parts(X, X), parts(y))
    assert len(fits(parts((X, y))).loss) == 1, "the cluster is as before"


def test_codes_are_refused(client):
    """The message said that MLP takes them as they are."""
    X, y = rows(60)
    codes = fastnn.encoders.Encoder().fit_transform(X)
    for given in (dict(X=codes, y=y), dict(X=[(codes, y)]), dict(X=parts((codes, y)))):
        with pytest.raises(TypeError, match="X holds codes, which fastnn.dask does not take"):
            fits(**given)


def test_errors_of_validation_rows_name_them(client):
    X, y = rows(60)
    bad = X.copy()
    bad[7, 3] = np.nan
    given = parts((X, y))
    for held, message in (
            (bad, r"^in validation_data: partition 0: X contains nan .* row 7, column 3"),
            (X[:, :4], "^in validation_data: shard [01]: X has 4 columns, must have 5"),
            (X[:0], "^in validation_data: X has 0 rows in 1 partitions")):
        with pytest.raises(ValueError, match=message):
            fits(given, validation_data=(parts(held), parts(y[:len(held)])))
    with pytest.raises(ValueError, match="^in validation_data: y has 2 partitions, X has 1"):
        fits(given, validation_data=(parts(X), parts(y, y)))


def test_empty_parts_and_unknown_lengths_are_taken(client):
    X, y = rows(60)
    net, other = network(), network()
    fastnn.dask.fit(net, X, y, **SHORT)
    fastnn.dask.fit(other, parts(X[:0], X[:50], X[:0], X[50:]), parts(y[:0], y[:50], y[:0], y[50:]),
                    **SHORT)
    assert other.parameters.tobytes() == net.parameters.tobytes()
    whole = da.from_array(X, chunks=(25, 5))
    unknown = whole[da.from_array(np.ones(60, bool), chunks=25)]
    third = network()
    fastnn.dask.fit(third, unknown, da.from_array(y, chunks=25), **SHORT)
    assert third.parameters.tobytes() == net.parameters.tobytes()


def test_empty_parts_may_hold_anything(client):
    pandas = pytest.importorskip("pandas")
    X, y = rows(60)
    frame = pandas.DataFrame(X, columns=list("abcde")).assign(y=y)
    for target in ("y", ["y", "e"]):  # labels, and several columns of values
        net = fastnn.MLP((4 if target != "y" else 5, 3, 2),
                         output="softmax" if target == "y" else "identity", random_state=0)
        empty = pandas.DataFrame(columns=frame.columns)  # of objects
        assert len(fastnn.dask.fit(net, parts(empty, frame, empty), target, **SHORT).loss) == 1
    assert len(fits(parts((X[:0], y[:0]), (X, y, np.ones(60)))).loss) == 1, "without weights"


def test_labels_that_cannot_be_compared():
    pandas = pytest.importorskip("pandas")
    for label, error, message in ((pandas.NA, ValueError, "y has no label in row 2: 1 such"),
                                  (pandas.NaT, ValueError, "y has no label in row 2: 1 such"),
                                  ((1,), TypeError, "no labels, but sequences")):
        values = np.array(["a", "b", None, "c"], object)
        values[2] = label
        with pytest.raises(error, match=message):
            survey_parts.labels_of(values)
    assert survey_parts.labels_of(np.array([], object))[0].size == 0


def test_fits_of_several_threads_on_one_client(client):
    """Dask's settings, which all threads share, are as before."""
    X, y = rows(60)
    name, found = "distributed.admin.large-graph-warning-threshold", []
    before = dask.config.get(name)

    def fit():
        net = network()
        fastnn.dask.fit(net, X, y, client=client, **{**SHORT, "epochs": 3})
        found.append(net.parameters.tobytes())

    threads = [threading.Thread(target=fit) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3 and len(set(found)) == 1 and dask.config.get(name) == before


def test_fits_in_tasks_do_not_wait_for_themselves(client):
    X, y = rows(60)
    net = network()
    fastnn.dask.fit(net, X, y, **SHORT)

    def task(number):
        own = network()
        fastnn.dask.fit(own, X, y, **SHORT)
        return own.parameters.tobytes()

    assert set(client.gather(client.map(task, range(3), pure=False))) == {net.parameters.tobytes()}


def test_columns_of_frames(client):
    pandas = pytest.importorskip("pandas")
    X, y = rows(40)
    frame = pandas.DataFrame(X, columns=list("abcde")).assign(y=y)
    assert len(fits(parts(frame, frame), "y").loss) == 1
    with pytest.raises(ValueError, match="partition 1 has the columns"):
        fits(parts(frame, frame[["b", "a", "c", "d", "e", "y"]]), "y")
    with pytest.raises(ValueError, match="partition 1 has dtype int64 in column 'c'"):
        fits(parts(frame, frame.assign(c=1)), "y")
    with pytest.raises(TypeError, match="partition 0: column 'b' of X has dtype .* encode it"):
        fits(parts(frame.assign(b="x")), "y")
    with pytest.raises(ValueError, match="partition 0: X has no column 'z'"):
        fits(parts(frame), "z")
    with pytest.raises(TypeError, match="partition 1: y='y' names columns of X, which must be a"):
        fits(parts(frame, frame["y"]), "y")


def test_broken_sparse_parts_are_named(client):
    """SciPy slices and joins them unchecked: indices beyond X were read, or the worker died."""
    sparse = pytest.importorskip("scipy.sparse")
    X, y = rows(60)
    X[abs(X) < 1] = 0
    net = network()
    fastnn.dask.fit(net, X, y, **SHORT)
    for kind in ("csr", "csc", "coo", "bsr"):
        other, half = network(), [sparse.csr_matrix(X[a:a + 30]).asformat(kind) for a in (0, 30)]
        fastnn.dask.fit(other, parts((half[0], y[:30]), (half[1], y[30:])), **SHORT)
        np.testing.assert_allclose(other.parameters, net.parameters, atol=1e-6)
        fastnn.dask.fit(other := network(), sparse.csr_matrix(X).asformat(kind), y, **SHORT)
        np.testing.assert_allclose(other.parameters, net.parameters, atol=1e-6)
    model = fastnn.dask.MLPClassifier((4,), max_iter=1, shards=2).fit(X, y)
    actions = (lambda *X: fits(parts(*((one, y) for one in X))),
               lambda *X: dask.compute(model.predict(parts(*X))),
               lambda *X: model.score(parts(*((one, y) for one in X)), None))
    at = np.argwhere(X)[3]
    for kind, name, i, value, message in [
            ("csr", "data", 3, np.nan, f"nan .* in row {at[0]}, column {at[1]}: 1 such|NaN"),
            ("csr", "indices", 3, -1, r"X.indices must hold values in 0\.\.4, has -1"),
            ("csr", "indices", 3, 5, r"X.indices must hold values in 0\.\.4, has [0-9] to 5"),
            ("csr", "indptr", 5, -3, "X.indptr must begin with 0"),
            ("csc", "indices", 3, 60, r"X.indices must hold values in 0\.\.59, has [0-9]+ to 60"),
            ("coo", "row", 3, 60, r"X.row must hold values in 0\.\.59, has [0-9]+ to 60")]:
        whole = sparse.csr_matrix(X)
        bad = whole.asformat(kind).copy()
        getattr(bad, name)[i] = value
        for action in actions:
            with pytest.raises(ValueError, match=f"^partition 1: .*(?:{message})"):
                action(whole, bad)
        with pytest.raises(ValueError, match=message):
            fits(bad, y)
    with pytest.raises(TypeError, match="partition 1: X has dtype complex128, must be numeric"):
        fits(parts((whole, y), (whole.astype(complex), y)))


def test_predictions_name_the_partition(client):
    """As fits and scores do, for each kind of collection."""
    frames = pytest.importorskip("dask.dataframe")
    pandas = pytest.importorskip("pandas")
    X, y = rows(60)
    model = fastnn.dask.MLPClassifier((4,), max_iter=1, shards=2).fit(X, y)
    bad = X.copy()
    bad[47, 3] = np.nan
    for given in (da.from_array(bad, chunks=(20, 5)), da.from_array(bad, chunks=(20, 2)),
                  frames.from_pandas(pandas.DataFrame(bad), npartitions=3, sort=False),
                  parts(bad[:20], bad[20:40], bad[40:])):
        for method in (model.predict, model.predict_proba):
            with pytest.raises(ValueError, match="^partition 2: Input X contains NaN"):
                dask.compute(method(given))
    frame = pandas.DataFrame(X, columns=list("abcde"))
    table = fastnn.dask.TabularClassifier("fast", random_state=0).fit(frame, y)
    with pytest.raises(ValueError, match="^partition 1: the table has no column 'c'"):
        dask.compute(table.predict(parts(frame, frame.drop(columns="c"))))


def test_arguments(client):
    X, y = rows(40)
    cases = [
        (dict(sync="gradient"), "sync='gradient' needs optimizer=fastnn.LBFGS"),
        (dict(optimizer=fastnn.LBFGS(), sync="round"), "needs sync='gradient'"),
        (dict(optimizer=fastnn.EvolutionStrategy()), "EvolutionStrategy cannot be averaged"),
        (dict(local_steps="often"), "local_steps='often' must be a number, 'measured' or None"),
        (dict(shards=0), "shards=0 must be >= 1"),
        (dict(shards=50), "shards=50 must be at most the number of rows, 40"),
        (dict(outer_momentum=1.0), "outer_momentum=1.0 must be"),
        (dict(batch_size=0), "batch_size=0"),
        (dict(validation_data=3), "validation_data must be a pair"),
        (dict(validation_data=parts((X, y))), "validation_data must be a pair"),
    ]
    for settings, message in cases:
        with pytest.raises((ValueError, TypeError), match=message):
            fits(X, y, **settings)
    with pytest.raises(TypeError, match="net=3 must be a fastnn.MLP"):
        fastnn.dask.fit(3, X, y)
    with pytest.raises(ValueError, match="y has 39 rows, X has 40"):
        fits(X, y[1:])
    for kind in (sp.csr_matrix, sp.coo_array):
        with pytest.raises(TypeError, match=r"y is sparse, must be an array: y.toarray\(\)"):
            fits(X, kind(y))


def test_clients(client):
    X, y = rows(40)
    with pytest.raises(TypeError, match="client=3 must be a distributed.Client"):
        fits(X, y, client=3)
    other = distributed.Client(client.scheduler.address, set_as_default=False)
    other.close()
    with pytest.raises(ValueError, match="the Dask client is closed: make a new one"):
        fits(X, y, client=other)


def test_a_client_that_is_closed_in_the_middle(client):
    X, y = rows(40)
    for late in (False, True):
        other = distributed.Client(client.scheduler.address, set_as_default=False)

        def read(i, late=late):
            if late:
                time.sleep(0.3)
            return X, y

        if late:  # while parts are read
            threading.Timer(0.1, other.close).start()
        with pytest.raises((ValueError, RuntimeError), match="is clos|was cancelled"):
            fits([dask.delayed(read)(i) for i in range(2)], client=other,
                 epochs=3, callback=lambda *_: other.close())  # noqa: B023
    assert len(fits(X, y).loss) == 1, "the cluster is as before"
    with pytest.raises(ValueError, match="client"):
        fits(X, y, client=other)


def test_versions_and_errors_of_a_shard(client, monkeypatch):
    X, y = rows(40)
    monkeypatch.setattr(shards, "__version__", "0.0.1")
    with pytest.raises(RuntimeError, match=r"the driver has fastnn 0\.0\.1, this worker has"):
        fits(X, y)
    monkeypatch.undo()

    def fails(state, shard, own):
        with fitting.losses_of.__globals__["tasks"].named(f"shard {own['number']}"):
            raise ZeroDivisionError("no")

    def leaves(number):
        raise SystemExit(number)

    with pytest.raises(RuntimeError, match=r"partition 0: what makes it called sys.exit\(3\)"):
        fits([dask.delayed(leaves)(3)])
    monkeypatch.setattr("fastnn.dask.trainer.tasks.local_steps", fails)
    with pytest.raises(ZeroDivisionError, match="shard 0: no|shard 1: no"):
        fits(X, y)
    monkeypatch.undo()
    assert len(fits(X, y).loss) == 1


def test_a_fit_that_diverges_says_so(client):
    X, y = rows(40)
    net = network()
    with pytest.warns(fastnn.DivergenceWarning, match="diverged in epoch 0"):
        history = fastnn.dask.fit(net, X, y, optimizer=fastnn.SGD(1e38), **{**SHORT,
                                                                            "batch_size": 2})
    assert history.stopped == "diverged" and np.isfinite(net.parameters).all()


def test_names_of_tasks_whose_workers_died():
    assert cluster._told(ValueError(("fastnn-local-steps-" + "0a" * 16, 3, 7))) == "local-steps 7"


def test_what_newcomers_try(client, tmp_path):
    X, y = rows(60)
    (tmp_path / "t.csv").write_text("a,y\n1,0\n")
    with pytest.raises(ValueError, match=r"t.csv'.*dask.dataframe.read_csv makes a frame"):
        fits(str(tmp_path / "t.csv"), "y")
    with pytest.raises(ValueError, match=r"t.csv'.*dask.dataframe.read_csv makes a frame"):
        fits([str(tmp_path / "t.csv")], "y")
    with pytest.raises(ValueError, match=r"X has 1 axes, must have 2: X.reshape\(-1, 1\)"):
        fits(da.from_array(X[:, 0]), da.from_array(y))
    with pytest.raises(TypeError, match=r"keyword argument 'lr': the optimizer has it"):
        fits(X, y, lr=0.1)


def test_rounds_that_were_sent_ahead_of_one_that_diverges():
    """They do nothing: nobody asks for what they come to, and an error would be told by workers."""
    fit = {"version": fastnn.__version__, "outer": (0.7, 0.9), "moved": None, "alone": False,
           "fixed": [], "mean": None}
    state = {"fit": pickle.dumps(fit), "parameters": np.ones(5), "velocity": np.ones(5),
             "states": (np.ones(5),), "loss": 1.0}
    leaf = {"share": 0.5, "loss": np.inf, "vectors": (np.full(5, np.inf),) * 2, "isas": ()}
    for _ in range(2):
        state = tasks.outer_step(state, {"rows": 10}, leaf, leaf)
        assert state["loss"] == np.inf
        assert {*state["parameters"], *state["velocity"], *state["states"][0]} == {1.0}
        leaf = tasks.local_steps(state, None, {"number": 0})
