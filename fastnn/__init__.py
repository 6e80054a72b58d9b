"""fastnn: multilayer perceptrons at the speed of the CPU.

Three doors::

    from fastnn import MLPClassifier, MLPRegressor   # scikit-learn's API, compiled
    net = fastnn.MLP((784, 128, 10), output="softmax")  # the bare network on NumPy arrays
    net = fastnn.load("model.safetensors")           # a model inside a service

The house, from the top; imports go down only::

     cli, playground, config         the command line; what is installed
     loading, interop, export, dask  models from and to files, libraries, other languages; clusters
     estimators                      scikit-learn's API, and its rules as hooks
     tabular                         models of tables, as they are
     ensemble                        many networks in one pass
     mlp, tables                     MLP; data frames to inputs
     prediction | training           the forward pass, NumPy alone | the trainer and its epochs
     files                           bytes and plain values
     network                         NetworkSpec, parameters, operations
     core                            kernels' table, signals, threads, memory, checks
     csrc/                           kernels per instruction set; no Python, no threads

Names are imported when they are first used: prediction with a loaded model needs NumPy alone.
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
    "Dense": "network.spec",
    "Activation": "network.spec",
    "CustomActivation": "network.spec",
    "BatchNorm": "network.spec",
    "LayerNorm": "network.spec",
    "PReLU": "network.spec",
    "Scale": "network.spec",
    "Dropout": "network.spec",
    "Residual": "network.spec",
    "Repeat": "network.spec",
    "Heads": "network.spec",
    "DivergenceWarning": "training.history",
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

_MODULES = ("display", "encoders", "export", "losses", "schedules", "sources")

__all__ = [*_HOME, "__version__", *_MODULES]


def __getattr__(name):
    if name in _MODULES or name == "dask":  # which needs Dask, and is in no list for that
        return imported(f"fastnn.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'fastnn' has no attribute {name!r}")
    value = getattr(imported(f"fastnn.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})


with held_back():  # at the end: handlers that have waited find a module that is complete
    from fastnn.core.threads import passive_openmp
    from fastnn.core.version import __version__

    with passive_openmp():
        import fastnn.core._kernels  # noqa: F401
