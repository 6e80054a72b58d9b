"""Fitted estimators to files and back: parameters, history, and the scaler of a pipeline."""

import copy
import json
from dataclasses import fields
from numbers import Integral

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from fastnn.core.imports import imported
from fastnn.core.notices import shown
from fastnn.estimators import settings
from fastnn.estimators.networks import norm_parameters
from fastnn.files import model_parts
from fastnn.files.plain import from_plain, to_plain
from fastnn.prediction.predictor import Predictor
from fastnn.prediction.scaler import Scaler
from fastnn.training.bound_losses import describe, from_description
from fastnn.training.evolution import EvolutionStrategy
from fastnn.training.losses import Custom, Loss
from fastnn.training.optimizer_base import Optimizer
from fastnn.training.optimizers import BY_NAME as OPTIMIZERS
from fastnn.training.optimizers import EMA
from fastnn.training.schedules import BY_NAME as SCHEDULES
from fastnn.training.schedules import Schedule

ERRORS = model_parts.ERRORS
_SCALERS = "StandardScaler", "RobustScaler", "MaxAbsScaler", "MinMaxScaler"
OUTPUTS = ("softmax", "logistic", "identity", "exp")  # of estimators
# History and what else of the fitted attributes is neither parameter nor shape of the network.
_SAVED = {
    "n_iter_": "count", "t_": "count", "loss_": "number", "best_loss_": "number",
    "loss_curve_": "numbers", "validation_scores_": "numbers", "best_validation_score_": "number",
    "validation_loss_curve_": "numbers", "_no_improvement_count": "count", "_sparse_labels": "flag",
    "_levels": "numbers", "_calibration": "numbers", "_normal": "flag",
}
_OF_TARGETS = "_levels", "_normal", "_calibration"
# parameters that came later: where they are at their defaults older versions can read the file
_LATER = {"quantile": None, "calibration_fraction": None}
_OBJECTS = {cls.__name__: cls for cls in (*OPTIMIZERS.values(), EMA, EvolutionStrategy,
                                          *SCHEDULES.values())}
_VALID = {
    "count": lambda value: type(value) is int and value >= 0,
    "number": lambda value: value is None or type(value) in (int, float),
    "numbers": lambda value: value is None or isinstance(value, list) and all(
        type(item) in (int, float) for item in value),
    "flag": lambda value: type(value) is bool,
}


def write(est, path, pipeline, max_bytes):
    """See `BaseMLP.save`."""
    predictor = est._predictor()
    params = est.get_params(deep=False)
    if not isinstance(params["random_state"], Integral):
        params["random_state"] = None
    params["callbacks"] = None
    if callable(params["scoring"]):
        params["scoring"] = None
    for name, default in _LATER.items():
        if params.get(name, ...) is default:
            del params[name]
    for name in settings.LATER:
        if settings.is_at_default(name, params[name]):
            del params[name]
    for name in ("solver", "schedule"):
        if name in params:
            params[name] = _object_to_plain(name, params[name])
    if isinstance(est, ClassifierMixin) and params["loss"] == "log_loss":
        del params["loss"]
    if isinstance(params.get("loss"), Loss):
        params["loss"] = _described(params["loss"])
    fitted = fitted_of(est)
    parts = {"class": type(est).__name__, "params": params, "fitted": fitted}
    _check_readable(est, predictor, params, fitted)
    if pipeline is not None:
        predictor = _with_scaler(predictor, pipeline, est)
    model_parts.write(path, predictor, parts, max_bytes)


def fitted_of(est):
    """Return what `restore` takes of a fitted model beside its `Predictor`."""
    fitted = {name: vars(est)[name] for name in _SAVED if name in vars(est)}
    for name in _OF_TARGETS:
        if fitted.get(name, ...) is None:
            del fitted[name]  # then versions that do not know of it can read the file
        elif name in fitted and name != "_normal":
            fitted[name] = np.ravel(fitted[name]).tolist()  # rows one after the other
    return fitted


def _described(loss):
    if isinstance(loss, Custom):
        raise ValueError(f"loss={loss.name!r} cannot be saved: it is made of Python functions. "
                         "set_params(loss=...) with another loss before saving, or pickle the "
                         "model")
    plain = describe(loss)
    return plain if isinstance(plain, dict) else {"name": plain}


def _object_to_plain(name, value):
    """Return an optimizer or a schedule as its class and its settings."""
    if isinstance(value, (Optimizer, Schedule)) and type(value).__name__ in _OBJECTS:
        found = {"class": type(value).__name__}
        for field in fields(value):
            own = getattr(value, field.name)
            if field.init and own is not None:
                found[field.name] = _object_to_plain(name, own)
        return found
    if callable(value) or isinstance(value, (Optimizer, Schedule)):
        raise ValueError(f"{name}={shown(value)} cannot be saved: it holds a function, or a class "
                         f"of your own. set_params({name}=...) with another one before saving, or "
                         "pickle the model")
    return value


def _object_of(plain):
    """Return the object that `_object_to_plain` was given."""
    if not isinstance(plain, dict) or "class" not in plain:
        return plain
    if plain["class"] not in _OBJECTS:
        raise ValueError(f"{plain['class']!r} is no optimizer or schedule")
    found = {name: _object_of(value) for name, value in plain.items() if name != "class"}
    return _OBJECTS[plain["class"]](**found)


def read_params(params):
    """Return the parameters of a file as the constructor takes them."""
    params = {name: _object_of(value) if name in ("solver", "schedule") else value
              for name, value in params.items()}
    if isinstance(params.get("loss"), dict):
        params = {**params, "loss": from_description(params["loss"])}
    return params


def _check_readable(est, predictor, params, fitted):
    """Raise where a reader would refuse what is to be written."""
    params, fitted = json.loads(json.dumps(to_plain([params, fitted])))
    try:
        type(est)._from_file(predictor, from_plain(params, tuple), from_plain(fitted, list))
    except model_parts.ERRORS as error:
        raise ValueError(f"the model cannot be saved: {error}") from error


def restore(est, model, fitted):
    """Make an estimator the fitted one that was saved, from its `Predictor` and its history."""
    for name, value in fitted.items():
        if name not in _SAVED or not _VALID[_SAVED[name]](value):
            raise ValueError(f"attribute {name}={value!r} is not one of {type(est).__name__}")
    if isinstance(est, ClassifierMixin) != ("_sparse_labels" in fitted):
        raise ValueError(f"_sparse_labels is missing, or not for {type(est).__name__}")
    net = model.net
    est.n_features_in_, est.n_outputs_, est.n_layers_ = (
        net.sizes[0], net.sizes[-1], len(net.sizes))
    est.out_activation_ = "logistic" if net.output == "sigmoid" else net.output
    if est.out_activation_ not in OUTPUTS:
        raise ValueError(f"output {net.output!r} is not that of an estimator")
    if (model.classes_ is None) != isinstance(est, RegressorMixin):
        raise ValueError(f"task {model.task!r} is not that of {type(est).__name__}")
    vars(est).update(fitted)
    _restore_targets(est)
    if model.classes_ is not None:
        est.classes_ = model.classes_
    if est._task() != model.task:
        raise ValueError(f"task {model.task!r} does not fit output {net.output!r}")
    if model.feature_names_in_ is not None:
        est.feature_names_in_ = model.feature_names_in_
    norm = norm_parameters(net)
    if norm:
        est.norm_parameters_ = norm
    network = est._rebuilt_network(net.weights, net.biases)
    if _what_it_computes(network) != _what_it_computes(net):
        raise ValueError("parameters of the estimator and of its network differ")
    est._publish(network)


def _what_it_computes(net):
    kinds = [op.kind for op in net._layout.ops if op.kind != "dropout"]
    return net.sizes, net.activations, net.output, kinds


def _restore_targets(est):
    """Check and unpack what a regressor knows of its outputs."""
    found = [vars(est).get(name) for name in _OF_TARGETS]
    if found == [None] * len(found):
        return
    if isinstance(est, ClassifierMixin):
        raise ValueError(f"{' and '.join(_OF_TARGETS)} are not those of a classifier")
    levels, _, calibration = found
    if levels is not None:
        est._levels = tuple(levels)
        if not 1 <= len(levels) <= est.n_outputs_ or not all(0 < level < 1 for level in levels):
            raise ValueError(f"_levels={levels} do not fit {est.n_outputs_} outputs")
    if calibration is not None:
        width = est.n_outputs_ + 1
        if len(calibration) == 0 or len(calibration) % width:
            raise ValueError(f"_calibration has {len(calibration)} numbers, not rows of {width}")
        est._calibration = np.array(calibration, float).reshape(-1, width)


def _with_scaler(predictor, pipeline, est):
    """Return the predictor of what comes before ``est`` in a pipeline, and of ``est``.

    A single scaler is that of the predictor, which then takes arrays as before; anything else
    becomes its table. A scaler of the target goes into the output layer.
    """
    pipelines = imported("fastnn.estimators.pipelines")  # which imports much of scikit-learn
    steps, target = pipelines.taken_apart(pipeline, est)
    if target is not None:
        predictor = _with_target(predictor, *pipelines.target_scale(target))
    if not steps:
        return predictor
    if len(steps) == 1 and type(steps[0][1]).__name__ in _SCALERS:
        scaler = steps[0][1]
        check_is_fitted(scaler)
        return Predictor(predictor.net, predictor.task, classes=predictor.classes_,
                         feature_names=vars(scaler).get("feature_names_in_"),
                         scaler=_as_scaler(scaler))
    return Predictor(predictor.net, predictor.task, classes=predictor.classes_,
                     table=pipelines.preparation_of(steps))


def _with_target(predictor, scale, add):
    """Return a predictor whose outputs are in the units of before a scaler of the target."""
    net = predictor.net
    if predictor.task not in ("regression", "quantiles") or net.output != "identity" or (
            scale <= 0).any():
        raise ValueError("the transformer of the target cannot be saved with this loss: only with "
                         "one whose predictions are the outputs of a linear layer")
    net = copy.deepcopy(net)
    weights = net.get_weights()
    if net.spec.layers and type(net.spec.layers[-1]).__name__ not in (
            "Dense", "Heads"):
        raise ValueError("the transformer of the target cannot be saved: the last layer of the "
                         "network is not Dense")
    weights[-2] = weights[-2] * scale
    weights[-1] = weights[-1] * scale + add
    net.set_weights(weights)
    return Predictor(net, predictor.task)


def _as_scaler(scaler):
    """Return a fitted scaler of scikit-learn as ours, (x - mean) / scale."""
    name, n = type(scaler).__name__, scaler.n_features_in_
    if not type(scaler).__module__.startswith("sklearn.preprocessing"):
        name = None
    zeros, ones = np.zeros(n), np.ones(n)
    if name == "StandardScaler":
        return Scaler(zeros if not scaler.with_mean else scaler.mean_,
                      ones if not scaler.with_std else scaler.scale_)
    if name == "RobustScaler":
        return Scaler(zeros if not scaler.with_centering else scaler.center_,
                      ones if not scaler.with_scaling else scaler.scale_)
    if name == "MaxAbsScaler":
        return Scaler(zeros, scaler.scale_)
    if name == "MinMaxScaler":  # x scale_ + min_
        limits = scaler.feature_range if scaler.clip else None
        return Scaler(-scaler.min_ / scaler.scale_, 1 / scaler.scale_, limits)
    raise TypeError(
        f"{type(scaler).__name__} in the pipeline cannot be saved; StandardScaler, MinMaxScaler, "
        "MaxAbsScaler and RobustScaler can. Others: export the pipeline to ONNX"
    )
