"""Pipelines of scikit-learn in model files: the same predictions, or a step that is named."""

import csv
import json

import numpy as np
import pytest
import quick_recipe
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)

import fastnn
from fastnn import cli

pandas = pytest.importorskip("pandas")
RNG = np.random.default_rng(0)
N = 90
FRAME = pandas.DataFrame({
    "a": RNG.normal(5, 2, N), "b": RNG.normal(size=N), "count": RNG.integers(0, 4, N),
    "c": RNG.choice(["x", "y", "z"], N), "d": RNG.choice(["u", "v"], N)})
FRAME.loc[::7, "b"] = np.nan
FRAME.loc[::11, "d"] = None
VALUE = FRAME["a"].to_numpy() * 3 + (FRAME["c"] == "x") * 5 + 100
CLASS = np.where(VALUE > VALUE.mean(), "more", "less")

NUMBERS = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
PREPARATIONS = {
    "columns": ColumnTransformer([
        ("n", NUMBERS, ["a", "b"]), ("c", OneHotEncoder(handle_unknown="ignore"), ["c", "d"])]),
    "rest": ColumnTransformer([
        ("c", OneHotEncoder(drop="first"), ["c"]), ("left", "drop", ["d"]),
        ("b", SimpleImputer(strategy="median"), ["b"])], remainder="passthrough"),
    "ordinal": ColumnTransformer([
        ("o", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1,
                             encoded_missing_value=-2), ["c", "d", "count"]),
        ("m", make_pipeline(MinMaxScaler(clip=True), "passthrough"), ["a"])]),
    "words": ColumnTransformer([
        ("w", make_pipeline(SimpleImputer(strategy="most_frequent"),
                            OneHotEncoder()), ["d"]),
        ("r", RobustScaler(), ["a"]), ("x", MaxAbsScaler(), ["count"])]),
    "numbers as categories": ColumnTransformer([
        ("o", OneHotEncoder(categories=[[0, 1, 2, 3]]), ["count"]), ("a", "passthrough", ["a"])]),
    "unknown ones, with a warning": ColumnTransformer([
        ("o", OneHotEncoder(handle_unknown="warn"), ["c"])]),
}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Tabular estimators fit small networks."""
    quick_recipe.use(monkeypatch)


def network(kind, **settings):
    make = fastnn.MLPClassifier if kind == "class" else fastnn.MLPRegressor
    return make(hidden_layer_sizes=(8,), max_iter=30, random_state=0, **settings)


def dicts(frame):
    return json.loads(frame.to_json(orient="records"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PREPARATIONS)
@pytest.mark.parametrize("kind", ["class", "value", "tabular"])
def test_files_predict_as_the_pipeline_does(name, kind, tmp_path):
    est = fastnn.TabularRegressor(random_state=0) if kind == "tabular" else network(kind)
    pipe = make_pipeline(PREPARATIONS[name], est)
    if name == "columns" and kind != "tabular":
        pipe = make_pipeline(PREPARATIONS[name], StandardScaler(with_mean=False), est)
    pipe.fit(FRAME, CLASS if kind == "class" else VALUE)
    est.save(tmp_path / "m.safetensors", pipeline=pipe)
    loaded = fastnn.load(tmp_path / "m.safetensors")
    call = "predict_proba" if kind == "class" else "predict"
    expected = getattr(pipe, call)(FRAME)
    np.testing.assert_allclose(getattr(loaded, call)(FRAME), expected, rtol=1e-6)
    np.testing.assert_allclose(getattr(loaded, call)(dicts(FRAME)), expected, rtol=1e-6)
    np.testing.assert_allclose(getattr(loaded, call)(FRAME[list("dcba") + ["count"]]), expected,
                               rtol=1e-6)


def typed_columns():
    """Columns whose values a file has as text."""
    rng = np.random.default_rng(1)
    frame = pandas.DataFrame({
        "number": rng.normal(size=40), "gaps": rng.normal(size=40),
        "word": rng.choice(["x", "y"], 40), "flag": rng.random(40) < 0.5,
        "half": rng.choice([0.5, 1.5, 2.0], 40), " id ": 2**55 + rng.integers(0, 3, 40)})
    frame["sure"] = frame["flag"].astype(object)
    frame["sure"] = frame["sure"].where(rng.random(40) < 0.7, None)
    frame.loc[::4, "gaps"] = np.nan
    frame.loc[::5, "word"] = None
    frame.loc[::6, "half"] = np.nan
    return frame


ONE_HOT = OneHotEncoder(handle_unknown="ignore")
TYPED = {
    "gaps": make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()),
    "word": make_pipeline(SimpleImputer(strategy="most_frequent", add_indicator=True),
                          OneHotEncoder()),
    "flag": OneHotEncoder(), "half": ONE_HOT, " id ": make_pipeline(
        SimpleImputer(strategy="most_frequent"), OneHotEncoder()),
    "sure": OrdinalEncoder(encoded_missing_value=-7), "number": "passthrough",
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("columns", [*([name] for name in TYPED), [*TYPED]], ids=str)
def test_text_stands_for_what_it_is_written_for(columns, tmp_path):
    """The same rows from files, with decimal commas too, as text, and typed."""
    frame, est = typed_columns(), network("value")
    pipe = make_pipeline(ColumnTransformer([(name, TYPED[name], [name]) for name in columns]), est)
    pipe.fit(frame, frame["number"] + frame["flag"])
    est.save(tmp_path / "m.safetensors", pipeline=pipe)
    loaded = fastnn.load(tmp_path / "m.safetensors")
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_csv(tmp_path / "comma.csv", index=False, sep=";", decimal=",", na_rep="gone")
    with open(tmp_path / "t.csv", newline="") as file:
        texts = list(csv.DictReader(file))
    doors = [frame, frame.to_dict("records"), {name: frame[name].tolist() for name in frame},
             fastnn.tables.read(tmp_path / "t.csv"), texts,
             fastnn.tables.read(tmp_path / "comma.csv", decimal=",", na=["gone"]),
             frame.convert_dtypes(), {name: [pandas.NA if value is None or value != value else value
                                             for value in frame[name].tolist()] for name in frame}]
    for door in doors:
        np.testing.assert_allclose(loaded.predict(door), pipe.predict(frame), rtol=1e-9)


@pytest.mark.filterwarnings("ignore")
def test_words_that_training_had_are_categories(tmp_path):
    """The others that programs write for missing values mean that."""
    words = np.array(["NA", "", "x", None] * 10, object)
    est = network("value")
    pipe = make_pipeline(SimpleImputer(strategy="constant", missing_values=None, fill_value="gone"),
                         OneHotEncoder(), est).fit(words[:, None], np.arange(40.0))
    est.save(tmp_path / "m.safetensors", pipeline=pipe)
    loaded = fastnn.load(tmp_path / "m.safetensors")
    np.testing.assert_allclose(loaded.predict(words[:, None]), pipe.predict(words[:, None]))
    assert loaded.predict([["N/A"]]) == loaded.predict([[None]]) != loaded.predict([["NA"]])


@pytest.mark.filterwarnings("ignore")
def test_none_that_an_imputer_of_nan_leaves_is_refused(tmp_path):
    words = np.array(["x", "y", None] * 10, object)[:, None]
    est = network("value")
    pipe = make_pipeline(SimpleImputer(strategy="constant", fill_value="gone"), OneHotEncoder(),
                         est).fit(words, np.arange(30.0))
    with pytest.raises(ValueError, match="'onehotencoder' has missing values .* told apart"):
        est.save(tmp_path / "m.safetensors", pipeline=pipe)


@pytest.mark.filterwarnings("ignore")
def test_pandas_na_may_be_what_is_imputed(tmp_path):
    frame = FRAME[["a", "b"]].convert_dtypes()
    est = network("value")
    pipe = make_pipeline(SimpleImputer(missing_values=pandas.NA), est).fit(frame, VALUE)
    est.save(tmp_path / "m.safetensors", pipeline=pipe)
    np.testing.assert_allclose(fastnn.load(tmp_path / "m.safetensors").predict(frame),
                               pipe.predict(frame))


@pytest.mark.filterwarnings("ignore")
def test_arrays_are_prepared_too(tmp_path):
    """Not taken for what the network reads, though the width may be the same."""
    X = FRAME[["a", "count"]].to_numpy()
    est = network("value")
    pipe = make_pipeline(StandardScaler(), make_pipeline(MinMaxScaler()), est).fit(X, VALUE)
    est.save(tmp_path / "m.safetensors", pipeline=pipe)
    loaded = fastnn.load(tmp_path / "m.safetensors")
    np.testing.assert_allclose(loaded.predict(X), pipe.predict(X), rtol=1e-6)
    np.testing.assert_allclose(loaded.predict(X.tolist()), pipe.predict(X), rtol=1e-6)
    with pytest.raises(ValueError, match="3 columns, must have 2"):
        loaded.predict(np.zeros((2, 3)))


@pytest.mark.filterwarnings("ignore")
def test_unknown_categories_are_as_the_encoder_says(tmp_path):
    odd = FRAME.assign(c="new")
    est = network("value")
    pipe = make_pipeline(PREPARATIONS["columns"], est).fit(FRAME, VALUE)
    est.save(tmp_path / "m.safetensors", pipeline=pipe)
    np.testing.assert_allclose(fastnn.load(tmp_path / "m.safetensors").predict(odd),
                               pipe.predict(odd), rtol=1e-6)
    pipe = make_pipeline(PREPARATIONS["rest"], est).fit(FRAME.fillna({"b": 0}), VALUE)
    est.save(tmp_path / "m.safetensors", pipeline=pipe)
    with pytest.raises(ValueError, match="column 'c', row 0: 'new' is a category"):
        fastnn.load(tmp_path / "m.safetensors").predict(odd)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("steps", ["columns", "ordinal"])
def test_strict_refuses_categories_that_an_encoder_lets_through(steps, tmp_path):
    est = fastnn.TabularRegressor(random_state=0)
    pipe = make_pipeline(PREPARATIONS[steps], est).fit(FRAME, VALUE)
    est.save(tmp_path / "m.safetensors", pipeline=pipe)
    loaded = fastnn.load(tmp_path / "m.safetensors")
    expected = pipe.predict(FRAME)
    np.testing.assert_allclose(loaded.predict(FRAME, strict=True), expected, rtol=1e-6)
    odd = FRAME.assign(c=["new", *FRAME["c"][1:]])
    assert len(loaded.predict(odd)) == N
    with pytest.raises(ValueError, match="column 'c', row 0: 'new' is a category"):
        loaded.predict(odd, strict=True)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PREPARATIONS)
def test_explanations_are_of_the_columns_of_the_table(name, tmp_path):
    """Not of those that the pipeline makes; one that it drops says nothing."""
    est = fastnn.TabularRegressor(random_state=0)
    pipe = make_pipeline(PREPARATIONS[name], est).fit(FRAME, VALUE)
    est.save(tmp_path / "m.safetensors", pipeline=pipe)
    loaded = fastnn.load(tmp_path / "m.safetensors")
    origins = loaded.preparation.origins()
    assert len(origins) == pipe[0].transform(FRAME).shape[1]
    found = loaded.explain(FRAME[:4], samples=64)
    assert found.feature_names == tuple(FRAME) == loaded.feature_names_in_
    assert found.values.shape[:2] == (4, 5)
    np.testing.assert_allclose(found.values.reshape(4, 5).sum(axis=1) + found.base_values,
                               pipe.predict(FRAME[:4]), rtol=1e-6)
    unused = [i for i in range(5) if i not in origins]
    assert (found.values[:, unused] == 0).all()
    inner = est.explain(pipe[:-1].transform(FRAME[:4]), samples=64).values.reshape(4, -1)
    largest = np.abs(found.values.reshape(4, 5)).mean(axis=0).argmax()
    assert largest == origins[np.abs(inner).mean(axis=0).argmax()]


DAY = np.datetime64("2024-01-01") + (np.arange(N) * 7 % 50).astype("timedelta64[D]")
HANDED_ON = FRAME.assign(day=DAY, name=[f"n{i}" for i in range(N)], yes=FRAME["a"] > 5,
                         code=np.array(["01", "1", "007"])[np.arange(N) % 3])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("frames", [False, True])
@pytest.mark.parametrize("columns", [["c", "d"], ["name"], ["day", "yes"], ["code"], "filled"])
def test_text_and_dates_that_a_pipeline_hands_on(columns, frames, tmp_path):
    """The estimators of tables read these themselves; a file that was saved without a word could
    predict nothing: "'x' is no number"."""
    step, settings = "passthrough", {}
    if columns == "filled":
        step, columns = SimpleImputer(strategy="most_frequent"), ["c", "d"]
    if columns == ["code"]:
        settings["categorical_features"] = ["own__code"] if frames else [-1]
    before = ColumnTransformer([("n", NUMBERS, ["a"]), ("own", step, columns)])
    if frames:
        before.set_output(transform="pandas")
    est = fastnn.TabularClassifier(random_state=0, **settings)
    pipe = make_pipeline(before, est).fit(HANDED_ON, CLASS)
    est.save(tmp_path / "m.safetensors", pipeline=pipe)
    loaded = fastnn.load(tmp_path / "m.safetensors")
    expected = pipe.predict_proba(HANDED_ON)
    HANDED_ON.to_csv(tmp_path / "t.csv", index=False)
    records = HANDED_ON.to_dict("records")
    doors = [HANDED_ON, fastnn.tables.read(tmp_path / "t.csv"), HANDED_ON.iloc[:, ::-1], records]
    for table in doors:
        np.testing.assert_array_equal(loaded.predict_proba(table), expected)
    one = np.concatenate([loaded.predict_proba([row]) for row in records])
    np.testing.assert_array_equal(one, expected)
    assert len(est.model_.schema.columns) == 1 + len(columns) - (columns == ["name"])


@pytest.mark.filterwarnings("ignore")
def test_a_category_that_a_pipeline_hands_on_and_nobody_knows(tmp_path):
    est = fastnn.TabularClassifier(random_state=0)
    before = ColumnTransformer([("n", NUMBERS, ["a"]), ("own", "passthrough", ["c"])])
    pipe = make_pipeline(before.set_output(transform="pandas"), est).fit(FRAME, CLASS)
    est.save(tmp_path / "m.safetensors", pipeline=pipe)
    loaded, odd = fastnn.load(tmp_path / "m.safetensors"), FRAME.assign(c="new")
    odd.to_csv(tmp_path / "t.csv", index=False)
    with pytest.warns(fastnn.tables.TableWarning, match="such as 'new' .row 0"):
        expected = loaded.predict_proba(odd)
    np.testing.assert_array_equal(expected, pipe.predict_proba(odd))
    table = fastnn.tables.read(tmp_path / "t.csv")  # whose rows are counted from 1
    with pytest.raises(ValueError, match="such as 'new' .row 1"):
        loaded.predict(table, strict=True)


@pytest.mark.filterwarnings("ignore")
def test_values_that_are_none_are_named(tmp_path):
    est = network("value")
    pipe = make_pipeline(PREPARATIONS["columns"], est).fit(FRAME, VALUE)
    est.save(tmp_path / "m.safetensors", pipeline=pipe)
    loaded, row = fastnn.load(tmp_path / "m.safetensors"), dicts(FRAME[:1])[0]
    for name, value, message in (
            ("c", ["x"], "of type list"), ("c", {"x": 1}, "of type dict"),
            ("c", np.array("x"), "of type ndarray"), ("a", np.ones(2), "of type ndarray"),
            ("a", "abc", "is no number"), ("a", 10**400, "is no number"), ("a", 1j, "no number")):
        with pytest.raises(ValueError, match=f"column '{name}', row 1: .*{message}"):
            loaded.predict([row, {**row, name: value}])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["value", "tabular"])
def test_the_command_line_knows_the_columns_of_the_pipeline(kind, tmp_path, capsys):
    est = fastnn.TabularRegressor(random_state=0) if kind == "tabular" else network(kind)
    pipe = make_pipeline(PREPARATIONS["columns"], est).fit(FRAME, VALUE)
    model, table, out = (str(tmp_path / name) for name in ("m.safetensors", "t.csv", "o.csv"))
    est.save(model, pipeline=pipe)
    FRAME.assign(y=VALUE).to_csv(table, index=False)
    assert cli.main(["predict", model, table, "-o", out]) == 0
    np.testing.assert_allclose(pandas.read_csv(out).iloc[:, -1], pipe.predict(FRAME), rtol=1e-6)
    assert cli.main(["evaluate", model, table, "--target", "y"]) == 0
    capsys.readouterr()
    assert cli.main(["info", model]) == 0
    assert "a, b, count, c, d" in capsys.readouterr().out
    FRAME.drop(columns="count").to_csv(table, index=False)
    assert cli.main(["predict", model, table]) == 2
    assert "no column 'count'" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("scaler", [StandardScaler(), MinMaxScaler(), RobustScaler(),
                                    MinMaxScaler(clip=True)])
@pytest.mark.parametrize("tabular", [True, False])
def test_targets_that_were_scaled(scaler, tabular, tmp_path):
    est = fastnn.TabularRegressor(random_state=0) if tabular else network("value")
    whole = TransformedTargetRegressor(make_pipeline(PREPARATIONS["columns"], est),
                                       transformer=scaler)
    whole.fit(FRAME, VALUE)
    inner = whole.regressor_[-1]
    inner.save(tmp_path / "m.safetensors", pipeline=whole)
    np.testing.assert_allclose(fastnn.load(tmp_path / "m.safetensors").predict(FRAME),
                               whole.predict(FRAME), rtol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_serving_a_pipeline_needs_numpy_alone(tmp_path, run_python):
    est = network("value")
    pipe = make_pipeline(PREPARATIONS["columns"], est).fit(FRAME, VALUE)
    est.save(tmp_path / "m.safetensors", pipeline=pipe)
    code = """
import json, sys
sys.modules["sklearn"] = sys.modules["pandas"] = sys.modules["scipy"] = None
import fastnn
print(json.dumps(fastnn.load(sys.argv[1]).predict(json.loads(sys.argv[2])).tolist()))
"""
    said = run_python(code, tmp_path / "m.safetensors", json.dumps(dicts(FRAME[:4])))
    np.testing.assert_allclose(json.loads(said.stdout), pipe.predict(FRAME[:4]), rtol=1e-6)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("step", "message"), [
    (PCA(2), "'pca' is PCA"), (PolynomialFeatures(), "'polynomialfeatures'"),
    (FunctionTransformer(np.log1p), "'functiontransformer'"),
    (ColumnTransformer([("poly", PolynomialFeatures(), [0])]), "'columntransformer__poly'"),
    (ColumnTransformer([("o", OneHotEncoder(max_categories=2), [0])]),
     "'columntransformer__o' puts infrequent"),
    (SimpleImputer(missing_values=0), "'simpleimputer' takes 0"),
])
def test_steps_that_cannot_be_saved_are_named(step, message, tmp_path):
    est = network("value")
    pipe = make_pipeline(step, est).fit(np.abs(FRAME[["a", "count"]].to_numpy()), VALUE)
    with pytest.raises((TypeError, ValueError), match=message):
        est.save(tmp_path / "m.safetensors", pipeline=pipe)
    assert not (tmp_path / "m.safetensors").exists()


@pytest.mark.filterwarnings("ignore")
def test_targets_that_cannot_be_saved(tmp_path):
    est = network("value")
    whole = TransformedTargetRegressor(est, func=np.log1p, inverse_func=np.expm1)
    whole.fit(FRAME[["a"]], VALUE)
    with pytest.raises(TypeError, match="target is FunctionTransformer"):
        whole.regressor_.save(tmp_path / "m.safetensors", pipeline=whole)
    with pytest.raises(ValueError, match="last step"):
        est.save(tmp_path / "m.safetensors", pipeline=make_pipeline(StandardScaler(), est.fit(
            FRAME[["a"]], VALUE), StandardScaler()))
