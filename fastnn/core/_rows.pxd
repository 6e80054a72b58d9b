"""What training and prediction do with a row of an embedding or a gate, by kernels of others."""

from libc.stdint cimport int64_t

from fastnn.core._kernels cimport (
    activation_backward,
    bias_activate,
    fnn_kernels,
    fnn_lookup,
    real,
    run_lookup,
    scale_columns,
)

cdef enum:
    COLUMNS_AT_ONCE = 64


cdef inline int64_t embed_row(const fnn_kernels* k, fnn_lookup* p, int64_t first, int64_t last,
                              ptrdiff_t n_columns, const int64_t* firsts,
                              real* out) noexcept nogil:
    """out (n_columns, p.n) = for each column of the data the sum of value times row of the table
    over its entries, which are some of first..last; inputs firsts[c]..firsts[c + 1] - 1 belong to
    column c. To the lookup each column is a row of its own.

    Returns -1, or the first entry that does not follow in the order of the columns.
    """
    cdef int64_t[COLUMNS_AT_ONCE + 1] start
    cdef ptrdiff_t c = 0, n, j
    cdef int64_t i = first, wrong
    p.order, p.bias, p.relu, p.ldout, p.adds = NULL, NULL, False, p.n, NULL
    while c < n_columns:
        n = min(<ptrdiff_t>COLUMNS_AT_ONCE, n_columns - c)
        start[0] = i
        for j in range(n):
            while i < last and firsts[c + j] <= p.column[i] < firsts[c + j + 1]:
                i += 1
            start[j + 1] = i
        p.rows, p.start, p.out = n, start, out + c * p.n
        wrong = run_lookup(k, p, out)
        if wrong >= 0:  # a number that another thread has changed since
            return wrong
        c += n
    return i if i < last else -1


cdef inline void glu_rows(const fnn_kernels* k, int gate, ptrdiff_t rows, ptrdiff_t n,
                          const real* x, ptrdiff_t ldx, real* z, ptrdiff_t ldz) noexcept nogil:
    """z (rows, n; ldz) = u f(v), x (rows, 2 n; ldx) being u and v side by side"""
    for _ in range(rows):
        bias_activate(k, gate, 1, n, <real*>x + n, <const real*>NULL, z)
        scale_columns(k, 1, n, x, n, z, z, n)
        x += ldx
        z += ldz


cdef inline void glu_back(const fnn_kernels* k, int gate, ptrdiff_t rows, ptrdiff_t n,
                          const real* dz, ptrdiff_t lddz, const real* x, ptrdiff_t ldx, real* dx,
                          ptrdiff_t lddx) noexcept nogil:
    """dx (rows, 2 n; lddx) = dz f(v) beside dz u f'(v), from dz (rows, n; lddz)"""
    for _ in range(rows):
        bias_activate(k, gate, 1, n, <real*>x + n, <const real*>NULL, dx)
        scale_columns(k, 1, n, dz, n, x, dx + n, n)
        activation_backward(k, gate, n, x + n, dx, dx + n)
        scale_columns(k, 1, n, dz, n, dx, dx, n)
        dz += lddz
        x += ldx
        dx += lddx
