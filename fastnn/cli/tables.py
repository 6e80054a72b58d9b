"""Reading tables: separators, encodings, decimal marks, and what is wrong with a file."""

import csv
import difflib
import importlib
import io
import os
import re
import sys
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

from fastnn.cli.common import CommandError, count, need, note

__all__ = ["add_table_options", "blocks", "find_separator", "read_table"]

BLOCK = 1 << 16      # rows of a table that become inputs at a time
START = 1 << 16      # characters that are looked at before the table is read
PACKERS = {".gz": "gzip", ".bz2": "bz2", ".xz": "lzma"}
SEPARATORS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "space": r"\s+"}
MARKS = ((b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"), (b"\xff\xfe", "utf-16"),
         (b"\xfe\xff", "utf-16"))
DECIMALS = {",": re.compile(r"[-+]?\d+,\d+"), ".": re.compile(r"[-+]?\d+\.\d+")}
TEXTS = ("string", "mixed", "mixed-integer")  # kinds of pandas that hold text
ZERO_FIRST = r"\s*0\d+\s*"


def add_table_options(parser):
    """Add the options of how to read a table."""
    group = parser.add_argument_group("how to read the table")
    group.add_argument("--separator", metavar="CHAR",
                       help="what stands between the columns: a character, or tab or space "
                            "(default: found out)")
    group.add_argument("--encoding", default="utf-8", metavar="NAME",
                       help="of the text, such as latin-1 or cp1252 (default: utf-8, or what the "
                            "file's first bytes say)")


def read_table(path, separator=None, encoding="utf-8", text_columns=(), label_columns=(),
               quiet=False):
    """Return a data frame, its rows numbered from 1.

    Parameters
    ----------
    path : str
        CSV or the like, packed or not; Parquet by its ending; "-" is standard input.
    separator : str or None
        None: found out.
    encoding : str
    text_columns : sequence of str
        Columns to be read as text even where they look like numbers.
    label_columns : sequence of str
        Columns to be read as text where a value such as 01 would become another one, 1.
    quiet : bool
        No notes.
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
        frame = _read_csv(path, separator, encoding, text_columns, label_columns, quiet)
    if len(frame.columns) == 0:
        raise CommandError(f"{path!r} holds no columns")
    frame.columns = list(map(str, frame.columns))
    if not frame.columns.is_unique:
        double = frame.columns[frame.columns.duplicated()][0]
        raise CommandError(f"{path!r} has more than one column {double!r}")
    frame.index = pd.RangeIndex(1, len(frame) + 1)
    return frame


def _content(path):
    """All bytes of standard input or a pipe, which can be read once only; None for a file."""
    if path == "-":
        return sys.stdin.buffer.read()
    return None if os.path.isfile(path) else Path(path).read_bytes()


def _read_parquet(path):
    import pandas as pd

    content = _content(path)
    try:
        return pd.read_parquet(path if content is None else io.BytesIO(content))
    except ImportError:
        raise CommandError("Parquet files need pyarrow: python -m pip install pyarrow; or save the "
                           "table as CSV", 1) from None
    except Exception as error:  # each engine has exceptions of its own
        raise CommandError(f"{path!r} is not a Parquet file: {error}") from None


def _read_csv(path, separator, encoding, text_columns, label_columns, quiet):
    import lzma
    import zlib

    import pandas as pd

    try:
        packer = importlib.import_module(PACKERS.get(Path(path).suffix.lower(), "io"))
        content = _content(path)
        if content is not None and packer is not io:
            content = packer.decompress(content)

        def source():
            return path if content is None else io.BytesIO(content)

        with packer.open(path, "rb") if content is None else source() as file:
            mark = file.read(4)
        if encoding.replace("_", "-").lower() in ("utf-8", "utf8"):
            encoding = next((name for first, name in MARKS if mark.startswith(first)), "utf-8-sig")
        with packer.open(path, "rt", encoding=encoding) if content is None else (
                io.TextIOWrapper(source(), encoding)) as file:
            start = _start(file)
        if not start.strip():
            raise CommandError(f"{path!r} is empty")
        if "\0" in start:
            raise CommandError(f"{path!r} is not text, so it is no CSV file")
        separator = SEPARATORS.get(separator, separator) or find_separator(start)
        if not (len(separator) == 1 and separator.isascii()) and separator != SEPARATORS["space"]:
            raise CommandError(f"--separator {separator!r} must be one ASCII character, such as ; "
                               "or |, or tab or space")
        lines = _lines(start, separator)
        how = {"sep": separator, "encoding": encoding, "index_col": False, "low_memory": False,
               "skipinitialspace": True, "decimal": _decimal(lines, separator, quiet)}
        surplus = _check_widths(path, lines, quiet)
        if surplus:
            how |= {"header": 0, "names": _different(lines[0][1]) + surplus}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pd.errors.ParserWarning)
            warnings.filterwarnings("error", "Length of header", pd.errors.ParserWarning)
            frame = pd.read_csv(source(), dtype=dict.fromkeys(text_columns, str), **how)
            labels = [name for name in frame.columns if name in label_columns
                      and _all_whole(frame[name])]
            if labels:
                texts = pd.read_csv(source(), dtype=str, usecols=labels,
                                    **{**how, "index_col": None})
                for name in labels:
                    _keep_zeros(frame, name, texts[name], quiet)
        if surplus:
            there = frame[surplus].notna().to_numpy().any(axis=1)
            if there.any():
                raise CommandError(f"{path!r}: row {int(there.argmax()) + 1} has more values than "
                                   "the first line has names")
            frame = frame[frame.columns[:-len(surplus)]]
        if len(separator) == 1:
            _check_quotes(path, frame, separator)
        return frame
    except LookupError as error:
        if "encoding" not in str(error):
            raise
        raise CommandError(f"--encoding {encoding!r} is not known") from None
    except UnicodeError:
        raise CommandError(f"{path!r} is not text in {encoding.removesuffix('-sig')}; try "
                           "--encoding cp1252 (Windows) or latin-1") from None
    except pd.errors.EmptyDataError:
        raise CommandError(f"{path!r} is empty") from None
    except pd.errors.ParserWarning:
        raise CommandError(f"{path!r}: the rows have more values than the first line has "
                           "names") from None
    except pd.errors.ParserError as error:
        reason = str(error).replace("Error tokenizing data. C error: ", "").strip()
        if found := re.search(r"EOF inside string starting at row (\d+)", reason):
            raise CommandError(f"{path!r}: a quotation mark in row {found[1]} is not "
                               "closed") from None
        raise CommandError(f"{path!r} cannot be read as columns separated by {separator!r}: "
                           f"{reason}. Is another --separator right?") from None
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise CommandError(f"{path!r} is damaged: {error}") from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise CommandError(f"{path!r} is damaged: {error}") from None


# ---- the first lines ----

def _start(file):
    """Return the first characters, up to the end of a line; of a wide table three lines at
    least."""
    start = file.read(START)
    if len(start) == START:
        start += file.readline()
        while start.count("\n") < 3 and (line := file.readline()):
            start += line
    return start


def find_separator(start):
    """Return the separator that cuts the first lines into the most columns, as many in each."""
    lines = [line for line in start.splitlines() if line.strip()][:20]
    best = ",", 1
    for separator in (",", ";", "\t", "|"):
        try:
            widths = [len(row) for row in csv.reader(lines, delimiter=separator)]
        except csv.Error:  # a field of more than csv.field_size_limit()
            continue
        steady = sum(width == widths[0] for width in widths) / len(widths)
        if widths[0] * steady > best[1]:
            best = separator, widths[0] * steady
    return best[0]


def _lines(start, separator):
    """Return number and fields of the first lines that are not empty."""
    if len(separator) > 1:
        separator = " "
        start = "\n".join(" ".join(line.split()) for line in start.splitlines())
    reader = csv.reader(io.StringIO(start, newline=""), delimiter=separator, skipinitialspace=True)
    lines = []
    try:
        for fields in reader:
            if any(field.strip() for field in fields) or len(fields) > 1:
                lines.append((reader.line_num, fields))
    except csv.Error:
        pass
    if len(start) >= START and len(lines) > 2:
        lines.pop()  # a quotation may go on
    return lines


def _decimal(lines, separator, quiet):
    """Return the decimal mark: a comma only where semicolons separate and the numbers have
    commas."""
    if separator != ";" or not lines:
        return "."
    columns = {mark: {i for _, fields in lines[1:] for i, field in enumerate(fields)
                      if look.fullmatch(field.strip())} for mark, look in DECIMALS.items()}
    mark = "," if len(columns[","]) > len(columns["."]) else "."
    other = columns["." if mark == "," else ","]
    if other:
        named = lines[0][1][min(other)] if min(other) < len(lines[0][1]) else str(min(other) + 1)
        note(f"numbers are written both as 1.5 and as 1,5: the decimal mark is taken to be "
             f"{mark!r}; the others, as in column {named!r}, are text", quiet)
    return mark


def _check_widths(path, lines, quiet):
    """Names for the columns that are empty and have none; refuses those that are not empty."""
    if not lines:
        return []
    times = Counter(name for name in lines[0][1] if name.strip())
    double = next((name for name, count in times.items() if count > 1), None)
    if double is not None:
        note(f"the first line has {double!r} {times[double]} times: all but the first are "
             f"called {double}.1 and so on", quiet)
    if len(lines) < 2 or len(lines[1][1]) <= len(lines[0][1]):
        return []
    number, fields = lines[1]
    width = len(lines[0][1])
    if any(field.strip() for field in fields[width:]):
        raise CommandError(
            f"{path!r}: the first line has {count(width, 'name')}, but line {number} has "
            f"{count(len(fields), 'value')}, so it is not known which belongs to which. If the "
            "first values are names of the rows, give them a name in the first line, or leave "
            "them out (in R: write.csv with row.names=FALSE)")
    return [f"surplus {i} of the row" for i in range(len(fields) - width)]


def _different(names):
    """Return the names as pandas would call the columns."""
    found, times = {}, Counter()
    for i, name in enumerate(names):
        called = name or f"Unnamed: {i}"
        while called in found:
            times[name] += 1
            called = f"{name}.{times[name]}"
        found[called] = None
    return list(found)


# ---- the values ----

def _all_whole(series):
    if series.dtype.kind not in "iuf":
        return False
    values = series.to_numpy(np.float64)
    values = values[~np.isnan(values)]
    return bool((values == np.floor(values)).all())


def _keep_zeros(frame, name, texts, quiet):
    """Take a column as text where a number in it starts with 0: 01 is another label than 1."""
    zeros = texts.str.fullmatch(ZERO_FIRST).fillna(False).to_numpy(bool)
    if zeros.any():
        frame[name] = texts.str.strip()
        note(f"the target {name!r} is taken as text: {texts.iloc[int(zeros.argmax())].strip()!r} "
             "starts with 0; if these are amounts: --task regression", quiet)


def _check_quotes(path, frame, separator):
    """Refuses a value that holds the end of a row and the start of another."""
    from pandas.api.types import infer_dtype

    for k, (name, dtype) in enumerate(zip(frame.columns, frame.dtypes, strict=True)):
        if dtype.kind in "biufcmM":
            continue
        series = frame[name]
        if infer_dtype(series) not in TEXTS:
            continue
        several = series.str.contains("\n", regex=False).fillna(False).to_numpy(bool)
        rest = len(frame.columns) - 1 - k
        for i in np.flatnonzero(several):
            value = series.iloc[i]
            if value.count('"') % 2 and value.split("\n")[0].count(separator) >= rest:
                raise CommandError(
                    f"{path!r}, row {i + 1}: column {name!r} holds the end of its line and the "
                    "start of another; a quotation mark is not closed")


def blocks(frame):
    """Return the frame in pieces that can be turned into inputs without much memory."""
    return [frame.iloc[start:start + BLOCK] for start in range(0, len(frame), BLOCK)] or [frame]
