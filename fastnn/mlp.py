"""`MLP`: the bare network for NumPy users."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.core import validation
from fastnn.core.codes import is_codes
from fastnn.core.imports import imported
from fastnn.core.notices import suggests
from fastnn.core.threads import (
    default_threads,
    refuse_in_fit,
    resolve_threads,
    single_threaded_blas,
)
from fastnn.differentiation import Derivatives
from fastnn.network.initializers import INITIALIZERS, drawn
from fastnn.network.parameters import ParameterLayout, Views
from fastnn.network.spec import NetworkSpec
from fastnn.prediction._forward import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, Literal

    from typing_extensions import Never

    from fastnn.core.types import Array, ArrayLike, Batches, DType, File, Metrics, Rows, Seed
    from fastnn.network.spec import Activations, CustomActivation, Layer
    from fastnn.network.summary import Summary
    from fastnn.prediction.scaler import Scaler
    from fastnn.training._steps import Steps
    from fastnn.training.epochs import Callback
    from fastnn.training.history import History
    from fastnn.training.losses import Loss
    from fastnn.training.optimizer_base import Optimizer, WholeFit
    from fastnn.training.plan import TrainingPlan

__all__ = ["MLP"]

# what the first fit imports; each of them complete before any is used
TRAINING = ("numpy.random", "fastnn.training.losses", "fastnn.training._trainer",
            "fastnn.training.fitting")
_OF_FITS = ("_history", "_origins", "_left")  # what copies do not get
SET = ("net.{0} cannot be set: net.{0}[0][:] = array writes into one of them, "
       "net.set_weights([W0, b0, ...]) replaces all")
FULL_BATCH_ROWS = 1024  # rows per pass through the workspace in a loss or gradient over all rows


def __getattr__(name):
    """Return what pickles know by this module; a service does not need it."""
    if name not in ("DivergenceWarning", "History"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fastnn.training import history

    return getattr(history, name)


class MLP(Derivatives):
    """A multilayer perceptron on one flat vector of parameters.

    Layer l computes a = f(x W + b) with W of shape (n_in, n_out). For other orders of layers see
    `MLP.of`.

    Parameters
    ----------
    sizes : sequence of int
        Units of the input, the hidden layers and the output: (n_in, ..., n_out). Two entries make a
        network without hidden layer.
    activation : str, CustomActivation or sequence of them, default="relu"
        Of the hidden layers, one for all or one each: identity, sigmoid (= logistic), tanh, relu,
        leaky_relu, elu, selu, gelu, silu, mish, softplus, hard_tanh, hard_sigmoid, relu6, exp,
        step; `fastnn.CustomActivation` for functions of your own.
    output : str, default="identity"
        One of identity, sigmoid, softmax, exp, step, or another elementwise activation.
    norm : {None, "layer", "batch"}, default=None
        "layer" normalises the weighted inputs of each hidden layer over its units, before the
        activation (Ba, Kiros & Hinton 2016), see `LayerNorm`; "batch" over the rows of a batch
        (Ioffe & Szegedy 2015), see `BatchNorm`.
    residual : bool, default=False
        Whether to add the input of a hidden layer to its output where both are as wide (He et al.
        2016).
    members : int or None, default=None
        Of an ensemble that shares its hidden layers (TabM-mini; Gorishniy et al. 2025), such as 16:
        each member has a scale of the inputs and an output layer of its own; the loss is the mean
        over the members, a prediction the mean of theirs (of probabilities, where the output has
        them). A step costs about as much as one of a batch so many times larger. None: a single
        network. See `Repeat` and `Heads`.
    dtype : {"float32", "float64"}, default="float32"
        Of parameters and outputs.
    dropout : float in [0, 1) or sequence of float, default=0.0
        Rate at which units of the hidden layers are dropped in training, the rest being scaled by
        1 / (1 - rate) (Srivastava et al. 2014).
    initializer : str, default="glorot_uniform"
        One of glorot_uniform, glorot_normal, he_uniform, he_normal, normal (σ = 0.05),
        zeros.
        Biases start at 0.
    random_state : int, numpy.random.Generator, numpy.random.RandomState or None, default=None
        Decides initial weights, the order of rows and dropout. None: another one each time.
    n_threads : int or None, default=None
        None: as many as CPU affinity, container quota and OMP_NUM_THREADS allow; several fits at a
        time in one process share them. The results do not depend on it, to the bit.
    gemm : {"auto", "blas", "native"}, default="auto"
        Who computes the matrix products of training: SciPy's BLAS, our own kernels, or whichever
        was measured faster for the processor. A sparse X is multiplied by look-ups of rows of W,
        but with "blas", which makes a dense batch of it.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 4)).astype("float32")
    >>> y = (X[:, 0] * X[:, 1] > 0).astype(int)
    >>> net = fastnn.MLP((4, 16, 2), activation="tanh", output="softmax", random_state=0)
    >>> history = net.fit(X, y, optimizer=fastnn.Adam(0.02), epochs=60, batch_size=20)
    >>> bool((net.predict(X).argmax(axis=1) == y).mean() > 0.95)
    True
    """

    _history = None
    # of fits with a checkpoint: digests of the network at their starts; what the last one left
    _origins: tuple = ()
    _left = None

    @suggests
    def __init__(self, sizes: Sequence[int], activation: Activations = "relu",
                 output: str = "identity", *, norm: Literal["layer", "batch"] | None = None,
                 residual: bool = False, members: int | None = None, dtype: DType = "float32",
                 dropout: float | Sequence[float] = 0.0, initializer: str = "glorot_uniform",
                 random_state: Seed = None, n_threads: int | None = None,
                 gemm: Literal["auto", "blas", "native"] = "auto") -> None:
        spec = NetworkSpec.chain(sizes, activation, output, dtype=dtype, dropout=dropout,
                                 norm=norm, residual=residual, members=members)
        self._set_up(spec, initializer, random_state, n_threads, gemm)

    @classmethod
    @suggests
    def of(cls, layers: Sequence[Layer], *, n_in: int, output: str = "identity",
           dtype: DType = "float32", initializer: str = "glorot_uniform", random_state: Seed = None,
           n_threads: int | None = None, gemm: Literal["auto", "blas", "native"] = "auto") -> MLP:
        """Return a network of any order of layers.

        Parameters
        ----------
        layers : sequence of layers
            `fastnn.Dense`, `fastnn.Activation`, `fastnn.LayerNorm`, `fastnn.BatchNorm`,
            `fastnn.Scale`, `fastnn.PReLU`, `fastnn.Dropout`, `fastnn.Residual`;
            `fastnn.Repeat` first and `fastnn.Heads` last, for an ensemble.
        n_in : int
            Number of inputs.
        output : str, default="identity"
            What becomes of the last layer's values: identity, sigmoid, softmax, exp, step, or
            another elementwise activation.
        dtype, initializer, random_state, n_threads, gemm : see `MLP`
            As for `MLP` itself.

        Returns
        -------
        MLP
            With initial weights.

        Examples
        --------
        >>> import fastnn
        >>> from fastnn import Dense, Dropout, LayerNorm, Residual
        >>> net = fastnn.MLP.of(
        ...     [Dense(32, "gelu"), LayerNorm(), Residual([Dense(32, "gelu"), Dropout(0.1)]),
        ...      Dense(3)], n_in=8, output="softmax", random_state=0)
        >>> net.n_parameters
        1507
        """
        net = cls.__new__(cls)
        net._set_up(NetworkSpec(n_in, layers, output, dtype), initializer, random_state, n_threads,
                    gemm)
        return net

    def _set_up(self, spec, initializer, random_state, n_threads, gemm):
        self.initializer = initializer
        self.n_threads = n_threads
        self.gemm = gemm
        self._seed, self._seeded = validation.check_seed(random_state), random_state is not None
        self._layout = ParameterLayout(spec)
        self._frozen = ()
        self._publish(self._drawn(), 0)

    def _drawn(self):
        """Return the parameters that this seed starts with."""
        return drawn(self._layout, self.initializer, self._seed)

    def __repr__(self):
        if not self.spec.is_chain:
            layers = ", ".join(map(repr, self.spec.layers))
            return (f"MLP.of([{layers}], n_in={self.spec.n_in}, output={self.output!r}, "
                    f"dtype={self.dtype.name!r})")
        names = self.activations
        activation = names[0] if len(set(names)) == 1 else names
        return (f"MLP({self.sizes}, activation={activation!r}, output={self.output!r}, "
                f"dtype={self.dtype.name!r})")

    def summary(self) -> Summary:
        """Return the layers, their outputs and numbers of parameters.

        Returns
        -------
        Summary
            Prints as a table; in a notebook with a drawing.

        Examples
        --------
        >>> import fastnn
        >>> fastnn.MLP((4, 16, 3), output="softmax").summary()
        MLP 4-16-3 float32
        layer  what               outputs  parameters
               input                    4
            0  Dense(16, 'relu')       16          80
            1  Dense(3)                 3          51
               output softmax           3
               all                                131
        """
        return imported("fastnn.network.summary").Summary(self._layout, self._frozen)

    def _repr_html_(self):
        """Return a drawing of the layers and a table of their parameters, for notebooks."""
        return self.summary().to_html(repr(self))

    def __getstate__(self):
        snapshot = self._snapshot  # parameters and epochs of one moment, whoever trains meanwhile
        state = {key: value for key, value in self.__dict__.items()
                 if key not in ("_snapshot", "_layout", *_OF_FITS)}
        if not self._frozen:
            del state["_frozen"]  # as before there was any
        state["spec"] = self.spec.to_plain()
        state["parameters"] = np.array(snapshot.parameters)
        state["_epochs_done"] = snapshot.epochs_done
        return state

    def __setstate__(self, state):
        state = imported("fastnn.network.pickles").read_state(state, MLP)
        self.__dict__.update(state.added)
        self._layout, self._frozen = state.layout, state.frozen
        for name, value in state.settings.items():
            setattr(self, name, value)
        self._seed, self._seeded = state.seed, state.seeded
        self._publish(state.parameters, state.epochs_done)

    def _publish(self, parameters, epochs_done):
        """Make a vector of parameters the network's own, in one step: who predicts or pickles
        meanwhile sees the old ones or the new ones, never half of each. Return the snapshot."""
        self._snapshot = snapshot = Snapshot(self._layout, parameters, epochs_done)
        return snapshot

    def _publish_copy(self, parameters, epochs_done):
        self._publish(self._layout.copy(parameters), epochs_done)

    @property
    def _epochs_done(self):
        return self._snapshot.epochs_done

    # ---- what it is ----

    @property
    def spec(self) -> NetworkSpec:
        """The `NetworkSpec`: what the network is, frozen."""
        return self._layout.spec

    @property
    def sizes(self) -> tuple[int, ...]:
        """Units of the input, the hidden layers and the output."""
        return self._layout.sizes

    @property
    def activations(self) -> tuple[str | CustomActivation, ...]:
        """Activations of the hidden layers, names or `CustomActivation`: a tuple."""
        return self.spec.activations

    @property
    def output(self) -> str:
        """Name of the output's activation."""
        return self.spec.output

    @property
    def dropout(self) -> tuple[float, ...]:
        """Rates of dropout of the hidden layers, a tuple."""
        return self.spec.dropout

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64, of parameters and outputs."""
        return self._layout.dtype

    @property
    def initializer(self) -> str:
        """Name of the distribution of the initial weights."""
        return self._initializer

    @initializer.setter
    def initializer(self, value):
        self._initializer = validation.check_name(
            "initializer", value, tuple(INITIALIZERS), "initializer")

    @property
    def n_threads(self) -> int | None:
        """Number of threads; None: as many as this process may use."""
        return self._n_threads

    @n_threads.setter
    def n_threads(self, value):
        self._n_threads = None if value is None else resolve_threads(value)

    @property
    def gemm(self) -> str:
        """Who computes the matrix products of training."""
        return self._gemm

    @gemm.setter
    def gemm(self, value):
        self._gemm = validation.check_name("gemm", value, ("auto", "blas", "native"))

    @property
    def _threads(self):
        return default_threads() if self._n_threads is None else self._n_threads

    @property
    def frozen(self) -> tuple[int, ...]:
        """Numbers of the layers that training leaves as they are, a sorted tuple."""
        return self._frozen

    def freeze(self, *layers: int) -> None:
        """Leave the parameters of layers as they are in all fits to come.

        Parameters
        ----------
        *layers : int
            Their numbers, as the names of parameters have them: ``layers.0.weight`` is of layer 0.
        """
        self._frozen = tuple(sorted({*self._frozen, *self._layout.check_layers(layers)}))

    def unfreeze(self, *layers: int) -> None:
        """Train layers again; without arguments all of them.

        Parameters
        ----------
        *layers : int
            Their numbers, see `freeze`.
        """
        gone = set(self._layout.check_layers(layers)) if layers else set(self._frozen)
        self._frozen = tuple(sorted(set(self._frozen) - gone))

    # ---- parameters ----

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases."""
        return self._layout.n_parameters

    @property
    def parameters(self) -> Array:
        """The flat vector W0, b0, W1, b1, ... itself, not a copy.

        Each layer starts on a multiple of 64 bytes; the gaps hold zeros. `fit` and `set_weights`
        put a new vector in its place, so take it again after them.
        """
        return self._snapshot.parameters

    @property
    def weights(self) -> tuple[Array, ...]:
        """Views of the weights in ``parameters``: tuple of (n_in, n_out) arrays, one for each dense
        layer.
        """
        return Views(self._layout.weights_and_biases(self.parameters)[0])

    @weights.setter
    def weights(self, value: Never) -> None:
        raise AttributeError(SET.format("weights"))

    @property
    def biases(self) -> tuple[Array, ...]:
        """Views of the biases in ``parameters``: tuple of (n_out,) arrays, one for each dense
        layer.
        """
        return Views(self._layout.weights_and_biases(self.parameters)[1])

    @biases.setter
    def biases(self, value: Never) -> None:
        raise AttributeError(SET.format("biases"))

    def named_parameters(self) -> dict[str, Array]:
        """Return a dict of views of all blocks of ``parameters``, by name: ``layers.0.weight``,
        ``layers.0.bias``, ...; a layer norm has ``gain`` and ``bias``, a batch norm ``mean`` and
        ``variance``, too, a scale ``gain``, a PReLU ``slope``.

        Returns
        -------
        dict of str to array
            Views, not copies.
        """
        views = self._layout.views(self.parameters)
        return {block.name: view for block, view in zip(self._layout.blocks, views, strict=True)}

    def get_weights(self) -> list[Array]:
        """Return copies of all parameters: [W0, b0, W1, b1, ...], W of shape (n_in, n_out); a layer
        norm has gain and bias.

        Returns
        -------
        list of array
            In the order of ``set_weights``.
        """
        return [array.copy() for array in self._layout.views(self.parameters)]

    def set_weights(self, arrays: Iterable[ArrayLike]) -> None:
        """Replace all parameters by copies of arrays such as `get_weights` returns.

        Parameters
        ----------
        arrays : sequence of arrays
            [W0, b0, W1, b1, ...].

        Raises
        ------
        ValueError
            When the number or a shape does not fit, or a value is not finite.
        """
        parameters = self._layout.filled(arrays)
        self._origins = ()  # another start
        self._publish(parameters, self._epochs_done)

    def grow(self, *, n_in: int | None = None, n_out: int | None = None) -> None:
        """Give the network more inputs or outputs, where features or classes appear later.

        New weights and biases are 0: the outputs of before stay as they are until the new inputs
        are learned, and a new output begins at f(0); of a softmax, at the probability of a score
        of 0. `Steps` of the network go on, with the optimizer's state of what there was; that of
        new weights begins at 0, as in the first step.

        Parameters
        ----------
        n_in, n_out : int or None, default=None
            How many there are afterwards; None: as many as now. New columns of X, and new outputs,
            come last.

        Raises
        ------
        ValueError
            When there are more already; when the first or last layer with parameters is not `Dense`
            (a `LayerNorm` or a `Residual`).
        RuntimeError
            While the network is being fitted.

        Examples
        --------
        >>> import fastnn, numpy as np
        >>> net = fastnn.MLP((3, 8, 2), random_state=0)
        >>> before = net.predict(np.ones((1, 3), "float32"))
        >>> net.grow(n_in=4, n_out=3)
        >>> net.sizes, bool((net.predict(np.ones((1, 4), "float32"))[:, :2] == before).all())
        ((4, 8, 3), True)
        """
        growing = imported("fastnn.network.growing")
        refuse_in_fit(self)
        snapshot = self._snapshot
        wider = ParameterLayout(growing.grown_spec(self.spec, n_in, n_out))
        grown = growing.grown_vector(snapshot.layout, wider, snapshot.parameters)
        self._origins = ()
        self._snapshot = Snapshot(wider, grown, snapshot.epochs_done)
        self._layout = wider

    # ---- training ----

    @suggests
    def fit(self, X: Rows, y: ArrayLike, *, loss: str | Loss | None = None,
            optimizer: str | Optimizer | WholeFit | None = None, epochs: int = 10,
            batch_size: int = 128, shuffle: bool = True, sample_weight: ArrayLike | None = None,
            alpha: float = 0.0, l1: float = 0.0, max_norm: float | None = None,
            clip_norm: float | None = None, clip_value: float | None = None,
            input_dropout: float = 0.0, input_noise: float = 0.0, mixup: float = 0.0,
            validation_data: tuple[Rows, ArrayLike] | None = None, metrics: Metrics | None = None,
            callback: Callable[[int, MLP, History], object] | None = None,
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
        sample_weight : array-like (n_samples,) or None
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
        validation_data : (X, y) or None
            Fills ``history.val_loss``.
        metrics : sequence of str or callable, or dict, default=None
            Taken on the validation data after each epoch, into ``history["val_<name>"]``: names of
            scikit-learn's scorers ("accuracy"), and functions of (y, output), where y is
            (n_samples,) int32 labels or (n_samples, n_out) targets, and the output
            (n_samples, n_out). A dict gives names to them.
        callback : callable or None
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
                    callback: Callable[[int, MLP, History], object] | None = None,
                    callbacks: Sequence[Callback] | None = None, max_time: float | None = None,
                    max_steps: int | None = None, steps_per_epoch: int | None = None,
                    progress: bool | None = None) -> History:
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
            max_steps=max_steps, steps_per_epoch=steps_per_epoch, progress=progress)

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
        return imported("fastnn.training.losses").check_loss(loss, self.output, self.sizes[-1])

    def _check_data(self, X, y, sample_weight, info, in_place=True):
        X = validation.check_training_rows("X", X, self.sizes[0], self.dtype, in_place)
        y = validation.check_targets("y", y, X.shape[0], self.sizes[-1], self.dtype, info)
        return X, y, validation.check_weights(sample_weight, X.shape[0], self.dtype)

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
            sparse=validation.is_sparse(X) or is_codes(X), adds=X.adds if is_codes(X) else None,
            **settings)
        trainer.parameters[:] = parameters
        trainer.set_data(X, y, sample_weight, converts=True)
        if rows is not None:
            trainer.set_rows(rows)
        return trainer

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

    # ---- prediction ----

    def predict(self, X: Rows, out: Array | None = None) -> Array:
        """Return the outputs of the network.

        Any number of threads may predict with one network, also while it is being fitted. Values
        are not checked: NaN in a row gives NaN in its output.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_in)
            Maps of files, and large arrays, of another dtype are converted some rows at a time.
        out : array (n_samples, n_out) of the network's dtype, row-major, or None
            Takes the result.

        Returns
        -------
        array (n_samples, n_out)
            Probabilities for output sigmoid or softmax, else values. With one output it is
            (n_samples, 1), not (n_samples,): beside a y of (n_samples,) take
            ``net.predict(X)[:, 0]``, or their difference would be (n_samples, n_samples).
        """
        snapshot = self._snapshot
        rows: Any = X
        if not snapshot.accepts(rows):
            if validation.is_sparse(rows) or is_codes(rows):
                return imported("fastnn.prediction.blocks").predict_sparse(
                    snapshot, rows, out, self._threads)
            rows = validation.check_prediction_rows("X", rows, self.sizes[0], self.dtype)
            if rows.dtype != self.dtype:
                return imported("fastnn.prediction.blocks").predict_blocks(
                    self._snapshot, rows, out, self._threads)
        if out is None:
            return snapshot.predict(rows, None, self._threads)
        validation.check_out(out, (rows.shape[0], self.sizes[-1]), self.dtype)
        if np.may_share_memory(rows, out):
            rows = rows.copy()
        return snapshot.predict(rows, out, self._threads)

    def activations_of(self, X: Rows) -> list[Array]:
        """Return the activations of every layer: list of arrays (n_samples, n_units), the output
        last.

        A layer is a dense one with all that comes after it, up to the next one; the first one also
        has what comes before it. Those of an ensemble are (n_samples, members, n_units), but for
        the output, which is the mean.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_in)
            Inputs.

        Returns
        -------
        list of array (n_samples, n_units)
            The output last.
        """
        return imported("fastnn.prediction.blocks").activations_of(
            self._layout, self.parameters, X, self._threads)

    # ---- files ----

    def save(self, path: File, *, scaler: Scaler | tuple[ArrayLike, ArrayLike] | None = None,
             classes: ArrayLike | None = None, feature_names: Sequence[str] | None = None,
             max_bytes: int | None = None) -> None:
        """Write the network to a safetensors file; `fastnn.load` reads it.

        The optimizer's state is not part of it: each `fit` starts with a fresh one.

        Parameters
        ----------
        path : str or path
            The old file is there until the new one is complete.
        scaler : Scaler, (mean, scale) or None
            Of the inputs, see `fastnn.Scaler`.
        classes : array-like (n_classes,) or None
            Labels in the order of the outputs; two for a single output.
        feature_names : sequence of str or None
            Names of the inputs. With one of these three the file is loaded as a
            `fastnn.Predictor`.
        max_bytes : int or None, default=None
            A larger file is not written. None: 2**30, beyond which `fastnn.load` needs this
            argument, too.

        Raises
        ------
        ValueError
            When the file would be larger.
        """
        imported("fastnn.prediction.predictor").save_network(
            self, path, scaler, classes, feature_names, max_bytes)

    def _predictor(self):
        return imported("fastnn.prediction.predictor").Predictor(self)
