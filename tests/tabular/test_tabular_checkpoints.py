"""Tabular fits that were stopped go on from their file, to the same bytes."""

import numpy as np
import pytest
from each import each
from ending_fits import ends
from sklearn.base import clone
from sklearn.utils.metadata_routing import get_routing_for_object
from tabular_data import COUNT, TABLE, THREE, TWO, VALUE, rows

import fastnn
from fastnn import ModelFormatError, TabularClassifier, TabularRegressor
from fastnn.tabular import recipe

pytestmark = pytest.mark.real_recipe
SMALL = recipe.Recipe(networks=3, folds=3, hidden=(8, 6), bins=6, steps=120, patience=2,
                      average=5)
CASES = {
    "classes": lambda: (TabularClassifier(random_state=0), {"y": THREE}),
    "weights": lambda: (TabularClassifier(random_state=3, class_weight="balanced"), {"y": TWO}),
    "metric": lambda: (TabularClassifier(random_state=0, eval_metric="roc_auc"), {"y": TWO}),
    "values": lambda: (TabularRegressor(random_state=0), {"y": VALUE}),
    "counts": lambda: (TabularRegressor("best", random_state=0, loss="poisson"), {"y": COUNT}),
    "validation": lambda: (TabularRegressor(random_state=0), {
        "X": rows(0, 200), "y": VALUE[:200], "X_val": rows(200), "y_val": VALUE[200:],
        "sample_weight_val": np.arange(1, 41)}),
}


class Stopped(BaseException):
    pass


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(recipe, "PRESETS", {
        "default": (SMALL, SMALL), "fast": (recipe.replace(SMALL, linear=False),) * 2,
        "best": (recipe.replace(SMALL, statistics=False, muon=False),) * 2})
    monkeypatch.setattr(recipe, "EPOCH", 10)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fit.checkpoint"


@pytest.fixture
def stop(monkeypatch):
    """Return a function: fits end after the file was given the state of a network so often."""
    return ends(monkeypatch, Stopped)


def fit(case, n_threads=1, **more):
    model, arguments = case
    return model.set_params(n_threads=n_threads).fit(**{"X": TABLE, **arguments, **more})


def left(model, tmp_path):
    model.save(tmp_path / "model")
    held = model.model_.ensemble.held_out
    return (tmp_path / "model").read_bytes(), None if held is None else held.tobytes()


@each("name", CASES)
def test_fits_go_on(name, tmp_path, stop):
    path = tmp_path / "fit.checkpoint"
    stop(0)
    wanted = left(fit(CASES[name]()), tmp_path)
    for moment, threads in ((2, 1), (7, 2)):
        stop(moment)
        with pytest.raises(Stopped):
            fit(CASES[name](), threads, checkpoint=path, checkpoint_seconds=0)
    stop(0)
    for _ in range(2):  # one that has ended is not done again
        assert left(fit(CASES[name](), checkpoint=path), tmp_path) == wanted
    path.unlink()


@each("number", [None, np.random.RandomState(5)])
def test_without_a_number_the_file_has_the_seed(number, tmp_path, stop):
    path, models = tmp_path / "fit.checkpoint", []
    stop(4)
    with pytest.raises(Stopped):
        fit((TabularClassifier(random_state=number), {"y": TWO}), checkpoint=path,
            checkpoint_seconds=0)
    stop(0)
    for _ in range(2):
        model = TabularClassifier(random_state=number)
        models.append(left(fit((model, {"y": TWO}), checkpoint=path), tmp_path))
    assert models[0] == models[1]
    path.unlink()


def test_a_limit_of_time(path, stop):
    """Each call goes on, with as much time again, until no network learns any more."""
    def learned(**settings):
        model = TabularRegressor("fast", random_state=0, **settings)
        model = fit((model, {"y": VALUE}), **({} if not settings else {"checkpoint": path}))
        return model.model_.ensemble.networks, left(model, path.parent)

    wanted, epochs, models = learned()[1], [0], []
    for _ in range(100):
        networks, model = learned(time_limit=1e-9)
        models.append(model)
        epochs.append(max(len(net.history.loss) for net in networks))
        if epochs[-1] == epochs[-2]:
            break
    assert epochs[1:4] == [1, 2, 3] and len(epochs) < 100
    assert models[-1] == wanted != models[0]


@each("change, message", [
    (dict(random_state=1), "random_state was 0, is 1 now"),
    (dict(random_state=None), "random_state was 0, is None now"),
    (dict(preset="best"), "preset was 'default', is 'best' now"),
    (dict(eval_metric="accuracy"), "eval_metric was None, is 'accuracy' now"),
    (dict(class_weight="balanced"), "X, y or sample_weight was another one"),
    (dict(categorical_features=["a"]), "X, y or sample_weight was another one"),
])
def test_settings_that_differ_are_named(change, message, tmp_path):
    path = tmp_path / "fit.checkpoint"
    case = CASES["classes"]()
    if not path.exists():
        fit(case, checkpoint=path)
    model = clone(case[0]).set_params(**change)
    with pytest.raises(ModelFormatError, match=f"{message}.* Delete the file to start anew"):
        fit((model, case[1]), checkpoint=path)
    assert not hasattr(model, "model_")


def test_data_that_differ_are_named(path):
    fit(CASES["values"](), checkpoint=path)
    for change, message in (
            ({"y": VALUE[::-1]}, "X, y or sample_weight was another one"),
            ({"X": {**TABLE, "b": TABLE["b"] * 2}}, "X, y or sample_weight was another one"),
            ({"sample_weight": np.arange(1, 241)}, "X, y or sample_weight was another one"),
            ({"X_val": TABLE, "y_val": VALUE}, "validation_data was not given")):
        with pytest.raises(ModelFormatError, match=message):
            fit(CASES["values"](), checkpoint=path, **change)
    with pytest.raises(ModelFormatError, match="is the checkpoint of another fit"):
        fit((TabularRegressor(random_state=0, loss="huber"), {"y": VALUE}), checkpoint=path)


def test_bad_places(tmp_path):
    for place, error in ((True, TypeError), (tmp_path, IsADirectoryError),
                         (tmp_path / "none" / "x", FileNotFoundError)):
        with pytest.raises(error):
            fit(CASES["values"](), checkpoint=place)
    fastnn.MLP((2, 1)).save(tmp_path / "model")
    with pytest.raises(ModelFormatError, match="is a model, not a checkpoint"):
        fit(CASES["values"](), checkpoint=tmp_path / "model")


def test_it_is_no_metadata():
    routing = str(get_routing_for_object(TabularClassifier()))
    assert "checkpoint" not in routing and "sample_weight" in routing


def test_a_constant_target_needs_no_file(path):
    model = fit((TabularRegressor(), {"y": np.ones(240)}), checkpoint=path)
    assert (model.predict(TABLE) == 1).all() and not path.exists()
