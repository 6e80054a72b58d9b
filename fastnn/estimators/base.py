"""What the estimators share: the flow of a fit, the checks of its input, the cached network."""

from __future__ import annotations

import operator
from numbers import Real
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.validation import (
    _check_sample_weight,
    column_or_1d,
    validate_data,
)

from fastnn.core._arrays import all_finite, is_ready
from fastnn.core._kernels import ACTIVATIONS, ALIASES
from fastnn.core.arrays import from_tensor, is_sparse
from fastnn.core.cures import unscaled
from fastnn.core.notices import hint, suggests, warn
from fastnn.core.rows import check_total_weight
from fastnn.core.threads import single_threaded_blas, sole_fit
from fastnn.core.validation import check_nonnegative
from fastnn.estimators import rules, saving, wording
from fastnn.estimators.arrays import aligned, first_non_finite, is_ready_csr, numbers, sound
from fastnn.estimators.checkpoint import goes_on_afresh, opened, start_of
from fastnn.estimators.decorators import validated
from fastnn.estimators.networks import WithNetwork
from fastnn.estimators.settings import (
    CONSTRAINTS,
    COUNT,
    SHARE,
    SOLVERS,
    checked_callbacks,
    epoch_rates,
    make_optimizer,
    non_negative,
    positive,
    step_settings,
)
from fastnn.estimators.stepping import stepping_of
from fastnn.estimators.tasks import CallbackSupportMixin, FitTasks
from fastnn.estimators.twins import take_over
from fastnn.estimators.watching import WithHeldOut, validation_set
from fastnn.estimators.wording import Names
from fastnn.learning import FULL_BATCH_ROWS
from fastnn.prediction.predictor import Predictor
from fastnn.training.callbacks import CallCallbacks, check_files
from fastnn.training.fitting import limit_and_progress
from fastnn.training.optimizers import Optimizer, takes_steps, trainer_of

if TYPE_CHECKING:
    from typing import Any

    from typing_extensions import Self

    from fastnn.core.types import ArrayLike, File, Rows

__all__ = ["LOSSES", "BaseMLP", "has_partial_fit"]

_OF_THE_OBJECT = ("_network", "_checked_settings", "_stepping")  # what copies do not get

# The loss that goes with each output activation; with it dLoss/dz is output - y.
LOSSES = {
    "softmax": "cross_entropy",
    "logistic": "binary_cross_entropy",
    "identity": "squared_error",
    "exp": "poisson",
}


def has_partial_fit(est):
    """Return whether an estimator has `partial_fit`; say why not."""
    if est.solver == "lbfgs":
        raise AttributeError("partial_fit needs solver='sgd', 'adam' or another that takes steps, "
                             "not 'lbfgs'")
    return True


class BaseMLP(WithNetwork, WithHeldOut, CallbackSupportMixin, BaseEstimator):
    """What classifier and regressor share."""

    _parameter_constraints: dict = {
        "hidden_layer_sizes": ["array-like", COUNT],
        "activation": [Names({*ACTIVATIONS, *ALIASES}), list, tuple],
        "solver": [Names(SOLVERS), Optimizer],
        "alpha": [non_negative(Real)],
        "batch_size": [Names({"auto"}), COUNT],
        "learning_rate": [Names({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [positive(Real)],
        "power_t": [non_negative(Real)],
        "max_iter": [COUNT],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [non_negative(Real)],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [SHARE],
        "beta_1": [SHARE],
        "beta_2": [SHARE],
        "epsilon": [positive(Real)],
        "n_iter_no_change": [COUNT, Options(Real, {np.inf})],
        "max_fun": [COUNT],
        "n_threads": [None, COUNT],
        "dtype": [
            None,
            Names({"float32", "float64"}),
            Options(type, {np.float32, np.float64}),
        ],
        "dropout": [SHARE, list, tuple],
        **CONSTRAINTS,
    }
    # of pickles of before there was a choice
    scoring = schedule = clip_norm = clip_value = max_norm = norm = members = None
    callbacks = max_time = None
    l1 = input_dropout = input_noise = mixup = 0.0
    residual = progress = False

    # where a fit is kept is nothing that a search hands to each of its fits
    __metadata_request__fit = {"checkpoint": UNUSED, "checkpoint_seconds": UNUSED}  # noqa: RUF012

    def _store(self, parameters):
        """Set the constructor's ``locals()`` as attributes."""
        for name, value in parameters.items():
            if name not in ("self", "__class__"):
                setattr(self, name, value)

    @suggests
    @validated
    def fit(self, X: Rows, y: Rows, sample_weight: ArrayLike | None = None, *,
            X_val: Rows | None = None, y_val: Rows | None = None,
            sample_weight_val: ArrayLike | None = None,
            validation_data: tuple[Any, ...] | None = None, checkpoint: File | None = None,
            checkpoint_seconds: float = 10.0) -> Self:
        """Train the network.

        Parameters
        ----------
        X : array or sparse matrix of shape (n_samples, n_features)
            Inputs.
        y : array of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array of shape (n_samples,), default=None
            Weights of the rows; None: 1 each.
        X_val : array or sparse matrix of shape (n_val, n_features), default=None
            Rows whose loss goes to `validation_loss_curve_`. With ``early_stopping=True`` they
            are the validation set, and no rows are split off. A pipeline treats them as it does X
            with ``Pipeline(..., transform_input=["X_val"])``.
        y_val : array of shape (n_val,) or (n_val, n_outputs), default=None
            Their targets.
        sample_weight_val : array of shape (n_val,), default=None
            Weights of the validation rows; None: 1 each.
        validation_data : tuple (X, y) or (X, y, sample_weight), default=None
            The same in one argument, whose rows no pipeline can transform.
        checkpoint : str, path or None, default=None
            File that keeps where the fit stands after an epoch and at its end. Where it is there
            already, the fit goes on from it, to the same bytes as if it had never stopped;
            `max_iter` may be larger then. A fit that has come to its end is not run again. With
            ``solver="lbfgs"`` it also holds what SciPy has been told, see `fastnn.LBFGS`. Without a
            number as `random_state` the file also keeps the random numbers of the first call. Each
            fit needs a file of its own; delete it to start anew. It is no metadata that could be
            routed.
        checkpoint_seconds : float, default=10.0
            Time between two writes of the file at least; 0: after every epoch.

        Returns
        -------
        self
            The estimator itself.

        Raises
        ------
        ValueError, TypeError
            On a wrong argument or parameter.
        ModelFormatError
            When the checkpoint is damaged, or one of a fit with other parameters or data.
        OSError
            When the checkpoint cannot be written.
        """
        checkpoint_seconds = check_nonnegative("checkpoint_seconds", checkpoint_seconds)
        validation_data = validation_set(validation_data, X_val, y_val, sample_weight_val)
        tasks = None
        if "_skl_callbacks" in vars(self) and hasattr(self, "set_callbacks"):
            tasks = FitTasks(self, X, y, sample_weight)
        self._fit(X, y, sample_weight, validation_data, checkpoint=checkpoint,
                  checkpoint_seconds=checkpoint_seconds, tasks=tasks)
        if tasks is not None:
            tasks.done()
        return self

    def _fit_with_hooks(self, X, y, hooks, *, sample_weight=None, validation_data=None,
                        **settings):
        """Train the network, with hooks (`fastnn.training.epochs.Hook`) between its epochs.

        For the command line; result and other arguments are those of `fit`.

        Parameters
        ----------
        hooks : sequence of Hook
        **settings
            Arguments of `fit`, and ``stop_by_loss``: whether the score of early stopping is the
            negative loss.
        """
        self._validate_params()
        return self._fit(X, y, sample_weight, validation_data, hooks=hooks, **settings)

    # -- training ------------------------------------------------------------------------------

    def _fit(self, *arguments, **settings):
        """All of a fit at once, or nothing: a twin is fitted, and its attributes taken over.

        So an error leaves the model as it was, and who predicts meanwhile sees the old model or the
        new one.
        """
        with sole_fit(self):
            before, twin = dict(vars(self)), self._twin()
            for name, value in vars(self).items():
                if name.endswith("_") and isinstance(value, list):
                    setattr(twin, name, list(value))
            with sole_fit(twin):  # callbacks have it
                twin._fit_in_place(*arguments, **settings)
            take_over(self, twin, before)
        return self

    def _twin(self):
        """Another estimator with the same attributes."""
        twin = object.__new__(type(self))
        vars(twin).update(vars(self))
        return twin

    def _fit_in_place(self, X, y, sample_weight, validation_data=None, one_epoch=False, hooks=(),
                      stop_by_loss=False, checkpoint=None, checkpoint_seconds=10.0, tasks=None):
        self._stepping = None
        if one_epoch:
            self._check_settings()
        if one_epoch and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        fresh = (not hasattr(self, "coefs_") or not (self.warm_start or one_epoch)
                 or goes_on_afresh(self, checkpoint))
        given = X, y, sample_weight
        X, y, target, weight = self._checked(X, y, sample_weight, fresh, one_epoch)
        rng = check_random_state(self.random_state)

        if self.verbose and fresh:
            hint("scale", unscaled(X, target if self.out_activation_ == "identity" else None))
        network = self._network_of(X, fresh)
        optimizer = make_optimizer(self)
        callbacks = checked_callbacks(self, optimizer, one_epoch=one_epoch, checkpoint=checkpoint)
        beside = step_settings(self, optimizer)
        if checkpoint is not None:
            watched = None if validation_data is None else self._check_validation_data(
                validation_data, X.dtype)
            checkpoint = opened(self, checkpoint, checkpoint_seconds, network, optimizer, rng,
                                (X, target, weight), watched and watched[:3],
                                start_of(self, fresh),
                                stop_by_loss=stop_by_loss)
            check_files(callbacks, checkpoint.path)
            rng = checkpoint.random_numbers(rng, self.random_state)
        if fresh:
            self._draw_parameters(network, rng)
        if "_interrupted_from" in vars(self):
            self._interrupted_from = None

        rows, held_out = self._hold_out(network, (X, target, weight, y), validation_data, rng,
                                        fresh, stop_by_loss)
        n_rows = X.shape[0] if rows is None else len(rows)
        stochastic = optimizer is not None
        batch_rows = self._batch_rows(n_rows) if stochastic else min(FULL_BATCH_ROWS, n_rows)
        trainer = self._trainer_of(network, optimizer, batch_rows, (X, target, weight), rng, beside)
        others = () if one_epoch else self._between_epochs(network, callbacks, tasks, given, rows)
        with single_threaded_blas():
            if stochastic:
                rates = epoch_rates(self, optimizer, n_rows, batch_rows)
                rate = 0.0 if rates is not None else float(optimizer.learning_rate)
                parameters = rules.fit_stochastic(
                    self, trainer, rows, n_rows, rng, held_out, fresh=fresh, one_epoch=one_epoch,
                    rate=rate, rates=rates, hooks=hooks, callbacks=others, checkpoint=checkpoint,
                    data=(X, target),
                )
            else:
                parameters = rules.fit_lbfgs(self, trainer, held_out, fresh=fresh, hooks=hooks,
                                             callbacks=others, checkpoint=checkpoint)

        if not np.isfinite(parameters).all():
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large "
                "values and need to be preprocessed."
            )
        network.parameters[:] = parameters
        self._publish(network)
        if one_epoch:
            self._stepping = stepping_of(self, trainer, n_rows, weight, hooks)
        if held_out is not None and stochastic and self.early_stopping:
            held_out.check_learned(self, network)
        return self

    def _checked(self, X, y, sample_weight, fresh, one_epoch):
        """Return X and y as arrays, the targets of the network, and weights or None."""
        X, y = self._check_data(X, y, dtype=self._training_dtype(fresh), reset=fresh)
        try:
            target = self._encode(y, X.dtype, fresh, subset=one_epoch)
        except (TypeError, ValueError) as error:
            wording.refuse_missing(y)
            raise wording.about_data(error, X, y) from None
        weight = self._check_weight(sample_weight, X, y, one_epoch)
        if weight is not None:
            check_total_weight("sample_weight", weight)
        return X, y, target, weight

    def _trainer_of(self, network, optimizer, batch_rows, data, rng, beside):
        """Return the trainer of a network, with its parameters and (X, target, weight); ``beside``
        are further settings."""
        stochastic = optimizer is not None
        draws = (any(network.dropout) or "inputs" in beside
                 or stochastic and not takes_steps(optimizer))
        trainer = self._trainer(
            network,
            optimizer=optimizer,
            batch_size=batch_rows,
            alpha=self.alpha,
            seed=rng.randint(2**31 - 1) if draws else 0,
            # scikit-learn steps along the gradient of the sum over outputs, and reports the mean.
            reduction="sum" if stochastic else None,
            sparse=is_sparse(data[0]),
            **beside,
        )
        trainer.parameters[:] = network.parameters
        trainer.set_data(*data)
        return trainer

    def _between_epochs(self, network, callbacks, tasks, given, rows):
        """Return the hooks that the user has asked for."""
        def publish(parameters):
            network.parameters[:] = parameters
            self._publish(network)

        def given_to_model(state):
            found, was = self._current_network(), state.trainer.published
            if found is not network:  # other arrays, for which the trainer may have another dtype
                found = self._rebuilt_network(self.coefs_, self.intercepts_, network.dtype)
            # diverged weights are for the hooks to judge
            if np.array_equal(found.parameters, was) or np.array_equal(found.parameters, was, True):
                return None
            return network._layout.adopted(found.parameters)

        others = []
        if callbacks:
            others = [rules.Publish(publish), CallCallbacks(callbacks, given=given_to_model)]
        others += limit_and_progress(self.max_time, self.progress)
        if tasks is not None:
            tasks.take(*given, rows, publish)
            others.append(tasks)
        return others

    def _validate_params(self):
        wording.check_parameters(self, super()._validate_params)

    def _check_settings(self):
        """Check the parameters, unless they are those of the last call: scikit-learn looks at them
        before the first `partial_fit` alone, and takes as long as a small epoch."""
        values = [getattr(self, name) for name in self._parameter_constraints]
        before = vars(self).get("_checked_settings", ())
        if len(before) != len(values) or not all(map(operator.is_, before, values)):
            self._validate_params()
            self._checked_settings = values

    def _training_dtype(self, fresh):
        """Return the dtype, or the choice of dtypes, that X is converted to for training."""
        if self.dtype is not None:
            return np.dtype(self.dtype)
        if fresh:
            return np.float64, np.float32
        return np.result_type(numbers("coefs_", self.coefs_, 2)[0], np.float32)

    def _hidden_sizes(self):
        sizes = self.hidden_layer_sizes
        try:
            sizes = list(sizes) if np.iterable(sizes) else [sizes]
            sizes = [0 if isinstance(n, bool) else operator.index(n) for n in sizes]
        except TypeError:
            sizes = None
        if sizes is None or any(n < 1 for n in sizes):
            raise ValueError(
                f"hidden_layer_sizes={self.hidden_layer_sizes!r} must be > 0: an integer, or a "
                "sequence of integers, one per hidden layer"
            )
        return sizes

    def _batch_rows(self, n_rows):
        if self.batch_size == "auto":
            return min(200, n_rows)
        if self.batch_size > n_rows:
            warn(f"batch_size={self.batch_size} is larger than the {n_rows} rows to train on and "
                 "is clipped")
        return min(self.batch_size, n_rows)

    def _trainer(self, network, **settings):
        if self.out_activation_ not in LOSSES:
            raise ValueError(f"out_activation_={self.out_activation_!r} must be that of the fit")
        loss = self._training_loss()
        plain = loss == LOSSES[self.out_activation_]
        return trainer_of(settings["optimizer"])(
            network.spec,
            loss,
            n_threads=self.n_threads,
            ceiling=_highest_loss(self, network.dtype) if plain else np.inf,
            **settings,
        )

    # -- checks --------------------------------------------------------------------------------

    def _check_data(self, X, *y, **settings):
        """scikit-learn's check of X, or of X and y; what comes out suits the compiled loops."""
        settings |= {"accept_sparse": "csr", "order": "C"}
        if y:
            settings |= {"multi_output": True, "y_numeric": isinstance(self, RegressorMixin)}
        X, y = sound("X", X), [sound("y", values) for values in y]
        wording.refuse_dates("X", X)
        for values in y if isinstance(self, RegressorMixin) else ():
            wording.refuse_dates("y", values)
        try:
            checked = validate_data(self, X, *y, **settings)
        except OverflowError as error:
            raise ValueError(f"X or y holds an integer beyond the range of float64: "
                             f"{error}") from None
        except ValueError as error:
            place = None
            if "Input X contains" in str(error):
                place = first_non_finite(X, settings["dtype"])
            elif "Input y contains" in str(error):
                place = first_non_finite(*y, None)
            if place is None:
                raise wording.about_data(error, X, *y) from None
            raise ValueError(f"{error}\nThe first such value is in {place}."
                             f"{wording.takes_gaps(error, self)}") from None
        except TypeError as error:
            raise wording.about_data(error, X, *y) from None
        if not y:
            return aligned(checked)
        if isinstance(self, RegressorMixin):  # None has become NaN by now, behind the checks
            wording.refuse_missing(*y)
        X, y = checked
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return aligned(X), y

    def _check_weight(self, sample_weight, X, y, one_epoch=False):
        if sample_weight is None:
            return None
        sample_weight = from_tensor("sample_weight", sample_weight)
        try:
            return aligned(_check_sample_weight(sample_weight, X, dtype=X.dtype))
        except OverflowError as error:
            raise ValueError(f"sample_weight holds an integer beyond the range of float64: "
                             f"{error}") from None

    # -- prediction ------------------------------------------------------------------------------

    def _output(self, X):
        """Return the output of the network, shape (n_samples, n_outputs).

        Called on a twin, whose attributes are all of one moment.
        """
        network = self._current_network()
        # scikit-learn's checks take longer than a small network
        if (
            is_ready(X, network.sizes[0])
            and X.dtype == network.dtype
            and len(X) > 0
            and "feature_names_in_" not in vars(self)
            and all_finite(X)
        ):
            return network.predict(X)
        if is_sparse(X) and is_ready_csr(X, network) and "feature_names_in_" not in vars(self):
            return network.predict(X)
        return network.predict(self._check_data(X, dtype=network.dtype, reset=False))

    def _predictor(self):
        """Return the fitted model as a `Predictor`."""
        model = self._twin()
        return Predictor(model._current_network(), model._task(),
                         classes=vars(model).get("classes_"),
                         feature_names=vars(model).get("feature_names_in_"))

    # -- files -------------------------------------------------------------------------------------

    def save(self, path: File, pipeline: Any = None, *, max_bytes: int | None = None) -> None:
        """Write the fitted model to a safetensors file; `fastnn.load` reads it.

        The file holds parameters, weights, classes, feature names and the history, as plain values;
        not the state of the optimizer, nor a `random_state` that is no number.

        Parameters
        ----------
        path : str or path
            The old file is there until the new one is complete.
        pipeline : Pipeline, TransformedTargetRegressor or None, default=None
            A fitted one of scikit-learn with this estimator at its end. A single scaler
            (`StandardScaler`, `MinMaxScaler`, `MaxAbsScaler`, `RobustScaler`) goes into the file,
            which is then loaded as a `fastnn.Predictor` of unscaled rows; so do a
            `ColumnTransformer`, pipelines and several steps of scalers, `SimpleImputer`,
            `OneHotEncoder` and `OrdinalEncoder`: that `Predictor` takes data frames and lists of
            dicts. Any other step is refused by name.
        max_bytes : int or None, default=None
            A larger file is not written. None: 2**30, beyond which `fastnn.load` needs this
            argument, too.
        """
        saving.write(self, path, pipeline, max_bytes)

    @classmethod
    def _from_file(cls, model, params, fitted):
        """Return the estimator that was saved, from its `Predictor`, parameters and history."""
        est = cls(**saving.read_params(params))
        est._validate_params()
        saving.restore(est, model, fitted)
        return est

    # -- the rest of the estimator ---------------------------------------------------------------

    @property
    def _optimizer(self):
        """The state of the optimizer, as attributes."""
        return SimpleNamespace(**self._optimizer_state)

    def __getstate__(self):
        return {name: value for name, value in super().__getstate__().items()
                if name not in _OF_THE_OBJECT}

    def __setstate__(self, state):
        for name in state:
            if not isinstance(name, str) or callable(getattr(type(self), name, None)) or (
                    name in _OF_THE_OBJECT):
                raise ValueError(f"the state of {type(self).__name__} must not hold {name!r}")
        super().__setstate__(state)
        # their memory may be a file, mapped read-only
        for name in ("coefs_", "intercepts_", "norm_parameters_"):
            if vars(self).get(name) is not None:
                setattr(self, name, [np.array(a) for a in getattr(self, name)])
        if hasattr(self, "coefs_"):
            try:
                self._publish(self._rebuilt_network(self.coefs_, self.intercepts_))
            except (TypeError, ValueError):
                pass  # parameters were set for another network after the fit; predict will say so

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _highest_loss(est, dtype):
    """scikit-learn's log loss clips probabilities to [eps, 1 - eps]."""
    return -np.log(np.finfo(dtype).eps) if isinstance(est, ClassifierMixin) else np.inf
