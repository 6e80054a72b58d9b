from libc.stdint cimport int32_t

from fastnn.core._kernels cimport real
from fastnn.training._bends cimport Bowl

cdef void bend_loss(Bowl bowl, ptrdiff_t rows, ptrdiff_t n, const real* z, const real* rz,
                    const real* y, const int32_t* labels, const real* s, const double* h,
                    real* rd) noexcept nogil
