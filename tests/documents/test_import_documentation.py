"""docs/import.md: what it shows works as written."""

import os
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "import.md"
SECTION = re.compile(r"^## (.*?)$.*?```python\n(.*?)```", re.MULTILINE | re.DOTALL)
NEEDS = {"PyTorch": "torch", "Keras": "keras", "ONNX": "onnx", "scikit-learn": "sklearn"}
SECTIONS = dict(SECTION.findall(PAGE.read_text(encoding="utf-8"))) if PAGE.is_file() else {}


@pytest.mark.skipif(not SECTIONS, reason="no docs here")
@pytest.mark.parametrize("section", NEEDS)
def test_examples(section, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.environ.setdefault("KERAS_BACKEND", "torch" if find_spec("torch") else "numpy")
    pytest.importorskip(NEEDS[section])
    names = {}
    exec(SECTIONS[section], names)
    if section == "scikit-learn":
        assert (names["back"].predict(names["X"]) == names["est"].predict(names["X"])).all()
    else:
        assert names["net"].sizes == (4, 16, 3) and names["net"].output == "softmax"
    if section == "PyTorch":
        assert names["same"].parameters.tobytes() == names["net"].parameters.tobytes()


def test_every_section_is_tried():
    assert not SECTIONS or set(SECTIONS) == set(NEEDS)
