"""fastnn: multilayer perceptrons at the speed of the CPU.

Three doors::

    from fastnn import MLPClassifier, MLPRegressor   # scikit-learn's API, compiled
    net = fastnn.MLP((784, 128, 10), output="softmax")  # the bare network on NumPy arrays
    net = fastnn.load("model.safetensors")           # a model inside a service

The house::

     estimators.py, solvers.py   scikit-learn API: checks, labels, early stopping, solver choice
          |
     mlp.py, validation.py       MLP: thin, holds parameters, hands arrays down
     predictor.py, model_file.py, io.py   a model with its scaler and labels; to files and back
     checkpoint.py               where a fit stands, to a file and back
     export/, interop.py         to ONNX and C; from and to other libraries
          |        |
     _training.pyx |             owns the workspace; _loop.pyx: the epoch, OpenMP, BLAS
          |    _inference.pyx    forward only, any number of callers, no SciPy
          |        |
     _kernels.pyx, plan.py       owner of the C function table, registry of names; shapes -> plan
          |
     csrc/                       kernels per instruction set; no Python, no threads

Names are imported when they are first used: prediction with a loaded model needs NumPy alone.
"""

from importlib import import_module

from fastnn.threads import passive_openmp

with passive_openmp():
    import fastnn._kernels  # noqa: F401

__version__ = "0.1.0"

_HOME = {
    "MLP": "mlp",
    "DivergenceWarning": "mlp",
    "History": "mlp",
    "load": "model_file",
    "Predictor": "predictor",
    "Scaler": "predictor",
    "TableEncoder": "table",
    "MLPClassifier": "estimators",
    "MLPRegressor": "estimators",
    "SGD": "optimizers",
    "Adam": "optimizers",
    "AdamW": "optimizers",
    "RMSprop": "optimizers",
    "Adagrad": "optimizers",
    "ModelFormatError": "io",
    "SKOPS_TRUSTED": "interop",
    "from_keras": "interop",
    "from_onnx": "interop",
    "from_sklearn": "interop",
    "from_torch": "interop",
    "to_sklearn": "interop",
    "show_config": "config",
}

__all__ = [*_HOME, "__version__"]


def __getattr__(name):
    if name == "export":
        return import_module("fastnn.export")
    if name not in _HOME:
        raise AttributeError(f"module 'fastnn' has no attribute {name!r}")
    value = getattr(import_module(f"fastnn.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})
