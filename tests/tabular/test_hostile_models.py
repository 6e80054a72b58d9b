"""Hostile files of models of tables: each is refused when it is loaded, before memory is taken."""

import copy
import json
import pickle
import random
import time

import numpy as np
import pytest
from tabular_data import TABLE, THREE, VALUE, rows

pytest.importorskip("sklearn")

import fastnn
from fastnn import TabularClassifier, TabularRegressor
from fastnn.files import container
from fastnn.files.plain import labels_to_plain
from fastnn.tabular._encode import Tables
from fastnn.tabular.saved import to_parts

HUGE = 2**31 - 1


@pytest.fixture(scope="module")
def models():
    made = {}

    def model(kind):
        if kind not in made:
            make, y = {"value": (TabularRegressor, VALUE), "three": (TabularClassifier, THREE),
                       "one": (TabularRegressor, np.full(len(VALUE), 2.5))}[kind]
            made[kind] = make(random_state=0).fit(TABLE, y).model_
        return made[kind]

    return model


def parts_of(model):
    """Settings and arrays of a model, as a file has them."""
    settings, arrays = to_parts(model)
    return json.loads(json.dumps(settings)), arrays


def write(path, settings, arrays, classes):
    """A file whose checksum is right, whatever is in it."""
    text = json.dumps(settings).encode("utf-8", "surrogatepass")
    arrays = {**arrays, "settings": np.frombuffer(text, np.uint8)}
    stated = {name: [array.dtype.name, list(array.shape)] for name, array in arrays.items()}
    container.write(path, arrays, {"tabular": {
        "arrays": stated, "classes": None if classes is None else labels_to_plain(classes)}},
        needs=("tabular",))


def put(plain, *path, value):
    *parents, last = path
    for key in parents:
        plain = plain[key]
    plain[last] = value


@pytest.mark.parametrize(("kind", "path", "value"), [
    ("value", ("task", "n_out"), 2), ("value", ("task", "n_out"), 1.0),
    ("value", ("task", "center"), ["a"]), ("value", ("task", "center"), "a"),
    ("value", ("task", "center"), [10**400]), ("value", ("task", "center"), [float("nan")]),
    ("value", ("task", "scale"), [1.0, 1.0]), ("value", ("task", "scale"), []),
    ("value", ("task", "loss"), 3), ("value", ("task", "loss"), {"name": "cross_entropy"}),
    ("three", ("task", "loss"), {"name": "squared_error"}), ("three", ("task", "center"), [1.0]),
    ("value", ("weights",), [1, 1, float("nan")]), ("value", ("weights",), [1, 1, "1"]),
    ("value", ("weights",), [0, 0, 0]), ("value", ("weights",), [-1, 1, 1]),
    ("value", ("constant",), [1.0]), ("one", ("constant",), None), ("one", ("constant",), []),
    ("one", ("constant",), [1.0, 2.0]), ("one", ("constant",), [float("inf")]),
    ("value", ("networks", 0, "sizes", 1), HUGE), ("value", ("networks", 0, "sizes", 1), 15),
    ("value", ("networks", 0, "dtype"), "float64"),
    ("value", ("parts",), [[0, -1], [0, 4]]), ("value", ("parts",), [[0, 1.0], [0, 2]]),
    ("value", ("names", 1), "a"), ("value", ("reference", "unseen", 0), []),
    ("value", ("reference", "unseen", 0), [True]), ("value", ("reference", "classes"), True),
    ("three", ("reference", "classes"), False), ("value", ("reference", "weighted"), True)])
def test_settings_that_do_not_fit(kind, path, value, models, tmp_path):
    model = models(kind)
    settings, arrays = parts_of(model)
    if path == ("names", 1):
        value = settings["names"][0]
    put(settings, *path, value=value)
    write(tmp_path / "m.safetensors", settings, arrays, model.classes)
    start = time.process_time()
    with pytest.raises(fastnn.ModelFormatError):
        fastnn.load(tmp_path / "m.safetensors")
    assert time.process_time() - start < 5


@pytest.mark.parametrize(("name", "change"), [
    ("reference.targets", lambda a: a[:0]), ("reference.targets", lambda a: np.tile(a, 2)),
    ("reference.targets", lambda a: a * 0 + 7), ("reference.targets", lambda a: a * 0 - 1),
    ("reference.targets", lambda a: a * np.nan), ("reference.numbers", lambda a: a[:-1]),
    ("reference.codes", lambda a: a[:-1]), ("reference.folds", lambda a: a[:, np.newaxis]),
    ("reference.folds", lambda a: np.tile(a, 2)), ("reference.residuals", lambda a: a[:, :1]),
    ("reference.residuals", lambda a: a * np.inf), ("reference.residuals", np.ravel),
    ("networks.0.layers.0.weight", lambda a: a * np.nan),
    ("networks.0.layers.0.weight", lambda a: a[:-1]),
    ("networks.0.layers.0.weight", lambda a: a.astype(float))])
def test_arrays_that_do_not_fit(name, change, models, tmp_path):
    model = models("three")
    settings, arrays = parts_of(model)
    name = next(iter(key for key in arrays if key.startswith("networks.0."))) if (
        name.startswith("networks")) else name
    with np.errstate(invalid="ignore"):
        arrays = {**arrays, name: np.ascontiguousarray(change(arrays[name]))}
    write(tmp_path / "m.safetensors", settings, arrays, model.classes)
    with pytest.raises(fastnn.ModelFormatError):
        fastnn.load(tmp_path / "m.safetensors")


@pytest.mark.parametrize("factor", [1e154, 1e305, 1e-160, 1e-300])
def test_targets_whose_squares_float64_cannot_hold(factor):
    """They were predicted as NaN, or as one constant."""
    expected = TabularRegressor(random_state=0).fit(TABLE, VALUE).predict(TABLE)
    model = TabularRegressor(random_state=0).fit(TABLE, np.asarray(VALUE) * factor)
    np.testing.assert_allclose(model.predict(TABLE) / factor, expected, rtol=1e-4)
    assert np.isfinite(model.predict_interval(TABLE)).all()


def test_hidden_weights_are_not_used():
    weight = np.ma.array(np.ones(len(VALUE)), mask=np.arange(len(VALUE)) < 3)
    with pytest.raises(ValueError, match="sample_weight is a masked array that hides values"):
        TabularRegressor().fit(TABLE, VALUE, weight)


@pytest.mark.parametrize("stated", [None, 3, "a", [], {"arrays": [], "classes": None},
                                    {"arrays": "ab", "classes": None}])
def test_a_file_that_states_no_arrays(stated, tmp_path):
    """It was an AttributeError."""
    container.write(tmp_path / "m.safetensors", {}, {"tabular": stated}, needs=("tabular",))
    with pytest.raises(fastnn.ModelFormatError, match="must"):
        fastnn.load(tmp_path / "m.safetensors")


def test_importances_of_no_shuffle(models):
    with pytest.raises(ValueError, match="repeats=0 must be >= 1"):
        models("value").importances(repeats=0)


ODD = [None, True, 0, 1, -1, 7, 0.5, 1e308, float("nan"), HUGE, 2**64, 10**400, "", "a", [], [0],
       ["a"], {}, {"name": "huber"}, "softmax", "float64", "category"]


def places(plain, path=()):
    if path:
        yield path
    inner = plain.items() if isinstance(plain, dict) else (
        enumerate(plain) if isinstance(plain, list) else ())
    for key, value in inner:
        yield from places(value, (*path, key))


def changed(value, rng):
    """Another value of its kind, or any."""
    if isinstance(value, list) and value and rng.random() < 0.5:
        value = value[:]
        value.pop() if rng.random() < 0.5 else value.append(rng.choice(value))
        return value
    if type(value) is int and rng.random() < 0.5:
        return value + rng.choice([-1, 1, 2])
    return copy.deepcopy(rng.choice(ODD))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["value", "three", "one"])
def test_ten_thousand_mutations(kind, models, tmp_path):
    """What is loaded predicts, measures, explains, and can be saved; all else is refused."""
    model, rng, path = models(kind), random.Random(0), tmp_path / "m.safetensors"
    settings, arrays = parts_of(model)
    columns, loaded = rows(0, 2), 0
    some = [{name: values[i] for name, values in columns.items()} for i in range(2)]
    for _ in range(3334):
        plain, mine = copy.deepcopy(settings), dict(arrays)
        if rng.random() < 0.7 or not mine:
            where = list(places(plain))
            depth = rng.randint(1, max(map(len, where)))
            *parents, last = rng.choice([one for one in where if len(one) == depth])
            inner = plain
            for key in parents:
                inner = inner[key]
            inner[last] = changed(inner[last], rng)
        else:
            name = rng.choice(sorted(mine))
            array = mine[name].copy()
            if array.size:
                array.reshape(-1)[rng.randrange(array.size)] = rng.choice([0, -1, 1, 1000, 1e9])
            mine[name] = array[:rng.choice([None, -1])]
        write(path, plain, mine, model.classes)
        try:
            found = fastnn.load(path)
        except fastnn.ModelFormatError:
            continue
        loaded += 1
        try:
            assert len(found.predict(some)) == len(some)
            if found.reference is not None:
                found.importances(repeats=1)
                found.explain(some[:1], samples=2, background=2)
            found.save(path)
        except ValueError as error:  # of the rows, which the schema of the file does not take
            assert "Out of range" not in str(error), error  # noqa: PT017
    assert loaded


def test_parts_of_a_model_are_copied_and_pickled(models):
    """What is compiled of them, too: before a prediction, and after one."""
    ensemble, some = copy.deepcopy(models("three").ensemble), models("three").inputs(rows(0, 2))
    expected = None
    for _ in range(2):
        for again in (pickle.loads(pickle.dumps(ensemble)), copy.deepcopy(ensemble)):
            found = again.outputs(some).tobytes()
            expected = expected or found
            assert found == expected
        assert ensemble.outputs(some).tobytes() == expected


@pytest.mark.parametrize("starts", [[-10**9, 3], [0, 10**9, 3], [2, 1, 3]])
def test_columns_of_an_encoding_stand_one_behind_the_other(starts):
    """Their tables are read without further checks."""
    q = len(starts) - 1
    with pytest.raises(ValueError, match="do not stand one behind the other"):
        Tables(np.zeros(0), np.zeros(1, np.int64), np.zeros((0, 4)), np.zeros(0, np.uint8),
               np.zeros(3, np.int32), np.array(starts, np.int64), np.zeros(q, np.int32))


@pytest.mark.parametrize("power", [-1060, -200, 200, 1020])
def test_weights_that_float32_cannot_hold(power):
    """They were refused in the name of networks, or predicted as NaN."""
    weight = np.arange(len(VALUE)) % 3 + 1.0
    found = [TabularRegressor(random_state=0).fit(TABLE, VALUE, sample_weight=weight * 2.0**one)
             .predict(TABLE).tobytes() for one in (-200, power)]
    assert found[0] == found[1]


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("factor", [1e-320, 1e-312, 1e-290, 1e290, 1e307])
def test_columns_at_the_ends_of_the_numbers(factor):
    """A line of values that float64 hardly holds overflowed: the fit was "arrays[0] contains"."""
    table = {"a": TABLE["a"] if "a" in TABLE else next(iter(TABLE.values())),
             "z": np.random.default_rng(0).normal(size=len(VALUE)) / 4 * factor}
    model = TabularRegressor("fast", random_state=0).fit(table, VALUE)
    assert np.isfinite(model.predict(table)).all()


def test_no_rows_to_stop_by_and_targets_that_are_read_once():
    """The former were said to be of networks[0], the latter were len() of an unsized object."""
    X = np.random.default_rng(0).normal(size=(30, 2))
    for estimator, y in ((TabularClassifier("fast"), X[:, 0] > 0),
                         (TabularRegressor("fast"), X[:, 0])):
        with pytest.raises(ValueError, match="X_val has 0 rows, must have at least 1"):
            estimator.fit({"a": X[:, 0]}, y, X_val={"a": X[:0, 0]}, y_val=y[:0])
        for once in (iter(y), map(str, y), (value for value in y)):
            with pytest.raises(TypeError, match="y is of type .*, must be a list or an array"):
                estimator.fit(X, once)


def test_networks_that_no_reader_takes_are_not_saved(models, tmp_path):
    """They took the place of a good file."""
    path, model = tmp_path / "m.safetensors", pickle.loads(pickle.dumps(models("value")))
    model.save(path)
    before = path.read_bytes()
    model.ensemble.networks[1].weights[0][0, 0] = np.nan
    with pytest.raises(ValueError, match=r"the model cannot be saved: layers.0.weight .*NaN"):
        model.save(path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1
