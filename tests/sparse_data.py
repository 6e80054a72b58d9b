"""Sparse rows, and the same rows dense."""

import numpy as np
import scipy.sparse


def sparse_rows(n_rows=90, n_columns=300, dtype="float64", seed=0, most=30):
    """CSR matrix with sorted columns; some rows are empty."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, most, n_rows)
    counts[::11] = 0
    columns = [np.sort(rng.choice(n_columns, count, replace=False)) for count in counts]
    start = np.r_[0, counts.cumsum()]
    values = rng.normal(size=start[-1]).astype(dtype)
    columns = np.concatenate(columns).astype(np.int32)
    return scipy.sparse.csr_matrix((values, columns, start), (n_rows, n_columns))


def labels(n_rows=90, n_classes=3, seed=1):
    return np.random.default_rng(seed).integers(0, n_classes, n_rows)


def duplicated(X):
    """The same matrix, each entry in two halves, at the two ends of its row."""
    parts = []
    for r in range(X.shape[0]):
        row = slice(X.indptr[r], X.indptr[r + 1])
        parts.append((np.r_[X.data[row], X.data[row][::-1]] / 2,
                      np.r_[X.indices[row], X.indices[row][::-1]]))
    values, columns = (np.concatenate(part) for part in zip(*parts, strict=True))
    return scipy.sparse.csr_matrix((values, columns, 2 * X.indptr), X.shape)


def with_wide_indices(X):
    """The same matrix with indices of 64 bits, which SciPy does not make itself."""
    X = X.copy()
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    return X
