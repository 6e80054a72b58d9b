"""Layer normalisation and residual connections in ONNX files and C headers."""

import numpy as np
import pytest
from c_programs import by_builds, check_headers
from layer_cases import N_IN, error_of, predictors, rows_for

import fastnn
from fastnn import MLP, Dense, LayerNorm, Residual, export

N_ROWS = 500


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


@by_builds
def test_c_headers_agree(builds, tmp_path):
    check_headers(dict(predictors()), N_ROWS, builds, tmp_path)
    for path in tmp_path.glob("*.h"):
        assert max(map(len, path.read_text().splitlines())) <= 101


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
