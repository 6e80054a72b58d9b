# cdef functions only: nothing that Python sees
