"""Training on the workers of a Dask cluster, with the same bytes for any number of them.

`fit` trains an `fastnn.MLP`, `fit_many` many of them; `MLPClassifier` and `MLPRegressor` are the
estimators. It needs ``pip install "fastnn-mlp[dask]"``.
"""

try:
    import dask  # noqa: F401
    import distributed  # noqa: F401
except ImportError as error:
    raise ImportError(
        'fastnn.dask needs Dask: pip install "fastnn-mlp[dask]"', name=error.name) from error

from fastnn.core.imports import imported
from fastnn.dask.ensemble import fit_many, on_workers
from fastnn.dask.fitting import fit

__all__ = ["MLPClassifier", "MLPRegressor", "fit", "fit_many", "on_workers"]

# which need scikit-learn
_HOME = {"MLPClassifier": "estimators", "MLPRegressor": "estimators",
         "TabularClassifier": "tabular", "TabularRegressor": "tabular"}


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module 'fastnn.dask' has no attribute {name!r}")
    return getattr(imported(f"fastnn.dask.{_HOME[name]}"), name)
