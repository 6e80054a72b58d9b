"""Messages: warnings that name the line of the caller, however deep in the package they come up;
and values in messages, which are bounded in length."""

import functools
import sys
import threading
import warnings
from contextlib import contextmanager
from typing import Any, TypeVar

from fastnn.core.imports import imported

T = TypeVar("T")
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


class HintWarning(UserWarning):
    """Something that is allowed and seldom meant, such as inputs that are not scaled.

    Each hint comes once at a line of the caller's in a process, whatever the filters of warnings.
    ``warnings.simplefilter("ignore", fastnn.HintWarning)`` silences all of them.
    """


_hinted: set[tuple[str, str, int]] = set()


def hint(kind: str, message: str | None) -> None:
    """Give a hint, unless one of this kind has been given for this line of the caller's.

    Parameters
    ----------
    kind : str
        Of hint.
    message : str or None
        None where there is nothing to say.
    """
    if message is None:
        return
    # Not before there is something to say: out of memory, f_back of CPython 3.11 returns None and
    # leaves an error behind.
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in OWN:
        frame = frame.f_back
    place = kind, frame.f_code.co_filename, frame.f_lineno
    if place not in _hinted:
        _hinted.add(place)
        warn(message, HintWarning)


def suggests(target: T) -> T:
    """Return a function whose `TypeError` for a keyword that it does not have says which was meant;
    of a class its ``__init__`` becomes one.

    Not for what is called step by step: a call takes a quarter of a microsecond longer.
    """
    if isinstance(target, type):
        target.__init__ = suggests(target.__init__)  # type: ignore[misc]
        return target
    function: Any = target

    @functools.wraps(function)
    def call(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except TypeError as error:
            if type(error) is not TypeError or _was_entered(error, function):
                raise
            raise _for_call(error, function, args) from None

    return call  # type: ignore[return-value]


def _was_entered(error, function):
    """Whether a function had begun when it came to an error: the call itself was right."""
    code = getattr(_innermost(function), "__code__", None)
    trace = error.__traceback__.tb_next
    while trace is not None:
        if trace.tb_frame.f_code is code:
            return True
        trace = trace.tb_next
    return False


def _innermost(function):
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return function


def _for_call(error, function, args):
    owner = type(args[0]).__name__ if args and "." in function.__qualname__ else None
    return TypeError(imported("fastnn.core.words").for_call(error, _innermost(function), owner))


def name_place(error, where):
    """Put the place before the message of an error that is raised on."""
    if error.args and isinstance(error.args[0], str):
        error.args = (f"{where}: {error.args[0]}", *error.args[1:])
    elif hasattr(error, "add_note"):  # Python 3.11
        error.add_note(f"This is of {where}.")


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
