"""Estimators of scikit-learn as ours, and ours as its."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

import numpy as np

from fastnn.files.plain import from_plain, to_plain
from fastnn.interop.chain import Chain
from fastnn.mlp import MLP
from fastnn.prediction.predictor import Predictor, check_exported

if TYPE_CHECKING:
    from typing import Any

HISTORY = ("n_iter_", "t_", "loss_", "best_loss_", "loss_curve_", "validation_scores_",
           "best_validation_score_", "_no_improvement_count")
SOLVERS = ("lbfgs", "sgd", "adam")  # that scikit-learn has


def from_sklearn(model: Any) -> Any:
    """Our estimator with parameters, weights and history of scikit-learn's.

    Parameters
    ----------
    model : sklearn.neural_network.MLPClassifier or MLPRegressor
        Fitted.

    Returns
    -------
    MLPClassifier or MLPRegressor
        Of fastnn. Training goes on with a fresh optimizer.

    Raises
    ------
    TypeError
        When it is something else.
    sklearn.exceptions.NotFittedError
    """
    from fastnn import estimators
    from fastnn.estimators.arrays import numbers

    name = type(model).__name__
    if name not in estimators.__all__ or not type(model).__module__.startswith("sklearn."):
        raise TypeError(f"model={name} must be an MLPClassifier or MLPRegressor of scikit-learn"
                        f"{_hint(model)}")
    _check_fitted(model)
    output = "sigmoid" if model.out_activation_ == "logistic" else model.out_activation_
    weights = numbers("coefs_", model.coefs_, 2)
    biases = numbers("intercepts_", model.intercepts_, 1)
    if len(weights) != len(biases):
        raise ValueError(f"coefs_ has {len(weights)} arrays, intercepts_ {len(biases)}: must have "
                         "one each for each layer")
    activations = [model.activation] * (len(weights) - 1) + [output]
    chain = Chain()
    for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
        chain.dense(w, b, f"layer {i}")
        chain.activation(activations[i], f"layer {i}")
    classes = getattr(model, "classes_", None)
    task = "regression" if classes is None else "classification"
    fitted = {name: from_plain(to_plain(vars(model)[name]), list)  # of NumPy numbers, too
              for name in HISTORY if name in vars(model)}
    if classes is not None:
        fitted["_sparse_labels"] = bool(getattr(model._label_binarizer, "sparse_input_", False))
        if output == "sigmoid" and model.n_outputs_ > 1:
            task = "multilabel"
    predictor = Predictor(chain.network("the model"), task, classes=classes,
                          feature_names=getattr(model, "feature_names_in_", None))
    return getattr(estimators, name)._from_file(predictor, model.get_params(), fitted)


def to_sklearn(model: Any) -> Any:
    """Return scikit-learn's estimator with parameters, weights and history of ours.

    Parameters
    ----------
    model : MLPClassifier, MLPRegressor or MLP
        Fitted. An `MLP` becomes a classifier of 0, 1, ... where its output is softmax or sigmoid.

    Returns
    -------
    sklearn.neural_network.MLPClassifier or MLPRegressor
        What only fastnn has (`n_threads`, `dtype`, `dropout`, `class_weight`, solvers of its own)
        is left out: it says how to train. Training goes on with a fresh optimizer.

    Raises
    ------
    TypeError
        When it is something else.
    ValueError
        When scikit-learn does not have the activation, the output, or the layers.
    """
    from fastnn.estimators import MLPClassifier, MLPRegressor  # says what to install, if need be

    from sklearn import neural_network  # isort: skip
    from sklearn.preprocessing import LabelBinarizer  # isort: skip

    if isinstance(model, MLP):
        if not model.spec.is_chain:
            raise ValueError(f"{model!r} is no chain of Dense layers, of which each has an "
                             "activation; scikit-learn has nothing else")
        model = _estimator_of(model)
    if not isinstance(model, (MLPClassifier, MLPRegressor)):
        raise TypeError(f"model={type(model).__name__} must be an estimator or an MLP of fastnn"
                        f"{_hint(model)}")
    _check_fitted(model)
    net = check_exported(model._predictor(), "an estimator of scikit-learn").net
    if not net.spec.is_chain:
        members = "" if model.members is None else f", members={model.members}"
        raise ValueError(f"the model has norm={model.norm!r}, residual={model.residual}{members}; "
                         "scikit-learn has neither")
    names = [model.activation] if isinstance(model.activation, str) else model.activation
    known = ("identity", "logistic", "tanh", "relu")
    names = {"logistic" if name == "sigmoid" else name for name in names} or {"identity"}
    if len(names) > 1 or not names <= set(known):
        raise ValueError(f"activation={model.activation!r}; scikit-learn has one of "
                         f"{', '.join(known)} for all layers")
    other = getattr(neural_network, type(model).__name__)()
    params = model.get_params()
    params["activation"], = names
    if not isinstance(params["solver"], str) or params["solver"] not in SOLVERS:
        params["solver"] = "adam"
    unset = object()
    for name in other.get_params():
        if params.get(name, unset) is not unset:
            setattr(other, name, params[name])
        elif name in params:
            setattr(other, name, None)
    if isinstance(model, MLPRegressor):  # it has the loss of the output alone
        other.loss = "poisson" if model.out_activation_ == "exp" else "squared_error"
    for name in (*HISTORY, "n_features_in_", "feature_names_in_", "n_layers_", "n_outputs_",
                 "out_activation_", "classes_"):
        if name in vars(model):
            setattr(other, name, copy(vars(model)[name]))  # scikit-learn appends to the lists
    other.coefs_ = [np.array(w) for w in model.coefs_]
    other.intercepts_ = [np.array(b) for b in model.intercepts_]
    if model.early_stopping:  # what a warm start goes back to where it gets no better
        other._best_coefs = [w.copy() for w in other.coefs_]
        other._best_intercepts = [b.copy() for b in other.intercepts_]
    if isinstance(model, MLPClassifier):
        labels = model.classes_
        if model._is_multilabel():
            labels = np.eye(len(labels), dtype=int)
        other._label_binarizer = LabelBinarizer().fit(labels)
        other._label_binarizer.sparse_input_ = bool(vars(model).get("_sparse_labels"))
    return other


def _estimator_of(net):
    """Return an estimator with the weights of an `MLP`."""
    from fastnn.estimators import MLPClassifier, MLPRegressor

    net.spec.refuse_functions("an estimator of scikit-learn")
    n_out = net.sizes[-1]
    params = {"hidden_layer_sizes": net.sizes[1:-1], "activation": list(net.activations)}
    if net.output in ("softmax", "sigmoid"):
        labels = net.output == "sigmoid" and n_out > 1
        classes = np.arange(2 if n_out == 1 else n_out)
        predictor = Predictor(net, "multilabel" if labels else "classification", classes=classes)
        return MLPClassifier._from_file(predictor, params, {"_sparse_labels": False})
    if net.output not in ("identity", "exp"):
        raise ValueError(f"output={net.output!r}; scikit-learn has identity, exp, sigmoid and "
                         "softmax")
    if net.output == "exp":
        params["loss"] = "poisson"
    return MLPRegressor._from_file(Predictor(net, "regression"), params, {})


def _hint(model):
    return "; of a pipeline give its last step, pipe[-1]" if hasattr(model, "named_steps") else ""


def _check_fitted(model):
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(model, ("coefs_", "intercepts_", "n_outputs_", "out_activation_"))
