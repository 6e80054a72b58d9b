"""What is refused, by name and with the number of the partition; the cluster goes on."""

import numpy as np
import pytest
from cluster_data import network, rows

import fastnn

distributed = pytest.importorskip("distributed")
da = pytest.importorskip("dask.array")
import dask  # noqa: E402

import fastnn.dask  # noqa: E402
from fastnn.dask import cluster, fitting, shards  # noqa: E402

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


def test_arguments(client):
    X, y = rows(40)
    cases = [
        (dict(sync="gradient"), "sync='gradient' needs optimizer=fastnn.LBFGS"),
        (dict(optimizer=fastnn.LBFGS(), sync="round"), "needs sync='gradient'"),
        (dict(optimizer=fastnn.LBFGS(), checkpoint="x"), "checkpoint='x' must be None"),
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


def test_clients(client):
    X, y = rows(40)
    with pytest.raises(TypeError, match="client=3 must be a distributed.Client"):
        fits(X, y, client=3)
    other = distributed.Client(client.scheduler.address, set_as_default=False)
    other.close()
    with pytest.raises(ValueError, match="the Dask client is closed: make a new one"):
        fits(X, y, client=other)


def test_versions_and_errors_of_a_shard(client, monkeypatch):
    X, y = rows(40)
    monkeypatch.setattr(shards, "__version__", "0.0.1")
    with pytest.raises(RuntimeError, match=r"the driver has fastnn 0\.0\.1, this worker has"):
        fits(X, y)
    monkeypatch.undo()

    def fails(fit, state, shard, own):
        with fitting.losses_of.__globals__["tasks"].named(f"shard {own['number']}"):
            raise ZeroDivisionError("no")

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
