from fastnn.training._data cimport Data
from fastnn.training._job cimport Mode

cdef class Runs(Data):
    cdef object scratch          # (threads, scratch_stride)
    cdef list python             # PythonLoss and PythonActivation, what there is of them
    cdef list entries            # arrays of job.lookup
    cdef object mean             # of the weights, flat; None where there is none
    cdef object wishes
    cdef readonly object plan, parameters, inputs
    cdef readonly tuple weights, optimizer_state
    cdef readonly int team       # threads of the last run
    cdef readonly int epochs_run  # epochs of the last `run_epochs` that came to their end
    cdef bint cancelled
    cdef bint is_double
    cdef bint shares             # the threads with other fits of this process
    cdef bint looks_up           # a sparse X: nothing but dense operations reads it
    cdef bint lazy               # parameters without gradient stay as they are

    cdef change_inputs(self, rows, bint shuffles)
    cdef open_run(self, Mode mode, order, bint shuffles)
    cdef close_run(self)
    cdef double run(self, Mode mode, order) except? -1
    cdef raise_from_python(self)
    cdef set_rates(self, learning_rate, n_rows)
    cdef penalty(self, grad, weight)
    cdef deltas_of(self, ops)
