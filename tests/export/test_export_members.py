"""Ensembles whose members share a network, in ONNX files and C headers."""

import numpy as np
import pytest
from c_programs import by_builds, check_headers
from layer_cases import N_IN, error_of, rows_for
from test_export_layers import run

from fastnn import MLP, Dense, Heads, LayerNorm, Predictor, Repeat, Residual, Scaler, export

N_ROWS = 200


def predictors():
    """Predictors of ensembles, some behind a scaler."""
    rng = np.random.default_rng(0)
    settings = [dict(members=4, output="softmax"), dict(members=1, output="softmax"),
                dict(members=3, output="sigmoid"), dict(members=16, output="identity"),
                dict(members=5, norm="layer", residual=True, output="softmax")]
    for i, chosen in enumerate(settings):
        for dtype in ("float32", "float64"):
            sizes = (N_IN, 3) if i == 3 else (N_IN, 8, 8, 3)
            net = MLP(sizes, "gelu", dtype=dtype, random_state=i, **chosen)
            net.set_weights([array + 0.2 * rng.normal(size=array.shape)
                             for array in net.get_weights()])
            yield f"{chosen} {dtype}", with_scaler(i, net)
    for dtype in ("float32", "float64"):  # what comes before the members is computed once
        for layers in ([Dense(7), Repeat(3), Dense(6, "gelu"), Heads(3, 3)],
                       [Dense(7, "relu"), Residual([LayerNorm(), Dense(7, "tanh")]), Repeat(4),
                        Residual([Dense(7, "tanh")]), Heads(3, 4)]):
            i += 1
            net = MLP.of(layers, n_in=N_IN, output="softmax", dtype=dtype, random_state=i)
            yield f"{layers} {dtype}", with_scaler(i, net)


def with_scaler(i, net):
    """Return a predictor, every other one behind a scaler."""
    scaler = Scaler(np.arange(N_IN), 2.0 ** np.arange(N_IN), (-2.5, np.inf))
    return Predictor(net, scaler=scaler if i % 2 == 0 else None)


def test_onnx_files_agree(tmp_path):
    onnx = pytest.importorskip("onnx")
    for i, (name, model) in enumerate(predictors()):
        X = rows_for(model, N_ROWS)
        for opset in (13, 17, 18 + i % 3):
            path = tmp_path / "m.onnx"
            export.onnx(model, path, opset)
            onnx.checker.check_model(onnx.load(path), full_check=True)
            for rows in (X, X[:1]):
                found = run(str(path), rows)
                assert error_of(found, model.predict(rows)) <= 1e-6, (name, opset)


@by_builds
def test_c_headers_agree(builds, tmp_path):
    models = dict(predictors())
    check_headers(models, N_ROWS, builds, tmp_path)
    for i, model in enumerate(models.values()):
        text = (tmp_path / f"m{i}.h").read_text()
        assert f"{model.net.spec.members}, whose outputs are averaged" in text
