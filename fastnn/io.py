"""Model files: a dictionary of arrays and plain settings to a safetensors file and back.

It knows files, not networks. The metadata of a file holds

    fastnn          the settings, as canonical JSON
    fastnn_format   version of this format, major.minor
    fastnn_version  version of the library that wrote the file
    sha256          of the metadata before it, of names, dtypes and shapes, and of all data

so any safetensors reader opens the arrays, and any change of a bit is found here.
"""

import json
import os
import stat
from pathlib import Path

import numpy as np

FORMAT = (1, 0)  # readers take newer minors and refuse newer majors
MAX_HEADER_BYTES = 1 << 20  # parsing more would take longer than a service should wait
SLICE = 1 << 22  # bytes that are hashed or written at a time: Ctrl-C comes in between
DTYPES = ("float32", "float64")


class ModelFormatError(ValueError):
    """A file that is not a model of fastnn, or one that this version cannot read."""


def write(path, arrays, settings):
    """Writes arrays and settings to ``path``: the old file or the new one is there, never half.

    Parameters
    ----------
    path : str or path
    arrays : dict of str to array
        float32 or float64.
    settings : dict
        Plain: strings, finite numbers, lists, dictionaries with strings as keys, None.

    Raises
    ------
    ValueError
        When the settings are too long for a header.
    OSError
        When the file cannot be written.
    """
    from safetensors.numpy import save

    from fastnn import __version__

    path = check_place(path)
    metadata = {
        "fastnn": _canonical(settings),
        "fastnn_format": ".".join(map(str, FORMAT)),
        "fastnn_version": __version__,
    }
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    metadata["sha256"] = _digest(metadata, arrays)
    data = save(arrays, metadata)
    header = int.from_bytes(data[:8], "little")
    if header > MAX_HEADER_BYTES:
        raise ValueError(f"names and settings take {header} bytes, a model file has room for "
                         f"{MAX_HEADER_BYTES}; fewer or shorter names would fit")
    write_atomically(path, data)


def check_place(path):
    """The path of a file that can be written: its folder exists."""
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"no folder {os.fspath(path.parent)!r} to save {path.name!r} in")
    if path.is_dir():
        raise IsADirectoryError(f"{os.fspath(path)!r} is a folder, must be a file name")
    return path


def _canonical(settings):
    return json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _digest(metadata, arrays):
    """SHA-256 of everything that a file says, whatever the order its writer chose."""
    from hashlib import sha256

    names = sorted(arrays)
    tensors = [[name, arrays[name].dtype.name, list(arrays[name].shape)] for name in names]
    found = sha256(_canonical([metadata, tensors]).encode())
    for name in names:
        array = arrays[name].reshape(-1)
        array = array.astype(array.dtype.newbyteorder("<"), copy=False).view(np.uint8)
        for start in range(0, array.size, SLICE):
            found.update(array[start:start + SLICE])
    return found.hexdigest()


def write_atomically(path, data):
    """Writes bytes: the old file or the new one is there, never half."""
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    view = memoryview(data)
    try:
        with open(temporary, "xb") as file:
            for start in range(0, len(data), SLICE):
                file.write(view[start:start + SLICE])
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


def read(path, expected):
    """Arrays and settings of a file that `write` wrote.

    Parameters
    ----------
    path : str or path
    expected : callable
        Maps the settings to the arrays that must be there, {name: (dtype name, shape)}; raises
        ValueError, TypeError or KeyError where they are no settings of a model. No array is read
        before it has agreed.

    Returns
    -------
    arrays : dict of str to array
        Copies of the mapped file.
    settings : dict
    header : dict of str to str
        ``fastnn_format``, ``fastnn_version`` and ``sha256``, which is right.

    Raises
    ------
    ModelFormatError
        When the file is not such a file, or anything in it was changed.
    FileNotFoundError
    """
    name = os.fspath(path)
    _check_size(name)
    try:
        return _read(name, expected)
    except ModelFormatError as error:
        raise ModelFormatError(f"{name!r} {error}") from None
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ModelFormatError(f"{name!r} is not a model of fastnn: {error}") from None


def _check_size(name):
    """Refuses what is no file, or one whose header the library should not be asked to parse."""
    try:
        status = os.stat(name)
    except FileNotFoundError:
        raise FileNotFoundError(f"no model file {name!r}") from None
    if not stat.S_ISREG(status.st_mode):
        raise FileNotFoundError(f"no model file {name!r}: that is a folder or a device")
    with open(name, "rb") as file:
        start = file.read(8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or not 2 <= length <= status.st_size - 8:
        raise ModelFormatError(f"{name!r} is not a safetensors file, or a part of one")
    if length > MAX_HEADER_BYTES:
        raise ModelFormatError(f"{name!r} has a header of {length} bytes, models have at most "
                               f"{MAX_HEADER_BYTES}")


def _read(name, expected):
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(name, framework="numpy") as file:
            metadata = file.metadata() or {}
            settings, digest = _settings(metadata)
            wanted = expected(settings)
            names = set(file.keys())
            if names != set(wanted):
                odd = min(names ^ set(wanted))
                fault = "not expected" if odd in names else "missing"
                raise ValueError(f"tensor {odd!r} is {fault}")
            for key, (_, shape) in wanted.items():
                found = tuple(file.get_slice(key).get_shape())
                if found != tuple(shape):
                    raise ValueError(f"tensor {key!r} has shape {found}, must be {tuple(shape)}")
            arrays = {key: file.get_tensor(key) for key in wanted}
    except SafetensorError as error:
        raise ModelFormatError(f"is not a safetensors file: {error}") from None
    for key, (dtype, _) in wanted.items():
        if arrays[key].dtype.name != dtype:
            raise ValueError(f"tensor {key!r} is {arrays[key].dtype}, must be {dtype}")
    if digest != _digest(metadata, arrays):
        raise ModelFormatError("is damaged: its contents do not have the checksum it states")
    del metadata["fastnn"]
    return arrays, settings, {**metadata, "sha256": digest}


def is_newer(header):
    """Whether a newer minor version wrote the file, whose settings may then say more."""
    return tuple(map(int, header["fastnn_format"].split("."))) > FORMAT


def _settings(metadata):
    """Settings and checksum, which is taken out of the metadata."""
    if "fastnn" not in metadata:
        raise ModelFormatError("is a safetensors file, but not a model of fastnn")
    version = metadata.get("fastnn_format", "")
    major, dot, minor = version.partition(".")
    if not (version.isascii() and major.isdigit() and dot and minor.isdigit() and len(version) < 9):
        raise ModelFormatError(f"has fastnn_format={version!r}, must be major.minor")
    if int(major) > FORMAT[0]:
        raise ModelFormatError(f"has format {version}, this version of fastnn reads up to "
                               f"{FORMAT[0]}: upgrade fastnn")
    digest = metadata.pop("sha256", "")
    settings = json.loads(metadata["fastnn"])
    if not isinstance(settings, dict) or _canonical(settings) != metadata["fastnn"]:
        raise ValueError("settings must be a JSON object in canonical form")
    return settings, digest
