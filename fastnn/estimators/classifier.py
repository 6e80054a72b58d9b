"""`MLPClassifier`: labels to outputs and back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    type_of_target,
    unique_labels,
)

from fastnn.core.arrays import check_finite
from fastnn.core.notices import shown, suggests, warn
from fastnn.estimators.arrays import sound
from fastnn.estimators.base import LOSSES, BaseMLP, has_partial_fit
from fastnn.estimators.batches import fit_batches
from fastnn.estimators.decorators import available_if, validated
from fastnn.estimators.documentation import documented
from fastnn.estimators.stepping import short_way_first
from fastnn.estimators.wording import Names, unknown_labels
from fastnn.prediction import decision
from fastnn.training.bound_losses import as_loss
from fastnn.training.losses import CrossEntropy, Focal, Hinge, Loss, SquaredHinge

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, Literal

    from fastnn.core.types import Array, ArrayLike, Batches, DType, File, Rows, Seed
    from fastnn.training.epochs import Callback
    from fastnn.training.optimizer_base import Optimizer
    from fastnn.training.schedules import Schedule

__all__ = ["MLPClassifier"]

HINGES = Hinge, SquaredHinge


def _gives_margins(est):
    """Whether the model has, or will have, margins in the place of probabilities."""
    if "out_activation_" in vars(est):
        return est.out_activation_ == "identity"
    return est.loss in ("hinge", "squared_hinge") or isinstance(est.loss, HINGES)


def _has_margins(est):
    if not _gives_margins(est):
        raise AttributeError(f"decision_function needs loss='hinge' or 'squared_hinge', not "
                             f"{est.loss!r}; predict_proba gives probabilities")
    return True


def _has_probabilities(est):
    if _gives_margins(est):
        raise AttributeError(f"predict_proba needs loss='log_loss' or 'focal', not {est.loss!r}: a "
                             "hinge has margins, which decision_function gives")
    return True


def _labels(y):
    """Return whether y has one column per label, and its labels in order, strings no wider than
    they need be.

    Whole numbers, many of each, are what they are: scikit-learn's look at them takes as long as an
    epoch of a small network.
    """
    if type(y) is np.ndarray and y.ndim == 1 and y.dtype.kind in "biu" and y.dtype.isnative:
        labels = np.unique(y)
        if 2 * len(labels) <= len(y):  # else some versions of scikit-learn warn
            return False, labels
    kind = type_of_target(y, input_name="y")
    if kind not in ("binary", "multiclass", "multilabel-indicator"):
        raise unknown_labels(kind, y, "MLPRegressor")
    return kind == "multilabel-indicator", unique_labels(y)


@documented
class MLPClassifier(ClassifierMixin, BaseMLP):
    """Multilayer perceptron for classes: scikit-learn's `MLPClassifier` with compiled loops.

    Minimises the cross entropy, or another loss; softmax output for three classes or more, one
    logistic output for two, one per label for multilabel targets.

    Parameters
    ----------
    {parameters}
    class_weight : "balanced", dict or None, default=None
        Weight of each class, by label; "balanced" is n_samples / (n_classes * count). They act as
        sample weights, also in the scores of early stopping. Not for multilabel targets.
    loss : {"log_loss", "focal", "hinge", "squared_hinge"} or object, default="log_loss"
        "log_loss" is the cross entropy. Objects of `fastnn.losses`: ``Focal(gamma=2.0)``;
        ``CrossEntropy(label_smoothing=0.1)``, which of two classes or of labels smooths zeros and
        ones towards ½; ``Hinge()``, ``SquaredHinge()``: one class against the rest, with
        `decision_function` in the place of `predict_proba`, and one label per row.
    {more parameters}

    {attributes}
    classes_ : ndarray of shape (n_classes,)
        The labels in the order of the outputs.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastnn import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> MLPClassifier(solver="lbfgs", random_state=0).fit(X, y).predict(X[:2])
    array([0, 0])
    """

    _parameter_constraints: dict = {
        **BaseMLP._parameter_constraints,
        "class_weight": [dict, Names({"balanced"}), None],
        "loss": [Names({"log_loss", "focal", "hinge", "squared_hinge"}), Loss],
    }
    loss = "log_loss"  # of pickles of before there was a choice

    @suggests
    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (100,),
        activation: str | Sequence[str] = "relu",
        *,
        solver: str | Optimizer = "adam",
        alpha: float = 0.0001,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: Literal["constant", "invscaling", "adaptive"] = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Seed = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        n_threads: int | None = None,
        dtype: DType | None = None,
        dropout: float | Sequence[float] = 0.0,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        loss: str | Loss = "log_loss",
        scoring: str | Callable[..., float] | None = None,
        schedule: str | Schedule | Callable[[int], float] | None = None,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        max_norm: float | None = None,
        l1: float = 0.0,
        norm: Literal["layer", "batch"] | None = None,
        residual: bool = False,
        members: int | None = None,
        input_dropout: float = 0.0,
        input_noise: float = 0.0,
        mixup: float = 0.0,
        callbacks: Sequence[Callback] | None = None,
        max_time: float | None = None,
        progress: bool | None = False,
    ) -> None:
        self._store(locals())

    @available_if(has_partial_fit)
    @short_way_first
    @validated
    def partial_fit(self, X: Rows, y: Rows, sample_weight: ArrayLike | None = None,
                    classes: ArrayLike | None = None) -> MLPClassifier:
        """Train for one epoch, with the optimizer as the last call left it.

        Parameters
        ----------
        X : array or sparse matrix of shape (n_samples, n_features)
            Inputs.
        y : array of shape (n_samples,) or (n_samples, n_labels)
            Targets.
        sample_weight : array of shape (n_samples,), default=None
            Weights of the rows; None: 1 each.
        classes : array of shape (n_classes,), default=None
            All labels that y may hold in this and later calls; needed in the first.

        Returns
        -------
        self
            The estimator itself.
        """
        _check_partial_fit_first_call(self, classes)
        return self._fit(X, y, sample_weight, one_epoch=True)

    @available_if(has_partial_fit)
    def fit_batches(self, source: Batches, *, classes: ArrayLike | None = None,
                    epochs: int = 1, checkpoint: File | None = None,
                    checkpoint_seconds: float = 10.0) -> MLPClassifier:
        """Train on batches that come one after the other, each as `partial_fit` does.

        It starts anew unless ``warm_start``. The next batches are read in another thread while one
        trains. An error leaves the model as it was; Ctrl-C ends the training.

        Parameters
        ----------
        source : iterable or callable
            Gives the batches (X, y) or (X, y, sample_weight) of an epoch, as for
            `fastnn.MLP.fit_batches`.
        classes : array of shape (n_classes,), default=None
            All labels; None: found in a first pass over the source.
        epochs : int, default=1
            How often to go through the source.
        checkpoint : str, path or None, default=None
            File that keeps the model after a pass over the source, with all that `partial_fit` goes
            on with. Where it is there already, the fit goes on from it, to the same bytes where
            `random_state` is a number or a `RandomState`; `epochs` may be larger then. The source
            must be one that can be begun anew, and is not compared with that of before.
        checkpoint_seconds : float, default=10.0
            Time between two writes of the file at least.

        Returns
        -------
        self
            The estimator itself.
        """
        return fit_batches(self, source, epochs, classes, checkpoint, checkpoint_seconds)

    def predict(self, X: Rows) -> Any:
        """Return the label of each row, shape (n_samples,), or its labels (n_samples, n_labels).

        Parameters
        ----------
        X : array or sparse matrix of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
            One entry or row for each row of X.
        """
        model = self._twin()  # all of one moment, whoever fits meanwhile
        codes = model._codes(model._output(X)).astype(np.intp, copy=False)
        if not model._is_multilabel():
            try:
                return model.classes_[codes]
            except (IndexError, KeyError, TypeError):
                raise ValueError(f"classes_={model.classes_!r} must be those of the fit") from None
        return sp.csr_matrix(codes) if model._sparse_labels else codes

    @available_if(_has_margins)
    def decision_function(self, X: Rows) -> Array:
        """Return the margin of each class, shape (n_samples, n_classes); of two classes that of the
        second, (n_samples,), which is predicted where it is above 0. For the hinges.

        Parameters
        ----------
        X : array or sparse matrix of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            Above 0 where the class is predicted.
        """
        output = self._twin()._output(X)
        return output.ravel() if output.shape[1] == 1 else output

    @available_if(_has_probabilities)
    def predict_proba(self, X: Rows) -> Array:
        """Return the probability of each class (columns as in `classes_`) or of each label.

        Parameters
        ----------
        X : array or sparse matrix of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Columns as in `classes_`, or one for each label.
        """
        model = self._twin()
        output = model._output(X)
        return decision.class_probabilities(output) if model.n_outputs_ == 1 else output

    @available_if(_has_probabilities)
    def predict_log_proba(self, X: Rows) -> Array:
        """Return the logarithm of `predict_proba`.

        Parameters
        ----------
        X : array or sparse matrix of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Columns as in `classes_`.
        """
        probability = self.predict_proba(X)
        return np.log(probability, out=probability)

    def score(self, X: Rows, y: Rows, sample_weight: ArrayLike | None = None) -> float:
        """Return the share of rows whose label is predicted, of all labels where there are several.

        Parameters
        ----------
        X : array or sparse matrix of shape (n_samples, n_features)
            Rows to predict.
        y : array of shape (n_samples,) or (n_samples, n_labels)
            Their labels.
        sample_weight : array of shape (n_samples,), default=None
            Weights of the rows; None: 1 each.

        Returns
        -------
        float
            1 is the best.
        """
        return super().score(X, sound("y", y), sample_weight)

    def _encode(self, y, dtype, fresh, subset):
        """Return y as the loss wants it: class numbers (int32), or zeros and ones.

        Defines the classes in a first fit; afterwards y must hold the same ones, or some of them
        where ``subset``.
        """
        multilabel, labels = _labels(y)
        if not hasattr(self, "classes_") or (fresh and not subset):
            self.classes_ = labels
        elif subset and not np.isin(labels, self.classes_).all():
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. "
                f"'y' has {labels}."
            )
        elif not subset and set(labels) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous "
                f"call to fit. Previously got {self.classes_}, `y` has {labels}"
            )
        if fresh:
            self.n_outputs_ = len(self.classes_) if multilabel or len(self.classes_) > 2 else 1
            softmax = self.n_outputs_ > 1 and not multilabel
            self.out_activation_ = "softmax" if softmax else "logistic"
            if isinstance(self._loss(), HINGES):
                if multilabel:
                    raise ValueError(f"loss={self.loss!r} takes one label per row; for several "
                                     "use 'log_loss' or 'focal'")
                self.out_activation_ = "identity"
            self._sparse_labels = sp.issparse(y)

        if multilabel != self._is_multilabel() or (multilabel and y.shape[1] != self.n_outputs_):
            raise ValueError(
                f"y of shape {y.shape} must be of the kind the model was first fitted with: "
                f"{'multilabel' if self._is_multilabel() else 'one label per row'}, "
                f"{len(self.classes_)} classes"
            )
        if multilabel:
            target = (y.toarray() if sp.issparse(y) else y) != 0
            return self._smoothed(np.ascontiguousarray(target, dtype=dtype))
        return self._coded(np.searchsorted(self.classes_, y), dtype)

    def _quick_target(self, y, dtype, info):
        """Return labels as `_encode` does; None for those that it has to look at."""
        classes = self.classes_
        if (y.ndim != 1 or y.dtype != classes.dtype or y.dtype.kind not in "biuU"
                or self._is_multilabel()):
            return None
        codes = classes.searchsorted(y)
        if codes.max() == len(classes) or (classes[codes] != y).any():
            return None
        return self._coded(codes, dtype)

    def _coded(self, codes, dtype):
        """Return class numbers as the loss wants them."""
        if self.n_outputs_ > 1 and self.out_activation_ == "identity":
            return (codes[:, np.newaxis] == np.arange(self.n_outputs_)).astype(dtype)
        if self.n_outputs_ > 1:
            return codes.astype(np.int32)
        return self._smoothed(codes.astype(dtype).reshape(-1, 1))

    def _loss(self):
        """Return the loss as an object; None is the cross entropy."""
        if isinstance(self.loss, str):
            return None if self.loss == "log_loss" else as_loss(self.loss)
        if not isinstance(self.loss, (CrossEntropy, Focal, *HINGES)):
            raise ValueError(f"loss={self.loss!r} must be CrossEntropy, Focal, Hinge or "
                             "SquaredHinge; MLPRegressor takes others")
        return self.loss

    def _training_loss(self):
        """Return what the trainer minimises."""
        loss = self._loss()
        if self.out_activation_ == "identity" and not isinstance(loss, HINGES):
            raise ValueError(f"loss={self.loss!r} needs probabilities, the fitted network gives "
                             "margins: set warm_start=False, or fit another estimator")
        if loss is None or isinstance(loss, CrossEntropy) and (
                self.out_activation_ == "logistic" or not loss.label_smoothing):
            return LOSSES[self.out_activation_]
        return loss

    def _smoothed(self, target):
        """Return zeros and ones as label smoothing has them."""
        loss = self._loss()
        share = loss.label_smoothing if isinstance(loss, CrossEntropy) else 0
        return target if not share else (1 - share) * target + target.dtype.type(share / 2)

    def _task(self):
        """Return the task of the model as a `Predictor`."""
        if self.out_activation_ == "identity":
            return "margins"
        return "multilabel" if self._is_multilabel() else "classification"

    def _is_multilabel(self):
        return self.n_outputs_ > 1 and self.out_activation_ == "logistic"

    def _codes(self, output):
        """Return class numbers, shape (n_samples,), or the labels that hold, as booleans."""
        if self._is_multilabel():
            return decision.labels(output)
        threshold = 0 if self.out_activation_ == "identity" else decision.THRESHOLD
        return decision.class_numbers(output, len(self.classes_), threshold)

    def _score_output(self, output, target, weight):
        codes = self._codes(output)
        if target.ndim > 1:  # one row for each, or numbers that may be smoothed
            rows = self.out_activation_ == "identity" and self.n_outputs_ > 1
            target = target.argmax(axis=1) if rows else target > decision.THRESHOLD
        right = codes == target.reshape(codes.shape)
        return np.average(right if right.ndim == 1 else right.all(axis=1), weights=weight)

    def _check_learned(self, output, target, weight):
        """Warn where the best score is that of the most frequent class, and each row got the same
        class."""
        if self._is_multilabel() or len(self.classes_) < 2:
            return
        right = self._true_codes(target)
        share = np.bincount(right, weights=weight).max() / (
            len(right) if weight is None else weight.sum())
        if not np.isclose(self.best_validation_score_, share, rtol=0, atol=1e-6):
            return
        codes = self._codes(output)
        if (codes == codes[0]).all():
            label = self.classes_[[int(codes[0])]].tolist()[0]
            warn(f"early stopping has kept a model that gives every held-out row the class "
                 f"{label!r}: in none of {self.n_iter_} epochs was the accuracy above {share:.4g}, "
                 "the share of the most frequent class, so accuracy cannot tell when to stop. Set "
                 "scoring='loss', 'average_precision' or 'balanced_accuracy', or "
                 "early_stopping=False")

    def _true_codes(self, target):
        """Return the class numbers of targets, of which there is one per row."""
        if target.ndim == 1:
            return target
        if target.shape[1] > 1:
            return target.argmax(axis=1)
        return (target[:, 0] > decision.THRESHOLD).astype(np.intp)

    def _check_weight(self, sample_weight, X, y, one_epoch=False):
        weight = super()._check_weight(sample_weight, X, y)
        if self.class_weight is None:
            return weight
        if self._is_multilabel():
            raise ValueError(f"class_weight={self.class_weight!r} must be None for multilabel y")
        if one_epoch and self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' must be a dict in partial_fit, which sees a part of y: "
                "use sklearn.utils.class_weight.compute_class_weight"
            )
        if isinstance(self.class_weight, dict):
            for label, value in self.class_weight.items():
                try:
                    finite = math.isfinite(float(value))
                except (TypeError, ValueError):
                    raise TypeError(f"class_weight[{shown(label)}]={shown(value)} must be a number"
                                    ) from None
                if not finite:
                    raise ValueError(f"class_weight[{shown(label)}]={value} must be finite")
        name, of_class = "class_weight", compute_sample_weight(self.class_weight, y)
        with np.errstate(over="ignore"):
            of_class = of_class.astype(X.dtype)
            if weight is not None:
                name, of_class = "sample_weight times class_weight", weight * of_class
        check_finite(name, of_class, X.dtype)
        return of_class

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
