"""Parquet files to a `Table`: pyarrow reads them."""

import io
import os
from collections import Counter

from fastnn.tables import frames
from fastnn.tables.errors import TableError
from fastnn.tables.opening import content_of

__all__ = ["read"]

# of files, which hold runs of a value in a few bytes
MOST_VALUES, MOST_PER_BYTE = 1 << 28, 1000


def read(path):
    """Return the table of a file, of standard input ("-") or of a pipe.

    Raises
    ------
    ImportError
        Without pyarrow.
    TableError
        When it is no such file, has a name twice or no columns, or holds many values in few bytes.
    """
    try:
        from pyarrow import parquet
    except ImportError:
        raise ImportError("Parquet files need pyarrow: python -m pip install pyarrow; or save the "
                          "table as CSV") from None
    content = content_of(path)
    try:
        with parquet.ParquetFile(path if content is None else io.BytesIO(content)) as file:
            counts = Counter(file.schema_arrow.names)
            double = next((name for name, n in counts.items() if n > 1), None)
            if double is not None:  # which pyarrow may refuse in many lines
                raise TableError(f"{path!r} has more than one column {double!r}")
            n_values, size = file.metadata.num_rows * len(counts), (
                os.path.getsize(path) if content is None else len(content))
            if n_values > max(MOST_VALUES, MOST_PER_BYTE * size):  # of runs of one value
                raise TableError(f"{path!r} has {n_values:,} values in {size:,} bytes: if that is "
                                 "right, give the frame that pyarrow reads")
            found = file.read()
    except TableError:
        raise
    except (OSError, ValueError) as error:
        raise TableError(f"{path!r} is not a Parquet file: {error}") from None
    table = frames.table_of(found)
    if not table.names:
        raise TableError(f"{path!r} holds no columns")
    table._labels = range(1, table.n_rows + 1)
    return table
