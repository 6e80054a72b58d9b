"""`TableEncoder`: kinds of columns, what it leaves out, wrong tables, hostile settings."""

import datetime
import json
import re
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from timing import seconds
from wrong_settings import spoilt

import fastnn
from fastnn.tables.encoder import TableEncoder, TableError

pd = pytest.importorskip("pandas")


def frame(**columns):
    return pd.DataFrame(columns)


def encoded(train, test=None, **options):
    table = TableEncoder(**options).fit(train)
    return table, table.transform(train if test is None else test)


def test_numbers_take_the_median_where_missing():
    table, X = encoded(frame(a=[1.0, 2, 9, None], b=[4, 3, 2, 1]))
    assert table.feature_names == ["a", "b"]
    np.testing.assert_array_equal(X, [[1, 4], [2, 3], [9, 2], [2, 1]])
    np.testing.assert_array_equal(table.transform(frame(b=[7], a=[None], c=["x"])), [[2, 7]])


@pytest.mark.parametrize("dtype", ["int8", "uint64", "float32", "Int64", "Float32"])
def test_dtypes_of_numbers(dtype):
    train = pd.DataFrame({"a": pd.array([1, 2, 3], dtype=dtype)})
    np.testing.assert_array_equal(encoded(train)[1], [[1], [2], [3]])


def test_output_is_row_major_of_the_dtype():
    table, X = encoded(frame(a=[1.5, 2], b=["x", "y"]))
    assert X.dtype == np.float64 and X.flags.c_contiguous
    X = table.transform(frame(a=[1.5], b=["y"]), np.float32)
    assert X.dtype == np.float32 and X.flags.c_contiguous and X.tolist() == [[1.5, 0, 1]]


def test_categories_and_unknown_ones():
    train = frame(a=["x", "y", "x"])
    table, X = encoded(train, frame(a=["y", "z", None]))
    assert table.feature_names == ["a=x", "a=y"]
    np.testing.assert_array_equal(X, [[0, 1], [0, 0], [0, 0]])


def test_missing_is_a_category_where_training_had_it():
    table, X = encoded(frame(a=["x", None, "y"]), frame(a=[None, "y", "z"]))
    assert table.feature_names == ["a=x", "a=y", "a is missing"]
    np.testing.assert_array_equal(X, [[0, 0, 1], [0, 1, 0], [0, 0, 0]])


def test_categories_are_the_same_whatever_the_dtype():
    """A column of a file changes its dtype with gaps, or when one row only is read."""
    table = TableEncoder().fit(frame(a=pd.Categorical([1, 2, 1]), b=["1", "x", "1"]))
    for one in (1, 1.0, "1", True and 1):
        np.testing.assert_array_equal(table.transform(frame(a=[one], b=[one])), [[1, 0, 1, 0]])


def test_booleans():
    table, X = encoded(frame(a=[True, False, True]))
    np.testing.assert_array_equal(X, [[1], [0], [1]])
    test = frame(a=["true", "FALSE", None, 1, 0.0])
    np.testing.assert_array_equal(table.transform(test), [[1], [0], [1], [1], [0]])


def test_dates_become_days():
    stamps = ["1970-01-03", "1970-01-01 12:00", "1970-01-02"]
    table, X = encoded(frame(a=stamps))
    np.testing.assert_array_equal(X, [[2], [0.5], [1]])
    moments = pd.DatetimeIndex([pd.Timestamp(stamp) for stamp in stamps])
    np.testing.assert_array_equal(table.transform(frame(a=moments)), X)
    days = [datetime.date(1970, 1, 3), datetime.datetime(1970, 1, 1, 12), None]
    np.testing.assert_array_equal(table.transform(frame(a=pd.Series(days, dtype=object))), X)
    assert TableEncoder().fit(frame(a=[days[0], days[0].replace(day=4)])).count() == {"date": 1}
    zoned = pd.to_datetime(["1970-01-02 01:00"]).tz_localize("Europe/Berlin")
    np.testing.assert_array_equal(table.transform(frame(a=zoned)), [[1]])
    np.testing.assert_array_equal(table.transform(frame(a=[None])), [[1]])


def test_a_few_words_among_numbers_are_missing_values():
    train = frame(a=["?", *map(str, range(1, 20))])
    table, X = encoded(train)
    assert table.columns[0].kind == "number" and X[0] == 10
    assert "'?' (1 value) counts as missing" in table.notes[0]
    np.testing.assert_array_equal(table.transform(frame(a=["?", "3", 4])), [[10], [3], [4]])
    with pytest.raises(TableError, match="column 'a', row 1: '!' is not a number"):
        table.transform(frame(a=["?", "!"]))


@pytest.mark.parametrize("column, why", [
    ([None] * 20, "all its values are missing"),
    ([3] * 20, "one value only"),
    (["x"] * 20, "one value only"),
    ([f"id{i}" for i in range(20)],
     "20 different texts in 20 rows cannot be learned from (such as 'id0')"),
    ([f"{i} kg" for i in range(20)], "plain numbers, without units (such as '0 kg')"),
    ([f"{i // 60}:{i % 60:02}" for i in range(20)], "without units (such as '0:00')"),
    ([f"[{i}]" for i in range(20)], "learned from (such as '[0]')"),
    ([str(10**19 + i) for i in range(20)], "learned from (such as '10000000000000000000')"),
    (["x" * 2000, "y"] * 10, "characters"),
])
def test_left_out_with_a_note(column, why):
    table = TableEncoder().fit(frame(a=column, b=range(20)))
    assert table.feature_names == ["b"]
    assert len(table.notes) == 1 and "'a'" in table.notes[0] and why in table.notes[0]
    with pytest.raises(TableError, match="no column is left"):
        TableEncoder().fit(frame(a=column))


def test_most_frequent_categories_are_kept():
    train = frame(a=list("aaabbbccddde") * 2)
    table, X = encoded(train, max_categories=2)
    assert table.feature_names == ["a=a", "a=b"]  # d is as frequent, but later
    assert "5 categories" in table.notes[0]
    assert X.sum() == 12


def test_scaler_standardises_numbers_only():
    train = frame(a=[1.0, None, 3, 8], b=list("xyxy"), c=[True, False, True, True])
    table, X = encoded(train)
    Z = table.scaler.apply(X, "float64")
    np.testing.assert_allclose(Z[:, 0].mean(), 0, atol=1e-15)
    np.testing.assert_allclose(Z[:, 0].std(), 1)
    np.testing.assert_array_equal(Z[:, 1:], X[:, 1:])


@pytest.mark.parametrize("test, message", [
    (dict(a=[1, 2], b=["x", "y"]), "no column 'c'"),
    (dict(b=["x", "y"]), "no columns 'a', 'c'$"),
    (dict(a=[1, "x"], b=["x", "y"], c=[True, True]), "column 'a', row 1: 'x' is not a number"),
    (dict(a=[np.inf, -np.inf], b=["x", "y"], c=[True, True]),
     r"column 'a', row 0: inf is not a finite number \(and 1 more row\)"),
    (dict(a=pd.to_datetime(["2020-01-01"] * 2), b=["x", "y"], c=[True, True]), "column 'a', row 0"),
    (dict(a=[1, 2], b=["x", "y"], c=[1, 2]), "column 'c', row 1: 2 is not true or false"),
    (dict(a=[1, 2], b=[["x"], "y"], c=[1, 0]), "column 'b' holds lists"),
])
def test_wrong_tables(test, message):
    table = TableEncoder().fit(frame(a=[1, 2, 3], b=list("xyx"), c=[True, False, True]))
    with pytest.raises(TableError, match=message):
        table.transform(pd.DataFrame(test))


@pytest.mark.parametrize("column", [
    [1j, 2, 3], pd.to_timedelta([1, 2, 3]), [[1], [2], [3]], [{}, {}, {}], [object(), 1, "x"],
    [1e308, -1e308, 1e308], [1, 2, np.inf],
])
def test_what_cannot_become_numbers_is_refused(column):
    with pytest.raises(TableError, match="column 'a'"):
        TableEncoder().fit(frame(a=column, b=[1, 2, 3]))


def test_double_names_and_no_frames():
    with pytest.raises(TableError, match="more than one column 'a'"):
        TableEncoder().fit(pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"]))
    with pytest.raises(TypeError, match="data frame of pandas, .* not int"):
        TableEncoder().fit(3)
    assert TableEncoder().fit(np.arange(4).reshape(2, 2)).feature_names == ["x0", "x1"]
    with pytest.raises(TableError, match="no rows"):
        TableEncoder().fit(frame(a=[]))


def test_no_rows_to_transform():
    table = TableEncoder().fit(frame(a=[1, 2], b=["x", "y"]))
    assert table.transform(frame(a=[], b=[])).shape == (0, 3)


CELLS = st.one_of(st.none(), st.booleans(), st.integers(-10**6, 10**6), st.text(max_size=5),
                  st.floats(-1e6, 1e6), st.sampled_from(["2020-01-01", "a", "b", "7"]))


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(CELLS, CELLS, st.integers(0, 9)), min_size=2, max_size=30))
def test_any_table_fits_or_is_refused_and_settings_give_the_same(rows):
    train = pd.DataFrame(rows, columns=["a", "b", "c"])
    try:
        table = TableEncoder(targets=["t"]).fit(train)
    except TableError:
        return
    X = table.transform(train)
    assert X.shape == (len(rows), len(table.feature_names)) and np.isfinite(X).all()
    again = TableEncoder.from_settings(json.loads(json.dumps(table.settings())))
    assert again.settings() == table.settings() and again.targets == ("t",)
    np.testing.assert_array_equal(again.transform(train[::-1]), X[::-1])


def good_settings():
    train = frame(a=[1, 2, 3], b=["x", None, "x"], c=[True, False, True], d=["2020-01-01"] * 2 +
                  ["2021-01-01"])
    return TableEncoder(targets=["t"]).fit(train).settings()


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner,
                                                                max_size=3), max_leaves=6)


@settings(deadline=None, max_examples=50)
@given(junk=JUNK, data=st.data())
def test_wrong_settings_are_refused(junk, data):
    plain = spoilt(data, good_settings(), junk, ["columns", "targets"])
    try:
        table = TableEncoder.from_settings(plain)
    except ValueError:
        return
    assert table.settings() == {**plain, "columns": [
        {**column, "fill": float(column["fill"])} if "fill" in column else column
        for column in plain["columns"]]}


@pytest.mark.parametrize("change", [
    {"columns": []}, {"columns": [{"name": "a", "kind": "number", "fill": 0}] * 2},
    {"columns": [{"name": "a", "kind": "number", "fill": 10**400}]},
    {"columns": [{"name": "a", "kind": "number", "fill": float("nan")}]},
    {"columns": [{"name": "a", "kind": "number", "fill": True}]},
    {"columns": [{"name": "a", "kind": "category", "categories": ["x"] * 2,
                  "missing_category": False}]},
    {"columns": [{"name": "a", "kind": "category", "categories": list(map(str, range(5000))),
                  "missing_category": False}]},
    {"columns": [{"name": "a", "kind": ["number"], "fill": 0}]},
])
def test_hostile_settings(change):
    with pytest.raises(ValueError, match="settings of a table"):
        TableEncoder.from_settings({**good_settings(), **change})


def _columns(n, categories, name=""):
    return [{"name": f"{i}{name}", "kind": "category", "categories": categories,
             "missing_category": False} for i in range(n)]


@pytest.mark.parametrize("columns, message", [
    (_columns(1, list(map(str, range(4096))), "A" * 450_000), "names must have at most 1000"),
    (_columns(1, ["x" * 250_000, "y" * 250_000]), "categories must have at most 1000"),
    (_columns(34, list(map(str, range(4096))), "A" * 990), "names of inputs of at most"),
    (_columns(17, list(map(str, range(4096)))), None),
    (_columns(6200, ["a"]), None),
    ([{"name": str(i), "kind": "number", "fill": 0} for i in range(10500)], None),
])
def test_the_longest_settings_are_loaded_or_refused_at_once(columns, message):
    """A file may have as much; who made it must not make us wait, or fill the memory."""
    plain = json.loads(json.dumps({"columns": columns, "targets": []}))
    assert len(json.dumps(plain)) > 400_000

    def load():
        try:
            table = TableEncoder.from_settings(plain)
        except ValueError as error:
            assert message and re.search(message, str(error))
        else:
            assert message is None and len(table.feature_names) == table.n_inputs

    assert seconds(load, enough=0.3) < 0.3
    tracemalloc.start()
    try:
        load()
        assert tracemalloc.get_traced_memory()[1] < 50 << 20
    finally:
        tracemalloc.stop()


def test_names_that_could_not_be_loaded_are_not_learned():
    with pytest.raises(TableError, match="name of 1,001 characters"):
        TableEncoder().fit(frame(**{"a" * 1001: [1, 2]}))
    with pytest.raises(ValueError, match="at most 1000"):
        TableEncoder(targets=["a" * 1001])
    cells = [f"{i:0500}" + "x" for i in range(400)] * 2
    many = pd.DataFrame({f"c{j}" + "x" * 900: cells for j in range(8)})
    with pytest.raises(TableError, match="too long: more than 4,194,304 characters"):
        TableEncoder(max_categories=400).fit(many)
    words = frame(a=["w" * 1001, "w" * 1001, *map(str, range(98))])  # no words for "missing"
    with pytest.raises(TableError, match="no column is left"):
        TableEncoder().fit(words)


@pytest.mark.parametrize("module, kind", [("polars", "DataFrame"), ("pyarrow", "table")])
def test_frames_of_others_are_turned_into_those_of_pandas(module, kind):
    make = getattr(pytest.importorskip(module), kind)
    columns = {"a": [1.5, None, 3], "b": ["x", "y", None], "c": [True, False, True]}
    table, expected = encoded(pd.DataFrame(columns))
    np.testing.assert_array_equal(table.transform(make(columns)), expected)
    np.testing.assert_array_equal(TableEncoder().fit(make(columns)).transform(
        pd.DataFrame(columns)), expected)


def test_a_predictor_with_a_table_is_saved_and_loaded(tmp_path):
    train = frame(a=[1.0, 2, 3, None], b=["x", "y", "x", "z"])
    table = TableEncoder(targets=["t"]).fit(train)
    net = fastnn.MLP((4, 3, 2), output="softmax", random_state=0)
    model = fastnn.Predictor(net, "classification", classes=["no", "yes"], table=table,
                             scaler=table.scaler, feature_names=table.feature_names)
    model.save(tmp_path / "m.safetensors")
    loaded = fastnn.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(loaded.predict_proba(train), model.predict_proba(train))
    np.testing.assert_array_equal(
        loaded.predict_proba(train),
        net.predict(table.scaler.apply(table.transform(train), "float32")))
    with pytest.raises(ValueError, match="table makes 4 inputs, must make 5"):
        fastnn.Predictor(fastnn.MLP((5, 2)), table=table)


def test_pandas_is_not_imported_before_a_frame_comes():
    code = ("import sys; from fastnn import TableEncoder as T; "
            "T.from_settings({'columns': [{'name': 'a', 'kind': 'number', 'fill': 0}], "
            "'targets': []}); "
            "assert not {'pandas', 'sklearn', 'scipy'} & set(sys.modules)")
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_encoder_that_is_not_fitted_says_so():
    """It gave rows without columns."""
    with pytest.raises(ValueError, match=r"the encoder is not fitted: call fit\(frame\) first"):
        TableEncoder().transform({"a": [1.0, 2.0]})


@pytest.mark.parametrize("inputs", [None, ("a", "b")])
def test_a_table_of_users_has_transform_alone(inputs):
    """`TableEncoder.inputs` is looked for, which others need not have."""
    class Sums:
        n_inputs = 1

        def transform(self, frame):
            return np.asarray(frame["a"], float).reshape(-1, 1)

    table = Sums()
    if inputs is not None:
        table.inputs = inputs
    net = fastnn.MLP((1, 2), random_state=0)
    found = fastnn.Predictor(net, table=table).predict({"a": [1, 2]})
    np.testing.assert_array_equal(found, net.predict([[1], [2]]))
