"""Batches for `fit_batches` from files that do not fit into memory.

Each of these can be gone through as often as there are epochs, and reads one batch at a time.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.arrays import as_array
from fastnn.core.notices import suggests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastnn.core.types import File

__all__ = ["from_folder", "from_parquet"]


@suggests
def from_folder(path: File, X: str = "X*.npy", y: str = "y*.npy",
                sample_weight: str | None = None) -> Folder:
    """Return the pairs of ``.npy`` files in a folder, a batch each, in the order of their names.

    Parameters
    ----------
    path : str or path
        Where the files are.
    X, y : str, default="X*.npy", "y*.npy"
        Names of the files; ``*`` stands for what is the same in both names of a pair.
    sample_weight : str or None, default=None
        The same for sample weights.

    Returns
    -------
    iterable of batches, for `fit_batches`
        One pass for each epoch.

    Raises
    ------
    FileNotFoundError
        When there are none, or a file lacks its pair.

    Examples
    --------
    >>> import tempfile, numpy as np, fastnn
    >>> folder = tempfile.mkdtemp()
    >>> for i in range(3):
    ...     np.save(f"{folder}/X{i}.npy", np.ones((10, 4), "uint8"))
    ...     np.save(f"{folder}/y{i}.npy", np.ones((10, 1)))
    >>> net = fastnn.MLP((4, 8, 1), random_state=0)
    >>> net.fit_batches(fastnn.sources.from_folder(folder), epochs=2)  # doctest: +ELLIPSIS
    <History of 2 epochs, loss=...>
    """
    return Folder(path, X, y, sample_weight)


class Folder:
    """See `from_folder`."""

    def __init__(self, path, X, y, sample_weight):
        self.path = os.fspath(path)
        self.patterns = [X, y] if sample_weight is None else [X, y, sample_weight]
        for pattern in self.patterns:
            if not isinstance(pattern, str) or pattern.count("*") != 1:
                raise ValueError(f"{pattern!r} must be a file name with one *")
        found = []
        for pattern in self.patterns:
            before, after = map(re.escape, pattern.split("*"))
            matches = (re.fullmatch(f"{before}(.*){after}", name) for name in os.listdir(self.path))
            found.append({match[1] for match in matches if match})
        for pattern, names in zip(self.patterns[1:], found[1:], strict=True):
            for name in sorted(names ^ found[0]):
                there, lacking = (pattern, X) if name in names else (X, pattern)
                raise FileNotFoundError(f"{self.path!r} has {there.replace('*', name)!r}, but no "
                                        f"{lacking.replace('*', name)!r}")
        if not found[0]:
            raise FileNotFoundError(f"{self.path!r} has no files {X!r}")
        self.names = sorted(found[0])

    def __len__(self):
        return len(self.names)

    def __iter__(self):
        for name in self.names:
            yield tuple(np.load(os.path.join(self.path, pattern.replace("*", name)))
                        for pattern in self.patterns)


@suggests
def from_parquet(path: File | Sequence[File], columns: Sequence[str] | None = None, *,
                 target: str | Sequence[str], sample_weight: str | None = None,
                 rows: int | None = None) -> Parquet:
    """Return the row groups of a Parquet file, or of several, a batch each; needs pyarrow.

    Parameters
    ----------
    path : str, path or sequence of them
        Where the files are.
    columns : sequence of str or None, default=None
        The inputs, numbers or booleans; None: all columns but those below.
    target : str or sequence of str
        The column of the targets, or several.
    sample_weight : str or None, default=None
        The column of the sample weights.
    rows : int or None, default=None
        Rows of a batch at most; None: whole row groups.

    Returns
    -------
    iterable of batches, for `fit_batches`
        One pass for each epoch.

    Raises
    ------
    ValueError
        When a column is not there, holds no numbers, or has missing values.

    Examples
    --------
    >>> import fastnn  # doctest: +SKIP
    >>> source = fastnn.sources.from_parquet("trips.parquet", target="fare")  # doctest: +SKIP
    >>> net.fit_batches(source, epochs=5, batch_size=256, shuffle=True)  # doctest: +SKIP
    """
    return Parquet(path, columns, target, sample_weight, rows)


class Parquet:
    """See `from_parquet`."""

    def __init__(self, path, columns, target, sample_weight, rows):
        from pyarrow import parquet

        self.paths = [path] if isinstance(path, (str, os.PathLike)) else list(path)
        self.single = isinstance(target, str)
        self.target = [target] if self.single else list(target)
        self.sample_weight, self.rows = sample_weight, rows
        if not self.paths:
            raise ValueError("path is an empty list, must name one file at least")
        if rows is not None and (not isinstance(rows, int) or rows < 1):
            raise ValueError(f"rows={rows!r} must be an integer >= 1, or None")
        others = [*self.target, *([] if sample_weight is None else [sample_weight])]
        for place in self.paths:
            names = parquet.read_schema(place).names
            if columns is None:
                columns = [name for name in names if name not in others]
            for name in [*columns, *others]:
                if name not in names:
                    raise ValueError(f"{os.fspath(place)!r} has no column {name!r}, it has "
                                     f"{', '.join(map(repr, names))}")
        self.columns = list(columns)

    def __iter__(self):
        from pyarrow import parquet

        wanted = [*self.columns, *self.target]
        if self.sample_weight is not None:
            wanted.append(self.sample_weight)
        for place in self.paths:
            with parquet.ParquetFile(place) as file:
                for group in range(file.num_row_groups):
                    size = self.rows or max(1, file.metadata.row_group(group).num_rows)
                    for part in file.iter_batches(size, [group], wanted):
                        yield self._batch(place, part)

    def _batch(self, place, part):
        target = self._matrix(place, part, self.target)
        batch = [self._matrix(place, part, self.columns),
                 target[:, 0] if self.single else target]
        if self.sample_weight is not None:
            batch.append(self._matrix(place, part, [self.sample_weight])[:, 0])
        return tuple(batch)

    @staticmethod
    def _matrix(place, part, names):
        """Return columns side by side, of the least dtype that holds them all."""
        found = []
        for name in names:
            column = part.column(name)
            if column.null_count:
                raise ValueError(f"column {name!r} of {os.fspath(place)!r} has missing values; "
                                 "fill them first")
            column = as_array(name, column.to_numpy(zero_copy_only=False))
            if column.dtype.kind not in "biuf":
                raise ValueError(f"column {name!r} of {os.fspath(place)!r} holds "
                                 f"{part.schema.field(name).type}, must hold numbers")
            found.append(column)
        return np.stack(found, axis=1)
