"""What a loaded model keeps of its wide W: the same bytes, and never old ones."""

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
    for count in (1, 23, 24, 1, 2, 5, 64, 97, 480, 500):  # from 24 on panels are kept
        X = rows_of_x(count, dtype)
        assert model.predict(X).tobytes() == net.predict(X).tobytes()


def test_panels_are_made_once(saved, dtype):
    _, path = saved
    snapshot = fastnn.load(path, predictor=True)._net._snapshot
    assert SIZES[1] * np.dtype(dtype).itemsize >= PANEL_BYTES[_kernels.isa()]
    X = rows_of_x(30, dtype)
    want = snapshot.predict(X, None, 1)
    snapshot.parameters[:] = 0  # nobody may do this: then panels are not those of the parameters
    assert snapshot.predict(X, None, 1).tobytes() == want.tobytes()
    snapshot.keep_panels(False)
    assert not snapshot.predict(X, None, 1).any()


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
