"""What a fit has beside a plain one, for `_trainer.Trainer`."""

from fastnn.training._job cimport Job

cdef list set_extras(Job* job, layout, pieces, wishes, mean)
