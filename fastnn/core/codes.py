"""`Codes`: rows of numbers and categories as the numbers of table rows that are looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.arrays import refuse_masked
from fastnn.core.csr import check_kind, codes_arrays

if TYPE_CHECKING:
    from typing import Any

    from fastnn.core.types import Array, DType

__all__ = ["Codes", "is_codes", "refuse_codes"]


class Codes:
    """Encoded rows, as `fastnn.encoders.Encoder` makes them, for `MLP.fit`, `MLP.predict`, ....

    A dense encoding e (n_rows, n_inputs) stands behind them, which is never made but by `toarray`:
    e W = S T, where row i of the table T is the sum of the rows of W from the beginning of i's run
    up to i, and S holds one or two entries for each column of the data.

    Parameters
    ----------
    data : float array (n_entries,)
        The entries of S, in CSR form as the next two.
    indices : int32 array (n_entries,)
        Their columns: rows of the table.
    indptr : int64 array (n_rows + 1,)
        Where each row begins.
    adds : uint8 array (n_inputs,)
        1 where a row of the table adds to the one before it, 0 where a run begins.
    """

    __slots__ = ("_adds", "_data", "_indices", "_indptr")
    format = "csr"
    ndim = 2

    def __init__(self, data: Array, indices: Array, indptr: Array, adds: Array) -> None:
        self._data, self._indices, self._indptr, self._adds = data, indices, indptr, adds
        # what the arrays hold is checked by whoever reads them
        for name in ("data", "indices", "indptr", "adds"):
            one = getattr(self, name)
            if not isinstance(one, np.ndarray) or one.ndim != 1:
                raise ValueError(f"{name} must be a one-dimensional array")
            if type(one) is not np.ndarray:
                refuse_masked(name, one)
        if not len(indptr) or len(data) != len(indices):
            raise ValueError(f"data has {len(data)} entries, indices {len(indices)}, indptr "
                             f"{len(indptr)}: must be as many, as many, and one for each row and "
                             "one more")

    def __reduce__(self):
        return Codes, (self.data, self.indices, self.indptr, self.adds)

    def __repr__(self):
        return f"<Codes of {self.shape[0]} rows for {self.shape[1]} inputs, {self.dtype}>"

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def data(self) -> Array:
        """Entries of S (n_entries,), row by row."""
        return self._data

    @property
    def indices(self) -> Array:
        """Columns of the entries: rows of the table."""
        return self._indices

    @property
    def indptr(self) -> Array:
        """Where each row begins, (n_rows + 1,)."""
        return self._indptr

    @property
    def adds(self) -> Array:
        """1 where a row of the table adds to the one before it, (n_inputs,)."""
        return self._adds

    @property
    def shape(self) -> tuple[int, int]:
        """(n_rows, n_inputs)."""
        return len(self._indptr) - 1, len(self._adds)

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        return self.data.dtype

    def __array__(self, dtype=None, copy=None):
        raise TypeError("codes are no array: MLP takes them as they are, where an array is needed "
                        "give the encoder's to_dense(X)")

    def copy(self) -> Codes:
        """Return codes with arrays of their own.

        Returns
        -------
        Codes
            With arrays of its own.
        """
        return Codes(self.data.copy(), self.indices.copy(), self.indptr.copy(), self.adds.copy())

    def astype(self, dtype: DType) -> Codes:
        """Return the codes with entries of another dtype.

        Parameters
        ----------
        dtype : {"float32", "float64"}
            Of the entries.

        Returns
        -------
        Codes
            With the same rows and columns.
        """
        check_kind("codes", self)
        return Codes(self.data.astype(dtype), self.indices, self.indptr, self.adds)

    def __getitem__(self, rows: Any) -> Codes:
        """Return some of the rows, by a slice, an array of numbers, or one of booleans."""
        numbers = np.atleast_1d(np.arange(self.shape[0])[rows])
        if numbers.ndim > 1:
            raise IndexError(f"rows has shape {numbers.shape}, must have one dimension")
        self._check_starts()
        counts = np.diff(self.indptr)[numbers]
        start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        places = np.repeat(self.indptr[numbers] - start[:-1], counts) + np.arange(start[-1])
        return Codes(self.data[places], self.indices[places], start, self.adds)

    def _check_starts(self):
        """Raise ValueError where rows do not lie one behind the other: before memory is taken."""
        start, n_entries = self.indptr, min(len(self.data), len(self.indices))
        if start[0] != 0 or start[-1] > n_entries or (start[1:] < start[:-1]).any():
            raise ValueError("indptr must begin with 0, never fall, and end within the "
                             f"{n_entries} entries")

    def toarray(self) -> Array:
        """Return the dense encoding, an array (n_rows, n_inputs).

        Returns
        -------
        array (n_rows, n_inputs)
            Of the dtype of the codes.
        """
        start, column, value, adds = codes_arrays("codes", self, self.shape[1], self.dtype)
        rows = np.repeat(np.arange(len(start) - 1), np.diff(start))
        found = np.zeros((len(start) - 1, len(adds)), self.dtype)
        np.add.at(found, (rows, column[:len(rows)]), value[:len(rows)])
        for i in np.flatnonzero(adds)[::-1]:
            found[:, i - 1] += found[:, i]
        return found


def is_codes(X):
    """Whether X is `Codes`."""
    return type(X) is Codes


def refuse_codes():
    """Raise ValueError, for a network whose inputs something else than dense layers reads."""
    raise ValueError("X holds codes, which only Dense layers can read: put one before the others, "
                     "or give the encoder's to_dense(X)")
