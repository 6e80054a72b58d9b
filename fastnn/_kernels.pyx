"""Owner of the C function table and of the registry of names.

The instruction set is chosen once, at import: the best one this processor and system can run, or
the one that the environment variable ``FASTNN_ISA`` names. The functions below run a single kernel
on arrays; they exist for tests and benchmarks, and take any instruction set that runs here.
"""

import os
from collections import namedtuple

cimport numpy as cnp

from fastnn._types cimport FNN_MAX_TASKS, fnn_team_form, fnn_team_prepare

import numpy as np

cnp.import_array()

fnn_team_prepare()  # here, because every way to a team of threads leads through this module


def form_team(int threads):
    """Whether the calling thread can lead a team of so many threads now; they are then there."""
    cdef bint possible
    with nogil:
        possible = fnn_team_form(threads)
    return possible


def address(cnp.ndarray array not None):
    """Where the first element lies."""
    return <size_t>cnp.PyArray_DATA(array)


ActivationInfo = namedtuple("ActivationInfo", "name needs_z")
LossInfo = namedtuple("LossInfo", "name link reduction targets")
OptimizerInfo = namedtuple("OptimizerInfo", "name n_state")


cdef str text(const char* s):
    return (<bytes>s).decode("ascii")


def _read_aliases():
    aliases = {}
    cdef int i = 0
    while fnn_aliases[i].alias != NULL:
        aliases[text(fnn_aliases[i].alias)] = text(fnn_aliases[i].name)
        i += 1
    return aliases


ACTIVATIONS = {
    text(fnn_activations[i].name): ActivationInfo(
        text(fnn_activations[i].name), bool(fnn_activations[i].needs_z))
    for i in range(FNN_N_ACTIVATIONS)
}
ALIASES = _read_aliases()
LOSSES = {
    text(fnn_losses[i].name): LossInfo(
        text(fnn_losses[i].name), text(fnn_losses[i].link), text(fnn_losses[i].reduction),
        text(fnn_losses[i].targets))
    for i in range(FNN_N_LOSSES)
}
OPTIMIZERS = {
    text(fnn_optimizers[i].name): OptimizerInfo(
        text(fnn_optimizers[i].name), fnn_optimizers[i].n_state)
    for i in range(FNN_N_OPTIMIZERS)
}
VECMATH = ("exp", "log", "log1p", "tanh", "sigmoid", "normcdf")
MAX_TASKS = FNN_MAX_TASKS  # that a phase of an epoch is cut into, at most

_ACTIVATION_INDEX = {name: i for i, name in enumerate(ACTIVATIONS)}
_ACTIVATION_INDEX.update({alias: _ACTIVATION_INDEX[name] for alias, name in ALIASES.items()})
_LOSS_INDEX = {name: i for i, name in enumerate(LOSSES)}
_OPTIMIZER_INDEX = {name: i for i, name in enumerate(OPTIMIZERS)}


def output_index(name):
    """Place of an elementwise activation in the function table, or that of softmax."""
    return FNN_OUTPUT_SOFTMAX if name == "softmax" else _ACTIVATION_INDEX[name]


def loss_index(name):
    """Place of a loss in the function table."""
    return _LOSS_INDEX[name]


def optimizer_index(name):
    """Place of an optimizer in the function table."""
    return _OPTIMIZER_INDEX[name]


cdef int activation_needs_z(int activation) noexcept nogil:
    return fnn_activations[activation].needs_z


cdef void step_coefficients(int optimizer, double t, double lr, const double* h,
                            double* c) noexcept nogil:
    fnn_step_coefficients(optimizer, t, lr, h, c)


# ---- choice of the instruction set ----

def _built():
    names = []
    cdef int i = 0
    while fnn_built()[i] != NULL:
        names.append(text(fnn_built()[i].name))
        i += 1
    return tuple(names)


cdef const fnn_kernels* find(name) except NULL:
    """The table called ``name``; ValueError where it is unknown or does not run here."""
    cdef int i = 0
    while fnn_built()[i] != NULL:
        if text(fnn_built()[i].name) == name:
            if not fnn_runs(fnn_built()[i]):
                raise ValueError(f"{name!r} does not run on this processor; "
                                 f"these do: {', '.join(available_isas())}")
            return fnn_built()[i]
        i += 1
    raise ValueError(f"{name!r} is not an instruction set of this build; "
                     f"known: {', '.join(_built())}")


def available_isas():
    """Instruction sets that this build holds and this processor runs, best first."""
    names = []
    cdef int i = 0
    while fnn_built()[i] != NULL:
        if fnn_runs(fnn_built()[i]):
            names.append(text(fnn_built()[i].name))
        i += 1
    return tuple(names)


def isa():
    """Name of the instruction set in use."""
    return text(kernels.name)


def _select():
    global kernels
    wanted = os.environ.get("FASTNN_ISA") or available_isas()[0]
    try:
        kernels = find(wanted)
    except ValueError as error:
        raise ImportError(f"FASTNN_ISA={wanted}: {error}") from None


_select()


cdef const fnn_kernels* chosen(isa) except NULL:
    return kernels if isa is None else find(isa)


# ---- single kernels on arrays, for tests and benchmarks ----

cdef prepared(x, dtype=None):
    x = np.ascontiguousarray(x, dtype)
    if x.dtype not in (np.float32, np.float64):
        raise TypeError(f"dtype={x.dtype} must be float32 or float64")
    return x


def activate(name, z, isa=None):
    """f(z) of an elementwise activation."""
    z = prepared(z).copy()
    a = np.empty_like(z)
    if z.dtype == np.float32:
        _activate[float](chosen(isa), _ACTIVATION_INDEX[name], z, a)
    else:
        _activate[double](chosen(isa), _ACTIVATION_INDEX[name], z, a)
    return a


cdef _activate(const fnn_kernels* k, int kind, cnp.ndarray z, cnp.ndarray a, real* dtype=NULL):
    bias_activate(k, kind, 1, z.size, <real*>cnp.PyArray_DATA(z), <const real*>NULL,
                  <real*>cnp.PyArray_DATA(a))


def activation_derivative(name, z, isa=None):
    """f'(z), computed as training does: from f(z) where the activation allows."""
    z = prepared(z)
    a = activate(name, z, isa)
    d = np.ones_like(z)
    if z.dtype == np.float32:
        _derivative[float](chosen(isa), _ACTIVATION_INDEX[name], z, a, d)
    else:
        _derivative[double](chosen(isa), _ACTIVATION_INDEX[name], z, a, d)
    return d


cdef _derivative(const fnn_kernels* k, int kind, cnp.ndarray z, cnp.ndarray a, cnp.ndarray d,
                 real* dtype=NULL):
    activation_backward(k, kind, z.size, <const real*>cnp.PyArray_DATA(z),
                        <const real*>cnp.PyArray_DATA(a), <real*>cnp.PyArray_DATA(d))


def softmax(z, isa=None):
    """Softmax of each row of z (rows, n)."""
    z = prepared(z)
    p = np.empty_like(z)
    if z.dtype == np.float32:
        _softmax[float](chosen(isa), z, p)
    else:
        _softmax[double](chosen(isa), z, p)
    return p


cdef _softmax(const fnn_kernels* k, cnp.ndarray z, cnp.ndarray p, real* dtype=NULL):
    softmax_rows(k, z.shape[0], z.shape[1], <const real*>cnp.PyArray_DATA(z),
                 <real*>cnp.PyArray_DATA(p))


def loss(name, z, y, sample_weight=None, isa=None, ceiling=np.inf):
    """Sum of a loss over raw outputs z (rows, n), and its derivative dz (rows, n).

    y is (rows, n), or for cross_entropy also (rows,) integer labels. No element counts for more
    than ``ceiling``.
    """
    z = prepared(z)
    y = np.asarray(y)
    y = prepared(y, z.dtype) if y.ndim == 2 else np.ascontiguousarray(y, np.int32)
    if y.ndim == 1 and name != "cross_entropy":
        raise ValueError(f"labels need loss='cross_entropy', not {name!r}")
    if sample_weight is not None:
        sample_weight = prepared(sample_weight, z.dtype)
    dz = np.empty_like(z)
    if z.dtype == np.float32:
        value = _loss[float](chosen(isa), _LOSS_INDEX[name], z, y, sample_weight, ceiling, dz)
    else:
        value = _loss[double](chosen(isa), _LOSS_INDEX[name], z, y, sample_weight, ceiling, dz)
    return value, dz


cdef double _loss(const fnn_kernels* k, int kind, cnp.ndarray z, cnp.ndarray y, weights,
                  double ceiling, cnp.ndarray dz, real* dtype=NULL) except? -1:
    cdef const real* s = NULL
    cdef const real* targets = NULL
    cdef const int32_t* labels = NULL
    if weights is not None:
        s = <const real*>cnp.PyArray_DATA(<cnp.ndarray>weights)
    if y.ndim == 1:
        labels = <const int32_t*>cnp.PyArray_DATA(y)
    else:
        targets = <const real*>cnp.PyArray_DATA(y)
    return loss_rows(k, kind, z.shape[0], z.shape[1], <const real*>cnp.PyArray_DATA(z), targets,
                     labels, s, ceiling, <real*>cnp.PyArray_DATA(dz))


def column_sums(x, isa=None):
    """Sum over the rows of x (rows, n)."""
    x = prepared(x)
    out = np.empty(x.shape[1], x.dtype)
    if x.dtype == np.float32:
        _column_sums[float](chosen(isa), x, out)
    else:
        _column_sums[double](chosen(isa), x, out)
    return out


cdef _column_sums(const fnn_kernels* k, cnp.ndarray x, cnp.ndarray out, real* dtype=NULL):
    sum_columns(k, x.shape[0], x.shape[1], <const real*>cnp.PyArray_DATA(x), x.shape[1],
                <real*>cnp.PyArray_DATA(out))


def coefficients(name, t, learning_rate, hyperparameters):
    """The scalars of step t (from 1) of an optimizer, float64 (8,)."""
    cdef double[8] h
    cdef double[8] c
    for i in range(8):
        h[i] = hyperparameters[i] if i < len(hyperparameters) else 0.0
    fnn_step_coefficients(_OPTIMIZER_INDEX[name], t, learning_rate, h, c)
    found = np.empty(FNN_N_COEFFICIENTS)
    for i in range(FNN_N_COEFFICIENTS):
        found[i] = c[i]
    return found


def update(name, w, g, states, coefficients, isa=None, decay=0.0, scale=1.0):
    """One optimizer step in place on w and its state vectors; g (n,) or parts (n_parts, n)."""
    parts = np.atleast_2d(prepared(g, w.dtype))
    coefficients = np.ascontiguousarray(coefficients, np.float64)
    second = states[1] if len(states) > 1 else w
    if w.dtype == np.float32:
        return _update[float](chosen(isa), _OPTIMIZER_INDEX[name], w, parts, states[0], second,
                              coefficients, decay, scale)
    return _update[double](chosen(isa), _OPTIMIZER_INDEX[name], w, parts, states[0], second,
                           coefficients, decay, scale)


cdef double _update(const fnn_kernels* k, int kind, cnp.ndarray w, cnp.ndarray parts,
                    cnp.ndarray s0, cnp.ndarray s1, cnp.ndarray c, double decay, double scale,
                    real* dtype=NULL) except? -1:
    return update_weights(
        k, kind, w.size, <int>parts.shape[0], <const real*>cnp.PyArray_DATA(parts), parts.shape[1],
        decay, scale, <real*>cnp.PyArray_DATA(w), <real*>cnp.PyArray_DATA(s0),
        <real*>cnp.PyArray_DATA(s1), <const double*>cnp.PyArray_DATA(c))


def dropout(x, rate, key, counter=(0, 0, 0), isa=None):
    """x (rows, n) with units dropped at ``rate`` and the rest scaled by 1 / (1 - rate).

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
              const fnn_dropout* d, real* dtype=NULL):
    dropout_rows(k, x.shape[0], x.shape[1], row0, d, <const real*>cnp.PyArray_DATA(x),
                 <real*>cnp.PyArray_DATA(out))


def dense(x, w, b, activation="identity", isa=None):
    """f(x w + b) by the native product: x (rows, n_in), w (n_in, n_out), b (n_out,)."""
    return activate(activation, product(x, w, bias=b, isa=isa), isa)


def product(a, b, transpose_a=False, *, bias=None, relu=False, gate=None, index=None, panels=False,
            bias_by_rows=False, isa=None):
    """bias + a b, or + a' b, by the native product.

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
                        bias_by_rows)
    else:
        _product[double](chosen(isa), a, b, c, transpose_a, bias, relu, gate, rows, panels,
                         bias_by_rows)
    return c


cdef const void* data_or_null(array):
    return NULL if array is None else cnp.PyArray_DATA(<cnp.ndarray>array)


cdef _product(const fnn_kernels* k, cnp.ndarray a, cnp.ndarray b, cnp.ndarray c, bint transpose_a,
              bias, bint relu, gate, pointers, bint panels, bint bias_by_rows,
              real* dtype=NULL):
    cdef fnn_product p = row_major_product(
        k, c.shape[0], c.shape[1], b.shape[0], <const real*>cnp.PyArray_DATA(a), a.shape[1],
        <const real*>cnp.PyArray_DATA(b), b.shape[1], <real*>cnp.PyArray_DATA(c), c.shape[1])
    p.a_by_columns = transpose_a
    p.a_list = <const void**>data_or_null(pointers)
    p.bias, p.relu, p.gate = data_or_null(bias), relu, data_or_null(gate)
    p.bias_by_rows = bias_by_rows
    cdef ptrdiff_t width = p.b_panel
    if panels:
        laid = np.zeros((p.n + width - 1) // width * p.k * width, b.dtype)
        p.b, p.ldb, p.b_panel = data_or_null(laid), width, p.k * width
        pack_rows(k, p.k, p.n, <const real*>cnp.PyArray_DATA(b), p.n, <real*>p.b, p.b_panel)
    run_product(k, &p, <real*>NULL)


def row_product(a, b, isa=None):
    """a b' for few rows of b: a (rows, k), b (n, k)."""
    a = prepared(a)
    b = prepared(b, a.dtype)
    c = np.empty((a.shape[0], b.shape[0]), a.dtype)
    if a.dtype == np.float32:
        _row_product[float](chosen(isa), a, b, c)
    else:
        _row_product[double](chosen(isa), a, b, c)
    return c


cdef _row_product(const fnn_kernels* k, cnp.ndarray a, cnp.ndarray b, cnp.ndarray c,
                  real* dtype=NULL):
    row_products(k, c.shape[0], c.shape[1], a.shape[1], <const real*>cnp.PyArray_DATA(a),
                 a.shape[1], <const real*>cnp.PyArray_DATA(b), b.shape[1],
                 <real*>cnp.PyArray_DATA(c), c.shape[1])


def transposed(x, isa=None):
    """The transpose of x (rows, columns), row-major."""
    x = prepared(x)
    out = np.empty((x.shape[1], x.shape[0]), x.dtype)
    if x.dtype == np.float32:
        _transposed[float](chosen(isa), x, out)
    else:
        _transposed[double](chosen(isa), x, out)
    return out


cdef _transposed(const fnn_kernels* k, cnp.ndarray x, cnp.ndarray out, real* dtype=NULL):
    transpose(k, x.shape[0], x.shape[1], <const real*>cnp.PyArray_DATA(x), x.shape[1],
              <const ptrdiff_t*>NULL, <real*>cnp.PyArray_DATA(out), x.shape[0])


def permutation(n, seed, stream=0, isa=None):
    """A random order of 0..n-1, intp (n,); another one for each seed and stream."""
    order = np.empty(n, np.intp)
    chosen(isa).shuffle(n, seed, stream, <ptrdiff_t*>cnp.PyArray_DATA(<cnp.ndarray>order))
    return order


def vecmath(name, x, isa=None):
    """One of the functions of csrc/vecmath.h, see ``VECMATH``."""
    x = prepared(x)
    out = np.empty_like(x)
    if x.dtype == np.float32:
        _vecmath[float](chosen(isa), VECMATH.index(name), x, out)
    else:
        _vecmath[double](chosen(isa), VECMATH.index(name), x, out)
    return out


cdef _vecmath(const fnn_kernels* k, int kind, cnp.ndarray x, cnp.ndarray out, real* dtype=NULL):
    vector_function(k, kind, x.size, <const real*>cnp.PyArray_DATA(x),
                    <real*>cnp.PyArray_DATA(out))
