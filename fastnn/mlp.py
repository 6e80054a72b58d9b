"""`MLP`: the bare network for NumPy users."""

import math
import warnings
from numbers import Integral

import numpy as np

from fastnn import validation
from fastnn._inference import Network, all_finite
from fastnn.initializers import INITIALIZERS, initialize
from fastnn.plan import ParameterLayout, aligned_empty, plan_training
from fastnn.threads import default_threads, resolve_threads

SPARSE_BLOCK = 2**20  # elements of a sparse X that are made dense at a time


class DivergenceWarning(RuntimeWarning):
    """Training left the finite numbers; the last finite weights were kept."""


class History:
    """What `MLP.fit` saw.

    Attributes
    ----------
    loss : list of float
        Mean training loss of each epoch, the L2 term included.
    val_loss : list of float or None
        Loss on ``validation_data`` after each epoch, without the L2 term.
    """

    def __init__(self, validates=False):
        self.loss = []
        self.val_loss = [] if validates else None

    def __repr__(self):
        last = f", loss={self.loss[-1]:.6g}" if self.loss else ""
        return f"<History of {len(self.loss)} epochs{last}>"


class MLP:
    """A multilayer perceptron on one flat vector of parameters.

    Layer l computes a = f(x W + b) with W of shape (n_in, n_out).

    Parameters
    ----------
    sizes : sequence of int
        Units of the input, the hidden layers and the output: (n_in, ..., n_out). Two entries make a
        network without hidden layer.
    activation : str or sequence of str, default="relu"
        Of the hidden layers, one for all or one each: identity, sigmoid (= logistic), tanh, relu,
        leaky_relu, elu, gelu, silu, softplus, exp, step.
    output : str, default="identity"
        identity, sigmoid, softmax, exp, step, or another elementwise activation.
    dtype : {"float32", "float64"}, default="float32"
    dropout : float in [0, 1) or sequence of float, default=0.0
        Rate at which units of the hidden layers are dropped in training, the rest being scaled by
        1 / (1 - rate) (Srivastava et al. 2014).
    initializer : str, default="glorot_uniform"
        glorot_uniform, glorot_normal, he_uniform, he_normal, normal (σ = 0.05), zeros.
        Biases start at 0.
    random_state : int, numpy.random.Generator, numpy.random.RandomState or None, default=None
        Decides initial weights, the order of rows and dropout. None: another one each time.
    n_threads : int or None, default=None
        None: as many as CPU affinity, container quota and OMP_NUM_THREADS allow. The results do not
        depend on it, to the bit.
    gemm : {"auto", "blas", "native"}, default="auto"
        Who computes the matrix products of training: SciPy's BLAS, our own kernels, or whichever
        was measured faster for the processor.

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

    def __init__(self, sizes, activation="relu", output="identity", *, dtype="float32",
                 dropout=0.0, initializer="glorot_uniform", random_state=None, n_threads=None,
                 gemm="auto"):
        sizes = validation.check_sizes(sizes)
        n_hidden = len(sizes) - 2
        self.activations = validation.per_hidden_layer(
            "activation", activation, n_hidden, validation.check_activation)
        self.output = validation.check_output(output)
        self.dropout = validation.per_hidden_layer(
            "dropout", dropout, n_hidden, validation.check_fraction)
        self.initializer = validation.check_name("initializer", initializer, tuple(INITIALIZERS))
        self.n_threads = None if n_threads is None else resolve_threads(n_threads)
        self.gemm = validation.check_name("gemm", gemm, ("auto", "blas", "native"))
        self._seed, self._seeded = _check_random_state(random_state), random_state is not None
        self._layout = ParameterLayout(sizes, _check_dtype(dtype))
        self._publish(self._drawn(), 0)

    def _drawn(self):
        """The parameters that this seed starts with."""
        parameters = self._layout.allocate()
        if self.initializer != "zeros":  # numpy.random is a fifth of the start-up
            initialize(self.initializer, self._layout.views(parameters)[0],
                       np.random.Generator(np.random.Philox(self._seed)))
        return parameters

    def __repr__(self):
        names = self.activations
        activation = names[0] if len(set(names)) == 1 else names
        return (f"MLP({self.sizes}, activation={activation!r}, output={self.output!r}, "
                f"dtype={self.dtype.name!r})")

    def __getstate__(self):
        network = self._network  # parameters and epochs of one moment, whoever trains meanwhile
        state = {key: value for key, value in self.__dict__.items()
                 if key not in ("_network", "_layout")}
        state["sizes"], state["dtype"] = self.sizes, self.dtype.name
        state["parameters"] = np.array(network.parameters)
        state["_epochs_done"] = network.epochs_done
        return state

    def __setstate__(self, state):
        state = dict(state)
        parameters, epochs_done = state.pop("parameters"), state.pop("_epochs_done")
        self._layout = ParameterLayout(state.pop("sizes"), np.dtype(state.pop("dtype")))
        self.__dict__.update(state)
        self._publish(_copy(self._layout, parameters), epochs_done)

    def _publish(self, parameters, epochs_done):
        """Makes a vector of parameters the network's own, in one step: who predicts or pickles
        meanwhile sees the old ones or the new ones, never half of each."""
        self._network = Network(self._layout, self.activations, self.output, parameters,
                                epochs_done)

    @property
    def _epochs_done(self):
        return self._network.epochs_done

    # ---- parameters ----

    @property
    def sizes(self):
        """Units of the input, the hidden layers and the output."""
        return self._layout.sizes

    @property
    def dtype(self):
        """float32 or float64, of parameters and outputs."""
        return self._layout.dtype

    @property
    def _threads(self):
        return default_threads() if self.n_threads is None else self.n_threads

    def _pairs(self):
        """(W, b) of each layer, all of one moment, whoever trains meanwhile."""
        return list(zip(*self._layout.views(self._network.parameters), strict=True))

    @property
    def n_parameters(self):
        """Number of weights and biases."""
        return self._layout.n_parameters

    @property
    def parameters(self):
        """The flat vector W0, b0, W1, b1, ... itself, not a copy.

        Each layer starts on a multiple of 64 bytes; the gaps hold zeros. `fit` and `set_weights`
        put a new vector in its place, so take it again after them.
        """
        return self._network.parameters

    @property
    def weights(self):
        """Views of the weights in ``parameters``: list of (n_in, n_out) arrays."""
        return self._layout.views(self.parameters)[0]

    @property
    def biases(self):
        """Views of the biases in ``parameters``: list of (n_out,) arrays."""
        return self._layout.views(self.parameters)[1]

    def get_weights(self):
        """Copies of all parameters: [W0, b0, W1, b1, ...], W of shape (n_in, n_out)."""
        return [array.copy() for pair in self._pairs() for array in pair]

    def set_weights(self, arrays):
        """Replaces all parameters by copies of [W0, b0, W1, b1, ...].

        Raises
        ------
        ValueError
            When the number or a shape does not fit, or a value is not finite.
        """
        parameters = self._layout.allocate()
        weights, biases = self._layout.views(parameters)
        own = [array for pair in zip(weights, biases, strict=True) for array in pair]
        arrays = list(arrays)
        if len(arrays) != len(own):
            raise ValueError(f"arrays has {len(arrays)} entries, must have {len(own)}: "
                             "[W0, b0, W1, b1, ...]")
        for i, (mine, given) in enumerate(zip(own, arrays, strict=True)):
            name = f"arrays[{i}]"
            given = validation.require(name, given, self.dtype)
            if given.shape != mine.shape:
                raise ValueError(f"{name} has shape {given.shape}, must be {mine.shape}")
            validation.check_finite(name, given, self.dtype)
            mine[:] = given
        self._publish(parameters, self._epochs_done)

    # ---- training ----

    def fit(self, X, y, *, loss=None, optimizer=None, epochs=10, batch_size=128, shuffle=True,
            sample_weight=None, alpha=0.0, validation_data=None, callback=None, checkpoint=None,
            checkpoint_seconds=10.0):
        """Trains on minibatches, from the current parameters on.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_in)
            Used as it is when it is a row-major array of the network's dtype, else copied.
        y : array-like (n_samples, n_out), or (n_samples,)
            Targets; for cross_entropy integer labels (n_samples,) or one row of probabilities each.
        loss : str or None, default=None
            squared_error, cross_entropy, binary_cross_entropy, poisson, perceptron; None: the one
            that goes with the output.
        optimizer : Optimizer, default=Adam()
            Starts fresh.
        epochs : int, default=10
        batch_size : int, default=128
            Clipped to the number of rows; the last batch may be shorter.
        shuffle : bool, default=True
            A new order of the rows each epoch.
        sample_weight : array-like (n_samples,) or None
        alpha : float, default=0.0
            L2 penalty alpha / 2 · |W|² divided by the sum of the batch's sample weights, biases
            left out, as in scikit-learn.
        validation_data : (X, y) or None
            Fills ``history.val_loss``.
        callback : callable or None
            Called after each epoch as callback(epoch, net, history), the epoch from 0; training
            ends when it returns True.
        checkpoint : str, path or None, default=None
            File that keeps where the fit stands after an epoch and at its end. Where it is there
            already, the fit goes on from it, to the same bytes as if it had never stopped; a fit
            that has come to its end is not run again, unless ``epochs`` is larger now; one that the
            callback has ended stays so. The callback is not called for epochs of before. The
            network must be made as for the first call, not be the one that was trained. Each fit
            needs a file of its own; delete it to start anew.
        checkpoint_seconds : float, default=10.0
            Time between two writes of the file at least; 0: after every epoch.

        Returns
        -------
        History

        Raises
        ------
        ValueError, TypeError
            On a wrong argument.
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
        from fastnn._kernels import OPTIMIZERS
        from fastnn._training import Trainer
        from fastnn.checkpoint import Checkpoint, Progress, describe_fit
        from fastnn.optimizers import Adam, Optimizer
        from fastnn.threads import single_threaded_blas, sole_fit

        info = validation.check_loss(loss, self.output, self.sizes[-1])
        X, y, sample_weight = self._check_data(X, y, sample_weight, info)
        if optimizer is None:
            optimizer = Adam()
        elif not isinstance(optimizer, Optimizer):
            raise TypeError(f"optimizer={optimizer!r} must be an Optimizer, such as fastnn.Adam()")
        epochs = validation.check_count("epochs", epochs)
        batch_size = min(validation.check_count("batch_size", batch_size), X.shape[0])
        alpha = validation.check_nonnegative("alpha", alpha)
        shuffle = validation.check_flag("shuffle", shuffle)
        seconds = validation.check_nonnegative("checkpoint_seconds", checkpoint_seconds)
        if callback is not None and not callable(callback):
            raise TypeError(f"callback={callback!r} must be callable")
        held_out = self._check_validation_data(validation_data, info)
        evaluate = None if held_out is None else self._evaluator(held_out, info)
        history = History(validates=evaluate is not None)
        with sole_fit(self):
            progress = Progress(self._seed, self._epochs_done, self.parameters)
            if checkpoint is not None:
                fit = describe_fit(self, info.name, optimizer, (X, y, sample_weight), held_out,
                                   batch_size=batch_size, shuffle=shuffle, alpha=alpha)
                checkpoint = Checkpoint(checkpoint, seconds, fit, self._layout,
                                        OPTIMIZERS[optimizer.name].n_state)
                progress = checkpoint.read(history) or progress
                if progress.epochs > epochs:
                    raise ValueError(f"epochs={epochs}, but the checkpoint is that of "
                                     f"{progress.epochs} epochs")
                self._seed = progress.seed
            trainer = Trainer(
                self.sizes, self.activations, self.output, info.name, dtype=self.dtype,
                optimizer=optimizer, batch_size=batch_size, alpha=alpha, dropout=self.dropout,
                seed=self._key(0, progress.epochs_before), n_threads=self._threads, gemm=self.gemm)
            trainer.parameters[:] = progress.parameters
            if progress.epochs:
                trainer.set_state(progress.states, progress.step)
            progress.parameters, progress.states = None, ()  # the trainer has them
            trainer.set_data(X, y, sample_weight)
            with single_threaded_blas():
                self._run_epochs(trainer, optimizer, epochs, shuffle, history, evaluate, callback,
                                 progress, checkpoint)
        return history

    def _run_epochs(self, trainer, optimizer, epochs, shuffle, history, evaluate, callback,
                    progress, checkpoint):
        last_finite = trainer.parameters.copy()
        key = self._key(1)
        before = progress.epochs_before
        done = before + progress.epochs  # goes with `last_finite`
        try:
            for epoch in range(progress.epochs, epochs):
                if progress.ended:
                    break
                order = trainer.shuffle(key, before + epoch) if shuffle else None
                loss = trainer.run_epoch(
                    order, learning_rate=optimizer.learning_rate_at(epoch), stop_if_diverged=True)
                history.loss.append(loss)
                if not (math.isfinite(loss) and all_finite(trainer.parameters)):
                    warnings.warn(
                        f"training diverged in epoch {epoch} (loss {loss:g}); the weights are "
                        "those from before it. A smaller learning rate or scaled inputs help.",
                        DivergenceWarning, stacklevel=3)
                    done = before + epoch + 1  # to go on with other random numbers
                    break
                last_finite[:] = trainer.parameters
                done = before + epoch + 1
                if evaluate is not None:
                    history.val_loss.append(evaluate(trainer.parameters))
                if callback is not None:
                    self._publish(_copy(self._layout, last_finite), done)
                    progress.ended = bool(callback(epoch, self, history))
                progress.epochs = epoch + 1
                if checkpoint is not None and (
                        progress.ended or progress.epochs == epochs or checkpoint.is_due):
                    checkpoint.write(progress, trainer, history)
        except KeyboardInterrupt:
            if all_finite(trainer.parameters):
                last_finite[:] = trainer.parameters
            raise
        finally:
            self._publish(_copy(self._layout, last_finite), done)

    def _key(self, *purpose):
        """A key for random numbers that is another one for each purpose."""
        words = np.random.SeedSequence([self._seed, *purpose]).generate_state(1, np.uint64)
        return int(words[0])

    def _check_data(self, X, y, sample_weight, info):
        X = validation.check_training_rows("X", X, self.sizes[0], self.dtype)
        y = validation.check_targets("y", y, X.shape[0], self.sizes[-1], self.dtype, info)
        return X, y, validation.check_weights(sample_weight, X.shape[0], self.dtype)

    def _check_validation_data(self, data, info):
        if data is None:
            return None
        try:
            X, y = data
        except (TypeError, ValueError):
            raise ValueError("validation_data must be a pair (X, y)") from None
        return self._check_data(X, y, None, info)

    def _evaluator(self, data, info):
        """A function from parameters to the loss on other data, as `_check_data` gives them."""
        trainer = self._trainer(data, info, alpha=0.0)

        def evaluate(parameters):
            trainer.parameters[:] = parameters
            return trainer.loss_and_grad()

        return evaluate

    def _trainer(self, data, info, alpha):
        """A `Trainer` without optimizer, for losses and gradients at the current parameters, on
        data as `_check_data` gives them."""
        from fastnn._training import Trainer

        X, y, sample_weight = data
        trainer = Trainer(
            self.sizes, self.activations, self.output, info.name, dtype=self.dtype, optimizer=None,
            batch_size=min(X.shape[0], 1024), n_threads=self._threads, gemm=self.gemm,
            alpha=validation.check_nonnegative("alpha", alpha))
        trainer.parameters[:] = self.parameters
        trainer.set_data(X, y, sample_weight)
        return trainer

    def loss(self, X, y, *, loss=None, sample_weight=None, alpha=0.0):
        """Mean loss over all rows, without dropout; arguments as in `fit`.

        Returns
        -------
        float
        """
        return self._loss_and_grad(X, y, loss, sample_weight, alpha, None)

    def loss_and_grad(self, X, y, *, loss=None, sample_weight=None, alpha=0.0):
        """Mean loss over all rows and its gradient, without dropout; arguments as in `fit`.

        Returns
        -------
        loss : float
        grad : array
            With respect to ``parameters``, in the same layout.
        """
        grad = self._layout.allocate()
        return self._loss_and_grad(X, y, loss, sample_weight, alpha, grad), grad

    def _loss_and_grad(self, X, y, loss, sample_weight, alpha, grad):
        from fastnn.threads import single_threaded_blas

        info = validation.check_loss(loss, self.output, self.sizes[-1])
        trainer = self._trainer(self._check_data(X, y, sample_weight, info), info, alpha)
        with single_threaded_blas():
            return trainer.loss_and_grad(grad)

    def deltas(self, X, y, *, loss=None):
        """Error terms of backpropagation: gradient of the mean loss with respect to z of each
        layer.

        Returns
        -------
        list of arrays (n_samples, n_out), hidden layers first
        """
        from fastnn.threads import single_threaded_blas

        info = validation.check_loss(loss, self.output, self.sizes[-1])
        trainer = self._trainer(self._check_data(X, y, None, info), info, alpha=0.0)
        with single_threaded_blas():
            return trainer.deltas()

    def plan(self, batch_size=128):
        """How a batch of this size is trained: shards, threads, products, and why; printable."""
        return plan_training(self._layout, validation.check_count("batch_size", batch_size),
                             self._threads, self.gemm, drops=any(self.dropout))

    # ---- prediction ----

    def predict(self, X, out=None):
        """Outputs of the network.

        Any number of threads may predict with one network, also while it is being fitted. Values
        are not checked: NaN in a row gives NaN in its output.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_in)
        out : array (n_samples, n_out) of the network's dtype, row-major, or None
            Takes the result.

        Returns
        -------
        array (n_samples, n_out)
            Probabilities for output sigmoid or softmax, else values.
        """
        network = self._network
        if not network.accepts(X) or X.shape[1] != self.sizes[0]:
            X = validation.check_rows("X", X, self.sizes[0], self.dtype, finite=False)
            if validation.is_sparse(X):
                return self._predict_sparse(X, out)
        if out is None:
            return network.predict(X, None, self._threads)
        validation.check_out(out, (X.shape[0], self.sizes[-1]), self.dtype)
        if np.may_share_memory(X, out):
            X = X.copy()
        return network.predict(X, out, self._threads)

    def _predict_sparse(self, X, out):
        if out is None:
            out = np.empty((X.shape[0], self.sizes[-1]), self.dtype)
        validation.check_out(out, (X.shape[0], self.sizes[-1]), self.dtype)
        network, threads = self._network, self._threads
        block = max(1, SPARSE_BLOCK // self.sizes[0])
        for start in range(0, X.shape[0], block):
            rows = slice(start, start + block)
            network.predict(np.ascontiguousarray(X[rows].toarray()), out[rows], threads)
        return out

    def activations_of(self, X):
        """Activations of every layer: list of arrays (n_samples, n_units), the output last."""
        X = validation.check_rows("X", X, self.sizes[0], self.dtype, finite=False)
        if validation.is_sparse(X):
            X = X.toarray()
        found = []
        names = (*self.activations, self.output)
        for i, (name, (w, b)) in enumerate(zip(names, self._pairs(), strict=True)):
            layer = MLP(self.sizes[i:i + 2], output=name, dtype=self.dtype, random_state=0,
                        initializer="zeros", n_threads=self.n_threads)
            layer.weights[0][:], layer.biases[0][:] = w, b
            X = layer.predict(X)
            found.append(X)
        return found

    # ---- files ----

    def save(self, path, *, scaler=None, classes=None, feature_names=None):
        """Writes the network to a safetensors file; `fastnn.load` reads it.

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
        """
        from fastnn import model_file
        from fastnn.predictor import Predictor, Scaler

        if scaler is not None and not isinstance(scaler, Scaler):
            if not isinstance(scaler, (tuple, list)):
                raise TypeError(f"scaler={type(scaler).__name__} must be a fastnn.Scaler or a pair "
                                "(mean, scale)")
            scaler = Scaler(*scaler)
        task = "outputs"
        if classes is not None:
            several = self.output == "sigmoid" and self.sizes[-1] > 1
            task = "multilabel" if several else "classification"
        model_file.save(path, Predictor(self, task, classes=classes, scaler=scaler,
                                        feature_names=feature_names))


def _copy(layout, parameters):
    fresh = aligned_empty(layout.size, layout.dtype)
    fresh[:] = parameters
    return fresh


def _check_dtype(dtype):
    try:
        found = None if dtype is None else np.dtype(dtype)
    except TypeError:
        found = None
    if found not in (np.float32, np.float64):
        raise ValueError(f"dtype={dtype!r} must be float32 or float64")
    return np.dtype(found.name)  # native byte order


def _check_random_state(random_state):
    """A seed of 64 bits."""
    if isinstance(random_state, Integral):
        return validation.check_count("random_state", random_state, minimum=0)
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**63))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31))
    return validation.check_count("random_state", random_state, minimum=0)
