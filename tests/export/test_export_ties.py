"""Probabilities of exactly one half: an ONNX file and a C header give the label that we give."""

import shutil
import subprocess

import numpy as np
import pytest

import fastnn

TASKS = [  # outputs, output, task, classes
    (1, "sigmoid", "classification", ["no", "yes"]),
    (3, "softmax", "classification", [4, 5, 6]),
    (3, "sigmoid", "multilabel", [0, 1, 2]),
]


def models(dtype):
    """Models all of whose answers are ties, exactly."""
    for n_out, output, task, classes in TASKS:
        net = fastnn.MLP((2, 4, n_out), "tanh", output, dtype=dtype, random_state=0)
        net.set_weights([*net.get_weights()[:2], np.zeros((4, n_out)), np.zeros(n_out)])
        yield fastnn.Predictor(net, task, classes=classes)


def test_a_tie_in_an_onnx_file_is_the_first_class_and_no_label(dtype, tmp_path):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    X = np.random.default_rng(0).normal(size=(6, 2)).astype(dtype)
    for model in models(dtype):
        assert np.ptp(model.predict_proba(X)) == 0
        labels = model.predict(X)
        assert (labels == (0 if model.task == "multilabel" else model.classes_[0])).all()
        fastnn.export.onnx(model, tmp_path / "m.onnx")
        session = runtime.InferenceSession(tmp_path / "m.onnx",
                                           providers=["CPUExecutionProvider"])
        found = session.run(None, {"X": X})[0]
        np.testing.assert_array_equal(found, labels.astype(found.dtype))


def test_a_tie_in_a_c_header_is_the_first_class_and_no_label(dtype, tmp_path):
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    includes, lines = [], []
    for i, model in enumerate(models(dtype)):
        fastnn.export.c_header(model, tmp_path / f"m{i}.h", prefix=f"m{i}")
        includes.append(f'#include "m{i}.h"')
        out = ", ".join(["0.5" if model.net.output == "sigmoid" else "0.25"] * model.net.sizes[-1])
        real = {"float32": "float", "float64": "double"}[dtype]
        lines.append(f"const {real} out{i}[] = {{{out}}};")
        if model.task == "multilabel":
            lines.append(f"int labels[M{i}_N_OUTPUTS]; m{i}_labels(out{i}, labels);"
                         "if (labels[0] || labels[1] || labels[2]) return 1;")
        else:
            lines.append(f"if (m{i}_class(out{i}) != 0) return 1;")
    program = "\n".join([*includes, "int main(void) {", *lines, "return 0; }"])
    (tmp_path / "m.c").write_text(program)
    subprocess.run([compiler, "-std=c99", "m.c", "-o", "m", "-lm"], cwd=tmp_path, check=True,
                   timeout=120)
    assert subprocess.run([tmp_path / "m"], timeout=60).returncode == 0
