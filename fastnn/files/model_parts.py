"""What a model file holds: its settings and its arrays, without the classes of models.

==============  ==================================================================================
needs           names of what a reader must understand; missing where that is nothing new
net             sizes, activations, output, dtype, dropout, initializer of a chain of dense layers;
                spec (see `NetworkSpec.to_plain`) and initializer of another network
task            what the model predicts, see `Predictor`
classes         labels: {"dtype": name, "values": list}
feature_names   names of the inputs
limits          (low, high) of the scaled inputs, None where there is none on that side; mean and
                scale are arrays beside the weights
table           how a data frame becomes inputs, see `TableEncoder`, or `Preparation`
encoder         how many bytes the settings of an `Encoder` take, which are JSON in the array
                ``encoder``
estimator       class, params and fitted of an estimator, see `BaseMLP`
tabular         of a `TabularModel`, which has none of the others: classes, and the arrays with
                dtypes and shapes; the rest is JSON in the array ``settings``
history         of an estimator that was trained for long: how many numbers each of the curves has
                that are arrays (history.loss_curve_, ...) beside the weights
==============  ==================================================================================
"""

import json
import math

import numpy as np

from fastnn.core import validation
from fastnn.core.imports import imported
from fastnn.files import container
from fastnn.files.plain import labels_from_plain, labels_to_plain, to_plain
from fastnn.network.parameters import ParameterLayout
from fastnn.network.spec import NetworkSpec, flat

MAX_LAYERS = 1000
MAX_ARRAYS = 1 << 14  # of a `TabularModel`
MAX_TEXT, MAX_TEXT_GROUPS = 1 << 26, 1 << 19  # bytes of its settings, and lists in them
CHAIN = ("sizes", "activations", "output", "dtype", "dropout", "initializer")
OTHER = ("spec", "initializer")
KEYS = {"needs", "net", "task", "classes", "feature_names", "limits", "table", "estimator",
        "history", "encoder"}
CURVES = ("loss_curve_", "validation_scores_", "validation_loss_curve_")
SHORT_CURVE = 1000  # epochs of which a curve is written into the header, as it always was
MAX_CURVE = 1 << 24
# what reading settings that mean nothing may raise
ERRORS = (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError)


def write(path, predictor, estimator=None, max_bytes=None):
    """Write a predictor, and what makes an estimator of it.

    Parameters
    ----------
    path : str or path
    predictor : Predictor
    estimator : dict or None, default=None
        Plain values: ``class``, ``params`` and ``fitted``.
    max_bytes : int or None, default=None
        A larger file is not written; None: what a reader takes by default.
    """
    check_weights(predictor.net)
    arrays, settings = parts(predictor, estimator)
    container.write(path, arrays, settings, needs=_needs(predictor, settings),
                    max_bytes=max_bytes)
    imported("fastnn.files.kinds").hint_of_name(path)


def check_weights(net):
    """Raise ValueError where a reader would refuse the parameters of a network; a file of it may
    take the place of a good one."""
    try:
        net._layout.check(net.parameters)
    except ValueError as error:
        raise ValueError(f"the model cannot be saved: {error}") from None


def check_room(predictor):
    """Raise ValueError where a file has no room for a model such as this, before it is trained."""
    arrays, settings = parts(predictor)
    container.prepared(arrays, settings, _needs(predictor, settings), hashed=False)


def _needs(predictor, settings):
    needs = {*predictor.net.spec.needs, *({"history", "encoder"} & settings.keys())}
    if None in (settings.get("limits") or ()):
        needs.add("open_limits")
    table = settings.get("table")
    if table is not None and table.get("kind") == "preparation":
        needs.add("preparation")
    elif table is not None and any(map(_has_format, table["columns"])):
        needs.add("table_formats")
    return sorted(needs)


def _has_format(column):
    """Whether the settings of a column of a table say how its text is written."""
    return not column.keys().isdisjoint((
        "decimal", "thousands", "unit", "day_first", "knows_order")) or (
            column["kind"] != "number" and "missing_words" in column)


def parts(predictor, estimator=None):
    """Return arrays and settings of a predictor's file."""
    settings = {"net": net_settings(predictor.net), "task": predictor.task}
    arrays = predictor.net.named_parameters()
    if predictor.classes_ is not None:
        settings["classes"] = labels_to_plain(predictor.classes_)
    if predictor.feature_names_in_ is not None:
        settings["feature_names"] = list(predictor.feature_names_in_)
        for name in settings["feature_names"]:
            if not isinstance(name, str):
                raise ValueError(f"the model cannot be saved: feature_names must be strings, not "
                                 f"{name!r}; give [str(name) for name in names]")
    if predictor.scaler is not None:
        arrays["input.mean"], arrays["input.scale"] = predictor.scaler.mean, predictor.scaler.scale
        settings["limits"] = _plain_limits(predictor.scaler.limits)
    if getattr(predictor.table, "makes_codes", False):
        arrays["encoder"] = as_text(predictor.table.settings(), "encoder")
        settings["encoder"] = len(arrays["encoder"])
    elif predictor.table is not None:
        settings["table"] = predictor.table.settings()
    if estimator is not None:
        fitted = dict(estimator["fitted"])
        curves = {name: fitted.pop(name) for name in CURVES
                  if len(fitted.get(name) or ()) > SHORT_CURVE}
        if curves:
            settings["history"] = {name: len(values) for name, values in curves.items()}
            arrays |= {f"history.{name}": np.array(values, np.float64)
                       for name, values in curves.items()}
        settings["estimator"] = {key: to_plain(value)
                                 for key, value in {**estimator, "fitted": fitted}.items()}
    check_readable(settings)
    return arrays, settings


def as_text(settings, whose):
    """Return settings that may be long, such as categories, as an array of bytes."""
    text = container.canonical(settings).encode()
    excess = text_excess(text)
    if excess:
        raise ValueError(f"the settings of the {whose} take {excess}: columns have too many "
                         "categories")
    return np.frombuffer(text, np.uint8)


def from_text(array):
    """Return the settings of `as_text`; refuse those that would take long to be parsed."""
    text = array.tobytes()
    if excess := text_excess(text):
        raise ValueError(f"settings of {excess}")
    return json.loads(text, parse_constant=_refuse_constant)


def text_excess(text):
    """Return what of a text is too much to be parsed, "" for nothing. Lists are dear: 60 MB of
    empty ones take 1.4 GB, and a long time."""
    for number, limit, noun in ((len(text), MAX_TEXT, "bytes"),
                                (text.count(b"{") + text.count(b"["), MAX_TEXT_GROUPS, "lists")):
        if number > limit:
            return f"{number} {noun}, a file has room for {limit}"
    return ""


def _refuse_constant(name):
    raise ValueError(f"{name} among the settings, which no model writes")


def take_encoder(arrays):
    """Return the settings of the encoder, out of the arrays."""
    return from_text(arrays.pop("encoder"))


def _plain_limits(limits):
    """Return limits of a scaler as JSON has them: without infinity."""
    if limits is None:
        return None
    return tuple(limit if math.isfinite(limit) else None for limit in limits)


def net_settings(net):
    """Return what the settings of a file say of a network; of a chain of dense layers as they
    always have."""
    spec = net.spec
    spec.refuse_functions("a model file")
    if not spec.is_chain:
        return {"spec": spec.to_plain(), "initializer": net.initializer}
    return {"sizes": spec.sizes, "activations": spec.activations, "output": spec.output,
            "dtype": spec.dtype, "dropout": spec.dropout, "initializer": net.initializer}


def read_spec(net, newer=False):
    """Return the `NetworkSpec` and the initializer that the settings say.

    Parameters
    ----------
    net : dict
    newer : bool, default=False
        Whether a newer version wrote them, which may say more.
    """
    if not isinstance(net, dict):
        raise ValueError("net must be a dictionary")
    if "spec" in net:
        net = known(net, OTHER, newer)
        spec = NetworkSpec.from_plain(net["spec"])
    else:
        net = known(net, CHAIN, newer)
        sizes = net["sizes"]
        if len(sizes) > MAX_LAYERS + 1:
            raise ValueError(f"{len(sizes) - 1} layers; a file holds at most {MAX_LAYERS}")
        spec = NetworkSpec.chain(sizes, net["activations"], net["output"], dtype=net["dtype"],
                                 dropout=net["dropout"])
        if spec.sizes != tuple(sizes):
            raise ValueError("sizes must be whole numbers")
    if sum(1 for _ in flat(spec.layers)) > 4 * MAX_LAYERS:
        raise ValueError(f"more than {4 * MAX_LAYERS} layers")
    return spec, net["initializer"]


def expected_arrays(settings):
    """Return the arrays that belong to a model of these settings: {name: (dtype name, shape)}."""
    if "progress" in settings:
        raise container.ModelFormatError("is a checkpoint, not a model: "
                                         "MLP.fit(..., checkpoint=path) goes on from it")
    if "fits" in settings:
        raise container.ModelFormatError("is a checkpoint of several networks, not a model: the "
                                         "fit that wrote it goes on from it, with checkpoint=path")
    if "tabular" in settings:
        return _tabular_arrays(settings)
    spec, _ = read_spec(settings["net"], newer=True)
    expected = {block.name: (spec.dtype, block.shape) for block in ParameterLayout(spec).blocks}
    if "limits" in settings:
        expected["input.mean"] = expected["input.scale"] = "float64", (spec.n_in,)
    if "encoder" in settings:
        if "encoder" not in settings.get("needs", ()) or not (
                {"limits", "table", "feature_names"}.isdisjoint(settings)):
            raise ValueError("encoder must be needed, with neither scaler nor table beside it")
        if validation.check_count("encoder", settings["encoder"]) > MAX_TEXT:
            raise ValueError(f"encoder={settings['encoder']} must be <= {MAX_TEXT}")
        expected["encoder"] = "uint8", (settings["encoder"],)
    if "history" in settings:
        if "history" not in settings.get("needs", ()) or "estimator" not in settings:
            raise ValueError("history must be needed, and be that of an estimator")
        if not isinstance(settings["history"], dict):
            raise ValueError("history must be a dictionary")
        for name, length in settings["history"].items():
            validation.check_name("history", name, CURVES)
            validation.check_count(f"history.{name}", length)
            if length > MAX_CURVE:
                raise ValueError(f"history.{name}={length} must be <= {MAX_CURVE}")
            expected[f"history.{name}"] = "float64", (length,)
    return expected


def _tabular_arrays(settings):
    """Return the arrays that a `TabularModel` says it has."""
    if "tabular" not in settings.get("needs", ()) or settings.keys() != {"needs", "tabular"}:
        raise ValueError("tabular must be needed, and nothing else be there")
    stated = settings["tabular"]
    if not isinstance(stated, dict) or stated.keys() != {"arrays", "classes"}:
        raise ValueError("tabular must hold arrays and classes")
    if not isinstance(stated["arrays"], dict):
        raise ValueError("arrays must be a dictionary")
    if len(stated["arrays"]) > MAX_ARRAYS:
        raise ValueError(f"{len(stated['arrays'])} arrays; a file holds at most {MAX_ARRAYS}")
    expected = {}
    for name, (dtype, shape) in stated["arrays"].items():
        validation.check_name("dtype", dtype, tuple(container.DTYPES))
        for length in shape:
            validation.check_count("shape", length, minimum=0)
        expected[name] = dtype, tuple(shape)
    if expected.get("settings", ("", ()))[0] != "uint8" or len(expected["settings"][1]) != 1:
        raise ValueError("settings must be a text")
    return expected


def take_history(arrays, settings):
    """Move the curves that are arrays to where the settings of a short history have them."""
    for name in settings.pop("history", ()):
        curve = arrays.pop(f"history.{name}").tolist()
        pairs = settings["estimator"]["fitted"]["dict"]
        if name in dict(pairs):
            raise ValueError(f"{name} stands twice")
        pairs.append([name, curve])


def known(plain, keys, newer):
    """Return settings without those that a newer minor version may have added."""
    unknown = sorted(plain.keys() - set(keys))
    if unknown and not newer:
        raise ValueError(f"unknown setting {unknown[0]!r}")
    return {key: value for key, value in plain.items() if key in keys}


def read_labels_and_names(settings, n_out):
    """Return classes and feature names that the settings say, each None where they do not."""
    classes, names = None, settings.get("feature_names")
    if "classes" in settings:
        classes = labels_from_plain(settings["classes"], max(2, n_out))
    if names is not None and not isinstance(names, list):
        raise ValueError("feature_names must be a list")
    if names is not None and not all(isinstance(name, str) for name in names):
        raise ValueError("feature_names must be strings")
    return classes, names


def check_readable(settings):
    """Raise where a reader would refuse the settings."""
    settings = json.loads(container.canonical(settings))
    settings["needs"] = ["encoder", "history"]
    try:
        expected_arrays(settings)
        read_labels_and_names(settings, read_spec(settings["net"])[0].n_out)
    except ERRORS as error:
        raise ValueError(f"the model cannot be saved: {error}") from error
