"""Tables of the command line: the options of how to read them, and who reads them."""

import argparse

from fastnn.cli.common import CommandError, note, quoted, whole_number
from fastnn.tables.errors import TableError
from fastnn.tables.reading import read

__all__ = ["COLUMNS", "add_table_options", "drop_hint", "read_table", "table_options"]

COLUMNS = {"number": "of numbers", "boolean": "of true or false", "date": "of dates",
           "category": "of categories"}
MARKS = {"point": ".", "dot": ".", "comma": ",", "space": " ", "apostrophe": "'", "none": ""}


def mark(text):
    """Return a mark in numbers, by itself or by its name."""
    found = MARKS.get(text.lower(), text)
    if found not in MARKS.values():
        raise argparse.ArgumentTypeError(f"{text!r} must be point, comma, space, apostrophe or "
                                         "none")
    return found


def decimal_mark(text):
    """Return a decimal mark."""
    found = MARKS.get(text.lower(), text)
    if found not in (".", ","):
        raise argparse.ArgumentTypeError(f"{text!r} must be . or ,")
    return found


def line_number(text):
    """Return the number of a line, 0 for none."""
    return whole_number(text, 0)


def add_table_options(parser):
    """Add the options of how to read a table."""
    group = parser.add_argument_group("how to read the table")
    group.add_argument("--separator", metavar="CHAR",
                       help="what stands between the columns: a character, or tab or space "
                            "(default: found out)")
    group.add_argument("--encoding", default="utf-8", metavar="NAME",
                       help="of the text, such as latin-1 or cp1252 (default: utf-8, or what the "
                            "file's first bytes say)")
    group.add_argument("--decimal", type=decimal_mark, metavar="CHAR",
                       help="decimal mark of numbers, . or , (default: found out)")
    group.add_argument("--thousands", type=mark, metavar="CHAR",
                       help="what stands between groups of three digits: . or , or space or "
                            "apostrophe, none for nothing (default: found out)")
    group.add_argument("--na", action="append", default=[], metavar="WORD",
                       help="a word that means a missing value, besides the usual ones; several by "
                            "commas or repeated")
    group.add_argument("--day-first", action=argparse.BooleanOptionalAction, default=None,
                       help="1/2/2024 is the first of February (default: found out)")
    group.add_argument("--header-row", type=line_number, metavar="N",
                       help="line with the columns' names; 0: there is none, they are called x0, "
                            "x1, ... (default: the first that is not empty)")


def table_options(options):
    """Return the arguments of `read` that the options give."""
    return {"separator": options.separator, "encoding": options.encoding,
            "decimal": options.decimal, "thousands": options.thousands,
            "na": [word.strip() for text in options.na for word in text.split(",")],
            "day_first": options.day_first, "header_row": options.header_row}


def drop_hint(error):
    """Return the message of a `TableError`, with the option that leaves its column out."""
    return f"{error} (--drop {quoted(error.column)})" if error.column else str(error)


def read_table(path, quiet=False, **options):
    """Return the `Table` of a file, its rows numbered from 1; see `fastnn.tables.read`.

    Parameters
    ----------
    path : str
    quiet : bool, default=False
        No notes.
    **options
        Of `read`.
    """
    try:
        table = read(path, **options)
    except ImportError as error:
        raise CommandError(str(error), 1) from None
    except (FileNotFoundError, TableError) as error:
        if isinstance(error, FileNotFoundError) and error.errno is not None:
            raise
        raise CommandError(str(error)) from None
    for text in table.notes:
        note(text, quiet)
    return table
