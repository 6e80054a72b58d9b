"""What rows of the driver say of tables whose rows stay on the workers, and digests of rows."""

import dataclasses

import numpy as np
import pytest

import fastnn

pytest.importorskip("distributed")
pandas = pytest.importorskip("pandas")
pytest.importorskip("sklearn")
import dask  # noqa: E402

import fastnn.dask  # noqa: E402
from fastnn.dask import digests, parts, refining, tables  # noqa: E402
from fastnn.tables.schema import Inputs  # noqa: E402
from fastnn.tabular import recipe as recipes  # noqa: E402
from fastnn.tabular.encoding import Encoding  # noqa: E402
from fastnn.tabular.task import Task  # noqa: E402


def cut(frame, n):
    edges = np.linspace(0, len(frame), n + 1).astype(int)
    return [dask.delayed(frame[a:b]) for a, b in zip(edges, edges[1:], strict=False)]


def line(n, far=False):
    rng = np.random.default_rng(1)
    w, X = rng.normal(size=8), rng.normal(size=(n, 8))
    if far:
        X = np.exp(1.2 * X)
    return pandas.DataFrame(X, columns=list("abcdefgh")).assign(y=X @ w)


@pytest.fixture
def short(monkeypatch):
    """A function that makes the preset "fast" one of few steps."""
    def made(**settings):
        recipe = dataclasses.replace(recipes.PRESETS["fast"][0], steps=48, hidden=(8, 8),
                                     **settings)
        monkeypatch.setattr(recipes, "EPOCH", 16)
        monkeypatch.setitem(recipes.PRESETS, "fast", (recipe, recipe))
    return made


def test_lines_are_lines_however_they_are_cut(client, short, tmp_path):
    """A linear part by the rows that shards hold out, in the files, too."""
    frame, new = line(800), line(1000)[800:]
    found, errors = set(), {}
    for linear in (True, False):
        short(linear=linear)
        for n in (1, 3) if linear else (1,):
            model = fastnn.dask.TabularRegressor("fast", shards=2, random_state=0)
            model.fit(cut(frame, n), "y")
            net, = model.model_.ensemble.networks
            found.add((linear, net.parameters.tobytes()))
            errors[linear] = float(((model.predict(new) - new["y"]) ** 2).mean())
    assert len(found) == 2, "one for each setting"
    assert errors[True] < 0.05 * errors[False]
    short()
    model.fit(cut(frame, 2), "y").save(tmp_path / "model.safetensors")
    served = fastnn.load(tmp_path / "model.safetensors")
    assert served.predict(new).tobytes() == model.predict(new).tobytes()


def test_values_far_out_are_not_bent(client, short):
    frame = line(400, far=True)
    bent = []
    for linear in (True, False):
        short(linear=linear)
        model = fastnn.dask.TabularRegressor("fast", shards=2, random_state=0)
        model.fit(cut(frame, 2), "y", X_val=frame.drop(columns="y"), y_val=frame["y"])
        encoding = model.model_.ensemble.parts[0].encoding
        bent.append(encoding.value(0, 10.0) / encoding.value(0, 5.0))
    assert bent[0] > 1.5 > bent[1]


def test_a_temperature_by_rows_that_are_held_out(client, short):
    """Few steps leave a network unsure of what is certain; classes that weigh more count more."""
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame(rng.normal(size=(800, 3)), columns=list("abc"))
    frame["y"] = (frame["a"] > 0.5).astype(int)
    y = frame["y"].to_numpy()
    loss = []
    for calibration in (True, False):
        short(linear=False, calibration=calibration)
        model = fastnn.dask.TabularClassifier("fast", shards=2, random_state=0)
        p = model.fit(cut(frame, 2), "y").predict_proba(frame)
        loss.append(-np.log(p[np.arange(800), y]).mean())
    assert loss[0] < 0.95 * loss[1]
    class_weight = np.array([1.0, 3.0])
    assert tables._weight_of(None, class_weight, y[:4]).tolist() == class_weight[y[:4]].tolist()
    both = tables._weight_of(np.full(4, 2.0), class_weight, y[:4])
    assert both.tolist() == (2 * class_weight[y[:4]]).tolist()
    assert tables._weight_of(None, None, y) is None


def test_few_held_out_rows_and_rows_without_weight_say_nothing():
    X = np.random.default_rng(0).normal(size=(300, 2))
    inputs, weight = Inputs(X, np.zeros((300, 0), np.int32)), np.ones(300)
    task = Task.of_numbers(X[:, :1])
    y = task.targets(X[:, :1])
    weight[:40] = 0
    sampled = refining.Sampled(inputs, y, task, weight, recipes.Recipe())
    encoding = Encoding.fit(inputs, (), bins=8)
    net = recipes.network_of(encoding, task, y, None, recipes.Recipe(hidden=(4,)),
                             np.random.default_rng(0))
    held = np.arange(30, 30 + refining.LEAST_HELD_OUT)
    assert sampled.refined(net, encoding, held)[0] is net, "ten of them have no weight"
    held = np.arange(40, 40 + refining.LEAST_HELD_OUT)
    assert sampled.refined(net, encoding, held)[0] is not net


def test_a_small_table_is_not_a_round_for_each_step(client, short):
    short()
    frame = line(200)
    model = fastnn.dask.TabularRegressor("fast", shards=2, random_state=0).fit(cut(frame, 1), "y")
    assert len(model.history_.loss) <= 5, "epochs, of which there were as many as steps"


def test_rows_are_there_several_times_but_those_that_are_held_out():
    X = np.arange(20.0)[:, np.newaxis]
    wish = {"dtype": "float64", "n_in": 1, "n_out": 1, "loss": None, "output": "identity",
            "passes": 3}
    given = [(X, X[:, 0], np.ones(20))]
    rows, y, weight = parts.encode(given, {**wish, "split": (0, 5, False)})
    assert len(rows) == len(y) == len(weight) == 45
    assert (rows[:15] == rows[15:30]).all() and len(np.unique(rows)) == 15


def test_digests_say_the_same_of_the_same_rows_however_they_are_cut():
    sparse = pytest.importorskip("scipy.sparse")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 3)).astype("float32")
    X[rng.random(X.shape) < 0.4] = 0
    y = np.array(["p", "q\ud800", "é"], object)[rng.integers(0, 3, 50)]
    matrix = sparse.csr_matrix(X)

    def digest(*edges, X=X, y=y, weight=None):
        return digests.joined(digests.digest_of(
            {"X": X[a:b], "y": y[a:b], "sample_weight": None if weight is None else weight[a:b]})
            for a, b in zip(edges, edges[1:], strict=False))

    for own in (X, matrix, X.astype("float64"), X > 0, X[:, 0]):
        assert len({digest(0, 50, X=own), digest(0, 7, 7, 30, 50, X=own),
                    digest(*range(51), X=own)}) == 1
    swapped, changed = y.copy(), X.copy()
    swapped[:2] = ["p", "q\ud800"] if y[0] != "p" else ["é", y[0]]
    changed[49, 2] += 1
    order = np.r_[1, 0, 2:50]
    others = [digest(0, 50), digest(0, 50, X=matrix), digest(0, 50, X=matrix * 2),
              digest(0, 50, y=swapped), digest(0, 50, X=changed), digest(0, 49),
              digest(0, 50, X=X[order], y=y[order]), digest(0, 50, weight=np.ones(50)),
              digest(0, 50, X=X.astype("float64")), digest(0, 50, X=X[:, ::-1]),
              digest(0, 50, y=X[:, 0], X=y)]
    assert len(set(others)) == len(others)


def test_a_checkpoint_goes_on_with_rows_that_are_cut_otherwise(client, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 5)).astype("float32")
    y = (X[:, 0] > 0).astype(int)

    def fitted(edges, epochs, path=None, X=X):
        net = fastnn.MLP((5, 4, 2), output="softmax", random_state=0)
        fastnn.dask.fit(net, [dask.delayed((X[a:b], y[a:b])) for a, b in
                              zip(edges, edges[1:], strict=False)],
                        shards=2, optimizer=fastnn.Adam(), epochs=epochs, checkpoint=path)
        return net.parameters.tobytes()

    path = tmp_path / "fit.safetensors"
    fitted((0, 120), 2, path)
    with pytest.raises(fastnn.ModelFormatError, match="X, y or sample_weight was another one"):
        fitted((0, 120), 4, path, X + 1)
    assert fitted((0, 50, 60, 120), 4, path) == fitted((0, 120), 4)


def test_a_checkpoint_of_a_table_with_odd_text(client, short, tmp_path):
    """A lone surrogate; and the same rows cut otherwise."""
    short()
    frame = line(100).drop(columns=list("cdefgh"))
    frame["t"] = pandas.Series(["\ud800x", "é", None, 3] * 25, dtype=object)
    path = tmp_path / "fit.safetensors"
    found = [fastnn.dask.TabularRegressor("fast", shards=2, random_state=0).fit(
        cut(frame, n), "y", checkpoint=path).predict(frame) for n in (1, 3)]
    assert (found[0] == found[1]).all()
    with pytest.raises(fastnn.ModelFormatError, match="another fit"):
        fastnn.dask.TabularRegressor("fast", shards=2, random_state=0).fit(
            cut(frame.assign(t=frame["t"].fillna("é")), 2), "y", checkpoint=path)


def test_validation_rows_of_another_kind_are_named(client):
    frame = line(60)
    for held, message in ((frame.assign(b="x"), "X_val holds text in column 'b', X number"),
                          (frame.assign(b=pandas.Timestamp("2024-01-01")),
                           "X_val holds date in column 'b', X number")):
        with pytest.raises(ValueError, match=message):
            fastnn.dask.TabularRegressor("fast", shards=2).fit(cut(frame, 2), "y",
                                                               X_val=cut(held, 2), y_val="y")
    given = cut(frame, 2)
    held = [given[0], given[1].rename(columns={"b": "z"})]
    with pytest.raises(ValueError, match="^in X_val: partition 1 has the columns"):
        fastnn.dask.TabularRegressor("fast", shards=2).fit(given, "y", X_val=held, y_val="y")


def test_a_part_in_another_encoding_names_its_partition(client):
    def read():
        return b"\xff".decode()

    with pytest.raises(ValueError, match="partition 0: 'utf-8' codec can't decode byte"):
        fastnn.dask.fit(fastnn.MLP((2, 1)), [dask.delayed(read)()])
