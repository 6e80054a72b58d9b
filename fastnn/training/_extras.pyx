"""Fills in what a job has beside a plain one: groups, matrices and memory for `_phases`."""

cimport numpy as cnp

from fastnn.core._ops cimport DENSE, HEADS
from fastnn.training._job cimport Chunk, Extras, Group, Job, Matrix, Strip, Strips

import math

import numpy as np

from fastnn.core.memory import ALIGNMENT, aligned_zeros

cnp.import_array()

# A strip is long enough for a product to be worth a task, and one with thin rows is still whole
# tiles. What it is must not depend on the number of threads.
STRIP_ROWS = 16
STRIPS = 64         # about so many of all matrices
LIMIT_COLUMNS = 64  # of a W, whose norms are taken in one go
MAX_TASKS = 128


cdef void* keep(list kept, array):
    """Where the array lies, which lives as long as the list."""
    kept.append(array)
    return cnp.PyArray_DATA(<cnp.ndarray>array)


cdef set_strips(Strips* strips, list kept, spans, size):
    """Cut (number, length) of each into strips of so much."""
    pieces = []
    for number, length in spans:
        for first in range(0, length, size):
            pieces.append((number, first, min(first + size, length)))
    strips.n = len(pieces)
    strips.n_tasks = min(strips.n, MAX_TASKS)
    strips.strip = <Strip*>keep(kept, aligned_zeros(max(1, strips.n) * sizeof(Strip), np.uint8))
    for i, (number, first, stop) in enumerate(pieces):
        strips.strip[i].number, strips.strip[i].first, strips.strip[i].stop = number, first, stop


cdef rows_of_strips(spans):
    """Rows of a strip, so that there are about `STRIPS` of all matrices."""
    rows = 0
    for _, length in spans:
        rows += length
    rows = -(-rows // STRIPS)
    return -(-max(rows, STRIP_ROWS) // 8) * 8


cdef set_matrices(Job* job, list kept, layout, blocks, wishes):
    """The matrices of Muon, and what they need."""
    cdef ptrdiff_t end = 0, line = ALIGNMENT // layout.dtype.itemsize
    cdef Matrix* matrix
    job.extras.n_matrices = len(blocks)
    job.extras.momentum, job.extras.nesterov = wishes.muon.momentum, wishes.muon.nesterov
    job.extras.rounds = wishes.muon.steps
    job.extras.matrices = <Matrix*>keep(
        kept, aligned_zeros(len(blocks) * sizeof(Matrix), np.uint8))

    def take(size):
        nonlocal end
        start = end
        end += -(-size // line) * line
        return start

    for i, (block, settings) in enumerate(blocks):
        matrix = &job.extras.matrices[i]
        n_in, n_out = block.shape
        matrix.at, matrix.n_in, matrix.n_out = block.at, n_in, n_out
        matrix.rows, matrix.columns = max(n_in, n_out), min(n_in, n_out)
        matrix.x, matrix.y = take(n_in * n_out), take(n_in * n_out)
        matrix.gram, matrix.square = take(matrix.columns ** 2), take(matrix.columns ** 2)
        matrix.rate_factor = math.sqrt(max(1, n_out / n_in))
        matrix.decay = settings.muon_decay
    job.extras.muon = keep(kept, aligned_zeros(end, layout.dtype))
    inputs, rows, columns = [], [], []
    for i, (block, _) in enumerate(blocks):
        inputs.append((i, block.shape[0]))
        rows.append((i, max(block.shape)))
        columns.append((i, min(block.shape)))
    set_strips(&job.extras.inputs, kept, inputs, rows_of_strips(inputs))
    set_strips(&job.extras.rows, kept, rows, rows_of_strips(rows))
    set_strips(&job.extras.columns, kept, columns, rows_of_strips(columns))
    job.extras.squares = <double*>keep(kept, aligned_zeros(job.extras.inputs.n, np.float64))


cdef list set_extras(Job* job, layout, pieces, wishes, mean):
    """Fill in ``job.extras``, and groups and matrices of the chunks; returns the arrays that must
    live as long as the job.

    layout : ParameterLayout; pieces : list of its chunks; wishes : Wishes; mean : flat array or
    None
    """
    cdef list kept = []
    cdef Chunk* chunks = <Chunk*>job.chunks
    cdef Group* group
    cdef int i
    settings = list(dict.fromkeys(wishes.settings))
    job.extras = <Extras*>keep(kept, aligned_zeros(sizeof(Extras), np.uint8))
    job.extras.whole = wishes.whole
    job.extras.scale = 1
    job.extras.clip_norm, job.extras.clip_value = wishes.clip_norm, wishes.clip_value
    job.extras.groups = <Group*>keep(kept, aligned_zeros(len(settings) * sizeof(Group), np.uint8))
    for i, one in enumerate(settings):
        group = &job.extras.groups[i]
        group.rate_factor, group.l2, group.l1 = one.rate_factor, one.l2, one.l1
        group.decay, group.frozen = one.decay, one.frozen
        for j, value in enumerate(one.hyperparameters):
            group.hyperparameters[<int>j] = value
    blocks = dict(zip(layout.blocks, wishes.settings, strict=True))
    matrices, numbers = [], {}
    for block, one in blocks.items():
        if one.muon_decay is not None and not one.frozen:
            numbers[block] = len(matrices)
            matrices.append((block, one))
    for i, piece in enumerate(pieces):
        chunks[i].group = settings.index(blocks[piece.block])
        chunks[i].matrix = numbers.get(piece.block, -1)
    if matrices:
        set_matrices(job, kept, layout, matrices, wishes)
    job.extras.summed = keep(kept, layout.allocate())
    job.extras.norms = <double*>keep(kept, aligned_zeros(job.n_chunks, np.float64))
    if mean is not None:
        job.extras.mean = cnp.PyArray_DATA(<cnp.ndarray>mean)
        job.extras.mean_rate = 1 - wishes.mean_decay
    spans = []
    for block, one in blocks.items():
        if block.kind == "weight" and job.ops[<int>block.op].kind in (DENSE, HEADS):
            job.ops[<int>block.op].limit = one.limit
            if one.limit < math.inf and not one.frozen:
                spans.append((block.op, block.shape[1]))
    set_strips(&job.extras.limits, kept, spans, LIMIT_COLUMNS)
    return kept
