"""Estimators of tables on the workers of a Dask cluster."""

from fastnn.dask import prediction
from fastnn.dask.cluster import Cluster, WithClient
from fastnn.dask.ensemble import on_workers
from fastnn.dask.estimators import with_more
from fastnn.dask.sources import in_memory
from fastnn.dask.tables import fit_table
from fastnn.estimators import tabular  # type: ignore
from fastnn.estimators.settings import COUNT
from fastnn.estimators.twins import take_over

__all__ = ["TabularClassifier", "TabularRegressor"]

MORE = {"shards": None, "keep": None}
CONSTRAINTS = {"shards": [None, COUNT], "keep": [None, "boolean"]}


class _OnWorkers(WithClient):
    """What both share: members on the workers, or rows that stay there."""

    def fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None,
            checkpoint=None, checkpoint_seconds=10.0):
        """Learn from a table; see `fastnn.TabularClassifier.fit`.

        Without ``shards`` each member is one task, to the bytes of a fit in this process. The table
        has to fit into the memory of a worker, and of this process, which learns its schema.

        With ``shards`` the rows stay on the workers, and one network is trained by rounds, see
        `fastnn.dask.fit`; a tenth of each shard is held out to stop by, where there are no
        validation rows. The schema is the same however the table is cut: texts are counted
        exactly, quantiles are those of 131,072 rows, whose numbers in the table a seed draws, none
        further than 0.0066 from its level with a probability of 1 - 2e-5 (Dvoretzky, Kiefer &
        Wolfowitz 1956; Massart 1990). Parts are read, encoded and dropped.

        Parameters
        ----------
        X, y, sample_weight, X_val, y_val, sample_weight_val : see `fastnn.TabularClassifier.fit`
            As there, or Dask collections, lists of delayed parts and paths of Parquet files, as
            `fastnn.dask.fit` takes them; y and sample_weight may be names of columns. Parts are
            pandas frames or arrays.
        checkpoint, checkpoint_seconds : str, path or None, float, default=None, 10.0
            With ``shards`` as for `fastnn.dask.fit`, and ``random_state`` must be a number: the
            same call goes on from the file, to the same bytes. Without, None: workers give networks
            back when those have come to their end.

        Returns
        -------
        self
            The estimator itself.

        Raises
        ------
        ValueError, TypeError
            On a wrong argument; with ``shards`` on parts that differ in columns or in what those
            hold, with the number of the partition; on a checkpoint without ``random_state``.
        ModelFormatError
            When the checkpoint is damaged, or one of a fit with other parameters or data.
        """
        if X_val is None and not (y_val is None and sample_weight_val is None):
            raise ValueError("X_val and y_val must be given together")  # parts of X_val may hold y
        if self.shards is not None:
            self._validate_params()
            held = None if X_val is None else (X_val, y_val, sample_weight_val)
            before, twin = dict(vars(self)), self._twin()
            fit_table(twin, Cluster(self.client), X, y, sample_weight, held, self.shards, self.keep,
                      checkpoint, checkpoint_seconds)
            take_over(self, twin, before)
            return self
        cluster = Cluster(self.client)
        X, y, sample_weight = in_memory(cluster, X, y, sample_weight)
        if X_val is not None:
            X_val, y_val, sample_weight_val = in_memory(cluster, X_val, y_val, sample_weight_val)
        with on_workers(self.client):
            return super().fit(X, y, sample_weight, X_val=X_val, y_val=y_val,
                               sample_weight_val=sample_weight_val, checkpoint=checkpoint,
                               checkpoint_seconds=checkpoint_seconds)

    def predict(self, X):
        """Return predictions; of a Dask collection lazily, by partitions.

        Parameters
        ----------
        X : Dask collection, list of delayed parts, or what `fastnn.TabularClassifier` takes
            Rows to predict. The model is sent once.

        Returns
        -------
        dask.array, dask Series, list of delayed arrays, or array
            As X is.
        """
        if prediction.is_lazy(X):
            return prediction.lazy_tables(self, "predict", X)
        return super().predict(X)

    def score(self, X, y, sample_weight=None):
        """Return the accuracy, or R², over all partitions; see `fastnn.TabularClassifier.score`.

        Dask collections and lists of parts are scored by the workers, the model being sent once;
        predictions of quantiles in this process.

        Parameters
        ----------
        X, y : as for `fit`
            Rows, and what is right for them.
        sample_weight : as y, default=None
            Weights of the rows.

        Returns
        -------
        float
            Of all rows.
        """
        if not prediction.is_lazy(X):
            return super().score(X, y, sample_weight)
        if self._model().task.levels:
            return super().score(*in_memory(Cluster(self.client), X, y, sample_weight))
        return prediction.score(Cluster(self.client), self, X, y, sample_weight, table=True)


@with_more(MORE, CONSTRAINTS)
class TabularClassifier(_OnWorkers, tabular.TabularClassifier):
    """`fastnn.TabularClassifier` on the workers of a Dask cluster.

    The client is the one that runs, or the one that is assigned: ``model.client = client``.

    Parameters
    ----------
    {parameters}
    shards : int or None, default=None
        Number of pieces that the rows are cut into, which stay on the workers; it decides the
        result. None: members are spread over the workers, each with all rows.
    keep : bool or None, default=None
        With shards, whether workers hold the encoded rows; see `fastnn.dask.fit`.

    Examples
    --------
    >>> import dask.dataframe, distributed, fastnn.dask
    >>> import numpy as np, pandas
    >>> client = distributed.Client(processes=False, dashboard_address=None)
    >>> rng = np.random.default_rng(0)
    >>> table = pandas.DataFrame({"a": rng.normal(size=2000), "b": rng.choice(["x", "y"], 2000)})
    >>> table["label"] = np.where(table["a"] + (table["b"] == "x") > 0.5, "yes", "no")
    >>> data = dask.dataframe.from_pandas(table, npartitions=3)
    >>> model = fastnn.dask.TabularClassifier("fast", shards=2, random_state=0).fit(data, "label")
    >>> bool(model.score(data, "label") > 0.95)
    True
    >>> client.close()
    """

    def predict_proba(self, X):
        """Return the probability of each class, columns as in `classes_`; lazily as `predict`."""
        if prediction.is_lazy(X):
            return prediction.lazy_tables(self, "predict_proba", X)
        return super().predict_proba(X)


@with_more(MORE, CONSTRAINTS)
class TabularRegressor(_OnWorkers, tabular.TabularRegressor):
    """`fastnn.TabularRegressor` on the workers of a Dask cluster.

    The client is the one that runs, or the one that is assigned: ``model.client = client``.

    Parameters
    ----------
    {parameters}
    shards : int or None, default=None
        As for `fastnn.dask.TabularClassifier`.
    keep : bool or None, default=None
        As for `fastnn.dask.TabularClassifier`.
    """
