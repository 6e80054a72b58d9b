"""The pages of the documentation, taken apart."""

import ast
import builtins
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
# what a reader sees, and what he need not see: <!-- run ... -->
CODE = re.compile(r"^```python\n(.*?)^```|^<!-- run\n(.*?)^-->", re.DOTALL | re.MULTILINE)


def pages():
    """Paths of all pages, from the top of the tree: not those that the build of the site makes."""
    found = [path.relative_to(ROOT).as_posix() for path in DOCS.rglob("*.md")]
    return sorted([*found, "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md",
                   "CODE_OF_CONDUCT.md"])


def text_of(page):
    return (ROOT / page).read_text(encoding="utf-8")


def code_of(page):
    """The Python of a page as one program whose lines have the numbers they have in the page."""
    text, lines = text_of(page), []
    for match in CODE.finditer(text):
        group = 1 if match[1] is not None else 2
        first = text.count("\n", 0, match.start(group))
        lines += [""] * (first - len(lines))
        lines += match[group].split("\n")[:-1]
    return "\n".join(lines)


def prose_of(page):
    """The text without blocks of code."""
    text = re.sub(r"<!--.*?-->", "", text_of(page), flags=re.DOTALL)
    return re.sub(r"^( *)```.*?^\1```", "", text, flags=re.DOTALL | re.MULTILINE)


def names_not_made_by(page):
    """The names that the code which a reader sees uses, and none of it makes."""
    tree = ast.parse("\n".join(match[1] for match in CODE.finditer(text_of(page))
                               if match[1] is not None))
    made, used = set(dir(builtins)), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else made).add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            made |= {(one.asname or one.name).partition(".")[0] for one in node.names}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            made.add(node.name)
        elif isinstance(node, ast.arg):
            made.add(node.arg)
    return used - made
