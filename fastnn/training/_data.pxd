cimport numpy as cnp

from fastnn.training._job cimport Job

cdef class Data:
    cdef Job job
    cdef list kept               # arrays whose memory the job points to
    cdef dict data               # ... and those that it borrows
    cdef object adds             # of codes, or None
    cdef readonly object layout, dtype
    cdef readonly Py_ssize_t workspace_nbytes

    cdef void* address(self, cnp.ndarray array)
    cdef void* allocate(self, Py_ssize_t size, dtype)
    cdef make_copy(self)
    cdef stage_rows(self)
    cdef bint is_plain(self, cnp.ndarray X)
    cdef read_converted(self, cnp.ndarray X)
    cdef expect(self, array, name, shape, dtype)
    cdef expect_range(self, array, name, stop)
    cdef const void* borrow(self, name, cnp.ndarray array)
    cdef const cnp.npy_intp* borrow_order(self, order) except? NULL
    cdef cnp.ndarray composed(self, order)
    cdef cnp.ndarray room_for_order(self)
