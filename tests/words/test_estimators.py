"""Messages of the estimators: scikit-learn's, with what was meant."""

import re
import warnings

import numpy as np
import pytest
from each import each

import fastnn

pytest.importorskip("sklearn")
from fastnn import (  # noqa: E402
    MLPClassifier,
    MLPRegressor,
    TabularClassifier,
    TabularRegressor,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 2))
LABELS = RNG.integers(0, 2, 30)
Y = X.sum(axis=1)


def message(call, error=ValueError):
    with pytest.raises(error) as caught, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        call()
    return str(caught.value)


@pytest.mark.parametrize("settings, text", [
    (dict(activation="ReLU"), "Got 'ReLU' instead. Did you mean 'relu'?"),
    (dict(activation="linear"), "Did you mean 'identity'?"),
    (dict(activation="rellu"), "Did you mean 'relu'"),
    (dict(solver="AdamW"), "Did you mean 'adamw'?"),
    (dict(solver=fastnn.LBFGS()), "solver='lbfgs'"),
    (dict(solver=fastnn.AdamW), "That is a class: fastnn.AdamW() makes an object."),
    (dict(learning_rate=0.01), "The step size is learning_rate_init=0.01."),
    (dict(loss="mse"), "'squared_error' is a loss of MLPRegressor."),
    (dict(schedule="cosin"), "Did you mean 'cosine'"),
    (dict(norm="bacth"), "Did you mean 'batch'?"),
    (dict(n_iter_no_change="10"), "Got '10' instead. That is text: write n_iter_no_change=10."),
    (dict(class_weight="balance"), "Did you mean 'balanced'?"),
    (dict(scoring="acc", early_stopping=True), "; did you mean 'accuracy'?"),
])
def test_values_of_a_classifier(settings, text):
    assert text in message(lambda: MLPClassifier(max_iter=1, **settings).fit(X, LABELS))


def test_names_come_in_their_order():
    told = message(lambda: MLPClassifier(activation="no").fit(X, LABELS))
    assert "{'elu', 'exp', 'gelu', " in told


@pytest.mark.parametrize("make, text", [
    (lambda: MLPRegressor((64, 64)), "write MLPRegressor(hidden_layer_sizes=(64, 64))."),
    (lambda: MLPRegressor(64), "write MLPRegressor(hidden_layer_sizes=64)."),
    (lambda: MLPRegressor("mse"), "Did you mean 'squared_error'?"),
    (lambda: MLPRegressor("log_loss"), "'log_loss' is a loss of MLPClassifier."),
])
def test_values_of_a_regressor(make, text):
    assert text in message(lambda: make().fit(X, Y))


@pytest.mark.parametrize("call, text", [
    (lambda: MLPClassifier(lr=0.1), "MLPClassifier() got an unexpected keyword argument 'lr'; did "
     "you mean 'learning_rate_init'?"),
    (lambda: MLPClassifier(epochs=3), "did you mean 'max_iter'?"),
    (lambda: MLPRegressor(hidden_layers=(3,)), "did you mean 'hidden_layer_sizes'?"),
    (lambda: MLPRegressor(optimizer="adam"), "did you mean 'solver'?"),
    (lambda: MLPClassifier().fit(X), "MLPClassifier.fit() missing 1 required positional argument"),
    (lambda: MLPRegressor().fit(X, Y, callback=print), "MLPRegressor.fit() got an unexpected "
     "keyword argument 'callback': the estimator has it: MLPRegressor(callbacks=[...])"),
    (lambda: MLPClassifier().fit(X, LABELS, epochs=3), "MLPClassifier(max_iter=...)"),
])
def test_parameters(call, text):
    assert text in message(call, TypeError)


@pytest.mark.parametrize("make", [MLPClassifier, MLPRegressor])
def test_a_missing_target_is_named_by_its_row(make):
    for y in ([1, 0, None] * 10, ["a", "b", None] * 10):
        told = message(lambda y=y: make(max_iter=1).fit(X, y))
        assert "y has a missing value in row 2" in told or "class names are for" in told
    assert "row 2" in message(lambda: make(max_iter=1).fit(X, [1, 0, None] * 10))


def test_text_is_named_by_column_and_value():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": np.ones(30), "customerID": ["5258-FHJAB"] * 30})
    told = message(lambda: MLPClassifier().fit(frame, LABELS))
    assert told.startswith("could not convert string to float")
    assert "column 'customerID' holds text ('5258-FHJAB' in row 0): encode it" in told
    assert "column 1 holds text" in message(lambda: MLPRegressor().fit(frame.to_numpy(), Y))
    assert "class names are for MLPClassifier" in message(lambda: MLPRegressor().fit(X, ["a"] * 30))


def test_dates():
    """As numbers they would be counts of the unit that they happen to have, and NaT -9e18."""
    pandas = pytest.importorskip("pandas")
    days = pandas.date_range("2020-01-01", periods=30)
    frame = pandas.DataFrame({"when": days})
    dates = np.asarray(days)
    for data in (frame, frame.assign(a=1.0), frame.assign(when=days.tz_localize("UTC"))):
        for call in (lambda data=data: MLPRegressor(max_iter=1).fit(data, Y),
                     lambda data=data: MLPRegressor(max_iter=1).partial_fit(data, Y),
                     lambda data=data: MLPClassifier(max_iter=1).fit(data, LABELS)):
            told = message(call, TypeError)
            assert told == ("column 'when' of X holds dates: make numbers of them, such as days "
                            "since one of them")
    told = message(lambda: MLPRegressor(max_iter=1).fit(frame - days[0], Y), TypeError)
    assert told.startswith("column 'when' of X holds durations: make numbers of them")
    unnamed = frame.assign(a=1.0)  # was taken for a frame without dates
    unnamed.columns = pandas.Index([None, "a"], dtype=object)
    told = message(lambda: MLPRegressor(max_iter=1).fit(unnamed, Y), TypeError)
    assert told.startswith("column None of X holds dates")
    gap = np.full((30, 1), "NaT", "M8[s]")
    for data in (dates.reshape(-1, 1), list(dates.reshape(-1, 1)), [[day] for day in dates],
                 [[1.0, day] for day in dates], (dates - dates[0]).reshape(-1, 1), gap):
        told = message(lambda data=data: MLPRegressor(max_iter=1).fit(data, Y), TypeError)
        assert "make numbers of them" in told
    fitted = MLPRegressor(max_iter=1).fit(X[:, :1], Y)
    assert "holds dates" in message(lambda: fitted.predict(dates.reshape(-1, 1)), TypeError)
    for y in (dates, days, list(dates), frame["when"], gap[:, 0]):
        told = message(lambda y=y: MLPRegressor(max_iter=1).fit(X, y), TypeError)
        assert "y holds dates" in told or "column 0 holds dates" in told
    two = np.where(LABELS, dates[0], dates[1])  # as classes they are what they are
    assert MLPClassifier(max_iter=1).fit(X, two).classes_.tolist() == sorted(set(two.tolist()))
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"a": days})
    told = message(lambda: MLPRegressor(max_iter=1).fit(frame, Y), TypeError)
    assert told.startswith("column 'a' of X holds dates")


def test_shapes():
    assert "X has 2 rows and 30 columns: X.T?" in message(lambda: MLPClassifier().fit(X.T, LABELS))
    told = message(lambda: MLPClassifier().fit(X.reshape(3, 10, 2), LABELS[:3]))
    assert "X.reshape(len(X), -1)" in told


def test_early_stopping_with_too_few_rows():
    told = message(lambda: MLPClassifier(early_stopping=True).fit(X[:5], [0, 1, 0, 1, 0]))
    assert told.startswith("early_stopping holds out 10% of 5 rows, too few for that: ")


def test_a_hint_on_scale_where_it_is_asked_for():
    """scikit-learn's estimators say nothing, so ours do by ``verbose=True`` alone."""
    def hints(**settings):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            MLPRegressor(max_iter=1, **settings).fit(X, 1000 * Y + 5000)
        return [str(one.message) for one in told if one.category is fastnn.HintWarning]

    assert hints() == []
    text, = hints(verbose=True)
    assert re.match("y is not scaled", text)


def test_estimators_of_tables_say_the_same():
    assert "did you mean 'random_state'?" in message(
        lambda: fastnn.TabularClassifier(seed=1), TypeError)
    assert message(lambda: fastnn.TabularRegressor().fit(X), TypeError).startswith(
        "TabularRegressor.fit() missing 1 required positional argument")
    assert "Did you mean 'default'" in message(
        lambda: fastnn.TabularClassifier("defalt").fit(X, LABELS))
    told = message(lambda: fastnn.TabularClassifier(infinities="miss").fit(X, LABELS))
    assert "{'keep', 'missing', 'refuse'}" in told


def test_validation_rows_that_a_pipeline_has_not_scaled():
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    raw = 100 * X + 500
    pipe = make_pipeline(StandardScaler(), MLPClassifier(max_iter=1))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        pipe.fit(raw, LABELS, mlpclassifier__validation_data=(raw, LABELS))
        MLPClassifier(max_iter=1).fit(X, LABELS, validation_data=(3 * X, LABELS))
        MLPClassifier(max_iter=1).fit(raw, LABELS, validation_data=(raw, LABELS))
    text, = [str(one.message) for one in told if one.category is fastnn.HintWarning]
    assert text.startswith("the validation rows are on another scale than X: up to ")
    assert "transform_input=['X_val']" in text


def test_best_epoch():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        est = MLPClassifier(max_iter=9, early_stopping=True, random_state=0).fit(X, LABELS)
    assert est.validation_scores_[est.best_epoch_ - 1] == est.best_validation_score_
    assert not hasattr(MLPClassifier(max_iter=1), "best_epoch_")


def test_the_drawing_in_a_notebook_links_to_the_reference():
    from pathlib import Path

    root = Path(__file__).parents[2]
    site = re.search('^Documentation = "(.*)"$', (root / "pyproject.toml").read_text(), re.M)[1]
    for est in (MLPClassifier(), fastnn.TabularRegressor()):
        link = f"{site}/en/stable/reference/generated/fastnn.{type(est).__name__}.html"
        assert f'href="{link}"' in est._repr_html_()


FRAME = {"a": X[:, 0], "b": X[:, 1], "c": list("xyz" * 10)}


@pytest.mark.parametrize("make, call, error, text", [
    ("Classifier", lambda est: est.fit("t.csv", LABELS), TypeError,
     "X='t.csv' must be a table; of the path of a file fastnn.tables.read(path) makes one"),
    ("Classifier", lambda est: est.fit(FRAME, "c"), TypeError, "y='c' must be the values "
     "themselves: of a frame X.drop(columns='c') and X['c']"),
    ("Classifier", lambda est: est.fit(FRAME, np.where(LABELS, np.nan, 1.0)), ValueError,
     f"Input y contains NaN in {LABELS.sum()} rows, the first is row {LABELS.argmax()}"),
    ("Regressor", lambda est: est.fit(FRAME, ["<=50K"] * 30), ValueError,
     "y holds text ('<=50K' in row 0): class names are for TabularClassifier"),
    ("Classifier", lambda est: est.fit(FRAME, LABELS, eval_set=[(X, LABELS)]), TypeError,
     "give X_val= and y_val="),
    ("Regressor", lambda est: est.fit(FRAME, Y, epochs=9), TypeError,
     "TabularRegressor('best'), or TabularRegressor(time_limit=60)"),
    ("Classifier", lambda est: est.fit(FRAME, LABELS, X_val={"a": X[:, 0]}, y_val=LABELS),
     ValueError, "X_val has no columns 'b', 'c'"),
    ("Classifier", lambda est: est.fit(FRAME, [None, "a", "b"] * 10), ValueError,
     "y has a missing value in row 0: leave the row out"),
    ("Classifier", lambda est: est.fit(FRAME, np.array([1, "a", 2] * 10, object)), TypeError,
     "y holds text and other values, 'a' and 1: y.astype(str) makes text of all"),
    ("Regressor", lambda est: est.fit(FRAME, np.arange(30).astype("M8[D]")), TypeError,
     "y holds dates: make numbers of them, such as days, (y - y.min()) / "),
    ("Regressor", lambda est: est.fit(FRAME | {"d": np.zeros(30, "m8[s]")}, Y), ValueError,
     "column 'd' holds durations: make numbers of them"),
    ("Regressor", lambda est: est.fit(FRAME, np.arange(30).astype("m8[s]")), TypeError,
     "y holds durations: make numbers of them, such as days, y / "),
    ("Regressor", lambda est: est.fit(FRAME, {"y": Y}), TypeError,
     "y is of type dict, must be a list or an array of values"),
    ("Classifier", lambda est: est.fit(FRAME, set(range(30))), TypeError,
     "y is of type set, must be a list or an array of values"),
    ("Regressor", lambda est: est.fit({"a": np.zeros(0)}, np.zeros(0)), ValueError,
     "X has n_samples=0 rows, training needs at least 2"),
    ("Classifier", lambda est: est.set_params(class_weight={"a": -1, "b": 1}).fit(
        FRAME, ["a", "b"] * 15), ValueError, "class_weight['a']=-1.0 must be finite and >= 0"),
    ("Classifier", lambda est: est.set_params(class_weight={"a": "1"}).fit(
        FRAME, ["a", "b"] * 15), TypeError, "class_weight['a']='1' must be a number"),
])
def test_what_estimators_of_tables_are_given(make, call, error, text):
    assert text in message(lambda: call(getattr(fastnn, f"Tabular{make}")("fast")), error)


def test_gaps_and_text_name_the_estimator_that_takes_them():
    gaps = np.where(np.arange(60).reshape(30, 2) == 7, np.nan, X)
    told = message(lambda: MLPRegressor().fit(gaps, Y))
    assert told.endswith("column 1, row 3. fastnn.TabularRegressor takes missing values, text and "
                         "dates as they are.")
    told = message(lambda: MLPClassifier().fit(np.full((30, 1), "a", object), LABELS))
    assert told.endswith("fastnn.TabularClassifier and TabularRegressor take text as it is")


def test_a_fit_that_has_not_converged_says_what_is_not_scaled():
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        MLPClassifier(max_iter=1).fit(1000 * X, LABELS)
        MLPRegressor(max_iter=1).fit(X, 1000 * Y + 5000)
        MLPClassifier(max_iter=1).fit(X, LABELS)
    texts = [str(one.message).partition("converged yet.")[2] for one in told]
    assert texts[0].startswith(" X is not scaled: it has values such as ")
    assert texts[1].startswith(" y is not scaled: it has values such as ")
    assert texts[2] == "" and len(texts) == 3


@pytest.mark.parametrize("make, text", [
    (lambda: MLPClassifier(device="cuda"), "fastnn computes on the CPU alone"),
    (lambda: MLPClassifier(checkpoint="f"), "fit has it: MLPClassifier(...).fit(X, y, "
     "checkpoint=...)"),
    (lambda: fastnn.TabularClassifier(n_estimators=9), "the preset decides: "
     "TabularClassifier('best'), or "),
    (lambda: fastnn.TabularRegressor(X_val=X), "TabularRegressor(...).fit(X, y, X_val=...)"),
])
def test_parameters_that_something_else_has(make, text):
    assert text in message(make, TypeError)


@pytest.mark.parametrize("settings, text", [
    (dict(categorical_features="b"), "One column is a list, too: ['b']."),
    (dict(categorical_features=["zip"]), "which the table does not have; there are: 'a', 'b'"),
    (dict(time_limit="60"), "That is text: write time_limit=60."),
    (dict(loss="quantile", quantile=90), "quantile=90, a level in (0, 1) or several in rising "),
])
def test_values_of_the_estimators_of_tables(settings, text):
    table = {"a": X[:, 0], "b": X[:, 1]}
    assert text in message(lambda: fastnn.TabularRegressor(**settings).fit(table, Y))


def test_rows_and_tables_that_others_take():
    rows = [{"a": 1.0, "b": 2.0}]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = MLPRegressor(max_iter=1).fit(X, Y)
    assert "X holds dicts: fastnn.TabularClassifier" in message(
        lambda: model.predict(rows), TypeError)

    class Collection:
        __dask_graph__ = None

    assert "the estimators of fastnn.dask take it" in message(
        lambda: fastnn.TabularRegressor().fit(Collection(), Y), TypeError)
    with pytest.raises(TypeError, match="of the path of a file fastnn.tables.read"):
        fastnn.tables.as_table("t.csv")


@each("settings, said", [
    ({"strict": True}, r"fastnn.load\(path\).predict\(X, strict=True\)"),
    ({"n_threads": 1}, r"TabularRegressor\(n_threads=...\)"), ({"Y": 1}, "there are: X")])
@each("name", ["predict", "predict_interval", "explain"])
def test_arguments_of_predictions_of_tables(name, settings, said):
    made = TabularRegressor()
    with pytest.raises(TypeError, match=f"TabularRegressor.{name}.. got an unexpected.*{said}"):
        getattr(made, name)([[1.0]], **settings)


class Stream:
    """A table that only Arrow can read."""

    def __arrow_c_stream__(self, schema=None):
        raise NotImplementedError


NAMED = np.array([(1.0, 2.0)] * 30, dtype=[("a", "f8"), ("b", "f8")])


@each("wrong, said", [
    (lambda: iter(X), "can be read once only: list(X)"),
    (lambda: (row for row in X), "can be read once only: list(X)"),
    (lambda: {"a": X[:, 0], "b": X[:, 1]}, "numpy.column_stack(list(X.values()))"),
    (lambda: {1, 2}, "a set has no order"), (lambda: NAMED, "structured_to_unstructured(X)"),
    (lambda: NAMED.view(np.recarray), "structured_to_unstructured(X)"),
    (Stream, "pyarrow.table(X).to_pandas()")])
def test_what_is_no_array(wrong, said):
    """As estimators and networks say it, in training and in prediction."""
    net = fastnn.MLP((2, 1), random_state=0)
    est = MLPRegressor(hidden_layer_sizes=(2,), max_iter=1, random_state=0)
    for call in (lambda: est.fit(wrong(), Y), lambda: net.fit(wrong(), Y, epochs=1),
                 lambda: net.predict(wrong()), lambda: fastnn.Predictor(net).predict(wrong())):
        assert said in message(call, TypeError)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        est.fit(X, Y)
    assert said in message(lambda: est.predict(wrong()), TypeError)


def test_lazy_frames_and_rows_of_several_lengths():
    pl = pytest.importorskip("polars")
    est = MLPClassifier((2,), max_iter=1)
    lazy = pl.DataFrame(X).lazy()
    assert "lazy frame: X.collect()" in message(lambda: est.fit(lazy, LABELS))
    assert "X has rows of several lengths: row 1 is of length 1, row 0 of length 2" in message(
        lambda: est.fit([[1.0, 2.0], [1.0]], [0, 1]))


@each("made", [MLPClassifier((2,), max_iter=1), TabularClassifier("fast")])
def test_labels_that_are_none(made):
    pd = pytest.importorskip("pandas")
    several = [["a"], ["a", "b"]] * 15
    assert "row 1 is of length 2, row 0 of length 1: several labels in a row are columns" in (
        message(lambda: made.fit(X, several)))
    said = message(lambda: made.fit(X, pd.Series(pd.cut(Y, 3))))
    assert "y holds values of type Interval, Interval(" in said and "(y).astype(str)" in said


def test_values_that_are_none():
    pd = pytest.importorskip("pandas")
    odd = pd.Series(pd.cut(Y, 3), dtype=object)
    assert "y holds values of type Interval (Interval(" in message(
        lambda: TabularRegressor("fast").fit(X, odd), TypeError)
    assert re.search(r"y holds Interval \(Interval\(.* in row 0\); class names are for MLPClass",
                     message(lambda: MLPRegressor(max_iter=1).fit(X, odd), TypeError))
    gaps = [None, *Y[1:]]
    assert "y has a missing value in row 0" in message(
        lambda: TabularRegressor("fast").fit(X, gaps))
    frame = pd.DataFrame(X, columns=["a", "b"]).assign(a=pd.Timedelta(1))
    assert "column 'a' of X holds durations" in message(
        lambda: MLPRegressor(max_iter=1).fit(frame, Y), TypeError)
