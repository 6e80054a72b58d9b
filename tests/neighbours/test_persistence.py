"""Models through pickle, joblib, copy, skops and MLflow: the same predictions, to the bit."""

import copy
import pickle

import numpy as np
import pytest
from neighbour_data import VALUES, X, Y, classifier, network, regressor, said

import fastnn

MODELS = {
    "classifier": classifier,
    "sgd": lambda: classifier(solver="sgd", early_stopping=True),
    "regressor": regressor,
    "lbfgs": lambda: regressor(solver="lbfgs"),
    "MLP": network,
    "float32": lambda: classifier(dtype="float32"),
}


@pytest.fixture(params=MODELS)
def model(request):
    return MODELS[request.param]()


def refit(model):
    if isinstance(model, fastnn.MLP):
        model.fit(X, np.arange(60) % 3, epochs=1)
    else:
        model.fit(X, Y if isinstance(model, fastnn.MLPClassifier) else VALUES)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("through", [
    copy.deepcopy, copy.copy, *(
        lambda model, protocol=protocol: pickle.loads(pickle.dumps(model, protocol))
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1))])
def test_copy_and_pickle(through, model):
    other = through(model)
    assert said(other) == said(model)
    before = said(model)
    refit(other)
    assert said(model) == before


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mapped", [None, "r"])
def test_joblib(mapped, model, tmp_path):
    joblib = pytest.importorskip("joblib")
    joblib.dump(model, tmp_path / "m.joblib")
    other = joblib.load(tmp_path / "m.joblib", mmap_mode=mapped)
    assert said(other) == said(model)
    refit(other)


def test_skops(model):
    io = pytest.importorskip("skops.io")
    data = io.dumps(model)
    assert set(io.get_untrusted_types(data=data)) <= set(fastnn.SKOPS_TRUSTED)
    assert said(io.loads(data, trusted=fastnn.SKOPS_TRUSTED)) == said(model)


@pytest.mark.filterwarnings("ignore:Stochastic")
def test_skops_knows_what_parameters_may_be():
    """All losses, optimizers and schedules without functions of the user's."""
    io = pytest.importorskip("skops.io")
    functions = {"Custom", "ByStep", "ByEpoch", "Loss", "Optimizer", "Schedule"}
    made = [fastnn.LBFGS(), fastnn.EvolutionStrategy()]
    for module in (fastnn.losses, fastnn.optimizers, fastnn.schedules):
        made += [getattr(module, name)(*["adam"] * (name == "EMA"))
                 for name in module.__all__ if name not in functions]
    made += [fastnn.Adam(fastnn.schedules.Cosine(0.1), layers={0: {"learning_rate": 0.1}}),
             fastnn.losses.Quantile([0.1, 0.9]), fastnn.EMA(fastnn.Muon(0.1), decay=0.5)]
    names = {f"{type(one).__module__}.{type(one).__qualname__}" for one in made}
    assert names == {name for name in fastnn.SKOPS_TRUSTED if ".training." in name}
    for one in made:
        data = io.dumps({"given": one})
        assert set(io.get_untrusted_types(data=data)) <= set(fastnn.SKOPS_TRUSTED), one
        assert io.loads(data, trusted=fastnn.SKOPS_TRUSTED)["given"] == one
    model = fastnn.MLPRegressor(
        hidden_layer_sizes=(6, 6), loss=fastnn.losses.Huber(0.5), max_iter=2, random_state=0,
        solver=fastnn.EMA(fastnn.Muon(0.01))).fit(np.eye(9), np.arange(9))
    other = io.loads(io.dumps(model), trusted=fastnn.SKOPS_TRUSTED)
    assert other.predict(np.eye(9)).tobytes() == model.predict(np.eye(9)).tobytes()
    assert other.fit(np.eye(9), np.arange(9)).predict(np.eye(9)).tobytes() == (
        model.predict(np.eye(9)).tobytes())


@pytest.mark.parametrize("settings", [
    # whose requirements are given: to find them MLflow loads the model in another process
    {"skops_trusted_types": fastnn.SKOPS_TRUSTED, "pip_requirements": ["scikit-learn"]},
    pytest.param({"skops_trusted_types": fastnn.SKOPS_TRUSTED}, marks=pytest.mark.slow),
    pytest.param({"serialization_format": "cloudpickle"}, marks=pytest.mark.slow)])
def test_mlflow(settings, tmp_path):
    """The flavour of scikit-learn; its default format asks for what skops may trust."""
    pytest.importorskip("mlflow")
    import mlflow.sklearn

    model, path = classifier(), str(tmp_path / "model")
    mlflow.sklearn.save_model(model, path, **settings)
    assert said(mlflow.sklearn.load_model(path)) == said(model)
    np.testing.assert_array_equal(mlflow.pyfunc.load_model(path).predict(X), model.predict(X))


def odd_values(value, place=""):
    """What is neither array, number, string nor a container of these."""
    if isinstance(value, dict):
        for key, item in value.items():
            assert isinstance(key, str)
            yield from odd_values(item, f"{place}.{key}")
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from odd_values(item, f"{place}[{i}]")
    elif isinstance(value, np.ndarray):
        if value.dtype == object and not all(isinstance(item, str) for item in value):
            yield place, value.dtype
    elif not isinstance(value, (int, float, str, bool, type(None))):
        yield place, type(value)


def test_fitted_state_is_plain(model):
    assert list(odd_values(model.__getstate__())) == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("kind", ["two", "names", "labels", "sparse labels", "value", "values"])
def test_state_of_every_solver_is_plain(solver, kind):
    sparse = pytest.importorskip("scipy.sparse")
    labels = (X[:, :3] > 0).astype(int)
    target = {"two": X[:, 0] > 0, "names": Y, "labels": labels, "value": VALUES, "values": X[:, :2],
              "sparse labels": sparse.csr_matrix(labels)}[kind]
    make = fastnn.MLPRegressor if kind.startswith("value") else fastnn.MLPClassifier
    for settings in ({}, {"dtype": "float32"}, {"early_stopping": True}):
        model = make(hidden_layer_sizes=(5,), solver=solver, max_iter=2, **settings).fit(X, target)
        assert list(odd_values(model.__getstate__())) == []
        if solver != "lbfgs" and "early_stopping" not in settings:
            assert list(odd_values(model.partial_fit(X, target).__getstate__())) == []
