"""Messages: warnings that name the line of the caller, however deep in the package they come up;
and values in messages, which are bounded in length."""

import sys
import threading
import warnings
from contextlib import contextmanager

OWN = ("fastnn", "sklearn")  # scikit-learn's wrappers lie between the caller and an estimator

_kept = threading.local()


@contextmanager
def kept(told):
    """While it lasts warnings of this thread go into a list, as (message, category): who started
    the thread gives them, at the line of its caller."""
    _kept.told = told
    try:
        yield
    finally:
        _kept.told = None


def warn(message, category=UserWarning):
    """Warn with the place of the first caller outside of fastnn and scikit-learn."""
    told = getattr(_kept, "told", None)
    if told is not None:
        told.append((message, category))
        return
    level, frame = 1, sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in OWN:
        level, frame = level + 1, frame.f_back
    # level 1 is this function, so a level more than frames passed by
    warnings.warn(message, category, stacklevel=level + 1 if frame is not None else level)


def shorten(text, limit=200):
    """Return text for a message, of at most so many characters: what is longer loses its middle."""
    if len(text) <= limit:
        return text
    half = (limit - 3) // 2
    return f"{text[:half]}...{text[-half:]}"


def shown(value):
    """Return the `repr` of a value for a message, shortened."""
    try:
        return shorten(repr(value))
    except Exception:  # an integer of more than 4,300 digits has none, other objects may have none
        return f"<{type(value).__name__}>"
