"""What the commands share: errors, tables, models, progress."""

import argparse
import csv
import difflib
import importlib
import io
import os
import re
import sys
import time
from pathlib import Path

__all__ = ["CommandError", "Help", "Progress", "blocks", "check_output", "count", "load_model",
           "near", "need", "note", "program", "read_table"]

BLOCK = 1 << 16  # rows of a table that become inputs at a time
PACKERS = {".gz": "gzip", ".bz2": "bz2", ".xz": "lzma"}
SEPARATORS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "space": r"\s+"}


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


def note(text, quiet=False):
    """A remark on standard error."""
    if not quiet:
        print(f"note: {text}", file=sys.stderr, flush=True)


def count(number, noun):
    """Such as "1 row", "2,000 rows"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def near(name, names):
    """" Did you mean ...?", or what there is instead."""
    names = list(names)
    folded = {known.strip().lower(): known for known in names}
    close = [folded[match] for match in
             difflib.get_close_matches(name.strip().lower(), folded, 3, 0.6)]
    if close:
        return f"; did you mean {' or '.join(map(repr, close))}?"
    shown = ", ".join(map(repr, names[:12])) + (", ..." if len(names) > 12 else "")
    return f"; there are: {shown}"


def need(*packages):
    """Raises with the remedy where a package is missing."""
    for module, package in packages:
        try:
            importlib.import_module(module)
        except ImportError:
            raise CommandError(
                f"this needs {package}, which is not installed here. Install it with\n"
                f"    python -m pip install {package}\n"
                "or everything for the command line with\n"
                '    python -m pip install "fastnn[cli]"', 1) from None


def check_output(path, force, data=None):
    """Refuses a place that cannot be written to, before any work is done."""
    path = Path(path)
    if path.is_dir():
        raise CommandError(f"{os.fspath(path)!r} is a folder, must be a file name")
    if not path.parent.is_dir():
        raise CommandError(f"there is no folder {os.fspath(path.parent)!r} to write {path.name!r} "
                           "in; make it first, or choose another place with --output")
    if data is not None and path.exists() and Path(data).exists() and path.samefile(data):
        raise CommandError(f"{os.fspath(path)!r} is the input; choose another file with --output")
    if path.exists() and not force:
        raise CommandError(f"{os.fspath(path)!r} exists; --force replaces it, --output names "
                           "another file")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise CommandError(f"no permission to write {os.fspath(path)!r}")
    return path


def load_model(path):
    """The model of a file as a `Predictor`."""
    from fastnn import model_file

    try:
        return model_file.load(path, predictor=True)
    except FileNotFoundError as error:
        folder = Path(path).parent
        models = sorted(entry.name for entry in folder.glob("*.safetensors")) if (
            folder.is_dir()) else []
        hint = near(Path(path).name, models) if models else ""
        raise CommandError(f"{error}{hint}") from None


# ---- tables ----

def add_table_options(parser):
    """The options of how to read a table."""
    group = parser.add_argument_group("how to read the table")
    group.add_argument("--separator", metavar="CHAR",
                       help="what stands between the columns: a character, or tab or space "
                            "(default: found out)")
    group.add_argument("--encoding", default="utf-8", metavar="NAME",
                       help="of the text, such as latin-1 or cp1252 (default: utf-8)")


def read_table(path, separator=None, encoding="utf-8", text_columns=()):
    """A data frame, its rows numbered from 1.

    Parameters
    ----------
    path : str
        CSV or the like, packed or not; Parquet by its ending; "-" is standard input.
    separator : str or None
        None: found out.
    encoding : str
    text_columns : sequence of str
        Columns to be read as text even where they look like numbers.
    """
    need(("pandas", "pandas"))
    import pandas as pd

    if path != "-" and not os.path.exists(path):
        folder = Path(path).parent
        files = [entry.name for entry in folder.iterdir() if entry.is_file()] if (
            folder.is_dir()) else []
        close = difflib.get_close_matches(Path(path).name, files, 3, 0.6)
        raise CommandError(f"there is no file {path!r}" + (
            f"; did you mean {' or '.join(repr(str(folder / name)) for name in close)}?"
            if close else ""))
    if os.path.isdir(path):
        raise CommandError(f"{path!r} is a folder, must be a table")
    name = Path(path).name.lower()
    if name.endswith((".parquet", ".pq")):
        frame = _read_parquet(path)
    elif name.endswith((".xlsx", ".xls", ".ods", ".safetensors", ".zip", ".json", ".npz", ".npy")):
        raise CommandError(f"{path!r} is neither CSV nor Parquet; save the table as CSV")
    else:
        frame = _read_csv(path, separator, encoding, text_columns)
    if len(frame.columns) == 0:
        raise CommandError(f"{path!r} holds no columns")
    frame.index = pd.RangeIndex(1, len(frame) + 1)
    return frame


def _read_parquet(path):
    import pandas as pd

    try:
        return pd.read_parquet(path)
    except ImportError:
        raise CommandError("Parquet files need pyarrow: python -m pip install pyarrow; or save the "
                           "table as CSV", 1) from None
    except Exception as error:  # each engine has exceptions of its own
        raise CommandError(f"{path!r} is not a Parquet file: {error}") from None


def _read_csv(path, separator, encoding, text_columns):
    import lzma
    import zlib

    import pandas as pd

    if encoding.replace("_", "-").lower() in ("utf-8", "utf8"):
        encoding = "utf-8-sig"
    try:
        if path == "-":
            source = io.BytesIO(sys.stdin.buffer.read())
            start = io.TextIOWrapper(io.BytesIO(source.getvalue()[:1 << 16]), encoding,
                                     errors="replace").read()
        else:
            source = path
            packer = importlib.import_module(PACKERS.get(Path(path).suffix.lower(), "io"))
            with packer.open(path, "rt", encoding=encoding) as file:
                start = file.read(1 << 16)
        if not start.strip():
            raise CommandError(f"{path!r} is empty")
        if "\0" in start:
            raise CommandError(f"{path!r} is not text, so it is no CSV file")
        separator = SEPARATORS.get(separator, separator) or find_separator(start)
        if len(separator) != 1 and separator != SEPARATORS["space"]:
            raise CommandError(f"--separator {separator!r} must be one character, or tab or space")
        decimal = "," if separator == ";" and re.search(
            r"(^|;)\"?-?\d+,\d+\"?(;|\s*$)", start, re.MULTILINE) else "."
        return pd.read_csv(source, sep=separator, encoding=encoding, decimal=decimal,
                           skipinitialspace=True, low_memory=False, index_col=False,
                           dtype=dict.fromkeys(text_columns, str))
    except LookupError as error:
        if "encoding" not in str(error):
            raise
        raise CommandError(f"--encoding {encoding!r} is not known") from None
    except UnicodeError:
        raise CommandError(f"{path!r} is not text in {encoding.removesuffix('-sig')}; try "
                           "--encoding cp1252 (Windows) or latin-1") from None
    except pd.errors.EmptyDataError:
        raise CommandError(f"{path!r} is empty") from None
    except pd.errors.ParserError as error:
        reason = str(error).replace("Error tokenizing data. C error: ", "").strip()
        raise CommandError(f"{path!r} cannot be read as columns separated by {separator!r}: "
                           f"{reason}. Is another --separator right?") from None
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise CommandError(f"{path!r} is damaged: {error}") from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise CommandError(f"{path!r} is damaged: {error}") from None


def find_separator(start):
    """The separator that cuts the first lines into the most columns, as many in each."""
    lines = [line for line in start.splitlines() if line.strip()][:20]
    if len(start) >= 1 << 16 and len(lines) > 1:
        lines.pop()  # it may be cut off
    best = ",", 1
    for separator in (",", ";", "\t", "|"):
        widths = [len(row) for row in csv.reader(lines, delimiter=separator)]
        steady = sum(width == widths[0] for width in widths) / len(widths)
        if widths[0] * steady > best[1]:
            best = separator, widths[0] * steady
    return best[0]


def blocks(frame):
    """The frame in pieces that can be turned into inputs without much memory."""
    return [frame.iloc[start:start + BLOCK] for start in range(0, len(frame), BLOCK)] or [frame]


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
        """Clears the line."""
        if self._open:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._open = False
