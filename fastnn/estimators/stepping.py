"""The short way of `partial_fit`: a model that goes on with batches of one size, as it was set and
left, keeps its trainer, and need not be checked and made anew from its attributes.

What comes out is the same, to the bit.
"""

import functools
import operator

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils import check_random_state

from fastnn.core._arrays import all_finite, is_ready
from fastnn.core.threads import sole_fit
from fastnn.estimators import rules
from fastnn.estimators.decorators import F
from fastnn.mlp import MLP
from fastnn.training._steps import Stepper
from fastnn.training.epochs import FitState
from fastnn.training.history import History

__all__ = ["short_way_first", "stepping_of"]


class Stepping:
    """What a model keeps from one `partial_fit` to the next.

    Parameters
    ----------
    est : MLPClassifier or MLPRegressor
    trainer : Trainer
        That has trained it.
    n_rows : int
        Rows of a batch.
    """

    __slots__ = ("history", "hooks", "n_rows", "network", "optimizer_state", "patience", "read",
                 "settings", "stepper")

    def __init__(self, est, trainer, n_rows):
        self.stepper, self.n_rows = Stepper(trainer, stop_if_diverged=False), n_rows
        self.patience = rules.Patience(est, est._optimizer_state["learning_rate"])
        self.hooks = (rules.Record(n_rows), rules.Improvement(trainer.parameters, None),
                      rules.NonFinite(), self.patience)
        self.history = History()  # in which nothing is written
        self.read = operator.itemgetter(*est._parameter_constraints)
        self.settings = self.read(_settings(est))
        self.note(est)

    def note(self, est):
        """Remember the model as it is now."""
        est._optimizer_state = _kept(est._optimizer_state, self.patience, self.stepper.trainer)
        self.network, self.optimizer_state = est._network, est._optimizer_state

    def goes_on(self, est):
        """Return whether the model is as it was left."""
        own = vars(est)
        if not (own.get("_network") is self.network
                and own.get("_optimizer_state") is self.optimizer_state
                and own.get("_calibration") is None
                and _all_same(est._key_now(), self.network[1])):
            return False
        try:
            settings = self.read(own)
        except KeyError:
            settings = self.read(_settings(est))
        return all(map(operator.is_, settings, self.settings))


def _settings(est):
    """Return all of them by name, also those that came after the model was pickled."""
    return {name: getattr(est, name) for name in est._parameter_constraints}


def _all_same(mine, others):
    return len(mine) == len(others) and all(map(operator.is_, mine, others))


def _kept(state, patience, trainer):
    """Return the state of the optimizer for the model: the trainer goes on in its own vectors."""
    return {**state, "learning_rate": patience.rate, "step": trainer.step,
            "moments": [moment.copy() for moment in trainer.optimizer_state]}


def stepping_of(est, trainer, n_rows, weight, hooks):
    """Return the `Stepping` of a model after a `partial_fit`, or None where the next one has to be
    a long one."""
    plan = trainer.plan
    if (hooks or weight is not None or plan.batch != n_rows or plan.threads_for(n_rows) > 1
            or any(trainer.spec.dropout) or trainer.inputs.any
            or trainer.published is not trainer.parameters
            or not (est.batch_size == "auto" or est.batch_size == n_rows)
            or est.callbacks is not None or est.verbose or est.progress or est.max_time is not None
            or getattr(est, "class_weight", None) is not None
            or "feature_names_in_" in vars(est)):
        return None
    return Stepping(est, trainer, n_rows)


def short_way_first(partial_fit: F) -> F:
    """Decorate a `partial_fit`: called as usual, it goes the short way where there is one."""

    @functools.wraps(partial_fit)
    def wrapper(self, *args, **keywords):
        if len(args) == 2 and _step(self, *args, **keywords):
            return self
        return partial_fit(self, *args, **keywords)

    return wrapper  # type: ignore[return-value]


def _step(est, X, y, classes=None, **others):
    """Train on one batch, if that can be done in the short way; return whether it was. What is
    wrong with a batch is left to the long way to say."""
    stepping = vars(est).get("_stepping")
    if others or stepping is None:
        return False
    network = stepping.network[0]
    if not (is_ready(X, network.sizes[0]) and X.dtype == network.dtype
            and type(y) is np.ndarray and len(X) == len(y) == stepping.n_rows
            and stepping.goes_on(est) and all_finite(X) and _are_known(est, classes)):
        return False
    target = est._quick_target(y, X.dtype, stepping.stepper.trainer.info)
    if target is None:
        return False
    with sole_fit(est):
        est._stepping = None  # an error drops it
        _do_step(est, stepping, X, target)
        est._stepping = stepping
    return True


def _are_known(est, classes):
    """Whether `partial_fit` was called without classes, or with those of the model."""
    if classes is None:
        return True
    given = np.asarray(classes)
    return (is_classifier(est) and given.dtype == est.classes_.dtype
            and np.array_equal(given, est.classes_))


def _do_step(est, stepping, X, target):
    trainer, network = stepping.stepper.trainer, stepping.network[0]
    if est.shuffle and len(X) > 1:
        order = np.arange(len(X))
        check_random_state(est.random_state).shuffle(order)
        X, target = X[order], target[order]
    trainer.parameters[:] = network.parameters  # in which others may have written
    state = FitState(trainer, est, stepping.history)
    state.loss = stepping.stepper.run(X, target, None, stepping.patience.rate)
    if not all_finite(trainer.parameters):
        raise ValueError(
            "Solver produced non-finite parameter weights. The input data may contain large "
            "values and need to be preprocessed.")
    est.n_iter_ = 0
    for hook in stepping.hooks:
        hook.on_epoch_end(state)
        if state.reason is not None:
            break
    est._publish(_with_parameters(network, trainer.parameters))
    stepping.note(est)


def _with_parameters(network, parameters):
    """Return a network that differs in its parameters alone."""
    twin = object.__new__(MLP)
    vars(twin).update(vars(network))
    twin._publish_copy(parameters, network._epochs_done)
    return twin
