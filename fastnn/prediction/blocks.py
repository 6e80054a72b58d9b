"""Predictions for rows that are made some at a time, and of all layers."""

import numpy as np

from fastnn.core.arrays import check_out, dense_rows, is_sparse
from fastnn.core.codes import is_codes, refuse_codes
from fastnn.core.csr import check_adds, csr_arrays
from fastnn.core.rows import check_rows
from fastnn.network.lowering import WITH_WEIGHTS
from fastnn.prediction._forward import Snapshot

__all__ = ["activations_of", "predict_blocks", "predict_sparse"]

SPARSE_BLOCK = 2**20  # elements of a sparse X that are made dense at a time


def predict_sparse(snapshot, X, out, n_threads):
    """Return the outputs for a sparse X: by look-ups of rows of W, but where something else than
    dense layers reads the inputs.

    Parameters
    ----------
    snapshot : Snapshot
    X : sparse matrix (n_samples, n_in), or Codes
        Of any format; checked here.
    out : array (n_samples, n_out) or None
    n_threads : int

    Returns
    -------
    array (n_samples, n_out)
    """
    layout = snapshot.layout
    if not snapshot.looks_up and is_codes(X):
        refuse_codes()
    if not snapshot.looks_up:
        X = check_rows("X", X, layout.sizes[0], layout.dtype, finite=False)
        return predict_blocks(snapshot, X, out, n_threads)
    start, column, value = csr_arrays("X", X, layout.sizes[0], layout.dtype)
    adds = check_adds("X", X.adds, layout.sizes[0]) if is_codes(X) else None
    if out is not None:
        check_out(out, (len(start) - 1, layout.sizes[-1]), layout.dtype)
        if np.may_share_memory(value, out) or np.may_share_memory(column, out):
            column, value = column.copy(), value.copy()
    return snapshot.predict_sparse(start, column, value, out, n_threads, adds)


def predict_blocks(snapshot, X, out, n_threads):
    """Return the outputs for rows that are sparse, or of another dtype than the network's.

    Parameters
    ----------
    snapshot : Snapshot
    X : array or sparse matrix (n_samples, n_in)
        Checked.
    out : array (n_samples, n_out) or None
    n_threads : int

    Returns
    -------
    array (n_samples, n_out)
    """
    n_in, n_out, dtype = snapshot.layout.sizes[0], snapshot.layout.sizes[-1], snapshot.layout.dtype
    if out is None:
        out = np.empty((X.shape[0], n_out), dtype)
    check_out(out, (X.shape[0], n_out), dtype)
    if np.may_share_memory(X.data if is_sparse(X) else X, out):
        out[:] = predict_blocks(snapshot, X, None, n_threads)  # or it would write over rows to come
        return out
    block = max(1, SPARSE_BLOCK // n_in)
    for start in range(0, X.shape[0], block):
        rows = slice(start, start + block)
        part = X if X.shape[0] <= block else X[rows]
        part = dense_rows(part)
        snapshot.predict(np.ascontiguousarray(part, dtype), out[rows], n_threads)
    return out


def activations_of(layout, parameters, X, n_threads):
    """Return the activations of every layer, see `MLP.activations_of`."""
    X = check_rows("X", X, layout.sizes[0], layout.dtype, finite=False)
    ops, found = layout.ops, []
    dense = [i for i, op in enumerate(ops) if op.kind in WITH_WEIGHTS]
    for end in (*dense[1:], len(ops)):
        snapshot = Snapshot(layout, parameters, n_ops=end)
        if is_sparse(X) and not snapshot.looks_up:
            X = X.toarray()
        by_entries = is_sparse(X) or is_codes(X)
        predict = predict_sparse if by_entries else Snapshot.predict
        value = predict(snapshot, X, None, n_threads)
        members = ops[end - 1].members
        if members > 1 and end < len(ops):
            value = value.reshape(len(value), members, value.shape[1] // members)
        found.append(value)
    return found
