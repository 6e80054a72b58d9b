"""Forward only, for any number of callers at once; no SciPy, no lock.

A `Network` never changes: a fit publishes a new one. Scratch is taken per call, and rows are worked
on in blocks whose activations stay in the cache. Products are the native ones, so the answer for a
row does not depend on the rows beside it or on the number of threads.
"""

cimport cython
cimport numpy as cnp
from cython.parallel cimport prange
from libc.stdlib cimport free, malloc

from fastnn._kernels cimport (
    FNN_ACT_identity,
    FNN_ACT_relu,
    FNN_OUTPUT_SOFTMAX,
    bias_activate,
    fnn_product,
    kernels,
    real,
    row_major_product,
    run_product,
    softmax_rows,
)
from fastnn._types cimport Layer, fnn_team_rank

import numpy as np

from fastnn import _kernels

cnp.import_array()

cdef enum:
    BLOCK_ROWS = 96            # a multiple of the tile heights
    FLOPS_PER_THREAD = 4000000  # below some 50 us of work a second thread does not pay


@cython.final
cdef class Network:
    """Parameters with the layers that read them.

    Parameters
    ----------
    layout : ParameterLayout
    activations : tuple of str
        One per hidden layer.
    output : str
    parameters : flat array of the layout; kept, not copied
    """

    cdef readonly cnp.ndarray parameters
    cdef readonly object layout
    cdef int type_num
    cdef bint is_double
    cdef int n_layers
    cdef Layer* layers
    cdef ptrdiff_t widest
    cdef double flops_per_row

    def __cinit__(self, layout, activations, output, cnp.ndarray parameters not None):
        self.n_layers = len(layout.sizes) - 1
        self.layers = <Layer*>malloc(self.n_layers * sizeof(Layer))
        if self.layers == NULL:
            raise MemoryError
        self.parameters = parameters
        self.layout = layout
        self.type_num = (<cnp.dtype>layout.dtype).type_num
        self.is_double = layout.dtype == np.float64
        self.widest = max(layout.sizes[1:])
        self.flops_per_row = 2.0 * layout.n_parameters
        names = (*activations, output)
        for i in range(self.n_layers):
            self.layers[i].n_in, self.layers[i].n_out = layout.sizes[i], layout.sizes[i + 1]
            self.layers[i].w = layout.weight_offsets[i]
            self.layers[i].b = layout.bias_offsets[i]
            self.layers[i].activation = _kernels.output_index(names[i])

    def __dealloc__(self):
        free(self.layers)

    cpdef bint accepts(self, X, bint writes=False):
        """Whether the compiled loop can read (or write) this array as it is: dtype, 2-D, row-major,
        aligned, native byte order."""
        if type(X) is not np.ndarray:
            return False
        cdef cnp.ndarray x = X
        if x.ndim != 2 or x.descr.type_num != self.type_num:
            return False
        if writes:
            return cnp.PyArray_ISCARRAY(x)
        return cnp.PyArray_ISCARRAY_RO(x)

    def predict(self, cnp.ndarray x not None, cnp.ndarray out, int threads):
        """Outputs (rows, n_out) for x (rows, n_in) that `accepts` has taken, into ``out`` or a new
        array."""
        cdef cnp.npy_intp[2] shape
        cdef ptrdiff_t rows = x.shape[0]
        if x.shape[1] != self.layers[0].n_in:
            raise ValueError(f"X has {x.shape[1]} columns, must have {self.layers[0].n_in}")
        if out is None:
            shape[0], shape[1] = rows, self.layers[self.n_layers - 1].n_out
            out = cnp.PyArray_EMPTY(2, shape, x.descr.type_num, 0)
        elif out.shape[0] != rows or out.shape[1] != self.layers[self.n_layers - 1].n_out:
            raise ValueError("out does not fit the rows and the outputs")
        cdef ptrdiff_t blocks = (rows + BLOCK_ROWS - 1) // BLOCK_ROWS
        cdef double worthwhile = 1 + rows * self.flops_per_row / FLOPS_PER_THREAD
        cdef int team = <int>min(worthwhile, <double>min(<ptrdiff_t>threads, blocks))
        cdef bint failed
        if self.is_double:
            failed = self.forward[double](rows, <const double*>cnp.PyArray_DATA(x),
                                          <double*>cnp.PyArray_DATA(out), team)
        else:
            failed = self.forward[float](rows, <const float*>cnp.PyArray_DATA(x),
                                         <float*>cnp.PyArray_DATA(out), team)
        if failed:
            raise MemoryError
        return out

    cdef bint forward(self, ptrdiff_t rows, const real* x, real* out, int team) noexcept:
        cdef ptrdiff_t block_rows = min(rows, <ptrdiff_t>BLOCK_ROWS)
        cdef ptrdiff_t per_thread = 2 * block_rows * self.widest
        cdef ptrdiff_t n_blocks = (rows + BLOCK_ROWS - 1) // BLOCK_ROWS
        cdef ptrdiff_t block
        cdef real* scratch = NULL
        if rows == 0:
            return False
        if self.n_layers > 1:
            scratch = <real*>malloc(team * per_thread * sizeof(real))
            if scratch == NULL:
                return True
        with nogil:
            if team == 1:
                for block in range(n_blocks):
                    self.forward_block(block, rows, x, out, scratch)
            else:
                for block in prange(n_blocks, num_threads=team, schedule="dynamic"):
                    self.forward_block(block, rows, x, out,
                                       scratch + fnn_team_rank() * per_thread)
        free(scratch)
        return False

    cdef void forward_block(self, ptrdiff_t block, ptrdiff_t all_rows, const real* x, real* out,
                            real* scratch) noexcept nogil:
        """The rows of one block through all layers, the activations in two buffers by turns."""
        cdef const real* parameters = <const real*>cnp.PyArray_DATA(self.parameters)
        cdef ptrdiff_t first = block * BLOCK_ROWS
        cdef ptrdiff_t rows = min(<ptrdiff_t>BLOCK_ROWS, all_rows - first)
        cdef const real* a = x + first * self.layers[0].n_in
        cdef real* z = NULL
        cdef Layer* layer
        cdef fnn_product p
        cdef int i
        for i in range(self.n_layers):
            layer = &self.layers[i]
            if i == self.n_layers - 1:
                z = out + first * layer.n_out
            else:
                z = scratch + (i % 2) * min(all_rows, <ptrdiff_t>BLOCK_ROWS) * self.widest
            p = row_major_product(kernels, rows, layer.n_out, layer.n_in, a, layer.n_in,
                                  parameters + layer.w, layer.n_out, z, layer.n_out)
            p.bias = parameters + layer.b
            p.relu = layer.activation == FNN_ACT_relu
            run_product(kernels, &p, z)
            if layer.activation == FNN_OUTPUT_SOFTMAX:
                softmax_rows(kernels, rows, layer.n_out, z, z)
            elif layer.activation != FNN_ACT_identity and layer.activation != FNN_ACT_relu:
                bias_activate(kernels, layer.activation, rows, layer.n_out, z, <const real*>NULL, z)
            a = z
