"""A `TabularModel` as plain values and arrays, for files and pickles, and back."""

import numpy as np

from fastnn.core.validation import check_count, check_real
from fastnn.files.model_parts import net_settings, read_spec
from fastnn.mlp import MLP
from fastnn.network.parameters import ParameterLayout
from fastnn.tables.preparation import Preparation
from fastnn.tables.schema import Inputs, Schema
from fastnn.tabular.encoding import Encoding, arrays_under
from fastnn.tabular.networks import Ensemble
from fastnn.tabular.reference import Reference
from fastnn.tabular.task import Task

__all__ = ["from_parts", "to_parts"]

KEYS = {"schema", "names", "task", "encodings", "parts", "networks", "weights", "constant",
        "reference", "preparation", "targets"}


def to_parts(model):
    """Return the settings (plain values) and the arrays, by name, of a model without its labels."""
    ensemble, arrays = model.ensemble, {}
    encodings, parts = [], []
    for part in ensemble.parts:
        if not any(part.encoding is one for one in encodings):
            encodings.append(part.encoding)
        at = next(i for i, one in enumerate(encodings) if one is part.encoding)
        parts.append([at, len(part.networks)])
    for i, encoding in enumerate(encodings):
        arrays |= {f"encodings.{i}.{name}": array for name, array in encoding.arrays().items()}
    for i, net in enumerate(ensemble.networks):
        arrays |= {f"networks.{i}.{name}": array for name, array in net.named_parameters().items()}
    settings = {
        "schema": model.schema.settings(), "names": list(model.names),
        "targets": list(model.targets),
        "task": model.task.settings(),
        "encodings": [one.settings() for one in encodings], "parts": parts,
        "networks": [net_settings(net) for net in ensemble.networks],
        "weights": ensemble.weights.tolist(),
        "constant": None if ensemble.constant is None else ensemble.constant.tolist(),
        "reference": None if model.reference is None else model.reference.settings(),
        "preparation": None if model.preparation is None else model.preparation.settings()}
    if model.reference is not None:
        arrays |= {f"reference.{name}": array for name, array in model.reference.arrays().items()}
    return settings, arrays


def from_parts(settings, arrays, classes):
    """Return what a `TabularModel` is made of: schema, task, ensemble, names, classes,
    reference, preparation.

    Parameters
    ----------
    settings, arrays
        Of `to_parts`.
    classes : array (n_classes,) or None

    Raises
    ------
    ValueError, TypeError, KeyError
        When they are not those of a model.
    """
    if settings.keys() != KEYS:
        odd = min(settings.keys() ^ KEYS)
        raise ValueError(f"setting {odd!r} is {'unknown' if odd in settings else 'missing'}")
    task = Task.from_settings(settings["task"])
    if (classes is None) != (task.kind == "regression"):
        raise ValueError(f"classes do not fit a task of kind {task.kind!r}")
    n_classes = 0 if classes is None else len(classes)
    if task.kind != "regression" and n_classes not in (
            (1, 2) if task.kind == "binary" else (task.n_out,)):
        raise ValueError(f"{n_classes} classes do not fit {task.n_out} outputs")
    schema = Schema.from_settings(settings["schema"])
    encodings = [Encoding.from_parts(one, arrays_under(arrays, f"encodings.{i}"))
                 for i, one in enumerate(settings["encodings"])]
    for one in encodings:
        _check_encoding(one, schema)
    networks = [_network(one, arrays_under(arrays, f"networks.{i}"))
                for i, one in enumerate(settings["networks"])]
    parts, first = [], 0
    for at, count in settings["parts"]:
        check_count("parts", count)
        some = networks[first:first + count]
        first += count
        if not 0 <= at < len(encodings) or any(net.sizes[0] != encodings[at].n_inputs
                                               or net.sizes[-1] != task.n_out for net in some):
            raise ValueError("networks and encodings do not fit")
        parts.append((encodings[at], some))
    if first != len(networks) or len(settings["weights"]) != len(networks):
        raise ValueError("parts, networks and weights do not fit")
    weights = [check_real("weights", one) for one in settings["weights"]]
    if networks and not (min(weights) >= 0 and 0 < sum(weights) < np.inf):
        raise ValueError("weights must be >= 0, and not all 0")
    constant = settings["constant"]
    if (constant is None) != bool(networks) or (constant is not None and
                                                len(constant) != task.n_out):
        raise ValueError("constant must be that of each output, where there is no network")
    if constant is not None:
        constant = [check_real("constant", one) for one in constant]
    ensemble = Ensemble(parts, weights if networks else None, constant=constant)
    reference = settings["reference"]
    if reference is not None:
        reference = Reference.from_parts(reference, arrays_under(arrays, "reference"), Inputs,
                                         len(networks), task)
        p, q = len(schema.number_names), len(schema.category_names)
        inputs, tops = reference.inputs, np.array(schema.category_sizes, int) + 1
        if inputs.numbers.shape[1] != p or inputs.codes.shape[1] != q or (
                inputs.codes < 0).any() or (inputs.codes > tops).any():
            raise ValueError("the rows of reference do not fit the schema")
    names = settings["names"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or (
            len(set(names)) < len(names)) or (
            not {column.name for column in schema.columns} <= set(names)):
        raise ValueError("names must hold those of the schema")
    preparation = settings["preparation"]
    if preparation is not None:
        preparation = Preparation.from_settings(preparation)
        if preparation.n_inputs != len(names):
            raise ValueError("the preparation makes other columns than the schema knows")
    targets = settings["targets"]
    if not isinstance(targets, list) or not all(isinstance(name, str) for name in targets):
        raise ValueError("targets must be names")
    return schema, task, ensemble, names, classes, reference, preparation, targets


def _check_encoding(encoding, schema):
    """Raise ValueError where an encoding is not of the inputs of a schema."""
    sizes = schema.category_sizes
    if [len(one) for one in encoding.maps] != [size + 2 for size in sizes]:
        raise ValueError("an encoding does not fit the categories of the schema")
    codes = np.array([sizes], np.int32).reshape(1, len(sizes))
    n = len(schema.number_names)
    if encoding.statistics is not None:
        n += encoding.statistics.transform(codes).shape[1]
    if encoding.forest is not None:
        n += encoding.forest.n_numbers
    if len(encoding.edges) != n:
        raise ValueError("an encoding does not fit the numbers of the schema")


def _network(settings, arrays):
    spec, initializer = read_spec(settings)
    blocks = ParameterLayout(spec).blocks  # before anything is made of the size that is said
    if {block.name: (spec.dtype, block.shape) for block in blocks} != {
            name: (array.dtype.name, array.shape) for name, array in arrays.items()}:
        raise ValueError("arrays of a network do not fit its layers")
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise ValueError("a network holds values that are not finite")
    net = MLP.of(spec.layers, n_in=spec.n_in, output=spec.output, dtype=spec.dtype,
                 initializer="zeros", random_state=0)
    net.initializer = initializer
    net.set_weights([arrays[name] for name in net.named_parameters()])
    return net
