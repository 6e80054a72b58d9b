"""Pipelines that hold our estimators, converted by skl2onnx and run by ONNX Runtime."""

import warnings

import numpy as np
import pytest
from each import each
from export_cases import assert_close

pytest.importorskip("skl2onnx")
runtime = pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")
pd = pytest.importorskip("pandas")

from skl2onnx import __max_supported_opset__ as NEWEST  # noqa: E402
from skl2onnx import to_onnx  # noqa: E402
from skl2onnx.common.data_types import (  # noqa: E402
    DoubleTensorType,
    FloatTensorType,
    Int64TensorType,
    StringTensorType,
)
from sklearn.compose import make_column_transformer  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import OneHotEncoder, StandardScaler  # noqa: E402

from fastnn import MLPClassifier, MLPRegressor, export  # noqa: E402
from fastnn.core._kernels import ACTIVATIONS  # noqa: E402

OPSETS = (13, 17, NEWEST)
TYPES = {"float32": FloatTensorType, "float64": DoubleTensorType}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4))
TARGETS = {
    "binary": X[:, 0] > 0,
    "multiclass": np.array(["low", "mid", "top"])[np.digitize(X[:, 0], [-0.5, 0.5])],
    "floats": np.digitize(X[:, 0], [-0.5, 0.5]) + 1.0,
    "multilabel": (X[:, :3] > 0).astype(int),
    "one target": X[:, 0],
    "targets": X[:, :2] * 3,
}


@pytest.fixture(autouse=True, scope="module")
def registered():
    export.register_skl2onnx()
    export.register_skl2onnx()  # twice does no harm
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def fitted(task, activation="tanh", dtype="float32"):
    kind = MLPRegressor if "target" in task else MLPClassifier
    # exponentials of exponentials make many bits of the last one
    sizes = (7,) if activation == "exp" else (7, 5)
    model = kind(hidden_layer_sizes=sizes, activation=activation, dtype=dtype, random_state=0,
                 max_iter=8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make_pipeline(StandardScaler(), model).fit(X, TARGETS[task])


def converted(model, types, opset=17, **options):
    proto = to_onnx(model, initial_types=types, target_opset=opset, options=options or None)
    onnx.checker.check_model(proto, full_check=True)
    settings = runtime.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.log_severity_level = 4
    return runtime.InferenceSession(proto.SerializeToString(), settings,
                                    providers=["CPUExecutionProvider"])


@each("opset", OPSETS)
@pytest.mark.parametrize("dtype, given", [
    (dtype, given) if dtype == given else pytest.param(dtype, given, marks=pytest.mark.slow)
    for dtype in TYPES for given in TYPES])
@each("activation", ACTIVATIONS)
def test_activations(activation, dtype, given, opset):
    model = fitted("one target", activation, dtype)[-1]  # a scaler would round in float32
    ran = converted(model, [("X", TYPES[given]([None, 4]))], opset)
    rows = X.astype(given)
    for n_rows in (0, 1, len(rows)):
        (found,) = ran.run(None, {"X": rows[:n_rows]})
        assert found.dtype == given and found.shape == (len(rows[:n_rows]), 1)
        if len(found):
            assert_close(found[:, 0], model.predict(rows[:n_rows]))


@each("given", TYPES)
@pytest.mark.parametrize("dtype", TYPES)
@each("zipmap", [True, False, "columns"])
@each("nocl", [False, True])
@pytest.mark.parametrize("task", ["binary", "multiclass", "floats", "multilabel"])
def test_classifiers(task, nocl, zipmap, dtype, given):
    pipe = fitted(task, dtype=dtype)
    options = {id(pipe[-1]): {"zipmap": zipmap, "nocl": nocl}}
    types = [("X", TYPES[given]([None, 4]))]
    if zipmap == "columns" and nocl:
        with pytest.raises(ValueError, match="nocl=True must go with"):
            to_onnx(pipe, initial_types=types, target_opset=17, options=options)
        return
    proto = to_onnx(pipe, initial_types=types, target_opset=17, options=options)
    ran = runtime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    classes, n_columns = pipe.classes_.tolist(), len(pipe.classes_)
    if nocl:
        classes = list(range(n_columns))
    for n_rows in (0, 1, len(X)):
        rows = X[:n_rows].astype(given)
        label, *rest = ran.run(None, {"X": rows})
        assert label.shape == ((n_rows, n_columns) if task == "multilabel" else (n_rows,))
        if zipmap is True:
            values = [[row[key] for key in classes] for row in rest[0]]
            rest = [np.reshape(values, (n_rows, n_columns))]
        elif zipmap == "columns":
            assert len(rest) == n_columns
            rest = [np.stack(rest, axis=1)]
        else:
            assert rest[0].dtype == given
        assert rest[0].shape == (n_rows, n_columns)
        if n_rows:
            expected = pipe.predict(rows)
            if nocl and task != "multilabel":
                expected = np.searchsorted(pipe.classes_, expected)
            assert (label == expected).all()
            assert_close(rest[0], pipe.predict_proba(rows))


@pytest.mark.parametrize("task", ["one target", "targets"])
def test_regressors_alone_take_whole_numbers(task):
    model = fitted(task)[-1]
    ran = converted(model, [("X", Int64TensorType([None, 4]))])
    rows = np.arange(12).reshape(3, 4)
    (found,) = ran.run(None, {"X": rows})
    assert found.dtype == np.float32
    assert_close(found, model.predict(rows.astype("float32")).reshape(found.shape))


@each("opset", OPSETS)
@each("classifies", [True, False])
def test_columns_of_a_data_frame(classifies, opset):
    """ColumnTransformer, OneHotEncoder and StandardScaler before the estimator."""
    frame = pd.DataFrame({"age": RNG.normal(40, 9, 90).astype("float32"),
                          "income": RNG.gamma(3, 900, 90).astype("float32"),
                          "town": RNG.choice(["Ulm", "Bonn", "Köln"], 90)})
    prepare = make_column_transformer((StandardScaler(), ["age", "income"]),
                                      (OneHotEncoder(handle_unknown="ignore"), ["town"]))
    model, y = MLPRegressor(hidden_layer_sizes=(8,), max_iter=9, random_state=0), X[:, :2]
    if classifies:
        model, y = MLPClassifier((8,), max_iter=9, random_state=0), TARGETS["multiclass"]
    pipe = make_pipeline(prepare, model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe.fit(frame, y)
    types = [(name, (StringTensorType if name == "town" else FloatTensorType)([None, 1]))
             for name in frame]
    options = {id(model): {"zipmap": False}} if classifies else {}
    proto = to_onnx(pipe, initial_types=types, target_opset=opset, options=options)
    ran = runtime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    inputs = {name: frame[[name]].to_numpy(object if name == "town" else "float32")
              for name in frame}
    found = ran.run(None, inputs)
    if classifies:
        assert (found[0] == pipe.predict(frame)).all()
        assert_close(found[1], pipe.predict_proba(frame))
    else:
        assert_close(found[0], pipe.predict(frame))


def test_output_class_labels():
    pipe = fitted("multiclass")
    options = {id(pipe[-1]): {"zipmap": False, "output_class_labels": True}}
    proto = to_onnx(pipe, initial_types=[("X", FloatTensorType([None, 4]))], target_opset=17,
                    options=options)
    ran = runtime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    found = ran.run(None, {"X": X[:3].astype("float32")})
    assert found[2].tolist() == ["low", "mid", "top"]


def test_one_class():
    model = MLPClassifier((3,), max_iter=2, random_state=0).fit(X, np.full(len(X), "only"))
    types = [("X", DoubleTensorType([None, 4]))]
    with pytest.raises(ValueError, match="one class"):
        to_onnx(model, initial_types=types, target_opset=17)
    ran = converted(model, types, **{"zipmap": False})
    label, probabilities = ran.run(None, {"X": X[:5]})
    assert label.tolist() == ["only"] * 5
    assert_close(probabilities, model.predict_proba(X[:5]))


@pytest.mark.parametrize("opset, since, settings", [
    (12, 13, {"members": 2}), (10, 11, {"activation": "relu6", "dtype": "float32"}), (6, 7, {}),
    (10, 11, {"activation": "hard_tanh", "dtype": "float32"}), (7, 8, {"activation": "hard_tanh"}),
    (7, 8, {"activation": "leaky_relu"})])
def test_opsets_that_lack_a_node(opset, since, settings):
    """They gave graphs that no runtime takes; what they do have goes on to be written."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = MLPRegressor(hidden_layer_sizes=(3,), max_iter=2, random_state=0, **settings)
        model.fit(X, X[:, 0])
    types = [("X", FloatTensorType([None, 4]))]
    with pytest.raises(ValueError, match=f"target_opset={opset} must be at least {since}"):
        to_onnx(model, initial_types=types, target_opset=opset)
    (found,) = converted(model, types, since).run(None, {"X": X.astype("f4")})
    assert_close(found[:, 0], model.predict(X))
