"""Single kernels on arrays, for tests and benchmarks only; nothing else imports this.

Each takes any instruction set that runs here; None is the one in use.
"""

cimport numpy as cnp
from libc.stdint cimport int32_t, uint32_t

from fastnn.core._kernels cimport (
    FNN_N_COEFFICIENTS,
    FNN_N_PARAMETERS,
    FNN_ROOM,
    activation_backward,
    bias_activate,
    dropout_rows,
    find,
    fnn_dropout,
    fnn_kernels,
    fnn_product,
    kernels,
    layer_norm_backward_rows,
    layer_norm_gain,
    layer_norm_rows,
    loss_rows,
    pack_rows,
    real,
    row_major_product,
    row_products,
    run_product,
    softmax_rows,
    step_coefficients,
    sum_columns,
    transpose,
    update_weights,
    vector_function,
)

import numpy as np

from fastnn.core._kernels import LOSSES, VECMATH, activation_index, loss_index, optimizer_index

cnp.import_array()


cdef const fnn_kernels* chosen(isa) except NULL:
    return kernels if isa is None else find(isa)


cdef prepared(x, dtype=None):
    x = np.ascontiguousarray(x, dtype)
    if x.dtype not in (np.float32, np.float64):
        raise TypeError(f"dtype={x.dtype} must be float32 or float64")
    return x


def activate(name, z, isa=None):
    """Return f(z) of an elementwise activation."""
    z = prepared(z).copy()
    a = np.empty_like(z)
    if z.dtype == np.float32:
        _activate[float](chosen(isa), activation_index(name), z, a)
    else:
        _activate[double](chosen(isa), activation_index(name), z, a)
    return a


cdef _activate(const fnn_kernels* k, int kind, cnp.ndarray z, cnp.ndarray a, real* tag=NULL):
    bias_activate(k, kind, 1, z.size, <real*>cnp.PyArray_DATA(z), <const real*>NULL,
                  <real*>cnp.PyArray_DATA(a))


def activation_derivative(name, z, isa=None):
    """Return f'(z), computed as training does: from f(z) where the activation allows."""
    z = prepared(z)
    a = activate(name, z, isa)
    d = np.ones_like(z)
    if z.dtype == np.float32:
        _derivative[float](chosen(isa), activation_index(name), z, a, d)
    else:
        _derivative[double](chosen(isa), activation_index(name), z, a, d)
    return d


cdef _derivative(const fnn_kernels* k, int kind, cnp.ndarray z, cnp.ndarray a, cnp.ndarray d,
                 real* tag=NULL):
    activation_backward(k, kind, z.size, <const real*>cnp.PyArray_DATA(z),
                        <const real*>cnp.PyArray_DATA(a), <real*>cnp.PyArray_DATA(d))


def softmax(z, isa=None):
    """Return the softmax of each row of z (rows, n)."""
    z = prepared(z)
    p = np.empty_like(z)
    if z.dtype == np.float32:
        _softmax[float](chosen(isa), z, p)
    else:
        _softmax[double](chosen(isa), z, p)
    return p


cdef _softmax(const fnn_kernels* k, cnp.ndarray z, cnp.ndarray p, real* tag=NULL):
    softmax_rows(k, z.shape[0], z.shape[1], <const real*>cnp.PyArray_DATA(z),
                 <real*>cnp.PyArray_DATA(p))


def loss(name, z, y, sample_weight=None, isa=None, ceiling=np.inf, parameters=None):
    """Return the sum of a loss over raw outputs z (rows, n), and its derivative dz (rows, n).

    y is (rows, n), or for losses of whole rows also (rows,) integer labels. No element counts for
    more than ``ceiling``. ``parameters`` (n_parameters,) are those of all outputs, or
    (n, n_parameters) those of each.
    """
    z = prepared(z)
    y = np.asarray(y)
    y = prepared(y, z.dtype) if y.ndim == 2 else np.ascontiguousarray(y, np.int32)
    info = LOSSES[name]
    if y.ndim == 1 and not (info.whole_rows and info.targets == "unit"):
        raise ValueError(f"labels need a loss of whole rows, not {name!r}")
    given = None
    if parameters is not None:
        given = np.zeros((z.shape[1], FNN_N_PARAMETERS))
        given[:, :info.n_parameters] = parameters
    elif info.n_parameters and name != "cross_entropy":
        raise ValueError(f"loss={name!r} needs parameters")
    if sample_weight is not None:
        sample_weight = prepared(sample_weight, z.dtype)
    dz = np.empty_like(z)
    if z.dtype == np.float32:
        value = _loss[float](chosen(isa), loss_index(name), z, y, sample_weight, ceiling, given, dz)
    else:
        value = _loss[double](chosen(isa), loss_index(name), z, y, sample_weight, ceiling, given,
                              dz)
    return value, dz


cdef double _loss(const fnn_kernels* k, int kind, cnp.ndarray z, cnp.ndarray y, weights,
                  double ceiling, parameters, cnp.ndarray dz, real* tag=NULL) except? -1:
    cdef const double* h = NULL
    cdef const real* s = NULL
    cdef const real* targets = NULL
    if parameters is not None:
        h = <const double*>cnp.PyArray_DATA(<cnp.ndarray>parameters)
    cdef const int32_t* labels = NULL
    if weights is not None:
        s = <const real*>cnp.PyArray_DATA(<cnp.ndarray>weights)
    if y.ndim == 1:
        labels = <const int32_t*>cnp.PyArray_DATA(y)
    else:
        targets = <const real*>cnp.PyArray_DATA(y)
    return loss_rows(k, kind, z.shape[0], z.shape[1], <const real*>cnp.PyArray_DATA(z), targets,
                     labels, s, ceiling, h, <real*>cnp.PyArray_DATA(dz))


def column_sums(x, isa=None):
    """Return the sum over the rows of x (rows, n)."""
    x = prepared(x)
    out = np.empty(x.shape[1], x.dtype)
    if x.dtype == np.float32:
        _column_sums[float](chosen(isa), x, out)
    else:
        _column_sums[double](chosen(isa), x, out)
    return out


cdef _column_sums(const fnn_kernels* k, cnp.ndarray x, cnp.ndarray out, real* tag=NULL):
    sum_columns(k, x.shape[0], x.shape[1], <const real*>cnp.PyArray_DATA(x), x.shape[1],
                <real*>cnp.PyArray_DATA(out))


def coefficients(name, t, learning_rate, hyperparameters):
    """Return the scalars of step t (from 1) of an optimizer, float64 (8,)."""
    cdef double[8] h
    cdef double[8] c
    for i in range(8):
        h[i] = hyperparameters[i] if i < len(hyperparameters) else 0.0
    step_coefficients(optimizer_index(name), t, learning_rate, h, c)
    found = np.empty(FNN_N_COEFFICIENTS)
    for i in range(FNN_N_COEFFICIENTS):
        found[i] = c[i]
    return found


def update(name, w, g, states, coefficients, isa=None, decay=0.0, scale=1.0):
    """Do one optimizer step in place on w and its state vectors; g (n,) or partial gradients
    (n_partial, n)."""
    parts = np.atleast_2d(prepared(g, w.dtype))
    coefficients = np.ascontiguousarray(coefficients, np.float64)
    vectors = (*states, w, w, w)[:3]  # those that the optimizer does not have are not touched
    if w.dtype == np.float32:
        return _update[float](chosen(isa), optimizer_index(name), w, parts, vectors,
                              coefficients, decay, scale)
    return _update[double](chosen(isa), optimizer_index(name), w, parts, vectors,
                           coefficients, decay, scale)


cdef double _update(const fnn_kernels* k, int kind, cnp.ndarray w, cnp.ndarray parts,
                    tuple vectors, cnp.ndarray c, double decay, double scale,
                    real* tag=NULL) except? -1:
    cdef cnp.ndarray s0 = vectors[0], s1 = vectors[1], s2 = vectors[2]
    return update_weights(
        k, kind, w.size, <int>parts.shape[0], <const real*>cnp.PyArray_DATA(parts), parts.shape[1],
        decay, scale, <real*>cnp.PyArray_DATA(w), <real*>cnp.PyArray_DATA(s0),
        <real*>cnp.PyArray_DATA(s1), <real*>cnp.PyArray_DATA(s2),
        <const double*>cnp.PyArray_DATA(c))


def dropout(x, rate, key, counter=(0, 0, 0), isa=None):
    """Return x (rows, n) with units dropped at ``rate`` and the rest scaled by 1 / (1 - rate).

    key: seed of the run; counter: (step, layer, index of the first row in its batch).
    """
    x = prepared(x)
    out = np.empty_like(x)
    cdef fnn_dropout d
    d.seed = key
    d.step, d.layer = counter[0], counter[1]
    d.threshold = <uint32_t>(rate * 4294967296.0)
    d.scale = 1.0 / (1.0 - rate)
    if x.dtype == np.float32:
        _dropout[float](chosen(isa), x, out, counter[2], &d)
    else:
        _dropout[double](chosen(isa), x, out, counter[2], &d)
    return out


cdef _dropout(const fnn_kernels* k, cnp.ndarray x, cnp.ndarray out, ptrdiff_t row0,
              const fnn_dropout* d, real* tag=NULL):
    dropout_rows(k, x.shape[0], x.shape[1], row0, d, <const real*>cnp.PyArray_DATA(x),
                 <real*>cnp.PyArray_DATA(out))


def dense(x, w, b, activation="identity", isa=None):
    """Return f(x w + b) by the native product: x (rows, n_in), w (n_in, n_out), b (n_out,)."""
    return activate(activation, product(x, w, bias=b, isa=isa), isa)


def product(a, b, transpose_a=False, *, bias=None, relu=False, gate=None, index=None, panels=False,
            bias_by_rows=False, room=False, isa=None):
    """Return bias + a b, or + a' b, by the native product.

    Parameters
    ----------
    a : array (rows, k), or (k, rows) when transposed
    b : array (k, n)
    bias : array (n,), optional; (rows,) when by rows
    relu : bool
        max(0, c).
    gate : array (rows, n), optional
        c is 0 where it is <= 0.
    index : array of int, optional
        Rows to take of ``a``, through pointers.
    panels : bool
        b is laid out in panels first.
    room : bool
        There is room to pack columns of a.
    """
    a = prepared(a)
    b = prepared(b, a.dtype)
    bias = None if bias is None else prepared(bias, a.dtype)
    gate = None if gate is None else prepared(gate, a.dtype)
    rows = None
    if index is not None:
        index = np.asarray(index)
        rows = a.ctypes.data + index.astype(np.uintp) * <size_t>(a.shape[1] * a.itemsize)
    taken = a.shape[0] if rows is None else len(rows)
    c = np.empty((a.shape[1] if transpose_a else taken, b.shape[1]), a.dtype)
    if a.dtype == np.float32:
        _product[float](chosen(isa), a, b, c, transpose_a, bias, relu, gate, rows, panels,
                        bias_by_rows, room)
    else:
        _product[double](chosen(isa), a, b, c, transpose_a, bias, relu, gate, rows, panels,
                         bias_by_rows, room)
    return c


cdef const void* data_or_null(array):
    return NULL if array is None else cnp.PyArray_DATA(<cnp.ndarray>array)


cdef _product(const fnn_kernels* k, cnp.ndarray a, cnp.ndarray b, cnp.ndarray c, bint transpose_a,
              bias, bint relu, gate, pointers, bint panels, bint bias_by_rows,
              bint room, real* tag=NULL):
    cdef fnn_product p = row_major_product(
        k, c.shape[0], c.shape[1], b.shape[0], <const real*>cnp.PyArray_DATA(a), a.shape[1],
        <const real*>cnp.PyArray_DATA(b), b.shape[1], <real*>cnp.PyArray_DATA(c), c.shape[1])
    p.a_by_columns = transpose_a
    p.a_list = <const void**>data_or_null(pointers)
    p.bias, p.relu, p.gate = data_or_null(bias), relu, data_or_null(gate)
    p.bias_by_rows = bias_by_rows
    cdef ptrdiff_t width = p.b_panel
    if room:
        place = np.empty(FNN_ROOM // 8)
        p.room = <void*>data_or_null(place)
    if panels:
        laid = np.zeros((p.n + width - 1) // width * p.k * width, b.dtype)
        p.b, p.ldb, p.b_panel = data_or_null(laid), width, p.k * width
        pack_rows(k, p.k, p.n, <const real*>cnp.PyArray_DATA(b), p.n, <real*>p.b, p.b_panel)
    run_product(k, &p, <real*>NULL)


def row_product(a, b, isa=None):
    """Return a b' for few rows of b: a (rows, k), b (n, k)."""
    a = prepared(a)
    b = prepared(b, a.dtype)
    c = np.empty((a.shape[0], b.shape[0]), a.dtype)
    if a.dtype == np.float32:
        _row_product[float](chosen(isa), a, b, c)
    else:
        _row_product[double](chosen(isa), a, b, c)
    return c


cdef _row_product(const fnn_kernels* k, cnp.ndarray a, cnp.ndarray b, cnp.ndarray c,
                  real* tag=NULL):
    row_products(k, c.shape[0], c.shape[1], a.shape[1], <const real*>cnp.PyArray_DATA(a),
                 a.shape[1], <const real*>cnp.PyArray_DATA(b), b.shape[1],
                 <real*>cnp.PyArray_DATA(c), c.shape[1])


def transposed(x, isa=None):
    """Return the transpose of x (rows, columns), row-major."""
    x = prepared(x)
    out = np.empty((x.shape[1], x.shape[0]), x.dtype)
    if x.dtype == np.float32:
        _transposed[float](chosen(isa), x, out)
    else:
        _transposed[double](chosen(isa), x, out)
    return out


cdef _transposed(const fnn_kernels* k, cnp.ndarray x, cnp.ndarray out, real* tag=NULL):
    transpose(k, x.shape[0], x.shape[1], <const real*>cnp.PyArray_DATA(x), x.shape[1],
              <const ptrdiff_t*>NULL, <real*>cnp.PyArray_DATA(out), x.shape[0])


def permutation(n, seed, stream=0, isa=None):
    """Return a random order of 0..n-1, intp (n,); another one for each seed and stream."""
    order = np.empty(n, np.intp)
    chosen(isa).shuffle(n, seed, stream, <ptrdiff_t*>cnp.PyArray_DATA(<cnp.ndarray>order))
    return order


def vecmath(name, x, isa=None):
    """Apply one of the functions of csrc/vecmath.h, see ``VECMATH``."""
    x = prepared(x)
    out = np.empty_like(x)
    if x.dtype == np.float32:
        _vecmath[float](chosen(isa), VECMATH.index(name), x, out)
    else:
        _vecmath[double](chosen(isa), VECMATH.index(name), x, out)
    return out


cdef _vecmath(const fnn_kernels* k, int kind, cnp.ndarray x, cnp.ndarray out, real* tag=NULL):
    vector_function(k, kind, x.size, <const real*>cnp.PyArray_DATA(x),
                    <real*>cnp.PyArray_DATA(out))


def layer_norm(x, gain, bias, eps, isa=None):
    """Return the layer normalisation of each row of x (rows, n), and mean and 1 / deviation of each
    row (rows, 2); gain and bias (n,)."""
    x = prepared(x)
    gain, bias = prepared(gain, x.dtype), prepared(bias, x.dtype)
    z, stats = np.empty_like(x), np.empty((x.shape[0], 2), x.dtype)
    if x.dtype == np.float32:
        _layer_norm[float](chosen(isa), x, gain, bias, eps, z, stats)
    else:
        _layer_norm[double](chosen(isa), x, gain, bias, eps, z, stats)
    return z, stats


cdef _layer_norm(const fnn_kernels* k, cnp.ndarray x, cnp.ndarray gain, cnp.ndarray bias,
                 double eps, cnp.ndarray z, cnp.ndarray stats, real* tag=NULL):
    layer_norm_rows(k, x.shape[0], x.shape[1], <const real*>cnp.PyArray_DATA(x), x.shape[1],
                    <const real*>cnp.PyArray_DATA(gain), <const real*>cnp.PyArray_DATA(bias), eps,
                    <real*>cnp.PyArray_DATA(z), x.shape[1], <real*>cnp.PyArray_DATA(stats))


def layer_norm_gradients(dz, x, gain, stats, isa=None):
    """Return dx (rows, n) and dgain (n,) from dz (rows, n) and what `layer_norm` took and gave."""
    dz = prepared(dz)
    x, gain, stats = prepared(x, dz.dtype), prepared(gain, dz.dtype), prepared(stats, dz.dtype)
    dx, dgain = np.empty_like(x), np.empty_like(gain)
    if dz.dtype == np.float32:
        _layer_norm_gradients[float](chosen(isa), dz, x, gain, stats, dx, dgain)
    else:
        _layer_norm_gradients[double](chosen(isa), dz, x, gain, stats, dx, dgain)
    return dx, dgain


cdef _layer_norm_gradients(const fnn_kernels* k, cnp.ndarray dz, cnp.ndarray x, cnp.ndarray gain,
                           cnp.ndarray stats, cnp.ndarray dx, cnp.ndarray dgain, real* tag=NULL):
    cdef ptrdiff_t rows = x.shape[0], n = x.shape[1]
    layer_norm_backward_rows(
        k, rows, n, <const real*>cnp.PyArray_DATA(dz), n, <const real*>cnp.PyArray_DATA(x), n,
        <const real*>cnp.PyArray_DATA(stats), <const real*>cnp.PyArray_DATA(gain),
        <real*>cnp.PyArray_DATA(dx), n)
    layer_norm_gain(k, rows, n, <const real*>cnp.PyArray_DATA(dz), n,
                    <const real*>cnp.PyArray_DATA(x), n, <const real*>cnp.PyArray_DATA(stats),
                    <real*>cnp.PyArray_DATA(dgain))
