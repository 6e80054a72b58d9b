"""benchmarks/two_threads.py: that it runs, and that it says what it cannot do."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastnn

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "two_threads.py"
pytestmark = [pytest.mark.slow,
              pytest.mark.skipif(not SCRIPT.exists(), reason="not in a source tree")]


def two_threads(*arguments):
    env = {**os.environ, "PYTHONPATH": str(Path(fastnn.__file__).parents[1])}
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True,
                          text=True, timeout=120, env=env)


def test_cells_and_a_table(tmp_path):
    pytest.importorskip("pandas")
    pytest.importorskip("sklearn")
    table = tmp_path / "line.csv"
    table.write_text("x,y\n" + "".join(f"{i / 40},{i / 20 + 0.01 * (i % 3)}\n" for i in range(80)))
    done = two_threads("--cells", "a,fit_many", "--tables", table, "--rounds", 2)
    assert done.returncode == 0, done.stderr
    head, *lines = done.stdout.splitlines()
    assert head.split("|")[-1].strip() == "over processes"
    assert [line.split()[0] for line in lines] == ["a", "fit_many", "line"]
    for line in lines:
        one, processes, threads, doubled, _, _, shared, _, _, share = map(
            float, re.findall(r"\d+\.\d+", line))
        assert min(one, processes, threads) > 0
        assert 0.01 < shared < 10 and 0.01 < doubled < 10 and share > 0


@pytest.mark.parametrize("arguments, said", [
    (("--cells", "zz"), "--cells: 'zz' is none of a, b, "),
    (("--cells", "", "--tables", "none.csv"), "--tables: there is no file none.csv")])
def test_what_it_cannot_do(arguments, said):
    done = two_threads(*arguments)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr
