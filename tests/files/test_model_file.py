"""Model files: what is saved comes back, and what is in the file is what any reader sees."""

import json
import math
import os
import pickle
import stat
import threading
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from model_cases import MODELS, ROWS, answers, network
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import fastnn
from fastnn.files import container as io

GOLDEN = sorted(Path(__file__).with_name("golden").glob("*/*.safetensors"))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture(params=MODELS)
def model(request):
    with warnings.catch_warnings(action="ignore"):
        return MODELS[request.param]()


# ---- round trips ----


def test_the_layout_is_that_of_safetensors(path):
    """Its own writer makes the same bytes of one entry of metadata; more it writes in any order."""
    arrays = {"b": np.arange(6, dtype="f").reshape(2, 3), "layers.10.w": np.ones(1, "f"),
              "layers.2.w": np.ones((0, 2), "f"), "a": np.arange(3.0)}
    for some in (arrays, {}):
        io.write(path, some, {"key": "ü"})
        data = path.read_bytes()
        with safe_open(path, "np") as file:
            metadata = file.metadata()
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8:8 + length])
        assert header.pop("__metadata__") == metadata
        save_file(some, path, {"x": "y"})
        other = path.read_bytes()
        start = int.from_bytes(other[:8], "little")
        wanted = json.loads(other[8:8 + start])
        assert wanted.pop("__metadata__") == {"x": "y"}
        assert list(header.items()) == list(wanted.items())
        assert (length + 8) % 8 == 0 and data[8 + length:] == other[8 + start:]


def test_a_save_takes_no_copy_of_the_data(path):
    """Which Ctrl-C and other threads would have to wait for."""
    arrays = {"a": np.zeros((1000, 2000)), "b": np.zeros(10**6, "f")}
    io.write(path, arrays, {})  # what is imported by the first call
    tracemalloc.start()
    try:
        io.write(path, arrays, {})
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 2**18 < path.stat().st_size / 50


def test_what_is_saved_comes_back(model, path):
    model.save(path)
    other = fastnn.load(path)
    assert type(other) is type(model)
    assert answers(other) == answers(model)
    if hasattr(model, "classes_") and model.classes_ is not None:
        assert other.classes_.dtype == model.classes_.dtype


def test_an_estimator_comes_back_whole(model, path):
    if not hasattr(model, "get_params"):
        pytest.skip("no estimator")
    model.save(path)
    other = fastnn.load(path)
    expected = model.get_params()
    for name, value in other.get_params().items():
        given = expected[name]
        if isinstance(given, type):
            given = np.dtype(given).name
        assert value == (tuple(given) if isinstance(given, list) else given), name
    optimizer = {"_optimizer_state", "_network", "_stepping"}
    for name in vars(model).keys() - expected.keys() - optimizer:
        np.testing.assert_equal(getattr(other, name), getattr(model, name), name)
    assert type(other.loss_curve_ if hasattr(other, "loss_curve_") else []) is list
    pickle.loads(pickle.dumps(other))


def test_a_loaded_estimator_goes_on_training(path):
    X, y = np.random.default_rng(0).normal(size=(60, 3)), np.resize(["a", "b", "c"], 60)
    est = fastnn.MLPClassifier((4,), max_iter=2, random_state=0)
    with warnings.catch_warnings(action="ignore"):
        est.fit(X, y).save(path)
        other = fastnn.load(path)
        assert len(other.partial_fit(X, y).loss_curve_) == 3
        assert other.fit(X, y).loss_curve_ == est.loss_curve_


def test_a_predictor_of_every_kind(model, path):
    model.save(path)
    other = fastnn.load(path, predictor=True)
    assert type(other) is fastnn.Predictor
    assert answers(other) == answers(model)
    other.save(path)
    assert answers(fastnn.load(path)) == answers(model)


@pytest.mark.parametrize("as_type", [str, Path])
def test_a_network_comes_back_whole(as_type, dtype, path):
    net = fastnn.MLP((3, 5, 4, 2), ("relu", "gelu"), "softmax", dtype=dtype, dropout=(0.1, 0.2),
                     random_state=0)
    assert net.save(as_type(path)) is None
    other = fastnn.load(as_type(path))
    assert (other.sizes, other.activations, other.output, other.dtype, other.dropout) == (
        net.sizes, net.activations, net.output, net.dtype, net.dropout)
    assert other.parameters.tobytes() == net.parameters.tobytes()
    assert other.predict(ROWS).tobytes() == net.predict(ROWS).tobytes()
    assert np.isfinite(other.fit(ROWS, np.resize([0, 1], 7), epochs=1).loss).all()
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_network_with_scaler_and_labels(path):
    net = network(3)
    mean, scale = np.array([1.0, 2.0, 3.0]), np.array([0.5, 2.0, 1.0])
    net.save(path, scaler=(mean, scale), classes=["a", "b", "c"], feature_names=["x", "y", "z"])
    loaded = fastnn.load(path)
    assert loaded.task == "classification" and list(loaded.feature_names_in_) == ["x", "y", "z"]
    expected = net.predict((ROWS - mean) / scale)
    np.testing.assert_array_equal(loaded.predict_proba(ROWS), expected)
    assert loaded.predict(ROWS).tolist() == [["a", "b", "c"][i] for i in expected.argmax(axis=1)]


@pytest.mark.parametrize("n_out, output, classes, task", [
    (1, "sigmoid", [0, 1], "classification"), (2, "sigmoid", ["p", "q"], "multilabel"),
    (2, "softmax", [False, True], "classification")])
def test_task_of_a_network_with_classes(n_out, output, classes, task, path):
    network(n_out, output).save(path, classes=classes)
    assert fastnn.load(path).task == task


# ---- pipelines ----


def fitted_pipeline(scaler, dtype="float64", y=("u", "v", "w"), cls="MLPClassifier"):
    from sklearn.pipeline import make_pipeline

    rng = np.random.default_rng(0)
    X = (rng.normal(size=(60, 3)) * [1, 100, 0.01] + [5, -300, 0]).astype(dtype)
    X[:, 0] = X[:, 0].round(1)
    est = getattr(fastnn, cls)(hidden_layer_sizes=(6,), max_iter=5, random_state=0)
    with warnings.catch_warnings(action="ignore"):
        return make_pipeline(scaler, est).fit(X, np.resize(y, 60)), X * 1.3


SCALERS = [
    ("StandardScaler", {}), ("StandardScaler", {"with_mean": False}),
    ("StandardScaler", {"with_std": False}), ("MinMaxScaler", {}),
    ("MinMaxScaler", {"feature_range": (-1, 2), "clip": True}), ("MaxAbsScaler", {}),
    ("RobustScaler", {}), ("RobustScaler", {"with_centering": False, "with_scaling": False})]


@pytest.mark.parametrize("name, settings", SCALERS)
def test_pipeline_with_a_scaler(name, settings, dtype, path):
    from sklearn import preprocessing

    pipeline, X = fitted_pipeline(getattr(preprocessing, name)(**settings), dtype)
    pipeline[-1].save(path, pipeline=pipeline)
    loaded = fastnn.load(path)
    assert loaded.predict(X).tolist() == pipeline.predict(X).tolist()
    tolerance = 1e-14 if dtype == "float64" else 5e-6  # scikit-learn rounds float32 twice
    np.testing.assert_allclose(loaded.predict_proba(X), pipeline.predict_proba(X),
                               rtol=0, atol=tolerance)
    if name == "StandardScaler" and dtype == "float64":
        np.testing.assert_array_equal(loaded.predict_proba(X), pipeline.predict_proba(X))


def test_pipeline_of_a_regressor(path):
    from sklearn.preprocessing import StandardScaler

    pipeline, X = fitted_pipeline(StandardScaler(), y=[1.0, 2.0, 4.0], cls="MLPRegressor")
    pipeline[-1].save(path, pipeline=pipeline)
    np.testing.assert_array_equal(fastnn.load(path).predict(X), pipeline.predict(X))


def test_pipeline_that_cannot_be_saved(path):
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    pipeline, X = fitted_pipeline(PolynomialFeatures(1, include_bias=False))
    with pytest.raises(TypeError, match="PolynomialFeatures.*StandardScaler"):
        pipeline[-1].save(path, pipeline=pipeline)
    pipeline, X = fitted_pipeline(make_pipeline(PolynomialFeatures(1, include_bias=False)))
    with pytest.raises(TypeError, match="'pipeline__polynomialfeatures' is PolynomialFeatures"):
        pipeline[-1].save(path, pipeline=pipeline)
    other, X = fitted_pipeline(StandardScaler())
    with pytest.raises(ValueError, match="last step"):
        pipeline[-1].save(path, pipeline=other)
    assert not path.exists()


# ---- data frames ----


def test_columns_are_taken_by_name(path):
    pandas = pytest.importorskip("pandas")
    network().save(path, feature_names=["a", "b", "c"])
    loaded = fastnn.load(path)
    frame = pandas.DataFrame(ROWS, columns=["a", "b", "c"])
    expected = loaded.predict(ROWS)
    np.testing.assert_array_equal(loaded.predict(frame[["c", "a", "b"]].assign(d=1)), expected)
    with pytest.raises(ValueError, match="no column 'b'; there are no others than are asked for$"):
        loaded.predict(frame[["c", "a"]])
    with pytest.raises(ValueError, match=r"no column 'b'; did you mean 'B '\?$"):
        loaded.predict(frame.rename(columns={"b": "B "}))


@pytest.mark.parametrize("library", ["polars", "pyarrow"])
def test_columns_of_other_tables_by_name(library, path):
    make = {"polars": "DataFrame", "pyarrow": "table"}[library]
    table = getattr(pytest.importorskip(library), make)
    network().save(path, feature_names=["a", "b", "c"])
    loaded = fastnn.load(path)
    columns = dict(zip("cab", ROWS.T[[2, 0, 1]], strict=True))
    np.testing.assert_array_equal(loaded.predict(table(columns)), loaded.predict(ROWS))
    with pytest.raises(ValueError, match="no column 'b'"):
        loaded.predict(table({"a": [1.0], "c": [2.0]}))


# ---- bad rows ----


@pytest.mark.parametrize("scaler", [None, ([0.0] * 3, [1.0] * 3)])
def test_bad_rows(scaler, path):
    network().save(path, scaler=scaler, classes=["a", "b"])
    loaded = fastnn.load(path)
    if scaler:
        network().save(path, scaler=([0.0] * 3, [1e-300] * 3), classes=["a", "b"])
        with pytest.raises(ValueError, match="scaled X contains infinity"):
            fastnn.load(path).predict(np.full((1, 3), 1e300))
    out = np.empty((7, 3), "f")
    with pytest.raises(ValueError, match=r"must be a writable row-major array, float32 \(7, 2\)"):
        loaded.predict_proba(ROWS, out=out)
    network(1, "sigmoid").save(path, classes=["a", "b"])
    with pytest.raises(ValueError, match=r"must be a writable row-major array, float32 \(7, 2\)"):
        fastnn.load(path).predict_proba(ROWS, out=out)
    for bad, message in [
        (np.full((2, 3), np.nan), "X contains NaN in column 0"),
        ([[1.0, np.inf, 2.0]], "X contains infinity"),
        (np.zeros((2, 4)), "4 columns, must have 3"),
        (np.zeros(3), "reshape"),
    ]:
        with pytest.raises(ValueError, match=message):
            loaded.predict(bad)
    with pytest.raises(TypeError, match="numeric"):
        loaded.predict([["a", "b", "c"]])
    with pytest.raises(ValueError, match="out must be None"):
        loaded.predict(ROWS, out=np.empty((7, 2), "f"))
    assert loaded.predict(np.zeros((0, 3))).shape == (0,)


def test_any_layout_of_rows(path):
    import scipy.sparse as sp

    for scaler in (None, ([1.0, 2.0, 3.0], [2.0, 3.0, 4.0])):
        network(dtype="float64").save(path, scaler=scaler, classes=["a", "b"])
        loaded = fastnn.load(path)
        expected = loaded.predict_proba(ROWS)
        for X in (np.asfortranarray(ROWS), ROWS.tolist(), ROWS.astype(">f8"), sp.csr_matrix(ROWS),
                  np.repeat(ROWS, 2, axis=0)[::2]):
            np.testing.assert_array_equal(loaded.predict_proba(X), expected)
        out = np.empty((7, 2))
        assert loaded.predict_proba(ROWS, out=out) is out
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("arguments, message", [
    ({"task": "classification"}, "classes=None must be given"),
    ({"task": "outputs", "classes": [0, 1]}, "nothing else"),
    ({"task": "guess"}, "must be one of"),
    ({"task": "classification", "classes": [1, 2, 3]}, r"shape \(3,\), must be \(2,\)"),
    ({"feature_names": ["a"]}, "1 entries, must have 3"),
    ({"scaler": fastnn.Scaler([0.0], [1.0])}, "for 1 inputs, must be for 3")])
def test_bad_predictors(arguments, message):
    with pytest.raises(ValueError, match=message):
        fastnn.Predictor(network(), **arguments)


@pytest.mark.parametrize("arguments, message", [
    (([0.0, 1.0], [1.0]), "both must be"), (([0.0], [0.0]), r"scale\[0\] is 0"),
    (([np.nan], [1.0]), "mean contains NaN"), (([0.0], [np.inf]), "scale contains infinity"),
    (([0.0], [1.0], (2, 1)), "low, high")])
def test_bad_scalers(arguments, message):
    with pytest.raises(ValueError, match=message):
        fastnn.Scaler(*arguments)


# ---- the file itself ----


def test_any_reader_finds_the_arrays(path):
    net = network()
    net.save(path)
    tensors = load_file(path)
    assert sorted(tensors) == ["layers.0.bias", "layers.0.weight", "layers.1.bias",
                               "layers.1.weight"]
    for i in range(2):
        np.testing.assert_array_equal(tensors[f"layers.{i}.weight"], net.weights[i])
        np.testing.assert_array_equal(tensors[f"layers.{i}.bias"], net.biases[i])
    with safe_open(path, "numpy") as file:
        metadata = file.metadata()
    assert metadata["fastnn_format"] == "1.0"
    assert metadata["fastnn_version"] == fastnn.__version__
    assert json.loads(metadata["fastnn"])["net"]["sizes"] == [3, 4, 2]


def test_a_file_that_another_tool_wrote_again(path):
    """The checksum is of what the file says, not of the order its writer chose."""
    network().save(path)
    with safe_open(path, "numpy") as file:
        metadata = file.metadata()
    save_file(dict(sorted(load_file(path).items(), reverse=True)), path,
              dict(sorted(metadata.items(), reverse=True)))
    assert answers(fastnn.load(path)) == answers(network())


def test_nothing_of_a_file_is_used_once_it_is_read(model, path):
    """What is written into it later cannot change a model that was checked."""
    model.save(path)
    for predictor in (False, True):
        loaded = fastnn.load(path, predictor=predictor)
        right, kept = answers(loaded), path.read_bytes()
        with path.open("r+b") as file:
            file.write(b"\xff" * len(kept))
        assert answers(loaded) == right
        path.write_bytes(kept)


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda p: f"{p.parent.name}-{p.stem}")
@pytest.mark.parametrize("predictor", [False, True])
def test_golden_files_load_for_ever(golden, predictor):
    expected = json.loads(golden.with_suffix(".json").read_text())
    said = answers(fastnn.load(golden, predictor=predictor))
    assert said.keys() == expected.keys()
    for method, values in expected.items():
        if isinstance(np.ravel(values)[0], np.floating):
            np.testing.assert_allclose(said[method], values, rtol=1e-5)
        else:
            assert said[method] == values


def test_every_kind_of_model_has_a_golden_file():
    assert {p.stem for p in GOLDEN} == set(MODELS)
    newest = ".".join(map(str, io.FORMAT))
    assert "mlp_layers" in {p.stem for p in GOLDEN if p.parent.name == newest}


def test_save_replaces_an_older_file(path):
    network(2).save(path)
    net = network(5)
    net.save(path)
    assert answers(fastnn.load(path)) == answers(net)


def test_a_failed_save_leaves_the_older_file(path, monkeypatch):
    network().save(path)
    before = path.read_bytes()

    def fail(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        network(5).save(path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.skipif(os.name != "posix", reason="permission bits")
def test_permissions_are_those_of_a_new_file(path):
    old = os.umask(0o027)
    try:
        network().save(path)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_save_where_there_is_no_folder(path):
    with pytest.raises(FileNotFoundError, match="no folder '.*missing' to save 'm.safetensors'"):
        network().save(path.parent / "missing" / "m.safetensors")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        network().save(path.parent)


def test_settings_that_are_too_long(path):
    names = ["x" * 800_000] * 3
    with pytest.raises(ValueError, match="room for 2097152"):
        network().save(path, feature_names=names)
    assert not path.exists()


def test_a_value_that_cannot_be_saved(path):
    est = fastnn.MLPRegressor(hidden_layer_sizes=(3,), max_iter=1, solver="lbfgs")
    with warnings.catch_warnings(action="ignore"):
        est.fit(ROWS, ROWS[:, 0])
    est.tol = lambda: 0
    with pytest.raises(TypeError, match="type function cannot be saved"):
        est.save(path)
    with pytest.raises(TypeError, match="datetime64.* cannot be saved"):
        network().save(path, classes=np.array(["2020-01-01", "2021-01-01"], "M8[D]"))
    with pytest.raises(TypeError, match="scaler=StandardScaler must be"):
        from sklearn.preprocessing import StandardScaler
        network().save(path, scaler=StandardScaler())
    with pytest.raises(ValueError, match="feature_names must be strings"):
        network().save(path, feature_names=[1, 2, 3])
    with warnings.catch_warnings(action="ignore"):
        est = fastnn.MLPRegressor(hidden_layer_sizes=(3,), max_iter=1).fit(ROWS, ROWS[:, 0])
    with pytest.raises(ValueError, match="cannot be saved: .*'solver'"):
        est.set_params(solver="bogus").save(path)
    assert not path.exists()


@pytest.mark.parametrize("n_out, output", [(1, "identity"), (1, "softmax"), (2, "identity")])
def test_outputs_that_are_no_probabilities(n_out, output, path):
    with pytest.raises(ValueError, match="gives no probabilities"):
        network(n_out, output).save(path, classes=[0, 1])


@pytest.mark.skipif(os.name != "posix", reason="permissions and links")
def test_an_old_file_keeps_its_permissions_and_links(path):
    network().save(path)
    path.chmod(0o600)
    link = path.with_name("link")
    link.symlink_to(path.name)
    network(5).save(link)
    assert link.is_symlink() and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert answers(fastnn.load(path)) == answers(network(5))


def test_an_estimator_that_is_not_fitted(path):
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        fastnn.MLPClassifier().save(path)


def test_a_random_state_that_is_no_number(path):
    est = fastnn.MLPRegressor(hidden_layer_sizes=(3,), max_iter=1, solver="lbfgs",
                              random_state=np.random.RandomState(0))
    with warnings.catch_warnings(action="ignore"):
        est.fit(ROWS, ROWS[:, 0])
    est.save(path)
    assert fastnn.load(path).random_state is None


# ---- in a service ----


def test_loading_and_predicting_imports_numpy_alone(path, run_python):
    for model in (network(), MODELS["predictor_scaled"]()):
        model.save(path)
        done = run_python(
            "import sys, numpy as np, fastnn\n"
            "model = fastnn.load(sys.argv[1])\n"
            "model.predict(np.zeros((2, 3)))\n"
            "print({m.partition('.')[0] for m in sys.modules} & {'scipy', 'sklearn', 'pandas', "
            "'threadpoolctl', 'safetensors'})", path)
        assert done.stdout == "set()\n", done.stdout + done.stderr


BLOCK = """
import sys
class Blocker:
    def find_spec(self, name, *rest):
        if name.partition('.')[0] not in ALLOWED and name.partition('.')[0] not in STANDARD:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
ALLOWED, STANDARD = {'numpy', 'fastnn'}, sys.stdlib_module_names
sys.meta_path.insert(0, Blocker())
import warnings, json, numpy as np, fastnn
from pathlib import Path
for path in sorted(Path(sys.argv[1]).glob("*/*.safetensors")):
    expected = json.loads(path.with_suffix(".json").read_text())
    model = fastnn.load(path)
    X = np.random.default_rng(1).normal(size=(7, 3))
    said = model.predict(X)
    if np.ravel(said).dtype.kind == 'f':
        assert np.allclose(said, expected["predict"], rtol=1e-5)
    else:
        assert said.tolist() == expected["predict"]
    print(path.stem, type(model).__name__)
"""


def test_where_there_is_neither_scipy_nor_scikit_learn(run_python):
    done = run_python(BLOCK, Path(__file__).with_name("golden"))
    assert done.returncode == 0, done.stderr
    kinds = dict(line.split() for line in done.stdout.splitlines())
    assert len(kinds) == len(GOLDEN)
    assert {name for name, kind in kinds.items() if kind == "MLP"} == {
        "mlp", "mlp_float64", "mlp_layers"}
    assert {kind for name, kind in kinds.items() if "mlp" not in name} == {"Predictor"}


def test_predictions_in_many_threads(path):
    MODELS["predictor_scaled"]().save(path)
    loaded = fastnn.load(path)
    expected = loaded.predict_proba(ROWS).tobytes()
    wrong = []

    def work():
        out = np.empty((7, 2), "f")
        for _ in range(200):
            if loaded.predict_proba(ROWS, out=out).tobytes() != expected:
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_numbers_that_json_has_not():
    from fastnn.files.plain import from_plain, to_plain

    for value in (math.inf, -math.inf, [1, 2.5, None, "x", True], {1: 2.0, "a": [math.inf]}):
        assert from_plain(json.loads(json.dumps(to_plain(value), allow_nan=False)), list) == value
    assert math.isnan(from_plain(to_plain(np.float32("nan")), list))
