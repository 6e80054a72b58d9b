"""Outputs of several networks for the same rows, added up."""

cimport numpy as cnp

cnp.import_array()


def add_outputs(tuple snapshots not None, cnp.ndarray weights not None, codes,
                cnp.ndarray found not None, int threads):
    """Add the outputs of several networks for the same codes, each times its weight.

    Parameters
    ----------
    snapshots : tuple of Snapshot
        Of one dtype and number of outputs.
    weights : float64 array (n_snapshots,)
    codes : Codes
        Of that dtype.
    found : float64 array (n_rows, n_out)
        What they are added to, in their order.
    threads : int
    """
    cdef cnp.ndarray out
    cdef double* total = <double*>cnp.PyArray_DATA(found)
    cdef double weight
    cdef ptrdiff_t i, k, size = found.size
    if (weights.descr.type_num != cnp.NPY_DOUBLE or weights.size < len(snapshots)
            or found.descr.type_num != cnp.NPY_DOUBLE or not cnp.PyArray_ISCARRAY(found)
            or not cnp.PyArray_ISCARRAY_RO(weights)):
        raise ValueError("weights and found must be float64 arrays that fit the snapshots")
    start, column, value, adds = codes.indptr, codes.indices, codes.data, codes.adds
    for k in range(len(snapshots)):
        one = snapshots[k]
        out = one.predict_sparse(start, column, value, None, threads, adds)
        if out.size != size:
            raise ValueError("found does not fit the rows and the outputs")
        weight = (<double*>cnp.PyArray_DATA(weights))[k]
        if out.descr.type_num == cnp.NPY_DOUBLE:
            for i in range(size):
                total[i] += weight * (<double*>cnp.PyArray_DATA(out))[i]
        else:
            for i in range(size):
                total[i] += weight * <double>(<float*>cnp.PyArray_DATA(out))[i]
