"""`MLPRegressor`: values, quantiles and intervals."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from scipy.special import ndtri
from sklearn.base import RegressorMixin
from sklearn.metrics import d2_pinball_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.utils import _safe_indexing, check_consistent_length
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import _num_samples

from fastnn.core._arrays import all_finite
from fastnn.core.arrays import dense_rows, from_tensor
from fastnn.core.notices import suggests
from fastnn.core.rows import spread_targets
from fastnn.core.threads import sole_fit
from fastnn.core.validation import check_real
from fastnn.estimators.arrays import sound
from fastnn.estimators.base import BaseMLP, has_partial_fit
from fastnn.estimators.batches import fit_batches
from fastnn.estimators.decorators import available_if, validated
from fastnn.estimators.documentation import documented
from fastnn.estimators.stepping import short_way_first
from fastnn.estimators.wording import Names
from fastnn.prediction import decision
from fastnn.training.bound_losses import as_loss, check_loss
from fastnn.training.losses import Custom, GaussianNLL, Loss, Quantile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Literal

    from fastnn.core.types import Array, ArrayLike, Batches, DType, File, Rows, Seed
    from fastnn.training.epochs import Callback
    from fastnn.training.optimizer_base import Optimizer
    from fastnn.training.schedules import Schedule

__all__ = ["MLPRegressor"]

NAMES = ("squared_error", "absolute_error", "huber", "log_cosh", "quantile", "gaussian_nll",
         "poisson", "gamma", "tweedie")
EXPONENTIAL = ("poisson", "gamma", "tweedie")  # with an exponential output
_SHARE = Interval(Real, 0, 1, closed="neither")


def _has_quantiles(est):
    """Return whether an estimator has `predict_quantiles`; say why not."""
    if not isinstance(est._loss(), (Quantile, GaussianNLL)):
        raise AttributeError(f"predict_quantiles needs loss='quantile' or 'gaussian_nll', not "
                             f"{est.loss!r}")
    return True


@documented
class MLPRegressor(RegressorMixin, BaseMLP):
    """Multilayer perceptron for values: scikit-learn's `MLPRegressor` with compiled loops.

    Parameters
    ----------
    loss : str or object, default="squared_error"
        "squared_error", "absolute_error", "huber", "log_cosh", "quantile", "gaussian_nll" (a mean
        and a variance for each target); "poisson" and "tweedie" (y >= 0), "gamma" (y > 0) with an
        exponential output. Or an object of `fastnn.losses` such as ``Huber(delta=2.0)``, ``Custom``
        included. The mean over the outputs, or for the last three the sum.
    {parameters}
    quantile : float, sequence of float or None, default=None
        Level in (0, 1) of ``loss="quantile"``; None: 0.5. Several, in rising order, for a single
        target: `predict` then returns one column for each.
    calibration_fraction : float or None, default=None
        Share of the rows in (0, 1) that `fit` leaves out of the training and hands to `calibrate`,
        for `predict_interval`.
    {more parameters}

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
        "loss": [Names(set(NAMES)), Loss],
        "quantile": [None, Real, "array-like"],
        "calibration_fraction": [None, _SHARE],
    }
    quantile = calibration_fraction = None  # of pickles of before there was a choice
    # levels of a fit with quantiles; True of one with gaussian_nll; what `calibrate` keeps
    _levels = _normal = _calibration = None

    @suggests
    def __init__(
        self,
        loss: str | Loss = "squared_error",
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
        quantile: float | Sequence[float] | None = None,
        calibration_fraction: float | None = None,
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
    def partial_fit(self, X: Rows, y: Rows, sample_weight: ArrayLike | None = None) -> MLPRegressor:
        """Train for one epoch, with the optimizer as the last call left it.

        Parameters
        ----------
        X : array or sparse matrix of shape (n_samples, n_features)
            Inputs.
        y : array of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array of shape (n_samples,), default=None
            Weights of the rows; None: 1 each.

        Returns
        -------
        self
            The estimator itself.
        """
        return self._fit(X, y, sample_weight, one_epoch=True)

    @available_if(has_partial_fit)
    def fit_batches(self, source: Batches, *, epochs: int = 1, checkpoint: File | None = None,
                    checkpoint_seconds: float = 10.0) -> MLPRegressor:
        """Train on batches that come one after the other, each as `partial_fit` does.

        It starts anew unless ``warm_start``. The next batches are read in another thread while one
        trains. An error leaves the model as it was; Ctrl-C ends the training.

        Parameters
        ----------
        source : iterable or callable
            Gives the batches (X, y) or (X, y, sample_weight) of an epoch, as for
            `fastnn.MLP.fit_batches`.
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
        return fit_batches(self, source, epochs, None, checkpoint, checkpoint_seconds)

    def predict(self, X: Rows) -> Array:
        """Return the value of each row, shape (n_samples,) or (n_samples, n_outputs).

        With several quantiles these, in rising order, (n_samples, n_quantiles); with
        ``loss="gaussian_nll"`` the means.

        Parameters
        ----------
        X : array or sparse matrix of shape (n_samples, n_features)
            Rows to predict.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            One entry or row for each row of X.
        """
        model = self._twin()
        output = model._output(X)
        if model._task() == "quantiles":
            return decision.quantiles(output)
        if model._task() == "mean_variance":
            output = decision.means(output)
        return output.ravel() if output.shape[1] == 1 else output

    @available_if(_has_quantiles)
    def predict_quantiles(self, X: Rows, q: ArrayLike) -> Array:
        """Return quantiles of each row's value.

        Parameters
        ----------
        X : array or sparse matrix of shape (n_samples, n_features)
            Inputs.
        q : float or sequence of float
            Levels, in rising order: with ``loss="quantile"`` those that were fitted, or some of
            them; with ``loss="gaussian_nll"`` any in (0, 1), by the normal distribution.

        Returns
        -------
        array of shape (n_samples, len(q))
            Rising in each row: what the network gives is sorted, so that quantiles never cross.

        Raises
        ------
        ValueError
            When a level is none of these, or they do not rise.
        """
        model = self._twin()
        output = model._output(X)
        levels = [check_real("q", level) for level in np.atleast_1d(q).tolist()]
        if any(not 0 < level < 1 for level in levels):
            raise ValueError(f"q={q!r} must be in (0, 1)")
        if any(low >= high for low, high in zip(levels, levels[1:], strict=False)):
            raise ValueError(f"q={q!r} must rise: q={sorted(set(levels))}")
        model._check_single("predict_quantiles")
        if model._task() == "mean_variance":
            return _normal_quantiles(output, levels)
        fitted = np.array(model._levels)
        at = [int(np.abs(fitted - level).argmin()) for level in levels]
        if any(abs(fitted[i] - level) > 1e-9 for i, level in zip(at, levels, strict=True)):
            raise ValueError(f"q={q!r} must be among the levels of the fit, "
                             f"{list(model._levels)}: fit with quantile={levels}")
        return decision.quantiles(output)[:, at]

    def calibrate(self, X: Rows, y: ArrayLike) -> MLPRegressor:
        """Take rows that were not trained on as the measure of `predict_interval`.

        A later fit forgets them.

        Parameters
        ----------
        X : array or sparse matrix of shape (n_samples, n_features)
            Inputs.
        y : array of shape (n_samples,)
            Targets.

        Returns
        -------
        self
            The estimator itself.
        """
        with sole_fit(self):
            twin = self._twin()
            twin._calibrate(X, y)
            self._calibration = twin._calibration
        return self

    def predict_interval(self, X: Rows, coverage: float = 0.9) -> Array:
        """Return an interval for each row that holds its value with a given probability.

        Split-conformal prediction around the quantiles (Romano, Patterson & Candes 2019): the two
        fitted quantiles next to (1 ± coverage) / 2 are moved apart, or together, by as much as it
        takes on the rows of `calibrate`, or on those that ``calibration_fraction`` held out. With
        ``loss="gaussian_nll"`` the quantiles are those of the normal distribution; with other
        losses both are the prediction, which gives intervals of one width.

        The guarantee: when the calibrating rows and the new one are exchangeable (drawn from one
        distribution independently, say) and none was trained on, the new value lies in its interval
        with a probability of at least ``coverage``, and of at most that + 1 / (n + 1) where no two
        of the n calibrating rows tie. It holds on average over rows and calibrating sets, not for
        each kind of row.

        Parameters
        ----------
        X : array or sparse matrix of shape (n_samples, n_features)
            Inputs.
        coverage : float, default=0.9
            In (0, 1).

        Returns
        -------
        array of shape (n_samples, 2)
            Lower and upper end.

        Raises
        ------
        ValueError
            When nothing was calibrated, or on too few rows for this coverage.
        """
        coverage = check_real("coverage", coverage)
        if not 0 < coverage < 1:
            raise ValueError(f"coverage={coverage!r} must be in (0, 1)")
        model = self._twin()
        output = model._output(X)
        held = model._calibration
        if held is None:
            raise ValueError("predict_interval needs held-out rows: fit with "
                             "calibration_fraction=0.2, or call calibrate(X, y) with rows that "
                             "were not trained on")
        low, high = model._ends(held[:, :-1], coverage)
        away = np.maximum(low - held[:, -1], held[:, -1] - high)
        correction = decision.conformal_margin(away, coverage, "calibrating rows")
        low, high = model._ends(output, coverage)
        ends = np.column_stack([low - correction, high + correction])
        return np.sort(ends, axis=1)  # where it is empty, the ends the other way round

    def score(self, X: Rows, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return R² of the prediction; with ``loss="quantile"`` the share of the pinball loss that
        it explains (scikit-learn's `d2_pinball_score`), its mean over the levels.

        Parameters
        ----------
        X : array or sparse matrix of shape (n_samples, n_features)
            Inputs.
        y : array of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array of shape (n_samples,), default=None
            Weights of the rows; None: 1 each.

        Returns
        -------
        float
            1 is the best.
        """
        y = sound("y", y)
        if self._levels is None:
            return super().score(X, y, sample_weight)
        prediction = self.predict(X)
        prediction = prediction.reshape(len(prediction), -1)
        target = np.asarray(dense_rows(y)).reshape(len(prediction), -1)
        return _pinball_score(self._levels, prediction, spread_targets(
            target, prediction.shape[1]), sample_weight)

    # -- losses and targets ------------------------------------------------------------------------

    def _loss(self):
        """Return the loss as an object."""
        loss = self.loss
        quantiles = loss == "quantile"
        if self.quantile is not None and not quantiles:
            raise ValueError(f"quantile={self.quantile!r} needs loss='quantile', not {loss!r}")
        if quantiles:
            return Quantile(0.5 if self.quantile is None else self.quantile)
        loss = as_loss(loss)
        if loss.name not in NAMES and not isinstance(loss, Custom):
            raise ValueError(f"loss={loss!r} is for classes: MLPRegressor takes one of "
                             f"{', '.join(NAMES)}, MLPClassifier others")
        return loss

    def _training_loss(self):
        """Return what the trainer minimises."""
        loss = self._loss()
        return loss.name if loss.name in ("squared_error", "poisson") else loss

    def _task(self):
        """Return the task of the model as a `Predictor`."""
        levels = self._levels
        if levels is not None and len(levels) > 1:
            return "quantiles"
        return "mean_variance" if self._normal else "regression"

    def _encode(self, y, dtype, fresh, subset):
        """Return y with one column per output."""
        y = y.toarray() if sp.issparse(y) else y
        target = np.require(y.reshape(len(y), -1), dtype, "CA")
        loss = self._loss()
        n_targets = target.shape[1]
        if fresh:
            # set where they have been before, too: a twin's attributes are added to the model's
            self._levels = self._normal = None
            self.n_outputs_ = n_targets
            if isinstance(loss, Quantile):
                self._levels = loss.levels
                if len(loss.levels) > 1 and n_targets > 1:
                    raise ValueError(f"{len(loss.levels)} quantiles need a single target, y has "
                                     f"{n_targets}: fit one model for each")
                self.n_outputs_ = max(len(loss.levels), n_targets)
            if isinstance(loss, GaussianNLL):
                self._normal, self.n_outputs_ = True, 2 * n_targets
            self.out_activation_ = "exp" if loss.name in EXPONENTIAL else "identity"
        else:
            self._go_on_with(loss)
        if n_targets != self._n_targets():
            raise ValueError(
                f"y has {n_targets} output(s), the model was fitted with {self._n_targets()}"
            )
        kind = check_loss(loss, self.out_activation_, self.n_outputs_).targets
        if kind == "nonnegative" and (target < 0).any():
            raise ValueError(f"y must be >= 0 with loss={loss.name!r}, its least value is "
                             f"{y.min()}")
        if kind == "positive" and not (target > 0).all():
            raise ValueError(f"y must be > 0 with loss={loss.name!r}, its least value is {y.min()}")
        return spread_targets(target, self.n_outputs_)

    def _quick_target(self, y, dtype, info):
        """Return y as `_encode` does; None for one that has to be looked at."""
        if y.dtype != dtype or y.ndim > 2 or y.ndim == 2 and y.shape[1] == 1 or not (
                y.flags.carray and all_finite(y)):
            return None
        if info.targets == "real" and info.n_targets == self.n_outputs_ == y.size // len(y):
            return y.reshape(len(y), -1)
        return self._encode(y, dtype, fresh=False, subset=True)

    def _go_on_with(self, loss):
        """Take the levels of a loss that has been set since the network was made."""
        levels = loss.levels if isinstance(loss, Quantile) else None
        several = len(self._levels or ()), len(levels or ())
        if max(several) > 1 and several[0] != several[1] or (
                isinstance(loss, GaussianNLL) != bool(self._normal)):
            raise ValueError(f"loss={loss!r} needs other outputs than those of the fitted network: "
                             "set warm_start=False, or fit another estimator")
        self._levels = levels

    def _n_targets(self):
        """Return the number of columns of y."""
        if self._task() == "quantiles":
            return 1
        return self.n_outputs_ // 2 if self._task() == "mean_variance" else self.n_outputs_

    def _check_single(self, method):
        if self._n_targets() > 1:
            raise ValueError(f"{method} needs a single target, the model was fitted with "
                             f"{self._n_targets()}")

    def _score_output(self, output, target, weight):
        if not np.isfinite(output).all():
            return np.nan
        if self._levels is not None:
            return _pinball_score(self._levels, output, target, weight)
        if self._task() == "mean_variance":
            output, target = decision.means(output), decision.means(target)
        return r2_score(target, output, sample_weight=weight)

    # -- intervals ---------------------------------------------------------------------------------

    def _fit_in_place(self, X, y, sample_weight, validation_data=None, one_epoch=False, **more):
        self._calibration = None  # it is of another network
        held = None
        if self.calibration_fraction is not None and not one_epoch:
            X, y = sound("X", X), sound("y", y)
            check_consistent_length(X, y)
            if not sp.issparse(y) and np.ndim(y) == 2 and np.shape(y)[1] > 1:
                raise ValueError(f"calibration_fraction={self.calibration_fraction} needs a single "
                                 f"target, y has {np.shape(y)[1]}")
            rows, held_rows = train_test_split(
                np.arange(_num_samples(X)), test_size=self.calibration_fraction,
                random_state=self.random_state)
            held = _safe_indexing(X, held_rows), _safe_indexing(y, held_rows)
            X, y = _safe_indexing(X, rows), _safe_indexing(y, rows)
            if sample_weight is not None:
                sample_weight = _safe_indexing(from_tensor("sample_weight", sample_weight), rows)
        super()._fit_in_place(X, y, sample_weight, validation_data, one_epoch, **more)
        if held is not None:
            self._calibrate(*held)
        return self

    def _calibrate(self, X, y):
        """Keep outputs and values (n_samples, n_outputs + 1) of rows that were not trained on."""
        output = self._output(X)
        self._check_single("calibrate")
        X, y = self._check_data(X, y, dtype=output.dtype, reset=False)
        if y.ndim > 1:
            raise ValueError(f"y has {y.shape[1]} columns, the model was fitted with 1")
        self._calibration = np.column_stack([output, y]).astype(np.float64)

    def _ends(self, output, coverage):
        """Return the lower and upper end of intervals (n_samples,) before their correction."""
        below = (1 - coverage) / 2
        if self._task() == "mean_variance":
            return _normal_quantiles(output, [below, 1 - below]).T
        output = decision.quantiles(output)
        levels = np.array(self._levels or (0.5,))
        at = [np.abs(levels - level).argmin() for level in (below, 1 - below)]
        return output[:, at].T


def _normal_quantiles(output, levels):
    """Quantiles (n_samples, len(levels)) of outputs (n_samples, 2): mean, logarithm of variance."""
    return output[:, :1] + np.exp(0.5 * output[:, 1:]) * ndtri(levels).astype(output.dtype)


def _pinball_score(levels, output, target, weight):
    """Share of the pinball loss that is explained, mean over the levels."""
    if len(levels) == 1:
        return d2_pinball_score(target, output, sample_weight=weight, alpha=levels[0])
    return float(np.mean([
        d2_pinball_score(target[:, j], output[:, j], sample_weight=weight, alpha=level)
        for j, level in enumerate(levels)]))
