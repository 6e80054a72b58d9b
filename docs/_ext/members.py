"""The reference: members that this library wrote, and docstrings in which |x| is no markup."""

import re


def _skip(app, what, name, obj, skip, options):
    home = getattr(obj, "__module__", None) or getattr(getattr(obj, "fget", None), "__module__", "")
    if name.startswith("_") or (callable(obj) or isinstance(obj, property)) and home and (
            not home.startswith("fastnn")):
        return True
    return None


LITERAL = re.compile(r"(``.*?``|`.*?`)")
NAMED = re.compile(r"\s*[\w, *]+ : ")  # "name : type" of numpydoc


def _escape(app, what, name, obj, options, lines):
    """Escape what reStructuredText would take for a substitution or a link: |x| and name_."""
    examples = False
    for number, line in enumerate(lines):
        if number + 1 < len(lines) and re.fullmatch(r"\s*-{4,}\s*", lines[number + 1]):
            examples = line.strip() == "Examples"
        if examples or line.lstrip().startswith(">>>"):
            continue
        named = NAMED.match(line)
        begin = named.end() if named else 0  # numpydoc sees to the name itself
        parts = LITERAL.split(line[begin:])
        for at in range(0, len(parts), 2):
            text = parts[at].replace("|", r"\|")
            parts[at] = re.sub(r"(\w)_(?=[\s,.;:)]|$)", r"\1\\_", text)
        lines[number] = line[:begin] + "".join(parts)


def setup(app):
    """Ask for each member; read docstrings before numpydoc does."""
    app.connect("autodoc-skip-member", _skip)
    app.connect("autodoc-process-docstring", _escape, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
