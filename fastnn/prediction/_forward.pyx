"""Forward only, for any number of callers at once; no SciPy, no lock.

A `Snapshot` never changes: a fit publishes a new one. Scratch is taken per call, and rows are
worked on in blocks whose values stay in the cache, by one thread each, or by a team together.
"""

cimport cython
cimport numpy as cnp
from cpython.object cimport PyObject
from cython.parallel cimport parallel, prange
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from fastnn.core._kernels cimport (
    FNN_ROOM,
    kernels,
    pack_rows,
    panel_columns,
    real,
    sum_runs,
)
from fastnn.core._ops cimport EMBED
from fastnn.core._signals cimport Watch, raise_if_stopped, start_watch
from fastnn.core._team cimport fnn_team_rank
from fastnn.prediction._pass cimport Entries, Network, Shared, forward_block, is_packed, share
from fastnn.prediction._program cimport LANE_ROWS, Op, Program, ProgramData, program_of

import numpy as np

from fastnn.core.threads import team_size

cnp.import_array()

cdef enum:
    PACKING_ROWS = 480         # below, packing W costs more than it brings
    ROOM_ROWS = 24             # from here on a product may pack a few panels of W at a time
    KEPT_ROWS = 2              # from here on panels that are there are read in the place of W
    KEPT_AFTER = 24            # so many rows, in batches of KEPT_ROWS or more, panels are made
    LINE = 64                  # bytes of a cache line
    FLOPS_PER_THREAD = 4000000  # below some 50 us of work a second thread does not pay
    WATCHED_FLOPS = 10000000   # so much work of a block after block is watched for Ctrl-C
    SHARED_FLOPS = 80000000    # so much work of one block a team shares
    EVEN_BLOCKS = 4            # up to so many for each thread, each thread gets as many


cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(PyObject* o) nogil


cdef bint is_sole_owner(PyObject* vector) noexcept:
    """Whether an array is referred to once, and so is the one that owns the memory it is a view of:
    other views refer to that one, too."""
    cdef PyObject* owner = cnp.PyArray_BASE(<cnp.ndarray>vector)
    if Py_REFCNT(vector) != 1 or owner == NULL:
        return Py_REFCNT(vector) == 1
    if Py_REFCNT(owner) != 1 or not cnp.PyArray_CheckExact(<object>owner):
        return False
    return cnp.PyArray_BASE(<cnp.ndarray>owner) == NULL


cdef inline void* on_line(void* memory) noexcept nogil:
    """The first cache line in the memory, which a vector of a panel must not cross."""
    return <void*>((<size_t>memory + LINE - 1) // LINE * LINE)


@cython.final
cdef class Snapshot:
    """Parameters of one moment with the operations that read them.

    Parameters
    ----------
    layout : ParameterLayout
    parameters : flat array of the layout
        Kept, not copied.
    epochs_done : int
        Epochs that led to them. Here, so that whoever takes a snapshot has both of one moment.
    n_ops : int or None
        Stop after so many operations; their value is the output.
    """

    cdef cnp.ndarray vector      # the parameters
    cdef ProgramData data
    cdef readonly object layout
    cdef readonly object epochs_done
    cdef Program program         # that the operations of the data belong to
    cdef cnp.ndarray kept_adds   # of the codes that `keep_table` has made
    cdef cnp.ndarray kept_table  # ... this one for, None: made for each call
    cdef cnp.ndarray kept_panels  # of each W that `is_packed`, None: not yet made, or given up
    cdef ptrdiff_t rows_seen     # in batches since parameters were taken, up to some

    def __cinit__(self, layout, cnp.ndarray parameters not None, epochs_done=0, n_ops=None):
        cdef Program program = program_of(layout, n_ops)
        if (parameters.ndim != 1 or parameters.shape[0] != program.data.size
                or parameters.descr.type_num != program.data.type_num
                or not cnp.PyArray_ISCARRAY_RO(parameters)):
            raise ValueError(f"parameters are {(<object>parameters).dtype} of shape "
                             f"{(<object>parameters).shape}, must be {layout.dtype} of shape "
                             f"({layout.size},)")
        self.program, self.data = program, program.data
        self.vector = parameters
        self.layout = layout
        self.epochs_done = epochs_done

    @property
    def parameters(self):
        """The vector itself. Who takes it may change it, so the panels of its W are given up."""
        self.kept_panels, self.rows_seen = None, 0
        return self.vector

    @property
    def keeps_panels(self):
        """Whether there are panels of wide W, see `may_keep`."""
        return self.kept_panels is not None

    @property
    def looks_up(self):
        """Whether nothing but dense operations reads X."""
        return self.data.looks_up

    cpdef bint accepts(self, X, bint writes=False):
        """Return whether the compiled loop can read this array as it is (or write it): dtype, 2-D,
        as many columns as inputs, row-major, aligned, native byte order."""
        if type(X) is not np.ndarray:
            return False
        cdef cnp.ndarray x = X
        if x.ndim != 2 or x.descr.type_num != self.data.type_num:
            return False
        if writes:
            return cnp.PyArray_ISCARRAY(x)
        return x.shape[1] == self.data.n_in and cnp.PyArray_ISCARRAY_RO(x)

    def predict(self, cnp.ndarray x not None, cnp.ndarray out, int threads):
        """Return the outputs (rows, n_out) for x (rows, n_in) that `accepts` takes, in ``out`` or a
        new array."""
        if (x.ndim != 2 or x.descr.type_num != self.data.type_num
                or x.shape[1] != self.data.n_in or not cnp.PyArray_ISCARRAY_RO(x)):
            raise ValueError(f"X is {(<object>x).dtype} of shape {(<object>x).shape}, must be a "
                             f"row-major array of {self.layout.dtype} with {self.data.n_in} "
                             "columns")
        return self.run(x.shape[0], x, out, threads, self.data.flops_per_row, NULL)

    def predict_sparse(self, cnp.ndarray start not None, cnp.ndarray column not None,
                       cnp.ndarray value not None, cnp.ndarray out, int threads,
                       cnp.ndarray adds=None):
        """Return the same for the rows of a CSR matrix, where `looks_up`; no row is made dense.

        Parameters
        ----------
        start : int64 array (rows + 1,)
            From 0 on, never falling.
        column : int32 array (entries,)
            Checked as they are read: they may change meanwhile.
        value : array (entries,) of the dtype
        adds : uint8 array (n_in,) or None
            Of `Codes`.
        """
        cdef Entries entries
        cdef ptrdiff_t rows = start.size - 1
        cdef double flops
        if not self.data.looks_up or value.descr.type_num != self.data.type_num or not (
                cnp.PyArray_ISCARRAY_RO(start) and cnp.PyArray_ISCARRAY_RO(column)
                and cnp.PyArray_ISCARRAY_RO(value) and start.descr.type_num == cnp.NPY_INT64
                and column.descr.type_num == cnp.NPY_INT32):
            raise ValueError("not the arrays of a CSR matrix for this network")
        entries.start = <const int64_t*>cnp.PyArray_DATA(start)
        entries.column = <const int32_t*>cnp.PyArray_DATA(column)
        entries.wrong = -1
        entries.adds, entries.table = NULL, NULL
        if adds is not None:
            if adds.size != self.data.n_in or adds.descr.type_num != cnp.NPY_UINT8 or not (
                    cnp.PyArray_ISCARRAY_RO(adds)):
                raise ValueError("adds must have one entry for each input")
            entries.adds = <const unsigned char*>cnp.PyArray_DATA(adds)
        if rows < 0 or entries.start[rows] > min(column.size, value.size):
            raise ValueError("start must have an entry for each row and end within the others")
        if rows == 0:
            return self.run(0, value, out, 1, 0, &entries)
        flops = self.data.flops_per_row + 2.0 * self.data.ops[0].row_units * (
            <double>entries.start[rows] / rows - self.data.n_in)
        out = self.run(rows, value, out, threads, max(flops, 1.0), &entries)
        if entries.wrong >= 0:
            if (self.data.ops[0].kind == EMBED
                    and 0 <= entries.column[entries.wrong] < self.data.n_in):
                raise ValueError("X.indices of a row must come in the order of the columns of "
                                 "Embed: X.sort_indices() brings them into it")
            raise ValueError(f"X.indices must hold values in 0..{self.data.n_in - 1}, has "
                             f"{entries.column[entries.wrong]}")
        return out

    def keep_table(self, cnp.ndarray adds not None):
        """Make the tables that codes look up once, for all predictions of codes with this very
        ``adds``: for parameters and ``adds`` that never change."""
        cdef Entries entries
        if not self.data.looks_up or adds.size != self.data.n_in or (
                adds.descr.type_num != cnp.NPY_UINT8 or not cnp.PyArray_ISCARRAY_RO(adds)):
            raise ValueError("adds must have one entry for each input of a network that reads "
                             "codes")
        entries.adds = <const unsigned char*>cnp.PyArray_DATA(adds)
        table = np.empty(self.data.table_size, self.layout.dtype)
        if self.data.is_double:
            self.sum_rows(&entries, <double*>cnp.PyArray_DATA(<cnp.ndarray>table))
        else:
            self.sum_rows(&entries, <float*>cnp.PyArray_DATA(<cnp.ndarray>table))
        self.kept_adds, self.kept_table = adds, table

    cdef bint may_keep(self, ptrdiff_t rows):
        """Whether each wide W is kept in panels for the batches to come: once KEPT_AFTER rows have
        been seen, as a network in training is seldom asked twice, and while nobody else has the
        parameters, who might change them. Whoever takes them meanwhile ends it.

        Panels take as much memory as these W. An answer is the same with them and without.
        """
        if self.rows_seen < KEPT_AFTER:
            self.rows_seen += rows
            return False
        return is_sole_owner(<PyObject*>self.vector)

    cdef make_panels(self):
        """Make what is kept."""
        cdef cnp.ndarray panels = np.empty(
            self.data.packed_size * self.layout.dtype.itemsize + LINE, np.uint8)
        cdef void* packed = on_line(cnp.PyArray_DATA(panels))
        if self.data.is_double:
            self.pack(<double*>packed, False)
        else:
            self.pack(<float*>packed, False)
        self.kept_panels = panels

    cdef run(self, ptrdiff_t rows, cnp.ndarray x, cnp.ndarray out, int threads,
             double flops_per_row, Entries* entries):
        """The outputs; ``entries``: where the values x belong, NULL for a dense x (rows, n_in)."""
        cdef cnp.npy_intp[2] shape
        if out is None:
            shape[0], shape[1] = rows, self.data.n_out
            out = cnp.PyArray_EMPTY(2, shape, x.descr.type_num, 0)
        elif (out.ndim != 2 or out.descr.type_num != self.data.type_num or out.shape[0] != rows
              or out.shape[1] != self.data.n_out or not cnp.PyArray_ISCARRAY(out)):
            raise ValueError("out does not fit the rows and the outputs")
        elif overlap(out, self.vector):
            raise ValueError("out lies in the network's parameters, must be memory of its own")
        cdef ptrdiff_t blocks = (rows + self.data.block_rows - 1) // self.data.block_rows
        cdef double worthwhile = 1 + rows * flops_per_row / FLOPS_PER_THREAD
        cdef int team = <int>min(worthwhile, <double>threads)
        # With less work a second thread comes too late: a row of 256-1024-1024-1024-10 takes 175 us
        # alone, 165 of two threads, and .9 ms of two beside a busy program.
        if blocks > 1 or entries != NULL or not self.data.shares or (
                rows * flops_per_row < SHARED_FLOPS):
            team = <int>min(<ptrdiff_t>team, blocks)
        failures = [] if self.data.is_python else None
        if self.data.is_python:
            team = 1
        if team > 1:
            team = team_size(team)
        if self.kept_panels is None and self.data.packed_size and (
                entries == NULL and rows * self.data.members >= KEPT_ROWS) and self.may_keep(rows):
            self.make_panels()
        cdef Watch watch
        start_watch(&watch, blocks > 1 and worthwhile > WATCHED_FLOPS // FLOPS_PER_THREAD)
        cdef bint failed
        if self.data.is_double:
            failed = self.forward[double](rows, <const double*>cnp.PyArray_DATA(x), entries,
                                          <double*>cnp.PyArray_DATA(out), team, &watch,
                                          <void*>failures)
        else:
            failed = self.forward[float](rows, <const float*>cnp.PyArray_DATA(x), entries,
                                         <float*>cnp.PyArray_DATA(out), team, &watch,
                                         <void*>failures)
        if failed:
            raise MemoryError
        if failures:
            raise failures[0]
        raise_if_stopped(&watch)
        return out

    cdef bint forward(self, ptrdiff_t rows, const real* x, Entries* entries, real* out, int team,
                      Watch* watch, void* failures) noexcept:
        cdef ptrdiff_t block_rows = self.rows_of_block(rows, team)
        cdef ptrdiff_t values = (self.data.n_slots * self.data.widest
                                 + self.data.n_in * self.data.narrow)
        cdef ptrdiff_t per_thread = values * max(
            block_rows * self.data.members, LANE_ROWS * self.data.narrow) + self.data.widest_norm
        cdef ptrdiff_t packed_size = self.data.packed_size, room = 0, line
        cdef ptrdiff_t n_blocks, block
        cdef void* memory = NULL
        cdef void* panels = NULL
        cdef real* scratch = NULL
        cdef real* packed = NULL
        cdef cnp.ndarray kept = None  # here until the end, whoever gives the panels up meanwhile
        cdef Network net
        net.parameters, net.data = cnp.PyArray_DATA(self.vector), &self.data
        if rows == 0:
            return False
        n_blocks = (rows + block_rows - 1) // block_rows
        if packed_size and entries == NULL and rows * self.data.members >= KEPT_ROWS:
            kept = self.kept_panels
            if kept is not None:
                packed, packed_size = <real*>on_line(cnp.PyArray_DATA(kept)), 0
        if packed_size and ROOM_ROWS <= rows * self.data.members < PACKING_ROWS:
            room = FNN_ROOM // sizeof(real)
        if room:
            line = LINE // sizeof(real)
            per_thread = (room + per_thread + line - 1) // line * line
        if self.data.n_ops > 1 or self.data.narrow or self.data.widest_norm > 0 or room:
            # a row of a small network has no more memory than it needs: malloc keeps that at hand
            memory = malloc(team * per_thread * sizeof(real) + (LINE if room else 0))
            if memory == NULL:
                return True
            scratch = <real*>(on_line(memory) if room else memory)
        if entries != NULL:
            packed_size -= self.data.packed_inputs
            if self.keeps(entries):
                entries.table = cnp.PyArray_DATA(self.kept_table)
            elif entries.adds != NULL:
                entries.table = malloc(self.data.table_size * sizeof(real))
                if entries.table == NULL:
                    free(memory)
                    return True
                self.sum_rows(entries, <real*>entries.table)
        if packed_size and rows * self.data.members >= PACKING_ROWS:
            panels = malloc(packed_size * sizeof(real) + LINE)
            if panels == NULL:
                if entries != NULL and not self.keeps(entries):
                    free(entries.table)
                free(memory)
                return True
            packed = <real*>on_line(panels)
        with nogil:
            if panels != NULL:
                self.pack(packed, entries != NULL)
            if team == 1:
                for block in range(n_blocks):
                    forward_block(&net, block, block_rows, rows, x, entries, out, packed, room,
                                  scratch, watch, failures, NULL)
            else:
                in_team(&net, team, n_blocks, block_rows, rows, x, entries, out, packed, room,
                        scratch, per_thread, watch, failures)
        if entries != NULL and not self.keeps(entries):
            free(entries.table)
        free(panels)
        free(memory)
        return False

    cdef ptrdiff_t rows_of_block(self, ptrdiff_t rows, int team) noexcept nogil:
        """As many for each thread where there are few blocks."""
        cdef ptrdiff_t blocks
        if team > 1 and rows > self.data.block_rows:
            blocks = (rows + self.data.block_rows - 1) // self.data.block_rows
            if blocks < EVEN_BLOCKS * team:
                blocks = (blocks + team - 1) // team * team
                return (rows + blocks - 1) // blocks
        return min(rows, self.data.block_rows)

    cdef bint keeps(self, const Entries* entries) noexcept:
        """Whether the tables for these codes are there."""
        return (self.kept_table is not None and entries.adds != NULL
                and entries.adds == cnp.PyArray_DATA(self.kept_adds))

    cdef void sum_rows(self, const Entries* entries, real* table) noexcept:
        """The tables that codes look up: row i is the sum of the rows of W from the beginning of
        its run up to i."""
        cdef Op* op
        cdef int i
        for i in range(self.data.n_ops):
            op = &self.data.ops[i]
            if op.source >= 0:
                continue
            sum_runs(kernels, 0, op.n_in, op.row_units, entries.adds,
                     (<const real*>cnp.PyArray_DATA(self.vector)) + op.w, table)
            table += op.n_in * op.row_units

    cdef void pack(self, real* packed, bint sparse) noexcept nogil:
        """The W whose rows are pages apart, in panels."""
        cdef const real* parameters = <const real*>cnp.PyArray_DATA(self.vector)
        cdef ptrdiff_t width = panel_columns(kernels, packed)
        cdef Op* op
        cdef int i
        for i in range(self.data.n_ops):
            op = &self.data.ops[i]
            if is_packed(&self.data, op, sparse):
                pack_rows(kernels, op.n_in, op.n_out, parameters + op.w, op.n_out, packed,
                          op.n_in * width)
                packed += (op.n_out + width - 1) // width * width * op.n_in


cdef void in_team(const Network* net, int team, ptrdiff_t n_blocks, ptrdiff_t block_rows,
                  ptrdiff_t rows, const real* x, Entries* entries, real* out, const real* packed,
                  ptrdiff_t room, real* scratch, ptrdiff_t per_thread, Watch* watch,
                  void* failures) noexcept nogil:
    """All blocks by a team: its threads take one after the other, or the only one together."""
    cdef ptrdiff_t block
    cdef Shared shared
    if n_blocks == 1:
        memset(&shared, 0, sizeof(shared))
        shared.team, shared.packed = team, packed
        with parallel(num_threads=team):
            share(net, &shared, rows, x, out, room, scratch, per_thread, watch)
    else:
        for block in prange(n_blocks, num_threads=team, schedule="dynamic"):
            forward_block(net, block, block_rows, rows, x, entries, out, packed, room,
                          scratch + fnn_team_rank() * per_thread, watch, failures, NULL)


cdef bint overlap(cnp.ndarray a, cnp.ndarray b):
    """Whether two contiguous arrays share memory."""
    cdef const char* start_a = <const char*>cnp.PyArray_DATA(a)
    cdef const char* start_b = <const char*>cnp.PyArray_DATA(b)
    return start_a < start_b + cnp.PyArray_NBYTES(b) and start_b < start_a + cnp.PyArray_NBYTES(a)
