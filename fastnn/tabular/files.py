"""A `TabularModel` in a model file."""

import json

import numpy as np

from fastnn.files import container, model_parts
from fastnn.files.plain import labels_from_plain, labels_to_plain
from fastnn.tabular.saved import from_parts, to_parts

__all__ = ["read", "write"]

MOST_CLASSES = 1 << 16


def write(path, model, max_bytes=None):
    """Write a model; see `TabularModel.save`."""
    settings, arrays = to_parts(model)
    text = container.canonical(settings).encode()
    if len(text) > model_parts.MAX_TEXT:
        raise ValueError(f"the settings of the model take {len(text)} bytes, a file has room for "
                         f"{model_parts.MAX_TEXT}: columns have too many categories")
    arrays = {**arrays, "settings": np.frombuffer(text, np.uint8)}
    classes = None if model.classes is None else labels_to_plain(model.classes)
    stated = {"arrays": {name: [array.dtype.name, list(array.shape)]
                         for name, array in arrays.items()}, "classes": classes}
    container.write(path, arrays, {"tabular": stated}, needs=("tabular",), max_bytes=max_bytes)


def read(arrays, settings, kind):
    """Return the model of a file's arrays and settings, an object of the class ``kind``.

    Raises
    ------
    ValueError, TypeError, KeyError, ...
        When they are not those of a model.
    """
    text = arrays.pop("settings")
    if len(text) > model_parts.MAX_TEXT:
        raise ValueError(f"settings of {len(text)} bytes; a file holds {model_parts.MAX_TEXT}")
    classes = settings["tabular"]["classes"]
    classes = None if classes is None else labels_from_plain(classes, MOST_CLASSES)
    return kind(*from_parts(json.loads(text.tobytes()), arrays, classes))
