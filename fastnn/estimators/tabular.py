"""`TabularClassifier` and `TabularRegressor`: scikit-learn's protocol around `TabularModel`."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import check_array
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import column_or_1d

from fastnn.core.arrays import dense_rows, from_tensor
from fastnn.core.notices import shown, suggests
from fastnn.core.validation import check_nonnegative, check_real
from fastnn.estimators.decorators import available_if
from fastnn.estimators.regressor import _pinball_score
from fastnn.estimators.tabular_base import BaseTabular, weights_for_networks
from fastnn.estimators.tabular_words import check_given, plain_labels, targets_as_given
from fastnn.estimators.wording import Names, unknown_labels
from fastnn.tabular.intervals import predict_interval
from fastnn.tabular.task import REGRESSION, Task, check_values
from fastnn.training.losses import Loss, Quantile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, Literal

    from fastnn.core.types import Array, ArrayLike, Seed

__all__ = ["TabularClassifier", "TabularRegressor"]


class TabularClassifier(ClassifierMixin, BaseTabular):
    """Classes of the rows of a table, which it takes as it is.

    An ensemble of small networks over folds, see `fastnn.tabular`. It minimises the log loss, so
    that probabilities are calibrated.

    Parameters
    ----------
    preset : {"default", "fast", "best"}, default="default"
        How much time to take.
    time_limit : float or None, default=None
        Seconds after which training ends, about. With it the result depends on the machine.
    eval_metric : str, callable or None, default=None
        By what the best epoch is chosen: "log_loss" (None), "accuracy", "balanced_accuracy",
        "brier"; of two classes and labels also "roc_auc", "average_precision", "f1". A function of
        (y, prediction), numbers of classes and probabilities: more is better.
    class_weight : "balanced", dict or None, default=None
        Weight of each class, by label; "balanced" is n_samples / (n_classes * count). They act as
        sample weights: probabilities are then those of such a population. Not for multilabel
        targets.
    categorical_features : "auto", list or None, default="auto"
        Names or places of columns whose values are categories, whatever they look like. "auto":
        text that is neither numbers, dates, nor true and false, and what a frame calls so.
    infinities : {"refuse", "missing", "keep"}, default="refuse"
        What to do with infinite values. Missing ones (NaN, None, empty text) need nothing.
    random_state : int, RandomState or None, default=None
        The same number gives the same bytes, whatever the number of threads.
    n_threads : int or None, default=None
        None: as many as allowed.
    progress : bool or None, default=None
        Whether to show how far the fit is.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    feature_importances_, feature_importances_error_ : ndarray of shape (n_features_in_,)
    model_ : fastnn.tabular.TabularModel
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Where the columns of X have names.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastnn import TabularClassifier
    >>> X, y = load_iris(as_frame=True, return_X_y=True)
    >>> model = TabularClassifier(preset="fast", random_state=0).fit(X, y)
    >>> model.predict_proba(X[:2]).shape
    (2, 3)
    """

    _parameter_constraints: dict = {
        **BaseTabular._parameter_constraints,
        "class_weight": [dict, Names({"balanced"}), None],
    }

    @suggests
    def __init__(self, preset: str = "default", *, time_limit: float | None = None,
                 eval_metric: str | Callable[..., float] | None = None,
                 class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
                 categorical_features: Any = "auto", infinities: str = "refuse",
                 random_state: Seed = None, n_threads: int | None = None,
                 progress: bool | None = None) -> None:
        self.preset = preset
        self.time_limit = time_limit
        self.eval_metric = eval_metric
        self.class_weight = class_weight
        self.categorical_features = categorical_features
        self.infinities = infinities
        self.random_state = random_state
        self.n_threads = n_threads
        self.progress = progress

    @suggests
    def predict(self, X: Any) -> Array:
        """Return the label of each row, shape (n_samples,), or its labels (n_samples, n_labels).

        Parameters
        ----------
        X : data frame, dict, list of dicts or array
            Rows, with the columns of the fit.

        Returns
        -------
        array (n_samples,) or (n_samples, n_labels)
            Labels.
        """
        return self._model().decided(self._outputs(X))

    @suggests
    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class (columns as in `classes_`) or of each label.

        Parameters
        ----------
        X : data frame, dict, list of dicts or array
            Rows, with the columns of the fit.

        Returns
        -------
        array (n_samples, n_classes)
            Columns as in ``classes_``.
        """
        return self._model().probabilities(self._outputs(X))

    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithm of `predict_proba`.

        Parameters
        ----------
        X : data frame, dict, list of dicts or array
            Rows, with the columns of the fit.

        Returns
        -------
        array (n_samples, n_classes)
            Columns as in ``classes_``.
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def score(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> float:
        """Return the share of rows whose label is predicted, of all labels where there are several.

        Parameters
        ----------
        X : data frame, dict, list of dicts or array
            Rows, with the columns of the fit.
        y : array-like (n_samples,) or (n_samples, n_labels)
            Their labels.
        sample_weight : array-like (n_samples,) or None, default=None
            Weights of the rows; None: 1 each.

        Returns
        -------
        float
            1 is the best.
        """
        y = targets_as_given(y, True, self.classes_ if "classes_" in vars(self) else None)
        check_given(X, y, True)
        if not hasattr(y, "dtype") and not sp.issparse(y):
            y = np.asarray(y)
        return super().score(X, y if sp.issparse(y) else plain_labels(y), sample_weight)

    def _targets(self, y, weight):
        """Return y as numbers, its task, and the classes."""
        if sp.issparse(y):
            y = y.toarray()
        if np.ndim(y) == 2 and np.shape(y)[1] == 1:
            y = column_or_1d(y, warn=True)
        y = plain_labels(y)
        kind = type_of_target(y, input_name="y")
        if kind == "multilabel-indicator":
            y = np.asarray(y)
            return (y != 0).astype(np.float32), Task.of_labels(y.shape[1]), np.arange(y.shape[1])
        if kind not in ("binary", "multiclass"):
            raise unknown_labels(kind, y, "TabularRegressor")
        classes, codes = np.unique(column_or_1d(y), return_inverse=True)
        return codes, Task.of_classes(len(classes)), classes

    def _encoded(self, y, task, classes, like):
        """Return the targets of validation rows as those of training."""
        if sp.issparse(y):
            y = y.toarray()
        if task.kind == "multilabel":
            if np.ndim(y) != 2 or np.shape(y)[1] != task.n_out:
                raise ValueError(f"y_val has shape {np.shape(y)}, must have {task.n_out} columns")
            y = np.asarray(y)
            wrong = y[(y != 0) & (y != 1)]
            if wrong.size:
                raise ValueError(f"y_val holds {shown(wrong.tolist()[0])}, must hold zeros and "
                                 "ones, a column for each label")
            return (y != 0).astype(np.float32)
        y = column_or_1d(plain_labels(y) if hasattr(y, "dtype") else y)
        known = {label: i for i, label in enumerate(classes.tolist())}
        try:
            return np.array([known[label] for label in y.tolist()], np.intp)
        except KeyError as error:
            raise ValueError(f"y_val holds {error.args[0]!r}, which y does not") from None

    def _weighted(self, weight, y, task, classes):
        """Return sample weights with those of the classes."""
        if self.class_weight is None:
            return weight
        if task.kind == "multilabel":
            raise ValueError(f"class_weight={self.class_weight!r} must be None for multilabel y")
        given = self.class_weight
        if isinstance(given, dict):
            known = {label: i for i, label in enumerate(classes.tolist())}
            unknown = [label for label in given if label not in known]
            if unknown:
                raise ValueError(f"class_weight names {shown(unknown[0])}, which is no label of y")
            given = {known[label]: check_nonnegative(f"class_weight[{shown(label)}]", value)
                     for label, value in given.items()}
        of_class = compute_sample_weight(given, y)
        name = "class_weight"
        if weight is not None:
            with np.errstate(over="ignore"):
                name, of_class = "sample_weight times class_weight", weight * of_class
        return weights_for_networks(name, of_class)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _has_levels(est):
    loss = est.model_.task.loss if "model_" in vars(est) else est.loss
    if loss != "quantile" and not isinstance(loss, Quantile):
        raise AttributeError(f"predict_quantiles needs loss='quantile', not {shown(loss)}")
    return True


class TabularRegressor(RegressorMixin, BaseTabular):
    """Values of the rows of a table, which it takes as it is.

    An ensemble of small networks over folds, see `fastnn.tabular`. Targets are scaled inside.

    Parameters
    ----------
    preset : {"default", "fast", "best"}, default="default"
        How much time to take.
    loss : str or object, default="squared_error"
        What is minimised: "squared_error", "absolute_error", "huber", "log_cosh"; "quantile" (see
        ``quantile``); "poisson" and "tweedie" for y >= 0, "gamma" for y > 0, whose predictions are
        positive. Or an object such as ``fastnn.losses.Tweedie(power=1.3)``. ``delta`` of Huber is
        in standard deviations of y.
    quantile : float, sequence of float or None, default=None
        Level in (0, 1) of ``loss="quantile"``; None: 0.5. Several, in rising order, for a single
        target: `predict` then returns one column for each.
    time_limit : float or None, default=None
        Seconds after which training ends, about. With it the result depends on the machine.
    eval_metric : str, callable or None, default=None
        By what the best epoch is chosen: None for the loss, "rmse", "mae", "r2". A function of
        (y, prediction): more is better.
    categorical_features : "auto", list or None, default="auto"
        Names or places of columns whose values are categories, whatever they look like. "auto":
        text that is neither numbers, dates, nor true and false, and what a frame calls so.
    infinities : {"refuse", "missing", "keep"}, default="refuse"
        What to do with infinite values. Missing ones (NaN, None, empty text) need nothing.
    random_state : int, RandomState or None, default=None
        The same number gives the same bytes, whatever the number of threads.
    n_threads : int or None, default=None
        None: as many as allowed.
    progress : bool or None, default=None
        Whether to show how far the fit is.

    Attributes
    ----------
    feature_importances_, feature_importances_error_ : ndarray of shape (n_features_in_,)
    model_ : fastnn.tabular.TabularModel
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Where the columns of X have names.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from fastnn import TabularRegressor
    >>> X, y = load_diabetes(as_frame=True, return_X_y=True)
    >>> model = TabularRegressor(preset="fast", random_state=0).fit(X, y)
    >>> model.predict_interval(X[:2], coverage=0.8).shape
    (2, 2)
    """

    _parameter_constraints: dict = {
        **BaseTabular._parameter_constraints,
        "loss": [Names(set(REGRESSION)), Loss],
        "quantile": [None, Real, "array-like"],
    }

    @suggests
    def __init__(self, preset: str = "default", *, loss: str | Loss = "squared_error",
                 quantile: float | Sequence[float] | None = None, time_limit: float | None = None,
                 eval_metric: str | Callable[..., float] | None = None,
                 categorical_features: Any = "auto", infinities: str = "refuse",
                 random_state: Seed = None, n_threads: int | None = None,
                 progress: bool | None = None) -> None:
        self.preset = preset
        self.loss = loss
        self.quantile = quantile
        self.time_limit = time_limit
        self.eval_metric = eval_metric
        self.categorical_features = categorical_features
        self.infinities = infinities
        self.random_state = random_state
        self.n_threads = n_threads
        self.progress = progress

    @suggests
    def predict(self, X: Any) -> Array:
        """Return the values of each row, (n_samples,), or (n_samples, n_outputs) for several
        targets or levels.

        Parameters
        ----------
        X : data frame, dict, list of dicts or array
            Rows, with the columns of the fit.

        Returns
        -------
        array (n_samples,) or (n_samples, n_targets)
            One entry or row for each row of X.
        """
        return self._model().decided(self._outputs(X))

    @available_if(_has_levels)
    def predict_quantiles(self, X: Any, q: ArrayLike | None = None) -> Array:
        """Return quantiles of each row's value, with ``loss="quantile"``.

        Parameters
        ----------
        X : as for `fit`
            Rows, with the columns of the fit.
        q : float, sequence of float or None, default=None
            Some of the levels of the fit, in rising order; None: all of them.

        Returns
        -------
        array of shape (n_samples, len(q))
            Rising in each row.
        """
        outputs = self._outputs(X)
        task = self.model_.task
        fitted = np.array(task.levels)
        levels = fitted.tolist() if q is None else [
            check_real("q", level) for level in np.atleast_1d(q).tolist()]
        if any(low >= high for low, high in zip(levels, levels[1:], strict=False)):
            raise ValueError(f"q={q!r} must rise")
        at = [int(np.abs(fitted - level).argmin()) for level in levels]
        if any(abs(fitted[i] - level) > 1e-9 for i, level in zip(at, levels, strict=True)):
            raise ValueError(f"q={q!r} must be among the levels of the fit, {fitted.tolist()}: "
                             f"fit with quantile={levels}")
        return task.predictions(outputs)[:, at]

    @suggests
    def predict_interval(self, X: Any, coverage: float = 0.9) -> Array:
        """Return an interval for each row that holds its value with a given probability.

        Conformal intervals around the prediction, as wide as rows that were held out in training
        say: of one width, or of one that grows with the prediction for "poisson", "tweedie" and
        "gamma"; with two or more quantiles around those next to the ends. No other fit and no other
        rows are needed. The coverage holds on average over rows, not for each kind of row.

        Parameters
        ----------
        X : as for `fit`
            Rows, with the columns of the fit.
        coverage : float, default=0.9
            In (0, 1).

        Returns
        -------
        array of shape (n_samples, 2), or (n_samples, n_outputs, 2) for several targets
            Lower and upper end.

        Raises
        ------
        ValueError
            When too few rows were held out for this coverage.
        """
        return predict_interval(self._model(), self._outputs(X), coverage)

    def score(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> float:
        """Return R² of the prediction; with ``loss="quantile"`` the share of the pinball loss that
        it explains (scikit-learn's `d2_pinball_score`), its mean over the levels.

        Parameters
        ----------
        X : data frame, dict, list of dicts or array
            Rows, with the columns of the fit.
        y : array-like (n_samples,) or (n_samples, n_targets)
            Their values.
        sample_weight : array-like (n_samples,) or None, default=None
            Weights of the rows; None: 1 each.

        Returns
        -------
        float
            1 is the best.
        """
        prediction = self.predict(X)
        y = targets_as_given(y, False)
        levels = self.model_.task.levels
        if not levels:
            from sklearn.metrics import r2_score

            return r2_score(y, prediction, sample_weight=sample_weight)
        prediction = prediction.reshape(len(prediction), -1)
        target = np.asarray(dense_rows(from_tensor("y", y)), float).reshape(len(prediction), -1)
        return _pinball_score(levels, prediction, np.broadcast_to(target, prediction.shape),
                              sample_weight)

    def _targets(self, y, weight):
        y = self._encoded(y, None, None, None)
        if isinstance(self.loss, str) and self.loss == "quantile":
            try:
                loss = Quantile(0.5 if self.quantile is None else (
                    tuple(self.quantile) if np.iterable(self.quantile) else self.quantile))
            except (TypeError, ValueError) as error:
                raise type(error)(f"quantile={shown(self.quantile)}, a level in (0, 1) or several "
                                  f"in rising order: {error}") from None
        elif self.quantile is not None:
            raise ValueError(f"quantile={self.quantile!r} needs loss='quantile', not "
                             f"{self.loss!r}")
        else:
            loss = self.loss
        return y, Task.of_numbers(y, loss, weight), None

    def _encoded(self, y, task, classes, like):
        y = check_array(y, dtype=np.float64, ensure_2d=False, input_name="y", estimator=self)
        y = y.reshape(-1, 1) if y.ndim == 1 else y
        if like is not None and y.shape[1] != like.shape[1]:
            raise ValueError(f"y_val has {y.shape[1]} columns, y has {like.shape[1]}")
        if task is not None:
            check_values(y, task.loss, "y_val")
        return y

    def _weighted(self, weight, y, task, classes):
        return weight

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
