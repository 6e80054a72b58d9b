"""What a trainer does: epochs, losses and gradients, single steps with a gradient."""

cimport numpy as cnp
from cpython.exc cimport PyErr_CheckSignals
from libc.string cimport memset

from fastnn.core._ops cimport DENSE
from fastnn.core._signals cimport raise_if_stopped, start_watch
from fastnn.core._team cimport FNN_STORE
from fastnn.training._bursts cimport Burst, run_burst
from fastnn.training._data cimport Data
from fastnn.training._job cimport GIVEN, GRADIENT, LOSS, UPDATE, Job, Mode, Op
from fastnn.training._loop cimport run_job, run_shard
from fastnn.training._ops_lookup cimport make_room

import numpy as np

from fastnn.core.threads import blas_callers, shared_threads, team_size
from fastnn.training.inputs import mixing_shares

cnp.import_array()


class Cancelled(Exception):
    """A fit is given up because another one, or who waits for it, has raised."""


cdef class Runs(Data):
    """Runs of the epoch loop over the rows, with what `Trainer` has made."""

    cdef change_inputs(self, rows, bint shuffles):
        """What this run does to its inputs, and the shares of its mixtures."""
        cdef Job* job = &self.job
        job.inputs.changed = job.mode == UPDATE and self.inputs.any
        job.inputs.mixed = job.inputs.changed and self.inputs.mixup > 0
        job.x_gathered = (job.csr_start != NULL or job.inputs.number >= 0
                          or job.inputs.changed)
        # noise, mixup and dropout are drawn for every element: there a batch is made dense
        job.lookup.on = (self.looks_up and job.csr_start != NULL and job.mode != GIVEN
                         and not job.inputs.changed)
        job.lookup.sorts = job.lookup.on and job.mode != LOSS
        job.lookup.skips = job.lookup.sorts and self.lazy
        if job.lookup.sorts:
            self.workspace_nbytes += make_room(
                job, self.entries, self.data, rows, shuffles, self.dtype)
        elif not job.lookup.on and job.mode != GIVEN:
            self.make_copy()
        if job.inputs.mixed:
            job.inputs.first_step = job.step
            shares = mixing_shares(self.inputs.mixup, job.inputs.mix_seed, job.step,
                                   (job.n_rows + job.batch - 1) // job.batch)
            job.inputs.shares = <const double*>self.borrow("shares", shares)

    cdef open_run(self, Mode mode, order, bint shuffles):
        """All but the loop itself: rows, threads, signals."""
        cdef Job* job = &self.job
        job.order = NULL
        job.n_rows = 1 if mode == GIVEN else self.data["n_samples"]
        rows = None
        if order is not None:
            job.order = self.borrow_order(order)
            rows = self.data["order"]
            job.n_rows = rows.size
        elif "rows" in self.data and mode != GIVEN:
            rows = self.data["rows"]
            job.order = <const cnp.npy_intp*>cnp.PyArray_DATA(<cnp.ndarray>rows)
        if job.n_rows == 0:
            raise ValueError("no rows to work on")
        job.mode = mode
        self.change_inputs(rows, shuffles)
        job.loss_sum = job.weight_sum = 0
        job.diverged = False
        threads = self.plan.threads_for(job.n_rows)
        self.team = team_size(shared_threads(threads) if self.shares else threads)
        start_watch(&job.watch, True)
        if self.cancelled:
            FNN_STORE(&job.watch.stopped, 1)

    cdef close_run(self):
        """Raise what has ended the loop early."""
        self.raise_from_python()
        if self.cancelled:
            raise Cancelled("the fit was given up")
        raise_if_stopped(&self.job.watch)

    cdef double run(self, Mode mode, order) except? -1:
        cdef Job* job = &self.job
        self.open_run(mode, order, False)
        if "blas" in self.plan.products:
            with blas_callers(self.team):
                run_job(job, self.is_double, self.team)
        else:
            run_job(job, self.is_double, self.team)
        self.close_run()
        return job.loss_sum

    def cancel(self):
        """Give up what this trainer is doing in another thread, soon, and all that it is asked for
        later: `Cancelled` is raised there."""
        self.cancelled = True
        FNN_STORE(&self.job.watch.stopped, 1)

    cdef raise_from_python(self):
        """What functions of the user have raised, once: the first of it."""
        first = None
        for python in self.python:
            if python.error is not None:
                first, python.error = first or python.error, None
        if first is not None:
            raise first

    cdef set_rates(self, learning_rate, n_rows):
        """One learning rate for all steps of an epoch, or one for each."""
        self.job.rates = NULL
        if not isinstance(learning_rate, np.ndarray):
            self.job.learning_rate = learning_rate
            return
        self.expect(learning_rate, "learning_rate", (-(-n_rows // self.job.batch),),
                    np.dtype(np.float64))
        self.job.rates = <const double*>self.borrow("rates", learning_rate)

    def run_epoch(self, order=None, *, learning_rate, stop_if_diverged=False):
        """Do one optimizer step for each minibatch.

        Parameters
        ----------
        order : intp array or None
            The rows, in this order; None: all rows as they lie.
        learning_rate : float or float64 array (steps of the epoch,)
            One for all steps, or one for each batch, the short one at the end included.
        stop_if_diverged : bool
            End at the first batch whose loss is not finite, before its update, and return it.

        Returns
        -------
        float
            Mean over the rows of the loss of their batch, the L2 term included.

        Raises
        ------
        KeyboardInterrupt
            Between two steps, within some 20 ms or the update of one; parameters are those of
            the last whole step.
        """
        if self.job.hyperparameters == NULL:
            raise ValueError("no optimizer was given")
        self.set_rates(learning_rate, self.data["n_samples"] if order is None else len(order))
        self.job.stop_if_diverged = stop_if_diverged
        total = self.run(UPDATE, order)
        return total if self.job.diverged else total / self.job.n_rows

    @property
    def runs_ahead(self):
        """Whether `run_epochs` can do its epochs: nothing of them needs Python."""
        return not self.python and self.inputs.mixup == 0

    def run_epochs(self, cnp.ndarray losses, cnp.ndarray rates, cnp.ndarray kept, shuffle=None):
        """Do several epochs in one call, as `run_epoch` with ``stop_if_diverged`` does each.

        They end early behind one whose loss is not finite, or after which what is published is
        not. ``epochs_run`` is their number, also where Ctrl-C or `cancel` has ended them.

        Parameters
        ----------
        losses : float64 array (n_epochs,)
            Takes what `run_epoch` returns.
        rates : float64 array (n_epochs,) or (n_epochs, steps of an epoch)
            Learning rates.
        kept : flat array like ``parameters``
            Takes what is published after each epoch but the last one.
        shuffle : (int, int) or None
            Seed, and stream of the first epoch, as `shuffle` takes them; None: the rows as they
            lie.
        """
        cdef Burst burst
        cdef cnp.ndarray order
        cdef bint is_double = self.is_double
        memset(&burst, 0, sizeof(Burst))
        self.epochs_run = 0
        n_epochs = len(losses)
        per_epoch = -(-self.data["n_samples"] // self.job.batch)
        self.expect(losses, "losses", (n_epochs,), np.dtype(np.float64))
        self.expect(rates, "rates", (n_epochs, per_epoch) if rates.ndim == 2 else (n_epochs,),
                    np.dtype(np.float64))
        self.expect(kept, "kept", self.parameters.shape, self.dtype)
        if self.job.hyperparameters == NULL:
            raise ValueError("no optimizer was given")
        self.job.stop_if_diverged = True
        self.open_run(UPDATE, None, shuffle is not None)
        burst.n_epochs, burst.size = n_epochs, self.layout.size
        burst.losses = <double*>cnp.PyArray_DATA(losses)
        burst.rates = <const double*>cnp.PyArray_DATA(rates)
        burst.per_epoch = per_epoch if rates.ndim == 2 else 0
        burst.kept = cnp.PyArray_DATA(kept)
        if self.mean is not None:
            burst.mean = cnp.PyArray_DATA(<cnp.ndarray>self.mean)
        if shuffle is not None:
            order = self.room_for_order()
            burst.key, burst.stream = shuffle
            burst.order = <cnp.npy_intp*>cnp.PyArray_DATA(order)
            burst.rows, self.job.order = self.job.order, burst.order
        if "blas" in self.plan.products:
            with blas_callers(self.team):
                with nogil:
                    self.epochs_run = run_burst(&self.job, &burst, is_double, self.team)
        else:
            with nogil:
                self.epochs_run = run_burst(&self.job, &burst, is_double, self.team)
        self.job.rates = NULL
        self.close_run()

    def loss_and_grad(self, grad=None, rows=None):
        """Return the loss at the current parameters, L2 included, without dropout.

        Parameters
        ----------
        grad : flat array like ``parameters``, or None
            Takes the gradient.
        rows : intp array or None
            The rows to take; None for all.

        Returns
        -------
        float
        """
        cdef Job* job = &self.job
        job.stop_if_diverged = False
        if grad is not None:
            self.expect(grad, "grad", self.parameters.shape, self.dtype)
            grad[:] = 0
            job.gradient = cnp.PyArray_DATA(grad)
        total = self.run(LOSS if grad is None else GRADIENT, rows)
        weight = job.weight_sum
        if grad is not None:
            grad /= self.dtype.type(job.reduction * weight)
        return (total / job.loss_reduction + self.penalty(grad, weight)) / weight

    cdef penalty(self, grad, weight):
        """The penalties of all weights; their gradient is added to ``grad``, unless None."""
        total = 0.0
        slopes = (None,) * len(self.weights)
        if grad is not None:
            slopes, _ = self.layout.weights_and_biases(grad)
        for (l2, l1), w, slope in zip(self.wishes.penalties, self.weights, slopes, strict=True):
            if l2:
                # no np.dot: that is a BLAS with threads of its own, see csrc/blas_gate.h
                total += 0.5 * l2 * float(np.square(w, dtype=np.float64).sum())
                if slope is not None:
                    slope += self.dtype.type(l2 / weight) * w
            if l1:
                total += l1 * float(np.abs(w).sum(dtype=np.float64))
                if slope is not None:
                    slope += self.dtype.type(l1 / weight) * np.sign(w)
        return total

    def apply(self, gradient, *, learning_rate):
        """Do one step of the optimizer with a gradient, such as `loss_and_grad` gives it.

        Parameters
        ----------
        gradient : flat array like ``parameters``
        learning_rate : float
        """
        self.expect(gradient, "gradient", self.parameters.shape, self.dtype)
        if self.job.hyperparameters == NULL:
            raise ValueError("no optimizer was given")
        self.set_rates(float(learning_rate), 1)
        self.job.given = cnp.PyArray_DATA(gradient)
        self.run(GIVEN, None)

    def deltas(self, ops=None):
        """Return the gradient of the mean loss with respect to z of some operations: list of
        (n_samples, n_out). None: of each dense one."""
        cdef int i
        if self.job.members > 1:
            raise ValueError(f"deltas are those of a single network; this one has members="
                             f"{self.job.members}")
        if ops is None:
            ops = []
            for i in range(self.job.n_ops):
                if self.job.ops[i].kind == DENSE:
                    ops.append(i)
        return self.deltas_of(ops)

    def output_deltas(self):
        """Return that of the raw outputs of all members, (n_samples, members * n_out), where
        BatchNorm takes its running averages, as in predictions."""
        cdef int i
        fixed = []
        for i in range(self.job.n_ops):
            fixed.append(self.job.ops[i].fixed)
            self.job.ops[i].fixed = True
        try:
            return self.deltas_of([self.job.n_ops - 1])[0]
        finally:
            for i in range(self.job.n_ops):
                self.job.ops[i].fixed = fixed[i]

    cdef deltas_of(self, ops):
        cdef Job* job = &self.job
        cdef ptrdiff_t start, rows, n_rows = self.data["n_samples"]
        cdef double weight = 0
        cdef Op* op
        self.run(LOSS, None)  # brings W' up to date
        job.mode = GRADIENT
        scratch = self.scratch[0]
        found = []
        for i in ops:
            op = &job.ops[<int>i]
            found.append(np.empty((n_rows, op.members * op.n_out), self.dtype))
        for start in range(0, n_rows, job.shard_rows):
            rows = min(job.shard_rows, n_rows - start)
            if self.is_double:
                run_shard[double](job, 0, 0, start, rows, <double*>job.scratch, NULL)
            else:
                run_shard[float](job, 0, 0, start, rows, <float*>job.scratch, NULL)
            self.raise_from_python()
            weight += job.shard_weight[0]
            for i, out in zip(ops, found, strict=True):
                op = &job.ops[<int>i]
                dz = scratch[op.dz:]
                if job.feature_major:
                    lanes = 1 if rows == 1 else job.lanes  # see _one_row
                    dz = dz[:op.n_out * lanes].reshape(op.n_out, lanes)[:, :rows].T
                else:
                    count = rows * op.members
                    dz = dz[:count * op.ld].reshape(count, -1)[:, :op.n_out].reshape(rows, -1)
                out[start:start + rows] = dz
            PyErr_CheckSignals()
        for out in found:
            out /= self.dtype.type(job.reduction * weight)
        return found

    @property
    def published(self):
        """What to predict with: the parameters, or their average where the optimizer takes one."""
        return self.parameters if self.mean is None or self.job.step == 0 else self.mean

    @property
    def step(self):
        """Optimizer steps done so far."""
        return self.job.step

    def set_state(self, states, step):
        """Go on from saved state: flat vectors like ``optimizer_state``, and ``step``."""
        for own, saved in zip(self.optimizer_state, states, strict=True):
            own[:] = saved
        self.job.step = step
