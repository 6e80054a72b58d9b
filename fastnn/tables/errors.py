"""What is wrong with a table, and what was not understood of it."""

from fastnn.core.notices import shorten

COMPARED = 2000  # names of columns that are compared with one that is missing, 6 us each

__all__ = ["TableError", "TableWarning", "check_names", "listed", "shown_value"]


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
        raise TableError(f"{whose} has no column{'s' * (len(missing) > 1)} {listed(missing, 10)}"
                         f"{hint}", missing[0])


def listed(words, most=3):
    """Return the first of several words, and how many more there are."""
    words = list(words)
    shown = ", ".join(map(shown_value, words[:most]))
    return shown + (f" and {len(words) - most:,} more" if len(words) > most else "")
