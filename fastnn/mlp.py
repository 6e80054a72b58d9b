"""`MLP`: the bare network for NumPy users."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.core import validation
from fastnn.core.arrays import check_out, is_sparse
from fastnn.core.codes import is_codes
from fastnn.core.imports import imported
from fastnn.core.notices import suggests
from fastnn.core.rows import check_prediction_rows
from fastnn.core.threads import (
    default_threads,
    is_called_back,
    refuse_in_fit,
    resolve_threads,
)
from fastnn.differentiation import Derivatives
from fastnn.learning import Learning
from fastnn.network.initializers import INITIALIZERS, drawn
from fastnn.network.parameters import ParameterLayout, Views
from fastnn.network.spec import NetworkSpec
from fastnn.prediction._forward import Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any, Literal

    from typing_extensions import Never

    from fastnn.core.types import Array, ArrayLike, DType, File, Rows, Seed
    from fastnn.network.spec import Activations, CustomActivation, Layer
    from fastnn.network.summary import Summary
    from fastnn.prediction.scaler import Scaler

__all__ = ["MLP"]

_OF_FITS = ("_history", "_origins", "_left")  # what copies do not get
SET = ("net.{0} cannot be set: net.{0}[0][:] = array writes into one of them, "
       "net.set_weights([W0, b0, ...]) replaces all")


def __getattr__(name):
    """Return what pickles know by this module; a service does not need it."""
    if name not in ("DivergenceWarning", "History"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fastnn.training import history

    return getattr(history, name)


def _vector_of(snapshot):
    """Return the parameters of a snapshot; raise where a user has set their dtype or shape."""
    found, layout = snapshot.parameters, snapshot.layout
    if found.ndim != 1 or found.dtype != layout.dtype:
        raise ValueError(f"net.parameters has become {found.dtype} {found.shape}, must be "
                         f"{layout.dtype} ({layout.size},): set its dtype and shape back, or give "
                         "new values by net.set_weights")
    return found


class MLP(Learning, Derivatives):
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
        refuse_in_fit(self)  # whose trainer has the layout of before
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
            `fastnn.Scale`, `fastnn.PReLU`, `fastnn.GLU`, `fastnn.Dropout`, `fastnn.Residual`;
            `fastnn.Embed` first, for codes; `fastnn.Repeat` first and `fastnn.Heads` last, for an
            ensemble.
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
        state["parameters"] = np.array(_vector_of(snapshot))
        state["_epochs_done"] = snapshot.epochs_done
        return state

    def __setstate__(self, state):
        refuse_in_fit(self)
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
        return _vector_of(self._snapshot)

    @parameters.setter
    def parameters(self, values: Array) -> None:
        if values is not self._snapshot.parameters:  # net.parameters -= step has been done by now
            raise AttributeError("parameters cannot be replaced: net.parameters[:] = values writes "
                                 "into them, net.parameters -= step changes them")

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
        RuntimeError
            While the network is being fitted, but in its callbacks: training goes on from there.
        """
        parameters = self._layout.filled(arrays)
        if not is_called_back(self):
            self._origins = ()  # another start
        self._publish(parameters, self._epochs_done)

    def grow(self, *, n_in: int | None = None, n_out: int | None = None) -> None:
        """Give the network more inputs or outputs, where features or classes appear later.

        New weights and biases are 0, and the factors of a `Scale`, `BatchNorm` or `Repeat` 1: the
        outputs of before stay as they are until the new inputs are learned, and a new output begins
        at f(0); of a softmax, at the probability of a score of 0. `Steps` of the network go on,
        with the optimizer's state of what there was; that of new weights begins at 0, as in the
        first step.

        Parameters
        ----------
        n_in, n_out : int or None, default=None
            How many there are afterwards; None: as many as now. New columns of X, and new outputs,
            come last.

        Raises
        ------
        ValueError
            When there are more already; when a `LayerNorm`, a `Residual`, a `GLU` or an `Embed`
            lies before the first `Dense`, or after the last `Dense` or `Heads`.
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
        _vector_of(snapshot)
        wider = ParameterLayout(growing.grown_spec(self.spec, n_in, n_out))
        grown = growing.grown_vector(snapshot.layout, wider, snapshot.parameters,
                                     growing.starting_vector(wider))
        self._origins = ()
        self._snapshot = Snapshot(wider, grown, snapshot.epochs_done)
        self._layout = wider

    # ---- prediction ----

    def predict(self, X: Rows, out: Array | None = None) -> Array:
        """Return the outputs of the network.

        Any number of threads may predict with one network, also while it is being fitted. Values
        are not checked: NaN in a row gives NaN in its output.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_in)
            Maps of files, and large arrays, of another dtype are converted some rows at a time.
        out : array (n_samples, n_out) of the network's dtype, row-major, or None, default=None
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
            if is_sparse(rows) or is_codes(rows):
                return imported("fastnn.prediction.blocks").predict_sparse(
                    snapshot, rows, out, self._threads)
            rows = check_prediction_rows("X", rows, self.sizes[0], self.dtype)
            if rows.dtype != self.dtype:
                return imported("fastnn.prediction.blocks").predict_blocks(
                    self._snapshot, rows, out, self._threads)
        if out is None:
            return snapshot.predict(rows, None, self._threads)
        check_out(out, (rows.shape[0], self.sizes[-1]), self.dtype)
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
             encoder: Any = None, max_bytes: int | None = None) -> None:
        """Write the network to a safetensors file; `fastnn.load` reads it.

        The optimizer's state is not part of it: each `fit` starts with a fresh one.

        Parameters
        ----------
        path : str or path
            The old file is there until the new one is complete.
        scaler : Scaler, (mean, scale) or None, default=None
            Of the inputs, see `fastnn.Scaler`.
        classes : array-like (n_classes,) or None, default=None
            Labels in the order of the outputs; two for a single output.
        feature_names : sequence of str or None, default=None
            Names of the inputs.
        encoder : encoders.Encoder, TableEncoder or None, default=None
            What made the inputs of raw rows. With one of these four the file is loaded as a
            `fastnn.Predictor`, which with an encoder takes raw rows.
        max_bytes : int or None, default=None
            A larger file is not written. None: 2**30, beyond which `fastnn.load` needs this
            argument, too.

        Raises
        ------
        ValueError
            When the file would be larger; when the encoder makes other inputs.
        """
        imported("fastnn.prediction.predictor").save_network(
            self, path, scaler, classes, feature_names, max_bytes, encoder)

    def _predictor(self):
        return imported("fastnn.prediction.predictor").Predictor(self)
