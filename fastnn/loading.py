"""Models from files: the one room that makes objects of what files say."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fastnn.core import validation
from fastnn.core.imports import imported
from fastnn.core.notices import shorten, suggests
from fastnn.files import container
from fastnn.files.model_parts import (
    ERRORS,
    KEYS,
    expected_arrays,
    known,
    read_labels_and_names,
    read_spec,
    take_encoder,
    take_history,
)
from fastnn.files.plain import from_plain
from fastnn.mlp import MLP
from fastnn.prediction.predictor import Predictor
from fastnn.prediction.scaler import Scaler

if TYPE_CHECKING:
    from typing import Any

    from fastnn.core.types import File

__all__ = ["describe", "load"]

LONGEST_PATH = 4096  # what is longer is what stands in a file


@suggests
def load(path: File, *, predictor: bool = False, max_bytes: int = container.MAX_BYTES) -> Any:
    """Return the model that `save` of an `MLP`, of an estimator or of a `Predictor` wrote.

    Parameters
    ----------
    path : str or path
        Where the file is.
    predictor : bool, default=False
        Whether to return a `Predictor` in any case, so that scikit-learn is not imported.
    max_bytes : int, default=2**30
        Larger files are refused. Who saves a larger one needs the argument, too.

    Returns
    -------
    MLP, MLPClassifier, MLPRegressor, Predictor or TabularModel
        What was saved: of a `TabularClassifier` or `TabularRegressor` the `TabularModel`, which
        predicts without scikit-learn and pandas. A `Predictor` for a file with a scaler, an encoder
        or class names of its own, and for an estimator where there is no scikit-learn.

    Raises
    ------
    ModelFormatError
        When the file is not such a file, was changed, or needs a newer fastnn.
    FileNotFoundError
    """
    if isinstance(path, (bytes, bytearray, memoryview)) and len(path) > LONGEST_PATH:
        raise TypeError(f"path is {len(path):,} bytes, must be the path of a file: write them to "
                        "one first")
    model, settings, _ = describe(path, max_bytes)
    if predictor or "tabular" in settings:
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


def describe(path, max_bytes=container.MAX_BYTES):
    """Return the predictor of a file, its settings, and versions and checksum of the file."""
    arrays, settings, header = container.read(path, expected_arrays, max_bytes)
    try:
        if "tabular" in settings:
            # checked and kept, where those of a network are copied: what stays must not change, or
            # be gone, where somebody writes into the file later
            arrays = {name: array.copy() for name, array in arrays.items()}
            model = imported("fastnn.tabular.model").TabularModel.from_file(arrays, settings)
            return model, settings, header
        take_history(arrays, settings)
        return _predictor(arrays, settings, container.is_newer(header)), settings, header
    except ERRORS as error:
        raise _not_a_model(path, error) from None


def _not_a_model(path, error):
    return container.ModelFormatError(f"{os.fspath(path)!r} is not a model of fastnn: "
                                      f"{shorten(str(error), 500)}")


def _predictor(arrays, settings, newer):
    settings = known(settings, KEYS, newer)
    scaler = table = None
    if "limits" in settings:
        limits = settings["limits"]
        if limits is not None and not isinstance(limits, list):
            raise ValueError("limits must be a list")
        scaler = Scaler(arrays.pop("input.mean"), arrays.pop("input.scale"), limits)
    if "table" in settings:
        plain = settings["table"]
        if isinstance(plain, dict) and plain.get("kind") == "preparation":
            table = imported("fastnn.tables.preparation").Preparation.from_settings(plain)
        else:
            table = imported("fastnn.tables.encoder").TableEncoder.from_settings(plain)
    elif "encoder" in settings:
        table = imported("fastnn.encoders").Encoder.from_settings(take_encoder(arrays))
    spec, initializer = read_spec(settings["net"], newer)
    classes, names = read_labels_and_names(settings, spec.n_out)
    net = MLP.of(spec.layers, n_in=spec.n_in, output=spec.output, dtype=spec.dtype,
                 initializer="zeros", random_state=0)
    net.initializer = initializer
    net.set_weights(list(arrays.values()))
    return Predictor(net, settings["task"], scaler=scaler, feature_names=names, table=table,
                     classes=classes)


def _estimator(model, parts):
    try:
        estimators = imported("fastnn.estimators")
    except ImportError:  # no scikit-learn, or one that is too old
        return model
    if not isinstance(parts, dict) or parts.keys() != {"class", "params", "fitted"}:
        raise ValueError("estimator must hold class, params and fitted")
    name = validation.check_name("class", parts["class"], tuple(estimators.__all__))
    return getattr(estimators, name)._from_file(
        model, from_plain(parts["params"], tuple), from_plain(parts["fitted"], list))
