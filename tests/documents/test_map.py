"""The map at the door: CONTRIBUTING.md says where things live, two packages of themselves."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
# whose files are named after what they hold: commands, formats, libraries, pages
PLAIN = {"cli", "playground", "export", "interop"}
OWN = {"tabular", "dask"}  # with a map in their __init__.py


def words(text):
    return {*re.findall(r"\w+", text)}


def test_every_module_is_on_a_map():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    whole = words(text[text.index("## Where things live"):text.index("Three ideas hold it up")])
    missing = []
    for path in sorted([*(ROOT / "fastnn").rglob("*.py*"), *(ROOT / "csrc").glob("*.*")]):
        if path.suffix not in (".py", ".pyx", ".c", ".h", ".def") or path.stem.startswith("__"):
            continue
        package, named = path.parent.name, whole
        if package in OWN:
            named = words(ast.get_docstring(ast.parse((path.parent / "__init__.py").read_text())))
        name = "_ops_" if path.stem.startswith("_ops_") else path.stem
        if package not in PLAIN and not {name, name.removeprefix("_")} & named:
            missing.append(str(path.relative_to(ROOT)))
    assert missing == []
