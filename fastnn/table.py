"""The public names of `fastnn.tables.encoder`, as they have always been called."""

from fastnn.tables.encoder import Column, TableEncoder, TableError

__all__ = ["Column", "TableEncoder", "TableError"]
