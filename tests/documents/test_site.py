"""The programs of the gallery, and the site's formulas, which are made of the .def tables."""

import ast
import importlib.util
import math
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from each import each
from pages import DOCS, ROOT

import fastnn
from fastnn.core import _kernels

pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="no docs here")
EXAMPLES = sorted(path for folder in ("start", "tutorials")
                  for path in (ROOT / "examples" / "gallery" / folder).glob("*.py"))
NEEDS = {"fastapi_service.py": ("fastapi", "uvicorn", "pandas"), "optuna_pruning.py": ("optuna",),
         "tables.py": ("pandas",), "churn.py": ("pandas",), "house_prices.py": ("pandas",)}


@pytest.fixture(scope="module")
def site():
    """The modules of docs/_ext, by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS / "_ext"))
        yield {name: importlib.import_module(name)
               for name in ("c_formula", "def_tables", "messages", "command_line")}


# ---- formulas: what is shown computes what the kernels compute ----

FUNCTIONS = {"EXP": np.exp, "LOG": np.log, "FABS": np.abs, "SQRT": np.sqrt, "TANH": np.tanh,
             "SIGMOID": lambda z: 1 / (1 + np.exp(-z)),
             "SOFTPLUS": lambda z: np.log1p(np.exp(z)),
             "TANH_SOFTPLUS": lambda z: np.tanh(np.log1p(np.exp(z))),
             "SECH_SOFTPLUS": lambda z: 1 / np.cosh(np.log1p(np.exp(z))),
             "NORMCDF": lambda z: 0.5 * (1 + np.vectorize(math.erf)(z / 2**0.5)),
             "NORMPDF": lambda z: np.exp(-z * z / 2) / (2 * np.pi) ** 0.5}
OPERATORS = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "<": np.less,
             ">": np.greater, "<=": np.less_equal, ">=": np.greater_equal, "==": np.equal,
             "||": np.logical_or, "&&": np.logical_and, "max": np.maximum, "min": np.minimum}


def value(tree, names):
    """A tree of docs/_ext/c_formula.py, computed."""
    kind, *parts = tree
    if kind == "number":
        return float(parts[0])
    if kind == "name":
        return names[parts[0]]
    if kind == "call":
        return FUNCTIONS[parts[0]](*(value(part, names) for part in parts[1:]))
    parts = [value(part, names) for part in parts]
    if kind == "choice":
        return np.where(*parts)
    if kind == "neg":
        return -parts[0]
    return np.sign(parts[0]) if kind == "sign" else OPERATORS[kind](*parts)


def test_formulas_of_activations(site):
    z, found = np.linspace(-7, 7, 57), 0
    for macro, arguments, _ in site["def_tables"].rows("activations.def"):
        if macro != "FNN_ACTIVATION":
            continue
        name, _, shown, slope = arguments
        net = fastnn.MLP((1, 1), output=name, dtype="float64", initializer="zeros")
        net.set_weights([[[1.0]], [0.0]])
        a = net.predict(z[:, None])[:, 0]
        with np.errstate(over="ignore"):
            np.testing.assert_allclose(value(site["c_formula"].parse(shown), {"z": z}), a,
                                       rtol=1e-12, atol=1e-13, err_msg=name)
            if name != "step":
                np.testing.assert_allclose(
                    value(site["c_formula"].parse(slope), {"z": z, "a": a}) + 0 * z,
                    net.jacobian(z[:, None])[:, 0, 0], rtol=1e-12, atol=1e-13, err_msg=name)
        found += 1
    assert found >= 16


def test_formulas_of_losses(site):
    """Those of one output; parameters are called as the comment of the row says."""
    z, y = np.linspace(-3, 3, 25), 0.75
    for macro, arguments, _ in site["def_tables"].rows("losses.def"):
        name, *_, shown, slope = arguments
        if macro == "FNN_ROW_LOSS" or name.startswith("binary_focal"):
            continue
        parameter = {"h0": 0.3 if name == "quantile" else 1.5}
        loss = {"huber": fastnn.losses.Huber(1.5), "quantile": fastnn.losses.Quantile(0.3),
                "tweedie": fastnn.losses.Tweedie(1.5)}.get(name, name)
        net = fastnn.MLP((1, 1), output=arguments[1], dtype="float64", initializer="zeros")
        for at in z:
            net.set_weights([[[1.0]], [0.0]])
            got = net.loss([[at]], [[y]], loss=loss)
            tree = site["c_formula"].parse(shown)
            names = {"z": np.float64(at), "y": np.float64(y), **parameter}
            assert value(tree, names) == pytest.approx(got, rel=1e-9, abs=1e-12), (name, at)


def test_optimizers_are_shown(site):
    """Every row has a formula, and no placeholder is left in it."""
    text = site["def_tables"].optimizers()
    names = [arguments[0] for _, arguments, _ in site["def_tables"].rows("optimizers.def")]
    assert sorted(names) == sorted(_kernels.OPTIMIZERS)
    for name in names:
        part = text.partition(f"### {name}\n")[2].partition("\n### ")[0]
        assert "leftarrow" in part or "```c" in part, name
        assert "leftarrow" not in part or not re.search(r"\bc_\{?\d|\bh\[|\bh_", part), name


def test_adam_reads_as_in_the_paper(site):
    part = site["def_tables"].optimizers().partition("### adam\n")[2]
    assert r"s_{0} \leftarrow \beta_{1} \, s_{0} + \left(1 - \beta_{1}\right) \, g" in part
    assert r"s_{1} \leftarrow \beta_{2} \, s_{1} + \left(1 - \beta_{2}\right) \, g^{2}" in part


@each("text, latex", [
    ("a * b + c", r"a \, b + c"), ("a * (b + c)", r"a \, \left(b + c\right)"),
    ("a - (b - c)", r"a - \left(b - c\right)"), ("-a * b", r"-a \, b"), ("z * z", "z^{2}"),
    ("z > 0 ? z : C(0)", r"\max\left(z, 0\right)"), ("z < 0 ? C(0) : z", r"\max\left(z, 0\right)"),
    ("z < 6 ? z : C(6)", r"\min\left(z, 6\right)"),
    ("z > 0 ? C(1) : z < 0 ? C(-1) : z", r"\mathrm{sign}\left(z\right)"),
    ("FMA(a, b, c)", r"a \, b + c"), ("EXPM1(z)", "e^{z} - 1"), ("a / (b + c)", r"\frac{a}{b + c}"),
])
def test_expressions_of_c(site, text, latex):
    assert site["c_formula"].latex(site["c_formula"].parse(text)) == latex


def test_an_expression_that_is_not_understood_is_an_error(site):
    for text in ("a b", "a ? b", "f(", "a % b"):
        with pytest.raises((ValueError, TypeError, IndexError)):
            site["c_formula"].parse(text)


# ---- lists made of the sources ----


def test_messages_are_listed(site):
    text = site["messages"].page()
    assert text.count("\n| `") > 400
    assert "is being fitted already" in text and "must be in (0, 1)" in text


def test_options_are_listed(site):
    text = site["command_line"].page()
    for part in ("## train", "## predict", "--target", "--checkpoint FILE", "--proba"):
        assert part in text


# ---- programs ----


@each("path", EXAMPLES)
def test_programs_compile(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert any(isinstance(node, ast.Import | ast.ImportFrom) for node in tree.body)


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_programs_run(path, tmp_path):
    """As the build of the site runs them: in an empty folder, with a picture each, no warning."""
    for package in ("matplotlib", "sklearn", *NEEDS.get(path.name, ())):
        pytest.importorskip(package)
    code = ("import runpy, sys, matplotlib; matplotlib.use('agg'); "
            "import matplotlib.pyplot as plt; plt.show = lambda: None; "
            "runpy.run_path(sys.argv[1], run_name='__main__'); assert plt.get_fignums()")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error::UserWarning"}
    done = subprocess.run([sys.executable, "-c", code, str(path)], cwd=tmp_path, text=True,
                          capture_output=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
    """And loads nothing from elsewhere."""
    for package in ("sphinx", "pydata_sphinx_theme", "numpydoc", "sphinx_gallery", "sphinx_design",
                    "sphinx_copybutton", "myst_parser", "matplotlib", "fastapi", "optuna"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}: make docs")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "-q", "-d",
         tmp_path / "doctrees", DOCS, tmp_path / "site"], text=True, capture_output=True,
        timeout=1200, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 150
    loads = re.compile(r'<(?:script|img|iframe|source|link)\b[^>]*\b(?:src|href)="(?:https?:)?//')
    for page in pages:
        assert not loads.search(page.read_text(encoding="utf-8")), page
