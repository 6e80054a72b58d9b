"""The trained parameters are the same bytes for any number of threads.

Nine networks, every optimizer, both dtypes, whoever computes the products. The normal suite takes
fewer numbers of threads for most optimizers, and the three large networks with one optimizer and
few steps; `make test-slow` takes more of them.
"""

import os
from functools import lru_cache
from itertools import pairwise, product
from textwrap import dedent

import numpy as np
import pytest
from each import each
from planning import use_rules
from training_cells import CELLS, LARGE, OPTIMIZERS

import fastnn
from fastnn.core import _kernels
from fastnn.core.threads import single_threaded_blas
from fastnn.training import _loop

THREADS = (1, 2, 3, 4, 7, 8, 16)
DTYPES = ("float32", "float64")


@lru_cache(maxsize=1)
def start(cell, dtype, n_rows):
    """Initial parameters and data; the same for all runs that are compared."""
    net = fastnn.MLP(cell.sizes, output=cell.output, dtype=dtype, random_state=0)
    return net.parameters, *cell.data(n_rows, dtype), np.random.default_rng(1).permutation(n_rows)


def train(cell, dtype, gemm, optimizer, n_threads, batches):
    """The trainer after one epoch of so many whole batches and a short one, and its loss."""
    n_rows = batches * cell.batch + cell.batch // 3 + 1
    parameters, X, y, order = start(cell, dtype, n_rows)
    trainer = cell.trainer(dtype, gemm, optimizer, n_threads)
    trainer.parameters[:] = parameters
    trainer.set_data(X, y)
    with single_threaded_blas():
        loss = trainer.run_epoch(order, learning_rate=0.01)
    assert trainer.step == batches + 1
    assert (trainer.parameters != parameters).any()
    return trainer, loss


def check_all_threads(name, dtype, gemm, optimizer, teams, threads=THREADS, batches=2):
    cell = CELLS[name]
    one, loss = train(cell, dtype, gemm, optimizer, 1, batches)
    assert np.isfinite(one.parameters).all()
    for n_threads in threads[1:]:
        trainer, other_loss = train(cell, dtype, gemm, optimizer, n_threads, batches)
        assert teams[-1] == trainer.team == trainer.plan.threads
        assert other_loss == loss, n_threads
        assert trainer.parameters.tobytes() == one.parameters.tobytes(), n_threads
        for got, wanted in zip(trainer.optimizer_state, one.optimizer_state, strict=True):
            assert got.tobytes() == wanted.tobytes(), n_threads


def test_every_optimizer_is_there():
    assert set(OPTIMIZERS) == set(_kernels.OPTIMIZERS)


@pytest.mark.parametrize("name", sorted(set(CELLS) - set(LARGE)))
@each("gemm", ["native", "blas"])
@each("optimizer", OPTIMIZERS)
def test_bytes(name, dtype, gemm, optimizer, teams):
    """An update is cut as the gradients are, whatever it does: all teams for one optimizer."""
    threads = THREADS if optimizer == "adam" else (1, 2, 7)
    check_all_threads(name, dtype, gemm, optimizer, teams, threads)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(CELLS) - set(LARGE)))
@each("gemm", ["native", "blas"])
@each("optimizer", OPTIMIZERS)
def test_bytes_in_full(name, dtype, gemm, optimizer, teams):
    check_all_threads(name, dtype, gemm, optimizer, teams)


@each("name", ["d", "e"])
def test_bytes_of_mixed_products(name, dtype, teams, monkeypatch):
    """The narrowest layer's by our own kernels, the others' by BLAS."""
    widths = [max(pair) for pair in pairwise(CELLS[name].sizes)]
    use_rules(monkeypatch.setattr, native_width=min(widths))
    assert {*CELLS[name].trainer(dtype, "auto", "sgd", 1).plan.products} == {"native", "blas"}
    check_all_threads(name, dtype, "auto", "adam", teams)


@pytest.mark.parametrize("name, dtype", [
    ("f", "float32"), ("f", "float64"), pytest.param("g", "float32", marks=pytest.mark.slow),
    pytest.param("j", "float32", marks=pytest.mark.slow)])
@each("gemm", ["native", "blas"])
def test_bytes_of_large_networks(name, dtype, gemm, teams):
    check_all_threads(name, dtype, gemm, "adam", teams, (1, 2, 7), batches=1)


def optimizers_for(name, gemm, dtype):
    """A fourth of them for each of the large networks, products and dtype: an update knows none of
    these, so that each with every other is enough."""
    first = LARGE.index(name) + 2 * (gemm == "blas") + (dtype == "float64")
    return sorted(OPTIMIZERS)[first % 4::4]


def test_optimizers_in_pairs():
    found = {(*case, optimizer) for case in product(LARGE, ("native", "blas"), DTYPES)
             for optimizer in optimizers_for(*case)}
    for i, n in enumerate((len(LARGE), 2, 2)):
        assert len({(case[i], case[3]) for case in found}) == n * len(OPTIMIZERS)


@pytest.mark.slow
@pytest.mark.parametrize("gemm", ["native", "blas"])
@pytest.mark.parametrize("name", LARGE)
def test_bytes_of_large_networks_in_full(name, dtype, gemm, teams):
    for optimizer in optimizers_for(name, gemm, dtype):
        check_all_threads(name, dtype, gemm, optimizer, teams)


@pytest.mark.skipif(not (_loop.HAS_OPENMP and os.path.isdir("/proc/self/task")),
                    reason="counts OpenMP's threads in /proc")
def test_planned_teams_are_there(run_python):
    """Otherwise the comparisons above would be of one thread with itself. OpenMP keeps the threads
    of its last team, so that a fresh process can count them."""
    done = run_python(dedent("""
        import os
        import test_thread_bytes as test
        from planning import use_rules

        use_rules(epoch_flops=0)
        before = len(os.listdir("/proc/self/task"))
        for name in "bceg":
            trainer, _ = test.train(test.CELLS[name], "float32", "auto", "sgd", 3, 1)
            now = len(os.listdir("/proc/self/task"))
            print(trainer.team, trainer.plan.threads, now - before + 1)
    """))
    found = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    assert len(found) == 4, done.stderr
    for team, planned, running in found:
        assert running >= team == planned
    assert max(found)[0] > 1
