"""Parameters beyond scikit-learn's: their constraints, and what a fit makes of them."""

from dataclasses import replace
from numbers import Integral, Real

from sklearn.utils._param_validation import Interval

from fastnn.core.notices import shown
from fastnn.estimators.wording import Names
from fastnn.training.callbacks import StepLimit, check_callbacks
from fastnn.training.epochs import has_state
from fastnn.training.evolution import EvolutionStrategy
from fastnn.training.fitting import check_penalties
from fastnn.training.inputs import check_inputs
from fastnn.training.optimizer_base import Optimizer
from fastnn.training.optimizers import BY_NAME, EMA, SGD, Adam, check_optimizer, check_steps
from fastnn.training.schedules import BY_NAME as SCHEDULES
from fastnn.training.schedules import Schedule, StepRates

__all__ = ["CONSTRAINTS", "COUNT", "LATER", "SHARE", "SOLVERS", "checked_callbacks",
           "epoch_rates", "is_at_default", "make_optimizer", "non_negative", "positive",
           "step_settings"]

SOLVERS = {"lbfgs", "es", *BY_NAME}
# of scikit-learn's beta_1, beta_2 and epsilon
_LIKE_ADAM = ("adamw", "adamax", "nadam")


def positive(kind):
    """Return the constraint of a number > 0."""
    return Interval(kind, 0, None, closed="neither")


def non_negative(kind):
    """Return the constraint of a number >= 0."""
    return Interval(kind, 0, None, closed="left")


COUNT = Interval(Integral, 1, None, closed="left")
SHARE = Interval(Real, 0, 1, closed="left")

# that came after the first files, pickles and checkpoints, with their defaults
LATER = {
    "scoring": None, "schedule": None, "clip_norm": None, "clip_value": None, "max_norm": None,
    "l1": 0.0, "norm": None, "residual": False, "members": None, "input_dropout": 0.0,
    "input_noise": 0.0, "mixup": 0.0, "callbacks": None, "max_time": None, "progress": False,
}
CONSTRAINTS = {
    "scoring": [None, str, callable],
    "schedule": [None, Names(set(SCHEDULES)), Schedule, callable],
    "clip_norm": [None, positive(Real)],
    "clip_value": [None, positive(Real)],
    "max_norm": [None, positive(Real)],
    "l1": [non_negative(Real)],
    "norm": [None, Names({"layer", "batch"})],
    "residual": ["boolean"],
    "members": [None, COUNT],
    "input_dropout": [SHARE],
    "input_noise": [non_negative(Real)],
    "mixup": [non_negative(Real)],
    "callbacks": [None, list, tuple],
    "max_time": [None, positive(Real)],
    "progress": [None, "boolean"],
}


def is_at_default(name, value):
    """Return whether a parameter of `LATER` has its default."""
    default = LATER[name]
    if default is None or value is None:
        return value is default
    return isinstance(value, (bool, int, float)) and value == default


def make_optimizer(est):
    """Return the optimizer of ``est.solver``, those of scikit-learn in its form; None for L-BFGS.

    A name has `learning_rate_init` as its rate, an object its own.
    """
    solver, rate = est.solver, est.learning_rate_init
    if isinstance(solver, Optimizer):
        optimizer = check_optimizer(solver)
    elif solver == "lbfgs":
        optimizer = None
    elif solver == "sgd":
        nesterov = est.nesterovs_momentum and est.momentum > 0
        optimizer = SGD(rate, est.momentum, nesterov, velocity="step")
    elif solver == "adam":
        optimizer = Adam(rate, est.beta_1, est.beta_2, est.epsilon, eps_hat=True)
    elif solver == "es":
        optimizer = EvolutionStrategy(rate, beta1=est.beta_1, beta2=est.beta_2, eps=est.epsilon)
    elif solver in _LIKE_ADAM:
        optimizer = BY_NAME[solver](rate, beta1=est.beta_1, beta2=est.beta_2, eps=est.epsilon)
    else:
        optimizer = BY_NAME[solver](rate)
    return optimizer if est.schedule is None else _scheduled(est, optimizer)


def _scheduled(est, optimizer):
    """Return an optimizer with the estimator's schedule."""
    schedule = est.schedule
    if isinstance(schedule, type):
        raise TypeError(f"schedule={schedule.__name__} is a class, must be an object: "
                        f"fastnn.schedules.{schedule.__name__}()")
    if optimizer is None:
        raise ValueError(f"schedule={shown(schedule)} must be None with solver='lbfgs', which has "
                         "no learning rate")
    if est.solver == "sgd" and est.learning_rate != "constant":
        raise ValueError(f"schedule={shown(schedule)} needs learning_rate='constant', not "
                         f"{est.learning_rate!r}, which is a schedule too")
    rate = optimizer.learning_rate
    if not isinstance(rate, Real):
        raise ValueError(f"schedule={shown(schedule)} must be None where the solver has a schedule "
                         f"of its own, learning_rate={shown(rate)}")
    if isinstance(schedule, str):
        schedule = SCHEDULES[schedule]()
    return _with_rate(optimizer, schedule.with_rate(float(rate))
                      if isinstance(schedule, Schedule) else schedule)


def _with_rate(optimizer, rate):
    if isinstance(optimizer, EMA):
        return EMA(_with_rate(optimizer.optimizer, rate), optimizer.decay)
    return replace(optimizer, learning_rate=rate)


def step_settings(est, optimizer):
    """Return what steps do beside the optimizer's update, as a `Trainer` takes it: nothing for what
    scikit-learn has."""
    inputs = check_inputs(est.input_dropout, est.input_noise, est.mixup)
    found = check_penalties(est.l1, est.clip_norm, est.clip_value, est.max_norm)
    check_steps(optimizer, "solver", repr(est.solver), {**found, **inputs.plain()})
    if inputs.any:
        found["inputs"] = inputs
    return found


def checked_callbacks(est, optimizer, *, one_epoch, checkpoint):
    """Return the callbacks of an estimator, where they, its solver and the kind of fit can go
    together."""
    if one_epoch and optimizer is not None and not isinstance(optimizer.learning_rate, Real):
        raise ValueError("partial_fit and fit_batches do not know how many epochs come: schedule "
                         "must be None, and the learning rate of the solver a number")
    callbacks = check_callbacks(est.callbacks, None)
    if checkpoint is not None:
        for callback in callbacks:
            if has_state(callback):
                raise ValueError(
                    f"callbacks holds {type(callback).__name__}, whose state the checkpoint of an "
                    "estimator does not keep: use early_stopping, or schedule, in its place")
    return callbacks


def epoch_rates(est, optimizer, n_rows, batch_rows):
    """Return the `StepRates` of a schedule; None where the rate is a number."""
    if isinstance(optimizer.learning_rate, Real):
        return None
    return StepRates(optimizer, StepLimit(None, est.max_iter, n_rows, batch_rows))
