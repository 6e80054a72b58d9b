"""What a file of text is before its rows are read: packed or not, its encoding, its separator and
quotation marks; and what else it may be."""

import bz2
import csv
import gzip
import io
import itertools
import lzma
import os
import re
import sys
from pathlib import Path

from fastnn.tables.cells import PLAIN_NUMBER
from fastnn.tables.errors import TableError

__all__ = ["Tail", "blanks_before_quotes", "bounded", "content_of", "encoding_of", "escaped",
           "find_separator", "first_bad_line", "is_title", "lines_of", "names_behind",
           "other_text", "packer_of", "quoted_behind_blanks", "rows_within", "single_quotes",
           "unescaped", "wide"]

PACKERS = {".gz": gzip, ".bz2": bz2, ".xz": lzma}
# what a packed file may come to: so many bytes, or so many times its own
MOST_UNPACKED, MOST_RATIO = 1 << 28, 200
PACKED = ((b"\x1f\x8b\x08", gzip), (b"BZh", bz2), (b"\xfd7zXZ\0", lzma))
BYTE_MARKS = ((b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"), (b"\xff\xfe", "utf-16"),
              (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig"))
ESCAPE = re.compile(r'\\(["\\])')
# how a file begins that is text, and no table -> what it is
TEXTS = (
    (re.compile(r'\[?\s*\{\s*("|\}|$)|\[\s*[\[\]]'),
     "JSON: pandas.read_json(path) reads it (lines=True where each line is an object)"),
    (re.compile(r"<(!doctype|html|\?xml|table|head|body)\b", re.IGNORECASE),
     "a web page or XML: pandas.read_html(path) finds the tables of a page"),
    (re.compile("version https://git-lfs"), "a pointer of Git LFS: run git lfs pull"),
    (re.compile(r"(%[^\n]*\n|\s)*@relation\b", re.IGNORECASE),
     "an ARFF file: scipy.io.arff.loadarff(path) reads it"),
    (re.compile(r"[-+]?\d[\d.,eE+-]*( +\d+:[-+]?[\d.]+(e[-+]?\d+)?)+ *\r?\n", re.IGNORECASE),
     "a file of libsvm: sklearn.datasets.load_svmlight_file(path) reads it"),
)


class Tail(io.BufferedIOBase):
    """The bytes of a file, of which the last ones that were read stay."""

    KEPT = 1 << 13

    def __init__(self, file):
        self.file, self.last = file, b""

    def readable(self):
        """Whether bytes can be read: as `io.TextIOWrapper` asks."""
        return True

    def read1(self, size=-1):
        """Return some of the next bytes."""
        found = self.file.read1(size)
        if found:
            self.last = self.last[-self.KEPT:] + found
        return found

    def read(self, size=-1):
        """Return the next bytes."""
        return self.read1(size) if size is not None and size >= 0 else self.file.read()

    def close(self):
        """Close the file, too."""
        self.file.close()
        super().close()

    def may_be_cut(self):
        """Whether the last line has no end, and a quotation mark that others would close: a value
        of several lines is seen by these."""
        _, end, last = self.last.rstrip(b"\0").replace(b"\r", b"\n").rpartition(b"\n")
        return last.count(b'"') % 2 == 1 or not end  # of a longer one the start is not here


def lines_of(text):
    """Return the lines of a text with their ends, as a file has them: str.splitlines would end one
    at marks that stand within values, such as U+2028 and the tabs between lines of a cell."""
    return list(io.StringIO(text, newline=""))


def content_of(path):
    """Return all bytes of standard input or a pipe, which can be read once only; None for a
    file."""
    if path == "-":
        if sys.stdin is None:
            raise TableError("standard input is closed: give the name of a file")
        return sys.stdin.buffer.read()
    return None if os.path.isfile(path) else Path(path).read_bytes()


def packer_of(path, head):
    """Return the module that unpacks a file by its name or its first bytes, or None."""
    by_name = PACKERS.get(Path(path).suffix.lower())
    return by_name or next((packer for mark, packer in PACKED if head.startswith(mark)), None)


def names_behind(fields, second):
    """Whether a line of nothing but separators stands above the names: a line of words, all of them
    different."""
    words = [field.strip() for field in second]
    return not any(map(str.strip, fields)) and all(words) and len(set(words)) == len(words) and (
        not any(map(PLAIN_NUMBER.fullmatch, words)))


def is_title(names, second):
    """Whether a line has a title alone, and the next one looks like names."""
    return len(names) > 2 and bool(names[0].strip()) and names_behind(names[1:], second)


def bounded(file, path, size):
    """Return an unpacked file that raises where it comes to many times the bytes it was packed in:
    a megabyte may hold a gigabyte of one character, and more.

    Parameters
    ----------
    file : file of bytes
    path : str
        For the message.
    size : int
        Bytes of the packed file.
    """
    return io.BufferedReader(_Bounded(file, path, max(MOST_UNPACKED, MOST_RATIO * size)))


class _Bounded(io.RawIOBase):
    def __init__(self, file, path, most):
        self.file, self.path, self.most, self.count = file, path, most, 0

    def readable(self):
        return True

    def readinto(self, buffer):
        n = self.file.readinto(buffer)
        self.count += n
        if self.count > self.most:
            raise TableError(f"{self.path!r} unpacks to more than {self.most:,} bytes, many times "
                             "its size: if that is right, unpack it first")
        return n

    def close(self):
        self.file.close()
        super().close()


def encoding_of(head, said):
    """Return the encoding of a file by its first bytes: a mark goes before what was said."""
    found = next((name for mark, name in BYTE_MARKS if head.startswith(mark)), None)
    plain = said.replace("_", "-").lower() in ("utf-8", "utf8")
    return found or ("utf-8-sig" if plain else said)


def wide(text):
    """Return what to do where a text with NULs may be UTF-16 without a mark at its beginning."""
    for first, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        if text[first::2].count("\0") > len(text) // 4 and "\0" not in text[1 - first::2]:
            return f"; if it is a table: --encoding {name} (encoding=...)"
    return ""


def other_text(start):
    """Return what a text is that is no table, and who reads it; None for a table."""
    start = start.lstrip("\ufeff \t\r\n")
    return next((what for form, what in TEXTS if form.match(start)), None)


def first_bad_line(file, encoding):
    """Return the number of the first line that is not text in an encoding of single bytes or
    UTF-8, and its first wrong byte; None where none is found."""
    if not encoding.startswith("utf-8"):
        return None
    for number, line in enumerate(file, 1):
        try:
            line.decode(encoding)
        except UnicodeDecodeError as error:
            return number, line[error.start]
    return None


def find_separator(start):
    """Return the separator that cuts the first lines into the most columns, as many in each."""
    lines = [line for line in lines_of(start) if line.strip()][:20]
    best = ",", 1
    if not lines:
        return ","
    joined = "".join(lines)
    for separator, blanks in itertools.product((",", ";", "\t", "|"), (False, True)):
        if blanks and f'{separator} "' not in joined:
            continue
        try:
            widths = [len(row) for row in csv.reader(lines, delimiter=separator,
                                                     skipinitialspace=blanks)]
        except csv.Error:  # a field of more than csv.field_size_limit()
            continue
        steady = sum(width == widths[0] for width in widths) / len(widths)
        if widths[0] * steady > best[1]:
            best = separator, widths[0] * steady
    return best[0]


def blanks_before_quotes(start, separator):
    """Whether values in quotation marks have blanks before these: not where such characters stand
    within a value."""
    if not re.search(re.escape(separator) + ' +"', start):
        return False
    try:
        return any(field.startswith(" ") and field.lstrip(" ").startswith('"')
                   for row in csv.reader(lines_of(start), delimiter=separator)
                   for field in row)
    except csv.Error:  # a field of more than csv.field_size_limit()
        return True


def quoted_behind_blanks(text, separator):
    """Whether a value of a whole file stands in quotation marks that have blanks before them: from
    the first mark to the end of the value."""
    end = re.escape(separator)
    quoted = re.compile(rf'{end} +"(?:[^"\r\n]|""|\\")*" *(?:{end}|[\r\n]|\Z)')
    return bool(quoted.search(text)) and blanks_before_quotes(text, separator)


def single_quotes(lines, separator):
    """Whether values stand in single quotation marks, as some programs write them: all names do,
    and some value of the next line."""
    filled = [line.strip() for line in lines if line.strip()][:2]
    fields = [[field.strip() for field in line.lstrip("\ufeff").split(separator)]
              for line in filled]
    quoted = [[len(field) > 1 and field[0] == field[-1] == "'" for field in row] for row in fields]
    return len(quoted) == 2 and len(quoted[0]) > 1 and all(quoted[0]) and any(quoted[1])


def escaped(start, separator, skip_blanks):
    """Whether quotation marks within values have a backslash before them, as MySQL and Spark write
    them, in the place of another quotation mark: where that alone makes the values end before a
    separator."""
    if '\\"' not in start:
        return False

    def fits(lines):
        try:
            for _ in csv.reader(lines, delimiter=separator, strict=True,
                                skipinitialspace=skip_blanks):
                pass
        except csv.Error as error:
            return "expected after" not in str(error)  # a value may go on behind the start
        return True

    lines = lines_of(start)
    return not fits(lines) and fits(list(map(unescaped, lines)))


def unescaped(line):
    r"""Return a line with "" for \" and \ for \\."""
    return ESCAPE.sub(lambda found: '""' if found[1] == '"' else "\\", line)


def rows_within(value, separator, before, behind):
    """Return how many lines of a value look like rows of a table of so many columns before and
    behind the value's own: 0 where any does not."""
    if "\n" not in value:
        return 0
    first, *whole, last = value.split("\n")
    fits = first.count(separator) == behind and last.count(separator) == before and all(
        line.count(separator) == before + behind for line in whole)
    # a text of two lines may have a comma in each
    return len(whole) + 2 if fits and before + behind and (whole or before + behind > 4) else 0
