"""ONNX files, checked by onnx and run by ONNX Runtime."""

import json
import sys

import numpy as np
import pytest
from each import each
from export_cases import TASKS, assert_close, dtype_for, make, rows_for

import fastnn
from fastnn import MLP, Activation, Dense, Predictor, export
from fastnn.core._kernels import ACTIVATIONS

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
_onnx = pytest.importorskip("fastnn.export._onnx")


def session(data):
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def exported(model, path, **options):
    """A session on the file, which onnx has checked."""
    export.onnx(model, path, **options)
    onnx.checker.check_model(str(path), full_check=True)
    return session(str(path))


def newest_opset():
    """The newest that both know; Runtime lags behind."""
    for opset in range(onnx.defs.onnx_opset_version(), _onnx.MIN_OPSET, -1):
        proto = _onnx.build(Predictor(MLP((1, 1), random_state=0)), opset)
        try:
            session(proto.SerializeToString())
        except runtime.capi.onnxruntime_pybind11_state.Fail:
            continue
        return opset
    return _onnx.MIN_OPSET


def numbered(predictor, labels, nocl):
    """Labels as ONNX has them."""
    if predictor.task == "multilabel":
        return labels
    if nocl:
        order = {label: i for i, label in enumerate(predictor.classes_.tolist())}
        return np.array([order[label] for label in labels.tolist()], np.int64)
    return labels.astype(object if labels.dtype.kind == "U" else np.int64)


def compare(predictor, ran, n_rows, zipmap=False, nocl=False):
    """Outputs for a batch beside the predictions."""
    X = rows_for(predictor, n_rows)
    found = ran.run(None, {ran.get_inputs()[0].name: X})
    if predictor.classes_ is None:
        (output,) = found
        assert output.dtype == predictor.net.dtype
        expected = predictor.predict(X) if n_rows else np.empty((0, predictor.net.sizes[-1]))
        assert_close(output, expected.reshape(n_rows, predictor.net.sizes[-1]))
        return
    label, *rest = found
    n_columns = max(predictor.net.sizes[-1], 1 if predictor.task == "multilabel" else 2)
    if n_rows:
        probability, expected = predictor.predict_proba(X), predictor.predict(X)
    else:
        probability = np.empty((0, n_columns))
        expected = predictor.classes_[:0]
        if predictor.task == "multilabel":
            expected = np.empty(probability.shape, np.int64)
    expected = numbered(predictor, expected, nocl)
    assert label.dtype == expected.dtype and label.shape == expected.shape
    assert (label == expected).all()
    if zipmap is True:
        keys = list(range(n_columns)) if nocl else predictor.classes_.tolist()
        assert all({*row} == {*keys} for row in rest[0])
        values = [[row[key] for key in keys] for row in rest[0]]
        rest = [np.reshape(values, (n_rows, n_columns))]
    elif zipmap == "columns":
        keys = list(range(n_columns)) if nocl else predictor.classes_.tolist()
        names = [f"s{key}" if isinstance(key, str) else f"i{int(key)}" for key in keys]
        assert [o.name for o in ran.get_outputs()] == ["output_label", *names]
        rest = [np.stack(rest, axis=1)]
    assert_close(rest[0], probability)


def test_every_activation_has_a_row():
    assert {*_onnx.ACTIVATIONS} == {*ACTIVATIONS, "softmax"}


@pytest.mark.parametrize("task", TASKS)
@each("activation", ACTIVATIONS)
def test_matrix(task, activation, tmp_path):
    """All forms of the outputs, and batches of 0, 1 and many rows."""
    dtype = dtype_for(task, activation)
    predictor = make(task, activation, dtype, scaled=activation in ("relu", "gelu"))
    forms = [(False, False)]
    if predictor.classes_ is not None:
        forms.append((False, True))
        if task != "one class":
            forms += [(zipmap, nocl) for zipmap in (True, "columns") for nocl in (False, True)]
    for zipmap, nocl in forms:
        ran = exported(predictor, tmp_path / "m.onnx", zipmap=zipmap, nocl=nocl)
        for n_rows in (0, 1, 77):
            compare(predictor, ran, n_rows, zipmap, nocl)


@pytest.mark.parametrize("opset", range(_onnx.MIN_OPSET, newest_opset() + 1))
def test_opsets(opset, dtype, tmp_path):
    names = tuple(ACTIVATIONS)
    sizes = (4, *[8] * len(names), 3)
    predictor = Predictor(MLP(sizes, names, "softmax", dtype=dtype, random_state=0),
                          "classification", classes=["a", "b", "c"])
    ran = exported(predictor, tmp_path / "m.onnx", opset=opset)
    proto = onnx.load(tmp_path / "m.onnx")
    assert [(o.domain, o.version) for o in proto.opset_import] == [("", opset)]
    X = rows_for(predictor, 50)
    assert_close(ran.run(None, {"X": X})[1], predictor.predict_proba(X))


@each("sizes", [(1, 1), (3, 2), (200, 300, 100, 10)])
def test_shapes(sizes, dtype, tmp_path):
    net = MLP(sizes, output="softmax", dtype=dtype, random_state=0)
    ran = exported(net, tmp_path / "m.onnx")
    X = rows_for(Predictor(net), 500)
    assert_close(ran.run(["output"], {"X": X})[0], net.predict(X))


def test_activations_behind_each_other(dtype, tmp_path):
    """A Relu and a Clip behind it were a file that ONNX Runtime did not load, in float64."""
    names = [name for name in ACTIVATIONS if name not in ("exp", "step")]
    for first in ("relu", "hard_tanh", "leaky_relu", "softplus"):
        for second in names:
            net = MLP.of([Dense(6, first), Activation(second), Dense(2)], n_in=4, dtype=dtype,
                         random_state=0)
            X = rows_for(Predictor(net), 20) * 4
            found, = exported(net, tmp_path / "m.onnx").run(None, {"X": X})
            assert_close(found, net.predict(X))


def test_nan_stays(dtype, tmp_path):
    for name in ACTIVATIONS:
        ran = exported(MLP((3, 4, 2), name, dtype=dtype, random_state=0), tmp_path / "m.onnx")
        X = np.full((2, 3), np.nan, dtype)
        assert np.isnan(ran.run(None, {"X": X})[0]).all(), name


def test_the_file_says_what_it_is(tmp_path):
    predictor = Predictor(MLP((2, 3), random_state=0), "regression",
                          feature_names=["größe", "age"])
    ran = exported(predictor, tmp_path / "m.onnx", input_name="features")
    proto = onnx.load(tmp_path / "m.onnx")
    assert (proto.producer_name, proto.producer_version) == ("fastnn", fastnn.__version__)
    properties = {p.key: p.value for p in proto.metadata_props}
    assert json.loads(properties["feature_names"]) == ["größe", "age"]
    assert properties["task"] == "regression"
    (value,), (output,) = ran.get_inputs(), ran.get_outputs()
    assert (value.name, value.shape) == ("features", ["n_rows", 2])
    assert (output.name, output.shape) == ("output", ["n_rows", 3])


def test_names_of_parameters_do_not_collide_with_the_input(tmp_path):
    for name in ("W0", "gemm", "Gemm_node", "b0"):
        net = MLP((2, 3, 1), random_state=0)
        ran = exported(net, tmp_path / "m.onnx", input_name=name)
        X = rows_for(Predictor(net), 5)
        assert_close(ran.run(None, {name: X})[0], net.predict(X))


@each("classes, expected", [
    ([False, True], [0, 1]), ([1.0, 2.0], [1, 2]), (np.array([3, 9], np.uint8), [3, 9]),
    (["a", "b"], ["a", "b"]), (np.array(["é", "b"], object), ["é", "b"]),
])
def test_labels(classes, expected, tmp_path):
    net = MLP((2, 2), output="softmax", random_state=0)
    predictor = Predictor(net, "classification", classes=classes)
    X = rows_for(predictor, 20)
    label = exported(predictor, tmp_path / "m.onnx").run(["label"], {"X": X})[0]
    assert label.tolist() == np.array(expected)[net.predict(X).argmax(axis=1)].tolist()
    assert len(set(label.tolist())) == 2


@pytest.mark.parametrize("classes", [[0.5, 1.5], [np.nan, 1.0], [b"a", b"b"],
                                     np.array([2**63, 1], np.uint64),
                                     np.array([1, "a"], object)])
def test_labels_without_counterpart(classes, tmp_path):
    predictor = Predictor(MLP((2, 2), output="softmax", random_state=0), "classification",
                          classes=classes)
    with pytest.raises(ValueError, match="nocl=True"):
        export.onnx(predictor, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
    ran = exported(predictor, tmp_path / "m.onnx", nocl=True)
    X = rows_for(predictor, 20)
    assert (ran.run(["label"], {"X": X})[0] == predictor.net.predict(X).argmax(axis=1)).all()


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_estimators(tmp_path):
    estimators = pytest.importorskip("fastnn.estimators")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 6))
    kinds = np.array(["low", "mid", "top"])[np.digitize(X[:, 0], [-0.5, 0.5])]
    for y in (X[:, 0] > 0, kinds, (X[:, :3] > 0).astype(int)):
        model = estimators.MLPClassifier((8,), random_state=0, max_iter=20).fit(X, y)
        label, probability = exported(model, tmp_path / "m.onnx").run(None, {"X": X})
        assert_close(probability, model.predict_proba(X))
        assert (label == model.predict(X)).all()
    for y in (X[:, 0], np.abs(X[:, :2])):
        model = estimators.MLPRegressor(
            "poisson" if y.ndim == 2 else "squared_error", (8,), random_state=0, max_iter=20,
            activation="gelu").fit(X.astype("float32"), y)
        (output,) = exported(model, tmp_path / "m.onnx").run(None, {"X": X.astype("float32")})
        assert_close(output, model.predict(X).reshape(output.shape))
    from sklearn.exceptions import NotFittedError
    with pytest.raises(NotFittedError):
        export.onnx(estimators.MLPRegressor(), tmp_path / "m.onnx")


@pytest.mark.parametrize("options, message", [
    ({"opset": 12}, r"opset=12 must be from 13 to \d+"),
    ({"opset": 1000}, r"opset=1000 must be from 13 to \d+"),
    ({"zipmap": True}, "not a classifier"), ({"nocl": True}, "not a classifier"),
    ({"zipmap": "dict"}, "zipmap='dict'"), ({"input_name": ""}, "input_name=''"),
    ({"input_name": "output"}, "that of an output"),
    ({"input_name": "\ud800"}, "half of a character"),
])
def test_wrong_options(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        export.onnx(MLP((2, 1), random_state=0), tmp_path / "m.onnx", **options)
    assert not list(tmp_path.iterdir())


def test_dicts_need_two_classes(tmp_path):
    with pytest.raises(ValueError, match="one class"):
        export.onnx(make("one class", "relu", "float32"), tmp_path / "m.onnx", zipmap=True)


def test_weights_that_are_no_numbers(tmp_path):
    """As C headers and model files refuse them: the file that was there stays."""
    net = MLP((3, 4, 2), random_state=0)
    export.onnx(net, tmp_path / "m.onnx")
    before = (tmp_path / "m.onnx").read_bytes()
    for value, said in ((np.nan, "NaN"), (-np.inf, "infinity")):
        net.biases[1][1] = value
        with pytest.raises(ValueError, match=f"layers.1.bias contains {said}"):
            export.onnx(net, tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == before


def test_too_large_for_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(_onnx, "MAX_BYTES", _onnx.MARGIN + 4 * 2000)
    export.onnx(MLP((999, 2), random_state=0), tmp_path / "small.onnx")
    with pytest.raises(ValueError, match="2 GiB"):
        export.onnx(MLP((1000, 2), random_state=0), tmp_path / "m.onnx")


def test_an_activation_without_row(tmp_path, monkeypatch):
    monkeypatch.delitem(_onnx.ACTIVATIONS, "silu")
    with pytest.raises(ValueError, match="activation 'silu' cannot be exported"):
        export.onnx(MLP((2, 2, 1), "silu", random_state=0), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_without_onnx(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.delitem(sys.modules, "fastnn.export._onnx")
    monkeypatch.delattr(export, "_onnx")
    with pytest.raises(ImportError, match=r'pip install "fastnn-mlp\[onnx\]"'):
        export.onnx(MLP((2, 1), random_state=0), tmp_path / "m.onnx")


def test_imports_nothing_until_used(run_python):
    done = run_python("import sys, fastnn.export\n"
                      "assert not {'onnx', 'skl2onnx', 'sklearn', 'scipy'} & {*sys.modules}")
    assert done.returncode == 0, done.stderr
