"""Sums of vectors in a fixed order, which go on without the GIL."""

cimport numpy as cnp
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from fastnn.core._kernels cimport real

cnp.import_array()

cdef enum:
    BLOCK = 1024    # elements at a time: what is added to stays in the nearest cache


def add_up(cnp.ndarray out not None, shares, vectors, ptrdiff_t first=0):
    """Put into out the sum of some vectors, each times its share, from their element ``first`` on.

    It is taken in float64, in the order of the vectors, and rounded once. Vectors may lie at any
    address, as those do that come out of a message.

    Parameters
    ----------
    out : (n,) array of float32 or float64
        Row-major.
    shares : sequence of float or None
        None: the vector as it is.
    vectors : sequence of (first + n or more,) arrays
        Of one dtype, float32 or float64.
    """
    cdef list kept = list(vectors)  # what another thread takes out of them stays as long as this
    cdef Py_ssize_t n = len(kept), k
    cdef ptrdiff_t size
    cdef int kind = cnp.NPY_DOUBLE
    cdef bint doubles = True, to_doubles = out.descr.type_num == cnp.NPY_DOUBLE
    cdef void* to = cnp.PyArray_DATA(out)
    cdef cnp.ndarray vector
    cdef const void** data = <const void**>malloc(max(n, 1) * sizeof(void*))
    cdef double* weights = <double*>malloc(max(n, 1) * sizeof(double))
    try:
        if data == NULL or weights == NULL:
            raise MemoryError()
        if not (out.ndim == 1 and cnp.PyArray_ISCARRAY(out)
                and out.descr.type_num in (cnp.NPY_FLOAT, cnp.NPY_DOUBLE)):
            raise ValueError("out must be a row-major array (n,) of float32 or float64")
        size = out.shape[0]
        if len(shares) != n:
            raise ValueError(f"there are {n} vectors, but {len(shares)} shares")
        for k in range(n):
            if not cnp.PyArray_Check(kept[k]):
                raise TypeError(f"vectors[{k}] must be an array")
            vector = kept[k]
            if k == 0:
                doubles = vector.descr.type_num == cnp.NPY_DOUBLE
                kind = cnp.NPY_DOUBLE if doubles else cnp.NPY_FLOAT
            if (vector.ndim != 1 or first < 0 or vector.shape[0] - size < first
                    or not cnp.PyArray_IS_C_CONTIGUOUS(vector)
                    or vector.descr.byteorder == c">"
                    or vector.descr.type_num != kind):
                raise ValueError(f"vectors[{k}] must be a row-major array (n,) of the dtype of the "
                                 f"first, float32 or float64, with {size} elements from {first} on")
            data[k] = (<const char*>cnp.PyArray_DATA(vector)
                       + first * (sizeof(double) if doubles else sizeof(float)))
            weights[k] = 1.0 if shares[k] is None else shares[k]
        with nogil:
            if doubles:
                add_vectors[double](data, weights, n, size, to, to_doubles)
            else:
                add_vectors[float](data, weights, n, size, to, to_doubles)
    finally:
        free(data)
        free(weights)


cdef void add_vectors(const void* const* data, const double* weights, Py_ssize_t n, ptrdiff_t size,
                      void* out, bint to_doubles, real* which=NULL) noexcept nogil:
    """Block by block. ``which`` only tells the type of the vectors."""
    cdef double[BLOCK] total
    cdef real[BLOCK] own
    cdef ptrdiff_t start = 0, count, i
    cdef Py_ssize_t k
    cdef double weight
    while start < size:
        count = min(<ptrdiff_t>BLOCK, size - start)
        for i in range(count):
            total[i] = 0
        for k in range(n):
            memcpy(own, <const char*>data[k] + start * sizeof(real), count * sizeof(real))
            weight = weights[k]
            for i in range(count):
                total[i] += weight * <double>own[i]
        if to_doubles:
            memcpy(<double*>out + start, total, count * sizeof(double))
        else:
            for i in range(count):
                (<float*>out)[start + i] = <float>total[i]
        start += count
