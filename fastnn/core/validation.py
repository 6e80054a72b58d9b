"""Checks of single settings: every message names the argument, its value and the rule."""

import os
from itertools import pairwise
from numbers import Integral, Real

import numpy as np

from fastnn.core import _kernels
from fastnn.core.imports import imported
from fastnn.core.notices import shorten, shown


def check_count(name, value, minimum=1):
    """Return a whole number of at least ``minimum``."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name}={shown(value)} must be an integer")
    number = int(value)  # first: what a class of the user's compares may be another number
    if number < minimum:
        raise ValueError(f"{name}={shown(value)} must be >= {minimum}")
    return number


def check_size(name, value):
    """Return a whole number of at least 1 of which a machine can count the elements."""
    value = check_count(name, value)
    if value > 2**56:
        raise ValueError(f"{name}={shown(value)} is more than any memory holds")
    return value


def check_path(name, value, cure=None):
    """Return the name of a file or a folder as a string; ``cure`` is the end of the message on what
    is none."""
    if not isinstance(value, (str, bytes, os.PathLike)):
        raise TypeError(f"{name}={shown(value)} must be a path"
                        + (f", such as {name}='folder/name'" if cure is None else cure))
    path = os.fsdecode(value)
    try:
        odd = "\0" if b"\0" in os.fsencode(path) else None
    except UnicodeEncodeError as error:
        odd = path[error.start]
    if odd is not None:
        raise ValueError(f"{name}={shown(path)} holds {odd!r}, which no name of a file can hold")
    return path


def check_flag(name, value):
    """Return True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}={shown(value)} must be True or False")
    return bool(value)


def check_real(name, value):
    """Return a number that float64 can hold."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name}={shown(value)} must be a number")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} is beyond the range of float64") from None


def check_fraction(name, value, above=False):
    """Return a number in [0, 1), or in (0, 1) where it must be above 0."""
    value = check_real(name, value)
    if not 0 <= value < 1 or above and value == 0:
        percent = f": a share, {value / 100:g} for {value:g} %" if 1 < value < 100 else ""
        raise ValueError(f"{name}={shown(value)} must be in {'(' if above else '['}0, 1){percent}")
    return float(value)


def check_nonnegative(name, value):
    """Return a finite number of at least 0."""
    value = check_real(name, value)
    if not (value >= 0 and np.isfinite(value)):
        raise ValueError(f"{name}={shown(value)} must be finite and >= 0")
    return float(value)


def check_positive(name, value):
    """Return a finite number above 0."""
    value = check_real(name, value)
    if not (value > 0 and np.isfinite(value)):
        raise ValueError(f"{name}={shown(value)} must be finite and > 0")
    return float(value)


def check_dtype(dtype):
    """Return float32 or float64 in native byte order."""
    try:
        found = None if dtype is None else np.dtype(dtype)
    except Exception:  # of text that is none, or of what the object does
        found = None
    if found not in (np.float32, np.float64):
        raise ValueError(f"dtype={shown(dtype)} must be float32 or float64")
    return np.dtype(found.name)


def check_seed(random_state):
    """Return a seed of 64 bits."""
    if isinstance(random_state, Integral):
        return check_count("random_state", random_state, minimum=0)
    imported("numpy.random")
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**63))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31))
    return check_count("random_state", random_state, minimum=0)


def check_name(name, value, known, kind=None):
    """Return one of some names.

    Parameters
    ----------
    name : str
        Of the argument.
    value : object
        What the user gave.
    known : sequence of str
        The names there are.
    kind : str or None, default=None
        Key of `fastnn.core.words.ALIASES`: other names for the same, and other capitals, are taken.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name}={shown(value)} must be a string, one of: {', '.join(known)}")
    value = plain_text(value)
    if value in known:
        return value
    words = imported("fastnn.core.words")
    found = None if kind is None else words.meant(value, known, kind)
    if found is None:
        raise ValueError(f"{name}={shown(value)} must be one of: {', '.join(known)}"
                         f"{words.of_name(value, known, kind)}")
    return found


def plain_text(text):
    """Return a string as a `str`: a subclass may be equal to whatever it is compared with."""
    return text if type(text) is str else str.__str__(text)


def is_activation(name):
    """Whether a string names an elementwise activation, or softmax."""
    return name == "softmax" or name in _kernels.ACTIVATIONS or name in _kernels.ALIASES


def check_activation(name, value):
    """Name of an elementwise activation, an alias replaced by what it stands for."""
    value = check_name(name, value, (*_kernels.ACTIVATIONS, *_kernels.ALIASES), "activation")
    return _kernels.ALIASES.get(value, value)


def check_output(value):
    """Name of an output activation: elementwise, or softmax."""
    if isinstance(value, str) and plain_text(value) == "softmax":
        return "softmax"
    value = check_name("output", value, ("softmax", *_kernels.ACTIVATIONS, *_kernels.ALIASES),
                       "activation")
    return _kernels.ALIASES.get(value, value)


def check_sizes(sizes):
    """Units of the input, the hidden layers and the output, as a tuple."""
    if isinstance(sizes, (str, bytes)) or not hasattr(sizes, "__iter__"):
        raise TypeError(f"sizes={shown(sizes)} must be a sequence of integers: (n_in, ..., n_out), "
                        "such as MLP((784, 128, 10))")
    sizes = tuple(sizes)
    if len(sizes) < 2:
        raise ValueError(f"sizes={shown(sizes)} must have at least two entries: (n_in, n_out)")
    sizes = tuple(check_units(f"sizes[{i}]", size) for i, size in enumerate(sizes))
    check_n_parameters(sum((n_in + 1) * n_out for n_in, n_out in pairwise(sizes)),
                       f"sizes={shown(sizes)}")
    return sizes


def check_units(name, value):
    """Return a number of units, which BLAS can count."""
    value = check_count(name, value)
    if value > 2**31 - 1:
        raise ValueError(f"{name}={shown(value)} is beyond the 32-bit dimensions of BLAS")
    return value


def check_n_parameters(number, what):
    """Raise where a network has more parameters than any memory holds."""
    if number > 2**56:
        raise ValueError(f"{shorten(str(what))} makes {number} parameters, more than any memory "
                         "holds")


def per_hidden_layer(name, value, n_hidden, check):
    """One value for all hidden layers, or a sequence of one each, as a tuple."""
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return (check(name, value),) * n_hidden
    values = tuple(value)
    if len(values) != n_hidden:
        raise ValueError(
            f"{name}={shown(value)} has {len(values)} entries, must have {n_hidden}: "
            "one per hidden layer")
    return tuple(check(f"{name}[{i}]", entry) for i, entry in enumerate(values))


def as_utf8(what, text):
    """Return text as bytes; refuse what no file of text can hold."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"{what} {text!r} holds half of a character (a lone surrogate), which is "
                         "no text: rename it") from None
