"""benchmarks/embed.py on what is installed: its tables, its figures, and what it does not do."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from wrong_arguments import check_wrong_arguments

import fastnn

ROOT = Path(__file__).resolve().parents[2]


def embed(*arguments):
    path = Path(fastnn.__file__).parents[1]
    command = [sys.executable, ROOT / "benchmarks" / "embed.py", *arguments]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          timeout=300, env={**os.environ, "PYTHONPATH": str(path)})


@pytest.mark.slow
@pytest.mark.parametrize("chosen", [("--libraries", "fastnn,numpy"),
                                    pytest.param((), id="installed")])
def test_figures(chosen, tmp_path):
    file = tmp_path / "figures.json"
    done = embed("--quick", "--cells", "a", "--seconds", 0.01, "--markdown", "--json", file,
                 *chosen)
    assert done.returncode == 0, done.stderr
    assert "failed" not in done.stderr, done.stderr
    run = json.loads(file.read_text())
    names = list(run["versions"])
    assert {"fastnn", "numpy"} <= set(names)

    # all rounds of each
    assert [record["peer"] for record in run["startup"]] == names
    for record in run["startup"]:
        for i in range(2):
            assert 0 < record["bare_s"][i] and record["bare_mib"][i] > 1
            assert 0 < record["imported_s"][i] < record["ready_s"][i]
            assert 1 < record["imported_ratio"][i] < record["ready_ratio"][i]
            assert 0 < record["imported_mib"][i] <= record["ready_mib"][i]
    assert [(record["peer"], record["rows"]) for record in run["inference"]] == [
        (name, rows) for name in names for rows in (1, 64)]
    for record in run["inference"]:
        assert all(0 < median <= p99 for median, p99
                   in zip(record["median_us"], record["p99_us"], strict=True))

    # sizes: of all that is needed, and of what serving alone needs
    assert set(run["sizes"]["fastnn"]) == {"fastnn", "numpy", "scipy", "threadpoolctl"}
    assert set(run["sizes"]["fastnn, to serve"]) == {"fastnn", "numpy"}
    assert all(size > 1000 for sizes in run["sizes"].values() for size in sizes.values())

    # the tables
    for name in ["Python alone", "fastnn, without SciPy", *names]:
        assert re.search(rf"^\| {name} \|", done.stdout, re.MULTILINE), done.stdout
    table = re.sub(r"(?<=\d),(?=\d{3})", "", done.stdout)  # 1,330: one that was interrupted
    rows = re.findall(r"^\| 4-16-3 \| (.*?) \| ([\d.]+) \((\w+)\) \|", table, re.MULTILINE)
    assert [row[0] for row in rows] == ["1 row", "1 row, p99", "64 rows"]
    assert all(float(ratio) > 0 and best in names for _, ratio, best in rows)
    assert re.search(r"^  fastnn +\d", done.stderr, re.MULTILINE)


def test_requirements_are_those_of_the_package():
    tomllib = pytest.importorskip("tomllib")
    needs = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    stated = re.search(r"FASTNN_SERVES = (\(.*\)).*\nFASTNN_NEEDS = \(\*FASTNN_SERVES, (.*)\)",
                       (ROOT / "benchmarks" / "embed.py").read_text())
    assert set(re.findall(r'"(\w+)"', stated[0])) == {re.match(r"\w+", each)[0] for each in needs}


def test_wrong_arguments_are_explained(run_python):
    check_wrong_arguments(run_python, "embed.py", {
        "--cells a,h": "unknown cell 'h'; there are a, b, c, d, e, f, g",
        "--libraries tensorflow": "unknown library 'tensorflow'; there are fastnn, ",
        "--rounds 0": "'0' must be a number above 0"})
