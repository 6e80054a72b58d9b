"""Nothing is passed over in silence: what lies behind a mask, integers that no float holds, labels
that C cuts short. And no message is longer than who reads it."""

import numpy as np
import pytest

import fastnn
import fastnn.export
from fastnn.files import container


def masked(*shape, hidden=True):
    X = np.ma.array(np.ones(shape), mask=np.zeros(shape, bool))
    if hidden:
        X[(0,) * len(shape)] = np.ma.masked
    return X


X, Y = np.random.default_rng(0).normal(size=(30, 3)), np.arange(30) % 2
NET = fastnn.MLP((3, 4, 2), output="softmax", random_state=0)
ESTIMATORS = [fastnn.MLPClassifier((3,), max_iter=2, random_state=0),
              fastnn.MLPRegressor(hidden_layer_sizes=(3,), max_iter=2, random_state=0)]


def calls(name, value):
    """Every public way to hand it over."""
    predictor = fastnn.Predictor(NET, "classification", classes=[0, 1])
    fitted = fastnn.MLPClassifier((3,), max_iter=1, early_stopping=False).fit(X, Y)
    if name == "X":
        yield from (lambda f=f: f(value) for f in (
            NET.predict, predictor.predict, predictor.predict_proba, fitted.predict,
            fitted.predict_proba))
        yield lambda: NET.predict(value, out=np.empty((30, 2), "f"))
        yield lambda: NET.predict(list(value))
    given = {"X": X, "y": Y, "sample_weight": np.ones(30), name: value}
    for model in (NET, *ESTIMATORS):
        settings = {"epochs": 1} if model is NET else {}
        yield lambda m=model, s=settings: m.fit(given["X"], given["y"],
                                                sample_weight=given["sample_weight"], **s)
        if name != "sample_weight" and model is not NET:
            more = {"classes": [0, 1]} if model is ESTIMATORS[0] else {}
            yield lambda m=model, k=more: m.partial_fit(given["X"], given["y"], **k)
            yield lambda m=model: m.fit(X, Y, validation_data=(given["X"], given["y"]))
    yield lambda: NET.loss(given["X"], given["y"], sample_weight=given["sample_weight"])
    if name != "sample_weight":
        yield lambda: NET.deltas(given["X"], given["y"])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["X", "y", "sample_weight"])
def test_masked_arrays(name):
    shape = (30, 3) if name == "X" else (30,)
    for call in calls(name, masked(*shape)):
        with pytest.raises(ValueError, match=rf"{name} is a masked array .*\.filled\("):
            call()


@pytest.mark.filterwarnings("ignore")
def test_a_mask_that_hides_nothing():
    full = masked(30, 3, hidden=False)
    assert (NET.predict(full) == NET.predict(np.ones((30, 3)))).all()
    ESTIMATORS[0].fit(full, Y)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["X", "y", "sample_weight"])
def test_integers_of_400_digits(name):
    huge = [[10**400] * 3] * 30 if name == "X" else [10**400] * 30
    for call in calls(name, huge):
        with pytest.raises((ValueError, TypeError)):
            call()


def test_labels_that_c_cuts_short(tmp_path):
    model = fastnn.Predictor(fastnn.MLP((2, 2), output="softmax"), "classification",
                             classes=np.array(["a\0b", "a\0c"], object))
    with pytest.raises(ValueError, match=r"label 'a\\x00b' holds the character NUL"):
        fastnn.export.c_header(model, tmp_path / "m.h")
    assert not list(tmp_path.iterdir())


def test_messages_are_bounded(tmp_path):
    """Each value comes from somewhere else; a log must hold it."""
    long, many = "x" * 10**6, ["relu"] * 10**5
    path = tmp_path / "m"
    NET.save(path)
    header = container._mapped(str(path), 2**30)[2]
    settings, _ = container._settings(header["__metadata__"])
    arrays = {"a": np.zeros(1)}

    def load(**net):
        container.write(path, arrays, {**settings, "net": {**settings["net"], **net}})
        fastnn.load(path)

    for call in (
            lambda: fastnn.MLP((3, 4, 2), long), lambda: fastnn.MLP((3, 4, 2), many),
            lambda: fastnn.MLP((3, 2), output=long), lambda: fastnn.MLP((3, 2), initializer=long),
            lambda: fastnn.MLP((3, 2), dtype=long), lambda: fastnn.MLP(long),
            lambda: fastnn.MLP([0] * 10**5), lambda: fastnn.MLP((3, -10**5000)),
            lambda: fastnn.MLP((3, 2), n_threads=long), lambda: fastnn.MLP((3, 2), norm=long),
            lambda: fastnn.MLP((3, 2), gemm=many), lambda: NET.fit(X, Y, loss=long),
            lambda: NET.fit(X, Y, epochs=long), lambda: NET.fit(X, Y, alpha=many),
            lambda: NET.fit(X, Y, batch_size=-10**4000),
            lambda: NET.fit(X, Y, shuffle=many), lambda: fastnn.Predictor(NET, long),
            lambda: fastnn.Predictor(NET, classes=many),
            lambda: load(activations=["x" * 100_000]), lambda: load(activations=many[:50_000]),
            lambda: load(dtype="x" * 400_000), lambda: load(initializer="x" * 400_000),
            lambda: load(sizes=[3, "x" * 400_000]), lambda: load(**{"y" * 400_000: 1})):
        with pytest.raises((ValueError, TypeError)) as caught:
            call()
        assert 20 < len(str(caught.value)) < 1000
