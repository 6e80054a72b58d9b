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

import fastnn
from fastnn import _kernels


def make(sizes=(7, 12, 5, 3), activation="tanh", output="softmax", dtype="float64", **more):
    return fastnn.MLP(sizes, activation, output, dtype=dtype, **{"random_state": 0, **more})


def data(rows=53, n_in=7, n_classes=3):
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, n_in)), rng.integers(0, n_classes, rows)


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


# ---- prediction ----


@each("sizes", [(7, 3), (7, 12, 5, 3), (7, 130, 3), (7, 1, 3)])
@each("output", ["identity", "sigmoid", "softmax", "exp", "tanh"])
def test_predict_is_the_twins(sizes, output, dtype):
    net = make(sizes, output=output, dtype=dtype)
    for rows in (1, 2, 95, 96, 97, 500):
        X = np.random.default_rng(rows).normal(size=(rows, 7)).astype(dtype)
        got = net.predict(X)
        assert got.shape == (rows, 3)
        assert got.dtype == dtype
        rtol = 1e-12 if dtype == "float64" else 2e-5
        np.testing.assert_allclose(got, reference.Twin.of(net).predict(X), rtol=rtol, atol=rtol)


def test_predict_by_a_loop_by_hand():
    """A(A(x W_h + b_h) W_o + b_o), one row after the other."""
    net = make((4, 6, 2), "sigmoid", "identity")
    w0, b0, w1, b1 = net.get_weights()
    X = np.random.default_rng(0).normal(size=(5, 4))
    for x, got in zip(X, net.predict(X), strict=True):
        hidden = [1 / (1 + np.exp(-(sum(x[i] * w0[i, j] for i in range(4)) + b0[j])))
                  for j in range(6)]
        for k in range(2):
            assert got[k] == pytest.approx(sum(hidden[j] * w1[j, k] for j in range(6)) + b1[k],
                                           rel=1e-13)


def test_predict_into_out(dtype):
    net = make(dtype=dtype)
    X = data()[0].astype(dtype)
    out = np.full((53, 3), 7, dtype)
    assert net.predict(X, out=out) is out
    np.testing.assert_array_equal(out, net.predict(X))
    # a slice of a larger buffer
    buffer = np.zeros((100, 3), dtype)
    net.predict(X, buffer[20:73])
    np.testing.assert_array_equal(buffer[20:73], out)
    assert not buffer[:20].any()
    assert not buffer[73:].any()


@each("sizes", [(3, 3), (3, 8, 3)])
@each("shift", [-50, -1, 0, 1, 50])
def test_predict_into_memory_of_its_input(sizes, shift):
    net = make(sizes, output="identity")
    buffer = np.random.default_rng(0).normal(size=(400, 3))
    X, out = buffer[50:350], buffer[50 + shift : 350 + shift]
    wanted = net.predict(X.copy())
    np.testing.assert_array_equal(net.predict(X, out=out), wanted)


def test_predict_takes_anything_like_an_array():
    net = make((2, 3, 1), output="identity")
    wanted = net.predict(np.array([[1.0, 2.0], [3.0, 4.0]]))
    for X in ([[1, 2], [3, 4]], np.array([[1, 2], [3, 4]], np.int8),
              np.array([[1, 2], [3, 4]], np.float32), ((1.0, 2.0), (3.0, 4.0)),
              np.array([[1, 2], [3, 4]], ">f8"), np.asfortranarray([[1.0, 2.0], [3.0, 4.0]])):
        np.testing.assert_array_equal(net.predict(X), wanted)


@each("form", [scipy.sparse.csr_array, scipy.sparse.csc_array, scipy.sparse.coo_matrix,
               scipy.sparse.csr_matrix])
def test_predict_sparse(form):
    net = make()
    X = np.random.default_rng(0).normal(size=(2500, 7))
    X[np.abs(X) < 1] = 0
    np.testing.assert_array_equal(net.predict(form(X)), net.predict(X))
    out = np.empty((2500, 3))
    assert net.predict(form(X), out=out) is out
    np.testing.assert_array_equal(out, net.predict(X))


def test_predict_no_rows():
    assert make().predict(np.empty((0, 7))).shape == (0, 3)


# one unit, widths beside those of vectors and tiles, no hidden layer, many inputs, wide layers
ROW_NETS = [((1, 1, 1), "tanh", "identity"), ((7, 3), "relu", "softmax"),
            ((7, 33, 19, 3), "gelu", "softmax"), ((5, 16, 17, 15, 1), "softplus", "sigmoid"),
            ((300, 64, 10), "relu", "softmax"), ((20, 257, 130, 5), "silu", "exp"),
            ((3, 1030, 2), "elu", "identity")]


@each("n_threads", [1, 2, 5])
@each("sizes, activation, output", ROW_NETS)
def test_row_does_not_depend_on_its_neighbours(sizes, activation, output, n_threads, dtype):
    """Every number of rows up to two blocks and some, at any place; the bytes of a row alone."""
    net = make(sizes, activation, output, dtype=dtype, n_threads=n_threads)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, sizes[0])).astype(dtype)
    alone = np.concatenate([net.predict(row[np.newaxis]) for row in X])
    for n_rows in (*range(1, 201), 287, 288, 289, 383, 384, 385, 499, 500):
        first = 7 * n_rows % (501 - n_rows)
        rows = slice(first, first + n_rows)
        assert net.predict(X[rows]).tobytes() == alone[rows].tobytes(), n_rows
    order = rng.permutation(500)
    assert net.predict(X[order]).tobytes() == alone[order].tobytes()


@each("sizes, activation, output", ROW_NETS)
def test_row_among_nan_and_infinity(sizes, activation, output, dtype):
    """No arithmetic of another row touches it, on either side of a block's border."""
    net = make(sizes, activation, output, dtype=dtype)
    x = np.random.default_rng(0).normal(size=(1, sizes[0])).astype(dtype)
    alone = net.predict(x)
    for place in (0, 1, 5, 47, 94, 95, 96, 97, 191, 192, 199):
        for other in (np.nan, np.inf, np.finfo(dtype).max):
            X = np.full((200, sizes[0]), other, dtype)
            X[place] = x
            assert net.predict(X)[place].tobytes() == alone.tobytes(), (place, other)


@each("output", ["identity", "softmax", "sigmoid"])
def test_nan_and_infinity_stay_in_their_row(output):
    """Prediction does not look for them, and does not hide them."""
    net = make(output=output)
    X, _ = data()
    wanted = net.predict(X)
    X[5, 2] = np.nan
    got = net.predict(X)
    assert np.isnan(got[5]).all()
    others = np.arange(53) != 5
    np.testing.assert_array_equal(got[others], wanted[others])


def test_activations_of_every_layer():
    net = make(activation=("relu", "gelu"))
    X, _ = data()
    found = net.activations_of(X)
    inputs, _ = reference.Twin.of(net).forward(X)
    assert len(found) == 3
    for got, wanted in zip(found, inputs[1:], strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(found[-1], net.predict(X))


# ---- training ----


def test_history():
    net = make()
    X, y = data()
    history = net.fit(X, y, epochs=7)
    assert len(history.loss) == 7
    assert all(type(value) is float for value in history.loss)
    assert history.loss[-1] < history.loss[0]
    assert history.val_loss is None
    assert "7 epochs" in repr(history)


def test_first_loss_of_a_full_batch_is_the_loss_before_the_step():
    net = make()
    X, y = data()
    before = net.loss(X, y, alpha=0.3)
    assert net.fit(X, y, epochs=1, alpha=0.3, batch_size=53, shuffle=False).loss == [
        pytest.approx(before, rel=1e-13, abs=0)]


def test_defaults_of_fit():
    """10 epochs of Adam() on batches of 128, or of all rows where there are fewer."""
    X, y = data(300)

    def fitted(**more):
        net = make()
        history = net.fit(X, y, **more)
        return history.loss, net.parameters.tobytes()

    wanted = fitted()
    assert len(wanted[0]) == 10
    assert fitted(loss="cross_entropy", optimizer=fastnn.Adam(1e-3), epochs=10, batch_size=128,
                  shuffle=True, sample_weight=None, alpha=0.0) == wanted
    X, y = data(53)
    assert fitted(batch_size=128) == fitted(batch_size=53)


def test_validation_loss():
    net = make(dropout=0.5)
    X, y = data()
    other = np.random.default_rng(1).normal(size=(20, 7)), np.random.default_rng(1).integers(
        0, 3, 20)
    seen = []
    history = net.fit(X, y, epochs=3, alpha=1.0, validation_data=other,
                      callback=lambda epoch, net, history: seen.append(net.loss(*other)))
    assert history.val_loss == seen
    assert all(type(value) is float for value in history.val_loss)


def test_callback_sees_each_epoch_and_can_stop():
    net = make()
    X, y = data()
    seen = []

    def callback(epoch, passed, history):
        seen.append((epoch, passed is net, len(history.loss), net.parameters.copy()))
        return epoch == 2

    history = net.fit(X, y, epochs=10, callback=callback)
    assert [entry[:3] for entry in seen] == [(0, True, 1), (1, True, 2), (2, True, 3)]
    assert len(history.loss) == 3
    assert (net.parameters == seen[-1][3]).all()
    assert not (seen[0][3] == seen[1][3]).all()


def test_error_in_a_callback_leaves_a_usable_model():
    net = make()
    X, y = data()

    def callback(epoch, net, history):
        if epoch == 1:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        net.fit(X, y, epochs=5, callback=callback)
    other = make()
    other.fit(X, y, epochs=2)
    assert net.parameters.tobytes() == other.parameters.tobytes()
    net.fit(X, y, epochs=1)


def test_fit_goes_on_from_the_current_parameters():
    net = make()
    X, y = data()
    net.fit(X, y, epochs=30)
    low = net.loss(X, y)
    net.fit(X, y, epochs=1)
    assert net.loss(X, y) < low


def test_inputs_are_not_written_to(dtype):
    net = make(dtype=dtype)
    X, y = data()
    X, weights = X.astype(dtype), np.ones(53, dtype)
    targets = reference.one_hot(y, 3).astype(dtype)
    arrays = (X, targets, weights)
    copies = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    net.fit(X, targets, sample_weight=weights, epochs=2, validation_data=(X, targets))
    net.predict(X)
    net.loss_and_grad(X, targets, sample_weight=weights)
    for array, wanted in zip(arrays, copies, strict=True):
        assert array.tobytes() == wanted.tobytes()


def test_float64_data_trains_a_float32_network():
    X, y = data()
    one, other = make(dtype="float32"), make(dtype="float32")
    one.fit(X, y, epochs=2)
    other.fit(X.astype(np.float32), y.astype(np.int64), epochs=2)
    assert one.parameters.tobytes() == other.parameters.tobytes()


def test_targets_of_one_output_may_be_flat():
    X, _ = data()
    y = X[:, 0] * 2
    nets = make((7, 4, 1), output="identity"), make((7, 4, 1), output="identity")
    assert nets[0].fit(X, y, epochs=2).loss == nets[1].fit(X, y.reshape(-1, 1), epochs=2).loss


def test_sparse_training_is_dense_training():
    X, y = data()
    X[np.abs(X) < 0.7] = 0
    losses = [make().fit(form(X), y, epochs=3, batch_size=10).loss
              for form in (np.asarray, scipy.sparse.csr_array, scipy.sparse.csc_matrix)]
    assert losses[1] == losses[0]
    assert losses[2] == losses[0]


def test_sparse_with_duplicates_unsorted_and_64_bit_indices():
    dense = np.array([[0.0, 3.0, 5.0], [7.0, 0.0, 0.0]])
    X = scipy.sparse.csr_array(
        (np.array([5.0, 1.0, 2.0, 7.0]), np.array([2, 1, 1, 0], np.int64),
         np.array([0, 3, 4], np.int64)), shape=(2, 3))
    kept = X.copy()
    y = [[1.0], [2.0]]
    nets = [fastnn.MLP((3, 2, 1), dtype="float64", random_state=0) for _ in range(2)]
    assert nets[0].fit(X, y).loss == nets[1].fit(dense, y).loss
    assert nets[0].parameters.tobytes() == nets[1].parameters.tobytes()
    np.testing.assert_array_equal(X.indices, kept.indices)
    np.testing.assert_array_equal(X.data, kept.data)


def test_plan_explains_itself():
    text = str(make((64, 100, 10), n_threads=2).plan(200))
    for word in ("64-100-10", "float64", "shard", "threads   2"):
        assert word in text


def test_two_networks_at_once_do_not_share_anything():
    X, y = data()
    a, b = make(), make()
    a.fit(X, y, epochs=1, callback=lambda *_: b.fit(X, y, epochs=1) is None)
    assert a.parameters.tobytes() == b.parameters.tobytes()
    assert not np.shares_memory(a.parameters, b.parameters)


# ---- seeds ----


def fitted_bytes(random_state, fits=1, **more):
    net = make(random_state=random_state, dropout=0.3, **more)
    X, y = data()
    start = net.parameters.tobytes()
    for _ in range(fits):
        net.fit(X, y, epochs=2, batch_size=10)
    return start, net.parameters.tobytes()


@each("seed", [0, 1, 2**31, 2**63 + 5, np.int64(7)])
def test_same_seed_same_bytes(seed):
    assert fitted_bytes(seed) == fitted_bytes(seed)
    assert fitted_bytes(seed)[0] != fitted_bytes(12345)[0]
    assert fitted_bytes(seed)[1] != fitted_bytes(12345)[1]


def test_generators_as_seed():
    for make_generator in (np.random.default_rng, np.random.RandomState):
        assert fitted_bytes(make_generator(3)) == fitted_bytes(make_generator(3))
        generator = make_generator(3)
        assert fitted_bytes(generator) != fitted_bytes(generator)


def test_no_seed_is_another_one_each_time():
    assert fitted_bytes(None)[0] != fitted_bytes(None)[0]


def test_global_random_state_is_not_touched():
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    fitted_bytes(0)
    fitted_bytes(None)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


def test_a_later_fit_shuffles_and_drops_anew():
    X, y = data()
    orders = []
    for fits in (1, 2):
        net = make()
        for _ in range(fits):
            start = net.get_weights()
            net.fit(X, y, epochs=1, batch_size=1, optimizer=fastnn.SGD(1e-6, momentum=0))
            moved = net.get_weights()
            orders.append([b - a for a, b in zip(start, moved, strict=True)])
            net.set_weights(start)
    # the same seed gives the same first epoch, the second epoch has another order of rows
    assert all((a == b).all() for a, b in zip(orders[0], orders[1], strict=True))
    assert not all((a == b).all() for a, b in zip(orders[1], orders[2], strict=True))


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
    for module in (fastnn.mlp, fastnn.plan, fastnn.optimizers):
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


def test_many_threads_asked_for_few_rows():
    net = fastnn.MLP((300, 500, 2), random_state=0, n_threads=256)
    X = np.random.default_rng(0).normal(size=(2000, 300)).astype("float32")
    one = fastnn.MLP((300, 500, 2), random_state=0, n_threads=1)
    assert net.predict(X).tobytes() == one.predict(X).tobytes()
