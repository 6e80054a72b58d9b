"""Estimators with `members=`: ensembles that share their hidden layers."""

import pickle

import numpy as np
import pytest
import scipy.sparse
from each import each
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.preprocessing import StandardScaler

import fastnn
from fastnn import MLPClassifier, MLPRegressor, losses

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4))
KINDS = {
    "two classes": (MLPClassifier, np.array(["a", "b"])[(X[:, 0] > 0).astype(int)], {}),
    "classes": (MLPClassifier, X[:, :3].argmax(axis=1), {}),
    "labels": (MLPClassifier, (X[:, :3] > 0).astype(int), {}),
    "hinge": (MLPClassifier, X[:, :3].argmax(axis=1), {"loss": "hinge"}),
    "weighted": (MLPClassifier, X[:, :3].argmax(axis=1), {"class_weight": "balanced"}),
    "value": (MLPRegressor, X[:, 0] * X[:, 1], {}),
    "values": (MLPRegressor, X[:, :2] ** 2, {}),
    "quantiles": (MLPRegressor, X[:, 0], {"loss": losses.Quantile([0.1, 0.9])}),
    "counts": (MLPRegressor, np.abs(X[:, 0]).round(), {"loss": "poisson"}),
}
QUICK = {"hidden_layer_sizes": (7, 6), "max_iter": 4, "members": 5, "random_state": 0,
         "learning_rate_init": 0.02, "batch_size": 30, "alpha": 0.1}
pytestmark = [pytest.mark.filterwarnings("ignore:Stochastic Optimizer"),
              pytest.mark.filterwarnings("ignore:lbfgs failed to converge")]


def model(kind="value", **more):
    cls, _, own = KINDS[kind]
    return cls(**{**QUICK, **own, **more})


def arrays_of(est):
    return [*est.coefs_, *est.intercepts_, *est.norm_parameters_]


def same(one, two):
    return all(np.array_equal(a, b) for a, b in zip(arrays_of(one), arrays_of(two), strict=True))


def twin_outputs(est, X):
    """The mean of what each member says, member by member in NumPy; relu between the layers."""
    scale, found = est.norm_parameters_[0], []
    for k in range(est.members):
        h = X * scale[k]
        for w, b in zip(est.coefs_[:-1], est.intercepts_[:-1], strict=True):
            h = np.maximum(h @ w + b, 0)
        n = h.shape[1]
        z = h @ est.coefs_[-1][k * n:(k + 1) * n] + est.intercepts_[-1][k]
        if est.out_activation_ == "logistic":
            z = 1 / (1 + np.exp(-z))
        elif est.out_activation_ == "softmax":
            z = np.exp(z - z.max(axis=1, keepdims=True))
            z /= z.sum(axis=1, keepdims=True)
        elif est.out_activation_ == "exp":
            z = np.exp(z)
        found.append(z)
    return np.mean(found, axis=0)


def outputs(est, X):
    return est._predictor().net.predict(X)


@each("kind", KINDS)
@each("hidden", [(), (7, 6)])
def test_predictions_are_the_mean_of_the_members(kind, hidden):
    y = KINDS[kind][1]
    est = model(kind, hidden_layer_sizes=hidden).fit(X, y)
    np.testing.assert_allclose(outputs(est, X), twin_outputs(est, X), rtol=1e-12, atol=1e-12)
    assert est.coefs_[-1].shape == (5 * (hidden or (4,))[-1], est.n_outputs_)
    assert est.intercepts_[-1].shape == (5, est.n_outputs_)
    assert est.norm_parameters_[0].shape == (5, 4)
    assert len(est.predict(X)) == 90 and est.n_layers_ == len(hidden) + 2
    if kind not in ("classes", "value"):
        return
    sparse = clone(est).fit(scipy.sparse.csr_matrix(X), y)
    np.testing.assert_allclose(outputs(sparse, X), outputs(est, X), rtol=1e-9, atol=1e-9)


def test_training_is_that_of_the_network():
    """The same steps as `MLP`'s on the same rows; scikit-learn's step has the sum over outputs."""
    est = model(max_iter=1, shuffle=False, solver="sgd", momentum=0.0).fit(X, KINDS["value"][1])
    net = fastnn.MLP((4, 7, 6, 1), members=5, dtype="float64", random_state=0)
    start = model(max_iter=1, shuffle=False, solver="sgd", momentum=0.0, learning_rate_init=1e-300)
    start.fit(X, KINDS["value"][1])
    net.set_weights(start._predictor().net.get_weights())
    for rows in (slice(0, 30), slice(30, 60), slice(60, 90)):
        y = KINDS["value"][1][rows]
        net.fit(X[rows], y, epochs=1, batch_size=30, shuffle=False, alpha=0.1,
                optimizer=fastnn.SGD(0.02, momentum=0.0))
    np.testing.assert_allclose(est._predictor().net.parameters, net.parameters, atol=1e-14)


def test_members_differ_and_off_is_as_before():
    est = model().fit(X, KINDS["value"][1])
    signs = est.norm_parameters_[0].round()
    assert len({tuple(row) for row in signs.tolist()}) > 1
    off = model(members=None).fit(X, KINDS["value"][1])
    assert "norm_parameters_" not in vars(off) and off.intercepts_[-1].shape == (1,)


@each("solver", ["adam", "sgd", "muon", "es", "lbfgs"])
def test_solvers_seeds_and_threads(solver):
    y = KINDS["classes"][1]
    est = model("classes", solver=solver, n_threads=1).fit(X, y)
    for other in (model("classes", solver=solver, n_threads=2).fit(X, y), clone(est).fit(X, y)):
        assert same(est, other)
    assert not same(est, clone(est).set_params(random_state=1).fit(X, y))


@each("settings", [{"norm": "layer"}, {"norm": "batch"}, {"residual": True}, {"dropout": 0.2},
                   {"early_stopping": True}, {"mixup": 0.3}, {"warm_start": True}])
def test_other_parameters_beside(settings):
    y = KINDS["value"][1]
    est = model(hidden_layer_sizes=(6, 6), **settings).fit(X, y)
    if "early_stopping" in settings:
        assert len(est.validation_scores_) == est.n_iter_
    if "warm_start" in settings:
        before = est.coefs_[0].copy()
        est.fit(X, y)
        assert not np.array_equal(before, est.coefs_[0]) and len(est.loss_curve_) == 8
    np.testing.assert_array_equal(clone(est).fit(X, y).predict(X),
                                  model(hidden_layer_sizes=(6, 6), **settings).fit(X, y).predict(X))


@each("kind", ["classes", "value", "quantiles"])
def test_partial_fit_goes_its_short_way_to_the_same_bytes(kind):
    y = KINDS[kind][1]
    classes = {"classes": np.unique(y)} if kind == "classes" else {}
    short, long = model(kind, batch_size="auto"), model(kind, batch_size="auto")
    for i in range(6):
        rows = slice(10 * i, 10 * i + 10)
        short.partial_fit(X[rows], y[rows], **classes)
        assert short._stepping is not None
        long.partial_fit(X[rows], y[rows], **classes)
        long._stepping = None
    assert same(short, long)


@each("kind", KINDS)
def test_files_and_pickles(kind, tmp_path):
    est = model(kind, norm="layer").fit(X, KINDS[kind][1])
    est.save(tmp_path / "model")
    loaded = fastnn.load(tmp_path / "model")
    assert type(loaded) is type(est) and loaded.members == 5
    for other in (loaded, pickle.loads(pickle.dumps(est))):
        assert same(est, other)
        assert other.predict(X).tobytes() == est.predict(X).tobytes()
    if kind in ("classes", "values"):
        assert same(other.set_params(warm_start=True).fit(X, KINDS[kind][1]),
                    pickle.loads(pickle.dumps(est)).set_params(warm_start=True).fit(
                        X, KINDS[kind][1]))


def test_checkpoints(tmp_path):
    y = KINDS["classes"][1]
    model("classes", max_iter=2).fit(X, y, checkpoint=tmp_path / "c")
    parts = model("classes").fit(X, y, checkpoint=tmp_path / "c")
    assert same(parts, model("classes").fit(X, y))
    with pytest.raises(fastnn.ModelFormatError, match="members"):
        model("classes", members=6).fit(X, y, checkpoint=tmp_path / "c")


def test_scales_of_a_pipeline_go_into_the_file(tmp_path):
    y = 100 + 7 * KINDS["value"][1]
    est = TransformedTargetRegressor(model(), transformer=StandardScaler()).fit(X, y)
    est.regressor_.save(tmp_path / "model", est)
    found = fastnn.load(tmp_path / "model").predict(X)
    np.testing.assert_allclose(found, est.predict(X), rtol=1e-12)


def test_exports(tmp_path):
    est = model("classes").fit(X, KINDS["classes"][1])
    fastnn.export.c_header(est, tmp_path / "model.h")
    assert (tmp_path / "model.h").stat().st_size > 1000
    onnxruntime = pytest.importorskip("onnxruntime")
    fastnn.export.onnx(est, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    name = session.get_inputs()[0].name
    labels, found = session.run(None, {name: X})
    np.testing.assert_allclose(found, est.predict_proba(X), rtol=1e-9)
    np.testing.assert_array_equal(np.ravel(labels), est.predict(X))


@each("settings, error, message", [
    ({"members": 0}, ValueError, "'members' parameter .*MLPRegressor"),
    ({"members": 2.0}, ValueError, "'members' parameter"),
    ({"members": "all"}, ValueError, "'members' parameter"),
])
def test_bad_input(settings, error, message):
    with pytest.raises(error, match=message):
        model(**settings).fit(X, KINDS["value"][1])


def test_what_has_changed_since_the_fit_is_named():
    est = model().fit(X, KINDS["value"][1])
    for members in (None, 4):
        with pytest.raises(ValueError, match=r"intercepts_\[2\]|coefs_\[2\]"):
            clone(est).fit(X, KINDS["value"][1]).set_params(members=members).predict(X)
    with pytest.raises(ValueError, match=r"members=5; scikit-learn has neither"):
        fastnn.to_sklearn(est)
