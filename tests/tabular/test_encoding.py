"""Entries of rows against a slow twin; rows alone by their dict."""

import math

import numpy as np
import pytest
from tabular_data import LABELS, TABLE, THREE, TWO, VALUE, N

import fastnn
from fastnn.tables.errors import TableError
from fastnn.tables.schema import Inputs, Schema
from fastnn.tabular.encoding import CLIP, Encoding


def entries(encoding, numbers, codes):
    """The dense encoding of a row, input by input."""
    dense = np.zeros(encoding.n_inputs)
    for j, x in enumerate(numbers):
        edges, at = encoding.edges[j], encoding.firsts[j]
        n_bins = len(edges) - 1 if len(edges) > 2 else 0
        if math.isnan(x):
            if encoding.seen[j]:
                dense[at + (len(edges) > 1) + n_bins] = 1
            continue
        if len(edges) < 2:
            continue
        x = min(max(x, edges[0]), edges[-1])
        center, scale, mean, deviation = encoding.scales[j]
        z = x / scale - center / scale
        dense[at] = (z / math.hypot(1, z / CLIP) - mean) / deviation
        for k in range(n_bins):
            share = (x - edges[k]) / (edges[k + 1] - edges[k])
            dense[at + 1 + k] = min(max(share, 0), 1)
    for j, code in enumerate(codes):
        place = encoding.maps[j][code]
        if place >= 0:
            dense[encoding.firsts[len(numbers) + j] + place] = 1
    return dense


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_entries_are_those_of_the_slow_twin(seed, dtype):
    rng = np.random.default_rng(seed)
    n, p, q = rng.integers(2, 40), seed % 4, seed % 3
    x = rng.normal(size=(n, p)) * 10.0 ** rng.integers(-100, 100, size=p)
    x[rng.random((n, p)) < 0.1] = np.nan
    if p:
        x[:, 0] = np.round(x[:, 0] / np.nanmax(np.abs(x[:, 0]), initial=1e-200) * 3)
    if p > 2:
        x[:, 2] = x[0, 2]
    sizes = rng.integers(1, 5, size=q).tolist()
    codes = np.array([[rng.integers(size + 2) for size in sizes] for _ in range(n)],
                     np.int32).reshape(n, q)
    encoding = Encoding.fit(Inputs(x, codes), sizes, bins=6)
    other = x * rng.uniform(0.5, 2, size=x.shape)
    other[rng.random((n, p)) < 0.1] = np.inf
    other[rng.random((n, p)) < 0.1] = np.nan
    for rows in (x, other):
        found = encoding.transform(Inputs(rows, codes), dtype).toarray()
        expected = [entries(encoding, *row) for row in zip(rows, codes, strict=True)]
        tolerance = 1e-6 if dtype == "float32" else 1e-12
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def test_codes_and_columns_that_do_not_fit():
    encoding = Encoding.fit(Inputs(np.arange(4.0)[:, np.newaxis], np.zeros((4, 1), np.int32)), [2])
    for numbers, codes in ((np.zeros((1, 1)), [[4]]), (np.zeros((1, 1)), [[-1]]),
                           (np.zeros((1, 2)), [[0]]), (np.zeros((1, 1)), [[0, 0]])):
        with pytest.raises(ValueError, match="beyond what was learned|do not fit"):
            encoding.transform(Inputs(numbers, np.array(codes, np.int32)))


def test_a_table_without_inputs_has_one():
    encoding = Encoding.fit(Inputs(np.zeros((3, 0)), np.zeros((3, 0), np.int32)), [])
    assert encoding.transform(Inputs(np.zeros((3, 0)), np.zeros((3, 0), np.int32))).shape == (3, 1)


@pytest.mark.parametrize("y", [TWO, THREE, LABELS, VALUE], ids=["two", "three", "labels", "value"])
def test_a_row_by_its_dict_has_the_bytes_of_the_table(y):
    pytest.importorskip("sklearn")
    make = fastnn.TabularRegressor if y is VALUE else fastnn.TabularClassifier
    model = make(random_state=0).fit(TABLE, y).model_
    whole = model.outputs(TABLE)
    for i in range(0, N, 17):
        row = {name: column[i:i + 1].tolist()[0] for name, column in TABLE.items()}
        assert model.outputs([row]).tobytes() == whole[i:i + 1].tobytes()
        assert model.predict([row])[0] == pytest.approx(model.predict(TABLE)[i])
    assert len(model.predict({name: column[:0] for name, column in TABLE.items()})) == 0
    odd = {"a": None, "b": "1.5", "c": None, "more": 3}
    assert model.outputs([odd]).tobytes() == model.outputs([odd, odd])[:1].tobytes()


def test_networks_that_are_kept_are_those_of_before():
    """Tables of few rows are made once, from copies: of a file, or of a fit."""
    pytest.importorskip("sklearn")
    model = fastnn.TabularRegressor(random_state=0).fit(TABLE, VALUE).model_
    few = {name: column[:64] for name, column in TABLE.items()}
    more = {name: column[:65] for name, column in TABLE.items()}
    np.testing.assert_array_equal(model.outputs(few), model.outputs(more)[:64])
    copied = model.__getstate__()
    assert copied["arrays"].keys() == model.__getstate__()["arrays"].keys()


def test_no_rows(tmp_path):
    """Categories with statistics, those of many levels, too."""
    rng = np.random.default_rng(0)
    levels = [f"level {i}" for i in rng.integers(0, 60, 300)]
    X = {"a": rng.normal(size=300), "city": levels}
    model = fastnn.TabularClassifier("fast", random_state=0).fit(X, rng.integers(0, 2, 300))
    model.save(tmp_path / "model.safetensors")
    for one in (model, fastnn.load(tmp_path / "model.safetensors")):
        assert one.predict({"a": [], "city": []}).shape == (0,)
        assert one.predict_proba({"a": [], "city": []}).shape == (0, 2)


@pytest.mark.parametrize("odd", [
    {"a": -0.0, "b": 3, "c": "x"}, {"a": None, "b": 2**70, "c": "z"},
    {"a": " 1.5 ", "b": float("nan"), "c": None}, {"a": True, "b": 1.0, "c": "new"},
    {"a": np.float32(0.5), "b": 0, "c": np.str_("y")}, {"a": "", "b": -1, "c": "?"}])
def test_rows_that_are_not_plain_are_read_as_tables_are(odd, recwarn):
    frame = {**TABLE, "d": TABLE["c"][::-1]}
    schema = Schema.learn(frame)
    row = {**odd, "d": "x"}
    one, other = schema.apply_row(row), schema.apply([row])
    assert one.numbers.tobytes() == other.numbers.tobytes()
    np.testing.assert_array_equal(one.codes, other.codes)
    for infinite in (float("inf"), -float("inf")):
        with pytest.raises(TableError, match="not a finite number"):
            schema.apply_row({**row, "a": 1.0, "b": infinite})
