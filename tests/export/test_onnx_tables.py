"""Models of tables as ONNX: raw columns in, the predictions of fastnn out."""

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnxruntime as runtime
import quick_recipe
from each import each

import fastnn
from fastnn import TabularClassifier, TabularRegressor
from fastnn.tabular import trees

RNG = np.random.default_rng(0)
N = 200
TABLE = {
    "size": RNG.normal(size=N), "rooms": RNG.integers(0, 5, N).astype(float),
    "flag": RNG.random(N) < 0.5, "city": RNG.choice(np.array(["Rome", "Oslo", "Bern"], object), N),
    "street": RNG.choice(np.array([f"s{i}" for i in range(40)], object), N)}
TABLE["size"][::9] = np.nan
TABLE["city"][::13] = None
SIGNAL = np.nan_to_num(TABLE["size"]) + (TABLE["city"] == "Rome")
CASES = {
    "two": (TabularClassifier, np.where(SIGNAL > 0, "yes", "no"), {}),
    "three": (TabularClassifier, np.digitize(SIGNAL, [-0.5, 0.8]), {}),
    "labels": (TabularClassifier, np.stack([SIGNAL > 0, TABLE["rooms"] > 2], axis=1) * 1, {}),
    "value": (TabularRegressor, 100 + 20 * SIGNAL, {}),
    "counts": (TabularRegressor, np.floor(np.exp(SIGNAL)), {"loss": "poisson"}),
    "quantiles": (TabularRegressor, SIGNAL, {"loss": "quantile", "quantile": [0.1, 0.9]}),
}


def feeds(table, schema):
    """What a service in another language sends."""
    found = {name: np.asarray(table[name], np.float64).reshape(-1, 1)
             for name in schema.number_names}
    for name in schema.category_names:
        found[name] = np.array(["" if value is None else value for value in table[name]],
                               object).reshape(-1, 1)
    return found


def odd_rows():
    """Return unknown categories, values beyond those of training, missing ones."""
    return {"size": np.array([np.nan, 1e9, -1e9, 0.0]), "rooms": np.array([np.nan, 99.0, -5.0, 2]),
            "flag": np.array([True, False, True, False]),
            "city": np.array(["Paris", None, "Rome", "Oslo"], object),
            "street": np.array(["s1", "new", None, "s39"], object)}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("opset", [15, 17, 18])
@pytest.mark.parametrize("case", CASES)
def test_files_compute_what_the_model_predicts(case, opset, tmp_path, monkeypatch):
    quick_recipe.use(monkeypatch)
    make, y, settings = CASES[case]
    check(make(random_state=0, **settings).fit(TABLE, y), tmp_path / "m.onnx", opset)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", [pytest.param("two", marks=pytest.mark.slow), "value"])
def test_statistics_of_categories(case, tmp_path):
    """Which the recipe takes of columns of many."""
    make, y, _ = CASES[case]
    model = make("fast", random_state=0, time_limit=2).fit(TABLE, y)
    assert model.model_.ensemble.parts[0].encoding.statistics is not None
    check(model, tmp_path / "m.onnx", 17)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case, opset", [("three", 15), ("value", 18), ("counts", 17)])
def test_trees(case, opset, tmp_path, monkeypatch):
    check(model_with_trees(case, monkeypatch), tmp_path / "m.onnx", opset)


def model_with_trees(case, monkeypatch):
    """Trees in the place of most of what the networks say."""
    monkeypatch.setattr(trees, "_share", lambda *_: 0.9)
    make, y, settings = CASES[case]
    model = make("fast", random_state=0, time_limit=1, **settings).fit(TABLE, y)
    forest = model.model_.ensemble.parts[0].encoding.forest
    assert len(set(forest.tables["columns"].tolist())) > 4  # categories and statistics, too
    return model


def check(model, path, opset):
    fastnn.export.onnx(model, path, opset)
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for table in (TABLE, odd_rows()):
        found = session.run(None, feeds(table, model.model_.schema))
        expected = model.predict(table)
        if hasattr(model, "classes_"):
            np.testing.assert_array_equal(found[0], expected)
            np.testing.assert_allclose(found[1], model.predict_proba(table), atol=1e-5)
        else:
            expected = expected.reshape(found[0].shape)
            np.testing.assert_allclose(found[0], expected, rtol=1e-5, atol=1e-5)


def test_what_an_onnx_file_cannot_hold(tmp_path):
    with pytest.raises(ValueError, match="constant"):
        fastnn.export.onnx(TabularRegressor().fit(TABLE, np.ones(N)), tmp_path / "m.onnx")
    with pytest.raises(ValueError, match="not fitted"):
        fastnn.export.onnx(TabularRegressor(), tmp_path / "m.onnx")


DAYS = [np.datetime64("2024-01-01") + 9 * i for i in range(N)]
X = TABLE["rooms"]


@each("table, y, said", [
    ({"day": DAYS, "day (month)": X}, X > 2, "two inputs .* called 'day \\(month\\)': rename"),
    ({"label": X}, X > 2, "column 'label' has the name of an output"),
    ({"a\ud800": X}, X > 2, "column 'a.ud800' holds half of a character"),
    ({"a": np.where(X > 1, "p\ud800", "q").tolist()}, X > 2, "column 'a': the category 'p.ud800'"),
    ({"a": X}, np.where(X > 1, "p\ud800", "q"), "the class 'p.ud800' holds half")])
def test_names_that_an_onnx_file_cannot_hold(table, y, said, tmp_path, monkeypatch):
    """They gave files that no program loads, or what Python says of its codecs."""
    quick_recipe.use(monkeypatch)
    model = TabularClassifier(random_state=0).fit(table, y)
    with pytest.raises(ValueError, match=said):
        fastnn.export.onnx(model, tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()
