"""Layers whose rows are padded or packed: 4096 bytes of units and more, and very wide inputs.

Such layers take paths of their own in training, and most other tests are of narrow ones.
"""

import copy

import numpy as np
import pytest
import reference
from planning import use_rules

import fastnn

# The only internals here: how many tasks an update is cut into, and how many there may be.
from fastnn.core import _kernels
from fastnn.training import plan

WIDE = {"float32": 1024, "float64": 512}  # units of 4096 bytes, from row to row of an activation
TOLERANCE = {"float32": 3e-5, "float64": 1e-11}  # of the largest element of an array
ROWS = (5, 70)  # one shard; two, of which the second one starts at row 35


def update_tasks(net, batch):
    """Number of tasks that the update of a batch is cut into."""
    chunks = net._layout.chunks(plan.rules.chunk_size, plan.rules.chunk_rows)
    return len(net.plan(batch).groups(chunks)) - 1


def wide_networks(dtype):
    """Networks with one or two wide layers beside narrow ones, and narrow ones alone."""
    n = WIDE[dtype]
    for sizes, activations in [
        ((6, n, 3), ("tanh",)),
        ((6, n, 3), ("gelu",)),  # its derivative needs z as well
        ((6, n, 3), ("relu",)),
        ((6, n, 20, 3), ("silu", "tanh")),
        ((6, 150, n, 3), ("relu", "sigmoid")),
        ((n, 10, n, 3), ("tanh", "relu")),
    ]:
        for gemm in ("native", "blas"):
            net = fastnn.MLP(sizes, activations, "softmax", dtype=dtype, random_state=0,
                             n_threads=2, gemm=gemm)
            rng = np.random.default_rng(1)
            # weighted inputs of size 1, at which no derivative is near 0 or 1, biases too
            net.set_weights([rng.normal(0, 1 / np.sqrt(len(a)) if a.ndim == 2 else 0.5, a.shape)
                             for a in net.get_weights()])
            yield net


def close(got, wanted, dtype, what):
    """Every element within the tolerance of the largest one."""
    error = np.abs(np.asarray(got, float) - wanted).max()
    assert error <= TOLERANCE[dtype] * np.abs(wanted).max(), (what, error)


def data(net, rows):
    rng = np.random.default_rng(2)
    return rng.normal(size=(rows, net.sizes[0])).astype(net.dtype), rng.integers(0, 3, rows)


def arrays_of(net, flat):
    """[W0, b0, ...] of a flat vector like the network's parameters."""
    holder = copy.deepcopy(net)
    holder.parameters[:] = flat
    return holder.get_weights()


def test_gradients_and_error_terms_of_wide_layers_are_the_twins(dtype):
    """Every row, the last ones too; weights and biases."""
    for net in wide_networks(dtype):
        for rows in ROWS:
            X, y = data(net, rows)
            value, wanted, deltas = reference.Twin.of(net).loss_and_grad(
                X, y, "cross_entropy", alpha=0.1, with_deltas=True)
            got_value, grad = net.loss_and_grad(X, y, alpha=0.1)
            name = f"{net!r} {net.gemm} {rows} rows"
            assert got_value == pytest.approx(value, rel=TOLERANCE[dtype]), name
            for i, pair in enumerate(zip(arrays_of(net, grad), wanted, strict=True)):
                close(*pair, dtype, f"{name}: {'Wb'[i % 2]}{i // 2}")
            for i, pair in enumerate(zip(net.deltas(X, y), deltas, strict=True)):
                close(*pair, dtype, f"{name}: dz{i}")


def test_steps_of_wide_layers_are_the_twins(dtype):
    """Two steps, the second one of fewer rows: what is kept beside the weights follows them."""
    for net in wide_networks(dtype):
        X, y = data(net, 55)
        twin = reference.Twin.of(net)
        losses = reference.train(
            twin, X, y, loss_name="cross_entropy", optimizer=reference.SGD(), batch_size=40,
            orders=[np.arange(55)] * 2, learning_rates=[0.01] * 2)
        history = net.fit(X, y, optimizer=fastnn.SGD(0.01), batch_size=40, epochs=2,
                          shuffle=False)
        np.testing.assert_allclose(history.loss, losses, rtol=TOLERANCE[dtype])
        for got, wanted in zip(net.get_weights(), twin.parameters(), strict=True):
            close(got, wanted, dtype, f"{net!r} {net.gemm}")


def test_panels_change_no_bit(dtype, monkeypatch):
    """Of W and of dZ, with rows left over in the last batch, and for any number of threads."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(150, 30)).astype(dtype), rng.integers(0, 3, 150)
    found = set()
    for least in (2**62, 4):
        pairs = tuple((isa, least) for isa, _ in plan.rules.panel_bytes)
        use_rules(monkeypatch.setattr, panel_bytes=pairs, gradient_bytes=pairs,
                  panel_rows=1, epoch_flops=0)
        for n_threads in (1, 2, 3, 8):
            net = fastnn.MLP((30, 300, 50, 3), ("relu", "tanh"), "softmax", dtype=dtype,
                             random_state=0, n_threads=n_threads)
            assert net.plan(64).packs_gradient(0) == (least == 4)
            net.fit(X, y, optimizer=fastnn.Adam(0.01), batch_size=64, epochs=2)
            found.add(net.parameters.tobytes())
    assert len(found) == 1


def test_an_update_never_has_more_tasks_than_there_may_be(dtype):
    """However many weights; and the threads that share these tasks change no bit."""
    for sizes in [(20_000, 128, 10), (6_000, 200, 10), (12_000, 64, 1), (12_100, 300, 2),
                  (300_000, 8, 1), (128, 20_000, 10), (3, 5)]:
        for n_threads in (1, 2, 7):
            net = fastnn.MLP(sizes, dtype=dtype, initializer="zeros", n_threads=n_threads)
            assert 1 <= update_tasks(net, 256) <= _kernels.MAX_TASKS, (sizes, n_threads)

    sizes, rows = (20_000, 32, 10), 64
    X = np.random.default_rng(0).normal(size=(rows, sizes[0])).astype(dtype)
    found = []
    for n_threads in (1, 2):
        net = fastnn.MLP(sizes, output="softmax", dtype=dtype, random_state=0,
                         n_threads=n_threads)
        net.fit(X, np.arange(rows) % 10, epochs=1, batch_size=rows)
        found.append(net.parameters.tobytes())
    assert found[0] == found[1]
