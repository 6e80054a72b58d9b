"""From the operations of a layout to what a prediction goes through, once for each layout: each
step of a fit publishes parameters anew, with the program of those before."""

cimport cython
cimport numpy as cnp
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free, malloc

from fastnn.core._kernels cimport kernels
from fastnn.core._ops cimport BATCH_NORM, DENSE, EMBED, PYTHON, op_kind

import numpy as np

from fastnn.core import _kernels
from fastnn.network.lowering import (
    PANEL_BYTES,
    WIDEST_FEATURE_MAJOR,
    is_dense_chain,
    row_lengths,
    slots,
)

cnp.import_array()

cdef enum:
    BLOCK_ROWS = 96            # a multiple of the tile heights
    PYTHON_ROWS = 960          # so many for a call of a function in Python


@cython.final
cdef class Program:
    """The operations of a layout, for any parameters; they never change.

    Parameters
    ----------
    layout : ParameterLayout
        It keeps the functions in Python, and has to live as long.
    n_ops : int or None
        Stop after so many operations.
    """

    def __cinit__(self, layout, n_ops):
        descriptions = layout.ops if n_ops is None else layout.ops[:n_ops]
        cdef Op* op
        cdef ptrdiff_t panel, size, widest = layout.spec.n_in, widest_product = 0
        self.kept = []
        self.data.n_ops = len(descriptions)
        self.data.ops = <Op*>malloc(self.data.n_ops * sizeof(Op))
        if self.data.ops == NULL:
            raise MemoryError
        self.data.size = layout.size
        self.data.type_num = (<cnp.dtype>layout.dtype).type_num
        self.data.is_double = layout.dtype == np.float64
        self.data.n_in = layout.spec.n_in
        self.data.members = descriptions[-1].members
        self.data.averages = self.data.members > 1 and self.data.n_ops == len(layout.ops)
        self.data.flops_per_row = 2.0 * layout.n_parameters
        if self.data.members > 1:
            self.data.flops_per_row = layout.training_flops / 3.0
        panel = kernels.f64.panel if self.data.is_double else kernels.f32.panel
        self.data.packed_from = PANEL_BYTES[_kernels.isa()] // layout.dtype.itemsize
        self.data.n_slots = 2
        offsets = {}
        for block in layout.blocks:
            offsets.setdefault(block.op, []).append(block.at)
        numbers, lengths = slots(descriptions), row_lengths(descriptions, layout.dtype.itemsize)
        self.data.looks_up = True
        for i in range(self.data.n_ops):
            description = descriptions[i]
            op = &self.data.ops[i]
            self.set_op(op, description, offsets.get(i, (0, 0)))
            op.slot = numbers[i]
            op.ld = lengths[i]
            op.ld_in = self.data.ops[op.source].ld if op.source >= 0 else op.n_in
            self.data.n_slots = max(self.data.n_slots, op.slot + 1)
            self.data.is_python = self.data.is_python or op.kind == PYTHON
            self.data.widest = max(self.data.widest, op.ld)
            if op.kind == BATCH_NORM:
                self.data.widest_norm = max(self.data.widest_norm, op.n_out)
            if -1 in description.sources and op.kind not in (DENSE, EMBED):
                self.data.looks_up = False
            if op.source < 0:
                self.data.table_size += op.n_in * op.row_units
            if op.kind == DENSE:
                widest_product = max(widest_product, op.n_out)
            if op.kind == DENSE and op.n_out >= self.data.packed_from:
                size = op.n_in * ((op.n_out + panel - 1) // panel * panel)
                self.data.packed_size += size
                self.data.packed_inputs += size if op.source < 0 else 0
        self.data.n_out = self.data.ops[self.data.n_ops - 1].n_out
        if not self.data.averages:
            self.data.n_out *= self.data.members
        self.data.narrow = (max(widest, self.data.widest) <= WIDEST_FEATURE_MAJOR
                            and is_dense_chain(descriptions))
        self.data.block_rows = LANE_ROWS if self.data.narrow else BLOCK_ROWS
        if self.data.is_python:
            self.data.block_rows = PYTHON_ROWS
        self.data.block_rows = max(1, self.data.block_rows // self.data.members)
        self.data.shares = (widest_product >= 2 * SHARED_COLUMNS and self.data.members == 1
                            and not self.data.is_python)

    def __dealloc__(self):
        free(self.data.ops)

    cdef set_op(self, Op* op, description, offsets):
        """Fill in what an operation says of itself, and where its parameters begin."""
        op.kind = op_kind(description.kind)
        op.n_in, op.n_out = description.n_in, description.n_out
        op.w, op.b = offsets[0], offsets[1 if len(offsets) > 1 else 0]
        op.shared, op.row_units = description.shared, description.row_units
        op.gate = _kernels.output_index(description.gate)
        op.activation = _kernels.output_index(description.activation)
        op.eps = description.eps
        op.source, op.other = description.source, description.other
        op.function = <void*>description.function
        if op.kind == BATCH_NORM:
            op.mean, op.variance = offsets[2:]
        if op.kind == EMBED:
            firsts = np.cumsum((0, *description.counts), dtype=np.int64)
            inputs = np.arange(op.n_in, dtype=np.int32)
            self.kept.extend((firsts, inputs))
            op.n_columns = len(description.counts)
            op.firsts = <const int64_t*>cnp.PyArray_DATA(<cnp.ndarray>firsts)
            op.inputs = <const int32_t*>cnp.PyArray_DATA(<cnp.ndarray>inputs)


cdef Program program_of(layout, n_ops):
    """The program of a layout, made once; of its first operations alone each time."""
    if n_ops is not None:
        return Program(layout, n_ops)
    found = layout.made.get("program")
    if found is None:
        found = layout.made["program"] = Program(layout, None)
    return found
