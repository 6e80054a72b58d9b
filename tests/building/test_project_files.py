"""What other tools read of the project: citation, recipe, workflows, forms; all agree."""

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml")
tomllib = pytest.importorskip("tomllib")
ROOT = Path(__file__).resolve().parents[2]
if not (ROOT / ".readthedocs.yaml").is_file():
    pytest.skip("not a clone", allow_module_level=True)
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]


def read(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    return yaml.safe_load(re.sub(r"\$\{\{(.*?)\}\}", r"<\1>", text))  # templates of other tools


def names(requirements):
    """{name: least version} of requirements."""
    found = {}
    for text in requirements:
        name, least = re.match(r"([\w.-]+)\s*(?:>=\s*([\d.]+))?", text).groups()
        found[name.lower()] = least
    return found


def test_citation():
    citation = read("CITATION.cff")
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert citation["repository-code"] == PROJECT["urls"]["Source"]
    assert citation["authors"] == PROJECT["authors"]
    assert {"cff-version", "message", "title"} <= set(citation)


def test_urls():
    urls = PROJECT["urls"]
    assert {"Documentation", "Source", "Issues", "Changelog"} <= set(urls)
    source = urls["Source"]
    assert all(urls[name].startswith(source + "/") for name in ("Issues", "Changelog"))
    known = {source, urls["Documentation"]}
    for name in ("conda/recipe.yaml", ".github/ISSUE_TEMPLATE/config.yml", "CITATION.cff"):
        for url in re.findall(r"https://[^\s\"']*fastnn[^\s\"']*", (ROOT / name).read_text()):
            assert any(url.startswith(start) for start in known), (name, url)


def test_classifiers_name_the_pythons_of_the_wheels():
    wheels = PYPROJECT["tool"]["cibuildwheel"]["build"].split()
    built = {"3." + re.match(r"cp3(\d+)-", tag)[1] for tag in wheels}
    listed = {text.rpartition(" ")[2] for text in PROJECT["classifiers"]
              if re.match(r"Programming Language :: Python :: 3\.\d", text)}
    assert listed == built
    assert PROJECT["requires-python"].removeprefix(">=") in listed


def test_recipe_has_the_requirements_of_pyproject():
    recipe = read("conda/recipe.yaml")
    requirements = recipe["requirements"]

    def listed(kind):
        found = names(text for text in requirements[kind] if isinstance(text, str))
        found.pop("pip", None)
        return found

    run = listed("run")
    assert run.pop("python") == PROJECT["requires-python"].removeprefix(">=")
    assert run == names(PROJECT["dependencies"])
    host = listed("host")
    host.pop("python")
    assert host == names(PYPROJECT["build-system"]["requires"])
    assert recipe["context"]["version"] == PROJECT["version"]
    assert recipe["package"]["name"] == PROJECT["name"]
    command, _, place = recipe["build"]["python"]["entry_points"][0].partition(" = ")
    assert PROJECT["scripts"] == {command: place}


def test_read_the_docs_builds_the_site():
    made = read(".readthedocs.yaml")
    assert (ROOT / made["sphinx"]["configuration"]).is_file()
    assert made["sphinx"]["fail_on_warning"] is True
    for extra in made["python"]["install"][0]["extra_requirements"]:
        assert extra in PROJECT["optional-dependencies"]


def test_release_is_published_without_a_secret():
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text()
    release = read(".github/workflows/release.yml")
    jobs = release["jobs"]
    assert release["permissions"] == {} and "secrets." not in text and "password:" not in text
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert jobs["publish"]["environment"] == "release"
    assert jobs["publish"]["needs"] == "attest" and set(jobs["attest"]["needs"]) == {
        "wheels", "sdist"}
    assert jobs["attest"]["permissions"]["attestations"] == "write"
    called = jobs["wheels"]["uses"].removeprefix("./")
    assert "workflow_call" in read(called)[True]  # `on` is a boolean of YAML 1.1


def test_pre_commit_runs_the_linters_of_the_project():
    hooks = [hook["id"] for repo in read(".pre-commit-config.yaml")["repos"]
             for hook in repo["hooks"]]
    assert {"ruff-check", "cython-lint"} <= set(hooks)


def test_forms_of_issues():
    forms = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    assert len(forms) >= 4
    for path in forms:
        form = read(path.relative_to(ROOT))
        if path.stem == "config":
            assert form["contact_links"]
            continue
        assert form["name"] and form["description"] and form["body"]
        assert all("id" in part for part in form["body"] if part["type"] != "markdown")


def test_pages_that_people_look_for():
    for name in ("SECURITY.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE"):
        assert (ROOT / name).read_text(encoding="utf-8").strip(), name
    manifest = (ROOT / "MANIFEST.in").read_text()
    assert "CODE_OF_CONDUCT.md" in manifest and "CITATION.cff" in manifest


def test_each_module_has_a_place_on_the_map():
    """In CONTRIBUTING.md, or in the docstring of its package; a command of the command line is
    where its name is."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    text = text[text.index("## Where things live"):text.index("Three ideas hold it up")]
    words = {*re.findall(r"[\w.]+", text.replace("_ops_*", "")), "__init__.py", "__main__.py"}
    missing = []
    for path in sorted((ROOT / "fastnn").rglob("*.py*")) + sorted((ROOT / "csrc").glob("*.*")):
        package, name = path.parent, path.stem
        if path.suffix not in (".py", ".pyx", ".h", ".c", ".def"):
            continue
        own = words
        if (package / "__init__.py").is_file() and package.name != "fastnn":
            code = (package / "__init__.py").read_text(encoding="utf-8")
            own = words | set(re.findall(r"\w+", ast.get_docstring(ast.parse(code)) or ""))
            if package.name == "cli":
                own |= set(re.search(r"^from fastnn.cli import (.*)$", code, re.M)[1].split(", "))
        if not {name, path.name} & own and not name.startswith("_ops_"):
            missing.append(str(path.relative_to(ROOT)))
    assert len(words) > 300 and missing == []


def test_names_of_test_modules_differ():
    """pytest imports them by name alone: of two of one name only one is run."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert names and sorted(set(names)) == sorted(names)


def test_what_programs_wrote_is_kept_only_as_golden_files():
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("not a clone of git")
    kept = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    binary = [name for name in kept.stdout.decode().split("\0") if name
              and "golden" not in Path(name).parts
              and (ROOT / name).is_file() and b"\0" in (ROOT / name).read_bytes()]
    assert binary == []
