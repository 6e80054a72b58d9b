"""Eight shards on a real cluster beside one machine, in the same number of passes."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import fastnn

pytest.importorskip("distributed")
import fastnn.dask  # noqa: E402

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "dask_rounds.py"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def benchmark():
    """The module of the benchmark, which knows where the data are."""
    spec = importlib.util.spec_from_file_location("dask_rounds", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("name", "file", "sizes", "epochs"), [
    ("electricity", "tabular/electricity.csv.gz", (64, 64, 2), 10),
    ("mnist", "mnist.npz", (128, 10), 6)])
def test_eight_shards_reach_the_loss_of_one_machine(benchmark, on_processes, name, file, sizes,
                                                    epochs):
    if not (benchmark.FOLDER / file).exists():
        pytest.skip(f"no {file}")
    X, y, X_test, y_test = getattr(benchmark, name)()
    alone, spread = (fastnn.MLP((X.shape[1], *sizes), output="softmax", random_state=0)
                     for _ in range(2))
    alone.fit(X, y, optimizer=fastnn.Adam(1e-3), batch_size=128, epochs=epochs)
    with on_processes(2) as client:
        fastnn.dask.fit(spread, X, y, client=client, shards=8, optimizer=fastnn.Adam(4e-3),
                        batch_size=32, epochs=epochs)
    assert spread.loss(X, y) < 1.01 * alone.loss(X, y)
    assert spread.loss(X_test, y_test) < 1.01 * alone.loss(X_test, y_test)
    right = [np.mean(net.predict(X_test).argmax(axis=1) == y_test) for net in (alone, spread)]
    assert right[1] > right[0] - 0.005
