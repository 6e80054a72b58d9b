"""Model files: a dictionary of arrays and plain settings to a safetensors file and back.

It knows files, not networks. The metadata of a file holds

    fastnn          the settings, as canonical JSON
    fastnn_format   version of this format, major.minor
    fastnn_version  version of the library that wrote the file
    sha256          of the metadata before it, of names, dtypes and shapes, and of all data

so any safetensors reader opens the arrays, and any change of a bit is found here.
"""

import json
import math
import os
import stat
import sys
from contextlib import contextmanager
from functools import partial
from operator import itemgetter

import numpy as np

from fastnn.core._signals import sync_folder
from fastnn.core.imports import imported
from fastnn.core.notices import shorten
from fastnn.core.validation import check_count, check_path
from fastnn.core.version import __version__

FORMAT = (1, 1)  # readers take newer minors and refuse newer majors
PLAIN_FORMAT = (1, 0)  # of a file that needs nothing which came later
# what this reader knows
NEEDS = ("activation", "batch_norm", "dropout", "embed", "encoder", "glu", "heads", "history",
         "layer_norm", "layers", "open_limits", "prelu", "repeat", "residual", "scale",
         "table_formats", "tabular", "preparation")
# Parsing more than this would take longer than 0.1 s: of bytes, and of what costs more than
# strings, in a header that is not small
MAX_HEADER_BYTES = 1 << 21
SMALL_HEADER_BYTES = 1 << 19
MAX_GROUPS, MAX_VALUES = 1 << 16, 1 << 17
MAX_BYTES = 1 << 30  # of a file, unless the caller expects more
# Opens a file that its owner alone may read. Not a function of ours: between its last call and its
# return a signal handler may raise, and the file would stay open.
PRIVATE = partial(os.open, mode=0o600)
SLICE = 1 << 22  # bytes that are hashed or written at a time: Ctrl-C comes in between
DTYPES = {"float32": "F32", "float64": "F64", "uint8": "U8"}
FLOATS = "float32", "float64"
ODD_FILES = ((stat.S_ISDIR, "a folder"), (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"),
             (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))


class ModelFormatError(ValueError):
    """A file that is not a model of fastnn, or one that this version cannot read."""


class NotSafetensors(ModelFormatError):
    """A file of another kind; `read` says of which."""


def write(path, arrays, settings, *, needs=(), max_bytes=None):
    """Write arrays and settings to ``path``: the old file or the new one is there, never half.

    Parameters
    ----------
    path : str or path
    arrays : dict of str to array
        float32, float64 or, where ``needs`` says so, uint8.
    settings : dict
        Plain: strings, finite numbers, lists, dictionaries with strings as keys, None.
    needs : sequence of str, default=()
        What a reader must understand beside what every one does; who does not, refuses the file.
    max_bytes : int or None, default=None
        A larger file is not written; None: `MAX_BYTES`, as a reader has it by default.

    Raises
    ------
    ValueError
        When the settings are too long for a header, or the file would be too large.
    OSError
        When the file cannot be written, or what is there is no regular file.
    """
    path = check_place(path)
    header, named = prepared(arrays, settings, needs, max_bytes)
    write_atomically(path, len(header).to_bytes(8, "little"), header,
                     *(_little_endian(array) for _, array in named))


def prepared(arrays, settings, needs=(), max_bytes=None, hashed=True):
    """Return the header of a file, and its arrays by name in their order.

    Parameters are those of `write`, which raises the same ValueError.

    Parameters
    ----------
    hashed : bool, default=True
        False: only to see whether there is room for it all.
    """
    if needs:
        settings = {**settings, "needs": list(needs)}
    metadata = {
        "fastnn": canonical(settings),
        "fastnn_format": ".".join(map(str, FORMAT if needs else PLAIN_FORMAT)),
        "fastnn_version": __version__,
    }
    named = [(name, np.ascontiguousarray(array)) for name, array in arrays.items()]
    size = sum(array.nbytes for _, array in named)
    _check_size(size, max_bytes)  # before all of it is hashed
    metadata["sha256"] = digest(metadata, dict(named)) if hashed else "0" * 64
    named.sort(key=lambda item: (-item[1].itemsize, item[0]))  # aligned so
    header = _header(metadata, named)
    if excess := _excess(header):
        raise ValueError(f"names and settings take {excess}; fewer or shorter names would fit")
    _check_size(8 + len(header) + size, max_bytes)
    return header, named


def _excess(header):
    """Return what of a header is too much to be parsed, "" for nothing."""
    groups = values = 0
    if SMALL_HEADER_BYTES < len(header) <= MAX_HEADER_BYTES:
        groups, values = header.count(b"{") + header.count(b"["), header.count(b",")
    for number, limit, noun in ((len(header), MAX_HEADER_BYTES, "bytes"),
                                (groups, MAX_GROUPS, "lists"), (values, MAX_VALUES, "values")):
        if number > limit:
            return f"{number} {noun}, a model file has room for {limit}"
    return ""


def _check_size(size, max_bytes):
    """Raise where a reader would refuse a file of so many bytes."""
    limit = MAX_BYTES if max_bytes is None else check_count("max_bytes", max_bytes)
    if size > limit:
        raise ValueError(f"the file may take {size} bytes, max_bytes={limit}; give "
                         f"max_bytes={size} here, and to fastnn.load, which refuses such a file "
                         "otherwise")


def _header(metadata, arrays):
    """Return the header of a safetensors file. Its library would copy all data twice, in one call
    that lets neither Ctrl-C nor another thread in between, and write the metadata in any order."""
    header, begin = {"__metadata__": metadata}, 0
    for name, array in arrays:
        header[name] = {"dtype": DTYPES[array.dtype.name], "shape": array.shape,
                        "data_offsets": (begin, begin + array.nbytes)}
        begin += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8)


def _little_endian(array):
    """Return the bytes of a contiguous array, as a flat one."""
    array = array.reshape(-1)
    return array.astype(array.dtype.newbyteorder("<"), copy=False).view(np.uint8)


def check_place(path):
    """Return the path of a file that can be written: its folder exists, and what is there already
    is a regular file."""
    from pathlib import Path  # reading needs none

    path = Path(check_path("path", path))
    if not path.parent.is_dir():
        raise FileNotFoundError(f"no folder {os.fspath(path.parent)!r} to save {path.name!r} in")
    if path.is_dir():
        raise IsADirectoryError(f"{os.fspath(path)!r} is a folder, must be a file name")
    _mode_of(path)
    return path


def _mode_of(path):
    """Return the permissions of a regular file, None where there is nothing.

    What a rename would take the place of for ever, such as /dev/null, is refused.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        kind = next((kind for is_kind, kind in ODD_FILES if is_kind(mode)), "no regular file")
        raise FileExistsError(f"{os.fspath(path)!r} is {kind}; only a regular file is replaced: "
                              "choose another name")
    return stat.S_IMODE(mode)


def canonical(settings):
    """Return settings as text, which is the same for the same settings."""
    return json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(metadata, arrays):
    """Return the SHA-256 of named arrays and plain values, whatever their order."""
    from hashlib import sha256

    named = sorted(arrays.items(), key=itemgetter(0))
    tensors = [[name, array.dtype.name, list(array.shape)] for name, array in named]
    found = sha256(canonical([metadata, tensors]).encode())
    for _, array in named:
        array = np.atleast_1d(array)  # noqa: PLW2901
        # some rows at a time: what is mapped from a file may be larger than the memory
        step = max(1, SLICE * len(array) // max(array.nbytes, 1))
        for start in range(0, len(array), step):
            data = _little_endian(array[start:start + step])
            for at in range(0, data.size, SLICE):
                found.update(data[at:at + SLICE])
    return found.hexdigest()


def temporary_beside(path):
    """Return a name that no file has, in the same folder: from there it can be moved in one
    step."""
    return path.with_name(f".fastnn-{os.urandom(8).hex()}")


def write_atomically(path, *pieces):
    """Write bytes, one piece after another; see `replacing`."""
    with replacing(path) as file:
        for view in map(memoryview, pieces):
            for start in range(0, len(view), SLICE):
                file.write(view[start:start + SLICE])


@contextmanager
def replacing(path):
    """``with replacing(path) as file``: what is written is there at the end, under its name.

    After an error or Ctrl-C the old file is there, never half of the new one. Of an old file the
    new one has the permissions, and until it has them nobody else may read it; a link stays a link.
    """
    from pathlib import Path

    path = Path(os.path.realpath(path))
    temporary = temporary_beside(path)
    try:
        with open(temporary, "xb", opener=PRIVATE if _mode_of(path) is not None else None) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        mode = _mode_of(path)
        if mode is not None:
            os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if os.name == "posix":
        sync_folder(path.parent)


def read(path, expected, max_bytes=MAX_BYTES, what="model"):
    """Return arrays and settings of a file that `write` wrote.

    The safetensors library would take headers of 100 MB and keys that stand twice, and end in a
    panic where memory is short.

    Parameters
    ----------
    path : str or path
    expected : callable
        Maps the settings to the arrays that must be there, {name: (dtype name, shape)}; raises
        ValueError, TypeError or KeyError where they are no settings of a model. No array is read
        before it has agreed.
    max_bytes : int
        Larger files are refused.
    what : str, default="model"
        What it should be, for messages.

    Returns
    -------
    arrays : dict of str to array
        Read-only, where they lie in the mapped file.
    settings : dict
    header : dict of str to str
        ``fastnn_format``, ``fastnn_version`` and ``sha256``, which is right.

    Raises
    ------
    ModelFormatError
        When the file is not such a file, or anything in it was changed.
    FileNotFoundError
    """
    name = check_path("path", path)
    max_bytes = check_count("max_bytes", max_bytes)
    with _named(name, what):
        return _read(name, expected, max_bytes)


def read_settings(path, check, what="model"):
    """Return what ``check`` makes of the settings of a file, whose arrays are not looked at.

    Parameters
    ----------
    path : str or path
    check : callable
        Raises ValueError, TypeError or KeyError where they are not those it wants.
    what : str, default="model"
        What it should be, for messages.

    Raises
    ------
    ModelFormatError
        When the file is not such a file. Its checksum is looked at by `read` alone.
    FileNotFoundError
    """
    name = check_path("path", path)
    with _named(name, what):
        _, _, header = _mapped(name, sys.maxsize)
        return check(_settings(_metadata(header))[0])


@contextmanager
def _named(name, what):
    """Put the name of a file before the message of what is wrong with it."""
    try:
        yield
    except NotSafetensors as error:
        cure = imported("fastnn.files.kinds").cure(name)
        raise ModelFormatError(f"{name!r} {shorten(str(error), 500)}{cure}") from None
    except ModelFormatError as error:
        raise ModelFormatError(f"{name!r} {shorten(str(error), 500)}") from None
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError,
            RecursionError) as error:
        raise ModelFormatError(f"{name!r} is not a {what} of fastnn: "
                               f"{shorten(str(error), 500)}") from None


def _read(name, expected, max_bytes):
    mapped, start, header = _mapped(name, max_bytes)
    metadata = _metadata(header)
    settings, stated = _settings(metadata)
    wanted = expected(settings)
    if header.keys() != wanted.keys():
        odd = min(header.keys() ^ wanted.keys())
        raise ValueError(f"tensor {odd!r} is {'not expected' if odd in header else 'missing'}")
    arrays, begins = {}, []
    for key, (dtype, shape) in wanted.items():
        tensor, size = header[key], np.dtype(dtype).itemsize * math.prod(shape)
        begin, end = tensor["data_offsets"]
        if tensor["shape"] != list(shape):
            raise ValueError(f"tensor {key!r} has shape {tensor['shape']}, must be {list(shape)}")
        if tensor["dtype"] != DTYPES[dtype]:
            raise ValueError(f"tensor {key!r} is {tensor['dtype']}, must be {DTYPES[dtype]}")
        if tensor.keys() != {"shape", "dtype", "data_offsets"} or end - begin != size or begin < 0:
            raise ValueError(f"tensor {key!r} has data_offsets {begin}, {end}")
        if end > len(mapped) - start:
            raise ModelFormatError(f"is cut off: it has {len(mapped):,} bytes, its header tells of "
                                   f"{start + end:,}")
        begins.append((begin, end))
        data = mapped[start + begin:start + end]
        arrays[key] = data.view(np.dtype(dtype).newbyteorder("<")).reshape(shape)
    ends = [0, *(end for _, end in sorted(begins))]
    if [begin for begin, _ in sorted(begins)] != ends[:-1] or ends[-1] != len(mapped) - start:
        raise ModelFormatError("is cut off, or its tensors leave gaps or overlap")
    if stated != digest(metadata, arrays):
        raise ModelFormatError("is damaged: its contents do not have the checksum it states")
    del metadata["fastnn"]
    return arrays, settings, {**metadata, "sha256": stated}


def _metadata(header):
    """Return the metadata of a header, and take them out of it."""
    metadata = dict(header.pop("__metadata__", {}))
    if not all(isinstance(value, str) for value in metadata.values()):
        raise ModelFormatError("is not a safetensors file: metadata must be strings")
    return metadata


def _mapped(name, max_bytes):
    """Return the bytes of a file, where its tensors start, and its header."""
    try:
        status = os.stat(name)
    except FileNotFoundError:
        raise FileNotFoundError(f"no model file {name!r}") from None
    if not stat.S_ISREG(status.st_mode):
        raise FileNotFoundError(f"no model file {name!r}: that is a folder or a device")
    if status.st_size > max_bytes:
        raise ModelFormatError(f"has {status.st_size} bytes; max_bytes={max_bytes}")
    if status.st_size < 10:
        raise NotSafetensors("is not a safetensors file, or a part of one")
    mapped = np.memmap(name, np.uint8, "r").view(np.ndarray)
    length = int.from_bytes(mapped[:8].tobytes(), "little")
    if not 2 <= length <= len(mapped) - 8:
        if len(mapped) - 8 < length <= MAX_HEADER_BYTES and mapped[8:10].tobytes() == b'{"':
            raise ModelFormatError(f"is cut off: it has {len(mapped):,} bytes, its header alone "
                                   f"{length:,}")
        raise NotSafetensors("is not a safetensors file, or a part of one")
    if length > MAX_HEADER_BYTES:
        raise NotSafetensors(f"has a header of {length} bytes, models have at most "
                             f"{MAX_HEADER_BYTES}")
    text = mapped[8:8 + length].tobytes()
    if excess := _excess(text):
        raise ModelFormatError(f"has a header of {excess}")
    try:
        header = json.loads(text.decode(), object_pairs_hook=_distinct)
        if not isinstance(header, dict):
            raise ValueError("the header must be a JSON object")
    except (ValueError, RecursionError) as error:
        raise NotSafetensors(f"is not a safetensors file: {error}") from None
    return mapped, 8 + length, header


def _distinct(pairs):
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def is_newer(header):
    """Return whether a newer minor version wrote the file, whose settings may then say more."""
    return tuple(map(int, header["fastnn_format"].split("."))) > FORMAT


def _settings(metadata):
    """Return settings and checksum, which is taken out of the metadata."""
    if "fastnn" not in metadata:
        raise ModelFormatError("is a safetensors file, but not a model of fastnn")
    version = metadata.get("fastnn_format", "")
    major, dot, minor = version.partition(".")
    if not (version.isascii() and major.isdigit() and dot and minor.isdigit() and len(version) < 9):
        raise ModelFormatError(f"has fastnn_format={version!r}, must be major.minor")
    if int(major) > FORMAT[0]:
        raise ModelFormatError(f"has format {version}, this version of fastnn reads up to "
                               f"{FORMAT[0]}: upgrade fastnn")
    stated = metadata.pop("sha256", "")
    settings = json.loads(metadata["fastnn"])
    if not isinstance(settings, dict) or canonical(settings) != metadata["fastnn"]:
        raise ValueError("settings must be a JSON object in canonical form")
    needs = settings.get("needs", [])
    if not isinstance(needs, list) or not all(isinstance(need, str) for need in needs):
        raise ValueError("needs must be a list of names")
    unknown = sorted(set(needs) - set(NEEDS))
    if unknown:
        raise ModelFormatError(f"needs {unknown[0]!r}, which this version of fastnn does not know: "
                               "upgrade fastnn")
    return settings, stated
