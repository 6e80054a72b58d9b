"""`MLPRegressor`: values to outputs and back."""

import numpy as np
import scipy.sparse as sp
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if

from fastnn.estimators.base import BaseMLP, has_partial_fit
from fastnn.estimators.documentation import documented

__all__ = ["MLPRegressor"]


@documented
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

    @available_if(has_partial_fit)
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
