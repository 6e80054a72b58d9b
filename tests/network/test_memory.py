"""What a fit takes beside its data: bounds, checked by NumPy's own count of its memory."""

import os
import tracemalloc
from contextlib import contextmanager

import numpy as np
import pytest
from training_cells import CELLS, GEMMS, LARGE

import fastnn
from fastnn.plan import PANEL, PANEL_ROWS
from fastnn.threads import single_threaded_blas

# Tables of the epoch's tasks, buffers rounded up to cache lines, and for each thread the gradient
# of one panel of weights, 8192 elements (64 KiB in float64) or 48 rows: more than small networks
# have of parameters.
CONSTANT = 2**16
PYTHON = 2**14  # objects that are no arrays: of a trainer, or of a call


class Peak:
    """Bytes that were taken, and how many of them at a time."""

    kept = most = None


@contextmanager
def traced():
    """Counts what Python and NumPy allocate."""
    found = Peak()
    tracemalloc.start()
    try:
        yield found
        found.kept, found.most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()


def own_nbytes(trainer):
    """Parameters and optimizer state."""
    return trainer.parameters.nbytes + sum(state.nbytes for state in trainer.optimizer_state)


def bound(cell, trainer):
    """Three times parameters and optimizer state, four times what a batch's activations take."""
    activations = cell.batch * sum(cell.sizes) * trainer.dtype.itemsize
    return 3 * own_nbytes(trainer) + 4 * activations + CONSTANT


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("gemm", GEMMS)
@pytest.mark.parametrize("name", CELLS)
def test_workspace(name, gemm, n_threads, dtype):
    cell = CELLS[name]
    for optimizer in ("sgd", "adam"):  # one state vector, and two
        trainer = cell.trainer(dtype, gemm, optimizer, n_threads)
        assert trainer.workspace_nbytes <= bound(cell, trainer)


@pytest.mark.parametrize("gemm", GEMMS)
@pytest.mark.parametrize("name", CELLS)
def test_workspace_of_one_more_thread(name, gemm, dtype):
    """Row-major the gradient of a panel; feature-major a scratch, and nothing of the network's."""
    cell = CELLS[name]
    one, two = (cell.trainer(dtype, gemm, "sgd", n_threads) for n_threads in (1, 2))
    itemsize = one.dtype.itemsize
    more = max(PANEL, PANEL_ROWS * max(cell.sizes)) * itemsize
    if one.plan.layout == "columns":
        more = 4 * cell.batch * sum(cell.sizes) * itemsize
    assert two.workspace_nbytes - one.workspace_nbytes <= more + 1024


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("gemm", GEMMS)
@pytest.mark.parametrize("name", CELLS)
def test_workspace_is_what_a_trainer_takes(name, gemm, n_threads, dtype):
    """When it is made; and its epochs take nothing more."""
    cell = CELLS[name]
    X, y = cell.data(50, dtype)
    order = np.tile(np.arange(50), 1 if name in LARGE else 60)
    with traced() as made:
        trainer = cell.trainer(dtype, gemm, "adam", n_threads)
    arrays = trainer.workspace_nbytes + own_nbytes(trainer)
    assert arrays <= made.kept <= made.most <= arrays + PYTHON
    trainer.set_data(X, y)
    with single_threaded_blas(), traced() as run:
        trainer.run_epoch(order, learning_rate=0.01)
    assert run.most <= PYTHON


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("name, gemm", [
    *((name, gemm) for name in CELLS if name not in LARGE for gemm in GEMMS),
    *((name, "auto") for name in LARGE)])
def test_memory_of_a_fit(name, gemm, n_threads, dtype):
    """The trainer's, the order of the rows, and two vectors of parameters: the last finite ones and
    those that the network gets; for a callback the next of these too. Rows are not copied."""
    cell = CELLS[name]
    X, y = cell.data(cell.batch, dtype)
    net = fastnn.MLP(cell.sizes, cell.activation, cell.output, dtype=dtype, random_state=0,
                     n_threads=n_threads, gemm=gemm)
    net.fit(X[:1], y[:1], epochs=1)  # what is imported and cached with the first call
    trainer = cell.trainer(dtype, gemm, "adam", n_threads)
    order = len(X) * np.dtype(np.intp).itemsize
    allowed = trainer.workspace_nbytes + own_nbytes(trainer) + order + 2 * net.parameters.nbytes
    for callback in (None, lambda *_: None):
        most = []
        for _ in range(1 if name in LARGE else 3):  # what other threads allocate counts too
            with traced() as fit:
                net.fit(X, y, epochs=2, batch_size=cell.batch, callback=callback)
            most.append(fit.most)
        assert min(most) <= min(allowed, bound(cell, trainer)) + PYTHON
        allowed += net.parameters.nbytes


def test_memory_of_a_fit_that_goes_on(tmp_path):
    """What the file held is not kept beside the trainer's own."""
    path, cell = tmp_path / "fit.checkpoint", CELLS["e"]
    X, y = cell.data(cell.batch, "float32")
    most = []
    for epochs in (1, 2, 4, 6):
        net = fastnn.MLP(cell.sizes, cell.activation, cell.output, random_state=0, n_threads=1)
        with traced() as fit:
            net.fit(X, y, epochs=epochs, batch_size=cell.batch, checkpoint=path,
                    checkpoint_seconds=0)
        most.append(fit.most)
    # for a moment, before the two vectors of `test_memory_of_a_fit`: parameters and two states
    assert max(most[2:]) <= most[1] + PYTHON
    assert most[1] <= most[0] + 1.5 * net.parameters.nbytes


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("gemm", GEMMS)
@pytest.mark.parametrize("sizes", [(100, 8, 3), (300, 8, 3)], ids=str)
def test_rows_of_the_right_dtype_and_order_are_not_copied(sizes, gemm, n_threads, dtype):
    """Feature-major and row-major networks."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(6_000_000 // sizes[0] // 4, sizes[0])).astype(dtype)
    y = rng.integers(0, 3, len(X)).astype(np.int32)
    net = fastnn.MLP(sizes, output="softmax", dtype=dtype, random_state=0, n_threads=n_threads,
                     gemm=gemm)
    net.fit(X[:10], y[:10], epochs=1)
    calls = {"fit": lambda X: net.fit(X, y, epochs=1), "loss": lambda X: net.loss(X, y),
             "gradient": lambda X: net.loss_and_grad(X, y), "predict": net.predict}
    for name, call in calls.items():
        with traced() as taken:
            call(X)
        assert taken.most < X.nbytes / 4, name
    X = np.asfortranarray(X)
    with traced() as taken:  # a copy would have been seen
        net.fit(X, y, epochs=1)
    assert taken.most > X.nbytes


PREDICT = """
import sys
import numpy as np
import fastnn

X = np.ones((400_000, 8), sys.argv[1])
net = fastnn.MLP((8, *map(int, sys.argv[2:]), 1), dtype=X.dtype, random_state=0, n_threads=2)
net.predict(X[:2000])


def peak():
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) * 1024


before = peak()
net.predict(X)
print(peak() - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads /proc")
@pytest.mark.parametrize("hidden", [(32,), (100, 100)], ids=str)
def test_predictions_go_block_by_block(hidden, dtype, run_python):
    """Beside the result they take the activations of a few rows, not of all."""
    done = run_python(PREDICT, dtype, *hidden)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 400_000 * np.dtype(dtype).itemsize + 2**22
