"""Models of tables in files: the same predictions, without scikit-learn and pandas."""

import json
import pickle

import numpy as np
import pytest
from tabular_data import LABELS, TABLE, THREE, TWO, VALUE, rows

pytest.importorskip("sklearn")

import fastnn
from fastnn import TabularClassifier, TabularRegressor

KINDS = {"two": (TabularClassifier, TWO), "three": (TabularClassifier, THREE),
         "labels": (TabularClassifier, LABELS), "value": (TabularRegressor, VALUE)}


@pytest.fixture(scope="module")
def models():
    """Fitted models by kind; made once."""
    found = {}

    def model(kind, **settings):
        if kind not in found or settings:
            make, y = KINDS[kind]
            found[kind] = make(random_state=0, **settings).fit(TABLE, y)
        return found[kind]

    return model


@pytest.mark.parametrize("kind", KINDS)
def test_files_hold_it_all(kind, models, tmp_path):
    model = models(kind)
    model.save(tmp_path / "m.safetensors")
    loaded = fastnn.load(tmp_path / "m.safetensors")
    assert type(loaded) is fastnn.tabular.TabularModel
    assert loaded.predict(TABLE).tobytes() == model.predict(TABLE).tobytes()
    assert loaded.predict(TABLE).dtype == model.predict(TABLE).dtype
    if kind == "value":
        np.testing.assert_array_equal(loaded.predict_interval(TABLE), model.predict_interval(TABLE))
    else:
        np.testing.assert_array_equal(loaded.predict_proba(TABLE), model.predict_proba(TABLE))
        np.testing.assert_array_equal(loaded.classes_, model.classes_)
    np.testing.assert_array_equal(loaded.importances()[0], model.feature_importances_)
    some = rows(0, 2)
    ours, theirs = model.explain(some), loaded.explain(some)  # of one shape, too
    for name in ours._fields[:3]:
        np.testing.assert_array_equal(getattr(theirs, name), getattr(ours, name), strict=True)
    assert ours.values.ndim == np.ndim(ours.base_values) + 2
    loaded.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (
        tmp_path / "m.safetensors").read_bytes()


def test_a_file_that_is_written_into_after_it_was_read(models, tmp_path):
    """Trees and bins were a map of the file, which changed after it had been checked, or ended the
    process (SIGBUS) where it was cut off."""
    path = tmp_path / "m.safetensors"
    model = models("two")
    model.save(path)
    loaded = fastnn.load(path)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.write(b"\xff" * size)
    assert loaded.predict_proba(TABLE).tobytes() == model.predict_proba(TABLE).tobytes()


def test_a_copy_of_changed_networks_is_another_model(models):
    """The docstring of `TabularModel` names it: small batches are predicted from copies."""
    model = pickle.loads(pickle.dumps(models("value")._model()))
    model.predict(rows(0, 1)), model.predict(rows(0, 5)), model.predict(TABLE)
    for net in model.ensemble.networks:
        net.parameters[:] *= 0.5
    copy = pickle.loads(pickle.dumps(model))
    found = copy.predict(TABLE)
    assert found.tobytes() == model.predict(TABLE).tobytes()
    np.testing.assert_array_equal(copy.predict(rows(0, 5)), found[:5])
    np.testing.assert_array_equal(copy.predict(rows(0, 1)), found[:1])


def test_a_constant_model_in_a_file(tmp_path):
    TabularRegressor().fit(TABLE, np.full(len(VALUE), 2.5)).save(tmp_path / "m.safetensors")
    assert set(fastnn.load(tmp_path / "m.safetensors").predict(TABLE)) == {2.5}
    TabularClassifier().fit(TABLE, np.full(len(VALUE), "a")).save(tmp_path / "m.safetensors")
    assert set(fastnn.load(tmp_path / "m.safetensors").predict(TABLE)) == {"a"}


def test_serving_needs_numpy_alone(models, tmp_path, run_python):
    model = models("two")
    model.save(tmp_path / "m.safetensors")
    table = [dict(zip(TABLE, row, strict=True))
             for row in zip(*(column[:5].tolist() for column in TABLE.values()), strict=True)]
    code = """
import json, sys
sys.modules["sklearn"] = sys.modules["pandas"] = sys.modules["scipy"] = None
import fastnn
model = fastnn.load(sys.argv[1])
print(json.dumps(model.predict_proba(json.loads(sys.argv[2])).tolist()))
"""
    said = run_python(code, tmp_path / "m.safetensors", json.dumps(table))
    assert json.loads(said.stdout) == model.predict_proba(rows(0, 5)).tolist()


def test_strict_refuses_what_training_did_not_have(models):
    model = models("two").model_
    odd = {"a": [0.0], "b": [1.0], "c": ["new"]}
    with pytest.raises(ValueError, match="'new'"):
        model.predict(odd, strict=True)
    with pytest.warns(UserWarning, match="training did not have"):
        model.predict(odd)


def test_damaged_and_invented_files(models, tmp_path):
    path = tmp_path / "m.safetensors"
    models("two").save(path)
    whole = path.read_bytes()
    for at in (200, len(whole) // 2, len(whole) - 3):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:])
        with pytest.raises(fastnn.ModelFormatError):
            fastnn.load(path)


@pytest.mark.parametrize("change", [
    lambda settings: settings.pop("task"), lambda settings: settings.update(extra=1),
    lambda settings: settings["parts"].append([0, 1]), lambda settings: settings.update(names=[]),
    lambda settings: settings["weights"].pop(), lambda settings: settings.update(weights=None),
    lambda settings: settings["networks"].pop(),
    lambda settings: settings["task"].update(kind="regression"),
    lambda settings: settings["task"].update(kind="guess"),
    lambda settings: settings["schema"]["columns"].pop(),
    lambda settings: settings["reference"].update(unseen=[[99]]),
    lambda settings: settings.update(encodings=[])])
def test_settings_that_do_not_fit(change, models, tmp_path, monkeypatch):
    from fastnn.tabular import files

    path, parts = tmp_path / "m.safetensors", files.to_parts

    def changed(model):
        settings, arrays = parts(model)
        settings = json.loads(json.dumps(settings))
        change(settings)
        return settings, arrays

    monkeypatch.setattr(files, "to_parts", changed)
    models("two").save(path)
    with pytest.raises(fastnn.ModelFormatError):
        fastnn.load(path)
