"""Fits, gradients and predictions whose bytes stay as they are: name -> function returning bytes.

A name is group/what; `needs` tells what besides the instruction set decides the bytes. Only the
public API is used, so that the cases outlive any change of the inside.
"""

import platform
import warnings
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import scipy
import scipy.sparse
import sklearn
from threadpoolctl import threadpool_info

import fastnn
from fastnn.config import configuration

DTYPES = ("float32", "float64")
THREADS = 2

# sizes, batch, activation, output: the networks of tests/training/training_cells.py
CELLS = {
    "a": ((4, 16, 3), 32, "tanh", "softmax"),
    "b": ((20, 64, 64, 2), 64, "relu", "softmax"),
    "c": ((64, 100, 10), 200, "relu", "softmax"),
    "d": ((784, 128, 10), 64, "relu", "softmax"),
    "e": ((784, 256, 128, 10), 128, "gelu", "softmax"),
    "f": ((784, 512, 512, 10), 256, "relu", "softmax"),
    "g": ((256, 1024, 1024, 1024, 10), 512, "relu", "softmax"),
    "h": ((8, 64, 64, 1), 128, "tanh", "identity"),
    "j": ((100, 2048, 2048, 1), 1024, "relu", "identity"),
}


def falling(epoch):
    """Return the learning rate of an epoch."""
    return 0.05 / (1 + epoch)


OPTIMIZERS = {
    "sgd": fastnn.SGD(0.05, momentum=0.0),
    "momentum": fastnn.SGD(falling),
    "nesterov": fastnn.SGD(0.02, momentum=0.8, nesterov=True),
    "step": fastnn.SGD(falling, velocity="step"),
    "nesterov-step": fastnn.SGD(falling, momentum=0.95, nesterov=True, velocity="step"),
    "adam": fastnn.Adam(3e-3),
    "eps_hat": fastnn.Adam(falling, beta1=0.8, beta2=0.99, eps=1e-7, eps_hat=True),
    "adamw": fastnn.AdamW(3e-3, weight_decay=0.1),
    "rmsprop": fastnn.RMSprop(),
    "adagrad": fastnn.Adagrad(),
}
ACTIVATIONS = ("identity", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "gelu", "silu",
               "softplus", "exp", "step")
LOSSES = {  # loss -> outputs it goes with
    "squared_error": tuple(name for name in ACTIVATIONS),
    "cross_entropy": ("softmax",),
    "binary_cross_entropy": ("sigmoid",),
    "poisson": ("exp",),
    "perceptron": ("step",),
}

# ---- what decides the bytes ----


def isa():
    """Return the instruction set in use."""
    return configuration()["ISA"].split()[0]


def environment():
    """Return what the digests depend on besides the instruction set."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "numpy": _minor(np),
        "scikit-learn": _minor(sklearn),
        "scipy": scipy.__version__,
        "blas": _blas(),
    }


def _minor(module):
    return ".".join(module.__version__.split(".")[:2])


def _blas():
    """Return version and kernels of SciPy's BLAS; other libraries may have brought their own."""
    configuration()  # loads it
    found = [info for info in threadpool_info() if info["user_api"] == "blas"]
    own = [info for info in found if {"scipy", "scipy.libs"} & set(Path(info["filepath"]).parts)]
    return ", ".join(sorted(f"{info['internal_api']} {info['version']} {info.get('architecture')}"
                            for info in own or found))


def needs(name, instructions):
    """Return the keys of `environment` that a case depends on."""
    group = name.split("/")[0]
    keys = {"system"}
    if group == "blas":
        keys |= {"scipy", "blas"}
    if group in ("classifier", "regressor", "lbfgs"):
        keys |= {"numpy", "scikit-learn"}
        if group == "lbfgs" or instructions == "baseline":  # which leaves products to BLAS
            keys |= {"scipy", "blas"}
    if "normal" in name:  # drawn by NumPy
        keys |= {"numpy"}
    return keys


# ---- data of a seed ----


def inputs(n_rows, n_in, dtype, seed=0):
    """Return X in [-1.7, 1.7): uniform, since that is the same in every NumPy."""
    return np.random.default_rng(seed).uniform(-1.7, 1.7, (n_rows, n_in)).astype(dtype)


def targets(n_rows, n_out, dtype, output, seed=1):
    """Return what a network of this output is trained on: labels, probabilities, values."""
    rng = np.random.default_rng(seed)
    if output == "softmax":
        return rng.integers(0, n_out, n_rows).astype(np.int32)
    if output in ("sigmoid", "step"):
        return rng.integers(0, 2, (n_rows, n_out)).astype(dtype)
    low = 0 if output == "exp" else -1
    return rng.uniform(low, 1.5, (n_rows, n_out)).astype(dtype)


def one_hot(labels, n_out, dtype):
    """Return a row of zeros and a one for each label."""
    return np.eye(n_out, dtype=dtype)[labels]


def sparse(X, density=0.3):
    """Return X with most of its values left out, as CSR."""
    kept = np.random.default_rng(2).random(X.shape) < density
    return scipy.sparse.csr_array(np.where(kept, X, 0))


def network(sizes, activation, output, **more):
    """Return the MLP that all cases train."""
    settings = {"random_state": 3, "n_threads": THREADS, "gemm": "native", **more}
    return fastnn.MLP(sizes, activation, output, **settings)


def drawn(*arguments, **more):
    """Return a network whose biases are drawn too, so that each counts before any training."""
    net, rng = network(*arguments, **more), np.random.default_rng(6)
    for bias in net.biases:
        bias[:] = rng.uniform(-0.5, 0.5, bias.shape)
    return net


def losses_of(history):
    """Return the losses of a history as bytes, with one NaN for all kinds of NaN."""
    both = [np.array(losses) for losses in (history.loss, history.val_loss) if losses is not None]
    return b"".join(np.where(np.isnan(losses), np.nan, losses).tobytes() for losses in both)


def trained(net, X, y, **settings):
    """Return parameters and losses after a fit, as bytes."""
    with warnings.catch_warnings(action="ignore"):
        history = net.fit(X, y, **{"epochs": 3, **settings})
    return net.parameters.tobytes() + losses_of(history)


# ---- cells: every optimizer on every path ----


def _cell(cell, n_rows, dtype, gemm, dropout, optimizer, epochs=3):
    sizes, batch, activation, output = CELLS[cell]
    net = network(sizes, activation, output, dtype=dtype, gemm=gemm, dropout=dropout)
    X, y = inputs(n_rows, sizes[0], dtype), targets(n_rows, sizes[-1], dtype, output)
    return trained(net, X, y, optimizer=OPTIMIZERS[optimizer], batch_size=batch, alpha=0.1,
                   epochs=epochs)


def _cells():
    cases = {}

    def add(cell, n_rows, dtypes, optimizers, dropouts=(0.0, 0.25), epochs=3):
        for dtype, gemm, drop, optimizer in product(
                dtypes, ("native", "blas"), dropouts, optimizers):
            group = gemm if gemm == "blas" else (
                "wide" if cell in "defgj" else "row-major" if drop else "feature-major")
            name = f"{group}/{cell} {dtype} {optimizer}{' dropout' * bool(drop)}"
            cases[name] = partial(_cell, cell, n_rows, dtype, gemm, drop, optimizer, epochs)

    for cell, n_rows in (("a", 75), ("b", 150), ("c", 230), ("h", 300)):  # the last batch is short
        add(cell, n_rows, DTYPES, OPTIMIZERS if cell in "ab" else ("momentum", "adam", "rmsprop"))
    add("d", 140, DTYPES, ("momentum", "adam", "adamw", "adagrad"))
    add("e", 150, DTYPES, ("nesterov", "eps_hat"))
    add("f", 300, DTYPES, ("adam",), epochs=1)
    add("g", 512, DTYPES[:1], ("momentum",), (0.0,), epochs=1)
    add("j", 520, DTYPES[:1], ("adam",), (0.0,), epochs=1)
    return cases


# ---- options of a fit, on small nets of each path ----

NETS = {
    "feature-major": {"sizes": (7, 33, 18, 3)},
    "row-major": {"sizes": (7, 33, 18, 3), "dropout": (0.2, 0.4)},
    "wide": {"sizes": (7, 150, 3)},
    "blas": {"sizes": (7, 33, 18, 3), "gemm": "blas"},
}


def _twice(net, X, y, **settings):
    return trained(net, X, y, **settings) + trained(net, X, y, **settings)


def _stop_after_four(epoch, *_):
    if epoch == 3:
        raise fastnn.StopFit


def _ended(net, X, y):
    return trained(net, X, y, epochs=9, callback=_stop_after_four)


def _option(dtype, net, change, n_rows=210):
    made = network(**{"activation": "tanh", "output": "softmax", "dtype": dtype, **net})
    n_in, n_out = made.sizes[0], made.sizes[-1]
    X, y = inputs(n_rows, n_in, dtype), targets(n_rows, n_out, dtype, made.output)
    return change(made, X, y)


def _weights(n_rows):
    weight = np.random.default_rng(4).uniform(0.2, 2, n_rows)
    weight[5:15] = 0
    return weight


OPTIONS = {
    "in order": lambda net, X, y: trained(net, X, y, shuffle=False, batch_size=50),
    "short last batch": lambda net, X, y: trained(net, X, y, batch_size=52),
    "batch of all": lambda net, X, y: trained(net, X, y, batch_size=1000),
    "batch of 1": lambda net, X, y: trained(net, X[:40], y[:40], batch_size=1, epochs=1),
    "batch of 3": lambda net, X, y: trained(net, X[:40], y[:40], batch_size=3, epochs=1),
    "alpha": lambda net, X, y: trained(net, X, y, alpha=0.1, batch_size=50),
    "sample_weight": lambda net, X, y: trained(
        net, X, y, sample_weight=_weights(len(X)), alpha=0.1, batch_size=50),
    "sample_weight in order": lambda net, X, y: trained(
        net, X, y, sample_weight=_weights(len(X)), shuffle=False, batch_size=50),
    "sparse": lambda net, X, y: trained(net, sparse(X), y, batch_size=50),
    "sparse in order": lambda net, X, y: trained(
        net, sparse(X), y, batch_size=52, shuffle=False, sample_weight=_weights(len(X))),
    "one-hot": lambda net, X, y: trained(net, X, one_hot(y, 3, net.dtype), batch_size=50),
    "validation": lambda net, X, y: trained(
        net, X[:150], y[:150], validation_data=(X[150:], y[150:]), batch_size=50),
    "sparse validation": lambda net, X, y: trained(
        net, X[:150], y[:150], validation_data=(sparse(X[150:]), y[150:]), batch_size=50),
    "callback": _ended,
    "two fits": lambda net, X, y: _twice(net, X, y, batch_size=50, optimizer=fastnn.SGD(falling)),
    "diverges": lambda net, X, y: trained(
        net, X * 1e30, y, optimizer=fastnn.SGD(1e20), batch_size=50),
    "columns of a larger array": lambda net, X, y: trained(
        net, np.hstack([X, X])[:, :X.shape[1]], y, batch_size=50),
    "integers": lambda net, X, y: trained(
        net, (X * 3).astype(int), y.reshape(-1, 1).astype(float), batch_size=50),
}
ROWS = {
    "many rows": lambda net, X, y: trained(net, X, y, batch_size=1100, alpha=0.1),
    "many rows in order": lambda net, X, y: trained(net, X, y, batch_size=600, shuffle=False),
    "many sparse rows": lambda net, X, y: trained(net, sparse(X), y, batch_size=700),
}
SHAPES = {
    "no hidden layer": {"sizes": (9, 4), "activation": ()},
    "units of 1": {"sizes": (1, 1, 1), "output": "identity"},
    "deep": {"sizes": (6, 9, 17, 5, 33, 8, 3)},
    "odd": {"sizes": (3, 127, 65, 31, 2)},
    "mixed": {"sizes": (6, 20, 21, 22, 3), "activation": ("gelu", "relu", "sigmoid")},
    "mixed derivatives": {"sizes": (6, 20, 21, 22, 3), "activation": ("silu", "step", "elu")},
    "one wide": {"sizes": (5, 129, 8, 2), "activation": ("softplus", "tanh")},
    "wide input": {"sizes": (300, 20, 4)},
    "wide output": {"sizes": (6, 20, 260)},
    "drops some": {"sizes": (6, 20, 20, 3), "dropout": (0.0, 0.5)},
    "drops wide": {"sizes": (6, 150, 20, 3), "dropout": 0.3, "activation": ("gelu", "relu")},
    "auto": {"sizes": (6, 20, 20, 3), "gemm": "auto"},
    "auto wide": {"sizes": (6, 200, 20, 3), "gemm": "auto"},
}
INITIALIZERS = ("glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "normal", "zeros")


def _seeded(seed):
    net = network((4, 9, 2), "tanh", "softmax", random_state=seed())
    return trained(net, inputs(60, 4, "float32"), targets(60, 2, "float32", "softmax"))


def _options():
    cases = {}
    for (path, net), dtype in product(NETS.items(), DTYPES):
        group = "blas" if path == "blas" else "options"
        for name, change in OPTIONS.items():
            cases[f"{group}/{name} {path} {dtype}"] = partial(_option, dtype, net, change)
        for name, change in ROWS.items():
            cases[f"{group}/{name} {path} {dtype}"] = partial(_option, dtype, net, change, 1300)
    short = OPTIONS["short last batch"]
    for (name, net), dtype in product(SHAPES.items(), DTYPES):
        group = "blas" if net.get("gemm") else "options"
        cases[f"{group}/{name} {dtype}"] = partial(_option, dtype, net, short)
        if not net.get("gemm"):
            cases[f"blas/{name} {dtype}"] = partial(_option, dtype, {**net, "gemm": "blas"}, short)
    for name in INITIALIZERS:
        net = {"sizes": (7, 13, 3), "initializer": name}
        cases[f"options/{name}"] = partial(_option, "float32", net, short)
    cases["options/seed of a Generator"] = partial(_seeded, lambda: np.random.default_rng(5))
    cases["options/seed of a RandomState"] = partial(_seeded, lambda: np.random.RandomState(5))
    return cases


# ---- kinds: activations, outputs, losses ----


def _kind(dtype, net, output, loss=None, **settings):
    made = network(dtype=dtype, **{"activation": "tanh", "output": output, **net})
    X = inputs(90, made.sizes[0], dtype)
    y = targets(90, made.sizes[-1], dtype, output)
    return trained(made, X, y, loss=loss, batch_size=40, optimizer=fastnn.Adam(0.01), **settings)


def _kinds():
    cases = {}
    paths = {"feature-major": {}, "row-major": {"dropout": 0.2}}
    for (path, more), name, dtype in product(paths.items(), ACTIVATIONS, DTYPES):
        net = {"sizes": (6, 20, 13, 3), "activation": name, **more}
        cases[f"kinds/{name} {path} {dtype}"] = partial(_kind, dtype, net, "softmax")
    paths = {"feature-major": (5, 14, 3), "wide": (5, 130, 3)}
    for (path, sizes), loss, dtype in product(paths.items(), LOSSES, DTYPES):
        for output in LOSSES[loss]:
            cases[f"kinds/{loss} of {output} {path} {dtype}"] = partial(
                _kind, dtype, {"sizes": sizes}, output, loss, alpha=0.05)
    return cases


# ---- gradients and predictions ----


def _gradient(dtype, sizes, activation, output, gemm, n_rows, change=None, **settings):
    net = drawn(sizes, activation, output, dtype=dtype, gemm=gemm, initializer="he_uniform")
    X, y = inputs(n_rows, sizes[0], dtype), targets(n_rows, sizes[-1], dtype, output)
    X = X if change is None else change(X)
    loss, grad = net.loss_and_grad(X, y, **settings)
    deltas = net.deltas(X, y)
    return b"".join([np.float64(loss).tobytes(), grad.tobytes(), *(d.tobytes() for d in deltas),
                     np.float64(net.loss(X, y, **settings)).tobytes()])


def _gradients():
    cases = {}
    for cell, dtype, gemm in product("abcdeh", DTYPES, ("native", "blas")):
        sizes, _, activation, output = CELLS[cell]
        group = "blas" if gemm == "blas" else "gradients"
        cases[f"{group}/gradient {cell} {dtype}"] = partial(
            _gradient, dtype, sizes, activation, output, gemm, 70, alpha=0.1)
    for dtype in DTYPES:
        for name, sizes in (("narrow", (5, 20, 3)), ("wide", (5, 140, 3))):
            common = dtype, sizes, "silu", "softmax", "native"
            cases[f"gradients/many rows {name} {dtype}"] = partial(_gradient, *common, 1500)
            cases[f"gradients/sparse {name} {dtype}"] = partial(_gradient, *common, 80, sparse)
            cases[f"gradients/sample_weight {name} {dtype}"] = partial(
                _gradient, *common, 80, sample_weight=_weights(80))
            cases[f"gradients/poisson {name} {dtype}"] = partial(
                _gradient, dtype, sizes, "tanh", "exp", "native", 80)
    return cases


def _prediction(dtype, sizes, activation, output, n_rows, change=None):
    net = drawn(sizes, activation, output, dtype=dtype, initializer="he_uniform")
    X = inputs(n_rows, sizes[0], dtype)
    return net.predict(X if change is None else change(X)).tobytes()


def _activations_of(dtype, sizes):
    net = drawn(sizes, "elu", "softmax", dtype=dtype)
    return b"".join(a.tobytes() for a in net.activations_of(inputs(40, sizes[0], dtype)))


def _predictor(dtype, task, limits, n_out, output):
    net = drawn((6, 12, n_out), "gelu", output, dtype=dtype)
    scaler = fastnn.Scaler(np.linspace(-1, 1, 6), np.linspace(0.5, 2, 6), limits)
    classes = np.array(["no", "maybe", "yes"])[:n_out if n_out > 1 else 2]
    classified = task == "classification"
    predictor = fastnn.Predictor(net, task, scaler=scaler, classes=classes if classified else None)
    X = inputs(50, 6, np.float64)
    found = b""
    for rows in (X, X[:1], X.astype(np.float32), sparse(X)):
        found += predictor.predict(rows).tobytes()
        if classified:
            found += predictor.predict_proba(rows).tobytes()
    return found


def _predictions():
    cases = {}
    for cell, dtype, n_rows in product("abcdefh", DTYPES, (1, 3, 64, 500)):
        sizes, _, activation, output = CELLS[cell]
        rows = 130 if cell == "f" and n_rows == 500 else n_rows
        cases[f"predictions/{cell} {dtype} {rows} rows"] = partial(
            _prediction, dtype, sizes, activation, output, rows)
    for name, dtype in product((*ACTIVATIONS, "softmax"), DTYPES):
        hidden = "tanh" if name == "softmax" else name
        cases[f"predictions/{name} {dtype}"] = partial(
            _prediction, dtype, (5, 19, 140, 3), hidden, name, 37)
    for dtype in DTYPES:
        cases[f"predictions/sparse {dtype}"] = partial(
            _prediction, dtype, (30, 20, 3), "relu", "softmax", 50, sparse)
        cases[f"predictions/column-major {dtype}"] = partial(
            _prediction, dtype, (30, 20, 3), "relu", "softmax", 50, np.asfortranarray)
        for name, sizes in (("narrow", (5, 9, 3)), ("wide", (5, 150, 9, 3))):
            cases[f"predictions/activations_of {name} {dtype}"] = partial(
                _activations_of, dtype, sizes)
        cases[f"predictions/scaled classes {dtype}"] = partial(
            _predictor, dtype, "classification", None, 3, "softmax")
        cases[f"predictions/scaled two classes {dtype}"] = partial(
            _predictor, dtype, "classification", (-1.0, 1.0), 1, "sigmoid")
        cases[f"predictions/scaled values {dtype}"] = partial(
            _predictor, dtype, "regression", None, 1, "identity")
        cases[f"predictions/scaled outputs {dtype}"] = partial(
            _predictor, dtype, "outputs", (0.0, 1.0), 2, "exp")
    return cases


# ---- estimators ----


def _state(est):
    arrays = [*est.coefs_, *est.intercepts_]
    for name in ("loss_curve_", "validation_scores_", "validation_loss_curve_"):
        values = getattr(est, name, None)
        if values is not None:
            arrays.append(np.array(values, np.float64))
    arrays.append(np.array([est.n_iter_, est.t_]))
    return b"".join(array.tobytes() for array in arrays)


def estimator_data(task, n_rows=130, dtype=np.float64):
    """Return X and y of a task: binary, multiclass, multilabel, one, two, poisson."""
    X = inputs(n_rows, 6, np.float64, seed=7)
    score = X[:, 0] * X[:, 1] + X[:, 2]
    y = {
        "binary": lambda: np.where(score > 0, "yes", "no"),
        "multiclass": lambda: np.digitize(score, [-0.7, 0.7]) + 3,
        "multilabel": lambda: (X[:, :3] + score[:, None] > 0.2).astype(int),
        "one": lambda: score,
        "two": lambda: np.column_stack([score, X[:, 3] - X[:, 4]]),
        "poisson": lambda: np.floor(np.abs(score) * 2),
    }[task]()
    return X.astype(dtype), y


def estimator(task, **settings):
    """Return the unfitted estimator of a task."""
    settings = {"hidden_layer_sizes": (17, 9), "max_iter": 6, "batch_size": 40, "random_state": 3,
                **settings}
    if task in ("binary", "multiclass", "multilabel"):
        return fastnn.MLPClassifier(**settings)
    return fastnn.MLPRegressor("poisson" if task == "poisson" else "squared_error", **settings)


def _fitted(task, data=np.float64, rows=130, run=None, **settings):
    X, y = estimator_data(task, rows, data)
    est = estimator(task, **settings)
    with warnings.catch_warnings(action="ignore"):
        if run is None:
            est.fit(X, y)
        else:
            run(est, X, y)
    return _state(est)


def _partial(est, X, y):
    classes = {}
    if isinstance(est, fastnn.MLPClassifier):
        classes["classes"] = np.unique(y) if y.ndim == 1 else np.arange(y.shape[1])
    est.partial_fit(X[:60], y[:60], **classes)
    for start in (60, 0, 30):
        est.partial_fit(X[start:start + 60], y[start:start + 60])


def _warm(est, X, y):
    est.fit(X, y)
    est.set_params(max_iter=3)
    est.fit(X, y)


def _then_partial(est, X, y):
    est.fit(X, y)
    est.partial_fit(X[:50], y[:50])


RUNS = {
    "partial_fit": {"run": _partial},
    "partial_fit sgd": {"run": _partial, "solver": "sgd", "learning_rate": "invscaling"},
    "fit, partial_fit": {"run": _then_partial},
    "warm_start": {"run": _warm, "warm_start": True},
    "warm_start sgd": {"run": _warm, "warm_start": True, "solver": "sgd"},
    "warm_start early_stopping": {"run": _warm, "warm_start": True, "early_stopping": True},
    "validation_data": {"run": lambda est, X, y: est.fit(
        X[30:], y[30:], validation_data=(X[:30], y[:30]))},
    "validation_data early_stopping": {"early_stopping": True, "run": lambda est, X, y: est.fit(
        X[30:], y[30:], validation_data=(X[:30], y[:30], _weights(30)))},
    "sparse": {"run": lambda est, X, y: est.fit(sparse(X), y)},
    "sample_weight": {"run": lambda est, X, y: est.fit(X, y, _weights(len(X)))},
}
SETTINGS = {
    "adam": {},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.05},
    "sgd invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1},
    "sgd adaptive": {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.05,
                     "n_iter_no_change": 1, "tol": 0.1, "max_iter": 12},
    "sgd without nesterov": {"solver": "sgd", "nesterovs_momentum": False, "momentum": 0.7},
    "in order": {"shuffle": False},
    "early_stopping": {"early_stopping": True, "n_iter_no_change": 2, "max_iter": 15},
    "dropout": {"dropout": [0.1, 0.3]},
    "float32": {"dtype": "float32"},
    "float32 X": {"data": np.float32},
    "float64 of float32": {"data": np.float32, "dtype": "float64", "dropout": 0.2},
    "mixed": {"activation": ["gelu", "logistic"], "alpha": 0.1},
    "wide": {"hidden_layer_sizes": 150, "activation": "tanh"},
    "logistic": {"activation": "logistic", "batch_size": "auto", "beta_1": 0.8, "epsilon": 1e-7},
}
WEIGHTS = {
    "class_weight": {"class_weight": {"no": 2.0, "yes": 0.5}},
    "class_weight early_stopping": {"class_weight": "balanced", "early_stopping": True},
}
LBFGS = {
    "plain": {},
    "float32": {"dtype": "float32"},
    "float32 X": {"data": np.float32},
    "many rows": {"rows": 1100, "max_iter": 4},
    "warm_start": {"run": _warm, "warm_start": True},
    "mixed": {"activation": ["gelu", "silu"], "alpha": 0.1},
    "sample_weight": RUNS["sample_weight"],
    "validation_data": RUNS["validation_data"],
}


def _estimators():
    cases = {}
    for task in ("binary", "multiclass", "multilabel", "one", "two", "poisson"):
        group = "regressor" if task in ("one", "two", "poisson") else "classifier"
        for name, settings in SETTINGS.items():
            cases[f"{group}/{task} {name}"] = partial(_fitted, task, **settings)
        for name, settings in RUNS.items():
            if name.startswith("partial_fit") or task in ("binary", "multiclass", "one"):
                cases[f"{group}/{task} {name}"] = partial(_fitted, task, **settings)
        for name, settings in LBFGS.items():
            if name == "plain" or task in ("multiclass", "two"):
                cases[f"lbfgs/{task} {name}"] = partial(
                    _fitted, task, **{"solver": "lbfgs", **settings})
    for name, settings in WEIGHTS.items():
        cases[f"classifier/binary {name}"] = partial(_fitted, "binary", **settings)
    return cases


CASES = {
    **_cells(), **_options(), **_kinds(), **_gradients(), **_predictions(), **_estimators(),
}
GROUPS = tuple(dict.fromkeys(name.split("/")[0] for name in CASES))
