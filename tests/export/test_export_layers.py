"""Layer normalisation and residual connections in ONNX files and C headers."""

import shutil
import subprocess

import numpy as np
import pytest
from layer_cases import N_IN, error_of, predictors, rows_for

import fastnn
from fastnn import MLP, Dense, LayerNorm, Residual, export

N_ROWS = 500
STRICT = ["-O0", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wshadow", "-Wconversion",
          "-Wdouble-promotion"]
BUILDS = [
    ["gcc", "-std=c99", *STRICT],
    ["gcc", "-std=c99", *STRICT, "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    ["clang", "-std=c99", *STRICT],
    ["g++", "-std=c++17", "-x", "c++", *STRICT],
    ["clang++", "-std=c++17", "-x", "c++", *STRICT],
]


def run(data, X):
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"X": X})[0]


@pytest.mark.parametrize("all_opsets", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_onnx_files_agree(tmp_path, all_opsets):
    onnx = pytest.importorskip("onnx")
    for i, (name, model) in enumerate(predictors()):
        X = rows_for(model, N_ROWS)
        expected = model.predict(X).reshape(N_ROWS, -1)
        for opset in (13, 17, 18, 19, 20) if all_opsets else [(13, 17, 18)[i % 3]]:
            path = tmp_path / "m.onnx"
            export.onnx(model, path, opset)
            proto = onnx.load(path)
            onnx.checker.check_model(proto, full_check=True)
            assert error_of(run(str(path), X), expected) <= 1e-6, (name, opset)
            kinds = {node.op_type for node in proto.graph.node}
            norms = any(op.kind == "layer_norm" for op in model.net._layout.ops)
            assert ("LayerNormalization" in kinds) == (
                norms and opset >= 17 and model.net.dtype == np.float32)


def test_onnx_files_agree_where_the_mean_is_large():
    """Deviations of double are computed in double, by each runtime and at each opset."""
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    from fastnn.export import _onnx

    net = MLP.of([Dense(6), LayerNorm(), Dense(2)], n_in=N_IN, dtype="float64", random_state=0)
    net.biases[0][:] = 1e3
    X = np.random.default_rng(0).normal(size=(20, N_IN))
    for opset in (13, 17, 18):
        proto = _onnx.build(fastnn.Predictor(net), opset)
        for found in (run(proto.SerializeToString(), X),
                      ReferenceEvaluator(onnx.load_from_string(proto.SerializeToString())).run(
                          None, {"X": X})[0]):
            np.testing.assert_allclose(found, net.predict(X), rtol=1e-9, atol=1e-9)


def test_a_pipeline_of_skl2onnx(monkeypatch):
    """The estimators' own networks are chains; one of another kind goes the same way."""
    skl2onnx = pytest.importorskip("skl2onnx")
    export.register_skl2onnx()
    X = np.random.default_rng(0).normal(size=(60, N_IN)).astype("f")
    model = fastnn.MLPRegressor(hidden_layer_sizes=(4,), solver="lbfgs", dtype="float32",
                                random_state=0).fit(X, X[:, 0])
    net = MLP((N_IN, 6, 6, 1), "gelu", norm="layer", residual=True, random_state=0)
    monkeypatch.setattr(fastnn.MLPRegressor, "_predictor",
                        lambda self: fastnn.Predictor(net, "regression"))
    for opset in (13, 17, 18):
        proto = skl2onnx.to_onnx(model, X[:1], target_opset=opset)
        assert error_of(run(proto.SerializeToString(), X), net.predict(X)) <= 1e-6


DRIVER = """
#define RUN(P, REAL, N_IN, N_OUT, N_SCRATCH) do {{ \\
    static REAL scratch[N_SCRATCH], x[N_IN], out[N_OUT]; \\
    FILE *from = fopen(#P ".in", "rb"), *to = fopen(#P ".out", "wb"); \\
    if (!from || !to) return 2; \\
    while (fread(x, sizeof(REAL), N_IN, from) == N_IN) {{ \\
        P##_predict(x, out, scratch); \\
        fwrite(out, sizeof(REAL), N_OUT, to); \\
    }} \\
    fclose(from); fclose(to); \\
    if (P##_self_test()) return 1; \\
}} while (0)
#include <stdio.h>
{includes}
int main(void) {{
{runs}
    return 0;
}}
"""


@pytest.mark.parametrize("builds", [
    BUILDS[:1], pytest.param(BUILDS[1:], marks=pytest.mark.slow)], ids=["first", "others"])
def test_c_headers_agree(builds, tmp_path):
    models = {f"m{i}": model for i, (_, model) in enumerate(predictors())}
    includes, runs = [], []
    for name, model in models.items():
        export.c_header(model, tmp_path / f"{name}.h", name)
        assert max(map(len, (tmp_path / f"{name}.h").read_text().splitlines())) <= 101
        rows_for(model, N_ROWS).tofile(tmp_path / f"{name}.in")
        real = {"float32": "float", "float64": "double"}[model.net.dtype.name]
        sizes = ", ".join(f"{name.upper()}_{size}" for size in ("N_INPUTS", "N_OUTPUTS", "SCRATCH"))
        includes.append(f'#include "{name}.h"')
        runs.append(f"    RUN({name}, {real}, {sizes});")
    (tmp_path / "m.c").write_text(DRIVER.format(includes="\n".join(includes),
                                                runs="\n".join(runs)))
    builds = [build for build in builds if shutil.which(build[0])]
    if not builds:
        pytest.skip("no C compiler")
    for build in builds:
        for command in ([*build, "m.c", "-o", "m", "-lm"], ["./m"]):
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True,
                                  timeout=300)
            assert done.returncode == 0, (build, (done.stdout + done.stderr)[-4000:])
        for name, model in models.items():
            expected = model.predict(rows_for(model, N_ROWS)).reshape(N_ROWS, -1)
            found = np.fromfile(tmp_path / f"{name}.out", model.net.dtype)
            assert error_of(found.reshape(expected.shape), expected) <= 1e-6, (build, model)


def test_the_header_of_a_network_says_what_it_does(tmp_path):
    net = MLP.of([Dense(4, "relu"), Residual([Dense(4), LayerNorm()]), Dense(2)], n_in=3,
                 random_state=0)
    export.c_header(net, tmp_path / "m.h")
    text = (tmp_path / "m.h").read_text()
    assert " *   operations   dense relu, dense, layer_norm, add, dense\n" in text
    assert "gain (n_out)" in text and "#define MODEL_SCRATCH 12 " in text
    assert "model_layer_norm(4, model_gain2, model_b2, 1e-05, scratch + 4, scratch + 8);" in text


def test_what_no_writer_knows(tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    from fastnn.export import _c, _onnx

    net = MLP((3, 4, 2), norm="layer", random_state=0)
    for module, write in ((_c, export.c_header), (_onnx, export.onnx)):
        monkeypatch.delitem(module.OPS, "layer_norm")
        with pytest.raises(ValueError, match="operation 'layer_norm' cannot be exported"):
            write(net, tmp_path / "m")
