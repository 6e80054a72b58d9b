"""C headers, compiled and run beside the predictions."""

import re
import shutil
import subprocess
import warnings

import numpy as np
import pytest
from c_programs import SANITIZE, STRICT
from export_cases import DTYPES, EVERY, N_IN, assert_close, make, outputs_of, pairs, rows_for

import fastnn
from fastnn import MLP, Predictor, Scaler, export
from fastnn.core._kernels import ACTIVATIONS
from fastnn.export import _c, _c_text
from fastnn.tabular import TabularModel

N_ROWS = 2000
BUILDS = {
    "gcc c99": ["gcc", "-std=c99", "-O2", *STRICT],
    "clang c99": ["clang", "-std=c99", "-O2", *STRICT],
    "gcc c++": ["g++", "-std=c++17", "-O1", "-x", "c++", *STRICT],
    "clang c++": ["clang++", "-std=c++17", "-O2", "-x", "c++", *STRICT],
    "gcc sanitizers": ["gcc", "-std=c99", *SANITIZE, *STRICT],
    "clang sanitizers": ["clang", "-std=c99", *SANITIZE, *STRICT],
}
# a program of all models: reads the inputs of each, writes its outputs and classes
DRIVER = """
#include <stdio.h>
#include <stdlib.h>
{includes}
int self_tests_of_the_other_file(void);
#define RUN(P, REAL, N_IN, N_OUT, N_SCRATCH, DECIDE) \\
    static int run_##P(void) {{ \\
        FILE *in = fopen(#P ".in", "rb"), *to = fopen(#P ".out", "wb"); \\
        FILE *decisions = fopen(#P ".decisions", "wb"); \\
        REAL *scratch = (REAL *)malloc(N_SCRATCH * sizeof(REAL)); \\
        REAL *x = (REAL *)malloc(N_IN * sizeof(REAL)); \\
        REAL *out = (REAL *)malloc(N_OUT * sizeof(REAL)); \\
        if (!in || !to || !decisions || !scratch || !x || !out) return 2; \\
        while (fread(x, sizeof(REAL), N_IN, in) == N_IN) {{ \\
            int decided[N_OUT] = {{0}}; \\
            P##_predict(x, out, scratch); \\
            fwrite(out, sizeof(REAL), N_OUT, to); \\
            DECIDE \\
            fwrite(decided, sizeof(int), N_OUT, decisions); \\
        }} \\
        if (P##_self_test()) {{ printf("%s failed\\n", #P); return 1; }} \\
        fclose(in); fclose(to); fclose(decisions); free(scratch); free(x); free(out); \\
        return 0; \\
    }}
{runs}
int main(void) {{
    if ({calls}) return 1;
    return self_tests_of_the_other_file();
}}
"""
OTHER = """
{includes}
int self_tests_of_the_other_file(void);
int self_tests_of_the_other_file(void) {{ return {tests}; }}
"""


def need(compiler):
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}")


def run(*command, cwd):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


def write_program(folder, models):
    """Headers, inputs, and two source files that include all headers."""
    includes, runs = [], []
    for name, predictor in models.items():
        export.c_header(predictor, folder / f"{name}.h", name)
        rows_for(predictor, N_ROWS).tofile(folder / f"{name}.in")
        decide = {"classification": f"decided[0] = {name}_class(out);",
                  "multilabel": f"{name}_labels(out, decided);"}.get(predictor.task, "")
        real = "float" if predictor.net.dtype == np.float32 else "double"
        macros = ", ".join(f"{name.upper()}_{size}"
                           for size in ("N_INPUTS", "N_OUTPUTS", "SCRATCH"))
        includes.append(f'#include "{name}.h"')
        runs.append(f"RUN({name}, {real}, {macros}, {decide})")
    includes = "\n".join(includes)
    (folder / "main.c").write_text(DRIVER.format(
        includes=includes, runs="\n".join(runs),
        calls=" || ".join(f"run_{name}()" for name in models)))
    tests = " + ".join(f"{name}_self_test()" for name in models)
    (folder / "other.c").write_text(OTHER.format(includes=includes, tests=tests))


def compare(folder, models):
    """The answers of the program beside the predictions."""
    for name, predictor in models.items():
        rows = rows_for(predictor, N_ROWS)
        expected = outputs_of(predictor, rows)
        found = np.fromfile(folder / f"{name}.out", predictor.net.dtype)
        assert_close(found.reshape(expected.shape), expected)
        decided = np.fromfile(folder / f"{name}.decisions", np.intc).reshape(expected.shape)
        # equal but where two probabilities are so, to rounding
        if predictor.task == "multilabel":
            clear = (np.abs(expected - 0.5) > 1e-6).all(axis=1)
            assert (decided == predictor.predict(rows))[clear].all()
        elif predictor.task == "classification":
            top = np.sort(predictor.predict_proba(rows), axis=1)
            clear = top[:, -1] - top[:, -2] > 1e-6
            labels = predictor.classes_[decided[:, 0]]
            assert (labels == predictor.predict(rows))[clear].all()


def models_of(cases):
    hidden = [(9, 6), (12,), (4, 7, 5)]
    return {f"m{i}": make(*case, scaled=i % 4 == 0, seed=i, hidden=hidden[i % 3])
            for i, case in enumerate(cases)}


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    folder = tmp_path_factory.mktemp("c")
    models = models_of(pairs())
    models["linear"] = make("multiclass", "identity", "float32", hidden=())
    models["scaled"] = make("targets", "identity", "float64", hidden=(), scaled=True)
    write_program(folder, models)
    return folder, models


@pytest.mark.parametrize("build", [
    "gcc c99",
    *(pytest.param(build, marks=pytest.mark.slow) for build in BUILDS if build != "gcc c99")])
def test_builds(build, program):
    """Every activation, task and dtype in one program of two files."""
    folder, models = program
    command = BUILDS[build]
    need(command[0])
    run(*command, "main.c", "other.c", "-o", "program", "-lm", cwd=folder)
    run("./program", cwd=folder)
    compare(folder, models)


@pytest.mark.slow
@pytest.mark.parametrize("build", BUILDS)
def test_matrix(build, tmp_path):
    command = BUILDS[build]
    need(command[0])
    models = models_of(EVERY)
    write_program(tmp_path, models)
    run(*command, "main.c", "other.c", "-o", "program", "-lm", cwd=tmp_path)
    run("./program", cwd=tmp_path)
    compare(tmp_path, models)


def test_needs_libm_alone_and_keeps_no_state(program):
    folder, models = program
    need("gcc")
    need("nm")
    run("gcc", "-std=c99", "-O2", "-c", "other.c", "-o", "other.o", cwd=folder)
    symbols = [line.split()[-2:] for line in run("nm", "other.o", cwd=folder).splitlines()]
    needed = {name for kind, name in symbols if kind == "U"}
    maths = {f"{name}{f}" for name in ("exp", "tanh", "expm1", "log1p", "erfc") for f in ("", "f")}
    # what a compiler may call by itself
    assert needed <= maths | {"_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail", "memcpy", "memset"}
    assert {kind for kind, _ in symbols} <= {"U", "T", "t", "r", "R"}


def test_every_activation_has_a_row():
    assert {*_c.ACTIVATIONS, *_c.ROW_OUTPUTS} == {*ACTIVATIONS, "softmax"}


def test_each_number_is_exact(dtype, tmp_path):
    rng = np.random.default_rng(0)
    net = MLP((30, 10), dtype=dtype, random_state=0)
    info = np.finfo(dtype)
    values = rng.normal(size=(30, 10)) * 10.0 ** rng.integers(-30, 3, (30, 10))
    values.flat[:6] = [0, -0.0, info.smallest_subnormal, -info.tiny, 1, info.eps]
    net.set_weights([values, np.zeros(10)])
    export.c_header(net, tmp_path / "m.h")
    body = re.search(r"model_W0\[300\] = \{(.*?)\}", (tmp_path / "m.h").read_text(), re.S)[1]
    words = [word.strip().removesuffix("f") for word in body.split(",") if word.strip()]
    found = np.array([float.fromhex(word) for word in words], dtype)
    assert found.tobytes() == net.weights[0].tobytes()


def test_labels(tmp_path):
    """Strings, also awkward ones, whole numbers, booleans, floats; none for what C cannot hold."""
    need("gcc")
    kinds = {
        "words": ["a", 'quote " \\ ??/ */ \n é 漢7', ""],
        "numbers": [-3, 0, 2**31 - 1],
        "large": [0, 1, -(2**62)],
        "floats": [0.1, -2.0, 1e300],
    }
    for name, classes in kinds.items():
        predictor = Predictor(MLP((2, 3), output="softmax", random_state=0), "classification",
                              classes=classes, feature_names=["*/", "\\"])
        export.c_header(predictor, tmp_path / f"{name}.h", name)
    formats = {"words": "%s", "numbers": "%d", "large": "%lld", "floats": "%a"}
    prints = "".join(f'for (i = 0; i < {name.upper()}_N_CLASSES; ++i) '
                     f'printf("{form}|", {name}_classes[i]);\n' for name, form in formats.items())
    includes = "".join(f'#include "{name}.h"\n' for name in kinds)
    (tmp_path / "m.c").write_text(
        f"#include <stdio.h>\n{includes}int main(void) {{ int i; {prints} return 0; }}\n")
    run("gcc", "-std=c99", *STRICT, "m.c", "-o", "m", "-lm", cwd=tmp_path)
    found = run("./m", cwd=tmp_path).split("|")
    assert found[:9] == [str(label) for kind in ("words", "numbers", "large")
                         for label in kinds[kind]]
    assert [float.fromhex(word) for word in found[9:12]] == kinds["floats"]

    predictor = Predictor(MLP((2, 2), output="softmax", random_state=0), "classification",
                          classes=np.array([1, "a"], object))
    text = _c.header(predictor)
    assert "model_class(" in text and "model_classes" not in text


def test_self_test_finds_a_wrong_weight(dtype, tmp_path):
    need("gcc")
    net = MLP((4, 8, 2), "tanh", dtype=dtype, random_state=0)
    rows = np.arange(8).reshape(2, 4) / 8
    export.c_header(net, tmp_path / "m.h", test_rows=rows)
    text = (tmp_path / "m.h").read_text()
    (tmp_path / "m.c").write_text('#include "m.h"\nint main(void) { return model_self_test(); }\n')
    command = ["gcc", "-std=c99", *STRICT, "m.c", "-o", "m", "-lm"]
    run(*command, cwd=tmp_path)
    run("./m", cwd=tmp_path)
    first = text.index("model_W1[16]")
    wrong = re.sub(r"p([-+]\d+)", "p+2", text[first:], count=1)
    (tmp_path / "m.h").write_text(text[:first] + wrong)
    run(*command, cwd=tmp_path)
    assert subprocess.run("./m", cwd=tmp_path).returncode == 1


def test_infinity_and_nan(tmp_path):
    """Infinity gives no NaN where the kernels give none, and NaN stays."""
    need("gcc")
    lines, names = [], [name for name in ACTIVATIONS if name != "identity"]
    for dtype, name in ((d, n) for d in DTYPES for n in names):
        prefix = f"{name}_{dtype}"
        net = MLP((1, 1), output=name, dtype=dtype, random_state=0)
        net.set_weights([[[1.0]], [0.0]])
        export.c_header(net, tmp_path / f"{prefix}.h", prefix)
        lines.append((prefix, "float" if dtype == "float32" else "double"))
    includes = "".join(f'#include "{prefix}.h"\n' for prefix, _ in lines)
    calls = "".join(
        f"for (i = 0; i < 5; ++i) {{ {real} x = ({real})z[i], out, s[{prefix.upper()}_SCRATCH];\n"
        f' {prefix}_predict(&x, &out, s); printf("%.17g\\n", (double)out); }}\n'
        for prefix, real in lines)
    (tmp_path / "m.c").write_text(
        f"#include <stdio.h>\n{includes}int main(void) {{ int i;\n"
        f"double z[5] = {{ -INFINITY, INFINITY, NAN, -1e4, -0.0 }};\n{calls} return 0; }}\n")
    run("gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "m.c", "-o", "m", "-lm", cwd=tmp_path)
    found = np.array(run("./m", cwd=tmp_path).split(), float).reshape(len(lines), 5)
    z = np.array([-np.inf, np.inf, np.nan, -1e4, -0.0])[:, None]
    for row, (prefix, _) in zip(found, lines, strict=True):
        name, dtype = prefix.rsplit("_", 1)
        net = MLP((1, 1), output=name, dtype=dtype, random_state=0)
        net.set_weights([[[1.0]], [0.0]])
        np.testing.assert_allclose(row, net.predict(z)[:, 0], rtol=1e-6, err_msg=prefix)


def test_exponential_outputs_leave_the_test_rows_finite():
    net = MLP((3, 1), output="exp", dtype="float32", random_state=0)
    net.set_weights([[[900.0], [-800.0], [700.0]], [1.0]])
    assert "inf" not in _c.header(Predictor(net)).lower().split("self-test:")[1]


def test_rows_of_the_self_test_are_numbers():
    """They were inf in the header, which does not compile, or errors that called them X."""
    net = MLP((2, 3), dtype="float32", random_state=0)
    wide = Predictor(net, scaler=Scaler([3e38, 0.0], [1e38, 1.0], (-1, 1)))
    far = Predictor(net, scaler=Scaler([1e39, 0.0], [1.0, 1.0], (-1, 1)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not re.search(r"\b-?(inf|nan)f?\b", _c.header(wide).split("self-test:")[1])
        with pytest.raises(ValueError, match="found no rows of float32 whose outputs are finite: "
                                             "give test_rows="):
            _c.header(far)


@pytest.mark.parametrize("prefix", ["", "9a", "a-b", "a b", "_a", "a__b", "é", "int", "a\n", 'x"'])
def test_wrong_prefix(prefix, tmp_path):
    with pytest.raises(ValueError, match="prefix="):
        export.c_header(MLP((2, 1), random_state=0), tmp_path / "m.h", prefix)
    with pytest.raises(TypeError, match="prefix=3"):
        export.c_header(MLP((2, 1), random_state=0), tmp_path / "m.h", 3)
    assert not list(tmp_path.iterdir())


def test_wrong_places(tmp_path):
    net = MLP((2, 1), random_state=0)
    with pytest.raises(FileNotFoundError, match="no folder"):
        export.c_header(net, tmp_path / "nowhere" / "m.h")
    with pytest.raises(IsADirectoryError):
        export.c_header(net, tmp_path)
    class Search:
        best_estimator_ = net

    for model, said in (({}, "model=dict .* Predictor$"), (MLP, "MLP is a class: give a fitted"),
                        (TabularModel, "TabularModel is a class: give a fitted"),
                        (Search(), "what a search has found is its .best_estimator_"),
                        ("m.h", "of a file: fastnn.load\\('m.h'\\)")):
        with pytest.raises(TypeError, match=said):
            export.c_header(model, tmp_path / "m.h")
    assert not list(tmp_path.iterdir())


def test_wrong_values(tmp_path, monkeypatch):
    net = MLP((2, 3, 1), "silu", random_state=0)
    with pytest.raises(ValueError, match="test_rows"):
        export.c_header(net, tmp_path / "m.h", test_rows=[[1, 2, 3]])
    with pytest.raises(ValueError, match="test_rows"):
        export.c_header(net, tmp_path / "m.h", test_rows=np.empty((0, 2)))
    net.biases[1][0] = np.nan
    with pytest.raises(ValueError, match="b1"):
        export.c_header(net, tmp_path / "m.h")
    monkeypatch.delitem(_c.ACTIVATIONS, "silu")
    with pytest.raises(ValueError, match="activation 'silu' cannot be exported"):
        export.c_header(net, tmp_path / "m.h")
    assert not list(tmp_path.iterdir())


def test_layout_of_the_text():
    predictor = Predictor(MLP((N_IN, 40, 1), "gelu", "sigmoid", random_state=0), "classification",
                          classes=["stays", "leaves"], feature_names=[f"f{i}" for i in range(N_IN)],
                          scaler=Scaler(np.zeros(N_IN), np.ones(N_IN), (-3, 3)))
    text = _c.header(predictor, "churn", file_name="churn.h")
    assert text == _c.header(predictor, "churn", file_name="churn.h")
    assert text.isascii() and max(map(len, text.splitlines())) <= _c_text.WIDTH
    for part in (f"fastnn {fastnn.__version__}", "5 -> 40 -> 1", "probability of the class leaves",
                 '#include "churn.h"', "x[4]  f4", "#define CHURN_SCRATCH 45"):
        assert part in text, part
