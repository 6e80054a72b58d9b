"""The phases of an update that needs more than a plain one, for the epoch loop."""

from fastnn.core._kernels cimport real
from fastnn.training._job cimport Job

cdef void run_phase(Job* job, int task, real* scratch, real* own) noexcept nogil
cdef int next_phase(Job* job) noexcept nogil
