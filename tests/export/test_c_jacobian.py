"""Jacobians in C headers, compiled and run beside those of the predictors."""

import numpy as np
import pytest
from c_programs import SANITIZE, STRICT, write_program
from each import each
from test_c_header import need, run

import fastnn
from fastnn import (
    Activation,
    BatchNorm,
    Dense,
    Heads,
    LayerNorm,
    Predictor,
    PReLU,
    Repeat,
    Residual,
    Scale,
    Scaler,
    export,
)
from fastnn.core._kernels import ACTIVATIONS
from fastnn.export._c import OPS
from fastnn.export._c_jacobian import BACK, SLOPES

N_IN, N_ROWS = 5, 200
LAYERS = [LayerNorm(), Dense(8, "gelu"), Residual([Dense(8, "relu"), LayerNorm(), Dense(8)]),
          Activation("tanh"), Dense(3)]
MODERN = [Scale(), Dense(7), BatchNorm(), PReLU(), Residual([Dense(7), PReLU(per_unit=False)]),
          BatchNorm(), Dense(3)]
MEMBERS = [Dense(6, "tanh"), Repeat(3), Residual([Dense(6, "gelu"), BatchNorm()]), Heads(4, 3)]
ON_X = [Residual([Dense(N_IN, "tanh"), Residual([Dense(N_IN, "silu")])]), Dense(4)]
BUILDS = {
    "gcc": ["gcc", "-std=c99", *STRICT],
    "clang c++": ["clang++", "-std=c++17", "-O2", "-x", "c++", *STRICT],
    "sanitizers": ["gcc", "-std=c99", *SANITIZE, *STRICT],
}


def models():
    """Predictors by prefix: every activation, outputs, layers, scalers, both dtypes."""
    rng = np.random.default_rng(0)
    found = {}
    for dtype in ("float32", "float64"):
        for name in SLOPES if dtype == "float64" else ("gelu", "silu", "elu"):
            net = fastnn.MLP((N_IN, 6, 3), name, dtype=dtype, random_state=1)
            found[f"{name}_{dtype}"] = Predictor(net)
        for output in ("softmax", "sigmoid", "exp"):
            scaler = Scaler(rng.normal(size=N_IN), rng.uniform(0.5, 2, N_IN),
                            limits=(-1, 1.5) if output == "softmax" else None)
            net = fastnn.MLP((N_IN, 7, 6, 4), "tanh", output, dtype=dtype, random_state=1)
            found[f"to_{output}_{dtype}"] = Predictor(net, scaler=scaler)
        for name, layers in (("layers", LAYERS), ("on_x", ON_X)):
            net = fastnn.MLP.of(layers, n_in=N_IN, output="softmax", dtype=dtype, random_state=1)
            found[f"{name}_{dtype}"] = Predictor(net)
        for name, layers, output in (
                ("modern", MODERN, "softmax"), ("members", MEMBERS, "softmax"),
                ("sigmoids", MEMBERS, "sigmoid"), ("heads", [Repeat(2), Heads(3, 2)], "softmax")):
            net = fastnn.MLP.of(layers, n_in=N_IN, output=output, dtype=dtype, random_state=1)
            net.set_weights([w + 0.3 * rng.uniform(size=w.shape) for w in net.get_weights()])
            found[f"{name}_{dtype}"] = Predictor(net)
            found[f"scaled_{name}_{dtype}"] = Predictor(net, scaler=Scaler(
                rng.normal(size=N_IN), rng.uniform(0.5, 2, N_IN), limits=(-1, 1.5)))
        found[f"linear_{dtype}"] = Predictor(fastnn.MLP((N_IN, 2), dtype=dtype, random_state=0))
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Headers, inputs, and the program."""
    folder = tmp_path_factory.mktemp("jacobians")
    includes, runs = [], []
    rng = np.random.default_rng(1)
    for name, model in models().items():
        export.c_header(model, folder / f"{name}.h", name, jacobian=True)
        rng.normal(size=(N_ROWS, N_IN)).astype(model.net.dtype).tofile(folder / f"{name}.in")
        real = "float" if model.net.dtype == np.float32 else "double"
        P = name.upper()
        includes.append(f'#include "{name}.h"')
        runs.append(f"    RUN({name}, jacobian, {real}, {P}_N_INPUTS, "
                    f"{P}_N_INPUTS * {P}_N_OUTPUTS, {P}_JACOBIAN_SCRATCH, "
                    f"{name}_self_test() || {name}_jacobian_self_test());")
    write_program(folder / "program.c", includes, runs)
    return folder


@pytest.mark.parametrize("build", [
    build if build == "gcc" else pytest.param(build, marks=pytest.mark.slow) for build in BUILDS])
def test_jacobians_of_compiled_headers(folder, build):
    command = BUILDS[build]
    need(command[0])
    run(*command, "program.c", "-o", "program", "-lm", cwd=folder)
    run("./program", cwd=folder)
    for name, model in models().items():
        dtype = model.net.dtype
        X = np.fromfile(folder / f"{name}.in", dtype).reshape(N_ROWS, N_IN)
        right = model.predict_jacobian(X)
        found = np.fromfile(folder / f"{name}.out", dtype).reshape(right.shape)
        limit = 1e-6 if dtype == np.float32 else 1e-13
        if "layers" in name:  # the deviation of five numbers may be small
            limit *= 5
        assert np.abs(found - right).max() < limit * max(1, np.abs(right).max()), name


def test_kinks(tmp_path):
    """Where an activation has two slopes, and of NaN, it is that of the network: selu's at 0 was
    the one of the other side."""
    need("gcc")
    points = np.array([0.0, -0.0, -1, 1, -3, 3, 6, np.nan])
    kinked = [name for name in SLOPES if "?" in SLOPES[name] and name != "gelu"]
    assert {"relu", "leaky_relu", "elu", "selu", "hard_tanh", "hard_sigmoid", "relu6"} == {*kinked}
    nets, includes, runs = {}, [], []
    for name in kinked:
        net = fastnn.MLP((1, 1), output=name, dtype="float64", random_state=0)
        net.set_weights([np.ones((1, 1)), np.zeros(1)])
        nets[name] = net
        export.c_header(net, tmp_path / f"{name}.h", name, jacobian=True)
        points.tofile(tmp_path / f"{name}.in")
        includes.append(f'#include "{name}.h"')
        runs.append(f"    RUN({name}, jacobian, double, 1, 1, {name.upper()}_JACOBIAN_SCRATCH, 0);")
    write_program(tmp_path / "program.c", includes, runs)
    run(*BUILDS["gcc"], "program.c", "-o", "program", "-lm", cwd=tmp_path)
    run("./program", cwd=tmp_path)
    for name, net in nets.items():
        right = net.jacobian(points.reshape(-1, 1)).ravel()
        np.testing.assert_allclose(np.fromfile(tmp_path / f"{name}.out"), right, rtol=1e-14,
                                   err_msg=name)


def test_an_output_that_overflows(tmp_path):
    """It made the derivatives of all other outputs NaN."""
    need("gcc")
    net = fastnn.MLP((N_IN, 4, 2), output="exp", dtype="float64", random_state=0)
    weights = net.get_weights()
    weights[-2][:] = np.abs(weights[-2]) * [1, 1e-5]
    net.set_weights(weights)
    X = np.random.default_rng(0).normal(size=(20, N_IN)) * 1e5
    X.tofile(tmp_path / "m.in")
    export.c_header(net, tmp_path / "m.h", "m", jacobian=True)
    write_program(tmp_path / "program.c", ['#include "m.h"'], [
        "    RUN(m, jacobian, double, M_N_INPUTS, 2 * M_N_INPUTS, M_JACOBIAN_SCRATCH, 0);"])
    run(*BUILDS["gcc"], "program.c", "-o", "program", "-lm", cwd=tmp_path)
    run("./program", cwd=tmp_path)
    right, found = net.jacobian(X), np.fromfile(tmp_path / "m.out").reshape(20, 2, N_IN)
    assert np.isinf(net.predict(X)[:, 0]).sum() > 10
    np.testing.assert_allclose(found[:, 1], right[:, 1], rtol=1e-13)


def test_derivatives_of_the_self_test_are_numbers(tmp_path):
    """They were inf in the header, which does not compile."""
    net = fastnn.MLP((2, 1), output="exp", dtype="float32", random_state=0)
    net.set_weights([[[1e30], [-1e30]], [20.0]])
    with pytest.raises(ValueError, match="the first of test_rows contains infinity"):
        export.c_header(net, tmp_path / "m.h", test_rows=[[0, 0]], jacobian=True)
    with pytest.raises(ValueError, match="no rows of float32 whose outputs and Jacobian are"):
        export.c_header(net, tmp_path / "m.h", jacobian=True)
    assert not list(tmp_path.iterdir())
    net.set_weights([[[1.0], [2.0]], [20.0]])
    export.c_header(net, tmp_path / "m.h", jacobian=True)


def test_what_has_no_row_is_refused_by_name(tmp_path, monkeypatch):
    assert SLOPES.keys() <= ACTIVATIONS.keys() - {"identity", "step"}
    assert BACK.keys() <= OPS.keys()
    net = fastnn.MLP((N_IN, 4, 3), "tanh", norm="layer", random_state=0)
    for table, name in ((SLOPES, "tanh"), (BACK, "layer_norm")):
        with monkeypatch.context() as patch:
            patch.delitem(table, name)
            with pytest.raises(ValueError, match=f"jacobian=True cannot export .*'{name}'"):
                export.c_header(net, tmp_path / "model.h", jacobian=True)


def test_a_plain_header_has_none(tmp_path):
    model = fastnn.MLP((N_IN, 3), random_state=0)
    export.c_header(model, tmp_path / "model.h")
    assert "jacobian" not in (tmp_path / "model.h").read_text()


@each("activation, output", [(["step"], "identity"), ("relu", "step")])
def test_steps_are_refused(tmp_path, activation, output):
    net = fastnn.MLP((N_IN, 4, 3), activation, output, random_state=0)
    with pytest.raises(ValueError, match="'step' has no derivative"):
        export.c_header(net, tmp_path / f"{output}.h", jacobian=True)
    assert not (tmp_path / f"{output}.h").exists()
    export.c_header(net, tmp_path / f"{output}.h")


def test_jacobian_must_be_a_flag(tmp_path):
    with pytest.raises((TypeError, ValueError), match="jacobian"):
        export.c_header(fastnn.MLP((N_IN, 3)), tmp_path / "model.h", jacobian="yes")
