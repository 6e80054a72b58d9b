"""What is wrong with a table, and what was not understood of it."""

from fastnn.core.notices import shorten

COMPARED = 2000  # names of columns that are compared with one that is missing, 6 us each

__all__ = ["TableError", "TableWarning", "check_names", "first_line_hint", "infinite_value",
           "listed", "shown_value"]


class TableError(ValueError):
    """A table that does not fit.

    Parameters
    ----------
    message : str
        What is wrong, and what to do.
    column : str or None, default=None
        Name of the place, as far as there is one.
    """

    def __init__(self, message: str, column: str | None = None) -> None:
        super().__init__(shorten(message, 1000))
        self.column = column


class TableWarning(UserWarning):
    """Values of a table that were not understood, or categories that training did not have."""


def infinite_value(name, row, value):
    """Return the error of an infinity among the inputs of training."""
    return TableError(f"column {name!r}, row {row}: {value} is not a finite number; "
                      "infinities='missing' counts such values as missing, as --na=inf,-inf does, "
                      "'keep' keeps them", name)


def shown_value(value):
    """Return the `repr` of a value for a message, at most 60 characters."""
    text = repr(value[:80] if isinstance(value, str) else value)
    return text if len(text) <= 60 else text[:57] + "..."


def check_names(asked, table, whose="the table"):
    """Refuse a table that lacks columns.

    Parameters
    ----------
    asked : sequence of str
        Names of columns. What is asked for and there cannot be what another one means.
    table : Table
    whose : str, default="the table"
    """
    from fastnn.core.words import did_you_mean, near

    missing = [name for name in asked if name not in table]
    if missing:
        asked = set(asked)
        free = [name for name in table.names if name not in asked][:COMPARED]
        hint = next(filter(None, (did_you_mean(name, free) for name in missing[:10])), "")
        if not hint:
            hint = near("", free, 5) if free else ""
        if len(missing) == len(asked):
            hint += first_line_hint(missing[0], table)
        raise TableError(f"{whose} has no column{'s' * (len(missing) > 1)} {listed(missing, 10)}"
                         f"{hint}", missing[0])


def first_line_hint(name, table):
    """Return the end of a message: what may be wrong with the first line of a file whose names are
    not those that are wanted."""
    if table.first_line is None:
        return ""
    if len(table.names) == 1:
        return " (is another --separator right? one column was found)"
    texts = [table.raw(column)[:20] for column in table.names]
    row = next((i for i, row in enumerate(zip(*texts, strict=True), 1)
                if name in [str(text).strip() for text in row]), None)
    if row is not None:
        line = table.first_line + row
        return (f"; row {row} has it: if the lines before are a title, --header-row {line} "
                f"(header_row={line})")
    if any(own.lstrip("+-").replace(".", "", 1).isdecimal() for own in table.names):
        return "; the first line holds values: is the line with the names missing?"
    return ""


def listed(words, most=3):
    """Return the first of several words, and how many more there are."""
    words = list(words)
    shown = ", ".join(map(shown_value, words[:most]))
    return shown + (f" and {len(words) - most:,} more" if len(words) > most else "")
