"""Predictions for sparse rows: those of dense rows, to the byte; no row is made dense."""

import threading

import numpy as np
import pytest
import scipy.sparse
from each import each
from sparse_data import duplicated, labels, sparse_rows, with_wide_indices

import fastnn
from fastnn import Dense, LayerNorm, Residual

NETWORKS = {
    "two layers": lambda dtype: fastnn.MLP((300, 50, 3), output="softmax", dtype=dtype,
                                           random_state=0),
    "tanh": lambda dtype: fastnn.MLP((300, 50, 20, 3), "tanh", dtype=dtype, random_state=0),
    "one layer": lambda dtype: fastnn.MLP((300, 3), output="sigmoid", dtype=dtype, random_state=0),
    "narrow": lambda dtype: fastnn.MLP((100, 50, 3), output="softmax", dtype=dtype, random_state=0),
    "panels": lambda dtype: fastnn.MLP((300, 1030, 1030, 3), dtype=dtype, random_state=0),
    "pages": lambda dtype: fastnn.MLP((300, 1024, 1024, 3), "tanh", dtype=dtype, random_state=0),
    "norm and residual": lambda dtype: fastnn.MLP(
        (300, 50, 50, 3), norm="layer", residual=True, dtype=dtype, random_state=0),
    "layer norm first": lambda dtype: fastnn.MLP.of(
        [LayerNorm(), Dense(30, "relu"), Dense(3)], n_in=300, dtype=dtype, random_state=0),
    "residual first": lambda dtype: fastnn.MLP.of(
        [Residual([Dense(20, "tanh"), Dense(300)]), Dense(3)], n_in=300, dtype=dtype,
        random_state=0),
}


@each("rows", [0, 1, 2, 97, 500])
@each("name", NETWORKS)
def test_bytes_are_those_of_dense_rows(name, rows, dtype):
    net = NETWORKS[name](dtype)
    X = sparse_rows(rows or 1, net.sizes[0], dtype)[:rows]
    wanted = net.predict(X.toarray())
    for given in (X, X.tocsc(), X.tocoo(), scipy.sparse.csr_array(X), with_wide_indices(X)):
        assert net.predict(given).tobytes() == wanted.tobytes()
    out = np.empty((rows, 3), dtype)
    assert net.predict(X, out=out) is out and out.tobytes() == wanted.tobytes()
    if rows:
        tolerance = 1e-12 if dtype == "float64" else 1e-5
        np.testing.assert_allclose(net.predict(duplicated(X)), wanted, rtol=tolerance,
                                   atol=tolerance)
        for own, dense in zip(net.activations_of(X), net.activations_of(X.toarray()), strict=True):
            assert own.tobytes() == dense.tobytes()


def test_a_row_is_the_same_alone_in_a_batch_and_on_threads(dtype):
    """In whatever order the entries of a row lie."""
    X = sparse_rows(3000, 20_000, dtype, most=80)
    for r in range(X.shape[0]):
        row = slice(X.indptr[r], X.indptr[r + 1])
        X.indices[row], X.data[row] = X.indices[row][::-1].copy(), X.data[row][::-1].copy()
    results = set()
    for threads in (1, 2, 3, 8):
        net = fastnn.MLP((20_000, 64, 5), dtype=dtype, random_state=0, n_threads=threads)
        results.add(net.predict(X).tobytes())
    assert len(results) == 1
    whole = net.predict(X)
    for r in range(0, 3000, 97):
        assert net.predict(X[r:r + 1]).tobytes() == whole[r].tobytes()


def test_other_numbers():
    net = NETWORKS["two layers"]("float32")
    X = sparse_rows(dtype="float64")
    X.data = np.round(3 * X.data)
    wanted = net.predict(X.toarray().astype("float32"))
    for kind in ("float64", "int32", "int8"):
        assert net.predict(X.astype(kind)).tobytes() == wanted.tobytes()
    some = X.copy()
    some.data = some.data.astype("float32")
    some.data.flags.writeable = False
    some.indices.flags.writeable = False
    assert net.predict(some).tobytes() == wanted.tobytes()


def test_output_in_the_memory_of_the_values():
    net = NETWORKS["two layers"]("float64")
    X = sparse_rows()
    wanted = net.predict(X)
    memory = np.zeros(max(X.nnz, 3 * X.shape[0]))
    memory[:X.nnz] = X.data
    X.data = memory
    out = memory[:3 * X.shape[0]].reshape(-1, 3)
    assert net.predict(X, out=out).tobytes() == wanted.tobytes()
    with pytest.raises(ValueError, match="out"):
        net.predict(X, out=np.empty((5, 3)))


def test_columns_that_change_meanwhile_are_not_followed():
    """Another thread writes wrong columns: right rows or a named error, never a crash."""
    net = NETWORKS["two layers"]("float32")
    X = sparse_rows(400, dtype="float32")
    right, wrong = X.indices.copy(), np.full(X.nnz, 10**9, np.int32)
    done = threading.Event()

    def spoil():
        while not done.is_set():
            X.indices[:] = wrong
            X.indices[:] = right

    thread = threading.Thread(target=spoil)
    thread.start()
    try:
        for _ in range(200):
            try:
                net.predict(X)
            except ValueError as error:
                assert "X.indices must hold values in 0..299" in str(error)
    finally:
        done.set()
        thread.join()


def test_predictors(tmp_path):
    net = NETWORKS["two layers"]("float32")
    net.fit(sparse_rows(dtype="float32"), labels(), epochs=1)
    net.save(tmp_path / "a.safetensors", classes=["a", "b", "c"])
    model = fastnn.load(tmp_path / "a.safetensors", predictor=True)
    X = sparse_rows(dtype="float32")
    assert (model.predict(X) == model.predict(X.toarray())).all()
    assert model.predict_proba(X).tobytes() == net.predict(X).tobytes()
    X.data[0] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        model.predict(X)
