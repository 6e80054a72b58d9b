"""scikit-learn's estimators on the workers of a Dask cluster."""

import inspect
from numbers import Real

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.validation import check_is_fitted

from fastnn import estimators
from fastnn.core import words
from fastnn.core.notices import shown, warn
from fastnn.core.validation import check_flag, check_nonnegative
from fastnn.dask import prediction
from fastnn.dask.cluster import Cluster, WithClient
from fastnn.dask.fitting import Plan, run
from fastnn.dask.shards import Data
from fastnn.estimators.settings import COUNT, make_optimizer, positive
from fastnn.training.bound_losses import check_loss
from fastnn.training.fitting import Settings
from fastnn.training.lbfgs import LBFGS
from fastnn.training.losses import CrossEntropy
from fastnn.training.stopping import EarlyStopping

__all__ = ["MLPClassifier", "MLPRegressor", "with_more"]

# parameters beside those of fastnn's estimators, with their defaults
MORE = {"shards": None, "local_steps": None, "outer_learning_rate": 1.0, "outer_momentum": 0.5,
        "keep": None}
CONSTRAINTS = {
    "shards": [None, COUNT],
    "local_steps": [None, COUNT, StrOptions({"measured"})],
    "outer_learning_rate": [positive(Real)],
    "outer_momentum": [Interval(Real, 0, 1, closed="left")],
    "keep": [None, "boolean"],
}
MORE_PARAMETERS = """\
    shards : int or None, default=None
        Number of pieces that the rows are cut into; it decides the result. See `fastnn.dask.fit`,
        also for the others.
    local_steps : int, "measured" or None, default=None
        Steps of a round on each shard. None: an eighth of a pass, at least 8.
    outer_learning_rate : float, default=1.0
        Of the step that is made of the shards' changes.
    outer_momentum : float in [0, 1), default=0.5
        Of that step.
    keep : bool or None, default=None
        Whether workers hold the rows in memory; None: where they fit.
"""
BATCH_ROWS = 32  # of batch_size="auto"


def with_more(more, constraints):
    """Return a decorator that gives an estimator a constructor with the parameters of its base and
    some more, and the descriptions of the base.

    Parameters
    ----------
    more : dict
        Defaults of the further parameters.
    constraints : dict
        Of these, as scikit-learn has them.
    """
    def decorate(cls):
        parent = next(parent for parent in cls.__mro__[1:] if "__init__" in vars(parent))
        base = inspect.signature(parent.__init__)
        own = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
               for name, default in more.items()]
        signature = base.replace(parameters=[*base.parameters.values(), *own])

        def __init__(self, *arguments, **settings):
            try:
                bound = signature.bind(self, *arguments, **settings)
            except TypeError as error:
                told = TypeError(f"{cls.__name__}() {error}")
                raise TypeError(words.for_call(told, __init__)) from None
            bound.apply_defaults()
            for name, value in bound.arguments.items():
                if name != "self":
                    setattr(self, name, value)

        __init__.__signature__ = signature
        __init__.__qualname__ = f"{cls.__qualname__}.__init__"
        cls.__init__ = __init__
        if cls.__doc__:  # None under python -OO
            cls.__doc__ = cls.__doc__.replace("    {parameters}\n", _parameters_of(parent)).replace(
                "    {more}\n", MORE_PARAMETERS)
        cls._parameter_constraints = {**parent._parameter_constraints, **constraints}
        return cls

    return decorate


def _parameters_of(estimator):
    """Return what the docstring of an estimator says of its parameters."""
    text = estimator.__doc__.partition("    Parameters\n    ----------\n")[2]
    return text.partition("\n    Attributes\n")[0].rstrip() + "\n"


class _OnWorkers(WithClient):
    """What both estimators have: a fit by rounds, predictions by partitions."""

    def _fit_in_place(self, X, y, sample_weight, validation_data=None, one_epoch=False, hooks=(),
                      stop_by_loss=False, checkpoint=None, checkpoint_seconds=10.0, tasks=None,
                      **more):
        if one_epoch:
            return super()._fit_in_place(X, y, sample_weight, validation_data, one_epoch=True,
                                         hooks=hooks)
        self._stepping = None
        self._refuse()
        fresh = not (self.warm_start and hasattr(self, "coefs_"))
        cluster = Cluster(self.client)
        wish = {"dtype": "float64" if self.dtype is None else np.dtype(self.dtype).name,
                "n_in": None, "n_out": None, "loss": None, "output": None,
                "classes": self._counts_labels, "digest": checkpoint is not None}
        data = Data(cluster, X, y, sample_weight, wish)
        self._take_columns(data, fresh)
        dtype = self._dtype_of(data, fresh)
        self._take_targets(data, dtype, fresh)
        rng = check_random_state(self.random_state)
        if fresh:
            network = self._new_network((data.width, *self._hidden_sizes(), self.n_outputs_),
                                        dtype)
            self._draw_parameters(network, rng)
            self.n_layers_ = len(network.sizes)
        else:
            network = self._rebuilt_network(self.coefs_, self.intercepts_, dtype)
        network._seed = int(rng.randint(2**31 - 1))
        network._seeded = self.random_state is not None
        history = self._run(network, cluster, data, wish, validation_data, checkpoint,
                            checkpoint_seconds)
        if not np.isfinite(network.parameters).all():
            raise ValueError("Solver produced non-finite parameter weights. The input data may "
                             "contain large values and need to be preprocessed.")
        self._publish(network)
        self._take_history(history, data)
        return self

    def _refuse(self):
        """Raise where a parameter means nothing here."""
        for name, value in (("learning_rate", "constant"), ("calibration_fraction", None)):
            own = getattr(self, name, value)
            if own != value:
                hint = "schedule=" if name == "learning_rate" else "calibrate(X, y) after the fit"
                raise ValueError(f"{name}={own!r} must be {value!r} with fastnn.dask: use {hint}")
        if self.scoring not in (None, "loss"):
            raise ValueError(f"scoring={shown(self.scoring)} must be 'loss' or None: with "
                             "fastnn.dask early stopping looks at the loss")

    def _take_columns(self, data, fresh):
        names = data.columns
        named = names is not None and all(isinstance(name, str) for name in names)
        if not fresh:
            if data.width != self.n_features_in_:
                raise ValueError(f"X has {data.width} features, but {type(self).__name__} is "
                                 f"expecting {self.n_features_in_} features as input")
            return
        self.n_features_in_ = data.width
        vars(self).pop("feature_names_in_", None)
        if named:
            self.feature_names_in_ = np.array(names, dtype=object)

    def _dtype_of(self, data, fresh):
        if self.dtype is not None:
            return np.dtype(self.dtype)
        if not fresh:
            return np.result_type(self.coefs_[0], np.float32)
        return np.dtype("float32" if set(data.dtypes) == {"float32"} else "float64")

    def _run(self, network, cluster, data, wish, validation_data, checkpoint, seconds):
        """Train; return the history."""
        optimizer = make_optimizer(self)
        callbacks, split = list(self.callbacks or ()), None
        if optimizer is None:
            optimizer = LBFGS(max_iter=self.max_iter, tol=self.tol, max_fun=self.max_fun)
        else:
            split = self._stopping(callbacks, validation_data)
        settings = Settings(
            network, check_loss(self._training_loss(), network.output, self.n_outputs_),
            optimizer=optimizer, epochs=self.max_iter, alpha=self.alpha,
            penalties=(self.l1, self.clip_norm, self.clip_value, self.max_norm),
            inputs=(self.input_dropout, self.input_noise, self.mixup), validation_data=None,
            metrics=None, callback=None, callbacks=callbacks, max_time=self.max_time,
            progress=self.progress or None if check_flag("progress", self.progress) else False)
        plan = Plan(network, settings, shards=self.shards, local_steps=self.local_steps,
                    outer_learning_rate=self.outer_learning_rate,
                    outer_momentum=self.outer_momentum, keep=self.keep,
                    batch_size=BATCH_ROWS if self.batch_size == "auto" else self.batch_size,
                    shuffle=self.shuffle, split=split,
                    # scikit-learn steps along the gradient of the sum over outputs
                    reduction="sum")
        held = None
        if validation_data is not None:
            held = Data(cluster, *validation_data[:2], (*validation_data, None)[2], wish,
                        name="the validation rows")
            if held.labels is not None and not np.isin(held.labels, self.classes_).all():
                missing = held.labels[~np.isin(held.labels, self.classes_)]
                raise ValueError(f"in {held.name}: y has the class {missing.tolist()[0]!r}, which "
                                 "no row of the training has: leave such rows out")
        encoding = {"dtype": network.dtype.name, "n_in": data.width, "n_out": self.n_outputs_,
                    "loss": settings.info.loss, "output": network.output,
                    **self._encoding(data)}
        return run(network, settings, plan, cluster, data, held, encoding, checkpoint, seconds)

    def _stopping(self, callbacks, validation_data):
        """Add the rule that ends the fit; return what is held out: (share, seed), or None."""
        patience = self.n_iter_no_change
        if not self.early_stopping:
            if np.isfinite(patience):
                callbacks.append(EarlyStopping("loss", int(patience), self.tol, False))
            return None
        callbacks.append(EarlyStopping(
            "val_loss", int(min(patience, 2**31)), self.tol, True))
        return None if validation_data is not None else self.validation_fraction

    def _take_history(self, history, data):
        self.loss_curve_ = list(history.loss)
        self.validation_loss_curve_ = None if history.val_loss is None else list(history.val_loss)
        self.n_iter_, self.t_ = len(history.loss), len(history.loss) * data.n_rows
        self.loss_ = self.loss_curve_[-1] if self.loss_curve_ else None
        self.best_loss_ = min(self.loss_curve_, default=None)
        self.validation_scores_ = self.best_validation_score_ = None
        self._no_improvement_count = 0
        if self.early_stopping and history.val_loss:
            self.best_loss_ = None
            self.validation_scores_ = [-loss for loss in history.val_loss]
            self.best_validation_score_ = max(self.validation_scores_)
        self._sparse_labels = False
        self.history_ = history
        if history.stopped == "interrupted":
            warn("Training interrupted by user.")

    # ---- afterwards ----

    def to_local(self):
        """Return the fitted model as the estimator of this process: `fastnn.MLPClassifier` or
        `fastnn.MLPRegressor`, which needs no Dask.

        Returns
        -------
        MLPClassifier or MLPRegressor
            With copies of nothing: arrays are shared.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            When there has been no fit.
        """
        check_is_fitted(self)
        local = object.__new__(self._local)
        vars(local).update({name: value for name, value in vars(self).items()
                            if name not in (*MORE, "client", "history_")})
        return local

    def save(self, path, pipeline=None, *, max_bytes=None):
        """Write the fitted model to a file, as `to_local` has it; see `fastnn.MLPClassifier`."""
        self.to_local().save(path, pipeline, max_bytes=max_bytes)

    def score(self, X, y, sample_weight=None):
        """Return the accuracy, or R², over all partitions; see `fastnn.MLPClassifier.score`.

        Dask collections and lists of parts are scored by the workers, the model being sent once.

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
            return self.to_local().score(X, y, sample_weight)
        return prediction.score(Cluster(self.client), self.to_local(), X, y, sample_weight)

    def _lazily(self, method, X):
        if prediction.is_lazy(X):
            return prediction.lazy(self.to_local(), method, X)
        return getattr(self.to_local(), method)(X)

    def predict(self, X):
        """Return predictions; of a Dask collection lazily, by partitions.

        Parameters
        ----------
        X : dask.array, dask.dataframe, list of delayed parts, or what `fastnn.MLPClassifier` takes
            Rows to predict.

        Returns
        -------
        dask.array, dask Series, list of delayed arrays, or array
            As X is.
        """
        return self._lazily("predict", X)


@with_more(MORE, CONSTRAINTS)
class MLPClassifier(_OnWorkers, estimators.MLPClassifier):
    """`fastnn.MLPClassifier` whose `fit` runs on the workers of a Dask cluster.

    Its parameters are those, and `fastnn.dask.fit` says how it trains: shards, rounds, the same
    bytes for any number of workers. The client is the one that runs, or the one that is assigned:
    ``model.client = client``. X and y are Dask collections, lists of delayed parts, paths of
    Parquet files (y: the name of a column, or of several with zeros and ones, one per label), or
    arrays. ``solver="lbfgs"`` takes the exact gradient over all rows.

    What differs: ``batch_size="auto"`` is 32 rows of each shard; early stopping looks at the loss
    of held-out rows, which are a share of each shard, or the validation set that `fit` is given;
    `learning_rate` is "constant".

    Parameters
    ----------
    {parameters}
    {more}

    Examples
    --------
    >>> import dask.array, distributed, fastnn.dask
    >>> client = distributed.Client(processes=False, dashboard_address=None)
    >>> X = dask.array.random.default_rng(0).normal(size=(2000, 4), chunks=(500, 4))
    >>> y = (X[:, 0] > 0).astype(int)
    >>> model = fastnn.dask.MLPClassifier((16,), max_iter=5, shards=4, random_state=0)
    >>> bool(model.fit(X, y).score(X, y) > 0.9)
    True
    >>> model.predict(X).compute().shape
    (2000,)
    >>> client.close()
    """

    _local = estimators.MLPClassifier
    _counts_labels = True

    def _take_targets(self, data, dtype, fresh):
        if data.labels is None:  # zeros and ones, one column per label
            y = np.repeat([[0], [1]], data.y[1][0], axis=1)
        else:  # each label often enough to be one, to scikit-learn
            y = np.repeat(data.labels, 4)
        self._encode(y, dtype, fresh, subset=False)

    def _encoding(self, data):
        weight, loss = None, self._loss()
        smoothing = 0.0
        if self.out_activation_ == "logistic" and isinstance(loss, CrossEntropy):
            smoothing = loss.label_smoothing
        if self._is_multilabel():
            if self.class_weight is not None:
                raise ValueError(f"class_weight={self.class_weight!r} must be None for multilabel "
                                 "y")
            return {"smoothing": smoothing}
        if self.class_weight is not None:
            chosen = self.class_weight
            if chosen == "balanced":
                weight = data.n_rows / (len(data.labels) * data.counts)
            else:
                for label, value in chosen.items():
                    check_nonnegative(f"class_weight[{shown(label)}]", value)
                weight = compute_class_weight(chosen, classes=self.classes_, y=self.classes_)
        return {"labels": self.classes_, "class_weight": weight, "smoothing": smoothing}

    def predict_proba(self, X):
        """Return the probability of each class, columns as in `classes_`; lazily as `predict`."""
        return self._lazily("predict_proba", X)


@with_more(MORE, CONSTRAINTS)
class MLPRegressor(_OnWorkers, estimators.MLPRegressor):
    """`fastnn.MLPRegressor` whose `fit` runs on the workers of a Dask cluster.

    See `fastnn.dask.MLPClassifier` and `fastnn.dask.fit`. For `predict_interval` call
    `calibrate` with rows of this process after the fit.

    Parameters
    ----------
    {parameters}
    {more}

    Examples
    --------
    >>> import dask.array, distributed, fastnn.dask
    >>> client = distributed.Client(processes=False, dashboard_address=None)
    >>> X = dask.array.random.default_rng(0).normal(size=(2000, 4), chunks=(500, 4))
    >>> model = fastnn.dask.MLPRegressor(hidden_layer_sizes=(16,), max_iter=20, random_state=0)
    >>> bool(model.fit(X, X[:, 0]).score(X, X[:, 0]) > 0.9)
    True
    >>> client.close()
    """

    _local = estimators.MLPRegressor
    _counts_labels = False

    def _take_targets(self, data, dtype, fresh):
        shape = data.y[1]
        self._encode(np.ones((2, shape[0] if shape else 1)), dtype, fresh, subset=False)

    def _encoding(self, data):
        return {}
