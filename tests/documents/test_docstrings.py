"""Docstrings of the whole public API, by numpydoc's rules."""

import ast
import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

import fastnn

validate = pytest.importorskip("numpydoc.validate")
pytest.importorskip("sklearn")

# Rules that are not ours, whatever the object:
LEFT_OUT = {
    "GL01": "text begins at the quotes (PEP 257)",
    "ES01": "one line may say all", "SA01": "`See Also` where it helps",
    "EX01": "examples of classes and functions are tests; a property needs none",
    "SS02": "a summary may begin with a formula, or with a name such as float32",
    "SS06": "a summary may take two lines",
}
# An override has the parameters and the result of what it overrides, where they are described.
OF_OVERRIDES = {"PR01", "RT01"}


def public_objects():
    """Yield the path of each public object, the object, and whether it overrides one of ours."""
    seen = set()
    for name in fastnn.__all__:
        value = getattr(fastnn, name)
        if isinstance(value, ModuleType):
            for inner in value.__all__:
                yield from _of(f"fastnn.{name}.{inner}", getattr(value, inner), seen)
        elif callable(value):
            yield from _of(f"fastnn.{name}", value, seen)


def _of(path, value, seen):
    if id(value) in seen or not callable(value):
        return
    seen.add(id(value))
    yield path, value, False
    if not inspect.isclass(value):
        return
    for name in dir(value):
        if name.startswith("_"):
            continue
        homes = [cls for cls in value.__mro__ if name in vars(cls)]
        member = vars(homes[0])[name]
        if not homes[0].__module__.startswith("fastnn") or id(member) in seen or _foreign(member):
            continue
        seen.add(id(member))
        is_method = inspect.isroutine(member) or hasattr(member, "fn")
        if is_method or isinstance(member, (property, classmethod, staticmethod)):
            ours = [cls for cls in homes[1:] if cls.__module__.startswith("fastnn")]
            yield f"{path}.{name}", member, bool(ours)


def _foreign(member):
    """Whether scikit-learn or Cython has written the docstring: of requests of metadata, and of
    the base of compiled steps."""
    module = getattr(getattr(member, "fn", member), "__module__", None) or ""
    return type(member).__name__ == "RequestMethod" or module.startswith("sklearn.") or (
        getattr(member, "__qualname__", "").startswith("Stepper."))


def test_public_docstrings_are_valid():
    wrong, count = [], 0
    for path, _, overrides in public_objects():
        count += 1
        left_out = LEFT_OUT.keys() | (OF_OVERRIDES if overrides else set())
        for code, message in validate.validate(path)["errors"]:
            if code not in left_out:
                wrong.append(f"{path}: {code} {message}")
    assert count > 250
    assert wrong == []


def test_defaults_are_said_and_true():
    """Of each parameter whose type is said; a name stands for what is no literal, as in Adam()."""
    from numpydoc.docscrape import NumpyDocString

    wrong, count = [], 0
    for path, value, _ in public_objects():
        try:
            parameters = inspect.signature(value).parameters
        except (TypeError, ValueError):  # a property
            continue
        for said in NumpyDocString(inspect.getdoc(value) or "")["Parameters"]:
            names = [name.strip(" *") for name in said.name.split(",")]
            _, is_there, text = said.type.partition("default=")
            for i, name in enumerate(names):
                empty = inspect.Parameter.empty
                default = getattr(parameters.get(name), "default", empty)
                if not is_there:
                    if default is not empty and said.type and "see " not in said.type:
                        wrong.append(f"{path}, {name}: {default!r} is not said")
                    continue
                count += 1
                try:
                    found = eval(text, {"__builtins__": {}})
                except NameError:
                    continue
                found = found[i] if len(names) > 1 and isinstance(found, tuple) else found
                if found != default:
                    wrong.append(f"{path}, {name}: {default!r} is called {text}")
    assert count > 450
    assert wrong == []


def test_defaults_of_what_is_not_public_are_said_and_true():
    """As far as they are literals; of classes by their constructors."""
    wrong, count = [], 0
    for path in sorted(Path(fastnn.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                continue
            made = next((one for one in node.body if getattr(one, "name", "") == "__init__"), None)
            function = node if isinstance(node, ast.FunctionDef) else made
            doc = (ast.get_docstring(node) or "").partition("Parameters\n----------\n")[2]
            if function is None or not doc:
                continue
            own = function.args
            defaults = dict(zip([one.arg for one in [*own.posonlyargs, *own.args]][::-1],
                                own.defaults[::-1], strict=False))
            defaults |= {one.arg: value for one, value in zip(
                own.kwonlyargs, own.kw_defaults, strict=True) if value is not None}
            for names, kind in re.findall(r"^(\S[^:\n]*) : (.+)$",
                                          re.split(r"\n\w+\n---", doc)[0], re.MULTILINE):
                _, is_said, said = kind.partition("default=")
                for i, name in enumerate(names.replace(" ", "").split(",")):
                    if name not in defaults or "see " in kind:
                        continue
                    try:
                        default = ast.literal_eval(defaults[name])
                        found = ast.literal_eval(said) if is_said else None
                    except (SyntaxError, ValueError):  # a name, such as of a constant
                        continue
                    found = found[i] if "," in names and isinstance(found, tuple) else found
                    count += 1
                    if not is_said or found != default:
                        wrong.append(f"{path.name}:{node.lineno} {name}: {default!r} is {kind!r}")
    assert count > 450
    assert wrong == []


def test_rules_that_are_left_out_exist():
    assert set(LEFT_OUT) | OF_OVERRIDES <= set(validate.ERROR_MSGS)


def test_docstrings_of_dask_are_valid():
    pytest.importorskip("dask")
    pytest.importorskip("distributed")
    import fastnn.dask

    wrong, seen = [], set()
    for name in (*fastnn.dask.__all__, "TabularClassifier", "TabularRegressor"):
        for path, _, overrides in _of(f"fastnn.dask.{name}", getattr(fastnn.dask, name), seen):
            left_out = LEFT_OUT.keys() | (OF_OVERRIDES if overrides else set())
            wrong += [f"{path}: {code} {message}" for code, message in
                      validate.validate(path)["errors"] if code not in left_out]
    assert len(seen) >= 10 and wrong == []


def test_all_layers_are_named_where_networks_are_made_of_them():
    from fastnn.network.layers import LAYERS

    assert [layer.__name__ for layer in LAYERS.values()
            if f"`fastnn.{layer.__name__}`" not in fastnn.MLP.of.__doc__] == []
