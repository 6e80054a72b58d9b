"""Inputs of a schema to the entries of codes: what `fastnn.tabular.encoding.Encoding` describes."""

cimport numpy as cnp
from libc.math cimport hypot, isnan
from libc.stdint cimport int32_t, int64_t

cnp.import_array()

cdef enum:
    PER_NUMBER = 3

cdef double CLIP = 3.0
cdef double FAR = 1e100

ctypedef fused real:
    float
    double


cdef inline double bounded(double x, const double* scale) noexcept nogil:
    """A value standardised robustly, bent towards ±`CLIP`, and standardised again."""
    cdef double z = x / scale[1] - scale[0] / scale[1]
    z = -FAR if z < -FAR else (FAR if z > FAR else z)
    return (z / hypot(1, z / CLIP) - scale[2]) / scale[3]


cdef inline ptrdiff_t bin_of(double x, const double* edges, ptrdiff_t n_edges) noexcept nogil:
    """The last bin whose lower edge is not above x."""
    cdef ptrdiff_t low = 0, high = n_edges - 1, middle
    while high - low > 1:
        middle = (low + high) // 2
        if edges[middle] <= x:
            low = middle
        else:
            high = middle
    return low


cdef void write_number(double x, const double* edges, ptrdiff_t n_edges, const double* scale,
                       bint seen, int32_t first, int32_t* rows, real* values) noexcept nogil:
    """The entries of a number: its value or that it is missing, and the two ends of its bin."""
    cdef ptrdiff_t n_bins = n_edges - 1 if n_edges > 2 else 0
    cdef ptrdiff_t k
    cdef double fraction
    rows[0] = rows[1] = rows[2] = 0
    values[0] = values[1] = values[2] = 0
    if isnan(x):
        if seen:
            rows[0], values[0] = first + (n_edges > 1) + <int32_t>n_bins, 1
        elif n_edges > 1:
            rows[0] = first
        if n_bins:
            rows[1] = rows[2] = first + 1
        return
    if seen or n_edges > 1:
        rows[0] = first
    if n_edges < 2:
        return
    x = edges[0] if x < edges[0] else (edges[n_edges - 1] if x > edges[n_edges - 1] else x)
    values[0] = <real>bounded(x, scale)
    if not n_bins:
        return
    k = bin_of(x, edges, n_edges)
    fraction = (x - edges[k]) / (edges[k + 1] - edges[k])
    fraction = 0 if fraction < 0 else (1 if fraction > 1 else fraction)
    rows[1] = first + <int32_t>(k if k > 1 else 1)
    rows[2] = first + 1 + <int32_t>k
    if k > 0:
        values[1] = <real>(1 - fraction)
    values[2] = <real>fraction


cdef void write_rows(const double[:, :] numbers, const int32_t[:, :] codes,
                     const double[::1] edges, const int64_t[::1] edge_starts,
                     const double[:, ::1] scales, const unsigned char[::1] seen,
                     const int32_t[::1] maps, const int64_t[::1] map_starts,
                     const int32_t[::1] firsts, int32_t* rows, real* values,
                     ptrdiff_t width) noexcept nogil:
    cdef ptrdiff_t i, j, n = numbers.shape[0], p = seen.shape[0], q = codes.shape[1], at
    cdef int32_t place
    for i in range(n):
        for j in range(p):
            write_number(numbers[i, j], &edges[0] + edge_starts[j],
                         edge_starts[j + 1] - edge_starts[j], &scales[j, 0], seen[j], firsts[j],
                         rows + PER_NUMBER * j, values + PER_NUMBER * j)
        for j in range(q):
            at = PER_NUMBER * p + j
            place = maps[map_starts[j] + codes[i, j]]
            rows[at] = firsts[p + j] + place if place >= 0 else 0
            values[at] = 1 if place >= 0 else 0
        rows += width
        values += width


def encode(numbers, codes, tables, cnp.ndarray rows not None, cnp.ndarray values not None):
    """Write the entries of rows.

    Parameters
    ----------
    numbers : float64 array (n, p)
    codes : int32 array (n, q)
    tables : tuple
        edges, their starts (p + 1,), scales (p, 4), seen (p,), maps, their starts (q + 1,), firsts
        (p + q,).
    rows : int32 array (n, width)
    values : float32 or float64 array (n, width)

    Raises
    ------
    ValueError
        When a code is beyond its map, or shapes do not fit.
    """
    edges, edge_starts, scales, seen, maps, map_starts, firsts = tables
    cdef const double[:, :] x = numbers
    cdef const int32_t[:, :] c = codes
    cdef const double[::1] flat_edges = edges
    cdef const int64_t[::1] edges_at = edge_starts
    cdef const double[:, ::1] scale = scales
    cdef const unsigned char[::1] known = seen
    cdef const int32_t[::1] flat_maps = maps
    cdef const int64_t[::1] maps_at = map_starts
    cdef const int32_t[::1] first = firsts
    cdef ptrdiff_t i, j, p = known.shape[0], q = maps_at.shape[0] - 1, n = x.shape[0]
    cdef ptrdiff_t width = rows.shape[1]
    if (x.shape[1] != p or c.shape[1] != q or c.shape[0] != n or width < PER_NUMBER * p + q
            or rows.descr.type_num != cnp.NPY_INT32 or rows.shape[0] != n
            or rows.size != values.size or not cnp.PyArray_ISCARRAY(rows)
            or not cnp.PyArray_ISCARRAY(values)):
        raise ValueError("numbers and codes do not fit the encoding")
    for i in range(n):
        for j in range(q):
            if not 0 <= c[i, j] < maps_at[j + 1] - maps_at[j]:
                raise ValueError(f"code {c[i, j]} of category {j} is beyond what was learned")
    cdef int32_t* to_rows = <int32_t*>cnp.PyArray_DATA(rows)
    cdef void* to_values = cnp.PyArray_DATA(values)
    cdef bint is_double = values.descr.type_num == cnp.NPY_DOUBLE
    if not is_double and values.descr.type_num != cnp.NPY_FLOAT:
        raise ValueError("values must be float32 or float64")
    with nogil:
        if is_double:
            write_rows[double](x, c, flat_edges, edges_at, scale, known, flat_maps, maps_at, first,
                               to_rows, <double*>to_values, width)
        else:
            write_rows[float](x, c, flat_edges, edges_at, scale, known, flat_maps, maps_at, first,
                              to_rows, <float*>to_values, width)
