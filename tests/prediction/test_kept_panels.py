"""What a network keeps of its wide W for later batches: the same bytes, and never old ones."""

import pickle

import numpy as np
import pytest

import fastnn
from fastnn.core import _kernels
from fastnn.network.lowering import PANEL_BYTES

SIZES = (5, 1040, 1030)  # wide enough for panels with any instruction set, and ragged ones


@pytest.fixture
def saved(dtype, tmp_path):
    """(network, path of its file)"""
    net = fastnn.MLP(SIZES, output="identity", dtype=dtype, random_state=0, n_threads=1)
    net.save(tmp_path / "model.safetensors")
    return net, tmp_path / "model.safetensors"


def rows_of_x(count, dtype):
    return np.random.default_rng(count).normal(size=(count, SIZES[0])).astype(dtype)


def test_a_loaded_model_gives_the_bytes_of_its_network(saved, dtype):
    net, path = saved
    model = fastnn.load(path, predictor=True)
    for count in (1, 23, 24, 1, 24, 2, 5, 64, 97, 480, 500):  # the second 24 make panels
        X = rows_of_x(count, dtype)
        assert model.predict(X).tobytes() == net.predict(X).tobytes()


@pytest.mark.parametrize(("rows", "calls"), [(30, 1), (500, 1), (8, 3), (2, 12)])
def test_panels_are_made_once_some_rows_have_been_seen(saved, dtype, rows, calls):
    net, _ = saved
    assert SIZES[1] * np.dtype(dtype).itemsize >= PANEL_BYTES[_kernels.isa()]
    X = rows_of_x(rows, dtype)
    for _ in range(30):
        net.predict(X[:1])
    for _ in range(calls):
        want = net.predict(X)
        assert not net._snapshot.keeps_panels
    for _ in range(2):
        assert net.predict(X).tobytes() == want.tobytes()
        assert net._snapshot.keeps_panels


def test_parameters_written_as_they_are_predicted_with(saved, dtype):
    net, _ = saved
    X = rows_of_x(30, dtype)
    for factor in (1, 2, 3):
        for _ in range(3):
            got = net.predict(X)
        assert net._snapshot.keeps_panels
        twin = fastnn.MLP(SIZES, output="identity", dtype=dtype, random_state=0, n_threads=1)
        twin.set_weights(net.get_weights())
        assert got.tobytes() == twin.predict(X).tobytes()
        net.weights[0][:] *= factor
        net.parameters[3] += 1


TAKES = {
    "parameters": lambda net: net.parameters,
    "a view": lambda net: net.weights[1],
    "a view of a view": lambda net: net.weights[1][3:, ::2],
    "another shape": lambda net: net.parameters[:64].reshape(8, 8),
    "a buffer": lambda net: memoryview(net.weights[1]),
    "a name": lambda net: net.named_parameters()["layers.1.weight"],
}


@pytest.mark.parametrize("takes", TAKES)
def test_nothing_is_kept_while_somebody_has_a_view(saved, dtype, takes):
    net, _ = saved
    X = rows_of_x(30, dtype)
    for _ in range(3):
        before = net.predict(X)
    taken = TAKES[takes](net)
    for _ in range(3):
        net.predict(X)
    assert not net._snapshot.keeps_panels
    np.asarray(taken)[:] = 0
    assert net.predict(X).tobytes() != before.tobytes()
    del taken
    after = net.predict(X)
    assert net._snapshot.keeps_panels
    assert net.predict(X).tobytes() == after.tobytes() != before.tobytes()


def test_steps_write_into_what_is_not_kept(dtype):
    net = fastnn.MLP(SIZES, output="identity", dtype=dtype, random_state=0, n_threads=1)
    steps = net.steps(fastnn.SGD(0.1))
    X, y = rows_of_x(30, dtype), np.ones((30, SIZES[-1]), dtype)
    found = {net.predict(X).tobytes()}
    for n in range(2, 5):
        steps(X, y)
        for _ in range(3):
            found.add(net.predict(X).tobytes())
        assert len(found) == n


def test_who_takes_the_network_may_change_it(saved, dtype):
    net, path = saved
    model = fastnn.load(path, predictor=True)
    X = rows_of_x(40, dtype)
    model.predict(X)
    for taken in (model.net, net):
        for w in taken.weights:
            w *= 2
    assert model.predict(X).tobytes() == net.predict(X).tobytes()


def test_a_copy_of_a_model_may_be_changed_by_the_other(saved, dtype):
    _, path = saved
    model = fastnn.load(path, predictor=True)
    X = rows_of_x(40, dtype)
    want = model.predict(X)
    twin = pickle.loads(pickle.dumps(model))
    assert twin.predict(X).tobytes() == want.tobytes()
    twin.net.weights[1][:] = 0
    assert model.predict(X).tobytes() == want.tobytes()
    assert twin.predict(X).tobytes() != want.tobytes()


def test_sparse_rows_beside_panels(saved, dtype):
    scipy_sparse = pytest.importorskip("scipy.sparse")
    _, path = saved
    model = fastnn.load(path, predictor=True)
    X = np.where(rows_of_x(40, dtype) > 0.5, rows_of_x(40, dtype), 0).astype(dtype)
    dense = model.predict(X)
    assert model.predict(scipy_sparse.csr_matrix(X)).tobytes() == dense.tobytes()
