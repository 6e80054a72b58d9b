"""How a batch is planned: by shape, dtype and instruction set alone."""

import numpy as np
import pytest
from each import each
from planning import DEFAULTS, rule, use_rules
from trainers import make_layout
from training_cells import CELLS

import fastnn
from fastnn.core import _kernels
from fastnn.core.threads import single_threaded_blas
from fastnn.training.plan import plan_training

SIZES = [(1, 1), (3, 5, 7, 2), (784, 256, 128, 10), (20, 64, 64, 2), (5000, 3), (3, 5000, 1)]


@each("sizes", SIZES)
@each("batch", [1, 32, 200, 1000, 100_000])
def test_shards_do_not_depend_on_threads(sizes, batch, dtype):
    layout = make_layout(sizes, dtype)
    plans = [plan_training(layout, batch, n_threads) for n_threads in (1, 2, 3, 64)]
    for n_threads, found in zip((1, 2, 3, 64), plans, strict=True):
        assert (found.shards, found.shard_rows, found.layout, found.products, found.lanes) == (
            plans[0].shards, plans[0].shard_rows, plans[0].layout, plans[0].products,
            plans[0].lanes)
        assert 1 <= found.threads <= min(n_threads, found.shards)
        assert found.shards * found.shard_rows >= batch
        assert found.clock_steps >= 1


@pytest.mark.parametrize("gemm", ["blas", "native"])
def test_gemm_can_be_forced(gemm):
    net = fastnn.MLP((5, 7, 2), gemm=gemm)
    assert net.plan().products == (gemm, gemm)
    assert gemm in str(net.plan())


def test_plan_by_instruction_set():
    """Each has its own rule; what a plan says is what this process runs."""
    assert set(dict(rule("native_width"))) >= set(_kernels.available_isas())
    assert _kernels.isa() in str(fastnn.MLP((5, 7, 2)).plan())


def test_dropout_goes_row_major():
    """Masks are drawn for rows, so that they do not depend on the layout."""
    assert fastnn.MLP((5, 7, 2), gemm="native").plan().layout == "feature-major"
    assert fastnn.MLP((5, 7, 2), gemm="native", dropout=0.1).plan().layout == "row-major"


@pytest.mark.parametrize("gemm", ["native", "blas"])
def test_a_short_epoch_has_one_thread(gemm, monkeypatch):
    """By the work of its rows, as the real rule has it: too short, and it would be over before a
    second thread is awake."""
    use_rules(monkeypatch.setattr, epoch_flops=DEFAULTS["epoch_flops"])
    trainer = CELLS["c"].trainer("float32", gemm, "sgd", 2)
    flops = 4 * 64 * 100 + 6 * 100 * 10  # of a row: X gets no gradient
    enough = int(np.ceil(rule("epoch_flops") / flops))
    assert 100 < enough < 10_000
    trainer.set_data(*CELLS["c"].data(1000, "float32"))
    rng = np.random.default_rng(0)
    for rows, team in ((enough - 1, 1), (enough, 2), (1, 1), (3 * enough, 2)):
        with single_threaded_blas():
            trainer.run_epoch(rng.integers(0, 1000, rows), learning_rate=0.01)
        assert trainer.team == team, rows
    assert trainer.plan.threads == 2


def test_every_backend_trains_alike():
    """To rounding; and the choice travels with copies of the network."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 7)), rng.integers(0, 3, 300)
    results = {}
    for gemm in ("auto", "blas", "native"):
        net = fastnn.MLP((7, 33, 3), "tanh", "softmax", dtype="float64", random_state=0, gemm=gemm)
        net.fit(X, y, epochs=5)
        results[gemm] = net.parameters
    np.testing.assert_allclose(results["native"], results["blas"], rtol=0, atol=1e-11)
    assert any((results["auto"] == results[gemm]).all() for gemm in ("blas", "native"))
