"""Tables whose rows stay on the workers: the same schema and bytes however they are cut."""

import dataclasses

import numpy as np
import pytest

import fastnn

pytest.importorskip("distributed")
pandas = pytest.importorskip("pandas")
pytest.importorskip("sklearn")
import dask  # noqa: E402

import fastnn.dask  # noqa: E402
from fastnn.core.rows import moderate_weights  # noqa: E402
from fastnn.dask import cluster, parts, shards, tables  # noqa: E402
from fastnn.tables.frames import as_table  # noqa: E402
from fastnn.tables.schema import Schema  # noqa: E402
from fastnn.tabular import recipe as recipes  # noqa: E402
from fastnn.tabular.metrics import metric_of  # noqa: E402


def table(n=600):
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame({
        "a": rng.normal(size=n), "b": rng.choice(["x", "y", "z"], n),
        "c": rng.integers(0, 9, n).astype(float),
        "e": pandas.Categorical(rng.choice(["u", "v"], n))})
    frame.loc[7, "b"], frame.loc[5, "c"], frame.loc[9, "a"] = "rare", np.nan, 50.0
    frame["label"] = np.where(frame["a"] + (frame["b"] == "x") > 0.3, "yes", "no")
    return frame


def cut(frame, n):
    edges = np.linspace(0, len(frame), n + 1).astype(int)
    return [dask.delayed(frame[a:b]) for a, b in zip(edges, edges[1:], strict=False)]


def learned(client, frame, n):
    data = tables.TableData(cluster.Cluster(client), cut(frame, n), "label", None, True, "auto")
    X, y, _ = data.sample()
    schema, inputs, counts = tables.learn_schema(data, X, "auto", "refuse")
    return data, schema, inputs, counts, y


def test_schema_is_that_of_the_table_however_it_is_cut(client, monkeypatch):
    frame = table()
    monkeypatch.setattr(tables, "SAMPLE", 100)
    found = [learned(client, frame, n) for n in (1, 4)]
    for data, schema, inputs, counts, _ in found:
        assert data.n_rows == 600 and data.labels.tolist() == ["no", "yes"]
        assert data.counts.tolist() == frame["label"].value_counts()[["no", "yes"]].tolist()
        b = next(column for column in schema.columns if column.name == "b")
        assert b.categories == ("rare", "x", "y", "z")
        expected = frame["b"].value_counts()[list(b.categories)].tolist()
        assert counts[0].tolist() == [*expected, 0, 0], "exact, though the sample has a sixth"
        assert not (inputs.codes[:, 0] == 0).any(), "which had no row of the category"
        assert np.isnan(inputs.numbers).any(axis=0).tolist() == [False, True]
        assert len(inputs) == 101
    assert found[0][1].settings() == found[1][1].settings()
    assert found[0][2].numbers.tobytes() == found[1][2].numbers.tobytes()
    assert (found[0][4] == found[1][4]).all()


def column(values, dtype=None):
    a = np.random.default_rng(0).normal(size=len(values))
    return pandas.DataFrame({"a": a, "v": pandas.Series(values, dtype=dtype)})


NUMBERS = np.arange(24.0) % 7
WORDS = ["x", "y", "z"] * 8
TRUTH = [i % 3 == 0 for i in range(24)]
DATES = pandas.Series(pandas.date_range("2024-01-01", periods=24))
NOTHING = [None] * 24
COLUMNS = {
    "objects without a value, then numbers": [(NOTHING, object), (NUMBERS, None)],
    "numbers, then objects without a value": [(NUMBERS, None), (NOTHING, object)],
    "NaN, then text": [(NUMBERS * np.nan, None), (WORDS, object)],
    "NaN, then dates": [(NUMBERS * np.nan, None), (DATES, None)],
    "NaT, then numbers": [(NOTHING, "datetime64[ns]"), (NUMBERS, None)],
    "NaT, then dates": [(NOTHING, "datetime64[ns]"), (DATES, None)],
    "true, false and None, then true and false": [([None, *TRUTH[1:]], object), (TRUTH, None)],
    "true and false, then with None": [(TRUTH, object), ([None, *TRUTH[1:]], object)],
    "whole numbers, then others": [(NUMBERS.astype(int), None), (NUMBERS + 0.5, None)],
    "whole numbers, then with gaps": [(NUMBERS.astype(int), None), ([None, *range(23)], "Int64")],
    "categories of other levels": [(["x", "y"] * 12, "category"), (["z", "y"] * 12, "category")],
    "categories that are numbers": [([1, 3] * 12, pandas.CategoricalDtype([1, 2, 3])),
                                    ([2, 3] * 12, pandas.CategoricalDtype([1, 2, 3]))],
    "nothing anywhere": [(NOTHING, object), (NUMBERS * np.nan, None)],
}


@pytest.mark.parametrize("sample", [1 << 17, 10])
@pytest.mark.parametrize("case", COLUMNS)
def test_columns_whose_types_differ_are_those_of_one_table(client, monkeypatch, case, sample):
    """What a part has no value of says nothing of what the column holds."""
    monkeypatch.setattr(tables, "SAMPLE", sample)
    given = [column(*one).assign(label=np.arange(24) % 2) for one in COLUMNS[case]]
    whole = pandas.concat(given, ignore_index=True).drop(columns="label")
    expected = Schema.learn(whole)
    inputs = expected.apply(whole)
    found = []
    for parts_ in (given, [half for one in given for half in (one[:11], one[11:])]):
        data = tables.TableData(cluster.Cluster(client), [dask.delayed(one) for one in parts_],
                                "label", None, True, "auto")
        schema, _, counts = tables.learn_schema(data, data.sample()[0], "auto", "refuse")
        found.append((schema.settings(), [own.tolist() for own in counts]))
        own = [schema.apply(one.drop(columns="label")) for one in parts_]
        assert np.concatenate([one.numbers for one in own]).tobytes() == inputs.numbers.tobytes()
        assert np.concatenate([one.codes for one in own]).tobytes() == inputs.codes.tobytes()
        assert [one.kind for one in schema.columns] == [one.kind for one in expected.columns]
        assert schema.category_sizes == expected.category_sizes
    assert found[0] == found[1], "however it is cut"


def test_columns_that_are_asked_to_be_categories_by_their_place(client, monkeypatch):
    """All their values are counted, whether the sample has them or not."""
    monkeypatch.setattr(tables, "SAMPLE", 10)
    frame = column(NUMBERS).assign(label=np.arange(24) % 2)
    for asked in (["v"], [1], [False, True]):
        data = tables.TableData(cluster.Cluster(client), cut(frame, 2), "label", None, True, asked)
        schema, _, counts = tables.learn_schema(data, data.sample()[0], asked, "refuse")
        assert schema.columns[1].categories == tuple("0123456")
        assert counts[0].tolist() == [4, 4, 4, 3, 3, 3, 3, 0, 0]
    with pytest.raises(ValueError, match="partition 0: categorical_features names 'w'"):
        tables.TableData(cluster.Cluster(client), cut(frame, 2), "label", None, True, ["w"])


def test_rows_that_are_held_out_are_those_of_the_shards():
    """Of a sample, as `encode` holds rows of each shard out."""
    X = np.arange(50.0)[:, np.newaxis]
    edges, keys = shards.edges_of(50, 3), [3, 1, 4]
    wish = {"dtype": "float64", "n_in": 1, "n_out": 1, "loss": None, "output": "identity"}
    expected = set()
    for key, start, stop in zip(keys, edges, edges[1:], strict=False):
        split = key, parts.number_held_out(0.2, stop - start), True
        rows = parts.encode([(X[start:stop], X[start:stop, 0], None)], {**wish, "split": split})
        expected |= set(rows[0][:, 0].astype(int).tolist())
    assert len(expected) == 9
    sample = np.arange(1, 50, 2)
    found = tables.held_out_rows(sample, edges, 0.2, keys)
    assert set(sample[found].tolist()) == {row for row in expected if row % 2}


def test_weights_far_from_one(client):
    """Those of one machine are taken, too: float32, of the networks, holds no such numbers."""
    whole = table(300)
    found = []
    part = np.repeat([64, 1, 1, 64], [30, 30, 120, 120])  # of weights unlike
    own = part * (1 + whole["c"].fillna(0))
    for weight in (1.0, 2.0**900, 2.0**-900):
        given = whole.assign(weight=weight * own)
        model = fastnn.dask.TabularClassifier("fast", shards=2, random_state=0)
        model.fit(cut(given[60:], 2), "label", "weight", X_val=cut(given[:60], 2), y_val="label",
                  sample_weight_val="weight")
        found.append(model.predict_proba(whole.drop(columns="label")).tobytes())
    assert found[0] == found[1] == found[2]


def test_weights_of_a_part_stay_beside_those_of_others():
    """Each part by its own greatest would make 1 of 64 where another part has the 64."""
    for unit in (1.0, 2.0**900, 2.0**-900):
        weights = unit * np.array([1.0, 3.0, 64.0, 5.0])
        found = [moderate_weights(part, weights.max()) for part in np.split(weights, 2)]
        np.testing.assert_array_equal(np.concatenate(found), moderate_weights(weights))
        assert found[1][0] == 64 * found[0][0] and np.float32(found[0][0]) > 0


def test_parts_that_cannot_be_trained_on(client):
    frame = table(60)
    label = frame.pop("label")
    whole = frame.assign(label=label)
    nan = label.astype(object).copy()
    nan[3] = np.nan
    cases = [
        ((whole, whole[["b", "a", "c", "e", "label"]]), "partition 1 has the columns"),
        ((whole, whole.assign(b=1.5)), "partition 1 holds number in column 'b', partition 0 text"),
        ((whole.assign(b=None), whole, whole.assign(b=1.5)),
         "partition 2 holds number in column 'b', partition 1 text"),
        ((whole.assign(b=True), whole), "partition 1 holds text in column 'b', partition 0 bool"),
        ((whole, whole.drop(columns="label")), "partition 1: X has no column 'label'"),
        ((whole, whole.assign(label=1)), "partition 1 has y of kind"),
        ((whole, whole.assign(label=nan)), "partition 1: y has no label in row 3: 1 such"),
        ((whole, whole.assign(a=-np.inf), whole),
         "partition 1: column 'a', row 0: -inf is not a finite number; infinities='missing'"),
        ((whole[:1], whole[:0]), "X has n_samples=1 rows in 2 partitions"),
        ((whole.assign(label="no"),), "y has the one class 'no'"),
    ]
    for given, message in cases:
        with pytest.raises((ValueError, TypeError), match=message):
            fastnn.dask.TabularClassifier("fast", shards=2).fit(
                [dask.delayed(one) for one in given], "label")
    model = fastnn.dask.TabularClassifier("fast", shards=2, eval_metric="rmse")
    with pytest.raises(ValueError, match="eval_metric='rmse' must be"):
        model.fit(cut(whole, 2), "label")
    with pytest.raises(ValueError, match="random_state=None must be a number with shards and"):
        model.fit(cut(whole, 2), "label", checkpoint="x")
    with pytest.raises(TypeError, match="partition 1 has y of no strings, partition 0 of strings"):
        fastnn.dask.TabularClassifier("fast", shards=2).fit(
            [dask.delayed(whole.astype({"label": object})),
             dask.delayed(whole.assign(label=1).astype({"label": object}))], "label")
    with pytest.raises(ValueError, match="partition 0: y has dtype"):
        fastnn.dask.TabularRegressor("fast", shards=2).fit(cut(whole, 2), "label")
    with pytest.raises(ValueError, match="shards"):
        fastnn.dask.TabularClassifier("fast", shards=0).fit(cut(whole, 2), "label")
    assert client.submit(int, 1).result() == 1, "the cluster is as before"


def test_infinities_are_named_where_they_are(client, monkeypatch):
    """The row was that of the sample, behind whose end the ends of columns stand."""
    monkeypatch.setattr(tables, "SAMPLE", 10)
    frame = table(60)
    bad = frame.copy()
    bad.loc[41, "a"] = np.inf
    given = [dask.delayed(one) for one in (frame, bad)]
    with pytest.raises(ValueError, match="^partition 1: column 'a', row 41: inf is not a finite"):
        fastnn.dask.TabularClassifier("fast", shards=2).fit(given, "label")
    named = "^in X_val: partition 1: column 'a', row 41: inf is not a finite"
    with pytest.raises(ValueError, match=named):
        fastnn.dask.TabularClassifier("fast", shards=2).fit(
            given[:1], "label", X_val=[one.drop(columns="label") for one in given],
            y_val=[one["label"] for one in given])
    for infinities in ("missing", "keep"):
        data = tables.TableData(cluster.Cluster(client), given, "label", None, True, "auto",
                                infinities=infinities)
        assert data.ends["a"][1] == np.inf


@pytest.mark.slow
def test_the_same_bytes_however_the_table_is_cut(client, tmp_path, monkeypatch):
    frame = table()
    monkeypatch.setattr(tables, "SAMPLE", 200)
    found, important = set(), set()
    for n, keep in ((1, None), (4, None), (3, False)):
        data = cut(frame, n)
        model = fastnn.dask.TabularClassifier("fast", shards=3, keep=keep, random_state=0,
                                              class_weight="balanced").fit(data, "label")
        found.add(model.model_.ensemble.networks[0].parameters.tobytes())
        important.add(model.feature_importances_.tobytes())
    assert len(found) == len(important) == 1
    a, b, c, e = model.feature_importances_
    assert a > b > 0.05 and max(abs(c), abs(e)) < 0.05 and len(model.model_.reference) > 10
    assert model.score(data, "label") > 0.95
    assert model.score(data, "label") == pytest.approx(model.score(frame, frame["label"]))
    model.save(tmp_path / "model.safetensors")
    served = fastnn.load(tmp_path / "model.safetensors")
    assert (served.predict(frame) == model.predict(frame)).all()


class Stop(Exception):
    pass


def test_tables_go_on_from_their_checkpoint_by_a_metric_of_held_out_rows(
        client, tmp_path, monkeypatch):
    """Stopped in the middle of a pass, judged by a function that sees all held out rows."""
    recipe = dataclasses.replace(recipes.PRESETS["fast"][0], steps=16, hidden=(8,), muon=False)
    monkeypatch.setitem(recipes.PRESETS, "fast", (recipe, recipe))
    frame, seen = table(300), []

    def right(y, probabilities):
        seen.append(y)
        return float((probabilities.argmax(axis=1) == y).mean())

    def fitted(data=None, checkpoint=None, **changed):
        model = fastnn.dask.TabularClassifier(
            "fast", shards=2, **{"eval_metric": right, "random_state": 0, **changed})
        return model.fit(cut(frame, 3) if data is None else data, "label", checkpoint=checkpoint,
                         checkpoint_seconds=0)

    expected = fitted()
    assert len(seen) == len(expected.history_.val_metric) > 2 and len(seen[0]) == 30
    assert min(seen[0]) == 0 and max(seen[0]) == 1
    assert expected.history_.val_metric[0] < 0, "of which less is better"
    path, original, calls = tmp_path / "fit.safetensors", cluster.Cluster.fetch, []

    def fetch(self, futures):
        calls.append("end" in futures[0].key[0])  # of a round
        if sum(calls) == 3:
            raise Stop
        return original(self, futures)

    with monkeypatch.context() as patch:
        patch.setattr(cluster.Cluster, "fetch", fetch)
        with pytest.raises(Stop):
            fitted(checkpoint=path)
    again = fitted(checkpoint=path)
    parameters = [one.model_.ensemble.networks[0].parameters.tobytes()
                  for one in (again, expected)]
    assert parameters[0] == parameters[1]
    assert again.history_.val_metric == expected.history_.val_metric
    other = frame.assign(b=frame["b"].replace({"rare": "x"}))
    for changed in (dict(eval_metric="accuracy"), dict(class_weight="balanced"),
                    dict(data=cut(other, 3))):
        with pytest.raises(fastnn.ModelFormatError, match="another fit"):
            fitted(checkpoint=path, **changed)


@pytest.mark.slow
def test_metrics_are_those_of_one_machine(client):
    """The best epoch's value beside the metric of the rows that were held out."""
    frame = table()
    rng = np.random.default_rng(1)
    weight = rng.uniform(0.5, 2, len(frame))
    held = frame[:90]
    for kind, name, y in ((fastnn.dask.TabularClassifier, "roc_auc", "label"),
                          (fastnn.dask.TabularClassifier, "balanced_accuracy", "label"),
                          (fastnn.dask.TabularRegressor, "mae", "a")):
        model = kind("fast", shards=2, eval_metric=name, random_state=0)
        rest, own = frame.drop(columns=y), frame[y]
        model.fit(rest, own, weight, X_val=held.drop(columns=y), y_val=held[y],
                  sample_weight_val=weight[:90])
        task = model.model_.task
        numbers = np.searchsorted(model.classes_, held[y]) if y == "label" else (
            held[y].to_numpy().reshape(-1, 1))
        codes = model.model_.ensemble.parts[0].encoding.transform(
            model.model_.schema.apply(as_table(held.drop(columns=y))))
        output = model.model_.ensemble.networks[0].predict(codes)
        value = metric_of(name, task).loss(task.targets(numbers), output, weight[:90])
        assert min(model.history_.val_metric) == pytest.approx(value, rel=1e-5)


@pytest.mark.slow
def test_values_and_validation_rows(client):
    frame = table().drop(columns="label")
    y = (frame["a"].clip(-3, 3) + (frame["b"] == "x")).to_frame("y")
    data = cut(frame.assign(y=y), 3)
    model = fastnn.dask.TabularRegressor("fast", shards=2, random_state=0)
    model.fit(data, "y", X_val=cut(frame.assign(y=y)[:90], 2), y_val="y")
    assert len(model.model_.reference) == 90 and model.feature_importances_.argmax() == 0
    assert np.isfinite(model.predict_interval(frame)).all()
    assert model.score(data, "y") > 0.8 and len(model.history_.val_loss) > 3
    assert model.score(data, "y") == pytest.approx(model.score(frame, y["y"]))
