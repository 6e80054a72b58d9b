"""Types in signatures: what users hand over. Read by type checkers alone, never imported."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

__all__ = ["Array", "ArrayLike", "Batches", "DType", "File", "Metrics", "Rows", "Seed", "Sparse"]


class Sparse(Protocol):
    """A SciPy sparse matrix, or `fastnn.encoders.Codes`."""

    shape: Any

    def toarray(self) -> Any:
        """Return the dense array."""


Array: TypeAlias = NDArray[Any]
Batches: TypeAlias = Iterable[Sequence[Any]] | Callable[..., Iterable[Sequence[Any]]]
Rows: TypeAlias = ArrayLike | Sparse
DType: TypeAlias = Literal["float32", "float64"] | DTypeLike
File: TypeAlias = str | PathLike[str]
Seed: TypeAlias = int | np.random.Generator | np.random.RandomState | None
Metric: TypeAlias = str | Callable[..., Any]
Metrics: TypeAlias = Metric | Sequence[Metric] | Mapping[str, Metric]
