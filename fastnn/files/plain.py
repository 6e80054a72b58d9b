"""Values that JSON has not, as values that it has, and back."""

import numpy as np

from fastnn.core import validation
from fastnn.core.arrays import refuse_masked
from fastnn.core.notices import shown

MAX_DEPTH = 100  # of lists in lists: who reads them goes down as deep
MAX_LABELS_SIZE = 1 << 22  # characters of a NumPy array of labels, in which all are as wide
LABELS = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
          "float32", "float64")


def labels_to_plain(labels):
    """Return the labels of classes as JSON has them."""
    if labels.dtype.kind == "U" or all(isinstance(label, str) for label in labels):
        return {"dtype": "object" if labels.dtype.kind == "O" else "str",
                "values": [str(label) for label in labels]}
    if labels.dtype.name not in LABELS:
        raise TypeError(f"classes of dtype {labels.dtype} cannot be saved, must be strings, "
                        "numbers or booleans")
    return {"dtype": labels.dtype.name, "values": to_plain(labels.tolist())}


def labels_from_plain(plain, most):
    """Return the labels that `labels_to_plain` was given, at most so many."""
    kind, values = plain["dtype"], plain["values"]
    if not isinstance(values, list) or len(values) > most:
        raise ValueError(f"classes must be a list of at most {most}")
    values = from_plain(values, list)
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


def to_plain(value, depth=0):
    """Return settings as JSON has them: {"float": name} for NaN and infinity, {"dict": pairs}."""
    if depth > MAX_DEPTH:
        raise ValueError(f"lists or dicts nest more than {MAX_DEPTH} deep, or hold themselves")
    if isinstance(value, np.ndarray) and (value.ndim == 0 or hasattr(value, "mask")):
        refuse_masked("an array", value)
        value = value[()] if value.ndim == 0 else value
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else {"float": str(value)}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [to_plain(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {"dict": [[_plain_key(key), to_plain(item, depth + 1)]
                         for key, item in value.items()]}
    if isinstance(value, type) and issubclass(value, np.generic):
        return np.dtype(value).name
    raise TypeError(f"a value of type {type(value).__name__} cannot be saved: {value!r}")


def _plain_key(key):
    """Return the key of a dict as JSON has it; raise where it would come back as another one."""
    plain = to_plain(key)
    if isinstance(plain, (list, dict)):
        raise TypeError(f"a key {shown(key)} cannot be saved, must be a string or a finite number")
    return plain


def from_plain(plain, sequence):
    """Return what `to_plain` was given, lists and tuples as ``sequence``."""
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
