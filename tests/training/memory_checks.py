"""What a fit takes beside its data: bounds, checked by NumPy's own count of its memory.

The count is of all threads of a process, so these run in one of their own, which `test_memory.py`
starts.
"""

import tracemalloc
from contextlib import contextmanager
from itertools import product

import numpy as np
from each import each
from training_cells import CELLS, GEMMS, LARGE

import fastnn
from fastnn.core.threads import single_threaded_blas

# Tables of the epoch's tasks, buffers rounded up to cache lines, and for each thread the gradient
# of one panel of weights, 8192 elements (64 KiB in float64) or 48 rows: more than small networks
# have of parameters.
CONSTANT = 2**16
PYTHON = 24 << 10  # objects of the interpreter: about 20 KiB in a fit


class Peak:
    """Bytes that were taken, and how many of them at a time."""

    kept = most = None

    def __repr__(self):
        return f"kept {self.kept}, at most {self.most}"


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


# The large ones spend their time on page faults: two threads, as they need more, and single
# precision, as they have layers of all kinds there too.
SMALL = [name for name in CELLS if name not in LARGE]
RUNS = [*product(SMALL, GEMMS, (1, 2)), *product(LARGE, ("auto",), (2,))]


@each("name, gemm, n_threads", RUNS)
def trainer(name, gemm, n_threads, dtype):
    """A trainer takes what its workspace says when it is made; its epochs take nothing more."""
    cell = CELLS[name]
    if name in LARGE and dtype == "float64":
        return
    X, y = cell.data(50, dtype)
    order = np.tile(np.arange(50), 1 if name in LARGE else 60)
    with traced() as making:
        made = cell.trainer(dtype, gemm, "adam", n_threads)
    arrays = made.workspace_nbytes + own_nbytes(made)
    assert arrays <= making.kept <= making.most <= arrays + PYTHON, (arrays, making)
    made.set_data(X, y)
    with single_threaded_blas(), traced() as run:
        made.run_epoch(order, learning_rate=0.01)
    assert run.most <= PYTHON, run


@each("name, gemm, n_threads", [run for run in RUNS if run[1] == "auto" or run[2] == 2])
def fit(name, gemm, n_threads, dtype):
    """The trainer's, the order of the rows, and three vectors of parameters: the last finite ones,
    those that the network gets and the next of these. Rows are not copied, but labels are."""
    cell = CELLS[name]
    if name in LARGE and dtype == "float64":
        return
    X, y = cell.data(cell.batch, dtype)
    net = fastnn.MLP(cell.sizes, cell.activation, cell.output, dtype=dtype, random_state=0,
                     n_threads=n_threads, gemm=gemm)
    net.fit(X[:1], y[:1], epochs=1)  # what is imported and cached with the first call
    made = cell.trainer(dtype, gemm, "adam", n_threads)
    order = len(X) * np.dtype(np.intp).itemsize
    labels = len(X) * np.dtype(np.int32).itemsize
    allowed = made.workspace_nbytes + own_nbytes(made) + order + labels
    allowed += 3 * net.parameters.nbytes
    for callback in (None, lambda *_: None):
        with traced() as taken:
            net.fit(X, y, epochs=2, batch_size=cell.batch, callback=callback)
        limit = min(allowed, bound(cell, made) + labels) + PYTHON
        assert taken.most <= limit, (taken, limit)


def fit_that_goes_on(path, dtype):
    """What a checkpoint held is not kept beside the trainer's own."""
    cell = CELLS["e"]
    X, y = cell.data(cell.batch, dtype)
    most = []
    for epochs in (1, 2, 4, 6):
        net = fastnn.MLP(cell.sizes, cell.activation, cell.output, dtype=dtype, random_state=0,
                         n_threads=1)
        with traced() as taken:
            net.fit(X, y, epochs=epochs, batch_size=cell.batch, checkpoint=path,
                    checkpoint_seconds=0)
        most.append(taken.most)
    # for a moment, before the two vectors of `fit`: parameters and two states
    assert max(most[2:]) <= most[1] + PYTHON, most
    assert most[1] <= most[0] + 1.5 * net.parameters.nbytes, most


@each("n_threads", [1, 2])
@each("gemm", GEMMS)
@each("sizes", [(100, 8, 3), (300, 8, 3)])
def rows(sizes, gemm, n_threads, dtype):
    """Rows of the right dtype and order are not copied: feature-major and row-major networks."""
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
        assert taken.most < X.nbytes / 4, (name, taken)
    X = np.asfortranarray(X)
    with traced() as taken:  # a copy would have been seen
        net.fit(X, y, epochs=1)
    assert taken.most > X.nbytes, taken
