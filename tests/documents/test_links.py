"""Links between the pages, looked up without building the site; and what the site's parts name."""

import ast
import re
import types
import unicodedata
from pathlib import PurePosixPath

import pytest
from each import each
from pages import DOCS, ROOT, pages, prose_of, text_of

import fastnn

pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="no docs here")
LINK = re.compile(r"!?\[[^\]]*\]\(<?([^)\s>]+)>?\)")
GALLERY = ROOT / "examples" / "gallery"
# pages of parts that a tree may be without
LATER = {"tabular", "tabular_models", "dask", "plots", "playground"}
MADE = re.compile(r"gallery/(\w+)/(\w+)(\.rst)?$")  # by the build of the site
LISTS = re.compile(r"currentmodule:: (\S+)\n\n\.\. autosummary::\n +:toctree: generated\n"
                   r" +:nosignatures:\n\n((?: +\S+\n)+)")
EXAMPLES = sorted(path.relative_to(GALLERY).as_posix() for path in GALLERY.glob("*/*.py"))


def anchors(page):
    """Where `#...` may lead on a page: headings, as code hosts and MyST call them, and labels."""
    text = prose_of(page)
    found = set(re.findall(r"^\(([\w-]+)\)=$", text, re.MULTILINE))
    for heading in re.findall(r"^#{1,4} (.*)$", text, re.MULTILINE):
        heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = "".join(char for char in unicodedata.normalize("NFC", heading.lower())
                       if char.isalnum() or char in " -_")
        found.add(slug.replace(" ", "-"))
    return found


def inside(folder, link):
    """The path of a link from the top of the tree."""
    parts = []
    for part in (PurePosixPath(folder) / link).parts:
        if part == "..":
            assert parts, f"{link} leads out of the tree"
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)


def check(page, link):
    place, _, anchor = link.partition("#")
    target = inside(PurePosixPath(page).parent, place) if place else page
    if PurePosixPath(target).stem in LATER and not (ROOT / target).exists():
        return
    made = MADE.search(target)
    if made:
        target = f"examples/gallery/{made[1]}" + (f"/{made[2]}.py" if made[2] != "index" else "")
    assert (ROOT / target).exists(), f"{link}: there is no {target}"
    if anchor:
        assert anchor in anchors(target), f"{link}: no such heading in {target}"


def including():
    """All pages, without those that only show a file of the top."""
    return [page for page in pages() if "<!-- file:" not in text_of(page)]


@each("page", including())
def test_links_of_pages(page):
    for link in LINK.findall(prose_of(page)):
        if not re.match(r"[a-z]+:", link):
            check(page, link)


@each("page", including())
def test_tables_of_contents(page):
    text, folder = text_of(page), PurePosixPath(page).parent
    for block in re.findall(r"^```\{toctree\}\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for line in re.findall(r"^(?!:)(\S+)$", block, re.MULTILINE):
            if PurePosixPath(line).name in LATER or line.endswith("gallery/pictures/index"):
                continue
            check(page, line if MADE.search(line) else f"{line}.md")
    for line in re.findall(r"^:link: (\S+)$", text, re.MULTILINE):
        made = MADE.search(inside(folder, line))
        check(page, line if made else f"{line}.md")


def test_every_page_is_in_a_table_of_contents():
    named = set()
    for page in including():
        folder = PurePosixPath(page).parent
        for block in re.findall(r"^```\{toctree\}\n(.*?)^```", text_of(page),
                                re.DOTALL | re.MULTILINE):
            named |= {inside(folder, f"{line}.md")
                      for line in re.findall(r"^(?!:)(\S+)$", block, re.MULTILINE)}
    assert {page for page in pages() if page.startswith("docs/")} <= named | {"docs/index.md"}


@each("example", EXAMPLES)
def test_examples_of_the_gallery(example):
    """A title that sphinx-gallery finds; links to pages that there are."""
    text = (GALLERY / example).read_text(encoding="utf-8")
    title, line, *_ = ast.get_docstring(ast.parse(text)).splitlines()
    assert set(line) == {"="} and len(line) >= len(title)
    for link in re.findall(r":doc:`(?:[^<`]*<)?([^`>]+)>?`", text):
        place = link[1:] if link.startswith("/") else f"gallery/{example.partition('/')[0]}/{link}"
        check("docs/index.md", place if MADE.search(place) else f"{place}.md")


def test_every_public_name_is_in_the_reference():
    """Each name of `fastnn.__all__`, and of the modules in it, has a page."""
    named = set()
    for page in (DOCS / "reference").glob("*.md"):
        text = page.read_text(encoding="utf-8")
        named |= set(re.findall(r"`fastnn\.(\w+)`", text))
        for module, names in LISTS.findall(text):
            for name in names.split():
                if module == "fastnn.dask":  # which may be missing
                    continue
                found = importable(module)
                for part in name.split("."):
                    found = getattr(found, part)
                named.add(name if module == "fastnn" else f"{module[7:]}.{name}")
    names = {name for name in fastnn.__all__
             if name != "__version__" and not isinstance(getattr(fastnn, name), types.ModuleType)}
    assert len(names) > 50 and names <= named
    modules = {name for name in fastnn.__all__
               if isinstance(getattr(fastnn, name), types.ModuleType)}
    assert len(modules) > 8
    short = {entry.rpartition(".")[2] for entry in named}
    for module in modules:
        left_out = [name for name in getattr(fastnn, module).__all__ if name not in short]
        assert left_out == [], module


def importable(module):
    found = fastnn
    for part in module.split(".")[1:]:
        found = getattr(found, part)
    return found


def test_environment_variables():
    """All that are read are explained."""
    read = set()
    for folder, kinds in (("fastnn", ("*.py", "*.pyx")), ("csrc", ("*.c",)),
                          ("examples", ("*.py",))):
        for kind in kinds:
            for path in (ROOT / folder).rglob(kind):
                read |= set(re.findall(r"(?:environ(?:\.get)?[(\[]|getenv\()\s*\"(FASTNN_\w+)\"",
                                       path.read_text(encoding="utf-8")))
    read |= set(re.findall(r"FASTNN_\w+", (ROOT / "setup.py").read_text()))
    page = text_of("docs/reference/environment.md")
    assert read and not [name for name in read if name not in page]


def test_what_is_asked_for_first_is_one_click_away():
    """From README and from the first page of the site."""
    asked = ("sparse_and_codes.md", "how_to/early_stopping.md", "model_files.md", "service.md",
             "tabular_models.md#what-a-prediction-is-made-of", "how_to/class_weights.md",
             "how_to/tune.md", "how_to/stop_and_resume.md", "export.md", "dask.md",
             "large_data.md")
    for page, folder in (("README.md", "docs/"), ("docs/index.md", "")):
        links = LINK.findall(prose_of(page))
        assert [link for link in asked if folder + link not in links] == []
        assert "GPUs" in prose_of(page)


def test_pages_install_from_a_clone():
    """Nothing is on the package index yet: what a page says must work in an empty environment."""
    for page in pages():
        if page != "docs/install.md":
            assert not re.search(r'pip install "?fastnn', text_of(page)), page


def test_parts_of_the_picture_have_their_ratio():
    """An image takes the ratio of the whole file, and would show what lies beside the part."""
    style = (DOCS / "_static" / "site.css").read_text(encoding="utf-8")
    parts = re.findall(r"viewBox\((\d+),0,(\d+),(\d+)\)", text_of("docs/index.md"))
    assert len(parts) == 4
    for left, width, height in parts:
        part = f'[src*="({left},"]' if left != "0" else ""
        rule = rf"img\.hero\.part{re.escape(part)} \{{[^}}]*aspect-ratio: {width} / {height};"
        assert re.search(rule, style), (left, width, height)
