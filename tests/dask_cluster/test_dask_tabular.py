"""`fastnn.dask.TabularClassifier` and `TabularRegressor`: members on the workers."""

import numpy as np
import pytest

import fastnn

distributed = pytest.importorskip("distributed")
dd = pytest.importorskip("dask.dataframe")
pandas = pytest.importorskip("pandas")
pytest.importorskip("sklearn")
if not hasattr(fastnn, "TabularClassifier"):
    pytest.skip("no estimators of tables", allow_module_level=True)

import fastnn.dask  # noqa: E402

pytestmark = pytest.mark.slow


def table(n=160):
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame({"a": rng.normal(size=n), "b": rng.choice(["x", "y", "z"], n)})
    frame["label"] = np.where(frame["a"] + (frame["b"] == "x") > 0.3, "yes", "no")
    return frame


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


def test_values(client):
    frame = table()
    X = frame[["a", "b"]]
    alone = fastnn.TabularRegressor("fast", random_state=0).fit(X, frame["a"])
    model = fastnn.dask.TabularRegressor("fast", random_state=0).fit(X, frame["a"])
    assert np.asarray(model.predict(X)).tobytes() == np.asarray(alone.predict(X)).tobytes()
