"""Training on the workers of a Dask cluster, with the same bytes for any number of them.

`fit` trains an `fastnn.MLP`, `fit_many` many of them; `MLPClassifier` and `MLPRegressor` are the
estimators. It needs ``pip install "fastnn-mlp[dask]"``.

==================  ================================================================================
fitting, trainer    `fit`: rounds, driven as epochs are anywhere
cluster             the client: tasks with names, where they run, waiting for what they come to
tasks               what runs on workers, without Dask: steps, gradients, sums, predictions
sources, parts      what the user gives to parts; parts to arrays
shards              rows cut by the data alone, and where they are held
digests             of rows, for checkpoints
ensemble            `fit_many`: each network by a worker
estimators          scikit-learn's
tabular             those of tables; tables, table_parts: their rows stay on the workers
refining, judging   what rows of the driver say of a network of tables; metrics of held-out rows
prediction          predictions and scores by partitions
==================  ================================================================================
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

__all__ = ["MLPClassifier", "MLPRegressor", "TabularClassifier", "TabularRegressor", "fit",
           "fit_many", "on_workers"]

# which need scikit-learn
_HOME = {"MLPClassifier": "estimators", "MLPRegressor": "estimators",
         "TabularClassifier": "tabular", "TabularRegressor": "tabular"}


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module 'fastnn.dask' has no attribute {name!r}")
    return getattr(imported(f"fastnn.dask.{_HOME[name]}"), name)


def __dir__():
    return sorted({*globals(), *__all__})
