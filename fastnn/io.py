"""Model files: a dictionary of arrays and plain settings to a safetensors file and back.

It knows files, not networks. The settings lie as canonical JSON in the file's metadata under
``fastnn``, beside the version of this format. Any safetensors reader opens the arrays.
"""

import json
import os
import secrets
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
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"no folder {os.fspath(path.parent)!r} to save {path.name!r} in")
    if path.is_dir():
        raise IsADirectoryError(f"{os.fspath(path)!r} is a folder, must be a file name")
    _write_atomically(path, save(arrays, metadata))


def _write_atomically(path, data):
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        with os.fdopen(os.open(temporary, flags, 0o666), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


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
