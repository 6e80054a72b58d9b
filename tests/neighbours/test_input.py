"""Data frames and tensors of other libraries as input: the same predictions as with arrays."""

import numpy as np
import pytest
from neighbour_data import VALUES, X, Y, classifier, network, said

import fastnn

NAMES = ["a", "b", "c", "d"]


def pandas_frame():
    return pytest.importorskip("pandas").DataFrame(X, columns=NAMES)


def polars_frame():
    return pytest.importorskip("polars").DataFrame(X, schema=NAMES)


def pyarrow_table():
    return pytest.importorskip("pyarrow").table(dict(zip(NAMES, X.T, strict=True)))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("frame", [pandas_frame, polars_frame, pyarrow_table])
def test_data_frames(frame):
    frame = frame()
    est = fastnn.MLPClassifier((5,), max_iter=4, random_state=0).fit(frame, Y)
    np.testing.assert_array_equal(est.predict_proba(frame), classifier().predict_proba(X))
    if not hasattr(frame, "schema") or hasattr(frame, "to_pandas"):
        assert list(getattr(est, "feature_names_in_", NAMES)) == NAMES
    np.testing.assert_array_equal(network().predict(np.asarray(frame)), network().predict(X))


@pytest.mark.parametrize("frame", [pandas_frame, polars_frame, pyarrow_table])
def test_bare_network_on_data_frames(frame):
    assert network().predict(frame()).tobytes() == network().predict(X).tobytes()


class OnlyDLPack:
    """A tensor of a library without __array__."""

    def __init__(self, array):
        self._array = array

    def __dlpack__(self, **settings):
        return self._array.__dlpack__(**settings)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


class OnlyArray:
    def __init__(self, array):
        self._array = array

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self._array, dtype)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("wrap", [OnlyDLPack, OnlyArray])
def test_protocols(wrap):
    net, y = network(), np.arange(60) % 3
    assert net.predict(wrap(X)).tobytes() == net.predict(X).tobytes()
    net.fit(wrap(X), wrap(y), epochs=1)
    other = network()
    other.fit(X, y, epochs=1)
    assert said(net) == said(other)
    est = fastnn.MLPRegressor(hidden_layer_sizes=(5,), max_iter=4, random_state=0)
    a = est.fit(wrap(X), wrap(VALUES)).predict(wrap(X))
    np.testing.assert_array_equal(a, est.fit(X, VALUES).predict(X))
    weight = np.resize([0.5, 1.0, 2.0], 60)
    a = est.fit(wrap(X), wrap(VALUES), sample_weight=wrap(weight)).predict(X)
    np.testing.assert_array_equal(a, est.fit(X, VALUES, sample_weight=weight).predict(X))


class OnAnotherDevice(OnlyDLPack):
    def __dlpack__(self, **settings):
        raise BufferError("it is on the device 2")


@pytest.mark.parametrize("model", [classifier(), network()], ids=["estimator", "MLP"])
def test_tensors_on_other_devices(model):
    with pytest.raises(ValueError, match="X must be an array: it is on the device 2"):
        model.predict(OnAnotherDevice(X))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tensors_of_pytorch(dtype):
    torch = pytest.importorskip("torch")
    tensor = torch.tensor(X, dtype=getattr(torch, dtype))
    net = network(dtype)
    assert net.predict(tensor).tobytes() == net.predict(tensor.numpy()).tobytes()
    net.fit(tensor, torch.arange(60) % 3, epochs=1)
    classifier().predict(tensor.double())
    est = classifier()
    tracked = torch.tensor(VALUES, requires_grad=True)
    with pytest.raises(ValueError, match=r"y must be an array.*detach\(\)"):
        fastnn.MLPRegressor().fit(X, tracked)
    with pytest.raises(ValueError, match=r"sample_weight must be an array.*detach\(\)"):
        est.fit(X, Y, sample_weight=tracked)
    with pytest.raises(TypeError, match="X must be an array.*BFloat16"):
        est.predict(tensor.bfloat16())
    tensor.requires_grad_()
    for predict in (net.predict, est.predict, est.predict_proba, fastnn.Predictor(net).predict):
        with pytest.raises(ValueError, match=r"X must be an array.*detach\(\)"):
            predict(tensor)


def test_tensors_of_jax():
    jax = pytest.importorskip("jax")
    array = jax.numpy.asarray(X, dtype="float32")
    net = network("float32")
    assert net.predict(array).tobytes() == net.predict(np.asarray(array)).tobytes()


def test_short_floats_of_pytorch():
    """NumPy has no bfloat16; the message says what has the values."""
    torch = pytest.importorskip("torch")
    short = torch.tensor(X).bfloat16()
    with pytest.raises(TypeError, match=r"X must be an array: .*; X.float\(\) has float32$"):
        network().predict(short)
    assert np.isfinite(network().predict(short.float())).all()
