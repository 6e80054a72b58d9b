"""The rows that a trainer works on: arrays whose memory the job points to."""

cimport numpy as cnp
from libc.stdint cimport int32_t, int64_t, uint64_t

from fastnn.core._kernels cimport FNN_N_NUMBERS
from fastnn.training._bursts cimport compose
from fastnn.training._job cimport Job

import numpy as np

from fastnn.core.csr import check_order
from fastnn.core.memory import aligned_zeros

cnp.import_array()

# what X may hold, by the number of each in the kernels' table
NUMBERS = dict(zip(
    ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16",
     "float32", "float64"), range(FNN_N_NUMBERS), strict=True))


cdef class Data:
    """X, y and weights, and in which order; what there is of them is borrowed, not copied."""

    cdef void* address(self, cnp.ndarray array):
        self.kept.append(array)
        return cnp.PyArray_DATA(array)

    cdef void* allocate(self, Py_ssize_t size, dtype):
        array = aligned_zeros(size, dtype)
        self.workspace_nbytes += array.nbytes
        return self.address(array)

    cdef make_copy(self):
        """Room for the rows of a batch, row-major."""
        cdef Job* job = &self.job
        if not job.feature_major and job.x_copy == NULL:
            job.x_copy = self.allocate(job.batch * job.n_in, self.dtype)

    cdef stage_rows(self):
        """Room for rows of a batch that feature-major steps cannot transpose from where they are.
        """
        cdef Job* job = &self.job
        if job.feature_major and job.inputs.staged == NULL:
            job.inputs.staged = self.allocate(job.batch * job.n_in, self.dtype)

    def set_data(self, X, y, sample_weight=None, converts=False):
        """Take the rows to work on; no copy is made.

        Values may change meanwhile, and change the result. Labels and what says where the values
        of a CSR matrix belong must not: they are followed unchecked. `rows.check_rows` and
        `check_targets` give copies of them that nobody else has.

        Parameters
        ----------
        X : C-contiguous array (n_samples, n_in) of the dtype, or a SciPy CSR matrix of the dtype
        y : int32 labels (n_samples,) for cross_entropy, else C-contiguous (n_samples, n_out)
        sample_weight : array (n_samples,) of the dtype, or None
        converts : bool
            Whether X may be an array of any type in `NUMBERS`, with any strides: its rows are
            converted batch by batch.
        """
        cdef Job* job = &self.job
        adds = getattr(X, "adds", None)
        if not (adds is self.adds or np.array_equal(adds, self.adds)):
            raise ValueError("X must be codes of one encoder in all batches, or in none")
        self.data = {}
        n_samples = X.shape[0]
        job.csr_start = NULL
        job.csr_column = NULL
        job.inputs.number = -1
        if converts and isinstance(X, np.ndarray) and not self.is_plain(X):
            self.read_converted(X)
        elif isinstance(X, np.ndarray):
            self.expect(X, "X", (n_samples, job.n_in), self.dtype)
            job.x = self.borrow("X", X)
        else:
            self.expect(X, "X", (n_samples, job.n_in), self.dtype)
            job.x = self.borrow("X", np.ascontiguousarray(X.data))
            start, column = X.indptr, X.indices
            self.expect(start, "X.indptr", (n_samples + 1,), start.dtype)
            # as they are: a cast of 64 bits to 32 would wrap
            self.expect_range(column, "X.indices", job.n_in)
            self.expect_range(start, "X.indptr", min(len(column), len(X.data)) + 1)
            check_order("X", start, column, self.layout.ops[0].counts)
            job.csr_start = <const int64_t*>self.borrow(
                "start", np.ascontiguousarray(start, np.int64))
            job.csr_column = <const int32_t*>self.borrow(
                "column", np.ascontiguousarray(column, np.int32))
        if job.csr_start == NULL:
            self.make_copy()
        job.y = NULL
        job.labels = NULL
        if y.ndim == 1:
            if self.info.labels != "rows":
                raise ValueError(f"y is labels, which the kernel of {self.info.name} does not read")
            self.expect(y, "y", (n_samples,), np.dtype(np.int32))
            self.expect_range(y, "y", job.last.n_out)
            job.labels = <const int32_t*>self.borrow("y", y)
        else:
            self.expect(y, "y", (n_samples, job.last.n_out), self.dtype)
            job.y = self.borrow("y", y)
        job.weights = NULL
        if sample_weight is not None:
            self.expect(sample_weight, "sample_weight", (n_samples,), self.dtype)
            job.weights = self.borrow("sample_weight", sample_weight)
        self.data["n_samples"] = n_samples

    def set_rows(self, rows):
        """Work on some rows of the data, in this order, as if they were all that there are. To be
        called after `set_data`, which ends it.

        Parameters
        ----------
        rows : array-like of int (n,)
            May name a row several times.
        """
        rows = np.array(rows, np.intp)
        self.expect_range(rows, "rows", self.data["n_samples"])
        self.data["rows"], self.data["n_samples"] = rows, rows.size
        self.data.pop("shuffled", None)

    cdef bint is_plain(self, cnp.ndarray X):
        return X.dtype == self.dtype and X.flags.c_contiguous and X.flags.aligned

    cdef read_converted(self, cnp.ndarray X):
        """X of other numbers, or that lie otherwise: rows of it are made batch by batch."""
        cdef Job* job = &self.job
        if X.dtype.name not in NUMBERS or X.ndim != 2 or X.shape[1] != job.n_in:
            raise ValueError(f"X is {X.dtype} {np.shape(X)}, must be of {job.n_in} columns and one "
                             f"of {', '.join(NUMBERS)}")
        job.inputs.number = NUMBERS[X.dtype.name]
        job.inputs.itemsize = X.dtype.itemsize
        job.inputs.row, job.inputs.column = X.strides[0], X.strides[1]
        job.inputs.swapped = not X.dtype.isnative
        job.inputs.direct = (job.inputs.column == job.inputs.itemsize and not job.inputs.swapped
                             and X.flags.aligned)
        job.x = self.borrow("X", X)
        self.stage_rows()

    cdef expect(self, array, name, shape, dtype):
        if array.shape != shape or array.dtype != dtype:
            raise ValueError(f"{name} is {array.dtype} {array.shape}, must be {dtype} {shape}")
        if isinstance(array, np.ndarray) and not (
                array.flags.c_contiguous and array.flags.aligned):
            raise ValueError(f"{name} must be C-contiguous and aligned")

    cdef expect_range(self, array, name, stop):
        """Indices are followed unchecked in the loop: a wrong one would read foreign memory."""
        if array.size and not (0 <= array.min() and array.max() < stop):
            raise ValueError(f"{name} must hold values in 0..{stop - 1}")

    cdef const void* borrow(self, name, cnp.ndarray array):
        self.data[name] = array
        return cnp.PyArray_DATA(array)

    cdef const cnp.npy_intp* borrow_order(self, order) except? NULL:
        """Row numbers of an epoch; they are used unchecked afterwards, so they are checked here."""
        cdef cnp.ndarray rows
        if order is self.data.get("shuffled"):
            rows = order
        else:
            rows = np.ascontiguousarray(order, np.intp)
            self.expect_range(rows, "order", self.data["n_samples"])
        if "rows" in self.data:
            return <const cnp.npy_intp*>self.borrow("order", self.composed(rows))
        return <const cnp.npy_intp*>self.borrow("order", rows)

    cdef cnp.ndarray composed(self, order):
        """What the numbers of an order mean where the data are some rows of X."""
        cdef cnp.ndarray found = order.copy(), rows = self.data["rows"]
        cdef const cnp.npy_intp* numbers = <const cnp.npy_intp*>cnp.PyArray_DATA(rows)
        cdef cnp.npy_intp* out = <cnp.npy_intp*>cnp.PyArray_DATA(found)
        cdef ptrdiff_t n = found.size
        with nogil:
            compose(numbers, n, out)
        return found

    cdef cnp.ndarray room_for_order(self):
        """An array for an order of all rows."""
        n_samples = self.data["n_samples"]
        if n_samples >= 2**32:
            raise ValueError(f"{n_samples} rows: at most {2**32 - 1} can be shuffled")
        if "shuffled" not in self.data:
            self.data["shuffled"] = np.empty(n_samples, np.intp)
            self.data["shuffled"].flags.writeable = False  # it is used unchecked
        return self.data["shuffled"]

    def shuffle(self, seed, stream):
        """Return a random order of all rows, for `run_epoch`; another one for each stream (epoch).

        Read-only; the next call writes into the same array. Fewer than 2**32 rows.
        """
        cdef cnp.ndarray order = self.room_for_order()
        cdef ptrdiff_t n_samples = order.size
        cdef uint64_t key = seed, number = stream
        cdef ptrdiff_t* rows = <ptrdiff_t*>cnp.PyArray_DATA(order)
        with nogil:
            self.job.k.shuffle(n_samples, key, number, rows)
        return order
