"""What the pages show works as written: all code of a page runs, in order, in an empty folder."""

import contextlib
import importlib.util
import io
import os
import re
import warnings

import pytest
from each import each
from pages import code_of, names_not_made_by, pages, text_of

import fastnn

# pages whose code needs more than they say, and is run elsewhere
ELSEWHERE = {"CONTRIBUTING.md": "tests/building/test_packaging.py",
             "docs/dask.md": "tests/dask_cluster: it needs a cluster",
             "docs/export.md": "test_export_documentation.py",
             "docs/import.md": "test_import_documentation.py"}
# packages that a page may need beyond those of the tests
OPTIONAL = {"dask", "distributed", "fastapi", "keras", "matplotlib", "onnx", "onnxruntime",
            "optuna", "pandas", "polars", "pyarrow", "skl2onnx", "sklearn",
            "starlette", "torch", "uvicorn"}
PAGES = [page for page in pages() if page not in ELSEWHERE and code_of(page)]
# languages of blocks that nothing runs here: what a shell, a browser or a reader does with them
READ_ONLY = {"bash", "console", "text", "c", "", "{raw}", "{figure}", "{toctree}", "{eval-rst}",
             "{math}"}
# pages of several fits of a second, which the slow part of the suite runs
SLOW = {"docs/training_control.md", "docs/tabular.md", "docs/estimators.md",
        "docs/how_to/stop_and_resume.md", "docs/how_to/json_rows.md"}


def run(page):
    """Run the code of a page; returns what it has printed, and its names."""
    names, printed = {"__name__": "__main__"}, io.StringIO()
    code = compile(code_of(page), page, "exec")  # a traceback shows the line of the page
    with warnings.catch_warnings(), contextlib.redirect_stdout(printed):
        warnings.simplefilter("ignore")
        exec(code, names)
    return printed.getvalue(), names


@pytest.mark.parametrize("page", [
    pytest.param(page, marks=pytest.mark.slow) if page in SLOW else page for page in PAGES])
def test_code_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        run(page)
    except ImportError as error:
        error = error if error.name else error.__cause__ or error
        package = (error.name or "").partition(".")[0]
        if not package:  # pandas says it in words alone
            package = next((name for name in sorted(OPTIONAL) if name in str(error)
                            and importlib.util.find_spec(name) is None), "")
        if package in OPTIONAL:
            pytest.skip(f"needs {package}")
        raise


def test_errors_in_code_are_found(tmp_path, monkeypatch):
    """The runner can fail, and names the line of the page."""
    page = tmp_path / "page.md"
    page.write_text("# A page\n\n```python\na = 1\n```\n\ntext\n\n<!-- run\nassert a == 2\n-->\n")
    monkeypatch.setattr("pages.ROOT", tmp_path)
    with pytest.raises(AssertionError) as caught:
        run("page.md")
    assert caught.traceback[-1].lineno + 1 == 10


# pages that show calls on arrays and networks of the reader's
FRAGMENTS = {"docs/dask.md": {"X", "y"}, "docs/promises.md": {"net", "X", "y"}}


@each("page", pages())
def test_what_a_reader_copies_is_complete(page):
    """Nothing comes from the blocks that a reader does not see."""
    assert names_not_made_by(page) <= FRAGMENTS.get(page, set())


@each("page", pages())
def test_languages(page):
    """Every block says what it is, so that none is passed over by a typing error."""
    for fence, language in re.findall(r"^(`{3,})([^\n]*)\n.*?^\1$", text_of(page),
                                      re.DOTALL | re.MULTILINE):
        word = language.split(" ")[0]
        assert word == "python" or word in READ_ONLY or word.startswith("{"), (fence, language)
        if page.startswith("docs/how_to/") or page == "README.md":
            assert word, "a block without a language"


@each("page", pages())
def test_names_exist(page):
    """`fastnn.something`, wherever a page says it."""
    for name in set(re.findall(r"\bfastnn((?:\.[A-Za-z_]\w*)+)", text_of(page))):
        found = fastnn
        for part in name[1:].split("."):
            if part in ("safetensors", "def", "h") or os.path.exists(part):
                break
            try:
                found = getattr(found, part)
            except ImportError:  # of a package that is not there
                break
            except AttributeError:
                raise AssertionError(f"there is no fastnn{name}") from None
