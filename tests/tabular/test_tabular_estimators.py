"""`TabularClassifier` and `TabularRegressor`: scikit-learn's protocol, and what is theirs."""

import copy
import io
import pickle
import warnings

import numpy as np
import pytest
from tabular_data import COUNT, LABELS, TABLE, THREE, TWO, VALUE, N, rows

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastnn
from fastnn import TabularClassifier, TabularRegressor

# folds and batches are other ones where rows are repeated; rows of weight 0 are left out
NOT_EQUIVALENT = "repeated rows change folds and batches, which weights do not"
KINDS = {
    "two": (TabularClassifier, TWO), "three": (TabularClassifier, THREE),
    "labels": (TabularClassifier, LABELS), "value": (TabularRegressor, VALUE),
    "values": (TabularRegressor, np.stack([VALUE, -VALUE], axis=1)),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def fitted(kind, X=TABLE, **settings):
    make, y = KINDS[kind]
    return make(random_state=0, **settings).fit(X, y)


def said(model, X=TABLE):
    return getattr(model, "predict_proba", model.predict)(X).tobytes()


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(
    [TabularClassifier(), TabularRegressor()], expected_failed_checks=lambda est: {
        "check_sample_weight_equivalence_on_dense_data": NOT_EQUIVALENT})
def test_check_estimator(estimator, check):
    check(estimator)


# ---- learning ----

@every_kind
def test_it_learns(kind):
    assert fitted(kind).score(TABLE, KINDS[kind][1]) > 0.85


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber", "log_cosh",
                                  "quantile", "poisson", "tweedie"])
def test_losses(loss):
    model = TabularRegressor(loss=loss, random_state=0).fit(TABLE, COUNT)
    found = model.predict(TABLE)
    assert np.corrcoef(found, COUNT)[0, 1] > 0.8
    if loss in ("poisson", "tweedie"):
        assert (found > 0).all()


def test_units_of_the_target_mean_nothing():
    a = TabularRegressor(random_state=0).fit(TABLE, VALUE).predict(TABLE)
    b = TabularRegressor(random_state=0).fit(TABLE, 1e6 * VALUE + 1e8).predict(TABLE)
    np.testing.assert_allclose((b - 1e8) / 1e6, a, rtol=1e-3)
    a = TabularRegressor(loss="tweedie", random_state=0).fit(TABLE, COUNT).predict(TABLE)
    b = TabularRegressor(loss="tweedie", random_state=0).fit(TABLE, 1e-6 * COUNT).predict(TABLE)
    np.testing.assert_allclose(b * 1e6, a, rtol=1e-3)


def test_quantiles():
    model = TabularRegressor(loss="quantile", quantile=[0.1, 0.5, 0.9],
                             random_state=0).fit(TABLE, VALUE)
    found = model.predict(TABLE)
    assert found.shape == (N, 3) and (np.diff(found, axis=1) >= 0).all()
    np.testing.assert_array_equal(model.predict_quantiles(TABLE), found)
    np.testing.assert_array_equal(model.predict_quantiles(TABLE, [0.1, 0.9]), found[:, [0, 2]])
    assert 0.6 < ((VALUE > found[:, 0]) & (VALUE < found[:, 2])).mean() < 0.99
    assert model.score(TABLE, VALUE) > 0.5
    with pytest.raises(ValueError, match="among the levels of the fit"):
        model.predict_quantiles(TABLE, 0.3)
    assert not hasattr(TabularRegressor(), "predict_quantiles")


def test_weights_of_classes_and_rows():
    rare = np.where(np.arange(N) % 12 == 0, "rare", "often")
    plain = TabularClassifier(random_state=0).fit(TABLE, rare)
    even = TabularClassifier(class_weight="balanced", random_state=0).fit(TABLE, rare)
    given = TabularClassifier(class_weight={"rare": 6.0, "often": 6 / 11},
                              random_state=0).fit(TABLE, rare)
    by_rows = TabularClassifier(random_state=0).fit(
        TABLE, rare, np.where(rare == "rare", 6.0, 6 / 11))
    assert said(even) == said(given) == said(by_rows) != said(plain)
    assert even.predict_proba(TABLE)[:, 1].mean() > 2 * plain.predict_proba(TABLE)[:, 1].mean()


def test_rows_of_weight_zero_are_not_there():
    weight = np.where(np.arange(N) < 200, 1.0, 0.0)
    a = TabularRegressor(random_state=0).fit(rows(0, 200), VALUE[:200], weight[:200])
    wrong = np.where(weight > 0, VALUE, 1e6)
    b = TabularRegressor(random_state=0).fit(TABLE, wrong, weight)
    np.testing.assert_allclose(b.predict(TABLE), a.predict(TABLE), rtol=1e-6)


@pytest.mark.parametrize("y", [TWO, THREE], ids=["two", "three"])
def test_rows_of_validation(y):
    model = TabularClassifier(random_state=0).fit(
        rows(0, 150), y[:150], X_val=rows(150), y_val=y[150:])
    assert model.score(rows(150), y[150:]) > 0.7


def test_single_class_and_constant_target():
    model = TabularClassifier().fit(TABLE, np.full(N, "a"))
    assert set(model.predict(TABLE)) == {"a"}
    np.testing.assert_array_equal(model.predict_proba(TABLE), np.ones((N, 1)))
    model = TabularRegressor().fit(TABLE, np.full(N, 7.5))
    np.testing.assert_array_equal(model.predict(TABLE), np.full(N, 7.5))
    assert pickle.loads(pickle.dumps(model)).predict(TABLE)[0] == 7.5


# ---- the same bytes ----

@pytest.mark.real_recipe
def test_same_bytes_for_any_number_of_threads():
    one, two = (TabularClassifier("fast", random_state=0, n_threads=n).fit(TABLE, TWO)
                for n in (1, 2))
    assert said(one) == said(two)
    np.testing.assert_array_equal(one.feature_importances_, two.feature_importances_)
    assert pickle.dumps(one.model_) == pickle.dumps(two.model_)


def test_a_row_alone_and_among_others():
    model = fitted("three")
    alone = np.concatenate([model.predict_proba(rows(i, i + 1)) for i in range(20)])
    np.testing.assert_array_equal(alone, model.predict_proba(rows(0, 20)))


@pytest.mark.parametrize("kind", ["two", "three"])
def test_a_row_as_a_service_asks_for_it(kind):
    model = fitted(kind)
    first = [dict(zip(TABLE, row, strict=True)) for row in zip(*rows(0, 9).values(), strict=True)]
    among = model.predict_proba(first)
    assert np.ptp(among[:, 0]) > 0.1  # and not of classes in any order
    for i, row in enumerate(first):
        assert model.predict_proba([row])[0].tolist() == among[i].tolist()
        assert model.predict([row])[0] == model.predict(first)[i]


@pytest.mark.real_recipe
def test_progress_changes_nothing(capsys):
    plain, shown = (TabularRegressor("fast", random_state=0, progress=progress).fit(
        rows(0, 60), VALUE[:60]) for progress in (False, True))
    assert said(plain) == said(shown)
    told = capsys.readouterr().err
    assert told.startswith("fastnn: 0 of ") and "networks, 1 epochs" in told
    last = told.strip().splitlines()[-1]
    count = len(plain.model_.ensemble.networks)
    assert last.startswith(f"fastnn: {count} of {count} networks") and "held-out loss" in last


# ---- doors ----

@every_kind
def test_frames_of_every_kind(kind):
    pandas = pytest.importorskip("pandas")
    first = fitted(kind)
    frame = pandas.DataFrame(TABLE)
    assert said(fitted(kind, frame)) == said(first)
    assert said(first, frame) == said(first)
    assert said(first, frame[["c", "a", "b"]]) == said(first)
    dicts = [dict(zip("abc", row, strict=True)) for row in zip(*TABLE.values(), strict=True)]
    assert said(first, dicts) == said(first)
    polars = pytest.importorskip("polars")
    assert said(first, polars.DataFrame(TABLE)) == said(first)


def test_arrays_by_the_order_of_the_columns():
    X = np.stack([TABLE["a"], TABLE["b"]], axis=1)
    by_name = TabularRegressor(random_state=0).fit({"a": X[:, 0], "b": X[:, 1]}, VALUE)
    by_place = TabularRegressor(random_state=0).fit(X, VALUE)
    assert said(by_name, X) == said(by_place, X)
    assert list(by_name.feature_names_in_) == ["a", "b"]
    assert not hasattr(by_place, "feature_names_in_")


def test_labels_come_back_as_they_were():
    for labels in (THREE.astype(np.int8), THREE.astype(float), THREE > 1,
                   np.array(["u", "v", "w"], object)[THREE]):
        model = TabularClassifier(random_state=0).fit(TABLE, labels)
        assert model.classes_.dtype == labels.dtype
        assert model.predict(TABLE).dtype == labels.dtype


# ---- scikit-learn's machinery ----

def test_search_pipeline_and_clone():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(TABLE)
    search = GridSearchCV(TabularClassifier(random_state=0), {"preset": ["fast", "default"]},
                          cv=2)
    assert search.fit(frame, TWO).predict(frame).shape == (N,)
    columns = ColumnTransformer([("numbers", StandardScaler(), ["a", "b"])],
                                remainder="passthrough").set_output(transform="pandas")
    pipe = make_pipeline(columns, TabularRegressor(random_state=0)).fit(frame, VALUE)
    assert pipe.score(frame, VALUE) > 0.85
    assert pipe[-1].feature_names_in_.tolist() == ["numbers__a", "numbers__b", "remainder__c"]
    assert cross_val_score(TabularRegressor(random_state=0), frame, VALUE, cv=2).min() > 0.7
    settings = {"preset": "fast", "eval_metric": "roc_auc", "class_weight": "balanced"}
    assert clone(TabularClassifier(**settings)).get_params() == {
        **TabularClassifier().get_params(), **settings}


@every_kind
@pytest.mark.parametrize("through", [
    copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["copy", "pickle"])
def test_copies(kind, through):
    model = fitted(kind)
    other = through(model)
    assert said(other) == said(model)
    np.testing.assert_array_equal(other.feature_importances_, model.feature_importances_)
    if kind == "value":
        np.testing.assert_array_equal(other.predict_interval(TABLE), model.predict_interval(TABLE))
    before = said(model)
    other.fit(rows(0, 100), KINDS[kind][1][:100])
    assert said(model) == before != said(other)


@every_kind
def test_joblib_and_skops(kind, tmp_path):
    joblib = pytest.importorskip("joblib")
    model = fitted(kind)
    joblib.dump(model, tmp_path / "m.joblib")
    assert said(joblib.load(tmp_path / "m.joblib", mmap_mode="r")) == said(model)
    skops = pytest.importorskip("skops.io")
    data = skops.dumps(model)
    assert set(skops.get_untrusted_types(data=data)) <= set(fastnn.SKOPS_TRUSTED)
    assert said(skops.loads(data, trusted=fastnn.SKOPS_TRUSTED)) == said(model)


@pytest.mark.slow
def test_mlflow(tmp_path):
    pytest.importorskip("mlflow")
    import mlflow.sklearn

    model, path = fitted("two"), str(tmp_path / "model")
    mlflow.sklearn.save_model(model, path, skops_trusted_types=fastnn.SKOPS_TRUSTED)
    assert said(mlflow.sklearn.load_model(path)) == said(model)


def test_pickles_of_labels_that_no_file_could_hold(tmp_path):
    model = pickle.loads(pickle.dumps(fitted("two").model_))
    model.classes = np.array(["2020-01-01", "2021-01-01"], "datetime64[D]")
    with pytest.raises(TypeError, match="classes of dtype"):
        model.save(tmp_path / "m.safetensors")
    again = pickle.loads(pickle.dumps(model))
    assert again.classes.dtype == model.classes.dtype
    np.testing.assert_array_equal(again.predict(TABLE), model.predict(TABLE))


def test_an_error_leaves_the_model_as_it_was():
    model = fitted("value")
    before, buffer = said(model), io.BytesIO()
    pickle.dump(model, buffer)
    with pytest.raises(ValueError, match="NaN"):
        model.fit(TABLE, np.full(N, np.nan))
    assert said(model) == before


# ---- bad input ----

@pytest.mark.parametrize(("settings", "message"), [
    ({"preset": "slow"}, "preset"), ({"time_limit": 0}, "time_limit"),
    ({"time_limit": 10**400}, "time_limit is beyond"),
    ({"eval_metric": "rmse"}, "eval_metric='rmse'"), ({"class_weight": {"maybe": 2}}, "maybe"),
    ({"n_threads": 0}, "n_threads"), ({"progress": 3}, "progress"),
    ({"class_weight": "even"}, "class_weight")])
def test_bad_settings(settings, message):
    with pytest.raises((ValueError, TypeError), match=message):
        TabularClassifier(**settings).fit(TABLE, TWO)


@pytest.mark.parametrize(("make", "arguments", "message"), [
    (TabularRegressor, (rows(0, 1), VALUE[:1]), "n_samples=1"),
    (TabularRegressor, (rows(0, 0), VALUE[:0]), "n_samples=0"),
    (TabularRegressor, (TABLE, VALUE[:5]), "inconsistent"),
    (TabularRegressor, ({"a": ["x"] * 5, "b": [None] * 5}, VALUE[:5]), "no column"),
    (TabularRegressor, (TABLE, VALUE, -np.ones(N)), "[Nn]egative"),
    (TabularRegressor, (TABLE, VALUE, np.zeros(N)), "[Ss]ample.weight"),
    (TabularClassifier, (TABLE, VALUE), "Unknown label type"),
    (TabularRegressor, (np.array([[np.inf], [1.0]]), [1, 2]), "finite"),
    (TabularRegressor, (TABLE, np.where(np.arange(N) == 7, -np.inf, VALUE)),
     "infinity in 1 row, the first is row 7"),
    (TabularClassifier, (iter([TABLE]), TWO), "list.X. makes a list of rows"),
])
def test_bad_tables(make, arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make().fit(*arguments)


@pytest.mark.parametrize(("make", "y", "dtype"), [
    (TabularClassifier, VALUE > 10, "boolean"), (TabularClassifier, THREE, "Int64"),
    (TabularRegressor, VALUE, "Float64"), (TabularRegressor, THREE, "UInt8"),
    (TabularClassifier, TWO, "string"), (TabularClassifier, TWO, "category")])
def test_missing_targets_of_nullable_types(make, y, dtype):
    pd = pytest.importorskip("pandas")
    y = pd.Series(y).astype(dtype)
    y[5] = None
    for column in (y, y.array):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(ValueError, match=r"row 5|contains NaN"):
                make().fit(TABLE, column)


@pytest.mark.parametrize(("of_class", "weight", "message"), [
    (np.inf, None, r"class_weight\['yes'\]=inf must be finite and >= 0"),
    (-1.5, None, r"class_weight\['yes'\]=-1.5 must be finite and >= 0"),
    (1e300, 1e10, "sample_weight times class_weight contains infinity")])
def test_weights_that_networks_cannot_hold(of_class, weight, message):
    """Said of what the user gave, not of a network."""
    if weight is not None:
        weight = np.full(N, weight)
    with pytest.raises(ValueError, match="^" + message):
        TabularClassifier(class_weight={"yes": of_class, "no": 1}).fit(TABLE, TWO, weight)


def test_bad_settings_of_a_regression():
    with pytest.raises(ValueError, match="needs loss='quantile'"):
        TabularRegressor(quantile=0.3).fit(TABLE, VALUE)
    with pytest.raises(ValueError, match=">= 0"):
        TabularRegressor(loss="poisson").fit(TABLE, -VALUE)
    with pytest.raises(ValueError, match="y_val has 2 columns"):
        TabularRegressor().fit(TABLE, VALUE, X_val=TABLE, y_val=np.stack([VALUE, VALUE], axis=1))
    with pytest.raises(ValueError, match="together"):
        TabularRegressor().fit(TABLE, VALUE, X_val=TABLE)


def test_bad_rows_of_validation_and_prediction():
    with pytest.raises(ValueError, match="'maybe', which y does not"):
        TabularClassifier().fit(TABLE, TWO, X_val=rows(0, 2), y_val=["yes", "maybe"])
    model = fitted("two")
    with pytest.raises(ValueError, match="'c'"):
        model.predict({"a": TABLE["a"], "b": TABLE["b"]})
    with pytest.raises(ValueError, match="2 features.*3 features"):
        model.predict(np.zeros((4, 2)))


LABELS = np.stack([np.array(TWO) == "yes", np.arange(N) % 3 == 0], axis=1).astype(int)


@pytest.mark.parametrize(("make", "y", "wrong", "message"), [
    (TabularRegressor(), VALUE, np.full(N, np.nan), r"^Input y_val contains NaN .* X_val\[~np"),
    (TabularRegressor(), VALUE, np.full(N, np.inf), "^Input y_val contains infinity"),
    (TabularRegressor(), VALUE, ["x"] * N, "y_val holds text .'x' in row 0.: class names"),
    (TabularRegressor(), VALUE, ["1.234,5"] * N, "y_val holds text .* decimal comma"),
    (TabularRegressor(loss="poisson"), np.abs(VALUE), np.full(N, -3.0),
     "^y_val holds -3, must be >= 0 for loss='poisson'"),
    (TabularRegressor(loss="gamma"), np.abs(VALUE) + 1, np.zeros(N), "^y_val holds 0, must be > 0"),
    (TabularClassifier(), LABELS, np.where(LABELS == 1, np.nan, 0), "^Input y_val contains NaN"),
    (TabularClassifier(), LABELS, LABELS * 2, "^y_val holds 2, must hold zeros and ones"),
    (TabularClassifier(), LABELS, LABELS.astype(str), "^y_val holds '[01]', must hold zeros"),
    (TabularClassifier(), TWO, [None] * N, "y_val has a missing value in row 0")])
def test_bad_targets_of_validation(make, y, wrong, message):
    """They were called y, or counted: NaN as a label that is there, -3 as a count."""
    with pytest.raises(ValueError, match=message):
        make.fit(TABLE, y, X_val=TABLE, y_val=wrong)


def test_tables_of_validation_that_are_none():
    with pytest.raises(TypeError, match="^X_val='x.csv' must be a table"):
        TabularRegressor().fit(TABLE, VALUE, X_val="x.csv", y_val=VALUE)


@pytest.mark.parametrize("names", [[0, 1, 2], [2020, 2021, "x"], ["x0", "x1", "x2"]])
def test_columns_are_known_by_name_when_names_are_numbers(names, tmp_path):
    """In another order they were taken by their places, without a word; files go by name."""
    pandas = pytest.importorskip("pandas")
    array = np.random.default_rng(0).normal(size=(N, 3))
    frame = pandas.DataFrame(array, columns=names)
    model = TabularRegressor("fast", random_state=0).fit(frame, array @ [1, 10, 100])
    model.save(tmp_path / "m.safetensors")
    expected = model.predict(frame)
    for other in (frame.iloc[:, ::-1], frame.assign(more=1.0)[["more", names[1], names[0],
                                                               names[2]]]):
        assert model.predict(other).tobytes() == expected.tobytes()
        found = fastnn.load(tmp_path / "m.safetensors").predict(other)
        assert found.tobytes() == expected.tobytes()
    assert model.predict(array).tobytes() == expected.tobytes()  # an array has places alone


def test_targets_that_are_columns_of_a_file(tmp_path):
    """They are read as the command line reads them: decimal commas, true and false, 01."""
    path = tmp_path / "t.csv"
    path.write_text("a;value;label;code;gap\n" + "".join(
        f"{i % 7};{v:.2f};{'TRUE' if i % 2 else 'False'};0{i % 3};{'' if i == 4 else i % 2}\n"
        .replace(".", ",") for i, v in enumerate(VALUE)))
    table = fastnn.tables.read(path)
    X, y = table.select(["a"]), np.round(VALUE, 2)
    frame = {"a": np.arange(N) % 7}
    model = TabularRegressor("fast", random_state=0).fit(X, table.column("value"), X_val=X,
                                                         y_val=table.column("value"))
    twin = TabularRegressor("fast", random_state=0).fit(frame, y, X_val=frame, y_val=y)
    assert said(model, X) == said(twin, frame)
    assert model.score(X, table.column("value")) == twin.score(frame, y)
    both = TabularRegressor("fast", random_state=0).fit(X, table.select(["value", "a"]))
    assert both.predict(X).shape == (N, 2)
    for name, labels in (("label", [False, True]), ("code", ["00", "01", "02"])):
        model = TabularClassifier("fast", random_state=0).fit(
            X, table.select([name]), X_val=X, y_val=table.column(name))
        assert model.classes_.tolist() == labels
        some = table.rows(slice(0, 2))  # without the last class: 00 and 01 are no numbers
        assert model.score(some, some.column(name)) == np.mean(
            model.predict(some) == np.array(labels)[np.arange(2) % len(labels)])
    with pytest.raises(ValueError, match="gap has a missing value in row 4"):
        TabularClassifier().fit(X, table.select(["gap"]))


def test_frames_without_rows():
    """An empty Series ended in NumPy's words: cannot reshape array of size 0."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(TABLE)[:0]
    for make, y in ((TabularRegressor, pandas.Series([], dtype=float)),
                    (TabularClassifier, pandas.Series([], dtype="boolean")),
                    (TabularClassifier, pandas.Series([], dtype="Int64"))):
        with pytest.raises(ValueError, match="^X has n_samples=0 rows, training needs at least 2"):
            make().fit(frame, y)


def test_not_fitted():
    for call in ("predict", "explain"):
        with pytest.raises(ValueError, match="not fitted"):
            getattr(TabularRegressor(), call)(TABLE)
    assert not hasattr(TabularRegressor(), "feature_importances_")


def test_rows_that_are_no_table_are_named():
    """In words of their own, not NumPy's."""
    y = [0, 1] * 20
    for kind in (TabularClassifier, TabularRegressor):
        with pytest.raises(ValueError, match="X has rows of several lengths: row 1 is of length 1"):
            kind().fit([[1, 2], [3]] * 20, y)
        with pytest.raises(ValueError, match="X has rows of several lengths: row 1 is of length 1"):
            kind().fit([["a", None], ["b"]] * 20, y)
        hidden = np.ma.array(np.zeros(40, [("a", "f8"), ("b", "f8")]))
        hidden["a"][3] = np.ma.masked
        with pytest.raises(ValueError, match="X is a masked array that hides values"):
            kind().fit(hidden, y)


def test_masked_arrays_of_fields_that_hide_nothing():
    fields = np.zeros(40, [("a", "f8"), ("b", "f8")])
    fields["a"] = np.arange(40)
    est = TabularRegressor(preset="fast", random_state=0).fit(fields, np.arange(40))
    np.testing.assert_array_equal(est.predict(np.ma.array(fields)), est.predict(fields))


def test_readers_of_batches_and_lazy_frames():
    pa, pl = pytest.importorskip("pyarrow"), pytest.importorskip("polars")
    columns = {"a": [float(i) for i in range(40)], " b": [i % 3 for i in range(40)]}
    table = pa.table(columns)
    with pytest.raises(TypeError, match=r"can be read once only: X.read_all\(\) makes a table"):
        TabularRegressor().fit(table.to_reader(), range(40))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of polars, which tells of costly attributes
        est = TabularRegressor(preset="fast", random_state=0)
        est.fit(pl.LazyFrame(columns), np.arange(40))
        assert est.feature_names_in_.tolist() == ["a", " b"]
        np.testing.assert_array_equal(est.predict(pl.LazyFrame(columns)), est.predict(table))


def test_a_metric_that_is_never_a_number_is_told():
    with pytest.warns(UserWarning, match="eval_metric 'nothing' has returned NaN each time"):
        TabularClassifier("fast", eval_metric=nothing, random_state=0).fit(TABLE, TWO)


def nothing(y, prediction):
    return float("nan")


def test_weights_are_named_as_they_were_given(tmp_path):
    (tmp_path / "t.csv").write_text("w\n" + "1\n2\n" * (N // 2))
    column = fastnn.tables.read(tmp_path / "t.csv").column("w")
    model = TabularClassifier("fast", random_state=0)
    weight = np.tile([1.0, 2.0], N // 2)
    assert said(model.fit(TABLE, TWO, column)) == said(model.fit(TABLE, TWO, weight))
    weight[3] = np.nan
    with pytest.raises(ValueError, match="Input sample_weight_val contains NaN"):
        model.fit(TABLE, TWO, X_val=TABLE, y_val=TWO, sample_weight_val=weight)
    with pytest.raises(ValueError, match="Input sample_weight contains NaN"):
        model.fit(TABLE, TWO, weight)


def test_errors_of_validation_rows_say_so():
    bad = {**TABLE, "a": ["abc"] * N}
    with pytest.raises(ValueError, match="X_val: column 'a': 240 values not understood"):
        TabularClassifier("fast").fit(TABLE, TWO, X_val=bad, y_val=TWO)
