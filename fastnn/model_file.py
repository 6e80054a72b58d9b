"""Models to files and back: what the settings of a file (io.py) say of a model.

==============  ==================================================================================
net             sizes, activations, output, dtype, dropout, initializer of the `MLP`
task            what the model predicts, see `Predictor`
classes         labels: {"dtype": name, "values": list}
feature_names   names of the inputs
limits          (low, high) of the scaled inputs; mean and scale are arrays beside the weights
table           how a data frame becomes inputs, see `TableEncoder`
estimator       class, params and fitted of an estimator, see `BaseMLP`
==============  ==================================================================================
"""

import json
import os
from itertools import pairwise

import numpy as np

from fastnn import io, validation
from fastnn.initializers import INITIALIZERS
from fastnn.mlp import MLP
from fastnn.predictor import Predictor, Scaler

__all__ = ["describe", "load", "save"]

MAX_LAYERS = 1000
MAX_LABELS_SIZE = 1 << 20  # characters of a NumPy array of labels, in which all are as wide
NET = ("sizes", "activations", "output", "dtype", "dropout", "initializer")
KEYS = {"net", "task", "classes", "feature_names", "limits", "table", "estimator"}
LABELS = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
          "float32", "float64")
# what reading settings that mean nothing may raise
ERRORS = (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError)


def save(path, predictor, estimator=None):
    """Writes a predictor, and what makes an estimator of it.

    Parameters
    ----------
    path : str or path
    predictor : Predictor
    estimator : dict or None
        Plain values: ``class``, ``params`` and ``fitted``.
    """
    net = predictor.net
    settings = {
        "net": {
            "sizes": net.sizes,
            "activations": net.activations,
            "output": net.output,
            "dtype": net.dtype.name,
            "dropout": net.dropout,
            "initializer": net.initializer,
        },
        "task": predictor.task,
    }
    arrays = {}
    for i, (w, b) in enumerate(net._pairs()):
        arrays[f"layers.{i}.weight"], arrays[f"layers.{i}.bias"] = w, b
    if predictor.classes_ is not None:
        settings["classes"] = _labels_to_plain(predictor.classes_)
    if predictor.feature_names_in_ is not None:
        settings["feature_names"] = list(predictor.feature_names_in_)
    if predictor.scaler is not None:
        arrays["input.mean"], arrays["input.scale"] = predictor.scaler.mean, predictor.scaler.scale
        settings["limits"] = predictor.scaler.limits
    if predictor.table is not None:
        settings["table"] = predictor.table.settings()
    if estimator is not None:
        settings["estimator"] = {key: to_plain(value) for key, value in estimator.items()}
    io.check_place(path)
    _check_settings(arrays, settings)
    io.write(path, arrays, settings)


def _check_settings(arrays, settings):
    """Nothing is written that could not be loaded."""
    settings = json.loads(io.canonical(settings))
    try:
        _expected(settings)
        model = _predictor(dict(arrays), settings, None)
        if "estimator" in settings:
            _estimator(model, settings["estimator"])
    except ERRORS as error:
        raise ValueError(f"the model cannot be saved: {error}") from error


def load(path, *, predictor=False, max_bytes=io.MAX_BYTES):
    """The model that `save` of an `MLP`, of an estimator or of a `Predictor` wrote.

    Parameters
    ----------
    path : str or path
    predictor : bool, default=False
        Whether to return a `Predictor` in any case, so that scikit-learn is not imported.
    max_bytes : int, default=2**30
        Larger files are refused.

    Returns
    -------
    MLP, MLPClassifier, MLPRegressor or Predictor
        What was saved; a `Predictor` for a file with a scaler or class names of its own, and for an
        estimator where there is no scikit-learn.

    Raises
    ------
    ModelFormatError
        When the file is not such a file, was changed, or needs a newer fastnn.
    FileNotFoundError
    """
    model, settings, _ = describe(path, max_bytes)
    if predictor:
        return model
    plain = model.scaler is None and model.table is None
    if plain and "estimator" in settings:
        try:
            return _estimator(model, settings["estimator"])
        except ERRORS as error:
            raise _not_a_model(path, error) from None
    if plain and model.task == "outputs" and model.feature_names_in_ is None:
        return model.net
    return model


def describe(path, max_bytes=io.MAX_BYTES):
    """The predictor of a file, its settings, and versions and checksum of the file."""
    arrays, settings, header = io.read(path, _expected, max_bytes)
    try:
        return _predictor(arrays, settings, header), settings, header
    except ERRORS as error:
        raise _not_a_model(path, error) from None


def _not_a_model(path, error):
    return io.ModelFormatError(f"{os.fspath(path)!r} is not a model of fastnn: {error}")


def _expected(settings):
    """The arrays that belong to a model of these settings."""
    if "progress" in settings:
        raise io.ModelFormatError("is a checkpoint, not a model: MLP.fit(..., checkpoint=path) "
                                  "goes on from it")
    net = settings["net"]
    dtype = validation.check_name("dtype", net["dtype"], tuple(io.DTYPES))
    if len(net["sizes"]) > MAX_LAYERS + 1:
        raise ValueError(f"{len(net['sizes']) - 1} layers; a file holds at most {MAX_LAYERS}")
    expected = {}
    for i, (n_in, n_out) in enumerate(pairwise(validation.check_sizes(net["sizes"]))):
        expected[f"layers.{i}.weight"] = dtype, (n_in, n_out)
        expected[f"layers.{i}.bias"] = dtype, (n_out,)
    if "limits" in settings:
        expected["input.mean"] = expected["input.scale"] = "float64", (net["sizes"][0],)
    return expected


def _known(plain, keys, header):
    """Settings without those that a newer minor version may have added."""
    unknown = sorted(plain.keys() - set(keys))
    if unknown and not (header and io.is_newer(header)):
        raise ValueError(f"unknown setting {unknown[0]!r}")
    return {key: value for key, value in plain.items() if key in keys}


def _predictor(arrays, settings, header):
    settings = _known(settings, KEYS, header)
    scaler = table = classes = None
    if "limits" in settings:
        limits = _list_or_none("limits", settings["limits"])
        scaler = Scaler(arrays.pop("input.mean"), arrays.pop("input.scale"), limits)
    if "table" in settings:
        from fastnn.table import TableEncoder

        table = TableEncoder.from_settings(settings["table"])
    net = _known(settings["net"], NET, header)
    if "classes" in settings:
        classes = _labels_from_plain(settings["classes"], max(2, net["sizes"][-1]))
    names = _list_or_none("feature_names", settings.get("feature_names"))
    if names is not None and not all(isinstance(name, str) for name in names):
        raise ValueError("feature_names must be strings")
    initializer = validation.check_name(
        "initializer", net.pop("initializer"), tuple(INITIALIZERS))
    net = MLP(net.pop("sizes"), net.pop("activations"), net.pop("output"), random_state=0,
              initializer="zeros", **net)
    net.initializer = initializer
    net.set_weights(list(arrays.values()))
    return Predictor(net, settings["task"], scaler=scaler, feature_names=names, table=table,
                     classes=classes)


def _list_or_none(name, value):
    if value is not None and not isinstance(value, list):
        raise ValueError(f"{name} must be a list")
    return value


def _estimator(model, parts):
    try:
        from fastnn import estimators
    except ImportError:  # no scikit-learn, or one that is too old
        return model
    if not isinstance(parts, dict) or parts.keys() != {"class", "params", "fitted"}:
        raise ValueError("estimator must hold class, params and fitted")
    name = validation.check_name("class", parts["class"], tuple(estimators.__all__))
    return getattr(estimators, name)._from_file(
        model, from_plain(parts["params"], tuple), from_plain(parts["fitted"], list))


# ---- values that JSON has not ----

def _labels_to_plain(labels):
    if labels.dtype.kind == "U" or all(isinstance(label, str) for label in labels):
        return {"dtype": "object" if labels.dtype.kind == "O" else "str",
                "values": [str(label) for label in labels]}
    if labels.dtype.name not in LABELS:
        raise TypeError(f"classes of dtype {labels.dtype} cannot be saved, must be strings, "
                        "numbers or booleans")
    return {"dtype": labels.dtype.name, "values": to_plain(labels.tolist())}


def _labels_from_plain(plain, most):
    kind, values = plain["dtype"], from_plain(plain["values"], list)
    if not isinstance(values, list) or len(values) > most:
        raise ValueError(f"classes must be a list of at most {most}")
    if kind in ("str", "object"):
        if not all(isinstance(value, str) for value in values):
            raise ValueError("classes must be strings")
        if len(values) * max(map(len, values), default=0) > MAX_LABELS_SIZE:
            raise ValueError(f"classes of more than {MAX_LABELS_SIZE} characters, all as wide")
        labels = np.array(values, dtype=kind)
    else:
        if not all(isinstance(value, (bool, int, float)) for value in values):
            raise ValueError("classes must be numbers")
        labels = np.array(values, dtype=validation.check_name("dtype of classes", kind, LABELS))
    if labels.tolist() != values or len(set(values)) != len(values):
        raise ValueError("classes must be different, and values of their dtype")
    return labels


def to_plain(value):
    """Settings as JSON has them: {"float": name} for NaN and infinity, {"dict": pairs}."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else {"float": str(value)}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [to_plain(item) for item in value]
    if isinstance(value, dict):
        return {"dict": [[to_plain(key), to_plain(item)] for key, item in value.items()]}
    if isinstance(value, type) and issubclass(value, np.generic):
        return np.dtype(value).name
    raise TypeError(f"a value of type {type(value).__name__} cannot be saved: {value!r}")


def from_plain(plain, sequence):
    """What `to_plain` was given, lists and tuples as ``sequence``."""
    if isinstance(plain, list):
        return sequence(from_plain(item, sequence) for item in plain)
    if isinstance(plain, dict):
        (kind, content), = plain.items()
        if kind == "float" and content in ("inf", "-inf", "nan"):
            return float(content)
        if kind == "dict":
            return {key: from_plain(item, sequence) for key, item in content}
        raise ValueError(f"unknown kind of value {kind!r}")
    return plain
