"""`fastnn.dask.TabularClassifier` and `TabularRegressor`: members on the workers."""

import warnings

import numpy as np
import pytest

import fastnn

distributed = pytest.importorskip("distributed")
dask = pytest.importorskip("dask")
dd = pytest.importorskip("dask.dataframe")
pandas = pytest.importorskip("pandas")
pytest.importorskip("sklearn")
if not hasattr(fastnn, "TabularClassifier"):
    pytest.skip("no estimators of tables", allow_module_level=True)

import quick_recipe  # noqa: E402

import fastnn.dask  # noqa: E402


def table(n=160):
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame({"a": rng.normal(size=n), "b": rng.choice(["x", "y", "z"], n)})
    frame["label"] = np.where(frame["a"] + (frame["b"] == "x") > 0.3, "yes", "no")
    return frame


@pytest.mark.slow
def test_members_on_workers_are_those_of_one_machine(client):
    frame = table()
    X, y = frame[["a", "b"]], frame["label"]
    alone = fastnn.TabularClassifier("fast", random_state=0).fit(X, y)
    data = dd.from_pandas(frame, npartitions=3)
    model = fastnn.dask.TabularClassifier("fast", random_state=0).fit(data, "label")
    expected = alone.predict_proba(X)
    assert np.asarray(model.predict_proba(X)).tobytes() == np.asarray(expected).tobytes()
    found = model.predict(data[["a", "b"]])
    assert (found.compute() == alone.predict(X)).all()
    assert model.score(data[["a", "b"]], data["label"]) == alone.score(X, y)


@pytest.mark.slow
def test_values(client):
    frame = table()
    X = frame[["a", "b"]]
    alone = fastnn.TabularRegressor("fast", random_state=0).fit(X, frame["a"])
    model = fastnn.dask.TabularRegressor("fast", random_state=0).fit(X, frame["a"])
    assert np.asarray(model.predict(X)).tobytes() == np.asarray(alone.predict(X)).tobytes()


def test_whatever_holds_the_table(client, tmp_path, monkeypatch):
    """Each member has all rows, wherever they are: the same bytes from frames, parts, files."""
    quick_recipe.use(monkeypatch)
    frame = table().assign(w=np.random.default_rng(1).uniform(0.5, 2, 160))
    X, y, w = frame[["a", "b"]], frame["label"], frame["w"]
    alone = fastnn.TabularClassifier("fast", random_state=0).fit(X, y, w)
    expected = alone.predict_proba(X)
    data = dd.from_pandas(frame, npartitions=3)
    frame[:70].to_parquet(tmp_path / "0.parquet")
    frame[70:].to_parquet(tmp_path / "1.parquet")
    pieces = [frame[:50], frame[50:50], frame[50:]]
    parts = [dask.delayed(one) for one in pieces]
    triples = [dask.delayed((one[["a", "b"]], one["label"], one["w"])) for one in pieces]
    for given in ((data, "label", "w"), (data[["a", "b"]], data["label"], data["w"]),
                  (str(tmp_path / "*.parquet"), "label", "w"), (parts, "label", "w"),
                  ([tmp_path / "0.parquet", tmp_path / "1.parquet"], "label", "w"),
                  (triples, None, None), (client.scatter(pieces), "label", "w")):
        model = fastnn.dask.TabularClassifier("fast", random_state=0).fit(*given)
        assert (model.predict_proba(X) == expected).all()
    path = str(tmp_path / "*.parquet")
    with warnings.catch_warnings():
        warnings.simplefilter("error", fastnn.tables.TableWarning)
        found = model.predict(path)
    assert found.compute().tolist() == alone.predict(X).tolist()
    assert model.score(path, "label", "w") == pytest.approx(alone.score(X, y, w))
    two = fastnn.dask.TabularRegressor("fast", random_state=0).fit(
        dd.from_pandas(frame[["a", "w", "b"]], npartitions=2), ["a", "w"])
    assert two.predict(frame[["b"]]).shape == (160, 2)
    for given, message in (((triples, "label"), "the parts of X hold y"),
                           ((parts, ["a", "no"]), "no"), (([X.to_numpy()], "label"), "label"),
                           ((data, "none"), "none")):
        with pytest.raises((TypeError, ValueError, KeyError), match=message):
            model.fit(*given)


def test_parts_of_other_columns_are_refused(client):
    """A column that a part lacks was missing in its rows, without a word."""
    X = table()[["a", "b"]].assign(t=1.0)
    y, whole = X["a"], X.to_numpy(dtype=object)
    cases = [([X[:80], X[80:][["b", "a"]]], r"partition 1 has the columns \['b', 'a'\], part"),
             ([X[:0], X[:80], X[80:][["b", "a"]]], "partition 2 has the columns .* partition 1 "),
             ([whole[:80], whole[80:, :2]], r"partition 1 has shape \(80, 2\), partition 0 \(80"),
             ([X[:80], whole[80:]], "partition 1 has shape .* all must be frames, or arrays")]
    for pieces, message in cases:
        lazy = [dask.delayed(piece) for piece in pieces]
        ends = np.cumsum([0, *map(len, pieces)])
        targets = [dask.delayed(y[a:b]) for a, b in zip(ends[:-1], ends[1:], strict=True)]
        with pytest.raises(ValueError, match=message):
            fastnn.dask.TabularRegressor("fast", random_state=0).fit(lazy, targets)


def test_what_takes_no_collection_says_so(client, monkeypatch):
    quick_recipe.use(monkeypatch)
    X = table()[["a", "b"]]
    lazy = dd.from_pandas(X, npartitions=2)
    model = fastnn.dask.TabularRegressor("fast", random_state=0).fit(X, X["a"])
    alone = fastnn.TabularRegressor("fast", random_state=0).fit(X, X["a"])
    for call in (model.predict_interval, model.explain, alone.predict, alone.explain):
        with pytest.raises(TypeError, match="X is a collection of Dask .*: X.compute"):
            call(lazy)


@pytest.mark.parametrize("more", [{}, {"shards": 2}])
def test_a_list_of_labels_is_none_of_names(more, client, monkeypatch):
    """Each label was looked for among the columns."""
    quick_recipe.use(monkeypatch)
    frame = table()
    X, y = frame[["a", "b"]], frame["label"]
    make = fastnn.dask.TabularClassifier
    expected = np.asarray(make("fast", random_state=0, **more).fit(X, y).predict_proba(X))
    for labels in (y.tolist(), tuple(y)):
        found = make("fast", random_state=0, **more).fit(X, labels)
        assert np.asarray(found.predict_proba(X)).tobytes() == expected.tobytes()
    lazy = dd.from_pandas(frame, npartitions=2)
    with pytest.raises(ValueError, match="y_val holds 'maybe', which y does not"):
        make("fast", **more).fit(lazy[["a", "b"]], lazy["label"], X_val=X, y_val=["maybe"] * 160)
    with pytest.raises(ValueError, match="X_val and y_val must be given together"):
        make("fast", **more).fit(X, y, y_val=y)


def test_targets_of_partitions_that_are_none(client):
    frame = table()
    lazy = dd.from_pandas(frame, npartitions=2)
    X, y = lazy[["a", "b"]], lazy["a"]
    model = fastnn.dask.TabularRegressor("fast", random_state=0, shards=2)
    with pytest.raises(ValueError, match="partition 0: y has dtype .*, must be numbers"):
        model.fit(X, lazy["label"])
    odd = frame["a"].where(np.arange(160) != 90)
    with pytest.raises(ValueError, match="^partition 1: y holds NaN or infinity in row 10: 1 such"):
        model.fit(X, dd.from_pandas(odd, npartitions=2))
    with pytest.raises(ValueError, match="^in X_val: partition 1: y holds NaN"):
        model.fit(X, y, X_val=X, y_val=dd.from_pandas(odd, npartitions=2))
