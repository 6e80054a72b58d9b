"""Links from a page to files of the tree that are no pages: they lead to the repository.

On a code host `[service.py](../examples/service.py)` opens the file; on the site it would lead
nowhere. Files that are part of a page of the site lead there.
"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"(\]\()((?:\.\./)+)([^)#\s]+)(#[^)\s]*)?(\))")
PAGES = {"CONTRIBUTING.md": "under_the_hood/contributing.md",
         "CHANGELOG.md": "under_the_hood/changelog.md",
         "SECURITY.md": "under_the_hood/security.md",
         "CODE_OF_CONDUCT.md": "under_the_hood/conduct.md",
         "README.md": "index.md"}
INCLUDED = set(PAGES.values()) - {"index.md"}


def _rewrite(app, name, source):
    folder = Path(app.srcdir) / Path(name).parent

    def to_site(target, anchor):
        up = "../" * (len(folder.resolve().relative_to(app.srcdir).parts))
        return f"{up}{target}{anchor or ''}"

    def link(match):
        start, dots, rest, anchor, end = match.groups()
        place = (folder / (dots + rest)).resolve()
        if not place.exists() or place.is_relative_to(app.srcdir):
            return match[0]
        inside = place.relative_to(ROOT).as_posix()
        if inside in PAGES:
            return start + to_site(PAGES[inside], anchor) + end
        example = re.fullmatch(r"examples/(gallery/\w+/\w+)\.py", inside)
        if example:
            return f"{start}{to_site(example[1] + '.rst', '')}{end}"
        return f"{start}{app.config.repository}/blob/main/{inside}{anchor or ''}{end}"

    text = source[0]
    if name + ".md" in INCLUDED:  # written for the top of the tree
        text = re.sub(r"\]\((?!https?:|#|mailto:|\.\./)", "](../../", _included(text, folder))
        text = re.sub(r"\]\(\.\./\.\./docs/", "](../", text)
    if name == "how_to/index":  # pages of parts that may be left out
        text = re.sub(r"^\.\./(\S+)\n", lambda match: match[0] * _exists(app, match[1]), text,
                      flags=re.MULTILINE)
    source[0] = LINK.sub(link, text)


def _exists(app, page):
    if page.startswith("gallery/"):
        return (ROOT / "examples" / page).parent.is_dir()
    return (Path(app.srcdir) / f"{page}.md").exists()


def _included(text, folder):
    """Put in what `<!-- file: ../../CHANGELOG.md -->` names."""
    return re.sub(r"^<!-- file: (\S+) -->$",
                  lambda match: (folder / match[1]).read_text(encoding="utf-8"), text,
                  flags=re.MULTILINE)


def setup(app):
    """Look at each page before it is parsed."""
    app.add_config_value("repository", "", "html")
    app.connect("source-read", _rewrite)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
