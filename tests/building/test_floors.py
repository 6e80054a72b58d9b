"""Imports go down only: the floors of the package, read from its sources.

All imports and cimports count, those inside functions too. The tests of the reader stand at the
end.
"""

import ast
import re
from contextlib import suppress
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

import fastnn

ROOT = Path(__file__).resolve().parents[2] / "fastnn"
FLOORS = [  # from the top; modules and packages of one floor do not know each other
    {"cli"},
    {"playground", "config"},
    {"loading", "interop", "export", "dask"},
    {"estimators", "display"},
    {"tabular"},
    {"ensemble"},
    {"mlp", "tables", "encoders", "sources"},
    {"differentiation", "learning"},
    {"training", "prediction"},
    {"files"},
    {"network"},
    {"drawing"},
    {"core"},
]
ABOVE_ALL = {"fastnn", "fastnn.__main__"}
DOORS = {"optimizers", "losses", "schedules", "predictor", "table", "model_file", "io"}  # to names
SUFFIXES = (".py", ".pyx", ".pxd", ".pyi")

TEXTS = re.compile(
    r"""'{3}.*?'{3}|"{3}.*?"{3}|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|\#[^\n]*""", re.DOTALL)
NAMES = re.compile(  # from the beginning of a line or behind ; or :
    r"(?:^|[;:])[ \t]*from[ \t]+([\w.]+)[ \t]+c?import[ \t]*(\([^)]*\)|[^;\n]*)", re.MULTILINE)
MODULES = re.compile(r"(?:^|[;:])[ \t]*c?import[ \t]+([^;\n(]*)", re.MULTILINE)


# functions that import what their argument names; the last one is of core/imports.py
BY_NAME = ("import_module", "__import__", "imported")


def module_of(path, root=ROOT):
    """Return the name of the module that a file belongs to; a .pxd has that of its .pyx."""
    parts = [root.name, *path.relative_to(root).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources():
    """Return the modules with their files."""
    found = {}
    for path in sorted(ROOT.rglob("*")):
        if path.suffix in SUFFIXES and not path.name.startswith("__pycache__"):
            found.setdefault(module_of(path), []).append(path)
    return found


def python_imports(text):
    """Yield (module, names or None) of each import; the dots of a relative one come first."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, None
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or ""), [alias.name for alias in node.names]
        elif isinstance(node, ast.Call) and node.args:
            name = getattr(node.func, "id", getattr(node.func, "attr", None))
            given = node.args[0]
            if name in BY_NAME and isinstance(given, ast.Constant):
                yield given.value, None


def cython_imports(text):
    """The same of a .pyx or .pxd, by its lines."""
    text = TEXTS.sub(lambda found: "" if found[0].startswith("#") else "''",
                     text.replace("\\\n", " "))
    for module, names in NAMES.findall(text):
        names = re.split(r"[,\s]+", re.sub(r"\s+as\s+\w+", "", names.strip("()")))
        yield module, [name for name in names if name]
    for modules in MODULES.findall(text):
        for module in modules.split(","):
            yield module.split()[0], None


def absolute(module, importer, is_package):
    """Return the full name of a module that begins with dots."""
    level = len(module) - len(module.lstrip("."))
    if not level:
        return module
    base = importer.split(".")[:len(importer.split(".")) - level + is_package]
    return ".".join([*base, *filter(None, [module.lstrip(".")])])


def targets(importer, path, homes, known):
    """Return the modules of the package that a file imports."""
    read = python_imports if path.suffix in (".py", ".pyi") else cython_imports
    found = set()
    for module, names in read(path.read_text(encoding="utf-8")):
        module = absolute(module, importer, path.stem == "__init__")
        if module.split(".")[0] != "fastnn":
            continue
        for name in names or [None]:
            inner = f"{module}.{name}"
            if module == "fastnn" and name in homes:
                inner = f"fastnn.{homes[name]}"
            found.add(inner if inner in known else module)
    return found - {importer}


@pytest.fixture(scope="module")
def arrows():
    """Module -> modules that it imports."""
    modules = sources()
    return {module: set().union(*(targets(module, path, fastnn._HOME, modules) for path in paths))
            for module, paths in modules.items()}


def room(module):
    """Return the package, or the module on the ground of the package: fastnn.core.memory is in
    core."""
    return module.split(".")[1]


def floor(module):
    """Return the number of the floor, counted from the top."""
    return next((i for i, rooms in enumerate(FLOORS) if room(module) in rooms), None)


def inner_modules(arrows):
    """Return the modules that stand on a floor."""
    doors = {f"fastnn.{name}" for name in DOORS}
    return [module for module in arrows if module not in ABOVE_ALL | doors]


def test_every_module_has_a_floor(arrows):
    assert len(arrows) > 60, "the sources were not found"
    assert [module for module in inner_modules(arrows) if floor(module) is None] == []
    assert {f"fastnn.{name}" for name in DOORS} | ABOVE_ALL <= arrows.keys()


def test_imports_name_modules_that_exist(arrows):
    assert [(module, target) for module in arrows for target in arrows[module]
            if target not in arrows] == []


def test_no_arrow_goes_up_or_to_a_neighbour(arrows):
    wrong = []
    for module in inner_modules(arrows):
        for target in arrows[module]:
            if target in ABOVE_ALL or room(target) in DOORS:
                wrong.append(f"{module} imports {target}, which stands above all")
            elif floor(target) < floor(module):
                wrong.append(f"{module} imports {target}, which stands above it")
            elif floor(target) == floor(module) and room(target) != room(module):
                wrong.append(f"{module} imports {target}, another room of its floor")
    assert wrong == []


def test_there_is_no_circle(arrows):
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_doors_of_old_names_hold_names_alone(arrows):
    for name in DOORS:
        tree = ast.parse((ROOT / f"{name}.py").read_text(encoding="utf-8"))
        docstring, *imports, names = tree.body
        assert isinstance(docstring.value.value, str), name
        assert imports and all(isinstance(node, ast.ImportFrom) for node in imports), name
        assert [target.id for target in names.targets] == ["__all__"], name
        given = {alias.asname or alias.name for node in imports for alias in node.names}
        assert set(ast.literal_eval(names.value)) == given, name
        assert not (arrows[f"fastnn.{name}"] & ABOVE_ALL), name


def test_table_of_homes_names_what_is_there(arrows):
    for name, home in fastnn._HOME.items():
        assert f"fastnn.{home}" in arrows, name
        if home.startswith("estimators"):
            pytest.importorskip("sklearn")
        value = getattr(import_module(f"fastnn.{home}"), name)
        assert getattr(fastnn, name) is value, name
        if home.startswith(("training", "network", "prediction", "files", "tables", "mlp")):
            assert value.__module__ in (f"fastnn.{home}", "fastnn"), name


def test_all_lists_what_other_modules_import():
    """Of each module that has an `__all__` of strings, but for names with an underscore."""
    files, listed, wrong = sources(), {}, set()
    for module, (path, *_) in files.items():
        text = path.read_text(encoding="utf-8") if path.suffix == ".py" else ""
        for node in ast.parse(text).body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
                with suppress(ValueError):  # made of others
                    listed[module] = ast.literal_eval(node.value)
    assert len(listed) > 100
    for importer, paths in files.items():
        for path in paths:
            read = python_imports if path.suffix in (".py", ".pyi") else cython_imports
            for module, names in read(path.read_text(encoding="utf-8")):
                module = absolute(module, importer, path.stem == "__init__")
                wrong |= {f"{module}.{name}" for name in names or () if module in listed
                          and name not in (*listed[module], "*") and not name.startswith("_")
                          and f"{module}.{name}" not in files}
    assert sorted(wrong) == []


# ---- the reader itself ----

CYTHON = '''"""Text with
from fastnn.mlp import MLP
in it."""
cimport numpy as cnp  # import fastnn.cli
from fastnn.core._kernels cimport (
    FNN_ACT_relu,  # of the table
    real as number,
)
from .plan import rules; import fastnn.core.memory, os
cdef f():
    if x: from fastnn import MLP, \\
        load
    words = "from fastnn.cli import main"
    from ..core cimport _team
from_here = important = 1
'''


def test_reader_of_cython():
    assert sorted((module, names or []) for module, names in cython_imports(CYTHON)) == sorted([
        ("numpy", []), ("fastnn.core._kernels", ["FNN_ACT_relu", "real"]), (".plan", ["rules"]),
        ("fastnn.core.memory", []), ("os", []), ("fastnn", ["MLP", "load"]), ("..core", ["_team"])])


def test_reader_sees_the_imports_of_functions_and_relative_ones(tmp_path):
    path = tmp_path / "module.py"
    path.write_text("def f():\n    from fastnn import MLP, config\n    from . import plan\n"
                    "    import fastnn.core.memory as m, os\n    from ..files.plain import x\n"
                    "    import_module('fastnn.export')\n"
                    "    imported('fastnn.cli').run\n", encoding="utf-8")
    known = {"fastnn.mlp", "fastnn.config", "fastnn.training.plan", "fastnn.core.memory",
             "fastnn.files.plain", "fastnn.export", "fastnn.cli"}
    assert targets("fastnn.training.module", path, {"MLP": "mlp"}, known) == known
    assert absolute(".plan", "fastnn.training", is_package=True) == "fastnn.training.plan"
    assert absolute("..core", "fastnn.training.module", is_package=False) == "fastnn.core"


def test_reader_agrees_with_python_on_python(arrows):
    """What the lines of a .py say is what its syntax tree says."""
    for path in ROOT.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        # which have no lines of their own
        text = re.sub(r'\b(import_module|imported)\("', 'by_name("', text)
        by_tree = {(module, *(names or ())) for module, names in python_imports(text)}
        by_lines = {(module, *(names or ())) for module, names in cython_imports(text)}
        assert by_lines == by_tree, path
