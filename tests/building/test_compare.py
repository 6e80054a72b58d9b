"""benchmarks/compare.py: that it runs, and that it says what it cannot do."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from wrong_arguments import check_wrong_arguments

import fastnn

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SHORT = ("--cells", "a", "--optimizers", "adam", "--rounds", 2, "--seconds", 0.01)


def compare(*arguments, path=()):
    """Run it in an interpreter that sees the folders of ``path`` first."""
    path = [*path, Path(fastnn.__file__).parents[1]]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    command = [sys.executable, BENCHMARKS / "compare.py", *arguments]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          timeout=120, env=env)


def rows(text, name):
    """Numbers of each line of a plain table that starts with a name."""
    lines = re.findall(rf"^  {name} +(.*)$", text, re.MULTILINE)
    return [[float(word.strip("%").replace(",", "")) for word in line.split()] for line in lines]


@pytest.mark.slow
def test_smallest_cell(tmp_path):
    file = tmp_path / "figures.json"
    done = compare(*SHORT, "--peers", "fastnn,numpy", "--markdown", "--json", file)
    assert done.returncode == 0, done.stderr

    # the plain tables
    assert f"fastnn {fastnn.__version__}, numpy " in done.stderr
    for name in ("fastnn", "numpy"):
        (us, rate, share, ratio, spread, _), (one, p99, *_) = rows(done.stderr, name)
        assert us > 0 and spread >= 0 and p99 >= one > 0
        assert rate * us == pytest.approx(1e6 * 32, rel=0.02)
        assert 0 <= share < 1000
        assert (ratio == 1) == (name == "fastnn")

    # the same as ratios
    lines = [[cell.strip() for cell in line.strip("|").split("|")]
             for line in done.stdout.splitlines() if line.startswith("| a 4-16-3 b32")]
    labels = [line[1] for line in lines]
    assert labels == ["adam", "1 row", "1 row, p99", "64 rows", "10,000 rows"]
    assert all(line[4] == f"{line[5]} (numpy)" for line in lines)
    assert all(float(line[5].replace(",", "")) > 0 for line in lines)

    # and all rounds; the two did the same work
    run = json.loads(file.read_text())
    assert [record["peer"] for record in run["training"]] == ["fastnn", "numpy"]
    assert len(run["inference"]) == 6
    for record in run["training"] + run["inference"]:
        assert len(record["blas_flops"]) == len(record["cores"]) == 2
    own, other = (record["first_loss"] for record in run["training"])
    assert own == pytest.approx(other, rel=0.02)


@pytest.mark.slow
def test_a_missing_peer_is_named_and_left_out(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('not here')")
    done = compare(*SHORT, "--tables", "training", "--peers", "numpy,torch", path=[tmp_path])
    assert done.returncode == 0, done.stderr
    assert "torch is not installed and left out (not here)" in done.stderr
    assert re.search(r"^  numpy ", done.stdout, re.MULTILINE)
    assert "torch" not in done.stdout


def test_wrong_arguments_are_explained(run_python):
    check_wrong_arguments(run_python, "compare.py", {
        "--cells a,z": "unknown cell 'z'; there are a, b, c, d, e, f, g, h, i, j",
        "--peers tensorflow": "unknown peer 'tensorflow'; there are fastnn, ",
        "--optimizers lion": "unknown optimizer 'lion'; there are sgd, adam",
        "--threads 1,0": "'0' must be a number above 0",
        "--seconds long": "'long' must be a number above 0"})


def test_kernels_of_another_processor_are_warned_about(run_python):
    code = """
import argparse, sys
sys.path.insert(0, sys.argv[1])
import compare
run = compare.describe(argparse.Namespace(threads=[1], rounds=1, seconds=1))
assert any("OPENBLAS_CORETYPE=Haswell" in warning for warning in run["warnings"])
"""
    done = run_python(code, BENCHMARKS, OPENBLAS_CORETYPE="Haswell")
    assert done.returncode == 0, done.stderr


def test_operations_of_a_cell(run_python):
    code = """
import sys
sys.path.insert(0, sys.argv[1])
from benchmarks.grid import GRID
cell = GRID["e"]  # 784-256-128-10
assert cell.flops_of_prediction == 2 * (784 * 256 + 256 * 128 + 128 * 10)
assert cell.flops_of_training == 4 * 784 * 256 + 6 * (256 * 128 + 128 * 10)
"""
    done = run_python(code, BENCHMARKS)
    assert done.returncode == 0, done.stderr
