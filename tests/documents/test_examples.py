"""The examples, run the way a reader runs them.

The examples on real data need its folder, see `examples/_common.py`.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("FASTNN_DATA", ROOT.parent / "shared" / "data"))
EXAMPLES = {  # file, what the example promises, and for a shorter run: epochs, score
    "mnist.py": ("mnist.npz", 0.975, 1, 0.94),
    "housing.py": ("housing.csv.gz", 0.78, 12, 0.78),
    "adult.py": ("adult.csv.gz", 0.85, 6, 0.85),
}
ROW = re.compile(r"^(?P<name>\S.*?) {2,}(?P<score>-?\d+\.\d+) +(?P<seconds>\d+\.\d+)"
                 r"(?: +(?P<speed>\d+\.\d+)x)?$", re.MULTILINE)


def run(*command, **environment):
    return subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True,
                          timeout=600, env={**os.environ, **environment})


def table_of(name, *arguments):
    """The rows that an example prints: {model: {"score", "seconds", "speed"}}."""
    done = run(ROOT / "examples" / name, *arguments)
    assert done.returncode == 0, done.stderr
    rows = {}
    for match in ROW.finditer(done.stdout):
        name, *columns = match.groups()
        columns = zip(("score", "seconds", "speed"), columns, strict=True)
        rows[name] = {column: float(value) for column, value in columns if value is not None}
    assert rows, done.stdout
    return rows


def data_of(name):
    path = DATA / EXAMPLES[name][0]
    if not path.is_file():
        pytest.skip(f"no {path}")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_score_after_fewer_epochs(name):
    *_, epochs, least = EXAMPLES[name]
    rows = table_of(name, data_of(name), "--threads", 2, "--epochs", epochs)
    for model, row in rows.items():
        assert row["score"] >= least, model


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
@pytest.mark.parametrize("name", EXAMPLES)
def test_score(name, seed):
    rows = table_of(name, data_of(name), "--seed", seed, "--threads", 2)
    assert rows.popitem()[1]["score"] >= EXAMPLES[name][1]


@pytest.mark.slow
def test_digits_demo():
    rows = table_of("digits_demo.py", "--threads", 1, "--epochs", 40)
    assert set(rows) == {"scikit-learn", "fastnn", "fastnn, float32"}
    assert all(row["score"] > 0.94 for row in rows.values())
    assert rows["fastnn"]["score"] == rows["scikit-learn"]["score"]


@pytest.mark.slow
def test_mnist_is_faster_than_scikit_learn_on_one_thread():
    rows = table_of("mnist.py", data_of("mnist.py"), "--compare", "--threads", 1, "--rounds", 3)
    assert rows["fastnn.MLP"]["speed"] > 1
    assert rows["fastnn.MLPClassifier"]["speed"] > 1


@pytest.mark.parametrize("name", [
    "mnist.py", *(pytest.param(name, marks=pytest.mark.slow) for name in EXAMPLES
                  if name != "mnist.py")])  # those import pandas and scikit-learn first
def test_missing_data_is_explained(name, tmp_path):
    done = run(ROOT / "examples" / name, FASTNN_DATA=str(tmp_path))
    assert done.returncode == 2
    assert str(tmp_path / EXAMPLES[name][0]) in done.stderr
    assert "FASTNN_DATA" in done.stderr and "Traceback" not in done.stderr
