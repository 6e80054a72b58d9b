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


cdef void check_starts(const int64_t[::1] starts) except *:
    """Raise ValueError where columns do not begin one behind the other."""
    cdef ptrdiff_t i
    for i in range(starts.shape[0] - 1):
        if starts[i] < 0 or starts[i] > starts[i + 1]:
            raise ValueError("the columns of an encoding do not stand one behind the other")


cdef class Tables:
    """What rows are encoded by: checked once, read by every call.

    Parameters
    ----------
    edges, edge_starts : float64 array, int64 array (p + 1,)
        Of the columns of numbers, one behind the other.
    scales : float64 array (p, 4)
    seen : uint8 array (p,)
        Whether training had missing values.
    maps, map_starts : int32 array, int64 array (q + 1,)
        Of the columns of categories: the input of each code.
    firsts : int32 array (p + q,)
        The first input of each column.
    """

    cdef const double[::1] edges
    cdef const int64_t[::1] edge_starts
    cdef const double[:, ::1] scales
    cdef const unsigned char[::1] seen
    cdef const int32_t[::1] maps
    cdef const int64_t[::1] map_starts
    cdef const int32_t[::1] firsts
    cdef ptrdiff_t p, q

    # no __init__: called once more, it would free what another thread reads
    def __cinit__(self, edges, edge_starts, scales, seen, maps, map_starts, firsts):
        self.edges, self.edge_starts, self.scales = edges, edge_starts, scales
        self.seen, self.maps, self.map_starts, self.firsts = seen, maps, map_starts, firsts
        self.p, self.q = self.seen.shape[0], self.map_starts.shape[0] - 1
        if (self.edge_starts.shape[0] != self.p + 1 or self.scales.shape[0] != self.p
                or self.scales.shape[1] != 4 or self.firsts.shape[0] != self.p + self.q
                or self.edge_starts[self.p] != self.edges.shape[0]
                or self.map_starts[self.q] != self.maps.shape[0]):
            raise ValueError("the tables of an encoding do not fit together")
        check_starts(self.edge_starts)
        check_starts(self.map_starts)

    def encode(self, cnp.ndarray numbers not None, cnp.ndarray codes not None,
               cnp.ndarray rows not None, cnp.ndarray values not None):
        """Write the entries of rows.

        Parameters
        ----------
        numbers : float64 array (n, p)
        codes : int32 array (n, q)
        rows : int32 array (n * width,)
        values : float32 or float64 array (n * width,)

        Raises
        ------
        ValueError
            When a code is beyond its map, or shapes do not fit.
        """
        cdef const double[:, :] x = numbers
        cdef const int32_t[:, :] c = codes
        cdef ptrdiff_t i, j, n = x.shape[0], width = rows.size // max(n, 1)
        if (x.shape[1] != self.p or c.shape[1] != self.q or c.shape[0] != n
                or width < PER_NUMBER * self.p + self.q or rows.size != n * width
                or rows.descr.type_num != cnp.NPY_INT32 or rows.size != values.size
                or not cnp.PyArray_ISCARRAY(rows) or not cnp.PyArray_ISCARRAY(values)):
            raise ValueError("numbers and codes do not fit the encoding")
        for i in range(n):
            for j in range(self.q):
                if not 0 <= c[i, j] < self.map_starts[j + 1] - self.map_starts[j]:
                    raise ValueError(f"code {c[i, j]} of category {j} is beyond what was learned")
        cdef int32_t* to_rows = <int32_t*>cnp.PyArray_DATA(rows)
        cdef void* to_values = cnp.PyArray_DATA(values)
        cdef bint is_double = values.descr.type_num == cnp.NPY_DOUBLE
        if not is_double and values.descr.type_num != cnp.NPY_FLOAT:
            raise ValueError("values must be float32 or float64")
        with nogil:
            if is_double:
                self.write[double](x, c, to_rows, <double*>to_values, width)
            else:
                self.write[float](x, c, to_rows, <float*>to_values, width)

    cdef void write(self, const double[:, :] numbers, const int32_t[:, :] codes, int32_t* rows,
                    real* values, ptrdiff_t width) noexcept nogil:
        cdef ptrdiff_t i, j, n = numbers.shape[0], at
        cdef int32_t place
        for i in range(n):
            for j in range(self.p):
                write_number(numbers[i, j], &self.edges[0] + self.edge_starts[j],
                             self.edge_starts[j + 1] - self.edge_starts[j], &self.scales[j, 0],
                             self.seen[j], self.firsts[j], rows + PER_NUMBER * j,
                             values + PER_NUMBER * j)
            for j in range(self.q):
                at = PER_NUMBER * self.p + j
                place = self.maps[self.map_starts[j] + codes[i, j]]
                rows[at] = self.firsts[self.p + j] + place if place >= 0 else 0
                values[at] = 1 if place >= 0 else 0
            rows += width
            values += width
