"""What a fit takes beside its data: bounds on the workspace, and that it is all there is."""

import os

import numpy as np
import pytest
from each import each
from memory_checks import bound
from planning import rule
from training_cells import CELLS, GEMMS, LARGE


@each("n_threads", [1, 2])
@each("gemm", GEMMS)
@each("name", CELLS)
def test_workspace(name, gemm, n_threads, dtype):
    cell = CELLS[name]
    if name in LARGE and (dtype == "float64" or n_threads == 1):  # pages upon pages
        return
    for optimizer in ("sgd", "adam"):  # one state vector, and two
        trainer = cell.trainer(dtype, gemm, optimizer, n_threads)
        assert trainer.workspace_nbytes <= bound(cell, trainer)


@each("gemm", GEMMS)
@each("name", CELLS)
def test_workspace_of_one_more_thread(name, gemm, dtype):
    """Row-major the gradient of a panel, and where X' dZ packs columns of X room for them;
    feature-major a scratch, and nothing of the network's."""
    cell = CELLS[name]
    if name in LARGE and dtype == "float64":
        return
    one, two = (cell.trainer(dtype, gemm, "sgd", n_threads) for n_threads in (1, 2))
    itemsize = one.dtype.itemsize
    more = max(rule("chunk_size"), rule("chunk_rows") * max(cell.sizes)) * itemsize
    if one.plan.layout == "feature-major":
        more = 4 * cell.batch * sum(cell.sizes) * itemsize
    if any(one.plan.packs_gradient(op) for op in range(len(cell.sizes) - 1)):
        more += 48 * 1024 * 4 + 64  # FNN_ROOM
    assert two.workspace_nbytes - one.workspace_nbytes <= more + 1024


@pytest.mark.parametrize("check, dtype", [
    ("trainer", "float32"),
    *(pytest.param(*case, marks=pytest.mark.slow) for case in (
        ("trainer", "float64"), ("fit", "float64"), ("fit", "float32"),
        ("fit_that_goes_on", "float64"), ("fit_that_goes_on", "float32"),
        ("rows", "float64"), ("rows", "float32")))])
def test_bytes_taken(check, dtype, run_python, tmp_path):
    """Counted in a process of its own, where no other thread allocates: see memory_checks.py."""
    paths = [tmp_path / "fit.checkpoint"] * (check == "fit_that_goes_on")
    code = f"""
import sys
import memory_checks
from planning import use_rules
use_rules(epoch_flops=0)  # epochs get their threads, however short they are
memory_checks.{check}(*sys.argv[2:], dtype=sys.argv[1])
"""
    done = run_python(code, dtype, *paths, OMP_NUM_THREADS=1)
    assert done.returncode == 0, done.stderr


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
