"""Outputs of several networks for the same rows, added up."""

cimport numpy as cnp
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport free, malloc

from fastnn.core._kernels cimport (
    FNN_ACT_identity,
    FNN_ACT_relu,
    FNN_OUTPUT_SOFTMAX,
    bias_activate,
    fnn_lookup,
    fnn_product,
    kernels,
    lookup_of,
    row_major_product,
    run_lookup,
    run_product,
    softmax_rows,
)
from fastnn.core._team cimport fnn_after_keeping_subnormals, fnn_keep_subnormals

import numpy as np

from fastnn.core import _kernels
from fastnn.network.lowering import is_dense_chain

cnp.import_array()

cdef enum:
    MOST_VALUES = 16384        # of a layer of all networks together
    DEEPEST = 8


cdef struct Product:
    # values z.. (n) = values a.. (k) times a block of a layer of a network
    ptrdiff_t a
    ptrdiff_t z
    const float* w
    const float* bias
    ptrdiff_t k
    ptrdiff_t n
    ptrdiff_t ld


cdef class RowOutputs:
    """The mean output of several networks for one row of codes: the same bytes as those of
    `add_outputs`, without a call for each network.

    The rows of all first layers stand side by side in one table. Blocks of zeros, which other
    models that are parts of a network leave in its later layers, are not multiplied: a sum of
    products in their order stays as it is.

    Parameters
    ----------
    networks : sequence of MLP
        Which `takes` has taken.
    weights : float64 array (n_networks,)
    adds : uint8 array (n_in,)
        Of the codes.
    """

    cdef const float[::1] table, first_bias
    cdef const double[::1] weights
    cdef list kept              # arrays that products point into
    cdef cnp.ndarray products   # of bytes: `Product`, those of a layer one behind the other
    cdef int[DEEPEST + 1] ends  # of the products of each layer
    cdef int[DEEPEST] activations
    cdef ptrdiff_t[DEEPEST + 1] starts  # of the values of each layer
    cdef int n_layers, n_networks
    cdef ptrdiff_t n_in, n_out

    @staticmethod
    def takes(networks):
        """Return whether all are chains of dense layers of float32 with the same activations."""
        cdef ptrdiff_t values = 0
        first = networks[0]._layout.ops
        for net in networks:
            ops = net._layout.ops
            if net.dtype != "float32" or not is_dense_chain(ops) or len(ops) != len(first):
                return False
            for op, other in zip(ops, first):
                if op.activation != other.activation:
                    return False
            values += max(net.sizes[1:])
        return 2 <= len(first) <= DEEPEST and values <= MOST_VALUES

    # no __init__: called once more, it would free what another thread reads
    def __cinit__(self, networks, cnp.ndarray weights not None, cnp.ndarray adds not None):
        ops = networks[0]._layout.ops
        arrays, first, biases = [], [], []
        for net in networks:
            one = net.get_weights()
            arrays.append(one)
            first.append(one[0])
            biases.append(one[1])
        self.n_layers, self.n_networks = len(ops), len(networks)
        self.n_in, self.n_out = networks[0].sizes[0], networks[0].sizes[-1]
        self.weights = np.ascontiguousarray(weights, np.float64)
        if self.weights.shape[0] != self.n_networks:
            raise ValueError("weights must have one entry for each network")
        W = np.ascontiguousarray(np.hstack(first), np.float32)
        if W.shape[0] != self.n_in or adds.size != self.n_in or (
                adds.descr.type_num != cnp.NPY_UINT8 or not cnp.PyArray_ISCARRAY_RO(adds)):
            raise ValueError("adds must have one entry for each input of the networks")
        table = np.empty_like(W)
        cdef const float* x = <const float*>cnp.PyArray_DATA(<cnp.ndarray>W)
        cdef float* sums = <float*>cnp.PyArray_DATA(<cnp.ndarray>table)
        kernels.f32.sum_runs(0, self.n_in, W.shape[1],
                             <const unsigned char*>cnp.PyArray_DATA(adds), x, sums)
        self.table = table.reshape(-1)
        self.first_bias = np.concatenate(biases)
        cdef int i, count = 0
        self.starts[0] = 0
        for i in range(self.n_layers):
            self.activations[i] = _kernels.output_index(ops[i].activation)
            self.starts[i + 1] = self.starts[i]
            for one in arrays:
                self.starts[i + 1] += one[2 * i + 1].size
        self.kept, found = [], []
        self.ends[0] = 0
        cdef ptrdiff_t at, z
        for i in range(1, self.n_layers):
            at, z = self.starts[i - 1], self.starts[i]
            for one in arrays:
                W = np.ascontiguousarray(one[2 * i], np.float32)
                b = np.ascontiguousarray(one[2 * i + 1], np.float32)
                self.kept += [W, b]
                for k0, k1, n0, n1 in blocks_of(W):
                    found.append((at + k0, z + n0, W[k0:k1, n0:n1], b[n0:n1]))
                at, z = at + W.shape[0], z + W.shape[1]
            self.ends[i] = len(found)
        self.products = np.zeros(len(found) * sizeof(Product), np.uint8)
        cdef Product* p = <Product*>cnp.PyArray_DATA(self.products)
        for at, z, W, b in found:
            p[count].a, p[count].z = at, z
            p[count].w = <const float*>cnp.PyArray_DATA(<cnp.ndarray>W)
            p[count].bias = <const float*>cnp.PyArray_DATA(<cnp.ndarray>b)
            p[count].k, p[count].n = W.shape[0], W.shape[1]
            p[count].ld = W.strides[0] // sizeof(float)
            count += 1

    def add(self, cnp.ndarray column not None, cnp.ndarray value not None,
            cnp.ndarray found not None):
        """Add the mean output.

        Parameters
        ----------
        column : int32 array (entries,)
        value : float32 array (entries,)
        found : float64 array (1, n_out)
        """
        cdef int64_t[2] start
        cdef fnn_lookup look
        cdef fnn_product product
        cdef const Product* p = <const Product*>cnp.PyArray_DATA(self.products)
        cdef float* values
        cdef float* last
        cdef uint64_t mode
        cdef double* total = <double*>cnp.PyArray_DATA(found)
        cdef ptrdiff_t n = self.starts[1], k, j
        cdef int i, at
        if (column.size != value.size or found.size != self.n_out
                or column.descr.type_num != cnp.NPY_INT32 or value.descr.type_num != cnp.NPY_FLOAT
                or found.descr.type_num != cnp.NPY_DOUBLE or not (
                    cnp.PyArray_ISCARRAY_RO(column) and cnp.PyArray_ISCARRAY_RO(value)
                    and cnp.PyArray_ISCARRAY(found))):
            raise ValueError("these are not the entries of a row, and its outputs")
        values = <float*>malloc(self.starts[self.n_layers] * sizeof(float))
        if values == NULL:
            raise MemoryError
        start[0], start[1] = 0, column.size
        look = lookup_of(1, n, start, <const int32_t*>cnp.PyArray_DATA(column),
                         cnp.PyArray_DATA(value), &self.table[0], self.n_in, n, values, n)
        look.bias, look.relu = &self.first_bias[0], self.activations[0] == FNN_ACT_relu
        mode = fnn_keep_subnormals()
        if run_lookup(kernels, &look, values) >= 0:
            fnn_after_keeping_subnormals(mode)
            free(values)
            raise ValueError(f"column must hold values in 0..{self.n_in - 1}")
        self.activate(0, values)
        for i in range(1, self.n_layers):
            for at in range(self.ends[i - 1], self.ends[i]):
                product = row_major_product(kernels, 1, p[at].n, p[at].k, values + p[at].a,
                                            p[at].k, p[at].w, p[at].ld, values + p[at].z, p[at].n)
                product.bias = p[at].bias
                product.relu = self.activations[i] == FNN_ACT_relu
                run_product(kernels, &product, values)
            self.activate(i, values)
        fnn_after_keeping_subnormals(mode)
        last = values + self.starts[self.n_layers - 1]
        for k in range(self.n_networks):
            for j in range(self.n_out):
                total[j] += self.weights[k] * <double>last[k * self.n_out + j]
        free(values)

    cdef void activate(self, int layer, float* values) noexcept:
        cdef int activation = self.activations[layer]
        cdef ptrdiff_t n = self.starts[layer + 1] - self.starts[layer]
        values += self.starts[layer]
        if activation == FNN_OUTPUT_SOFTMAX:
            softmax_rows(kernels, self.n_networks, self.n_out, values, values)
        elif activation not in (FNN_ACT_relu, FNN_ACT_identity):
            bias_activate(kernels, activation, 1, n, values, <const float*>NULL, values)


def blocks_of(W):
    """Return the blocks (first row, last, first column, last) that hold all of W but zeros: two
    along the diagonal where they are much smaller, or W itself."""
    n, m = W.shape
    there = W != 0
    # of each column its first and last row that is not 0
    first = np.where(there.any(axis=0), there.argmax(axis=0), n)
    last = np.where(there.any(axis=0), n - there[::-1].argmax(axis=0), 0)
    below = np.maximum.accumulate(last)[:-1]  # the rows that the columns up to here need
    above = np.minimum.accumulate(first[::-1])[::-1][1:]
    columns = np.arange(1, m)
    size = np.where(below <= above, below * columns + (n - below) * (m - columns), n * m)
    if m < 2 or size.min() > 0.8 * n * m or 0 == below[size.argmin()] or (
            below[size.argmin()] == n):
        return [(0, n, 0, m)]
    cut, row = int(columns[size.argmin()]), int(below[size.argmin()])
    return [(0, row, 0, cut), (row, n, cut, m)]


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
