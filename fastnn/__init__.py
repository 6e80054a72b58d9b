"""fastnn: multilayer perceptrons at the speed of the CPU.

What you can do with it::

    from fastnn import MLPClassifier, MLPRegressor      # scikit-learn's API, compiled
    from fastnn import TabularClassifier, TabularRegressor  # data frames as they are

    net = fastnn.MLP((784, 128, 10), output="softmax")  # the bare network on NumPy arrays
    history = net.fit(X, y, epochs=10, optimizer=fastnn.Adam(1e-3), validation_data=(Xv, yv))
    net.predict(X)                                      # (n_samples, 10)
    net.save("model.safetensors")

    model = fastnn.load("model.safetensors")            # in a service: NumPy alone is enough

Where to look, each with ``help(...)``:

===========================  ======================================================================
make a network               `MLP`, `MLP.of` with `Dense`, `LayerNorm`, `Dropout`, `Residual`, ...
train it                     `MLP.fit`, `MLP.fit_batches`, `MLP.steps`, `fit_many`, `History`
how to step                  `Adam`, `SGD`, `LBFGS`, ... (`fastnn.optimizers`), `fastnn.schedules`,
                             `find_learning_rate`
what to minimise             `fastnn.losses`: names such as "huber", objects, functions of your own
while it trains              `EarlyStopping`, `TimeLimit`, `CSVLogger`, `TensorBoard`, `Callback`
use it                       `MLP.predict`, `MLP.save`, `load`, `Predictor`, `Scaler`
data frames, categories      `TabularClassifier`, `TabularRegressor`, `fastnn.tables`,
                             `TableEncoder`, `fastnn.encoders`, `fastnn.sources`
from and to other libraries  `from_torch`, `from_keras`, `from_onnx`, `from_sklearn`, `to_sklearn`,
                             `fastnn.export` (ONNX, C)
command line                 ``python -m fastnn --help``
more than one machine        ``fastnn.dask``
this installation            `show_config`
===========================  ======================================================================

Names are imported when they are first used. For contributors: CONTRIBUTING.md says where things
live.
"""

try:
    from fastnn.core.imports import held_back, imported
except ModuleNotFoundError as error:
    if error.name is None or not error.name.startswith("fastnn.core._"):
        raise
    raise ImportError(
        f"the compiled modules of fastnn are missing in {__path__[0]!r}. In a source tree build "
        "them with `make build`, or `pip install .` and start Python in another folder",
        name=error.name) from None

_HOME = {
    "MLP": "mlp",
    "NetworkSpec": "network.spec",
    "Dense": "network.layers",
    "Embed": "network.layers",
    "Activation": "network.layers",
    "CustomActivation": "network.layers",
    "BatchNorm": "network.layers",
    "GLU": "network.layers",
    "LayerNorm": "network.layers",
    "PReLU": "network.layers",
    "Scale": "network.layers",
    "Dropout": "network.layers",
    "Residual": "network.layers",
    "Repeat": "network.layers",
    "Heads": "network.layers",
    "DivergenceWarning": "training.history",
    "HintWarning": "core.notices",
    "History": "training.history",
    "StopFit": "training.history",
    "Callback": "training.epochs",
    "FitState": "training.epochs",
    "EarlyStopping": "training.stopping",
    "ReduceOnPlateau": "training.stopping",
    "TimeLimit": "training.stopping",
    "CSVLogger": "training.loggers",
    "TensorBoard": "training.loggers",
    "MLflowLogger": "training.loggers",
    "OptunaPruning": "training.loggers",
    "Snapshots": "training.snapshots",
    "RecordPath": "training.snapshots",
    "Steps": "training._steps",
    "find_learning_rate": "training.range_test",
    "fit_many": "ensemble",
    "load": "loading",
    "Predictor": "prediction.predictor",
    "Scaler": "prediction.scaler",
    "TableEncoder": "tables.encoder",
    "MLPClassifier": "estimators",
    "MLPRegressor": "estimators",
    "TabularClassifier": "estimators.tabular",
    "TabularRegressor": "estimators.tabular",
    "SGD": "training.optimizers",
    "Adam": "training.optimizers",
    "AdamW": "training.optimizers",
    "RMSprop": "training.optimizers",
    "Adagrad": "training.optimizers",
    "Adadelta": "training.optimizers",
    "AdaMax": "training.optimizers",
    "Nadam": "training.optimizers",
    "Rprop": "training.optimizers",
    "Lion": "training.optimizers",
    "Muon": "training.optimizers",
    "EMA": "training.optimizers",
    "LBFGS": "training.lbfgs",
    "EvolutionStrategy": "training.evolution",
    "ModelFormatError": "files.container",
    "SKOPS_TRUSTED": "interop",
    "from_keras": "interop",
    "from_onnx": "interop",
    "from_sklearn": "interop",
    "from_torch": "interop",
    "to_sklearn": "interop",
    "show_config": "config",
}

_MODULES = ("display", "encoders", "estimators", "export", "interop", "losses", "optimizers",
            "schedules", "sources", "tables", "tabular")
_NEED_SKLEARN = ("MLPClassifier", "MLPRegressor", "TabularClassifier", "TabularRegressor",
                 "estimators")

__all__ = [*_HOME, "__version__", *_MODULES]


def __getattr__(name):
    if name in _HOME:
        value = getattr(imported(f"fastnn.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    if name in _MODULES or _is_module(name):
        return imported(f"fastnn.{name}")
    hint = "" if name.startswith("_") else imported("fastnn.core.words").of_module(name, __all__)
    raise AttributeError(f"module 'fastnn' has no attribute {name!r}{hint}")


def _is_module(name):
    """Whether there is a submodule of this name, that nobody has imported yet."""
    from importlib.util import find_spec

    return not name.startswith("_") and find_spec(f"fastnn.{name}") is not None


def __dir__():
    from importlib.util import find_spec

    missing = () if find_spec("sklearn") else _NEED_SKLEARN
    return sorted(name for name in __all__ if name not in missing)


with held_back():  # at the end: handlers that have waited find a module that is complete
    from fastnn.core.threads import passive_openmp
    from fastnn.core.version import __version__

    with passive_openmp():
        import fastnn.core._kernels  # noqa: F401
