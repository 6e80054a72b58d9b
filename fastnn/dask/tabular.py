"""Estimators of tables whose members are trained by the workers of a Dask cluster."""

import dask

from fastnn.dask import prediction
from fastnn.dask.ensemble import on_workers
from fastnn.estimators import tabular  # type: ignore

__all__ = ["TabularClassifier", "TabularRegressor"]


class _OnWorkers:
    """What both share: tables that are put together here, members on the workers."""

    client = None  # no parameter: copies and files do not hold it

    def fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None,
            checkpoint=None, checkpoint_seconds=10.0):
        """Learn from a table; see `fastnn.TabularClassifier.fit`.

        Each member is one task, to the bytes of a fit in this process. The table has to fit into
        the memory of a worker, and of this process, which learns its schema.

        Parameters
        ----------
        X, y, sample_weight, X_val, y_val, sample_weight_val
            As there, or Dask collections; y may be the name of a column of a `dask.dataframe`.
        checkpoint, checkpoint_seconds
            Must stay as they are: workers give networks back when those have come to their end.

        Returns
        -------
        self
        """
        if isinstance(y, str):
            X, y = X.drop(columns=[y]), X[y]
        X, y, sample_weight, X_val, y_val, sample_weight_val = dask.compute(
            X, y, sample_weight, X_val, y_val, sample_weight_val)
        with on_workers(self.client):
            return super().fit(X, y, sample_weight, X_val=X_val, y_val=y_val,
                               sample_weight_val=sample_weight_val, checkpoint=checkpoint,
                               checkpoint_seconds=checkpoint_seconds)

    def predict(self, X):
        """Return predictions; of a Dask collection lazily, by partitions, the model being sent
        once."""
        if prediction.is_lazy(X):
            return prediction.lazy_tables(self, "predict", X)
        return super().predict(X)

    def score(self, X, y, sample_weight=None):
        """Return the score, of Dask collections that are put together here, too."""
        X, y, sample_weight = dask.compute(X, y, sample_weight)
        return super().score(X, y, sample_weight)

    def __getstate__(self):
        state = super().__getstate__()
        state.pop("client", None)
        return state


class TabularClassifier(_OnWorkers, tabular.TabularClassifier):
    """`fastnn.TabularClassifier` whose members are trained by the workers of a Dask cluster.

    The client is the one that runs, or the one that is assigned: ``model.client = client``.
    """

    def predict_proba(self, X):
        """Return the probability of each class, columns as in `classes_`; lazily as `predict`."""
        if prediction.is_lazy(X):
            return prediction.lazy_tables(self, "predict_proba", X)
        return super().predict_proba(X)


class TabularRegressor(_OnWorkers, tabular.TabularRegressor):
    """`fastnn.TabularRegressor` whose members are trained by the workers of a Dask cluster.

    The client is the one that runs, or the one that is assigned: ``model.client = client``.
    """
