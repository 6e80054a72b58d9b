"""Every message that the library raises or warns with, read from its source."""

import ast
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "fastnn"
# by where a message is made: (heading, beginning of the path)
AREAS = [
    ("The estimators", ("estimators/",)),
    ("Tables and encoders", ("tables/", "tabular/", "encoders.py", "sources.py")),
    ("The command line", ("cli/",)),
    ("Model files and checkpoints", ("files/", "loading.py", "training/checkpoint.py",
                                     "training/fit_file.py", "network/pickles.py")),
    ("Import and export", ("interop/", "export/")),
    ("Describing a network", ("network/", "mlp.py", "differentiation.py")),
    ("Prediction", ("prediction/",)),
    ("Training", ("training/", "learning.py", "ensemble.py")),
    ("Arguments and arrays of all functions", ("core/",)),
    ("Pictures, the playground, clusters", ("display.py", "drawing.py", "playground/", "dask/")),
    ("Everything else", ("",)),
]


def messages():
    """Yield (area, exception, message, file) of each `raise` and `warn` with a text of ours."""
    for path in sorted(PACKAGE.rglob("*.py")) + sorted(PACKAGE.rglob("*.pyx")):
        place = path.relative_to(PACKAGE).as_posix()
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except SyntaxError:  # Cython
            continue
        area = next(title for title, begins in AREAS if place.startswith(begins))
        for node in ast.walk(tree):
            kind, text = _message(node)
            if text:
                yield area, kind, text, place


def _message(node):
    call = None
    if isinstance(node, ast.Call) and (_name(node.func) or "").endswith("Error"):
        call, kind = node, _name(node.func)  # raised here, or by who asked for it
    elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        call, kind = node.exc, "error"
    elif isinstance(node, ast.Call) and _name(node.func) in ("warn", "notify"):
        call, kind = node, _name(node.args[1]) if len(node.args) > 1 else "UserWarning"
    if call is None or not call.args or not kind:
        return None, None
    text = _text(call.args[0])
    return kind, text if text and len(text.replace("…", "").split()) > 2 else None


def _name(node):
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None


def _text(node):
    """Return a text with "…" in the place of what is put in."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "…"
                       for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        parts = [_text(node.left), _text(node.right)]
        return "".join(part or "…" for part in parts)
    return None


def page():
    """Return the list as Markdown: a table for each area."""
    found = defaultdict(set)
    for area, kind, text, _ in messages():
        found[area].add((kind, " ".join(text.split())))
    parts = []
    for area, _ in AREAS:
        if area in found:
            parts += [f"## {area}", "", "| | message |", "|---|---|"]
            parts += [f"| `{kind}` | {_escaped(text)} |"
                      for kind, text in sorted(found[area], key=lambda pair: pair[1].lower())]
            parts.append("")
    return "\n".join(parts)


def _escaped(text):
    for char in "\\`*_<>[]{}$|~#":
        text = text.replace(char, "\\" + char)
    return text
