"""Sparse X in training: it is the dense network, to the last digits, on any number of threads."""

import os
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse
from each import each
from sparse_data import duplicated, labels, sparse_rows, with_wide_indices

import fastnn
from fastnn import Dense, LayerNorm, Residual
from fastnn.training.bound_losses import check_loss
from fastnn.training.optimizers import BY_NAME

WIDE = (300, 40, 3)  # row-major: more columns than feature-major takes


def make(sizes=WIDE, dtype="float64", **settings):
    return fastnn.MLP(sizes, "tanh", "softmax", dtype=dtype, random_state=0, **settings)


def close(a, b, tolerance=1e-12):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


NETWORKS = {
    "chain": lambda: make(),
    "relu": lambda: fastnn.MLP(WIDE, "relu", "softmax", dtype="float64", random_state=0),
    "no hidden layer": lambda: make((300, 3)),
    "layer norm after": lambda: make(norm="layer"),
    "hidden dropout": lambda: make(dropout=0.4),
    "blas": lambda: make(gemm="blas"),
    "panels": lambda: make((300, 520, 3)),
    "narrow": lambda: make((100, 20, 3)),
    "layer norm first": lambda: fastnn.MLP.of(
        [LayerNorm(), Dense(30, "relu"), Dense(3)], n_in=300, output="softmax", dtype="float64",
        random_state=0),
    "residual first": lambda: fastnn.MLP.of(
        [Residual([Dense(20, "tanh"), Dense(300)]), Dense(3)], n_in=300, output="softmax",
        dtype="float64", random_state=0),
}
FITS = {
    "adam": {},
    "sgd": {"optimizer": fastnn.SGD(0.1, momentum=0.0)},
    "momentum": {"optimizer": fastnn.SGD(0.1)},
    "adagrad": {"optimizer": fastnn.Adagrad(0.05)},
    "adagrad with decay": {"optimizer": fastnn.Adagrad(0.05), "alpha": 0.1},
    "rmsprop": {"optimizer": "rmsprop"},
    "weights": {"sample_weight": np.linspace(0, 2, 90)},
    "clipped": {"clip_norm": 0.1, "l1": 0.01, "max_norm": 1.0},
    "frozen": {"optimizer": fastnn.Adam(layers={0: {"learning_rate_factor": 0.5}})},
    "muon": {"optimizer": fastnn.Muon(layers={0: {"muon": True}})},
    "input noise": {"input_noise": 0.1},
    "mixup": {"mixup": 0.3},
    "in order": {"shuffle": False},
}


@each("name", NETWORKS)
def test_losses_and_gradients_are_those_of_dense_rows(name):
    net = NETWORKS[name]()
    X = sparse_rows(n_columns=net.sizes[0])
    for given in (X, duplicated(X), with_wide_indices(X), X.tocsc(), X.tocoo(),
                  scipy.sparse.csr_array(X), scipy.sparse.hstack([X[:, :40], X[:, 40:]])):
        loss, gradient = net.loss_and_grad(given, labels())
        wanted, dense = net.loss_and_grad(X.toarray(), labels())
        close(loss, wanted)
        close(gradient, dense)
        close(net.loss(given, labels()), wanted)
        for own, other in zip(net.deltas(given, labels()), net.deltas(X.toarray(), labels()),
                              strict=True):
            close(own, other)


@each("fit", FITS)
@each("name", ["chain", "layer norm after", "hidden dropout"])
def test_fits_are_those_of_dense_rows(name, fit):
    check_fit(name, FITS[fit], 1e-12 if fit != "muon" else 1e-8)  # steep near singular values of 0


@each("name", ["layer norm first", "residual first", "no hidden layer", "narrow", "blas", "panels"])
def test_networks_without_look_ups(name):
    """Or with nothing else, or with copies of W."""
    check_fit(name, {}, 1e-12)
    check_fit(name, FITS["adagrad"], 1e-12)


@each("units", [7, 37, 600])
@each("fit", ["adam", "sgd", "momentum"])
def test_weights_that_come_from_memory(fit, units):
    """Their gradient is made block by block, whatever the rows' size."""
    columns = 9 * 2**20 // (8 * units)
    X, y = sparse_rows(n_rows=30, n_columns=columns), labels(30)
    nets = []
    for given in (X, X.toarray()):
        nets.append(make((columns, units, 3)))
        nets[-1].fit(given, y, batch_size=20, epochs=2, alpha=1e-3, **FITS[fit])
    assert nets[0].parameters.tobytes() == nets[1].parameters.tobytes()
    assert nets[0].history.loss == nets[1].history.loss


def check_fit(name, settings, tolerance):
    columns = NETWORKS[name]().sizes[0]
    X, y = sparse_rows(n_columns=columns), labels()
    nets = []
    for given in (X, X.toarray(), duplicated(X)):
        nets.append(NETWORKS[name]())
        nets[-1].fit(given, y, batch_size=20, epochs=2, **settings)
    assert nets[0].parameters.tobytes() == nets[1].parameters.tobytes()
    close(nets[2].parameters, nets[1].parameters, tolerance)
    close(nets[0].history.loss, nets[1].history.loss)


@each("optimizer", [*(one for one in BY_NAME.values() if one is not fastnn.Muon),
                    fastnn.SGD(0.1, momentum=0.0),
                    fastnn.SGD(0.1, momentum=0.0, nesterov=True),
                    fastnn.SGD(0.1, momentum=0.0, velocity="step"), fastnn.Adagrad(0.1, eps=1e-30)])
def test_optimizers_that_skip_rows_change_nothing(optimizer):
    """`is_lazy` says that the update of a weight without gradient is the identity."""
    optimizer = optimizer() if isinstance(optimizer, type) else optimizer
    X, y = sparse_rows(dtype="float32"), labels()
    dense = make(dtype="float32")
    own = make(dtype="float32")
    own.fit(X, y, optimizer=optimizer, batch_size=7, epochs=2)
    dense.fit(X.toarray(), y, optimizer=optimizer, batch_size=7, epochs=2)
    assert own.parameters.tobytes() == dense.parameters.tobytes()


def test_which_optimizers_skip_rows():
    lazy = {name for name, optimizer in BY_NAME.items() if getattr(optimizer(), "is_lazy", False)}
    assert lazy == {"adagrad"}
    assert fastnn.SGD(momentum=0.0).is_lazy and not fastnn.SGD(momentum=0.1).is_lazy
    assert not fastnn.Adagrad(eps=1e-40).is_lazy


def test_without_momentum_there_is_no_velocity_to_write():
    """W of 100,000 columns and its velocity are more than a cache holds."""
    for momentum in (0.0, 0.5):
        steps = make().steps(fastnn.SGD(0.1, momentum=momentum))
        steps(sparse_rows(), labels())
        assert steps.trainer.optimizer_state[0].any() == (momentum > 0)


@each("optimizer", ["adam", "adagrad"])
def test_same_bytes_for_any_number_of_threads(dtype, optimizer):
    X = scipy.sparse.vstack([sparse_rows(dtype=dtype, n_columns=3000, seed=s) for s in range(8)])
    y = labels(X.shape[0])
    found = set()
    for threads in (1, 2, 3, 8):
        net = make((3000, 64, 64, 3), dtype=dtype, n_threads=threads)
        history = net.fit(X, y, optimizer=optimizer, batch_size=300, epochs=2)
        gradient = net.loss_and_grad(X, y)[1]
        found.add((net.parameters.tobytes(), tuple(history.loss), gradient.tobytes()))
    assert len(found) == 1


def test_three_digits_of_the_sort():
    """More than 2^22 columns: three passes; 32 bits of index are enough."""
    n = 2**22 + 5
    X = scipy.sparse.csr_matrix((np.ones(6), [n - 1, 3, 2049, n - 1, 2**21, 5], [0, 2, 4, 6]),
                                (3, n))
    net = fastnn.MLP((n, 1), dtype="float64", initializer="zeros", random_state=0)
    _, gradient = net.loss_and_grad(X, np.array([1.0, 2.0, 4.0]))
    w = gradient[:n]
    assert set(np.flatnonzero(w)) == {3, 5, 2049, 2**21, n - 1}
    close(w[[3, 5, 2049, 2**21, n - 1]], np.array([-1.0, -4.0, -2.0, -4.0, -3.0]) / 3)


def test_batches_that_are_sparse_and_dense_by_turns():
    X, y = sparse_rows(), labels()
    parts = [slice(0, 30), slice(30, 60), slice(60, 90)]
    nets = []
    for kinds in ((0, 0, 0), (1, 1, 1), (1, 0, 1), (0, 1, 0)):
        net = make((300, 520, 3))
        net.fit_batches([(X[part] if kind else X[part].toarray(), y[part])
                         for part, kind in zip(parts, kinds, strict=True)],
                        optimizer=fastnn.Adagrad(), epochs=2)
        nets.append(net.parameters.tobytes())
    assert len(set(nets)) == 1


def test_orders_with_rows_twice_have_room():
    """A bootstrap may take the longest row for a whole batch."""
    X = scipy.sparse.csr_matrix(np.r_[np.ones((1, 300)), np.zeros((9, 300))])
    net = make()
    trainer = net._trainer((X, labels(10).astype(np.int32), None),
                           check_loss(None, "softmax", 3), 0.0, net.parameters,
                           optimizer=fastnn.SGD(), batch_size=5)
    trainer.run_epoch(np.arange(10), learning_rate=0.1)
    trainer.run_epoch(np.zeros(10, np.intp), learning_rate=0.1)
    dense = make()
    other = dense._trainer((X.toarray(), labels(10).astype(np.int32), None),
                           check_loss(None, "softmax", 3), 0.0, dense.parameters,
                           optimizer=fastnn.SGD(), batch_size=5)
    other.run_epoch(np.arange(10), learning_rate=0.1)
    other.run_epoch(np.zeros(10, np.intp), learning_rate=0.1)
    assert trainer.parameters.tobytes() == other.parameters.tobytes()


def test_epochs_that_run_ahead_have_room_for_their_longest_rows():
    """As they lie all batches hold as many entries; shuffled, long rows come together."""
    rng = np.random.default_rng(0)
    counts = np.where(np.arange(64) % 2, 1, 200)
    columns = np.concatenate([np.sort(rng.permutation(300)[:count]) for count in counts])
    X = scipy.sparse.csr_matrix((rng.normal(size=counts.sum()).astype("float32"), columns,
                                 np.r_[0, counts.cumsum()]), shape=(64, 300))
    nets = [make(), make(), make()]
    fits = {"epochs": 30, "batch_size": 2}
    nets[0].fit(X, labels(64), **fits)  # many epochs in a call
    nets[1].fit(X, labels(64), callback=lambda *seen: None, **fits)
    nets[2].fit(X.toarray(), labels(64), **fits)
    assert len({net.parameters.tobytes() for net in nets}) == 1


@each("columns", [20_000, 200_000])
def test_no_batch_is_made_dense(columns):
    """The workspace does not grow with the columns, but for what the chunks of W need."""
    X = scipy.sparse.csr_matrix((np.ones(64), (np.arange(64), np.arange(64))), (64, columns))
    X = X.astype("float32")
    net = fastnn.MLP((columns, 2), dtype="float32", random_state=0)
    trainer = net._trainer((X, np.zeros((64, 2), "float32"), None),
                           check_loss(None, "identity", 2), 0.0, net.parameters,
                           optimizer=fastnn.SGD(), batch_size=64)
    trainer.run_epoch(learning_rate=0.1)
    assert trainer.workspace_nbytes < 200_000 + columns / 4


# ---- bad input ----

def broken(change):
    X = sparse_rows()
    change(X)
    return X


def put(name, at, value):
    def change(X):
        getattr(X, name)[at] = value
    return change


def replace(name, make):
    def change(X):
        object.__setattr__(X, name, make(X))
    return change


BAD = {
    "negative column": (put("indices", 5, -1), "indices"),
    "column beyond": (put("indices", 5, 300), "indices"),
    "first row does not begin with 0": (put("indptr", 0, 1), "indptr"),
    "rows that fall": (put("indptr", 3, 10**6), "indptr"),
    "rows that end beyond": (put("indptr", -1, 10**6), "indptr"),
    "too few rows": (replace("indptr", lambda X: X.indptr[:-1]), "indptr"),
    "wide and beyond": (replace("indices", lambda X: X.indices.astype(np.int64) + 2**32),
                        "indices"),
    "wide and negative": (replace("indices", lambda X: X.indices.astype(np.int64) - 2**32),
                          "indices"),
    "columns that are no integers": (replace("indices", lambda X: X.indices.astype(float)),
                                     "indices"),
    "values of two dimensions": (replace("data", lambda X: np.c_[X.data, X.data]), "data"),
    "no values": (replace("data", lambda X: None), "sound"),
    "values too few": (replace("data", lambda X: X.data[:-3]), "indptr|data"),
}


@each("name", BAD)
def test_broken_matrices_are_named(name):
    change, where = BAD[name]
    net = make()
    before = net.parameters.tobytes()
    for action in (lambda X: net.fit(X, labels()), lambda X: net.loss(X, labels()), net.predict,
                   net.activations_of):
        with pytest.raises(ValueError, match=where):
            action(broken(change))
    assert net.parameters.tobytes() == before


def test_blocks_out_of_place_are_named():
    """SciPy's message on them names neither X nor what it is."""
    for place in (100, -2):
        X = scipy.sparse.bsr_matrix(sparse_rows(), blocksize=(3, 3))
        X.indices[0] = place
        with pytest.raises(ValueError, match="X is not a sound sparse matrix: "):
            make().predict(X)


DIAGONALS = {
    "fewer": lambda X: X.offsets[:2], "more": lambda X: np.arange(9), "none": lambda X: None,
    "floats": lambda X: X.offsets.astype(float),
    "of two dimensions": lambda X: X.offsets[np.newaxis],
}


@each("name", DIAGONALS)
def test_diagonals_that_are_not_there_are_named(name):
    """SciPy's compiled code reads as many places as there are rows of values."""
    X = scipy.sparse.dia_matrix(sparse_rows(), dtype="f")
    X.offsets = DIAGONALS[name](X)
    for action in (make().predict, lambda X: make().fit(X, labels())):
        with pytest.raises(ValueError, match="X is not a sound sparse matrix: |offsets"):
            action(X)


def test_diagonals_outside_hold_nothing():
    X = scipy.sparse.dia_matrix(sparse_rows(), dtype="f")
    wanted = make().predict(X)
    X.data = np.vstack([X.data, X.data[:4]])
    X.offsets = np.append(X.offsets.astype(np.int64), [300, -90, 2**62, -2**63])
    assert make().predict(X).tobytes() == wanted.tobytes()


def test_other_shapes_and_values_are_refused():
    net = make()
    with pytest.raises(ValueError, match=r"X has shape \(90, 299\), must be \(n_samples, 300\)"):
        net.predict(sparse_rows(n_columns=299))
    with pytest.raises(ValueError, match=r"X has shape \(90, 299\)"):
        net.fit(sparse_rows(n_columns=299), labels())
    with pytest.raises(TypeError, match="complex"):
        net.predict(sparse_rows().astype(complex))
    X = sparse_rows()
    at = X.nnz // 2
    row, column = np.searchsorted(X.indptr, at, "right") - 1, X.indices[at]
    X.data[at] = np.nan
    place = rf"^X contains NaN in column {column} \(first in row {row}\); every"
    for given in (X, X.tocsc(), X.tocoo()):
        with pytest.raises(ValueError, match=place):
            net.fit(given, labels())
    found = np.isnan(net.predict(X)).all(axis=1)
    assert found[row] and found.sum() == 1


# ---- memory ----

MEMORY = """
import resource, sys
import numpy as np, scipy.sparse, fastnn
rows, columns, each = 100_000, 1_000_000, 50
rng = np.random.default_rng(0)
X = scipy.sparse.csr_matrix((np.ones(rows * each, "float32"),
                             rng.integers(0, columns, rows * each, dtype=np.int32),
                             np.arange(0, rows * each + 1, each)), (rows, columns))
y = rng.integers(0, 2, rows).astype(np.int32)
fastnn.MLP((200, 32, 2), output="softmax").fit(X[:64, :200], y[:64], epochs=1)
size = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
net = fastnn.MLP((columns, 32, 2), output="softmax", random_state=0, initializer="zeros",
                 n_threads=2)
state = net.parameters.nbytes
net.fit(X, y, optimizer=fastnn.Adagrad(), epochs=1, batch_size=200)
net.predict(X)
net.loss(X, y)
used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
print(used, size, state)
"""


@pytest.mark.slow
def test_a_million_columns_in_a_few_times_the_memory():
    """Weights and their state are there twice (the network's, the fit's): 4 times X beside them."""
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True,
                          env={**os.environ, "OPENBLAS_NUM_THREADS": "1"}, check=True)
    used, size, weights = map(int, done.stdout.split())
    print(f"{used / 2**20:.0f} MiB beside X of {size / 2**20:.0f} and weights of "
          f"{weights / 2**20:.0f}")
    assert used < 4 * (size + 2 * weights)
