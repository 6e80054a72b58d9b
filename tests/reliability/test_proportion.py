"""Time in proportion to what is read or written, each decade over three of them: model files,
checkpoints, ONNX files and tables.

Graphs of many nodes are in ``tests/interop/test_attack_graphs.py``.
"""

import numpy as np
import pytest
from timing import check_in_proportion

import fastnn
from fastnn import export
from fastnn.tables import Schema, read

pytestmark = pytest.mark.slow
SIZES = (10_000, 100_000, 1_000_000, 10_000_000)  # values


def net(n, seed=0):
    """A network of about n parameters."""
    return fastnn.MLP((100, n // 101, 1), random_state=seed, n_threads=1)


def test_model_files(tmp_path):
    nets = {n: net(n) for n in SIZES}

    def save_and_load(n):
        nets[n].save(tmp_path / "m.safetensors")
        fastnn.load(tmp_path / "m.safetensors")

    check_in_proportion(save_and_load, SIZES)


def test_model_files_of_many_layers(tmp_path):
    sizes = (1, 10, 100, 1000)  # a file holds at most 1,000
    nets = {n: fastnn.MLP([4] * (n + 1), random_state=0, n_threads=1) for n in sizes}

    def save_and_load(n):
        nets[n].save(tmp_path / "m.safetensors")
        fastnn.load(tmp_path / "m.safetensors")

    check_in_proportion(save_and_load, sizes)


def test_onnx_files(tmp_path):
    pytest.importorskip("onnx")
    for n in SIZES:
        export.onnx(net(n), tmp_path / f"{n}.onnx")
    check_in_proportion(lambda n: fastnn.from_onnx(tmp_path / f"{n}.onnx"), SIZES)


@pytest.mark.parametrize("kind", ["onnx", "c_header"])
def test_exports_of_many_layers(kind, tmp_path):
    """Names and blocks of a layer are not looked for among those of all others."""
    if kind == "onnx":
        pytest.importorskip("onnx")
    sizes = (3, 30, 300, 3000)
    nets = {n: fastnn.MLP([4] * (n + 1), random_state=0, n_threads=1) for n in sizes}
    check_in_proportion(lambda n: getattr(export, kind)(nets[n], tmp_path / "m.h"), sizes)


def test_checkpoints_by_parameters(tmp_path):
    nets = {n: net(n) for n in SIZES}

    def write_and_resume(n):
        path = tmp_path / f"{n}.checkpoint"
        for epochs in (1, 2):
            nets[n].fit(np.ones((1, 100)), np.ones((1, 1)), epochs=epochs, checkpoint=path)
        path.unlink()

    check_in_proportion(write_and_resume, SIZES)


def test_checkpoints_by_epochs(tmp_path):
    """The losses of all epochs are in the file, which is written once and read once."""
    X = np.ones((1, 1))

    def fit_and_resume(epochs):
        path = tmp_path / "fit.checkpoint"
        for total in (epochs, epochs + 1):
            model = fastnn.MLP((1, 1), random_state=0, n_threads=1)
            model.fit(X, X, epochs=total, checkpoint=path, checkpoint_seconds=1e6)
        assert len(model.history.loss) == total
        path.unlink()

    check_in_proportion(fit_and_resume, (100, 1000, 10_000, 100_000))


CELLS = ["{}.5", "word{}", "2024-01-01 00:00:{:02}", '"a, ""{}"""']


def check_tables(tmp_path, cell, shapes):
    """Tables of these rows and columns, by their number of values."""
    sizes = {rows * columns: (rows, columns) for rows, columns in shapes}
    for n, (rows, columns) in sizes.items():
        lines = [",".join(cell.format((i + j) % 7) for j in range(columns)) for i in range(rows)]
        names = ",".join(f"c{i}" for i in range(columns))
        (tmp_path / f"{n}.csv").write_text("\n".join([names, *lines]))

    def read_and_learn(n):
        table = read(tmp_path / f"{n}.csv")
        schema = Schema.learn(table)
        schema.apply(table)

    check_in_proportion(read_and_learn, tuple(sizes))


@pytest.mark.parametrize("cell", CELLS)
def test_long_tables(tmp_path, cell):
    check_tables(tmp_path, cell, [(rows, 2) for rows in (500, 5000, 50_000, 500_000)])


@pytest.mark.parametrize("cell", CELLS)
def test_wide_tables(tmp_path, cell):
    check_tables(tmp_path, cell, [(30, columns) for columns in (10, 100, 1000, 10_000)])
