"""What `MLP` says of its slopes: Jacobians and products with them, products with the Hessian."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastnn.core.imports import imported
from fastnn.core.threads import single_threaded_blas
from fastnn.core.validation import check_flag

if TYPE_CHECKING:
    from typing import Any

    from fastnn.core.types import Array, ArrayLike, Rows
    from fastnn.training.losses import Loss

__all__ = ["Derivatives"]


class Derivatives:
    """The methods of `MLP` that give derivatives."""

    if TYPE_CHECKING:  # what `MLP` has
        _bound: Any
        _check_data: Any
        _import_training: Any
        _layout: Any
        _snapshot: Any
        _threads: int
        _trainer: Any
        parameters: Any

    def _derivatives(self, logits):
        if type(logits) is not bool:  # a call costs a tenth of a microsecond
            logits = check_flag("logits", logits)
        return imported("fastnn.prediction.derivatives").derivatives_of(self._layout, logits)

    def jacobian(self, X: Rows, *, logits: bool = False) -> Array:
        """Return the derivatives of all outputs with respect to all inputs, for each row.

        The way is gone back once for each output, or forward once for each input, whichever are
        fewer. All layers have derivatives: dropout is off, a `BatchNorm` takes its running
        averages, and those of an ensemble are of the averaged prediction. Any number of threads may
        call it at a time; values are not checked.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_in)
            Inputs.
        logits : bool, default=False
            Whether to leave the output's activation out: derivatives of scores instead of
            probabilities; of an ensemble the mean of those of its members.

        Returns
        -------
        array (n_samples, n_out, n_in)
            [r, j, i] is the derivative of output j of row r, as `predict` gives it, with respect to
            X[r, i].

        Raises
        ------
        ValueError
            When X does not fit; when an activation has no derivative ("step").

        Examples
        --------
        >>> import fastnn, numpy as np
        >>> net = fastnn.MLP((3, 2), dtype="float64", random_state=0)
        >>> bool((net.jacobian(np.ones((1, 3)))[0] == net.weights[0].T).all())
        True
        """
        return self._derivatives(logits).jacobian(
            self._snapshot.parameters, X, logits, self._threads)

    def jvp(self, X: Rows, V: ArrayLike, *, logits: bool = False) -> Array:
        """Return the Jacobian of each row times a vector: how the outputs change along V.

        Parameters
        ----------
        X, V : array-like (n_samples, n_in)
            Inputs, and a direction for each row.
        logits : bool, default=False
            As for `jacobian`.

        Returns
        -------
        array (n_samples, n_out)
            A row for each row of X.
        """
        return self._derivatives(logits).jvp(
            self._snapshot.parameters, X, V, logits, self._threads)

    def vjp(self, X: Rows, U: ArrayLike, *, logits: bool = False) -> Array:
        """Return a vector times the Jacobian of each row: the gradient of U · outputs with respect
        to the inputs.

        Parameters
        ----------
        X : array-like (n_samples, n_in)
            Inputs.
        U : array-like (n_samples, n_out)
            Factors of the outputs, for each row.
        logits : bool, default=False
            As for `jacobian`.

        Returns
        -------
        array (n_samples, n_in)
            A row for each row of X.
        """
        return self._derivatives(logits).vjp(
            self._snapshot.parameters, X, U, logits, self._threads)

    def input_gradient(self, X: Rows, y: ArrayLike, *, loss: str | Loss | None = None,
                       sample_weight: ArrayLike | None = None) -> Array:
        """Return the gradient of the mean loss with respect to the inputs; arguments as in `fit`.

        It is that of what `loss` returns: a `BatchNorm` takes its running averages, and the loss of
        an ensemble is the mean of its members' ones.

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

        Returns
        -------
        array (n_samples, n_in)
            A row of it times n_samples is the gradient of that row's loss, without sample weights.
        """
        derivatives = self._derivatives(logits=True)  # first: what is refused
        info = self._bound(loss)
        data = self._check_data(X, y, sample_weight, info, in_place=False)
        trainer = self._trainer(data, info, 0.0, self.parameters)
        with single_threaded_blas():
            slopes = trainer.output_deltas()
        return derivatives.vjp_inside(trainer.parameters, data[0], slopes, self._threads)

    def hvp(self, X: Rows, y: ArrayLike, v: ArrayLike, *, loss: str | Loss | None = None,
            sample_weight: ArrayLike | None = None, alpha: float = 0.0) -> Array:
        """Return the Hessian of the mean loss times a vector of parameters (Pearlmutter 1994).

        It is the derivative of the gradient of `loss_and_grad` along v: exact, for about the work
        of two gradients. Where a function has a kink, as relu has, the second derivative there is
        taken as 0. Losses of straight pieces (absolute_error, quantile, hinge, perceptron) have it
        almost everywhere: what is left is the curvature of the network. A `BatchNorm` takes the
        statistics of the rows, as in training; what v has for its running averages is not read.

        Parameters
        ----------
        X, y : array-like
            As for `fit`.
        v : array (n,)
            Flat, in the layout of ``parameters``.
        loss, sample_weight, alpha : see `fit`
            As for `fit`.

        Returns
        -------
        array (n,)
            In the same layout.

        Raises
        ------
        ValueError
            When an argument does not fit; when a second derivative is not known: that of a
            `losses.Custom` or a `CustomActivation`, and of the activation "step".

        Examples
        --------
        >>> import fastnn, numpy as np
        >>> net = fastnn.MLP((3, 8, 1), "tanh", dtype="float64", random_state=0)
        >>> X = np.random.default_rng(0).normal(size=(20, 3))
        >>> y, v, h = X.sum(axis=1), np.ones_like(net.parameters), 1e-5
        >>> product, (_, before) = net.hvp(X, y, v), net.loss_and_grad(X, y)
        >>> net.parameters[:] += h * v
        >>> bool(np.allclose(product, (net.loss_and_grad(X, y)[1] - before) / h, atol=1e-3))
        True
        """
        self._import_training()
        return imported("fastnn.training.curvature").hvp(
            self, X, y, v, loss=loss, sample_weight=sample_weight, alpha=alpha)
