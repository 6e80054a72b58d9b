"""`read`: a file to a `Table` whose cells are text as it stands there.

Separators, encodings, packed files and the line with the names are found out; what is wrong with a
file is said with the number of the line.
"""

from __future__ import annotations

import csv
import difflib
import io
import itertools
import lzma
import numbers
import os
import re
import sys
import threading
import zlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from fastnn.core.imports import imported
from fastnn.core.notices import shorten, shown, suggests
from fastnn.tables import opening
from fastnn.tables.cells import MISSING_WORDS, Style, words_of
from fastnn.tables.errors import TableError, shown_value
from fastnn.tables.numerals import sure_decimal
from fastnn.tables.table import Table
from fastnn.tables.texts import Texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastnn.core.types import File

__all__ = ["read"]

BLOCK = 1 << 14      # rows whose columns are put together at a time
START = 1 << 16      # characters that are looked at before the table is read
SEPARATORS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "space": " "}
OTHERS = (".xlsx", ".xls", ".ods", ".safetensors", ".zip", ".json", ".npz", ".npy", ".feather",
          ".arrow", ".png", ".jpg", ".jpeg", ".pdf", ".sqlite", ".db", ".pkl", ".sav", ".dta")
_limit = threading.RLock()  # of the csv module; a signal handler may read while we do


def _renew():
    """Open the lock of a forked process, whose other threads are gone."""
    global _limit
    _limit = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


@suggests
def read(path: File, *, separator: str | None = None, encoding: str = "utf-8",
         decimal: str | None = None, thousands: str | None = None, na: Sequence[str] = (),
         header_row: int | None = None, day_first: bool | None = None) -> Table:
    """Return the `Table` of a file.

    Parameters
    ----------
    path : str or path
        CSV or the like, packed (.gz, .bz2, .xz) or not; Parquet by its ending; "-" is standard
        input.
    separator : str or None, default=None
        Stands between the columns: one character, or "tab", "space", "comma", "semicolon". None:
        found out.
    encoding : str, default="utf-8"
        Of the text; a mark at the beginning of the file goes before it.
    decimal, thousands : str or None, default=None
        Marks in numbers: "." or ","; for thousands also " " or "'". None: found out from the values
        in training, as the model says in prediction.
    na : sequence of str, default=()
        Words that mean "missing", besides those of `MISSING_WORDS`.
    header_row : int or None, default=None
        The line with the names, from 1; 0: there is none, the columns are called x0, x1, ...
        None: the first line that is not empty.
    day_first : bool or None, default=None
        Whether 1/2/2024 is the first of February. None: found out.

    Returns
    -------
    Table
        Whose cells are text.

    Raises
    ------
    FileNotFoundError
        When there is no such file; with names that are like it.
    ImportError
        When a Parquet file needs pyarrow, which is not there.
    TableError
        When it is no table, or is damaged: with the number of the line.
    """
    _check_options(path, separator, encoding, decimal, thousands, header_row, day_first)
    na = words_of("na", na)
    path = os.fspath(path)
    style = Style(decimal=decimal, thousands=thousands, day_first=day_first)
    if path != "-" and not os.path.exists(path):
        raise FileNotFoundError(_no_file(path))
    if os.path.isdir(path):
        raise TableError(f"{path!r} is a folder, must be a table")
    name = Path(path).name.lower()
    if name.endswith((".parquet", ".pq")):
        table = imported("fastnn.tables.parquet").read(path)
    elif name.endswith(OTHERS):
        raise TableError(f"{path!r} is neither CSV nor Parquet{_other(path)}; save the table as "
                         "CSV")
    else:
        table = _Reader(path, separator, encoding, style, header_row).table()
    table.na = na
    return table


def _check_options(path, separator, encoding, decimal, thousands, header_row, day_first):
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path={shown(path)} must be the path of a file, such as 'table.csv'; of a "
                        "file that is open, or of text, pandas.read_csv makes a frame")
    if day_first not in (None, True, False):
        raise TypeError(f"day_first={shown(day_first)} must be True, False or None")
    if not isinstance(encoding, str):
        raise TypeError(f"encoding={encoding!r} must be the name of an encoding, such as 'utf-8'")
    if not isinstance(separator, (str, type(None))):
        raise TypeError(f"separator={separator!r} must be a string or None")
    if header_row is not None and not isinstance(header_row, numbers.Integral):
        raise TypeError(f"header_row={header_row!r} must be a whole number or None")
    if decimal not in (None, ".", ","):
        raise ValueError(f"decimal={decimal!r} must be '.' or ','")
    if thousands not in (None, "", ".", ",", " ", "'"):
        raise ValueError(f"thousands={thousands!r} must be '.', ',', ' ' or \"'\"")
    if thousands and thousands == decimal:
        raise ValueError(f"decimal={decimal!r} and thousands={thousands!r} must differ")
    if header_row is not None and header_row < 0:
        raise ValueError(f"header_row={header_row} must be 0 or more")


def _no_file(path):
    folder = Path(path).parent
    files = [entry.name for entry in folder.iterdir() if entry.is_file()] if (
        folder.is_dir()) else []
    close = difflib.get_close_matches(Path(path).name, files, 3, 0.6)
    return f"there is no file {path!r}" + (
        f"; did you mean {' or '.join(repr(str(folder / name)) for name in close)}?"
        if close else "")


def _other(path):
    """Return the middle of a message: what a file looks like that is no table, or nothing."""
    from fastnn.files.kinds import looks_like

    what = looks_like(path) if path != "-" else None
    return "" if what is None or what.startswith(("a table", "text (")) else (
        f": it looks like {what}")


class _Reader:
    """One reading of a file of text."""

    def __init__(self, path, separator, encoding, style, header_row):
        self.path, self.separator, self.encoding = path, separator, encoding
        self.style, self.header_row = style, header_row
        self.notes, self.strictly = [], None

    def table(self):
        path = self.path
        try:
            self.packer, self.content = None, opening.content_of(path)
            with self._bytes() as file:
                self.packer = opening.packer_of(path, file.read(8))
            self._look()
            with _limit:  # the limit of the csv module is one for the process
                before = csv.field_size_limit(sys.maxsize)
                try:
                    return self._as_its_rest_asks()
                finally:
                    csv.field_size_limit(before)
        except LookupError as error:
            if "encoding" not in str(error):
                raise
            raise TableError(f"--encoding {self.encoding!r} is not known (encoding=...)") from None
        except UnicodeError:
            raise TableError(self._no_text()) from None
        except (EOFError, zlib.error, lzma.LZMAError) as error:
            raise TableError(f"{path!r} is damaged: {error}") from None
        except csv.Error as error:
            raise TableError(f"{path!r} cannot be read as columns separated by "
                             f"{self.separator!r}: {error}") from None
        except OSError as error:
            if error.errno is not None:
                raise
            raise TableError(f"{path!r} is damaged: {error}") from None

    def _no_text(self):
        other = _other(self.path)
        if other:
            return f"{self.path!r} is no table as text{other}; save the table as CSV"
        with self._bytes() as file:
            cure = opening.wide(file.read(4096).decode("latin-1"))
        with self._bytes() as file:
            bad = opening.first_bad_line(file, self.encoding)
        place = "" if bad is None else f" (byte 0x{bad[1]:02x} in line {bad[0]:,})"
        return (f"{self.path!r} is not text in {self.encoding.removesuffix('-sig')}{place}"
                + (cure or "; if it is a table: --encoding cp1252 (Windows) or latin-1 "
                           "(encoding=...)"))

    def _bytes(self):
        if self.packer is None:
            return open(self.path, "rb") if self.content is None else io.BytesIO(self.content)
        size = os.path.getsize(self.path) if self.content is None else len(self.content)
        source = self.path if self.content is None else io.BytesIO(self.content)
        return opening.bounded(self.packer.open(source, "rb"), self.path, size)

    def _open(self):
        return io.TextIOWrapper(opening.Tail(self._bytes()), self.encoding, newline="")

    def _as_its_rest_asks(self):
        """Return the table: read once more where what is behind the start shows other marks."""
        found, error = self._tried()
        if self.goes_on and (error or self._has_marks()) and self._quotes_differently():
            again, other = self._tried()
            found, error = (again, None) if again else (found, error and other)
        if error:
            raise error
        return found

    def _tried(self):
        self.notes = []
        try:
            found = self._read()
            if found is None:  # once more, without marks of an encoding amid the rows
                self.marked, self.notes = True, []
                found = self._read()
            return found, None
        except TableError as error:
            return None, error

    def _has_marks(self):
        """Whether cells hold what may be quotation marks of values, or stand before such."""
        looked_for = '"' * (not self.skip_blanks) + "\\" * (not self.escaped)
        return any(mark in text for column in self.columns for text in column.blocks_of_text()
                   for mark in looked_for)

    def _quotes_differently(self):
        """Find out from the whole file how values are quoted; return whether the start has not told
        it."""
        try:
            with self._open() as file:
                text = file.read()
        except (UnicodeError, EOFError, OSError, zlib.error, lzma.LZMAError, TableError):
            return False
        before = self.skip_blanks, self.escaped
        self.skip_blanks = self.skip_blanks or opening.quoted_behind_blanks(text, self.separator)
        self.escaped = self.escaped or opening.escaped(text, self.separator, self.skip_blanks)
        return (self.skip_blanks, self.escaped) != before

    # ---- before the rows ----

    def _look(self):
        """Find out encoding and separator from the beginning."""
        with self._bytes() as file:
            self.encoding = opening.encoding_of(file.read(4), self.encoding)
        with self._open() as file:
            start = file.read(START)
            if len(start) == START:
                start += file.readline()
                n_lines = len(opening.lines_of(start))
                while n_lines < 3 and (line := file.readline()):
                    start += line
                    n_lines += 1
            self.goes_on = bool(file.read(1))
        if not start.strip():
            raise TableError(f"{self.path!r} is empty")
        if "\0" in start:
            raise TableError(f"{self.path!r} is not text, so it is no CSV file"
                             f"{_other(self.path)}{opening.wide(start)}")
        other = opening.other_text(start)
        if other is not None and self.separator is None and self.header_row is None:
            raise TableError(f"{self.path!r} is no table as CSV: it looks like {other}")
        lines = opening.lines_of(start)
        self.skipped = 0
        said = re.fullmatch(r"\ufeff?\"?sep=(.)\"?[,;\t]*\s*", lines[0], re.IGNORECASE)
        if said:  # what Excel writes for itself
            self.skipped = 1
            lines = lines[1:]
        if self.header_row:
            lines = lines[max(0, self.header_row - 1 - self.skipped):]
        separator = SEPARATORS.get(self.separator, self.separator)
        if separator is None:
            separator = said[1] if said else opening.find_separator("".join(lines))
        if not (len(separator) == 1 and separator.isascii()) or separator in "\"\r\n":
            raise TableError(f"--separator {separator!r} must be one ASCII character, such as ; or "
                             "|, or tab or space (separator=...)")
        self.spaces = separator == " "
        self.separator = separator
        # a blank before a quotation mark would make it a part of the text
        self.skip_blanks = self.spaces or opening.blanks_before_quotes(start, separator)
        self.escaped = opening.escaped(start, separator, self.skip_blanks)
        self.quote = "'" if opening.single_quotes(lines, separator) else '"'

        self.marked = "\ufeff" in start
        # of a writer whose \r\n went through a text file of Windows: the second end is no line
        self.doubled = "\r\r\n" in start

    def _lines(self, file):
        return self._changed(file) if self.spaces or self.escaped or self.marked else file

    def _changed(self, file):
        for line in file:
            if line.startswith("\ufeff"):  # of a file that was put behind another one
                line = line.lstrip("\ufeff")
            if self.escaped:
                line = opening.unescaped(line)
            yield " ".join(line.split()) + "\n" if self.spaces else line

    # ---- the rows ----

    def _read(self):
        """Return the table; None where lines behind the start have a mark of an encoding."""
        with self._open() as file:
            lines = self._lines(file)
            for _ in range(self.skipped):
                next(lines)
            if self.header_row:
                for _ in range(self.header_row - 1 - self.skipped):
                    if next(lines, None) is None:
                        break
                self.skipped = max(self.header_row - 1, self.skipped)
            self.reader = csv.reader(lines, delimiter=self.separator, quotechar=self.quote,
                                     skipinitialspace=self.skip_blanks)
            first = self._first()
            if self.header_row == 0:
                names = [f"x{i}" for i in range(len(first))]
                ahead = [*[[""]] * self.n_blank, first]
            else:
                names, ahead = list(first), []
            second = self._next_filled()
            if self.header_row is None:
                names, second = self._below_nothing(names, second)
            if second is not None:
                ahead.append(second)
            width = self._width(names, second)
            columns, n_rows = self._rows(ahead, names, width)
            self.columns = columns
            cut = file.buffer.may_be_cut()
        if not self.marked and any("\ufeff" in text for text in columns[0].blocks_of_text()):
            return None
        names = self._different(names)
        if width > len(names):
            surplus = columns[len(names):]
            for column in surplus:
                there = next((i for i, text in enumerate(column.raw()) if text.strip()), None)
                if there is not None:
                    raise TableError(f"{self.path!r}: row {there + 1} has more values than the "
                                     "first line has names")
            columns = columns[:len(names)]
        self._style(columns)
        for name, column in zip(names, columns, strict=True):
            column.name = name
        self._check_end(columns, n_rows, cut)
        found = Table(dict(zip(names, columns, strict=True)), n_rows,
                      labels=range(1, n_rows + 1), notes=self.notes)
        found.first_line = self.first_line if self.header_row != 0 else None
        return found

    def _line(self):
        return self.reader.line_num + self.skipped

    def _next_filled(self):
        for fields in self.rows:
            if len(fields) > 1 or (fields and (fields[0].strip() or self.width_one)):
                return fields
            self.n_blank += 1
        return None

    def _first(self):
        self.width_one, self.n_blank, self.rows = False, 0, self.reader
        found = self._next_filled()
        if found is None:
            where = f" in line {self.header_row} or below" if self.header_row else ""
            raise TableError(f"{self.path!r} holds no line with names{where}")
        self.width_one = len(found) == 1
        if self.width_one:
            self.rows = self._rows_of_one()
        # those above the names mean nothing
        self.n_blank = self.n_blank // (1 + self.doubled) * (
            self.width_one and self.header_row == 0)
        self.first_line = self._line()
        return found

    def _rows_of_one(self):
        """Yield the rows of a table of one column: a blank line is a missing value, as most
        programs write it."""
        ended = False  # a line whose end is doubled
        for fields in self.reader:
            if not fields and self.doubled and not ended:
                ended = True
                continue
            ended = False
            if fields != ["\x1a"]:  # DOS's mark of the end
                self.n_blank += not fields
                yield fields or [""]

    def _below_nothing(self, names, second):
        """Return names and first row: below lines of nothing but separators, as spreadsheets
        write them."""
        line = self.first_line
        while second is not None and not any(map(str.strip, names)):
            if not (opening.names_behind(names, second) or not any(map(str.strip, second))):
                break
            names, line, second = second, self._line(), self._next_filled()
        if line != self.first_line:
            self.notes.append(f"line {line} has the names of the columns, the lines before it hold "
                              "nothing")
            self.first_line = line
        elif second is not None and opening.is_title(names, second):
            self.notes.append(
                f"the first line has {shown_value(names[0])} alone: if it is a title, --header-row "
                f"{self._line()} (header_row={self._line()})")
        return names, second

    def _width(self, names, second):
        """Return how many columns there are: with empty ones behind those that have names."""
        if second is None or len(second) <= len(names):
            return len(names)
        line = self._line()
        if any(field.strip() for field in second[len(names):]):
            title = "" if len(names) > 2 else (
                f". If line {self.first_line} is a title: --header-row {line} (header_row={line})")
            raise TableError(
                f"{self.path!r}: the first line has {_count(len(names), 'name')}, but line {line} "
                f"has {_count(len(second), 'value')}, so it is not known which belongs to which. "
                f"A value that holds {self.separator!r} must stand in quotation marks (\"). "
                "If the first values are names of the rows, give them a name in the first line, or "
                f"leave them out (in R: write.csv with row.names=FALSE){title}")
        return len(second)

    def _rows(self, ahead, names, width):
        columns = [Texts(None) for _ in range(width)]
        n_rows, repeated = 0, 0
        short = []  # (line, number of values)
        n_named = len(names)
        while n_named > 1 and not names[n_named - 1].strip():
            n_named -= 1
        block = []
        head = names if self.header_row != 0 else None

        def close():
            nonlocal n_rows
            if block:
                for column, texts in zip(columns, zip(*block, strict=True), strict=True):
                    column.add(texts)
                n_rows += len(block)
                block.clear()

        for fields in itertools.chain(ahead, self.rows):
            if len(fields) != width:
                if not any(map(str.strip, fields)) and (len(fields) < 2 or not fields) or (
                        fields == ["\x1a"]):
                    continue  # a blank line, or DOS's mark of the end
                if len(fields) > width:
                    if any(field.strip() for field in fields[width:]):
                        raise TableError(self._too_many(len(fields), width, n_rows + len(block)))
                    fields = fields[:width]
                elif len(fields) >= n_named:
                    fields = fields + [""] * (width - len(fields))
                else:
                    short.append((self._line(), len(fields)))
                    if len(short) > 1000:
                        break
                    continue
            if fields[0] == names[0] and head is not None and fields[:len(head)] == head:
                repeated += 1
                continue
            block.append(fields)
            if len(block) == BLOCK:
                close()
        close()
        if short:
            self._check_closed(n_rows + 1)
            line, n = short[0]
            raise TableError(
                f"{self.path!r}: line {line} has {_count(n, 'value')}, must have {len(names)}"
                + (f"; so have {_count(len(short) - 1, 'more line')} too few" if len(short) > 1
                   else "") + ". Which values are missing is not known: correct the file. Is "
                "another --separator right?")
        if width == 1 and self.n_blank:
            self.notes.append(f"{_count(self.n_blank, 'blank line')} counted as missing values, as "
                              "the table has one column")
        if repeated:
            self.notes.append(f"{_count(repeated, 'line')} like the first one, with the names of "
                              "the columns, left out")
        return columns, n_rows

    def _too_many(self, n, width, row):
        line = self._line()
        title = "" if width > 2 else (f" If the lines before are a title: --header-row {line} "
                                      f"(header_row={line})")
        return (f"{self.path!r}: line {line} has {_count(n, 'value')}, must have {width}: "
                f"row {row + 1} has more values than the first line has names. A value that holds "
                f"{self.separator!r} must stand in quotation marks. Is another --separator right?"
                + title)

    def _different(self, names):
        """Return the names as the columns are called: no name is "Unnamed: 0" and so on."""
        names = [name.strip() for name in names]
        times = Counter(name for name in names if name)
        double = next((name for name, count in times.items() if count > 1), None)
        if double is not None:
            self.notes.append(f"the first line has {shown_value(double)} {times[double]} times: "
                              f"all but the first are called {shorten(double, 60)}.1 and so on")
        found, seen = {}, Counter()
        for i, name in enumerate(names):
            called = name or f"Unnamed: {i}"
            while called in found:
                seen[name] += 1
                called = f"{name}.{seen[name]}"
            found[called] = None
        if self.header_row is None and names and all(
                re.fullmatch(r"[-+]?[\d.,]+|", name) for name in names) and any(names):
            self.notes.append("the first line holds numbers only: is the line with the columns' "
                              "names missing? Then: --header-row 0 (header_row=0)")
        return list(found)

    def _style(self, columns):
        """Find out the decimal mark of the file, which decides where a column is in doubt; of a
        column that shows another one beyond doubt it is that."""
        usual, own = self.style.decimal, [None] * len(columns)
        if usual is None:
            for k, column in enumerate(columns):
                if column.blocks:
                    words = [text.strip() for text in dict.fromkeys(column.some())]
                    own[k] = sure_decimal([text for text in words
                                           if text and text not in MISSING_WORDS])
            votes = Counter(own)
            if votes["."] != votes[","]:
                usual = "," if votes[","] > votes["."] else "."
        styles = {mark: Style(self.style.decimal, self.style.thousands, mark, self.separator,
                              self.style.day_first) for mark in {usual, *own}}
        for column, mark in zip(columns, own, strict=True):
            column.style = styles[mark or usual]

    # ---- quotation marks that are not closed ----

    def _check_end(self, columns, n_rows, several):
        """Refuse a value that holds the end of a row and the start of another."""
        for column in columns:
            if any("\0" in text for text in column.blocks_of_text()):
                row = next(i for i, text in enumerate(column.raw(), 1) if "\0" in text)
                raise TableError(f"{self.path!r}, row {row}: column {shown_value(column.name)} "
                                 "holds NUL characters, so the file is not text")
        for k, column in enumerate(columns):
            if not any("\n" in text for text in column.blocks_of_text()):
                continue
            several = True
            rest = len(columns) - 1 - k
            for i, value in enumerate(column.raw()):
                if "\n" in value and value.count('"') % 2 and (
                        value.split("\n")[0].count(self.separator) >= rest) and (
                        self._not_strict()):
                    raise TableError(
                        f"{self.path!r}, row {i + 1}: column {shown_value(column.name)} holds "
                        "the end of its line and the start of another; a quotation mark is not "
                        "closed")
                lines = opening.rows_within(value, self.separator, k, rest)
                if lines:
                    self.notes.append(
                        f"row {i + 1}: column {shown_value(column.name)} holds "
                        f"{_count(lines, 'line')} with as many values as a row: is a quotation "
                        "mark before it not closed? Then these rows are lost")
        if several:
            self._check_closed(n_rows)

    def _check_closed(self, n_rows):
        if "unexpected end" in self._not_strict():
            raise TableError(f"{self.path!r}: a quotation mark in row {n_rows} is not closed")

    def _not_strict(self):
        """Return what is wrong with quotation marks in the file, empty where nothing is: a value
        may hold lines and single marks."""
        if self.strictly is None:
            self.strictly = self._read_strictly()
        return self.strictly

    def _read_strictly(self):
        with self._open() as file:
            reader = csv.reader(self._lines(file), delimiter=self.separator, strict=True,
                                quotechar=self.quote, skipinitialspace=self.skip_blanks)
            try:
                for _ in reader:
                    pass
            except csv.Error as error:
                return str(error)
        return ""


def _count(number, noun):
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
