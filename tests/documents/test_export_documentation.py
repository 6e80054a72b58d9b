"""docs/export.md: what it shows works as written."""

import re
import shutil
import subprocess
import warnings
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "export.md"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.skipif(not PAGE.is_file(), reason="no docs here")
def test_examples(tmp_path, monkeypatch):
    for name in ("onnx", "onnxruntime", "skl2onnx"):
        pytest.importorskip(name)
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for code in blocks("python"):
            exec(code, {})
    assert {path.name for path in tmp_path.iterdir()} == {"iris.onnx", "pipe.onnx", "iris.h"}
    if shutil.which("cc") is None:
        pytest.skip("no cc")
    (tmp_path / "flower.c").write_text(*blocks("c"))
    (command,) = blocks("bash")
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("virginica, p = "), done.stderr
