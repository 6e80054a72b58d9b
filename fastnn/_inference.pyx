"""Forward only, for any number of callers at once; no SciPy, no lock.

A `Network` never changes: a fit publishes a new one. Scratch is taken per call, and rows are worked
on in blocks whose activations stay in the cache. Products are the native ones, so the answer for a
row does not depend on the rows beside it or on the number of threads.
"""

cimport cython
cimport numpy as cnp
from cython.parallel cimport prange
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc

from fastnn._kernels cimport (
    FNN_ACT_identity,
    FNN_ACT_relu,
    FNN_OUTPUT_SOFTMAX,
    bias_activate,
    fnn_product,
    kernels,
    pack_rows,
    panel_columns,
    real,
    row_major_product,
    run_product,
    softmax_rows,
    transpose,
)
from fastnn._signals cimport Watch, is_stopped, look, raise_if_stopped, start_watch
from fastnn._types cimport (
    Layer,
    fnn_after_keeping_subnormals,
    fnn_keep_subnormals,
    fnn_team_rank,
)

from itertools import pairwise

import numpy as np

from fastnn import _kernels
from fastnn.plan import PACKED_BYTES, WIDEST_COLUMNS
from fastnn.threads import team_size

cnp.import_array()

cdef enum:
    BLOCK_ROWS = 96            # a multiple of the tile heights
    COLUMNS = 64               # rows of a block in the lanes: whole tiles
    FEWEST_COLUMNS = 16        # below, turning costs more than idle lanes
    PACKING_ROWS = 480         # below, packing W costs more than it brings
    FLOPS_PER_THREAD = 4000000  # below some 50 us of work a second thread does not pay
    WATCHED_FLOPS = 10000000   # so much work of a block after block is watched for Ctrl-C
    WATCHED_SIZE = 1 << 20     # so many elements are checked or scaled between two looks for it
    FREE_SIZE = 1 << 14        # from so many elements on the GIL is let go while they are checked


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
    epochs_done : int
        That led to them. Here, so that whoever takes a network has both of one moment.
    """

    cdef readonly cnp.ndarray parameters
    cdef readonly object layout
    cdef readonly object epochs_done
    cdef int type_num
    cdef bint is_double
    cdef int n_layers
    cdef Layer* layers
    cdef ptrdiff_t widest
    cdef bint narrow             # feature-major where there are rows enough
    cdef ptrdiff_t block_rows
    cdef ptrdiff_t packed_from   # W of so many columns are packed for many rows,
    cdef ptrdiff_t packed_size   # into so many elements
    cdef double flops_per_row

    def __cinit__(self, layout, activations, output, cnp.ndarray parameters not None,
                  epochs_done=0):
        self.n_layers = len(layout.sizes) - 1
        self.layers = <Layer*>malloc(self.n_layers * sizeof(Layer))
        if self.layers == NULL:
            raise MemoryError
        self.parameters = parameters
        self.layout = layout
        self.epochs_done = epochs_done
        self.type_num = (<cnp.dtype>layout.dtype).type_num
        self.is_double = layout.dtype == np.float64
        self.widest = max(layout.sizes[1:])
        self.flops_per_row = 2.0 * layout.n_parameters
        self.narrow = max(layout.sizes) <= WIDEST_COLUMNS
        self.block_rows = COLUMNS if self.narrow else BLOCK_ROWS
        cdef ptrdiff_t panel = kernels.f64.panel if self.is_double else kernels.f32.panel
        self.packed_from = PACKED_BYTES // layout.dtype.itemsize
        self.packed_size = sum(n_in * ((n_out + panel - 1) // panel * panel)
                               for n_in, n_out in pairwise(layout.sizes)
                               if n_out >= self.packed_from)
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
        cdef ptrdiff_t blocks = (rows + self.block_rows - 1) // self.block_rows
        cdef double worthwhile = 1 + rows * self.flops_per_row / FLOPS_PER_THREAD
        cdef int team = <int>min(worthwhile, <double>min(<ptrdiff_t>threads, blocks))
        if team > 1:
            team = team_size(team)
        cdef Watch watch
        start_watch(&watch, blocks > 1 and worthwhile > WATCHED_FLOPS // FLOPS_PER_THREAD)
        cdef bint failed
        if self.is_double:
            failed = self.forward[double](rows, <const double*>cnp.PyArray_DATA(x),
                                          <double*>cnp.PyArray_DATA(out), team, &watch)
        else:
            failed = self.forward[float](rows, <const float*>cnp.PyArray_DATA(x),
                                         <float*>cnp.PyArray_DATA(out), team, &watch)
        if failed:
            raise MemoryError
        raise_if_stopped(&watch)
        return out

    cdef bint forward(self, ptrdiff_t rows, const real* x, real* out, int team,
                      Watch* watch) noexcept:
        cdef ptrdiff_t block_rows = min(rows, self.block_rows)
        cdef ptrdiff_t per_thread = (2 * self.widest + self.layers[0].n_in * self.narrow
                                     ) * max(block_rows, COLUMNS * self.narrow)
        cdef ptrdiff_t n_blocks = (rows + self.block_rows - 1) // self.block_rows
        cdef ptrdiff_t block
        cdef real* scratch = NULL
        cdef real* packed = NULL
        if rows == 0:
            return False
        if self.n_layers > 1 or self.narrow:
            scratch = <real*>malloc(team * per_thread * sizeof(real))
            if scratch == NULL:
                return True
        if self.packed_size and rows >= PACKING_ROWS:
            packed = <real*>malloc(self.packed_size * sizeof(real))
            if packed == NULL:
                free(scratch)
                return True
        with nogil:
            if packed != NULL:
                self.pack(packed)
            if team == 1:
                for block in range(n_blocks):
                    self.forward_block(block, rows, x, out, packed, scratch, watch)
            else:
                for block in prange(n_blocks, num_threads=team, schedule="dynamic"):
                    self.forward_block(block, rows, x, out, packed,
                                       scratch + fnn_team_rank() * per_thread, watch)
        free(packed)
        free(scratch)
        return False

    cdef void pack(self, real* packed) noexcept nogil:
        """The W whose rows are pages apart, in panels."""
        cdef const real* parameters = <const real*>cnp.PyArray_DATA(self.parameters)
        cdef ptrdiff_t width = panel_columns(kernels, packed)
        cdef Layer* layer
        cdef int i
        for i in range(self.n_layers):
            layer = &self.layers[i]
            if layer.n_out >= self.packed_from:
                pack_rows(kernels, layer.n_in, layer.n_out, parameters + layer.w, layer.n_out,
                          packed, layer.n_in * width)
                packed += (layer.n_out + width - 1) // width * width * layer.n_in

    cdef void forward_block(self, ptrdiff_t block, ptrdiff_t all_rows, const real* x, real* out,
                            const real* packed, real* scratch, Watch* watch) noexcept nogil:
        """The rows of one block through all layers."""
        if is_stopped(watch):
            return
        cdef uint64_t float_mode = fnn_keep_subnormals()
        cdef ptrdiff_t first = block * self.block_rows
        cdef ptrdiff_t rows = min(self.block_rows, all_rows - first)
        cdef Layer* last = &self.layers[self.n_layers - 1]
        x += first * self.layers[0].n_in
        out += first * last.n_out
        if self.narrow and rows >= FEWEST_COLUMNS:
            self.columns(rows, x, out, scratch)
        else:
            self.rows(rows, min(all_rows, self.block_rows), x, out, packed, scratch)
        if last.activation == FNN_OUTPUT_SOFTMAX:
            softmax_rows(kernels, rows, last.n_out, out, out)
        fnn_after_keeping_subnormals(float_mode)
        if watch.on and fnn_team_rank() == 0:
            look(watch)

    cdef void rows(self, ptrdiff_t rows, ptrdiff_t capacity, const real* a, real* out,
                   const real* packed, real* scratch) noexcept nogil:
        """Row-major, the activations in two buffers by turns."""
        cdef const real* parameters = <const real*>cnp.PyArray_DATA(self.parameters)
        cdef ptrdiff_t width
        cdef real* z
        cdef Layer* layer
        cdef fnn_product p
        cdef int i
        for i in range(self.n_layers):
            layer = &self.layers[i]
            z = out if i == self.n_layers - 1 else scratch + (i % 2) * capacity * self.widest
            p = row_major_product(kernels, rows, layer.n_out, layer.n_in, a, layer.n_in,
                                  parameters + layer.w, layer.n_out, z, layer.n_out)
            if packed != NULL and layer.n_out >= self.packed_from:
                width = p.b_panel
                p.b, p.ldb, p.b_panel = packed, width, layer.n_in * width
                packed += (layer.n_out + width - 1) // width * width * layer.n_in
            p.bias = parameters + layer.b
            self.apply(layer, &p, rows * layer.n_out, z)
            a = z

    cdef void columns(self, ptrdiff_t rows, const real* x, real* out,
                      real* scratch) noexcept nogil:
        """Feature-major, for narrow layers: the same chains, with a row in each lane."""
        cdef const real* parameters = <const real*>cnp.PyArray_DATA(self.parameters)
        cdef real* a = scratch + 2 * COLUMNS * self.widest
        cdef real* z = a
        cdef ptrdiff_t lanes = (rows + FEWEST_COLUMNS - 1) // FEWEST_COLUMNS * FEWEST_COLUMNS
        cdef Layer* layer = &self.layers[0]
        cdef fnn_product p
        cdef int i
        transpose(kernels, rows, self.layers[0].n_in, x, self.layers[0].n_in,
                  <const ptrdiff_t*>NULL, a, lanes)
        for i in range(self.n_layers):
            layer = &self.layers[i]
            z = scratch + (i % 2) * COLUMNS * self.widest
            p = row_major_product(kernels, layer.n_out, rows, layer.n_in, parameters + layer.w,
                                  layer.n_out, a, lanes, z, lanes)
            p.a_by_columns = p.bias_by_rows = True
            p.bias = parameters + layer.b
            self.apply(layer, &p, layer.n_out * lanes, z)
            a = z
        transpose(kernels, layer.n_out, rows, z, lanes, <const ptrdiff_t*>NULL, out, layer.n_out)

    cdef void apply(self, const Layer* layer, fnn_product* p, ptrdiff_t count,
                    real* z) noexcept nogil:
        """The product and an elementwise activation of the `count` elements at z."""
        p.relu = layer.activation == FNN_ACT_relu
        run_product(kernels, p, z)
        if layer.activation not in (FNN_ACT_relu, FNN_ACT_identity, FNN_OUTPUT_SOFTMAX):
            bias_activate(kernels, layer.activation, 1, count, z, <const real*>NULL, z)


def is_ready(x, ptrdiff_t columns):
    """Whether the functions below can read x as it is: a row-major, aligned array (rows, columns)
    of float32 or float64."""
    if type(x) is not np.ndarray:
        return False
    cdef cnp.ndarray array = x
    return (array.ndim == 2 and array.shape[1] == columns
            and array.descr.type_num in (cnp.NPY_FLOAT, cnp.NPY_DOUBLE)
            and cnp.PyArray_ISCARRAY_RO(array))


def all_finite(cnp.ndarray x not None):
    """Whether a row-major, aligned array of float32 or float64 holds neither NaN nor infinity."""
    cdef ptrdiff_t size = x.size, start, count
    for start in range(0, size, WATCHED_SIZE):
        count = min(WATCHED_SIZE, size - start)
        if start > 0:
            PyErr_CheckSignals()
        if not _slice_is_finite(x.descr.type_num == cnp.NPY_DOUBLE, cnp.PyArray_DATA(x), start,
                                count):
            return False
    return True


cdef bint _slice_is_finite(bint is_double, const void* x, ptrdiff_t start, ptrdiff_t count):
    cdef bint finite
    if count < FREE_SIZE:
        if is_double:
            return _all_finite[double](<const double*>x + start, count)
        return _all_finite[float](<const float*>x + start, count)
    with nogil:
        if is_double:
            finite = _all_finite[double](<const double*>x + start, count)
        else:
            finite = _all_finite[float](<const float*>x + start, count)
    return finite


cdef bint _all_finite(const real* x, ptrdiff_t count) noexcept nogil:
    # 0 x is 0, or NaN for NaN and infinity; four sums, so that additions do not wait for each other
    cdef real s0 = 0, s1 = 0, s2 = 0, s3 = 0
    cdef ptrdiff_t i
    cdef uint64_t float_mode = fnn_keep_subnormals()
    for i in range(count // 4):
        s0 += 0 * x[4 * i]
        s1 += 0 * x[4 * i + 1]
        s2 += 0 * x[4 * i + 2]
        s3 += 0 * x[4 * i + 3]
    for i in range(count // 4 * 4, count):
        s0 += 0 * x[i]
    fnn_after_keeping_subnormals(float_mode)
    return s0 + s1 + s2 + s3 == 0


def scale_rows(cnp.ndarray x not None, cnp.ndarray mean not None, cnp.ndarray scale not None,
               limits, bint to_double):
    """(x - mean) / scale in double precision, cut off at the limits (low, high) where they are not
    None, as a new row-major array.

    Parameters
    ----------
    x : row-major, aligned array (rows, n), float32 or float64
    mean, scale : float64 arrays (n,)
    """
    cdef ptrdiff_t rows = x.shape[0], n = x.shape[1]
    cdef cnp.npy_intp[2] shape
    cdef const double* m = <const double*>cnp.PyArray_DATA(mean)
    cdef const double* s = <const double*>cnp.PyArray_DATA(scale)
    cdef double low = -np.inf, high = np.inf
    if mean.size != n or scale.size != n:
        raise ValueError(f"x has {n} columns, mean {mean.size}, scale {scale.size}")
    if limits is not None:
        low, high = limits
    shape[0], shape[1] = rows, n
    cdef cnp.ndarray out = cnp.PyArray_EMPTY(2, shape,
                                             cnp.NPY_DOUBLE if to_double else cnp.NPY_FLOAT, 0)
    if x.descr.type_num == cnp.NPY_DOUBLE:
        _scale_to[double](rows, n, <const double*>cnp.PyArray_DATA(x), m, s, low, high, out)
    else:
        _scale_to[float](rows, n, <const float*>cnp.PyArray_DATA(x), m, s, low, high, out)
    return out


cdef int _scale_to(ptrdiff_t rows, ptrdiff_t n, const real* x, const double* mean,
                   const double* scale, double low, double high, cnp.ndarray out) except -1:
    cdef void* to = cnp.PyArray_DATA(out)
    cdef bint to_double = out.descr.type_num == cnp.NPY_DOUBLE
    cdef ptrdiff_t most = max(1, WATCHED_SIZE // max(n, 1)), start, count
    for start in range(0, rows, most):
        count = min(most, rows - start)
        if start > 0:
            PyErr_CheckSignals()
        with nogil:
            if to_double:
                _scale(count, n, x + start * n, mean, scale, low, high, (<double*>to) + start * n)
            else:
                _scale(count, n, x + start * n, mean, scale, low, high, (<float*>to) + start * n)
    return 0


ctypedef fused target:
    float
    double


cdef void _scale(ptrdiff_t rows, ptrdiff_t n, const real* x, const double* mean,
                 const double* scale, double low, double high, target* out) noexcept nogil:
    cdef ptrdiff_t i, j
    cdef double z
    cdef uint64_t float_mode = fnn_keep_subnormals()
    for i in range(rows):
        for j in range(n):
            z = (x[i * n + j] - mean[j]) / scale[j]
            z = low if z < low else high if z > high else z
            out[i * n + j] = <target>z
    fnn_after_keeping_subnormals(float_mode)
