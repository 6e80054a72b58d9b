"""`fit_batches(checkpoint=path)` of the estimators: goes on after its last whole pass."""

import numpy as np
import pytest
from each import each
from sklearn.base import clone

import fastnn
from fastnn import MLPClassifier, MLPRegressor, ModelFormatError
from fastnn.estimators import batch_file
from fastnn.files import container

rng = np.random.default_rng(0)
X = rng.normal(size=(120, 4))
LABELS = np.array(["low", "mid", "top"])[rng.integers(0, 3, 120)]
VALUES = np.column_stack([np.sin(X[:, 0]), X[:, 1] * X[:, 2]])
PASSES = 5
CASES = {
    "adam": (MLPClassifier, {}, LABELS),
    "two classes": (MLPClassifier, {"solver": "sgd", "learning_rate": "invscaling"},
                    LABELS == "mid"),
    "labels": (MLPClassifier, {"dtype": "float32"}, (VALUES > 0).astype(int)),
    "values": (MLPRegressor, {"solver": "sgd", "learning_rate": "adaptive", "tol": 1.0,
                              "n_iter_no_change": 2}, VALUES),
    "random state": (MLPRegressor, {"random_state": np.random.RandomState(3)}, VALUES[:, 0]),
    "mean": (MLPClassifier, {"solver": fastnn.EMA(fastnn.AdamW(0.01), 0.9)}, LABELS),
    "members": (MLPClassifier, {"members": 3, "norm": "batch"}, LABELS),
    "norm": (MLPClassifier, {"norm": "layer", "dropout": 0.2}, LABELS),
    "quantiles": (MLPRegressor, {"loss": "quantile", "quantile": [0.1, 0.9]}, VALUES[:, 0]),
}


class Stopped(BaseException):
    pass


def made(name, **settings):
    kind, parameters, _ = CASES[name]
    return clone(kind(**{"hidden_layer_sizes": (6, 5), "random_state": 1, "n_threads": 1,
                         **parameters, **settings}))


def source_of(name, fails=None, asked=None):
    y = CASES[name][2]

    def source(epoch):
        if asked is not None:
            asked.append(epoch)
        for i, at in enumerate(range(0, 120, 30)):
            if (epoch, i) == fails:
                raise Stopped
            yield X[at:at + 30], y[at:at + 30]
    return source


def fit(name, model=None, fails=None, asked=None, **more):
    model = made(name) if model is None else model
    return model.fit_batches(source_of(name, fails, asked), **{"epochs": PASSES, **more})


def result(model):
    """All that a fit leaves behind."""
    state = model._optimizer_state
    found = {key: value for key, value in vars(model).items()
             if key.endswith("_") and key not in ("coefs_", "intercepts_", "norm_parameters_")}
    found |= {"rate": state["learning_rate"], "step": state["step"],
              "count": model._no_improvement_count,
              "calibration": vars(model).get("_calibration")}
    if isinstance(model.random_state, np.random.RandomState):
        found["random"] = model.random_state.uniform()
    arrays = [*model.coefs_, *model.intercepts_, *(model.norm_parameters_ or ()),
              *state["moments"], *([state["weights"]] if "weights" in state else [])]
    return repr(sorted(found.items())), [array.tobytes() for array in arrays]


@each("name", CASES)
def test_a_fit_goes_on(name, tmp_path):
    path, wanted = tmp_path / "fit.checkpoint", fit(name)
    asked = []
    for fails in ((0, 2), (1, 1), (3, 0)):
        with pytest.raises(Stopped):
            fit(name, fails=fails, checkpoint=path, checkpoint_seconds=0)
    again = fit(name, checkpoint=path, asked=asked)
    assert asked == [3, 4]
    assert result(again) == result(wanted)
    assert again.predict(X).tolist() == wanted.predict(X).tolist()
    path.unlink()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fit.checkpoint"


def test_more_passes(path):
    wanted, asked = result(fit("adam")), []
    fit("adam", epochs=2, checkpoint=path, asked=asked)
    for _ in range(2):  # one that has ended is not done again
        assert result(fit("adam", checkpoint=path, asked=asked)) == wanted
    assert asked == [0, 0, 1, 2, 3, 4]  # the first time for the classes
    with pytest.raises(ModelFormatError, match="of 5 passes, this fit has epochs=3"):
        fit("adam", checkpoint=path, epochs=3)


def test_warm_starts(path):
    """The model of before counts, and after Ctrl-C that of the interrupted call does not."""
    first = fit("adam", made("adam", warm_start=True), epochs=2)
    twin = fit("adam", made("adam", warm_start=True), epochs=2)
    wanted = result(fit("adam", twin))
    interrupts = []

    def interrupted(epoch):
        for i, batch in enumerate(source_of("adam")(epoch)):
            if (epoch, i) == (2, 2) and not interrupts:
                interrupts.append(1)
                raise KeyboardInterrupt
            yield batch

    with pytest.warns(UserWarning, match="interrupted"):
        first.fit_batches(interrupted, epochs=PASSES, checkpoint=path, checkpoint_seconds=0)
    assert interrupts and first.t_ < 8 * 120
    assert result(fit("adam", first, checkpoint=path)) == wanted
    with pytest.raises(ModelFormatError, match="the model at the start was another one"):
        fit("adam", made("adam", warm_start=True), checkpoint=path)


@each("change, message", [
    (dict(alpha=0.5), "alpha was 0.0001, is 0.5 now"),
    (dict(random_state=2), "random_state was 1, is 2 now"),
    (dict(hidden_layer_sizes=(6, 4)), r"hidden_layer_sizes was \[6, 5\], is \[6, 4\] now"),
    (dict(solver="sgd"), "solver was 'adam', is 'sgd' now"),
])
def test_what_differs_is_named(change, message, tmp_path):
    path = tmp_path / "fit.checkpoint"
    if not path.exists():
        fit("adam", epochs=2, checkpoint=path)
    model = made("adam", **change)
    with pytest.raises(ModelFormatError, match=message):
        fit("adam", model, checkpoint=path)
    assert not hasattr(model, "coefs_")
    with pytest.raises(ModelFormatError, match="is the checkpoint of another fit: "):
        made("adam").fit(X, LABELS, checkpoint=path)


def test_sources_and_arguments(path):
    with pytest.raises(ValueError, match="needs a source that can be begun anew"):
        made("adam").fit_batches(source_of("adam")(0), classes=["low", "mid", "top"],
                                 checkpoint=path)
    with pytest.raises(ValueError, match="checkpoint_seconds=-1"):
        fit("adam", checkpoint=path, checkpoint_seconds=-1)
    with pytest.raises(TypeError, match="checkpoint=True must be a path"):
        fit("adam", checkpoint=True)
    fit("adam", epochs=1, checkpoint=path)
    with pytest.raises(ValueError, match="classes"):
        fit("adam", classes=["a", "b", "c"], checkpoint=path)


@each("change", [
    {"epochs": -1}, {"sizes": [4, 6, 5]}, {"sizes": [4, 7, 5, 3]}, {"sizes": [1 << 40, 6, 5, 3]},
    {"sizes": [5, 6, 5, 3]}, {"output": "relu"}, {"output": "exp"}, {"dtype": "int8"},
    {"moments": 1}, {"moments": 1 << 40}, {"weights": 3}, {"rate": "x"}, {"fitted": 3},
    {"fitted": {}}, {"curves": {"t_": 1}}, {"classes": None},
    {"feature_names": ["a"]}, {"random": [1, 0, 0.0]}, {"other": 1},
])
def test_settings_that_mean_nothing(change, tmp_path):
    """Under a right checksum."""
    path, write = tmp_path / "fit.checkpoint", container.write
    to_plain = batch_file.to_plain

    def changed(value):
        return to_plain({**value, **change} if isinstance(value, dict) and "sizes" in value
                        else value)

    def written(path, arrays, settings, **more):
        pairs = settings["progress"]["dict"]
        if "classes" in change:
            pairs = [[key, None if key == "classes" else value] for key, value in pairs]
        write(path, arrays, {**settings, "progress": {"dict": pairs}}, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch_file, "to_plain", changed)
        patch.setattr(container, "write", written)
        fit("adam", epochs=1, checkpoint=path)
    with pytest.raises(ModelFormatError):
        fit("adam", checkpoint=path)
    path.unlink()
