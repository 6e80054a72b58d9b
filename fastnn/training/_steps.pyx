"""Single steps: one batch, one update, with next to nothing around it.

`Stepper` runs a step of a `Trainer` in the calling thread; `Steps`, what `MLP.steps` returns,
checks its batches in compiled code where they are arrays as the loop reads them, and by the checks
of `MLP.fit` where they are not.
"""

cimport cython
cimport numpy as cnp
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.math cimport isfinite
from libc.stdint cimport int32_t, int64_t

from fastnn.core._arrays cimport are_finite
from fastnn.core._kernels cimport real
from fastnn.core._signals cimport raise_if_stopped, start_watch
from fastnn.training._job cimport UPDATE, Job
from fastnn.training._loop cimport run_alone

import numpy as np

from fastnn.core import validation
from fastnn.core.codes import is_codes
from fastnn.core.notices import warn
from fastnn.core.threads import refuse_in_fit, single_threaded_blas
from fastnn.network.growing import grown_vector
from fastnn.training.history import DivergenceWarning
from fastnn.training.optimizers import EMA, trainer_of

cnp.import_array()

# Work of a step from which on it runs without the GIL and looks for Ctrl-C: some 0.2 ms. A shorter
# one keeps it, as other threads that compute in Python would give it back after 5 ms only.
cdef double LONG_FLOPS = 4e6
cdef enum:
    UPDATE_FLOPS = 20            # about so many for the update of one parameter

cdef enum Targets:
    LABELS                       # class numbers for the kernel
    REAL                         # any finite numbers
    UNIT                         # in [0, 1]
    NONNEGATIVE
    POSITIVE

TARGETS = {"unit": UNIT, "nonnegative": NONNEGATIVE, "positive": POSITIVE}


cdef class Stepper:
    """Steps of a trainer on batches that are given to it one at a time.

    Parameters
    ----------
    trainer : Trainer
        With an optimizer.
    stop_if_diverged : bool
        Whether a step whose loss is not finite is left out.
    """

    cdef readonly object trainer
    cdef Job* job
    cdef bint is_double
    cdef bint plain              # whether a step needs nothing of Python
    cdef bint stale              # whether the job still points into a sparse matrix
    cdef bint busy
    cdef bint stops
    cdef bint takes_labels       # whether the loss reads class numbers
    cdef int type_num
    cdef ptrdiff_t n_in, n_out, batch
    cdef double row_flops, step_flops

    def __init__(self, trainer, stop_if_diverged=True):
        self.stops = stop_if_diverged
        self.use(trainer)

    cdef use(self, trainer):
        """Take steps of this trainer from now on."""
        plan = trainer.plan
        self.job = <Job*>PyCapsule_GetPointer(trainer.job_pointer(), "fastnn.Job")
        self.trainer = trainer
        self.is_double = trainer.dtype == np.float64
        self.type_num = cnp.NPY_DOUBLE if self.is_double else cnp.NPY_FLOAT
        self.n_in, self.n_out = trainer.spec.n_in, trainer.spec.n_out
        self.batch = plan.batch
        self.takes_labels = trainer.info.labels == "rows"
        self.plain = ("blas" not in plan.products and not trainer.inputs.any
                      and not trainer.info.is_custom and not trainer.spec.custom_activations)
        self.stale = False
        self.row_flops = plan.row_flops
        self.step_flops = UPDATE_FLOPS * trainer.layout.n_parameters
        # copies of W are made when a step begins, as others may write into the parameters
        self.job.renews_copies = False

    cdef bint is_ready(self, X):
        """Whether X is an array (n_samples, n_in) as the loop reads it, of rows that the workspace
        has room for; its values are not looked at."""
        if type(X) is not np.ndarray:
            return False
        cdef cnp.ndarray x = X
        return (x.ndim == 2 and x.descr.type_num == self.type_num and x.shape[1] == self.n_in
                and 0 < x.shape[0] <= self.batch and cnp.PyArray_ISCARRAY_RO(x))

    cdef bint is_finite(self, cnp.ndarray x):
        if self.is_double:
            return are_finite[double](<const double*>cnp.PyArray_DATA(x), x.size)
        return are_finite[float](<const float*>cnp.PyArray_DATA(x), x.size)

    cdef double do_step(self, cnp.ndarray X, const void* y, const int32_t* labels,
                        const void* weights, double rate) except? -1:
        """Do a step on rows that have been checked, and return their loss."""
        cdef Job* job = self.job
        cdef bint is_double = self.is_double
        cdef bint is_long = X.shape[0] * self.row_flops + self.step_flops > LONG_FLOPS
        job.x, job.y, job.labels, job.weights = cnp.PyArray_DATA(X), y, labels, weights
        job.n_rows = X.shape[0]
        job.order = NULL
        job.mode = UPDATE
        job.loss_sum = job.weight_sum = 0
        job.diverged = False
        job.stop_if_diverged = self.stops
        job.rates = NULL
        job.learning_rate = rate
        start_watch(&job.watch, is_long)
        if is_long:
            with nogil:
                run_alone(job, is_double)
            raise_if_stopped(&job.watch)
        else:
            run_alone(job, is_double)
        return job.loss_sum if job.diverged else job.loss_sum / job.n_rows

    cdef double long_step(self, X, y, weight, double rate) except? -1:
        """The same for whatever `Trainer.set_data` takes, and with functions in Python or BLAS."""
        cdef double loss = 0
        self.stale = True  # where it fails the job may point anywhere
        with single_threaded_blas():
            self.trainer.set_data(X, y, weight)
            loss = self.trainer.run_epoch(learning_rate=rate, stop_if_diverged=self.stops)
        self.stale = not isinstance(X, np.ndarray)
        return loss

    def run(self, X, y, weight, double rate):
        """Do a step on a batch as `Trainer.set_data` takes it, and return its loss."""
        if not (isfinite(rate) and rate >= 0):
            raise ValueError(f"rate={rate} must be finite and >= 0")
        if self.busy:
            raise RuntimeError("these steps are being taken by another thread, or around this call")
        self.busy = True
        try:
            return self.take(X, y, weight, rate)
        finally:
            self.busy = False

    cdef take(self, X, y, weight, double rate):
        cdef ptrdiff_t rows
        if not self.plain or self.stale or not self.is_ready(X):
            return self.long_step(X, y, weight, rate)
        rows = (<cnp.ndarray>X).shape[0]
        if not (self.takes_labels and self.are_labels(y, rows) or self.are_values(y, rows)) or not (
                weight is None or self.are_weights(weight, rows)):
            return self.long_step(X, y, weight, rate)  # it says what is wrong
        if y.ndim == 1:
            return self.do_step(X, NULL, <const int32_t*>address(y), address(weight), rate)
        return self.do_step(X, address(y), NULL, address(weight), rate)

    cdef bint are_labels(self, y, ptrdiff_t rows):
        """Whether y is int32 labels (rows,) in 0..n_out - 1."""
        if type(y) is not np.ndarray:
            return False
        cdef cnp.ndarray labels = y
        cdef const int32_t* values
        if (labels.ndim != 1 or labels.descr.type_num != cnp.NPY_INT32 or labels.shape[0] != rows
                or not cnp.PyArray_ISCARRAY_RO(labels)):
            return False
        values = <const int32_t*>cnp.PyArray_DATA(labels)
        for i in range(rows):
            if not 0 <= values[i] < self.n_out:
                return False
        return True

    cdef bint are_values(self, y, ptrdiff_t rows):
        """Whether y is an array (rows, n_out) of the dtype."""
        if type(y) is not np.ndarray:
            return False
        cdef cnp.ndarray values = y
        return (values.ndim == 2 and values.descr.type_num == self.type_num
                and values.shape[0] == rows and values.shape[1] == self.n_out
                and cnp.PyArray_ISCARRAY_RO(values))

    cdef bint are_weights(self, weight, ptrdiff_t rows):
        """Whether it is an array (rows,) of the dtype."""
        if type(weight) is not np.ndarray:
            return False
        cdef cnp.ndarray values = weight
        return (values.ndim == 1 and values.descr.type_num == self.type_num
                and values.shape[0] == rows and cnp.PyArray_ISCARRAY_RO(values))


cdef const void* address(array):
    return NULL if array is None else cnp.PyArray_DATA(<cnp.ndarray>array)


cdef bint are_within(const real* y, ptrdiff_t count, Targets targets) noexcept nogil:
    """Whether numbers are targets that a loss takes."""
    cdef ptrdiff_t i
    if targets == UNIT:
        for i in range(count):
            if not 0 <= y[i] <= 1:
                return False
    elif targets == NONNEGATIVE:
        for i in range(count):
            if not y[i] >= 0:
                return False
    elif targets == POSITIVE:
        for i in range(count):
            if not y[i] > 0:
                return False
    return True


@cython.final
cdef class Steps(Stepper):
    """Single steps of a network's training, made by `MLP.steps`: ``loss = steps(X, y)``.

    The state of the optimizer lives here, the parameters in the network: its flat vector is the one
    that the steps work on, so that predictions see each step at once. What is done to the network
    between two steps, by `MLP.set_weights`, `MLP.fit` or in place, the next one goes on from.

    Steps are taken in the calling thread, one at a time. Who predicts in another thread meanwhile
    may see a step half done; a copy of the network does not change.

    They cannot be pickled or copied: pickle the network, and take steps of that.

    Attributes
    ----------
    net : MLP
    optimizer : Optimizer
    loss : str
        Name of the loss.
    step : int
        How many there have been.
    learning_rate : float
        Of the next step. A number may be set; it then stays, whatever schedule the optimizer has.
    batch_size : int
        Rows that there is room for; a larger batch makes room for as many.

    Examples
    --------
    >>> import fastnn, numpy as np
    >>> net = fastnn.MLP((3, 8, 1), random_state=0)
    >>> steps = net.steps(fastnn.Adam(0.01))
    >>> rng = np.random.default_rng(0)
    >>> losses = []
    >>> for _ in range(500):
    ...     x = rng.normal(size=(1, 3)).astype("float32")
    ...     losses.append(steps(x, x.sum(axis=1, keepdims=True)))
    >>> bool(np.mean(losses[-50:]) < 0.1 * np.mean(losses[:50])), steps.step
    (True, 500)
    """

    cdef readonly object net, optimizer
    cdef object info, settings, snapshot, layout, schedule
    cdef object labels           # int32 (batch,)
    cdef bint is_column, averages
    cdef Targets targets
    cdef double rate

    def __init__(self, net, info, optimizer, settings, batch_size, schedule):
        if self.trainer is not None:  # a step may be under way that points into what it has
            raise RuntimeError("these steps are made already: net.steps(...) makes others")
        self.net, self.optimizer, self.settings = net, optimizer, settings
        self.schedule = schedule
        self.rate = optimizer.learning_rate if schedule is None else 0
        self.stops = True
        self.start(net._snapshot, net._snapshot.parameters, info, batch_size)
        self.publish(net._epochs_done + 1)  # for a fit to come: with other random numbers

    cdef start(self, snapshot, parameters, info, ptrdiff_t batch_size):
        """Make room for so many rows, and go on from these parameters; the network may have grown.
        """
        old, states = self.trainer, []
        trainer = trainer_of(self.optimizer)(
            snapshot.layout.spec, info, optimizer=self.optimizer, batch_size=batch_size,
            n_threads=1, gemm=self.net.gemm, **self.settings)
        trainer.parameters[:] = parameters
        if old is not None:
            for state in old.optimizer_state:
                states.append(grown_vector(self.layout, snapshot.layout, state))
            trainer.set_state(states, old.step)
        self.info = info
        self.targets = TARGETS.get(info.targets, REAL)
        self.is_column = info.n_targets == 1
        self.labels = np.empty(batch_size, np.int32)
        self.layout = snapshot.layout
        self.use(trainer)
        self.stale = "adds" in self.settings  # an array is refused by name then
        self.averages = isinstance(self.optimizer, EMA)

    cdef publish(self, epochs_done):
        """Let the network have the vector that the steps work on."""
        self.snapshot = self.net._publish(self.trainer.published, epochs_done)

    cdef adopt(self, ptrdiff_t rows):
        """Make room for more rows, and go on from the network's parameters where somebody has set
        others."""
        given = self.net._snapshot
        changed = given is not self.snapshot
        grown = given.layout is not self.layout
        if grown and "adds" in self.settings:  # until codes of the new columns come
            adds, n_in = self.settings["adds"], given.layout.spec.n_in
            self.settings["adds"] = np.append(adds, np.zeros(max(0, n_in - len(adds)), np.uint8))
        if rows > self.batch or grown:
            self.start(given, self.left(given) if changed else self.trainer.parameters,
                       self.net._bound(self.info.loss) if grown else self.info,
                       max(rows, self.batch))
        elif changed:
            self.trainer.parameters[:] = given.parameters
        if self.averages and changed and self.trainer.step:
            self.trainer.published[:] = given.parameters
        self.publish(given.epochs_done)

    cdef left(self, given):
        """Return the parameters to go on from: those given, or, where the network has only grown,
        those beside the average that it has."""
        if not self.averages or given.layout is self.layout:
            return given.parameters
        mine = grown_vector(self.layout, given.layout, self.trainer.published, given.parameters)
        if not np.array_equal(mine, given.parameters):
            return given.parameters
        return grown_vector(self.layout, given.layout, self.trainer.parameters, given.parameters)

    cdef read_codes(self, X):
        """Take codes of the encoder of these from now on: of the first, or of one with further
        columns. The parameters are those of the dense encoding, whatever encoder there is."""
        settings = self.settings
        self.settings = {**settings, "sparse": True, "adds": X.adds}
        try:
            self.start(self.snapshot, self.trainer.parameters, self.info,
                       max(<ptrdiff_t>X.shape[0], self.batch))
        except BaseException:
            self.settings = settings
            raise
        self.publish(self.net._epochs_done)

    def __call__(self, X, y, sample_weight=None):
        """Do a step on one batch.

        Parameters
        ----------
        X : array-like, sparse matrix or `Codes` (n_samples, n_in)
            Codes in all steps, or in none: of one encoder or, where the network has grown, of one
            with further columns behind those of before.
        y : array-like (n_samples, n_out), or (n_samples,)
            As for `MLP.fit`.
        sample_weight : array-like (n_samples,) or None, default=None

        Returns
        -------
        float
            Mean loss of the batch before the step, the penalties included.

        Raises
        ------
        ValueError, TypeError
            As `MLP.fit` does.
        RuntimeError
            While another thread takes one of these steps, or fits the network; when the network is
            changed within the step.
        KeyboardInterrupt
            On Ctrl-C; the step is then done, or not begun.

        Warns
        -----
        DivergenceWarning
            When the loss is not finite; the step is then left out, but where its penalties alone
            are not.
        """
        cdef double loss
        if self.busy:
            raise RuntimeError("these steps are being taken by another thread, or around this call")
        refuse_in_fit(self.net)
        self.busy = True
        try:
            loss = self.take_batch(X, y, sample_weight)
            if self.averages and self.snapshot.parameters is not self.trainer.published:
                self.publish(self.net._epochs_done)
        finally:
            self.busy = False
        if not isfinite(loss):
            if self.job.diverged:
                warn(f"step {self.trainer.step} has diverged (loss {loss:g}) and is left out. A "
                     "smaller learning rate or scaled inputs help.", DivergenceWarning)
            else:  # penalties are added up while the parameters are updated
                warn(f"the penalties of step {self.trainer.step} are beyond any number (loss "
                     f"{loss:g}), and the step is done. A smaller alpha or l1 helps.",
                     DivergenceWarning)
        return loss

    cdef double take_batch(self, X, y, weight) except? -1:
        cdef ptrdiff_t rows
        cdef double rate = self.rate if self.schedule is None else self.learning_rate
        if self.net._snapshot is not self.snapshot:
            self.adopt(0)
        if self.plain and not self.stale and weight is None and self.is_ready(X):
            rows = (<cnp.ndarray>X).shape[0]
            if self.is_finite(X):
                if self.takes_labels and self.copies_labels(y, rows):
                    return self.do_step(X, NULL, <const int32_t*>address(self.labels), NULL, rate)
                if self.are_good_values(y, rows):
                    return self.do_step(X, address(y), NULL, NULL, rate)
        X, y, weight = self.net._check_data(X, y, weight, self.info, in_place=False)
        self.refuse_changes()
        if is_codes(X):
            adds = self.settings.get("adds")
            if X.adds is not adds and not np.array_equal(X.adds, adds):
                self.read_codes(X)
        if X.shape[0] > self.batch:
            self.adopt(X.shape[0])
        cdef double loss = self.take(X, y, weight, rate)
        self.refuse_changes()
        return loss

    cdef int refuse_changes(self) except -1:
        """Raise where code that a step has called has grown the network or set its weights: the
        step would be lost without a word."""
        if self.net._snapshot is not self.snapshot:
            raise RuntimeError("the network has been changed within this step, by what its data or "
                               "its loss called: the change holds, the step is not done")
        return 0

    cdef bint copies_labels(self, y, ptrdiff_t rows):
        """Take labels (rows,) of 64 or 32 bits that are good; a copy, which nobody else changes."""
        if type(y) is not np.ndarray:
            return False
        cdef cnp.ndarray labels = y
        cdef int32_t* own = <int32_t*>address(self.labels)
        cdef const void* given = cnp.PyArray_DATA(labels)
        cdef int64_t label
        cdef int kind = labels.descr.type_num
        if (labels.ndim != 1 or labels.shape[0] != rows or not cnp.PyArray_ISCARRAY_RO(labels)
                or kind not in (cnp.NPY_INT32, cnp.NPY_INT64)):
            return False
        for i in range(rows):
            label = (<const int64_t*>given)[i] if kind == cnp.NPY_INT64 else (
                <const int32_t*>given)[i]
            if not 0 <= label < self.n_out:
                return False
            own[i] = <int32_t>label
        return True

    cdef bint are_good_values(self, y, ptrdiff_t rows):
        """Whether y is targets (rows, n_out), or (rows,) of one output, of the dtype, which the
        loss can take."""
        cdef cnp.ndarray values
        if self.is_column and self.n_out == 1 and self.are_weights(y, rows):
            values = y
        elif self.info.n_targets == self.n_out and self.are_values(y, rows):
            values = y
        else:
            return False
        if not self.is_finite(values):
            return False
        if self.is_double:
            return are_within[double](<const double*>cnp.PyArray_DATA(values), values.size,
                                      self.targets)
        return are_within[float](<const float*>cnp.PyArray_DATA(values), values.size, self.targets)

    @property
    def step(self):
        """How many steps there have been."""
        return self.trainer.step

    @property
    def loss(self):
        """Name of the loss."""
        return self.info.name

    @property
    def batch_size(self):
        """Rows that there is room for."""
        return self.batch

    @property
    def learning_rate(self):
        """Learning rate of the next step."""
        if self.schedule is None:
            return self.rate
        return float(self.schedule.between(self.trainer.step, 1)[0])

    @learning_rate.setter
    def learning_rate(self, value):
        self.rate = validation.check_positive("learning_rate", value)
        self.schedule = None

    def __repr__(self):
        return (f"<Steps of {self.net!r}: {self.optimizer!r}, loss {self.loss!r}, {self.step} "
                "done>")

    def __reduce__(self):
        raise TypeError("Steps cannot be pickled or copied: pickle the network, and take steps of "
                        "that")
