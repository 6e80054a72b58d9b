"""The API contract of `fastnn.MLP`, point by point."""

import copy
import doctest
import pickle
from importlib.util import find_spec

import numpy as np
import pytest
import reference
import scipy.sparse
from each import each
from small_nets import data, make

import fastnn
from fastnn.core import _kernels

# ---- what a network is made of ----


def test_attributes():
    net = fastnn.MLP((784, 256, 128, 10), activation="relu", output="softmax")
    assert net.sizes == (784, 256, 128, 10)
    assert net.activations == ("relu", "relu")
    assert net.output == "softmax"
    assert net.dtype == np.float32
    assert net.n_threads is None
    assert net.n_parameters == 785 * 256 + 257 * 128 + 129 * 10
    assert [w.shape for w in net.weights] == [(784, 256), (256, 128), (128, 10)]
    assert [b.shape for b in net.biases] == [(256,), (128,), (10,)]
    assert all(array.dtype == np.float32 for array in (*net.weights, *net.biases))


def test_defaults():
    net = fastnn.MLP([4, 3, 2])
    assert net.sizes == (4, 3, 2)
    assert net.activations == ("relu",)
    assert net.output == "identity"
    assert net.dtype == np.float32


def test_activation_per_layer_and_aliases():
    net = make(activation=["logistic", "gelu"], output="logistic")
    assert net.activations == ("sigmoid", "gelu")
    assert net.output == "sigmoid"


@each("name", [*_kernels.ACTIVATIONS, *_kernels.ALIASES])
def test_every_activation_by_name(name):
    net = make((3, 5, 2), name, name)
    X = np.random.default_rng(0).normal(size=(9, 3))
    np.testing.assert_allclose(net.predict(X), reference.Twin.of(net).predict(X), rtol=1e-12,
                               atol=1e-14)


# ---- the flat vector ----


def test_parameters_is_one_flat_aligned_vector(dtype):
    net = make((3, 5, 7, 2), dtype=dtype)
    flat = net.parameters
    assert flat.ndim == 1
    assert flat.dtype == dtype
    at = 0
    per_line = 64 // flat.itemsize
    seen = np.zeros(flat.size, bool)
    for w, b in zip(net.weights, net.biases, strict=True):
        at = -(-at // per_line) * per_line
        assert w.ctypes.data % 64 == 0
        assert w.ctypes.data == flat.ctypes.data + at * flat.itemsize
        np.testing.assert_array_equal(flat[at : at + w.size], w.ravel())
        np.testing.assert_array_equal(flat[at + w.size : at + w.size + b.size], b)
        seen[at : at + w.size + b.size] = True
        at += w.size + b.size
    assert at == flat.size
    assert seen.sum() == net.n_parameters
    assert not flat[~seen].any()


def test_parameters_weights_and_biases_are_views():
    net = make()
    X, _ = data()
    before = net.predict(X)
    net.weights[0][2, 3] += 1
    net.biases[-1][:] = [3, 2, 1]
    assert np.shares_memory(net.parameters, net.weights[0])
    assert not (net.predict(X) == before).all()
    np.testing.assert_allclose(net.predict(X), reference.Twin.of(net).predict(X), rtol=1e-13)
    net.parameters[:] = 0
    assert (net.predict(X) == 1 / 3).all()


def test_get_weights_are_copies_in_order():
    net = make()
    arrays = net.get_weights()
    assert [a.shape for a in arrays] == [(7, 12), (12,), (12, 5), (5,), (5, 3), (3,)]
    before = net.parameters.copy()
    for array in arrays:
        array[:] = 7
    assert (net.parameters == before).all()


def test_set_weights_copies_and_converts():
    net = make(dtype="float32")
    arrays = [np.asfortranarray(np.arange(a.size, dtype=float).reshape(a.shape))
              for a in net.get_weights()]
    arrays[1] = arrays[1].tolist()
    net.set_weights(arrays)
    for got, wanted in zip(net.get_weights(), arrays, strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert net.parameters.dtype == np.float32
    arrays[0][:] = -1
    assert net.weights[0][0, 1] == 1
    other = make(dtype="float32", random_state=9)
    other.set_weights(net.get_weights())
    assert other.parameters.tobytes() == net.parameters.tobytes()


def test_set_weights_wants_a_list():
    """Rows of a sparse matrix would be made by SciPy's code, which follows any indptr."""
    X = scipy.sparse.csc_matrix(np.ones((8, 4)))
    X.indptr = X.indptr + 1000
    with pytest.raises(TypeError, match="arrays is a sparse matrix, must be a list"):
        make().set_weights(X)


def test_parameters_taken_before_a_fit_keep_their_values():
    net = make()
    X, y = data()
    old, values = net.parameters, net.parameters.copy()
    net.fit(X, y, epochs=1)
    assert (old == values).all()
    assert not (net.parameters == values).all()


# ---- initial weights ----


@each("name, distribution, variance", [
    ("glorot_uniform", "uniform", 2 / 500), ("glorot_normal", "normal", 2 / 500),
    ("he_uniform", "uniform", 2 / 300), ("he_normal", "normal", 2 / 300),
    ("normal", "normal", 0.05**2)])
def test_initializers(name, distribution, variance, dtype):
    """60,000 draws: mean, variance and shape within 4 standard errors."""
    net = fastnn.MLP((300, 200), dtype=dtype, initializer=name, random_state=0)
    w = net.weights[0].ravel().astype(float) / np.sqrt(variance)
    kurtosis = {"uniform": 1.8, "normal": 3.0}[distribution]
    assert abs(w.mean()) < 4 / np.sqrt(w.size)
    assert abs(w.var() - 1) < 4 * np.sqrt((kurtosis - 1) / w.size)
    assert (w**4).mean() == pytest.approx(kurtosis, abs=0.1)
    if distribution == "uniform":
        assert np.abs(w).max() <= np.sqrt(3) * (1 + 1e-6)
        assert np.abs(w).max() > 0.999 * np.sqrt(3)
    assert not net.biases[0].any()


def test_zero_weights():
    assert not make(initializer="zeros").parameters.any()


# ---- copies, pickles, files ----


def same_network(a, b):
    assert b.sizes == a.sizes
    assert b.activations == a.activations
    assert b.output == a.output
    assert b.dtype == a.dtype
    assert b.parameters.tobytes() == a.parameters.tobytes()
    assert b.parameters.ctypes.data % 64 == 0
    assert not np.shares_memory(a.parameters, b.parameters)


@pytest.mark.parametrize("duplicate", [
    copy.deepcopy, copy.copy, lambda net: pickle.loads(pickle.dumps(net)),
    lambda net: pickle.loads(pickle.dumps(net, 2))], ids=["deepcopy", "copy", "pickle", "pickle 2"])
def test_copies_go_on_like_the_original(duplicate, dtype):
    X, y = data()
    net = make(dtype=dtype, dropout=0.2, n_threads=1)
    net.fit(X, y, epochs=2, batch_size=10)
    other = duplicate(net)
    same_network(net, other)
    assert net.fit(X, y, epochs=2, batch_size=10).loss == other.fit(
        X, y, epochs=2, batch_size=10).loss
    same_network(net, other)
    kept = net.parameters.copy()
    other.fit(X, y, epochs=1)
    assert (net.parameters == kept).all()


def test_pickle_is_small():
    """Parameters and settings, no workspace."""
    net = make((100, 100, 10))
    net.fit(np.zeros((5, 100)), np.zeros(5, int))
    assert len(pickle.dumps(net)) < net.parameters.nbytes + 3000


def test_repr():
    assert repr(make((7, 12, 5, 3))) == (
        "MLP((7, 12, 5, 3), activation='tanh', output='softmax', dtype='float64')")
    assert "('relu', 'gelu')" in repr(make(activation=("relu", "gelu")))
    assert "MLP((2, 1)" in repr(fastnn.MLP((2, 1)))


# ---- the package ----


@each("name", [
    "MLP", "load", "SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "DivergenceWarning", "show_config",
    "__version__", "MLPClassifier", "MLPRegressor"])
def test_public_names(name):
    assert name in dir(fastnn)
    assert name in fastnn.__all__
    if name not in ("MLPClassifier", "MLPRegressor") or find_spec("sklearn"):
        assert getattr(fastnn, name) is not None


def test_other_names_and_show_config(capsys):
    with pytest.raises(AttributeError, match="no attribute 'MPL'"):
        fastnn.MPL  # noqa: B018
    fastnn.show_config()
    shown = capsys.readouterr().out
    assert fastnn.__version__ in shown
    assert _kernels.isa() in shown


def test_examples_in_docstrings():
    for module in (fastnn.mlp, fastnn.learning, fastnn.training.plan, fastnn.training.optimizers):
        failed, _ = doctest.testmod(module)
        assert failed == 0
    assert doctest.testmod(fastnn.mlp).attempted > 0


def test_optimizers_are_values():
    assert fastnn.Adam(0.01) == fastnn.Adam(0.01)
    assert fastnn.Adam(0.01) != fastnn.AdamW(0.01)
    assert repr(fastnn.SGD(0.1, nesterov=True)).startswith("SGD(learning_rate=0.1")
    assert (fastnn.SGD().momentum, fastnn.SGD().nesterov) == (0.9, False)
    adam = fastnn.Adam()
    assert (adam.learning_rate, adam.beta1, adam.beta2, adam.eps) == (1e-3, 0.9, 0.999, 1e-8)
    assert pickle.loads(pickle.dumps(adam)) == adam


# ---- other threads, other machines ----


def test_sizes_and_dtype_are_fixed():
    net = fastnn.MLP((3, 4, 2), random_state=0)
    with pytest.raises(AttributeError):
        net.sizes = (3, 8, 9)
    with pytest.raises(AttributeError):
        net.dtype = "float64"


def test_readers_see_one_network_while_another_thread_publishes():
    """get_weights, save and prediction on sparse rows: all layers of one moment."""
    import threading

    net = fastnn.MLP((2, 3, 2), dtype="float64", random_state=0)
    shapes = [array.shape for array in net.get_weights()]
    states = [[np.full(shape, float(k)) for shape in shapes] for k in (0, 1)]
    net.set_weights(states[0])
    done = threading.Event()

    def publish():
        while not done.is_set():
            for state in states:
                net.set_weights(state)

    writer = threading.Thread(target=publish)
    writer.start()
    try:
        for _ in range(3000):
            values = {float(array.flat[0]) for array in net.get_weights()}
            assert len(values) == 1
    finally:
        done.set()
        writer.join()


def test_pickle_takes_its_threads_from_where_it_wakes_up(run_python, tmp_path):
    net = fastnn.MLP((3, 4, 2), random_state=0)
    (tmp_path / "net.pickle").write_bytes(pickle.dumps(net))
    done = run_python(
        "import pickle, sys; net = pickle.load(open(sys.argv[1], 'rb')); print(net._threads)",
        tmp_path / "net.pickle", OMP_NUM_THREADS=1)
    assert done.stdout.strip() == "1", done.stderr
