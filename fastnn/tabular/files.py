"""A `TabularModel` in a model file; the checkpoint of its networks."""

import numpy as np

from fastnn.core.imports import imported
from fastnn.files import container, model_parts
from fastnn.files.plain import labels_from_plain, labels_to_plain
from fastnn.tabular.saved import from_parts, to_parts

__all__ = ["open_checkpoint", "read", "write"]

MOST_CLASSES = 1 << 16


def write(path, model, max_bytes=None):
    """Write a model; see `TabularModel.save`."""
    for net in model.ensemble.networks:
        model_parts.check_weights(net)
    settings, arrays = to_parts(model)
    arrays = {**arrays, "settings": model_parts.as_text(settings, "model")}
    classes = None if model.classes is None else labels_to_plain(model.classes)
    stated = {"arrays": {name: [array.dtype.name, list(array.shape)]
                         for name, array in arrays.items()}, "classes": classes}
    container.write(path, arrays, {"tabular": stated}, needs=("tabular",), max_bytes=max_bytes)
    imported("fastnn.files.kinds").hint_of_name(path)


def read(arrays, settings, kind):
    """Return the model of a file's arrays and settings, an object of the class ``kind``.

    Raises
    ------
    ValueError, TypeError, KeyError, ...
        When they are not those of a model.
    """
    plain = model_parts.from_text(arrays.pop("settings"))
    classes = settings["tabular"]["classes"]
    classes = None if classes is None else labels_from_plain(classes, MOST_CLASSES)
    try:
        return kind(*from_parts(plain, arrays, classes))
    except IndexError as error:
        raise ValueError(f"arrays and settings do not fit: {error}") from error


def open_checkpoint(path, seconds, data, validation, seed, **settings):
    """Return the `FitsFile` of a fit. Where there is a file, its seed counts from then on.

    Parameters
    ----------
    path : str or path
    seconds : float
        Time between two writes at least.
    data, validation : tuple (Inputs, targets, sample_weight or None), or None
    seed : int
    settings : plain values
        What else decides the result, beside what `fit_many` compares of each network.
    """
    training = imported("fastnn.training.fit_file")
    about = {**settings, training.DATA: _digest(*data),
             training.HELD_OUT: None if validation is None else _digest(*validation)}
    return imported("fastnn.training.fits_file").FitsFile(path, seconds, about, seed)


def _digest(inputs, targets, weight):
    arrays = {"numbers": inputs.numbers, "codes": inputs.codes, "y": np.asarray(targets)}
    if weight is not None:
        arrays["sample_weight"] = np.asarray(weight)
    return container.digest([], arrays)
