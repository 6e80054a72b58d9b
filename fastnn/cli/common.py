"""What the commands share: errors, models, progress."""

import argparse
import importlib
import os
import shlex
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from fastnn.core.words import near
from fastnn.files import container

__all__ = ["CommandError", "Help", "Progress", "check_output", "count", "describe_model", "escaped",
           "is_saved", "load_model", "near", "need", "note", "open_closed_streams", "program",
           "quoted", "say", "tell_warnings", "whole_number"]


class CommandError(Exception):
    """Something to tell the user; no traceback."""

    def __init__(self, message, code=2):
        super().__init__(message)
        self.code = code


class Help(argparse.RawDescriptionHelpFormatter):
    """Lists options without repeating the place-holder of the short form."""

    def __init__(self, prog):
        super().__init__(prog, max_help_position=30)

    def _format_action_invocation(self, action):
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        value = self._format_args(action, action.dest.upper())
        return f"{', '.join(action.option_strings)} {value}"


def program():
    """How the user called us, for messages that show a command."""
    called = Path(sys.argv[0]).stem if sys.argv and sys.argv[0] else ""
    return "fastnn" if called == "fastnn" else "python -m fastnn"


def escaped(text, kept=""):
    """Return text of strangers, such as a name in a file, with escapes for what is not printed.

    A terminal acts on control characters; bytes of a file name that are no text cannot be printed.
    """
    return "".join(c if c.isprintable() or c in kept else _escape(c) for c in str(text))


def _escape(character):
    return character.encode("unicode_escape").decode("ascii")


def open_closed_streams():
    """Let standard output and error be there where the caller has closed them, as services do.

    Their numbers are taken as well: a model file that is the second of all would have what a
    library writes to standard error.
    """
    number = os.open(os.devnull, os.O_RDWR)
    while number < 3:
        number = os.open(os.devnull, os.O_RDWR)
    os.close(number)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


def whole_number(text, least):
    """Return the number that the text of an option says."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number") from None
    if value < least:
        raise argparse.ArgumentTypeError(f"{value} must be {least} or more")
    return value


def say(text, file=None):
    """Print lines, to standard output by default; the one door for text that holds names."""
    file = sys.stdout if file is None else file
    text = escaped(text, kept="\n")
    encoding = getattr(file, "encoding", None) or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=file, flush=True)


def note(text, quiet=False):
    """Write a remark to standard error."""
    if not quiet:
        say(f"note: {text}", sys.stderr)


def tell_warnings(caught, quiet=False):
    """Write warnings that were recorded as notes, each once."""
    for text in dict.fromkeys(str(warning.message) for warning in caught):
        note(text, quiet)


def quoted(text):
    """Return text as a shell takes it."""
    return shlex.quote(str(text))


def count(number, noun):
    """Such as "1 row", "2,000 rows"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def need(*packages):
    """Raise with the remedy where a package is missing."""
    for module, package in packages:
        try:
            importlib.import_module(module)
        except ImportError:
            raise CommandError(
                f"this needs {package}, which is not installed here. Install it with\n"
                f"    python -m pip install {package}\n"
                "or everything for the command line with\n"
                '    python -m pip install "fastnn-mlp[cli]"', 1) from None


def check_output(path, force, *inputs, option="--output"):
    """Return a place for a result; raise where it cannot be written to, before any work is done."""
    given, path = os.fspath(path), Path(path)
    if path.is_dir() or given.endswith(("/", os.sep)):
        raise CommandError(f"{given!r} is a folder, must be a file name")
    if not path.parent.is_dir():
        raise CommandError(f"there is no folder {os.fspath(path.parent)!r} to write {path.name!r} "
                           "in; make it first, or choose another place")
    container.check_place(path)
    if any(path.exists() and Path(given).exists() and path.samefile(given) for given in inputs):
        raise CommandError(f"{os.fspath(path)!r} is the input; choose another file with {option}")
    if path.exists() and not force:
        raise CommandError(f"{os.fspath(path)!r} exists; --force replaces it, {option} names "
                           "another file")
    if path.is_symlink() and not path.exists() and not force:
        raise CommandError(f"{os.fspath(path)!r} is a link to {os.readlink(path)!r}, where there "
                           f"is nothing; --force writes there, {option} names another file")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise CommandError(f"no permission to write {os.fspath(path)!r}")
    return path


@contextmanager
def is_saved(output):
    """Say so where what comes after the saving of a model is interrupted, or fails."""
    try:
        yield
    except (KeyboardInterrupt, CommandError):
        note(f"{escaped(output)} is saved", False)
        raise


def load_model(path):
    """Return the model of a file as a `Predictor`."""
    return describe_model(path)[0]


def describe_model(path):
    """Return the `Predictor` of a file, its settings, and the file's header."""
    from fastnn import loading

    try:
        return loading.describe(path)
    except FileNotFoundError as error:
        folder = Path(path).parent
        models = sorted(entry.name for entry in folder.glob("*.safetensors")) if (
            folder.is_dir()) else []
        hint = near(Path(path).name, models) if models else ""
        raise CommandError(f"{error}{hint}") from None


# ---- progress ----

class Progress:
    """One line that changes on a terminal; elsewhere a line now and then."""

    def __init__(self, quiet=False):
        self.quiet = quiet
        self.terminal = sys.stderr.isatty()
        self._last = -1.0
        self._open = False

    def show(self, number, text):
        """Tells of step ``number``, from 1."""
        if self.quiet:
            return
        if not self.terminal:
            first = str(number)
            if first[0] in "125" and not first[1:].strip("0"):  # 1, 2, 5, 10, 20, 50, ...
                print(text, file=sys.stderr, flush=True)
        elif time.monotonic() - self._last > 0.05:
            self._last = time.monotonic()
            self._open = True
            print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)

    def close(self):
        """Clear the line."""
        if self._open:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._open = False
