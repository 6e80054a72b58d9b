from fastnn.core._kernels cimport real
from fastnn.core._signals cimport Watch
from fastnn.prediction._sweeps cimport Task

cdef const real* tangents(const Task* task, ptrdiff_t rows, const real* x, const real* given,
                          ptrdiff_t one, real* scratch, Watch* watch, void* failures) noexcept nogil
