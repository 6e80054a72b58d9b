"""Model files: a dictionary of arrays and plain settings to a safetensors file and back.

It knows files, not networks. The settings lie as canonical JSON in the file's metadata under
``fastnn``, beside the version of this format. Any safetensors reader opens the arrays.
"""

import json
import os
import tempfile
from pathlib import Path

FORMAT_VERSION = 1
MAX_SETTINGS_BYTES = 1 << 20


class ModelFormatError(ValueError):
    """A file that is not a model of fastnn, or one that this version cannot read."""


def write(path, arrays, settings):
    """Writes arrays and settings to ``path``: the old file or the new one is there, never half.

    Parameters
    ----------
    path : str or path
    arrays : dict of str to array
    settings : dict
        Plain: strings, numbers, lists, dictionaries, None.
    """
    from safetensors.numpy import save

    metadata = {
        "fastnn": json.dumps(settings, sort_keys=True, separators=(",", ":")),
        "fastnn_format": str(FORMAT_VERSION),
    }
    _write_atomically(Path(path), save(arrays, metadata))


def _write_atomically(path, data):
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, _new_file_mode())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _new_file_mode():
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def read(path):
    """Arrays and settings of a file that `write` wrote.

    Raises
    ------
    ModelFormatError
        When the file is not such a file.
    """
    from safetensors import SafetensorError, safe_open

    if not os.path.isfile(path):
        raise FileNotFoundError(f"no model file {os.fspath(path)!r}")
    try:
        with safe_open(os.fspath(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, TypeError, KeyError, AttributeError) as error:
        raise ModelFormatError(f"{os.fspath(path)!r} is not a safetensors file: {error}") from None
    return arrays, _settings(path, metadata)


def _settings(path, metadata):
    name = os.fspath(path)
    if "fastnn" not in metadata:
        raise ModelFormatError(f"{name!r} is a safetensors file, but not a model of fastnn")
    version = metadata.get("fastnn_format", "")
    if not version.isdigit():
        raise ModelFormatError(f"{name!r}: fastnn_format={version!r} must be a whole number")
    if int(version) > FORMAT_VERSION:
        raise ModelFormatError(f"{name!r} has format {version}, this version reads up to "
                               f"{FORMAT_VERSION}: upgrade fastnn")
    text = metadata["fastnn"]
    if len(text) > MAX_SETTINGS_BYTES:
        raise ModelFormatError(f"{name!r}: settings of {len(text)} bytes, at most "
                               f"{MAX_SETTINGS_BYTES} are read")
    try:
        settings = json.loads(text)
    except ValueError as error:
        raise ModelFormatError(f"{name!r}: settings are not JSON: {error}") from None
    if not isinstance(settings, dict):
        raise ModelFormatError(f"{name!r}: settings must be a JSON object")
    return settings
