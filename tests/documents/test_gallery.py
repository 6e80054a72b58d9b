"""Examples of the gallery: each runs, draws, and warns of nothing; so does docs/plots.md."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

ROOT = Path(__file__).resolve().parents[2]
ALL = sorted((ROOT / "examples" / "gallery").rglob("*.py"))
GALLERY = sorted((ROOT / "examples" / "gallery" / "pictures").glob("plot_*.py"))
DRAWS = """
import runpy, sys
import matplotlib
matplotlib.use("Agg")
from matplotlib import pyplot as plt
plt.show = lambda: None
runpy.run_path(sys.argv[1], run_name="__main__")
for number in plt.get_fignums():
    plt.figure(number).canvas.draw()
    assert plt.figure(number).axes, "an empty figure"
print("figures:", len(plt.get_fignums()))
"""


def run(path):
    # numbers of figures and warnings of others' making, such as matplotlib's of its fonts, aside
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error::UserWarning"}
    return subprocess.run([sys.executable, "-c", DRAWS, path], capture_output=True, text=True,
                          timeout=120, env=environment)


def test_there_is_a_gallery():
    assert len(GALLERY) >= 8


@pytest.mark.parametrize("path", GALLERY, ids=lambda path: path.stem)
def test_headers_of_examples(path):
    """What sphinx-gallery makes a title and a card of."""
    title, line, *_ = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))).splitlines()
    assert line == "=" * len(title)
    assert max(map(len, path.read_text(encoding="utf-8").splitlines())) <= 100


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_figures_end_in_the_block_that_makes_them(path):
    """sphinx-gallery takes a figure at the end of a block, and closes it: what a later block would
    add is in no picture. Without a layout long labels stand outside of the picture."""
    closed = set()
    for block in path.read_text(encoding="utf-8").split("\n# %%"):
        made = re.findall(r"^(.*) = plt\.(?:subplots|figure)\(([^)]*\)?[^)]*)\)", block,
                          re.MULTILINE)
        names = {name for left, _ in made for name in re.findall(r"\w+", left)}
        late = [name for name in closed - names if re.search(rf"\b{name}\.\w+\(", block)]
        assert not late, (late, block)
        assert all('layout="constrained"' in call for _, call in made), made
        closed |= names


@pytest.mark.slow
@pytest.mark.parametrize("path", GALLERY, ids=lambda path: path.stem)
def test_examples_draw(path):
    done = run(path)
    assert done.returncode == 0, done.stderr
    figures = int(re.search(r"figures: (\d+)", done.stdout)[1])
    assert figures >= (0 if "notebook" in path.stem else 1)


@pytest.mark.slow
def test_code_of_the_document(tmp_path):
    text = (ROOT / "docs" / "plots.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "plots.py").write_text("\n".join(blocks), encoding="utf-8")
    done = run(tmp_path / "plots.py")
    assert done.returncode == 0, done.stderr
    shown = re.search(r"```text\n(.*?)```", text, re.DOTALL)[1]
    assert done.stdout.startswith(shown)
    assert "figures: 5" in done.stdout
