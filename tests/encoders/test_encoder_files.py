"""Encoders in model files: what is loaded takes raw rows."""

import copy
import json
import pickle

import numpy as np
import pytest
from each import each

import fastnn
from fastnn import ModelFormatError
from fastnn.encoders import Categories, Encoder, Numbers
from fastnn.files import container
from fastnn.files.model_parts import expected_arrays

KINDS = [Numbers(12), Categories(), Categories(most=2), Categories()]
NAMES = ["x", "word", "whole", "flag"]


def columns(n_rows=60, seed=0):
    """Numbers with missing ones; strings; whole numbers; booleans."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n_rows)
    x[::9] = np.nan
    words = np.array(["red", "é", None, "blue"], object)[rng.integers(0, 4, n_rows)]
    return dict(zip(NAMES, (x, words, rng.integers(0, 4, n_rows), rng.random(n_rows) < 0.5),
                    strict=True))


def made(dtype="float32", n_out=2):
    encoder = Encoder(KINDS).fit(columns())
    output = "softmax" if n_out > 1 else "identity"
    return encoder, fastnn.MLP((encoder.n_inputs, 5, n_out), "tanh", output, dtype=dtype,
                               random_state=0)


def rows_of(X):
    return [dict(zip(X, row, strict=True)) for row in zip(*X.values(), strict=True)]


def test_raw_rows_give_what_their_codes_give(tmp_path, dtype):
    path, X = tmp_path / "model", columns(25, seed=1)
    encoder, net = made(dtype)
    net.fit(encoder.transform(columns(), dtype), np.arange(60) % 2, epochs=2)
    net.save(path, encoder=encoder, classes=["no", "yes"])
    wanted = net.predict(encoder.transform(X, dtype))
    model = fastnn.load(path)
    assert type(model) is fastnn.Predictor and model.table.columns == KINDS
    array = np.array([list(column) for column in X.values()], object).T
    for given in (X, rows_of(X), array, encoder.transform(X, dtype)):
        assert model.predict_proba(given).tobytes() == wanted.tobytes()
        assert model.predict(given).tolist() == ["no yes".split()[i] for i in wanted.argmax(1)]
    again = tmp_path / "again"
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert other.predict_proba(X).tobytes() == wanted.tobytes()
        other.save(again)
        assert again.read_bytes() == path.read_bytes()
    again = model.table.fit(columns(seed=3)).transform(X)
    assert again.data.tobytes() == Encoder(KINDS).fit(columns(seed=3)).transform(X).data.tobytes()


def test_one_unseen_row_and_missing_values(tmp_path):
    encoder, net = made(n_out=1)
    net.save(tmp_path / "model", encoder=encoder)
    row = {"x": np.nan, "word": "new", "whole": 77, "flag": None}
    found = fastnn.load(tmp_path / "model").predict([row])
    assert found.tobytes() == net.predict(encoder.transform(
        {name: np.array([value], object) for name, value in row.items()})).tobytes()


def test_a_table_encoder_is_saved_in_the_same_way(tmp_path):
    frame = columns()
    del frame["flag"], frame["whole"]
    table = fastnn.TableEncoder().fit(frame)
    net = fastnn.MLP((table.n_inputs, 3, 1), random_state=0)
    net.save(tmp_path / "model", encoder=table)
    assert fastnn.load(tmp_path / "model").predict(frame).tobytes() == net.predict(
        table.transform(frame, "float32")).tobytes()


def test_long_settings_fit(tmp_path):
    """A header would have no room for them."""
    words = np.array([f"{i}" * 400 for i in range(1000, 3000)], object)
    encoder = Encoder(Categories()).fit([words])
    net = fastnn.MLP((encoder.n_inputs, 1), random_state=0)
    net.save(tmp_path / "model", encoder=encoder)
    model = fastnn.load(tmp_path / "model")
    assert model.predict(words[-3:, None]).tobytes() == net.predict(
        encoder.transform([words[-3:]])).tobytes()


# ---- bad input ----

def test_what_cannot_be_saved_is_named(tmp_path):
    path = tmp_path / "model"
    encoder, net = made()
    narrow = fastnn.MLP((3, 2), random_state=0)
    norm = fastnn.MLP.of([fastnn.LayerNorm(), fastnn.Dense(2)], n_in=encoder.n_inputs)
    zeros, dates = np.zeros(encoder.n_inputs), np.array([b"a", b"b"])
    odd = Encoder(Categories()).fit([dates])
    named = Encoder(Categories()).fit({(1, 2): np.array(["a", "b"])})
    for save, error, message in [
            (lambda: net.save(path, encoder="bins"), TypeError, "encoder=str must be"),
            (lambda: net.save(path, encoder=Encoder()), ValueError, "not fitted"),
            (lambda: narrow.save(path, encoder=encoder), ValueError, "encoder makes .* takes 3"),
            (lambda: net.save(path, encoder=encoder, scaler=(zeros, zeros + 1)), ValueError,
             "scaler and feature_names must be None"),
            (lambda: net.save(path, encoder=encoder, feature_names=["a"] * encoder.n_inputs),
             ValueError, "scaler and feature_names must be None"),
            (lambda: norm.save(path, encoder=encoder), ValueError, "only Dense layers"),
            (lambda: fastnn.MLP((odd.n_inputs, 1)).save(path, encoder=odd), TypeError,
             "category b'a' is bytes"),
            (lambda: fastnn.MLP((named.n_inputs, 1)).save(path, encoder=named), TypeError,
             r"column \(1, 2\) is tuple")]:
        with pytest.raises(error, match=message):
            save()
    assert not path.exists()


def test_rows_that_may_be_columns_are_refused(tmp_path):
    encoder, net = made()
    model = fastnn.Predictor(net, table=encoder)
    with pytest.raises(TypeError, match="may hold rows or columns"):
        model.predict([[1.0, "red", 2, True]] * 4)
    for X, message in ((np.zeros((2, 3)), "X has 3 columns, must have 4"),
                       ({"x": np.zeros(2)}, "X has no column 'word'")):
        with pytest.raises(ValueError, match=message):
            model.predict(X)
    with pytest.raises(ValueError, match=r"cannot hold an encoder.*to_dense"):
        fastnn.export.c_header(model, tmp_path / "model.h")
    with pytest.raises(ValueError, match="no Jacobian"):
        model.predict_jacobian(columns())


def edited(path, change):
    """Write the file anew with other settings of its encoder; its checksum holds."""
    arrays, settings, _ = container.read(path, expected_arrays)
    plain = json.loads(arrays["encoder"].tobytes())
    text = change(plain)
    text = json.dumps(plain if text is None else text).encode()
    settings["encoder"] = len(text)
    needs = settings.pop("needs")
    arrays = {**arrays, "encoder": np.frombuffer(text, np.uint8)}
    container.write(path, arrays, settings, needs=needs)


def test_edited_settings_load_where_nothing_is_wrong(tmp_path):
    encoder, net = made()
    net.save(tmp_path / "model", encoder=encoder)
    edited(tmp_path / "model", lambda p: p["columns"][0].update(bins=77))
    assert fastnn.load(tmp_path / "model").table.columns[0] == Numbers(77)


@each("change", [
    lambda p: p["columns"][0]["edges"].reverse(),
    lambda p: p["columns"][0]["edges"].pop(),
    lambda p: p["columns"][0].update(edges=[1.0]),
    lambda p: p["columns"][0].update(edges=[[1.0], [2.0]]),
    lambda p: p["columns"][0].update(edges="12"),
    lambda p: p["columns"][0].update(edges=[None, 2.0]),
    lambda p: p["columns"][0].update(bins=0),
    lambda p: p["columns"][0].update(bins="12"),
    lambda p: p["columns"][0].update(more=1),
    lambda p: p["columns"][0].update(name=None),
    lambda p: p["columns"][0].pop("name"),
    lambda p: p["columns"][1].update(name="x"),
    lambda p: p["columns"][1].update(name=["x"]),
    lambda p: p["columns"][1].update(most=-1),
    lambda p: p["columns"][1].update(categories=["a", "a", "b"]),
    lambda p: p["columns"][1].update(categories={"a": 1}),
    lambda p: p["columns"][1].update(categories=[["a"], "b", "c"]),
    lambda p: p["columns"][1].update(categories=[None, "b", "c"]),
    lambda p: p["columns"][1]["categories"].append("x"),
    lambda p: p["columns"].clear(),
    lambda p: p.update(kind="encoder"),
    lambda p: p.clear(),
    lambda p: [],
    lambda p: "text",
    lambda p: None if p.update(columns={"x": 1}) else None,
])
def test_settings_of_no_encoder_are_refused(change, tmp_path):
    path = tmp_path / "model"
    encoder, net = made()
    net.save(path, encoder=encoder)
    edited(path, change)
    with pytest.raises(ModelFormatError):
        fastnn.load(path)


def test_other_settings_of_the_file_are_refused(tmp_path):
    path = tmp_path / "model"
    encoder, net = made()
    net.save(path, encoder=encoder)
    arrays, settings, _ = container.read(path, expected_arrays)
    for change, needs in (({"encoder": 1 << 40}, ["encoder"]), ({"encoder": 0}, ["encoder"]),
                          ({"encoder": "9"}, ["encoder"]), ({}, []),
                          ({"limits": None}, ["encoder"]),
                          ({"table": {"columns": []}}, ["encoder"])):
        changed = {**settings, **change}
        del changed["needs"]
        container.write(path, arrays, changed, needs=needs)
        with pytest.raises(ModelFormatError):
            fastnn.load(path)


def test_a_column_that_is_called_none_is_refused(tmp_path):
    """The file was written, and could not be loaded."""
    encoder = Encoder().fit({None: np.arange(10.), "b": np.arange(10.)})
    net = fastnn.MLP((encoder.n_inputs, 1))
    with pytest.raises(TypeError, match="^column None is NoneType, a file can hold names"):
        net.save(tmp_path / "model", encoder=encoder)
    assert not (tmp_path / "model").exists()


@each("values", [
    [np.True_, 1, 2, 3, np.False_], [np.True_, "a", np.False_, None], [np.float32(0.1), 0.5, 0.1],
    [np.int64(3), np.float32(2.5), "x", np.str_("y")], [True, np.int8(5), 2]])
def test_categories_of_numpy(values, tmp_path):
    """Booleans and numbers were refused as none."""
    column = np.empty(len(values), object)
    column[:] = values
    X = {"a": column}
    encoder = Encoder(Categories()).fit(X)
    net = fastnn.MLP((encoder.n_inputs, 1), random_state=0)
    net.save(tmp_path / "model", encoder=encoder)
    model = fastnn.load(tmp_path / "model")
    assert model.predict(X).tobytes() == net.predict(encoder.transform(X)).tobytes()
    assert model.table.settings() == encoder.settings()
