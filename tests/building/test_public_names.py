"""What can be reached under which name, and stays so."""

import ast
import importlib
import re
from pathlib import Path

import fastnn

ROOT = Path(__file__).parents[2]
# module: its public names, as they were before there were packages
OLD = {
    "mlp": "MLP History DivergenceWarning",
    "optimizers": "SGD Adam AdamW RMSprop Adagrad Optimizer",
    "predictor": "Predictor Scaler as_predictor",
    "table": "TableEncoder TableError",
    "io": "ModelFormatError",
    "model_file": "load describe",
    "estimators": "MLPClassifier MLPRegressor",
    "interop": "SKOPS_TRUSTED from_keras from_onnx from_sklearn from_torch to_sklearn",
    "export": "c_header onnx register_skl2onnx",
    "config": "show_config",
}


def test_dir_shows_what_there_is():
    shown = set(dir(fastnn))
    assert shown >= set(fastnn.__all__) >= {"MLP", "load", "export", "Dense", "NetworkSpec"}
    for name in fastnn.__all__:
        assert getattr(fastnn, name) is not None
    assert fastnn.export.onnx
    for name in ("tables", "export", "interop", "encoders", "losses", "schedules", "sources"):
        module = importlib.import_module(f"fastnn.{name}")
        assert set(dir(module)) >= set(module.__all__), name


def test_old_places_hold_the_same_objects():
    for module, names in OLD.items():
        found = importlib.import_module(f"fastnn.{module}")
        for name in names.split():
            public = getattr(fastnn, name, None)
            assert getattr(found, name) is not None
            if public is not None and name in fastnn.__all__:
                assert getattr(found, name) is public, (module, name)


def test_classes_are_pickled_under_names_that_stay():
    assert fastnn.MLP.__module__ == "fastnn.mlp"
    for cls in (fastnn.MLPClassifier, fastnn.MLPRegressor):
        assert f"{cls.__module__}.{cls.__qualname__}" in fastnn.SKOPS_TRUSTED


def test_the_stub_for_editors_names_what_is_public():
    """fastnn/__init__.pyi: each name of `__all__` from where it lives, and no other."""
    tree = ast.parse((ROOT / "fastnn" / "__init__.pyi").read_text())
    homes, listed = {}, None
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            for name in node.names:
                assert name.asname == name.name, "as itself: exported"
                homes[name.name] = node.module
        elif isinstance(node, ast.Assign):
            listed = ast.literal_eval(node.value)
    assert sorted(homes) == sorted(listed) == sorted(fastnn.__all__)
    for name, home in homes.items():
        module = importlib.import_module(home)
        assert getattr(module, name) is getattr(fastnn, name)
        if name in fastnn._MODULES:
            assert home == "fastnn"
        else:
            assert home in (f"fastnn.{fastnn._HOME.get(name)}", "fastnn.core.version")


def test_one_python_is_asked_for():
    """README, CONTRIBUTING, Makefile and pyproject.toml name the same version."""
    needed = re.search(r'requires-python = ">=(\d\.\d+)"', (ROOT / "pyproject.toml").read_text())[1]
    for name in ("README.md", "CONTRIBUTING.md", "Makefile"):
        said = re.findall(r"[Pp]ython3?\s\(?(3\.\d+) or newer", (ROOT / name).read_text())
        assert said and set(said) == {needed}, name
