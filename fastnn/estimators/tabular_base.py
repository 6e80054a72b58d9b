"""What `TabularClassifier` and `TabularRegressor` share: fitting, reading tables, saving."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from numbers import Integral, Real
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator, is_classifier
from sklearn.utils import check_array, check_random_state
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.validation import (
    _check_sample_weight,
    check_consistent_length,
    check_is_fitted,
)

from fastnn.core.arrays import from_tensor, is_sparse
from fastnn.core.cures import ragged
from fastnn.core.imports import imported
from fastnn.core.notices import suggests
from fastnn.core.rows import check_weights, moderate_weights
from fastnn.core.threads import sole_fit
from fastnn.estimators.decorators import validated
from fastnn.estimators.documented import Documented
from fastnn.estimators.settings import COUNT, positive
from fastnn.estimators.tabular_words import check_columns, check_given, targets_as_given
from fastnn.estimators.twins import take_over
from fastnn.estimators.wording import Names, check_parameters
from fastnn.tables.cells import Cells
from fastnn.tables.frames import as_table, has_names, table_of
from fastnn.tables.labels import learn_target
from fastnn.tables.table import Table
from fastnn.tabular.explain import BACKGROUND, SAMPLES
from fastnn.tabular.importances import permutation_importances
from fastnn.tabular.model import TabularModel, fit_model
from fastnn.tabular.recipe import PRESETS

if TYPE_CHECKING:
    from typing import Any

    from typing_extensions import Self

    from fastnn.core.types import Array, ArrayLike, File

__all__ = ["BaseTabular", "weights_for_networks"]


class BaseTabular(Documented, BaseEstimator):
    """What both estimators share."""

    _parameter_constraints: dict = {
        "preset": [Names(set(PRESETS))],
        "time_limit": [None, positive(Real)],
        "eval_metric": [None, str, callable],
        "categorical_features": [Names({"auto"}), "array-like", None],
        "infinities": [Names({"refuse", "missing", "keep"})],
        "random_state": ["random_state"],
        "n_threads": [None, COUNT],
        "progress": [None, "boolean"],
    }

    # where a fit is kept is nothing that a search hands to each of its fits
    __metadata_request__fit = {"checkpoint": UNUSED, "checkpoint_seconds": UNUSED}  # noqa: RUF012

    def _validate_params(self):
        check_parameters(self, super()._validate_params)

    @suggests
    @validated
    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None, *, X_val: Any = None,
            y_val: Any = None, sample_weight_val: ArrayLike | None = None,
            checkpoint: File | None = None, checkpoint_seconds: float = 10.0) -> Self:
        """Learn from a table.

        Parameters
        ----------
        X : data frame, dict of columns, list of dicts, or array of shape (n_samples, n_features)
            Numbers, categories, dates and missing values as they are. Columns of data frames are
            known by name from then on, whatever their order.
        y : array of shape (n_samples,) or (n_samples, n_outputs)
            Their values.
        sample_weight : array of shape (n_samples,), default=None
            Rows of weight 0 are left out.
        X_val : as X, default=None
            Rows to choose the best epoch by, and from 50 rows on what a linear part and trees have
            a share in. Without them folds of X are held out in turn, so that no row is lost.
        y_val : as y, default=None
            Their targets.
        sample_weight_val : array of shape (n_val,), default=None
            Weights of the validation rows; None: 1 each.
        checkpoint : str, path or None, default=None
            File that keeps where the networks stand, at whole epochs of each. Where it is there
            already, the fit goes on from it, to the same bytes as if it had never stopped; networks
            that have come to their end are not trained again. Those that `time_limit` has ended
            have not: each call goes on with them, with as much time again. Without a number as
            `random_state` the file keeps the seed of the first call. Each fit needs a file of its
            own; delete it to start anew. It is no metadata that could be routed.
        checkpoint_seconds : float, default=10.0
            Time between two writes of the file at least.

        Returns
        -------
        self
            The estimator itself.

        Raises
        ------
        ValueError, TypeError
            On a wrong argument or parameter; where nothing can be learned from.
        ModelFormatError
            When the checkpoint is damaged, or one of a fit with other parameters or data.
        OSError
            When the checkpoint cannot be written.
        """
        with sole_fit(self):
            before, twin = dict(vars(self)), self._twin()
            twin._fit_in_place(X, y, sample_weight, X_val, y_val, sample_weight_val, checkpoint,
                               checkpoint_seconds)
            take_over(self, twin, before)
        return self

    def _twin(self):
        twin = object.__new__(type(self))
        vars(twin).update(vars(self))
        return twin

    def _fit_in_place(self, X, y, sample_weight, X_val, y_val, sample_weight_val, checkpoint,
                      checkpoint_seconds):
        if y is None:
            raise ValueError(f"{type(self).__name__}.fit requires y to be passed, but the target y "
                             "is None")
        y = targets_as_given(y, is_classifier(self))
        check_given(X, y, is_classifier(self))
        X = self._table(X, reset=True)
        y = from_tensor("y", y)
        y = y if sp.issparse(y) or hasattr(y, "dtype") else np.asarray(y)
        check_consistent_length(np.empty(len(X)), y)
        weight = self._weight("sample_weight", sample_weight, X)
        y, task, classes = self._targets(y, weight)
        weight = self._weighted(weight, y, task, classes)
        validation = None
        if (X_val is None) != (y_val is None) or (X_val is None and sample_weight_val is not None):
            raise ValueError("X_val and y_val must be given together")
        if X_val is not None:
            y_val = targets_as_given(y_val, is_classifier(self), classes, "y_val")
            check_given(X_val, y_val, is_classifier(self), "_val")
            X_val = self._table(X_val, reset=False)
            check_columns("X_val", X_val, X)
            if not len(X_val):
                raise ValueError("X_val has 0 rows, must have at least 1; None: rows of X are held "
                                 "out")
            y_val = self._encoded(from_tensor("y_val", y_val), task, classes, y)
            check_consistent_length(np.empty(len(X_val)), y_val)
            weight_val = self._weight("sample_weight_val", sample_weight_val, X_val)
            validation = X_val, y_val, self._weighted(weight_val, y_val, task, classes)
        number = int(self.random_state) if isinstance(self.random_state, Integral) else None
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        self.model_ = fit_model(
            X, y, task, classes=classes, preset=self.preset,
            categorical_features=self.categorical_features, sample_weight=weight,
            validation=validation, eval_metric=self.eval_metric, seed=seed,
            n_threads=self.n_threads, time_limit=self.time_limit, progress=self.progress,
            infinities=self.infinities, checkpoint=checkpoint,
            checkpoint_seconds=checkpoint_seconds,
            random_state=number)
        if classes is not None:
            self.classes_ = self.model_.classes

    def _table(self, X, reset):
        """Return X as `fastnn.tables` takes it; note, or check, its columns."""
        if is_sparse(X):
            raise TypeError("Sparse data was passed for X, but dense data is required. Use "
                            "'.toarray()' to convert to a dense numpy array.")
        if hasattr(X, "__dask_graph__"):
            raise TypeError(f"X is a collection of Dask ({type(X).__name__}): X.compute() brings "
                            "it into this process; predict, predict_proba and score of the "
                            "estimators of fastnn.dask take it as it is")
        X = from_tensor("X", X)
        if _is_frame(X):
            table = as_table(X)
            return self._noted(table, _names_of(X, table), reset)
        if uneven := ragged("X", X, False):
            raise ValueError(uneven)
        if isinstance(X, (list, tuple)) and len(X) > 0 and _holds_text(X):
            X = np.array(X, dtype=object)
        elif isinstance(X, np.ndarray) and X.dtype.kind == "T":
            X = X.astype(object)
        # missing values are fine, and infinite ones for the schema to refuse
        X = check_array(X, dtype=None, ensure_all_finite=False, estimator=self, input_name="X")
        return self._noted(as_table(X), None, reset)

    def _noted(self, table, names, reset):
        """Note the columns of the table of training, or return another one with their names."""
        n = len(table.names)
        if reset:
            if len(table) < 2:
                raise ValueError(f"X has n_samples={len(table)} rows, training needs at least 2")
            vars(self).pop("feature_names_in_", None)
            self.n_features_in_, self._table_names = n, tuple(table.names)
            if names is not None and all(isinstance(name, str) for name in names):
                self.feature_names_in_ = np.array(names, object)
            return table
        if names is not None and ("feature_names_in_" in vars(self)
                                  or set(self._table_names) <= set(table.names)):
            return table  # by name, which may be a number
        if n != self.n_features_in_:
            raise ValueError(f"X has {n} features, but {type(self).__name__} is expecting "
                             f"{self.n_features_in_} features as input")
        if tuple(table.names) == self._table_names:
            return table
        return as_table({name: table.column(own)
                         for name, own in zip(self._table_names, table.names, strict=True)})

    def _weight(self, name, weight, X):
        if weight is None:
            return None
        if isinstance(weight, Cells):  # of a column that was read from a file
            weight = learn_target(weight, name=name)[0]
        try:
            weight = _check_sample_weight(from_tensor(name, weight), np.empty((len(X), 1)),
                                          dtype=np.float64, ensure_non_negative=True)
        except ValueError as error:
            raise ValueError(re.sub(r"\b(sample_weight|sample weights)\b", name, str(error))
                             ) from None
        return weights_for_networks(name, weight)

    def _outputs(self, X):
        check_is_fitted(self)
        return self.model_.outputs(self._table(X, reset=False), n_threads=self.n_threads)

    def _model(self):
        check_is_fitted(self)
        return self.model_

    @property
    def feature_importances_(self) -> Array:
        """By how much the loss grows where a column is shuffled, float64 (n_features_in_,).

        Measured on rows by networks that have not learned from them, when it is first asked for;
        see `fastnn.tabular.importances`. ``feature_importances_error_`` has the standard errors.
        """
        return self._importances()[0]

    @property
    def feature_importances_error_(self) -> Array:
        """Standard errors of `feature_importances_`, float64 (n_features_in_,)."""
        return self._importances()[1]

    def _importances(self):
        if "model_" not in vars(self):
            raise AttributeError(f"this {type(self).__name__} is not fitted yet")
        return permutation_importances(self.model_, n_threads=self.n_threads)

    @suggests
    def explain(self, X: Any, *, samples: int = SAMPLES, background: int = BACKGROUND,
                random_state: int = 0) -> Any:
        """Return what each column has contributed to the prediction of each row.

        Sampled Shapley values, whose sums with the base value are the predictions: probabilities of
        the classes, or values in the units of y. They estimate what the `shap` package's
        permutation explainer does with the same background rows.

        Parameters
        ----------
        X : as for `fit`
            Rows, with the columns of the fit.
        samples : int, default=256
            Orders of the columns that are drawn for each row, each with its reverse; at most 2**20.
            Errors fall with their root.
        background : int, default=64
            Rows of training that stand for columns that are not known.
        random_state : int, default=0
            Decides what is drawn.

        Returns
        -------
        fastnn.tabular.explain.Explanation
            ``values`` and ``errors`` (standard errors) of shape (n_samples, n_features_in_), or
            with a third axis for classes, labels and several targets; ``base_values``.
        """
        return self._model().explain(self._table(X, reset=False), samples=samples,
                                     background=background, random_state=random_state)

    def save(self, path: File, *, pipeline: Any = None, max_bytes: int | None = None) -> None:
        """Write the fitted model to a safetensors file: schema, encodings, networks and labels.

        `fastnn.load` gives a `fastnn.tabular.TabularModel` back, which predicts frames and lists of
        dicts without scikit-learn and pandas; the parameters of the estimator are not in the file.

        Parameters
        ----------
        path : str or path
            The old file is there until the new one is complete.
        pipeline : Pipeline, TransformedTargetRegressor or None, default=None
            A fitted one of scikit-learn with this estimator at its end, whose steps go into the
            file: a `ColumnTransformer`, scalers, `SimpleImputer`, `OneHotEncoder` and
            `OrdinalEncoder`, and a scaler of the target. Any other step is refused by name.
        max_bytes : int or None, default=None
            A larger file is not written. None: 2**30, beyond which `fastnn.load` needs this
            argument, too.
        """
        model = self._model()
        if pipeline is not None:
            model = self._with_pipeline(model, pipeline)
        model.save(path, max_bytes=max_bytes)

    def _with_pipeline(self, model, pipeline):
        """Return the model of a pipeline that ends with this estimator."""
        pipelines = imported("fastnn.estimators.pipelines")
        steps, target = pipelines.taken_apart(pipeline, self)
        task = model.task
        if target is not None:
            scale, add = pipelines.target_scale(target)
            task = replace(task, center=tuple((scale * task.center + add).tolist()),
                           scale=tuple((scale * task.scale).tolist()))
        return TabularModel(model.schema, task, model.ensemble, model.names, model.classes,
                            model.reference, pipelines.preparation_of(steps) if steps else None)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.non_deterministic = False
        return tags


def weights_for_networks(name, weight):
    """Return weights (n_samples,) of float64 that networks, of float32, can hold; raise where they
    could not learn by them."""
    weight = moderate_weights(weight)
    check_weights(weight, len(weight), np.float32, name)
    return weight


def _is_frame(X):
    """Whether columns of X have names."""
    if isinstance(X, np.ndarray):
        return X.dtype.names is not None  # a structured array
    return (isinstance(X, (Table, Mapping, Iterator)) or table_of(X) is not None
            or isinstance(X, (list, tuple)) and len(X) > 0 and has_names(X[0]))


def _holds_text(X):
    return any(isinstance(value, (str, type(None))) for row in X if isinstance(row, (list, tuple))
               for value in row)


def _names_of(X, table):
    """Return the names of the columns as they are."""
    if isinstance(X, (Table, list, tuple, np.ndarray)):
        return list(table.names)
    if hasattr(X, "collect_schema"):  # of polars, lazy or not
        return X.collect_schema().names()
    names = list(X if isinstance(X, Mapping) else getattr(X, "column_names", X.columns))
    return names if len(names) == len(table.names) else list(table.names)  # without an index
