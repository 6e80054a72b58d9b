"""`as_table`: frames of pandas, polars and pyarrow, dicts, lists and arrays as a `Table`.

None of the libraries is imported before somebody hands over a frame of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Set
from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.arrays import dense_rows, is_sparse
from fastnn.core.csr import as_rows_or_vector
from fastnn.tables import cells as cells_
from fastnn.tables.arrays import Array, Keyed, Made, Objects, array_cells, doubles
from fastnn.tables.cells import Cells, moments
from fastnn.tables.errors import TableError, shown_value
from fastnn.tables.table import Table, named

if TYPE_CHECKING:
    from typing import Any

__all__ = ["as_cells", "as_table", "has_names", "table_of"]


def as_table(frame: Any) -> Table:
    """Return the `Table` of a frame.

    Parameters
    ----------
    frame : Table, data frame, dict, list or array
        A frame of pandas, polars or pyarrow; a dict of columns; a list of dicts, one per row, or of
        rows that know their names, such as named tuples; a structured array; a two-dimensional
        array, or a list of rows, whose columns are called x0, x1, ...

    Returns
    -------
    Table
        A `Table` as it is.

    Raises
    ------
    TypeError
        When it is nothing of these.
    TableError
        When columns have the same name or differ in length.
    """
    if isinstance(frame, Table):
        return frame
    if isinstance(frame, Mapping):
        return _of_dict(frame)
    if isinstance(frame, (list, tuple)):
        return _of_rows(frame)
    if isinstance(frame, np.ndarray):
        return _of_array(frame)
    if isinstance(frame, Iterator):
        # of Arrow, by batches
        whole = "X.read_all()" if hasattr(frame, "read_all") else "list(X)"
        raise TypeError(f"X is of type {type(frame).__name__}, which can be read once: give "
                        f"{whole}, which stays")
    found = table_of(frame)
    if found is None:
        path = isinstance(frame, (str, os.PathLike))
        raise TypeError("a table must be a data frame of pandas, polars or pyarrow, a dict of "
                        "columns, a list of dicts or a two-dimensional array, not "
                        f"{type(frame).__name__}"
                        + ("; of the path of a file fastnn.tables.read(path) makes one" * path))
    return found


def column_of(name, values):
    """Return a column of values of any kind: an array, a series, a list."""
    if isinstance(values, Cells):
        return Made(name, values)
    found = series_of(name, values)
    if found is not None:
        return found
    if is_sparse(values):
        values = _of_sparse(name, values)
    if isinstance(values, np.ndarray) or is_sparse(values):
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        if values.ndim != 1:
            raise TableError(f"column {name!r} has shape {values.shape}, must have one dimension",
                             name)
        return Array(name, values)
    if isinstance(values, (Mapping, Set)):  # a list of these would be the keys, or in no order
        raise TableError(f"column {name!r} is of type {type(values).__name__}, must be a list of "
                         "values: frame.to_dict('list') of pandas makes such a dict, "
                         "frame.to_dict('records') a list of dicts", name)
    if isinstance(values, (str, bytes)) or not hasattr(values, "__len__"):
        raise TableError(f"column {name!r} is {shown_value(values)}, must be a list of values; for "
                         "a single row give a list of one dict", name)
    return Objects(name, list(values))


def _of_sparse(name, values):
    """Return a sparse column as an array; what is none as it is."""
    if values.ndim > 2 or values.ndim == 2 and values.shape[1] != 1:
        return values
    try:
        return dense_rows(as_rows_or_vector(f"column {name!r}", values))
    except ValueError as error:
        raise TableError(str(error), name) from None


def as_cells(values: Any, name: str = "y") -> Cells:
    """Return the cells of one column: a series, an array, a list, or `Cells`.

    Parameters
    ----------
    values : Cells, array-like or series
        The column.
    name : str, default="y"
        What messages call it.

    Returns
    -------
    Cells
        Canonical.
    """
    return values if isinstance(values, Cells) else column_of(name, values).cells()


def _of_dict(frame):
    pairs = [(name, column_of(str(name), values)) for name, values in frame.items()]
    sizes = {name: len(column) for name, column in pairs}
    if len(set(sizes.values())) > 1:
        (one, size), *rest = sizes.items()
        other = next(name for name, more in rest if more != size)
        raise TableError(f"column {other!r} has {sizes[other]:,} values, column {one!r} has "
                         f"{size:,}", other)
    return named(pairs, next(iter(sizes.values()), 0))


def _of_rows(rows):
    if not rows:
        return Table({}, 0)
    if has_names(rows[0]):
        return _of_dicts([_by_name(i, row) for i, row in enumerate(rows)])
    width = len(rows[0]) if isinstance(rows[0], (list, tuple, np.ndarray)) else None
    if width is None or any(not isinstance(row, (list, tuple, np.ndarray)) or len(row) != width
                            for row in rows):
        raise TableError("a list must hold dicts, one per row, or rows of the same length")
    columns = zip(*rows, strict=True) if width else ()
    return named([(f"x{i}", Objects(f"x{i}", list(column))) for i, column in enumerate(columns)],
                 len(rows))


def has_names(row):
    """Whether the values of a row have names: a dict, a named tuple, a series, a row of sqlite3."""
    return isinstance(row, dict) or hasattr(row, "keys") or (
        isinstance(row, tuple) and hasattr(row, "_fields"))


def _by_name(i, row):
    """Return row i as a dict: by their places, its values would be taken for other ones."""
    if isinstance(row, dict):
        return row
    if not has_names(row):
        raise TableError(f"row {i} is of type {type(row).__name__}, must be a dict")
    if isinstance(row, tuple):
        return dict(zip(row._fields, row, strict=True))
    names = list(row.keys())
    if len(set(names)) < len(names):
        raise TableError(f"row {i} has two values of one name, must have names of its own for each")
    return {name: row[name] for name in names}


def _of_dicts(rows):
    names, uneven = {}, False
    for i, row in enumerate(rows):
        if row.keys() != names.keys():
            uneven = i > 0
            names |= dict.fromkeys(row)
    table = named([(name, Keyed(str(name), rows, name)) for name in names], len(rows))
    table.uneven = uneven
    return table


def _of_array(values):
    if values.dtype.names:  # a structured array
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        if values.ndim != 1:
            raise TableError(f"a structured array has shape {values.shape}, must be (n_samples,)")
        return named([(name, column_of(name, values[name])) for name in values.dtype.names],
                     len(values))
    if isinstance(values, np.matrix):  # whose columns would be matrices
        values = np.asarray(values)
    if values.ndim != 2:
        raise TableError(f"an array has shape {values.shape}, must be (n_samples, n_columns)")
    return named([(f"x{i}", Array(f"x{i}", values[:, i])) for i in range(values.shape[1])],
                 len(values))


# ---- frames of other libraries ----

def table_of(frame):
    """Return the table of a frame, None where it is none."""
    home = type(frame).__module__.partition(".")[0]
    if home == "polars" and hasattr(frame, "collect_schema"):
        if not hasattr(frame, "height"):
            frame = frame.collect()
        return named([(name, PolarsColumn(name, frame.get_column(name)))
                      for name in frame.columns], frame.height)
    if home == "pyarrow" and hasattr(frame, "column_names"):
        return named([(name, ArrowColumn(name, frame.column(i)))
                      for i, name in enumerate(frame.column_names)], frame.num_rows)
    if hasattr(frame, "columns") and not hasattr(frame, "iloc"):
        if hasattr(frame, "to_pandas"):
            frame = frame.to_pandas()
        elif hasattr(frame, "__arrow_c_stream__"):
            import pyarrow

            return table_of(pyarrow.table(frame))
    if hasattr(frame, "columns") and hasattr(frame, "iloc"):
        labels = frame.index
        kinds = set(frame.dtypes)
        if len(kinds) == 1 and isinstance(next(iter(kinds)), np.dtype) and (
                next(iter(kinds)).kind != "O"):
            values = frame.to_numpy()  # of many columns at once
            return named([(name, Array(name, values[:, i]))
                          for i, name in enumerate(frame.columns)], len(frame), labels=labels)
        return named([(name, PandasColumn(name, frame.iloc[:, i]))
                      for i, name in enumerate(frame.columns)], len(frame), labels=labels)
    return None


def series_of(name, values):
    """Return the column of a series of one of these, None where it is none."""
    home = type(values).__module__.partition(".")[0]
    if home == "polars" and hasattr(values, "to_physical"):
        return PolarsColumn(name, values)
    if home == "pyarrow" and hasattr(values, "to_pylist"):
        return ArrowColumn(name, values)
    if home == "pandas" and hasattr(values, "dtype"):
        if not hasattr(values, "iloc"):  # an array or an index, which knows less of categories
            import pandas

            values = pandas.Series(getattr(values, "to_flat_index", lambda: values)())
        return PandasColumn(name, values)
    return None


def _refused(name, dtype):
    if str(dtype).lower().startswith(("list", "large_list", "fixed_size_list", "struct", "array",
                                      "map")):
        return TableError(f"column {name!r} holds lists or other containers, which cannot become "
                          "numbers: leave it out", name)
    if str(dtype).lower().startswith(("timedelta", "duration")):
        return TableError(f"column {name!r} holds durations: make numbers of them, such as "
                          f"frame[{name!r}].dt.total_seconds() / 86400", name)
    return TableError(f"column {name!r} has dtype {dtype}, which cannot become numbers: turn it "
                      "into numbers or text, or leave it out", name)


def _coded(codes, found, categories):
    """Return the cells of a column of codes, -1 where missing, by the cells of its categories."""
    if categories.kind == "text":
        places = np.append(categories.codes, np.int32(-1)).astype(np.int32)
        return Cells("text", codes=places[codes], values=categories.values,
                     numbers=categories.numbers, dictionary=True)
    if not len(categories):
        return Cells("text", codes=np.full(len(codes), -1, np.int32), values=[])
    labels, values = categories.texts()
    places = np.append(labels, np.int32(-1)).astype(np.int32)
    return Cells("text", codes=places[codes], values=values, category=True)


def _extended(name, column):
    """Return the cells of a column of Arrow of an extension type, of one chunk or none."""
    kind = column.type
    if kind.extension_name.startswith("pandas."):  # Period, Interval
        return PandasColumn(name, column.to_pandas()).cells()
    if kind.extension_name == "arrow.uuid":
        return cells_.from_objects(name, column.to_pylist())
    if hasattr(column, "chunks"):
        column = column.cast(kind.storage_type)
    return ArrowColumn(name, getattr(column, "storage", column)).cells()


class PandasColumn:
    """A series of pandas, of any backend."""

    def __init__(self, name, series):
        self.name, self.series = name, series

    def __len__(self):
        return len(self.series)

    def raw(self):
        """Return the values as they are, None where missing."""
        missing = np.asarray(self.series.isna())
        return [None if gone else value
                for gone, value in zip(missing.tolist(), self.series.tolist(), strict=True)]

    def cells(self):
        """Return the canonical cells."""
        name, series = self.name, self.series
        dtype = series.dtype
        if isinstance(dtype, np.dtype) and dtype.kind not in "OM":
            return array_cells(name, series.to_numpy())
        if hasattr(series, "cat"):
            categories = PandasColumn(name, series.cat.categories).cells()
            return _coded(series.cat.codes.to_numpy().astype(np.intp), None, categories)
        kind = getattr(dtype, "kind", "O")
        if hasattr(dtype, "pyarrow_dtype"):  # of more kinds than pandas tells apart
            return ArrowColumn(name, series.array.__arrow_array__()).cells()
        if kind in "mc":
            raise _refused(name, dtype)
        if str(dtype).lower().startswith(("period", "interval")):
            return cells_.from_objects(name, self.raw())
        if kind == "M":
            if getattr(dtype, "tz", None) is not None:
                series = series.dt.tz_convert("UTC").dt.tz_localize(None) if hasattr(
                    series, "dt") else series.tz_convert("UTC").tz_localize(None)
            return Cells("date", array=moments(name, series.to_numpy()))
        if kind in "biuf" and not isinstance(dtype, np.dtype):
            missing = np.asarray(series.isna())
            if kind == "f":
                values = series.to_numpy(_float_of(dtype), na_value=np.nan)
                return Cells("number", array=doubles(name, np.asarray(values)))
            if kind == "b":
                return Cells("boolean", array=series.to_numpy(bool, na_value=False), mask=missing)
            wide = np.uint64 if kind == "u" else np.int64
            return Cells("number", array=series.to_numpy(wide, na_value=0), mask=missing)
        if hasattr(dtype, "subtype"):  # sparse
            return array_cells(name, np.asarray(series))
        return cells_.from_objects(name, series.tolist())


def _float_of(dtype):
    size = getattr(dtype, "itemsize", 8)
    return np.float32 if size == 4 else np.float64


class PolarsColumn:
    """A series of polars."""

    def __init__(self, name, series):
        self.name, self.series = name, series

    def __len__(self):
        return len(self.series)

    def raw(self):
        """Return the values as they are."""
        return self.series.to_list()

    def cells(self):
        """Return the canonical cells."""
        name, series = self.name, self.series
        kind = str(series.dtype).partition("(")[0]
        gaps = series.null_count() > 0
        missing = series.is_null().to_numpy() if gaps else None
        if kind in ("Float32", "Float64", "Float16"):
            values = series.to_numpy()
            return Cells("number", array=doubles(name, np.asarray(values)))
        if kind in ("Int128", "UInt128"):
            return cells_.from_objects(name, series.to_list())
        if kind.startswith(("Int", "UInt")):
            values = (series.fill_null(0) if gaps else series).to_numpy()
            return Cells("number", array=values.astype(np.uint64 if kind == "UInt64"
                                                       else np.int64), mask=missing)
        if kind == "Boolean":
            return Cells("boolean", array=(series.fill_null(False) if gaps else series).to_numpy(),
                         mask=missing)
        if kind in ("Date", "Datetime"):
            unit = "D" if kind == "Date" else getattr(series.dtype, "time_unit", None) or "us"
            whole = series.to_physical()
            values = (whole.fill_null(0) if gaps else whole).to_numpy().astype(np.int64)
            stamps = moments(name, values.astype(f"datetime64[{unit}]"))
            if gaps:
                stamps[missing] = np.datetime64("NaT")
            return Cells("date", array=stamps)
        if kind in ("String", "Utf8"):
            return cells_.from_texts(series.to_list())
        if kind in ("Categorical", "Enum"):
            found = cells_.from_texts(series.to_list())
            found.dictionary = True
            return found
        if kind in ("Decimal", "Object", "Null", "Binary", "Time"):
            return cells_.from_objects(name, series.to_list())
        raise _refused(name, series.dtype)


def _decoded(value):
    try:
        return value if value is None else value.decode()
    except UnicodeDecodeError:
        return value


class ArrowColumn:
    """A column of a table of pyarrow, or an array."""

    def __init__(self, name, column):
        self.name, self.column = name, column

    def __len__(self):
        return len(self.column)

    def raw(self):
        """Return the values as they are; bytes, and numbers of less precision, as their text."""
        values = self.column.to_pylist()
        if str(self.column.type) in ("float", "halffloat"):
            cells = self.cells()
            return [None if value is None else number
                    for value, number in zip(values, cells.array.tolist(), strict=True)]
        return list(map(_decoded, values)) if "binary" in str(self.column.type) else values

    def arrow(self):
        """Return the column as it is."""
        return self.column

    def cells(self):
        """Return the canonical cells."""
        import pyarrow as pa

        name, column = self.name, self.column
        kind, types = column.type, pa.types
        if types.is_dictionary(kind):
            return self._dictionary(column)
        if getattr(column, "num_chunks", 1) != 1:
            column = column.combine_chunks()
        if isinstance(kind, pa.BaseExtensionType):
            return _extended(name, column)
        if str(kind).startswith("run_end_encoded"):
            from pyarrow.compute import run_end_decode

            chunk = column.chunk(0) if hasattr(column, "chunks") else column
            return ArrowColumn(name, run_end_decode(chunk)).cells()
        gaps = column.null_count > 0
        missing = np.asarray(column.is_null()) if gaps else None
        if types.is_floating(kind):
            values = np.asarray(column.to_numpy(zero_copy_only=False)
                                if isinstance(column, pa.Array) else column.to_numpy())
            return Cells("number", array=doubles(name, values))
        if types.is_integer(kind):
            wide = pa.uint64() if types.is_unsigned_integer(kind) and kind.bit_width == 64 else (
                pa.int64())
            whole = column.cast(wide).fill_null(0) if gaps else column.cast(wide)
            return Cells("number", array=np.asarray(whole), mask=missing)
        if types.is_boolean(kind):
            return Cells("boolean", array=np.asarray(column.fill_null(False) if gaps else column),
                         mask=missing)
        if types.is_timestamp(kind) or types.is_date(kind):
            if types.is_date(kind):
                stamps = np.asarray(column.cast(pa.timestamp("s")).cast(pa.int64()).fill_null(0))
                stamps = moments(name, stamps.astype("datetime64[s]"))
            else:
                stamps = np.asarray(column.cast(pa.int64()).fill_null(0))
                stamps = moments(name, stamps.astype(f"datetime64[{kind.unit}]"))
            if gaps:
                stamps = stamps.copy()
                stamps[missing] = np.datetime64("NaT")
            return Cells("date", array=stamps)
        if types.is_string(kind) or types.is_large_string(kind) or str(kind) == "string_view":
            return cells_.from_texts(column.to_pylist())
        if (types.is_decimal(kind) or types.is_null(kind) or types.is_binary(kind)
                or types.is_large_binary(kind) or types.is_time(kind)
                or types.is_fixed_size_binary(kind) or str(kind) == "binary_view"):
            return cells_.from_objects(name, column.to_pylist())
        raise _refused(name, kind)

    def _dictionary(self, column):
        if hasattr(column, "unify_dictionaries"):
            import pyarrow as pa

            try:
                column = column.unify_dictionaries().combine_chunks()
            except pa.ArrowNotImplementedError:  # other dictionaries of values of an odd type
                raise _refused(self.name, column.type) from None
            if hasattr(column, "chunks"):  # of no rows, or several that share the dictionary
                codes = np.concatenate([np.asarray(chunk.indices.fill_null(-1))
                                        for chunk in column.chunks] or [np.zeros(0, np.intp)])
                words = column.chunk(0).dictionary if column.num_chunks else None
            else:
                codes, words = np.asarray(column.indices.fill_null(-1)), column.dictionary
        else:
            codes, words = np.asarray(column.indices.fill_null(-1)), column.dictionary
        if words is None:
            return cells_.from_texts([None] * len(column))
        return _coded(codes.astype(np.intp), None, ArrowColumn(self.name, words).cells())
