"""What users set on networks, scalers, predictors and estimators: checked when it is set, or
refused; and what files make of them goes through the same checks."""

import copy
import io
import json
import pickle
import zipfile

import numpy as np
import pytest
from each import each

import fastnn

X = np.random.default_rng(0).normal(size=(12, 3)).astype("f")
Y = np.ones((12, 2), "f")


@pytest.fixture
def net():
    return fastnn.MLP((3, 5, 2), random_state=0)


@each("value, error", [(0, ValueError), (-1, ValueError), (2**31, ValueError), (2.5, TypeError),
                       (True, TypeError), ("2", TypeError), (np.nan, TypeError)])
def test_n_threads_of_a_network(value, error):
    net = fastnn.MLP((50, 300, 200, 3), random_state=0)
    with pytest.raises(error, match="n_threads"):
        net.n_threads = value
    assert net.predict(np.ones((40000, 50), "f")).shape == (40000, 3)


def test_what_describes_a_network_cannot_be_set(net):
    wanted = net.predict(X)
    for name in ("sizes", "activations", "output", "dropout", "dtype", "spec", "parameters",
                 "weights", "biases", "n_parameters"):
        for value in ((), [0.3], "softmax", None, ("relu",), "int8", -0.5):
            with pytest.raises(AttributeError):
                setattr(net, name, value)
    assert isinstance(net.weights, tuple) and isinstance(net.biases, tuple)
    net.fit(X, Y, epochs=1)
    assert net.predict(X).shape == wanted.shape


# ---- states of pickles ----

BAD_STATES = {
    "initializer": {"_initializer": "nonsense"}, "gemm": {"_gemm": "nonsense"},
    "no threads": {"_n_threads": 0}, "threads": {"_n_threads": "2"},
    "seed": {"_seed": -1}, "no seed": {"_seed": None}, "seeded": {"_seeded": 1},
    "epochs": {"_epochs_done": -1}, "many epochs": {"_epochs_done": 2**60},
    "few parameters": {"parameters": np.zeros(3, "f")},
    "other dtype": {"parameters": np.zeros(40, "d")},
    "objects": {"parameters": np.zeros(40, object)},
    "no array": {"parameters": [0.0] * 40},
    "a method": {"predict": print}, "a property": {"sizes": (3, 2)}, "a snapshot": {"_snapshot": 1},
    "a class": {"__class__": dict}, "a number as name": {1: 2},
}


@each("name", BAD_STATES)
def test_states_that_the_constructor_would_refuse(name):
    net = fastnn.MLP((3, 5, 2), random_state=0)
    state = {**net.__getstate__(), **BAD_STATES[name]}
    with pytest.raises((TypeError, ValueError)):
        fastnn.MLP.__new__(fastnn.MLP).__setstate__(state)


def test_states_that_lack_something_or_are_not_finite(net):
    state = net.__getstate__()
    for name in state:
        less = {key: value for key, value in state.items() if key != name}
        with pytest.raises(ValueError, match="lacks"):
            fastnn.MLP.__new__(fastnn.MLP).__setstate__(less)
    state["parameters"][3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        fastnn.MLP.__new__(fastnn.MLP).__setstate__(state)
    spec = state["spec"]
    for change in ({"dtype": "int8"}, {"n_in": -1}, {"n_in": 2**62}, {"output": "nonsense"},
                   {"layers": [{"kind": "dense", "units": 5, "activation": "softmax"}] * 2}):
        with pytest.raises(ValueError):
            fastnn.MLP.__new__(fastnn.MLP).__setstate__({**state, "spec": {**spec, **change}})


def test_state_of_the_first_version(net):
    state = net.__getstate__()
    del state["spec"]
    for name in ("initializer", "n_threads", "gemm"):
        state[name] = state.pop(f"_{name}")
    state |= {"sizes": (3, 5, 2), "activations": ("relu",), "output": "identity",
              "dropout": (0.0,), "dtype": "float32"}
    other = fastnn.MLP.__new__(fastnn.MLP)
    other.__setstate__(state)
    assert other.predict(X).tobytes() == net.predict(X).tobytes()
    for change in ({"dtype": "int8"}, {"activations": ("softmax",)}, {"activations": ()},
                   {"dropout": ()}, {"dropout": (2.0,)}, {"sizes": (-3, 5, 2)},
                   {"sizes": (3, 2**62, 2)}, {"sizes": (3, 6, 2)}):
        with pytest.raises(ValueError):
            fastnn.MLP.__new__(fastnn.MLP).__setstate__({**state, **change})


def test_own_attributes_are_copied_along(net):
    net.note = "mine"
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert other.note == "mine"
        assert other.predict(X).tobytes() == net.predict(X).tobytes()


def changed(content, change):
    """A file of skops with some words in its schema changed."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    schema = json.dumps(json.loads(files["schema.json"]))
    new = change(schema)
    assert new != schema
    files["schema.json"] = new.encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


@each("before, after", [("float32", "int8"), ("float32", "float64"), ("relu", "softmax"),
                        ("relu", "nonsense"), ('"5"', '"4"'), ('"5"', '"-5"'),
                        ('"glorot_uniform', '"nonsense'), ("layers", "n_in")])
def test_hostile_file_of_skops(before, after):
    skops = pytest.importorskip("skops.io")
    content = skops.dumps(fastnn.MLP((3, 5, 2), random_state=0))
    assert skops.loads(content, trusted=fastnn.SKOPS_TRUSTED).predict(X).shape == (12, 2)
    quoted = before.replace('"', '\\"'), after.replace('"', '\\"')
    hostile = changed(content, lambda text: text.replace(before, after).replace(*quoted))
    with pytest.raises((ValueError, TypeError, KeyError)):
        skops.loads(hostile, trusted=fastnn.SKOPS_TRUSTED)


def test_state_of_an_estimator():
    model = fastnn.MLPRegressor(hidden_layer_sizes=(4,), max_iter=3, random_state=0)
    with pytest.warns(UserWarning):
        model.fit(X, Y)
    for name in ("predict", "_network", "fit", 3):
        with pytest.raises(ValueError, match="must not hold"):
            fastnn.MLPRegressor().__setstate__({**model.__getstate__(), name: None})


# ---- scalers ----

def test_scaler_takes_rows_of_any_form():
    scaler = fastnn.Scaler([0.0, 0.0], [1.0, 1.0])
    rows = np.array([[1, 2], [3, 4]])
    sparse = pytest.importorskip("scipy.sparse").csr_matrix(rows)
    wide = np.repeat(rows, 2, axis=1).astype(float)[:, ::2]
    for X in (rows, rows.astype("f2"), rows.astype(">f8"), np.asfortranarray(rows, float), wide,
              rows.astype("u1"), rows.tolist(), sparse):
        for dtype in ("float32", "float64"):
            found = scaler.apply(X, dtype)
            assert found.dtype == dtype and found.tolist() == [[1, 2], [3, 4]]
    for X in (np.float64(3), rows[0], rows[None], rows[:, :1], rows.astype(complex),
              rows.astype(object), rows.astype("U3"), None):
        with pytest.raises((TypeError, ValueError), match="X"):
            scaler.apply(X, "float64")
    with pytest.raises(ValueError, match="dtype"):
        scaler.apply(rows, "int8")
    big = fastnn.Scaler(np.zeros(1000), np.ones(1000))
    assert not big.apply(np.zeros((20_000, 1000), np.uint8), "float32").any()


def test_what_is_set_on_a_scaler():
    net = fastnn.MLP((2, 1), random_state=0)
    model = fastnn.Predictor(net, scaler=fastnn.Scaler([1.0, 2.0], [3.0, 4.0], (-1, 1)))
    wide = np.array([5.0, 0.0, 6.0, 0.0])
    model.scaler.mean = wide[::2]
    model.scaler.scale = np.array([2, 3], "i1")
    model.scaler.limits = None
    wanted = fastnn.Predictor(net, scaler=fastnn.Scaler([5.0, 6.0], [2.0, 3.0])).predict(X[:, :2])
    assert model.predict(X[:, :2]).tobytes() == wanted.tobytes()
    for name, value in (("mean", [1.0]), ("mean", [1.0, np.nan]), ("mean", [[1.0, 2.0]]),
                        ("mean", None), ("mean", ["a", "b"]), ("scale", [1.0, 0.0]),
                        ("scale", [1j, 1]), ("scale", np.ones(3)), ("limits", (1, 0)),
                        ("limits", (0,)), ("limits", 3), ("limits", (np.nan, 1)),
                        ("limits", (np.inf, np.inf)), ("limits", ("a", "b"))):
        with pytest.raises((TypeError, ValueError), match=name):
            setattr(model.scaler, name, value)
    with pytest.raises(ValueError, match="read-only"):
        model.scaler.mean[0] = np.nan
    assert model.predict(X[:, :2]).tobytes() == wanted.tobytes()


def test_limits_on_one_side_are_kept_in_files(tmp_path):
    net = fastnn.MLP((2, 1), random_state=0)
    for limits in ((-np.inf, 0.1), (None, 0.1), (-0.1, np.inf), (None, None)):
        model = fastnn.Predictor(net, scaler=fastnn.Scaler([0.0, 0.0], [1.0, 1.0], limits))
        model.save(tmp_path / "model")
        for other in (fastnn.load(tmp_path / "model"), pickle.loads(pickle.dumps(model))):
            assert other.scaler.limits == model.scaler.limits
            assert other.predict(X[:, :2]).tobytes() == model.predict(X[:, :2]).tobytes()


# ---- predictors and estimators ----

def test_predictor_cannot_be_changed(net):
    model = fastnn.Predictor(net, feature_names=["a", "b", "c"])
    for name in ("net", "task", "classes_", "feature_names_in_", "n_features_in_", "scaler",
                 "table"):
        with pytest.raises(AttributeError):
            setattr(model, name, None)
    for settings in ({"scaler": 3}, {"table": 3}, {"scaler": (0, 1)}):
        with pytest.raises(TypeError):
            fastnn.Predictor(net, **settings)
    with pytest.raises(TypeError, match="net"):
        fastnn.Predictor(3)
    with pytest.raises(ValueError, match="state"):
        model.__setstate__({"net": net})
    assert pickle.loads(pickle.dumps(model)).predict(X).tobytes() == model.predict(X).tobytes()


@pytest.mark.filterwarnings("ignore")
def test_what_is_set_on_an_estimator():
    y = np.arange(12) % 3
    model = fastnn.MLPClassifier((4,), max_iter=3, random_state=0).fit(X, y)
    wanted, coefs, biases = model.predict(X), model.coefs_, model.intercepts_
    for value in (0, -1, 2**31, 2.5, "2"):
        model.n_threads = value
        with pytest.raises((TypeError, ValueError), match="n_threads"):
            model.predict(X)
    model.n_threads = None
    for value in (None, 3, [], coefs[:1], [*coefs, coefs[1]], [coefs[0].T, coefs[1]],
                  [coefs[0][:2], coefs[1]], [coefs[0], coefs[1][:, :1]], [coefs[0], 0.0],
                  [coefs[0].astype(complex), coefs[1]], [coefs[0].astype("U9"), coefs[1]],
                  [coefs[0].astype(object), coefs[1]], [coefs[0], coefs[1][None]]):
        model.coefs_ = value
        with pytest.raises((TypeError, ValueError)):
            model.predict(X)
    model.coefs_ = coefs
    for value in (None, 3, [], biases[:1], [biases[0], biases[1][:2]], [biases[0], 0.0]):
        model.intercepts_ = value
        with pytest.raises((TypeError, ValueError)):
            model.predict(X)
    model.intercepts_ = biases
    model.classes_ = model.classes_[:1]
    with pytest.raises(ValueError, match="classes_"):
        model.predict(X)
    model.classes_ = np.arange(3)
    assert model.predict(X).tolist() == wanted.tolist()


@pytest.mark.filterwarnings("ignore")
def test_settings_between_two_calls_of_partial_fit():
    """A batch of no rows was a division by zero."""
    y = np.arange(12) % 3
    model = fastnn.MLPClassifier((4,), random_state=0).partial_fit(X, y, classes=[0, 1, 2])
    for name, value in (("batch_size", 0), ("batch_size", False), ("alpha", -1), ("beta_1", 2)):
        before = getattr(model, name)
        setattr(model, name, value)
        with pytest.raises(ValueError, match=name):
            model.partial_fit(X, y)
        setattr(model, name, before)
    model.partial_fit(X, y)


# ---- arguments ----

def test_out_must_not_be_the_parameters():
    net = fastnn.MLP((3, 3, 3), random_state=0)
    before = net.parameters.copy()
    labels = fastnn.MLP((3, 1), output="sigmoid", random_state=0)
    model = fastnn.Predictor(labels, "classification", classes=[0, 1])
    sparse = pytest.importorskip("scipy.sparse").csr_matrix(X[:3])
    for call, out in ((net.predict, net.weights[0]), (net.predict, net.weights[1]),
                      (fastnn.Predictor(net).predict, net.weights[0])):
        for rows in (X[:3], X[:3].astype(float), sparse):
            with pytest.raises(ValueError, match="parameters"):
                call(rows, out=out)
    with pytest.raises(ValueError, match="parameters"):
        model.predict_proba(X[:1], out=labels.parameters[:2].reshape(1, 2))
    assert net.parameters.tobytes() == before.tobytes()


def test_max_bytes(net, tmp_path):
    path = tmp_path / "model"
    net.save(path)
    for value in (None, "1", 1.5, True):
        with pytest.raises(TypeError, match="max_bytes"):
            fastnn.load(path, max_bytes=value)
    with pytest.raises(ValueError, match="max_bytes"):
        fastnn.load(path, max_bytes=0)
    with pytest.raises(fastnn.ModelFormatError, match="max_bytes=20"):
        fastnn.load(path, max_bytes=20)
    for value in ("1", 1.5, True):
        with pytest.raises(TypeError, match="max_bytes"):
            net.save(path, max_bytes=value)


@each("name", ["coefs_", "intercepts_"])
@each("kind", ["MLPClassifier", "MLPRegressor"])
def test_weights_of_estimators_that_are_none(kind, name):
    """Each was an error of what came upon it, also where `partial_fit` goes on the short way."""
    exceptions = pytest.importorskip("sklearn.exceptions")
    y = np.arange(12) % 2
    model = getattr(fastnn, kind)(hidden_layer_sizes=(3,), batch_size=12, random_state=0)
    for _ in range(2):
        model.partial_fit(X, y, **({"classes": [0, 1]} if kind == "MLPClassifier" else {}))
    for value in (None, 5, "text", [], [None], ["a"]):
        for action in (lambda est: est.predict(X), lambda est: est.score(X, y),
                       lambda est: est.partial_fit(X, y)):
            odd = model._twin()
            setattr(odd, name, value)
            with pytest.raises((TypeError, ValueError), match=rf"^{name}(\[0\])?( |=)"):
                action(odd)
    odd = model._twin()
    delattr(odd, name)
    for action in (lambda: odd.predict(X), lambda: odd.score(X, y),
                   lambda: odd.save(io.BytesIO())):
        with pytest.raises(exceptions.NotFittedError):
            action()
    odd = model._twin()
    odd.norm_parameters_ = 5
    with pytest.raises(TypeError, match="norm_parameters_=int must be a list of arrays"):
        odd.predict(X)
