"""What `MLP` says of its training: fits, single steps, losses and gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.core import validation
from fastnn.core.arrays import is_sparse
from fastnn.core.codes import is_codes
from fastnn.core.imports import imported
from fastnn.core.notices import suggests
from fastnn.core.rows import check_targets, check_training_rows, check_weights
from fastnn.core.threads import single_threaded_blas

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from typing_extensions import Self

    from fastnn.core.types import Array, ArrayLike, Batches, File, Metrics, Rows
    from fastnn.training._steps import Steps
    from fastnn.training.epochs import Callback
    from fastnn.training.history import History
    from fastnn.training.losses import Loss
    from fastnn.training.optimizer_base import Optimizer, WholeFit
    from fastnn.training.plan import TrainingPlan

__all__ = ["FULL_BATCH_ROWS", "TRAINING", "Learning"]

# what the first fit imports; each of them complete before any is used
TRAINING = ("numpy.random", "fastnn.training.bound_losses", "fastnn.training._trainer",
            "fastnn.training.fitting")
FULL_BATCH_ROWS = 1024  # rows per pass through the workspace in a loss or gradient over all rows


class Learning:
    """The methods of `MLP` that train it, or say how far it is from its targets."""

    if TYPE_CHECKING:  # what `MLP` has
        dtype: Any
        gemm: Any
        output: Any
        parameters: Any
        sizes: Any
        spec: Any
        _history: Any
        _layout: Any
        _n_threads: int | None
        _seed: Any
        _threads: int

    @suggests
    def fit(self, X: Rows, y: ArrayLike, *, loss: str | Loss | None = None,
            optimizer: str | Optimizer | WholeFit | None = None, epochs: int = 10,
            batch_size: int = 128, shuffle: bool = True, sample_weight: ArrayLike | None = None,
            alpha: float = 0.0, l1: float = 0.0, max_norm: float | None = None,
            clip_norm: float | None = None, clip_value: float | None = None,
            input_dropout: float = 0.0, input_noise: float = 0.0, mixup: float = 0.0,
            validation_data: tuple[Rows, ArrayLike] | None = None, metrics: Metrics | None = None,
            callback: Callable[[int, Self, History], object] | None = None,
            callbacks: Sequence[Callback] | None = None, max_time: float | None = None,
            max_steps: int | None = None, progress: bool | None = None,
            checkpoint: File | None = None, checkpoint_seconds: float = 10.0) -> History:
        """Train on minibatches, from the current parameters on.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_in)
            Used as it is when it is a row-major array of the network's dtype: values that change
            meanwhile change the fit. So is an array of another type of number, or with other
            strides, that is mapped from a file (`numpy.memmap`) or whose copy would take more than
            64 MiB: its rows are converted batch by batch, to the same result. Else it is copied.
            Labels, and the indices of a sparse matrix, are copied in any case.
        y : array-like (n_samples, n_out), or (n_samples,)
            Targets; for cross_entropy and focal integer labels (n_samples,) or one row of
            probabilities each, for the hinges of several outputs labels or zeros and ones. Several
            quantiles take one column for all, gaussian_nll takes a column for two outputs.
        loss : str, Loss or None, default=None
            One of `fastnn.losses`, such as ``Huber(delta=2.0)``, or its name for its defaults:
            squared_error, absolute_error, huber, log_cosh, quantile, gaussian_nll; poisson, gamma,
            tweedie (output exp); cross_entropy, focal (softmax); binary_cross_entropy, focal
            (sigmoid); hinge, squared_hinge (identity, step); perceptron (step). None: the one that
            goes with the output.
        optimizer : Optimizer, `fastnn.LBFGS` or str, default=Adam()
            Starts fresh. With L-BFGS epochs, batch_size and shuffle mean nothing. A name is that of
            an optimizer with its defaults: sgd, adam, adamw, rmsprop, adagrad, adadelta, adamax,
            nadam, rprop, lion, muon.
        epochs : int, default=10
            How often to go through the rows.
        batch_size : int, default=128
            Clipped to the number of rows; the last batch may be shorter.
        shuffle : bool, default=True
            A new order of the rows each epoch.
        sample_weight : array-like (n_samples,) or None, default=None
            Weights of the rows; None: 1 each.
        alpha : float, default=0.0
            L2 penalty alpha / 2 · |W|² divided by the sum of the batch's sample weights, biases
            left out, as in scikit-learn.
        l1 : float, default=0.0
            L1 penalty l1 · |W|₁, divided by the same as that of alpha, biases left out; its
            subgradient is sign(w), 0 at 0. ``alpha``, ``l1`` and ``max_norm`` of a layer may be
            given as ``layers`` of the optimizer.
        max_norm : float or None, default=None
            After each step the incoming weights of a unit, a column of W, are scaled down to this
            norm where they are longer (Srivastava et al. 2014).
        clip_norm : float or None, default=None
            The gradient of a step, penalties included, is scaled down to this norm over all
            parameters where it is longer: g · min(1, clip_norm / (|g| + 1e-6)) (Pascanu, Mikolov &
            Bengio 2013; PyTorch's ``clip_grad_norm_``).
        clip_value : float or None, default=None
            Each element of the gradient is cut off at ±clip_value, before clip_norm.
        input_dropout : float in [0, 1), default=0.0
            Rate at which inputs are set to 0 in training, the rest being scaled by 1 / (1 - rate)
            (Srivastava et al. 2014). As for the next two: what is fed is changed in the steps of
            training alone, on its way into the batch, and anew in each step.
        input_noise : float >= 0, default=0.0
            Standard deviation of the Gaussian noise that is added to each input (Bishop 1995).
        mixup : float >= 0, default=0.0
            Alpha of mixup (Zhang et al. 2018); 0: none. Each step draws a share s from
            Beta(alpha, alpha) and a permutation of its batch, and trains on s x + (1 - s) x' with
            targets s y + (1 - s) y', and so sample weights; labels become probabilities.
        validation_data : (X, y) or None, default=None
            Fills ``history.val_loss``.
        metrics : sequence of str or callable, or dict, default=None
            Taken on the validation data after each epoch, into ``history["val_<name>"]``: names of
            scikit-learn's scorers ("accuracy"), and functions of (y, output), where y is
            (n_samples,) int32 labels or (n_samples, n_out) targets, and the output
            (n_samples, n_out). A dict gives names to them.
        callback : callable or None, default=None
            Called after each epoch as callback(epoch, net, history), the epoch from 0; training
            ends when it raises `fastnn.StopFit`. What it returns means nothing.
        callbacks : sequence of `fastnn.Callback`, default=None
            Called before the first epoch, after each, and at the end, in their order, before
            ``callback``: `fastnn.EarlyStopping`, `fastnn.ReduceOnPlateau`, ...
        max_time : float or None, default=None
            Seconds after which no other epoch begins.
        max_steps : int or None, default=None
            Most steps (batches) of the fit; the last epoch may be cut short.
        progress : bool or None, default=None
            Whether to show how far the fit is, on standard error, by tqdm where it is installed.
            None: where that is a terminal or a notebook, once the fit has taken two seconds.
        checkpoint : str, path or None, default=None
            File that keeps where the fit stands after an epoch and at its end. Where it is there
            already, the fit goes on from it, to the same bytes as if it had never stopped; a fit
            that has come to its end is not run again, unless ``epochs`` is larger now; one that a
            callback has ended stays so. Callbacks are not called for epochs of before. The
            network must be made as for the first call, or be the one that this fit has trained.
            Each fit needs a file of its own; delete it to start anew.
        checkpoint_seconds : float, default=10.0
            Time between two writes of the file at least; 0: after every epoch.

        Returns
        -------
        History
            Also ``net.history``, which is there after Ctrl-C and errors too.

        Raises
        ------
        ValueError, TypeError
            On a wrong argument; on a metric that fails, with its name and the epoch.
        ModelFormatError
            When the checkpoint is damaged, or one of a fit with other arguments or data.
        OSError
            When the checkpoint cannot be written; the parameters are those of the last epoch.
        RuntimeError
            While the network is being fitted in another thread, or in a callback of its own fit.
        KeyboardInterrupt
            On Ctrl-C; the parameters are then those of the last whole step.

        Warns
        -----
        DivergenceWarning
            When a loss or a parameter is not finite; the parameters are then those after the last
            finite epoch, and training ends.
        """
        self._import_training()
        return imported("fastnn.training.fitting").fit(
            self, X, y, loss=loss, optimizer=optimizer, epochs=epochs, batch_size=batch_size,
            shuffle=shuffle, sample_weight=sample_weight, alpha=alpha,
            penalties=(l1, clip_norm, clip_value, max_norm),
            inputs=(input_dropout, input_noise, mixup),
            validation_data=validation_data, metrics=metrics, callback=callback,
            callbacks=callbacks, max_time=max_time, max_steps=max_steps, progress=progress,
            checkpoint=checkpoint, checkpoint_seconds=checkpoint_seconds)

    @property
    def history(self) -> History | None:
        """The `History` of the last fit of this object, also of one that Ctrl-C or an error has
        ended; None before. Copies and files do not hold it.
        """
        return self._history

    @suggests
    def fit_batches(self, source: Batches, *, loss: str | Loss | None = None,
                    optimizer: str | Optimizer | None = None, epochs: int = 1,
                    batch_size: int | None = None, shuffle: bool = False, alpha: float = 0.0,
                    l1: float = 0.0, max_norm: float | None = None, clip_norm: float | None = None,
                    clip_value: float | None = None, input_dropout: float = 0.0,
                    input_noise: float = 0.0, mixup: float = 0.0,
                    validation_data: tuple[Rows, ArrayLike] | None = None,
                    metrics: Metrics | None = None,
                    callback: Callable[[int, Self, History], object] | None = None,
                    callbacks: Sequence[Callback] | None = None, max_time: float | None = None,
                    max_steps: int | None = None, steps_per_epoch: int | None = None,
                    progress: bool | None = None, checkpoint: File | None = None,
                    checkpoint_seconds: float = 10.0) -> History:
        """Train on batches that come one after the other, from the current parameters on.

        The next batches are read and checked in another thread while one trains: the source runs
        there. `fastnn.sources` reads Parquet files and folders of ``.npy`` files.

        Parameters
        ----------
        source : iterable or callable
            Gives the batches of an epoch, each (X, y) or (X, y, sample_weight) as `fit` takes them.
            A list, or another object that can be iterated over again, serves all epochs; an
            iterator or a generator one. A function is called for each epoch, with its number from 0
            where it takes an argument, and returns an iterable.
        loss : str, Loss or None, default=None
            As for `fit`.
        optimizer : Optimizer or str, default=Adam()
            As for `fit`; not `fastnn.LBFGS`, which needs all rows. A schedule by step needs
            ``steps_per_epoch``, unless the number of the step says all, as for
            `fastnn.schedules.ByStep`.
        epochs : int, default=1
            How often to go through the source.
        batch_size : int or None, default=None
            None: each batch of the source is one step. Else it is cut into batches of so many rows,
            of which the last one may be shorter.
        shuffle : bool, default=False
            Whether the rows of each batch of the source get a random order.
        alpha, l1, max_norm, clip_norm, clip_value, input_dropout, input_noise, mixup : see `fit`
            As for `fit`.
        validation_data, metrics, callback, callbacks, max_time : see `fit`
            As for `fit`.
        max_steps : int or None, default=None
            Most steps of the fit; the last epoch may be cut short.
        steps_per_epoch : int or None, default=None
            Most steps of an epoch: it ends after so many, though the source has more. Schedules
            take it for the number of steps that all epochs have.
        progress : bool or None, default=None
            As for `fit`.
        checkpoint : str, path or None, default=None
            As for `fit`: file that keeps where the fit stands at whole epochs, from which the same
            call goes on, to the same bytes. The source must be one that can be begun anew, and give
            the same batches for an epoch whenever that is asked for: it is not compared with that
            of before, nor is it asked for the epochs that are done.
        checkpoint_seconds : float, default=10.0
            Time between two writes of the file at least.

        Returns
        -------
        History
            One entry for each epoch: the mean over its rows of the loss of their step. Also
            ``net.history``.

        Raises
        ------
        ValueError, TypeError
            On a wrong argument; when a batch is none or does not fit, with its number, from 0; when
            the source gives no batch at all.
        ModelFormatError
            When the checkpoint is damaged, or one of a fit with other settings.
        OSError
            When the checkpoint cannot be written.
        Exception
            What the source raises. As after a wrong batch, the parameters are those after the last
            whole epoch.
        RuntimeError
            While the network is being fitted in another thread, or in a callback of its own fit.
        KeyboardInterrupt
            On Ctrl-C; the parameters are then those of the last whole step.

        Warns
        -----
        DivergenceWarning
            As for `fit`.
        """
        self._import_training()
        return imported("fastnn.training.batches").fit_batches(
            self, source, loss=loss, optimizer=optimizer, epochs=epochs, batch_size=batch_size,
            shuffle=shuffle, alpha=alpha, penalties=(l1, clip_norm, clip_value, max_norm),
            inputs=(input_dropout, input_noise, mixup), validation_data=validation_data,
            metrics=metrics, callback=callback, callbacks=callbacks, max_time=max_time,
            max_steps=max_steps, steps_per_epoch=steps_per_epoch, progress=progress,
            checkpoint=checkpoint, checkpoint_seconds=checkpoint_seconds)

    @suggests
    def steps(self, optimizer: str | Optimizer | None = None, *, loss: str | Loss | None = None,
              alpha: float = 0.0, l1: float = 0.0, max_norm: float | None = None,
              clip_norm: float | None = None, clip_value: float | None = None,
              input_dropout: float = 0.0, input_noise: float = 0.0, mixup: float = 0.0,
              batch_size: int = 1) -> Steps:
        """Return a function that trains on the batch it is given: ``loss = steps(X, y)``.

        For streams and reinforcement learning: the optimizer's state is kept from one step to the
        next, and a step of one row of a small network takes a few microseconds. It does what `fit`
        does with that batch, to the same bytes where ``batch_size`` is that of the fit.

        Parameters
        ----------
        optimizer : Optimizer or str, default=Adam()
            One that steps along a gradient. Its learning rate is a number or a
            `fastnn.schedules.ByStep`; ``steps.learning_rate`` can be set.
        loss : str, Loss or None, default=None
            As for `fit`.
        alpha, l1, max_norm, clip_norm, clip_value, input_dropout, input_noise, mixup : see `fit`
            As for `fit`.
        batch_size : int, default=1
            Rows to make room for. A larger batch makes more room, which takes longer once.

        Returns
        -------
        Steps
            To be called with a batch.

        Examples
        --------
        >>> import fastnn, numpy as np
        >>> net = fastnn.MLP((2, 16, 3), output="softmax", random_state=0)
        >>> steps = net.steps(fastnn.SGD(0.1))
        >>> x = np.array([[0.5, -1.0]], "float32")
        >>> first, second = steps(x, np.array([2])), steps(x, np.array([2]))
        >>> bool(second < first)
        True
        """
        self._import_training()
        return imported("fastnn.training.steps").make_steps(
            self, optimizer=optimizer, loss=loss, alpha=alpha,
            penalties=(l1, clip_norm, clip_value, max_norm),
            inputs=(input_dropout, input_noise, mixup), batch_size=batch_size)

    @staticmethod
    def _import_training():
        for module in TRAINING:
            imported(module)

    def _key(self, *purpose):
        """Return a key for random numbers that is another one for each purpose."""
        words = np.random.SeedSequence([self._seed, *purpose]).generate_state(1, np.uint64)
        return int(words[0])

    def _bound(self, loss):
        """Return the `BoundLoss` of a loss that a user gives."""
        losses = imported("fastnn.training.bound_losses")
        return losses.check_loss(loss, self.output, self.sizes[-1])

    def _check_data(self, X, y, sample_weight, info, in_place=True):
        X = check_training_rows("X", X, self.sizes[0], self.dtype, in_place)
        y = check_targets("y", y, X.shape[0], self.sizes[-1], self.dtype, info)
        return X, y, check_weights(sample_weight, X.shape[0], self.dtype)

    def _trainer(self, data, info, alpha, parameters, optimizer=None, batch_size=None,
                 seed=0, rows=None, **settings):
        """Return a `Trainer` at these parameters, on data as `_check_data` gives them, or on some
        of their rows; without optimizer for losses and gradients over all rows, in passes of
        `FULL_BATCH_ROWS`."""
        trainer_of = imported("fastnn.training.optimizers").trainer_of
        X, y, sample_weight = data
        n_rows = X.shape[0] if rows is None else len(rows)
        settings.setdefault("n_threads", self._n_threads)
        trainer = trainer_of(optimizer)(
            self.spec, info, optimizer=optimizer,
            batch_size=min(n_rows, FULL_BATCH_ROWS if batch_size is None else batch_size),
            alpha=alpha, drops=optimizer is not None, seed=seed, gemm=self.gemm,
            sparse=is_sparse(X) or is_codes(X), adds=X.adds if is_codes(X) else None,
            **settings)
        trainer.parameters[:] = parameters
        self._layout.clear_gaps(trainer.parameters)
        trainer.set_data(X, y, sample_weight, converts=True)
        if rows is not None:
            trainer.set_rows(rows)
        return trainer

    @suggests
    def loss(self, X: Rows, y: ArrayLike, *, loss: str | Loss | None = None,
             sample_weight: ArrayLike | None = None, alpha: float = 0.0) -> float:
        """Return the mean loss over all rows, without dropout; arguments as in `fit`.

        A `BatchNorm` takes its running averages, as in predictions; in `loss_and_grad` the
        statistics of the rows, as in training.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_in)
            Inputs.
        y : array-like (n_samples, n_out), or (n_samples,)
            Targets, as for `fit`.
        loss : str, Loss or None, default=None
            As for `fit`; None: the one that goes with the output.
        sample_weight : array-like (n_samples,) or None, default=None
            Weights of the rows.
        alpha : float, default=0.0
            L2 penalty, as for `fit`.

        Returns
        -------
        float
            The mean over the rows, penalty included.
        """
        return self._loss_and_grad(X, y, loss, sample_weight, alpha, None)

    @suggests
    def loss_and_grad(self, X: Rows, y: ArrayLike, *, loss: str | Loss | None = None,
                      sample_weight: ArrayLike | None = None,
                      alpha: float = 0.0) -> tuple[float, Array]:
        """Return the mean loss over all rows and its gradient, without dropout; arguments as in
        `fit`.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_in)
            Inputs.
        y : array-like (n_samples, n_out), or (n_samples,)
            Targets, as for `fit`.
        loss : str, Loss or None, default=None
            As for `fit`; None: the one that goes with the output.
        sample_weight : array-like (n_samples,) or None, default=None
            Weights of the rows.
        alpha : float, default=0.0
            L2 penalty, as for `fit`.

        Returns
        -------
        loss : float
            The mean over the rows, penalty included.
        grad : array
            With respect to ``parameters``, in the same layout.
        """
        grad = self._layout.allocate()
        return self._loss_and_grad(X, y, loss, sample_weight, alpha, grad), grad

    def _loss_and_grad(self, X, y, loss, sample_weight, alpha, grad):
        info = self._bound(loss)
        trainer = self._trainer(self._check_data(X, y, sample_weight, info), info,
                                validation.check_nonnegative("alpha", alpha), self.parameters)
        with single_threaded_blas():
            return trainer.loss_and_grad(grad)

    @suggests
    def deltas(self, X: Rows, y: ArrayLike, *, loss: str | Loss | None = None) -> list[Array]:
        """Return the error terms of backpropagation: the gradient of the mean loss with respect to
        z = x W + b of each dense layer.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_in)
            Inputs.
        y : array-like (n_samples, n_out), or (n_samples,)
            Targets, as for `fit`.
        loss : str, Loss or None, default=None
            As for `fit`; None: the one that goes with the output.

        Returns
        -------
        list of array (n_samples, n_out)
            Hidden layers first.
        """
        info = self._bound(loss)
        trainer = self._trainer(self._check_data(X, y, None, info), info, 0.0, self.parameters)
        with single_threaded_blas():
            return trainer.deltas()

    @suggests
    def plan(self, batch_size: int = 128) -> TrainingPlan:
        """Return how a batch of this size is trained: shards, threads, products, and why;
        printable.

        Parameters
        ----------
        batch_size : int, default=128
            Rows of a batch.

        Returns
        -------
        TrainingPlan
            Printable.
        """
        plan_training = imported("fastnn.training.plan").plan_training
        return plan_training(self._layout, validation.check_count("batch_size", batch_size),
                             self._threads, self.gemm)
