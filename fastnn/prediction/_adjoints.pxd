from fastnn.core._kernels cimport real
from fastnn.core._signals cimport Watch
from fastnn.prediction._sweeps cimport Task

cdef void transpose_weights(const Task* task, real* copies) noexcept nogil
cdef void seed_given(const Task* task, ptrdiff_t rows, const real* given,
                     real* scratch) noexcept nogil
cdef ptrdiff_t seed_output(const Task* task, ptrdiff_t rows, ptrdiff_t j,
                           real* scratch) noexcept nogil
cdef void adjoints(const Task* task, ptrdiff_t rows, const real* x, ptrdiff_t one, real* out,
                   ptrdiff_t ldout, real* scratch, Watch* watch, void* failures) noexcept nogil
