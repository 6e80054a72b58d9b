"""What is wrong with a table, and what was not understood of it."""

from fastnn.core.notices import shorten

__all__ = ["TableError", "TableWarning", "listed", "shown_value"]


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


def no_columns(missing, there, whose="the table"):
    """Return the message on columns that are not there.

    Parameters
    ----------
    missing, there : sequences of str
    whose : str, default="the table"
    """
    from fastnn.core.words import did_you_mean

    hint = next(filter(None, (did_you_mean(name, there) for name in missing[:10])), "")
    return f"{whose} has no column{'s' * (len(missing) > 1)} {listed(missing, 10)}{hint}"


def listed(words, most=3):
    """Return the first of several words, and how many more there are."""
    words = list(words)
    shown = ", ".join(map(shown_value, words[:most]))
    return shown + (f" and {len(words) - most:,} more" if len(words) > most else "")
