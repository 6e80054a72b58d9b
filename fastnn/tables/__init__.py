"""Tables of any kind to the inputs of a model, the same way in training and serving.

`read` a file or take a frame with `as_table`; `Schema.learn` finds out what the columns mean,
`Schema.apply` turns any table with these columns into numbers and codes; `Labels` and
`learn_target` do the same for what is predicted. `TableEncoder` makes one input per category.
"""

from fastnn.core.imports import imported

_HOME = {"Inputs": "schema", "Schema": "schema", "Labels": "labels", "learn_target": "labels",
         "Table": "table", "as_table": "frames", "as_cells": "frames", "read": "reading",
         "TableError": "errors", "TableWarning": "errors", "TableEncoder": "encoder"}

__all__ = sorted(_HOME)


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module 'fastnn.tables' has no attribute {name!r}")
    value = getattr(imported(f"fastnn.tables.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})
