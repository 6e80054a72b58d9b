"""Parts of a table on workers: what its schema is learned from, and rows to codes.

Nothing here imports Dask; see `fastnn.dask.tables`.
"""

import numpy as np

from fastnn.dask import parts
from fastnn.dask.digests import digest_of, hashes_of
from fastnn.tables.errors import infinite_value
from fastnn.tables.frames import as_table
from fastnn.tables.schema import categorical_names
from fastnn.tabular.encoding import Encoding

__all__ = ["Reader", "look", "rows_of_sample"]

MOST_TEXTS = 1 << 17  # different ones of a column that are counted


class Reader:
    """From rows of a table to what networks take.

    Parameters
    ----------
    schema : Schema
    encoding : Encoding
    task : Task
    """

    def __init__(self, schema, encoding, task):
        self.schema, self.encoding, self.task = schema, encoding, task

    def __getstate__(self):  # plain arrays and values: an encoding holds compiled tables
        return self.schema, self.encoding.settings(), self.encoding.arrays(), self.task

    def __setstate__(self, state):
        schema, settings, arrays, task = state
        self.__init__(schema, Encoding.from_parts(settings, arrays), task)

    def codes(self, X):
        """Return the `Codes` of rows."""
        return self.encoding.transform(self.schema.apply(as_table(X)))

    def targets(self, y):
        """Return the targets of rows; of classes y holds their numbers."""
        if self.task.kind == "regression":
            y = np.asarray(y, float).reshape(len(y), -1)
        return self.task.targets(y)


def look(part, wish):
    """Return what a part of a table holds, and raise where it cannot be trained on.

    Returns
    -------
    dict
        ``rows``; ``columns``, their names; ``kinds``, of each "number", "text", "date", "boolean",
        "category" (numbers that the frame calls so), or None where all values are missing;
        ``asked``, the names of those that ``wish["categorical"]`` means; ``texts``, by the name of
        a column the different ones and how often each is there (None: too many); ``ends``, of a
        column of numbers the least and the greatest; ``gaps``, the names of those with missing
        values; ``y``, ``labels``, ``counts``, ``weight``, ``most_weight``, ``digest`` as
        `parts.survey` has them.
    """
    X, y, weight = parts.split(part, wish)
    parts.refuse_frames(X)
    if not (hasattr(X, "iloc") or isinstance(X, np.ndarray)):
        raise TypeError(f"X is of type {type(X).__name__}, must be a data frame of pandas or an "
                        "array")
    table = as_table(X)
    found = {"rows": len(table), "columns": list(table.names), "kinds": [], "texts": {},
             "asked": (), "ends": {}, "gaps": [], "labels": None, "counts": None, "weight": None,
             "most_weight": None, "digest": None}
    if len(table):
        found["asked"] = categorical_names(wish["categorical"], table)
    for name in table.names:
        cells = table.column(name)
        missing = cells.missing()
        if missing.all():  # whatever type it came with
            found["kinds"].append(None)
        else:
            found["kinds"].append("category" if cells.category else cells.kind)
        if missing.any():
            found["gaps"].append(name)
        if cells.kind in ("text", "boolean") or name in found["asked"]:
            _, texts, counts = cells.used()
            found["texts"][name] = None if len(texts) > MOST_TEXTS else (list(texts), counts)
        elif cells.kind == "number" and not missing.all():
            there = cells.array[~missing]
            found["ends"][name] = ends = there.min(), there.max()
            if wish["infinities"] == "refuse" and not cells.category and np.inf in np.abs(ends):
                row = int(np.isinf(cells.array).argmax())
                raise infinite_value(name, row, cells.array[row])
    values = parts.targets_of(y, len(table))
    found["y"] = values.dtype.kind, values.shape[1:]
    if wish["classes"] and values.ndim == 2:
        parts.check_multilabel(values)
    elif wish["classes"]:
        found["labels"], found["counts"] = parts.labels_of(values)
    elif values.dtype.kind not in "biuf":
        raise ValueError(f"y has dtype {values.dtype}, must be numbers")
    elif not np.isfinite(values).all():
        bad = ~np.isfinite(values.reshape(len(values), -1)).all(axis=1)
        raise ValueError(f"y holds NaN or infinity in row {int(bad.argmax())}: {int(bad.sum()):,} "
                         "such rows in this partition")
    if weight is not None:
        weight = np.asarray(parts.column(weight, "sample_weight"))
        parts.check_length("sample_weight", len(weight), len(table))
        found.update(parts.sum_of(parts.weights_of(weight, "float64")))
    if wish["digest"]:
        found["digest"] = digest_of({**_columns(X), "y": values, "sample_weight": weight})
    return found


def _columns(X):
    """Return what a digest takes of a table: each column of a frame, by its number."""
    if not hasattr(X, "iloc"):
        return {"X": np.asarray(X)}
    import pandas

    found = {}
    for i, dtype in enumerate(X.dtypes):
        column = X.iloc[:, i]
        if isinstance(dtype, np.dtype) and dtype.kind in "biuf":
            found[f"X{i}"] = column.to_numpy()
        else:  # each value once; not pandas' own hashes, which do not take a lone surrogate
            codes, values = pandas.factorize(column.astype(object))
            found[f"X{i}"] = hashes_of([*values.tolist(), None])[codes]
    return found


def rows_of_sample(part, wish, rows):
    """Return some rows of a part: X, y, sample_weight."""
    X, y, weight = parts.split(part, wish)
    return (parts.taken(X, rows), parts.column(y)[rows],
            None if weight is None else np.asarray(parts.column(weight))[rows])
