"""Drop-in replacements for scikit-learn's `MLPClassifier` and `MLPRegressor`.

Parameters, attributes, messages and random draws are scikit-learn's: with the same seed both end
with the same weights, to rounding. It differs where scikit-learn has a fault:

====================================  =============================  =============================
where                                 scikit-learn                   here
====================================  =============================  =============================
lbfgs, several regression outputs     gradient is n_outputs times    gradient of the loss
                                      that of the loss
float32 input with lbfgs              coefs_ become float64          coefs_ stay float32
early stopping, then a warm start     best weights are overwritten   best weights are kept
that finds nothing better             by the later ones
float64 input to a float32 model      predicts in float64            predicts in float32
training diverges                     goes on until max_iter         stops at once; after the
                                                                     ValueError the weights are
                                                                     those before the fit
MLPRegressor(solver="lbfgs")          partial_fit runs a whole fit   has no partial_fit
partial_fit with warm_start=True      every batch must hold every    a batch may hold some of the
                                      class                          classes
targets < 0 with loss="poisson"       NaN                            ValueError
====================================  =============================  =============================

As in scikit-learn, early stopping splits off its rows stratified for two classes only.
"""

import numpy as np
import scipy.sparse as sp

try:
    from sklearn.base import ClassifierMixin, RegressorMixin, _fit_context
    from sklearn.metrics import r2_score
    from sklearn.utils._param_validation import StrOptions
    from sklearn.utils.class_weight import compute_sample_weight
    from sklearn.utils.metaestimators import available_if
    from sklearn.utils.multiclass import (
        _check_partial_fit_first_call,
        type_of_target,
        unique_labels,
    )
except ImportError as error:
    raise ImportError(
        "MLPClassifier and MLPRegressor need scikit-learn 1.7 or newer: "
        'pip install "fastnn[sklearn]"'
    ) from error

from fastnn._estimator_base import BaseMLP

__all__ = ["MLPClassifier", "MLPRegressor"]

_PARAMETERS = """\
    hidden_layer_sizes : int or sequence of int, default=(100,)
        Units of each hidden layer; ``()`` for a linear model.
    activation : str or sequence of str, default="relu"
        Activation of the hidden layers, or one name per hidden layer: "identity", "logistic"
        (or "sigmoid"), "tanh", "relu", "leaky_relu", "elu", "gelu", "silu", "softplus", ...
    solver : {"adam", "sgd", "lbfgs"}, default="adam"
        Minibatches with Adam or with momentum, or L-BFGS over all data (good for small data).
    alpha : float, default=1e-4
        L2 penalty ``alpha / 2 * |W|**2``, divided by the rows (or sum of weights) of the batch.
    batch_size : int or "auto", default="auto"
        Rows per minibatch; "auto" is ``min(200, n_samples)``.
    learning_rate : {"constant", "invscaling", "adaptive"}, default="constant"
        sgd only. "invscaling": ``learning_rate_init / (t_ + 1) ** power_t``, renewed after each
        epoch. "adaptive": divided by 5 whenever patience runs out, until 1e-6.
    learning_rate_init : float, default=1e-3
        Step size of sgd and adam.
    power_t : float, default=0.5
        Exponent of "invscaling".
    max_iter : int, default=200
        Most epochs (sgd, adam) or iterations (lbfgs).
    shuffle : bool, default=True
        Whether to draw a new order of the rows for each epoch.
    random_state : int, RandomState or None, default=None
        Seeds initial weights, early-stopping split, order of rows and dropout.
    tol : float, default=1e-4
        Least improvement of the loss or score that counts; gradient tolerance of lbfgs.
    verbose : bool, default=False
        Whether to print the progress.
    warm_start : bool, default=False
        Whether `fit` goes on from the weights of the last one.
    momentum : float, default=0.9
        Momentum of sgd, in [0, 1].
    nesterovs_momentum : bool, default=True
        Whether sgd uses Nesterov's form.
    early_stopping : bool, default=False
        Whether to stop when the score of held-out rows (accuracy, R^2) stops to improve, and to
        keep the weights of the best epoch.
    validation_fraction : float, default=0.1
        Share of the rows held out by `early_stopping`.
    beta_1, beta_2 : float, default=0.9, 0.999
        Decay of adam's moments, in [0, 1).
    epsilon : float, default=1e-8
        Added to adam's denominator, before the bias correction.
    n_iter_no_change : int or inf, default=10
        Patience: epochs without improvement by `tol`.
    max_fun : int, default=15000
        Most evaluations of the loss by lbfgs.
    n_threads : int or None, default=None
        Threads of the compiled loops; None for the least of CPU affinity, container quota and
        ``OMP_NUM_THREADS``. The result does not depend on it.
    dtype : {"float32", "float64"} or None, default=None
        Precision; None for that of X (float64 for anything but float32).
    dropout : float or sequence of float, default=0.0
        Share of hidden activations set to zero in training (inverted dropout), for all hidden
        layers or one per hidden layer. Not used by lbfgs.
"""

_ATTRIBUTES = """\
    Attributes
    ----------
    coefs_, intercepts_ : lists of ndarray
        Weights (n_in, n_out) and biases (n_out,) of each layer; may be changed or replaced.
    loss_, best_loss_ : float
        Training loss of the last epoch, L2 term included, and the least one (None with early
        stopping).
    loss_curve_ : list of float
        Training loss of each epoch.
    validation_scores_, best_validation_score_ : list of float, float
        Score of the held-out rows after each epoch; None without early stopping.
    validation_loss_curve_ : list of float
        Loss of the held-out rows after each epoch, without L2 term; None without such rows.
    n_iter_, t_ : int
        Epochs (iterations of lbfgs) of the last fit; rows seen by all fits.
    n_features_in_, n_layers_, n_outputs_ : int
        Inputs, layers including the input, outputs.
    feature_names_in_ : ndarray of str
        Names of the inputs, where X has names.
    out_activation_ : {"softmax", "logistic", "identity", "exp"}
        Activation of the output.
"""


def _has_partial_fit(est):
    if est.solver == "lbfgs":
        raise AttributeError("partial_fit needs solver='sgd' or 'adam', not 'lbfgs'")
    return True


def _documented(cls):
    """Put the shared parts into the docstring of an estimator."""
    if cls.__doc__:  # None under python -OO
        doc = cls.__doc__.replace("    {parameters}\n", _PARAMETERS)
        cls.__doc__ = doc.replace("    {attributes}\n", _ATTRIBUTES)
    return cls


@_documented
class MLPClassifier(ClassifierMixin, BaseMLP):
    """Multilayer perceptron for classes: scikit-learn's `MLPClassifier` with compiled loops.

    Minimises the cross entropy; softmax output for three classes or more, one logistic output for
    two, one per label for multilabel targets.

    Parameters
    ----------
    {parameters}
    class_weight : "balanced", dict or None, default=None
        Weight of each class, by label; "balanced" is n_samples / (n_classes * count). They act as
        sample weights, also in the scores of early stopping. Not for multilabel targets.

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
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }
    loss = "log_loss"

    def __init__(
        self,
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        solver="adam",
        alpha=0.0001,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        power_t=0.5,
        max_iter=200,
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping=False,
        validation_fraction=0.1,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        n_iter_no_change=10,
        max_fun=15000,
        n_threads=None,
        dtype=None,
        dropout=0.0,
        class_weight=None,
    ):
        self._store(locals())

    @available_if(_has_partial_fit)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None, classes=None):
        """Train for one epoch, with the optimizer as the last call left it.

        Parameters
        ----------
        X : array or sparse matrix of shape (n_samples, n_features)
        y : array of shape (n_samples,) or (n_samples, n_labels)
        sample_weight : array of shape (n_samples,), default=None
        classes : array of shape (n_classes,), default=None
            All labels that y may hold in this and later calls; needed in the first.

        Returns
        -------
        self
        """
        _check_partial_fit_first_call(self, classes)
        return self._fit(X, y, sample_weight, one_epoch=True)

    def predict(self, X):
        """Return the label of each row, shape (n_samples,), or its labels (n_samples, n_labels)."""
        model = self._twin()  # all of one moment, whoever fits meanwhile
        codes = model._codes(model._output(X)).astype(np.intp)
        if not model._is_multilabel():
            return model.classes_[codes]
        return sp.csr_matrix(codes) if model._sparse_labels else codes

    def predict_proba(self, X):
        """Return the probability of each class (columns as in `classes_`) or of each label."""
        model = self._twin()
        output = model._output(X)
        return np.hstack([1 - output, output]) if model.n_outputs_ == 1 else output

    def predict_log_proba(self, X):
        """Return the logarithm of `predict_proba`."""
        probability = self.predict_proba(X)
        return np.log(probability, out=probability)

    def _encode(self, y, dtype, fresh, subset):
        """Return y as the loss wants it: class numbers (int32), or zeros and ones.

        Defines the classes in a first fit; afterwards y must hold the same ones, or some of them
        where ``subset``.
        """
        kind = type_of_target(y, input_name="y")
        if kind not in ("binary", "multiclass", "multilabel-indicator"):
            raise ValueError(
                f"Unknown label type: {kind}. y must hold one label per row, or zeros and ones in "
                "one column per label; MLPRegressor takes other values"
            )
        multilabel = kind == "multilabel-indicator"
        labels = np.arange(y.shape[1]) if multilabel else np.unique(y)
        if not hasattr(self, "classes_") or (fresh and not subset):
            self.classes_ = unique_labels(y)  # strings no wider than they need be
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
            self._sparse_labels = sp.issparse(y)

        if multilabel != self._is_multilabel() or (multilabel and y.shape[1] != self.n_outputs_):
            raise ValueError(
                f"y of shape {y.shape} must be of the kind the model was first fitted with: "
                f"{'multilabel' if self._is_multilabel() else 'one label per row'}, "
                f"{len(self.classes_)} classes"
            )
        if multilabel:
            return np.ascontiguousarray((y.toarray() if sp.issparse(y) else y) != 0, dtype=dtype)
        codes = np.searchsorted(self.classes_, y)
        if self.n_outputs_ > 1:
            return codes.astype(np.int32)
        return codes.astype(dtype).reshape(-1, 1)

    def _is_multilabel(self):
        return self.n_outputs_ > 1 and self.out_activation_ == "logistic"

    def _codes(self, output):
        """Return class numbers, shape (n_samples,), or the labels that hold, as booleans."""
        if self.out_activation_ == "softmax":
            return output.argmax(axis=1)
        codes = output > 0.5
        return codes if self.n_outputs_ > 1 else codes[:, 0] & (len(self.classes_) > 1)

    def _score_output(self, output, target, weight):
        codes = self._codes(output)
        right = codes == target.reshape(codes.shape)
        return np.average(right if right.ndim == 1 else right.all(axis=1), weights=weight)

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
        of_class = compute_sample_weight(self.class_weight, y).astype(X.dtype)
        return of_class if weight is None else weight * of_class

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


@_documented
class MLPRegressor(RegressorMixin, BaseMLP):
    """Multilayer perceptron for values: scikit-learn's `MLPRegressor` with compiled loops.

    Parameters
    ----------
    loss : {"squared_error", "poisson"}, default="squared_error"
        Half the squared error, mean over the outputs; or half the Poisson deviance, with an
        exponential output, for y >= 0.
    {parameters}

    {attributes}

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from fastnn import MLPRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> MLPRegressor(solver="lbfgs", random_state=0).fit(X, y).predict(X[:2]).shape
    (2,)
    """

    _parameter_constraints: dict = {
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions({"squared_error", "poisson"})],
    }

    def __init__(
        self,
        loss="squared_error",
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        solver="adam",
        alpha=0.0001,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        power_t=0.5,
        max_iter=200,
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping=False,
        validation_fraction=0.1,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        n_iter_no_change=10,
        max_fun=15000,
        n_threads=None,
        dtype=None,
        dropout=0.0,
    ):
        self._store(locals())

    @available_if(_has_partial_fit)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None):
        """Train for one epoch, with the optimizer as the last call left it.

        Parameters
        ----------
        X : array or sparse matrix of shape (n_samples, n_features)
        y : array of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array of shape (n_samples,), default=None

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, one_epoch=True)

    def predict(self, X):
        """Return the value of each row, shape (n_samples,) or (n_samples, n_outputs)."""
        output = self._twin()._output(X)
        return output.ravel() if output.shape[1] == 1 else output

    def _encode(self, y, dtype, fresh, subset):
        """Return y with one column per output."""
        y = y.toarray() if sp.issparse(y) else y
        target = np.require(y.reshape(len(y), -1), dtype, "CA")
        if fresh:
            self.n_outputs_ = target.shape[1]
            self.out_activation_ = "exp" if self.loss == "poisson" else "identity"
        if target.shape[1] != self.n_outputs_:
            raise ValueError(
                f"y has {target.shape[1]} output(s), the model was fitted with {self.n_outputs_}"
            )
        if self.out_activation_ == "exp" and (target < 0).any():
            raise ValueError(f"y must be >= 0 with loss='poisson', its least value is {y.min()}")
        return target

    def _score_output(self, output, target, weight):
        if not np.isfinite(output).all():
            return np.nan
        return r2_score(target, output, sample_weight=weight)
