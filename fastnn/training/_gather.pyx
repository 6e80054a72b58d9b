"""Rows of a batch: X, targets and weights, gathered in the order of the epoch or read in place."""

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memcpy, memset

from fastnn.core._kernels cimport (
    add_noise,
    convert_numbers,
    dropout_rows,
    fnn_dropout,
    real,
)
from fastnn.core._team cimport fnn_after_keeping_subnormals, fnn_keep_subnormals
from fastnn.training._job cimport Inputs, Job


cdef enum:
    PIECE = 128  # numbers that lie apart, misaligned or swapped are put in order so many at a time


cdef ptrdiff_t row_of(const Job* job, ptrdiff_t at) noexcept nogil:
    """The row of the data that is number ``at`` of the epoch."""
    return job.order[at] if job.order != NULL else at


cdef void swap_bytes(char* numbers, ptrdiff_t count, ptrdiff_t itemsize) noexcept nogil:
    cdef ptrdiff_t j
    for _ in range(count):
        for j in range(itemsize // 2):
            numbers[j], numbers[itemsize - 1 - j] = numbers[itemsize - 1 - j], numbers[j]
        numbers += itemsize


cdef void convert_row(const Job* job, ptrdiff_t row, real* out) noexcept nogil:
    """out (n_in,) = a row of X, whatever its numbers are and however they lie."""
    cdef const Inputs* inputs = &job.inputs
    cdef const char* x = (<const char*>job.x) + row * inputs.row
    cdef int64_t[PIECE] piece  # aligned for all types
    cdef ptrdiff_t start = 0, count, i, size = inputs.itemsize
    if inputs.direct:
        convert_numbers(job.k, inputs.number, job.n_in, x, out)
        return
    while start < job.n_in:
        count = min(<ptrdiff_t>PIECE, job.n_in - start)
        for i in range(count):
            memcpy((<char*>piece) + i * size, x + (start + i) * inputs.column, size)
        if inputs.swapped:
            swap_bytes(<char*>piece, count, size)
        convert_numbers(job.k, inputs.number, count, piece, out + start)
        start += count


cdef void dense_row(const Job* job, ptrdiff_t row, real* out) noexcept nogil:
    """out (n_in,) = a row of X."""
    cdef ptrdiff_t i, n_in = job.n_in
    cdef const real* values = <const real*>job.x
    if job.inputs.number >= 0:
        convert_row(job, row, out)
    elif job.csr_start == NULL:
        memcpy(out, values + row * n_in, n_in * sizeof(real))
    else:
        memset(out, 0, n_in * sizeof(real))
        for i in range(job.csr_start[row], job.csr_start[row + 1]):
            out[job.csr_column[i]] += values[i]  # duplicates add up


cdef inline ptrdiff_t partner_of(const Job* job, ptrdiff_t at) noexcept nogil:
    """The row of the data that row ``at`` of the batch is mixed with."""
    return row_of(job, job.start + job.inputs.partners[at])


cdef inline double share_of_step(const Job* job) noexcept nogil:
    return job.inputs.shares[job.step - job.inputs.first_step]


cdef void blend(ptrdiff_t n, real share, const real* x, const real* y, real* out) noexcept nogil:
    """out (n,) = share x + (1 - share) y; out may be x or y."""
    cdef ptrdiff_t i
    for i in range(n):
        out[i] = share * x[i] + (1 - share) * y[i]


cdef void change_x(const Job* job, ptrdiff_t rows, ptrdiff_t row0, real* x) noexcept nogil:
    """Mixup, noise and dropout of x (rows, n_in), rows row0.. of the batch; training/inputs.py says
    what they are."""
    cdef ptrdiff_t r, n_in = job.n_in
    cdef real* partner
    cdef fnn_dropout d
    cdef uint64_t float_mode
    if job.inputs.mixed:
        partner = (<real*>job.inputs.partner) + row0 * n_in
        for r in range(rows):
            float_mode = fnn_keep_subnormals()
            dense_row(job, partner_of(job, row0 + r), partner)
            fnn_after_keeping_subnormals(float_mode)
            blend(n_in, <real>share_of_step(job), x + r * n_in, partner, x + r * n_in)
    if job.inputs.noisy:
        d = job.inputs.noise
        d.step = job.step
        add_noise(job.k, rows, n_in, row0, &d, x)
    if job.inputs.drops:
        d = job.inputs.dropout
        d.step = job.step
        dropout_rows(job.k, rows, n_in, row0, &d, x, x)


cdef void mix_targets(const Job* job, ptrdiff_t start, ptrdiff_t rows, ptrdiff_t row0,
                      real* y) noexcept nogil:
    """y (rows, n_out) = the targets of the mixed rows; of labels, probabilities."""
    cdef ptrdiff_t r, own, other, n_out = job.last.n_out
    cdef const real* given = <const real*>job.y
    cdef real share = <real>share_of_step(job)
    for r in range(rows):
        own, other = row_of(job, start + r), partner_of(job, row0 + r)
        if job.labels != NULL:
            memset(y, 0, n_out * sizeof(real))
            y[job.labels[own]] = share
            y[job.labels[other]] += 1 - share
        else:
            blend(n_out, share, given + own * n_out, given + other * n_out, y)
        y += n_out


cdef const real* mix_weights(const Job* job, ptrdiff_t start, ptrdiff_t rows, ptrdiff_t row0,
                             real* weights) noexcept nogil:
    """The sample weights of the mixed rows, or NULL."""
    cdef const real* given = <const real*>job.weights
    cdef real share = <real>share_of_step(job)
    cdef ptrdiff_t r
    if given == NULL:
        return NULL
    for r in range(rows):
        weights[r] = (share * given[row_of(job, start + r)]
                      + (1 - share) * given[partner_of(job, row0 + r)])
    return weights


cdef void make_x(const Job* job, ptrdiff_t start, ptrdiff_t rows, ptrdiff_t row0,
                 real* x) noexcept nogil:
    """x (rows, n_in) = rows start.. of the epoch, which are row0.. of the batch, as the network
    gets them."""
    cdef ptrdiff_t r
    cdef uint64_t float_mode
    if job.inputs.number >= 0:
        # subnormal in one dtype, a normal number in the other
        float_mode = fnn_keep_subnormals()
        for r in range(rows):
            convert_row(job, row_of(job, start + r), x + r * job.n_in)
        fnn_after_keeping_subnormals(float_mode)
    else:
        for r in range(rows):
            dense_row(job, row_of(job, start + r), x + r * job.n_in)
    if job.inputs.changed:
        change_x(job, rows, row0, x)


cdef void gather_x(const Job* job, ptrdiff_t start, ptrdiff_t rows, ptrdiff_t row0,
                   real* tag) noexcept nogil:
    """Make X's rows, or note where each begins."""
    cdef ptrdiff_t r, n_in = job.n_in
    cdef real* copy
    cdef const real* x = <const real*>job.x
    if job.lookup.on:
        return
    copy = (<real*>job.x_copy) + row0 * n_in
    if job.x_gathered:
        make_x(job, start, rows, row0, copy)
    elif job.order == NULL:
        return
    elif job.x_in_place:
        for r in range(rows):
            job.x_rows[row0 + r] = x + job.order[start + r] * n_in
    else:
        for r in range(rows):
            memcpy(copy + r * n_in, x + job.order[start + r] * n_in, n_in * sizeof(real))


cdef bint reads_in_place(const Job* job) noexcept nogil:
    """Whether the rows of X are read through `x_rows`."""
    return job.x_in_place and job.order != NULL and not job.x_gathered


cdef const real* dense_x(const Job* job, ptrdiff_t start, ptrdiff_t row0,
                         const real* tag) noexcept nogil:
    """X (rows, n_in) from row start of the epoch, row0 of the batch; not where it is read in
    place, or by look-ups."""
    if job.order == NULL and not job.x_gathered:
        return (<const real*>job.x) + start * job.n_in
    if job.lookup.on:
        return NULL
    return (<const real*>job.x_copy) + row0 * job.n_in


cdef const real* gather_rows(const Job* job, const real* source, ptrdiff_t width, ptrdiff_t start,
                             ptrdiff_t rows, real* copy) noexcept nogil:
    """Rows of a (n_samples, width) array, in place where they already follow each other."""
    cdef ptrdiff_t r, j
    if source == NULL:
        return NULL
    if job.order == NULL:
        return source + start * width
    for r in range(rows):
        for j in range(width):
            copy[r * width + j] = source[job.order[start + r] * width + j]
    return copy


cdef const int32_t* gather_labels(const Job* job, ptrdiff_t start, ptrdiff_t rows,
                                  int32_t* copy) noexcept nogil:
    cdef ptrdiff_t r
    if job.labels == NULL or job.order == NULL:
        return job.labels + start if job.labels != NULL else NULL
    for r in range(rows):
        copy[r] = job.labels[job.order[start + r]]
    return copy


cdef double sum_weights(const real* weights, ptrdiff_t rows) noexcept nogil:
    cdef double total = 0
    cdef ptrdiff_t r
    if weights == NULL:
        return <double>rows
    for r in range(rows):
        total += weights[r]
    return total
