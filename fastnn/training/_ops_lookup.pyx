"""The dense operation on a sparse X, row-major: z = b + the sum of value times row `column` of W
over the entries of a row.

The gradient of row `column` of W is the same sum, over the entries of that column, of rows of dZ.
So the entries of a batch are sorted by column once a step, beside the shards of the batch: a radix
sort, stable, whose work grows with the entries alone. Then each chunk of W finds its own. Every
element is one chain in the order of the entries (forward), or of the rows (gradient), whoever
computes it.

Rows of W that have no entry in the batch have no gradient. Where the optimizer leaves such
parameters as they are, to the bit (`Optimizer.is_lazy`), they are not touched; else the update of
all of W bounds the step: it reads and writes W and each vector of state once.

Codes (core/codes.py) look up sums of rows of W: a table of its shape, whose rows follow each update
of W. A run of rows that are added up lies in one chunk. The gradient of a row is that of the
table's rows from there to the end of its run: one chain that goes on from row to row, from the last
one. It changes from one row with entries to the next one alone: where runs are long, only these are
made. Then W, its state and the table are gone through once, block by block.
"""

cimport numpy as cnp
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memchr, memcpy, memmove, memset

from fastnn.core._kernels cimport (
    FNN_BLOCK,
    fnn_lookup,
    lookup_of,
    real,
    run_lookup,
    sum_runs,
    update_weights,
)
from fastnn.training._gather cimport row_of
from fastnn.training._job cimport WEIGHT, Chunk, Job, Lookup, Op

import numpy as np

from fastnn.core.memory import aligned_zeros

cnp.import_array()

cdef enum:
    MOST_BITS = 11  # of a digit of the sort: its counters stay in L1
    NEAR = 1 << 18  # bytes of a gradient that stay in the second-level cache
    FAR = 1 << 23  # bytes of a W that comes from memory


cdef bint has_table(const Job* job, const Chunk* chunk) noexcept nogil:
    """Whether it is a chunk of a W whose sums along runs are looked up."""
    return job.lookup.adds != NULL and is_looked_up(job, chunk)


cdef bint is_looked_up(const Job* job, const Chunk* chunk) noexcept nogil:
    """Whether it is a chunk of a W that X is multiplied with."""
    return job.lookup.on and chunk.kind == WEIGHT and job.ops[chunk.op].source < 0


cdef bint is_untouched(const Job* job, const Chunk* chunk) noexcept nogil:
    """Whether no entry of the batch has its column in the chunk."""
    cdef ptrdiff_t i = chunk - job.chunks
    return is_looked_up(job, chunk) and job.lookup.first[i] == job.lookup.stop[i]


cdef void lookup_forward(const Job* job, const Op* op, ptrdiff_t start, ptrdiff_t rows,
                         ptrdiff_t row0, real* scratch) noexcept nogil:
    """z = x W + b of rows start.. of the epoch, which are row0.. of the batch; relu with it, where
    it is fused."""
    cdef const real* parameters = <const real*>job.parameters
    cdef const real* table = parameters + op.w
    if op.table >= 0:
        table = (<const real*>job.copies) + op.table
    cdef fnn_lookup p = lookup_of(rows, op.n_out, job.csr_start, job.csr_column, job.x, table,
                                  op.n_in, op.n_out, scratch + op.z + row0 * op.ld, op.ld)
    if job.order != NULL:
        p.order = <const ptrdiff_t*>job.order + start
    else:
        p.start += start
    p.bias, p.relu = parameters + op.b, op.relu
    run_lookup(job.k, &p, scratch)


# ---- the entries of the batch by column ----

cdef void count_digits(const Job* job, ptrdiff_t* counts) noexcept nogil:
    """counts (passes, 1 << bits) = how often each digit of the columns is there."""
    cdef const Lookup* look = &job.lookup
    cdef const int32_t* columns = job.csr_column
    cdef ptrdiff_t size = 1 << look.bits, r, row
    cdef int64_t i
    cdef int32_t column
    cdef int k, passes = look.passes, bits = look.bits
    memset(counts, 0, passes * size * sizeof(ptrdiff_t))
    for r in range(job.rows):
        row = row_of(job, job.start + r)
        if passes == 1:  # without a loop in the loop
            for i in range(job.csr_start[row], job.csr_start[row + 1]):
                counts[columns[i]] += 1
            continue
        for i in range(job.csr_start[row], job.csr_start[row + 1]):
            column = columns[i]
            for k in range(passes):
                counts[k * size + (column & (size - 1))] += 1
                column >>= bits


cdef void count_touched(Lookup* look, const ptrdiff_t* counts) noexcept nogil:
    """The columns that there are, and where the entries of each begin, where a digit is all of a
    column."""
    cdef ptrdiff_t i, k = 0, end = 0
    for i in range(1 << look.bits):  # without a branch that nobody could predict
        look.touched[k] = <int32_t>i
        look.start[k] = end
        end += counts[i]
        k += counts[i] != 0
    look.start[k] = end
    look.n_touched = k


cdef void places(ptrdiff_t size, ptrdiff_t* counts) noexcept nogil:
    """From the count of each digit to the place of its first entry."""
    cdef ptrdiff_t end = 0, i, count
    for i in range(size):
        count = counts[i]
        counts[i] = end
        end += count


cdef ptrdiff_t read_entries(const Job* job, ptrdiff_t* at, const real* tag) noexcept nogil:
    """The first pass: from X into columns[0], rows[0], values[0]; returns how many there are. (Row
    and value side by side, for one cache line to write in the place of two, changed nothing.)"""
    cdef const Lookup* look = &job.lookup
    cdef ptrdiff_t r, row, place, n = 0
    cdef const int32_t* columns = job.csr_column
    cdef const real* value = <const real*>job.x
    cdef int32_t* sorted_columns = look.columns[0]
    cdef int32_t* rows = look.rows[0]
    cdef real* values = <real*>look.values[0]
    cdef int32_t column, mask = (1 << look.bits) - 1
    cdef bint again = look.passes > 1
    cdef int64_t i, first, last
    for r in range(job.rows):
        row = row_of(job, job.start + r)
        first, last = job.csr_start[row], job.csr_start[row + 1]
        n += last - first
        for i in range(first, last):
            column = columns[i]
            place = at[column & mask]
            at[column & mask] = place + 1
            if again:
                sorted_columns[place] = column
            rows[place] = <int32_t>r
            values[place] = value[i]
    return n


cdef void move_entries(const Lookup* look, int k, ptrdiff_t n, ptrdiff_t* at,
                       const real* tag) noexcept nogil:
    """Pass k, from one of the two to the other."""
    cdef int source = (k + 1) % 2, target = k % 2
    cdef const int32_t* columns = look.columns[source]
    cdef const int32_t* rows = look.rows[source]
    cdef const real* values = <const real*>look.values[source]
    cdef real* out = <real*>look.values[target]
    cdef int32_t digit, mask = (1 << look.bits) - 1, shift = k * look.bits
    cdef ptrdiff_t i, place
    for i in range(n):
        digit = (columns[i] >> shift) & mask
        place = at[digit]
        at[digit] = place + 1
        look.columns[target][place] = columns[i]
        look.rows[target][place] = rows[i]
        out[place] = values[i]


cdef void find_touched(Lookup* look, ptrdiff_t n) noexcept nogil:
    """The columns that there are, and where the entries of each begin."""
    cdef const int32_t* columns = look.columns[look.sorted]
    cdef ptrdiff_t i, k = 0
    look.start[0] = 0
    for i in range(n):  # without a branch that nobody could predict
        look.touched[k] = columns[i]
        look.start[k + 1] = i + 1
        k += i + 1 == n or columns[i] != columns[i + 1]
    look.n_touched = k


cdef void find_starts(const Job* job) noexcept nogil:
    """Where the entries of each column begin, of those that have none, too."""
    cdef const Lookup* look = &job.lookup
    cdef ptrdiff_t column, k = 0
    for column in range(job.n_in):
        look.starts[column] = look.start[k]
        k += k < look.n_touched and look.touched[k] == column
    look.starts[job.n_in] = look.start[k]


cdef void share_touched(Job* job) noexcept nogil:
    """Which of the columns that there are each chunk has."""
    cdef Lookup* look = &job.lookup
    cdef const Chunk* chunk
    cdef ptrdiff_t i, k = 0, stop
    for i in range(job.n_chunks):
        chunk = &job.chunks[i]
        if not is_looked_up(job, chunk):
            continue
        if chunk.row == 0:
            k = 0
        look.first[i] = k
        stop = chunk.row + chunk.size // job.ops[chunk.op].row_units
        while k < look.n_touched and look.touched[k] < stop:
            k += 1
        look.stop[i] = k


cdef void sort_entries(Job* job, const real* tag) noexcept nogil:
    """The entries of the batch by column, those of a column in the order of the rows."""
    cdef Lookup* look = &job.lookup
    cdef ptrdiff_t[3 << MOST_BITS] counts
    cdef ptrdiff_t size = 1 << look.bits, n
    cdef int k
    count_digits(job, counts)
    if look.passes == 1:
        count_touched(look, counts)
    for k in range(look.passes):
        places(size, counts + k * size)
    if look.adds != NULL and look.passes == 1:  # places are what the pass below moves on
        memcpy(look.starts, counts, job.n_in * sizeof(int64_t))
    n = read_entries(job, counts, tag)
    if look.adds != NULL and look.passes == 1:
        look.starts[job.n_in] = n
    for k in range(1, look.passes):
        move_entries(look, k, n, counts + k * size, tag)
    look.sorted = (look.passes - 1) % 2
    if look.passes > 1:
        find_touched(look, n)
        if look.adds != NULL:
            find_starts(job)
    share_touched(job)


# ---- gradient and update ----

cdef void gather_gradient(const Job* job, const Op* op, ptrdiff_t column, const int64_t* start,
                          ptrdiff_t count, const unsigned char* adds, const real* scratch,
                          real* out) noexcept nogil:
    """out (count, row_units) = the gradient of rows of W whose entries begin at start[0], start[1]
    ..., with those of the rows after each of them that ``adds`` (count,) tells, unless NULL. Of an
    embedding all of them are of this column of the data, else that is 0."""
    cdef const Lookup* look = &job.lookup
    cdef fnn_lookup p = lookup_of(count, op.row_units, start, look.rows[look.sorted],
                                  look.values[look.sorted],
                                  scratch + op.dz + column * op.row_units, job.rows, op.ld, out,
                                  op.row_units)
    p.adds = adds
    run_lookup(job.k, &p, scratch)


cdef ptrdiff_t run_of(const Lookup* look, const Op* op, ptrdiff_t k, ptrdiff_t stop,
                      ptrdiff_t* column) noexcept nogil:
    """How many columns that follow each other begin with touched[k]. Of an embedding all of them
    are of one column of the data: ``column``, which is raised to that."""
    cdef ptrdiff_t count = 1
    if op.firsts != NULL:
        while op.firsts[column[0] + 1] <= look.touched[k]:
            column[0] += 1
        stop = min(stop, k + op.firsts[column[0] + 1] - look.touched[k])
    while k + count < stop and look.touched[k + count] == look.touched[k] + count:
        count += 1
    return count


cdef ptrdiff_t gradient_rows(const Job* job, const Op* op, ptrdiff_t k, ptrdiff_t row,
                             ptrdiff_t stop, const real* scratch, real* out) noexcept nogil:
    """out (stop - row, row_units) = these rows of X' dZ, of the whole batch, of which touched[k] is
    the first one with entries; returns what that is of the rows behind them."""
    cdef const Lookup* look = &job.lookup
    cdef ptrdiff_t column = 0, end = k, count
    while end < look.n_touched and look.touched[end] < stop:
        end += 1
    while k < end:
        count = run_of(look, op, k, end, &column)
        memset(out, 0, (look.touched[k] - row) * op.row_units * sizeof(real))
        out += (look.touched[k] - row) * op.row_units
        gather_gradient(job, op, column, look.start + k, count, NULL, scratch, out)
        out += count * op.row_units
        row = look.touched[k] + count
        k += count
    memset(out, 0, (stop - row) * op.row_units * sizeof(real))
    return end


cdef void lookup_gradient(const Job* job, const Chunk* chunk, const real* scratch,
                          real* gradient) noexcept nogil:
    """gradient (chunk.size,) = these rows of X' dZ, of the whole batch."""
    cdef const Op* op = &job.ops[chunk.op]
    cdef ptrdiff_t stop = chunk.row + chunk.size // op.row_units
    if op.table >= 0:
        table_gradient(job, op, chunk.row, stop, scratch, gradient)
    else:
        gradient_rows(job, op, job.lookup.first[chunk - job.chunks], chunk.row, stop, scratch,
                      gradient)


cdef void table_gradient(const Job* job, const Op* op, ptrdiff_t row, ptrdiff_t stop,
                         const real* scratch, real* out) noexcept nogil:
    """out (stop - row, row_units) = the gradient of these rows of a W of codes, which are whole
    runs."""
    cdef const Lookup* look = &job.lookup
    cdef ptrdiff_t column = 0, end = stop
    while row < stop:
        if op.firsts != NULL:
            while op.firsts[column + 1] <= row:
                column += 1
            end = min(stop, <ptrdiff_t>op.firsts[column + 1])
        gather_gradient(job, op, column, look.starts + row, end - row, look.adds + row, scratch,
                        out)
        out += (end - row) * op.row_units
        row = end


cdef void copy_table(const Job* job, const Op* op, const Chunk* chunk, real* tag) noexcept nogil:
    """Bring rows of the table up to date: sums of rows of W from the beginning of their run on."""
    sum_runs(job.k, 0, chunk.size // op.row_units, op.row_units, job.lookup.adds + chunk.row,
             (<const real*>job.parameters) + chunk.at,
             (<real*>job.copies) + op.table + chunk.row * op.row_units)


cdef double update_elements(Job* job, ptrdiff_t at, ptrdiff_t n, const real* gradient, double decay,
                            double scale, const double* c) noexcept nogil:
    """Update elements at... of the parameters by their gradient (n,); what `update_weights`
    returns."""
    return update_weights(
        job.k, job.optimizer, n, 1, gradient, 0, decay, scale, (<real*>job.parameters) + at,
        (<real*>job.state0) + at if job.state0 != NULL else NULL,
        (<real*>job.state1) + at if job.state1 != NULL else NULL,
        (<real*>job.state2) + at if job.state2 != NULL else NULL, c)


cdef void lookup_update(Job* job, const Chunk* chunk, const double* c, double scale,
                        const real* scratch, real* own) noexcept nogil:
    """Gradient and update of the rows of W that have a gradient; the others stay as they are. (To
    fetch them ahead brought nothing.)"""
    cdef const Lookup* look = &job.lookup
    cdef const Op* op = &job.ops[chunk.op]
    cdef ptrdiff_t i = chunk - job.chunks, k = look.first[i], stop = look.stop[i], count
    cdef ptrdiff_t column = 0
    if k == stop:
        return
    if op.firsts == NULL:
        gather_gradient(job, op, 0, look.start + k, stop - k, NULL, scratch, own)
    while k < stop:
        count = run_of(look, op, k, stop, &column)
        if op.firsts != NULL:
            gather_gradient(job, op, column, look.start + k, count, NULL, scratch, own)
        update_elements(job, op.w + look.touched[k] * op.row_units, count * op.row_units, own, 0.0,
                        scale, c)
        own += count * op.row_units
        k += count


cdef double dense_update(Job* job, const Chunk* chunk, const double* c, double decay, double scale,
                         const real* scratch, real* own) noexcept nogil:
    """Gradient and update of all rows of W; what `update_weights` returns. Where W comes from
    memory both go block by block, so that the gradient stays in the first-level cache beside what
    passes by: a step of SGD with a penalty takes a seventh less on 100,000 columns of 50 units (a
    W that the third-level cache holds lost a twentieth, and to fetch W ahead lost, too)."""
    cdef const Op* op = &job.ops[chunk.op]
    cdef ptrdiff_t n = op.row_units, k = job.lookup.first[chunk - job.chunks], row = chunk.row
    cdef ptrdiff_t at = 0, size, count, more = 0, window = chunk.size
    cdef double squares = 0
    if op.n_in * n * <ptrdiff_t>sizeof(real) > FAR:
        window = FNN_BLOCK
    while at < chunk.size:
        size = min(window, chunk.size - at)
        count = max(<ptrdiff_t>0, (size - more + n - 1) // n)
        k = gradient_rows(job, op, k, row, row + count, scratch, own + more)
        row += count
        more += count * n - size  # elements of the last row, for the next block
        squares += update_elements(job, chunk.at + at, size, own, decay, scale, c)
        memmove(own, own + size, more * sizeof(real))
        at += size
    return squares


cdef ptrdiff_t packed_gradient(const Job* job, const Chunk* chunk, const real* scratch,
                               real* own) noexcept nogil:
    """own (count + 1, row_units) = the gradient of the rows of W of codes that have entries, then
    zeros, where there is a row without; returns how many these are."""
    cdef const Lookup* look = &job.lookup
    cdef const Op* op = &job.ops[chunk.op]
    cdef ptrdiff_t i = chunk - job.chunks, first = look.first[i], stop = look.stop[i]
    cdef ptrdiff_t k, begin = first, column = 0, before = chunk.row - 1
    for k in range(first, stop):
        look.joins[k] = k > first and memchr(look.adds + before + 1, 0,
                                             look.touched[k] - before) == NULL
        before = look.touched[k]
    while begin < stop:
        k = stop
        if op.firsts != NULL:
            while op.firsts[column + 1] <= look.touched[begin]:
                column += 1
            k = begin + 1
            while k < stop and look.touched[k] < op.firsts[column + 1]:
                k += 1
        gather_gradient(job, op, column, look.start + begin, k - begin, look.joins + begin, scratch,
                        own + (begin - first) * op.row_units)
        begin = k
    if (stop - first) * op.row_units < chunk.size:
        memset(own + (stop - first) * op.row_units, 0, op.row_units * sizeof(real))
    return stop - first


cdef void place_gradient(const Job* job, const Chunk* chunk, ptrdiff_t count) noexcept nogil:
    """Where the gradient of each row of W of codes lies in what `packed_gradient` has made: of a
    row without entries that of the next one that has any in its run, which counts for it."""
    cdef const Lookup* look = &job.lookup
    cdef ptrdiff_t first = look.first[chunk - job.chunks], k = count
    cdef ptrdiff_t row = chunk.row + chunk.size // job.ops[chunk.op].row_units
    cdef int32_t place = <int32_t>count
    while row > chunk.row:
        row -= 1
        if k > 0 and look.touched[first + k - 1] == row:
            k -= 1
            place = <int32_t>k
        look.places[row] = place
        if not look.adds[row]:
            place = <int32_t>count


cdef void unpack_rows(const int32_t* places, ptrdiff_t first, ptrdiff_t count, ptrdiff_t n,
                      const real* packed, real* out) noexcept nogil:
    """out (count,) = elements first... of the gradient (.., n) whose rows lie at these places."""
    cdef ptrdiff_t row = first // n, at = first - row * n, part
    while count > 0:
        part = min(n - at, count)
        memcpy(out, packed + places[row] * n + at, part * sizeof(real))
        out += part
        count -= part
        row += 1
        at = 0


cdef double table_update(Job* job, const Chunk* chunk, const double* c, double decay, double scale,
                         const real* scratch, real* own) noexcept nogil:
    """Gradient and update of the rows of W of codes and of the table's rows, in one pass over them
    by blocks that stay in the first-level cache; what `update_weights` returns. A gradient that
    does not stay in the second-level cache is made of rows with entries alone: of a smaller one
    bringing it to its places would cost more."""
    cdef const Lookup* look = &job.lookup
    cdef const Op* op = &job.ops[chunk.op]
    cdef ptrdiff_t n = op.row_units, at = 0, row = 0, stop, size
    cdef const real* w = (<const real*>job.parameters) + chunk.at
    cdef double squares = 0
    cdef bint packs = chunk.size * <ptrdiff_t>sizeof(real) > NEAR
    cdef real[FNN_BLOCK] block
    cdef const real* gradient = block
    if packs:
        place_gradient(job, chunk, packed_gradient(job, chunk, scratch, own))
    else:
        lookup_gradient(job, chunk, scratch, own)
    while at < chunk.size:
        size = min(<ptrdiff_t>FNN_BLOCK, chunk.size - at)
        if packs:
            unpack_rows(look.places + chunk.row, at, size, n, own, block)
        else:
            gradient = own + at
        squares += update_elements(job, chunk.at + at, size, gradient, decay, scale, c)
        at += size
        stop = at // n
        sum_runs(job.k, row, stop, n, look.adds + chunk.row, w,
                 (<real*>job.copies) + op.table + chunk.row * n)
        row = stop
    return squares


# ---- memory ----

cdef Py_ssize_t make_room(Job* job, list kept, dict data, rows, bint shuffles, dtype) except? -1:
    """Make room for the entries of the batch of this run that has most of them.

    job : what `Trainer` has filled in; kept : list of arrays that live as long as the job; data :
    dict with ``start``; rows : their numbers, in the order of this run, None for all as they lie;
    shuffles : whether the run takes them in other orders, too. Returns the bytes that the arrays of
    ``kept`` have grown by.
    """
    cdef Lookup* look = &job.lookup
    cdef int i
    lengths = np.diff(data["start"])
    if rows is not None:
        lengths = lengths[rows]
    cdef ptrdiff_t most
    if shuffles:  # the longest rows may come together
        batch = min(job.batch, len(lengths))
        most = np.partition(lengths, len(lengths) - batch)[len(lengths) - batch:].sum()
    else:
        most = np.add.reduceat(lengths, np.arange(0, len(lengths), job.batch)).max()
    if look.first != NULL and most <= look.capacity:
        return 0
    cdef Py_ssize_t before = nbytes(kept)
    kept.clear()
    look.first = NULL  # where memory fails now, the next run begins anew
    bits = max(1, (<object>(job.n_in - 1)).bit_length())
    look.passes = -(-bits // MOST_BITS)
    look.bits = -(-bits // look.passes)
    look.capacity = most + most // 8  # a little more: the next order has another such batch
    for i in range(2):
        size = look.capacity if i < look.passes else 0
        look.columns[i] = <int32_t*>take(kept, size if look.passes > 1 else 0, np.int32)
        look.rows[i] = <int32_t*>take(kept, size, np.int32)
        look.values[i] = take(kept, size, dtype)
    size = min(look.capacity, job.n_in)
    look.touched = <int32_t*>take(kept, size + 1, np.int32)  # one more: see count_touched
    codes = look.adds != NULL
    look.places = <int32_t*>take(kept, job.n_in if codes else 0, np.int32)
    look.joins = <unsigned char*>take(kept, size if codes else 0, np.uint8)
    look.starts = <int64_t*>take(kept, job.n_in + 1 if codes else 0, np.int64)
    look.start = <int64_t*>take(kept, size + 1, np.int64)
    look.stop = <ptrdiff_t*>take(kept, job.n_chunks, np.intp)
    look.first = <ptrdiff_t*>take(kept, job.n_chunks, np.intp)
    return nbytes(kept) - before


cdef void* take(list kept, size, dtype):
    """Memory of its own."""
    kept.append(aligned_zeros(size, dtype))
    return cnp.PyArray_DATA(<cnp.ndarray>kept[-1])


cdef Py_ssize_t nbytes(list arrays):
    cdef Py_ssize_t total = 0
    for array in arrays:
        total += array.nbytes
    return total
